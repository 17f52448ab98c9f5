//! What an API that was called wants before it serves: challenges in its answer.
use crate::Error;
use http::header::WWW_AUTHENTICATE;
use http::{Response, StatusCode};
use oauth::challenge::Challenge;
use oauth::{ClaimsRequest, ErrorBody};
use serde_json::json;

/// The challenge in an API's answer, if there is one that a better token (or a consent) would meet:
/// Entra's `insufficient_claims`, RFC 9470's `insufficient_user_authentication`, and the 403 of Microsoft.Identity.Web.
///
/// ```
/// let answer = http::Response::builder().status(401)
///     .header("www-authenticate", r#"Bearer error="insufficient_user_authentication", acr_values="c1""#)
///     .body(()).unwrap();
/// let Some(client::Error::Challenged { claims }) = client::challenge_in(&answer) else { panic!() };
/// assert_eq!(claims, r#"{"access_token":{"acrs":{"essential":true,"value":"c1"}}}"#);
/// ```
pub fn challenge_in<B>(answer: &Response<B>) -> Option<Error> {
    if !matches!(answer.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
        return None;
    }
    // A header that is not of the grammar counts as absent: half-read, it could say anything.
    let headers = answer.headers().get_all(WWW_AUTHENTICATE).iter().filter_map(|header| header.to_str().ok());
    let challenges: Vec<_> = headers.filter_map(|header| Challenge::parse(header).ok()).flatten().collect();
    let bearer = || challenges.iter().filter(|challenge| challenge.is_bearer());
    // The `claims` say all that was asked; `acr_values` beside them say a part of it.
    let claims = bearer().find_map(wanted_claims).or_else(|| bearer().find_map(wanted_context));
    let status = answer.status().as_u16();
    let consent = |body| Error::Consent { status, retry_after: None, body: Box::new(body) };
    claims.map(|claims| Error::Challenged { claims }).or_else(|| bearer().find_map(wanted_consent).map(consent))
}

fn wanted_claims(challenge: &Challenge) -> Option<String> {
    // Microsoft.Identity.Web sends the JSON as it is.
    let plain = || challenge.param("claims").filter(|text| ClaimsRequest::parse(text).is_some()).map(str::to_owned);
    challenge.claims().or_else(plain)
}

fn wanted_context(challenge: &Challenge) -> Option<String> {
    if challenge.param("error") != Some("insufficient_user_authentication") {
        return None;
    }
    let values: Vec<&str> = challenge.param("acr_values")?.split(' ').filter(|value| !value.is_empty()).collect();
    let acrs = match values.as_slice() {
        [] => return None,
        [one] => json!({"essential": true, "value": one}),
        several => json!({"essential": true, "values": several}),
    };
    Some(json!({"access_token": {"acrs": acrs}}).to_string())
}

fn wanted_consent(challenge: &Challenge) -> Option<ErrorBody> {
    let scopes = challenge.param("scopes").unwrap_or("its scopes");
    (challenge.param("proposedAction") == Some("consent")).then(|| ErrorBody {
        error: "consent_required".to_owned(),
        error_description: format!("the API that was called needs consent to {scopes}"),
        suberror: Some("consent_required".to_owned()),
        error_uri: challenge.param("consentUri").map(str::to_owned),
        ..ErrorBody::default()
    })
}
