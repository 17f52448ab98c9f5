//! J-01 to J-05: algorithms that are none, odd, or another than the key's.
use super::mint::{Mint, split, sure};
use super::numbers::{der, hex, pkcs1, power, rsa_numbers, signed};
use crate::{Algorithm, SigningKey, base64url};
use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

fn with_alg(mint: &Mint<'_>, alg: Value) -> String {
    mint.with_header("alg", alg)
}

pub(super) fn none(mint: &mut Mint<'_>) {
    for alg in ["none", "None", "NONE", "nOnE", "none ", " none", "none\0", "", "null", "nоne"] {
        mint.reject("J-01", format!("`alg` is {alg:?}, the signature kept"), with_alg(mint, json!(alg)));
    }
    for alg in ["none", "NONE"] {
        let [header, payload, _] = split(&with_alg(mint, json!(alg)));
        mint.reject("J-01", format!("`alg` is {alg}, no signature"), format!("{header}.{payload}."));
        mint.reject("J-01", format!("`alg` is {alg}, two segments"), format!("{header}.{payload}"));
    }
}

pub(super) fn odd(mint: &mut Mint<'_>) {
    mint.reject("J-02", "no `alg`", mint.without_header("alg"));
    let name = mint.main.algorithm().as_str();
    let odd = [
        Value::Null,
        json!(true),
        json!(256),
        json!([name]),
        json!({ "alg": name }),
        json!(name.to_ascii_lowercase()),
        json!(format!("{name} ")),
        json!(format!(" {name}")),
        json!(format!("{name}\0")),
        json!(format!("{name}\n")),
        json!(format!("{name},none")),
        json!("XS256"),
        json!("HS256"),
        json!("HS512"),
        json!("dir"),
        json!("RSA-OAEP"),
        json!("A256KW"),
        json!("SHA256withRSA"),
        json!("http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"),
    ];
    for alg in odd {
        mint.reject("J-02", format!("`alg` is {alg} over a valid signature"), with_alg(mint, alg));
    }
}

/// Our public keys, in every writing somebody might give to an HMAC.
fn public_writings(mint: &Mint<'_>) -> Vec<(String, Vec<u8>)> {
    let mut writings = Vec::new();
    let pem = |label: &str, der: &[u8], end: &str| {
        let body = STANDARD.encode(der);
        let lines: Vec<&str> = body.as_bytes().chunks(64).filter_map(|c| std::str::from_utf8(c).ok()).collect();
        format!("-----BEGIN {label}-----{end}{}{end}-----END {label}-----{end}", lines.join(end))
    };
    for key in mint.issuer.keys.iter().filter(|k| matches!(k.algorithm(), Algorithm::RS256 | Algorithm::ES256)) {
        let alg = key.algorithm();
        let spki = key.verifying_key().spki();
        let mut put = |writing: &str, octets: Vec<u8>| writings.push((format!("{alg} key as {writing}"), octets));
        put("SPKI PEM", pem("PUBLIC KEY", &spki, "\n").into_bytes());
        put("SPKI PEM with CRLF", pem("PUBLIC KEY", &spki, "\r\n").into_bytes());
        put("SPKI PEM without the last line end", pem("PUBLIC KEY", &spki, "\n").trim_end().as_bytes().to_vec());
        put("SPKI in base64", STANDARD.encode(&spki).into_bytes());
        put("SPKI DER", spki);
        put("JWK", sure(serde_json::to_vec(&key.public_jwk())));
        put("thumbprint", key.public_jwk().thumbprint().unwrap_or_default().into_bytes());
        let now = mint.issuer.now;
        let certificate = sure(key.self_signed("issuer", now.plus(-3600), now.plus(3600)));
        put("certificate PEM", pem("CERTIFICATE", &certificate, "\n").into_bytes());
        put("certificate DER", certificate);
        let jwk = key.public_jwk();
        let part = |member: Option<String>| member.and_then(|m| base64url::decode(&m)).unwrap_or_default();
        if alg == Algorithm::RS256 {
            let (n, e) = (part(jwk.n), part(jwk.e));
            put("PKCS#1 PEM", pem("RSA PUBLIC KEY", &pkcs1(&n, &e), "\n").into_bytes());
            put("PKCS#1 DER", pkcs1(&n, &e));
            let field =
                |octets: &[u8]| [&u32::try_from(octets.len()).unwrap_or_default().to_be_bytes(), octets].concat();
            let blob = [field(b"ssh-rsa"), field(&signed(&e)), field(&signed(&n))].concat();
            put("OpenSSH line (CVE-2024-33663)", format!("ssh-rsa {}", STANDARD.encode(blob)).into_bytes());
            put("modulus", n);
        } else {
            put("EC point", [vec![4], part(jwk.x), part(jwk.y)].concat());
        }
    }
    writings
}

