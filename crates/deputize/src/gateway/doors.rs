//! Where callers are listened to, and what listens.
use super::Read;
use crate::failure::Failure;
use crate::listen::{self, Sockets};
use gateway::{Entrance, Gateway};
use serve::{Listeners, Socket};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// How many connections there are at once for those who watch over it and manage it.
const BESIDE: usize = 256;

/// What listens. Each has connections of its own: who takes all of one keeps nobody away from another.
pub(super) struct Listening {
    /// Callers of the APIs.
    pub(super) callers: Listeners,
    /// Proxies of this machine, which ask about callers of their own. All of them come from one address.
    pub(super) proxies: Listeners,
    /// Those who watch over the gateway and manage it.
    pub(super) beside: Listeners,
}

impl Listening {
    /// Nothing yet; a caller has at most this share, those excepted that are proxies.
    pub(super) fn new(share: usize, gateway: &Arc<Gateway>) -> Self {
        let (mut callers, mut beside) = (Listeners::new(), Listeners::at_most(BESIDE));
        let gateway = Arc::clone(gateway);
        callers.share(share, move |address| gateway.is_proxy(address));
        beside.share(BESIDE / 4, |_| false);
        Self { callers, proxies: Listeners::new(), beside }
    }

    /// [`Listeners::leave`].
    pub(super) async fn leave(&mut self, linger: Duration) {
        tokio::join!(self.callers.leave(linger), self.proxies.leave(linger), self.beside.leave(linger));
    }

    /// [`Listeners::drain`].
    pub(super) async fn drain(&mut self, drain: Duration) {
        tokio::join!(self.callers.drain(drain), self.proxies.drain(drain), self.beside.drain(drain));
    }

    /// [`Listeners::cut`].
    pub(super) async fn cut(self) {
        tokio::join!(self.callers.cut(), self.proxies.cut(), self.beside.cut());
    }
}

/// A listener, and what it is bound to.
pub(super) struct Bound {
    pub(super) entrance: Arc<Entrance>,
    pub(super) sockets: Vec<Socket>,
}

/// The addresses of every listener of the file, each of them once; `are_encrypted` says of each whether TLS is spoken there.
pub(super) fn addresses(read: &Read, are_encrypted: &[bool]) -> Result<Vec<Vec<SocketAddr>>, Failure> {
    let mut all: Vec<Vec<SocketAddr>> = Vec::new();
    for (is_encrypted, wanted) in are_encrypted.iter().zip(read.file.addresses()) {
        let misplaced = |problem: &str, hint: &str| match wanted {
            Some(listen) => read.text.fault(&listen.span(), problem, hint),
            None => Failure::new(problem, hint),
        };
        let addresses = listen::parse(wanted.map_or("localhost:8443", |listen| listen.get_ref()))
            .ok_or_else(|| misplaced("this is no address to listen at", "write `localhost:8443` or `0.0.0.0:8443`"))?;
        if !is_encrypted && !addresses.iter().all(|address| address.ip().is_loopback()) {
            let hint = "add `[[certificate]]` with `certificate` and `key` and no `plain`, or listen on `localhost`";
            return Err(misplaced("HTTP without TLS is served on loopback only", hint));
        }
        let taken = |address: &SocketAddr| address.port() != 0 && all.iter().flatten().any(|other| other == address);
        if addresses.iter().any(taken) {
            return Err(misplaced("another listener has this address", "choose another"));
        }
        all.push(addresses);
    }
    Ok(all)
}

/// Binds them, or takes them over.
pub(super) async fn bind(
    gateway: &Arc<Gateway>,
    addresses: &[Vec<SocketAddr>],
    sockets: &mut Sockets,
) -> Result<Vec<Bound>, Failure> {
    let mut all = Vec::new();
    for (entrance, addresses) in gateway.entrances().into_iter().zip(addresses) {
        let sockets = sockets.tcp(addresses, "choose another address to listen at").await?;
        all.push(Bound { entrance: Arc::new(entrance), sockets });
    }
    Ok(all)
}
