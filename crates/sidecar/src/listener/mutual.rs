//! TLS on both sides, for callers that are not on this machine: who shows no certificate of the named authorities does not get as
//! far as a request. The files are read again when they have changed, since certificates live shorter than processes.
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest, Sha256};
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use zeroize::Zeroizing;

/// The largest file that is read.
const MOST: u64 = 1 << 20;

/// What a listener shows, and whom it takes.
pub struct Mutual {
    files: [PathBuf; 3],
    state: Mutex<State>,
}

struct State {
    held: Arc<ServerConfig>,
    /// The digest of what the files held when they were last looked at, whether it was of use or not.
    seen: Option<[u8; 32]>,
}

impl Mutual {
    /// From files in PEM: the sidecar's certificate with its chain, its private key, and the authorities of callers'
    /// certificates.
    ///
    /// # Errors
    /// If they are of no use, in words that say which.
    pub fn open(certificate: PathBuf, key: PathBuf, authorities: PathBuf) -> Result<Arc<Self>, String> {
        let files = [certificate, key, authorities];
        let mut texts = Zeroizing::new(Vec::new());
        for file in &files {
            let read = std::fs::read_to_string(file);
            texts.push(read.map_err(|error| format!("`{}` cannot be read: {}", file.display(), error.kind()))?);
        }
        let held = configured(&texts)?;
        let state = Mutex::new(State { held, seen: Some(digest(&texts)) });
        Ok(Arc::new(Self { files, state }))
    }

    /// The certificate's file, and that of the authorities.
    pub fn shown(&self) -> (&PathBuf, &PathBuf) {
        let [certificate, _, authorities] = &self.files;
        (certificate, authorities)
    }

    /// Shakes hands.
    pub(super) async fn accept<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: S) -> io::Result<TlsStream<S>> {
        TlsAcceptor::from(self.current().await).accept(stream).await
    }

    /// What the files hold now; the last of use where they hold nothing of use.
    async fn current(&self) -> Arc<ServerConfig> {
        // Read each time: it happens once in a connection, and is small beside the handshake.
        let (seen, read) = match self.texts().await {
            Ok(texts) => {
                let seen = Some(digest(&texts));
                if self.state().seen == seen {
                    return Arc::clone(&self.state().held);
                }
                (seen, configured(&texts))
            }
            Err(error) => (None, Err(error.to_string())),
        };
        let mut state = self.state();
        match read {
            Ok(config) => {
                state.held = config;
                tracing::info!("the listener's certificate or its callers' authorities were replaced");
            }
            // Said once for each state of the files.
            Err(reason) if state.seen != seen => {
                tracing::warn!(
                    tls.fault = reason,
                    "a file of `callers.tls` cannot be used; what was read before stays"
                );
            }
            Err(_) => {}
        }
        state.seen = seen;
        Arc::clone(&state.held)
    }

    async fn texts(&self) -> io::Result<Zeroizing<Vec<String>>> {
        let mut texts = Zeroizing::new(Vec::new());
        for file in &self.files {
            if tokio::fs::metadata(file).await?.len() > MOST {
                return Err(io::Error::other("it is larger than a megabyte"));
            }
            texts.push(tokio::fs::read_to_string(file).await?);
        }
        Ok(texts)
    }

    // For a few instructions, never across an await.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Mutual {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mutual").field("files", &self.files).finish_non_exhaustive()
    }
}

fn digest(texts: &[String]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for text in texts {
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text);
    }
    hash.finalize().into()
}

fn configured(texts: &[String]) -> Result<Arc<ServerConfig>, String> {
    let [certificate, key, authorities] = texts else { return Err("a file is missing".to_owned()) };
    let chain = certificates(certificate, "certificate")?;
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes())
        .map_err(|_| "`key` holds no private key in PEM".to_owned())?;
    let mut roots = RootCertStore::empty();
    for authority in certificates(authorities, "client_authorities")? {
        roots.add(authority).map_err(|error| format!("`client_authorities` cannot be used: {error}"))?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build();
    let verifier = verifier.map_err(|error| format!("`client_authorities` cannot be used: {error}"))?;
    let unusable = |error: rustls::Error| format!("`certificate` and `key` cannot be used: {error}");
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .map_err(unusable)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn certificates(pem: &str, name: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let all = CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<Vec<_>, _>>();
    let all = all.ok().filter(|all| !all.is_empty());
    all.ok_or_else(|| format!("`{name}` holds no certificate in PEM"))
}
