//! Certificates that services are shown, and credentials at authorities, that a vault has: not there yet, and replaced under load.
use crate::presented::{Ca, Service};
use crate::support::{Connection, World};
use crate::telling::{Beside, own};
use crate::vaults::{AZURE, start};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jose::corpus::pkcs12::{Document, Shape};
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::path::PathBuf;
use std::sync::Arc;
use testkit::Vault;

/// Puts a certificate and its key there: one time in PEM, the next as Windows has it, the next as OpenSSL.
fn put(vault: &Vault, name: &str, at: usize, (certificate, key): &(String, String)) {
    let shape = match at % 3 {
        0 => return vault.set(name, format!("{key}{certificate}")),
        1 => Shape::Windows,
        _ => Shape::Modern,
    };
    let der = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
    let key = PrivatePkcs8KeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let document = STANDARD.encode(Document::new(shape, key.secret_pkcs8_der(), &[&der]).der());
    vault.set_all(name, json!({ "value": document, "contentType": "application/x-pkcs12" }));
}

/// A file with an authority that services are trusted by.
struct Trusted(PathBuf);

impl Trusted {
    fn new(ca: &Ca, name: &str) -> Self {
        let file = std::env::temp_dir().join(format!("deputize-gateway-rotations-{}-{name}", std::process::id()));
        std::fs::write(&file, &ca.pem).unwrap();
        Self(file)
    }
}

