//! Strict `application/x-www-form-urlencoded` decoding, for bodies and query strings alike.
use memchr::{memchr, memchr2};
use thiserror::Error;
use zeroize::{Zeroize, Zeroizing};

/// The largest body or query that is decoded, in bytes.
pub const MAX_FORM_BYTES: usize = 64 * 1024;
const MAX_PARAMETERS: usize = 256;
/// RFC 8707 and RFC 8693 allow these to be repeated.
const REPEATABLE: [&str; 2] = ["resource", "audience"];
/// May hold line breaks and tabs: it is JSON, and people pretty-print it.
const MULTI_LINE: &str = "claims";

/// Why a form was refused. Texts name parameters, never values.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum FormError {
    /// A parameter stands twice (RFC 6749 section 3.2: must not be included more than once).
    #[error("the parameter `{0}` is sent more than once; send it once")]
    Duplicate(String),
    /// A name or value is not form encoding, or not UTF-8. Told by its place, counted from 1: what stands there may be a
    /// piece of a secret that was not encoded.
    #[error("parameter {0} of the request is not form-encoded UTF-8; percent-encode each name and value")]
    Encoding(usize),
    /// A control character stands in a value. Told by its place too.
    #[error("parameter {0} of the request holds a control character; remove it")]
    Control(usize),
    /// More parameters than any client sends.
    #[error("the request has more than {MAX_PARAMETERS} parameters; send those that are needed")]
    TooMany,
    /// More bytes than any client sends.
    #[error("the request is larger than {MAX_FORM_BYTES} bytes; send less")]
    TooLarge,
}

/// Decoded parameters. Each stands once (except RFC 8707's `resource` and RFC 8693's `audience`); an empty value counts
/// as absent (RFC 6749 section 3.1).
///
/// ```
/// let form = deputize_oauth::Form::decode(b"grant_type=refresh_token&scope=a+b&state=").unwrap();
/// assert_eq!(form.value("scope"), Some("a b"));
/// assert_eq!(form.value("state"), None);
/// assert!(deputize_oauth::Form::decode(b"scope=a&scope=b").is_err());
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Form {
    /// Values are overwritten when they are let go: some are secrets.
    pairs: Vec<(String, Zeroizing<String>)>,
}

impl std::fmt::Debug for Form {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.pairs.iter().map(|(name, _)| name)).finish()
    }
}

impl Form {
    /// Decodes a body or a query string.
    ///
    /// # Errors
    /// If anything is duplicated, badly encoded, or too large.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormError> {
        if bytes.len() > MAX_FORM_BYTES {
            return Err(FormError::TooLarge);
        }
        let mut pairs: Vec<(String, Zeroizing<String>)> = Vec::new();
        for piece in pieces(bytes).filter(|piece| !piece.is_empty()) {
            if pairs.len() == MAX_PARAMETERS {
                return Err(FormError::TooMany);
            }
            let (name, value) = split_at(b'=', piece).unwrap_or((piece, &[]));
            let place = pairs.len() + 1;
            let name = percent_decode(name).filter(|name| !has_control(name)).ok_or(FormError::Encoding(place))?;
            let value = percent_decode(value).map(Zeroizing::new).ok_or(FormError::Encoding(place))?;
            let line_breaks = |c: char| !c.is_control() || matches!(c, '\t' | '\r' | '\n');
            if has_control(&value) && !(name == MULTI_LINE && value.chars().all(line_breaks)) {
                return Err(FormError::Control(place));
            }
            if !REPEATABLE.contains(&name.as_str()) && pairs.iter().any(|(known, _)| *known == name) {
                return Err(FormError::Duplicate(excerpt(name.as_bytes())));
            }
            pairs.push((name, value));
        }
        Ok(Self { pairs })
    }

    /// The value of a parameter, unless it is absent or empty.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.values(name).next()
    }

    /// All values of a repeatable parameter, without empty ones.
    pub fn values<'a, 'n>(&'a self, name: &'n str) -> impl Iterator<Item = &'a str> + use<'a, 'n> {
        self.pairs
            .iter()
            .filter(move |(known, value)| known == name && !value.is_empty())
            .map(|(_, value)| value.as_str())
    }

    /// This form without what is not declared: whoever gets it cannot read anything else.
    ///
    /// ```
    /// let form = deputize_oauth::Form::decode(b"token=a&toke=b").unwrap().only(|name| name == "token");
    /// assert_eq!((form.value("token"), form.value("toke")), (Some("a"), None));
    /// ```
    #[must_use]
    pub fn only(mut self, declared: impl Fn(&str) -> bool) -> Self {
        self.pairs.retain(|(name, _)| declared(name));
        self
    }

    /// Whether the parameter stands in the request at all, even empty.
    pub fn mentions(&self, name: &str) -> bool {
        self.pairs.iter().any(|(known, _)| known == name)
    }

    /// Every name and value, in the order sent.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// This form with one more parameter, for building requests.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.pairs.push((name.to_owned(), Zeroizing::new(value.to_owned())));
        self
    }

    /// The form as a body, which is then the only copy: the form's own values are overwritten here, and the body when it is let
    /// go, by its type.
    ///
    /// ```
    /// let body: zeroize::Zeroizing<Vec<u8>> =
    ///     deputize_oauth::Form::default().with("client_secret", "s3 cret").into_body();
    /// assert_eq!(*body, b"client_secret=s3%20cret");
    /// ```
    pub fn into_body(self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(self.encode().into_bytes())
    }

    /// The form as a body or query string.
    pub fn encode(&self) -> String {
        // Long enough for all of it: one that has to grow leaves what it held where it was.
        let longest = self.pairs.iter().map(|(name, value)| 3 * (name.len() + value.len()) + 2).sum();
        let mut text = String::with_capacity(longest);
        for (name, value) in &self.pairs {
            if !text.is_empty() {
                text.push('&');
            }
            percent_encode(name, &mut text);
            text.push('=');
            percent_encode(value, &mut text);
        }
        text
    }
}

