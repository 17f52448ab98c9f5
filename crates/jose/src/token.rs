//! A signed JWT in compact form: parsed strictly, verified with one key.
use crate::{JoseHeader, Refusal, Segment, VerifyingKey, base64url, json};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::fmt;

#[cfg(test)]
mod tests;

/// The largest token, in bytes; larger ones are refused before they are decoded.
pub const MAX_TOKEN: usize = 16_384;

/// A signed JWT that was parsed and **not verified** (RFC 7515 section 7.1, RFC 7519 section 7.2).
///
/// ```
/// use jose::{Algorithm, Header, SigningKey, Token};
/// let key = SigningKey::generate(Algorithm::ES256)?;
/// let text = key.sign(&Header::typ("at+jwt"), br#"{"sub":"ada"}"#)?;
/// let verified = Token::parse(&text)?.verify(&key.verifying_key())?;
/// assert_eq!(verified.map()?["sub"], "ada");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Token<'a> {
    text: &'a str,
    header: JoseHeader,
    signed: &'a str,
    payload: &'a str,
    signature: &'a str,
}

impl<'a> Token<'a> {
    /// Takes a compact JWS apart: size, form, and header. The payload and the signature are looked at by `verify`.
    pub fn parse(text: &'a str) -> Result<Self, Refusal> {
        Self::take_apart(text, |segment| segment)
    }

    /// For client assertions alone, which some libraries pad before they sign: every segment is padded as it should be, or
    /// none is. (Where neither header nor payload needs padding the signature may have it or not: nobody compares texts.)
    pub(crate) fn parse_padded(text: &'a str) -> Result<Self, Refusal> {
        let padded = text.contains('=') && text.split('.').all(|segment| segment.len().is_multiple_of(4));
        let bare = |segment: &'a str| segment.strip_suffix("==").or(segment.strip_suffix('=')).unwrap_or(segment);
        if padded { Self::take_apart(text, bare) } else { Self::parse(text) }
    }

    /// What is signed is the text as it was sent; `bare` is for what is decoded.
    fn take_apart(text: &'a str, bare: impl Fn(&'a str) -> &'a str) -> Result<Self, Refusal> {
        if text.len() > MAX_TOKEN {
            return Err(Refusal::TooLarge);
        }
        let mut segments = text.split('.');
        let (Some(header), Some(payload), Some(signature), None) =
            (segments.next(), segments.next(), segments.next(), segments.next())
        else {
            return Err(if text.split('.').count() == 5 { Refusal::Encrypted } else { Refusal::Segments });
        };
        if header.is_empty() || payload.is_empty() || signature.is_empty() {
            return Err(Refusal::Segments);
        }
        let signed = text.get(..header.len() + 1 + payload.len()).ok_or(Refusal::Segments)?;
        let (header, payload, signature) = (JoseHeader::parse(bare(header))?, bare(payload), bare(signature));
        Ok(Self { text, header, signed, payload, signature })
    }

    /// What the token says of itself.
    pub const fn header(&self) -> &JoseHeader {
        &self.header
    }

    /// The claims, **unverified**: anyone can have written them. They may choose which configured issuer's keys to try, and
    /// nothing else; a decision made on them is a decision made by the attacker.
    pub fn peek(&self) -> Result<Map<String, Value>, Refusal> {
        let claims = self.claims_octets()?;
        serde_json::from_slice(&claims).map_err(|_| Refusal::Shape)
    }

    /// Verifies the signature with this key and the algorithm that is bound to it.
    pub fn verify(&self, key: &VerifyingKey) -> Result<Verified<'a>, Refusal> {
        if self.header.alg != key.algorithm().as_str() {
            return Err(Refusal::algorithm(key.algorithm()));
        }
        self.verify_with(|signed, signature| key.verify(signed, signature))
    }

    /// For verifiers that have compared the algorithm.
    pub(crate) fn verify_with(&self, valid: impl FnOnce(&[u8], &[u8]) -> bool) -> Result<Verified<'a>, Refusal> {
        let signature = base64url::decode(self.signature).ok_or(Refusal::Encoding(Segment::Signature))?;
        if !valid(self.signed.as_bytes(), &signature) {
            return Err(Refusal::Signature);
        }
        // After the signature: a forger learns nothing of how claims are read.
        Ok(Verified { text: self.text, claims: self.claims_octets()? })
    }

    fn claims_octets(&self) -> Result<Vec<u8>, Refusal> {
        let claims = base64url::decode(self.payload).ok_or(Refusal::Encoding(Segment::Payload))?;
        json::check(&claims).map_err(Refusal::Claims)?;
        Ok(claims)
    }
}

impl fmt::Debug for Token<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("header", &self.header).finish_non_exhaustive()
    }
}

/// The claims of a token whose signature holds; only verification makes one.
pub struct Verified<'a> {
    text: &'a str,
    claims: Vec<u8>,
}

impl<'a> Verified<'a> {
    /// The claims: one strict JSON object.
    pub fn claims_bytes(&self) -> &[u8] {
        &self.claims
    }

    /// The claims as a type of the caller's.
    pub fn claims<'v, T: Deserialize<'v>>(&'v self) -> Result<T, Refusal> {
        serde_json::from_slice(&self.claims).map_err(|_| Refusal::Shape)
    }

    /// The claims as a map.
    pub fn map(&self) -> Result<Map<String, Value>, Refusal> {
        self.claims()
    }

    /// The token's text, to be hashed or passed on; never to be logged.
    pub const fn text(&self) -> &'a str {
        self.text
    }
}

impl fmt::Debug for Verified<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verified(…)")
    }
}
