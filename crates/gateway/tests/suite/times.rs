//! G-14 and the failure table: callers that send slowly, services that do not answer, and services that have no room. The time is
//! given: it stands still until something is waited for, and then it is there.
use crate::support::{PUBLIC, World, answered, get};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{Instant, pause};

/// A service that reads, and answers once it is told to.
struct Silent {
    url: String,
    /// How many bytes it was sent, on all connections.
    heard: watch::Receiver<usize>,
    answer: watch::Sender<bool>,
}

impl Silent {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (hears, heard) = watch::channel(0);
        let (answer, told) = watch::channel(false);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (hears, mut told) = (hears.clone(), told.clone());
                tokio::spawn(async move {
                    let mut some = vec![0; 16 << 10];
                    loop {
                        tokio::select! {
                            read = stream.read(&mut some) => match read {
                                Ok(length) if length > 0 => hears.send_modify(|bytes| *bytes += length),
                                _ => return,
                            },
                            _ = told.wait_for(|answer| *answer) => break,
                        }
                    }
                    let _ =
                        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await;
                });
            }
        });
        Self { url, heard, answer }
    }

    /// Waits until it was sent so many bytes.
    async fn heard(&mut self, bytes: usize) {
        self.heard.wait_for(|heard| *heard >= bytes).await.unwrap();
    }
}

/// The API of [`PUBLIC`] before this service, with more about it.
async fn before(service: &Silent, more: &str) -> World {
    World::start(&PUBLIC.replacen("url = \"{service}\"", &format!("url = \"{}\"\n{more}", service.url), 1)).await
}

/// Begins a request with a body of this length, and waits until the gateway asks for it.
async fn begun(world: &World, length: usize) -> TcpStream {
    let mut stream = TcpStream::connect(world.address).await.unwrap();
    let head = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\nExpect: 100-continue\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    assert_eq!(answered(&mut stream).await.status, 100);
    stream
}

fn too_slow() -> (u16, String) {
    (408, "ClientConnectionFailure".to_owned())
}

#[tokio::test]
async fn g_14_a_body_that_stops_is_the_callers_fault_and_not_the_services() {
    for sent in ["", "0123456789"] {
        let mut service = Silent::start().await;
        // Less than a body may take: the service could not answer yet.
        let world = before(&service, "answer_seconds = 5").await;
        let mut stream = begun(&world, 1_000).await;
        stream.write_all(sent.as_bytes()).await.unwrap();
        service.heard(sent.len() + 1).await;
        pause();
        let began = Instant::now();
        let answer = answered(&mut stream).await;
        assert_eq!((answer.reason(), answer.check()), (too_slow(), "gateway.body_timely".to_owned()), "{sent:?}");
        assert!(began.elapsed() >= Duration::from_secs(29), "{:?}", began.elapsed());
        assert!(answer.closed, "what is left of the body would be read as a request: {answer:?}");
        tokio::time::resume();
        assert_eq!(world.lines()[0]["check"], "gateway.body_timely");
    }
}

#[tokio::test]
async fn g_14_a_body_has_a_second_more_for_each_500_bytes() {
    let mut service = Silent::start().await;
    let world = before(&service, "answer_seconds = 5").await;
    let mut stream = begun(&world, 20_000).await;
    stream.write_all(&[b'x'; 10_000]).await.unwrap();
    service.heard(10_000).await;
    pause();
    let began = Instant::now();
    assert_eq!(answered(&mut stream).await.reason(), too_slow());
    assert!(began.elapsed() >= Duration::from_secs(49), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_service_that_does_not_answer_in_time_is_a_gateway_timeout() {
    for request in [get("/", &[]), "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody".to_owned()] {
        let mut service = Silent::start().await;
        let world = before(&service, "answer_seconds = 7").await;
        let mut stream = TcpStream::connect(world.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        service.heard(1).await;
        pause();
        let began = Instant::now();
        let answer = answered(&mut stream).await;
        assert_eq!(
            (answer.reason(), answer.check()),
            ((504, "Timeout".to_owned()), "upstream.timely".to_owned()),
            "{request}"
        );
        assert!(began.elapsed() >= Duration::from_secs(6), "{:?}", began.elapsed());
        tokio::time::resume();
        assert_eq!(world.lines()[0]["check"], "upstream.timely");
    }
}

#[tokio::test]
async fn a_service_with_no_room_is_unavailable_and_the_next_one_has_its_slot() {
    let mut service = Silent::start().await;
    let world = before(&service, "max_requests = 1").await;
    let mut first = TcpStream::connect(world.address).await.unwrap();
    first.write_all(get("/", &[]).as_bytes()).await.unwrap();
    service.heard(1).await;
    for _ in 0..3 {
        let refused = world.get("/", &[]).await;
        assert_eq!(refused.reason(), (503, "BackendOverloaded".to_owned()));
        assert_eq!((refused.field("retry-after"), refused.check()), (vec!["1"], "upstream.capacity".to_owned()));
    }
    service.answer.send_replace(true);
    assert_eq!(answered(&mut first).await.status, 200);
    // The slot is free once the answer is over, and then it is logged.
    while !world.lines().iter().any(|line| line["status"] == 200) {
        tokio::task::yield_now().await;
    }
    assert_eq!(world.get("/", &[]).await.status, 200);
}
