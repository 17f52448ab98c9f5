//! Proofs of possession of a key (DPoP, RFC 9449), with a verifier of their own: the key stands in the proof itself, which no
//! other kind of token may do, and proves nothing but that whoever made the proof holds it.
//!
//! ```
//! use jose::{Algorithm, Header, SigningKey, proof};
//! let key = SigningKey::generate(Algorithm::ES256)?;
//! let claims = br#"{"jti":"1","htm":"GET","htu":"https://api.example/orders","iat":1700000000,"ath":"x"}"#;
//! let text = key.sign(&Header { jwk: Some(key.public_jwk()), ..Header::typ("dpop+jwt") }, claims)?;
//! let proof = proof::verify(&text, &Algorithm::ALL)?;
//! assert_eq!(Some(proof.thumbprint), key.public_jwk().thumbprint());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#[cfg(test)]
mod tests;

use crate::{Algorithm, Jwk, KeyError, Refusal, Segment, Token, VerifyingKey, base64url};
use aws_lc_rs::digest::{SHA256, digest};
use decision::Timestamp;
use serde_json::{Map, Value};
use thiserror::Error;

/// The largest proof, in bytes: a key of RSA with 8192 bits, its signature, and what is proved.
const LONGEST: usize = 8_192;

/// A proof whose signature its own key confirms. For what it is good is still to be judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// The SHA-256 thumbprint of the key (RFC 7638), in base64url.
    pub thumbprint: String,
    /// The algorithm.
    pub algorithm: Algorithm,
    /// The proof's id.
    pub jti: String,
    /// The method of the request.
    pub htm: String,
    /// The address of the request.
    pub htu: String,
    /// When it was made; fractions are cut off.
    pub iat: Timestamp,
    /// The SHA-256 digest of the access token that it comes with, in base64url.
    pub ath: Option<String>,
    /// What the server gave out for it.
    pub nonce: Option<String>,
}

/// Why a text is no proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ProofRefusal {
    /// Its form, its header's form, or its signature.
    #[error(transparent)]
    Token(#[from] Refusal),
    /// Larger than any proof is.
    #[error("the proof is larger than {LONGEST} bytes")]
    TooLarge,
    /// Another kind of token.
    #[error("the proof's `typ` is not `dpop+jwt`")]
    Type,
    /// No key in its header.
    #[error("the proof's header has no `jwk`")]
    KeyMissing,
    /// A key that verifies nothing here.
    #[error("the proof's `jwk` cannot be used: {0}")]
    Key(KeyError),
    /// An algorithm that is not taken.
    #[error("the proof's algorithm is none of those that are taken")]
    Algorithm,
    /// A claim that is missing or of the wrong type.
    #[error("the proof's claim `{0}` is missing or malformed")]
    Claim(&'static str),
}

/// Verifies a proof with the key that it carries, and one of these algorithms.
///
/// # Errors
/// If it is no proof, or the key does not confirm it.
pub fn verify(text: &str, taken: &[Algorithm]) -> Result<Proof, ProofRefusal> {
    if text.len() > LONGEST {
        return Err(ProofRefusal::TooLarge);
    }
    let token = Token::parse(text)?;
    let header = token.header();
    if !header.typ.as_deref().is_some_and(|typ| typ.eq_ignore_ascii_case("dpop+jwt")) {
        return Err(ProofRefusal::Type);
    }
    let algorithm = header.alg.parse::<Algorithm>().ok().filter(|algorithm| taken.contains(algorithm));
    let algorithm = algorithm.ok_or(ProofRefusal::Algorithm)?;
    let jwk = Jwk::from_value(embedded(text)?).map_err(ProofRefusal::Key)?;
    let key = VerifyingKey::from_jwk(&jwk, Some(algorithm)).map_err(ProofRefusal::Key)?;
    let claims = token.verify(&key)?.map()?;
    let optional = |name| claims.contains_key(name).then(|| word(&claims, name)).transpose();
    Ok(Proof {
        thumbprint: jwk.thumbprint().ok_or(ProofRefusal::KeyMissing)?,
        algorithm,
        jti: word(&claims, "jti")?,
        htm: word(&claims, "htm")?,
        htu: word(&claims, "htu")?,
        iat: moment(&claims)?,
        ath: optional("ath")?,
        nonce: optional("nonce")?,
    })
}

/// What a proof says of the token that it comes with (RFC 9449 section 4.2, `ath`).
pub fn digest_of(token: &str) -> String {
    base64url::encode(digest(&SHA256, token.as_bytes()))
}

/// The key in the header, which has been found to be strict JSON.
fn embedded(text: &str) -> Result<Value, ProofRefusal> {
    let unreadable = ProofRefusal::Token(Refusal::Encoding(Segment::Header));
    let octets = text.split('.').next().and_then(base64url::decode).ok_or(unreadable)?;
    let mut header: Map<String, Value> = serde_json::from_slice(&octets).map_err(|_| unreadable)?;
    header.remove("jwk").ok_or(ProofRefusal::KeyMissing)
}

fn word(claims: &Map<String, Value>, name: &'static str) -> Result<String, ProofRefusal> {
    let text =
        claims.get(name).and_then(Value::as_str).filter(|text| !text.is_empty() && !text.contains(char::is_control));
    text.map(str::to_owned).ok_or(ProofRefusal::Claim(name))
}

/// `iat`, a number.
fn moment(claims: &Map<String, Value>) -> Result<Timestamp, ProofRefusal> {
    /// 9999-12-31T23:59:59Z.
    const LAST: f64 = 253_402_300_799.0;
    match claims.get("iat").and_then(Value::as_f64) {
        #[expect(clippy::cast_possible_truncation, reason = "cut off on purpose, and within the range just compared")]
        Some(seconds) if (0.0..=LAST).contains(&seconds) => Ok(Timestamp(seconds as i64)),
        _ => Err(ProofRefusal::Claim("iat")),
    }
}
