//! A user's identity crosses Orders and Billing, and every refusal on the way comes back whole.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail loudly")]
use axum::body::Body;
use axum::http::{Request, Response, StatusCode};
use client::{Cause, Sending, Transport};
use decision::{Clock, Timestamp};
use guard::Guard;
use http_body_util::BodyExt;
use jose::{Algorithm, Header, KeySet, SigningKey};
use oauth::{Form, Secret};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use tower::ServiceExt;

const NOON: i64 = 1_700_000_000;
const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const CHALLENGE: &str = r#"{"access_token":{"acrs":{"essential":true,"value":"c1"}}}"#;

struct Noon;

impl Clock for Noon {
    fn now(&self) -> Timestamp {
        Timestamp(NOON)
    }
}

type Rule = Box<dyn Fn(&Form) -> (u16, Value) + Send + Sync>;

/// The network: the authority's token endpoint and Billing, in this process.
struct Network {
    rule: Rule,
    billing: axum::Router,
    /// The paths and tokens that Billing saw.
    seen: Mutex<Vec<(String, String)>>,
    /// The trace of each request, whoever it went to.
    traces: Mutex<Vec<Option<String>>>,
}

impl Transport for Network {
    fn send(&self, request: Request<client::Body>) -> Sending<'_> {
        Box::pin(async move {
            let trace = request.headers().get("traceparent").map(|trace| trace.to_str().unwrap().to_owned());
            self.traces.lock().unwrap().push(trace);
            if request.uri().path().ends_with("/oauth2/v2.0/token") {
                let (status, body) = (self.rule)(&Form::decode(request.body()).unwrap());
                return Ok(Response::builder().status(status).body(body.to_string().into_bytes()).unwrap());
            }
            let token = request.headers()["authorization"].to_str().unwrap().to_owned();
            self.seen.lock().unwrap().push((request.uri().path().to_owned(), token));
            let answer = self.billing.clone().oneshot(request.map(|body| Body::from(body.to_vec()))).await;
            let (parts, body) = answer.map_err(|_| Cause::Broken)?.into_parts();
            Ok(Response::from_parts(parts, body.collect().await.unwrap().to_bytes().to_vec()))
        })
    }
}

/// The authority's pen.
#[derive(Clone)]
struct Issuer {
    key: Arc<SigningKey>,
    authority: String,
    tenant: String,
}

impl Issuer {
    fn token(&self, audience: &str, more: Value) -> String {
        let mut claims = json!({"iss": format!("{}/v2.0", self.authority), "aud": audience, "tid": self.tenant, "iat": NOON,
            "nbf": NOON, "exp": NOON + 3600, "sub": "s", "ver": "2.0", "uti": "u1", "idtyp": "user", "oid": "ada"});
        let (Value::Object(all), Value::Object(more)) = (&mut claims, more) else { unreachable!() };
        all.extend(more);
        self.key.sign(&Header::typ("JWT"), claims.to_string().as_bytes()).unwrap()
    }

    fn keys(&self) -> KeySet {
        KeySet::from_keys(vec![self.key.verifying_key()])
    }
}

struct World {
    orders: axum::Router,
    network: Arc<Network>,
    user: String,
}

/// Orders and Billing, and an authority that answers exchanges by `rule`.
fn world(rule: impl Fn(&Issuer, &str, &Form) -> (u16, Value) + Send + Sync + 'static) -> World {
    world_where(&[], rule)
}

/// The same, where Billing wants these authentication contexts of who reads invoices.
fn world_where(acrs: &[&str], rule: impl Fn(&Issuer, &str, &Form) -> (u16, Value) + Send + Sync + 'static) -> World {
    let config: orders::Config = toml::from_str(include_str!("../example.toml")).unwrap();
    let billing: billing::Config = toml::from_str(include_str!("../../billing/example.toml")).unwrap();
    let (authority, tenant) = (config.authority.clone(), config.tenant_id.clone());
    let issuer = Issuer { key: Arc::new(SigningKey::generate(Algorithm::RS256).unwrap()), authority, tenant };
    let name = format!("{}/v2.0", config.authority);
    let guard = |contract| Guard::builder(contract, Arc::new(Noon)).keys(&name, issuer.keys()).build().unwrap();
    let user = issuer.token(&config.app_id, json!({"scp": "access_as_user", "azp": "web", "azpacr": "1"}));
    let (pen, audience, assertion) = (issuer.clone(), billing.app_id.clone(), user.clone());
    let mut demands = billing.contract().unwrap();
    demands.routes[0].acrs = acrs.iter().map(|&acr| acr.to_owned()).collect();
    let network = Arc::new(Network {
        rule: Box::new(move |form| {
            assert_eq!(form.value("assertion"), Some(assertion.as_str()), "the user's own token is what is exchanged");
            rule(&pen, &audience, form)
        }),
        billing: billing::routes(&guard(demands)),
        seen: Mutex::default(),
        traces: Mutex::default(),
    });
    let random = Arc::new(|bytes: &mut [u8]| bytes.fill(7));
    let guard = guard(config.contract().unwrap());
    let orders = orders::routes(&config, guard, Arc::clone(&network) as _, Arc::new(Noon), random);
    World { orders, network, user }
}

