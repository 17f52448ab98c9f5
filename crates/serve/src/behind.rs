//! What stands behind a listener, whatever it is: all of HTTP is compiled once, and not for each of them.
use crate::{Caller, Serve};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
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
