//! Tokens that an issuer signs with a key that it shares with one API (`issuer_signing_keys`): what such a key confirms, and what no
//! trick with it does.
use crate::support::{ISS, NOON, ORDERS, Seen, World};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jose::{Algorithm, Header, SigningKey};
use serde_json::{Value, json};
use sha2::{Digest, Sha256, Sha384, Sha512};

/// Two keys, in Base64.
const SHARED: &str = "c2hhcmVkLXNoYXJlZC1zaGFyZWQtc2hhcmVkLXNoYXJlZC1zaGFyZWQtc2hhcmVkLXNoYXJlZC1zaGFyZWQ=";
const NEXT: &str = "bmV4dC1uZXh0LW5leHQtbmV4dC1uZXh0LW5leHQtbmV4dC1uZXh0LW5leHQtbmV4dC1uZXh0LW5leHQtbmV4dA==";

fn key(text: &str) -> Vec<u8> {
    base64::engine::general_purpose::STANDARD.decode(text).unwrap()
}

/// RFC 2104.
fn hmac(algorithm: &str, key: &[u8], message: &[u8]) -> Vec<u8> {
    fn with<D: Digest>(block: usize, key: &[u8], message: &[u8]) -> Vec<u8> {
        let mut padded = if key.len() > block { D::digest(key).to_vec() } else { key.to_vec() };
        padded.resize(block, 0);
        let pad = |byte: u8| padded.iter().map(|b| b ^ byte).collect::<Vec<u8>>();
        let inner = D::new().chain_update(pad(0x36)).chain_update(message).finalize();
        D::new().chain_update(pad(0x5c)).chain_update(inner).finalize().to_vec()
    }
    match algorithm {
        "HS384" => with::<Sha384>(128, key, message),
        "HS512" => with::<Sha512>(128, key, message),
        _ => with::<Sha256>(64, key, message),
    }
}

fn token(header: &Value, claims: &Value, key: &[u8]) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(header), part(claims));
    let tag = hmac(header["alg"].as_str().unwrap_or_default(), key, signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag))
}

fn claims(changes: &Value) -> Value {
    let mut all = json!({"iss": ISS, "aud": "api://orders", "exp": NOON.0 + 600});
    for (name, value) in changes.as_object().unwrap() {
        all[name] = value.clone();
    }
    all.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    all
}

fn file(policy: &str) -> String {
    let (before, after) = ORDERS.split_once("[api.policies.validate_jwt]").unwrap();
    let after = after.split_once("[[api.operation]]").unwrap().1;
    format!("{before}[api.policies.validate_jwt]\naudiences = [\"api://orders\"]\n{policy}\n[[api.operation]]{after}")
}

const KEYS: &str = "issuer = \"{iss}\"\nissuer_signing_keys = [{ id = \"one\", key = { file = \"shared\" } }, { key = { file = \"next\" } }]";

async fn world(policy: &str) -> World {
    let world = World::start(ORDERS).await;
    for (name, text) in [("shared", SHARED), ("next", NEXT), ("short", "c2hvcnQ="), ("odd", "no Base64!")] {
        std::fs::write(world.folder().join(name), text).unwrap();
    }
    world.reload(&file(policy)).unwrap();
    world
}

async fn asked(world: &World, token: &str) -> (u16, String) {
    let answer = world.get("/", &[("authorization", &format!("Bearer {token}"))]).await;
    if answer.status == 200 { (200, String::new()) } else { answer.reason() }
}

#[tokio::test]
async fn a_token_of_a_shared_key_passes_and_keys_are_replaced_one_after_the_other() {
    let world = world(&format!("{KEYS}\n[[api.policies.set_header]]\nname = \"X-Sub\"\nclaim = \"sub\"")).await;
    let head = |kid: Option<&str>| match kid {
        Some(kid) => json!({"alg": "HS256", "typ": "JWT", "kid": kid}),
        None => json!({"alg": "HS256"}),
    };
    for (kid, with) in [(Some("one"), SHARED), (None, SHARED), (None, NEXT), (Some("any"), NEXT)] {
        let token = token(&head(kid), &claims(&json!({})), &key(with));
        assert_eq!(asked(&world, &token).await, (200, String::new()), "{kid:?}");
    }
    assert!(world.service.seen().iter().all(|seen| !seen.contains("x-sub")), "what it does not say, nobody else does");
    world.service.forget();
    let ada = token(&head(None), &claims(&json!({"sub": "ada", "nbf": NOON.0, "iat": NOON.0})), &key(SHARED));
    assert_eq!(asked(&world, &ada).await.0, 200);
    assert_eq!(Seen(world.service.seen().remove(0)).field("x-sub"), ["ada"]);
    // Whoever signs with the key says what its claims are worth, a tenant too.
    let of_a_tenant = token(&head(None), &claims(&json!({"tid": "t9"})), &key(SHARED));
    assert_eq!(asked(&world, &of_a_tenant).await.0, 200);
    // A name that is another key's.
    assert_eq!(asked(&world, &token(&head(Some("two")), &claims(&json!({})), &key(SHARED))).await.0, 401);
    assert_eq!(world.issuer.key_fetches(), 0);
}

