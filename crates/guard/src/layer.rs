//! The guard as a tower layer.
use crate::dpop::DPOP_NONCE;
use crate::shown::Shown;
use crate::{Guard, Principal, Refused};
use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, Request};
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
            match let_in(&guard, &request).await {
                Ok((principal, nonce)) => {
                    request.extensions_mut().insert(principal);
                    let mut response = inner.call(request).await.map(IntoResponse::into_response)?;
                    response.headers_mut().extend(nonce);
                    Ok(response)
                }
                Err(refused) => Ok(refused.into_response()),
            }
        })
    }
}

/// Who calls, and a field of the answer.
type LetIn = (Principal, Option<(HeaderName, HeaderValue)>);

/// Nothing of the request is held while something is waited for, so that its body need not be shared.
fn let_in<B>(guard: &Guard, request: &Request<B>) -> impl Future<Output = Result<LetIn, Refused>> + Send + use<B> {
    let (headers, uri, method) = (request.headers(), request.uri(), request.method().as_str());
    let at_once = guard.shown(headers, uri.query(), method, uri.path()).map(|shown| {
        let decided = guard.try_asked(shown.presented, shown.asked(guard, method, uri.path()));
        let value = decided.is_none().then(|| shown.presented.map(|value| value.map(str::to_owned)));
        (decided, value, shown.proof)
    });
    let guard = guard.clone();
    let place = at_once.as_ref().is_ok_and(|(decided, ..)| decided.is_none());
    let place = place.then(|| (request.method().clone(), uri.path().to_owned()));
    async move {
        let (decided, value, proof) = at_once?;
        let principal = match (decided, value, place) {
            (Some(decided), ..) => decided?,
            (None, value, place) => {
                let (method, path) = place.unwrap_or_default();
                let value = value.unwrap_or(Ok(None));
                let presented = value.as_ref().map(Option::as_deref).map_err(|e| *e);
                let shown = Shown { presented, proof: proof.clone() };
                Box::pin(guard.settle(presented, shown.asked(&guard, method.as_str(), &path))).await?
            }
        };
        guard.spend(proof.as_ref())?;
        let nonce = proof.and_then(|proof| guard.next_nonce(&proof));
        Ok((principal, nonce.and_then(|nonce| Some((DPOP_NONCE, HeaderValue::try_from(nonce).ok()?)))))
    }
}
