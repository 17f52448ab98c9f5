//! How the guard lives with its issuers' keys: rotation, outage, floods. Time is set by hand.

use crate::common::{ISS, NOON, TID, claims, claims_with, contract, contract_with, sign};
use decision::contract::Contract;
use deputize_guard::{CheckId, Guard};
use fetch::{FetchError, KeySets, Lifetimes, Response, Transport};
use http::{HeaderMap, StatusCode};
use jose::{Algorithm, SigningKey};
use serde_json::{Value, json};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use testkit::SetClock;

/// An issuer without a network.
#[derive(Clone, Default)]
struct FakeIssuer {
    documents: Arc<Mutex<Vec<(String, Value)>>>,
    down: Arc<Mutex<bool>>,
    key_fetches: Arc<AtomicUsize>,
}

impl FakeIssuer {
    fn publish(&self, keys: &[&SigningKey]) {
        let keys: Vec<_> = keys.iter().map(|key| serde_json::to_value(key.public_jwk()).unwrap()).collect();
        self.document("https://login.example/keys", json!({ "keys": keys }));
        self.document(
            &format!("{ISS}/.well-known/openid-configuration"),
            json!({"issuer": ISS, "jwks_uri": "https://login.example/keys"}),
        );
    }

    fn document(&self, url: &str, body: Value) {
        let mut documents = self.documents.lock().unwrap();
        documents.retain(|(known, _)| known != url);
        documents.push((url.into(), body));
    }

    fn fetches(&self) -> usize {
        self.key_fetches.load(Ordering::SeqCst)
    }
}

impl Transport for FakeIssuer {
    fn get<'a>(&'a self, url: &'a str) -> Pin<Box<dyn Future<Output = Result<Response, FetchError>> + Send + 'a>> {
        Box::pin(async move {
            tokio::task::yield_now().await;
            if *self.down.lock().unwrap() {
                return Err(FetchError::Timeout("login.example".into()));
            }
            if url.ends_with("/keys") {
                self.key_fetches.fetch_add(1, Ordering::SeqCst);
            }
            let documents = self.documents.lock().unwrap();
            let (_, body) = documents.iter().find(|(known, _)| known == url).ok_or(FetchError::Url(url.into()))?;
            Ok(Response { status: StatusCode::OK, headers: HeaderMap::new(), body: body.to_string().into() })
        })
    }
}

struct World {
    issuer: FakeIssuer,
    clock: SetClock,
    guard: Guard,
}

impl World {
    fn new(contract: Contract) -> Self {
        let (issuer, clock) = (FakeIssuer::default(), SetClock::at(NOON));
        let key_sets = Arc::new(KeySets::with_lifetimes(Arc::new(issuer.clone()), Lifetimes::default()));
        let guard = Guard::new(contract, key_sets, Arc::new(clock.clone())).unwrap();
        Self { issuer, clock, guard }
    }

    /// A call at the clock's present moment with a fresh token.
    async fn call(&self, key: &SigningKey) -> Result<(), CheckId> {
        use decision::Clock;
        let now = self.clock.now();
        let token = sign(key, &claims_with(json!({"iat": now, "nbf": now, "exp": now.plus(3_600)})));
        self.call_with(&token).await
    }

    async fn call_with(&self, token: &str) -> Result<(), CheckId> {
        let authorization = format!("Bearer {token}");
        self.guard.check(Some(&authorization), "GET", "/invoices").await.map(drop).map_err(|refused| refused.check())
    }
}

fn key(kid: &str) -> SigningKey {
    SigningKey::generate(Algorithm::ES256).unwrap().named(kid)
}

