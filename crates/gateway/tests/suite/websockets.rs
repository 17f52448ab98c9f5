//! G-03 and G-12: WebSockets, byte by byte. Nothing flows before the service agrees, and nothing after the token is good no more.
use crate::support::{ORDERS, PUBLIC, World, get};
use serde_json::json;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::time::{advance, pause, resume};

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
const AGREED: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";

/// A service that says what it is told to once it may, and then says every byte again.
struct Service {
    url: String,
    seen: Arc<Mutex<Vec<u8>>>,
    may: Arc<Notify>,
}

impl Service {
    async fn start(answer: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("url = \"http://{}\"", listener.local_addr().unwrap());
        let service = Self { url, seen: Arc::default(), may: Arc::default() };
        let (seen, may, answer) = (Arc::clone(&service.seen), Arc::clone(&service.may), answer.to_owned());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(talk(stream, answer.clone(), Arc::clone(&seen), Arc::clone(&may)));
            }
        });
        service
    }

    /// One that agrees at once.
    async fn agreeing() -> Self {
        let service = Self::start(&format!("{AGREED}\r\n")).await;
        service.may.notify_one();
        service
    }

    fn seen(&self) -> String {
        String::from_utf8_lossy(&self.seen.lock().unwrap()).into_owned()
    }

    async fn saw(&self, bytes: &[u8]) {
        while !self.seen.lock().unwrap().windows(bytes.len()).any(|some| some == bytes) {
            tokio::task::yield_now().await;
        }
    }
}

async fn talk(mut stream: TcpStream, answer: String, seen: Arc<Mutex<Vec<u8>>>, may: Arc<Notify>) {
    let mut some = vec![0; 4_096];
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let length = stream.read(&mut some).await.unwrap();
        assert!(length > 0);
        head.extend_from_slice(&some[..length]);
        seen.lock().unwrap().extend_from_slice(&some[..length]);
    }
    may.notified().await;
    stream.write_all(answer.as_bytes()).await.unwrap();
    if !answer.starts_with("HTTP/1.1 101") {
        return;
    }
    while let Ok(length) = stream.read(&mut some).await {
        if length == 0 || stream.write_all(&some[..length]).await.is_err() {
            return;
        }
        seen.lock().unwrap().extend_from_slice(&some[..length]);
    }
}

fn configuration(api: &str, service: &Service, more: &str) -> String {
    let api = api.replacen("url = \"{service}\"", &service.url, 1);
    format!("{api}\n[api.operation.stream]\nwebsocket = true\n{more}\n")
}

/// The fields of a handshake, with these in place of or beside the usual ones.
fn handshake<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let usual = [
        ("connection", "keep-alive, Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-key", KEY),
        ("sec-websocket-version", "13"),
    ];
    let kept = usual.into_iter().filter(|(name, _)| !more.iter().any(|(other, _)| name == other));
    kept.chain(more.iter().copied().filter(|(_, value)| !value.is_empty())).collect()
}

async fn connected(world: &World, fields: &[(&str, &str)]) -> TcpStream {
    let mut stream = TcpStream::connect(world.address).await.unwrap();
    stream.write_all(get("/socket?a=1", fields).as_bytes()).await.unwrap();
    stream
}

async fn head(stream: &mut TcpStream) -> String {
    let mut read = Vec::new();
    while !read.ends_with(b"\r\n\r\n") {
        read.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(read).unwrap()
}

async fn says_again(stream: &mut TcpStream, frame: &[u8]) {
    stream.write_all(frame).await.unwrap();
    let mut back = vec![0; frame.len()];
    stream.read_exact(&mut back).await.unwrap();
    assert_eq!(back, frame);
}

/// What comes until the other side ends.
async fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    rest
}

fn text(text: &str) -> Vec<u8> {
    [&[0x81, u8::try_from(text.len()).unwrap()], text.as_bytes()].concat()
}

fn close(code: u16, reason: &str) -> Vec<u8> {
    [&[0x88, u8::try_from(reason.len() + 2).unwrap()], &code.to_be_bytes()[..], reason.as_bytes()].concat()
}

