//! The listener's certificates, each for the names that stand in it, replaced without a restart.
use crate::rotating::{Rotates, Rotating};
use crate::secrets::{Held, Material};
use crate::settings::ClientCertificates;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use std::fmt;
use std::sync::Arc;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::parse_x509_certificate;

/// Certificates of a listener; the first is for clients that name no host, or another.
pub(crate) struct Certificates(Vec<Arc<Rotating<Named>>>);

struct Named {
    /// In lower case; `*.example` stands for one label before it.
    names: Vec<String>,
    key: Arc<CertifiedKey>,
}

impl Certificates {
    pub(crate) fn new() -> Self {
        Self(Vec::new())
    }

    /// Adds one, read from a chain and its key.
    ///
    /// # Errors
    /// If it is there, and cannot be used.
    pub(crate) fn add(&mut self, pair: Material) -> Result<Arc<dyn Rotates>, String> {
        let named = Rotating::begin(pair, |held| {
            let key = certified(held)?;
            let names = key.cert.first().map(|leaf| names(leaf)).unwrap_or_default();
            Ok(Named { names, key: Arc::new(key) })
        })?;
        let named = Arc::new(named);
        self.0.push(Arc::clone(&named));
        Ok(named)
    }

    /// The server's side of TLS with them: versions 1.2 and 1.3, HTTP/2 before HTTP/1.1, no early data. Callers are asked for
    /// certificates as `callers` says.
    ///
    /// # Errors
    /// If TLS cannot be spoken.
    pub(crate) fn config(
        self: &Arc<Self>,
        callers: Option<ClientCertificates>,
    ) -> Result<Arc<ServerConfig>, rustls::Error> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let algorithms = provider.signature_verification_algorithms;
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let builder = match callers {
            None => builder.with_no_client_auth(),
            Some(callers) => {
                let is_required = callers == ClientCertificates::Required;
                builder.with_client_cert_verifier(Arc::new(Holders { is_required, algorithms }))
            }
        };
        let mut config = builder.with_cert_resolver(Arc::clone(self) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    fn find(&self, name: Option<&str>) -> Option<Arc<CertifiedKey>> {
        // What has not been fetched is not shown.
        let current: Vec<Arc<Named>> = self.0.iter().filter_map(|named| named.current()).collect();
        let named = name.map(str::to_ascii_lowercase).and_then(|name| {
            let exact = current.iter().find(|named| named.names.contains(&name));
            exact.or_else(|| {
                let (_, parent) = name.split_once('.')?;
                current.iter().find(|named| named.names.iter().any(|n| n.strip_prefix("*.") == Some(parent)))
            })
        });
        named.or_else(|| current.first()).map(|named| Arc::clone(&named.key))
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.find(hello.server_name())
    }
}

/// Takes every certificate whose key the caller holds. Whose it is, policies find out for each request: a handshake, and a
/// session that is resumed from it, outlives what it has seen.
#[derive(Debug)]
struct Holders {
    is_required: bool,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientCertVerifier for Holders {
    fn client_auth_mandatory(&self) -> bool {
        self.is_required
    }

    /// Any: which authorities count is not the same for all APIs.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates").field("certificates", &self.0.len()).finish_non_exhaustive()
    }
}

/// All certificates of a PEM text, if there are any.
fn chain_of(pem: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    let chain = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    chain.ok().filter(|chain| !chain.is_empty())
}

/// A chain and its private key, both in PEM; they may stand in one text.
pub(crate) fn certified(held: &[Held]) -> Result<CertifiedKey, String> {
    let [certificate, key] = held else { return Err("a chain and a key are needed".to_owned()) };
    let chain = chain_of(certificate).ok_or("what is named as the certificate holds no certificate in PEM")?;
    let private =
        PrivateKeyDer::from_pem_slice(key).map_err(|_| "what is named as the key holds no private key in PEM")?;
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    CertifiedKey::from_der(chain, private, &provider)
        .map_err(|_| "the certificate does not belong to the key".to_owned())
}

fn names(leaf: &CertificateDer<'_>) -> Vec<String> {
    let Ok((_, certificate)) = parse_x509_certificate(leaf) else { return Vec::new() };
    let Ok(Some(alternative)) = certificate.subject_alternative_name() else { return Vec::new() };
    let names = alternative.value.general_names.iter().filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        _ => None,
    });
    names.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair};
    use std::path::PathBuf;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let folder = std::env::temp_dir().join(format!("deputize-gateway-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&folder).unwrap();
            Self(folder)
        }

        fn certificate(&self, file: &str, names: &[&str]) -> Material {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            let key = KeyPair::generate().unwrap();
            let certificate = CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
            let [chain, private] = [self.0.join(format!("{file}.pem")), self.0.join(format!("{file}.key"))];
            std::fs::write(&chain, certificate.pem()).unwrap();
            std::fs::write(&private, key.serialize_pem()).unwrap();
            Material::files([chain, private])
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn each_name_has_its_certificate_and_strangers_the_first() {
        let folder = Folder::new("sni");
        let mut certificates = Certificates::new();
        certificates.add(folder.certificate("a", &["a.example"])).unwrap();
        certificates.add(folder.certificate("b", &["*.b.example", "b.example"])).unwrap();
        let shown = |name: Option<&str>| certificates.find(name).unwrap().cert.first().unwrap().clone();
        let (a, b) = (shown(Some("a.example")), shown(Some("b.example")));
        assert_ne!(a, b);
        for (name, expected) in [
            (Some("A.Example"), &a),
            (Some("x.b.example"), &b),
            (Some("x.y.b.example"), &a),
            (Some("other.example"), &a),
            (None, &a),
        ] {
            assert_eq!(&shown(name), expected, "{name:?}");
        }
    }

    #[test]
    fn t_07_a_new_certificate_is_shown_once_it_is_read_and_a_broken_one_changes_nothing() {
        let folder = Folder::new("rotation");
        let pair = folder.certificate("a", &["a.example"]);
        let mut certificates = Certificates::new();
        let rotates = certificates.add(pair).unwrap();
        let shown = || certificates.find(None).unwrap().cert.first().unwrap().clone();
        let first = shown();
        folder.certificate("a", &["a.example"]);
        rotates.look();
        let second = shown();
        assert_ne!(first, second);
        for (file, rejected) in [("a.key", 1), ("a.pem", 2)] {
            std::fs::write(folder.0.join(file), "broken").unwrap();
            rotates.look();
            assert_eq!((shown(), rotates.fares().rejected), (second.clone(), rejected));
        }
        folder.certificate("c", &["c.example"]);
        folder.certificate("a", &["a.example"]);
        let mixed = Material::files([folder.0.join("a.pem"), folder.0.join("c.key")]);
        assert!(certificates.add(mixed).err().unwrap().contains("does not belong to the key"));
    }
}
