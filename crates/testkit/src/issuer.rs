use crate::SetClock;
use bytes::Bytes;
use decision::Clock;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use jose::{Algorithm, Header, SigningKey, Token};
use serde_json::{Map, Value, json};
use std::collections::VecDeque;
use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// An identity provider of somebody else's, on loopback without TLS: metadata, a key set, and a token endpoint that gives
/// whatever is asked for, as a mock does. What it is asked is kept, and what it answers next can be said. Ends when it is
/// dropped.
pub struct Issuer {
    address: SocketAddr,
    state: Arc<State>,
    task: JoinHandle<()>,
}

/// What its refresh tokens begin with; the user stands behind it.
const REFRESH_TOKEN: &str = "kept back: ";

/// What the token endpoint was asked.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The form, in its order.
    pub form: Vec<(String, String)>,
    /// The headers.
    pub headers: HeaderMap,
}

impl Asked {
    /// A field of the form.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.form.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// What the token endpoint does once, in place of giving a token.
#[derive(Clone, Debug)]
pub enum Next {
    /// Answers so.
    Answer {
        /// The status.
        status: u16,
        /// Headers beside the body's type.
        headers: Vec<(&'static str, String)>,
        /// The body.
        body: String,
    },
    /// Never answers.
    Hang,
    /// Closes the connection.
    Close,
}

impl Next {
    /// An answer without further headers.
    pub fn answer(status: u16, body: impl Into<String>) -> Self {
        Self::Answer { status, headers: Vec::new(), body: body.into() }
    }
}

struct State {
    clock: SetClock,
    key: SigningKey,
    jwks: Mutex<Option<String>>,
    metadata_fetches: AtomicUsize,
    key_fetches: AtomicUsize,
    numbers: AtomicU64,
    asked: Mutex<Vec<Asked>>,
    next: Mutex<VecDeque<Next>>,
}

type Answered = Result<Response<Full<Bytes>>, io::Error>;

impl Issuer {
    /// Begins to serve on a free port.
    ///
    /// # Errors
    /// If the port or the key cannot be had.
    pub async fn start(clock: SetClock, algorithm: Algorithm) -> Result<Self, Box<dyn Error + Send + Sync>> {
        let key = SigningKey::generate(algorithm)?;
        let state = Arc::new(State {
            clock,
            key,
            jwks: Mutex::default(),
            metadata_fetches: AtomicUsize::new(0),
            key_fetches: AtomicUsize::new(0),
            numbers: AtomicU64::new(0),
            asked: Mutex::default(),
            next: Mutex::default(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let serving = Arc::clone(&state);
        let task = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let state = Arc::clone(&serving);
                let service = service_fn(move |request| {
                    let state = Arc::clone(&state);
                    async move { state.answer(address, request).await }
                });
                tokio::spawn(async move {
                    let _ = Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(socket), service).await;
                });
            }
        });
        Ok(Self { address, state, task })
    }

    /// Its issuer, `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Its metadata document.
    pub fn metadata_url(&self) -> String {
        format!("{}/.well-known/openid-configuration", self.url())
    }

    /// Its key set.
    pub fn jwks_url(&self) -> String {
        format!("{}/jwks", self.url())
    }

    /// Its token endpoint.
    pub fn token_url(&self) -> String {
        format!("{}/token", self.url())
    }

    /// The key that it signs with.
    pub fn key(&self) -> &SigningKey {
        &self.state.key
    }

    /// From now on its key set is this text.
    pub fn publish(&self, jwks: impl Into<String>) {
        *lock(&self.state.jwks) = Some(jwks.into());
    }

    /// What the token endpoint does next, before anything that was said before.
    pub fn next(&self, next: Next) {
        lock(&self.state.next).push_back(next);
    }

    /// What the token endpoint was asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        lock(&self.state.asked).clone()
    }

    /// How often its key set was fetched.
    pub fn key_fetches(&self) -> usize {
        self.state.key_fetches.load(Ordering::SeqCst)
    }

    /// How often its metadata was fetched.
    pub fn metadata_fetches(&self) -> usize {
        self.state.metadata_fetches.load(Ordering::SeqCst)
    }

