//! `authorize_by` with `max_body_bytes`: bodies are looked at before they are forwarded, as they came.
use crate::authorize_by::{answer, question, with};
use crate::support::{Answered, ORDERS, PUBLIC, Seen, Service, World, answered};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use gateway::Authorizer;
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body_util::BodyExt;
use hyper::body::Frame;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use serve::{Listeners, Socket};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::{Duration, Instant, pause, resume};

/// An API that anybody may call, whose bodies this service looks at.
fn public(url: &str, more: &str) -> String {
    let policy = format!("[api.policies.authorize_by]\nurl = \"{url}/check\"\n{more}\n    [[api.operation]]");
    PUBLIC.replace("[[api.operation]]", &policy)
}

fn post(body: &str) -> String {
    format!("POST /a HTTP/1.1\r\nhost: api.example\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

fn chunked(pieces: &[&str]) -> String {
    let head = "POST /a HTTP/1.1\r\nhost: api.example\r\ntransfer-encoding: chunked\r\n\r\n";
    let pieces: Vec<String> = pieces.iter().map(|piece| format!("{:x}\r\n{piece}\r\n", piece.len())).collect();
    format!("{head}{}0\r\n\r\n", pieces.concat())
}

/// What was told of a body, and whether it was the beginning alone.
fn told(seen: &Seen) -> (Vec<u8>, Value) {
    let question = question(seen);
    (STANDARD.decode(question["body"].as_str().unwrap()).unwrap(), question["body_is_partial"].clone())
}

/// The body of a message, out of its chunks.
fn body(seen: &Seen) -> String {
    let (_, mut rest) = seen.0.split_once("\r\n\r\n").unwrap();
    if seen.field("transfer-encoding").is_empty() {
        let told = seen.field("content-length");
        assert!(told == [rest.len().to_string()] || told.is_empty() && rest.is_empty(), "{seen:?}");
        return rest.to_owned();
    }
    let mut whole = String::new();
    while let Some((length, more)) = rest.split_once("\r\n") {
        let (piece, more) = more.split_at(usize::from_str_radix(length, 16).unwrap());
        whole += piece;
        rest = more.strip_prefix("\r\n").unwrap();
    }
    whole
}

/// What stands in a text of that length, and nowhere else.
fn text(length: usize) -> String {
    (0..length).map(|at| char::from(b' ' + u8::try_from((at * 7 + at / 91) % 95).unwrap())).collect()
}

#[tokio::test]
async fn a_body_is_told_and_forwarded_as_it_came() {
    let decides = Service::start().await;
    let world = World::start(&public(&decides.url, "max_body_bytes = 100000")).await;
    for length in [1, 2, 3, 1_000, 99_999, 100_000] {
        let sent = text(length);
        let (first, second) = sent.split_at(length / 2);
        for request in
            [post(&sent), chunked(&[&sent]), if length > 1 { chunked(&[first, second]) } else { post(&sent) }]
        {
            assert_eq!(world.raw(&request).await.status, 200);
            assert_eq!(told(&decides.only()), (sent.clone().into_bytes(), json!(false)), "{length}");
            assert_eq!(body(&world.service.only()), sent, "{length}");
            decides.forget();
            world.service.forget();
        }
    }
    // Where there is none, none is told.
    for request in ["GET /a HTTP/1.1\r\nhost: a\r\n\r\n".to_owned(), post(""), chunked(&[])] {
        assert_eq!(world.raw(&request).await.status, 200);
        assert_eq!(told(&decides.only()), (Vec::new(), json!(false)), "{request}");
        assert_eq!(body(&world.service.only()), "");
        decides.forget();
        world.service.forget();
    }
    // What is not asked for is not told.
    world.reload(&public(&decides.url, "max_body_bytes = 0")).unwrap();
    assert_eq!(world.raw(post("secret")).await.status, 200);
    assert!(!decides.only().0.contains("body"));
}

#[tokio::test]
async fn octets_and_the_next_request_on_the_connection_come_through() {
    let decides = Service::start().await;
    let world = World::start(&public(&decides.url, "max_body_bytes = 256")).await;
    let octets: Vec<u8> = (0..=255).collect();
    let mut stream = TcpStream::connect(world.address).await.unwrap();
    for octets in [&octets[..], &octets[128..]] {
        let head = format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n", octets.len());
        stream.write_all(&[head.as_bytes(), octets].concat()).await.unwrap();
        assert_eq!(answered(&mut stream).await.status, 200);
        assert_eq!(told(&decides.only()).0, octets);
        decides.forget();
    }
    assert_eq!(world.service.seen().len(), 2);
}

#[tokio::test]
async fn pieces_of_http_2_are_put_together_and_trailers_end_there() {
    let decides = Service::start().await;
    let world = World::start(&public(&decides.url, "max_body_bytes = 100000")).await;
    let sent = text(5_000);
    let stream = TokioIo::new(TcpStream::connect(world.address).await.unwrap());
    let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    tokio::spawn(connection);
    let pieces = sent.as_bytes().chunks(7).map(|piece| Frame::data(Bytes::copy_from_slice(piece)));
    let trailers = HeaderMap::from_iter([(HeaderName::from_static("x-user"), HeaderValue::from_static("grace"))]);
    let frames = pieces.chain([Frame::data(Bytes::new()), Frame::trailers(trailers)]).collect();
    let request = http::Request::post("http://api.example/a").body(Frames(frames)).unwrap();
    let response = sender.send_request(request).await.unwrap();
    assert_eq!(response.status(), 200);
    response.into_body().collect().await.unwrap();
    assert_eq!(told(&decides.only()), (sent.clone().into_bytes(), json!(false)));
    let seen = world.service.only();
    assert_eq!(body(&seen), sent);
    assert!(!seen.0.contains("grace"));
}

/// A body of these frames.
struct Frames(std::collections::VecDeque<Frame<Bytes>>);

impl hyper::body::Body for Frames {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Poll::Ready(self.0.pop_front().map(Ok))
    }
}

fn too_long() -> (u16, String) {
    (413, "RequestBodyTooLarge".to_owned())
}

#[tokio::test]
async fn a_longer_body_is_refused_and_told_to_nobody() {
    let decides = Service::start().await;
    let world = World::start(&public(&decides.url, "max_body_bytes = 1000")).await;
    for request in [
        post(&text(1_001)),
        chunked(&[&text(1_000), "x"]),
        chunked(&[&text(500), &text(501)]),
        chunked(&[&text(100_000)]),
    ] {
        let refused = world.raw(&request).await;
        assert_eq!((refused.reason(), refused.check()), (too_long(), "gateway.body_size".to_owned()));
    }
    // Who waits to be asked for it is not.
    let head = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1001\r\nexpect: 100-continue\r\n\r\n";
    assert_eq!(world.raw(head).await.reason(), too_long());
    // What is left of it is no request.
    let smuggled = "GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n";
    for request in [post(&smuggled.repeat(2_000)), chunked(&[&smuggled.repeat(2_000), smuggled])] {
        let mut stream = TcpStream::connect(world.address).await.unwrap();
        let _ = stream.write_all(request.as_bytes()).await;
        assert_eq!(answered(&mut stream).await.reason(), too_long());
        let _ = stream.write_all(smuggled.as_bytes()).await;
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
        assert!(rest.is_empty(), "{}", String::from_utf8_lossy(&rest));
    }
    assert!(decides.seen().is_empty() && world.service.seen().is_empty());
}

#[tokio::test]
async fn of_a_longer_body_the_beginning_is_told_and_all_of_it_forwarded() {
    let decides = Service::start().await;
    let world = World::start(&public(&decides.url, "max_body_bytes = 1000\nallow_partial = true")).await;
    for (length, partial) in [(999, false), (1_000, false), (1_001, true), (300_000, true)] {
        let sent = text(length);
        let (first, second) = sent.split_at(if length == 1_001 { 1_000 } else { length / 3 });
        for request in [post(&sent), chunked(&[first, second])] {
            assert_eq!(world.raw(&request).await.status, 200);
            let beginning = sent.as_bytes()[..length.min(1_000)].to_vec();
            assert_eq!(told(&decides.only()), (beginning, json!(partial)), "{length}");
            assert_eq!(body(&world.service.only()), sent, "{length}");
            decides.forget();
            world.service.forget();
        }
    }
}

#[tokio::test]
async fn what_is_refused_goes_nowhere() {
    let decides = Service::start().await;
    let world = World::start(&public(&decides.url, "max_body_bytes = 1000\nallow_partial = true")).await;
    for status in ["403 Forbidden", "500 Internal Server Error"] {
        for request in [post("<script>"), post(&text(100_000))] {
            decides.answers(&answer(status, "", ""));
            assert!([403, 503].contains(&world.raw(&request).await.status));
        }
    }
    assert!(world.service.seen().is_empty());
}

#[tokio::test]
async fn of_strangers_no_body_is_read() {
    let decides = Service::start().await;
    let world = World::start(&with(&decides.url, "max_body_bytes = 1000")).await;
    let head =
        |token: &str| format!("POST / HTTP/1.1\r\nhost: a\r\n{token}content-length: 4\r\nexpect: 100-continue\r\n\r\n");
    assert_eq!(world.raw(head("")).await.status, 401, "nobody asked for the body");
    let token = format!("authorization: {}\r\n", world.bearer(&json!({})));
    let mut stream = TcpStream::connect(world.address).await.unwrap();
    stream.write_all(head(&token).as_bytes()).await.unwrap();
    assert_eq!(answered(&mut stream).await.status, 100);
    stream.write_all(b"body").await.unwrap();
    assert_eq!(answered(&mut stream).await.status, 200);
    assert_eq!(told(&decides.only()), (b"body".to_vec(), json!(false)));
}

/// Begins a request with a body of this length, and waits until the gateway asks for it.
async fn begun(world: &World, length: usize) -> TcpStream {
    begun_from([127, 0, 0, 1], world.address, length).await
}

async fn begun_from(from: [u8; 4], to: SocketAddr, length: usize) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((from, 0).into()).unwrap();
    let mut stream = socket.connect(to).await.unwrap();
    let head = format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\nexpect: 100-continue\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    assert_eq!(answered(&mut stream).await.status, 100);
    stream
}

