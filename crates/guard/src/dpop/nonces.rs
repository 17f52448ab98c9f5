//! Nonces of ours in proofs (RFC 9449 section 8): moments that only we can have sealed, so that there is nothing to remember.
use decision::Timestamp;
use jose::seal::Sealer;

/// How long a nonce is good, in seconds.
pub(super) const LIFE: i64 = 300;

const ABOUT: &[u8] = b"dpop nonce";

pub(super) struct Nonces(Sealer);

impl Nonces {
    pub(super) fn new(secret: &[u8; 32]) -> Self {
        Self(Sealer::new(secret, "dpop nonces"))
    }

    /// The nonce of this moment. That the same moment has the same one reveals nothing.
    pub(super) fn at(&self, now: Timestamp) -> String {
        self.0.seal([0; 12], ABOUT, &now.0.to_be_bytes())
    }

    /// How many seconds ago it was given out; `None` if it was not.
    pub(super) fn age(&self, nonce: &str, now: Timestamp) -> Option<i64> {
        let octets: [u8; 8] = self.0.open(ABOUT, nonce)?.try_into().ok()?;
        Some(now.since(Timestamp(i64::from_be_bytes(octets))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_is_known_by_who_shares_the_secret_and_by_no_other() {
        let nonces = Nonces::new(&[1; 32]);
        let nonce = nonces.at(Timestamp(1_000));
        assert_eq!(Nonces::new(&[1; 32]).age(&nonce, Timestamp(1_007)), Some(7));
        assert_eq!(Nonces::new(&[2; 32]).age(&nonce, Timestamp(1_007)), None);
        assert_ne!(nonces.at(Timestamp(1_001)), nonce);
        for made_up in ["", "x", "AAAA", "1000", &nonce[1..]] {
            assert_eq!(nonces.age(made_up, Timestamp(1_007)), None, "{made_up}");
        }
    }
}