#[tokio::test]
async fn j_what_no_shared_key_confirms_is_refused_by_its_reason() {
    let world = world(KEYS).await;
    let usual = json!({"alg": "HS256", "typ": "JWT", "kid": "one"});
    let head = |name: &str, value: Value| {
        let mut header = usual.clone();
        header[name] = value;
        header
    };
    let signed = |header: &Value, changes: Value| token(header, &claims(&changes), &key(SHARED));
    let good = signed(&usual, json!({}));
    assert_eq!(asked(&world, &good).await.0, 200);
    let asymmetric = SigningKey::generate(Algorithm::ES256).unwrap();
    let public = asymmetric.sign(&Header::typ("JWT"), claims(&json!({})).to_string().as_bytes()).unwrap();
    let (body, tag) = good.rsplit_once('.').unwrap();
    let (first, rest) = body.split_once('.').unwrap();
    let twice = format!(
        "{first}.{}",
        URL_SAFE_NO_PAD.encode(format!("{{\"sub\":\"a\",\"sub\":\"b\",{}", &claims(&json!({})).to_string()[1..]))
    );
    let twice = format!("{twice}.{}", URL_SAFE_NO_PAD.encode(hmac("HS256", &key(SHARED), twice.as_bytes())));
    for (what, text, reason) in [
        ("a long one", signed(&usual, json!({"sub": "s".repeat(12_500)})), "JwtInvalid"),
        ("another key", token(&usual, &claims(&json!({})), &[9; 64]), "TokenSignatureInvalid"),
        ("an empty key", token(&usual, &claims(&json!({})), b""), "TokenSignatureInvalid"),
        ("the issuer as the key", token(&usual, &claims(&json!({})), ISS.as_bytes()), "TokenSignatureInvalid"),
        ("the Base64 as the key", token(&usual, &claims(&json!({})), SHARED.as_bytes()), "TokenSignatureInvalid"),
        ("no signature", format!("{body}."), "JwtInvalid"),
        ("half of it", format!("{body}.{}", &tag[..20]), "TokenSignatureInvalid"),
        (
            "other claims",
            format!("{first}.{}.{tag}", URL_SAFE_NO_PAD.encode(claims(&json!({"sub": "eve"})).to_string())),
            "TokenSignatureInvalid",
        ),
        ("another hash", signed(&head("alg", json!("HS512")), json!({})), "TokenSignatureInvalid"),
        ("none", signed(&head("alg", json!("none")), json!({})), "TokenSignatureInvalid"),
        ("an asymmetric key", public, "TokenSignatureInvalid"),
        ("crit", signed(&head("crit", json!(["exp"])), json!({})), "JwtInvalid"),
        ("a proof", signed(&head("typ", json!("dpop+jwt")), json!({})), "TokenTypeNotAllowed"),
        ("a logout token", signed(&head("typ", json!("logout+jwt")), json!({})), "TokenTypeNotAllowed"),
        ("a claim twice", twice, "JwtInvalid"),
        ("expired", signed(&usual, json!({"exp": NOON.0 - 61})), "TokenExpired"),
        ("endless", signed(&usual, json!({"exp": null})), "TokenClaimNotFound"),
        ("an end that is text", signed(&usual, json!({"exp": "9999999999"})), "TokenClaimNotFound"),
        ("early", signed(&usual, json!({"nbf": NOON.0 + 61})), "TokenNotYetValid"),
        ("too long a life", signed(&usual, json!({"exp": NOON.0 + 90_000})), "TokenLifetimeNotAllowed"),
        ("another API", signed(&usual, json!({"aud": "api://other"})), "TokenAudienceNotAllowed"),
        ("no API", signed(&usual, json!({"aud": null})), "TokenClaimNotFound"),
        ("another issuer", signed(&usual, json!({"iss": "https://evil.example"})), "TokenIssuerNotAllowed"),
        ("no issuer", signed(&usual, json!({"iss": null})), "TokenIssuerNotAllowed"),
        ("bound to a key", signed(&usual, json!({"cnf": {"jkt": "x"}})), "TokenClaimValueNotAllowed"),
        ("too large", signed(&usual, json!({"x": "y".repeat(20_000)})), "JwtInvalid"),
        ("rubbish", rest.to_owned(), "JwtInvalid"),
    ] {
        let (status, found) = asked(&world, &text).await;
        assert!(status == 401 || status == 400, "{what}: {status}");
        assert_eq!(found, reason, "{what}");
    }
    assert_eq!(world.service.seen().len(), 1);
}

#[tokio::test]
async fn keys_that_are_none_and_policies_that_say_two_things_are_not_read() {
    let world = world(KEYS).await;
    for (policy, problem) in [
        ("", "nothing says whose tokens pass"),
        ("issuer = \"{iss}\"", "it is not clear whose tokens pass"),
        (
            "issuers = [\"contoso\"]\nissuer_signing_keys = [{ key = { file = \"shared\" } }]",
            "it is not clear whose tokens pass",
        ),
        (&format!("issuers = [\"contoso\"]\n{KEYS}"), "it is not clear whose tokens pass"),
        (&KEYS.replace("shared", "short"), "shorter than the output of its hash"),
        (&KEYS.replace("shared", "odd"), "the key is no Base64"),
        (&format!("cut_offs = \"contoso\"\n{KEYS}"), "tells of no cut-offs"),
    ] {
        let error = world.reload(&file(policy)).unwrap_err();
        assert!(error.problem.contains(problem), "{policy}: {error}");
    }
}
