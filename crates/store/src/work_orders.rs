//! Work orders: found by the digest of their handles, counted down one redemption at a time.
//!
//! `expires` is when a row is no longer outstanding: the order's end, or the moment it was used up or revoked. What it said
//! when it was made stands in its record.
use crate::writing::Writing;
use decision::{CheckId, Timestamp};
use deputize_core::id::{AppId, FamilyId, SessionId, TenantId, UserId};
use deputize_core::ledger::Proven;
use deputize_core::model::Digest;
use deputize_core::work_order::{Allowance, Outstanding, Parked, WorkOrderRecord, Worker};
use serde::{Deserialize, Serialize};
use sql::Abort;
use sql::rusqlite::{self, Connection, OptionalExtension, Params, Row, params};
use std::borrow::Cow;
use std::collections::HashMap;
use uuid::Uuid;

/// How many are shown at once.
const SHOWN: u32 = 100;
const FIND: &str = "SELECT id, tenant, user_id, session, redemptions, body, redeemed, parked, parked_at, \
                    EXISTS (SELECT 1 FROM revoked_families f WHERE f.family = w.id) FROM work_orders w WHERE digest = ?1";
const OF_USER: &str = "SELECT id, tenant, user_id, session, redemptions, body, redeemed, parked, parked_at, \
                       EXISTS (SELECT 1 FROM revoked_families f WHERE f.family = w.id), digest FROM work_orders w WHERE tenant = ?1 AND user_id = ?2 AND expires > ?3 \
                       ORDER BY parked IS NULL, expires, id LIMIT ?4";
const COUNT_OF_USER: &str = "SELECT COUNT(*) FROM work_orders WHERE tenant = ?1 AND user_id = ?2 AND expires > ?3";
const INSERT: &str = "INSERT INTO work_orders (digest, id, tenant, user_id, session, expires, redemptions, redeemed, body) \
                      SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, 0, ?8 \
                      WHERE (SELECT COUNT(*) FROM work_orders WHERE tenant = ?3 AND user_id = ?4 AND expires > ?9) < ?10 \
                      ON CONFLICT DO NOTHING";
/// Every one but the last. `expires` is in two indexes, which the engine would write for any update that names it, changed or
/// not: two more pages of a large store, in the log and in the file, for each redemption.
pub(crate) const REDEEM: &str = "UPDATE work_orders SET redeemed = redeemed + 1, parked = NULL, parked_at = NULL \
                      WHERE digest = ?1 AND redeemed + 1 < redemptions \
                      AND NOT EXISTS (SELECT 1 FROM revoked_families WHERE family = work_orders.id)";
const REDEEM_LAST: &str = "UPDATE work_orders SET redeemed = redeemed + 1, parked = NULL, parked_at = NULL, \
                           expires = MIN(expires, ?2) WHERE digest = ?1 AND redeemed + 1 = redemptions \
                           AND NOT EXISTS (SELECT 1 FROM revoked_families WHERE family = work_orders.id)";
const PARK: &str = "UPDATE work_orders SET parked = ?2, parked_at = ?3 WHERE digest = ?1";
const ROOT: &str = "UPDATE work_orders SET session = ?3, body = ?4, parked = NULL, parked_at = NULL \
                    WHERE digest = ?1 AND session = ?2 \
                    AND NOT EXISTS (SELECT 1 FROM revoked_families WHERE family = work_orders.id)";
const END: &str = "UPDATE work_orders SET expires = ?2 WHERE id = ?1 AND expires > ?2";
const PURGE: &str = "DELETE FROM work_orders WHERE digest IN \
                     (SELECT digest FROM work_orders WHERE expires < ?1 ORDER BY expires LIMIT ?2) RETURNING tenant";
/// Every statement over the table.
#[cfg(test)]
pub(crate) const STATEMENTS: [&str; 10] =
    [FIND, OF_USER, COUNT_OF_USER, INSERT, REDEEM, REDEEM_LAST, PARK, ROOT, END, PURGE];

