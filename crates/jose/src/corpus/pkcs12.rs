//! PKCS#12 documents, as different programs write them, for the tests of whoever reads them.
use super::numbers::{der as tlv, signed};
use crate::pkcs12::password::{Hash, Password, Work};
use aws_lc_rs::cipher::{AES_256, PaddedBlockEncryptingKey, UnboundCipherKey};
use aws_lc_rs::hmac;
use aws_lc_rs::pbkdf2::PBKDF2_HMAC_SHA256;
use des::TdesEde3;
use des::cipher::consts::U8;
use des::cipher::{BlockCipherEncrypt, BlockSizeUser, KeyInit};
use rc2::Rc2;

/// How a document is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Not at all.
    Clear,
    /// As Windows does it: the key under 3DES, then the certificates under 40-bit RC2, and SHA-1.
    Windows,
    /// As OpenSSL 3 does it: the certificates, then the key, both under AES-256, and SHA-256.
    Modern,
}

impl Shape {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Clear, Self::Windows, Self::Modern];
}

/// A document before it is one.
#[derive(Clone, Debug)]
pub struct Document {
    /// How it is protected.
    pub shape: Shape,
    /// The password.
    pub password: String,
    /// How often keys are hashed for each thing that is encrypted.
    pub iterations: u32,
    /// Private keys in PKCS#8; a good document has one.
    pub keys: Vec<Vec<u8>>,
    /// Certificates in DER.
    pub certificates: Vec<Vec<u8>>,
}

const SALT: [u8; 20] = [7; 20];

impl Document {
    /// One key, and certificates.
    pub fn new(shape: Shape, key: &[u8], certificates: &[&[u8]]) -> Self {
        let certificates = certificates.iter().map(|certificate| certificate.to_vec()).collect();
        Self { shape, password: String::new(), iterations: 2_000, keys: vec![key.to_vec()], certificates }
    }

    /// The document.
    pub fn der(&self) -> Vec<u8> {
        let keys = sequence(&self.keys.iter().map(|key| self.key(key)).collect::<Vec<_>>());
        let all = self.certificates.iter().map(|der| {
            let x509 = oid(b"\x2a\x86\x48\x86\xf7\x0d\x01\x09\x16\x01");
            bag(3, &sequence(&[x509, explicit(&tlv(4, der))]))
        });
        let certificates = self.certificates(&sequence(&all.collect::<Vec<_>>()));
        let keys = data(&keys);
        let safe = match self.shape {
            Shape::Modern => sequence(&[certificates, keys]),
            Shape::Windows | Shape::Clear => sequence(&[keys, certificates]),
        };
        let mut parts = vec![number(3), data(&safe)];
        parts.extend(self.mac(&safe));
        sequence(&parts)
    }

    fn key(&self, pkcs8: &[u8]) -> Vec<u8> {
        match self.shape {
            Shape::Clear => bag(1, pkcs8),
            Shape::Windows | Shape::Modern => {
                let (how, text) = self.encrypted(pkcs8, false);
                bag(2, &sequence(&[how, tlv(4, &text)]))
            }
        }
    }

    fn certificates(&self, contents: &[u8]) -> Vec<u8> {
        if self.shape == Shape::Clear {
            return data(contents);
        }
        let (how, text) = self.encrypted(contents, true);
        let info = sequence(&[oid(DATA), how, tlv(0x80, &text)]);
        sequence(&[oid(b"\x2a\x86\x48\x86\xf7\x0d\x01\x07\x06"), explicit(&sequence(&[number(0), info]))])
    }

    /// How, and the text.
    fn encrypted(&self, plain: &[u8], is_public: bool) -> (Vec<u8>, Vec<u8>) {
        let Some(password) = Password::readings(&self.password).next() else { return Default::default() };
        let mut work = Work::default();
        // What a reader has no patience for is not worth a writer's either.
        let derived = self.iterations.min(if self.shape == Shape::Modern { 600_000 } else { 100_000 });
        if self.shape == Shape::Modern {
            let salted = sequence(&[
                tlv(4, &SALT),
                number(self.iterations),
                sequence(&[oid(b"\x2a\x86\x48\x86\xf7\x0d\x02\x09"), tlv(5, &[])]),
            ]);
            let key = password.pbkdf2::<32>(PBKDF2_HMAC_SHA256, &SALT, derived, &mut work).unwrap_or_default();
            let mut text = plain.to_vec();
            let key = UnboundCipherKey::new(&AES_256, key.as_ref()).and_then(PaddedBlockEncryptingKey::cbc_pkcs7);
            let context = key.and_then(|key| key.encrypt(&mut text));
            let iv = context.as_ref().ok().and_then(|context| <&[u8]>::try_from(context).ok()).unwrap_or_default();
            let derivation = sequence(&[oid(b"\x2a\x86\x48\x86\xf7\x0d\x01\x05\x0c"), salted]);
            let cipher = sequence(&[oid(b"\x60\x86\x48\x01\x65\x03\x04\x01\x2a"), tlv(4, iv)]);
            let how = sequence(&[derivation, cipher]);
            return (sequence(&[oid(b"\x2a\x86\x48\x86\xf7\x0d\x01\x05\x0d"), how]), text);
        }
        let salted = sequence(&[tlv(4, &SALT), number(self.iterations)]);
        let iv = password.derive::<8>(Hash::SHA1, 2, &SALT, derived, &mut work).unwrap_or_default();
        let (name, text): (&[u8], _) = if is_public {
            let key = password.derive::<5>(Hash::SHA1, 1, &SALT, derived, &mut work).unwrap_or_default();
            (b"\x2a\x86\x48\x86\xf7\x0d\x01\x0c\x01\x06", cbc(&Rc2::new_with_eff_key_len(key.as_ref(), 40), *iv, plain))
        } else {
            let key = password.derive::<24>(Hash::SHA1, 1, &SALT, derived, &mut work).unwrap_or_default();
            (b"\x2a\x86\x48\x86\xf7\x0d\x01\x0c\x01\x03", cbc(&TdesEde3::new(&(*key).into()), *iv, plain))
        };
        (sequence(&[oid(name), salted]), text)
    }

