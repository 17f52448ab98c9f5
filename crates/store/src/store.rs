//! The store itself: opening it, changing the directory, watching what others change, the audit trail.
use crate::audit::{self, AuditFault, AuditHead, Chain};
use crate::changes::Held;
use crate::directory;
use crate::object::{Change, Object};
use crate::writing::{self, Writing};
use decision::{Clock, Timestamp};
use deputize_core::audit::AuditRecord;
use deputize_core::ledger::{CommitError, Unavailable};
use serde::de::DeserializeOwned;
use sql::rusqlite::{self, Connection};
use sql::{Abort, Database, Migration, WriteError};
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use thiserror::Error;
use tokio::time::MissedTickBehavior;

const MIGRATIONS: &[Migration] = &[
    Migration { name: "ledger and directory", sql: include_str!("0001_ledger_and_directory.sql") },
    Migration { name: "second factors", sql: include_str!("0002_second_factors.sql") },
    Migration { name: "approval requests", sql: include_str!("0003_approval_requests.sql") },
    Migration { name: "cut-offs", sql: include_str!("0004_cut_offs.sql") },
    Migration { name: "devices", sql: include_str!("0005_devices.sql") },
    Migration { name: "users in traces", sql: include_str!("0006_users_in_traces.sql") },
    Migration { name: "subscriptions", sql: include_str!("0007_subscriptions.sql") },
    Migration { name: "work orders", sql: include_str!("0008_work_orders.sql") },
    Migration { name: "audit by sequence", sql: include_str!("0009_audit_by_sequence.sql") },
];

/// How often other processes' changes are looked for.
const POLL: Duration = Duration::from_millis(200);
/// Every how many looks the expired is purged: once a minute.
const LOOKS_PER_PURGE: u64 = 300;
/// The same while writes fail, every five seconds: a store that is not ready is not asked to write by anyone else.
const LOOKS_PER_TRY: u64 = 25;

/// The keys that the store needs. Keep them outside of it.
#[derive(Clone)]
pub struct StoreKeys {
    pub(crate) audit: [u8; 32],
}

impl StoreKeys {
    /// The key of the audit trail's heads and checkpoints.
    pub const fn new(audit: [u8; 32]) -> Self {
        Self { audit }
    }
}

impl fmt::Debug for StoreKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoreKeys(…)")
    }
}

/// Why the store cannot be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The file.
    #[error(transparent)]
    File(#[from] sql::OpenError),
    /// The audit trail.
    #[error(
        "the audit trail of this store does not verify with this audit key: give the key the store was made with; if it is, \
         somebody changed the file: keep a copy and run `deputize audit verify`"
    )]
    Audit,
}

/// Why the directory was not changed. Nothing of it was.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum ApplyError {
    /// Two users of one tenant would have one name.
    #[error("two users of one tenant have the same userPrincipalName (in any case): rename one of them")]
    NameTaken,
    /// The store cannot write now.
    #[error("the store is unavailable")]
    Unavailable,
}

/// The authority's state. Dropping the last reference closes it in order.
pub struct Store {
    database: Database<Writing>,
    pub(crate) held: Arc<Held>,
    keys: StoreKeys,
    clock: Arc<dyn Clock>,
}

impl Store {
    /// Opens or creates a store.
    pub fn open(path: &Path, keys: StoreKeys, clock: Arc<dyn Clock>) -> Result<Self, OpenError> {
        Self::open_with(path, keys, clock, &sql::Options::default())
    }

    /// Opens or creates a store, with bounds of its engine.
    pub fn open_with(
        path: &Path,
        keys: StoreKeys,
        clock: Arc<dyn Clock>,
        options: &sql::Options,
    ) -> Result<Self, OpenError> {
        let mut loaded = None;
        let database = Database::open(path, options, MIGRATIONS, |connection, new| {
            let failed = |abort| match abort {
                Abort::Engine(error) => sql::OpenError::of(path, error).into(),
                Abort::Conflict | Abort::Broken(_) => OpenError::Audit,
            };
            if new {
                Chain::create(connection, &keys.audit, clock.now()).map_err(failed)?;
            }
            let chain = Chain::read(connection, &keys.audit).map_err(failed)?;
            let held = writing::time_floor(connection).and_then(|floor| Held::load(connection, floor));
            let held = Arc::new(held.map_err(|error| sql::OpenError::of(path, error))?);
            loaded = Some(held.clone());
            Ok::<_, OpenError>(Writing::new(held, chain, clock.clone()))
        })?;
        // The closure ran, or `?` returned.
        let held = loaded.ok_or(OpenError::Audit)?;
        Ok(Self { database, held, keys, clock })
    }

