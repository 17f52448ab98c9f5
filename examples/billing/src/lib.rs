//! Billing: an API that shows users their own invoices. It never asks who is calling: guard has done so by the time a
//! handler runs, and hands it a [`Principal`].
//!
//! | request | who may |
//! |---|---|
//! | `GET /invoices` | an application with the scope `Invoices.Read`, for a user with the app role `Invoices.Reader` |
//! | `POST /invoices/{id}/approve` | an application with the scope `Invoices.Approve`, for a user: their own invoices |
//! | `POST /invoices/{id}/pay` | an application with the scope `Invoices.Pay`, for a user who satisfied the authentication context `c1` |
//! | `GET /export` | a program that acts as itself, with the application role `Invoices.Export` |
//!
//! These rules are in `contract.toml`, and only there.
mod invoices;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use decision::Clock;
use decision::contract::Contract;
use guard::{Allow, Fetch, Guard, Principal};
use invoices::{Books, Owner};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// What could not be set up.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Where Billing is, and whom it trusts. `example.toml` shows one.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The authority of the tenant: `https://HOST/TENANT`.
    pub authority: String,
    /// The tenant whose users and applications may call.
    pub tenant_id: String,
    /// Billing's application (client) id: the `aud` of v2 tokens.
    pub app_id: String,
    /// Billing's application ID URI: the `aud` of v1 tokens, and the beginning of its scopes.
    pub identifier_uri: String,
    /// The authority's certificate authority, if it is not a public one.
    pub ca_pem: Option<String>,
    /// Whether the authority may be on this machine.
    #[serde(default)]
    pub local: bool,
}

impl Config {
    /// What Billing demands of tokens: `contract.toml` with this configuration filled in.
    pub fn contract(&self) -> Result<Contract, Failure> {
        let text = include_str!("../contract.toml")
            .replace("$app_id", &self.app_id)
            .replace("$identifier_uri", &self.identifier_uri)
            .replace("$authority", &self.authority)
            .replace("$tenant_id", &self.tenant_id);
        Ok(toml::from_str(&text)?)
    }
}

/// The API, with a guard that follows the authority's keys.
pub fn router(config: &Config, clock: Arc<dyn Clock>) -> Result<Router, Failure> {
    let allow = if config.local { Allow::INSIDE } else { Allow::default() };
    let network = Fetch::builder().allow(allow);
    let network = match &config.ca_pem {
        Some(pem) => network.ca_pem(pem.as_bytes())?,
        None => network,
    };
    let guard = Guard::builder(config.contract()?, clock).fetch(network.build()?).build()?;
    Ok(routes(&guard))
}

/// The API behind this guard. The guard's layer lies around everything, so that a route without a rule is refused.
pub fn routes(guard: &Guard) -> Router {
    Router::new()
        .route("/invoices", get(invoices))
        .route("/invoices/{id}/approve", post(approve))
        .route("/invoices/{id}/pay", post(pay))
        .route("/export", get(export))
        .layer(guard.layer())
        .with_state(Arc::new(Books::default()))
}

/// The user's own invoices. There is no way to ask for somebody else's: who it is about is in the token.
async fn invoices(State(books): State<Arc<Books>>, principal: Principal) -> Response {
    let Some(owner) = owner(&principal) else { return nobody() };
    Json(json!({
        "user": {"oid": principal.oid(), "name": principal.name()},
        "claims": claims(&principal),
        "invoices": books.of(owner),
    }))
    .into_response()
}

async fn approve(State(books): State<Arc<Books>>, principal: Principal, Path(id): Path<String>) -> Response {
    let Some(owner) = owner(&principal) else { return nobody() };
    match books.approve(owner, &id) {
        Some(invoice) => Json(json!({"claims": claims(&principal), "invoice": invoice})).into_response(),
        None => problem(StatusCode::NOT_FOUND, "no such invoice", "list your invoices with GET /invoices"),
    }
}

async fn pay(State(books): State<Arc<Books>>, principal: Principal, Path(id): Path<String>) -> Response {
    let Some(owner) = owner(&principal) else { return nobody() };
    match books.of(owner).into_iter().find(|invoice| invoice.id == id) {
        Some(invoice) => Json(json!({"claims": claims(&principal), "paid": invoice})).into_response(),
        None => problem(StatusCode::NOT_FOUND, "no such invoice", "list your invoices with GET /invoices"),
    }
}

async fn export(State(books): State<Arc<Books>>, principal: Principal) -> Response {
    Json(json!({"claims": claims(&principal), "approved": books.approvals()})).into_response()
}

/// Invoices belong to a user in a tenant.
fn owner(principal: &Principal) -> Option<Owner<'_>> {
    Some(Owner { tid: principal.tid()?, oid: principal.oid()? })
}

/// What the token says, for readers of the example.
fn claims(principal: &Principal) -> Value {
    json!({
        "oid": principal.oid(),
        "tid": principal.tid(),
        "azp": principal.app(),
        "aud": principal.all_claims().get("aud"),
        "scp": principal.is_user().then(|| principal.scopes().collect::<Vec<_>>().join(" ")),
        "roles": principal.roles().collect::<Vec<_>>(),
        "acrs": principal.acrs().collect::<Vec<_>>(),
    })
}

fn nobody() -> Response {
    problem(StatusCode::FORBIDDEN, "the token names no user", "send a token that has `tid` and `oid`")
}

/// A problem document (RFC 9457).
fn problem(status: StatusCode, title: &str, detail: &str) -> Response {
    let body = json!({"type": "about:blank", "title": title, "status": status.as_u16(), "detail": detail});
    (status, [(CONTENT_TYPE, "application/problem+json")], body.to_string()).into_response()
}
