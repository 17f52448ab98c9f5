//! What callers can find out about an API (RFC 9728): where its document stands, what is in it, and that refusals name it.
use crate::support::{ISS, ORDERS, PUBLIC, World, get};
use serde_json::{Value, json};

fn described(more: &str) -> String {
    ORDERS.replace("[api.policies.validate_jwt]", &format!("{more}\n    [api.policies.validate_jwt]"))
}

const ORDERS_AT: &str = r#"
    [api.protected_resource]
    resource = "https://api.example/orders"
    scopes_supported = ["api://orders/Orders.Read"]
    resource_name = "Orders"
"#;

const PLACE: &str = "/.well-known/oauth-protected-resource/orders";

#[tokio::test]
async fn the_document_stands_at_its_place_for_everybody_and_names_the_issuer() {
    let world = World::start(&described(ORDERS_AT)).await;
    let answer = world.get(PLACE, &[]).await;
    assert_eq!((answer.status, answer.field("content-type")), (200, vec!["application/json"]));
    assert_eq!(answer.field("access-control-allow-origin"), ["*"]);
    let expected = json!({
        "resource": "https://api.example/orders", "authorization_servers": [ISS],
        "scopes_supported": ["api://orders/Orders.Read"], "bearer_methods_supported": ["header"], "resource_name": "Orders",
    });
    assert_eq!(answer.json(), expected);
    let head = world.raw(get(PLACE, &[("connection", "close")]).replace("GET", "HEAD")).await;
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    // It is read by one method, at one place.
    for request in [get(PLACE, &[]).replace("GET", "POST"), get(&format!("{PLACE}/x"), &[]), get("/x", &[])] {
        assert_eq!(world.raw(request).await.status, 401);
    }
    assert!(world.service.seen().is_empty());
}

#[tokio::test]
async fn pages_of_any_origin_may_read_the_document_with_fields_of_their_own() {
    let world = World::start(&described(ORDERS_AT)).await;
    let asked = |path: &str, fields: &[(&str, &str)]| get(path, fields).replace("GET", "OPTIONS");
    let origin = ("origin", "https://app.example");
    let preflight =
        [origin, ("access-control-request-method", "GET"), ("access-control-request-headers", "mcp-protocol-version")];
    let answer = world.raw(asked(PLACE, &preflight)).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, ""));
    let said = |name: &str| answer.field(name).join("|");
    assert_eq!(said("access-control-allow-origin"), "*");
    assert_eq!(said("access-control-allow-methods"), "GET, HEAD");
    assert_eq!(said("access-control-allow-headers"), "*");
    assert_eq!(said("access-control-allow-credentials"), "");
    // Nothing else is a preflight, or is there to be read.
    for request in [asked(PLACE, &[origin]), asked(PLACE, &preflight[1..]), asked("/x", &preflight)] {
        assert_eq!(world.raw(request).await.status, 401);
    }
    // A policy for pages is about the API, not about its document.
    let cors = "[api.policies.cors]\n    allowed_origins = [\"https://one.example\"]\n    [[api.operation]]";
    world.reload(&described(ORDERS_AT).replace("[[api.operation]]", cors)).unwrap();
    let answer = world.raw(asked(PLACE, &preflight)).await;
    assert_eq!(answer.field("access-control-allow-origin"), ["*"]);
    assert!(world.service.seen().is_empty());
}

#[tokio::test]
async fn how_the_token_is_sent_is_said_where_there_is_a_word_for_it() {
    for (place, methods) in
        [("query_parameter_name = \"token\"", json!(["query"])), ("header_name = \"X-Token\"", json!(null))]
    {
        let text = described(ORDERS_AT)
            .replace("[api.policies.validate_jwt]", &format!("[api.policies.validate_jwt]\n    {place}"))
            .replace("onward = \"passthrough\"", "onward = \"none\"");
        let world = World::start(&text).await;
        assert_eq!(world.get(PLACE, &[]).await.json()["bearer_methods_supported"], methods, "{place}");
    }
}

