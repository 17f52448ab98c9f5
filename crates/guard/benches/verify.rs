//! P8: verify and decide in process. Prints microseconds per token: cold (never seen), warm (seen before), and the floor (the
//! bare RS256 verification of the same bytes). Run with `cargo bench -p deputize-guard`.
#![expect(clippy::print_stdout, clippy::disallowed_methods, reason = "a bench measures time and prints it")]
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a bench may stop where a test may")]
use decision::Timestamp;
use deputize_guard::Guard;
use jose::{Algorithm, Header, KeySet, SigningKey, Token};
use serde_json::json;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;
use testkit::SetClock;

const ISS: &str = "https://login.example/11111111-1111-4111-8111-111111111111/v2.0";
const TOKENS: usize = 4_000;
const ROUNDS: usize = 5;

fn main() {
    let key = SigningKey::generate(Algorithm::RS256).unwrap();
    let verifying = key.verifying_key();
    let tokens: Vec<String> = (0..TOKENS).map(|n| token(&key, n)).collect();
    let headers: Vec<String> = tokens.iter().map(|token| format!("Bearer {token}")).collect();
    let guard = || {
        let contract = serde_json::from_value(json!({
            "audiences": ["bbbbbbbb-0000-4000-8000-00000000000b", "api://billing"],
            "issuers": [{"issuer": ISS, "tenants": ["11111111-1111-4111-8111-111111111111"]}],
            "routes": [{"method": "GET", "path": "/invoices", "scopes": ["Invoices.Read"], "roles": ["Invoices.Reader"]}],
        }))
        .unwrap();
        let keys = KeySet::from_keys(vec![key.verifying_key()]);
        let clock = Arc::new(SetClock::at(Timestamp(1_800_000_000)));
        Guard::builder(contract, clock).keys(ISS, keys).cache_bytes(64 << 20).build().unwrap()
    };
    let best = |runs: Vec<f64>| runs.into_iter().fold(f64::INFINITY, f64::min);
    let (mut cold, mut warm, mut floor) = (vec![], vec![], vec![]);
    for _ in 0..ROUNDS {
        let guard = guard();
        let all = |headers: &[String]| {
            for header in headers {
                assert!(black_box(guard.try_check(Some(header), "GET", "/invoices")).unwrap().is_ok());
            }
        };
        floor.push(per_token(|| {
            for token in &tokens {
                drop(black_box(Token::parse(token).unwrap().verify(&verifying).unwrap()));
            }
        }));
        cold.push(per_token(|| all(&headers)));
        warm.push(per_token(|| all(&headers)));
    }
    let bytes = tokens[0].len();
    println!(
        "P8 cold {:.2} µs warm {:.2} µs floor {:.2} µs (floor: strict parse and verification alone; tokens of {bytes} bytes)",
        best(cold),
        best(warm),
        best(floor)
    );
}

fn per_token(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64() * 1e6 / f64::from(u32::try_from(TOKENS).unwrap())
}

fn token(key: &SigningKey, n: usize) -> String {
    let claims = json!({
        "iss": ISS, "aud": "bbbbbbbb-0000-4000-8000-00000000000b", "iat": 1_800_000_000, "nbf": 1_800_000_000, "exp": 1_800_003_600,
        "tid": "11111111-1111-4111-8111-111111111111", "sub": "AAAAAAAAAAAAAAAAAAAAAIkzqFVrSaSaFHy782bbtaQ", "oid": format!("aaaaaaaa-0000-4000-8000-{n:012}"),
        "azp": "cccccccc-0000-4000-8000-00000000000c", "azpacr": "1", "scp": "Invoices.Read Invoices.Approve", "roles": ["Invoices.Reader"],
        "idtyp": "user", "ver": "2.0", "uti": format!("uti-{n}"), "jti": format!("jti-{n}"), "name": "Ada Lovelace", "preferred_username": "ada@contoso.example",
        "aio": "A".repeat(160),
    });
    key.sign(&Header::typ("JWT"), claims.to_string().as_bytes()).unwrap()
}
