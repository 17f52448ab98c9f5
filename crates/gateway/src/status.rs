//! What platforms and operators ask: whether the process lives, whether it can decide, what it counted, and what it decides now.
//! Each on a listener of its own, so that nothing of it is ever an API's.
use crate::Gateway;
use crate::telemetry::Watched;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use serve::{Caller, Serve};
use std::sync::Arc;
use telemetry::{Source as _, prometheus};

fn text(status: StatusCode, kind: &'static str, text: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::new(text.into()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}

const PLAIN: &str = "text/plain; charset=utf-8";

/// `/healthz`, `/readyz` and `/metrics`.
pub struct Status(Arc<Gateway>);

impl Status {
    /// Tells of this gateway.
    pub fn new(gateway: Arc<Gateway>) -> Self {
        Self(gateway)
    }

    /// 200 where every issuer's keys and every secret are at hand, else 503 with what is not. Limits that are not shared for a while
    /// are named too, and make nothing unready: all gateways would be at once, and each can count alone.
    fn readiness(&self) -> Response<Full<Bytes>> {
        let missing = self.0.issuers().into_iter().filter(|(_, status)| status.is_none());
        let mut missing: Vec<String> =
            missing.map(|(issuer, _)| format!("the keys of {issuer} are not at hand")).collect();
        missing.extend(self.0.missing().into_iter().map(|what| format!("{what} is not at hand")));
        let status = if missing.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        let mut told = if missing.is_empty() { vec!["ready".to_owned()] } else { missing };
        if let Some((at, Some(why))) = self.0.shared_limits().map(|shared| shared.fares()) {
            told.push(format!("limits are not shared, and each gateway counts alone: {at}: {why}"));
        }
        text(status, PLAIN, told.join("\n"))
    }
}

impl Serve for Status {
    type Body = Full<Bytes>;

    async fn answer(&self, request: Request<Incoming>, _: Caller) -> Response<Full<Bytes>> {
        match (request.method(), request.uri().path()) {
            (&Method::GET | &Method::HEAD, "/" | "/healthz") => text(StatusCode::OK, PLAIN, "ok"),
            (&Method::GET | &Method::HEAD, "/readyz") => self.readiness(),
            (&Method::GET, "/metrics") => {
                let scrape = prometheus::text(&self.0.metrics(), self.0.labels());
                text(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", scrape)
            }
            _ => text(StatusCode::NOT_FOUND, PLAIN, "there are `/healthz`, `/readyz` and `/metrics`"),
        }
    }
}

/// `/trace`: every decision as it is made, a line of JSON each. It names users: programs of one user of this machine are answered,
/// over a Unix socket, and nobody else.
pub struct Control {
    gateway: Arc<Gateway>,
    uid: u32,
}

impl Control {
    /// Of this gateway, for programs of this user, and for root's.
    pub fn new(gateway: Arc<Gateway>, uid: u32) -> Self {
        Self { gateway, uid }
    }
}

impl Serve for Control {
    type Body = Either<Watched, Full<Bytes>>;

    async fn answer(&self, request: Request<Incoming>, caller: Caller) -> Response<Self::Body> {
        if !caller.uid.is_some_and(|uid| uid == 0 || uid == self.uid) {
            let told = "only the user who runs the gateway is told; run this as them, or as root";
            return text(StatusCode::FORBIDDEN, PLAIN, told).map(Either::Right);
        }
        if (request.method(), request.uri().path()) != (&Method::GET, "/trace") {
            return text(StatusCode::NOT_FOUND, PLAIN, "there is `/trace`").map(Either::Right);
        }
        match self.gateway.telemetry().live().watch() {
            Some(lines) => {
                let mut answer = Response::new(Either::Left(lines));
                answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
                answer
            }
            None => text(StatusCode::SERVICE_UNAVAILABLE, PLAIN, "too many watch already; end one").map(Either::Right),
        }
    }
}
