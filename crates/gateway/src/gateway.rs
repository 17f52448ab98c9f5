//! The gateway itself: each request through its phases, in the one order there is.
use crate::access_log::AccessLog;
use crate::address::{self, Address};
use crate::after::After;
use crate::body::{Body, Broken, Downloading, Progress, Streamed, Uploading};
use crate::call::{Call, Permitted};
use crate::canonical::{Canonical, take_hop_by_hop_of_answer};
use crate::denial::Denial;
use crate::front::Entrance;
use crate::ids::Ids;
use crate::limits::{Limits, Shared};
use crate::onward::{Credential, Onward};
use crate::policy::{Admission, Certificate, Decided, cors};
use crate::record::Record;
use crate::rotating::Fares;
use crate::routes::{Asked, Operation, Told};
use crate::secrets::Counts;
use crate::settings::{Compiled, Door, File, Lasting, SettingsError, compile};
use crate::sign_in;
use crate::store::Store;
use crate::stream::{Trailers, Watch};
use crate::telemetry::Telemetry;
use crate::told_certificate::CertificateField;
use crate::upstream::{self, Failure, NoSlot};
use crate::websocket::{self, Opening, Tunnel};
use arc_swap::ArcSwap;
use bytes::Bytes;
use client::managed_identity::ManagedIdentity;
use client::{Random, TokenCache};
use decision::{CheckId, Clock};
use fetch::{Fetch, KeySets};
use guard::Guard;
use http::header::CONNECTION;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use serve::Shown;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use telemetry::Began;

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

