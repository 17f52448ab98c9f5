//! What was used of quotas: added each second to the sums of all gateways that have the same database, and read when one starts.
use super::{Unavailable, Writing};
use crate::limits::{Key, Owed, Quotas, Sum};
use decision::Timestamp;
use sql::rusqlite::{self, Connection, Row, params};
use sql::{Abort, Database};

/// Sums that one transaction adds to: others that write do not wait for more.
const BATCH: usize = 1_000;
/// The greatest sum.
const MOST: i64 = 1 << 53;
/// How long a sum stays after its window, in seconds, for gateways whose clocks are behind.
const GRACE: i64 = 3_600;

const COLUMNS: &str = "counter, number, ends, configured, calls, bytes";

fn sum(row: &Row<'_>) -> rusqlite::Result<Sum> {
    let number = |value: i64| u64::try_from(value).unwrap_or_default();
    Ok(Sum {
        key: Key::kept(row.get(0)?),
        window: row.get(1)?,
        ends: row.get(2)?,
        configured: row.get(3)?,
        calls: number(row.get(4)?),
        bytes: number(row.get(5)?),
    })
}

/// Takes in what was used of windows that are not over: of quotas that the configuration names all, and of others as many as there is
/// room for.
pub(super) fn read(connection: &Connection, quotas: &Quotas, now: Timestamp) -> rusqlite::Result<()> {
    let sql = format!("SELECT {COLUMNS} FROM quotas WHERE ends IS NULL OR ends > ?1 ORDER BY configured DESC");
    let mut statement = connection.prepare(&sql)?;
    let mut rows = statement.query_map([now.0], sum)?;
    while let Some(sum) = rows.next().transpose()? {
        quotas.begin_with(&sum);
    }
    Ok(())
}

/// Adds what was used since the last time; says whether the database took all of it. What it does not take is kept.
pub(super) async fn flush(quotas: &Quotas, database: &Database<Writing>, now: Timestamp) -> Result<(), Unavailable> {
    loop {
        let owed = quotas.owed(BATCH);
        if owed.is_empty() {
            return Ok(());
        }
        let (written, is_last) = (owed.clone(), owed.len() < BATCH);
        let write = database.write(move |connection, _| {
            let sums: Result<Vec<Sum>, Abort> = written.iter().map(|owed| Ok(add(connection, owed)?)).collect();
            let over = now.0.saturating_sub(GRACE);
            connection.prepare_cached("DELETE FROM quotas WHERE ends <= ?1")?.execute([over])?;
            sums
        });
        if let Ok(sums) = write.await {
            quotas.know(&sums);
        } else {
            quotas.owe_again(&owed);
            return Err(Unavailable);
        }
        if is_last {
            return Ok(());
        }
    }
}

fn add(connection: &Connection, owed: &Owed) -> rusqlite::Result<Sum> {
    let added = |name: &str| {
        format!(
            "{name} = CASE WHEN quotas.{name} + ?{at} < 0 THEN 0 WHEN quotas.{name} + ?{at} > {MOST} THEN {MOST} \
             ELSE quotas.{name} + ?{at} END",
            at = if name == "calls" { 7 } else { 8 }
        )
    };
    let sql = format!(
        "INSERT INTO quotas ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (counter, number) DO UPDATE SET \
         {}, {}, configured = excluded.configured RETURNING {COLUMNS}",
        added("calls"),
        added("bytes")
    );
    let [calls, bytes] = [owed.calls, owed.bytes].map(|number| number.clamp(-MOST, MOST));
    let Owed { key, window, ends, configured, .. } = owed;
    let values = params![key.as_kept(), window, ends, configured, calls.max(0), bytes.max(0), calls, bytes];
    connection.prepare_cached(&sql)?.query_row(values, sum)
}
