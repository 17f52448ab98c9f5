//! `rate_limit`, `rate_limit_by_key`, `quota` and `quota_by_key`, by a clock that is set.
use crate::support::{ORDERS, PUBLIC, World};
use serde_json::json;

const KEY: &str = "Ocp-Apim-Subscription-Key";
pub(crate) const A: (&str, &str) = (KEY, "adatum-0123456789");
pub(crate) const B: (&str, &str) = (KEY, "fabrikam-0123456789");

/// An API behind keys of two subscriptions to a product with these policies.
pub(crate) fn keyed(policies: &str) -> String {
    let keyed = PUBLIC.replacen("public = true", "[api.policies.subscription_key]", 1);
    format!(
        r#"{keyed}
    [[product]]
    name = "gold"
    apis = ["orders"]
    {policies}
    [[subscription]]
    name = "a"
    product = "gold"
    primary = {{ env = "KEY_ADATUM" }}
    secondary = {{ env = "KEY_ADATUM_TWO" }}
    started = 2027-01-15T07:59:30Z
    [[subscription]]
    name = "b"
    product = "gold"
    primary = {{ env = "KEY_FABRIKAM" }}
    "#
    )
}

pub(crate) fn public(policies: &str) -> String {
    PUBLIC.replacen("    [[api.operation]]", &format!("{policies}\n    [[api.operation]]"), 1)
}

fn exceeded() -> (u16, String) {
    (429, "RateLimitExceeded".to_owned())
}

fn used_up() -> (u16, String) {
    (403, "QuotaExceeded".to_owned())
}

#[tokio::test]
async fn each_subscription_may_call_so_often_within_a_while() {
    let world = World::start(&keyed(
        "[product.policies.rate_limit]
    calls = 2
    renewal_period = 60
    remaining_calls_header_name = \"X-Left\"
    total_calls_header_name = \"X-Total\"",
    ))
    .await;
    for (advance, key, left) in [
        (0, A, Some("1")),
        (10, (KEY, "adatum_two-0123456789"), Some("0")),
        (0, A, None),
        (0, B, Some("1")),
        (49, A, None),
        (1, A, Some("0")),
        (0, A, None),
    ] {
        world.clock.advance(advance);
        let answer = world.get("/", &[key]).await;
        assert_eq!((answer.field("x-left"), answer.field("x-total")), (vec![left.unwrap_or("0")], vec!["2"]));
        match left {
            Some(_) => assert_eq!((answer.status, answer.field("retry-after").len()), (200, 0)),
            None => assert_eq!(answer.reason(), exceeded()),
        }
    }
    let refused = world.get("/", &[A]).await;
    assert_eq!(refused.field("retry-after"), ["10"]);
    assert_eq!(refused.json()["message"], "Rate limit is exceeded. Try again in 10 seconds.");
    assert_eq!(refused.check(), "limit.rate");
    assert_eq!(world.service.seen().len(), 4, "what is refused reaches no service");
    assert_eq!(world.get("/", &[]).await.reason().0, 401);
}

