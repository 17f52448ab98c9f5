//! The gateway's decisions for proxies that forward by themselves: Envoy's external authorization, and the subrequest that nginx, Traefik
//! and Caddy make. Policies and their order are those of the gateway's own requests, and what a proxy is told to change is what the
//! gateway itself would have sent otherwise.
mod asked;
mod envoy;
mod envoy_http;
mod means;

pub(crate) use asked::{remark, remark_for_envoy, remark_on_certificates};
pub use envoy_http::EnvoyAuthorizer;

use crate::denial::Denial;
use crate::gateway::{Gateway, Judged, Peer};
use crate::record::Record;
use asked::{Asked, Changes, Unreadable};
use bytes::Bytes;
use envoy::{CheckRequest, CheckResponse};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Either, Full, Limited};
use hyper::body::{Frame, Incoming};
use means::Means;
use prost::Message;
use serve::{Caller, Serve};
use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// The most that a proxy tells of a request, in bytes: its head, and what is around it.
const LONGEST: usize = 256 << 10;

/// Answers proxies. Whoever can ask it is given onward credentials for the tokens that they hold, so it belongs on loopback.
pub struct Authorizer(Arc<Gateway>);

impl Authorizer {
    /// By this gateway's configuration.
    pub fn new(gateway: Arc<Gateway>) -> Self {
        Self(gateway)
    }

    /// What is decided for a proxy of these means, and what it has to change.
    async fn judge(&self, asked: &Asked, means: Means) -> (Judged, Changes) {
        let mut changes = Changes::default();
        let (parts, peer) = match asked.parts() {
            Ok(told) => told,
            Err(unreadable) => {
                let told = (&asked.method, asked.path());
                let refused = self.refuse(told, asked.peer(), &asked.headers, unreadable);
                return (Judged::Answered(refused), changes);
            }
        };
        let able = |judged: &Judged| match judged {
            Judged::Permitted { sent, state, .. } => {
                changes = Changes::between(asked, sent);
                means.can_make(&changes, state)
            }
            Judged::Answered(answer) => means.can_pass_on(answer),
        };
        let judged = self.0.judge(parts, peer, able).await;
        (judged, changes)
    }

    /// Refuses what cannot be judged. It is told of like any other refusal, by what of it can be read.
    fn refuse(
        &self,
        (method, path): (&Method, &str),
        peer: Peer,
        headers: &HeaderMap,
        unreadable: Unreadable,
    ) -> Response<crate::Body> {
        let mut record = Record::new(self.0.ports(), peer, headers);
        record.asked(method, path);
        let response = record.refused(Denial::from(unreadable));
        record.end(0, true);
        response
    }

    /// 200 with the fields that the service is to be sent, or the refusal.
    async fn forward_auth(&self, mut parts: Parts, proxy: Peer) -> Response<Full<Bytes>> {
        let asked = match Asked::forwarded(&mut parts.headers) {
            Ok(asked) => asked,
            Err(unreadable) => {
                let question = (&parts.method, parts.uri.path());
                return whole(self.refuse(question, proxy, &parts.headers, unreadable)).await;
            }
        };
        match self.judge(&asked, Means::Subrequest).await {
            (Judged::Answered(answer), _) => whole(answer).await,
            (Judged::Permitted { .. }, changes) => {
                let mut answer = Response::new(Full::default());
                answer.headers_mut().extend(changes.set);
                answer.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
                answer
            }
        }
    }

    /// `None` for what is no message of Envoy's.
    async fn check(&self, question: Request<Incoming>, proxy: Peer) -> Option<CheckResponse> {
        let (parts, body) = question.into_parts();
        let framed = Limited::new(body, LONGEST).collect().await.ok()?.to_bytes();
        // One message, not compressed: a zero, its length, and it.
        let (head, message) = framed.split_at_checked(5)?;
        let length = u32::from_be_bytes(head.get(1..)?.try_into().ok()?);
        if head.first() != Some(&0) || usize::try_from(length).ok()? != message.len() {
            return None;
        }
        let judged = match CheckRequest::decode(message).ok()?.asked() {
            Ok(asked) => match self.judge(&asked, Means::Grpc).await {
                (Judged::Permitted { answer, .. }, changes) => {
                    return Some(CheckResponse::permitted(&changes, &answer));
                }
                (Judged::Answered(answer), _) => answer,
            },
            Err(unreadable) => self.refuse((&parts.method, parts.uri.path()), proxy, &parts.headers, unreadable),
        };
        let (parts, body) = whole(judged).await.into_parts();
        let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        Some(CheckResponse::answered(parts.status, &parts.headers, &body))
    }
}

/// The other end of a proxy's own connection: for what it asks about that does not say where it came from.
fn proxy(caller: Caller) -> Peer {
    // Who comes over a Unix socket is a program of this machine.
    let address = caller.address.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    Peer { address, is_tls: false, told_in: None }
}

async fn whole(answer: Response<crate::Body>) -> Response<Full<Bytes>> {
    let (parts, body) = answer.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    Response::from_parts(parts, Full::new(body))
}

impl Serve for Authorizer {
    type Body = Either<Full<Bytes>, Rpc>;

    async fn answer(&self, request: Request<Incoming>, caller: Caller) -> Response<Self::Body> {
        let proxy = proxy(caller);
        match (request.method(), request.uri().path()) {
            (_, "/forward-auth") => self.forward_auth(request.into_parts().0, proxy).await.map(Either::Left),
            (_, "/auth-request") => {
                let mut answer = self.forward_auth(request.into_parts().0, proxy).await;
                // nginx knows three answers, and makes 500 of all others.
                if !matches!(answer.status(), StatusCode::OK | StatusCode::UNAUTHORIZED) {
                    *answer.status_mut() = StatusCode::FORBIDDEN;
                }
                answer.map(Either::Left)
            }
            (&Method::POST, envoy::CHECK) => {
                let told = self.check(request, proxy).await;
                let mut answer = Response::new(Either::Right(Rpc::new(told.as_ref())));
                answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
                answer
            }
            _ => {
                let told = "there are `/forward-auth`, `/auth-request` for nginx, and Envoy's `envoy.service.auth.v3.Authorization/Check`";
                let mut answer = Response::new(Full::from(told));
                *answer.status_mut() = StatusCode::NOT_FOUND;
                answer.map(Either::Left)
            }
        }
    }
}

/// One message of gRPC and its status.
pub struct Rpc {
    message: Option<Bytes>,
    trailers: Option<HeaderMap>,
}

impl Rpc {
    fn new(answer: Option<&CheckResponse>) -> Self {
        let message = answer.map(|answer| {
            let message = answer.encode_to_vec();
            let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
            Bytes::from([&[0], length.to_be_bytes().as_slice(), &message].concat())
        });
        // `OK` or `INVALID_ARGUMENT`.
        let status = HeaderValue::from_static(if message.is_some() { "0" } else { "3" });
        Self { message, trailers: Some([(http::HeaderName::from_static("grpc-status"), status)].into_iter().collect()) }
    }
}

impl hyper::body::Body for Rpc {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let message = self.message.take().map(Frame::data);
        let next = message.or_else(|| self.trailers.take().map(Frame::trailers));
        Poll::Ready(next.map(Ok))
    }
}
