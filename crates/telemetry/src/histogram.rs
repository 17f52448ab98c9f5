//! A histogram of seconds, with buckets fine enough to see a cache hit.
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper ends of the buckets, in microseconds.
pub(crate) const BUCKETS: [u64; 16] = [
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    5_000_000,
];

/// Durations, counted by their length: one atomic addition for its bucket, and one for the sum.
#[derive(Debug, Default)]
pub struct Histogram {
    /// The last is for what is longer than all buckets.
    counts: [AtomicU64; BUCKETS.len() + 1],
    micros: AtomicU64,
}

/// A histogram at one moment.
#[derive(Clone, Debug)]
pub struct Counted {
    /// Of each bucket alone.
    pub(crate) counts: Vec<u64>,
    pub(crate) total: u64,
    pub(crate) seconds: f64,
}

impl Histogram {
    /// Counts a duration.
    pub fn observe(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BUCKETS.iter().position(|end| micros <= *end).unwrap_or(BUCKETS.len());
        if let Some(count) = self.counts.get(bucket) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// What was counted until now.
    pub fn counted(&self) -> Counted {
        let counts: Vec<u64> = self.counts.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        #[expect(clippy::cast_precision_loss, reason = "a sum for people")]
        let seconds = self.micros.load(Ordering::Relaxed) as f64 / 1e6;
        Counted { total: counts.iter().sum(), counts, seconds }
    }
}

impl Counted {
    /// How many durations were counted.
    pub fn total(&self) -> u64 {
        self.total
    }
}
