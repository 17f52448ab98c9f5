//! An issuer's keys: fresh, bounded in rate, and kept through outages.
//!
//! Reading takes no lock. A key set is refreshed in the background after its soft lifetime, on an unknown `kid` at most
//! once per interval, by one fetch at a time that survives the request which began it. What cannot be fetched or read
//! changes nothing; only the hard cap takes known keys away.
use crate::{FetchError, Transport};
use arc_swap::ArcSwapOption;
use bytes::Bytes;
use decision::Timestamp;
use jose::{Algorithm, KeySet, KeySetError, VerifyingKey};
use oauth::metadata::Metadata;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use thiserror::Error;
use tokio::sync::watch;
use tracing::{info, warn};
use url::Url;

/// Where an issuer's keys are.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KeySource {
    /// The issuer as configured, `{tenantid}` included: the metadata must name exactly this, save where it announces it.
    pub issuer: String,
    /// The document to start from.
    pub location: Location,
    /// The algorithm of keys that state none.
    pub default_algorithm: Option<Algorithm>,
    /// Whether the metadata may name a key set on another host.
    pub foreign_keys_host: bool,
}

/// The document that leads to an issuer's keys.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Location {
    /// A metadata document.
    Metadata(String),
    /// A metadata document that is trusted for whatever issuer it names: platforms configure its address alone. The
    /// source's own `issuer` is then a name for logs.
    Announced(String),
    /// The key set itself.
    Jwks(String),
}

/// How long keys serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetimes {
    /// Seconds after which they are refreshed in the background.
    pub soft: i64,
    /// Seconds after which they are not used.
    pub hard: i64,
    /// Seconds between two fetches.
    pub interval: i64,
    /// Seconds after a fetch that brought new keys, for a set that is being changed may change again.
    pub after_change: i64,
}

impl Default for Lifetimes {
    fn default() -> Self {
        // A key that its issuer withdrew is refused within a minute, also where no event tells of it.
        Self { soft: 50, hard: 86_400, interval: 30, after_change: 30 }
    }
}

/// Why a fetch changed nothing.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum KeyFault {
    /// The network.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// Another status than 200.
    #[error("`{url}` answered with status {status}")]
    Status {
        /// Which document.
        url: String,
        /// The status.
        status: u16,
    },
    /// Not a metadata document.
    #[error("`{0}` is not a metadata document with a `jwks_uri`")]
    Metadata(String),
    /// The metadata is of another issuer.
    #[error("the metadata is of the issuer `{found}`; `{configured}` is configured")]
    Issuer {
        /// What was configured.
        configured: String,
        /// What the document says.
        found: String,
    },
    /// The key set lies elsewhere.
    #[error("the metadata names a key set on another host, `{0}`; say `foreign_keys_host = true` if that is meant")]
    KeysHost(String),
    /// Not a key set.
    #[error("`{url}` is not a usable key set: {reason}")]
    Keys {
        /// Which document.
        url: String,
        /// Why.
        reason: KeySetError,
    },
    /// A key set without a usable key.
    #[error("`{0}` has no usable key")]
    Empty(String),
}

/// One state of an issuer's keys.
#[derive(Debug)]
pub struct Snapshot {
    /// The keys.
    pub keys: KeySet,
    /// Changes whenever the keys do; what was verified under another generation counts no more.
    pub generation: u64,
    /// When they were fetched; `None` for keys that were given.
    pub fetched: Option<Timestamp>,
    /// The metadata, where it was read.
    pub metadata: Option<Metadata>,
    body: Bytes,
}

/// What a look for a key found.
#[derive(Clone, Debug)]
pub enum Lookup {
    /// The key, and the generation of the set it is in.
    Found(Arc<VerifyingKey>, u64),
    /// There are keys, and none of this name.
    Unknown,
    /// There are no keys, or none young enough.
    NoKeys,
}

/// What has happened to an issuer's keys, for readiness and metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Fetches begun.
    pub fetches: u64,
    /// Fetches that failed since the last that did not.
    pub failures: u32,
    /// Fetches because keys had been kept for their time.
    pub expired: Refreshes,
    /// Fetches because a key was asked for that is not there, the first ones among them.
    pub unknown_key: Refreshes,
    /// Keys of the set at hand that are not used.
    pub skipped: usize,
    /// Why the last one failed.
    pub fault: Option<KeyFault>,
    /// When the keys at hand were fetched.
    pub fetched: Option<Timestamp>,
}

/// How fetches ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refreshes {
    /// With keys.
    pub success: u64,
    /// Without.
    pub failure: u64,
    /// Not begun, since another one was just before.
    pub suppressed: u64,
}

/// What a fetch is for.
#[derive(Clone, Copy)]
enum Reason {
    Expired,
    UnknownKey,
}