impl Drop for Trusted {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A service that is shown a certificate of the vault's.
fn shown(trusted: &Trusted, service: &Service) -> String {
    format!(
        r#"
    trusted_certificates = "{}"
    {AZURE}
    [[upstream]]
    name = "legacy"
    url = "{}"

    [[api]]
    name = "legacy"
    path = "/"
    upstream = "legacy"
    public = true
    [api.onward.client_certificate]
    certificate = {{ vault = "corp", secret = "onward" }}
    [[api.operation]]
    name = "all"
    method = "*"
    path = "/*"
"#,
        trusted.0.display(),
        service.url
    )
}

#[tokio::test]
async fn without_its_onward_certificate_nothing_is_forwarded_and_readiness_names_it() {
    let ca = Ca::new();
    let (trusted, service) = (Trusted::new(&ca, "missing"), Service::start(&ca, &[]).await);
    let (world, vault) = start(&shown(&trusted, &service)).await;
    let beside = Beside::start(&world, own()).await;
    let missing = "secret `onward` of the vault `corp`";
    let is_missing = async || {
        let answer = world.get("/a", &[]).await;
        assert_eq!(answer.reason(), (503, "SecretUnavailable".to_owned()));
        assert_eq!(answer.field("retry-after"), ["5"]);
        let (status, text) = beside.get("/readyz").await;
        assert!(status == 503 && text.contains(missing), "{status} {text}");
    };
    is_missing().await;
    world.gateway.fetch().await;
    is_missing().await;
    // A certificate without its key is none.
    let made = ca.made("gateway");
    vault.set("onward", &*made.0);
    world.later(2).await;
    let answer = world.get("/a", &[]).await;
    assert_eq!(answer.reason(), (503, "SecretUnavailable".to_owned()));
    assert!(service.seen.lock().unwrap().is_empty(), "no connection without it");
    put(&vault, "onward", 1, &made);
    world.later(300).await;
    assert_eq!(world.get("/a", &[]).await.body, "gateway");
    assert_eq!(beside.get("/readyz").await, (200, "ready".to_owned()));
}

/// Four callers, whose requests are made by `request` of their number; what was not answered with 200, and how it was.
async fn failed(world: &Arc<World>, change: impl AsyncFnOnce(), token: impl Fn(usize) -> String) -> Vec<String> {
    let callers: Vec<_> = (0..4)
        .map(|caller| {
            let world = Arc::clone(world);
            let tokens: Vec<String> = (0..60).map(|n| token(caller * 100 + n)).collect();
            tokio::spawn(async move {
                let mut connection = Connection::open(world.address).await;
                let mut failed = Vec::new();
                for (n, token) in tokens.iter().enumerate() {
                    let target = if n % 2 == 0 { "/secret" } else { "/certificate" };
                    let answer = connection.get_with(target, &[("authorization", token)]).await;
                    if answer.status != 200 {
                        failed.push(format!("{n} {target}: {answer:?}"));
                    }
                }
                failed
            })
        })
        .collect();
    change().await;
    let mut failed = Vec::new();
    for caller in callers {
        failed.extend(caller.await.unwrap());
    }
    failed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_7_an_onward_certificate_of_a_vault_that_changes_under_load_fails_no_request() {
    let ca = Ca::new();
    let (trusted, service) = (Trusted::new(&ca, "load"), Service::start(&ca, &["http/1.1"]).await);
    let (world, vault) = start(&shown(&trusted, &service)).await;
    put(&vault, "onward", 0, &ca.made("0"));
    world.gateway.fetch().await;
    let world = Arc::new(world);
    let change = async || {
        for at in 1..=12 {
            put(&vault, "onward", at, &ca.made(&at.to_string()));
            vault.is_down(at == 5);
            world.later(300).await;
            let expected = if at == 5 { 4 } else { at };
            assert_eq!(world.get("/a", &[]).await.body, expected.to_string());
            vault.is_down(false);
            if at == 5 {
                world.later(60).await;
            }
        }
    };
    assert_eq!(failed(&world, change, |_| "Bearer none".to_owned()).await, [""; 0]);
    assert_eq!(world.get("/a", &[]).await.body, "12");
}

/// Two APIs, whose authority knows the gateway by a secret, and by a certificate.
const EXCHANGING: &str = r#"
    [[issuer]]
    name = "contoso"
    issuer = "{iss}"
    jwks_uri = "{jwks}"
    tenants = ["t1"]

    [[authority]]
    name = "secret"
    token_endpoint = "{token}"
    client_id = "by-secret"
    secret = { vault = "corp", secret = "password" }

    [[authority]]
    name = "certificate"
    token_endpoint = "{token}"
    client_id = "by-certificate"
    certificate = { certificate = { vault = "corp", secret = "pair" } }

    [[upstream]]
    name = "orders"
    url = "{service}"
"#;

fn exchanging() -> String {
    let api = |name: &str| {
        format!(
            r#"
    [[api]]
    name = "{name}"
    path = "/{name}"
    upstream = "orders"
    [api.policies.validate_jwt]
    issuers = ["contoso"]
    audiences = ["api://orders"]
    [api.onward.on_behalf_of]
    authority = "{name}"
    target = "api://billing/.default"
    [[api.operation]]
    name = "all"
    method = "*"
    path = "/*"
"#
        )
    };
    format!("{AZURE}{EXCHANGING}{}{}", api("secret"), api("certificate"))
}

/// A certificate that assertions are signed with, and its key.
fn signing() -> (String, String) {
    let key = KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
    let certificate = CertificateParams::new(vec!["gateway".to_owned()]).unwrap().self_signed(&key).unwrap();
    (certificate.pem(), key.serialize_pem())
}

impl World {
    /// Another user's token.
    fn of_user(&self, number: usize) -> String {
        self.bearer(&json!({ "oid": format!("o-{number}"), "sub": format!("s-{number}") }))
    }

    /// What the authority was asked for this token.
    fn exchange(&self, bearer: &str) -> testkit::Asked {
        let asked = self.issuer.asked();
        let of = asked.into_iter().find(|asked| asked.field("assertion") == bearer.strip_prefix("Bearer "));
        of.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_7_a_secret_and_a_certificate_at_an_authority_that_change_under_load_fail_no_exchange() {
    let (world, vault) = start(&exchanging()).await;
    for target in ["/secret", "/certificate"] {
        let answer = world.get(target, &[("authorization", &world.of_user(0))]).await;
        assert_eq!(answer.reason(), (503, "SecretUnavailable".to_owned()), "{target}");
    }
    assert!(world.issuer.asked().is_empty() && world.service.seen().is_empty());
    let pairs: Vec<(String, String)> = (0..=8).map(|_| signing()).collect();
    let puts = |at: usize| {
        vault.set("password", format!("password-{at}"));
        put(&vault, "pair", at, &pairs[at]);
    };
    puts(0);
    world.later(2).await;
    let world = Arc::new(world);
    let is_used = async |at: usize| {
        let bearer = world.of_user(10_000 + at);
        assert_eq!(world.get("/secret", &[("authorization", &bearer)]).await.status, 200);
        assert_eq!(world.exchange(&bearer).field("client_secret"), Some(&*format!("password-{at}")));
        let bearer = world.of_user(20_000 + at);
        assert_eq!(world.get("/certificate", &[("authorization", &bearer)]).await.status, 200);
        let asked = world.exchange(&bearer);
        let (head, _) = asked.field("client_assertion").unwrap().split_once('.').unwrap();
        let head: serde_json::Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(head).unwrap()).unwrap();
        let der = CertificateDer::from_pem_slice(pairs[at].0.as_bytes()).unwrap();
        assert_eq!(head["x5t#S256"], URL_SAFE_NO_PAD.encode(Sha256::digest(&der)), "{at}: {head}");
    };
    let change = async || {
        for at in 1..=8 {
            puts(at);
            vault.is_down(at == 3);
            world.later(300).await;
            is_used(if at == 3 { 2 } else { at }).await;
            vault.is_down(false);
            if at == 3 {
                world.later(60).await;
            }
        }
    };
    let tokens: Vec<String> = (0..400).map(|number| world.of_user(number)).collect();
    assert_eq!(failed(&world, change, |number| tokens[number].clone()).await, [""; 0]);
}
