use super::{AssertionRefusal, Certificate, ClientAssertion, peek_issuer, sign, verify};
use crate::{Algorithm, JsonFault, KeyError, Refusal, SigningKey, base64url};
use base64::Engine as _;
use decision::{CheckId, Timestamp};
use serde_json::{Value, json};
use std::sync::Arc;

const NOW: i64 = 1_750_000_000;

/// A client: its key under both algorithms, its certificate, and one more that it has registered.
struct Client {
    rs256: SigningKey,
    ps256: SigningKey,
    certificate: Arc<Certificate>,
    der: Vec<u8>,
    registered: Vec<Arc<Certificate>>,
}

fn certificate(key: &SigningKey) -> (Vec<u8>, Arc<Certificate>) {
    let der = key.self_signed("orders", Timestamp(NOW - 1000), Timestamp(NOW + 1000)).unwrap();
    let certificate = Arc::new(Certificate::from_der(&der).unwrap());
    (der, certificate)
}

fn client() -> Client {
    let rs256 = SigningKey::generate(Algorithm::RS256).unwrap();
    let ps256 = SigningKey::from_pkcs8(Algorithm::PS256, rs256.pkcs8()).unwrap();
    let (der, ours) = certificate(&rs256);
    let (_, older) = certificate(&SigningKey::generate(Algorithm::RS256).unwrap());
    Client { rs256, ps256, der, registered: vec![older, Arc::clone(&ours)], certificate: ours }
}

impl Client {
    fn judge(&self, text: &str) -> Result<ClientAssertion, AssertionRefusal> {
        verify(text, &self.registered)
    }

    /// PS256 with `x5t#S256`, but for the edits.
    fn token(&self, header: Value, claims: Value) -> String {
        let good = json!({ "alg": "PS256", "typ": "JWT", "x5t#S256": self.certificate.x5t_s256() });
        token(&self.ps256, edited(good, header), edited(claims_of_a_client(), claims))
    }
}

fn claims_of_a_client() -> Value {
    json!({ "iss": "orders", "sub": "orders", "aud": "https://login.example/t/oauth2/v2.0/token", "jti": "1", "exp": NOW + 600 })
}

/// `null` in an edit removes the member.
fn edited(mut good: Value, edits: Value) -> Value {
    for (name, value) in edits.as_object().unwrap() {
        good[name] = value.clone();
        if value.is_null() {
            good.as_object_mut().unwrap().remove(name);
        }
    }
    good
}

fn token(key: &SigningKey, header: Value, claims: Value) -> String {
    key.sign_octets(header.to_string().as_bytes(), claims.to_string().as_bytes()).unwrap()
}

#[test]
fn what_msal_python_sends_is_accepted() {
    // Fractional times, a padded thumbprint, line ends within `x5c`, no `nbf`.
    let client = client();
    let x5c = base64url::encode_standard(&client.der);
    let lines: Vec<&str> = x5c.as_bytes().chunks(64).map(|c| std::str::from_utf8(c).unwrap()).collect();
    let header = json!({ "alg": "PS256", "typ": "JWT", "x5t#S256": format!("{}=", client.certificate.x5t_s256()),
        "x5c": [lines.join("\n")] });
    let claims = edited(claims_of_a_client(), json!({ "exp": 1_750_000_600.75, "iat": 1_750_000_000.25 }));
    let found = client.judge(&token(&client.ps256, header, claims)).unwrap();
    assert_eq!((found.exp, found.iat, found.nbf), (Timestamp(NOW + 600), Some(Timestamp(NOW)), None));
    assert_eq!((found.algorithm, found.thumbprint.as_str()), (Algorithm::PS256, client.certificate.x5t_s256()));
    assert_eq!(found.certificate_not_before, Timestamp(NOW - 1000));
    assert_eq!(found.certificate_not_after, Timestamp(NOW + 1000));
}

