//! The pages that people see: sign-in, consent, sign-out, errors, and the answer that a browser posts. None needs scripts.
//! What others named is shown through [`Plain`] and escaped by the template; where a form may lead is in the page's policy.
pub(crate) mod consent;
pub(crate) mod device;
mod second_factor;
pub(crate) mod work_orders;

pub(crate) use second_factor::second_factor;

use askama::Template;
use axum::body::Body;
use axum::response::Response;
use deputize_core::account::{Account, AccountsRequest};
use deputize_core::authorize::{Redirect, SignInRequest};
use deputize_core::denial::Denial;
use http::StatusCode;
use oauth::Form;
use pages::{Page, Plain, form_source};
use std::borrow::Cow;

/// What a page brings back unchanged.
#[derive(Clone, Copy)]
pub(crate) struct Hidden<'a> {
    /// The authorization or sign-out request, form-encoded.
    pub request: &'a str,
    /// The sealed ticket, which binds the page to its browser and its request.
    pub ticket: &'a str,
}

/// Asks for user name and password. `form_action` is the redirect URI, to which the answer may redirect.
pub(crate) fn sign_in(
    request: &SignInRequest,
    action: &str,
    hidden: Hidden<'_>,
    error: Option<&str>,
    form_action: &str,
) -> Response {
    let content = SignIn {
        tenant: request.tenant_name.as_deref().map(Plain),
        client: Plain(&request.client_name),
        username: request.hint.as_deref().unwrap_or_default(),
        action,
        hidden,
        error: error.map(Plain),
    };
    let title = if error.is_some() { "Try again: sign in" } else { "Sign in" };
    send(Page::new(title, content).form_action(&[form_action]))
}

/// Says what was refused, who can mend it and how. `back` is an address and what to call it.
pub(crate) fn error(status: u16, denial: &Denial, decision: Option<&str>, back: Option<(&str, &str)>) -> Response {
    refusal(status, "This request was refused", &denial.sentence(), denial, decision, back)
}

/// Says what an error code means.
pub(crate) fn reference(denial: &Denial) -> Response {
    let what = format!("It says that this does not hold: {}.", denial.id().entry().title);
    refusal(200, "What this error means", &what, denial, None, None)
}

fn refusal(
    status: u16,
    heading: &'static str,
    what: &str,
    denial: &Denial,
    decision: Option<&str>,
    back: Option<(&str, &str)>,
) -> Response {
    let how = capitalised(&denial.check.fix);
    let entry = denial.id().entry();
    let content = Refused {
        what: prose(what),
        heading,
        // To the person in front of it, the caller is themselves.
        who: match denial.check.fixer {
            decision::Fixer::Caller => "You".into(),
            fixer => capitalised(fixer.words()),
        },
        how: prose(&how),
        back: back.filter(|(href, _)| leads(href)).map(|(href, label)| (href, Plain(label))),
        check: entry.id,
        aadsts: entry.aadsts,
        decision: decision.map(Plain),
    };
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    send(Page::new("Request refused", content).status(status))
}

/// Hands the answer to the client in a form that the browser posts (OAuth 2.0 Form Post Response Mode).
pub(crate) fn form_post(redirect: &Redirect) -> Response {
    // The URI is a registered one; were it still no place for a form, the policy would not let the form go there.
    let site = form_source(&redirect.uri).unwrap_or_default();
    let content = FormPost {
        uri: &redirect.uri,
        site: Plain(site.split_once("://").map_or("the application", |(_, host)| host)),
        parameters: redirect.parameters.iter().collect(),
    };
    send(Page::new("Continue", content).form_action(&[&redirect.uri]).submitting_itself())
}

/// Asks which of the browser's accounts it is. `form_action` is the redirect URI, to which the answer may redirect.
pub(crate) fn accounts(request: &AccountsRequest, action: &str, hidden: Hidden<'_>, form_action: &str) -> Response {
    let content = Accounts {
        tenant: request.tenant_name.as_deref().map(Plain),
        client: Plain(&request.client_name),
        listed: request.accounts.iter().map(Listed::from).collect(),
        action,
        hidden,
    };
    send(Page::new("Pick an account", content).form_action(&[form_action]))
}

