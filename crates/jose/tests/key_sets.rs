//! J-24, the part about content: what a poisoned key set can and cannot do.
#![cfg(test)]
use jose::{Algorithm, KeyError, KeySet, KeySetError, MAX_KEY_SET, MAX_KEYS, SigningKey, VerifyingKey};
use serde_json::{Value, json};

/// The reason for which a key is skipped; a good key beside it must still be used.
fn reason(bad: &Value) -> KeyError {
    let good = SigningKey::generate(Algorithm::ES256).unwrap();
    let set = json!({ "keys": [bad, good.public_jwk()] }).to_string();
    let (keys, skipped) = KeySet::parse(set.as_bytes(), Some(Algorithm::RS256)).unwrap();
    assert!(keys.find(good.kid()).is_some(), "the good key beside {bad} was lost");
    assert_eq!((keys.len(), skipped.len()), (1, 1), "{bad}");
    assert_eq!(skipped[0].index, 0);
    skipped[0].reason
}

fn edited(algorithm: Algorithm, edits: &[(&str, Value)]) -> Value {
    let mut jwk = json!(SigningKey::generate(algorithm).unwrap().public_jwk());
    for (name, value) in edits {
        jwk[*name] = value.clone();
    }
    jwk
}

#[test]
fn j_24_a_bad_key_is_skipped_with_its_reason_and_the_rest_is_used() {
    use Algorithm::{ES256, ES512, EdDSA, RS256};
    let octets = |length: usize, last: u8| {
        use base64::Engine as _;
        let mut octets = vec![0xC5; length];
        octets[length - 1] = last;
        json!(base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(octets))
    };
    let another = json!(SigningKey::generate(ES256).unwrap().public_jwk())["x"].clone();
    let table = [
        (json!({ "kty": "oct", "kid": "s", "k": "c2VjcmV0" }), KeyError::Symmetric),
        (json!({ "kty": "oct", "kid": "s", "alg": "HS256" }), KeyError::Symmetric),
        (edited(ES256, &[("d", json!("AQ"))]), KeyError::Private),
        (edited(RS256, &[("p", json!("AQ"))]), KeyError::Private),
        (edited(ES256, &[("k", json!("AQ"))]), KeyError::Private),
        (edited(ES256, &[("use", json!("enc"))]), KeyError::Use),
        (edited(ES256, &[("use", json!("SIG"))]), KeyError::Use),
        (edited(ES256, &[("key_ops", json!(["encrypt"]))]), KeyError::Operations),
        (edited(ES256, &[("key_ops", json!(["verify", "encrypt"]))]), KeyError::Operations),
        (edited(ES256, &[("key_ops", json!([]))]), KeyError::Operations),
        (edited(RS256, &[("e", json!("AQ"))]), KeyError::Exponent),
        (edited(RS256, &[("e", json!("Aw"))]), KeyError::Exponent),
        (edited(RS256, &[("e", json!("AQAA"))]), KeyError::Exponent),
        (edited(RS256, &[("e", json!("AQAC"))]), KeyError::Exponent),
        (edited(RS256, &[("e", json!("AAEAAQ"))]), KeyError::Exponent),
        (edited(RS256, &[("e", json!("AQAAAAAB"))]), KeyError::Exponent),
        (edited(RS256, &[("e", json!("AQAB="))]), KeyError::Member("e")),
        (edited(RS256, &[("e", Value::Null)]), KeyError::Member("e")),
        (edited(RS256, &[("n", octets(64, 1))]), KeyError::Size),
        (edited(RS256, &[("n", octets(255, 1))]), KeyError::Size),
        (edited(RS256, &[("n", octets(1025, 1))]), KeyError::Size),
        (edited(RS256, &[("n", octets(256, 2))]), KeyError::Exponent),
        (edited(RS256, &[("n", json!("AAAA"))]), KeyError::Member("n")),
        (edited(RS256, &[("n", json!(""))]), KeyError::Member("n")),
        (edited(RS256, &[("n", json!(1))]), KeyError::Malformed),
        (edited(RS256, &[("alg", json!("HS256"))]), KeyError::AlgorithmUnknown),
        (edited(RS256, &[("alg", json!("none"))]), KeyError::AlgorithmUnknown),
        (edited(RS256, &[("alg", json!("RSA-OAEP"))]), KeyError::AlgorithmUnknown),
        (edited(RS256, &[("alg", json!("ES256"))]), KeyError::AlgorithmMismatch),
        (edited(ES256, &[("alg", json!("RS256"))]), KeyError::AlgorithmMismatch),
        (edited(ES256, &[("alg", json!("ES384"))]), KeyError::AlgorithmMismatch),
        (edited(ES256, &[("crv", json!("P-384"))]), KeyError::AlgorithmMismatch),
        (edited(ES256, &[("crv", json!("secp256k1"))]), KeyError::Member("crv")),
        (edited(ES256, &[("x", another)]), KeyError::Point),
        (edited(ES256, &[("x", octets(31, 1))]), KeyError::Point),
        (edited(ES256, &[("y", octets(33, 1))]), KeyError::Point),
        (edited(ES512, &[("x", octets(66, 1))]), KeyError::Point),
        (edited(EdDSA, &[("x", octets(31, 1))]), KeyError::Point),
        (edited(EdDSA, &[("crv", json!("X25519"))]), KeyError::Member("crv")),
        (edited(ES256, &[("kty", json!("RSA"))]), KeyError::AlgorithmMismatch),
        (edited(ES256, &[("kty", json!("AKP"))]), KeyError::Member("kty")),
        (edited(ES256, &[("kid", Value::Null)]), KeyError::KidMissing),
        (json!("key"), KeyError::KidMissing),
        (json!([]), KeyError::KidMissing),
    ];
    for (bad, expected) in table {
        assert_eq!(reason(&bad), expected, "{bad}");
    }
}