#[tokio::test]
async fn j_10_a_flood_of_unknown_key_names_makes_one_fetch_in_thirty_seconds() {
    let world = World::new(contract());
    let good = key("good");
    world.issuer.publish(&[&good]);
    assert_eq!(world.call(&good).await, Ok(()));
    let before = world.issuer.fetches();
    let template = sign(&key("KID"), &claims());
    let (_, rest) = template.split_once('.').unwrap();
    for second in 0..100 {
        for n in 0..1_000 {
            let header = format!(r#"{{"alg":"ES256","typ":"JWT","kid":"flood-{second}-{n}"}}"#);
            let forged =
                format!("{}.{rest}", base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, header));
            assert_eq!(world.call_with(&forged).await, Err(CheckId::TokenKey));
        }
        assert_eq!(world.call(&good).await, Ok(()));
        world.clock.advance(1);
    }
    let fetches = world.issuer.fetches() - before;
    assert!(fetches <= 4, "{fetches} fetches in 100 s");
    assert!(fetches >= 2, "unknown names are asked for");
}

#[tokio::test]
async fn a_token_that_its_claims_refuse_causes_no_fetch_and_is_told_why() {
    let world = World::new(contract());
    world.issuer.publish(&[&key("good")]);
    for (change, check) in [
        (json!({"aud": "api://another"}), CheckId::TokenAudience),
        (json!({"exp": NOON.0 - 600, "iat": NOON.0 - 4_200, "nbf": NOON.0 - 4_200}), CheckId::TokenExpired),
        (json!({"nbf": NOON.0 + 600}), CheckId::TokenNotBefore),
        (json!({"tid": "another"}), CheckId::TokenTenant),
        (json!({"sub": null}), CheckId::TokenClaims),
    ] {
        let token = sign(&key("stranger"), &claims_with(change.clone()));
        let authorization = format!("Bearer {token}");
        let refused = world.guard.check(Some(&authorization), "GET", "/invoices").await.unwrap_err();
        assert_eq!((refused.check(), refused.status().as_u16()), (check, check.entry().status), "{change}");
        let outcome = |id| refused.verdict().checks.iter().find(|c| c.id == id).map(|c| c.outcome);
        assert_eq!(outcome(CheckId::TokenSignature), Some(decision::Outcome::Skipped), "{change}: nobody looked");
        assert_eq!(refused.verdict().failed().map(|failed| failed.id), Some(check), "{change}");
    }
    assert_eq!(world.issuer.fetches(), 0);
    // What a route demands is not told to somebody whom nobody vouches for.
    let token = sign(&key("stranger"), &claims_with(json!({"scp": "Nothing"})));
    assert_eq!(world.call_with(&token).await, Err(CheckId::TokenKey));
    assert_eq!(world.issuer.fetches(), 1);
}

#[tokio::test]
async fn r7_rotations_fail_no_good_request() {
    let world = World::new(contract());
    let mut old = key("key-0");
    world.issuer.publish(&[&old]);
    assert_eq!(world.call(&old).await, Ok(()));
    for n in 1..=100 {
        // Abruptly, without overlap, further apart than the window of J-10: one fetch, for all who wait.
        world.clock.advance(31);
        let new = key(&format!("key-{n}"));
        world.issuer.publish(&[&new]);
        let before = world.issuer.fetches();
        let token = sign(&new, &claims_with(json!({"exp": NOON.plus(9_000)})));
        let together = (0..8).map(|_| {
            let (guard, authorization) = (world.guard.clone(), format!("Bearer {token}"));
            tokio::spawn(async move { guard.check(Some(&authorization), "GET", "/invoices").await.is_ok() })
        });
        for call in together.collect::<Vec<_>>() {
            assert!(call.await.unwrap(), "rotation {n}");
        }
        assert_eq!(world.issuer.fetches() - before, 1);
        // A withdrawn key takes its cached tokens with it.
        assert_eq!(world.call(&old).await, Err(CheckId::TokenKey));
        old = new;
    }
}

