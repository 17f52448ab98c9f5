//! `send_request`: another service is asked about each request, at hosts that the file lists and nowhere else.
use crate::support::{ORDERS, Seen, Service, World};
use serde_json::{Value, json};

/// The orders' API, with this policy, and these hosts allowed.
fn of(hosts: &str, policy: &str) -> String {
    let policy = format!("[[api.policies.send_request]]\n{policy}\n[[api.operation]]");
    format!("[send_request]\nallowed_hosts = [{hosts}]\n{}", ORDERS.replacen("[[api.operation]]", &policy, 1))
}

/// One service on this machine that is asked.
fn with(asked: &Service, target: &str, more: &str) -> String {
    let url = &asked.url;
    of(&format!("{{ url = \"{url}\", internal = true }}"), &format!("url = \"{url}{target}\"\n{more}"))
}

fn answer(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

fn body(seen: &Seen) -> Value {
    serde_json::from_str(seen.0.split_once("\r\n\r\n").unwrap().1).unwrap()
}

#[tokio::test]
async fn a_request_of_values_is_sent_and_its_answer_gives_the_service_fields() {
    let asked = Service::start().await;
    let policy = r#"
method = "POST"
headers = [
    { name = "X-Region", value = "r-{header:x-region}" },
    { name = "Authorization", secret = { env = "SECRET" } },
]
json = { user = "{claim:oid}", path = "{path}", text = "is {claim:oid} here?", scopes = ["{claim:scp}", 7], all = "{claim:list}" }
set_headers = [
    { name = "X-Score", json_pointer = "/score" },
    { name = "X-Tier", json_pointer = "/customer/tiers/0" },
    { name = "X-Vip", json_pointer = "/vip" },
    { name = "X-User", json_pointer = "/user" },
    { name = "X-None", json_pointer = "/none" },
    { name = "X-Null", json_pointer = "/null" },
]"#;
    let world = World::start(&with(&asked, "/u/{claim:oid}?p={path}&r={header:x-region}", policy)).await;
    asked.answers(&answer(
        "200 OK",
        r#"{"score": 7.5, "customer": {"tiers": ["gold \"\\"]}, "vip": true, "user": "ada", "null": null}"#,
    ));
    let token = world.bearer(&json!({"list": ["a\"b"]}));
    let sent = [
        ("authorization", token.as_str()),
        ("x-region", "eu/w?&#@"),
        ("x-score", "9"),
        ("x_score", "9"),
        ("x-none", "1"),
    ];
    assert_eq!(world.get("/a/../b", &sent).await.status, 200);
    let seen = asked.only();
    assert!(seen.line().starts_with("POST /u/o-ada?p=%2Fb&r=eu%2Fw%3F%26%23%40 "), "{seen:?}");
    assert_eq!(seen.field("x-region"), ["r-eu/w?&#@"]);
    assert_eq!(seen.field("authorization"), ["the gateway's secret"], "never the caller's");
    assert_eq!(seen.field("content-type"), ["application/json"]);
    let told = body(&seen);
    let expected = json!({"user": "o-ada", "path": "/b", "text": "is o-ada here?", "scopes": [told["scopes"][0], 7], "all": ["a\"b"]});
    assert_eq!(told, expected);
    let service = world.service.only();
    for (name, value) in [("x-score", "7.5"), ("x-tier", "gold \"\\"), ("x-vip", "true"), ("x-user", "ada")] {
        assert_eq!(service.field(name), [value], "{name}");
    }
    for name in ["x_score", "x-none", "x-null"] {
        assert!(service.field(name).is_empty(), "{name}: {service:?}");
    }
    // Who is not let by is not told of.
    assert_eq!(world.get("/", &[]).await.check(), "token.present");
    assert_eq!(asked.seen().len(), 1);
}

#[tokio::test]
async fn a_form_has_its_values_each_in_its_field() {
    let asked = Service::start().await;
    let policy = r#"
method = "POST"
form = { grant_type = "urn:x:y", user = "{claim:name}", "a b&c" = "<{claim:name}>{path}", n = 7, yes = true, empty = "" }"#;
    let world = World::start(&with(&asked, "/", policy)).await;
    let token = world.bearer(&json!({"name": "a&admin=1=+%26\r\nå"}));
    assert_eq!(world.get("/b", &[("authorization", &token)]).await.status, 200);
    let seen = asked.only();
    assert_eq!(seen.field("content-type"), ["application/x-www-form-urlencoded"]);
    let name = "a%26admin%3D1%3D%2B%2526%0D%0A%C3%A5";
    let body = seen.0.split_once("\r\n\r\n").unwrap().1;
    let mut fields: Vec<&str> = body.split('&').collect();
    fields.sort_unstable();
    let mixed = format!("a%20b%26c=%3C{name}%3E%2Fb");
    assert_eq!(
        fields,
        [&mixed, "empty=", "grant_type=urn%3Ax%3Ay", "n=7", &format!("user={name}"), "yes=true"].map(str::to_owned)
    );
    for (name, value) in [("none", json!(null)), ("list", json!(["a"]))] {
        let token = world.bearer(&json!({"name": value}));
        let refused = world.get("/b", &[("authorization", &token)]).await;
        assert_eq!(refused.reason(), (400, "RequestValueUnusable".to_owned()), "{name}");
    }
    assert_eq!((asked.seen().len(), world.service.seen().len()), (1, 1));
}

#[tokio::test]
async fn one_that_is_not_waited_for_is_sent_and_keeps_nobody() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let policy = "method = \"POST\"\nwait = false\nmax_requests = 1\ntimeout_milliseconds = 30000\njson = { user = \"{claim:oid}\" }";
    let text = of(&format!("{{ url = \"{url}\", internal = true }}"), &format!("url = \"{url}/seen\"\n{policy}"));
    let world = World::start(&text).await;
    assert!(world.gateway.remarks().is_empty());
    // Nobody answers yet, and further ones are not sent.
    for _ in 0..3 {
        assert_eq!(world.get_with_token("/", &[]).await.status, 200);
    }
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut seen = String::new();
    while !seen.ends_with("{\"user\":\"o-ada\"}") {
        let mut some = [0; 4_096];
        let length = tokio::io::AsyncReadExt::read(&mut stream, &mut some).await.unwrap();
        assert!(length > 0, "{seen}");
        seen.push_str(std::str::from_utf8(&some[..length]).unwrap());
    }
    assert!(seen.starts_with("POST /seen HTTP/1.1\r\n"), "{seen}");
    assert_eq!(world.get("/", &[]).await.check(), "token.present");
    let unusable = world.bearer(&json!({"oid": null}));
    assert_ne!(world.get("/", &[("authorization", &unusable)]).await.status, 200, "half of it is not sent");
    assert_eq!(world.service.seen().len(), 3);
    let told = world.gateway.effective_for("x", &http::Method::GET, "/a").unwrap();
    let told = told.policies.iter().find(|told| told.policy == "send_request").unwrap();
    assert_eq!(told.text, format!("with a request to `{url}/seen`, whatever it answers"));
}

