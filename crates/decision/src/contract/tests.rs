use super::*;
use serde_json::json;

fn contract(toml: &str) -> Result<Contract, String> {
    toml::from_str(toml).map_err(|e| e.to_string())
}

const BASE: &str = "audiences = ['api://a']\n[[issuers]]\nissuer = 'https://id.example/t/v2.0'\n";

#[test]
fn a_contract_is_read_with_its_defaults() {
    let read = contract(&format!("{BASE}[[routes]]\nmethod = 'GET'\npath = '/x'\nscopes = ['A']\n")).unwrap();
    assert_eq!((read.skew, read.max_token_bytes, read.disclosure), (60, 16_384, Disclosure::Caller));
    assert_eq!((read.issuers[0].profile, read.routes[0].subject()), (Profile::Entra, Subject::User));
    let again: Contract = serde_json::from_value(serde_json::to_value(&read).unwrap()).unwrap();
    assert_eq!(again, read);
}

#[test]
fn a_contract_that_would_let_too_much_by_is_refused_with_what_to_write() {
    let issuer = |lines: &str| format!("audiences = ['a']\n[[issuers]]\n{lines}\n");
    let route = |lines: &str| format!("{BASE}[[routes]]\nmethod = 'GET'\npath = '/x'\n{lines}\n");
    let cases = [
        ("issuers = []\naudiences = ['a']".into(), "`issuers` is empty"),
        (BASE.replace("'api://a'", ""), "`audiences` is empty"),
        (BASE.replace("'api://a'", "''"), "`audiences` is empty"),
        (
            issuer("issuer = 'https://h/{tenantid}/v2.0'\nmetadata = 'https://h/m'"),
            "name the accepted ones in `tenants`",
        ),
        (
            issuer("issuer = 'https://h/{tenantid}/v2.0'\ntenants = 'all'\nmetadata = 'https://h/m'"),
            "did not match any variant",
        ),
        (issuer("issuer = 'https://h/{tenantid}/v2.0'\ntenants = 'any'"), "say where its `metadata`"),
        (issuer("issuer = 'https://h'\ntenants = []"), "`tenants` is empty"),
        (issuer("issuer = 'https://h'\njwks_uri = 'https://h/k'\nmetadata = 'https://h/m'"), "keep one"),
        (issuer("issuer = 'https://h'\n[[issuers]]\nissuer = 'https://h'"), "listed twice"),
        (issuer("issuer = 'https://h'\naudience = 'x'"), "unknown field `audience`"),
        (format!("clients = []\n{BASE}"), "`clients` is empty"),
        (format!("skew = 601\n{BASE}"), "`skew` is out of range"),
        (format!("skew = -1\n{BASE}"), "`skew` is out of range"),
        (format!("max_token_bytes = 255\n{BASE}"), "`max_token_bytes` is out of range"),
        (format!("max_token_bytes = 65537\n{BASE}"), "`max_token_bytes` is out of range"),
        (format!("max_lifetime = 0\n{BASE}"), "`max_lifetime` is out of range"),
        (format!("max_lifetime = -1\n{BASE}"), "`max_lifetime` is out of range"),
        (route(""), "demands nothing"),
        (route("scope = ['A']"), "unknown field `scope`"),
        (route("scopes = ['A']\napp_roles = ['B']\nsubject = 'user'"), "cannot have"),
        (route("app_roles = ['B']\nacrs = ['c1']"), "cannot have"),
        (route("app_roles = ['B']\nsubject = 'either'"), "cannot have"),
        (route("roles = ['B']\nsubject = 'either'"), "cannot have"),
        (route("scopes = ['A']").replace("'GET'", "'get'"), "is not a method"),
    ];
    for (text, wanted) in cases {
        let refused = contract(&text).expect_err(&text);
        assert!(refused.contains(wanted), "{text}\n{refused}");
    }
    for path in ["", "x", "/{", "/a{b}", "/*/x", "/a*", "/{}", "//", "/a/../b", "/a%2fb", "/x?y"] {
        let refused = contract(&route("scopes = ['A']").replace("'/x'", &format!("'{path}'")));
        assert!(refused.as_ref().is_err_and(|e| e.contains("is not a pattern")), "{path}: {refused:?}");
    }
}

#[test]
fn the_caps_of_a_contract_are_where_they_are_said_to_be() {
    for line in ["skew = 0", "skew = 600", "max_token_bytes = 256", "max_token_bytes = 65536", "max_lifetime = 1"] {
        assert!(contract(&format!("{line}\n{BASE}")).is_ok(), "{line}");
    }
}

