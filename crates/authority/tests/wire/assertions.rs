//! Client assertions: what real libraries send, and those that work once.
use super::clients::app_only;
use crate::world::estate::{CONTOSO, app};
use crate::world::keys::{ClientKey, ORDERS, sign};
use crate::world::{ASSERTION_TYPE, Answer, HOST, NOON, World, but, claims, text};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use jose::SigningKey;
use serde_json::{Value, json};

/// A client assertion, before it is signed.
#[derive(Clone)]
pub(super) struct Assertion {
    pub(super) header: Value,
    pub(super) claims: Value,
}

/// What Orders may send.
pub(super) fn good() -> Assertion {
    let id = app("orders").to_string();
    Assertion {
        header: json!({"alg": "PS256", "typ": "JWT", "x5t#S256": ORDERS.certificate.x5t_s256()}),
        claims: json!({
            "iss": id, "sub": id, "aud": format!("{HOST}/{CONTOSO}/oauth2/v2.0/token"), "jti": "jti-1",
            "exp": NOON.0 + 600, "nbf": NOON.0, "iat": NOON.0,
        }),
    }
}

impl Assertion {
    /// `null` takes a member away.
    pub(super) fn header(mut self, name: &str, value: Value) -> Self {
        set(&mut self.header, name, value);
        self
    }
    pub(super) fn claim(mut self, name: &str, value: Value) -> Self {
        set(&mut self.claims, name, value);
        self
    }
    pub(super) fn sign(&self, key: &ClientKey) -> String {
        let rs256 = self.header["alg"] == "RS256";
        self.sign_with(if rs256 { &key.rs256 } else { &key.ps256 })
    }
    pub(super) fn sign_with(&self, key: &SigningKey) -> String {
        sign(key, self.header.to_string().as_bytes(), self.claims.to_string().as_bytes())
    }
    pub(super) fn hmac(&self, secret: &[u8]) -> String {
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", encode(&self.header), encode(&self.claims));
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(secret).unwrap();
        mac.update(signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
    }
}

fn set(object: &mut Value, name: &str, value: Value) {
    if value.is_null() {
        object.as_object_mut().unwrap().remove(name);
    } else {
        object[name] = value;
    }
}

pub(super) async fn send(world: &World, assertion: &str) -> Answer {
    let form = but(app_only(), "client_secret", None);
    let more = [("client_assertion_type", ASSERTION_TYPE.to_owned()), ("client_assertion", assertion.to_owned())];
    world.token([form, more.to_vec()].concat()).await
}

#[tokio::test]
async fn what_real_client_libraries_send_is_accepted() {
    let world = World::new().await;
    let x5c = STANDARD.encode(&ORDERS.der);
    let lines: Vec<&str> = x5c.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    let sha1 = || good().header("alg", json!("RS256")).header("x5t#S256", Value::Null);
    let accepted = [
        ("PS256 and x5t#S256", good()),
        ("RS256 and x5t", sha1().header("x5t", json!(ORDERS.certificate.x5t()))),
        ("RS256 and a padded x5t", sha1().header("x5t", json!(format!("{}=", ORDERS.certificate.x5t())))),
        ("a padded x5t#S256", good().header("x5t#S256", json!(format!("{}=", ORDERS.certificate.x5t_s256())))),
        ("both thumbprints", good().header("x5t", json!(ORDERS.certificate.x5t()))),
        ("RS256 and x5t#S256", good().header("alg", json!("RS256"))),
        ("fractional times", good().claim("exp", json!(1_800_000_599.75)).claim("iat", json!(1_800_000_000.25))),
        (
            "times as strings",
            good().claim("exp", json!((NOON.0 + 600).to_string())).claim("nbf", json!(NOON.0.to_string())),
        ),
        ("no nbf", good().claim("nbf", Value::Null)),
        ("no iat", good().claim("iat", Value::Null)),
        ("no jti", good().claim("jti", Value::Null)),
        ("x5c as a list", good().header("x5c", json!([x5c]))),
        ("x5c as a string with newlines", good().header("x5c", json!(lines.join("\n")))),
        ("no typ", good().header("typ", Value::Null)),
        ("another typ", good().header("typ", json!("http://openid.net/specs/jwt/1.0"))),
        ("a kid besides", good().header("kid", json!("anything"))),
        ("the v1 endpoint", good().claim("aud", json!(format!("{HOST}/{CONTOSO}/oauth2/token")))),
        ("the issuer", good().claim("aud", json!(format!("{HOST}/{CONTOSO}/v2.0")))),
        ("by domain", good().claim("aud", json!(format!("{HOST}/contoso.example/oauth2/v2.0/token")))),
        ("a list of one audience", good().claim("aud", json!([format!("{HOST}/{CONTOSO}/oauth2/v2.0/token")]))),
        ("not yet, within the skew", good().claim("nbf", json!(NOON.0 + 59))),
        ("just over, within the skew", good().claim("exp", json!(NOON.0 - 59))),
    ];
    for (case, assertion) in accepted {
        let answer = send(&world, &assertion.sign(&ORDERS)).await;
        assert_eq!(answer.status, 200, "{case}: {}", answer.text());
        assert_eq!(claims(&text(&answer.json(), "access_token"))["azpacr"], "2", "{case}");
        assert_eq!(send(&world, &assertion.sign(&ORDERS)).await.status, 200, "{case}, again: MSAL reuses it");
    }
}

#[tokio::test]
async fn a_15_one_time_assertions_work_once_in_the_native_profile() {
    let world = World::with(|plan| {
        plan.app("orders").deputize.one_time_assertions = true;
    })
    .await;
    let once = good().claim("jti", json!("once")).sign(&ORDERS);
    send(&world, &once).await.ok();
    for moment in [0, 300, 300, 59] {
        world.clock.advance(moment);
        assert_eq!(
            send(&world, &once).await.refused(),
            (401, "invalid_client".into(), 700_027, "client.assertion_once".into())
        );
    }
    let none = good()
        .claim("jti", Value::Null)
        .claim("exp", json!(NOON.0 + 1200))
        .claim("nbf", json!(NOON.0 + 600))
        .sign(&ORDERS);
    assert_eq!(send(&world, &none).await.check(), "client.assertion_once", "without an id it cannot be told apart");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_15_a_one_time_assertion_sent_64_times_at_once_works_once() {
    let world = World::with(|plan| {
        plan.app("orders").deputize.one_time_assertions = true;
    })
    .await;
    for round in 0..5 {
        let assertion = good().claim("jti", json!(format!("round {round}"))).sign(&ORDERS);
        let more = [("client_assertion_type", ASSERTION_TYPE.to_owned()), ("client_assertion", assertion)];
        let answers = world.at_once([but(app_only(), "client_secret", None), more.to_vec()].concat(), 64).await;
        assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1);
        assert!(answers.iter().all(|answer| answer.status == 200 || answer.status == 401));
    }
}
