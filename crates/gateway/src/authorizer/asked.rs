//! A request that a proxy holds in its hands and asks about, whatever way it tells of it.
use crate::canonical::identity::{is_alias, removes};
use crate::canonical_path;
use crate::denial::Denial;
use crate::gateway::Peer;
use crate::onward::Onward;
use crate::routes::Operation;
use decision::CheckId;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, header};
use std::net::IpAddr;
use std::sync::Arc;

/// What is asked about.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) method: Method,
    /// The path and the query, as the proxy will forward them.
    pub(super) target: String,
    pub(super) host: String,
    pub(super) is_tls: bool,
    /// The other end of the proxy's connection.
    pub(super) address: IpAddr,
    pub(super) headers: HeaderMap,
}

pub(super) const FORWARDED_FOR: &str = "x-forwarded-for";
const FORWARDED: [&str; 4] = ["x-forwarded-method", "x-forwarded-uri", "x-forwarded-host", "x-forwarded-proto"];

/// What is asked about cannot be read, or not in one way.
#[derive(Debug)]
pub(super) struct Unreadable(pub(super) String);

impl From<Unreadable> for Denial {
    fn from(Unreadable(message): Unreadable) -> Self {
        Self::of(CheckId::GatewayRequest).message(message)
    }
}

impl Asked {
    /// By the fields that Traefik and Caddy set, and nginx and others are told to.
    pub(super) fn forwarded(headers: &mut HeaderMap) -> Result<Self, Unreadable> {
        let told: &HeaderMap = headers;
        let [method, target, host, proto] = FORWARDED.map(|name| only(told, name));
        let method = method?.parse().map_err(|_| Unreadable("`X-Forwarded-Method` is no method".to_owned()))?;
        let (target, host, is_tls) = (target?.to_owned(), host?.to_owned(), proto? == "https");
        // Each hop adds whom it heard from: the last is whom the proxy heard from.
        let hops = only(told, FORWARDED_FOR)?;
        let (before, last) = hops.rsplit_once(',').map_or((None, hops), |(before, last)| (Some(before), last));
        let address = last.trim().parse();
        let address = address.map_err(|_| Unreadable("`X-Forwarded-For` ends with no address".to_owned()))?;
        let before = before.map(HeaderValue::from_str).transpose().ok().flatten();
        for name in FORWARDED.into_iter().chain([FORWARDED_FOR, "host"]) {
            headers.remove(name);
        }
        if let Some(before) = before {
            headers.insert(FORWARDED_FOR, before);
        }
        Ok(Self { method, target, host, is_tls, address, headers: std::mem::take(headers) })
    }

    /// As it would have come to the gateway itself.
    pub(super) fn parts(&self) -> Result<(Parts, Peer), Unreadable> {
        // It ends no target, and would hide from here what the service may read.
        if self.target.contains('#') {
            return Err(Unreadable("the target has a `#`: send it as `%23`".to_owned()));
        }
        let (path, _) = self.target.split_once('?').unwrap_or((&self.target, ""));
        // The proxy forwards what it has: what is judged has to be that, byte for byte.
        if canonical_path(path).map_err(|ambiguity| Unreadable(ambiguity.to_string()))? != path {
            return Err(Unreadable("the path is not in its one spelling, and a proxy would forward it so".to_owned()));
        }
        // Which pages may open a WebSocket, and whether an operation is one, is judged where it is opened.
        if self.headers.contains_key(header::UPGRADE) {
            let told = "send no `Upgrade`: whether a connection may become another protocol's is not said to proxies";
            return Err(Unreadable(told.to_owned()));
        }
        let request = Request::builder().method(self.method.clone()).uri(&*self.target).body(());
        let request = request.map_err(|_| Unreadable("the path and the query are no target".to_owned()))?;
        let (mut parts, ()) = request.into_parts();
        parts.headers = self.headers.clone();
        let host = HeaderValue::from_str(&self.host).map_err(|_| Unreadable("the host is none".to_owned()))?;
        parts.headers.insert(header::HOST, host);
        Ok((parts, self.peer()))
    }

    /// Where it came from.
    pub(super) fn peer(&self) -> Peer {
        Peer { address: self.address, is_tls: self.is_tls, told_in: None }
    }

    /// The path as it came, for the log: what follows it may carry keys.
    pub(super) fn path(&self) -> &str {
        self.target.split(['?', '#']).next().unwrap_or_default()
    }

    pub(super) fn query(&self) -> Option<&str> {
        self.target.split_once('?').map(|(_, query)| query)
    }
}

/// The one value of a field that the proxy has to set.
pub(super) fn only<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<&'a str, Unreadable> {
    let mut values = headers.get_all(name).iter();
    let value = values.next().filter(|_| values.next().is_none()).and_then(|value| value.to_str().ok());
    value.ok_or_else(|| Unreadable(format!("the proxy has to set `{name}`, once; see the guide of the gateway")))
}

/// What proxies have to be told that ask by a subrequest: which fields are the gateway's to say. Those that its answer has not, they
/// take out.
pub(crate) fn remark(secrets: &[String], injected: &[HeaderName], signs_in: bool) -> String {
    let out = secrets.iter().map(String::as_str).chain(OF_PROXIES).chain(OF_QUESTIONS);
    format!(
        "`authorizer`: proxies that ask at `/forward-auth` or `/auth-request` have to replace these by what the answer has, or take them out: {}",
        said_by_the_gateway(out, injected, signs_in)
    )
}

/// The same for Envoys that ask over HTTP, which take out by themselves what is not to go on.
pub(crate) fn remark_for_envoy(injected: &[HeaderName], signs_in: bool) -> String {
    format!(
        "`envoy_authorizer`: Envoy's `allowed_upstream_headers` has to name these, and no others: {}",
        said_by_the_gateway(std::iter::empty(), injected, signs_in)
    )
}

