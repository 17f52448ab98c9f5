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
        (issuer("issuer = ''"), "`issuer` is empty"),
        (issuer("issuer = 'https://h'\ntenants = []"), "`tenants` is empty"),
        (issuer("issuer = 'https://h'\ntenants = ['']"), "`tenants` is empty"),
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
        (route("app_roles = ['B']\nroles = ['C']\nsubject = 'app'"), "cannot have"),
        (route("roles = ['C']\nsubject = 'app'"), "cannot have"),
        (route("scopes = ['A']\nacrs = ['c1']\nsubject = 'app'"), "cannot have"),
        (route("scopes = ['A']\napp_roles = ['B']\nsubject = 'app'"), "cannot have"),
        (route("scopes_all = ['A']\napp_roles = ['B']\nsubject = 'app'"), "cannot have"),
        (route("scopes = ['A']").replace("'GET'", "'get'"), "is not a method"),
        (route("scopes = ['A']").replace("'GET'", "''"), "is not a method"),
    ];
    for (text, wanted) in cases {
        let refused = contract(&text).expect_err(&text);
        assert!(refused.contains(wanted), "{text}\n{refused}");
    }
    for path in [
        "", "x", "/{", "/a{b}", "/*/x", "/a*", "/{}", "/a}", "/aa}", "/{ab", "/{a}{b}", "//", "/a/../b", "/a%2fb",
        "/x?y",
    ] {
        let refused = contract(&route("scopes = ['A']").replace("'/x'", &format!("'{path}'")));
        assert!(refused.as_ref().is_err_and(|e| e.contains("is not a pattern")), "{path}: {refused:?}");
    }
}

#[test]
fn the_caps_of_a_contract_are_where_they_are_said_to_be() {
    for line in ["skew = 0", "skew = 600", "max_token_bytes = 256", "max_token_bytes = 65536", "max_lifetime = 1"] {
        assert!(contract(&format!("{line}\n{BASE}")).is_ok(), "{line}");
    }
    for lines in [
        "issuer = 'https://h'\njwks_uri = 'https://h/k'",
        "issuer = 'https://h'\nmetadata = 'https://h/m'",
        "issuer = 'https://h/{tenantid}/v2.0'\ntenants = 'any'\njwks_uri = 'https://h/k'",
        "issuer = 'https://h/{tenantid}/v2.0'\ntenants = ['t']\nmetadata = 'https://h/m'",
    ] {
        assert!(contract(&format!("audiences = ['a']\n[[issuers]]\n{lines}\n")).is_ok(), "{lines}");
    }
}

/// J-18: byte by byte, and of a tenant only its plain name.
#[test]
fn j_18_an_issuer_matches_itself_and_its_template_only() {
    let (v2, template) = ("https://id.example/t1/v2.0", "https://id.example/{tenantid}/v2.0");
    let cases = [
        (v2, v2, Some("t1"), true),
        (v2, v2, None, true),
        (v2, "https://id.example/t1/v2.0/", Some("t1"), false),
        (v2, "https://id.example/T1/v2.0", Some("t1"), false),
        (v2, template, Some("t1"), false),
        (template, v2, Some("t1"), true),
        (template, v2, Some("t2"), false),
        (template, v2, None, false),
        (template, template, Some("{tenantid}"), false),
        (template, "https://id.example//v2.0", Some(""), false),
        (template, "https://id.example/a/b/v2.0", Some("a/b"), false),
        (template, "https://id.example/../v2.0", Some(".."), false),
        (template, "https://id.example/t1/v1.0", Some("t1"), false),
        (template, "https://evil.example/t1/v2.0", Some("t1"), false),
    ];
    for (configured, iss, tid, matches) in cases {
        assert_eq!(issuer_matches(configured, iss, tid), matches, "{configured} {iss} {tid:?}");
    }
}

#[test]
fn on_whose_authority_a_token_speaks_is_read_from_what_its_issuer_writes() {
    let cases = [
        (json!({"idtyp": "user"}), Some(SubjectKind::User)),
        (json!({"idtyp": "app", "scp": "a"}), Some(SubjectKind::App)),
        (json!({"idtyp": "App"}), None),
        (json!({"idtyp": 1, "scp": "a"}), None),
        // RFC 9068 section 5.
        (json!({"client_id": "c", "sub": "c", "scope": "a"}), Some(SubjectKind::App)),
        (json!({"client_id": "c", "sub": "ada", "scope": "a"}), Some(SubjectKind::User)),
        (json!({"azp": "c", "sub": "c@clients", "scope": "a"}), Some(SubjectKind::App)),
        (json!({"client_id": "c", "sub": "ada", "roles": ["r"]}), Some(SubjectKind::User)),
        // Entra's, which write a version.
        (json!({"client_id": "c", "sub": "c", "ver": "2.0", "scp": "a"}), Some(SubjectKind::User)),
        (json!({"client_id": "c", "sub": "ada", "ver": "2.0", "roles": ["r"]}), Some(SubjectKind::App)),
        (json!({"sub": "ada", "scp": "a", "roles": ["r"]}), Some(SubjectKind::User)),
        (json!({"sub": "ada", "roles": ["r"]}), Some(SubjectKind::App)),
        (json!({"sub": "ada"}), None),
        (json!({"sub": "ada", "scp": " ", "roles": []}), None),
    ];
    for (claims, kind) in cases {
        let read: Claims = serde_json::from_value(claims.clone()).unwrap();
        assert_eq!(read.subject_kind(), kind, "{claims}");
    }
}

