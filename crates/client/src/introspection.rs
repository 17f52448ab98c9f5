//! Asking an authority what a token is worth (RFC 7662), and remembering what it said: one question at a time for each token, for
//! no longer than the token lives, and bounded in bytes.
use crate::client::Inner;
use crate::flight::{Landed, depart};
use crate::turns::{Place, Turns};
use crate::upstream::{Counts, FormMaker, Posting, Repeat, success};
use crate::{Cause, Client, Error, TransportError};
use decision::Timestamp;
use oauth::{Form, Secret};
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// How many tokens an authority is asked about at once.
const AT_ONCE: usize = 64;
/// How many may be under way, those that wait counted.
const PLACES: usize = 1_024;
/// How long one waits.
const PATIENCE: Duration = Duration::from_secs(5);
/// What an entry costs beside what is kept.
const BOOKKEEPING: u64 = 160;

impl Client {
    /// What the authority says of a token (RFC 7662 section 2.2): its claims, or nothing where the token is not active.
    ///
    /// ```
    /// # mod authority { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/authority.rs")); }
    /// # use authority::*;
    /// # run(async {
    /// # let endpoints = client::Endpoints { introspection: Some("https://login.example/introspect".into()), ..endpoints() };
    /// # let builder = || client::Client::builder(endpoints.clone(), "orders");
    /// let orders = builder().secret(Secret::new("…")).build(network(), clock(), random());
    /// assert!(orders.introspect(&Secret::new("a token")).await?.is_none());
    /// # Ok(()) });
    /// ```
    ///
    /// # Errors
    /// If there is no answer, or none that says it.
    pub async fn introspect(&self, token: &Secret) -> Result<Option<Map<String, Value>>, Error> {
        self.inner.introspect(token).await
    }
}

impl Inner {
    async fn introspect(&self, token: &Secret) -> Result<Option<Map<String, Value>>, Error> {
        let deadline = Instant::now() + self.upstream.total;
        let endpoints = self.endpoints_with_introspection(deadline).await?;
        let none = "the authority has no introspection endpoint; give the client one, or metadata that names it";
        let url = endpoints.introspection.as_deref().ok_or(Error::Request(none))?;
        let form: &FormMaker<'_> = &|client, endpoints, now| {
            let form = Form::default()
                .with("token", token.expose())
                .with("token_type_hint", "access_token")
                .with("client_id", &client.client_id);
            Box::pin(client.credential.authenticate(form, client, endpoints, now))
        };
        let trace = http::HeaderMap::new();
        let (repeat, counts) = (Repeat::Safe, Counts::Unconnected);
        let posting = Posting { url, endpoints: &endpoints, form, trace: &trace, repeat, counts, deadline };
        self.post(posting, &|reply, now, _| read(&success(reply, now, self.upstream.max_bytes)?)).await
    }
}

fn read(body: &[u8]) -> Result<Option<Map<String, Value>>, Error> {
    let unusable = Error::Answer("it is no introspection response (RFC 7662 section 2.2)");
    // Of a name twice, two readers could read different ones.
    jose::strict_json(body).map_err(|_| unusable.clone())?;
    let claims: Map<String, Value> = serde_json::from_slice(body).map_err(|_| unusable.clone())?;
    match claims.get("active") {
        Some(Value::Bool(true)) => Ok(Some(claims)),
        Some(Value::Bool(false)) => Ok(None),
        _ => Err(unusable),
    }
}

/// What an authority said of a token.
#[derive(Debug)]
pub enum Introspected<T> {
    /// It is worth nothing.
    Inactive,
    /// It is active, and this was made of its claims.
    Active(Arc<T>),
}

impl<T> Clone for Introspected<T> {
    fn clone(&self) -> Self {
        match self {
            Self::Inactive => Self::Inactive,
            Self::Active(made) => Self::Active(Arc::clone(made)),
        }
    }
}

/// What is kept of an active token.
#[derive(Debug)]
pub struct Kept<T> {
    /// What was made of its claims.
    pub value: T,
    /// When the token ends.
    pub expires: Timestamp,
    /// How many bytes it takes.
    pub bytes: u64,
}

/// Makes something of a token and its claims; what nothing can be made of is worth nothing.
type Maker<T> = dyn Fn(&Secret, Map<String, Value>) -> Option<Kept<T>> + Send + Sync;
type Key = [u8; 32];
type Outcome<T> = Result<Introspected<T>, Error>;

/// What an authority said of tokens, remembered for a while.
pub struct Introspections<T> {
    client: Client,
    make: Box<Maker<T>>,
    /// How many seconds an answer is good for: that a token is active, and that it is not.
    seconds: (i64, i64),
    cache: Cache<Key, Remembered<T>, Bytes>,
    /// Held for moments only, never across an await.
    flights: Mutex<HashMap<Key, Landed<Outcome<T>>>>,
    turns: Arc<Turns>,
}

struct Remembered<T> {
    said: Introspected<T>,
    until: Timestamp,
    bytes: u64,
}

impl<T> Clone for Remembered<T> {
    fn clone(&self) -> Self {
        Self { said: self.said.clone(), until: self.until, bytes: self.bytes }
    }
}

