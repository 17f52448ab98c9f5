//! Orders: an API that needs another API, Billing, to answer its user.
//!
//! The user's token is for Orders alone. Orders exchanges it (On-Behalf-Of) for one that is for Billing, says the same
//! user, and names Orders as the caller. When something is missing further down, our caller is told exactly what.
//!
//! | request | what happens |
//! |---|---|
//! | `GET /orders` | the user's orders, and their invoices from Billing's `GET /invoices` |
//! | `POST /orders/{id}/approve` | Billing's `POST /invoices/{id}/approve` |
//! | `POST /orders/{id}/pay` | Billing's `POST /invoices/{id}/pay`, which takes more of the user: if it lacks, our caller is asked for it |
mod billing;
mod pages;
mod refusal;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use billing::Billing;
use client::{Allow, Client, Endpoints, Fetch, Random, Transport};
use decision::Clock;
use decision::contract::Contract;
use guard::{Guard, Principal};
use oauth::Secret;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// What could not be set up.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Where Orders is, whom it trusts and whom it calls. `example.toml` shows one.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The authority of the tenant: `https://HOST/TENANT`.
    pub authority: String,
    /// The tenant whose users may call.
    pub tenant_id: String,
    /// Orders' application (client) id.
    pub app_id: String,
    /// Orders' application ID URI.
    pub identifier_uri: String,
    /// How Orders authenticates itself to the authority.
    pub client_secret: Secret,
    /// Where Billing answers.
    pub billing_url: String,
    /// Billing's application ID URI: its scopes begin with it.
    pub billing_uri: String,
    /// The origins of the single-page applications that call from a browser.
    #[serde(default)]
    pub spa_origins: Vec<String>,
    /// The certificate authority of both, if it is not a public one.
    pub ca_pem: Option<String>,
    /// Whether they may be on this machine.
    #[serde(default)]
    pub local: bool,
}

impl Config {
    /// What Orders demands of tokens: `contract.toml` with this configuration filled in.
    pub fn contract(&self) -> Result<Contract, Failure> {
        let text = include_str!("../contract.toml")
            .replace("$app_id", &self.app_id)
            .replace("$identifier_uri", &self.identifier_uri)
            .replace("$authority", &self.authority)
            .replace("$tenant_id", &self.tenant_id);
        Ok(toml::from_str(&text)?)
    }
}

/// The API, over the network.
pub fn router(config: &Config, clock: Arc<dyn Clock>, random: Arc<dyn Random>) -> Result<Router, Failure> {
    let allow = if config.local { Allow::INSIDE } else { Allow::default() };
    let network = Fetch::builder().allow(allow);
    let network = match &config.ca_pem {
        Some(pem) => network.ca_pem(pem.as_bytes())?,
        None => network,
    };
    let network = network.build()?;
    let guard = Guard::builder(config.contract()?, Arc::clone(&clock)).fetch(network.clone()).build()?;
    Ok(routes(config, guard, Arc::new(network), clock, random))
}

/// The API behind this guard, over this transport.
pub fn routes(
    config: &Config,
    guard: Guard,
    transport: Arc<dyn Transport>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
) -> Router {
    let client = Client::builder(Endpoints::entra(&config.authority), &config.app_id)
        .secret(config.client_secret.clone())
        .build(Arc::clone(&transport), clock, random);
    let layer = guard.layer();
    let billing = Billing {
        client,
        trace: HeaderMap::new(),
        transport,
        guard,
        url: config.billing_url.trim_end_matches('/').to_owned(),
        uri: config.billing_uri.trim_end_matches('/').to_owned(),
    };
    Router::new()
        .route("/orders", get(orders))
        .route("/orders/{id}/approve", post(approve))
        .route("/orders/{id}/pay", post(pay))
        .layer(layer)
        // Outside of the guard: a browser asks whether it may ask without a token.
        .layer(pages::answer(&config.spa_origins))
        .with_state(Arc::new(billing))
}

async fn orders(State(billing): State<Arc<Billing>>, user: Principal, headers: HeaderMap) -> Response {
    match billing.in_trace(&headers).call(user.token(), Method::GET, "/invoices", "Invoices.Read").await {
        Ok(invoices) => Json(json!({"orders": sample(&user), "invoices": invoices})).into_response(),
        Err(refusal) => refusal.answer(&billing.guard),
    }
}

async fn approve(
    State(billing): State<Arc<Billing>>,
    user: Principal,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    invoice(&billing.in_trace(&headers), &user, &id, "approve", "Invoices.Approve").await
}

async fn pay(
    State(billing): State<Arc<Billing>>,
    user: Principal,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    invoice(&billing.in_trace(&headers), &user, &id, "pay", "Invoices.Pay").await
}

/// Has Billing do something with an invoice.
async fn invoice(billing: &Billing, user: &Principal, id: &str, what: &str, scope: &str) -> Response {
    // The id becomes a part of Billing's URL: `../export` must not become another request with the user's rights.
    if id.is_empty() || !id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        return refusal::problem(StatusCode::NOT_FOUND, "no such invoice", json!({}));
    }
    let path = format!("/invoices/{id}/{what}");
    match billing.call(user.token(), Method::POST, &path, scope).await {
        Ok(done) => Json(done).into_response(),
        Err(refusal) => refusal.answer(&billing.guard),
    }
}

/// Two orders that are the same for everybody: what matters here is next door.
fn sample(user: &Principal) -> Value {
    json!([
        {"id": "ORD-1", "for": user.oid(), "item": "a ream of paper", "pieces": 2},
        {"id": "ORD-2", "for": user.oid(), "item": "a box of pencils", "pieces": 1},
    ])
}
