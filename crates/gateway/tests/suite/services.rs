//! Services of several addresses, that refuse, die, hang and come back: who is asked, what is sent again, and what callers are told.
use crate::support::{Answered, PUBLIC, World, answered, get, whole};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{advance, pause, resume};

/// What an address does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Does {
    Answers,
    /// Answers so, with no body.
    Says(u16),
    /// Reads it, and closes.
    BreaksOff,
    /// Answers the first one of a connection, and closes when the next one comes.
    BreaksOffLater,
    /// Answers the first one of a connection, and the next one with what is no answer.
    MumblesLater,
    /// Answers the first one of a connection, and closes at once without having said so.
    Closes,
    /// Reads it, and is silent.
    Hangs,
}

/// An address of a service.
struct Address {
    at: SocketAddr,
    does: watch::Sender<Does>,
    /// The request lines that it was sent.
    asked: Arc<Mutex<Vec<String>>>,
    /// How many connections were made to it, and how many requests it was sent.
    counted: watch::Sender<(usize, usize)>,
    running: Option<JoinSet<()>>,
}

impl Address {
    async fn start(does: Does) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let mut made = Self {
            at,
            does: watch::Sender::new(does),
            asked: Arc::default(),
            counted: watch::Sender::new((0, 0)),
            running: None,
        };
        made.run(listener);
        made
    }

    fn run(&mut self, listener: TcpListener) {
        let (does, asked, counted) = (self.does.clone(), Arc::clone(&self.asked), self.counted.clone());
        let mut running = JoinSet::new();
        running.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                counted.send_modify(|(connections, _)| *connections += 1);
                connections.spawn(converse(stream, does.clone(), Arc::clone(&asked), counted.clone()));
            }
        });
        self.running = Some(running);
    }

    /// From now on nobody listens there, and nobody answers.
    async fn dies(&mut self) {
        if let Some(mut running) = self.running.take() {
            running.shutdown().await;
        }
    }

    async fn comes_back(&mut self) {
        self.run(TcpListener::bind(self.at).await.unwrap());
    }

    fn does(&self, what: Does) {
        self.does.send_replace(what);
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    fn connections(&self) -> usize {
        self.counted.borrow().0
    }

    /// Waits until it was sent so many requests.
    async fn was_asked(&self, requests: usize) {
        self.counted.subscribe().wait_for(|(_, asked)| *asked >= requests).await.unwrap();
    }
}

async fn converse(
    mut stream: TcpStream,
    does: watch::Sender<Does>,
    asked: Arc<Mutex<Vec<String>>>,
    counted: watch::Sender<(usize, usize)>,
) {
    let mut read = Vec::new();
    for turn in 0.. {
        while whole(&read).is_none() {
            let mut some = vec![0; 4_096];
            match stream.read(&mut some).await {
                Ok(length) if length > 0 => read.extend_from_slice(&some[..length]),
                _ => return,
            }
        }
        let line = String::from_utf8_lossy(&read).lines().next().unwrap().to_owned();
        asked.lock().unwrap().push(line);
        counted.send_modify(|(_, asked)| *asked += 1);
        read.clear();
        let what = *does.borrow();
        let status = match what {
            Does::Says(status) => status,
            Does::BreaksOff => return,
            Does::BreaksOffLater if turn > 0 => return,
            Does::MumblesLater if turn > 0 => {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nX Y: 1\r\ncontent-length: 4\r\n\r\ngood").await;
                return;
            }
            Does::Hangs => return std::future::pending().await,
            Does::Answers | Does::BreaksOffLater | Does::MumblesLater | Does::Closes => 200,
        };
        let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: 4\r\n\r\ngood");
        if stream.write_all(answer.as_bytes()).await.is_err() || what == Does::Closes {
            return;
        }
    }
}

