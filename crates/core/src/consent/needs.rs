//! Static consent: what a registration says it needs (`requiredResourceAccess`), and what of it is not granted yet.
use super::Shown;
use crate::denial::Denial;
use crate::directory::{Registration, Snapshot, TenantDirectory, UserRecord};
use crate::facts::{Asked, ResourceFacts};
use crate::id::{AppId, RoleId};
use crate::model::{AccessType, MemberType, RequiredResourceAccess};
use crate::scope_request::{Parties, standing};
use decision::CheckId;
use oauth::Scopes;
use std::sync::Arc;

/// What an application says it needs at one API.
pub(crate) struct Need {
    /// The API.
    pub(crate) resource: Arc<Registration>,
    facts: ResourceFacts,
    /// Everything that it declares and the API publishes.
    pub(crate) declared: Scopes,
    /// What of that is granted to nobody.
    pub(crate) missing: Scopes,
    /// Whether anything at all is granted.
    pub(crate) granted: bool,
    /// Application permissions that it declares.
    pub(crate) roles: Vec<RoleId>,
}

impl Need {
    /// Which API.
    pub(crate) fn app(&self) -> AppId {
        self.facts.app_id
    }

    /// Those of these permissions that only an administrator may agree to.
    pub(crate) fn admin_only(&self, scopes: &Scopes) -> Scopes {
        let only = self.facts.published.iter().filter(|p| p.admin_only && scopes.contains(&p.value));
        only.map(|published| published.value.as_str()).collect()
    }

    /// What a page shows of it.
    pub(crate) fn shown(&self, client: &Registration, scopes: &Scopes) -> Shown {
        Shown::of(client, &self.resource, &self.facts.published, scopes)
    }
}

/// What an application needs at each API, in the order of its registration.
pub(crate) fn needs(
    snapshot: &Snapshot,
    tenant: &TenantDirectory,
    client: &Registration,
    user: Option<&UserRecord>,
) -> Vec<Result<Need, Denial>> {
    let required = client.application.required_resource_access.iter();
    required.map(|required| need(snapshot, tenant, client, user, required)).collect()
}

fn need(
    snapshot: &Snapshot,
    tenant: &TenantDirectory,
    client: &Registration,
    user: Option<&UserRecord>,
    required: &RequiredResourceAccess,
) -> Result<Need, Denial> {
    let id = required.resource_app_id;
    let Some(resource) = tenant.app(id) else {
        let name = &client.application.display_name;
        let Some(known) = snapshot.application(id) else {
            let expected = format!("APIs that exist in `requiredResourceAccess` of `{name}`");
            return Err(Denial::new(CheckId::RequiredAccessSound, expected, format!("`{id}`")));
        };
        let expected = format!("a service principal of `{}` (`{id}`) in this tenant", known.display_name);
        return Err(Denial::new(CheckId::ResourceProvisioned, expected, "none"));
    };
    let parties = Parties { tenant, client, user };
    let facts = standing(resource, &resource.resource_name(), Asked::Default, parties);
    let published: Scopes = facts.published.iter().map(|published| published.value.as_str()).collect();
    let declared = facts.declared.clone().unwrap_or_default().intersection(&published);
    let by_admin = facts.tenant_grant.union(&facts.pre_authorized);
    let only_admin: Scopes = facts.published.iter().filter(|p| p.admin_only).map(|p| p.value.as_str()).collect();
    // What a user agreed to alone and only an administrator may allow counts for nothing.
    let granted = by_admin.union(&facts.user_grant.difference(&only_admin)).intersection(&published);
    let wanted = required.resource_access.iter().filter(|access| access.kind == AccessType::Role);
    let issued = |role: RoleId| {
        let known = resource.application.app_roles.iter().find(|known| known.id == role);
        known.is_some_and(|known| known.is_enabled && known.allowed_member_types.contains(&MemberType::Application))
    };
    let roles: Vec<RoleId> = wanted.map(|access| RoleId(access.id.0)).filter(|role| issued(*role)).collect();
    Ok(Need {
        resource: Arc::clone(resource),
        missing: declared.difference(&granted),
        granted: !granted.is_empty(),
        declared,
        roles,
        facts,
    })
}
