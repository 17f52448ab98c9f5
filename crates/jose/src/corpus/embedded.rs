//! J-11 to J-13: names of keys, keys and links in the header, extensions.
use super::mint::Mint;
use crate::base64url;
use serde_json::{Value, json};

pub(super) fn kid(mint: &mut Mint<'_>) {
    let ours = mint.main.kid().to_owned();
    let swapped: String = ours
        .chars()
        .map(|c| if c.is_ascii_lowercase() { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() })
        .collect();
    let half: String = ours.chars().take(ours.chars().count() / 2).collect();
    let names = [
        json!("../../../../dev/null"),
        json!("..\\..\\windows\\win.ini"),
        json!("/dev/null"),
        json!("/proc/self/environ"),
        json!("file:///dev/null"),
        json!("http://127.0.0.1:9/key"),
        json!("https://attacker.example/jwks.json"),
        json!("ldap://127.0.0.1/x"),
        json!("' OR '1'='1"),
        json!("x' UNION SELECT 'key"),
        json!("; id"),
        json!("$(id)"),
        json!("`id`"),
        json!("| id"),
        json!("${jndi:ldap://127.0.0.1/x}"),
        json!("{{7*7}}"),
        json!("%s%s%n"),
        json!("a\r\nSet-Cookie: x=1"),
        json!(format!("{ours}\0")),
        json!(format!("{ours} ")),
        json!(format!(" {ours}")),
        json!(swapped),
        json!(half),
        json!(format!("{ours}{ours}")),
        json!(""),
        json!("__proto__"),
        json!("constructor"),
        json!("*"),
        json!("0"),
        json!("k".repeat(9_000)),
        json!([ours]),
        json!({ "kid": ours }),
        json!(0),
        json!(true),
        Value::Null,
    ];
    for name in names {
        let shown: String = name.to_string().chars().take(40).collect();
        mint.reject("J-11", format!("kid {shown}"), mint.with_header("kid", name));
    }
    mint.strict("J-11", "no kid: keys are never tried one after another", mint.without_header("kid"));
}

pub(super) fn keys(mint: &mut Mint<'_>) {
    let row = "J-12";
    let (ours, jwk) = (mint.main.kid().to_owned(), json!(mint.attacker.public_jwk()));
    let now = mint.issuer.now;
    let certificate = mint.attacker.self_signed("attacker", now.plus(-60), now.plus(3600)).unwrap_or_default();
    let x5t = crate::verifying_key::x5t(&certificate);
    let x5c = json!([base64url::encode_standard(&certificate)]);
    let mut bad_e = mint.attacker.public_jwk();
    bad_e.e = Some("AQ".to_owned());
    let host = mint.issuer.iss.clone();
    let parameters: Vec<(&str, &str, Value)> = vec![
        ("the attacker's jwk (CVE-2018-0114)", "jwk", jwk.clone()),
        ("an oct key as jwk", "jwk", json!({ "kty": "oct", "k": "c2VjcmV0" })),
        ("an RSA key with e = 1 as jwk", "jwk", json!(bad_e)),
        ("a list of jwks", "jwk", json!([jwk])),
        ("a key set as jwk", "jwk", json!({ "keys": [jwk] })),
        ("a jku of the attacker", "jku", json!("https://attacker.example/jwks.json")),
        ("a jku with file:", "jku", json!("file:///etc/passwd")),
        ("a jku with our host as user", "jku", json!(format!("{host}@attacker.example/jwks.json"))),
        ("a jku with our host as prefix", "jku", json!(format!("{host}.attacker.example/jwks.json"))),
        ("a jku through an open redirect", "jku", json!(format!("{host}/logout?next=https://attacker.example/jwks"))),
        ("a jku to link-local", "jku", json!("http://169.254.169.254/latest/meta-data")),
        ("a jku to loopback", "jku", json!("http://127.0.0.1:9/jwks.json")),
        ("an x5u of the attacker", "x5u", json!("https://attacker.example/cert.pem")),
        ("an x5c of the attacker", "x5c", x5c),
        ("an x5t of the attacker", "x5t", json!(x5t)),
    ];
    for (reason, name, value) in parameters {
        for (whose, kid) in [("under our kid", ours.as_str()), ("under a kid of its own", "attacker-key")] {
            let mut header = mint.header_of(&mint.attacker);
            header.insert(name.to_owned(), value.clone());
            header.insert("kid".to_owned(), json!(kid));
            mint.reject(row, format!("{reason}, {whose}"), Mint::signed(&mint.attacker, header, &mint.payload()));
        }
    }
    let mut header = mint.header_of(&mint.attacker);
    header.remove("kid");
    header.insert("jwk".to_owned(), jwk);
    mint.reject(row, "the attacker's jwk, no kid", Mint::signed(&mint.attacker, header, &mint.payload()));
}

pub(super) fn extensions(mint: &mut Mint<'_>) {
    let row = "J-13";
    let crit = [
        json!(["x-unknown"]),
        json!([]),
        json!(["alg"]),
        json!(["exp"]),
        json!(["b64"]),
        json!(["x-unknown", "x-unknown"]),
        json!("x-unknown"),
        json!(1),
        json!({}),
        json!(true),
        Value::Null,
        json!([1]),
        json!([["exp"]]),
    ];
    for value in crit {
        mint.reject(row, format!("crit is {value}"), mint.with_header("crit", value));
    }
    let mut header = mint.header();
    header.insert("crit".to_owned(), json!(["b64"]));
    header.insert("b64".to_owned(), json!(false));
    mint.reject(row, "b64 is false, and critical", Mint::signed(mint.main, header.clone(), &mint.payload()));
    let unencoded = mint.with_segments(&base64url::encode(Value::Object(header).to_string()), "{}");
    mint.reject(row, "b64 is false, with a payload that is not encoded (RFC 7797)", unencoded);
    for value in [json!(false), json!(true), Value::Null] {
        mint.strict(row, format!("b64 is {value}"), mint.with_header("b64", value));
    }
    let detached = mint.with_segments(&base64url::encode(Value::Object(mint.header()).to_string()), "");
    mint.reject(row, "the payload detached, its absence signed", detached);
    let [header, _, signature] = mint.segments();
    mint.reject(row, "the payload detached (RFC 7515 appendix F)", format!("{header}..{signature}"));
}
