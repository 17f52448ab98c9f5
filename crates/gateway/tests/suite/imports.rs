//! API Management's documents, imported and run: what they answer, and what the service is sent, as the documentation has it.
use crate::support::{Answered, ISS, ORDERS, PUBLIC, Seen, World};
use decision::Clock as _;
use gateway::{Imported, Scope, import_apim};
use serde_json::{Value, json};

const TENANT: &str = "5b1d2a2e-3c0a-4d62-9d39-4f6b7b1f2c11";

fn imported(xml: &str) -> Imported {
    imported_at(xml, Scope::Api)
}

fn imported_at(xml: &str, scope: Scope) -> Imported {
    let named = [
        ("tenant", TENANT),
        ("front-door-id", "f6dc69a0-34d6-4c68-8d8b-2ad8c3a0b6f5"),
        ("gateway-client-id", "gateway"),
    ];
    let named = named.map(|(name, value)| (name.to_owned(), value.to_owned()));
    import_apim(xml, scope, &named.into()).unwrap()
}

/// The document behind this world's issuer and service.
async fn world(xml: &str) -> World {
    started(&imported(xml).toml).await
}

/// What a document came to, and what is configured beside it.
async fn started(text: &str) -> World {
    let lines = text.lines().map(|line| match line {
        metadata if metadata.starts_with("metadata = ") => "jwks_uri = \"{jwks}\"".to_owned(),
        line => line.to_owned(),
    });
    let text = lines.collect::<Vec<_>>().join("\n");
    let text = text
        .replace("authority = \"https://login.microsoftonline.com\"", "authority = \"https://id.example\"")
        .replace(TENANT, "t1")
        .replace("https://id.example/t1/oauth2/v2.0/token", "{token}")
        .replace("https://service.internal", "{service}");
    // Whose keys are elsewhere than below the authority has a line of its own.
    let of_tenant = text.contains("validate_azure_ad_token]");
    let keys = format!("\n[[issuer]]\nname = \"keys\"\nissuer = \"{ISS}\"\njwks_uri = \"{{jwks}}\"\n");
    let text = if of_tenant { text + &keys } else { text };
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
async fn a_request_that_the_document_fixed_is_not_asked_with_the_gateways_password() {
    let (at, fixed) = ("<authentication-basic", "<rewrite-uri template=\"/run\" />\n<authentication-basic");
    let world = world(&include_str!("../imports/04-front-door.xml").replace(at, fixed)).await;
    let fields = [("x-azure-fdid", "f6dc69a0-34d6-4c68-8d8b-2ad8c3a0b6f5"), ("x-api-token", "{token}")];
    assert_eq!(asked(&world, &json!({}), &fields).await, is(200, ""));
    let seen = world.service.only();
    assert_eq!((seen.target(), seen.field("authorization")), ("/orders/42?x=1", Vec::<&str>::new()));
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

/// A request of a page of this origin before the one that it is about.
async fn preflight(world: &World, origin: &str, method: &str, fields: &str) -> Answered {
    let head = format!("OPTIONS /orders/42 HTTP/1.1\r\nHost: api.example\r\nOrigin: {origin}\r\n");
    let asks = format!("Access-Control-Request-Method: {method}\r\nAccess-Control-Request-Headers: {fields}\r\n\r\n");
    world.raw(head + &asks).await
}

const ORIGIN: &str = "access-control-allow-origin";

#[tokio::test]
async fn pages_of_a_shop_with_a_limit_for_each_user() {
    let world = world(include_str!("../imports/06-single-page-app.xml")).await;
    for (origin, method, fields, allowed) in [
        ("https://shop.example", "PATCH", "authorization,x-correlation", true),
        ("http://localhost:3000", "POST", "content-type", true),
        ("https://shop.example", "DELETE", "authorization", false),
        ("https://shop.example", "GET", "x-other", false),
        ("https://shop.example.evil.example", "GET", "authorization", false),
        ("null", "GET", "authorization", false),
    ] {
        let answer = preflight(&world, origin, method, fields).await;
        let expected = if allowed { vec![origin] } else { vec![] };
        assert_eq!(
            (answer.status, answer.body.as_str(), answer.field(ORIGIN)),
            (200, "", expected),
            "{origin} {method}"
        );
        assert_eq!(answer.field("access-control-max-age").first(), allowed.then_some(&"300"));
    }
    let page = ("origin", "https://shop.example");
    for (claims, fields, expected) in [
        (json!({}), [page].as_slice(), is(401, "TokenNotPresent")),
        (json!({"azp": "other"}), &[BEARER, page], is(401, "TokenClaimValueNotAllowed")),
        (json!({"scp": "Orders.Delete"}), &[BEARER, page], is(401, "TokenClaimValueNotAllowed")),
        (json!({"tid": "t2"}), &[BEARER, page], is(401, "TokenClaimValueNotAllowed")),
    ] {
        assert_eq!(asked(&world, &claims, fields).await, expected, "{claims}");
    }
    assert_eq!(world.service.seen(), Vec::<String>::new());
    for left in ["4", "3", "2", "1", "0"] {
        let answer = world.get_with_token("/orders/42", &[page]).await;
        assert_eq!((answer.status, answer.field("x-calls-left")), (200, vec![left]));
        assert_eq!(
            (answer.field(ORIGIN), answer.field("access-control-allow-credentials")),
            (vec![page.1], vec!["true"])
        );
        assert_eq!(answer.field("access-control-expose-headers"), ["x-calls-left, retry-after"]);
    }
    let refused = world.get_with_token("/orders/42", &[page]).await;
    assert_eq!((refused.reason(), refused.field("retry-after")), (is(429, "RateLimitExceeded"), vec!["60"]));
    assert_eq!(refused.field(ORIGIN), [page.1], "the page reads when to try again");
    assert_eq!(asked(&world, &json!({"oid": "o-eve"}), &[BEARER]).await, is(200, ""));
    world.clock.advance(60);
    assert_eq!(asked(&world, &json!({}), &[BEARER]).await, is(200, ""));
    let seen: Vec<Seen> = world.service.seen().into_iter().map(Seen).collect();
    assert_eq!((seen[0].field("x-user-id"), seen[5].field("x-user-id")), (vec!["o-ada"], vec!["o-eve"]));
    assert_eq!((seen.len(), seen[0].field("x-channel"), seen[0].field("authorization").len()), (7, vec!["shop"], 1));
}

#[tokio::test]
async fn open_data_for_a_network_with_a_limit_for_each_address() {
    let text = imported(include_str!("../imports/07-open-data.xml")).toml;
    let world = started(&format!("trusted_proxies = [\"127.0.0.1\"]\n{text}")).await;
    let from = |address: &'static str| ("x-forwarded-for", address);
    assert_eq!(world.get("/data", &[from("192.0.2.8")]).await.reason(), is(403, "CallerIpNotAllowed"));
    assert_eq!(world.get("/data", &[from("127.0.0.10")]).await.reason(), is(403, "CallerIpNotAllowed"));
    assert_eq!(world.get("/data", &[from("nowhere")]).await.reason(), is(403, "FailedToParseCallerIP"));
    assert_eq!(preflight(&world, "null", "GET", "x-any").await.field(ORIGIN), ["*"]);
    world.service.answers("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(world.get("/none", &[from("192.0.2.7")]).await.status, 404, "it costs nothing");
    for left in ["2", "1", "0"] {
        let fields = [from("192.0.2.7"), ("cookie", "a=b"), ("origin", "https://anybody.example")];
        let answer = world.get("/data", &fields).await;
        assert_eq!((answer.status, answer.field("x-left"), answer.field("x-total")), (200, vec![left], vec!["3"]));
        assert_eq!((answer.field(ORIGIN), answer.field("access-control-expose-headers")), (vec!["*"], vec!["*"]));
    }
    let refused = world.get("/data", &[from("192.0.2.7")]).await;
    assert_eq!((refused.reason(), refused.field("x-retry")), (is(429, "RateLimitExceeded"), vec!["60"]));
    // The seventeenth of the others is the twentieth of all that was asked of the service, the error among them.
    let others = ["127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5", "127.0.0.6", "127.0.0.7"];
    for (at, address) in others.iter().flat_map(|address| [address; 3]).enumerate() {
        let status = if at < 16 { 200 } else { 429 };
        assert_eq!(world.get("/data", &[("x-forwarded-for", address)]).await.status, status, "{at}");
    }
    world.clock.advance(60);
    assert_eq!(world.get("/data", &[from("192.0.2.7")]).await.status, 200);
    for seen in world.service.seen().into_iter().map(Seen) {
        assert_eq!(seen.field("x-open-data"), ["city", "f6dc69a0-34d6-4c68-8d8b-2ad8c3a0b6f5"]);
        assert_eq!(seen.field("cookie"), Vec::<&str>::new());
    }
}

#[tokio::test]
async fn a_product_with_a_rate_and_a_quota_for_each_subscription() {
    let text = imported_at(include_str!("../imports/08-product.xml"), Scope::Product).toml;
    let create =
        "[[api.operation]]\n    name = \"create\"\n    method = \"POST\"\n    path = \"/*\"\n    [[api.operation]]";
    let keyed = PUBLIC.replacen("public = true", "[api.policies.subscription_key]", 1);
    let keyed = keyed.replacen("[[api.operation]]", create, 1);
    let product = "[[product]]\nname = \"partners\"\napis = [\"orders\"]\n";
    let subscription = |name: &str| {
        let key = format!("{{ env = \"KEY_{}\" }}", name.to_uppercase());
        format!("[[subscription]]\nname = \"{name}\"\nproduct = \"partners\"\nprimary = {key}\n")
    };
    let both = subscription("fabrikam") + &subscription("adatum");
    let world = started(&format!("{keyed}{product}{text}{both}")).await;
    let key = ("ocp-apim-subscription-key", "fabrikam-0123456789");
    let partner = ("x-partner", "FABRIKAM");
    for (fields, expected) in [
        ([partner].as_slice(), is(401, "SubscriptionKeyNotFound")),
        (&[("ocp-apim-subscription-key", "contoso-0123456789"), partner], is(401, "SubscriptionKeyInvalid")),
        (&[key], is(400, "HeaderNotFound")),
        (&[key, ("x-partner", "Contoso")], is(400, "HeaderValueNotAllowed")),
    ] {
        assert_eq!(world.get("/orders", fields).await.reason(), expected, "{fields:?}");
    }
    let fields = [key, partner, ("x-plan", "gold"), ("x-product", "all")];
    // One of the API within five seconds, two of the product within ten.
    for total in ["1", "2", "2", "2", "2", "2"] {
        let answer = world.get("/orders", &fields).await;
        assert_eq!(
            (answer.status, answer.field("x-rate-left"), answer.field("x-rate-total")),
            (200, vec!["0"], vec![total])
        );
        let refused = world.get("/orders", &[key, partner]).await;
        assert_eq!((refused.reason(), refused.field("retry-after")), (is(429, "RateLimitExceeded"), vec!["5"]));
        world.clock.advance(5);
    }
    let refused = world.get("/orders", &[key, partner]).await;
    assert_eq!((refused.reason(), refused.field("retry-after")), (is(403, "QuotaExceeded"), vec!["3570"]));
    for seen in world.service.seen().into_iter().map(Seen) {
        assert_eq!(
            (seen.field("x-product"), seen.field("x-plan"), seen.field(key.0).len()),
            (vec!["partners"], vec!["gold"], 0)
        );
    }
    world.service.forget();
    let other = [("ocp-apim-subscription-key", "adatum-0123456789"), ("x-partner", "adatum")];
    assert_eq!(world.get("/orders", &other).await.status, 200, "another subscription has its own");
    assert_eq!(world.service.only().field("x-plan"), ["standard"]);
    world.clock.advance(5);
    let create = format!(
        "POST /orders HTTP/1.1\r\nHost: a\r\n{}: {}\r\nX-Partner: adatum\r\nContent-Length: 0\r\n\r\n",
        key.0, other[0].1
    );
    world.clock.advance(5);
    assert_eq!(world.raw(&create).await.status, 200);
    world.clock.advance(5);
    assert_eq!(world.raw(&create).await.field("retry-after"), ["5"], "one order within ten seconds");
    world.clock.advance(5);
    world.clock.advance(3_550);
    assert_eq!(world.get("/orders", &[key, partner]).await.status, 200);
}

#[tokio::test]
async fn a_partners_tenant_with_a_token_in_the_query_and_a_limit_for_each_customer() {
    let text = imported(include_str!("../imports/09-partner-tenant.xml")).toml;
    let world = started(&format!("trusted_proxies = [\"127.0.0.1\"]\n{text}")).await;
    let good = json!({"aud": "0c6bd5c1-2b7f-4d29-9a1a-5d4f9ac3b1aa", "roles": ["Partner", "Reader"]});
    let with = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        claims
    };
    let ask = async |claims: &Value, fields: &[(&str, &str)]| {
        let answer = world.get(&format!("/orders?a=b&ticket={}", world.token(claims)), fields).await;
        if answer.status == 200 { is(200, "") } else { answer.reason() }
    };
    let customer = ("x-customer", "c-1");
    for (claims, fields, expected) in [
        (good.clone(), [].as_slice(), is(422, "HeaderNotFound")),
        (good.clone(), &[customer, ("x-forwarded-for", "198.51.100.9")], is(403, "CallerIpBlocked")),
        (with("aud", json!("api://orders")), &[customer], is(403, "TokenAudienceNotAllowed")),
        (with("azp", json!("other")), &[customer], is(403, "TokenClaimValueNotAllowed")),
        (with("tid", json!("t2")), &[customer], is(403, "TokenClaimValueNotAllowed")),
        (with("roles", json!(["Reader"])), &[customer], is(403, "TokenClaimValueNotAllowed")),
        (with("roles", Value::Null), &[customer], is(403, "TokenClaimNotFound")),
        (with("exp", json!(world.clock.now().0)), &[customer], is(403, "TokenExpired")),
        (good.clone(), &[customer], is(200, "")),
        (with("azp", json!("gateway")), &[customer], is(200, "")),
        (good.clone(), &[customer], is(429, "RateLimitExceeded")),
        (good.clone(), &[("x-customer", "c-2"), ("x-forwarded-for", "203.0.113.9")], is(200, "")),
    ] {
        assert_eq!(ask(&claims, fields).await, expected, "{claims} {fields:?}");
    }
    assert_eq!(world.get("/orders", &[customer]).await.reason(), is(403, "TokenNotPresent"));
    let seen: Vec<Seen> = world.service.seen().into_iter().map(Seen).collect();
    assert_eq!(seen.len(), 3);
    assert_eq!(
        (seen[0].target(), seen[0].field("authorization")),
        ("/orders?a=b", vec!["Basic cGFydG5lcjpvcGVuIHNlc2FtZQ=="])
    );
    assert_eq!((seen[0].field("x-caller"), seen[1].field("x-caller")), (vec!["spa"], vec!["gateway"]));
}

#[tokio::test]
async fn what_applies_to_all_apis() {
    let text = imported_at(include_str!("../imports/10-all-apis.xml"), Scope::Global).toml;
    let world = started(&format!("{ORDERS}{text}")).await;
    let door = ("x-azure-fdid", "f6dc69a0-34d6-4c68-8d8b-2ad8c3a0b6f5");
    let portal = "https://portal.example";
    let answer = preflight(&world, portal, "DELETE", "authorization,x-anything").await;
    assert_eq!((answer.status, answer.field(ORIGIN)), (200, vec![portal]));
    assert_eq!(answer.field("access-control-max-age"), ["120"]);
    assert_eq!(preflight(&world, "https://portal.example:8443", "GET", "authorization").await.field(ORIGIN).len(), 0);
    for (fields, expected) in [
        ([BEARER].as_slice(), is(403, "HeaderNotFound")),
        (&[BEARER, ("x-azure-fdid", "f6dc69a0")], is(403, "HeaderValueNotAllowed")),
        (&[door], is(401, "TokenNotPresent")),
        (&[BEARER, door], is(200, "")),
        (&[BEARER, door, ("origin", portal)], is(200, "")),
        (&[BEARER, door, ("x-edge", "neu")], is(200, "")),
        (&[BEARER, door], is(200, "")),
        (&[BEARER, door], is(429, "RateLimitExceeded")),
    ] {
        assert_eq!(asked(&world, &json!({}), fields).await, expected, "{fields:?}");
    }
    world.clock.advance(30);
    for expected in [is(200, ""), is(200, ""), is(403, "QuotaExceeded")] {
        assert_eq!(asked(&world, &json!({}), &[BEARER, door]).await, expected);
    }
    // Windows begin at seven.
    world.clock.advance(23 * 3_600 - 30);
    assert_eq!(asked(&world, &json!({}), &[BEARER, door]).await, is(200, ""));
    for seen in world.service.seen().into_iter().map(Seen) {
        assert_eq!(seen.field("x-edge"), ["weu"]);
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
    assert_eq!(
        left(include_str!("../imports/06-single-page-app.xml")),
        ["validate-azure-ad-token", "rate-limit-by-key", "set-header", "set-header", "set-header"]
    );
    assert_eq!(left(include_str!("../imports/07-open-data.xml")), ["cache-lookup", "cache-store"]);
    assert_eq!(left(include_str!("../imports/09-partner-tenant.xml")), ["choose", "authentication-basic", "retry"]);
    let at = |xml: &str, scope| imported_at(xml, scope).left.into_iter().map(|left| left.element).collect::<Vec<_>>();
    assert_eq!(
        at(include_str!("../imports/08-product.xml"), Scope::Product),
        ["rate-limit", "cors", "redirect-content-urls"]
    );
    assert_eq!(at(include_str!("../imports/10-all-apis.xml"), Scope::Global), ["inbound"]);
}
