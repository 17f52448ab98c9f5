//! Signing out on the wire (OpenID Connect RP-Initiated Logout 1.0).
use super::browser::{self, Visit};
use super::endpoint::{BROWSER, Caller, Endpoint, OF_OUR_PAGE, PAGE, Readers, Route};
use crate::{Authority, page};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::{HeaderValue, LOCATION};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use deputize_core::denial::Denial;
use deputize_core::sign_in::forged;
use deputize_core::sign_out as rules;
use deputize_core::ticket::{Page, Ticket};
use oauth::Form;

pub(super) const ENDPOINTS: &[Endpoint] = &[
    Endpoint {
        title: "Sign-out",
        purpose: "Ends the session, and all that stems from it (OpenID Connect RP-Initiated Logout 1.0).",
        routes: &[
            Route { path: "/{tenant}/oauth2/v2.0/logout", handler: || any(logout) },
            Route { path: "/{tenant}/oauth2/logout", handler: || any(logout) },
        ],
        methods: &["GET", "POST"],
        parameters: &[&[rules::PARAMETERS, BROWSER]],
        caller: Caller::Browser,
        readers: Readers::None,
        notes: &["v1.0 and v2.0 are the same."],
    },
    Endpoint {
        title: "Sign-out page",
        purpose: "The person's answer, as the page that asks posts it.",
        routes: &[Route { path: "/{tenant}/sign-out", handler: || any(sign_out) }],
        parameters: &[&[PAGE, BROWSER]],
        ..OF_OUR_PAGE
    },
];

pub(super) async fn logout(State(authority): State<Authority>, request: Request) -> Response {
    let visit = match Visit::from_anywhere(&authority, request).await {
        Ok(visit) => visit,
        Err(response) => return *response,
    };
    let Visit { form, browser, .. } = &visit;
    let asked = rules::read(&authority.ports, form, browser.session.as_deref());
    let Some(session) = browser.session.clone().filter(|session| !session.revoked) else {
        return done(asked.back.as_deref());
    };
    if asked.genuine {
        return match rules::end(&authority.ports, &session, None).await {
            Ok(()) => done(asked.back.as_deref()),
            Err(denial) => page::error(denial.status(), &denial, None, None),
        };
    }
    let ports = &authority.ports;
    // An address that is not registered gets no further, and the path that was called says nothing of where to post:
    // `//elsewhere` would be another host.
    let shown = |name: &str| asked.back.is_some() || name != "post_logout_redirect_uri";
    let form =
        form.iter().filter(|(name, _)| shown(name)).fold(Form::default(), |form, (name, value)| form.with(name, value));
    let ticket = Ticket::new(ports, Page::SignOut, &browser.cookie, Some(session.id), &form, ports.now()).seal(ports);
    let mut response = page::sign_out(&format!("/{}/sign-out", session.tenant), &ticket, &form.encode());
    visit.keep(&mut response);
    response
}

pub(super) async fn sign_out(State(authority): State<Authority>, request: Request) -> Response {
    let visit = match Visit::from_our_page(&authority, request).await {
        Ok(visit) => visit,
        Err(response) => return *response,
    };
    match confirmed(&authority, &visit).await {
        Ok(back) => done(back.as_deref()),
        Err(denial) => page::error(denial.status(), &denial, None, None),
    }
}

async fn confirmed(authority: &Authority, visit: &Visit) -> Result<Option<String>, Denial> {
    let (ports, Visit { form, browser, .. }) = (&authority.ports, visit);
    let original = visit.original();
    let session = browser.session.as_ref().ok_or_else(forged)?;
    let text = form.value("ticket").unwrap_or_default();
    let ticket = Ticket::open(ports, text, Page::SignOut, &browser.cookie, Some(session.id), &original, ports.now());
    rules::end(ports, session, Some(ticket.ok_or_else(forged)?.consume())).await?;
    Ok(rules::read(ports, &original, None).back)
}

/// Signed out: back to the application, or a page that says so.
fn done(back: Option<&str>) -> Response {
    let location = back.and_then(|back| HeaderValue::from_str(back).ok());
    let mut response = match location {
        Some(location) => {
            let mut response = StatusCode::SEE_OTHER.into_response();
            response.headers_mut().insert(LOCATION, location);
            response
        }
        None => page::signed_out(None),
    };
    browser::sign_out(&mut response);
    response
}
