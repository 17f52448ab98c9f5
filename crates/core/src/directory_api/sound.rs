//! The rules that a registration keeps, whole: asked of it as it would be after a change, so that nothing is dodged by what
//! a change leaves out (M-02). An estate's file keeps the same rules (`estate::rules`), line by line.
use super::body::unsound;
use crate::built_in;
use crate::denial::Denial;
use crate::directory::Snapshot;
use crate::estate::rules::{self, Platform};
use crate::estate::tokens::{self, Kind};
use crate::estate::workload;
use crate::model::{Application, OptionalClaim};
use decision::CheckId;
use std::collections::HashSet;
use uuid::Uuid;

/// How many entries a list may have. Together with the size of a request it bounds what one registration costs everybody.
const MOST: usize = 256;
/// How many secrets or certificates: enough for any rotation.
const MOST_CREDENTIALS: usize = 32;

type Sound = Result<(), Denial>;

/// Whether a registration keeps the rules, among all that stand beside it.
///
/// # Errors
/// The first rule that it breaks.
pub(super) fn sound(before: &Application, application: &Application, snapshot: &Snapshot) -> Sound {
    rules::shown(&application.display_name).map_err(|rule| unsound("displayName", rule))?;
    lists(application)?;
    uris(application, snapshot)?;
    api(application)?;
    app_roles(application)?;
    // What it names may have ended since; that keeps nobody from changing a secret.
    if before.api != application.api || before.required_resource_access != application.required_resource_access {
        references(application, snapshot)?;
    }
    redirects(application)?;
    claims(application)?;
    credentials(application)?;
    if let Some(algorithm) = &application.deputize.signing_algorithm {
        rules::algorithm(algorithm).map_err(|rule| unsound("deputize.signingAlgorithm", rule))?;
    }
    own_identity(application)?;
    let life = application.token_lifetime_policy.map(|policy| policy.access_token_lifetime.seconds);
    if life.is_some_and(|seconds| !tokens::LIFETIMES.contains(&seconds)) {
        return Err(unsound("tokenLifetimePolicy", "access tokens live ten minutes to a day"));
    }
    Ok(())
}

fn lists(application: &Application) -> Sound {
    let counted = [
        ("identifierUris", application.identifier_uris.len(), MOST),
        ("api.oauth2PermissionScopes", application.api.oauth2_permission_scopes.len(), MOST),
        ("api.knownClientApplications", application.api.known_client_applications.len(), MOST),
        ("api.preAuthorizedApplications", application.api.pre_authorized_applications.len(), MOST),
        ("appRoles", application.app_roles.len(), MOST),
        ("requiredResourceAccess", application.required_resource_access.len(), MOST),
        ("web.redirectUris", application.web.redirect_uris.len(), MOST),
        ("spa.redirectUris", application.spa.redirect_uris.len(), MOST),
        ("publicClient.redirectUris", application.public_client.redirect_uris.len(), MOST),
        ("owners", application.owners.len(), MOST),
        ("passwordCredentials", application.password_credentials.len(), MOST_CREDENTIALS),
        ("keyCredentials", application.key_credentials.len(), MOST_CREDENTIALS),
        ("federatedIdentityCredentials", application.federated_identity_credentials.len(), workload::MOST),
    ];
    match counted.into_iter().find(|(_, count, most)| count > most) {
        Some((property, _, most)) => Err(unsound(property, format!("it has at most {most} entries"))),
        None => Ok(()),
    }
}

/// Names as a resource: well formed, and nobody else's wherever both could stand.
fn uris(application: &Application, snapshot: &Snapshot) -> Sound {
    let mut own = HashSet::new();
    for uri in &application.identifier_uris {
        rules::identifier_uri(uri).map_err(|rule| unsound("identifierUris", rule))?;
        let folded = uri.trim_end_matches('/').to_ascii_lowercase();
        if !own.insert(folded) {
            return Err(unsound("identifierUris", "each name stands once, in any case"));
        }
        let reach = application.sign_in_audience.foreign_tenants();
        let taken = |other: &Application| {
            let together = reach || other.sign_in_audience.foreign_tenants();
            other.app_id != application.app_id && (together || other.home_tenant == application.home_tenant)
        };
        let home = snapshot.tenant(application.home_tenant);
        let standing = home.and_then(|home| home.resource(uri)).map(|known| known.application.app_id);
        if standing.is_some_and(|app| app != application.app_id)
            || snapshot.applications_named(uri).any(|other| taken(other))
        {
            let found = format!("`{uri}`, which another application has");
            let denial = Denial::new(CheckId::DirectoryUnique, "an application ID URI that is free", found);
            return Err(denial.fix("choose another one in `identifierUris`"));
        }
    }
    Ok(())
}

