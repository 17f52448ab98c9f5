//! Calls that go through piece by piece, and end where either side ends.
use crate::facades::{Estate, Pieces};
use crate::support::fetch;
use bytes::Bytes;
use fetch::{Passed, Passing};
use http::{HeaderMap, Method, Response};
use http_body_util::{BodyExt, Full};
use serde_json::json;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// No test waits so long, unless it fails.
const LONGEST: Duration = Duration::from_secs(20);

async fn call(estate: &Estate, method: Method, path: &str, body: Passing) -> Response<Passed> {
    let mut headers = HeaderMap::new();
    headers.insert("authorization", format!("Bearer {}", estate.user(&json!({}))).parse().unwrap());
    let url = format!("{}/call/Billing/{path}", estate.native);
    fetch().pass(method, &url, headers, body, LONGEST).await.unwrap()
}

fn whole(bytes: impl Into<Bytes>) -> Passing {
    Passing::new(Full::new(bytes.into()).map_err(|never| match never {}))
}

fn pieces() -> (mpsc::Sender<Bytes>, Passing) {
    let (sender, waiting) = mpsc::channel(1);
    (sender, Passing::new(Pieces(waiting).map_err(|never| match never {})))
}

async fn next(body: &mut Passed) -> Option<Bytes> {
    body.frame().await.map(|frame| frame.unwrap().into_data().unwrap())
}

#[tokio::test]
async fn bodies_stream_in_both_directions() {
    let estate = Estate::new().await;
    let (sender, body) = pieces();
    sender.send(Bytes::from("first")).await.unwrap();
    let answer = call(&estate, Method::POST, "echo", body).await;
    assert_eq!(answer.status(), 200);
    let mut answer = answer.into_body();
    // The answer's first piece is here before the request's second was sent.
    assert_eq!(next(&mut answer).await.unwrap(), "first");
    sender.send(Bytes::from("second")).await.unwrap();
    assert_eq!(next(&mut answer).await.unwrap(), "second");
    drop(sender);
    assert!(next(&mut answer).await.is_none());
}

#[tokio::test]
async fn a_large_upload_goes_through_whether_its_length_is_told_or_not() {
    const PIECE: usize = 256 << 10;
    let estate = Estate::new().await;
    let told = estate.api.swallowed();
    assert_eq!(call(&estate, Method::PUT, "swallow", whole(vec![b'a'; 64 * PIECE])).await.status(), 200);
    assert_eq!(told.await.unwrap(), Some(64 * PIECE));
    assert_eq!(estate.api.seen()[0].headers["content-length"], (64 * PIECE).to_string());

    let (told, (sender, body)) = (estate.api.swallowed(), pieces());
    tokio::spawn(async move {
        for _ in 0..64 {
            sender.send(Bytes::from(vec![b'b'; PIECE])).await.unwrap();
        }
    });
    assert_eq!(call(&estate, Method::POST, "swallow", body).await.status(), 200);
    assert_eq!(told.await.unwrap(), Some(64 * PIECE));
    assert_eq!(estate.api.seen()[1].headers["transfer-encoding"], "chunked");
}

#[tokio::test]
async fn events_arrive_one_by_one_and_end_at_the_api_when_the_caller_goes() {
    let estate = Estate::new().await;
    let answer = call(&estate, Method::GET, "events", whole("")).await;
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    let (events, mut answer) = (estate.api.events(), answer.into_body());
    for text in ["data: 1\n\n", "data: 2\n\n"] {
        events.send(Bytes::from(text)).await.unwrap();
        assert_eq!(next(&mut answer).await.unwrap(), text);
    }
    drop(answer);
    timeout(LONGEST, events.closed()).await.unwrap();
}

#[tokio::test]
async fn an_upload_that_the_caller_breaks_off_is_never_whole_at_the_api() {
    let estate = Estate::new().await;
    let user = estate.user(&json!({}));
    let address = estate.native.strip_prefix("http://").unwrap();
    for length in ["content-length: 1000000", "transfer-encoding: chunked"] {
        let told = estate.api.swallowed();
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let head = format!(
            "POST /call/Billing/swallow HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {user}\r\n{length}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(b"4\r\nhalf\r\n").await.unwrap();
        drop(stream);
        assert_eq!(timeout(LONGEST, told).await.unwrap().unwrap(), None, "{length}");
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_never_whole_for_the_caller() {
    const HALVES: [&str; 2] = ["content-length: 9\r\n\r\nhalf", "transfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n"];
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let estate = Estate::with("", &[("DownstreamApis__Billing__BaseUrl", &url)]).await;
    tokio::spawn(async move {
        for half in HALVES {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut request = [0; 8_192];
            assert!(socket.read(&mut request).await.unwrap() > 0);
            socket.write_all(format!("HTTP/1.1 200 OK\r\n{half}").as_bytes()).await.unwrap();
        }
    });
    for half in HALVES {
        let answer = call(&estate, Method::GET, "x", whole("")).await;
        assert_eq!(answer.status(), 200);
        assert!(answer.into_body().collect().await.is_err(), "{half}");
    }
}

#[tokio::test]
async fn an_answer_that_goes_on_when_the_process_ends_does_not_look_whole() {
    let estate = Estate::new().await;
    let mut answer = call(&estate, Method::GET, "events", whole("")).await.into_body();
    let events = estate.api.events();
    events.send(Bytes::from("first")).await.unwrap();
    assert_eq!(next(&mut answer).await.unwrap(), "first");
    let Estate { listeners, api: _api, .. } = estate;
    listeners.end(Duration::from_millis(10)).await;
    assert!(answer.frame().await.is_some_and(|frame| frame.is_err()), "it is cut off");
}

#[tokio::test]
async fn an_api_that_goes_over_to_another_protocol_is_no_answer() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let estate = Estate::with("", &[("DownstreamApis__Billing__BaseUrl", &url)]).await;
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut request = [0; 8_192];
        let length = socket.read(&mut request).await.unwrap();
        assert!(!String::from_utf8_lossy(&request[..length]).contains("upgrade"));
        let answer = "HTTP/1.1 101 Switching Protocols\r\nupgrade: other\r\nconnection: upgrade\r\n\r\n";
        socket.write_all(answer.as_bytes()).await.unwrap();
        // It stays, as one that has gone over would.
        let _ = socket.read(&mut request).await;
    });
    assert_eq!(call(&estate, Method::GET, "x", whole("")).await.status(), 502);
}
