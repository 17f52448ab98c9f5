//! Server-Sent Events as they come, and G-12: how they end with the token or the session that they were opened with.
use crate::browser::{Browser, NAVIGATES, SIGN_IN, ada};
use crate::streams::{Echo, data, next, open, plain_h2, streamed};
use crate::support::{ISS, NOON, ORDERS, PUBLIC, World, get, later};
use jose::Algorithm;
use serde_json::json;
use std::time::Duration;
use testkit::Issuer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Chunks of Server-Sent Events that come when they are asked for.
async fn events_service() -> (String, mpsc::UnboundedSender<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("url = \"http://{}\"", listener.local_addr().unwrap());
    let (says, mut said) = mpsc::unbounded_channel::<String>();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        tokio::spawn(async move {
            let (mut other, _) = listener.accept().await.unwrap();
            other.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
            std::future::pending::<()>().await;
        });
        let mut some = vec![0; 4_096];
        assert!(stream.read(&mut some).await.unwrap() > 0);
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        while let Some(text) = said.recv().await {
            if stream.write_all(format!("{:x}\r\n{text}\r\n", text.len()).as_bytes()).await.is_err() {
                return;
            }
        }
    });
    (url, says)
}

async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut read = String::new();
    while !read.ends_with(end) {
        let mut some = vec![0; 4_096];
        let length = stream.read(&mut some).await.unwrap();
        assert!(length > 0, "it ended after {read:?}");
        read.push_str(std::str::from_utf8(&some[..length]).unwrap());
    }
    read
}

#[tokio::test]
async fn events_arrive_as_they_are_sent() {
    let (url, says) = events_service().await;
    let world = World::start(&PUBLIC.replacen("url = \"{service}\"", &url, 1)).await;
    let mut stream = TcpStream::connect(world.address).await.unwrap();
    stream.write_all(get("/", &[("accept", "text/event-stream")]).as_bytes()).await.unwrap();
    read_until(&mut stream, "\r\n\r\n").await;
    for event in ["data: 1\n\n", "data: 2\n\n", "data: 3\n\n"] {
        says.send(event.to_owned()).unwrap();
        assert!(read_until(&mut stream, &format!("{event}\r\n")).await.contains(event));
    }
}

