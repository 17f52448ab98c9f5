//! What a guard is made of.
use crate::Dpop;
use crate::cache::VerifiedTokens;
use crate::events::{Events, Subscription};
use crate::guard::{Guard, Inner};
use decision::Clock;
use decision::contract::{Contract, ContractError, Profile, TrustedIssuer};
use fetch::{IssuerKeys, KeySets, KeySource, Location};
use jose::{Algorithm, KeySet};
use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use thiserror::Error;

/// Collects what a guard needs.
pub struct GuardBuilder {
    contract: Contract,
    clock: Arc<dyn Clock>,
    key_sets: Option<Arc<KeySets>>,
    fixed: HashMap<String, Arc<IssuerKeys>>,
    cache_bytes: u64,
    events: Vec<Events>,
    subscriptions: Vec<Arc<Subscription>>,
    dpop: Option<Dpop>,
    decision_ids: Arc<dyn Fn() -> String + Send + Sync>,
}

/// Why a guard cannot be set up.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum SetupError {
    /// The contract cannot be enforced.
    #[error(transparent)]
    Contract(#[from] ContractError),
    /// No way to an issuer's keys.
    #[error("the issuer `{0}` has no keys: give them with `keys`, or a way to fetch them with `key_sets`")]
    NoKeys(String),
    /// Keys of an issuer that the contract does not name.
    #[error("keys are given for `{0}`, which the contract does not trust")]
    UnknownIssuer(String),
    /// A route that is never served.
    #[error("the route `{0}` needs live cut-offs, and there is no stream of them: subscribe with `events`")]
    NoEvents(String),
    /// Another route that is never served.
    #[error("the route `{0}` needs tokens that are bound to a key, and no proofs are taken: take them with `dpop`")]
    NoProofs(String),
    /// A subscription to an authority whose tokens are not accepted.
    #[error("events are subscribed to at `{0}`, which the contract does not trust as an issuer")]
    EventsIssuer(String),
    /// An algorithm that does not exist here.
    #[error("`{0}` is not an asymmetric algorithm; use one such as `RS256`")]
    Algorithm(String),
}

impl GuardBuilder {
    pub(crate) fn new(contract: Contract, clock: Arc<dyn Clock>) -> Self {
        let (seed, count) = (RandomState::new(), AtomicU64::new(0));
        let unique = move || {
            let n = count.fetch_add(1, Ordering::Relaxed);
            format!("{:016x}{:016x}", seed.hash_one((n, 0)), seed.hash_one((n, 1)))
        };
        Self {
            contract,
            clock,
            key_sets: None,
            fixed: HashMap::new(),
            cache_bytes: 16 << 20,
            events: Vec::new(),
            subscriptions: Vec::new(),
            dpop: None,
            decision_ids: Arc::new(unique),
        }
    }

    /// Fetches issuers' keys through this cache.
    pub fn key_sets(mut self, key_sets: Arc<KeySets>) -> Self {
        self.key_sets = Some(key_sets);
        self
    }

    /// Fetches issuers' keys through this client, with the usual lifetimes.
    pub fn fetch(self, transport: impl fetch::Transport + 'static) -> Self {
        self.key_sets(Arc::new(KeySets::new(Arc::new(transport))))
    }

    /// Gives an issuer's keys, which then are never fetched. The issuer is written as in the contract.
    pub fn keys(self, issuer: impl Into<String>, keys: KeySet) -> Self {
        self.shared_keys(issuer, IssuerKeys::fixed(keys))
    }

    /// Gives an issuer's keys as somebody else keeps them too. The issuer is written as in the contract.
    pub fn shared_keys(mut self, issuer: impl Into<String>, keys: Arc<IssuerKeys>) -> Self {
        self.fixed.insert(issuer.into(), keys);
        self
    }

    /// Subscribes to the cut-offs of an authority's tenant; several times, where the API serves several. Spawn
    /// [`Guard::listen`] too.
    pub fn events(mut self, events: Events) -> Self {
        self.events.push(events);
        self
    }

    /// Is told of cut-offs by a subscription that somebody else keeps, and listens to.
    pub fn subscription(mut self, subscription: Arc<Subscription>) -> Self {
        self.subscriptions.push(subscription);
        self
    }

    /// Takes tokens that are bound to a key, with their proofs (DPoP, RFC 9449). [`Guard::layer`] and [`Guard::check_head`] then
    /// look for proofs too, of addresses below the given origin.
    pub fn dpop(mut self, dpop: Dpop) -> Self {
        self.dpop = Some(dpop);
        self
    }

