//! Addresses of requests, as proofs name them (RFC 9449 section 4.3, number 9): equal once both are in one spelling.
use std::fmt::Write as _;

/// Whether two addresses are one, whatever their queries and fragments say. What has no one spelling is the same as nothing.
pub(super) fn is_same(claimed: &str, asked: &str) -> bool {
    match (Address::read(claimed), Address::read(asked)) {
        (Some(claimed), Some(asked)) => claimed == asked,
        _ => false,
    }
}

#[derive(PartialEq, Eq)]
struct Address {
    is_tls: bool,
    host: String,
    port: u16,
    path: String,
}

impl Address {
    fn read(text: &str) -> Option<Self> {
        let text = text.split(['?', '#']).next()?;
        let (scheme, rest) = text.split_once("://")?;
        let is_tls = match scheme {
            _ if scheme.eq_ignore_ascii_case("https") => true,
            _ if scheme.eq_ignore_ascii_case("http") => false,
            _ => return None,
        };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        // Of brackets, the colons within are the address's own.
        let end = authority.rfind(']').map_or(0, |at| at + 1);
        let colon = authority.get(end..)?.find(':').map(|at| at + end);
        let (host, port) = match colon {
            Some(at) => (authority.get(..at)?, authority.get(at + 1..)?),
            None => (authority, ""),
        };
        let port = match port {
            "" if colon.is_none() && is_tls => 443,
            "" if colon.is_none() => 80,
            digits if digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse().ok()?,
            _ => return None,
        };
        let is_name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':' | b'[' | b']');
        if host.is_empty() || !host.bytes().all(is_name) {
            return None;
        }
        Some(Self { is_tls, host: host.to_ascii_lowercase(), port, path: spelt(path)? })
    }
}

/// A path with plain characters as they are and the others' escapes in capitals (RFC 3986 section 6.2.2). Dots are not resolved: a
/// path that has some is another.
fn spelt(path: &str) -> Option<String> {
    if path.is_empty() {
        return Some("/".to_owned());
    }
    let mut spelt = String::with_capacity(path.len());
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            spelt.push(char::from(byte).is_ascii_graphic().then(|| char::from(byte))?);
            continue;
        }
        let digit = |byte: Option<u8>| byte.and_then(|b| char::from(b).to_digit(16));
        let escaped = u8::try_from(digit(bytes.next())? * 16 + digit(bytes.next())?).ok()?;
        if escaped.is_ascii_alphanumeric() || b"-._~".contains(&escaped) {
            spelt.push(char::from(escaped));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(spelt, "%{escaped:02X}");
        }
    }
    Some(spelt)
}

#[cfg(test)]
mod tests {
    use super::is_same;

    #[test]
    fn an_address_has_one_spelling() {
        let asked = "https://api.example/a/b~c?d=e";
        for same in [
            "https://api.example/a/b~c",
            "HTTPS://API.Example/a/b~c",
            "https://api.example:443/a/b~c?other#x",
            "https://api.example/%61/b%7Ec",
            "https://api.example/%61/b%7ec",
        ] {
            assert!(is_same(same, asked), "{same}");
        }
        for other in [
            "http://api.example/a/b~c",
            "https://api.example:80/a/b~c",
            "https://api.example:8443/a/b~c",
            "https://api.example.:443/a/b~c",
            "https://evil.example/a/b~c",
            "https://api.example@evil.example/a/b~c",
            "https://evil@api.example/a/b~c",
            "https://api.example/A/b~c",
            "https://api.example/a/b~c/",
            "https://api.example/a//b~c",
            "https://api.example/x/../a/b~c",
            "https://api.example/a%2Fb~c",
            "https://api.example/a/b~c%",
            "https://api.example/a/b~c%2",
            "https://api.example/a/b~c%zz",
            "https://api.example/a/b~c ",
            "https://api.example:/a/b~c",
            "https://api.example:+443/a/b~c",
            "https:///a/b~c",
            "https://api.example\\/a/b~c",
            "/a/b~c",
            "api.example/a/b~c",
            "wss://api.example/a/b~c",
            "",
        ] {
            assert!(!is_same(other, asked), "{other}");
        }
        assert!(is_same("https://api.example", "https://api.example/"));
        assert!(is_same("http://[::1]:80/", "http://[::1]/"));
        assert!(!is_same("http://[::1]:81/", "http://[::1]/"));
        assert!(is_same("https://a.example/%c3%bc", "https://a.example/%C3%BC"));
        // What cannot be read is not even the same as itself.
        assert!(!is_same("x", "x"));
    }
}
