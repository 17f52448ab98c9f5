//! A refusal from further down the chain, told to our caller: nothing added, nothing lost.
use crate::billing::Refusal;
use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use client::Error;
use guard::Guard;
use oauth::ErrorBody;
use serde_json::{Value, json};

impl Refusal {
    pub(crate) fn answer(self, guard: &Guard) -> Response {
        match self {
            // Only the user can meet it, and only our caller can ask the user: 401, with the challenge.
            Self::Token(Error::ClaimsChallenge { claims, .. } | Error::Challenged { claims }) => {
                guard.challenge(&claims).into_response()
            }
            Self::Token(Error::Consent { body, .. }) => authority(StatusCode::FORBIDDEN, "consent is missing", &body),
            // Our own credential is wrong, or we are not registered: nothing that our caller could mend, or need know.
            Self::Token(Error::Refused { body, .. })
                if matches!(body.error.as_str(), "invalid_client" | "unauthorized_client") =>
            {
                problem(StatusCode::BAD_GATEWAY, "Orders cannot authenticate itself to the authority", json!({}))
            }
            Self::Token(Error::Refused { body, .. }) => {
                authority(StatusCode::FORBIDDEN, "the authority refuses", &body)
            }
            Self::Token(_) | Self::Unreachable => {
                problem(StatusCode::SERVICE_UNAVAILABLE, "the authority or Billing cannot be reached", json!({}))
            }
            Self::Billing(status @ (StatusCode::FORBIDDEN | StatusCode::NOT_FOUND), body) => {
                problem(status, "Billing refuses", json!({"billing": body}))
            }
            Self::Billing(_, body) => {
                problem(StatusCode::BAD_GATEWAY, "Billing did not do as it was asked", json!({"billing": body}))
            }
        }
    }
}

/// What the authority said: its code, its words, and which grant is missing.
fn authority(status: StatusCode, title: &str, body: &ErrorBody) -> Response {
    let code = body.error_codes.first().map(|code| format!("AADSTS{code}"));
    let more = json!({
        "code": code.as_ref().unwrap_or(&body.error),
        "error": body.error,
        "suberror": body.suberror,
        "detail": body.error_description,
        "hint": body.deputize_hint,
        "decision_id": body.trace_id,
    });
    problem(status, title, more)
}

/// A problem document (RFC 9457).
pub(crate) fn problem(status: StatusCode, title: &str, more: Value) -> Response {
    let mut document = json!({"type": "about:blank", "title": title, "status": status.as_u16()});
    if let (Value::Object(document), Value::Object(more)) = (&mut document, more) {
        document.extend(more.into_iter().filter(|(_, value)| !value.is_null()));
    }
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (status, headers, Json(document)).into_response()
}
