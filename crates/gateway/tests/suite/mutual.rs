//! Callers with certificates: over real handshakes, with authorities and lists in files.
use crate::support::{NOON, ORDERS, World, get};
use gateway::ClientCertificates;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::json;
use serve::{Listeners, Socket};
use sha2::{Digest, Sha256};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;

/// A certificate authority of these tests.
pub(crate) struct Ca {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) pem: String,
    pub(crate) der: CertificateDer<'static>,
}

fn at(seconds: i64) -> impl FnOnce(&mut CertificateParams) {
    move |parameters| {
        let moment = |it: i64| rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(it.unsigned_abs());
        (parameters.not_before, parameters.not_after) = (moment(NOON.0 - 10_000), moment(NOON.0 + seconds));
    }
}

fn parameters(name: &str, seconds: i64) -> CertificateParams {
    let mut parameters = CertificateParams::default();
    at(seconds)(&mut parameters);
    parameters.distinguished_name = rcgen::DistinguishedName::new();
    parameters.distinguished_name.push(DnType::OrganizationName, "Contoso, Inc.");
    parameters.distinguished_name.push(DnType::CommonName, name);
    parameters
}

impl Ca {
    pub(crate) fn new(name: &str) -> Self {
        Self::made_by(name, None)
    }

    /// An authority that this one vouches for.
    pub(crate) fn below(&self, name: &str) -> Self {
        Self::made_by(name, Some(self))
    }

    fn made_by(name: &str, above: Option<&Self>) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut parameters = parameters(name, 1_000_000);
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let made = match above {
            None => parameters.self_signed(&key),
            Some(above) => parameters.signed_by(&key, &above.issuer),
        };
        let made = made.unwrap();
        Self { pem: made.pem(), der: made.der().clone(), issuer: Issuer::new(parameters, key) }
    }

    /// A client's certificate of this number, good for so many seconds.
    pub(crate) fn client(&self, name: &str, number: u64, seconds: i64) -> Shown {
        self.made(name, seconds, |p| p.serial_number = Some(SerialNumber::from(number)))
    }

    pub(crate) fn made(&self, name: &str, seconds: i64, edit: impl FnOnce(&mut CertificateParams)) -> Shown {
        let key = KeyPair::generate().unwrap();
        let mut parameters = parameters(name, seconds);
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        edit(&mut parameters);
        let certificate = parameters.signed_by(&key, &self.issuer).unwrap();
        Shown { der: certificate.der().clone(), key: key.serialize_pem() }
    }

    pub(crate) fn list(&self, revoked: &[u64]) -> String {
        let moment = |it: i64| rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(it.unsigned_abs());
        let revoked_certs = revoked.iter().map(|number| RevokedCertParams {
            serial_number: SerialNumber::from(*number),
            revocation_time: moment(NOON.0 - 50),
            reason_code: None,
            invalidity_date: None,
        });
        let parameters = CertificateRevocationListParams {
            this_update: moment(NOON.0 - 100),
            next_update: moment(NOON.0 + 500),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked_certs.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        parameters.signed_by(&self.issuer).unwrap().pem().unwrap()
    }
}

/// What a caller shows.
#[derive(Clone)]
pub(crate) struct Shown {
    pub(crate) der: CertificateDer<'static>,
    pub(crate) key: String,
}

impl Shown {
    fn thumbprint(&self) -> String {
        thumbprint(&self.der)
    }

    fn x5t_s256(&self) -> String {
        use base64::Engine;
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(Sha256::digest(&self.der))
    }
}

fn thumbprint(der: &CertificateDer<'_>) -> String {
    Sha256::digest(der).iter().map(|octet| format!("{octet:02X}")).collect::<Vec<_>>().join(":")
}

/// A gateway that asks callers for certificates.
struct Asking {
    world: World,
    address: SocketAddr,
    server: CertificateDer<'static>,
    folder: PathBuf,
    _listeners: Listeners,
}

