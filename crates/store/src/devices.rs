//! Devices that wait for a person.
use deputize_core::ledger::DeviceRecord;
use deputize_core::model::Digest;
use sql::Abort;
use sql::rusqlite::{self, Connection, OptionalExtension, params};

pub(crate) fn device(connection: &Connection, digest: Digest) -> rusqlite::Result<Option<DeviceRecord>> {
    connection
        .prepare_cached("SELECT body FROM devices WHERE digest = ?1")?
        .query_row([digest.0], |row| crate::json(row.get_ref(0)?.as_str()?))
        .optional()
}

pub(crate) fn by_user_code(connection: &Connection, code: Digest) -> rusqlite::Result<Option<(Digest, DeviceRecord)>> {
    connection
        .prepare_cached("SELECT digest, body FROM devices WHERE user_code = ?1")?
        .query_row([code.0], |row| Ok((Digest(row.get(0)?), crate::json(row.get_ref(1)?.as_str()?)?)))
        .optional()
}

pub(crate) fn insert(
    connection: &Connection,
    digest: Digest,
    device: &DeviceRecord,
    body: &str,
    now: i64,
) -> Result<(), Abort> {
    // A code that is shown no more may be shown again: it is kept a while only to say that it has expired.
    connection
        .prepare_cached("DELETE FROM devices WHERE user_code = ?1 AND expires <= ?2")?
        .execute(params![device.user_code.0, now])?;
    let sql = "INSERT INTO devices (digest, user_code, expires, stage, body) VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO NOTHING";
    let row = params![digest.0, device.user_code.0, device.expires.0, device.stage.number(), body];
    one(connection.prepare_cached(sql)?.execute(row)?)
}

pub(crate) fn advance(connection: &Connection, digest: Digest, device: &DeviceRecord, body: &str) -> Result<(), Abort> {
    let sql = "UPDATE devices SET stage = ?2, body = ?3 WHERE digest = ?1 AND stage = ?4";
    let row = params![digest.0, device.stage.number(), body, device.stage.before()];
    one(connection.prepare_cached(sql)?.execute(row)?)
}

fn one(rows: usize) -> Result<(), Abort> {
    if rows == 1 { Ok(()) } else { Err(Abort::Conflict) }
}
