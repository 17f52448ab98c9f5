//! Bodies on their way: streamed, without trailers, and no slower than is patient.
use crate::upstream::Lease;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body as _, Frame, Incoming, SizeHint};
use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep, sleep_until};

/// How long a caller may take for a body of any size, and how many bytes it has to send in each further second.
const GRACE: Duration = Duration::from_secs(30);
const BYTES_PER_SECOND: u64 = 500;

/// An answer's body.
pub struct Body(Kind);

enum Kind {
    Text(Full<Bytes>),
    Stream(Box<Downloading>),
}

/// Why a body breaks off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// The caller sends too slowly.
    SlowCaller,
    /// The caller stopped, or sent what is no body.
    Caller,
    /// The service stopped, or is silent for too long.
    Service,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SlowCaller => "the body came too slowly",
            Self::Caller => "the body broke off",
            Self::Service => "the service's answer broke off",
        })
    }
}

impl Error for Broken {}

impl Body {
    pub(crate) fn text(text: impl Into<Bytes>) -> Self {
        Self(Kind::Text(Full::new(text.into())))
    }

    pub(crate) fn stream(downloading: Downloading) -> Self {
        Self(Kind::Stream(Box::new(downloading)))
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match &mut self.0 {
            Kind::Text(text) => Pin::new(text).poll_frame(context).map_err(|never| match never {}),
            Kind::Stream(stream) => Pin::new(&mut **stream).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Text(text) => text.is_end_stream(),
            Kind::Stream(stream) => stream.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Text(text) => text.size_hint(),
            Kind::Stream(stream) => stream.body.size_hint(),
        }
    }
}

/// A caller's body on its way to a service.
pub(crate) struct Uploading {
    /// `None` is none.
    body: Option<Incoming>,
    began: Instant,
    /// Set once the caller is waited for.
    wait: Option<Pin<Box<Sleep>>>,
    progress: Progress,
}

/// What becomes of a caller's body, told to who waits for the service.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress(Arc<State>);

#[derive(Debug, Default)]
struct State {
    broken: AtomicU8,
    sent: AtomicU64,
    /// Whether the caller is waited for.
    waits: AtomicBool,
}

impl Progress {
    fn broke(&self, broken: Broken) -> Broken {
        self.0.broken.store(if broken == Broken::SlowCaller { 1 } else { 2 }, Ordering::Relaxed);
        broken
    }

    /// How many bytes went by.
    pub(crate) fn sent(&self) -> u64 {
        self.0.sent.load(Ordering::Relaxed)
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
    pub(crate) fn new(body: Incoming, progress: Progress) -> Self {
        Self { body: Some(body), began: Instant::now(), wait: None, progress }
    }

    /// No body.
    pub(crate) fn none(progress: Progress) -> Self {
        Self { body: None, began: Instant::now(), wait: None, progress }
    }

    /// Until when what was sent so far is not too slow.
    fn patience(&self) -> Instant {
        self.began + GRACE + Duration::from_secs(self.progress.sent() / BYTES_PER_SECOND)
    }
}

impl hyper::body::Body for Uploading {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        loop {
            let Some(body) = &mut self.body else { return Poll::Ready(None) };
            let polled = Pin::new(body).poll_frame(context);
            self.progress.0.waits.store(polled.is_pending(), Ordering::Relaxed);
            match polled {
                Poll::Ready(Some(Ok(frame))) => {
                    // Trailers end here: nobody has checked what is in them.
                    let Ok(data) = frame.into_data() else { continue };
                    self.progress.0.sent.fetch_add(data.len() as u64, Ordering::Relaxed);
                    self.wait = None;
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Poll::Ready(Some(Err(_))) => return Poll::Ready(Some(Err(self.progress.broke(Broken::Caller)))),
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => {}
            }
            let until = self.patience();
            let wait = self.wait.get_or_insert_with(|| Box::pin(sleep_until(until)));
            ready!(wait.as_mut().poll(context));
            return Poll::Ready(Some(Err(self.progress.broke(Broken::SlowCaller))));
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Incoming::size_hint)
    }
}

/// A service's answer on its way to the caller.
pub(crate) struct Downloading {
    body: Incoming,
    silence: Duration,
    wait: Option<Pin<Box<Sleep>>>,
    /// Who counts what is under way; `None` once it is over.
    on_end: Option<OnEnd>,
    sent: u64,
    _slot: OwnedSemaphorePermit,
    /// The connection that it comes over.
    _lease: Lease,
}

/// Told once, with the bytes that went by and whether all did.
pub(crate) type OnEnd = Box<dyn FnOnce(u64, bool) + Send>;

impl Downloading {
    pub(crate) fn new(body: Incoming, silence: Duration, slot: OwnedSemaphorePermit, lease: Lease) -> Self {
        Self { body, silence, wait: None, on_end: None, sent: 0, _slot: slot, _lease: lease }
    }

    pub(crate) fn on_end(mut self, told: OnEnd) -> Self {
        self.on_end = Some(told);
        self
    }

    fn ended(&mut self, whole: bool) {
        if let Some(told) = self.on_end.take() {
            told(self.sent, whole);
        }
    }
}

impl hyper::body::Body for Downloading {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        loop {
            match Pin::new(&mut self.body).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => {
                    let Ok(data) = frame.into_data() else { continue };
                    self.sent += data.len() as u64;
                    self.wait = None;
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Poll::Ready(Some(Err(_))) => {
                    self.ended(false);
                    return Poll::Ready(Some(Err(Broken::Service)));
                }
                Poll::Ready(None) => {
                    self.ended(true);
                    return Poll::Ready(None);
                }
                Poll::Pending => {}
            }
            let silence = self.silence;
            let wait = self.wait.get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + silence)));
            ready!(wait.as_mut().poll(context));
            self.ended(false);
            return Poll::Ready(Some(Err(Broken::Service)));
        }
    }
}

impl Drop for Downloading {
    fn drop(&mut self) {
        // A body whose length is known is dropped at its end without being asked for more.
        let whole = self.body.is_end_stream();
        self.ended(whole);
    }
}
