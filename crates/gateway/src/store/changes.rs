//! Changes: each with its condition, its record and its number, in one commit.
use super::held::{self, StoredProduct, StoredSubscription, To};
use super::{Store, Unavailable};
use decision::Timestamp;
use oauth::Secret;
use serde::Serialize;
use sql::rusqlite::{self, Connection, OptionalExtension, params};
use sql::{Abort, WriteError};
use std::sync::Arc;

/// Subscriptions, and products, that there can be: all of them are in the memory of every gateway.
const MOST: i64 = 50_000;

/// Who changes something, and by which decision.
#[derive(Clone, Debug)]
pub(crate) struct Actor {
    pub(crate) tenant: Option<String>,
    pub(crate) subject: String,
    pub(crate) client: String,
    pub(crate) decision_id: String,
}

/// Which version has to be there for a change to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    /// None.
    Absent,
    Version(i64),
    /// Any.
    Present,
}

/// Why a change was not made. Nothing of it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Declined {
    /// There is nothing of this name.
    Absent,
    /// There is something of this name.
    Exists,
    /// There is another version of it.
    Stale,
    /// Subscriptions are to the product.
    InUse,
    /// The product that it is to was deleted meanwhile.
    NoProduct,
    /// There are as many as there can be.
    Full,
    /// The database does not take it.
    Unavailable,
}

/// What is changed.
pub(crate) enum Change {
    /// A product is this from now on.
    Product(StoredProduct),
    /// A subscription is this from now on; a new one has these keys. `true` where the product that it is to is the database's.
    Subscription(StoredSubscription, bool),
    /// One of a subscription's keys, 0 or 1, is another from now on.
    Key {
        subscription: Arc<str>,
        slot: u8,
    },
    DeleteProduct(Arc<str>),
    DeleteSubscription(Arc<str>),
    /// Nothing: something is done to the gateway itself.
    Noted(&'static str),
}

/// A change that was made, and who made it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Logged {
    pub(crate) sequence: i64,
    pub(crate) at: String,
    pub(crate) action: String,
    pub(crate) kind: String,
    pub(crate) name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) object: Option<serde_json::Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tenant: Option<String>,
    pub(crate) subject: String,
    pub(crate) client: String,
    pub(crate) decision_id: String,
}

impl Change {
    fn name(&self) -> Arc<str> {
        match self {
            Self::Product(product) => Arc::clone(&product.name),
            Self::Subscription(subscription, _) => Arc::clone(&subscription.name),
            Self::Key { subscription: name, .. } | Self::DeleteProduct(name) | Self::DeleteSubscription(name) => {
                Arc::clone(name)
            }
            Self::Noted(_) => Arc::default(),
        }
    }

    const fn kind(&self) -> &'static str {
        match self {
            Self::Product(_) | Self::DeleteProduct(_) => "product",
            Self::Subscription(..) | Self::Key { .. } | Self::DeleteSubscription(_) => "subscription",
            Self::Noted(_) => "gateway",
        }
    }

    const fn table(&self) -> Option<&'static str> {
        match self {
            Self::Product(_) | Self::DeleteProduct(_) => Some("products"),
            Self::Subscription(..) | Self::Key { .. } | Self::DeleteSubscription(_) => Some("subscriptions"),
            Self::Noted(_) => None,
        }
    }

    const fn action(&self, is_new: bool) -> &'static str {
        match self {
            Self::Product(_) | Self::Subscription(..) if is_new => "create",
            Self::Product(_) | Self::Subscription(..) => "update",
            Self::Key { slot: 0, .. } => "regeneratePrimaryKey",
            Self::Key { .. } => "regenerateSecondaryKey",
            Self::DeleteProduct(_) | Self::DeleteSubscription(_) => "delete",
            Self::Noted(action) => action,
        }
    }
}

impl Store {
    /// Makes a change, if its condition holds: all of it with its record in one commit, or nothing. On return requests of this
    /// process are judged by it, and those of others within a second. Answers its number.
    pub(crate) async fn change(
        &self,
        change: Change,
        condition: Condition,
        keys: Vec<Secret>,
        actor: Actor,
    ) -> Result<i64, Declined> {
        let digests: Vec<[u8; 32]> = keys.iter().map(|key| self.key.digest(key.expose().as_bytes())).collect();
        let now = self.now();
        let (name, kind) = (change.name(), change.kind());
        let who = actor.clone();
        let made = self.database.write(move |connection, batch| {
            // A condition that does not hold is an answer: nothing was written before it.
            match make(connection, change, condition, &digests, &who, now)? {
                Ok((sequence, action)) => {
                    batch.changed = true;
                    Ok(Ok((sequence, action)))
                }
                Err(declined) => Ok(Err(declined)),
            }
        });
        let made = made.await.map_err(|error| match error {
            // Two keys would be one.
            WriteError::Conflict | WriteError::Unavailable => Declined::Unavailable,
        })?;
        let (sequence, action) = made?;
        tracing::info!(
            change.sequence = sequence,
            change.action = action,
            change.kind = kind,
            change.name = &*name,
            principal.tenant = actor.tenant,
            principal.subject = actor.subject,
            client.app = actor.client,
            decision.id = actor.decision_id,
            "an administrator changed a {kind}"
        );
        Ok(sequence)
    }

