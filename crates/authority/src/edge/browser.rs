//! What the browser brings: its cookies, and whether a posted page is its own.
use crate::Authority;
use axum::http::HeaderMap;
use axum::http::header::SET_COOKIE;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use decision::CheckId;
use deputize_core::authorize::Browser;
use deputize_core::denial::Denial;
use deputize_core::token_endpoint::unavailable;
use oauth::Secret;
use pages::{Cookie, CookieError};

const SESSION: Cookie = Cookie::named("__Host-deputize-session");
/// Binds pages to the browser they were shown to, before anyone has signed in.
const BINDING: Cookie = Cookie::named("__Host-deputize-browser");

/// Reads the session and the binding cookie. A binding cookie is made where there is none; [`keep`] sends it.
pub(super) async fn browser(authority: &Authority, headers: &HeaderMap) -> Result<(Browser, bool), Denial> {
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
    Ok((Browser { session, cookie, fresh: false, agreed: false }, new))
}

/// Sends the binding cookie if it is new.
pub(super) fn keep(response: &mut Response, browser: &Browser, new: bool) {
    if let Some(cookie) = BINDING.set(&browser.cookie, None).filter(|_| new) {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
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