    /// Changes the directory: all of it in one commit with its audit record, or nothing. Answers how many changes changed
    /// anything. On return this process's reads see it; other processes' within a second.
    pub async fn apply(&self, changes: Vec<Change>, audit: AuditRecord) -> Result<usize, ApplyError> {
        let body = serde_json::to_string(&audit).map_err(|_| ApplyError::Unavailable)?;
        let applied = self.write(move |connection, batch| {
            let mut count = 0;
            for change in &changes {
                count += usize::from(directory::write(connection, change, batch.now)?);
            }
            batch.changed |= count > 0;
            batch.chain.append(body);
            Ok(count)
        });
        applied.await.map_err(|error| match error {
            // The one condition of the objects' table.
            CommitError::Conflict => ApplyError::NameTaken,
            CommitError::Unavailable => ApplyError::Unavailable,
        })
    }

    /// Every object of the directory, users included.
    pub fn objects(&self) -> Result<Vec<Object>, Unavailable> {
        self.read(directory::everything)
    }

    /// The latest moment that was ever written. A clock that is set back must not make what expired valid again: use the
    /// later of the two.
    pub fn time_floor(&self) -> Timestamp {
        Timestamp(self.held.floor.load(Ordering::Acquire))
    }

    /// Walks the whole audit trail. Answers its head, to be kept outside, or names the first bad record. A `witness` is a
    /// head kept from before: only with it can it be seen that the whole file was replaced by an older copy.
    pub fn audit_verify(&self, witness: Option<AuditHead>) -> Result<AuditHead, AuditFault> {
        self.read_at_once(|connection| audit::verify(connection, &self.keys.audit, witness))
            .unwrap_or(Err(AuditFault::Unavailable))
    }

    /// Audit records after the given number, oldest first.
    pub fn audit(&self, after: u64, limit: u32) -> Result<Vec<(u64, AuditRecord)>, Unavailable> {
        self.read(|connection| audit::page(connection, after, limit))
    }

    /// Takes in what other processes changed since. [`watch`](Self::watch) calls it five times a second.
    pub fn poll(&self) -> Result<(), Unavailable> {
        if let Some(refresh) = self.read_at_once(|connection| self.held.missed(connection))? {
            self.held.publish(refresh);
        }
        Ok(())
    }

    /// Keeps the store fresh and small until it is dropped. Spawn it once.
    pub fn watch(self: &Arc<Self>) -> impl Future<Output = ()> + Send + 'static {
        let store = Arc::downgrade(self);
        async move {
            let mut tick = tokio::time::interval(POLL);
            tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
            for look in 1_u64.. {
                tick.tick().await;
                let Some(store) = store.upgrade() else { return };
                // An unreadable or full store is reported by those who need it; here it is tried again.
                let _ = store.poll();
                if look % LOOKS_PER_PURGE == 0 || (look % LOOKS_PER_TRY == 0 && !store.taken()) {
                    let _ = store.purge(store.clock.now().max(store.time_floor())).await;
                }
            }
        }
    }

    /// Whether the disk took the latest write.
    pub(crate) fn taken(&self) -> bool {
        self.database.writable()
    }

    pub(crate) fn read<T>(&self, read: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, Unavailable> {
        self.database.read(read).map_err(|_| Unavailable)
    }

    /// Reads of one moment.
    pub(crate) fn read_at_once<T>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, Unavailable> {
        self.read(|connection| {
            let transaction = connection.unchecked_transaction()?;
            let result = read(&transaction)?;
            transaction.finish()?;
            Ok(result)
        })
    }

    pub(crate) async fn write<T, J>(&self, job: J) -> Result<T, CommitError>
    where
        T: Send + 'static,
        J: FnOnce(&Connection, &mut Writing) -> Result<T, Abort> + Send + 'static,
    {
        self.database.write(job).await.map_err(|error| match error {
            WriteError::Conflict => CommitError::Conflict,
            WriteError::Unavailable => CommitError::Unavailable,
        })
    }
}

/// A stored record. The error says nothing of what it holds.
pub(crate) fn json<T: DeserializeOwned>(body: &str) -> rusqlite::Result<T> {
    serde_json::from_str(body).map_err(unreadable)
}

pub(crate) fn unreadable(_: serde_json::Error) -> rusqlite::Error {
    let problem = "a stored record cannot be read: restore a backup";
    rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, problem.into())
}
