//! PKCS#12 (RFC 7292): a private key and its certificates in one document, as Azure Key Vault and Windows give them.
//!
//! What opens is what those write: keys and certificates in the clear, under 3DES, 40-bit RC2 or AES (PBES2), and a MAC over SHA-1 or
//! SHA-2. Where the password is empty none of this keeps or vouches for anything; the document is worth what the way is worth that it came.
//!
//! ```
//! use jose::pkcs12;
//! let document = include_bytes!("pkcs12/fixtures/openssl-3.p12");
//! let pem = pkcs12::read(document, "")?.pem();
//! assert!(pem.contains("BEGIN PRIVATE KEY") && pem.contains("BEGIN CERTIFICATE"));
//! assert_eq!(pkcs12::read(document, "another").err(), Some(pkcs12::Pkcs12Error::Password));
//! # Ok::<(), pkcs12::Pkcs12Error>(())
//! ```
mod ciphers;
pub(crate) mod der;
pub(crate) mod password;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ciphers::decrypt;
use der::Der;
use password::{Password, Work};
use rcgen::{KeyPair, PublicKeyData};
use std::fmt;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use zeroize::{Zeroize, Zeroizing};

/// The most certificates of a document.
const MOST: usize = 32;

/// What cannot be read as a key with its certificates, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Pkcs12Error {
    /// Another format, or one that was cut off.
    #[error("it is no PKCS#12 document in DER")]
    Malformed,
    /// The password is another one, or the document was changed.
    #[error("its password is another one, or it was changed")]
    Password,
    /// Something that is not read.
    #[error("it is protected in a way that is not read here: {0}")]
    Unsupported(&'static str),
    /// It would take too long to open.
    #[error("it takes more than a million iterations to open")]
    Iterations,
    /// Keys, but not one.
    #[error("it holds {0} private keys in place of one")]
    Keys(usize),
    /// The key is of a kind that is not known.
    #[error("its private key is of a kind that is not read here; have one of RSA, P-256, P-384, P-521 or Ed25519 made")]
    Key,
    /// Nothing that belongs to the key.
    #[error("none of its certificates belongs to its key")]
    Certificate,
    /// Too many certificates.
    #[error("it holds more than 32 certificates")]
    Certificates,
}

/// One private key and its certificates.
pub struct Identity {
    key: Zeroizing<Vec<u8>>,
    chain: Vec<Vec<u8>>,
}

/// Never the key.
impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("certificates", &self.chain.len()).finish_non_exhaustive()
    }
}

impl Identity {
    /// The private key, in PKCS#8.
    pub fn pkcs8(&self) -> &[u8] {
        &self.key
    }

    /// The certificates in DER: that of the key, whoever vouches for it, and so on; then whatever is there beside them.
    pub fn chain(&self) -> &[Vec<u8>] {
        &self.chain
    }

    /// All of it in one text: the key, and the certificates in their order.
    pub fn pem(&self) -> Zeroizing<String> {
        // Room for all of it: what grows leaves copies behind, which nobody wipes.
        let room = |der: &[u8]| 2 * der.len() + 64;
        let all = room(&self.key) + self.chain.iter().map(|der| room(der)).sum::<usize>();
        let mut text = Zeroizing::new(String::with_capacity(all));
        encode(&mut text, "PRIVATE KEY", &self.key);
        for certificate in &self.chain {
            encode(&mut text, "CERTIFICATE", certificate);
        }
        text
    }
}

fn encode(text: &mut String, label: &str, der: &[u8]) {
    text.extend(["-----BEGIN ", label, "-----\n"]);
    for line in der.chunks(48) {
        STANDARD.encode_string(line, text);
        text.push('\n');
    }
    text.extend(["-----END ", label, "-----\n"]);
}

/// Reads a document that is protected by a password, which may be empty.
///
/// # Errors
/// If it is none, is protected by another password or in another way, or holds no key with its certificate.
pub fn read(document: &[u8], password: &str) -> Result<Identity, Pkcs12Error> {
    let mut work = Work::default();
    // Some have two zeros for an empty password, and some nothing (RFC 7292 appendix B.1).
    let mut told = Pkcs12Error::Password;
    for password in Password::readings(password) {
        match open(document, &password, &mut work) {
            Err(Pkcs12Error::Password) => told = Pkcs12Error::Password,
            other => return other,
        }
    }
    Err(told)
}

/// What bags hold.
#[derive(Default)]
struct Bags {
    keys: Vec<Zeroizing<Vec<u8>>>,
    certificates: Vec<Vec<u8>>,
}

fn open(document: &[u8], password: &Password, work: &mut Work) -> Result<Identity, Pkcs12Error> {
    let mut outer = Der::new(document);
    let mut pfx = outer.inside(der::SEQUENCE)?;
    outer.end()?;
    if pfx.number()? != 3 {
        return Err(Pkcs12Error::Malformed);
    }
    let safe = content(pfx.inside(der::SEQUENCE)?, DATA)?;
    if !pfx.is_empty() {
        password::verify(pfx.inside(der::SEQUENCE)?, safe, password, work)?;
        pfx.end()?;
    }
    let mut safe = Der::new(safe);
    let mut all = safe.inside(der::SEQUENCE)?;
    safe.end()?;
    let mut bags = Bags::default();
    while !all.is_empty() {
        let mut info = all.inside(der::SEQUENCE)?;
        match info.take(der::OID)? {
            DATA => bags.read(explicit(info, der::OCTETS)?, password, work)?,
            ENCRYPTED => {
                let inner = encrypted(explicit(info, der::SEQUENCE)?, password, work)?;
                bags.read(&inner, password, work)?;
            }
            _ => return Err(Pkcs12Error::Unsupported("a public key")),
        }
    }
    bags.identity()
}

