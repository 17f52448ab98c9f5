//! Routes: what may be called with what.
use super::ContractError;
use serde::{Deserialize, Serialize};

/// One route of an API and what it demands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, remote = "Self")]
pub struct Route {
    /// The method in capitals, or `*`. A `GET` route answers `HEAD` too.
    pub method: String,
    /// `/exact`, `/with/{parameter}` or `/prefix/*`.
    pub path: String,
    /// Delegated scopes of which **any one** suffices, as in Entra.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<String>,
    /// Delegated scopes that are needed **all together**.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scopes_all: Vec<String>,
    /// App roles of the user of which any one suffices, beside the scope.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
    /// App roles of an application that calls as itself, of which any one suffices.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub app_roles: Vec<String>,
    /// Authentication contexts of which the user must have satisfied **any one** (RFC 9470 section 3).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub acrs: Vec<String>,
    /// Who may call: by default, users where there are scopes or roles, applications where there are app roles.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Subject>,
    /// Says that the route is not served while cut-offs cannot arrive: without it, a token that was cut off meanwhile is
    /// accepted until it ends.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub live_cut_offs: bool,
    /// Says that the token is bound to the certificate that the connection was opened with (RFC 8705).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub certificate_bound: bool,
    /// Says that the token is bound to a key, and comes with a proof of it (DPoP, RFC 9449).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub key_bound: bool,
    /// Says that any valid token for this API will do.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub authenticated_suffices: bool,
}

/// On whose authority a route may be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Subject {
    /// An application on behalf of a user.
    User,
    /// An application as itself.
    App,
    /// Both.
    Either,
}

impl Route {
    /// Who may call.
    pub fn subject(&self) -> Subject {
        let users = !self.scopes.is_empty() || !self.scopes_all.is_empty() || !self.roles.is_empty();
        self.subject.unwrap_or(match (users, self.app_roles.is_empty()) {
            (true, true) => Subject::User,
            (false, false) => Subject::App,
            _ => Subject::Either,
        })
    }

    /// Whether this route is meant by the request.
    pub fn matches(&self, method: &str, path: &str) -> bool {
        let same = self.method == method || self.method == "*" || (self.method == "GET" && method == "HEAD");
        if !same {
            return false;
        }
        let (mut pattern, mut given) = (self.path.split('/').skip(1), path.split('/').skip(1));
        loop {
            match (pattern.next(), given.next()) {
                (None, None) | (Some("*"), Some(_)) => return true,
                (Some(want), Some(have)) if is_parameter(want) && !have.is_empty() => {}
                (Some(want), Some(have)) if want == have => {}
                _ => return false,
            }
        }
    }

    /// Whether this pattern is the more exact one, of two that match the same path.
    pub(super) fn more_exact_than(&self, other: &Self) -> bool {
        let rank = |segment: &str| if segment == "*" { 2 } else { u8::from(is_parameter(segment)) };
        let paths = self.path.split('/').map(rank).cmp(other.path.split('/').map(rank));
        let wild = |route: &Self| route.method == "*";
        paths.then_with(|| wild(self).cmp(&wild(other))).is_lt()
    }

    pub(super) fn validate(&self) -> Result<(), ContractError> {
        let name = || format!("{} {}", self.method, self.path);
        if self.method.is_empty() || !(self.method == "*" || self.method.bytes().all(|b| b.is_ascii_uppercase())) {
            return Err(ContractError::Method(self.method.clone()));
        }
        let segments = self.path.split('/').skip(1);
        let last = segments.clone().count();
        let sound = |(at, segment): (usize, &str)| match segment {
            "*" => at + 1 == last,
            _ => is_parameter(segment) || !segment.contains(['{', '}', '*', '?', '#']),
        };
        if !is_canonical(&self.path) || !segments.enumerate().all(sound) {
            return Err(ContractError::Path(self.path.clone()));
        }
        let users = [&self.scopes, &self.scopes_all, &self.roles].iter().any(|list| !list.is_empty());
        if !users && self.app_roles.is_empty() && !self.authenticated_suffices {
            return Err(ContractError::Nothing(name()));
        }
        let impossible = match self.subject() {
            Subject::User => !self.app_roles.is_empty(),
            Subject::App => {
                !self.roles.is_empty() || !self.acrs.is_empty() || (!self.scopes_empty() && !self.app_roles.is_empty())
            }
            // One of the two could call without any demand on it.
            Subject::Either => {
                !self.authenticated_suffices && !(users && (!self.app_roles.is_empty() || !self.scopes_empty()))
            }
        };
        if impossible { Err(ContractError::Subject(name())) } else { Ok(()) }
    }

    fn scopes_empty(&self) -> bool {
        self.scopes.is_empty() && self.scopes_all.is_empty()
    }
}

fn is_parameter(segment: &str) -> bool {
    segment.len() > 2
        && segment.starts_with('{')
        && segment.ends_with('}')
        && !segment.trim_matches(['{', '}']).contains(['{', '}'])
}

/// Whether a path means the same to every reader. Dot segments, doubled or encoded slashes and backslashes are how a
/// request passes one route's check and reaches another's handler.
pub(super) fn is_canonical(path: &str) -> bool {
    let Some(rest) = path.strip_prefix('/') else { return false };
    let dots = |segment: &str| matches!(dots(segment.split(';').next().unwrap_or_default()), 1 | 2);
    let last = rest.split('/').count();
    let encoded = |b: &[u8]| matches!(b, b"%2f" | b"%2F" | b"%5c" | b"%5C" | b"%00");
    !path.bytes().any(|b| b == b'\\' || b.is_ascii_control())
        && !path.as_bytes().windows(3).any(encoded)
        && rest.split('/').enumerate().all(|(at, s)| !dots(s) && (!s.is_empty() || at + 1 == last))
}

/// How many dots a segment made only of dots has, plain or encoded; 0 for any other segment.
fn dots(segment: &str) -> usize {
    let (mut rest, mut dots) = (segment, 0);
    while !rest.is_empty() {
        let Some(next) = [".", "%2e", "%2E"].iter().find_map(|dot| rest.strip_prefix(dot)) else { return 0 };
        (rest, dots) = (next, dots + 1);
    }
    dots
}
