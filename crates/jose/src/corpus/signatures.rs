//! J-06 to J-10: signatures that are malformed, forged, or another's; keys that are unknown.
use super::mint::{Mint, split, sure};
use super::numbers::{ED25519_ORDER, ORDERS, P256_FIELD, add, der, hex, plain, rsa_numbers, signed, subtract};
use crate::{Algorithm, base64url};
use serde_json::json;

/// Makes a signature of the two halves of a good one.
type Forge<'a> = dyn Fn(&[u8], &[u8]) -> Vec<u8> + 'a;

pub(super) fn rsa(mint: &mut Mint<'_>) {
    let Some(key) = mint.key(Algorithm::RS256) else { return };
    let Some((n, _)) = rsa_numbers(key) else { return };
    let mut put = |reason: &str, forge: &dyn Fn(Vec<u8>) -> Vec<u8>| {
        let token = mint.resigned(key, |message| forge(sure(key.sign_message(message))));
        mint.reject("J-06", reason, token);
    };
    let one = |last: u8| {
        let mut number = vec![0; n.len()];
        if let Some(octet) = number.last_mut() {
            *octet = last;
        }
        number
    };
    put("an extra leading zero", &|s| [vec![0], s].concat());
    put("an extra trailing zero", &|s| [s, vec![0]].concat());
    put("s + n", &|s| add(&s, &n));
    put("s = 0", &|_| one(0));
    put("s = 1", &|_| one(1));
    put("s = n − 1", &|_| subtract(&n, &one(1)));
    put("s = n", &|_| n.clone());
    put("n − s", &|s| subtract(&n, &s));
}

pub(super) fn ecdsa(mint: &mut Mint<'_>) {
    let Some(key) = mint.key(Algorithm::ES256) else { return };
    let order = hex(ORDERS.first().copied().unwrap_or_default());
    let word = |last: u8| [vec![0; 31], vec![last]].concat();
    let next = add(&order, &word(1));
    let before = subtract(&order, &word(1));
    let (field, top) = (hex(P256_FIELD), vec![0xff; 32]);
    let psychic: [(&str, &[u8], &[u8]); 13] = [
        ("r = s = 0 (CVE-2022-21449)", &word(0), &word(0)),
        ("r = 0, s = 1", &word(0), &word(1)),
        ("r = 1, s = 0", &word(1), &word(0)),
        ("r = s = 1", &word(1), &word(1)),
        ("r = s = n", &order, &order),
        ("r = n, s = 1", &order, &word(1)),
        ("r = 1, s = n", &word(1), &order),
        ("r = 0, s = n", &word(0), &order),
        ("r = n, s = 0", &order, &word(0)),
        ("r = s = n − 1", &before, &before),
        ("r = s = n + 1", &next, &next),
        ("r = s = p", &field, &field),
        ("all ones", &top, &top),
    ];
    for (reason, r, s) in psychic {
        mint.reject("J-07", reason, mint.resigned(key, |_| [r, s].concat()));
    }
    let mut put = |reason: &str, forge: &Forge<'_>| {
        let token = mint.resigned(key, |message| {
            let signature = sure(key.sign_message(message));
            let (r, s) = signature.split_at(signature.len() / 2);
            forge(r, s)
        });
        mint.reject("J-07", reason, token);
    };
    put("DER in place of r‖s", &|r, s| der(0x30, &[der(2, &signed(&plain(r))), der(2, &signed(&plain(s)))].concat()));
    put("63 octets", &|r, s| [r, s.get(..31).unwrap_or_default()].concat());
    put("65 octets", &|r, s| [r, s, &[0]].concat());
    put("66 octets: each half with a leading zero", &|r, s| [&[0], r, &[0], s].concat());
    put("96 octets: each half padded to another curve", &|r, s| [&[0; 16], r, &[0; 16], s].concat());
    put("r and s swapped", &|r, s| [s, r].concat());
    put("s = 0 beside a good r", &|r, _| [r, &[0; 32]].concat());
    put("r = 0 beside a good s", &|_, s| [&[0; 32], s].concat());
    put("n − r", &|r, s| [subtract(&order, r), s.to_vec()].concat());
    put("r alone", &|r, _| r.to_vec());
    for algorithm in [Algorithm::ES384, Algorithm::ES512] {
        if let Some(other) = mint.key(algorithm) {
            let mut header = mint.header_of(other);
            header.insert("kid".to_owned(), json!(key.kid()));
            let token = Mint::signed(other, header, &mint.payload());
            mint.reject("J-07", format!("{algorithm} under the kid of the ES256 key"), token);
            let mut header = mint.header_of(key);
            header.insert("alg".to_owned(), json!(algorithm.as_str()));
            mint.reject("J-07", format!("{algorithm} said, ES256 signed"), Mint::signed(key, header, &mint.payload()));
        }
    }
}

