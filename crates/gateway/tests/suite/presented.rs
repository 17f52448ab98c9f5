//! Services that want a certificate of the gateway: what they are shown, and what becomes of it when its files change.
use crate::authorizer::Proxy;
use crate::support::{World, get, whole};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use x509_parser::prelude::parse_x509_certificate;

/// An authority, and what it makes.
pub(crate) struct Ca {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) pem: String,
}

impl Ca {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut parameters = CertificateParams::default();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = parameters.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(parameters, key) }
    }

    /// A certificate by this name, and its key, in PEM.
    pub(crate) fn made(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut parameters = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        parameters.distinguished_name = rcgen::DistinguishedName::new();
        parameters.distinguished_name.push(DnType::CommonName, name);
        (parameters.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }
}

/// A service over TLS that looks who asks, and lets in whoever its authority made, or nobody in particular.
pub(crate) struct Service {
    pub(crate) url: String,
    /// Who asked, and what; one by one.
    pub(crate) seen: Arc<Mutex<Vec<(String, String)>>>,
}

impl Service {
    pub(crate) async fn start(ca: &Ca, alpn: &[&str]) -> Self {
        let (certificate, key) = ca.made("service");
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(ca.pem.as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let callers = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(callers.allow_unauthenticated().build().unwrap())
            .with_single_cert(
                vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()],
                PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
            )
            .unwrap();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
        let (seen, acceptor) = (Arc::new(Mutex::new(Vec::new())), TlsAcceptor::from(Arc::new(config)));
        let keeps = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, keeps) = (acceptor.clone(), Arc::clone(&keeps));
                tokio::spawn(async move {
                    let Ok(mut stream) = acceptor.accept(stream).await else { return };
                    let shown = stream.get_ref().1.peer_certificates();
                    let name = shown.map_or_else(|| "nobody".to_owned(), |chain| common_name(&chain[0]));
                    let mut waiting = Vec::new();
                    loop {
                        while whole(&waiting).is_none() {
                            let mut some = [0; 4_096];
                            match stream.read(&mut some).await {
                                Ok(length) if length > 0 => waiting.extend_from_slice(&some[..length]),
                                _ => return,
                            }
                        }
                        let rest = waiting.split_off(whole(&waiting).unwrap());
                        let asked = String::from_utf8_lossy(&waiting).into_owned();
                        keeps.lock().unwrap().push((name.clone(), asked));
                        waiting = rest;
                        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{name}", name.len());
                        if stream.write_all(head.as_bytes()).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Self { url, seen }
    }
}

fn common_name(der: &[u8]) -> String {
    let (_, parsed) = parse_x509_certificate(der).unwrap();
    parsed.subject().iter_common_name().next().unwrap().as_str().unwrap().to_owned()
}

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("deputize-gateway-presented-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// Puts a certificate there, as a platform does: one file after the other.
    fn put(&self, (certificate, key): &(String, String)) {
        std::fs::write(self.0.join("gateway.pem"), certificate).unwrap();
        std::fs::write(self.0.join("gateway.key"), key).unwrap();
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn file(url: &str, folder: &Path) -> String {
    FILE.replace("{url}", url).replace("{folder}", &folder.display().to_string())
}

const FILE: &str = r#"
    trusted_certificates = "{folder}/ca.pem"

    [[upstream]]
    name = "legacy"
    url = "{url}"

    [[api]]
    name = "legacy"
    path = "/"
    upstream = "legacy"
    public = true
    [api.onward.client_certificate]
    certificate = "{folder}/gateway.pem"
    key = "{folder}/gateway.key"
    [[api.operation]]
    name = "all"
    method = "*"
    path = "/*"
    [[api.operation]]
    name = "plain"
    method = "GET"
    path = "/plain"
    onward = "none"
"#;

#[tokio::test]
async fn the_certificate_of_a_proxys_own_connection_is_the_proxys_to_set() {
    let (ca, folder) = (Ca::new(), Folder::new("proxied"));
    std::fs::write(folder.0.join("ca.pem"), &ca.pem).unwrap();
    folder.put(&ca.made("gateway"));
    let text = format!("authorizer = \"localhost:9191\"\n{}", file("https://localhost:1", &folder.0));
    let world = World::start(&text).await;
    let proxy = Proxy::before(&world).await;
    let answer = proxy.asks("/", &[]).await;
    assert_eq!((answer.status, answer.check()), (502, "onward.accepted".to_owned()));
    let told = answer.json()["message"].as_str().unwrap().to_owned();
    assert!(told.contains("the proxy's to set") && !told.contains("authority"), "{told}");
    assert_eq!(proxy.asks("/plain", &[]).await.status, 200);
    let remarks = world.gateway.remarks();
    assert!(remarks.iter().any(|remark| remark.ends_with("come through the gateway: legacy/all")), "{remarks:?}");
}

#[tokio::test]
async fn the_service_is_shown_the_certificate_and_no_credential_of_the_callers() {
    let (ca, folder) = (Ca::new(), Folder::new("shown"));
    std::fs::write(folder.0.join("ca.pem"), &ca.pem).unwrap();
    folder.put(&ca.made("gateway"));
    for alpn in [&["http/1.1"][..], &[]] {
        let service = Service::start(&ca, alpn).await;
        let world = World::start(&file(&service.url, &folder.0)).await;
        for _ in 0..2 {
            let answer = world.get("/a", &[("authorization", "Bearer of-the-caller")]).await;
            assert_eq!((answer.status, answer.body.as_str()), (200, "gateway"));
        }
        // On the same service, connections are not mixed.
        assert_eq!(world.get("/plain", &[]).await.body, "nobody");
        assert_eq!(world.get("/a", &[]).await.body, "gateway");
        let seen = service.seen.lock().unwrap().clone();
        assert!(seen.iter().all(|(_, asked)| !asked.to_lowercase().contains("authorization")), "{seen:#?}");
        assert_eq!(seen.len(), 4);
        let told = world.gateway.effective();
        assert!(told.iter().any(|operation| operation.onward.contains("gateway.pem`, in the handshake")), "{told:?}");
    }
}

#[tokio::test]
async fn a_new_certificate_is_shown_from_then_on_and_a_broken_one_changes_nothing() {
    let (ca, folder) = (Ca::new(), Folder::new("rotated"));
    std::fs::write(folder.0.join("ca.pem"), &ca.pem).unwrap();
    let first = ca.made("first");
    folder.put(&first);
    let service = Service::start(&ca, &[]).await;
    let text = file(&service.url, &folder.0);
    let world = World::start(&text).await;
    let asked = async || world.get("/a", &[]).await.body;
    assert_eq!(asked().await, "first");
    let second = ca.made("second");
    folder.put(&second);
    assert_eq!(asked().await, "first", "nobody has looked yet");
    world.gateway.look();
    assert_eq!(asked().await, "second", "the connection of before is not used");
    // Half of it is there: it does not fit the key.
    std::fs::write(folder.0.join("gateway.pem"), &first.0).unwrap();
    world.gateway.look();
    assert_eq!(asked().await, "second");
    folder.put(&first);
    world.gateway.look();
    assert_eq!(asked().await, "first");
    // The connections of a configuration that is read again are kept, and so is the watch over their files.
    world.reload(&text).unwrap();
    folder.put(&second);
    world.gateway.look();
    assert_eq!(asked().await, "second");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_7_certificates_that_change_under_load_fail_no_request() {
    let (ca, folder) = (Ca::new(), Folder::new("load"));
    std::fs::write(folder.0.join("ca.pem"), &ca.pem).unwrap();
    folder.put(&ca.made("0"));
    let service = Service::start(&ca, &[]).await;
    let world = Arc::new(World::start(&file(&service.url, &folder.0)).await);
    let callers: Vec<_> = (0..8)
        .map(|_| {
            let world = Arc::clone(&world);
            tokio::spawn(async move {
                let mut connection = crate::support::Connection::open(world.address).await;
                let mut failed = 0;
                for _ in 0..200 {
                    failed += usize::from(connection.get("/a").await.status != 200);
                }
                failed
            })
        })
        .collect();
    for at in 1..=20 {
        folder.put(&ca.made(&at.to_string()));
        let gateway = Arc::clone(&world.gateway);
        tokio::task::spawn_blocking(move || gateway.look()).await.unwrap();
        assert_eq!(world.get("/a", &[]).await.body, at.to_string());
    }
    for caller in callers {
        assert_eq!(caller.await.unwrap(), 0);
    }
    assert_eq!(world.raw(get("/a", &[])).await.body, "20");
}

#[tokio::test]
async fn what_cannot_be_shown_is_told() {
    let (ca, folder) = (Ca::new(), Folder::new("told"));
    std::fs::write(folder.0.join("ca.pem"), &ca.pem).unwrap();
    folder.put(&ca.made("gateway"));
    let service = Service::start(&ca, &[]).await;
    let world = World::start(&file(&service.url, &folder.0)).await;
    let other = ca.made("other");
    std::fs::write(folder.0.join("other.key"), &other.1).unwrap();
    let text = file(&service.url, &folder.0);
    for (text, problem) in [
        (text.replace("https://", "http://"), "over TLS only"),
        (text.replace("gateway.key", "other.key"), "does not belong to the key"),
        (text.replace("gateway.key", "ca.pem"), "holds no private key"),
        (text.replace("gateway.pem", "other.key"), "holds no certificate"),
        (text.replace("gateway.pem", "none.pem"), "cannot be read"),
        (text.replace("upstream = \"legacy\"", "upstream = \"modern\""), "there is no upstream `modern`"),
    ] {
        let error = world.reload(&text).unwrap_err();
        assert!(error.problem.contains(problem) && !error.at.is_empty(), "{problem}: {error}");
    }
}
