//! Applications that are not in a tenant yet. One of many tenants gets its service principal there when someone who may
//! consents; until then it stands in a copy of the tenant that only this request sees.
use super::Proved;
use crate::directory::{Registration, Snapshot, TenantDirectory};
use crate::estate::provisioned;
use crate::id::{AppId, TenantId};
use crate::model::{Application, ServicePrincipal};
use oauth::OIDC_SCOPES;
use std::sync::Arc;

/// How many `.default` scopes of a request are looked at for combined consent.
const MIDDLE_TIERS: usize = 4;

/// A tenant as it would be with everything that a request needs, and what that adds to it.
pub(crate) struct Standing {
    pub(crate) tenant: Arc<TenantDirectory>,
    pub(crate) added: Vec<Arc<Application>>,
}

/// The service principal that an application would get.
pub(crate) fn future(tenant: TenantId, application: &Application) -> Registration {
    let app_id = application.app_id;
    let principal = ServicePrincipal {
        id: provisioned(tenant, app_id),
        tenant,
        app_id,
        account_enabled: true,
        app_role_assignment_required: false,
    };
    Registration { application: application.clone(), principal }
}

/// Whether one consent for `client` covers what `middle` needs: `middle` knows the client, and one organization registered
/// both, so that nobody can put another's API into their dialog.
pub(crate) fn combined(client: &Application, middle: &Application) -> bool {
    middle.api.known_client_applications.contains(&client.app_id) && middle.home_tenant == client.home_tenant
}

/// The tenant with the client in it, and with the APIs of a combined consent.
pub(super) fn standing(
    snapshot: &Snapshot,
    tenant: &Arc<TenantDirectory>,
    proved: &Proved,
    scope: Option<&str>,
) -> Standing {
    let client = &proved.client.application;
    let tid = tenant.tenant.id;
    let mut added: Vec<Arc<Application>> = Vec::new();
    let mut add = |app: AppId, home: TenantId| {
        let absent = tenant.app(app).is_none() && added.iter().all(|known| known.app_id != app);
        let found = snapshot.application(app).filter(|found| found.home_tenant == home && found.may_stand_in(tid));
        added.extend(found.filter(|_| absent).cloned());
    };
    add(client.app_id, client.home_tenant);
    let words = scope.unwrap_or_default().split(' ').filter(|word| !OIDC_SCOPES.contains(word));
    for name in words.filter_map(|word| word.strip_suffix("/.default")).take(MIDDLE_TIERS) {
        let here = tenant.resource(name).map(|known| &known.application);
        let middle = here.or_else(|| {
            let mut named = snapshot.applications_named(name).map(AsRef::as_ref);
            named.find(|middle| combined(client, middle))
        });
        let Some(middle) = middle.filter(|middle| combined(client, middle)) else { continue };
        add(middle.app_id, client.home_tenant);
        for needed in client.required_resource_access.iter().chain(&middle.required_resource_access) {
            add(needed.resource_app_id, client.home_tenant);
        }
    }
    with(tenant, added)
}

/// A tenant with further applications in it.
pub(crate) fn with(tenant: &Arc<TenantDirectory>, added: Vec<Arc<Application>>) -> Standing {
    if added.is_empty() {
        return Standing { tenant: Arc::clone(tenant), added };
    }
    let future = added.iter().map(|application| future(tenant.tenant.id, application));
    Standing { tenant: Arc::new(tenant.with(future)), added }
}
