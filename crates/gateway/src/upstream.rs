//! A service that requests are forwarded to: its connections, and how many requests it is trusted with at once.
use crate::body::Uploading;
use crate::call::Permitted;
use crate::onward::Credential;
use crate::routes::below;
use crate::{address, canonical};
use http::header::{AUTHORIZATION, HOST};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderName, HeaderValue, Request, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use ipnet::IpNet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// What requests to services go through.
pub(crate) type Connections = Client<HttpsConnector<HttpConnector>, Uploading>;

/// One service.
pub(crate) struct Upstream {
    pub(crate) name: Arc<str>,
    pub(crate) scheme: Scheme,
    pub(crate) authority: Authority,
    /// The path that all of its paths begin with, without a slash at its end.
    pub(crate) base: String,
    /// Whether it is asked by the name that the caller used.
    pub(crate) preserve_host: bool,
    /// How long its answer's head may take.
    pub(crate) timeout: Duration,
    /// How long it may be silent in an answer.
    pub(crate) silence: Duration,
    pub(crate) slots: Arc<Semaphore>,
    pub(crate) connections: Connections,
}

/// The connections to one service, over HTTP/1.1.
pub(crate) fn connections(tls: rustls::ClientConfig, connect: Duration) -> Connections {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(connect));
    let connector =
        HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().wrap_connector(tcp);
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(Duration::from_secs(30))
        .pool_max_idle_per_host(256)
        .http1_max_headers(256)
        .http1_max_buf_size(64 << 10)
        .build(connector)
}

/// What every service is told of the caller.
pub(crate) struct Told<'a> {
    pub(crate) proxies: &'a [IpNet],
    pub(crate) is_tls: bool,
    /// Fields that policies set for some operation, and callers for none.
    pub(crate) injected: &'a [HeaderName],
}

impl Upstream {
    /// The request as this service gets it: nothing of the caller's that says who somebody is, the onward credential, and what
    /// the operation's policies set.
    pub(crate) fn request(
        &self,
        permitted: Permitted,
        credential: Credential,
        told: &Told<'_>,
        body: Uploading,
    ) -> Option<Request<Uploading>> {
        let mut call = permitted.into_call();
        let operation = Arc::clone(&call.operation);
        let trusted = address::is_trusted(call.peer.to_canonical(), told.proxies);
        let forwarded_for = forwarded_for(&call.request, call.peer, trusted);
        let proto = call.request.headers().get(FORWARDED_PROTO).filter(|_| trusted).cloned();
        let proto = proto.filter(|value| value == "https" || value == "http");

        remove_identity(&mut call.request, &operation.forwarded, told.injected);
        if let Some(subscription) = &operation.subscription {
            subscription.take_out(&mut call.request);
        }
        for token in operation.tokens.iter().filter(|_| !matches!(credential, Credential::Callers)) {
            token.take_out(&mut call.request);
        }
        let headers = call.request.headers_mut();
        match credential {
            Credential::Callers => {}
            Credential::None => drop(headers.remove(AUTHORIZATION)),
            Credential::Value(value) => drop(headers.insert(AUTHORIZATION, value)),
        }
        let asked = match call.request.port() {
            Some(port) => HeaderValue::try_from(format!("{}:{port}", call.request.host())),
            None => HeaderValue::from_str(call.request.host()),
        };
        let headers = call.request.headers_mut();
        headers.remove(HOST);
        if let Ok(host) = asked {
            if self.preserve_host {
                headers.insert(HOST, host.clone());
            }
            headers.insert(FORWARDED_HOST, host);
        }
        headers.insert(FORWARDED_FOR, forwarded_for?);
        let own = HeaderValue::from_static(if told.is_tls { "https" } else { "http" });
        headers.insert(FORWARDED_PROTO, proto.unwrap_or(own));
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

    /// Its own address for a path of the API.
    fn target(&self, path: &str, query: Option<&str>, prefix: &str) -> Option<Uri> {
        let rest = below(path, prefix)?;
        // A service that has a path of its own is asked for just that; a slash at its end would be another one.
        let rest = if rest.is_empty() && self.base.is_empty() { "/" } else { rest };
        let target = match query {
            Some(query) => format!("{}{rest}?{query}", self.base),
            None => format!("{}{rest}", self.base),
        };
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(self.scheme.clone());
        parts.authority = Some(self.authority.clone());
        parts.path_and_query = Some(PathAndQuery::try_from(target).ok()?);
        Uri::from_parts(parts).ok()
    }
}

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The peer, after whom a trusted proxy names.
fn forwarded_for(request: &canonical::Canonical, peer: std::net::IpAddr, trusted: bool) -> Option<HeaderValue> {
    let peer = peer.to_canonical();
    let before = request.headers().get_all(FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok());
    let mut hops = String::new();
    for value in before.filter(|_| trusted) {
        hops.push_str(value);
        hops.push_str(", ");
    }
    HeaderValue::try_from(format!("{hops}{peer}")).ok()
}

/// `remove_identity_headers`, which always applies: whatever says who somebody is comes from the gateway, or is not there.
fn remove_identity(request: &mut canonical::Canonical, forwarded: &[HeaderName], injected: &[HeaderName]) {
    use canonical::identity::{is_alias, is_reserved, looks_like_identity};
    let headers = request.headers_mut();
    let goes = |name: &&HeaderName| {
        !forwarded.contains(name)
            && (is_reserved(name)
                || looks_like_identity(name)
                || injected.iter().any(|own| is_alias(name.as_str(), own.as_str())))
    };
    let names: Vec<HeaderName> = headers.keys().filter(goes).cloned().collect();
    for name in names {
        headers.remove(name);
    }
}
