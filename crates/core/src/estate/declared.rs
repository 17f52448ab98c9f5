//! What a file declares, as written: every text knows its place.
use super::access::{LocationDeclared, PolicyDeclared};
use super::extensions::ExtensionsDeclared;
use super::tokens::{LifetimeDeclared, OptionalClaimsDeclared};
use crate::model::{AccessType, ConsentType, GroupMembershipClaims, MemberType, SignInAudience, TenantSettings};
use crate::workload::ManagedIdentityKind;
use decision::Timestamp;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_spanned::Spanned;
use std::fmt;

/// The whole file.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Declared {
    /// The tenants.
    pub tenants: Vec<Spanned<TenantDeclared>>,
}

/// A tenant and what stands in it.
#[derive(Debug, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TenantDeclared {
    /// By default derived from the first domain.
    pub id: Option<Spanned<String>>,
    /// Shown to people.
    pub display_name: Spanned<String>,
    /// The first is the default.
    pub domains: Vec<Spanned<String>>,
    /// A disabled tenant issues nothing.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// What its administrators decided.
    #[serde(default)]
    pub settings: Option<Spanned<TenantSettings>>,
    /// Registrations.
    #[serde(default)]
    pub applications: Vec<Spanned<ApplicationDeclared>>,
    /// Identities of things that run.
    #[serde(default)]
    pub managed_identities: Vec<Spanned<ManagedIdentityDeclared>>,
    /// What differs from an ordinary service principal; each application has one without being declared.
    #[serde(default)]
    pub service_principals: Vec<Spanned<PrincipalDeclared>>,
    /// Users.
    #[serde(default)]
    pub users: Vec<Spanned<UserDeclared>>,
    /// Groups.
    #[serde(default)]
    pub groups: Vec<Spanned<GroupDeclared>>,
    /// Consents.
    #[serde(default)]
    pub oauth2_permission_grants: Vec<Spanned<GrantDeclared>>,
    /// App roles given to users, groups and applications.
    #[serde(default)]
    pub app_role_assignments: Vec<Spanned<AssignmentDeclared>>,
    /// Networks that policies name.
    #[serde(default)]
    pub named_locations: Vec<Spanned<LocationDeclared>>,
    /// Policies.
    #[serde(default)]
    pub conditional_access_policies: Vec<Spanned<PolicyDeclared>>,
}

/// A registration.
#[derive(Debug, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ApplicationDeclared {
    /// By default derived from the display name.
    pub app_id: Option<Spanned<String>>,
    /// Shown to people.
    pub display_name: Spanned<String>,
    /// In which tenants it may stand.
    #[serde(default)]
    pub sign_in_audience: SignInAudience,
    /// Users of this tenant who may change the registration.
    #[serde(default)]
    pub owners: Vec<Spanned<String>>,
    /// Names as a resource.
    #[serde(default)]
    pub identifier_uris: Vec<Spanned<String>>,
    /// What it offers.
    #[serde(default)]
    pub api: ApiDeclared,
    /// App roles.
    #[serde(default)]
    pub app_roles: Vec<RoleDeclared>,
    /// Claims beyond the usual ones.
    #[serde(default)]
    pub optional_claims: OptionalClaimsDeclared,
    /// Which groups of a user its tokens name.
    #[serde(default)]
    pub group_membership_claims: GroupMembershipClaims,
    /// How long access tokens for it live.
    #[serde(default)]
    pub token_lifetime_policy: Option<LifetimeDeclared>,
    /// What it needs of others.
    #[serde(default)]
    pub required_resource_access: Vec<Required>,
    /// A web application.
    #[serde(default)]
    pub web: WebDeclared,
    /// Of a single-page application.
    #[serde(default)]
    pub spa: Redirects,
    /// Of an installed application.
    #[serde(default)]
    pub public_client: Redirects,
    /// Whether requests without a credential come from a public client.
    #[serde(default)]
    pub is_fallback_public_client: bool,
    /// Certificates.
    #[serde(default)]
    pub key_credentials: Vec<Spanned<CertificateDeclared>>,
    /// Client secrets.
    #[serde(default)]
    pub password_credentials: Vec<Spanned<SecretDeclared>>,
    /// Other issuers whose tokens prove it.
    #[serde(default)]
    pub federated_identity_credentials: Vec<Spanned<FederatedDeclared>>,
    /// Subjects whose certificates prove it.
    #[serde(default)]
    pub trusted_certificate_subjects: Vec<Spanned<TrustedSubjectDeclared>>,
    /// What Entra has no word for.
    #[serde(default)]
    pub deputize: ExtensionsDeclared,
}

/// What an application offers as a resource.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct ApiDeclared {
    /// 1 or 2.
    pub requested_access_token_version: Option<Spanned<u8>>,
    /// Delegated permissions.
    pub oauth2_permission_scopes: Vec<ScopeDeclared>,
    /// Applications.
    pub known_client_applications: Vec<Spanned<String>>,
    /// Clients that need no consent.
    pub pre_authorized_applications: Vec<PreAuthorized>,
}

