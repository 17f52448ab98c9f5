//! What one batch of writes carries: the audit chain, the time, and what readers must see after it.
use crate::audit::Chain;
use crate::changes::{Held, Refresh};
use decision::{Clock, Timestamp};
use sql::rusqlite::{Connection, OptionalExtension};
use sql::{Abort, Batch};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// The state of the writer.
#[derive(Clone)]
pub(crate) struct Writing {
    pub(crate) held: Arc<Held>,
    pub(crate) chain: Chain,
    /// The moment of this batch: never before the latest one that was ever written.
    pub(crate) now: Timestamp,
    /// Whether the change log grew.
    pub(crate) changed: bool,
    clock: Arc<dyn Clock>,
    refresh: Option<Refresh>,
}

impl Writing {
    pub(crate) fn new(held: Arc<Held>, chain: Chain, clock: Arc<dyn Clock>) -> Self {
        let now = Timestamp(held.floor.load(Ordering::Acquire));
        Self { held, chain, now, changed: false, clock, refresh: None }
    }

    fn floor(&self) -> Timestamp {
        Timestamp(self.held.floor.load(Ordering::Acquire))
    }
}

impl Batch for Writing {
    fn begin(&mut self, connection: &Connection) -> Result<(), Abort> {
        self.now = self.clock.now().max(self.floor());
        (self.changed, self.refresh) = (false, None);
        self.chain.reread(connection)
    }

    fn settle(&mut self, connection: &Connection) -> Result<(), Abort> {
        self.chain.settle(connection, self.now)?;
        if self.now > self.floor() {
            let sql = "INSERT INTO time_floor (id, at) VALUES (1, ?1) \
                       ON CONFLICT (id) DO UPDATE SET at = excluded.at WHERE excluded.at > time_floor.at";
            connection.prepare_cached(sql)?.execute([self.now.0])?;
        }
        if self.changed {
            // Before COMMIT: what cannot be read back must not become the truth.
            self.refresh = self.held.missed(connection)?;
        }
        Ok(())
    }

    fn committed(&mut self) {
        self.held.raise_floor(self.now);
        if let Some(refresh) = self.refresh.take() {
            self.held.publish(refresh);
        }
    }

    fn close(&mut self, connection: &Connection) -> Result<(), Abort> {
        self.chain.reread(connection)?;
        self.chain.checkpoint(connection, self.now)
    }
}

/// The latest moment that was ever written.
pub(crate) fn time_floor(connection: &Connection) -> sql::rusqlite::Result<Timestamp> {
    let floor = connection.query_row("SELECT at FROM time_floor", [], |row| row.get(0)).optional()?;
    Ok(floor.map_or(Timestamp::default(), Timestamp))
}
