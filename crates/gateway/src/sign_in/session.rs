//! A session: who signed in, by which provider, and the tokens. The browser keeps it, and nobody but the gateway can read it.
use super::SignIn;
use super::keys::Keys;
use super::provider::Provider;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use client::Random;
use decision::Timestamp;
use http::HeaderName;
use oauth::Secret;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// Where applications that are no browsers show their session.
pub(crate) const ZUMO: HeaderName = HeaderName::from_static("x-zumo-auth");

/// Names are short: all of it goes back and forth with every request.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Session {
    /// Unpredictable, and another one after each sign-in.
    #[serde(rename = "s")]
    pub(super) id: String,
    #[serde(rename = "p")]
    pub(crate) provider: String,
    #[serde(rename = "b")]
    pub(crate) begun: Timestamp,
    #[serde(rename = "e")]
    pub(crate) ends: Timestamp,
    /// The digest of the claims challenge that its sign-in answered.
    #[serde(rename = "c", default, skip_serializing_if = "Option::is_none")]
    pub(super) answered: Option<String>,
    #[serde(rename = "t")]
    pub(crate) tokens: Tokens,
}

/// What the provider gave.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(crate) struct Tokens {
    #[serde(rename = "i", default, skip_serializing_if = "Option::is_none")]
    pub(super) id_token: Option<Secret>,
    #[serde(rename = "a", default, skip_serializing_if = "Option::is_none")]
    pub(crate) access_token: Option<Secret>,
    /// When the access token ends.
    #[serde(rename = "x", default, skip_serializing_if = "Option::is_none")]
    pub(super) expires_on: Option<Timestamp>,
    #[serde(rename = "r", default, skip_serializing_if = "Option::is_none")]
    pub(super) refresh_token: Option<Secret>,
}

impl Session {
    /// A new one, with an id of its own.
    pub(super) fn new(random: &dyn Random, provider: &str, now: Timestamp, lasts: i64, tokens: Tokens) -> Self {
        let mut id = [0; 24];
        random.fill(&mut id);
        Self {
            id: URL_SAFE_NO_PAD.encode(id),
            provider: provider.to_owned(),
            begun: now,
            ends: now.plus(lasts),
            answered: None,
            tokens,
        }
    }

    /// `None` where it could not be read again.
    pub(super) fn seal(&self, keys: &Keys, random: &dyn Random, purpose: &str) -> Option<String> {
        keys.seal(random, purpose, &serde_json::to_vec(self).ok()?)
    }

    pub(super) fn open(keys: &Keys, purpose: &str, sealed: &str) -> Option<Self> {
        serde_json::from_slice(&keys.open(purpose, sealed)?).ok()
    }

    /// The claims of the ID token, or of the access token where an application signed in with that alone. They were verified before
    /// the session was sealed.
    pub(crate) fn claims(&self) -> Map<String, Value> {
        let token = self.tokens.id_token.as_ref().or(self.tokens.access_token.as_ref());
        let claims = |token: &Secret| jose::Token::parse(token.expose()).and_then(|token| token.peek()).ok();
        token.and_then(claims).unwrap_or_default()
    }
}

/// The digest of a claims challenge.
pub(super) fn challenge_digest(claims: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(claims).get(..16).unwrap_or_default())
}

/// How a session was shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// By a browser, whoever made it send the request.
    Cookie,
    /// In a field, which only its holder can have set.
    Field,
}

/// A request with a good session.
pub(crate) struct Signed {
    pub(crate) session: Session,
    pub(crate) provider: Arc<Provider>,
    pub(crate) claims: Map<String, Value>,
    /// Whether the service is sent the tokens.
    pub(crate) forwards_tokens: bool,
    /// Whether the person is sent to sign in where the session does not suffice.
    pub(crate) redirects: bool,
    /// Where it would be ended.
    pub(crate) at: Arc<SignIn>,
}

impl Signed {
    /// Whether the session has been over for so many seconds, or was ended.
    pub(crate) fn is_over(&self, now: Timestamp, grace: i64) -> bool {
        now >= self.session.ends.plus(grace) || self.at.spent().has(&self.session.id, now)
    }

    /// The user's id, and tenant: for the access log.
    pub(crate) fn who(&self) -> (Option<&str>, Option<&str>) {
        let text = |name: &str| self.claims.get(name).and_then(Value::as_str);
        (text("oid").or(text("sub")), text("tid"))
    }
}
