//! Who signs users in: an OpenID provider, and the gateway as a client there.
use super::session::{Session, Tokens};
use client::{Ask, Client, Error};
use decision::Timestamp;
use guard::Guard;
use http::HeaderName;
use serde_json::{Map, Value};

/// A provider, by the name that the paths and fields of sign-in have for it.
pub(crate) struct Provider {
    pub(crate) name: String,
    pub(super) client: Client,
    /// What is asked for, `openid` included.
    pub(super) scopes: Vec<String>,
    /// Whether applications that signed a user in by themselves get a session for the tokens.
    pub(super) client_directed: bool,
    /// What verifies access tokens of such applications.
    pub(super) guard: Option<Guard>,
    pub(super) fields: TokenFields,
}

/// The fields that services get tokens in.
pub(super) struct TokenFields {
    pub(super) id_token: HeaderName,
    pub(super) access_token: HeaderName,
    pub(super) expires_on: HeaderName,
    pub(super) refresh_token: HeaderName,
}

impl TokenFields {
    pub(super) fn of(name: &str) -> Option<Self> {
        let field = |what: &str| HeaderName::try_from(format!("x-ms-token-{name}-{what}")).ok();
        Some(Self {
            id_token: field("id-token")?,
            access_token: field("access-token")?,
            expires_on: field("expires-on")?,
            refresh_token: field("refresh-token")?,
        })
    }
}

/// Why a session has no newer tokens.
#[derive(Debug)]
pub(crate) enum Stale {
    /// There is nothing to get them with.
    NoRefreshToken,
    /// The authority gives none, or for somebody else: the user has to sign in again.
    Refused,
    /// The authority does not answer.
    Unavailable(Option<u64>),
}

impl Provider {
    /// The session with newer tokens. `fresh` asks the authority in any case.
    pub(crate) async fn refreshed(&self, session: &Session, fresh: bool) -> Result<Session, Stale> {
        let Some(refresh_token) = &session.tokens.refresh_token else { return Err(Stale::NoRefreshToken) };
        let target = self.scopes.join(" ");
        // Whoever brings the same refresh token gets the same answer: browsers send several requests at once.
        let token = match self.client.ask(&Ask::refresh(refresh_token, &target).fresh(fresh)).await {
            Ok(answered) => answered.token,
            Err(error) => return Err(stale(&error)),
        };
        if let Some(id_token) = &token.id_token {
            let claims = self.client.verify_id_token(id_token).await.map_err(|error| stale(&error))?;
            if !is_same_user(&claims, &session.claims()) {
                return Err(Stale::Refused);
            }
        }
        let before = session.tokens.clone();
        let tokens = Tokens {
            id_token: token.id_token.clone().or(before.id_token),
            access_token: Some(token.access_token.clone()),
            expires_on: Some(token.expires_at),
            refresh_token: token.refresh_token.clone().or(before.refresh_token),
        };
        Ok(Session { tokens, ..session.clone() })
    }
}

/// OpenID Connect Core section 12.2.
fn is_same_user(now: &Map<String, Value>, before: &Map<String, Value>) -> bool {
    ["iss", "sub"].iter().all(|name| now.get(*name).is_some_and(|value| Some(value) == before.get(*name)))
}

fn stale(error: &Error) -> Stale {
    tracing::info!(
        error.status = error.status(),
        error.code = error.body().map(|body| body.error.as_str()),
        reason = %error,
        "a session got no newer tokens"
    );
    if is_away(error) { Stale::Unavailable(error.retry_after()) } else { Stale::Refused }
}

/// Whether the authority does not answer, or has no answer now.
pub(super) fn is_away(error: &Error) -> bool {
    match error {
        Error::Unreachable(_) | Error::Unreadable { .. } | Error::Refused { status: 429 | 500.., .. } => true,
        Error::Refused { body, .. } => matches!(body.error.as_str(), "temporarily_unavailable" | "server_error"),
        Error::Identity(identity) => *identity == client::IdentityError::Unfetched,
        _ => false,
    }
}

/// Tokens are renewed when so many seconds of them are left.
const NEAR: i64 = 120;

impl Tokens {
    /// Whether the access token is over soon, or there is none.
    pub(crate) fn are_near_their_end(&self, now: Timestamp) -> bool {
        self.access_token.is_none() || self.expires_on.is_none_or(|ends| ends.since(now) <= NEAR)
    }

    /// Whether the access token is over, or there is none.
    pub(crate) fn are_over(&self, now: Timestamp) -> bool {
        self.access_token.is_none() || self.expires_on.is_none_or(|ends| ends <= now)
    }

    /// Whether there is something to renew them with.
    pub(crate) fn can_be_refreshed(&self) -> bool {
        self.refresh_token.is_some()
    }
}
