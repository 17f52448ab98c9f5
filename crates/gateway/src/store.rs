//! What stands beside the file: products and subscriptions that administrators made, who changed what, and what was used.
//!
//! The request path reads one snapshot of it. A change is published before it is acknowledged; what other processes change in
//! the same database is looked for five times a second. Keys are kept as HMAC-SHA-256 under a key of a file of its own, so that
//! the database alone opens nothing.
mod changes;
mod digest;
mod held;
mod quotas;
#[cfg(test)]
mod tests;
mod usage;

pub(crate) use changes::{Actor, Change, Condition, Declined};
pub(crate) use held::{Held, State, StoredProduct, StoredSubscription, To};
pub(crate) use usage::{Amount, Counting, UsedOf, Width, Window};

use crate::limits::Quotas;
use crate::policy::Admission;
use crate::subscriptions::{ApiId, Subscriptions};
use arc_swap::{ArcSwap, Guard};
use client::Random;
use decision::{Clock, Timestamp};
use digest::DigestKey;
use sql::rusqlite::{self, Connection};
use sql::{Abort, Batch, Database, Migration, Options};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::time::MissedTickBehavior;
use usage::Usage;

const MIGRATIONS: &[Migration] = &[
    Migration { name: "subscriptions", sql: include_str!("store/0001_subscriptions.sql") },
    Migration { name: "quotas", sql: include_str!("store/0002_quotas.sql") },
];

/// How often other processes' changes are looked for.
const POLL: Duration = Duration::from_millis(200);
/// Every how many looks what was used is written: each second. So much of it a process that is killed can lose.
const LOOKS_PER_FLUSH: u64 = 5;

/// Why there is no store.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The database.
    #[error(transparent)]
    Database(#[from] sql::OpenError),
    /// The file with the key of digests.
    #[error("the key file `{path}` cannot be used: {problem}")]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        problem: String,
    },
}

/// The database cannot be read or written now.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("the database is unavailable")]
pub(crate) struct Unavailable;

/// Subscriptions, products, changes and usage in a database. Dropping the last reference closes it in order.
pub struct Store {
    database: Database<Writing>,
    held: Arc<ArcSwap<Held>>,
    key: DigestKey,
    usage: Usage,
    quotas: Arc<Quotas>,
    clock: Arc<dyn Clock>,
}

impl Store {
    /// Opens or creates the database and the file with its key.
    ///
    /// # Errors
    /// If one of them cannot be used, or they do not belong together.
    pub fn open(path: &Path, key: &Path, clock: Arc<dyn Clock>, random: &dyn Random) -> Result<Self, StoreError> {
        let key_path = key;
        let key = DigestKey::read(key_path)?;
        let key = match key {
            Some(key) => key,
            None if path.exists() => {
                let problem = "it is not there, and the database's digests were made with it: restore it from a backup";
                return Err(StoreError::Key { path: key_path.to_owned(), problem: problem.to_owned() });
            }
            None => DigestKey::create(key_path, random)?,
        };
        let held = Arc::new(ArcSwap::from_pointee(Held::default()));
        let publishes = Arc::clone(&held);
        let quotas = Arc::new(Quotas::kept());
        let database = Database::open(path, &Options::default(), MIGRATIONS, |connection, new| {
            let failed = |error| StoreError::from(sql::OpenError::of(path, error));
            if !key.belongs_to(connection, new).map_err(failed)? {
                let problem = "the database's digests were made with another one: restore that one";
                return Err(StoreError::Key { path: key_path.to_owned(), problem: problem.to_owned() });
            }
            publishes.store(Arc::new(Held::read(connection).map_err(failed)?));
            quotas::read(connection, &quotas, clock.now()).map_err(failed)?;
            Ok::<_, StoreError>(Writing { held: publishes, changed: false, refresh: None })
        })?;
        Ok(Self { database, held, key, usage: Usage::default(), quotas, clock })
    }

    /// What is held of it.
    pub(crate) fn held(&self) -> Guard<Arc<Held>> {
        self.held.load()
    }

