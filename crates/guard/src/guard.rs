//! The guard itself.
use crate::bearer;
use crate::builder::{GuardBuilder, SetupError};
use crate::cache::VerifiedTokens;
use crate::events::{EventsStatus, Subscription};
use crate::evidence::{Evidence, Fault, NeedsKeys, Proven, examine};
use crate::judge::{Asked, judge};
use crate::{Dpop, GuardLayer, Held, Principal, Refused};
use decision::contract::{Contract, Profile, Route, TENANT_TEMPLATE};
use decision::{CheckId, Clock, Collect, Silent, Timestamp, Verdict};
use fetch::{IssuerKeys, KeySets};
use http::HeaderMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tracing::{info, warn};

/// Enforces one API's contract. Cheap to clone.
#[derive(Clone)]
pub struct Guard(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) contract: Contract,
    pub(crate) issuers: Vec<Arc<IssuerKeys>>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) verified: VerifiedTokens,
    /// Its own ones first.
    pub(crate) streams: Vec<Arc<Subscription>>,
    pub(crate) own_streams: usize,
    pub(crate) dpop: Option<Dpop>,
    pub(crate) decision_ids: Arc<dyn Fn() -> String + Send + Sync>,
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
        GuardBuilder::new(contract, clock)
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
            Evidence::Proven(proven) => {
                let bearer = Principal::new(Arc::clone(proven), asked);
                self.cut_off(refused.with_bearer(bearer), proven)
            }
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

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").field("audience", &self.0.contract.audience()).finish_non_exhaustive()
    }
}