#[tokio::test]
async fn refusals_name_the_document_where_there_is_one() {
    let world = World::start(&described(ORDERS_AT)).await;
    let named = format!("resource_metadata=\"https://api.example{PLACE}\"");
    let bad = world.bearer(&json!({"aud": "api://other"}));
    for fields in [vec![], vec![("authorization", bad.as_str())]] {
        let answer = world.get("/a", &fields).await;
        let challenges = answer.field("www-authenticate");
        assert_eq!(answer.status, 401);
        assert!(!challenges.is_empty() && challenges.iter().all(|one| one.contains(&named)), "{challenges:?}");
        assert!(challenges.iter().all(|one| oauth::challenge::Challenge::parse(one).is_ok()), "{challenges:?}");
    }
    assert_eq!(world.get_with_token("/a", &[]).await.status, 200);
    world.reload(ORDERS).unwrap();
    let answer = world.get("/a", &[]).await;
    assert!(answer.field("www-authenticate").iter().all(|one| !one.contains("resource_metadata")));
    assert_eq!(world.get(PLACE, &[]).await.status, 401, "it is a path like any other");
}

#[tokio::test]
async fn of_several_apis_each_has_its_own_by_path_and_by_host() {
    let one = described("host = \"api.example\"\n    [api.protected_resource]\n    resource = \"https://api.example\"");
    let other = one.split_once("[[api]]").unwrap().1.replace("api.example", "other.example");
    let other = other.replace("name = \"orders\"", "name = \"other\"");
    let other = format!(
        "{other}\n[[api]]\nname = \"third\"\npath = \"/third\"\nupstream = \"orders\"\n\
                         [api.protected_resource]\nresource = \"https://third.example/third/\"\n\
                         authorization_servers = [\"https://id.third.example\"]\n[api.policies.validate_jwt]\n\
                         issuers = [\"contoso\"]\naudiences = [\"api://third\"]\n[[api.operation]]\nname = \"all\"\n\
                         method = \"*\"\npath = \"/*\""
    );
    let world = World::start(&format!("{one}\n[[api]]{other}")).await;
    let at = async |path: &str, host: &str| {
        let answer = world.raw(get(path, &[]).replace("api.example", host)).await;
        (answer.status == 200).then(|| answer.json())
    };
    let root = "/.well-known/oauth-protected-resource";
    let of = |found: Option<Value>| found.map(|found| found["resource"].as_str().unwrap().to_owned());
    assert_eq!(of(at(root, "api.example").await).as_deref(), Some("https://api.example"));
    assert_eq!(of(at(root, "OTHER.example").await).as_deref(), Some("https://other.example"));
    assert_eq!(at(root, "nobody.example").await, None, "which one is meant is not known");
    let third = at(&format!("{root}/third"), "behind-a-proxy.example").await.unwrap();
    assert_eq!(third["authorization_servers"], json!(["https://id.third.example"]));
}

#[tokio::test]
async fn what_describes_nothing_is_told() {
    let world = World::start(ORDERS).await;
    let with = |resource: &str| described(&format!("[api.protected_resource]\nresource = \"{resource}\""));
    for (text, problem) in [
        (with("orders"), "another scheme"),
        (with("/orders"), "names no host"),
        (with("ftp://api.example"), "another scheme"),
        (with("https://ada@api.example"), "names no host, or a user"),
        (with("https://api.example/orders?x=1"), "or a query"),
        (with("https://api.example/a/../b"), "not in its one spelling"),
        (
            PUBLIC
                .replace("public = true", "public = true\n[api.protected_resource]\nresource = \"https://a.example\""),
            "nothing says where callers get tokens",
        ),
    ] {
        let error = world.reload(&text).unwrap_err();
        assert!(error.problem.contains(problem) && !error.at.is_empty(), "{text}: {error}");
    }
}
