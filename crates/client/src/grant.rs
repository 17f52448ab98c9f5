//! Asking: from a question to a token, held or new.
use crate::ask::{Answered, Ask, Kind, Whose};
use crate::client::Inner;
use crate::profile::Question;
use crate::upstream::{FormMaker, Repeat};
use crate::{Client, Error, KeyFields, Token};
use http::HeaderMap;
use oauth::{Scopes, Secret};
use std::sync::Arc;
use tokio::time::Instant;

impl Client {
    /// A token: held, or asked for. Whoever asks the same at once shares one request.
    ///
    /// ```
    /// # async fn handler(orders: client::Client, inbound: oauth::Secret, now: decision::Timestamp) -> Result<(), client::Error> {
    /// use client::Ask;
    /// let answered = orders.ask(&Ask::on_behalf_of(&inbound, "api://billing/Invoices.Read")).await?;
    /// println!("for {} more seconds, cached: {}", answered.token.seconds_left(now), answered.cached);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::ClaimsChallenge`] belongs in a 401 to this API's own caller; [`Error::Consent`] names the missing grant.
    pub async fn ask(&self, ask: &Ask<'_>) -> Result<Answered, Error> {
        match (ask.whose, ask.session) {
            (Whose::User(user), Some(session_key)) => Box::pin(self.begun(session_key, user, ask)).await,
            (_, Some(_)) => Err(Error::Request("work begins with a user's token; ask on behalf of one")),
            (_, None) => self.answered(ask).await,
        }
    }

    /// Held, or asked for.
    pub(crate) async fn answered(&self, ask: &Ask<'_>) -> Result<Answered, Error> {
        let inner = &self.inner;
        let kind = ask.whose.kind();
        let is_audience = inner.profile.is_audience(kind);
        let session = match ask.whose {
            Whose::Session(session_key) => Some(inner.session(session_key)?),
            _ => None,
        };
        let key = KeyFields {
            grant: if session.is_some() { "long_running" } else { inner.profile.grant(kind) },
            subject: ask.whose.subject(),
            target: is_audience.then_some(ask.target),
            scopes: (!is_audience).then_some(ask.target),
            claims: ask.claims,
            resource: ask.resource,
            authorization_details: ask.authorization_details,
            fmi_path: ask.fmi_path,
            binding: ask.confirmation,
            user: ask.whose.agent_user(),
            ..KeyFields::default()
        }
        .key_after(&inner.asker);
        let sought = inner.sought(key, ask.whose.subject(), ask.fresh);
        let acquire = || {
            let (client, question) = (Arc::clone(inner), self.question(ask));
            async move {
                match session {
                    Some(id) => client.continued(&id, question).await,
                    None => client.answer(question).await,
                }
            }
        };
        inner.cache.get_or_acquire(sought, acquire).await
    }

    /// What is asked, to leave its caller with.
    pub(crate) fn question(&self, ask: &Ask<'_>) -> Question {
        let is_session = matches!(ask.whose, Whose::Session(_));
        Question {
            kind: ask.whose.kind(),
            // What a session's key stands for is known where it is kept.
            subject: ask.whose.subject().filter(|_| !is_session).cloned(),
            target: ask.target.to_owned(),
            claims: ask.claims.map(str::to_owned),
            resource: ask.resource.map(str::to_owned),
            authorization_details: ask.authorization_details.map(str::to_owned),
            fmi_path: ask.fmi_path.map(str::to_owned),
            confirmation: ask.confirmation.map(str::to_owned),
            agent_user: ask.whose.agent_user().map(|(name, user)| (name, user.to_owned())),
            trace: ask.trace.map_or_else(|| self.trace.clone(), trace_context),
        }
    }

    /// A token for the application itself (RFC 6749 section 4.4). Entra wants `{resource}/.default`.
    ///
    /// ```
    /// # mod authority { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/authority.rs")); }
    /// # use authority::*;
    /// # run(async {
    /// let orders = builder().secret(Secret::new("…")).build(network(), clock(), random());
    /// let token = orders.client_credentials("api://billing/.default").await?;
    /// assert_eq!(token.access_token.expose(), "for-billing");
    /// # Ok(()) });
    /// ```
    pub async fn client_credentials(&self, scope: &str) -> Result<Arc<Token>, Error> {
        let scope = scopes(&[scope])?.to_string();
        Ok(self.ask(&Ask::application(&scope)).await?.token)
    }

