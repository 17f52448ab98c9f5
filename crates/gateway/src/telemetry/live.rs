//! Decisions as they are made, for who watches. While nobody does, a request costs one load of a number.
use bytes::Bytes;
use decision::{Check, CheckId, Outcome};
use hyper::body::{Body, Frame};
use serde::Serialize;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::mpsc;

/// So many lines wait for each who watches; what comes beyond is lost to them, and holds up no request.
const WAIT: usize = 1_024;
/// So many may watch at once.
const MOST: usize = 16;

/// What one policy said.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Step {
    /// Its name, or `onward` for the credential that the service is sent.
    pub(crate) policy: &'static str,
    pub(crate) passed: bool,
    /// Microseconds that it took.
    pub(crate) us: u64,
    /// What it looked at, where it tells.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) checks: Vec<Check>,
}

impl Step {
    pub(crate) fn new(policy: &'static str, passed: bool, took: Duration) -> Self {
        Self { policy, passed, us: u64::try_from(took.as_micros()).unwrap_or(u64::MAX), checks: Vec::new() }
    }

    /// The step of `require`, where the token is good and it is its rights that do not suffice: they are judged together.
    pub(crate) fn demands(&mut self) -> Option<Self> {
        let is_of_rights = |check: &Check| {
            use CheckId::{AppOnlyRequired, ContextSufficient, RoleSufficient, ScopeSufficient, UserRequired};
            [UserRequired, AppOnlyRequired, ScopeSufficient, RoleSufficient, ContextSufficient].contains(&check.id)
        };
        let first = self.checks.iter().find(|check| check.outcome == Outcome::Fail)?;
        if self.passed || !is_of_rights(first) {
            return None;
        }
        let (rights, own) = std::mem::take(&mut self.checks).into_iter().partition(is_of_rights);
        (self.passed, self.checks) = (true, own);
        Some(Self { policy: "require", passed: false, us: 0, checks: rights })
    }
}

/// Who watches.
#[derive(Default)]
pub(crate) struct Live {
    count: AtomicUsize,
    watching: Mutex<Vec<mpsc::Sender<Bytes>>>,
}

impl Live {
    /// Whether anybody watches.
    pub(crate) fn is_watched(&self) -> bool {
        self.count.load(Ordering::Relaxed) > 0
    }

    /// Watches from now on; `None` where too many do.
    pub(crate) fn watch(&self) -> Option<Watched> {
        let (sender, receiver) = mpsc::channel(WAIT);
        let mut watching = self.watching.lock().unwrap_or_else(PoisonError::into_inner);
        watching.retain(|other| !other.is_closed());
        let room = watching.len() < MOST;
        if room {
            watching.push(sender);
        }
        self.count.store(watching.len(), Ordering::Relaxed);
        room.then_some(Watched(receiver))
    }

    /// Tells everybody who watches, in JSON, a line each.
    pub(crate) fn tell(&self, line: impl Into<Bytes>) {
        let line = line.into();
        let mut watching = self.watching.lock().unwrap_or_else(PoisonError::into_inner);
        // Who cannot keep up misses this one.
        watching.retain(|one| !matches!(one.try_send(line.clone()), Err(mpsc::error::TrySendError::Closed(_))));
        self.count.store(watching.len(), Ordering::Relaxed);
    }
}

/// Lines for one who watches, as a body without an end.
pub struct Watched(mpsc::Receiver<Bytes>);

impl Body for Watched {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|line| line.map(|line| Ok(Frame::data(line))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Waker;

    fn next(watched: &mut Watched) -> Option<Bytes> {
        match Pin::new(watched).poll_frame(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Some(Ok(frame))) => frame.into_data().ok(),
            _ => None,
        }
    }

    #[test]
    fn who_watches_is_told_and_who_left_costs_nothing() {
        let live = Live::default();
        live.tell("one");
        assert!(!live.is_watched());
        let (mut one, other) = (live.watch().unwrap(), live.watch().unwrap());
        live.tell("two");
        assert_eq!(next(&mut one).unwrap(), "two");
        assert_eq!(next(&mut one), None);
        drop((one, other));
        live.tell("three");
        assert!(!live.is_watched());
    }

    #[test]
    fn who_cannot_keep_up_misses_lines_and_is_bounded() {
        let live = Live::default();
        let mut slow = live.watch().unwrap();
        for _ in 0..WAIT + 10 {
            live.tell("line");
        }
        let told = std::iter::from_fn(|| next(&mut slow)).count();
        assert_eq!(told, WAIT);
        let many: Vec<_> = (0..MOST - 1).map(|_| live.watch().unwrap()).collect();
        assert!(live.watch().is_none(), "so many watch");
        drop(many);
        assert!(live.watch().is_some());
    }
}
