//! `/.auth/…`: where browsers sign in and out, and pages find out who did.
use super::pending::{self, Pending};
use super::principal::{Me, sid};
use super::provider::{Provider, Stale, is_away};
use super::session::{By, Session, Tokens, challenge_digest};
use super::{Origin, PREFIX, Retry, SignIn, client_directed, cookies, landing, navigation, page};
use crate::Canonical;
use crate::address::Address;
use crate::body::Body;
use crate::denial::Denial;
use crate::limits::{Key, Keys};
use crate::stream;
use client::{AuthorizationRequest, Error};
use decision::{CheckId, Timestamp};
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, LOCATION, REFERRER_POLICY, SET_COOKIE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderName, HeaderValue, Method, Response, StatusCode};
use hyper::body::Incoming;
use oauth::{ClaimsRequest, Form, Secret};
use serde::Serialize;
use serde_json::json;
use serve::subscriber;
use std::sync::Arc;

/// The longest claims challenge that a sign-in takes on.
pub(super) const LONGEST_CLAIMS: usize = 2_048;
/// The longest ID token that says at a sign-out whose session ends.
const LONGEST_HINT: usize = 4_096;

type Answer = Result<Response<Body>, Box<Denial>>;

impl SignIn {
    /// Answers a request for one of the paths of sign-in.
    pub(crate) async fn answer(
        &self,
        origin: &Origin,
        request: &Canonical,
        (caller, body): (Address, Option<Incoming>),
        now: Timestamp,
    ) -> Answer {
        let address = match caller {
            Address::Known(address) => subscriber(address).to_string(),
            Address::Unreadable => String::new(),
        };
        let path = request.path().strip_prefix(PREFIX).unwrap_or_default();
        let at = path.split('/').collect::<Vec<_>>();
        let provider = |name: &str| self.provider(name).ok_or_else(|| Box::new(Denial::of(CheckId::GatewayOperation)));
        let reads = matches!(*request.method(), Method::GET | Method::HEAD);
        if matches!(at.as_slice(), ["login", ..] | ["refresh" | "logout"]) {
            self.seldom(&address, now)?;
        }
        match at.as_slice() {
            ["login", name] if reads => self.login(provider(name)?, origin, request, now).await,
            ["login", name] if *request.method() == Method::POST => {
                client_directed::answer(self, provider(name)?, origin, request, body, now).await
            }
            ["login", name, "callback"] if reads => {
                self.callback(provider(name)?, origin, request, &address, now).await
            }
            ["me"] if reads => self.me(origin, request, now),
            ["refresh"] if reads => self.refresh(origin, request, now).await,
            ["logout"] if reads => self.logout(origin, request, now).await,
            ["logout", "done"] if reads => Ok(self.signed_out(origin, request)),
            ["login", _] => Err(other_method("GET, HEAD, POST")),
            ["login", _, "callback"] | ["me" | "refresh" | "logout"] | ["logout", "done"] => {
                Err(other_method("GET, HEAD"))
            }
            _ => Err(Box::new(Denial::of(CheckId::GatewayOperation))),
        }
    }

    /// Sends the browser to the provider.
    async fn login(&self, provider: &Arc<Provider>, origin: &Origin, request: &Canonical, now: Timestamp) -> Answer {
        let form = query(request)?;
        let landing = self.landing(&form, "post_login_redirect_uri", origin)?.unwrap_or_else(|| "/".to_owned());
        let claims = form.value("claims");
        if claims.is_some_and(|claims| claims.len() > LONGEST_CLAIMS || ClaimsRequest::parse(claims).is_none()) {
            let text = "`claims` is no claims request; leave it out";
            return Err(Box::new(Denial::of(CheckId::RequestWellFormed).message(text)));
        }
        let retry = || begin_again(provider, &landing);
        let away = |error: &Error| {
            tracing::warn!(provider = %provider.name, reason = %error, "nobody can sign in: the provider's metadata is not to be had");
            Box::new(Denial::of(CheckId::SignInAvailable).retry_after(5).page(retry()))
        };
        provider.client.learn_all().await.map_err(|error| away(&error))?;
        let redirect_uri = format!("{}/.auth/login/{}/callback", origin.text, provider.name);
        let scopes: Vec<&str> = provider.scopes.iter().map(String::as_str).collect();
        let asked = AuthorizationRequest { redirect_uri: &redirect_uri, scopes: &scopes, claims, ..Default::default() };
        let (url, authorization) = provider.client.authorization_code_url(asked).map_err(|error| away(&error))?;
        let answers = claims.map(challenge_digest);
        let pending = Pending { begun: now, landing: landing.clone(), answers, authorization };
        let cookies = pending.set(self, &provider.name, origin, request.headers());
        let cookies = cookies.ok_or_else(|| Box::new(Denial::of(CheckId::SignInSize).page(retry())))?;
        found(&url, cookies)
    }

