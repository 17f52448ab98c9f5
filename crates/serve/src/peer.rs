//! Whose certificates are taken, of all that the named authorities made.
use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use sha2::{Digest, Sha256};
use std::fmt;
use std::sync::Arc;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{AttributeTypeAndValue, parse_x509_certificate};

/// A caller, by what its certificate says or is.
///
/// ```
/// use deputize_serve::Peer;
/// let workload = Peer::parse("uri:spiffe://cluster.local/ns/team/sa/orders").unwrap();
/// assert_eq!(workload.to_string(), "uri:spiffe://cluster.local/ns/team/sa/orders");
/// assert!(Peer::parse("orders").is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A DNS name of it, exactly; a wildcard is the name of nobody.
    Dns(String),
    /// A URI of it, such as a SPIFFE id, exactly.
    Uri(String),
    /// Its common name, where it has just one.
    CommonName(String),
    /// The certificate itself, by its SHA-256.
    Sha256([u8; 32]),
}

impl Peer {
    /// From `dns:NAME`, `uri:URI`, `cn:NAME` or `sha256:DIGEST` (in hexadecimal digits, with or without colons).
    ///
    /// # Errors
    /// If it is none of these, in words that say what to write.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        const FORM: &str = "write `dns:NAME`, `uri:URI`, `cn:NAME` or `sha256:DIGEST`";
        let (kind, value) = text.split_once(':').filter(|(_, value)| !value.is_empty()).ok_or(FORM)?;
        match kind {
            "dns" if value.contains('*') || !value.is_ascii() => {
                Err("a name is one caller's; write it without `*`, in ASCII")
            }
            "dns" => Ok(Self::Dns(value.to_ascii_lowercase())),
            "uri" => Ok(Self::Uri(value.to_owned())),
            "cn" => Ok(Self::CommonName(value.to_owned())),
            "sha256" => {
                const DIGITS: &str =
                    "a SHA-256 has 64 hexadecimal digits, as `openssl x509 -fingerprint -sha256` prints";
                let digits: Vec<char> = value.chars().filter(|digit| *digit != ':').collect();
                let mut digest = [0; 32];
                if digits.len() != 64 {
                    return Err(DIGITS);
                }
                for (octet, pair) in digest.iter_mut().zip(digits.chunks(2)) {
                    let number = pair.iter().try_fold(0, |number, digit| Some(number * 16 + digit.to_digit(16)?));
                    *octet = number.and_then(|number| u8::try_from(number).ok()).ok_or(DIGITS)?;
                }
                Ok(Self::Sha256(digest))
            }
            _ => Err(FORM),
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) => write!(f, "dns:{name}"),
            Self::Uri(uri) => write!(f, "uri:{uri}"),
            Self::CommonName(name) => write!(f, "cn:{name}"),
            Self::Sha256(digest) => {
                f.write_str("sha256:")?;
                digest.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
            }
        }
    }
}

/// All that a certificate can be named by; nothing of one that cannot be read.
fn names(certificate: &[u8]) -> Vec<Peer> {
    let mut names = vec![Peer::Sha256(Sha256::digest(certificate).into())];
    let Ok((_, read)) = parse_x509_certificate(certificate) else { return names };
    if let Ok(Some(alternative)) = read.subject_alternative_name() {
        names.extend(alternative.value.general_names.iter().filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(Peer::Dns(name.to_ascii_lowercase())),
            GeneralName::URI(uri) => Some(Peer::Uri((*uri).to_owned())),
            _ => None,
        }));
    }
    let mut common = read.subject().iter_common_name().map(AttributeTypeAndValue::as_str);
    if let (Some(Ok(name)), None) = (common.next(), common.next()) {
        names.push(Peer::CommonName(name.to_owned()));
    }
    names
}

/// Takes the certificates of these callers alone, once they hold.
#[derive(Debug)]
pub(crate) struct Named {
    pub(crate) holding: Arc<dyn ClientCertVerifier>,
    pub(crate) peers: Vec<Peer>,
}

impl ClientCertVerifier for Named {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.holding.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let holds = self.holding.verify_client_cert(end_entity, intermediates, now)?;
        let names = names(end_entity);
        if names.iter().any(|name| self.peers.contains(name)) {
            return Ok(holds);
        }
        let shown = names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        tracing::warn!(caller.names = ?shown, "a certificate holds, but is of no caller that is named");
        Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.holding.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.holding.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.holding.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_is_named_in_four_ways() {
        let digest = "AB:".repeat(31) + "cd";
        let same = format!("sha256:{}cd", "ab".repeat(31));
        for (text, read) in [
            ("dns:Orders.Team.svc", "dns:orders.team.svc"),
            ("uri:spiffe://a/ns/b", "uri:spiffe://a/ns/b"),
            ("cn:Orders, of Team", "cn:Orders, of Team"),
            (&format!("sha256:{digest}"), &same),
        ] {
            assert_eq!(Peer::parse(text).unwrap().to_string(), read);
        }
        let long = format!("sha256:{}", "a".repeat(66));
        for bad in [
            "",
            "orders",
            "dns:",
            "ip:10.0.0.1",
            "dns:*.team",
            "dns:\u{e5}",
            "sha256:ab",
            &long,
            &same.replace('a', "g"),
        ] {
            assert!(Peer::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_no_certificate_has_no_name_but_its_digest() {
        assert_eq!(names(b"nothing"), [Peer::Sha256(Sha256::digest(b"nothing").into())]);
    }
}
