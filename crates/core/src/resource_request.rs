//! Reads `resource` of the v1.0 token endpoint against the directory: one resource, and everything that is granted there.
use crate::endpoint;
use crate::facts::{Asked, Target};
use crate::id::AppId;
use crate::model::Profile;
use crate::scope_request::{self, Parties, Several, excerpt};
use oauth::{Form, GrantType, Scopes};

/// How many resources an error names.
const SHOWN: usize = 8;

/// The OpenID Connect scopes and the target of a request. `recorded` is what the presented code or refresh token stands
/// for: it names the resource where the request does not.
pub(crate) fn resolve(form: &Form, grant: GrantType, recorded: Option<&str>, parties: Parties<'_>) -> (Scopes, Target) {
    let mut oidc = match endpoint::oidc(form.value("scope").unwrap_or_default()) {
        Ok(oidc) => oidc,
        Err(word) => {
            let reason = format!("this endpoint takes {}", endpoint::ONLY_RESOURCE);
            return (Scopes::default(), Target::Invalid { scope: excerpt(word), reason });
        }
    };
    // v1.0 answers a sign-in with an ID token, and whoever acts for a user with a refresh token, unasked.
    let unasked: &[&str] = match (parties.client.application.deputize.client_profile, grant) {
        (Profile::Native, _) | (_, GrantType::ClientCredentials) => &[],
        (_, GrantType::AuthorizationCode | GrantType::RefreshToken) => &["openid", "offline_access"],
        _ => &["offline_access"],
    };
    for word in unasked {
        oidc.insert(*word);
    }
    let resources: Vec<&str> = form.values("resource").collect();
    match (resources.as_slice(), recorded) {
        ([], None) => (oidc, Target::Missing),
        ([], Some(recorded)) => {
            let (known, target) = scope_request::resolve(Some(recorded), &[], parties, Several::First);
            (oidc.union(&known), target)
        }
        ([name], _) => (oidc, named(name, parties)),
        (several, _) => {
            (oidc, Target::Several { names: several.iter().take(SHOWN).map(|name| excerpt(name)).collect() })
        }
    }
}

fn named(name: &str, parties: Parties<'_>) -> Target {
    let Some(resource) = parties.tenant.resource(name) else { return Target::Unknown { name: excerpt(name) } };
    // `aud` repeats a URI as it was asked for; an id has one spelling.
    let id = name.parse::<AppId>().map(|id| id.to_string());
    let name = id.as_deref().unwrap_or(name);
    Target::Resource(Box::new(scope_request::standing(resource, name, Asked::Default, parties)))
}
