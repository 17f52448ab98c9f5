//! An authority in the same process, and time that the test sets.
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use client::{Client, ClientBuilder, Endpoints, Sending, Transport, Upstream};
use decision::{Clock, Timestamp};
use http::{Request, Response};
use oauth::{Form, Secret};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering::SeqCst};

pub(crate) const NOON: i64 = 1_700_000_000;

/// A clock that stands still until it is told.
pub(crate) struct Hands(AtomicI64);

impl Hands {
    pub(crate) fn at(moment: i64) -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(moment)))
    }

    pub(crate) fn forward(&self, seconds: i64) {
        self.0.fetch_add(seconds, SeqCst);
    }
}

impl Clock for Hands {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(SeqCst))
    }
}

type Rule = dyn Fn(&str, &Form) -> (u16, Value) + Send + Sync;

/// Answers token requests by a rule, counts them, and can be made to wait.
pub(crate) struct Authority {
    rule: Box<Rule>,
    calls: AtomicUsize,
    gate: tokio::sync::Semaphore,
}

impl Authority {
    pub(crate) fn new(rule: impl Fn(&str, &Form) -> (u16, Value) + Send + Sync + 'static) -> Arc<Self> {
        let gate = tokio::sync::Semaphore::new(tokio::sync::Semaphore::MAX_PERMITS);
        Arc::new(Self { rule: Box::new(rule), calls: AtomicUsize::new(0), gate })
    }

    /// One that answers nothing until `open`.
    pub(crate) fn closed(rule: impl Fn(&str, &Form) -> (u16, Value) + Send + Sync + 'static) -> Arc<Self> {
        let gate = tokio::sync::Semaphore::new(0);
        Arc::new(Self { rule: Box::new(rule), calls: AtomicUsize::new(0), gate })
    }

    pub(crate) fn open(&self) {
        self.gate.add_permits(1_000_000);
    }

    pub(crate) fn calls(&self) -> usize {
        self.calls.load(SeqCst)
    }

    /// Until this many requests have arrived.
    pub(crate) async fn called(&self, times: usize) {
        while self.calls() < times {
            tokio::task::yield_now().await;
        }
    }
}

impl Transport for Authority {
    fn send(&self, request: Request<client::Body>) -> Sending<'_> {
        Box::pin(async move {
            self.calls.fetch_add(1, SeqCst);
            tokio::task::yield_now().await;
            self.gate.acquire().await.unwrap().forget();
            let form = Form::decode(request.body()).unwrap();
            let (status, body) = (self.rule)(&request.uri().to_string(), &form);
            if status == 0 {
                return Err(client::Cause::Broken.into());
            }
            Ok(Response::builder().status(status).body(body.to_string().into_bytes()).unwrap())
        })
    }
}

pub(crate) fn issued(access_token: &str, expires_in: i64) -> (u16, Value) {
    (200, json!({"token_type": "Bearer", "expires_in": expires_in, "access_token": access_token}))
}

pub(crate) fn orders() -> ClientBuilder {
    // Each call counts once here; what is tried again has tests of its own.
    Client::builder(Endpoints::entra("https://login.example/contoso"), "orders")
        .secret(Secret::new("s3cret"))
        .upstream(Upstream { retries: 0, ..Upstream::default() })
}

pub(crate) fn build(builder: ClientBuilder, authority: &Arc<Authority>, clock: &Arc<Hands>) -> Client {
    let count = AtomicUsize::new(0);
    let random = move |bytes: &mut [u8]| {
        let seed = u8::try_from(count.fetch_add(1, SeqCst) % 251).unwrap();
        bytes.iter_mut().zip(0_u8..).for_each(|(byte, n)| *byte = seed.wrapping_mul(31).wrapping_add(n));
    };
    builder.build(Arc::clone(authority) as _, Arc::clone(clock) as _, Arc::new(random))
}

/// A JWT's form, with an end. Nobody here verifies it.
pub(crate) fn jwt(subject: &str, exp: i64) -> Secret {
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    Secret::new(format!("{}.{}.sig", part(json!({"alg": "RS256"})), part(json!({"sub": subject, "exp": exp}))))
}
