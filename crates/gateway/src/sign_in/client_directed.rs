//! A session for an application that signed the user in by itself, in exchange for the tokens that it got.
use super::endpoints::{failed, told};
use super::provider::Provider;
use super::session::Tokens;
use super::{Origin, SignIn};
use crate::Canonical;
use crate::body::Body;
use crate::denial::Denial;
use crate::policy::any_valid_token;
use decision::{CheckId, Timestamp};
use guard::{Held, Principal};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use oauth::Secret;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::time::Duration;

/// The most that is read of it, and how long that may take.
const LONGEST: usize = 64 << 10;
const PATIENCE: Duration = Duration::from_secs(10);

/// What an application sends; what else it says is not believed. A refresh token is not taken: only the application that got it
/// knows whose it is.
#[derive(Deserialize)]
struct Given {
    id_token: Option<Secret>,
    access_token: Option<Secret>,
}

pub(super) async fn answer(
    sign_in: &SignIn,
    provider: &Provider,
    origin: &Origin,
    request: &Canonical,
    body: Option<Incoming>,
    now: Timestamp,
) -> Result<Response<Body>, Box<Denial>> {
    if !provider.client_directed {
        let text =
            "applications do not sign in here with tokens; the operator can let them, by `client_directed = true`";
        return Err(Box::new(Denial::of(CheckId::SignInAccepted).message(text)));
    }
    // No form that another site posts has this type.
    let kind = request.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let kind = kind.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    let malformed = || {
        let text = "send JSON, as `application/json`: `{\"id_token\":\"…\"}`, `{\"access_token\":\"…\"}` or both";
        Box::new(Denial::of(CheckId::RequestWellFormed).message(text))
    };
    let body = body.filter(|_| kind.eq_ignore_ascii_case(b"application/json")).ok_or_else(malformed)?;
    let read = tokio::time::timeout(PATIENCE, Limited::new(body, LONGEST).collect()).await;
    let bytes = read.ok().and_then(Result::ok).ok_or_else(malformed)?.to_bytes();
    // A list would be read by the order of the members.
    let object = Some(&bytes).filter(|bytes| bytes.trim_ascii_start().starts_with(b"{")).ok_or_else(malformed)?;
    let given: Given = serde_json::from_slice(object).map_err(|_| malformed())?;
    let tokens = verified(provider, given).await?.ok_or_else(malformed)?;
    let session = sign_in.new_session(provider, now, tokens);
    let token = sign_in.token(&session, origin).ok_or_else(|| Box::new(Denial::of(CheckId::SignInSize)))?;
    Ok(told(&token, Vec::new()))
}

/// The tokens as far as they are verified, and are one user's. Nothing where there are none.
async fn verified(provider: &Provider, given: Given) -> Result<Option<Tokens>, Box<Denial>> {
    let identity = match &given.id_token {
        Some(token) => {
            let claims = provider.client.verify_id_token(token).await;
            Some(claims.map_err(|error| Box::new(failed(&provider.name, &error)))?)
        }
        None => None,
    };
    // One that cannot be verified here is kept for nobody: it may be somebody else's.
    let access = match (&given.access_token, &provider.guard) {
        (Some(token), Some(guard)) => {
            let shown = format!("Bearer {}", token.expose());
            let checked = guard.check_for(Some(&shown), &any_valid_token(), Held::default()).await;
            Some(checked.map_err(|refused| Box::new(Denial::from(refused)))?)
        }
        (Some(_), None) if identity.is_none() => {
            let text =
                "this provider takes ID tokens only; the operator can let it take access tokens, by `access_tokens`";
            return Err(Box::new(Denial::of(CheckId::SignInIdentity).message(text)));
        }
        _ => None,
    };
    let another = || {
        Box::new(
            Denial::of(CheckId::SignInIdentity).message("the tokens are not of one user; send those of one sign-in"),
        )
    };
    match (&identity, &access) {
        (None, None) => return Ok(None),
        (_, Some(access)) if !access.is_user() => return Err(Box::new(Denial::of(CheckId::UserRequired))),
        (Some(identity), Some(access)) if !is_one_user(identity, access) => return Err(another()),
        _ => {}
    }
    Ok(Some(Tokens {
        id_token: given.id_token,
        expires_on: access.as_ref().map(Principal::expires),
        access_token: given.access_token.filter(|_| access.is_some()),
        refresh_token: None,
    }))
}

/// By tenant and object, which are the same in all of Entra's tokens, or else by issuer and subject.
fn is_one_user(identity: &Map<String, Value>, access: &Principal) -> bool {
    let text = |name: &str| identity.get(name).and_then(Value::as_str);
    match (text("tid"), text("oid"), access.tid(), access.oid()) {
        (Some(tid), Some(oid), Some(of_access), Some(also)) => tid == of_access && oid == also,
        _ => text("iss") == Some(access.issuer()) && text("sub") == Some(access.sub()),
    }
}
