//! One line for each request, in JSON. Lines are gathered and written together; a reader that falls behind costs lines, which
//! are counted, and never requests.
use crate::telemetry::Step;
use serde::Serialize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Lines that wait are written at least so often.
const PERIOD: Duration = Duration::from_millis(200);
/// So many bytes wait at most.
const MOST: usize = 1 << 20;

/// What became of one request. Paths are without their query, which may carry keys.
#[derive(Debug)]
pub(crate) struct Line<'a> {
    pub(crate) at: i64,
    pub(crate) decision_id: &'a str,
    pub(crate) method: &'a str,
    pub(crate) host: &'a str,
    pub(crate) path: &'a str,
    /// The other end of the connection.
    pub(crate) peer: &'a str,
    /// The address that policies go by, where it is another one.
    pub(crate) caller: Option<&'a str>,
    pub(crate) operation: Option<&'a str>,
    pub(crate) tenant: Option<&'a str>,
    pub(crate) subject: Option<&'a str>,
    pub(crate) client: Option<&'a str>,
    pub(crate) token: Option<&'a str>,
    pub(crate) subscription: Option<&'a str>,
    pub(crate) product: Option<&'a str>,
    pub(crate) status: u16,
    /// The check that failed, where one did.
    pub(crate) check: Option<&'static str>,
    /// Microseconds from the head of the request to the end of the answer, and to the head of the service's answer.
    pub(crate) total_us: u64,
    pub(crate) upstream_us: Option<u64>,
    pub(crate) bytes: u64,
    /// Whether the answer went out whole.
    pub(crate) whole: bool,
    /// What each policy said: for those who watch.
    pub(crate) steps: Option<&'a [Step]>,
}

impl Line<'_> {
    /// Writes it as JSON, and the end of a line.
    pub(crate) fn write(&self, to: &mut Vec<u8>) {
        let mut members = Members(to);
        members.0.extend_from_slice(b"{\"at\":");
        members.value(&self.at);
        members.text("decision_id", self.decision_id);
        members.text("method", self.method);
        members.text("host", self.host);
        members.text("path", self.path);
        members.text("peer", self.peer);
        members.some_text("caller", self.caller);
        let whose = [
            ("operation", self.operation),
            ("tenant", self.tenant),
            ("subject", self.subject),
            ("client", self.client),
            ("token", self.token),
            ("subscription", self.subscription),
            ("product", self.product),
        ];
        for (name, text) in whose {
            members.some_text(name, text);
        }
        members.number("status", self.status.into());
        members.some_text("check", self.check);
        members.number("total_us", self.total_us);
        if let Some(upstream_us) = self.upstream_us {
            members.number("upstream_us", upstream_us);
        }
        members.number("bytes", self.bytes);
        members.name("whole");
        members.value(&self.whole);
        if let Some(steps) = self.steps {
            members.name("steps");
            members.value(steps);
        }
        members.0.extend_from_slice(b"}\n");
    }
}

/// The members of an object that is being written. A line is written for each request: most texts need no escapes, and are copied.
struct Members<'a>(&'a mut Vec<u8>);

impl Members<'_> {
    fn name(&mut self, name: &str) {
        self.0.extend_from_slice(b",\"");
        self.0.extend_from_slice(name.as_bytes());
        self.0.extend_from_slice(b"\":");
    }

    fn value(&mut self, value: &(impl Serialize + ?Sized)) {
        // What is written here has no way to fail.
        let _ = serde_json::to_writer(&mut *self.0, value);
    }

    fn number(&mut self, name: &str, number: u64) {
        self.name(name);
        self.value(&number);
    }

    fn some_text(&mut self, name: &str, text: Option<&str>) {
        if let Some(text) = text {
            self.text(name, text);
        }
    }

    fn text(&mut self, name: &str, text: &str) {
        self.name(name);
        if !is_plain(text) {
            return self.value(text);
        }
        self.0.push(b'"');
        self.0.extend_from_slice(text.as_bytes());
        self.0.push(b'"');
    }
}

/// Whether a text stands in JSON as it is (RFC 8259 section 7). Without a branch, so that it runs over many bytes at once.
#[expect(clippy::needless_bitwise_bool, reason = "a branch for each byte costs more than the copy")]
fn is_plain(text: &str) -> bool {
    text.bytes().fold(true, |plain, b| plain & (b >= b' ') & (b != b'"') & (b != b'\\'))
}

/// Where lines wait.
pub struct AccessLog {
    /// `None` where nothing is logged.
    waiting: Option<Mutex<Vec<u8>>>,
    lost: AtomicU64,
}

