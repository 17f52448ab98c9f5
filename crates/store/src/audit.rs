//! The audit trail: append-only and hash-chained, with heads and checkpoints under a key.
//!
//! A record's hash covers the hash before it, its number and its text. The head of the chain is rewritten with every
//! commit and a checkpoint is added every [`CHECKPOINT_EVERY`] records and at a clean end; both carry an HMAC, so that a
//! tail cannot be cut and a chain cannot be recomputed without the key. What the file alone can never show is that *all* of
//! it is an older copy: keep a head outside ([`Store::audit_verify`](crate::Store::audit_verify) returns it) and give it to
//! the next verification.
use crate::StoreKeys;
use decision::Timestamp;
use deputize_core::audit::AuditRecord;
use deputize_core::model::Digest;
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use sql::Abort;
use sql::rusqlite::{Connection, OptionalExtension, Row, params};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use thiserror::Error;

/// How many records lie between two checkpoints.
pub const CHECKPOINT_EVERY: u64 = 1_000;

/// A file has one writer at a time, so it has one chain.
const CHAIN: i64 = 1;

/// The end of the chain: how many records there are, and the hash of the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditHead {
    /// The number of the last record; records are numbered from 1.
    pub sequence: u64,
    /// Its hash; all zero before the first.
    pub hash: Digest,
}

/// What is wrong with an audit trail.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum AuditFault {
    /// A record's text, number or hash was changed, or its place.
    #[error("record {0} was altered; what follows cannot be trusted")]
    Altered(u64),
    /// A record is gone.
    #[error("record {0} is missing")]
    Missing(u64),
    /// The chain holds together but is not the one that was checkpointed.
    #[error("record {0} or one before it was replaced: its checkpoint says otherwise")]
    Replaced(u64),
    /// Records were added or the head's row was changed without the key.
    #[error(
        "the head of the audit trail does not verify: the audit key is another one, or the trail was tampered with"
    )]
    Head,
    /// A witnessed record is not there: the file is an older copy, or another one.
    #[error("record {0}, witnessed earlier, is not in this trail: the store was rolled back")]
    RolledBack(u64),
    /// The store cannot be read now.
    #[error("the store is unavailable")]
    Unavailable,
}

impl AuditHead {
    const START: Self = Self { sequence: 0, hash: Digest([0; 32]) };

    /// The head after one more record.
    fn after(self, body: &str) -> Self {
        let sequence = self.sequence.saturating_add(1);
        let mut hash = Sha256::new();
        hash.update(self.hash.0);
        hash.update(sequence.to_be_bytes());
        hash.update(body);
        Self { sequence, hash: Digest(hash.finalize().into()) }
    }
}

/// Writes the chain of one batch.
#[derive(Clone)]
pub(crate) struct Chain {
    key: Hmac<Sha256>,
    head: AuditHead,
    /// The head that is written.
    written: AuditHead,
    /// The records of the batch, of all clones. What lies beyond a clone's own head was undone.
    records: Arc<Mutex<Vec<(AuditHead, String)>>>,
}

impl Chain {
    /// Begins the trail of a new store.
    pub(crate) fn create(connection: &Connection, key: &[u8; 32], at: Timestamp) -> Result<(), Abort> {
        let chain = Self::with(key)?;
        chain.sign_into(connection, "audit_heads", "head", at)
    }

    /// Reads the end of the trail and checks that it is ours.
    pub(crate) fn read(connection: &Connection, key: &[u8; 32]) -> Result<Self, Abort> {
        let mut chain = Self::with(key)?;
        chain.reread(connection)?;
        Ok(chain)
    }

    fn with(key: &[u8; 32]) -> Result<Self, Abort> {
        let key = Hmac::new_from_slice(key).map_err(|_| Abort::Broken("the audit key has no length an HMAC takes"))?;
        Ok(Self { key, head: AuditHead::START, written: AuditHead::START, records: Arc::default() })
    }

    /// Another process may have written since. A head that does not verify is never built upon: that would sign what
    /// somebody tampered with.
    pub(crate) fn reread(&mut self, connection: &Connection) -> Result<(), Abort> {
        let sql = "SELECT sequence, hash, at, mac FROM audit_heads WHERE chain = ?1";
        let signed = connection.prepare_cached(sql)?.query_row([CHAIN], Signed::of).optional()?;
        let head = signed.and_then(|signed| signed.verified(&self.key, "head"));
        self.head = head.ok_or(Abort::Broken("the head of the audit trail does not verify"))?;
        self.written = self.head;
        self.records.lock().unwrap_or_else(PoisonError::into_inner).clear();
        Ok(())
    }

