//! A validating scanner for the JSON of tokens and key sets: what it accepts, every reader reads alike.
//!
//! Readers differ on duplicated members, lone surrogates, long integers and depth; a forger lives in such differences.
//! Ordinary tokens are scanned without allocating.
use crate::Refusal;
use std::borrow::Cow;
use std::collections::HashSet;
use thiserror::Error;

/// Objects and lists may nest this deep, the outermost included.
pub const MAX_DEPTH: usize = 32;
/// The longest integer, in digits.
pub const MAX_DIGITS: usize = 20;
/// Member names kept without allocating, over all open objects.
const INLINE: usize = 64;

/// Why a text is not strict JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum JsonFault {
    /// Not UTF-8 (RFC 8259 section 8.1).
    #[error("not UTF-8")]
    Encoding,
    /// Something other than one object.
    #[error("not a JSON object")]
    NotObject,
    /// Against RFC 8259.
    #[error("not JSON")]
    Syntax,
    /// More after the object.
    #[error("followed by more text")]
    Trailing,
    /// A member name twice in one object (RFC 7515 section 4, RFC 7519 section 4).
    #[error("repeating a member name")]
    Duplicate,
    /// Deeper than [`MAX_DEPTH`].
    #[error("nested too deep")]
    Depth,
    /// Longer than [`MAX_DIGITS`], or too great for a number.
    #[error("holding a number too great")]
    Number,
    /// Half of a surrogate pair.
    #[error("holding a lone surrogate")]
    Surrogate,
}

/// Whether these octets are one strict JSON object.
///
/// ```
/// assert!(jose::strict_json(br#"{"sub":"ada","groups":[1,2]}"#).is_ok());
/// assert!(jose::strict_json(br#"{"sub":"ada","s\u0075b":"bob"}"#).is_err());
/// ```
pub fn strict_json(octets: &[u8]) -> Result<(), Refusal> {
    check(octets).map_err(Refusal::Claims)
}

pub(crate) fn check(octets: &[u8]) -> Result<(), JsonFault> {
    let text = std::str::from_utf8(octets).map_err(|_| JsonFault::Encoding)?;
    let mut scan = Scan { text, at: 0, names: [""; INLINE], held: 0 };
    scan.space();
    if scan.next() != Some(b'{') {
        return Err(JsonFault::NotObject);
    }
    scan.object(1)?;
    scan.space();
    if scan.at == text.len() { Ok(()) } else { Err(JsonFault::Trailing) }
}

/// How many octets come before a quote, a backslash or a control character. Most come in strings, so eight are looked at
/// at once: an octet of `x` is below `n` (at most 0x80) where the subtraction borrows and its own high bit was not set.
fn plain(octets: &[u8]) -> Option<usize> {
    const ONES: u64 = u64::MAX / 0xff;
    const HIGH: u64 = ONES * 0x80;
    let below = |x: u64, n: u64| x.wrapping_sub(ONES * n) & !x & HIGH;
    let ends = |b: &u8| matches!(b, b'"' | b'\\' | 0..=0x1f);
    let (eights, _) = octets.as_chunks();
    let clean = |eight: &&[u8; 8]| {
        let x = u64::from_le_bytes(**eight);
        let quote = below(x ^ (ONES * u64::from(b'"')), 1);
        let backslash = below(x ^ (ONES * u64::from(b'\\')), 1);
        quote | backslash | below(x, 0x20) == 0
    };
    let skipped = eights.iter().take_while(clean).count() * 8;
    octets.get(skipped..)?.iter().position(ends).map(|run| skipped + run)
}

struct Scan<'a> {
    text: &'a str,
    at: usize,
    /// Names of all open objects, as a stack.
    names: [&'a str; INLINE],
    held: usize,
}

impl<'a> Scan<'a> {
    fn rest(&self) -> &'a [u8] {
        self.text.as_bytes().get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let octet = self.peek()?;
        self.at += 1;
        Some(octet)
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn value(&mut self, depth: usize) -> Result<(), JsonFault> {
        match self.peek().ok_or(JsonFault::Syntax)? {
            b'"' => {
                self.at += 1;
                self.string().map(drop)
            }
            open @ (b'{' | b'[') => {
                self.at += 1;
                if depth >= MAX_DEPTH {
                    return Err(JsonFault::Depth);
                }
                if open == b'{' { self.object(depth + 1) } else { self.list(depth + 1) }
            }
            b'-' | b'0'..=b'9' => self.number(),
            _ => self.word(),
        }
    }

