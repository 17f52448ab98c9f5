//! Key sets (spec/entra.md section 2.3).
use super::endpoint::{CORRELATION, Caller, Endpoint, Readers, Route};
use super::{metadata, public_document};
use crate::Authority;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use axum::routing::get;
use deputize_core::token_endpoint::{find_tenant, is_alias};
use jose::{Jwk, SigningKey};

pub(super) const ENDPOINTS: &[Endpoint] = &[Endpoint {
    title: "Keys",
    purpose: "The keys that tokens are signed with (RFC 7517).",
    routes: &[
        Route { path: "/{tenant}/discovery/v2.0/keys", handler: || get(keys) },
        Route { path: "/{tenant}/discovery/keys", handler: || get(keys_v1) },
    ],
    methods: &["GET"],
    parameters: &[&[CORRELATION]],
    caller: Caller::Program,
    readers: Readers::Any,
    notes: &["Keys of the v2.0 document name the issuer they sign for, as a template; those of v1.0 do not."],
}];

pub(super) async fn keys(State(authority): State<Authority>, Path(tenant): Path<String>, request: Request) -> Response {
    let host = authority.ports.host.clone();
    served(&authority, &tenant, Some(&host), &request)
}

pub(super) async fn keys_v1(
    State(authority): State<Authority>,
    Path(tenant): Path<String>,
    request: Request,
) -> Response {
    served(&authority, &tenant, None, &request)
}

/// The same keys for every tenant, but for tenants only.
fn served(authority: &Authority, tenant: &str, host: Option<&str>, request: &Request) -> Response {
    let known = is_alias(tenant) || find_tenant(&authority.ports.directory.snapshot(), tenant).is_some();
    if known {
        public_document(document(authority.signing.in_use(), host))
    } else {
        metadata::unknown(authority, tenant, request)
    }
}

/// The document; with a host, each key names the issuer it signs for, as a template: all tenants share the keys.
fn document<'a>(keys: impl Iterator<Item = &'a SigningKey>, host: Option<&str>) -> String {
    let jwk =
        |key: &SigningKey| Jwk { issuer: host.map(|host| format!("{host}/{{tenantid}}/v2.0")), ..key.public_jwk() };
    let keys: Vec<Jwk> = keys.map(jwk).collect();
    serde_json::json!({ "keys": keys }).to_string()
}
