//! Fields of a message that concern one connection (RFC 9110 section 7.6.1), and those that frame it.
use super::Refusal;
use super::identity::{is_alias, is_reserved};
use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, COOKIE, EXPECT, HOST,
    PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, SET_COOKIE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, WWW_AUTHENTICATE,
};
use http::{HeaderMap, HeaderName};

/// Whether it concerns one connection, be it named by `Connection` or not.
fn is_hop_by_hop(name: &HeaderName) -> bool {
    let standard = matches!(
        *name,
        CONNECTION | TRANSFER_ENCODING | UPGRADE | TE | TRAILER | EXPECT | PROXY_AUTHORIZATION | PROXY_AUTHENTICATE
    );
    standard || matches!(name.as_str(), "keep-alive" | "proxy-connection" | "http2-settings")
}

/// Most messages have one such field or none: looking for each costs more than looking at all.
fn without_hop_by_hop(headers: &mut HeaderMap) {
    while let Some(name) = headers.keys().find(|name| is_hop_by_hop(name)).cloned() {
        headers.remove(name);
    }
}

/// What decides about a request, and so may not be taken out of it on the way.
const END_TO_END: [HeaderName; 5] = [AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, HOST];

/// Checks how a body is framed. What the HTTP library resolved already is not seen here.
pub(crate) fn framing(headers: &HeaderMap) -> Result<(), Refusal> {
    let several = |name: &HeaderName| headers.get_all(name).iter().nth(1).is_some();
    if several(&CONTENT_LENGTH) || several(&TRANSFER_ENCODING) {
        return Err(Refusal::Framing("the length of the body is stated more than once"));
    }
    match headers.get(TRANSFER_ENCODING) {
        Some(_) if headers.contains_key(CONTENT_LENGTH) => {
            Err(Refusal::Framing("the length of the body is stated in two ways"))
        }
        Some(value) if !value.as_bytes().eq_ignore_ascii_case(b"chunked") => {
            Err(Refusal::Framing("the transfer coding is another than `chunked`"))
        }
        _ => Ok(()),
    }
}

/// Checks that no value has white space around it, which is part of it over HTTP/2 and not over HTTP/1.1: policies would see another value
/// than the service.
pub(super) fn values(headers: &HeaderMap) -> Result<(), Refusal> {
    let is_padded = |value: &[u8]| matches!(value, [b' ' | b'\t', ..] | [.., b' ' | b'\t']);
    if headers.values().any(|value| is_padded(value.as_bytes())) { Err(Refusal::Value) } else { Ok(()) }
}

/// What most values of `Connection` are; they name no field that there would be beside those that always go.
fn is_about_staying(token: &str) -> bool {
    token.eq_ignore_ascii_case("close") || token.eq_ignore_ascii_case("keep-alive")
}

/// Takes out what concerns the connection that the request came over.
///
/// # Errors
/// If `Connection` names what decides about the request: taking it out is how an attacker gets rid of it.
pub(super) fn take_hop_by_hop(headers: &mut HeaderMap, secret: &dyn Fn(&str) -> bool) -> Result<(), Refusal> {
    let mut named: Vec<HeaderName> = Vec::new();
    for value in headers.get_all(CONNECTION) {
        let text = value.to_str().map_err(|_| Refusal::Connection)?;
        for token in text.split(',').map(str::trim).filter(|token| !token.is_empty()) {
            if is_about_staying(token) {
                continue;
            }
            let name: HeaderName = token.parse().map_err(|_| Refusal::Connection)?;
            let decides = END_TO_END.iter().any(|kept| is_alias(name.as_str(), kept.as_str()));
            if decides || is_reserved(&name) || secret(name.as_str()) {
                return Err(Refusal::Connection);
            }
            named.push(name);
        }
    }
    for name in named {
        headers.remove(name);
    }
    without_hop_by_hop(headers);
    Ok(())
}

/// Whether a field frames a message, routes it, or decides about it, so that it is no trailer (RFC 9110 section 6.5.1).
pub(crate) fn is_about_the_message(name: &HeaderName) -> bool {
    let decides = END_TO_END.iter().any(|kept| is_alias(name.as_str(), kept.as_str()));
    decides || is_hop_by_hop(name) || matches!(*name, CONTENT_ENCODING | CONTENT_RANGE | SET_COOKIE | WWW_AUTHENTICATE)
}

/// Takes out what concerns the connection to the service, from its answer.
pub(crate) fn take_hop_by_hop_of_answer(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|text| text.split(','))
        .map(str::trim)
        .filter(|token| !is_about_staying(token))
        .filter_map(|token| token.parse().ok())
        .filter(|name| !END_TO_END.contains(name))
        .collect();
    for name in named {
        headers.remove(name);
    }
    without_hop_by_hop(headers);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        headers
    }

    fn left(lines: &[(&str, &str)]) -> Result<Vec<String>, Refusal> {
        let mut headers = headers(lines);
        take_hop_by_hop(&mut headers, &|name| name == "api-key")?;
        let mut left: Vec<String> = headers.keys().map(ToString::to_string).collect();
        left.sort();
        Ok(left)
    }

    #[test]
    fn what_concerns_one_connection_goes_no_further() {
        let sent = [
            ("connection", "keep-alive, X-A"),
            ("x-a", "1"),
            ("keep-alive", "300"),
            ("te", "trailers"),
            ("proxy-connection", "keep-alive"),
            ("proxy-authorization", "Basic x"),
            ("upgrade", "h2c"),
            ("http2-settings", "AAMAAABkAAQAAP__"),
            ("trailer", "x-b"),
            ("transfer-encoding", "chunked"),
            ("expect", "100-continue"),
            ("accept", "*/*"),
        ];
        assert_eq!(left(&sent), Ok(vec!["accept".to_owned()]));
    }

    #[test]
    fn g_02_connection_may_not_name_what_decides() {
        for named in [
            "Authorization",
            "authorization",
            "content-length",
            "Host",
            "Cookie",
            "X-Forwarded-For",
            "X_Forwarded_For",
            "X-MS-CLIENT-PRINCIPAL",
            "Ocp-Apim-Subscription-Key",
            "api-key",
            "close, Authorization",
            "a b",
        ] {
            assert_eq!(left(&[("connection", named)]), Err(Refusal::Connection), "{named}");
            let twice = [("connection", "keep-alive"), ("connection", named)];
            assert_eq!(left(&twice), Err(Refusal::Connection), "{named} in a second field");
        }
    }

    #[test]
    fn g_01_a_body_has_one_length() {
        for (lines, sound) in [
            (&[("content-length", "5")][..], true),
            (&[("transfer-encoding", "chunked")], true),
            (&[("transfer-encoding", "Chunked")], true),
            (&[], true),
            (&[("content-length", "5"), ("transfer-encoding", "chunked")], false),
            (&[("content-length", "5"), ("content-length", "5")], false),
            (&[("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")], false),
            (&[("transfer-encoding", "chunked, identity")], false),
            (&[("transfer-encoding", "gzip, chunked")], false),
            (&[("transfer-encoding", "xchunked")], false),
        ] {
            assert_eq!(framing(&headers(lines)).is_ok(), sound, "{lines:?}");
        }
    }
}
