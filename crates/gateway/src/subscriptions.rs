//! Products and the subscriptions to them, looked up by key.
use crate::policy::Admission;
use decision::Timestamp;
use oauth::Secret;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::sync::Arc;

/// A product's place in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ProductId(pub(crate) usize);

/// An API's place in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ApiId(pub(crate) usize);

/// What a key opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    Product(ProductId),
    Api(ApiId),
    AllApis,
}

/// A named pair of keys.
#[derive(Clone, Debug)]
pub(crate) struct Subscription {
    pub(crate) name: Arc<str>,
    pub(crate) scope: Scope,
    /// Whether it is neither suspended nor cancelled.
    pub(crate) active: bool,
    /// From when on it opens nothing.
    pub(crate) expires: Option<Timestamp>,
    /// When its quotas' first windows begin.
    pub(crate) started: Option<Timestamp>,
}

/// Some APIs under one name.
#[derive(Clone, Debug)]
pub(crate) struct Product {
    pub(crate) name: Arc<str>,
    pub(crate) apis: Vec<ApiId>,
    /// Whether no key is needed.
    pub(crate) open: bool,
}

/// All subscriptions and products. Keys are kept as digests under a key of this process; looking one up takes no longer for
/// one that is nearly right.
pub(crate) struct Subscriptions {
    salt: [u8; 32],
    by_key: HashMap<[u8; 32], usize>,
    all: Vec<Subscription>,
    products: Vec<Product>,
}

impl Subscriptions {
    pub(crate) fn new(salt: [u8; 32], products: Vec<Product>) -> Self {
        Self { salt, by_key: HashMap::new(), all: Vec::new(), products }
    }

    /// Adds a subscription and its keys; the name of the one that has such a key already, if there is one.
    pub(crate) fn add(&mut self, subscription: Subscription, keys: &[Secret]) -> Result<(), Arc<str>> {
        let at = self.all.len();
        for key in keys {
            let digest = self.digest(key.expose().as_bytes());
            if let Some(other) = self.by_key.insert(digest, at) {
                return Err(self
                    .all
                    .get(other)
                    .map_or_else(|| Arc::clone(&subscription.name), |s| Arc::clone(&s.name)));
            }
        }
        self.all.push(subscription);
        Ok(())
    }

    /// What this key opens at this API; nothing if it is no key, or not active, or of something else.
    pub(crate) fn find(&self, key: &[u8], api: ApiId, now: Timestamp) -> Option<Admission> {
        let subscription = self.all.get(*self.by_key.get(&self.digest(key))?)?;
        if !subscription.active || subscription.expires.is_some_and(|end| end <= now) {
            return None;
        }
        let product = match subscription.scope {
            Scope::Product(id) => {
                Some(self.products.get(id.0).filter(|product| product.apis.contains(&api)).map(|_| id)?)
            }
            Scope::Api(of) if of != api => return None,
            Scope::Api(_) | Scope::AllApis => None,
        };
        Some(Admission { product, subscription: Some(Arc::clone(&subscription.name)), started: subscription.started })
    }

    /// The product that opens this API to calls without a key.
    pub(crate) fn open_product(&self, api: ApiId) -> Option<ProductId> {
        self.products.iter().position(|product| product.open && product.apis.contains(&api)).map(ProductId)
    }

    fn digest(&self, key: &[u8]) -> [u8; 32] {
        Sha256::new().chain_update(self.salt).chain_update(key).finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORDERS: ApiId = ApiId(0);
    const STOCK: ApiId = ApiId(1);
    const NOW: Timestamp = Timestamp(1_000);

    fn subscriptions() -> Subscriptions {
        let product = |name: &str, apis: &[ApiId], open| Product { name: name.into(), apis: apis.into(), open };
        let products = vec![product("gold", &[ORDERS], false), product("free", &[STOCK], true)];
        let mut all = Subscriptions::new([7; 32], products);
        let mut add = |name: &str, scope, active, expires: Option<i64>| {
            let expires = expires.map(Timestamp);
            let subscription = Subscription { name: name.into(), scope, active, expires, started: Some(Timestamp(7)) };
            all.add(subscription, &[Secret::new(format!("{name}-1")), Secret::new(format!("{name}-2"))]).unwrap();
        };
        add("gold", Scope::Product(ProductId(0)), true, None);
        add("orders", Scope::Api(ORDERS), true, Some(1_001));
        add("all", Scope::AllApis, true, None);
        add("suspended", Scope::AllApis, false, None);
        add("expired", Scope::AllApis, true, Some(1_000));
        all
    }

    #[test]
    fn a_key_opens_what_its_subscription_is_to_in_its_context() {
        let found = |key: &str, api| subscriptions().find(key.as_bytes(), api, NOW);
        let started = Some(Timestamp(7));
        let admitted = |product, name: &str| Some(Admission { product, subscription: Some(name.into()), started });
        for suffix in ["1", "2"] {
            assert_eq!(found(&format!("gold-{suffix}"), ORDERS), admitted(Some(ProductId(0)), "gold"));
        }
        assert_eq!(found("orders-1", ORDERS), admitted(None, "orders"), "product policies do not run for it");
        assert_eq!(found("all-1", STOCK), admitted(None, "all"));
        for (key, api) in [
            ("gold-1", STOCK),
            ("orders-1", STOCK),
            ("suspended-1", ORDERS),
            ("expired-1", ORDERS),
            ("gold", ORDERS),
            ("", ORDERS),
            ("gold-1 ", ORDERS),
            ("GOLD-1", ORDERS),
        ] {
            assert_eq!(found(key, api), None, "{key}");
        }
    }

    #[test]
    fn a_subscription_ends_when_it_expires() {
        let at = |now| subscriptions().find(b"orders-1", ORDERS, Timestamp(now)).is_some();
        assert!(at(1_000) && !at(1_001));
    }

    #[test]
    fn an_open_product_admits_calls_to_its_apis_without_a_key() {
        assert_eq!(subscriptions().open_product(STOCK), Some(ProductId(1)));
        assert_eq!(subscriptions().open_product(ORDERS), None);
    }

    #[test]
    fn one_key_is_not_two_subscriptions() {
        let twice =
            Subscription { name: "x".into(), scope: Scope::AllApis, active: true, expires: None, started: None };
        assert_eq!(subscriptions().add(twice, &[Secret::new("gold-1")]), Err("gold".into()));
    }
}
