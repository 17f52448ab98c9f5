//! Signing out (OpenID Connect RP-Initiated Logout 1.0): ends the session, and with it everything that stems from it.
use crate::authorize::registered;
use crate::denial::Denial;
use crate::ledger::{SessionRecord, Write};
use crate::ports::Ports;
use crate::token::{AssertionFacts, TokenClaims};
use crate::token_endpoint::unavailable;
use oauth::{Form, Parameter, Parameters, Place};

/// What a sign-out request proves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SignOut {
    /// Whether `id_token_hint` shows that the request comes from an application that this session signed in to; else the
    /// person is asked, so that no other page can sign them out.
    pub genuine: bool,
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
pub fn read(ports: &Ports, request: &Form, session: Option<&SessionRecord>) -> SignOut {
    let hint: Option<Box<TokenClaims>> =
        request.value("id_token_hint").and_then(|hint| match ports.crypto.assertion(hint) {
            // An access token may name the session too (optional claim `sid`), and whoever serves an API holds one: it must
            // not be able to sign the person out.
            AssertionFacts::Verified(claims) if claims.idtyp.is_empty() => Some(claims),
            _ => None,
        });
    let genuine = hint.as_ref().zip(session).is_some_and(|(claims, session)| claims.sid == session.id.to_string());
    let client = hint.as_ref().map(|claims| claims.aud.as_str()).or(request.value("client_id"));
    let snapshot = ports.directory.snapshot();
    let back = request.value("post_logout_redirect_uri").filter(|uri| {
        let app = client.and_then(|client| client.parse().ok());
        let mut registrations = snapshot.tenants().filter_map(|tenant| tenant.app(app?));
        registrations.next().is_some_and(|client| registered(&client.application, uri).is_some())
    });
    let back = back.map(|uri| match request.value("state") {
        Some(state) => {
            let separator = if uri.contains('?') { '&' } else { '?' };
            format!("{uri}{separator}{}", Form::default().with("state", state).encode())
        }
        None => uri.to_owned(),
    });
    SignOut { genuine, back }
}

/// Ends a session.
///
/// # Errors
/// If the store cannot write.
pub async fn end(ports: &Ports, session: &SessionRecord, once: Option<Write>) -> Result<(), Denial> {
    let mut writes = vec![Write::RevokeSession(session.id)];
    writes.extend(once);
    ports.ledger.commit(writes).await.map_err(|_| unavailable(crate::ledger::Unavailable))
}
