//! Products and the subscriptions to them, looked up by key.
use crate::policy::Admission;
use crate::rotating::{Fares, Rotates};
use crate::secrets::Material;
use crate::store::State;
use arc_swap::ArcSwap;
use decision::Timestamp;
use sha2::{Digest, Sha256};
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The shortest key.
pub(crate) const SHORTEST: usize = 16;

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
    /// Whether its keys open anything.
    pub(crate) state: State,
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
    by_key: Arc<Keys>,
    all: Vec<Subscription>,
    names: HashSet<Arc<str>>,
    products: Vec<Product>,
}

/// The digests of keys, and whose they are.
pub(crate) struct Keys {
    salt: [u8; 32],
    current: ArcSwap<HashMap<[u8; 32], usize>>,
    /// Where each subscription's keys are read from, and what they were when they were last of use.
    read: Mutex<Vec<Read>>,
    /// Whether some are not there yet.
    waiting: AtomicBool,
    rejected: AtomicU64,
}

struct Read {
    of: usize,
    name: Arc<str>,
    from: Material,
    /// The digests of its keys; none while they are not there.
    keys: Option<Vec<[u8; 32]>>,
    /// What was wrong when it was last looked at, so that it is said once.
    wrong: Option<String>,
}

impl Subscriptions {
    pub(crate) fn new(salt: [u8; 32], products: Vec<Product>) -> Self {
        let keys = Keys {
            salt,
            current: ArcSwap::default(),
            read: Mutex::default(),
            waiting: AtomicBool::default(),
            rejected: AtomicU64::default(),
        };
        Self { salt, by_key: Arc::new(keys), all: Vec::new(), names: HashSet::new(), products }
    }

    /// Adds a subscription, whose keys are read from these places.
    ///
    /// # Errors
    /// If they are of no use.
    pub(crate) fn add(&mut self, subscription: Subscription, from: Material) -> Result<(), String> {
        let (of, name) = (self.all.len(), Arc::clone(&subscription.name));
        self.names.insert(Arc::clone(&name));
        self.all.push(subscription);
        let mut read = Read { of, name, from, keys: None, wrong: None };
        let looked = self.by_key.read(&mut read);
        let mut all = self.by_key.read.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(read);
        let shared = self.by_key.index(&all);
        looked?;
        match shared {
            Some(other) => Err(format!("is a key of `{other}` too")),
            None => Ok(()),
        }
    }

    /// What keeps the keys up to date.
    pub(crate) fn keys(&self) -> Arc<Keys> {
        Arc::clone(&self.by_key)
    }

    /// Whether the keys of some subscription have not been fetched, so that an unknown key may be one of them.
    pub(crate) fn is_waiting(&self) -> bool {
        // Not by what is locked while files are read: whoever makes keys up asks this.
        self.by_key.waiting.load(Ordering::Relaxed)
    }

    /// What this key opens at this API; nothing if it is no key, or not active, or of something else.
    pub(crate) fn find(&self, key: &[u8], api: ApiId, now: Timestamp) -> Option<Admission> {
        let at = *self.by_key.current.load().get(&digest(self.salt, key))?;
        let subscription = self.all.get(at)?;
        if subscription.state != State::Active || subscription.expires.is_some_and(|end| end <= now) {
            return None;
        }
        let product = match subscription.scope {
            Scope::Product(id) => {
                Some(self.products.get(id.0).filter(|product| product.apis.contains(&api)).map(|_| id)?)
            }
            Scope::Api(of) if of != api => return None,
            Scope::Api(_) | Scope::AllApis => None,
        };
        Some(Admission {
            product,
            stored_product: None,
            subscription: Some(Arc::clone(&subscription.name)),
            started: subscription.started,
        })
    }

    /// Whether there is a subscription of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    /// The product of this name.
    pub(crate) fn product(&self, name: &str) -> Option<ProductId> {
        self.products.iter().position(|product| &*product.name == name).map(ProductId)
    }

    /// Whether a product has an API.
    pub(crate) fn opens(&self, product: ProductId, api: ApiId) -> bool {
        self.products.get(product.0).is_some_and(|product| product.apis.contains(&api))
    }

    pub(crate) fn all(&self) -> &[Subscription] {
        &self.all
    }

    pub(crate) fn products(&self) -> &[Product] {
        &self.products
    }

    /// The product that opens this API to calls without a key.
    pub(crate) fn open_product(&self, api: ApiId) -> Option<ProductId> {
        self.products.iter().position(|product| product.open && product.apis.contains(&api)).map(ProductId)
    }
}

fn digest(salt: [u8; 32], key: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(salt).chain_update(key).finalize().into()
}