#[tokio::test]
async fn the_field_that_says_when_to_try_again_can_have_another_name() {
    let world = World::start(&public(
        "[[api.policies.rate_limit_by_key]]
    calls = 1
    renewal_period = 5
    counter_key = [\"address\"]
    retry_after_header_name = \"X-Again\"",
    ))
    .await;
    assert_eq!(world.get("/", &[]).await.field("x-again").len(), 0);
    let refused = world.get("/", &[]).await;
    assert_eq!(
        (refused.reason(), refused.field("x-again"), refused.field("retry-after").len()),
        (exceeded(), vec!["5"], 0)
    );
}

#[tokio::test]
async fn a_reload_gives_nobody_new_calls() {
    let text = keyed("[product.policies.rate_limit]\n    calls = 1\n    renewal_period = 60");
    let world = World::start(&text).await;
    assert_eq!(world.get("/", &[A]).await.status, 200);
    world.reload(&text).unwrap();
    assert_eq!(world.get("/", &[A]).await.reason(), exceeded());
    world.reload(&text.replace("calls = 1", "calls = 2")).unwrap();
    assert_eq!(world.get("/", &[A]).await.status, 200, "a higher limit counts what was called already");
    assert_eq!(world.get("/", &[A]).await.reason(), exceeded());
}

#[tokio::test]
async fn limits_of_several_scopes_count_apart_and_all_of_them_hold() {
    let limit = |scope: &str, calls: u8| {
        format!("[{scope}.policies.rate_limit]\n    calls = {calls}\n    renewal_period = 60\n")
    };
    let text = keyed(&limit("product", 3)).replacen(
        "    path = \"/*\"\n",
        &format!("    path = \"/*\"\n{}", limit("api.operation", 2)),
        1,
    );
    let world = World::start(&text).await;
    for status in [200, 200, 429, 429] {
        assert_eq!(world.get("/", &[A]).await.status, status);
    }
}

const BY_TENANT: &str = r#"[[api.policies.rate_limit_by_key]]
    calls = 1
    renewal_period = 60
    counter_key = ["operation", { header = "X-Tenant" }]"#;

#[tokio::test]
async fn callers_with_the_same_key_share_a_counter() {
    let world = World::start(&public(BY_TENANT)).await;
    for (fields, status) in [
        (&[("x-tenant", "a")][..], 200),
        (&[("X-TENANT", "a")], 429),
        (&[("x-tenant", "b")], 200),
        (&[], 200),
        (&[], 429),
        (&[("x-tenant", "")], 200),
        (&[("x-tenant", ""), ("x-tenant", "")], 200),
        (&[("x-tenant", "a"), ("x-tenant", "b")], 200),
        (&[("x-tenant", "a"), ("x-tenant", "b")], 429),
        (&[("x-tenant", "ab")], 200),
        (&[("x-tenant", "ab"), ("x-tenants", "1")], 429),
    ] {
        assert_eq!(world.get("/", fields).await.status, status, "{fields:?}");
    }
    world.clock.advance(60);
    assert_eq!(world.get("/", &[("x-tenant", "a")]).await.status, 200);
}

#[tokio::test]
async fn nobody_gets_the_key_of_another_by_moving_lines_between_fields() {
    let world = World::start(&public(
        r#"[[api.policies.rate_limit_by_key]]
    calls = 1
    renewal_period = 60
    counter_key = [{ header = "X-A" }, { header = "X-B" }]"#,
    ))
    .await;
    for fields in [
        &[("x-a", "1"), ("x-b", "header")][..],
        &[("x-a", "1"), ("x-a", "header")],
        &[("x-b", "1"), ("x-b", "header")],
        &[("x-a", "header"), ("x-b", "1")],
        &[("x-a", "1header")],
        &[("x-b", "1header")],
    ] {
        assert_eq!(world.get("/", fields).await.status, 200, "{fields:?}");
        assert_eq!(world.get("/", fields).await.status, 429, "{fields:?}");
    }
}

#[tokio::test]
async fn a_claim_counts_as_it_was_verified_and_an_unverified_token_counts_nothing() {
    let limit = r#"[[api.policies.rate_limit_by_key]]
    calls = 1
    renewal_period = 60
    counter_key = [{ claim = "oid" }]
    [[api.operation]]"#;
    let world = World::start(&ORDERS.replacen("[[api.operation]]", limit, 1)).await;
    let ada = world.bearer(&json!({}));
    let forged = format!("{ada}x");
    for _ in 0..3 {
        assert_eq!(world.get("/", &[("authorization", &forged)]).await.reason().0, 401);
    }
    assert_eq!(world.get("/", &[("authorization", &ada)]).await.status, 200);
    let again = world.bearer(&json!({"uti": "u2", "scp": "Other"}));
    assert_eq!(
        world.get("/", &[("authorization", &again)]).await.reason(),
        exceeded(),
        "another token of the same user"
    );
    let eve = world.bearer(&json!({"oid": "o-eve"}));
    assert_eq!(world.get("/", &[("authorization", &eve)]).await.status, 200);
}

#[tokio::test]
async fn keys_without_number_get_nobody_past_a_limit_that_is_not_about_them() {
    let both = format!(
        "{BY_TENANT}\n    [[api.policies.rate_limit_by_key]]\n    calls = 20\n    renewal_period = 60\n    counter_key = [\"address\"]"
    );
    let world = World::start(&public(&both)).await;
    let mut passed = 0;
    for at in 0..40 {
        passed += u32::from(world.get("/", &[("x-tenant", &at.to_string())]).await.status == 200);
    }
    assert_eq!(passed, 20);
}

#[tokio::test]
async fn who_has_a_network_of_ipv6_has_no_more_calls_than_who_has_an_address() {
    let text = public(
        "[[api.policies.rate_limit_by_key]]\n    calls = 1\n    renewal_period = 60\n    counter_key = [\"address\"]",
    );
    let world = World::start(&format!("trusted_proxies = [\"127.0.0.1\"]\n{text}")).await;
    for (address, status) in [
        ("2001:db8:0:1::1", 200),
        ("2001:db8:0:1:ffff:ffff:ffff:ffff", 429),
        ("2001:db8:0:2::1", 200),
        ("203.0.113.1", 200),
        ("203.0.113.2", 200),
        ("::ffff:203.0.113.2", 429),
    ] {
        assert_eq!(world.get("/", &[("x-forwarded-for", address)]).await.status, status, "{address}");
    }
}

#[tokio::test]
async fn a_call_can_count_by_its_status_and_counts_until_that_is_known() {
    let world = World::start(&public(
        r#"[[api.policies.rate_limit_by_key]]
    calls = 2
    renewal_period = 60
    counter_key = [{ text = "sign-in" }]
    increment_statuses = [401]
    remaining_calls_header_name = "X-Left""#,
    ))
    .await;
    let failed = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n";
    for _ in 0..5 {
        assert_eq!(world.get("/", &[]).await.status, 200, "what succeeds is not counted");
    }
    for _ in 0..2 {
        world.service.answers(failed);
        assert_eq!(world.get("/", &[]).await.status, 401);
    }
    assert_eq!(world.get("/", &[]).await.reason(), exceeded());
    world.clock.advance(60);
    world.service.answers("");
    assert_eq!(world.get("/", &[]).await.reason().0, 502, "a refusal has a status too");
    assert_eq!(world.get("/", &[]).await.field("x-left"), ["1"]);
}

#[tokio::test]
async fn a_call_can_count_for_several() {
    let world = World::start(&public(
        r#"[[api.policies.rate_limit_by_key]]
    calls = 5
    renewal_period = 60
    counter_key = ["api"]
    increment_count = 2
    remaining_calls_header_name = "X-Left""#,
    ))
    .await;
    let mut left = Vec::new();
    for _ in 0..3 {
        left.push(world.get("/", &[]).await.field("x-left")[0].to_owned());
    }
    assert_eq!(left, ["3", "1", "0"]);
}

#[tokio::test]
async fn a_quota_of_calls_is_for_windows_from_the_start_of_the_subscription() {
    let world = World::start(&keyed("[product.policies.quota]\n    calls = 2\n    renewal_period = 60")).await;
    for status in [200, 200, 403] {
        assert_eq!(world.get("/", &[A]).await.status, status);
    }
    let refused = world.get("/", &[A]).await;
    assert_eq!(
        (refused.reason(), refused.field("retry-after"), refused.check()),
        (used_up(), vec!["30"], "limit.quota".to_owned())
    );
    assert_eq!(refused.json()["message"], "Out of call volume quota. Quota will be replenished in 00:00:30.");
    assert_eq!(world.get("/", &[B]).await.status, 200, "another subscription has its own");
    world.clock.advance(29);
    assert_eq!(world.get("/", &[A]).await.reason(), used_up());
    world.clock.advance(1);
    assert_eq!(world.get("/", &[A]).await.status, 200, "its window began at 07:59:30");
    assert_eq!(world.service.seen().len(), 4);
}

#[tokio::test]
async fn what_a_rate_limit_refuses_uses_up_no_quota() {
    // Also where the quota is of the wider scope.
    let rate = "    path = \"/*\"\n    [api.operation.policies.rate_limit]\n    calls = 1\n    renewal_period = 1\n";
    let quota = keyed("[product.policies.quota]\n    calls = 2\n    renewal_period = 0");
    let world = World::start(&quota.replacen("    path = \"/*\"\n", rate, 1)).await;
    for status in [200, 429, 429] {
        assert_eq!(world.get("/", &[A]).await.status, status);
    }
    world.clock.advance(1);
    assert_eq!(world.get("/", &[A]).await.status, 200);
    world.clock.advance(1_000_000);
    let refused = world.get("/", &[A]).await;
    assert_eq!((refused.reason(), refused.field("retry-after").len()), (used_up(), 0), "it never comes back");
    assert_eq!(refused.json()["message"], "Out of call volume quota.");
}

#[tokio::test]
async fn a_quota_of_kilobytes_counts_bodies_both_ways() {
    let world = World::start(&keyed("[product.policies.quota]\n    bandwidth = 1\n    renewal_period = 3600")).await;
    let post = |length: usize| {
        let body = "x".repeat(length);
        format!("POST / HTTP/1.1\r\nHost: a\r\n{KEY}: {}\r\nContent-Length: {length}\r\n\r\n{body}", A.1)
    };
    assert_eq!(world.raw(post(1_015)).await.status, 200, "and four come back");
    // The bytes are counted once the answer has gone out whole, which its line in the log tells.
    while world.lines().is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(world.raw(post(1)).await.status, 200, "1019 of 1024 are used");
    while world.lines().is_empty() {
        tokio::task::yield_now().await;
    }
    let refused = world.raw(post(1)).await;
    assert_eq!(refused.reason(), used_up());
    assert_eq!(refused.field("retry-after"), ["3570"]);
    assert_eq!(refused.json()["message"], "Out of bandwidth quota. Quota will be replenished in 00:59:30.");
}

fn quota_by_key(rest: &str) -> String {
    public(&format!("[[api.policies.quota_by_key]]\n    {rest}"))
}

#[tokio::test]
async fn whoever_has_the_same_key_shares_a_quota_until_its_window_is_over() {
    let world = World::start(&quota_by_key(
        "calls = 2
    renewal_period = 3600
    first_period_start = 2026-01-01T00:30:00Z
    counter_key = [{ header = \"X-Tenant\" }]",
    ))
    .await;
    let (a, b) = (("x-tenant", "a"), ("x-tenant", "b"));
    for (caller, status) in [(a, 200), (a, 200), (a, 403), (b, 200)] {
        assert_eq!(world.get("/", &[caller]).await.status, status, "{caller:?}");
    }
    let refused = world.get("/", &[a]).await;
    assert_eq!(
        (refused.reason(), refused.field("retry-after"), refused.check()),
        (used_up(), vec!["1800"], "limit.quota".to_owned()),
        "windows begin half an hour after full hours"
    );
    assert_eq!(refused.json()["message"], "Out of call volume quota. Quota will be replenished in 00:30:00.");
    assert_eq!(world.service.seen().len(), 3);
    world.clock.advance(1_799);
    assert_eq!(world.get("/", &[a]).await.reason(), used_up());
    world.clock.advance(1);
    assert_eq!(world.get("/", &[a]).await.status, 200);
}

#[tokio::test]
async fn weeks_of_a_quota_begin_on_mondays_where_nothing_else_is_said() {
    let world =
        World::start(&quota_by_key("calls = 1\n    renewal_period = 604800\n    counter_key = [\"address\"]")).await;
    assert_eq!(world.get("/", &[]).await.status, 200);
    // It is Friday, 8 o'clock.
    let until_monday = (16 + 2 * 24) * 3_600;
    assert_eq!(world.get("/", &[]).await.field("retry-after"), [until_monday.to_string()]);
    world.clock.advance(until_monday);
    assert_eq!(world.get("/", &[]).await.status, 200);
}

#[tokio::test]
async fn a_quota_is_used_by_the_statuses_that_it_names_and_until_they_are_known() {
    let world = World::start(&quota_by_key(
        "calls = 5
    bandwidth = 1
    renewal_period = 0
    counter_key = [\"api\"]
    increment_count = 2
    increment_statuses = [401]",
    ))
    .await;
    let long = "x".repeat(2_000);
    world.service.answers(&format!("HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n{long}"));
    for _ in 0..5 {
        assert_eq!(world.get("/", &[]).await.status, 200, "what succeeds uses neither calls nor bytes");
        while world.lines().is_empty() {
            tokio::task::yield_now().await;
        }
    }
    for _ in 0..2 {
        world.service.answers("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(world.get("/", &[]).await.status, 401);
    }
    let refused = world.get("/", &[]).await;
    assert_eq!(
        (refused.reason(), refused.field("retry-after").len()),
        (used_up(), 0),
        "one is left, and a call is two"
    );
}

#[tokio::test]
async fn kilobytes_of_a_key_count_both_ways() {
    let world = World::start(&quota_by_key(
        "bandwidth = 1\n    renewal_period = 300\n    counter_key = [{ header = \"X-Tenant\" }]",
    ))
    .await;
    let post = |tenant: &str| {
        format!("POST / HTTP/1.1\r\nHost: a\r\nX-Tenant: {tenant}\r\nContent-Length: 1020\r\n\r\n{}", "x".repeat(1_020))
    };
    assert_eq!(world.raw(post("a")).await.status, 200, "and four come back");
    while world.lines().is_empty() {
        tokio::task::yield_now().await;
    }
    let refused = world.raw(post("a")).await;
    assert_eq!((refused.reason(), refused.field("retry-after")), (used_up(), vec!["300"]));
    assert_eq!(refused.json()["message"], "Out of bandwidth quota. Quota will be replenished in 00:05:00.");
    assert_eq!(world.raw(post("b")).await.status, 200);
}

#[tokio::test]
async fn quotas_of_other_windows_are_others_and_nobody_gets_calls_by_what_they_say() {
    let of = |calls: u8, period: u32| {
        format!("calls = {calls}\n    renewal_period = {period}\n    counter_key = [{{ claim = \"oid\" }}]")
    };
    let both = format!("{}\n    [[api.policies.quota_by_key]]\n    {}", of(1, 300), of(2, 86_400));
    let limits = format!("[[api.policies.quota_by_key]]\n    {both}\n    [[api.operation]]");
    let world = World::start(&ORDERS.replacen("[[api.operation]]", &limits, 1)).await;
    let ada = world.bearer(&json!({}));
    for _ in 0..3 {
        assert_eq!(world.get("/", &[("authorization", &format!("{ada}x"))]).await.reason().0, 401);
    }
    for (advance, expected) in [(0, 200), (0, 403), (300, 200), (300, 403)] {
        world.clock.advance(advance);
        let token = world.bearer(&json!({"uti": advance.to_string(), "scp": "Other"}));
        let answer = world.get("/", &[("authorization", &token), ("x-tenant", "new"), ("oid", "o-eve")]).await;
        assert_eq!(answer.status, expected, "after {advance}");
    }
    let eve = world.bearer(&json!({"oid": "o-eve"}));
    assert_eq!(world.get("/", &[("authorization", &eve)]).await.status, 200);
}

/// An API with two operations, behind keys of subscriptions to a product with these policies.
fn with_creation(policies: &str) -> String {
    let creation =
        "[[api.operation]]\n    name = \"create\"\n    method = \"POST\"\n    path = \"/*\"\n    [[api.operation]]";
    keyed(policies).replacen("[[api.operation]]", creation, 1)
}

#[tokio::test]
async fn a_rate_of_a_product_can_be_narrower_for_one_api_and_one_operation() {
    let world = World::start(&with_creation(
        "[product.policies.rate_limit]
    calls = 4
    renewal_period = 100
    remaining_calls_header_name = \"X-Left\"
    total_calls_header_name = \"X-Total\"
    [[product.policies.rate_limit.api]]
    name = \"orders\"
    calls = 3
    renewal_period = 20
    [[product.policies.rate_limit.api.operation]]
    name = \"create\"
    calls = 1
    renewal_period = 10",
    ))
    .await;
    let create = |key: &str| format!("POST / HTTP/1.1\r\nHost: a\r\n{KEY}: {key}\r\nContent-Length: 0\r\n\r\n");
    let told = |answer: &crate::support::Answered| {
        let field = |name: &str| answer.field(name).first().map(|text| (*text).to_owned()).unwrap_or_default();
        [answer.status.to_string(), field("x-left"), field("x-total"), field("retry-after")].join(" ")
    };
    assert_eq!(told(&world.raw(create(A.1)).await), "200 0 1 ", "the operation's is the least");
    for _ in 0..3 {
        assert_eq!(told(&world.raw(create(A.1)).await), "429 0 1 10", "and what it refuses counts for no other");
    }
    assert_eq!(told(&world.raw(create(B.1)).await), "200 0 1 ", "another subscription has its own");
    assert_eq!(told(&world.get("/", &[A]).await), "200 1 3 ", "another operation is of the API alone");
    assert_eq!(told(&world.get("/", &[A]).await), "200 0 3 ");
    assert_eq!(told(&world.get("/", &[A]).await), "429 0 3 20");
    world.clock.advance(20);
    assert_eq!(told(&world.get("/", &[A]).await), "200 0 4 ");
    assert_eq!(told(&world.get("/", &[A]).await), "429 0 4 80");
}

#[tokio::test]
async fn a_quota_of_a_product_can_be_narrower_for_one_api_and_one_operation() {
    let world = World::start(&with_creation(
        "[product.policies.quota]
    calls = 3
    renewal_period = 0
    [[product.policies.quota.api]]
    name = \"orders\"
    bandwidth = 1
    renewal_period = 3600
    [[product.policies.quota.api.operation]]
    name = \"create\"
    calls = 1
    renewal_period = 600",
    ))
    .await;
    let create = |length: usize| {
        let body = "x".repeat(length);
        format!("POST / HTTP/1.1\r\nHost: a\r\n{KEY}: {}\r\nContent-Length: {length}\r\n\r\n{body}", A.1)
    };
    assert_eq!(world.raw(create(1_100)).await.status, 200);
    while world.lines().is_empty() {
        tokio::task::yield_now().await;
    }
    let refused = world.get("/", &[A]).await;
    assert_eq!((refused.reason(), refused.field("retry-after")), (used_up(), vec!["3570"]));
    assert!(refused.json()["message"].as_str().unwrap().starts_with("Out of bandwidth quota."), "the API's");
    world.clock.advance(3_570);
    assert_eq!(world.raw(create(0)).await.status, 200);
    for _ in 0..3 {
        let refused = world.raw(create(0)).await;
        assert_eq!((refused.reason(), refused.field("retry-after")), (used_up(), vec!["600"]), "the operation's");
    }
    assert_eq!(world.get("/", &[A]).await.status, 200, "what it refused counts for no other");
    let refused = world.get("/", &[A]).await;
    assert_eq!((refused.reason(), refused.field("retry-after").len()), (used_up(), 0), "the product's");
}
