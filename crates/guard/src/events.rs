//! The authority's stream of cut-offs: subscribing, receiving, and knowing when it is lost.
use crate::cut_offs::{CutOffs, Facets, Void};
use crate::event_token::{Verdict, read};
use crate::evidence::Proven;
use crate::server_sent::Lines;
use decision::contract::{Claims, TrustedIssuer, issuer_matches};
use decision::{Clock, CutOff, Timestamp};
use fetch::{Fetch, IssuerKeys};
use http::{HeaderMap, HeaderValue, header};
use oauth::Secret;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tracing::{info, warn};

/// Heartbeats come each second; after so long without a word the connection is given up, and a new one is made in time for
/// what is told within five seconds.
const SILENCE: Duration = Duration::from_secs(3);
/// Between two attempts, at first and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

/// Where the token comes from that the stream is opened with: of the API's own application, with the app role `Events.Read`
/// of `api://deputize`.
pub trait TokenSource: Send + Sync {
    /// A current token, or why there is none.
    fn token(&self) -> Pin<Box<dyn Future<Output = Result<Secret, String>> + Send + '_>>;

    /// The stream was not opened with the last token: one that is kept here may be good no more.
    fn refused(&self) {}
}

impl<F, T> TokenSource for F
where
    F: Fn() -> T + Send + Sync,
    T: Future<Output = Result<Secret, String>> + Send + 'static,
{
    fn token(&self) -> Pin<Box<dyn Future<Output = Result<Secret, String>> + Send + '_>> {
        Box::pin(self())
    }
}

/// A subscription to the cut-offs of one tenant of an authority.
pub struct Events {
    authority: String,
    url: String,
    fetch: Fetch,
    tokens: Arc<dyn TokenSource>,
}

impl Events {
    /// `authority` is `https://HOST/{tenant id}`.
    pub fn new(authority: impl Into<String>, fetch: Fetch, tokens: impl TokenSource + 'static) -> Self {
        let authority = authority.into().trim_end_matches('/').to_owned();
        Self { url: format!("{authority}/events"), authority, fetch, tokens: Arc::new(tokens) }
    }

    /// Where the stream is, if it is reached elsewhere than at its authority's address.
    pub fn at(mut self, url: impl Into<String>) -> Self {
        self.url = url.into();
        self
    }

    /// The issuers whose tokens it is about: of both versions.
    pub(crate) fn issuers(&self) -> [String; 2] {
        [format!("{}/v2.0", self.authority), format!("{}/", self.authority)]
    }

    pub(crate) fn authority(&self) -> &str {
        &self.authority
    }

    /// Whether they are about tokens of this issuer.
    pub(crate) fn are_about(&self, entry: &TrustedIssuer) -> bool {
        self.issuers().iter().any(|iss| issuer_matches(&entry.issuer, iss, Some(self.tenant())))
    }

    pub(crate) fn tenant(&self) -> &str {
        self.authority.rsplit('/').next().unwrap_or_default()
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").field("authority", &self.authority).finish_non_exhaustive()
    }
}

/// How a subscription fares: for readiness, metrics and people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventsStatus {
    /// Whose cut-offs.
    pub authority: String,
    /// When the stream last said that everything had been told; `None` if it never did.
    pub current_at: Option<Timestamp>,
    /// The last change that was told.
    pub place: u64,
    /// How many cut-offs are held.
    pub held: usize,
    /// How many have been received.
    pub received: u64,
    /// Connections made.
    pub connections: u64,
    /// Connections that failed or were lost.
    pub failures: u64,
    /// Tokens that were refused because they were cut off.
    pub refused: u64,
    /// Requests that were let in while the stream was lost, on routes that allow it.
    pub let_in: u64,
    /// Requests that were refused because the stream was lost.
    pub unavailable: u64,
    /// Why it is lost, where it is.
    pub fault: Option<String>,
}

/// A longer life than this, in seconds, is given on the word that it can be cut short.
pub(crate) const UNHEARD: i64 = 5_400;

type Told = Box<dyn Fn(&[CutOff]) + Send + Sync>;

