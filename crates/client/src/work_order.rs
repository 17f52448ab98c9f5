//! Work orders: what a queue carries instead of a user's token.
//!
//! During a user's request an API trades the user's token for a handle ([`Client::work_order`]) and puts the handle into its
//! queue. The worker trades it for a token later, with its own credential ([`Client::redeem`]): the authority decides afresh
//! then. Nothing of this is cached: each redemption counts, and no handle is ever answered with another one's token.
//!
//! ```
//! # use client::{Client, WorkOrder};
//! # async fn story(orders: Client, worker: Client, inbound: oauth::Secret) -> Result<(), client::Error> {
//! let wanted = WorkOrder::new("api://billing/Invoices.Read", "Export the invoices of the day").worker("worker's client id");
//! let order = orders.work_order(&inbound, &wanted).await?;
//! // `order.handle` goes into the queue; the worker takes it out at night:
//! match worker.redeem(&order.handle, None, None).await {
//!     Ok(token) => println!("for {} scopes", token.scopes.map_or(0, |scopes| scopes.len())),
//!     Err(error) => match client::presence_needed(&error) {
//!         Some(address) => println!("it waits; its user lets it go on at {address}"),
//!         None => println!("dropped: {error}"),
//!     },
//! }
//! # Ok(()) }
//! ```
use crate::upstream::{self, FormMaker, Repeat};
use crate::{Cause, Client, Error, Scheme, Token, TransportError};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use decision::Timestamp;
use http::header::{ACCEPT, CONTENT_TYPE};
use oauth::{Form, GrantType, Secret, TOKEN_TYPE_ACCESS_TOKEN, TOKEN_TYPE_WORK_ORDER};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::time::{Instant, timeout_at};
use zeroize::Zeroizing;

/// What a work order is to allow. What is left out is as narrow as it can be: one redemption, one day.
#[derive(Clone, Debug)]
pub struct WorkOrder<'a> {
    scope: &'a str,
    purpose: &'a str,
    workers: Vec<Value>,
    message: Option<&'a [u8]>,
    redemptions: Option<u32>,
    seconds: Option<u32>,
}

/// A work order, made.
#[derive(Clone, Debug)]
pub struct MadeOrder {
    /// What goes into the queue: one line.
    pub handle: Secret,
    /// Until when it works.
    pub expires_at: Timestamp,
}

impl<'a> WorkOrder<'a> {
    /// For at most these scopes, space-separated, of one API or of several; and why, for the user and the audit trail.
    pub fn new(scope: &'a str, purpose: &'a str) -> Self {
        Self { scope, purpose, workers: Vec::new(), message: None, redemptions: None, seconds: None }
    }

    /// Whom it is for: an application by its client id, with any of its credentials. It may be called several times.
    #[must_use]
    pub fn worker(mut self, client_id: &str) -> Self {
        self.workers.push(json!({"sub": client_id}));
        self
    }

    /// The same, with this certificate alone (`x5t#S256`).
    #[must_use]
    pub fn worker_with(mut self, client_id: &str, thumbprint: &str) -> Self {
        self.workers.push(json!({"sub": client_id, "cnf": {"x5t#S256": thumbprint}}));
        self
    }

    /// Binds it to the message that describes the work, byte for byte.
    #[must_use]
    pub fn message(self, message: &'a [u8]) -> Self {
        Self { message: Some(message), ..self }
    }

    /// How often it may be redeemed.
    #[must_use]
    pub fn redemptions(self, most: u32) -> Self {
        Self { redemptions: Some(most), ..self }
    }

    /// For how many seconds it works.
    #[must_use]
    pub fn seconds(self, seconds: u32) -> Self {
        Self { seconds: Some(seconds), ..self }
    }

    fn on(&self, form: Form, subject: &Secret) -> Form {
        let form = form
            .with("requested_token_type", TOKEN_TYPE_WORK_ORDER)
            .with("subject_token_type", TOKEN_TYPE_ACCESS_TOKEN)
            .with("subject_token", subject.expose())
            .with("scope", self.scope)
            .with("may_act", &Value::Array(self.workers.clone()).to_string())
            .with("purpose", self.purpose);
        let optional = [
            ("content_digest", self.message.map(content_digest)),
            ("redemptions", self.redemptions.map(|most| most.to_string())),
            ("requested_expiry", self.seconds.map(|seconds| seconds.to_string())),
        ];
        let said = optional.into_iter().filter_map(|(name, value)| Some((name, value?)));
        said.fold(form, |form, (name, value)| form.with(name, &value))
    }
}