/// J-19: a token of one tenant under another's name writes into a stranger's data.
#[test]
fn j_19_the_tenant_is_accepted_and_is_the_issuers() {
    let (entra, plain) = ("https://id.example/t1/v2.0", "https://id.example");
    let (listed, any) = (json!(["t1", "t2"]), json!("any"));
    let cases = [
        ("entra", &listed, entra, Some("t1"), true),
        ("entra", &listed, entra, Some("t2"), false),
        ("entra", &listed, "https://id.example/t3/v2.0", Some("t3"), false),
        ("entra", &listed, entra, None, false),
        ("native", &listed, plain, Some("t2"), true),
        ("native", &listed, plain, Some("t3"), false),
        ("native", &listed, plain, None, false),
        ("entra", &any, entra, Some("t1"), true),
        ("entra", &any, entra, Some("t2"), false),
        ("entra", &any, entra, None, false),
        ("native", &any, plain, Some("t9"), true),
        ("native", &any, plain, None, true),
        ("entra", &json!(null), entra, Some("t1"), true),
        ("entra", &json!(null), entra, Some("t2"), false),
        ("entra", &json!(null), entra, None, false),
        ("native", &json!(null), entra, Some("t1"), true),
        ("native", &json!(null), plain, Some("t1"), false),
        ("native", &json!(null), plain, None, true),
        // The host is no tenant.
        ("entra", &any, "https://t1/v2.0", Some("t1"), false),
    ];
    for (profile, tenants, iss, tid, accepted) in cases {
        let entry = json!({"issuer": "https://id.example", "profile": profile, "tenants": tenants});
        let entry: TrustedIssuer = serde_json::from_value(entry).unwrap();
        assert_eq!(entry.accepts_tenant(iss, tid), accepted, "{profile} {tenants} {iss} {tid:?}");
    }
}

#[test]
fn the_place_of_an_error_is_told() {
    let refused = contract(&format!("{BASE}\n[[routes]]\nmethod = 'GET'\npath = '/x'\n")).unwrap_err();
    assert!(refused.contains("line 5"), "{refused}");
}

#[test]
fn the_most_exact_route_is_meant() {
    let routes = ["/*", "/a/{id}", "/a/b", "/a/*", "/a/{id}/c", "/f/*"].map(|path| {
        json!({"method": if path == "/f/*" { "*" } else { "GET" }, "path": path, "authenticated_suffices": true})
    });
    let all = json!({"audiences": ["a"], "issuers": [{"issuer": "https://h"}], "routes": routes});
    let read: Contract = serde_json::from_value(all).unwrap();
    let found = |method: &str, path: &str| read.route(method, path).map(|r| r.path.as_str());
    let cases = [
        ("/a/b", Some("/a/b")),
        ("/a/x", Some("/a/{id}")),
        ("/a/x/c", Some("/a/{id}/c")),
        ("/a/x/d", Some("/a/*")),
        ("/a/", Some("/a/*")),
        ("/", Some("/*")),
        ("/z/y", Some("/*")),
        ("/f/x", Some("/f/*")),
        ("/a//b", None),
        ("/a/./b", None),
        ("/a/%2E%2e/b", None),
        ("/a/.%2e/b", None),
        ("/a/..;x/b", None),
        ("/a%2fb", None),
        ("/a%5Cb", None),
        ("/a\\b", None),
        ("/a%00", None),
        ("a", None),
        ("", None),
        ("/...", Some("/*")),
        ("/a/%41", Some("/a/{id}")),
    ];
    for (path, route) in cases {
        assert_eq!(found("GET", path), route, "{path}");
    }
    assert_eq!(found("HEAD", "/a/b"), Some("/a/b"));
    assert_eq!(found("POST", "/a/b"), None);
    assert_eq!(found("DELETE", "/f/x"), Some("/f/*"));
}

#[test]
fn claims_are_never_read_as_what_they_are_not() {
    let read = |value: serde_json::Value| serde_json::from_value::<Claims>(value).unwrap();
    for exp in [
        json!("1"),
        json!(true),
        json!(null),
        json!([1]),
        json!({}),
        json!(-1),
        json!(1e300),
        json!(253_402_300_800_i64),
        json!(u64::MAX),
    ] {
        assert_eq!(read(json!({ "exp": exp })).exp, Claim::Malformed, "{exp}");
    }
    assert_eq!(read(json!({"exp": 1.9})).expires(), Some(crate::Timestamp(1)));
    assert_eq!(serde_json::from_str::<Claims>(r#"{"exp":1.5E3}"#).unwrap().expires(), Some(crate::Timestamp(1_500)));
    assert_eq!(read(json!({"Exp": 1, "ехр": 1})).expires(), None);
    for aud in [json!([]), json!([["a"]]), json!(["a", 1]), json!(""), json!({"a": 1}), json!(null), json!("a\u{0}")] {
        assert_eq!(read(json!({ "aud": aud })).aud, Claim::Malformed, "{aud}");
    }
    let deep = |n: usize| (1..n).fold(json!({"sub": "a"}), |act, _| json!({"sub": "a", "act": act}));
    assert_eq!(read(json!({ "act": deep(8) })).actors().count(), 8);
    for act in [
        deep(9),
        json!("a"),
        json!({}),
        json!({"sub": 1}),
        json!({"sub": "a", "act": null}),
        json!({"sub": "a", "act": {"sub": ""}}),
    ] {
        assert_eq!(read(json!({ "act": act })).act, Claim::Malformed, "{act}");
    }
    assert!(read(json!({"cnf": null})).cnf.0);
    assert!(serde_json::from_str::<Claims>(r#"{"iss":"a","iss":"b"}"#).is_err());
}