/// 1.2.840.113549.1.7.1
const DATA: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01";
/// 1.2.840.113549.1.7.6
const ENCRYPTED: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x07\x06";
/// 1.2.840.113549.1.12.10.1, of which each kind of bag is one.
const BAG: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x0c\x0a\x01";
/// 1.2.840.113549.1.9.22.1
const X509: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x09\x16\x01";

/// What a `ContentInfo` of this kind holds.
fn content<'a>(mut info: Der<'a>, kind: &[u8]) -> Result<&'a [u8], Pkcs12Error> {
    if info.take(der::OID)? != kind {
        return Err(Pkcs12Error::Unsupported("a signature in place of a MAC"));
    }
    explicit(info, der::OCTETS)
}

/// The one value within `[0]`, with which a sequence ends.
fn explicit(mut outer: Der<'_>, tag: u8) -> Result<&[u8], Pkcs12Error> {
    let mut inner = outer.inside(der::EXPLICIT)?;
    outer.end()?;
    let value = inner.take(tag)?;
    inner.end()?;
    Ok(value)
}

/// `EncryptedData` (RFC 5652 section 8).
fn encrypted(data: &[u8], password: &Password, work: &mut Work) -> Result<Zeroizing<Vec<u8>>, Pkcs12Error> {
    let mut data = Der::new(data);
    let _version = data.number()?;
    let mut info = data.inside(der::SEQUENCE)?;
    if info.take(der::OID)? != DATA {
        return Err(Pkcs12Error::Malformed);
    }
    let how = info.inside(der::SEQUENCE)?;
    let text = info.take(der::IMPLICIT)?;
    info.end()?;
    decrypt(how, text, password, work)
}

impl Bags {
    fn read(&mut self, contents: &[u8], password: &Password, work: &mut Work) -> Result<(), Pkcs12Error> {
        let mut outer = Der::new(contents);
        let mut bags = outer.inside(der::SEQUENCE)?;
        outer.end()?;
        while !bags.is_empty() {
            let mut bag = bags.inside(der::SEQUENCE)?;
            let kind = bag.take(der::OID)?.strip_prefix(BAG).ok_or(Pkcs12Error::Malformed)?;
            let mut value = bag.inside(der::EXPLICIT)?;
            // What follows says names of it.
            match kind {
                [1] => self.keys.push(Zeroizing::new(value.whole(der::SEQUENCE)?.to_vec())),
                [2] => {
                    let mut shrouded = value.inside(der::SEQUENCE)?;
                    let how = shrouded.inside(der::SEQUENCE)?;
                    let text = shrouded.take(der::OCTETS)?;
                    shrouded.end()?;
                    self.keys.push(decrypt(how, text, password, work)?);
                }
                [3] => {
                    let mut certificate = value.inside(der::SEQUENCE)?;
                    if certificate.take(der::OID)? != X509 {
                        return Err(Pkcs12Error::Unsupported("a certificate that is none of X.509"));
                    }
                    self.certificates.push(explicit(certificate, der::OCTETS)?.to_vec());
                }
                // Lists and secrets are nobody's key; bags in bags are nobody's habit.
                [4 | 5] => drop(value.any()?),
                _ => return Err(Pkcs12Error::Unsupported("bags within bags")),
            }
            value.end()?;
            if self.certificates.len() > MOST {
                return Err(Pkcs12Error::Certificates);
            }
        }
        Ok(())
    }

    /// The one key, the certificate that belongs to it, and those that follow.
    fn identity(mut self) -> Result<Identity, Pkcs12Error> {
        let key = match (self.keys.pop(), self.keys.len()) {
            (Some(key), 0) => key,
            (key, others) => return Err(Pkcs12Error::Keys(others + usize::from(key.is_some()))),
        };
        let mut pair = KeyPair::try_from(key.as_slice()).map_err(|_| Pkcs12Error::Key)?;
        let public = pair.der_bytes().to_vec();
        pair.zeroize();
        let names = |der: &[u8]| {
            let (_, parsed) = X509Certificate::from_der(der).ok()?;
            let belongs = *parsed.public_key().subject_public_key.data == *public;
            Some((belongs, parsed.subject().as_raw().to_vec(), parsed.issuer().as_raw().to_vec()))
        };
        let mut left = Vec::new();
        for der in self.certificates {
            let named = names(&der).ok_or(Pkcs12Error::Certificate)?;
            left.push((der, named));
        }
        let own = left.iter().position(|(_, (belongs, ..))| *belongs).ok_or(Pkcs12Error::Certificate)?;
        let (der, (.., mut issuer)) = left.remove(own);
        let mut chain = vec![der];
        while let Some(next) = left.iter().position(|(_, (_, subject, _))| *subject == issuer) {
            let (der, (.., its_issuer)) = left.remove(next);
            chain.push(der);
            issuer = its_issuer;
        }
        chain.extend(left.into_iter().map(|(der, _)| der));
        Ok(Identity { key, chain })
    }
}

#[cfg(test)]
mod tests;
