//! Project Wycheproof's vectors for JSON Web Signature, Key and crypto: nothing invalid is accepted, and every valid one that
//! we refuse is listed here with the reason.
#![cfg(test)]
use jose::symmetric::{HmacAlgorithm, SymmetricKey};
use jose::{Jwk, KeySet, Refusal, Token, VerifyingKey};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

const EMPTY: &str = "an empty payload is no JWT";
const ENCRYPTED: &str = "JWE: no entry point takes encrypted tokens";
const OTHER: &str = "the token's algorithm is not the one that the key states";
const ES521: &str = "the key states `ES521`, which is no algorithm";
const INSERTED: &str = "a character outside the alphabet, which this vector's reader is meant to skip";
/// Vectors said to be invalid that are, byte for byte, a vector said to be valid: the padding that their names speak of is not
/// in the file. No verifier can do both.
const CONTRADICTIONS: [(u64, u64); 2] = [(367, 357), (370, 357)];
const SYMMETRIC_SET: &str = "symmetric keys are given one at a time and never in a set";

#[test]
fn signature_vectors() {
    let refused = [
        (259, EMPTY),
        (264, EMPTY),
        (268, EMPTY),
        (272, EMPTY),
        (320, EMPTY),
        (325, EMPTY),
        (346, OTHER),
        (347, ES521),
        (350, OTHER),
        (351, ES521),
        (372, INSERTED),
        (373, INSERTED),
    ];
    judge("json_web_signature_test.json", 401, &refused);
}

#[test]
fn key_vectors() {
    judge("json_web_key_test.json", 26, &[(2, SYMMETRIC_SET)]);
}

#[test]
fn crypto_vectors() {
    judge("json_web_crypto_test.json", 83, &[(48, SYMMETRIC_SET), (50, ENCRYPTED), (67, ENCRYPTED)]);
}

/// Private members in a key set: the key is no longer secret, and is not used.
#[test]
fn private_key_sets_are_never_imported() {
    for group in groups("json_web_key_test.json") {
        let secret = |key: &Value| key.get("d").or(key.get("k")).is_some();
        let count = group["private"]["keys"].as_array().unwrap().iter().filter(|k| secret(k)).count();
        let (_, skipped) = KeySet::parse(group["private"].to_string().as_bytes(), None).unwrap();
        assert!(count > 0 && skipped.len() == count, "{}: {skipped:?}", group["comment"]);
    }
}

fn judge(file: &str, count: usize, refused_valid: &[(u64, &str)]) {
    let (mut seen, mut refused, mut texts) = (0, BTreeMap::new(), BTreeMap::new());
    for group in groups(file) {
        for test in group["tests"].as_array().unwrap() {
            seen += 1;
            let id = test["tcId"].as_u64().unwrap();
            let text = test.get("jws").or(test.get("jwe")).unwrap();
            let text = text.as_str().map_or_else(|| text.to_string(), str::to_owned);
            texts.insert(id, (text.clone(), test["result"].clone()));
            if file.contains("signature") && CONTRADICTIONS.iter().any(|(invalid, _)| *invalid == id) {
                continue;
            }
            let accepted = accepted(&group, &text);
            let valid = test["result"] == "valid";
            assert!(valid || !accepted, "{file} {id}: invalid and accepted: {}", test["comment"]);
            if valid && !accepted {
                refused.insert(id, refused_valid.iter().find(|r| r.0 == id).map(|r| r.1));
            }
        }
    }
    for (invalid, valid) in CONTRADICTIONS.iter().filter(|_| file.contains("signature")) {
        assert_eq!((&texts[invalid].0, &texts[valid].1), (&texts[valid].0, &Value::from("valid")));
    }
    assert_eq!(seen, count, "{file} has another count of vectors");
    let listed: BTreeMap<u64, Option<&str>> = refused_valid.iter().map(|(id, reason)| (*id, Some(*reason))).collect();
    assert_eq!(refused, listed, "{file}: the valid vectors that we refuse (left) and those that are listed (right)");
}

fn groups(file: &str) -> Vec<Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/wycheproof");
    let text = std::fs::read_to_string(folder.join(file)).unwrap_or_else(|e| {
        panic!(
            "Wycheproof's vectors are wanted at `shared/data/wycheproof` beside the checkout ({}): {e}",
            folder.display()
        )
    });
    serde_json::from_str::<Value>(&text).unwrap()["testGroups"].as_array().unwrap().clone()
}

/// The payloads of most vectors are not JSON: a refusal of the claims comes after the signature was found valid.
fn signature_holds(verified: Result<jose::Verified<'_>, Refusal>) -> bool {
    matches!(verified, Ok(_) | Err(Refusal::Claims(_)))
}

fn accepted(group: &Value, text: &str) -> bool {
    let Ok(token) = Token::parse(text) else { return false };
    let key = group.get("public").or(group.get("private")).unwrap();
    let single = key["keys"].as_array().filter(|keys| keys.len() == 1).and_then(|keys| keys.first()).unwrap_or(key);
    if single["kty"] == "oct" {
        return symmetric(single).is_some_and(|key| signature_holds(key.verify(&token)));
    }
    // The kindest reading: a key that states no algorithm is bound to the token's.
    let default = token.header().alg.parse().ok();
    if key["keys"].is_array() {
        let (keys, _) = KeySet::parse(key.to_string().as_bytes(), default).unwrap();
        return keys.key_for(&token).is_ok_and(|key| signature_holds(token.verify(key)));
    }
    let imported =
        serde_json::from_value::<Jwk>(key.clone()).ok().and_then(|j| VerifyingKey::from_jwk(&j, default).ok());
    imported.is_some_and(|key| signature_holds(token.verify(&key)))
}

/// A gateway policy's inline key.
fn symmetric(jwk: &Value) -> Option<SymmetricKey> {
    use base64::Engine as _;
    let key = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(jwk["k"].as_str()?).ok()?;
    let algorithm = match jwk["alg"].as_str()? {
        "HS256" => HmacAlgorithm::HS256,
        "HS384" => HmacAlgorithm::HS384,
        "HS512" => HmacAlgorithm::HS512,
        _ => return None,
    };
    SymmetricKey::new(algorithm, &key).ok()
}