/// The keys of one issuer.
pub struct IssuerKeys {
    source: Option<KeySource>,
    transport: Option<Arc<dyn Transport>>,
    lifetimes: Lifetimes,
    current: ArcSwapOption<Snapshot>,
    flight: Mutex<Flight>,
}

#[derive(Default)]
struct Flight {
    landing: Option<watch::Receiver<()>>,
    not_before: Option<Timestamp>,
    status: Status,
}

impl IssuerKeys {
    /// Keys that are fetched.
    pub fn fetched(source: KeySource, transport: Arc<dyn Transport>, lifetimes: Lifetimes) -> Arc<Self> {
        Arc::new(Self {
            source: Some(source),
            transport: Some(transport),
            lifetimes,
            current: ArcSwapOption::empty(),
            flight: Mutex::default(),
        })
    }

    /// Keys that are given, and never age.
    pub fn fixed(keys: KeySet) -> Arc<Self> {
        let snapshot = Snapshot { keys, generation: 1, fetched: None, metadata: None, body: Bytes::new() };
        Arc::new(Self {
            source: None,
            transport: None,
            lifetimes: Lifetimes::default(),
            current: ArcSwapOption::from_pointee(snapshot),
            flight: Mutex::default(),
        })
    }

    /// The keys as they are now, unless they are too old; begins a refresh in the background when one is due.
    pub fn current(self: &Arc<Self>, now: Timestamp) -> Option<arc_swap::Guard<Option<Arc<Snapshot>>>> {
        let current = self.current.load();
        let fetched = current.as_ref()?.fetched;
        let age = fetched.map_or(0, |at| now.since(at));
        if age > self.lifetimes.soft {
            drop(self.begin(now, Reason::Expired));
        }
        (age <= self.lifetimes.hard).then_some(current)
    }

    /// The keys that were last fetched, however old. Begins nothing.
    pub fn loaded(&self) -> Option<Arc<Snapshot>> {
        self.current.load_full()
    }

    /// Looks for a key by name. Never waits.
    pub fn find(self: &Arc<Self>, kid: &str, now: Timestamp) -> Lookup {
        match self.current(now).as_deref() {
            Some(Some(snapshot)) => match snapshot.keys.find(kid) {
                Some(key) => Lookup::Found(key.clone(), snapshot.generation),
                None => Lookup::Unknown,
            },
            _ => Lookup::NoKeys,
        }
    }

    /// Waits for the fetch that is under way, or for a new one if the rate allows; otherwise returns at once.
    pub async fn refresh(self: &Arc<Self>, now: Timestamp) {
        if let Some(mut landing) = self.begin(now, Reason::UnknownKey) {
            // Ends with an error when the task has gone, whether it finished or died.
            while landing.changed().await.is_ok() {}
        } else {
            self.flight().status.unknown_key.suppressed += 1;
        }
    }

    /// Whether a [`refresh`](Self::refresh) could change anything now.
    pub fn may_refresh(&self, now: Timestamp) -> bool {
        let flight = self.flight();
        self.source.is_some() && (flight.under_way().is_some() || flight.is_due(now))
    }

    /// What has happened so far.
    pub fn status(&self) -> Status {
        Status { fetched: self.current.load().as_ref().and_then(|s| s.fetched), ..self.flight().status.clone() }
    }

    // Held for a few instructions, never across an await.
    fn flight(&self) -> MutexGuard<'_, Flight> {
        self.flight.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(self: &Arc<Self>, now: Timestamp, reason: Reason) -> Option<watch::Receiver<()>> {
        let runtime = tokio::runtime::Handle::try_current().ok()?;
        let (source, transport) = self.source.clone().zip(self.transport.clone())?;
        let mut flight = self.flight();
        if let Some(landing) = flight.under_way() {
            return Some(landing);
        }
        if !flight.is_due(now) {
            return None;
        }
        let (departed, landing) = watch::channel(());
        // Without any keys nothing can be verified, so the first attempts follow one another faster: 1, 2, 4 … s.
        let first_attempts = (1_i64 << flight.status.failures.min(6)).min(60);
        let pause = if self.current.load().is_some() { self.lifetimes.interval } else { first_attempts };
        flight.not_before = Some(now.plus(pause));
        flight.status.fetches += 1;
        flight.landing = Some(landing.clone());
        drop(flight);
        let keys = self.clone();
        runtime.spawn(async move {
            let loaded = Box::pin(load(&source, transport.as_ref())).await;
            keys.land(loaded, reason, now);
            drop(departed);
        });
        Some(landing)
    }