/// A delegated permission.
#[derive(Debug, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ScopeDeclared {
    /// By default derived from the value.
    pub id: Option<Spanned<String>>,
    /// The word in `scp`.
    pub value: Spanned<String>,
    /// Who may consent.
    #[serde(rename = "type", default)]
    pub kind: ConsentType,
    /// Shown when a user consents.
    #[serde(default)]
    pub user_consent_display_name: String,
    /// Shown when a user consents.
    #[serde(default)]
    pub user_consent_description: String,
    /// Shown when an administrator consents.
    #[serde(default)]
    pub admin_consent_display_name: String,
    /// Shown when an administrator consents.
    #[serde(default)]
    pub admin_consent_description: String,
    /// Whether it may be asked for.
    #[serde(default = "yes")]
    pub is_enabled: bool,
}

/// A client that needs no consent.
#[derive(Debug, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PreAuthorized {
    /// An application.
    pub app_id: Spanned<String>,
    /// Delegated permissions of this application, by value or id.
    #[serde(alias = "permissionIds")]
    pub delegated_permission_ids: Vec<Spanned<String>>,
}

/// An app role.
#[derive(Debug, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RoleDeclared {
    /// By default derived from the value.
    pub id: Option<Spanned<String>>,
    /// The word in `roles`.
    pub value: Spanned<String>,
    /// Shown to people.
    #[serde(default)]
    pub display_name: String,
    /// Shown to people.
    #[serde(default)]
    pub description: String,
    /// Who may have it.
    pub allowed_member_types: Spanned<Vec<MemberType>>,
    /// Whether it is issued.
    #[serde(default = "yes")]
    pub is_enabled: bool,
}

/// What an application needs of one resource.
#[derive(Debug, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Required {
    /// The resource.
    pub resource_app_id: Spanned<String>,
    /// The permissions.
    pub resource_access: Vec<Access>,
}

/// One needed permission.
#[derive(Debug, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Access {
    /// A permission or app role of the resource, by value or id.
    pub id: Spanned<String>,
    /// Which of the two.
    #[serde(rename = "type")]
    pub kind: AccessType,
}

/// A web application.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct WebDeclared {
    /// Exact, but for the port of loopback addresses.
    pub redirect_uris: Vec<Spanned<String>>,
    /// Where it is told in a frame that somebody signed out.
    pub logout_url: Option<Spanned<String>>,
    /// What it gets without a code.
    pub implicit_grant_settings: ImplicitDeclared,
}

/// What a web application gets without a code.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct ImplicitDeclared {
    /// ID tokens, in a posted form.
    pub enable_id_token_issuance: bool,
    /// Access tokens: never.
    pub enable_access_token_issuance: Option<Spanned<bool>>,
}

/// Redirect URIs of one platform.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Redirects {
    /// Exact, but for the port of loopback addresses.
    pub redirect_uris: Vec<Spanned<String>>,
}

/// Where a text is: exactly one of the three.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table with one of `file`, `env` and `value`")]
pub struct Source {
    /// A file, beside the estate's file if the path is relative.
    pub file: Option<String>,
    /// An environment variable.
    pub env: Option<String>,
    /// The text itself.
    pub value: Option<oauth::Secret>,
}

/// A certificate of a client.
#[derive(Debug, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CertificateDeclared {
    /// Its id.
    pub key_id: Option<Spanned<String>>,
    /// Shown to people.
    #[serde(default)]
    pub display_name: String,
    /// The certificate.
    pub key: Spanned<Source>,
    /// By default the certificate's own.
    pub start_date_time: Option<Moment>,
    /// By default the certificate's own.
    pub end_date_time: Option<Moment>,
}

/// A client secret. Without a source it is generated, and shown once.
#[derive(Debug, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretDeclared {
    /// Its id; by default derived from the display name.
    pub key_id: Option<Spanned<String>>,
    /// Shown to people; tells the secrets of an application apart.
    pub display_name: Spanned<String>,
    /// Where the secret is.
    pub secret: Option<Spanned<Source>>,
    /// By default the moment it is first applied.
    pub start_date_time: Option<Moment>,
    /// By default two years later.
    pub end_date_time: Option<Moment>,
}

/// Another issuer whose tokens for one subject prove the application.
#[derive(Debug, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FederatedDeclared {
    /// By default derived from the name.
    pub id: Option<Spanned<String>>,
    /// Its name.
    pub name: Spanned<String>,
    /// `iss`.
    pub issuer: Spanned<String>,
    /// `sub`.
    pub subject: Spanned<String>,
    /// For people.
    #[serde(default)]
    pub description: String,
    /// `aud`: one; by default `api://AzureADTokenExchange`.
    pub audiences: Option<Spanned<Vec<Spanned<String>>>>,
}

/// A subject whose certificates prove the application while an authority vouches for them.
#[derive(Debug, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TrustedSubjectDeclared {
    /// The distinguished name, as RFC 4514 writes it: `CN=orders,O=Contoso`.
    pub subject_name: Spanned<String>,
    /// The authority's name, for people.
    #[serde(default)]
    pub authority_name: String,
    /// The authority's certificate.
    pub authority: Spanned<Source>,
    /// Thumbprints of certificates that count no more.
    #[serde(default)]
    pub revoked_certificate_identifiers: Vec<Spanned<String>>,
}

