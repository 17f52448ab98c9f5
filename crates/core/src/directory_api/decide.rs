//! Who may do what to the directory. Everything is decided from [`Facts`] and from the object as it is and as it would be.
use super::caller::{Caller, Subject};
use super::route::{Operation, Standing};
use crate::admission::short;
use crate::built_in::{APPLICATION_READ, APPLICATION_WRITE};
use crate::denial::Denial;
use crate::estate::Item;
use crate::id::{AppId, UserId};
use crate::model::Application;
use decision::CheckId;
use serde::{Deserialize, Serialize};
use url::Url;

/// What an owner who is no administrator may change of a registration. Not theirs: in which tenants it stands
/// (`signInAudience`), who needs no consent (`api.preAuthorizedApplications`), how long tokens live, its dialect (`deputize`).
const OWNERS_MAY: [&str; 18] = [
    "api.knownClientApplications",
    "api.oauth2PermissionScopes",
    "api.requestedAccessTokenVersion",
    "appRoles",
    "displayName",
    "federatedIdentityCredentials",
    "groupMembershipClaims",
    "identifierUris",
    "isFallbackPublicClient",
    "keyCredentials",
    "optionalClaims",
    "owners",
    "passwordCredentials",
    "publicClient.redirectUris",
    "requiredResourceAccess",
    "spa.redirectUris",
    "web.logoutUrl",
    "web.redirectUris",
];
/// What an application may change of itself: what it proves itself with.
const ITSELF_MAY: [&str; 2] = ["keyCredentials", "passwordCredentials"];

/// All that decides whether a call is allowed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// Who calls.
    pub caller: Caller,
    /// What they want.
    pub operation: Operation,
    /// What it is about.
    pub object: Object,
}

/// What a call is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Object {
    /// Many, or the caller.
    Collection,
    /// Nothing that stands in the tenant.
    Missing,
    /// A registration.
    Application {
        /// Which.
        app_id: AppId,
        /// Its owners.
        owners: Vec<UserId>,
        /// Whether it has power over the directory.
        privileged: bool,
    },
    /// Another object, that nobody owns.
    Unowned {
        /// Whether it is an application with power over the directory.
        privileged: bool,
    },
}

/// By what right a call is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Right {
    /// As an administrator.
    Administrator,
    /// As an application that may change all registrations.
    Application,
    /// As the application that it is about.
    Itself,
    /// As an owner of the registration.
    Owner,
    /// As the one whom it is about.
    Oneself,
}

/// Decides a call. What a token lacks is told before anything about objects.
///
/// # Errors
/// The first check that fails.
pub fn decide(facts: &Facts) -> Result<Right, Denial> {
    let Facts { caller, operation, object } = facts;
    permitted(caller, *operation)?;
    let general = match (caller.subject, operation.rule().standing) {
        (Subject::User { .. }, Standing::Oneself) => Some(Right::Oneself),
        (Subject::User { administrator: true, .. }, _) => Some(Right::Administrator),
        (Subject::User { .. }, _) => None,
        (Subject::Application(_), _) => over_all(caller, *operation).then_some(Right::Application),
    };
    let refused = |expected: &str| {
        let found = match caller.subject {
            Subject::User { id, .. } => format!("the user `{id}`"),
            Subject::Application(_) => format!("the application `{}`", caller.client),
        };
        Err(Denial::new(CheckId::DirectoryStanding, expected, found))
    };
    if general.is_none() && operation.rule().standing != Standing::Owner {
        return refused("an administrator of this tenant");
    }
    match object {
        Object::Missing => Err(Denial::new(CheckId::DirectoryObject, "an object of this tenant", "none of this name")),
        Object::Collection => general.map_or_else(|| refused("an administrator of this tenant"), Ok),
        Object::Unowned { privileged } => {
            let right = general.map_or_else(|| refused("an administrator of this tenant"), Ok)?;
            unprivileged(*operation, *privileged, right)
        }
        Object::Application { app_id, owners, privileged } => {
            let own = match caller.subject {
                Subject::User { id, .. } => owners.contains(&id).then_some(Right::Owner),
                Subject::Application(_) => (caller.client == *app_id).then_some(Right::Itself),
            };
            let right = match (general, own) {
                (Some(Right::Administrator), _) => Right::Administrator,
                // Of itself an application changes no more than its credentials, whatever it may do to others.
                (_, Some(own)) => own,
                (Some(right), None) => right,
                (None, None) => return refused("an administrator of this tenant, or an owner of this registration"),
            };
            unprivileged(*operation, *privileged, right)
        }
    }
}

