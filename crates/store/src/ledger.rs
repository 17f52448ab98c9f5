//! The ledger: codes, refresh tokens, sessions and values that work once, written under conditions.
use crate::Store;
use crate::approval;
use crate::changes;
use crate::cut_offs;
use crate::devices;
use crate::directory;
use crate::object::{Columns, Object};
use crate::traces;
use crate::work_orders;
use crate::writing::Writing;
use decision::Timestamp;
use deputize_core::consent::ApprovalRequest;
use deputize_core::cut_off::{CutOff, Logged};
use deputize_core::id::{AppId, FamilyId, SessionId, TenantId, UserId};
use deputize_core::ledger::{
    Amendment, CodeRecord, CommitError, DeviceRecord, OncePurpose, RefreshRecord, SessionRecord, Unavailable, Write,
};
use deputize_core::model::Digest;
use deputize_core::ports::{Ledger, Pending};
use deputize_core::second_factor::SecondFactor;
use deputize_core::trace::{Carried, TraceId};
use deputize_core::work_order::{Outstanding, WorkOrderRecord};
use sql::Abort;
use sql::rusqlite::{self, Connection, OptionalExtension, Params, params};
use std::sync::Arc;
use uuid::Uuid;

/// How long after its last token a revoked family is remembered: longer than what could still bring it a new one (a code, an
/// access token used as an assertion).
const FORGET_FAMILY: i64 = 30 * 86_400;

