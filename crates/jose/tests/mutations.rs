//! Mutated tokens: none is accepted whose signed content is not that of a token we signed, and none makes the verifier panic.
//!
//! `DEPUTIZE_MUTATIONS` says how many (20 000 without it), `DEPUTIZE_SEED` repeats a run.
#![cfg(test)]
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jose::{Algorithm, Header, KeySet, Refusal, SigningKey, Token};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashSet};

#[test]
fn no_mutation_is_accepted() {
    let number = |name: &str, default: u64| {
        #[expect(clippy::disallowed_methods, reason = "a test has no configuration file")]
        std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("`{name}` must be a number")))
    };
    let (count, seed) = (number("DEPUTIZE_MUTATIONS", 20_000), number("DEPUTIZE_SEED", 0x5eed));
    println!("{count} mutations, seed {seed}");
    let keys: Vec<SigningKey> = [Algorithm::RS256, Algorithm::PS256, Algorithm::ES256, Algorithm::EdDSA]
        .into_iter()
        .map(|algorithm| SigningKey::generate(algorithm).unwrap())
        .collect();
    let set = KeySet::from_keys(keys.iter().map(SigningKey::verifying_key).collect());
    let tokens: Vec<String> = keys.iter().flat_map(|key| (0..3).map(|n| good(key, n))).collect();
    let signed: HashSet<&str> = tokens.iter().map(|t| t.rsplit_once('.').unwrap().0).collect();
    let mut random = Random(seed);
    let mut refusals = BTreeMap::new();
    let (mut accepted, mut unchanged) = (0, 0);
    for turn in 0..count {
        let text = mutated(&tokens, &mut random);
        if tokens.contains(&text) {
            unchanged += 1;
        }
        match enter(&set, &text) {
            Ok(()) => {
                accepted += 1;
                let content = text.rsplit_once('.').map(|parts| parts.0);
                assert!(
                    content.is_some_and(|c| signed.contains(c)),
                    "mutation {turn} of seed {seed} was accepted: {text}"
                );
            }
            Err(refusal) => *refusals.entry(refusal.check().to_string()).or_insert(0_u64) += 1,
        }
    }
    println!(
        "{accepted} verified with their signed content as it was ({unchanged} not changed at all); refused: {refusals:?}"
    );
    // A mutator that only makes rubbish tests nothing: signatures must have been reached, and claims.
    if count >= 20_000 {
        for check in ["token.form", "token.algorithm", "token.key", "token.signature"] {
            assert!(refusals.get(check).is_some_and(|n| *n > count / 500), "{check}: {refusals:?}");
        }
    }
}

fn enter(keys: &KeySet, text: &str) -> Result<(), Refusal> {
    let token = Token::parse(text)?;
    let _ = token.peek();
    token.verify(keys.key_for(&token)?)?.map().map(drop)
}

fn good(key: &SigningKey, number: u64) -> String {
    let claims = json!({
        "iss": "https://login.example/t/v2.0", "aud": "api://orders", "sub": format!("user-{number}"), "exp": 1_750_003_600,
        "iat": 1_750_000_000, "scp": "access_as_user", "roles": ["a", "b"], "x": { "y": [1, 2.5, null, "é"] },
    });
    key.sign(&Header::typ("at+jwt"), claims.to_string().as_bytes()).unwrap()
}

/// SplitMix64: the mutations must be repeatable, not secret.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(end.max(1)).unwrap()).unwrap()
    }

    fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len())]
    }
}

fn mutated(tokens: &[String], random: &mut Random) -> String {
    let token = random.pick(tokens).clone();
    match random.below(10) {
        0 | 1 => octets(token.into_bytes(), random),
        2 | 3 => segments(tokens, random),
        4..=6 => inside(&token, random),
        _ => members(&token, random),
    }
}

