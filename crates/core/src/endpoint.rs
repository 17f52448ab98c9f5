//! The two versions of the endpoints (spec/entra.md section 2.1). One implementation serves both: which one was asked is a
//! value that travels with the request.
use crate::admission::short;
use crate::cloud;
use crate::denial::Denial;
use decision::CheckId;
use oauth::{Form, OIDC_SCOPES, Scopes};
use serde::{Deserialize, Serialize};
use std::fmt::Display;

/// Under which name an authorization request carries the version from page to page. Nobody else can set it: each
/// authorization endpoint writes it over whatever was sent, and pages come back with a ticket for exactly this request.
const CARRIED: &str = "endpoint_version";
/// An authorization request of v1.0, in the words of v2.0.
const READ: &str = "1.0";
/// One that cannot be said in them: it is refused, for [`refusal`] finds the reason again.
const AS_SENT: &str = "1.0 as sent";

/// Which endpoint was asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum EndpointVersion {
    /// `/oauth2/…`: one `resource`, and everything that is granted there.
    V1,
    /// `/oauth2/v2.0/…`: scopes.
    #[default]
    V2,
}

impl EndpointVersion {
    /// The issuer that this version's metadata names, which is also `iss` of tokens of this version.
    pub fn issuer(self, host: &str, tenant: impl Display) -> String {
        match self {
            Self::V1 => cloud::issuer_v1(host, &tenant.to_string()),
            Self::V2 => cloud::issuer_v2(host, &tenant.to_string()),
        }
    }

    /// `ver` of tokens of this version.
    pub fn claim(self) -> &'static str {
        match self {
            Self::V1 => "1.0",
            Self::V2 => "2.0",
        }
    }

    /// An authorization request as this endpoint takes it: v1.0's `resource=R` means what v2.0's `scope=R/.default` means.
    #[must_use]
    pub fn taken(self, request: Form) -> Form {
        if self == Self::V2 && !request.mentions(CARRIED) {
            return request;
        }
        let without = |names: &[&str]| {
            let kept = request.iter().filter(|(name, _)| !names.contains(name));
            kept.fold(Form::default(), |form, (name, value)| form.with(name, value))
        };
        match (self, requested(&request)) {
            (Self::V2, _) => without(&[CARRIED]),
            (Self::V1, Ok((resource, oidc))) => {
                let default = resource.map(|resource| format!("{resource}/.default "));
                let scope = format!("{}{oidc}", default.unwrap_or_default());
                without(&[CARRIED, "resource", "scope"]).with("scope", &scope).with(CARRIED, READ)
            }
            (Self::V1, Err(_)) => without(&[CARRIED]).with(CARRIED, AS_SENT),
        }
    }

    /// Where an authorization request that was taken is made again, from the start, relative to our host.
    pub fn authorize_path(self, tenant: &str, taken: &Form) -> String {
        let again = |form: Form, (name, value): (&str, &str)| match name {
            CARRIED => form,
            "scope" if self == Self::V1 && taken.value(CARRIED) == Some(READ) => {
                let (default, oidc) = match value.split_once("/.default ") {
                    Some((resource, oidc)) => (Some(resource), oidc),
                    None => (None, value),
                };
                default.into_iter().fold(form, |form, resource| form.with("resource", resource)).with(name, oidc)
            }
            _ => form.with(name, value),
        };
        let request = taken.iter().fold(Form::default(), again).encode();
        match self {
            Self::V1 => format!("/{tenant}/oauth2/authorize?{request}"),
            Self::V2 => format!("/{tenant}/oauth2/v2.0/authorize?{request}"),
        }
    }

    /// The version whose endpoint took an authorization request.
    pub fn of(request: &Form) -> Self {
        if request.mentions(CARRIED) { Self::V1 } else { Self::V2 }
    }
}

/// Why an authorization request cannot be read at the endpoint that took it.
pub(crate) fn refusal(request: &Form) -> Option<Denial> {
    if request.value(CARRIED) == Some(AS_SENT) { requested(request).err() } else { None }
}

