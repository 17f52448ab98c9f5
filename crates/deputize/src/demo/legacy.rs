//! Services from before tokens: one that knows a password, and one that knows a certificate. They show what they are sent.
use crate::failure::Failure;
use aws_lc_rs::digest::{SHA256, digest};
use axum::Router;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use oauth::Secret;
use serde_json::{Value, json};
use serve::{Caller, Mutual, Serve, Shown};
use std::path::Path;
use std::sync::Arc;

/// Knows one name and one password.
pub(super) fn ledger(password: &Secret) -> Router {
    let wanted = format!("Basic {}", STANDARD.encode(format!("gateway:{}", password.expose())));
    Router::new().fallback(move |headers: HeaderMap| {
        let wanted = wanted.clone();
        async move { entries(&headers, &wanted) }
    })
}

fn entries(headers: &HeaderMap, wanted: &str) -> Response {
    let shown = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    if shown != Some(wanted) {
        return (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, "Basic realm=\"ledger\"")]).into_response();
    }
    let body = json!({ "user": "gateway", "fields": names(headers), "entries": ["E-1", "E-2"] });
    ([(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

fn names(headers: &HeaderMap) -> Vec<&str> {
    headers.keys().map(header::HeaderName::as_str).collect()
}

/// What a certificate is known by (`x5t#S256`, RFC 8705 section 3.1).
pub(super) fn thumbprint(der: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, der))
}

/// Knows the certificates of one authority, in the handshake.
pub(super) struct Archive;

impl Archive {
    /// How it speaks TLS: with this machine's certificate, to who shows one of the demo's own authority.
    pub(super) fn tls(certificate: &Path, key: &Path, authority: &Path) -> Result<Arc<Mutual>, Failure> {
        let mutual = Mutual::open(certificate.to_owned(), key.to_owned(), authority.to_owned(), None);
        mutual.map_err(|problem| Failure::plain(format!("the archive cannot start: {problem}")))
    }
}

impl Serve for Archive {
    type Body = Full<Bytes>;

    async fn answer(&self, request: Request<Incoming>, _: Caller) -> http::Response<Full<Bytes>> {
        let shown = request.extensions().get::<Arc<Shown>>().and_then(|shown| shown.chain().first());
        let certificate = shown.map(|der| thumbprint(der));
        let user = request.headers().get("x-user").and_then(|value| value.to_str().ok());
        let body: Value = json!({ "certificate": certificate, "user": user, "fields": names(request.headers()) });
        let mut answer = http::Response::new(Full::from(body.to_string()));
        answer.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
        answer
    }
}
