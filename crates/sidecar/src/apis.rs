//! The APIs that are called for the application: where each is, and how it is called.
//!
//! Where an API is, configuration alone says. A caller gives a path below it, which stays below it however it is written.
use crate::access::CALLER;
use crate::whose::{AgentUser, SessionKey, Whose};
use decision::contract::Contract;
use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, EXPECT, HOST, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use oauth::Secret;
use serde_json::{Map, Value, json};
use std::net::IpAddr;
use url::{Host, Url};

/// APIs by their names. Upper and lower case are the same.
#[derive(Clone, Debug, Default)]
pub struct Apis(Vec<Api>);

/// One API.
#[derive(Clone, Debug)]
pub struct Api {
    pub(crate) name: String,
    /// Who gives tokens for it.
    pub(crate) provider: String,
    /// Where it is; without it, it cannot be called, and tokens for it can be had all the same.
    pub(crate) url: Option<Url>,
    /// What it demands of tokens, to explain its refusals by.
    pub(crate) contract: Option<Contract>,
    pub(crate) options: Options,
}

/// How an API is called. Every request has a copy of its own, so that nothing of one is seen by another.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    pub(crate) scopes: Vec<String>,
    /// Whether with the application's own token, in place of one on behalf of a user.
    pub(crate) as_application: bool,
    pub(crate) relative_path: String,
    pub(crate) method: Option<Method>,
    pub(crate) content_type: Option<HeaderValue>,
    pub(crate) accept: Option<HeaderValue>,
    pub(crate) headers: HeaderMap,
    pub(crate) query: Vec<(String, String)>,
    /// The claims that the token must have.
    pub(crate) claims: Option<String>,
    /// Whether a token that is held is not good enough.
    pub(crate) fresh: bool,
    /// The agent that calls, in place of the application, which vouches for it.
    pub(crate) agent: Option<String>,
    /// The identity below the application that its own token is to be of.
    pub(crate) fmi_path: Option<String>,
    /// The user that the agent is.
    pub(crate) agent_user: Option<AgentUser>,
    /// Under which key a user's work goes on without the user.
    pub(crate) session: Option<SessionKey>,
    /// The key that the token is bound to.
    pub(crate) confirmation: Option<String>,
    /// The identity of the host whose token it is, by its client id.
    pub(crate) identity: Option<String>,
}

impl Options {
    /// Why these do not go together: only Entra has them, and what would be left out would be another's token. `users` says
    /// whether a user's token came in.
    pub(crate) fn refused_for(&self, is_entra: bool, users: bool) -> Option<&'static str> {
        let has = |one: bool, text| one.then_some(text);
        let (agent, fmi_path, of_agent) = (self.agent.is_some(), self.fmi_path.is_some(), self.agent_user.is_some());
        let (session, bound, host) = (self.session.is_some(), self.confirmation.is_some(), self.identity.is_some());
        let allocated = matches!(self.session, Some(SessionKey::Allocated(_)));
        let by_user = users && !self.as_application;
        has(
            !is_entra && (agent || fmi_path || of_agent || session || bound || host),
            "agents, sessions, bound tokens and managed identities are Entra's; the provider of this API is another",
        )
        .or(has(
            host && (agent || fmi_path || session || bound || self.claims.is_some()),
            "`ManagedIdentity` is the host's, which knows neither agents, sessions, claims nor bound tokens; take them or it out",
        ))
        .or(has(agent && fmi_path, "`FmiPath` is the blueprint's; take it or `AgentIdentity` out"))
        .or(has(of_agent && !agent, "an agent's user goes with its agent; set `AgentIdentity` beside"))
        .or(has(
            of_agent && self.as_application,
            "an agent's user is no application; take `RequestAppToken` or the user out",
        ))
        .or(has(
            session && (self.as_application || of_agent),
            "a session is that of the user who called; take `LongRunningWebApiSessionKey` out",
        ))
        .or(has(allocated && !users, "a session begins with a user's token; without one, send the key that was answered"))
        .or(has(
            fmi_path && (by_user || session),
            "`FmiPath` is for the application's own token; set `optionsOverride.RequestAppToken=true` beside it",
        ))
    }

    /// Whose token is asked for; `user` is that of the user whose token came in.
    pub(crate) fn whose<'a>(&'a self, user: Option<&'a Secret>) -> Whose<'a> {
        match (&self.identity, &self.agent_user, user.filter(|_| !self.as_application), &self.session) {
            (Some(identity), ..) => Whose::Host(identity),
            (None, Some(agent_user), ..) => Whose::AgentUser(agent_user),
            (None, None, Some(user), session) => Whose::User(user, session.as_ref()),
            (None, None, None, Some(session)) => Whose::Session(session),
            (None, None, None, None) => Whose::Application,
        }
    }
}

