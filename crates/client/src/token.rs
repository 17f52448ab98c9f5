//! A token endpoint's success answer, read for use.
use crate::Error;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use decision::Timestamp;
use oauth::{Scopes, Secret};
use serde::Deserialize;

/// A token is given up this long before its end: clocks differ, and a call takes time.
const MARGIN: i64 = 60;

/// What the authority issued.
#[derive(Clone, Debug)]
pub struct Token {
    /// For the API, in `Authorization: Bearer`.
    pub access_token: Secret,
    /// The refresh token, if one was asked for and given.
    pub refresh_token: Option<Secret>,
    /// The ID token, unverified: [`crate::Client::redeem_code`] verifies it.
    pub id_token: Option<Secret>,
    /// The scopes granted, where the authority says them.
    pub scopes: Option<Scopes>,
    /// When the access token ends.
    pub expires_at: Timestamp,
    /// Until when the cache may answer with it: the earliest of all lifetimes involved.
    pub usable_until: Timestamp,
}

impl Token {
    /// Reads a success answer. `asked_at` is the moment before the request was sent, which errs on the safe side.
    pub(crate) fn read(body: &[u8], asked_at: Timestamp) -> Result<Self, Error> {
        let answer: Answer = serde_json::from_slice(body)
            .map_err(|_| Error::Answer("it is not a token response (RFC 6749 section 5.1)"))?;
        if !answer.token_type.eq_ignore_ascii_case("Bearer") {
            return Err(Error::Answer("the token is not a bearer token"));
        }
        if answer.access_token.expose().is_empty() {
            return Err(Error::Answer("the access token is empty"));
        }
        let stated = answer.expires_in.map(|Seconds(seconds)| asked_at.plus(seconds));
        let stated = stated.into_iter().chain(answer.expires_on.map(|Seconds(moment)| Timestamp(moment)));
        let inside = expiry(&answer.access_token);
        // Neither stated nor readable: good for this once, never kept.
        let expires_at = stated.chain(inside).min().unwrap_or(asked_at);
        Ok(Self {
            scopes: answer.scope.as_deref().and_then(Scopes::parse),
            access_token: answer.access_token,
            refresh_token: answer.refresh_token,
            id_token: answer.id_token,
            expires_at,
            usable_until: expires_at.plus(-MARGIN),
        })
    }

    /// A token obtained on someone's behalf is not given out once the token it came from has ended.
    pub(crate) fn no_longer_than(mut self, subject: &Secret) -> Self {
        if let Some(end) = expiry(subject) {
            self.usable_until = self.usable_until.min(end);
        }
        self
    }

    /// What it weighs in the cache, in bytes.
    pub(crate) fn weight(&self) -> usize {
        let optional = |secret: &Option<Secret>| secret.as_ref().map_or(0, |secret| secret.expose().len());
        let scopes = self.scopes.iter().flat_map(Scopes::iter).map(|scope| scope.len() + 64).sum::<usize>();
        self.access_token.expose().len() + optional(&self.refresh_token) + optional(&self.id_token) + scopes
    }
}

/// `exp` of a JWT, unverified. It can only shorten what the cache keeps, so nothing is gained by forging it.
fn expiry(token: &Secret) -> Option<Timestamp> {
    #[derive(Deserialize)]
    struct Claims {
        exp: f64,
    }
    let mut parts = token.expose().split('.');
    let (_, claims, _) = (parts.next()?, parts.next()?, parts.next()?);
    let claims: Claims = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()?;
    #[expect(clippy::cast_possible_truncation, reason = "`as` saturates, and fractions of a second do not matter")]
    Some(Timestamp(claims.exp as i64))
}

#[derive(Deserialize)]
struct Answer {
    token_type: String,
    access_token: Secret,
    expires_in: Option<Seconds>,
    /// A moment: managed identities on a site say only this.
    expires_on: Option<Seconds>,
    refresh_token: Option<Secret>,
    id_token: Option<Secret>,
    scope: Option<String>,
}

/// Entra's v1 endpoint and some others write numbers as strings.
#[derive(Deserialize)]
#[serde(try_from = "serde_json::Value")]
struct Seconds(i64);

impl TryFrom<serde_json::Value> for Seconds {
    type Error = &'static str;

    fn try_from(value: serde_json::Value) -> Result<Self, Self::Error> {
        let text = value.as_str().and_then(|text| text.parse().ok());
        value.as_i64().or(text).map(Self).ok_or("not a number of seconds")
    }
}
