use super::{MAX_TOKEN, Token};
use crate::{Algorithm, Header, Refusal, SigningKey};

fn refused(text: &str) -> Option<Refusal> {
    Token::parse(text).err()
}

#[test]
fn j_23_the_largest_token_is_where_it_is_said_to_be() {
    let key = SigningKey::generate(Algorithm::ES256).unwrap();
    let text = |typ: usize, more: usize| {
        let claims = format!("{{\"x\":\"{}\"}}", "x".repeat(more));
        key.sign(&Header::typ("t".repeat(typ)), claims.as_bytes()).unwrap()
    };
    // An octet more is a letter more or two, so the header helps out.
    let of = |length: usize| {
        let base = text(1, 12_000).len();
        let texts = (1..4).flat_map(|typ| (0..8).map(move |n| (typ, n)));
        let around = 12_000 + (length - base) * 3 / 4 - 4;
        texts.map(|(typ, n)| text(typ, around + n)).find(|text| text.len() == length).unwrap()
    };
    assert!(Token::parse(&of(MAX_TOKEN)).unwrap().verify(&key.verifying_key()).is_ok());
    assert_eq!(refused(&of(MAX_TOKEN + 1)), Some(Refusal::TooLarge));
}

#[test]
fn j_14_and_j_22_wrong_numbers_of_segments_and_empty_ones_are_told_as_such() {
    let key = SigningKey::generate(Algorithm::ES256).unwrap();
    let text = key.sign(&Header::typ("at+jwt"), br#"{"sub":"ada"}"#).unwrap();
    assert_eq!(Token::parse(&text).unwrap().header().typ.as_deref(), Some("at+jwt"));
    let (signed, signature) = text.rsplit_once('.').unwrap();
    let (header, payload) = signed.split_once('.').unwrap();
    for text in [
        String::new(),
        header.to_owned(),
        signed.to_owned(),
        format!(".{payload}.{signature}"),
        format!("{header}..{signature}"),
        format!("{header}.{payload}."),
        format!("{text}.{signature}"),
        format!("{text}.{text}"),
    ] {
        assert_eq!(refused(&text), Some(Refusal::Segments), "{text}");
    }
    assert_eq!(refused(&format!("{text}.{signed}")), Some(Refusal::Encrypted));
}

/// J-20: a token within a token is refused by its own word for it; other content is the reader's to judge.
#[test]
fn j_20_only_a_token_within_a_token_is_refused_by_its_content_type() {
    let key = SigningKey::generate(Algorithm::ES256).unwrap();
    let of = |cty: &str| key.sign_octets(format!("{{\"alg\":\"ES256\",\"cty\":\"{cty}\"}}").as_bytes(), b"{}").unwrap();
    for cty in ["JWT", "jwt", "application/jwt", "Application/JWT"] {
        assert_eq!(refused(&of(cty)), Some(Refusal::Nested), "{cty}");
    }
    for cty in ["json", "application/json", "JWTs"] {
        assert!(Token::parse(&of(cty)).unwrap().verify(&key.verifying_key()).is_ok(), "{cty}");
    }
}
