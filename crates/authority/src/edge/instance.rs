//! Instance discovery (spec/entra.md section 2.4): client libraries ask whether a host is to be trusted.
use super::form::query;
use super::json;
use super::refusal::{Correlation, refusal};
use crate::Authority;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use decision::CheckId;
use deputize_core::denial::Denial;
use deputize_core::token_endpoint;

pub(super) async fn instance(State(authority): State<Authority>, request: Request) -> Response {
    let ports = &authority.ports;
    let correlation = Correlation::of_query(&request);
    let refuse = |denial: Denial| refusal(&authority, StatusCode::BAD_REQUEST, &denial, &correlation);
    let form = match query(&request) {
        Ok(form) => form,
        Err(error) => return refuse(Denial::new(CheckId::RequestWellFormed, "a query", error.to_string())),
    };
    let Some(endpoint) = form.value("authorization_endpoint") else {
        return refuse(Denial::new(CheckId::ParameterPresent, "`authorization_endpoint`", "nothing"));
    };
    let host = ports.host.trim_start_matches("https://");
    // MSAL Python drops the port when it asks.
    let name = host.split(':').next().unwrap_or(host);
    let rest = [host, name].iter().find_map(|host| endpoint.strip_prefix(&format!("https://{host}/")));
    let Some(segment) = rest.and_then(|rest| rest.split('/').next()) else {
        return refuse(Denial::new(
            CheckId::InstanceKnown,
            format!("an endpoint under `{}`", ports.host),
            "another host",
        ));
    };
    let snapshot = ports.directory.snapshot();
    let tenant = token_endpoint::find_tenant(&snapshot, segment);
    let segment = match tenant {
        Some(tenant) => tenant.tenant.id.to_string(),
        None if token_endpoint::is_alias(segment) => segment.to_owned(),
        None => return refuse(Denial::new(CheckId::TenantKnown, "the id or a domain of a tenant", "another one")),
    };
    json(
        StatusCode::OK,
        &serde_json::json!({
            "tenant_discovery_endpoint": format!("{}/{segment}/v2.0/.well-known/openid-configuration", ports.host),
            "api-version": "1.1",
            "metadata": [{"preferred_network": host, "preferred_cache": host, "aliases": [host]}],
        }),
    )
}
