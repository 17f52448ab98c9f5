//! Sockets by the addresses that settings have.
use crate::settings::Bind;
use serve::Socket;
use std::io;

/// A socket that is bound, and not served yet.
#[derive(Debug)]
pub struct Bound(Socket);

impl Bound {
    /// Binds it. A Unix socket that an earlier process left behind is replaced; one that somebody serves is not.
    ///
    /// # Errors
    /// If the address cannot be had.
    pub async fn bind(bind: &Bind) -> io::Result<Self> {
        match bind {
            Bind::Tcp(address) => Socket::tcp(*address).await.map(Self),
            Bind::Unix(path) => Socket::unix(path).await.map(Self),
        }
    }

    /// Where it is.
    pub fn address(&self) -> Option<Bind> {
        match &self.0 {
            Socket::Tcp(listener) => listener.local_addr().ok().map(Bind::Tcp),
            Socket::Unix(_, path) => Some(Bind::Unix(path.clone())),
        }
    }
}

impl From<Bound> for Socket {
    fn from(bound: Bound) -> Self {
        bound.0
    }
}
