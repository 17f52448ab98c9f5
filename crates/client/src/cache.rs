//! The isolated token cache: one flight per key, bounded in bytes, renewed ahead, and nothing outlives its earliest lifetime.
mod counters;
mod cut_off;
mod lifetime;

pub use counters::Counters;
pub use lifetime::Leeway;

use crate::ask::Answered;
use crate::flight::{Landed, depart};
use crate::{CacheKey, Cause, Error, Token, TransportError};
use counters::{Counting, Counts};
use cut_off::{Facets, Named, Recent};
use decision::{CutOff, Timestamp};
use lifetime::Lifetime;
use oauth::Secret;
use quick_cache::sync::Cache;
use quick_cache::{DefaultHashBuilder, Weighter};
use std::collections::HashMap;
use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A refusal is asked about again after so many seconds: short, because somebody may be consenting just now.
const REFUSAL_SECONDS: i64 = 15;
/// What is over is looked for and dropped every so many seconds, so that it does not lie about in memory.
const SWEEP_SECONDS: i64 = 60;
/// What an entry costs beside its own memory: the key, its place in the table, two allocations and their counts.
const BOOKKEEPING: usize = 160;

/// Tokens by [`CacheKey`]. Share one between clients to bound them together.
pub struct TokenCache {
    tokens: Cache<CacheKey, Arc<Held>, Weigh, DefaultHashBuilder, Counting>,
    refusals: Cache<CacheKey, Arc<Refusal>, Weigh>,
    /// Held for moments only, never across an await.
    flights: Mutex<Flights>,
    counting: Counting,
    leeway: Leeway,
    next_sweep: AtomicI64,
    /// Spreads renewals; differs from process to process.
    seed: RandomState,
}

type Outcome = Result<Arc<Token>, Error>;
type Digest = [u8; 32];

#[derive(Default)]
struct Flights {
    last: u64,
    open: HashMap<CacheKey, Flight>,
    cut_off: Recent,
}

struct Flight {
    number: u64,
    subject: Option<Digest>,
    landed: Landed<Outcome>,
}

struct Held {
    token: Arc<Token>,
    /// Whose it is: one client's.
    owner: u64,
    subject: Option<Digest>,
    facets: Facets,
    lifetime: Lifetime,
    /// When it is renewed ahead, if it is in use then.
    renew: AtomicI64,
}

struct Refusal {
    error: Error,
    until: Timestamp,
    subject: Option<Digest>,
}

/// What is looked for.
pub(crate) struct Sought<'a> {
    pub(crate) key: CacheKey,
    /// The client that asks.
    pub(crate) owner: u64,
    /// With what it was or will be obtained.
    pub(crate) subject: Option<&'a Secret>,
    pub(crate) fresh: bool,
    /// What was asked for before this moment is not given out.
    pub(crate) since: Option<Timestamp>,
    pub(crate) now: Timestamp,
}

enum Turn {
    Answered(Result<Answered, Error>),
    Waiting(Landed<Outcome>),
}

impl TokenCache {
    /// A cache that holds at most about `bytes` of tokens, and an eighth of that in refusals.
    pub fn new(bytes: u64) -> Arc<Self> {
        Self::with_leeway(bytes, Leeway::default())
    }

    /// The same, with another leeway.
    pub fn with_leeway(bytes: u64, leeway: Leeway) -> Arc<Self> {
        let items = usize::try_from(bytes / 2048).unwrap_or(usize::MAX).clamp(16, 65_536);
        let counting = Counting::default();
        Arc::new(Self {
            tokens: Cache::with(items, bytes, Weigh, DefaultHashBuilder::default(), counting.clone()),
            refusals: Cache::with_weighter(items / 8 + 1, bytes / 8, Weigh),
            flights: Mutex::default(),
            counting,
            leeway,
            next_sweep: AtomicI64::new(0),
            seed: RandomState::new(),
        })
    }

    /// Forgets every token obtained with this subject token (because it was revoked), and what is under way for it: a
    /// request that began before is answered but not kept.
    pub fn forget_subject(&self, subject: &Secret) {
        let subject = Some(crate::key::digest(subject));
        let mut flights = self.flights();
        flights.open.retain(|_, flight| flight.subject != subject);
        self.drop_tokens(|held| held.subject == subject);
        self.refusals.retain(|_, refusal| refusal.subject != subject);
    }

    /// Forgets every token that a cut-off is about, of all clients; [`crate::Client::cut_off`] says the rest.
    pub fn cut_off(&self, cut_offs: &[CutOff], now: Timestamp) {
        self.cut_off_of(None, cut_offs, now);
    }

    pub(crate) fn cut_off_of(&self, owner: Option<u64>, cut_offs: &[CutOff], now: Timestamp) {
        let named = Named::all(cut_offs);
        // Remembered first: what lands from now on is compared with it, and what has landed is looked through below.
        self.flights().cut_off.add(owner, &named, now);
        self.drop_tokens(|held| owner.is_none_or(|owner| owner == held.owner) && held.facets.fit(&named));
    }

