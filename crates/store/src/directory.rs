//! The directory: a snapshot of everything but users, and users one at a time.
use crate::Store;
use crate::changes;
use crate::cut_offs;
use crate::object::{Change, Columns, Key, Object, folded};
use decision::Timestamp;
use deputize_core::directory::{Objects, Snapshot, UserKey, UserRecord};
use deputize_core::estate::Item;
use deputize_core::id::{GroupId, PrincipalId, RoleId, TenantId, UserId};
use deputize_core::ledger::{GrantKey, Unavailable};
use deputize_core::model::{Assignee, HomeAccount, PermissionGrant, RoleAssignment, ServicePrincipal, User};
use deputize_core::ports::{Directory, Listed, Pending, Placed};
use oauth::Scopes;
use serde::de::DeserializeOwned;
use sql::Abort;
use sql::rusqlite::{self, Connection, OptionalExtension, params};
use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;

impl Directory for Store {
    fn snapshot(&self) -> Arc<Snapshot> {
        self.held.snapshot.load_full()
    }

    fn user(&self, tenant: TenantId, key: UserKey) -> Pending<'_, Result<Option<Arc<UserRecord>>, Unavailable>> {
        Box::pin(async move {
            match key {
                UserKey::Id(id) => self.user_by_id(tenant, id),
                // Names are looked up each time: they are asked for at sign-in only, and never cached they are never stale.
                UserKey::PrincipalName(name) => {
                    let name = folded(&name);
                    let Some((id, found)) = self.read(|connection| nearest(connection, tenant, &name))? else {
                        return Ok(None);
                    };
                    let record = self.user_by_id(tenant, id)?;
                    // What a sign-in reads next is read of a neighbour too, else cold memory would tell the two apart.
                    black_box(record.as_ref().and_then(|record| record.user.password_hash.clone()));
                    Ok(record.filter(|_| found == name))
                }
                UserKey::Home(home) => match self.read(|connection| guest(connection, tenant, home))? {
                    Some(id) => self.user_by_id(tenant, id),
                    None => Ok(None),
                },
            }
        })
    }

    fn listed(
        &self,
        tenant: TenantId,
        kind: Listed,
        after: Vec<u8>,
        limit: u32,
    ) -> Pending<'_, Result<Vec<Placed>, Unavailable>> {
        Box::pin(async move { self.read(|connection| listed(connection, tenant, kind, &after, limit)) })
    }
}

/// Objects of a tenant in the order of their rows.
fn listed(
    connection: &Connection,
    tenant: TenantId,
    kind: Listed,
    after: &[u8],
    limit: u32,
) -> rusqlite::Result<Vec<Placed>> {
    let kind = match kind {
        Listed::Users => "user",
        Listed::Grants => "grant",
    };
    let sql = "SELECT kind, body, id FROM objects WHERE kind = ?1 AND tenant = ?2 AND id > ?3 ORDER BY id LIMIT ?4";
    let row = |row: &rusqlite::Row<'_>| Ok(Placed { place: row.get(2)?, item: object(row)?.into() });
    connection.prepare_cached(sql)?.query_map(params![kind, tenant.0, after, limit], row)?.collect()
}

impl Store {
    fn user_by_id(&self, tenant: TenantId, id: UserId) -> Result<Option<Arc<UserRecord>>, Unavailable> {
        if let Some(known) = self.held.users.cached(&(tenant, id)) {
            return Ok(known);
        }
        let ticket = self.held.users.ticket();
        let (bytes, record) = self.read_at_once(|connection| user(connection, tenant, id))?;
        let record = record.map(Arc::new);
        self.held.users.fill(ticket, (tenant, id), bytes, record.clone());
        Ok(record)
    }
}

/// Everything but users, as of the given change.
pub(crate) fn snapshot(connection: &Connection, sequence: u64) -> rusqlite::Result<Snapshot> {
    let objects = Objects {
        tenants: unowned(connection, "tenant")?,
        applications: unowned(connection, "application")?,
        principals: unowned(connection, "principal")?,
        grants: unowned(connection, "grant")?,
        assignments: unowned(connection, "assignment")?,
        policies: unowned(connection, "policy")?,
    };
    Ok(Snapshot::build(sequence, objects))
}

