//! When things were: durations are measured by the clock that only goes forward, and told by the one that people read.
use crate::otlp::Nanos;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// When something began. No decision depends on it.
#[derive(Clone, Copy, Debug)]
pub struct Began(Instant);

/// This moment, by both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    measured: Instant,
    told: Nanos,
}

impl Began {
    /// Now.
    #[expect(clippy::disallowed_methods, reason = "how long an answer takes, which no decision depends on")]
    pub fn now() -> Self {
        Self(Instant::now())
    }

    /// How long ago that is.
    pub fn elapsed(self) -> Duration {
        Self::now().since(self)
    }

    /// How long before it `earlier` was.
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_duration_since(earlier.0)
    }

    /// The same moment, in nanoseconds since 1970.
    pub fn unix(self, now: Moment) -> Nanos {
        let age = now.measured.saturating_duration_since(self.0);
        now.told.saturating_sub(u64::try_from(age.as_nanos()).unwrap_or(u64::MAX))
    }
}

impl Moment {
    /// Now.
    #[expect(clippy::disallowed_methods, reason = "when spans were, which no decision depends on")]
    pub fn now() -> Self {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { measured: Instant::now(), told: u64::try_from(unix.as_nanos()).unwrap_or(u64::MAX) }
    }

    /// In nanoseconds since 1970.
    pub fn unix(self) -> Nanos {
        self.told
    }
}
