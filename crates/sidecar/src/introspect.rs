//! Introspection of access tokens, locally: is it good for this application, and what does it say?
//!
//! Always an answer, never an error: applications compare the texts, which are part of the API. A token that was good is
//! remembered by its digest, with the generation of the keys that proved it; its times are judged on every request.
mod claims;
mod header;
mod seen;

pub(crate) use seen::SeenTokens;

use crate::cut_offs::Marked;
use crate::provider::Provider;
use bytes::Bytes;
use claims::{Claims, Expected};
use client::Random;
use decision::{Check, CheckId, Timestamp};
use header::Header;
use jose::{Algorithm, Refusal, Token, VerifyingKey};
use seen::Seen;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// How long a request waits for keys that are on their way.
const PATIENCE: Duration = Duration::from_secs(5);
/// Clocks differ by so many seconds.
const LEEWAY: f64 = 60.0;

/// Why a token is not active.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Inactive {
    /// The provider is not enabled: a fault of the configuration, not of the token.
    Disabled(String),
    /// What it says of itself cannot be read.
    Header(String),
    /// It names no key.
    KeyMissing,
    /// It names a key that the provider does not have, or there are no keys.
    KeyUnknown,
    /// Its key is not used with this algorithm.
    Algorithm,
    /// It is not what was signed.
    Signature,
    /// What was signed is no set of claims.
    Claims,
    /// A claim is missing, or of a type that it cannot have.
    Missing(&'static str),
    /// It has ended.
    Expired,
    /// It does not begin yet.
    Immature,
    /// It is of another issuer.
    Issuer,
    /// It is for somebody else.
    Audience,
    /// Its issuer ended it before its time.
    CutOff,
    /// Whether its issuer did is not known.
    Unheard,
}

impl Inactive {
    /// What it is counted as.
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::Disabled(_) => "UnsupportedIdentityProvider",
            Self::Header(_) => "InvalidTokenHeader",
            Self::KeyMissing => "MissingKeyId",
            Self::KeyUnknown => "UnknownKey",
            Self::Algorithm => "InvalidAlgorithm",
            Self::Signature => "InvalidSignature",
            Self::Claims => "InvalidToken",
            Self::Missing(_) => "MissingRequiredClaim",
            Self::Expired => "ExpiredSignature",
            Self::Immature => "ImmatureSignature",
            Self::Issuer => "InvalidIssuer",
            Self::Audience => "InvalidAudience",
            Self::CutOff => "RevokedToken",
            Self::Unheard => "CutOffsUnavailable",
        }
    }
}

impl Inactive {
    /// The check that failed, in the decision language.
    pub(crate) const fn check(&self) -> Option<CheckId> {
        Some(match self {
            // Nothing was looked at.
            Self::Disabled(_) => return None,
            Self::Header(_) => CheckId::TokenForm,
            Self::KeyMissing | Self::KeyUnknown => CheckId::TokenKey,
            Self::Algorithm => CheckId::TokenAlgorithm,
            Self::Signature => CheckId::TokenSignature,
            Self::Claims | Self::Missing(_) => CheckId::TokenClaims,
            Self::Expired => CheckId::TokenExpired,
            Self::Immature => CheckId::TokenNotBefore,
            Self::Issuer => CheckId::TokenIssuer,
            Self::Audience => CheckId::TokenAudience,
            Self::CutOff => CheckId::TokenRevoked,
            Self::Unheard => CheckId::CutOffsCurrent,
        })
    }
}

/// The texts of the API.
impl fmt::Display for Inactive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disabled(provider) => write!(f, "identity provider '{provider}' is not enabled"),
            Self::Header(fault) => write!(f, "invalid token header: {fault}"),
            Self::KeyMissing => f.write_str("missing key id from token header"),
            Self::KeyUnknown => f.write_str("token can not be validated with this identity provider"),
            Self::Missing(claim) => write!(f, "invalid token: Missing required claim: {claim}"),
            Self::Algorithm
            | Self::Signature
            | Self::Claims
            | Self::Expired
            | Self::Immature
            | Self::Issuer
            | Self::Audience
            | Self::CutOff
            | Self::Unheard => write!(f, "invalid token: {}", self.kind()),
        }
    }
}

/// Whether a token is active at this provider, and the answer that says so.
pub(crate) async fn introspect(
    provider: &Provider,
    text: &str,
    seen: &SeenTokens,
    now: Timestamp,
) -> Result<Bytes, Inactive> {
    let digest = SeenTokens::digest(provider.name(), text);
    if let Some(known) = seen.find(&digest) {
        // Keys that are too old, or that changed since, prove nothing any more.
        let current = provider.keys().current(now);
        let generation = current.as_deref().and_then(|keys| keys.as_ref().map(|keys| keys.generation));
        let marked = provider.cut_offs().is_none_or(|cut_offs| cut_offs.covers(known.marked.as_ref()));
        if generation == Some(known.generation) && marked {
            known.times.judge(now)?;
            uncut(provider, known.marked.as_ref(), now)?;
            return Ok(known.answer.clone());
        }
        seen.forget(&digest);
    }
    let header = Header::read(text).map_err(Inactive::Header)?;
    let token = Token::parse(text).map_err(|_| Inactive::Header("InvalidToken".to_owned()))?;
    let kid = header.kid.ok_or(Inactive::KeyMissing)?;
    let (key, generation) = if let Some(found) = known_key(provider, &kid, header.algorithm, now) {
        found
    } else {
        // Bounded by the keys themselves: one fetch at a time, and none soon after another.
        let _ = tokio::time::timeout(PATIENCE, provider.keys().refresh(now)).await;
        known_key(provider, &kid, header.algorithm, now).ok_or(Inactive::KeyUnknown)?
    };
    let key = key.ok_or(Inactive::Algorithm)?;
    let (Claims { answer, times }, marked) = verified(provider, &token, &key, &kid, now)?;
    let judged = uncut(provider, marked.as_ref(), now);
    seen.keep(digest, Arc::new(Seen { generation, times, answer: answer.clone(), marked }));
    judged.map(|()| answer)
}

