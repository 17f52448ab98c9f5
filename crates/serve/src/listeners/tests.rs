//! Connections, over pipes and in a time of their own.
use super::*;
use crate::{in_order, silence};
use hyper::body::Frame;
use std::pin::Pin;
use std::task::Context;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::time::{Instant, Sleep};

mod cut;
mod introduced;

/// A body that says something every second, so many times.
struct Words(usize, Option<Pin<Box<Sleep>>>);

impl Body for Words {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.0 == 0 {
            return Poll::Ready(None);
        }
        let wait = self.1.get_or_insert_with(|| Box::pin(sleep(Duration::from_secs(1))));
        std::task::ready!(wait.as_mut().poll(context));
        (self.0, self.1) = (self.0 - 1, None);
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"word\n")))))
    }
}

/// Answers with so many words, each request in its own time; what is sent to it, it never reads.
#[derive(Clone, Copy)]
struct Slow(Duration, usize);

impl Serve for Slow {
    type Body = Words;

    async fn answer(&self, _: Request<Incoming>, _: Caller) -> Response<Words> {
        sleep(self.0).await;
        Response::new(Words(self.1, None))
    }
}

/// The same, whose answers are of no use unless they are whole.
struct Whole(Slow);

impl Serve for Whole {
    type Body = Words;
    const WAITING_ANSWERS_END: bool = false;

    async fn answer(&self, request: Request<Incoming>, caller: Caller) -> Response<Words> {
        self.0.answer(request, caller).await
    }
}

const NOW: Slow = Slow(Duration::ZERO, 0);

/// A connection, what tells it that the process ends, and what becomes of it.
struct Connected {
    stream: DuplexStream,
    leaving: watch::Sender<bool>,
    ended: watch::Sender<bool>,
    serving: tokio::task::JoinHandle<()>,
}

fn connected(service: impl Serve, version: Spoken) -> Connected {
    let (stream, theirs) = duplex(4 << 10);
    let (leaving, ended) = (watch::Sender::new(false), watch::Sender::new(false));
    let (left, told) = (leaving.subscribe(), ended.subscribe());
    let serving = tokio::spawn(async move {
        let permit = Arc::new(Semaphore::new(1)).acquire_owned().await.unwrap();
        let connection = Connection {
            shown: None,
            service: Arc::new(service),
            caller: Caller::default(),
            permit: Arc::new((permit, None)),
            leaving: left,
            ended: told,
        };
        connection.speak(Box::new(theirs), version).await;
    });
    Connected { stream, leaving, ended, serving }
}

/// Seconds until the connection is closed from the other side.
async fn closed(mut connected: Connected) -> u64 {
    let began = Instant::now();
    let mut rest = Vec::new();
    let _ = timeout(Duration::from_hours(1), connected.stream.read_to_end(&mut rest)).await;
    began.elapsed().as_secs()
}

async fn asks(connected: &mut Connected) {
    connected.stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut answer = [0; 1024];
    let length = connected.stream.read(&mut answer).await.unwrap();
    assert!(answer.get(..length).unwrap().starts_with(b"HTTP/1.1 200"));
}

#[test]
fn who_calls_from_this_machine_is_told_by_the_address() {
    let from = |address: &str| Caller { address: Some(address.parse().unwrap()), ..Caller::default() }.is_local();
    for own in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
        assert!(from(own), "{own}");
    }
    for other in ["10.0.0.1", "::ffff:10.0.0.1", "0.0.0.0", "::", "fe80::1", "169.254.169.254"] {
        assert!(!from(other), "{other}");
    }
    assert!(Caller::default().is_local(), "a socket");
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_kept_serves_the_next_request_a_minute_later() {
    let mut kept = connected(NOW, Spoken::Either);
    for pause in [0, 11, 60, 119] {
        sleep(Duration::from_secs(pause)).await;
        asks(&mut kept).await;
    }
    assert!((120..=240).contains(&closed(kept).await), "and is not kept for ever");
}

