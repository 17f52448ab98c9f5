//! Userinfo on the wire (OpenID Connect Core section 5.3, RFC 6750).
use super::{json, method_not_allowed};
use crate::Authority;
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE};
use axum::http::{Method, StatusCode};
use axum::response::Response;
use decision::CheckId;
use deputize_core::denial::Denial;
use oauth::challenge::Challenge;

pub(super) async fn userinfo(State(authority): State<Authority>, request: Request) -> Response {
    if !matches!(*request.method(), Method::GET | Method::POST) {
        let body = serde_json::json!({"error": "invalid_request", "error_description": "use GET or POST"});
        return method_not_allowed("GET, POST", json(StatusCode::METHOD_NOT_ALLOWED, &body));
    }
    let mut values = request.headers().get_all(AUTHORIZATION).iter();
    let bearer = values.next().and_then(|value| value.to_str().ok()).and_then(|value| value.split_once(' '));
    let token = match (bearer, values.next()) {
        (Some((scheme, token)), None) if scheme.eq_ignore_ascii_case("bearer") => token,
        _ => return refuse(&Denial::new(CheckId::TokenPresent, "one bearer token", "none, or several")),
    };
    match deputize_core::userinfo::userinfo(&authority.ports, token).await {
        Ok(claims) => json(StatusCode::OK, &claims),
        Err(denial) => refuse(&denial),
    }
}

/// What is wrong with a token is `invalid_token`, whatever it would be called at the token endpoint.
fn refuse(denial: &Denial) -> Response {
    let (status, error) = match denial.id() {
        CheckId::TokenPresent => (StatusCode::UNAUTHORIZED, None),
        CheckId::ScopeSufficient => (StatusCode::FORBIDDEN, Some("insufficient_scope")),
        CheckId::StoreAvailable => (StatusCode::SERVICE_UNAVAILABLE, None),
        _ => (StatusCode::UNAUTHORIZED, Some("invalid_token")),
    };
    let mut challenge = Challenge::bearer();
    let mut body = serde_json::json!({"check": denial.id(), "fix": denial.check.fix});
    if let (Some(error), Some(body)) = (error, body.as_object_mut()) {
        challenge = challenge.with("error", error).with("error_description", denial.sentence());
        body.insert("error".into(), error.into());
        body.insert("error_description".into(), denial.sentence().into());
    }
    let mut response = json(status, &body);
    if let Ok(value) = HeaderValue::from_str(&challenge.to_string()) {
        response.headers_mut().insert(WWW_AUTHENTICATE, value);
    }
    response
}
