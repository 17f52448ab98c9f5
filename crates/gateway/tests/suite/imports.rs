//! API Management's documents, imported and run: what they answer, and what the service is sent, as the documentation has it.
use crate::support::{ISS, Seen, World};
use decision::Clock as _;
use gateway::{Imported, Scope, import_apim};
use serde_json::{Value, json};

const TENANT: &str = "5b1d2a2e-3c0a-4d62-9d39-4f6b7b1f2c11";

fn imported(xml: &str) -> Imported {
    let named = [
        ("tenant", TENANT),
        ("front-door-id", "f6dc69a0-34d6-4c68-8d8b-2ad8c3a0b6f5"),
        ("gateway-client-id", "gateway"),
    ];
    let named = named.map(|(name, value)| (name.to_owned(), value.to_owned()));
    import_apim(xml, Scope::Api, &named.into()).unwrap()
}

/// The document behind this world's issuer and service.
async fn world(xml: &str) -> World {
    let text = imported(xml).toml;
    let lines = text.lines().map(|line| match line {
        metadata if metadata.starts_with("metadata = ") => "jwks_uri = \"{jwks}\"".to_owned(),
        line => line.to_owned(),
    });
    let text = lines.collect::<Vec<_>>().join("\n");
    let text = text
        .replace(&format!("https://login.microsoftonline.com/{TENANT}/v2.0"), ISS)
        .replace(&format!("tenants = [\"{TENANT}\"]"), "tenants = [\"t1\"]")
        .replace("https://id.example/t1/oauth2/v2.0/token", "{token}")
        .replace("https://service.internal", "{service}");
    World::start(&text).await
}

/// Asks with these fields, the token's claims among them as `{token}`.
async fn asked(world: &World, claims: &Value, fields: &[(&str, &str)]) -> (u16, String) {
    let token = world.token(claims);
    let fields: Vec<(&str, String)> =
        fields.iter().map(|(name, text)| (*name, text.replace("{token}", &token))).collect();
    let fields: Vec<(&str, &str)> = fields.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let answer = world.get("/orders/42?x=1", &fields).await;
    if answer.status == 200 { (200, String::new()) } else { answer.reason() }
}

fn is(status: u16, reason: &str) -> (u16, String) {
    (status, reason.to_owned())
}

const BEARER: (&str, &str) = ("authorization", "Bearer {token}");

#[tokio::test]
async fn callers_of_a_network_with_a_token_and_a_scope() {
    let world = world(include_str!("../imports/01-orders.xml")).await;
    let now = world.clock.now().0;
    let late = |by: i64| json!({"iat": now - 4_000, "nbf": now - 4_000, "exp": now - by});
    for (claims, fields, expected) in [
        (json!({}), [BEARER].as_slice(), is(200, "")),
        (json!({"scp": "openid Orders.Write"}), &[BEARER], is(200, "")),
        (late(200), &[BEARER], is(200, "")),
        (late(301), &[BEARER], is(401, "TokenExpired")),
        (json!({}), &[], is(401, "TokenNotPresent")),
        (json!({"aud": "api://other"}), &[BEARER], is(401, "TokenAudienceNotAllowed")),
        (json!({"iss": "https://evil.example"}), &[BEARER], is(401, "TokenIssuerNotAllowed")),
        (json!({"scp": "Orders.Delete"}), &[BEARER], is(401, "TokenClaimValueNotAllowed")),
    ] {
        assert_eq!(asked(&world, &claims, fields).await, expected, "{claims}");
    }
    let message = world.get("/orders/42", &[]).await.json()["message"].clone();
    assert_eq!(message, "Unauthorized. Access token is missing or invalid.");
    world.service.forget();
    let forged = [BEARER, ("x-user-id", "o-eve"), ("x-correlation", "c-1")];
    assert_eq!(asked(&world, &json!({}), &forged).await, is(200, ""));
    let seen = world.service.only();
    assert_eq!((seen.target(), seen.field("x-user-id")), ("/orders/42?x=1", vec!["o-ada"]));
    assert_eq!(seen.field("x-correlation"), ["c-1"], "skipped, since the caller has it");
    assert!(seen.field("authorization")[0].starts_with("Bearer ey"), "the API sees the same token");
}

#[tokio::test]
async fn applications_of_a_tenant_with_roles_that_name_a_partner() {
    let world = world(include_str!("../imports/02-partners.xml")).await;
    let partner = |name: &'static str| [BEARER, ("x-partner", name)];
    let roles = json!({"roles": ["Orders.Reader", "Partners"]});
    let with = |name: &str, value: Value| {
        let mut claims = roles.clone();
        claims[name] = value;
        claims
    };
    for (claims, fields, expected) in [
        (roles.clone(), partner("fabrikam").as_slice(), is(200, "")),
        (with("azp", json!("portal")), &partner("ADATUM"), is(200, "")),
        (roles.clone(), &[BEARER], is(400, "HeaderNotFound")),
        (roles.clone(), &partner("contoso"), is(400, "HeaderValueNotAllowed")),
        (json!({"roles": ["Orders.Reader"]}), &partner("adatum"), is(401, "TokenClaimValueNotAllowed")),
        (json!({}), &partner("adatum"), is(401, "TokenClaimNotFound")),
        (with("azp", json!("other")), &partner("adatum"), is(401, "TokenClaimValueNotAllowed")),
        (with("tid", json!("t2")), &partner("adatum"), is(401, "TokenClaimValueNotAllowed")),
        (with("iss", json!("https://evil.example")), &partner("adatum"), is(401, "TokenIssuerNotAllowed")),
        (roles.clone(), &[("x-partner", "adatum")], is(401, "TokenNotPresent")),
    ] {
        assert_eq!(asked(&world, &claims, fields).await, expected, "{claims} {fields:?}");
    }
    assert_eq!(world.service.seen().len(), 2);
}

