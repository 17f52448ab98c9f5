//! Assertions of other issuers: each thing that is compared, alone, and that nothing of it is another client's.
use crate::world::{FakeCrypto, NOON, World, app, form, refused};
use decision::CheckId;
use deputize_core::id::ObjectId;
use deputize_core::token_endpoint::Refusal;
use deputize_core::workload::{FederatedIdentityCredential, TOKEN_EXCHANGE};
use oauth::{CLIENT_ASSERTION_JWT_BEARER, TokenResponse};
use serde_json::{Value, json};

const ISSUER: &str = "https://cluster.example";
const OTHER: &str = "https://other.example";

fn credential(issuer: &str, subject: &str, audience: &str) -> FederatedIdentityCredential {
    FederatedIdentityCredential {
        id: ObjectId::default(),
        name: "cluster".into(),
        issuer: issuer.to_owned(),
        subject: subject.to_owned(),
        description: String::new(),
        audiences: vec![audience.to_owned()],
    }
}

/// The daemon trusts two issuers, for one subject and one audience each.
fn world(once: bool) -> World {
    let world = World::new();
    world.estate.edit(|estate| {
        let app = estate.app("daemon");
        app.deputize.one_time_assertions = once;
        app.federated_identity_credentials =
            vec![credential(ISSUER, "worker", TOKEN_EXCHANGE), credential(OTHER, "builder", "api://builds")];
    });
    world
}

/// A token, signed with the key of `key`.
fn token(key: &str, changes: &Value) -> String {
    let mut claims = json!({
        "iss": ISSUER, "sub": "worker", "aud": TOKEN_EXCHANGE, "exp": NOON.0 + 3_600, "nbf": NOON.0, "iat": NOON.0, "jti": "1",
    });
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
    }
    FakeCrypto::certify(key, &claims)
}

fn send(world: &World, name: &str, assertion: &str) -> Result<TokenResponse, Refusal> {
    let id = app(name).to_string();
    let pairs = [
        ("grant_type", "client_credentials"),
        ("scope", "api://billing/.default"),
        ("client_id", &*id),
        ("client_assertion_type", CLIENT_ASSERTION_JWT_BEARER),
        ("client_assertion", assertion),
    ];
    world.token_at("contoso.example", &form(&pairs), None)
}

#[test]
fn a_15_issuer_subject_and_audience_belong_together() {
    let world = world(false);
    assert!(send(&world, "daemon", &token(ISSUER, &json!({}))).is_ok());
    let other = json!({"iss": OTHER, "sub": "builder", "aud": "api://builds"});
    assert!(send(&world, "daemon", &token(OTHER, &other)).is_ok());
    for (what, changes, check) in [
        ("the other's subject", json!({"sub": "builder"}), CheckId::FederatedSubject),
        ("the other's audience", json!({"aud": "api://builds"}), CheckId::FederatedAudience),
        ("the other's both", json!({"sub": "builder", "aud": "api://builds"}), CheckId::FederatedSubject),
        ("two audiences", json!({"aud": [TOKEN_EXCHANGE, "x"]}), CheckId::FederatedAudience),
        ("the audience twice", json!({"aud": [TOKEN_EXCHANGE, TOKEN_EXCHANGE]}), CheckId::FederatedAudience),
        ("in the other's name", json!({"iss": OTHER}), CheckId::ClientAssertionSignature),
        ("in nobody's name", json!({"iss": "https://nobody.example"}), CheckId::FederatedIssuer),
        ("ended", json!({"exp": NOON.0 - 60}), CheckId::ClientAssertionCurrent),
        ("not begun", json!({"nbf": NOON.0 + 61}), CheckId::ClientAssertionCurrent),
        ("made later", json!({"iat": NOON.0 + 61}), CheckId::ClientAssertionCurrent),
    ] {
        assert_eq!(refused(send(&world, "daemon", &token(ISSUER, &changes))), check, "{what}");
        assert_eq!(world.ledger.read(|ledger| ledger.audit.len()), 2, "{what}: strangers leave no record");
    }
    for at in [-59, 60] {
        let name = if at < 0 { "exp" } else { "nbf" };
        assert!(
            send(&world, "daemon", &token(ISSUER, &json!({ (name): NOON.0 + at }))).is_ok(),
            "within the skew: {at}"
        );
    }
}

#[test]
fn a_14_what_one_application_trusts_proves_no_other() {
    let world = world(false);
    for name in ["web", "orders", "billing"] {
        assert!(send(&world, name, &token(ISSUER, &json!({}))).is_err(), "{name}");
    }
    let phone = refused(send(&world, "phone", &token(ISSUER, &json!({}))));
    assert_eq!(phone, CheckId::ClientConfidential);
}

#[test]
fn a_15_an_assertion_works_again_or_once_as_the_application_chose() {
    let often = world(false);
    for _ in 0..3 {
        assert!(send(&often, "daemon", &token(ISSUER, &json!({}))).is_ok());
    }
    let once = world(true);
    assert!(send(&once, "daemon", &token(ISSUER, &json!({}))).is_ok());
    assert_eq!(refused(send(&once, "daemon", &token(ISSUER, &json!({})))), CheckId::ClientAssertionOnce);
    // Ids are an issuer's own: another's of the same text is another.
    let other = json!({"iss": OTHER, "sub": "builder", "aud": "api://builds"});
    assert!(send(&once, "daemon", &token(OTHER, &other)).is_ok());
    assert!(send(&once, "daemon", &token(ISSUER, &json!({"jti": "2"}))).is_ok());
    assert_eq!(refused(send(&once, "daemon", &token(ISSUER, &json!({"jti": null})))), CheckId::ClientAssertionOnce);
}
