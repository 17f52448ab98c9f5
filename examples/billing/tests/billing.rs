//! Billing behind its guard, with tokens made here.
#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]
use axum::body::Body;
use axum::http::{Request, StatusCode};
use billing::{Config, routes};
use decision::{Clock, Timestamp};
use guard::Guard;
use http_body_util::BodyExt;
use jose::{Algorithm, Header, KeySet, SigningKey};
use serde_json::{Value, json};
use std::sync::Arc;
use tower::ServiceExt;

const NOON: i64 = 1_700_000_000;

struct Noon;

impl Clock for Noon {
    fn now(&self) -> Timestamp {
        Timestamp(NOON)
    }
}

struct World {
    config: Config,
    key: SigningKey,
    api: axum::Router,
}

fn world() -> World {
    let config: Config = toml::from_str(include_str!("../example.toml")).unwrap();
    let key = SigningKey::generate(Algorithm::RS256).unwrap();
    let keys = KeySet::from_keys(vec![key.verifying_key()]);
    let guard = Guard::builder(config.contract().unwrap(), Arc::new(Noon))
        .keys(format!("{}/v2.0", config.authority), keys)
        .build()
        .unwrap();
    World { api: routes(&guard), config, key }
}

impl World {
    fn token(&self, more: Value) -> String {
        let mut claims = json!({
            "iss": format!("{}/v2.0", self.config.authority), "aud": self.config.app_id, "tid": self.config.tenant_id,
            "iat": NOON, "nbf": NOON, "exp": NOON + 3600, "sub": "pairwise", "azp": "orders-app", "azpacr": "1",
            "ver": "2.0", "uti": "u1", "idtyp": "user", "oid": "ada",
        });
        let (Value::Object(all), Value::Object(more)) = (&mut claims, more) else { unreachable!() };
        all.extend(more);
        self.key.sign(&Header::typ("JWT"), claims.to_string().as_bytes()).unwrap()
    }

    async fn send(&self, method: &str, path: &str, token: &str) -> (StatusCode, Value) {
        let request = Request::builder().method(method).uri(path).header("authorization", format!("Bearer {token}"));
        let answer = self.api.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let status = answer.status();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }
}

#[tokio::test]
async fn users_see_their_own_invoices_and_nobody_elses() {
    let world = world();
    let read = json!({"scp": "Invoices.Read", "roles": ["Invoices.Reader"], "name": "Ada"});
    let (status, ada) = world.send("GET", "/invoices", &world.token(read)).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(ada["user"], json!({"oid": "ada", "name": "Ada"}));
    let expected = json!({"oid": "ada", "tid": world.config.tenant_id, "azp": "orders-app", "aud": world.config.app_id,
        "scp": "Invoices.Read", "roles": ["Invoices.Reader"], "acrs": []});
    assert_eq!(ada["claims"], expected);
    let bob = world.token(json!({"scp": "Invoices.Read", "roles": ["Invoices.Reader"], "oid": "bob", "name": "Ada"}));
    let (_, bob) = world.send("GET", "/invoices", &bob).await;
    assert_eq!(bob["invoices"].as_array().unwrap().len(), 3);
    assert_ne!(ada["invoices"], bob["invoices"], "the name does not count, the object id does");

    let approve = json!({"scp": "Invoices.Approve"});
    let id = |of: &Value| format!("/invoices/{}/approve", of["invoices"][0]["id"].as_str().unwrap());
    let (status, _) = world.send("POST", &id(&bob), &world.token(approve.clone())).await;
    assert_eq!(status, StatusCode::NOT_FOUND, "ada cannot approve bob's");
    let (status, approved) = world.send("POST", &id(&ada), &world.token(approve)).await;
    assert_eq!((status, &approved["invoice"]["approved"]), (StatusCode::OK, &json!(true)));
    let export = json!({"idtyp": "app", "oid": "daemon", "roles": ["Invoices.Export"]});
    let (status, exported) = world.send("GET", "/export", &world.token(export)).await;
    assert_eq!((status, exported["approved"].as_array().unwrap().len()), (StatusCode::OK, 1));
    assert_eq!(exported["claims"]["scp"], Value::Null);
}

#[tokio::test]
async fn who_may_not_is_told_which_check_failed() {
    let world = world();
    let user = |scp: &str, roles: Value| world.token(json!({"scp": scp, "roles": roles}));
    let app = |role: &str| world.token(json!({"idtyp": "app", "roles": [role]}));
    let foreign = world.token(json!({"aud": "orders-app", "scp": "Invoices.Read", "roles": ["Invoices.Reader"]}));
    let rows = [
        ("GET", "/invoices", user("Invoices.Read", json!([])), 403, "role.sufficient"),
        ("GET", "/invoices", user("Invoices.Approve", json!(["Invoices.Reader"])), 403, "scope.sufficient"),
        ("GET", "/invoices", app("Invoices.Reader"), 403, "subject.user"),
        ("GET", "/invoices", foreign, 401, "token.audience"),
        ("GET", "/export", user("Invoices.Read", json!(["Invoices.Export"])), 403, "subject.app"),
        ("GET", "/export", app("Invoices.Reader"), 403, "role.sufficient"),
        ("POST", "/invoices/1/approve", user("Invoices.Read", json!([])), 403, "scope.sufficient"),
        ("GET", "/nowhere", user("Invoices.Read", json!([])), 403, "route.known"),
    ];
    for (method, path, token, status, check) in rows {
        let (found, body) = world.send(method, path, &token).await;
        assert_eq!((found.as_u16(), body["code"].as_str()), (status, Some(check)), "{method} {path}: {body}");
    }
}
