//! J-20: tokens of another kind, with a valid signature.
use super::mint::Mint;
use crate::base64url;
use serde_json::{Map, Value, json};

/// A `typ` and claims.
type Kind = (String, Map<String, Value>);

pub(super) fn rows(mint: &mut Mint<'_>) {
    let row = "J-20";
    let (issuer, good) = (mint.issuer, mint.claims());
    let kind = |typ: &str, drop: &[&str], add: Value| {
        let mut claims = good.clone();
        for name in drop {
            claims.remove(*name);
        }
        claims.extend(super::object(add));
        (typ.to_owned(), claims)
    };
    // What an access token has and other kinds lack.
    let access = ["azp", "appid", "client_id", "azpacr", "scp", "scope", "roles", "idtyp"];
    let proof = json!({ "htm": "GET", "htu": issuer.aud, "ath": "x" });
    let events = json!({ "events": { "http://schemas.openid.net/event/backchannel-logout": {} } });
    let client = "cccccccc-0000-4000-8000-00000000000c";
    let kinds: [(&str, Kind); 12] = [
        ("an ID token", kind("JWT", &access, json!({ "aud": client, "nonce": "n", "preferred_username": "ada" }))),
        ("an ID token for our audience", kind("JWT", &access, json!({ "nonce": "n", "preferred_username": "ada" }))),
        ("an access token with a nonce", kind(issuer.profile.typ, &[], json!({ "nonce": "n" }))),
        (
            "a client assertion",
            kind("JWT", &access, json!({ "iss": client, "sub": client, "aud": format!("{}/token", issuer.iss) })),
        ),
        ("a client assertion for our audience", kind("JWT", &access, json!({ "iss": client, "sub": client }))),
        ("a logout token", kind("logout+jwt", &access, events.clone())),
        ("a logout token without its typ", kind(issuer.profile.typ, &[], events)),
        ("a DPoP proof", kind("dpop+jwt", &access, proof)),
        (
            "an introspection response",
            kind("token-introspection+jwt", &access, json!({ "token_introspection": { "active": true } })),
        ),
        (
            "an introspection response without its typ",
            kind(issuer.profile.typ, &[], json!({ "token_introspection": { "active": true } })),
        ),
        ("a security event", kind("secevent+jwt", &access, json!({ "events": { "x": {} } }))),
        (
            "a request object",
            kind("oauth-authz-req+jwt", &access, json!({ "response_type": "code", "client_id": client })),
        ),
    ];
    for (reason, (typ, claims)) in kinds {
        let mut header = mint.header();
        header.insert("typ".to_owned(), json!(typ));
        let token = Mint::signed(mint.main, header, Value::Object(claims).to_string().as_bytes());
        mint.claims_reject(row, reason, token);
    }
    let typs = [
        "dpop+jwt",
        "logout+jwt",
        "secevent+jwt",
        "token-introspection+jwt",
        "oauth-authz-req+jwt",
        "client-authentication+jwt",
        "oauth-id-jag+jwt",
        "passport",
        "vc+jwt",
        "dc+sd-jwt",
        "kb+jwt",
        "statuslist+jwt",
        "openid4vci-proof+jwt",
        "JOSE",
        "JOSE+JSON",
        "JWE",
        "id_token",
        "access_token",
        "",
        "at+jwt ",
        " JWT",
        "at+jwt\0",
        "application/",
        "text/plain",
        "application/application/at+jwt",
    ];
    for typ in typs {
        mint.claims_strict(row, format!("typ {typ:?} on a good token"), mint.with_header("typ", json!(typ)));
    }
    if issuer.profile.typ == "at+jwt" {
        mint.claims_strict(row, "no typ (RFC 9068 section 4)", mint.without_header("typ"));
        mint.claims_strict(row, "typ JWT (RFC 9068 section 4)", mint.with_header("typ", json!("JWT")));
    }
    for typ in [json!(1), Value::Null, json!(["at+jwt"]), json!({})] {
        mint.reject(row, format!("typ is {typ}"), mint.with_header("typ", typ));
    }
    let actor = mint.good();
    let unsigned = base64url::encode("{\"alg\":\"none\",\"typ\":\"JWT\"}");
    let around = base64url::encode(json!({ "actortoken": actor, "sub": "victim" }).to_string());
    mint.reject(row, "an unsigned token around a signed one (CVE-2025-55241)", format!("{unsigned}.{around}."));
    mint.reject(row, "the same, with the inner signature", format!("{unsigned}.{around}.{}", mint.segments()[2]));
    mint.reject(row, "a token within a token", mint.with_payload(actor.as_bytes()));
    mint.strict(row, "cty: JWT", mint.with_header("cty", json!("JWT")));
    mint.strict(row, "cty: application/jwt", mint.with_header("cty", json!("application/JWT")));
}
