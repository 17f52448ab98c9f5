//! Certificates that a proxy tells of, which shook hands with the caller: judged as if they were shown, and nobody else's word for one.
use crate::mutual::{Ca, Shown};
use crate::support::{Answered, NOON, World, answered, get};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;
use serve::{Listeners, Socket};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use testkit::SetClock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;

/// The four fields.
const FIELDS: [&str; 4] = ["X-Forwarded-Client-Cert", "Client-Cert", "X-ARR-ClientCert", "ssl-client-cert"];

fn base64(der: &[u8]) -> String {
    STANDARD.encode(der)
}

fn pem(der: &[u8]) -> String {
    let text = base64(der).replace('+', "%2B").replace('=', "%3D");
    format!("-----BEGIN%20CERTIFICATE-----%0A{text}%0A-----END%20CERTIFICATE-----%0A")
}

fn hash(der: &[u8]) -> String {
    Sha256::digest(der).iter().map(|octet| format!("{octet:02x}")).collect::<Vec<_>>().concat()
}

/// What a proxy says of this certificate in this field.
fn said(field: &str, shown: &Shown) -> String {
    match field {
        "Client-Cert" => format!(":{}:", base64(&shown.der)),
        "X-ARR-ClientCert" => base64(&shown.der),
        "ssl-client-cert" => pem(&shown.der),
        _ => format!("Hash={};Cert=\"{}\";Subject=\"CN=nobody\"", hash(&shown.der), pem(&shown.der)),
    }
}

fn text(proxies: &str, field: &str, policies: &str) -> String {
    format!(
        r#"
    listen = "localhost:8443"
    trusted_proxies = [{proxies}]

    [[listener]]
    address = "localhost:8080"
    plain = true
    client_certificate_header = "{field}"

    [[issuer]]
    name = "contoso"
    issuer = "{{iss}}"
    jwks_uri = "{{jwks}}"
    tenants = ["t1"]

    [[upstream]]
    name = "orders"
    url = "{{service}}"

    [[api]]
    name = "orders"
    path = "/"
    upstream = "orders"
    [[api.operation]]
    name = "all"
    method = "*"
    path = "/*"
    {policies}
"#
    )
}

const OURS: &str = "\"127.0.0.1\"";
const PARTNERS: &str = "[api.operation.policies.validate_client_certificate]\nauthorities = [\"ca.pem\"]\n\
    validate_revocation = false\nidentities = [{ common_name = \"partner\" }]\n";

struct Told {
    world: World,
    address: std::net::SocketAddr,
    server: Option<CertificateDer<'static>>,
    _listeners: Listeners,
}

impl Told {
    async fn start(ca: &Ca, text: &str) -> Self {
        Self::with(ca, text, &[]).await
    }

    /// With what the authority revoked.
    async fn with(ca: &Ca, text: &str, revoked: &[u64]) -> Self {
        let mut server = None;
        let world = World::within(text, SetClock::at(NOON), |ports, folder| {
            std::fs::write(folder.join("ca.pem"), &ca.pem).unwrap();
            std::fs::write(folder.join("ca.crl"), ca.list(revoked)).unwrap();
            let key = rcgen::KeyPair::generate().unwrap();
            let names = vec!["api.example".to_owned()];
            let made = rcgen::CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
            std::fs::write(folder.join("server.pem"), made.pem() + &key.serialize_pem()).unwrap();
            server = Some(made.der().clone());
            ports
        });
        let world = world.await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut listeners = Listeners::new();
        let entrance = world.gateway.entrances().remove(1);
        let front = Arc::new(entrance.front());
        listeners.add_behind(Socket::Tcp(listener), Arc::new(entrance), front);
        Self { world, address, server, _listeners: listeners }
    }

    async fn asked(&self, fields: &[(&str, &str)]) -> Answered {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(get("/a", &[&[("connection", "close")], fields].concat()).as_bytes()).await.unwrap();
        answered(&mut stream).await
    }

    async fn judged(&self, fields: &[(&str, &str)]) -> (u16, String) {
        let answer = self.asked(fields).await;
        if answer.status == 200 { (200, String::new()) } else { answer.reason() }
    }

