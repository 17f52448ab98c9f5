//! Where sessions lie: sealed, bounded in bytes and in time.
use super::SessionError;
use crate::Pending;
use decision::Timestamp;
use std::collections::HashMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::fs;
use tokio::io::AsyncWriteExt;

/// Keeps sealed sessions by an id of letters and digits. What is kept reveals nothing and cannot be moved to another id.
pub trait SessionStore: Send + Sync {
    /// What is kept under this id.
    fn load<'a>(&'a self, id: &'a str) -> Pending<'a, Result<Option<String>, SessionError>>;

    /// Keeps this, in the place of what was there, until it ends.
    ///
    /// # Errors
    /// [`SessionError::Full`] where the bound would be passed by what has not ended.
    fn save<'a>(
        &'a self,
        id: &'a str,
        sealed: &'a str,
        ends: Timestamp,
        now: Timestamp,
    ) -> Pending<'a, Result<(), SessionError>>;

    /// Removes what is kept under this id, if there is something.
    fn remove<'a>(&'a self, id: &'a str) -> Pending<'a, Result<(), SessionError>>;
}

/// What a session costs beside its text.
const BOOKKEEPING: u64 = 200;

/// Sessions in memory: gone when the process ends.
#[derive(Debug)]
pub struct MemorySessions {
    most: u64,
    kept: Mutex<HashMap<String, (String, Timestamp)>>,
}

impl MemorySessions {
    /// At most so many bytes of sessions.
    pub fn new(bytes: u64) -> Arc<Self> {
        Arc::new(Self { most: bytes, kept: Mutex::default() })
    }

    fn kept(&self) -> MutexGuard<'_, HashMap<String, (String, Timestamp)>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SessionStore for MemorySessions {
    fn load<'a>(&'a self, id: &'a str) -> Pending<'a, Result<Option<String>, SessionError>> {
        let found = self.kept().get(id).map(|(sealed, _)| sealed.clone());
        Box::pin(async { Ok(found) })
    }

    fn save<'a>(
        &'a self,
        id: &'a str,
        sealed: &'a str,
        ends: Timestamp,
        now: Timestamp,
    ) -> Pending<'a, Result<(), SessionError>> {
        let mut kept = self.kept();
        kept.retain(|known, (_, ends)| known != id && now < *ends);
        let held: u64 = kept.values().map(|(sealed, _)| sealed.len() as u64 + BOOKKEEPING).sum();
        let fits = held + sealed.len() as u64 + BOOKKEEPING <= self.most;
        if fits {
            kept.insert(id.to_owned(), (sealed.to_owned(), ends));
        }
        Box::pin(async move { if fits { Ok(()) } else { Err(SessionError::Full) } })
    }

    fn remove<'a>(&'a self, id: &'a str) -> Pending<'a, Result<(), SessionError>> {
        self.kept().remove(id);
        Box::pin(async { Ok(()) })
    }
}

/// Sessions as files of a directory that one process uses: each file a session, readable by its owner alone, replaced as a
/// whole.
#[derive(Debug)]
pub struct FileSessions {
    directory: PathBuf,
    most: u64,
    /// Names the files that are being written.
    last: AtomicU64,
}

impl FileSessions {
    /// At most so many bytes, in this directory, which is made if it is not there.
    pub fn new(directory: impl Into<PathBuf>, bytes: u64) -> Arc<Self> {
        Arc::new(Self { directory: directory.into(), most: bytes, last: AtomicU64::new(0) })
    }

    fn path(&self, id: &str) -> Result<PathBuf, SessionError> {
        // The id comes from a digest; should it ever not, no path leaves the directory.
        let plain = !id.is_empty() && id.len() <= 100 && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if plain { Ok(self.directory.join(id)) } else { Err(SessionError::Store("a name that is none".to_owned())) }
    }

    /// What is held by others that have not ended; what has ended is removed.
    async fn held_beside(&self, path: &Path, now: Timestamp) -> Result<u64, std::io::Error> {
        let mut held = 0;
        let mut entries = fs::read_dir(&self.directory).await?;
        while let Some(entry) = entries.next_entry().await? {
            if entry.path() == path {
                continue;
            }
            let text = fs::read_to_string(entry.path()).await.unwrap_or_default();
            let ends = text.split_once('\n').and_then(|(ends, _)| ends.parse().ok()).map(Timestamp);
            if ends.is_none_or(|ends| ends <= now) {
                let _ = fs::remove_file(entry.path()).await;
            } else {
                held += text.len() as u64 + BOOKKEEPING;
            }
        }
        Ok(held)
    }
}

fn failing(error: std::io::Error) -> SessionError {
    SessionError::Store(error.to_string())
}

impl SessionStore for FileSessions {
    fn load<'a>(&'a self, id: &'a str) -> Pending<'a, Result<Option<String>, SessionError>> {
        Box::pin(async {
            match fs::read_to_string(self.path(id)?).await {
                Ok(text) => Ok(text.split_once('\n').map(|(_, sealed)| sealed.to_owned())),
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
                Err(error) => Err(failing(error)),
            }
        })
    }

    fn save<'a>(
        &'a self,
        id: &'a str,
        sealed: &'a str,
        ends: Timestamp,
        now: Timestamp,
    ) -> Pending<'a, Result<(), SessionError>> {
        Box::pin(async move {
            let path = self.path(id)?;
            fs::create_dir_all(&self.directory).await.map_err(failing)?;
            let text = format!("{}\n{sealed}", ends.0);
            let held = self.held_beside(&path, now).await.map_err(failing)?;
            if held + text.len() as u64 + BOOKKEEPING > self.most {
                return Err(SessionError::Full);
            }
            let next = self.directory.join(format!(".{id}-{}", self.last.fetch_add(1, Relaxed)));
            let written = async {
                let mut options = fs::OpenOptions::new();
                options.write(true).create_new(true);
                #[cfg(unix)]
                options.mode(0o600);
                let mut file = options.open(&next).await?;
                file.write_all(text.as_bytes()).await?;
                file.sync_all().await?;
                fs::rename(&next, &path).await
            };
            let written = written.await;
            if written.is_err() {
                let _ = fs::remove_file(&next).await;
            }
            written.map_err(failing)
        })
    }

    fn remove<'a>(&'a self, id: &'a str) -> Pending<'a, Result<(), SessionError>> {
        Box::pin(async {
            match fs::remove_file(self.path(id)?).await {
                Err(error) if error.kind() != ErrorKind::NotFound => Err(failing(error)),
                _ => Ok(()),
            }
        })
    }
}
