//! Reads `scope` against the directory: which resource is asked, and for what.
use crate::directory::{Registration, TenantDirectory, UserRecord};
use crate::facts::{Asked, Published, ResourceFacts, Target, TokenShape};
use crate::model::{AccessType, ConsentType, MemberType, Profile};
use oauth::{OIDC_SCOPES, Scopes};

/// How many resources an error names.
const SHOWN: usize = 8;

/// What to do with scopes of several resources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Several {
    /// It is an error.
    Refuse,
    /// The token is for the first scope's resource (Entra's rule for refresh, and for what was asked at sign-in).
    First,
}

/// Whose standing at the resource is looked up.
#[derive(Clone, Copy, Debug)]
pub struct Parties<'a> {
    /// The tenant.
    pub tenant: &'a TenantDirectory,
    /// The client.
    pub client: &'a Registration,
    /// The user, if there is one.
    pub user: Option<&'a UserRecord>,
}

/// One scope, split into the resource's name and the word.
struct Item<'a> {
    whole: &'a str,
    resource: &'a str,
    value: &'a str,
}

/// Splits `scope` into OpenID Connect scopes and what is asked of which resource. `resources` are the values of RFC 8707's
/// `resource`: they name the resource of scopes that do not.
pub fn resolve(scope: Option<&str>, resources: &[&str], parties: Parties<'_>, several: Several) -> (Scopes, Target) {
    let Some(scope) = scope else {
        return (Scopes::default(), if resources.is_empty() { Target::Missing } else { Target::ResourceParameter });
    };
    let mut oidc = Scopes::default();
    if Scopes::parse(scope).is_none() {
        let reason = "it holds a character that RFC 6749 does not allow".to_owned();
        return (oidc, Target::Invalid { scope: excerpt(scope), reason });
    }
    let default = resources.first().copied().or(parties.tenant.tenant.settings.default_resource.as_deref());
    let mut items = Vec::new();
    for whole in scope.split(' ').filter(|word| !word.is_empty()) {
        if OIDC_SCOPES.contains(&whole) {
            oidc.insert(whole);
            continue;
        }
        match split(whole, default) {
            Ok(item) => items.push(item),
            Err(reason) => return (oidc, Target::Invalid { scope: excerpt(whole), reason: reason.to_owned() }),
        }
    }
    let Some(first) = items.first().map(|item| item.resource) else {
        return match (resources.is_empty(), oidc.is_empty()) {
            (false, _) => (oidc, Target::ResourceParameter),
            (true, false) => (oidc, Target::Authority),
            (true, true) => (oidc, Target::Missing),
        };
    };
    let Some(resource) = parties.tenant.resource(first) else {
        return (oidc, Target::Unknown { name: excerpt(first) });
    };
    let app_id = resource.application.app_id;
    let same = |name: &str| parties.tenant.resource(name).is_some_and(|r| r.application.app_id == app_id);
    let mut names: Vec<String> = Vec::new();
    for name in items.iter().map(|item| item.resource).chain(resources.iter().copied()) {
        if names.len() < SHOWN && !same(name) && !names.iter().any(|known| known == name) {
            names.push(excerpt(name));
        }
    }
    if !names.is_empty() && several == Several::Refuse {
        names.insert(0, excerpt(first));
        return (oidc, Target::Several { names });
    }
    items.retain(|item| same(item.resource));
    let asked = asked(&items, resource);
    (oidc, Target::Resource(Box::new(standing(resource, first, asked, parties))))
}

fn split<'a>(whole: &'a str, default: Option<&'a str>) -> Result<Item<'a>, &'static str> {
    match whole.rsplit_once('/') {
        // `api://x` alone: the slash belongs to the scheme.
        Some((resource, _)) if resource.ends_with(":/") || resource.is_empty() => {
            Err("it names a resource but no permission")
        }
        Some((_, "")) => Err("it names a resource but no permission"),
        Some((resource, value)) => Ok(Item { whole, resource, value }),
        None => default
            .map(|resource| Item { whole, resource, value: whole })
            .ok_or("it names no resource, and the tenant has no default resource"),
    }
}