    /// A token that it signs, with these claims over the usual ones; `null` takes one away.
    pub fn token(&self, claims: &Value) -> String {
        self.state.token(&self.url(), claims)
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl State {
    async fn answer(&self, address: SocketAddr, request: Request<Incoming>) -> Answered {
        let url = format!("http://{address}");
        match request.uri().path() {
            "/.well-known/openid-configuration" => {
                self.metadata_fetches.fetch_add(1, Ordering::SeqCst);
                let document = json!({
                    "issuer": url, "jwks_uri": format!("{url}/jwks"), "token_endpoint": format!("{url}/token"),
                    "authorization_endpoint": format!("{url}/authorize"), "end_session_endpoint": format!("{url}/logout"),
                });
                Ok(response(200, &[], document.to_string()))
            }
            "/jwks" => {
                self.key_fetches.fetch_add(1, Ordering::SeqCst);
                let usual = || json!({ "keys": [self.key.public_jwk()] }).to_string();
                Ok(response(200, &[], lock(&self.jwks).clone().unwrap_or_else(usual)))
            }
            "/token" => self.asked(&url, request).await,
            _ => Ok(response(404, &[], String::new())),
        }
    }

    async fn asked(&self, url: &str, request: Request<Incoming>) -> Answered {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        let form: Vec<(String, String)> = url::form_urlencoded::parse(&body).into_owned().collect();
        let asked = Asked { form, headers: parts.headers };
        lock(&self.asked).push(asked.clone());
        let next = lock(&self.next).pop_front();
        match next {
            Some(Next::Answer { status, headers, body }) => Ok(response(status, &headers, body)),
            Some(Next::Hang) => std::future::pending().await,
            Some(Next::Close) => Err(io::Error::other("closed")),
            None => Ok(self.granted(url, &asked)),
        }
    }

    /// As mocks do: everything is granted but what cannot be understood.
    fn granted(&self, url: &str, asked: &Asked) -> Response<Full<Bytes>> {
        let refused = |error: &str, text: &str| {
            response(400, &[], json!({ "error": error, "error_description": text }).to_string())
        };
        let target = asked.field("scope").or(asked.field("audience")).unwrap_or_default();
        let mut claims = Map::new();
        let mut set = |name: &str, value: Value| drop(claims.insert(name.to_owned(), value));
        set("sub", asked.field("client_id").unwrap_or_default().into());
        set("aud", target.into());
        let on_behalf = asked.field("requested_token_use").is_some();
        let subject = if on_behalf { asked.field("assertion") } else { asked.field("subject_token") };
        match (subject, asked.field("assertion")) {
            (Some(""), _) => {
                return refused("invalid_request", "invalid request: missing or empty assertion parameter");
            }
            (Some(token), _) => match Token::parse(token).and_then(|token| token.peek()) {
                Ok(read) => set("sub", read.get("sub").cloned().unwrap_or_default()),
                Err(_) => return refused("invalid_grant", "the assertion is not a token"),
            },
            (None, Some(assertion)) => {
                let Ok(read) = Token::parse(assertion).and_then(|token| token.peek()) else {
                    return refused("invalid_grant", "the assertion is not a token");
                };
                set("sub", read.get("iss").cloned().unwrap_or_default());
                for name in ["scope", "resource", "authorization_details"] {
                    if let Some(value) = read.get(name) {
                        set(name, value.clone());
                    }
                }
            }
            (None, None) => {}
        }
        // The user whose refresh token it is, or whom an agent is.
        let refreshed = asked.field("refresh_token").and_then(|token| token.strip_prefix(REFRESH_TOKEN));
        if let Some(user) = refreshed.or(asked.field("username")).or(asked.field("user_id")) {
            set("sub", user.into());
        }
        let confirmation = asked.field("req_cnf");
        if let Some(confirmation) = confirmation {
            set("cnf", confirmation.into());
        }
        let refresh_token = format!("{REFRESH_TOKEN}{}", claims.get("sub").and_then(Value::as_str).unwrap_or_default());
        let token = self.token(url, &Value::Object(claims));
        let kind = if confirmation.is_some() { "pop" } else { "Bearer" };
        let body = json!({
            "access_token": token, "token_type": kind, "expires_in": 3600, "refresh_token": refresh_token,
        });
        response(200, &[], body.to_string())
    }

    fn token(&self, url: &str, claims: &Value) -> String {
        let now = self.clock.now().0;
        let number = self.numbers.fetch_add(1, Ordering::SeqCst);
        let mut all = Map::new();
        for (name, value) in [
            ("iss", json!(url)),
            ("sub", json!("ada")),
            ("aud", json!("default")),
            ("iat", json!(now)),
            ("nbf", json!(now)),
            ("exp", json!(now + 3600)),
            ("jti", json!(format!("{url}#{number}"))),
        ] {
            all.insert(name.to_owned(), value);
        }
        for (name, value) in claims.as_object().into_iter().flatten() {
            all.insert(name.clone(), value.clone());
        }
        all.retain(|_, value| !value.is_null());
        self.key.sign(&Header::typ("JWT"), Value::Object(all).to_string().as_bytes()).unwrap_or_default()
    }
}

fn response(status: u16, headers: &[(&'static str, String)], body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or_default();
    for (name, value) in headers {
        if let Ok(value) = value.parse() {
            response.headers_mut().append(*name, value);
        }
    }
    response
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
