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
use deputize_core::account::MOST;
use deputize_core::authorize::Browser;
use deputize_core::denial::Denial;
use deputize_core::id::SessionId;
use deputize_core::ledger::SessionRecord;
use deputize_core::sign_in::{SignedIn, forged};
use deputize_core::ticket::Ticket;
use deputize_core::token_endpoint::unavailable;
use oauth::{Form, Secret};
use pages::{Cookie, CookieError};
use std::net::IpAddr;
use std::sync::Arc;

/// A secret for each account that is signed in, the newest first.
const SESSION: Cookie = Cookie::named("__Host-deputize-session");
/// Binds pages to the browser they were shown to, before anyone has signed in.
const BINDING: Cookie = Cookie::named("__Host-deputize-browser");

/// Between two secrets, none of which has it.
const BETWEEN: char = '~';

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
    /// The secrets that it brought, of its accounts and in their order.
    pub(super) jar: Jar,
    /// Whether the binding cookie is new, and must be sent.
    new: bool,
}

/// The session cookie's secrets, each of a session that lives.
#[derive(Clone)]
pub(super) struct Jar {
    secrets: Vec<(Secret, Arc<SessionRecord>)>,
    /// Whether the cookie came along, if only with secrets of sessions that are over.
    pub(super) brought: bool,
}

impl Jar {
    /// Sends the cookie with a fresh session in front, in the place of an earlier one of the same account. Where there are
    /// too many, those that signed in first are left out.
    pub(super) fn signed_in(&self, response: &mut Response, fresh: &SignedIn) {
        let account = |session: &SessionRecord| (session.tenant, session.user);
        let others = self.secrets.iter().filter(|(_, known)| account(known) != account(&fresh.session));
        let texts = std::iter::once(&fresh.cookie).chain(others.map(|(text, _)| text));
        send(response, texts.take(MOST));
    }

    /// Sends the cookie with another secret for a session that was strengthened.
    pub(super) fn strengthened(&self, response: &mut Response, session: SessionId, secret: &Secret) {
        send(response, self.secrets.iter().map(|(text, known)| if known.id == session { secret } else { text }));
    }

    /// Sends the cookie without sessions that have ended.
    pub(super) fn signed_out(&self, response: &mut Response, ended: &[SessionId]) {
        send(response, self.secrets.iter().filter(|(_, known)| !ended.contains(&known.id)).map(|(text, _)| text));
    }
}

fn send<'a>(response: &mut Response, texts: impl Iterator<Item = &'a Secret>) {
    let all = texts.map(Secret::expose).collect::<Vec<_>>().join(&BETWEEN.to_string());
    let cookie = if all.is_empty() { SESSION.clear() } else { SESSION.set(&all, None) };
    if let Some(cookie) = cookie {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
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

    /// A form that a page of our own posted: for the account that the page was shown to, if the browser still holds it.
    pub(super) async fn from_our_page(authority: &Authority, request: Request) -> Result<Self, Box<Response>> {
        let (headers, address) = (request.headers().clone(), ClientAddress::of(&request));
        if !pages::posted_from(&headers, &authority.ports.host) {
            return Err(Box::new(page::error(403, &forged(), None, None)));
        }
        let mut visit = Self::of(authority, posted(request).await, &headers, address).await?;
        if let Some(shown_to) = visit.form.value("ticket").and_then(|text| Ticket::account(&authority.ports, text)) {
            let account = visit.browser.accounts.iter().find(|account| account.id == shown_to).cloned();
            visit.browser.session = Some(account.ok_or_else(|| Box::new(page::error(403, &forged(), None, None)))?);
        }
        Ok(visit)
    }

    async fn of(
        authority: &Authority,
        form: Result<Form, BodyError>,
        headers: &HeaderMap,
        address: Option<IpAddr>,
    ) -> Result<Self, Box<Response>> {
        let form = form.map_err(|error| Box::new(page::error(error.status().as_u16(), &error.denial(), None, None)))?;
        let (browser, jar, new) = browser(authority, headers)
            .await
            .map_err(|denial| Box::new(page::error(denial.status(), &denial, None, None)))?;
        Ok(Self { form, browser: Browser { address, ..browser }, jar, new })
    }

    /// The request that the page was shown for.
    pub(super) fn original(&self) -> Form {
        self.form.value("request").and_then(|text| Form::decode(text.as_bytes()).ok()).unwrap_or_default()
    }

    /// Whether the browser brought the binding cookie. With what another site posts browsers send no cookie (`SameSite=Lax`),
    /// and a new one would take the place of the one that they have, and with it their open pages (M-03): such a request is
    /// made again, by a redirect, with which they come.
    pub(super) const fn bound(&self) -> bool {
        !self.new
    }

    /// Sends the binding cookie if it is new.
    pub(super) fn keep(&self, response: &mut Response) {
        if let Some(cookie) = BINDING.set(&self.browser.cookie, None).filter(|_| self.new) {
            response.headers_mut().append(SET_COOKIE, cookie);
        }
    }
}

/// Reads the sessions and the binding cookie. A binding cookie is made where there is none; [`Visit::keep`] sends it.
async fn browser(authority: &Authority, headers: &HeaderMap) -> Result<(Browser, Jar, bool), Denial> {
    let ports = &authority.ports;
    let disbelieved =
        |error: CookieError| Denial::new(CheckId::RequestWellFormed, "cookies of this host", error.to_string());
    let mut secrets = Vec::new();
    let sent = SESSION.read(headers).map_err(disbelieved)?;
    for text in sent.unwrap_or_default().split(BETWEEN).take(MOST) {
        let session = ports.ledger.session_by_cookie(ports.crypto.keyed_digest(text)).await.map_err(unavailable)?;
        let alive = session.filter(|session| !session.revoked);
        secrets.extend(alive.map(|session| (Secret::new(text.to_owned()), session)));
    }
    let known = BINDING.read(headers).map_err(disbelieved)?.map(str::to_owned);
    let new = known.is_none();
    let cookie = known.unwrap_or_else(|| {
        let mut bytes = [0; 32];
        ports.crypto.random(&mut bytes);
        URL_SAFE_NO_PAD.encode(bytes)
    });
    let accounts = secrets.iter().map(|(_, session)| Arc::clone(session)).collect();
    Ok((Browser { accounts, cookie, ..Browser::default() }, Jar { secrets, brought: sent.is_some() }, new))
}
