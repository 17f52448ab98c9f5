//! The authority as a resource of its own, in every tenant: who may read its streams and change its directory is given as
//! permissions and app roles, like at any API. Where Microsoft Graph has the permission, it has Graph's name.
//!
//! It is in no store and in no estate file; an estate grants its permissions and assigns its roles as those of
//! `api://deputize`.
use crate::directory::Registration;
use crate::id::{AppId, PermissionId, PrincipalId, RoleId, TenantId};
use crate::model::{Api, AppRole, Application, ConsentType, MemberType, PermissionScope, ServicePrincipal};
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

/// Reads registrations and service principals.
pub const APPLICATION_READ: &str = "Application.Read.All";
/// Changes registrations and service principals: those that the user may change, or, for an application, all.
pub const APPLICATION_WRITE: &str = "Application.ReadWrite.All";
/// Lets an application change its own registration.
pub const APPLICATION_OWNED: &str = "Application.ReadWrite.OwnedBy";
/// Reads users.
pub const USER_READ: &str = "User.Read.All";
/// Changes users.
pub const USER_WRITE: &str = "User.ReadWrite.All";
/// Reads which second factors users have.
pub const METHODS_READ: &str = "UserAuthenticationMethod.Read.All";
/// Takes away second factors of users.
pub const METHODS_WRITE: &str = "UserAuthenticationMethod.ReadWrite.All";
/// Reads and ends consents.
pub const GRANTS_WRITE: &str = "DelegatedPermissionGrant.ReadWrite.All";

/// Delegated permissions, with what they let a client do in the user's name. All are for administrators to give: what the
/// user may do themselves is decided at each call.
const SCOPES: [(&str, &str, &str); 7] = [
    (APPLICATION_READ, "Read applications", "Lets the application read registrations that you may read."),
    (APPLICATION_WRITE, "Change applications", "Lets the application change registrations that you may change."),
    (USER_READ, "Read users", "Lets the application read the users of your organization."),
    (USER_WRITE, "Change users", "Lets the application enable, disable and sign out users of your organization."),
    (METHODS_READ, "Read second factors", "Lets the application read which second factors users have."),
    (METHODS_WRITE, "Reset second factors", "Lets the application take away second factors of users."),
    (GRANTS_WRITE, "Change consents", "Lets the application read and end consents in your organization."),
];

/// Application permissions, with what they let an application do.
const ROLES: [(&str, &str, &str); 3] = [
    (APPLICATION_READ, "Read applications", "Lets the application read all registrations."),
    (APPLICATION_WRITE, "Change applications", "Lets the application change all registrations, credentials too."),
    (APPLICATION_OWNED, "Change its own registration", "Lets the application change its own credentials."),
];

/// The same word has the same id in every authority.
fn named(kind: &str, value: &str) -> Uuid {
    Uuid::new_v5(&APP.0, format!("{kind}:{value}").as_bytes())
}

/// The id of a delegated permission.
pub fn permission(value: &str) -> PermissionId {
    PermissionId(named("scope", value))
}

/// The id of an app role.
pub fn role(value: &str) -> RoleId {
    if value == EVENTS_READ { EVENTS_READ_ID } else { RoleId(named("role", value)) }
}

/// The registration and its service principal in a tenant. Without credentials and redirect URIs, it is never a client.
pub fn registration(tenant: TenantId) -> Registration {
    let scopes = SCOPES.iter().map(|(value, name, description)| PermissionScope {
        id: permission(value),
        value: (*value).to_owned(),
        kind: ConsentType::Admin,
        user_consent_display_name: (*name).to_owned(),
        user_consent_description: (*description).to_owned(),
        admin_consent_display_name: (*name).to_owned(),
        admin_consent_description: (*description).to_owned(),
        is_enabled: true,
    });
    let events = (EVENTS_READ, "Read cut-offs", "Lets the application read which tokens for it have been cut off.");
    let roles = std::iter::once(events).chain(ROLES).map(|(value, name, description)| AppRole {
        id: role(value),
        value: value.to_owned(),
        display_name: name.to_owned(),
        description: description.to_owned(),
        allowed_member_types: vec![MemberType::Application],
        is_enabled: true,
    });
    let application = Application {
        app_id: APP,
        home_tenant: tenant,
        display_name: NAME.to_owned(),
        identifier_uris: vec![URI.to_owned()],
        api: Api {
            requested_access_token_version: Some(2),
            oauth2_permission_scopes: scopes.collect(),
            ..Api::default()
        },
        app_roles: roles.collect(),
        ..Application::default()
    };
    let principal = ServicePrincipal {
        id: PRINCIPAL,
        tenant,
        app_id: APP,
        account_enabled: true,
        // A token without permissions and roles opens nothing here: each endpoint asks for its own.
        app_role_assignment_required: false,
    };
    Registration { application, principal }
}
