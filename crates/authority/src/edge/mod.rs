//! Paths, headers and cookies. One file an endpoint; what is decided is decided in core.

mod account;
mod authorize;
mod bearer;
mod browser;
mod device;
pub(crate) mod events;
mod form;
mod instance;
pub(crate) mod keys;
mod logout;
mod member_objects;
mod metadata;
mod refusal;
mod token;
mod userinfo;

use crate::{Authority, page};
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_MAX_AGE,
    ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER,
};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use decision::CheckId;
use deputize_core::denial::Denial;

/// Every route of the authority. To add an endpoint: a file and a line here.
pub(crate) fn router(authority: Authority) -> Router {
    let public_documents = Router::new()
        .route("/{tenant}/events", any(events::events))
        .route("/{tenant}/discovery/v2.0/keys", get(keys::keys))
        .route("/{tenant}/discovery/keys", get(keys::keys_v1))
        .route("/{tenant}/v2.0/.well-known/openid-configuration", get(metadata::appended))
        .route("/.well-known/openid-configuration/{tenant}/v2.0", get(metadata::appended))
        .route("/.well-known/oauth-authorization-server/{tenant}/v2.0", get(metadata::appended))
        .route("/{tenant}/.well-known/openid-configuration", get(metadata::v1))
        .route("/.well-known/openid-configuration/{tenant}", get(metadata::v1))
        .route("/.well-known/oauth-authorization-server/{tenant}", get(metadata::v1))
        .route("/common/discovery/instance", get(instance::instance))
        .route_layer(axum::middleware::from_fn(for_any_origin));
    Router::new()
        .merge(public_documents)
        .route("/{tenant}/oauth2/v2.0/authorize", any(authorize::authorize))
        .route("/{tenant}/oauth2/v2.0/token", any(token::token))
        .route("/{tenant}/oauth2/v2.0/introspect", any(token::introspect))
        .route("/{tenant}/oauth2/v2.0/revoke", any(token::revoke))
        .route("/{tenant}/oauth2/v2.0/devicecode", any(device::begin))
        .route("/{tenant}/oauth2/devicecode", any(device::v1))
        .route("/device", any(device::device))
        .route("/device/approve", any(device::approve))
        .route("/{tenant}/oauth2/v2.0/logout", any(logout::logout))
        .route("/{tenant}/oauth2/authorize", any(authorize::v1))
        .route("/{tenant}/oauth2/token", any(token::v1))
        .route("/{tenant}/oauth2/logout", any(logout::logout))
        .route("/{tenant}/sign-in", any(authorize::sign_in))
        .route("/{tenant}/consent", any(authorize::consent))
        .route("/{tenant}/second-factor", any(authorize::second_factor))
        .route("/{tenant}/ask-admin", any(authorize::ask_admin))
        .route("/{tenant}/adminconsent", any(account::admin_consent_v1))
        .route("/{tenant}/adminconsent/decide", any(account::admin_decided_v1))
        .route("/{tenant}/v2.0/adminconsent", any(account::admin_consent_v2))
        .route("/{tenant}/v2.0/adminconsent/decide", any(account::admin_decided_v2))
        .route("/{tenant}/consents", any(account::given))
        .route("/{tenant}/consent-requests", any(account::approvals))
        .route("/{tenant}/sign-in/{place}", any(account::sign_in))
        .route("/{tenant}/sign-out", any(logout::sign_out))
        .route("/{tenant}/openid/userinfo", any(userinfo::userinfo))
        .route("/{tenant}/users/{user}/getMemberObjects", any(member_objects::member_objects))
        .route("/error", get(error_page))
        .route("/assets/{name}", get(asset))
        .route("/health/live", get(|| async { "live\n" }))
        .route("/health/ready", get(ready))
        .fallback(not_found)
        .layer(axum::middleware::from_fn(everywhere))
        .with_state(authority)
}

/// Headers that every answer has.
async fn everywhere(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let unavailable = response.status() == StatusCode::SERVICE_UNAVAILABLE;
    let limited = response.status() == StatusCode::TOO_MANY_REQUESTS;
    let headers = response.headers_mut();
    headers.insert("strict-transport-security", HeaderValue::from_static("max-age=31536000"));
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    if unavailable {
        headers.insert(RETRY_AFTER, HeaderValue::from_static("5"));
    } else if limited {
        headers.entry(RETRY_AFTER).or_insert(HeaderValue::from_static("30"));
    }
    response
}

/// Public documents may be read by any page, and errors about them: no credentials are involved. Browsers ask first only
/// if a page adds headers of its own.
async fn for_any_origin(request: Request, next: Next) -> Response {
    let preflight = request.method() == Method::OPTIONS;
    let mut response = if preflight { StatusCode::NO_CONTENT.into_response() } else { next.run(request).await };
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    if preflight {
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET"));
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("*"));
        headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("3600"));
    }
    response
}

async fn asset(request: Request) -> Response {
    match pages::asset(request.uri().path()) {
        Some(response) => response.map(Body::from),
        None => not_found(request).await,
    }
}

/// Ready while the ledger answers, and takes what is written. It writes nothing itself: strangers ask.
async fn ready(State(authority): State<Authority>) -> Response {
    let ledger = &authority.ports.ledger;
    let unready = |text: &'static str| (StatusCode::SERVICE_UNAVAILABLE, text).into_response();
    if ledger.session(deputize_core::id::SessionId::default()).await.is_err() {
        unready("the store does not answer\n")
    } else if !ledger.writable() {
        unready("the store does not take what is written: look at its disk and its permissions\n")
    } else {
        "ready\n".into_response()
    }
}

async fn not_found(request: Request) -> Response {
    let denial =
        Denial::new(CheckId::RequestWellFormed, "a path of this authority", "another one").fix("check the address");
    if wants_html(request.headers()) {
        page::error(404, &denial, None, None)
    } else {
        json(
            StatusCode::NOT_FOUND,
            &serde_json::json!({"error": "invalid_request", "error_description": denial.sentence()}),
        )
    }
}

/// What an AADSTS code means; `error_uri` points here.
async fn error_page(request: Request) -> Response {
    let code: Option<u32> = form::query(&request).ok().and_then(|form| form.value("code")?.parse().ok());
    let check = code.and_then(|code| CheckId::ALL.iter().find(|check| check.entry().aadsts == Some(code)));
    match check {
        Some(check) => page::reference(&Denial::new(*check, "", "")),
        None => not_found(request).await,
    }
}

/// A JSON answer that anyone may read but nobody may keep.
fn json<T: serde::Serialize>(status: StatusCode, body: &T) -> Response {
    let bytes = serde_json::to_vec(body).unwrap_or_default();
    let mut response = (status, bytes).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store, no-cache"));
    headers.insert("pragma", HeaderValue::from_static("no-cache"));
    headers.insert("expires", HeaderValue::from_static("-1"));
    response
}

/// A public document that does not change from one request to the next: metadata and keys.
fn public_document(body: impl Into<Body>) -> Response {
    let headers = [(CONTENT_TYPE, "application/json; charset=utf-8"), (CACHE_CONTROL, "max-age=86400, private")];
    (headers, body.into()).into_response()
}

fn method_not_allowed(allowed: &'static str, mut response: Response) -> Response {
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    response
}

fn wants_html(headers: &axum::http::HeaderMap) -> bool {
    headers.get("accept").and_then(|accept| accept.to_str().ok()).is_some_and(|accept| accept.contains("text/html"))
}
