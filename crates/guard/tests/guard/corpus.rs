//! R1: the corpus of hostile tokens against the guard, in both profiles and both versions. One test for each row of the table.
use decision::Timestamp;
use decision::contract::Contract;
use deputize_guard::Guard;
use jose::KeySet;
use jose::corpus::{self, Expect, Hostile, Issuer, Profile};
use serde_json::json;
use std::sync::Arc;
use testkit::SetClock;

const TID: &str = "11111111-1111-4111-8111-111111111111";
const NOON: Timestamp = Timestamp(1_800_000_000);

pub(crate) struct Entry {
    profile: &'static str,
    pub(crate) guard: Guard,
    pub(crate) tokens: Vec<Hostile>,
}

/// A guard for each shape of tokens, with the tokens that are minted for it.
fn entries(mint: impl Fn(&Issuer) -> Vec<Hostile>) -> [Entry; 3] {
    [
        entry("entra", Profile::ENTRA, &mint),
        entry("entra", Profile::ENTRA_V1, &mint),
        entry("native", Profile::NATIVE, &mint),
    ]
}

pub(crate) fn entry(profile: &'static str, shape: Profile, mint: impl FnOnce(&Issuer) -> Vec<Hostile>) -> Entry {
    let version = if shape.client == Profile::ENTRA_V1.client { "" } else { "v2.0" };
    let iss = format!("https://login.example/{TID}/{version}");
    let issuer = Issuer::new(shape, &iss, "api://orders", TID, NOON).unwrap();
    let contract: Contract = serde_json::from_value(json!({
        "audiences": ["api://orders"],
        "issuers": [
            {"issuer": iss, "tenants": [TID], "profile": profile},
            {"issuer": issuer.neighbour.iss, "tenants": [issuer.neighbour.tid], "profile": profile},
        ],
        "routes": [{"method": "GET", "path": "/orders", "scopes": ["access_as_user"]}],
    }))
    .unwrap();
    let keys = KeySet::from_keys(issuer.keys.iter().map(jose::SigningKey::verifying_key).collect());
    let neighbours = KeySet::from_keys(vec![issuer.neighbour.key.verifying_key()]);
    let guard = Guard::builder(contract, Arc::new(SetClock::at(NOON)))
        .keys(&iss, keys)
        .keys(&issuer.neighbour.iss, neighbours)
        .build()
        .unwrap();
    Entry { profile, guard, tokens: mint(&issuer) }
}

fn judge(entry: &Entry, token: &str) -> Result<(), String> {
    let decided = entry.guard.try_check(Some(&format!("Bearer {token}")), "GET", "/orders");
    decided.expect("keys are at hand").map(drop).map_err(|refused| {
        assert_eq!(refused.status(), 401, "{:?} {}", refused.check(), refused.problem());
        // What is told of the refusal is the refusal: an explanation without it would read as allowed.
        assert_eq!(refused.verdict().failed().map(|check| check.id), Some(refused.check()), "{token}");
        let told = refused.problem().to_string();
        assert!(!told.contains(token) || token.len() < 20, "the answer repeats the token");
        refused.check().to_string()
    })
}

fn row(id: &str) {
    for entry in entries(|issuer| corpus::row(issuer, id)) {
        assert!(!entry.tokens.is_empty(), "the corpus has no row {id}");
        for hostile in &entry.tokens {
            let told = judge(&entry, &hostile.token);
            let right = told.is_ok() == (hostile.expect == Expect::Accept);
            assert!(
                right,
                "{} in {}: {:?} expected, as {}; got {told:?}",
                hostile.id, entry.profile, hostile.expect, hostile.reason
            );
            // Seen before or not, the answer is the same.
            assert_eq!(judge(&entry, &hostile.token).is_ok(), told.is_ok(), "{}", hostile.id);
        }
    }
}

macro_rules! rows {
    ($($name:ident: $row:literal;)*) => {
        $(#[test] fn $name() { row($row); })*

        #[test]
        fn every_row_of_the_corpus_has_its_test_and_it_is_as_large_as_promised() {
            let tested = [$($row),*];
            for entry in entries(corpus::corpus) {
                assert!(entry.tokens.len() >= 500, "{}: {}", entry.profile, entry.tokens.len());
                for hostile in &entry.tokens {
                    assert!(tested.contains(&hostile.row), "{}", hostile.row);
                }
            }
        }
    };
}

rows! {
    j_00_good_tokens: "J-00";
    j_01_alg_none: "J-01";
    j_02_alg_odd: "J-02";
    j_03_conf_hs: "J-03";
    j_04_conf_weak: "J-04";
    j_05_conf_rsa: "J-05";
    j_06_sig_rsa: "J-06";
    j_07_ecdsa: "J-07";
    j_08_eddsa: "J-08";
    j_09_sig: "J-09";
    j_10_kid_unknown: "J-10";
    j_11_kid: "J-11";
    j_12_emb: "J-12";
    j_13_crit: "J-13";
    j_14_enc: "J-14";
    j_15_json: "J-15";
    j_16_time: "J-16";
    j_17_aud: "J-17";
    j_18_iss: "J-18";
    j_19_tenant: "J-19";
    j_20_type: "J-20";
    j_21_cnf: "J-21";
    j_22_jwe: "J-22";
    j_23_ser_size: "J-23";
    j_26_claims: "J-26";
}

#[test]
fn the_largest_tokens_are_refused_before_they_are_read() {
    let bearer = |b: u8| b.is_ascii_alphanumeric() || b"-._~+/=".contains(&b);
    for entry in entries(|issuer| corpus::row(issuer, "J-23")) {
        let large: Vec<_> = entry.tokens.iter().filter(|hostile| hostile.token.len() > 16_384).collect();
        assert!(large.len() >= 3, "{}", large.len());
        for hostile in large {
            // What cannot stand in the header at all is refused there.
            let check = if hostile.token.bytes().all(bearer) { "token.size" } else { "token.present" };
            assert_eq!(judge(&entry, &hostile.token), Err(check.to_owned()), "{}", hostile.id);
        }
    }
}
