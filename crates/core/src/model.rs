//! The directory's objects, with Microsoft Graph's property names.
use crate::id::{AppId, GroupId, ObjectId, PermissionId, PrincipalId, RoleId, TenantId, UserId};
use crate::workload::{FederatedIdentityCredential, ManagedIdentity, TrustedCertificateSubject};
use decision::Timestamp;
use oauth::Scopes;
use serde::{Deserialize, Serialize};

pub use crate::policy::{
    Applications, AuthenticationType, BuiltInControl, ClientAppType, Conditions, DirectoryRole, FrequencyInterval,
    GrantControls, IpRange, Locations, NamedLocation, Operator, Period, Place, Policy, PolicyState, SessionControls,
    SignInFrequency, Unit, Users,
};

mod token_configuration;
pub use token_configuration::{
    ClaimName, ClaimSet, GroupMembershipClaims, OptionalClaim, OptionalClaims, TimeSpan, TokenLifetimePolicy,
};

/// A tenant: the boundary of users, service principals, consent and policies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tenant {
    /// `tid`.
    pub id: TenantId,
    /// Shown to people.
    pub display_name: String,
    /// Verified domains; the first is the default. Lower case.
    pub domains: Vec<String>,
    /// A disabled tenant issues nothing.
    pub enabled: bool,
    /// What its administrators decided.
    pub settings: TenantSettings,
    /// Networks that conditional-access policies name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub named_locations: Vec<NamedLocation>,
}

/// Tenant-wide settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct TenantSettings {
    /// Whether users may consent for themselves to permissions of type `User`.
    pub user_consent: bool,
    /// The application ID URI that a scope without a resource belongs to.
    pub default_resource: Option<String>,
    /// Life of a user's access token, in seconds; `None` draws 60-90 minutes.
    pub access_token_seconds: Option<i64>,
    /// Life of an app-only access token, in seconds; `None` is 3599.
    pub app_token_seconds: Option<i64>,
    /// Inactive life of a refresh token, in seconds.
    pub refresh_token_seconds: i64,
    /// Life of a sign-in session: nothing got on a user's behalf outlives it, in seconds.
    pub session_seconds: i64,
    /// How many On-Behalf-Of hops a chain may have (never above 7: eight actors).
    pub max_chain_depth: u8,
    /// Whether a chain may return to an API it came through.
    pub allow_chain_loops: bool,
    /// Whether a user who needs an administrator may ask for one (Graph's `adminConsentRequestPolicy.isEnabled`).
    pub admin_consent_requests: bool,
    /// What happens to a client that received a user's token and asks as itself for a token at the same API.
    pub dropped_user_context: DroppedUserContext,
}

/// What happens to a client that drops the user whose token it received (see [`trace`](crate::trace)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DroppedUserContext {
    /// It gets its token, and the audit record says so.
    #[default]
    Record,
    /// It is refused, unless it declares that it calls this API as itself. Some clients repeat a refusal for a minute,
    /// in other traces too (spec/entra.md section 8.3).
    Refuse,
}

impl Default for TenantSettings {
    fn default() -> Self {
        Self {
            user_consent: true,
            default_resource: None,
            access_token_seconds: None,
            app_token_seconds: None,
            refresh_token_seconds: 90 * 86_400,
            session_seconds: 90 * 86_400,
            max_chain_depth: 5,
            allow_chain_loops: false,
            admin_consent_requests: false,
            dropped_user_context: DroppedUserContext::Record,
        }
    }
}

/// The dialect of an application as a client, or of a resource's tokens (architecture section 6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// As Microsoft Entra ID does.
    #[default]
    Entra,
    /// As the current RFCs say.
    Native,
}

