//! Tokens that are bound to a key come with one good proof of it (RFC 9449), for this request and no other.
use crate::common::{ISS, NOON, World, claims_with, contract, contract_with, sign};
use axum::Router;
use axum::body::Body;
use axum::routing::get;
use decision::Timestamp;
use deputize_guard::{CheckId, Dpop, Guard, Held, Principal, Route, SetupError};
use http::{HeaderMap, Request, header};
use http_body_util::BodyExt;
use jose::corpus::{Bound, proofs};
use jose::{Algorithm, KeySet, SigningKey};
use oauth::challenge::Challenge;
use serde_json::{Value, json};
use std::sync::Arc;
use testkit::SetClock;
use tower::ServiceExt;

const INVOICES: &str = "https://billing.example/invoices";

/// An API behind a guard, its issuer, and a client's key.
struct Api {
    issuer: SigningKey,
    client: SigningKey,
    clock: SetClock,
    router: Router,
}

async fn whoami(caller: Principal) -> String {
    caller.key().unwrap_or("nobody").to_owned()
}

impl Api {
    fn new(dpop: Dpop) -> Self {
        let issuer = SigningKey::generate(Algorithm::ES256).unwrap();
        let clock = SetClock::at(NOON);
        let guard = Guard::builder(contract(), Arc::new(clock.clone()))
            .keys(ISS, KeySet::from_keys(vec![issuer.verifying_key()]))
            .dpop(dpop.origin("https://billing.example"))
            .build()
            .unwrap();
        let router = Router::new().route("/invoices", get(whoami)).layer(guard.layer());
        Self { issuer, client: SigningKey::generate(Algorithm::ES256).unwrap(), clock, router }
    }

    fn thumbprint(&self) -> String {
        self.client.public_jwk().thumbprint().unwrap()
    }

    fn token(&self, changes: Value) -> String {
        sign(&self.issuer, &claims_with(changes))
    }

    fn bound_token(&self) -> String {
        self.token(json!({"cnf": {"jkt": self.thumbprint()}}))
    }

    fn bound<'a>(&'a self, token: &'a str) -> Bound<'a> {
        Bound { key: &self.client, method: "GET", uri: INVOICES, token, now: self.clock_now(), max_age: 60 }
    }

    fn at(&self, moment: Timestamp) {
        self.clock.advance(moment.since(self.clock_now()));
    }

    fn clock_now(&self) -> Timestamp {
        decision::Clock::now(&self.clock)
    }

    async fn get(&self, authorization: Option<&str>, proofs: &[String]) -> Answer {
        let mut request = Request::get("/invoices?year=2026");
        if let Some(value) = authorization {
            request = request.header(header::AUTHORIZATION, value);
        }
        for proof in proofs {
            request = request.header("DPoP", proof);
        }
        let answer = self.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let (parts, body) = answer.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body: String::from_utf8(body.to_vec()).unwrap(),
        }
    }
}

struct Answer {
    status: u16,
    headers: HeaderMap,
    body: String,
}

impl Answer {
    fn check(&self) -> (u16, String) {
        let problem: Value = serde_json::from_str(&self.body).unwrap_or_default();
        (self.status, problem["code"].as_str().unwrap_or_default().to_owned())
    }

    fn challenges(&self) -> Vec<Challenge> {
        let values = self.headers.get_all(header::WWW_AUTHENTICATE).iter();
        values.flat_map(|value| Challenge::parse(value.to_str().unwrap()).unwrap()).collect()
    }
}

fn is(answer: &Answer, status: u16, check: &str) {
    assert_eq!(answer.check(), (status, check.to_owned()), "{}", answer.body);
}

#[tokio::test]
async fn a_bound_token_is_good_with_a_proof_of_its_key() {
    let api = Api::new(Dpop::default());
    let token = api.bound_token();
    let dpop = format!("DPoP {token}");
    let answer = api.get(Some(&dpop), &[api.bound(&token).good("1")]).await;
    assert_eq!((answer.status, answer.body), (200, api.thumbprint()));
    let lower = format!("dpop {token}");
    assert_eq!(api.get(Some(&lower), &[api.bound(&token).good("2")]).await.status, 200, "the scheme is of any case");
    let plain = format!("Bearer {}", api.token(json!({})));
    assert_eq!(api.get(Some(&plain), &[]).await.body, "nobody", "others are good as before");
    // The newest and the oldest proof that may come.
    for (at, iat) in [("newest", NOON.0 + 5), ("oldest", NOON.0 - 60)] {
        let proof = api.bound(&token).edited(at, |_, claims| claims["iat"] = json!(iat));
        assert_eq!(api.get(Some(&dpop), &[proof]).await.status, 200, "{at}");
    }
}

