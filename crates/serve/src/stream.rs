//! The bytes of a connection, whatever carries them.
use tokio::io::{AsyncRead, AsyncWrite};

/// A connection: a socket, or TLS over one.
pub(crate) type Stream = Box<dyn Carries>;

/// What carries a connection.
pub(crate) trait Carries: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Carries for S {}