impl World {
    async fn send(&self, method: &str, path: &str) -> (StatusCode, http::HeaderMap, Value) {
        let bearer = format!("Bearer {}", self.user);
        let request = Request::builder().method(method).uri(path).header("authorization", bearer);
        let request = request.header("traceparent", TRACE);
        let answer = self.orders.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let (parts, body) = answer.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        assert!(!String::from_utf8_lossy(&body).contains("eyJ"), "no token in any answer");
        (parts.status, parts.headers, serde_json::from_slice(&body).unwrap_or_default())
    }
}

/// What the authority grants in these tests.
fn grant(issuer: &Issuer, audience: &str, form: &Form, roles: Value, acrs: Value) -> (u16, Value) {
    let scope = form.value("scope").unwrap().strip_prefix("api://billing/").unwrap();
    let claims = json!({"azp": form.value("client_id"), "azpacr": "1", "scp": scope, "roles": roles, "acrs": acrs});
    let token = issuer.token(audience, claims);
    (200, json!({"token_type": "Bearer", "expires_in": 3600, "access_token": token}))
}

#[tokio::test]
async fn billing_sees_the_user_and_that_orders_calls() {
    let world = world(|issuer, audience, form| grant(issuer, audience, form, json!(["Invoices.Reader"]), json!([])));
    let (status, _, body) = world.send("GET", "/orders").await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let seen = &body["invoices"]["claims"];
    assert_eq!((&seen["oid"], &seen["scp"]), (&json!("ada"), &json!("Invoices.Read")));
    assert_eq!(seen["azp"], "33333333-3333-4333-8333-333333333333", "Orders calls");
    assert_eq!(seen["aud"], "22222222-2222-4222-8222-222222222222", "Billing is called");
    let id = body["invoices"]["invoices"][0]["id"].as_str().unwrap().to_owned();
    let (status, _, approved) = world.send("POST", &format!("/orders/{id}/approve")).await;
    assert_eq!((status, &approved["invoice"]["id"]), (StatusCode::OK, &json!(id)));
    let bearer = format!("Bearer {}", world.user);
    let traces = world.network.traces.lock().unwrap();
    assert!(traces.len() == 4 && traces.iter().all(|trace| trace.as_deref() == Some(TRACE)), "one trace: {traces:?}");
    let seen = world.network.seen.lock().unwrap();
    assert!(seen.len() == 2 && seen.iter().all(|(_, token)| *token != bearer), "the user's token is never passed on");
}

#[tokio::test]
async fn the_users_token_is_worth_nothing_at_billing() {
    let world = world(|_, _, _| (400, json!({"error": "invalid_grant"})));
    let request =
        Request::builder().uri("https://x/invoices").header("authorization", format!("Bearer {}", world.user));
    let answer = world.network.send(request.body(client::Body::default()).unwrap()).await.unwrap();
    let body: Value = serde_json::from_slice(answer.body()).unwrap();
    assert_eq!((answer.status(), &body["code"]), (StatusCode::UNAUTHORIZED, &json!("token.audience")));
}

#[tokio::test]
async fn a_missing_consent_comes_back_with_its_code_and_hint() {
    let world = world(|_, _, _| {
        (
            400,
            json!({"error": "invalid_grant", "suberror": "consent_required", "error_codes": [65001], "trace_id": "d-1",
            "error_description": "AADSTS65001: …", "deputize_hint": {"missing": "api://billing/Invoices.Approve"}}),
        )
    });
    let (status, _, body) = world.send("POST", "/orders/INV-1/approve").await;
    assert_eq!((status, &body["code"]), (StatusCode::FORBIDDEN, &json!("AADSTS65001")));
    assert_eq!(
        (&body["hint"]["missing"], &body["decision_id"]),
        (&json!("api://billing/Invoices.Approve"), &json!("d-1"))
    );
}

#[tokio::test]
async fn a_claims_challenge_comes_back_as_a_401_that_the_client_can_meet() {
    let refusal = json!({"error": "interaction_required", "claims": CHALLENGE, "error_codes": [50076]});
    let world = world(move |_, _, _| (400, refusal.clone()));
    let (status, headers, _) = world.send("GET", "/orders").await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    let answer = headers.get_all("www-authenticate").iter().fold(Response::builder().status(401), |answer, header| {
        assert!(
            header.to_str().unwrap().contains("authorization_uri") || header.to_str().unwrap().contains("acr_values")
        );
        answer.header("www-authenticate", header)
    });
    let challenged = client::challenge_in(&answer.body(()).unwrap());
    assert_eq!(
        challenged,
        Some(client::Error::Challenged { claims: CHALLENGE.to_owned() }),
        "readable by our own client"
    );
}