    /// A status and a reason, over a connection that is opened with this certificate.
    async fn judged_over_tls(&self, shown: &Shown, fields: &[(&str, &str)]) -> (u16, String) {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.server.clone().unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let key = PrivateKeyDer::from_pem_slice(shown.key.as_bytes()).unwrap();
        let config = config.unwrap().with_root_certificates(roots).with_client_auth_cert(vec![shown.der.clone()], key);
        let stream = TcpStream::connect(self.address).await.unwrap();
        let name = "api.example".try_into().unwrap();
        let mut stream = TlsConnector::from(Arc::new(config.unwrap())).connect(name, stream).await.unwrap();
        let fields = [&[("connection", "close")], fields].concat();
        stream.write_all(get("/a", &fields).as_bytes()).await.unwrap();
        let mut text = String::new();
        // A peer that leaves without a word has answered before.
        let _ = stream.read_to_string(&mut text).await;
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let body: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, body["reason"].as_str().unwrap_or_default().to_owned())
    }
}

fn is(told: (u16, String), expected: (u16, &str), what: &str) {
    assert_eq!((told.0, told.1.as_str()), expected, "{what}");
}

#[tokio::test]
async fn t_01_a_certificate_that_a_trusted_proxy_tells_is_judged_as_if_it_were_shown() {
    let (ca, twin) = (Ca::new("root"), Ca::new("root"));
    for field in FIELDS {
        let gateway = Told::start(&ca, &text(OURS, field, PARTNERS)).await;
        let (partner, other) = (ca.client("partner", 1, 1_000), ca.client("other", 2, 1_000));
        let good = said(field, &partner);
        is(gateway.judged(&[(field, &good)]).await, (200, ""), field);
        let seen = gateway.world.service.only().0.to_ascii_lowercase();
        assert!(
            !seen.contains("cert:") && !seen.contains(&good.to_ascii_lowercase()),
            "nobody behind it is told: {seen}"
        );
        for (shown, reason) in [
            (&other, "ClientCertificateIdentityNotMatched"),
            (&twin.client("partner", 1, 1_000), "ClientCertificateNotTrusted"),
            (&ca.client("partner", 3, -1), "ClientCertificateExpired"),
        ] {
            is(gateway.judged(&[(field, &said(field, shown))]).await, (401, reason), field);
        }
        for fields in [&[][..], &[(field, "")]] {
            is(gateway.judged(fields).await, (401, "ClientCertificateNotFound"), field);
        }
        for another in FIELDS.into_iter().filter(|another| *another != field) {
            is(
                gateway.judged(&[(another, &said(another, &partner))]).await,
                (401, "ClientCertificateNotFound"),
                another,
            );
        }
    }
}

#[tokio::test]
async fn t_01_a_chain_is_told_beside_the_certificate_or_with_it() {
    let root = Ca::new("root");
    let between = root.below("between");
    let shown = between.client("partner", 1, 1_000);
    let gateway = Told::start(&root, &text(OURS, "Client-Cert", PARTNERS)).await;
    let own = said("Client-Cert", &shown);
    is(gateway.judged(&[("client-cert", &own)]).await, (401, "ClientCertificateNotTrusted"), "alone");
    let chain = format!(":{}:, :{}:", base64(b"none"), base64(&between.der));
    is(gateway.judged(&[("client-cert", &own), ("client-cert-chain", &chain)]).await, (200, ""), "beside it");
    is(gateway.judged(&[("client-cert-chain", &chain)]).await, (401, "ClientCertificateNotFound"), "a chain of nobody");
    let gateway = Told::start(&root, &text(OURS, FIELDS[0], PARTNERS)).await;
    let all = format!(
        "Hash={};Cert=\"{}\";Chain=\"{}{}\"",
        hash(&shown.der),
        pem(&shown.der),
        pem(&shown.der),
        pem(&between.der)
    );
    is(gateway.judged(&[(FIELDS[0], &all)]).await, (200, ""), "with it");
}

