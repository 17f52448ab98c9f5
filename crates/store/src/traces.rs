//! Which clients carry a user in a trace.
use decision::Timestamp;
use deputize_core::id::{AppId, TenantId};
use deputize_core::trace::{Carried, TraceId, UserInTrace};
use sql::Abort;
use sql::rusqlite::{self, Connection, params};
use uuid::Uuid;

pub(crate) fn carried(
    connection: &Connection,
    (tenant, client, trace): (TenantId, AppId, TraceId),
    now: Timestamp,
) -> rusqlite::Result<Vec<Carried>> {
    let sql =
        "SELECT how, resource FROM users_in_traces WHERE tenant = ?1 AND client = ?2 AND trace = ?3 AND expires > ?4";
    let row = params![tenant.0, client.0, trace.0.to_be_bytes(), now.0];
    let mut statement = connection.prepare_cached(sql)?;
    let known = statement.query_map(row, |row| Ok(how(row.get(0)?, AppId(row.get(1)?))))?;
    let known = known.collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(known.into_iter().flatten().collect())
}

pub(crate) fn carry(connection: &Connection, user: &UserInTrace) -> Result<(), Abort> {
    let sql = "INSERT INTO users_in_traces (tenant, client, trace, how, resource, expires) VALUES (?1, ?2, ?3, ?4, ?5, ?6) \
               ON CONFLICT DO UPDATE SET expires = excluded.expires WHERE excluded.expires > users_in_traces.expires";
    let (how, resource) = columns(user.how);
    let row = params![user.tenant.0, user.client.0, user.trace.0.to_be_bytes(), how, resource, user.expires.0];
    connection.prepare_cached(sql)?.execute(row)?;
    Ok(())
}

fn columns(how: Carried) -> (u8, Uuid) {
    match how {
        Carried::Exchanged(resource) => (0, resource.0),
        Carried::Introspected => (1, Uuid::nil()),
        Carried::Addressed => (2, Uuid::nil()),
    }
}

/// What a later version wrote is not understood, and so not seen.
fn how(how: u8, resource: AppId) -> Option<Carried> {
    match how {
        0 => Some(Carried::Exchanged(resource)),
        1 => Some(Carried::Introspected),
        2 => Some(Carried::Addressed),
        _ => None,
    }
}
