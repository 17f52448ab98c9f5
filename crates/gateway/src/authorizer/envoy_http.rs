//! Envoy's external authorization over HTTP (`http_service`): it sends the head of the request as it has it, and takes 200, and nothing
//! else, for a permission.
//!
//! Which fields it sends, and whether a field is the caller's or its own, is a matter of its configuration. So it tells beside them, in a
//! field that it overwrites, what it knows better: among others how many bytes the head has that it holds. Only what comes to exactly as
//! many is judged: otherwise a field that is not seen here would reach the service.
use super::asked::{Asked, Unreadable, only};
use super::means::Means;
use super::{Authorizer, proxy, whole};
use crate::gateway::{Gateway, Judged, Peer};
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use serve::{Caller, Serve};
use std::net::IpAddr;
use std::sync::Arc;

/// What Envoy is told to add, seven words.
const TOLD: &str = "x-deputize-request";
/// Fields that Envoy's own request has anew, whatever they were: how they were is told.
const RENEWED: [&str; 3] = ["content-length", "x-envoy-internal", "x-envoy-expected-rq-timeout-ms"];
/// Where it looks for the names of fields to take out.
const REMOVE: HeaderName = HeaderName::from_static("x-envoy-auth-headers-to-remove");

/// Answers Envoys that ask over HTTP. Whoever can ask it is given onward credentials for the tokens that they hold, so it belongs on
/// loopback, and nobody else asks there.
pub struct EnvoyAuthorizer(Authorizer);

/// What Envoy tells beside the request.
struct Told<'a> {
    /// The other end of its connection.
    address: IpAddr,
    is_tls: bool,
    scheme: &'a str,
    /// Of the head that it has: names and values, and nothing between them.
    bytes: usize,
    /// How [`RENEWED`] were; empty is none.
    renewed: [&'a str; 3],
}

impl<'a> Told<'a> {
    fn read(text: &'a str) -> Option<Self> {
        // A word of the caller's that had a space in it would make more of them. The first and the last are never empty.
        let words: Vec<&str> = text.split(' ').collect();
        let [address, tls, scheme, length, internal, timeout, bytes] = words.try_into().ok()?;
        let renewed = [length, internal, timeout];
        let (address, bytes) = (address.parse().ok()?, bytes.parse().ok()?);
        Some(Self { address, is_tls: tls.starts_with("TLSv1."), scheme, bytes, renewed })
    }
}

impl Asked {
    /// By a request of Envoy's own.
    fn by_envoy(parts: &mut Parts) -> Result<Self, Unreadable> {
        let Parts { method, uri, headers, .. } = parts;
        let told = only(headers, TOLD)?.to_owned();
        let told = Told::read(&told).ok_or_else(|| Unreadable(format!("`{TOLD}` is not as the guide has it")))?;
        let host = headers.remove(header::HOST);
        let host = host.as_ref().and_then(|host| host.to_str().ok());
        let host = host.or(uri.authority().map(http::uri::Authority::as_str)).unwrap_or_default().to_owned();
        let target = uri.path_and_query().map_or("", |target| target.as_str()).to_owned();
        for name in RENEWED.into_iter().chain([TOLD]) {
            headers.remove(name);
        }
        let length = |(name, value): (&str, usize)| name.len().saturating_add(value);
        let pseudo = [
            (":method", method.as_str().len()),
            (":scheme", told.scheme.len()),
            (":authority", host.len()),
            (":path", target.len()),
        ];
        let were = RENEWED.into_iter().zip(told.renewed.map(str::len)).filter(|(_, length)| *length > 0);
        let fields = headers.iter().map(|(name, value)| (name.as_str(), value.len()));
        if pseudo.into_iter().chain(were).chain(fields).map(length).sum::<usize>() != told.bytes {
            let told = "the request came here otherwise than the proxy has it: send each field once, and none of the proxy's own; if that \
                        is not it, the proxy has to send all fields and nothing else, see the guide of the gateway";
            return Err(Unreadable(told.to_owned()));
        }
        let (is_tls, address) = (told.is_tls, told.address);
        Ok(Self { method: method.clone(), target, host, is_tls, address, headers: std::mem::take(headers) })
    }
}

impl EnvoyAuthorizer {
    /// By this gateway's configuration.
    pub fn new(gateway: Arc<Gateway>) -> Self {
        Self(Authorizer::new(gateway))
    }

    async fn check(&self, mut parts: Parts, proxy: Peer) -> Response<Full<Bytes>> {
        let asked = match Asked::by_envoy(&mut parts) {
            Ok(asked) => asked,
            Err(unreadable) => {
                let question = (&parts.method, parts.uri.path());
                return whole(self.0.refuse(question, proxy, &parts.headers, unreadable)).await;
            }
        };
        match self.0.judge(&asked, Means::Http).await {
            (Judged::Answered(answer), _) => answered(answer).await,
            (Judged::Permitted { answer: more, .. }, changes) => {
                let mut answer = Response::new(Full::default());
                // Envoy tells them apart by their names.
                *answer.headers_mut() = more;
                answer.headers_mut().extend(changes.set);
                let names: Vec<&str> = changes.remove.iter().map(HeaderName::as_str).collect();
                if let Some(names) = HeaderValue::try_from(names.join(",")).ok().filter(|names| !names.is_empty()) {
                    answer.headers_mut().insert(REMOVE, names);
                }
                answer
            }
        }
    }
}

/// An answer that Envoy sends to its caller, and takes for no permission.
async fn answered(answer: Response<crate::Body>) -> Response<Full<Bytes>> {
    let status = match answer.status() {
        // It is empty: what says more is refused.
        StatusCode::OK => StatusCode::NO_CONTENT,
        // For Envoy that is no answer: it makes 403 without a word of it, or lets the request through if it is told to do so on failures.
        status if status.is_server_error() => StatusCode::FORBIDDEN,
        status => status,
    };
    let mut answer = whole(answer).await;
    *answer.status_mut() = status;
    answer
}

impl Serve for EnvoyAuthorizer {
    type Body = Full<Bytes>;

    async fn answer(&self, request: Request<Incoming>, caller: Caller) -> Response<Self::Body> {
        self.check(request.into_parts().0, proxy(caller)).await
    }
}
