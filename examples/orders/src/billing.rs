//! Calling Billing on behalf of the user who called us.
use client::{Body, Client, Transport, challenge_in};
use guard::Guard;
use http::header::HeaderName;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use oauth::Secret;
use serde_json::Value;
use std::sync::Arc;

/// Billing, as Orders may call it.
#[derive(Clone)]
pub(crate) struct Billing {
    pub(crate) client: Client,
    pub(crate) guard: Guard,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) url: String,
    pub(crate) uri: String,
    /// The trace context of the request that is answered.
    pub(crate) trace: HeaderMap,
}

/// Why Billing gave no answer.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// There was no token to call it with.
    Token(client::Error),
    /// Billing itself refused: its status, and its problem document.
    Billing(StatusCode, Value),
    /// No answer.
    Unreachable,
}

impl Billing {
    /// Billing, while one request is answered: the authority and Billing see that all of it is one.
    pub(crate) fn in_trace(&self, inbound: &HeaderMap) -> Self {
        let names = ["traceparent", "tracestate"].into_iter();
        let trace = names.filter_map(|name| Some((HeaderName::from_static(name), inbound.get(name)?.clone())));
        Self { client: self.client.in_trace(inbound), trace: trace.collect(), ..self.clone() }
    }

    /// Calls Billing with a token that says both who the user is and that it is Orders who calls. The user's own token
    /// is for Orders: it is exchanged, and never passed on.
    pub(crate) async fn call(&self, user: &Secret, method: Method, path: &str, scope: &str) -> Result<Value, Refusal> {
        let scope = format!("{}/{scope}", self.uri);
        let token = self.client.on_behalf_of(user, &[&scope], None).await.map_err(Refusal::Token)?;
        let mut answer = self.send(&method, path, &token.access_token).await?;
        // Billing may want more of the user than this token proves. The authority knows whether the user has shown it
        // already; if not, it answers with the claims challenge that our own caller has to meet.
        if let Some(client::Error::Challenged { claims }) = challenge_in(&answer) {
            let stronger = self.client.on_behalf_of(user, &[&scope], Some(&claims)).await.map_err(Refusal::Token)?;
            answer = self.send(&method, path, &stronger.access_token).await?;
            // Still not enough: it is for the user to do.
            if let Some(challenged) = challenge_in(&answer) {
                return Err(Refusal::Token(challenged));
            }
        }
        let body = serde_json::from_slice(answer.body()).unwrap_or_default();
        if answer.status().is_success() { Ok(body) } else { Err(Refusal::Billing(answer.status(), body)) }
    }

    async fn send(&self, method: &Method, path: &str, token: &Secret) -> Result<Response<Vec<u8>>, Refusal> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url))
            .header(header::AUTHORIZATION, format!("Bearer {}", token.expose()))
            .body(Body::default())
            .map_err(|_| Refusal::Unreachable)?;
        request.headers_mut().extend(self.trace.clone());
        self.transport.send(request).await.map_err(|_| Refusal::Unreachable)
    }
}
