//! What is asked for, and what is answered.
use crate::Token;
use http::HeaderMap;
use oauth::Secret;
use std::sync::Arc;

/// A question for a token. How it becomes a request is the client's [`crate::GrantProfile`].
///
/// ```
/// # let inbound = oauth::Secret::new("the user's token for Orders");
/// let ask = client::Ask::on_behalf_of(&inbound, "api://billing/Invoices.Read").claims(r#"{"access_token":{}}"#);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    pub(crate) whose: Whose<'a>,
    pub(crate) target: &'a str,
    pub(crate) claims: Option<&'a str>,
    pub(crate) resource: Option<&'a str>,
    pub(crate) authorization_details: Option<&'a str>,
    pub(crate) fmi_path: Option<&'a str>,
    pub(crate) confirmation: Option<&'a str>,
    /// The key under which work begins that outlives its request.
    pub(crate) session: Option<&'a Secret>,
    pub(crate) fresh: bool,
    pub(crate) trace: Option<&'a HeaderMap>,
}

/// Who the token will speak for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Whose<'a> {
    Application,
    User(&'a Secret),
    Refresh(&'a Secret),
    Session(&'a Secret),
    AgentUser(AgentUser<'a>, &'a Secret),
}

/// A user that an agent is, and nobody else (Entra's agent users).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AgentUser<'a> {
    /// By user principal name.
    Name(&'a str),
    /// By object id.
    Id(&'a str),
}

impl<'a> AgentUser<'a> {
    /// As a parameter of the token request.
    pub(crate) const fn parameter(self) -> (&'static str, &'a str) {
        match self {
            Self::Name(name) => ("username", name),
            Self::Id(id) => ("user_id", id),
        }
    }
}

/// The subject's kind, for keys and forms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Application,
    User,
    Refresh,
    AgentUser,
}

impl<'a> Whose<'a> {
    pub(crate) fn subject(self) -> Option<&'a Secret> {
        match self {
            Self::Application => None,
            Self::User(subject) | Self::Refresh(subject) | Self::Session(subject) | Self::AgentUser(_, subject) => {
                Some(subject)
            }
        }
    }

    pub(crate) const fn kind(self) -> Kind {
        match self {
            Self::Application => Kind::Application,
            Self::User(_) => Kind::User,
            // What is kept for it is a refresh token.
            Self::Refresh(_) | Self::Session(_) => Kind::Refresh,
            Self::AgentUser(..) => Kind::AgentUser,
        }
    }

    pub(crate) const fn agent_user(self) -> Option<(&'static str, &'a str)> {
        match self {
            Self::AgentUser(user, _) => Some(user.parameter()),
            _ => None,
        }
    }
}

impl<'a> Ask<'a> {
    const fn new(whose: Whose<'a>, target: &'a str) -> Self {
        Self {
            whose,
            target,
            claims: None,
            resource: None,
            authorization_details: None,
            fmi_path: None,
            confirmation: None,
            session: None,
            fresh: false,
            trace: None,
        }
    }

    /// A token for the application itself. The target is sent as it is: scopes, or an audience where the profile has one.
    pub const fn application(target: &'a str) -> Self {
        Self::new(Whose::Application, target)
    }

    /// A token for another API, on behalf of the user whose token came in.
    pub const fn on_behalf_of(user_token: &'a Secret, target: &'a str) -> Self {
        Self::new(Whose::User(user_token), target)
    }

    /// A token for a refresh token (RFC 6749 section 6).
    pub const fn refresh(refresh_token: &'a Secret, target: &'a str) -> Self {
        Self::new(Whose::Refresh(refresh_token), target)
    }

    /// A token for work that was begun under this key, without the user; see [`Ask::begins`].
    pub const fn in_session(session_key: &'a Secret, target: &'a str) -> Self {
        Self::new(Whose::Session(session_key), target)
    }

    /// A token of the user that this application, an agent, is (Entra's `user_fic` grant). `credential` is the agent's own token
    /// for `api://AzureADTokenExchange/.default`. The `Entra` profile sends it.
    ///
    /// ```
    /// # mod authority { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/authority.rs")); }
    /// # use authority::*;
    /// # run(async {
    /// use client::{AgentUser, Ask};
    /// let agent = builder().secret(Secret::new("…")).build(network(), clock(), random());
    /// let own = agent.client_credentials("api://AzureADTokenExchange/.default").await?;
    /// let user = AgentUser::Name("helper@contoso.example");
    /// agent.ask(&Ask::agent_user(user, &own.access_token, "https://graph.microsoft.com/.default")).await?;
    /// # Ok(()) });
    /// ```
    pub const fn agent_user(user: AgentUser<'a>, credential: &'a Secret, target: &'a str) -> Self {
        Self::new(Whose::AgentUser(user, credential), target)
    }

    /// Begins work that outlives this request: with [`Ask::on_behalf_of`], what it takes to get more tokens is kept under this
    /// key; see [`crate::Client::begin_long_running`].
    #[must_use]
    pub const fn begins(mut self, session_key: &'a Secret) -> Self {
        self.session = Some(session_key);
        self
    }

    /// Binds the token to a key that its holder has: `req_cnf`, base64url of `{"kid": …}` or of `{"jwk": …}`, as the authority
    /// reads it. The answer is a token whose [`crate::Scheme`] is `Pop`, or none. The `Entra` profile sends it.
    ///
    /// ```
    /// # mod authority { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/authority.rs")); }
    /// # use authority::*;
    /// # run(async {
    /// use client::{Ask, Error};
    /// let orders = builder().secret(Secret::new("…")).build(network(), clock(), random());
    /// let ask = Ask::application("api://billing/.default").bound_to("eyJraWQiOiJ0aHVtYnByaW50In0");
    /// // This authority knows of no bound tokens, and a bearer token is not taken for one.
    /// assert!(matches!(orders.ask(&ask).await, Err(Error::Answer(_))));
    /// # Ok(()) });
    /// ```
    #[must_use]
    pub const fn bound_to(mut self, confirmation: &'a str) -> Self {
        self.confirmation = Some(confirmation);
        self
    }

    /// The JSON of a claims challenge, to answer it.
    #[must_use]
    pub const fn claims(mut self, claims: &'a str) -> Self {
        self.claims = Some(claims);
        self
    }

    /// The resource that the token is for (RFC 8707), where the profile sends it.
    #[must_use]
    pub const fn resource(mut self, resource: &'a str) -> Self {
        self.resource = Some(resource);
        self
    }

    /// Rich authorization (RFC 9396) as canonical JSON text, where the profile sends it.
    #[must_use]
    pub const fn authorization_details(mut self, json: &'a str) -> Self {
        self.authorization_details = Some(json);
        self
    }

    /// The identity below the application that its own token is to be of (Entra's federated managed identities): an agent's
    /// client id, mostly. The `Entra` profile sends it.
    #[must_use]
    pub const fn fmi_path(mut self, path: &'a str) -> Self {
        self.fmi_path = Some(path);
        self
    }

    /// Whether a token that is held already is discarded, and a refusal that is remembered too.
    #[must_use]
    pub const fn fresh(mut self, fresh: bool) -> Self {
        self.fresh = fresh;
        self
    }

    /// The headers of the request that is being answered: its trace context (W3C Trace Context) goes along if the authority
    /// is asked.
    #[must_use]
    pub const fn in_trace(mut self, inbound: &'a HeaderMap) -> Self {
        self.trace = Some(inbound);
        self
    }
}

/// A token, and where it came from.
#[derive(Clone, Debug)]
pub struct Answered {
    /// The token.
    pub token: Arc<Token>,
    /// Whether it was held already. One that others asked for at the same moment was not.
    pub cached: bool,
}