    /// The browser comes back from the provider.
    async fn callback(
        &self,
        provider: &Arc<Provider>,
        origin: &Origin,
        request: &Canonical,
        address: &str,
        now: Timestamp,
    ) -> Answer {
        let not_ours = || Box::new(Denial::of(CheckId::SignInAnswer).page(begin_again(provider, "/")));
        let form = Form::decode(request.query().unwrap_or_default().as_bytes()).map_err(|_| not_ours())?;
        let state = form.value("state").ok_or_else(not_ours)?;
        let headers = request.headers();
        let pending = Pending::open(&self.keys, &provider.name, origin, headers, state, now).ok_or_else(not_ours)?;
        if !self.spent().once(state, address, now.plus(pending::LASTS), now) {
            return Err(not_ours());
        }
        let retry = begin_again(provider, &pending.landing);
        // Whatever comes of it, it is over.
        let over = pending::forgotten(origin, state);
        let told = |denial: Denial| match &over {
            Some(cookie) => Box::new(denial.field(SET_COOKIE, cookie.clone()).page(retry)),
            None => Box::new(denial.page(retry)),
        };
        let token = match provider.client.redeem_code(pending.authorization, &form).await {
            Ok(redeemed) => redeemed.token,
            Err(error) => return Err(told(failed(&provider.name, &error))),
        };
        let tokens = Tokens {
            id_token: token.id_token.clone(),
            access_token: Some(token.access_token.clone()),
            expires_on: Some(token.expires_at),
            refresh_token: token.refresh_token.clone(),
        };
        let mut session = Session::new(self.random.as_ref(), &provider.name, now, self.lasts, tokens);
        session.answered = pending.answers;
        let Some(mut cookies) = self.cookies(&session, origin, request) else {
            return Err(told(Denial::of(CheckId::SignInSize)));
        };
        cookies.extend(over);
        found(&pending.landing, cookies)
    }

    /// Who signed in, for the pages of this site.
    fn me(&self, origin: &Origin, request: &Canonical, now: Timestamp) -> Answer {
        let (session, by) =
            self.session(request, origin, now).filter(|(session, _)| now < session.ends).ok_or_else(nobody)?;
        read_here(request, by)?;
        let claims = session.claims();
        Ok(told(&[Me::of(&session, &claims)], Vec::new()))
    }

    /// Newer tokens and a new session.
    async fn refresh(&self, origin: &Origin, request: &Canonical, now: Timestamp) -> Answer {
        let found = self.session(request, origin, now).filter(|(session, _)| now < session.ends.plus(self.grace));
        let (before, by) = found.ok_or_else(nobody)?;
        read_here(request, by)?;
        let provider = self.provider(&before.provider).ok_or_else(nobody)?;
        let newer = provider.refreshed(&before, true).await.map_err(|stale| Box::new(not_refreshed(&stale)))?;
        let mut session = Session::new(self.random.as_ref(), &provider.name, now, self.lasts, newer.tokens);
        session.answered = newer.answered;
        self.end(&before, now);
        let too_long = || Box::new(Denial::of(CheckId::SignInSize));
        match by {
            By::Cookie => Ok(told(&json!({}), self.cookies(&session, origin, request).ok_or_else(too_long)?)),
            By::Field => Ok(told(&self.token(&session, origin).ok_or_else(too_long)?, Vec::new())),
        }
    }