impl Asking {
    /// Files stand in `{folder}`.
    async fn start(name: &str, files: &[(&str, &str)], policies: &str, callers: ClientCertificates) -> Self {
        let folder = std::env::temp_dir().join(format!("deputize-gateway-mutual-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        for (name, text) in files {
            std::fs::write(folder.join(name), text).unwrap();
        }
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec!["api.example".to_owned()]).unwrap().self_signed(&key).unwrap();
        std::fs::write(folder.join("server.pem"), certificate.pem()).unwrap();
        std::fs::write(folder.join("server.key"), key.serialize_pem()).unwrap();
        let world = World::start(&written(policies, &folder, callers)).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut listeners = Listeners::new();
        let entrance = world.gateway.entrances().remove(0);
        let front = Arc::new(entrance.front());
        listeners.add_behind(Socket::Tcp(listener), Arc::new(entrance), front);
        Self { world, address, server: certificate.der().clone(), folder, _listeners: listeners }
    }

    /// How a caller connects that shows this.
    fn client(&self, shown: Option<&Shown>) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.server.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let builder = builder.with_root_certificates(roots);
        Arc::new(match shown {
            None => builder.with_no_client_auth(),
            Some(Shown { der, key }) => {
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
                builder.with_client_auth_cert(vec![der.clone()], key).unwrap()
            }
        })
    }

    /// A status and a reason; and whether the session was resumed. `None` where there was no answer at all.
    async fn told(&self, config: &Arc<ClientConfig>, fields: &[(&str, &str)]) -> Option<(u16, String, bool)> {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let name = ServerName::try_from("api.example").unwrap();
        let mut stream = TlsConnector::from(Arc::clone(config)).connect(name, stream).await.ok()?;
        let fields = [&[("connection", "close")], fields].concat();
        stream.write_all(get("/a", &fields).as_bytes()).await.ok()?;
        let mut text = String::new();
        // A peer that leaves without a word has answered before.
        let _ = stream.read_to_string(&mut text).await;
        let resumed = stream.get_ref().1.handshake_kind() == Some(rustls::HandshakeKind::Resumed);
        let (head, body) = text.split_once("\r\n\r\n")?;
        let json: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
        Some((head.split(' ').nth(1)?.parse().ok()?, json["reason"].as_str().unwrap_or_default().to_owned(), resumed))
    }

    async fn kept(&self, shown: &Shown) -> Kept {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let name = ServerName::try_from("api.example").unwrap();
        Kept(TlsConnector::from(self.client(Some(shown))).connect(name, stream).await.unwrap())
    }

    async fn asked(&self, shown: Option<&Shown>) -> (u16, String) {
        let (status, reason, _) = self.told(&self.client(shown), &[]).await.unwrap();
        (status, reason)
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn written(policies: &str, folder: &Path, callers: ClientCertificates) -> String {
    let callers = if callers == ClientCertificates::Required { "required" } else { "optional" };
    let shown = "[[certificate]]\ncertificate = \"{folder}/server.pem\"\nkey = \"{folder}/server.key\"\n";
    let all = format!("client_certificates = \"{callers}\"\n{shown}{PARTNERS}{policies}\n");
    all.replace("{folder}", &folder.display().to_string())
}

/// An API that anybody may call but for the policies that follow.
const PARTNERS: &str = r#"
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
    [[api.operation]]
    name = "all"
    method = "*"
    path = "/*"
"#;

const GOOD: (u16, &str) = (200, "");

fn is(told: (u16, String), expected: (u16, &str)) {
    assert_eq!((told.0, told.1.as_str()), expected);
}

#[tokio::test]
async fn t_01_who_shows_a_certificate_of_a_trusted_authority_is_let_in_and_nobody_else() {
    let (ca, twin) = (Ca::new("root"), Ca::new("root"));
    let policies = r#"
        [api.operation.policies.validate_client_certificate]
        authorities = ["{folder}/ca.pem"]
        validate_revocation = false
    "#;
    let files = [("ca.pem", ca.pem.as_str())];
    let gateway = Asking::start("trust", &files, policies, ClientCertificates::Optional).await;
    is(gateway.asked(Some(&ca.client("a", 1, 1_000))).await, GOOD);
    assert_eq!(gateway.world.service.seen().len(), 1);
    let server = ca.made("a", 1_000, |p| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]);
    let authority = ca.made("a", 1_000, |p| p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained));
    for (shown, reason) in [
        (None, "ClientCertificateNotFound"),
        (Some(twin.client("a", 1, 1_000)), "ClientCertificateNotTrusted"),
        (Some(server), "ClientCertificateNotTrusted"),
        (Some(authority), "ClientCertificateNotTrusted"),
        (Some(ca.client("a", 1, -1)), "ClientCertificateExpired"),
    ] {
        is(gateway.asked(shown.as_ref()).await, (401, reason));
    }
    // What a caller says of itself in a field says nothing.
    let config = gateway.client(None);
    let (status, reason, _) = gateway.told(&config, &[("client-cert", ":AAA=:")]).await.unwrap();
    assert_eq!((status, reason.as_str()), (401, "ClientCertificateNotFound"));
    assert_eq!(gateway.world.service.seen().len(), 1, "a refused request got through");
    // A connection without TLS has none.
    assert_eq!(gateway.world.get("/a", &[]).await.reason(), (401, "ClientCertificateNotFound".to_owned()));
}

