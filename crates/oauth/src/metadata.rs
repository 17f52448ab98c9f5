//! Authorization server metadata (RFC 8414, OpenID Connect Discovery 1.0), with Entra's members.
//!
//! ```
//! # use deputize_oauth as oauth;
//! let read: oauth::metadata::Metadata = serde_json::from_str(r#"{"issuer":"https://id.example","jwks_uri":"https://id.example/keys"}"#).unwrap();
//! assert_eq!(read.jwks_uri.as_deref(), Some("https://id.example/keys"));
//! ```
use serde::{Deserialize, Serialize};
use serde_json::Value;

macro_rules! metadata {
    ($($(#[$doc:meta])* $name:ident: $type:ty,)*) => {
        /// What an issuer publishes about itself. All but the issuer is optional; unknown members are ignored.
        #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        pub struct Metadata {
            /// The issuer, as it stands in `iss`; with the literal `{tenantid}` on Entra's aliases.
            pub issuer: String,
            $($(#[$doc])* #[serde(default, skip_serializing_if = "Option::is_none")] pub $name: Option<$type>,)*
        }
    };
}

metadata! {
    /// Where users sign in.
    authorization_endpoint: String,
    /// Where grants are redeemed.
    token_endpoint: String,
    /// Where devices begin (RFC 8628).
    device_authorization_endpoint: String,
    /// Where users sign out (RP-initiated logout).
    end_session_endpoint: String,
    /// OpenID Connect Core section 5.3.
    userinfo_endpoint: String,
    /// The key set.
    jwks_uri: String,
    /// RFC 7662.
    introspection_endpoint: String,
    /// RFC 7009.
    revocation_endpoint: String,
    /// RFC 7591.
    registration_endpoint: String,
    /// RFC 9126.
    pushed_authorization_request_endpoint: String,
    /// Whether the issuer takes pushed requests only (RFC 9126).
    require_pushed_authorization_requests: bool,
    /// Client authentication at the token endpoint.
    token_endpoint_auth_methods_supported: Vec<String>,
    /// Algorithms of client assertions.
    token_endpoint_auth_signing_alg_values_supported: Vec<String>,
    /// Client authentication at the introspection endpoint.
    introspection_endpoint_auth_methods_supported: Vec<String>,
    /// Client authentication at the revocation endpoint.
    revocation_endpoint_auth_methods_supported: Vec<String>,
    /// `query`, `fragment`, `form_post`.
    response_modes_supported: Vec<String>,
    /// `code`.
    response_types_supported: Vec<String>,
    /// The grants.
    grant_types_supported: Vec<String>,
    /// PKCE methods (RFC 7636).
    code_challenge_methods_supported: Vec<String>,
    /// `pairwise` or `public`.
    subject_types_supported: Vec<String>,
    /// Algorithms of ID tokens.
    id_token_signing_alg_values_supported: Vec<String>,
    /// Algorithms of DPoP proofs (RFC 9449).
    dpop_signing_alg_values_supported: Vec<String>,
    /// The scopes that every client may ask for.
    scopes_supported: Vec<String>,
    /// The claims that tokens may carry.
    claims_supported: Vec<String>,
    /// Whether `claims` is understood (OpenID Connect Core section 5.5).
    claims_parameter_supported: bool,
    /// The authentication contexts (RFC 9470).
    acr_values_supported: Vec<String>,
    /// `prompt` values.
    prompt_values_supported: Vec<String>,
    /// Whether answers carry `iss` (RFC 9207).
    authorization_response_iss_parameter_supported: bool,
    /// Whether `request` is understood.
    request_parameter_supported: bool,
    /// Whether `request_uri` is understood.
    request_uri_parameter_supported: bool,
    /// Whether access tokens may be bound to certificates (RFC 8705).
    tls_client_certificate_bound_access_tokens: bool,
    /// Endpoints for mutual TLS (RFC 8705).
    mtls_endpoint_aliases: Value,
    /// Languages of the pages.
    ui_locales_supported: Vec<String>,
    /// For developers.
    service_documentation: String,
    /// The issuer's policy.
    op_policy_uri: String,
    /// The terms of service.
    op_tos_uri: String,
    /// Metadata as a JWT (RFC 8414 section 2.1).
    signed_metadata: String,
    /// Entra: sign-out over HTTP.
    http_logout_supported: bool,
    /// Front-channel logout.
    frontchannel_logout_supported: bool,
    /// Whether it says `iss` and `sid`.
    frontchannel_logout_session_supported: bool,
    /// Entra: integrated Windows sign-in.
    kerberos_endpoint: String,
    /// Entra: the tenant's region; `null` on aliases.
    tenant_region_scope: Value,
    /// Entra: the cloud.
    cloud_instance_name: String,
    /// Entra: the cloud's graph.
    cloud_graph_host_name: String,
    /// Entra: Microsoft Graph's host.
    msgraph_host: String,
    /// Entra: role-based access control.
    rbac_url: String,
    /// Entra v1: refresh tokens serve several resources.
    microsoft_multi_refresh_token: bool,
    /// Entra v1: session management.
    check_session_iframe: String,
}