#[tokio::test(start_paused = true)]
async fn a_head_comes_within_ten_seconds() {
    // The last is a whole beginning of HTTP/2, with no request after it.
    let preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    for version in [Spoken::Either, Spoken::One, Spoken::Two] {
        assert_eq!(closed(connected(NOW, version)).await, 10, "nothing at all, {version:?}");
        for half in ["G", "PRI * HTTP", "GET / HTTP/1.1\r\nhost: x\r\n", preface] {
            let mut first = connected(NOW, version);
            sleep(Duration::from_secs(4)).await;
            first.stream.write_all(half.as_bytes()).await.unwrap();
            // What is no HTTP of this version is refused at once; its sender may go on for a while, and nobody reads it.
            assert!(closed(first).await <= 6, "{half}, {version:?}");
        }
    }
    for half in ["G", "PRI * HTTP", "GET / HTTP/1.1\r\nhost: x\r\n"] {
        let mut later = connected(NOW, Spoken::Either);
        asks(&mut later).await;
        sleep(Duration::from_mins(1)).await;
        later.stream.write_all(half.as_bytes()).await.unwrap();
        assert_eq!(closed(later).await, 10, "{half}, on one that was kept");
    }
    let (mut dripping, began) = (connected(NOW, Spoken::Either), Instant::now());
    asks(&mut dripping).await;
    while dripping.stream.write_all(b"G").await.is_ok() {
        sleep(Duration::from_secs(1)).await;
    }
    assert!(began.elapsed() <= Duration::from_secs(11) + in_order::PATIENCE, "drop by drop: {:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_request_that_takes_long_is_not_silence() {
    let mut slow = connected(Slow(Duration::from_mins(10), 0), Spoken::Either);
    asks(&mut slow).await;
    asks(&mut slow).await;
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_refused_unread_does_not_cost_the_client_its_answer() {
    let head = format!("POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: {}\r\n\r\n", 1 << 20);
    // All of it is sent before anything is read, as many clients do.
    let mut all = connected(NOW, Spoken::One);
    all.stream.write_all(head.as_bytes()).await.unwrap();
    all.stream.write_all(&vec![b'x'; 1 << 20]).await.unwrap();
    let mut answered = String::new();
    all.stream.read_to_string(&mut answered).await.unwrap();
    assert!(answered.starts_with("HTTP/1.1 200"), "{answered}");
    // Whoever goes on, or says nothing, is not waited for long; and not at all once the process ends.
    for (end, longest) in [(false, in_order::PATIENCE), (true, Duration::ZERO)] {
        let Connected { mut stream, leaving, ended, serving } = connected(NOW, Spoken::One);
        stream.write_all(head.as_bytes()).await.unwrap();
        leaving.send_replace(end);
        ended.send_replace(end);
        let from = Instant::now();
        serving.await.unwrap();
        assert_eq!(from.elapsed().as_secs(), longest.as_secs());
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_stays_open_while_it_goes_on_and_ends_in_order_with_the_process() {
    let mut streaming = connected(Slow(Duration::ZERO, usize::MAX), Spoken::One);
    streaming.stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let (from, mut some) = (Instant::now(), [0; 1_024]);
    while from.elapsed() < Duration::from_mins(30) {
        assert_ne!(streaming.stream.read(&mut some).await.unwrap(), 0, "cut after {:?}", from.elapsed());
    }
    streaming.leaving.send_replace(true);
    streaming.ended.send_replace(true);
    let (until, mut rest) = (Instant::now(), Vec::new());
    while !rest.ends_with(b"0\r\n\r\n") {
        let length = streaming.stream.read(&mut some).await.unwrap();
        assert_ne!(length, 0, "not in order: {:?}", String::from_utf8_lossy(&rest));
        rest.extend_from_slice(some.get(..length).unwrap());
    }
    assert!(until.elapsed() <= Duration::from_secs(2), "{:?}", until.elapsed());
    assert!(closed(streaming).await <= silence::IDLE.as_secs() * 2);
}

#[tokio::test(start_paused = true)]
async fn r_19_who_is_left_to_another_process_is_told_with_the_next_answer_and_not_cut_off() {
    let mut kept = connected(NOW, Spoken::One);
    asks(&mut kept).await;
    kept.leaving.send_replace(true);
    sleep(Duration::from_mins(1)).await;
    kept.stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    kept.stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("connection: close"), "{answer}");
    // One that asks nothing is closed when the process ends.
    let mut idle = connected(NOW, Spoken::One);
    asks(&mut idle).await;
    idle.leaving.send_replace(true);
    sleep(Duration::from_secs(30)).await;
    assert!(!idle.serving.is_finished());
    idle.ended.send_replace(true);
    assert_eq!(closed(idle).await, 0);
}

#[tokio::test(start_paused = true)]
async fn what_was_agreed_on_is_spoken_and_nothing_else() {
    let preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let request = "GET / HTTP/1.1\r\nhost: x\r\n\r\n";
    for (spoken, sent, answered) in [
        (Spoken::Either, request, "HTTP/1.1 200"),
        (Spoken::Either, preface, "\0"),
        (Spoken::One, request, "HTTP/1.1 200"),
        (Spoken::One, preface, ""),
        (Spoken::Two, preface, "\0"),
    ] {
        let mut connected = connected(NOW, spoken);
        connected.stream.write_all(sent.as_bytes()).await.unwrap();
        let mut some = [0; 1_024];
        let length = connected.stream.read(&mut some).await.unwrap();
        let text = String::from_utf8_lossy(some.get(..length).unwrap()).into_owned();
        let is = if answered.is_empty() { text.is_empty() } else { text.starts_with(answered) };
        assert!(is, "{spoken:?} {sent:?}: {text:?}");
    }
    let mut two = connected(NOW, Spoken::Two);
    two.stream.write_all(request.as_bytes()).await.unwrap();
    let mut rest = Vec::new();
    two.stream.read_to_end(&mut rest).await.unwrap();
    assert!(!String::from_utf8_lossy(&rest).contains("HTTP/1.1"), "{rest:?}");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_of_use_only_whole_has_its_time_when_the_process_ends() {
    let mut whole = connected(Whole(Slow(Duration::ZERO, 20)), Spoken::One);
    whole.stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut some = [0; 1_024];
    assert_ne!(whole.stream.read(&mut some).await.unwrap(), 0);
    whole.leaving.send_replace(true);
    whole.ended.send_replace(true);
    let mut rest = String::new();
    whole.stream.read_to_string(&mut rest).await.unwrap();
    assert!(rest.matches("word").count() >= 19 && rest.ends_with("0\r\n\r\n"), "{rest}");
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_reads_nothing_of_its_answer_is_not_written_to_for_ever() {
    let mut unread = connected(Slow(Duration::ZERO, usize::MAX), Spoken::One);
    unread.stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    assert!(timeout(Duration::from_hours(2), unread.serving).await.is_ok());
}

#[tokio::test]
async fn a_panic_fails_its_own_request_alone() {
    assert_eq!(caught(async { 1 }).await, Some(1));
    let panicking = async {
        tokio::task::yield_now().await;
        assert!(std::hint::black_box(false), "a defect");
    };
    assert_eq!(caught(panicking).await, None);
}

fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).unwrap();
    [&[0, 0, length, kind, flags, 0, 0, 0, stream], payload].concat()
}

/// Asks over HTTP/2 for words that come for ever, with room for so many bytes of them, and more room whenever some came if `reads`.
/// Answers what the protocol wants to be answered. How long the connection lives, at most ten minutes.
async fn lives_in_frames(room: u8, reads: bool) -> u64 {
    let mut asking = connected(Slow(Duration::ZERO, usize::MAX), Spoken::Two);
    let began = Instant::now();
    let opening = [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        frame(4, 0, 0, &[0, 4, 0, 0, 0, room]),
        frame(1, 5, 1, &[0x82, 0x86, 0x84, 0x41, 1, b'a']),
    ];
    asking.stream.write_all(&opening.concat()).await.unwrap();
    while began.elapsed() < Duration::from_mins(10) {
        let mut head = [0; 9];
        let Ok(Ok(_)) = timeout(Duration::from_mins(11), asking.stream.read_exact(&mut head)).await else { break };
        let mut payload = vec![0; usize::from(u16::from_be_bytes([head[1], head[2]]))];
        if asking.stream.read_exact(&mut payload).await.is_err() {
            break;
        }
        let answer = match (head[3], head[4] & 1) {
            (0, _) if reads => [frame(8, 0, 0, &[0, 0, 0, room]), frame(8, 0, 1, &[0, 0, 0, room])].concat(),
            (4, 0) => frame(4, 1, 0, &[]),
            (6, 0) => frame(6, 1, 0, &payload),
            _ => continue,
        };
        if asking.stream.write_all(&answer).await.is_err() {
            break;
        }
    }
    began.elapsed().as_secs()
}

#[tokio::test(start_paused = true)]
async fn g_15_who_leaves_an_answer_in_frames_unread_loses_the_connection() {
    for room in [0, 7] {
        let lived = lives_in_frames(room, false).await;
        assert!((30..=60).contains(&lived), "with room for {room}: {lived}");
    }
    assert_eq!(lives_in_frames(5, true).await, 600, "who reads word by word keeps it");
}