#[tokio::test]
async fn a_cached_token_of_a_withdrawn_key_is_refused() {
    let world = World::new(contract());
    let (old, new) = (key("old"), key("new"));
    world.issuer.publish(&[&old]);
    let token = sign(&old, &claims());
    assert_eq!(world.call_with(&token).await, Ok(()));
    assert_eq!(world.call_with(&token).await, Ok(()));
    world.issuer.publish(&[&new]);
    world.clock.advance(31);
    assert_eq!(world.call(&new).await, Ok(()));
    assert_eq!(world.call_with(&token).await, Err(CheckId::TokenKey));
}

#[tokio::test]
async fn r8_an_outage_of_a_day_fails_no_good_request_and_then_all() {
    let world = World::new(contract());
    let good = key("good");
    world.issuer.publish(&[&good]);
    assert_eq!(world.call(&good).await, Ok(()));
    *world.issuer.down.lock().unwrap() = true;
    for _ in 0..288 {
        world.clock.advance(300);
        assert_eq!(world.call(&good).await, Ok(()));
        tokio::task::yield_now().await;
    }
    world.clock.advance(1);
    assert_eq!(world.call(&good).await, Err(CheckId::KeysAvailable));
    let refused =
        world.guard.check(Some(&format!("Bearer {}", sign(&good, &claims()))), "GET", "/invoices").await.unwrap_err();
    assert_eq!(refused.status(), 503);
    // It comes back by itself.
    *world.issuer.down.lock().unwrap() = false;
    world.clock.advance(31);
    assert_eq!(world.call(&good).await, Ok(()));
}

#[tokio::test]
async fn a_start_without_keys_is_not_ready_and_refuses_until_it_is() {
    let world = World::new(contract());
    let good = key("good");
    world.issuer.publish(&[&good]);
    *world.issuer.down.lock().unwrap() = true;
    assert!(!world.guard.ready().await);
    assert_eq!(world.call(&good).await, Err(CheckId::KeysAvailable));
    *world.issuer.down.lock().unwrap() = false;
    world.clock.advance(2);
    assert!(world.guard.ready().await);
    assert_eq!(world.call(&good).await, Ok(()));
}

#[tokio::test]
async fn keys_are_refreshed_in_the_background_after_their_soft_lifetime() {
    let world = World::new(contract());
    let (old, new) = (key("old"), key("new"));
    world.issuer.publish(&[&old]);
    assert_eq!(world.call(&old).await, Ok(()));
    world.issuer.publish(&[&new]);
    world.clock.advance(3_601);
    // The request that notices is not delayed, and is still answered from the keys at hand.
    assert_eq!(world.call(&old).await, Ok(()));
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    assert_eq!(world.call(&old).await, Err(CheckId::TokenKey));
    assert_eq!(world.call(&new).await, Ok(()));
}

