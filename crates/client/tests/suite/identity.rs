//! Certificates at the token endpoint, and ID tokens from it.
use crate::support::{Authority, Hands, NOON, build, issued, orders};
use client::{AuthorizationRequest, CertificateError, Client, Error, IdentityError};
use decision::Timestamp;
use jose::assertion::Certificate;
use jose::{Algorithm, Header, KeySet, SigningKey};
use oauth::{Form, Secret};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};

const ISSUER: &str = "https://login.example/contoso/v2.0";

fn pem(der: &[u8]) -> String {
    use base64::Engine;
    let body = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n")
}

#[tokio::test]
async fn a_certificate_signs_assertions_that_the_authority_can_verify() {
    let key = SigningKey::generate(Algorithm::PS256).unwrap();
    let der = key.self_signed("orders", Timestamp(NOON - 10), Timestamp(NOON + 10)).unwrap();
    let certificate = Arc::new(Certificate::from_der(&der).unwrap());
    let ids = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&ids);
    let authority = Authority::new(move |url, form| {
        assert_eq!(form.value("client_secret"), None, "one mechanism only");
        assert_eq!(form.value("client_assertion_type"), Some("urn:ietf:params:oauth:client-assertion-type:jwt-bearer"));
        let sent = form.value("client_assertion").unwrap();
        let assertion = jose::assertion::verify(sent, &[Arc::clone(&certificate)]).unwrap();
        assert_eq!((assertion.iss.as_str(), assertion.sub.as_str()), ("orders", "orders"));
        assert_eq!(assertion.aud, [url]);
        seen.lock().unwrap().push(assertion.jti.unwrap());
        issued("t", 3600)
    });
    let client = build(orders().certificate(key, &pem(&der)).unwrap(), &authority, &Hands::at(NOON));
    client.client_credentials("api://a/.default").await.unwrap();
    client.client_credentials("api://b/.default").await.unwrap();
    let ids = ids.lock().unwrap();
    assert!(ids.len() == 2 && ids[0] != ids[1], "each assertion has an id of its own");
}

#[test]
fn a_certificate_that_does_not_fit_its_key_is_refused_at_the_start() {
    let [key, other] = [Algorithm::PS256, Algorithm::PS256].map(|algorithm| SigningKey::generate(algorithm).unwrap());
    let der = key.self_signed("orders", Timestamp(0), Timestamp(1)).unwrap();
    assert_eq!(orders().certificate(other, &pem(&der)).err(), Some(CertificateError::AnotherKey));
    assert_eq!(orders().certificate(key, "no PEM").err(), Some(CertificateError::Unreadable));
}

/// Signs in at an authority that answers with this ID token, made from the nonce that was sent.
async fn sign_in(key: &SigningKey, known: &SigningKey, change: impl Fn(&mut Value)) -> Result<Value, Error> {
    let nonce = Arc::new(Mutex::new(String::new()));
    let answer = Arc::new(Mutex::new(Value::Null));
    let respond = Arc::clone(&answer);
    let authority = Authority::new(move |_, _| (200, respond.lock().unwrap().clone()));
    let keys = KeySet::from_keys(vec![known.verifying_key()]);
    let client: Client = build(orders().identity_keys(fetch::IssuerKeys::fixed(keys)), &authority, &Hands::at(NOON));
    let request = AuthorizationRequest {
        redirect_uri: "http://localhost/cb",
        scopes: &["openid"],
        ..AuthorizationRequest::default()
    };
    let (url, pending) = client.authorization_code_url(request).unwrap();
    let question = Form::decode(url.split_once('?').unwrap().1.as_bytes()).unwrap();
    question.value("nonce").unwrap().clone_into(&mut nonce.lock().unwrap());
    let mut claims = json!({"iss": ISSUER, "aud": "orders", "sub": "ada", "iat": NOON, "nbf": NOON, "exp": NOON + 3600,
        "nonce": *nonce.lock().unwrap()});
    change(&mut claims);
    let id_token = key.sign(&Header::typ("JWT"), claims.to_string().as_bytes()).unwrap();
    *answer.lock().unwrap() =
        json!({"token_type": "Bearer", "expires_in": 60, "access_token": "t", "id_token": id_token});
    let back = Form::default().with("code", "c").with("state", question.value("state").unwrap());
    Ok(Value::Object(client.redeem_code(pending, &back).await?.identity.unwrap()))
}

