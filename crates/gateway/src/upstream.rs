//! A service that requests are forwarded to: its addresses, what it is sent, and how many requests it is trusted with at once.
mod connect;
mod health;
mod presented;
mod probe;
mod replica;
mod send;
mod slots;

pub(crate) use connect::{Connector, Http, Target};
pub(crate) use health::Circuit;
pub(crate) use presented::Presented;
pub(crate) use probe::Probe;
pub(crate) use replica::Lease;
pub(crate) use send::{Failure, MOST_ADDRESSES};
pub(crate) use slots::{NoSlot, Slot, Slots};

use crate::call::Permitted;
use crate::onward::Credential;
use crate::routes::below;
use crate::secrets::Material;
use crate::{address, canonical, sign_in};
use http::header::{AUTHORIZATION, HOST};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderName, HeaderValue, Request, Uri};
use ipnet::IpNet;
use replica::Replica;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

/// All that is said about a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) name: Arc<str>,
    pub(crate) scheme: Scheme,
    pub(crate) authority: Authority,
    /// The path that all of its paths begin with, without a slash at its end.
    pub(crate) base: String,
    pub(crate) targets: Vec<Target>,
    pub(crate) http: Http,
    /// Whether it is asked by the name that the caller used.
    pub(crate) preserve_host: bool,
    pub(crate) connect: Duration,
    /// How long its answer's head may take.
    pub(crate) timeout: Duration,
    /// How long it may be silent in an answer.
    pub(crate) silence: Duration,
    pub(crate) max_requests: usize,
    pub(crate) circuit: Circuit,
    pub(crate) probe: Option<Probe>,
    /// The certificate authorities that it is trusted by, beside those of the system.
    pub(crate) roots: Arc<str>,
    /// Where the certificate that it is shown comes from, and its key.
    pub(crate) certificate: Option<Material>,
}

/// One service.
pub(crate) struct Upstream {
    plan: Plan,
    /// What it is called by, where it is not asked by the name that the caller used.
    host: HeaderValue,
    connector: Connector,
    /// The certificate that it is shown.
    presented: Option<Arc<Presented>>,
    replicas: Vec<Arc<Replica>>,
    /// Whose turn it is.
    turn: AtomicUsize,
    pub(crate) slots: Arc<Slots>,
}

impl std::ops::Deref for Upstream {
    type Target = Plan;

    fn deref(&self) -> &Plan {
        &self.plan
    }
}

/// What every service is told of the caller.
pub(crate) struct Told<'a> {
    pub(crate) proxies: &'a [IpNet],
    pub(crate) is_tls: bool,
    /// Fields that policies set for some operation, and callers for none.
    pub(crate) injected: &'a [HeaderName],
    /// Whether people sign in here, so that cookies may be sessions.
    pub(crate) signs_in: bool,
}

impl Upstream {
    /// Whether the certificate that it is to be shown is at hand.
    pub(crate) fn is_presentable(&self) -> bool {
        self.presented.as_ref().is_none_or(|presented| presented.is_there())
    }

    /// A service by this plan; with others that are the same service it shares how many requests that is trusted with. It is probed from now on, where the plan says so and a runtime is there.
    pub(crate) fn new(
        plan: Plan,
        connector: Connector,
        presented: Option<Arc<Presented>>,
        slots: Option<Arc<Slots>>,
    ) -> Option<Arc<Self>> {
        let upstream = Arc::new(Self {
            host: HeaderValue::from_str(plan.authority.as_str()).ok()?,
            connector,
            replicas: plan.targets.iter().cloned().map(Replica::new).collect(),
            turn: AtomicUsize::new(0),
            slots: slots.unwrap_or_else(|| Slots::new(plan.max_requests)),
            presented,
            plan,
        });
        if let (Some(probe), Ok(runtime)) = (&upstream.probe, tokio::runtime::Handle::try_current()) {
            for replica in &upstream.replicas {
                let replica = Arc::downgrade(replica);
                runtime.spawn(probe::run(probe.clone(), Arc::downgrade(&upstream), replica));
            }
        }
        Some(upstream)
    }

    /// Whether it is what this plan says.
    pub(crate) fn is_by(&self, plan: &Plan) -> bool {
        self.plan == *plan
    }

