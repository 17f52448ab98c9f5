//! A world: an issuer, a service that keeps every byte it is sent, and a gateway before it.
use client::TokenCache;
use client::managed_identity::ManagedIdentity;
use decision::{Clock, Timestamp};
use fetch::{Allow, Fetch, KeySets};
use gateway::{AccessLog, File, Front, Gateway, Ids, Ports, Telemetry};
use jose::Algorithm;
use serde_json::{Value, json};
use serve::{Listeners, Socket};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use testkit::{Issuer, SetClock};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{advance, pause, resume};

pub(crate) const NOON: Timestamp = Timestamp(1_800_000_000);
pub(crate) const ISS: &str = "https://id.example/t1/v2.0";
/// How long anything may take that is waited for.
const LONGEST: Duration = Duration::from_secs(20);

/// A service over HTTP/1.1 that keeps what it is sent.
pub(crate) struct Service {
    pub(crate) url: String,
    seen: Arc<Mutex<Vec<String>>>,
    answers: Arc<Mutex<Vec<String>>>,
}

impl Service {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (seen, answers) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(Vec::<String>::new())));
        let (keeps, gives) = (Arc::clone(&seen), Arc::clone(&answers));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&keeps), Arc::clone(&gives)));
            }
        });
        Self { url, seen, answers }
    }

    /// Every request that it was sent, byte for byte.
    pub(crate) fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }

    pub(crate) fn forget(&self) {
        self.seen.lock().unwrap().clear();
    }

    /// What it answers next, byte for byte; after that it closes.
    pub(crate) fn answers(&self, text: &str) {
        self.answers.lock().unwrap().push(text.to_owned());
    }

    /// The one request that it was sent.
    pub(crate) fn only(&self) -> Seen {
        let seen = self.seen();
        assert_eq!(seen.len(), 1, "{seen:#?}");
        Seen(seen.into_iter().next().unwrap())
    }
}

async fn serve(mut stream: TcpStream, seen: Arc<Mutex<Vec<String>>>, answers: Arc<Mutex<Vec<String>>>) {
    let mut waiting = Vec::new();
    loop {
        while whole(&waiting).is_none() {
            let mut some = vec![0; 16 << 10];
            match stream.read(&mut some).await {
                Ok(length) if length > 0 => waiting.extend_from_slice(&some[..length]),
                // What is left over is kept too: half a request is one more than there should be.
                _ if waiting.is_empty() => return,
                _ => return seen.lock().unwrap().push(format!("BROKEN OFF: {}", String::from_utf8_lossy(&waiting))),
            }
        }
        let rest = waiting.split_off(whole(&waiting).unwrap());
        seen.lock().unwrap().push(String::from_utf8_lossy(&waiting).into_owned());
        let is_head = waiting.starts_with(b"HEAD ");
        waiting = rest;
        let said = {
            let mut answers = answers.lock().unwrap();
            (!answers.is_empty()).then(|| answers.remove(0))
        };
        if let Some(text) = said {
            let _ = stream.write_all(text.as_bytes()).await;
            return;
        }
        let body = if is_head { "" } else { "good" };
        let head = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\nx-service: yes\r\n\r\n";
        if stream.write_all(format!("{head}{body}").as_bytes()).await.is_err() {
            return;
        }
    }
}

/// Where the first message ends, if all of it is there.
pub(crate) fn whole(bytes: &[u8]) -> Option<usize> {
    let text = String::from_utf8_lossy(bytes);
    let head = text.find("\r\n\r\n")? + 4;
    let field = |name: &str| {
        let lines = text[..head].lines().filter_map(|line| line.split_once(':'));
        lines.into_iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.trim().to_owned())
    };
    if let Some(length) = field("content-length") {
        let end = head + length.parse::<usize>().ok()?;
        return (bytes.len() >= end).then_some(end);
    }
    if field("transfer-encoding").is_some() {
        return text[head..].find("0\r\n\r\n").map(|at| head + at + 5);
    }
    Some(head)
}

