//! Credentials that are replaced while a program runs: read again when they have changed, and kept where the new ones are broken.
use crate::Error;
use crate::credential::Credential;
use sha2::{Digest, Sha256};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tracing::{info, warn};
use zeroize::Zeroizing;

/// The largest file that is read.
const MOST: u64 = 1024 * 1024;

/// A credential that cannot be used at the start. The text says which and why, and nothing of what stands in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{path}` cannot be used: {reason}")]
pub struct CredentialFileError {
    /// The file, or whatever else it comes from.
    pub path: String,
    /// Why.
    pub reason: String,
}

/// Where the texts of a credential come from that is replaced while a program runs: files that a platform writes, or a vault.
///
/// ```
/// # mod authority { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/authority.rs")); }
/// # use authority::*;
/// # run(async {
/// use client::{CredentialSource, CredentialTexts};
/// struct Vault;
/// impl CredentialSource for Vault {
///     fn name(&self) -> String {
///         "the vault's secret `orders`".to_owned()
///     }
///     fn read(&self) -> Result<Option<CredentialTexts>, String> {
///         Ok(Some(CredentialTexts::new(vec!["…".to_owned()])))
///     }
/// }
/// let orders = builder().secret_of(Vault).unwrap().build(network(), clock(), random());
/// orders.client_credentials("api://billing/.default").await?;
/// # Ok(()) });
/// ```
pub trait CredentialSource: Send + Sync {
    /// Tells it apart in cache keys and in logs. It stands for what it holds: a successor's tokens are as good as its predecessor's.
    fn name(&self) -> String;
    /// The texts as they are now; `None` while they are not there yet. It is called in a thread that may wait.
    ///
    /// # Errors
    /// Why they cannot be read, and nothing of what stands in them.
    fn read(&self) -> Result<Option<CredentialTexts>, String>;
}

/// The texts of a credential, overwritten when they are let go.
pub type CredentialTexts = Zeroizing<Vec<String>>;

/// Those of files.
struct Files(Vec<PathBuf>);

impl CredentialSource for Files {
    fn name(&self) -> String {
        self.0.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
    }

    fn read(&self) -> Result<Option<CredentialTexts>, String> {
        let mut texts = Zeroizing::new(Vec::with_capacity(self.0.len()));
        for path in &self.0 {
            if std::fs::metadata(path).map_err(|error| error.to_string())?.len() > MOST {
                return Err("it is larger than a megabyte".to_owned());
            }
            texts.push(std::fs::read_to_string(path).map_err(|error| error.to_string())?);
        }
        Ok(Some(texts))
    }
}

/// Makes a credential of its texts.
type Reader = dyn Fn(&[String]) -> Result<Credential, String> + Send + Sync;

/// A credential that is read from somewhere.
pub(crate) struct Rotating {
    /// What it is, for cache keys.
    kind: &'static str,
    source: Arc<dyn CredentialSource>,
    read: Box<Reader>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    held: Option<Arc<Credential>>,
    /// The digest of what was there when it was last looked at, whether it was of use or not.
    seen: Option<[u8; 32]>,
}

impl Rotating {
    pub(crate) fn of_files(
        kind: &'static str,
        paths: Vec<PathBuf>,
        read: impl Fn(&[String]) -> Result<Credential, String> + Send + Sync + 'static,
    ) -> Self {
        Self::new(kind, Files(paths), read)
    }

    pub(crate) fn new(
        kind: &'static str,
        source: impl CredentialSource + 'static,
        read: impl Fn(&[String]) -> Result<Credential, String> + Send + Sync + 'static,
    ) -> Self {
        Self { kind, source: Arc::new(source), read: Box::new(read), state: Mutex::default() }
    }

    /// Reads it now, so that a mistake shows at the start.
    pub(crate) fn begin(self) -> Result<Self, CredentialFileError> {
        let wrong = |reason| CredentialFileError { path: self.source.name(), reason };
        if let Some(texts) = self.source.read().map_err(wrong)? {
            self.state().held = Some(Arc::new((self.read)(&texts).map_err(wrong)?));
        }
        Ok(self)
    }

    /// Whether it signs assertions of its own.
    pub(crate) fn signs(&self) -> bool {
        matches!(self.kind, "key-file" | "certificate-file")
    }

    pub(crate) fn id(&self) -> String {
        format!("{}:{}", self.kind, self.source.name())
    }

    /// The credential as it is now; the last good one where what is there is broken.
    pub(crate) async fn current(&self) -> Result<Arc<Credential>, Error> {
        // Read each time: it happens once in a request over the network, and is small beside it. Times and lengths of files
        // can stay the same while what they hold changes.
        let source = Arc::clone(&self.source);
        let read = tokio::task::spawn_blocking(move || source.read()).await;
        let texts = match read {
            Ok(Ok(Some(texts))) => texts,
            Ok(Ok(None)) => return self.state().held.clone().ok_or(Error::NoCredential),
            Ok(Err(reason)) => return self.last(&reason, None),
            Err(_) => return self.last("reading it failed", None),
        };
        let mut hash = Sha256::new();
        for text in texts.iter() {
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text);
        }
        let digest = Some(hash.finalize().into());
        if let State { held: Some(held), seen } = &*self.state()
            && *seen == digest
        {
            return Ok(Arc::clone(held));
        }
        match (self.read)(&texts) {
            Ok(credential) => {
                let credential = Arc::new(credential);
                let mut state = self.state();
                if state.held.replace(Arc::clone(&credential)).is_some() && state.seen.is_some() {
                    info!(credential.file = %self.source.name(), "a credential was replaced");
                }
                state.seen = digest;
                Ok(credential)
            }
            Err(reason) => self.last(&reason, digest),
        }
    }

    /// What was held. Said once for each state of the source.
    fn last(&self, reason: &str, digest: Option<[u8; 32]>) -> Result<Arc<Credential>, Error> {
        let mut state = self.state();
        if state.seen != digest || state.held.is_none() {
            warn!(credential.file = %self.source.name(), credential.fault = reason, "a credential cannot be used as it is now; the last good one stays");
        }
        state.seen = digest;
        state
            .held
            .clone()
            .ok_or(Error::Request("the file with the client's credential cannot be used; the log says why"))
    }

    // For a few instructions, never across an await.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
