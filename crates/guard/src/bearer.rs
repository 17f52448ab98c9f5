//! Where a request carries its token: in one `Authorization` header, and nowhere else (RFC 6750 section 2.1).
use http::{HeaderMap, header};

/// How a token is presented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// Whoever has it may use it, or shows a certificate beside it.
    Bearer,
    /// With a proof of a key (RFC 9449 section 7.1).
    Dpop,
}

/// The token of an `Authorization` value. The scheme's name is of any case, one space follows, and the token is of
/// RFC 6750's alphabet: whatever else a lenient reader would take, two readers would take differently.
pub(crate) fn credential(authorization: Option<&str>) -> Result<(Scheme, &str), &'static str> {
    let value = authorization.ok_or(MISSING)?;
    let (scheme, token) = value.split_once(' ').ok_or("`Authorization` is not `Bearer` and a token")?;
    let scheme = match scheme {
        _ if scheme.eq_ignore_ascii_case("bearer") => Scheme::Bearer,
        _ if scheme.eq_ignore_ascii_case("dpop") => Scheme::Dpop,
        _ => return Err("`Authorization` is of another scheme than `Bearer`"),
    };
    if token.is_empty() || !is_plain(token) {
        return Err("after `Bearer` and one space, something else than one token follows");
    }
    Ok((scheme, token))
}

/// The token, and the key that it is presented as bound to. Without a proof nothing is presented as bound.
pub(crate) fn token<'a, 'k>(
    authorization: Option<&'a str>,
    proven: Option<&'k str>,
) -> Result<(&'a str, Option<&'k str>), &'static str> {
    match (credential(authorization)?, proven) {
        ((Scheme::Bearer, token), _) => Ok((token, None)),
        ((Scheme::Dpop, token), Some(key)) => Ok((token, Some(key))),
        ((Scheme::Dpop, _), None) => Err("`Authorization` is of the scheme `DPoP`, and no proofs are taken here"),
    }
}

/// RFC 6750's alphabet. Without a branch, so that it runs over many bytes at once: it stands before every cached answer.
#[expect(clippy::needless_bitwise_bool, reason = "a branch for each byte costs more than the digest")]
fn is_plain(token: &str) -> bool {
    token.bytes().fold(true, |plain, b| {
        let letter = (b | 0x20).wrapping_sub(b'a') < 26;
        let digit_dash_dot_slash = b.wrapping_sub(b'-') < 13;
        plain & (letter | digit_dash_dot_slash | (b == b'_') | (b == b'~') | (b == b'+') | (b == b'='))
    })
}

/// No credential at all: the one case in which a challenge has no error (RFC 6750 section 3.1).
pub(crate) const MISSING: &str = "no `Authorization` header";

/// The one `Authorization` value of a request.
pub(crate) fn authorization<'a>(headers: &'a HeaderMap, query: Option<&str>) -> Result<Option<&'a str>, &'static str> {
    // Query strings end in logs and in `Referer` (RFC 6750 section 5.3).
    if query.is_some_and(|q| q.split('&').any(|pair| pair.split('=').next() == Some("access_token"))) {
        return Err("a token stands in the query; send it in `Authorization`");
    }
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err("more than one `Authorization` header");
    }
    value.to_str().map(Some).map_err(|_| "`Authorization` is not ASCII")
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_alphabet_is_that_of_the_rfc() {
        for c in (0..=0x17f_u32).filter_map(char::from_u32) {
            assert_eq!(super::is_plain(&c.to_string()), c.is_ascii_alphanumeric() || "-._~+/=".contains(c), "{c:?}");
        }
    }
}