/// A request as the service got it.
#[derive(Debug)]
pub(crate) struct Seen(pub(crate) String);

impl Seen {
    pub(crate) fn line(&self) -> &str {
        self.0.lines().next().unwrap()
    }

    pub(crate) fn target(&self) -> &str {
        self.line().split(' ').nth(1).unwrap()
    }

    /// The values of a field, of exactly this name.
    pub(crate) fn field(&self, name: &str) -> Vec<&str> {
        let lines = self.0.split("\r\n\r\n").next().unwrap().lines().skip(1);
        let pairs = lines.filter_map(|line| line.split_once(": "));
        pairs.filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v).collect()
    }
}

/// An answer as the caller got it.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
    /// Whether the connection was closed after it.
    pub(crate) closed: bool,
}

impl Answered {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    pub(crate) fn field(&self, name: &str) -> Vec<&str> {
        let pairs = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        pairs.filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v).collect()
    }

    /// The status and the reason that the body gives.
    pub(crate) fn reason(&self) -> (u16, String) {
        let json = self.json();
        assert_eq!(json["statusCode"], self.status, "{self:?}");
        assert!(!json["decision_id"].as_str().unwrap().is_empty(), "{self:?}");
        (self.status, json["reason"].as_str().unwrap_or_default().to_owned())
    }

    pub(crate) fn check(&self) -> String {
        self.json()["check"].as_str().unwrap().to_owned()
    }
}

pub(crate) struct World {
    pub(crate) clock: SetClock,
    pub(crate) issuer: Issuer,
    pub(crate) service: Service,
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) address: std::net::SocketAddr,
    pub(crate) log: Arc<AccessLog>,
    pub(crate) folder: PathBuf,
    listeners: Option<Listeners>,
}

/// Variables that configurations of tests name.
pub(crate) fn variable(name: &str) -> Option<String> {
    Some(match name {
        "PASSWORD" | "SERVICE_PASSWORD" => "open sesame".to_owned(),
        "SECRET" | "GATEWAY_SECRET" => "the gateway's secret".to_owned(),
        // 32 octets each, in base64.
        "SIGN_IN_KEY" => "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=".to_owned(),
        "NEXT_SIGN_IN_KEY" => "_x4dHBsaGRgXFhUUExIREA8ODQwLCgkIBwYFBAMCAQA".to_owned(),
        _ => format!("{}-0123456789", name.strip_prefix("KEY_")?.to_ascii_lowercase()),
    })
}

/// A configuration with `{service}`, `{jwks}` and `{token}` in place of addresses.
pub(crate) fn read(text: &str) -> File {
    toml::from_str(text).unwrap_or_else(|error| panic!("{error}"))
}

impl World {
    pub(crate) async fn start(text: &str) -> Self {
        Self::telling(text, Telemetry::new(None, &[], 1)).await
    }

    /// With this telemetry.
    pub(crate) async fn telling(text: &str, telemetry: Telemetry) -> Self {
        let edit = |ports| Ports { telemetry: Arc::new(telemetry), ..ports };
        Self::with(text, SetClock::at(NOON), edit).await
    }

    /// With ports that are edited.
    pub(crate) async fn with(text: &str, clock: SetClock, edit: impl FnOnce(Ports) -> Ports) -> Self {
        Self::within(text, clock, |ports, _| edit(ports)).await
    }