    /// Adds a record. It is written with the batch: what each job writes by itself, the engine copies first.
    pub(crate) fn append(&mut self, body: String) {
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        // Those of jobs that were undone.
        while records.pop_if(|(head, _)| head.sequence > self.head.sequence).is_some() {}
        self.head = self.head.after(&body);
        records.push((self.head, body));
    }

    /// Writes the records of the batch and its head, and a checkpoint when one is due.
    pub(crate) fn settle(&mut self, connection: &Connection, at: Timestamp) -> Result<(), Abort> {
        let records = std::mem::take(&mut *self.records.lock().unwrap_or_else(PoisonError::into_inner));
        if self.head == self.written {
            return Ok(());
        }
        let mut insert = connection.prepare_cached("INSERT INTO audit (sequence, hash, body) VALUES (?1, ?2, ?3)")?;
        for (head, body) in records.iter().take_while(|(head, _)| head.sequence <= self.head.sequence) {
            insert.execute(params![number(head.sequence), head.hash.0, body])?;
        }
        self.sign_into(connection, "audit_heads", "head", at)?;
        if self.head.sequence / CHECKPOINT_EVERY > self.written.sequence / CHECKPOINT_EVERY {
            self.checkpoint(connection, at)?;
        }
        self.written = self.head;
        Ok(())
    }

    pub(crate) fn checkpoint(&self, connection: &Connection, at: Timestamp) -> Result<(), Abort> {
        self.sign_into(connection, "audit_checkpoints", "checkpoint", at)
    }

    fn sign_into(&self, connection: &Connection, table: &str, label: &str, at: Timestamp) -> Result<(), Abort> {
        let conflict = if table == "audit_heads" { "(chain)" } else { "(chain, sequence)" };
        let sql = format!(
            "INSERT INTO {table} (chain, sequence, hash, at, mac) VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT {conflict} \
             DO UPDATE SET sequence = excluded.sequence, hash = excluded.hash, at = excluded.at, mac = excluded.mac"
        );
        let mac: [u8; 32] = mac(&self.key, label, self.head, at.0).finalize().into_bytes().into();
        let row = params![CHAIN, number(self.head.sequence), self.head.hash.0, at.0, mac];
        connection.prepare_cached(&sql)?.execute(row)?;
        Ok(())
    }
}

fn mac(key: &Hmac<Sha256>, label: &str, head: AuditHead, at: i64) -> Hmac<Sha256> {
    let mut mac = key.clone();
    mac.update(b"deputize audit ");
    mac.update(label.as_bytes());
    mac.update(&CHAIN.to_be_bytes());
    mac.update(&head.sequence.to_be_bytes());
    mac.update(&head.hash.0);
    mac.update(&at.to_be_bytes());
    mac
}

/// A row of heads or checkpoints, not yet believed.
struct Signed {
    head: AuditHead,
    at: i64,
    mac: Vec<u8>,
}

impl Signed {
    fn of(row: &Row<'_>) -> sql::rusqlite::Result<Self> {
        let head = AuditHead { sequence: unsigned(row.get(0)?), hash: Digest(row.get(1)?) };
        Ok(Self { head, at: row.get(2)?, mac: row.get(3)? })
    }

    fn verified(self, key: &Hmac<Sha256>, label: &str) -> Option<AuditHead> {
        mac(key, label, self.head, self.at).verify_slice(&self.mac).ok().map(|()| self.head)
    }
}

/// Walks the audit trail of a store that need not open, and changes nothing: what
/// [`Store::audit_verify`](crate::Store::audit_verify) says, also where the head was tampered with and the store refuses to
/// build upon it. Then the whole file is checked for damage.
pub fn audit_verify(
    path: &Path,
    keys: &StoreKeys,
    witness: Option<AuditHead>,
) -> Result<Result<AuditHead, AuditFault>, sql::OpenError> {
    let mut found = Err(AuditFault::Unavailable);
    let sound = sql::examine(path, |connection| {
        found = verify(connection, &keys.audit, witness)?;
        Ok(())
    });
    // A record that was altered says more than the page it is on.
    if found.is_err_and(|fault| fault != AuditFault::Unavailable) {
        return Ok(found);
    }
    sound.map(|()| found)
}