    /// Ends the session here, and at the provider.
    async fn logout(&self, origin: &Origin, request: &Canonical, now: Timestamp) -> Answer {
        let form = query(request)?;
        let landing = self.landing(&form, "post_logout_redirect_uri", origin)?;
        let cookies = cookies::ended(origin, request.headers());
        let here = landing.as_deref().unwrap_or("/.auth/logout/done");
        let Some((session, _)) = self.session(request, origin, now) else { return found(here, cookies) };
        self.end(&session, now);
        let Some(provider) = self.provider(&session.provider) else { return found(here, cookies) };
        // Where the provider cannot be asked, the session here is over all the same.
        let known = provider.client.learn_all().await.ok().and_then(|()| provider.client.endpoints().end_session);
        let Some(url) = known else { return found(here, cookies) };
        let mut form = Form::default()
            .with("client_id", provider.client.client_id())
            .with("post_logout_redirect_uri", &format!("{}/.auth/logout/done", origin.text));
        let to = landing.and_then(|to| self.keys.seal(self.random.as_ref(), &origin.signed_out(), to.as_bytes()));
        form = to.into_iter().fold(form, |form, to| form.with("state", &to));
        let hint = session.tokens.id_token.as_ref().map(Secret::expose).filter(|token| token.len() <= LONGEST_HINT);
        form = hint.into_iter().fold(form, |form, hint| form.with("id_token_hint", hint));
        let joint = if url.contains('?') { '&' } else { '?' };
        found(&format!("{url}{joint}{}", form.encode()), cookies)
    }

    /// The browser comes back from a sign-out.
    fn signed_out(&self, origin: &Origin, request: &Canonical) -> Response<Body> {
        let form = Form::decode(request.query().unwrap_or_default().as_bytes()).unwrap_or_default();
        let opened = form.value("state").and_then(|state| self.keys.open(&origin.signed_out(), state));
        // It was looked at before it was sealed, and is looked at again: the list may be another one now.
        let landing = opened.and_then(|text| landing::landing(&String::from_utf8(text).ok()?, origin, &self.elsewhere));
        landing.and_then(|to| found(&to, Vec::new()).ok()).unwrap_or_else(page::signed_out)
    }

    /// Counts a request that costs a provider something, or that something is remembered of.
    fn seldom(&self, address: &str, now: Timestamp) -> Result<(), Box<Denial>> {
        let key = Key::of([b"sign_in".as_slice(), address.as_bytes()]);
        let taken = self.limits.take(key, Keys::OfCallers, self.rate, 1, now);
        taken.map(|_| ()).map_err(|seconds| {
            let text = format!("too many sign-ins come from your address; try again in {seconds} seconds");
            Box::new(Denial::of(CheckId::LimitRate).message(text).retry_after(seconds))
        })
    }

    /// From now on a session is nobody's, in streams that outlive it too.
    fn end(&self, session: &Session, now: Timestamp) {
        let until = session.ends.plus(self.grace.max(stream::LONGEST_GRACE));
        self.spent().end(&session.id, [&session.provider, &sid(&session.claims())], until, now);
    }

    /// `Set-Cookie` for a session. Nothing if it is too long.
    pub(crate) fn cookies(&self, session: &Session, origin: &Origin, request: &Canonical) -> Option<Vec<HeaderValue>> {
        let sealed = session.seal(&self.keys, self.random.as_ref(), &origin.session())?;
        cookies::session(origin, &sealed, &session.id, request.headers())
    }

    /// A session for an application that is no browser.
    pub(super) fn token(&self, session: &Session, origin: &Origin) -> Option<impl Serialize + use<>> {
        let sealed = session.seal(&self.keys, self.random.as_ref(), &origin.token())?;
        let whole = json!({"authenticationToken": sealed, "user": {"userId": sid(&session.claims())}});
        (sealed.len() <= cookies::LONGEST).then_some(whole)
    }

