//! Secrets and certificates from vaults and commands: fetched, kept, replaced, and done without.
use crate::support::{Connection, World, answered, get};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use client::managed_identity::ManagedIdentity;
use fetch::{Allow, Fetch};
use gateway::Ports;
use jose::corpus::pkcs12::{Document, Shape, with_attributes};
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::json;
use serve::{Listeners, Socket};
use std::net::SocketAddr;
use std::sync::Arc;
use testkit::{SetClock, Vault};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;

const NOON: decision::Timestamp = crate::support::NOON;

/// A vault, and a gateway that asks it: `{vault}` is its address, `{resource}` what its tokens are for.
pub(crate) async fn start(text: &str) -> (World, Vault) {
    let clock = SetClock::at(NOON);
    let vault = Vault::start(clock.clone()).await.unwrap();
    let world = World::with(&written(text, &vault), clock.clone(), |ports| asking(ports, &vault, &clock)).await;
    (world, vault)
}

fn written(text: &str, vault: &Vault) -> String {
    text.replace("{vault}", &vault.url()).replace("{resource}", vault.resource())
}

/// A host with identities, in a network where the vault is.
fn asking(ports: Ports, vault: &Vault, clock: &SetClock) -> Ports {
    let allow = Allow { plain_loopback: true, ..Allow::INSIDE };
    let fetch = Fetch::builder().allow(allow).ca_pem(vault.ca_pem().as_bytes()).unwrap().build().unwrap();
    let fetch = Arc::new(fetch);
    let (endpoint, header) = vault.identity();
    let transport = Arc::clone(&fetch) as Arc<dyn client::Transport>;
    let host = ManagedIdentity::site(endpoint, oauth::Secret::new(header), transport, Arc::new(clock.clone()));
    Ports { tokens: fetch, host, ..ports }
}

/// Another certificate for this name, and its key, in one text.
fn made(name: &str) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec![name.to_owned()]).unwrap().self_signed(&key).unwrap();
    (certificate.pem(), key.serialize_pem())
}

/// One in PKCS#12, and the certificate in PEM.
fn pkcs12(shape: Shape) -> (String, Document) {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["api.example".to_owned()]).unwrap().self_signed(&key).unwrap();
    let pkcs8 = with_attributes(&key.serialize_der());
    (certificate.pem(), Document::new(shape, &pkcs8, &[certificate.der()]))
}

fn basic(password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("orders:{password}")))
}

pub(crate) const AZURE: &str = r#"
    [[vault]]
    name = "corp"
    azure_key_vault = { url = "{vault}", resource = "{resource}" }
"#;

const HASHICORP: &str = r#"
    [[vault]]
    name = "corp"
    [vault.hashicorp]
    url = "{vault}"
"#;

/// A service behind basic authentication, whose password is where `{password}` says.
const LEDGER: &str = r#"
    [[upstream]]
    name = "ledger"
    url = "{service}"

    [[api]]
    name = "ledger"
    path = "/"
    upstream = "ledger"
    public = true
    [api.onward.basic]
    username = "orders"
    password = {password}
    [[api.operation]]
    name = "all"
    method = "*"
    path = "/*"
"#;

fn ledger(vault: &str, password: &str) -> String {
    format!("{vault}{}", LEDGER.replace("{password}", password))
}

impl World {
    /// What the service was sent as its credential.
    async fn sent(&self) -> Vec<String> {
        self.service.forget();
        let answer = self.get("/a", &[]).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        self.service.only().field("authorization").into_iter().map(str::to_owned).collect()
    }

    /// Later, when what was fetched is asked for again.
    pub(crate) async fn later(&self, seconds: i64) {
        self.clock.advance(seconds);
        self.gateway.fetch().await;
    }
}