/// Bits and octets of a text, or of a segment's content; what is no longer UTF-8 is made so, for entry points take text.
fn octets(mut text: Vec<u8>, random: &mut Random) -> String {
    damage(&mut text, random);
    String::from_utf8_lossy(&text).into_owned()
}

fn damage(octets: &mut Vec<u8>, random: &mut Random) {
    const ODD: &[u8] = b".=-_+/AZaz09 \0\n\"{}[]:,\\~\x7f\xff";
    for _ in 0..=random.below(3) {
        let at = random.below(octets.len());
        match random.below(7) {
            0 | 1 if at < octets.len() => octets[at] ^= 1 << random.below(8),
            2 if at < octets.len() => octets[at] = *random.pick(ODD),
            3 => octets.insert(at, *random.pick(ODD)),
            4 if at < octets.len() => drop(octets.remove(at)),
            5 => {
                let end = at + random.below((octets.len() - at).min(40));
                let copy = octets[at..end].to_vec();
                let to = random.below(octets.len());
                octets.splice(to..to, copy);
            }
            _ => octets.truncate(at),
        }
    }
}

/// Segments of different tokens, also in wrong places and numbers.
fn segments(tokens: &[String], random: &mut Random) -> String {
    let segment = |random: &mut Random, place: usize| {
        let segments: Vec<&str> = random.pick(tokens).split('.').collect();
        segments[place].to_owned()
    };
    let mut places = vec![0, 1, 2];
    match random.below(6) {
        0 => places.push(random.below(3)),
        1 => drop(places.pop()),
        2 => places.swap(random.below(3), random.below(3)),
        _ => {}
    }
    places.into_iter().map(|place| segment(random, place)).collect::<Vec<_>>().join(".")
}

/// The content of one segment, encoded again.
fn inside(token: &str, random: &mut Random) -> String {
    let mut segments: Vec<String> = token.split('.').map(str::to_owned).collect();
    let place = random.below(3);
    let mut content = URL_SAFE_NO_PAD.decode(&segments[place]).unwrap();
    damage(&mut content, random);
    segments[place] = URL_SAFE_NO_PAD.encode(content);
    segments.join(".")
}

/// Members of the header or of the claims.
fn members(token: &str, random: &mut Random) -> String {
    let mut segments: Vec<String> = token.split('.').map(str::to_owned).collect();
    let place = random.below(2);
    let text = URL_SAFE_NO_PAD.decode(&segments[place]).unwrap();
    let mut object: serde_json::Map<String, Value> = serde_json::from_slice(&text).unwrap();
    let names: Vec<String> = object.keys().cloned().collect();
    let values = [
        Value::Null,
        json!(true),
        json!(0),
        json!(-1),
        json!(99_999_999_999_u64),
        json!(""),
        json!("none"),
        json!("HS256"),
        json!("RS256"),
        json!("ES256"),
        json!([]),
        json!(["admin"]),
        json!({}),
        json!("Global Administrator"),
    ];
    let added = ["crit", "b64", "jwk", "jku", "zip", "enc", "cty", "kid", "alg", "roles", "scp", "act", "cnf", "tid"];
    let mut text = match random.below(5) {
        0 => {
            object.insert(random.pick(&names).clone(), random.pick(&values).clone());
            Value::Object(object).to_string()
        }
        1 => {
            object.insert((*random.pick(&added)).to_owned(), random.pick(&values).clone());
            Value::Object(object).to_string()
        }
        2 => {
            object.remove(random.pick(&names));
            Value::Object(object).to_string()
        }
        3 => {
            let first = format!("{{{}:{},", json!(random.pick(&names)), random.pick(&values));
            Value::Object(object).to_string().replacen('{', &first, 1)
        }
        _ => serde_json::to_string_pretty(&Value::Object(object)).unwrap(),
    };
    if random.below(20) == 0 {
        text.push(' ');
    }
    segments[place] = URL_SAFE_NO_PAD.encode(text);
    segments.join(".")
}
