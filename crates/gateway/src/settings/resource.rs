//! What an API says of itself to callers (RFC 9728).
use super::compile::is_segment;
use super::file::ProtectedResourceTable;
use super::{SettingsError, Spanned, fault};
use crate::protected_resource::{Document, Metadata, WELL_KNOWN};
use crate::routes::Operation;
use guard::Dpop;
use std::sync::Arc;

/// The host of an API's address, the path of its metadata, and the address up to that path (RFC 9728 section 3.1).
pub(super) fn resource(table: &Spanned<ProtectedResourceTable>) -> Result<(String, String, String), SettingsError> {
    let text = &table.get_ref().resource;
    let wrong =
        |problem: &str| fault(&text.span(), problem, "write `https://api.example/orders`, as callers know the API");
    let uri: http::Uri = text.get_ref().parse().map_err(|_| wrong("this is no address"))?;
    let (scheme, authority) = (uri.scheme_str().unwrap_or_default(), uri.authority());
    let authority = authority.filter(|authority| !authority.as_str().contains('@'));
    let authority = authority.ok_or_else(|| wrong("the address names no host, or a user"))?;
    if !matches!(scheme, "https" | "http") || uri.query().is_some() || text.get_ref().contains(['#', '"', '\\']) {
        return Err(wrong("the address has another scheme than `https`, or a query, or a fragment"));
    }
    let path = uri.path().strip_suffix('/').unwrap_or(uri.path());
    if !(path.is_empty() || path.strip_prefix('/').is_some_and(|rest| rest.split('/').all(is_segment))) {
        return Err(wrong("the path of the address is not in its one spelling"));
    }
    let host = authority.host().to_ascii_lowercase();
    Ok((host, format!("{WELL_KNOWN}{path}"), format!("{scheme}://{authority}")))
}

/// An API's metadata: issuers that are not stated are those of its token checks.
pub(super) fn document(
    host: String,
    path: String,
    table: &Spanned<ProtectedResourceTable>,
    operations: &[Arc<Operation>],
) -> Result<Document, SettingsError> {
    let read = table.get_ref();
    let mut servers = read.authorization_servers.clone();
    if servers.is_empty() {
        let checks = operations.iter().flat_map(|operation| &operation.tokens);
        for issuer in checks.flat_map(|check| check.issuers()).filter(|issuer| !issuer.contains('{')) {
            if !servers.iter().any(|known| known == issuer) {
                servers.push(issuer.to_owned());
            }
        }
    }
    if servers.is_empty() {
        let hint = "add `authorization_servers`, or `validate_jwt` with an issuer of one tenant";
        return Err(fault(&table.span(), "nothing says where callers get tokens", hint));
    }
    let proofs: Vec<&Arc<Dpop>> = operations.iter().filter_map(|operation| operation.dpop.as_ref()).collect();
    let mut algorithms: Vec<&'static str> = Vec::new();
    for algorithm in proofs.iter().flat_map(|dpop| dpop.taken()) {
        if !algorithms.contains(&algorithm.as_str()) {
            algorithms.push(algorithm.as_str());
        }
    }
    let mut methods: Vec<&'static str> = Vec::new();
    for method in operations.iter().flat_map(|operation| &operation.tokens).filter_map(|check| check.method()) {
        if !methods.contains(&method) {
            methods.push(method);
        }
    }
    let metadata = Metadata {
        dpop_signing_alg_values_supported: algorithms,
        dpop_bound_access_tokens_required: proofs.len() == operations.len() && proofs.iter().all(|d| d.is_required()),
        resource: read.resource.get_ref().clone(),
        authorization_servers: servers,
        scopes_supported: read.scopes_supported.clone(),
        bearer_methods_supported: methods,
        resource_name: read.resource_name.clone(),
        resource_documentation: read.resource_documentation.clone(),
    };
    Ok(Document::new(host, path, &metadata))
}
