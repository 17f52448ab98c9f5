//! Credentials in files that a platform replaces: read again when they have changed, and kept where the new ones are broken.
use crate::Error;
use crate::credential::Credential;
use sha2::{Digest, Sha256};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tracing::{info, warn};
use zeroize::Zeroizing;

/// The largest file that is read.
const MOST: u64 = 1024 * 1024;

/// A file of a credential that cannot be used at the start. The text says which and why, and nothing of what stands in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{path}` cannot be used: {reason}")]
pub struct CredentialFileError {
    /// The file.
    pub path: String,
    /// Why.
    pub reason: String,
}

/// Makes a credential of the files' texts.
type Reader = dyn Fn(&[String]) -> Result<Credential, String> + Send + Sync;

/// A credential that its files hold.
pub(crate) struct Rotating {
    /// What it is, for cache keys. The files' place stands for their content: a successor's tokens are as good as its
    /// predecessor's.
    kind: &'static str,
    paths: Vec<PathBuf>,
    read: Box<Reader>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    held: Option<Arc<Credential>>,
    /// The digest of what the files held when they were last looked at, whether it was of use or not.
    seen: Option<[u8; 32]>,
}

impl Rotating {
    pub(crate) fn new(
        kind: &'static str,
        paths: Vec<PathBuf>,
        read: impl Fn(&[String]) -> Result<Credential, String> + Send + Sync + 'static,
    ) -> Self {
        Self { kind, paths, read: Box::new(read), state: Mutex::default() }
    }

    /// Reads the files now, so that a mistake shows at the start.
    pub(crate) fn begin(self) -> Result<Self, CredentialFileError> {
        let path = self.shown();
        let texts = self.paths.iter().map(std::fs::read_to_string).collect::<io::Result<Vec<_>>>();
        let read = texts.map_err(|error| error.to_string()).and_then(|texts| (self.read)(&texts));
        self.state().held = Some(Arc::new(read.map_err(|reason| CredentialFileError { path, reason })?));
        Ok(self)
    }

    /// Whether it signs assertions of its own.
    pub(crate) fn signs(&self) -> bool {
        matches!(self.kind, "key-file" | "certificate-file")
    }

    pub(crate) fn id(&self) -> String {
        format!("{}:{}", self.kind, self.shown())
    }

    /// The credential as the files have it now; the last good one where they are broken.
    pub(crate) async fn current(&self) -> Result<Arc<Credential>, Error> {
        // Read each time: it happens once in a request over the network, and is small beside it. Times and lengths of files
        // can stay the same while what they hold changes.
        let texts = match self.texts().await {
            Ok(texts) => texts,
            Err(error) => return self.last(&error.to_string(), None),
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
                    info!(credential.file = %self.shown(), "a credential was replaced");
                }
                state.seen = digest;
                Ok(credential)
            }
            Err(reason) => self.last(&reason, digest),
        }
    }

    async fn texts(&self) -> io::Result<Zeroizing<Vec<String>>> {
        let mut texts = Zeroizing::new(Vec::with_capacity(self.paths.len()));
        for path in &self.paths {
            if tokio::fs::metadata(path).await?.len() > MOST {
                return Err(io::Error::other("it is larger than a megabyte"));
            }
            texts.push(tokio::fs::read_to_string(path).await?);
        }
        Ok(texts)
    }

    /// What was held. Said once for each state of the files.
    fn last(&self, reason: &str, digest: Option<[u8; 32]>) -> Result<Arc<Credential>, Error> {
        let mut state = self.state();
        if state.seen != digest || state.held.is_none() {
            warn!(credential.file = %self.shown(), credential.fault = reason, "a credential's file cannot be used; the last good one stays");
        }
        state.seen = digest;
        state
            .held
            .clone()
            .ok_or(Error::Request("the file with the client's credential cannot be used; the log says why"))
    }

    fn shown(&self) -> String {
        self.paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
    }

    // For a few instructions, never across an await.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
