//! Requests that are passed on: bodies go through as they come, in both directions, and the answer is what it is.
use crate::client::refusal;
use crate::{Fetch, FetchError};
use bytes::Bytes;
use http::{HeaderMap, Method, Response};
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep, timeout};

/// The body of a request that is passed on.
pub type Passing = UnsyncBoxBody<Bytes, Box<dyn Error + Send + Sync>>;

/// The body of its answer. It breaks off where nothing comes for too long.
pub struct Passed {
    body: Incoming,
    /// How much of the request has gone out, and how much of it when the wait was set.
    sent: Arc<AtomicUsize>,
    seen: usize,
    silence: Duration,
    timer: Pin<Box<Sleep>>,
    host: String,
}

impl Fetch {
    /// Passes a request on with these headers and no others, and gives back the answer whatever it is: a redirect too, which
    /// is not followed. Silence ends it: where for `patience` nothing goes out and nothing comes in, neither before the head of
    /// the answer nor after it. Trailers of the request are dropped: who reads them has decided on the head.
    ///
    /// # Errors
    /// If there is no answer.
    pub async fn pass(
        &self,
        method: Method,
        url: &str,
        headers: HeaderMap,
        body: Passing,
        patience: Duration,
    ) -> Result<Response<Passed>, FetchError> {
        let (uri, host) = self.target(url)?;
        let sent = Arc::new(AtomicUsize::new(0));
        let mut request = http::Request::new(Passing::new(Outgoing { body, sent: Arc::clone(&sent) }));
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        let mut asked = Box::pin(self.passing.request(request));
        let answer = loop {
            let seen = sent.load(Ordering::Relaxed);
            match timeout(patience, &mut asked).await {
                Ok(answer) => break answer.map_err(|e| refusal(&e, &host))?,
                Err(_) if sent.load(Ordering::Relaxed) != seen => {}
                Err(_) => return Err(FetchError::Timeout(host)),
            }
        };
        let (seen, timer) = (sent.load(Ordering::Relaxed), Box::pin(sleep(patience)));
        Ok(answer.map(|body| Passed { body, sent, seen, silence: patience, timer, host }))
    }
}

/// The body of a request, which counts what of it has gone out.
struct Outgoing {
    body: Passing,
    sent: Arc<AtomicUsize>,
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        loop {
            let frame = match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Ok(frame)) => frame,
                other => return Poll::Ready(other),
            };
            if frame.is_data() {
                self.sent.fetch_add(1, Ordering::Relaxed);
                return Poll::Ready(Some(Ok(frame)));
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Body for Passed {
    type Data = Bytes;
    type Error = FetchError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, FetchError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            let again = Instant::now() + self.silence;
            self.timer.as_mut().reset(again);
            let broken =
                |error: hyper::Error| FetchError::Broken { host: self.host.clone(), reason: error.to_string() };
            return Poll::Ready(frame.map(|frame| frame.map_err(broken)));
        }
        loop {
            ready!(self.timer.as_mut().poll(context));
            let sent = self.sent.load(Ordering::Relaxed);
            if sent == self.seen {
                return Poll::Ready(Some(Err(FetchError::Timeout(self.host.clone()))));
            }
            let again = Instant::now() + self.silence;
            self.seen = sent;
            self.timer.as_mut().reset(again);
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl fmt::Debug for Passed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Passed").field("host", &self.host).finish_non_exhaustive()
    }
}