/// Whether it was not cut off, where the provider tells of it.
fn uncut(provider: &Provider, marked: Option<&Marked>, now: Timestamp) -> Result<(), Inactive> {
    match (provider.cut_offs(), marked) {
        (Some(cut_offs), Some(marked)) => cut_offs.judge(marked, now),
        _ => Ok(()),
    }
}

/// Whether a token that somebody else has proven was cut off, where its provider tells of it.
pub(crate) fn still_counts(provider: &Provider, text: &str, now: Timestamp) -> Result<(), Inactive> {
    let Some(cut_offs) = provider.cut_offs() else { return Ok(()) };
    let kid = Header::read(text).map_err(Inactive::Header)?.kid.ok_or(Inactive::KeyMissing)?;
    let claims = Token::parse(text).and_then(|token| token.peek()).map_err(|_| Inactive::Claims)?;
    let claims = serde_json::to_string(&claims).map_err(|_| Inactive::Claims)?;
    cut_offs.judge(&cut_offs.mark(&claims, &kid)?, now)
}

/// The key of this name, where the algorithm is one of its own, and the generation of its set; `None` if there is no such key.
fn known_key(
    provider: &Provider,
    kid: &str,
    algorithm: Option<Algorithm>,
    now: Timestamp,
) -> Option<(Option<Arc<VerifyingKey>>, u64)> {
    let current = provider.keys().current(now)?;
    let snapshot = current.as_ref()?;
    snapshot.keys.find(kid)?;
    let key = algorithm.and_then(|algorithm| snapshot.keys.find_for(kid, algorithm));
    Some((key.cloned(), snapshot.generation))
}

fn verified(
    provider: &Provider,
    token: &Token<'_>,
    key: &VerifyingKey,
    kid: &str,
    now: Timestamp,
) -> Result<(Claims, Option<Marked>), Inactive> {
    let verified = token.verify(key).map_err(|refusal| match refusal {
        Refusal::Claims(_) | Refusal::Encoding(jose::Segment::Payload) => Inactive::Claims,
        Refusal::Algorithm { .. } => Inactive::Algorithm,
        _ => Inactive::Signature,
    })?;
    let text = std::str::from_utf8(verified.claims_bytes()).map_err(|_| Inactive::Claims)?;
    let announced = provider.keys().current(now);
    let announced = announced.as_deref().and_then(|keys| keys.as_ref()?.metadata.as_ref());
    let issuer = provider.issuer().or(announced.map(|metadata| metadata.issuer.as_str()));
    let expected = Expected { issuer, tenants: provider.tenants(), audience: provider.audience(), key: key.issuer() };
    let claims = Claims::read(text, &expected, now)?;
    let marked = provider.cut_offs().map(|cut_offs| cut_offs.mark(text, kid)).transpose()?;
    Ok((claims, marked))
}

/// When a token is good, in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Times {
    exp: f64,
    iat: f64,
    nbf: Option<f64>,
}

impl Times {
    fn judge(&self, now: Timestamp) -> Result<(), Inactive> {
        #[expect(clippy::cast_precision_loss, reason = "seconds of this age are exact in 52 bits")]
        let now = now.0 as f64;
        if self.exp + LEEWAY <= now {
            return Err(Inactive::Expired);
        }
        let begins = self.nbf.map_or(self.iat, |nbf| nbf.max(self.iat));
        // What ends before it begins was never good.
        if begins > now + LEEWAY || begins >= self.exp {
            return Err(Inactive::Immature);
        }
        Ok(())
    }
}

/// `{"active":false,"error":"…"}`, and beside it what an operator finds again in the log, where explanations are asked for.
pub(crate) fn inactive(reason: &Inactive, random: Option<&dyn Random>) -> Bytes {
    #[derive(serde::Serialize)]
    struct Explained {
        decision_id: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        check: Option<Check>,
    }
    #[derive(serde::Serialize)]
    struct Body {
        active: bool,
        error: String,
        #[serde(flatten)]
        explained: Option<Explained>,
    }
    let explained = random.map(|random| {
        let mut octets = [0; 16];
        random.fill(&mut octets);
        let decision_id = format!("{:032x}", u128::from_be_bytes(octets));
        let check = reason.check().map(|id| Check::fail(id, id.entry().title, reason.to_string()));
        let id = reason.check().map_or("none", |id| id.entry().id);
        tracing::info!(decision.id = decision_id, check.id = id, check.found = %reason, "a token is not active");
        Explained { decision_id, check }
    });
    let body = Body { active: false, error: reason.to_string(), explained };
    serde_json::to_vec(&body).unwrap_or_else(|_| br#"{"active":false}"#.to_vec()).into()
}
