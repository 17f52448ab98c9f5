//! What the browser brings: its cookies, and whether a posted page is its own.
use super::form::{BodyError, posted, query};
use crate::{Authority, ClientAddress, page};
use axum::extract::Request;
use axum::http::header::SET_COOKIE;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use decision::CheckId;
use deputize_core::authorize::Browser;
use deputize_core::denial::Denial;
use deputize_core::sign_in::forged;
use deputize_core::token_endpoint::unavailable;
use oauth::{Form, Secret};
use pages::{Cookie, CookieError};
use std::net::IpAddr;

const SESSION: Cookie = Cookie::named("__Host-deputize-session");
/// Binds pages to the browser they were shown to, before anyone has signed in.
const BINDING: Cookie = Cookie::named("__Host-deputize-browser");

/// What a sign-in page says when it is shown again, and its status; `None` if typing again is of no use.
pub(super) fn typed_again(denial: &Denial) -> Option<(StatusCode, String)> {
    let (status, text) = match denial.id() {
        CheckId::UserPassword => (StatusCode::OK, "The user name or the password is wrong.".to_owned()),
        CheckId::UserEnabled => {
            let text = "This account is disabled. Ask an administrator of your organization to enable it.";
            (StatusCode::OK, text.to_owned())
        }
        CheckId::AttemptsLimited => {
            let text = format!("Too many wrong attempts. Expected {}.", denial.check.expected);
            (StatusCode::TOO_MANY_REQUESTS, text)
        }
        _ => return None,
    };
    Some((status, text))
}

/// A browser's request.
pub(super) struct Visit {
    /// Its parameters.
    pub(super) form: Form,
    /// Who brings them.
    pub(super) browser: Browser,
    /// Whether the binding cookie is new, and must be sent.
    new: bool,
}

impl Visit {
    /// A request that anyone may have led the browser to make: in the query, or posted from another site.
    pub(super) async fn from_anywhere(authority: &Authority, request: Request) -> Result<Self, Box<Response>> {
        let (headers, address) = (request.headers().clone(), ClientAddress::of(&request));
        let form = match *request.method() {
            Method::GET | Method::HEAD => query(&request).map_err(BodyError::Form),
            _ => posted(request).await,
        };
        Self::of(authority, form, &headers, address).await
    }

    /// A form that a page of our own posted.
    pub(super) async fn from_our_page(authority: &Authority, request: Request) -> Result<Self, Box<Response>> {
        let (headers, address) = (request.headers().clone(), ClientAddress::of(&request));
        if !pages::posted_from(&headers, &authority.ports.host) {
            return Err(Box::new(page::error(403, &forged(), None, None)));
        }
        Self::of(authority, posted(request).await, &headers, address).await
    }

    async fn of(
        authority: &Authority,
        form: Result<Form, BodyError>,
        headers: &HeaderMap,
        address: Option<IpAddr>,
    ) -> Result<Self, Box<Response>> {
        let form = form.map_err(|error| Box::new(page::error(error.status().as_u16(), &error.denial(), None, None)))?;
        let (browser, new) = browser(authority, headers)
            .await
            .map_err(|denial| Box::new(page::error(denial.status(), &denial, None, None)))?;
        Ok(Self { form, browser: Browser { address, ..browser }, new })
    }

    /// The request that the page was shown for.
    pub(super) fn original(&self) -> Form {
        self.form.value("request").and_then(|text| Form::decode(text.as_bytes()).ok()).unwrap_or_default()
    }

    /// Sends the binding cookie if it is new.
    pub(super) fn keep(&self, response: &mut Response) {
        if let Some(cookie) = BINDING.set(&self.browser.cookie, None).filter(|_| self.new) {
            response.headers_mut().append(SET_COOKIE, cookie);
        }
    }
}

/// Reads the session and the binding cookie. A binding cookie is made where there is none; [`Visit::keep`] sends it.
async fn browser(authority: &Authority, headers: &HeaderMap) -> Result<(Browser, bool), Denial> {
    let ports = &authority.ports;
    let disbelieved =
        |error: CookieError| Denial::new(CheckId::RequestWellFormed, "cookies of this host", error.to_string());
    let session = match SESSION.read(headers).map_err(disbelieved)? {
        Some(text) => ports.ledger.session_by_cookie(ports.crypto.keyed_digest(text)).await.map_err(unavailable)?,
        None => None,
    };
    let known = BINDING.read(headers).map_err(disbelieved)?.map(str::to_owned);
    let new = known.is_none();
    let cookie = known.unwrap_or_else(|| {
        let mut bytes = [0; 32];
        ports.crypto.random(&mut bytes);
        URL_SAFE_NO_PAD.encode(bytes)
    });
    Ok((Browser { session, cookie, ..Browser::default() }, new))
}

/// Sends a fresh session's cookie.
pub(super) fn sign_in(response: &mut Response, text: &Secret) {
    if let Some(cookie) = SESSION.set(text.expose(), None) {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
}

/// Takes the session's cookie away.
pub(super) fn sign_out(response: &mut Response) {
    if let Some(cookie) = SESSION.clear() {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
}
