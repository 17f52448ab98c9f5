//! A caller's body on its way to a service.
mod held;

use super::{Broken, BrokenOff, Coming, let_by};
use crate::stream::Trailers;
use bytes::Bytes;
use held::Held;
use http::Version;
use hyper::body::{Frame, Incoming, SizeHint};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep_until};

/// How long a caller may take for a body of any size, and how many bytes it has to send in each further second.
const GRACE: Duration = Duration::from_secs(30);
const BYTES_PER_SECOND: u64 = 500;

/// A caller's body on its way to a service.
pub(crate) struct Uploading {
    /// `None` is none.
    body: Option<Coming>,
    /// What of it was looked at, and goes on before the rest.
    held: Option<Box<Held>>,
    /// Set once the caller is waited for.
    wait: Option<Pin<Box<Sleep>>>,
    progress: Progress,
    /// Where it is a stream: how long both sides may be silent.
    idle: Option<Duration>,
    /// Where trailers go on, and which.
    trailers: Option<Trailers>,
}

/// What becomes of a caller's body, told to who waits for the service.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress(Arc<State>);

#[derive(Debug)]
struct State {
    began: Instant,
    broken: AtomicU8,
    sent: AtomicU64,
    /// Whether the caller is waited for.
    waits: AtomicBool,
    /// Whether all of it came, and its end beyond doubt.
    ended: AtomicBool,
    /// Of a stream: when something went by last, in milliseconds since it began.
    stirred: AtomicU64,
}

impl Default for State {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            broken: AtomicU8::default(),
            sent: AtomicU64::default(),
            waits: AtomicBool::default(),
            ended: AtomicBool::default(),
            stirred: AtomicU64::default(),
        }
    }
}

impl Progress {
    /// Something of a stream went by.
    pub(crate) fn stir(&self) {
        let since = u64::try_from(self.0.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.0.stirred.store(since, Ordering::Relaxed);
    }

    /// Until when both sides of a stream may be silent.
    pub(crate) fn patience(&self, idle: Duration) -> Instant {
        self.0.began + Duration::from_millis(self.0.stirred.load(Ordering::Relaxed)) + idle
    }

    fn broke(&self, broken: Broken) -> Broken {
        self.0.broken.store(if broken == Broken::SlowCaller { 1 } else { 2 }, Ordering::Relaxed);
        broken
    }

    /// How many bytes went by.
    pub(crate) fn sent(&self) -> u64 {
        self.0.sent.load(Ordering::Relaxed)
    }

    /// Whether all of it came, and where it ended is beyond doubt.
    pub(crate) fn has_ended(&self) -> bool {
        self.0.ended.load(Ordering::Relaxed)
    }

    /// Whether more of it is waited for, which has an end of its own.
    pub(crate) fn waits(&self) -> bool {
        self.0.waits.load(Ordering::Relaxed)
    }

    /// Why it broke off, if it did.
    pub(crate) fn broken(&self) -> Option<Broken> {
        match self.0.broken.load(Ordering::Relaxed) {
            0 => None,
            1 => Some(Broken::SlowCaller),
            _ => Some(Broken::Caller),
        }
    }
}

impl Uploading {
    pub(crate) fn new(body: Incoming, version: Version, progress: Progress) -> Self {
        Self { body: Some(Coming::new(body, version)), ..Self::none(progress) }
    }

    /// No body.
    pub(crate) fn none(progress: Progress) -> Self {
        Self { body: None, held: None, wait: None, progress, idle: None, trailers: None }
    }

    /// As a stream that may be silent for so long, with these trailers.
    pub(crate) fn streamed(mut self, idle: Duration, trailers: Option<Trailers>) -> Self {
        (self.idle, self.trailers) = (Some(idle), trailers);
        self
    }

    /// Whether trailers of the answer go on.
    pub(crate) fn wants_trailers(&self) -> bool {
        self.trailers.is_some()
    }

    /// Until when what was sent so far is not too slow.
    fn patience(&self) -> Instant {
        match self.idle {
            Some(idle) => self.progress.patience(idle),
            None => self.progress.0.began + GRACE + Duration::from_secs(self.progress.sent() / BYTES_PER_SECOND),
        }
    }

    /// What comes from the caller.
    fn poll_caller(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        loop {
            let Some(body) = &mut self.body else { return Poll::Ready(None) };
            let polled = body.poll_frame(context);
            self.progress.0.waits.store(polled.is_pending(), Ordering::Relaxed);
            match polled {
                Poll::Ready(Some(Ok(frame))) => {
                    // Trailers end here: nobody has checked what is in them.
                    let Some(frame) = let_by(frame, self.trailers.as_ref()) else { continue };
                    let length = frame.data_ref().map_or(0, Bytes::len);
                    self.progress.0.sent.fetch_add(length as u64, Ordering::Relaxed);
                    if self.idle.is_some() {
                        self.progress.stir();
                    }
                    self.wait = None;
                    return Poll::Ready(Some(Ok(frame)));
                }
                Poll::Ready(Some(Err(BrokenOff))) => {
                    return Poll::Ready(Some(Err(self.progress.broke(Broken::Caller))));
                }
                Poll::Ready(None) => {
                    self.progress.0.ended.store(!body.trails, Ordering::Relaxed);
                    return Poll::Ready(None);
                }
                Poll::Pending => {}
            }
            if self.wait.is_none() {
                self.wait = Some(Box::pin(sleep_until(self.patience())));
            }
            let Some(wait) = &mut self.wait else { continue };
            ready!(wait.as_mut().poll(context));
            let deadline = wait.deadline();
            if self.idle.is_some() && deadline < self.patience() {
                // The other side has stirred.
                self.wait = None;
                continue;
            }
            return Poll::Ready(Some(Err(self.progress.broke(Broken::SlowCaller))));
        }
    }
}

impl hyper::body::Body for Uploading {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match self.held.as_mut().and_then(|held| held.take()) {
            Some(held) => Poll::Ready(Some(Ok(Frame::data(held)))),
            None => self.poll_caller(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.held.as_ref().is_none_or(|held| held.bytes().is_empty())
            && self.body.as_ref().is_none_or(Coming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Coming::size_hint);
        self.held.as_ref().map_or(rest, |held| held.before(&rest))
    }
}
