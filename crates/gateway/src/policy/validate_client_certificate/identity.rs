//! Which certificates are meant: all that one identity names has to be so, of any one identity.
use crate::settings::{SettingsError, Spanned, fault};
use jose::{DistinguishedName, PeerCertificate, Vouched};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use schemars::JsonSchema;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::path::PathBuf;

/// What a certificate has, all of it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[derive(Default)]
#[schemars(rename = "identity")]
pub(crate) struct IdentityTable {
    /// Its thumbprint in hexadecimal, SHA-256 or SHA-1.
    thumbprint: Option<String>,
    /// Its serial number in hexadecimal.
    serial_number: Option<String>,
    /// The one common name of its subject.
    common_name: Option<String>,
    /// Its subject, such as `CN=orders, O="Contoso, Inc.", C=US`.
    subject: Option<String>,
    /// A DNS name among its alternative names.
    dns_name: Option<String>,
    /// The name of who vouches for it.
    issuer_subject: Option<String>,
    /// The thumbprint of the certificate of who vouches for it.
    issuer_thumbprint: Option<String>,
    /// The file with the certificate of who vouches for it, in PEM, in place of the other two. It is read again when it changes.
    issuer_certificate_id: Option<PathBuf>,
}

/// The same, read.
#[derive(Clone)]
pub(super) struct Identity {
    thumbprint: Option<Vec<u8>>,
    serial_number: Option<Vec<u8>>,
    common_name: Option<String>,
    subject: Option<DistinguishedName>,
    dns_name: Option<String>,
    issuer_subject: Option<DistinguishedName>,
    pub(super) issuer_thumbprint: Option<Vec<u8>>,
    pub(super) issuer_file: Option<PathBuf>,
}

impl Identity {
    pub(super) fn read(table: &Spanned<IdentityTable>, trust: bool) -> Result<Self, SettingsError> {
        let read = table.get_ref();
        let wrong = |problem: &str, hint: &str| fault(&table.span(), problem, hint);
        let of_issuer = read.issuer_subject.is_some() || read.issuer_thumbprint.is_some();
        if read.issuer_certificate_id.is_some() && of_issuer {
            return Err(wrong(
                "the issuer is named twice",
                "keep `issuer_certificate_id`, or drop it and keep the others",
            ));
        }
        let nothing =
            [&read.serial_number, &read.common_name, &read.subject, &read.dns_name].iter().all(|it| it.is_none());
        if nothing && read.thumbprint.is_none() && !of_issuer && read.issuer_certificate_id.is_none() {
            return Err(wrong("the identity names nothing", "say what the certificate has, such as `thumbprint`"));
        }
        if !trust && (of_issuer || read.issuer_certificate_id.is_some()) {
            let hint = "drop it, or `validate_trust = false`";
            return Err(wrong("who vouches for the certificate is not looked at", hint));
        }
        if !trust && read.thumbprint.is_none() {
            let hint = "add `thumbprint`, or drop `validate_trust = false`";
            return Err(wrong("anybody can write such a certificate", hint));
        }
        let thumbprint = |text: &Option<String>| match text.as_deref().map(octets) {
            None => Ok(None),
            Some(Some(octets)) if matches!(octets.len(), 20 | 32) => Ok(Some(octets)),
            Some(_) => {
                Err(wrong("this is no thumbprint", "write the 64 hexadecimal digits of SHA-256, or the 40 of SHA-1"))
            }
        };
        let name = |text: &Option<String>| match text.as_deref().map(DistinguishedName::parse) {
            None => Ok(None),
            Some(Some(name)) => Ok(Some(name)),
            Some(None) => Err(wrong("this is no distinguished name", "write `CN=orders, O=\"Contoso, Inc.\", C=US`")),
        };
        let serial_number = match read.serial_number.as_deref().map(octets) {
            Some(None) => return Err(wrong("this is no serial number", "write it in hexadecimal")),
            read => read.flatten(),
        };
        if [&read.common_name, &read.dns_name].into_iter().flatten().any(String::is_empty) {
            return Err(wrong("a name is empty", "write it, or leave it out"));
        }
        Ok(Self {
            thumbprint: thumbprint(&read.thumbprint)?,
            serial_number,
            common_name: read.common_name.clone(),
            subject: name(&read.subject)?,
            dns_name: read.dns_name.as_deref().map(str::to_ascii_lowercase),
            issuer_subject: name(&read.issuer_subject)?,
            issuer_thumbprint: thumbprint(&read.issuer_thumbprint)?,
            issuer_file: read.issuer_certificate_id.clone(),
        })
    }

    /// Whether this certificate is meant, for which these vouch.
    pub(super) fn is(&self, certificate: &PeerCertificate, vouched: Option<&Vouched>) -> bool {
        let issued = |holds: &dyn Fn(&Vouched) -> bool| vouched.is_some_and(holds);
        self.thumbprint.as_ref().is_none_or(|it| certificate.has_thumbprint(it))
            && self.serial_number.as_ref().is_none_or(|it| certificate.has_serial_number(it))
            && self.common_name.as_ref().is_none_or(|it| certificate.common_name() == Some(it))
            && self.subject.as_ref().is_none_or(|it| certificate.is_subject(it))
            && self.dns_name.as_ref().is_none_or(|it| certificate.has_dns_name(it))
            && self.issuer_subject.as_ref().is_none_or(|it| issued(&|vouched| vouched.is_issuer(it)))
            && self.issuer_thumbprint.as_ref().is_none_or(|it| issued(&|vouched| vouched.has_issuer_thumbprint(it)))
            && (self.issuer_file.is_none() || self.issuer_thumbprint.is_some())
    }
}

/// The thumbprint of the one certificate of a PEM text.
pub(super) fn issuer_of(pem: &[u8]) -> Option<Vec<u8>> {
    let certificate = CertificateDer::from_pem_slice(pem).ok()?;
    Some(Sha256::digest(&certificate).to_vec())
}

/// Hexadecimal digits, with colons or spaces between them or without.
fn octets(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<char> = text.chars().filter(|c| !matches!(c, ':' | ' ')).collect();
    let digits = if digits.len() % 2 == 1 { [&['0'], digits.as_slice()].concat() } else { digits };
    let pair = |pair: &[char]| u8::from_str_radix(&pair.iter().collect::<String>(), 16).ok();
    let sound = !digits.is_empty() && digits.iter().all(char::is_ascii_hexdigit);
    sound.then(|| digits.chunks(2).map(pair).collect()).flatten()
}
