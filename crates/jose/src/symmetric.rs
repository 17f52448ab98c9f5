//! Tokens signed with a shared key (RFC 7518 section 3.2), for inline keys of a gateway policy and nothing else.
//!
//! A key is given by the configuration, one at a time: no key set can hold one, so no public key can be taken for one.
//!
//! ```
//! use jose::symmetric::{HmacAlgorithm, SymmetricKey};
//! assert!(SymmetricKey::new(HmacAlgorithm::HS256, b"too short").is_err());
//! ```
use crate::{KeyError, Refusal, Token, Verified};
use aws_lc_rs::hmac;
use std::fmt;

/// HMAC with a hash.
#[expect(missing_docs, reason = "the names are those of RFC 7518 section 3.2")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HmacAlgorithm {
    HS256,
    HS384,
    HS512,
}

impl HmacAlgorithm {
    /// The name in a header's `alg`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::HS256 => "HS256",
            Self::HS384 => "HS384",
            Self::HS512 => "HS512",
        }
    }

    const fn hash(self) -> (hmac::Algorithm, usize) {
        match self {
            Self::HS256 => (hmac::HMAC_SHA256, 32),
            Self::HS384 => (hmac::HMAC_SHA384, 48),
            Self::HS512 => (hmac::HMAC_SHA512, 64),
        }
    }
}

/// A shared key, bound to one algorithm.
pub struct SymmetricKey {
    algorithm: HmacAlgorithm,
    key: hmac::Key,
}

impl SymmetricKey {
    /// Takes a key at least as long as the hash's output.
    pub fn new(algorithm: HmacAlgorithm, key: &[u8]) -> Result<Self, KeyError> {
        let (hash, length) = algorithm.hash();
        if key.len() < length {
            return Err(KeyError::Short);
        }
        Ok(Self { algorithm, key: hmac::Key::new(hash, key) })
    }

    /// Verifies a token with this key.
    pub fn verify<'a>(&self, token: &Token<'a>) -> Result<Verified<'a>, Refusal> {
        if token.header().alg != self.algorithm.as_str() {
            return Err(Refusal::Algorithm { bound: self.algorithm.as_str() });
        }
        token.verify_with(|signed, signature| hmac::verify(&self.key, signed, signature).is_ok())
    }
}

impl fmt::Debug for SymmetricKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SymmetricKey").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::{HmacAlgorithm, SymmetricKey};
    use crate::{Algorithm, Header, KeyError, Refusal, SigningKey, Token, base64url};
    use aws_lc_rs::hmac;

    fn token(algorithm: &str, key: &[u8]) -> String {
        let hash = match algorithm {
            "HS256" => hmac::HMAC_SHA256,
            "HS384" => hmac::HMAC_SHA384,
            _ => hmac::HMAC_SHA512,
        };
        let header = base64url::encode(format!("{{\"alg\":\"{algorithm}\"}}"));
        let signed = format!("{header}.{}", base64url::encode("{\"sub\":\"ada\"}"));
        let tag = hmac::sign(&hmac::Key::new(hash, key), signed.as_bytes());
        format!("{signed}.{}", base64url::encode(tag))
    }

    #[test]
    fn each_algorithm_verifies_its_own_and_no_other() {
        let key = [9; 64];
        for own in [HmacAlgorithm::HS256, HmacAlgorithm::HS384, HmacAlgorithm::HS512] {
            let verifier = SymmetricKey::new(own, &key).unwrap();
            for algorithm in ["HS256", "HS384", "HS512"] {
                let text = token(algorithm, &key);
                let found = verifier.verify(&Token::parse(&text).unwrap()).map(drop);
                let refused = Err(Refusal::Algorithm { bound: own.as_str() });
                assert_eq!(found, if algorithm == own.as_str() { Ok(()) } else { refused });
            }
            let text = token(own.as_str(), &[8; 64]);
            assert_eq!(verifier.verify(&Token::parse(&text).unwrap()).err(), Some(Refusal::Signature));
        }
    }

    #[test]
    fn a_key_shorter_than_the_hash_is_refused() {
        let table = [(HmacAlgorithm::HS256, 32), (HmacAlgorithm::HS384, 48), (HmacAlgorithm::HS512, 64)];
        for (algorithm, length) in table {
            assert!(SymmetricKey::new(algorithm, &vec![1; length]).is_ok());
            for short in [0, 1, length - 1] {
                assert_eq!(SymmetricKey::new(algorithm, &vec![1; short]).err(), Some(KeyError::Short));
            }
        }
    }

    #[test]
    fn an_asymmetric_token_is_refused() {
        let text = SigningKey::generate(Algorithm::ES256).unwrap().sign(&Header::default(), b"{}").unwrap();
        let verifier = SymmetricKey::new(HmacAlgorithm::HS256, &[1; 32]).unwrap();
        assert_eq!(verifier.verify(&Token::parse(&text).unwrap()).err(), Some(Refusal::Algorithm { bound: "HS256" }));
    }
}