#[tokio::test]
async fn g_03_what_a_caller_sends_before_the_service_agrees_goes_nowhere_until_then() {
    let service = Service::start(&format!("{AGREED}Sec-WebSocket-Protocol: chat\r\n\r\n")).await;
    let world = World::start(&configuration(PUBLIC, &service, "")).await;
    let mut caller = connected(&world, &handshake(&[("sec-websocket-protocol", "chat, superchat")])).await;
    let early = text("early");
    caller.write_all(&early).await.unwrap();
    service.saw(b"\r\n\r\n").await;
    // Whatever the gateway would do with them, it has had the time for.
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    let seen = service.seen();
    assert!(seen.starts_with("GET /socket?a=1 HTTP/1.1\r\n") && seen.ends_with("\r\n\r\n"), "{seen:?}");
    let lower = seen.to_ascii_lowercase();
    for field in
        ["connection: upgrade\r\n", "upgrade: websocket\r\n", &format!("sec-websocket-key: {KEY}\r\n").to_lowercase()]
    {
        assert!(lower.contains(field), "{seen:?}");
    }
    service.may.notify_one();
    let answer = head(&mut caller).await.to_ascii_lowercase();
    assert!(answer.starts_with("http/1.1 101"), "{answer}");
    for field in [
        "connection: upgrade\r\n",
        "upgrade: websocket\r\n",
        "sec-websocket-protocol: chat\r\n",
        &format!("sec-websocket-accept: {}\r\n", ACCEPT.to_lowercase()),
    ] {
        assert!(answer.contains(field), "{answer:?}");
    }
    let mut back = vec![0; early.len()];
    caller.read_exact(&mut back).await.unwrap();
    assert_eq!(back, early);
    says_again(&mut caller, &text("hello")).await;
    drop(caller);
    let line = over(&world).await;
    assert_eq!((&line["whole"], &line["bytes"]), (&json!(true), &json!(28)), "both ways: {line}");
}

