//! The one table of the directory API: which addresses there are, and who may call them. The router and the tests of every
//! address with every caller read it (M-01); an operation without a rule does not compile.
use crate::built_in::{
    APPLICATION_OWNED, APPLICATION_READ, APPLICATION_WRITE, GRANTS_WRITE, METHODS_READ, METHODS_WRITE, USER_READ,
    USER_WRITE,
};
use serde::{Deserialize, Serialize};
use std::fmt;

/// An HTTP method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names of the methods")]
pub enum Verb {
    Delete,
    Get,
    Patch,
    Post,
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Delete => "DELETE",
            Self::Get => "GET",
            Self::Patch => "PATCH",
            Self::Post => "POST",
        })
    }
}

/// An address.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    /// Its method.
    pub verb: Verb,
    /// Its path, below `/{tenant}/v1.0/`.
    pub path: &'static str,
    /// What it does.
    pub operation: Operation,
}

/// What an address does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the table says what each is")]
pub enum Operation {
    AddOwner,
    AddPassword,
    CreateFederatedCredential,
    DeleteFederatedCredential,
    DeleteGrant,
    DeleteSecondFactor,
    ListApplications,
    ListFederatedCredentials,
    ListGrants,
    ListOwned,
    ListOwners,
    ListPrincipals,
    ListSecondFactors,
    ListUsers,
    ReadApplication,
    ReadFederatedCredential,
    ReadPrincipal,
    ReadUser,
    RemoveOwner,
    RemovePassword,
    RevokeSessions,
    UpdateApplication,
    UpdateFederatedCredential,
    UpdatePrincipal,
    UpdateUser,
}

/// Who may call an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// For a user: one of these delegated permissions.
    pub scopes: &'static [&'static str],
    /// For an application itself: one of these app roles; none means never.
    pub roles: &'static [&'static str],
    /// What the user is besides.
    pub standing: Standing,
}

/// What a user must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// An administrator of the tenant, now.
    Administrator,
    /// An administrator, or an owner of the registration.
    Owner,
    /// Anyone: it is about the caller alone.
    Oneself,
}

/// Every address.
pub const ROUTES: &[Route] = &[
    route(Verb::Get, "applications", Operation::ListApplications),
    route(Verb::Get, "applications/{id}", Operation::ReadApplication),
    route(Verb::Patch, "applications/{id}", Operation::UpdateApplication),
    route(Verb::Post, "applications/{id}/addPassword", Operation::AddPassword),
    route(Verb::Post, "applications/{id}/removePassword", Operation::RemovePassword),
    route(Verb::Get, "applications/{id}/owners", Operation::ListOwners),
    route(Verb::Post, "applications/{id}/owners/$ref", Operation::AddOwner),
    route(Verb::Delete, "applications/{id}/owners/{user}/$ref", Operation::RemoveOwner),
    route(Verb::Get, "applications/{id}/federatedIdentityCredentials", Operation::ListFederatedCredentials),
    route(Verb::Post, "applications/{id}/federatedIdentityCredentials", Operation::CreateFederatedCredential),
    route(Verb::Get, "applications/{id}/federatedIdentityCredentials/{credential}", Operation::ReadFederatedCredential),
    route(
        Verb::Patch,
        "applications/{id}/federatedIdentityCredentials/{credential}",
        Operation::UpdateFederatedCredential,
    ),
    route(
        Verb::Delete,
        "applications/{id}/federatedIdentityCredentials/{credential}",
        Operation::DeleteFederatedCredential,
    ),
    route(Verb::Get, "me/ownedObjects", Operation::ListOwned),
    route(Verb::Get, "servicePrincipals", Operation::ListPrincipals),
    route(Verb::Get, "servicePrincipals/{id}", Operation::ReadPrincipal),
    route(Verb::Patch, "servicePrincipals/{id}", Operation::UpdatePrincipal),
    route(Verb::Get, "users", Operation::ListUsers),
    route(Verb::Get, "users/{id}", Operation::ReadUser),
    route(Verb::Patch, "users/{id}", Operation::UpdateUser),
    route(Verb::Post, "users/{id}/revokeSignInSessions", Operation::RevokeSessions),
    route(Verb::Get, "users/{id}/authentication/softwareOathMethods", Operation::ListSecondFactors),
    route(Verb::Delete, "users/{id}/authentication/softwareOathMethods/{method}", Operation::DeleteSecondFactor),
    route(Verb::Get, "oauth2PermissionGrants", Operation::ListGrants),
    route(Verb::Delete, "oauth2PermissionGrants/{id}", Operation::DeleteGrant),
];

const fn route(verb: Verb, path: &'static str, operation: Operation) -> Route {
    Route { verb, path, operation }
}