#[test]
fn what_msal_net_sends_is_accepted() {
    // Times as strings, no `iat`, `x5c` as one string.
    let client = client();
    let header = json!({ "x5c": base64url::encode_standard(&client.der) });
    let claims = json!({ "exp": (NOW + 600).to_string(), "nbf": NOW.to_string() });
    let found = client.judge(&client.token(header, claims)).unwrap();
    assert_eq!((found.exp, found.nbf, found.iat), (Timestamp(NOW + 600), Some(Timestamp(NOW)), None));
}

#[test]
fn what_azure_identity_for_python_sends_is_accepted() {
    // RS256 with a SHA-1 thumbprint, padded.
    let client = client();
    let header = json!({ "alg": "RS256", "typ": "JWT", "x5t": format!("{}=", client.certificate.x5t()) });
    let found = client.judge(&token(&client.rs256, header, claims_of_a_client())).unwrap();
    assert_eq!((found.algorithm, found.jti.as_deref()), (Algorithm::RS256, Some("1")));
}

#[test]
fn what_azure_identity_for_asynchronous_python_sends_is_accepted() {
    // Every segment padded, before and after signing.
    let client = client();
    let padded = |octets: &[u8]| base64::engine::general_purpose::URL_SAFE.encode(octets);
    let header = json!({ "typ": "JWT", "alg": "PS256", "x5t#S256": format!("{}=", client.certificate.x5t_s256()) });
    // One octet more until both need padding.
    let of = |value: &Value| {
        (0..3).map(|n| format!("{value}{}", " ".repeat(n))).find(|t| padded(t.as_bytes()).ends_with('=')).unwrap()
    };
    let signed = format!("{}.{}", padded(of(&header).as_bytes()), padded(of(&claims_of_a_client()).as_bytes()));
    let signature = padded(&client.ps256.sign_message(signed.as_bytes()).unwrap());
    let text = format!("{signed}.{signature}");
    assert_eq!(client.judge(&text).unwrap().exp, Timestamp(NOW + 600));
    assert_eq!(peek_issuer(&text).unwrap(), "orders");
    // What was signed without padding gets none later, and none of this one's is taken away.
    let plain = (0..3).map(|n| client.token(json!({ "kid": "x".repeat(n) }), json!({})));
    let plain = plain.into_iter().find(|text| text.find('.').is_some_and(|at| !at.is_multiple_of(4))).unwrap();
    for variant in [
        format!("{signed}.{}", signature.trim_end_matches('=')),
        format!("{text}="),
        format!("{text}===="),
        text.replace('=', ""),
        format!("{plain}=="),
        plain
            .split('.')
            .map(|segment| format!("{segment}{}", "=".repeat((4 - segment.len() % 4) % 4)))
            .collect::<Vec<_>>()
            .join("."),
    ] {
        assert!(client.judge(&variant).is_err(), "{variant}");
    }
}

#[test]
fn what_our_own_client_sends_is_accepted() {
    let client = client();
    let text = sign(&client.ps256, &client.certificate, "orders", "https://aud", "id", Timestamp(NOW)).unwrap();
    let found = client.judge(&text).unwrap();
    assert_eq!(
        (found.iss.as_str(), found.sub.as_str(), found.aud.as_slice()),
        ("orders", "orders", &["https://aud".to_owned()][..])
    );
    assert_eq!((found.exp, found.nbf, found.iat), (Timestamp(NOW + 600), Some(Timestamp(NOW)), Some(Timestamp(NOW))));
    assert_eq!(peek_issuer(&text).unwrap(), "orders");
}

#[test]
fn lenient_headers_and_claims_are_accepted() {
    let client = client();
    let headers = [
        json!({ "typ": null }),
        json!({ "typ": "jwt" }),
        json!({ "typ": "http://openid.net/specs/jwt/1.0" }),
        json!({ "x5t": client.certificate.x5t() }),
        json!({ "kid": "anything" }),
        // As platforms name the private keys that they hand out.
        json!({ "x5t#S256": null, "kid": client.certificate.x5t() }),
        json!({ "x5t#S256": null, "kid": client.certificate.x5t_s256() }),
    ];
    for header in headers {
        assert!(client.judge(&client.token(header.clone(), json!({}))).is_ok(), "{header}");
    }
    for claims in
        [json!({ "jti": null }), json!({ "aud": ["a", "b"] }), json!({ "x": [1] }), json!({ "exp": "1750000600.9" })]
    {
        assert!(client.judge(&client.token(json!({}), claims.clone())).is_ok(), "{claims}");
    }
}