#[tokio::test]
async fn an_id_token_is_believed_only_if_every_rule_holds() {
    let [key, other] = [(); 2].map(|()| SigningKey::generate(Algorithm::ES256).unwrap().named("k"));
    assert_eq!(sign_in(&key, &key, |_| ()).await.unwrap()["sub"], "ada");
    let list = |claims: &mut Value| claims["aud"] = json!(["orders"]);
    assert!(sign_in(&key, &key, list).await.is_ok());
    let hostile: [(&str, Value, IdentityError); 23] = [
        ("iss", json!("https://login.example/other/v2.0"), IdentityError::Issuer),
        ("iss", Value::Null, IdentityError::Issuer),
        ("aud", json!("billing"), IdentityError::Audience),
        ("aud", json!(["orders", "billing"]), IdentityError::Audience),
        ("aud", json!([]), IdentityError::Audience),
        ("aud", Value::Null, IdentityError::Audience),
        ("exp", json!(NOON - 60), IdentityError::Time),
        ("exp", json!("9999999999"), IdentityError::Time),
        ("exp", Value::Null, IdentityError::Time),
        ("nbf", json!(NOON + 61), IdentityError::Time),
        ("nonce", json!("replayed"), IdentityError::Nonce),
        ("nonce", Value::Null, IdentityError::Nonce),
        ("idtyp", json!("user"), IdentityError::Kind),
        ("scp", json!("access_as_user"), IdentityError::Kind),
        ("scope", json!("openid"), IdentityError::Kind),
        ("events", json!({"http://schemas.openid.net/event/backchannel-logout": {}}), IdentityError::Kind),
        ("token_introspection", json!({"active": true}), IdentityError::Kind),
        ("azpacr", json!("1"), IdentityError::Kind),
        ("appidacr", json!("1"), IdentityError::Kind),
        ("appid", json!("orders"), IdentityError::Kind),
        ("sub", Value::Null, IdentityError::Kind),
        ("sub", json!(""), IdentityError::Kind),
        ("sub", json!(7), IdentityError::Kind),
    ];
    for (claim, value, expected) in hostile {
        let refused = sign_in(&key, &key, |claims| claims[claim] = value.clone()).await;
        assert_eq!(refused, Err(Error::Identity(expected)), "{claim} = {value}");
    }
    let forged = sign_in(&other, &key, |_| ()).await;
    assert_eq!(forged, Err(Error::Identity(IdentityError::Signature)), "the right kid, the wrong key");
    let unnamed = SigningKey::generate(Algorithm::ES256).unwrap();
    assert_eq!(sign_in(&unnamed, &key, |_| ()).await, Err(Error::Identity(IdentityError::Signature)));
}

/// What an application brings that signed its user in by itself: a token of the authority's for this client.
async fn brought(typ: Option<&str>, change: impl Fn(&mut Value)) -> Result<(), Error> {
    let key = SigningKey::generate(Algorithm::ES256).unwrap().named("k");
    let keys = KeySet::from_keys(vec![key.verifying_key()]);
    let authority = Authority::new(|_, _| issued("t", 60));
    let client = build(orders().identity_keys(fetch::IssuerKeys::fixed(keys)), &authority, &Hands::at(NOON));
    let mut claims =
        json!({"iss": ISSUER, "aud": "orders", "sub": "ada", "iat": NOON, "nbf": NOON, "exp": NOON + 3600});
    change(&mut claims);
    let header = Header { typ: typ.map(str::to_owned), ..Header::default() };
    let token = key.sign(&header, claims.to_string().as_bytes()).unwrap();
    client.verify_id_token(&Secret::new(token)).await.map(|_| ())
}

/// Entra's token for an application alone, of which no claim says that it is one.
fn of_an_application(claims: &mut Value) {
    for (name, value) in [("azp", "portal"), ("oid", "o-portal"), ("sub", "o-portal"), ("ver", "2.0")] {
        claims[name] = json!(value);
    }
}

#[tokio::test]
async fn a_token_of_another_kind_signs_nobody_in_whoever_brings_it() {
    for typ in [None, Some("JWT"), Some("jwt")] {
        assert_eq!(brought(typ, |_| ()).await, Ok(()), "{typ:?}");
    }
    let kind = Err(Error::Identity(IdentityError::Kind));
    for typ in ["at+jwt", "application/at+jwt", "logout+jwt", "secevent+jwt", "token-introspection+jwt"] {
        assert_eq!(brought(Some(typ), |_| ()).await, kind, "{typ}");
    }
    assert_eq!(brought(Some("JWT"), of_an_application).await, kind);
    // Whom a token was issued to stands in those of users too (OpenID Connect Core section 2).
    assert_eq!(brought(Some("JWT"), |claims| claims["azp"] = json!("the-app-on-the-phone")).await, Ok(()));
    let user = |claims: &mut Value| {
        of_an_application(claims);
        claims["sub"] = json!("pairwise");
    };
    assert_eq!(brought(Some("JWT"), user).await, Ok(()));
    // Where a person's identifier is the object's everywhere: no `azp`, or a sign-in that it answers.
    let of_a_person = |claims: &mut Value| claims["oid"] = claims["sub"].clone();
    assert_eq!(brought(Some("JWT"), of_a_person).await, Ok(()));
    let key = SigningKey::generate(Algorithm::ES256).unwrap().named("k");
    assert!(sign_in(&key, &key, of_an_application).await.is_ok());
}

#[tokio::test]
async fn times_with_fractions_are_cut_off() {
    let with = |name: &'static str, seconds: f64| brought(None, move |claims| claims[name] = json!(seconds));
    let noon = f64::from(i32::try_from(NOON).unwrap());
    for (name, seconds) in [("iat", noon + 0.5), ("nbf", noon + 60.5), ("exp", noon - 58.5)] {
        assert_eq!(with(name, seconds).await, Ok(()), "{name} = {seconds}");
    }
    for (name, seconds) in [("nbf", noon + 61.5), ("exp", noon - 59.5), ("nbf", 1e300)] {
        assert_eq!(with(name, seconds).await, Err(Error::Identity(IdentityError::Time)), "{name} = {seconds}");
    }
}

#[tokio::test]
async fn an_id_token_that_was_asked_for_and_is_missing_is_an_error() {
    let authority = Authority::new(|_, _| issued("t", 60));
    let client = build(orders(), &authority, &Hands::at(NOON));
    let request =
        AuthorizationRequest { redirect_uri: "http://localhost/cb", scopes: &["openid"], ..Default::default() };
    let (url, pending) = client.authorization_code_url(request).unwrap();
    let question = Form::decode(url.split_once('?').unwrap().1.as_bytes()).unwrap();
    let back = Form::default().with("code", "c").with("state", question.value("state").unwrap());
    assert!(matches!(client.redeem_code(pending, &back).await, Err(Error::Answer(_))));
}