#[tokio::test]
async fn what_is_not_as_expected_lets_nobody_by() {
    let asked = Service::start().await;
    let world = World::start(ORDERS).await;
    let fields = "set_headers = [{ name = \"X-Score\", json_pointer = \"/score\" }]";
    for (policy, odd, status) in [
        ("", answer("201 Created", "{}"), 502),
        ("", answer("404 Not Found", ""), 502),
        ("", answer("403 Forbidden", ""), 502),
        ("failed_httpcode = 403", answer("404 Not Found", ""), 403),
        ("expect_status = [204]", answer("200 OK", ""), 502),
        (fields, answer("200 OK", "no json"), 502),
        (fields, answer("200 OK", r#"{"score": ["a"]}"#), 502),
        (fields, answer("200 OK", r#"{"score": {"a": 1}}"#), 502),
        (fields, answer("200 OK", r#"{"score": "a\r\nx-admin: yes"}"#), 502),
        (fields, answer("200 OK", r#"{"score": "a\u0000"}"#), 502),
        (fields, answer("200 OK", r#"{"score": "å"}"#), 502),
    ] {
        for more in ["", "\nignore_error = true"] {
            world.reload(&with(&asked, "/", &format!("{policy}{more}"))).unwrap();
            asked.answers(&odd);
            let refused = world.get_with_token("/", &[]).await;
            assert_eq!(refused.reason(), (status, "AnswerNotExpected".to_owned()), "{policy} {odd}");
        }
    }
    assert!(world.service.seen().is_empty());
    // What is expected is an answer, whatever it is.
    for (expected, given) in
        [("[404]", "404 Not Found"), ("[503]", "503 Service Unavailable"), ("[200, 201]", "201 Created")]
    {
        world.reload(&with(&asked, "/", &format!("expect_status = {expected}"))).unwrap();
        asked.answers(&answer(given, ""));
        assert_eq!(world.get_with_token("/", &[]).await.status, 200, "{expected}");
    }
}

#[tokio::test]
async fn without_an_answer_nobody_is_let_by_unless_the_file_says_so() {
    let asked = Service::start().await;
    let world = World::start(ORDERS).await;
    let large = format!("HTTP/1.1 200 OK\r\ncontent-length: 65537\r\n\r\n{}", "a".repeat(65537));
    for odd in [
        answer("500 Internal Server Error", ""),
        answer("429 Too Many Requests", ""),
        "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n".to_owned(),
        "nonsense\r\n\r\n".to_owned(),
        String::new(),
        large,
    ] {
        let fields = "set_headers = [{ name = \"X-Score\", json_pointer = \"/score\" }]";
        world.reload(&with(&asked, "/", fields)).unwrap();
        assert!(world.gateway.remarks().is_empty());
        asked.answers(&odd);
        let refused = world.get_with_token("/", &[]).await;
        let told: String = odd.chars().take(40).collect();
        assert_eq!(refused.reason(), (503, "AnswerUnavailable".to_owned()), "{told}");
        assert_eq!(refused.field("retry-after").len(), 1);
        assert!(world.service.seen().is_empty());
        world.reload(&with(&asked, "/", &format!("{fields}\nignore_error = true"))).unwrap();
        asked.answers(&odd);
        assert_eq!(world.get_with_token("/", &[("x-score", "9")]).await.status, 200, "{told}");
        assert!(world.service.only().field("x-score").is_empty(), "nobody else says it in its place");
        world.service.forget();
    }
    let remarks = world.gateway.remarks();
    assert!(remarks.len() == 1 && remarks[0].contains("api orders") && remarks[0].contains(&asked.url), "{remarks:?}");
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let policy = format!("url = \"http://{closed}/\"");
    world.reload(&of(&format!("{{ url = \"http://{closed}\", internal = true }}"), &policy)).unwrap();
    assert_eq!(world.get_with_token("/", &[]).await.status, 503, "nobody is there");
}

#[tokio::test]
async fn one_that_fails_is_left_alone_for_a_while_and_callers_cannot_bring_that_about() {
    let asked = Service::start().await;
    let world = World::start(&with(&asked, "/", "")).await;
    for _ in 0..6 {
        asked.answers(&answer("404 Not Found", ""));
        assert_eq!(world.get_with_token("/", &[]).await.status, 502);
    }
    assert_eq!(world.get_with_token("/", &[]).await.status, 200, "what it refuses is an answer");
    for _ in 0..6 {
        asked.answers(&answer("500 Internal Server Error", ""));
        assert_eq!(world.get_with_token("/", &[]).await.status, 503);
    }
    assert_eq!(world.get_with_token("/", &[]).await.status, 200, "nor is another's mishap");
    for _ in 0..5 {
        asked.answers(&answer("503 Service Unavailable", ""));
        assert_eq!(world.get_with_token("/", &[]).await.status, 503);
    }
    let before = asked.seen().len();
    assert_eq!(world.get_with_token("/", &[]).await.check(), "send_request.answered");
    assert_eq!(asked.seen().len(), before);
    world.clock.advance(5);
    assert_eq!(world.get_with_token("/", &[]).await.status, 200);
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let policy = format!("url = \"{url}/\"\ntimeout_milliseconds = 20\nmax_requests = 1");
    world.reload(&of(&format!("{{ url = \"{url}\", internal = true }}"), &policy)).unwrap();
    let (first, second) = tokio::join!(world.get_with_token("/", &[]), world.get_with_token("/", &[]));
    assert_eq!((first.status, second.status), (503, 503));
}

#[tokio::test]
async fn g_13_no_value_leaves_its_place() {
    let asked = Service::start().await;
    let world = World::start(&with(&asked, "/u/{claim:name}/end?q={claim:name}&last=1", "")).await;
    for name in ["", ".", "..", "a/b", "../admin", "/", "a\\b", "%2e%2e", "%2f", "a\r\nx: y", "a\0", "a\tb"] {
        let token = world.bearer(&json!({"name": name}));
        let refused = world.get("/", &[("authorization", &token)]).await;
        assert_eq!(refused.reason(), (400, "RequestValueUnusable".to_owned()), "{name:?}");
    }
    for name in [json!(null), json!(["a"]), json!({"a": 1})] {
        let token = world.bearer(&json!({"name": name}));
        assert_eq!(world.get("/", &[("authorization", &token)]).await.check(), "send_request.values", "{name}");
    }
    assert_eq!(world.get_with_token("/", &[]).await.check(), "send_request.values", "it is not there");
    assert!(asked.seen().is_empty() && world.service.seen().is_empty());
    for (name, segment) in [
        ("a?b=c", "a%3Fb%3Dc"),
        ("a#b", "a%23b"),
        ("@evil.example:1", "%40evil.example%3A1"),
        ("a;b&c+d", "a%3Bb%26c%2Bd"),
        ("...", "..."),
        (".a", ".a"),
        ("å b", "%C3%A5%20b"),
    ] {
        let token = world.bearer(&json!({"name": name}));
        assert_eq!(world.get("/", &[("authorization", &token)]).await.status, 200, "{name}");
        let line = format!("GET /u/{segment}/end?q={segment}&last=1 ");
        let seen = asked.only();
        assert!(seen.line().starts_with(&line), "{seen:?}");
        assert_eq!(seen.field("host"), [asked.url.strip_prefix("http://").unwrap()]);
        asked.forget();
    }
    // In a query there are no segments to leave.
    world.reload(&with(&asked, "/u?q={claim:name}", "")).unwrap();
    let token = world.bearer(&json!({"name": "../a%2f\r\n"}));
    assert_eq!(world.get("/", &[("authorization", &token)]).await.status, 200);
    assert!(asked.only().line().starts_with("GET /u?q=..%2Fa%252f%0D%0A "));
    // Fields end no lines, and of two readings of a field none is told.
    let more = "headers = [{ name = \"X-Name\", value = \"{claim:name}\" }]";
    world.reload(&with(&asked, "/", more)).unwrap();
    asked.forget();
    for name in ["a\r\nx: y", "a\nb", "a\0b", "å"] {
        let token = world.bearer(&json!({"name": name}));
        assert_eq!(world.get("/", &[("authorization", &token)]).await.check(), "send_request.values", "{name:?}");
    }
    world.reload(&with(&asked, "/?r={header:x-region}", "")).unwrap();
    for sent in [
        &[][..],
        &[("x-region", "a"), ("x-region", "b")],
        &[("x-region", "a"), ("x_region", "b")],
        &[("x_region", "a")],
        &[("x-region", "\u{e9}")],
    ] {
        assert_eq!(world.get_with_token("/", sent).await.check(), "send_request.values", "{sent:?}");
    }
    assert!(asked.seen().is_empty());
}

#[tokio::test]
async fn g_13_only_hosts_of_the_list_are_asked_and_some_are_never_on_it() {
    let world = World::start(ORDERS).await;
    let listed = "\"https://a.example\"";
    for (hosts, url, problem) in [
        ("", "https://a.example/", "not sent to this host"),
        (listed, "https://b.example/", "not sent to this host"),
        (listed, "https://a.example.evil.example/", "not sent to this host"),
        (listed, "https://evil.a.example/", "not sent to this host"),
        (listed, "https://a.example:8443/", "not sent to this host"),
        (listed, "http://a.example/", "not sent to this host"),
        (listed, "https://a.example@b.example/", "names a user"),
        (listed, "https://user:word@a.example/", "names a user"),
        (listed, "https://a.example\\\\@b.example/", "names a user"),
        (listed, "https://a.example\\\\.b.example/", "names no host"),
        (listed, "https://{claim:host}/", "the host is fixed"),
        (listed, "https://a.example{header:x}/", "the host is fixed"),
        (listed, "{claim:url}", "no address"),
        (listed, "https:a.example", "no address"),
        (listed, "ftp://a.example/", "another scheme"),
        (listed, "file:///etc/passwd", "another scheme"),
        (listed, "gopher://a.example/", "another scheme"),
        (listed, "HTTPS://a.example/", "another scheme"),
        (listed, "https://a.example/#{claim:a}", "a fragment"),
        (listed, "https://a.example/a{claim:a}", "a whole segment"),
        (listed, "https://a.example/?a={claim:a}b", "all of a parameter"),
        (listed, "https://a.example/{path}", "could lead elsewhere"),
        (listed, "https://a.example/{header:authorization}", "told to nobody"),
        (listed, "https://a.example/?u={header:x-user}", "who they are"),
    ] {
        let error = world.reload(&of(hosts, &format!("url = \"{url}\""))).unwrap_err();
        assert!(error.problem.contains(problem) && !error.hint.is_empty() && !error.at.is_empty(), "{url}: {error}");
    }
    for (host, problem) in [
        ("169.254.169.254", "never reached"),
        ("169.254.1.1", "never reached"),
        ("[fe80::1]", "never reached"),
        ("[febf::1]", "never reached"),
        ("[::ffff:169.254.169.254]", "never reached"),
        ("[::ffff:a9fe:a9fe]", "never reached"),
        ("[64:ff9b::a9fe:a9fe]", "never reached"),
        ("[2002:a9fe:a9fe::1]", "never reached"),
        ("0.0.0.0", "never reached"),
        ("[::]", "never reached"),
        ("224.0.0.1", "never reached"),
        ("127.0.0.1", "not on the internet"),
        ("[::1]", "not on the internet"),
        ("[::ffff:127.0.0.1]", "not on the internet"),
        ("10.0.0.1", "not on the internet"),
        ("172.16.0.1", "not on the internet"),
        ("192.168.0.1", "not on the internet"),
        ("100.64.0.1", "not on the internet"),
        ("[fd00::1]", "not on the internet"),
        ("[::ffff:10.0.0.1]", "not on the internet"),
        ("2852039166", "names no host"),
        ("0xa9fea9fe", "names no host"),
        ("0251.0376.0251.0376", "names no host"),
        ("169.254.43518", "names no host"),
        ("user@a.example", "names a user"),
        ("a.example/path", "no path"),
        ("a.example?x", "no path"),
        ("a.example:0", "names no host"),
        ("*.example", "names no host"),
        ("", "names no host"),
    ] {
        for internal in [false, true] {
            let entry = format!("{{ url = \"https://{host}\", internal = {internal} }}");
            let read = world.reload(&of(&entry, &format!("url = \"https://{host}/\"")));
            if internal && problem == "not on the internet" {
                assert!(read.is_ok(), "{host}: {read:?}");
            } else {
                let error = read.unwrap_err();
                assert!(error.problem.contains(problem) && !error.at.is_empty(), "{host}: {error}");
            }
        }
    }
    for plain in ["\"http://a.example\"", "{ url = \"http://10.0.0.1\", internal = true }", "\"http://localhost\""] {
        let error = world.reload(&of(plain, "url = \"http://a.example/\"")).unwrap_err();
        assert!(error.problem.contains("read and changed on the way"), "{plain}: {error}");
    }
    // One spelling of a host is as good as another, and the one that was looked up is the one that is asked.
    for url in ["https://A.Example./x", "https://a.example:443/x", "https://a.example", "https://a.example?x={path}"] {
        world.reload(&of(listed, &format!("url = \"{url}\""))).unwrap();
    }
}

#[tokio::test]
async fn g_13_a_name_that_leads_inside_is_not_followed_there() {
    let inside = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}", inside.local_addr().unwrap().port());
    let world = World::start(&of(&format!("\"{url}\""), &format!("url = \"{url}/\""))).await;
    for _ in 0..2 {
        assert_eq!(world.get_with_token("/", &[]).await.check(), "send_request.answered");
    }
    let reached = std::future::poll_fn(|cx| std::task::Poll::Ready(inside.poll_accept(cx).is_ready())).await;
    assert!(!reached, "its name was looked up, and its address never connected to");
    // Where the list says that it is inside, it is.
    world.reload(&of(&format!("{{ url = \"{url}\", internal = true }}"), &format!("url = \"{url}/\""))).unwrap();
    let (answered, reached) = tokio::join!(world.get_with_token("/", &[]), async {
        drop(inside.accept().await.unwrap());
        true
    });
    assert_eq!((answered.status, reached), (503, true));
}

#[tokio::test]
async fn g_13_redirects_are_not_followed() {
    let (asked, other) = (Service::start().await, Service::start().await);
    let world = World::start(&with(&asked, "/", "")).await;
    for (status, to) in [
        ("301 Moved Permanently", format!("{}/x", other.url)),
        ("302 Found", format!("{}/x", asked.url)),
        ("303 See Other", "http://169.254.169.254/latest/meta-data".to_owned()),
        ("307 Temporary Redirect", "/x".to_owned()),
        ("308 Permanent Redirect", "file:///etc/passwd".to_owned()),
    ] {
        world.reload(&with(&asked, "/", "")).unwrap();
        asked.forget();
        asked.answers(&format!("HTTP/1.1 {status}\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n"));
        assert_eq!(world.get_with_token("/", &[]).await.reason(), (503, "AnswerUnavailable".to_owned()), "{status}");
        assert_eq!(asked.seen().len(), 1, "{status}");
    }
    assert!(other.seen().is_empty() && world.service.seen().is_empty());
}

#[cfg(feature = "cel")]
#[tokio::test]
async fn a_condition_over_the_answer_decides() {
    let asked = Service::start().await;
    let condition = |text: &str| with(&asked, "/", &format!("expect_status = [200, 202]\nexpression = \"{text}\""));
    let world = World::start(&condition("response.json.score < 50 || response.status == 202")).await;
    for (status, body, let_by) in [
        ("200 OK", "{\"score\": 7}", true),
        ("200 OK", "{\"score\": 70}", false),
        ("202 Accepted", "{\"score\": 70}", true),
        ("200 OK", "{}", false),
        ("200 OK", "{\"score\": \"7\"}", false),
        ("200 OK", "", false),
        ("200 OK", "no json", false),
    ] {
        asked.answers(&answer(status, body));
        let answered = world.get_with_token("/", &[]).await;
        assert_eq!(answered.status, if let_by { 200 } else { 502 }, "{status} {body}");
    }
    for odd in ["claims.oid == 'a'", "true", "request.path == '/'"] {
        assert!(world.reload(&condition(odd)).is_err(), "{odd}");
    }
}

#[tokio::test]
async fn what_could_not_be_sent_or_judged_is_not_read() {
    let world = World::start(ORDERS).await;
    for (more, problem) in [
        ("method = \"CONNECT\"", "no method to ask with"),
        ("method = \"get\"", "no method to ask with"),
        ("body = \"a\"", "has no body"),
        ("json = { a = 1 }", "has no body"),
        ("method = \"POST\"\nbody = \"a\"\njson = { a = 1 }", "two bodies"),
        ("method = \"POST\"\njson = { a = \"{claim:x\" }", "stands there alone"),
        ("method = \"POST\"\njson = { a = [\"{x}\"] }", "no such value"),
        ("headers = [{ name = \"Host\", value = \"b.example\" }]", "belongs to the connection"),
        ("headers = [{ name = \"Content-Length\", value = \"1\" }]", "belongs to the connection"),
        ("headers = [{ name = \"Transfer-Encoding\", value = \"chunked\" }]", "belongs to the connection"),
        ("headers = [{ name = \"a b\", value = \"1\" }]", "no name of a field"),
        ("headers = [{ name = \"a\", value = \"1\\r\\nb: 2\" }]", "no value of a field"),
        ("headers = [{ name = \"a\" }]", "no value, or two"),
        ("headers = [{ name = \"a\", value = \"1\", secret = { env = \"SECRET\" } }]", "no value, or two"),
        ("method = \"POST\"\nbody = \"a\"\nform = { a = \"b\" }", "two bodies"),
        ("method = \"POST\"\njson = { a = 1 }\nform = { a = \"b\" }", "two bodies"),
        ("form = { a = \"b\" }", "has no body"),
        ("method = \"POST\"\nform = { a = [\"b\"] }", "texts alone"),
        ("method = \"POST\"\nform = { a = \"{claim:b\" }", "stands there alone"),
        ("method = \"POST\"\nform = { a = \"{header:cookie}\" }", "told to nobody"),
        ("wait = false\nignore_error = true", "not waited for"),
        ("wait = false\nexpect_status = [200]", "not waited for"),
        ("wait = false\nfailed_httpcode = 403", "not waited for"),
        ("wait = false\nset_headers = [{ name = \"X\", json_pointer = \"/a\" }]", "not waited for"),
        ("expect_status = []", "as expected"),
        ("expect_status = [302]", "no status of an answer"),
        ("expect_status = [99]", "no status of an answer"),
        ("expect_status = [101]", "no status of an answer"),
        ("failed_httpcode = 200", "refuses nothing"),
        ("failed_httpcode = 302", "refuses nothing"),
        ("timeout_milliseconds = 0", "no time to wait"),
        ("timeout_milliseconds = 30001", "no time to wait"),
        ("max_requests = 0", "nothing would be asked"),
        ("set_headers = [{ name = \"X\", json_pointer = \"score\" }]", "no JSON pointer"),
        ("set_headers = [{ name = \"Authorization\", json_pointer = \"/a\" }]", "not for it to say"),
        ("set_headers = [{ name = \"Content-Length\", json_pointer = \"/a\" }]", "not for it to say"),
        ("set_headers = [{ name = \"X-Forwarded-For\", json_pointer = \"/a\" }]", "not for it to say"),
    ] {
        let policy = format!("url = \"https://a.example/\"\n{more}");
        let error = world.reload(&of("\"https://a.example\"", &policy)).unwrap_err();
        assert!(error.problem.contains(problem) && !error.hint.is_empty() && !error.at.is_empty(), "{more}: {error}");
    }
    world.reload(&of("\"https://a.example\"", "url = \"https://a.example/x?y={path}\"\nignore_error = true")).unwrap();
    let told = world.gateway.effective_for("x", &http::Method::GET, "/a").unwrap();
    let told = told.policies.iter().find(|told| told.policy == "send_request").unwrap();
    assert_eq!(told.text, "after a request to `https://a.example/x`, or without an answer");
}