    fn land(&self, loaded: Result<Loaded, KeyFault>, reason: Reason, now: Timestamp) {
        let mut flight = self.flight();
        flight.landing = None;
        let counts = match reason {
            Reason::Expired => &mut flight.status.expired,
            Reason::UnknownKey => &mut flight.status.unknown_key,
        };
        match &loaded {
            Ok(_) => counts.success += 1,
            Err(_) => counts.failure += 1,
        }
        match loaded {
            Ok(Loaded { keys, skipped, body, metadata }) => {
                let before = self.current.load();
                let same = before.as_ref().is_some_and(|s| s.body == body);
                let generation = before.as_ref().map_or(0, |s| s.generation) + u64::from(!same);
                if !same {
                    info!(issuer.keys = keys.len(), issuer.generation = generation, "an issuer's keys changed");
                }
                self.current.store(Some(Arc::new(Snapshot { keys, generation, fetched: Some(now), metadata, body })));
                (flight.status.failures, flight.status.fault) = (0, None);
                flight.status.skipped = skipped;
                if !same {
                    flight.not_before = Some(now.plus(self.lifetimes.after_change));
                }
            }
            Err(fault) => {
                warn!(issuer.fault = %fault, issuer.failures = flight.status.failures + 1, "an issuer's keys could not be fetched; known ones stay");
                flight.status.failures += 1;
                flight.status.fault = Some(fault);
            }
        }
    }
}

impl Flight {
    fn under_way(&self) -> Option<watch::Receiver<()>> {
        self.landing.clone().filter(|landing| landing.has_changed().is_ok())
    }

    fn is_due(&self, now: Timestamp) -> bool {
        // A pause that lies far ahead means that the clock was set back.
        self.not_before.is_none_or(|moment| now >= moment || moment.since(now) > 120)
    }
}

impl fmt::Debug for IssuerKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssuerKeys").field("source", &self.source).finish_non_exhaustive()
    }
}

/// The key sets of a process: issuers that several contracts trust are fetched once.
pub struct KeySets {
    transport: Arc<dyn Transport>,
    lifetimes: Lifetimes,
    issuers: Mutex<HashMap<KeySource, Arc<IssuerKeys>>>,
}

impl KeySets {
    /// An empty cache with the usual lifetimes.
    pub fn new(transport: Arc<dyn Transport>) -> Self {
        Self::with_lifetimes(transport, Lifetimes::default())
    }

    /// An empty cache with these lifetimes.
    pub fn with_lifetimes(transport: Arc<dyn Transport>, lifetimes: Lifetimes) -> Self {
        Self { transport, lifetimes, issuers: Mutex::default() }
    }

    /// The keys of an issuer; fetched when they are first looked for.
    pub fn issuer(&self, source: KeySource) -> Arc<IssuerKeys> {
        let mut issuers = self.issuers.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || IssuerKeys::fetched(source.clone(), self.transport.clone(), self.lifetimes);
        issuers.entry(source.clone()).or_insert_with(new).clone()
    }
}

impl fmt::Debug for KeySets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeySets").field("lifetimes", &self.lifetimes).finish_non_exhaustive()
    }
}

struct Loaded {
    keys: KeySet,
    skipped: usize,
    body: Bytes,
    metadata: Option<Metadata>,
}

async fn load(source: &KeySource, transport: &dyn Transport) -> Result<Loaded, KeyFault> {
    let (url, metadata) = match &source.location {
        Location::Jwks(url) => (url.clone(), None),
        Location::Metadata(url) | Location::Announced(url) => {
            let metadata: Metadata = serde_json::from_slice(&document(transport, url).await?)
                .map_err(|_| KeyFault::Metadata(url.clone()))?;
            let announced = matches!(source.location, Location::Announced(_));
            if !announced && metadata.issuer != source.issuer {
                return Err(KeyFault::Issuer { configured: source.issuer.clone(), found: metadata.issuer });
            }
            let jwks = metadata.jwks_uri.clone().ok_or_else(|| KeyFault::Metadata(url.clone()))?;
            if !source.foreign_keys_host && !same_origin(&jwks, url) && !same_origin(&jwks, &source.issuer) {
                return Err(KeyFault::KeysHost(jwks));
            }
            (jwks, Some(metadata))
        }
    };
    let body = document(transport, &url).await?;
    let parsed = KeySet::parse(&body, source.default_algorithm);
    let (keys, skipped) = parsed.map_err(|reason| KeyFault::Keys { url: url.clone(), reason })?;
    for key in &skipped {
        warn!(issuer.key = ?key, "a key of an issuer is not used");
    }
    if keys.is_empty() {
        return Err(KeyFault::Empty(url));
    }
    Ok(Loaded { keys, skipped: skipped.len(), body, metadata })
}

async fn document(transport: &dyn Transport, url: &str) -> Result<Bytes, KeyFault> {
    let answer = transport.get(url).await?;
    match answer.status.as_u16() {
        200 => Ok(answer.body),
        status => Err(KeyFault::Status { url: url.into(), status }),
    }
}

fn same_origin(a: &str, b: &str) -> bool {
    matches!((Url::parse(a), Url::parse(b)), (Ok(a), Ok(b)) if a.origin() == b.origin() && a.origin().is_tuple())
}