#[derive(Clone)]
struct Bytes;

impl<T> Weighter<Key, Remembered<T>> for Bytes {
    fn weight(&self, _: &Key, remembered: &Remembered<T>) -> u64 {
        remembered.bytes + BOOKKEEPING
    }
}

impl<T: Send + Sync + 'static> Introspections<T> {
    /// Asks through this client. What is active is remembered for `active` seconds and no longer than the token lives, what is
    /// not for `inactive` seconds, in `bytes` bytes at most.
    pub fn new(
        client: Client,
        bytes: u64,
        (active, inactive): (i64, i64),
        make: impl Fn(&Secret, Map<String, Value>) -> Option<Kept<T>> + Send + Sync + 'static,
    ) -> Arc<Self> {
        let entries = usize::try_from(bytes / 1_024).unwrap_or(usize::MAX).clamp(16, 65_536);
        Arc::new(Self {
            client,
            make: Box::new(make),
            seconds: (active, inactive),
            cache: Cache::with_weighter(entries, bytes, Bytes),
            flights: Mutex::default(),
            turns: Turns::new(AT_ONCE, PLACES),
        })
    }

    /// What is remembered of a token.
    pub fn known(&self, token: &str) -> Option<Introspected<T>> {
        self.find(&key(token))
    }

    /// How many bytes are held.
    pub fn bytes(&self) -> u64 {
        self.cache.weight()
    }

    /// What the authority says of a token. Who asks about the same one at once shares one question, which goes on when one of
    /// them stops waiting. `asker` is the address for which it is asked: 64 questions are asked at once, and 960 more may wait.
    /// Once half of either are taken no address has more than a quarter, and whoever has fewest is next: who makes tokens up
    /// keeps nobody else from an answer.
    ///
    /// # Errors
    /// If it does not say it, or this asker has too many questions. That is not remembered, but for the client's own rest after
    /// failures.
    pub async fn ask(self: &Arc<Self>, token: &Secret, asker: Option<IpAddr>) -> Result<Introspected<T>, Error> {
        let key = key(token.expose());
        if let Some(said) = self.find(&key) {
            return Ok(said);
        }
        let landed = {
            let mut flights = self.flights();
            if let Some(flight) = flights.get(&key).filter(|flight| flight.is_under_way()) {
                flight.clone()
            } else {
                let (this, token) = (Arc::clone(self), token.clone());
                let place = self.turns.enter(asker).ok_or(TransportError::from(Cause::Resting(1)))?;
                let flight = depart(async move { this.journey(key, &token, &place).await });
                flights.insert(key, flight.clone());
                flight
            }
        };
        landed.wait().await.unwrap_or_else(|| Err(TransportError::from(Cause::Abandoned).into()))
    }

    async fn journey(&self, key: Key, token: &Secret, place: &Place) -> Outcome<T> {
        // However it ends, it is over.
        let _over = Over(&self.flights, key);
        let turn = timeout(PATIENCE, place.turn()).await;
        let Ok(Some(_turn)) = turn else { return Err(TransportError::from(Cause::Resting(1)).into()) };
        let claims = self.client.introspect(token).await?;
        let now = self.client.inner.clock.now();
        let (active, inactive) = self.seconds;
        let made = claims.and_then(|claims| (self.make)(token, claims));
        let remembered = match made {
            Some(Kept { value, expires, bytes }) => {
                Remembered { said: Introspected::Active(Arc::new(value)), until: now.plus(active).min(expires), bytes }
            }
            None => Remembered { said: Introspected::Inactive, until: now.plus(inactive), bytes: 0 },
        };
        let said = remembered.said.clone();
        if remembered.until > now {
            self.cache.insert(key, remembered);
        }
        Ok(said)
    }

    fn find(&self, key: &Key) -> Option<Introspected<T>> {
        let now = self.client.inner.clock.now();
        let remembered = self.cache.get(key)?;
        let (active, inactive) = self.seconds;
        // An end that lies far ahead means that the clock was set back.
        if now < remembered.until && remembered.until.since(now) <= active.max(inactive) {
            return Some(remembered.said);
        }
        self.cache.remove(key);
        None
    }

    fn flights(&self) -> MutexGuard<'_, HashMap<Key, Landed<Outcome<T>>>> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes a flight off the board.
struct Over<'a, T>(&'a Mutex<HashMap<Key, Landed<Outcome<T>>>>, Key);

impl<T> Drop for Over<'_, T> {
    fn drop(&mut self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.1);
    }
}

fn key(token: &str) -> Key {
    Sha256::digest(token.as_bytes()).into()
}

impl<T> std::fmt::Debug for Introspections<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Introspections").field("client", &self.client).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::read;

    #[test]
    fn an_answer_says_each_thing_once() {
        assert!(read(br#"{"active":true,"sub":"ada"}"#).unwrap().is_some());
        for body in [r#"{"active":true,"active":false}"#, r#"{"active":true,"sub":"ada","sub":"eve"}"#, "[]", "", "{}"]
        {
            assert!(read(body.as_bytes()).is_err(), "{body}");
        }
    }
}