/// Which operations no proxy gets a permission for: it opens the connections to their services, and the certificate is the gateway's.
pub(crate) fn remark_on_certificates(operations: &[Arc<Operation>]) -> Option<String> {
    let shown = operations.iter().filter(|operation| matches!(operation.onward, Onward::Certificate));
    let names: Vec<&str> = shown.map(|operation| &*operation.name).collect();
    (!names.is_empty()).then(|| {
        format!(
            "proxies that ask get no permission where `onward` is a `client_certificate`, which is theirs to set: let these requests \
             come through the gateway: {}",
            names.join(", ")
        )
    })
}

fn said_by_the_gateway<'a>(out: impl Iterator<Item = &'a str>, injected: &'a [HeaderName], signs_in: bool) -> String {
    let mut names = vec!["authorization"];
    names.extend(out.chain(injected.iter().map(HeaderName::as_str)));
    names.extend(signs_in.then_some("cookie"));
    names.sort_unstable();
    names.dedup();
    names.join(", ")
}

/// What the proxy has to change in a request that is permitted.
#[derive(Debug, Default)]
pub(super) struct Changes {
    pub(super) set: Vec<(HeaderName, HeaderValue)>,
    pub(super) remove: Vec<HeaderName>,
    /// Those of `set` that came with another value.
    overwrites: Vec<HeaderName>,
    /// Parameters of the query.
    pub(super) remove_parameters: Vec<String>,
}

/// Fields of the connection, of the proxy's own telling, and of the body, which goes on as it came.
fn is_the_proxys(name: &HeaderName) -> bool {
    const OWN: [&str; 12] = [
        "host",
        "connection",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "content-length",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
        "expect",
    ];
    OWN.contains(&name.as_str())
}

/// What proxies say of themselves and of where a request came from, in their questions too: that it came from a caller cannot be seen.
const OF_PROXIES: [&str; 18] = [
    "cf-connecting-ip",
    "cf-connecting-ipv6",
    "fastly-client-ip",
    "front-end-https",
    "true-client-ip",
    "x-azure-clientip",
    "x-azure-socketip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-envoy-external-address",
    "x-forwarded-port",
    "x-forwarded-prefix",
    "x-forwarded-scheme",
    "x-forwarded-server",
    "x-forwarded-ssl",
    "x-original-forwarded-for",
    "x-original-host",
    "x-real-ip",
];
/// What is overwritten in their questions, so that a caller's own cannot be seen.
const OF_QUESTIONS: [&str; 2] = ["x-forwarded-method", "x-forwarded-uri"];

fn says_who<'a>(names: &'a [HeaderName], injected: &[HeaderName]) -> Option<&'a HeaderName> {
    // Credentials too they are told to take out.
    const CREDENTIALS: [&str; 2] = ["authorization", "ocp-apim-subscription-key"];
    let is_told = |name: &str| OF_PROXIES.contains(&name) || CREDENTIALS.contains(&name);
    names.iter().find(|name| !is_told(name.as_str()) && removes(name, injected))
}

impl Changes {
    /// A field that says who somebody is, which did not come from the proxy, and which the service must not see. That a proxy takes it
    /// out, or has it overwritten, nobody can rely on: it does so with fields that it was told of, and no others.
    pub(super) fn forged(&self, injected: &[HeaderName], secrets: &[String]) -> Option<&HeaderName> {
        let is_one = |name: &str| secrets.iter().any(|secret| secret == name);
        // Scripts take `Proxy` for the variable that says whom to ask through, and these for the fields that they resemble.
        let is_like_one = |name: &str| secrets.iter().any(|secret| is_alias(name, secret));
        let is_taken_for_another =
            |name: &str| name == "proxy" || (!is_one(name) && (name.contains(['_', '.']) || is_like_one(name)));
        says_who(&self.remove, injected)
            .or_else(|| self.overwritten(injected))
            .or_else(|| self.remove.iter().find(|name| is_taken_for_another(name.as_str())))
    }

    /// The same, for a proxy that can be relied on to take out what it is told to.
    pub(super) fn overwritten(&self, injected: &[HeaderName]) -> Option<&HeaderName> {
        says_who(&self.overwrites, injected)
    }

    /// From what came to what the gateway would have sent.
    pub(super) fn between(asked: &Asked, sent: &Parts) -> Self {
        let values = |headers: &HeaderMap, name: &HeaderName| -> Vec<HeaderValue> {
            headers.get_all(name).iter().cloned().collect()
        };
        let changed = sent.headers.keys().filter(|name| values(&asked.headers, name) != values(&sent.headers, name));
        let set: Vec<&HeaderName> = changed.filter(|name| !is_the_proxys(name)).collect();
        let gone = asked.headers.keys().filter(|name| !sent.headers.contains_key(*name) && !is_the_proxys(name));
        let names = |query: Option<&str>| -> Vec<String> {
            let pairs = query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
            pairs.map(|pair| pair.split('=').next().unwrap_or_default().to_owned()).collect()
        };
        let left = names(sent.uri.query());
        let mut remove_parameters = names(asked.query());
        remove_parameters.retain(|name| !left.contains(name));
        Self {
            overwrites: set.iter().copied().filter(|name| asked.headers.contains_key(*name)).cloned().collect(),
            set: set
                .into_iter()
                .flat_map(|name| values(&sent.headers, name).into_iter().map(|value| (name.clone(), value)))
                .collect(),
            remove: gone.cloned().collect(),
            remove_parameters,
        }
    }
}
