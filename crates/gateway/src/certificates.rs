//! The listener's certificates, each for the names that stand in it, replaced together without a restart.
use crate::settings::{CertificateTable, ClientCertificates};
use arc_swap::ArcSwap;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::parse_x509_certificate;

/// Certificates of a listener, and the files that they are read from.
pub struct Certificates {
    files: Vec<CertificateTable>,
    current: ArcSwap<Vec<Named>>,
}

struct Named {
    /// In lower case; `*.example` stands for one label before it.
    names: Vec<String>,
    key: Arc<CertifiedKey>,
}

/// Why a certificate cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` {problem}: give a chain in PEM that begins with the server's certificate, and the private key of that certificate", .file.display())]
pub struct CertificatesError {
    file: PathBuf,
    problem: String,
}

impl Certificates {
    /// Reads them; relative paths begin at `beside`. `None` if there are none.
    ///
    /// # Errors
    /// If one cannot be used.
    pub fn read(files: &[CertificateTable], beside: &Path) -> Result<Option<Arc<Self>>, CertificatesError> {
        let table = |file: &CertificateTable| CertificateTable {
            certificate: beside.join(&file.certificate),
            key: beside.join(&file.key),
        };
        let files: Vec<_> = files.iter().map(table).collect();
        if files.is_empty() {
            return Ok(None);
        }
        let current = ArcSwap::from_pointee(load(&files)?);
        Ok(Some(Arc::new(Self { files, current })))
    }

    /// The files that they are read from.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().flat_map(|table| [table.certificate.as_path(), table.key.as_path()])
    }

    /// Reads the files again. Handshakes from now on use what they hold; where one cannot be used, nothing changes.
    ///
    /// # Errors
    /// If one cannot be used.
    pub fn reload(&self) -> Result<(), CertificatesError> {
        self.current.store(Arc::new(load(&self.files)?));
        Ok(())
    }

    /// The server's side of TLS with them: versions 1.2 and 1.3, HTTP/2 before HTTP/1.1, no early data. Callers are asked for
    /// certificates as `callers` says.
    ///
    /// # Errors
    /// If TLS cannot be spoken.
    pub fn config(self: &Arc<Self>, callers: Option<ClientCertificates>) -> Result<Arc<ServerConfig>, rustls::Error> {
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
        let current = self.current.load();
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
        f.debug_struct("Certificates").field("files", &self.files).finish_non_exhaustive()
    }
}

fn load(files: &[CertificateTable]) -> Result<Vec<Named>, CertificatesError> {
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let mut all = Vec::with_capacity(files.len());
    for CertificateTable { certificate, key } in files {
        let wrong = |file: &Path, problem: &str| CertificatesError { file: file.into(), problem: problem.into() };
        let text = |file: &Path| {
            std::fs::read(file).map_err(|error| wrong(file, &format!("cannot be read ({})", error.kind())))
        };
        let chain = chain_of(&text(certificate)?).ok_or_else(|| wrong(certificate, "holds no certificate"))?;
        let names = chain.first().map(|leaf| names(leaf)).unwrap_or_default();
        let private = PrivateKeyDer::from_pem_slice(&text(key)?).map_err(|_| wrong(key, "holds no private key"))?;
        let certified = CertifiedKey::from_der(chain, private, &provider)
            .map_err(|_| wrong(certificate, "does not belong to its key"))?;
        all.push(Named { names, key: Arc::new(certified) });
    }
    Ok(all)
}

/// All certificates of a PEM text, if there are any.
fn chain_of(pem: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    let chain = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    chain.ok().filter(|chain| !chain.is_empty())
}

/// A chain and its private key, both in PEM.
pub(crate) fn certified(certificate: &[u8], key: &[u8]) -> Result<CertifiedKey, String> {
    let chain = chain_of(certificate).ok_or("the certificate's file holds no certificate in PEM")?;
    let private = PrivateKeyDer::from_pem_slice(key).map_err(|_| "the key's file holds no private key in PEM")?;
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

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let folder = std::env::temp_dir().join(format!("deputize-gateway-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&folder).unwrap();
            Self(folder)
        }

        fn certificate(&self, file: &str, names: &[&str]) -> CertificateTable {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            let key = KeyPair::generate().unwrap();
            let certificate = CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
            let table =
                CertificateTable { certificate: format!("{file}.pem").into(), key: format!("{file}.key").into() };
            std::fs::write(self.0.join(&table.certificate), certificate.pem()).unwrap();
            std::fs::write(self.0.join(&table.key), key.serialize_pem()).unwrap();
            table
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
        let tables = [folder.certificate("a", &["a.example"]), folder.certificate("b", &["*.b.example", "b.example"])];
        let certificates = Certificates::read(&tables, &folder.0).unwrap().unwrap();
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
        let table = folder.certificate("a", &["a.example"]);
        let certificates = Certificates::read(std::slice::from_ref(&table), &folder.0).unwrap().unwrap();
        let shown = || certificates.find(None).unwrap().cert.first().unwrap().clone();
        let first = shown();
        folder.certificate("a", &["a.example"]);
        certificates.reload().unwrap();
        let second = shown();
        assert_ne!(first, second);
        std::fs::write(folder.0.join(&table.key), "broken").unwrap();
        assert!(certificates.reload().unwrap_err().to_string().contains("a.key` holds no private key"));
        assert_eq!(shown(), second);
        let other = folder.certificate("c", &["c.example"]);
        let mixed = CertificateTable { certificate: table.certificate, key: other.key };
        let error = Certificates::read(&[mixed], &folder.0).unwrap_err();
        assert!(error.to_string().contains("does not belong to its key"), "{error}");
    }
}
