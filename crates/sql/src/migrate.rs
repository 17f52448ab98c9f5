//! Migrations: ordered, checksummed, applied at start.
use crate::open::OpenError;
use rusqlite::{Connection, params};
use sha2::{Digest as _, Sha256};
use std::path::Path;

/// One step of the schema. Its number is its place in the list; once released, its text never changes.
#[derive(Clone, Copy, Debug)]
pub struct Migration {
    /// Names it in errors.
    pub name: &'static str,
    /// Statements that both engines understand.
    pub sql: &'static str,
}

/// Applies what is missing, inside the caller's transaction, and says whether the store was empty before.
pub(crate) fn run(path: &Path, connection: &Connection, known: &[Migration]) -> Result<bool, OpenError> {
    let failed = |error| OpenError::of(path, error);
    connection
        .execute_batch(
            "CREATE TABLE IF NOT EXISTS migrations (number INTEGER PRIMARY KEY, name TEXT NOT NULL, checksum BLOB NOT NULL)",
        )
        .map_err(failed)?;
    let applied = applied(connection).map_err(failed)?;
    if applied.len() > known.len() {
        return Err(OpenError::Newer { path: path.to_owned(), found: applied.len(), known: known.len() });
    }
    for (n, migration) in known.iter().enumerate() {
        let checksum = Sha256::digest(migration.sql);
        match applied.get(n) {
            Some(found) if found.as_slice() == checksum.as_slice() => {}
            Some(_) => return Err(OpenError::Changed { path: path.to_owned(), name: migration.name.to_owned() }),
            None => apply(connection, n, migration, &checksum).map_err(failed)?,
        }
    }
    Ok(applied.is_empty())
}

fn applied(connection: &Connection) -> rusqlite::Result<Vec<Vec<u8>>> {
    connection.prepare("SELECT checksum FROM migrations ORDER BY number")?.query_map([], |row| row.get(0))?.collect()
}

fn apply(connection: &Connection, n: usize, migration: &Migration, checksum: &[u8]) -> rusqlite::Result<()> {
    connection.execute_batch(migration.sql)?;
    let number = i64::try_from(n).unwrap_or(i64::MAX).saturating_add(1);
    connection.execute("INSERT INTO migrations VALUES (?1, ?2, ?3)", params![number, migration.name, checksum])?;
    Ok(())
}