    /// Forgets everything; what is under way is answered but not kept.
    pub fn flush(&self) {
        let mut flights = self.flights();
        flights.open.clear();
        self.tokens.clear();
        self.refusals.clear();
    }

    /// How many bytes of tokens are held.
    pub fn bytes(&self) -> u64 {
        self.tokens.weight()
    }

    /// How many tokens are held: applications' own, and users'.
    pub fn by_subject(&self) -> (u64, u64) {
        let (mut own, mut users) = (0, 0);
        for (_, held) in self.tokens.iter() {
            *if held.subject.is_some() { &mut users } else { &mut own } += 1;
        }
        (own, users)
    }

    /// For how many more seconds a token is given out that was just got or held; 0 for one that is not kept.
    pub fn seconds_kept(&self, token: &Token, now: Timestamp) -> i64 {
        Lifetime::of(token, self.leeway, 0).map_or(0, |lifetime| lifetime.left(now))
    }

    /// What the cache has done and holds.
    pub fn counters(&self) -> Counters {
        self.counting.read(self.tokens.len(), self.tokens.weight() + self.refusals.weight())
    }

    /// The token under the key, from the cache or from `acquire`. However many ask at once, `acquire` runs once, in a task
    /// of its own: who stops waiting takes nothing from the others. A failure is told to those who waited for it, and
    /// not remembered (except for some seconds where the same question would be refused again). A token in use is renewed
    /// ahead, in the background, while it is still given out.
    pub(crate) async fn get_or_acquire<F>(
        self: &Arc<Self>,
        sought: Sought<'_>,
        acquire: impl FnOnce() -> F,
    ) -> Result<Answered, Error>
    where
        F: Future<Output = Result<Token, Error>> + Send + 'static,
    {
        if !sought.fresh {
            if let Some(held) = self.held(&sought) {
                Counts::add(&self.counting.hits, 1);
                if self.is_to_be_renewed(&sought, &held) {
                    self.renew(&sought, acquire);
                }
                return Ok(Answered { token: Arc::clone(&held.token), cached: true });
            }
            if let Some(error) = self.refusal(&sought.key, sought.now) {
                return Err(error);
            }
        }
        match self.join_or_lead(&sought, acquire) {
            Turn::Answered(answer) => answer,
            Turn::Waiting(landed) => {
                let abandoned = || Err(TransportError::from(Cause::Abandoned).into());
                landed.wait().await.unwrap_or_else(abandoned).map(|token| Answered { token, cached: false })
            }
        }
    }

    fn held(&self, sought: &Sought<'_>) -> Option<Arc<Held>> {
        let held = self.tokens.get(&sought.key).filter(|held| !held.lifetime.is_over(sought.now))?;
        if sought.since.is_some_and(|since| held.token.asked_at < since) {
            Counts::add(&self.counting.outdated, 1);
            return None;
        }
        Some(held)
    }

    fn refusal(&self, key: &CacheKey, now: Timestamp) -> Option<Error> {
        let refusal = self.refusals.get(key).filter(|refusal| now < refusal.until)?;
        Counts::add(&self.counting.negative_hits, 1);
        Some(refusal.error.clone())
    }

    /// True for one caller at a time, and again some seconds later.
    fn is_to_be_renewed(&self, sought: &Sought<'_>, held: &Held) -> bool {
        let due = held.renew.load(Relaxed);
        let again = || Lifetime::again(sought.now, self.dice(sought));
        sought.now.0 >= due && held.renew.compare_exchange(due, again(), Relaxed, Relaxed).is_ok()
    }