#[tokio::test]
async fn t_01_anothers_certificate_and_none_where_one_is_required_end_in_an_alert() {
    let ca = Ca::new("root");
    let policies = r#"
        [api.operation.policies.validate_client_certificate]
        authorities = ["{folder}/ca.pem"]
        validate_revocation = false
    "#;
    let files = [("ca.pem", ca.pem.as_str())];
    let gateway = Asking::start("required", &files, policies, ClientCertificates::Required).await;
    assert_eq!(gateway.told(&gateway.client(None), &[]).await, None);
    is(gateway.asked(Some(&ca.client("a", 1, 1_000))).await, GOOD);
    // Another's certificate with a key of one's own.
    let stolen = Shown { key: ca.client("b", 2, 1_000).key, ..ca.client("a", 1, 1_000) };
    let key = PrivateKeyDer::from_pem_slice(stolen.key.as_bytes()).unwrap();
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let key = provider.key_provider.load_private_key(key).unwrap();
    let certified = Arc::new(rustls::sign::CertifiedKey::new(vec![stolen.der.clone()], key));
    let mut config = (*gateway.client(None)).clone();
    config.client_auth_cert_resolver = Arc::new(Always(certified));
    assert_eq!(gateway.told(&Arc::new(config), &[]).await, None);
    assert_eq!(gateway.world.service.seen().len(), 1);
}

#[derive(Debug)]
struct Always(Arc<rustls::sign::CertifiedKey>);