    /// How many bytes of verified tokens are kept.
    pub fn cache_bytes(mut self, bytes: u64) -> Self {
        self.cache_bytes = bytes;
        self
    }

    /// Where decision ids come from.
    pub fn decision_ids(mut self, ids: impl Fn() -> String + Send + Sync + 'static) -> Self {
        self.decision_ids = Arc::new(ids);
        self
    }

    /// The guard.
    ///
    /// # Errors
    /// If the contract cannot be enforced, or an issuer has no keys.
    pub fn build(mut self) -> Result<Guard, SetupError> {
        self.contract.validate()?;
        if self.dpop.as_ref().is_some_and(Dpop::is_required) {
            self.contract.routes.iter_mut().for_each(|route| route.key_bound = true);
        }
        if let Some(route) = self.contract.routes.iter().find(|route| route.key_bound).filter(|_| self.dpop.is_none()) {
            return Err(SetupError::NoProofs(format!("{} {}", route.method, route.path)));
        }
        let mut issuers = Vec::with_capacity(self.contract.issuers.len());
        for entry in &self.contract.issuers {
            if let Some(keys) = self.fixed.remove(&entry.issuer) {
                issuers.push(keys);
                continue;
            }
            let key_sets = self.key_sets.as_ref().ok_or_else(|| SetupError::NoKeys(entry.issuer.clone()))?;
            issuers.push(key_sets.issuer(key_source(entry)?));
        }
        if let Some(unknown) = self.fixed.into_keys().next() {
            return Err(SetupError::UnknownIssuer(unknown));
        }
        if let Some(route) = self
            .contract
            .routes
            .iter()
            .find(|route| route.live_cut_offs)
            .filter(|_| self.events.is_empty() && self.subscriptions.is_empty())
        {
            return Err(SetupError::NoEvents(format!("{} {}", route.method, route.path)));
        }
        let mut streams = Vec::with_capacity(self.events.len());
        for events in self.events {
            let found = self.contract.issuers.iter().zip(&issuers).find(|(entry, _)| events.are_about(entry));
            let (entry, keys) = found.ok_or_else(|| SetupError::EventsIssuer(events.authority().to_owned()))?;
            let longest = self.contract.max_lifetime.unwrap_or(entry.profile.max_lifetime()) + self.contract.skew;
            let audiences = self.contract.audiences.clone();
            streams.push(Arc::new(Subscription::new(events, keys.clone(), audiences, longest)));
        }
        let own_streams = streams.len();
        for subscription in self.subscriptions {
            let about = |entry: &TrustedIssuer| subscription.is_about_tokens_of(entry);
            if !self.contract.issuers.iter().any(about) {
                return Err(SetupError::EventsIssuer(subscription.authority().to_owned()));
            }
            streams.push(subscription);
        }
        Ok(Guard(Arc::new(Inner {
            streams,
            own_streams,
            contract: self.contract,
            issuers,
            clock: self.clock,
            verified: VerifiedTokens::new(self.cache_bytes),
            dpop: self.dpop,
            decision_ids: self.decision_ids,
        })))
    }
}

/// Where the keys of a trusted issuer are.
///
/// # Errors
/// If the algorithm of keys that state none is none that is known here.
pub fn key_source(entry: &TrustedIssuer) -> Result<KeySource, SetupError> {
    let named = entry.algorithm.as_deref().or((entry.profile != Profile::Native).then_some("RS256"));
    let algorithm = |name: &str| name.parse::<Algorithm>().map_err(|_| SetupError::Algorithm(name.into()));
    Ok(KeySource {
        issuer: entry.issuer.clone(),
        location: match (&entry.jwks_uri, &entry.metadata) {
            (Some(keys), _) => Location::Jwks(keys.clone()),
            (None, Some(metadata)) => Location::Metadata(metadata.clone()),
            (None, None) => {
                Location::Metadata(format!("{}/.well-known/openid-configuration", entry.issuer.trim_end_matches('/')))
            }
        },
        default_algorithm: named.map(algorithm).transpose()?,
        foreign_keys_host: entry.foreign_keys_host,
    })
}

impl fmt::Debug for GuardBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuardBuilder").field("audience", &self.contract.audience()).finish_non_exhaustive()
    }
}
