//! Metadata in its three well-known places (RFC 8414, OpenID Connect Discovery; spec/entra.md section 2.2).
use super::endpoint::{CORRELATION, Caller, Endpoint, Readers, Route};
use super::public_document;
use super::refusal::{Correlation, refusal};
use crate::Authority;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use deputize_core::conditional_access;
use deputize_core::denial::Denial;
use deputize_core::endpoint::EndpointVersion;
use deputize_core::grant;
use deputize_core::token_endpoint::{find_tenant, is_alias};
use oauth::metadata::Metadata;

pub(super) const ENDPOINTS: &[Endpoint] = &[Endpoint {
    title: "Metadata",
    purpose: "What this authority offers, in its three well-known places (OpenID Connect Discovery, RFC 8414).",
    routes: &[
        Route { path: "/{tenant}/v2.0/.well-known/openid-configuration", handler: || get(appended) },
        Route { path: "/.well-known/openid-configuration/{tenant}/v2.0", handler: || get(appended) },
        Route { path: "/.well-known/oauth-authorization-server/{tenant}/v2.0", handler: || get(appended) },
        Route { path: "/{tenant}/.well-known/openid-configuration", handler: || get(v1) },
        Route { path: "/.well-known/openid-configuration/{tenant}", handler: || get(v1) },
        Route { path: "/.well-known/oauth-authorization-server/{tenant}", handler: || get(v1) },
    ],
    methods: &["GET"],
    parameters: &[&[CORRELATION]],
    caller: Caller::Program,
    readers: Readers::Any,
    notes: &[
        "Under an alias `issuer` is a template, `{tenantid}`; asked for by domain, everything comes back with the tenant's id.",
        "Paths with `v2.0` describe the v2.0 endpoints, the others v1.0.",
    ],
}];

pub(super) async fn appended(
    State(authority): State<Authority>,
    Path(tenant): Path<String>,
    request: Request,
) -> Response {
    served(&authority, EndpointVersion::V2, tenant, &request)
}

/// Of the v1.0 endpoints (spec/entra.md section 2.2, "v1 document").
pub(super) async fn v1(State(authority): State<Authority>, Path(tenant): Path<String>, request: Request) -> Response {
    served(&authority, EndpointVersion::V1, tenant, &request)
}

fn served(authority: &Authority, version: EndpointVersion, tenant: String, request: &Request) -> Response {
    let ports = &authority.ports;
    let snapshot = ports.directory.snapshot();
    let contexts = find_tenant(&snapshot, &tenant).map(|found| conditional_access::contexts(found));
    // Asked for by domain, everything comes back with the id; an alias keeps its name, and its issuer is a template.
    let (segment, issuer) = match find_tenant(&snapshot, &tenant) {
        Some(found) => (found.tenant.id.to_string(), found.tenant.id.to_string()),
        None if is_alias(&tenant) => (tenant, "{tenantid}".to_owned()),
        None => return unknown(authority, &tenant, request),
    };
    let document = match version {
        EndpointVersion::V1 => document_v1(&ports.host, &segment, &issuer),
        EndpointVersion::V2 => Metadata {
            acr_values_supported: contexts.filter(|contexts| !contexts.is_empty()),
            ..document(&ports.host, &segment, &issuer)
        },
    };
    public_document(serde_json::to_vec(&document).unwrap_or_default())
}

/// How confidential clients authenticate.
const CONFIDENTIAL: [&str; 3] = ["client_secret_post", "private_key_jwt", "client_secret_basic"];

