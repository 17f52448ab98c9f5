//! What each profile sends, with what proof, and where it learns to send it.
use crate::support::{Authority, Hands, NOON, build, issued};
use client::{Ask, AssertionAudience, Cause, Client, Endpoints, Error, GrantProfile, TokenCache, Upstream};
use jose::{Algorithm, SigningKey, Token, VerifyingKey};
use oauth::Secret;
use serde_json::{Map, Value, json};
use std::sync::{Arc, Mutex};

type Sent = Arc<Mutex<Vec<Vec<(String, String)>>>>;

fn recording() -> (Arc<Authority>, Sent) {
    let sent = Sent::default();
    let keep = Arc::clone(&sent);
    let authority = Authority::new(move |_, form| {
        keep.lock().unwrap().push(form.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect());
        issued("t", 3600)
    });
    (authority, sent)
}

fn key() -> SigningKey {
    SigningKey::generate(Algorithm::ES256).unwrap().named("the-kid")
}

fn verified(text: &str, key: &VerifyingKey) -> (String, Map<String, Value>) {
    let token = Token::parse(text).unwrap();
    assert_eq!((token.header().typ.as_deref(), token.header().kid.as_deref()), (Some("JWT"), Some("the-kid")));
    (token.header().alg.clone(), token.verify(key).unwrap().map().unwrap())
}

fn names(form: &[(String, String)]) -> Vec<&str> {
    form.iter().map(|(name, _)| name.as_str()).collect()
}

fn value<'a>(form: &'a [(String, String)], name: &str) -> &'a str {
    form.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value.as_str())
}

#[tokio::test]
async fn each_profile_sends_its_fields_in_their_order() {
    let user = Secret::new("user-token");
    let of = async |profile: GrantProfile, ask: Ask<'_>| {
        let (authority, sent) = recording();
        let endpoints = Endpoints::entra("https://login.example/contoso");
        let builder = Client::builder(endpoints, "orders").profile(profile).key(key(), AssertionAudience::Issuer);
        build(builder, &authority, &Hands::at(NOON)).ask(&ask).await.map(|_| sent.lock().unwrap()[0].clone())
    };
    let details = r#"[{"type":"x"}]"#;
    let app =
        of(GrantProfile::Entra, Ask::application("a b").resource("r").authorization_details(details)).await.unwrap();
    assert_eq!(names(&app), ["grant_type", "client_id", "client_assertion", "client_assertion_type", "scope"]);
    assert_eq!((value(&app, "grant_type"), value(&app, "scope")), ("client_credentials", "a b"));
    let empty = of(GrantProfile::Entra, Ask::application("")).await.unwrap();
    assert_eq!(names(&empty).last(), Some(&"scope"), "an empty target is sent");
    let obo = of(GrantProfile::Entra, Ask::on_behalf_of(&user, "a").claims("{}")).await.unwrap();
    let fields =
        ["grant_type", "client_id", "client_assertion", "client_assertion_type", "scope", "requested_token_use"];
    assert_eq!(names(&obo), [fields.as_slice(), &["assertion", "claims"]].concat());
    let exchange = of(GrantProfile::TokenExchange, Ask::on_behalf_of(&user, "b:n:a c")).await.unwrap();
    let fields = ["grant_type", "client_assertion", "client_assertion_type", "subject_token_type", "subject_token"];
    assert_eq!(names(&exchange), [fields.as_slice(), &["audience"]].concat());
    assert_eq!(value(&exchange, "grant_type"), "urn:ietf:params:oauth:grant-type:token-exchange");
    assert_eq!(value(&exchange, "audience"), "b:n:a c", "one audience, as it is");
    let bearer = of(GrantProfile::JwtBearer, Ask::application("scope")).await.unwrap();
    assert_eq!(names(&bearer), ["grant_type", "assertion"]);
    let rich = Ask::application("a").resource("r").authorization_details(details);
    let rich = of(GrantProfile::ClientCredentials, rich).await.unwrap();
    assert_eq!((value(&rich, "resource"), value(&rich, "authorization_details")), ("r", details));
    for profile in [GrantProfile::JwtBearer, GrantProfile::ClientCredentials] {
        assert!(matches!(of(profile, Ask::on_behalf_of(&user, "a")).await, Err(Error::Request(_))));
    }
}