impl Apis {
    pub(crate) fn new(apis: Vec<Api>) -> Self {
        Self(apis)
    }

    pub(crate) fn named(&self, name: &str) -> Option<&Api> {
        self.0.iter().find(|api| api.name.eq_ignore_ascii_case(name))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Api> {
        self.0.iter()
    }

    pub(crate) fn shown(&self) -> Map<String, Value> {
        let shown = |api: &Api| {
            json!({
                "base_url": api.url.as_ref().map(Url::as_str),
                "relative_path": api.options.relative_path,
                "provider": api.provider,
                "scopes": api.options.scopes,
                "request_app_token": api.options.as_application,
                "contract": api.contract.is_some(),
            })
        };
        self.0.iter().map(|api| (api.name.clone(), shown(api))).collect()
    }
}

/// Where an API is: `https:`, or `http:` on this machine, and nothing beside a host and a path.
pub(crate) fn base_url(text: &str) -> Result<Url, &'static str> {
    let url = Url::parse(text).map_err(|_| "this is no URL")?;
    let on_loopback = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => IpAddr::from(ip).is_loopback(),
        Some(Host::Ipv6(ip)) => IpAddr::from(ip).is_loopback(),
        None => return Err("it has no host"),
    };
    match url.scheme() {
        "https" => {}
        "http" if on_loopback => {}
        _ => return Err("tokens are sent over https only, or on this machine"),
    }
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
        return Err("it has more than a host and a path");
    }
    Ok(url)
}

/// The URL of a path below an API's address. The path is what it is on the wire: what two readers could read differently (dots,
/// empty segments, backslashes, encoded slashes) is refused.
pub(crate) fn below(base: &Url, path: &str, query: Option<&str>) -> Result<String, &'static str> {
    let whole = path;
    let path = path.strip_prefix('/').unwrap_or(path);
    if !path.is_empty() {
        let mut segments = path.split('/').peekable();
        while let Some(segment) = segments.next() {
            if segment.is_empty() && segments.peek().is_some() {
                return Err("the path has an empty segment; write one slash");
            }
            sound(segment)?;
        }
    }
    let query = query.filter(|query| !query.is_empty());
    if query.is_some_and(|query| !query.bytes().all(|octet| matches!(octet, b'!'..=b'~') && octet != b'#')) {
        return Err("the query has characters that a URL does not; percent-encode them");
    }
    let mut url = base.as_str().trim_end_matches('/').to_owned();
    if !whole.is_empty() {
        url.push('/');
        url.push_str(path);
    }
    if let Some(query) = query {
        url.push('?');
        url.push_str(query);
    }
    // By what is sent, and not only by what went into it.
    let built = Url::parse(&url).map_err(|_| "the path makes no URL")?;
    let stays = built.origin() == base.origin()
        && built.username().is_empty()
        && built.path().starts_with(base.path().trim_end_matches('/'));
    if stays { Ok(url) } else { Err("the path leads away from the API") }
}