/// Whoever holds the credentials of an application with power over the directory holds that power: they are for
/// administrators to change, and for the application itself to renew.
fn unprivileged(operation: Operation, privileged: bool, right: Right) -> Result<Right, Denial> {
    let reads = operation.rule().scopes.contains(&APPLICATION_READ);
    if privileged && !reads && !matches!(right, Right::Administrator | Right::Itself) {
        let expected = "an administrator, since this application has power over the directory";
        return Err(Denial::new(CheckId::DirectoryPrivileged, expected, "another caller"));
    }
    Ok(right)
}

/// Whether the token has a permission for it.
pub(super) fn permitted(caller: &Caller, operation: Operation) -> Result<(), Denial> {
    let rule = operation.rule();
    let has = |wanted: &[&str]| wanted.iter().any(|one| caller.permissions.iter().any(|known| known == one));
    let named = |wanted: &[&str]| wanted.iter().map(|one| format!("`{one}`")).collect::<Vec<_>>().join(" or ");
    match caller.subject {
        Subject::User { .. } if has(rule.scopes) => Ok(()),
        Subject::User { .. } => {
            Err(Denial::new(CheckId::ScopeSufficient, format!("the scope {}", named(rule.scopes)), "none of them"))
        }
        Subject::Application(_) if rule.roles.is_empty() => {
            Err(Denial::new(CheckId::UserRequired, "a user's token", "an application's own"))
        }
        Subject::Application(_) if has(rule.roles) => Ok(()),
        Subject::Application(_) => {
            Err(Denial::new(CheckId::RoleSufficient, format!("the app role {}", named(rule.roles)), "none of them"))
        }
    }
}

/// Whether an application's roles reach beyond itself for this.
fn over_all(caller: &Caller, operation: Operation) -> bool {
    let roles = operation.rule().roles;
    let all = [APPLICATION_READ, APPLICATION_WRITE].into_iter().filter(|role| roles.contains(role));
    all.into_iter().any(|role| caller.permissions.iter().any(|known| known == role))
}

/// Whether the names that a registration gains as a resource are its owner's to give (as in Entra): its own id, or what belongs to
/// the tenant. Any other is a word that people would trust, and an administrator's to give.
///
/// # Errors
/// If one of them is another.
pub fn may_be_called(
    right: Right,
    before: &Application,
    after: &Application,
    domains: &[String],
) -> Result<(), Denial> {
    if right != Right::Owner {
        return Ok(());
    }
    let [app, tenant] = [before.app_id.to_string(), before.home_tenant.to_string()];
    let within = |host: &str| {
        let below = |domain: &String| host.strip_suffix(domain.as_str()).is_some_and(|rest| rest.ends_with('.'));
        [&app, &tenant].into_iter().chain(domains).any(|known| known == host) || domains.iter().any(below)
    };
    let own = |uri: &str| match Url::parse(uri) {
        Ok(url) if matches!(url.scheme(), "api" | "https") => {
            let last = url.path_segments().and_then(|mut segments| segments.next_back());
            let host = url.host_str().unwrap_or_default().to_ascii_lowercase();
            within(&host) || (url.scheme() == "api" && last.is_some_and(|last| last.eq_ignore_ascii_case(&app)))
        }
        _ => false,
    };
    let gained = after.identifier_uris.iter().filter(|uri| !before.identifier_uris.contains(uri));
    match gained.into_iter().find(|uri| !own(uri)) {
        None => Ok(()),
        Some(uri) => {
            let expected =
                format!("`api://{app}`, or an application ID URI in a domain of the tenant: {}", domains.join(", "));
            let fix = "use one of these in `identifierUris`, or ask an administrator to add the other";
            Err(Denial::new(CheckId::DirectoryProperty, expected, format!("`{}`", short(uri))).fix(fix))
        }
    }
}

/// Whether a registration may become another by this right: decided by what differs, not by what was sent (M-02). Answers
/// with the properties that differ.
///
/// # Errors
/// If a property differs that is not the caller's to change.
pub fn may_change(right: Right, before: &Application, after: &Application) -> Result<Vec<String>, Denial> {
    let (before, after) = (Item::Application(before.clone()), Item::Application(after.clone()));
    let changed = before.differing(&after);
    let may: &[&str] = match right {
        Right::Administrator | Right::Application => return Ok(changed),
        Right::Owner => &OWNERS_MAY,
        Right::Itself => &ITSELF_MAY,
        Right::Oneself => &[],
    };
    let within = |name: &String| {
        may.iter().any(|known| name == known || name.strip_prefix(known).is_some_and(|rest| rest.starts_with('.')))
    };
    let beyond: Vec<String> = changed.iter().filter(|name| !within(name)).map(|name| format!("`{name}`")).collect();
    if beyond.is_empty() {
        return Ok(changed);
    }
    let who = if right == Right::Itself { "the application itself" } else { "an owner" };
    let expected = format!("a change of what {who} may change: {}", may.join(", "));
    Err(Denial::new(CheckId::DirectoryProperty, expected, beyond.join(", ")))
}
