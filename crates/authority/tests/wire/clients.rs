//! Client authentication: A-14, and client assertions, hostile and lenient (A-15's table, R1 at `client_assertion`).
use crate::world::estate::{CONTOSO, FABRIKAM, app, key_credential, secret, secret_id};
use crate::world::keys::{ClientKey, EXPIRED, ORDERS, RIVAL, STRANGER, sign};
use crate::world::{
    ASSERTION_TYPE, Answer, HOST, NOON, Params, World, but, claims, client_credentials, credential, encode, text,
    token_path,
};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use jose::SigningKey;
use serde_json::{Value, json};

fn app_only() -> Params<'static> {
    client_credentials("orders", "api://billing/.default")
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

fn refused(answer: &Answer, status: u16, error: &str, case: &str) {
    let (found, named, ..) = answer.refused();
    assert_eq!((found, named.as_str()), (status, error), "{case}: {}", answer.text());
    assert!(answer.json()["access_token"].is_null());
}

#[tokio::test]
async fn secrets_work_in_the_body_and_in_basic() {
    let world = World::new().await;
    let path = token_path(&CONTOSO.to_string());
    world.token(app_only()).await.ok();
    let bare = but(but(app_only(), "client_secret", None), "client_id", None);
    let id = app("orders").to_string();
    for header in
        [basic(&id, &secret("orders")), basic(&id, &secret("orders").replace('-', "%2D")).replace("Basic", "bAsIc")]
    {
        let token = world.post(&path, &[("authorization", &header)], encode(&bare)).await.ok();
        let claims = claims(&text(&token, "access_token"));
        assert_eq!(
            (&claims["idtyp"], &claims["azpacr"], &claims["roles"]),
            (&json!("app"), &json!("1"), &json!(["Invoices.Export"]))
        );
        assert!(claims["scp"].is_null());
    }
}

