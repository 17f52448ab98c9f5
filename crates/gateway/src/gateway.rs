//! The gateway itself: each request through its phases, in the one order there is.
mod effective;
mod forward;
mod permit;

pub use effective::Effective;

use crate::access_log::AccessLog;
use crate::address;
use crate::after::After;
use crate::body::{Body, Downloading, Streamed, rest};
use crate::canonical::take_hop_by_hop_of_answer;
use crate::denial::Denial;
use crate::front::Entrance;
use crate::ids::Ids;
use crate::limits::{Limits, Shared};
use crate::onward::Onward;
use crate::policy::ToldCertificates;
use crate::record::Record;
use crate::rotating::Fares;
use crate::secrets::Counts;
use crate::settings::{Compiled, Door, File, Lasting, SettingsError, compile};
use crate::store::Store;
use crate::telemetry::Telemetry;
use crate::told_certificate::CertificateField;
use crate::upstream;
use crate::websocket::{self, Opening, Tunnel};
use arc_swap::ArcSwap;
use bytes::Bytes;
use client::managed_identity::ManagedIdentity;
use client::{Random, TokenCache};
use decision::{CheckId, Clock};
use fetch::{Fetch, KeySets};
use forward::{Answered, Arrived, forward};
use guard::Guard;
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version};
use hyper::body::{Body as _, Incoming};
use permit::Ended;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use tokio::sync::watch;

/// What a gateway needs from outside. It outlives configurations: keys and tokens stay when a new one is read.
#[derive(Clone)]
pub struct Ports {
    /// The keys of issuers.
    pub key_sets: Arc<KeySets>,
    /// How authorities are asked for tokens.
    pub tokens: Arc<dyn client::Transport>,
    /// How streams of cut-offs are opened.
    pub streams: Fetch,
    /// The tokens that were got from them.
    pub token_cache: Arc<TokenCache>,
    /// The managed identities of the host.
    pub host: ManagedIdentity,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Unpredictable bytes.
    pub random: Arc<dyn Random>,
    /// Names for decisions.
    pub ids: Arc<Ids>,
    /// Where requests are told of, a line each.
    pub access_log: Arc<AccessLog>,
    /// What is counted, traced and watched.
    pub telemetry: Arc<Telemetry>,
    /// Subscriptions and usage beside those of the file, where there is a management API.
    pub store: Option<Arc<Store>>,
}

/// Answers requests by its configuration, which can be replaced as a whole.
pub struct Gateway {
    state: ArcSwap<Compiled>,
    ports: Ports,
    limits: Arc<Limits>,
    /// What proxies tell of their callers.
    told: ToldCertificates,
    /// Whether it leaves.
    leaves: watch::Sender<bool>,
}

/// Where a request came from.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    /// The other end of the connection.
    pub address: IpAddr,
    /// Whether the connection is encrypted.
    pub is_tls: bool,
    /// Where it tells of its caller's certificate, if it is a trusted proxy.
    pub told_in: Option<CertificateField>,
}

/// A configuration that is sound, and answers nothing yet.
pub struct Prepared(Compiled);

impl Prepared {
    /// How many operations it has.
    pub fn operations(&self) -> usize {
        self.0.routes.all().len()
    }

    /// Whether TLS is spoken, for each listener in the order of [`File::addresses`].
    pub fn are_encrypted(&self) -> Vec<bool> {
        let callers = self.0.lasting.doors.iter().filter(|door| &*door.name != Door::MANAGEMENT);
        callers.map(|door| door.tls.is_some()).collect()
    }

    /// Whether TLS is spoken at the management API, where there is one.
    pub fn is_management_encrypted(&self) -> Option<bool> {
        let door = self.0.lasting.doors.iter().find(|door| &*door.name == Door::MANAGEMENT);
        door.map(|door| door.tls.is_some())
    }
}