impl Operation {
    /// Who may.
    pub const fn rule(self) -> Rule {
        let reading: &[&str] = &[APPLICATION_READ, APPLICATION_WRITE];
        match self {
            Self::ListApplications | Self::ListPrincipals | Self::ReadPrincipal => {
                rule(reading, reading, Standing::Administrator)
            }
            Self::ReadApplication
            | Self::ListOwners
            | Self::ListFederatedCredentials
            | Self::ReadFederatedCredential => {
                rule(reading, &[APPLICATION_READ, APPLICATION_WRITE, APPLICATION_OWNED], Standing::Owner)
            }
            Self::UpdateApplication | Self::AddPassword | Self::RemovePassword => {
                rule(&[APPLICATION_WRITE], &[APPLICATION_WRITE, APPLICATION_OWNED], Standing::Owner)
            }
            Self::AddOwner
            | Self::RemoveOwner
            | Self::CreateFederatedCredential
            | Self::UpdateFederatedCredential
            | Self::DeleteFederatedCredential => rule(&[APPLICATION_WRITE], &[APPLICATION_WRITE], Standing::Owner),
            Self::UpdatePrincipal => rule(&[APPLICATION_WRITE], &[APPLICATION_WRITE], Standing::Administrator),
            Self::ListOwned => rule(reading, &[], Standing::Oneself),
            Self::ListUsers | Self::ReadUser => rule(&[USER_READ, USER_WRITE], &[], Standing::Administrator),
            Self::UpdateUser | Self::RevokeSessions => rule(&[USER_WRITE], &[], Standing::Administrator),
            Self::ListSecondFactors => rule(&[METHODS_READ, METHODS_WRITE], &[], Standing::Administrator),
            Self::DeleteSecondFactor => rule(&[METHODS_WRITE], &[], Standing::Administrator),
            Self::ListGrants | Self::DeleteGrant => rule(&[GRANTS_WRITE], &[], Standing::Administrator),
        }
    }
}

const fn rule(scopes: &'static [&'static str], roles: &'static [&'static str], standing: Standing) -> Rule {
    Rule { scopes, roles, standing }
}

/// What an address means.
#[derive(Debug)]
pub enum Found {
    /// This, with what stands in its places.
    Route(&'static Route, Vec<String>),
    /// There are only other methods at it.
    Methods(Vec<Verb>),
    /// There is nothing at it.
    Nothing,
}

/// Finds an address by method and path. `applications(appId='…')` is Graph's other way of naming an object.
pub fn find(method: &str, path: &str) -> Found {
    let mut segments = Vec::new();
    for segment in path.split('/') {
        match segment.split_once("(appId='").and_then(|(name, rest)| Some((name, rest.strip_suffix("')")?))) {
            Some((name, id)) => segments.extend([name.to_owned(), format!("{BY_APP_ID}{id}")]),
            None => segments.push(segment.to_owned()),
        }
    }
    let mut verbs = Vec::new();
    for route in ROUTES {
        let Some(places) = places(route.path, &segments) else { continue };
        if route.verb.to_string() == method {
            return Found::Route(route, places);
        }
        verbs.push(route.verb);
    }
    if verbs.is_empty() { Found::Nothing } else { Found::Methods(verbs) }
}

/// What stands before a client id that names an object.
pub(super) const BY_APP_ID: &str = "appId=";

fn places(template: &str, segments: &[String]) -> Option<Vec<String>> {
    let parts: Vec<&str> = template.split('/').collect();
    if parts.len() != segments.len() {
        return None;
    }
    let mut places = Vec::new();
    for (part, segment) in parts.iter().zip(segments) {
        if part.starts_with('{') {
            places.push(segment.clone());
        } else if part != segment {
            return None;
        }
    }
    Some(places)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_found_and_nothing_else_is() {
        let found = |method, path| match find(method, path) {
            Found::Route(route, places) => Some((route.operation, places)),
            Found::Methods(_) | Found::Nothing => None,
        };
        assert_eq!(found("GET", "applications/x"), Some((Operation::ReadApplication, vec!["x".into()])));
        let by_app = found("POST", "applications(appId='x')/addPassword");
        assert_eq!(by_app, Some((Operation::AddPassword, vec!["appId=x".into()])));
        assert!(matches!(find("PUT", "applications/x"), Found::Methods(verbs) if verbs == [Verb::Get, Verb::Patch]));
        for path in
            ["", "applications/", "Applications", "applications/x/", "applications/x/y", "applications(appId='x'"]
        {
            assert!(found("GET", path).is_none_or(|(_, places)| places == [""]), "{path}");
        }
    }

    #[test]
    fn each_operation_has_one_address() {
        let mut seen = std::collections::HashSet::new();
        assert!(ROUTES.iter().all(|route| seen.insert(route.operation)));
    }
}