/// A managed identity.
#[derive(Debug, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ManagedIdentityDeclared {
    /// Shown to people; what role assignments call it.
    pub display_name: Spanned<String>,
    /// By default derived from the display name.
    pub app_id: Option<Spanned<String>>,
    /// Whose it is.
    #[serde(rename = "type")]
    pub kind: ManagedIdentityKind,
    /// The resource it belongs to; of a user-assigned identity its own, and by default derived from its name.
    pub resource_id: Option<Spanned<String>>,
    /// Certificates of the hosts that speak for it.
    #[serde(default)]
    pub key_credentials: Vec<Spanned<CertificateDeclared>>,
    /// Other issuers whose tokens prove it; of user-assigned identities only.
    #[serde(default)]
    pub federated_identity_credentials: Vec<Spanned<FederatedDeclared>>,
}

/// How an application stands in the tenant.
#[derive(Debug, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PrincipalDeclared {
    /// The application: one of this tenant, or of another.
    pub app_id: Spanned<String>,
    /// By default derived from the application.
    pub id: Option<Spanned<String>>,
    /// Disabled, it gets no tokens and is no resource.
    #[serde(default = "yes")]
    pub account_enabled: bool,
    /// Whether only who is assigned gets tokens for it.
    #[serde(default)]
    pub app_role_assignment_required: bool,
}

/// A user.
#[derive(Debug, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UserDeclared {
    /// By default derived from the name.
    pub id: Option<Spanned<String>>,
    /// The name to sign in with.
    pub user_principal_name: Spanned<String>,
    /// Shown to people.
    pub display_name: Spanned<String>,
    /// For the `profile` scope.
    pub given_name: Option<String>,
    /// For the `profile` scope.
    pub surname: Option<String>,
    /// For the `email` scope.
    pub mail: Option<String>,
    /// Disabled, nothing is issued for them.
    #[serde(default = "yes")]
    pub account_enabled: bool,
    /// Whether they may consent for the tenant.
    #[serde(default)]
    pub is_tenant_admin: bool,
    /// Without one they cannot sign in with a password.
    pub password: Option<Spanned<Source>>,
    /// Of a guest: who they are at home. Guests sign in there.
    #[serde(default)]
    pub identities: Vec<Spanned<IdentityDeclared>>,
}

/// Who a guest is at home (Graph's `objectIdentity`).
#[derive(Debug, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IdentityDeclared {
    /// Another tenant of this file: a domain of it, or its id.
    pub issuer: Spanned<String>,
    /// A user there: userPrincipalName, or id.
    pub issuer_assigned_id: Spanned<String>,
}

/// A group.
#[derive(Debug, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GroupDeclared {
    /// By default derived from the name.
    pub id: Option<Spanned<String>>,
    /// Shown to people.
    pub display_name: Spanned<String>,
    /// Users, by name or id.
    #[serde(default)]
    pub members: Vec<Spanned<String>>,
}

/// A consent.
#[derive(Debug, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GrantDeclared {
    /// An application.
    #[serde(alias = "client")]
    pub client_id: Spanned<String>,
    /// An application.
    #[serde(alias = "resource")]
    pub resource_id: Spanned<String>,
    /// Delegated permissions of the resource, with spaces between.
    pub scope: Spanned<String>,
    /// For whom: by default for the user that is named, else for all.
    pub consent_type: Option<Spanned<For>>,
    /// A user.
    #[serde(alias = "principal")]
    pub principal_id: Option<Spanned<String>>,
}

/// For whom a consent holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
pub enum For {
    /// Every user of the tenant.
    AllPrincipals,
    /// One user.
    Principal,
}

/// An app role given to someone.
#[derive(Debug, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AssignmentDeclared {
    /// A user, a group or an application.
    #[serde(alias = "principal")]
    pub principal_id: Spanned<String>,
    /// An application.
    #[serde(alias = "resource")]
    pub resource_id: Spanned<String>,
    /// An app role of the resource, by value or id; without one, access without a role.
    #[serde(alias = "appRole")]
    pub app_role_id: Option<Spanned<String>>,
}

/// A moment: `2030-01-31T12:00:00Z`, in quotes or bare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment(pub Timestamp);

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = Moment;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a moment such as `2030-01-31T12:00:00Z`")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Moment, E> {
                let wrong = || E::invalid_value(serde::de::Unexpected::Str(text), &self);
                super::rules::moment(text).map(Moment).ok_or_else(wrong)
            }

            // A bare moment of the file's language arrives as a map with its text.
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Moment, A::Error> {
                match map.next_entry::<String, String>()? {
                    Some((_, text)) => self.visit_str(&text),
                    None => Err(A::Error::custom("a moment is missing")),
                }
            }
        }
        from.deserialize_any(Text)
    }
}

const fn yes() -> bool {
    true
}
