//! Names of runs, so that another can join. A name is a lock that its holder keeps, and a link to its door.
use crate::data::Data;
use crate::failure::{Failure, why};
use crate::system;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// A name that is taken until this is dropped, or its process gone.
pub(super) struct Name {
    link: PathBuf,
    _lock: File,
}

impl Name {
    /// Takes a name, and says where the door is.
    pub(super) fn take(name: &str, door: &Path) -> Result<Self, Failure> {
        let folder = folder()?;
        let path = folder.path(&format!("{name}.lock"));
        let lock = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
        let lock = lock.map_err(|error| unwritable(&path, &error))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let hint = format!("join it with `--join {name}`, or choose another name");
                return Err(Failure::new(format!("a run with the name `{name}` is going on"), hint));
            }
            Err(TryLockError::Error(error)) => return Err(unwritable(&path, &error)),
        }
        let link = folder.path(name);
        // Whoever had the name before is gone: it could not be locked otherwise.
        let _ = fs::remove_file(&link);
        std::os::unix::fs::symlink(door, &link).map_err(|error| unwritable(&link, &error))?;
        Ok(Self { link, _lock: lock })
    }

    /// The door of the run with this name.
    pub(super) fn door(name: &str) -> Result<PathBuf, Failure> {
        fs::read_link(folder()?.path(name)).map_err(|_| {
            let hint = format!("start one with `deputize run --name {name} -- COMMAND`");
            Failure::new(format!("no run with the name `{name}` is going on"), hint)
        })
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.link);
    }
}

/// A folder that is this user's alone, also where everybody may make one of the same name first.
fn folder() -> Result<Data, Failure> {
    let user = nix::unistd::geteuid();
    let place = system::variable("XDG_RUNTIME_DIR").map_or_else(
        || std::env::temp_dir().join(format!("deputize-run-{user}")),
        |folder| Path::new(&folder).join("deputize-run"),
    );
    let folder = Data::open(&place)?;
    let found = fs::symlink_metadata(&place).map_err(|error| unwritable(&place, &error))?;
    if found.is_dir() && found.uid() == user.as_raw() && found.mode().trailing_zeros() >= 6 {
        return Ok(folder);
    }
    let error = format!("`{}` is not this user's own folder", place.display());
    Err(Failure::new(error, "remove it, or set XDG_RUNTIME_DIR to a folder of yours"))
}

fn unwritable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(format!("`{}` cannot be written: {}", path.display(), why(error)), "give this user access to it")
}
