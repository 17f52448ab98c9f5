//! The one thread that writes: many jobs, one fsync.
use rusqlite::{Connection, ErrorCode};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use thiserror::Error;
use tokio::sync::oneshot;
use tracing::{error, warn};

/// What a batch carries from job to job. A failed job's changes to it are undone with its writes: it is cloned before
/// each job, so keep it small.
pub trait Batch: Clone + Send + 'static {
    /// At the start of the transaction, before its first job.
    fn begin(&mut self, connection: &Connection) -> Result<(), Abort>;
    /// After the last job, before COMMIT: what is written once a batch.
    fn settle(&mut self, connection: &Connection) -> Result<(), Abort>;
    /// After COMMIT, before anyone is answered: what readers must see from now on.
    fn committed(&mut self);
    /// The last word at a clean end, in a transaction of its own.
    fn close(&mut self, connection: &Connection) -> Result<(), Abort>;
}

/// Nothing is carried.
impl Batch for () {
    fn begin(&mut self, _: &Connection) -> Result<(), Abort> {
        Ok(())
    }
    fn settle(&mut self, _: &Connection) -> Result<(), Abort> {
        Ok(())
    }
    fn committed(&mut self) {}
    fn close(&mut self, _: &Connection) -> Result<(), Abort> {
        Ok(())
    }
}

/// Why a job gives up: its writes are undone, its neighbours' stay.
#[derive(Debug, Error)]
pub enum Abort {
    /// A condition of it did not hold.
    #[error("a condition did not hold")]
    Conflict,
    /// The engine refused a statement.
    #[error(transparent)]
    Engine(rusqlite::Error),
    /// What is stored is not what was written; the text says what.
    #[error("{0}")]
    Broken(&'static str),
}

impl From<rusqlite::Error> for Abort {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::ConstraintViolation) => Self::Conflict,
            _ => Self::Engine(error),
        }
    }
}

impl Abort {
    /// Whether the disk or the file is the reason, so that the next write will find it too.
    fn of_the_disk(&self) -> bool {
        let Self::Engine(error) = self else { return false };
        matches!(
            error.sqlite_error_code(),
            Some(
                ErrorCode::ReadOnly
                    | ErrorCode::DiskFull
                    | ErrorCode::SystemIoFailure
                    | ErrorCode::CannotOpen
                    | ErrorCode::DatabaseCorrupt
                    | ErrorCode::NotADatabase
            )
        )
    }
}

/// Why a write did not happen.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum WriteError {
    /// A condition did not hold.
    #[error("the state changed in between")]
    Conflict,
    /// The queue is full or the disk does not take it. Nothing was acknowledged.
    #[error("the store is unavailable")]
    Unavailable,
}

type Answer = Box<dyn FnOnce() + Send>;

/// A job that was run; without its answer it is unavailable to whoever waits.
struct Ran {
    /// Whether its writes are to be undone.
    failed: bool,
    /// Whether it failed for a reason that is not its own.
    of_the_disk: bool,
    answer: Answer,
}

type Work<B> = Box<dyn FnOnce(&Connection, &mut B) -> Ran + Send>;

/// The queue to the thread, and the thread.
pub(crate) struct Writer<B> {
    queue: Option<SyncSender<Work<B>>>,
    sound: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl<B: Batch> Writer<B> {
    pub(crate) fn start(connection: Connection, batch: B, most: usize, waiting: usize) -> std::io::Result<Self> {
        let (queue, jobs) = sync_channel(waiting);
        let sound = Arc::new(AtomicBool::new(true));
        let told = Arc::clone(&sound);
        let run = move || serve(&connection, batch, &jobs, most.max(1), &told);
        let thread = std::thread::Builder::new().name("store-writer".to_owned()).spawn(run)?;
        Ok(Self { queue: Some(queue), sound, thread: Some(thread) })
    }

    /// Whether the disk took the latest batch.
    pub(crate) fn sound(&self) -> bool {
        self.sound.load(Ordering::Relaxed)
    }

    pub(crate) async fn write<T, J>(&self, job: J) -> Result<T, WriteError>
    where
        T: Send + 'static,
        J: FnOnce(&Connection, &mut B) -> Result<T, Abort> + Send + 'static,
    {
        let (sender, answer) = oneshot::channel();
        let work = move |connection: &Connection, batch: &mut B| -> Ran {
            // One request's defect must not end everybody's writes.
            let result = catch_unwind(AssertUnwindSafe(|| job(connection, batch)))
                .unwrap_or(Err(Abort::Broken("a write panicked")));
            let of_the_disk = result.as_ref().is_err_and(Abort::of_the_disk);
            let result = result.map_err(|abort| match abort {
                Abort::Conflict => WriteError::Conflict,
                Abort::Engine(_) | Abort::Broken(_) => {
                    warn!(error = %abort, "a write failed");
                    WriteError::Unavailable
                }
            });
            let failed = result.is_err();
            // Whoever asked may have gone away; the write stands.
            Ran { failed, of_the_disk, answer: Box::new(move || drop(sender.send(result))) }
        };
        match self.queue.as_ref().map(|queue| queue.try_send(Box::new(work))) {
            Some(Ok(())) => answer.await.unwrap_or(Err(WriteError::Unavailable)),
            Some(Err(TrySendError::Full(_) | TrySendError::Disconnected(_))) | None => Err(WriteError::Unavailable),
        }
    }
}

/// Takes what is queued, then says the last word.
impl<B> Drop for Writer<B> {
    fn drop(&mut self) {
        drop(self.queue.take());
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            error!("the store's writer panicked");
        }
    }
}

