//! An API that is replaced while its listener serves: when the configuration is read again.
use arc_swap::ArcSwap;
use http::{Request, Response};
use hyper::body::Incoming;
use serve::{Caller, Serve};
use std::sync::Arc;

/// What a listener serves now. Requests that are under way end with what they began with.
pub struct Current<S>(ArcSwap<S>);

impl<S> Current<S> {
    /// This, until it is replaced.
    pub fn new(service: S) -> Arc<Self> {
        Arc::new(Self(ArcSwap::from_pointee(service)))
    }

    /// From the next request on, this.
    pub fn replace(&self, service: S) {
        self.0.store(Arc::new(service));
    }
}

impl<S: Serve> Serve for Current<S> {
    type Body = S::Body;
    const WAITING_ANSWERS_END: bool = S::WAITING_ANSWERS_END;

    async fn answer(&self, request: Request<Incoming>, caller: Caller) -> Response<Self::Body> {
        let service = self.0.load_full();
        service.answer(request, caller).await
    }
}