#[tokio::test]
async fn a_14_one_mechanism_of_the_client_itself_and_no_other() {
    let world = World::new().await;
    let path = token_path(&CONTOSO.to_string());
    let (id, right) = (app("orders").to_string(), secret("orders"));
    let assertion =
        || [("client_assertion_type", ASSERTION_TYPE.to_owned()), ("client_assertion", good().sign(&ORDERS))];
    let with = |more: &[(&'static str, String)]| [app_only(), more.to_vec()].concat();
    refused(&world.token(with(&assertion())).await, 400, "invalid_request", "secret and assertion");
    let empty = [("client_assertion", String::new())];
    refused(&world.token(with(&empty)).await, 400, "invalid_request", "secret and an empty assertion");
    let header = basic(&id, &right);
    let twice = world.post(&path, &[("authorization", &header)], encode(&app_only())).await;
    refused(&twice, 400, "invalid_request", "Basic and body");
    let bare = but(but(app_only(), "client_secret", None), "client_id", None);
    for name in ["client_secret", "client_assertion"] {
        let both = encode(&[bare.clone(), vec![(name, "x".to_owned())]].concat());
        refused(&world.post(&path, &[("authorization", &header)], both).await, 400, "invalid_request", name);
    }
    let other = encode(&but(bare.clone(), "client_id", Some(&app("web").to_string())));
    refused(
        &world.post(&path, &[("authorization", &header)], other).await,
        400,
        "invalid_request",
        "another client_id",
    );
    for (user, password) in [
        (id.as_str(), ""),
        (&id, "wrong"),
        (&id, &right[..right.len() - 1]),
        (&id, &format!("{right}x")),
        (&id, &format!(" {right}")),
        (&id, &secret("web")),
        (&id, &secret_id("orders").to_string()),
    ] {
        let answer = world.post(&path, &[("authorization", &basic(user, password))], encode(&bare)).await;
        refused(&answer, 401, "invalid_client", password);
        assert_eq!(answer.header("www-authenticate"), "Basic realm=\"token\"");
        assert!(answer.check() == "client.secret_correct" || password.is_empty());
    }
    let key_id = world.token(but(app_only(), "client_secret", Some(&secret_id("orders").to_string()))).await;
    assert!(key_id.text().contains("secret's id"), "{}", key_id.text());
    for header in [
        "Basic",
        "Basic ",
        "Basic !!!",
        "Basic Og==",
        "Basic eA==",
        "Bearer x",
        "Negotiate x",
        "basic\u{a0}x",
        "Basic /w==",
    ] {
        let answer = world.post(&path, &[("authorization", header)], encode(&bare)).await;
        assert!(matches!(answer.status.as_u16(), 400 | 401), "{header}: {}", answer.text());
        assert!(answer.refused().1 != "temporarily_unavailable");
    }
    refused(&world.token(but(app_only(), "client_secret", None)).await, 401, "invalid_client", "nothing");
    refused(&world.token(but(app_only(), "client_secret", Some(""))).await, 401, "invalid_client", "an empty secret");
    for name in ["native", "spa", "gadget"] {
        let mut form = client_credentials(name, "api://billing/.default");
        refused(&world.token(form.clone()).await, 401, "invalid_client", "a public client");
        form.push(("client_secret", "x".to_owned()));
        refused(&world.token(form).await, 401, "invalid_client", "a public client with a secret");
    }
    let of_web = [credential("web"), assertion().to_vec()].concat();
    let of_web = but(but(of_web, "client_secret", None), "grant_type", Some("client_credentials"));
    refused(
        &world.token(but(of_web, "scope", Some("api://billing/.default"))).await,
        401,
        "invalid_client",
        "no certificate",
    );
    let elsewhere = world.token_at(&FABRIKAM.to_string(), client_credentials("daemon", "api://billing/.default")).await;
    refused(&elsewhere, 400, "unauthorized_client", "another tenant");
    for alias in ["common", "organizations", "consumers", "nowhere"] {
        refused(&world.token_at(alias, app_only()).await, 400, "invalid_request", alias);
    }
}

#[tokio::test]
async fn a_14_secrets_in_the_url_are_refused_whatever_the_body_says() {
    let world = World::new().await;
    let path = token_path(&CONTOSO.to_string());
    for name in [
        "client_secret",
        "client_assertion",
        "assertion",
        "code",
        "code_verifier",
        "refresh_token",
        "password",
        "grant_type",
    ] {
        for query in [format!("{name}=x"), format!("a=1&{name}=&b=2"), name.replace('s', "%73") + "=canary-x"] {
            let answer = world.post(&format!("{path}?{query}"), &[], encode(&app_only())).await;
            refused(&answer, 400, "invalid_request", &query);
        }
    }
    let moved = world.post(&format!("{path}?{}", encode(&app_only())), &[], "").await;
    refused(&moved, 400, "invalid_request", "everything in the URL");
    world.post(&format!("{path}?client-request-id=abc&x-client-sku=msal.js.node"), &[], encode(&app_only())).await.ok();
}

#[tokio::test]
async fn secrets_have_their_dates() {
    let world = World::with(|plan| {
        let credentials = &mut plan.app("orders").password_credentials;
        credentials[0].start_date_time = NOON;
        credentials[0].end_date_time = NOON.plus(100);
    })
    .await;
    world.token(app_only()).await.ok();
    world.clock.advance(-1);
    assert_eq!(world.token(app_only()).await.check(), "client.secret_current");
    world.clock.advance(101);
    assert_eq!(
        world.token(app_only()).await.refused(),
        (401, "invalid_client".into(), 7_000_222, "client.secret_current".into())
    );
    world.edit_app("orders", |app| app.password_credentials.clear()).await;
    refused(&world.token(app_only()).await, 401, "invalid_client", "a secret that was removed");
}

/// A client assertion, before it is signed.
#[derive(Clone)]
struct Assertion {
    header: Value,
    claims: Value,
}

/// What Orders may send.
fn good() -> Assertion {
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
    fn header(mut self, name: &str, value: Value) -> Self {
        set(&mut self.header, name, value);
        self
    }
    fn claim(mut self, name: &str, value: Value) -> Self {
        set(&mut self.claims, name, value);
        self
    }
    fn sign(&self, key: &ClientKey) -> String {
        let rs256 = self.header["alg"] == "RS256";
        self.sign_with(if rs256 { &key.rs256 } else { &key.ps256 })
    }
    fn sign_with(&self, key: &SigningKey) -> String {
        sign(key, self.header.to_string().as_bytes(), self.claims.to_string().as_bytes())
    }
    fn hmac(&self, secret: &[u8]) -> String {
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

async fn send(world: &World, assertion: &str) -> Answer {
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
async fn r_1_and_a_15_no_hostile_client_assertion_is_accepted() {
    let world = World::with(|plan| {
        plan.app("orders").key_credentials.push(key_credential("expired", &EXPIRED.der));
    })
    .await;
    let id = app("orders").to_string();
    let known = || good().header("x5t#S256", json!(ORDERS.certificate.x5t_s256()));
    let x5c = |key: &ClientKey| json!([STANDARD.encode(&key.der)]);
    let jwk = serde_json::to_value(STRANGER.rs256.public_jwk()).unwrap();
    let kid = |key: &ClientKey| json!(key.certificate.x5t());
    let token = good().sign(&ORDERS);
    let [header, payload, signature] = {
        let mut parts = token.split('.').map(str::to_owned);
        std::array::from_fn(|_| parts.next().unwrap())
    };
    let none = |alg: &str| {
        URL_SAFE_NO_PAD.encode(json!({"alg": alg, "typ": "JWT", "x5t#S256": ORDERS.certificate.x5t_s256()}).to_string())
    };
    let mut hostile: Vec<(String, String)> = Vec::new();
    let mut put = |case: &str, token: String| hostile.push((case.to_owned(), token));
    for alg in ["none", "None", "nOnE", ""] {
        put("alg none", format!("{}.{payload}.", none(alg)));
        put("alg none with the signature", format!("{}.{payload}.{signature}", none(alg)));
    }
    let spki = ORDERS.rs256.public_jwk().n.unwrap_or_default();
    for (case, key) in [
        ("the secret", secret("orders").into_bytes()),
        ("the certificate", ORDERS.der.clone()),
        ("the modulus", spki.into_bytes()),
        ("nothing", Vec::new()),
    ] {
        put(&format!("HS256 with {case}"), good().header("alg", json!("HS256")).hmac(&key));
        put(&format!("PS256 that is HMAC with {case}"), good().hmac(&key));
    }
    for alg in ["RS384", "RS512", "PS384", "PS512", "ES256", "EdDSA", "ps256", "RSA-OAEP", "dir"] {
        put(&format!("alg {alg}"), good().header("alg", json!(alg)).sign_with(&ORDERS.ps256));
    }
    put("RS256 said, PS256 signed", good().header("alg", json!("RS256")).sign_with(&ORDERS.ps256));
    put("PS256 said, RS256 signed", good().sign_with(&ORDERS.rs256));
    put("another application's key", good().sign(&RIVAL));
    put(
        "another application's certificate",
        good().header("x5t#S256", json!(RIVAL.certificate.x5t_s256())).sign(&RIVAL),
    );
    put("a stranger's certificate", good().header("x5t#S256", json!(STRANGER.certificate.x5t_s256())).sign(&STRANGER));
    put("a stranger's key under our thumbprint", known().sign(&STRANGER));
    put("a stranger's x5c", known().header("x5c", x5c(&STRANGER)).sign(&STRANGER));
    put("a stranger's x5c alone", good().header("x5t#S256", Value::Null).header("x5c", x5c(&STRANGER)).sign(&STRANGER));
    put("our x5c, a stranger's key", known().header("x5c", x5c(&ORDERS)).sign(&STRANGER));
    put("a stranger's jwk", known().header("jwk", jwk.clone()).sign(&STRANGER));
    put("a stranger's jwk alone", good().header("x5t#S256", Value::Null).header("jwk", jwk).sign(&STRANGER));
    put("jku", good().header("x5t#S256", Value::Null).header("jku", json!("https://evil.test/keys")).sign(&STRANGER));
    put("x5u", good().header("x5t#S256", Value::Null).header("x5u", json!("https://evil.test/c")).sign(&STRANGER));
    put("no thumbprint", good().header("x5t#S256", Value::Null).sign(&ORDERS));
    put("kid for a thumbprint", good().header("x5t#S256", Value::Null).header("kid", kid(&ORDERS)).sign(&ORDERS));
    for wrong in [
        json!(""),
        json!("="),
        json!("x"),
        json!(1),
        json!([]),
        json!(ORDERS.certificate.x5t()),
        json!({}),
        json!("../../key"),
    ] {
        put(&format!("x5t#S256 {wrong}"), good().header("x5t#S256", wrong).sign(&ORDERS));
    }
    put("thumbprints of two certificates", good().header("x5t", json!(EXPIRED.certificate.x5t())).sign(&ORDERS));
    put("an expired certificate", good().header("x5t#S256", json!(EXPIRED.certificate.x5t_s256())).sign(&EXPIRED));
    for typ in [json!("at+jwt"), json!("dpop+jwt"), json!(""), json!(1), json!("JWT "), json!("JWE")] {
        put(&format!("typ {typ}"), good().header("typ", typ).sign(&ORDERS));
    }
    put("crit", good().header("crit", json!(["exp"])).header("exp", json!(1)).sign(&ORDERS));
    put("b64", good().header("b64", json!(false)).header("crit", json!(["b64"])).sign(&ORDERS));
    put("cty", good().header("cty", json!("JWT")).sign(&ORDERS));
    let other = app("web").to_string();
    for name in ["iss", "sub"] {
        let mut wrong =
            vec![Value::Null, json!(""), json!(other), json!(1), json!([id]), json!({}), json!(format!("{id} "))];
        wrong.push(json!("orders"));
        for value in wrong {
            put(&format!("{name} {value}"), good().claim(name, value).sign(&ORDERS));
        }
    }
    put("iss and sub of another", good().claim("iss", json!(other)).claim("sub", json!(other)).sign(&ORDERS));
    let ours = format!("{HOST}/{CONTOSO}/oauth2/v2.0/token");
    for aud in [
        Value::Null,
        json!(""),
        json!(HOST),
        json!(format!("{HOST}/")),
        json!(format!("{ours}/")),
        json!(format!("{ours}?x")),
        json!(format!("{ours}#x")),
        json!(format!(" {ours}")),
        json!(ours.replace("https", "http")),
        json!(ours.replace(":8443", "")),
        json!(ours.replace("login", "evil")),
        json!(ours.to_uppercase()),
        json!(format!("{HOST}/{FABRIKAM}/oauth2/v2.0/token")),
        json!(format!("{HOST}/common/oauth2/v2.0/token")),
        json!(format!("{HOST}/{CONTOSO}/oauth2/v2.0/authorize")),
        json!(id),
        json!("api://orders"),
        json!("api://AzureADTokenExchange"),
        json!("https://login.microsoftonline.com/common/oauth2/v2.0/token"),
        json!([ours, "https://other.example/token"]),
        json!([ours, ours]),
        json!([ours, 1]),
        json!([]),
        json!([[ours]]),
        json!({"aud": ours}),
        json!(true),
    ] {
        put(&format!("aud {aud}"), good().claim("aud", aud).sign(&ORDERS));
    }
    let now = NOON.0;
    for exp in [
        Value::Null,
        json!(""),
        json!("soon"),
        json!(now - 60),
        json!(now - 61),
        json!(0),
        json!(-1),
        json!(now + 1_861),
        json!(now + 3_600),
        json!(now + 315_360_000),
        json!(now * 1000),
        json!(1e300),
        json!("1e18"),
        json!(" 1800000600"),
        json!("0x6b49d458"),
        json!(true),
        json!([now + 600]),
        json!({}),
        json!(i64::MAX),
        json!(u64::MAX),
    ] {
        put(&format!("exp {exp}"), good().claim("exp", exp).sign(&ORDERS));
    }
    for nbf in [json!(now + 61), json!((now + 61).to_string()), json!("later"), json!(-1), json!([]), json!(u64::MAX)] {
        put(&format!("nbf {nbf}"), good().claim("nbf", nbf).sign(&ORDERS));
    }
    for (case, text) in [
        ("iss", good().claims.to_string().replacen('{', "{\"iss\":\"x\",", 1)),
        ("exp", good().claims.to_string().replacen('{', "{\"exp\":9999999999,", 1)),
        ("an escaped aud", good().claims.to_string().replacen('{', "{\"\\u0061ud\":\"x\",", 1)),
    ] {
        let token = sign(&ORDERS.ps256, good().header.to_string().as_bytes(), text.as_bytes());
        put(&format!("two members named {case}"), token);
    }
    let twice = good().header.to_string().replacen('{', "{\"alg\":\"none\",", 1);
    put("two members named alg", sign(&ORDERS.ps256, twice.as_bytes(), good().claims.to_string().as_bytes()));
    put("claims that are no object", sign(&ORDERS.ps256, good().header.to_string().as_bytes(), b"[]"));
    put(
        "trailing text",
        sign(&ORDERS.ps256, good().header.to_string().as_bytes(), format!("{}x", good().claims).as_bytes()),
    );
    for (case, text) in [
        ("nothing", String::new()),
        ("no token", "x".to_owned()),
        ("two segments", format!("{header}.{payload}")),
        ("no signature", format!("{header}.{payload}.")),
        ("four segments", format!("{token}.x")),
        ("five segments", format!("{header}.x.x.x.x")),
        ("a cut signature", token[..token.len() - 2].to_owned()),
        ("padding", format!("{token}=")),
        ("a space", format!("{token} ")),
        (
            "JSON serialization",
            json!({"payload": payload, "signatures": [{"protected": header, "signature": signature}]}).to_string(),
        ),
        ("another payload", format!("{header}.{}.{signature}", URL_SAFE_NO_PAD.encode("{}"))),
        ("a million bytes less", "a.".repeat(30_000)),
    ] {
        put(case, text);
    }
    assert_eq!(send(&world, &good().sign(&ORDERS)).await.status, 200, "the table would prove nothing");
    assert!(hostile.len() > 130, "{}", hostile.len());
    for (case, token) in &hostile {
        let answer = send(&world, token).await;
        assert!(matches!(answer.status.as_u16(), 400 | 401), "{case}: {} {}", answer.status, answer.text());
        let (_, error, ..) = answer.refused();
        assert!(error == "invalid_client" || error == "invalid_request", "{case}: {error}");
        assert!(token.len() < 40 || !answer.text().contains(&token[..40]), "{case}: the answer repeats the assertion");
    }
    for wrong in [
        "",
        "x",
        "urn:ietf:params:oauth:client-assertion-type:saml2-bearer",
        "urn:ietf:params:oauth:grant-type:jwt-bearer",
    ] {
        let form = [but(app_only(), "client_secret", None), vec![("client_assertion", token.clone())]].concat();
        let answer = world.token(but(form, "client_assertion_type", Some(wrong))).await;
        assert_eq!(answer.check(), "client.assertion_typed", "{wrong}");
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
