//! One spelling for each path (RFC 3986 section 6.2.2), and none for a path that two readers could read differently.
use std::borrow::Cow;
use std::fmt;

/// Why a path has no canonical form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ambiguity {
    /// It does not begin with `/`.
    Relative,
    /// It is longer than [`LONGEST`].
    Length,
    /// A character that has to be percent-encoded.
    Character,
    /// `%` without two hexadecimal digits.
    Escape,
    /// `%2e`: a dot that some decode before they resolve `..`, and some after.
    EncodedDot,
    /// `%2f`.
    EncodedSlash,
    /// `\` or `%5c`, a slash to some.
    Backslash,
    /// A control character, `%00` among them.
    Control,
    /// An escape that decodes to another escape.
    DoubleEncoding,
    /// `;`, after which some read parameters that belong to no path.
    Parameter,
    /// What is percent-encoded is not UTF-8.
    Encoding,
    /// A character that compatibility mappings turn into `.`, `/`, `\`, `%` or `;`.
    LookAlike,
    /// A segment that ends with a dot or a space, which some file systems leave out.
    TrailingDot,
}

/// The longest path, in bytes.
pub const LONGEST: usize = 8 << 10;

impl fmt::Display for Ambiguity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Relative => "the path does not begin with `/`",
            Self::Length => "the path is longer than 8192 bytes",
            Self::Character => "the path has a character that has to be percent-encoded",
            Self::Escape => "the path has a `%` that two hexadecimal digits do not follow",
            Self::EncodedDot => "the path has an encoded dot; write `.`",
            Self::EncodedSlash => "the path has an encoded slash",
            Self::Backslash => "the path has a backslash",
            Self::Control => "the path has a control character",
            Self::DoubleEncoding => "the path is percent-encoded twice",
            Self::Parameter => "the path has a `;`",
            Self::Encoding => "what is percent-encoded in the path is not UTF-8",
            Self::LookAlike => "the path has a character that can be taken for `.`, `/`, `\\`, `%` or `;`",
            Self::TrailingDot => "a segment of the path ends with a dot or a space",
        })
    }
}

/// The canonical form: dot segments resolved, doubled slashes one, escapes of plain characters decoded, the others in
/// capitals. It is its own canonical form.
///
/// # Errors
/// If readers could differ about the path.
pub fn canonical(raw: &str) -> Result<Cow<'_, str>, Ambiguity> {
    if raw.len() > LONGEST {
        return Err(Ambiguity::Length);
    }
    if is_plain(raw.as_bytes()) {
        return Ok(Cow::Borrowed(raw));
    }
    if !raw.starts_with('/') {
        return Err(Ambiguity::Relative);
    }
    let decoded = decoded(raw.as_bytes())?;
    let resolved = resolved(&decoded)?;
    Ok(if resolved == raw { Cow::Borrowed(raw) } else { Cow::Owned(resolved) })
}

/// Whether a path is canonical for certain: no escape, no empty segment, and no dot at either end of a segment. Most are.
fn is_plain(path: &[u8]) -> bool {
    let mut before = 0;
    for &byte in path {
        let fits = match (before, byte) {
            (0, _) => byte == b'/',
            (b'/', b'/' | b'.') | (b'.', b'/') => false,
            _ => byte == b'/' || is_allowed(byte),
        };
        if !fits {
            return false;
        }
        before = byte;
    }
    !matches!(before, 0 | b'.')
}

/// The `pchar` of RFC 3986 without `%` and `;`.
const fn is_allowed(byte: u8) -> bool {
    is_unreserved(byte)
        || matches!(byte, b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b'=' | b':' | b'@')
}

