//! How a connection ends: a socket that is closed over bytes that nobody has read is reset, and the reset takes away the answer
//! that the client has not read yet (RFC 9112 section 9.6). So what a client goes on to send after a refusal is thrown away for
//! a while.
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;
use tokio::time::{Sleep, sleep};

/// How long a client may go on sending what nobody reads.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// A stream that ends in order.
pub(crate) struct InOrder<S: AsyncWrite + Unpin> {
    stream: S,
    /// Set once the server ends: nobody is waited for then.
    ended: watch::Receiver<bool>,
    /// Set once all is written.
    until: Option<Pin<Box<Sleep>>>,
    /// Whether it says so where it ends out of order: over HTTP/2 that takes nothing for whole that is not, and over HTTP/1.0 it would.
    tells: bool,
}

impl<S: AsyncWrite + Unpin> InOrder<S> {
    pub(crate) fn new(stream: S, ended: watch::Receiver<bool>, tells: bool) -> Self {
        Self { stream, ended, until: None, tells }
    }
}

/// TLS has a last word (`close_notify`, RFC 8446 section 6.1), without which what came before may have been cut off by anybody.
impl<S: AsyncWrite + Unpin> Drop for InOrder<S> {
    fn drop(&mut self) {
        if self.tells && self.until.is_none() {
            let _ = Pin::new(&mut self.stream).poll_shutdown(&mut Context::from_waker(Waker::noop()));
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for InOrder<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, to)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for InOrder<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { stream, ended, until, .. } = &mut *self;
        if until.is_none() {
            ready!(Pin::new(&mut *stream).poll_shutdown(context))?;
        }
        let until = until.get_or_insert_with(|| Box::pin(sleep(PATIENCE)));
        let mut thrown_away = [0; 8 << 10];
        while !*ended.borrow() && until.as_mut().poll(context).is_pending() {
            let mut some = ReadBuf::new(&mut thrown_away);
            let read = ready!(Pin::new(&mut *stream).poll_read(context, &mut some));
            if read.is_err() || some.filled().is_empty() {
                break;
            }
        }
        Poll::Ready(Ok(()))
    }
}