    fn mac(&self, safe: &[u8]) -> Option<Vec<u8>> {
        let password = Password::readings(&self.password).next()?;
        let counted = self.iterations.clamp(1, 2_000);
        let (hash, hmac, name): (_, _, &[u8]) = match self.shape {
            Shape::Clear => return None,
            Shape::Windows => (Hash::SHA1, hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, b"\x2b\x0e\x03\x02\x1a"),
            Shape::Modern => (Hash::SHA256, hmac::HMAC_SHA256, b"\x60\x86\x48\x01\x65\x03\x04\x02\x01"),
        };
        let key = password.derive::<32>(hash, 3, &SALT, counted, &mut Work::default()).unwrap_or_default();
        let key = key.get(..hash.digest.output_len())?;
        let tag = hmac::sign(&hmac::Key::new(hmac, key), safe);
        let info = sequence(&[sequence(&[oid(name), tlv(5, &[])]), tlv(4, tag.as_ref())]);
        Some(sequence(&[info, tlv(4, &SALT), number(counted)]))
    }
}

/// A private key in PKCS#8 with what Windows says of its use beside it.
pub fn with_attributes(pkcs8: &[u8]) -> Vec<u8> {
    let inner = crate::pkcs12::der::Der::new(pkcs8).take(0x30).unwrap_or_default();
    let usage = sequence(&[oid(b"\x55\x1d\x0f"), tlv(0x31, &tlv(3, &[0, 0x10]))]);
    tlv(0x30, &[inner, &tlv(0xa0, &usage)].concat())
}

const DATA: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01";

fn cbc<C: BlockCipherEncrypt + BlockSizeUser<BlockSize = U8>>(cipher: &C, iv: [u8; 8], plain: &[u8]) -> Vec<u8> {
    let padding = 8 - plain.len() % 8;
    let padded: Vec<u8> = plain.iter().copied().chain(std::iter::repeat_n(padding.to_le_bytes()[0], padding)).collect();
    let mut before = iv;
    let mut text = Vec::with_capacity(padded.len());
    for block in padded.as_chunks::<8>().0 {
        let mut mixed = *block;
        mixed.iter_mut().zip(before).for_each(|(octet, before)| *octet ^= before);
        let mut encrypted = mixed.into();
        cipher.encrypt_block(&mut encrypted);
        before = encrypted.into();
        text.extend(before);
    }
    text
}

fn bag(kind: u8, value: &[u8]) -> Vec<u8> {
    let name = oid(&[b"\x2a\x86\x48\x86\xf7\x0d\x01\x0c\x0a\x01".as_slice(), &[kind]].concat());
    // 1.2.840.113549.1.9.20, a name for people.
    let named = sequence(&[oid(b"\x2a\x86\x48\x86\xf7\x0d\x01\x09\x14"), tlv(0x31, &tlv(0x1e, b"\0a"))]);
    sequence(&[name, explicit(value), tlv(0x31, &named)])
}

fn data(content: &[u8]) -> Vec<u8> {
    sequence(&[oid(DATA), explicit(&tlv(4, content))])
}

fn explicit(value: &[u8]) -> Vec<u8> {
    tlv(0xa0, value)
}

fn sequence(values: &[Vec<u8>]) -> Vec<u8> {
    tlv(0x30, &values.concat())
}

fn oid(name: &[u8]) -> Vec<u8> {
    tlv(6, name)
}

fn number(number: u32) -> Vec<u8> {
    let octets = number.to_be_bytes();
    let digits = octets.iter().position(|octet| *octet > 0).and_then(|at| octets.get(at..)).unwrap_or(&[0]);
    tlv(2, &signed(digits))
}
