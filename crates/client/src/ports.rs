//! What a client needs from outside: a network and randomness. (Its clock is `decision::Clock`.)
use std::future::Future;
use std::pin::Pin;

/// What takes its time.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A request on its way; what [`Transport::send`] returns.
pub type Sending<'a> = Pin<Box<dyn Future<Output = Result<http::Response<Vec<u8>>, TransportError>> + Send + 'a>>;

/// Sends one HTTP request and reads the whole answer. Bounds on time, size and reachable addresses are its business.
pub trait Transport: Send + Sync {
    /// Sends the request; any answer with a status is a success here.
    fn send(&self, request: http::Request<Vec<u8>>) -> Sending<'_>;
}

impl Transport for fetch::Fetch {
    fn send(&self, request: http::Request<Vec<u8>>) -> Sending<'_> {
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let sent = Self::send(self, parts.method, &parts.uri.to_string(), parts.headers, body.into()).await;
            let answer = sent.map_err(|error| TransportError(error.to_string()))?;
            let mut response = http::Response::new(answer.body.into());
            *response.status_mut() = answer.status;
            *response.headers_mut() = answer.headers;
            Ok(response)
        })
    }
}

/// No answer came: the reason for a log, without anything secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TransportError(pub String);

/// Where unpredictable bytes come from: `state`, `nonce`, PKCE verifiers, ids of client assertions.
pub trait Random: Send + Sync {
    /// Fills all of `bytes`.
    fn fill(&self, bytes: &mut [u8]);
}

impl<F: Fn(&mut [u8]) + Send + Sync> Random for F {
    fn fill(&self, bytes: &mut [u8]) {
        self(bytes);
    }
}
