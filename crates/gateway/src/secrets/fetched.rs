//! What a command or a vault gave: kept, asked for again in time, and kept on where that fails.
use super::Held;
use client::{Pending, Random};
use decision::Timestamp;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The longest pause after a failure, in seconds.
const LONGEST_PAUSE: i64 = 60;

/// The parts of what was fetched, by their names.
pub(crate) type Document = BTreeMap<String, Held>;

/// What a fetch came to.
pub(crate) struct Given {
    pub(crate) document: Document,
    /// When it ends, where that is said.
    pub(crate) ends: Option<Timestamp>,
}

/// Where it is fetched.
pub(crate) trait Origin: Send + Sync {
    /// Asks for it once, with a limit on time and size. An error says what to look at, and nothing secret.
    fn fetch(&self, now: Timestamp) -> Pending<'_, Result<Given, String>>;
}

/// Something that has to be fetched.
pub(crate) struct Fetched {
    name: Arc<str>,
    origin: Arc<dyn Origin>,
    /// Seconds from one fetch to the next.
    every: i64,
    state: Mutex<State>,
    under_way: AtomicBool,
    good: AtomicU64,
    failed: AtomicU64,
}

#[derive(Default)]
struct State {
    held: Option<Arc<Document>>,
    /// When it is asked for next.
    due: Option<Timestamp>,
    /// Failures in a row.
    failures: u32,
}

/// How often it was asked for, and did not come.
pub(crate) struct Counts {
    pub(crate) good: u64,
    pub(crate) failed: u64,
}