impl Keys {
    /// Reads the keys of one subscription; those of before stay where there is nothing, or nothing of use.
    fn read(&self, read: &mut Read) -> Result<(), String> {
        let Some(held) = read.from.held()? else { return Ok(()) };
        let mut keys = Vec::with_capacity(held.len());
        for one in held.chunks(1) {
            let key = Material::text(one)?;
            if key.expose().len() < SHORTEST {
                return Err(format!("the key is shorter than {SHORTEST} characters"));
            }
            keys.push(digest(self.salt, key.expose().as_bytes()));
        }
        read.keys = Some(keys);
        Ok(())
    }

    /// Puts all keys in one table. One that is two subscriptions' is the first one's; its name, if there is such a key.
    fn index(&self, all: &[Read]) -> Option<Arc<str>> {
        let (mut index, mut shared) = (HashMap::<_, usize>::new(), None);
        for read in all {
            for key in read.keys.iter().flatten() {
                if let Some(other) = index.get(key).and_then(|at| all.get(*at)) {
                    shared = Some(Arc::clone(&other.name));
                } else {
                    index.insert(*key, read.of);
                }
            }
        }
        self.current.store(Arc::new(index));
        self.waiting.store(all.iter().any(|read| read.keys.is_none()), Ordering::Relaxed);
        shared
    }
}

impl Rotates for Keys {
    fn look(&self) {
        // Looked at by one thread at a time; requests have the table.
        let mut all = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let mut changed = false;
        for read in all.iter_mut() {
            let before = read.keys.clone();
            let wrong = self.read(read).err();
            if read.keys != before {
                changed = true;
                tracing::info!(subscription = &*read.name, "its keys were replaced");
            }
            if wrong.is_some() && wrong != read.wrong {
                self.rejected.fetch_add(1, Ordering::Relaxed);
                let reason = wrong.as_deref().unwrap_or_default();
                tracing::error!(subscription = &*read.name, from = %read.from, reason, "its keys cannot be used; those before stay");
            }
            read.wrong = wrong;
        }
        if changed && let Some(other) = self.index(&all) {
            tracing::error!(subscription = &*other, "a key is this subscription's and another's; it opens this one");
        }
    }

    fn fares(&self) -> Fares {
        let all = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        Fares {
            from: "keys of subscriptions".to_owned(),
            is_there: all.iter().all(|read| read.keys.is_some()),
            rejected: self.rejected.load(Ordering::Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secrets::Place;
    use oauth::Secret;

    const ORDERS: ApiId = ApiId(0);
    const STOCK: ApiId = ApiId(1);
    const NOW: Timestamp = Timestamp(1_000);

    fn keys(name: &str) -> Material {
        let key = |at: u8| Place::Variable("KEY".into(), Secret::new(format!("{name}-{at}-0123456789")));
        Material::of([key(1), key(2)])
    }

    fn subscriptions() -> Subscriptions {
        let product = |name: &str, apis: &[ApiId], open| Product { name: name.into(), apis: apis.into(), open };
        let products = vec![product("gold", &[ORDERS], false), product("free", &[STOCK], true)];
        let mut all = Subscriptions::new([7; 32], products);
        let mut add = |name: &str, scope, state, expires: Option<i64>| {
            let expires = expires.map(Timestamp);
            let subscription = Subscription { name: name.into(), scope, state, expires, started: Some(Timestamp(7)) };
            all.add(subscription, keys(name)).unwrap();
        };
        add("gold", Scope::Product(ProductId(0)), State::Active, None);
        add("orders", Scope::Api(ORDERS), State::Active, Some(1_001));
        add("all", Scope::AllApis, State::Active, None);
        add("suspended", Scope::AllApis, State::Suspended, None);
        add("expired", Scope::AllApis, State::Active, Some(1_000));
        all
    }

    #[test]
    fn a_key_opens_what_its_subscription_is_to_in_its_context() {
        let found = |key: &str, api| subscriptions().find(format!("{key}-0123456789").as_bytes(), api, NOW);
        let started = Some(Timestamp(7));
        let admitted = |product, name: &str| {
            Some(Admission { product, stored_product: None, subscription: Some(name.into()), started })
        };
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
        let at = |now| subscriptions().find(b"orders-1-0123456789", ORDERS, Timestamp(now)).is_some();
        assert!(at(1_000) && !at(1_001));
    }

    #[test]
    fn an_open_product_admits_calls_to_its_apis_without_a_key() {
        assert_eq!(subscriptions().open_product(STOCK), Some(ProductId(1)));
        assert_eq!(subscriptions().open_product(ORDERS), None);
    }

    #[test]
    fn a_key_that_is_made_up_waits_for_nobody_who_reads_files() {
        let all = subscriptions();
        let reading = all.by_key.read.lock().unwrap();
        assert!(all.find(b"made up", ORDERS, NOW).is_none());
        assert!(!all.is_waiting());
        drop(reading);
    }

    #[test]
    fn one_key_is_not_two_subscriptions() {
        let twice = Subscription {
            name: "x".into(),
            scope: Scope::AllApis,
            state: State::Active,
            expires: None,
            started: None,
        };
        assert!(subscriptions().add(twice, keys("gold")).unwrap_err().contains("`gold`"));
    }
}
