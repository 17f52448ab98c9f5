//! Subject name and issuer: a certificate that nobody registered, of a subject that somebody did, vouched for by a
//! certificate authority that was registered with the subject. Renewing such a certificate changes no registration.
use super::{AssertionRefusal, Certificate};
use crate::peer::may_certify;
use crate::{KeyError, base64url, name};
use decision::{CheckId, Timestamp};
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use serde::Deserialize;
use std::fmt;
use std::time::Duration;
use thiserror::Error;
use webpki::{EndEntityCert, ExtendedKeyUsageValidator, KeyPurposeIdIter, VerifiedPath};
use x509_parser::prelude::{FromDer, X509Certificate};

/// The longest chain, the client's own certificate included.
const LONGEST: usize = 8;

/// Why a chain is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ChainFault {
    /// `x5c` is no list of certificates.
    #[error("`x5c` is not a list of certificates in base64, the client's own first")]
    Form,
    /// More certificates than are looked at.
    #[error("`x5c` holds more than eight certificates")]
    Length,
    /// The client's own certificate cannot be used.
    #[error("the first certificate of `x5c` is not an RSA certificate that may sign")]
    Leaf,
    /// The header's thumbprint is of another certificate.
    #[error("the header's thumbprint is not that of the first certificate of `x5c`")]
    Thumbprint,
    /// Another subject.
    #[error("the certificate's subject is not one that is registered")]
    Subject,
    /// No registered authority stands at its end.
    #[error("the chain in `x5c` does not lead to the certificate authority that is registered for the subject")]
    Authority,
    /// One of its certificates is outside its dates.
    #[error("a certificate of the chain is outside its dates")]
    Dates,
    /// The certificate is registered as revoked.
    #[error("the certificate is registered as revoked")]
    Revoked,
    /// One of the authorities on the way is registered as revoked.
    #[error("a certificate authority of the chain is registered as revoked")]
    AuthorityRevoked,
}

impl ChainFault {
    /// The check that failed.
    pub const fn check(self) -> CheckId {
        match self {
            Self::Dates => CheckId::ClientCertificateCurrent,
            Self::Revoked => CheckId::ClientCertificateRevoked,
            Self::AuthorityRevoked => CheckId::ClientAuthorityRevoked,
            Self::Form | Self::Length | Self::Leaf | Self::Thumbprint | Self::Subject | Self::Authority => {
                CheckId::ClientCertificateTrusted
            }
        }
    }
}

/// A subject whose certificates count when this authority vouches for them.
pub struct TrustedSubject {
    subject: String,
    revoked: Vec<String>,
    anchor: TrustAnchor<'static>,
    not_before: Timestamp,
    not_after: Timestamp,
    /// How many authorities may stand between; the anchor's own limit is for us to keep.
    path_length: Option<u32>,
}

impl TrustedSubject {
    /// A subject as RFC 4514 writes it, and the certificate of an authority in DER. `revoked` are thumbprints in
    /// hexadecimal, SHA-1 or SHA-256, of certificates that count no more.
    pub fn new(subject: &str, authority: &[u8], revoked: &[String]) -> Result<Self, KeyError> {
        let (rest, parsed) = X509Certificate::from_der(authority).map_err(|_| KeyError::Certificate)?;
        let constraints = parsed.basic_constraints().map_err(|_| KeyError::Certificate)?;
        let constraints = constraints.filter(|it| it.value.ca).ok_or(KeyError::NoAuthority)?.value.clone();
        let signs = parsed.key_usage().map_err(|_| KeyError::Certificate)?.is_none_or(|it| it.value.key_cert_sign());
        if !rest.is_empty() || !signs {
            return Err(KeyError::NoAuthority);
        }
        let der = CertificateDer::from(authority);
        let anchor = webpki::anchor_from_trusted_cert(&der).map_err(|_| KeyError::Certificate)?.to_owned();
        Ok(Self {
            subject: subject.to_owned(),
            revoked: revoked.iter().map(|text| text.to_ascii_lowercase()).collect(),
            anchor,
            not_before: Timestamp(parsed.validity().not_before.timestamp()),
            not_after: Timestamp(parsed.validity().not_after.timestamp()),
            path_length: constraints.path_len_constraint,
        })
    }

    /// When the authority's certificate begins and ends.
    pub const fn dates(&self) -> (Timestamp, Timestamp) {
        (self.not_before, self.not_after)
    }

    fn is_revoked(&self, der: &[u8]) -> bool {
        use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
        let hex = |octets: &[u8]| octets.iter().fold(String::new(), |text, octet| text + &format!("{octet:02x}"));
        let own = [&SHA1_FOR_LEGACY_USE_ONLY, &SHA256].map(|algorithm| hex(digest(algorithm, der).as_ref()));
        self.revoked.iter().any(|revoked| own.contains(revoked))
    }
}

impl fmt::Debug for TrustedSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrustedSubject").field("subject", &self.subject).finish_non_exhaustive()
    }
}