fn unowned<T: DeserializeOwned>(connection: &Connection, kind: &str) -> rusqlite::Result<Vec<T>> {
    let sql = "SELECT body FROM objects WHERE kind = ?1 AND owner IS NULL ORDER BY tenant, id";
    connection.prepare_cached(sql)?.query_map([kind], |row| crate::json(row.get_ref(0)?.as_str()?))?.collect()
}

/// Every object, users included.
pub(crate) fn everything(connection: &Connection) -> rusqlite::Result<Vec<Object>> {
    let sql = "SELECT kind, body FROM objects ORDER BY kind, tenant, id";
    connection.prepare(sql)?.query_map([], object)?.collect()
}

/// The user of this name, else the nearest one: looking for a name that nobody has takes as long as for one that somebody
/// has.
fn nearest(connection: &Connection, tenant: TenantId, name: &str) -> rusqlite::Result<Option<(UserId, String)>> {
    let sql = "SELECT * FROM (SELECT id, name FROM objects WHERE kind = 'user' AND tenant = ?1 AND name >= ?2 \
               ORDER BY name LIMIT 1) UNION ALL SELECT * FROM (SELECT id, name FROM objects WHERE kind = 'user' \
               AND tenant = ?1 AND name < ?2 ORDER BY name DESC LIMIT 1) LIMIT 1";
    connection
        .prepare_cached(sql)?
        .query_row(params![tenant.0, name], |row| Ok((UserId(row.get(0)?), row.get(1)?)))
        .optional()
}

/// The guest who is this account at home.
fn guest(connection: &Connection, tenant: TenantId, home: HomeAccount) -> rusqlite::Result<Option<UserId>> {
    let sql = "SELECT body FROM objects WHERE kind = 'user' AND tenant = ?1 AND owner = ?2 ORDER BY id";
    let mut statement = connection.prepare_cached(sql)?;
    let guests = statement.query_map(params![tenant.0, home.user.0], |row| crate::json(row.get_ref(0)?.as_str()?))?;
    let guests = guests.collect::<rusqlite::Result<Vec<User>>>()?;
    Ok(guests.into_iter().find(|guest| guest.home == Some(home)).map(|guest| guest.id))
}

/// One user with all that is asked about them, and its size in bytes.
fn user(connection: &Connection, tenant: TenantId, id: UserId) -> rusqlite::Result<(u64, Option<UserRecord>)> {
    let mut bytes = 64;
    let found = connection
        .prepare_cached("SELECT body FROM objects WHERE kind = 'user' AND tenant = ?1 AND id = ?2")?
        .query_row(params![tenant.0, id.0], |row| sized(row, &mut bytes))
        .optional()?;
    let Some(user): Option<User> = found else { return Ok((bytes, None)) };
    let groups = connection
        .prepare_cached("SELECT group_id FROM members WHERE tenant = ?1 AND user_id = ?2 ORDER BY group_id")?
        .query_map(params![tenant.0, id.0], |row| row.get(0).map(GroupId))?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    bytes += 16 * u64::try_from(groups.len()).unwrap_or(u64::MAX);
    let grants = connection
        .prepare_cached("SELECT body FROM objects WHERE kind = 'grant' AND tenant = ?1 AND owner = ?2")?
        .query_map(params![tenant.0, id.0], |row| sized::<PermissionGrant>(row, &mut bytes))?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let mut statement = connection.prepare_cached(
        "SELECT body FROM objects WHERE kind = 'assignment' AND tenant = ?1 AND (owner = ?2 \
         OR owner IN (SELECT group_id FROM members WHERE tenant = ?1 AND user_id = ?2)) ORDER BY id",
    )?;
    let mut roles: HashMap<_, Vec<RoleId>> = HashMap::new();
    let mut assigned_groups = Vec::new();
    for assignment in statement.query_map(params![tenant.0, id.0], |row| sized::<RoleAssignment>(row, &mut bytes))? {
        let RoleAssignment { assignee, resource_id, app_role_id, .. } = assignment?;
        // The columns match ids of any kind; a group may have the id of a user.
        let theirs = match assignee {
            Assignee::User(user) => user == id,
            Assignee::Group(group) => {
                let member = groups.contains(&group);
                if member && !assigned_groups.contains(&(resource_id, group)) {
                    assigned_groups.push((resource_id, group));
                }
                member
            }
            Assignee::ServicePrincipal(_) => false,
        };
        if theirs {
            let have = roles.entry(resource_id).or_default();
            if app_role_id != RoleId::default() && !have.contains(&app_role_id) {
                have.push(app_role_id);
            }
        }
    }
    let second_factor = connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM second_factors WHERE tenant = ?1 AND user_id = ?2)")?
        .query_row(params![tenant.0, id.0], |row| row.get(0))?;
    let mut record = UserRecord { groups, assigned_groups, roles, second_factor, ..UserRecord::of(user) };
    for grant in grants {
        record.add_grant(grant);
    }
    Ok((bytes, Some(record)))
}

