//! What files hold: read again when they have changed, and kept as it was where the new ones are broken.
use arc_swap::ArcSwap;
use sha2::{Digest, Sha256};
use std::io::Read as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// The largest file that is read.
const MOST: u64 = 16 << 20;

/// Something that is kept up to date.
pub(crate) trait Rotates: Send + Sync {
    /// Looks whether it has changed. For a thread that may wait.
    fn look(&self);
}

/// Makes a thing of what its files hold, in their order.
type Reader<T> = dyn Fn(&[Vec<u8>]) -> Result<T, String> + Send + Sync;

/// A thing that is made of files.
pub(crate) struct Rotating<T> {
    files: Vec<PathBuf>,
    read: Box<Reader<T>>,
    current: ArcSwap<T>,
    /// The digest of what the files held when they were last looked at, whether it was of use or not.
    seen: Mutex<Option<[u8; 32]>>,
}

impl<T: Send + Sync> Rotating<T> {
    /// Reads them for the first time.
    pub(crate) fn begin(
        files: Vec<PathBuf>,
        read: impl Fn(&[Vec<u8>]) -> Result<T, String> + Send + Sync + 'static,
    ) -> Result<Self, String> {
        let held = contents(&files)?;
        let seen = Mutex::new(Some(digest(&held)));
        Ok(Self { current: ArcSwap::from_pointee(read(&held)?), files, read: Box::new(read), seen })
    }

    /// The thing as it is now.
    pub(crate) fn current(&self) -> Arc<T> {
        self.current.load_full()
    }

    fn shown(&self) -> String {
        self.files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(", ")
    }
}

impl<T: Send + Sync> Rotates for Rotating<T> {
    fn look(&self) {
        let held = contents(&self.files);
        let now = held.as_ref().ok().map(|held| digest(held));
        // For a few instructions.
        let before = std::mem::replace(&mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner), now);
        if before == now {
            return;
        }
        match held.and_then(|held| (self.read)(&held)) {
            Ok(made) => {
                self.current.store(Arc::new(made));
                tracing::info!(files = %self.shown(), "what these files hold was replaced");
            }
            Err(reason) => {
                tracing::error!(files = %self.shown(), reason, "these files cannot be used; what was read before stays");
            }
        }
    }
}

fn contents(files: &[PathBuf]) -> Result<Vec<Vec<u8>>, String> {
    files.iter().map(|file| content(file).map_err(|reason| format!("`{}` {reason}", file.display()))).collect()
}

/// One file, if it is not too large.
pub(crate) fn content(file: &std::path::Path) -> Result<Vec<u8>, String> {
    let mut held = Vec::new();
    let opened = std::fs::File::open(file).map_err(|error| format!("cannot be read: {}", error.kind()))?;
    let length = opened.take(MOST + 1).read_to_end(&mut held);
    length.map_err(|error| format!("cannot be read: {}", error.kind()))?;
    if held.len() as u64 > MOST { Err("is larger than 16 MiB".to_owned()) } else { Ok(held) }
}

fn digest(all: &[Vec<u8>]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for held in all {
        hash.update((held.len() as u64).to_be_bytes());
        hash.update(held);
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_files_hold_is_there_and_what_is_broken_changes_nothing() {
        let folder = std::env::temp_dir().join(format!("deputize-gateway-rotating-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join("number");
        std::fs::write(&file, "1").unwrap();
        let number = |held: &[Vec<u8>]| String::from_utf8_lossy(&held[0]).parse::<u32>().map_err(|e| e.to_string());
        let rotating = Rotating::begin(vec![file.clone()], number).unwrap();
        let first = rotating.current();
        rotating.look();
        assert!(Arc::ptr_eq(&first, &rotating.current()), "nothing has changed");
        for (text, expected) in [("2", 2), ("x", 2), ("", 2), ("3", 3)] {
            std::fs::write(&file, text).unwrap();
            rotating.look();
            assert_eq!(*rotating.current(), expected, "{text}");
        }
        std::fs::remove_file(&file).unwrap();
        rotating.look();
        assert_eq!(*rotating.current(), 3, "the file is gone");
        std::fs::write(&file, "3").unwrap();
        rotating.look();
        assert_eq!(*rotating.current(), 3);
        assert!(Rotating::begin(vec![folder.join("none")], number).err().unwrap().contains("none` cannot be read"));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
