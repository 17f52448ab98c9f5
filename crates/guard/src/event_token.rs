//! Security event tokens (RFC 8417) of the authority: believed once they are verified, and about nobody else's tokens.
use crate::cut_offs::Void;
use decision::{CutOff, Timestamp};
use fetch::{IssuerKeys, Lookup};
use jose::Token;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// CAEP 1.0 section 3.1.
const SESSION_REVOKED: &str = "https://schemas.openid.net/secevent/caep/event-type/session-revoked";

/// What came of a token.
pub(crate) enum Verdict {
    /// A cut-off.
    Cut(CutOff, Void),
    /// An event of another kind, which asks nothing of this API.
    Other,
    /// Keys have to be fetched first.
    UnknownKey,
    /// It cannot be believed.
    Refused(String),
}

impl Verdict {
    pub(crate) fn taken(self) -> Result<Option<(CutOff, Void)>, String> {
        match self {
            Self::Cut(subject, void) => Ok(Some((subject, void))),
            Self::Other => Ok(None),
            Self::UnknownKey => Err("the key that signed it is not the authority's".into()),
            Self::Refused(reason) => Err(reason),
        }
    }
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    aud: OneOrMany,
    sub_id: Option<BTreeMap<String, Value>>,
    events: BTreeMap<String, Value>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

#[derive(Deserialize)]
struct Event {
    event_timestamp: i64,
    #[serde(default)]
    change: u64,
}

/// Verifies a token and reads which tokens it cuts off.
pub(crate) fn read(
    text: &str,
    keys: &Arc<IssuerKeys>,
    issuers: &[String; 2],
    tenant: &str,
    audiences: &[String],
    now: Timestamp,
) -> Verdict {
    let refused = |reason: &str| Verdict::Refused(reason.to_owned());
    let token = match Token::parse(text) {
        Ok(token) => token,
        Err(refusal) => return Verdict::Refused(refusal.to_string()),
    };
    if !token.header().typ.as_deref().is_some_and(|typ| typ.eq_ignore_ascii_case("secevent+jwt")) {
        return refused("it is no security event token");
    }
    let Some(kid) = token.header().kid.as_deref() else { return refused("it names no key") };
    let key = match keys.find(kid, now) {
        Lookup::Found(key, _) => key,
        Lookup::Unknown | Lookup::NoKeys => return Verdict::UnknownKey,
    };
    let claims = match token.verify(&key).and_then(|verified| verified.claims::<Claims>()) {
        Ok(claims) => claims,
        Err(refusal) => return Verdict::Refused(refusal.to_string()),
    };
    let audience = match &claims.aud {
        OneOrMany::One(one) => std::slice::from_ref(one),
        OneOrMany::Many(many) => many,
    };
    if !issuers.contains(&claims.iss) {
        return refused("it is of another issuer");
    }
    if !audience.iter().any(|aud| audiences.contains(aud)) {
        return refused("it is for another audience; subscribe as the application that tokens are for");
    }
    let Some(event) = claims.events.get(SESSION_REVOKED) else { return Verdict::Other };
    let Ok(event) = Event::deserialize(event) else { return refused("it does not say when") };
    let void = Void { change: event.change, at: Timestamp(event.event_timestamp) };
    match subject(claims.sub_id.unwrap_or_default(), tenant) {
        Some(subject) => Verdict::Cut(subject, void),
        None => Verdict::Other,
    }
}

/// Whom it is about; nobody, if it is another tenant. A member that is not understood would have narrowed it: without it more
/// tokens are cut off, and none too few.
fn subject(members: BTreeMap<String, Value>, tenant: &str) -> Option<CutOff> {
    let mut subject = CutOff::default();
    for (name, value) in members {
        let id = |member: &str| value.get(member).and_then(Value::as_str).map(str::to_owned);
        match name.as_str() {
            "tenant" if id("id").is_some_and(|id| id != tenant) => return None,
            "user" => subject.user = id("sub"),
            "application" => subject.application = id("id"),
            "session" => subject.session = id("id"),
            "grant" => subject.grant = id("id"),
            "key" => subject.key = id("id"),
            _ => {}
        }
    }
    // Sessions, authorizations and keys are named alone, and users with applications at most: what stands beside them
    // would not be found.
    let alone = CutOff::default;
    Some(if subject.session.is_some() {
        CutOff { session: subject.session, ..alone() }
    } else if subject.grant.is_some() {
        CutOff { grant: subject.grant, ..alone() }
    } else if subject.key.is_some() {
        CutOff { key: subject.key, ..alone() }
    } else {
        subject
    })
}