#[tokio::test]
async fn t_04_nobody_but_a_trusted_proxy_tells_of_certificates_and_only_where_that_is_said() {
    let ca = Ca::new("root");
    let partner = ca.client("partner", 1, 1_000);
    for field in FIELDS {
        let gateway = Told::start(&ca, &text("\"10.0.0.0/8\"", field, PARTNERS)).await;
        let good = said(field, &partner);
        for fields in [
            &[(field, good.as_str())][..],
            &[(field, &good), (field, &good)],
            &[(field, &good), ("x-forwarded-for", "10.0.0.1")],
        ] {
            is(gateway.judged(fields).await, (401, "ClientCertificateNotFound"), field);
        }
        // The other listener has a proxy's word for nothing.
        let gateway = Told::start(&ca, &text(OURS, field, PARTNERS)).await;
        is(gateway.world.get("/a", &[(field, &good)]).await.reason(), (401, "ClientCertificateNotFound"), field);
        gateway
            .world
            .reload(&text(
                OURS,
                field,
                "[api.operation.policies.ip_filter]\naction = \"allow\"\naddress = [\"127.0.0.1\"]",
            ))
            .unwrap();
        let alias = field.replace('-', "_");
        assert_eq!(gateway.world.get("/a", &[(field, "grace"), (&alias, "grace")]).await.status, 200);
        let seen = gateway.world.service.only();
        assert!(!seen.0.contains("grace"), "{seen:?}");
    }
}

#[tokio::test]
async fn t_04_two_certificates_or_one_that_cannot_be_read_are_no_request() {
    let ca = Ca::new("root");
    for field in FIELDS {
        let gateway = Told::start(&ca, &text(OURS, field, PARTNERS)).await;
        let good = said(field, &ca.client("partner", 1, 1_000));
        let both = format!("{good},{good}");
        for fields in
            [&[(field, good.as_str()), (field, &good)][..], &[(field, &both)], &[(field, "%")], &[(field, "(null)")]]
        {
            let answer = gateway.asked(fields).await;
            assert_eq!((answer.status, answer.check().as_str()), (400, "gateway.request"), "{field}: {fields:?}");
            assert!(answer.body.contains(&field.to_ascii_lowercase()), "{answer:?}");
        }
        assert!(gateway.world.service.seen().is_empty());
    }
}

#[tokio::test]
async fn t_03_a_bound_token_is_good_with_the_certificate_that_is_told_alone() {
    let ca = Ca::new("root");
    let policies = "[api.operation.policies.validate_jwt]\nissuers = [\"contoso\"]\naudiences = [\"api://orders\"]\n\
        [api.operation.policies.require]\ncertificate_bound = true\n";
    let gateway = Told::start(&ca, &text(OURS, "Client-Cert", policies)).await;
    let (a, b) = (ca.client("a", 1, 1_000), ca.client("b", 2, 1_000));
    let x5t = URL_SAFE_NO_PAD.encode(Sha256::digest(&a.der));
    let bound = gateway.world.bearer(&json!({"cnf": {"x5t#S256": x5t}}));
    let (of_a, of_b) = (said("Client-Cert", &a), said("Client-Cert", &b));
    let token = ("authorization", bound.as_str());
    is(gateway.judged(&[token, ("client-cert", &of_a)]).await, (200, ""), "its own");
    for fields in [&[token][..], &[token, ("client-cert", &of_b)]] {
        assert_eq!(gateway.judged(fields).await.0, 401, "{fields:?}");
    }
    assert_eq!(gateway.world.get("/a", &[token, ("client-cert", &of_a)]).await.status, 401, "told to another listener");
}

