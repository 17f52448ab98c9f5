//! Bodies on their way: streamed, without trailers where nobody asks for them, and no slower than is patient.
mod downloading;
mod uploading;

use crate::stream::Trailers;
use bytes::Bytes;
pub(crate) use downloading::{Downloading, Streamed, rest};
use http::{HeaderMap, Version};
use http_body_util::Full;
use hyper::body::{Body as _, Frame, Incoming, SizeHint};
use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
pub(crate) use uploading::{Progress, Uploading};

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
            Kind::Stream(stream) => stream.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Text(text) => text.size_hint(),
            Kind::Stream(stream) => stream.size_hint(),
        }
    }
}

/// A body as it comes. Over HTTP/2 it has ended only where its sender says so: the library takes a stream that was reset without an error
/// for one that has ended, so half of a message would be a whole one (RFC 9113 section 8.1).
struct Coming {
    body: Incoming,
    says_its_end: bool,
    /// Whether it had trailers of HTTP/1.1, behind which nobody knows for sure where the next message begins.
    trails: bool,
}

impl Coming {
    fn new(body: Incoming, version: Version) -> Self {
        Self { body, says_its_end: version == Version::HTTP_2, trails: false }
    }

    fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        match ready!(Pin::new(&mut self.body).poll_frame(context)) {
            Some(Ok(frame)) if frame.trailers_ref().is_some_and(|fields| self.trail(fields)) => {
                Poll::Ready(Some(Err(BrokenOff)))
            }
            Some(frame) => Poll::Ready(Some(frame.map_err(|_| BrokenOff))),
            None if self.says_its_end && !self.body.is_end_stream() => Poll::Ready(Some(Err(BrokenOff))),
            None => Poll::Ready(None),
        }
    }

    /// It has trailers. Of those of HTTP/1.1 the library reads what stands before an empty line, and looks for their end behind one: what
    /// is between belongs to nobody. Whether there are none, where there were some.
    fn trail(&mut self, fields: &HeaderMap) -> bool {
        self.trails = !self.says_its_end;
        self.trails && fields.is_empty()
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

struct BrokenOff;

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
