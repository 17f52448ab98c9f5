//! Limits that gateways share in Valkey: what they let by together, and what is kept there.
use crate::limits::{A, B, keyed, public};
use crate::support::{NOON, World, answered};
use crate::valkey::{Gateway, Valkey, until};
use std::sync::Arc;
use testkit::SetClock;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// A configuration that shares limits there; no answer is ever too late.
pub(crate) fn at(url: &str, text: &str) -> String {
    format!("[shared_limits]\n    url = \"{url}\"\n    timeout_milliseconds = 10000\n{text}")
}

pub(crate) fn by_tenant(calls: u32, more: &str) -> String {
    public(&format!(
        "[[api.policies.rate_limit_by_key]]
    calls = {calls}
    renewal_period = 300
    counter_key = [{{ header = \"X-Tenant\" }}]
    shared = true
    {more}"
    ))
}

pub(crate) fn quota_by_tenant(rest: &str) -> String {
    public(&format!(
        "[[api.policies.quota_by_key]]
    renewal_period = 86400
    counter_key = [{{ header = \"X-Tenant\" }}]
    shared = true
    {rest}"
    ))
}

/// Two gateways with one configuration.
async fn two(text: &str) -> [Gateway; 2] {
    [Gateway::sharing(text).await, Gateway::sharing(text).await]
}

/// How many of so many calls at once, at each of them, are let by.
async fn let_by(gateways: [Gateway; 2], each: usize, fields: &'static [(&str, &str)]) -> usize {
    let mut calls = tokio::task::JoinSet::new();
    for gateway in gateways.map(Arc::new) {
        for _ in 0..each {
            let gateway = Arc::clone(&gateway);
            calls.spawn(async move { gateway.status(fields).await });
        }
    }
    let statuses = calls.join_all().await;
    assert!(statuses.iter().all(|status| matches!(status, 200 | 429 | 403)), "{statuses:?}");
    statuses.iter().filter(|status| **status == 200).count()
}

#[tokio::test]
async fn gateways_that_race_let_by_what_the_limit_says_and_not_one_call_more() {
    let valkey = Valkey::start().await;
    let gateways = two(&at(&valkey.url(), &by_tenant(50, ""))).await;
    assert_eq!(let_by(gateways, 60, &[("x-tenant", "a")]).await, 50);
    let gateways = two(&at(&valkey.url(), &quota_by_tenant("calls = 50"))).await;
    assert_eq!(let_by(gateways, 60, &[("x-tenant", "a")]).await, 50);
}

#[tokio::test]
async fn calls_of_a_subscription_at_one_gateway_count_at_the_other() {
    let valkey = Valkey::start().await;
    let text = keyed(
        "[product.policies.rate_limit]
    calls = 3
    renewal_period = 300
    shared = true
    remaining_calls_header_name = \"X-Left\"
    api = [{ name = \"orders\", calls = 2, renewal_period = 300 }]",
    );
    let [one, other] = two(&at(&valkey.url(), &text)).await;
    for (gateway, key, left) in [(&one, A, "1"), (&other, A, "0"), (&other, B, "1")] {
        let answer = gateway.world.get("/", &[key]).await;
        assert_eq!((answer.status, answer.field("x-left")), (200, vec![left]));
    }
    for gateway in [&one, &other] {
        let refused = gateway.world.get("/", &[A]).await;
        assert_eq!(refused.reason(), (429, "RateLimitExceeded".to_owned()));
        let again: u64 = refused.field("retry-after")[0].parse().unwrap();
        assert!((1..=300).contains(&again), "{again}");
    }
    // What the API's limit refuses counts for none: all there are of A are two for each of its limits, and of B one.
    let mut sums = Vec::new();
    for key in valkey.keys().await {
        sums.push(valkey.says(&["HVALS", &key]).await.iter().map(|calls| calls.parse::<u32>().unwrap()).sum::<u32>());
    }
    sums.sort_unstable();
    assert_eq!(sums, [1, 1, 2, 2]);
}

#[tokio::test]
async fn a_quota_of_a_subscription_is_of_all_gateways_and_its_window_is_that_of_valkeys_clock() {
    let valkey = Valkey::start().await;
    let text = keyed(
        "[product.policies.quota]
    calls = 3
    renewal_period = 864000
    shared = true
    api = [{ name = \"orders\", calls = 2, renewal_period = 864000 }]",
    );
    let text = at(&valkey.url(), &text).replace("2027-01-15T07:59:30Z", "2026-01-01T00:00:00Z");
    let mut gateways = Vec::new();
    // The clock of one is a month ahead of the other's.
    for ahead in [0, 30 * 86_400] {
        let clock = SetClock::at(NOON);
        clock.advance(ahead);
        let gateway = Gateway::of(World::with(&text, clock, |ports| ports).await).await;
        gateway.until_shared().await;
        gateways.push(gateway);
    }
    assert_eq!((gateways[0].status(&[A]).await, gateways[1].status(&[A]).await), (200, 200));
    let mut ends = Vec::new();
    for gateway in &gateways {
        let refused = gateway.world.get("/", &[A]).await;
        assert_eq!(refused.reason(), (403, "QuotaExceeded".to_owned()));
        ends.push(refused.field("retry-after")[0].parse::<i64>().unwrap());
        assert_eq!(gateway.status(&[B]).await, 200);
    }
    let now: i64 = valkey.says(&["TIME"]).await[0].parse().unwrap();
    let left = 864_000 - (now - 1_767_225_600) % 864_000;
    for end in ends {
        assert!((left..left + 30).contains(&end), "{end} is not {left}");
    }
    for key in valkey.keys().await {
        let lives: i64 = valkey.says(&["TTL", &key]).await[0].parse().unwrap();
        assert!((1..=864_000).contains(&lives), "a counter lives as long as its window: {lives}");
        assert_eq!(valkey.says(&["HGET", &key, "calls"]).await, ["2"], "what one quota refuses counts for none");
    }
}

#[tokio::test]
async fn a_call_counts_for_a_period_from_its_own_second() {
    let valkey = Valkey::start().await;
    let gateway = Gateway::sharing(&at(&valkey.url(), &by_tenant(2, ""))).await;
    let fields = [("x-tenant", "a")];
    assert_eq!((gateway.status(&fields).await, gateway.status(&fields).await), (200, 200));
    assert_eq!(gateway.status(&fields).await, 429);
    let (key, now): (_, i64) = (valkey.key().await, valkey.says(&["TIME"]).await[0].parse().unwrap());
    // As if one of them had been 290 seconds ago, and the other 299.
    let put = async |marks: [i64; 2]| {
        valkey.says(&["DEL", &key]).await;
        for second in marks {
            valkey.says(&["HINCRBY", &key, &(now + second).to_string(), "1"]).await;
        }
        // What was refused within this second is refused without asking.
        gateway.world.clock.advance(1);
    };
    put([-299, -200]).await;
    let answer = gateway.world.get("/", &fields).await;
    let again: Vec<i64> = answer.field("retry-after").iter().map(|text| text.parse().unwrap()).collect();
    // Another second can begin meanwhile.
    assert!(answer.status == 200 || again == [1], "{answer:?}");
    put([-200, -100]).await;
    let refused = gateway.world.get("/", &fields).await;
    let again: i64 = refused.field("retry-after")[0].parse().unwrap();
    assert!(refused.status == 429 && (70..=100).contains(&again), "{refused:?}");
    put([-300, -200]).await;
    assert_eq!(gateway.status(&fields).await, 200, "the first one is over");
    gateway.world.clock.advance(1);
    assert_eq!(gateway.status(&fields).await, 429);
    // A clock that was put back: what seemed later is now, and no longer.
    put([100_000, 100_000]).await;
    let refused = gateway.world.get("/", &fields).await;
    let again: i64 = refused.field("retry-after")[0].parse().unwrap();
    assert!(refused.status == 429 && again == 300, "{refused:?}");
    let marks: Vec<i64> = valkey.says(&["HKEYS", &key]).await.iter().map(|second| second.parse().unwrap()).collect();
    assert!(marks.iter().all(|second| (now..now + 60).contains(second)), "{marks:?}");
    let lives: i64 = valkey.says(&["TTL", &key]).await[0].parse().unwrap();
    assert!((1..=300).contains(&lives), "{lives}");
}

#[tokio::test]
async fn a_call_that_does_not_count_after_all_is_given_back_for_all_gateways() {
    let valkey = Valkey::start().await;
    for (text, refused) in [
        (by_tenant(2, "increment_count = 2\n    increment_statuses = [401]"), 429),
        (quota_by_tenant("calls = 2\n    increment_count = 2\n    increment_statuses = [401]"), 403),
    ] {
        let [one, other] = two(&at(&valkey.url(), &text)).await;
        let fields = [("x-tenant", "a")];
        for gateway in [&one, &other] {
            assert_eq!(gateway.status(&fields).await, 200, "what succeeds uses nothing");
            let key = valkey.key().await;
            let is_given_back = async || valkey.says(&["HVALS", &key]).await.iter().all(|it| it == "0" || it.len() > 2);
            until("the call is given back", is_given_back).await;
        }
        one.world.service.answers("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n");
        assert_eq!((one.status(&fields).await, other.status(&fields).await), (401, refused));
        valkey.says(&["FLUSHALL"]).await;
    }
}

#[tokio::test]
async fn kilobytes_at_one_gateway_count_at_the_other() {
    let valkey = Valkey::start().await;
    let [one, other] = two(&at(&valkey.url(), &quota_by_tenant("bandwidth = 1"))).await;
    let post =
        format!("POST / HTTP/1.1\r\nHost: a\r\nX-Tenant: a\r\nContent-Length: 1020\r\n\r\n{}", "x".repeat(1_020));
    assert_eq!(one.world.raw(&post).await.status, 200, "and four come back");
    let key = valkey.key().await;
    until("the bytes are told", async || valkey.says(&["HGET", &key, "bytes"]).await == ["1024"]).await;
    assert_eq!(other.world.raw(&post).await.reason(), (403, "QuotaExceeded".to_owned()));
}

#[tokio::test]
async fn a_decision_is_one_command_and_what_is_not_shared_is_none() {
    let valkey = Valkey::start().await;
    let text = keyed(
        "[product.policies.rate_limit]
    calls = 100
    renewal_period = 300
    shared = true
    api = [{ name = \"orders\", calls = 100, renewal_period = 300, operation = [{ name = \"all\", calls = 100, renewal_period = 300 }] }]",
    );
    let gateway = Gateway::sharing(&at(&valkey.url(), &text)).await;
    for runs in 1..=3 {
        assert_eq!((gateway.status(&[A]).await, valkey.runs().await), (200, runs));
    }
    assert_eq!((valkey.keys().await.len(), gateway.decisions("answered").await), (3, 3));
    let alone = text.replace("    shared = true\n", "");
    gateway.world.reload(&at(&valkey.url(), &alone)).unwrap();
    assert_eq!((gateway.status(&[A]).await, valkey.runs().await), (200, 3));
    assert_eq!(gateway.decisions("answered").await, 3, "the connection is the same");
}

#[tokio::test]
async fn who_is_refused_is_refused_for_that_second_without_asking() {
    let valkey = Valkey::start().await;
    let gateway = Gateway::sharing(&at(&valkey.url(), &by_tenant(1, ""))).await;
    let fields = [("x-tenant", "a")];
    assert_eq!(gateway.status(&fields).await, 200);
    for _ in 0..20 {
        assert_eq!(gateway.status(&fields).await, 429);
    }
    assert_eq!(valkey.runs().await, 2);
    assert_eq!(gateway.status(&[("x-tenant", "b")]).await, 200, "that is nobody else's");
    gateway.world.clock.advance(1);
    assert_eq!((gateway.status(&fields).await, valkey.runs().await), (429, 4));
    gateway.world.reload(&at(&valkey.url(), &quota_by_tenant("calls = 1"))).unwrap();
    assert_eq!(gateway.status(&fields).await, 200);
    for _ in 0..20 {
        assert_eq!(gateway.status(&fields).await, 403);
    }
    assert_eq!((gateway.status(&[("x-tenant", "b")]).await, valkey.runs().await), (200, 7));
}

#[tokio::test]
async fn keys_that_callers_make_up_are_digests_of_their_own_and_end_by_themselves() {
    let valkey = Valkey::start().await;
    let gateway = Gateway::sharing(&at(&valkey.url(), &by_tenant(1, ""))).await;
    let long = "x".repeat(4_000);
    let names = ["a", "", "a\tb", "*", "{deputize}", "deputize:rate:", &long];
    for name in names {
        assert_eq!(gateway.status(&[("x-tenant", name)]).await, 200, "{name}");
    }
    // Parts that would join to the same text are other keys.
    assert_eq!(gateway.status(&[("x-tenant", "a"), ("x-tenant", "b")]).await, 200);
    assert_eq!(gateway.status(&[("x-tenant", "ab")]).await, 200);
    let keys = valkey.keys().await;
    assert_eq!(keys.len(), names.len() + 2);
    for key in keys {
        let digest = key.strip_prefix("deputize:rate:").unwrap();
        let is_digest = digest.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
        assert!(digest.len() == 43 && is_digest, "{key}");
        let lives: i64 = valkey.says(&["TTL", &key]).await[0].parse().unwrap();
        assert!((1..=300).contains(&lives), "{lives}");
    }
}

#[tokio::test]
async fn a_reload_keeps_the_connection_and_the_counters() {
    let valkey = Valkey::start().await;
    let text = at(&valkey.url(), &by_tenant(1, ""));
    let gateway = Gateway::sharing(&text).await;
    let fields = [("x-tenant", "a")];
    assert_eq!(gateway.status(&fields).await, 200);
    let connected = valkey.says(&["CLIENT", "LIST"]).await.len();
    gateway.world.reload(&text).unwrap();
    assert_eq!((gateway.status(&fields).await, valkey.says(&["CLIENT", "LIST"]).await.len()), (429, connected));
    assert_eq!(gateway.decisions("answered").await, 2);
    // Another prefix is another set of counters, over another connection.
    gateway.world.reload(&text.replace("[shared_limits]", "[shared_limits]\n    prefix = \"blue\"")).unwrap();
    gateway.until_shared().await;
    assert_eq!(gateway.status(&fields).await, 200);
    assert!(valkey.keys().await.iter().any(|key| key.starts_with("blue:rate:")));
}

/// What becomes of the only counter there is when a call that it counted ends, after these commands were given meanwhile.
async fn ended_after(valkey: &Valkey, text: &str, meanwhile: &[&[&str]]) -> Vec<String> {
    let gateway = Gateway::sharing(&at(&valkey.url(), text)).await;
    let mut stream = TcpStream::connect(gateway.world.address).await.unwrap();
    stream.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nX-Tenant: a\r\nContent-Length: 4\r\n\r\nab").await.unwrap();
    until("the call is counted", async || !valkey.keys().await.is_empty()).await;
    let key = valkey.key().await;
    let first = valkey.says(&["HKEYS", &key]).await.remove(0);
    let word = |word: &str| match word {
        "KEY" => key.clone(),
        "FIRST" => first.clone(),
        other => other.to_owned(),
    };
    for command in meanwhile {
        let words: Vec<String> = command.iter().copied().map(word).collect();
        valkey.says(&words.iter().map(String::as_str).collect::<Vec<_>>()).await;
    }
    let runs = valkey.runs().await;
    stream.write_all(b"cd").await.unwrap();
    assert_eq!(answered(&mut stream).await.status, 200);
    until("Valkey is told", async || valkey.runs().await > runs).await;
    let kept = valkey.says(&["HGETALL", &key]).await;
    valkey.says(&["FLUSHALL"]).await;
    kept
}

#[tokio::test]
async fn a_call_that_ends_after_its_period_or_window_changes_nothing() {
    let valkey = Valkey::start().await;
    let rate = by_tenant(2, "increment_statuses = [401]");
    let quota = quota_by_tenant("calls = 2\n    bandwidth = 1\n    increment_statuses = [401]");
    for text in [&rate, &quota] {
        let gone = ended_after(&valkey, text, &[&["DEL", "KEY"]]).await;
        assert!(gone.is_empty(), "a counter that is over is not made again, for ever: {gone:?}");
    }
    let none = ended_after(&valkey, &rate, &[&["HSET", "KEY", "FIRST", "0"]]).await;
    assert_eq!(none[1..], ["0"], "no more is given back than is there");
    let next = ["window", "9999999", "calls", "1", "bytes", "7"];
    let put = [&["HSET", "KEY"][..], &next].concat();
    assert_eq!(ended_after(&valkey, &quota, &[&put]).await, next, "another window is not changed");
}

#[tokio::test]
async fn a_reload_with_another_password_or_patience_is_another_connection() {
    let valkey = Valkey::start().await;
    let login = |variable: &str, text: &str| {
        let login = format!("[shared_limits]\n    password = {{ env = \"{variable}\" }}");
        text.replace("[shared_limits]", &login)
    };
    let text = at(&valkey.url(), &by_tenant(100, ""));
    let gateway = Gateway::sharing(&login("SECRET", &text)).await;
    let patient = text.replace("10000", "9999");
    for text in [login("PASSWORD", &text), login("PASSWORD", &patient), patient] {
        assert_eq!(gateway.status(&[("x-tenant", "a")]).await, 200);
        assert_eq!(gateway.decisions("answered").await, 1);
        gateway.world.reload(&text).unwrap();
        gateway.until_shared().await;
        assert_eq!(gateway.decisions("answered").await, 0);
    }
}

#[tokio::test]
async fn a_clock_of_valkey_that_is_put_back_gives_nobody_a_new_window() {
    let valkey = Valkey::start().await;
    let gateway = Gateway::sharing(&at(&valkey.url(), &quota_by_tenant("calls = 2"))).await;
    assert_eq!(gateway.status(&[("x-tenant", "a")]).await, 200);
    // As if it had counted in a window that is to come.
    valkey.says(&["HSET", &valkey.key().await, "window", "9999999", "calls", "2"]).await;
    assert_eq!(gateway.status(&[("x-tenant", "a")]).await, 403);
}
