//! Certificates of callers (RFC 5280): what the other end of a TLS connection showed, and who vouches for it.
//!
//! That the caller holds the key has been shown in the handshake; here is decided whose it is.
use crate::name::{self, DistinguishedName};
use crate::verifying_key::x5t_s256;
use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use decision::Timestamp;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, TrustAnchor, UnixTime};
use std::fmt;
use std::time::Duration;
use thiserror::Error;
use webpki::{
    CertRevocationList, EndEntityCert, ExpirationPolicy, KeyUsage, OwnedCertRevocationList, RevocationCheckDepth,
    RevocationOptionsBuilder, UnknownStatusPolicy, VerifiedPath,
};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

/// The longest chain that is looked at, the caller's own certificate included.
const LONGEST: usize = 10;

/// Ed25519 (RFC 8410 section 3).
const ED25519: &str = "1.3.101.112";

/// A certificate that somebody showed, and the others of its chain.
pub struct PeerCertificate {
    leaf: CertificateDer<'static>,
    others: Vec<CertificateDer<'static>>,
    print: Print,
    x5t_s256: String,
    serial: Vec<u8>,
    common_name: Option<String>,
    dns_names: Vec<String>,
    /// Whether its key may sign handshakes, and is of a kind and size that does.
    signs: bool,
    not_before: Timestamp,
    not_after: Timestamp,
}

/// Whether a key is one that a handshake is taken from. Somebody else may have shaken hands.
fn is_strong(key: &SubjectPublicKeyInfo<'_>) -> bool {
    let curve = || key.algorithm.parameters.as_ref()?.as_oid().ok().map(|curve| curve.to_id_string());
    match key.parsed() {
        Ok(PublicKey::RSA(rsa)) => {
            let modulus = rsa.modulus.strip_prefix(&[0]).unwrap_or(rsa.modulus);
            crate::rsa::check(modulus, rsa.exponent).is_ok()
        }
        // P-256, P-384 and P-521.
        Ok(PublicKey::EC(_)) => {
            curve().is_some_and(|curve| ["1.2.840.10045.3.1.7", "1.3.132.0.34", "1.3.132.0.35"].contains(&&*curve))
        }
        _ => key.algorithm.algorithm.to_id_string() == ED25519,
    }
}

/// What one certificate is told apart by.
#[derive(Clone, PartialEq, Eq)]
struct Print {
    sha1: Vec<u8>,
    sha256: Vec<u8>,
    subject: Option<String>,
}

impl Print {
    fn of(der: &[u8]) -> Option<Self> {
        let (rest, parsed) = X509Certificate::from_der(der).ok()?;
        let hash = |algorithm| digest(algorithm, der).as_ref().to_vec();
        let subject = name::text(parsed.subject());
        rest.is_empty().then(|| Self { sha1: hash(&SHA1_FOR_LEGACY_USE_ONLY), sha256: hash(&SHA256), subject })
    }

    fn has(&self, thumbprint: &[u8]) -> bool {
        thumbprint == self.sha1 || thumbprint == self.sha256
    }
}

impl PeerCertificate {
    /// Reads a chain in DER that begins with the certificate of its owner. `None` if that one cannot be read, or if the chain
    /// is longer than any is.
    pub fn read(chain: &[CertificateDer<'static>]) -> Option<Self> {
        let (leaf, others) = chain.split_first().filter(|(_, others)| others.len() < LONGEST)?;
        let (_, parsed) = X509Certificate::from_der(leaf).ok()?;
        let mut names = parsed.subject().iter_common_name();
        // Of two, which one is meant is anybody's guess.
        let common_name = match (names.next(), names.next()) {
            (Some(one), None) => one.as_str().ok().map(str::to_owned),
            _ => None,
        };
        let may_sign = parsed.key_usage().ok()?.is_none_or(|usage| usage.value.digital_signature());
        let signs = may_sign && is_strong(parsed.public_key());
        let alternatives = parsed.subject_alternative_name().ok()?.map(|extension| &extension.value.general_names);
        let dns_names = alternatives.into_iter().flatten().filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
            _ => None,
        });
        Some(Self {
            print: Print::of(leaf)?,
            x5t_s256: x5t_s256(leaf),
            serial: significant(parsed.raw_serial()).to_vec(),
            common_name,
            dns_names: dns_names.collect(),
            signs,
            not_before: Timestamp(parsed.validity().not_before.timestamp()),
            not_after: Timestamp(parsed.validity().not_after.timestamp()),
            leaf: leaf.clone(),
            others: others.to_vec(),
        })
    }

    /// SHA-256 thumbprint, unpadded base64url: what tokens that are bound to it carry (RFC 8705 section 3.1).
    pub fn x5t_s256(&self) -> &str {
        &self.x5t_s256
    }

    /// Whether its thumbprint, SHA-1 or SHA-256, is this one.
    pub fn has_thumbprint(&self, thumbprint: &[u8]) -> bool {
        self.print.has(thumbprint)
    }

    /// Whether its serial number is this one, in octets, the most significant first.
    pub fn has_serial_number(&self, serial: &[u8]) -> bool {
        self.serial == significant(serial)
    }

    /// The one common name of its subject.
    pub fn common_name(&self) -> Option<&str> {
        self.common_name.as_deref()
    }

    /// Whether its subject has this name.
    pub fn is_subject(&self, name: &DistinguishedName) -> bool {
        self.print.subject.as_deref().is_some_and(|subject| name.is(subject))
    }

    /// Whether one of its alternative names is this DNS name, in lower case; a wildcard is one of them like any other.
    pub fn has_dns_name(&self, name: &str) -> bool {
        self.dns_names.iter().any(|own| own == name)
    }

    /// When it begins.
    pub const fn not_before(&self) -> Timestamp {
        self.not_before
    }

    /// When it ends.
    pub const fn not_after(&self) -> Timestamp {
        self.not_after
    }
}

