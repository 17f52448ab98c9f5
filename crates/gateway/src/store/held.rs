//! What of the database every request can see.
use decision::Timestamp;
use serde::{Deserialize, Serialize};
use sql::rusqlite::{self, Connection};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// All products and subscriptions, as they were after one change.
#[derive(Default)]
pub(crate) struct Held {
    /// The number of that change.
    pub(crate) sequence: i64,
    products: BTreeMap<Arc<str>, Arc<StoredProduct>>,
    subscriptions: BTreeMap<Arc<str>, Arc<StoredSubscription>>,
    by_key: HashMap<[u8; 32], Arc<StoredSubscription>>,
}

/// APIs under one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredProduct {
    pub(crate) name: Arc<str>,
    pub(crate) display_name: Option<String>,
    pub(crate) apis: Vec<Arc<str>>,
    pub(crate) created: Timestamp,
    /// The number of the change that made it what it is.
    pub(crate) version: i64,
}

/// A named pair of keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredSubscription {
    pub(crate) name: Arc<str>,
    pub(crate) to: To,
    pub(crate) display_name: Option<String>,
    pub(crate) owner: Option<String>,
    pub(crate) state: State,
    pub(crate) created: Timestamp,
    pub(crate) started: Timestamp,
    pub(crate) expires: Option<Timestamp>,
    /// The number of the change that made it what it is.
    pub(crate) version: i64,
}

/// What a subscription is to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum To {
    AllApis,
    Api(Arc<str>),
    Product(Arc<str>),
}

impl To {
    /// `/apis`, `/apis/{name}` or `/products/{name}`, as API Management writes it.
    pub(crate) fn read(text: &str) -> Option<Self> {
        match text.strip_prefix('/')?.split_once('/') {
            None if text == "/apis" => Some(Self::AllApis),
            Some(("apis", name)) if !name.is_empty() => Some(Self::Api(name.into())),
            Some(("products", name)) if !name.is_empty() => Some(Self::Product(name.into())),
            _ => None,
        }
    }

    pub(crate) fn text(&self) -> String {
        match self {
            Self::AllApis => "/apis".to_owned(),
            Self::Api(name) => format!("/apis/{name}"),
            Self::Product(name) => format!("/products/{name}"),
        }
    }
}

/// The state of a subscription.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(crate) enum State {
    #[default]
    Active,
    Suspended,
    Cancelled,
}

/// The part of a product's row that nothing is found by.
#[derive(Serialize, Deserialize)]
struct ProductBody {
    #[serde(skip_serializing_if = "Option::is_none")]
    display_name: Option<String>,
    apis: Vec<String>,
    created: Timestamp,
}

/// The part of a subscription's row that nothing is found by.
#[derive(Serialize, Deserialize)]
struct SubscriptionBody {
    #[serde(skip_serializing_if = "Option::is_none")]
    display_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<String>,
    state: State,
    created: Timestamp,
    started: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<Timestamp>,
}

impl StoredProduct {
    pub(super) fn body(&self) -> Result<String, serde_json::Error> {
        let apis = self.apis.iter().map(ToString::to_string).collect();
        serde_json::to_string(&ProductBody { display_name: self.display_name.clone(), apis, created: self.created })
    }

    pub(super) fn of(name: &str, body: &str, version: i64) -> Result<Self, serde_json::Error> {
        let ProductBody { display_name, apis, created } = serde_json::from_str(body)?;
        let apis = apis.into_iter().map(Arc::from).collect();
        Ok(Self { name: name.into(), display_name, apis, created, version })
    }
}

impl StoredSubscription {
    pub(super) fn body(&self) -> Result<String, serde_json::Error> {
        let Self { display_name, owner, state, created, started, expires, .. } = self.clone();
        serde_json::to_string(&SubscriptionBody { display_name, owner, state, created, started, expires })
    }

    pub(super) fn of(name: &str, scope: &str, body: &str, version: i64) -> Result<Self, Unreadable> {
        let to = To::read(scope).ok_or(Unreadable)?;
        let SubscriptionBody { display_name, owner, state, created, started, expires } =
            serde_json::from_str(body).map_err(|_| Unreadable)?;
        Ok(Self { name: name.into(), to, display_name, owner, state, created, started, expires, version })
    }
}

/// A stored row says nothing.
#[derive(Debug, thiserror::Error)]
#[error("a stored row cannot be read: restore a backup")]
pub(super) struct Unreadable;

pub(super) fn unreadable(_: impl std::error::Error) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, Box::new(Unreadable))
}

impl Held {
    /// Reads all of it, in the caller's transaction.
    pub(super) fn read(connection: &Connection) -> rusqlite::Result<Self> {
        let mut held = Self { sequence: newest(connection)?, ..Self::default() };
        let mut products = connection.prepare_cached("SELECT name, body, version FROM products")?;
        let mut rows = products.query([])?;
        while let Some(row) = rows.next()? {
            let product = StoredProduct::of(row.get_ref(0)?.as_str()?, row.get_ref(1)?.as_str()?, row.get(2)?);
            let product = Arc::new(product.map_err(unreadable)?);
            held.products.insert(Arc::clone(&product.name), product);
        }
        let mut subscriptions = connection.prepare_cached("SELECT name, scope, body, version FROM subscriptions")?;
        let mut rows = subscriptions.query([])?;
        while let Some(row) = rows.next()? {
            let [name, scope, body] = [row.get_ref(0)?.as_str()?, row.get_ref(1)?.as_str()?, row.get_ref(2)?.as_str()?];
            let subscription = StoredSubscription::of(name, scope, body, row.get(3)?).map_err(unreadable)?;
            held.subscriptions.insert(Arc::clone(&subscription.name), Arc::new(subscription));
        }
        let mut keys = connection.prepare_cached("SELECT digest, subscription FROM subscription_keys")?;
        let mut rows = keys.query([])?;
        while let Some(row) = rows.next()? {
            if let Some(subscription) = held.subscriptions.get(row.get_ref(1)?.as_str()?) {
                held.by_key.insert(row.get(0)?, Arc::clone(subscription));
            }
        }
        Ok(held)
    }

    pub(crate) fn by_key(&self, digest: &[u8; 32]) -> Option<&Arc<StoredSubscription>> {
        self.by_key.get(digest)
    }

    pub(crate) fn product(&self, name: &str) -> Option<&Arc<StoredProduct>> {
        self.products.get(name)
    }

    pub(crate) fn subscription(&self, name: &str) -> Option<&Arc<StoredSubscription>> {
        self.subscriptions.get(name)
    }

    /// By name.
    pub(crate) fn products(&self) -> impl ExactSizeIterator<Item = &Arc<StoredProduct>> {
        self.products.values()
    }

    /// By name.
    pub(crate) fn subscriptions(&self) -> impl ExactSizeIterator<Item = &Arc<StoredSubscription>> {
        self.subscriptions.values()
    }
}

/// The number of the newest change.
pub(super) fn newest(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("SELECT COALESCE(MAX(sequence), 0) FROM changes", [], |row| row.get(0))
}

#[cfg(test)]
mod tests {
    use super::To;

    #[test]
    fn what_a_subscription_is_to_is_written_as_api_management_writes_it() {
        for text in ["/apis", "/apis/orders", "/products/gold"] {
            assert_eq!(To::read(text).unwrap().text(), text);
        }
        for text in ["", "apis", "/", "/apis/", "/products", "/products/", "/subscriptions/a", "//apis"] {
            assert_eq!(To::read(text), None, "{text}");
        }
    }
}
