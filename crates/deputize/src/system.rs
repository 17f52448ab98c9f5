//! The system's clock, randomness and environment: the only place that asks for them.
use decision::{Clock, Timestamp};
use std::sync::{Arc, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};
use store::Store;

/// How far this process is ahead of the wall clock, in seconds.
static AHEAD: OnceLock<i64> = OnceLock::new();

/// From now on this process lives so many seconds ahead. Only the first call counts.
pub(crate) fn live_ahead(seconds: i64) {
    AHEAD.get_or_init(|| seconds);
}

/// The wall clock.
pub(crate) struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the clock that everything else takes as a parameter")]
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(i64::try_from(since.as_secs()).unwrap_or(i64::MAX)).plus(AHEAD.get().copied().unwrap_or_default())
    }
}

/// The wall clock, but never before what the store has seen: a clock set back must not bring back what has expired.
pub(crate) struct StoreClock(pub(crate) Arc<Store>);

impl Clock for StoreClock {
    fn now(&self) -> Timestamp {
        SystemClock.now().max(self.0.time_floor())
    }
}

/// Unpredictable bytes. A system that has none can run no authority.
#[expect(clippy::disallowed_methods, reason = "the randomness that everything else takes as a parameter")]
#[expect(clippy::expect_used, reason = "nothing safe can be done without randomness")]
pub(crate) fn random(buffer: &mut [u8]) {
    getrandom::fill(buffer).expect("the system gives randomness");
}

/// `N` unpredictable bytes.
pub(crate) fn unpredictable<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    random(&mut bytes);
    bytes
}

/// A random id (UUID version 4).
pub(crate) fn random_id() -> uuid::Uuid {
    uuid::Builder::from_random_bytes(unpredictable()).into_uuid()
}

/// An environment variable.
#[expect(clippy::disallowed_methods, reason = "configuration is read here, once")]
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// The environment variables whose names have sections in them, `AzureAd__TenantId`.
pub(crate) fn sectioned() -> Vec<(String, String)> {
    let texts =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    texts.filter(|(name, _)| name.contains("__")).collect()
}
