//! The local endpoints of managed identity as a router: App Service's at `/msi/token`, the instance metadata service's below
//! `/metadata`. HTTP, so for loopback and namespaces only.
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::routing::any;
use client::managed_identity::{AppService, Imds};
use std::sync::Arc;

/// Where App Service's contract is answered.
pub(crate) const APP_SERVICE: &str = "/msi/token";

/// Both contracts.
pub(crate) fn router(app_service: AppService, imds: Imds) -> Router {
    let (app_service, imds) = (Arc::new(app_service), Arc::new(imds));
    let site = any(move |request: Request| {
        let app_service = Arc::clone(&app_service);
        async move { app_service.answer(&request.into_parts().0).await.map(Body::from) }
    });
    let machine = any(move |request: Request| {
        let imds = Arc::clone(&imds);
        async move { imds.answer(&request.into_parts().0).await.map(Body::from) }
    });
    Router::new().route(APP_SERVICE, site).fallback_service(machine)
}
