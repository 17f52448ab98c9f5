//! Services over HTTP/2 that reset streams, refuse them, or end connections, frame by frame: what is sent again, and over what.
use crate::http2::frame;
use crate::support::{Answered, PUBLIC, World};
use bytes::Bytes;
use http::Request;
use http::header::CONTENT_LENGTH;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const INTERNAL_ERROR: u8 = 2;
const REFUSED_STREAM: u8 = 7;
const CANCEL: u8 = 8;
const ENHANCE_YOUR_CALM: u8 = 11;

/// What a service does with a request.
#[derive(Clone, Copy, Debug)]
enum Does {
    Answers,
    /// Resets its stream, for this reason.
    Resets(u8),
    /// The same in the middle of its answer.
    BreaksOff(u8),
    /// The same after all of its answer: the rest of the request is not wanted (RFC 9113 section 8.1).
    WantsNoMore,
    /// Goes on after a head that says there is no body: with this field as its `:status`, a length, and so much more.
    SaysMore(u8, Option<[u8; 4]>, Says),
    /// Says that it did not look at it, and ends the connection.
    SendsAway,
    /// Says that it looks at no more, and ends the connection without an answer.
    Drops,
}

/// What a service says after a head.
#[derive(Clone, Copy, Debug)]
enum Says {
    Nothing,
    /// This body, and that it ends.
    Its(&'static [u8]),
}

/// What a service is to do, and what came to it.
struct State {
    usually: Does,
    next: VecDeque<Does>,
    connections: usize,
    requests: usize,
}

struct Service {
    at: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Service {
    async fn start(usually: Does) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State { usually, next: VecDeque::new(), connections: 0, requests: 0 }));
        let kept = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                kept.lock().unwrap().connections += 1;
                tokio::spawn(converse(stream, Arc::clone(&kept)));
            }
        });
        Self { at, state }
    }

    /// A gateway before it.
    async fn world(&self) -> World {
        let url = format!("url = \"http://{}\"\nhttp = \"2\"", self.at);
        World::start(&PUBLIC.replacen("url = \"{service}\"", &url, 1)).await
    }

    /// What it does with the next requests, before it does what it usually does.
    fn next(&self, what: &[Does]) {
        self.state.lock().unwrap().next.extend(what);
    }

    /// How many connections were made to it, and how many requests it was sent.
    fn counted(&self) -> (usize, usize) {
        let state = self.state.lock().unwrap();
        (state.connections, state.requests)
    }
}

async fn converse(mut stream: TcpStream, state: Arc<Mutex<State>>) {
    let mut preface = [0; 24];
    stream.read_exact(&mut preface).await.unwrap();
    let _ = stream.write_all(&frame(SETTINGS, 0, 0, &[])).await;
    let mut head = [0; 9];
    while stream.read_exact(&mut head).await.is_ok() {
        let [high, middle, low, kind, flags, id @ ..] = head;
        let mut payload = vec![0; usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low)];
        if stream.read_exact(&mut payload).await.is_err() {
            return;
        }
        let id = u32::from_be_bytes(id);
        let (said, ends) = match kind {
            SETTINGS if flags == 0 => (frame(SETTINGS, 1, 0, &[]), false),
            PING if flags == 0 => (frame(PING, 1, 0, &payload), false),
            HEADERS => {
                let mut state = state.lock().unwrap();
                state.requests += 1;
                match state.next.pop_front().unwrap_or(state.usually) {
                    // `:status` of 200, and no body.
                    Does::Answers => (frame(HEADERS, 5, id, &[0x88]), false),
                    Does::Resets(reason) => (frame(RST_STREAM, 0, id, &[0, 0, 0, reason]), false),
                    Does::BreaksOff(reason) => (begun(id, 0, reason), false),
                    Does::WantsNoMore => (begun(id, 1, 0), false),
                    Does::SaysMore(status, length, says) => {
                        let fields = [&[status][..], length.as_ref().map_or(&[], |length| length)].concat();
                        let body = match says {
                            Says::Nothing => vec![],
                            Says::Its(body) => frame(0, 1, id, body),
                        };
                        ([frame(HEADERS, 4, id, &fields), body].concat(), false)
                    }
                    Does::SendsAway => (frame(GOAWAY, 0, 0, &last(id.saturating_sub(2))), true),
                    Does::Drops => (frame(GOAWAY, 0, 0, &last(id)), true),
                }
            }
            _ => continue,
        };
        let _ = stream.write_all(&said).await;
        if ends {
            let _ = stream.shutdown().await;
            // What it does not read could take with it what it said.
            let _ = stream.read_to_end(&mut Vec::new()).await;
            return;
        }
    }
}

/// An answer's head and a byte of its body, with these flags, and the end of its stream.
fn begun(id: u32, flags: u8, reason: u8) -> Vec<u8> {
    [frame(HEADERS, 4, id, &[0x88]), frame(0, flags, id, b"x"), frame(RST_STREAM, 0, id, &[0, 0, 0, reason])].concat()
}

/// `GOAWAY` without an error, after this stream.
fn last(stream: u32) -> Vec<u8> {
    [stream.to_be_bytes(), [0; 4]].concat()
}

