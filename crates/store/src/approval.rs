//! Users' requests for an administrator's consent: one row for a user and an application.
use deputize_core::consent::ApprovalRequest;
use deputize_core::id::TenantId;
use sql::Abort;
use sql::rusqlite::{self, Connection, params};

/// How many are shown at once.
const SHOWN: u32 = 100;

/// A new request takes the place of the one before.
pub(crate) fn open(connection: &Connection, request: &ApprovalRequest, body: &str) -> Result<(), Abort> {
    let sql = "INSERT INTO approval_requests (tenant, user_id, client, id, expires, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6) \
               ON CONFLICT (tenant, user_id, client) DO UPDATE SET id = excluded.id, expires = excluded.expires, \
               body = excluded.body";
    let ApprovalRequest { tenant, user, client, id, expires, .. } = request;
    connection.prepare_cached(sql)?.execute(params![tenant.0, user.0, client.0, id.0, expires.0, body])?;
    Ok(())
}

/// The open requests of a tenant, the oldest first.
pub(crate) fn of_tenant(connection: &Connection, tenant: TenantId) -> rusqlite::Result<Vec<ApprovalRequest>> {
    let sql = "SELECT body FROM approval_requests WHERE tenant = ?1 ORDER BY expires, id LIMIT ?2";
    let mut statement = connection.prepare_cached(sql)?;
    statement.query_map(params![tenant.0, SHOWN], |row| crate::json(row.get_ref(0)?.as_str()?))?.collect()
}