/// The newest records of a store that need not open, oldest first, with their numbers: `limit` at most, and of those only that
/// have this text in them somewhere (an id of a decision, a user, an application, a token).
pub fn audit_records(
    path: &Path,
    holding: Option<&str>,
    limit: u32,
) -> Result<Vec<(u64, AuditRecord)>, sql::OpenError> {
    let sql =
        "SELECT sequence, body FROM audit WHERE ?1 IS NULL OR instr(body, ?1) > 0 ORDER BY sequence DESC LIMIT ?2";
    let mut newest: Vec<_> = sql::at_once(path, |connection| {
        connection.prepare(sql)?.query_map(params![holding, limit], numbered)?.collect::<sql::rusqlite::Result<_>>()
    })?;
    newest.reverse();
    Ok(newest)
}

fn numbered(row: &Row<'_>) -> sql::rusqlite::Result<(u64, AuditRecord)> {
    Ok((unsigned(row.get(0)?), crate::json(row.get_ref(1)?.as_str()?)?))
}

/// Walks the whole trail. Answers its head, or the first thing that is wrong.
pub(crate) fn verify(
    connection: &Connection,
    key: &[u8; 32],
    witness: Option<AuditHead>,
) -> sql::rusqlite::Result<Result<AuditHead, AuditFault>> {
    let Ok(Chain { key, .. }) = Chain::with(key) else { return Ok(Err(AuditFault::Head)) };
    let mut checkpoints = connection
        .prepare("SELECT sequence, hash, at, mac FROM audit_checkpoints ORDER BY sequence")?
        .query_map([], |row| Ok((unsigned(row.get(0).unwrap_or(0)), Signed::of(row))))?
        .collect::<sql::rusqlite::Result<Vec<_>>>()?
        .into_iter()
        .peekable();
    let sql = "SELECT sequence, hash, at, mac FROM audit_heads";
    let signed = connection.prepare(sql)?.query_row([], |row| Ok(Signed::of(row))).optional()?.and_then(Result::ok);
    let signed = signed.and_then(|signed| signed.verified(&key, "head"));
    let mut statement = connection.prepare("SELECT sequence, hash, body FROM audit ORDER BY sequence")?;
    let mut rows = statement.query([])?;
    let mut head = AuditHead::START;
    while let Some(row) = rows.next()? {
        let expected = head.sequence.saturating_add(1);
        // A column of another type was not written by us either, hence no `?`.
        let (Ok(sequence), Ok(hash), Ok(body)) = (row.get(0), row.get(1), row.get_ref(2)?.as_str()) else {
            return Ok(Err(AuditFault::Altered(expected)));
        };
        if unsigned(sequence) != expected {
            return Ok(Err(AuditFault::Missing(expected)));
        }
        head = head.after(body);
        if head.hash != Digest(hash) {
            return Ok(Err(AuditFault::Altered(expected)));
        }
        while let Some((sequence, checkpoint)) = checkpoints.next_if(|(sequence, _)| *sequence <= head.sequence) {
            let verified = checkpoint.ok().and_then(|checkpoint| checkpoint.verified(&key, "checkpoint"));
            if sequence == head.sequence && verified != Some(head) {
                // Where nothing verifies at all, the key is another one: no record is to blame.
                let keyless = verified.is_none() && signed.is_none();
                return Ok(Err(if keyless { AuditFault::Head } else { AuditFault::Replaced(sequence) }));
            }
        }
        if witness.is_some_and(|witness| witness.sequence == head.sequence && witness != head) {
            return Ok(Err(AuditFault::RolledBack(head.sequence)));
        }
    }
    let missing = Err(AuditFault::Missing(head.sequence.saturating_add(1)));
    Ok(match signed {
        // A checkpoint beyond the end proves the cut even where the head was put back too.
        _ if checkpoints.next().is_some_and(|(sequence, _)| sequence > head.sequence) => missing,
        Some(signed) if signed.sequence > head.sequence => missing,
        Some(signed) if signed != head => Err(AuditFault::Head),
        None => Err(AuditFault::Head),
        Some(_) => match witness {
            Some(witness) if witness.sequence > head.sequence => Err(AuditFault::RolledBack(witness.sequence)),
            _ => Ok(head),
        },
    })
}

/// Records after `after`, oldest first.
pub(crate) fn page(connection: &Connection, after: u64, limit: u32) -> sql::rusqlite::Result<Vec<(u64, AuditRecord)>> {
    connection
        .prepare_cached("SELECT sequence, body FROM audit WHERE sequence > ?1 ORDER BY sequence LIMIT ?2")?
        .query_map(params![number(after), limit], numbered)?
        .collect()
}

fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}