impl Ledger for Store {
    fn code(&self, digest: Digest) -> Pending<'_, Result<Option<CodeRecord>, Unavailable>> {
        Box::pin(async move { self.read(|connection| code(connection, digest)) })
    }

    fn refresh(&self, digest: Digest) -> Pending<'_, Result<Option<RefreshRecord>, Unavailable>> {
        Box::pin(async move { self.read(|connection| refresh(connection, digest)) })
    }

    fn device(&self, digest: Digest) -> Pending<'_, Result<Option<DeviceRecord>, Unavailable>> {
        Box::pin(async move { self.read(|connection| devices::device(connection, digest)) })
    }

    fn device_by_user_code(&self, code: Digest) -> Pending<'_, Result<Option<(Digest, DeviceRecord)>, Unavailable>> {
        Box::pin(async move { self.read(|connection| devices::by_user_code(connection, code)) })
    }

    fn work_order(&self, digest: Digest) -> Pending<'_, Result<Option<WorkOrderRecord>, Unavailable>> {
        Box::pin(async move { self.read(|connection| work_orders::work_order(connection, digest)) })
    }

    fn work_orders(
        &self,
        tenant: TenantId,
        user: UserId,
        now: Timestamp,
    ) -> Pending<'_, Result<Vec<(Digest, WorkOrderRecord)>, Unavailable>> {
        Box::pin(async move { self.read(|connection| work_orders::of_user(connection, (tenant, user), now)) })
    }

    fn work_orders_outstanding(
        &self,
        tenant: TenantId,
        user: UserId,
        now: Timestamp,
    ) -> Pending<'_, Result<Outstanding, Unavailable>> {
        Box::pin(async move { self.read(|connection| work_orders::outstanding(connection, tenant, user, now)) })
    }

    fn session(&self, id: SessionId) -> Pending<'_, Result<Option<Arc<SessionRecord>>, Unavailable>> {
        Box::pin(async move {
            if let Some(known) = self.held.sessions.cached(&id) {
                return Ok(Some(known));
            }
            let ticket = self.held.sessions.ticket();
            let sql = "SELECT body, revoked FROM sessions WHERE id = ?1";
            let found = self.read(|connection| session(connection, sql, id.0))?;
            Ok(found.map(|(bytes, record)| {
                self.held.sessions.fill(ticket, id, bytes, record.clone());
                record
            }))
        })
    }

    fn session_by_cookie(&self, cookie: Digest) -> Pending<'_, Result<Option<Arc<SessionRecord>>, Unavailable>> {
        Box::pin(async move {
            let sql = "SELECT body, revoked FROM sessions WHERE cookie = ?1";
            Ok(self.read(|connection| session(connection, sql, cookie.0))?.map(|(_, record)| record))
        })
    }

    fn family_revoked(&self, family: FamilyId) -> Pending<'_, Result<bool, Unavailable>> {
        Box::pin(async move {
            if let Some(known) = self.held.families.cached(&family) {
                return Ok(known);
            }
            let ticket = self.held.families.ticket();
            let sql = "SELECT EXISTS (SELECT 1 FROM revoked_families WHERE family = ?1)";
            let revoked = self.read(|c| c.prepare_cached(sql)?.query_row([family.0], |row| row.get(0)))?;
            self.held.families.fill(ticket, family, 16, revoked);
            Ok(revoked)
        })
    }

    fn cut_offs(&self, tenant: TenantId, after: u64, limit: u32) -> Pending<'_, Result<Logged, Unavailable>> {
        Box::pin(async move { self.read_at_once(|connection| cut_offs::logged(connection, tenant, after, limit)) })
    }

    fn heard(&self, tenant: TenantId, app: AppId) -> Pending<'_, Result<Option<Timestamp>, Unavailable>> {
        let sql = "SELECT heard FROM subscriptions WHERE tenant = ?1 AND application = ?2";
        Box::pin(async move {
            let heard = self.read(|c| c.prepare_cached(sql)?.query_row([tenant.0, app.0], |row| row.get(0)).optional());
            Ok(heard?.map(Timestamp))
        })
    }

    fn view(&self) -> u64 {
        *self.held.view.borrow()
    }

    fn changed(&self, after: u64) -> Pending<'_, ()> {
        let mut view = self.held.view.subscribe();
        // The sender lives as long as the store does.
        Box::pin(async move { drop(view.wait_for(|newest| *newest > after).await) })
    }

    fn second_factor(&self, tenant: TenantId, user: UserId) -> Pending<'_, Result<Option<SecondFactor>, Unavailable>> {
        let sql = "SELECT body FROM second_factors WHERE tenant = ?1 AND user_id = ?2";
        Box::pin(async move {
            self.read(|connection| {
                let found = |row: &rusqlite::Row<'_>| crate::json(row.get_ref(0)?.as_str()?);
                connection.prepare_cached(sql)?.query_row(params![tenant.0, user.0], found).optional()
            })
        })
    }

    fn approval_requests(&self, tenant: TenantId) -> Pending<'_, Result<Vec<ApprovalRequest>, Unavailable>> {
        Box::pin(async move { self.read(|connection| approval::of_tenant(connection, tenant)) })
    }

    fn carried(
        &self,
        tenant: TenantId,
        client: AppId,
        trace: TraceId,
        now: Timestamp,
    ) -> Pending<'_, Result<Vec<Carried>, Unavailable>> {
        Box::pin(async move { self.read(|connection| traces::carried(connection, (tenant, client, trace), now)) })
    }

    fn commit(&self, writes: Vec<Write>) -> Pending<'_, Result<(), CommitError>> {
        Box::pin(async move {
            // JSON is made here, on the caller's thread: the writer's time is everybody's.
            let writes = writes.into_iter().map(Step::of).collect::<Result<Vec<_>, _>>();
            let writes = writes.map_err(|_| CommitError::Unavailable)?;
            let done =
                self.write(|connection, batch| writes.into_iter().try_for_each(|step| step.run(connection, batch)));
            let done = done.await;
            if done == Err(CommitError::Conflict) {
                // Whoever lost to another process decides again on what won, and not on what this one has read so far.
                let _ = self.poll();
            }
            done
        })
    }

    fn writable(&self) -> bool {
        self.taken()
    }
}

fn code(connection: &Connection, digest: Digest) -> rusqlite::Result<Option<CodeRecord>> {
    let found: Option<CodeRecord> = connection
        .prepare_cached("SELECT body, consumed FROM codes WHERE digest = ?1")?
        .query_row([digest.0], |row| {
            Ok(CodeRecord { consumed: row.get(1)?, ..crate::json(row.get_ref(0)?.as_str()?)? })
        })
        .optional()?;
    let Some(code) = found else { return Ok(None) };
    let revoked = connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM revoked_families WHERE family = ?1)")?
        .query_row([code.family.0], |row| row.get(0))?;
    Ok(Some(CodeRecord { revoked, ..code }))
}