/// One subscription at work: what has been cut off, as long as tokens live that it is about. A guard has its own; this is for
/// whoever else keeps tokens, or judges them by rules of their own.
///
/// ```
/// # async fn example(keys: std::sync::Arc<fetch::IssuerKeys>, clock: &dyn decision::Clock) -> Result<(), fetch::FetchError> {
/// # let tokens = || async { Ok(oauth::Secret::new("…")) };
/// # let forget = |_: &[decision::CutOff]| {};
/// use deputize_guard::{Events, Fetch, Subscription};
/// let events = Events::new("https://id.example/t1", Fetch::builder().build()?, tokens);
/// let subscription = Subscription::new(events, keys, vec!["api://billing".into()], 86_400).told(forget);
/// subscription.listen(clock).await;
/// # Ok(()) }
/// ```
pub struct Subscription {
    events: Events,
    issuers: [String; 2],
    keys: Arc<IssuerKeys>,
    audiences: Vec<String>,
    told: Told,
    cut_offs: CutOffs,
    /// How long a token can live that was issued before a cut-off.
    longest_life: i64,
    current_at: AtomicI64,
    place: AtomicU64,
    pub(crate) counts: Counts,
    fault: Mutex<Option<String>>,
}

#[derive(Default)]
pub(crate) struct Counts {
    received: AtomicU64,
    connections: AtomicU64,
    failures: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) let_in: AtomicU64,
    pub(crate) unavailable: AtomicU64,
}

/// No word yet.
const NEVER: i64 = i64::MIN;

impl Subscription {
    /// To these events, which these keys sign, for one of these audiences. A cut-off is kept for `longest_life` seconds: so
    /// long a token can live.
    pub fn new(events: Events, keys: Arc<IssuerKeys>, audiences: Vec<String>, longest_life: i64) -> Self {
        Self {
            issuers: events.issuers(),
            events,
            keys,
            audiences,
            told: Box::new(|_| {}),
            cut_offs: CutOffs::new(),
            longest_life,
            current_at: AtomicI64::new(NEVER),
            place: AtomicU64::new(0),
            counts: Counts::default(),
            fault: Mutex::default(),
        }
    }

    /// Tells of cut-offs too, as they are received, before they count as told; no tenant is named, as all are of this one.
    #[must_use]
    pub fn told(mut self, told: impl Fn(&[CutOff]) + Send + Sync + 'static) -> Self {
        self.told = Box::new(told);
        self
    }

    /// What a token is found by, of claims that are proven, and the key that proved them.
    pub fn facets(&self, claims: &Claims, kid: Option<&str>) -> Facets {
        self.cut_offs.facets(claims, kid)
    }

    /// Whether a token was cut off after it was issued.
    pub fn is_cut_off(&self, facets: &Facets) -> bool {
        let cut_off = self.cut_offs.void(facets).is_some();
        self.counts.refused.fetch_add(u64::from(cut_off), Ordering::Relaxed);
        cut_off
    }

    /// Whether a token is good only while its cut-offs arrive: it lives longer than 90 minutes, or does not say how long.
    pub fn needs_word(claims: &Claims) -> bool {
        let (Some(exp), Some(iat)) = (claims.expires(), claims.issued_at()) else { return true };
        exp.since(iat) > UNHEARD
    }

    pub(crate) fn void(&self, proven: &Proven) -> Option<Void> {
        self.cut_offs.void(proven.facets.get_or_init(|| self.facets(&proven.claims, proven.kid.as_deref())))
    }

    /// When the stream last said that everything had been told; `None` if it never did.
    pub fn current_at(&self) -> Option<Timestamp> {
        let at = self.current_at.load(Ordering::Acquire);
        (at != NEVER).then_some(Timestamp(at))
    }

    /// Whether it is about tokens of this issuer.
    pub(crate) fn is_about(&self, issuer: &str) -> bool {
        self.issuers.iter().any(|known| known == issuer)
    }

    pub(crate) fn is_about_tokens_of(&self, entry: &TrustedIssuer) -> bool {
        self.events.are_about(entry)
    }

    /// Whose cut-offs.
    pub(crate) fn authority(&self) -> &str {
        self.events.authority()
    }

    /// Whether everything up to some seconds ago is known here.
    pub fn is_current(&self, now: Timestamp, fail_static: i64) -> bool {
        self.current_at().is_some_and(|at| now.since(at) <= fail_static)
    }

