//! The guard itself.
use crate::bearer;
use crate::cache::VerifiedTokens;
use crate::events::{Events, EventsStatus, Subscription};
use crate::evidence::{Evidence, Fault, NeedsKeys, Proven, examine};
use crate::judge::{Asked, judge};
use crate::{Dpop, GuardLayer, Held, Principal, Refused};
use decision::contract::{Contract, ContractError, Profile, Route, TENANT_TEMPLATE, TrustedIssuer};
use decision::{CheckId, Clock, Collect, Silent, Timestamp, Verdict};
use fetch::{IssuerKeys, KeySets, KeySource, Location};
use http::HeaderMap;
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
pub struct Guard(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    contract: Contract,
    issuers: Vec<Arc<IssuerKeys>>,
    pub(crate) clock: Arc<dyn Clock>,
    verified: VerifiedTokens,
    /// Its own ones first.
    streams: Vec<Arc<Subscription>>,
    own_streams: usize,
    pub(crate) dpop: Option<Dpop>,
    decision_ids: Arc<dyn Fn() -> String + Send + Sync>,
}

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
            events: Vec::new(),
            subscriptions: Vec::new(),
            dpop: None,
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

    /// Receives cut-offs, as long as the guard lives. Spawn it once, where [`GuardBuilder::events`] was used: without it the
    /// streams count as lost.
    pub fn listen(&self) -> impl Future<Output = ()> + Send + 'static {
        let guard = Arc::downgrade(&self.0);
        let streams = self.0.own_streams;
        async move {
            let mut receiving = tokio::task::JoinSet::new();
            for at in 0..streams {
                let guard = guard.clone();
                receiving.spawn(async move {
                    let Some((stream, clock)) =
                        guard.upgrade().and_then(|inner| Some((inner.streams.get(at)?.clone(), inner.clock.clone())))
                    else {
                        return;
                    };
                    let gone = async {
                        while guard.strong_count() > 0 {
                            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
                        }
                    };
                    tokio::select! {
                        () = stream.listen(&*clock) => {}
                        () = gone => {}
                    }
                });
            }
            while receiving.join_next().await.is_some() {}
        }
    }

    /// How the streams of cut-offs fare: for readiness and metrics.
    pub fn events(&self) -> Vec<EventsStatus> {
        self.0.streams.iter().map(|stream| stream.status()).collect()
    }

    /// Decides on one request: its `Authorization` value, method and path. Tokens that are bound to something are not good so:
    /// [`check_head`](Self::check_head) and [`check_for`](Self::check_for) see more of the request.
    ///
    /// # Errors
    /// If it is refused.
    pub async fn check(&self, authorization: Option<&str>, method: &str, path: &str) -> Result<Principal, Refused> {
        self.settle(Ok(authorization), self.asked(method, path)).await
    }

    /// Decides on one request whose head is at hand: a token in its query counts as none, and two `Authorization` headers too.
    ///
    /// # Errors
    /// If it is refused.
    pub async fn check_head(
        &self,
        headers: &HeaderMap,
        query: Option<&str>,
        method: &str,
        path: &str,
    ) -> Result<Principal, Refused> {
        let shown = self.shown(headers, query, method, path)?;
        let principal = self.settle(shown.presented, shown.asked(self, method, path)).await?;
        self.spend(shown.proof.as_ref())?;
        Ok(principal)
    }

    /// Decides as [`check`](Self::check) does, by a route that the caller has found: for who routes requests itself, as a gateway
    /// does. All other demands are those of the contract. Tokens that are bound to what the caller has shown to hold are good for
    /// this request. A proof is to be used up afterwards ([`Dpop::spend`](crate::Dpop::spend)).
    ///
    /// # Errors
    /// If the request is refused.
    pub async fn check_for(
        &self,
        authorization: Option<&str>,
        route: &Route,
        held: Held<'_>,
    ) -> Result<Principal, Refused> {
        self.settle(Ok(authorization), Asked::by(Some(route), held)).await
    }

    /// The same without waiting; `None` if keys have to be fetched first, as [`check_for`](Self::check_for) does.
    pub fn try_check_for(
        &self,
        authorization: Option<&str>,
        route: &Route,
        held: Held<'_>,
    ) -> Option<Result<Principal, Refused>> {
        let asked = Asked::by(Some(route), held);
        self.attempt(Ok(authorization), asked, self.0.clock.now(), false).ok()
    }

    /// Whether who was let in would be let in now, by this route, by a token that may have ended so many seconds ago; `None` if keys
    /// have to be fetched first. For what lasts longer than the check at its beginning: streams.
    pub fn try_check_again(
        &self,
        principal: &Principal,
        route: &Route,
        grace: i64,
    ) -> Option<Result<Principal, Refused>> {
        let asked = Asked { route: Some(route), certificate: principal.certificate(), key: principal.key(), grace };
        if let Some(proven) = principal.told() {
            return Some(self.decide(&Evidence::Proven(proven), asked));
        }
        let scheme = if principal.key().is_some() { "DPoP" } else { "Bearer" };
        let presented = format!("{scheme} {}", principal.token().expose());
        self.attempt(Ok(Some(&presented)), asked, self.0.clock.now(), false).ok()
    }

    /// What the contract has for a request, over a connection that nothing is known of.
    pub(crate) fn asked(&self, method: &str, path: &str) -> Asked<'_> {
        Asked { route: self.0.contract.route(method, path), ..Asked::default() }
    }

    pub(crate) async fn settle(
        &self,
        presented: Result<Option<&str>, &'static str>,
        asked: Asked<'_>,
    ) -> Result<Principal, Refused> {
        let now = self.0.clock.now();
        match self.attempt(presented, asked, now, false) {
            Ok(decided) => decided,
            Err(NeedsKeys { issuer: at, .. }) => {
                if let Some(keys) = self.0.issuers.get(at) {
                    keys.refresh(now).await;
                }
                let settled = self.attempt(presented, asked, now, true);
                settled.unwrap_or_else(|_| Err(self.refuse(&unavailable(), asked, now, CheckId::KeysAvailable)))
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
        self.try_asked(Ok(authorization), self.asked(method, path))
    }

    pub(crate) fn try_asked(
        &self,
        presented: Result<Option<&str>, &'static str>,
        asked: Asked<'_>,
    ) -> Option<Result<Principal, Refused>> {
        self.attempt(presented, asked, self.0.clock.now(), false).ok()
    }

    /// Every check that would be made of this token on this route, passed and failed. The same function as
    /// [`check`](Self::check), watched. Keys are fetched if they have to be.
    pub async fn explain(&self, token: &str, method: &str, path: &str) -> Verdict {
        let now = self.0.clock.now();
        let inner = &self.0;
        let evidence = match examine(token, &inner.contract, &inner.issuers, now, false) {
            Ok(evidence) => evidence,
            Err(NeedsKeys { issuer: at, .. }) => {
                if let Some(keys) = inner.issuers.get(at) {
                    keys.refresh(now).await;
                }
                examine(token, &inner.contract, &inner.issuers, now, true).unwrap_or_else(|_| unavailable())
            }
        };
        self.observe(&evidence, self.asked(method, path), now)
    }

    /// Every check that [`check_for`](Self::check_for) makes of what is presented, passed and failed, with the keys that are at
    /// hand.
    pub fn explain_for(&self, authorization: Option<&str>, route: &Route, held: Held<'_>) -> Verdict {
        let now = self.0.clock.now();
        let mut asked = Asked::by(Some(route), held);
        let evidence = match bearer::token(authorization, asked.key) {
            Ok((token, key)) => {
                asked.key = key;
                let examined = examine(token, &self.0.contract, &self.0.issuers, now, true);
                examined.unwrap_or_else(|_| unavailable())
            }
            Err(found) => Evidence::Unreadable(Fault::new(CheckId::TokenPresent, found)),
        };
        self.observe(&evidence, asked, now)
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
        mut asked: Asked<'_>,
        now: Timestamp,
        settled: bool,
    ) -> Result<Result<Principal, Refused>, NeedsKeys> {
        let inner = &*self.0;
        let token = match presented.and_then(|presented| bearer::token(presented, asked.key)) {
            Ok((token, key)) => {
                asked.key = key;
                token
            }
            Err(found) => {
                let absent = Evidence::Unreadable(Fault::new(CheckId::TokenPresent, found));
                return Ok(Err(self.refuse(&absent, asked, now, CheckId::TokenPresent)));
            }
        };
        let digest = VerifiedTokens::digest(token);
        let known = inner.verified.find(&digest).filter(|proven| {
            let keys = inner.issuers.get(proven.issuer).and_then(|keys| keys.current(now));
            keys.and_then(|k| k.as_ref().map(|k| k.generation)) == Some(proven.generation)
        });
        let seen = known.is_some();
        let evidence = match known {
            Some(proven) => Evidence::Proven(proven),
            None => examine(token, &inner.contract, &inner.issuers, now, settled)
                .or_else(|needs| needs.unless_hopeless(&inner.contract, asked, now))?,
        };
        match (judge(&evidence, &inner.contract, asked, now, &inner.streams, &mut Silent), evidence) {
            (Ok(()), Evidence::Proven(proven)) => {
                if !seen {
                    inner.verified.keep(digest, &proven);
                }
                Ok(Ok(Principal::new(proven, asked)))
            }
            (decided, evidence) => {
                let check = decided.err().unwrap_or(CheckId::TokenSignature);
                if seen && matches!(check, CheckId::TokenExpired) {
                    inner.verified.forget(&digest);
                }
                Ok(Err(self.refuse(&evidence, asked, now, check)))
            }
        }
    }

    /// Decides on what is established.
    pub(crate) fn decide(&self, evidence: &Evidence, asked: Asked<'_>) -> Result<Principal, Refused> {
        let (inner, now) = (&*self.0, self.0.clock.now());
        match (judge(evidence, &inner.contract, asked, now, &inner.streams, &mut Silent), evidence) {
            (Ok(()), Evidence::Proven(proven)) => Ok(Principal::new(Arc::clone(proven), asked)),
            (decided, _) => Err(self.refuse(evidence, asked, now, decided.err().unwrap_or(CheckId::TokenSignature))),
        }
    }

    pub(crate) fn refuse_now(&self, evidence: &Evidence, asked: Asked<'_>, check: CheckId) -> Refused {
        self.refuse(evidence, asked, self.0.clock.now(), check)
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    pub(crate) fn observe(&self, evidence: &Evidence, asked: Asked<'_>, now: Timestamp) -> Verdict {
        let mut all = Collect::default();
        let _ = judge(evidence, &self.0.contract, asked, now, &self.0.streams, &mut all);
        all.0
    }

    fn refuse(&self, evidence: &Evidence, asked: Asked<'_>, now: Timestamp, check: CheckId) -> Refused {
        let verdict = self.observe(evidence, asked, now);
        let refused = self.refuse_by(check, verdict, asked.route);
        let refused = match &self.0.dpop {
            Some(dpop) => refused.with_dpop(dpop, asked.key.is_some(), now),
            None => refused,
        };
        match evidence {
            Evidence::Proven(proven) => self.cut_off(refused, proven),
            _ => refused,
        }
    }

    pub(crate) fn refuse_by(&self, check: CheckId, verdict: Verdict, route: Option<&Route>) -> Refused {
        let id = (self.0.decision_ids)();
        let found = verdict.failed().map_or("", |c| c.actual.as_str());
        if check == CheckId::KeysAvailable {
            warn!(decision.id = %id, check.id = %check, check.found = ?found, "refused, as keys are not available");
        } else {
            info!(decision.id = %id, check.id = %check, check.found = ?found, "refused");
        }
        Refused::new(check, verdict, &self.0.contract, route, id, self.authorization_uri())
    }

    /// Counts what cut-offs refused, and asks those who can give it for a token from after them.
    fn cut_off(&self, refused: Refused, proven: &Proven) -> Refused {
        let issuer = proven.claims.issuer().unwrap_or_default();
        let Some(stream) = self.0.streams.iter().find(|stream| stream.is_about(issuer)) else { return refused };
        match refused.check() {
            CheckId::TokenRevoked => {
                stream.counts.refused.fetch_add(1, Ordering::Relaxed);
                let void = stream.void(proven).filter(|_| proven.claims.handles_challenges());
                void.map_or(refused.clone(), |void| refused.with_not_before(void.at))
            }
            CheckId::CutOffsCurrent => {
                stream.counts.unavailable.fetch_add(1, Ordering::Relaxed);
                refused
            }
            _ => refused,
        }
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
    let named = entry.algorithm.as_deref().or((entry.profile == Profile::Entra).then_some("RS256"));
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
