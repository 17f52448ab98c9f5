//! Which addresses may be reached (server-side request forgery ends here).
use hyper_util::client::legacy::connect::dns::Name;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};

/// The ranges beyond the public internet that may be reached. Link-local addresses, where clouds keep their instance
/// metadata, are never among them, but for that one address where it is all that is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allow {
    /// This machine.
    pub loopback: bool,
    /// Private networks (RFC 1918, RFC 6598, RFC 4193).
    pub private: bool,
    /// `http:` to this machine.
    pub plain_loopback: bool,
    /// `http:` to every host that is reached: for what is no secret, and never for tokens, keys or metadata.
    pub plain: bool,
    /// `http:` to the instance metadata service, 169.254.169.254: for a client that asks for the machine's own identity, and
    /// never for one that fetches what others name.
    pub instance_metadata: bool,
}

const METADATA: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);
/// The same of one cloud, over IPv6: among the addresses that are private otherwise.
const METADATA_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);

impl Allow {
    /// The instance metadata service, and nothing besides the public internet.
    pub const INSTANCE_METADATA: Self =
        Self { loopback: false, private: false, plain_loopback: false, plain: false, instance_metadata: true };

    /// This machine and private networks: for estates that live inside one.
    pub const INSIDE: Self =
        Self { loopback: true, private: true, plain_loopback: false, plain: false, instance_metadata: false };

    /// Whether this address may be connected to.
    pub fn admits(self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(v4) => self.admits_v4(v4),
            IpAddr::V6(v6) => match embedded_v4(v6) {
                Some(v4) => v4 != METADATA && self.admits_v4(v4),
                None => self.admits_v6(v6),
            },
        }
    }

    fn admits_v4(self, ip: Ipv4Addr) -> bool {
        let [a, b, c, _] = ip.octets();
        if ip.is_loopback() {
            return self.loopback;
        }
        if ip == METADATA {
            return self.instance_metadata;
        }
        if ip.is_private() || (a == 100 && (64..128).contains(&b)) {
            return self.private;
        }
        let reserved = a == 0 || a >= 240 || (a == 198 && (b == 18 || b == 19)) || (a == 192 && b == 0 && c == 0);
        !(reserved || ip.is_link_local() || ip.is_multicast() || ip.is_documentation())
    }

    fn admits_v6(self, ip: Ipv6Addr) -> bool {
        if ip.is_loopback() {
            return self.loopback;
        }
        if ip == METADATA_V6 {
            return false;
        }
        if ip.is_unique_local() {
            return self.private;
        }
        // Only 2000::/3 is global unicast; documentation (2001:db8::/32) and Teredo (2001::/32) lie within it.
        let [first, second, ..] = ip.segments();
        first & 0xe000 == 0x2000 && !(first == 0x2001 && (second == 0xdb8 || second == 0))
    }
}

/// Whether an address is of one link alone, where clouds keep their instance metadata, or stands for one: for who connects by other means
/// than [`Fetch`](crate::Fetch), which reaches none.
///
/// ```
/// # use deputize_fetch::is_link_local;
/// assert!(is_link_local("169.254.169.254".parse().unwrap()) && is_link_local("::ffff:169.254.169.254".parse().unwrap()));
/// assert!(is_link_local("fd00:ec2::254".parse().unwrap()));
/// assert!(!is_link_local("127.0.0.1".parse().unwrap()) && !is_link_local("10.0.0.1".parse().unwrap()));
/// ```
pub fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => {
            v6 == METADATA_V6 || v6.is_unicast_link_local() || embedded_v4(v6).is_some_and(|v4| v4.is_link_local())
        }
    }
}

/// The IPv4 address that an IPv6 address stands for: mapped, compatible, NAT64, 6to4.
fn embedded_v4(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let s = ip.segments();
    let v4 = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match s {
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => {
            Some(v4(high, low))
        }
        [0, 0, 0, 0, 0, 0, high, low] => (high != 0).then(|| v4(high, low)),
        _ => None,
    }
}

/// Every address of a name is one that may not be reached.
#[derive(Debug, thiserror::Error)]
#[error("no address of the host may be reached")]
pub(crate) struct Blocked;

/// Resolves names and hands on the admitted addresses only: what was checked is what is connected to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Resolver(pub(crate) Allow);

impl tower::Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let allow = self.0;
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let admitted: Vec<_> = found.filter(|address| allow.admits(address.ip())).collect();
            if admitted.is_empty() {
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, Blocked));
            }
            Ok(admitted.into_iter())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_addresses_are_reached_unless_configured() {
        let inside = [
            "127.0.0.1",
            "127.9.9.9",
            "::1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "100.64.0.1",
            "fd00::1",
            "::ffff:10.0.0.1",
            "::10.0.0.1",
        ];
        let never = [
            "169.254.169.254",
            "fe80::1",
            "0.0.0.0",
            "::",
            "224.0.0.1",
            "255.255.255.255",
            "240.0.0.1",
            "ff02::1",
            "192.0.0.1",
            "198.18.0.1",
            "198.19.255.254",
            "2001::1",
            "::169.254.169.254",
            "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "2002:a9fe:a9fe::1",
            "2001:db8::1",
            "fec0::1",
            "fd00:ec2::254",
            "203.0.113.9",
        ];
        let public = ["1.1.1.1", "20.190.128.1", "2606:4700::1111", "64:ff9b::101:101", "172.32.0.1", "100.128.0.1"];
        let admits = |allow: Allow, text: &str| allow.admits(text.parse().unwrap());
        for ip in inside {
            assert!(!admits(Allow::default(), ip) && admits(Allow::INSIDE, ip), "{ip}");
        }
        for ip in never {
            assert!(!admits(Allow::INSIDE, ip), "{ip}");
        }
        assert!(admits(Allow::INSTANCE_METADATA, "169.254.169.254"));
        for ip in inside.into_iter().chain(never).filter(|ip| *ip != "169.254.169.254") {
            assert!(!admits(Allow::INSTANCE_METADATA, ip), "{ip}");
        }
        for ip in public {
            assert!(admits(Allow::default(), ip), "{ip}");
        }
    }
}
