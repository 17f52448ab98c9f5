//! Envoy's external authorization over HTTP (`http_service`): it sends the head of the request as it has it, and takes 200, and nothing
//! else, for a permission.
//!
//! Which fields it sends, and whether a field is the caller's or its own, is a matter of its configuration. So it tells beside them, in a
//! field that it overwrites, what it knows better: among others how many bytes the head has that it holds. Only what comes to exactly as
//! many is judged: otherwise a field that is not seen here would reach the service.
use super::asked::{Asked, Changes, Unreadable, only};
use super::{Authorizer, whole};
use crate::denial::Denial;
use crate::gateway::{Gateway, Judged};
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::{Body, Incoming};
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
    fn by_envoy(parts: Parts) -> Result<Self, Unreadable> {
        let Parts { method, uri, mut headers, .. } = parts;
        let told = only(&headers, TOLD)?.to_owned();
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
        Ok(Self { method, target, host, is_tls: told.is_tls, address: told.address, headers })
    }
}

impl EnvoyAuthorizer {
    /// By this gateway's configuration.
    pub fn new(gateway: Arc<Gateway>) -> Self {
        Self(Authorizer::new(gateway))
    }

    async fn check(&self, parts: Parts) -> Response<Full<Bytes>> {
        let refused = |told: String| whole(Denial::from(Unreadable(told)).response(""));
        let asked = match Asked::by_envoy(parts) {
            Ok(asked) => asked,
            Err(Unreadable(told)) => return refused(told).await,
        };
        match self.0.judge(&asked).await {
            Judged::Answered(answer) => answered(answer).await,
            Judged::Permitted { sent, state, answer: more } => {
                let changes = Changes::between(&asked, &sent);
                if let Some(name) = changes.overwritten(&state.injected) {
                    return refused(format!("leave out `{name}`: it says who somebody is")).await;
                }
                if !changes.remove_parameters.is_empty() {
                    let told = "send keys and tokens in fields: over HTTP, Envoy cannot take them out of the query";
                    return refused(told.to_owned()).await;
                }
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
        StatusCode::OK if answer.body().size_hint().exact() == Some(0) => StatusCode::NO_CONTENT,
        StatusCode::OK => {
            let told = "this is answered by the gateway itself, or to Envoys that ask by gRPC: over HTTP, 200 would let it through";
            return whole(Denial::from(Unreadable(told.to_owned())).status(StatusCode::FORBIDDEN).response("")).await;
        }
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

    async fn answer(&self, request: Request<Incoming>, _: Caller) -> Response<Self::Body> {
        self.check(request.into_parts().0).await
    }
}
