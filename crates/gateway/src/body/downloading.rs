//! A service's answer on its way to the caller, and how one ends that is a stream.
use super::{Broken, BrokenOff, Coming, Progress, let_by};
use crate::stream::{Over, Trailers, Watch};
use crate::upstream::{Lease, Slot};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Version};
use http_body_util::BodyExt;
use hyper::body::{Frame, Incoming, SizeHint};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, Sleep, sleep_until, timeout};

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
    lease: Lease,
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
            lease,
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
                    // Where the next answer begins is in doubt.
                    if self.body.trails {
                        self.lease.spend();
                    }
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

    fn is_end_stream(&self) -> bool {
        self.over || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
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
        let whole = self.body.is_end_stream() && !self.over;
        self.ended(whole);
    }
}

/// What a service says after an answer that is whole with its head, as over HTTP/2 it can: its end, or what belongs to nobody. It is waited
/// for a moment, since services keep count of streams that are given up.
pub(crate) async fn rest(mut body: Incoming, lease: Lease, slot: Slot) {
    let is_empty = |frame: Frame<Bytes>| frame.data_ref().is_some_and(Bytes::is_empty);
    let end = async { while body.frame().await.is_some_and(|frame| frame.is_ok_and(is_empty)) {} };
    let _ = timeout(Duration::from_secs(1), end).await;
    drop((body, lease, slot));
}