/// What applies to one operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effective {
    /// `orders/read`.
    pub operation: String,
    /// What applies, and from where: first the widest scope.
    pub policies: Vec<Told>,
    /// The same for calls in the context of products, by their names.
    pub by_product: Vec<(String, Vec<Told>)>,
    /// The onward credential.
    pub onward: String,
    /// The service.
    pub upstream: String,
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
        Ok(Self { state: ArcSwap::from_pointee(state), ports, limits })
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
        let before = self.state.load_full();
        let after = compile(file, variable, beside, &self.ports, &self.limits, &before.lasting)?;
        self.state.store(Arc::new(after));
        Ok(())
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

    /// What applies to every operation.
    pub fn effective(&self) -> Vec<Effective> {
        let state = self.state.load();
        state.routes.all().iter().map(|operation| effective(operation, &state)).collect()
    }

    /// What applies to a request, as the gateway itself would find it.
    pub fn effective_for(&self, host: &str, method: &Method, path: &str) -> Option<Effective> {
        let state = self.state.load();
        let path = crate::canonical_path(path).ok()?;
        state.routes.find(host, method, &path).map(|operation| effective(operation, &state))
    }

    /// Answers one request.
    pub async fn answer(&self, request: Request<Incoming>, peer: Peer) -> Response<Body> {
        let state = self.state.load_full();
        let mut record = Record::new(&self.ports, peer, request.headers());
        let (parts, body) = request.into_parts();
        let mut after = After::default();
        let mut response = match self.reply(&state, parts, body, peer, &mut record, &mut after).await {
            Ok(Reply::Opened(mut response, tunnel)) => {
                take_hop_by_hop_of_answer(response.headers_mut());
                after.head(response.status(), response.headers_mut(), &self.limits);
                Opening::ask(response.headers_mut());
                record.status = response.status();
                let limits = Arc::clone(&self.limits);
                tokio::spawn(async move {
                    let (bytes, whole) = tunnel.run().await;
                    after.end(bytes, &limits);
                    record.end(bytes, whole);
                });
                return response.map(|_| Body::text(""));
            }
            Ok(Reply::Forwarded(Answered { mut response, lease, slot, silence, uploaded, stream, closes })) => {
                take_hop_by_hop_of_answer(response.headers_mut());
                after.head(response.status(), response.headers_mut(), &self.limits);
                if closes {
                    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                }
                record.status = response.status();
                let (parts, body) = response.into_parts();
                let limits = Arc::clone(&self.limits);
                let stream = stream.map(|stream| Streamed::new(*stream, uploaded.clone(), &parts.headers));
                let body = Downloading::new(body, silence, slot, lease).streamed(stream);
                let body = body.on_end(Box::new(move |bytes, whole| {
                    record.uploaded = uploaded.sent();
                    after.end(bytes.saturating_add(record.uploaded), &limits);
                    record.end(bytes, whole);
                }));
                return Response::from_parts(parts, Body::stream(body));
            }
            Ok(Reply::Own(headers, body)) => own(headers, body),
            Ok(Reply::Answered(response)) => *response,
            Err(denial) => record.refused(*denial),
        };
        after.head(response.status(), response.headers_mut(), &self.limits);
        record.status = response.status();
        record.end(hyper::body::Body::size_hint(response.body()).exact().unwrap_or_default(), true);
        response
    }

    async fn reply(
        &self,
        state: &Arc<Compiled>,
        mut parts: http::request::Parts,
        body: Incoming,
        peer: Peer,
        record: &mut Record,
        after: &mut After,
    ) -> Result<Reply, Box<Denial>> {
        let upgrade = websocket::Asked::of(&mut parts, &body);
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

    /// What it would do with a request that somebody else forwards, who tells the caller.
    pub(crate) async fn judge(&self, mut parts: http::request::Parts, peer: Peer) -> Judged {
        // The connection is that somebody else's, and so is its certificate.
        parts.extensions.clear();
        let state = self.state.load_full();
        let mut record = Record::new(&self.ports, peer, &parts.headers);
        let mut after = After::default();
        let allowed = match self.permit(&state, (parts, &mut None), peer, None, &mut record, &mut after).await {
            // Who forwards it has connections of its own.
            Ok((permitted, ..)) if matches!(permitted.call().operation.onward, Onward::Certificate) => {
                Err(Box::new(Denial::of(CheckId::OnwardAccepted)))
            }
            Ok((permitted, credential, _)) => {
                let to = Arc::clone(&permitted.call().operation.upstream);
                let told = upstream::Told {
                    proxies: &state.proxies,
                    is_tls: peer.is_tls,
                    injected: &state.injected,
                    signs_in: state.sign_in.is_some(),
                };
                let request = to.request(permitted, credential, &told, ());
                request.ok_or_else(|| Box::new(Denial::of(CheckId::GatewayRequest)))
            }
            Err(Ended::Own(headers, body)) => {
                record.status = StatusCode::OK;
                record.end(0, true);
                return Judged::Answered(own(headers, body));
            }
            Err(Ended::Answered(response)) => {
                record.status = response.status();
                record.end(0, true);
                return Judged::Answered(*response);
            }
            Err(Ended::Denied(denial)) => Err(denial),
        };
        match allowed {
            Ok(request) => {
                let mut answer = HeaderMap::new();
                after.head(StatusCode::OK, &mut answer, &self.limits);
                record.status = StatusCode::OK;
                record.end(0, true);
                Judged::Permitted { sent: request.into_parts().0, answer, injected: state.injected.clone() }
            }
            Err(denial) => {
                let mut response = record.refused(*denial);
                after.head(response.status(), response.headers_mut(), &self.limits);
                record.end(0, true);
                Judged::Answered(response)
            }
        }
    }

    /// Everything that comes before a request is forwarded.
    async fn permit(
        &self,
        state: &Arc<Compiled>,
        (mut parts, body): (http::request::Parts, &mut Option<Incoming>),
        peer: Peer,
        upgrade: Option<Box<websocket::Asked>>,
        record: &mut Record,
        after: &mut After,
    ) -> Result<(Permitted, Credential, Option<Box<Opening>>), Ended> {
        record.asked(&parts);
        let shown = parts.extensions.remove::<Arc<Shown>>();
        let believed = peer.told_in.filter(|_| address::is_trusted(peer.address.to_canonical(), &state.proxies));
        let certificate = match believed {
            // The proxy's own is not its caller's.
            Some(field) => {
                let told = field.told(&parts.headers).map_err(|_| Box::new(Denial::unreadable(&field.name())))?;
                told.map(|chain| Certificate::told(&chain))
            }
            None => shown.and_then(|shown| Certificate::of(&shown)),
        };
        for name in state.told_in.iter().filter(|field| Some(**field) != believed).flat_map(|field| field.names()) {
            parts.headers.remove(name);
        }
        let is_secret = |name: &str| state.secrets.iter().any(|secret| secret == name);
        let request = Canonical::of(parts, &is_secret).map_err(|refusal| Box::new(Denial::from(refusal)))?;
        record.read(&request);
        let headers = request.headers();
        if let Some(method) = cors::preflight(request.method(), headers) {
            let asked = state.routes.find(request.host(), &method, request.path());
            if let Some((asked, cors)) = asked.and_then(|asked| Some((asked, asked.cors.as_ref()?))) {
                record.operation = Some(Arc::clone(asked));
                return Err(Ended::Own(cors.answer_preflight(&method, headers), Bytes::new()));
            }
        }
        if let Some((headers, body)) = state.documents.find(request.method(), request.host(), request.path()) {
            return Err(Ended::Own(headers, body));
        }
        if let Some((sign_in, origin)) = state.sign_in.as_ref().and_then(|own| Some((own, own.serves(&request)?))) {
            let caller = address::caller(peer.address, headers, &state.proxies);
            let answered =
                Box::pin(sign_in.answer(origin, &request, (caller, body.take()), self.ports.clock.now())).await?;
            return Err(Ended::Answered(Box::new(answered)));
        }
        let found = state.routes.find(request.host(), request.method(), request.path());
        let operation = found.cloned().ok_or_else(|| Box::new(Denial::of(CheckId::GatewayOperation)))?;
        record.operation = Some(Arc::clone(&operation));
        if let Some(cors) = &operation.cors {
            after.cors = Some((Arc::clone(cors), cors::only(headers, &http::header::ORIGIN).cloned()));
            if cors.ends(request.method(), headers) {
                return Err(Ended::Own(HeaderMap::new(), Bytes::new()));
            }
        }
        let opening = match (upgrade, &operation.stream) {
            (Some(asked), Some(stream)) if stream.websocket && asked.is_for_websocket() => {
                // The page's own origin is that which its browser sees.
                let is_tls = address::is_tls(peer.address, peer.is_tls, headers, &state.proxies);
                Some(asked.opening(&request, is_tls, operation.cors.as_deref())?)
            }
            // What asks for another protocol where there is none is a request like any other.
            _ => None,
        };
        // Only proofs of possession are about it.
        let is_tls = match &operation.dpop {
            Some(_) => address::is_tls(peer.address, peer.is_tls, headers, &state.proxies),
            None => peer.is_tls,
        };
        // It goes from hand to hand.
        let call = Box::new(Call {
            caller: address::caller(peer.address, request.headers(), &state.proxies),
            request,
            operation,
            peer: peer.address,
            now: self.ports.clock.now(),
            certificate,
            is_tls,
            proof: None,
            principal: None,
            signed: None,
            product: None,
            added: Vec::new(),
            admission: Admission::default(),
            after: std::mem::take(after),
        });
        let document = call.operation.document.clone();
        let described = |denial: Box<Denial>| match &document {
            Some(address) => Box::new(denial.with_metadata(address)),
            None => denial,
        };
        let permitted = authorise(call, state, record, after).await.map_err(described)?;
        let operation = Arc::clone(&permitted.call().operation);
        let began = record.is_watched().then(Began::now);
        let acquired = operation.onward.acquire(&permitted).await;
        record.step("onward", began, acquired.as_ref().err().map(|denial| &**denial));
        let acquired = acquired.map_err(|denial| sign_in::again(denial, permitted.call()));
        Ok((permitted, acquired.map_err(described)?, opening))
    }
}