#[tokio::test]
async fn whose_word_counts_is_said_and_does_not_change_while_it_runs() {
    let ca = Ca::new("root");
    let text = text(OURS, "Client-Cert", PARTNERS);
    let gateway = Told::start(&ca, &text).await;
    for (changed, problem) in [
        (text.replace(OURS, ""), "nobody may tell here"),
        (text.replace("\"Client-Cert\"", "\"ssl-client-cert\""), "does not change while the gateway runs"),
        (text.replace("client_certificate_header = \"Client-Cert\"", ""), "callers are not asked for certificates"),
    ] {
        let error = gateway.world.reload(&changed).unwrap_err();
        assert!(error.problem.contains(problem), "{error}");
    }
    // Who is a proxy no more is believed no more, over open connections too; nor does anything stay with a connection.
    let said = said("Client-Cert", &ca.client("partner", 1, 1_000));
    let mut open = TcpStream::connect(gateway.address).await.unwrap();
    for (told, status) in [(Some(&said), 200), (None, 401), (Some(&said), 200)] {
        let fields: Vec<(&str, &str)> = told.iter().map(|said| ("client-cert", said.as_str())).collect();
        open.write_all(get("/a", &fields).as_bytes()).await.unwrap();
        assert_eq!(answered(&mut open).await.status, status);
    }
    gateway.world.reload(&text.replace(OURS, "\"10.0.0.0/8\"")).unwrap();
    open.write_all(get("/a", &[("client-cert", &said)]).as_bytes()).await.unwrap();
    assert_eq!(answered(&mut open).await.status, 401);
}

#[tokio::test]
async fn t_02_a_told_certificate_that_is_revoked_or_of_which_no_list_tells_is_refused() {
    let ca = Ca::new("root");
    let policies = PARTNERS.replace("validate_revocation = false", "revocation_lists = [\"ca.crl\"]");
    for field in FIELDS {
        let gateway = Told::with(&ca, &text(OURS, field, &policies), &[7]).await;
        is(gateway.judged(&[(field, &said(field, &ca.client("partner", 1, 1_000)))]).await, (200, ""), field);
        let revoked = said(field, &ca.client("partner", 7, 1_000));
        is(gateway.judged(&[(field, &revoked)]).await, (401, "ClientCertificateRevoked"), field);
        gateway.world.clock.advance(600);
        let told = gateway.judged(&[(field, &said(field, &ca.client("partner", 1, 1_000)))]).await;
        is(told, (503, "ClientCertificateRevocationUnknown"), field);
    }
}

#[tokio::test]
async fn t_02_a_told_certificate_that_was_good_a_moment_ago_is_good_for_no_longer_than_that() {
    let ca = Ca::new("root");
    let policies = PARTNERS.replace("validate_revocation = false", "revocation_lists = [\"ca.crl\"]");
    for field in FIELDS {
        let gateway = Told::start(&ca, &text(OURS, field, &policies)).await;
        let (partner, brief) =
            (said(field, &ca.client("partner", 1, 1_000)), said(field, &ca.client("partner", 2, 30)));
        for told in [&partner, &brief, &partner, &brief] {
            is(gateway.judged(&[(field, told)]).await, (200, ""), field);
        }
        let other = said(field, &ca.client("other", 1, 1_000));
        is(gateway.judged(&[(field, &other)]).await, (401, "ClientCertificateIdentityNotMatched"), "another's");
        // Its times, on the second.
        gateway.world.clock.advance(31);
        is(gateway.judged(&[(field, &brief)]).await, (401, "ClientCertificateExpired"), field);
        is(gateway.judged(&[(field, &partner)]).await, (200, ""), field);
        // What was revoked, and who is trusted, within the second.
        let write = |name: &str, text: &str| std::fs::write(gateway.world.folder.join(name), text).unwrap();
        write("ca.crl", &ca.list(&[1]));
        gateway.world.gateway.look();
        is(gateway.judged(&[(field, &partner)]).await, (401, "ClientCertificateRevoked"), field);
        write("ca.crl", &ca.list(&[9]));
        gateway.world.gateway.look();
        is(gateway.judged(&[(field, &partner)]).await, (200, ""), field);
        let twin = Ca::new("root");
        write("ca.pem", &twin.pem);
        write("ca.crl", &twin.list(&[]));
        gateway.world.gateway.look();
        is(gateway.judged(&[(field, &partner)]).await, (401, "ClientCertificateNotTrusted"), field);
        // Nor by another configuration.
        let any = "[api.operation.policies.validate_client_certificate]\nvalidate_trust = false\nvalidate_revocation = false\n";
        let nobody = format!("{any}identities = [{{ thumbprint = \"{}\" }}]\n", "00".repeat(32));
        gateway.world.reload(&text(OURS, field, &nobody)).unwrap();
        is(gateway.judged(&[(field, &partner)]).await, (401, "ClientCertificateIdentityNotMatched"), field);
    }
}

