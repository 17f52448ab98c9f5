//! Fields of a message that concern one connection (RFC 9110 section 7.6.1), and those that frame it.
use super::Refusal;
use super::identity::{begins, is_alias, is_reserved};
use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, COOKIE, EXPECT, HOST,
    SET_COOKIE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, WWW_AUTHENTICATE,
};
use http::{HeaderMap, HeaderName, HeaderValue};

/// What concerns one connection, beside those whose names have one spelling.
const OF_CONNECTIONS: [&str; 6] = [
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "transfer-encoding",
];

/// Whether it concerns one connection, be it named by `Connection` or not.
fn is_hop_by_hop(name: &HeaderName) -> bool {
    matches!(*name, CONNECTION | UPGRADE | TE | TRAILER | EXPECT)
        || OF_CONNECTIONS.iter().any(|other| is_alias(name.as_str(), other))
}

/// Whether it is for proxies, or taken for what is: `Proxy` becomes the variable `HTTP_PROXY`, by which scripts ask others.
fn is_for_proxies(name: &HeaderName) -> bool {
    is_alias(name.as_str(), "proxy") || begins(name.as_str(), "proxy-")
}

/// Whether some servers take it for the length of the body.
fn is_other_length(name: &HeaderName) -> bool {
    *name != CONTENT_LENGTH && is_alias(name.as_str(), "content-length")
}

/// Each is looked at once: over HTTP/2 there can be a thousand of them.
fn remove_all(headers: &mut HeaderMap, goes: impl Fn(&HeaderName) -> bool) {
    let going: Vec<HeaderName> = headers.keys().filter(|name| goes(name)).cloned().collect();
    for name in going {
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

/// The length in its one form: some read `010` as 8.
pub(super) fn one_length(headers: &mut HeaderMap) {
    let is_other = |length: &&HeaderValue| matches!(length.as_bytes(), [b'0', _, ..]);
    let Some(length) = headers.get(CONTENT_LENGTH).filter(is_other) else { return };
    if let Some(number) = length.to_str().ok().and_then(|text| text.parse::<u64>().ok()) {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(number));
    }
}

/// Takes out what some servers take for a field that carries a credential here: nobody has looked at it.
pub(super) fn take_other_secrets(headers: &mut HeaderMap, secrets: &[String]) {
    let is_like = |name: &str| secrets.iter().any(|secret| is_alias(name, secret));
    let is_one = |name: &str| secrets.iter().any(|secret| secret == name);
    remove_all(headers, |name| is_like(name.as_str()) && !is_one(name.as_str()));
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

/// Takes out what concerns the connection that the request came over, and what is for others than the service.
///
/// # Errors
/// If `Connection` names what decides about the request: taking it out is how an attacker gets rid of it.
pub(super) fn take_hop_by_hop(headers: &mut HeaderMap, secrets: &[String]) -> Result<(), Refusal> {
    let mut named: Vec<HeaderName> = Vec::new();
    for value in headers.get_all(CONNECTION) {
        let text = value.to_str().map_err(|_| Refusal::ConnectionNames)?;
        for token in text.split(',').map(str::trim).filter(|token| !token.is_empty()) {
            if is_about_staying(token) {
                continue;
            }
            let name: HeaderName = token.parse().map_err(|_| Refusal::ConnectionNames)?;
            let is_secret = secrets.iter().any(|secret| is_alias(name.as_str(), secret));
            let decides = END_TO_END.iter().any(|kept| is_alias(name.as_str(), kept.as_str()));
            if decides || is_reserved(&name) || is_secret {
                return Err(Refusal::Connection);
            }
            named.push(name);
        }
    }
    for name in named {
        headers.remove(name);
    }
    remove_all(headers, |name| is_hop_by_hop(name) || is_for_proxies(name) || is_other_length(name));
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
    remove_all(headers, is_hop_by_hop);
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
        take_hop_by_hop(&mut headers, &["api-key".to_owned()])?;
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
    fn g_09_what_is_for_proxies_or_taken_for_the_framing_goes_no_further() {
        for name in [
            "Proxy",
            "Proxy_Authorization",
            "Proxy.Connection",
            "Proxy-Anything",
            "Keep_Alive",
            "Transfer_Encoding",
            "Transfer.Encoding",
            "Content_Length",
            "HTTP2_Settings",
        ] {
            assert_eq!(left(&[(name, "7"), ("accept", "*/*")]), Ok(vec!["accept".to_owned()]), "{name}");
        }
        let kept = [("content-length", "7"), ("proxied", "7"), ("x-proxy", "7")];
        assert_eq!(left(&kept).unwrap().len(), 3);
    }

    #[test]
    fn g_05_what_servers_take_for_a_credential_is_gone() {
        let secrets = ["x-api-token".to_owned(), "x_old_key".to_owned()];
        let lines = [
            ("x-api-token", "good"),
            ("x_api_token", "forged"),
            ("x.api-token", "forged"),
            ("x_old_key", "good"),
            ("x-old-key", "forged"),
            ("x_plain", "kept"),
        ];
        let mut headers = headers(&lines);
        take_other_secrets(&mut headers, &secrets);
        let left: Vec<&str> = headers.values().map(|value| value.to_str().unwrap()).collect();
        assert_eq!((headers.len(), left.contains(&"forged")), (3, false), "{headers:?}");
    }

    #[test]
    fn g_01_a_length_is_written_in_one_form() {
        for (sent, written) in [("010", "10"), ("05", "5"), ("00", "0"), ("0", "0"), ("10", "10")] {
            let mut headers = headers(&[("content-length", sent)]);
            one_length(&mut headers);
            assert_eq!(headers.get("content-length").unwrap(), written);
        }
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
            "api_key",
            "close, Authorization",
        ] {
            assert_eq!(left(&[("connection", named)]), Err(Refusal::Connection), "{named}");
            let twice = [("connection", "keep-alive"), ("connection", named)];
            assert_eq!(left(&twice), Err(Refusal::Connection), "{named} in a second field");
        }
        assert_eq!(left(&[("connection", "a b")]), Err(Refusal::ConnectionNames));
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