#[tokio::test]
async fn a_proof_that_says_itself_when_it_is_good_is_good_then() {
    let api = Api::new(Dpop::default());
    let token = api.bound_token();
    let dpop = format!("DPoP {token}");
    for (at, (name, value, status)) in [
        ("exp", json!(NOON.0 + 1), 200),
        ("exp", json!(1e300), 200),
        ("exp", json!(NOON.0), 401),
        ("exp", json!(NOON.0 - 3_600), 401),
        ("exp", json!("2099-01-01"), 401),
        ("exp", json!(null), 401),
        ("nbf", json!(NOON.0 + 5), 200),
        ("nbf", json!(NOON.0 + 6), 401),
        ("nbf", json!(NOON.0 + 3_600), 401),
        ("nbf", json!("2000-01-01"), 401),
        ("nbf", json!(null), 401),
    ]
    .into_iter()
    .enumerate()
    {
        let said = value.to_string();
        let proof = api.bound(&token).edited(&at.to_string(), |_, claims| claims[name] = value);
        let answer = api.get(Some(&dpop), &[proof]).await;
        assert_eq!(answer.status, status, "{name} = {said}: {}", answer.body);
    }
}

#[tokio::test]
async fn j_21_every_hostile_proof_is_refused() {
    let api = Api::new(Dpop::default());
    let token = api.bound_token();
    let dpop = format!("DPoP {token}");
    let bound = api.bound(&token);
    let all = proofs(&bound).unwrap();
    assert!(all.len() > 60, "{}", all.len());
    for (why, texts) in all {
        let answer = api.get(Some(&dpop), &texts).await;
        let check = if why == "a proof of another key" { "token.binding" } else { "dpop.proof" };
        assert_eq!(answer.check(), (401, check.to_owned()), "{why}: {}", answer.body);
        let challenge = &answer.challenges()[0];
        assert_eq!(challenge.scheme(), "DPoP", "{why}");
        let error = if check == "dpop.proof" { "invalid_dpop_proof" } else { "invalid_token" };
        assert_eq!(challenge.param("error"), Some(error), "{why}");
        assert!(challenge.param("algs").unwrap().contains("ES256"), "{why}");
    }
    assert_eq!(api.get(Some(&dpop), &[bound.good("hostile-good")]).await.status, 200, "none of them used anything up");
}

#[tokio::test]
async fn j_21_a_bound_token_as_bearer_and_an_unbound_one_as_dpop_are_refused() {
    let api = Api::new(Dpop::default());
    let (token, plain) = (api.bound_token(), api.token(json!({})));
    let proof = api.bound(&token).good("1");
    for proofs in [vec![], vec![proof]] {
        let answer = api.get(Some(&format!("Bearer {token}")), &proofs).await;
        is(&answer, 401, "token.binding");
        assert_eq!(answer.challenges()[0].scheme(), "DPoP");
    }
    let answer = api.get(Some(&format!("DPoP {plain}")), &[api.bound(&plain).good("2")]).await;
    is(&answer, 401, "token.binding");
    for cnf in [
        json!({"jkt": "AAA"}),
        json!({"jkt": [api.thumbprint()]}),
        json!({"jkt": api.thumbprint(), "x5t#S256": "AAA"}),
        json!({"jkt": api.thumbprint(), "kid": "a"}),
        json!({"x5t#S256": api.thumbprint()}),
        json!({}),
        Value::Null,
    ] {
        let of = api.token(json!({"cnf": cnf}));
        let odd = api.get(Some(&format!("DPoP {of}")), &[api.bound(&of).good(&cnf.to_string())]).await;
        is(&odd, 401, "token.binding");
    }
    let api = World::new();
    let token = api.token(json!({"cnf": {"jkt": "AAA"}}));
    let refused = api.guard.try_check(Some(&format!("DPoP {token}")), "GET", "/invoices").unwrap().unwrap_err();
    assert_eq!(refused.check(), CheckId::TokenPresent, "where no proofs are taken");
    assert_eq!(refused.challenges()[0].scheme(), "Bearer");
}