fn refresh(connection: &Connection, digest: Digest) -> rusqlite::Result<Option<RefreshRecord>> {
    connection
        .prepare_cached(
            "SELECT body, rotated, EXISTS (SELECT 1 FROM revoked_families f WHERE f.family = t.family) \
             FROM refresh_tokens t WHERE digest = ?1",
        )?
        .query_row([digest.0], |row| {
            let rotated = row.get::<_, Option<i64>>(1)?.map(Timestamp);
            Ok(RefreshRecord { rotated, revoked: row.get(2)?, ..crate::json(row.get_ref(0)?.as_str()?)? })
        })
        .optional()
}

fn session(
    connection: &Connection,
    sql: &str,
    by: impl rusqlite::ToSql,
) -> rusqlite::Result<Option<(u64, Arc<SessionRecord>)>> {
    connection
        .prepare_cached(sql)?
        .query_row([by], |row| {
            let body = row.get_ref(0)?.as_str()?;
            let record = SessionRecord { revoked: row.get(1)?, ..crate::json(body)? };
            Ok((u64::try_from(body.len()).unwrap_or(u64::MAX), Arc::new(record)))
        })
        .optional()
}

/// A write, with its JSON.
struct Step {
    write: Write,
    body: String,
}

impl Step {
    fn of(write: Write) -> serde_json::Result<Self> {
        let body = match &write {
            Write::InsertCode(_, code) => serde_json::to_string(code)?,
            Write::InsertRefresh(_, token) => serde_json::to_string(token)?,
            Write::InsertDevice(_, device) | Write::AdvanceDevice(_, device) => serde_json::to_string(device)?,
            Write::InsertWorkOrder(_, order, _) | Write::RootWorkOrder(_, _, order) => work_orders::body(order)?,
            Write::PutSession(session) => serde_json::to_string(session)?,
            Write::PutSecondFactor(factor) => serde_json::to_string(factor)?,
            Write::Audit(record) => serde_json::to_string(record)?,
            Write::RequestApproval(request) => serde_json::to_string(request)?,
            Write::ConsumeCode(_)
            | Write::KillCode(_)
            | Write::RotateRefresh(..)
            | Write::RevokeFamily(_)
            | Write::RedeemWorkOrder(_)
            | Write::ParkWorkOrder(..)
            | Write::RevokeWorkOrder(_)
            | Write::AmendSession(..)
            | Write::RevokeSession(_)
            | Write::ConsumeOnce { .. }
            | Write::CarryUser(_)
            | Write::AddGrant(_)
            | Write::Provision(_)
            | Write::Withdraw { .. }
            | Write::CloseRequest(..)
            | Write::Heard(..)
            | Write::Change(..)
            | Write::RegistrationsAsOf(_)
            | Write::EndGrant(..)
            | Write::RemoveSecondFactor(..)
            | Write::Assign(_) => String::new(),
        };
        Ok(Self { write, body })
    }