/// The line about a WebSocket that is over.
async fn over(world: &World) -> serde_json::Value {
    loop {
        if let Some(line) = world.lines().into_iter().find(|line| line["status"] == 101) {
            return line;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn g_03_where_the_service_does_not_agree_nothing_that_follows_is_read() {
    let answer = "HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno";
    let service = Service::start(answer).await;
    service.may.notify_one();
    let world = World::start(&configuration(PUBLIC, &service, "")).await;
    let mut caller = connected(&world, &handshake(&[])).await;
    caller.write_all(get("/smuggled", &[]).as_bytes()).await.unwrap();
    let answer = String::from_utf8(rest(&mut caller).await).unwrap();
    assert!(answer.starts_with("HTTP/1.1 403") && answer.ends_with("\r\n\r\nno"), "{answer}");
    assert!(!service.seen().contains("smuggled"));
}

#[tokio::test]
async fn an_agreement_to_something_else_is_none() {
    for answer in [
        AGREED.replace(ACCEPT, "AAAAAAAAAAAAAAAAAAAAAAAAAAA="),
        AGREED.replace("Sec-WebSocket-Accept", "X-Accept"),
        AGREED.replace("Upgrade: websocket", "Upgrade: h2c"),
        AGREED.replace("Connection: Upgrade", "Connection: keep-alive"),
        format!("{AGREED}Sec-WebSocket-Protocol: other\r\n"),
        format!("{AGREED}Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Protocol: chat\r\n"),
        format!("{AGREED}Sec-WebSocket-Extensions: permessage-deflate\r\n"),
    ] {
        let service = Service::start(&format!("{answer}\r\n")).await;
        service.may.notify_one();
        let world = World::start(&configuration(PUBLIC, &service, "")).await;
        let told = world.get("/", &handshake(&[("sec-websocket-protocol", "chat")])).await;
        assert_eq!(told.reason(), (502, "BackendConnectionFailure".to_owned()), "{answer}");
    }
}

#[tokio::test]
async fn a_handshake_is_whole_or_refused() {
    let service = Service::agreeing().await;
    let world = World::start(&configuration(PUBLIC, &service, "")).await;
    for (fields, status, check) in [
        (handshake(&[("connection", "keep-alive")]), 400, "gateway.websocket"),
        (handshake(&[("connection", "")]), 400, "gateway.websocket"),
        (handshake(&[("sec-websocket-version", "8")]), 426, "gateway.websocket"),
        (handshake(&[("sec-websocket-version", "")]), 426, "gateway.websocket"),
        (handshake(&[("sec-websocket-key", "")]), 400, "gateway.websocket"),
        (handshake(&[("sec-websocket-key", "c2hvcnQ=")]), 400, "gateway.websocket"),
        (handshake(&[("sec-websocket-key", "!!!!")]), 400, "gateway.websocket"),
        (handshake(&[("sec-websocket-key", KEY), ("sec-websocket-key", KEY)]), 400, "gateway.websocket"),
        (handshake(&[("content-length", "2")]), 400, "gateway.websocket"),
        (handshake(&[("origin", "https://evil.example")]), 403, "gateway.origin"),
        (handshake(&[("origin", "null")]), 403, "gateway.origin"),
        (handshake(&[("origin", "http://api.example:8080")]), 403, "gateway.origin"),
        (handshake(&[("origin", "http://api.example"), ("origin", "http://api.example")]), 403, "gateway.origin"),
    ] {
        let answer = world.get("/", &fields).await;
        assert_eq!((answer.status, answer.check().as_str()), (status, check), "{fields:?}");
        assert_eq!(
            answer.field("connection"),
            ["close"],
            "what follows may be somebody's who took it for agreed: {fields:?}"
        );
        assert_eq!(answer.field("sec-websocket-version"), if status == 426 { vec!["13"] } else { vec![] });
    }
    let post = get("/", &handshake(&[])).replacen("GET", "POST", 1);
    assert_eq!(world.raw(post).await.check(), "gateway.websocket");
    assert_eq!(service.seen(), "", "the service was asked nothing");
    let mut caller = connected(&world, &handshake(&[("origin", "http://api.example")])).await;
    assert!(head(&mut caller).await.starts_with("HTTP/1.1 101"), "a page of the host itself");
}

#[tokio::test]
async fn pages_open_websockets_where_cors_lists_them_and_where_any_may_without_cookies() {
    let cors = |origins: &str| {
        let rule = format!("public = true\n[api.policies.cors]\nallowed_origins = [\"{origins}\"]");
        PUBLIC.replace("public = true", &rule)
    };
    for (origins, origin, cookie, status) in [
        ("https://app.example", "https://app.example", "a=b", 101),
        ("https://app.example", "https://other.example", "", 403),
        ("https://app.example", "http://api.example", "", 101),
        ("*", "https://other.example", "", 101),
        ("*", "https://other.example", "a=b", 403),
    ] {
        let service = Service::agreeing().await;
        let world = World::start(&configuration(&cors(origins), &service, "")).await;
        let mut caller = connected(&world, &handshake(&[("origin", origin), ("cookie", cookie)])).await;
        let answer = head(&mut caller).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{origins} {origin} {cookie}: {answer}");
    }
}

#[tokio::test]
async fn behind_a_proxy_that_ends_tls_a_pages_own_origin_is_the_one_that_its_browser_sees() {
    for (proxies, origin, status) in [
        ("trusted_proxies = [\"127.0.0.0/8\"]\n", "https://api.example", 101),
        ("trusted_proxies = [\"127.0.0.0/8\"]\n", "http://api.example", 403),
        ("", "http://api.example", 101),
    ] {
        let service = Service::agreeing().await;
        let world = World::start(&format!("{proxies}{}", configuration(PUBLIC, &service, ""))).await;
        let fields = handshake(&[("origin", origin), ("x-forwarded-proto", "https")]);
        let answer = head(&mut connected(&world, &fields).await).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{proxies}{origin}: {answer}");
    }
}

#[tokio::test]
async fn g_12_without_a_good_token_there_is_no_handshake_and_the_service_is_not_sent_it() {
    let service = Service::agreeing().await;
    let world = World::start(&configuration(ORDERS, &service, "")).await;
    assert_eq!(world.get("/", &handshake(&[])).await.status, 401);
    assert_eq!(world.get("/", &handshake(&[("authorization", "Bearer x.y.z")])).await.status, 401);
    assert_eq!(service.seen(), "");
    let bearer = world.bearer(&json!({}));
    let mut caller = connected(&world, &handshake(&[("authorization", &bearer)])).await;
    assert!(head(&mut caller).await.starts_with("HTTP/1.1 101"));
    assert!(!service.seen().to_ascii_lowercase().contains("authorization"), "{}", service.seen());
}

/// An open WebSocket under a token of 100 seconds.
async fn opened(more: &str) -> (World, Service, TcpStream) {
    let service = Service::agreeing().await;
    let world = World::start(&configuration(ORDERS, &service, more)).await;
    let bearer = world.bearer(&json!({"exp": crate::support::NOON.0 + 100}));
    let mut caller = connected(&world, &handshake(&[("authorization", &bearer)])).await;
    assert!(head(&mut caller).await.starts_with("HTTP/1.1 101"));
    says_again(&mut caller, &text("hello")).await;
    (world, service, caller)
}

async fn later(world: &World, seconds: u64) {
    world.clock.advance(i64::try_from(seconds).unwrap());
    pause();
    advance(Duration::from_secs(seconds)).await;
    resume();
}

#[tokio::test]
async fn g_12_a_websocket_is_closed_with_4401_when_its_token_expires() {
    let (world, service, mut caller) = opened("idle_seconds = 3600").await;
    later(&world, 99).await;
    says_again(&mut caller, &text("still here")).await;
    later(&world, 1).await;
    assert_eq!(rest(&mut caller).await, close(4401, "the token has expired"));
    // Masked, as what a server is sent.
    service.saw(&[0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe9]).await;
    assert_eq!(over(&world).await["whole"], false);
}

#[tokio::test]
async fn g_12_in_the_middle_of_a_message_a_websocket_ends_without_a_word() {
    let (world, _service, mut caller) = opened("idle_seconds = 3600").await;
    // A frame of five bytes, of which three come.
    let half = &text("hello")[..5];
    says_again(&mut caller, half).await;
    later(&world, 100).await;
    assert_eq!(rest(&mut caller).await, b"", "a Close there would be taken for the rest of the message");
}

#[tokio::test]
async fn a_websocket_ends_when_both_sides_are_silent_or_it_has_lasted() {
    let (world, _service, mut caller) = opened("idle_seconds = 20\nends_with_token = false").await;
    for _ in 0..3 {
        later(&world, 19).await;
        says_again(&mut caller, &text("hello")).await;
    }
    later(&world, 20).await;
    assert_eq!(rest(&mut caller).await, close(1001, "both sides were silent for too long"));
    let (world, _service, mut caller) = opened("longest_seconds = 50\nends_with_token = false").await;
    later(&world, 50).await;
    assert_eq!(rest(&mut caller).await, close(1001, "the stream has lasted as long as it may"));
}

#[tokio::test]
async fn what_a_service_sends_comes_whole_when_its_caller_has_said_all() {
    let mut numbers = String::new();
    for n in 0..1_000_000 {
        writeln!(numbers, "{n:015}").unwrap();
    }
    let service = Service::start(&format!("{AGREED}\r\n{numbers}")).await;
    service.may.notify_one();
    let world = World::start(&configuration(PUBLIC, &service, "")).await;
    let mut caller = connected(&world, &handshake(&[])).await;
    assert!(head(&mut caller).await.starts_with("HTTP/1.1 101"));
    let until_nothing_moves = async || {
        for _ in 0..10_000 {
            tokio::task::yield_now().await;
        }
    };
    // It is in the middle of a write, as nobody reads.
    until_nothing_moves().await;
    caller.shutdown().await.unwrap();
    until_nothing_moves().await;
    let came = rest(&mut caller).await;
    assert!(came == numbers.as_bytes(), "{} of {} bytes", came.len(), numbers.len());
}

#[tokio::test]
async fn a_websocket_counts_among_the_requests_of_its_service_until_it_is_over() {
    let service = Service::agreeing().await;
    let limited = PUBLIC.replacen("url = \"{service}\"", "url = \"{service}\"\nmax_requests = 1", 1);
    let world = World::start(&configuration(&limited, &service, "")).await;
    let mut caller = connected(&world, &handshake(&[])).await;
    assert!(head(&mut caller).await.starts_with("HTTP/1.1 101"));
    assert_eq!(world.get("/", &handshake(&[])).await.check(), "upstream.capacity");
    drop(caller);
    over(&world).await;
    service.may.notify_one();
    let mut caller = connected(&world, &handshake(&[])).await;
    assert!(head(&mut caller).await.starts_with("HTTP/1.1 101"));
}

#[tokio::test]
async fn when_the_gateway_ends_a_websocket_is_told_to_come_back_elsewhere() {
    let (world, _service, mut caller) = opened("idle_seconds = 3600").await;
    let ended = tokio::spawn(world.end());
    assert_eq!(rest(&mut caller).await, close(1001, "the gateway ends"));
    ended.await.unwrap();
}
