//! Requests that are passed on: what goes out, what comes back, and what silence does.
#![expect(clippy::unwrap_used, reason = "a test may stop")]
use bytes::Bytes;
use deputize_fetch::{Allow, Fetch, FetchError, Passed, Passing};
use http::{HeaderMap, Method, Response};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Body, Frame};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

const PATIENCE: Duration = Duration::from_mins(1);
/// Nearly as long.
const PAUSE: Duration = Duration::from_secs(59);

/// A body whose pieces come when they come.
struct Pieces(mpsc::Receiver<io::Result<Frame<Bytes>>>);

impl Body for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.0.poll_recv(context)
    }
}

fn pieces() -> (mpsc::Sender<io::Result<Frame<Bytes>>>, Passing) {
    let (sender, pieces) = mpsc::channel(1);
    (sender, Passing::new(Pieces(pieces).map_err(Into::into)))
}

fn data(text: &'static str) -> Frame<Bytes> {
    Frame::data(Bytes::from_static(text.as_bytes()))
}

fn nothing() -> Passing {
    Passing::new(Empty::new().map_err(|never| match never {}))
}

/// Reads until the other side has said so much, or has ended; what was read.
async fn heard(socket: &mut TcpStream, until: &str) -> String {
    let mut all = Vec::new();
    let mut some = [0; 4_096];
    while !String::from_utf8_lossy(&all).contains(until) {
        match socket.read(&mut some).await {
            Ok(length) if length > 0 => all.extend_from_slice(some.get(..length).unwrap()),
            _ => break,
        }
    }
    String::from_utf8(all).unwrap()
}

/// A server that does this with its one connection.
async fn server<S, F>(serve: S) -> (String, JoinHandle<F::Output>)
where
    S: FnOnce(TcpStream) -> F + Send + 'static,
    F: Future<Output: Send + 'static> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/a", listener.local_addr().unwrap());
    let serving = async move {
        let (socket, _) = listener.accept().await.unwrap();
        serve(socket).await
    };
    (url, tokio::spawn(serving))
}

async fn passed(url: &str, body: Passing) -> Result<Response<Passed>, FetchError> {
    let allow = Allow { plain_loopback: true, loopback: true, ..Allow::default() };
    let fetch = Fetch::builder().allow(allow).build().unwrap();
    fetch.pass(Method::POST, url, HeaderMap::new(), body, PATIENCE).await
}

#[tokio::test(start_paused = true)]
async fn a_request_that_takes_long_is_waited_for_as_long_as_it_moves() {
    let (url, served) = server(|mut socket| async move {
        let all = heard(&mut socket, "0\r\n\r\n").await;
        socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
        all
    })
    .await;
    let (sender, body) = pieces();
    tokio::spawn(async move {
        for _ in 0..5 {
            sleep(PAUSE).await;
            sender.send(Ok(data("piece"))).await.unwrap();
        }
    });
    let answer = passed(&url, body).await.unwrap();
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "ok");
    assert_eq!(served.await.unwrap().matches("piece").count(), 5);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_waits_for_the_rest_of_the_request_is_waited_for_too() {
    let (url, _served) = server(|mut socket| async move {
        heard(&mut socket, "\r\n\r\n").await;
        socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n").await.unwrap();
        heard(&mut socket, "0\r\n\r\n").await;
        socket.write_all(b"ok").await.unwrap();
    })
    .await;
    let (sender, body) = pieces();
    tokio::spawn(async move {
        for _ in 0..5 {
            sender.send(Ok(data("piece"))).await.unwrap();
            sleep(PAUSE).await;
        }
    });
    let answer = passed(&url, body).await.unwrap();
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "ok");
}

#[tokio::test(start_paused = true)]
async fn silence_ends_it_before_the_head_and_after() {
    let (url, _served) = server(|mut socket| async move {
        heard(&mut socket, "nothing comes").await;
    })
    .await;
    let (_sender, body) = pieces();
    let began = Instant::now();
    assert!(matches!(passed(&url, body).await, Err(FetchError::Timeout(_))), "neither side says anything");
    assert!((PATIENCE..PATIENCE * 2).contains(&began.elapsed()), "{:?}", began.elapsed());

    let (url, _served) = server(|mut socket| async move {
        heard(&mut socket, "\r\n\r\n").await;
        socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf").await.unwrap();
        heard(&mut socket, "nothing comes").await;
    })
    .await;
    let mut answer = passed(&url, nothing()).await.unwrap().into_body();
    assert_eq!(answer.frame().await.unwrap().unwrap().into_data().unwrap(), "half");
    let began = Instant::now();
    assert!(matches!(answer.frame().await, Some(Err(FetchError::Timeout(_)))));
    assert!((PATIENCE..PATIENCE * 2).contains(&began.elapsed()), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_request_that_breaks_off_is_never_whole_on_the_other_side() {
    let (url, served) = server(|mut socket| async move { heard(&mut socket, "0\r\n\r\n").await }).await;
    let (sender, body) = pieces();
    tokio::spawn(async move {
        sender.send(Ok(data("half"))).await.unwrap();
        sender.send(Err(io::ErrorKind::ConnectionReset.into())).await.unwrap();
    });
    assert!(passed(&url, body).await.is_err());
    let seen = served.await.unwrap();
    assert!(seen.contains("transfer-encoding: chunked") && !seen.ends_with("0\r\n\r\n"), "{seen}");
}

#[tokio::test]
async fn what_was_not_in_the_head_is_no_header_of_the_request() {
    let (url, served) = server(|mut socket| async move {
        let all = heard(&mut socket, "0\r\n").await;
        socket
            .write_all(b"HTTP/1.1 302 Found\r\nlocation: https://elsewhere.example/\r\ncontent-length: 0\r\n\r\n")
            .await
            .unwrap();
        all
    })
    .await;
    let (sender, body) = pieces();
    tokio::spawn(async move {
        sender.send(Ok(data("all"))).await.unwrap();
        let trailers = HeaderMap::from_iter([("x-user".parse().unwrap(), "ada".parse().unwrap())]);
        sender.send(Ok(Frame::trailers(trailers))).await.unwrap();
    });
    let mut headers = HeaderMap::new();
    headers.insert("trailer", "x-user".parse().unwrap());
    let allow = Allow { plain_loopback: true, loopback: true, ..Allow::default() };
    let fetch = Fetch::builder().allow(allow).build().unwrap();
    let answer = fetch.pass(Method::POST, &url, headers, body, PATIENCE).await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["location"]),
        (302, &"https://elsewhere.example/".parse().unwrap())
    );
    let seen = served.await.unwrap();
    assert!(!seen.contains("x-user: ada"), "{seen}");
}