#[test]
fn j_24_of_keys_that_share_a_name_none_is_used() {
    let [a, b, c] = std::array::from_fn(|_| SigningKey::generate(Algorithm::ES256).unwrap());
    let (a, b) = (a.named("same"), b.named("same"));
    let set = json!({ "keys": [a.public_jwk(), c.public_jwk(), b.public_jwk()] }).to_string();
    let (keys, skipped) = KeySet::parse(set.as_bytes(), None).unwrap();
    assert!(keys.find("same").is_none() && keys.find(c.kid()).is_some());
    assert!(skipped.iter().all(|s| s.reason == KeyError::KidDuplicate && s.kid.as_deref() == Some("same")));
    let keys = KeySet::from_keys(vec![a.verifying_key(), b.verifying_key(), c.verifying_key()]);
    assert_eq!((keys.len(), keys.find("same").is_none()), (1, true));
}

#[test]
fn j_24_a_key_that_encrypts_may_have_the_name_of_one_that_signs() {
    let key = SigningKey::generate(Algorithm::ES256).unwrap().named("same");
    let mut encrypts =
        serde_json::to_value(SigningKey::generate(Algorithm::ES256).unwrap().named("same").public_jwk()).unwrap();
    (encrypts["use"], encrypts["alg"]) = (json!("enc"), json!("ECDH-ES"));
    for keys in [json!([key.public_jwk(), encrypts]), json!([encrypts, key.public_jwk()])] {
        let (keys, skipped) = KeySet::parse(json!({ "keys": keys }).to_string().as_bytes(), None).unwrap();
        assert!(keys.find("same").is_some() && keys.len() == 1 && skipped.len() == 1, "{skipped:?}");
    }
}

#[test]
fn j_24_what_is_no_key_set_is_refused_whole() {
    type Expected = fn(KeySetError) -> bool;
    let key = json!(SigningKey::generate(Algorithm::ES256).unwrap().public_jwk());
    let large = json!({ "keys": [], "x": "x".repeat(10_000_000) }).to_string();
    let many = json!({ "keys": vec![key.clone(); MAX_KEYS + 1] }).to_string();
    let table: [(&str, Expected); 8] = [
        (&large, |e| e == KeySetError::TooLarge),
        (&many, |e| e == KeySetError::TooMany),
        ("<!doctype html><title>200 OK</title>", |e| matches!(e, KeySetError::Json(_))),
        ("", |e| matches!(e, KeySetError::Json(_))),
        ("{\"keys\":[],\"keys\":[]}", |e| matches!(e, KeySetError::Json(_))),
        ("{\"keys\":{}}", |e| e == KeySetError::NoKeys),
        ("{\"error\":\"x\"}", |e| e == KeySetError::NoKeys),
        ("{\"keys\":[]}x", |e| matches!(e, KeySetError::Json(_))),
    ];
    for (text, expected) in table {
        assert!(KeySet::parse(text.as_bytes(), None).is_err_and(expected), "{}", &text[..text.len().min(40)]);
    }
}

#[test]
fn j_24_the_caps_of_a_key_set_are_where_they_are_said_to_be() {
    let key = json!(SigningKey::generate(Algorithm::ES256).unwrap().public_jwk());
    let most = json!({ "keys": vec![key; MAX_KEYS] }).to_string();
    assert_eq!(KeySet::parse(most.as_bytes(), None).unwrap().1.len(), MAX_KEYS);
    let padded = |length: usize| format!("{{\"keys\":[]{}}}", " ".repeat(length - 11));
    assert_eq!(padded(MAX_KEY_SET).len(), MAX_KEY_SET);
    assert!(KeySet::parse(padded(MAX_KEY_SET).as_bytes(), None).is_ok());
    assert_eq!(KeySet::parse(padded(MAX_KEY_SET + 1).as_bytes(), None).err(), Some(KeySetError::TooLarge));
}