impl rustls::client::ResolvesClientCert for Always {
    fn resolve(&self, _: &[&[u8]], _: &[rustls::SignatureScheme]) -> Option<Arc<rustls::sign::CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

#[tokio::test]
async fn t_02_what_is_revoked_is_refused_as_soon_as_the_list_says_so_on_open_and_resumed_connections_too() {
    let ca = Ca::new("root");
    let policies = r#"
        [api.operation.policies.validate_client_certificate]
        authorities = ["{folder}/ca.pem"]
        revocation_lists = ["{folder}/ca.crl"]
    "#;
    let list = ca.list(&[]);
    let files = [("ca.pem", ca.pem.as_str()), ("ca.crl", list.as_str())];
    let gateway = Asking::start("revoked", &files, policies, ClientCertificates::Optional).await;
    let (config, other) = (gateway.client(Some(&ca.client("a", 7, 1_000))), ca.client("b", 8, 1_000));
    let told = gateway.told(&config, &[]).await.unwrap();
    assert_eq!(told, (200, String::new(), false));
    assert_eq!(gateway.told(&config, &[]).await.unwrap(), (200, String::new(), true), "a resumed session has it too");

    let list = |text: &str| std::fs::write(gateway.folder.join("ca.crl"), text).unwrap();
    list(&ca.list(&[7]));
    assert_eq!(gateway.told(&config, &[]).await.unwrap().0, 200, "nobody has looked yet");
    gateway.world.gateway.look();
    let revoked = (401, "ClientCertificateRevoked".to_owned(), true);
    assert_eq!(gateway.told(&config, &[]).await.unwrap(), revoked);
    is(gateway.asked(Some(&other)).await, GOOD);
    // A list that cannot be read leaves the one before, until that one ends.
    list("broken");
    gateway.world.gateway.look();
    assert_eq!(gateway.told(&config, &[]).await.unwrap(), revoked);
    is(gateway.asked(Some(&other)).await, GOOD);
    gateway.world.clock.advance(501);
    is(gateway.asked(Some(&other)).await, (503, "ClientCertificateRevocationUnknown"));
}

#[tokio::test]
async fn a_connection_is_worth_no_more_than_its_certificate() {
    let ca = Ca::new("root");
    let policies = r#"
        [api.operation.policies.validate_client_certificate]
        authorities = ["{folder}/ca.pem"]
        validate_revocation = false
    "#;
    let files = [("ca.pem", ca.pem.as_str())];
    let gateway = Asking::start("kept", &files, policies, ClientCertificates::Optional).await;
    let mut kept = gateway.kept(&ca.client("a", 7, 100)).await;
    for (seconds, status) in [(0, "200"), (100, "200"), (1, "401")] {
        gateway.world.clock.advance(seconds);
        assert_eq!(kept.asked("/a").await, status);
    }
}

#[tokio::test]
async fn g_18_what_one_operation_takes_another_may_refuse_on_the_same_connection() {
    let ca = Ca::new("root");
    let policies = r#"
        [api.operation.policies.validate_client_certificate]
        authorities = ["{folder}/ca.pem"]
        validate_revocation = false
        [[api.operation]]
        name = "b"
        method = "GET"
        path = "/b"
        [api.operation.policies.validate_client_certificate]
        authorities = ["{folder}/ca.pem"]
        validate_revocation = false
        identities = [{ common_name = "b" }]
    "#;
    let files = [("ca.pem", ca.pem.as_str())];
    let gateway = Asking::start("crossing", &files, policies, ClientCertificates::Optional).await;
    let mut kept = gateway.kept(&ca.client("a", 7, 100)).await;
    for (path, status) in [("/a", "200"), ("/b", "401"), ("/a", "200"), ("/b", "401")] {
        assert_eq!(kept.asked(path).await, status, "{path}");
    }
}

#[tokio::test]
async fn t_06_a_certificate_counts_for_the_host_that_its_connection_was_opened_for() {
    let ca = Ca::new("root");
    let policies = r#"
        [api.operation.policies.validate_client_certificate]
        authorities = ["{folder}/ca.pem"]
        validate_revocation = false
        [[api.operation]]
        name = "open"
        method = "GET"
        path = "/open"
        [api.operation.policies.ip_filter]
        action = "allow"
        address = ["127.0.0.1"]
    "#;
    let files = [("ca.pem", ca.pem.as_str())];
    let gateway = Asking::start("misdirected", &files, policies, ClientCertificates::Optional).await;
    let mut kept = gateway.kept(&ca.client("a", 7, 100)).await;
    for (path, host, status) in [
        ("/a", "api.example", "200"),
        ("/a", "API.example:443", "200"),
        ("/a", "other.example", "421"),
        ("/a", "api.example.evil.example", "421"),
        // What asks for no certificate is served over any connection.
        ("/open", "other.example", "200"),
        ("/a", "api.example", "200"),
    ] {
        assert_eq!(kept.asked_of(host, path).await, status, "{host}{path}");
    }
}

/// A connection that is kept.
struct Kept(tokio_rustls::client::TlsStream<TcpStream>);

impl Kept {
    /// The status of an answer, all of which is read.
    async fn asked(&mut self, path: &str) -> String {
        self.asked_of("api.example", path).await
    }