/// J-18: whatever else holds, a token of nobody's issuer passes nothing.
#[test]
fn j_18_a_token_without_a_trusted_issuer_is_refused() {
    let read =
        contract(&format!("{BASE}[[routes]]\nmethod = 'GET'\npath = '/x'\nauthenticated_suffices = true\n")).unwrap();
    let claims: Claims = serde_json::from_value(json!({"iss": "https://id.example/u/v2.0", "tid": "t"})).unwrap();
    let issuer = read.issuer_of(&claims);
    assert_eq!(issuer, None);
    let token = Presented { typ: Some("JWT"), issuer, claims: &claims, certificate: None, key: None };
    let (route, now) = (read.route("GET", "/x"), crate::Timestamp(1));
    let refused = Err(crate::CheckId::TokenIssuer);
    assert_eq!(decide_claims(&token, &read, route, now, &mut crate::Silent), refused);
    let mut all = crate::Collect::default();
    assert_eq!(decide_claims(&token, &read, route, now, &mut all), refused);
    assert_eq!((all.0.allowed(), all.0.failed().map(|check| check.id)), (false, refused.err()));
    let ours: Claims = serde_json::from_value(json!({"iss": "https://id.example/t/v2.0"})).unwrap();
    assert_eq!(read.issuer_of(&ours), read.issuers.first());
}

#[test]
fn what_is_shown_of_a_token_is_a_line_at_most() {
    assert_eq!(shown("a\nb\u{202e}"), "a\\nb\\u{202e}");
    assert_eq!(shown("a user's \"\\\""), "a user's \\\"\\\\\\\"");
    assert_eq!(shown(&"x".repeat(120)), "x".repeat(120));
    assert_eq!(shown(&"x".repeat(121)), format!("{}…", "x".repeat(120)));
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
fn who_may_call_follows_from_what_is_demanded() {
    let route = |demands: &str| {
        let read = contract(&format!("{BASE}[[routes]]\nmethod = 'GET'\npath = '/x'\n{demands}\n"));
        read.unwrap_or_else(|refused| panic!("{demands}: {refused}")).routes[0].subject()
    };
    let cases = [
        ("scopes = ['A']", Subject::User),
        ("scopes_all = ['A']", Subject::User),
        ("roles = ['A']", Subject::User),
        ("app_roles = ['A']", Subject::App),
        ("scopes = ['A']\napp_roles = ['B']", Subject::Either),
        ("roles = ['A']\napp_roles = ['B']", Subject::Either),
        ("authenticated_suffices = true", Subject::Either),
        ("authenticated_suffices = true\nroles = ['A']\nsubject = 'either'", Subject::Either),
        ("scopes = ['A']\nsubject = 'either'", Subject::Either),
        ("scopes_all = ['A']\nsubject = 'either'", Subject::Either),
        ("scopes = ['A']\nsubject = 'app'", Subject::App),
        ("scopes = ['A']\nroles = ['B']\nacrs = ['c1']", Subject::User),
    ];
    for (demands, subject) in cases {
        assert_eq!(route(demands), subject, "{demands}");
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
        ("/a/\u{7f}", None),
        ("/a/b\n", None),
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
    // A method of its own is more exact than any, wherever it stands.
    for methods in [["GET", "*"], ["*", "GET"]] {
        let routes = methods.map(|method| json!({"method": method, "path": "/a", "authenticated_suffices": true}));
        let both = json!({"audiences": ["a"], "issuers": [{"issuer": "https://h"}], "routes": routes});
        let both: Contract = serde_json::from_value(both).unwrap();
        let meant = |method: &str| both.route(method, "/a").map(|r| r.method.as_str());
        assert_eq!((meant("GET"), meant("PUT")), (Some("GET"), Some("*")), "{methods:?}");
    }
    let post = json!({"audiences": ["a"], "issuers": [{"issuer": "https://h"}],
        "routes": [{"method": "POST", "path": "/a", "authenticated_suffices": true}]});
    let post: Contract = serde_json::from_value(post).unwrap();
    assert!(post.route("POST", "/a").is_some() && post.route("HEAD", "/a").is_none());
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
    let is_malformed =
        |scp: &serde_json::Value, lax| read(json!({ "scp": scp })).scp.of_scopes(lax) == claims::State::Malformed;
    for scp in [json!(["a b"]), json!(["a", 1]), json!("a\"b"), json!("a\\b"), json!("a\tb"), json!("é"), json!(7)] {
        assert!(is_malformed(&scp, false) && is_malformed(&scp, true), "{scp}");
    }
    for scp in [json!(["a"]), json!(["a", "b"]), json!([]), json!("")] {
        assert!(is_malformed(&scp, false) && !is_malformed(&scp, true), "{scp}");
    }
    assert_eq!(
        read(json!({"scp": "openid  api://a/A.Read"})).scopes().collect::<Vec<_>>(),
        ["openid", "api://a/A.Read"]
    );
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
    assert_ne!(read(json!({"cnf": null})).cnf, read(json!({})).cnf);
    assert!(serde_json::from_str::<Claims>(r#"{"iss":"a","iss":"b"}"#).is_err());
}
