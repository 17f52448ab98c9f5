use super::SigningKey;
use crate::{Algorithm, Header, Jwk, KeyError, KeySet, SignError, Token, VerifyingKey};
use base64::Engine as _;
use decision::Timestamp;
use x509_parser::der_parser::parse_der;

fn pem(label: &str, der: &[u8]) -> String {
    let body = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
}

/// The key inside PKCS#8: PKCS#1 for RSA, SEC1 for elliptic curves.
fn inner(key: &SigningKey) -> Vec<u8> {
    let (_, outer) = parse_der(key.pkcs8()).unwrap();
    outer.as_sequence().unwrap()[2].as_slice().unwrap().to_vec()
}

fn verifies(key: &SigningKey, with: &VerifyingKey) -> bool {
    let token = key.sign(&Header::typ("JWT"), br#"{"sub":"ada"}"#).unwrap();
    Token::parse(&token).unwrap().verify(with).is_ok()
}

#[test]
fn every_algorithm_signs_what_its_published_key_verifies_and_no_other() {
    let keys = Algorithm::ALL.map(|algorithm| SigningKey::generate(algorithm).unwrap());
    for key in &keys {
        let published = serde_json::to_string(&key.public_jwk()).unwrap();
        let jwk: Jwk = serde_json::from_str(&published).unwrap();
        let imported = VerifyingKey::from_jwk(&jwk, None).unwrap();
        assert_eq!((imported.kid(), imported.algorithm()), (key.kid(), key.algorithm()));
        assert_eq!(jwk.thumbprint().as_deref(), Some(key.kid()));
        for other in &keys {
            assert_eq!(
                verifies(other, &imported),
                other.kid() == key.kid(),
                "{} by {}",
                other.algorithm(),
                key.algorithm()
            );
        }
    }
}

#[test]
fn private_keys_are_read_in_every_usual_form_and_other_blocks_are_ignored() {
    for algorithm in Algorithm::ALL {
        let key = SigningKey::generate(algorithm).unwrap();
        let certificate = key.self_signed("orders", Timestamp(0), Timestamp(2_000_000_000)).unwrap();
        let mut forms = vec![("PRIVATE KEY", key.pkcs8().to_vec())];
        match algorithm.as_str().get(..2) {
            Some("RS" | "PS") => forms.push(("RSA PRIVATE KEY", inner(&key))),
            Some("ES") => forms.push(("EC PRIVATE KEY", inner(&key))),
            _ => {}
        }
        for (label, der) in forms {
            let text = format!("notes\n{}{}", pem("CERTIFICATE", &certificate), pem(label, &der));
            let read = SigningKey::from_pem(algorithm, &text).unwrap();
            assert!(verifies(&read, &key.verifying_key()), "{algorithm} {label}");
            let again = SigningKey::from_pkcs8(algorithm, read.pkcs8()).unwrap();
            assert!(verifies(&again, &key.verifying_key()), "{algorithm} {label}, stored");
        }
    }
}

#[test]
fn what_is_not_the_right_private_key_is_refused() {
    let [rsa, p256, ed] = [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA]
        .map(|algorithm| SigningKey::generate(algorithm).unwrap());
    for (algorithm, key) in
        [(Algorithm::ES256, &rsa), (Algorithm::ES384, &p256), (Algorithm::PS256, &ed), (Algorithm::EdDSA, &p256)]
    {
        assert_eq!(SigningKey::from_pkcs8(algorithm, key.pkcs8()).err(), Some(KeyError::PrivateKey), "{algorithm}");
    }
    let sec1 = pem("EC PRIVATE KEY", &inner(&p256));
    assert_eq!(SigningKey::from_pem(Algorithm::RS256, &sec1).err(), Some(KeyError::PrivateKey));
    assert_eq!(SigningKey::from_pem(Algorithm::RS256, "no key").err(), Some(KeyError::Pem));
    assert_eq!(SigningKey::from_pkcs8(Algorithm::RS256, &[]).err(), Some(KeyError::PrivateKey));
}

#[test]
fn a_certificate_names_and_publishes_the_key_as_entra_does() {
    for algorithm in Algorithm::ALL {
        let key = SigningKey::generate(algorithm).unwrap();
        let der = key.self_signed("login.example", Timestamp(1_700_000_000), Timestamp(1_800_000_000)).unwrap();
        let by_certificate = VerifyingKey::from_certificate_der(&der, algorithm).unwrap();
        assert!(verifies(&key, &by_certificate), "{algorithm}");
        let key = key.with_certificate(der.clone()).unwrap();
        let jwk = key.public_jwk();
        assert_eq!(key.certificate(), Some(der.as_slice()));
        assert_eq!((jwk.kid.as_deref(), jwk.x5t.as_deref()), (Some(key.kid()), Some(by_certificate.kid())));
        assert_eq!(key.kid(), by_certificate.kid());
        assert_eq!(jwk.x5c.unwrap(), [base64::engine::general_purpose::STANDARD.encode(&der)]);
        let token = key.sign(&Header::typ("JWT"), b"{}").unwrap();
        let set = KeySet::from_keys(vec![key.verifying_key()]);
        let token = Token::parse(&token).unwrap();
        assert!(token.verify(set.key_for(&token).unwrap()).is_ok());
    }
}

#[test]
fn a_certificate_of_another_key_is_refused() {
    let generate = |algorithm| SigningKey::generate(algorithm).unwrap();
    let certificate = |key: &SigningKey| key.self_signed("x", Timestamp(0), Timestamp(1)).unwrap();
    for algorithm in [Algorithm::RS256, Algorithm::PS256, Algorithm::ES256, Algorithm::ES512, Algorithm::EdDSA] {
        let found = generate(algorithm).with_certificate(certificate(&generate(algorithm))).err();
        assert_eq!(found, Some(KeyError::CertificateOfAnotherKey), "{algorithm}");
    }
    let of = |der| generate(Algorithm::ES256).with_certificate(der).err();
    assert_eq!(of(certificate(&generate(Algorithm::EdDSA))), Some(KeyError::AlgorithmMismatch));
    assert_eq!(of(certificate(&generate(Algorithm::ES384))), Some(KeyError::Point));
    assert_eq!(of(b"x".to_vec()), Some(KeyError::Certificate));
    // The same key under another padding is the same key.
    let key = generate(Algorithm::RS256);
    let other = SigningKey::from_pkcs8(Algorithm::PS256, key.pkcs8()).unwrap();
    assert!(other.with_certificate(certificate(&key)).is_ok());
}

#[test]
fn certificates_have_dates_in_order() {
    let key = SigningKey::generate(Algorithm::ES256).unwrap();
    for (from, to) in [(-1, 10), (10, 10), (10, 9), (0, 253_402_300_800)] {
        assert_eq!(key.self_signed("x", Timestamp(from), Timestamp(to)).err(), Some(KeyError::Dates));
    }
    assert_eq!(VerifyingKey::from_certificate_der(b"x", Algorithm::ES256).err(), Some(KeyError::Certificate));
    let mut der = key.self_signed("x", Timestamp(0), Timestamp(1)).unwrap();
    assert_eq!(VerifyingKey::from_certificate_der(&der, Algorithm::RS256).err(), Some(KeyError::AlgorithmMismatch));
    der.push(0);
    assert_eq!(VerifyingKey::from_certificate_der(&der, Algorithm::ES256).err(), Some(KeyError::Certificate));
    // X25519 has keys of the same length, for another purpose (RFC 8410 section 3).
    let ed = SigningKey::generate(Algorithm::EdDSA).unwrap().self_signed("x", Timestamp(0), Timestamp(1)).unwrap();
    assert!(VerifyingKey::from_certificate_der(&ed, Algorithm::EdDSA).is_ok());
    let mut agreement = ed;
    let places: Vec<usize> =
        (0..agreement.len() - 2).filter(|at| agreement[*at..*at + 3] == [0x2b, 0x65, 0x70]).collect();
    for at in places {
        agreement[at + 2] = 0x6e;
    }
    let found = VerifyingKey::from_certificate_der(&agreement, Algorithm::EdDSA).err();
    assert_eq!(found, Some(KeyError::AlgorithmMismatch));
}

#[test]
fn claims_that_our_own_verifier_would_refuse_are_not_signed() {
    let key = SigningKey::generate(Algorithm::ES256).unwrap();
    for claims in ["", "[]", "{\"a\":1,\"a\":2}", "{\"a\":1"] {
        assert!(matches!(key.sign(&Header::default(), claims.as_bytes()), Err(SignError::Claims(_))), "{claims}");
    }
}

#[test]
fn nothing_secret_is_shown() {
    let key = SigningKey::generate(Algorithm::EdDSA).unwrap().named("k1");
    let shown = format!("{key:?} {:?}", key.verifying_key());
    assert!(shown.contains("k1") && shown.len() < 200, "{shown}");
    let text = key.sign(&Header::default(), br#"{"sub":"ada"}"#).unwrap();
    let token = Token::parse(&text).unwrap();
    let shown = format!("{token:?} {:?}", token.verify(&key.verifying_key()).unwrap());
    assert!(!text.split('.').any(|segment| shown.contains(segment)) && !shown.contains("ada"), "{shown}");
}

#[test]
fn an_rsa_key_that_states_no_algorithm_is_found_for_any_of_its_family_and_others_for_their_own_alone() {
    let rsa = SigningKey::generate(Algorithm::RS256).unwrap();
    let ec = SigningKey::generate(Algorithm::ES256).unwrap();
    let mut unbound = serde_json::to_value(rsa.public_jwk()).unwrap();
    unbound.as_object_mut().unwrap().remove("alg");
    unbound["kid"] = "unbound".into();
    let set = serde_json::json!({ "keys": [unbound, rsa.public_jwk(), ec.public_jwk()] }).to_string();
    let (keys, _) = KeySet::parse(set.as_bytes(), Some(Algorithm::RS256)).unwrap();
    for algorithm in Algorithm::ALL {
        assert_eq!(keys.find_for("unbound", algorithm).is_some(), algorithm.is_rsa(), "{algorithm}");
        assert_eq!(keys.find_for(rsa.kid(), algorithm).is_some(), algorithm == Algorithm::RS256, "{algorithm}");
        assert_eq!(keys.find_for(ec.kid(), algorithm).is_some(), algorithm == Algorithm::ES256, "{algorithm}");
    }
    let signer = SigningKey::from_pkcs8(Algorithm::PS512, rsa.pkcs8()).unwrap().named("unbound");
    assert!(verifies(&signer, keys.find_for("unbound", Algorithm::PS512).unwrap()));
    assert_eq!(keys.find("unbound").unwrap().algorithm(), Algorithm::RS256, "who binds keys sees what was bound");
}
