//! G-10: where a caller is.
use crate::support::{PUBLIC, World};

fn filtered(action: &str, address: &str, proxies: &str) -> String {
    let api = PUBLIC.replace("public = true", "").replace(
        "[[api.operation]]",
        &format!("[api.policies.ip_filter]\naction = \"{action}\"\naddress = [\"{address}\"]\n[[api.operation]]"),
    );
    let public =
        if action == "forbid" { api.replace("path = \"/\"\n", "path = \"/\"\n    public = true\n") } else { api };
    format!("trusted_proxies = [{proxies}]\n{public}")
}

#[tokio::test]
async fn g_10_only_the_peer_counts_where_no_proxy_is_trusted() {
    let allowing = World::start(&filtered("allow", "10.0.0.0/8", "")).await;
    for forwarded in ["10.0.0.1", "10.0.0.1, 10.0.0.2", "::ffff:10.0.0.1"] {
        let fields = [("x-forwarded-for", forwarded), ("forwarded", "for=10.0.0.1"), ("x-real-ip", "10.0.0.1")];
        let answer = allowing.get("/", &fields).await;
        assert_eq!(answer.reason(), (403, "CallerIpNotAllowed".to_owned()));
        assert_eq!(answer.json()["message"], "Forbidden");
    }
    let forbidding = World::start(&filtered("forbid", "127.0.0.1", "")).await;
    assert_eq!(
        forbidding.get("/", &[("x-forwarded-for", "1.1.1.1")]).await.reason(),
        (403, "CallerIpBlocked".to_owned())
    );
    let near = World::start(&filtered("allow", "127.0.0.0/8", "")).await;
    assert_eq!(near.get("/", &[]).await.status, 200);
}

#[tokio::test]
async fn g_10_behind_a_trusted_proxy_the_right_most_stranger_counts() {
    let world = World::start(&filtered("allow", "203.0.113.0/24", r#""127.0.0.0/8""#)).await;
    for (forwarded, status) in [
        ("203.0.113.9", 200),
        ("1.1.1.1, 203.0.113.9", 200),
        ("203.0.113.9, 1.1.1.1", 403),
        ("203.0.113.9, 127.0.0.2", 200),
        ("::ffff:203.0.113.9", 200),
        ("203.0.113.9:4711", 200),
    ] {
        assert_eq!(world.get("/", &[("x-forwarded-for", forwarded)]).await.status, status, "{forwarded}");
    }
    for forwarded in ["0313.0.113.9", "203.0.113.9, unknown", "fe80::1%eth0", "203.0.113.9,"] {
        let answer = world.get("/", &[("x-forwarded-for", forwarded)]).await;
        assert_eq!(answer.reason(), (403, "FailedToParseCallerIP".to_owned()), "{forwarded}");
    }
}