impl fmt::Debug for PeerCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerCertificate").field("x5t_s256", &self.x5t_s256).finish_non_exhaustive()
    }
}

/// Without the zeros before it, which say nothing.
fn significant(serial: &[u8]) -> &[u8] {
    let zeros = serial.iter().take_while(|octet| **octet == 0).count();
    serial.get(zeros..).unwrap_or_default()
}

/// Why certificate authorities or their lists cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum AuthoritiesError {
    /// No certificate.
    #[error("it holds no certificate in PEM")]
    Nothing,
    /// One that cannot be read.
    #[error("it holds a certificate that cannot be read")]
    Certificate,
    /// One that vouches for nobody.
    #[error("it holds a certificate that is no certificate authority's")]
    NoAuthority,
    /// A list that cannot be read.
    #[error("it holds no certificate revocation list that can be read")]
    List,
}

/// Why nobody vouches for a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distrust {
    /// No authority that is trusted stands at the end of the chain, or the certificate is for something else.
    Untrusted,
    /// A certificate of the chain has ended.
    Expired,
    /// A certificate of the chain has not begun.
    NotYetValid,
    /// A certificate of the chain is revoked.
    Revoked,
    /// No current list of its authority says whether a certificate of the chain is revoked.
    RevocationUnknown,
}

/// Who vouches for a certificate.
pub struct Vouched {
    issuer: Print,
}

impl Vouched {
    /// Whether the thumbprint, SHA-1 or SHA-256, of the issuer's certificate is this one.
    pub fn has_issuer_thumbprint(&self, thumbprint: &[u8]) -> bool {
        self.issuer.has(thumbprint)
    }

    /// Whether the issuer has this name.
    pub fn is_issuer(&self, name: &DistinguishedName) -> bool {
        self.issuer.subject.as_deref().is_some_and(|subject| name.is(subject))
    }
}

/// Certificate authorities that are trusted, and what they revoked; by default nobody is.
#[derive(Default)]
pub struct Authorities {
    all: Vec<Authority>,
    anchors: Vec<TrustAnchor<'static>>,
    lists: Vec<CertRevocationList<'static>>,
}

struct Authority {
    print: Print,
    not_before: Timestamp,
    not_after: Timestamp,
    /// How many authorities may stand between; an anchor's own limit is for us to keep.
    path_length: Option<usize>,
}

