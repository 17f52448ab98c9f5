//! The guard itself.
use crate::bearer;
use crate::cache::VerifiedTokens;
use crate::evidence::{Evidence, Fault, NeedsKeys, examine};
use crate::judge::judge;
use crate::{GuardLayer, Principal, Refused};
use decision::contract::{Contract, ContractError, Profile, TENANT_TEMPLATE};
use decision::{CheckId, Clock, Collect, Silent, Timestamp, Verdict};
use fetch::{IssuerKeys, KeySets, KeySource, Location};
use jose::{Algorithm, KeySet};
use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use thiserror::Error;
use tracing::{info, warn};

/// Enforces one API's contract. Cheap to clone.
#[derive(Clone)]
pub struct Guard(Arc<Inner>);

struct Inner {
    contract: Contract,
    issuers: Vec<Arc<IssuerKeys>>,
    clock: Arc<dyn Clock>,
    verified: VerifiedTokens,
    decision_ids: Arc<dyn Fn() -> String + Send + Sync>,
}

/// Collects what a guard needs.
pub struct GuardBuilder {
    contract: Contract,
    clock: Arc<dyn Clock>,
    key_sets: Option<Arc<KeySets>>,
    fixed: HashMap<String, KeySet>,
    cache_bytes: u64,
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
    /// An algorithm that does not exist here.
    #[error("`{0}` is not an asymmetric algorithm; use one such as `RS256`")]
    Algorithm(String),
}

impl Guard {
    /// A guard that fetches its issuers' keys.
    ///
    /// # Errors
    /// If the contract cannot be enforced.
    pub fn new(contract: Contract, key_sets: Arc<KeySets>, clock: Arc<dyn Clock>) -> Result<Self, SetupError> {
        Self::builder(contract, clock).key_sets(key_sets).build()
    }

    /// Begins one with more to say.
    pub fn builder(contract: Contract, clock: Arc<dyn Clock>) -> GuardBuilder {
        let (seed, count) = (RandomState::new(), AtomicU64::new(0));
        let unique = move || {
            let n = count.fetch_add(1, Ordering::Relaxed);
            format!("{:016x}{:016x}", seed.hash_one((n, 0)), seed.hash_one((n, 1)))
        };
        GuardBuilder {
            contract,
            clock,
            key_sets: None,
            fixed: HashMap::new(),
            cache_bytes: 16 << 20,
            decision_ids: Arc::new(unique),
        }
    }

    /// What is enforced.
    pub fn contract(&self) -> &Contract {
        &self.0.contract
    }

    /// The keys of each issuer, in the contract's order: for readiness and metrics.
    pub fn issuers(&self) -> &[Arc<IssuerKeys>] {
        &self.0.issuers
    }

    /// How many bytes of verified tokens are kept now.
    pub fn cached_bytes(&self) -> u64 {
        self.0.verified.bytes()
    }

    /// Fetches the keys that are not at hand yet; whether all are now. For readiness: requests would do it too.
    pub async fn ready(&self) -> bool {
        let now = self.0.clock.now();
        let mut ready = true;
        for keys in &self.0.issuers {
            if keys.current(now).is_none() {
                keys.refresh(now).await;
                ready &= keys.current(now).is_some();
            }
        }
        ready
    }

    /// Decides on one request: its `Authorization` value, method and path.
    ///
    /// # Errors
    /// If it is refused.
    pub async fn check(&self, authorization: Option<&str>, method: &str, path: &str) -> Result<Principal, Refused> {
        self.check_presented(Ok(authorization), method, path).await
    }

    pub(crate) async fn check_presented(
        &self,
        presented: Result<Option<&str>, &'static str>,
        method: &str,
        path: &str,
    ) -> Result<Principal, Refused> {
        let now = self.0.clock.now();
        match self.attempt(presented, method, path, now, false) {
            Ok(decided) => decided,
            Err(NeedsKeys(at)) => {
                if let Some(keys) = self.0.issuers.get(at) {
                    keys.refresh(now).await;
                }
                let settled = self.attempt(presented, method, path, now, true);
                settled.unwrap_or_else(|_| Err(self.refuse(&unavailable(), method, path, now, CheckId::KeysAvailable)))
            }
        }
    }

