//! Listeners with rules of their own: behind a load balancer that tells whose connections it carries, and behind a firewall.
use crate::support::{NOON, PUBLIC, Service, get, ports, read, variable};
use gateway::{AccessLog, File, Gateway, SettingsError};
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use serve::{Gate, Listeners, Socket};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use testkit::SetClock;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;

/// A gateway at all the listeners of its file.
struct Listening {
    gateway: Arc<Gateway>,
    service: Service,
    log: Arc<AccessLog>,
    server: CertificateDer<'static>,
    folder: PathBuf,
    at: Vec<SocketAddr>,
    _listeners: Listeners,
}

impl Listening {
    async fn start(name: &str, text: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("deputize-gateway-listeners-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec!["api.example".to_owned()]).unwrap().self_signed(&key).unwrap();
        std::fs::write(folder.join("server.pem"), certificate.pem()).unwrap();
        std::fs::write(folder.join("server.key"), key.serialize_pem()).unwrap();
        let (service, log) = (Service::start().await, Arc::new(AccessLog::kept()));
        let file = file(text, &service);
        let gateway = Gateway::new(&file, &variable, &folder, ports(&SetClock::at(NOON), &log));
        let gateway = Arc::new(gateway.unwrap_or_else(|error| panic!("{error}")));
        let (mut listeners, mut at) = (Listeners::new(), Vec::new());
        let proxies = Arc::clone(&gateway);
        listeners.share(1, move |address| proxies.is_proxy(address));
        let entrances = gateway.entrances();
        assert_eq!(entrances.len(), file.addresses().len());
        for entrance in entrances {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            at.push(listener.local_addr().unwrap());
            let front = Arc::new(entrance.front());
            listeners.add_behind(Socket::Tcp(listener), Arc::new(entrance), front);
        }
        Self { gateway, service, log, server: certificate.der().clone(), folder, at, _listeners: listeners }
    }

    fn reload(&self, text: &str) -> Result<(), SettingsError> {
        self.gateway.reload(&file(text, &self.service), &variable, &self.folder)
    }

    /// What the listener says to somebody who says this first, and then asks in the clear.
    async fn plain(&self, listener: usize, first: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.at[listener]).await.unwrap();
        let _ = stream.write_all(first).await;
        asked(&mut stream).await
    }