const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// Escapes in their one form.
fn decoded(raw: &[u8]) -> Result<String, Ambiguity> {
    let mut path = String::with_capacity(raw.len());
    // What the path says once it is decoded, to see whether that is text.
    let mut text = Vec::with_capacity(raw.len());
    let mut rest = raw.iter().copied();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            match byte {
                b'/' => {}
                b'\\' => return Err(Ambiguity::Backslash),
                b';' => return Err(Ambiguity::Parameter),
                _ if byte.is_ascii_control() => return Err(Ambiguity::Control),
                _ if !is_allowed(byte) => return Err(Ambiguity::Character),
                _ => {}
            }
            path.push(char::from(byte));
            text.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| byte.and_then(|b| char::from(b).to_digit(16)).ok_or(Ambiguity::Escape);
        let (high, low) = (digit(rest.next())?, digit(rest.next())?);
        let value = u8::try_from(high * 16 + low).map_err(|_| Ambiguity::Escape)?;
        text.push(value);
        match value {
            b'.' => return Err(Ambiguity::EncodedDot),
            b'/' => return Err(Ambiguity::EncodedSlash),
            b'\\' => return Err(Ambiguity::Backslash),
            b';' => return Err(Ambiguity::Parameter),
            _ if value.is_ascii_control() => return Err(Ambiguity::Control),
            _ if is_unreserved(value) => path.push(char::from(value)),
            _ => {
                path.push('%');
                path.extend([high, low].map(|d| char::from_digit(d, 16).unwrap_or('0').to_ascii_uppercase()));
            }
        }
    }
    let text = std::str::from_utf8(&text).map_err(|_| Ambiguity::Encoding)?;
    if text.chars().any(is_look_alike) {
        return Err(Ambiguity::LookAlike);
    }
    if text.split('/').any(|segment| segment.ends_with(char::is_whitespace)) {
        return Err(Ambiguity::TrailingDot);
    }
    let mut after = path.split("%25").skip(1);
    let twice = after.any(|rest| {
        let mut next = rest.bytes();
        let first = next.next();
        first.is_some_and(|b| b.eq_ignore_ascii_case(&b'u'))
            || (first.is_some_and(|b| b.is_ascii_hexdigit()) && next.next().is_some_and(|b| b.is_ascii_hexdigit()))
    });
    // `%25` right before another `%25` decodes to `%` and `%25`, which is an escape again.
    if twice || path.contains("%25%25") { Err(Ambiguity::DoubleEncoding) } else { Ok(path) }
}

/// What NFKC and the best-fit mappings of code pages turn into a character that structures paths.
const fn is_look_alike(c: char) -> bool {
    matches!(
        c,
        '\u{2024}' | '\u{2025}' | '\u{2026}' // leaders: one, two and three dots
            | '\u{2044}' | '\u{2215}' | '\u{29f8}' // fraction, division and big solidus
            | '\u{2216}' | '\u{29f5}' | '\u{29f9}' // set minus and reverse solidi
            | '\u{037e}' // Greek question mark, which is `;`
            | '\u{066a}' // Arabic percent sign
            | '\u{2100}' | '\u{2101}' | '\u{2105}' | '\u{2106}' // a/c, a/s, c/o and c/u
            | '\u{2488}'
            ..='\u{249b}' | '\u{1f100}' // numbers with a full stop
            | '\u{33c2}' | '\u{33c7}' | '\u{33d8}' // a.m., Co. and p.m.
            | '\u{fe14}' | '\u{fe19}' | '\u{fe30}' // vertical forms
            | '\u{a5}' | '\u{20a9}' | '\u{ffe5}' | '\u{ffe6}' // yen and won, in the place of `\` in their code pages
            | '\u{fe52}' | '\u{fe54}' | '\u{fe68}' | '\u{fe6a}' // small forms
            | '\u{ff05}' | '\u{ff0e}' | '\u{ff0f}' | '\u{ff1b}' | '\u{ff3c}' | '\u{ff61}' // full width
    )
}

/// Without dot segments and empty ones.
fn resolved(path: &str) -> Result<String, Ambiguity> {
    let mut kept: Vec<&str> = Vec::new();
    let mut is_folder = false;
    for segment in path.split('/').skip(1) {
        is_folder = matches!(segment, "" | "." | "..");
        match segment {
            "" | "." => {}
            ".." => drop(kept.pop()),
            _ if segment.ends_with('.') => return Err(Ambiguity::TrailingDot),
            _ => kept.push(segment),
        }
    }
    let mut resolved = String::with_capacity(path.len());
    for segment in &kept {
        resolved.push('/');
        resolved.push_str(segment);
    }
    if is_folder || kept.is_empty() {
        resolved.push('/');
    }
    Ok(resolved)
}

#[cfg(test)]
mod tests;