fn api(application: &Application) -> Sound {
    if !matches!(application.api.requested_access_token_version, None | Some(1 | 2)) {
        return Err(unsound("api.requestedAccessTokenVersion", "write `null`, 1 or 2"));
    }
    let property = "api.oauth2PermissionScopes";
    let (mut ids, mut values) = (HashSet::new(), HashSet::new());
    for scope in &application.api.oauth2_permission_scopes {
        rules::permission(&scope.value).map_err(|rule| unsound(property, rule))?;
        if scope.id.0 == Uuid::nil() || !ids.insert(scope.id) || !values.insert(scope.value.to_ascii_lowercase()) {
            return Err(unsound(property, "each permission has an `id` and a `value` of its own"));
        }
        let names = [&scope.admin_consent_display_name, &scope.user_consent_display_name];
        for name in names.into_iter().filter(|name| !name.is_empty()) {
            rules::shown(name).map_err(|rule| unsound(property, rule))?;
        }
        plain(property, [&scope.admin_consent_description, &scope.user_consent_description])?;
    }
    for client in &application.api.pre_authorized_applications {
        if client.delegated_permission_ids.iter().any(|id| !ids.contains(id)) {
            let rule = "each of `delegatedPermissionIds` is the id of a permission of this application";
            return Err(unsound("api.preAuthorizedApplications", rule));
        }
    }
    Ok(())
}

fn app_roles(application: &Application) -> Sound {
    let (mut ids, mut values) = (HashSet::new(), HashSet::new());
    for role in &application.app_roles {
        rules::permission(&role.value).map_err(|rule| unsound("appRoles", rule))?;
        rules::shown(&role.display_name).map_err(|rule| unsound("appRoles", rule))?;
        plain("appRoles", [&role.description])?;
        if role.id.0 == Uuid::nil() || !ids.insert(role.id) || !values.insert(&role.value) {
            return Err(unsound("appRoles", "each app role has an `id` and a `value` of its own"));
        }
        if role.allowed_member_types.is_empty() {
            return Err(unsound("appRoles", "`allowedMemberTypes` names `User`, `Application` or both"));
        }
    }
    Ok(())
}

/// Descriptions are shown to people.
fn plain<'a>(property: &str, texts: impl IntoIterator<Item = &'a String>) -> Sound {
    let long = |text: &&String| text.chars().count() > 1_000 || text.chars().any(char::is_control);
    match texts.into_iter().find(long) {
        Some(_) => {
            Err(unsound(property, "a description has at most 1000 characters, none of them a control character"))
        }
        None => Ok(()),
    }
}

/// What it names of others exists.
fn references(application: &Application, snapshot: &Snapshot) -> Sound {
    let exists = |app: crate::id::AppId| snapshot.application(app).is_some();
    let known = application.api.known_client_applications.iter().copied();
    let authorized = application.api.pre_authorized_applications.iter().map(|client| client.app_id);
    if !known.chain(authorized).all(exists) {
        return Err(unsound("api", "the applications that it names exist"));
    }
    let home = snapshot.tenant(application.home_tenant);
    for needed in &application.required_resource_access {
        let id = needed.resource_app_id;
        let standing = home.and_then(|home| home.app(id));
        if standing.is_none() && !exists(id) && id != built_in::APP {
            return Err(unsound("requiredResourceAccess", "each `resourceAppId` is an application's"));
        }
        if needed.resource_access.len() > MOST {
            return Err(unsound("requiredResourceAccess", format!("it has at most {MOST} entries")));
        }
    }
    Ok(())
}