/// Why a request goes no further.
enum Ended {
    Denied(Box<Denial>),
    /// It has an answer of the gateway's own: a preflight's fields, or a document.
    Own(HeaderMap, Bytes),
    /// It is for one of the paths of sign-in, and answered.
    Answered(Box<Response<Body>>),
}

impl From<Box<Denial>> for Ended {
    fn from(denial: Box<Denial>) -> Self {
        Self::Denied(denial)
    }
}

/// What is said of a request that somebody else forwards.
pub(crate) enum Judged {
    /// The head of the request as its service is to get it, fields for the answer, and those that only policies may set.
    Permitted { sent: http::request::Parts, answer: HeaderMap, injected: Vec<http::HeaderName> },
    /// It is answered so, and not forwarded.
    Answered(Response<Body>),
}

/// An empty answer of the gateway's own.
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

/// What came, beside the head of a request.
struct Arrived {
    peer: Peer,
    body: Option<Incoming>,
    /// Where it is to become a WebSocket.
    opening: Option<Box<Opening>>,
}

/// A service's answer, as far as it is there.
struct Answered {
    response: Response<Incoming>,
    /// The connection that it comes over.
    lease: upstream::Lease,
    /// What it takes of what the service is trusted with.
    slot: upstream::Slot,
    /// How long it may be silent.
    silence: Duration,
    /// How much of the request's body the service was sent.
    uploaded: Progress,
    /// Where it is a stream: what watches over it, and its trailers.
    stream: Option<Box<(Watch, Option<Trailers>)>>,
    /// Whether the caller may have sent what is no request after this one: a WebSocket was to begin there, and did not.
    closes: bool,
}

