use super::Tally;
use crate::{Algorithm, Header, KeySet, Refusal, SigningKey, Token};
use serde_json::json;

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

#[test]
fn r_1_no_mutation_is_accepted() {
    let keys = [Algorithm::RS256, Algorithm::PS256, Algorithm::ES256, Algorithm::EdDSA]
        .map(|algorithm| SigningKey::generate(algorithm).unwrap());
    let set = KeySet::from_keys(keys.iter().map(SigningKey::verifying_key).collect());
    let tokens: Vec<String> = keys.iter().flat_map(|key| (0..3).map(|n| good(key, n))).collect();
    Tally::of_configured(&tokens, |text| enter(&set, text).map_err(|refusal| refusal.check().to_string())).reaches(&[
        "token.form",
        "token.algorithm",
        "token.key",
        "token.signature",
    ]);
}
