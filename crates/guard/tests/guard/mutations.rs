//! R1: mutated tokens against the guard, as a request brings them. `DEPUTIZE_MUTATIONS` says how many.
use crate::corpus::entry;
use axum::response::IntoResponse;
use jose::corpus::{Issuer, Profile, Tally};
use jose::{Algorithm, Header};
use serde_json::{Map, Value};

/// Good tokens of two users by keys of each kind.
fn good(issuer: &Issuer) -> Vec<String> {
    let claims = |sub: &str| {
        let mut claims: Map<String, Value> = (issuer.profile.claims)(issuer);
        claims.insert("sub".into(), sub.into());
        Value::Object(claims).to_string()
    };
    let kinds = [Algorithm::RS256, Algorithm::PS256, Algorithm::ES256, Algorithm::EdDSA];
    let keys = issuer.keys.iter().filter(|key| kinds.contains(&key.algorithm()));
    let header = Header::typ(issuer.profile.typ);
    keys.flat_map(|key| ["ada", "bob"].map(|sub| key.sign(&header, claims(sub).as_bytes()).unwrap())).collect()
}

#[test]
fn r_1_no_mutation_is_accepted() {
    for (profile, shape) in [("entra", Profile::ENTRA), ("entra", Profile::ENTRA_V1), ("native", Profile::NATIVE)] {
        let mut tokens = Vec::new();
        let entry = entry(profile, shape, |issuer| {
            tokens = good(issuer);
            Vec::new()
        });
        let tally = Tally::of_configured(&tokens, |text| {
            let decided = entry.guard.try_check(Some(&format!("Bearer {text}")), "GET", "/orders");
            decided.expect("keys are at hand").map(drop).map_err(|refused| {
                let check = refused.check().to_string();
                assert_eq!(refused.into_response().status(), 401, "{check}: {text}");
                check
            })
        });
        let checks = ["token.present", "token.form", "token.issuer", "token.key", "token.algorithm", "token.signature"];
        tally.reaches(&checks);
    }
}