    /// The request as this service gets it: nothing of the caller's that says who somebody is, the onward credential, and what
    /// the operation's policies set.
    pub(crate) fn request<B>(
        &self,
        permitted: Permitted,
        credential: Credential,
        told: &Told<'_>,
        body: B,
    ) -> Option<Request<B>> {
        let mut call = permitted.into_call();
        let operation = Arc::clone(&call.operation);
        let trusted = address::is_trusted(call.peer.to_canonical(), told.proxies);
        let forwarded_for = forwarded_for(&call.request, call.peer, trusted);
        // Of two nobody knows which the proxy said.
        let mut protos = call.request.headers().get_all(FORWARDED_PROTO).iter();
        let proto = protos.next().filter(|_| trusted && protos.next().is_none()).cloned();
        let proto = proto.filter(|value| value == "https" || value == "http");

        remove_identity(&mut call.request, &operation.forwarded, told.injected);
        if let Some(subscription) = &operation.subscription {
            subscription.take_out(&mut call.request);
        }
        for token in operation.tokens.iter().filter(|_| !matches!(credential, Credential::Callers)) {
            token.take_out(&mut call.request);
        }
        let callers = matches!(credential, Credential::Callers);
        let headers = call.request.headers_mut();
        if told.signs_in {
            sign_in::take_out(headers);
        }
        if let Some(signed) = &call.signed {
            signed.tell(headers);
        }
        match credential {
            Credential::Callers => {}
            Credential::None => drop(headers.remove(AUTHORIZATION)),
            Credential::Value(value) => drop(headers.insert(AUTHORIZATION, value)),
        }
        if operation.dpop.is_some() && !callers {
            headers.remove(guard::DPOP);
        }
        let asked = match call.request.port() {
            Some(port) => HeaderValue::try_from([call.request.host(), ":", &port.to_string()].concat()),
            None => HeaderValue::from_str(call.request.host()),
        };
        let headers = call.request.headers_mut();
        headers.insert(HOST, self.host.clone());
        if let Ok(asked) = asked {
            if self.preserve_host {
                headers.insert(HOST, asked.clone());
            }
            headers.insert(FORWARDED_HOST, asked);
        }
        headers.insert(FORWARDED_FOR, forwarded_for?);
        let own = HeaderValue::from_static(if told.is_tls { "https" } else { "http" });
        headers.insert(FORWARDED_PROTO, proto.unwrap_or(own));
        for (name, value) in std::mem::take(&mut call.added) {
            call.request.headers_mut().insert(name, value);
        }
        for policy in &operation.rules(call.admission.product).rewrites {
            // A rewrite changes fields and refuses nothing: what could be refused has been.
            let _ = policy.decide(&mut call);
        }
        let mut request = Request::new(body);
        *request.method_mut() = call.request.method().clone();
        *request.uri_mut() = self.target(call.request.path(), call.request.query(), &operation.prefix)?;
        *request.headers_mut() = std::mem::take(call.request.headers_mut());
        Some(request)
    }

    /// What it is asked for a path of the API.
    fn target(&self, path: &str, query: Option<&str>, prefix: &str) -> Option<Uri> {
        let rest = below(path, prefix)?;
        // A service that has a path of its own is asked for just that; a slash at its end would be another one.
        let rest = if rest.is_empty() && self.base.is_empty() { "/" } else { rest };
        let target = match query {
            Some(query) => [&*self.base, rest, "?", query].concat(),
            None => [&*self.base, rest].concat(),
        };
        PathAndQuery::try_from(target).ok().map(Uri::from)
    }
}

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The peer, after whom a trusted proxy names.
fn forwarded_for(request: &canonical::Canonical, peer: std::net::IpAddr, trusted: bool) -> Option<HeaderValue> {
    let peer = peer.to_canonical();
    let before = request.headers().get_all(FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok());
    let peer = address::text(peer);
    let mut hops: Vec<&str> = before.filter(|_| trusted).collect();
    if hops.is_empty() {
        return HeaderValue::try_from(peer).ok();
    }
    hops.push(&peer);
    HeaderValue::try_from(hops.join(", ")).ok()
}

/// `remove_identity_headers`, which always applies: whatever says who somebody is comes from the gateway, or is not there.
fn remove_identity(request: &mut canonical::Canonical, forwarded: &[HeaderName], injected: &[HeaderName]) {
    let headers = request.headers_mut();
    let goes = |name: &&HeaderName| !forwarded.contains(name) && canonical::identity::removes(name, injected);
    let names: Vec<HeaderName> = headers.keys().filter(goes).cloned().collect();
    for name in names {
        headers.remove(name);
    }
}
