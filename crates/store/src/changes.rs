//! The change log: what was changed, in the same commit as the change, and what follows for what is held in memory.
use crate::cache::Fresh;
use crate::directory;
use crate::object::Columns;
use arc_swap::ArcSwap;
use decision::Timestamp;
use deputize_core::cut_off::CutOff;
use deputize_core::directory::{Snapshot, UserRecord};
use deputize_core::id::{FamilyId, SessionId, TenantId, UserId};
use deputize_core::ledger::SessionRecord;
use sql::rusqlite::{Connection, OptionalExtension, params};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;
use uuid::Uuid;

/// What this process holds of the store.
pub(crate) struct Held {
    pub(crate) snapshot: ArcSwap<Snapshot>,
    /// Absent users are held too: strangers can ask for any id.
    pub(crate) users: Fresh<(TenantId, UserId), Option<Arc<UserRecord>>>,
    pub(crate) sessions: Fresh<SessionId, Arc<SessionRecord>>,
    pub(crate) families: Fresh<FamilyId, bool>,
    /// The last change that all of this contains.
    seen: Mutex<u64>,
    /// The same, for those who wait for it to grow.
    pub(crate) view: watch::Sender<u64>,
    /// No earlier moment is the present one.
    pub(crate) floor: AtomicI64,
}

/// What to do in memory about changes that were committed.
#[derive(Clone)]
pub(crate) struct Refresh {
    sequence: u64,
    snapshot: Option<Arc<Snapshot>>,
    stale: Vec<Stale>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stale {
    Snapshot,
    User(TenantId, UserId),
    /// A group's members, or what a group may do.
    Users,
    Session(SessionId),
    Family(FamilyId),
    Nothing,
}

impl Held {
    pub(crate) fn load(connection: &Connection, floor: Timestamp) -> sql::rusqlite::Result<Self> {
        let sequence = newest(connection)?;
        Ok(Self {
            snapshot: ArcSwap::from_pointee(directory::snapshot(connection, sequence)?),
            users: Fresh::new(64 << 20),
            sessions: Fresh::new(32 << 20),
            families: Fresh::new(8 << 20),
            seen: Mutex::new(sequence),
            view: watch::Sender::new(sequence),
            floor: AtomicI64::new(floor.0),
        })
    }

    /// Reads what changed since; nothing if nothing did. Inside a transaction, so that the snapshot is of one moment.
    pub(crate) fn missed(&self, connection: &Connection) -> sql::rusqlite::Result<Option<Refresh>> {
        let seen = *self.seen();
        let mut statement = connection.prepare_cached(
            "SELECT sequence, kind, tenant, id, owner FROM change_log WHERE sequence > ?1 ORDER BY sequence",
        )?;
        let mut rows = statement.query([number(seen)])?;
        let (mut sequence, mut stale) = (seen, Vec::new());
        while let Some(row) = rows.next()? {
            let next = unsigned(row.get(0)?);
            if next != sequence.saturating_add(1) {
                // The log was purged further than we had read.
                stale.extend([Stale::Snapshot, Stale::Users]);
            }
            sequence = next;
            stale.push(Stale::of(row.get_ref(1)?.as_str()?, row.get(2)?, row.get_ref(3)?.as_blob()?, row.get(4)?));
        }
        if sequence == seen {
            return Ok(None);
        }
        let snapshot = if stale.contains(&Stale::Snapshot) {
            Some(Arc::new(directory::snapshot(connection, sequence)?))
        } else {
            None
        };
        Ok(Some(Refresh { sequence, snapshot, stale }))
    }

    pub(crate) fn publish(&self, refresh: Refresh) {
        let mut seen = self.seen();
        // The watch and the writer may each have read a part; the older snapshot must not win.
        if let Some(snapshot) = refresh.snapshot.filter(|new| new.sequence > self.snapshot.load().sequence) {
            self.snapshot.store(snapshot);
        }
        for stale in refresh.stale {
            match stale {
                Stale::User(tenant, user) => self.users.forget(&(tenant, user)),
                Stale::Users => self.users.forget_all(),
                Stale::Session(id) => self.sessions.forget(&id),
                Stale::Family(id) => self.families.forget(&id),
                Stale::Snapshot | Stale::Nothing => {}
            }
        }
        *seen = refresh.sequence.max(*seen);
        self.view.send_replace(*seen);
    }

    pub(crate) fn raise_floor(&self, at: Timestamp) {
        self.floor.fetch_max(at.0, Ordering::AcqRel);
    }

    fn seen(&self) -> MutexGuard<'_, u64> {
        // A number is whole whatever panicked.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stale {
    fn of(kind: &str, tenant: Uuid, id: &[u8], owner: Option<Uuid>) -> Self {
        let tenant = TenantId(tenant);
        let user = |owner: Option<Uuid>| owner.map_or(Self::Snapshot, |id| Self::User(tenant, UserId(id)));
        match kind {
            "user" => Uuid::from_slice(id).map_or(Self::Users, |id| Self::User(tenant, UserId(id))),
            "group" => Self::Users,
            "assignment" if id.first() == Some(&b'g') => Self::Users,
            "grant" | "assignment" => user(owner),
            "session" => Uuid::from_slice(id).map_or(Self::Nothing, |id| Self::Session(SessionId(id))),
            "family" => Uuid::from_slice(id).map_or(Self::Nothing, |id| Self::Family(FamilyId(id))),
            "key" => Self::Nothing,
            _ => Self::Snapshot,
        }
    }
}

/// Notes a change and the tokens that it ends, in its own transaction.
pub(crate) fn note(
    connection: &Connection,
    of: &Columns,
    cut_offs: &[CutOff],
    at: Timestamp,
) -> sql::rusqlite::Result<()> {
    let cut_offs = match cut_offs {
        [] => None,
        some => Some(serde_json::to_string(some).map_err(crate::unreadable)?),
    };
    connection
        .prepare_cached(
            "INSERT INTO change_log (sequence, kind, tenant, id, owner, at, cut_offs) \
             SELECT COALESCE(MAX(sequence), 0) + 1, ?1, ?2, ?3, ?4, ?5, ?6 FROM change_log",
        )?
        .execute(params![of.kind, of.tenant, of.id, of.owner, at.0, cut_offs])?;
    Ok(())
}

pub(crate) fn newest(connection: &Connection) -> sql::rusqlite::Result<u64> {
    let sql = "SELECT sequence FROM change_log ORDER BY sequence DESC LIMIT 1";
    Ok(connection.query_row(sql, [], |row| row.get(0)).optional()?.map_or(0, unsigned))
}

pub(crate) fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

pub(crate) fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}
