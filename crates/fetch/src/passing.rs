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
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep};

/// The body of a request that is passed on.
pub type Passing = UnsyncBoxBody<Bytes, Box<dyn Error + Send + Sync>>;

/// The body of its answer. It breaks off where nothing comes for too long.
pub struct Passed {
    body: Incoming,
    silence: Duration,
    timer: Pin<Box<Sleep>>,
    host: String,
}

impl Fetch {
    /// Passes a request on with these headers and no others, and gives back the answer whatever it is: a redirect too, which
    /// is not followed. The head has to come within `patience`, and so does each piece of the body after it.
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
        let mut request = http::Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        let asked = Box::pin(self.passing.request(request));
        let answer = match tokio::time::timeout(patience, asked).await {
            Ok(answer) => answer.map_err(|e| refusal(&e, &host))?,
            Err(_) => return Err(FetchError::Timeout(host)),
        };
        let timer = Box::pin(sleep(patience));
        Ok(answer.map(|body| Passed { body, silence: patience, timer, host }))
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
        ready!(self.timer.as_mut().poll(context));
        Poll::Ready(Some(Err(FetchError::Timeout(self.host.clone()))))
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
