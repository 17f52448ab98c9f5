//! Key sets (spec/entra.md section 2.3).
use super::public_document;
use crate::Authority;
use axum::extract::State;
use axum::response::Response;
use jose::{Jwk, SigningKey};

pub(super) async fn keys(State(authority): State<Authority>) -> Response {
    public_document(authority.keys.to_string())
}

pub(super) async fn keys_v1(State(authority): State<Authority>) -> Response {
    public_document(authority.keys_v1.to_string())
}

/// The document; with a host, each key names the issuer it signs for, as a template: all tenants share the keys.
pub(crate) fn document(keys: &[SigningKey], host: Option<&str>) -> String {
    let jwk =
        |key: &SigningKey| Jwk { issuer: host.map(|host| format!("{host}/{{tenantid}}/v2.0")), ..key.public_jwk() };
    let keys: Vec<Jwk> = keys.iter().map(jwk).collect();
    serde_json::json!({ "keys": keys }).to_string()
}
