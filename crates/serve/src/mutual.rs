//! TLS on both sides, for callers that are not on this machine: who shows no certificate of the named authorities does not get as
//! far as a request. The files are read again when they have changed, since certificates live shorter than processes.
use crate::peer::{Named, Peer};
use crate::tls::{certificates, server_config};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use sha2::{Digest, Sha256};
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use zeroize::Zeroizing;

/// The largest file that is read.
const MOST: u64 = 1 << 20;

/// What a listener shows, and whom it takes.
pub struct Mutual {
    files: [PathBuf; 3],
    /// Whom it takes; `None` for everybody with a certificate of the authorities.
    peers: Option<Vec<Peer>>,
    state: Mutex<State>,
}

struct State {
    held: Arc<ServerConfig>,
    /// The digest of what the files held when they were last looked at, whether it was of use or not.
    seen: Option<[u8; 32]>,
}

impl Mutual {
    /// From files in PEM: the sidecar's certificate with its chain, its private key, and the authorities of callers'
    /// certificates. Of those it takes these callers; all of them, where nobody is named.
    ///
    /// # Errors
    /// If they are of no use, in words that say which.
    pub fn open(
        certificate: PathBuf,
        key: PathBuf,
        authorities: PathBuf,
        peers: Option<Vec<Peer>>,
    ) -> Result<Arc<Self>, String> {
        let files = [certificate, key, authorities];
        let mut texts = Zeroizing::new(Vec::new());
        for file in &files {
            let read = std::fs::read_to_string(file);
            texts.push(read.map_err(|error| format!("`{}` cannot be read: {}", file.display(), error.kind()))?);
        }
        let held = configured(&texts, peers.as_deref())?;
        let state = Mutex::new(State { held, seen: Some(digest(&texts)) });
        Ok(Arc::new(Self { files, peers, state }))
    }

    /// The certificate's file, and that of the authorities.
    pub fn shown(&self) -> (&PathBuf, &PathBuf) {
        let [certificate, _, authorities] = &self.files;
        (certificate, authorities)
    }

    /// Whom it takes, if somebody is named.
    pub fn peers(&self) -> Option<&[Peer]> {
        self.peers.as_deref()
    }

    /// What the files hold now; the last of use where they hold nothing of use.
    pub(crate) async fn current(&self) -> Arc<ServerConfig> {
        // Read each time: it happens once in a connection, and is small beside the handshake.
        let (seen, read) = match self.texts().await {
            Ok(texts) => {
                let seen = Some(digest(&texts));
                if self.state().seen == seen {
                    return Arc::clone(&self.state().held);
                }
                (seen, configured(&texts, self.peers.as_deref()))
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
                    "a file of a listener's TLS cannot be used; what was read before stays"
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

fn configured(texts: &[String], peers: Option<&[Peer]>) -> Result<Arc<ServerConfig>, String> {
    let [certificate, key, authorities] = texts else { return Err("a file is missing".to_owned()) };
    let named = certificates(authorities).ok_or("the file of callers' authorities holds no certificate in PEM")?;
    let unusable = |error: &dyn fmt::Display| format!("callers' authorities cannot be used: {error}");
    let mut roots = RootCertStore::empty();
    for authority in named {
        roots.add(authority).map_err(|error| unusable(&error))?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let callers = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
    let callers = callers.map_err(|error| unusable(&error))?;
    let callers = match peers {
        Some(peers) => Arc::new(Named { holding: callers, peers: peers.to_vec() }),
        None => callers,
    };
    server_config(certificate, key, Some(callers))
}
