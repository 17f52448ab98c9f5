//! Sealing with a master key: signing keys at rest, and claims that only we can read.
//!
//! ```
//! let sealer = jose::seal::Sealer::new(&[7; 32], "signing keys");
//! let sealed = sealer.seal([1; 12], b"key 1", b"private");
//! assert_eq!(sealer.open(b"key 1", &sealed).as_deref(), Some(&b"private"[..]));
//! assert_eq!(sealer.open(b"key 2", &sealed), None);
//! ```
use crate::base64url;
use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use std::fmt;

/// AES-256-GCM-SIV (RFC 8452) under a key derived from the master key for one purpose (HKDF-SHA256, RFC 5869).
pub struct Sealer {
    key: LessSafeKey,
}

impl Sealer {
    /// Derives the key; what is sealed for one purpose cannot be opened for another.
    #[expect(clippy::expect_used, reason = "32 octets are far below what HKDF-SHA256 can give")]
    pub fn new(master: &[u8; 32], purpose: &str) -> Self {
        let extracted = Salt::new(HKDF_SHA256, b"deputize seal 1").extract(master);
        let info = [purpose.as_bytes()];
        let derived = extracted.expand(&info, &AES_256_GCM_SIV).expect("a key of 32 octets can be derived");
        Self { key: LessSafeKey::new(UnboundKey::from(derived)) }
    }

    /// Seals octets, bound to `aad`, as base64url of nonce and ciphertext. Random nonces are safe for 2^48 texts, and a repeated one reveals only that two texts are equal.
    #[expect(clippy::expect_used, reason = "AES-GCM refuses only texts of 64 GiB and more")]
    pub fn seal(&self, nonce: [u8; NONCE_LEN], aad: &[u8], plain: &[u8]) -> String {
        let mut sealed = plain.to_vec();
        self.key
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(aad), &mut sealed)
            .expect("a text in memory can be sealed");
        base64url::encode([nonce.as_slice(), &sealed].concat())
    }

    /// Opens what was sealed with the same master key, purpose and `aad`.
    pub fn open(&self, aad: &[u8], text: &str) -> Option<Vec<u8>> {
        let octets = base64url::decode(text)?;
        let (nonce, sealed) = octets.split_first_chunk::<NONCE_LEN>()?;
        let mut sealed = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let plain = self.key.open_in_place(nonce, Aad::from(aad), &mut sealed).ok()?.len();
        sealed.truncate(plain);
        Some(sealed)
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::Sealer;
    use crate::base64url;

    #[test]
    fn only_the_same_master_key_purpose_and_context_open() {
        let sealer = Sealer::new(&[1; 32], "signing keys");
        let sealed = sealer.seal([7; 12], b"tenant 1", b"secret");
        assert_eq!(sealer.open(b"tenant 1", &sealed).unwrap(), b"secret");
        assert_eq!(Sealer::new(&[1; 32], "signing keys").open(b"tenant 1", &sealed).unwrap(), b"secret");
        assert_eq!(sealer.open(b"tenant 2", &sealed), None);
        assert_eq!(Sealer::new(&[1; 32], "claims").open(b"tenant 1", &sealed), None);
        assert_eq!(Sealer::new(&[2; 32], "signing keys").open(b"tenant 1", &sealed), None);
        assert_eq!(sealer.open(b"", &sealer.seal([8; 12], b"", b"")).unwrap(), b"");
    }

    #[test]
    fn nothing_altered_opens() {
        let sealer = Sealer::new(&[1; 32], "claims");
        let sealed = base64url::decode(&sealer.seal([7; 12], b"", b"secret")).unwrap();
        for at in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[at] ^= 1;
            assert_eq!(sealer.open(b"", &base64url::encode(altered)), None, "octet {at}");
            assert_eq!(sealer.open(b"", &base64url::encode(&sealed[..at])), None, "cut at {at}");
        }
        for text in ["", "=", "AA", "!", "AAAAAAAAAAAAAAAA"] {
            assert_eq!(sealer.open(b"", text), None);
        }
    }
}