fn sized<T: DeserializeOwned>(row: &rusqlite::Row<'_>, bytes: &mut u64) -> rusqlite::Result<T> {
    let body = row.get_ref(0)?.as_str()?;
    *bytes = bytes.saturating_add(u64::try_from(body.len()).unwrap_or(u64::MAX));
    crate::json(body)
}

/// Carries a change out and notes it, if it changes anything. Says whether it did.
pub(crate) fn write(connection: &Connection, change: &Change, at: Timestamp) -> Result<bool, Abort> {
    let (key, after) = match change {
        Change::Put(object) => (object.key(), Some(object.as_ref())),
        Change::Delete(key) => (*key, None),
    };
    let of = key.columns();
    let before = held(connection, &of)?;
    let changed = match after {
        Some(object) => put(connection, object)?,
        None => delete(connection, &of)?,
    };
    if changed {
        if let Key::Group(tenant, group) = key {
            rewrite_members(connection, tenant, group, change)?;
        }
        changes::note(connection, &of, &cut_offs::implied(before.as_ref(), after), at)?;
    }
    Ok(changed)
}

/// Carries a change out if the object is what it was taken for.
pub(crate) fn change(connection: &Connection, before: Item, after: Option<Item>, at: Timestamp) -> Result<bool, Abort> {
    let before = Object::from(before);
    let key = before.key();
    // Compared as objects: what an earlier version wrote has other text, and is the same.
    if held(connection, &key.columns())? != Some(before) {
        return Err(Abort::Conflict);
    }
    let change = after.map_or(Change::Delete(key), |after| Object::from(after).into());
    write(connection, &change, at)
}

/// Whether no registration has changed since a change that was read.
pub(crate) fn registrations_as_of(connection: &Connection, sequence: u64) -> Result<(), Abort> {
    let sql = "SELECT 1 FROM change_log WHERE sequence > ?1 AND kind IN ('application', 'principal')";
    let changed = connection.prepare_cached(sql)?.exists([changes::number(sequence)])?;
    if changed { Err(Abort::Conflict) } else { Ok(()) }
}

/// Ends a consent that there is. That a user's was taken back is remembered, as when they do it.
pub(crate) fn end_grant(connection: &Connection, key: GrantKey, at: Timestamp, now: Timestamp) -> Result<bool, Abort> {
    let GrantKey { tenant, client, resource, user } = key;
    let key = Key::Grant { tenant, client, resource, user };
    match held(connection, &key.columns())? {
        Some(Object::Grant(grant)) if !grant.scope.is_empty() => {
            let change = match user {
                None => Change::Delete(key),
                Some(_) => Object::Grant(taken_back(grant, at)).into(),
            };
            write(connection, &change, now)
        }
        _ => Err(Abort::Conflict),
    }
}

fn taken_back(grant: PermissionGrant, at: Timestamp) -> PermissionGrant {
    PermissionGrant { scope: Scopes::default(), withdrawn: Some(at), start_time: None, ..grant }
}

/// The object as it is.
fn held(connection: &Connection, of: &Columns) -> Result<Option<Object>, Abort> {
    let sql = "SELECT kind, body FROM objects WHERE kind = ?1 AND tenant = ?2 AND id = ?3";
    let held = connection.prepare_cached(sql)?.query_row(params![of.kind, of.tenant, of.id], object).optional()?;
    Ok(held)
}

fn object(row: &rusqlite::Row<'_>) -> rusqlite::Result<Object> {
    Object::parse(row.get_ref(0)?.as_str()?, row.get_ref(1)?.as_str()?).map_err(crate::unreadable)
}

