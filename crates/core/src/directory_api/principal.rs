//! Service principals: applications as they stand in the tenant.
use super::body::sent;
use crate::directory::Registration;
use crate::model::ServicePrincipal;
use serde::Deserialize;
use serde_json::{Value, json};

/// A change of a service principal.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(super) struct Patch {
    #[serde(deserialize_with = "sent")]
    account_enabled: Option<bool>,
    #[serde(deserialize_with = "sent")]
    app_role_assignment_required: Option<bool>,
}

impl Patch {
    /// The service principal as it would be.
    pub(super) fn apply(&self, before: &ServicePrincipal) -> ServicePrincipal {
        ServicePrincipal {
            account_enabled: self.account_enabled.unwrap_or(before.account_enabled),
            app_role_assignment_required: self
                .app_role_assignment_required
                .unwrap_or(before.app_role_assignment_required),
            ..before.clone()
        }
    }
}

/// What is shown of it.
pub(super) fn shown(registration: &Registration) -> Value {
    let Registration { application, principal } = registration;
    let id = application.app_id.to_string();
    let names: Vec<&str> =
        std::iter::once(id.as_str()).chain(application.identifier_uris.iter().map(String::as_str)).collect();
    json!({
        "id": principal.id,
        "appId": application.app_id,
        "displayName": application.display_name,
        "accountEnabled": principal.account_enabled,
        "appRoleAssignmentRequired": principal.app_role_assignment_required,
        "appOwnerOrganizationId": application.home_tenant,
        "servicePrincipalNames": names,
        "servicePrincipalType": if application.managed_identity.is_some() { "ManagedIdentity" } else { "Application" },
        "appRoles": application.app_roles,
        "oauth2PermissionScopes": application.api.oauth2_permission_scopes,
    })
}
