//! The first start: on an empty store nobody can ask for a signature yet, so the authority answers while its keys are made.
//! A request that may need them, because a tenant was declared meanwhile, waits.
use crate::failure::Failure;
use crate::instance::Instance;
use crate::keys::MasterKey;
use ::authority::Federation;
use axum::Router;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use deputize_core::ports::Directory;
use http::StatusCode;
use std::convert::Infallible;
use std::sync::{Arc, OnceLock};
use store::Store;
use tokio::sync::watch;
use tower::ServiceExt;

/// The authority's endpoints over a store. It answers at once where that can be done.
pub(crate) async fn router(
    store: Arc<Store>,
    master: MasterKey,
    host: &str,
    federation: Federation,
    requests_per_second: u32,
) -> Result<Router, Failure> {
    let limited = move |instance: Instance| instance.limited(requests_per_second).authority.router();
    if !is_empty(&store) || store.signing_keys().is_ok_and(|keys| !keys.is_empty()) {
        return Ok(limited(Instance::open(store, &master, host, federation).await?));
    }
    let early = Instance::with(Arc::clone(&store), Vec::new(), &master, host, Federation::default()).authority.router();
    let (made, waiting) = watch::channel(false);
    let whole = Arc::new(OnceLock::new());
    let (making, host, shared) = (Arc::clone(&whole), host.to_owned(), Arc::clone(&store));
    tokio::spawn(async move {
        let opened = Instance::open(shared, &master, &host, federation).await;
        match opened {
            Ok(instance) => drop(making.set(limited(instance))),
            // Requests that need keys are refused from now on; the next start tries again.
            Err(failure) => tracing::error!(reason = ?failure, "the signing keys could not be made; start again"),
        }
        made.send_replace(true);
    });
    Ok(Router::new().fallback(async move |request: Request| -> Response {
        if whole.get().is_none() && !is_empty(&store) {
            // Ends early only if the sender is gone, and then there is nothing to wait for.
            let _ = waiting.clone().wait_for(|made| *made).await;
        }
        match whole.get() {
            Some(router) => infallible(router.clone().oneshot(request).await),
            None if is_empty(&store) => infallible(early.clone().oneshot(request).await),
            None => (StatusCode::SERVICE_UNAVAILABLE, "the signing keys could not be made\n").into_response(),
        }
    }))
}

fn is_empty(store: &Store) -> bool {
    store.snapshot().tenants().next().is_none()
}

fn infallible(answer: Result<Response, Infallible>) -> Response {
    match answer {
        Ok(response) => response,
        Err(never) => match never {},
    }
}