impl Authorities {
    /// All certificates of a PEM text.
    ///
    /// # Errors
    /// If it has none, or one that is no authority's.
    pub fn read(pem: &[u8]) -> Result<Self, AuthoritiesError> {
        let mut read = Self::default();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            read.add(&certificate.map_err(|_| AuthoritiesError::Certificate)?)?;
        }
        if read.all.is_empty() { Err(AuthoritiesError::Nothing) } else { Ok(read) }
    }

    /// These too.
    pub fn join(mut self, others: Self) -> Self {
        self.all.extend(others.all);
        self.anchors.extend(others.anchors);
        self.lists.extend(others.lists);
        self
    }

    fn add(&mut self, der: &CertificateDer<'_>) -> Result<(), AuthoritiesError> {
        let (_, parsed) = X509Certificate::from_der(der).map_err(|_| AuthoritiesError::Certificate)?;
        let constraints = parsed.basic_constraints().map_err(|_| AuthoritiesError::Certificate)?;
        let constraints = constraints.filter(|it| it.value.ca).ok_or(AuthoritiesError::NoAuthority)?;
        if !may_certify(der) {
            return Err(AuthoritiesError::NoAuthority);
        }
        let anchor = webpki::anchor_from_trusted_cert(der).map_err(|_| AuthoritiesError::Certificate)?.to_owned();
        self.all.push(Authority {
            print: Print::of(der).ok_or(AuthoritiesError::Certificate)?,
            not_before: Timestamp(parsed.validity().not_before.timestamp()),
            not_after: Timestamp(parsed.validity().not_after.timestamp()),
            path_length: constraints.value.path_len_constraint.and_then(|limit| usize::try_from(limit).ok()),
        });
        self.anchors.push(anchor);
        Ok(())
    }

    /// Looks at these lists of what they revoked, in PEM or one in DER. From then on a certificate of the chain that no current
    /// list tells of is not vouched for.
    ///
    /// # Errors
    /// If there is none, or one cannot be read.
    pub fn add_revocation_lists(&mut self, text: &[u8]) -> Result<(), AuthoritiesError> {
        let before = self.lists.len();
        for list in CertificateRevocationListDer::pem_slice_iter(text) {
            self.add_list(list.map_err(|_| AuthoritiesError::List)?.as_ref())?;
        }
        if self.lists.len() == before { self.add_list(text) } else { Ok(()) }
    }

    fn add_list(&mut self, der: &[u8]) -> Result<(), AuthoritiesError> {
        let list = OwnedCertRevocationList::from_der(der).map_err(|_| AuthoritiesError::List)?;
        self.lists.push(CertRevocationList::Owned(list));
        Ok(())
    }

    /// Who vouches for this certificate as that of a client, at this moment.
    ///
    /// # Errors
    /// If nobody does.
    pub fn vouch(&self, peer: &PeerCertificate, at: Timestamp) -> Result<Vouched, Distrust> {
        if !peer.signs {
            return Err(Distrust::Untrusted);
        }
        let leaf = EndEntityCert::try_from(&peer.leaf).map_err(|_| Distrust::Untrusted)?;
        let seconds = u64::try_from(at.0).map_err(|_| Distrust::Untrusted)?;
        let time = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        let lists: Vec<&CertRevocationList<'_>> = self.lists.iter().collect();
        let revocation = RevocationOptionsBuilder::new(&lists).ok().map(|options| {
            options
                .with_depth(RevocationCheckDepth::Chain)
                .with_status_policy(UnknownStatusPolicy::Deny)
                .with_expiration_policy(ExpirationPolicy::Enforce)
                .build()
        });
        let sound = |path: &VerifiedPath<'_>| {
            let authority = self.of(path.anchor()).ok_or(webpki::Error::UnknownIssuer)?;
            let between = path.intermediate_certificates().count();
            if authority.path_length.is_some_and(|limit| between > limit) {
                return Err(webpki::Error::PathLenConstraintViolated);
            }
            if at < authority.not_before || at > authority.not_after {
                return Err(webpki::Error::UnknownIssuer);
            }
            let certify = path.intermediate_certificates().all(|authority| may_certify(&authority.der()));
            if certify { Ok(()) } else { Err(webpki::Error::EndEntityUsedAsCa) }
        };
        let algorithms = webpki::ALL_VERIFICATION_ALGS;
        let usage = KeyUsage::client_auth();
        let path =
            leaf.verify_for_usage(algorithms, &self.anchors, &peer.others, time, usage, revocation, Some(&sound));
        let path = path.map_err(|error| match error {
            webpki::Error::CertExpired { .. } => Distrust::Expired,
            webpki::Error::CertNotValidYet { .. } => Distrust::NotYetValid,
            webpki::Error::CertRevoked => Distrust::Revoked,
            webpki::Error::UnknownRevocationStatus
            | webpki::Error::CrlExpired { .. }
            | webpki::Error::IssuerNotCrlSigner
            | webpki::Error::InvalidCrlSignatureForPublicKey
            | webpki::Error::UnsupportedCrlSignatureAlgorithmContext(_)
            | webpki::Error::UnsupportedCrlSignatureAlgorithmForPublicKeyContext(_) => Distrust::RevocationUnknown,
            _ => Distrust::Untrusted,
        })?;
        let issuer = match path.intermediate_certificates().next() {
            Some(between) => Print::of(&between.der()),
            None => self.of(path.anchor()).map(|authority| authority.print.clone()),
        };
        issuer.map(|issuer| Vouched { issuer }).ok_or(Distrust::Untrusted)
    }

    fn of(&self, anchor: &TrustAnchor<'_>) -> Option<&Authority> {
        let is = |known: &TrustAnchor<'_>| {
            known.subject == anchor.subject && known.subject_public_key_info == anchor.subject_public_key_info
        };
        self.anchors.iter().zip(&self.all).find(|(known, _)| is(known)).map(|(_, authority)| authority)
    }
}

impl fmt::Debug for Authorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authorities").field("count", &self.all.len()).finish_non_exhaustive()
    }
}

/// Whether a certificate's key may sign certificates.
pub(crate) fn may_certify(der: &[u8]) -> bool {
    let Ok((_, parsed)) = X509Certificate::from_der(der) else { return false };
    parsed.key_usage().is_ok_and(|usage| usage.is_none_or(|it| it.value.key_cert_sign()))
}

#[cfg(test)]
mod tests;
