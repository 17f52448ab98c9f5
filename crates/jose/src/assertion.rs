//! Client assertions (RFC 7523), with a verifier of their own: lenient exactly where real client libraries need it.
//!
//! A key is found by thumbprint among the client's registered certificates; times may be integers, fractions or strings;
//! thumbprints may be padded, and so may the segments; `nbf` and `iat` may be missing. Everything else is as strict as for
//! any token. Whether the times, the audience and the `jti` are right is for the caller to decide.
//!
//! ```
//! use jose::assertion::{self, Certificate};
//! use jose::{Algorithm, SigningKey};
//! use decision::Timestamp;
//! let key = SigningKey::generate(Algorithm::PS256)?;
//! let der = key.self_signed("orders", Timestamp(0), Timestamp(2_000_000_000))?;
//! let certificate = std::sync::Arc::new(Certificate::from_der(&der)?);
//! let text = assertion::sign(&key, &certificate, "orders", "https://login.example/token", "id-1", Timestamp(1_700_000_000))?;
//! let assertion = assertion::verify(&text, &[certificate])?;
//! assert_eq!((assertion.iss.as_str(), assertion.exp), ("orders", Timestamp(1_700_000_600)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
mod certificate;
mod chain;
mod federated;
mod refusal;
#[cfg(test)]
mod tests;
mod times;

pub use certificate::Certificate;
pub use chain::{ChainFault, TrustedSubject};
pub use federated::{FederatedAssertion, verify_federated};
pub use refusal::AssertionRefusal;

use crate::{Algorithm, Header, Refusal, SignError, SigningKey, Token};
use decision::Timestamp;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// How long our own client's assertions live, in seconds.
pub const LIFETIME: i64 = 600;

/// A client assertion whose signature holds. Its times and audience are still to be judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientAssertion {
    /// The client, as issuer.
    pub iss: String,
    /// The client, as subject.
    pub sub: String,
    /// For whom the assertion is; one or several.
    pub aud: Vec<String>,
    /// The assertion's id, for clients whose assertions are good once only.
    pub jti: Option<String>,
    /// When it ends (fractions cut off).
    pub exp: Timestamp,
    /// When it begins.
    pub nbf: Option<Timestamp>,
    /// When it was made.
    pub iat: Option<Timestamp>,
    /// The SHA-256 thumbprint of the certificate that verified it.
    pub thumbprint: String,
    /// RS256 or PS256.
    pub algorithm: Algorithm,
    /// When the certificate begins.
    pub certificate_not_before: Timestamp,
    /// When the certificate ends.
    pub certificate_not_after: Timestamp,
}

/// Verifies a client assertion with one of the client's certificates: the one whose thumbprint it names.
pub fn verify(text: &str, certificates: &[Arc<Certificate>]) -> Result<ClientAssertion, AssertionRefusal> {
    verify_trusting(text, certificates, &[], Timestamp(0))
}

/// The same; where the certificate is not registered, the chain that the header carries (`x5c`) may lead to a trusted
/// subject. The dates of the chain are judged now, for no later reader sees them.
pub fn verify_trusting(
    text: &str,
    certificates: &[Arc<Certificate>],
    trusted: &[Arc<TrustedSubject>],
    now: Timestamp,
) -> Result<ClientAssertion, AssertionRefusal> {
    let token = Token::parse_padded(text)?;
    let header = token.header();
    // AADSTS5002727: "must be 'JWT' or 'http://openid.net/specs/jwt/1.0'".
    if !header.typ.as_deref().is_none_or(|t| t.eq_ignore_ascii_case("JWT") || t == "http://openid.net/specs/jwt/1.0") {
        return Err(AssertionRefusal::Type);
    }
    let algorithm = match header.alg.as_str() {
        "RS256" => Algorithm::RS256,
        "PS256" => Algorithm::PS256,
        _ => return Err(AssertionRefusal::Algorithm),
    };
    let vouched;
    let certificate = match named_certificate(header, certificates) {
        Ok(certificate) => certificate,
        Err(unknown) => match chain::presented(text, trusted)? {
            None => return Err(unknown),
            Some(presented) => {
                vouched = presented.verify(trusted, now).map_err(AssertionRefusal::Chain)?;
                if !names(header, &vouched) {
                    return Err(AssertionRefusal::Chain(ChainFault::Thumbprint));
                }
                &vouched
            }
        },
    };
    let verified = token.verify(certificate.key(algorithm))?;
    let claims = verified.map()?;
    Ok(ClientAssertion {
        iss: text_claim(&claims, "iss")?,
        sub: text_claim(&claims, "sub")?,
        aud: audience(&claims)?,
        jti: claims.contains_key("jti").then(|| text_claim(&claims, "jti")).transpose()?,
        exp: times::claim(&claims, "exp")?.ok_or(AssertionRefusal::Claim("exp"))?,
        nbf: times::claim(&claims, "nbf")?,
        iat: times::claim(&claims, "iat")?,
        thumbprint: certificate.x5t_s256().to_owned(),
        algorithm,
        certificate_not_before: certificate.not_before(),
        certificate_not_after: certificate.not_after(),
    })
}