async fn ask(world: &World, method: &str, body: &str) -> Answered {
    world.raw(format!("{method} / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len())).await
}

fn unreachable() -> (u16, String) {
    (502, "BackendConnectionFailure".to_owned())
}

#[tokio::test]
async fn a_service_that_resets_streams_is_sent_others_over_the_same_connection() {
    for reason in [INTERNAL_ERROR, REFUSED_STREAM] {
        let service = Service::start(Does::Resets(reason)).await;
        let world = service.world().await;
        for _ in 0..40 {
            assert_eq!(world.get("/", &[]).await.reason(), unreachable());
        }
        assert_eq!(service.counted().0, 1, "{reason}");
    }
}

#[tokio::test]
async fn a_stream_that_the_service_resets_is_an_answer_of_a_kind() {
    for reason in [INTERNAL_ERROR, CANCEL, ENHANCE_YOUR_CALM] {
        for method in ["GET", "DELETE"] {
            let service = Service::start(Does::Answers).await;
            let world = service.world().await;
            assert_eq!(world.get("/", &[]).await.status, 200);
            service.next(&[Does::Resets(reason)]);
            assert_eq!(ask(&world, method, "").await.reason(), unreachable(), "{method} {reason}");
            assert_eq!(service.counted(), (1, 2), "{method} {reason}");
        }
    }
}

#[tokio::test]
async fn what_the_service_did_not_look_at_is_sent_once_more_whatever_it_asks() {
    for (does, connections) in [(Does::Resets(REFUSED_STREAM), 1), (Does::SendsAway, 2)] {
        for method in ["GET", "POST"] {
            let service = Service::start(Does::Answers).await;
            let world = service.world().await;
            service.next(&[does]);
            assert_eq!(ask(&world, method, "").await.status, 200, "{method} {does:?}");
            assert_eq!(service.counted(), (connections, 2), "{method} {does:?}");
            service.next(&[does, does]);
            assert_eq!(ask(&world, method, "").await.reason(), unreachable(), "{method} {does:?}: not a third time");
            assert_eq!(service.counted().1, 4, "{method} {does:?}");
        }
        let service = Service::start(Does::Answers).await;
        let world = service.world().await;
        service.next(&[does]);
        assert_eq!(ask(&world, "POST", "body").await.reason(), unreachable(), "{does:?}: the body is gone");
        assert_eq!(service.counted().1, 1, "{does:?}");
    }
}

#[tokio::test]
async fn what_the_service_may_have_done_before_its_connection_ended_is_sent_again_only_where_it_may_be_repeated() {
    for (method, status, counted) in [("GET", 200, (2, 3)), ("DELETE", 200, (2, 3)), ("POST", 502, (1, 2))] {
        let service = Service::start(Does::Answers).await;
        let world = service.world().await;
        assert_eq!(world.get("/", &[]).await.status, 200);
        service.next(&[Does::Drops]);
        assert_eq!(ask(&world, method, "").await.status, status, "{method}");
        assert_eq!(service.counted(), counted, "{method}");
    }
}

#[tokio::test]
async fn g_17_an_answer_is_whole_where_the_service_says_so_and_not_where_its_stream_ends() {
    for (does, whole) in
        [(Does::BreaksOff(0), false), (Does::BreaksOff(INTERNAL_ERROR), false), (Does::WantsNoMore, true)]
    {
        let service = Service::start(does).await;
        let world = service.world().await;
        for _ in 0..10 {
            let answer = world.get("/", &[]).await;
            if answer.status == 200 {
                assert_eq!(answer.body.ends_with("0\r\n\r\n") || answer.body == "x", whole, "{does:?}: {answer:?}");
            }
        }
        assert!(world.lines().iter().all(|line| line["whole"] == whole || line["status"] == 502), "{does:?}");
    }
}

/// The status, the length that is said, and the body.
pub(crate) async fn over_http_2(world: &World, method: &str) -> (u16, Option<String>, Bytes) {
    let request = Request::builder().method(method).uri(format!("http://{}/", world.address));
    let request = request.body(Empty::<Bytes>::new()).unwrap();
    let stream = TokioIo::new(TcpStream::connect(world.address).await.unwrap());
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    tokio::spawn(connection);
    let response = sender.send_request(request).await.unwrap();
    let length = response.headers().get(CONTENT_LENGTH).map(|length| length.to_str().unwrap().to_owned());
    (response.status().as_u16(), length, response.into_body().collect().await.unwrap().to_bytes())
}

#[tokio::test]
async fn g_17_no_body_follows_a_head_that_says_there_is_none() {
    // `:status` by its index, and `content-length: 5`.
    let length = [0x0f, 0x0d, 1, b'5'];
    let (ok, no_content, not_modified) = (0x88, 0x89, 0x8b);
    for (method, field, status) in [("GET", no_content, 204), ("GET", not_modified, 304), ("HEAD", ok, 200)] {
        for more in [&[][..], &length] {
            for says in [Says::Nothing, Says::Its(b""), Says::Its(b"HTTP/1.1 200 OK")] {
                let service = Service::start(Does::SaysMore(field, more.try_into().ok(), says)).await;
                let world = service.world().await;
                let told = (status != 204 && !more.is_empty()).then(|| "5".to_owned());
                let answer = timeout(Duration::from_secs(5), over_http_2(&world, method)).await.unwrap();
                assert_eq!(answer, (status, told, Bytes::new()), "{method} {status} {more:?} {says:?}");
                let answer = world.raw(format!("{method} / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")).await;
                assert_eq!((answer.status, answer.body.as_str()), (status, ""), "{method} {status}");
                assert!(world.lines().iter().all(|line| line["whole"] == true), "{method} {status}");
            }
        }
    }
}
