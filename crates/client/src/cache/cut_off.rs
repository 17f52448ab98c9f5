//! Which tokens a cut-off ends: read from the tokens, unverified, for it can only end them earlier.
use crate::token::claims;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use decision::{CutOff, Timestamp};
use oauth::Secret;
use serde_json::{Map, Value};
use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};

/// What a token and its subject token can be named by.
#[derive(Clone, Debug, Default)]
pub(super) struct Facets {
    hashes: Box<[u64]>,
    /// The kinds of which nothing is known: those may fit.
    unknown: u8,
}

#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub(super) enum Kind {
    Tenant = 1,
    User = 2,
    Application = 4,
    Session = 8,
    Grant = 16,
    Key = 32,
}

const KINDS: [Kind; 6] = [Kind::Tenant, Kind::User, Kind::Application, Kind::Session, Kind::Grant, Kind::Key];

fn hash(kind: Kind, name: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (kind as u8, name).hash(&mut hasher);
    hasher.finish()
}

impl Facets {
    /// Of an access token, and of the token that it was obtained with.
    pub(super) fn of(access: &Secret, subject: Option<&Secret>) -> Self {
        let of_access = named_by(access);
        let mut unknown = missing(&[Kind::Tenant, Kind::Application, Kind::Key], &of_access);
        let mut all = of_access;
        if let Some(subject) = subject {
            // Users, sessions and authorizations have other names in tokens for another API: what the subject token does not
            // say, nothing says.
            let of_subject = named_by(subject);
            unknown |= missing(&KINDS, &of_subject);
            all.extend(of_subject);
        }
        Self { unknown, hashes: all.iter().map(|(kind, name)| hash(*kind, name)).collect() }
    }

    pub(super) fn weight(&self) -> usize {
        self.hashes.len() * 8
    }

    /// Whether one of the cut-offs may be about this token.
    pub(super) fn fit(&self, cut_offs: &[Named]) -> bool {
        let fits = |(kind, hash): &(Kind, u64)| self.unknown & *kind as u8 != 0 || self.hashes.contains(hash);
        cut_offs.iter().any(|Named(members)| members.iter().all(fits))
    }
}

/// The members of a cut-off, hashed once for all tokens that it is compared with.
#[derive(Clone, Debug)]
pub(super) struct Named(Vec<(Kind, u64)>);

impl Named {
    pub(super) fn all(cut_offs: &[CutOff]) -> Vec<Self> {
        let named = |cut_off: &CutOff| {
            let CutOff { tenant, user, application, session, grant, key } = cut_off;
            let members = KINDS.into_iter().zip([tenant, user, application, session, grant, key]);
            Self(members.filter_map(|(kind, name)| Some((kind, hash(kind, name.as_ref()?)))).collect())
        };
        cut_offs.iter().map(named).collect()
    }
}

/// A change binds everywhere within a second; clocks here show whole ones. A token that was asked for so soon after a cut-off
/// may come from a replica that does not know of it yet.
const SETTLES: i64 = 2;
/// How long a cut-off is remembered for tokens on their way, in seconds.
const REMEMBERED: i64 = 60;
/// How many are remembered one by one. Beyond that whatever was on its way is not kept.
const MOST: usize = 4_096;

/// What was cut off just now, by whose tokens (`None`: everybody's): for what is on its way.
#[derive(Default)]
pub(super) struct Recent(HashMap<Option<u64>, Heard>);

#[derive(Default)]
struct Heard {
    each: VecDeque<(Timestamp, Named)>,
    /// When the last one was heard that is not remembered any more.
    forgotten: Option<Timestamp>,
}

impl Recent {
    pub(super) fn add(&mut self, owner: Option<u64>, cut_offs: &[Named], now: Timestamp) {
        let Heard { each, forgotten } = self.0.entry(owner).or_default();
        each.extend(cut_offs.iter().map(|named| (now, named.clone())));
        while let Some((heard, _)) =
            each.front().filter(|(heard, _)| now.since(*heard) > REMEMBERED || each.len() > MOST)
        {
            *forgotten = (*forgotten).max(Some(*heard));
            each.pop_front();
        }
    }

    /// Whether a token that was asked for at a moment may be one that was cut off since.
    pub(super) fn fit(&self, facets: &Facets, owner: u64, asked: Timestamp) -> bool {
        let since = |heard: Timestamp| asked.since(heard) <= SETTLES;
        [None, Some(owner)].iter().filter_map(|owner| self.0.get(owner)).any(|Heard { each, forgotten }| {
            forgotten.is_some_and(since)
                || each.iter().any(|(heard, named)| since(*heard) && facets.fit(std::slice::from_ref(named)))
        })
    }
}

fn named_by(token: &Secret) -> Vec<(Kind, String)> {
    let mut named: Vec<_> = claims(token).iter().flat_map(names).collect();
    named.extend(kid(token).map(|kid| (Kind::Key, kid)));
    named
}

/// The kinds that nothing in a token is of.
fn missing(kinds: &[Kind], named: &[(Kind, String)]) -> u8 {
    let is_missing = |kind: &&Kind| !named.iter().any(|(known, _)| *known as u8 == **kind as u8);
    kinds.iter().filter(is_missing).fold(0, |all, kind| all | *kind as u8)
}

fn names(claims: &Map<String, Value>) -> Vec<(Kind, String)> {
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    let plain = [
        (Kind::Tenant, "tid"),
        (Kind::User, "oid"),
        (Kind::User, "sub"),
        (Kind::Application, "azp"),
        (Kind::Application, "appid"),
        (Kind::Application, "client_id"),
        (Kind::Session, "sid"),
    ];
    let mut named: Vec<_> = plain.into_iter().filter_map(|(kind, name)| Some((kind, text(name)?.to_owned()))).collect();
    // Ours: a view, the session, and the authorizations.
    if let Some(rh) = text("rh").and_then(|rh| rh.strip_prefix("1.")) {
        let mut parts = rh.split('.').skip(1).map(str::to_owned);
        named.extend(parts.next().map(|session| (Kind::Session, session)));
        named.extend(parts.map(|grant| (Kind::Grant, grant)));
    }
    named
}

fn kid(token: &Secret) -> Option<String> {
    let header = URL_SAFE_NO_PAD.decode(token.expose().split('.').next()?).ok()?;
    let header: Map<String, Value> = serde_json::from_slice(&header).ok()?;
    Some(header.get("kid")?.as_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::{Facets, MOST, Named, REMEMBERED, Recent, SETTLES};
    use decision::{CutOff, Timestamp};
    use oauth::Secret;

    #[test]
    fn what_is_remembered_of_a_flood_is_bounded_and_nothing_is_kept_for_want_of_it() {
        let (mut recent, opaque) = (Recent::default(), Facets::of(&Secret::new("t"), None));
        let named = |n: usize| Named::all(&[CutOff { user: Some(format!("user {n}")), ..CutOff::default() }]);
        for n in 0..10 * MOST {
            recent.add(Some(1), &named(n), Timestamp(100));
        }
        assert_eq!(recent.0[&Some(1)].each.len(), MOST);
        // No user's at all, and yet: what was forgotten may have been about anything.
        assert!(recent.fit(&opaque, 1, Timestamp(100 + SETTLES)));
        assert!(!recent.fit(&opaque, 1, Timestamp(101 + SETTLES)), "it began later");
        assert!(!recent.fit(&opaque, 2, Timestamp(100)), "somebody else's");
        recent.add(Some(1), &named(0), Timestamp(101 + REMEMBERED));
        assert_eq!(recent.0[&Some(1)].each.len(), 1);
    }
}
