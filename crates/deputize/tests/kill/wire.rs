//! HTTPS to the authority: a browser's requests and a client's, over connections that are kept.
use super::authority::{PASSWORD, SECRET};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, COOKIE, LOCATION, ORIGIN, SET_COOKIE};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use oauth::Form;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::timeout;

const TENANT: &str = "contoso.example";
const SCOPE: &str = "offline_access api://orders/access_as_user";
const VERIFIER: &str = "a-verifier-of-no-less-than-forty-three-characters";
/// No request of a living authority takes so long.
const PATIENCE: Duration = Duration::from_mins(1);

/// A client of the estate.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) id: &'static str,
    redirect_uri: &'static str,
    has_secret: bool,
    /// Of the native profile: each refresh token works once.
    pub(crate) is_strict: bool,
}

pub(crate) const WEB: Client = Client {
    id: "00000000-0000-4000-8000-000000000001",
    redirect_uri: "https://web.example/callback",
    has_secret: true,
    is_strict: false,
};
pub(crate) const PUBLIC: Client = Client {
    id: "00000000-0000-4000-8000-000000000002",
    redirect_uri: "http://localhost:8400",
    has_secret: false,
    is_strict: false,
};
pub(crate) const STRICT: Client = Client {
    id: "00000000-0000-4000-8000-000000000003",
    redirect_uri: "https://strict.example/callback",
    has_secret: true,
    is_strict: true,
};

/// What is presented to the token endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Code,
    Refresh,
}

/// The connections to one start of the authority, and what it acknowledged over them.
pub(crate) struct Wire {
    pool: Pool<HttpsConnector<HttpConnector>, Full<Bytes>>,
    host: String,
    /// Set just before the kill: until then every request is answered.
    pub(crate) killed: AtomicBool,
    /// `uti` of each token that was received.
    pub(crate) received: Mutex<Vec<String>>,
    /// Token requests that were not answered.
    pub(crate) unanswered: AtomicU64,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

/// How many codes were asked for.
static ASKED: AtomicU64 = AtomicU64::new(0);

impl Wire {
    pub(crate) fn new(ca_pem: &str, host: &str) -> Self {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(ca_pem.as_bytes()).unwrap()).unwrap();
        let tls = rustls::ClientConfig::builder_with_provider(rustls::crypto::aws_lc_rs::default_provider().into())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        let https = hyper_rustls::HttpsConnectorBuilder::new().with_tls_config(tls).https_only().enable_http1();
        // What is sent twice must be sent twice by the test, and counted.
        let pool = Pool::builder(TokioExecutor::new()).retry_canceled_requests(false).build(https.wrap_connector(tcp));
        Self {
            pool,
            host: host.to_owned(),
            killed: AtomicBool::new(false),
            received: Mutex::default(),
            unanswered: AtomicU64::new(0),
        }
    }

    /// A whole answer, or nothing.
    async fn ask(&self, request: Request<Full<Bytes>>) -> Option<Answer> {
        let asked = async {
            let (head, body) = self.pool.request(request).await.ok()?.into_parts();
            let body = body.collect().await.ok()?.to_bytes();
            Some(Answer { status: head.status, headers: head.headers, body })
        };
        timeout(PATIENCE, asked).await.expect("an answer, or a closed connection")
    }

    async fn answered(&self, request: Request<Full<Bytes>>) -> Option<Answer> {
        let answer = self.ask(request).await;
        assert!(answer.is_some() || self.killed.load(Ordering::SeqCst), "a living authority closed a connection");
        answer
    }

    pub(crate) async fn is_ready(&self) -> bool {
        let url = format!("{}/{TENANT}/v2.0/.well-known/openid-configuration", self.host);
        let answer = self.ask(Request::get(url).body(Full::default()).unwrap()).await;
        answer.is_some_and(|answer| answer.status == StatusCode::OK)
    }

