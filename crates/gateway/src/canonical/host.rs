//! The host that a request is for, in one spelling: lower case, without a trailing dot, the port apart.
use std::borrow::Cow;
use std::net::{Ipv4Addr, Ipv6Addr};

/// A host and its port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host<'a> {
    /// The name in lower case, or an address; IPv6 in brackets.
    pub name: Cow<'a, str>,
    /// The port, where one is stated.
    pub port: Option<u16>,
}

/// Reads a `Host` value or an `:authority` (RFC 9110 section 7.2). `None` for what is neither a name nor an address: user
/// names, zones, escapes, and numbers that some resolvers read as addresses.
pub fn host(text: &str) -> Option<Host<'_>> {
    let bracketed = text.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    let (name, port) = if let Some((address, rest)) = bracketed {
        let address: Ipv6Addr = address.parse().ok()?;
        (Cow::Owned(format!("[{address}]")), rest)
    } else {
        let end = text.find(':').unwrap_or(text.len());
        let (name, rest) = text.split_at_checked(end)?;
        (lower(name.strip_suffix('.').unwrap_or(name))?, rest)
    };
    let port = match port.strip_prefix(':') {
        Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => {
            Some(digits.parse().ok().filter(|port| *port > 0)?)
        }
        None if port.is_empty() => None,
        _ => return None,
    };
    Some(Host { name, port })
}

fn lower(name: &str) -> Option<Cow<'_, str>> {
    let sound = |label: &str| {
        !label.is_empty()
            && label.len() < 64
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    if name.len() > 253 || !name.split('.').all(sound) {
        return None;
    }
    // `0177.0.0.1` and `2130706433` are addresses to some.
    let number = name.rsplit('.').next().is_some_and(|last| {
        last.bytes().all(|b| b.is_ascii_digit()) || last.get(..2).is_some_and(|begin| begin.eq_ignore_ascii_case("0x"))
    });
    if number && name.parse::<Ipv4Addr>().is_err() {
        return None;
    }
    let is_lower = !name.bytes().any(|b| b.is_ascii_uppercase());
    Some(if is_lower { Cow::Borrowed(name) } else { Cow::Owned(name.to_ascii_lowercase()) })
}

#[cfg(test)]
mod tests {
    use super::host;

    #[test]
    fn g_11_a_host_has_one_spelling_or_none() {
        for (text, name, port) in [
            ("api.example", "api.example", None),
            ("API.Example", "api.example", None),
            ("api.example.", "api.example", None),
            ("api.example:8443", "api.example", Some(8443)),
            ("API.example.:8443", "api.example", Some(8443)),
            ("127.0.0.1:80", "127.0.0.1", Some(80)),
            ("[::1]", "[::1]", None),
            ("[0:0::1]:443", "[::1]", Some(443)),
            ("localhost", "localhost", None),
            ("my_host", "my_host", None),
        ] {
            let read = host(text).unwrap();
            assert_eq!((&*read.name, read.port), (name, port), "{text}");
        }
        for text in [
            "",
            ".",
            "a..b",
            ".a",
            "a.example..",
            "user@api.example",
            "api.example@evil.example",
            "a b",
            "a/b",
            "a\\b",
            "a%2eb",
            "a:",
            "a:0",
            "a:65536",
            "a:80:80",
            "a:+80",
            "a:8x",
            "[::1",
            "::1",
            "[::1%eth0]",
            "[::1]x",
            "[127.0.0.1]",
            "0177.0.0.1",
            "2130706433",
            "127.1",
            "0x7f.1",
            "0x7f000001",
            "a,b",
            "é.example",
        ] {
            assert_eq!(host(text), None, "{text}");
        }
    }
}