/// An application registration. It exists once, in its home tenant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Application {
    /// The client id.
    pub app_id: AppId,
    /// The tenant that owns the registration.
    pub home_tenant: TenantId,
    /// Shown to people, on the consent page too.
    pub display_name: String,
    /// In which tenants it may stand.
    pub sign_in_audience: SignInAudience,
    /// Users of the home tenant who may change this registration.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub owners: Vec<UserId>,
    /// Application ID URIs: the names of this application as a resource.
    pub identifier_uris: Vec<String>,
    /// What it offers as a resource.
    pub api: Api,
    /// App roles, for users and for applications.
    pub app_roles: Vec<AppRole>,
    /// Claims beyond the usual ones.
    #[serde(skip_serializing_if = "OptionalClaims::is_empty")]
    pub optional_claims: OptionalClaims,
    /// Which groups of a user its tokens name.
    #[serde(skip_serializing_if = "GroupMembershipClaims::is_none")]
    pub group_membership_claims: GroupMembershipClaims,
    /// How long access tokens for it live, unless the tenant says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_lifetime_policy: Option<TokenLifetimePolicy>,
    /// What it says it needs of others.
    pub required_resource_access: Vec<RequiredResourceAccess>,
    /// A web application.
    pub web: WebApplication,
    /// Redirect URIs of a single-page application.
    pub spa: RedirectUris,
    /// Redirect URIs of installed and mobile applications.
    pub public_client: RedirectUris,
    /// Whether requests without a credential come from a public client.
    pub is_fallback_public_client: bool,
    /// Client secrets.
    pub password_credentials: Vec<PasswordCredential>,
    /// Certificates.
    pub key_credentials: Vec<KeyCredential>,
    /// Other issuers whose tokens prove it.
    pub federated_identity_credentials: Vec<FederatedIdentityCredential>,
    /// Subjects whose certificates prove it, registered or not.
    pub trusted_certificate_subjects: Vec<TrustedCertificateSubject>,
    /// What it is the identity of, where it is a managed one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub managed_identity: Option<ManagedIdentity>,
    /// What Entra has no word for.
    pub deputize: Extensions,
}

/// In which tenants an application may have a service principal (Graph's `signInAudience`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum SignInAudience {
    /// In its home tenant alone.
    #[default]
    AzureADMyOrg,
    /// In every tenant.
    AzureADMultipleOrgs,
    /// In every tenant. There are no personal accounts here, so it means the same as the one before.
    #[serde(rename = "AzureADandPersonalMicrosoftAccount")]
    AzureADAndPersonalMicrosoftAccount,
}

impl SignInAudience {
    /// Whether other tenants than its home may have it.
    pub fn foreign_tenants(self) -> bool {
        self != Self::AzureADMyOrg
    }
}

impl Application {
    /// Whether it may stand in a tenant.
    pub fn may_stand_in(&self, tenant: TenantId) -> bool {
        self.home_tenant == tenant || self.sign_in_audience.foreign_tenants()
    }

    /// Why it calls an API as itself, where its registration says so.
    pub fn own_identity(&self, resource: AppId) -> Option<&str> {
        let of = |declared: &&OwnIdentity| declared.resource_app_id == resource;
        self.deputize.own_identity.iter().find(of).map(|declared| declared.reason.as_str())
    }

    /// Whether it has any credential of its own: then requests in its name need one.
    pub fn is_confidential(&self) -> bool {
        !self.password_credentials.is_empty()
            || !self.key_credentials.is_empty()
            || !self.federated_identity_credentials.is_empty()
            || !self.trusted_certificate_subjects.is_empty()
            || self.managed_identity.is_some()
    }
}

/// Settings that are deputize's own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Extensions {
    /// The rules for this application as a client.
    pub client_profile: Profile,
    /// The shape of tokens for this application as a resource.
    pub resource_profile: Profile,
    /// The algorithm of tokens for this resource; by default RS256 (entra) or ES256 (native).
    pub signing_algorithm: Option<String>,
    /// Whether tokens for this resource show the chain of actors in clear as `act`. Always so in the native profile.
    pub act_claim: bool,
    /// Whether this client's assertions work once. Always so in the native profile.
    pub one_time_assertions: bool,
    /// APIs that it calls as itself also where a user stands behind the call, since it cannot pass the user on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub own_identity: Vec<OwnIdentity>,
}

/// An API that an application calls as itself, and why: administrators see it where they consent, and auditors in every
/// record of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct OwnIdentity {
    /// The API.
    pub resource_app_id: AppId,
    /// Why no user can be passed on to it.
    pub reason: String,
}