#[tokio::test]
async fn x_13_a_proof_is_good_once() {
    let api = Api::new(Dpop::default());
    let token = api.bound_token();
    let dpop = format!("DPoP {token}");
    let proof = [api.bound(&token).good("1")];
    assert_eq!(api.get(Some(&dpop), &proof).await.status, 200);
    for later in [0, 30, 60] {
        api.at(NOON.plus(later));
        is(&api.get(Some(&dpop), &proof).await, 401, "dpop.once");
    }
    api.at(NOON.plus(61));
    is(&api.get(Some(&dpop), &proof).await, 401, "dpop.proof");
    // The same id, signed anew: the id is what counts.
    api.at(NOON.plus(1));
    is(&api.get(Some(&dpop), &[api.bound(&token).good("1")]).await, 401, "dpop.once");
    assert_eq!(api.get(Some(&dpop), &[api.bound(&token).good("2")]).await.status, 200);
}

#[tokio::test]
async fn x_13_strangers_use_no_proofs_up_and_what_cannot_be_remembered_is_refused() {
    let api = Api::new(Dpop::default().remembers(1 << 20, 2));
    let token = api.bound_token();
    let dpop = format!("DPoP {token}");
    let expired = api
        .token(json!({"cnf": {"jkt": api.thumbprint()}, "exp": NOON.plus(-100), "iat": NOON.plus(-200), "nbf": null}));
    for n in 0..10 {
        let answer = api.get(Some(&format!("DPoP {expired}")), &[api.bound(&expired).good(&n.to_string())]).await;
        is(&answer, 401, "token.not_expired");
        assert_eq!(answer.challenges()[0].scheme(), "DPoP");
    }
    for n in 0..2 {
        assert_eq!(api.get(Some(&dpop), &[api.bound(&token).good(&n.to_string())]).await.status, 200);
    }
    let answer = api.get(Some(&dpop), &[api.bound(&token).good("2")]).await;
    is(&answer, 429, "dpop.capacity");
    assert!(answer.headers.contains_key(header::RETRY_AFTER) && answer.challenges().is_empty());
    is(&api.get(Some(&dpop), &[api.bound(&token).good("0")]).await, 401, "dpop.once");
}

#[tokio::test]
async fn a_route_can_want_bound_tokens_alone_and_a_guard_too() {
    let api = Api::new(Dpop::default().required().algorithms(vec![Algorithm::ES256, Algorithm::EdDSA]));
    let (token, plain) = (api.bound_token(), api.token(json!({})));
    let answer = api.get(Some(&format!("Bearer {plain}")), &[]).await;
    is(&answer, 401, "token.binding");
    let answer = api.get(None, &[]).await;
    let told: Vec<String> = answer.challenges().iter().map(ToString::to_string).collect();
    assert!(
        matches!(told.as_slice(), [one] if one.starts_with("DPoP") && one.ends_with("algs=\"ES256 EdDSA\"")),
        "{told:?}"
    );
    let taken = api.get(Some(&format!("DPoP {token}")), &[api.bound(&token).good("1")]).await;
    assert_eq!(taken.status, 200);
    let optional = Api::new(Dpop::default()).get(None, &[]).await;
    let schemes: Vec<String> = optional.challenges().iter().map(|one| one.scheme().to_owned()).collect();
    assert_eq!(schemes, ["Bearer", "DPoP"], "both ways are told of where there are two");
    assert!(optional.challenges().iter().all(|one| one.param("error").is_none()));

    let routes = json!([{"method": "GET", "path": "/a", "scopes": ["Invoices.Read"], "key_bound": true}]);
    let clock: Arc<dyn decision::Clock> = Arc::new(SetClock::at(NOON));
    let builder =
        || Guard::builder(contract_with("routes", routes.clone()), clock.clone()).keys(ISS, KeySet::default());
    assert_eq!(builder().build().unwrap_err(), SetupError::NoProofs("GET /a".into()));
    assert!(builder().dpop(Dpop::default()).build().is_ok());
}

