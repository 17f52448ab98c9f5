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
#[derive(Debug, Serialize)]
pub(crate) struct Line<'a> {
    pub(crate) at: i64,
    pub(crate) decision_id: &'a str,
    pub(crate) method: &'a str,
    pub(crate) host: &'a str,
    pub(crate) path: &'a str,
    pub(crate) peer: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) operation: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tenant: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) subject: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) client: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) subscription: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) product: Option<&'a str>,
    pub(crate) status: u16,
    /// The check that failed, where one did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) check: Option<&'static str>,
    /// Microseconds from the head of the request to the end of the answer, and to the head of the service's answer.
    pub(crate) total_us: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) upstream_us: Option<u64>,
    pub(crate) bytes: u64,
    /// Whether the answer went out whole.
    pub(crate) whole: bool,
    /// What each policy said: for those who watch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) steps: Option<&'a [Step]>,
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
        if serde_json::to_writer(&mut *waiting, line).is_ok() {
            waiting.push(b'\n');
        }
    }

    /// Lines that were not written since the writer fell behind.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Takes what waits.
    pub fn take(&self) -> Vec<u8> {
        let Some(waiting) = &self.waiting else { return Vec::new() };
        std::mem::take(&mut *waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Hands lines over as they come, for as long as it is polled. Writing may block: it holds up no request, and lines that
    /// find no room meanwhile are lost.
    pub async fn run(&self, write: impl Fn(&[u8]) + Clone + Send + 'static) {
        loop {
            tokio::time::sleep(PERIOD).await;
            let lines = self.take();
            if !lines.is_empty() {
                let write = write.clone();
                let _ = tokio::task::spawn_blocking(move || write(&lines)).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(path: &str) -> Line<'_> {
        Line {
            at: 1,
            decision_id: "d",
            method: "GET",
            host: "api.example",
            path,
            peer: "127.0.0.1",
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
