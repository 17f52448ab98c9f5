//! Endpoints that are learnt: from metadata (RFC 8414, OpenID Connect Discovery), when they are first needed.
use crate::client::Inner;
use crate::flight::{Landed, depart};
use crate::{Body, Cause, Client, Endpoints, Error, Random, Transport, TransportError};
use decision::{Clock, Timestamp};
use oauth::metadata::Metadata;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, timeout, timeout_at};
use tracing::warn;

/// How long one fetch may take.
const LONGEST: Duration = Duration::from_secs(10);
/// The longest pause between two fetches that fail, in seconds.
const LONGEST_PAUSE: i64 = 60;

/// What a metadata document says, fetched once: by one request at a time, less and less often while it fails.
pub(crate) struct Discovery {
    url: String,
    learnt: OnceLock<Endpoints>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    flight: Option<Landed<Result<(), Error>>>,
    failures: u32,
    failed: Option<(Error, Timestamp)>,
}

impl Discovery {
    pub(crate) fn new(url: String) -> Arc<Self> {
        Arc::new(Self { url, learnt: OnceLock::new(), state: Mutex::default() })
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The endpoints as far as they are known.
    pub(crate) fn learnt(&self) -> Option<&Endpoints> {
        self.learnt.get()
    }

    async fn learn(self: &Arc<Self>, client: &Inner, deadline: Instant) -> Result<&Endpoints, Error> {
        if let Some(learnt) = self.learnt.get() {
            return Ok(learnt);
        }
        let landed = self.join_or_lead(client)?;
        let late = || Error::from(TransportError::from(Cause::Timeout));
        let abandoned = || Error::from(TransportError::from(Cause::Abandoned));
        timeout_at(deadline, landed.wait()).await.map_err(|_| late())?.ok_or_else(abandoned)??;
        self.learnt.get().ok_or_else(abandoned)
    }

    fn join_or_lead(self: &Arc<Self>, client: &Inner) -> Result<Landed<Result<(), Error>>, Error> {
        let now = client.clock.now();
        let mut state = self.state();
        if let Some(flight) = state.flight.clone().filter(Landed::is_under_way) {
            return Ok(flight);
        }
        if let Some((error, until)) = &state.failed {
            // A pause that lies far ahead means that the clock was set back.
            if (1..=2 * LONGEST_PAUSE).contains(&until.since(now)) {
                return Err(error.clone());
            }
        }
        let (this, transport) = (Arc::clone(self), Arc::clone(&client.transport));
        let (clock, random) = (Arc::clone(&client.clock), Arc::clone(&client.random));
        let flight = depart(async move { this.fetch(&*transport, &*clock, &*random).await });
        state.flight = Some(flight.clone());
        Ok(flight)
    }

    async fn fetch(&self, transport: &dyn Transport, clock: &dyn Clock, random: &dyn Random) -> Result<(), Error> {
        let fetched = match timeout(LONGEST, document(transport, &self.url)).await {
            Ok(fetched) => fetched,
            Err(_) => Err(TransportError::from(Cause::Timeout).into()),
        };
        let endpoints = fetched.and_then(|metadata| {
            let issuer = metadata.issuer.trim_end_matches('/');
            if !self.url.starts_with(issuer) {
                warn!(metadata.url = %self.url, metadata.issuer = issuer, "the metadata is of an issuer with another address");
            }
            Endpoints::from_metadata(&metadata).ok_or(Error::Answer("its metadata names no token endpoint (RFC 8414)"))
        });
        let mut state = self.state();
        match endpoints {
            Ok(endpoints) => {
                (state.failures, state.failed) = (0, None);
                self.learnt.get_or_init(|| endpoints);
                Ok(())
            }
            Err(error) => {
                let mut dice = [0; 1];
                random.fill(&mut dice);
                let pause = (1_i64 << state.failures.min(6)).min(LONGEST_PAUSE);
                let jitter = pause * i64::from(dice[0]) / 512;
                warn!(metadata.url = %self.url, metadata.fault = %error, "an authority's metadata could not be fetched; it is tried again");
                state.failures += 1;
                state.failed = Some((error.clone(), clock.now().plus(pause + jitter)));
                Err(error)
            }
        }
    }

    // For a few instructions, never across an await.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn document(transport: &dyn Transport, url: &str) -> Result<Metadata, Error> {
    let request = http::Request::get(url)
        .header(http::header::ACCEPT, "application/json")
        .body(Body::default())
        .map_err(|_| Error::Request("the metadata's address is not a URL; correct it"))?;
    let reply = transport.send(request).await?;
    match reply.status().as_u16() {
        200 => serde_json::from_slice(reply.body())
            .map_err(|_| Error::Answer("its metadata is not a metadata document (RFC 8414 section 2)")),
        300..400 => Err(TransportError::from(Cause::Redirect).into()),
        status => Err(Error::Unreadable { status, retry_after: None }),
    }
}

impl Client {
    /// Learns the endpoints that are not known yet, where there is an address to discover them; who asks for a token later
    /// does not wait for them.
    ///
    /// # Errors
    /// If they cannot be learnt now. Whoever asks for a token tries again.
    pub async fn learn(&self) -> Result<(), Error> {
        self.inner.endpoints(Instant::now() + LONGEST).await.map(drop)
    }

    /// Learns everything that the metadata says, also where a token endpoint and an issuer were given: where users sign in and
    /// out, for [`Client::authorization_code_url`].
    ///
    /// # Errors
    /// If it cannot be learnt now.
    pub async fn learn_all(&self) -> Result<(), Error> {
        match &self.inner.discovery {
            Some(discovery) => discovery.learn(&self.inner, Instant::now() + LONGEST).await.map(drop),
            None => Ok(()),
        }
    }
}

impl Inner {
    /// The same with the introspection endpoint.
    pub(crate) async fn endpoints_with_introspection(&self, deadline: Instant) -> Result<Endpoints, Error> {
        let known = self.endpoints(deadline).await?;
        match (&known.introspection, &self.discovery) {
            (None, Some(discovery)) => Ok(known.or(discovery.learn(self, deadline).await?.clone())),
            _ => Ok(known),
        }
    }

    /// The endpoints: those that were given, completed with those that are learnt.
    pub(crate) async fn endpoints(&self, deadline: Instant) -> Result<Endpoints, Error> {
        let given = &self.endpoints;
        match &self.discovery {
            Some(discovery) if given.token.is_empty() || given.issuer.is_none() => {
                Ok(given.clone().or(discovery.learn(self, deadline).await?.clone()))
            }
            _ if given.token.is_empty() => {
                Err(Error::Request("the client knows no token endpoint; give it one, or an address to discover it"))
            }
            _ => Ok(given.clone()),
        }
    }
}
