//! Signing out on the wire (OpenID Connect RP-Initiated Logout 1.0, Front-Channel Logout 1.0).
use super::browser::Visit;
use super::endpoint::{BROWSER, Caller, Endpoint, OF_OUR_PAGE, PAGE, Readers, Route};
use crate::{Authority, page};
use axum::extract::{Request, State};
use axum::http::header::{CACHE_CONTROL, HeaderValue, LOCATION};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use deputize_core::account::{self, Account};
use deputize_core::denial::Denial;
use deputize_core::id::SessionId;
use deputize_core::sign_in::forged;
use deputize_core::sign_out as rules;
use deputize_core::ticket::{Page, Ticket};
use oauth::{Form, Parameter, Parameters};

pub(super) const ENDPOINTS: &[Endpoint] = &[
    Endpoint {
        title: "Sign-out",
        purpose: "Ends sessions, and all that stems from them (OpenID Connect RP-Initiated Logout 1.0).",
        routes: &[
            Route { path: "/{tenant}/oauth2/v2.0/logout", handler: || any(logout) },
            Route { path: "/{tenant}/oauth2/logout", handler: || any(logout) },
        ],
        methods: &["GET", "POST"],
        parameters: &[&[rules::PARAMETERS, BROWSER]],
        caller: Caller::Browser,
        readers: Readers::None,
        notes: &[
            "v1.0 and v2.0 are the same.",
            "A form that comes without cookies, as from another site, is asked for again with `GET`.",
            "Applications with `web.logoutUrl` that the session signed in to are told `iss` and `sid` in frames (OpenID \
             Connect Front-Channel Logout 1.0).",
        ],
    },
    Endpoint {
        title: "Sign-out page",
        purpose: "The person's answer, as the page that asks posts it.",
        routes: &[Route { path: "/{tenant}/sign-out", handler: || any(sign_out) }],
        parameters: &[&[
            Parameters {
                when: "",
                each: &[Parameter::optional("account", "`sid` of the account that signs out, or `all`.")],
            },
            PAGE,
            BROWSER,
        ]],
        ..OF_OUR_PAGE
    },
];
/// Sessions are of browsers, whatever the tenant.
const ANYWHERE: &str = "/common/oauth2/v2.0/logout";
/// How long the frames in which clients are told have until the browser goes on, in seconds.
const TELLING: u8 = 3;

pub(super) async fn logout(State(authority): State<Authority>, request: Request) -> Response {
    let posted = request.method() == Method::POST;
    let visit = match Visit::from_anywhere(&authority, request).await {
        Ok(visit) => visit,
        Err(response) => return *response,
    };
    // With what another site posts browsers send no cookie, but they would take one away: whose sign-out it is shows once
    // they come by themselves (M-03).
    if posted && !visit.jar.brought {
        return done(Some(&format!("{ANYWHERE}?{}", visit.form.encode())), &[]);
    }
    match asked(&authority, &visit).await {
        Ok(response) => response,
        Err(denial) => page::error(denial.status(), &denial, None, None),
    }
}

async fn asked(authority: &Authority, visit: &Visit) -> Result<Response, Denial> {
    let (ports, Visit { form, browser, .. }) = (&authority.ports, visit);
    let asked = rules::read(ports, form, browser);
    let Some(first) = browser.accounts.first() else {
        let mut response = done(asked.back.as_deref(), &[]);
        if visit.jar.brought {
            visit.jar.signed_out(&mut response, &[]);
        }
        return Ok(response);
    };
    if let Some(genuine) = asked.genuine {
        return end(authority, visit, &[genuine], None, asked.back.as_deref()).await;
    }
    // An address that is not registered gets no further, and the path that was called says nothing of where to post:
    // `//elsewhere` would be another host.
    let shown = |name: &str| asked.back.is_some() || name != "post_logout_redirect_uri";
    let form =
        form.iter().filter(|(name, _)| shown(name)).fold(Form::default(), |form, (name, value)| form.with(name, value));
    let ticket = Ticket::new(ports, Page::SignOut, &browser.cookie, None, &form, ports.now()).seal(ports);
    let accounts = hinted(account::all(ports, browser).await?, form.value("logout_hint"));
    let mut response = page::sign_out(&accounts, &format!("/{}/sign-out", first.tenant), &ticket, &form.encode());
    visit.keep(&mut response);
    Ok(response)
}

