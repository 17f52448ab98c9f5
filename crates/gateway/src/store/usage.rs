//! What subscriptions used: gathered in memory, written each second, kept by the hour and by the day.
use super::{Store, Unavailable, Writing};
use decision::Timestamp;
use sql::rusqlite::{self, params};
use sql::{Abort, Database};
use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Sums that wait for the database at most, while it takes nothing.
const WAITING: usize = 100_000;
const HOUR: i64 = 3_600;
const DAY: i64 = 24 * HOUR;

/// The width of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Width {
    Hour,
    Day,
}

impl Width {
    pub(crate) const fn seconds(self) -> i64 {
        match self {
            Self::Hour => HOUR,
            Self::Day => DAY,
        }
    }

    /// For how long windows are kept.
    pub(crate) const fn kept(self) -> i64 {
        match self {
            Self::Hour => 31 * DAY,
            Self::Day => 400 * DAY,
        }
    }
}

/// Whose usage something is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Counting {
    pub(crate) subscription: Arc<str>,
    pub(crate) product: Option<Arc<str>>,
}

/// How much.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Amount {
    /// Calls that were let by.
    pub(crate) calls: u64,
    /// Calls that were refused though their key was good: by limits, tokens, or for want of the service.
    pub(crate) refused: u64,
    /// Bytes of bodies, both ways.
    pub(crate) bytes: u64,
}

/// What was used from one moment on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) at: Timestamp,
    pub(crate) amount: Amount,
}

/// What is not written yet.
#[derive(Default)]
pub(crate) struct Usage {
    waiting: Mutex<HashMap<(Counting, i64), Amount>>,
    lost: AtomicU64,
    /// The hour in which old windows were dropped last.
    purged: AtomicI64,
}

impl Amount {
    fn add(&mut self, other: Self) {
        self.calls = self.calls.saturating_add(other.calls);
        self.refused = self.refused.saturating_add(other.refused);
        self.bytes = self.bytes.saturating_add(other.bytes);
    }
}

impl Usage {
    /// Adds to what was used.
    pub(crate) fn add(&self, whose: Counting, amount: Amount, now: Timestamp) {
        let mut waiting = self.waiting();
        let key = (whose, now.0.div_euclid(HOUR));
        if waiting.len() >= WAITING && !waiting.contains_key(&key) {
            self.lost.fetch_add(amount.calls.saturating_add(amount.refused), Ordering::Relaxed);
            return;
        }
        waiting.entry(key).or_default().add(amount);
    }

    /// Calls that are in no sum, since the database took nothing for too long.
    pub(crate) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    pub(super) async fn flush(&self, database: &Database<Writing>, now: Timestamp) -> bool {
        let taken = std::mem::take(&mut *self.waiting());
        let purges = self.purged.load(Ordering::Relaxed) < now.0.div_euclid(HOUR);
        if taken.is_empty() && !purges {
            return true;
        }
        let taken = Arc::new(taken);
        let written = Arc::clone(&taken);
        let write = database.write(move |connection, _| {
            for ((whose, hour), amount) in written.iter() {
                for width in [Width::Hour, Width::Day] {
                    let at = (hour * HOUR).div_euclid(width.seconds()) * width.seconds();
                    add(connection, width, at, whose, *amount)?;
                }
            }
            if purges {
                for width in [Width::Hour, Width::Day] {
                    connection
                        .prepare_cached("DELETE FROM \"usage\" WHERE width = ?1 AND at < ?2")?
                        .execute([width.seconds(), now.0.saturating_sub(width.kept())])?;
                }
            }
            Ok::<_, Abort>(())
        });
        if write.await.is_ok() {
            self.purged.store(now.0.div_euclid(HOUR), Ordering::Relaxed);
            return true;
        }
        for (key, amount) in taken.iter() {
            self.add(key.0.clone(), *amount, Timestamp(key.1 * HOUR));
        }
        false
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<(Counting, i64), Amount>> {
        // Sums are whole after every line that changes them.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn add(
    connection: &rusqlite::Connection,
    width: Width,
    at: i64,
    whose: &Counting,
    amount: Amount,
) -> rusqlite::Result<usize> {
    let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    connection
        .prepare_cached(
            "INSERT INTO \"usage\" (width, at, subscription, product, calls, refused, bytes) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) \
             ON CONFLICT (width, subscription, product, at) DO UPDATE SET calls = \"usage\".calls + excluded.calls, \
             refused = \"usage\".refused + excluded.refused, bytes = \"usage\".bytes + excluded.bytes",
        )?
        .execute(params![
            width.seconds(),
            at,
            &*whose.subscription,
            whose.product.as_deref().unwrap_or_default(),
            number(amount.calls),
            number(amount.refused),
            number(amount.bytes),
        ])
}

impl Store {
    /// What a subscription used, or all of a product's: windows from `from` until `to`, the oldest first. Up to what was
    /// written a second ago.
    pub(crate) fn used(
        &self,
        of: UsedOf<'_>,
        width: Width,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<Window>, Unavailable> {
        let (column, name) = match of {
            UsedOf::Subscription(name) => ("subscription", name),
            UsedOf::Product(name) => ("product", name),
        };
        let sql = format!(
            "SELECT at, SUM(calls), SUM(refused), SUM(bytes) FROM \"usage\" \
             WHERE width = ?1 AND {column} = ?2 AND at >= ?3 AND at < ?4 GROUP BY at ORDER BY at"
        );
        self.read(|connection| {
            let mut statement = connection.prepare_cached(&sql)?;
            let number = |value: i64| u64::try_from(value).unwrap_or_default();
            let rows = statement.query_map(params![width.seconds(), name, from.0, to.0], |row| {
                let [calls, refused, bytes] = [number(row.get(1)?), number(row.get(2)?), number(row.get(3)?)];
                Ok(Window { at: Timestamp(row.get(0)?), amount: Amount { calls, refused, bytes } })
            })?;
            rows.collect()
        })
    }
}

/// Of what there is usage.
#[derive(Clone, Copy, Debug)]
pub(crate) enum UsedOf<'a> {
    Subscription(&'a str),
    Product(&'a str),
}