#[test]
fn j_24_an_empty_set_says_so() {
    let (keys, skipped) = KeySet::parse(b"{\"keys\":[]}", None).unwrap();
    assert!(keys.is_empty() && skipped.is_empty());
    assert!(!KeySet::from_keys(vec![SigningKey::generate(Algorithm::ES256).unwrap().verifying_key()]).is_empty());
}

#[test]
fn an_rsa_key_without_alg_is_bound_by_the_issuers_configuration_or_not_at_all() {
    let rsa = edited(Algorithm::RS256, &[("alg", Value::Null), ("kid", json!("k"))]);
    let set = json!({ "keys": [rsa] }).to_string();
    let (keys, skipped) = KeySet::parse(set.as_bytes(), None).unwrap();
    assert!(keys.is_empty() && skipped[0].reason == KeyError::AlgorithmMissing);
    for algorithm in [Algorithm::RS256, Algorithm::PS512] {
        let (keys, _) = KeySet::parse(set.as_bytes(), Some(algorithm)).unwrap();
        assert_eq!(keys.find("k").map(|k| k.algorithm()), Some(algorithm));
    }
    // A default for another kind of key does not touch it.
    let (keys, skipped) = KeySet::parse(set.as_bytes(), Some(Algorithm::ES256)).unwrap();
    assert!(keys.is_empty() && skipped[0].reason == KeyError::AlgorithmMissing);
}

#[test]
fn a_key_for_verifying_says_so_or_says_nothing() {
    for operations in [json!(["verify"]), json!(["verify", "sign"]), json!(["sign", "verify"]), Value::Null] {
        let set = json!({ "keys": [edited(Algorithm::ES256, &[("key_ops", operations.clone())])] }).to_string();
        assert_eq!(KeySet::parse(set.as_bytes(), None).unwrap().0.len(), 1, "{operations}");
    }
}

/// J-24: one public key has one writing, so that it has one thumbprint.
#[test]
fn j_24_a_key_in_another_writing_is_refused() {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
    let octets = |jwk: &Value, name: &str| BASE64.decode(jwk[name].as_str().unwrap()).unwrap();
    // An octet of `x` moved into `y`: the same point, were the two only put together.
    let jwk = edited(Algorithm::ES256, &[]);
    let (x, y) = (octets(&jwk, "x"), octets(&jwk, "y"));
    let mut moved = jwk.clone();
    moved["x"] = json!(BASE64.encode(&x[..31]));
    moved["y"] = json!(BASE64.encode([&x[31..], &y].concat()));
    assert_eq!(reason(&moved), KeyError::Point);
    // The whole SubjectPublicKeyInfo of RFC 8410 in place of the key.
    let mut der = edited(Algorithm::EdDSA, &[]);
    let prefix = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
    der["x"] = json!(BASE64.encode([&prefix[..], &octets(&der, "x")].concat()));
    assert_eq!(reason(&der), KeyError::Point);
}

#[test]
fn entras_keys_carry_their_issuer() {
    let issuer = "https://login.example/{tenantid}/v2.0";
    let entra = edited(
        Algorithm::RS256,
        &[("alg", Value::Null), ("issuer", json!(issuer)), ("cloud_instance_name", json!("x"))],
    );
    let (keys, _) = KeySet::parse(json!({ "keys": [entra] }).to_string().as_bytes(), Some(Algorithm::RS256)).unwrap();
    assert_eq!(keys.iter().next().and_then(|k| k.issuer()), Some(issuer));
}

#[test]
fn thumbprints_are_those_of_rfc_7638() {
    // Section 3.1, and RFC 8037 appendix A.3.
    let rsa: jose::Jwk = serde_json::from_str(concat!(
        r#"{"kty":"RSA","e":"AQAB","alg":"RS256","kid":"2011-04-29","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4"#,
        "cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65",
        "YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2Nc",
        r#"Rwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"}"#
    ))
    .unwrap();
    assert_eq!(rsa.thumbprint().as_deref(), Some("NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"));
    let okp: jose::Jwk =
        serde_json::from_str(r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#)
            .unwrap();
    assert_eq!(okp.thumbprint().as_deref(), Some("kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"));
    assert_eq!(VerifyingKey::from_jwk(&okp, None).unwrap().kid(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
}
