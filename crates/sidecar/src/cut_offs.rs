//! Cut-offs of a provider that tells of them: what was got or introspected before is no good any more, and without word of
//! them it is good for a while only.
use crate::Sidecar;
use crate::introspect::Inactive;
use crate::provider::Provider;
use crate::settings::{CutOffSettings, EventStream};
use client::{Ask, Client};
use decision::contract::{Claims, Profile};
use decision::{Clock, Timestamp};
use fetch::{Fetch, IssuerKeys};
use guard::{Events, Facets, Subscription, TokenSource};
use oauth::Secret;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// What the stream's token is for: our authority, where it is an application like any other.
const TARGET: &str = "api://deputize/.default";
/// Heartbeats come each second; after so many without one, word is missing.
const SILENCE: i64 = 3;
/// Between two looks for an issuer that is not known yet.
const PAUSE: Duration = Duration::from_secs(1);
/// How long a token can live, in seconds, with what clocks may differ.
const LONGEST_LIFE: i64 = Profile::Entra.max_lifetime() + 60;

/// The cut-offs of one provider.
pub(crate) struct CutOffs {
    settings: CutOffSettings,
    at: EventStream,
    /// Once the issuer is known.
    subscription: OnceLock<Subscription>,
    /// Held tokens that were given out while word was missing.
    without_word: AtomicU64,
}

/// What is remembered of a token that was introspected.
pub(crate) struct Marked {
    /// What cut-offs find it by; `None` from before there was a subscription.
    facets: Option<Facets>,
    needs_word: bool,
}

impl Marked {
    pub(crate) fn weight(&self) -> usize {
        self.facets.as_ref().map_or(0, Facets::weight)
    }
}

impl CutOffs {
    pub(crate) fn new(at: EventStream, settings: CutOffSettings) -> Arc<Self> {
        Arc::new(Self { settings, at, subscription: OnceLock::new(), without_word: AtomicU64::new(0) })
    }

    /// From when on held tokens count: from any time while word arrives, and after that those that are young.
    pub(crate) fn held_since(&self, now: Timestamp) -> Option<Timestamp> {
        (!self.is_heard(now, self.settings.fail_static)).then(|| now.plus(-self.settings.fail_static))
    }

    /// What a token is found by, and whether it counts without word.
    pub(crate) fn mark(&self, claims: &str, kid: &str) -> Result<Marked, Inactive> {
        let claims: Claims = serde_json::from_str(claims).map_err(|_| Inactive::Claims)?;
        let facets = self.subscription.get().map(|subscription| subscription.facets(&claims, Some(kid)));
        Ok(Marked { facets, needs_word: Subscription::needs_word(&claims) })
    }

    /// Whether a mark says all that it would say now.
    pub(crate) fn covers(&self, marked: Option<&Marked>) -> bool {
        self.subscription.get().is_none() || marked.is_some_and(|marked| marked.facets.is_some())
    }

    /// Whether a token was cut off, and whether that is known.
    pub(crate) fn judge(&self, marked: &Marked, now: Timestamp) -> Result<(), Inactive> {
        if let (Some(subscription), Some(facets)) = (self.subscription.get(), &marked.facets)
            && subscription.is_cut_off(facets)
        {
            return Err(Inactive::CutOff);
        }
        // A long life is given on the word that it can be cut short.
        let needed = self.settings.closed || marked.needs_word;
        if needed && !self.is_heard(now, self.settings.fail_static) { Err(Inactive::Unheard) } else { Ok(()) }
    }

    /// A held token was given out.
    pub(crate) fn gave(&self, now: Timestamp) {
        if !self.is_heard(now, SILENCE) {
            self.without_word.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn is_current(&self, now: Timestamp) -> bool {
        self.is_heard(now, SILENCE)
    }

    pub(crate) fn without_word(&self) -> u64 {
        self.without_word.load(Ordering::Relaxed)
    }

    pub(crate) fn status(&self) -> guard::EventsStatus {
        self.subscription.get().map(Subscription::status).unwrap_or_default()
    }

    fn is_heard(&self, now: Timestamp, seconds: i64) -> bool {
        self.subscription.get().is_some_and(|subscription| subscription.is_current(now, seconds))
    }

    /// Subscribes once the issuer is known, and receives as long as it is polled.
    async fn listen(&self, source: Source) {
        let Source { client, keys, stated, fetch, clock } = source;
        let known = || stated.clone().or_else(|| announced(&keys, clock.now()));
        let issuer = loop {
            if let Some(issuer) = known() {
                break issuer;
            }
            keys.refresh(clock.now()).await;
            if known().is_none() {
                tokio::time::sleep(PAUSE).await;
            }
        };
        let authority = issuer.trim_end_matches('/').trim_end_matches("/v2.0");
        let audience = client.client_id().to_owned();
        let mut events =
            Events::new(authority, fetch, Tokens { client: client.clone(), renew: AtomicBool::new(false) });
        if let EventStream::Url(url) = &self.at {
            events = events.at(url);
        }
        let subscription = Subscription::new(events, keys, vec![audience], LONGEST_LIFE)
            .told(move |cut_offs| client.cut_off(cut_offs));
        self.subscription.get_or_init(|| subscription).listen(&*clock).await;
    }
}

/// The issuer that its metadata names.
fn announced(keys: &Arc<IssuerKeys>, now: Timestamp) -> Option<String> {
    let current = keys.current(now)?;
    Some(current.as_ref()?.metadata.as_ref()?.issuer.clone())
}

/// What a subscription is made of.
struct Source {
    client: Client,
    keys: Arc<IssuerKeys>,
    stated: Option<String>,
    fetch: Fetch,
    clock: Arc<dyn Clock>,
}

/// The application's own token, from the engine that gets all others.
struct Tokens {
    client: Client,
    /// The last one did not open the stream.
    renew: AtomicBool,
}

impl TokenSource for Tokens {
    fn token(&self) -> Pin<Box<dyn Future<Output = Result<Secret, String>> + Send + '_>> {
        Box::pin(async move {
            let ask = Ask::application(TARGET).fresh(self.renew.swap(false, Ordering::Relaxed));
            let answered = self.client.ask(&ask).await.map_err(|error| error.to_string())?;
            Ok(answered.token.access_token.clone())
        })
    }

    fn refused(&self) {
        self.renew.store(true, Ordering::Relaxed);
    }
}

impl Sidecar {
    /// Listens to every provider that tells of cut-offs, as long as the sidecar is there. Until then word of them counts as
    /// missing.
    pub fn listen(&self) {
        for provider in self.providers().iter() {
            let (Some(cut_offs), Some(client)) = (provider.cut_offs(), provider.client()) else { continue };
            let source = Source {
                client: client.clone(),
                keys: Arc::clone(provider.keys()),
                stated: provider.issuer().map(str::to_owned),
                fetch: self.streams().clone(),
                clock: self.shared_clock(),
            };
            let cut_offs = Arc::clone(cut_offs);
            self.keep(async move { cut_offs.listen(source).await });
        }
    }
}

impl Provider {
    /// A held token of this provider was given out.
    pub(crate) fn gave(&self, now: Timestamp) {
        if let Some(cut_offs) = self.cut_offs() {
            cut_offs.gave(now);
        }
    }
}