/// Asks every policy, in the order of the phases. The only way to a [`Permitted`].
async fn authorise(
    mut call: Box<Call>,
    state: &Compiled,
    record: &mut Record,
    after: &mut After,
) -> Result<Permitted, Box<Denial>> {
    let asked = ask(&mut call, state, record).await;
    *after = std::mem::take(&mut call.after);
    let asked = asked.map_err(|denial| sign_in::again(denial, &call));
    asked.map(|()| Permitted::by_all_policies(call))
}

async fn ask(call: &mut Call, state: &Compiled, record: &mut Record) -> Result<(), Box<Denial>> {
    let operation = Arc::clone(&call.operation);
    let watched = record.is_watched();
    let now = || watched.then(Began::now);
    if let Some(key) = &operation.subscription {
        let began = now();
        let admitted = key.admit(&call.request, &state.subscriptions, record.store(), &operation, call.now);
        record.step("subscription_key", began, admitted.as_ref().err().map(|denial| &**denial));
        call.admission = admitted?;
        record.subscription.clone_from(&call.admission.subscription);
        let stored = &mut call.admission.stored_product;
        record.product =
            call.admission.product.and_then(|id| state.products.get(id.0).cloned()).or_else(|| stored.take());
        call.product.clone_from(&record.product);
    }
    for Asked { name, policy } in &operation.rules(call.admission.product).before {
        let began = now();
        let decided = match policy.decide(call) {
            Decided::Pass => Ok(()),
            Decided::Deny(denial) => Err(denial),
            Decided::Wait => policy.settle(call).await,
        };
        if let Some(step) = record.step(name, began, decided.as_ref().err().map(|denial| &**denial)) {
            step.checks = policy.checks(call);
        }
        decided?;
    }
    record.signed.clone_from(&call.signed);
    record.principal = call.principal.as_ref().map(|(principal, _)| principal.clone());
    Ok(())
}