fn put(connection: &Connection, object: &Object) -> Result<bool, Abort> {
    let Columns { kind, tenant, id, owner } = object.key().columns();
    let owner = owner.or(object.home());
    let body = object.body().map_err(|_| Abort::Broken("an object cannot be written as JSON"))?;
    let sql = "INSERT INTO objects (kind, tenant, id, owner, name, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6) \
               ON CONFLICT (kind, tenant, id) DO UPDATE SET owner = excluded.owner, name = excluded.name, body = excluded.body \
               WHERE objects.body <> excluded.body";
    Ok(connection.prepare_cached(sql)?.execute(params![kind, tenant, id, owner, object.name(), body])? == 1)
}

fn delete(connection: &Connection, of: &Columns) -> Result<bool, Abort> {
    let sql = "DELETE FROM objects WHERE kind = ?1 AND tenant = ?2 AND id = ?3";
    Ok(connection.prepare_cached(sql)?.execute(params![of.kind, of.tenant, of.id])? == 1)
}

fn rewrite_members(connection: &Connection, tenant: TenantId, group: GroupId, change: &Change) -> Result<(), Abort> {
    let sql = "DELETE FROM members WHERE tenant = ?1 AND group_id = ?2";
    connection.prepare_cached(sql)?.execute(params![tenant.0, group.0])?;
    if let Change::Put(object) = change
        && let Object::Group(group) = object.as_ref()
    {
        let sql = "INSERT INTO members (tenant, user_id, group_id) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING";
        let mut insert = connection.prepare_cached(sql)?;
        for member in &group.members {
            insert.execute(params![tenant.0, member.0, group.id.0])?;
        }
    }
    Ok(())
}

/// A service principal, where there is none of its id. What an administrator did to an existing one stays.
pub(crate) fn provision(connection: &Connection, principal: ServicePrincipal, at: Timestamp) -> Result<bool, Abort> {
    let object = Object::ServicePrincipal(principal);
    let Columns { kind, tenant, id, .. } = object.key().columns();
    let sql = "SELECT 1 FROM objects WHERE kind = ?1 AND tenant = ?2 AND id = ?3";
    let known = connection.prepare_cached(sql)?.exists(params![kind, tenant, id])?;
    if known { Ok(false) } else { write(connection, &object.into(), at) }
}

/// Takes back what a user consented to for a client, at every resource. That they did is remembered with each consent, so
/// that refresh tokens from before stay dead whatever is consented to later.
pub(crate) fn withdraw(
    connection: &Connection,
    (tenant, client, user): (TenantId, PrincipalId, UserId),
    at: Timestamp,
    now: Timestamp,
) -> Result<bool, Abort> {
    let sql = "SELECT body FROM objects WHERE kind = 'grant' AND tenant = ?1 AND owner = ?2 ORDER BY id";
    let held = connection
        .prepare_cached(sql)?
        .query_map(params![tenant.0, user.0], |row| crate::json::<PermissionGrant>(row.get_ref(0)?.as_str()?))?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let mut changed = false;
    for grant in held.into_iter().filter(|grant| grant.client_id == client) {
        changed |= write(connection, &Object::Grant(taken_back(grant, at)).into(), now)?;
    }
    Ok(changed)
}

/// Adds what a user, or an administrator for all, consents to now to what was consented to before.
pub(crate) fn add_grant(connection: &Connection, mut grant: PermissionGrant, at: Timestamp) -> Result<bool, Abort> {
    let of = Object::Grant(grant.clone()).key().columns();
    let sql = "SELECT body FROM objects WHERE kind = ?1 AND tenant = ?2 AND id = ?3";
    let before: Option<PermissionGrant> = connection
        .prepare_cached(sql)?
        .query_row(params![of.kind, of.tenant, of.id], |row| crate::json(row.get_ref(0)?.as_str()?))
        .optional()?;
    grant.start_time = Some(at);
    if let Some(before) = before {
        // What was taken back stays so: a new consent brings no old refresh token to life.
        grant.withdrawn = before.withdrawn;
        grant.start_time = before.start_time.filter(|_| !before.scope.is_empty()).or(grant.start_time);
        grant.scope = grant.scope.union(&before.scope);
    }
    write(connection, &Object::Grant(grant).into(), at)
}