/// A chain as it stood in a header.
pub(super) struct Presented {
    leaf: Vec<u8>,
    others: Vec<CertificateDer<'static>>,
}

/// The chain in the header of a token that was parsed; none if the header has none, or nothing is trusted that way.
pub(super) fn presented(
    text: &str,
    trusted: &[std::sync::Arc<TrustedSubject>],
) -> Result<Option<Presented>, AssertionRefusal> {
    #[derive(Deserialize)]
    struct Carrying {
        x5c: Option<Chain>,
    }
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Chain {
        List(Vec<String>),
        /// MSAL.NET writes the one certificate that it sends as a text.
        One(String),
    }
    if trusted.is_empty() {
        return Ok(None);
    }
    let form = AssertionRefusal::Chain(ChainFault::Form);
    let header = text.split('.').next().unwrap_or_default().trim_end_matches('=');
    let header = base64url::decode(header).ok_or(form)?;
    let chain = match serde_json::from_slice::<Carrying>(&header).map_err(|_| form)?.x5c {
        None => return Ok(None),
        Some(Chain::One(one)) => vec![one],
        Some(Chain::List(list)) => list,
    };
    if chain.len() > LONGEST {
        return Err(AssertionRefusal::Chain(ChainFault::Length));
    }
    let decoded: Option<Vec<Vec<u8>>> = chain.iter().map(|one| base64url::decode_standard(one)).collect();
    let mut decoded = decoded.ok_or(form)?.into_iter();
    let leaf = decoded.next().ok_or(form)?;
    Ok(Some(Presented { leaf, others: decoded.map(CertificateDer::from).collect() }))
}

impl Presented {
    /// The client's certificate, if one of the trusted subjects is its own and that subject's authority vouches for it.
    pub(super) fn verify(
        &self,
        trusted: &[std::sync::Arc<TrustedSubject>],
        now: Timestamp,
    ) -> Result<Certificate, ChainFault> {
        let (rest, parsed) = X509Certificate::from_der(&self.leaf).map_err(|_| ChainFault::Leaf)?;
        let signs = parsed.key_usage().map_err(|_| ChainFault::Leaf)?.is_none_or(|it| it.value.digital_signature());
        if !rest.is_empty() || !signs {
            return Err(ChainFault::Leaf);
        }
        let subject = name::text(parsed.subject()).ok_or(ChainFault::Subject)?;
        let mut fault = ChainFault::Subject;
        for candidate in trusted.iter().filter(|candidate| candidate.subject == subject) {
            match self.leads_to(candidate, now) {
                Ok(()) => return Certificate::from_der(&self.leaf).map_err(|_| ChainFault::Leaf),
                Err(reason) => fault = reason,
            }
        }
        Err(fault)
    }

    fn leads_to(&self, trusted: &TrustedSubject, now: Timestamp) -> Result<(), ChainFault> {
        if now < trusted.not_before || now >= trusted.not_after {
            return Err(ChainFault::Dates);
        }
        let seconds = u64::try_from(now.0).map_err(|_| ChainFault::Dates)?;
        let time = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        let leaf = CertificateDer::from(self.leaf.as_slice());
        let leaf = EndEntityCert::try_from(&leaf).map_err(|_| ChainFault::Leaf)?;
        let anchors = [trusted.anchor.clone()];
        let sound = |path: &VerifiedPath<'_>| {
            let between = path.intermediate_certificates().count();
            let short = trusted.path_length.is_none_or(|limit| between <= usize::try_from(limit).unwrap_or(usize::MAX));
            let certify = path.intermediate_certificates().all(|authority| may_certify(&authority.der()));
            if short && certify { Ok(()) } else { Err(webpki::Error::PathLenConstraintViolated) }
        };
        let algorithms = webpki::ALL_VERIFICATION_ALGS;
        let path = leaf.verify_for_usage(algorithms, &anchors, &self.others, time, AnyUsage, None, Some(&sound));
        let path = path.map_err(|error| match error {
            webpki::Error::CertExpired { .. } | webpki::Error::CertNotValidYet { .. } => ChainFault::Dates,
            _ => ChainFault::Authority,
        })?;
        // After the chain: who has no such certificate learns nothing of which are revoked.
        if trusted.is_revoked(&self.leaf) {
            return Err(ChainFault::Revoked);
        }
        if path.intermediate_certificates().any(|authority| trusted.is_revoked(&authority.der())) {
            return Err(ChainFault::AuthorityRevoked);
        }
        Ok(())
    }
}

/// Certificates of servers sign assertions too: what they are for is said by whoever registered the subject.
struct AnyUsage;

impl ExtendedKeyUsageValidator for AnyUsage {
    fn validate(&self, mut purposes: KeyPurposeIdIter<'_, '_>) -> Result<(), webpki::Error> {
        purposes.try_for_each(|purpose| purpose.map(drop))
    }
}

#[cfg(test)]
mod tests;