impl AccessLog {
    /// One that keeps lines for [`run`](Self::run).
    pub fn kept() -> Self {
        Self { waiting: Some(Mutex::new(Vec::new())), lost: AtomicU64::new(0) }
    }

    /// One that keeps nothing.
    pub fn off() -> Self {
        Self { waiting: None, lost: AtomicU64::new(0) }
    }

    pub(crate) fn add(&self, line: &Line<'_>) {
        let Some(waiting) = &self.waiting else { return };
        let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() >= MOST {
            self.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        line.write(&mut waiting);
    }

    /// Lines that were not written since the writer fell behind.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Takes what waits.
    pub fn take(&self) -> Vec<u8> {
        self.exchange(Vec::new())
    }

    /// Takes what waits, and leaves this room for what comes.
    fn exchange(&self, mut room: Vec<u8>) -> Vec<u8> {
        room.clear();
        if let Some(waiting) = &self.waiting {
            std::mem::swap(&mut room, &mut *waiting.lock().unwrap_or_else(PoisonError::into_inner));
        }
        room
    }

    /// Hands lines over as they come, for as long as it is polled. Writing may block: it holds up no request, and lines that
    /// find no room meanwhile are lost.
    pub async fn run(&self, write: impl Fn(&[u8]) + Clone + Send + 'static) {
        // Room that was filled is used again: a busy gateway fills it five times a second.
        let mut room = Vec::new();
        loop {
            tokio::time::sleep(PERIOD).await;
            let lines = self.exchange(room);
            if lines.is_empty() {
                room = lines;
                continue;
            }
            let write = write.clone();
            let written = tokio::task::spawn_blocking(move || {
                write(&lines);
                lines
            });
            room = written.await.unwrap_or_default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn line(path: &str) -> Line<'_> {
        Line {
            at: 1,
            decision_id: "d",
            method: "GET",
            host: "api.example",
            path,
            peer: "127.0.0.1",
            caller: None,
            operation: None,
            tenant: None,
            subject: None,
            client: None,
            token: None,
            subscription: None,
            product: None,
            status: 404,
            check: Some("gateway.operation"),
            total_us: 5,
            upstream_us: None,
            bytes: 0,
            whole: true,
            steps: None,
        }
    }

    #[test]
    fn g_21_a_request_is_one_line_whatever_it_says() {
        let log = AccessLog::kept();
        log.add(&line("/a\r\nforged\u{1b}[31m\"}"));
        let text = String::from_utf8(log.take()).unwrap();
        assert_eq!(text.matches('\n').count(), 1);
        assert!(!text.contains(['\r', '\u{1b}']));
        let read: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(read["path"], "/a\r\nforged\u{1b}[31m\"}");
        assert!(read.get("operation").is_none());
    }

    proptest! {
        #[test]
        fn g_21_a_line_says_what_it_was_given(texts in proptest::collection::vec(any::<String>(), 7), numbers: (i64, u16, u64)) {
            let [path, subject, host, token, id, product, caller] = &*texts else { unreachable!() };
            let told = Line {
                at: numbers.0,
                decision_id: id,
                host,
                caller: Some(caller),
                subject: Some(subject),
                token: Some(token),
                product: Some(product),
                status: numbers.1,
                upstream_us: Some(numbers.2),
                bytes: numbers.2,
                ..line(path)
            };
            let mut text = Vec::new();
            told.write(&mut text);
            prop_assert_eq!(text.iter().position(|b| *b == b'\n'), Some(text.len() - 1));
            let read: serde_json::Value = serde_json::from_slice(&text).unwrap();
            prop_assert_eq!(
                read,
                serde_json::json!({
                    "at": numbers.0, "decision_id": id, "method": "GET", "host": host, "path": path, "peer": "127.0.0.1",
                    "caller": caller, "subject": subject, "token": token, "product": product, "status": numbers.1,
                    "check": "gateway.operation", "total_us": 5, "upstream_us": numbers.2, "bytes": numbers.2, "whole": true,
                })
            );
        }
    }

    #[test]
    fn a_log_that_nobody_reads_stays_bounded() {
        let log = AccessLog::kept();
        let long = "x".repeat(10_000);
        for _ in 0..200 {
            log.add(&line(&long));
        }
        assert!(log.take().len() < MOST + 11_000);
        assert!(log.lost() > 0);
        log.add(&line("/after"));
        assert!(!log.take().is_empty(), "and goes on once it is read");
    }
}