impl Gateway {
    /// A gateway by this file. Nothing is fetched before it is needed.
    ///
    /// # Errors
    /// The first thing that is wrong with the file.
    pub fn new(
        file: &File,
        variable: &dyn Fn(&str) -> Option<String>,
        beside: &Path,
        ports: Ports,
    ) -> Result<Self, SettingsError> {
        let limits = Arc::new(match &ports.store {
            Some(store) => Limits::with(store.quotas()),
            None => Limits::default(),
        });
        let state = compile(file, variable, beside, &ports, &limits, &Lasting::default())?;
        let (told, leaves) = (ToldCertificates::default(), watch::Sender::new(false));
        Ok(Self { state: ArcSwap::from_pointee(state), ports, limits, told, leaves })
    }

    /// Ends the streams of events that are open, as if they were whole, for who has asked for them with GET: such a reader asks again, and
    /// another gateway by then. All else goes on.
    pub fn leave(&self) {
        self.leaves.send_replace(true);
    }

    /// From now on answers by this file. Requests that are under way end as they began; where something is wrong with the
    /// file, nothing changes.
    ///
    /// # Errors
    /// The first thing that is wrong with the file.
    pub fn reload(
        &self,
        file: &File,
        variable: &dyn Fn(&str) -> Option<String>,
        beside: &Path,
    ) -> Result<(), SettingsError> {
        self.prepare(file, variable, beside).map(|prepared| self.adopt(prepared))
    }

    /// What this file would come to, and what of the present configuration would go on. Nothing changes yet.
    ///
    /// # Errors
    /// The first thing that is wrong with the file.
    pub fn prepare(
        &self,
        file: &File,
        variable: &dyn Fn(&str) -> Option<String>,
        beside: &Path,
    ) -> Result<Prepared, SettingsError> {
        let before = self.state.load_full();
        compile(file, variable, beside, &self.ports, &self.limits, &before.lasting).map(Prepared)
    }

    /// From now on answers by this configuration. Requests that are under way end as they began.
    pub fn adopt(&self, Prepared(state): Prepared) {
        self.state.store(Arc::new(state));
    }

    /// Fetches the keys and the secrets that are not at hand yet; whether all are now. Requests would do it too.
    pub async fn warm(self: &Arc<Self>) -> bool {
        self.fetch().await;
        let mut ready = self.missing().is_empty();
        let guards: Vec<Guard> = self.state.load().guards.clone();
        for guard in guards {
            ready &= guard.ready().await;
        }
        ready
    }

    /// What answers requests now.
    pub(crate) fn state(&self) -> Arc<Compiled> {
        self.state.load_full()
    }

    /// What it needs from outside.
    pub(crate) fn ports(&self) -> &Ports {
        &self.ports
    }

    /// Subscriptions and usage beside those of the file.
    pub fn store(&self) -> Option<&Arc<Store>> {
        self.ports.store.as_ref()
    }

    /// What is counted, traced and watched.
    pub(crate) fn telemetry(&self) -> &Telemetry {
        &self.ports.telemetry
    }

    /// The tokens that services are sent.
    pub(crate) fn token_cache(&self) -> &TokenCache {
        &self.ports.token_cache
    }

    /// How many bytes verified tokens take.
    pub(crate) fn verified_bytes(&self) -> u64 {
        self.state.load().guards.iter().map(Guard::cached_bytes).sum()
    }

    /// Issuers of callers' tokens, and how their keys fare; `None` where there are none yet.
    pub(crate) fn issuers(&self) -> Vec<(String, Option<fetch::Status>)> {
        let state = self.state.load();
        let now = self.ports.clock.now();
        let mut all = std::collections::BTreeMap::new();
        for guard in &state.guards {
            for (issuer, keys) in guard.contract().issuers.iter().zip(guard.issuers()) {
                let status = keys.current(now).is_some().then(|| keys.status());
                all.insert(issuer.issuer.clone(), status);
            }
        }
        all.into_iter().collect()
    }

    /// Where gateways count together.
    pub(crate) fn shared_limits(&self) -> Option<Arc<Shared>> {
        self.state.load().lasting.shared_limits.clone()
    }