#[tokio::test]
async fn billings_step_up_is_met_if_the_authority_can_and_passed_on_if_not() {
    let roles = || json!(["Invoices.Reader"]);
    let able = world_where(&["c1"], move |issuer, audience, form| {
        let acrs = if form.value("claims") == Some(CHALLENGE) { json!(["c1"]) } else { json!([]) };
        grant(issuer, audience, form, roles(), acrs)
    });
    let (status, _, body) = able.send("GET", "/orders").await;
    assert_eq!((status, &body["invoices"]["claims"]["acrs"]), (StatusCode::OK, &json!(["c1"])));

    let unable = world_where(&["c1"], move |issuer, audience, form| match form.value("claims") {
        Some(claims) => (400, json!({"error": "interaction_required", "claims": claims})),
        None => grant(issuer, audience, form, roles(), json!([])),
    });
    assert_eq!(unable.send("GET", "/orders").await.0, StatusCode::UNAUTHORIZED);

    let careless =
        world_where(&["c1"], move |issuer, audience, form| grant(issuer, audience, form, roles(), json!([])));
    let (status, headers, _) = careless.send("GET", "/orders").await;
    assert!(status == StatusCode::UNAUTHORIZED && headers.contains_key("www-authenticate"));
    assert_eq!(careless.network.seen.lock().unwrap().len(), 2, "tried once more, and not for ever");
}

#[tokio::test]
async fn billings_own_refusal_is_embedded() {
    let world = world(|issuer, audience, form| grant(issuer, audience, form, json!([]), json!([])));
    let (status, headers, body) = world.send("GET", "/orders").await;
    assert_eq!((status, &body["billing"]["code"]), (StatusCode::FORBIDDEN, &json!("role.sufficient")));
    assert_eq!(headers["content-type"], "application/problem+json");
    let (status, _, body) = world.send("POST", "/orders/INV-NOT-MINE/approve").await;
    assert_eq!((status, &body["billing"]["title"]), (StatusCode::NOT_FOUND, &json!("no such invoice")));
}

#[tokio::test]
async fn what_is_wrong_with_orders_itself_is_not_told_to_its_callers() {
    for error in ["invalid_client", "unauthorized_client"] {
        let world = world(move |_, _, _| (401, json!({"error": error, "error_description": "AADSTS7000215: canary"})));
        let (status, _, body) = world.send("GET", "/orders").await;
        assert_eq!(status, StatusCode::BAD_GATEWAY);
        assert!(!body.to_string().contains("canary"));
    }
    let world = world(|_, _, _| (503, json!(null)));
    assert_eq!(world.send("GET", "/orders").await.0, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn an_id_cannot_turn_into_another_request_at_billing() {
    let world = world(|issuer, audience, form| grant(issuer, audience, form, json!(["Invoices.Reader"]), json!([])));
    for id in ["..%2f..%2fexport%3f", "%2e%2e", "a%20b", "a%00", "a%23b", "a%3Fb=c", "%C3%A9"] {
        let (status, ..) = world.send("POST", &format!("/orders/{id}/approve")).await;
        assert!(status.is_client_error(), "{id}");
    }
    assert!(world.network.seen.lock().unwrap().is_empty(), "nothing reached Billing");
}

#[test]
fn secrets_of_the_configuration_are_not_shown() {
    let config: orders::Config = toml::from_str(include_str!("../example.toml")).unwrap();
    assert_eq!(config.client_secret, Secret::new("the value that `deputize apply` showed once"));
    assert!(!format!("{config:?}").contains("showed once"));
}

async fn from_page(world: &World, origin: &str, method: &str) -> Response<axum::body::Body> {
    let request = Request::builder().method(method).uri("/orders").header("origin", origin);
    let request = request.header("access-control-request-method", "GET");
    world.orders.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
}

#[tokio::test]
async fn pages_of_registered_origins_may_call_and_read_challenges() {
    let world = world(|_, _, _| panic!("nothing to exchange"));
    let origin = "http://localhost:8401";
    let asked = from_page(&world, origin, "OPTIONS").await;
    assert_eq!(asked.status(), StatusCode::NO_CONTENT);
    assert_eq!(asked.headers()["access-control-allow-headers"], "authorization");
    let refused = from_page(&world, origin, "GET").await;
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    for answer in [asked, refused] {
        assert_eq!(answer.headers()["access-control-allow-origin"], origin);
        assert_eq!(answer.headers()["access-control-expose-headers"], "www-authenticate");
        assert_eq!(answer.headers()["vary"], "origin");
        assert!(answer.headers().get("access-control-allow-credentials").is_none(), "without cookies");
    }
}

#[tokio::test]
async fn pages_of_other_origins_may_not() {
    let world = world(|_, _, _| panic!("nothing to exchange"));
    for origin in ["http://localhost:8402", "http://localhost:84011", "https://localhost:8401", "null"] {
        for method in ["OPTIONS", "GET"] {
            let answer = from_page(&world, origin, method).await;
            assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{method} {origin}");
            assert!(answer.headers().get("access-control-allow-origin").is_none(), "{method} {origin}");
        }
    }
}
