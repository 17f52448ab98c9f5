//! The one accept loop: HTTP/1.1 and HTTP/2 over TCP or a Unix socket, with or without TLS, with bounds on time and number, and
//! an orderly end.
//!
//! Whoever is served stands behind [`Serve`], and hears of each request who sent it ([`Caller`]). [`Listeners`] keep the sockets of
//! a process: connections over the cap wait in the system's queue, a head is waited for ten seconds, a connection that is kept two
//! minutes, and a request as long as its service takes.
//!
//! ```
//! use bytes::Bytes;
//! use deputize_serve::{Caller, DRAIN, Listeners, Serve, Socket};
//! use http::{Request, Response};
//! use hyper::body::{Body, Frame, Incoming};
//! use std::pin::Pin;
//! use std::task::{Context, Poll};
//!
//! struct Nothing;
//! impl Body for Nothing {
//!     type Data = Bytes;
//!     type Error = std::convert::Infallible;
//!     fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
//!         Poll::Ready(None)
//!     }
//! }
//! struct Empty;
//! impl Serve for Empty {
//!     type Body = Nothing;
//!     async fn answer(&self, _: Request<Incoming>, _: Caller) -> Response<Nothing> {
//!         Response::new(Nothing)
//!     }
//! }
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! let mut listeners = Listeners::new();
//! let socket = Socket::tcp("127.0.0.1:0".parse().unwrap()).await.unwrap();
//! listeners.add(socket, None, std::sync::Arc::new(Empty));
//! listeners.end(DRAIN).await;
//! # });
//! ```
#![warn(missing_docs)]

mod behind;
mod given;
mod handover;
mod in_order;
mod listeners;
mod mutual;
mod peer;
mod proxy;
mod share;
mod shown;
mod silence;
mod socket;
mod stream;
mod tls;

pub use behind::Service;
pub use handover::{Offer, Predecessor};
pub use listeners::{Caller, DRAIN, Gate, Kept, Listeners, Serve, Way, caught};
pub use mutual::Mutual;
pub use peer::Peer;
pub use share::{OverShare, Share, Shares, subscriber};
pub use shown::Shown;
pub use socket::Socket;
pub use tls::{Tls, server_config};
