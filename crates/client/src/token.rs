//! A token endpoint's success answer, read for use.
use crate::Error;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use decision::Timestamp;
use oauth::{Scopes, Secret};
use serde::Deserialize;
use serde_json::{Map, Value};

/// How long an answer is believed that says nothing of its life, in seconds. It is not kept.
const ASSUMED: i64 = 60;
/// A life that is longer, in seconds, is an overflow of somebody's, and says nothing.
const LONGEST: i64 = u32::MAX as i64;

/// How an access token is shown to an API.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scheme {
    /// Whoever has it may use it (RFC 6750).
    #[default]
    Bearer,
    /// Bound to a key (Entra's signed HTTP requests): worth nothing without a proof by the key, which its holder adds.
    Pop,
}

impl Scheme {
    /// As it stands before the token in `Authorization`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bearer => "Bearer",
            Self::Pop => "pop",
        }
    }
}

/// What the authority issued.
#[derive(Clone, Debug)]
pub struct Token {
    /// For the API, in `Authorization`.
    pub access_token: Secret,
    /// How it is shown there.
    pub scheme: Scheme,
    /// The refresh token, if one was asked for and given.
    pub refresh_token: Option<Secret>,
    /// The ID token, unverified: [`crate::Client::redeem_code`] verifies it.
    pub id_token: Option<Secret>,
    /// The scopes granted, where the authority says them.
    pub scopes: Option<Scopes>,
    /// When the access token ends: the earliest of what the answer says and what the token says.
    pub expires_at: Timestamp,
    /// When it was asked for.
    pub(crate) asked_at: Timestamp,
    /// When the token ends that it was obtained with.
    pub(crate) subject_ends: Option<Timestamp>,
    /// Whether its life is known; otherwise it is good for this once.
    pub(crate) stated: bool,
}

impl Token {
    /// Reads a success answer. `asked_at` is the moment before the request was sent, which errs on the safe side.
    /// One of another scheme than was asked for is none: a bearer token in a bound one's place would be good for every thief.
    pub(crate) fn read(body: &[u8], asked_at: Timestamp, scheme: Scheme) -> Result<Self, Error> {
        let answer: Answer = serde_json::from_slice(body)
            .map_err(|_| Error::Answer("it is not a token response (RFC 6749 section 5.1)"))?;
        if !answer.token_type.eq_ignore_ascii_case(scheme.as_str()) {
            return Err(Error::Answer(match scheme {
                Scheme::Bearer => "the token is not a bearer token",
                Scheme::Pop => "the token is not bound to the key",
            }));
        }
        if answer.access_token.expose().is_empty() {
            return Err(Error::Answer("the access token is empty"));
        }
        // RFC 6750 section 2.1: one that no header carries is good for nothing, and must not get into one.
        if !answer.access_token.expose().bytes().all(|octet| octet.is_ascii_graphic()) {
            return Err(Error::Answer("the access token has characters that no header carries"));
        }
        let within = |Seconds(seconds): Seconds| Some(seconds).filter(|seconds| *seconds <= LONGEST);
        let stated = answer.expires_in.and_then(within).map(|seconds| asked_at.plus(seconds));
        let moment = answer.expires_on.map(|Seconds(moment)| Timestamp(moment));
        let stated = stated.into_iter().chain(moment.filter(|moment| moment.since(asked_at) <= LONGEST));
        let ends = stated.chain(expiry(&answer.access_token)).min();
        Ok(Self {
            scopes: answer.scope.as_deref().and_then(Scopes::parse),
            access_token: answer.access_token,
            scheme,
            refresh_token: answer.refresh_token,
            id_token: answer.id_token,
            expires_at: ends.unwrap_or(asked_at.plus(ASSUMED)),
            asked_at,
            subject_ends: None,
            stated: ends.is_some(),
        })
    }

    /// Whole seconds that are left, rounded down: never more than there are, though a clock shows whole seconds only, and
    /// never negative.
    ///
    /// A token of 3 600 s that was asked for in this second has 3 599.
    pub fn seconds_left(&self, now: Timestamp) -> i64 {
        self.expires_at.since(now).saturating_sub(1).max(0)
    }

    /// A token obtained on someone's behalf is not given out once the token it came from has ended.
    pub(crate) fn no_longer_than(mut self, subject: &Secret) -> Self {
        self.subject_ends = expiry(subject);
        self
    }

    /// What it weighs in the cache, in bytes, with all that its parts need beside their texts.
    pub(crate) fn weight(&self) -> usize {
        let text = |secret: &Secret| secret.expose().len() + 16;
        let optional = |secret: &Option<Secret>| secret.as_ref().map_or(0, text);
        let scopes = self.scopes.iter().flat_map(Scopes::iter).map(|scope| scope.len() + 64).sum::<usize>();
        size_of::<Self>() + text(&self.access_token) + optional(&self.refresh_token) + optional(&self.id_token) + scopes
    }
}

/// The claims of a JWT, unverified; `None` where it is not one.
pub(crate) fn claims(token: &Secret) -> Option<Map<String, Value>> {
    let mut parts = token.expose().split('.');
    let (_, claims, _) = (parts.next()?, parts.next()?, parts.next()?);
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()
}

/// `exp` of a JWT, unverified. It can only shorten what the cache keeps, so nothing is gained by forging it.
pub(crate) fn expiry(token: &Secret) -> Option<Timestamp> {
    let exp = claims(token)?.get("exp")?.as_f64()?;
    #[expect(clippy::cast_possible_truncation, reason = "`as` saturates, and fractions of a second do not matter")]
    Some(Timestamp(exp as i64))
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

/// Entra's v1 endpoint and some others write numbers as strings, or with a fraction.
#[derive(Deserialize)]
#[serde(try_from = "Value")]
struct Seconds(i64);

impl TryFrom<Value> for Seconds {
    type Error = &'static str;

    fn try_from(value: Value) -> Result<Self, Self::Error> {
        let text = || value.as_str().map(str::trim);
        let fraction = || value.as_f64().or_else(|| text()?.parse().ok().filter(|seconds: &f64| seconds.is_finite()));
        #[expect(clippy::cast_possible_truncation, reason = "`as` saturates, and fractions are cut off")]
        let cut = || fraction().map(|seconds| seconds as i64);
        let whole = || text()?.parse().ok();
        value.as_i64().or_else(whole).or_else(cut).map(Self).ok_or("not a number of seconds")
    }
}
