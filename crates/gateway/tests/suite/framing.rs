//! G-01: one message is one request, or none.
use crate::support::{ORDERS, PUBLIC, World, answered};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What is refused.
const REFUSED: &[&str] = &[
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\nhello",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nhello",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x5\r\n\r\nhello",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\nhello",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5 5\r\n\r\nhello",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\nhello",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \u{b}chunked\r\n\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked;x\r\n\r\n0\r\n\r\n",
    "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\n Content-Length: 5\r\n\r\nhello",
    "GET / HTTP/1.1\r\nHost: a\r\nX: a\u{0}b\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nX Y: b\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nX\u{0}: b\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n folded\r\n\r\n",
    "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET / HTTP/1.1\r\n\r\n",
    "GET http://a/ HTTP/1.1\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "GET http://b.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n",
    "GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET / HTTP/3.0\r\nHost: a\r\n\r\n",
    "GET / http/1.1\r\nHost: a\r\n\r\n",
    "G\u{e9}T / HTTP/1.1\r\nHost: a\r\n\r\n",
];

/// Bodies that are no bodies: the service may have seen the head by then, and gets nothing whole.
const BROKEN_BODIES: &[&str] = &[
    "fffffffffffffffff\r\n",
    "0x5\r\nhello\r\n0\r\n\r\n",
    "+5\r\nhello\r\n0\r\n\r\n",
    "-5\r\nhello\r\n0\r\n\r\n",
    "5_0\r\nhello\r\n0\r\n\r\n",
    "5\nhello\r\n0\r\n\r\n",
    "5\r\nhelloX0\r\n\r\n",
    "5\r\nhello0\r\n\r\n",
    "5;a\nb\r\nhello\r\n0\r\n\r\n",
    "\r\nhello\r\n0\r\n\r\n",
];

#[tokio::test]
async fn g_01_what_could_be_two_requests_is_none() {
    let world = World::start(PUBLIC).await;
    for text in REFUSED {
        // Were any of it taken for a second request, the service would see it.
        let smuggled = format!("{text}GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n");
        let answer = world.raw(smuggled).await;
        assert!((400..=505).contains(&answer.status) && answer.closed, "{text:?}: {answer:?}");
        assert_eq!(world.service.seen(), Vec::<String>::new(), "{text:?}");
    }
}

#[tokio::test]
async fn g_01_a_body_that_breaks_off_is_no_request() {
    let world = World::start(PUBLIC).await;
    for body in BROKEN_BODIES {
        world.service.forget();
        let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        let answer = world.raw(format!("{head}{body}GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        assert_eq!(answer.status, 400, "{body:?}: {answer:?}");
        assert!(answer.body.contains("no sound chunks"), "{body:?}: {answer:?}");
        let seen = world.service.seen();
        assert!(seen.iter().all(|text| text.starts_with("BROKEN OFF")), "{body:?}: {seen:?}");
    }
}

#[tokio::test]
async fn g_01_what_has_one_reading_is_written_anew() {
    let world = World::start(PUBLIC).await;
    for (text, line) in [
        ("GET / HTTP/1.1\nHost: a\n\n", "GET / HTTP/1.1"),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "POST / HTTP/1.1"),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\nX-T: 1\r\n\r\n",
            "POST / HTTP/1.1",
        ),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", "POST / HTTP/1.1"),
        ("GET http://a/x HTTP/1.1\r\nHost: a\r\n\r\n", "GET /x HTTP/1.1"),
        ("GET / HTTP/1.0\r\nHost: a\r\n\r\n", "GET / HTTP/1.1"),
        ("GET http://a/x HTTP/1.0\r\n\r\n", "GET /x HTTP/1.1"),
    ] {
        world.service.forget();
        let answer = world.raw(text).await;
        assert_eq!(answer.status, 200, "{text:?}: {answer:?}");
        let seen = world.service.only();
        assert_eq!(seen.line(), line);
        assert!(seen.0.replace("\r\n", "").bytes().all(|b| b != b'\n' && b != b'\r'), "{seen:?}");
        assert!(!seen.0.contains("X-T") && !seen.0.contains("x=y"), "trailers and extensions go no further: {seen:?}");
        let lengths = seen.field("content-length").len() + seen.field("transfer-encoding").len();
        assert_eq!(lengths, usize::from(text.starts_with("POST")), "{seen:?}");
    }
}

