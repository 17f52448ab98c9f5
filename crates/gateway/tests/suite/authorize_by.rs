//! `authorize_by`: a service decides on each request, and without its word nothing is forwarded.
use crate::support::{ORDERS, Seen, Service, World};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

pub(crate) fn with(url: &str, more: &str) -> String {
    let policy = format!("[api.policies.authorize_by]\nurl = \"{url}/check\"\n{more}\n[[api.operation]]");
    ORDERS.replace("[[api.operation]]", &policy)
}

pub(crate) fn question(seen: &Seen) -> Value {
    serde_json::from_str(seen.0.split_once("\r\n\r\n").unwrap().1).unwrap()
}

pub(crate) fn answer(status: &str, fields: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{fields}content-length: {}\r\n\r\n{body}", body.len())
}

#[tokio::test]
async fn a_request_is_told_of_and_let_by_with_what_the_answer_adds() {
    let decides = Service::start().await;
    let policy = "headers = [\"x-region\", \"x-none\"]\nclaims = true\nresponse_headers = [\"X-Tenant\", \"X-User\", \"X-Score\"]";
    let world = World::start(&with(&decides.url, policy)).await;
    decides.answers(&answer(
        "200 OK",
        "x-tenant: t-7\r\nx-user: ada\r\nx-admin: yes\r\nx-score: 1\r\nx-score: 2\r\n",
        "",
    ));
    let more = [
        ("x-region", "eu"),
        ("x-region", "us"),
        ("x_region", "ch"),
        ("x-secret", "s"),
        ("x-tenant", "t-1"),
        ("x_tenant", "t-2"),
    ];
    assert_eq!(world.get_with_token("/a/../b?page=2", &more).await.status, 200);
    let asked = decides.only();
    assert!(
        asked.line().starts_with("POST /check ") && asked.field("content-type") == ["application/json"],
        "{asked:?}"
    );
    let told = question(&asked);
    let expected = json!({
        "method": "GET", "host": "api.example", "path": "/b", "query": "page=2", "headers": {"x-region": ["eu", "us", "ch"]},
        "ip": "127.0.0.1", "operation": "orders/all", "subscription": null, "product": null, "claims": told["claims"],
    });
    assert_eq!((&told, &told["claims"]["oid"]), (&expected, &json!("o-ada")));
    let seen = world.service.only();
    assert_eq!((seen.field("x-tenant"), seen.field("x-user")), (vec!["t-7"], vec!["ada"]));
    assert!(
        seen.field("x-admin").is_empty() && seen.field("x_tenant").is_empty(),
        "only what is listed, and nobody else's: {seen:?}"
    );
    assert!(seen.field("x-score").is_empty(), "what is said twice is not said");
    // Where the answer has nothing of it, the service gets nothing of it either.
    world.service.forget();
    decides.answers(&answer("200 OK", "", ""));
    assert_eq!(world.get_with_token("/", &more).await.status, 200);
    assert!(world.service.only().field("x-tenant").is_empty());
    assert_eq!(world.get("/", &[]).await.check(), "token.present", "nothing is asked about strangers");
    assert_eq!(decides.seen().len(), 2);
    // What is not said to be told is not told.
    decides.forget();
    world.reload(&with(&decides.url, "")).unwrap();
    assert_eq!(world.get_with_token("/", &more).await.status, 200);
    let told = question(&decides.only());
    assert_eq!((&told["headers"], &told["claims"]), (&json!({}), &json!(null)));
}

