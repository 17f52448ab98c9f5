//! `--env FILE`: what another program needs to join in. Secrets are in clear: it is a demo, and the file says so.
use super::world::{CALLBACK, Identity, Person, Registered, SPA, TRAVEL, World};
use crate::data::Data;
use crate::managed_identity::APP_SERVICE;
use deputize_core::workload::TOKEN_EXCHANGE;
use oauth::Secret;
use serde_json::{Map, Value, json};
use std::path::Path;

/// What was asked for besides.
#[derive(Default)]
pub(super) struct More<'a> {
    pub(super) identity_port: Option<u16>,
    pub(super) issuer: Option<&'a str>,
    /// Where Orders finds its sidecar.
    pub(super) sidecar: Option<[(&'static str, String); 3]>,
    /// The configuration of the gateway, and the key of a subscription there.
    pub(super) gateway: Option<(&'a Path, &'a Secret)>,
}

pub(super) fn json(world: &World, secrets: &Data, more: &More<'_>) -> Vec<u8> {
    let person = |it: &Person| json!({"upn": it.upn, "oid": it.oid, "password": it.password.expose()});
    let confidential = |it: &Registered, more: Value| {
        let mut all = json!({
            "app_id": it.app_id, "client_secret": it.secret.expose(), "certificate_file": it.certificate_file,
        });
        if let (Value::Object(all), Value::Object(more)) = (&mut all, more) {
            all.extend(more);
        }
        all
    };
    let orders = json!({"url": world.orders_url(), "identifier_uri": "api://orders", "scopes": ["access_as_user"]});
    let middle = |it: &Registered| json!({"app_id": it.app_id, "client_secret": it.secret.expose()});
    let environment = json!({
        "note": "for the demo on this machine only: secrets are in clear",
        "authority_host": world.host,
        "authority": world.authority(),
        "ca_file": world.ca_file,
        "tenant": {"id": world.tenant_id, "domain": "contoso.example"},
        "users": {"ada": person(&world.ada), "bob": person(&world.bob), "grace": person(&world.grace)},
        "apis": {
            "orders": confidential(&world.orders, orders),
            "billing": {
                "url": world.billing_url(), "app_id": world.billing.app_id, "identifier_uri": "api://billing",
                "scopes": ["Invoices.Read", "Invoices.Approve", "Invoices.Pay"], "app_roles": ["Invoices.Reader"],
            },
        },
        "unconsented": {"client": "orders", "scope": "api://billing/Invoices.Approve"},
        "step_up": {"client": "orders", "scope": "api://payroll/Payslips.Read"},
        "clients": {
            "web": confidential(&world.web, json!({"redirect_uris": [CALLBACK]})),
            "spa": {"app_id": world.spa.app_id, "redirect_uris": [format!("{SPA}/"), format!("{SPA}/redirect")]},
            "native": {"app_id": world.native.app_id, "redirect_uris": ["http://localhost"]},
            "daemon": confidential(&world.daemon, json!({
                "app_roles_at": {"api://billing": ["Invoices.Export"]}, "chain_file": secrets.path("daemon-chain.pem"),
            })),
        },
        "many_tenants": {
            "travel": {
                "app_id": world.travel.app_id, "client_secret": world.travel.secret.expose(), "redirect_uris": [TRAVEL],
            },
            "trips": {
                "app_id": world.trips.app_id, "client_secret": world.trips.secret.expose(),
                "identifier_uri": "api://trips", "scopes": ["Trips.Read", "Trips.Book", "Trips.Approve"],
            },
            "fares": {"app_id": world.fares.app_id, "identifier_uri": "api://fares", "scopes": ["Fares.Read"]},
            "fabrikam": {
                "id": world.fabrikam_id, "domain": "fabrikam.example",
                "users": {"erin": person(&world.erin), "frank": person(&world.frank)},
            },
        },
        "managed_identity": more.identity_port.map(|port| {
            let identity = |it: &Identity| {
                json!({"client_id": it.app_id, "object_id": it.object_id, "resource_id": it.resource_id})
            };
            json!({
                "endpoint": format!("http://127.0.0.1:{port}{APP_SERVICE}"), "header": world.identity_header.expose(),
                "imds": format!("http://127.0.0.1:{port}"),
                "system": identity(&world.site), "user": identity(&world.worker),
            })
        }),
        "issuer": more.issuer.map(|url| json!({
            "url": url, "subject": "workload", "audience": TOKEN_EXCHANGE,
            "certificate_file": secrets.path("localhost.pem"), "key_file": secrets.path("localhost.key"),
        })),
        "sidecar": more.sidecar.as_ref().map(|variables| {
            variables.iter().map(|(name, value)| ((*name).to_owned(), value.as_str().into())).collect::<Map<_, _>>()
        }),
        "gateway": more.gateway.map(|(configuration, key)| json!({
            "url": world.gateway_url(), "app_id": world.gateway.app_id, "identifier_uri": "api://gateway",
            "scopes": ["access_as_user"], "configuration": configuration, "subscription_key": key.expose(),
        })),
        "bench": {
            "RS256-ES256": {
                "middle": middle(&world.orders), "middle_scope": "api://orders/access_as_user",
                "scope": "api://ledger/Entries.Read",
            },
            "ES256-ES256": {
                "middle": middle(&world.reports), "middle_scope": "api://reports/access_as_user",
                "scope": "api://ledger/Entries.Read",
            },
        },
        "pid": std::process::id(),
    });
    let mut bytes = serde_json::to_vec_pretty(&environment).unwrap_or_default();
    bytes.push(b'\n');
    bytes
}
