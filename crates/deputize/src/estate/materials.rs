//! What an estate file names: files beside it, environment variables, certificates, passwords.
use crate::failure::why;
use crate::keys::MasterKey;
use crate::system;
use argon2::Argon2;
use argon2::password_hash::PasswordVerifier;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use deputize_core::estate::{CertificateRead, Materials, Source};
use deputize_core::model::Digest;
use jose::assertion::{Certificate, TrustedSubject};
use oauth::Secret;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use std::path::Path;

/// Relative paths begin at `base`.
pub(super) struct Files<'a> {
    pub(super) base: &'a Path,
    pub(super) master: &'a MasterKey,
}

impl Materials for Files<'_> {
    fn text(&self, source: &Source) -> Result<Secret, String> {
        match source {
            Source { file: Some(file), env: None, value: None } => {
                let path = self.base.join(file);
                let text = std::fs::read_to_string(&path)
                    .map_err(|error| format!("`{}` cannot be read: {}", path.display(), why(&error)))?;
                // Editors end a file with a line break that is no part of the secret.
                Ok(Secret::new(text.strip_suffix('\n').map_or(text.as_str(), |text| text.trim_end_matches('\r'))))
            }
            Source { file: None, env: Some(name), value: None } => {
                system::variable(name).map(Secret::new).ok_or_else(|| format!("set the environment variable `{name}`"))
            }
            Source { file: None, env: None, value: Some(value) } => Ok(value.clone()),
            _ => Err("write exactly one of `{ file = \"…\" }`, `{ env = \"…\" }` and `{ value = \"…\" }`".to_owned()),
        }
    }

    fn certificate(&self, text: &Secret) -> Result<CertificateRead, String> {
        let der = der(text.expose())?;
        let certificate = Certificate::from_der(&der)
            .map_err(|error| format!("give an RSA certificate of 2048 bits or more ({error})"))?;
        Ok(CertificateRead {
            key: STANDARD.encode(der),
            not_before: certificate.not_before(),
            not_after: certificate.not_after(),
        })
    }

    fn trusted_subject(
        &self,
        subject: &str,
        authority: &Secret,
        revoked: &[String],
    ) -> Result<CertificateRead, String> {
        let der = der(authority.expose())?;
        let trusted = TrustedSubject::new(subject, &der, revoked)
            .map_err(|error| format!("give the certificate of the authority that issues the client's ({error})"))?;
        let (not_before, not_after) = trusted.dates();
        Ok(CertificateRead { key: STANDARD.encode(der), not_before, not_after })
    }

    fn password_hash(&self, password: &Secret, before: Option<&str>) -> Result<String, String> {
        let is_this = |hash: &&str| Argon2::default().verify_password(password.expose().as_bytes(), *hash).is_ok();
        Ok(before
            .filter(is_this)
            .map_or_else(|| ::authority::password_hash(password.expose(), system::unpredictable()), str::to_owned))
    }

    fn digest(&self, secret: &Secret) -> Digest {
        self.master.digest(secret)
    }

    fn new_secret(&self) -> Secret {
        Secret::new(URL_SAFE_NO_PAD.encode(system::unpredictable::<32>()))
    }
}

/// A certificate from PEM, or from base64 alone.
fn der(text: &str) -> Result<Vec<u8>, String> {
    let der = if text.contains("-----BEGIN") {
        CertificateDer::from_pem_slice(text.as_bytes()).ok().map(|der| der.to_vec())
    } else {
        let digits: String = text.split_whitespace().collect();
        STANDARD.decode(digits).ok()
    };
    der.ok_or_else(|| "give a PEM file with a `BEGIN CERTIFICATE` block, or a certificate in base64".to_owned())
}
