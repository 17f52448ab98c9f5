//! Callers that are not on this machine (6.8): TLS on both sides.
use crate::support::{World, own_address};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    SanType, date_time_ymd,
};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use sha2::Digest;
use sidecar::{Bind, Bound, Callers, Listeners, Mutual, Peer, Settings, SettingsError, Texas, Tls};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

const BODY: &str = r#"{"identity_provider":"entra_id","target":"t"}"#;

/// A certificate and its key, in PEM.
#[derive(Clone)]
struct Pair {
    certificate: String,
    key: String,
}

struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Each has the same name, as a forger would choose.
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "callers");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    fn issue(&self, change: impl FnOnce(&mut CertificateParams)) -> Pair {
        let mut params = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
        Pair { certificate, key: key.serialize_pem() }
    }
}

/// The files of a listener, and their folder, which goes with it.
struct Files(PathBuf);

impl Drop for Files {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Files {
    fn new(name: &str, own: &Pair, callers: &Authority) -> Self {
        let folder = std::env::temp_dir().join(format!("deputize-mutual-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let files = Self(folder);
        files.write("own.pem", &own.certificate);
        files.write("own.key", &own.key);
        files.write("callers.pem", &callers.pem);
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    fn open(&self) -> Result<Arc<Mutual>, String> {
        self.open_to(None)
    }

    fn open_to(&self, peers: Option<Vec<Peer>>) -> Result<Arc<Mutual>, String> {
        Mutual::open(self.path("own.pem"), self.path("own.key"), self.path("callers.pem"), peers)
    }
}

/// The API over TLS on both sides.
async fn serve(world: &World, mutual: &Arc<Mutual>, callers: &Callers) -> (Listeners, u16) {
    let mut listeners = Listeners::new();
    let bound = Bound::bind(&Bind::parse("127.0.0.1:0").unwrap()).await.unwrap();
    let place = bound.address().unwrap();
    let Bind::Tcp(address) = place else { panic!() };
    let texas = Texas::new(Arc::clone(&world.sidecar), callers, &place);
    listeners.add(bound, Some(Tls::Mutual(Arc::clone(mutual))), Arc::new(texas));
    (listeners, address.port())
}

/// The status of an answer; nothing where there is none. The server has to be of `trusted`.
async fn ask(port: u16, trusted: &Authority, shown: Option<&Pair>, headers: &str) -> Option<u16> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(trusted.pem.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots);
    let config = match shown {
        None => config.with_no_client_auth(),
        Some(pair) => {
            let certificate = CertificateDer::from_pem_slice(pair.certificate.as_bytes()).unwrap();
            let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap();
            config.with_client_auth_cert(vec![certificate], key).unwrap()
        }
    };
    let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.ok()?;
    answered(stream, headers).await
}

async fn answered(mut stream: impl AsyncReadExt + AsyncWriteExt + Unpin, headers: &str) -> Option<u16> {
    let head = format!("POST /api/v1/token HTTP/1.1\r\n{headers}content-type: application/json\r\nconnection: close");
    stream.write_all(format!("{head}\r\ncontent-length: {}\r\n\r\n{BODY}", BODY.len()).as_bytes()).await.ok()?;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).split(' ').nth(1)?.parse().ok()
}

#[tokio::test]
async fn who_shows_no_certificate_of_the_named_authorities_gets_no_answer() {
    let world = World::new().await;
    let (callers, stranger) = (Authority::new(), Authority::new());
    let own = callers.issue(|_| {});
    let files = Files::new("shown", &own, &callers);
    let (_listeners, port) = serve(&world, &files.open().unwrap(), &Callers::default()).await;
    let host = "host: localhost\r\n";

    let expired = callers.issue(|params| {
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
    });
    let not_yet = callers.issue(|params| params.not_before = date_time_ymd(2400, 1, 1));
    let for_servers = callers.issue(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]);
    let forged = stranger.issue(|_| {});
    for (name, shown) in [
        ("none", None),
        ("another authority of the same name", Some(&forged)),
        ("expired", Some(&expired)),
        ("not yet", Some(&not_yet)),
        ("for servers only", Some(&for_servers)),
    ] {
        assert_eq!(ask(port, &callers, shown, host).await, None, "{name}");
    }
    let plain = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    assert_eq!(answered(plain, host).await, None, "without TLS");
    assert!(world.issuer("entra_id").asked().is_empty());

    let good = callers.issue(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]);
    assert_eq!(ask(port, &callers, Some(&good), host).await, Some(200));
    assert_eq!(ask(port, &callers, Some(&good), "host: evil.example\r\n").await, Some(403), "no name is rebound to it");
    assert_eq!(ask(port, &stranger, Some(&good), host).await, None, "callers know whom they call");
}