#[tokio::test]
async fn t_01_beside_what_a_proxy_tells_its_own_certificate_counts_for_nothing() {
    let ca = Ca::new("root");
    let (partner, other) = (ca.client("partner", 1, 1_000), ca.client("other", 2, 1_000));
    let tls = |proxies: &str, field: &str| {
        let pair =
            "client_certificates = \"optional\"\n[[certificate]]\ncertificate = \"server.pem\"\nkey = \"server.pem\"\n";
        let text = text(proxies, field, PARTNERS).replace("plain = true\n", "");
        let (first, rest) = text.split_once("[[listener]]").unwrap();
        format!("{first}{pair}[[listener]]{rest}")
    };
    for field in FIELDS {
        let (good, bad) = (said(field, &partner), said(field, &other));
        let ours = Told::start(&ca, &tls(OURS, field)).await;
        is(
            ours.judged_over_tls(&other, &[(field, &good)]).await,
            (200, ""),
            "its caller's is good, the proxy's is not",
        );
        let reason = "ClientCertificateIdentityNotMatched";
        is(ours.judged_over_tls(&partner, &[(field, &bad)]).await, (401, reason), "the other way round");
        is(ours.judged_over_tls(&partner, &[]).await, (401, "ClientCertificateNotFound"), "its caller showed none");
        let others = Told::start(&ca, &tls("\"10.0.0.0/8\"", field)).await;
        is(others.judged_over_tls(&partner, &[(field, &bad)]).await, (200, ""), "who is no proxy is itself");
        is(others.judged_over_tls(&other, &[(field, &good)]).await, (401, reason), "and nobody else");
        is(others.judged_over_tls(&partner, &[(field, "%"), (field, "%")]).await, (200, ""), "nor is it read");
    }
}

#[tokio::test]
async fn t_04_a_service_is_sent_what_a_trusted_proxy_tells_only_where_an_api_says_so_and_never_what_others_write() {
    let ca = Ca::new("root");
    let partner = ca.client("partner", 1, 1_000);
    let asks = |proxies: &str, field: &str| {
        let chain = if field == "Client-Cert" { ", \"client-cert-chain\"" } else { "" };
        let all = format!("forward_identity_headers = [\"{field}\"{chain}]\n[[api.operation]]");
        let public = "[api.operation.policies.ip_filter]\naction = \"allow\"\naddress = [\"127.0.0.1\"]";
        text(proxies, field, public).replacen("[[api.operation]]", &all, 1)
    };
    let chain = ("client-cert-chain", ":AAAA:");
    for field in FIELDS {
        let name = field.to_ascii_lowercase();
        let good = said(field, &partner);
        let ours = Told::start(&ca, &asks(OURS, field)).await;
        let alias = field.replace('-', "_");
        let fields = [(field, good.as_str()), (&alias, "mallory"), ("connection", "close")];
        assert_eq!(ours.asked(&fields).await.status, 200);
        let seen = ours.world.service.only();
        assert_eq!(seen.field(&name), [good.as_str()], "as the proxy said it");
        assert!(!seen.0.contains("mallory"), "{seen:?}");
        ours.world.service.forget();
        // Whom `Connection` names is another way to be rid of it.
        assert_eq!(ours.asked(&[(field, &good), ("connection", field)]).await.status, 400);
        // The other listener has nobody's word.
        assert_eq!(ours.world.get("/a", &[(field, &good), chain]).await.status, 200);
        let seen = ours.world.service.only();
        assert!(seen.field(&name).is_empty(), "{seen:?}");
        assert!(seen.field(chain.0).is_empty(), "{seen:?}");

        let others = Told::start(&ca, &asks("\"10.0.0.0/8\"", field)).await;
        assert_eq!(others.asked(&[(field, &good), (field, &good), (&alias, &good)]).await.status, 200);
        let seen = others.world.service.only();
        assert!(!seen.0.to_ascii_lowercase().contains(&good.to_ascii_lowercase()), "{seen:?}");
    }
}