/// What it calls as itself stands among what it says it needs, where administrators are asked about it.
fn own_identity(application: &Application) -> Sound {
    let mut seen = HashSet::new();
    for own in &application.deputize.own_identity {
        rules::reason(&own.reason).map_err(|rule| unsound("deputize.ownIdentity", rule))?;
        let needed = &application.required_resource_access;
        if !needed.iter().any(|needed| needed.resource_app_id == own.resource_app_id)
            || !seen.insert(own.resource_app_id)
        {
            let rule = "each `resourceAppId` stands once, and in `requiredResourceAccess` too";
            return Err(unsound("deputize.ownIdentity", rule));
        }
    }
    Ok(())
}

fn redirects(application: &Application) -> Sound {
    let platforms = [
        ("web.redirectUris", Platform::Web, &application.web.redirect_uris),
        ("spa.redirectUris", Platform::Spa, &application.spa.redirect_uris),
        ("publicClient.redirectUris", Platform::PublicClient, &application.public_client.redirect_uris),
    ];
    for (property, platform, uris) in platforms {
        for uri in uris {
            rules::redirect_uri(uri, platform).map_err(|rule| unsound(property, rule))?;
        }
    }
    let signed_out = application.web.logout_url.as_deref();
    let signed_out = signed_out.map_or(Ok(()), |url| rules::redirect_uri(url, Platform::Web));
    signed_out.map_err(|rule| unsound("web.logoutUrl", rule))
}

fn claims(application: &Application) -> Sound {
    let claims = &application.optional_claims;
    let of = |claims: &[OptionalClaim], kind: Kind, property: &str| -> Sound {
        let mut seen = Vec::new();
        for claim in claims {
            let name = serde_json::to_value(claim.name).unwrap_or_default();
            let named = tokens::named(name.as_str().unwrap_or_default(), kind);
            named.map_err(|rule| unsound(property, rule))?;
            if seen.contains(&claim.name) {
                return Err(unsound(property, "each claim stands once"));
            }
            seen.push(claim.name);
            for way in &claim.additional_properties {
                tokens::written_as(claim.name, way).map_err(|rule| unsound(property, rule))?;
            }
        }
        Ok(())
    };
    of(&claims.access_token, Kind::Access, "optionalClaims.accessToken")?;
    of(&claims.id_token, Kind::Id, "optionalClaims.idToken")
}

fn credentials(application: &Application) -> Sound {
    let mut ids = HashSet::new();
    for secret in &application.password_credentials {
        if !secret.display_name.is_empty() {
            rules::shown(&secret.display_name).map_err(|rule| unsound("passwordCredentials", rule))?;
        }
        if !ids.insert(secret.key_id) || secret.end_date_time <= secret.start_date_time {
            return Err(unsound("passwordCredentials", "each secret ends after it begins"));
        }
    }
    for certificate in &application.key_credentials {
        if !certificate.display_name.is_empty() {
            rules::shown(&certificate.display_name).map_err(|rule| unsound("keyCredentials", rule))?;
        }
        if !ids.insert(certificate.key_id) || certificate.end_date_time <= certificate.start_date_time {
            return Err(unsound(
                "keyCredentials",
                "each certificate has a `keyId` of its own, and ends after it begins",
            ));
        }
    }
    let (mut names, mut pairs) = (HashSet::new(), HashSet::new());
    for federated in &application.federated_identity_credentials {
        let property = "federatedIdentityCredentials";
        let text = |text: &str| rules::compared(text, workload::LONGEST);
        rules::federated_name(&federated.name).map_err(|rule| unsound(property, rule))?;
        rules::issuer(&federated.issuer).map_err(|rule| unsound(property, rule))?;
        text(&federated.subject).map_err(|rule| unsound(property, rule))?;
        plain(property, [&federated.description])?;
        match federated.audiences.as_slice() {
            [one] => text(one).map_err(|rule| unsound(property, rule))?,
            _ => return Err(unsound(property, "a federated credential has one audience")),
        }
        if !names.insert(&federated.name) || !pairs.insert((&federated.issuer, &federated.subject)) {
            return Err(unsound(property, "each has a `name` of its own, and an `issuer` and `subject` of its own"));
        }
    }
    Ok(())
}
