//! `client_credentials`: a token for the gateway itself, and what becomes of an authority's refusals.
use super::{Credential, bearer};
use crate::call::Permitted;
use crate::denial::Denial;
use client::{Ask, Client, Error, GrantProfile};
use decision::CheckId;
use http::StatusCode;
use oauth::challenge::Challenge;

pub(super) async fn acquire(client: &Client, target: &str, permitted: &Permitted) -> Result<Credential, Box<Denial>> {
    let ask = Ask::application(target).in_trace(permitted.call().request.headers());
    match client.ask(&ask).await {
        Ok(answered) => bearer(&answered.token),
        Err(error) => Err(Box::new(refused(&error, None))),
    }
}

/// No token of theirs changes it.
const DENIED: &str = "not met: the authority lets the user use the service; an administrator of the user's tenant can mend \
    it: assign the user to the service's application, or change the rule that denies it to them";

/// What the caller is told of a refusal: `presented` is how a token of the caller's was presented to the authority, if one was, so
/// that it is the caller who can do something about it.
pub(crate) fn refused(error: &Error, presented: Option<GrantProfile>) -> Denial {
    let later = |check| Denial::of(check).retry_after(error.retry_after().unwrap_or(5));
    tracing::warn!(
        error.status = error.status(),
        error.code = error.body().map(|b| b.error.as_str()),
        "no onward token"
    );
    match error {
        Error::NoCredential => Denial::not_at_hand(),
        Error::Unreachable(_)
        | Error::Unreadable { .. }
        | Error::Refused { status: 429 | 500.., .. }
        | Error::Consent { status: 500.., .. } => later(CheckId::OnwardAvailable),
        Error::Refused { body, .. } if matches!(body.error.as_str(), "temporarily_unavailable" | "server_error") => {
            later(CheckId::OnwardAvailable)
        }
        Error::Consent { .. } if presented.is_some() => {
            let challenge = Challenge::bearer()
                .with("error", "interaction_required")
                .with("error_description", CheckId::OnwardConsent.entry().fix)
                .with("proposedAction", "consent");
            Denial::of(CheckId::OnwardConsent).challenge(&challenge)
        }
        Error::Refused { .. } if presented.is_some() && error.denies_user() => {
            Denial::of(CheckId::OnwardSubject).status(StatusCode::FORBIDDEN).message(DENIED)
        }
        Error::Refused { body, .. } if presented.is_some_and(|profile| of_subject(&body.error, profile)) => {
            let challenge = Challenge::bearer()
                .with("error", "invalid_token")
                .with("error_description", CheckId::OnwardSubject.entry().fix);
            Denial::of(CheckId::OnwardSubject).challenge(&challenge)
        }
        Error::ClaimsChallenge { .. }
        | Error::Consent { .. }
        | Error::Refused { .. }
        | Error::Challenged { .. }
        | Error::Answer(_)
        | Error::Request(_)
        | Error::NotOurs(_)
        | Error::Session(_)
        | Error::Identity(_) => Denial::of(CheckId::OnwardAccepted),
    }
}

/// Whether the refusal is about the user's token or session, not about the gateway.
fn of_subject(error: &str, profile: GrantProfile) -> bool {
    match error {
        "invalid_grant" | "interaction_required" | "login_required" => true,
        // In an exchange it is the user's token that is invalid (RFC 8693 section 2.2.2).
        "invalid_request" | "invalid_token" => profile.is_token_exchange(),
        _ => false,
    }
}
