//! The next call: a token for an API, and the call with it. Where the API wants a stronger token, one is asked for, once; the
//! next call of the same user begins with it.
mod demands;

pub(crate) use demands::Demands;

use crate::Sidecar;
use crate::acquire::Subject;
use crate::agents::EXCHANGE;
use crate::apis::{Api, Options};
use crate::inbound::Inbound;
use crate::problem::{Problem, challenge};
use crate::telemetry::Path;
use crate::whose::Whose;
use bytes::Bytes;
use client::{Ask, Error, Token, challenge_in};
use fetch::{Fetch, Passed, Passing};
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue, Method, Response};
use http_body_util::{BodyExt, Full};
use std::sync::Arc;
use std::time::Duration;

/// For an API to begin its answer, and between two pieces of it.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// One call that is made for the application.
pub(crate) struct Errand<'a> {
    pub(crate) sidecar: &'a Sidecar,
    pub(crate) inbound: &'a Inbound,
    pub(crate) path: Path,
    pub(crate) api: &'a Api,
    pub(crate) options: &'a Options,
    /// Who calls.
    pub(crate) whose: Whose<'a>,
    /// The headers of the request that is served: its trace goes along.
    pub(crate) headers: &'a HeaderMap,
}

/// What is sent.
pub(crate) struct Outgoing {
    pub(crate) method: Method,
    pub(crate) url: String,
    pub(crate) headers: HeaderMap,
    pub(crate) cargo: Cargo,
}

/// A body.
pub(crate) enum Cargo {
    /// At hand, so that it can be sent once more.
    Whole(Bytes),
    /// As it comes.
    Streaming(Passing),
}

impl Errand<'_> {
    /// A token for the API, with these claims in place of those that are asked for.
    pub(crate) async fn token(&self, claims: Option<&str>) -> Result<Arc<Token>, Problem> {
        let id = self.sidecar.providers().place(&self.api.provider).ok_or_else(Problem::internal)?;
        let target = self.options.scopes.join(" ");
        let subject = if self.whose.user().is_some() { Subject::User } else { Subject::Application };
        let (client, target) = self.sidecar.ask_for(self.path, id, subject, &target)?;
        let agent = self.options.agent.as_ref().map(|agent| self.sidecar.agents().of(id, client, agent));
        let client = agent.as_ref().map_or(Some(client), Option::as_ref).ok_or_else(Problem::internal)?;
        let no_token = |error: Error| Problem::no_token(&error, self.inbound.guard());
        let own;
        let ask = match self.whose {
            Whose::Application => Ask::application(&target),
            Whose::User(user, None) => Ask::on_behalf_of(user, &target),
            Whose::User(user, Some(key)) => Ask::on_behalf_of(user, &target).begins(key.secret()),
            Whose::Session(key) => Ask::in_session(key.secret(), &target),
            Whose::AgentUser(user) => {
                let ask = Ask::application(EXCHANGE);
                let asked = self.sidecar.asked(self.path, id, client, &ask, self.headers).await;
                own = asked.map_err(no_token)?;
                Ask::agent_user(user.asked(), &own.access_token, &target)
            }
            Whose::Host(identity) => {
                let fresh = self.options.fresh;
                let asked = self.sidecar.of_the_host(self.path, id, identity, &target, fresh).await;
                return asked.map_err(|error| match error {
                    Error::Unreachable(error) => Problem::no_host(&error),
                    error => no_token(error),
                });
            }
        };
        let ask = match claims.or(self.options.claims.as_deref()) {
            Some(claims) => ask.claims(claims),
            None => ask,
        };
        let ask = match &self.options.fmi_path {
            Some(path) => ask.fmi_path(path),
            None => ask,
        };
        let ask = match &self.options.confirmation {
            Some(confirmation) => ask.bound_to(confirmation),
            None => ask,
        };
        let ask = ask.fresh(self.options.fresh);
        self.sidecar.asked(self.path, id, client, &ask, self.headers).await.map_err(no_token)
    }

    /// Calls. The answer is the API's, whatever it is, but for one that wants a stronger token: for that the authority is asked,
    /// and if it wants the user, the problem is the challenge for the application's own caller.
    pub(crate) async fn call(&self, network: &Fetch, outgoing: Outgoing) -> Result<Response<Passed>, Problem> {
        let Outgoing { method, url, headers, cargo } = outgoing;
        let demands = self.sidecar.demands();
        // What the caller asks for is theirs to say, and is asked for each time.
        let user = self.whose.user();
        let call = user.filter(|_| self.options.claims.is_none());
        let call = call.map(|user| Demands::call(self.api, self.options, user));
        let mut known = call.and_then(|call| demands.of(&call));
        let strong = match &known {
            Some(claims) => self.token(Some(claims)).await.ok(),
            None => None,
        };
        let token = if let Some(token) = strong {
            token
        } else {
            // Not to be had any more. Whether it is still wanted, the API says.
            if let (Some(_), Some(call)) = (known.take(), &call) {
                demands.forget(call);
            }
            self.token(None).await?
        };
        let (body, again) = match cargo {
            Cargo::Whole(bytes) => (whole(bytes.clone()), Some(bytes)),
            Cargo::Streaming(body) => (body, None),
        };
        let send = async |token: &Token, body: Passing| {
            let mut headers = headers.clone();
            headers.insert(AUTHORIZATION, shown(token)?);
            let answer = network.pass(method.clone(), &url, headers, body, PATIENCE).await;
            answer.map_err(|error| Problem::not_called(&error))
        };
        let answer = send(&token, body).await?;
        // The application has nobody to ask: what its own token lacks, it is told as it is.
        let (Some(Error::Challenged { claims }), true) = (challenge_in(&answer), user.is_some()) else {
            return Ok(answer);
        };
        let for_the_caller = || Problem::challenge(&challenge(self.inbound.guard(), &claims, None), None);
        let (Some(again), Some(call)) = (again, call) else { return Err(for_the_caller()) };
        if known.is_some_and(|known| *known == *claims) {
            demands.forget(&call);
            return Err(for_the_caller());
        }
        let stronger = self.token(Some(&claims)).await?;
        let answer = send(&stronger, whole(again)).await?;
        if let Some(Error::Challenged { .. }) = challenge_in(&answer) {
            demands.forget(&call);
            return Err(for_the_caller());
        }
        demands.keep(call, &claims);
        Ok(answer)
    }
}

/// The token behind its scheme, as a header that no log shows.
pub(crate) fn shown(token: &Token) -> Result<HeaderValue, Problem> {
    let value = HeaderValue::from_str(&format!("{} {}", token.scheme.as_str(), token.access_token.expose()));
    let mut value = value.map_err(|_| Problem::internal())?;
    value.set_sensitive(true);
    Ok(value)
}

fn whole(bytes: Bytes) -> Passing {
    Passing::new(Full::new(bytes).map_err(|never| match never {}))
}