    pub(super) fn new_session(&self, provider: &Provider, now: Timestamp, tokens: Tokens) -> Session {
        Session::new(self.random.as_ref(), &provider.name, now, self.lasts, tokens)
    }

    /// Where to go on to, if that is said; a refusal if it is nowhere to go.
    fn landing(&self, form: &Form, parameter: &str, origin: &Origin) -> Result<Option<String>, Box<Denial>> {
        let Some(text) = form.value(parameter) else { return Ok(None) };
        let landing = landing::landing(text, origin, &self.elsewhere);
        landing.map(Some).ok_or_else(|| Box::new(Denial::of(CheckId::SignInLanding)))
    }
}

fn other_method(taken: &'static str) -> Box<Denial> {
    let denial = Denial::of(CheckId::GatewayMethod)
        .message(format!("the gateway answers this path itself, to {taken} and no other method"));
    Box::new(denial.field(ALLOW, HeaderValue::from_static(taken)))
}

fn query(request: &Canonical) -> Result<Form, Box<Denial>> {
    Form::decode(request.query().unwrap_or_default().as_bytes())
        .map_err(|error| Box::new(Denial::of(CheckId::RequestWellFormed).message(error.to_string())))
}

fn begin_again(provider: &Provider, landing: &str) -> Retry {
    let form = Form::default().with("post_login_redirect_uri", landing);
    Retry(format!("/.auth/login/{}?{}", provider.name, form.encode()))
}

pub(super) fn nobody() -> Box<Denial> {
    Box::new(Denial::of(CheckId::SignInSession).challenge(&oauth::challenge::Challenge::bearer()))
}

/// What a session says is for pages of this site.
fn read_here(request: &Canonical, by: By) -> Result<(), Box<Denial>> {
    if by == By::Cookie && navigation::is_read_elsewhere(request.headers()) {
        return Err(Box::new(Denial::of(CheckId::SignInSite)));
    }
    Ok(())
}

fn not_refreshed(stale: &Stale) -> Denial {
    match stale {
        Stale::NoRefreshToken | Stale::Refused => Denial::of(CheckId::SignInRefresh),
        Stale::Unavailable(seconds) => Denial::of(CheckId::SignInAvailable).retry_after(seconds.unwrap_or(5)),
    }
}

/// What a person is told whose sign-in the provider, or what it says, does not bear out.
pub(super) fn failed(provider: &str, error: &Error) -> Denial {
    tracing::warn!(
        provider,
        error.status = error.status(),
        error.code = error.body().map(|body| body.error.as_str()),
        reason = %error,
        "a sign-in failed"
    );
    match error {
        _ if is_away(error) => Denial::of(CheckId::SignInAvailable).retry_after(error.retry_after().unwrap_or(5)),
        Error::NotOurs(_) => Denial::of(CheckId::SignInAnswer),
        Error::Identity(_) | Error::Answer(_) => Denial::of(CheckId::SignInIdentity),
        _ => Denial::of(CheckId::SignInAccepted),
    }
}

/// An answer in JSON, for nobody's cache and no other site's page.
pub(super) fn told(body: &impl Serialize, cookies: Vec<HeaderValue>) -> Response<Body> {
    let mut response = Response::new(Body::text(serde_json::to_vec(body).unwrap_or_default()));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin"));
    headers.extend(cookies.into_iter().map(|cookie| (SET_COOKIE, cookie)));
    response
}

/// A redirect that nobody keeps.
fn found(to: &str, cookies: Vec<HeaderValue>) -> Answer {
    let to = HeaderValue::try_from(to).map_err(|_| Box::new(Denial::of(CheckId::SignInLanding)))?;
    let mut response = Response::new(Body::text(""));
    *response.status_mut() = StatusCode::FOUND;
    let headers = response.headers_mut();
    headers.insert(LOCATION, to);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.extend(cookies.into_iter().map(|cookie| (SET_COOKIE, cookie)));
    Ok(response)
}
