//! What is made of files, secrets and certificates that are replaced while the gateway runs: read again when they have changed, and
//! kept as it was where the new ones are broken.
use crate::secrets::{Held, Material};
use crate::settings::why;
use arc_swap::ArcSwapOption;
use sha2::{Digest, Sha256};
use std::io::Read as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use zeroize::Zeroizing;

/// The largest file that is read.
const MOST: u64 = 16 << 20;

/// Something that is kept up to date.
pub(crate) trait Rotates: Send + Sync {
    /// Looks whether it has changed. For a thread that may wait.
    fn look(&self);

    /// How it fares.
    fn fares(&self) -> Fares;
}

/// How something fares that is kept up to date.
pub(crate) struct Fares {
    /// Where it comes from, without anything secret.
    pub(crate) from: String,
    /// Whether it is there.
    pub(crate) is_there: bool,
    /// How often what was to replace it was of no use.
    pub(crate) rejected: u64,
}

/// Makes a thing of what its sources hold, in their order.
type Reader<T> = dyn Fn(&[Held]) -> Result<T, String> + Send + Sync;

/// A thing that is made of files and secrets.
pub(crate) struct Rotating<T> {
    material: Material,
    read: Box<Reader<T>>,
    current: ArcSwapOption<T>,
    /// The digest of what there was when it was last looked at, whether it was of use or not.
    seen: Mutex<Option<[u8; 32]>>,
    rejected: AtomicU64,
}

impl<T: Send + Sync> Rotating<T> {
    /// Reads it for the first time. What is not there yet, since it has to be fetched, is read when it has been.
    ///
    /// # Errors
    /// If what is there is of no use.
    pub(crate) fn begin(
        material: Material,
        read: impl Fn(&[Held]) -> Result<T, String> + Send + Sync + 'static,
    ) -> Result<Self, String> {
        let held = material.held()?;
        let current = held.as_deref().map(&read).transpose();
        let (current, rejected) = match current {
            Ok(current) => (current, 0),
            // It was fetched: what is wrong is no mistake of the file, and may be over soon.
            Err(reason) if material.is_fetched() => {
                tracing::error!(from = %material, reason, "this cannot be used");
                (None, 1)
            }
            Err(reason) => return Err(reason),
        };
        Ok(Self {
            current: ArcSwapOption::from_pointee(current),
            seen: Mutex::new(held.map(|held| digest(&held))),
            rejected: AtomicU64::new(rejected),
            material,
            read: Box::new(read),
        })
    }

    /// The thing as it is now; `None` while it has not been fetched.
    pub(crate) fn current(&self) -> Option<Arc<T>> {
        self.current.load_full()
    }
}

impl<T: Send + Sync> Rotates for Rotating<T> {
    fn look(&self) {
        let held = match self.material.held() {
            Ok(None) => return,
            Ok(Some(held)) => Ok(held),
            Err(reason) => Err(reason),
        };
        let now = held.as_ref().ok().map(|held| digest(held));
        // For a few instructions.
        let before = std::mem::replace(&mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner), now);
        if before == now {
            return;
        }
        match held.and_then(|held| (self.read)(&held)) {
            Ok(made) => {
                self.current.store(Some(Arc::new(made)));
                tracing::info!(from = %self.material, "what comes from there was replaced");
            }
            Err(reason) => {
                self.rejected.fetch_add(1, Ordering::Relaxed);
                tracing::error!(from = %self.material, reason, "this cannot be used; what was read before stays");
            }
        }
    }

    fn fares(&self) -> Fares {
        Fares {
            from: self.material.to_string(),
            is_there: self.current.load().is_some(),
            rejected: self.rejected.load(Ordering::Relaxed),
        }
    }
}

/// One file, if it is not too large.
pub(crate) fn content(file: &Path) -> Result<Held, String> {
    let mut held = Zeroizing::new(Vec::new());
    let opened = std::fs::File::open(file).map_err(|error| format!("cannot be read: {}", why(&error)))?;
    let length = opened.take(MOST + 1).read_to_end(&mut held);
    length.map_err(|error| format!("cannot be read: {}", why(&error)))?;
    if held.len() as u64 > MOST { Err("is larger than 16 MiB".to_owned()) } else { Ok(held) }
}

fn digest(all: &[Held]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for held in all {
        hash.update((held.len() as u64).to_be_bytes());
        hash.update(held.as_slice());
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
        let number = |held: &[Held]| String::from_utf8_lossy(&held[0]).parse::<u32>().map_err(|e| e.to_string());
        let rotating = Rotating::begin(Material::files([file.clone()]), number).unwrap();
        let first = rotating.current().unwrap();
        rotating.look();
        assert!(Arc::ptr_eq(&first, &rotating.current().unwrap()), "nothing has changed");
        for (text, expected, rejected) in [("2", 2, 0), ("x", 2, 1), ("", 2, 2), ("3", 3, 2)] {
            std::fs::write(&file, text).unwrap();
            rotating.look();
            assert_eq!((*rotating.current().unwrap(), rotating.fares().rejected), (expected, rejected), "{text}");
        }
        std::fs::remove_file(&file).unwrap();
        rotating.look();
        assert_eq!(*rotating.current().unwrap(), 3, "the file is gone");
        std::fs::write(&file, "3").unwrap();
        rotating.look();
        assert_eq!(*rotating.current().unwrap(), 3);
        let none = Rotating::begin(Material::files([folder.join("none")]), number);
        assert!(none.err().unwrap().contains("none` cannot be read: there is no such file"));
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn what_is_too_large_is_not_read_and_where_one_part_ends_is_part_of_what_was_seen() {
        let folder = std::env::temp_dir().join(format!("deputize-gateway-parts-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let [one, other] = ["one", "other"].map(|name| folder.join(name));
        let write = |texts: [&str; 2]| {
            [&one, &other].into_iter().zip(texts).for_each(|(file, text)| std::fs::write(file, text).unwrap());
        };
        write(["ab", "c"]);
        let joined =
            |held: &[Held]| Ok(held.iter().map(|held| String::from_utf8_lossy(held).into_owned()).collect::<Vec<_>>());
        let rotating = Rotating::begin(Material::files([one.clone(), other.clone()]), joined).unwrap();
        write(["a", "bc"]);
        rotating.look();
        assert_eq!(*rotating.current().unwrap(), ["a", "bc"]);
        std::fs::File::create(&other).unwrap().set_len(MOST + 1).unwrap();
        assert!(content(&other).unwrap_err().contains("larger than 16 MiB"));
        rotating.look();
        assert_eq!((rotating.current().unwrap().len(), rotating.fares().rejected), (2, 1));
        // As it was before it could not be read: it is read again all the same.
        write(["a", "bc"]);
        rotating.look();
        rotating.look();
        assert_eq!((rotating.fares().rejected, rotating.current().unwrap()[1].as_str()), (1, "bc"));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