/// The authority's answer; it is no bearer token, and nothing may take it for one (RFC 8693 section 2.2.1).
#[derive(Deserialize)]
struct Made {
    access_token: Secret,
    issued_token_type: String,
    expires_in: i64,
}

impl Client {
    /// Trades the token that this API was called with for a handle that workers redeem later. It is asked for once.
    ///
    /// # Errors
    /// As [`Client::on_behalf_of`] would: the order allows what this API could get itself now.
    pub async fn work_order(&self, subject: &Secret, wanted: &WorkOrder<'_>) -> Result<MadeOrder, Error> {
        let inner = &*self.inner;
        let deadline = Instant::now() + inner.upstream.total;
        let endpoints = inner.endpoints(deadline).await?;
        let now = inner.clock.now();
        let form = wanted.on(inner.authenticated(exchange(), &endpoints, now).await?, subject);
        let mut request = http::Request::post(&endpoints.token)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(ACCEPT, "application/json")
            .body(form.into_body())
            .map_err(|_| Error::Request("the token endpoint is not a URL; correct the client's endpoints"))?;
        request.headers_mut().extend(self.trace.clone());
        let sent = timeout_at(deadline, inner.transport.send(request)).await;
        let reply = sent.map_err(|_| TransportError::from(Cause::Timeout))??;
        let max_bytes = inner.upstream.max_bytes;
        if reply.status() != http::StatusCode::OK || reply.body().len() > max_bytes {
            upstream::read(reply, now, max_bytes, Scheme::Bearer)?;
            return Err(NO_ORDER);
        }
        let body = Zeroizing::new(reply.into_body());
        let made: Made = serde_json::from_slice(&body).map_err(|_| NO_ORDER)?;
        if made.issued_token_type != TOKEN_TYPE_WORK_ORDER || made.access_token.expose().is_empty() {
            return Err(NO_ORDER);
        }
        Ok(MadeOrder { handle: made.access_token, expires_at: now.plus(made.expires_in) })
    }

    /// Trades a handle for a token of the user it stands for. `scope` may be left out where the order is for one API;
    /// `message` is what was queued, where the order is bound to it. It is asked for each time: keep the token, while it
    /// lives, with the work that it is for.
    ///
    /// # Errors
    /// [`presence_needed`] tells those that the user can mend from those with which the work is over.
    pub async fn redeem(&self, handle: &Secret, scope: Option<&str>, message: Option<&[u8]>) -> Result<Token, Error> {
        let inner = &*self.inner;
        let digest = message.map(content_digest);
        let optional = [("scope", scope), ("content_digest", digest.as_deref())];
        let form: &FormMaker<'_> = &move |client, endpoints, now| {
            Box::pin(async move {
                let form = client.authenticated(exchange(), endpoints, now).await?;
                let form =
                    form.with("subject_token_type", TOKEN_TYPE_WORK_ORDER).with("subject_token", handle.expose());
                let said = optional.into_iter().filter_map(|(name, value)| Some((name, value?)));
                Ok(said.fold(form, |form, (name, value)| form.with(name, value)))
            })
        };
        let deadline = Instant::now() + inner.upstream.total;
        let endpoints = inner.endpoints(deadline).await?;
        // A redemption that may have arrived counts: it is not sent again unasked.
        inner.request_token(form, &self.trace, Repeat::Once, &endpoints, deadline).await
    }
}

const NO_ORDER: Error =
    Error::Answer("it is no work order (RFC 8693 section 2.2.1); this authority does not know them, it seems");

fn exchange() -> Form {
    Form::default().with("grant_type", GrantType::TokenExchange.as_str())
}

/// Where the user lets an order go on that waits for them; nothing where a refusal is for another reason.
pub fn presence_needed(error: &Error) -> Option<&str> {
    error.body()?.deputize_hint.as_ref()?.get("presenceUrl")?.as_str()
}

/// `Content-Digest` of a message (RFC 9530).
fn content_digest(message: &[u8]) -> String {
    format!("sha-256=:{}:", STANDARD.encode(Sha256::digest(message)))
}
