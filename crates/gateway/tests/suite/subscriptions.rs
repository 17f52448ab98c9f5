//! G-20 and the rules of subscriptions and products.
use crate::support::{PUBLIC, World};

const KEYED: &str = r#"
    [[upstream]]
    name = "orders"
    url = "{service}"

    [[api]]
    name = "orders"
    path = "/orders"
    upstream = "orders"
    [api.policies.subscription_key]
    [[api.operation]]
    name = "all"
    method = "*"
    path = "/*"

    [[api]]
    name = "stock"
    path = "/stock"
    upstream = "orders"
    [api.policies.subscription_key]
    header = "X-Stock-Key"
    query = "stock-key"
    [[api.operation]]
    name = "all"
    method = "*"
    path = "/*"

    [[product]]
    name = "gold"
    apis = ["orders"]
    [[product.policies.check_header]]
    name = "x-gold"
    failed_check_httpcode = 403
    failed_check_error_message = "gold only"
    ignore_case = false

    [[subscription]]
    name = "gold"
    product = "gold"
    primary = { env = "KEY_GOLD_1" }
    secondary = { env = "KEY_GOLD_2" }

    [[subscription]]
    name = "direct"
    api = "orders"
    primary = { env = "KEY_DIRECT" }
    expires = 2027-01-15T08:00:01Z

    [[subscription]]
    name = "everything"
    all_apis = true
    primary = { env = "KEY_EVERYTHING" }

    [[subscription]]
    name = "stopped"
    all_apis = true
    state = "suspended"
    primary = { env = "KEY_STOPPED" }
"#;

const KEY: &str = "Ocp-Apim-Subscription-Key";
const INVALID: &str = "SubscriptionKeyInvalid";

