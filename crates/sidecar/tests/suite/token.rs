//! Tokens for the application itself (T1–T11), and what is sent for them (2.8).
use crate::support::{ENCODINGS, Encoding, World, at_once, claims, invalid_request};
use serde_json::{Value, json};

const MACHINES: [(&str, &str); 2] = [("maskinporten", "scope"), ("entra_id", "default")];

fn fresh(provider: &str, target: &str) -> Value {
    json!({ "identity_provider": provider, "target": target, "skip_cache": true })
}

#[tokio::test]
async fn t1_a_machine_token_is_got_and_is_active() {
    for encoding in ENCODINGS {
        let world = World::new().await;
        for (provider, target) in MACHINES {
            let answer = world.token(provider, target, encoding).await;
            let token = answer.token();
            let whole = format!(r#"{{"access_token":"{token}","token_type":"Bearer","expires_in":3599}}"#);
            assert_eq!(answer.text, whole, "these members, in this order, and never a refresh token");
            let introspected = world.introspect(provider, &token, encoding).await;
            assert_eq!(introspected["active"], true);
            assert_eq!(introspected["iss"], world.issuer(provider).url());
            assert!(introspected["jti"].as_str().is_some_and(|jti| !jti.is_empty()));
        }
    }
}

#[tokio::test]
async fn t2_t3_another_target_has_another_token_and_the_same_has_the_same() {
    for encoding in ENCODINGS {
        let world = World::new().await;
        for (provider, target) in MACHINES {
            let first = world.token(provider, target, encoding).await.token();
            assert_ne!(world.token(provider, "another", encoding).await.token(), first);
            world.clock.advance(10);
            let again = world.token(provider, target, encoding).await;
            assert_eq!(again.token(), first);
            assert_eq!(again.json()["expires_in"], 3589, "counted anew for each answer");
        }
    }
}

#[tokio::test]
async fn t4_skip_cache_gets_a_new_token() {
    for encoding in ENCODINGS {
        let world = World::new().await;
        for (provider, target) in MACHINES {
            let first = claims(&world.token(provider, target, encoding).await.token());
            let renewed = world.post("/api/v1/token", fresh(provider, target), encoding).await.token();
            assert_ne!(first["jti"], claims(&renewed)["jti"]);
            assert_eq!(first["iss"], claims(&renewed)["iss"]);
            assert_eq!(world.token(provider, target, encoding).await.token(), renewed, "the old one is gone");
        }
    }
}

#[tokio::test]
async fn t5_a_resource_reaches_maskinporten_in_the_assertion() {
    for encoding in ENCODINGS {
        let world = World::new().await;
        let fields = json!({ "identity_provider": "maskinporten", "target": "scope", "resource": "some_resource" });
        let token = world.post("/api/v1/token", fields, encoding).await.token();
        assert_eq!(world.introspect("maskinporten", &token, encoding).await["resource"], "some_resource");
        let without = world.token("maskinporten", "scope", encoding).await.token();
        assert_eq!(world.introspect("maskinporten", &without, encoding).await["resource"], Value::Null);
    }
}

#[tokio::test]
async fn t6_authorization_details_reach_maskinporten() {
    let details = "[\n  {\n    \"type\": \"urn:altinn:systemuser\",\n    \"org\": { \"ID\": \"0192:1\" }\n  }\n]";
    for encoding in ENCODINGS {
        let world = World::new().await;
        let fields = json!({
            "identity_provider": "maskinporten", "target": "scope", "authorization_details": details,
        });
        let token = world.post("/api/v1/token", fields, encoding).await.token();
        let introspected = world.introspect("maskinporten", &token, encoding).await;
        assert_eq!(introspected["authorization_details"], serde_json::from_str::<Value>(details).unwrap());
    }
}

#[tokio::test]
async fn t9_providers_without_machine_tokens_say_so() {
    let world = World::new().await;
    for provider in ["idporten", "tokenx", "ansattporten"] {
        for encoding in ENCODINGS {
            let told = format!("identity provider '{provider}' does not support token requests");
            assert_eq!(world.token(provider, "target", encoding).await.error(), invalid_request(told));
        }
    }
}

#[tokio::test]
async fn t10_ten_at_once_get_the_same_token() {
    for encoding in ENCODINGS {
        let world = World::new().await;
        let all = at_once(|| world.token("entra_id", "default", encoding)).await;
        assert!(all.iter().all(|token| *token == all[0]));
        assert_eq!(world.issuer("entra_id").asked().len(), 1);
    }
}

#[tokio::test]
async fn t11_both_spellings_of_a_workload_are_one_target() {
    for encoding in ENCODINGS {
        let world = World::new().await;
        let short = world.token("entra_id", "a:b:c", encoding).await.token();
        assert_eq!(world.token("azuread", "api://a.b.c/.default", encoding).await.token(), short);
        assert_eq!(world.issuer("entra_id").asked()[0].field("scope"), Some("api://a.b.c/.default"));
        let renewed = world.post("/api/v1/token", fresh("entra_id", "api://a.b.c/.default"), encoding).await.token();
        assert_ne!(renewed, short);
        assert_eq!(world.token("entra_id", "a:b:c", encoding).await.token(), renewed);
    }
}

#[tokio::test]
async fn an_empty_target_is_sent_and_kept() {
    let world = World::new().await;
    let first = world.token("entra_id", "", Encoding::Json).await.token();
    assert_eq!(world.token("entra_id", "", Encoding::Form).await.token(), first);
    let asked = world.issuer("entra_id").asked();
    assert_eq!((asked.len(), asked[0].field("scope")), (1, Some("")));
}

#[tokio::test]
async fn requests_upstream_have_these_fields_in_this_order() {
    let world = World::new().await;
    world.token("entra_id", "api://x/.default", Encoding::Json).await.token();
    world.token("maskinporten", "a b", Encoding::Json).await.token();
    let names = |provider: &str| -> Vec<String> {
        world.issuer(provider).asked()[0].form.iter().map(|(name, _)| name.clone()).collect()
    };
    assert_eq!(names("entra_id"), ["grant_type", "client_id", "client_assertion", "client_assertion_type", "scope"]);
    assert_eq!(names("maskinporten"), ["grant_type", "assertion"]);
    let entra = &world.issuer("entra_id").asked()[0];
    assert_eq!(entra.headers["accept"], "application/json");
    let assertion = entra.field("client_assertion").unwrap();
    let header = jose::Token::parse(assertion).unwrap().header().clone();
    assert_eq!((header.typ.as_deref(), header.kid.as_deref()), (Some("JWT"), Some("registered")));
    let said = claims(assertion);
    assert_eq!((&said["iss"], &said["sub"]), (&json!("default"), &json!("default")));
    assert_eq!(said["aud"], world.issuer("entra_id").url(), "the issuer, not the token endpoint");
    assert_eq!((said["exp"].as_i64(), said["nbf"].as_i64()), (Some(world.now() + 30), Some(world.now())));
    let grant = claims(world.issuer("maskinporten").asked()[0].field("assertion").unwrap());
    assert_eq!((&grant["scope"], &grant["sub"]), (&json!("a b"), &Value::Null));
}

#[tokio::test]
async fn the_trace_of_a_request_goes_along() {
    let world = World::new().await;
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let body = r#"{"identity_provider":"entra_id","target":"traced"}"#;
    let headers = [("content-type", "application/json"), ("traceparent", trace)];
    world.send(http::Method::POST, "/api/v1/token", &headers, body).await.token();
    assert_eq!(world.issuer("entra_id").asked()[0].headers["traceparent"], trace);
}