/// Real Entra ID: one metadata document with a template, keys with issuers of their own, `idtyp` missing.
#[tokio::test]
async fn entra_templates_and_per_key_issuers_are_honoured() {
    let template = "https://login.example/{tenantid}/v2.0";
    let metadata = "https://login.example/common/v2.0/.well-known/openid-configuration";
    let issuers =
        json!([{"issuer": template, "metadata": metadata, "tenants": [TID, "9188040d-6c67-4c5b-b112-36a304b66dad"]}]);
    let world = World::new(contract_with("issuers", issuers));
    let (shared, consumer) = (SigningKey::generate(Algorithm::RS256).unwrap().named("shared"), key("consumer"));
    let jwk = |key: &SigningKey, issuer: &str| {
        let mut jwk = serde_json::to_value(key.public_jwk()).unwrap();
        jwk["issuer"] = issuer.into();
        jwk.as_object_mut().unwrap().remove("alg");
        jwk
    };
    let consumers = "https://login.example/9188040d-6c67-4c5b-b112-36a304b66dad/v2.0";
    world.issuer.document(
        metadata,
        json!({"issuer": template, "jwks_uri": "https://login.example/common/discovery/v2.0/keys"}),
    );
    world.issuer.document(
        "https://login.example/common/discovery/v2.0/keys",
        json!({"keys": [jwk(&shared, template), jwk(&consumer, consumers)]}),
    );

    assert_eq!(world.call_with(&sign(&shared, &claims_with(json!({"idtyp": null})))).await, Ok(()));
    assert_eq!(
        world.call_with(&sign(&consumer, &claims())).await,
        Err(CheckId::TokenKey),
        "the consumers' key signs for no other tenant"
    );
    let consumer_claims = json!({"iss": consumers, "tid": "9188040d-6c67-4c5b-b112-36a304b66dad"});
    assert_eq!(world.call_with(&sign(&consumer, &claims_with(consumer_claims))).await, Ok(()));
    let stranger = json!({"iss": "https://login.example/22222222-2222-4222-8222-222222222222/v2.0", "tid": "22222222-2222-4222-8222-222222222222"});
    assert_eq!(world.call_with(&sign(&shared, &claims_with(stranger))).await, Err(CheckId::TokenTenant));
    for trick in ["{tenantid}", "common", "../x", ""] {
        let claims = claims_with(json!({"iss": template.replace("{tenantid}", trick), "tid": trick}));
        let check = world.call_with(&sign(&shared, &claims)).await.unwrap_err();
        assert!(matches!(check, CheckId::TokenIssuer | CheckId::TokenTenant), "{trick}: {check}");
    }
    let mixed = claims_with(json!({"tid": "9188040d-6c67-4c5b-b112-36a304b66dad"}));
    assert_eq!(world.call_with(&sign(&shared, &mixed)).await, Err(CheckId::TokenIssuer), "tid and iss disagree");
}

/// v1: the issuer ends in a slash, the client is `appid`, the audience a URI, and the shared key names the v2 issuer.
#[tokio::test]
async fn v1_tokens_are_read_with_the_v1_issuer() {
    let v1 = format!("https://login.example/{TID}/");
    let world = World::new(contract_with("issuers", json!([{"issuer": v1, "tenants": [TID]}])));
    let good = key("good");
    let mut jwk = serde_json::to_value(good.public_jwk()).unwrap();
    jwk["issuer"] = "https://login.example/{tenantid}/v2.0".into();
    world.issuer.document(
        &format!("{v1}.well-known/openid-configuration"),
        json!({"issuer": v1, "jwks_uri": "https://login.example/keys"}),
    );
    world.issuer.document("https://login.example/keys", json!({ "keys": [jwk] }));
    let token = claims_with(
        json!({"iss": v1, "aud": "api://billing", "azp": null, "azpacr": null, "appid": "orders", "appidacr": "1", "ver": "1.0"}),
    );
    assert_eq!(world.call_with(&sign(&good, &token)).await, Ok(()));
    assert_eq!(world.call_with(&sign(&good, &claims())).await, Err(CheckId::TokenIssuer));
    let mut without = token;
    without.remove("appid");
    assert_eq!(world.call_with(&sign(&good, &without)).await, Err(CheckId::TokenClaims));
}

/// R8: known keys serve on through an outage, and nobody's requests become the issuer's flood.
#[tokio::test]
async fn r8_an_outage_is_asked_about_once_in_thirty_seconds_however_many_call() {
    let world = World::new(contract());
    let good = key("good");
    world.issuer.publish(&[&good]);
    assert_eq!(world.call(&good).await, Ok(()));
    *world.issuer.down.lock().unwrap() = true;
    world.clock.advance(51);
    let fetches = || world.guard.issuers()[0].status().fetches;
    let before = fetches();
    for _ in 0..90 {
        for _ in 0..10 {
            assert_eq!(world.call(&good).await, Ok(()));
            // What was begun comes to its end.
            for _ in 0..4 {
                tokio::task::yield_now().await;
            }
        }
        world.clock.advance(1);
    }
    assert_eq!(fetches() - before, 3);
}