    async fn asked_of(&mut self, host: &str, path: &str) -> String {
        let request = get(path, &[]).replacen("api.example", host, 1);
        self.0.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        loop {
            let mut some = [0; 4_096];
            let length = self.0.read(&mut some).await.unwrap();
            assert!(length > 0, "{text}");
            text += &String::from_utf8_lossy(&some[..length]);
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            let stated = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
            if body.len() == stated.parse::<usize>().unwrap() {
                return head.split(' ').nth(1).unwrap().to_owned();
            }
        }
    }
}

#[tokio::test]
async fn all_that_an_identity_names_has_to_be_so_and_one_identity_of_several() {
    let ca = Ca::new("root");
    let (a, b) = (ca.client("a", 0x1f, 1_000), ca.client("b", 0x2f, 1_000));
    let c =
        ca.made("c", 1_000, |p| p.subject_alt_names = vec![rcgen::SanType::DnsName("c.example".try_into().unwrap())]);
    let other = Ca::new("root");
    let files = [("ca.pem", ca.pem.as_str()), ("other.pem", other.pem.as_str())];
    let identities = |all: &str| {
        format!(
            "[api.operation.policies.validate_client_certificate]\nauthorities = [\"{{folder}}/ca.pem\"]\n\
             validate_revocation = false\nidentities = [{all}]"
        )
    };
    let gateway =
        Asking::start("identities", &files, &identities("{ common_name = \"a\" }"), ClientCertificates::Optional).await;
    let by_thumbprint = format!("{{ thumbprint = \"{}\" }}", a.thumbprint());
    let issuer = thumbprint(&CertificateDer::from_pem_slice(ca.pem.as_bytes()).unwrap());
    let by_issuer = format!("{{ common_name = \"b\", issuer_thumbprint = \"{issuer}\" }}");
    let by_another = format!(
        "{{ issuer_thumbprint = \"{}\" }}",
        thumbprint(&CertificateDer::from_pem_slice(other.pem.as_bytes()).unwrap())
    );
    let (sees_a, sees_b, sees_c, sees_none) = ([200, 401, 401], [401, 200, 401], [401, 401, 200], [401, 401, 401]);
    for (all, expected) in [
        ("{ common_name = \"a\" }", sees_a),
        ("{ common_name = \"A\" }", sees_none),
        (by_thumbprint.as_str(), sees_a),
        ("{ serial_number = \"2F\" }", sees_b),
        ("{ serial_number = \"002f\", common_name = \"b\" }", sees_b),
        ("{ serial_number = \"2f\", common_name = \"a\" }", sees_none),
        ("{ common_name = \"a\" }, { common_name = \"b\" }", [200, 200, 401]),
        (r#"{ subject = 'CN=a, O="Contoso, Inc."' }"#, sees_a),
        ("{ subject = 'CN=a' }", sees_none),
        ("{ dns_name = \"C.example\" }", sees_c),
        (r#"{ issuer_subject = 'O="Contoso, Inc.", CN=root' }"#, [200, 200, 200]),
        ("{ issuer_subject = 'CN=root' }", sees_none),
        (by_issuer.as_str(), sees_b),
        (by_another.as_str(), sees_none),
        ("{ issuer_certificate_id = \"{folder}/other.pem\" }", sees_none),
        ("{ issuer_certificate_id = \"{folder}/ca.pem\", dns_name = \"c.example\" }", sees_c),
    ] {
        gateway
            .world
            .reload(&written(&identities(all), &gateway.folder, ClientCertificates::Optional))
            .unwrap_or_else(|e| panic!("{all}: {e}"));
        for (shown, status) in [&a, &b, &c].into_iter().zip(expected) {
            let reason = if status == 200 { "" } else { "ClientCertificateIdentityNotMatched" };
            let told = gateway.asked(Some(shown)).await;
            assert_eq!(told, (status, reason.to_owned()), "{all}");
        }
    }
}

#[tokio::test]
async fn the_rules_can_be_waived_one_by_one() {
    let ca = Ca::new("root");
    let own = Ca::new("other").client("a", 1, 1_000);
    let files = [("ca.pem", ca.pem.as_str())];
    let pinned = format!(
        "[api.operation.policies.validate_client_certificate]\nvalidate_trust = false\nvalidate_revocation = false\n\
         identities = [{{ thumbprint = \"{}\" }}]",
        own.thumbprint()
    );
    let gateway = Asking::start("waived", &files, &pinned, ClientCertificates::Optional).await;
    is(gateway.asked(Some(&own)).await, GOOD);
    is(gateway.asked(Some(&ca.client("a", 1, 1_000))).await, (401, "ClientCertificateIdentityNotMatched"));
    let with = |more: &str| {
        let policies = format!(
            "[api.operation.policies.validate_client_certificate]\nauthorities = [\"{{folder}}/ca.pem\"]\n\
             validate_revocation = false\n{more}"
        );
        gateway
            .world
            .reload(&written(&policies, &gateway.folder, ClientCertificates::Optional))
            .unwrap_or_else(|e| panic!("{more}: {e}"));
    };
    let early = ca.made("a", 2_000, |p| p.not_before += Duration::from_secs(10_001));
    for (more, expected) in [
        ("", ["ClientCertificateExpired", "ClientCertificateNotYetValid", "ClientCertificateNotTrusted"]),
        ("validate_not_after = false", ["", "ClientCertificateNotYetValid", "ClientCertificateNotTrusted"]),
        ("validate_not_before = false", ["ClientCertificateExpired", "", "ClientCertificateNotTrusted"]),
    ] {
        with(more);
        for (shown, reason) in [&ca.client("a", 1, -1), &early, &own].into_iter().zip(expected) {
            let status = if reason.is_empty() { 200 } else { 401 };
            assert_eq!(gateway.asked(Some(shown)).await, (status, reason.to_owned()), "{more}");
        }
    }
}

#[tokio::test]
async fn errors_are_ignored_where_that_is_said_and_something_else_keeps_callers_out() {
    let ca = Ca::new("root");
    let files = [("ca.pem", ca.pem.as_str())];
    let policies = r#"
        [api.operation.policies.validate_client_certificate]
        authorities = ["{folder}/ca.pem"]
        validate_revocation = false
        ignore_error = true
    "#;
    let public = format!("{policies}[api.operation.policies.ip_filter]\naction = \"allow\"\naddress = [\"127.0.0.1\"]");
    let gateway = Asking::start("ignored", &files, &public, ClientCertificates::Optional).await;
    is(gateway.asked(None).await, GOOD);
    is(gateway.asked(Some(&ca.client("a", 1, -1))).await, GOOD);
    let alone = gateway.world.reload(&written(policies, &gateway.folder, ClientCertificates::Optional)).unwrap_err();
    assert!(alone.problem.contains("no policy that"), "{alone}");
}

#[tokio::test]
async fn t_03_a_bound_token_is_good_over_its_own_certificates_connections_alone() {
    let ca = Ca::new("root");
    let files = [("ca.pem", ca.pem.as_str())];
    let policies = |require: &str| {
        format!(
            "[api.operation.policies.validate_jwt]\nissuers = [\"contoso\"]\naudiences = [\"api://orders\"]\n\
             [api.operation.policies.require]\nscopes = [\"Orders.Read\"]\n{require}"
        )
    };
    let gateway = Asking::start("bound", &files, &policies(""), ClientCertificates::Optional).await;
    let (a, b) = (ca.client("a", 1, 1_000), ca.client("b", 2, 1_000));
    let (of_a, of_b, of_none) = (gateway.client(Some(&a)), gateway.client(Some(&b)), gateway.client(None));
    let bound = gateway.world.bearer(&json!({"cnf": {"x5t#S256": a.x5t_s256()}}));
    let plain = gateway.world.bearer(&json!({}));
    let refused = (401, "TokenClaimValueNotAllowed");
    for demanded in [false, true] {
        let require = if demanded { "certificate_bound = true" } else { "" };
        gateway.world.reload(&written(&policies(require), &gateway.folder, ClientCertificates::Optional)).unwrap();
        let of_plain = if demanded { refused } else { GOOD };
        for (config, token, expected) in [
            (&of_a, &bound, GOOD),
            (&of_b, &bound, refused),
            (&of_none, &bound, refused),
            // The session of before is resumed: its certificate is still the one that counts.
            (&of_b, &bound, refused),
            (&of_a, &bound, GOOD),
            (&of_a, &plain, of_plain),
            (&of_none, &plain, of_plain),
        ] {
            let (status, reason, _) = gateway.told(config, &[("authorization", token)]).await.unwrap();
            assert_eq!((status, reason.as_str()), expected, "{demanded}");
        }
    }
    assert_eq!(gateway.world.get("/a", &[("authorization", &bound)]).await.status, 401, "without TLS");
}

#[tokio::test]
async fn what_would_be_no_check_is_not_read() {
    let folder = std::env::temp_dir().join(format!("deputize-gateway-mutual-{}-sound", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let ca = Ca::new("root");
    std::fs::write(folder.join("ca.pem"), &ca.pem).unwrap();
    std::fs::write(folder.join("key.pem"), ca.client("a", 1, 1).key).unwrap();
    let key = KeyPair::generate().unwrap();
    let server = CertificateParams::new(vec!["api.example".to_owned()]).unwrap().self_signed(&key).unwrap();
    std::fs::write(folder.join("server.pem"), server.pem()).unwrap();
    std::fs::write(folder.join("server.key"), key.serialize_pem()).unwrap();
    let world = World::start(ORDERS).await;
    let trust = "authorities = [\"{folder}/ca.pem\"]\nvalidate_revocation = false\n";
    let pinned = "validate_trust = false\nvalidate_revocation = false\n";
    for (policy, problem) in [
        (String::new(), "nobody is named who vouches"),
        ("authorities = [\"{folder}/ca.pem\"]".to_owned(), "nothing tells which certificates are revoked"),
        ("validate_trust = false".to_owned(), "only who vouches for it can tell"),
        (pinned.to_owned(), "which is no check"),
        (format!("{pinned}identities = [{{ common_name = \"a\" }}]"), "anybody can write such a certificate"),
        (
            format!("{pinned}identities = [{{ thumbprint = \"{}\", issuer_subject = \"CN=a\" }}]", "ab".repeat(32)),
            "who vouches",
        ),
        (format!("{pinned}authorities = [\"{{folder}}/ca.pem\"]"), "are not asked"),
        (format!("{trust}revocation_lists = [\"{{folder}}/ca.pem\"]"), "are not looked at"),
        (format!("{trust}identities = [{{}}]"), "names nothing"),
        (format!("{trust}identities = [{{ thumbprint = \"ab\" }}]"), "this is no thumbprint"),
        (format!("{trust}identities = [{{ serial_number = \"x\" }}]"), "this is no serial number"),
        (format!("{trust}identities = [{{ subject = \"orders\" }}]"), "this is no distinguished name"),
        (format!("{trust}identities = [{{ dns_name = \"\" }}]"), "a name is empty"),
        (
            format!(
                "{trust}identities = [{{ issuer_subject = \"CN=a\", issuer_certificate_id = \"{{folder}}/ca.pem\" }}]"
            ),
            "the issuer is named twice",
        ),
        (
            format!("{trust}identities = [{{ issuer_certificate_id = \"{{folder}}/key.pem\" }}]"),
            "holds no certificate in PEM",
        ),
        ("authorities = [\"{folder}/none.pem\"]\nvalidate_revocation = false".to_owned(), "none.pem` cannot be read"),
        ("authorities = [\"{folder}/key.pem\"]\nvalidate_revocation = false".to_owned(), "no certificate in PEM"),
        ("authorities = [\"{folder}/ca.pem\"]\nrevocation_lists = [\"{folder}/ca.pem\"]".to_owned(), "revocation list"),
    ] {
        let policy = format!("[api.operation.policies.validate_client_certificate]\n{policy}");
        let error = world.reload(&written(&policy, &folder, ClientCertificates::Optional)).unwrap_err();
        assert!(error.problem.contains(problem), "{policy}: {error}");
        assert!(!error.hint.is_empty() && !error.at.is_empty(), "{policy}: {error}");
    }
    let policy = format!("[api.operation.policies.validate_client_certificate]\n{trust}");
    let unasked =
        written(&policy, &folder, ClientCertificates::Optional).replace("client_certificates = \"optional\"", "");
    let error = world.reload(&unasked).unwrap_err();
    assert!(
        error.problem.contains("not asked for certificates") && error.hint.contains("client_certificates"),
        "{error}"
    );
    std::fs::remove_dir_all(&folder).unwrap();
}
