//! A token's claims as the decision reads them: each is absent, malformed, or of its type.
mod read;

use super::Profile;
use crate::Timestamp;
use serde::Deserialize;

/// A claim as it was found. A wrong type is never taken for absence (CVE-2026-25537).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Claim<T> {
    /// Not there.
    #[default]
    Absent,
    /// There, and not of its type.
    Malformed,
    /// There.
    Is(T),
}

impl<T> Claim<T> {
    /// The value, if it is one.
    pub fn value(&self) -> Option<&T> {
        if let Self::Is(value) = self { Some(value) } else { None }
    }

    pub(super) fn state(&self) -> State {
        match self {
            Self::Absent => State::Absent,
            Self::Malformed => State::Malformed,
            Self::Is(_) => State::Sound,
        }
    }
}

impl Claim<Scopes> {
    /// The state, where they may be a list or none at all, as other providers than Entra have it.
    pub(super) fn of_scopes(&self, lax: bool) -> State {
        match self {
            Self::Is(scopes) if scopes.lax && !lax => State::Malformed,
            _ => self.state(),
        }
    }
}

impl Claim<Roles> {
    /// The state, where one role may stand alone and what is of another form says nothing, as other providers than Entra have it.
    pub(super) fn of_roles(&self, lax: bool) -> State {
        match self {
            Self::Malformed if lax => State::Absent,
            Self::Is(roles) if roles.lax && !lax => State::Malformed,
            _ => self.state(),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Absent,
    Malformed,
    Sound,
}

/// The claims that a decision looks at. Others are skipped while reading.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Claims {
    pub(super) iss: Claim<Box<str>>,
    pub(super) sub: Claim<Box<str>>,
    pub(super) aud: Claim<Audiences>,
    pub(super) exp: Claim<Timestamp>,
    pub(super) iat: Claim<Timestamp>,
    pub(super) nbf: Claim<Timestamp>,
    pub(super) tid: Claim<Box<str>>,
    pub(super) oid: Claim<Box<str>>,
    pub(super) azp: Claim<Box<str>>,
    pub(super) appid: Claim<Box<str>>,
    pub(super) client_id: Claim<Box<str>>,
    pub(super) cid: Claim<Box<str>>,
    pub(super) scp: Claim<Scopes>,
    pub(super) scope: Claim<Scopes>,
    pub(super) roles: Claim<Roles>,
    acr: Claim<Box<str>>,
    pub(super) acrs: Claim<Vec<Box<str>>>,
    pub(super) idtyp: Claim<Box<str>>,
    pub(super) ver: Claim<Box<str>>,
    pub(super) jti: Claim<Box<str>>,
    pub(super) uti: Claim<Box<str>>,
    pub(super) act: Claim<Actors>,
    rh: Claim<Box<str>>,
    xms_cc: Claim<Vec<Box<str>>>,
    pub(super) cnf: Confirmation,
    pub(super) nonce: Mark,
    pub(super) events: Mark,
    pub(super) token_introspection: Mark,
    pub(super) at_hash: Mark,
    pub(super) c_hash: Mark,
    name: Claim<Box<str>>,
    preferred_username: Claim<Box<str>>,
}

/// On whose authority a token speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubjectKind {
    /// A user's, through an application.
    User,
    /// An application's own.
    App,
}

impl Claims {
    /// `iss`.
    pub fn issuer(&self) -> Option<&str> {
        text(&self.iss)
    }

    /// `sub`.
    pub fn subject(&self) -> Option<&str> {
        text(&self.sub)
    }

    /// `aud`, as one or several.
    pub fn audiences(&self) -> impl Iterator<Item = &str> {
        self.aud.value().into_iter().flat_map(|all| all.0.iter()).map(AsRef::as_ref)
    }

    /// `exp`, in whole seconds.
    pub fn expires(&self) -> Option<Timestamp> {
        self.exp.value().copied()
    }

    /// `iat`, in whole seconds.
    pub fn issued_at(&self) -> Option<Timestamp> {
        self.iat.value().copied()
    }

    /// `nbf`, in whole seconds.
    pub fn not_before(&self) -> Option<Timestamp> {
        self.nbf.value().copied()
    }

    /// `tid`.
    pub fn tenant(&self) -> Option<&str> {
        text(&self.tid)
    }

    /// `oid`.
    pub fn object_id(&self) -> Option<&str> {
        text(&self.oid)
    }

    /// The application that calls: `azp` (v2), `appid` (v1), `client_id` (RFC 9068) or `cid` (Okta).
    pub fn client(&self) -> Option<&str> {
        let named = [&self.azp, &self.appid, &self.client_id, &self.cid];
        named.into_iter().find_map(text)
    }

    /// The delegated scopes, of `scp` or else `scope`.
    pub fn scopes(&self) -> impl Iterator<Item = &str> {
        let list = self.scp.value().or_else(|| self.scope.value()).map_or("", |scopes| &scopes.text);
        list.split(' ').filter(|s| !s.is_empty())
    }

    /// `roles`: the user's app roles, or the application's.
    pub fn roles(&self) -> impl Iterator<Item = &str> {
        self.roles.value().into_iter().flat_map(|roles| roles.all.iter()).map(AsRef::as_ref)
    }