#[tokio::test]
async fn a_client_with_a_secret_names_itself_in_a_token_exchange() {
    let (authority, sent) = recording();
    let builder = Client::builder(Endpoints::token_endpoint("https://x.example/token"), "orders");
    let builder = builder.profile(GrantProfile::TokenExchange).secret(Secret::new("s"));
    let user = Secret::new("u");
    build(builder, &authority, &Hands::at(NOON)).ask(&Ask::on_behalf_of(&user, "a")).await.unwrap();
    let sent = sent.lock().unwrap();
    assert_eq!((value(&sent[0], "client_id"), value(&sent[0], "client_secret")), ("orders", "s"));
}

#[tokio::test]
async fn a_token_exchange_says_of_the_users_token_what_it_is_and_shares_no_token_with_another() {
    let (authority, sent) = recording();
    let cache = TokenCache::new(1 << 20);
    for (profile, user, kind) in [
        (GrantProfile::TokenExchange, "a.b.c", "jwt"),
        (GrantProfile::AccessTokenExchange, "a.b.c", "access_token"),
        (GrantProfile::TokenExchange, "opaque", "access_token"),
    ] {
        let builder = Client::builder(Endpoints::token_endpoint("https://x.example/token"), "orders");
        let builder = builder.profile(profile).secret(Secret::new("s")).cache(Arc::clone(&cache));
        let client = build(builder, &authority, &Hands::at(NOON));
        client.ask(&Ask::on_behalf_of(&Secret::new(user), "a")).await.unwrap();
        let said = format!("urn:ietf:params:oauth:token-type:{kind}");
        let last = sent.lock().unwrap().last().unwrap().clone();
        assert_eq!((value(&last, "subject_token"), value(&last, "subject_token_type")), (user, said.as_str()));
    }
    assert_eq!(sent.lock().unwrap().len(), 3);
}

#[tokio::test]
async fn assertions_say_who_for_whom_and_when_and_are_never_sent_twice() {
    let key = key();
    let public = key.verifying_key();
    let (authority, sent) = recording();
    let endpoints = Endpoints::entra("https://login.example/contoso");
    let builder = Client::builder(endpoints, "orders").key(key, AssertionAudience::Issuer);
    let client = build(builder, &authority, &Hands::at(NOON));
    for _ in 0..3 {
        client.ask(&Ask::application("a").fresh(true)).await.unwrap();
    }
    let mut ids = Vec::new();
    for form in sent.lock().unwrap().iter() {
        let (algorithm, claims) = verified(value(form, "client_assertion"), &public);
        assert_eq!(algorithm, "ES256");
        assert_eq!((&claims["iss"], &claims["sub"]), (&json!("orders"), &json!("orders")));
        assert_eq!(claims["aud"], "https://login.example/contoso/v2.0");
        assert_eq!([&claims["iat"], &claims["nbf"], &claims["exp"]], [&json!(NOON), &json!(NOON), &json!(NOON + 30)]);
        let id = claims["jti"].as_str().unwrap().to_owned();
        let shape: Vec<usize> = id.split('-').map(str::len).collect();
        assert_eq!((shape.as_slice(), &id[14..15]), (&[8, 4, 4, 4, 12][..], "4"), "a version 4 UUID");
        assert!(matches!(&id[19..20], "8" | "9" | "a" | "b"), "{id}");
        ids.push(id);
    }
    ids.dedup();
    assert_eq!(ids.len(), 3);
}

