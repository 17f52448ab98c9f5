//! Keys of subscriptions at rest: HMAC-SHA-256 under a key that is not in the database.
use super::StoreError;
use crate::settings::why;
use client::Random;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use sql::rusqlite::{self, Connection, OptionalExtension, params};
use std::fs::OpenOptions;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// What the database proves to belong to its key with.
const PROOF: &[u8] = b"the database of subscriptions belongs to this key";

pub(super) struct DigestKey(Hmac<Sha256>);

impl DigestKey {
    /// The key of this file, if there is one.
    pub(super) fn read(path: &Path) -> Result<Option<Self>, StoreError> {
        let wrong = |problem: String| StoreError::Key { path: path.to_owned(), problem };
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(wrong(format!("{}; check its permissions", why(&error)))),
        };
        let mode = std::fs::metadata(path).map(|data| data.permissions().mode()).unwrap_or_default();
        if mode & 0o077 != 0 {
            return Err(wrong("other users may read or change it: `chmod 600` it".to_owned()));
        }
        if bytes.len() != 32 {
            return Err(wrong("it is not 32 bytes long: restore it from a backup".to_owned()));
        }
        Ok(Some(Self::of(&bytes)))
    }

    /// A new one, in this file.
    pub(super) fn create(path: &Path, random: &dyn Random) -> Result<Self, StoreError> {
        let mut bytes = [0; 32];
        random.fill(&mut bytes);
        let written = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).and_then(|mut file| {
            file.write_all(&bytes)?;
            // Before the first digest is: without the key no digest is of use.
            file.sync_all()
        });
        written.map_err(|error| {
            let no_folder = error.kind() == ErrorKind::NotFound;
            let reason = if no_folder { "its folder is not there".to_owned() } else { why(&error) };
            let problem = format!("it cannot be made ({reason}): name one in a folder that the gateway may write to");
            StoreError::Key { path: path.to_owned(), problem }
        })?;
        Ok(Self::of(&bytes))
    }

    #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
    fn of(bytes: &[u8]) -> Self {
        Self(Hmac::new_from_slice(bytes).expect("HMAC takes keys of any length"))
    }

    /// The digest of a text.
    pub(super) fn digest(&self, text: &[u8]) -> [u8; 32] {
        let mut mac = self.0.clone();
        mac.update(text);
        mac.finalize().into_bytes().into()
    }

    /// Whether the digests of a database are made with this key; a new one belongs to it from now on.
    pub(super) fn belongs_to(&self, connection: &Connection, new: bool) -> rusqlite::Result<bool> {
        let proof = self.digest(PROOF);
        if new {
            connection.execute("INSERT INTO digest_key (id, proof) VALUES (1, ?1)", params![proof])?;
        }
        let found: Option<Vec<u8>> =
            connection.query_row("SELECT proof FROM digest_key WHERE id = 1", [], |row| row.get(0)).optional()?;
        Ok(found.is_some_and(|found| found == proof))
    }
}
