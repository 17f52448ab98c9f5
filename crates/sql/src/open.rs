//! Opening a file so that what is wrong with it is said in words that somebody can act on.
use rusqlite::{Connection, ErrorCode, OpenFlags};
use std::fs::{DirBuilder, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use thiserror::Error;

/// Marks our files in SQLite's header (`dput`), so that another program's database is not taken for ours.
const APPLICATION_ID: i32 = 0x6470_7574;

/// Bounds of the engine.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many jobs one transaction may hold. 1 turns group commit off.
    pub batch: usize,
    /// How many jobs may wait; one more is refused as unavailable.
    pub queue: usize,
    /// How many idle read connections are kept.
    pub readers: usize,
    /// How long to wait for another process that holds the file.
    pub busy: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { batch: 256, queue: 4_096, readers: 8, busy: Duration::from_secs(5) }
    }
}

/// Why a store cannot be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The file or its folder cannot be written.
    #[error(
        "the store `{0}` is read-only: give this user write access to the file and its folder, or choose another folder"
    )]
    ReadOnly(PathBuf),
    /// Another process holds it.
    #[error("the store `{0}` is locked: end the other process that holds it, then start again")]
    Locked(PathBuf),
    /// It is something else.
    #[error("`{0}` is not a deputize store: choose another file, or restore this one from a backup")]
    NotADatabase(PathBuf),
    /// Its pages do not fit together.
    #[error("the store `{path}` is damaged ({problem}): keep a copy, and restore a backup")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What the engine says.
        problem: String,
    },
    /// A newer release has written it.
    #[error(
        "the store `{path}` has {found} migrations and this release knows {known}: start the newer release that wrote it"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// How many it has.
        found: usize,
        /// How many we know.
        known: usize,
    },
    /// A migration that was applied once reads otherwise now.
    #[error(
        "migration `{name}` of the store `{path}` was applied with another text: start the release that wrote it, or restore a backup"
    )]
    Changed {
        /// The file.
        path: PathBuf,
        /// The migration.
        name: String,
    },
    /// No space is left.
    #[error("no space is left for the store `{0}`: free some on its disk")]
    Full(PathBuf),
    /// Anything else, in the engine's words.
    #[error("the store `{path}` cannot be opened: {problem}")]
    Engine {
        /// The file.
        path: PathBuf,
        /// What the engine or the system says.
        problem: String,
    },
}

impl OpenError {
    /// Says what an engine's error means for this file.
    pub fn of(path: &Path, error: rusqlite::Error) -> Self {
        let path = path.to_owned();
        match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => Self::NotADatabase(path),
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Locked(path),
            Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::CannotOpen) => Self::ReadOnly(path),
            Some(ErrorCode::DiskFull) => Self::Full(path),
            _ => Self::Engine { path, problem: error.to_string() },
        }
    }

    fn of_file(path: &Path, error: std::io::Error) -> Self {
        let path = path.to_owned();
        match error.kind() {
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => Self::ReadOnly(path),
            ErrorKind::StorageFull => Self::Full(path),
            _ => Self::Engine { path, problem: error.to_string() },
        }
    }
}

/// After how long it is tried again to make the log.
const AGAIN: Duration = Duration::from_millis(25);

/// The connection that writes. Creates the file (0600) and its folder (0700) if there are none.
pub(crate) fn writer(path: &Path, options: &Options) -> Result<Connection, OpenError> {
    create(path)?;
    #[expect(clippy::disallowed_methods, reason = "a wait for a file, as the engine's own; it decides nothing")]
    let begun = Instant::now();
    loop {
        match with_log(path, options) {
            // While another process makes the log, the engine refuses at once, and does not wait.
            Err(OpenError::Locked(_)) if begun.elapsed() < options.busy => std::thread::sleep(AGAIN),
            done => return done,
        }
    }
}