/// One authority makes certificates for many: those who are named get in, and nobody who is like them.
#[tokio::test]
async fn of_an_authoritys_certificates_those_of_named_callers_are_taken() {
    let world = World::new().await;
    let (callers, stranger) = (Authority::new(), Authority::new());
    let files = Files::new("named", &callers.issue(|_| {}), &callers);
    let named = |name: &str| {
        let name = name.to_owned();
        move |params: &mut CertificateParams| {
            params.distinguished_name = DistinguishedName::new();
            params.distinguished_name.push(DnType::CommonName, "anybody");
            params.subject_alt_names = match name.split_once(':').unwrap() {
                ("dns", name) => vec![SanType::DnsName(name.try_into().unwrap())],
                ("uri", uri) => vec![SanType::URI(uri.try_into().unwrap())],
                (_, name) => {
                    params.distinguished_name.push(DnType::CommonName, name);
                    Vec::new()
                }
            };
        }
    };
    let pinned = callers.issue(named("dns:pinned.example"));
    let der = CertificateDer::from_pem_slice(pinned.certificate.as_bytes()).unwrap();
    let peers = ["dns:orders.team.svc", "uri:spiffe://cluster.local/ns/team/sa/orders", "cn:Orders"];
    let mut peers: Vec<_> = peers.iter().map(|text| Peer::parse(text).unwrap()).collect();
    peers.push(Peer::Sha256(sha2::Sha256::digest(&der).into()));
    let (_listeners, port) = serve(&world, &files.open_to(Some(peers)).unwrap(), &Callers::default()).await;
    let host = "host: localhost\r\n";
    for name in
        ["dns:orders.team.svc", "dns:ORDERS.team.svc", "uri:spiffe://cluster.local/ns/team/sa/orders", "cn:Orders"]
    {
        assert_eq!(ask(port, &callers, Some(&callers.issue(named(name))), host).await, Some(200), "{name}");
        assert_eq!(ask(port, &callers, Some(&stranger.issue(named(name))), host).await, None, "{name}, forged");
    }
    assert_eq!(ask(port, &callers, Some(&pinned), host).await, Some(200));
    let twice = callers.issue(|params| {
        params.subject_alt_names = Vec::new();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "Orders");
        params.distinguished_name.push(DnType::CustomDnType(vec![2, 5, 4, 3]), "somebody else");
    });
    assert_eq!(ask(port, &callers, Some(&twice), host).await, None, "of two names, neither");
    for name in [
        "dns:other.team.svc",
        "dns:*.team.svc",
        "dns:orders.team.svc.evil.example",
        "dns:orders",
        "uri:spiffe://cluster.local/ns/team/sa/orders/",
        "uri:spiffe://cluster.local/ns/team/sa/Orders",
        "uri:orders.team.svc",
        "cn:orders",
        "cn:Orders ",
        "cn:orders.team.svc",
        "dns:pinned.example",
    ] {
        assert_eq!(ask(port, &callers, Some(&callers.issue(named(name))), host).await, None, "{name}");
    }
    assert_eq!(ask(port, &callers, None, host).await, None);
}

#[tokio::test]
async fn a_configured_token_is_demanded_beside_the_certificate() {
    let world = World::new().await;
    let callers = Authority::new();
    let files = Files::new("both", &callers.issue(|_| {}), &callers);
    let both = Callers { bearer: Some(oauth::Secret::new("s3cret")), ..Callers::default() };
    let (_listeners, port) = serve(&world, &files.open().unwrap(), &both).await;
    let pair = callers.issue(|_| {});
    assert_eq!(ask(port, &callers, Some(&pair), "host: localhost\r\n").await, Some(401));
    let shown = "host: localhost\r\nauthorization: Bearer s3cret\r\n";
    assert_eq!(ask(port, &callers, Some(&pair), shown).await, Some(200));
    assert_eq!(ask(port, &callers, None, shown).await, None);
}

#[tokio::test]
async fn files_that_change_count_from_the_next_connection_and_broken_ones_change_nothing() {
    let world = World::new().await;
    let (callers, next) = (Authority::new(), Authority::new());
    let files = Files::new("changed", &callers.issue(|_| {}), &callers);
    let (_listeners, port) = serve(&world, &files.open().unwrap(), &Callers::default()).await;
    let (before, after) = (callers.issue(|_| {}), next.issue(|_| {}));
    let host = "host: localhost\r\n";
    assert_eq!(ask(port, &callers, Some(&before), host).await, Some(200));
    files.write("callers.pem", "no certificate at all");
    assert_eq!(ask(port, &callers, Some(&before), host).await, Some(200), "the last good ones stay");
    assert_eq!(ask(port, &callers, None, host).await, None, "and nobody is let in for it");
    files.write("callers.pem", &next.pem);
    assert_eq!(ask(port, &callers, Some(&after), host).await, Some(200));
    assert_eq!(ask(port, &callers, Some(&before), host).await, None);
    std::fs::remove_file(files.path("own.key")).unwrap();
    assert_eq!(ask(port, &callers, Some(&after), host).await, Some(200));
}

#[tokio::test(start_paused = true)]
async fn who_begins_no_handshake_is_not_waited_for() {
    let world = World::new().await;
    let callers = Authority::new();
    let files = Files::new("silent", &callers.issue(|_| {}), &callers);
    let (_listeners, port) = serve(&world, &files.open().unwrap(), &Callers::default()).await;
    let (mut silent, began) = (TcpStream::connect(("127.0.0.1", port)).await.unwrap(), tokio::time::Instant::now());
    let mut nothing = Vec::new();
    let _ = tokio::time::timeout(Duration::from_hours(1), silent.read_to_end(&mut nothing)).await;
    assert!(began.elapsed() < Duration::from_secs(12), "{:?}", began.elapsed());
}

