//! Registrations: what is shown of them, and how they change.
use super::body::{Members, Nullable, sent, unsound};
use super::credential::{KeyWritten, key_credentials};
use crate::denial::Denial;
use crate::id::AppId;
use crate::model::{
    AppRole, Application, Extensions, GroupMembershipClaims, ImplicitGrantSettings, OptionalClaims, PermissionScope,
    PreAuthorizedApplication, RedirectUris, RequiredResourceAccess, SignInAudience, TokenLifetimePolicy,
};
use crate::ports::Ports;
use decision::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

/// A change of a registration: properties that are not sent stay, lists are replaced whole.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
#[derive(Default)]
pub(super) struct Patch {
    #[serde(deserialize_with = "sent")]
    display_name: Option<String>,
    #[serde(deserialize_with = "sent")]
    sign_in_audience: Option<SignInAudience>,
    #[serde(deserialize_with = "sent")]
    identifier_uris: Option<Vec<String>>,
    #[serde(deserialize_with = "sent")]
    api: Option<Members<ApiPatch>>,
    #[serde(deserialize_with = "sent")]
    app_roles: Option<Vec<AppRole>>,
    #[serde(deserialize_with = "sent")]
    optional_claims: Option<Nullable<OptionalClaims>>,
    #[serde(deserialize_with = "sent")]
    group_membership_claims: Option<Nullable<GroupMembershipClaims>>,
    #[serde(deserialize_with = "sent")]
    token_lifetime_policy: Option<Nullable<TokenLifetimePolicy>>,
    #[serde(deserialize_with = "sent")]
    required_resource_access: Option<Vec<RequiredResourceAccess>>,
    #[serde(deserialize_with = "sent")]
    web: Option<Members<WebPatch>>,
    #[serde(deserialize_with = "sent")]
    spa: Option<Members<RedirectsPatch>>,
    #[serde(deserialize_with = "sent")]
    public_client: Option<Members<RedirectsPatch>>,
    #[serde(deserialize_with = "sent")]
    is_fallback_public_client: Option<Nullable<bool>>,
    #[serde(deserialize_with = "sent")]
    key_credentials: Option<Vec<Members<KeyWritten>>>,
    #[serde(deserialize_with = "sent")]
    deputize: Option<Extensions>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct ApiPatch {
    #[serde(deserialize_with = "sent")]
    requested_access_token_version: Option<Nullable<u8>>,
    #[serde(deserialize_with = "sent")]
    oauth2_permission_scopes: Option<Vec<PermissionScope>>,
    #[serde(deserialize_with = "sent")]
    known_client_applications: Option<Vec<AppId>>,
    #[serde(deserialize_with = "sent")]
    pre_authorized_applications: Option<Vec<PreAuthorizedApplication>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct WebPatch {
    #[serde(deserialize_with = "sent")]
    redirect_uris: Option<Vec<String>>,
    #[serde(deserialize_with = "sent")]
    logout_url: Option<Nullable<String>>,
    #[serde(deserialize_with = "sent")]
    implicit_grant_settings: Option<ImplicitGrantSettings>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct RedirectsPatch {
    #[serde(deserialize_with = "sent")]
    redirect_uris: Option<Vec<String>>,
}

impl Patch {
    /// The registration as it would be.
    pub(super) fn apply(&self, before: &Application, ports: &Ports, now: Timestamp) -> Result<Application, Denial> {
        let mut after = before.clone();
        set(&mut after.display_name, self.display_name.as_ref());
        set(&mut after.sign_in_audience, self.sign_in_audience.as_ref());
        set(&mut after.identifier_uris, self.identifier_uris.as_ref());
        set(&mut after.app_roles, self.app_roles.as_ref());
        set(&mut after.required_resource_access, self.required_resource_access.as_ref());
        set(&mut after.token_lifetime_policy, self.token_lifetime_policy.as_ref().map(|Nullable(policy)| policy));
        set(&mut after.deputize, self.deputize.as_ref());
        or_default(&mut after.optional_claims, self.optional_claims.as_ref());
        or_default(&mut after.group_membership_claims, self.group_membership_claims.as_ref());
        or_default(&mut after.is_fallback_public_client, self.is_fallback_public_client.as_ref());
        if let Some(Members(api)) = &self.api {
            let version = api.requested_access_token_version.as_ref();
            set(&mut after.api.requested_access_token_version, version.map(|Nullable(version)| version));
            set(&mut after.api.oauth2_permission_scopes, api.oauth2_permission_scopes.as_ref());
            set(&mut after.api.known_client_applications, api.known_client_applications.as_ref());
            set(&mut after.api.pre_authorized_applications, api.pre_authorized_applications.as_ref());
            if api.oauth2_permission_scopes.is_some() {
                for scope in &mut after.api.oauth2_permission_scopes {
                    or_value(&mut scope.admin_consent_display_name, &scope.value);
                }
            }
        }
        if self.app_roles.is_some() {
            for role in &mut after.app_roles {
                or_value(&mut role.display_name, &role.value);
            }
        }
        let redirects = |of: &mut RedirectUris, patch: &Option<Members<RedirectsPatch>>| {
            set(&mut of.redirect_uris, patch.as_ref().and_then(|Members(patch)| patch.redirect_uris.as_ref()));
        };
        if let Some(Members(web)) = &self.web {
            set(&mut after.web.redirect_uris, web.redirect_uris.as_ref());
            set(&mut after.web.logout_url, web.logout_url.as_ref().map(|Nullable(url)| url));
            set(&mut after.web.implicit_grant_settings, web.implicit_grant_settings.as_ref());
        }
        redirects(&mut after.spa, &self.spa);
        redirects(&mut after.public_client, &self.public_client);
        if let Some(written) = &self.key_credentials {
            after.key_credentials = key_credentials(before, written, ports, now)?;
        }
        if before.managed_identity.is_some() {
            return Err(unsound("managedIdentity", "a managed identity is declared with what it is the identity of"));
        }
        Ok(after)
    }
}

fn set<T: Clone>(property: &mut T, sent: Option<&T>) {
    if let Some(value) = sent {
        property.clone_from(value);
    }
}

/// What has no name for people is called by its word.
fn or_value(name: &mut String, value: &str) {
    if name.is_empty() {
        value.clone_into(name);
    }
}

fn or_default<T: Clone + Default>(property: &mut T, sent: Option<&Nullable<T>>) {
    if let Some(Nullable(value)) = sent {
        *property = value.clone().unwrap_or_default();
    }
}

/// What is shown of a registration: of secrets their ids and dates, never a digest (M-05).
pub(super) fn shown(application: &Application) -> Value {
    // Named one by one: what is added to the model is not shown before somebody says so.
    let Application { api, web, spa, public_client, .. } = application;
    let uris = |of: &RedirectUris| json!({"redirectUris": of.redirect_uris});
    json!({
        "id": application.app_id,
        "appId": application.app_id,
        "displayName": application.display_name,
        "signInAudience": application.sign_in_audience,
        "identifierUris": application.identifier_uris,
        "api": api,
        "appRoles": application.app_roles,
        "optionalClaims": application.optional_claims,
        "groupMembershipClaims": application.group_membership_claims,
        "tokenLifetimePolicy": application.token_lifetime_policy,
        "requiredResourceAccess": application.required_resource_access,
        "web": web,
        "spa": uris(spa),
        "publicClient": uris(public_client),
        "isFallbackPublicClient": application.is_fallback_public_client,
        "passwordCredentials": application.password_credentials.iter().map(super::credential::shown_secret).collect::<Vec<_>>(),
        "keyCredentials": application.key_credentials.iter().map(super::credential::shown_key).collect::<Vec<_>>(),
        "deputize": application.deputize,
    })
}