impl Fetched {
    /// Under a name that may be shown. What was fetched under it elsewhere, by the configuration of before, is used until it came.
    pub(crate) fn new(name: &str, origin: Arc<dyn Origin>, every: i64, before: Option<&Self>) -> Self {
        let held = before.and_then(|before| before.state().held.clone());
        Self {
            name: name.into(),
            origin,
            every,
            good: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            state: Mutex::new(State { held, ..State::default() }),
            under_way: AtomicBool::new(false),
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Whether it was ever there.
    pub(crate) fn is_there(&self) -> bool {
        self.state().held.is_some()
    }

    pub(crate) fn counts(&self) -> Counts {
        Counts { good: self.good.load(Ordering::Relaxed), failed: self.failed.load(Ordering::Relaxed) }
    }

    /// A part of it; `None` while nothing was fetched.
    pub(super) fn part(&self, name: &str) -> Result<Option<Held>, String> {
        let Some(held) = self.state().held.clone() else { return Ok(None) };
        held.get(name).cloned().map(Some).ok_or_else(|| format!("{} has no field `{name}`", self.name))
    }

    /// Whether it is to be asked for.
    pub(crate) fn is_due(&self, now: Timestamp) -> bool {
        self.state().due.is_none_or(|due| due <= now)
    }

    /// Asks for it where it is due, and nobody does so already; whether something new came.
    pub(crate) async fn refresh(&self, now: Timestamp, random: &dyn Random) -> bool {
        if !self.is_due(now) || self.under_way.swap(true, Ordering::AcqRel) {
            return false;
        }
        let _over = Over(&self.under_way);
        let given = self.origin.fetch(now).await;
        let mut state = self.state();
        match given {
            Ok(Given { document, ends }) => {
                self.good.fetch_add(1, Ordering::Relaxed);
                if state.failures > 0 {
                    tracing::info!(secret = &*self.name, "it is there again");
                }
                let mut pause = self.every;
                if let Some(ends) = ends {
                    // In time before it ends: a tenth of what is left, but never at once again.
                    let left = (ends.0 - now.0).max(0);
                    pause = pause.min(left - left / 10).max(1);
                }
                // Not all gateways at once.
                pause -= jitter(pause / 10, random);
                let is_new = state.held.as_deref() != Some(&document);
                *state = State { held: Some(Arc::new(document)), due: Some(now.plus(pause)), failures: 0 };
                is_new
            }
            Err(reason) => {
                self.failed.fetch_add(1, Ordering::Relaxed);
                state.failures = state.failures.saturating_add(1);
                let pause = (1_i64 << state.failures.min(6)).min(LONGEST_PAUSE).min(self.every.max(1));
                state.due = Some(now.plus(pause));
                let kept = if state.held.is_some() { "the last good one stays" } else { "what needs it is refused" };
                tracing::warn!(secret = &*self.name, reason, "a secret could not be fetched; {kept}");
                false
            }
        }
    }

    // For a few instructions, never across an await.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// However a fetch ends, the next one may begin.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

fn jitter(most: i64, random: &dyn Random) -> i64 {
    let mut bytes = [0; 4];
    random.fill(&mut bytes);
    i64::from(u32::from_le_bytes(bytes)) % (most + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    type Answer = Result<(&'static str, Option<i64>), String>;

    struct Told(Mutex<Vec<Answer>>);

    impl Origin for Told {
        fn fetch(&self, _: Timestamp) -> Pending<'_, Result<Given, String>> {
            let next = self.0.lock().unwrap().remove(0);
            Box::pin(async move {
                next.map(|(text, ends)| Given {
                    document: [(String::new(), Held::new(text.into()))].into(),
                    ends: ends.map(Timestamp),
                })
            })
        }
    }

    /// What there is after each moment, `-` for nothing; nothing is asked that is not due.
    async fn told(answers: Vec<Answer>, moments: &[i64]) -> Vec<String> {
        let fetched = Fetched::new("x", Arc::new(Told(Mutex::new(answers))), 300, None);
        let mut seen = Vec::new();
        for now in moments {
            fetched.refresh(Timestamp(*now), &|bytes: &mut [u8]| bytes.fill(0)).await;
            let held = fetched.part("").unwrap();
            seen.push(held.map_or("-".to_owned(), |held| String::from_utf8(held.to_vec()).unwrap()));
        }
        seen
    }

    #[tokio::test]
    async fn it_is_asked_for_again_when_it_is_due_and_not_before() {
        let answers = vec![Ok(("a", None)), Ok(("b", None)), Ok(("c", Some(610))), Ok(("d", None))];
        assert_eq!(told(answers, &[0, 299, 300, 599, 600, 608, 609]).await, ["a", "a", "b", "b", "c", "c", "d"]);
    }

    #[tokio::test]
    async fn what_fails_leaves_the_last_good_one_and_is_tried_again_less_and_less_often() {
        let down = || Err("down".to_owned());
        let answers = vec![down(), down(), Ok(("a", None)), down(), Ok(("b", None))];
        let seen = told(answers, &[0, 1, 2, 5, 6, 305, 306, 307, 308]).await;
        assert_eq!(seen, ["-", "-", "-", "-", "a", "a", "a", "a", "b"]);
    }

    #[tokio::test]
    async fn a_new_configuration_has_what_was_fetched_and_asks_for_it_at_once() {
        let random = |bytes: &mut [u8]| bytes.fill(0);
        let told = |text| Arc::new(Told(Mutex::new(vec![Ok((text, None))])));
        let first = Fetched::new("x", told("a"), 300, None);
        first.refresh(Timestamp(0), &random).await;
        let next = Fetched::new("x", told("b"), 300, Some(&first));
        assert!(next.is_there() && next.refresh(Timestamp(0), &random).await);
        assert_eq!(next.part("").unwrap().unwrap().as_slice(), b"b");
    }

    #[tokio::test]
    async fn an_end_that_is_far_away_is_not_waited_for() {
        let answers = vec![Ok(("a", Some(10_000))), Ok(("b", None))];
        assert_eq!(told(answers, &[0, 299, 300]).await, ["a", "a", "b"]);
    }

    #[tokio::test]
    async fn pauses_after_failures_are_a_minute_at_most_and_never_longer_than_between_two_fetches() {
        for (every, pauses) in [(300, [2, 4, 8, 16, 32, 60, 60, 60]), (5, [2, 4, 5, 5, 5, 5, 5, 5])] {
            let down = (0..8).map(|_| Err("down".to_owned())).collect();
            let fetched = Fetched::new("x", Arc::new(Told(Mutex::new(down))), every, None);
            let mut now = Timestamp(0);
            for pause in pauses {
                assert!(!fetched.refresh(now, &|bytes: &mut [u8]| bytes.fill(0)).await);
                assert!(!fetched.is_due(now.plus(pause - 1)) && fetched.is_due(now.plus(pause)), "{pause}");
                now = now.plus(pause);
            }
            assert_eq!(fetched.counts().failed, 8);
        }
    }

    #[tokio::test]
    async fn gateways_do_not_ask_all_at_once_and_what_is_as_it_was_is_nothing_new() {
        let answers = vec![Ok(("a", None)), Ok(("a", None)), Ok(("b", None))];
        let fetched = Fetched::new("x", Arc::new(Told(Mutex::new(answers))), 300, None);
        // The largest number modulo 31.
        let random = |bytes: &mut [u8]| bytes.fill(0xff);
        let early = i64::from(u32::MAX) % 31;
        assert!(early > 0 && fetched.refresh(Timestamp(0), &random).await);
        assert!(!fetched.is_due(Timestamp(299 - early)) && fetched.is_due(Timestamp(300 - early)));
        assert!(!fetched.refresh(Timestamp(300), &random).await, "the same again");
        assert!(fetched.refresh(Timestamp(600), &random).await);
    }

    #[tokio::test]
    async fn while_it_is_asked_for_nobody_else_asks() {
        struct Slow(tokio::sync::Notify, AtomicU64);
        impl Origin for Slow {
            fn fetch(&self, _: Timestamp) -> Pending<'_, Result<Given, String>> {
                self.1.fetch_add(1, Ordering::Relaxed);
                Box::pin(async move {
                    self.0.notified().await;
                    Err("down".to_owned())
                })
            }
        }
        let slow = Arc::new(Slow(tokio::sync::Notify::new(), AtomicU64::new(0)));
        let fetched = Fetched::new("x", Arc::clone(&slow) as Arc<dyn Origin>, 300, None);
        let random = |bytes: &mut [u8]| bytes.fill(0);
        let all = async {
            tokio::join!(fetched.refresh(Timestamp(0), &random), fetched.refresh(Timestamp(0), &random), async {
                slow.0.notify_waiters();
            })
        };
        assert_eq!(all.await, (false, false, ()));
        assert_eq!(slow.1.load(Ordering::Relaxed), 1);
    }
}
