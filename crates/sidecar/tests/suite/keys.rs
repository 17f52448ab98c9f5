//! Key sets, as introspection sees them: withdrawn keys, outages, and floods of names that no key has.
use crate::support::{self, Encoding, Issuers, NOON, World, explicit, stranger};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fetch::Transport;
use serde_json::json;
use sidecar::{Ports, Settings, Sidecar};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use testkit::SetClock;

const UNKNOWN: &str = "token can not be validated with this identity provider";

/// A token of a key that nobody has; its signature is never looked at.
fn unknown(n: usize) -> String {
    let header = json!({ "alg": "ES256", "kid": format!("unknown-{n}") }).to_string();
    format!("{}.e30.AAAA", URL_SAFE_NO_PAD.encode(header))
}

#[tokio::test]
async fn j_10_a_flood_of_unknown_keys_fetches_once_and_holds_up_nobody() {
    let world = World::new().await;
    let issuer = world.issuer("entra_id");
    let good = issuer.token(&json!({}));
    assert!(world.is_active("entra_id", &good).await);
    assert_eq!(issuer.key_fetches(), 1);
    world.clock.advance(5);
    for n in 0..500 {
        assert_eq!(world.introspect("entra_id", &unknown(n), Encoding::Json).await["error"], UNKNOWN);
    }
    assert_eq!(issuer.key_fetches(), 2, "one for the first of them");
    assert!(world.is_active("entra_id", &good).await);
    world.clock.advance(29);
    world.introspect("entra_id", &unknown(1), Encoding::Json).await;
    assert_eq!(issuer.key_fetches(), 2, "it changed nothing, so the next is not before 30 s");
    world.clock.advance(1);
    world.introspect("entra_id", &unknown(2), Encoding::Json).await;
    assert_eq!(issuer.key_fetches(), 3);
}

#[tokio::test]
async fn a_withdrawn_key_is_refused_within_a_minute_also_for_tokens_seen_before() {
    let world = World::new().await;
    let issuer = world.issuer("entra_id");
    let token = issuer.token(&json!({}));
    assert!(world.is_active("entra_id", &token).await);
    issuer.publish(json!({ "keys": [stranger("fresh").public_jwk()] }).to_string());
    world.clock.advance(51);
    // The request that finds them old begins the fetch and does not wait for it.
    let refused = async { while world.is_active("entra_id", &token).await {} };
    tokio::time::timeout(Duration::from_secs(10), refused).await.unwrap();
    assert_eq!(issuer.key_fetches(), 2);
}

#[tokio::test]
async fn known_keys_serve_through_an_outage_of_a_day_and_are_never_emptied() {
    let world = World::new().await;
    let issuer = world.issuer("entra_id");
    let token = issuer.token(&json!({ "exp": world.now() + 200_000 }));
    assert!(world.is_active("entra_id", &token).await);
    for poison in ["", "<html>", r#"{"keys":[]}"#] {
        issuer.publish(poison);
        world.clock.advance(60);
        world.introspect("entra_id", &unknown(0), Encoding::Json).await;
        assert!(world.is_active("entra_id", &token).await, "{poison}");
    }
    world.clock.advance(86_400);
    assert_eq!(world.inactive("entra_id", &token).await, UNKNOWN, "a day is the end of it");
}

#[tokio::test]
async fn keys_that_cannot_be_used_are_skipped_and_the_others_serve() {
    let world = World::new().await;
    let issuer = world.issuer("entra_id");
    let good = issuer.key().public_jwk();
    let mut nameless = good.clone();
    nameless.kid = None;
    let keys = json!({ "keys": [{ "kty": "EC" }, nameless, { "kty": "oct", "k": "AA", "kid": "s" }, good] });
    issuer.publish(keys.to_string());
    assert!(world.is_active("entra_id", &issuer.token(&json!({}))).await);
}

#[tokio::test]
async fn keys_are_kept_as_long_as_is_said() {
    let an_hour = |issuers: &crate::support::Issuers| {
        let mut variables = explicit(issuers);
        variables.insert("DEPUTIZE_KEY_SET_SECONDS".into(), "3600".into());
        variables
    };
    let world = World::with(&["entra_id"], an_hour, None).await;
    let token = world.issuer("entra_id").token(&json!({ "exp": world.now() + 86_400 }));
    assert!(world.is_active("entra_id", &token).await);
    world.clock.advance(3_600);
    assert!(world.is_active("entra_id", &token).await);
    assert_eq!(world.issuer("entra_id").key_fetches(), 1);
    world.clock.advance(1);
    while world.issuer("entra_id").key_fetches() < 2 {
        assert!(world.is_active("entra_id", &token).await);
    }
}