#[tokio::test]
async fn t_04_both_kinds_at_once_are_the_one_that_is_configured() {
    let ca = Ca::new("root");
    let (partner, other) = (ca.client("partner", 1, 1_000), ca.client("other", 2, 1_000));
    for field in FIELDS {
        let gateway = Told::start(&ca, &text(OURS, field, PARTNERS)).await;
        for another in FIELDS.into_iter().filter(|another| *another != field) {
            let good = [(another, said(another, &other)), (field, said(field, &partner))];
            let fields: Vec<(&str, &str)> = good.iter().map(|(name, value)| (*name, value.as_str())).collect();
            is(gateway.judged(&fields).await, (200, ""), another);
            let bad = [(another, said(another, &partner)), (field, said(field, &other))];
            let fields: Vec<(&str, &str)> = bad.iter().map(|(name, value)| (*name, value.as_str())).collect();
            is(gateway.judged(&fields).await, (401, "ClientCertificateIdentityNotMatched"), another);
        }
        let seen = gateway.world.service.seen().concat().to_ascii_lowercase();
        assert!(!seen.contains("cert"), "none of them goes on: {seen}");
    }
}

#[tokio::test]
async fn t_04_huge_fields_and_endless_chains_are_refused() {
    let root = Ca::new("root");
    let shown = root.client("partner", 1, 1_000);
    let own = pem(&shown.der);
    let gateway = Told::start(&root, &text(OURS, FIELDS[0], PARTNERS)).await;
    let chain = |links: usize| format!("Hash={};Chain=\"{own}{}\"", hash(&shown.der), pem(&root.der).repeat(links));
    is(gateway.judged(&[(FIELDS[0], &chain(9))]).await, (200, ""), "ten");
    is(gateway.judged(&[(FIELDS[0], &chain(10))]).await, (401, "ClientCertificateNotTrusted"), "eleven");
    let long = format!("Hash={};Cert=\"{own}\";Subject=\"{}\"", hash(&shown.der), "\\\"".repeat(20_000));
    is(gateway.judged(&[(FIELDS[0], &long)]).await, (200, ""), "long, and sound");
    let huge = "-".repeat(300_000);
    assert_eq!(gateway.asked(&[(FIELDS[0], &huge)]).await.status, 431);
}

#[tokio::test]
async fn t_04_who_comes_through_a_load_balancer_with_the_proxy_protocol_is_believed_only_if_it_is_a_trusted_proxy_itself()
 {
    let ca = Ca::new("root");
    let field = "Client-Cert";
    let introduced = text("\"127.0.0.1\", \"10.0.0.1\"", field, PARTNERS)
        .replace("plain = true", "plain = true\nproxy_protocol = true");
    let gateway = Told::start(&ca, &introduced).await;
    let good = said(field, &ca.client("partner", 1, 1_000));
    for (address, expected) in [("10.0.0.1", (200, "")), ("203.0.113.9", (401, "ClientCertificateNotFound"))] {
        let mut stream = TcpStream::connect(gateway.address).await.unwrap();
        let head = format!("PROXY TCP4 {address} 127.0.0.1 4711 443\r\n");
        let request = get("/a", &[("connection", "close"), (field, &good)]);
        stream.write_all((head + &request).as_bytes()).await.unwrap();
        let answer = answered(&mut stream).await;
        is(if answer.status == 200 { (200, String::new()) } else { answer.reason() }, expected, address);
    }
}

#[tokio::test]
async fn fields_that_servers_take_for_a_told_one_cannot_be_asked_for() {
    let ca = Ca::new("root");
    let text = text(OURS, "Client-Cert", PARTNERS);
    let gateway = Told::start(&ca, &text).await;
    for (name, is_sound) in
        [("client_cert", false), ("client.cert-chain", false), ("Client-Cert", true), ("x_user", true)]
    {
        let asks = format!("forward_identity_headers = [\"{name}\"]\n[[api.operation]]");
        let told = gateway.world.reload(&text.replacen("[[api.operation]]", &asks, 1));
        assert_eq!(told.is_ok(), is_sound, "{name}: {told:?}");
        assert!(told.is_ok() || told.unwrap_err().problem.contains("could take"), "{name}");
    }
}