#[tokio::test]
async fn a_refusal_is_told_in_the_gateways_words_or_in_its_own() {
    let decides = Service::start().await;
    let world = World::start(&with(&decides.url, "")).await;
    let body = "{\"why\":\"blocked\"}";
    for status in ["401 Unauthorized", "403 Forbidden"] {
        let code: u16 = status[..3].parse().unwrap();
        let fields =
            "content-type: application/problem+json\r\nwww-authenticate: Bearer error=\"x\"\r\nset-cookie: a=b\r\n";
        decides.answers(&answer(status, fields, body));
        let refused = world.get_with_token("/", &[]).await;
        assert_eq!(refused.reason(), (code, "AuthorizerRefused".to_owned()));
        assert_eq!(refused.field("www-authenticate"), ["Bearer error=\"x\""]);
        assert!(!refused.body.contains("blocked") && refused.field("set-cookie").is_empty(), "{refused:?}");
        world.reload(&with(&decides.url, "pass_on = true")).unwrap();
        decides.answers(&answer(status, fields, body));
        let refused = world.get_with_token("/", &[]).await;
        assert_eq!((refused.status, refused.body.as_str()), (code, body));
        assert_eq!(refused.field("content-type"), ["application/problem+json"]);
        assert!(refused.field("set-cookie").is_empty());
        // Of a page that is larger than that there is no more than the refusal.
        decides.answers(&answer(status, fields, &"x".repeat((64 << 10) + 1)));
        let refused = world.get_with_token("/", &[]).await;
        assert_eq!(refused.reason(), (code, "AuthorizerRefused".to_owned()));
        decides.answers(&answer(status, fields, &"x".repeat(64 << 10)));
        assert_eq!(world.get_with_token("/", &[]).await.body.len(), 64 << 10);
        world.reload(&with(&decides.url, "")).unwrap();
    }
    assert!(world.service.seen().is_empty());
}

#[tokio::test]
async fn what_is_no_decision_lets_nobody_by() {
    let decides = Service::start().await;
    let world = World::start(&with(&decides.url, "")).await;
    for odd in [
        answer("201 Created", "", ""),
        answer("204 No Content", "", ""),
        answer("302 Found", &format!("location: {}/ok\r\n", decides.url), ""),
        answer("404 Not Found", "", ""),
        answer("500 Internal Server Error", "", ""),
        answer("429 Too Many Requests", "", ""),
        "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n".to_owned(),
        "nonsense\r\n\r\n".to_owned(),
        String::new(),
    ] {
        // Each by a policy of its own, so that no other failure counts.
        world.reload(&with(&decides.url, "")).unwrap();
        decides.answers(&odd);
        let refused = world.get_with_token("/", &[]).await;
        assert_eq!(refused.reason(), (503, "AuthorizerUnavailable".to_owned()), "{odd}");
        assert_eq!(refused.field("retry-after").len(), 1, "{odd}");
    }
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    world.reload(&with(&format!("http://{closed}"), "")).unwrap();
    assert_eq!(world.get_with_token("/", &[]).await.status, 503, "nobody is there");
    for blocked in
        ["https://169.254.169.254", "https://[::ffff:169.254.169.254]", "https://[fe80::1]", "https://0.0.0.0"]
    {
        world.reload(&with(blocked, "")).unwrap();
        assert_eq!(world.get_with_token("/", &[]).await.status, 503, "{blocked}");
    }
    assert!(world.service.seen().is_empty());
    world.reload(&with(&decides.url, "headers = [\"x-region\"]")).unwrap();
    let token = world.bearer(&json!({}));
    let mut odd = format!("GET / HTTP/1.1\r\nhost: api.example\r\nauthorization: {token}\r\nx-region: ").into_bytes();
    odd.extend_from_slice(b"e\xfc\r\n\r\n");
    assert_eq!(world.raw(odd).await.check(), "gateway.request", "what cannot be told as it is goes nowhere");
    assert!(world.service.seen().is_empty());
}