#[tokio::test]
async fn a_password_of_a_key_vault_is_fetched_with_the_hosts_identity_and_replaced_while_it_is_used() {
    let (world, vault) = start(&ledger(AZURE, "{ vault = \"corp\", secret = \"ledger\" }")).await;
    // What is not there yet is no mistake of the file, and nobody is let through without it.
    let answer = world.get("/a", &[]).await;
    assert_eq!(answer.reason(), (503, "SecretUnavailable".to_owned()));
    assert_eq!(answer.field("retry-after"), ["5"]);
    assert!(world.service.seen().is_empty());
    assert_eq!(world.gateway.missing(), ["secret `ledger` of the vault `corp`"]);
    // The vault has no such secret.
    world.gateway.fetch().await;
    assert_eq!(world.get("/a", &[]).await.status, 503);
    vault.set("ledger", "first");
    world.later(2).await;
    assert_eq!(world.sent().await, [basic("first")]);
    assert!(world.gateway.missing().is_empty());
    vault.set("ledger", "second");
    world.later(100).await;
    assert_eq!(world.sent().await, [basic("first")], "it is not due");
    world.later(200).await;
    assert_eq!(world.sent().await, [basic("second")]);
    // A vault that is down, one that no longer has it, and one that has nothing of use keep the last good one.
    vault.is_down(true);
    world.later(300).await;
    assert_eq!(world.sent().await, [basic("second")]);
    vault.is_down(false);
    vault.set("ledger", " \n");
    world.later(60).await;
    assert_eq!(world.sent().await, [basic("second")]);
    for broken in [
        json!({ "value": "third", "attributes": { "enabled": false } }),
        json!({ "value": "MIIK", "contentType": "application/x-pkcs12" }),
        json!({ "no": "value" }),
    ] {
        vault.set_all("ledger", broken);
        world.later(300).await;
        assert_eq!(world.sent().await, [basic("second")]);
    }
    // Tokens of before are worth nothing: another one is got.
    vault.revoke();
    vault.set("ledger", "fourth");
    world.later(300).await;
    assert_eq!(world.sent().await, [basic("fourth")]);
    assert!(vault.identities().iter().all(|asked| asked.contains("resource=https%3A%2F%2Fvault.example")));
    let metrics = telemetry::Source::metrics(&*world.gateway);
    let text = telemetry::prometheus::text(&metrics, telemetry::Source::labels(&*world.gateway));
    let rejected = r#"deputize_gateway_secret_rejected_total{from="secret `ledger` of the vault `corp`"} 1"#;
    for line in [rejected, r#"secret_fetches_total{secret="secret `ledger` of the vault `corp`",outcome="failure"} 5"#]
    {
        assert!(text.contains(line), "{line}: {text}");
    }
    for planted in ["fourth", "managed-"] {
        assert!(!text.contains(planted), "{planted}");
    }
}

#[tokio::test]
async fn a_vault_is_sent_no_token_for_a_resource_that_is_not_its_own() {
    let azure = AZURE.replace(", resource = \"{resource}\"", "");
    let (world, vault) = start(&ledger(&azure, "{ vault = \"corp\", secret = \"ledger\" }")).await;
    vault.set("ledger", "first");
    world.gateway.fetch().await;
    assert_eq!(world.get("/a", &[]).await.status, 503);
    assert!(vault.shown().is_empty() && vault.identities().is_empty());
}

#[tokio::test]
async fn an_authority_can_open_the_vault_and_another_one_can_have_its_secret_there() {
    let text = r#"
    [[authority]]
    name = "opens"
    token_endpoint = "{token}"
    client_id = "opens"
    secret = { env = "SECRET" }

    [[authority]]
    name = "service"
    token_endpoint = "{token}"
    client_id = "gateway"
    secret = { vault = "corp", secret = "gateway" }
    "#;
    let azure = AZURE.replace("resource = \"{resource}\"", "resource = \"{resource}\", authority = \"opens\"");
    let onward = "[api.onward.client_credentials]\n    authority = \"service\"\n    target = \"api://ledger/.default\"";
    let basic = "[api.onward.basic]\n    username = \"orders\"\n    password = {password}";
    let (world, vault) = start(&format!("{text}{azure}{}", LEDGER.replace(basic, onward))).await;
    vault.set("gateway", "first");
    let answer = world.get("/a", &[]).await;
    assert_eq!(answer.reason(), (503, "SecretUnavailable".to_owned()));
    // The vault takes only the managed identity's token, which this is by another way.
    let issues = |token: &str| {
        let answer = json!({ "access_token": token, "token_type": "Bearer", "expires_in": 600 });
        world.issuer.next(testkit::Next::answer(200, answer.to_string()));
    };
    issues("managed-0");
    world.gateway.fetch().await;
    let asked = world.issuer.asked().pop().unwrap();
    assert_eq!(
        (asked.field("client_id"), asked.field("scope")),
        (Some("opens"), Some("https://vault.example/.default"))
    );
    for (password, seconds) in [("first", 0), ("second", 4_000)] {
        vault.set("gateway", password);
        if seconds > 0 {
            issues("managed-0");
            world.later(seconds).await;
        }
        issues("onward");
        let answer = world.get("/a", &[]).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let asked = world.issuer.asked().pop().unwrap();
        assert_eq!((asked.field("client_id"), asked.field("client_secret")), (Some("gateway"), Some(password)));
    }
}

#[tokio::test]
async fn secrets_of_a_key_value_engine_are_read_with_a_token_or_after_a_login() {
    let folder = std::env::temp_dir().join(format!("deputize-gateway-vaults-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = |name: &str, text: &str| {
        std::fs::write(folder.join(name), text).unwrap();
        format!("{{ file = \"{}\" }}", folder.join(name).display())
    };
    let (token, role) = (file("token", "hvs.0\n"), file("role", "gateway"));
    let (secret, jwt) = (file("secret", "the role's secret"), file("jwt", "of the pod"));
    for (login, logs_in) in [
        (format!("token = {token}"), false),
        (format!("namespace = \"team\"\napprole = {{ role_id = {role}, secret_id = {secret} }}"), true),
        (format!("kubernetes = {{ role = \"gateway\", token = {jwt} }}"), true),
    ] {
        let password = "{ vault = \"corp\", secret = \"gateway/ledger\", field = \"password\" }";
        let (world, vault) = start(&ledger(&format!("{HASHICORP}{login}\n"), password)).await;
        vault.set_all("gateway/ledger", json!({ "password": "first", "user": "orders" }));
        world.gateway.fetch().await;
        assert_eq!(world.sent().await, [basic("first")], "{login}");
        // The token is taken back: who logs in gets another one, who was given one is given the next in its file.
        vault.revoke();
        vault.set_all("gateway/ledger", json!({ "password": "second" }));
        if !logs_in {
            world.later(300).await;
            assert_eq!(world.sent().await, [basic("first")], "{login}");
            std::fs::write(folder.join("token"), "hvs.1").unwrap();
        }
        world.later(300).await;
        assert_eq!(world.sent().await, [basic("second")], "{login}");
        // A secret without the field is none.
        vault.set_all("gateway/ledger", json!({ "other": "third" }));
        world.later(300).await;
        assert_eq!(world.sent().await, [basic("second")], "{login}");
        // It is logged in once for many reads.
        assert!(!logs_in || vault.shown().iter().filter(|token| *token == "hvs.1").count() >= 2, "{login}");
    }
    std::fs::remove_dir_all(folder).unwrap();
}

#[tokio::test]
async fn what_a_command_prints_is_a_secret_until_it_ends() {
    let folder = std::env::temp_dir().join(format!("deputize-gateway-commands-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let printed = folder.join("printed");
    let password = format!("{{ command = [\"cat\", \"{}\"], field = \"password\" }}", printed.display());
    let write = |password: &str, ends: i64| {
        let ends = NOON.0 + ends;
        std::fs::write(&printed, json!({ "password": password, "expires_on": ends }).to_string()).unwrap();
    };
    write("first", 100);
    let (world, _) = start(&ledger("", &password)).await;
    assert_eq!(world.get("/a", &[]).await.status, 503, "nothing was run yet");
    world.gateway.fetch().await;
    assert_eq!(world.sent().await, [basic("first")]);
    write("second", 1_000);
    world.later(50).await;
    assert_eq!(world.sent().await, [basic("first")]);
    world.later(45).await;
    assert_eq!(world.sent().await, [basic("second")], "before the first one ends");
    std::fs::remove_file(&printed).unwrap();
    world.later(900).await;
    assert_eq!(world.sent().await, [basic("second")], "the command fails");
    std::fs::remove_dir_all(folder).unwrap();
}

#[tokio::test]
async fn a_secret_of_one_command_is_never_anothers() {
    let folder = std::env::temp_dir().join(format!("deputize-gateway-other-commands-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("a"), "of-a").unwrap();
    let of = |name: &str, more: &str| {
        ledger("", &format!("{{ command = [\"cat\", \"{}\"]{more} }}", folder.join(name).display()))
    };
    let (world, _) = start(&of("a", "")).await;
    world.gateway.fetch().await;
    assert_eq!(world.sent().await, [basic("of-a")]);
    std::fs::remove_file(folder.join("a")).unwrap();
    for more in [", every_seconds = 7", ", timeout_seconds = 7"] {
        world.reload(&of("a", more)).unwrap();
        world.gateway.fetch().await;
        assert_eq!(world.sent().await, [basic("of-a")], "the same command: {more}");
    }
    world.reload(&of("b", "")).unwrap();
    assert_eq!(world.get("/a", &[]).await.status, 503, "of the same program, and another secret");
    world.gateway.fetch().await;
    assert_eq!(world.get("/a", &[]).await.status, 503, "it fails");
    std::fs::remove_dir_all(folder).unwrap();
}

#[tokio::test]
async fn a_password_and_keys_in_files_are_replaced_without_a_restart() {
    let folder = std::env::temp_dir().join(format!("deputize-gateway-passwords-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let at = |name: &str| format!("{{ file = \"{}\" }}", folder.join(name).display());
    let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).unwrap();
    write("password", "first\n");
    write("one", "one-0123456789abcdef");
    write("two", "two-0123456789abcdef");
    let text = ledger("", &at("password")).replace("    public = true\n", "    policies.subscription_key = {}\n");
    let (one, two) = (at("one"), at("two"));
    let text =
        format!("{text}\n[[subscription]]\nname = \"s\"\napi = \"ledger\"\nprimary = {one}\nsecondary = {two}\n");
    let world = World::start(&text).await;
    let asked = async |key: &str| world.get("/a", &[("ocp-apim-subscription-key", key)]).await.status;
    let sent = || world.service.seen().pop().unwrap();
    assert_eq!(asked("one-0123456789abcdef").await, 200);
    assert!(sent().contains(&basic("first")));
    write("password", "second");
    write("one", "three-0123456789abcdef");
    assert_eq!(asked("one-0123456789abcdef").await, 200, "nobody has looked yet");
    world.gateway.look();
    assert_eq!(asked("one-0123456789abcdef").await, 401);
    assert_eq!((asked("three-0123456789abcdef").await, asked("two-0123456789abcdef").await), (200, 200));
    assert!(sent().contains(&basic("second")));
    // What is too short, or gone, opens nothing new, and what opened before goes on.
    write("one", "short");
    std::fs::remove_file(folder.join("password")).unwrap();
    world.gateway.look();
    assert_eq!((asked("short").await, asked("three-0123456789abcdef").await), (401, 200));
    assert!(sent().contains(&basic("second")));
    std::fs::remove_dir_all(folder).unwrap();
}

#[tokio::test]
async fn a_key_that_may_be_one_of_those_that_were_not_fetched_is_not_called_wrong() {
    let text =
        ledger(AZURE, "{ env = \"PASSWORD\" }").replace("    public = true\n", "    policies.subscription_key = {}\n");
    let key = "{ vault = \"corp\", secret = \"key\" }";
    let text = format!(
        "{text}\n[[subscription]]\nname = \"s\"\napi = \"ledger\"\nprimary = {key}\n\
         [[subscription]]\nname = \"t\"\napi = \"ledger\"\nprimary = {{ env = \"KEY_OTHER\" }}\n"
    );
    let (world, vault) = start(&text).await;
    let asked = async |key: &str| world.get("/a", &[("ocp-apim-subscription-key", key)]).await;
    assert_eq!(asked("s-0123456789abcdef").await.reason(), (503, "SecretUnavailable".to_owned()));
    assert_eq!(asked("other-0123456789").await.status, 200);
    vault.set("key", "s-0123456789abcdef");
    world.gateway.fetch().await;
    assert_eq!(asked("s-0123456789abcdef").await.status, 200);
    assert_eq!(asked("x-0123456789abcdef").await.status, 401);
}

/// A gateway over TLS, beside the one without.
async fn over_tls(world: &World) -> (SocketAddr, Listeners) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut listeners = Listeners::new();
    let entrance = world.gateway.entrances().remove(0);
    let front = Arc::new(entrance.front());
    listeners.add_behind(Socket::Tcp(listener), Arc::new(entrance), front);
    (address, listeners)
}

/// A request on a connection of its own, by a client that trusts these certificates alone; nothing where they are not shown.
async fn status(address: SocketAddr, trusted: &[String]) -> Option<u16> {
    let mut roots = RootCertStore::empty();
    for pem in trusted {
        roots.add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("api.example").unwrap();
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.ok()?;
    stream.write_all(get("/a", &[("connection", "close")]).as_bytes()).await.ok()?;
    let mut text = String::new();
    let _ = stream.read_to_string(&mut text).await;
    text.split(' ').nth(1)?.parse().ok()
}

#[tokio::test]
async fn t_07_a_listeners_certificate_of_a_vault_is_shown_once_it_is_there_and_a_broken_one_never() {
    for (vault, certificate) in [(AZURE, None), (HASHICORP, Some("token = { env = \"KEY_HVS\" }\n"))] {
        let is_azure = certificate.is_none();
        let vault = format!("{vault}{}", certificate.unwrap_or_default());
        let shown = "[[certificate]]\ncertificate = { vault = \"corp\", secret = \"tls\" }\n";
        let text = format!("{shown}{vault}{}", LEDGER.replace("{password}", "{ env = \"PASSWORD\" }"));
        let (world, vault) = start(&text).await;
        if !is_azure {
            // Its token is `hvs-0123456789`, which that vault does not know.
            world.gateway.fetch().await;
            assert!(vault.shown().contains(&"hvs-0123456789".to_owned()));
            continue;
        }
        let (address, _listeners) = over_tls(&world).await;
        let (first, key) = made("api.example");
        assert_eq!(status(address, std::slice::from_ref(&first)).await, None, "there is none to show");
        vault.set("tls", format!("{key}{first}"));
        world.gateway.fetch().await;
        assert_eq!(status(address, std::slice::from_ref(&first)).await, Some(200));
        let (second, of_second) = made("api.example");
        for (at, shape) in Shape::ALL.into_iter().enumerate() {
            let (in_pkcs12, document) = pkcs12(shape);
            let put = |value: String| {
                vault.set_all("tls", json!({ "value": value, "contentType": "application/x-pkcs12" }));
            };
            put(STANDARD.encode(document.der()));
            world.later(300).await;
            assert_eq!(status(address, std::slice::from_ref(&in_pkcs12)).await, Some(200), "{shape:?}");
            // What cannot be opened leaves the one before: cut off, not in base64, another password, two keys, too many iterations.
            let of = |edit: &dyn Fn(&mut Document)| {
                let mut edited = document.clone();
                edit(&mut edited);
                STANDARD.encode(edited.der())
            };
            let cut_off = document.der();
            let mut broken = vec![
                STANDARD.encode(&cut_off[..cut_off.len() - 1]),
                format!("%{}", STANDARD.encode(&cut_off)),
                first.clone(),
                of(&|document| document.keys.push(document.keys[0].clone())),
            ];
            if shape != Shape::Clear {
                broken.extend([
                    of(&|document| document.password = "secret".to_owned()),
                    of(&|document| document.iterations = u32::MAX),
                ]);
            }
            for (which, value) in broken.into_iter().enumerate() {
                put(value);
                world.later(300).await;
                assert_eq!(status(address, std::slice::from_ref(&in_pkcs12)).await, Some(200), "{at} {which}");
            }
        }
        vault.set("tls", format!("{key}{first}"));
        world.later(300).await;
        assert_eq!(status(address, std::slice::from_ref(&first)).await, Some(200));
        // One certificate, and the key of another.
        vault.set("tls", format!("{key}{second}"));
        world.later(300).await;
        assert_eq!(status(address, std::slice::from_ref(&second)).await, None);
        assert_eq!(status(address, std::slice::from_ref(&first)).await, Some(200));
        vault.set("tls", format!("{of_second}{second}"));
        world.later(300).await;
        assert_eq!(status(address, std::slice::from_ref(&second)).await, Some(200));
        assert_eq!(status(address, std::slice::from_ref(&first)).await, None);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_7_secrets_and_certificates_of_a_vault_that_change_under_load_fail_no_request() {
    let shown = "[[certificate]]\ncertificate = { vault = \"corp\", secret = \"tls\" }\n";
    let (world, vault) = start(&format!("{shown}{}", ledger(AZURE, "{ vault = \"corp\", secret = \"ledger\" }"))).await;
    let all: Vec<(String, String)> = (0..=10).map(|_| made("api.example")).collect();
    let put = |at: usize| {
        let (certificate, key) = &all[at];
        vault.set("tls", format!("{certificate}{key}"));
        vault.set("ledger", format!("password-{at}"));
    };
    put(0);
    world.gateway.fetch().await;
    let (address, _listeners) = over_tls(&world).await;
    let trusted: Vec<String> = all.iter().map(|(certificate, _)| certificate.clone()).collect();
    let world = Arc::new(world);
    let callers: Vec<_> = (0..4)
        .map(|_| {
            let (world, trusted) = (Arc::clone(&world), trusted.clone());
            tokio::spawn(async move {
                let mut connection = Connection::open(world.address).await;
                let mut failed = 0;
                for _ in 0..30 {
                    failed += usize::from(connection.get("/a").await.status != 200);
                    failed += usize::from(status(address, &trusted).await != Some(200));
                }
                failed
            })
        })
        .collect();
    for at in 1..=10 {
        put(at);
        vault.is_down(at == 5);
        world.later(300).await;
        let expected = if at == 5 { 4 } else { at };
        assert_eq!(status(address, std::slice::from_ref(&trusted[expected])).await, Some(200), "{at}");
        if at == 5 {
            vault.is_down(false);
        }
    }
    for caller in callers {
        assert_eq!(caller.await.unwrap(), 0);
    }
    assert!(world.service.seen().pop().unwrap().contains(&basic("password-10")));
}

#[tokio::test]
async fn a_file_that_is_read_again_has_what_was_fetched_before() {
    let text = ledger(AZURE, "{ vault = \"corp\", secret = \"ledger\" }");
    let (world, vault) = start(&text).await;
    vault.set("ledger", "first");
    world.gateway.fetch().await;
    vault.is_down(true);
    // Moved within the file, and the vault asked more often: the same secret.
    for text in
        [format!("log = \"info\"\n{text}"), text.replace("name = \"corp\"", "name = \"corp\"\nevery_seconds = 7")]
    {
        world.reload(&written(&text, &vault)).unwrap();
        assert_eq!(world.sent().await, [basic("first")]);
    }
    vault.is_down(false);
    vault.set("ledger", "second");
    world.later(3).await;
    assert_eq!(world.sent().await, [basic("second")]);
}

#[tokio::test]
async fn what_is_wrong_with_a_source_is_named() {
    let (world, vault) = start(&ledger(AZURE, "{ vault = \"corp\", secret = \"ledger\" }")).await;
    let source = |password: &str| ledger(AZURE, password);
    let vaults = |vault: &str| ledger(&format!("[[vault]]\nname = \"corp\"\n{vault}\n"), "{ env = \"PASSWORD\" }");
    for (text, problem) in [
        (source("{ vault = \"other\", secret = \"a\" }"), "there is no vault `other`"),
        (source("{ vault = \"corp\", secret = \"a/b\" }"), "no name of a secret"),
        (source("{ vault = \"corp\", secret = \"..\" }"), "no name of a secret"),
        (source("{ vault = \"corp\", secret = \"a?x\" }"), "no name of a secret"),
        (source("{ vault = \"corp\", secret = \"a\", version = \"../b\" }"), "no version of a secret"),
        (source("{ command = [] }"), "the command is empty"),
        (source("{ command = [\"a\"], timeout_seconds = 0 }"), "`timeout_seconds` is out of range"),
        (source("{ command = [\"a\"], every_seconds = 0 }"), "`every_seconds` is out of range"),
        (vaults(""), "which kind of vault"),
        (vaults("azure_key_vault = { url = \"http://vault.example\" }"), "over TLS, or on this machine"),
        (vaults("azure_key_vault = { url = \"https://a@vault.example\" }"), "a query, or a name"),
        (
            vaults(
                "azure_key_vault = { url = \"{vault}\", managed_identity = { client_id = \"a\", object_id = \"b\" } }",
            ),
            "named twice",
        ),
        (vaults("azure_key_vault = { url = \"{vault}\", managed_identity = { client_id = \"\" } }"), "the id is empty"),
        (vaults("hashicorp = { url = \"{vault}\" }"), "how the gateway gets into the vault"),
        (vaults("hashicorp = { url = \"{vault}\", mount = \"a/../b\", token = { env = \"SECRET\" } }"), "no mount"),
        (
            vaults("hashicorp = { url = \"{vault}\", token = { vault = \"corp\", secret = \"a\" } }"),
            "in a vault itself",
        ),
    ] {
        let error = world.reload(&written(&text, &vault)).unwrap_err();
        assert!(error.problem.contains(problem), "{problem}: {error}");
    }
    let mut stream = TcpStream::connect(world.address).await.unwrap();
    stream.write_all(get("/a", &[]).as_bytes()).await.unwrap();
    assert_eq!(answered(&mut stream).await.status, 503, "nothing has changed");
}

/// An API whose service is sent a token of the host's.
fn hosted(identity: &str) -> String {
    let basic = "[api.onward.basic]\n    username = \"orders\"\n    password = {password}";
    LEDGER.replace(basic, &format!("[api.onward.managed_identity]\n    resource = \"api://ledger\"\n    {identity}"))
}

#[tokio::test]
async fn a_service_is_sent_a_token_of_the_hosts_identity_or_of_one_that_it_was_assigned() {
    for (identity, asked) in [
        ("", "resource=api%3A%2F%2Fledger"),
        ("client_id = \"5b1d\"", "resource=api%3A%2F%2Fledger&client_id=5b1d"),
        ("object_id = \"5b1d\"", "resource=api%3A%2F%2Fledger&object_id=5b1d"),
        ("resource_id = \"/x/y\"", "resource=api%3A%2F%2Fledger&mi_res_id=%2Fx%2Fy"),
    ] {
        let (world, vault) = start(&hosted(identity)).await;
        for _ in 0..2 {
            assert_eq!(world.sent().await, ["Bearer managed-0"]);
        }
        let identities = vault.identities();
        assert!(identities.len() == 1 && identities[0].ends_with(asked), "kept, and one: {identities:?}");
        let told = world.gateway.effective().remove(0).onward;
        assert!(told.contains("managed identity") && told.contains("`api://ledger`"), "{told}");
    }
    let (world, _vault) = start(&hosted("client_id = \"unknown\"")).await;
    let answer = world.get("/a", &[]).await;
    assert_eq!(answer.reason(), (502, "OnwardIdentityRefused".to_owned()));
    assert!(world.service.seen().is_empty());
    let error = world.reload(&hosted("client_id = \"a\"\n    object_id = \"b\"")).unwrap_err();
    assert!(error.problem.contains("named twice"), "{error}");
}

#[tokio::test]
async fn a_host_that_has_no_identities_sends_nobody_on() {
    let clock = SetClock::at(NOON);
    let alone = |ports: Ports| {
        let host = ManagedIdentity::machine("http://127.0.0.1:1", Arc::clone(&ports.tokens), Arc::new(clock.clone()));
        Ports { host, ..ports }
    };
    let world = World::with(&hosted(""), clock.clone(), alone).await;
    let answer = world.get("/a", &[]).await;
    assert_eq!(answer.reason(), (503, "OnwardCredentialUnavailable".to_owned()));
    assert!(answer.field("retry-after").len() == 1 && world.service.seen().is_empty());
}

#[tokio::test]
async fn an_application_that_trusts_the_hosts_identity_needs_no_secret() {
    let text = r#"
    [[authority]]
    name = "service"
    token_endpoint = "{token}"
    client_id = "gateway"
    managed_identity = { client_id = "5b1d" }
    "#;
    let basic = "[api.onward.basic]\n    username = \"orders\"\n    password = {password}";
    let onward = "[api.onward.client_credentials]\n    authority = \"service\"\n    target = \"api://ledger/.default\"";
    let (world, vault) = start(&format!("{text}{}", LEDGER.replace(basic, onward))).await;
    assert_eq!(world.get("/a", &[]).await.status, 200);
    assert!(vault.identities()[0].ends_with("resource=api%3A%2F%2FAzureADTokenExchange&client_id=5b1d"));
    let asked = world.issuer.asked().pop().unwrap();
    assert_eq!((asked.field("client_assertion"), asked.field("client_id")), (Some("managed-0"), Some("gateway")));
}
