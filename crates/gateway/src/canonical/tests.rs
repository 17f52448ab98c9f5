use super::*;
use http::Request;

type Lines<'a> = &'a [(&'a str, &'a str)];

fn parts(method: &str, target: &str, version: Version, lines: Lines<'_>) -> Parts {
    let mut request = Request::builder().method(method).uri(target).version(version);
    for (name, value) in lines {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

fn canonical(method: &str, target: &str, version: Version, lines: Lines<'_>) -> Result<Canonical, Refusal> {
    Canonical::of(parts(method, target, version, lines), &["api-key".to_owned()])
}

fn asked(target: &str, lines: Lines<'_>) -> Result<Canonical, Refusal> {
    canonical("GET", target, Version::HTTP_11, lines)
}

const HOST: (&str, &str) = ("host", "api.example");

#[test]
fn g_11_one_host_is_named() {
    for (target, lines, expected) in [
        ("/", &[HOST][..], Ok("api.example")),
        ("/", &[("host", "API.Example.")], Ok("api.example")),
        ("http://api.example/", &[HOST], Ok("api.example")),
        ("http://API.example/", &[HOST], Ok("api.example")),
        ("http://api.example/", &[], Err(Refusal::Host)),
        ("/", &[], Err(Refusal::Host)),
        ("/", &[("host", "")], Err(Refusal::Host)),
        ("/", &[HOST, HOST], Err(Refusal::Host)),
        ("/", &[HOST, ("host", "evil.example")], Err(Refusal::Host)),
        ("/", &[("host", "user@api.example")], Err(Refusal::Host)),
        ("http://evil.example/", &[HOST], Err(Refusal::Host)),
        ("http://user@api.example/", &[HOST], Err(Refusal::Host)),
        ("http://api.example:81/", &[HOST], Err(Refusal::Host)),
        ("http://api.example:81/", &[("host", "api.example:82")], Err(Refusal::Host)),
    ] {
        let host = asked(target, lines).map(|request| request.host().to_owned());
        assert_eq!(host.as_deref(), expected.as_ref().copied(), "{target} {lines:?}");
    }
}

#[test]
fn g_04_in_http_2_the_authority_is_the_host() {
    let two = |target, lines| canonical("GET", target, Version::HTTP_2, lines);
    assert_eq!(two("https://api.example/a", &[]).unwrap().host(), "api.example");
    assert_eq!(two("https://api.example/a", &[HOST]).unwrap().host(), "api.example");
    assert_eq!(two("https://api.example/a", &[("host", "evil.example")]).unwrap_err(), Refusal::Host);
    assert_eq!(two("/a", &[]).unwrap_err(), Refusal::Host);
    let crumbs = two("https://api.example/", &[("cookie", "a=1"), ("cookie", "b=2")]).unwrap();
    assert_eq!(crumbs.headers().get_all("cookie").iter().collect::<Vec<_>>(), ["a=1; b=2"]);
}

#[test]
fn g_08_methods_are_forwarded_as_they_are_or_not_at_all() {
    for (method, expected) in [
        ("GET", Ok(())),
        ("PATCH", Ok(())),
        ("PROPFIND", Ok(())),
        ("TRACE", Err(Refusal::Method)),
        ("CONNECT", Err(Refusal::Method)),
        ("get", Err(Refusal::MethodCase)),
        ("Get", Err(Refusal::MethodCase)),
        ("trace", Err(Refusal::MethodCase)),
    ] {
        assert_eq!(canonical(method, "/", Version::HTTP_11, &[HOST]).map(drop), expected, "{method}");
    }
}

#[test]
fn g_06_a_request_carries_one_credential() {
    let good = ("authorization", "Bearer good");
    for lines in [
        &[HOST, good, ("authorization", "Bearer bad")][..],
        &[HOST, ("authorization", "Bearer bad"), good],
        &[HOST, good, good],
        &[HOST, good, ("authorization", "Basic eDp5")],
    ] {
        assert_eq!(asked("/", lines).unwrap_err(), Refusal::Credentials, "{lines:?}");
    }
    for target in
        ["/?access_token=bad", "/?a=b&access_token=bad", "/?ACCESS_TOKEN=bad", "/?access%5ftoken=bad&access_token=x"]
    {
        assert_eq!(asked(target, &[HOST, good]).unwrap_err(), Refusal::Credentials, "{target}");
    }
    assert!(asked("/?access_token=x", &[HOST]).is_ok(), "where it alone is, the check of tokens says so");
}

#[test]
fn g_05_what_servers_take_for_a_credential_is_not_there() {
    for alias in ["api_key", "API.Key"] {
        let request = asked("/", &[HOST, ("api-key", "good"), (alias, "forged")]).unwrap();
        assert_eq!(request.headers().len(), 2, "{alias}: {:?}", request.headers());
        assert_eq!(request.headers().get("api-key").unwrap(), "good");
    }
}

#[test]
fn a_request_has_a_hundred_fields_at_most_whatever_the_version() {
    for version in [Version::HTTP_11, Version::HTTP_2] {
        for (more, expected) in [(99, Ok(())), (100, Err(Refusal::Fields))] {
            let lines = [vec![HOST], vec![("x-a", "1"); more]].concat();
            assert_eq!(canonical("GET", "https://api.example/", version, &lines).map(drop), expected, "{version:?}");
        }
    }
}

#[test]
fn several_spaces_after_a_scheme_are_one() {
    for (sent, read) in [
        ("Bearer a.b.c", "Bearer a.b.c"),
        ("Bearer  a.b.c", "Bearer a.b.c"),
        ("bearer    a.b.c", "bearer a.b.c"),
        ("Bearer a.b.c  x", "Bearer a.b.c  x"),
        ("Bearer\ta.b.c", "Bearer\ta.b.c"),
    ] {
        let request = asked("/", &[HOST, ("authorization", sent)]).unwrap();
        assert_eq!(request.headers().get("authorization").unwrap(), read);
    }
}

#[test]
fn what_is_taken_out_of_the_query_is_gone_in_every_spelling() {
    let mut request = asked("/a?key=1&b=2&%6bey=3", &[HOST]).unwrap();
    request.take_parameter("key");
    assert_eq!(request.query(), Some("b=2"));
    request.take_parameter("b");
    assert_eq!(request.query(), None);
}

#[test]
fn g_02_a_field_that_carries_a_credential_here_may_not_be_named_by_connection() {
    assert_eq!(asked("/", &[HOST, ("connection", "Api-Key")]).unwrap_err(), Refusal::Connection);
}

#[test]
fn g_07_the_target_is_in_its_one_form() {
    let request = asked("/a/../b//c?x=/../y", &[HOST]).unwrap();
    assert_eq!((request.path(), request.query()), ("/b/c", Some("x=/../y")));
    assert!(matches!(asked("/a/%2e%2e/b", &[HOST]), Err(Refusal::Path(_))));
    assert!(matches!(canonical("OPTIONS", "*", Version::HTTP_11, &[HOST]), Err(Refusal::Path(_))));
}
