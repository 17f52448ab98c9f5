//! Answers that do not end: read in pieces, each bounded in time.
use crate::client::refusal;
use crate::{Fetch, FetchError};
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use std::fmt;
use std::time::Duration;

/// An answer whose body is read as it comes.
pub struct Streaming {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    body: Incoming,
    host: String,
}

impl Fetch {
    /// Fetches a document that goes on, such as server-sent events. Only its head has to come within the usual time.
    /// It has a connection of its own, which ends with it.
    pub async fn stream(&self, url: &str, headers: HeaderMap) -> Result<Streaming, FetchError> {
        let (request, host) = self.request(Method::GET, url, headers, Bytes::new())?;
        let asked = Box::pin(self.streaming.request(request));
        let answer = match tokio::time::timeout(self.total, asked).await {
            Ok(answer) => answer.map_err(|e| refusal(&e, &host))?,
            Err(_) => return Err(FetchError::Timeout(host)),
        };
        let (parts, body) = answer.into_parts();
        if parts.status.is_redirection() {
            return Err(FetchError::Redirect(host));
        }
        Ok(Streaming { status: parts.status, headers: parts.headers, body, host })
    }
}

impl Streaming {
    /// The next piece; `None` where the answer ends. Waits no longer than `silence`.
    pub async fn chunk(&mut self, silence: Duration) -> Result<Option<Bytes>, FetchError> {
        loop {
            let Ok(frame) = tokio::time::timeout(silence, self.body.frame()).await else {
                return Err(FetchError::Timeout(self.host.clone()));
            };
            match frame {
                None => return Ok(None),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
                Some(Err(error)) => {
                    return Err(FetchError::Broken { host: self.host.clone(), reason: error.to_string() });
                }
            }
        }
    }
}

impl fmt::Debug for Streaming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Streaming").field("host", &self.host).field("status", &self.status).finish_non_exhaustive()
    }
}
