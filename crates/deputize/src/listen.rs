//! Binding ports, so that what is wrong is known before anything else is done.
use crate::failure::{Failure, why};
use serve::{Offer, Predecessor, Socket};
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::path::Path;
use tokio::net::TcpListener;

/// The sockets of one address. `localhost` is two: clients try either.
pub(crate) struct Bound(pub(crate) Vec<TcpListener>);

/// Where to listen: `localhost:8443`, or an address and a port.
pub(crate) fn parse(text: &str) -> Option<Vec<SocketAddr>> {
    match text.strip_prefix("localhost:") {
        Some(port) => port.parse().ok().map(localhost),
        None => text.parse().ok().map(|address| vec![address]),
    }
}

/// Both loopback addresses.
pub(crate) fn localhost(port: u16) -> Vec<SocketAddr> {
    vec![(Ipv4Addr::LOCALHOST, port).into(), (Ipv6Addr::LOCALHOST, port).into()]
}

/// Binds them all; a machine without IPv6 does without.
pub(crate) async fn bind(addresses: &[SocketAddr], other: &str) -> Result<Bound, Failure> {
    bind_after(addresses, other, None).await
}

/// The same, but for those that a process before this one has.
async fn bind_after(
    addresses: &[SocketAddr],
    other: &str,
    mut before: Option<&mut Predecessor>,
) -> Result<Bound, Failure> {
    let mut bound = Vec::new();
    for address in addresses {
        if let Some(listener) = before.as_mut().and_then(|before| before.tcp(*address)) {
            bound.push(listener);
            continue;
        }
        match TcpListener::bind(address).await {
            Ok(listener) => bound.push(listener),
            // Were the port taken there by somebody else, clients would reach them: only a missing IPv6 is passed over.
            Err(error) if !bound.is_empty() && address.is_ipv6() && !in_use(&error) => {}
            Err(error) if in_use(&error) => {
                return Err(Failure::new(format!("port {} of {} is in use", address.port(), address.ip()), other));
            }
            Err(error) => {
                let error = format!("cannot listen on {address}: {}", why(&error));
                return Err(Failure::new(error, other));
            }
        }
    }
    Ok(Bound(bound))
}

/// The sockets of a process that may take them over from one that runs, and leave them to another.
#[derive(Default)]
pub(crate) struct Sockets {
    before: Option<Predecessor>,
    /// Each once more, for whoever comes after.
    shared: Vec<OwnedFd>,
}

impl Sockets {
    /// Those of the process that offers its own at this path, if there is one.
    pub(crate) async fn after(path: &Path) -> io::Result<Self> {
        Ok(Self { before: Predecessor::find(path).await?, shared: Vec::new() })
    }

    /// Takes them over, or binds them.
    pub(crate) async fn tcp(&mut self, addresses: &[SocketAddr], other: &str) -> Result<Vec<Socket>, Failure> {
        let bound = bind_after(addresses, other, self.before.as_mut()).await?;
        let sockets: Vec<Socket> = bound.0.into_iter().map(Socket::Tcp).collect();
        self.share(&sockets);
        Ok(sockets)
    }

    /// Takes it over, or binds it.
    pub(crate) async fn unix(&mut self, path: &Path) -> io::Result<Socket> {
        let socket = match self.before.as_mut().and_then(|before| before.unix(path)) {
            Some(listener) => Socket::Unix(listener, path.to_owned()),
            None => Socket::unix(path).await?,
        };
        self.share(std::slice::from_ref(&socket));
        Ok(socket)
    }

    fn share(&mut self, sockets: &[Socket]) {
        self.shared.extend(sockets.iter().filter_map(|socket| socket.share().ok()));
    }

    /// Tells the process before that this one serves, and offers the sockets to the next. Whether there was one.
    pub(crate) async fn served(self, path: &Path) -> io::Result<(Offer, bool)> {
        let Self { before, shared } = self;
        // Before the other one leaves: what fails here changes nothing.
        let offer = Offer::at(path, shared)?;
        let replaced = match before {
            // One that ended in the meantime has left all the same.
            Some(before) => before.replace().await.is_ok(),
            None => false,
        };
        Ok((offer, replaced))
    }
}

/// What to do where the sockets of a process cannot be had at a path, or offered there.
pub(crate) fn way_out(error: &io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::TimedOut => "the process that listens there does not answer: end it, or name another path",
        _ => "name a path in a folder that only the gateway's user may write to",
    }
}

fn in_use(error: &io::Error) -> bool {
    error.kind() == ErrorKind::AddrInUse
}

/// A loopback address for HTTP without TLS: for benchmarks on this machine, never for a network.
pub(crate) async fn plain(port: u16) -> Result<Bound, Failure> {
    bind(&[SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)], "choose another with `--plain-port`").await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_does_not_answer_is_no_matter_of_its_folder() {
        assert!(way_out(&ErrorKind::TimedOut.into()).contains("does not answer"));
        assert!(way_out(&ErrorKind::PermissionDenied.into()).contains("a folder"));
    }
}