    /// The same, for ports that keep something in its folder.
    pub(crate) async fn within(text: &str, clock: SetClock, edit: impl FnOnce(Ports, &Path) -> Ports) -> Self {
        let issuer = Issuer::start(clock.clone(), Algorithm::RS256).await.unwrap();
        let service = Service::start().await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let folder = std::env::temp_dir().join(format!("deputize-gateway-{}-{}", std::process::id(), address.port()));
        std::fs::create_dir_all(&folder).unwrap();
        let log = Arc::new(AccessLog::kept());
        let file = read(&places(text, &issuer, &service));
        let ports = edit(ports(&clock, &log), &folder);
        let gateway = Gateway::new(&file, &variable, &folder, ports).unwrap_or_else(|e| panic!("{e}"));
        let gateway = Arc::new(gateway);
        let mut listeners = Listeners::new();
        listeners.add(Socket::Tcp(listener), None, Arc::new(Front::new(Arc::clone(&gateway), false)));
        Self { clock, issuer, service, gateway, address, log, folder, listeners: Some(listeners) }
    }

    /// Ends the gateway, as the process does.
    pub(crate) async fn end(mut self) {
        if let Some(listeners) = self.listeners.take() {
            listeners.end(LONGEST).await;
        }
    }

    /// From now on this configuration.
    pub(crate) fn reload(&self, text: &str) -> Result<(), gateway::SettingsError> {
        self.gateway.reload(&read(&places(text, &self.issuer, &self.service)), &variable, &self.folder)
    }

    /// Sends bytes on a connection of their own, and reads one answer.
    pub(crate) async fn raw(&self, bytes: impl AsRef<[u8]>) -> Answered {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        // Who refuses early may have closed already.
        let _ = stream.write_all(bytes.as_ref()).await;
        tokio::time::timeout(LONGEST, answered(&mut stream)).await.unwrap()
    }

    /// A `GET` with these fields beside `Host`.
    pub(crate) async fn get(&self, target: &str, fields: &[(&str, &str)]) -> Answered {
        self.raw(get(target, fields)).await
    }

    /// The same with a good token.
    pub(crate) async fn get_with_token(&self, target: &str, fields: &[(&str, &str)]) -> Answered {
        let bearer = self.bearer(&json!({}));
        self.get(target, &[&[("authorization", bearer.as_str())], fields].concat()).await
    }

    /// Where its configuration stands.
    pub(crate) fn folder(&self) -> &std::path::Path {
        &self.folder
    }

    pub(crate) fn clock_now(&self) -> i64 {
        self.clock.now().0
    }

    /// A user's token for the API `api://orders`, with these claims over the usual ones.
    pub(crate) fn token(&self, claims: &Value) -> String {
        let mut all = json!({
            "iss": ISS, "aud": "api://orders", "sub": "s-ada", "oid": "o-ada", "tid": "t1", "azp": "spa",
            "scp": "Orders.Read", "idtyp": "user", "ver": "2.0", "uti": "u1", "jti": null,
        });
        let now = self.clock.now().0;
        for (name, value) in [("iat", now - 10), ("nbf", now - 10), ("exp", now + 3_590)] {
            all[name] = json!(value);
        }
        for (name, value) in claims.as_object().unwrap() {
            all[name] = value.clone();
        }
        self.issuer.token(&all)
    }

    pub(crate) fn bearer(&self, claims: &Value) -> String {
        format!("Bearer {}", self.token(claims))
    }

