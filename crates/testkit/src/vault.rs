use crate::{SetClock, TlsServer};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use decision::Clock;
use http::{Response, StatusCode};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::error::Error;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What the host's identity endpoint wants to see.
const HEADER: &str = "known on this host only";
/// What tokens for the vault are for.
const RESOURCE: &str = "https://vault.example";

/// A fake vault over TLS, that looks at the tokens it is shown. It speaks Azure Key Vault's contract, with the endpoint from which
/// programs on App Service get tokens for themselves, and that of HashiCorp's key-value engine (version 2) at `secret`.
pub struct Vault {
    server: TlsServer,
    state: Arc<State>,
}

struct State {
    clock: SetClock,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    secrets: HashMap<String, Value>,
    is_down: bool,
    /// Tokens that were given out so far; only the last one counts.
    tokens: u64,
    reads: usize,
    /// Every token that it was shown.
    shown: Vec<String>,
    /// What the host's identity endpoint was asked.
    identities: Vec<String>,
}

impl Vault {
    /// Begins to serve on a free port.
    ///
    /// # Errors
    /// If the port or the certificates cannot be had.
    pub async fn start(clock: SetClock) -> Result<Self, Box<dyn Error + Send + Sync>> {
        let state = Arc::new(State { clock, held: Mutex::default() });
        let answering = Arc::clone(&state);
        let router = Router::new().fallback(move |request: Request| {
            let state = Arc::clone(&answering);
            async move { state.answer(request).await }
        });
        Ok(Self { server: TlsServer::start(router).await?, state })
    }

    /// Its address.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// The authority of its certificate.
    pub fn ca_pem(&self) -> &str {
        self.server.ca_pem()
    }

    /// The host's identity endpoint, and the value of its header.
    pub fn identity(&self) -> (String, &'static str) {
        (format!("{}/msi/token", self.url()), HEADER)
    }

    /// What its tokens are for.
    pub fn resource(&self) -> &'static str {
        RESOURCE
    }

    /// From now on holds this secret under this name.
    pub fn set(&self, name: &str, value: impl Into<String>) {
        let secret = json!({ "value": value.into(), "contentType": null, "attributes": { "enabled": true } });
        self.set_all(name, secret);
    }

    /// The same with all of Key Vault's answer, or with all the fields of a secret of the key-value engine.
    pub fn set_all(&self, name: &str, secret: Value) {
        self.state.held().secrets.insert(name.to_owned(), secret);
    }

    /// Whether it fails from now on.
    pub fn is_down(&self, is_down: bool) {
        self.state.held().is_down = is_down;
    }

    /// Takes back the tokens that it gave out.
    pub fn revoke(&self) {
        self.state.held().tokens += 1;
    }

    /// How often a secret was read.
    pub fn reads(&self) -> usize {
        self.state.held().reads
    }

    /// Every token that it was shown.
    pub fn shown(&self) -> Vec<String> {
        self.state.held().shown.clone()
    }

    /// What the identity endpoint was asked, query by query.
    pub fn identities(&self) -> Vec<String> {
        self.state.held().identities.clone()
    }
}

fn answer(status: u16, body: Value) -> Response<Body> {
    let mut answer = Response::new(Body::from(body.to_string()));
    *answer.status_mut() = StatusCode::from_u16(status).unwrap_or_default();
    answer
}

impl State {
    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn answer(&self, request: Request) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let body = to_bytes(body, 1 << 20).await.unwrap_or_default();
        let field = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let (path, query) = (parts.uri.path(), parts.uri.query().unwrap_or_default());
        let mut held = self.held();
        if held.is_down {
            return answer(503, json!({ "error": { "code": "Down", "message": "" } }));
        }
        if path == "/msi/token" {
            if field("x-identity-header") != HEADER {
                return answer(401, json!({ "error": "unauthorized" }));
            }
            held.identities.push(query.to_owned());
            if !query.contains("resource=") || query.contains("client_id=unknown") {
                return answer(400, json!({ "error": "invalid_request", "error_description": "no such identity" }));
            }
            let token = format!("managed-{}", held.tokens);
            let ends = self.clock.now().0 + 3_600;
            return answer(
                200,
                json!({ "access_token": token, "expires_on": ends.to_string(), "token_type": "Bearer" }),
            );
        }
        if let Some(method) = path.strip_prefix("/v1/auth/") {
            let asked: Value = serde_json::from_slice(&body).unwrap_or_default();
            let known = match method {
                "approle/login" => asked == json!({ "role_id": "gateway", "secret_id": "the role's secret" }),
                "kubernetes/login" => asked == json!({ "role": "gateway", "jwt": "of the pod" }),
                _ => false,
            };
            let token = format!("hvs.{}", held.tokens);
            return if known {
                answer(200, json!({ "auth": { "client_token": token, "lease_duration": 3_600, "renewable": true } }))
            } else {
                answer(400, json!({ "errors": ["invalid"] }))
            };
        }
        if let Some(name) = path.strip_prefix("/v1/secret/data/") {
            let token = field("x-vault-token");
            held.shown.push(token.to_owned());
            if token != format!("hvs.{}", held.tokens) || !matches!(field("x-vault-namespace"), "" | "team") {
                return answer(403, json!({ "errors": ["permission denied"] }));
            }
            held.reads += 1;
            return match held.secrets.get(name) {
                Some(fields) => answer(200, json!({ "data": { "data": fields, "metadata": { "version": 1 } } })),
                None => answer(404, json!({ "errors": [] })),
            };
        }
        let token = field("authorization").strip_prefix("Bearer ").unwrap_or_default();
        if !token.is_empty() {
            held.shown.push(token.to_owned());
        }
        if token != format!("managed-{}", held.tokens) {
            let mut refused = answer(401, json!({ "error": { "code": "Unauthorized", "message": "" } }));
            let challenge = format!(r#"Bearer authorization="https://login.example/t1", resource="{RESOURCE}""#);
            refused.headers_mut().extend(challenge.parse().ok().map(|value| (http::header::WWW_AUTHENTICATE, value)));
            return refused;
        }
        if query != "api-version=7.4" {
            return answer(400, json!({ "error": { "code": "BadParameter", "message": "" } }));
        }
        held.reads += 1;
        match path.strip_prefix("/secrets/").and_then(|name| held.secrets.get(name)) {
            Some(secret) => answer(200, secret.clone()),
            None => answer(404, json!({ "error": { "code": "SecretNotFound", "message": "" } })),
        }
    }
}
