//! One database: its writer and its readers.
use crate::migrate::{self, Migration};
use crate::open::{self, OpenError, Options};
use crate::writer::{Abort, Batch, WriteError, Writer};
use rusqlite::Connection;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use thiserror::Error;
use tracing::warn;

/// The database cannot be read now.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("the store is unavailable")]
pub struct Unavailable;

/// An open database. Dropping it writes what is queued and closes it in order.
pub struct Database<B: Batch = ()> {
    writer: Writer<B>,
    idle: Mutex<Vec<Connection>>,
    path: PathBuf,
    options: Options,
}

impl<B: Batch> Database<B> {
    /// Opens or creates the file, applies the migrations and starts the writer. `start` runs in the migrations'
    /// transaction, is told whether the store is new, and yields what batches carry.
    pub fn open<E: From<OpenError>>(
        path: &Path,
        options: &Options,
        migrations: &[Migration],
        start: impl FnOnce(&Connection, bool) -> Result<B, E>,
    ) -> Result<Self, E> {
        let connection = open::writer(path, options)?;
        let failed = |error| E::from(OpenError::of(path, error));
        connection.execute_batch("BEGIN IMMEDIATE").map_err(failed)?;
        let new = migrate::run(path, &connection, migrations)?;
        let batch = start(&connection, new)?;
        connection.execute_batch("COMMIT").map_err(failed)?;
        let writer = Writer::start(connection, batch, options.batch, options.queue)
            .map_err(|error| OpenError::Engine { path: path.to_owned(), problem: error.to_string() })?;
        Ok(Self { writer, idle: Mutex::default(), path: path.to_owned(), options: options.clone() })
    }

    /// Runs a job on the writer. It is durable before this returns `Ok`, and has left no trace if it returns
    /// [`WriteError::Conflict`].
    pub async fn write<T, J>(&self, job: J) -> Result<T, WriteError>
    where
        T: Send + 'static,
        J: FnOnce(&Connection, &mut B) -> Result<T, Abort> + Send + 'static,
    {
        self.writer.write(job).await
    }

    /// Whether the latest write was taken, or failed for a reason of its own. No answer to "would one be taken now?": only a
    /// write knows that.
    pub fn writable(&self) -> bool {
        self.writer.sound()
    }

    /// Reads on the calling thread: point reads take microseconds.
    pub fn read<T>(&self, read: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, Unavailable> {
        let failed = |error: rusqlite::Error| {
            warn!(%error, "a read failed");
            Unavailable
        };
        // A connection whose read panics is not put back.
        let idle = self.idle().pop();
        let connection = match idle {
            Some(connection) => connection,
            None => open::reader(&self.path, &self.options).map_err(failed)?,
        };
        let result = read(&connection).map_err(failed);
        let mut idle = self.idle();
        if idle.len() < self.options.readers && connection.is_autocommit() {
            idle.push(connection);
        }
        result
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        // Nothing that can panic runs under this lock.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
