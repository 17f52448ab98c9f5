//! Cut-offs: what a change of the directory or the ledger means for tokens that are out already (architecture section 5).
//!
//! A change that takes something away ends the tokens that were issued from a view older than it. Which ones is said here,
//! once; the store notes it beside the change, in the same commit, and [`crate::events`] tells subscribers.
use crate::id::{AppId, FamilyId, PrincipalId, SessionId, UserId};
use crate::model::{
    Application, Assignee, Group, PermissionGrant, Policy, PolicyState, RoleAssignment, ServicePrincipal, Tenant, User,
};
use decision::Timestamp;
use serde::{Deserialize, Serialize};

/// Which tokens a change ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "kind")]
pub enum CutOff {
    /// All of the tenant's.
    Tenant,
    /// All of one user's.
    User {
        /// Whose.
        user: UserId,
    },
    /// All that one application got.
    Client {
        /// Which.
        client: AppId,
    },
    /// All that are for one application.
    Resource {
        /// Which.
        resource: AppId,
    },
    /// Those for one resource, of one client or of one user where they are named.
    At {
        /// The resource's service principal.
        resource: PrincipalId,
        /// The client's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        client: Option<PrincipalId>,
        /// Whose.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        user: Option<UserId>,
    },
    /// All that stem from one sign-in.
    Session {
        /// Which.
        session: SessionId,
    },
    /// All that stem from one authorization.
    Grant {
        /// Which.
        family: FamilyId,
    },
    /// All that one key signed.
    Key {
        /// `kid`.
        kid: String,
    },
}

/// A change and the tokens that it ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The change's place in the log.
    pub sequence: u64,
    /// When it was committed.
    pub at: Timestamp,
    /// What it ends; never empty.
    pub cut_offs: Vec<CutOff>,
}

/// A part of the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Logged {
    /// The newest change when this was read.
    pub newest: u64,
    /// The oldest change that is still kept; older ones may have ended tokens that have expired since.
    pub oldest: u64,
    /// The changes that end tokens, in their order.
    pub entries: Vec<Entry>,
    /// Whether there are more than were asked for.
    pub more: bool,
}

/// A tenant ends, or issues nothing any more.
pub fn tenant(before: &Tenant, after: Option<&Tenant>) -> Vec<CutOff> {
    let ends = before.enabled && after.is_none_or(|after| !after.enabled);
    ends.then_some(CutOff::Tenant).into_iter().collect()
}

/// A user ends, is disabled, has another password, or their sessions are revoked.
pub fn user(before: &User, after: Option<&User>) -> Vec<CutOff> {
    let stays = |after: &User| {
        (after.account_enabled || !before.account_enabled)
            && after.password_hash == before.password_hash
            && after.sign_in_sessions_valid_from == before.sign_in_sessions_valid_from
    };
    let cut = CutOff::User { user: before.id };
    if after.is_some_and(stays) { Vec::new() } else { vec![cut] }
}

/// An application ends or is disabled in a tenant: as a client, and as a resource.
pub fn principal(before: &ServicePrincipal, after: Option<&ServicePrincipal>) -> Vec<CutOff> {
    let (client, resource) = (before.app_id, before.app_id);
    let ends = after.is_none_or(|after| before.account_enabled && !after.account_enabled);
    let narrows = after.is_some_and(|a| a.app_role_assignment_required && !before.app_role_assignment_required);
    let as_client = ends.then_some(CutOff::Client { client });
    let as_resource = (ends || narrows).then_some(CutOff::Resource { resource });
    as_client.into_iter().chain(as_resource).collect()
}

/// A registration ends, or publishes less than before.
pub fn application(before: &Application, after: Option<&Application>) -> Vec<CutOff> {
    let (client, resource) = (before.app_id, before.app_id);
    let Some(after) = after else { return vec![CutOff::Client { client }, CutOff::Resource { resource }] };
    let scopes = |app: &Application| -> Vec<_> {
        let published = app.api.oauth2_permission_scopes.iter().filter(|scope| scope.is_enabled);
        published.map(|scope| (scope.id, scope.value.clone())).collect()
    };
    let roles = |app: &Application| -> Vec<_> {
        let issued = app.app_roles.iter().filter(|role| role.is_enabled);
        issued.map(|role| (role.id, role.value.clone())).collect()
    };
    let pre_authorized = |app: &Application| -> Vec<_> {
        let all = app.api.pre_authorized_applications.iter();
        all.flat_map(|one| one.delegated_permission_ids.iter().map(|id| (one.app_id, *id))).collect()
    };
    if before.sign_in_audience.foreign_tenants() && !after.sign_in_audience.foreign_tenants() {
        // It stands in other tenants no more.
        return vec![CutOff::Client { client }, CutOff::Resource { resource }];
    }
    let less = lacks(&scopes(before), &scopes(after))
        || lacks(&roles(before), &roles(after))
        || lacks(&pre_authorized(before), &pre_authorized(after));
    less.then_some(CutOff::Resource { resource }).into_iter().collect()
}

/// Members leave a group, and with it lose roles and memberships that their tokens tell of.
pub fn group(before: &Group, after: Option<&Group>) -> Vec<CutOff> {
    let stays = |user: &UserId| after.is_some_and(|after| after.members.contains(user));
    before.members.iter().filter(|user| !stays(user)).map(|user| CutOff::User { user: *user }).collect()
}

/// A consent is withdrawn, or covers less.
pub fn grant(before: &PermissionGrant, after: Option<&PermissionGrant>) -> Vec<CutOff> {
    let less = after.is_none_or(|after| !before.scope.difference(&after.scope).is_empty());
    let cut = CutOff::At { resource: before.resource_id, client: Some(before.client_id), user: before.principal_id };
    less.then_some(cut).into_iter().collect()
}

/// An app role is taken away.
pub fn assignment(before: &RoleAssignment, after: Option<&RoleAssignment>) -> Vec<CutOff> {
    let (client, user) = match before.assignee {
        Assignee::User(user) => (None, Some(user)),
        // A group's members are many: everyone renews, and only the members get less.
        Assignee::Group(_) => (None, None),
        Assignee::ServicePrincipal(client) => (Some(client), None),
    };
    let cut = CutOff::At { resource: before.resource_id, client, user };
    after.is_none().then_some(cut).into_iter().collect()
}

/// A policy begins to bind, or demands something else: tokens from before it were issued without asking it.
pub fn policy(before: Option<&Policy>, after: Option<&Policy>) -> Vec<CutOff> {
    let Some(after) = after.filter(|after| after.state == PolicyState::Enabled) else { return Vec::new() };
    if before.is_some_and(|before| {
        before.state == after.state
            && before.conditions == after.conditions
            && before.grant_controls == after.grant_controls
    }) {
        return Vec::new();
    }
    let asked = &after.conditions.applications;
    if before.is_none() && !asked.include_authentication_context_class_references.is_empty() {
        // No token can carry a context that nothing defined.
        return Vec::new();
    }
    match asked.include_applications.as_slice() {
        [] => vec![CutOff::Tenant],
        named => named.iter().map(|resource| CutOff::Resource { resource: *resource }).collect(),
    }
}

fn lacks<T: PartialEq>(before: &[T], after: &[T]) -> bool {
    before.iter().any(|one| !after.contains(one))
}