/// A stream of events under a token, as far as its head.
async fn events_with_token(stream: &str) -> (World, TcpStream, mpsc::UnboundedSender<String>) {
    let (url, says) = events_service().await;
    let world = World::start(&streamed(ORDERS, &url, stream)).await;
    let bearer = world.bearer(&json!({"exp": NOON.0 + 100}));
    let mut caller = TcpStream::connect(world.address).await.unwrap();
    caller.write_all(get("/", &[("authorization", &bearer)]).as_bytes()).await.unwrap();
    let head = read_until(&mut caller, "\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    says.send("data: 1\n\n".to_owned()).unwrap();
    read_until(&mut caller, "data: 1\n\n\r\n").await;
    (world, caller, says)
}

/// Whether events still arrive.
async fn goes_on(caller: &mut TcpStream, says: &mpsc::UnboundedSender<String>) {
    says.send("data: 2\n\n".to_owned()).unwrap();
    read_until(caller, "data: 2\n\n\r\n").await;
}

#[tokio::test]
async fn g_12_a_stream_of_events_ends_when_its_token_expires_and_its_reader_is_checked_when_it_comes_back() {
    let (world, mut caller, says) = events_with_token("idle_seconds = 3600").await;
    later(&world, 99).await;
    goes_on(&mut caller, &says).await;
    later(&world, 1).await;
    // As if it were whole: the reader asks again.
    assert_eq!(read_until(&mut caller, "0\r\n\r\n").await, "0\r\n\r\n");
}

#[tokio::test]
async fn r_19_readers_of_events_are_sent_back_when_the_gateway_leaves_and_nothing_that_came_is_lost() {
    let (world, mut caller, says) = events_with_token("idle_seconds = 3600").await;
    goes_on(&mut caller, &says).await;
    let mut posts = TcpStream::connect(world.address).await.unwrap();
    let post = get("/", &[("authorization", &world.bearer(&json!({})))]).replacen("GET", "POST", 1);
    posts.write_all(post.as_bytes()).await.unwrap();
    assert!(read_until(&mut posts, "\r\n\r\n").await.starts_with("HTTP/1.1 200"));
    world.gateway.leave();
    assert_eq!(read_until(&mut caller, "0\r\n\r\n").await, "0\r\n\r\n");
    let mut rest = [0; 64];
    assert!(timeout(Duration::from_millis(200), posts.read(&mut rest)).await.is_err(), "it does not come back");
    // What begins now goes on, and what is there goes out.
    let echo = Echo::start().await;
    let world = World::start(&streamed(PUBLIC, &plain_h2(&echo), "trailers = true")).await;
    world.gateway.leave();
    let (feed, response) = open(&world, &[]).await;
    let mut body = response.into_body();
    feed.send(data("one")).unwrap();
    assert_eq!(next(&mut body).await.unwrap(), "one");
    drop(feed);
    assert_eq!(next(&mut body).await.unwrap_err().unwrap()["grpc-status"], "0");
}

#[tokio::test]
async fn g_12_a_grace_lets_a_stream_go_on_for_a_while_and_a_file_can_let_it_go_on_for_ever() {
    let (world, mut caller, says) = events_with_token("idle_seconds = 3600\ngrace_seconds = 30").await;
    later(&world, 129).await;
    goes_on(&mut caller, &says).await;
    later(&world, 1).await;
    assert_eq!(read_until(&mut caller, "0\r\n\r\n").await, "0\r\n\r\n");
    let (world, mut caller, says) = events_with_token("idle_seconds = 7200\nends_with_token = false").await;
    later(&world, 3_600).await;
    goes_on(&mut caller, &says).await;
}

#[tokio::test]
async fn g_12_a_stream_whose_issuer_takes_back_the_key_ends_within_seconds() {
    let (world, mut caller, says) = events_with_token("idle_seconds = 3600").await;
    later(&world, 3).await;
    goes_on(&mut caller, &says).await;
    let other = Issuer::start(world.clock.clone(), Algorithm::RS256).await.unwrap();
    world.issuer.publish(json!({"keys": [other.key().public_jwk()]}).to_string());
    // Another caller's token has the keys fetched anew, since it is signed with one that is not known yet.
    later(&world, 60).await;
    goes_on(&mut caller, &says).await;
    let now = NOON.0 + 63;
    let token = other.token(&json!({
        "iss": ISS, "aud": "api://orders", "sub": "s-bob", "oid": "o-bob", "tid": "t1", "azp": "spa", "scp": "Orders.Read",
        "idtyp": "user", "ver": "2.0", "uti": "u2", "jti": null, "iat": now, "nbf": now, "exp": now + 600,
    }));
    assert_eq!(world.get("/", &[("authorization", &format!("Bearer {token}"))]).await.status, 200);
    later(&world, 2).await;
    assert_eq!(read_until(&mut caller, "0\r\n\r\n").await, "0\r\n\r\n");
}

/// A stream of events of somebody who signed in, as far as its head.
async fn events_with_session(stream: &str) -> (World, Browser, TcpStream, mpsc::UnboundedSender<String>) {
    let (url, says) = events_service().await;
    let world = World::start(&streamed(SIGN_IN, &url, stream)).await;
    let browser = ada(&world).await;
    let all: Vec<String> = browser.jar.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let mut caller = TcpStream::connect(world.address).await.unwrap();
    caller.write_all(get("/", &[("cookie", &all.join("; "))]).as_bytes()).await.unwrap();
    let head = read_until(&mut caller, "\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    (world, browser, caller, says)
}

#[tokio::test]
async fn g_12_a_stream_ends_when_its_person_signs_out_or_the_session_is_over() {
    let (world, mut browser, mut caller, says) = events_with_session("idle_seconds = 3600").await;
    later(&world, 10).await;
    goes_on(&mut caller, &says).await;
    assert_eq!(browser.get(&world, "/.auth/logout", NAVIGATES).await.status, 302);
    later(&world, 2).await;
    assert_eq!(read_until(&mut caller, "0\r\n\r\n").await, "0\r\n\r\n");
    let (world, _, mut caller, says) = events_with_session("idle_seconds = 36000\ngrace_seconds = 30").await;
    later(&world, 8 * 3_600 + 29).await;
    goes_on(&mut caller, &says).await;
    later(&world, 1).await;
    assert_eq!(read_until(&mut caller, "0\r\n\r\n").await, "0\r\n\r\n");
    // Who signs out is gone in that time too, also where nothing could be refreshed any more.
    let (world, mut browser, mut caller, says) =
        events_with_session("idle_seconds = 36000\ngrace_seconds = 3600").await;
    world.reload(&SIGN_IN.replace("redirect_uris", "grace_hours = 0\n    redirect_uris")).unwrap();
    later(&world, 8 * 3_600 + 60).await;
    goes_on(&mut caller, &says).await;
    assert_eq!(browser.get(&world, "/.auth/logout", NAVIGATES).await.status, 302);
    later(&world, 2).await;
    assert_eq!(read_until(&mut caller, "0\r\n\r\n").await, "0\r\n\r\n");
    let (world, mut browser, mut caller, says) = events_with_session("ends_with_token = false").await;
    assert_eq!(browser.get(&world, "/.auth/logout", NAVIGATES).await.status, 302);
    later(&world, 10).await;
    goes_on(&mut caller, &says).await;
}

#[tokio::test]
async fn a_stream_ends_when_both_sides_are_silent_or_it_has_lasted() {
    let (world, mut caller, says) = events_with_token("idle_seconds = 20\nends_with_token = false").await;
    for _ in 0..3 {
        later(&world, 19).await;
        goes_on(&mut caller, &says).await;
    }
    later(&world, 20).await;
    let mut rest = Vec::new();
    assert!(caller.read_to_end(&mut rest).await.is_err() || rest.is_empty(), "it is not whole: {rest:?}");
    let (world, mut caller, says) = events_with_token("longest_seconds = 50\nends_with_token = false").await;
    later(&world, 49).await;
    goes_on(&mut caller, &says).await;
    later(&world, 1).await;
    assert_eq!(read_until(&mut caller, "0\r\n\r\n").await, "0\r\n\r\n");
}