fn with_log(path: &Path, options: &Options) -> Result<Connection, OpenError> {
    let failed = |error| OpenError::of(path, error);
    let connection = connect(path, options).map_err(failed)?;
    // The engine falls back to reading where it may not write; better to hear of it now than at the first sign-in.
    if connection.is_readonly("main").map_err(failed)? {
        return Err(OpenError::ReadOnly(path.to_owned()));
    }
    if !ours(path, &connection)? {
        connection.pragma_update(None, "application_id", APPLICATION_ID).map_err(failed)?;
    }
    let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0)).map_err(failed)?;
    if mode != "wal" {
        let problem = "this file system has no shared memory for a write-ahead log; use a local disk".to_owned();
        return Err(OpenError::Engine { path: path.to_owned(), problem });
    }
    // An acknowledged redemption must not come back after a power cut, hence FULL.
    connection.pragma_update(None, "synchronous", "FULL").map_err(failed)?;
    connection.pragma_update(None, "journal_size_limit", 64 << 20).map_err(failed)?;
    // A page written often is copied to the file seldom: 16 MiB of log between checkpoints, 32 MiB of pages in memory.
    connection.pragma_update(None, "wal_autocheckpoint", 4_096).map_err(failed)?;
    connection.pragma_update(None, "cache_size", -32_768).map_err(failed)?;
    Ok(connection)
}

/// Whether the file is marked as ours; it is not yet if it is empty.
fn ours(path: &Path, connection: &Connection) -> Result<bool, OpenError> {
    let failed = |error| OpenError::of(path, error);
    // In this order: another process may be making the store right now, and it sets the mark before any table.
    let tables: i64 =
        connection.query_row("SELECT COUNT(*) FROM sqlite_master", [], |row| row.get(0)).map_err(failed)?;
    let found: i32 = connection.query_row("PRAGMA application_id", [], |row| row.get(0)).map_err(failed)?;
    match found {
        APPLICATION_ID => Ok(true),
        0 if tables == 0 => Ok(false),
        _ => Err(OpenError::NotADatabase(path.to_owned())),
    }
}

/// Reads a whole file that nobody may vouch for, and changes nothing: no migration, no write-ahead log taken in. What
/// `read` found comes first, then whether the file is sound.
///
/// This is the place of SQLite's `quick_check`, and opening is not: it reads the whole file, so that a start would take
/// longer each day; and an end without order damages no page, since the log's frames carry checksums.
pub fn examine<T>(path: &Path, read: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, OpenError> {
    at_once(path, |connection| {
        let result = read(connection)?;
        Ok((result, connection.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0))?))
    })
    .and_then(|(result, verdict)| match verdict.as_str() {
        "ok" => Ok(result),
        _ => Err(OpenError::Damaged { path: path.to_owned(), problem: verdict }),
    })
}

/// Reads a file as it is at one moment, whoever writes meanwhile, and changes nothing.
pub fn at_once<T>(path: &Path, read: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, OpenError> {
    let failed = |error| OpenError::of(path, error);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    connection.busy_timeout(Options::default().busy).map_err(failed)?;
    connection.pragma_update(None, "trusted_schema", false).map_err(failed)?;
    if !ours(path, &connection)? {
        return Err(OpenError::NotADatabase(path.to_owned()));
    }
    let transaction = connection.unchecked_transaction().map_err(failed)?;
    read(&transaction).map_err(failed)
}

/// A connection that only reads.
pub(crate) fn reader(path: &Path, options: &Options) -> rusqlite::Result<Connection> {
    let connection = connect(path, options)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

fn connect(path: &Path, options: &Options) -> rusqlite::Result<Connection> {
    // No lock inside the engine: each connection belongs to one thread at a time.
    let connection =
        Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(options.busy)?;
    connection.set_prepared_statement_cache_capacity(64);
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.pragma_update(None, "trusted_schema", false)?;
    Ok(connection)
}

fn create(path: &Path) -> Result<(), OpenError> {
    if let Ok(metadata) = path.metadata() {
        // Said by ourselves because the superuser may write such a file: whoever made it so meant it.
        return if metadata.permissions().readonly() { Err(OpenError::ReadOnly(path.to_owned())) } else { Ok(()) };
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    if let Some(folder) = folder {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(|error| OpenError::of_file(path, error))?;
    }
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    match file {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(OpenError::of_file(path, error)),
        _ => Ok(()),
    }
}