#[tokio::test]
async fn t5_t6_an_authorization_assertion_carries_what_is_asked_and_no_subject() {
    let key = key();
    let public = key.verifying_key();
    let (authority, sent) = recording();
    let endpoints =
        Endpoints { issuer: Some("https://m.example/".into()), ..Endpoints::token_endpoint("https://m.example/token") };
    let builder = Client::builder(endpoints, "orders").profile(GrantProfile::JwtBearer);
    let client = build(builder.key(key, AssertionAudience::TokenEndpoint), &authority, &Hands::at(NOON));
    let details = "[\n  {\"type\": \"x\"}\n]";
    client.ask(&Ask::application("a:b c:d").resource("some_resource").authorization_details(details)).await.unwrap();
    let (_, claims) = verified(value(&sent.lock().unwrap()[0], "assertion"), &public);
    assert_eq!((&claims["scope"], &claims["resource"]), (&json!("a:b c:d"), &json!("some_resource")));
    assert_eq!(claims["authorization_details"], json!([{"type": "x"}]));
    assert_eq!((&claims["iss"], &claims["aud"]), (&json!("orders"), &json!("https://m.example/token")));
    assert!(!claims.contains_key("sub"));
}

/// Answers with metadata, or fails, and counts both.
struct Metadata {
    failing: Mutex<u32>,
    asked: Mutex<Vec<String>>,
}

impl client::Transport for Metadata {
    fn send(&self, request: http::Request<client::Body>) -> client::Sending<'_> {
        Box::pin(async move {
            let url = request.uri().to_string();
            self.asked.lock().unwrap().push(url.clone());
            tokio::task::yield_now().await;
            let body = if url.contains(".well-known") {
                let mut failing = self.failing.lock().unwrap();
                if *failing > 0 {
                    *failing -= 1;
                    return Err(Cause::Connect.into());
                }
                json!({"issuer": "https://id.example", "token_endpoint": "https://id.example/learnt"})
            } else {
                issued("t", 3600).1
            };
            Ok(http::Response::new(body.to_string().into_bytes()))
        })
    }
}

#[tokio::test]
async fn endpoints_are_learnt_once_when_they_are_needed_and_again_after_a_pause() {
    let network = Arc::new(Metadata { failing: Mutex::new(2), asked: Mutex::default() });
    let clock = Hands::at(NOON);
    let url = "https://id.example/.well-known/openid-configuration";
    let random = || Arc::new(|bytes: &mut [u8]| bytes.fill(0));
    let client = Client::builder(Endpoints::default(), "orders")
        .secret(Secret::new("s"))
        .discover(url)
        .upstream(Upstream { retries: 0, ..Upstream::default() })
        .build(Arc::clone(&network) as _, Arc::clone(&clock) as _, random());
    assert_eq!(network.asked.lock().unwrap().len(), 0, "not at the start");
    let ask = async |scope: &str| client.ask(&Ask::application(scope)).await.map(|_| ());
    for _ in 0..3 {
        assert_eq!(ask("a").await, Err(Error::Unreachable(Cause::Connect.into())));
    }
    assert_eq!(network.asked.lock().unwrap().len(), 1, "not again at once");
    clock.forward(1);
    assert!(ask("a").await.is_err());
    clock.forward(1);
    assert!(ask("a").await.is_err() && network.asked.lock().unwrap().len() == 2, "the pause grows");
    clock.forward(1);
    let crowd = ["a", "b", "c", "d"].map(|scope| {
        let client = client.clone();
        tokio::spawn(async move { client.ask(&Ask::application(scope)).await })
    });
    for one in crowd {
        one.await.unwrap().unwrap();
    }
    let asked = network.asked.lock().unwrap().clone();
    assert_eq!(asked.iter().filter(|asked| *asked == url).count(), 3, "one fetch for all who wait: {asked:?}");
    assert_eq!(asked.iter().filter(|asked| *asked == "https://id.example/learnt").count(), 4);
    assert_eq!(client.endpoints().issuer.as_deref(), Some("https://id.example"));
    // What was given is not replaced.
    let given = Endpoints::token_endpoint("https://id.example/given");
    let client = Client::builder(given, "orders").discover(url).build(Arc::clone(&network) as _, clock, random());
    client.ask(&Ask::application("a")).await.unwrap();
    assert_eq!(network.asked.lock().unwrap().last().unwrap(), "https://id.example/given");
}