pub(crate) fn work_order(connection: &Connection, digest: Digest) -> rusqlite::Result<Option<WorkOrderRecord>> {
    connection.prepare_cached(FIND)?.query_row([digest.0], record).optional()
}

/// A user's outstanding orders, those that wait for them first.
pub(crate) fn of_user(
    connection: &Connection,
    (tenant, user): (TenantId, UserId),
    now: Timestamp,
) -> rusqlite::Result<Vec<(Digest, WorkOrderRecord)>> {
    let mut statement = connection.prepare_cached(OF_USER)?;
    let found =
        statement.query_map(params![tenant.0, user.0, now.0, SHOWN], |row| Ok((Digest(row.get(10)?), record(row)?)))?;
    found.collect()
}

fn record(row: &Row<'_>) -> rusqlite::Result<WorkOrderRecord> {
    let check: Option<String> = row.get(7)?;
    let since: Option<i64> = row.get(8)?;
    // What a later version parked it for is not understood, and so not shown.
    let check = check.as_deref().and_then(CheckId::named);
    let body: Body<'_> = crate::json(row.get_ref(5)?.as_str()?)?;
    Ok(WorkOrderRecord {
        id: FamilyId(row.get(0)?),
        tenant: TenantId(row.get(1)?),
        user: UserId(row.get(2)?),
        session: SessionId(row.get(3)?),
        redemptions: row.get(4)?,
        issuer: body.issuer,
        proven: body.proven.into_owned(),
        actors: body.actors.into_owned(),
        grants: body.grants.into_owned(),
        workers: body.workers.into_owned(),
        allowed: body.allowed.into_owned(),
        purpose: body.purpose.into_owned(),
        content: body.content,
        issued: body.issued,
        expires: body.expires,
        redeemed: row.get(6)?,
        parked: check.zip(since).map(|(check, since)| Parked { check, since: Timestamp(since) }),
        revoked: row.get(9)?,
    })
}

/// What stands in no column. A million of these are to take little room: hence the short names.
#[derive(Serialize, Deserialize)]
struct Body<'a> {
    #[serde(rename = "by")]
    issuer: AppId,
    #[serde(rename = "pr")]
    proven: Cow<'a, Proven>,
    #[serde(rename = "ac")]
    actors: Cow<'a, [AppId]>,
    #[serde(rename = "gr")]
    grants: Cow<'a, [FamilyId]>,
    #[serde(rename = "wo")]
    workers: Cow<'a, [Worker]>,
    #[serde(rename = "al")]
    allowed: Cow<'a, [Allowance]>,
    #[serde(rename = "pu")]
    purpose: Cow<'a, str>,
    #[serde(rename = "co", default, skip_serializing_if = "Option::is_none")]
    content: Option<Digest>,
    #[serde(rename = "at")]
    issued: Timestamp,
    #[serde(rename = "to")]
    expires: Timestamp,
}

/// What is stored of an order beside its columns.
pub(crate) fn body(order: &WorkOrderRecord) -> serde_json::Result<String> {
    serde_json::to_string(&Body {
        issuer: order.issuer,
        proven: Cow::Borrowed(&order.proven),
        actors: Cow::Borrowed(&order.actors),
        grants: Cow::Borrowed(&order.grants),
        workers: Cow::Borrowed(&order.workers),
        allowed: Cow::Borrowed(&order.allowed),
        purpose: Cow::Borrowed(&order.purpose),
        content: order.content,
        issued: order.issued,
        expires: order.expires,
    })
}