pub(super) fn eddsa(mint: &mut Mint<'_>) {
    let Some(key) = mint.key(Algorithm::EdDSA) else { return };
    let order: Vec<u8> = hex(ED25519_ORDER).into_iter().rev().collect();
    let mut put = |reason: &str, forge: &Forge<'_>| {
        let token = mint.resigned(key, |message| {
            let signature = sure(key.sign_message(message));
            let (r, s) = signature.split_at(32);
            forge(r, s)
        });
        mint.reject("J-08", reason, token);
    };
    put("S + L", &|r, s| {
        let s: Vec<u8> = s.iter().rev().copied().collect();
        [r.to_vec(), add(&s, &order).into_iter().rev().collect()].concat()
    });
    put("R the identity, S = 0", &|_, _| [vec![1], vec![0; 63]].concat());
    put("R the identity beside a good S", &|_, s| [&[1], &[0; 31][..], s].concat());
    put("all zeros", &|_, _| vec![0; 64]);
    put("63 octets", &|r, s| [r, s.get(..31).unwrap_or_default()].concat());
    put("65 octets", &|r, s| [r, s, &[0]].concat());
}

pub(super) fn altered(mint: &mut Mint<'_>) {
    let row = "J-09";
    let good = mint.good();
    let [header, payload, signature] = split(&good);
    let octets = base64url::decode(&signature).unwrap_or_default();
    for at in [0, 1, octets.len() / 2, octets.len() - 1] {
        for bit in [0, 7] {
            let mut flipped = octets.clone();
            if let Some(octet) = flipped.get_mut(at) {
                *octet ^= 1 << bit;
            }
            let token = format!("{header}.{payload}.{}", base64url::encode(flipped));
            mint.reject(row, format!("bit {bit} of octet {at} of the signature flipped"), token);
        }
    }
    mint.reject(row, "the signature removed", format!("{header}.{payload}."));
    mint.reject(row, "the signature and its dot removed", format!("{header}.{payload}"));
    let half = base64url::encode(octets.get(..octets.len() / 2).unwrap_or_default());
    mint.reject(row, "the signature truncated", format!("{header}.{payload}.{half}"));
    let twice = base64url::encode([octets.clone(), octets].concat());
    mint.reject(row, "the signature twice", format!("{header}.{payload}.{twice}"));
    mint.reject(row, "the signature of nothing", format!("{header}.{payload}.AA"));
    let [_, other, _] = split(&mint.with("sub", json!("pairwise-mallory")));
    mint.reject(row, "another token's payload", format!("{header}.{other}.{signature}"));
    let [other, _, _] = split(&mint.with_header("x", json!(1)));
    mint.reject(row, "another token's header", format!("{other}.{payload}.{signature}"));
    mint.reject(row, "header and payload swapped", format!("{payload}.{header}.{signature}"));
    mint.reject(row, "an attacker's key under our kid", mint.good_by(&mint.attacker));
    for key in mint.issuer.keys.iter().skip(1) {
        let mut claimed = mint.header();
        claimed.insert("kid".to_owned(), json!(key.kid()));
        let token = Mint::signed(mint.main, claimed, &mint.payload());
        mint.reject(row, format!("the kid of our {} key, signed with another of ours", key.algorithm()), token);
    }
}

pub(super) fn unknown_keys(mint: &mut Mint<'_>) {
    for number in 0..6 {
        let kid = base64url::encode(format!("unknown {number}"));
        mint.reject("J-10", "a kid that nobody has", mint.with_header("kid", json!(kid)));
    }
}
