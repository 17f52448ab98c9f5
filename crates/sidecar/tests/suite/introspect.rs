//! Introspection (I1–I14), with the texts of 2.7.
use crate::support::{ENCODINGS, Encoding, NOON, PROVIDERS, World, stranger};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jose::{Algorithm, Header, SigningKey};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;

const UNKNOWN: &str = "token can not be validated with this identity provider";

fn with_header(token: &str, header: &str) -> String {
    let (_, rest) = token.split_once('.').unwrap();
    format!("{}.{rest}", URL_SAFE_NO_PAD.encode(header))
}

#[tokio::test]
async fn i1_a_users_token_of_each_provider_is_active() {
    let world = World::new().await;
    for provider in PROVIDERS {
        let token = world.issuer(provider).token(&json!({ "groups": ["a", "b"] }));
        for encoding in ENCODINGS {
            let answer = world.introspect(provider, &token, encoding).await;
            assert_eq!((&answer["active"], &answer["iss"]), (&json!(true), &json!(world.issuer(provider).url())));
            assert!(["jti", "sub"].iter().all(|name| answer[*name].as_str().is_some_and(|text| !text.is_empty())));
            assert_eq!(answer["groups"], json!(["a", "b"]), "claims as they are");
        }
    }
}

#[tokio::test]
async fn i2_i4_i5_times_are_judged_with_a_minute_of_leeway() {
    let world = World::new().await;
    let now = world.now();
    let told = async |claims: Value| world.inactive("entra_id", &world.issuer("entra_id").token(&claims)).await;
    assert_eq!(told(json!({ "nbf": now + 120 })).await, "invalid token: ImmatureSignature");
    assert_eq!(told(json!({ "iat": now + 120 })).await, "invalid token: ImmatureSignature");
    assert_eq!(told(json!({ "exp": now - 120 })).await, "invalid token: ExpiredSignature");
    let at = |exp: i64| json!({ "exp": exp, "iat": now - 90, "nbf": now - 90 });
    assert_eq!(told(at(now - 61)).await, "invalid token: ExpiredSignature");
    assert!(world.is_active("entra_id", &world.issuer("entra_id").token(&at(now - 59))).await);
    let early = world.issuer("maskinporten").token(&json!({ "nbf": now + 120 }));
    assert_eq!(world.inactive("maskinporten", &early).await, "invalid token: ImmatureSignature");
}

#[tokio::test]
async fn i3_a_token_for_somebody_else_is_not_active_save_where_that_is_not_asked() {
    let world = World::new().await;
    for provider in ["entra_id", "tokenx", "idporten", "ansattporten"] {
        let other = world.issuer(provider).token(&json!({ "aud": "invalid" }));
        assert_eq!(world.inactive(provider, &other).await, "invalid token: InvalidAudience");
        let none = world.issuer(provider).token(&json!({ "aud": null }));
        assert_eq!(world.inactive(provider, &none).await, "invalid token: Missing required claim: aud");
    }
    let other = world.issuer("maskinporten").token(&json!({ "aud": "invalid" }));
    assert!(world.is_active("maskinporten", &other).await);
}

#[tokio::test]
async fn i6_what_is_no_token_is_told() {
    let world = World::new().await;
    for text in ["not a jwt", "", "a.b", "a.b.c.d", &"a".repeat(100_000)] {
        assert_eq!(world.inactive("entra_id", text).await, "invalid token header: InvalidToken", "{text:.20}");
    }
    let bearer = format!("Bearer {}", world.issuer("entra_id").token(&json!({})));
    let told = "invalid token header: Base64 error: Invalid symbol 32, offset 6.";
    assert_eq!(world.inactive("entra_id", &bearer).await, told);
    let told = "invalid token header: Base64 error: Invalid input length: 1";
    assert_eq!(world.inactive("entra_id", "a.b.c").await, told);
    let told = "invalid token header: JSON error: EOF while parsing a value at line 1 column 0";
    assert_eq!(world.inactive("entra_id", "..").await, told);
}