    /// Signs in through the pages. Answers the browser's cookies.
    pub(crate) async fn sign_in(&self, upn: &str) -> String {
        let page = self.answered(self.authorization("", &WEB)).await.unwrap();
        assert_eq!(page.status, StatusCode::OK, "the sign-in page");
        let mut cookies = BTreeMap::new();
        keep(&mut cookies, &page.headers);
        let html = String::from_utf8(page.body.to_vec()).unwrap();
        let hidden = |name: &str| {
            let value = html.split(&format!("name=\"{name}\" value=\"")).nth(1).and_then(|rest| rest.split('"').next());
            value.unwrap().replace("&#38;", "&").replace("&amp;", "&")
        };
        let form = Form::default().with("request", &hidden("request")).with("ticket", &hidden("ticket"));
        let form = form.with("username", upn).with("password", PASSWORD);
        let request = Request::post(format!("{}/{TENANT}/sign-in", self.host))
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(ORIGIN, &self.host)
            .header(COOKIE, joined(&cookies));
        let answer = self.answered(request.body(form.encode().into()).unwrap()).await.unwrap();
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "signed in, and back to the client");
        keep(&mut cookies, &answer.headers);
        joined(&cookies)
    }

    /// A code for who is signed in; nothing if no answer came.
    pub(crate) async fn code(&self, cookies: &str, client: &Client) -> Option<String> {
        let answer = self.answered(self.authorization(cookies, client)).await?;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "whoever is signed in is not asked again");
        let location = answer.headers[LOCATION].to_str().unwrap();
        let (back, query) = location.split_once('?').unwrap();
        assert_eq!(back, client.redirect_uri);
        Some(Form::decode(query.as_bytes()).unwrap().value("code").expect("a code").to_owned())
    }

    fn authorization(&self, cookies: &str, client: &Client) -> Request<Full<Bytes>> {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, VERIFIER.as_bytes());
        let query = Form::default()
            .with("client_id", client.id)
            .with("response_type", "code")
            .with("redirect_uri", client.redirect_uri)
            .with("scope", SCOPE)
            // Each asks for something else: the same a thousand times would be a loop.
            .with("claims", &format!("{{\"id_token\":{{\"n{}\":null}}}}", ASKED.fetch_add(1, Ordering::SeqCst)))
            .with("code_challenge", &URL_SAFE_NO_PAD.encode(digest))
            .with("code_challenge_method", "S256");
        let url = format!("{}/{TENANT}/oauth2/v2.0/authorize?{}", self.host, query.encode());
        let request = Request::get(url);
        let request = if cookies.is_empty() { request } else { request.header(COOKIE, cookies) };
        request.body(Full::default()).unwrap()
    }

    /// Presents a code or a refresh token. Nothing if no answer came; else the new refresh token, or that it was refused.
    pub(crate) async fn redeem(&self, client: &Client, kind: Kind, text: &str) -> Option<Result<String, ()>> {
        let form = Form::default().with("client_id", client.id);
        let form = if client.has_secret { form.with("client_secret", SECRET) } else { form };
        let form = match kind {
            Kind::Code => form
                .with("grant_type", "authorization_code")
                .with("code", text)
                .with("redirect_uri", client.redirect_uri)
                .with("code_verifier", VERIFIER),
            Kind::Refresh => form.with("grant_type", "refresh_token").with("refresh_token", text),
        };
        let request = Request::post(format!("{}/{TENANT}/oauth2/v2.0/token", self.host))
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        let Some(answer) = self.answered(request.body(form.encode().into()).unwrap()).await else {
            self.unanswered.fetch_add(1, Ordering::SeqCst);
            return None;
        };
        let body: Value = serde_json::from_slice(&answer.body).unwrap();
        if answer.status != StatusCode::OK {
            assert_eq!((answer.status.as_u16(), &body["error"]), (400, &"invalid_grant".into()), "{body}");
            return Some(Err(()));
        }
        let claims = body["access_token"].as_str().unwrap().split('.').nth(1).unwrap();
        let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
        self.received.lock().unwrap().push(claims["uti"].as_str().unwrap().to_owned());
        Some(Ok(body["refresh_token"].as_str().unwrap().to_owned()))
    }
}

/// A code, or a refresh token that works once, and how often it did.
#[derive(Debug)]
pub(crate) struct Credential {
    pub(crate) client: &'static Client,
    pub(crate) kind: Kind,
    text: String,
    pub(crate) successes: usize,
    pub(crate) unanswered: usize,
    /// A family lives on it, and presenting it again would revoke that.
    pub(crate) is_of_living_family: bool,
}

impl Credential {
    pub(crate) fn new(client: &'static Client, kind: Kind, text: String) -> Self {
        Self { client, kind, text, successes: 0, unanswered: 0, is_of_living_family: false }
    }

    /// Presents it so many times at once. Answers the new refresh token of the success, if there is one.
    pub(crate) async fn present(&mut self, wire: &Arc<Wire>, times: usize) -> Option<String> {
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..times {
            let (wire, text, client, kind) = (Arc::clone(wire), self.text.clone(), self.client, self.kind);
            tasks.spawn(async move { wire.redeem(client, kind, &text).await });
        }
        let mut heir = None;
        for answer in tasks.join_all().await {
            match answer {
                Some(Ok(token)) => {
                    self.successes += 1;
                    heir = Some(token);
                }
                Some(Err(())) => {}
                None => self.unanswered += 1,
            }
        }
        let Self { client, kind, successes, unanswered, .. } = self;
        assert!(*successes <= 1, "{kind:?} of {client:?} worked {successes} times");
        assert!(*successes == 1 || *unanswered > 0, "{kind:?} of {client:?} never worked, and every answer came");
        heir
    }
}

fn keep(cookies: &mut BTreeMap<String, String>, headers: &HeaderMap) {
    for cookie in headers.get_all(SET_COOKIE) {
        let (name, value) = cookie.to_str().unwrap().split(';').next().unwrap().split_once('=').unwrap();
        cookies.insert(name.to_owned(), value.to_owned());
    }
}

fn joined(cookies: &BTreeMap<String, String>) -> String {
    cookies.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ")
}