#[tokio::test]
async fn g_14_a_body_that_stops_is_told_to_nobody() {
    let decides = Service::start().await;
    for sent in ["", "0123456789"] {
        let world = World::start(&public(&decides.url, "max_body_bytes = 1000")).await;
        let mut stream = begun(&world, 1_000).await;
        stream.write_all(sent.as_bytes()).await.unwrap();
        pause();
        let began = Instant::now();
        let answer = answered(&mut stream).await;
        assert_eq!(answer.reason(), (408, "ClientConnectionFailure".to_owned()), "{sent:?}");
        assert!(began.elapsed() >= Duration::from_secs(29), "{:?}", began.elapsed());
        assert!(answer.closed, "what is left of the body would be read as a request: {answer:?}");
        resume();
        // What is no body, and one that breaks off, are as little.
        let nonsense = chunked(&[sent]).replace("\r\n0\r\n\r\n", "\r\nzz\r\n");
        let refused = world.raw(nonsense.as_bytes()).await;
        assert_eq!((refused.status, refused.check()), (400, "gateway.body_timely".to_owned()));
        let mut stream = begun(&world, 1_000).await;
        stream.write_all(sent.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.unwrap();
        assert!(world.service.seen().is_empty());
    }
    assert!(decides.seen().is_empty());
}

#[tokio::test]
async fn the_rest_of_a_body_that_stops_is_the_callers_fault_too() {
    let decides = Service::start().await;
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let world =
        World::start(&before(&silent, &public(&decides.url, "max_body_bytes = 10\nallow_partial = true"))).await;
    let mut stream = begun(&world, 1_000).await;
    stream.write_all(&[b'x'; 500]).await.unwrap();
    let _service = heard(&silent, &[b'x'; 10]).await;
    assert_eq!(told(&decides.only()), (vec![b'x'; 10], json!(true)));
    pause();
    assert_eq!(answered(&mut stream).await.reason(), (408, "ClientConnectionFailure".to_owned()));
}

/// A configuration with this service, which does not answer for seven seconds.
fn before(service: &TcpListener, text: &str) -> String {
    let url = format!("url = \"http://{}\"\nanswer_seconds = 7", service.local_addr().unwrap());
    text.replacen("url = \"{service}\"", &url, 1)
}

/// A connection over which these octets came.
async fn heard(service: &TcpListener, octets: &[u8]) -> TcpStream {
    let (mut stream, _) = service.accept().await.unwrap();
    let mut read = Vec::new();
    while !read.windows(octets.len()).any(|part| part == octets) {
        assert!(stream.read_buf(&mut read).await.unwrap() > 0);
    }
    stream
}

#[tokio::test]
async fn g_14_bodies_have_so_much_room_and_nobody_takes_all_of_it() {
    let decides = Service::start().await;
    // Four of these are held at once.
    let world = World::start(&public(&decides.url, "max_body_bytes = 16777216")).await;
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(begun(&world, 4).await);
    }
    assert_eq!(world.raw(post("body")).await.reason(), (429, "CallerOverShare".to_owned()));
    held.push(begun_from([127, 0, 0, 2], world.address, 4).await);
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 3], 0).into()).unwrap();
    let mut other = socket.connect(world.address).await.unwrap();
    other.write_all(post("body").as_bytes()).await.unwrap();
    assert_eq!(answered(&mut other).await.reason(), (503, "AuthorizerUnavailable".to_owned()));
    assert_eq!(world.get("/", &[]).await.status, 200, "what has no body needs no room");
    for stream in &mut held {
        stream.write_all(b"body").await.unwrap();
        assert_eq!(answered(stream).await.status, 200);
    }
    // The room is there again once they are through.
    assert_eq!(world.raw(post("body")).await.status, 200);
}

