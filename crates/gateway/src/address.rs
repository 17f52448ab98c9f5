//! Where a caller is: the peer of the connection, or who a trusted proxy says stands behind it.
use http::{HeaderMap, HeaderValue};
use ipnet::IpNet;
use std::net::{IpAddr, SocketAddr};

/// The address of a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    Known(IpAddr),
    /// A trusted proxy names something that is no address.
    Unreadable,
}

impl Address {
    /// The address, where it is known.
    pub(crate) fn known(self) -> Option<IpAddr> {
        match self {
            Self::Known(address) => Some(address),
            Self::Unreadable => None,
        }
    }
}

/// Whether an address is one of these proxies.
pub(crate) fn is_trusted(address: IpAddr, proxies: &[IpNet]) -> bool {
    proxies.iter().any(|network| network.contains(&address))
}

/// The caller: the right-most hop that is no trusted proxy.
pub(crate) fn caller(peer: IpAddr, headers: &HeaderMap, proxies: &[IpNet]) -> Address {
    let mut nearest = peer.to_canonical();
    if !is_trusted(nearest, proxies) {
        return Address::Known(nearest);
    }
    for value in headers.get_all("x-forwarded-for").iter().rev() {
        let Ok(text) = value.to_str() else { return Address::Unreadable };
        for hop in text.rsplit(',') {
            let Some(address) = parse(hop.trim()) else { return Address::Unreadable };
            if !is_trusted(address, proxies) {
                return Address::Known(address);
            }
            nearest = address;
        }
    }
    Address::Known(nearest)
}

/// Whether the caller's own connection is encrypted, as far as is known: that of a trusted proxy's caller, where it says so.
pub(crate) fn is_tls(peer: IpAddr, is_tls: bool, headers: &HeaderMap, proxies: &[IpNet]) -> bool {
    let mut told = headers.get_all("x-forwarded-proto").iter();
    match (told.next().map(HeaderValue::as_bytes), told.next()) {
        _ if !is_trusted(peer.to_canonical(), proxies) => is_tls,
        (Some(b"https"), None) => true,
        (Some(b"http"), None) => false,
        _ => is_tls,
    }
}

/// An address as it is told: as `Display` has it, at a fraction of its cost, for it stands in every request.
pub(crate) fn text(address: IpAddr) -> String {
    let IpAddr::V4(v4) = address else { return address.to_string() };
    let mut text = String::with_capacity("255.255.255.255".len());
    for (at, octet) in v4.octets().into_iter().enumerate() {
        if at > 0 {
            text.push('.');
        }
        for (least, power) in [(100, 100), (10, 10), (0, 1)] {
            if octet >= least {
                text.push(char::from(b'0' + octet / power % 10));
            }
        }
    }
    text
}

/// An address, or one with a port as some proxies write it. No zones, no numbers that only some read as addresses.
fn parse(text: &str) -> Option<IpAddr> {
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse::<std::net::Ipv6Addr>().ok().map(IpAddr::V6);
    let with_port = || text.parse::<SocketAddr>().ok().filter(|_| !text.contains('%')).map(|address| address.ip());
    let address = text.parse().ok().or_else(bracketed).or_else(with_port)?;
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn of(peer: &str, forwarded: &[&str]) -> Address {
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append("x-forwarded-for", value.parse().unwrap());
        }
        caller(ip(peer), &headers, &["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()])
    }

    #[test]
    fn g_10_who_a_stranger_names_counts_for_nothing() {
        for forwarded in [&[][..], &["1.1.1.1"], &["10.0.0.1, 1.1.1.1"], &["garbage"]] {
            assert_eq!(of("203.0.113.9", forwarded), Address::Known(ip("203.0.113.9")), "{forwarded:?}");
        }
        assert_eq!(of("::ffff:203.0.113.9", &["1.1.1.1"]), Address::Known(ip("203.0.113.9")));
    }

    #[test]
    fn g_10_behind_proxies_the_right_most_stranger_is_the_caller() {
        for (forwarded, expected) in [
            (&[][..], "10.0.0.1"),
            (&["203.0.113.9"], "203.0.113.9"),
            (&["1.1.1.1, 203.0.113.9"], "203.0.113.9"),
            (&["1.1.1.1, 203.0.113.9, 10.0.0.2"], "203.0.113.9"),
            (&["1.1.1.1", "203.0.113.9, 10.0.0.2"], "203.0.113.9"),
            (&["garbage, 203.0.113.9"], "203.0.113.9"),
            (&["::ffff:203.0.113.9"], "203.0.113.9"),
            (&["::ffff:10.0.0.3"], "10.0.0.3"),
            (&["203.0.113.9:4711"], "203.0.113.9"),
            (&["[2001:db8::1]:4711"], "2001:db8::1"),
            (&["[2001:db8::1]"], "2001:db8::1"),
            (&["2001:db8::1, fd00::2"], "2001:db8::1"),
        ] {
            assert_eq!(of("10.0.0.1", forwarded), Address::Known(ip(expected)), "{forwarded:?}");
        }
        assert_eq!(of("::ffff:10.0.0.1", &["203.0.113.9"]), Address::Known(ip("203.0.113.9")));
    }

    #[test]
    fn an_address_is_told_as_everybody_writes_it() {
        for octet in 0..=u8::MAX {
            let address = IpAddr::from([octet, octet.wrapping_mul(7), octet.wrapping_add(90), 255 - octet]);
            assert_eq!(text(address), address.to_string());
        }
        assert_eq!([text(ip("::ffff:1.2.3.4")), text(ip("2001:db8::1"))], ["::ffff:1.2.3.4", "2001:db8::1"]);
    }

    #[test]
    fn g_10_what_is_no_address_is_nobody() {
        for hop in ["", "unknown", "0177.0.0.1", "2130706433", "127.1", "fe80::1%eth0", "[fe80::1%1]:80", "1.1.1.1.1"] {
            assert_eq!(of("10.0.0.1", &[hop]), Address::Unreadable, "{hop}");
            assert_eq!(of("10.0.0.1", &[&format!("203.0.113.9, {hop}")]), Address::Unreadable, "{hop}");
        }
    }
}