    /// How it fares.
    pub fn status(&self) -> EventsStatus {
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        EventsStatus {
            authority: self.events.authority.clone(),
            current_at: self.current_at(),
            place: count(&self.place),
            held: self.cut_offs.len(),
            received: count(&self.counts.received),
            connections: count(&self.counts.connections),
            failures: count(&self.counts.failures),
            refused: count(&self.counts.refused),
            let_in: count(&self.counts.let_in),
            unavailable: count(&self.counts.unavailable),
            fault: self.fault.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }

    /// Receives as long as it is polled.
    pub async fn listen(&self, clock: &dyn Clock) {
        let mut pause = PAUSES.0;
        loop {
            let before = self.place.load(Ordering::Relaxed);
            let heard = self.counts.received.load(Ordering::Relaxed);
            let fault = Box::pin(self.receive(clock)).await;
            self.counts.failures.fetch_add(1, Ordering::Relaxed);
            let (authority, reason) = (&self.events.authority, &fault);
            warn!(events.authority = %authority, reason = %reason, "the stream of cut-offs is lost");
            *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = Some(fault);
            let moved = (self.place.load(Ordering::Relaxed), self.counts.received.load(Ordering::Relaxed));
            pause = if moved == (before, heard) { pause.saturating_mul(2).min(PAUSES.1) } else { PAUSES.0 };
            tokio::time::sleep(pause).await;
        }
    }

    /// One connection, until it is lost. Answers why.
    async fn receive(&self, clock: &dyn Clock) -> String {
        let token = match self.events.tokens.token().await {
            Ok(token) => token,
            Err(reason) => return format!("there is no token for it: {reason}"),
        };
        let Ok(mut bearer) = HeaderValue::from_str(&format!("Bearer {}", token.expose())) else {
            return "the token for it is no text that a header can hold".into();
        };
        bearer.set_sensitive(true);
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, bearer);
        headers.insert(header::ACCEPT, HeaderValue::from_static("text/event-stream"));
        let place = self.place.load(Ordering::Relaxed);
        if place > 0 {
            headers.insert("last-event-id", HeaderValue::from(place));
        }
        let opening = Box::pin(self.events.fetch.stream(&self.events.url, headers));
        let mut answer = match tokio::time::timeout(SILENCE, opening).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return error.to_string(),
            Err(_) => return "it does not answer".into(),
        };
        if answer.status != http::StatusCode::OK {
            self.events.tokens.refused();
            return format!("it answers with status {}", answer.status.as_u16());
        }
        self.counts.connections.fetch_add(1, Ordering::Relaxed);
        let mut lines = Lines::default();
        loop {
            let chunk = match answer.chunk(SILENCE).await {
                Ok(Some(chunk)) => chunk,
                Ok(None) => return "the authority ended it".into(),
                Err(error) => return error.to_string(),
            };
            let Some(events) = lines.take(&chunk) else { return "an event is larger than is read".into() };
            let mut cut = Vec::new();
            let (mut place, mut current) = (None, false);
            for event in events {
                match event.kind.as_str() {
                    "cut-off" => match self.cut_off(&event.data, clock.now()).await {
                        Ok(found) => cut.extend(found),
                        // What cannot be read may be what matters: the stream counts as lost until it can.
                        Err(reason) => return format!("an event cannot be taken: {reason}"),
                    },
                    "current" => current = true,
                    _ => {}
                }
                place = event.id.as_deref().and_then(|id| id.parse().ok()).or(place);
            }
            let now = clock.now();
            self.counts.received.fetch_add(cut.len() as u64, Ordering::Relaxed);
            let subjects: Vec<CutOff> = cut.iter().map(|(subject, _)| subject.clone()).collect();
            self.cut_offs.add(cut, now.plus(-self.longest_life));
            if !subjects.is_empty() {
                (self.told)(&subjects);
            }
            if let Some(place) = place {
                self.place.store(place, Ordering::Relaxed);
            }
            if current {
                self.current_at.store(now.0, Ordering::Release);
                if self.fault.lock().unwrap_or_else(PoisonError::into_inner).take().is_some() {
                    info!(events.authority = %self.events.authority, "the stream of cut-offs is back");
                }
            }
        }
    }

    async fn cut_off(&self, token: &str, now: Timestamp) -> Result<Option<(CutOff, Void)>, String> {
        let judged =
            |keys: &Arc<IssuerKeys>| read(token, keys, &self.issuers, self.events.tenant(), &self.audiences, now);
        match judged(&self.keys) {
            Verdict::UnknownKey => {
                self.keys.refresh(now).await;
                judged(&self.keys).taken()
            }
            other => other.taken(),
        }
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").field("events", &self.events).finish_non_exhaustive()
    }
}
