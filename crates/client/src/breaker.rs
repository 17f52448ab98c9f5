//! A circuit breaker: an authority that is down is not stormed, and its callers do not wait for what will not come.
use crate::{Cause, TransportError};
use decision::Timestamp;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// It is left alone for so many seconds, and for up to one more, so that clients do not come back all at once.
const REST: i64 = 1;

/// Counts failures in a row. After so many, requests fail at once for a moment; then one goes through as a probe, and another
/// each second, until one succeeds.
pub(crate) struct Breaker {
    after: u32,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    failures: u32,
    until: Option<Timestamp>,
}

impl Breaker {
    /// Opens after so many failures in a row; never, for 0.
    pub(crate) fn new(after: u32) -> Self {
        Self { after, state: Mutex::default() }
    }

    /// Whether a request may be sent now.
    pub(crate) fn admit(&self, now: Timestamp) -> Result<(), TransportError> {
        let mut state = self.state();
        let Some(until) = state.until else { return Ok(()) };
        let left = until.since(now);
        // More than it ever is means that the clock was set back.
        if (1..=2 * REST).contains(&left) {
            return Err(Cause::Resting(u32::try_from(left).unwrap_or(1)).into());
        }
        // This one is the probe; the others wait for what becomes of it.
        state.until = Some(now.plus(REST));
        Ok(())
    }

    pub(crate) fn succeeded(&self) {
        *self.state() = State::default();
    }

    pub(crate) fn failed(&self, now: Timestamp, dice: u8) {
        let mut state = self.state();
        state.failures = state.failures.saturating_add(1);
        if self.after > 0 && state.failures >= self.after {
            state.until = Some(now.plus(REST + i64::from(dice & 1)));
        }
    }

    // For a few instructions, never across an await.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_failures_in_a_row_one_probe_a_second_goes_through_until_one_succeeds() {
        let breaker = Breaker::new(3);
        let at = |second: i64| Timestamp(1_000 + second);
        for _ in 0..2 {
            breaker.failed(at(0), 0);
            assert!(breaker.admit(at(0)).is_ok());
        }
        breaker.succeeded();
        for _ in 0..2 {
            breaker.failed(at(0), 0);
        }
        assert!(breaker.admit(at(0)).is_ok(), "not in a row");
        breaker.failed(at(0), 1);
        assert_eq!(breaker.admit(at(0)), Err(Cause::Resting(2).into()));
        assert_eq!(breaker.admit(at(1)), Err(Cause::Resting(1).into()));
        assert!(breaker.admit(at(2)).is_ok(), "the probe");
        assert!(breaker.admit(at(2)).is_err(), "and nobody beside it");
        breaker.failed(at(2), 0);
        assert!(breaker.admit(at(2)).is_err());
        assert!(breaker.admit(at(3)).is_ok(), "the next probe");
        breaker.succeeded();
        assert!(breaker.admit(at(3)).is_ok() && breaker.admit(at(3)).is_ok());
    }

    #[test]
    fn a_clock_that_was_set_back_does_not_keep_it_open() {
        let breaker = Breaker::new(1);
        breaker.failed(Timestamp(10_000), 1);
        assert!(breaker.admit(Timestamp(10_000)).is_err());
        assert!(breaker.admit(Timestamp(5_000)).is_ok());
    }
}
