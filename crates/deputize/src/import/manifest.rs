//! An application manifest, in either of its two forms: names that mean the same are read as one.
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

/// A manifest. What is absent and what is `null` are the same.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Manifest {
    pub(super) app_id: String,
    /// The portal says `name`.
    #[serde(alias = "name", deserialize_with = "present")]
    pub(super) display_name: String,
    #[serde(deserialize_with = "present")]
    pub(super) sign_in_audience: String,
    #[serde(deserialize_with = "present")]
    pub(super) identifier_uris: Vec<String>,
    #[serde(deserialize_with = "present")]
    pub(super) app_roles: Vec<Role>,
    #[serde(deserialize_with = "present")]
    pub(super) required_resource_access: Vec<Required>,
    #[serde(deserialize_with = "present")]
    pub(super) optional_claims: OptionalClaims,
    pub(super) group_membership_claims: Option<String>,
    #[serde(deserialize_with = "present")]
    pub(super) key_credentials: Vec<Certificate>,
    #[serde(deserialize_with = "present")]
    pub(super) password_credentials: Vec<Password>,
    #[serde(alias = "allowPublicClient")]
    pub(super) is_fallback_public_client: Option<bool>,
    // Microsoft Graph's form.
    #[serde(deserialize_with = "present")]
    pub(super) api: Api,
    #[serde(deserialize_with = "present")]
    pub(super) web: Platform,
    #[serde(deserialize_with = "present")]
    pub(super) spa: Platform,
    #[serde(deserialize_with = "present")]
    pub(super) public_client: Platform,
    // The portal's older form.
    #[serde(alias = "accessTokenAcceptedVersion")]
    pub(super) requested_access_token_version: Option<u8>,
    #[serde(deserialize_with = "present")]
    pub(super) oauth2_permissions: Vec<Scope>,
    #[serde(deserialize_with = "present")]
    pub(super) known_client_applications: Vec<String>,
    #[serde(deserialize_with = "present")]
    pub(super) pre_authorized_applications: Vec<PreAuthorized>,
    #[serde(deserialize_with = "present")]
    pub(super) reply_urls_with_type: Vec<ReplyUrl>,
    #[serde(deserialize_with = "present")]
    pub(super) reply_urls: Vec<String>,
    pub(super) logout_url: Option<String>,
    #[serde(deserialize_with = "present", rename = "oauth2AllowImplicitFlow")]
    pub(super) implicit_access_tokens: bool,
    #[serde(deserialize_with = "present", rename = "oauth2AllowIdTokenImplicitFlow")]
    pub(super) implicit_id_tokens: bool,
    /// Everything else.
    #[serde(flatten)]
    pub(super) others: Map<String, Value>,
}

/// What the application offers.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Api {
    pub(super) requested_access_token_version: Option<u8>,
    #[serde(deserialize_with = "present")]
    pub(super) oauth2_permission_scopes: Vec<Scope>,
    #[serde(deserialize_with = "present")]
    pub(super) known_client_applications: Vec<String>,
    #[serde(deserialize_with = "present")]
    pub(super) pre_authorized_applications: Vec<PreAuthorized>,
    #[serde(deserialize_with = "present")]
    pub(super) accept_mapped_claims: bool,
}

/// A delegated permission.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Scope {
    pub(super) id: String,
    #[serde(default, deserialize_with = "present")]
    pub(super) value: String,
    #[serde(rename = "type", default, deserialize_with = "present")]
    pub(super) kind: String,
    #[serde(default = "yes")]
    pub(super) is_enabled: bool,
    #[serde(default, deserialize_with = "present")]
    pub(super) admin_consent_display_name: String,
    #[serde(default, deserialize_with = "present")]
    pub(super) admin_consent_description: String,
    #[serde(default, deserialize_with = "present")]
    pub(super) user_consent_display_name: String,
    #[serde(default, deserialize_with = "present")]
    pub(super) user_consent_description: String,
}

/// An app role.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Role {
    pub(super) id: String,
    #[serde(default, deserialize_with = "present")]
    pub(super) value: String,
    #[serde(default, deserialize_with = "present")]
    pub(super) display_name: String,
    #[serde(default, deserialize_with = "present")]
    pub(super) description: String,
    #[serde(default, deserialize_with = "present")]
    pub(super) allowed_member_types: Vec<String>,
    #[serde(default = "yes")]
    pub(super) is_enabled: bool,
}

/// What the application needs of one resource.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Required {
    pub(super) resource_app_id: String,
    #[serde(default, deserialize_with = "present")]
    pub(super) resource_access: Vec<Access>,
}

/// One needed permission.
#[derive(Debug, Deserialize)]
pub(super) struct Access {
    pub(super) id: String,
    #[serde(rename = "type")]
    pub(super) kind: String,
}

/// A client that needs no consent.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PreAuthorized {
    pub(super) app_id: String,
    #[serde(alias = "permissionIds", default, deserialize_with = "present")]
    pub(super) delegated_permission_ids: Vec<String>,
}

/// Redirect URIs of one platform, and what Graph keeps beside those of `web`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Platform {
    #[serde(deserialize_with = "present")]
    pub(super) redirect_uris: Vec<String>,
    pub(super) logout_url: Option<String>,
    #[serde(deserialize_with = "present")]
    pub(super) implicit_grant_settings: Implicit,
}

/// What may come straight from the authorization endpoint.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Implicit {
    #[serde(deserialize_with = "present")]
    pub(super) enable_access_token_issuance: bool,
    #[serde(deserialize_with = "present")]
    pub(super) enable_id_token_issuance: bool,
}

/// A redirect URI with its platform.
#[derive(Debug, Deserialize)]
pub(super) struct ReplyUrl {
    pub(super) url: String,
    #[serde(rename = "type", default, deserialize_with = "present")]
    pub(super) kind: String,
}

/// Claims beyond the usual ones.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct OptionalClaims {
    #[serde(rename = "accessToken", deserialize_with = "present")]
    pub(super) access: Vec<OptionalClaim>,
    #[serde(rename = "idToken", deserialize_with = "present")]
    pub(super) id: Vec<OptionalClaim>,
    #[serde(rename = "saml2Token", alias = "samlToken", deserialize_with = "present")]
    pub(super) saml: Vec<OptionalClaim>,
}

/// One of them.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct OptionalClaim {
    pub(super) name: String,
    #[serde(default)]
    pub(super) source: Option<String>,
    #[serde(default, deserialize_with = "present")]
    pub(super) essential: bool,
    #[serde(default, deserialize_with = "present")]
    pub(super) additional_properties: Vec<String>,
}

/// A certificate. Downloads leave its value out.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Certificate {
    pub(super) key_id: Option<String>,
    #[serde(default, deserialize_with = "present")]
    pub(super) display_name: String,
    pub(super) custom_key_identifier: Option<String>,
    #[serde(alias = "value")]
    pub(super) key: Option<String>,
}

/// A client secret, without the secret.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Password {
    pub(super) key_id: Option<String>,
    #[serde(default, deserialize_with = "present")]
    pub(super) display_name: String,
}

fn present<'de, T: Default + Deserialize<'de>, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

const fn yes() -> bool {
    true
}
