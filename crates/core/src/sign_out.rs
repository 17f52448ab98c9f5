//! Signing out (OpenID Connect RP-Initiated Logout 1.0, Front-Channel Logout 1.0): ends sessions, and with them everything
//! that stems from them, and says which applications are to be told.
use crate::account::id_token;
use crate::audit::AuditRecord;
use crate::authorize::{Browser, registered};
use crate::denial::Denial;
use crate::id::SessionId;
use crate::issuance;
use crate::ledger::{CommitError, SessionRecord, Unavailable, Write};
use crate::ports::Ports;
use crate::sign_in::forged;
use crate::token_endpoint::unavailable;
use oauth::{Form, Parameter, Parameters, Place};
use std::sync::Arc;

/// What a sign-out request proves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SignOut {
    /// The session that `id_token_hint` names, which shows that the request comes from an application that it signed in to;
    /// else the person is asked, so that no other page can sign them out.
    pub genuine: Option<SessionId>,
    /// Where to go afterwards: a registered address, or nowhere.
    pub back: Option<String>,
}

/// What is read.
pub const PARAMETERS: Parameters = Parameters {
    when: "",
    each: &[
        Parameter::optional(
            "id_token_hint",
            "An ID token of the session: it ends without a question. Without it the person is asked.",
        )
        .at(Place::Either),
        Parameter::optional(
            "logout_hint",
            "The name that an account signs in with: the person is asked about that one alone.",
        )
        .at(Place::Either),
        Parameter::optional("client_id", "Whose `post_logout_redirect_uri` it is, where no `id_token_hint` says so.")
            .at(Place::Either),
        Parameter::optional(
            "post_logout_redirect_uri",
            "Where to go afterwards: exactly a registered redirect URI of the client; another one is ignored.",
        )
        .at(Place::Either),
        Parameter::optional("state", "Comes back at `post_logout_redirect_uri`.").at(Place::Either),
    ],
};

/// Reads a sign-out request.
pub fn read(ports: &Ports, request: &Form, browser: &Browser) -> SignOut {
    let hint = request.value("id_token_hint").and_then(|hint| id_token(ports, hint));
    let named: Option<SessionId> = hint.as_ref().and_then(|claims| claims.sid.parse().ok());
    let genuine = named.and_then(|sid| browser.accounts.iter().find(|account| account.known_as(sid)));
    let client = hint.as_ref().map(|claims| claims.aud.as_str()).or(request.value("client_id"));
    let snapshot = ports.directory.snapshot();
    let back = request.value("post_logout_redirect_uri").filter(|uri| {
        let app = client.and_then(|client| client.parse().ok());
        let mut registrations = snapshot.tenants().filter_map(|tenant| tenant.app(app?));
        registrations.next().is_some_and(|client| registered(&client.application, uri).is_some())
    });
    let back = back.map(|uri| match request.value("state") {
        Some(state) => with(uri, &Form::default().with("state", state)),
        None => uri.to_owned(),
    });
    SignOut { genuine: genuine.map(|account| account.id), back }
}

/// Ends sessions of a browser, each with those that stand for it with some client. Answers with the addresses at which
/// clients are told (Front-Channel Logout section 2), each once.
///
/// # Errors
/// If the store cannot write, or the page was posted before.
pub async fn end(ports: &Ports, ended: &[Arc<SessionRecord>], once: Option<Write>) -> Result<Vec<String>, Denial> {
    let now = ports.now();
    let mut writes: Vec<Write> = once.into_iter().collect();
    for session in ended {
        let mut sessions = vec![session.id];
        sessions.extend(session.clients.iter().map(|client| client.session));
        sessions.sort_unstable();
        sessions.dedup();
        writes.extend(sessions.into_iter().map(Write::RevokeSession));
        writes.push(Write::Audit(Box::new(AuditRecord {
            tenant: Some(session.tenant),
            subject: Some(session.user.to_string()),
            ..AuditRecord::new(now, issuance::random_uuid(ports).to_string(), "sign_out")
        })));
    }
    ports.ledger.commit(writes).await.map_err(|error| match error {
        CommitError::Conflict => forged(),
        CommitError::Unavailable => unavailable(Unavailable),
    })?;
    Ok(told(ports, ended))
}

fn told(ports: &Ports, ended: &[Arc<SessionRecord>]) -> Vec<String> {
    let snapshot = ports.directory.snapshot();
    let mut addresses = Vec::new();
    for client in ended.iter().flat_map(|session| &session.clients) {
        let registration = snapshot.tenant(client.tenant).and_then(|tenant| tenant.app(client.client));
        let Some(address) = registration.and_then(|it| it.application.web.logout_url.as_deref()) else { continue };
        let issuer = client.version.issuer(&ports.host, client.tenant);
        let address = with(address, &Form::default().with("iss", &issuer).with("sid", &client.session.to_string()));
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    addresses
}

fn with(address: &str, parameters: &Form) -> String {
    format!("{address}{}{}", if address.contains('?') { '&' } else { '?' }, parameters.encode())
}