pub(super) fn confusion(mint: &mut Mint<'_>) {
    for (writing, octets) in public_writings(mint) {
        mint.reject("J-03", format!("HS256 with our {writing}"), mint.hmac("HS256", &octets));
        if writing.ends_with("SPKI PEM") || writing.ends_with("JWK") {
            mint.reject("J-03", format!("HS512 with our {writing}"), mint.hmac("HS512", &octets));
        }
    }
}

pub(super) fn weak(mint: &mut Mint<'_>) {
    let (kid, iss) = (mint.main.kid().to_owned(), mint.issuer.iss.clone());
    let secrets: [(&str, Vec<u8>); 5] = [
        ("an empty key (CVE-2026-49852), which to HMAC is any number of zeros", Vec::new()),
        ("the key `secret`", b"secret".to_vec()),
        ("the key `null`", b"null".to_vec()),
        ("the kid as key", kid.into_bytes()),
        ("the issuer as key", iss.into_bytes()),
    ];
    for (reason, secret) in secrets {
        mint.reject("J-04", format!("HS256 with {reason}"), mint.hmac("HS256", &secret));
    }
    mint.reject("J-04", "HS384 with an empty key", mint.hmac("HS384", b""));
    mint.reject("J-04", "HS512 with an empty key", mint.hmac("HS512", b""));
}

pub(super) fn other_rsa(mint: &mut Mint<'_>) {
    let Some(key) = mint.key(Algorithm::RS256) else { return };
    // The token says that it is signed as the key is bound, and is signed otherwise; or says otherwise, and is.
    for algorithm in [Algorithm::PS256, Algorithm::RS384, Algorithm::RS512, Algorithm::PS512] {
        let other = sure(SigningKey::from_pkcs8(algorithm, key.pkcs8())).named(key.kid());
        let reason = format!("{algorithm}, validly, with a key bound to RS256");
        mint.reject("J-05", reason, mint.good_by(&other));
        let token = mint.resigned(key, |message| sure(other.sign_message(message)));
        mint.reject("J-05", format!("a {algorithm} signature in a token that says RS256"), token);
    }
    if let Some(pss) = mint.key(Algorithm::PS256) {
        let token = mint.resigned(pss, |message| pss.sign_unsalted(message));
        mint.reject("J-05", "PS256 with a salt of length 0 (RFC 7518 section 3.5)", token);
    }
}

/// Blocks padded by hand.
pub(super) fn padding(mint: &mut Mint<'_>) {
    let Some(key) = mint.key(Algorithm::RS256) else { return };
    let Some((n, d)) = rsa_numbers(key) else { return };
    // DigestInfo of SHA-1 and of SHA-256 (RFC 8017 section 9.2).
    let sha1 = |message: &[u8]| {
        [hex("3021300906052b0e03021a05000414"), digest(&SHA1_FOR_LEGACY_USE_ONLY, message).as_ref().to_vec()].concat()
    };
    let sha256 = |message: &[u8]| {
        let hash = digest(&aws_lc_rs::digest::SHA256, message);
        [hex("3031300d060960864801650304020105000420"), hash.as_ref().to_vec()].concat()
    };
    let pad = |filler: usize, info: &[u8]| {
        let mut block = [vec![0, 1], vec![0xff; filler], vec![0], info.to_vec()].concat();
        block.resize(n.len(), 0xaa);
        block
    };
    let full = |info: &[u8]| n.len() - info.len() - 3;
    let raw = |block: Vec<u8>| power(&block, &d, &n);
    let token = mint.resigned(key, |m| raw(pad(full(&sha1(m)), &sha1(m))));
    mint.reject("J-05", "SHA-1 inside RS256", token);
    let token = mint.resigned(key, |m| raw(pad(8, &sha256(m))));
    mint.reject("J-06", "Bleichenbacher 2006: short padding, garbage behind the hash", token);
    let token = mint.resigned(key, |m| {
        let mut block = pad(full(&sha256(m)), &sha256(m));
        if let Some(kind) = block.get_mut(1) {
            *kind = 2;
        }
        raw(block)
    });
    mint.reject("J-06", "padding of type 2", token);
    let token = mint.resigned(key, |m| {
        let bare = digest(&aws_lc_rs::digest::SHA256, m);
        raw(pad(full(bare.as_ref()), bare.as_ref()))
    });
    mint.reject("J-06", "a hash without DigestInfo", token);
    let token = mint.resigned(key, |m| {
        // BERserk: the same structure with lengths in long form.
        let hash = digest(&aws_lc_rs::digest::SHA256, m);
        let inner = [hex("3081"), vec![0x0d], hex("06096086480165030402010500"), der(4, hash.as_ref())].concat();
        let info = [vec![0x30, 0x81], vec![u8::try_from(inner.len()).unwrap_or_default()], inner].concat();
        raw(pad(full(&info), &info))
    });
    mint.reject("J-06", "DigestInfo in BER (BERserk)", token);
}
