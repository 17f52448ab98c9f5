//! Cookies that only this host can have set, and a reader that cannot be talked into taking another's (RFC 6265,
//! RFC 6265bis section 4.1.3.2).
use http::header::{COOKIE, HeaderMap, HeaderValue};
use std::time::Duration;
use thiserror::Error;

/// A cookie by name. `__Host-` makes browsers refuse it from other hosts, from subdomains and without TLS.
///
/// ```
/// use deputize_pages::Cookie;
///
/// const SESSION: Cookie = Cookie::named("__Host-session");
/// assert_eq!(
///     SESSION.set("c2VjcmV0", None).unwrap(),
///     "__Host-session=c2VjcmV0; Path=/; Secure; HttpOnly; SameSite=Lax"
/// );
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cookie(&'static str);

/// Why a request's cookies are not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CookieError {
    /// One name twice: which of them we set cannot be told (cookie tossing).
    #[error("the cookie is sent more than once; clear this site's cookies")]
    Duplicate,
    /// Characters that no cookie of ours has.
    #[error("the cookie header is malformed; clear this site's cookies")]
    Malformed,
}

impl Cookie {
    /// A cookie of this name.
    ///
    /// # Panics
    /// At compile time, unless the name starts with `__Host-` and goes on in lower-case ASCII.
    pub const fn named(name: &'static str) -> Self {
        let Some((b"__Host-", mut rest)) = name.as_bytes().split_first_chunk::<7>() else {
            panic!("the name of a cookie starts with `__Host-`")
        };
        assert!(!rest.is_empty(), "the name of a cookie goes on after `__Host-`");
        while let [byte, tail @ ..] = rest {
            assert!(byte.is_ascii_lowercase() || *byte == b'-', "the name of a cookie is lower-case ASCII");
            rest = tail;
        }
        Self(name)
    }

    /// `Set-Cookie` for a value; without a life it ends with the browser. `None` if the value has characters that a
    /// cookie cannot hold.
    pub fn set(self, value: &str, life: Option<Duration>) -> Option<HeaderValue> {
        let age = life.map(|life| format!("; Max-Age={}", life.as_secs())).unwrap_or_default();
        value.bytes().all(octet).then(|| self.header(value, &age)).flatten()
    }

    /// `Set-Cookie` that removes it.
    pub fn clear(self) -> Option<HeaderValue> {
        self.header("", "; Max-Age=0")
    }

    /// The value that the browser sent, if it sent one.
    ///
    /// # Errors
    /// If it sent several, or something that is not a cookie value. Other cookies of the host do not matter.
    pub fn read(self, headers: &HeaderMap) -> Result<Option<&str>, CookieError> {
        let mut found = None;
        // HTTP/2 may send each pair as a header of its own (RFC 9113 section 8.2.3).
        for header in headers.get_all(COOKIE) {
            for pair in header.as_bytes().split(|byte| *byte == b';') {
                let pair = pair.trim_ascii();
                // Names are compared without case: some browsers once let `__host-` pass without the prefix's rules.
                let Some((name, rest)) = pair.split_at_checked(self.0.len()) else { continue };
                if !name.eq_ignore_ascii_case(self.0.as_bytes()) {
                    continue;
                }
                let value = match rest {
                    [b'=', value @ ..] => value,
                    [] => return Err(CookieError::Malformed),
                    _ if rest.trim_ascii_start().first() == Some(&b'=') => return Err(CookieError::Malformed),
                    _ => continue,
                };
                if name != self.0.as_bytes() || !value.iter().copied().all(octet) {
                    return Err(CookieError::Malformed);
                }
                if found.replace(value).is_some() {
                    return Err(CookieError::Duplicate);
                }
            }
        }
        found
            .map(|value| str::from_utf8(value).map_err(|_| CookieError::Malformed))
            .transpose()
            .map(|value| value.filter(|value| !value.is_empty()))
    }

    fn header(self, value: &str, age: &str) -> Option<HeaderValue> {
        let text = format!("{}={value}; Path=/; Secure; HttpOnly; SameSite=Lax{age}", self.0);
        let mut header = HeaderValue::try_from(text).ok()?;
        header.set_sensitive(true);
        Some(header)
    }
}

/// RFC 6265 section 4.1.1, cookie-octet.
fn octet(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'"' | b',' | b';' | b'\\')
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSION: Cookie = Cookie::named("__Host-session");

    fn read(headers: &[&str]) -> Result<Option<String>, CookieError> {
        let headers = headers.iter().map(|text| (COOKIE, HeaderValue::from_bytes(text.as_bytes()).unwrap())).fold(
            HeaderMap::new(),
            |mut all, (name, value)| {
                all.append(name, value);
                all
            },
        );
        SESSION.read(&headers).map(|value| value.map(str::to_owned))
    }

    #[test]
    fn a_cookie_is_read_among_others() {
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&["other=1; __Host-session=abc==; x"]), Ok(Some("abc==".to_owned())));
        assert_eq!(read(&["other=1", "__Host-session=abc"]), Ok(Some("abc".to_owned())), "as HTTP/2 splits it");
        assert_eq!(read(&["__Host-session-two=abc; x__Host-session=d; bad=\u{fc}"]), Ok(None));
        assert_eq!(read(&["__Host-session="]), Ok(None));
    }

    #[test]
    fn a_10_a_tossed_cookie_is_refused() {
        assert_eq!(read(&["__Host-session=mine; __Host-session=theirs"]), Err(CookieError::Duplicate));
        assert_eq!(read(&["__Host-session=same", "__Host-session=same"]), Err(CookieError::Duplicate));
        assert_eq!(read(&["__Host-session=; __Host-session=theirs"]), Err(CookieError::Duplicate));
        for hostile in [
            "__host-session=x",
            "__Host-session =x",
            "__Host-session",
            "__Host-session=\"x\"",
            "__Host-session=a,b",
            "__Host-session=\u{fc}",
        ] {
            assert_eq!(read(&[hostile]), Err(CookieError::Malformed), "{hostile}");
        }
    }

    #[test]
    fn a_value_cannot_add_attributes() {
        for hostile in ["a; Domain=example", "a\r\nSet-Cookie: b=c", "a b", "\"a\"", "\u{fc}"] {
            assert_eq!(SESSION.set(hostile, None), None, "{hostile:?}");
        }
        assert_eq!(
            SESSION.set("a", Some(Duration::from_mins(1))).unwrap(),
            "__Host-session=a; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=60"
        );
        assert_eq!(SESSION.clear().unwrap(), "__Host-session=; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=0");
    }

    #[test]
    fn a_set_cookie_is_not_logged() {
        assert_eq!(format!("{:?}", SESSION.set("secret", None).unwrap()), "Sensitive");
    }
}