#[tokio::test]
async fn one_that_is_silent_is_not_waited_for_and_after_some_failures_not_asked() {
    // It takes connections, and says nothing.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let world = World::start(&with(&url, "timeout_milliseconds = 20\nmax_requests = 1")).await;
    let (first, second) = tokio::join!(world.get_with_token("/", &[]), world.get_with_token("/", &[]));
    assert_eq!((first.status, second.status), (503, 503));
    let decides = Service::start().await;
    world.reload(&with(&decides.url, "")).unwrap();
    for _ in 0..5 {
        decides.answers(&answer("503 Service Unavailable", "", ""));
        assert_eq!(world.get_with_token("/", &[]).await.status, 503);
    }
    assert_eq!(decides.seen().len(), 5);
    assert_eq!(world.get_with_token("/", &[]).await.check(), "authorizer.available");
    assert_eq!(decides.seen().len(), 5, "it is left alone, and nobody let by");
    world.clock.advance(5);
    assert_eq!(world.get_with_token("/", &[]).await.status, 200, "then it is tried");
    assert_eq!(world.get_with_token("/", &[]).await.status, 200);
}

#[tokio::test]
async fn failures_count_in_a_row_alone() {
    let decides = Service::start().await;
    let world = World::start(&with(&decides.url, "")).await;
    for _ in 0..3 {
        for _ in 0..4 {
            decides.answers(&answer("503 Service Unavailable", "", ""));
            assert_eq!(world.get_with_token("/", &[]).await.status, 503);
        }
        assert_eq!(world.get_with_token("/", &[]).await.status, 200, "it is asked");
    }
    // Nor does one caller's mishap keep others from being asked about.
    for _ in 0..6 {
        decides.answers(&answer("500 Internal Server Error", "", ""));
        assert_eq!(world.get_with_token("/", &[]).await.status, 503);
    }
    assert_eq!(world.get_with_token("/", &[]).await.status, 200, "it is asked");
}

/// One that answers what it is told to, when it is told to.
struct Slow(TcpListener);

impl Slow {
    async fn start() -> (Self, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        (Self(listener), url)
    }

    /// A question that has come.
    async fn asked(&self) -> tokio::net::TcpStream {
        let (mut stream, _) = self.0.accept().await.unwrap();
        let mut some = vec![0; 16 << 10];
        assert!(stream.read(&mut some).await.unwrap() > 0);
        stream
    }

    async fn answers(mut stream: tokio::net::TcpStream, status: &str) {
        let fields = "connection: close\r\n";
        stream.write_all(answer(status, fields, "").as_bytes()).await.unwrap();
    }
}

#[tokio::test]
async fn so_many_are_asked_about_at_once_and_others_are_not_let_by_for_it() {
    let (slow, url) = Slow::start().await;
    let world = World::start(&with(&url, "timeout_milliseconds = 30000\nmax_requests = 1")).await;
    let one = async {
        let asked = slow.asked().await;
        assert_eq!(world.get_with_token("/", &[]).await.check(), "authorizer.available", "while one is asked about");
        Slow::answers(asked, "200 OK").await;
    };
    let (answer, ()) = tokio::join!(world.get_with_token("/", &[]), one);
    assert_eq!(answer.status, 200);
    let again = async { Slow::answers(slow.asked().await, "200 OK").await };
    let (answer, ()) = tokio::join!(world.get_with_token("/", &[]), again);
    assert_eq!(answer.status, 200, "and then the next one is");
}

#[tokio::test]
async fn after_it_was_left_alone_one_request_tries_it_for_all() {
    let (slow, url) = Slow::start().await;
    let world = World::start(&with(&url, "timeout_milliseconds = 30000")).await;
    let failing = async || Slow::answers(slow.asked().await, "503 Service Unavailable").await;
    for _ in 0..5 {
        let (answer, ()) = tokio::join!(world.get_with_token("/", &[]), failing());
        assert_eq!(answer.status, 503);
    }
    // It fails once more, and once is enough.
    for status in ["503 Service Unavailable", "200 OK"] {
        world.clock.advance(5);
        let one = async {
            let asked = slow.asked().await;
            for _ in 0..3 {
                assert_eq!(world.get_with_token("/", &[]).await.check(), "authorizer.available", "nobody else tries");
            }
            Slow::answers(asked, status).await;
        };
        let (answer, ()) = tokio::join!(world.get_with_token("/", &[]), one);
        assert_eq!(answer.status, if status == "200 OK" { 200 } else { 503 });
        if status != "200 OK" {
            assert_eq!(world.get_with_token("/", &[]).await.check(), "authorizer.available");
        }
    }
    // From then on all are asked about, at once too.
    let both = async {
        let asked = [slow.asked().await, slow.asked().await];
        for asked in asked {
            Slow::answers(asked, "200 OK").await;
        }
    };
    let (one, two, ()) = tokio::join!(world.get_with_token("/", &[]), world.get_with_token("/", &[]), both);
    assert_eq!((one.status, two.status), (200, 200));
}

