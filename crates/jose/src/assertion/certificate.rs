//! A certificate that a client registered, its keys parsed once.
use crate::verifying_key::{x5t, x5t_s256};
use crate::{Algorithm, KeyError, VerifyingKey};
use decision::Timestamp;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use std::fmt;
use x509_parser::prelude::{FromDer, X509Certificate};

/// An RSA certificate of a client. Nobody vouches for it but the administrator who registered it.
pub struct Certificate {
    x5t: String,
    x5t_s256: String,
    not_before: Timestamp,
    not_after: Timestamp,
    rs256: VerifyingKey,
    ps256: VerifyingKey,
}

impl Certificate {
    /// Reads a certificate in DER.
    pub fn from_der(der: &[u8]) -> Result<Self, KeyError> {
        let (_, parsed) = X509Certificate::from_der(der).map_err(|_| KeyError::Certificate)?;
        Ok(Self {
            x5t: x5t(der),
            x5t_s256: x5t_s256(der),
            not_before: Timestamp(parsed.validity().not_before.timestamp()),
            not_after: Timestamp(parsed.validity().not_after.timestamp()),
            rs256: VerifyingKey::from_certificate_der(der, Algorithm::RS256)?,
            ps256: VerifyingKey::from_certificate_der(der, Algorithm::PS256)?,
        })
    }

    /// Reads the first certificate of a PEM text; other blocks are ignored.
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|_| KeyError::Certificate)?;
        Self::from_der(&der)
    }

    /// SHA-1 thumbprint, unpadded base64url.
    pub fn x5t(&self) -> &str {
        &self.x5t
    }

    /// SHA-256 thumbprint, unpadded base64url.
    pub fn x5t_s256(&self) -> &str {
        &self.x5t_s256
    }

    /// When it begins.
    pub const fn not_before(&self) -> Timestamp {
        self.not_before
    }

    /// When it ends.
    pub const fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// The key, bound to one of the two algorithms of client assertions.
    pub(super) fn key(&self, algorithm: Algorithm) -> &VerifyingKey {
        if algorithm == Algorithm::PS256 { &self.ps256 } else { &self.rs256 }
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate").field("x5t_s256", &self.x5t_s256).finish_non_exhaustive()
    }
}
