//! A sidecar with every API, a user, and an API that it calls: what the other files' tests begin with.
use crate::support::{Issuers, NOON, World, explicit, fetch};
use bytes::Bytes;
use fetch::Response as Answer;
use http::{HeaderMap, Method, Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body as HttpBody, Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use serde_json::{Value, json};
use sidecar::{Bind, Bound, Entra, File, Listeners, ManagedIdentity, Native, Settings};
use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use testkit::{Issuer, SetClock};
use tokio::sync::{mpsc, oneshot};

type Body = UnsyncBoxBody<Bytes, hyper::Error>;
type Scripted = Mutex<VecDeque<(u16, Vec<(&'static str, String)>, String)>>;

/// What an API was sent.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Sent {
    pub(crate) fn token(&self) -> String {
        self.headers["authorization"].to_str().unwrap().strip_prefix("Bearer ").unwrap().to_owned()
    }
}

/// An API somewhere else, which keeps what it is sent and answers as it is told.
pub(crate) struct Api {
    pub(crate) url: String,
    inner: Arc<Inner>,
    task: tokio::task::JoinHandle<()>,
}

#[derive(Default)]
struct Inner {
    seen: Mutex<Vec<Sent>>,
    next: Scripted,
    /// Where `/events` sends what is to be said, and `/swallow` how much came of a body, or nothing where it broke off.
    events: Mutex<Option<mpsc::Sender<Bytes>>>,
    swallowed: Mutex<Option<oneshot::Sender<Option<usize>>>>,
}

/// A body whose pieces come when they come.
pub(crate) struct Pieces(pub(crate) mpsc::Receiver<Bytes>);

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Api {
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let inner = Arc::new(Inner::default());
        let serving = Arc::clone(&inner);
        let task = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let inner = Arc::clone(&serving);
                let service = service_fn(move |request| served(request, Arc::clone(&inner)));
                tokio::spawn(async move {
                    let _ = Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(socket), service).await;
                });
            }
        });
        Self { url, inner, task }
    }

    pub(crate) fn seen(&self) -> Vec<Sent> {
        self.inner.seen.lock().unwrap().clone()
    }

    /// What `/events` goes on to say, once it is asked.
    pub(crate) fn events(&self) -> mpsc::Sender<Bytes> {
        self.inner.events.lock().unwrap().take().unwrap()
    }

    /// How much of a body `/swallow` gets; nothing where it breaks off.
    pub(crate) fn swallowed(&self) -> oneshot::Receiver<Option<usize>> {
        let (sender, receiver) = oneshot::channel();
        *self.inner.swallowed.lock().unwrap() = Some(sender);
        receiver
    }

    /// What it answers next.
    pub(crate) fn next(&self, status: u16, headers: &[(&'static str, &str)], body: &str) {
        let headers = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        self.inner.next.lock().unwrap().push_back((status, headers, body.to_owned()));
    }
}

async fn served(request: Request<Incoming>, inner: Arc<Inner>) -> Result<Response<Body>, Infallible> {
    let (seen, next) = (&inner.seen, &inner.next);
    let (parts, mut body) = request.into_parts();
    let mut sent = Sent {
        method: parts.method.to_string(),
        target: parts.uri.to_string(),
        headers: parts.headers,
        body: String::new(),
    };
    match parts.uri.path() {
        "/echo" => {
            seen.lock().unwrap().push(sent);
            return Ok(Response::new(UnsyncBoxBody::new(body)));
        }
        "/events" => {
            let (sender, pieces) = mpsc::channel(1);
            seen.lock().unwrap().push(sent);
            *inner.events.lock().unwrap() = Some(sender);
            let mut answer = Response::new(UnsyncBoxBody::new(Pieces(pieces).map_err(|never| match never {})));
            answer.headers_mut().insert("content-type", "text/event-stream".parse().unwrap());
            return Ok(answer);
        }
        "/swallow" => {
            let mut length = Some(0);
            while let Some(frame) = body.frame().await {
                length = frame.ok().and_then(|frame| Some(length? + frame.into_data().map_or(0, |data| data.len())));
            }
            seen.lock().unwrap().push(sent);
            let told = inner.swallowed.lock().unwrap().take();
            let _ = told.map(|told| told.send(length));
            return Ok(Response::new(UnsyncBoxBody::new(Full::default().map_err(|never| match never {}))));
        }
        _ => {}
    }
    sent.body = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
    seen.lock().unwrap().push(sent);
    let usual = || (200, Vec::new(), r#"{"served":true}"#.to_owned());
    let (status, headers, body) = next.lock().unwrap().pop_front().unwrap_or_else(usual);
    let mut answer = Response::builder().status(status);
    for (name, value) in headers {
        answer = answer.header(name, value);
    }
    let body = Full::new(Bytes::from(body)).map_err(|never| match never {});
    Ok(answer.body(UnsyncBoxBody::new(body)).unwrap())
}

/// The value of the application's `IDENTITY_HEADER`.
pub(crate) const HEADER: &str = "only the application knows";

/// A sidecar with Entra's API, ours, and managed identity.
pub(crate) struct Estate {
    pub(crate) world: World,
    pub(crate) api: Api,
    pub(crate) entra: String,
    pub(crate) native: String,
    pub(crate) identity: String,
    pub(crate) listeners: Listeners,
}

/// The APIs that are called, in the words of the file; `{api}` is where the one is.
const APIS: &str = r#"
    [DownstreamApis.Billing]
    BaseUrl = "{api}"
    Scopes = ["api://billing/.default"]
    [DownstreamApis.Reports]
    BaseUrl = "{api}/v1/"
    RelativePath = "reports"
    Scopes = "api://reports/.default"
    RequestAppToken = true
    [DownstreamApis.Bare]
    BaseUrl = "{api}"
    [DownstreamApis.Nowhere]
    Scopes = ["api://nowhere/.default"]
    [DownstreamApis.Gone]
    BaseUrl = "http://127.0.0.1:1"
    Scopes = ["api://gone/.default"]
    [DownstreamApis.Far]
    BaseUrl = "{api}"
    Scopes = ["default"]
    Provider = "tokenx"
"#;

impl Estate {
    pub(crate) async fn new() -> Self {
        Self::with("", &[]).await
    }

    /// With this beside in the file, and these variables.
    pub(crate) async fn with(file: &str, variables: &[(&str, &str)]) -> Self {
        let clock = SetClock::at(NOON);
        let mut issuers = HashMap::new();
        for name in ["entra_id", "tokenx"] {
            issuers.insert(name, Issuer::start(clock.clone(), jose::Algorithm::ES256).await.unwrap());
        }
        let api = Api::start().await;
        let settings = settings(&issuers, &format!("{file}\n{}", APIS.replace("{api}", &api.url)), variables);
        let world = World::of(settings.clone(), clock, issuers).await;
        let mut listeners = Listeners::new();
        let bind = async || Bound::bind(&Bind::parse("127.0.0.1:0").unwrap()).await.unwrap();
        let (entra, native, identity) = (bind().await, bind().await, bind().await);
        let [at_entra, at_native, at_identity] = [&entra, &native, &identity].map(|bound| bound.address().unwrap());
        let (own, sidecar) = (settings.entra.as_ref().unwrap(), &world.sidecar);
        listeners.add(entra, None, Arc::new(Entra::new(sidecar, &settings, own, &at_entra, fetch()).unwrap()));
        listeners.add(native, None, Arc::new(Native::new(sidecar, &settings, &at_native, fetch()).unwrap()));
        let site = ManagedIdentity::new(sidecar, settings.identity.as_ref().unwrap(), &at_identity).unwrap();
        listeners.add(identity, None, Arc::new(site));
        let [entra, native, identity] = [at_entra, at_native, at_identity].map(|at| format!("http://{at}"));
        Self { world, api, entra, native, identity, listeners }
    }

    /// A user's token for the application.
    pub(crate) fn user(&self, changes: &Value) -> String {
        let now = NOON.0;
        let mut claims = json!({
            "iss": format!("{}/t1/v2.0", self.world.issuer("entra_id").url()), "aud": "api://default", "oid": "ada", "sub": "ada",
            "tid": "t1", "azp": "web", "scp": "access_as_user", "ver": "2.0",
            "uti": "u", "idtyp": "user", "iat": now, "nbf": now, "exp": now + 3_600,
        });
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        self.world.issuer("entra_id").token(&claims)
    }

    /// Sends what a program would, with a user's token unless it is empty.
    pub(crate) async fn send(
        &self,
        method: &str,
        url: &str,
        token: &str,
        headers: &[(&'static str, &str)],
        body: &str,
    ) -> Told {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        if !token.is_empty() {
            map.append("authorization", format!("Bearer {token}").parse().unwrap());
        }
        let method: Method = method.parse().unwrap();
        let body = http_body_util::Full::new(Bytes::from(body.to_owned())).map_err(|never| match never {});
        let sent = fetch().pass(method, url, map, fetch::Passing::new(body), std::time::Duration::from_secs(20)).await;
        let (parts, body) = sent.unwrap().into_parts();
        let text = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
        Told(Answer { status: parts.status, headers: parts.headers, body: text.into() })
    }

    pub(crate) async fn get(&self, url: &str, token: &str) -> Told {
        self.send("GET", url, token, &[], "").await
    }
}

/// Settings with every API, of these issuers.
pub(crate) fn settings(issuers: &Issuers, file: &str, variables: &[(&str, &str)]) -> Settings {
    let mut all = explicit(issuers);
    for (name, value) in [
        ("ENTRA_BIND_ADDRESS", "127.0.0.1:0"),
        ("NATIVE_BIND_ADDRESS", "127.0.0.1:0"),
        ("IDENTITY_BIND_ADDRESS", "127.0.0.1:0"),
        ("IDENTITY_HEADER", HEADER),
    ]
    .iter()
    .chain(variables)
    {
        all.insert((*name).to_owned(), (*value).to_owned());
    }
    let tenant = format!("{}/t1/v2.0", issuers["entra_id"].url());
    all.insert("AZURE_OPENID_CONFIG_ISSUER".to_owned(), tenant);
    let mut file: File = toml::from_str(file).unwrap();
    file.variables = all.iter().filter(|(name, _)| name.contains("__")).map(|(n, v)| (n.clone(), v.clone())).collect();
    Settings::read(&|name| all.get(name).cloned(), Some(file)).unwrap()
}

/// What was answered.
#[derive(Debug)]
pub(crate) struct Told(pub(crate) Answer);

impl Told {
    pub(crate) fn status(&self) -> u16 {
        self.0.status.as_u16()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.body.to_vec()).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.0.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    /// The status and the text of a problem, whose form is checked.
    pub(crate) fn problem(&self) -> (u16, String) {
        assert_eq!(self.0.headers["content-type"], "application/problem+json", "{self:?}");
        assert_eq!(self.0.headers["cache-control"], "no-store");
        let json = self.json();
        assert_eq!(json["status"], self.status());
        for name in ["type", "title"] {
            assert!(json[name].is_string(), "{name}: {json}");
        }
        if json["type"] == "about:blank" {
            assert_eq!(json["title"].as_str(), self.0.status.canonical_reason(), "{json}");
        }
        assert!(self.status() != 401 || !self.challenges().is_empty(), "a 401 says how: {self:?}");
        (self.status(), json["detail"].as_str().unwrap().to_owned())
    }

    pub(crate) fn challenges(&self) -> Vec<String> {
        let all = self.0.headers.get_all("www-authenticate").iter();
        all.map(|value| value.to_str().unwrap().to_owned()).collect()
    }
}