    /// Changes after this number, oldest first.
    pub(crate) fn changes(&self, after: i64, most: u32) -> Result<Vec<Logged>, Unavailable> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT sequence, at, action, kind, name, body, tenant, subject, client, decision_id \
                 FROM changes WHERE sequence > ?1 ORDER BY sequence LIMIT ?2",
            )?;
            let rows = statement.query_map(params![after, most], |row| {
                let body: Option<String> = row.get(5)?;
                Ok(Logged {
                    sequence: row.get(0)?,
                    at: Timestamp(row.get(1)?).to_string(),
                    action: row.get(2)?,
                    kind: row.get(3)?,
                    name: row.get(4)?,
                    object: body.map(|body| serde_json::from_str(&body).map_err(held::unreadable)).transpose()?,
                    tenant: row.get(6)?,
                    subject: row.get(7)?,
                    client: row.get(8)?,
                    decision_id: row.get(9)?,
                })
            })?;
            rows.collect()
        })
    }
}

type Made = Result<(i64, &'static str), Declined>;

fn make(
    connection: &Connection,
    change: Change,
    condition: Condition,
    digests: &[[u8; 32]],
    actor: &Actor,
    now: Timestamp,
) -> Result<Made, Abort> {
    let name = change.name();
    let mut found: Option<i64> = None;
    if let Some(table) = change.table() {
        let sql = format!("SELECT version FROM {table} WHERE name = ?1");
        found = connection.prepare_cached(&sql)?.query_row([&*name], |row| row.get(0)).optional()?;
        match (condition, found) {
            (Condition::Absent, Some(_)) => return Ok(Err(Declined::Exists)),
            (Condition::Version(_) | Condition::Present, None) => return Ok(Err(Declined::Absent)),
            (Condition::Version(wanted), Some(found)) if wanted != found => return Ok(Err(Declined::Stale)),
            (Condition::Absent, None) | (Condition::Version(_) | Condition::Present, Some(_)) => {}
        }
        if found.is_none() && count(connection, &format!("SELECT COUNT(*) FROM {table}"), &[])? >= MOST {
            return Ok(Err(Declined::Full));
        }
    }
    let sequence = held::newest(connection)? + 1;
    let broken = |_| Abort::Broken("a change cannot be written down");
    let action = change.action(found.is_none());
    let kind = change.kind();
    let body = match change {
        Change::Product(product) => {
            let body = product.body().map_err(broken)?;
            connection
                .prepare_cached(
                    "INSERT INTO products (name, body, version) VALUES (?1, ?2, ?3) \
                     ON CONFLICT (name) DO UPDATE SET body = excluded.body, version = excluded.version",
                )?
                .execute(params![&*product.name, body, sequence])?;
            Some(body)
        }
        Change::Subscription(subscription, of_stored_product) => {
            let scope = subscription.to.text();
            if let (true, To::Product(product)) = (of_stored_product, &subscription.to)
                && count(connection, "SELECT COUNT(*) FROM products WHERE name = ?1", &[product])? == 0
            {
                return Ok(Err(Declined::NoProduct));
            }
            let body = subscription.body().map_err(broken)?;
            connection
                .prepare_cached(
                    "INSERT INTO subscriptions (name, scope, body, version) VALUES (?1, ?2, ?3, ?4) \
                     ON CONFLICT (name) DO UPDATE SET scope = excluded.scope, body = excluded.body, version = excluded.version",
                )?
                .execute(params![&*subscription.name, scope, body, sequence])?;
            for (slot, digest) in (0_u8..).zip(digests) {
                key(connection, &subscription.name, slot, digest)?;
            }
            let mut told: serde_json::Value = serde_json::from_str(&body).map_err(broken)?;
            if let Some(told) = told.as_object_mut() {
                told.insert("scope".to_owned(), scope.into());
            }
            Some(told.to_string())
        }
        Change::Key { subscription, slot } => {
            for digest in digests {
                key(connection, &subscription, slot, digest)?;
            }
            connection
                .prepare_cached("UPDATE subscriptions SET version = ?2 WHERE name = ?1")?
                .execute(params![&*subscription, sequence])?;
            None
        }
        Change::DeleteProduct(name) => {
            let scope = To::Product(Arc::clone(&name)).text();
            if count(connection, "SELECT COUNT(*) FROM subscriptions WHERE scope = ?1", &[&scope])? > 0 {
                return Ok(Err(Declined::InUse));
            }
            connection.prepare_cached("DELETE FROM products WHERE name = ?1")?.execute([&*name])?;
            None
        }
        Change::DeleteSubscription(name) => {
            connection.prepare_cached("DELETE FROM subscription_keys WHERE subscription = ?1")?.execute([&*name])?;
            connection.prepare_cached("DELETE FROM subscriptions WHERE name = ?1")?.execute([&*name])?;
            None
        }
        Change::Noted(_) => None,
    };
    connection
        .prepare_cached(
            "INSERT INTO changes (sequence, at, action, kind, name, body, tenant, subject, client, decision_id) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        )?
        .execute(params![
            sequence,
            now.0,
            action,
            kind,
            &*name,
            body,
            actor.tenant,
            actor.subject,
            actor.client,
            actor.decision_id
        ])?;
    Ok(Ok((sequence, action)))
}

fn key(connection: &Connection, subscription: &str, slot: u8, digest: &[u8; 32]) -> rusqlite::Result<usize> {
    connection
        .prepare_cached(
            "INSERT INTO subscription_keys (digest, subscription, slot) VALUES (?1, ?2, ?3) \
             ON CONFLICT (subscription, slot) DO UPDATE SET digest = excluded.digest",
        )?
        .execute(params![digest, subscription, slot])
}

fn count(connection: &Connection, sql: &str, values: &[&str]) -> rusqlite::Result<i64> {
    connection.prepare_cached(sql)?.query_row(rusqlite::params_from_iter(values), |row| row.get(0))
}