/// RFC 3986 section 3.3: the characters of a segment, without those that hide a separator.
fn sound(segment: &str) -> Result<(), &'static str> {
    let mut octets = segment.bytes();
    let mut decoded = Vec::with_capacity(segment.len());
    while let Some(octet) = octets.next() {
        match octet {
            b'%' => {
                let digit = |octet: Option<u8>| octet.and_then(|octet| char::from(octet).to_digit(16));
                let (Some(high), Some(low)) = (digit(octets.next()), digit(octets.next())) else {
                    return Err("after `%` two hexadecimal digits follow");
                };
                match u8::try_from(high * 16 + low) {
                    Ok(b'/' | b'\\' | b'%' | ..=b' ' | 0x7f) => {
                        return Err("the path hides a separator or a control character in an escape");
                    }
                    Ok(octet) => decoded.push(octet),
                    Err(_) => return Err("after `%` two hexadecimal digits follow"),
                }
            }
            _ if octet.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@".contains(&octet) => decoded.push(octet),
            _ => return Err("the path has characters that a URL does not; percent-encode them"),
        }
    }
    match decoded.split(|octet| *octet == b';').next() {
        Some(b"." | b"..") => Err("the path has a segment of dots"),
        _ => Ok(()),
    }
}

/// A method that is sent for callers.
pub(crate) fn method_named(name: &str) -> Option<Method> {
    let known = [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::HEAD, Method::OPTIONS];
    known.into_iter().find(|method| method.as_str().eq_ignore_ascii_case(name))
}

pub(crate) fn header_name(name: &str) -> Option<HeaderName> {
    HeaderName::from_bytes(name.as_bytes()).ok()
}

/// Whether a header is between the application and the API, and not the connection's, the credential's or the sidecar's own.
pub(crate) fn is_forwardable(name: &HeaderName) -> bool {
    let own = [
        AUTHORIZATION,
        CALLER,
        CONNECTION,
        CONTENT_LENGTH,
        EXPECT,
        HOST,
        PROXY_AUTHENTICATE,
        PROXY_AUTHORIZATION,
        TE,
        TRAILER,
        TRANSFER_ENCODING,
        UPGRADE,
    ];
    !own.contains(name) && !matches!(name.as_str(), "keep-alive" | "proxy-connection" | "http2-settings")
}

/// Whether a caller may send this header to an API: those by which proxies say who somebody is, or where they came from, and
/// sessions, are not theirs. Some servers take `_` and `.` for `-`.
pub(crate) fn is_callers(name: &HeaderName) -> bool {
    const NAMES: [&str; 11] = [
        "cookie",
        "forwarded",
        "via",
        "x-real-ip",
        "x-original-url",
        "x-rewrite-url",
        "x-http-method-override",
        "x-client-cert",
        "client-cert",
        "client-cert-chain",
        "x-identity-header",
    ];
    const BEGINNINGS: [&str; 4] = ["x-forwarded-", "x-ms-client-principal", "x-ms-token-", "x-auth-request-"];
    let plain = name.as_str().replace(['_', '.'], "-");
    is_forwardable(name)
        && header_name(&plain).is_some_and(|plain| is_forwardable(&plain))
        && !NAMES.contains(&plain.as_str())
        && !BEGINNINGS.iter().any(|beginning| plain.starts_with(beginning))
}