fn document(host: &str, segment: &str, issuer: &str) -> Metadata {
    let all = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let words = |words: &[&str]| Some(all(words));
    // A token says which tenant it is of, so these are asked there and not under an alias.
    let own = !is_alias(segment);
    let of_tenant = |name: &str| own.then(|| format!("{host}/{segment}/oauth2/v2.0/{name}"));
    let mut grants: Vec<&str> = grant::ALL.iter().map(|grant| grant.grant_type.as_str()).collect();
    grants.dedup();
    Metadata {
        issuer: EndpointVersion::V2.issuer(host, issuer),
        authorization_endpoint: Some(format!("{host}/{segment}/oauth2/v2.0/authorize")),
        token_endpoint: Some(format!("{host}/{segment}/oauth2/v2.0/token")),
        device_authorization_endpoint: Some(format!("{host}/{segment}/oauth2/v2.0/devicecode")),
        end_session_endpoint: Some(format!("{host}/{segment}/oauth2/v2.0/logout")),
        userinfo_endpoint: Some(format!("{host}/{segment}/openid/userinfo")),
        introspection_endpoint: of_tenant("introspect"),
        introspection_endpoint_auth_methods_supported: own.then(|| all(&CONFIDENTIAL)),
        revocation_endpoint: of_tenant("revoke"),
        revocation_endpoint_auth_methods_supported: own.then(|| all(&[&CONFIDENTIAL[..], &["none"]].concat())),
        jwks_uri: Some(format!("{host}/{segment}/discovery/v2.0/keys")),
        token_endpoint_auth_methods_supported: words(&[
            "client_secret_post",
            "private_key_jwt",
            "client_secret_basic",
            "none",
        ]),
        token_endpoint_auth_signing_alg_values_supported: words(&["RS256", "PS256"]),
        response_modes_supported: words(&["query", "fragment", "form_post"]),
        response_types_supported: words(&["code", "id_token"]),
        grant_types_supported: words(&grants),
        code_challenge_methods_supported: words(&["S256"]),
        subject_types_supported: words(&["pairwise"]),
        id_token_signing_alg_values_supported: words(&["RS256"]),
        scopes_supported: words(&oauth::OIDC_SCOPES),
        claims_supported: words(&[
            "sub",
            "iss",
            "aud",
            "exp",
            "iat",
            "nbf",
            "auth_time",
            "nonce",
            "preferred_username",
            "name",
            "oid",
            "tid",
            "sid",
            "ver",
            "email",
        ]),
        claims_parameter_supported: Some(true),
        prompt_values_supported: words(&["none", "login", "consent", "select_account"]),
        authorization_response_iss_parameter_supported: Some(true),
        request_parameter_supported: Some(false),
        request_uri_parameter_supported: Some(false),
        http_logout_supported: Some(true),
        frontchannel_logout_supported: Some(true),
        frontchannel_logout_session_supported: Some(true),
        tenant_region_scope: None,
        ..Metadata::default()
    }
}

fn document_v1(host: &str, segment: &str, issuer: &str) -> Metadata {
    let v2 = document(host, segment, issuer);
    let claims = ["amr", "family_name", "given_name", "unique_name", "upn"].map(str::to_owned);
    let known = v2.claims_supported.into_iter().flatten().filter(|claim| claim != "preferred_username");
    Metadata {
        issuer: EndpointVersion::V1.issuer(host, issuer),
        authorization_endpoint: Some(format!("{host}/{segment}/oauth2/authorize")),
        token_endpoint: Some(format!("{host}/{segment}/oauth2/token")),
        end_session_endpoint: Some(format!("{host}/{segment}/oauth2/logout")),
        jwks_uri: Some(format!("{host}/{segment}/discovery/keys")),
        scopes_supported: Some(vec!["openid".to_owned()]),
        claims_supported: Some(known.chain(claims).collect()),
        device_authorization_endpoint: Some(format!("{host}/{segment}/oauth2/devicecode")),
        microsoft_multi_refresh_token: Some(true),
        ..v2
    }
}

pub(super) fn unknown(authority: &Authority, tenant: &str, request: &Request) -> Response {
    let shown: String =
        tenant.chars().take(80).map(|c| if c.is_ascii_graphic() && c != '`' { c } else { '?' }).collect();
    let expected = "the id or a domain of a tenant, `common` or `organizations`";
    let denial = Denial::new(decision::CheckId::TenantKnown, expected, format!("`{shown}`"));
    refusal(authority, StatusCode::BAD_REQUEST, &denial, &Correlation::of_query(request))
}
