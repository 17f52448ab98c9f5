//! Which tokens a cut-off ends: read from the tokens, unverified, for it can only end them earlier.
use crate::token::claims;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use oauth::Secret;
use serde_json::{Map, Value};
use std::hash::{DefaultHasher, Hash, Hasher};

/// What an authority has cut off: the tokens to which every member fits. None at all means every token.
///
/// The members are those of the event stream's subjects (`GET /{tenant}/events`).
///
/// ```
/// # let cache = client::TokenCache::new(1 << 20);
/// cache.cut_off(&client::CutOff { user: Some("ada's object id".into()), ..client::CutOff::default() });
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CutOff {
    /// The tenant's id (`tid`).
    pub tenant: Option<String>,
    /// The user, by object id or subject (`oid`, `sub`).
    pub user: Option<String>,
    /// The client that got them (`azp`, `appid`, `client_id`).
    pub application: Option<String>,
    /// The sign-in that they stem from (`sid`).
    pub session: Option<String>,
    /// The authorization that they stem from.
    pub grant: Option<String>,
    /// The key that signed them.
    pub key: Option<String>,
}

/// What a token and its subject token can be named by.
#[derive(Clone, Debug, Default)]
pub(super) struct Facets {
    hashes: Box<[u64]>,
    /// The kinds of which nothing is known: those may fit.
    unknown: u8,
}

#[derive(Clone, Copy)]
#[repr(u8)]
enum Kind {
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
        let mut named: Vec<(Kind, String)> = Vec::new();
        for token in [Some(access), subject].into_iter().flatten() {
            named.extend(claims(token).iter().flat_map(names));
            named.extend(kid(token).map(|kid| (Kind::Key, kid)));
        }
        let is_known = |kind: Kind| named.iter().any(|(known, _)| *known as u8 == kind as u8);
        let of_nobody = |kind: Kind| subject.is_none() && matches!(kind, Kind::User | Kind::Session | Kind::Grant);
        let unknown = KINDS.into_iter().filter(|kind| !is_known(*kind) && !of_nobody(*kind));
        Self {
            unknown: unknown.fold(0, |all, kind| all | kind as u8),
            hashes: named.iter().map(|(kind, name)| hash(*kind, name)).collect(),
        }
    }

    pub(super) fn weight(&self) -> usize {
        self.hashes.len() * 8
    }

    /// Whether the cut-off may be about this token.
    pub(super) fn fit(&self, cut_off: &CutOff) -> bool {
        let CutOff { tenant, user, application, session, grant, key } = cut_off;
        let fits = |(kind, name): (Kind, &Option<String>)| {
            name.as_ref().is_none_or(|name| self.unknown & kind as u8 != 0 || self.hashes.contains(&hash(kind, name)))
        };
        KINDS.into_iter().zip([tenant, user, application, session, grant, key]).all(fits)
    }
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
