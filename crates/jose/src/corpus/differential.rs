//! The corpus against `jsonwebtoken`: what both accept they read alike; where they differ is listed.
use super::tests::issuer;
use super::{Expect, Layer, Profile, corpus};
use crate::{Algorithm, KeySet, SigningKey, Token};
use jsonwebtoken::{DecodingKey, Validation};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Of how many tokens of a row the verdicts differ, and why.
type Difference = (&'static str, usize, &'static str);

/// `jsonwebtoken` accepts, we refuse.
const LENIENT: [Difference; 4] = [
    ("J-13", 11, "takes `crit` and `b64` without knowing what they name"),
    ("J-15", 11, "looks for repeated members only in its own fields, and has no cap on depth and integers"),
    ("J-20", 3, "takes `cty: JWT`, and `null` for an absent `typ`"),
    ("J-23", 4, "has no greatest size"),
];

/// We accept, it refuses. The last two are for the reader of the claims to refuse.
const STRICT: [Difference; 3] = [
    ("J-00", 2, "has no ES512"),
    ("J-16", 4, "reads `exp` and `nbf` even where they are not validated, and chokes on lists and objects"),
    ("J-26", 2, "reads `sub` likewise"),
];

fn theirs(keys: &BTreeMap<String, (jsonwebtoken::Algorithm, DecodingKey)>, text: &str) -> Option<Map<String, Value>> {
    let header = jsonwebtoken::decode_header(text).ok()?;
    let (algorithm, key) = keys.get(&header.kid?)?;
    let mut validation = Validation::new(*algorithm);
    validation.validate_exp = false;
    validation.validate_aud = false;
    validation.required_spec_claims.clear();
    jsonwebtoken::decode::<Map<String, Value>>(text, key, &validation).ok().map(|data| data.claims)
}

#[test]
fn jsonwebtoken_and_we_agree_but_for_what_is_listed() {
    let issuer = issuer(Profile::ENTRA);
    let ours = KeySet::from_keys(issuer.keys.iter().map(SigningKey::verifying_key).collect());
    let their_keys: BTreeMap<_, _> = issuer
        .keys
        .iter()
        .filter(|key| key.algorithm() != Algorithm::ES512)
        .map(|key| {
            let jwk = serde_json::from_value(serde_json::to_value(key.public_jwk()).unwrap()).unwrap();
            let algorithm = key.algorithm().as_str().parse().unwrap();
            (key.kid().to_owned(), (algorithm, DecodingKey::from_jwk(&jwk).unwrap()))
        })
        .collect();
    let (mut both, mut only_theirs, mut only_ours) = (0, BTreeMap::new(), BTreeMap::new());
    for hostile in corpus(&issuer) {
        let token = Token::parse(&hostile.token);
        let we = token.ok().and_then(|t| t.verify(ours.key_for(&t).ok()?).ok()?.map().ok());
        match (we, theirs(&their_keys, &hostile.token)) {
            (Some(ours), Some(theirs)) => {
                both += 1;
                assert!(hostile.expect == Expect::Accept || hostile.layer == Layer::Claims, "{}", hostile.id);
                assert_eq!(ours, theirs, "{} {} is read in two ways", hostile.id, hostile.reason);
            }
            (None, Some(_)) => only_theirs.entry(hostile.row).or_insert_with(Vec::new).push(hostile.reason),
            (Some(_), None) => only_ours.entry(hostile.row).or_insert_with(Vec::new).push(hostile.reason),
            (None, None) => {}
        }
    }
    println!("both accept {both}; only jsonwebtoken: {only_theirs:#?}; only we: {only_ours:#?}");
    assert!(both > 200, "{both}");
    let counted = |found: &BTreeMap<&'static str, Vec<String>>| -> Vec<(&str, usize)> {
        found.iter().map(|(row, reasons)| (*row, reasons.len())).collect()
    };
    assert_eq!(
        counted(&only_theirs),
        LENIENT.map(|(row, count, _)| (row, count)),
        "only jsonwebtoken accepts (left), listed (right)"
    );
    assert_eq!(
        counted(&only_ours),
        STRICT.map(|(row, count, _)| (row, count)),
        "only we accept (left), listed (right)"
    );
}