    fn run(self, connection: &Connection, batch: &mut Writing) -> Result<(), Abort> {
        let Self { write, body } = self;
        match write {
            Write::InsertCode(digest, code) => provided(
                connection,
                "INSERT INTO codes (digest, expires, consumed, body) VALUES (?1, ?2, ?3, ?4)",
                params![digest.0, code.expires.0, code.consumed, body],
            ),
            Write::ConsumeCode(digest) => {
                provided(connection, "UPDATE codes SET consumed = 1 WHERE digest = ?1 AND consumed = 0", [digest.0])
            }
            Write::KillCode(digest) => {
                execute(connection, "UPDATE codes SET consumed = 1 WHERE digest = ?1", [digest.0]).map(drop)
            }
            Write::InsertRefresh(digest, token) => provided(
                connection,
                "INSERT INTO refresh_tokens (digest, family, expires, rotated, body) SELECT ?1, ?2, ?3, ?4, ?5 \
                 WHERE NOT EXISTS (SELECT 1 FROM revoked_families WHERE family = ?2)",
                params![digest.0, token.family.0, token.expires.0, token.rotated.map(|at| at.0), body],
            ),
            Write::RotateRefresh(digest, at) => provided(
                connection,
                "UPDATE refresh_tokens SET rotated = ?2 WHERE digest = ?1 AND rotated IS NULL AND NOT EXISTS \
                 (SELECT 1 FROM revoked_families WHERE family = refresh_tokens.family)",
                params![digest.0, at.0],
            ),
            Write::RevokeFamily(family) => revoke_family(connection, batch, family),
            Write::InsertDevice(digest, device) => devices::insert(connection, digest, &device, &body, batch.now.0),
            Write::AdvanceDevice(digest, device) => devices::advance(connection, digest, &device, &body),
            Write::InsertWorkOrder(digest, order, most) => {
                work_orders::insert(connection, digest, &order, most, (&body, batch.now))
            }
            Write::RedeemWorkOrder(digest) => work_orders::redeem(connection, digest, batch.now),
            Write::ParkWorkOrder(digest, parked) => work_orders::park(connection, digest, parked),
            Write::RootWorkOrder(digest, before, order) => {
                work_orders::root(connection, digest, before, (&order, &body))
            }
            Write::RevokeWorkOrder(id) => {
                revoke_family(connection, batch, id)?;
                work_orders::end(connection, id, batch)
            }
            Write::PutSession(session) => put_session(connection, batch, &session, &body),
            Write::AmendSession(id, amendment) => amend_session(connection, batch, id, amendment),
            Write::RevokeSession(id) => revoke_session(connection, batch, id),
            Write::PutSecondFactor(factor) => put_second_factor(connection, batch, &factor, &body),
            Write::ConsumeOnce { purpose, value, expires } => provided(
                connection,
                "INSERT INTO once_values (purpose, value, expires) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
                params![word(purpose), value.0, expires.0],
            ),
            Write::AddGrant(grant) => {
                batch.changed |= directory::add_grant(connection, grant, batch.now)?;
                Ok(())
            }
            Write::Provision(principal) => {
                batch.changed |= directory::provision(connection, principal, batch.now)?;
                Ok(())
            }
            Write::Assign(assignment) => {
                batch.changed |= directory::write(connection, &Object::Assignment(assignment).into(), batch.now)?;
                Ok(())
            }
            Write::Withdraw { tenant, client, user, at } => {
                batch.changed |= directory::withdraw(connection, (tenant, client, user), at, batch.now)?;
                Ok(())
            }
            // What another process wrote may be newer.
            Write::Heard(tenant, app, at) => execute(
                connection,
                "INSERT INTO subscriptions (tenant, application, heard) VALUES (?1, ?2, ?3) ON CONFLICT (tenant, application) \
                 DO UPDATE SET heard = excluded.heard WHERE excluded.heard > subscriptions.heard",
                params![tenant.0, app.0, at.0],
            )
            .map(drop),
            Write::Change(before, after) => {
                batch.changed |= directory::change(connection, *before, after.map(|after| *after), batch.now)?;
                Ok(())
            }
            Write::RegistrationsAsOf(sequence) => directory::registrations_as_of(connection, sequence),
            Write::EndGrant(key, at) => {
                batch.changed |= directory::end_grant(connection, key, at, batch.now)?;
                Ok(())
            }
            Write::RemoveSecondFactor(tenant, user) => remove_second_factor(connection, batch, tenant, user),
            Write::RequestApproval(request) => approval::open(connection, &request, &body),
            Write::CloseRequest(tenant, id) => provided(
                connection,
                "DELETE FROM approval_requests WHERE tenant = ?1 AND id = ?2",
                params![tenant.0, id.0],
            ),
            Write::CarryUser(user) => traces::carry(connection, &user),
            Write::Audit(_) => {
                batch.chain.append(body);
                Ok(())
            }
        }
    }
}

fn word(purpose: OncePurpose) -> &'static str {
    match purpose {
        OncePurpose::ClientAssertion => "client_assertion",
        OncePurpose::Interaction => "interaction",
    }
}

fn execute(connection: &Connection, sql: &str, values: impl Params) -> Result<usize, Abort> {
    Ok(connection.prepare_cached(sql)?.execute(values)?)
}

/// A compare-and-set: exactly one row, or the condition did not hold.
fn provided(connection: &Connection, sql: &str, values: impl Params) -> Result<(), Abort> {
    if execute(connection, sql, values)? == 1 { Ok(()) } else { Err(Abort::Conflict) }
}

fn revoke_family(connection: &Connection, batch: &mut Writing, family: FamilyId) -> Result<(), Abort> {
    // No token of it can come any more, so it is forgotten some time after the last of all tokens there are now. That bound
    // costs no index over families, which every redemption would have to write.
    let last: Option<i64> =
        connection.prepare_cached("SELECT MAX(expires) FROM refresh_tokens")?.query_row([], |row| row.get(0))?;
    let expires = batch.now.max(Timestamp(last.unwrap_or_default())).plus(FORGET_FAMILY);
    let sql = "INSERT INTO revoked_families (family, expires) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
    if execute(connection, sql, params![family.0, expires.0])? == 1 {
        let id = family.0.as_bytes().to_vec();
        let of = Columns { kind: "family", tenant: Uuid::nil(), id, owner: None };
        changes::note(connection, &of, &[CutOff::Grant { family }], batch.now)?;
        batch.changed = true;
    }
    Ok(())
}