/// Signs a client assertion as our own client sends it: PS256, `x5t#S256`, good for [`LIFETIME`].
pub fn sign(
    key: &SigningKey,
    certificate: &Certificate,
    client_id: &str,
    audience: &str,
    jti: &str,
    now: Timestamp,
) -> Result<String, SignError> {
    let header = Header { x5t_s256: Some(certificate.x5t_s256().to_owned()), ..Header::typ("JWT") };
    let claims = json!({
        "aud": audience, "iss": client_id, "sub": client_id, "jti": jti,
        "iat": now, "nbf": now, "exp": now.plus(LIFETIME),
    });
    key.sign(&header, claims.to_string().as_bytes())
}

/// The issuer that an assertion claims, **unverified**: good for choosing whose certificates to try, and nothing else.
pub fn peek_issuer(text: &str) -> Result<String, AssertionRefusal> {
    text_claim(&Token::parse_padded(text)?.peek()?, "iss")
}

/// The certificate that has every thumbprint that the header names. Padding is how MSAL Python writes them. Platforms that hand
/// out private keys as JWKs name the certificate in `kid` alone, by either thumbprint.
fn named_certificate<'a>(
    header: &crate::JoseHeader,
    certificates: &'a [Arc<Certificate>],
) -> Result<&'a Certificate, AssertionRefusal> {
    let (found, unknown) = if header.x5t_s256.is_none() && header.x5t.is_none() {
        let kid = header.kid.as_deref().ok_or(AssertionRefusal::Thumbprint)?;
        (certificates.iter().find(|c| kid == c.x5t() || kid == c.x5t_s256()), AssertionRefusal::Thumbprint)
    } else {
        (certificates.iter().find(|c| names(header, c)), AssertionRefusal::Certificate)
    };
    found.map(AsRef::as_ref).ok_or(unknown)
}

/// Whether every thumbprint in the header, if there is one, is this certificate's.
fn names(header: &crate::JoseHeader, certificate: &Certificate) -> bool {
    is(header.x5t_s256.as_deref(), certificate.x5t_s256()) && is(header.x5t.as_deref(), certificate.x5t())
}

fn is(named: Option<&str>, own: &str) -> bool {
    named.is_none_or(|named| named.trim_end_matches('=') == own)
}

fn text_claim(claims: &Map<String, Value>, name: &'static str) -> Result<String, AssertionRefusal> {
    let text = claims.get(name).and_then(Value::as_str).filter(|t| !t.is_empty() && !t.contains(char::is_control));
    text.map(str::to_owned).ok_or(AssertionRefusal::Claim(name))
}

fn audience(claims: &Map<String, Value>) -> Result<Vec<String>, AssertionRefusal> {
    let refused = AssertionRefusal::Claim("aud");
    match claims.get("aud") {
        Some(Value::String(one)) => Ok(vec![one.clone()]),
        Some(Value::Array(list)) if !list.is_empty() => {
            list.iter().map(|a| a.as_str().map(str::to_owned)).collect::<Option<_>>().ok_or(refused)
        }
        _ => Err(refused),
    }
}

impl From<Refusal> for AssertionRefusal {
    fn from(refusal: Refusal) -> Self {
        Self::Token(refusal)
    }
}
