//! Whether an address of a service is asked: what came of the requests before says so, and what probes of it come to.
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// When requests are kept from an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Circuit {
    /// So many failures in a row open it; 0 is never.
    pub(crate) failures: u32,
    /// How long it stays open before one request is let through to try.
    pub(crate) trip: Duration,
    /// Statuses of answers that count as failures.
    pub(crate) statuses: Vec<http::StatusCode>,
}

/// How an address fares.
pub(crate) struct Health {
    since: Instant,
    /// In a row, until something succeeds.
    failures: AtomicU32,
    /// The moment from which on it is tried again, in milliseconds since `since`; 0 where nothing speaks against it.
    out_until: AtomicU64,
    /// Whether its last failure was one that a request could have brought about.
    provoked: AtomicBool,
    /// Whether probes find it down.
    down: AtomicBool,
}

/// What a failure says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failed {
    /// The address takes no requests.
    Address,
    /// It took one, and made nothing of it: that may be the request's doing.
    Request,
}

/// Whether it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Up,
    /// For so long; nothing where that depends on probes.
    Out(Option<Duration>),
    /// Only where there is no other: one caller's requests must not take a service from all.
    LastResort,
    /// It was out for its time: one request tries it. Take it by [`Health::try_again`].
    Due(u64),
}

impl Health {
    pub(super) fn new() -> Self {
        Self {
            since: Instant::now(),
            failures: AtomicU32::new(0),
            out_until: AtomicU64::new(0),
            provoked: AtomicBool::new(false),
            down: AtomicBool::new(false),
        }
    }

    pub(super) fn state(&self) -> State {
        if self.down.load(Ordering::Relaxed) {
            return State::Out(None);
        }
        match self.out_until.load(Ordering::Relaxed) {
            0 => State::Up,
            until => match until.checked_sub(self.now()).filter(|left| *left > 0) {
                Some(_) if self.provoked.load(Ordering::Relaxed) => State::LastResort,
                Some(left) => State::Out(Some(Duration::from_millis(left))),
                None => State::Due(until),
            },
        }
    }

    /// Whether the caller is the one who tries it; the others find it out until then.
    pub(super) fn try_again(&self, due: u64, circuit: &Circuit) -> bool {
        let next = self.after(circuit.trip);
        self.out_until.compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// It was of use. Whether it was not before.
    pub(super) fn succeeded(&self) -> bool {
        if self.failures.load(Ordering::Relaxed) == 0 {
            return false;
        }
        self.failures.store(0, Ordering::Relaxed);
        self.out_until.swap(0, Ordering::Relaxed) != 0
    }

    /// It was of no use. Whether that was once too often.
    pub(super) fn failed(&self, what: Failed, circuit: &Circuit) -> bool {
        self.provoked.store(what == Failed::Request, Ordering::Relaxed);
        let before = self.failures.fetch_add(1, Ordering::Relaxed);
        if circuit.failures == 0 || before.saturating_add(1) < circuit.failures {
            return false;
        }
        self.out_until.swap(self.after(circuit.trip), Ordering::Relaxed) == 0
    }

    /// What probes say now. Whether they said another thing before.
    pub(super) fn probed(&self, up: bool) -> bool {
        self.down.swap(!up, Ordering::Relaxed) == up
    }

    fn now(&self) -> u64 {
        u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Never 0.
    fn after(&self, time: Duration) -> u64 {
        self.now().saturating_add(u64::try_from(time.as_millis()).unwrap_or(u64::MAX)).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::{advance, pause};

    fn circuit(failures: u32) -> Circuit {
        Circuit { failures, trip: Duration::from_secs(5), statuses: Vec::new() }
    }

    #[tokio::test]
    async fn failures_in_a_row_open_the_circuit_and_one_request_at_a_time_tries_it() {
        pause();
        let (health, circuit) = (Health::new(), circuit(3));
        assert!(!health.failed(Failed::Address, &circuit) && !health.failed(Failed::Address, &circuit));
        assert_eq!(health.state(), State::Up);
        assert!(!health.succeeded(), "it was never out");
        assert!(
            !health.failed(Failed::Address, &circuit) && !health.failed(Failed::Address, &circuit),
            "a success in between counts from the beginning"
        );
        assert!(health.failed(Failed::Address, &circuit));
        assert_eq!(health.state(), State::Out(Some(Duration::from_secs(5))));
        assert!(!health.failed(Failed::Address, &circuit), "it is told once");
        advance(Duration::from_secs(5)).await;
        let State::Due(due) = health.state() else { panic!("{:?}", health.state()) };
        assert!(health.try_again(due, &circuit));
        assert!(!health.try_again(due, &circuit), "two try it at once");
        assert_eq!(health.state(), State::Out(Some(Duration::from_secs(5))));
        assert!(!health.failed(Failed::Address, &circuit));
        advance(Duration::from_secs(5)).await;
        let State::Due(due) = health.state() else { panic!("{:?}", health.state()) };
        assert!(health.try_again(due, &circuit) && health.succeeded());
        assert_eq!(health.state(), State::Up);
    }

    #[tokio::test]
    async fn what_requests_may_have_brought_about_leaves_an_address_for_when_there_is_no_other() {
        pause();
        let (health, circuit) = (Health::new(), circuit(1));
        assert!(health.failed(Failed::Request, &circuit));
        assert_eq!(health.state(), State::LastResort);
        health.failed(Failed::Address, &circuit);
        assert_eq!(health.state(), State::Out(Some(Duration::from_secs(5))));
        advance(Duration::from_secs(5)).await;
        assert!(matches!(health.state(), State::Due(_)));
    }

    #[tokio::test]
    async fn without_a_circuit_an_address_is_always_asked() {
        let (health, circuit) = (Health::new(), circuit(0));
        for _ in 0..100 {
            assert!(!health.failed(Failed::Address, &circuit));
        }
        assert_eq!(health.state(), State::Up);
    }

    #[tokio::test]
    async fn what_probes_find_down_is_not_asked_whatever_requests_said() {
        let health = Health::new();
        assert!(!health.probed(true), "it counts as up from the beginning");
        assert!(health.probed(false));
        health.succeeded();
        assert_eq!(health.state(), State::Out(None));
        assert!(health.probed(true));
        assert_eq!(health.state(), State::Up);
    }
}