pub(crate) fn outstanding(
    connection: &Connection,
    tenant: TenantId,
    user: UserId,
    now: Timestamp,
) -> rusqlite::Result<Outstanding> {
    let of_tenant = "SELECT outstanding FROM work_order_counts WHERE tenant = ?1";
    let row = params![tenant.0, user.0, now.0];
    let of_user: i64 = connection.prepare_cached(COUNT_OF_USER)?.query_row(row, |row| row.get(0))?;
    let of_tenant: Option<i64> =
        connection.prepare_cached(of_tenant)?.query_row([tenant.0], |row| row.get(0)).optional()?;
    let count = |number: i64| u64::try_from(number).unwrap_or_default();
    Ok(Outstanding { of_user: count(of_user), of_tenant: count(of_tenant.unwrap_or_default()) })
}

pub(crate) fn insert(
    connection: &Connection,
    digest: Digest,
    order: &WorkOrderRecord,
    most: Outstanding,
    (body, now): (&str, Timestamp),
) -> Result<(), Abort> {
    let most_of = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let row = params![
        digest.0,
        order.id.0,
        order.tenant.0,
        order.user.0,
        order.session.0,
        order.expires.0,
        order.redemptions,
        body,
        now.0,
        most_of(most.of_user)
    ];
    // An authorization that it rests on may have been revoked a moment ago.
    for family in &order.grants {
        let sql = "SELECT EXISTS (SELECT 1 FROM revoked_families WHERE family = ?1)";
        if connection.prepare_cached(sql)?.query_row([family.0], |row| row.get(0))? {
            return Err(Abort::Conflict);
        }
    }
    one(connection, INSERT, row)?;
    one(
        connection,
        "INSERT INTO work_order_counts (tenant, outstanding) VALUES (?1, 1) ON CONFLICT (tenant) \
         DO UPDATE SET outstanding = work_order_counts.outstanding + 1 WHERE work_order_counts.outstanding < ?2",
        params![order.tenant.0, most_of(most.of_tenant)],
    )
}

/// One redemption more. The last one makes it no longer outstanding.
pub(crate) fn redeem(connection: &Connection, digest: Digest, now: Timestamp) -> Result<(), Abort> {
    if connection.prepare_cached(REDEEM)?.execute([digest.0])? == 1 {
        return Ok(());
    }
    one(connection, REDEEM_LAST, params![digest.0, now.0])
}

pub(crate) fn park(connection: &Connection, digest: Digest, parked: Parked) -> Result<(), Abort> {
    let row = params![digest.0, parked.check.entry().id, parked.since.0];
    connection.prepare_cached(PARK)?.execute(row)?;
    Ok(())
}

pub(crate) fn root(
    connection: &Connection,
    digest: Digest,
    before: SessionId,
    (order, body): (&WorkOrderRecord, &str),
) -> Result<(), Abort> {
    one(connection, ROOT, params![digest.0, before.0, order.session.0, body])
}

/// No longer outstanding; that it is revoked stands among the families.
pub(crate) fn end(connection: &Connection, id: FamilyId, batch: &Writing) -> Result<(), Abort> {
    connection.prepare_cached(END)?.execute(params![id.0, batch.now.0])?;
    Ok(())
}

/// Forgets some that are no longer outstanding since this moment.
pub(crate) fn purge(connection: &Connection, before: Timestamp, limit: i64) -> Result<usize, Abort> {
    let mut gone: HashMap<Uuid, i64> = HashMap::new();
    for tenant in connection.prepare_cached(PURGE)?.query_map(params![before.0, limit], |row| row.get(0))? {
        *gone.entry(tenant?).or_default() += 1;
    }
    let sql = "UPDATE work_order_counts SET outstanding = outstanding - ?2 WHERE tenant = ?1";
    for (tenant, count) in &gone {
        connection.prepare_cached(sql)?.execute(params![tenant, count])?;
    }
    Ok(gone.values().map(|count| usize::try_from(*count).unwrap_or_default()).sum())
}

fn one(connection: &Connection, sql: &str, values: impl Params) -> Result<(), Abort> {
    if connection.prepare_cached(sql)?.execute(values)? == 1 { Ok(()) } else { Err(Abort::Conflict) }
}