/// Sends a permitted request on, and waits for the head of the answer.
async fn forward(
    permitted: Permitted,
    credential: Credential,
    state: &Arc<Compiled>,
    clock: &Arc<dyn Clock>,
    Arrived { peer, body, opening }: Arrived,
    record: &mut Record,
) -> Result<Reply, Box<Denial>> {
    let to = Arc::clone(&permitted.call().operation.upstream);
    let caller = match permitted.call().caller {
        Address::Known(address) => Some(address),
        Address::Unreadable => None,
    };
    let slot = to.slots.take(caller).map_err(|none| {
        let check = match none {
            NoSlot::Taken => CheckId::UpstreamCapacity,
            NoSlot::OverShare => CheckId::UpstreamShare,
        };
        Box::new(Denial::of(check).retry_after(1))
    })?;
    let progress = Progress::default();
    let told = upstream::Told {
        proxies: &state.proxies,
        is_tls: peer.is_tls,
        injected: &state.injected,
        signs_in: state.sign_in.is_some(),
    };
    let none = || Uploading::none(progress.clone());
    let mut body = body.map_or_else(none, |body| Uploading::new(body, progress.clone()));
    let (mut silence, mut stream) = (to.silence, None);
    if let Some(of) = &permitted.call().operation.stream {
        let trailers = of.trailers.then(|| Trailers::new(state, &permitted.call().operation));
        body = body.streamed(of.idle, trailers.clone());
        silence = of.idle;
        stream = Some(Box::new((of.watch(permitted.call(), clock), trailers)));
    }
    let request = to.request(permitted, credential, &told, body);
    let mut request = request.ok_or_else(|| Box::new(Denial::of(CheckId::GatewayRequest)))?;
    record.forwards(request.headers_mut());
    if opening.is_some() {
        Opening::ask(request.headers_mut());
    }
    let sent = to.send(request, &progress, opening.is_some()).await;
    if sent.is_ok() {
        record.answered();
    }
    let failure = match (sent, opening, stream) {
        (Ok((mut response, lease)), Some(opening), Some(stream)) if is_switching(&response) => {
            if opening.is_agreed(response.headers()) {
                let service = hyper::upgrade::on(&mut response);
                let (watch, idle) = (stream.0, silence);
                let tunnel = Tunnel { opening, service, watch, idle, progress, _slot: slot, _lease: lease };
                return Ok(Reply::Opened(response, Box::new(tunnel)));
            }
            Failure::Broken
        }
        // Nobody asked for another protocol.
        (Ok((response, _)), ..) if is_switching(&response) => Failure::Broken,
        (Ok((response, lease)), opening, stream) => {
            let closes = opening.is_some();
            return Ok(Reply::Forwarded(Answered {
                response,
                lease,
                slot,
                silence,
                uploaded: progress,
                stream,
                closes,
            }));
        }
        (Err(failure), ..) => failure,
    };
    if let Some(broken) = progress.broken() {
        let status = if broken == Broken::SlowCaller { StatusCode::REQUEST_TIMEOUT } else { StatusCode::BAD_REQUEST };
        return Err(Box::new(Denial::of(CheckId::GatewayBodyTimely).status(status)));
    }
    Err(Box::new(match failure {
        Failure::Down(left) => Denial::of(CheckId::UpstreamAvailable).retry_after(left.as_secs().max(1)),
        Failure::Unreachable | Failure::Broken => Denial::of(CheckId::UpstreamReachable),
        Failure::Slow => Denial::of(CheckId::UpstreamTimely),
    }))
}

fn is_switching(response: &Response<Incoming>) -> bool {
    response.status() == StatusCode::SWITCHING_PROTOCOLS
}

fn effective(operation: &Operation, state: &Compiled) -> Effective {
    let mut by_product: Vec<_> = operation
        .by_product
        .iter()
        .map(|(id, rules)| (state.products.get(id.0).map_or_else(String::new, ToString::to_string), rules.told.clone()))
        .collect();
    by_product.sort_by(|a, b| a.0.cmp(&b.0));
    Effective {
        operation: operation.name.to_string(),
        policies: operation.rules.told.clone(),
        by_product,
        onward: operation.onward_told.clone(),
        upstream: operation.upstream.name.to_string(),
    }
}