#[test]
fn headers_that_are_refused() {
    let client = client();
    let stranger = SigningKey::generate(Algorithm::PS256).unwrap();
    let (der, unregistered) = certificate(&SigningKey::from_pkcs8(Algorithm::RS256, stranger.pkcs8()).unwrap());
    let older = client.registered.first().unwrap();
    let table = [
        (json!({ "typ": "at+jwt" }), AssertionRefusal::Type, CheckId::ClientAssertionTyped),
        (json!({ "typ": "" }), AssertionRefusal::Type, CheckId::ClientAssertionTyped),
        (json!({ "alg": "none" }), AssertionRefusal::Algorithm, CheckId::ClientAssertionAlgorithm),
        (json!({ "alg": "HS256" }), AssertionRefusal::Algorithm, CheckId::ClientAssertionAlgorithm),
        (json!({ "alg": "RS384" }), AssertionRefusal::Algorithm, CheckId::ClientAssertionAlgorithm),
        (json!({ "alg": "PS512" }), AssertionRefusal::Algorithm, CheckId::ClientAssertionAlgorithm),
        (json!({ "alg": "ES256" }), AssertionRefusal::Algorithm, CheckId::ClientAssertionAlgorithm),
        (json!({ "alg": "ps256" }), AssertionRefusal::Algorithm, CheckId::ClientAssertionAlgorithm),
        (json!({ "x5t#S256": null }), AssertionRefusal::Thumbprint, CheckId::ClientAssertionKey),
        (
            json!({ "x5t#S256": null, "kid": client.ps256.kid() }),
            AssertionRefusal::Thumbprint,
            CheckId::ClientAssertionKey,
        ),
        (
            json!({ "x5t#S256": null, "kid": unregistered.x5t() }),
            AssertionRefusal::Thumbprint,
            CheckId::ClientAssertionKey,
        ),
        (
            json!({ "x5t#S256": null, "kid": older.x5t_s256() }),
            Refusal::Signature.into(),
            CheckId::ClientAssertionSignature,
        ),
        // A certificate by its thumbprint, and another as `kid`: the thumbprint counts.
        (
            json!({ "x5t#S256": unregistered.x5t_s256(), "kid": client.certificate.x5t() }),
            AssertionRefusal::Certificate,
            CheckId::ClientAssertionKey,
        ),
        (json!({ "x5t#S256": "" }), AssertionRefusal::Certificate, CheckId::ClientAssertionKey),
        (json!({ "x5t#S256": unregistered.x5t_s256() }), AssertionRefusal::Certificate, CheckId::ClientAssertionKey),
        // Each of the two names a registered certificate, but not the same.
        (json!({ "x5t": older.x5t() }), AssertionRefusal::Certificate, CheckId::ClientAssertionKey),
        (json!({ "x5t#S256": client.certificate.x5t() }), AssertionRefusal::Certificate, CheckId::ClientAssertionKey),
        (json!({ "x5t#S256": older.x5t_s256() }), Refusal::Signature.into(), CheckId::ClientAssertionSignature),
        // The other of the two algorithms, over a valid signature of the first.
        (json!({ "alg": "RS256" }), Refusal::Signature.into(), CheckId::ClientAssertionSignature),
        (json!({ "crit": ["exp"] }), Refusal::Extension("crit").into(), CheckId::ClientAssertionClaims),
        (json!({ "x5t#S256": 1 }), Refusal::HeaderMember("x5t#S256").into(), CheckId::ClientAssertionClaims),
    ];
    for (header, refusal, check) in table {
        let found = client.judge(&client.token(header.clone(), json!({}))).unwrap_err();
        assert_eq!((found, found.check()), (refusal, check), "{header}");
    }
    // The attacker's certificate comes along, under our thumbprint or under its own.
    for (thumbprint, refusal) in [
        (client.certificate.x5t_s256(), Refusal::Signature.into()),
        (unregistered.x5t_s256(), AssertionRefusal::Certificate),
    ] {
        let header = json!({ "alg": "PS256", "x5t#S256": thumbprint, "x5c": [base64url::encode_standard(&der)] });
        let text = token(&stranger, header, claims_of_a_client());
        assert_eq!(client.judge(&text).unwrap_err(), refusal);
    }
    assert_eq!(verify(&client.token(json!({}), json!({})), &[]).unwrap_err(), AssertionRefusal::Certificate);
}

