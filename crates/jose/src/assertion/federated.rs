//! Assertions of another issuer (workload identity federation): verified with that issuer's keys, found by name.
use super::{AssertionRefusal, audience, text_claim, times};
use crate::{KeySet, Refusal, Token};
use decision::Timestamp;

/// An assertion of another issuer whose signature holds. Everything else is still to be judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FederatedAssertion {
    /// Who issued it.
    pub iss: String,
    /// Whom it is about, in the issuer's words.
    pub sub: String,
    /// For whom it is; one or several.
    pub aud: Vec<String>,
    /// Its id.
    pub jti: Option<String>,
    /// When it ends.
    pub exp: Timestamp,
    /// When it begins.
    pub nbf: Option<Timestamp>,
    /// When it was made.
    pub iat: Option<Timestamp>,
}

/// Verifies an assertion with the keys of **one** issuer: the key that it names. Whether the claims are of that issuer is
/// for the caller to compare.
///
/// ```
/// use jose::{Algorithm, Header, KeySet, SigningKey, assertion};
/// let key = SigningKey::generate(Algorithm::ES256)?;
/// let keys = KeySet::from_keys(vec![key.verifying_key()]);
/// let claims = br#"{"iss":"https://kubernetes.example","sub":"system:serviceaccount:shop:orders","aud":"x","exp":1800000000}"#;
/// let text = key.sign(&Header::default(), claims)?;
/// assert_eq!(assertion::verify_federated(&text, &keys)?.sub, "system:serviceaccount:shop:orders");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn verify_federated(text: &str, keys: &KeySet) -> Result<FederatedAssertion, AssertionRefusal> {
    let token = Token::parse(text)?;
    // Kubernetes says nothing, most say JWT, SPIFFE may say JOSE, and some hand out access tokens. Nothing else: a proof, a
    // logout token or a security event of the same issuer is signed with the same keys.
    let known = ["JWT", "JOSE", "at+jwt", "application/at+jwt"];
    if token.header().typ.as_deref().is_some_and(|typ| !known.iter().any(|known| known.eq_ignore_ascii_case(typ))) {
        return Err(AssertionRefusal::Type);
    }
    let verified = token.verify(keys.key_for(&token)?)?;
    let claims = verified.map()?;
    let text = |name| text_claim(&claims, name);
    // Kinds of token that may be signed with the same keys and carry no `typ` (OpenID Connect Back-Channel Logout section 2.4).
    if claims.contains_key("events") || claims.contains_key("nonce") {
        return Err(Refusal::Shape.into());
    }
    Ok(FederatedAssertion {
        iss: text("iss")?,
        sub: text("sub")?,
        aud: audience(&claims)?,
        jti: claims.contains_key("jti").then(|| text("jti")).transpose()?,
        exp: times::claim(&claims, "exp")?.ok_or(AssertionRefusal::Claim("exp"))?,
        nbf: times::claim(&claims, "nbf")?,
        iat: times::claim(&claims, "iat")?,
    })
}
