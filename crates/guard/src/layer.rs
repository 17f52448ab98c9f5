//! The guard as a tower layer.
use crate::{Guard, bearer};
use axum::response::{IntoResponse, Response};
use http::Request;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use tower::{Layer, Service};

/// Puts a guard before a service. Made by [`Guard::layer`].
#[derive(Clone, Debug)]
pub struct GuardLayer(Guard);

impl GuardLayer {
    pub(crate) fn new(guard: Guard) -> Self {
        Self(guard)
    }
}

impl<S> Layer<S> for GuardLayer {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded { guard: self.0.clone(), inner }
    }
}

/// A service behind a guard.
#[derive(Clone, Debug)]
pub struct Guarded<S> {
    guard: Guard,
    inner: S,
}

impl<S, B> Service<Request<B>> for Guarded<S>
where
    S: Service<Request<B>> + Clone + Send + 'static,
    S::Response: IntoResponse,
    S::Future: Send + 'static,
    B: Send + 'static,
{
    type Response = Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let guard = self.guard.clone();
        // The service that was polled ready is the one that is called.
        let ready = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, ready);
        Box::pin(async move {
            let decided = {
                let (headers, uri) = (request.headers(), request.uri());
                let presented = bearer::authorization(headers, uri.query());
                if let Some(decided) = guard.try_presented(presented, request.method().as_str(), uri.path()) {
                    decided
                } else {
                    let (method, path) = (request.method().clone(), uri.path().to_owned());
                    let value = presented.map(|v| v.map(str::to_owned));
                    let presented = value.as_ref().map(Option::as_deref).map_err(|e| *e);
                    Box::pin(guard.check_presented(presented, method.as_str(), &path)).await
                }
            };
            match decided {
                Ok(principal) => {
                    request.extensions_mut().insert(principal);
                    inner.call(request).await.map(IntoResponse::into_response)
                }
                Err(refused) => Ok(refused.into_response()),
            }
        })
    }
}