#[tokio::test]
async fn a_nonce_is_given_out_asked_for_and_replaced_in_time() {
    let api = Api::new(Dpop::default().nonces(&[7; 32]));
    let token = api.bound_token();
    let dpop = format!("DPoP {token}");
    let with = |jti: &str, nonce: &str| [api.bound(&token).edited(jti, |_, claims| claims["nonce"] = json!(nonce))];
    let answer = api.get(Some(&dpop), &[api.bound(&token).good("1")]).await;
    is(&answer, 401, "dpop.nonce");
    assert_eq!(answer.challenges()[0].param("error"), Some("use_dpop_nonce"));
    let nonce = answer.headers["dpop-nonce"].to_str().unwrap().to_owned();
    let answer = api.get(Some(&dpop), &with("2", &nonce)).await;
    assert_eq!((answer.status, answer.headers.get("dpop-nonce")), (200, None));
    let foreign = Dpop::default().nonces(&[8; 32]).nonce(NOON).unwrap();
    for made_up in [foreign.as_str(), "x", "", &nonce[1..]] {
        assert_ne!(api.get(Some(&dpop), &with(&format!("made up {made_up}"), made_up)).await.status, 200, "{made_up}");
    }
    api.at(NOON.plus(200));
    let answer = api.get(Some(&dpop), &with("3", &nonce)).await;
    let next = answer.headers["dpop-nonce"].to_str().unwrap().to_owned();
    assert_eq!(answer.status, 200);
    assert_ne!(next, nonce, "another one, before the first is of no use");
    api.at(NOON.plus(301));
    is(&api.get(Some(&dpop), &with("4", &nonce)).await, 401, "dpop.nonce");
    assert_eq!(api.get(Some(&dpop), &with("5", &next)).await.status, 200);
}

#[tokio::test]
async fn who_routes_requests_itself_shows_the_proof_and_uses_it_up() {
    let world = World::new();
    let client = SigningKey::generate(Algorithm::EdDSA).unwrap();
    let token = world.token(json!({"cnf": {"jkt": client.public_jwk().thumbprint()}}));
    let value = format!("DPoP {token}");
    let route: Route =
        serde_json::from_value(json!({"method": "*", "path": "/*", "scopes": ["Invoices.Read"]})).unwrap();
    let bound = Bound { key: &client, method: "GET", uri: "http://a/b", token: &token, now: NOON, max_age: 60 };
    let headers = HeaderMap::from_iter([(deputize_guard::DPOP, bound.good("1").parse().unwrap())]);
    let dpop = Dpop::default();
    let proof = dpop.verify(Some(&value), &headers, "GET", "http://A:80/b?c", NOON).unwrap().unwrap();
    let held = Held { proof: Some(&proof), ..Held::default() };
    let caller = world.guard.check_for(Some(&value), &route, held).await.unwrap();
    assert_eq!(caller.key(), Some(proof.thumbprint()));
    assert!(world.guard.try_check_again(&caller, &route, 0).unwrap().is_ok(), "a stream goes on");
    assert!(world.guard.explain_for(Some(&value), &route, held).failed().is_none());
    assert!(world.guard.explain_for(Some(&value), &route, Held::default()).failed().is_some());
    assert!(dpop.spend(&proof, NOON).is_ok());
    assert_eq!(dpop.spend(&proof, NOON).unwrap_err().check, CheckId::DpopOnce);
    let both = Held { proof: Some(&proof), certificate: Some("AAA") };
    let refused =
        |held| world.guard.try_check_for(Some(&value), &route, held).unwrap().map(drop).map_err(|r| r.check());
    assert_eq!(refused(both), Ok(()), "a certificate beside it does no harm");
    assert_eq!(refused(Held::default()), Err(CheckId::TokenPresent));
    let bearer = format!("Bearer {token}");
    let as_bearer = world.guard.try_check_for(Some(&bearer), &route, held).unwrap().unwrap_err();
    assert_eq!(as_bearer.check(), CheckId::TokenBinding, "whatever is shown beside it");
}
