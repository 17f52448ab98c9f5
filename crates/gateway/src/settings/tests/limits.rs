//! Limits, and where they are counted together.
use super::*;

#[test]
fn limits_and_origins_are_told() {
    let text = SOUND.replace(
        "[[api.operation]]",
        r#"[api.policies.cors]
allowed_origins = ["https://app.example"]
allow_credentials = true
[api.policies.rate_limit]
calls = 5
renewal_period = 60
[[api.policies.rate_limit.api]]
name = "orders"
calls = 2
renewal_period = 60
[[api.policies.rate_limit.api.operation]]
name = "read"
calls = 1
renewal_period = 30
[api.policies.quota]
calls = 1000
bandwidth = 40000
renewal_period = 3600
[[api.policies.quota.api]]
name = "orders"
calls = 500
renewal_period = 0
[[api.policies.quota_by_key]]
bandwidth = 10
renewal_period = 0
counter_key = ["subscription", { text = "a" }]
[[api.policies.rate_limit_by_key]]
calls = 10
renewal_period = 60
counter_key = ["address", { claim = "oid" }, { header = "X-Tenant" }]
[[api.operation]]"#,
    );
    let [operation] = read(&text).unwrap().effective().try_into().unwrap();
    let told: Vec<String> = operation.policies.iter().map(|told| format!("{}: {}", told.policy, told.text)).collect();
    assert_eq!(
        told,
        [
            "cors: pages of https://app.example, with cookies",
            "validate_jwt: a token of contoso for api://orders, give or take 60 s",
            "rate_limit: 5 calls in 60 s for each subscription; 2 calls in 60 s to orders; 1 calls in 30 s to orders/read",
            "quota: 1000 calls and 40000 KB in 3600 s for each subscription; 500 calls to orders, once",
            "rate_limit_by_key: 10 calls in 60 s for each address and claim `oid` and `X-Tenant`",
            "quota_by_key: 10 KB for each subscription and `a`, once",
        ]
    );
}

const SHARED: &str = r#"
[shared_limits]
url = "rediss://limits.internal"
username = "gateway"
password = { env = "SECRET" }
prefix = "blue"
timeout_milliseconds = 20

[[upstream]]
name = "orders"
url = "https://orders.internal"

[[api]]
name = "orders"
path = "/"
upstream = "orders"
public = true
[api.policies.rate_limit]
calls = 5
renewal_period = 60
shared = true
[api.policies.quota]
calls = 50
renewal_period = 3600
shared = true
api = [{ name = "orders", bandwidth = 50, renewal_period = 1800 }]
[[api.policies.quota_by_key]]
calls = 50
renewal_period = 900
counter_key = ["address"]
shared = true
[[api.operation]]
name = "all"
method = "*"
path = "/*"
"#;

#[test]
fn limits_are_shared_where_that_is_said_and_each_mistake_about_it_has_its_place() {
    let told: Vec<_> = read(SHARED).unwrap().effective()[0].policies.iter().map(|told| told.text.clone()).collect();
    assert_eq!(
        told,
        [
            "5 calls in 60 s for each subscription, of all gateways",
            "50 calls in 3600 s for each subscription, of all gateways; 50 KB in 1800 s to orders",
            "50 calls in 900 s for each address, of all gateways",
        ]
    );
    let url = "rediss://limits.internal";
    for (to, problem) in [
        ("https://limits.internal", "another scheme than `rediss`"),
        ("limits.internal:6379", "another scheme than `rediss`"),
        ("rediss:///", "address"),
        ("rediss://:6379", "address"),
        ("rediss://gateway:open@limits.internal", "do not belong in the address"),
        ("rediss://limits.internal/0", "has a path or a query"),
        ("rediss://limits.internal?db=1", "has a path or a query"),
        ("redis://limits.internal", "asked over TLS, or on this machine"),
        ("valkey://10.0.0.7:6379", "asked over TLS, or on this machine"),
    ] {
        let (at, found, hint) = wrong(&SHARED.replacen(url, to, 1));
        assert!(found.contains(problem) && !hint.is_empty(), "{to}: {found}");
        assert_eq!(at, format!("\"{to}\""), "{found}");
    }
    for sound in ["valkeys://limits.internal:7000", "redis://localhost", "redis://[::1]:6380/", "valkey://127.0.0.1"] {
        assert!(read(&SHARED.replacen(url, sound, 1)).is_ok(), "{sound}");
    }
    for (from, to, place, problem) in [
        ("prefix = \"blue\"", "prefix = \"\"", "\"\"", "no prefix of names"),
        ("prefix = \"blue\"", "prefix = \"a b\"", "\"a b\"", "no prefix of names"),
        (
            "prefix = \"blue\"",
            "prefix = \"a234567890123456789012345678901234567890123456789012345678901234x\"",
            "\"a234567890123456789012345678901234567890123456789012345678901234x\"",
            "no prefix of names",
        ),
        ("milliseconds = 20", "milliseconds = 0", "0", "the time is out of range"),
        ("milliseconds = 20", "milliseconds = 10001", "10001", "the time is out of range"),
        ("SECRET", "NOTHING", "{ env = \"NOTHING\" }", "the variable NOTHING is not set"),
        ("password = { env = \"SECRET\" }", "", "\"gateway\"", "a name without a password logs nobody in"),
        ("renewal_period = 3600", "renewal_period = 0", "true", "never renewed is not shared"),
        ("renewal_period = 1800", "renewal_period = 0", "true", "never renewed is not shared"),
        ("renewal_period = 900", "renewal_period = 0", "true", "never renewed is not shared"),
    ] {
        assert!(SHARED.contains(from), "{from}");
        let (at, found, hint) = wrong(&SHARED.replacen(from, to, 1));
        assert!(found.contains(problem) && !hint.is_empty(), "{to}: {found}");
        assert_eq!(at, place, "{found}");
    }
    let nowhere = SHARED.split_once("[[upstream]]").map(|(_, rest)| format!("[[upstream]]{rest}")).unwrap();
    assert_eq!(wrong(&nowhere).1, "it is not said where limits are shared");
    assert!(read(&nowhere.replace("shared = true", "shared = false")).is_ok());
}
