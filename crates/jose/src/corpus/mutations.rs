//! Mutations of good tokens, one after the other and repeatable: bits, octets, splices, and changes that know JSON.
//!
//! Nobody who lacks the key can make a token by them, so an entry point must refuse each that is not one of the good tokens.
use crate::base64url;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::time::Instant;

#[cfg(test)]
mod tests;

/// An endless series of mutated tokens, the same for the same tokens and seed. Rarely one comes out as it went in.
///
/// ```
/// use jose::corpus::Mutations;
/// use jose::{Algorithm, Header, SigningKey, Token};
/// let key = SigningKey::generate(Algorithm::ES256)?;
/// let good = key.sign(&Header::typ("JWT"), br#"{"sub":"ada"}"#)?;
/// for text in Mutations::new(vec![good.clone()], 7).take(100).filter(|text| *text != good) {
///     assert!(Token::parse(&text).and_then(|token| token.verify(&key.verifying_key())).is_err());
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Mutations {
    tokens: Vec<String>,
    random: Random,
}

impl Mutations {
    /// Mutations of these tokens, each of which must be a JWS in compact form with a JSON object as payload.
    pub fn new(tokens: Vec<String>, seed: u64) -> Self {
        Self { tokens, random: Random(seed) }
    }
}

impl Iterator for Mutations {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        let Self { tokens, random } = self;
        let token = random.pick(tokens)?;
        Some(match random.below(10) {
            0 | 1 => octets(token, random),
            2 | 3 => splice(tokens, random),
            4..=6 => inside(token, random),
            _ => members(token, random),
        })
    }
}

/// What became of many mutations at an entry point.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Came out of the mutator as they went in, and were accepted.
    pub unchanged: u64,
    /// The rest, all refused, by the check that refused them.
    pub refused: BTreeMap<String, u64>,
}

impl Tally {
    /// Puts mutations of good tokens to an entry point, which answers with the check that refuses: `DEPUTIZE_MUTATIONS` says
    /// how many (20 000 without it), `DEPUTIZE_SEED` repeats a run. Tells what came of it and how fast.
    ///
    /// # Panics
    /// As [`of`](Self::of) does.
    #[expect(
        clippy::disallowed_methods,
        clippy::print_stdout,
        reason = "a proof in a test: it is configured and timed"
    )]
    pub fn of_configured(tokens: &[String], enter: impl Fn(&str) -> Result<(), String> + Sync) -> Self {
        let number = |name: &str, usual: u64| {
            std::env::var(name)
                .map_or(usual, |text| text.parse().unwrap_or_else(|_| panic!("`{name}` must be a number")))
        };
        let (count, seed) = (number("DEPUTIZE_MUTATIONS", 20_000), number("DEPUTIZE_SEED", 0x5eed));
        let began = Instant::now();
        let tally = Self::of(tokens, count, seed, enter);
        let rate = u128::from(count) * 1_000 / began.elapsed().as_millis().max(1);
        println!("{count} mutations of seed {seed}, {rate} in a second: none accepted, none caused a panic; {tally:?}");
        tally
    }

    /// Puts `count` mutations of good tokens to an entry point, on as many threads as the machine runs at once.
    ///
    /// # Panics
    /// If one that is no good token is accepted, or a good one refused: with the text and the seed.
    pub fn of(tokens: &[String], count: u64, seed: u64, enter: impl Fn(&str) -> Result<(), String> + Sync) -> Self {
        let threads = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
        let part = |thread: u64| {
            let (seed, count) = (seed.wrapping_add(thread), count / threads + u64::from(thread < count % threads));
            let mut tally = Self::default();
            for (_, text) in (0..count).zip(Mutations::new(tokens.to_vec(), seed)) {
                let good = tokens.contains(&text);
                match enter(&text) {
                    Ok(()) if good => tally.unchanged += 1,
                    Err(check) if !good => *tally.refused.entry(check).or_insert(0) += 1,
                    decided => panic!("{decided:?} where good is {good}, seed {seed}: {text}"),
                }
            }
            tally
        };
        std::thread::scope(|scope| {
            let part = &part;
            let running: Vec<_> = (0..threads).map(|thread| scope.spawn(move || part(thread))).collect();
            running.into_iter().fold(Self::default(), |mut all, thread| {
                let tally = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                all.unchanged += tally.unchanged;
                for (check, number) in tally.refused {
                    *all.refused.entry(check).or_insert(0) += number;
                }
                all
            })
        })
    }

    /// A mutator that only makes rubbish tests nothing: each of these checks must have refused one mutation in five hundred.
    ///
    /// # Panics
    /// If one has not.
    pub fn reaches(&self, checks: &[&str]) {
        let all: u64 = self.unchanged + self.refused.values().sum::<u64>();
        for check in checks {
            let refused = self.refused.get(*check).copied().unwrap_or_default();
            assert!(refused > all / 500, "`{check}` refused {refused} of {all}: {self:?}");
        }
    }
}

