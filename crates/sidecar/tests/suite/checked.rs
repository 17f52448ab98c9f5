//! Users' tokens that are judged before they are sent to a provider, where that is set (6.10).
use crate::support::{Encoding, Issuers, NOON, PROVIDERS, Variables, World, explicit, stranger};
use jose::Header;
use serde_json::json;

fn checking(issuers: &Issuers) -> Variables {
    let mut variables = explicit(issuers);
    variables.insert("DEPUTIZE_CHECK_USER_TOKENS".to_owned(), "true".to_owned());
    variables
}

#[tokio::test]
async fn a_user_token_that_is_not_good_here_goes_nowhere() {
    let world = World::with(&PROVIDERS, checking, None).await;
    let issuer = world.issuer("entra_id");
    let forged = stranger(issuer.key().kid()).sign(&Header::typ("JWT"), b"{}").unwrap();
    for (token, why) in [
        (issuer.token(&json!({ "exp": NOON.0 - 61, "iat": NOON.0 - 100 })), "invalid token: ExpiredSignature"),
        (issuer.token(&json!({ "aud": "another" })), "invalid token: InvalidAudience"),
        (issuer.token(&json!({ "iss": "https://evil.example" })), "invalid token: InvalidIssuer"),
        (forged, "invalid token: InvalidSignature"),
        (world.issuer("idporten").token(&json!({})), "token can not be validated with this identity provider"),
        ("garbage".to_owned(), "invalid token header: InvalidToken"),
        (String::new(), "invalid token header: InvalidToken"),
    ] {
        let told = format!("the user token is refused before it is sent anywhere: {why}");
        let answer = world.exchange("entra_id", "default", &token, Encoding::Json).await;
        assert_eq!(answer.error(), (400, "invalid_grant".to_owned(), told));
    }
    assert!(issuer.asked().is_empty());
    let good = issuer.token(&json!({}));
    world.exchange("entra_id", "default", &good, Encoding::Json).await.token();
    world.clock.advance(86_400);
    let ended = world.exchange("entra_id", "default", &good, Encoding::Json).await;
    assert_eq!(ended.error().1, "invalid_grant", "also one that was seen before");
    assert_eq!(issuer.asked().len(), 1);
}

#[tokio::test]
async fn where_tokens_of_others_are_traded_in_their_issuer_judges_them() {
    let world = World::with(&PROVIDERS, checking, None).await;
    let person = world.issuer("idporten").token(&json!({}));
    world.exchange("tokenx", "default", &person, Encoding::Json).await.token();
    world.exchange("tokenx", "default", &world.issuer("tokenx").token(&json!({})), Encoding::Json).await.token();
    let elsewhere = world.issuer("idporten").token(&json!({ "aud": "another" }));
    assert_eq!(world.exchange("tokenx", "default", &elsewhere, Encoding::Json).await.error().1, "invalid_grant");
    let name = world.issuer("idporten").url();
    let claimed = world.issuer("maskinporten").token(&json!({ "iss": name }));
    assert_eq!(world.exchange("tokenx", "default", &claimed, Encoding::Json).await.error().1, "invalid_grant");
    assert_eq!(world.issuer("tokenx").asked().len(), 2);
}

#[tokio::test]
async fn that_nobody_can_judge_it_is_no_fault_of_the_token() {
    let lost = |issuers: &Issuers| {
        let mut variables = checking(issuers);
        variables.insert("AZURE_OPENID_CONFIG_JWKS_URI".into(), "http://127.0.0.1:1/jwks".into());
        variables
    };
    let world = World::with(&["entra_id"], lost, None).await;
    let token = world.issuer("entra_id").token(&json!({}));
    let answer = world.exchange("entra_id", "default", &token, Encoding::Json).await;
    assert_eq!((answer.error().0, answer.error().1.as_str()), (500, "server_error"));
    assert_eq!(answer.headers["retry-after"], "1");
    assert!(world.issuer("entra_id").asked().is_empty());
}

#[tokio::test]
async fn unless_it_is_set_the_provider_judges() {
    let world = World::new().await;
    let ended = world.issuer("entra_id").token(&json!({ "exp": NOON.0 - 61, "iat": NOON.0 - 100 }));
    world.exchange("entra_id", "default", &ended, Encoding::Json).await;
    assert_eq!(world.issuer("entra_id").asked().len(), 1);
}