    /// What it says to somebody who says this first, and then asks over TLS; nothing where there is no handshake.
    async fn tls(&self, listener: usize, first: &[u8], fields: &[(&str, &str)]) -> Option<String> {
        let mut roots = RootCertStore::empty();
        roots.add(self.server.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = config.with_root_certificates(roots).with_no_client_auth();
        let mut stream = TcpStream::connect(self.at[listener]).await.unwrap();
        let _ = stream.write_all(first).await;
        let name = ServerName::try_from("api.example").unwrap();
        let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.ok()?;
        Some(asked_with(&mut stream, fields).await)
    }

    fn lines(&self) -> Vec<Value> {
        let text = String::from_utf8(self.log.take()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn file(text: &str, service: &Service) -> File {
    read(&text.replace("{service}", &service.url))
}

async fn asked(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> String {
    asked_with(stream, &[]).await
}

async fn asked_with(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), fields: &[(&str, &str)]) -> String {
    let fields = [&[("connection", "close")], fields].concat();
    let _ = stream.write_all(get("/", &fields).as_bytes()).await;
    let mut said = Vec::new();
    let _ = stream.read_to_end(&mut said).await;
    String::from_utf8_lossy(&said).into_owned()
}

fn status(said: &str) -> &str {
    said.split(' ').nth(1).unwrap_or(said)
}

fn told(address: &str) -> Vec<u8> {
    format!("PROXY TCP4 {address} 198.51.100.1 4711 443\r\n").into_bytes()
}

const SHOWN: &str = "[[certificate]]\ncertificate = \"server.pem\"\nkey = \"server.key\"\n";
const BEHIND: &str = r#"
    trusted_proxies = ["127.0.0.1"]

    [[listener]]
    address = "0.0.0.0:8443"
    proxy_protocol = true

    [[listener]]
    address = "localhost:8080"
    plain = true
    proxy_protocol = true
"#;
const ONE: &str = "[policies.ip_filter]\naction = \"allow\"\naddress = [\"203.0.113.9\"]\n";

#[tokio::test]
async fn g_10_behind_a_load_balancer_the_address_that_it_tells_is_the_callers_before_tls() {
    let world = Listening::start("told", &format!("{BEHIND}{SHOWN}{PUBLIC}{ONE}")).await;
    let octets = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xcb\0\x71\x09\xc6\x33\x64\x01\x12\x67\x01\xbb";
    for header in [told("203.0.113.9"), octets.to_vec()] {
        assert_eq!(status(&world.tls(0, &header, &[]).await.unwrap()), "200");
        assert_eq!(status(&world.plain(1, &header).await), "200");
    }
    let lines = world.lines();
    assert!(lines.len() == 4 && lines.iter().all(|line| line["peer"] == "203.0.113.9"), "{lines:?}");
    let seen = world.service.seen();
    assert!(seen.len() == 4 && seen.iter().all(|it| it.contains("x-forwarded-for: 203.0.113.9\r\n")), "{seen:?}");
    assert_eq!(status(&world.tls(0, &told("203.0.113.10"), &[]).await.unwrap()), "403");
    let claims = [("x-forwarded-for", "203.0.113.9")];
    assert_eq!(status(&world.tls(0, &told("203.0.113.10"), &claims).await.unwrap()), "403", "a stranger's word");
    assert_eq!(status(&world.plain(1, b"PROXY UNKNOWN\r\n").await), "403", "the load balancer is a caller like others");
    world.service.forget();
    for nothing in [b"".to_vec(), told("nobody"), [told("203.0.113.9"), told("203.0.113.9")].concat()] {
        assert!(world.tls(0, &nothing, &[]).await.is_none());
        assert_eq!(world.plain(1, &nothing).await, "", "closed without a word");
    }
    assert!(world.service.seen().is_empty());
}

#[tokio::test]
async fn g_10_who_is_no_trusted_proxy_tells_nothing() {
    let text = |proxies: &str| format!("{BEHIND}{SHOWN}{PUBLIC}{ONE}").replace("\"127.0.0.1\"", proxies);
    let world = Listening::start("strangers", &text("\"10.0.0.0/8\"")).await;
    assert!(world.tls(0, &told("203.0.113.9"), &[]).await.is_none());
    for first in [b"".to_vec(), told("203.0.113.9")] {
        assert_eq!(world.plain(1, &first).await, "");
    }
    world.reload(&text("\"10.0.0.0/8\", \"127.0.0.0/8\"")).unwrap();
    assert_eq!(status(&world.plain(1, &told("203.0.113.9")).await), "200");
}

#[tokio::test]
async fn g_14_callers_behind_a_load_balancer_have_a_share_each() {
    let world = Listening::start("shares", &format!("{BEHIND}{SHOWN}{PUBLIC}")).await;
    let mut kept = TcpStream::connect(world.at[1]).await.unwrap();
    kept.write_all(&told("203.0.113.9")).await.unwrap();
    kept.write_all(get("/", &[]).as_bytes()).await.unwrap();
    assert!(kept.read(&mut [0; 512]).await.unwrap() > 0);
    assert_eq!(world.plain(1, &told("203.0.113.9")).await, "", "who has their share gets no more");
    assert_eq!(status(&world.plain(1, &told("203.0.113.10")).await), "200");
}

#[tokio::test]
async fn a_firewalls_listener_closes_connections_from_elsewhere_before_anything_is_said() {
    let text = |from: &str| {
        let more = format!("[[listener]]\naddress = \"0.0.0.0:8443\"\ningress_from = [{from}]\n");
        format!("listen = \"0.0.0.0:9443\"\n{more}{SHOWN}{PUBLIC}")
    };
    let world = Listening::start("ingress", &text("\"10.0.0.0/8\", \"2001:db8::/32\"")).await;
    assert_eq!(status(&world.tls(0, b"", &[]).await.unwrap()), "200", "another listener has its own rules");
    assert!(world.tls(1, b"", &[]).await.is_none());
    assert_eq!(world.plain(1, b"").await, "", "not even an alert");
    assert!(world.tls(1, &told("10.0.0.1"), &[]).await.is_none());
    world.reload(&text("\"127.0.0.0/8\"")).unwrap();
    assert_eq!(status(&world.tls(1, b"", &[]).await.unwrap()), "200");
    world.reload(&text("\"10.0.0.0/8\"")).unwrap();
    assert!(world.tls(1, b"", &[]).await.is_none());
    assert_eq!(world.service.seen().len(), 2);
    // Sockets are bound when it starts.
    let more = "[[listener]]\naddress = \"0.0.0.0:8444\"\n";
    let error = world.reload(&text("\"127.0.0.1\"").replace(SHOWN, &format!("{more}{SHOWN}"))).unwrap_err();
    assert!(error.to_string().contains("nobody listens at `0.0.0.0:8444` yet; start the gateway anew"), "{error}");
    let error = world.reload(&text("\"127.0.0.1\"").replace("ingress", "plain = true\ningress")).unwrap_err();
    assert!(error.to_string().contains("whether TLS is spoken does not change"), "{error}");
    assert!(world.tls(1, b"", &[]).await.is_none(), "what is refused changes nothing");
    world.reload(&text("").replace("[[listener]]\naddress = \"0.0.0.0:8443\"\ningress_from = []\n", "")).unwrap();
    assert!(world.tls(1, b"", &[]).await.is_none(), "what the file has no more takes nobody");
    assert_eq!(status(&world.tls(0, b"", &[]).await.unwrap()), "200");
}

#[tokio::test]
async fn a_listener_that_the_file_has_no_more_lets_nobody_in() {
    let both = format!(
        "[[listener]]\naddress = \"a:1\"\nplain = true\n[[listener]]\naddress = \"a:2\"\nplain = true\n{PUBLIC}"
    );
    let one = format!("[[listener]]\naddress = \"a:1\"\nplain = true\n{PUBLIC}");
    let listening = Listening::start("gone", &both).await;
    let entrances = listening.gateway.entrances();
    let admits = || entrances.iter().map(|entrance| entrance.admit("127.0.0.1".parse().ok()).is_some());
    assert_eq!(admits().collect::<Vec<_>>(), [true, true]);
    assert!(listening.plain(1, b"").await.starts_with("HTTP/1.1 200"));
    listening.reload(&one).unwrap();
    assert_eq!(admits().collect::<Vec<_>>(), [true, false]);
    assert_eq!(listening.plain(1, b"").await, "");
    assert!(listening.plain(0, b"").await.starts_with("HTTP/1.1 200"));
}
