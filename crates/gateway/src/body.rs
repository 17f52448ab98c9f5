//! Bodies on their way: streamed, without trailers where nobody asks for them, and no slower than is patient.
mod held;

use crate::stream::{Over, Trailers, Watch};
use crate::upstream::{Lease, Slot};
use bytes::Bytes;
use held::Held;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Version};
use http_body_util::Full;
use hyper::body::{Body as _, Frame, Incoming, SizeHint};
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::sync::watch;
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
    /// A stream that is over before both sides are through.
    Over,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SlowCaller => "the body came too slowly",
            Self::Caller => "the body broke off",
            Self::Service => "the service's answer broke off",
            Self::Over => "the stream was ended",
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
            Kind::Stream(stream) => stream.over || stream.body.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Text(text) => text.size_hint(),
            Kind::Stream(stream) => stream.body.body.size_hint(),
        }
    }
}

/// A body as it comes. Over HTTP/2 it has ended only where its sender says so: the library takes a stream that was reset without an error
/// for one that has ended, so half of a message would be a whole one (RFC 9113 section 8.1).
struct Coming {
    body: Incoming,
    says_its_end: bool,
}

impl Coming {
    fn new(body: Incoming, version: Version) -> Self {
        Self { body, says_its_end: version == Version::HTTP_2 }
    }

    fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        match ready!(Pin::new(&mut self.body).poll_frame(context)) {
            Some(frame) => Poll::Ready(Some(frame.map_err(|_| BrokenOff))),
            None if self.says_its_end && !self.body.is_end_stream() => Poll::Ready(Some(Err(BrokenOff))),
            None => Poll::Ready(None),
        }
    }
}

struct BrokenOff;

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
}

impl Uploading {
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
                Poll::Ready(None) => return Poll::Ready(None),
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
            && self.body.as_ref().is_none_or(|coming| coming.body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), |coming| coming.body.size_hint());
        self.held.as_ref().map_or(rest, |held| held.before(&rest))
    }
}

/// A frame that goes on: data, and trailers where somebody asks for them.
fn let_by(frame: Frame<Bytes>, trailers: Option<&Trailers>) -> Option<Frame<Bytes>> {
    let frame = match frame.into_data() {
        Ok(data) => return Some(Frame::data(data)),
        Err(frame) => frame,
    };
    let (mut fields, trailers) = (frame.into_trailers().ok()?, trailers?);
    trailers.filter(&mut fields);
    Some(Frame::trailers(fields))
}

/// An answer that is a stream.
pub(crate) struct Streamed {
    watch: Watch,
    progress: Progress,
    trailers: Option<Trailers>,
    shape: Shape,
    /// Where its reader comes back by itself: until the gateway leaves.
    stays: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

/// How a stream is ended that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// As if it were whole: readers of events come back, and are checked then.
    Events,
    /// With a status that says why (`grpc-status`).
    Grpc,
    /// As what is not whole.
    Other,
}

impl Streamed {
    pub(crate) fn new(
        (watch, trailers): (Watch, Option<Trailers>),
        progress: Progress,
        headers: &HeaderMap,
        leaves: Option<watch::Receiver<bool>>,
    ) -> Self {
        let kind = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
        let is = |beginning: &[u8]| kind.get(..beginning.len()).is_some_and(|it| it.eq_ignore_ascii_case(beginning));
        let shape = if is(b"text/event-stream") {
            Shape::Events
        } else if is(b"application/grpc") && trailers.is_some() {
            Shape::Grpc
        } else {
            Shape::Other
        };
        // What begins after that has the time that there is.
        let leaves = leaves.filter(|leaves| shape == Shape::Events && !*leaves.borrow());
        let stays = leaves.map(|mut leaves| -> Pin<Box<dyn Future<Output = ()> + Send>> {
            Box::pin(async move { drop(leaves.wait_for(|leaves| *leaves).await) })
        });
        Self { watch, progress, trailers, shape, stays }
    }
}

