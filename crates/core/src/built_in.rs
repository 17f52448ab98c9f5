//! The authority as a resource of its own, in every tenant: who may read its streams is given as app roles, like at any API.
//!
//! It is in no store and in no estate file; an estate assigns its roles as those of `api://deputize`.
use crate::directory::Registration;
use crate::id::{AppId, PrincipalId, RoleId, TenantId};
use crate::model::{Api, AppRole, Application, MemberType, ServicePrincipal};
use uuid::Uuid;

/// Its client id: `aud` of tokens for it.
pub const APP: AppId = AppId(Uuid::from_u128(0xde90_712e_0000_4000_8000_0000_0000_0001));
/// Its service principal, the same in every tenant.
pub const PRINCIPAL: PrincipalId = PrincipalId(Uuid::from_u128(0xde90_712e_0000_4000_8000_0000_0000_0002));
/// Its application ID URI.
pub const URI: &str = "api://deputize";
/// Shown to people.
pub const NAME: &str = "deputize";
/// The app role that lets an application read the cut-offs that concern tokens for it.
pub const EVENTS_READ: &str = "Events.Read";
/// Its id.
pub const EVENTS_READ_ID: RoleId = RoleId(Uuid::from_u128(0xde90_712e_0000_4000_8000_0000_0000_0003));

/// The registration and its service principal in a tenant. Without credentials and redirect URIs, it is never a client.
pub fn registration(tenant: TenantId) -> Registration {
    let application = Application {
        app_id: APP,
        home_tenant: tenant,
        display_name: NAME.to_owned(),
        identifier_uris: vec![URI.to_owned()],
        api: Api { requested_access_token_version: Some(2), ..Api::default() },
        app_roles: vec![AppRole {
            id: EVENTS_READ_ID,
            value: EVENTS_READ.to_owned(),
            display_name: "Read cut-offs".to_owned(),
            description: "Lets the application read which tokens for it have been cut off.".to_owned(),
            allowed_member_types: vec![MemberType::Application],
            is_enabled: true,
        }],
        ..Application::default()
    };
    let principal = ServicePrincipal {
        id: PRINCIPAL,
        tenant,
        app_id: APP,
        account_enabled: true,
        // Who has none of its roles has no use for a token.
        app_role_assignment_required: true,
    };
    Registration { application, principal }
}