#[tokio::test]
async fn a_clock_that_is_set_back_does_not_keep_new_keys_out() {
    let world = World::new(contract());
    let (old, new) = (key("old"), key("new"));
    world.issuer.publish(&[&old]);
    assert_eq!(world.call(&old).await, Ok(()));
    world.issuer.publish(&[&old, &new]);
    // Within the pause a new name is not asked about, an hour before it began it is.
    assert_eq!(world.call(&new).await, Err(CheckId::TokenKey));
    world.clock.advance(-3_600);
    assert_eq!(world.call(&new).await, Ok(()));
}

/// J-05: what a key that states no algorithm is bound to, the contract says, or Entra's custom.
#[tokio::test]
async fn j_05_a_key_without_an_algorithm_is_bound_by_the_contract_or_not_used() {
    let rsa = SigningKey::generate(Algorithm::RS256).unwrap().named("rsa");
    let mut unbound = serde_json::to_value(rsa.public_jwk()).unwrap();
    unbound.as_object_mut().unwrap().remove("alg");
    let beside = serde_json::to_value(key("beside").public_jwk()).unwrap();
    let native = json!({"client_id": "orders", "azp": null});
    let table = [
        (json!({}), "JWT", json!({}), Ok(())),
        (json!({"algorithm": "PS256"}), "JWT", json!({}), Err(CheckId::TokenAlgorithm)),
        (json!({"profile": "native"}), "at+jwt", native.clone(), Err(CheckId::TokenKey)),
        (json!({"profile": "native", "algorithm": "RS256"}), "at+jwt", native, Ok(())),
    ];
    for (says, typ, changes, expected) in table {
        let mut issuer = json!({"issuer": ISS, "tenants": [TID], "jwks_uri": "https://login.example/keys"});
        issuer.as_object_mut().unwrap().extend(says.as_object().unwrap().clone());
        let world = World::new(contract_with("issuers", json!([issuer])));
        world.issuer.document("https://login.example/keys", json!({"keys": [unbound, beside]}));
        let claims = serde_json::to_vec(&claims_with(changes)).unwrap();
        let token = rsa.sign(&jose::Header::typ(typ), &claims).unwrap();
        assert_eq!(world.call_with(&token).await, expected, "{issuer}");
    }
}

/// J-25: metadata speaks for its own issuer, and names keys on its own host or the issuer's.
#[tokio::test]
async fn j_25_keys_lie_where_the_metadata_or_the_issuer_does() {
    let good = key("good");
    let jwk = serde_json::to_value(good.public_jwk()).unwrap();
    let metadata = "https://meta.example/openid-configuration";
    let table = [
        ("https://meta.example/keys", false, ISS, Ok(())),
        ("https://login.example/keys", false, ISS, Ok(())),
        ("https://keys.example/keys", false, ISS, Err(CheckId::KeysAvailable)),
        ("https://login.example.evil/keys", false, ISS, Err(CheckId::KeysAvailable)),
        ("https://login.example:444/keys", false, ISS, Err(CheckId::KeysAvailable)),
        ("https://keys.example/keys", true, ISS, Ok(())),
        ("https://keys.example/keys", true, "https://login.example/other/v2.0", Err(CheckId::KeysAvailable)),
        ("https://meta.example/keys", false, "https://meta.example", Err(CheckId::KeysAvailable)),
    ];
    for (keys, foreign, says, expected) in table {
        let issuer = json!({"issuer": ISS, "tenants": [TID], "metadata": metadata, "foreign_keys_host": foreign});
        let world = World::new(contract_with("issuers", json!([issuer])));
        world.issuer.document(metadata, json!({"issuer": says, "jwks_uri": keys}));
        world.issuer.document(keys, json!({ "keys": [jwk] }));
        assert_eq!(world.call(&good).await, expected, "{keys} {foreign} {says}");
    }
}
