//! An authority with faults, over real sockets: how often it is asked, and what is made of its answers (the table of the
//! sidecar's errors).
use crate::support::{Authority, Hands, NOON, build, issued, jwt};
use base64::Engine;
use client::{Allow, Answered, Ask, AssertionAudience, Cause, Client, Endpoints, Error, Upstream};
use jose::{Algorithm, SigningKey};
use oauth::{Form, Secret};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

#[derive(Clone)]
enum Does {
    Answer(u16, &'static str, String),
    Hang,
    Close,
    BreakOff,
}

/// Does one thing after another, and the last one for ever. Each connection carries one request.
struct Faulty {
    url: String,
    forms: Arc<Mutex<Vec<Form>>>,
    task: JoinHandle<()>,
}

impl Drop for Faulty {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Faulty {
    async fn start(script: Vec<Does>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/token", listener.local_addr().unwrap());
        let forms = Arc::new(Mutex::new(Vec::new()));
        let keep = Arc::clone(&forms);
        let task = tokio::spawn(async move {
            let mut hanging = Vec::new();
            let mut script = script.into_iter().peekable();
            let mut last = Does::Close;
            while let Ok((mut socket, _)) = listener.accept().await {
                let Some(form) = request(&mut socket).await else { continue };
                keep.lock().unwrap().push(form);
                last = script.next().unwrap_or(last);
                match &last {
                    Does::Answer(status, headers, body) => {
                        let head = format!(
                            "HTTP/1.1 {status} X\r\n{headers}connection: close\r\ncontent-length: {}\r\n\r\n",
                            body.len()
                        );
                        let _ = socket.write_all(head.as_bytes()).await;
                        let _ = socket.write_all(body.as_bytes()).await;
                    }
                    Does::BreakOff => {
                        let _ = socket.write_all(b"HTTP/1.1 200 X\r\ncontent-length: 900\r\n\r\n{\"token_").await;
                    }
                    Does::Hang => hanging.push(socket),
                    Does::Close => {}
                }
            }
        });
        Self { url, forms, task }
    }

    fn calls(&self) -> usize {
        self.forms.lock().unwrap().len()
    }

    fn client(&self) -> Client {
        self.client_with(Upstream { read: Duration::from_millis(500), ..Upstream::default() })
    }