/// The API of [`PUBLIC`] before a service of these addresses, with more about it.
fn configuration(addresses: &[&Address], more: &str) -> String {
    let listed: Vec<String> = addresses.iter().map(|address| format!("\"{}\"", address.at)).collect();
    let service = format!("url = \"http://orders.internal\"\naddresses = [{}]\n{more}", listed.join(", "));
    PUBLIC.replacen("url = \"{service}\"", &service, 1)
}

async fn before(addresses: &[&Address], more: &str) -> World {
    World::start(&configuration(addresses, more)).await
}

async fn post(world: &World, method: &str, body: &str) -> Answered {
    world.raw(format!("{method} / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len())).await
}

fn unreachable() -> (u16, String) {
    (502, "BackendConnectionFailure".to_owned())
}

fn unavailable() -> (u16, String) {
    (503, "BackendUnavailable".to_owned())
}

/// Lets time pass, and nothing else.
async fn later(seconds: u64) {
    pause();
    advance(Duration::from_secs(seconds)).await;
    resume();
}

#[tokio::test]
async fn addresses_are_asked_in_turn_and_the_busy_one_is_passed_over() {
    let (a, b, c) =
        (Address::start(Does::Answers).await, Address::start(Does::Answers).await, Address::start(Does::Answers).await);
    let world = before(&[&a, &b, &c], "").await;
    for _ in 0..9 {
        assert_eq!(world.get("/", &[]).await.status, 200);
    }
    assert_eq!([a.asked().len(), b.asked().len(), c.asked().len()], [3, 3, 3]);
    assert_eq!([a.connections(), b.connections(), c.connections()], [1, 1, 1], "connections are kept");
    b.does(Does::Hangs);
    let mut waiting = Vec::new();
    while b.asked().len() == 3 {
        let mut stream = TcpStream::connect(world.address).await.unwrap();
        stream.write_all(get("/", &[]).as_bytes()).await.unwrap();
        waiting.push(stream);
        let asked = a.asked().len() + b.asked().len() + c.asked().len();
        while a.asked().len() + b.asked().len() + c.asked().len() == asked {
            tokio::task::yield_now().await;
        }
    }
    for _ in 0..6 {
        assert_eq!(world.get("/", &[]).await.status, 200);
    }
    assert_eq!(b.asked().len(), 4, "it has a request under way, and the others have none");
}

#[tokio::test]
async fn an_address_that_refuses_is_passed_over_whatever_is_asked_since_nothing_was_sent() {
    let (mut a, b) = (Address::start(Does::Answers).await, Address::start(Does::Answers).await);
    let world = before(&[&a, &b], "").await;
    a.dies().await;
    for _ in 0..10 {
        assert_eq!(world.get("/", &[]).await.status, 200);
        assert_eq!(post(&world, "POST", "body").await.status, 200);
    }
    assert_eq!((a.asked().len(), b.asked().len()), (0, 20), "each was sent once");
}

#[tokio::test]
async fn a_connection_that_the_service_closed_meanwhile_costs_no_request() {
    let a = Address::start(Does::Closes).await;
    let world = before(&[&a], "").await;
    for n in 1..20 {
        assert_eq!(post(&world, "POST", "body").await.status, 200);
        assert_eq!(a.asked().len(), n);
    }
}

#[tokio::test]
async fn what_a_kept_connection_swallowed_is_sent_again_only_where_it_may_be_repeated() {
    for (method, body, answered) in [
        ("GET", "", 200),
        ("DELETE", "", 200),
        ("PUT", "", 200),
        ("POST", "", 502),
        ("PATCH", "", 502),
        ("PUT", "body", 502),
        ("POST", "body", 502),
    ] {
        let a = Address::start(Does::BreaksOffLater).await;
        let world = before(&[&a], "").await;
        assert_eq!(world.get("/", &[]).await.status, 200);
        let answer = if body.is_empty() && method != "POST" && method != "PATCH" {
            world.raw(format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n")).await
        } else {
            post(&world, method, body).await
        };
        assert_eq!(answer.status, answered, "{method} {body}: {answer:?}");
        let expected = if answered == 200 { 3 } else { 2 };
        assert_eq!(a.asked().len(), expected, "{method} {body}: {:?}", a.asked());
    }
}

#[tokio::test]
async fn what_was_answered_badly_is_not_sent_again() {
    for method in ["GET", "DELETE", "PUT"] {
        let a = Address::start(Does::MumblesLater).await;
        let world = before(&[&a], "").await;
        assert_eq!(world.get("/", &[]).await.status, 200);
        let answer = world.raw(format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        assert_eq!((answer.reason(), a.asked().len()), (unreachable(), 2), "{method}: {:?}", a.asked());
    }
}

#[tokio::test]
async fn a_request_that_brings_an_address_down_does_not_go_on_to_the_next() {
    let (a, b) = (Address::start(Does::BreaksOff).await, Address::start(Does::BreaksOff).await);
    let world = before(&[&a, &b], "").await;
    assert_eq!(world.get("/", &[]).await.reason(), unreachable());
    assert_eq!(a.asked().len() + b.asked().len(), 1);
}

#[tokio::test]
async fn a_service_that_is_down_is_said_to_be_unreachable_then_unavailable_and_comes_back() {
    let mut a = Address::start(Does::Answers).await;
    let world = before(&[&a], "circuit = { failures = 3, trip_seconds = 20 }").await;
    assert_eq!(world.get("/", &[]).await.status, 200);
    a.dies().await;
    for _ in 0..3 {
        assert_eq!(world.get("/", &[]).await.reason(), unreachable());
    }
    let refused = world.get("/", &[]).await;
    assert_eq!((refused.reason(), refused.check()), (unavailable(), "upstream.available".to_owned()));
    let after: u64 = refused.field("retry-after")[0].parse().unwrap();
    assert!((1..=20).contains(&after), "{after}");
    a.comes_back().await;
    let connections = a.connections();
    assert_eq!(world.get("/", &[]).await.reason(), unavailable(), "not before its time");
    assert_eq!(a.connections(), connections, "nobody connects");
    later(20).await;
    assert_eq!(world.get("/", &[]).await.status, 200);
    assert_eq!(world.get("/", &[]).await.status, 200);
    // And down again: it takes as many failures as before.
    a.dies().await;
    for _ in 0..3 {
        assert_eq!(world.get("/", &[]).await.reason(), unreachable());
    }
    later(20).await;
    assert_eq!(world.get("/", &[]).await.reason(), unreachable(), "one request tries it");
    assert_eq!(world.get("/", &[]).await.reason(), unavailable(), "and the next one does not");
}

#[tokio::test]
async fn requests_that_come_to_nothing_do_not_take_a_service_of_one_address_from_others() {
    let a = Address::start(Does::BreaksOff).await;
    let world = before(&[&a], "circuit = { failures = 2, trip_seconds = 60 }").await;
    for _ in 0..5 {
        assert_eq!(world.get("/", &[]).await.reason(), unreachable());
    }
    a.does(Does::Answers);
    assert_eq!(world.get("/", &[]).await.status, 200);
}

#[tokio::test]
async fn an_address_that_hangs_is_left_out_and_tried_again_later() {
    let (a, b) = (Address::start(Does::Hangs).await, Address::start(Does::Answers).await);
    let world = before(&[&a, &b], "answer_seconds = 3\ncircuit = { failures = 2, trip_seconds = 60 }").await;
    for hung in 1..=2 {
        while a.asked().len() < hung {
            let mut stream = TcpStream::connect(world.address).await.unwrap();
            stream.write_all(get("/", &[]).as_bytes()).await.unwrap();
            tokio::select! {
                () = a.was_asked(hung) => {
                    pause();
                    assert_eq!(answered(&mut stream).await.reason(), (504, "Timeout".to_owned()));
                    resume();
                }
                answer = answered(&mut stream) => assert_eq!(answer.status, 200),
            }
        }
    }
    let well = b.asked().len();
    for n in 1..=10 {
        assert_eq!(world.get("/", &[]).await.status, 200);
        assert_eq!((a.asked().len(), b.asked().len()), (2, well + n));
    }
    a.does(Does::Answers);
    later(60).await;
    for _ in 0..4 {
        assert_eq!(world.get("/", &[]).await.status, 200);
    }
    assert!(a.asked().len() >= 3, "{:?}", a.asked());
}

#[tokio::test]
async fn answers_count_as_failures_where_the_file_says_so() {
    let (a, b) = (Address::start(Does::Says(503)).await, Address::start(Does::Answers).await);
    let world = before(&[&a, &b], "circuit = { failures = 2, trip_seconds = 60, statuses = [503] }").await;
    let statuses = async |world: &World| {
        let mut all = Vec::new();
        for _ in 0..12 {
            all.push(world.get("/", &[]).await.status);
        }
        all.iter().filter(|status| **status == 503).count()
    };
    assert_eq!((statuses(&world).await, a.asked().len()), (2, 2));
    let world = before(&[&a, &b], "").await;
    assert_eq!(statuses(&world).await, 6, "otherwise an answer is an answer");
}

#[tokio::test]
async fn what_probes_find_down_is_not_asked_until_they_find_it_up() {
    let (a, b) = (Address::start(Does::Says(500)).await, Address::start(Does::Answers).await);
    let probe = "probe = { path = \"/health?deep=1\", interval_seconds = 5, healthy = 2, unhealthy = 2 }";
    let world = before(&[&a, &b], probe).await;
    a.was_asked(1).await;
    // Time stands still until something is waited for, and then it is there.
    pause();
    a.was_asked(3).await;
    resume();
    assert!(a.asked().iter().all(|line| line == "GET /health?deep=1 HTTP/1.1"), "{:?}", a.asked());
    for _ in 0..4 {
        assert_eq!(world.get("/", &[]).await.status, 200);
    }
    assert!(!a.asked().iter().any(|line| line == "GET / HTTP/1.1"), "{:?}", a.asked());
    a.does(Does::Answers);
    let probes = a.asked().len();
    pause();
    a.was_asked(probes + 3).await;
    resume();
    for _ in 0..4 {
        assert_eq!(world.get("/", &[]).await.status, 200);
    }
    assert!(a.asked().iter().any(|line| line == "GET / HTTP/1.1"), "{:?}", a.asked());
}

#[tokio::test]
async fn a_service_that_probes_find_down_is_unavailable() {
    let mut a = Address::start(Does::Answers).await;
    a.dies().await;
    let probe = "probe = { path = \"/health\", interval_seconds = 7, unhealthy = 1 }";
    let world = before(&[&a], probe).await;
    let mut answer = world.get("/", &[]).await;
    while answer.reason() == unreachable() {
        answer = world.get("/", &[]).await;
    }
    assert_eq!((answer.reason(), answer.field("retry-after")), (unavailable(), vec!["7"]));
}

#[tokio::test]
async fn g_19_a_reload_keeps_the_connections_of_a_service_that_it_says_nothing_new_about() {
    let mut a = Address::start(Does::Answers).await;
    let more = "circuit = { failures = 1, trip_seconds = 600 }";
    let world = before(&[&a], more).await;
    assert_eq!(world.get("/", &[]).await.status, 200);
    // Where it stands in the file is nothing new.
    world.reload(&format!("trusted_proxies = [\"10.0.0.0/8\"]\n{}", configuration(&[&a], more))).unwrap();
    assert_eq!(world.get("/", &[]).await.status, 200);
    assert_eq!(a.connections(), 1);
    world.reload(&configuration(&[&a], "circuit = { failures = 1, trip_seconds = 601 }")).unwrap();
    assert_eq!(world.get("/", &[]).await.status, 200);
    assert_eq!(a.connections(), 2);
    a.dies().await;
    while world.get("/", &[]).await.reason() == unreachable() {}
    world.reload(&configuration(&[&a], "circuit = { failures = 1, trip_seconds = 601 }")).unwrap();
    assert_eq!(world.get("/", &[]).await.reason(), unavailable(), "what is known of its health stays too");
}
