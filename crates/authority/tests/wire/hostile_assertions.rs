//! Client assertions that must be refused (A-15's table, R1 at `client_assertion`).
use super::assertions::{good, send};
use super::clients::app_only;
use crate::world::estate::{CONTOSO, FABRIKAM, app, key_credential, secret};
use crate::world::keys::{ClientKey, EXPIRED, ORDERS, RIVAL, STRANGER, sign};
use crate::world::{HOST, NOON, World, but};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

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
    // A `kid` may be the thumbprint of a registered certificate (spec/sidecar.md section 2.8), and of no other.
    put(
        "our kid, a stranger's key",
        good().header("x5t#S256", Value::Null).header("kid", kid(&ORDERS)).sign(&STRANGER),
    );
    put("a stranger's kid", good().header("x5t#S256", Value::Null).header("kid", kid(&STRANGER)).sign(&STRANGER));
    put("another application's kid", good().header("x5t#S256", Value::Null).header("kid", kid(&RIVAL)).sign(&RIVAL));
    put("our kid beside a stranger's thumbprint", {
        let thumbprint = json!(STRANGER.certificate.x5t_s256());
        good().header("x5t#S256", thumbprint).header("kid", kid(&ORDERS)).sign(&ORDERS)
    });
    put("no kid in a kid", good().header("x5t#S256", Value::Null).header("kid", json!("")).sign(&ORDERS));
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
