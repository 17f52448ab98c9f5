//! A server's side of TLS.
use crate::Mutual;
use rustls::ServerConfig;
use rustls::server::danger::ClientCertVerifier;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// How a listener speaks TLS.
#[derive(Clone, Debug)]
pub enum Tls {
    /// So, to everybody.
    Server(Arc<ServerConfig>),
    /// To those who show a certificate.
    Mutual(Arc<Mutual>),
}

impl Tls {
    /// Shakes hands.
    pub(crate) async fn accept<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: S) -> io::Result<TlsStream<S>> {
        let config = match self {
            Self::Server(config) => Arc::clone(config),
            Self::Mutual(mutual) => mutual.current().await,
        };
        TlsAcceptor::from(config).accept(stream).await
    }
}

/// From a chain that begins with the server's certificate, and its private key, in PEM; HTTP/2 and HTTP/1.1 are offered. With a
/// verifier, callers show a certificate too.
///
/// # Errors
/// If they are of no use, in words that say which.
pub fn server_config(
    chain_pem: &str,
    key_pem: &str,
    callers: Option<Arc<dyn ClientCertVerifier>>,
) -> Result<Arc<ServerConfig>, String> {
    let chain = certificates(chain_pem).ok_or("the certificate file holds no certificate in PEM")?;
    let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes())
        .map_err(|_| "the key file holds no private key in PEM".to_owned())?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let config = match callers {
        Some(callers) => config.with_client_cert_verifier(callers),
        None => config.with_no_client_auth(),
    };
    let mut config =
        config.with_single_cert(chain, key).map_err(|error| format!("certificate and key cannot be used: {error}"))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// All of a PEM text; nothing where there is none, or one that cannot be read.
pub(crate) fn certificates(pem: &str) -> Option<Vec<CertificateDer<'static>>> {
    let all = CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<Vec<_>, _>>().ok()?;
    (!all.is_empty()).then_some(all)
}