    /// After the opening brace.
    fn object(&mut self, depth: usize) -> Result<(), JsonFault> {
        let mut members = Members { base: self.held, seen: 0, spilled: None };
        self.space();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.space();
            if self.next() != Some(b'"') {
                return Err(JsonFault::Syntax);
            }
            let (name, escaped) = self.string()?;
            self.name(&mut members, name, escaped)?;
            self.space();
            if self.next() != Some(b':') {
                return Err(JsonFault::Syntax);
            }
            self.space();
            self.value(depth)?;
            self.space();
            match self.next() {
                Some(b',') => {}
                Some(b'}') => break,
                _ => return Err(JsonFault::Syntax),
            }
        }
        self.held = members.base;
        Ok(())
    }

    /// After the opening bracket.
    fn list(&mut self, depth: usize) -> Result<(), JsonFault> {
        self.space();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.space();
            self.value(depth)?;
            self.space();
            match self.next() {
                Some(b',') => {}
                Some(b']') => return Ok(()),
                _ => return Err(JsonFault::Syntax),
            }
        }
    }

    /// After the opening quote; answers what stands between the quotes, and whether it has escapes.
    fn string(&mut self) -> Result<(&'a str, bool), JsonFault> {
        let start = self.at;
        let mut escaped = false;
        loop {
            let run = plain(self.rest()).ok_or(JsonFault::Syntax)?;
            self.at += run;
            match self.next() {
                Some(b'"') => {
                    let inside = self.text.get(start..self.at - 1).ok_or(JsonFault::Syntax)?;
                    return Ok((inside, escaped));
                }
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                _ => return Err(JsonFault::Syntax),
            }
        }
    }

    fn escape(&mut self) -> Result<(), JsonFault> {
        match self.next() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(()),
            Some(b'u') => match self.hex()? {
                0xD800..=0xDBFF => {
                    if self.next() != Some(b'\\') || self.next() != Some(b'u') {
                        return Err(JsonFault::Surrogate);
                    }
                    if matches!(self.hex()?, 0xDC00..=0xDFFF) { Ok(()) } else { Err(JsonFault::Surrogate) }
                }
                0xDC00..=0xDFFF => Err(JsonFault::Surrogate),
                _ => Ok(()),
            },
            _ => Err(JsonFault::Syntax),
        }
    }

    fn hex(&mut self) -> Result<u32, JsonFault> {
        let mut unit = 0;
        for _ in 0..4 {
            let digit = self.next().and_then(|b| char::from(b).to_digit(16)).ok_or(JsonFault::Syntax)?;
            unit = unit * 16 + digit;
        }
        Ok(unit)
    }

    fn digits(&mut self) -> usize {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        self.at - start
    }

    fn number(&mut self) -> Result<(), JsonFault> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        let zero = self.peek() == Some(b'0');
        match self.digits() {
            0 => return Err(JsonFault::Syntax),
            1 => {}
            _ if zero => return Err(JsonFault::Syntax),
            2..=MAX_DIGITS => {}
            _ => return Err(JsonFault::Number),
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            if self.digits() == 0 {
                return Err(JsonFault::Syntax);
            }
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            if self.digits() == 0 {
                return Err(JsonFault::Syntax);
            }
            let value: f64 = self.text.get(start..self.at).and_then(|n| n.parse().ok()).ok_or(JsonFault::Syntax)?;
            if !value.is_finite() {
                return Err(JsonFault::Number);
            }
        }
        Ok(())
    }

    fn word(&mut self) -> Result<(), JsonFault> {
        for word in ["true", "false", "null"] {
            if self.rest().starts_with(word.as_bytes()) {
                self.at += word.len();
                return Ok(());
            }
        }
        Err(JsonFault::Syntax)
    }

    /// Notes a member's name, which must be new in its object.
    fn name(&mut self, members: &mut Members<'a>, name: &'a str, escaped: bool) -> Result<(), JsonFault> {
        if members.spilled.is_none() && (escaped || self.held == INLINE) {
            let inline = self.names.get(members.base..self.held).unwrap_or_default();
            members.spilled = Some(inline.iter().map(|n| Cow::Borrowed(*n)).collect());
        }
        if let Some(spilled) = &mut members.spilled {
            let name = if escaped { Cow::Owned(unescape(name)?) } else { Cow::Borrowed(name) };
            return if spilled.insert(name) { Ok(()) } else { Err(JsonFault::Duplicate) };
        }
        // A bit per name decides most cases; names are compared only where bits meet.
        let octets = name.as_bytes();
        let ends = [octets.first(), octets.last()].map(|b| usize::from(b.copied().unwrap_or_default()));
        let bit = 1_u64 << (octets.len() ^ ends.iter().sum::<usize>()).rem_euclid(64);
        if members.seen & bit != 0 && self.names.get(members.base..self.held).unwrap_or_default().contains(&name) {
            return Err(JsonFault::Duplicate);
        }
        members.seen |= bit;
        if let Some(slot) = self.names.get_mut(self.held) {
            *slot = name;
            self.held += 1;
        }
        Ok(())
    }
}

/// The names of one open object.
struct Members<'a> {
    base: usize,
    seen: u64,
    /// Objects with many members, or with escapes in their names.
    spilled: Option<HashSet<Cow<'a, str>>>,
}

/// What stands between the quotes, read by the same reader that will read the claims.
fn unescape(inside: &str) -> Result<String, JsonFault> {
    serde_json::from_str(&format!("\"{inside}\"")).map_err(|_| JsonFault::Syntax)
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn every_octet_that_ends_a_run_ends_it_wherever_it_stands_and_no_other_does() {
        for around in [b'a', b'!', b'#', b'[', b']', 0x20, 0x7f, 0x80, 0xa2, 0xdc, 0xff] {
            for (length, octet) in (1..=25_usize).flat_map(|length| (0..=255_u8).map(move |octet| (length, octet))) {
                for at in 0..length {
                    let mut text = vec![around; length];
                    text[at] = octet;
                    let ends = octet < 0x20 || octet == b'"' || octet == b'\\';
                    assert_eq!(plain(&text), ends.then_some(at), "{octet:#x} among {around:#x} at {at} of {length}");
                }
            }
        }
        assert_eq!(plain(b"aaaaaaaa\x1f\"aaaaaaaaaaaa\""), Some(8), "the first");
    }
}
