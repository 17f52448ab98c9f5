use super::{Expect, Issuer, Layer, Profile, corpus, numbers};
use crate::{Algorithm, KeySet, Refusal, SigningKey, Token};
use decision::Timestamp;
use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

pub(super) fn issuer(profile: Profile) -> Issuer {
    let tid = "11111111-1111-4111-8111-111111111111";
    let iss = format!("https://login.example/{tid}/v2.0");
    Issuer::new(profile, &iss, "api://orders", tid, Timestamp(1_750_000_000)).unwrap()
}

/// What every entry point does first: parse, find the key by the issuer and the kid, verify.
fn enter(keys: &KeySet, text: &str) -> Result<(), Refusal> {
    let token = Token::parse(text)?;
    let verified = token.verify(keys.key_for(&token)?)?;
    verified.map().map(drop)
}

/// The tokens of the row, each judged as the corpus says. What claims alone make hostile must get through here: else the
/// corpus would not show that claims are read at all.
fn judge(row: &str) {
    let mut issuer = issuer(Profile::ENTRA);
    for profile in [Profile::ENTRA, Profile::ENTRA_V1, Profile::NATIVE] {
        issuer.profile = profile;
        let keys = KeySet::from_keys(issuer.keys.iter().map(SigningKey::verifying_key).collect());
        let tokens = super::row(&issuer, row);
        assert!(!tokens.is_empty(), "{row} has no tokens");
        for hostile in tokens {
            let found = enter(&keys, &hostile.token);
            let expected = hostile.expect == Expect::Accept || hostile.layer == Layer::Claims;
            assert_eq!(found.is_ok(), expected, "{} {}: {found:?}", hostile.id, hostile.reason);
        }
    }
}

macro_rules! rows {
    ($($name:ident $row:literal,)*) => {
        $(#[test] fn $name() { judge($row); })*
    };
}

rows! {
    j_00_accepted "J-00",
    j_01_alg_none "J-01",
    j_02_alg_odd "J-02",
    j_03_conf_hs "J-03",
    j_04_conf_weak "J-04",
    j_05_conf_rsa "J-05",
    j_06_sig_rsa "J-06",
    j_07_ecdsa "J-07",
    j_08_eddsa "J-08",
    j_09_sig "J-09",
    j_10_kid_flood "J-10",
    j_11_kid "J-11",
    j_12_emb "J-12",
    j_13_crit "J-13",
    j_14_enc "J-14",
    j_15_json "J-15",
    j_16_time "J-16",
    j_17_aud "J-17",
    j_18_iss "J-18",
    j_19_tenant "J-19",
    j_20_type "J-20",
    j_21_cnf "J-21",
    j_22_jwe "J-22",
    j_23_ser "J-23",
    j_26_claims "J-26",
}

#[test]
fn the_corpus_has_what_the_table_of_attacks_asks_for() {
    // The least number of variants of each row.
    let least = [
        ("J-00", 20),
        ("J-01", 13),
        ("J-02", 17),
        ("J-03", 13),
        ("J-04", 6),
        ("J-05", 7),
        ("J-06", 7),
        ("J-07", 25),
        ("J-08", 5),
        ("J-09", 10),
        ("J-10", 5),
        ("J-11", 31),
        ("J-12", 21),
        ("J-13", 14),
        ("J-14", 38),
        ("J-15", 57),
        ("J-16", 42),
        ("J-17", 36),
        ("J-18", 28),
        ("J-19", 9),
        ("J-20", 32),
        ("J-21", 5),
        ("J-22", 7),
        ("J-23", 14),
        ("J-26", 18),
    ];
    for profile in [Profile::ENTRA, Profile::ENTRA_V1, Profile::NATIVE] {
        let tokens = corpus(&issuer(profile));
        let mut counts = BTreeMap::new();
        for token in &tokens {
            *counts.entry(token.row).or_insert(0) += 1;
        }
        println!("{} tokens: {counts:?}", tokens.len());
        assert!(tokens.len() >= 500, "{}", tokens.len());
        for (row, number) in least {
            assert!(counts.get(row).is_some_and(|n| *n >= number), "{row}: {:?} of {number}", counts.get(row));
        }
        let texts: HashSet<&str> = tokens.iter().map(|t| t.token.as_str()).collect();
        let ids: HashSet<&str> = tokens.iter().map(|t| t.id.as_str()).collect();
        assert_eq!((texts.len(), ids.len()), (tokens.len(), tokens.len()), "a token or an id occurs twice");
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the time it takes is what is tested")]
fn no_token_takes_more_than_five_milliseconds() {
    let issuer = issuer(Profile::ENTRA);
    let keys = KeySet::from_keys(issuer.keys.iter().map(SigningKey::verifying_key).collect());
    for hostile in corpus(&issuer) {
        // The best of several: the machine may be busy with something else.
        let took = (0..5).map(|_| {
            let start = Instant::now();
            let _ = enter(&keys, &hostile.token);
            start.elapsed()
        });
        let took = took.min().unwrap();
        assert!(took < Duration::from_millis(5), "{} {}: {took:?}", hostile.id, hostile.reason);
    }
}

/// The forgeries of J-06 fail by their padding, and not because our textbook RSA is wrong.
#[test]
fn textbook_rsa_signs_as_the_library_does() {
    let key = SigningKey::generate(Algorithm::RS256).unwrap();
    let (modulus, exponent) = numbers::rsa_numbers(&key).unwrap();
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, b"message");
    let info = [numbers::hex("3031300d060960864801650304020105000420"), hash.as_ref().to_vec()].concat();
    let block = [vec![0, 1], vec![0xff; modulus.len() - info.len() - 3], vec![0], info].concat();
    assert_eq!(numbers::power(&block, &exponent, &modulus), key.sign_message(b"message").unwrap());
}