/// The HTTP library believes the chunks and says so by closing: nothing that follows is read as a request.
#[tokio::test]
async fn g_01_of_two_lengths_the_chunks_count_and_the_connection_ends() {
    let world = World::start(PUBLIC).await;
    for lengths in
        ["Content-Length: 5\r\nTransfer-Encoding: chunked", "Transfer-Encoding: chunked\r\nContent-Length: 5"]
    {
        for body in ["0\r\n\r\n", "3\r\nabc\r\n0\r\n\r\n"] {
            world.service.forget();
            let text = format!(
                "POST / HTTP/1.1\r\nHost: a\r\n{lengths}\r\n\r\n{body}GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
            );
            let answer = world.raw(text).await;
            assert!(answer.closed, "{lengths:?}: {answer:?}");
            let seen = world.service.only();
            assert!(seen.field("content-length").is_empty() && !seen.0.contains("smuggled"), "{seen:?}");
        }
    }
}

#[tokio::test]
async fn g_01_a_body_that_looks_like_a_request_is_a_body() {
    let world = World::start(PUBLIC).await;
    let body = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    let answer = world.raw(format!("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len())).await;
    assert_eq!(answer.status, 200);
    assert!(world.service.only().0.ends_with(body));
}

#[tokio::test]
async fn g_03_what_follows_an_upgrade_is_not_forwarded() {
    let world = World::start(PUBLIC).await;
    let head =
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\r\n";
    let answer = world.raw(format!("{head}GET /smuggled HTTP/1.1\r\n\r\n")).await;
    assert_eq!(answer.status, 200, "no 101 before the service agrees");
    let seen = world.service.only();
    assert_eq!((seen.field("upgrade").len(), seen.field("connection").len()), (0, 0), "{seen:?}");
    // Nor is one taken that nobody asked for.
    world.service.forget();
    world.service.answers("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n");
    assert_eq!(world.get("/", &[]).await.reason(), (502, "BackendConnectionFailure".to_owned()));
}

#[tokio::test]
async fn large_heads_are_refused() {
    let world = World::start(PUBLIC).await;
    let wide = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(70_000));
    let many = (0..600).map(|n| format!("X-{n}: 1")).collect::<Vec<_>>().join("\r\n");
    for text in [wide, format!("GET / HTTP/1.1\r\nHost: a\r\n{many}\r\n\r\n")] {
        assert_eq!(world.raw(text).await.status, 431);
    }
    let long = world.get(&format!("/{}", "a".repeat(9_000)), &[]).await;
    assert_eq!((long.status, long.check()), (400, "gateway.request".to_owned()));
    assert_eq!(world.service.seen(), Vec::<String>::new());
    // Tokens with many groups are large.
    assert_eq!(world.get("/", &[("x", &"x".repeat(20_000))]).await.status, 200);
}

#[tokio::test]
async fn g_16_what_is_compressed_stays_so_on_both_ways() {
    let world = World::start(PUBLIC).await;
    // What would be a gigabyte, as far as anybody here looks.
    let bomb = "\u{1f}bomb".repeat(20_000);
    for coding in ["gzip", "br", "zstd", "gzip, gzip", "deflate"] {
        let request = format!(
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-encoding: {coding}\r\naccept-encoding: {coding}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{bomb}",
            bomb.len()
        );
        world.service.answers("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 3\r\n\r\n\u{1f}zz");
        let answer = world.raw(request).await;
        assert_eq!((answer.status, answer.field("content-encoding"), &*answer.body), (200, vec!["gzip"], "\u{1f}zz"));
        let seen = world.service.only();
        assert_eq!((seen.field("content-encoding"), seen.field("accept-encoding")), (vec![coding], vec![coding]));
        assert!(seen.0.ends_with(&bomb), "as it came");
        world.service.forget();
    }
}

#[tokio::test]
async fn g_01_a_trailer_that_is_none_breaks_the_body_off() {
    let world = World::start(PUBLIC).await;
    let long = format!("X: {}\r\n", "x".repeat(200_000));
    let many = "X: 1\r\n".repeat(5_000);
    for trailers in ["X Y: 1\r\n", "X: a\r\n folded\r\n", ": 1\r\n", "X: a\0b\r\n", &long, &many] {
        world.service.forget();
        let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n";
        let answer = world.raw(format!("{head}{trailers}\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        assert_eq!(answer.status, 400, "{:?}: {answer:?}", trailers.get(..12));
        let seen = world.service.seen();
        assert!(seen.iter().all(|text| text.starts_with("BROKEN OFF") && !text.contains("smuggled")), "{seen:?}");
    }
}

/// The HTTP library takes an empty line within them for their end, and goes on to where they end in order.
#[tokio::test]
async fn g_01_what_stands_behind_trailers_is_nobodys_request() {
    let world = World::start(PUBLIC).await;
    let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n";
    let next = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    for trailers in ["\n", "X: a\n\n", "X: a\n\r\n", "X: a\r\n\n", "X: a\r\n\r\n"] {
        world.service.forget();
        let answer = world.raw(format!("{head}{trailers}{next}{next}")).await;
        assert!(answer.closed, "{trailers:?}: {answer:?}");
        assert_eq!(answer.status, if trailers == "\n" { 400 } else { 200 }, "{trailers:?}: {answer:?}");
        let seen = world.service.seen();
        assert!(seen.iter().all(|text| !text.contains("smuggled")), "{trailers:?}: {seen:?}");
    }
    // Where nobody reads the body, nobody sees its end.
    let refusing = World::start(ORDERS).await;
    for end in ["\r\n", "\n"] {
        let answer = refusing.raw(format!("{head}{end}{next}{next}")).await;
        assert_eq!((answer.status, answer.closed), (401, true), "{end:?}");
    }
    world.service.forget();
    let mut caller = TcpStream::connect(world.address).await.unwrap();
    for _ in 0..2 {
        caller.write_all(format!("{head}\r\n").as_bytes()).await.unwrap();
        let answer = answered(&mut caller).await;
        assert_eq!((answer.status, answer.closed), (200, false), "what ends beyond doubt");
    }
    assert_eq!(world.service.seen().len(), 2);
}

#[tokio::test]
async fn g_01_a_body_goes_on_whatever_the_method_is() {
    let world = World::start(PUBLIC).await;
    for method in ["GET", "HEAD", "DELETE", "OPTIONS", "POST", "SEARCH"] {
        for (framing, body) in
            [("Transfer-Encoding: chunked", "5\r\nhello\r\n0\r\n\r\n"), ("Content-Length: 5", "hello")]
        {
            world.service.forget();
            let answer = world
                .raw(format!("{method} /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{framing}\r\n\r\n{body}"))
                .await;
            assert_eq!(answer.status, 200, "{method} {framing}");
            let seen = world.service.only();
            assert!(seen.0.contains("hello"), "{method} {framing}: {seen:?}");
            let lengths = seen.field("content-length").len() + seen.field("transfer-encoding").len();
            assert_eq!(lengths, 1, "{method} {framing}: {seen:?}");
        }
        world.service.forget();
        assert_eq!(
            world.raw(format!("{method} /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")).await.status,
            200
        );
        assert!(world.service.only().field("transfer-encoding").is_empty(), "{method}: there is none");
    }
}

#[tokio::test]
async fn g_03_whose_request_is_refused_is_asked_for_no_body_and_sends_no_other_request() {
    let world = World::start(ORDERS).await;
    for credential in ["", "Authorization: Bearer x\r\n"] {
        let head =
            format!("POST / HTTP/1.1\r\nHost: a\r\n{credential}Expect: 100-continue\r\nContent-Length: 40\r\n\r\n");
        let mut caller = TcpStream::connect(world.address).await.unwrap();
        caller.write_all(head.as_bytes()).await.unwrap();
        let mut told = String::new();
        // It is closed: a body that was not asked for could be taken for a request.
        caller.read_to_string(&mut told).await.unwrap();
        assert!(told.starts_with("HTTP/1.1 401") && !told.contains("100 Continue"), "{told}");
        assert_eq!(told.matches("HTTP/1.1").count(), 1, "{told}");
    }
    let bearer = world.bearer(&serde_json::json!({}));
    let mut caller = TcpStream::connect(world.address).await.unwrap();
    let head = format!("POST / HTTP/1.1\r\nHost: a\r\nAuthorization: {bearer}\r\n");
    caller.write_all(format!("{head}Expect: 100-continue\r\nContent-Length: 5\r\n\r\n").as_bytes()).await.unwrap();
    assert_eq!(answered(&mut caller).await.status, 100);
    caller.write_all(b"hello").await.unwrap();
    assert_eq!(answered(&mut caller).await.status, 200);
    let seen = world.service.only();
    assert!(seen.field("expect").is_empty() && seen.0.ends_with("\r\n\r\nhello"), "{seen:?}");
}

#[tokio::test]
async fn g_08_connect_opens_no_way() {
    let world = World::start(PUBLIC).await;
    let at = world.service.url.trim_start_matches("http://").to_owned();
    for target in [at.as_str(), "/", "*", "http://a/", "169.254.169.254:80"] {
        let text =
            format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n");
        let answer = world.raw(text).await;
        assert!(matches!(answer.status, 400 | 405) && answer.closed, "{target}: {answer:?}");
        assert!(world.service.seen().is_empty(), "{target}");
    }
}