#[test]
fn what_cannot_be_used_is_told() {
    let callers = Authority::new();
    let own = callers.issue(|_| {});
    for (file, text, told) in [
        ("own.pem", "", "the certificate file holds no certificate in PEM"),
        ("own.key", "", "the key file holds no private key in PEM"),
        ("callers.pem", "", "the file of callers' authorities holds no certificate in PEM"),
        ("own.key", &callers.issue(|_| {}).key, "certificate and key cannot be used"),
    ] {
        let files = Files::new("told", &own, &callers);
        files.write(file, text);
        let error = files.open().unwrap_err();
        assert!(error.contains(told), "{file}: {error}");
    }
    let nowhere = Path::new("/nowhere/to-be-found").to_owned();
    let error = Mutual::open(nowhere.clone(), nowhere.clone(), nowhere, None).unwrap_err();
    assert!(error.contains("cannot be read"), "{error}");
}

#[test]
fn it_is_for_addresses_that_others_reach() {
    let callers = Authority::new();
    let files = Files::new("chosen", &callers.issue(|_| {}), &callers);
    let told = Callers { tls: Some(files.open().unwrap()), ..Callers::default() };
    for (bind, mutual) in [
        ("127.0.0.1:3000", false),
        ("[::1]:3000", false),
        ("unix:/run/a", false),
        ("0.0.0.0:3000", true),
        ("10.1.2.3:1", true),
    ] {
        assert_eq!(told.mutual(&Bind::parse(bind).unwrap()).is_some(), mutual, "{bind}");
    }
}

#[test]
fn an_address_that_others_reach_may_be_held_by_certificates() {
    let callers = Authority::new();
    let files = Files::new("held", &callers.issue(|_| {}), &callers);
    let [own, key, authorities] = ["own.pem", "own.key", "callers.pem"].map(|name| files.path(name));
    let table = format!("[callers.tls]\ncertificate = {own:?}\nkey = {key:?}\nclient_authorities = {authorities:?}\n");
    let read = |name: &str, file: &str| {
        let variable = |asked: &str| (asked == name).then(|| "0.0.0.0:3000".to_owned());
        Settings::read(&variable, Some(toml::from_str(file).unwrap()))
    };
    for name in ["BIND_ADDRESS", "NATIVE_BIND_ADDRESS"] {
        assert!(matches!(read(name, ""), Err(SettingsError::Exposed(_))), "{name}");
        let held = read(name, &table).unwrap();
        assert_eq!(held.shown()["callers"]["tls"]["client_authorities"], authorities.to_str().unwrap());
        assert!(!held.shown().to_string().contains("own.key"), "where the key is, nobody has to know");
    }
    let named = format!("{table}clients = [\"dns:Orders\", \"cn:x\"]");
    assert_eq!(
        read("BIND_ADDRESS", &named).unwrap().shown()["callers"]["tls"]["clients"],
        serde_json::json!(["dns:orders", "cn:x"])
    );
    for (clients, told) in
        [("[]", "names nobody"), ("[\"orders\"]", "names no caller"), ("[\"dns:*.a\"]", "names no caller")]
    {
        let Err(SettingsError::File { at, problem, .. }) = read("BIND_ADDRESS", &format!("{table}clients = {clients}"))
        else {
            panic!("{clients}")
        };
        assert!(at.start >= table.len() && problem.contains(told), "{problem}");
    }
    let told = read("BIND_ADDRESS", &table).unwrap().for_the_application();
    assert_eq!(told["NAIS_TOKEN_ENDPOINT"], "https://127.0.0.1:3000/api/v1/token");
    files.write("callers.pem", "");
    let Err(SettingsError::File { at, problem, .. }) = read("BIND_ADDRESS", &table) else { panic!() };
    assert!(at.start < table.len() && problem.contains("callers' authorities holds no certificate"), "{problem}");
}

#[tokio::test]
async fn beyond_loopback_its_address_is_its_name() {
    let world = World::new().await;
    let Some(own) = own_address().await else { return };
    let mut listeners = Listeners::new();
    let bound = Bound::bind(&Bind::parse("0.0.0.0:0").unwrap()).await.unwrap();
    let place = bound.address().unwrap();
    let Bind::Tcp(address) = place else { panic!() };
    listeners.add(bound, None, Arc::new(Texas::new(Arc::clone(&world.sidecar), &Callers::default(), &place)));
    for (host, status) in [(own.to_string(), 200), ("0.0.0.0".to_owned(), 403), ("evil.example".to_owned(), 403)] {
        let stream = TcpStream::connect((own, address.port())).await.unwrap();
        let answer = answered(stream, &format!("host: {host}:{}\r\n", address.port())).await;
        assert_eq!(answer, Some(status), "{host}");
    }
}