    /// What this key opens at this API, if it is one of ours; never what the file says too.
    pub(crate) fn find(
        &self,
        key: &[u8],
        api: ApiId,
        api_name: &str,
        file: &Subscriptions,
        now: Timestamp,
    ) -> Option<Admission> {
        let held = self.held.load();
        let subscription = held.by_key(&self.key.digest(key))?;
        let open = subscription.state == State::Active && subscription.expires.is_none_or(|end| end > now);
        if !open || file.has(&subscription.name) {
            return None;
        }
        let admission = Admission {
            product: None,
            stored_product: None,
            subscription: Some(Arc::clone(&subscription.name)),
            started: Some(subscription.started),
        };
        match &subscription.to {
            To::AllApis => Some(admission),
            To::Api(name) => (**name == *api_name).then_some(admission),
            To::Product(name) => match (file.product(name), held.product(name)) {
                (Some(id), None) => file.opens(id, api).then_some(Admission { product: Some(id), ..admission }),
                (None, Some(product)) => {
                    let opens = product.apis.iter().any(|api| **api == *api_name);
                    opens.then(|| Admission { stored_product: Some(Arc::clone(&product.name)), ..admission })
                }
                // Nobody knows which one is meant.
                (Some(_), Some(_)) | (None, None) => None,
            },
        }
    }

    /// What was used, until it is written.
    pub(crate) fn usage(&self) -> &Usage {
        &self.usage
    }

    /// What was used of quotas.
    pub(crate) fn quotas(&self) -> Arc<Quotas> {
        Arc::clone(&self.quotas)
    }

    /// Whether the latest write was taken.
    pub(crate) fn writable(&self) -> bool {
        self.database.writable()
    }

    /// The present moment.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Takes in what other processes changed; says whether it could look.
    pub fn poll(&self) -> bool {
        let seen = self.held.load().sequence;
        let read = self.read(|connection| {
            if held::newest(connection)? == seen {
                return Ok(None);
            }
            Held::read(connection).map(Some)
        });
        match read {
            Ok(Some(held)) => publish(&self.held, Arc::new(held)),
            Ok(None) => {}
            Err(Unavailable) => return false,
        }
        true
    }

    /// Writes what was used since the last time; says whether the database took it. What it does not take is kept.
    pub async fn flush(&self) -> bool {
        let now = self.clock.now();
        let quotas = quotas::flush(&self.quotas, &self.database, now).await;
        self.usage.flush(&self.database, now).await && quotas.is_ok()
    }

    /// Keeps it fresh, and writes what was used, until it is dropped. Spawn it once.
    pub fn watch(self: &Arc<Self>) -> impl Future<Output = ()> + Send + 'static {
        let store = Arc::downgrade(self);
        async move {
            let mut tick = tokio::time::interval(POLL);
            tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
            for look in 1_u64.. {
                tick.tick().await;
                let Some(store) = store.upgrade() else { return };
                // What cannot be read or written now is tried again.
                store.poll();
                if look % LOOKS_PER_FLUSH == 0 {
                    store.flush().await;
                }
            }
        }
    }

    /// Reads of one moment.
    fn read<T>(&self, read: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, Unavailable> {
        let read = self.database.read(|connection| {
            let transaction = connection.unchecked_transaction()?;
            let result = read(&transaction)?;
            transaction.finish()?;
            Ok(result)
        });
        read.map_err(|_| Unavailable)
    }
}

/// Holds this from now on, unless something newer is held.
fn publish(held: &ArcSwap<Held>, new: Arc<Held>) {
    held.rcu(|old| if old.sequence < new.sequence { Arc::clone(&new) } else { Arc::clone(old) });
}

/// What a batch of writes carries: what readers see after it.
#[derive(Clone)]
struct Writing {
    held: Arc<ArcSwap<Held>>,
    changed: bool,
    refresh: Option<Arc<Held>>,
}

impl Batch for Writing {
    fn begin(&mut self, _: &Connection) -> Result<(), Abort> {
        (self.changed, self.refresh) = (false, None);
        Ok(())
    }

    fn settle(&mut self, connection: &Connection) -> Result<(), Abort> {
        if self.changed {
            // Before COMMIT: what cannot be read back must not become the truth.
            self.refresh = Some(Arc::new(Held::read(connection)?));
        }
        Ok(())
    }

    fn committed(&mut self) {
        if let Some(held) = self.refresh.take() {
            publish(&self.held, held);
        }
    }

    fn close(&mut self, _: &Connection) -> Result<(), Abort> {
        Ok(())
    }
}
