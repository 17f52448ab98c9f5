//! Endpoints that take one of this authority's own tokens (RFC 6750): where it stands, and how it is refused.
use super::json;
use axum::http::StatusCode;
use axum::http::header::{AUTHORIZATION, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use axum::response::Response;
use decision::CheckId;
use deputize_core::denial::Denial;
use oauth::challenge::Challenge;

/// The one bearer token of a request.
pub(super) fn token(headers: &HeaderMap) -> Result<&str, Denial> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let bearer = values.next().and_then(|value| value.to_str().ok()).and_then(|value| value.split_once(' '));
    match (bearer, values.next()) {
        (Some((scheme, token)), None) if scheme.eq_ignore_ascii_case("bearer") => Ok(token),
        _ => Err(Denial::new(CheckId::TokenPresent, "one bearer token", "none, or several")),
    }
}

/// What is wrong with a token is `invalid_token`, whatever it would be called at the token endpoint.
pub(super) fn refuse(denial: &Denial) -> Response {
    let (status, error) = match denial.id() {
        CheckId::TokenPresent => (StatusCode::UNAUTHORIZED, None),
        CheckId::ScopeSufficient
        | CheckId::RoleSufficient
        | CheckId::AppOnlyRequired
        | CheckId::ClientAssigned
        | CheckId::GroupsOwn
        | CheckId::GroupsDeclared => (StatusCode::FORBIDDEN, Some("insufficient_scope")),
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