#[tokio::test]
async fn two_that_look_at_a_body_are_told_of_the_same() {
    let (first, second) = (Service::start().await, Service::start().await);
    let global =
        format!("[policies.authorize_by]\nurl = \"{}\"\nmax_body_bytes = 3\nallow_partial = true\n", first.url);
    for (more, beginning) in [("max_body_bytes = 1000", 10), ("max_body_bytes = 2\nallow_partial = true", 2)] {
        let world = World::start(&format!("{global}{}", public(&second.url, more))).await;
        for request in [post("0123456789"), chunked(&["01", "23", "456789"])] {
            assert_eq!(world.raw(&request).await.status, 200);
            assert_eq!(told(&first.only()), (b"012".to_vec(), json!(true)));
            assert_eq!(told(&second.only()), (b"0123456789"[..beginning].to_vec(), json!(beginning < 10)));
            assert_eq!(body(&world.service.only()), "0123456789");
            first.forget();
            second.forget();
            world.service.forget();
        }
        let refused = if beginning == 10 { 413 } else { 200 };
        assert_eq!(world.raw(chunked(&[&text(1_001)])).await.status, refused);
        first.forget();
        second.forget();
    }
}

#[tokio::test]
async fn a_body_that_was_looked_at_goes_to_the_next_address_where_one_is_down() {
    let decides = Service::start().await;
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let service = Service::start().await;
    let two = format!("addresses = [\"{closed}\", \"{}\"]", service.url.trim_start_matches("http://"));
    let text = public(&decides.url, "max_body_bytes = 1000").replacen(
        "url = \"{service}\"",
        &format!("url = \"{{service}}\"\n{two}"),
        1,
    );
    let world = World::start(&text).await;
    for _ in 0..4 {
        assert_eq!(world.raw(post("a body")).await.status, 200);
    }
    let seen = service.seen();
    assert!(seen.len() == 4 && seen.iter().all(|seen| seen.ends_with("\r\n\r\na body")), "{seen:?}");
}

