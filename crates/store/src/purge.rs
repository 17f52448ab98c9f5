//! Forgetting what has expired, a little at a time, so that no request waits long behind it.
use crate::Store;
use crate::work_orders;
use decision::Timestamp;
use deputize_core::ledger::CommitError;
use sql::Abort;
use sql::rusqlite::Connection;

/// How many rows of a table go in one turn.
const TURN: i64 = 500;
/// Kept beyond expiry: clocks differ, and a replay soon after is still told from nonsense.
const GRACE: i64 = 3_600;
/// How long a change can be read by a process that was away; after that it reads everything anew.
const CHANGES: i64 = 7 * 86_400;

/// Each takes a moment and a number of rows.
const TURNS: [(&str, i64); 10] = [
    (
        "DELETE FROM codes WHERE digest IN (SELECT digest FROM codes WHERE expires < ?1 ORDER BY expires LIMIT ?2)",
        GRACE,
    ),
    (
        "DELETE FROM refresh_tokens WHERE digest IN (SELECT digest FROM refresh_tokens WHERE expires < ?1 ORDER BY expires LIMIT ?2)",
        GRACE,
    ),
    (
        "DELETE FROM devices WHERE digest IN (SELECT digest FROM devices WHERE expires < ?1 ORDER BY expires LIMIT ?2)",
        GRACE,
    ),
    ("DELETE FROM sessions WHERE id IN (SELECT id FROM sessions WHERE expires < ?1 ORDER BY expires LIMIT ?2)", GRACE),
    (
        "DELETE FROM once_values WHERE (purpose, value) IN \
         (SELECT purpose, value FROM once_values WHERE expires < ?1 ORDER BY expires LIMIT ?2)",
        GRACE,
    ),
    (
        "DELETE FROM revoked_families WHERE family IN (SELECT family FROM revoked_families WHERE expires < ?1 ORDER BY expires LIMIT ?2)",
        GRACE,
    ),
    (
        "DELETE FROM approval_requests WHERE (tenant, user_id, client) IN \
         (SELECT tenant, user_id, client FROM approval_requests WHERE expires < ?1 ORDER BY expires LIMIT ?2)",
        GRACE,
    ),
    (
        "DELETE FROM users_in_traces WHERE (tenant, client, trace, how, resource) IN \
         (SELECT tenant, client, trace, how, resource FROM users_in_traces WHERE expires < ?1 ORDER BY expires LIMIT ?2)",
        0,
    ),
    (
        "DELETE FROM subscriptions WHERE (tenant, application) IN \
         (SELECT tenant, application FROM subscriptions WHERE heard < ?1 ORDER BY heard LIMIT ?2)",
        GRACE,
    ),
    // The last one stays: its number is where the log goes on.
    (
        "DELETE FROM change_log WHERE at < ?1 AND sequence IN (SELECT sequence FROM change_log ORDER BY sequence LIMIT ?2) \
         AND sequence < (SELECT MAX(sequence) FROM change_log)",
        CHANGES,
    ),
];

impl Store {
    /// Forgets what expired before `now`; answers how many rows. What was consumed is remembered until it expires.
    /// [`watch`](Store::watch) calls it every minute.
    pub async fn purge(&self, now: Timestamp) -> Result<usize, CommitError> {
        let mut total = 0_usize;
        loop {
            // One short job a turn: others' writes get in between.
            let gone = self.write(move |connection, _| turn(connection, now)).await?;
            total = total.saturating_add(gone);
            if gone == 0 {
                return Ok(total);
            }
        }
    }
}

fn turn(connection: &Connection, now: Timestamp) -> Result<usize, Abort> {
    let orders = work_orders::purge(connection, now.plus(-GRACE), TURN)?;
    TURNS.iter().try_fold(orders, |gone, (sql, kept)| {
        Ok(gone.saturating_add(connection.prepare_cached(sql)?.execute((now.plus(-kept).0, TURN))?))
    })
}