    /// How what is told of cut-offs fares.
    pub(crate) fn cut_offs(&self) -> Vec<guard::EventsStatus> {
        self.state.load().lasting.heard.values().map(|heard| heard.status()).collect()
    }

    /// Looks whether the files that policies and credentials are made of have changed, and what was fetched for them: what is there
    /// is used from then on, and where it is of no use, what was there before. It waits for the disk.
    pub fn look(&self) {
        let state = self.state.load_full();
        for rotating in &state.rotating {
            rotating.look();
        }
    }

    /// Whether this is the address of a proxy, which carries the requests of many.
    pub fn is_proxy(&self, address: IpAddr) -> bool {
        address::is_trusted(address.to_canonical(), &self.state.load().proxies)
    }

    /// Asks vaults and commands for what is due, and uses what is new. Nothing is asked for twice at once.
    pub async fn fetch(self: &Arc<Self>) {
        let (state, now) = (self.state.load_full(), self.ports.clock.now());
        let mut asked = tokio::task::JoinSet::new();
        for fetched in state.lasting.fetched.values().filter(|fetched| fetched.is_due(now)) {
            let (fetched, random) = (Arc::clone(fetched), Arc::clone(&self.ports.random));
            asked.spawn(async move { fetched.refresh(now, &*random).await });
        }
        let mut is_new = false;
        while let Some(came) = asked.join_next().await {
            is_new |= came.unwrap_or_default();
        }
        if is_new {
            let gateway = Arc::clone(self);
            let _ = tokio::task::spawn_blocking(move || gateway.look()).await;
        }
    }

    /// What is sound, and yet lets by what is refused otherwise.
    pub fn remarks(&self) -> Vec<String> {
        self.state.load().remarks.clone()
    }

    /// What has to be fetched and is not there: requests that need it are refused.
    pub fn missing(&self) -> Vec<String> {
        let state = self.state.load();
        let missing = state.lasting.fetched.values().filter(|fetched| !fetched.is_there());
        let mut missing: Vec<String> = missing.map(|fetched| fetched.name().to_owned()).collect();
        let broken = state.rotating.iter().map(|rotating| rotating.fares()).filter(|fares| !fares.is_there);
        missing.extend(broken.map(|fares| fares.from));
        missing.sort();
        missing.dedup();
        missing
    }

    /// Everything that is fetched, and how often it was, and was not.
    pub(crate) fn fetched(&self) -> Vec<(String, bool, Counts)> {
        let state = self.state.load();
        state.lasting.fetched.values().map(|it| (it.name().to_owned(), it.is_there(), it.counts())).collect()
    }

    /// Everything that is kept up to date, and how it fares.
    pub(crate) fn rotating(&self) -> Vec<Fares> {
        self.state.load().rotating.iter().map(|rotating| rotating.fares()).collect()
    }

    /// A listener, as it is now.
    pub(crate) fn door(&self, name: &str) -> Option<Arc<Door>> {
        self.state.load().lasting.doors.iter().find(|door| &*door.name == name).cloned()
    }

    /// The listeners of the configuration, in the order of [`File::addresses`].
    pub fn entrances(self: &Arc<Self>) -> Vec<Entrance> {
        let state = self.state.load();
        let doors = state.lasting.doors.iter().filter(|door| &*door.name != Door::MANAGEMENT);
        doors.map(|door| Entrance::new(Arc::clone(self), Arc::clone(&door.name))).collect()
    }

    /// The listener of the management API, where there is one.
    pub fn management_entrance(self: &Arc<Self>) -> Option<Entrance> {
        Some(Entrance::new(Arc::clone(self), Arc::clone(&self.door(Door::MANAGEMENT)?.name)))
    }

    /// Where requests are told of.
    pub fn access_log(&self) -> &Arc<AccessLog> {
        &self.ports.access_log
    }

