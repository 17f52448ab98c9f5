//! An answer that is under way: a request is not over before all of its answer has been sent.
use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use tokio::sync::watch;

/// Counts the requests that are over: each when it is dropped.
pub(super) struct Over(pub(super) Arc<AtomicUsize>);

impl Drop for Over {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// The body of an answer. One that waits for what is yet to come ends with the server: its reader comes back elsewhere.
pub(super) struct UnderWay {
    body: Body,
    ending: Pin<Box<dyn Future<Output = ()> + Send>>,
    _over: Over,
}

impl UnderWay {
    pub(super) fn new(body: Body, mut ended: watch::Receiver<bool>, over: Over) -> Self {
        let ending = Box::pin(async move { drop(ended.wait_for(|ended| *ended).await) });
        Self { body, ending, _over: over }
    }
}

impl HttpBody for UnderWay {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        match Pin::new(&mut self.body).poll_frame(context) {
            Poll::Pending => self.ending.as_mut().poll(context).map(|()| None),
            ready @ Poll::Ready(_) => ready,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
