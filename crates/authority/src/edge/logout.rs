//! Signing out on the wire (OpenID Connect RP-Initiated Logout 1.0).
use super::{browser, method_not_allowed, posted, query};
use crate::{Authority, page};
use axum::extract::{Request, State};
use axum::http::header::{HeaderValue, LOCATION};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use deputize_core::authorize::Browser;
use deputize_core::sign_in::forged;
use deputize_core::sign_out::{self as rules};
use deputize_core::ticket::{Page, Ticket};
use oauth::Form;

pub(super) async fn logout(State(authority): State<Authority>, request: Request) -> Response {
    let headers = request.headers().clone();
    let form = match *request.method() {
        Method::GET | Method::HEAD => query(&request).map_err(super::BodyError::Form),
        _ => posted(request).await,
    };
    let form = match form {
        Ok(form) => form,
        Err(error) => return refused(error),
    };
    let (browser, new) = match browser::browser(&authority, &headers).await {
        Ok(browser) => browser,
        Err(denial) => return page::error(denial.status(), &denial, None, None),
    };
    let asked = rules::read(&authority.ports, &form, browser.session.as_deref());
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
    browser::keep(&mut response, &browser, new);
    response
}

pub(super) async fn sign_out(State(authority): State<Authority>, request: Request) -> Response {
    let headers = request.headers().clone();
    if request.method() == Method::POST && !pages::posted_from(&headers, &authority.ports.host) {
        return page::error(403, &forged(), None, None);
    }
    let form = match posted(request).await {
        Ok(form) => form,
        Err(error) => return refused(error),
    };
    let browser = match browser::browser(&authority, &headers).await {
        Ok((browser, _)) => browser,
        Err(denial) => return page::error(denial.status(), &denial, None, None),
    };
    match confirmed(&authority, &form, &browser).await {
        Ok(back) => done(back.as_deref()),
        Err(denial) => page::error(denial.status(), &denial, None, None),
    }
}

async fn confirmed(
    authority: &Authority,
    form: &Form,
    browser: &Browser,
) -> Result<Option<String>, deputize_core::denial::Denial> {
    let ports = &authority.ports;
    let original = form.value("request").and_then(|text| Form::decode(text.as_bytes()).ok()).unwrap_or_default();
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

fn refused(error: super::BodyError) -> Response {
    let response = page::error(error.status().as_u16(), &error.denial(), None, None);
    if error.status() == StatusCode::METHOD_NOT_ALLOWED { method_not_allowed("GET, POST", response) } else { response }
}