#[tokio::test]
async fn a_token_that_was_exchanged_by_hand() {
    let world = world(include_str!("../imports/03-on-behalf-of.xml")).await;
    let gateways = json!({"aud": "api://gateway"});
    for (claims, fields, expected) in [
        (gateways.clone(), [BEARER].as_slice(), is(200, "")),
        (gateways.clone(), &[BEARER], is(200, "")),
        (json!({}), &[BEARER], is(401, "TokenAudienceNotAllowed")),
        (gateways.clone(), &[("authorization", "Bearer x.y.z")], is(401, "JwtInvalid")),
        (gateways.clone(), &[], is(401, "TokenNotPresent")),
    ] {
        assert_eq!(asked(&world, &claims, fields).await, expected, "{claims}");
    }
    let asked = world.issuer.asked();
    assert_eq!(asked.len(), 1, "the second time it is kept");
    let field = |name| asked[0].field(name).unwrap_or_default();
    assert_eq!((field("requested_token_use"), field("scope")), ("on_behalf_of", "api://orders/.default"));
    for seen in world.service.seen().into_iter().map(Seen) {
        assert!(!seen.0.contains(field("assertion")), "the user's token goes no further");
        assert_eq!((seen.field("authorization").len(), seen.field("x-gateway")), (1, vec!["edge"]));
    }
}

#[tokio::test]
async fn a_legacy_service_behind_a_front_door() {
    let world = world(include_str!("../imports/04-front-door.xml")).await;
    let door = ("x-azure-fdid", "f6dc69a0-34d6-4c68-8d8b-2ad8c3a0b6f5");
    let token = ("x-api-token", "{token}");
    for (claims, fields, expected) in [
        (json!({}), [door, token].as_slice(), is(200, "")),
        (json!({}), &[token], is(403, "HeaderNotFound")),
        (
            json!({}),
            &[("x-azure-fdid", "F6DC69A0-34D6-4C68-8D8B-2AD8C3A0B6F5"), token],
            is(403, "HeaderValueNotAllowed"),
        ),
        (json!({}), &[door], is(403, "TokenNotPresent")),
        (json!({}), &[door, BEARER], is(403, "TokenNotPresent")),
        (json!({"aud": "api://other"}), &[door, token], is(403, "TokenAudienceNotAllowed")),
    ] {
        assert_eq!(asked(&world, &claims, fields).await, expected, "{fields:?}");
    }
    let seen = world.service.only();
    assert_eq!(seen.field("authorization"), ["Basic Z2F0ZXdheTpvcGVuIHNlc2FtZQ=="]);
    assert_eq!(seen.field("x-api-token"), Vec::<&str>::new(), "the caller's token is not the service's");
}

#[tokio::test]
async fn applications_only_and_the_gateways_own_token() {
    let world = world(include_str!("../imports/05-daemon.xml")).await;
    let app = |roles: Value| json!({"idtyp": "app", "scp": null, "roles": roles, "azp": "daemon"});
    for (claims, fields, expected) in [
        (app(json!(["Orders.Read.All"])), [BEARER].as_slice(), is(200, "")),
        (app(json!(["Orders.ReadWrite.All", "x"])), &[BEARER], is(200, "")),
        (app(json!(["Orders.Other"])), &[BEARER], is(401, "TokenClaimValueNotAllowed")),
        (json!({}), &[BEARER], is(401, "TokenClaimNotFound")),
        (app(json!(["Orders.Read.All"])), &[], is(401, "TokenNotPresent")),
    ] {
        assert_eq!(asked(&world, &claims, fields).await, expected, "{claims}");
    }
    assert_eq!(world.issuer.asked().len(), 1, "one token serves all");
    for seen in world.service.seen().into_iter().map(Seen) {
        assert_eq!(seen.field("x-caller"), ["daemon"]);
    }
}

#[test]
fn what_has_no_counterpart_is_told() {
    let left = |xml: &str| imported(xml).left.into_iter().map(|left| left.element).collect::<Vec<_>>();
    assert_eq!(left(include_str!("../imports/01-orders.xml")), ["validate-jwt", "set-header"]);
    assert_eq!(left(include_str!("../imports/02-partners.xml")), Vec::<String>::new());
    assert_eq!(left(include_str!("../imports/03-on-behalf-of.xml")), ["validate-jwt", "send-request"]);
    assert_eq!(left(include_str!("../imports/04-front-door.xml")), ["authentication-basic", "forward-request"]);
    assert_eq!(left(include_str!("../imports/05-daemon.xml")), ["cache-lookup-value", "send-request"]);
}