    /// A token for another API, on behalf of the user whose token this API was called with (Entra's On-Behalf-Of).
    /// `claims` is the JSON of a claims challenge, to answer it.
    ///
    /// # Errors
    /// [`Error::ClaimsChallenge`] belongs in a 401 to this API's own caller; [`Error::Consent`] names the missing grant.
    pub async fn on_behalf_of(
        &self,
        assertion: &Secret,
        scopes: &[&str],
        claims: Option<&str>,
    ) -> Result<Arc<Token>, Error> {
        let scopes = self::scopes(scopes)?.to_string();
        Ok(self.ask(&with(Ask::on_behalf_of(assertion, &scopes), claims)).await?.token)
    }

    /// A token for a refresh token (RFC 6749 section 6), perhaps for another resource. All who bring the same refresh
    /// token at once share one request: with rotation, a second one would look like a replay and end the session.
    ///
    /// ```
    /// # mod authority { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/authority.rs")); }
    /// # use authority::*;
    /// # run(async {
    /// let orders = builder().secret(Secret::new("…")).build(network(), clock(), random());
    /// let token = orders.refresh(&Secret::new("the refresh token"), &["api://billing/Invoices.Read"], None).await?;
    /// assert_eq!(token.refresh_token, Some(Secret::new("next")));
    /// # Ok(()) });
    /// ```
    pub async fn refresh(
        &self,
        refresh_token: &Secret,
        scopes: &[&str],
        claims: Option<&str>,
    ) -> Result<Arc<Token>, Error> {
        let scopes = self::scopes(scopes)?.to_string();
        Ok(self.ask(&with(Ask::refresh(refresh_token, &scopes), claims)).await?.token)
    }
}

fn with<'a>(ask: Ask<'a>, claims: Option<&'a str>) -> Ask<'a> {
    match claims {
        Some(claims) => ask.claims(claims),
        None => ask,
    }
}

impl Inner {
    /// Asks the authority.
    pub(crate) async fn answer(&self, question: Question) -> Result<Token, Error> {
        let deadline = Instant::now() + self.upstream.total;
        let endpoints = self.endpoints(deadline).await?;
        let repeat = if question.kind == Kind::Refresh { Repeat::Once } else { Repeat::Safe };
        let asked = &question;
        let form: &FormMaker<'_> = &move |client, endpoints, now| Box::pin(asked.form(client, endpoints, now));
        let token = self.request_token(form, &question.trace, repeat, &endpoints, deadline).await?;
        Ok(match (question.kind, &question.subject) {
            // A refresh token is no JWT, or one whose end is not the user's: only assertions bound what comes of them.
            (Kind::User, Some(assertion)) => token.no_longer_than(assertion),
            _ => token,
        })
    }
}

/// The longest `traceparent` that goes on: those of today have 55 characters.
const LONGEST_PARENT: usize = 256;
/// The longest `tracestate` that goes on: as much as everybody must take (W3C Trace Context section 3.3.1.5).
const LONGEST_STATE: usize = 512;

/// The trace context in the headers of a request (W3C Trace Context): nothing without a `traceparent` that is one, and no
/// `tracestate` that is longer than an authority must take. Instrumented applications pass on what strangers send them, and
/// others may wait for the same token.
pub(crate) fn trace_context(headers: &HeaderMap) -> HeaderMap {
    let mut trace = HeaderMap::new();
    let mut parents = headers.get_all(TRACEPARENT).iter();
    let (Some(parent), None) = (parents.next(), parents.next()) else { return trace };
    if !parent.to_str().is_ok_and(is_parent) {
        return trace;
    }
    trace.insert(TRACEPARENT, parent.clone());
    let states = headers.get_all(TRACESTATE);
    // Several are one list.
    if states.iter().map(|state| state.len() + 1).sum::<usize>() <= LONGEST_STATE + 1 {
        for state in states {
            trace.append(TRACESTATE, state.clone());
        }
    }
    trace
}

const TRACEPARENT: &str = "traceparent";
const TRACESTATE: &str = "tracestate";

/// W3C Trace Context section 3.2.2. Later versions may say more behind the same fields.
fn is_parent(text: &str) -> bool {
    let mut fields = text.split('-');
    let lower_hex = |octet: u8| matches!(octet, b'0'..=b'9' | b'a'..=b'f');
    let mut field = |length: usize| fields.next().filter(|field| field.len() == length && field.bytes().all(lower_hex));
    let (Some(version), Some(trace), Some(span), Some(_)) = (field(2), field(32), field(16), field(2)) else {
        return false;
    };
    let is_some = |id: &str| id.bytes().any(|digit| digit != b'0');
    version != "ff"
        && (version != "00" || fields.next().is_none())
        && is_some(trace)
        && is_some(span)
        && text.len() <= LONGEST_PARENT
}

pub(crate) fn scopes(values: &[&str]) -> Result<Scopes, Error> {
    Scopes::parse(&values.join(" "))
        .ok_or(Error::Request("a scope holds a character that RFC 6749 section 3.3 forbids"))
}