/// SplitMix64: the mutations must be repeatable, not secret.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    #[expect(clippy::cast_possible_truncation, reason = "only the low bits are used")]
    fn below(&mut self, end: usize) -> usize {
        self.next() as usize % end.max(1)
    }

    fn pick<'a, T>(&mut self, list: &'a [T]) -> Option<&'a T> {
        list.get(self.below(list.len()))
    }
}

/// Bits and octets of a text; what is no longer UTF-8 is made so, for entry points take text.
fn octets(token: &str, random: &mut Random) -> String {
    let mut text = token.as_bytes().to_vec();
    damage(&mut text, random);
    String::from_utf8_lossy(&text).into_owned()
}

fn damage(octets: &mut Vec<u8>, random: &mut Random) {
    const ODD: &[u8] = b".=-_+/AZaz09 \0\n\"{}[]:,\\~\x7f\xff";
    for _ in 0..=random.below(3) {
        let at = random.below(octets.len());
        let (kind, bit) = (random.below(7), 1 << random.below(8));
        let odd = random.pick(ODD).copied().unwrap_or_default();
        match (kind, octets.get_mut(at)) {
            (0 | 1, Some(octet)) => *octet ^= bit,
            (2, Some(octet)) => *octet = odd,
            (3, _) => octets.insert(at, odd),
            (4, Some(_)) => drop(octets.remove(at)),
            (5, _) => {
                let copy: Vec<u8> = octets.iter().skip(at).take(random.below(40)).copied().collect();
                let to = random.below(octets.len());
                octets.splice(to..to, copy);
            }
            _ => octets.truncate(at),
        }
    }
}

/// Segments of different tokens, also in wrong places and numbers.
fn splice(tokens: &[String], random: &mut Random) -> String {
    let mut places = vec![0, 1, 2];
    match random.below(6) {
        0 => places.push(random.below(3)),
        1 => drop(places.pop()),
        2 => places.swap(random.below(3), random.below(3)),
        _ => {}
    }
    let segments = places.into_iter().map(|place| {
        let token = random.pick(tokens).map_or("", String::as_str);
        token.split('.').nth(place).unwrap_or_default()
    });
    segments.collect::<Vec<_>>().join(".")
}

/// The content of one segment, encoded again.
fn inside(token: &str, random: &mut Random) -> String {
    let place = random.below(3);
    with_segment(token, place, |mut content| {
        damage(&mut content, random);
        content
    })
}

/// Members of the header or of the claims.
fn members(token: &str, random: &mut Random) -> String {
    let place = random.below(2);
    with_segment(token, place, |content| {
        let mut object: Map<String, Value> = serde_json::from_slice(&content).unwrap_or_default();
        let names: Vec<String> = object.keys().cloned().collect();
        let name = random.pick(&names).cloned().unwrap_or_default();
        let value = random.pick(&values()).cloned().unwrap_or_default();
        let mut text = match random.below(5) {
            0 => written(object, [(name.as_str(), value)]),
            1 => {
                const ADDED: [&str; 14] = [
                    "crit", "b64", "jwk", "jku", "zip", "enc", "cty", "kid", "alg", "roles", "scp", "act", "cnf", "tid",
                ];
                let name = random.pick(&ADDED).copied().unwrap_or_default();
                written(object, [(name, value)])
            }
            2 => {
                object.remove(&name);
                written(object, [])
            }
            3 => written(object, []).replacen('{', &format!("{{{}:{value},", json!(name)), 1),
            _ => serde_json::to_string_pretty(&object).unwrap_or_default(),
        };
        if random.below(20) == 0 {
            text.push(' ');
        }
        text.into_bytes()
    })
}

fn values() -> [Value; 14] {
    [
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
    ]
}

fn written<'a>(mut object: Map<String, Value>, edits: impl IntoIterator<Item = (&'a str, Value)>) -> String {
    for (name, value) in edits {
        object.insert(name.to_owned(), value);
    }
    Value::Object(object).to_string()
}

fn with_segment(token: &str, place: usize, change: impl FnOnce(Vec<u8>) -> Vec<u8>) -> String {
    let mut segments: Vec<String> = token.split('.').map(str::to_owned).collect();
    if let Some(segment) = segments.get_mut(place) {
        *segment = base64url::encode(change(base64url::decode(segment).unwrap_or_default()));
    }
    segments.join(".")
}
