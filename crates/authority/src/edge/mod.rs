//! Paths, headers and cookies. One file an endpoint; what is decided is decided in core.

mod authorize;
mod browser;
mod instance;
pub(crate) mod keys;
mod logout;
mod metadata;
mod token;
mod userinfo;

use crate::{Authority, page};
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER,
};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use decision::CheckId;
use deputize_core::denial::Denial;
use oauth::{Form, FormError, MAX_FORM_BYTES};

/// Every route of the authority. To add an endpoint: a file and a line here.
pub(crate) fn router(authority: Authority) -> Router {
    Router::new()
        .route("/{tenant}/oauth2/v2.0/authorize", any(authorize::authorize))
        .route("/{tenant}/oauth2/v2.0/token", any(token::token))
        .route("/{tenant}/oauth2/v2.0/logout", any(logout::logout))
        .route("/{tenant}/sign-in", any(authorize::sign_in))
        .route("/{tenant}/consent", any(authorize::consent))
        .route("/{tenant}/sign-out", any(logout::sign_out))
        .route("/{tenant}/openid/userinfo", any(userinfo::userinfo))
        .route("/{tenant}/discovery/v2.0/keys", get(keys::keys))
        .route("/{tenant}/discovery/keys", get(keys::keys_v1))
        .route("/{tenant}/v2.0/.well-known/openid-configuration", get(metadata::appended))
        .route("/.well-known/openid-configuration/{tenant}/v2.0", get(metadata::appended))
        .route("/.well-known/oauth-authorization-server/{tenant}/v2.0", get(metadata::appended))
        .route("/common/discovery/instance", get(instance::instance))
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
    let headers = response.headers_mut();
    headers.insert("strict-transport-security", HeaderValue::from_static("max-age=31536000"));
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    if unavailable {
        headers.insert(RETRY_AFTER, HeaderValue::from_static("5"));
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
    let code: Option<u32> = query(&request).ok().and_then(|form| form.value("code")?.parse().ok());
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

/// A public document: metadata and keys. No credentials are involved, so any origin may read it.
fn public_document(body: impl Into<Body>) -> Response {
    let headers = [
        (CONTENT_TYPE, "application/json; charset=utf-8"),
        (CACHE_CONTROL, "max-age=86400, private"),
        (ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (HeaderName::from_static("access-control-allow-methods"), "GET, OPTIONS"),
    ];
    (headers, body.into()).into_response()
}

/// The query string, strictly decoded.
fn query(request: &Request) -> Result<Form, FormError> {
    Form::decode(request.uri().query().unwrap_or_default().as_bytes())
}

/// Why a body was not taken.
enum BodyError {
    Method,
    MediaType,
    TooLarge,
    Broken,
    Form(FormError),
}

impl BodyError {
    fn status(&self) -> StatusCode {
        match self {
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooLarge | Self::Form(FormError::TooLarge) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::MediaType | Self::Broken | Self::Form(_) => StatusCode::BAD_REQUEST,
        }
    }

    fn denial(&self) -> Denial {
        let denial = |expected: &str, actual: &str| Denial::new(CheckId::RequestWellFormed, expected, actual);
        match self {
            Self::Method => denial("POST", "another method").fix("send the request with POST"),
            Self::MediaType => denial("`application/x-www-form-urlencoded` in UTF-8", "another content type")
                .fix("send the parameters form-encoded in the body"),
            Self::Broken => denial("a whole body", "one that broke off").fix("send the body again, whole"),
            Self::TooLarge => denial("at most 65536 bytes", "more").fix("send less"),
            Self::Form(error) => denial("a form", &error.to_string()),
        }
    }
}

/// A posted form: the right method, the right type, bounded in size, strictly decoded.
async fn posted(request: Request) -> Result<Form, BodyError> {
    if request.method() != Method::POST {
        return Err(BodyError::Method);
    }
    let mut types = request.headers().get_all(CONTENT_TYPE).iter();
    let essence = types.next().and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut parts = essence.split(';').map(str::trim);
    let form = parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case("application/x-www-form-urlencoded"));
    let utf8 = parts.all(|part| part.to_ascii_lowercase().replace('"', "") == "charset=utf-8");
    if !form || !utf8 || types.next().is_some() {
        return Err(BodyError::MediaType);
    }
    let bytes = axum::body::to_bytes(request.into_body(), MAX_FORM_BYTES).await.map_err(|error| {
        let limit = error.into_inner().downcast::<http_body_util::LengthLimitError>().is_ok();
        if limit { BodyError::TooLarge } else { BodyError::Broken }
    })?;
    Form::decode(&bytes).map_err(BodyError::Form)
}

fn method_not_allowed(allowed: &'static str, mut response: Response) -> Response {
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    response
}

fn wants_html(headers: &axum::http::HeaderMap) -> bool {
    headers.get("accept").and_then(|accept| accept.to_str().ok()).is_some_and(|accept| accept.contains("text/html"))
}
