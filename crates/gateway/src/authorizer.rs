//! The gateway's decisions for proxies that forward by themselves: Envoy's external authorization, and the subrequest that nginx, Traefik
//! and Caddy make. Policies and their order are those of the gateway's own requests, and what a proxy is told to change is what the
//! gateway itself would have sent otherwise.
mod asked;
mod envoy;
mod envoy_http;

pub(crate) use asked::{remark, remark_for_envoy};
pub use envoy_http::EnvoyAuthorizer;

use crate::denial::Denial;
use crate::gateway::{Gateway, Judged};
use asked::{Asked, Changes, Unreadable};
use bytes::Bytes;
use envoy::{CheckRequest, CheckResponse};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Either, Full, Limited};
use hyper::body::{Frame, Incoming};
use prost::Message;
use serve::{Caller, Serve};
use std::convert::Infallible;
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

    async fn judge(&self, asked: &Asked) -> Judged {
        match asked.parts() {
            Ok((parts, peer)) => self.0.judge(parts, peer).await,
            Err(unreadable) => Judged::Answered(Denial::from(unreadable).response("")),
        }
    }

    /// 200 with the fields that the service is to be sent, or the refusal.
    async fn forward_auth(&self, headers: HeaderMap) -> Response<Full<Bytes>> {
        let asked = match Asked::forwarded(headers) {
            Ok(asked) => asked,
            Err(unreadable) => return whole(Denial::from(unreadable).response("")).await,
        };
        match self.judge(&asked).await {
            // A proxy takes any 2xx for a permission: a preflight's answer must not look like one.
            Judged::Answered(answer) if answer.status().is_success() => {
                let told = "answer preflights before you ask: their answer cannot be passed on";
                whole(Denial::from(Unreadable(told.to_owned())).status(StatusCode::FORBIDDEN).response("")).await
            }
            Judged::Answered(answer) => whole(answer).await,
            Judged::Permitted { sent, state, .. } => {
                let changes = Changes::between(&asked, &sent);
                if let Some(name) = changes.forged(&state.injected, &state.secrets) {
                    let told = format!(
                        "leave out `{name}`: it says who somebody is or where they come from, or is taken for a field that does, and \
                         a proxy cannot take it out"
                    );
                    return whole(Denial::from(Unreadable(told)).response("")).await;
                }
                if !changes.remove_parameters.is_empty() {
                    let told = "send keys and tokens in fields: a proxy cannot take them out of the query";
                    return whole(Denial::from(Unreadable(told.to_owned())).response("")).await;
                }
                let mut answer = Response::new(Full::default());
                answer.headers_mut().extend(changes.set);
                answer.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
                answer
            }
        }
    }

    /// `None` for what is no message of Envoy's.
    async fn check(&self, body: Incoming) -> Option<CheckResponse> {
        let framed = Limited::new(body, LONGEST).collect().await.ok()?.to_bytes();
        // One message, not compressed: a zero, its length, and it.
        let (head, message) = framed.split_at_checked(5)?;
        let length = u32::from_be_bytes(head.get(1..)?.try_into().ok()?);
        if head.first() != Some(&0) || usize::try_from(length).ok()? != message.len() {
            return None;
        }
        let judged = match CheckRequest::decode(message).ok()?.asked() {
            Ok(asked) => match self.judge(&asked).await {
                Judged::Permitted { sent, answer, .. } => {
                    return Some(CheckResponse::permitted(&Changes::between(&asked, &sent), &answer));
                }
                Judged::Answered(answer) => answer,
            },
            Err(unreadable) => Denial::from(unreadable).response(""),
        };
        let (parts, body) = whole(judged).await.into_parts();
        let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        Some(CheckResponse::answered(parts.status, &parts.headers, &body))
    }
}

async fn whole(answer: Response<crate::Body>) -> Response<Full<Bytes>> {
    let (parts, body) = answer.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    Response::from_parts(parts, Full::new(body))
}

impl Serve for Authorizer {
    type Body = Either<Full<Bytes>, Rpc>;

    async fn answer(&self, request: Request<Incoming>, _: Caller) -> Response<Self::Body> {
        match (request.method(), request.uri().path()) {
            (_, "/forward-auth") => self.forward_auth(request.into_parts().0.headers).await.map(Either::Left),
            (_, "/auth-request") => {
                let mut answer = self.forward_auth(request.into_parts().0.headers).await;
                // nginx knows three answers, and makes 500 of all others.
                if !matches!(answer.status(), StatusCode::OK | StatusCode::UNAUTHORIZED) {
                    *answer.status_mut() = StatusCode::FORBIDDEN;
                }
                answer.map(Either::Left)
            }
            (&Method::POST, envoy::CHECK) => {
                let told = self.check(request.into_body()).await;
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
