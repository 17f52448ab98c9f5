//! What a client needs from outside: a network and randomness. (Its clock is `decision::Clock`.)
use bytes::Bytes;
use fetch::FetchError;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use zeroize::{Zeroize, Zeroizing};

/// What takes its time.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The body of a request: it has secrets in it, and is overwritten when it is let go.
pub type Body = Zeroizing<Vec<u8>>;

/// A request on its way; what [`Transport::send`] returns.
pub type Sending<'a> = Pin<Box<dyn Future<Output = Result<http::Response<Vec<u8>>, TransportError>> + Send + 'a>>;

/// Sends one HTTP request and reads the whole answer. Bounds on size and reachable addresses are its business, and it
/// follows no redirect.
pub trait Transport: Send + Sync {
    /// Sends the request; any answer with a status is a success here.
    fn send(&self, request: http::Request<Body>) -> Sending<'_>;
}

impl Transport for fetch::Fetch {
    fn send(&self, request: http::Request<Body>) -> Sending<'_> {
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let body = Bytes::from_owner(body);
            let sent = Self::send(self, parts.method, &parts.uri.to_string(), parts.headers, body).await;
            let answer = sent.map_err(TransportError::from)?;
            let body = answer.body.to_vec();
            // Secrets are in the answer too.
            if let Ok(mut received) = answer.body.try_into_mut() {
                received.as_mut().zeroize();
            }
            let mut response = http::Response::new(body);
            *response.status_mut() = answer.status;
            *response.headers_mut() = answer.headers;
            Ok(response)
        })
    }
}

/// What kept an answer from coming, in a phrase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// No connection: nothing was sent.
    Connect,
    /// The answer did not come in time.
    Timeout,
    /// The connection broke before the answer was whole.
    Broken,
    /// The answer leads elsewhere. It is not followed: credentials would go along.
    Redirect,
    /// The answer is larger than is read.
    TooLarge,
    /// The address may not be reached.
    NotAllowed,
    /// It has failed so often just now that it is left alone for so many seconds.
    Resting(u32),
    /// The request was given up here.
    Abandoned,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "no connection",
            Self::Timeout => "no answer in time",
            Self::Broken => "the connection broke",
            Self::Redirect => "it answers with a redirect",
            Self::TooLarge => "its answer is too large",
            Self::NotAllowed => "its address may not be reached",
            Self::Resting(_) => "it failed repeatedly and is left alone for a moment",
            Self::Abandoned => "the request was abandoned",
        })
    }
}

/// No answer came. The cause is a phrase that may be shown; the detail is for a log, without anything secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{cause}{}{detail}", if detail.is_empty() { "" } else { ": " })]
pub struct TransportError {
    /// What it was.
    pub cause: Cause,
    /// More about it.
    pub detail: String,
}

impl TransportError {
    /// An error of this cause.
    pub fn new(cause: Cause, detail: impl Into<String>) -> Self {
        Self { cause, detail: detail.into() }
    }
}

impl From<Cause> for TransportError {
    fn from(cause: Cause) -> Self {
        Self::new(cause, "")
    }
}

impl From<FetchError> for TransportError {
    fn from(error: FetchError) -> Self {
        let cause = match &error {
            FetchError::Unreachable { .. } => Cause::Connect,
            FetchError::Broken { .. } => Cause::Broken,
            FetchError::Timeout(_) => Cause::Timeout,
            FetchError::TooLarge(_) => Cause::TooLarge,
            FetchError::Redirect(_) => Cause::Redirect,
            FetchError::Url(_) | FetchError::Blocked(_) | FetchError::Authorities(_) | FetchError::Proxy(_) => {
                Cause::NotAllowed
            }
        };
        Self::new(cause, error.to_string())
    }
}

/// Where unpredictable bytes come from: `state`, `nonce`, PKCE verifiers, ids of client assertions, the jitter of retries.
pub trait Random: Send + Sync {
    /// Fills all of `bytes`.
    fn fill(&self, bytes: &mut [u8]);
}

impl<F: Fn(&mut [u8]) + Send + Sync> Random for F {
    fn fill(&self, bytes: &mut [u8]) {
        self(bytes);
    }
}
