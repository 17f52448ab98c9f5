//! Binding ports, so that what is wrong is known before anything else is done.
use crate::failure::{Failure, why};
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
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
    let mut bound = Vec::new();
    for address in addresses {
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

fn in_use(error: &std::io::Error) -> bool {
    error.kind() == ErrorKind::AddrInUse
}

/// A loopback address for HTTP without TLS: for benchmarks on this machine, never for a network.
pub(crate) async fn plain(port: u16) -> Result<Bound, Failure> {
    bind(&[SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)], "choose another with `--plain-port`").await
}
