//! J-00: what must be accepted, though some of it looks odd.
use super::mint::{Mint, sure};
use super::numbers::{ORDERS, hex, subtract};
use crate::{Algorithm, base64url};
use serde_json::{Value, json};

pub(super) fn rows(mint: &mut Mint<'_>) {
    for key in &mint.issuer.keys {
        mint.accept(format!("a good token, {}", key.algorithm()), mint.good_by(key));
    }
    let (aud, now) = (mint.issuer.aud.clone(), mint.issuer.now);
    mint.accept("the audience as a list of one", mint.with("aud", json!([aud])));
    mint.accept("the audience in a list of several", mint.with("aud", json!(["api://other", aud, "api://third"])));
    mint.accept("a fractional `exp` (RFC 7519 section 2)", mint.with_text("exp", &format!("{}.5", now.0 + 3600)));
    let exponent = format!("{}e1", (now.0 + 3600) / 10);
    mint.accept("`exp` in exponent form", mint.with_text("exp", &exponent));
    mint.accept(
        "an unknown header parameter (RFC 7515 section 4)",
        mint.with_header("x-new", json!({ "a": [1, null] })),
    );
    mint.accept("unknown claims", mint.with_all([("x_new", json!({ "a": [1, 2.5, null] })), ("wids", json!(["w"]))]));
    mint.accept("UTF-8 in claims", mint.with("name", json!("Ádá Lovelace 数学 🧮")));
    mint.accept("a surrogate pair, escaped", mint.with_text("name", "\"\\ud83e\\uddee\""));
    mint.accept("no `nbf`", mint.without(&["nbf"]));
    let payload = Value::Object(mint.claims());
    let spaced = sure(serde_json::to_string_pretty(&payload)).replace('\n', "\r\n\t ");
    mint.accept("insignificant white space (RFC 8259 section 2)", mint.with_payload(format!(" {spaced} ").as_bytes()));
    let escaped = payload.to_string().replace("\"aud\"", "\"\\u0061ud\"");
    mint.accept("an escaped member name", mint.with_payload(escaped.as_bytes()));
    let members: Vec<String> = mint.claims().iter().rev().map(|(k, v)| format!("{}:{v}", json!(k))).collect();
    mint.accept("members in another order", mint.with_payload(format!("{{{}}}", members.join(",")).as_bytes()));
    let header = format!(
        "{{ \"typ\" : \"{}\", \"\\u006bid\":\"{}\",\n\"alg\":\"{}\" }}",
        mint.issuer.profile.typ,
        mint.main.kid(),
        mint.main.algorithm()
    );
    let payload = base64url::encode(mint.payload());
    mint.accept("a header with white space and escapes", mint.with_segments(&base64url::encode(header), &payload));
    let groups: Vec<String> = (0..140).map(|i| format!("{i:08x}-0000-4000-8000-000000000000")).collect();
    mint.accept("a large token with many groups", mint.with("groups", json!(groups)));
    mint.accept(
        "just expired, within the skew",
        mint.with_all([("exp", json!(now.plus(-30))), ("nbf", json!(now.plus(-900))), ("iat", json!(now.plus(-900)))]),
    );
    mint.accept("not yet valid, within the skew", mint.with("nbf", json!(now.plus(30))));
    mint.accept("made in the future, within the skew", mint.with("iat", json!(now.plus(30))));
    for typ in mint.issuer.profile.same_typ {
        mint.accept(format!("`typ` written `{typ}`"), mint.with_header("typ", json!(typ)));
    }
    for (algorithm, order) in [Algorithm::ES256, Algorithm::ES384, Algorithm::ES512].into_iter().zip(ORDERS) {
        if let Some(key) = mint.key(algorithm) {
            let token = mint.resigned(key, |message| {
                let signature = sure(key.sign_message(message));
                let (r, s) = signature.split_at(signature.len() / 2);
                [r.to_vec(), subtract(&hex(order), s)].concat()
            });
            mint.accept(format!("{algorithm} with (r, n−s): JOSE has no low-S rule"), token);
        }
    }
}