#[tokio::test]
async fn a_token_that_is_too_long_is_none_however_well_it_is_signed() {
    let world = World::new().await;
    let token = world.issuer("entra_id").token(&json!({ "groups": "g".repeat(jose::MAX_TOKEN) }));
    assert_eq!(world.inactive("entra_id", &token).await, "invalid token header: InvalidToken");
}

#[tokio::test]
async fn i7_i9_a_key_that_the_provider_does_not_have_validates_nothing() {
    let world = World::new().await;
    let foreign = world.issuer("maskinporten").token(&json!({}));
    assert_eq!(world.inactive("entra_id", &foreign).await, UNKNOWN);
    let missing = stranger("missing-key").sign(&Header::typ("JWT"), b"{}").unwrap();
    assert_eq!(world.inactive("entra_id", &missing).await, UNKNOWN);
}

#[tokio::test]
async fn i8_missing_claims_are_named() {
    let world = World::new().await;
    for claim in ["iss", "exp", "iat"] {
        let token = world.issuer("entra_id").token(&json!({ claim: null }));
        let told = format!("invalid token: Missing required claim: {claim}");
        assert_eq!(world.inactive("entra_id", &token).await, told);
    }
    let text = world.issuer("entra_id").token(&json!({ "exp": "1900000000" }));
    assert_eq!(world.inactive("entra_id", &text).await, "invalid token: Missing required claim: exp");
    let fraction = world.issuer("entra_id").token(&json!({ "iat": 1_799_999_999.5 }));
    assert!(world.is_active("entra_id", &fraction).await);
}