    /// Decides without waiting; `None` if keys have to be fetched first, as [`check`](Self::check) does.
    pub fn try_check(
        &self,
        authorization: Option<&str>,
        method: &str,
        path: &str,
    ) -> Option<Result<Principal, Refused>> {
        self.try_presented(Ok(authorization), method, path)
    }

    pub(crate) fn try_presented(
        &self,
        presented: Result<Option<&str>, &'static str>,
        method: &str,
        path: &str,
    ) -> Option<Result<Principal, Refused>> {
        self.attempt(presented, method, path, self.0.clock.now(), false).ok()
    }

    /// Every check that would be made of this token on this route, passed and failed. The same function as
    /// [`check`](Self::check), watched. Keys are fetched if they have to be.
    pub async fn explain(&self, token: &str, method: &str, path: &str) -> Verdict {
        let now = self.0.clock.now();
        let inner = &self.0;
        let evidence = match examine(token, &inner.contract, &inner.issuers, now, false) {
            Ok(evidence) => evidence,
            Err(NeedsKeys(at)) => {
                if let Some(keys) = inner.issuers.get(at) {
                    keys.refresh(now).await;
                }
                examine(token, &inner.contract, &inner.issuers, now, true).unwrap_or_else(|_| unavailable())
            }
        };
        self.observe(&evidence, method, path, now)
    }

    /// The answer of a route whose exchange downstream was refused with a claims challenge, with this API's sign-in
    /// address and a decision id.
    pub fn challenge(&self, claims: &str) -> Refused {
        let refused = Refused::from_claims_challenge(claims).with_decision_id((self.0.decision_ids)());
        match self.authorization_uri() {
            Some(uri) => refused.with_authorization_uri(uri),
            None => refused,
        }
    }

    /// A tower layer that lets requests with a sufficient token through, with their [`Principal`] in the extensions, and
    /// answers the others. Put it on the outermost router: a nested one sees shortened paths, which match no route.
    pub fn layer(&self) -> GuardLayer {
        GuardLayer::new(self.clone())
    }

    fn attempt(
        &self,
        presented: Result<Option<&str>, &'static str>,
        method: &str,
        path: &str,
        now: Timestamp,
        settled: bool,
    ) -> Result<Result<Principal, Refused>, NeedsKeys> {
        let inner = &*self.0;
        let token = match presented.and_then(bearer::token) {
            Ok(token) => token,
            Err(found) => {
                let absent = Evidence::Unreadable(Fault::new(CheckId::TokenPresent, found));
                return Ok(Err(self.refuse(&absent, method, path, now, CheckId::TokenPresent)));
            }
        };
        let digest = VerifiedTokens::digest(token);
        let known = inner.verified.find(&digest).filter(|proven| {
            let keys = inner.issuers.get(proven.issuer).and_then(|keys| keys.current(now));
            keys.and_then(|k| k.as_ref().map(|k| k.generation)) == Some(proven.generation)
        });
        let (evidence, seen) = match known {
            Some(proven) => (Evidence::Proven(proven), true),
            None => (examine(token, &inner.contract, &inner.issuers, now, settled)?, false),
        };
        let route = inner.contract.route(method, path);
        match (judge(&evidence, &inner.contract, route, now, &mut Silent), evidence) {
            (Ok(()), Evidence::Proven(proven)) => {
                if !seen {
                    inner.verified.keep(digest, proven.clone());
                }
                Ok(Ok(Principal::new(proven)))
            }
            (decided, evidence) => {
                let check = decided.err().unwrap_or(CheckId::TokenSignature);
                if seen && matches!(check, CheckId::TokenExpired) {
                    inner.verified.forget(&digest);
                }
                Ok(Err(self.refuse(&evidence, method, path, now, check)))
            }
        }
    }