    fn client_with(&self, upstream: Upstream) -> Client {
        let allow = Allow { loopback: true, plain_loopback: true, ..Allow::default() };
        let fetch = upstream.fetch().allow(allow).build().unwrap();
        let endpoints = Endpoints { issuer: Some("https://id.example".into()), ..Endpoints::token_endpoint(&self.url) };
        let n = AtomicUsize::new(0);
        let random = move |bytes: &mut [u8]| bytes.fill(u8::try_from(n.fetch_add(1, SeqCst) % 256).unwrap());
        let key = SigningKey::generate(Algorithm::ES256).unwrap();
        Client::builder(endpoints, "orders").key(key, AssertionAudience::Issuer).upstream(upstream).build(
            Arc::new(fetch),
            Hands::at(NOON),
            Arc::new(random),
        )
    }
}

async fn request(socket: &mut TcpStream) -> Option<Form> {
    let mut read = Vec::new();
    loop {
        let mut piece = [0; 4096];
        let n = socket.read(&mut piece).await.ok().filter(|n| *n > 0)?;
        read.extend_from_slice(&piece[..n]);
        let text = String::from_utf8(read.clone()).ok()?;
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let head = head.to_ascii_lowercase();
            let length: usize = head.split("content-length: ").nth(1)?.split("\r\n").next()?.parse().ok()?;
            if body.len() >= length {
                return Form::decode(body.as_bytes()).ok();
            }
        }
    }
}

fn says(status: u16, body: &Value) -> Does {
    Does::Answer(status, "content-type: application/json\r\n", body.to_string())
}

fn html(status: u16) -> Does {
    Does::Answer(status, "content-type: text/html\r\n", "<html>no</html>".into())
}

fn good() -> Does {
    says(200, &issued("t", 3600).1)
}

async fn once(script: Vec<Does>) -> (Result<Answered, Error>, usize) {
    let faulty = Faulty::start(script).await;
    let answer = faulty.client().ask(&Ask::application("a")).await;
    (answer, faulty.calls())
}

#[tokio::test]
async fn a_refusal_is_passed_on_whole_and_asked_for_once() {
    for status in [400, 401, 403] {
        let body = json!({
            "error": "a_code_nobody_knows", "error_description": "why", "error_codes": [7], "suberror": "x",
            "correlation_id": "c", "trace_id": "t", "timestamp": "2016", "error_uri": "https://e", "interval": 5,
            "deputize_hint": {"check": "y"}, "claims": {"of": "another type"},
        });
        let (answer, calls) = once(vec![says(status, &body)]).await;
        let error = answer.unwrap_err();
        assert_eq!((error.status(), calls), (Some(status), 1));
        assert_eq!(serde_json::to_value(error.body().unwrap()).unwrap(), body);
        let text = serde_json::to_string(error.body().unwrap()).unwrap();
        assert!(text.starts_with(r#"{"error":"a_code_nobody_knows","error_description":"why","#), "{text}");
    }
    let (answer, calls) = once(vec![says(400, &json!({"error": "invalid_grant"}))]).await;
    assert_eq!((answer.unwrap_err().body().unwrap().error_description.as_str(), calls), ("", 1));
}

#[tokio::test]
async fn failures_are_tried_once_more_and_then_told_as_they_are() {
    for status in [408, 429, 500, 503] {
        let (answer, calls) = once(vec![says(status, &json!({"error": "slow_down"}))]).await;
        assert_eq!((answer.unwrap_err().status(), calls), (Some(status), 2));
    }
    let (answer, calls) = once(vec![html(502)]).await;
    assert_eq!((answer.unwrap_err(), calls), (Error::Unreadable { status: 502, retry_after: None }, 2));
    let (answer, calls) = once(vec![html(400)]).await;
    assert_eq!((answer.unwrap_err(), calls), (Error::Unreadable { status: 400, retry_after: None }, 1));
    for (does, cause) in [(Does::Close, Cause::Broken), (Does::BreakOff, Cause::Broken), (Does::Hang, Cause::Timeout)] {
        let (answer, calls) = once(vec![does]).await;
        let Err(Error::Unreachable(error)) = answer else { panic!("{answer:?}") };
        assert_eq!((error.cause, calls), (cause, 2));
    }
    for fault in [Does::Close, Does::BreakOff, Does::Hang, html(502), says(429, &json!({"error": "slow_down"}))] {
        let (answer, calls) = once(vec![fault, good()]).await;
        assert_eq!((answer.unwrap().token.access_token.expose(), calls), ("t", 2), "it was mended");
    }
}

#[tokio::test]
async fn nothing_is_sent_where_a_redirect_leads_and_nothing_large_is_read() {
    let canary = Faulty::start(vec![good()]).await;
    for status in [301, 302, 303, 307, 308] {
        let headers: &'static str = Box::leak(format!("location: {}\r\n", canary.url).into_boxed_str());
        let (answer, calls) = once(vec![Does::Answer(status, headers, String::new())]).await;
        let Err(Error::Unreachable(error)) = answer else { panic!("{answer:?}") };
        assert_eq!((error.cause, calls), (Cause::Redirect, 1));
    }
    assert_eq!(canary.calls(), 0);
    let large = json!({"token_type": "Bearer", "expires_in": 9, "access_token": "x".repeat(1 << 20)});
    for status in [200, 400] {
        let (answer, calls) = once(vec![says(status, &large)]).await;
        let Err(Error::Unreachable(error)) = answer else { panic!("large") };
        assert_eq!((error.cause, calls), (Cause::TooLarge, 1));
        assert!(!error.cause.to_string().contains("http"), "a phrase without an address");
    }
}

#[tokio::test]
async fn success_is_read_with_tolerance_and_nonsense_is_not_asked_for_again() {
    for (body, seconds, kept) in [
        (json!({"token_type": "bearer", "access_token": "t", "expires_in": "3600"}), 3600, true),
        (json!({"token_type": "BEARER", "access_token": "t", "expires_in": 3600.7, "x": 1}), 3600, true),
        (json!({"token_type": "Bearer", "access_token": jwt("a", NOON + 500).expose()}), 500, true),
        (json!({"token_type": "Bearer", "access_token": "t"}), 60, false),
        (json!({"token_type": "Bearer", "access_token": "t", "expires_in": 0}), 0, false),
        // An overflow says nothing.
        (json!({"token_type": "Bearer", "access_token": "t", "expires_in": i64::MAX}), 60, false),
    ] {
        let faulty = Faulty::start(vec![says(200, &body)]).await;
        let client = faulty.client();
        for _ in 0..2 {
            let token = client.ask(&Ask::application("a")).await.unwrap().token;
            assert_eq!(token.expires_at.0 - NOON, seconds, "{body}");
        }
        assert_eq!(faulty.calls(), if kept { 1 } else { 2 }, "{body}");
    }
    for does in [html(200), says(200, &json!({"token_type": "N_A", "access_token": "t"})), says(204, &json!({}))] {
        let (answer, calls) = once(vec![does]).await;
        assert!(matches!(answer, Err(Error::Answer(_))), "{answer:?}");
        assert_eq!(calls, 1);
    }
}

#[tokio::test]
async fn every_try_has_an_assertion_of_its_own() {
    let faulty = Faulty::start(vec![html(500), Does::Close, good()]).await;
    let upstream = Upstream { retries: 2, ..Upstream::default() };
    faulty.client_with(upstream).ask(&Ask::application("a")).await.unwrap();
    let id = |form: &Form| {
        let claims = form.value("client_assertion").unwrap().split('.').nth(1).unwrap().to_owned();
        let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(claims).unwrap();
        serde_json::from_slice::<Value>(&claims).unwrap()["jti"].as_str().unwrap().to_owned()
    };
    let ids: std::collections::BTreeSet<_> = faulty.forms.lock().unwrap().iter().map(id).collect();
    assert_eq!(ids.len(), 3);
}

#[tokio::test]
async fn what_is_good_once_is_not_sent_again_unless_it_was_turned_away() {
    let refresh = async |script: Vec<Does>| {
        let faulty = Faulty::start(script).await;
        let answer = faulty.client().ask(&Ask::refresh(&Secret::new("once"), "a")).await;
        (answer.is_ok(), faulty.calls())
    };
    for fault in [Does::Close, Does::BreakOff, Does::Hang, html(500), says(503, &json!({"error": "x"}))] {
        assert_eq!(refresh(vec![fault, good()]).await, (false, 1));
    }
    assert_eq!(refresh(vec![says(429, &json!({"error": "x"})), good()]).await, (true, 2));
}

#[tokio::test]
async fn nobody_at_the_address_is_no_connection() {
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let mut faulty = Faulty::start(vec![]).await;
    faulty.url = format!("http://{gone}/token");
    let Err(Error::Unreachable(error)) = faulty.client().ask(&Ask::application("a")).await else { panic!() };
    assert_eq!(error.cause, Cause::Connect);
}

/// An authority that fails in this way as often as it is told, in time that does not pass by itself.
fn failing(times: usize, retry_after: &'static str) -> (Arc<impl client::Transport>, Arc<AtomicUsize>) {
    struct Failing(usize, &'static str, Arc<AtomicUsize>);
    impl client::Transport for Failing {
        fn send(&self, _: http::Request<client::Body>) -> client::Sending<'_> {
            let n = self.2.fetch_add(1, SeqCst);
            let answer = http::Response::builder();
            let answer = if n < self.0 {
                answer
                    .status(503)
                    .header("retry-after", self.1)
                    .body(br#"{"error":"temporarily_unavailable"}"#.to_vec())
            } else {
                answer.body(issued("t", 3600).1.to_string().into_bytes())
            };
            Box::pin(async { Ok(answer.unwrap()) })
        }
    }
    let calls = Arc::new(AtomicUsize::new(0));
    (Arc::new(Failing(times, retry_after, Arc::clone(&calls))), calls)
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_honoured_inside_the_deadline_and_passed_on_beyond_it() {
    for (retry_after, times, expected) in [("2", 1, Ok(2)), ("60", 1, Err(60)), ("1", 9, Err(1))] {
        let (network, calls) = failing(times, retry_after);
        let began = tokio::time::Instant::now();
        let client = Client::builder(Endpoints::token_endpoint("https://x.example"), "orders").build(
            network,
            Hands::at(NOON),
            Arc::new(|bytes: &mut [u8]| bytes.fill(255)),
        );
        let answer = client.ask(&Ask::application("a")).await;
        let took = began.elapsed();
        match expected {
            Ok(seconds) => assert!(answer.is_ok() && took >= Duration::from_secs(seconds)),
            Err(seconds) => assert_eq!(answer.unwrap_err().retry_after(), Some(seconds)),
        }
        assert!(took < Duration::from_secs(5) && calls.load(SeqCst) <= 2, "{retry_after}: {took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn all_tries_together_end_at_the_deadline() {
    struct Silent(AtomicUsize);
    impl client::Transport for Silent {
        fn send(&self, _: http::Request<client::Body>) -> client::Sending<'_> {
            self.0.fetch_add(1, SeqCst);
            Box::pin(std::future::pending())
        }
    }
    let silent = Arc::new(Silent(AtomicUsize::new(0)));
    let began = tokio::time::Instant::now();
    let client = Client::builder(Endpoints::token_endpoint("https://x.example"), "orders")
        .upstream(Upstream { retries: 9, ..Upstream::default() })
        .build(Arc::clone(&silent) as _, Hands::at(NOON), Arc::new(|bytes: &mut [u8]| bytes.fill(0)));
    let answer = client.ask(&Ask::application("a")).await;
    assert_eq!(answer.unwrap_err(), Error::Unreachable(Cause::Timeout.into()));
    assert!(began.elapsed() <= Duration::from_millis(5_100), "{:?}", began.elapsed());
    assert_eq!(silent.0.load(SeqCst), 2, "3 s, and what was left");
}

#[tokio::test]
async fn an_authority_that_is_down_is_left_alone_for_moments_while_what_is_held_is_served() {
    let down = Arc::new(AtomicUsize::new(0));
    let state = Arc::clone(&down);
    let authority =
        Authority::new(move |_, _| if state.load(SeqCst) == 0 { issued("t", 3600) } else { (0, Value::Null) });
    let clock = Hands::at(NOON);
    let builder = Client::builder(Endpoints::token_endpoint("https://x.example"), "orders");
    let upstream = Upstream { retries: 0, rest_after: 5, ..Upstream::default() };
    let client = build(builder.upstream(upstream), &authority, &clock);
    let ask = async |n: usize| client.ask(&Ask::application(&n.to_string())).await;
    ask(0).await.unwrap();
    down.store(1, SeqCst);
    for n in 1..1_000 {
        let error = ask(n).await.unwrap_err();
        assert!(matches!(error, Error::Unreachable(_)));
        assert!(n <= 5 || error.retry_after().is_some_and(|seconds| (1..=2).contains(&seconds)));
        assert!(ask(0).await.unwrap().cached);
    }
    assert_eq!(authority.calls(), 1 + 5);
    clock.forward(2);
    for n in 1..100 {
        ask(n).await.unwrap_err();
    }
    assert_eq!(authority.calls(), 1 + 5 + 1, "one probe");
    down.store(0, SeqCst);
    clock.forward(2);
    for n in 1..100 {
        ask(n).await.unwrap();
    }
    assert_eq!(authority.calls(), 1 + 5 + 1 + 99);
}
