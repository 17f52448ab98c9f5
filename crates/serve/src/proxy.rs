//! The header of the PROXY protocol: before anything else is said, a load balancer tells who opened the connection that it carries
//! (version 1 in text, version 2 in octets, as HAProxy's document describes them).
//!
//! No octet is read that may stand behind the header: it says itself how many are missing at least. The two that are shortest have 15
//! and 16.
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use tokio::io::{AsyncRead, AsyncReadExt};

/// How the text begins.
const TEXT: &[u8] = b"PROXY ";
/// How the octets begin: no protocol that is spoken takes that for its own.
const OCTETS: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// The shortest text is `PROXY UNKNOWN`, with its end of line.
const SHORTEST_TEXT: usize = 15;
/// The longest text, its end of line included.
const LONGEST_TEXT: usize = 107;
/// Of the octets, how many are there always.
const FIXED: usize = 16;
/// What may follow them: two addresses, and what the load balancer adds, which is skipped. A header of more does not fit into the
/// first packet of every path, and none is that long without certificates in it.
const LONGEST_VARIABLE: usize = 536;

/// Who opened a connection, as a header tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// Whoever sent the header, to look whether anybody is there.
    Itself,
    /// This address, and it came to that one.
    From(IpAddr, IpAddr),
}

/// How far a header is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Header {
    /// At least so many octets are missing.
    Missing(usize),
    Whole(Told),
}

/// Reads what is there of a header; nothing where it is none, or something follows it.
pub(crate) fn header(read: &[u8]) -> Option<Header> {
    if read.starts_with(OCTETS) {
        return octets(read);
    }
    if let Some(rest) = read.strip_prefix(TEXT) {
        return text(read.len(), rest);
    }
    begins(read).then_some(Header::Missing(OCTETS.len().saturating_sub(read.len())))
}

/// Whether this could become a header.
fn begins(read: &[u8]) -> bool {
    TEXT.starts_with(read) || OCTETS.starts_with(read)
}

fn text(length: usize, rest: &[u8]) -> Option<Header> {
    let Some(line) = rest.strip_suffix(b"\n") else {
        let missing = SHORTEST_TEXT.saturating_sub(length).max(1);
        return (length < LONGEST_TEXT && !rest.contains(&b'\n')).then_some(Header::Missing(missing));
    };
    let line = std::str::from_utf8(line.strip_suffix(b"\r")?).ok()?;
    if length > LONGEST_TEXT || line.contains(['\r', '\n']) {
        return None;
    }
    // What stands behind it is of no meaning.
    if line == "UNKNOWN" || line.starts_with("UNKNOWN ") {
        return Some(Header::Whole(Told::Itself));
    }
    let mut words = line.split(' ');
    let family = words.next()?;
    let [from, to] = [words.next()?, words.next()?].map(|address| match family {
        "TCP4" => address.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
        "TCP6" => address.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        _ => None,
    });
    let ports = [words.next()?, words.next()?].map(is_port);
    let is_whole = ports == [true; 2] && words.next().is_none();
    Some(Header::Whole(Told::From(from?, to?))).filter(|_| is_whole)
}

fn is_port(word: &str) -> bool {
    word.parse::<u16>().is_ok_and(|port| port.to_string() == word)
}

fn octets(read: &[u8]) -> Option<Header> {
    let Some((fixed, rest)) = read.split_at_checked(FIXED) else {
        return Some(Header::Missing(FIXED.saturating_sub(read.len())));
    };
    let &[command, family, high, low] = fixed.strip_prefix(OCTETS)? else { return None };
    let length = usize::from(u16::from_be_bytes([high, low]));
    let missing = length.checked_sub(rest.len()).filter(|_| length <= LONGEST_VARIABLE)?;
    let told = match (command, family) {
        (0x20, _) | (0x21, 0x00) => Some(Told::Itself),
        (0x21, 0x11) if length >= 12 => pair::<4>(rest).map(|(from, to)| Told::From(from, to)),
        (0x21, 0x21) if length >= 36 => pair::<16>(rest).map(|(from, to)| Told::From(from, to)),
        _ => return None,
    };
    if missing > 0 { Some(Header::Missing(missing)) } else { told.map(Header::Whole) }
}

/// Two addresses.
fn pair<const N: usize>(octets: &[u8]) -> Option<(IpAddr, IpAddr)>
where
    IpAddr: From<[u8; N]>,
{
    let (from, rest) = octets.split_first_chunk::<N>()?;
    Some((IpAddr::from(*from), IpAddr::from(*rest.first_chunk::<N>()?)))
}

/// Reads the header of a connection, and what shows that no second one follows: the octets that have to be given on. Nothing where
/// there is no header, or two.
pub(crate) async fn introduced<S: AsyncRead + Unpin>(stream: &mut S) -> Option<(Told, Vec<u8>)> {
    let mut read = Vec::new();
    let told = loop {
        match header(&read)? {
            Header::Missing(missing) => more(stream, missing, &mut read).await?,
            Header::Whole(told) => break told,
        }
    };
    let mut first = Vec::new();
    while begins(&first) {
        more(stream, 1, &mut first).await?;
    }
    // It would be the caller's own word about their address.
    let is_second = first.starts_with(TEXT) || first.starts_with(OCTETS);
    (!is_second).then_some((told, first))
}

/// So many more; nothing where the connection ends before.
async fn more<S: AsyncRead + Unpin>(stream: &mut S, missing: usize, read: &mut Vec<u8>) -> Option<()> {
    let whole = read.len().saturating_add(missing);
    let limit = u64::try_from(missing).ok()?;
    stream.take(limit).read_to_end(read).await.ok()?;
    (read.len() == whole).then_some(())
}

#[cfg(test)]
mod tests;