    fn observe(&self, evidence: &Evidence, method: &str, path: &str, now: Timestamp) -> Verdict {
        let mut all = Collect::default();
        let route = self.0.contract.route(method, path);
        let _ = judge(evidence, &self.0.contract, route, now, &mut all);
        all.0
    }

    fn refuse(&self, evidence: &Evidence, method: &str, path: &str, now: Timestamp, check: CheckId) -> Refused {
        let id = (self.0.decision_ids)();
        let verdict = self.observe(evidence, method, path, now);
        let found = verdict.failed().map_or("", |c| c.actual.as_str());
        if check == CheckId::KeysAvailable {
            warn!(decision.id = %id, check.id = %check, check.found = ?found, "refused, as keys are not available");
        } else {
            info!(decision.id = %id, check.id = %check, check.found = ?found, "refused");
        }
        let route = self.0.contract.route(method, path);
        Refused::new(check, verdict, &self.0.contract, route, id, self.authorization_uri())
    }

    fn authorization_uri(&self) -> Option<String> {
        let contract = &self.0.contract;
        if contract.authorization_uri.is_some() {
            return contract.authorization_uri.clone();
        }
        let issuer = contract.issuers.first()?;
        if issuer.profile == Profile::Entra {
            let root = issuer.issuer.replace(TENANT_TEMPLATE, "common");
            let root = root.trim_end_matches("v2.0").trim_end_matches('/');
            return Some(format!("{root}/oauth2/v2.0/authorize"));
        }
        let keys = self.0.issuers.first()?.current(self.0.clock.now())?;
        keys.as_ref()?.metadata.as_ref()?.authorization_endpoint.clone()
    }
}

fn unavailable() -> Evidence {
    Evidence::Unreadable(Fault::new(CheckId::KeysAvailable, "the issuer's keys could not be had"))
}

impl GuardBuilder {
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
    pub fn keys(mut self, issuer: impl Into<String>, keys: KeySet) -> Self {
        self.fixed.insert(issuer.into(), keys);
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
        let mut issuers = Vec::with_capacity(self.contract.issuers.len());
        for entry in &self.contract.issuers {
            if let Some(keys) = self.fixed.remove(&entry.issuer) {
                issuers.push(IssuerKeys::fixed(keys));
                continue;
            }
            let key_sets = self.key_sets.as_ref().ok_or_else(|| SetupError::NoKeys(entry.issuer.clone()))?;
            let named = entry.algorithm.as_deref().or((entry.profile == Profile::Entra).then_some("RS256"));
            let algorithm = |name: &str| name.parse::<Algorithm>().map_err(|_| SetupError::Algorithm(name.into()));
            issuers.push(key_sets.issuer(KeySource {
                issuer: entry.issuer.clone(),
                location: match (&entry.jwks_uri, &entry.metadata) {
                    (Some(keys), _) => Location::Jwks(keys.clone()),
                    (None, Some(metadata)) => Location::Metadata(metadata.clone()),
                    (None, None) => Location::Metadata(format!(
                        "{}/.well-known/openid-configuration",
                        entry.issuer.trim_end_matches('/')
                    )),
                },
                default_algorithm: named.map(algorithm).transpose()?,
                foreign_keys_host: entry.foreign_keys_host,
            }));
        }
        if let Some(unknown) = self.fixed.into_keys().next() {
            return Err(SetupError::UnknownIssuer(unknown));
        }
        Ok(Guard(Arc::new(Inner {
            contract: self.contract,
            issuers,
            clock: self.clock,
            verified: VerifiedTokens::new(self.cache_bytes),
            decision_ids: self.decision_ids,
        })))
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").field("audience", &self.0.contract.audience()).finish_non_exhaustive()
    }
}

impl fmt::Debug for GuardBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuardBuilder").field("audience", &self.contract.audience()).finish_non_exhaustive()
    }
}