/// What an application offers as a resource.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Api {
    /// 1 (also `None`) or 2: the version of tokens for this resource, whichever endpoint was called.
    pub requested_access_token_version: Option<u8>,
    /// The delegated permissions.
    pub oauth2_permission_scopes: Vec<PermissionScope>,
    /// Clients whose consent dialog covers this API's needs too.
    pub known_client_applications: Vec<AppId>,
    /// Clients that need no consent for some permissions.
    pub pre_authorized_applications: Vec<PreAuthorizedApplication>,
}

/// A delegated permission.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct PermissionScope {
    /// Its id.
    pub id: PermissionId,
    /// The word in `scp`.
    pub value: String,
    /// Who may consent.
    #[serde(rename = "type")]
    pub kind: ConsentType,
    /// Shown when a user consents.
    pub user_consent_display_name: String,
    /// Shown when a user consents.
    pub user_consent_description: String,
    /// Shown when an administrator consents.
    pub admin_consent_display_name: String,
    /// Shown when an administrator consents.
    pub admin_consent_description: String,
    /// Whether it may be asked for.
    pub is_enabled: bool,
}

/// Who may consent to a delegated permission.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ConsentType {
    /// A user for themselves.
    User,
    /// Only an administrator.
    #[default]
    Admin,
}

/// A client that needs no consent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct PreAuthorizedApplication {
    /// The client.
    pub app_id: AppId,
    /// The permissions it needs no consent for.
    #[serde(alias = "permissionIds")]
    pub delegated_permission_ids: Vec<PermissionId>,
}

/// An app role.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct AppRole {
    /// Its id.
    pub id: RoleId,
    /// The word in `roles`.
    pub value: String,
    /// Shown to people.
    pub display_name: String,
    /// Shown to people.
    pub description: String,
    /// Who may have it.
    pub allowed_member_types: Vec<MemberType>,
    /// Whether it is issued.
    pub is_enabled: bool,
}

/// Who may have an app role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MemberType {
    /// Users and groups.
    User,
    /// Service principals: the role is an application permission.
    Application,
}

/// What an application says it needs of one resource.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RequiredResourceAccess {
    /// The resource.
    pub resource_app_id: AppId,
    /// The permissions.
    pub resource_access: Vec<ResourceAccess>,
}

/// One needed permission.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResourceAccess {
    /// A permission's or an app role's id.
    pub id: ObjectId,
    /// Which of the two.
    #[serde(rename = "type")]
    pub kind: AccessType,
}

/// Delegated or application permission.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AccessType {
    /// Delegated.
    Scope,
    /// Application.
    Role,
}

/// A web application (Graph's `webApplication`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct WebApplication {
    /// Compared byte by byte.
    pub redirect_uris: Vec<String>,
    /// Where it is told in a frame that somebody signed out (OpenID Connect Front-Channel Logout 1.0).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logout_url: Option<String>,
    /// What the authorization endpoint hands it without a code.
    #[serde(skip_serializing_if = "ImplicitGrantSettings::is_none")]
    pub implicit_grant_settings: ImplicitGrantSettings,
}

/// What the authorization endpoint hands out without a code: ID tokens in a posted form. Access tokens never are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct ImplicitGrantSettings {
    /// Whether `response_type=id_token` is answered.
    pub enable_id_token_issuance: bool,
}

impl ImplicitGrantSettings {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
    fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// Redirect URIs of one platform.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RedirectUris {
    /// Compared byte by byte.
    pub redirect_uris: Vec<String>,
}

/// A client secret, as a keyed digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PasswordCredential {
    /// Its id, which people mistake for the secret.
    pub key_id: ObjectId,
    /// Shown to people.
    #[serde(default)]
    pub display_name: String,
    /// HMAC-SHA-256 of the secret under the store's pepper.
    pub digest: Digest,
    /// The first characters, to tell secrets apart.
    #[serde(default)]
    pub hint: String,
    /// From when it works.
    pub start_date_time: Timestamp,
    /// Until when it works.
    pub end_date_time: Timestamp,
}