    /// `acrs`: the authentication contexts that the user satisfied.
    pub fn acrs(&self) -> impl Iterator<Item = &str> {
        self.acrs.value().into_iter().flatten().map(AsRef::as_ref)
    }

    /// The authentication contexts that count: Entra's are in `acrs` alone, and others' in `acr` too (RFC 9068 section 2.2.1), which
    /// says something else in Entra's.
    pub(super) fn contexts(&self, profile: Profile) -> impl Iterator<Item = &str> {
        self.acrs().chain(text(&self.acr).filter(|_| profile != Profile::Entra))
    }

    /// The token's id: `jti`, or Entra's `uti`.
    pub fn token_id(&self) -> Option<&str> {
        text(&self.jti).or_else(|| text(&self.uti))
    }

    /// `ver`.
    pub fn version(&self) -> Option<&str> {
        text(&self.ver)
    }

    /// `name`, for display and never for a decision.
    pub fn display_name(&self) -> Option<&str> {
        text(&self.name).or_else(|| text(&self.preferred_username))
    }

    /// The `sub` of each actor of the `act` chain, the present one first (RFC 8693 section 4.1).
    pub fn actors(&self) -> impl Iterator<Item = &str> {
        self.act.value().into_iter().flat_map(|chain| chain.0.iter()).map(AsRef::as_ref)
    }

    /// On whose authority the token speaks: `idtyp` where it is present; else, as foreign issuers need, one whose `sub` is its own
    /// client is an application's (RFC 9068 section 5; Auth0 adds `@clients`), and a token with scopes is a user's (Entra).
    pub fn subject_kind(&self) -> Option<SubjectKind> {
        match (text(&self.idtyp), self.idtyp.state()) {
            (Some("user"), _) => Some(SubjectKind::User),
            (Some("app"), _) => Some(SubjectKind::App),
            (None, State::Absent) => match (self.client_id.value(), self.sub.value()) {
                (Some(client), Some(sub)) if self.ver.value().is_none() => {
                    Some(if client == sub { SubjectKind::App } else { SubjectKind::User })
                }
                _ if self.ver.value().is_none() && self.is_of_its_client() => Some(SubjectKind::App),
                _ if self.scopes().next().is_some() => Some(SubjectKind::User),
                _ if self.roles().next().is_some() => Some(SubjectKind::App),
                _ => None,
            },
            _ => None,
        }
    }

    fn is_of_its_client(&self) -> bool {
        let subject = self.subject().map(|sub| sub.strip_suffix("@clients").unwrap_or(sub));
        subject.is_some() && subject == self.client()
    }

    /// `rh`: where a token stands in its authority's log, and its session's and authorizations' names there.
    pub fn rh(&self) -> Option<&str> {
        text(&self.rh)
    }

    /// Whether the client says that it can meet a claims challenge (`xms_cc` has `cp1`).
    pub fn handles_challenges(&self) -> bool {
        self.xms_cc.value().into_iter().flatten().any(|one| one.eq_ignore_ascii_case("cp1"))
    }

    /// About how many bytes this takes on the heap.
    pub fn weight(&self) -> usize {
        let texts = [
            &self.iss,
            &self.sub,
            &self.tid,
            &self.oid,
            &self.azp,
            &self.appid,
            &self.client_id,
            &self.cid,
            &self.idtyp,
            &self.ver,
            &self.jti,
            &self.uti,
            &self.acr,
            &self.rh,
            &self.name,
            &self.preferred_username,
        ];
        let bound = match &self.cnf {
            Confirmation::Certificate(thumbprint) | Confirmation::Key(thumbprint) => thumbprint.len() + 16,
            Confirmation::Nothing | Confirmation::Unknown => 0,
        };
        let lists = self.audiences().chain(self.scopes()).chain(self.roles()).chain(self.acrs()).chain(self.actors());
        let listed: usize = lists.map(|s| s.len() + size_of::<Box<str>>() + 16).sum();
        size_of::<Self>() + bound + listed + texts.iter().filter_map(|c| c.value()).map(|s| s.len() + 16).sum::<usize>()
    }
}

fn text(claim: &Claim<Box<str>>) -> Option<&str> {
    claim.value().map(AsRef::as_ref)
}

/// `aud`: one string or a non-empty list of strings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Audiences(pub(super) Vec<Box<str>>);

/// `scp`, `scope`: values of RFC 6749 section 3.3, with spaces between.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Scopes {
    text: Box<str>,
    /// Whether it was a list, or empty.
    lax: bool,
}

/// `roles`: a list of texts, or one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Roles {
    all: Vec<Box<str>>,
    /// Whether it was a text alone.
    lax: bool,
}

/// The `sub`s of an `act` chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Actors(Vec<Box<str>>);

/// Whether a claim is there in any form, `null` included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mark(pub(super) bool);

/// `cnf`: what the token is bound to (RFC 7800).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Confirmation {
    /// Nothing: whoever has the token may use it.
    #[default]
    Nothing,
    /// The certificate with this SHA-256 thumbprint, in base64url, and nothing besides (RFC 8705 section 3.1).
    Certificate(Box<str>),
    /// The key with this SHA-256 thumbprint, in base64url, and nothing besides (RFC 9449 section 6.1).
    Key(Box<str>),
    /// Something that is not known here, `null` included: nobody can prove to have it.
    Unknown,
}