#[tokio::test]
async fn a_service_that_does_not_answer_is_not_waited_for_longer() {
    let decides = Service::start().await;
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let world = World::start(&before(&silent, &public(&decides.url, "max_body_bytes = 1000"))).await;
    let mut stream = TcpStream::connect(world.address).await.unwrap();
    stream.write_all(post("a body").as_bytes()).await.unwrap();
    let _service = heard(&silent, b"a body").await;
    pause();
    let began = Instant::now();
    assert_eq!(answered(&mut stream).await.reason(), (504, "Timeout".to_owned()));
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

#[tokio::test]
async fn proxies_that_keep_the_body_are_given_no_permission() {
    let decides = Service::start().await;
    let world = World::start(&public(&decides.url, "max_body_bytes = 1000\nallow_partial = true")).await;
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let mut listeners = Listeners::new();
    listeners.add(Socket::Tcp(socket), None, Arc::new(Authorizer::new(Arc::clone(&world.gateway))));
    let asked: Answered = {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let fields = "x-forwarded-method: POST\r\nx-forwarded-uri: /\r\nx-forwarded-host: a\r\nx-forwarded-proto: https\r\nx-forwarded-for: 203.0.113.9\r\n";
        stream.write_all(format!("GET /forward-auth HTTP/1.1\r\nhost: a\r\n{fields}\r\n").as_bytes()).await.unwrap();
        answered(&mut stream).await
    };
    assert_eq!((asked.status, asked.check()), (400, "gateway.request".to_owned()));
    assert!(asked.body.contains("through the gateway") && decides.seen().is_empty());
}

#[tokio::test]
async fn what_could_not_be_looked_at_is_not_read() {
    let world = World::start(ORDERS).await;
    for (more, problem) in
        [("max_body_bytes = 16777217", "longer bodies are not held"), ("allow_partial = true", "no part of a body")]
    {
        let error = world.reload(&with("https://waf.internal", more)).unwrap_err();
        assert!(error.problem.contains(problem) && !error.hint.is_empty() && !error.at.is_empty(), "{more}: {error}");
    }
    let stream = with("https://waf.internal", "max_body_bytes = 1") + "    [api.operation.stream]\n";
    assert!(world.reload(&stream).unwrap_err().problem.contains("is a stream"));
    let without = stream.replace(
        "    [api.operation.stream]",
        "    [api.operation.policies]\n    remove = [\"authorize_by\"]\n    [api.operation.stream]",
    );
    world.reload(&without).unwrap();
    let product = "    [[product]]\n    name = \"gold\"\n    apis = [\"orders\"]\n    [product.policies.authorize_by]\n    url = \"https://waf.internal\"\n    max_body_bytes = 1\n";
    let keyed = ORDERS
        .replace("[api.policies.validate_jwt]", "[api.policies.subscription_key]\n    [api.policies.validate_jwt]");
    let stream = format!("{keyed}    [api.operation.stream]\n{product}");
    assert!(world.reload(&stream).unwrap_err().problem.contains("is a stream"));
    world.reload(&stream.replace("    [api.operation.stream]\n", "")).unwrap();
    for (more, words) in [
        ("max_body_bytes = 1000", "allows, with bodies of up to 1000 bytes"),
        ("max_body_bytes = 1000\nallow_partial = true", "allows, with the first 1000 bytes of bodies"),
    ] {
        world.reload(&with("https://waf.internal", more)).unwrap();
        let told = world.gateway.effective_for("x", &http::Method::GET, "/a").unwrap();
        assert!(told.policies.iter().any(|told| told.text.ends_with(words)), "{told:?}");
    }
}
