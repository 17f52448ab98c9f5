//! Instance discovery (spec/entra.md section 2.4): client libraries ask whether a host is to be trusted.
use super::endpoint::{CORRELATION, Caller, Endpoint, Readers, Route};
use super::form::query;
use super::json;
use super::refusal::{Correlation, refusal};
use crate::Authority;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use decision::CheckId;
use deputize_core::cloud::{self, CLOUDS, Cloud};
use deputize_core::denial::Denial;
use deputize_core::token_endpoint;
use oauth::{Parameter, Parameters, Place};

pub(super) const ENDPOINTS: &[Endpoint] = &[Endpoint {
    title: "Instance discovery",
    purpose: "Client libraries ask whether a host is to be trusted, and where its metadata is.",
    routes: &[Route { path: "/common/discovery/instance", handler: || get(instance) }],
    methods: &["GET"],
    parameters: &[&[
        Parameters {
            when: "",
            each: &[Parameter::required(
                "authorization_endpoint",
                "An authorization endpoint of this host; another host is AADSTS50049.",
            )
            .at(Place::Query)],
        },
        CORRELATION,
    ]],
    caller: Caller::Program,
    readers: Readers::Any,
    notes: &["`api-version` is not read: all versions are answered as 1.1."],
}];

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
    let cloud = cloud::of(&ports.host);
    let own = [host, name];
    let aliases = cloud.map_or(&own[..], |cloud| cloud.aliases);
    let rest = aliases.iter().find_map(|host| endpoint.strip_prefix(&format!("https://{host}/")));
    // The document of the version that was asked about.
    let v1 = rest.is_some_and(|rest| rest.ends_with("/oauth2/authorize"));
    let document = if v1 { ".well-known/openid-configuration" } else { "v2.0/.well-known/openid-configuration" };
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
            "tenant_discovery_endpoint": format!("{}/{segment}/{document}", ports.host),
            "api-version": "1.1",
            "metadata": metadata(host, cloud),
        }),
    )
}

/// Under a cloud's host, all clouds, as it answers itself; else we stand alone.
fn metadata(host: &str, cloud: Option<&Cloud>) -> serde_json::Value {
    let entry = |host: &str, cache: &str, aliases: &[&str]| serde_json::json!({"preferred_network": host, "preferred_cache": cache, "aliases": aliases});
    match cloud {
        Some(_) => CLOUDS.iter().map(|known| entry(known.host, known.preferred_cache, known.aliases)).collect(),
        None => serde_json::json!([entry(host, host, &[host])]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_under_a_clouds_host_are_its_names_known() {
        let ours = metadata("id.example:8443", None);
        assert_eq!(ours.pointer("/0/aliases"), Some(&serde_json::json!(["id.example:8443"])));
        assert_eq!(ours.as_array().map(Vec::len), Some(1));
        let cloud = metadata("login.microsoftonline.com", cloud::of("https://login.microsoftonline.com"));
        assert_eq!(cloud.pointer("/0/preferred_cache"), Some(&serde_json::json!("login.windows.net")));
        let aliases = cloud.pointer("/0/aliases").and_then(|aliases| aliases.as_array()).unwrap();
        assert!(aliases.contains(&serde_json::json!("sts.windows.net")));
    }
}
