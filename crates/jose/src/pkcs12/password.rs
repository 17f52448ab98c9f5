//! What a password opens: keys derived from it (RFC 7292 appendix B, RFC 8018 section 5.2), and the MAC.
use super::Pkcs12Error;
use super::der::{self, Der};
use aws_lc_rs::digest::{self, Context};
use aws_lc_rs::{hmac, pbkdf2};
use std::num::NonZeroU32;
use zeroize::Zeroizing;

/// How many iterations one document may take, for all that is in it.
const MOST: u32 = 1_000_000;

/// The longest salt.
const LONGEST: usize = 1_024;

/// What may still be spent on a document.
pub(crate) struct Work(u32);

impl Default for Work {
    fn default() -> Self {
        Self(MOST)
    }
}

impl Work {
    fn spend(&mut self, iterations: u32) -> Result<NonZeroU32, Pkcs12Error> {
        let iterations = NonZeroU32::new(iterations).ok_or(Pkcs12Error::Malformed)?;
        self.0 = self.0.checked_sub(iterations.get()).ok_or(Pkcs12Error::Iterations)?;
        Ok(iterations)
    }
}

/// A password, in the two forms that it is used in.
pub(crate) struct Password {
    utf8: Zeroizing<Vec<u8>>,
    /// UTF-16, big-endian, with the zeros at its end.
    utf16: Zeroizing<Vec<u8>>,
}

impl Password {
    /// The ways to read one: an empty one has two.
    pub(crate) fn readings(text: &str) -> impl Iterator<Item = Self> {
        // With room for all of it, so that it is copied nowhere as it grows.
        let mut utf16 = Zeroizing::new(Vec::with_capacity(2 * text.len() + 2));
        utf16.extend(text.encode_utf16().chain([0]).flat_map(u16::to_be_bytes));
        let nothing = text.is_empty().then(Zeroizing::default);
        let utf8 = Zeroizing::new(text.as_bytes().to_vec());
        [utf16].into_iter().chain(nothing).map(move |utf16| Self { utf8: utf8.clone(), utf16 })
    }

    /// PBKDF2 (RFC 8018 section 5.2).
    pub(crate) fn pbkdf2<const N: usize>(
        &self,
        algorithm: pbkdf2::Algorithm,
        salt: &[u8],
        iterations: u32,
        work: &mut Work,
    ) -> Result<Zeroizing<[u8; N]>, Pkcs12Error> {
        let mut key = Zeroizing::new([0; N]);
        pbkdf2::derive(algorithm, work.spend(iterations)?, salt, &self.utf8, key.as_mut());
        Ok(key)
    }

    /// The derivation of PKCS#12 (RFC 7292 appendix B.2). `purpose` is 1 for a key, 2 for an initialisation vector, 3 for a MAC's key.
    pub(crate) fn derive<const N: usize>(
        &self,
        hash: Hash,
        purpose: u8,
        salt: &[u8],
        iterations: u32,
        work: &mut Work,
    ) -> Result<Zeroizing<[u8; N]>, Pkcs12Error> {
        let mut key = Zeroizing::new([0; N]);
        self.fill(hash, purpose, salt, iterations, work, key.as_mut())?;
        Ok(key)
    }

    fn fill(
        &self,
        hash: Hash,
        purpose: u8,
        salt: &[u8],
        iterations: u32,
        work: &mut Work,
        key: &mut [u8],
    ) -> Result<(), Pkcs12Error> {
        if salt.len() > LONGEST {
            return Err(Pkcs12Error::Malformed);
        }
        let block = hash.digest.block_len();
        let filled = |text: &[u8]| text.len().div_ceil(block) * block;
        let mut state = Zeroizing::new(Vec::with_capacity(filled(salt) + filled(&self.utf16)));
        state.extend(salt.iter().cycle().take(filled(salt)));
        state.extend(self.utf16.iter().cycle().take(filled(&self.utf16)));
        for part in key.chunks_mut(hash.digest.output_len()) {
            let rounds = work.spend(iterations)?.get();
            let mut context = Context::new(hash.digest);
            context.update(&vec![purpose; block]);
            context.update(&state);
            let mut output = context.finish();
            for _ in 1..rounds {
                output = digest::digest(hash.digest, output.as_ref());
            }
            for (to, from) in part.iter_mut().zip(output.as_ref()) {
                *to = *from;
            }
            // Each block of the state plus the output, as often as it fits, plus one.
            let addend: Vec<u8> = output.as_ref().iter().copied().cycle().take(block).collect();
            for words in state.chunks_mut(block) {
                let mut carry = 1;
                for (octet, more) in words.iter_mut().zip(&addend).rev() {
                    carry += u16::from(*octet) + u16::from(*more);
                    *octet = carry.to_le_bytes()[0];
                    carry >>= 8;
                }
            }
        }
        Ok(())
    }
}

/// A hash, and the functions over it.
#[derive(Clone, Copy)]
pub(crate) struct Hash {
    pub(crate) digest: &'static digest::Algorithm,
    hmac: hmac::Algorithm,
}

impl Hash {
    pub(crate) const SHA1: Self =
        Self { digest: &digest::SHA1_FOR_LEGACY_USE_ONLY, hmac: hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY };

    pub(crate) const SHA256: Self = Self { digest: &digest::SHA256, hmac: hmac::HMAC_SHA256 };

    fn named(oid: &[u8]) -> Option<Self> {
        Some(match oid {
            // 1.3.14.3.2.26
            b"\x2b\x0e\x03\x02\x1a" => Self::SHA1,
            // 2.16.840.1.101.3.4.2.1 and those after it
            b"\x60\x86\x48\x01\x65\x03\x04\x02\x01" => Self::SHA256,
            b"\x60\x86\x48\x01\x65\x03\x04\x02\x02" => Self { digest: &digest::SHA384, hmac: hmac::HMAC_SHA384 },
            b"\x60\x86\x48\x01\x65\x03\x04\x02\x03" => Self { digest: &digest::SHA512, hmac: hmac::HMAC_SHA512 },
            _ => return None,
        })
    }
}

/// Checks what the MAC says of this content (RFC 7292 section 4, `MacData`).
pub(crate) fn verify(
    mut mac: Der<'_>,
    content: &[u8],
    password: &Password,
    work: &mut Work,
) -> Result<(), Pkcs12Error> {
    let mut info = mac.inside(der::SEQUENCE)?;
    let hash = Hash::named(info.inside(der::SEQUENCE)?.take(der::OID)?).ok_or(Pkcs12Error::Unsupported("its MAC"))?;
    let tag = info.take(der::OCTETS)?;
    info.end()?;
    let salt = mac.take(der::OCTETS)?;
    let iterations = if mac.is_empty() { 1 } else { mac.number()? };
    mac.end()?;
    let mut key = Zeroizing::new(vec![0; hash.digest.output_len()]);
    password.fill(hash, 3, salt, iterations, work, &mut key)?;
    hmac::verify(&hmac::Key::new(hash.hmac, &key), content, tag).map_err(|_| Pkcs12Error::Password)
}
