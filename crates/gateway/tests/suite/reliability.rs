//! R7 and R8 at the gateway: keys that are replaced, issuers that are away, and tokens that name keys that nobody has.
use crate::support::{Connection, ISS, NOON, ORDERS, World};
use base64::Engine;
use jose::{Algorithm, Header, SigningKey};
use serde_json::json;

/// A key set with these keys alone.
fn publish(world: &World, keys: &[&SigningKey]) {
    let keys: Vec<_> = keys.iter().map(|key| key.public_jwk()).collect();
    world.issuer.publish(json!({ "keys": keys }).to_string());
}

fn bearer(world: &World, key: &SigningKey) -> String {
    let now = world.clock_now();
    let claims = json!({
        "iss": ISS, "aud": "api://orders", "sub": "s-ada", "oid": "o-ada", "tid": "t1", "azp": "spa", "scp": "Orders.Read",
        "idtyp": "user", "ver": "2.0", "uti": "u1", "iat": now, "nbf": now, "exp": now + 3_600,
    });
    format!("Bearer {}", key.sign(&Header::typ("JWT"), claims.to_string().as_bytes()).unwrap())
}

#[tokio::test]
async fn r7_a_hundred_rotations_fail_no_good_request() {
    let world = World::start(ORDERS).await;
    let mut old = SigningKey::generate(Algorithm::ES256).unwrap();
    publish(&world, &[&old]);
    assert_eq!(world.get("/", &[("authorization", &bearer(&world, &old))]).await.status, 200);
    let mut callers = Vec::new();
    for _ in 0..8 {
        callers.push(Connection::open(world.address).await);
    }
    for rotation in 1..=100 {
        world.clock.advance(31);
        let new = SigningKey::generate(Algorithm::ES256).unwrap();
        // Every other one without overlap.
        if rotation % 2 == 0 {
            publish(&world, &[&new]);
        } else {
            publish(&world, &[&old, &new]);
        }
        let before = world.issuer.key_fetches();
        let authorization = bearer(&world, &new);
        let fields = [("authorization", authorization.as_str())];
        let mut calls = Vec::new();
        for mut caller in callers {
            let fields = fields.map(|(name, value)| (name, value.to_owned()));
            calls.push(tokio::spawn(async move {
                let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
                let answer = caller.get_with("/", &fields).await;
                (caller, answer.status)
            }));
        }
        callers = Vec::new();
        for call in calls {
            let (caller, status) = call.await.unwrap();
            assert_eq!(status, 200, "rotation {rotation}");
            callers.push(caller);
        }
        assert_eq!(world.issuer.key_fetches() - before, 1, "one fetch, for all who wait");
        if rotation % 2 == 0 {
            let withdrawn = world.get("/", &[("authorization", &bearer(&world, &old))]).await;
            assert_eq!(withdrawn.reason(), (401, "TokenSignatureKeyNotFound".to_owned()));
        }
        old = new;
    }
}

#[tokio::test]
async fn r8_an_issuer_that_is_away_for_a_day_fails_no_good_request_and_then_all() {
    let world = World::start(ORDERS).await;
    let good = SigningKey::generate(Algorithm::ES256).unwrap();
    publish(&world, &[&good]);
    let answer = async || world.get("/", &[("authorization", &bearer(&world, &good))]).await;
    assert_eq!(answer().await.status, 200);
    world.issuer.publish("<html>maintenance</html>");
    for _ in 0..288 {
        world.clock.advance(300);
        assert_eq!(answer().await.status, 200, "after {} s", world.clock_now() - NOON.0);
    }
    world.clock.advance(1);
    let refused = answer().await;
    assert_eq!(refused.reason(), (503, "KeysUnavailable".to_owned()));
    assert!(!refused.field("retry-after").is_empty(), "{refused:?}");
    publish(&world, &[&good]);
    world.clock.advance(31);
    assert_eq!(answer().await.status, 200, "it comes back by itself");
}

#[tokio::test]
async fn r8_a_flood_of_unknown_keys_costs_two_fetches_a_minute_and_good_tokens_nothing() {
    let world = World::start(ORDERS).await;
    let (good, stranger) =
        (SigningKey::generate(Algorithm::ES256).unwrap(), SigningKey::generate(Algorithm::ES256).unwrap());
    publish(&world, &[&good]);
    let mut caller = Connection::open(world.address).await;
    let mut status = async |authorization: &str| caller.get_with("/", &[("authorization", authorization)]).await.status;
    assert_eq!(status(&bearer(&world, &good)).await, 200);
    let (before, token) = (world.issuer.key_fetches(), bearer(&world, &stranger));
    let (_, rest) = token.split_once('.').unwrap();
    for n in 0..600 {
        let header = json!({"alg": "ES256", "typ": "JWT", "kid": format!("made-up-{n}")}).to_string();

        let head = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(header);
        assert_eq!(status(&format!("Bearer {head}.{rest}")).await, 401);
        if n % 10 == 9 {
            world.clock.advance(1);
            assert_eq!(status(&bearer(&world, &good)).await, 200);
        }
    }
    assert!(world.issuer.key_fetches() - before <= 3, "{}", world.issuer.key_fetches() - before);
}
