//! Credentials change while everything runs (M-10), certificates of a trusted subject, what assertion ids are remembered for
//! and managed identities.
use crate::assertions::{good, send};
use crate::clients::refused;
use crate::workload::with_assertion;
use crate::world::estate::{CONTOSO, app, key_credential, secret};
use crate::world::keys::{ClientKey, ORDERS, RIVAL, STRANGER, sign};
use crate::world::{HOST, NOON, Params, World, but, claims, client_credentials, text};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use decision::Timestamp;
use deputize_core::id::ObjectId;
use deputize_core::model::PasswordCredential;
use deputize_core::workload::{ManagedIdentity, ManagedIdentityKind, TrustedCertificateSubject};
use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair};
use serde_json::{Value, json};

fn by_secret(value: &str) -> Params<'static> {
    but(client_credentials("orders", "api://billing/.default"), "client_secret", Some(value))
}

fn password(world: &World, value: &str) -> PasswordCredential {
    PasswordCredential {
        key_id: ObjectId(uuid::Uuid::from_u128(value.len() as u128)),
        display_name: String::new(),
        digest: world.crypto().keyed_digest(value),
        hint: String::new(),
        start_date_time: Timestamp(0),
        end_date_time: Timestamp(i64::MAX),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn m_10_a_secret_is_rotated_without_a_request_refused_and_ends_when_it_is_removed() {
    let world = World::new().await;
    let (old, new) = (secret("orders"), "canary-another-secret".to_owned());
    refused(&world.token(by_secret(&new)).await, 401, "invalid_client", "before it is registered");
    let added = password(&world, &new);
    let adding = world.edit_app("orders", |app| app.password_credentials.push(added.clone()));
    // Whatever the order in which these land, the old one works throughout.
    let (during, ()) = tokio::join!(world.at_once(by_secret(&old), 32), adding);
    assert!(during.iter().all(|answer| answer.status == 200));
    world.token(by_secret(&new)).await.ok();
    world.token(by_secret(&old)).await.ok();
    let other = world.beside();
    assert_eq!(other.token(by_secret(&old)).await.status, 200);
    world.edit_app("orders", |app| drop(app.password_credentials.remove(0))).await;
    // Committed: from here on it is no secret, on this node at once, on another with its next look at the change log.
    refused(&world.token(by_secret(&old)).await, 401, "invalid_client", "after it was removed");
    world.token(by_secret(&new)).await.ok();
    other.store.poll().unwrap();
    refused(&other.token(by_secret(&old)).await, 401, "invalid_client", "on another node");
    other.token(by_secret(&new)).await.ok();
}

#[tokio::test]
async fn m_10_a_certificate_is_rotated_as_a_secret_is() {
    let world = World::new().await;
    let with = |key: &ClientKey| good().header("x5t#S256", json!(key.certificate.x5t_s256())).sign(key);
    refused(&send(&world, &with(&STRANGER)).await, 401, "invalid_client", "before it is registered");
    world.edit_app("orders", |app| app.key_credentials.push(key_credential("next", &STRANGER.der))).await;
    send(&world, &with(&STRANGER)).await.ok();
    send(&world, &with(&ORDERS)).await.ok();
    world.edit_app("orders", |app| drop(app.key_credentials.remove(0))).await;
    send(&world, &with(&STRANGER)).await.ok();
    assert_eq!(send(&world, &with(&ORDERS)).await.check(), "client.assertion_key");
    // The registration's own dates bind beside the certificate's.
    world.edit_app("orders", |app| app.key_credentials[0].end_date_time = NOON).await;
    assert_eq!(send(&world, &with(&STRANGER)).await.refused().2, 1_000_502);
}

#[tokio::test]
async fn a_15_whole_an_id_that_was_used_stays_used_across_a_restart() {
    let world = World::with(|plan| plan.app("orders").deputize.one_time_assertions = true).await;
    let (used, unused) = (good().sign(&ORDERS), good().claim("jti", json!("another")).sign(&ORDERS));
    send(&world, &used).await.ok();
    assert_eq!(send(&world, &used).await.check(), "client.assertion_once");
    let world = world.restarted();
    assert_eq!(send(&world, &used).await.check(), "client.assertion_once", "after a restart");
    send(&world, &unused).await.ok();
    // Remembered for as long as it could be used, the tolerated difference of clocks included.
    world.clock.advance(659);
    assert_eq!(send(&world, &used).await.check(), "client.assertion_once");
    world.clock.advance(1);
    assert_eq!(send(&world, &used).await.check(), "client.assertion_current");
}

#[tokio::test]
async fn a_15_an_id_belongs_to_the_client_that_used_it() {
    let world = World::with(|plan| {
        for name in ["orders", "rival"] {
            plan.app(name).deputize.one_time_assertions = true;
        }
    })
    .await;
    send(&world, &good().sign(&ORDERS)).await.ok();
    let rival = app("rival").to_string();
    let theirs = good()
        .header("x5t#S256", json!(RIVAL.certificate.x5t_s256()))
        .claim("iss", json!(rival))
        .claim("sub", json!(rival))
        .sign(&RIVAL);
    // The same id in the name of another: nobody can use up the ids of others.
    world.token(with_assertion("rival", &theirs)).await.ok();
    assert_eq!(world.token(with_assertion("rival", &theirs)).await.check(), "client.assertion_once");
}

/// A certificate authority, and certificates of Orders' key that it issues.
struct Vouching {
    issuer: Issuer<'static, KeyPair>,
    der: Vec<u8>,
}

impl Vouching {
    fn new(above: Option<&Self>) -> Self {
        let (key, mut parameters) = (KeyPair::generate().unwrap(), dated("Contoso CA", 1_000_000));
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = match above {
            None => parameters.self_signed(&key),
            Some(above) => parameters.signed_by(&key, &above.issuer),
        };
        Self { der: certificate.unwrap().der().to_vec(), issuer: Issuer::new(parameters, key) }
    }

    fn leaf(&self, name: &str, key: &ClientKey, seconds: i64) -> Vec<u8> {
        let key = KeyPair::from_pkcs8_der_and_sign_algo(&key.rs256.pkcs8().into(), &rcgen::PKCS_RSA_SHA256).unwrap();
        dated(name, seconds).signed_by(&key, &self.issuer).unwrap().der().to_vec()
    }

    fn trusted(&self, revoked: &[String]) -> TrustedCertificateSubject {
        TrustedCertificateSubject {
            subject_name: "CN=orders,O=Contoso".into(),
            authority_name: "Contoso CA".into(),
            authority: STANDARD.encode(&self.der),
            revoked_certificate_identifiers: revoked.to_vec(),
        }
    }
}

fn dated(name: &str, seconds: i64) -> CertificateParams {
    let at = |it: Timestamp| rcgen::date_time_ymd(1970, 1, 1) + std::time::Duration::from_secs(it.0.unsigned_abs());
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = DistinguishedName::new();
    parameters.distinguished_name.push(DnType::OrganizationName, "Contoso");
    parameters.distinguished_name.push(DnType::CommonName, name);
    (parameters.not_before, parameters.not_after) = (at(NOON.plus(-2_000_000)), at(NOON.plus(seconds)));
    parameters
}

fn chained(chain: &[&[u8]], key: &ClientKey) -> String {
    let x5c: Vec<String> = chain.iter().map(|der| STANDARD.encode(der)).collect();
    good().header("x5t#S256", Value::Null).header("x5c", json!(x5c)).sign(key)
}

fn thumbprint(der: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, der);
    digest.as_ref().iter().fold(String::new(), |text, octet| text + &format!("{octet:02X}"))
}

#[tokio::test]
async fn certificates_of_a_trusted_subject_need_no_registration() {
    let root = Vouching::new(None);
    let middle = Vouching::new(Some(&root));
    let world = World::with(|plan| {
        let orders = plan.app("orders");
        orders.key_credentials.clear();
        orders.trusted_certificate_subjects.push(root.trusted(&[]));
    })
    .await;
    // Two certificates of two keys, one after the other: the registration stays as it is.
    let (first, next) = (root.leaf("orders", &ORDERS, 100), middle.leaf("orders", &STRANGER, 100_000));
    let answer = send(&world, &chained(&[&first], &ORDERS)).await.ok();
    assert_eq!(claims(&text(&answer, "access_token"))["azpacr"], "2");
    send(&world, &chained(&[&next, &middle.der], &STRANGER)).await.ok();
    send(&world, &chained(&[&next, &middle.der, &root.der], &STRANGER)).await.ok();
    let one = good().header("x5t#S256", Value::Null).header("x5c", json!(STANDARD.encode(&first))).sign(&ORDERS);
    send(&world, &one).await.ok();
    world.clock.advance(100);
    let ended = chained(&[&first], &ORDERS);
    assert_eq!(send(&world, &ended).await.refused().2, 1_000_502, "it has ended");
    world.clock.advance(-100);

    let stranger = Vouching::new(None);
    let other = root.leaf("billing", &ORDERS, 100);
    let forged = stranger.leaf("orders", &ORDERS, 100);
    for (case, assertion, code) in [
        ("another authority of that name", chained(&[&forged, &stranger.der], &ORDERS), 7_000_274),
        ("that authority's certificate besides", chained(&[&forged, &root.der], &ORDERS), 7_000_274),
        ("another subject", chained(&[&other], &ORDERS), 7_000_274),
        ("without the way there", chained(&[&next], &STRANGER), 7_000_274),
        ("self-signed", chained(&[&ORDERS.der], &ORDERS), 7_000_274),
        ("no certificate at all", chained(&[], &ORDERS), 7_000_274),
        ("somebody else's certificate", chained(&[&first], &STRANGER), 700_027),
        (
            "the thumbprint of another",
            {
                let x5c = json!([STANDARD.encode(&first)]);
                good().header("x5t#S256", json!(STRANGER.certificate.x5t_s256())).header("x5c", x5c).sign(&ORDERS)
            },
            7_000_274,
        ),
    ] {
        let (status, error, found, _) = send(&world, &assertion).await.refused();
        assert_eq!((status, error.as_str(), found), (401, "invalid_client", code), "{case}");
    }
    // The subject is trusted for Orders alone.
    let theirs = [("iss", json!(app("rival"))), ("sub", json!(app("rival")))];
    let theirs =
        theirs.into_iter().fold(good().header("x5t#S256", Value::Null), |it, (name, value)| it.claim(name, value));
    let theirs = theirs.header("x5c", json!([STANDARD.encode(&first)])).sign(&ORDERS);
    refused(&world.token(with_assertion("rival", &theirs)).await, 401, "invalid_client", "another application");

    let (leaf, authority) = (thumbprint(&next), thumbprint(&middle.der));
    for (revoked, code) in [(leaf, 7_000_214), (authority, 7_000_277)] {
        let trusted = root.trusted(&[revoked]);
        world.edit_app("orders", |app| app.trusted_certificate_subjects = vec![trusted.clone()]).await;
        assert_eq!(send(&world, &chained(&[&next, &middle.der], &STRANGER)).await.refused().2, code);
        send(&world, &chained(&[&first], &ORDERS)).await.ok();
    }
    world.edit_app("orders", |app| app.trusted_certificate_subjects.clear()).await;
    assert_eq!(send(&world, &chained(&[&first], &ORDERS)).await.check(), "client.assertion_key", "trusted no more");
}

#[tokio::test]
async fn a_managed_identity_gets_tokens_for_itself_through_its_host_and_in_no_other_way() {
    let resource = "/subscriptions/1/resourcegroups/shop/providers/Microsoft.Web/sites/daemon";
    let world = World::with(|plan| {
        let daemon = plan.app("daemon");
        daemon.password_credentials.clear();
        daemon.key_credentials.push(key_credential("host", &STRANGER.der));
        daemon.managed_identity =
            Some(ManagedIdentity { kind: ManagedIdentityKind::SystemAssigned, resource_id: resource.to_owned() });
    })
    .await;
    let id = app("daemon").to_string();
    let header = json!({"alg": "RS256", "typ": "JWT", "x5t#S256": STRANGER.certificate.x5t_s256()});
    let body = json!({
        "iss": id, "sub": id, "aud": format!("{HOST}/{CONTOSO}/oauth2/v2.0/token"), "exp": NOON.0 + 600, "jti": "1",
    });
    let assertion = sign(&STRANGER.rs256, header.to_string().as_bytes(), body.to_string().as_bytes());
    let answer = world.token(with_assertion("daemon", &assertion)).await.ok();
    let issued = claims(&text(&answer, "access_token"));
    assert_eq!((&issued["xms_mirid"], &issued["idtyp"]), (&json!(resource), &json!("app")));
    assert_eq!(issued["roles"], json!(["Invoices.Export"]));
    let nothing = but(with_assertion("daemon", ""), "client_assertion", None);
    refused(&world.token(nothing).await, 401, "invalid_client", "without its host");
    refused(
        &world.token(client_credentials("daemon", "api://billing/.default")).await,
        401,
        "invalid_client",
        "a secret",
    );
    // Taken from the host, it is nobody at once.
    world.edit_app("daemon", |app| app.key_credentials.clear()).await;
    refused(&world.token(with_assertion("daemon", &assertion)).await, 401, "invalid_client", "no host any more");
    let ordinary = world.token(client_credentials("orders", "api://billing/.default")).await.ok();
    assert!(claims(&text(&ordinary, "access_token"))["xms_mirid"].is_null());
}
