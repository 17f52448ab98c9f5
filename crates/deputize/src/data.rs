//! The data directory: the store, the master key, and files that only their owner reads.
use crate::failure::{Failure, why};
use crate::system;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// A directory with mode 0700.
#[derive(Clone, Debug)]
pub(crate) struct Data {
    root: PathBuf,
}

impl Data {
    /// Opens it, or makes it.
    pub(crate) fn open(root: &Path) -> Result<Self, Failure> {
        DirBuilder::new().recursive(true).mode(0o700).create(root).map_err(|error| unwritable(root, &error))?;
        let root = root.canonicalize().map_err(|error| unwritable(root, &error))?;
        Ok(Self { root })
    }

    /// A file in it.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// The store.
    pub(crate) fn store(&self) -> PathBuf {
        self.path("store.db")
    }

    /// A folder in it.
    pub(crate) fn folder(&self, name: &str) -> Result<Self, Failure> {
        Self::open(&self.path(name))
    }

    /// A private file's text, made if there is none. Of two processes that make it at once, both get the first's.
    pub(crate) fn text(&self, name: &str, make: impl FnOnce() -> Result<String, Failure>) -> Result<String, Failure> {
        let path = self.path(name);
        if let Some(text) = self.read(name)? {
            return Ok(text);
        }
        let made = match make() {
            Ok(made) => made,
            // Another process may have made it meanwhile, and that may be what was in the way.
            Err(failure) => return self.read(name)?.ok_or(failure),
        };
        let draft = self.draft(name, made.as_bytes())?;
        let linked = fs::hard_link(&draft, &path);
        let _ = fs::remove_file(&draft);
        match linked {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(unwritable(&path, &error)),
            _ => self.read(name)?.ok_or_else(|| Failure::new(format!("`{}` vanished", path.display()), "start again")),
        }
    }

    /// A private file's text.
    pub(crate) fn read(&self, name: &str) -> Result<Option<String>, Failure> {
        let path = self.path(name);
        match fs::read_to_string(&path) {
            Ok(text) => {
                private(&path)?;
                Ok(Some(text))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Failure::new(
                format!("`{}` cannot be read: {}", path.display(), why(&error)),
                "give this user access to it, or choose another folder with `--data`",
            )),
        }
    }

    /// Writes a file for everybody's eyes.
    pub(crate) fn publish(&self, name: &str, text: &str) -> Result<PathBuf, Failure> {
        let path = self.path(name);
        let draft = self.draft(name, text.as_bytes())?;
        fs::set_permissions(&draft, fs::Permissions::from_mode(0o644))
            .and_then(|()| fs::rename(&draft, &path))
            .map_err(|error| unwritable(&path, &error))?;
        Ok(path)
    }

    fn draft(&self, name: &str, bytes: &[u8]) -> Result<PathBuf, Failure> {
        draft(&self.path(name), bytes)
    }
}

/// Replaces a file at once: readers see the old one or the new one, and only its owner sees either.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let draft = draft(path, bytes)?;
    fs::rename(&draft, path).map_err(|error| unwritable(path, &error))
}

/// A new file beside `path`, mode 0600, on disk.
fn draft(path: &Path, bytes: &[u8]) -> Result<PathBuf, Failure> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let draft = path.with_file_name(format!(".{name}.{:x}", u64::from_le_bytes(system::unpredictable())));
    let write = || {
        let mut file: File = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(|error| unwritable(path, &error))?;
    Ok(draft)
}

fn private(path: &Path) -> Result<(), Failure> {
    let mode = path.metadata().map(|metadata| metadata.permissions().mode()).unwrap_or_default();
    let others = mode & 0o077;
    if others == 0 {
        return Ok(());
    }
    let error = format!("`{}` can be read by others (mode {:o})", path.display(), mode & 0o777);
    Err(Failure::new(error, format!("chmod 600 {}", path.display())))
}

fn unwritable(path: &Path, error: &std::io::Error) -> Failure {
    if error.kind() == ErrorKind::NotFound {
        let error = format!("`{}` cannot be written: its folder does not exist", path.display());
        return Failure::new(error, "make the folder, or choose another");
    }
    Failure::new(
        format!("`{}` cannot be written: {}", path.display(), why(error)),
        "give this user write access to it, or choose another folder",
    )
}

/// A directory for one run, gone with it.
pub(crate) struct Temporary(PathBuf);

impl Temporary {
    pub(crate) fn create() -> Result<Self, Failure> {
        let name = format!("deputize-{:016x}", u64::from_le_bytes(system::unpredictable()));
        let path = std::env::temp_dir().join(name);
        // Not recursive: a folder that somebody else put there is an error.
        DirBuilder::new().mode(0o700).create(&path).map_err(|error| unwritable(&path, &error))?;
        Ok(Self(path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
