use super::{Proof, ProofRefusal, digest_of, verify};
use crate::corpus::{Bound, proofs};
use crate::{Algorithm, Header, KeyError, Refusal, SigningKey};
use decision::Timestamp;
use serde_json::{Value, json};

fn key(algorithm: Algorithm) -> SigningKey {
    SigningKey::generate(algorithm).unwrap()
}

fn claims() -> Value {
    json!({"jti": "1", "htm": "GET", "htu": "https://api.example/", "iat": 1_700_000_000})
}

#[test]
fn a_proof_of_every_algorithm_names_its_key() {
    for algorithm in Algorithm::ALL {
        let key = key(algorithm);
        let header = Header { jwk: Some(key.public_jwk()), ..Header::typ("dpop+jwt") };
        let mut all = claims();
        all["ath"] = json!(digest_of("token"));
        all["nonce"] = json!("n");
        all["iat"] = json!(1_700_000_000.75);
        let text = key.sign(&header, all.to_string().as_bytes()).unwrap();
        let proof = verify(&text, &Algorithm::ALL).unwrap();
        let expected = Proof {
            thumbprint: key.public_jwk().thumbprint().unwrap(),
            algorithm,
            jti: "1".into(),
            htm: "GET".into(),
            htu: "https://api.example/".into(),
            iat: Timestamp(1_700_000_000),
            ath: Some(digest_of("token")),
            nonce: Some("n".into()),
        };
        assert_eq!(proof, expected);
        let others: Vec<_> = Algorithm::ALL.into_iter().filter(|other| *other != algorithm).collect();
        assert_eq!(verify(&text, &others), Err(ProofRefusal::Algorithm), "{algorithm}");
    }
    // RFC 9449 section 7.1: the digest of the token of the example there.
    let token = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU";
    assert_eq!(digest_of(token), "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo");
}

#[test]
fn the_example_of_the_rfc_is_a_proof() {
    // RFC 9449 section 7.1, figure 12.
    let text = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9.2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA";
    let proof = verify(text, &[Algorithm::ES256]).unwrap();
    assert_eq!(proof.thumbprint, "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I");
    assert_eq!(proof.ath.as_deref(), Some("fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo"));
}

#[test]
fn j_21_what_is_no_proof_of_a_key_is_refused() {
    let key = key(Algorithm::ES256);
    let of = Bound {
        key: &key,
        method: "GET",
        uri: "https://api.example/a",
        token: "token",
        now: Timestamp(1_700_000_000),
        max_age: 60,
    };
    let good = of.good("1");
    assert!(verify(&good, &Algorithm::ALL).is_ok());
    for at in 0..good.len() {
        let mut altered = good.clone().into_bytes();
        altered[at] = if altered[at] == b'A' { b'B' } else { b'A' };
        assert!(verify(std::str::from_utf8(&altered).unwrap(), &Algorithm::ALL).is_err(), "octet {at}");
    }
    let thumbprint = key.public_jwk().thumbprint().unwrap();
    let refused = |name: &str, value: Value| verify(&of.edited("1", |header, _| header[name] = value), &Algorithm::ALL);
    let mut private = json!(key.public_jwk());
    private["d"] = json!("AAAA");
    assert_eq!(refused("jwk", private), Err(ProofRefusal::Key(KeyError::Private)));
    assert_eq!(refused("jwk", json!({"kty": "oct", "k": "AA"})), Err(ProofRefusal::Key(KeyError::Symmetric)));
    assert_eq!(refused("jwk", json!(thumbprint)), Err(ProofRefusal::Key(KeyError::Malformed)));
    assert_eq!(refused("typ", json!("JWT")), Err(ProofRefusal::Type));
    for alg in ["none", "HS256", "es256", "ES512"] {
        assert!(refused("alg", json!(alg)).is_err(), "{alg}");
    }
    assert_eq!(refused("alg", json!("HS256")), Err(ProofRefusal::Algorithm));
    assert_eq!(refused("crit", json!(["exp"])), Err(ProofRefusal::Token(Refusal::Extension("crit"))));
    // Whatever the others are, it is not that their own key does not confirm them: that the request judges.
    let of_the_proof = |why: &str| !why.contains("method") && !why.contains("address") && !why.contains("path");
    for (why, texts) in proofs(&of).unwrap().into_iter().filter(|(why, texts)| texts.len() == 1 && of_the_proof(why)) {
        let passes = verify(&texts[0], &Algorithm::ALL).is_ok_and(|proof| {
            proof.thumbprint == thumbprint && proof.htu == of.uri && proof.ath == Some(digest_of("token"))
        });
        let judged_by_time = ["old", "last year", "future"].iter().any(|word| why.contains(word));
        assert_eq!(passes, judged_by_time, "{why}");
    }
}