/// A certificate of a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyCredential {
    /// Its id.
    pub key_id: ObjectId,
    /// Shown to people.
    #[serde(default)]
    pub display_name: String,
    /// The DER certificate, in standard base64.
    pub key: String,
    /// From when it works (its own validity binds too).
    pub start_date_time: Timestamp,
    /// Until when it works.
    pub end_date_time: Timestamp,
}

/// An application in one tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServicePrincipal {
    /// `oid` of its app-only tokens.
    pub id: PrincipalId,
    /// The tenant it stands in.
    pub tenant: TenantId,
    /// The registration.
    pub app_id: AppId,
    /// Disabled, it gets no tokens and is no resource.
    pub account_enabled: bool,
    /// Whether only assigned users and applications get tokens for it.
    pub app_role_assignment_required: bool,
}

/// A user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct User {
    /// `oid`.
    pub id: UserId,
    /// The tenant.
    pub tenant: TenantId,
    /// The name to sign in with; never an identity.
    pub user_principal_name: String,
    /// Shown to people.
    pub display_name: String,
    /// For the `profile` scope.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub given_name: Option<String>,
    /// For the `profile` scope.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub surname: Option<String>,
    /// For the `email` scope; never an identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mail: Option<String>,
    /// Disabled, nothing is issued for them.
    pub account_enabled: bool,
    /// argon2id in PHC form; a user without one cannot sign in with a password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_hash: Option<String>,
    /// Whether they may consent for the tenant.
    #[serde(default)]
    pub is_tenant_admin: bool,
    /// Sessions and tokens from this moment, to the second, or before it are dead.
    #[serde(default)]
    pub sign_in_sessions_valid_from: Timestamp,
    /// A guest signs in elsewhere, and has no password here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub home: Option<HomeAccount>,
}

/// Who a guest is at home: the pair is the identity, never a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HomeAccount {
    /// The tenant they sign in to.
    pub tenant: TenantId,
    /// Their `oid` there.
    pub user: UserId,
}

/// A group of users.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Group {
    /// Its id.
    pub id: GroupId,
    /// The tenant.
    pub tenant: TenantId,
    /// Shown to people.
    pub display_name: String,
    /// Direct members; groups in groups are not expanded.
    pub members: Vec<UserId>,
}

/// Consent: a client may act for users at a resource (Graph's `oAuth2PermissionGrant`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PermissionGrant {
    /// The tenant.
    pub tenant: TenantId,
    /// The client's service principal.
    pub client_id: PrincipalId,
    /// The user, or nobody: then it holds for all users of the tenant (`AllPrincipals`).
    pub principal_id: Option<UserId>,
    /// The resource's service principal.
    pub resource_id: PrincipalId,
    /// What was consented to.
    pub scope: Scopes,
    /// Since when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Timestamp>,
    /// When the user last took their consent back: refresh tokens of the client for them from until then are dead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub withdrawn: Option<Timestamp>,
}

/// Who has an app role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "principalType", content = "principalId")]
pub enum Assignee {
    /// A user.
    User(UserId),
    /// Every direct member of a group.
    Group(GroupId),
    /// A service principal: an application permission.
    ServicePrincipal(PrincipalId),
}

/// An app role given to someone (Graph's `appRoleAssignment`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RoleAssignment {
    /// The tenant.
    pub tenant: TenantId,
    /// Who.
    #[serde(flatten)]
    pub assignee: Assignee,
    /// The resource's service principal.
    pub resource_id: PrincipalId,
    /// The role; all zero is the default access without a role.
    pub app_role_id: RoleId,
}

/// A SHA-256 digest or MAC, in hexadecimal on paper.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(pub [u8; 32]);

impl std::fmt::Debug for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&String::from(*self))
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.0.iter().fold(Self::with_capacity(64), |mut text, byte| {
            for nibble in [byte >> 4, byte & 15] {
                text.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
            }
            text
        })
    }
}

impl Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&String::from(*self))
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let mut bytes = [0; 32];
        let wrong = || serde::de::Error::custom("a digest has 64 hexadecimal digits");
        if text.len() != 64 {
            return Err(wrong());
        }
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            *byte = std::str::from_utf8(pair).ok().and_then(|p| u8::from_str_radix(p, 16).ok()).ok_or_else(wrong)?;
        }
        Ok(Self(bytes))
    }
}
