//! Asking a service about a request: in bounded time, so many at once, and not for a while after failures.
use crate::settings::{SettingsError, Spanned, World, fault};
use bytes::Bytes;
use decision::Timestamp;
use fetch::{Fetch, Response};
use http::{HeaderMap, HeaderName, Method, StatusCode};
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::time::Duration;
use tokio::sync::Semaphore;

/// So many failures in a row, and it is not asked for a while.
const FAILURES: u32 = 5;
/// How many seconds it is not asked then.
const WHILE: i64 = 5;

pub(super) fn thousand() -> Spanned<u64> {
    Spanned::new(0..0, 1_000)
}

pub(super) fn hundred() -> Spanned<usize> {
    Spanned::new(0..0, 100)
}

/// A field of an answer that the service behind is sent. Callers can send it no more.
pub(super) fn taken(text: &Spanned<String>, world: &mut World<'_>) -> Result<HeaderName, SettingsError> {
    let name = crate::settings::field_name(text)?;
    if crate::canonical::is_about_the_message(&name) || name.as_str().starts_with("x-forwarded-") {
        let problem = format!("`{name}` is not for it to say");
        return Err(fault(&text.span(), problem, "take it out: it frames the message, or is the gateway's own"));
    }
    world.inject(name.clone());
    Ok(name)
}

/// Nothing came that could be gone by.
pub(super) struct Unanswered;

/// A service that is asked.
pub(super) struct Asking {
    fetch: Fetch,
    patience: Duration,
    slots: Semaphore,
    /// In a row.
    failures: AtomicU32,
    /// A second of the clock, or [`ASKED`].
    left_alone_until: AtomicI64,
}

/// It is left alone until no moment.
const ASKED: i64 = i64::MIN;

/// Who tries it for all. If nothing comes of that, because its caller went away, say, the next one may.
struct Trying<'a> {
    asking: &'a Asking,
    before: i64,
    next: i64,
}

impl Drop for Trying<'_> {
    fn drop(&mut self) {
        let until = &self.asking.left_alone_until;
        let _ = until.compare_exchange(self.next, self.before, Ordering::Relaxed, Ordering::Relaxed);
    }
}

impl Asking {
    /// # Errors
    /// If nothing would be asked, or callers would wait too long.
    pub(super) fn new(
        fetch: Fetch,
        timeout_milliseconds: &Spanned<u64>,
        max_requests: &Spanned<usize>,
    ) -> Result<Self, SettingsError> {
        let (milliseconds, most) = (*timeout_milliseconds.get_ref(), *max_requests.get_ref());
        if !(1..=30_000).contains(&milliseconds) {
            let hint = "write 1 to 30000: callers wait as long";
            return Err(fault(&timeout_milliseconds.span(), "this is no time to wait", hint));
        }
        if !(1..=Semaphore::MAX_PERMITS).contains(&most) {
            return Err(fault(&max_requests.span(), "nothing would be asked", "write 1 or more"));
        }
        Ok(Self {
            fetch,
            patience: Duration::from_millis(milliseconds),
            slots: Semaphore::new(most),
            failures: AtomicU32::new(0),
            left_alone_until: AtomicI64::new(ASKED),
        })
    }

    /// While it is left alone, nobody asks it; after that one does, for all, and for others only once it has answered.
    fn may_ask(&self, now: Timestamp) -> Result<Option<Trying<'_>>, Unanswered> {
        let before = self.left_alone_until.load(Ordering::Relaxed);
        if before == ASKED {
            return Ok(None);
        }
        let (tries, next) = (now.0 >= before, now.plus(WHILE).0);
        let first =
            tries && self.left_alone_until.compare_exchange(before, next, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        first.then_some(Some(Trying { asking: self, before, next })).ok_or(Unanswered)
    }

    /// Its answer, if that has a status that it can be gone by. Whatever else comes is a failure.
    pub(super) async fn ask(
        &self,
        (method, url): (Method, &str),
        headers: HeaderMap,
        body: Bytes,
        now: Timestamp,
        is_answer: impl Fn(StatusCode) -> bool,
    ) -> Result<Response, Unanswered> {
        let trying = self.may_ask(now)?;
        let _slot = self.slots.try_acquire().map_err(|_| Unanswered)?;
        let asked = tokio::time::timeout(self.patience, self.fetch.send(method, url, headers, body)).await;
        drop(trying);
        let found = match asked {
            // It is there, and has time: whatever it says of one caller's request does not keep others from being asked about.
            Ok(Ok(answer)) if is_answer(answer.status) || answer.status != StatusCode::SERVICE_UNAVAILABLE => {
                self.failures.store(0, Ordering::Relaxed);
                self.left_alone_until.store(ASKED, Ordering::Relaxed);
                if is_answer(answer.status) {
                    return Ok(answer);
                }
                let status = answer.status.as_u16();
                tracing::warn!(status, "a service that is asked about requests answers nothing that can be gone by");
                return Err(Unanswered);
            }
            Ok(Ok(_)) => "it answered 503".to_owned(),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("it did not answer within {} ms", self.patience.as_millis()),
        };
        if self.failures.fetch_add(1, Ordering::Relaxed) + 1 >= FAILURES {
            self.left_alone_until.store(now.plus(WHILE).0, Ordering::Relaxed);
        }
        tracing::warn!(reason = %found, "a service that is asked about requests does not answer");
        Err(Unanswered)
    }
}
