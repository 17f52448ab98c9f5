//! What is counted of one operation: atomic additions alone on the way of a request.
use decision::CheckId;
use http::StatusCode;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use telemetry::Histogram;

/// The statuses that are told apart; all others are counted as the last.
pub(super) const STATUSES: [u16; 22] =
    [200, 201, 202, 204, 206, 301, 302, 304, 400, 401, 403, 404, 405, 408, 409, 413, 429, 499, 500, 502, 503, 504];

/// One operation's requests.
#[derive(Default)]
pub(crate) struct Counted {
    statuses: [AtomicU64; STATUSES.len() + 1],
    took: Histogram,
    services: Histogram,
    bytes: AtomicU64,
    /// Refusals are the cold path: a lock for moments, never across an await.
    refused: Mutex<BTreeMap<&'static str, u64>>,
}

/// What became of a request.
pub(crate) struct Outcome {
    pub(crate) status: u16,
    /// The check that failed.
    pub(crate) check: Option<CheckId>,
    /// From its head to the end of the answer.
    pub(crate) took: Duration,
    /// From its being forwarded to the head of the service's answer.
    pub(crate) service: Option<Duration>,
    /// Of the answer's body.
    pub(crate) bytes: u64,
}

impl Counted {
    pub(crate) fn count(&self, outcome: &Outcome) {
        let slot = STATUSES.iter().position(|known| *known == outcome.status).unwrap_or(STATUSES.len());
        if let Some(count) = self.statuses.get(slot) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.took.observe(outcome.took);
        if let Some(service) = outcome.service {
            self.services.observe(service);
        }
        if outcome.bytes > 0 {
            self.bytes.fetch_add(outcome.bytes, Ordering::Relaxed);
        }
        if let Some(check) = outcome.check {
            *self.refused.lock().unwrap_or_else(PoisonError::into_inner).entry(check.entry().id).or_default() += 1;
        }
    }

    /// How many requests ended with each status that some did; 0 stands for all others.
    pub(super) fn statuses(&self) -> impl Iterator<Item = (u16, u64)> {
        let counts = STATUSES.into_iter().chain([0]).zip(&self.statuses);
        counts.map(|(status, count)| (status, count.load(Ordering::Relaxed))).filter(|(_, count)| *count > 0)
    }

    pub(super) fn took(&self) -> &Histogram {
        &self.took
    }

    pub(super) fn services(&self) -> &Histogram {
        &self.services
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(super) fn refused(&self) -> BTreeMap<&'static str, u64> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The status that stands in logs and counts where the caller went away before it was answered.
pub(crate) const CALLER_GONE: u16 = 499;

/// As numbers are told: without a dot, so that 0 is every status that has none of its own.
pub(super) fn status_label(status: u16) -> String {
    if StatusCode::from_u16(status).is_ok() { status.to_string() } else { "other".to_owned() }
}