/// Headers without those of the connection (RFC 9110 section 7.6.1): those that it names too.
pub(crate) fn end_to_end(headers: &HeaderMap) -> HeaderMap {
    let named: Vec<HeaderName> = of_the_connection(headers).collect();
    let kept = headers.iter().filter(|(name, _)| is_forwardable(name) && !named.contains(name));
    kept.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// Of a caller's headers those that go on to an API.
pub(crate) fn from_the_caller(headers: &HeaderMap) -> HeaderMap {
    end_to_end(headers).iter().filter(|(name, _)| is_callers(name)).map(|(n, v)| (n.clone(), v.clone())).collect()
}

/// Whether `Connection` names what is no connection's: by that, a hop takes away what the next one judges by (G-02).
pub(crate) fn hides_something(headers: &HeaderMap) -> bool {
    let hops = ["close", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "http2-settings"];
    of_the_connection(headers)
        .any(|name| !hops.contains(&name.as_str()) && (!is_forwardable(&name) || !is_callers(&name)))
}

fn of_the_connection(headers: &HeaderMap) -> impl Iterator<Item = HeaderName> {
    let values = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).filter_map(|name| header_name(name.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_stays_below_its_api_however_it_is_written() {
        let base = base_url("https://billing.example/v1/").unwrap();
        let url = |path: &str| below(&base, path, None);
        for (path, expected) in [
            ("", "https://billing.example/v1"),
            ("/", "https://billing.example/v1/"),
            ("invoices", "https://billing.example/v1/invoices"),
            ("/invoices/7/", "https://billing.example/v1/invoices/7/"),
            ("@evil.example/x", "https://billing.example/v1/@evil.example/x"),
            (":8080/x", "https://billing.example/v1/:8080/x"),
            (".evil.example", "https://billing.example/v1/.evil.example"),
            ("%C3%A5", "https://billing.example/v1/%C3%A5"),
        ] {
            assert_eq!(url(path).as_deref(), Ok(expected), "{path}");
        }
        for path in [
            "//evil.example",
            "///evil.example",
            "/a//b",
            "https://evil.example/",
            "\\\\evil.example",
            "/\\evil.example",
            "..",
            "/..",
            "../admin",
            "a/../../admin",
            "a/./b",
            "%2e%2e/admin",
            ".%2E/admin",
            "%2e",
            "..;/admin",
            "..;x=1/admin",
            "a%2fb",
            "a%2Fb",
            "a%5cb",
            "a%252e%252e",
            "a%",
            "a%g0",
            "a%0d%0ax",
            "a\r\nHost: evil",
            "a\tb",
            "a b",
            "a#b",
            "a?b",
            "\u{e5}",
            "a%00",
        ] {
            assert!(url(path).is_err(), "{path:?} is {:?}", url(path));
        }
        let with = |query: &str| below(&base, "a", Some(query));
        assert_eq!(with("x=1&y=%20").as_deref(), Ok("https://billing.example/v1/a?x=1&y=%20"));
        for query in ["x=1#y", "x=\r\n", "x= y"] {
            assert!(with(query).is_err(), "{query:?}");
        }
    }

    #[test]
    fn an_api_is_at_https_or_on_this_machine() {
        for good in ["https://a.example", "http://127.0.0.1:8080/v1", "http://[::1]:1", "http://localhost:3"] {
            assert!(base_url(good).is_ok(), "{good}");
        }
        for bad in [
            "http://a.example",
            "ftp://a.example",
            "https://u@a.example",
            "https://u:p@a.example",
            "https://a.example?x=1",
            "https://a.example#x",
            "a.example",
            "/v1",
            "http://127.0.0.1.evil.example",
            "unix:/a",
        ] {
            assert!(base_url(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn headers_of_the_connection_and_of_the_credential_end_here() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("authorization", "Bearer user"),
            ("x-caller-authorization", "Bearer caller"),
            ("host", "localhost"),
            ("connection", "close, X-Mine"),
            ("x-mine", "1"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "websocket"),
            ("keep-alive", "1"),
            ("proxy-authorization", "Basic x"),
            ("expect", "100-continue"),
            ("content-length", "3"),
            ("trailer", "x"),
            ("accept", "a/b"),
            ("accept", "c/d"),
            ("traceparent", "00-1"),
        ] {
            headers.append(name, HeaderValue::from_static(value));
        }
        let kept = end_to_end(&headers);
        assert_eq!(
            kept.keys().map(HeaderName::as_str).collect::<std::collections::BTreeSet<_>>(),
            ["accept", "traceparent"].into()
        );
        assert_eq!(kept.get_all("accept").iter().count(), 2);
    }
}