fn asked(items: &[Item<'_>], resource: &Registration) -> Asked {
    let defaults = items.iter().filter(|item| item.value == ".default").count();
    if defaults == items.len() {
        Asked::Default
    } else if defaults > 0 {
        Asked::Mixed
    } else {
        let published = |item: &Item<'_>| resource.permission(item.value).map(|permission| permission.value.clone());
        Asked::Named(items.iter().map(|item| (item.whole.to_owned(), published(item))).collect())
    }
}

/// What the directory says of the client and the user at a resource.
pub fn standing(resource: &Registration, name: &str, asked: Asked, parties: Parties<'_>) -> ResourceFacts {
    let Parties { tenant, client, user } = parties;
    let application = &resource.application;
    let (client_principal, principal) = (client.principal.id, resource.principal.id);
    let words = |ids: &mut dyn Iterator<Item = uuid::Uuid>| -> Scopes {
        let ids: Vec<_> = ids.collect();
        let published = application.api.oauth2_permission_scopes.iter().filter(|p| ids.contains(&p.id.0));
        published.map(|permission| permission.value.as_str()).collect()
    };
    let pre_authorized = application
        .api
        .pre_authorized_applications
        .iter()
        .filter(|pre| pre.app_id == client.application.app_id)
        .flat_map(|pre| pre.delegated_permission_ids.iter().map(|id| id.0));
    let declared = client.application.required_resource_access.iter().find(|r| r.resource_app_id == application.app_id);
    ResourceFacts {
        app_id: application.app_id,
        principal,
        name: name.to_owned(),
        display_name: application.display_name.clone(),
        enabled: resource.principal.account_enabled,
        shape: shape(resource),
        assignment_required: resource.principal.app_role_assignment_required,
        self_by_uri: application.app_id == client.application.app_id && name.parse::<crate::id::AppId>().is_err(),
        asked,
        published: application.api.oauth2_permission_scopes.iter().filter(|p| p.is_enabled).map(published).collect(),
        tenant_grant: tenant.grant(client_principal, principal).cloned().unwrap_or_default(),
        user_grant: user.and_then(|user| user.grants.get(&(client_principal, principal)).cloned()).unwrap_or_default(),
        pre_authorized: words(&mut pre_authorized.into_iter()),
        declared: declared.map(|declared| {
            let scopes = declared.resource_access.iter().filter(|access| access.kind == AccessType::Scope);
            words(&mut scopes.map(|access| access.id.0))
        }),
        user_roles: user
            .and_then(|u| u.roles.get(&principal))
            .map(|roles| resource.role_values(roles, MemberType::User)),
        client_roles: tenant
            .assignment(client_principal, principal)
            .map(|roles| resource.role_values(roles, MemberType::Application)),
        own_identity: client.application.own_identity(application.app_id).map(str::to_owned),
        heard: None,
    }
}

pub(crate) fn published(permission: &crate::model::PermissionScope) -> Published {
    Published {
        value: permission.value.clone(),
        admin_only: permission.kind == ConsentType::Admin,
        display_name: first([
            &permission.user_consent_display_name,
            &permission.admin_consent_display_name,
            &permission.value,
        ]),
        description: first([&permission.user_consent_description, &permission.admin_consent_description, ""]),
    }
}

/// The same in the words that are meant for administrators.
pub(crate) fn published_to_admins(permission: &crate::model::PermissionScope) -> Published {
    Published {
        display_name: first([
            &permission.admin_consent_display_name,
            &permission.user_consent_display_name,
            &permission.value,
        ]),
        description: first([&permission.admin_consent_description, &permission.user_consent_description, ""]),
        ..published(permission)
    }
}

fn first(texts: [&str; 3]) -> String {
    texts.into_iter().find(|text| !text.is_empty()).unwrap_or_default().to_owned()
}

fn shape(resource: &Registration) -> TokenShape {
    let application = &resource.application;
    let profile = application.deputize.resource_profile;
    let default = if profile == Profile::Native { "ES256" } else { "RS256" };
    TokenShape {
        v1: profile == Profile::Entra && application.api.requested_access_token_version != Some(2),
        profile,
        algorithm: application.deputize.signing_algorithm.clone().unwrap_or_else(|| default.to_owned()),
        act: application.deputize.act_claim || profile == Profile::Native,
        claims: application.optional_claims.access_token.iter().collect(),
        memberships: application.group_membership_claims,
        seconds: application.token_lifetime_policy.map(|policy| policy.access_token_lifetime.seconds),
    }
}

/// What an error may show of a scope.
pub(crate) fn excerpt(text: &str) -> String {
    text.chars().take(120).map(|c| if c.is_ascii_graphic() && c != '`' { c } else { '?' }).collect()
}
