//! Tokens on behalf of users (X1–X9), and what is sent for them (2.8).
use crate::support::{ENCODINGS, Encoding, World, at_once, claims, invalid_request};
use serde_json::json;
use std::collections::HashSet;

const EXCHANGES: [&str; 2] = ["entra_id", "tokenx"];

#[tokio::test]
async fn x1_x3_a_users_token_is_exchanged_and_kept() {
    for encoding in ENCODINGS {
        let world = World::new().await;
        for provider in EXCHANGES {
            let user = world.issuer(provider).token(&json!({}));
            let token = world.exchange(provider, "default", &user, encoding).await.token();
            let introspected = world.introspect(provider, &token, encoding).await;
            assert_eq!((&introspected["active"], &introspected["sub"]), (&json!(true), &json!("ada")));
            assert_eq!(introspected["iss"], world.issuer(provider).url());
            assert_eq!(world.exchange(provider, "default", &user, encoding).await.token(), token);
        }
    }
}

#[tokio::test]
async fn x2_other_targets_and_other_users_have_other_tokens() {
    for encoding in ENCODINGS {
        let world = World::new().await;
        for provider in EXCHANGES {
            let mut seen = HashSet::new();
            for user in ["ada", "bob"] {
                let user = world.issuer(provider).token(&json!({ "sub": user }));
                for target in ["default", "another"] {
                    assert!(seen.insert(world.exchange(provider, target, &user, encoding).await.token()));
                }
            }
        }
    }
}

#[tokio::test]
async fn x4_skip_cache_exchanges_anew() {
    for encoding in ENCODINGS {
        let world = World::new().await;
        for provider in EXCHANGES {
            let user = world.issuer(provider).token(&json!({}));
            let first = claims(&world.exchange(provider, "default", &user, encoding).await.token());
            let fields = json!({
                "identity_provider": provider, "target": "default", "user_token": user, "skip_cache": true,
            });
            let second = claims(&world.post("/api/v1/token/exchange", fields, encoding).await.token());
            assert_ne!(first["jti"], second["jti"]);
            assert_eq!((&first["sub"], &first["iss"]), (&second["sub"], &second["iss"]));
        }
    }
}

#[tokio::test]
async fn x5_an_empty_user_token_is_refused_by_the_provider_in_its_words() {
    let world = World::new().await;
    for encoding in ENCODINGS {
        let answer = world.exchange("entra_id", "default", "", encoding).await;
        assert_eq!(answer.error(), invalid_request("invalid request: missing or empty assertion parameter"));
    }
}

#[tokio::test]
async fn x6_providers_without_exchange_say_so() {
    let world = World::new().await;
    for provider in ["idporten", "maskinporten", "ansattporten"] {
        for encoding in ENCODINGS {
            let told = format!("identity provider '{provider}' does not support token exchange");
            assert_eq!(world.exchange(provider, "t", "a.b.c", encoding).await.error(), invalid_request(told));
        }
    }
}

#[tokio::test]
async fn x7_ten_at_once_get_the_same_token() {
    for encoding in ENCODINGS {
        let world = World::new().await;
        let user = world.issuer("tokenx").token(&json!({}));
        let all = at_once(|| world.exchange("tokenx", "default", &user, encoding)).await;
        assert!(all.iter().all(|token| *token == all[0]));
        assert_eq!(world.issuer("tokenx").asked().len(), 1);
    }
}

#[tokio::test]
async fn x8_both_spellings_of_a_workload_share_the_entry() {
    for encoding in ENCODINGS {
        let world = World::new().await;
        let user = world.issuer("entra_id").token(&json!({}));
        let short = world.exchange("entra_id", "a:b:c", &user, encoding).await.token();
        assert_eq!(world.exchange("entra_id", "api://a.b.c/.default", &user, encoding).await.token(), short);
        let user = world.issuer("tokenx").token(&json!({}));
        world.exchange("tokenx", "a:b:c", &user, encoding).await.token();
        assert_eq!(world.issuer("tokenx").asked()[0].field("audience"), Some("a:b:c"), "never rewritten");
    }
}

#[tokio::test]
async fn x9_a_user_token_of_garbage_is_refused_by_the_provider() {
    let world = World::new().await;
    for encoding in ENCODINGS {
        for garbage in ["garbage", "a.b.c", "eyJhbGciOiJub25lIn0.e30", &"x".repeat(1 << 20)] {
            let answer = world.exchange("entra_id", "default", garbage, encoding).await;
            assert_eq!(answer.error(), (400, "invalid_grant".into(), "the assertion is not a token".into()));
        }
    }
}

#[tokio::test]
async fn exchanges_upstream_have_these_fields_in_this_order() {
    let world = World::new().await;
    for provider in EXCHANGES {
        let user = world.issuer(provider).token(&json!({}));
        world.exchange(provider, "t", &user, Encoding::Json).await.token();
    }
    let names = |provider: &str| {
        let names: Vec<String> = world.issuer(provider).asked()[0].form.iter().map(|(name, _)| name.clone()).collect();
        names.join(" ")
    };
    let entra = "grant_type client_id client_assertion client_assertion_type scope requested_token_use assertion";
    assert_eq!(names("entra_id"), entra);
    let tokenx = "grant_type client_assertion client_assertion_type subject_token_type subject_token audience";
    assert_eq!(names("tokenx"), tokenx);
}

#[tokio::test]
async fn claims_answer_a_challenge_and_are_a_token_of_their_own() {
    let world = World::new().await;
    let user = world.issuer("entra_id").token(&json!({}));
    let plain = world.exchange("entra_id", "default", &user, Encoding::Json).await.token();
    let challenge = r#"{"access_token":{"acrs":{"essential":true,"value":"c1"}}}"#;
    let fields = json!({
        "identity_provider": "entra_id", "target": "default", "user_token": user, "claims": challenge,
    });
    assert_ne!(world.post("/api/v1/token/exchange", fields, Encoding::Json).await.token(), plain);
    assert_eq!(world.issuer("entra_id").asked()[1].field("claims"), Some(challenge));
}