#[tokio::test]
async fn without_a_key_the_answer_is_that_of_api_management() {
    let world = World::start(KEYED).await;
    let answer = world.get("/orders", &[]).await;
    assert_eq!(answer.reason(), (401, "SubscriptionKeyNotFound".to_owned()));
    assert_eq!(
        answer.json()["message"],
        "Access denied due to missing subscription key. Make sure to include subscription key when making requests to this API."
    );
    assert_eq!(
        answer.field("www-authenticate"),
        [r#"AzureApiManagementKey realm="api.example", name="Ocp-Apim-Subscription-Key", type="header""#]
    );
    let wrong = world.get("/orders", &[(KEY, "no-such-key-0123456789")]).await;
    assert_eq!(wrong.reason(), (401, INVALID.to_owned()));
    assert_eq!(
        wrong.json()["message"],
        "Access denied due to invalid subscription key. Make sure to provide a valid key for an active subscription."
    );
    assert_eq!(world.service.seen(), Vec::<String>::new());
}

#[tokio::test]
async fn g_20_a_key_opens_its_own_scope_and_reaches_no_service_and_no_log() {
    let world = World::start(KEYED).await;
    for (target, field, key, status) in [
        ("/orders/x", KEY, "direct-0123456789", 200),
        ("/orders/x", KEY, "everything-0123456789", 200),
        ("/orders/x", KEY, "stopped-0123456789", 401),
        ("/stock/x", "x-stock-key", "everything-0123456789", 200),
        ("/stock/x", "x-stock-key", "direct-0123456789", 401),
        ("/stock/x", "x-stock-key", "gold_1-0123456789", 401),
        ("/stock/x", KEY, "everything-0123456789", 401),
        ("/orders/x?subscription-key=direct-0123456789&a=b", "x-none", "1", 200),
        ("/orders/x?a=b&Subscription%2DKey=direct-0123456789", "x-none", "1", 200),
        ("/stock/x?stock-key=everything-0123456789", "x-none", "1", 200),
        ("/orders/x?subscription-key=direct-0123456789", KEY, "wrong-0123456789012", 401),
        ("/orders/x?subscription-key=direct-0123456789&subscription-key=direct-0123456789", "x-none", "1", 401),
    ] {
        world.service.forget();
        let answer = world.get(target, &[(field, key)]).await;
        assert_eq!(answer.status, status, "{target} {key}: {answer:?}");
        let seen = world.service.seen().concat();
        assert!(!seen.contains("0123456789"), "{seen}");
        assert_eq!(seen.is_empty(), status != 200);
        let lines = world.lines();
        assert!(lines.iter().all(|line| !line.to_string().contains("0123456789")), "{lines:?}");
    }
    let twice = world.get("/orders", &[(KEY, "direct-0123456789"), (KEY, "direct-0123456789")]).await;
    assert_eq!(twice.reason(), (401, INVALID.to_owned()));
}

#[tokio::test]
async fn a_key_in_the_query_is_escaped_as_values_there_are_or_as_it_is() {
    let text = KEYED.replace("primary = { env = \"KEY_DIRECT\" }", "primary = { file = \"key\" }");
    let world = World::start(KEYED).await;
    std::fs::write(world.folder().join("key"), "aGVs+bG8/d29ybGQ=").unwrap();
    world.reload(&text).unwrap();
    for (key, status) in [
        ("aGVs%2BbG8%2Fd29ybGQ%3D", 200),
        ("aGVs%2bbG8/d29ybGQ=", 200),
        ("aGVs+bG8/d29ybGQ=", 200),
        ("aGVs%20bG8/d29ybGQ=", 401),
        ("aGVs%252BbG8/d29ybGQ=", 401),
        ("%ff", 401),
    ] {
        assert_eq!(world.get(&format!("/orders?subscription-key={key}"), &[]).await.status, status, "{key}");
    }
    // In a field nothing is escaped.
    assert_eq!(world.get("/orders", &[(KEY, "aGVs+bG8/d29ybGQ=")]).await.status, 200);
    assert_eq!(world.get("/orders", &[(KEY, "aGVs%2BbG8%2Fd29ybGQ%3D")]).await.status, 401);
}

#[tokio::test]
async fn product_policies_run_for_keys_of_the_product_alone() {
    let world = World::start(KEYED).await;
    for key in ["gold_1-0123456789", "gold_2-0123456789"] {
        assert_eq!(world.get("/orders", &[(KEY, key)]).await.reason(), (403, "HeaderNotFound".to_owned()));
        assert_eq!(world.get("/orders", &[(KEY, key), ("x-gold", "1")]).await.status, 200);
    }
    assert_eq!(world.get("/orders", &[(KEY, "direct-0123456789")]).await.status, 200);
    let line = world.lines().into_iter().find(|line| line["product"] == "gold").unwrap();
    assert_eq!(line["subscription"], "gold");
}

#[tokio::test]
async fn a_subscription_ends_when_it_expires() {
    let world = World::start(KEYED).await;
    assert_eq!(world.get("/orders", &[(KEY, "direct-0123456789")]).await.status, 200);
    world.clock.advance(1);
    assert_eq!(world.get("/orders", &[(KEY, "direct-0123456789")]).await.reason(), (401, INVALID.to_owned()));
}

#[tokio::test]
async fn an_open_product_lets_calls_in_without_a_key_and_its_policies_apply() {
    let text = KEYED.replace("apis = [\"orders\"]", "apis = [\"orders\"]\n    subscription_required = false").replacen(
        "upstream = \"orders\"\n",
        "upstream = \"orders\"\n    public = true\n",
        1,
    );
    let world = World::start(&text).await;
    assert_eq!(world.get("/orders", &[]).await.reason(), (403, "HeaderNotFound".to_owned()));
    assert_eq!(world.get("/orders", &[("x-gold", "1")]).await.status, 200);
    assert_eq!(
        world.get("/orders", &[(KEY, "wrong-0123456789012"), ("x-gold", "1")]).await.status,
        401,
        "a wrong key is wrong"
    );
}

#[tokio::test]
async fn an_open_products_policies_apply_where_no_key_is_looked_for_too() {
    let product = |required: &str| {
        format!(
            "{PUBLIC}\n[[product]]\nname = \"gold\"\napis = [\"orders\"]\n{required}\n[[product.policies.check_header]]\n\
             name = \"x-gold\"\nfailed_check_httpcode = 403\nfailed_check_error_message = \"no\"\nignore_case = false\n"
        )
    };
    let world = World::start(&product("subscription_required = false")).await;
    assert_eq!(world.get("/", &[]).await.reason(), (403, "HeaderNotFound".to_owned()));
    assert_eq!(world.get("/", &[("x-gold", "1")]).await.status, 200);
    world.reload(&product("")).unwrap();
    assert_eq!(world.get("/", &[]).await.status, 200, "to have it, a key is needed");
}

#[tokio::test]
async fn a_key_is_forwarded_where_the_policy_says_so() {
    let forwarded = "[api.policies.subscription_key]\n    forward = true\n    [[api.operation]]";
    let text = format!(
        "{}\n[[subscription]]\nname = \"s\"\nall_apis = true\nprimary = {{ env = \"KEY_FORWARDED\" }}",
        PUBLIC.replace("[[api.operation]]", forwarded)
    );
    let world = World::start(&text).await;
    let key = crate::support::variable("KEY_FORWARDED").unwrap();
    assert_eq!(world.get("/", &[(KEY, &key)]).await.status, 200);
    assert_eq!(world.service.only().field(KEY), [key.as_str()]);
}