#[tokio::test]
async fn a_provider_that_is_down_stops_no_other() {
    let down = |issuers: &Issuers| {
        let mut variables = explicit(issuers);
        // A port that nobody serves.
        variables.insert("TOKEN_X_JWKS_URI".into(), "http://127.0.0.1:1/jwks".into());
        variables.insert("TOKEN_X_TOKEN_ENDPOINT".into(), "http://127.0.0.1:1/token".into());
        variables
    };
    let world = World::with(&["entra_id", "tokenx"], down, None).await;
    let ready = async || world.get(&format!("{}/readyz", world.probe)).await;
    assert_eq!(ready().await.status, 503);
    assert!(world.is_active("entra_id", &world.issuer("entra_id").token(&json!({}))).await);
    let lost = world.issuer("tokenx").token(&json!({}));
    assert_eq!(world.inactive("tokenx", &lost).await, UNKNOWN);
    let exchanged = world.exchange("tokenx", "default", &lost, Encoding::Json).await;
    let told = "Identity provider request failed: no connection";
    assert_eq!(exchanged.error(), (500, "server_error".into(), told.into()));
    assert!(exchanged.headers.contains_key("retry-after"));
    let after = ready().await;
    let faults = after.json();
    assert_eq!((after.status, faults.as_array().unwrap().len()), (503, 1), "{faults}");
    assert_eq!(faults[0]["provider"], "tokenx");
    assert!(faults[0]["fault"].as_str().unwrap().contains("127.0.0.1"), "{faults}");
    assert_eq!(world.get(&format!("{}/healthz", world.probe)).await.text, "ok", "it lives all the same");
}

/// A key set that is always the same, and how often it was fetched.
struct Counted(AtomicUsize);

impl Transport for Counted {
    fn get<'a>(
        &'a self,
        _: &'a str,
    ) -> Pin<Box<dyn Future<Output = Result<fetch::Response, fetch::FetchError>> + Send + 'a>> {
        self.0.fetch_add(1, Ordering::SeqCst);
        let body = json!({ "keys": [stranger("one").public_jwk()] }).to_string().into();
        Box::pin(async { Ok(fetch::Response { status: http::StatusCode::OK, headers: http::HeaderMap::new(), body }) })
    }
}

/// Otherwise the first request after a silence would be judged by keys that are as old as the silence.
#[tokio::test(start_paused = true)]
async fn keys_are_kept_fresh_where_nobody_asks_for_them() {
    let variables = |name: &str| match name {
        "IDPORTEN_ENABLED" => Some("true".to_owned()),
        "IDPORTEN_AUDIENCE" => Some("me".to_owned()),
        "IDPORTEN_ISSUER" => Some("https://id.example".to_owned()),
        "IDPORTEN_JWKS_URI" => Some("https://id.example/jwks".to_owned()),
        _ => None,
    };
    let settings = Settings::read(&variables, None).unwrap();
    let (clock, keys, network) = (SetClock::at(NOON), Arc::new(Counted(AtomicUsize::new(0))), support::fetch());
    let random: Arc<dyn client::Random> = Arc::new(|bytes: &mut [u8]| bytes.fill(7));
    let ports = Ports {
        metadata: Arc::clone(&keys) as _,
        tokens: Arc::new(network.clone()),
        host: Arc::new(network.clone()),
        streams: network,
        clock: Arc::new(clock.clone()),
        random: Arc::clone(&random),
    };
    let sidecar = Sidecar::new(&settings, ports).unwrap();
    sidecar.warm(&random);
    let silence = async || {
        for _ in 0..600 {
            clock.advance(1);
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        keys.0.load(Ordering::SeqCst)
    };
    let fetched = silence().await;
    assert!((10..=13).contains(&fetched), "once a minute at least: {fetched} in ten");
    drop(sidecar);
    assert_eq!(silence().await, fetched, "and it ends with the sidecar");
}