#[tokio::test]
async fn i10_a_token_names_its_key() {
    let world = World::new().await;
    let token = with_header(&world.issuer("entra_id").token(&json!({})), r#"{"alg":"ES256","typ":"JWT"}"#);
    assert_eq!(world.inactive("entra_id", &token).await, "missing key id from token header");
}

#[tokio::test]
async fn i11_another_issuer_is_another_issuer() {
    let world = World::new().await;
    let own = world.issuer("entra_id").url();
    for issuer in ["snafu".to_owned(), format!("{own}/"), own.to_uppercase()] {
        let token = world.issuer("entra_id").token(&json!({ "iss": issuer }));
        assert_eq!(world.inactive("entra_id", &token).await, "invalid token: InvalidIssuer");
    }
}

#[tokio::test]
async fn i12_thirty_two_at_once_are_all_active() {
    let world = Arc::new(World::new().await);
    let token = world.issuer("entra_id").token(&json!({}));
    let ask = |world: Arc<World>, token: String| async move { world.is_active("entra_id", &token).await };
    let asked: Vec<_> = (0..32).map(|_| tokio::spawn(ask(world.clone(), token.clone()))).collect();
    for answer in asked {
        assert!(answer.await.unwrap());
    }
    assert_eq!(world.issuer("entra_id").key_fetches(), 1, "however many ask first");
}

#[tokio::test]
async fn i13_signatures_and_algorithms_are_told_apart() {
    let world = World::new().await;
    let issuer = world.issuer("entra_id");
    let (token, kid) = (issuer.token(&json!({})), issuer.key().kid());
    let forged = stranger(kid).sign(&Header::typ("JWT"), b"{}").unwrap();
    assert_eq!(world.inactive("entra_id", &forged).await, "invalid token: InvalidSignature");
    let (head, signature) = token.rsplit_once('.').unwrap();
    let flipped = if signature.starts_with('A') { 'B' } else { 'A' };
    for altered in [format!("{head}.{flipped}{}", &signature[1..]), format!("{head}.{}", &signature[2..])] {
        assert_eq!(world.inactive("entra_id", &altered).await, "invalid token: InvalidSignature");
    }
    let (header, _) = head.split_once('.').unwrap();
    let other = format!("{header}.{}.{signature}", URL_SAFE_NO_PAD.encode(r#"{"iss":"evil"}"#));
    assert_eq!(world.inactive("entra_id", &other).await, "invalid token: InvalidSignature");
    for algorithm in ["HS256", "RS256", "PS512", "ES384", "EdDSA"] {
        let token = with_header(&token, &json!({ "alg": algorithm, "kid": kid }).to_string());
        assert_eq!(world.inactive("entra_id", &token).await, "invalid token: InvalidAlgorithm", "{algorithm}");
    }
    for (name, column) in [("none", 14), ("XX1", 13), ("ES512", 15), ("es256", 15)] {
        let token = with_header(&token, &format!(r#"{{"alg": "{name}", "kid": "{kid}"}}"#));
        let told = format!(
            "invalid token header: JSON error: unknown variant `{name}`, expected one of `HS256`, `HS384`, `HS512`, \
             `ES256`, `ES384`, `RS256`, `RS384`, `RS512`, `PS256`, `PS384`, `PS512`, `EdDSA` at line 1 column {column}"
        );
        assert_eq!(world.inactive("entra_id", &token).await, told);
    }
}

#[tokio::test]
async fn i14_an_rsa_key_validates_all_of_its_family_save_where_its_set_binds_it_to_one() {
    let world = World::new().await;
    let issuer = world.issuer("entra_id");
    let rsa = SigningKey::generate(Algorithm::RS256).unwrap();
    let mut unbound = serde_json::to_value(rsa.public_jwk()).unwrap();
    unbound.as_object_mut().unwrap().remove("alg");
    unbound["kid"] = "unbound".into();
    let mut bound = serde_json::to_value(rsa.public_jwk()).unwrap();
    bound["kid"] = "bound".into();
    issuer.publish(json!({ "keys": [unbound, bound] }).to_string());
    let claims =
        json!({ "iss": issuer.url(), "aud": "default", "iat": world.now(), "exp": world.now() + 60 }).to_string();
    for algorithm in
        Algorithm::ALL.into_iter().filter(|algorithm| matches!(algorithm.as_str().as_bytes(), [b'R' | b'P', ..]))
    {
        let sign = |kid: &str| {
            let key = SigningKey::from_pkcs8(algorithm, rsa.pkcs8()).unwrap().named(kid);
            key.sign(&Header::typ("JWT"), claims.as_bytes()).unwrap()
        };
        assert!(world.is_active("entra_id", &sign("unbound")).await, "{algorithm}");
        assert_eq!(world.is_active("entra_id", &sign("bound")).await, algorithm == Algorithm::RS256, "{algorithm}");
    }
}

#[tokio::test]
async fn keys_of_other_families_validate_too() {
    for algorithm in [Algorithm::EdDSA, Algorithm::ES384] {
        let world = World::new().await;
        let issuer = world.issuer("idporten");
        let key = SigningKey::generate(algorithm).unwrap().named("k");
        issuer.publish(json!({ "keys": [key.public_jwk()] }).to_string());
        let claims = json!({ "iss": issuer.url(), "aud": "default", "iat": world.now(), "exp": world.now() + 60 });
        let token = key.sign(&Header::typ("JWT"), claims.to_string().as_bytes()).unwrap();
        assert!(world.is_active("idporten", &token).await, "{algorithm}");
    }
}

#[tokio::test]
async fn claims_named_like_the_answer_are_left_out_and_the_others_keep_their_order() {
    let world = World::new().await;
    let issuer = world.issuer("entra_id");
    let text = format!(
        r#"{{"z":1,"active":false,"iss":"{}","error":"x","aud":"default","a":{{"active":2}},"iat":{},"exp":{}}}"#,
        issuer.url(),
        world.now(),
        world.now() + 100
    );
    let token = issuer.key().sign(&Header::typ("JWT"), text.as_bytes()).unwrap();
    let expected = text.replace(r#"{"z":1,"active":false,"#, r#"{"active":true,"z":1,"#).replace(r#""error":"x","#, "");
    for _ in 0..2 {
        let fields = json!({ "identity_provider": "entra_id", "token": token });
        assert_eq!(world.post("/api/v1/introspect", fields, Encoding::Json).await.text, expected);
    }
}

/// 2.7 and 6.12: richer explanations are members beside `error`, where somebody asked for them.
#[tokio::test]
async fn which_check_failed_is_told_beside_the_text_where_that_is_set() {
    for (variables, file, told) in [
        (None, None, false),
        (Some("true"), None, true),
        (None, Some("explanations = true"), true),
        (Some("false"), Some("explanations = true"), false),
    ] {
        let told_by = |issuers: &crate::support::Issuers| {
            let mut all = crate::support::explicit(issuers);
            all.extend(variables.map(|value: &str| ("DEPUTIZE_EXPLANATIONS".to_owned(), value.to_owned())));
            all
        };
        let world = World::with(&["entra_id"], told_by, file).await;
        let issuer = world.issuer("entra_id");
        let now = world.now();
        let mut ids = Vec::new();
        for (token, text, check) in [
            ("no token".to_owned(), "invalid token header: InvalidToken", Some("token.form")),
            (issuer.token(&json!({ "aud": "other" })), "invalid token: InvalidAudience", Some("token.audience")),
            (issuer.token(&json!({ "iss": "other" })), "invalid token: InvalidIssuer", Some("token.issuer")),
            (issuer.token(&json!({ "exp": now - 120 })), "invalid token: ExpiredSignature", Some("token.not_expired")),
            (issuer.token(&json!({ "nbf": now + 120 })), "invalid token: ImmatureSignature", Some("token.not_before")),
            (issuer.token(&json!({ "iat": null })), "invalid token: Missing required claim: iat", Some("token.claims")),
        ] {
            let answer = world.introspect("entra_id", &token, Encoding::Json).await;
            assert_eq!((&answer["active"], &answer["error"]), (&json!(false), &json!(text)));
            assert_eq!(answer["check"]["id"].as_str(), check.filter(|_| told), "{answer}");
            let names: Vec<&str> = answer.as_object().unwrap().keys().map(String::as_str).collect();
            assert_eq!(names.len(), if told { 4 } else { 2 }, "{names:?}");
            if told {
                assert!(answer["check"]["fix"].is_string() && answer["check"]["fixer"].is_string(), "{answer}");
                ids.push(answer["decision_id"].as_str().unwrap().to_owned());
            }
        }
        ids.dedup();
        assert_eq!(ids.len(), if told { 6 } else { 0 });
        assert!(ids.iter().all(|id| id.len() == 32));
        let disabled = world.introspect("tokenx", "x", Encoding::Json).await;
        assert_eq!((disabled["check"].is_null(), disabled["decision_id"].is_string()), (true, told), "{disabled}");
        let good = world.introspect("entra_id", &issuer.token(&json!({})), Encoding::Json).await;
        assert_eq!((&good["active"], good["decision_id"].is_null()), (&json!(true), true));
    }
}

#[tokio::test]
async fn a_token_that_was_seen_before_ends_when_it_ends() {
    let world = World::new().await;
    let token = world.issuer("entra_id").token(&json!({ "exp": NOON.0 + 40 }));
    assert!(world.is_active("entra_id", &token).await);
    assert_eq!(world.inactive("tokenx", &token).await, UNKNOWN, "what one provider proved is nothing to another");
    world.clock.advance(40);
    assert!(world.is_active("entra_id", &token).await);
    world.clock.advance(60);
    assert_eq!(world.inactive("entra_id", &token).await, "invalid token: ExpiredSignature");
}

#[tokio::test]
async fn j_19_an_issuer_of_many_tenants_needs_a_list_of_them() {
    for (tenants, expected) in [("", false), (r#""one""#, true), (r#""two""#, false)] {
        let clock = testkit::SetClock::at(NOON);
        let issuer = testkit::Issuer::start(clock.clone(), Algorithm::ES256).await.unwrap();
        let file = format!(
            "[[provider]]\nname = \"many\"\ndiscovery = \"{}\"\nissuer = \"{}/{{tenantid}}/v2.0\"\naudience = \"default\"\n\
             tenants = [{tenants}]",
            issuer.metadata_url(),
            issuer.url()
        );
        let settings = sidecar::Settings::read(&|_| None, Some(toml::from_str(&file).unwrap())).unwrap();
        let token = issuer.token(&json!({ "iss": format!("{}/one/v2.0", issuer.url()), "tid": "one" }));
        let world = World::of(settings, clock, HashMap::from([("many", issuer)])).await;
        assert_eq!(world.is_active("many", &token).await, expected, "{tenants}");
    }
}