fn put_session(connection: &Connection, batch: &mut Writing, session: &SessionRecord, body: &str) -> Result<(), Abort> {
    let row = params![session.id.0, session.cookie.0, session.expires.0, session.revoked, body];
    // A record read before the session was ended must not bring it back to life.
    let sql = "UPDATE sessions SET cookie = ?2, expires = ?3, revoked = ?4, body = ?5 WHERE id = ?1 AND (revoked = 0 OR ?4 = 1)";
    if execute(connection, sql, row)? == 1 {
        return note_session(connection, batch, session, session.revoked);
    }
    let sql =
        "INSERT INTO sessions (id, cookie, expires, revoked, body) VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO NOTHING";
    provided(connection, sql, row)
}

fn amend_session(
    connection: &Connection,
    batch: &mut Writing,
    id: SessionId,
    amendment: Amendment,
) -> Result<(), Abort> {
    let sql = "SELECT body, revoked FROM sessions WHERE id = ?1 AND revoked = 0";
    let (_, session) = session(connection, sql, id.0)?.ok_or(Abort::Conflict)?;
    let session = Arc::unwrap_or_clone(session).amended(amendment);
    let body = serde_json::to_string(&session).map_err(|error| Abort::Engine(crate::unreadable(error)))?;
    put_session(connection, batch, &session, &body)
}

fn put_second_factor(
    connection: &Connection,
    batch: &mut Writing,
    factor: &SecondFactor,
    body: &str,
) -> Result<(), Abort> {
    let version = i64::try_from(factor.version).map_err(|_| Abort::Conflict)?;
    let row = params![factor.tenant.0, factor.user.0, version, body];
    if version > 1 {
        let sql = "UPDATE second_factors SET version = ?3, body = ?4 \
                   WHERE tenant = ?1 AND user_id = ?2 AND version = ?3 - 1";
        return provided(connection, sql, row);
    }
    let sql =
        "INSERT INTO second_factors (tenant, user_id, version, body) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING";
    provided(connection, sql, row)?;
    note_second_factor(connection, batch, factor.tenant, factor.user)
}

fn remove_second_factor(
    connection: &Connection,
    batch: &mut Writing,
    tenant: TenantId,
    user: UserId,
) -> Result<(), Abort> {
    let sql = "DELETE FROM second_factors WHERE tenant = ?1 AND user_id = ?2";
    provided(connection, sql, params![tenant.0, user.0])?;
    note_second_factor(connection, batch, tenant, user)
}

/// Whoever holds the user's record must learn whether they have one now.
fn note_second_factor(
    connection: &Connection,
    batch: &mut Writing,
    tenant: TenantId,
    user: UserId,
) -> Result<(), Abort> {
    let of = Columns { kind: "user", tenant: tenant.0, id: user.0.as_bytes().to_vec(), owner: None };
    changes::note(connection, &of, &[], batch.now)?;
    batch.changed = true;
    Ok(())
}

fn revoke_session(connection: &Connection, batch: &mut Writing, id: SessionId) -> Result<(), Abort> {
    let ended: Option<SessionRecord> = connection
        .prepare_cached("UPDATE sessions SET revoked = 1 WHERE id = ?1 AND revoked = 0 RETURNING body")?
        .query_row([id.0], |row| crate::json(row.get_ref(0)?.as_str()?))
        .optional()?;
    ended.map_or(Ok(()), |session| note_session(connection, batch, &session, true))
}

fn note_session(
    connection: &Connection,
    batch: &mut Writing,
    session: &SessionRecord,
    ended: bool,
) -> Result<(), Abort> {
    let (id, owner) = (session.id.0.as_bytes().to_vec(), Some(session.user.0));
    let of = Columns { kind: "session", tenant: session.tenant.0, id, owner };
    let ended = ended.then_some(CutOff::Session { session: session.id });
    changes::note(connection, &of, ended.as_slice(), batch.now)?;
    batch.changed = true;
    Ok(())
}
