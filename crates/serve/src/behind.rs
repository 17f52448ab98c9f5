//! What stands behind a listener, whatever it is: all of HTTP is compiled once, and not for each of them.
use crate::{Caller, Serve};
use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty};
use hyper::body::{Body as _, Incoming};
use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;

/// The body of any answer.
pub(crate) type Body = UnsyncBoxBody<Bytes, Box<dyn Error + Send + Sync>>;

/// An answer, once it is there.
pub(crate) type Answering = Pin<Box<dyn Future<Output = Response<Body>> + Send>>;

/// Any [`Serve`].
pub(crate) trait Behind: Send + Sync {
    /// [`Serve::answer`].
    fn answer(self: Arc<Self>, request: Request<Incoming>, caller: Caller) -> Answering;

    /// [`Serve::WAITING_ANSWERS_END`].
    fn do_waiting_answers_end(&self) -> bool;

    /// [`Serve::UPGRADES`].
    fn upgrades(&self) -> bool;
}

/// What stands behind listeners, whatever it is. All that it answers with is compiled where one is made of a [`Serve`].
#[derive(Clone)]
pub struct Service(pub(crate) Arc<dyn Behind>);

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service").finish_non_exhaustive()
    }
}

impl<S: Serve> From<Arc<S>> for Service {
    fn from(service: Arc<S>) -> Self {
        Self(service)
    }
}

impl<S: Serve> Behind for S {
    fn answer(self: Arc<Self>, request: Request<Incoming>, caller: Caller) -> Answering {
        Box::pin(async move {
            let response = Serve::answer(&*self, request, caller).await;
            response.map(|body| body.map_err(Into::into).boxed_unsync())
        })
    }

    fn do_waiting_answers_end(&self) -> bool {
        S::WAITING_ANSWERS_END
    }

    fn upgrades(&self) -> bool {
        S::UPGRADES
    }
}

/// The head of an answer, which says how long the body would be.
pub(crate) fn without_body(response: Response<Body>) -> Response<Body> {
    let (mut parts, body) = response.into_parts();
    if let Some(length) = body.size_hint().exact().filter(|_| !body.is_end_stream()) {
        parts.headers.entry(CONTENT_LENGTH).or_insert_with(|| length.into());
    }
    Response::from_parts(parts, Empty::new().map_err(|never| match never {}).boxed_unsync())
}
