//! The isolated token cache: one flight per key, bounded in bytes, and nothing outlives its earliest lifetime.
use crate::{CacheKey, Error, Token, TransportError};
use decision::Timestamp;
use oauth::ErrorBody;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// A missing consent is asked about again after so many seconds: short, because somebody may be consenting just now.
const REFUSAL_SECONDS: i64 = 15;
/// What an entry costs beside its texts.
const OVERHEAD: usize = 256;

/// Tokens by [`CacheKey`]. Share one between clients to bound them together.
pub struct TokenCache {
    tokens: Cache<CacheKey, Held, Weigh>,
    refusals: Cache<CacheKey, Refusal, Weigh>,
    /// Held for moments only, never across an await.
    flights: Mutex<Flights>,
}

type Landed = Result<Arc<Token>, Error>;
type Digest = [u8; 32];

#[derive(Default)]
struct Flights {
    last: u64,
    open: HashMap<CacheKey, Flight>,
}

struct Flight {
    number: u64,
    subject: Option<Digest>,
    landed: watch::Receiver<Option<Landed>>,
}

#[derive(Clone)]
struct Held {
    token: Arc<Token>,
    subject: Option<Digest>,
}

#[derive(Clone)]
struct Refusal {
    body: Box<ErrorBody>,
    until: Timestamp,
    subject: Option<Digest>,
}

enum Turn {
    Answered(Landed),
    Waiting(watch::Receiver<Option<Landed>>),
}

impl TokenCache {
    /// A cache that holds at most about `bytes` of tokens, and an eighth of that in refusals.
    pub fn new(bytes: u64) -> Arc<Self> {
        let items = usize::try_from(bytes / 2048).unwrap_or(usize::MAX).clamp(16, 65_536);
        Arc::new(Self {
            tokens: Cache::with_weighter(items, bytes, Weigh),
            refusals: Cache::with_weighter(items / 8 + 1, bytes / 8, Weigh),
            flights: Mutex::default(),
        })
    }

    /// Forgets every token obtained with this subject token (because it was revoked), and what is under way for it: a
    /// request that began before is answered but not kept.
    ///
    /// Nothing here listens for cut-offs: whoever verifies subject tokens and finds one revoked says so. Until then an entry
    /// stays for as long as its token and its subject token do.
    pub fn forget_subject(&self, subject: &oauth::Secret) {
        let subject = Some(crate::key::digest(subject));
        let mut flights = self.flights();
        flights.open.retain(|_, flight| flight.subject != subject);
        self.tokens.retain(|_, held| held.subject != subject);
        self.refusals.retain(|_, refusal| refusal.subject != subject);
    }

    /// How many bytes of tokens are held.
    pub fn bytes(&self) -> u64 {
        self.tokens.weight()
    }

    /// The token under `key`, from the cache or from `acquire`. However many ask at once, `acquire` runs once, in a task
    /// of its own: who stops waiting takes nothing from the others. A failure is told to those who waited for it, and
    /// not remembered (except that consent is missing, for some seconds).
    pub(crate) async fn get_or_acquire(
        self: &Arc<Self>,
        key: CacheKey,
        subject: Option<Digest>,
        now: Timestamp,
        acquire: impl Future<Output = Result<Token, Error>> + Send + 'static,
    ) -> Landed {
        if let Some(answer) = self.answer(&key, now) {
            return answer;
        }
        match self.join_or_lead(key, subject, now, acquire) {
            Turn::Answered(answer) => answer,
            Turn::Waiting(mut landed) => {
                // Nobody sends if the task panicked or its runtime ended; the next caller starts afresh.
                let abandoned = || TransportError("the request was abandoned".to_owned());
                let landed = landed.wait_for(Option::is_some).await.map_err(|_| abandoned())?;
                landed.clone().unwrap_or_else(|| Err(abandoned().into()))
            }
        }
    }

    fn answer(&self, key: &CacheKey, now: Timestamp) -> Option<Landed> {
        if let Some(held) = self.tokens.get(key).filter(|held| now < held.token.usable_until) {
            return Some(Ok(held.token));
        }
        let refusal = self.refusals.get(key).filter(|refusal| now < refusal.until)?;
        Some(Err(Error::Consent { body: refusal.body }))
    }

    fn join_or_lead(
        self: &Arc<Self>,
        key: CacheKey,
        subject: Option<Digest>,
        now: Timestamp,
        acquire: impl Future<Output = Result<Token, Error>> + Send + 'static,
    ) -> Turn {
        let mut flights = self.flights();
        // Asked again under the lock: a flight that landed since the first look has left its answer here.
        if let Some(answer) = self.answer(&key, now) {
            return Turn::Answered(answer);
        }
        if let Some(flight) = flights.open.get(&key) {
            return Turn::Waiting(flight.landed.clone());
        }
        let (tell, landed) = watch::channel(None);
        flights.last += 1;
        let number = flights.last;
        flights.open.insert(key, Flight { number, subject, landed: landed.clone() });
        let landing = Landing { cache: Arc::clone(self), key, number };
        tokio::spawn(async move {
            let outcome = acquire.await.map(Arc::new);
            landing.keep(&outcome, subject, now);
            drop(landing);
            tell.send_replace(Some(outcome));
        });
        Turn::Waiting(landed)
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
    number: u64,
}

impl Landing {
    /// Keeps the outcome, unless the subject was forgotten meanwhile (then the flight is no longer listed).
    fn keep(&self, outcome: &Landed, subject: Option<Digest>, now: Timestamp) {
        let flights = self.cache.flights();
        if flights.open.get(&self.key).is_none_or(|flight| flight.number != self.number) {
            return;
        }
        match outcome {
            Ok(token) if now < token.usable_until => {
                self.cache.refusals.remove(&self.key);
                self.cache.tokens.insert(self.key, Held { token: Arc::clone(token), subject });
            }
            Err(Error::Consent { body }) => {
                let until = now.plus(REFUSAL_SECONDS);
                self.cache.refusals.insert(self.key, Refusal { body: body.clone(), until, subject });
            }
            Ok(_) | Err(_) => {}
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

impl Weighter<CacheKey, Held> for Weigh {
    fn weight(&self, _: &CacheKey, held: &Held) -> u64 {
        (held.token.weight() + OVERHEAD) as u64
    }
}

impl Weighter<CacheKey, Refusal> for Weigh {
    fn weight(&self, _: &CacheKey, refusal: &Refusal) -> u64 {
        let body = &refusal.body;
        let hint = body.deputize_hint.as_ref().map_or(0, |hint| hint.to_string().len() * 2);
        (body.error_description.len() + body.claims.as_ref().map_or(0, String::len) + hint + 2 * OVERHEAD) as u64
    }
}