/// Asks before signing out, since any site can lead a browser here, and of which account if there are several. The form may
/// lead where the request asks to go back to; whether it does is decided when it is posted.
pub(crate) fn sign_out(accounts: &[Account], action: &str, ticket: &str, request: &str) -> Response {
    let asked = Form::decode(request.as_bytes()).unwrap_or_default();
    let back = asked.value("post_logout_redirect_uri").unwrap_or_default();
    let accounts = accounts.iter().map(Listed::from).collect();
    let content = SignOut { accounts, action, hidden: Hidden { request, ticket } };
    send(Page::new("Sign out", content).form_action(&[back]))
}

/// Says that the session is over. `back` is a registered address; `told` are clients' addresses, each shown in a frame that
/// nobody sees and that can do nothing to this page.
pub(crate) fn signed_out(back: Option<&str>, told: &[String]) -> Response {
    let told: Vec<&str> = told.iter().map(String::as_str).filter(|address| form_source(address).is_some()).collect();
    let content = SignedOut { back: back.filter(|href| leads(href)), told: &told };
    send(Page::new("Signed out", content).frames(&told))
}

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignIn<'a> {
    tenant: Option<Plain<'a>>,
    client: Plain<'a>,
    username: &'a str,
    action: &'a str,
    hidden: Hidden<'a>,
    error: Option<Plain<'a>>,
}

#[derive(Template)]
#[template(path = "error.html")]
struct Refused<'a> {
    heading: &'static str,
    what: Vec<(bool, Plain<'a>)>,
    who: Cow<'a, str>,
    how: Vec<(bool, Plain<'a>)>,
    back: Option<(&'a str, Plain<'a>)>,
    check: &'a str,
    aadsts: Option<u32>,
    decision: Option<Plain<'a>>,
}

#[derive(Template)]
#[template(path = "form_post.html")]
struct FormPost<'a> {
    uri: &'a str,
    site: Plain<'a>,
    parameters: Vec<(&'a str, &'a str)>,
}

#[derive(Template)]
#[template(path = "accounts.html")]
struct Accounts<'a> {
    tenant: Option<Plain<'a>>,
    client: Plain<'a>,
    listed: Vec<Listed<'a>>,
    action: &'a str,
    hidden: Hidden<'a>,
}

/// An account that is signed in.
struct Listed<'a> {
    session: String,
    user: Plain<'a>,
    upn: Plain<'a>,
    tenant: Plain<'a>,
}

impl<'a> From<&'a Account> for Listed<'a> {
    fn from(account: &'a Account) -> Self {
        Self {
            session: account.session.to_string(),
            user: Plain(&account.user_name),
            upn: Plain(&account.upn),
            tenant: Plain(&account.tenant_name),
        }
    }
}

#[derive(Template)]
#[template(path = "sign_out.html")]
struct SignOut<'a> {
    accounts: Vec<Listed<'a>>,
    action: &'a str,
    hidden: Hidden<'a>,
}

#[derive(Template)]
#[template(path = "signed_out.html")]
struct SignedOut<'a> {
    back: Option<&'a str>,
    told: &'a [&'a str],
}

fn send<C: Template>(page: Page<'_, C>) -> Response {
    page.respond().map(Body::from)
}

/// Whether a link may lead there: a path of our own, or what a form may lead to. Never `javascript:` and its kin.
fn leads(href: &str) -> bool {
    match href.strip_prefix('/') {
        Some(path) => !path.starts_with(['/', '\\']),
        None => form_source(href).is_some(),
    }
}

/// Splits a text at its backticks: what stands between two is code.
fn prose(text: &str) -> Vec<(bool, Plain<'_>)> {
    text.split('`').enumerate().map(|(n, part)| (n % 2 == 1, Plain(part))).collect()
}

fn capitalised(text: &str) -> Cow<'_, str> {
    match text.as_bytes() {
        [first, ..] if first.is_ascii_lowercase() => {
            let (first, rest) = text.split_at(1);
            Cow::Owned(first.to_ascii_uppercase() + rest)
        }
        _ => Cow::Borrowed(text),
    }
}

#[cfg(test)]
mod tests;
