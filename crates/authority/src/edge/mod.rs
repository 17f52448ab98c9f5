//! Paths, headers and cookies. One file an endpoint; what is decided is decided in core.

mod account;
mod authorize;
mod bearer;
mod browser;
mod device;
mod directory_api;
pub(crate) mod endpoint;
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

use self::endpoint::{Caller, Endpoint, Readers, Route};
use crate::{Authority, page};
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use decision::CheckId;
use deputize_core::denial::Denial;
use oauth::{Parameter, Parameters, Place};

/// Every endpoint of the authority. To add one: a file with its entries, and a line here.
const ALL: &[&[Endpoint]] = &[
    authorize::ENDPOINTS,
    token::ENDPOINTS,
    device::ENDPOINTS,
    userinfo::ENDPOINTS,
    member_objects::ENDPOINTS,
    logout::ENDPOINTS,
    account::ENDPOINTS,
    metadata::ENDPOINTS,
    keys::ENDPOINTS,
    instance::ENDPOINTS,
    events::ENDPOINTS,
    directory_api::ENDPOINTS,
    ENDPOINTS,
];

/// Every endpoint, in the order of the reference.
pub fn endpoints() -> impl Iterator<Item = &'static Endpoint> {
    ALL.iter().copied().flatten()
}

/// The routes of all endpoints.
pub(crate) fn router(authority: Authority) -> Router {
    Endpoint::router(endpoints(), &authority)
        .fallback(not_found)
        .layer(axum::middleware::from_fn(everywhere))
        .with_state(authority)
}

const ENDPOINTS: &[Endpoint] = &[
    Endpoint {
        title: "Explanation of a code",
        purpose: "What an AADSTS code means, and what to do; `error_uri` of every error points here.",
        routes: &[Route { path: "/error", handler: || get(error_page) }],
        methods: &["GET"],
        parameters: &[&[Parameters {
            when: "",
            each: &[Parameter::depends("code", "The number after `AADSTS`.").at(Place::Query)],
        }]],
        caller: Caller::Browser,
        readers: Readers::None,
        notes: &["A code that is not this authority's is answered with 404."],
    },
    Endpoint {
        title: "Assets",
        purpose: "Style and scripts of the pages. Their names change with what they hold.",
        routes: &[Route { path: "/assets/{name}", handler: || get(asset) }],
        methods: &["GET"],
        parameters: &[],
        caller: Caller::Browser,
        readers: Readers::None,
        notes: &[],
    },
    Endpoint {
        title: "Health",
        purpose: "Whether the process lives, and whether it can serve: 503 while the store does not answer or take writes.",
        routes: &[
            Route { path: "/health/live", handler: || get(|| async { "live\n" }) },
            Route { path: "/health/ready", handler: || get(ready) },
        ],
        methods: &["GET"],
        parameters: &[],
        caller: Caller::Program,
        readers: Readers::None,
        notes: &[],
    },
];

/// Headers that every answer has.
async fn everywhere(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let unavailable = response.status() == StatusCode::SERVICE_UNAVAILABLE;
    let headers = response.headers_mut();
    headers.insert("strict-transport-security", HeaderValue::from_static("max-age=31536000"));
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    if unavailable {
        headers.insert(RETRY_AFTER, HeaderValue::from_static("5"));
    }
    response
}

/// Says how long to wait, where that is known: never for a person's own refusal (spec/entra.md section 8.3).
fn wait(response: &mut Response, seconds: Option<i64>) {
    if let Some(seconds) = seconds {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
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

fn wants_html(headers: &axum::http::HeaderMap) -> bool {
    headers.get("accept").and_then(|accept| accept.to_str().ok()).is_some_and(|accept| accept.contains("text/html"))
}