    fn renew<F>(self: &Arc<Self>, sought: &Sought<'_>, acquire: impl FnOnce() -> F)
    where
        F: Future<Output = Result<Token, Error>> + Send + 'static,
    {
        let mut flights = self.flights();
        if !flights.open.contains_key(&sought.key) {
            Counts::add(&self.counting.renewals, 1);
            self.lead(&mut flights, sought, acquire);
        }
    }

    fn join_or_lead<F>(self: &Arc<Self>, sought: &Sought<'_>, acquire: impl FnOnce() -> F) -> Turn
    where
        F: Future<Output = Result<Token, Error>> + Send + 'static,
    {
        let mut flights = self.flights();
        if sought.fresh {
            self.tokens.remove(&sought.key);
            self.refusals.remove(&sought.key);
        } else if let Some(held) = self.held(sought) {
            // Asked again under the lock: a flight that landed since the first look has left its answer here.
            Counts::add(&self.counting.hits, 1);
            return Turn::Answered(Ok(Answered { token: Arc::clone(&held.token), cached: true }));
        } else if let Some(error) = self.refusal(&sought.key, sought.now) {
            return Turn::Answered(Err(error));
        }
        if let Some(flight) = flights.open.get(&sought.key) {
            Counts::add(&self.counting.joined, 1);
            return Turn::Waiting(flight.landed.clone());
        }
        Counts::add(&self.counting.misses, 1);
        Turn::Waiting(self.lead(&mut flights, sought, acquire))
    }

    fn lead<F>(
        self: &Arc<Self>,
        flights: &mut Flights,
        sought: &Sought<'_>,
        acquire: impl FnOnce() -> F,
    ) -> Landed<Outcome>
    where
        F: Future<Output = Result<Token, Error>> + Send + 'static,
    {
        flights.last += 1;
        let (key, number, now) = (sought.key, flights.last, sought.now);
        let landing = Landing { cache: Arc::clone(self), key, owner: sought.owner, number, dice: self.dice(sought) };
        let (subject, journey) = (sought.subject.cloned(), acquire());
        let digest = sought.subject.map(crate::key::digest);
        let landed = depart(async move {
            let outcome = journey.await.map(Arc::new);
            landing.keep(&outcome, subject.as_ref(), digest, now);
            drop(landing);
            outcome
        });
        let flight = Flight { number, subject: digest, landed: landed.clone() };
        flights.open.insert(key, flight);
        landed
    }

    fn dice(&self, sought: &Sought<'_>) -> u64 {
        self.seed.hash_one((sought.key, sought.now.0))
    }

    fn drop_tokens(&self, which: impl Fn(&Held) -> bool) {
        self.tokens.retain(|_, held| {
            let goes = which(held);
            Counts::add(&self.counting.cut_off, u64::from(goes));
            !goes
        });
    }

    fn sweep(&self, now: Timestamp) {
        let due = self.next_sweep.load(Relaxed);
        let next = now.0.saturating_add(SWEEP_SECONDS);
        if (now.0 >= due || due > next) && self.next_sweep.compare_exchange(due, next, Relaxed, Relaxed).is_ok() {
            self.tokens.retain(|_, held| !held.lifetime.is_over(now));
            self.refusals.retain(|_, refusal| now < refusal.until);
        }
    }

    fn flights(&self) -> MutexGuard<'_, Flights> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for TokenCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenCache").field("bytes", &self.bytes()).finish_non_exhaustive()
    }
}

/// Ends a flight however it ends, a panic included.
struct Landing {
    cache: Arc<TokenCache>,
    key: CacheKey,
    owner: u64,
    number: u64,
    dice: u64,
}

impl Landing {
    /// Keeps the outcome, unless its subject was forgotten meanwhile (then the flight is no longer listed) or cut off.
    fn keep(&self, outcome: &Outcome, subject: Option<&Secret>, digest: Option<Digest>, now: Timestamp) {
        let cache = &self.cache;
        // Read before the lock is taken: it takes its time.
        let held = outcome.as_ref().ok().and_then(|token| {
            let lifetime = Lifetime::of(token, cache.leeway, self.dice)?;
            let (facets, renew) = (Facets::of(&token.access_token, subject), AtomicI64::new(lifetime.renew));
            let token = Arc::clone(token);
            Some(Arc::new(Held { token, owner: self.owner, subject: digest, facets, lifetime, renew }))
        });
        cache.sweep(now);
        let flights = cache.flights();
        if flights.open.get(&self.key).is_none_or(|flight| flight.number != self.number) {
            return;
        }
        match (held, outcome) {
            (Some(held), _) => {
                cache.refusals.remove(&self.key);
                if flights.cut_off.fit(&held.facets, self.owner, now) {
                    cache.tokens.remove(&self.key);
                } else {
                    cache.tokens.insert(self.key, held);
                }
            }
            (None, Ok(_)) => {
                // One that is not kept takes the place of the one that was: an older one must not be given out after it.
                cache.tokens.remove(&self.key);
            }
            (None, Err(error)) => {
                if error.ends_what_is_held() {
                    cache.tokens.remove(&self.key);
                }
                if error.stays() {
                    let until = now.plus(REFUSAL_SECONDS);
                    let refusal = Refusal { error: error.clone(), until, subject: digest };
                    cache.refusals.insert(self.key, Arc::new(refusal));
                }
            }
        }
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        let mut flights = self.cache.flights();
        if flights.open.get(&self.key).is_some_and(|flight| flight.number == self.number) {
            flights.open.remove(&self.key);
        }
    }
}

#[derive(Clone)]
struct Weigh;

impl Weighter<CacheKey, Arc<Held>> for Weigh {
    fn weight(&self, _: &CacheKey, held: &Arc<Held>) -> u64 {
        (held.token.weight() + held.facets.weight() + size_of::<Held>() + BOOKKEEPING) as u64
    }
}

impl Weighter<CacheKey, Arc<Refusal>> for Weigh {
    fn weight(&self, _: &CacheKey, refusal: &Arc<Refusal>) -> u64 {
        // As text, and twice that for the members that are kept as values.
        let body = refusal.error.body().and_then(|body| serde_json::to_string(body).ok()).map_or(0, |text| text.len());
        (2 * body + size_of::<Refusal>() + size_of::<oauth::ErrorBody>() + BOOKKEEPING) as u64
    }
}