    /// The lines of the access log so far.
    pub(crate) fn lines(&self) -> Vec<Value> {
        let text = String::from_utf8(self.log.take()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn places(text: &str, issuer: &Issuer, service: &Service) -> String {
    text.replace("{service}", &service.url)
        .replace("{jwks}", &issuer.jwks_url())
        .replace("{token}", &issuer.token_url())
        .replace("{metadata}", &issuer.metadata_url())
        .replace("{iss}", ISS)
}

pub(crate) fn ports(clock: &SetClock, log: &Arc<AccessLog>) -> Ports {
    let allow = Allow { plain_loopback: true, ..Allow::INSIDE };
    let fetch = Arc::new(Fetch::builder().allow(allow).build().unwrap());
    let seeded = Mutex::new(testkit::Random::seeded(7));
    let random: Arc<dyn client::Random> = Arc::new(move |bytes: &mut [u8]| {
        let mut seeded = seeded.lock().unwrap();
        bytes.fill_with(|| seeded.next().to_le_bytes()[0]);
    });
    Ports {
        key_sets: Arc::new(KeySets::new(Arc::clone(&fetch) as Arc<dyn fetch::Transport>)),
        streams: Fetch::clone(&fetch),
        tokens: Arc::clone(&fetch) as Arc<dyn client::Transport>,
        token_cache: TokenCache::new(1 << 20),
        host: ManagedIdentity::site(
            "http://127.0.0.1:1/msi/token",
            oauth::Secret::new("nobody"),
            Arc::clone(&fetch) as Arc<dyn client::Transport>,
            Arc::new(clock.clone()),
        ),
        clock: Arc::new(clock.clone()),
        ids: Arc::new(Ids::new(random.as_ref())),
        random,
        access_log: Arc::clone(log),
        telemetry: Arc::new(Telemetry::new(None, &[], 1)),
        store: None,
    }
}

pub(crate) fn get(target: &str, fields: &[(&str, &str)]) -> String {
    let mut text = format!("GET {target} HTTP/1.1\r\nhost: api.example\r\n");
    for (name, value) in fields {
        text.extend([name, ": ", value, "\r\n"]);
    }
    text + "\r\n"
}

/// Reads one answer, and whether more is to come.
pub(crate) async fn answered(stream: &mut TcpStream) -> Answered {
    let mut bytes = Vec::new();
    let mut closed = false;
    let end = loop {
        if let Some(end) = whole(&bytes) {
            break end;
        }
        let mut some = vec![0; 16 << 10];
        match stream.read(&mut some).await {
            Ok(length) if length > 0 => bytes.extend_from_slice(&some[..length]),
            _ => {
                closed = true;
                break bytes.len();
            }
        }
    };
    let text = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
    closed |= head.to_ascii_lowercase().contains("connection: close");
    Answered { status, head: head.to_owned(), body: body.to_owned(), closed }
}

/// An API that users call with a token, and whose service sees no credential.
pub(crate) const ORDERS: &str = r#"
    [[issuer]]
    name = "contoso"
    issuer = "{iss}"
    jwks_uri = "{jwks}"
    tenants = ["t1"]

    [[upstream]]
    name = "orders"
    url = "{service}"

    [[api]]
    name = "orders"
    path = "/"
    upstream = "orders"
    [api.policies.validate_jwt]
    issuers = ["contoso"]
    audiences = ["api://orders"]
    [[api.operation]]
    name = "all"
    method = "*"
    path = "/*"
"#;

/// An API that anybody may call.
pub(crate) const PUBLIC: &str = r#"
    [[upstream]]
    name = "orders"
    url = "{service}"

    [[api]]
    name = "orders"
    path = "/"
    upstream = "orders"
    public = true
    [[api.operation]]
    name = "all"
    method = "*"
    path = "/*"
"#;

/// A connection that is kept, and opened again once it was closed.
pub(crate) struct Connection {
    address: std::net::SocketAddr,
    stream: TcpStream,
}

impl Connection {
    pub(crate) async fn open(address: std::net::SocketAddr) -> Self {
        Self { address, stream: TcpStream::connect(address).await.unwrap() }
    }

    pub(crate) async fn get(&mut self, target: &str) -> Answered {
        self.get_with(target, &[]).await
    }

    pub(crate) async fn get_with(&mut self, target: &str, fields: &[(&str, &str)]) -> Answered {
        self.stream.write_all(get(target, fields).as_bytes()).await.unwrap();
        let answer = tokio::time::timeout(LONGEST, answered(&mut self.stream)).await.unwrap();
        if answer.closed {
            self.stream = TcpStream::connect(self.address).await.unwrap();
        }
        answer
    }
}

/// Lets as much time pass for the gateway's clock as for its timers.
pub(crate) async fn later(world: &World, seconds: u64) {
    world.clock.advance(i64::try_from(seconds).unwrap());
    pause();
    advance(Duration::from_secs(seconds)).await;
    resume();
}