/// The resource that v1.0 parameters name, and the OpenID Connect scopes. Without a resource the person only signs in.
fn requested(request: &Form) -> Result<(Option<&str>, Scopes), Denial> {
    let mut oidc = oidc(request.value("scope").unwrap_or_default())
        .map_err(|word| Denial::new(CheckId::ScopeValid, ONLY_RESOURCE, format!("`{}`", short(word))))?;
    oidc.insert("openid");
    let mut resources = request.values("resource");
    let resource = resources.next();
    if resources.next().is_some() {
        return Err(Denial::new(CheckId::ResourceSingle, "one `resource`", "several"));
    }
    // A space would make two scopes of one name.
    if let Some(strange) = resource.filter(|name| name.contains(' ') || Scopes::parse(name).is_none()) {
        let expected = "a resource with a service principal in this tenant";
        return Err(Denial::new(CheckId::ResourceKnown, expected, format!("`{}`", short(strange))));
    }
    Ok((resource, oidc))
}

/// What `scope` may say at a v1.0 endpoint.
pub(crate) const ONLY_RESOURCE: &str =
    "`resource`, and no scopes but OpenID Connect's (single permissions are asked for at the v2.0 endpoint)";

/// The OpenID Connect scopes of a v1.0 request, or the first word that is none. It is not ignored: who asks for one
/// permission must not be given all that were granted.
pub(crate) fn oidc(scope: &str) -> Result<Scopes, &str> {
    let mut words = scope.split(' ').filter(|word| !word.is_empty());
    match words.clone().find(|word| !OIDC_SCOPES.contains(word)) {
        Some(other) => Err(other),
        None => Ok(words.by_ref().collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(pairs: &[(&str, &str)]) -> Form {
        pairs.iter().fold(Form::default(), |form, (name, value)| form.with(name, value))
    }

    #[test]
    fn a_v1_request_says_the_same_in_v2_words() {
        for (sent, scope) in [
            (form(&[("resource", "api://orders")]), "api://orders/.default openid"),
            (
                form(&[("resource", "https://x.example/"), ("scope", "profile")]),
                "https://x.example//.default openid profile",
            ),
            (form(&[]), "openid"),
        ] {
            let taken = EndpointVersion::V1.taken(sent);
            assert_eq!(taken.value("scope"), Some(scope));
            assert!(!taken.mentions("resource") && refusal(&taken).is_none());
            assert_eq!(EndpointVersion::of(&taken), EndpointVersion::V1);
        }
    }

    #[test]
    fn a_request_is_made_again_as_it_was_taken() {
        for (version, sent) in [
            (EndpointVersion::V1, form(&[("resource", "https://x.example/"), ("state", "s"), ("scope", "profile")])),
            (EndpointVersion::V1, form(&[("state", "s")])),
            (EndpointVersion::V1, form(&[("resource", "a"), ("resource", "b")])),
            (EndpointVersion::V2, form(&[("scope", "openid api://x/.default"), ("state", "s")])),
        ] {
            let taken = version.taken(sent);
            let path = version.authorize_path("t", &taken);
            let (endpoint, query) = path.split_once('?').unwrap();
            assert_eq!(endpoint.contains("v2.0"), version == EndpointVersion::V2);
            let again = version.taken(Form::decode(query.as_bytes()).unwrap());
            let sorted = |form: &Form| {
                let mut all: Vec<_> = form.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
                all.sort();
                all
            };
            assert_eq!(sorted(&again), sorted(&taken));
        }
    }

    #[test]
    fn what_cannot_be_said_is_refused_and_never_shortened() {
        for (sent, check) in [
            (form(&[("resource", "a"), ("resource", "b")]), CheckId::ResourceSingle),
            (form(&[("resource", "a b")]), CheckId::ResourceKnown),
            (form(&[("resource", "a\"")]), CheckId::ResourceKnown),
            (form(&[("resource", "a"), ("scope", "openid x")]), CheckId::ScopeValid),
            (form(&[("scope", "api://a/.default")]), CheckId::ScopeValid),
        ] {
            assert_eq!(refusal(&EndpointVersion::V1.taken(sent)).unwrap().id(), check);
        }
    }

    #[test]
    fn nobody_else_says_which_endpoint_took_a_request() {
        let forged = form(&[("scope", "openid"), (CARRIED, READ)]);
        let taken = EndpointVersion::V2.taken(forged.clone());
        assert_eq!((EndpointVersion::of(&taken), taken.value("scope")), (EndpointVersion::V2, Some("openid")));
        let taken = EndpointVersion::V1.taken(forged.with("scope", ""));
        assert_eq!(taken.values(CARRIED).collect::<Vec<_>>(), [READ]);
    }
}