    /// Answers one request.
    pub async fn answer(&self, request: Request<Incoming>, peer: Peer) -> Response<Body> {
        let state = self.state.load_full();
        let mut record = Record::new(&self.ports, peer, request.headers());
        let (mut parts, body) = request.into_parts();
        let upgrade = websocket::Asked::of(&mut parts, &body);
        let (opens, method) = (upgrade.is_some(), parts.method.clone());
        // Of such a body nobody knows where it ends, until somebody has read all of it.
        let is_chunked = parts.version < Version::HTTP_2 && parts.headers.contains_key(TRANSFER_ENCODING);
        let mut after = After::default();
        let mut response = match self.reply(&state, (parts, body), upgrade, peer, &mut record, &mut after).await {
            Ok(Reply::Opened(mut response, tunnel)) => {
                take_hop_by_hop_of_answer(response.headers_mut());
                after.head(response.status(), response.headers_mut(), &self.limits);
                Opening::ask(response.headers_mut());
                record.status = response.status();
                let limits = Arc::clone(&self.limits);
                tokio::spawn(async move {
                    let (bytes, whole, kept) = tunnel.run().await;
                    after.end(bytes, &limits);
                    record.end(bytes, whole);
                    // Once it is gone, the process may end: its line is in the log by then.
                    drop(kept);
                });
                return response.map(|_| Body::text(""));
            }
            Ok(Reply::Forwarded(Answered {
                mut response,
                version,
                lease,
                slot,
                silence,
                uploaded,
                stream,
                closes,
            })) => {
                take_hop_by_hop_of_answer(response.headers_mut());
                after.head(response.status(), response.headers_mut(), &self.limits);
                if closes || (is_chunked && !uploaded.has_ended()) {
                    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                }
                record.status = response.status();
                let (mut parts, body) = response.into_parts();
                if method == Method::HEAD || is_of_no_body(parts.status) {
                    // RFC 9110 section 8.6.
                    if parts.status == StatusCode::NO_CONTENT {
                        parts.headers.remove(CONTENT_LENGTH);
                    }
                    if !body.is_end_stream() {
                        tokio::spawn(rest(body, lease, slot));
                    }
                    record.uploaded = uploaded.sent();
                    after.end(record.uploaded, &self.limits);
                    record.end(0, true);
                    return Response::from_parts(parts, Body::text(""));
                }
                let limits = Arc::clone(&self.limits);
                let leaves = (method == Method::GET).then(|| self.leaves.subscribe());
                let stream = stream.map(|stream| Streamed::new(*stream, uploaded.clone(), &parts.headers, leaves));
                let body = Downloading::new(body, version, silence, slot, lease).streamed(stream);
                let body = body.on_end(Box::new(move |bytes, whole| {
                    record.uploaded = uploaded.sent();
                    after.end(bytes.saturating_add(record.uploaded), &limits);
                    record.end(bytes, whole);
                }));
                return Response::from_parts(parts, Body::stream(body));
            }
            Ok(Reply::Own(headers, body)) => own(headers, body),
            Ok(Reply::Answered(response)) => *response,
            // Whoever stands before the gateway may take all that follows for the WebSocket's, and it is nobody's request.
            Err(denial) if opens => record.refused(denial.closing()),
            Err(denial) => record.refused(*denial),
        };
        after.head(response.status(), response.headers_mut(), &self.limits);
        if is_chunked {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        record.status = response.status();
        record.end(response.body().size_hint().exact().unwrap_or_default(), true);
        response
    }

    async fn reply(
        &self,
        state: &Arc<Compiled>,
        (parts, body): (http::request::Parts, Incoming),
        upgrade: Option<Box<websocket::Asked>>,
        peer: Peer,
        record: &mut Record,
        after: &mut After,
    ) -> Result<Reply, Box<Denial>> {
        let mut body = Some(body);
        match self.permit(state, (parts, &mut body), peer, upgrade, record, after).await {
            Ok((permitted, credential, opening)) => {
                let arrived = Arrived { peer, body, opening };
                forward(permitted, credential, state, &self.ports.clock, arrived, record).await
            }
            Err(Ended::Own(headers, body)) => Ok(Reply::Own(headers, body)),
            Err(Ended::Answered(response)) => Ok(Reply::Answered(response)),
            Err(Ended::Denied(denial)) => Err(denial),
        }
    }

    /// What it would do with a request that somebody else forwards, who tells the caller. What that somebody is not `able` to do is
    /// refused.
    pub(crate) async fn judge(
        &self,
        mut parts: http::request::Parts,
        peer: Peer,
        able: impl FnOnce(&Judged) -> Result<(), Box<Denial>>,
    ) -> Judged {
        // The connection is that somebody else's, and so is its certificate.
        parts.extensions.clear();
        let state = self.state.load_full();
        let mut record = Record::new(&self.ports, peer, &parts.headers);
        let mut after = After::default();
        let mut judged = match self.allow(&state, parts, peer, &mut record, &mut after).await {
            Ok(judged) => judged,
            Err(denial) => Judged::Answered(record.refused(*denial)),
        };
        if let Err(denial) = able(&judged) {
            judged = Judged::Answered(record.refused(*denial));
        }
        let (status, headers) = match &mut judged {
            Judged::Permitted { answer, .. } => (StatusCode::OK, answer),
            Judged::Answered(response) => (response.status(), response.headers_mut()),
        };
        after.head(status, headers, &self.limits);
        record.status = status;
        record.end(0, true);
        judged
    }

    async fn allow(
        &self,
        state: &Arc<Compiled>,
        parts: http::request::Parts,
        peer: Peer,
        record: &mut Record,
        after: &mut After,
    ) -> Result<Judged, Box<Denial>> {
        let (permitted, credential, _) = match self.permit(state, (parts, &mut None), peer, None, record, after).await {
            Ok(permitted) => permitted,
            Err(Ended::Own(headers, body)) => return Ok(Judged::Answered(own(headers, body))),
            Err(Ended::Answered(response)) => return Ok(Judged::Answered(*response)),
            Err(Ended::Denied(denial)) => return Err(denial),
        };
        // Who forwards it has connections of its own.
        if matches!(permitted.call().operation.onward, Onward::Certificate) {
            let told = "the proxy opens the connection to the service itself, so its client certificate is the proxy's to set: let \
                        this API's requests come through the gateway, or drop `client_certificate`";
            return Err(Box::new(Denial::of(CheckId::OnwardAccepted).message(told)));
        }
        let to = Arc::clone(&permitted.call().operation.upstream);
        let told = upstream::Told {
            proxies: &state.proxies,
            is_tls: peer.is_tls,
            injected: &state.injected,
            signs_in: state.sign_in.is_some(),
        };
        let request = to.request(permitted, credential, &told, ());
        let request = request.ok_or_else(|| Box::new(Denial::of(CheckId::GatewayRequest)))?;
        Ok(Judged::Permitted { sent: request.into_parts().0, answer: HeaderMap::new(), state: Arc::clone(state) })
    }
}

/// What is said of a request that somebody else forwards.
pub(crate) enum Judged {
    /// The head of the request as its service is to get it, fields for the answer, and by which configuration.
    Permitted { sent: http::request::Parts, answer: HeaderMap, state: Arc<Compiled> },
    /// It is answered so, and not forwarded.
    Answered(Response<Body>),
}

/// Whether the head of an answer is all of it (RFC 9110 section 6.4.1).
fn is_of_no_body(status: StatusCode) -> bool {
    matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

/// An answer of the gateway's own: a document, or the fields of a preflight's.
fn own(headers: HeaderMap, body: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::text(body));
    *response.headers_mut() = headers;
    response
}

/// What a request comes to that is not refused.
enum Reply {
    Forwarded(Answered),
    /// An open WebSocket, and the answer that says so.
    Opened(Response<Incoming>, Box<Tunnel>),
    /// An empty answer of the gateway's own: the fields of a preflight's.
    Own(HeaderMap, Bytes),
    /// Any other answer of the gateway's own.
    Answered(Box<Response<Body>>),
}