#[tokio::test]
async fn who_hangs_up_while_they_try_it_for_all_leaves_the_turn_to_the_next() {
    let (slow, url) = Slow::start().await;
    let world = World::start(&with(&url, "timeout_milliseconds = 30000")).await;
    for _ in 0..5 {
        let failing = async { Slow::answers(slow.asked().await, "503 Service Unavailable").await };
        let (answer, ()) = tokio::join!(world.get_with_token("/", &[]), failing);
        assert_eq!(answer.status, 503);
    }
    world.clock.advance(5);
    let held = tokio::select! {
        _ = world.get_with_token("/", &[]) => panic!("it is asked"),
        held = slow.asked() => held,
    };
    // The gateway hears of it in its own time, and not by the clock, which stands still.
    for _ in 0..2_000 {
        let mut asking = std::pin::pin!(world.get_with_token("/", &[]));
        tokio::select! {
            answer = &mut asking => assert_eq!(answer.status, 503),
            asked = slow.asked() => {
                Slow::answers(asked, "200 OK").await;
                assert_eq!(asking.await.status, 200);
                return drop(held);
            }
        }
    }
    panic!("nobody may try it");
}

#[tokio::test]
async fn what_would_not_be_asked_safely_is_not_read() {
    let world = World::start(ORDERS).await;
    for (url, more, problem) in [
        ("http://decisions.internal", "", "read and changed on the way"),
        ("http://10.0.0.1", "", "read and changed on the way"),
        ("ftp://localhost", "", "another scheme"),
        ("https://user@decisions.internal", "", "names a user"),
        ("decisions", "", "no address"),
        ("", "", "names no host"),
        ("https://a b", "", "no address"),
        ("https://a", "response_headers = [\"Authorization\"]", "not for it to say"),
        ("https://a", "response_headers = [\"Content-Length\"]", "not for it to say"),
        ("https://a", "response_headers = [\"Connection\"]", "not for it to say"),
        ("https://a", "response_headers = [\"X-Forwarded-For\"]", "not for it to say"),
        ("https://a", "headers = [\"a b\"]", "no name of a field"),
        ("https://a", "timeout_milliseconds = 0", "no time to wait"),
        ("https://a", "timeout_milliseconds = 30001", "no time to wait"),
        ("https://a", "max_requests = 0", "nothing would be asked"),
    ] {
        let error = world.reload(&with(url, more)).unwrap_err();
        assert!(
            error.problem.contains(problem) && !error.hint.is_empty() && !error.at.is_empty(),
            "{url} {more}: {error}"
        );
    }
    world.reload(&with("https://decisions.internal", "claims = true")).unwrap();
    let told = world.gateway.effective_for("x", &http::Method::GET, "/a").unwrap();
    let told = told.policies.iter().find(|told| told.policy == "authorize_by").unwrap();
    assert_eq!(told.text, "what `https://decisions.internal/check` allows, with the token's claims");
    // It decides what callers may do, and not who they are.
    let alone = with("https://decisions.internal", "")
        .replace("[api.policies.validate_jwt]\n    issuers = [\"contoso\"]\n    audiences = [\"api://orders\"]\n", "");
    assert!(world.reload(&alone).unwrap_err().problem.contains("no policy that"));
}