/// The account that `logout_hint` names, if there is one; else all.
fn hinted(accounts: Vec<Account>, hint: Option<&str>) -> Vec<Account> {
    let named = |account: &&Account| hint.is_some_and(|hint| account.upn.eq_ignore_ascii_case(hint));
    match accounts.iter().find(named) {
        Some(one) => vec![one.clone()],
        None => accounts,
    }
}

pub(super) async fn sign_out(State(authority): State<Authority>, request: Request) -> Response {
    let visit = match Visit::from_our_page(&authority, request).await {
        Ok(visit) => visit,
        Err(response) => return *response,
    };
    match confirmed(&authority, &visit).await {
        Ok(response) => response,
        Err(denial) => page::error(denial.status(), &denial, None, None),
    }
}

async fn confirmed(authority: &Authority, visit: &Visit) -> Result<Response, Denial> {
    let (ports, Visit { form, browser, .. }) = (&authority.ports, visit);
    let original = visit.original();
    let text = form.value("ticket").unwrap_or_default();
    let ticket = Ticket::open(ports, text, Page::SignOut, &browser.cookie, None, &original, ports.now());
    let ended: Vec<SessionId> = match form.value("account") {
        Some("all") => browser.accounts.iter().map(|account| account.id).collect(),
        named => named.and_then(|sid| sid.parse().ok()).into_iter().collect(),
    };
    let back = rules::read(ports, &original, browser).back;
    end(authority, visit, &ended, Some(ticket.ok_or_else(forged)?), back.as_deref()).await
}

/// Signs one account out on the page of accounts, and goes on from `again`, a path of ours.
pub(super) async fn leave(authority: &Authority, visit: &Visit, original: &Form, again: &str) -> Response {
    let (ports, form) = (&authority.ports, &visit.form);
    let text = form.value("ticket").unwrap_or_default();
    let ticket = Ticket::open(ports, text, Page::Accounts, &visit.browser.cookie, None, original, ports.now());
    let leaving: Option<SessionId> = form.value("sign_out").and_then(|sid| sid.parse().ok());
    let (Some(ticket), Some(leaving)) = (ticket, leaving) else { return page::error(403, &forged(), None, None) };
    match end(authority, visit, &[leaving], Some(ticket), Some(again)).await {
        Ok(response) => response,
        Err(denial) => page::error(denial.status(), &denial, None, None),
    }
}

/// Ends some of the browser's sessions, at least one, and none of another's.
async fn end(
    authority: &Authority,
    visit: &Visit,
    ended: &[SessionId],
    ticket: Option<Ticket>,
    back: Option<&str>,
) -> Result<Response, Denial> {
    let sessions: Vec<_> =
        visit.browser.accounts.iter().filter(|account| ended.contains(&account.id)).cloned().collect();
    if sessions.is_empty() {
        return Err(forged());
    }
    let told = rules::end(&authority.ports, &sessions, ticket.map(|ticket| ticket.consume())).await?;
    let mut response = done(back, &told);
    visit.jar.signed_out(&mut response, ended);
    Ok(response)
}

/// Signed out: clients are told in frames, and then it goes back to the application, or a page says so.
pub(super) fn done(back: Option<&str>, told: &[String]) -> Response {
    let location = back.and_then(|back| HeaderValue::from_str(back).ok());
    let (Some(location), Some(back)) = (location, back) else { return page::signed_out(None, told) };
    if told.is_empty() {
        let mut response = StatusCode::SEE_OTHER.into_response();
        response.headers_mut().insert(LOCATION, location);
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        return response;
    }
    let mut response = page::signed_out(Some(back), told);
    if let Ok(refresh) = HeaderValue::try_from(format!("{TELLING}; url={back}")) {
        response.headers_mut().insert("refresh", refresh);
    }
    response
}