fn serve<B: Batch>(connection: &Connection, mut batch: B, jobs: &Receiver<Work<B>>, most: usize, sound: &AtomicBool) {
    while let Ok(first) = jobs.recv() {
        // Those that are about to ask may ask first: where the processor is busy, a batch is as large as it can be. No waiting
        // otherwise: those that arrive during this batch's fsync are the next batch.
        std::thread::yield_now();
        // Taken from the queue first: if the transaction cannot begin, all of them are refused, not only the first.
        let mut work = std::iter::once(first).chain(jobs.try_iter()).take(most).collect::<Vec<_>>().into_iter();
        let (before, mut ran) = (batch.clone(), Vec::new());
        let outcome = transact(connection, &mut batch, &mut work, &mut ran);
        // Before anyone is answered: whoever is refused finds the store unsound.
        sound.store(outcome.is_ok() && !ran.iter().any(|ran| ran.of_the_disk), Ordering::Relaxed);
        match outcome {
            Ok(()) => {
                batch.committed();
                for ran in ran {
                    (ran.answer)();
                }
            }
            Err(abort) => {
                warn!(error = %abort, "a batch was not written");
                batch = before;
                // Those not run yet are answered too: dropping a job says that it is unavailable.
            }
        }
    }
    let closed = execute(connection, "BEGIN IMMEDIATE")
        .and_then(|()| batch.close(connection))
        .and_then(|()| execute(connection, "COMMIT"));
    if let Err(abort) = closed {
        warn!(error = %abort, "the store was not closed in order");
    }
}

fn transact<B: Batch>(
    connection: &Connection,
    batch: &mut B,
    work: &mut impl Iterator<Item = Work<B>>,
    ran: &mut Vec<Ran>,
) -> Result<(), Abort> {
    let result = begin(connection).and_then(|()| {
        batch.begin(connection)?;
        work.try_for_each(|work| savepoint(connection, batch, work, ran))?;
        batch.settle(connection)?;
        execute(connection, "COMMIT")
    });
    if result.is_err() && !connection.is_autocommit() {
        execute(connection, "ROLLBACK")?;
    }
    result
}

fn begin(connection: &Connection) -> Result<(), Abort> {
    if !connection.is_autocommit() {
        // An earlier rollback failed; the disk may be back by now.
        execute(connection, "ROLLBACK")?;
    }
    execute(connection, "BEGIN IMMEDIATE")
}

fn savepoint<B: Batch>(connection: &Connection, batch: &mut B, work: Work<B>, all: &mut Vec<Ran>) -> Result<(), Abort> {
    let before = batch.clone();
    execute(connection, "SAVEPOINT job")?;
    let ran = work(connection, batch);
    let failed = ran.failed;
    all.push(ran);
    if connection.is_autocommit() {
        // The engine answers some I/O errors by rolling the whole transaction back, the neighbours' writes included.
        return Err(Abort::Broken("the engine gave the transaction up"));
    }
    if failed {
        execute(connection, "ROLLBACK TO job")?;
        *batch = before;
    }
    execute(connection, "RELEASE job")
}

fn execute(connection: &Connection, sql: &str) -> Result<(), Abort> {
    connection.prepare_cached(sql).and_then(|mut statement| statement.execute([])).map_err(Abort::Engine)?;
    Ok(())
}
