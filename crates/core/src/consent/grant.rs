//! From what a person agreed to to what is written.
use super::Offer;
use crate::directory::{Snapshot, TenantDirectory};
use crate::estate::provisioned;
use crate::id::PrincipalId;
use crate::ledger::Write;
use crate::model::{Assignee, ConsentType, PermissionGrant, RoleAssignment, ServicePrincipal, User};
use decision::Timestamp;
use oauth::Scopes;

/// Who agrees, and for whom.
#[derive(Clone, Copy)]
pub(crate) struct By<'a> {
    pub(crate) user: &'a User,
    /// For everyone in the tenant, which only an administrator can.
    pub(crate) for_all: bool,
    pub(crate) now: Timestamp,
}

/// Whether a person may bring an application into the tenant: an administrator, or a member who may consent at all.
pub(crate) fn may_add(user: &User, tenant: &TenantDirectory) -> bool {
    user.is_tenant_admin || (tenant.tenant.settings.user_consent && user.home.is_none())
}

/// What agreeing writes; `None` if the tenant is not what it was when the page was shown.
pub(crate) fn writes(snapshot: &Snapshot, offer: &Offer, by: By<'_>) -> Option<Vec<Write>> {
    let tenant = snapshot.tenant(offer.tenant)?;
    let By { user, now, .. } = by;
    let admin = user.is_tenant_admin;
    let for_all = by.for_all && admin;
    let mut writes = Vec::new();
    for app in &offer.adds {
        let application = snapshot.application(*app).filter(|application| application.may_stand_in(offer.tenant))?;
        let id = provisioned(offer.tenant, *app);
        match tenant.app(*app) {
            Some(known) if known.principal.id == id => {}
            Some(_) => return None,
            None if may_add(user, tenant) => writes.push(Write::Provision(ServicePrincipal {
                id,
                tenant: offer.tenant,
                app_id: application.app_id,
                account_enabled: true,
                app_role_assignment_required: false,
            })),
            // Nothing holds for who is not there.
            None => return Some(Vec::new()),
        }
    }
    let user_consent = admin || tenant.tenant.settings.user_consent;
    for edge in &offer.edges {
        let grant = |principal_id, scope| {
            Write::AddGrant(PermissionGrant {
                tenant: offer.tenant,
                client_id: edge.client,
                principal_id,
                resource_id: edge.resource,
                scope,
                start_time: Some(now),
                withdrawn: None,
            })
        };
        let resource = snapshot.application(edge.resource_app);
        let is_admin_only = |value: &&str| {
            let permission = resource.and_then(|resource| resource.permission(value));
            permission.is_none_or(|permission| permission.kind == ConsentType::Admin)
        };
        // What only an administrator may allow holds for everyone or for nobody; the page says so.
        let admin_only: Scopes = edge.scope.iter().filter(is_admin_only).collect();
        let (everyone, person) = if for_all {
            (edge.scope.clone(), Scopes::default())
        } else {
            (admin_only.clone(), edge.scope.difference(&admin_only))
        };
        if admin && !everyone.is_empty() {
            writes.push(grant(None, everyone));
        }
        if user_consent && !person.is_empty() {
            writes.push(grant(Some(user.id), person));
        }
        if for_all {
            writes.extend(edge.roles.iter().map(|role| assign(offer, edge.client, edge.resource, *role)));
        }
    }
    Some(writes)
}

fn assign(offer: &Offer, client: PrincipalId, resource_id: PrincipalId, app_role_id: crate::id::RoleId) -> Write {
    let assignee = Assignee::ServicePrincipal(client);
    Write::Assign(RoleAssignment { tenant: offer.tenant, assignee, resource_id, app_role_id })
}