#[test]
fn claims_that_are_refused() {
    let client = client();
    let late = "9".repeat(15);
    let times = [
        json!("soon"),
        json!(""),
        json!(" 1750000600"),
        json!("+1750000600"),
        json!("1e9"),
        json!("inf"),
        json!("-1"),
        json!("1.2.3"),
        json!(".5"),
        json!(-1),
        json!(1e300),
        json!(late),
        json!(true),
        json!([NOW]),
        json!({}),
        json!(253_402_300_800_i64),
    ];
    for value in times {
        for name in ["exp", "nbf", "iat"] {
            let found = client.judge(&client.token(json!({}), json!({ name: value }))).unwrap_err();
            assert_eq!(
                (found, found.check()),
                (AssertionRefusal::Claim(name), CheckId::ClientAssertionClaims),
                "{name} {value}"
            );
        }
    }
    let table = [
        ("exp", Value::Null),
        ("iss", Value::Null),
        ("sub", Value::Null),
        ("aud", Value::Null),
        ("iss", json!("")),
        ("iss", json!(["orders"])),
        ("sub", json!(1)),
        ("sub", json!("a\u{0}")),
        ("aud", json!([])),
        ("aud", json!([1])),
        ("aud", json!(true)),
        ("jti", json!(1)),
        ("jti", json!("")),
    ];
    for (name, value) in table {
        let found = client.judge(&client.token(json!({}), json!({ name: value }))).unwrap_err();
        assert_eq!(found, AssertionRefusal::Claim(name), "{name} {value}");
    }
    // `null` stands in the text.
    let header = json!({ "alg": "PS256", "x5t#S256": client.certificate.x5t_s256() }).to_string();
    for name in ["nbf", "iat", "jti"] {
        let mut claims = claims_of_a_client();
        claims[name] = Value::Null;
        let text = client.ps256.sign_octets(header.as_bytes(), claims.to_string().as_bytes()).unwrap();
        assert_eq!(client.judge(&text).unwrap_err(), AssertionRefusal::Claim(name));
    }
    let twice = claims_of_a_client().to_string().replacen('{', "{\"iss\":\"x\",", 1);
    let text = client.ps256.sign_octets(header.as_bytes(), twice.as_bytes()).unwrap();
    assert_eq!(client.judge(&text).unwrap_err(), Refusal::Claims(JsonFault::Duplicate).into());
}

#[test]
fn an_unverified_issuer_can_be_read_from_what_is_a_token_only() {
    assert!(peek_issuer("x").is_err() && peek_issuer("").is_err() && peek_issuer("a.b.c").is_err());
    let client = client();
    assert_eq!(peek_issuer(&client.token(json!({}), json!({ "iss": 1 }))), Err(AssertionRefusal::Claim("iss")));
}

#[test]
fn certificates_of_other_kinds_of_key_are_refused() {
    let key = SigningKey::generate(Algorithm::ES256).unwrap();
    let der = key.self_signed("orders", Timestamp(0), Timestamp(1)).unwrap();
    assert_eq!(Certificate::from_der(&der).err(), Some(KeyError::AlgorithmMismatch));
    assert_eq!(Certificate::from_der(b"").err(), Some(KeyError::Certificate));
    assert_eq!(Certificate::from_pem("x").err(), Some(KeyError::Certificate));
    let (der, read) = certificate(&SigningKey::generate(Algorithm::RS256).unwrap());
    let pem = format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", base64url::encode_standard(der));
    assert_eq!(Certificate::from_pem(&pem).unwrap().x5t(), read.x5t());
}