/// A service's answer on its way to the caller.
pub(crate) struct Downloading {
    body: Coming,
    silence: Duration,
    /// Where it is a stream.
    streamed: Option<Box<Streamed>>,
    /// Whether it was ended, and nothing follows.
    over: bool,
    wait: Option<Pin<Box<Sleep>>>,
    /// Who counts what is under way; `None` once it is over.
    on_end: Option<OnEnd>,
    sent: u64,
    _slot: Slot,
    /// The connection that it comes over.
    _lease: Lease,
}

/// Told once, with the bytes that went by and whether all did.
pub(crate) type OnEnd = Box<dyn FnOnce(u64, bool) + Send>;

impl Downloading {
    pub(crate) fn new(body: Incoming, version: Version, silence: Duration, slot: Slot, lease: Lease) -> Self {
        Self {
            body: Coming::new(body, version),
            silence,
            streamed: None,
            over: false,
            wait: None,
            on_end: None,
            sent: 0,
            _slot: slot,
            _lease: lease,
        }
    }

    pub(crate) fn streamed(mut self, streamed: Option<Streamed>) -> Self {
        self.streamed = streamed.map(Box::new);
        self
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
        if self.streamed.is_some()
            && let Poll::Ready(last) = self.poll_over(context)
        {
            return Poll::Ready(last);
        }
        loop {
            match self.body.poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => {
                    let streamed = self.streamed.as_deref();
                    let trailers = streamed.and_then(|streamed| streamed.trailers.as_ref());
                    let Some(frame) = let_by(frame, trailers) else { continue };
                    if let Some(streamed) = streamed {
                        streamed.progress.stir();
                    }
                    self.sent += frame.data_ref().map_or(0, Bytes::len) as u64;
                    self.wait = None;
                    return Poll::Ready(Some(Ok(frame)));
                }
                Poll::Ready(Some(Err(BrokenOff))) => {
                    self.ended(false);
                    return Poll::Ready(Some(Err(Broken::Service)));
                }
                Poll::Ready(None) => {
                    self.ended(true);
                    return Poll::Ready(None);
                }
                Poll::Pending => {}
            }
            // What has come by then is told before.
            if let Some(stays) = self.streamed.as_mut().and_then(|streamed| streamed.stays.as_mut())
                && stays.as_mut().poll(context).is_ready()
            {
                self.over = true;
                self.ended(false);
                return Poll::Ready(None);
            }
            if self.wait.is_none() {
                self.wait = Some(Box::pin(sleep_until(self.patience())));
            }
            let Some(wait) = &mut self.wait else { continue };
            ready!(wait.as_mut().poll(context));
            let deadline = wait.deadline();
            if self.streamed.is_some() && deadline < self.patience() {
                // The other side has stirred.
                self.wait = None;
                continue;
            }
            self.ended(false);
            return Poll::Ready(Some(Err(Broken::Service)));
        }
    }
}

impl Downloading {
    /// Until when the service may be silent.
    fn patience(&self) -> Instant {
        match &self.streamed {
            Some(streamed) => streamed.progress.patience(self.silence),
            None => Instant::now() + self.silence,
        }
    }

    /// What a stream ends with that is over.
    fn poll_over(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        if self.over {
            return Poll::Ready(None);
        }
        let Some(streamed) = &mut self.streamed else { return Poll::Pending };
        let over = ready!(streamed.watch.poll_over(context));
        let shape = streamed.shape;
        self.over = true;
        self.ended(false);
        Poll::Ready(match shape {
            Shape::Events => None,
            Shape::Grpc => Some(Ok(Frame::trailers(grpc_status(over)))),
            Shape::Other => Some(Err(Broken::Over)),
        })
    }
}

/// UNAUTHENTICATED or UNAVAILABLE, and why.
fn grpc_status(over: Over) -> HeaderMap {
    let (status, message) = match over {
        Over::Expired => ("16", "the token has expired"),
        Over::Refused => ("16", "the token is good no more"),
        Over::SignedOut => ("16", "the session is over"),
        Over::Lasted => ("14", "the stream has lasted as long as it may"),
    };
    let fields = [("grpc-status", status), ("grpc-message", message)];
    fields.map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).into_iter().collect()
}

impl Drop for Downloading {
    fn drop(&mut self) {
        // A body whose length is known is dropped at its end without being asked for more.
        let whole = self.body.body.is_end_stream() && !self.over;
        self.ended(whole);
    }
}