/// What an error may show of a name: short, printable ASCII.
fn excerpt(bytes: &[u8]) -> String {
    bytes.iter().take(40).map(|b| if b.is_ascii_graphic() && *b != b'`' { char::from(*b) } else { '?' }).collect()
}

/// What stands between ampersands.
fn pieces(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(bytes);
    std::iter::from_fn(move || {
        let (piece, after) = rest.map(|rest| split_at(b'&', rest).map_or((rest, None), |(a, b)| (a, Some(b))))?;
        rest = after;
        Some(piece)
    })
}

/// What stands before and after the first such byte.
fn split_at(byte: u8, bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (before, from) = bytes.split_at_checked(memchr(byte, bytes)?)?;
    Some((before, from.get(1..)?))
}

/// `char::is_control` of any, without decoding text that is ASCII and without leaving early: both are many times faster.
fn has_control(text: &str) -> bool {
    let ascii = text.bytes().fold(false, |found, byte| found | byte.is_ascii_control());
    ascii || (!text.is_ascii() && text.chars().any(char::is_control))
}

fn percent_decode(mut text: &[u8]) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    // Most of a form is tokens: what needs no decoding is copied as a whole.
    while let Some(at) = memchr2(b'+', b'%', text) {
        let (plain, from) = text.split_at_checked(at)?;
        bytes.extend_from_slice(plain);
        text = match from {
            [b'+', rest @ ..] => {
                bytes.push(b' ');
                rest
            }
            [_, high, low, rest @ ..] => {
                let digit = |byte: &u8| char::from(*byte).to_digit(16);
                bytes.push(u8::try_from(digit(high)? * 16 + digit(low)?).ok()?);
                rest
            }
            _ => return None,
        };
    }
    bytes.extend_from_slice(text);
    // What is no text may be a piece of a secret all the same.
    String::from_utf8(bytes).map_err(|error| error.into_bytes().zeroize()).ok()
}

fn percent_encode(text: &str, into: &mut String) {
    const HEX: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F'];
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => into.push(char::from(byte)),
            _ => {
                into.push('%');
                into.extend(
                    [usize::from(byte >> 4), usize::from(byte & 15)]
                        .map(|nibble| HEX.get(nibble).copied().unwrap_or('0')),
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Form, FormError};
    use proptest::prelude::*;
    use zeroize::ZeroizeOnDrop;

    #[test]
    fn a_16_hostile_forms_are_refused() {
        let refused = |body: &[u8]| Form::decode(body).expect_err("must be refused");
        assert_eq!(refused(b"scope=a&scope=b"), FormError::Duplicate("scope".into()));
        assert_eq!(refused(b"x=1&y=2&x=1"), FormError::Duplicate("x".into()), "unknown parameters too");
        assert_eq!(refused(b"sc%6Fpe=a&scope=b"), FormError::Duplicate("scope".into()), "however they are spelled");
        assert_eq!(refused(b"code=a%00b"), FormError::Control(1));
        assert_eq!(refused(b"code=a%0d%0aSet-Cookie:x"), FormError::Control(1));
        for bad in [&b"a=%ZZ"[..], b"a=%F", b"a=%", b"a=\xff", b"a=%FF", b"a=%C0%AF", b"a=%ED%A0%80"] {
            assert!(matches!(refused(bad), FormError::Encoding(_)), "{bad:?}");
        }
        assert_eq!(refused(&vec![b'a'; 70_000]), FormError::TooLarge);
        let many: Vec<u8> = (0..300).flat_map(|n| format!("p{n}=1&").into_bytes()).collect();
        assert_eq!(refused(&many), FormError::TooMany);
    }

    #[test]
    fn repeatable_parameters_may_repeat() {
        let form = Form::decode(b"resource=a&resource=b").unwrap();
        assert_eq!(form.values("resource").collect::<Vec<_>>(), ["a", "b"]);
    }

    /// The type does it, and does not compile here in another's place. (What it leaves in memory, `client`'s `memory` looks for.)
    #[test]
    fn values_are_of_a_type_that_overwrites_what_it_lets_go() {
        const fn overwrites(_: &impl ZeroizeOnDrop) {}
        let form = Form::decode(b"client_secret=canary").unwrap().with("code", "canary");
        form.pairs.iter().for_each(|(_, value)| overwrites(value));
        let body = form.into_body();
        overwrites(&body);
        assert_eq!(*body, b"client_secret=canary&code=canary");
    }

    #[test]
    fn the_debug_form_has_no_values() {
        let form = Form::decode(b"client_secret=canary").unwrap();
        assert!(!format!("{form:?}").contains("canary"));
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(values in proptest::collection::vec("[^\\p{Cc}]{1,20}", 1..8)) {
            let form = values.iter().enumerate().fold(Form::default(), |form, (n, value)| form.with(&format!("p{n}"), value));
            prop_assert_eq!(Form::decode(form.encode().as_bytes()), Ok(form));
        }

        #[test]
        fn no_bytes_cause_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Form::decode(&bytes);
        }
    }
}
