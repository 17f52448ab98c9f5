//! What Envoy asks and is told (`envoy.service.auth.v3.Authorization`): the messages, as far as they are used, by the numbers of
//! their published definitions.
use super::asked::{Asked, Changes, Unreadable};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use prost::Message;
use std::collections::HashMap;

/// The path of its one method.
pub(super) const CHECK: &str = "/envoy.service.auth.v3.Authorization/Check";
/// `PERMISSION_DENIED` of `google.rpc.Code`.
const PERMISSION_DENIED: i32 = 7;
/// `OVERWRITE_IF_EXISTS_OR_ADD`.
const OVERWRITE: i32 = 2;
/// `APPEND_IF_EXISTS_OR_ADD`.
const APPEND: i32 = 0;

#[derive(Clone, PartialEq, Message)]
pub(super) struct CheckRequest {
    #[prost(message, optional, tag = "1")]
    attributes: Option<AttributeContext>,
}

#[derive(Clone, PartialEq, Message)]
struct AttributeContext {
    #[prost(message, optional, tag = "1")]
    source: Option<Peer>,
    #[prost(message, optional, tag = "4")]
    request: Option<AttributeRequest>,
}

#[derive(Clone, PartialEq, Message)]
struct Peer {
    #[prost(message, optional, tag = "1")]
    address: Option<Address>,
}

#[derive(Clone, PartialEq, Message)]
struct Address {
    #[prost(message, optional, tag = "1")]
    socket_address: Option<SocketAddress>,
}

#[derive(Clone, PartialEq, Message)]
struct SocketAddress {
    #[prost(string, tag = "2")]
    address: String,
}

#[derive(Clone, PartialEq, Message)]
struct AttributeRequest {
    #[prost(message, optional, tag = "2")]
    http: Option<HttpRequest>,
}

#[derive(Clone, PartialEq, Message)]
struct HttpRequest {
    #[prost(string, tag = "2")]
    method: String,
    #[prost(map = "string, string", tag = "3")]
    headers: HashMap<String, String>,
    #[prost(string, tag = "4")]
    path: String,
    #[prost(string, tag = "5")]
    host: String,
    #[prost(string, tag = "6")]
    scheme: String,
    #[prost(message, optional, tag = "13")]
    header_map: Option<Headers>,
}

#[derive(Clone, PartialEq, Message)]
struct Headers {
    #[prost(message, repeated, tag = "1")]
    headers: Vec<Header>,
}

#[derive(Clone, PartialEq, Message)]
struct Header {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(string, tag = "2")]
    value: String,
    #[prost(bytes = "bytes", tag = "3")]
    raw_value: Bytes,
}

#[derive(Clone, PartialEq, Message)]
struct HeaderOption {
    #[prost(message, optional, tag = "1")]
    header: Option<Header>,
    /// What says the same to older versions.
    #[prost(message, optional, tag = "2")]
    append: Option<Truth>,
    #[prost(int32, tag = "3")]
    append_action: i32,
}

#[derive(Clone, PartialEq, Message)]
struct Truth {
    #[prost(bool, tag = "1")]
    value: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct CheckResponse {
    #[prost(message, optional, tag = "1")]
    status: Option<Status>,
    #[prost(message, optional, tag = "2")]
    denied: Option<Denied>,
    #[prost(message, optional, tag = "3")]
    ok: Option<Permitted>,
}

#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(int32, tag = "1")]
    code: i32,
}

#[derive(Clone, PartialEq, Message)]
struct Denied {
    #[prost(message, optional, tag = "1")]
    status: Option<HttpStatus>,
    #[prost(message, repeated, tag = "2")]
    headers: Vec<HeaderOption>,
    #[prost(string, tag = "3")]
    body: String,
}

#[derive(Clone, PartialEq, Message)]
struct HttpStatus {
    #[prost(int32, tag = "1")]
    code: i32,
}

#[derive(Clone, PartialEq, Message)]
struct Permitted {
    #[prost(message, repeated, tag = "2")]
    headers: Vec<HeaderOption>,
    #[prost(string, repeated, tag = "5")]
    headers_to_remove: Vec<String>,
    #[prost(message, repeated, tag = "6")]
    response_headers: Vec<HeaderOption>,
    #[prost(string, repeated, tag = "8")]
    query_parameters_to_remove: Vec<String>,
}

impl CheckRequest {
    /// The request that it is about.
    pub(super) fn asked(self) -> Result<Asked, Unreadable> {
        let missing = |what: &str| Unreadable(format!("the proxy does not say {what}"));
        let attributes = self.attributes.ok_or_else(|| missing("what it asks about"))?;
        let source = attributes.source.and_then(|peer| peer.address?.socket_address);
        let address = source.and_then(|socket| socket.address.parse().ok());
        let http =
            attributes.request.and_then(|request| request.http).ok_or_else(|| missing("which request it has"))?;
        let mut headers = HeaderMap::new();
        let pairs: Vec<(String, Bytes)> = match http.header_map {
            // Every field as it came, where Envoy is told to send them so.
            Some(map) if !map.headers.is_empty() => {
                let value = |header: Header| {
                    let value = if header.raw_value.is_empty() { header.value.into() } else { header.raw_value };
                    (header.key, value)
                };
                map.headers.into_iter().map(value).collect()
            }
            _ => http.headers.into_iter().map(|(name, value)| (name, value.into())).collect(),
        };
        for (name, value) in pairs.into_iter().filter(|(name, _)| !name.starts_with(':')) {
            let wrong = || Unreadable("a field of the request is none".to_owned());
            let name = HeaderName::try_from(name).map_err(|_| wrong())?;
            headers.append(name, HeaderValue::from_maybe_shared(value).map_err(|_| wrong())?);
        }
        headers.remove(http::header::HOST);
        Ok(Asked {
            method: http.method.parse().map_err(|_| missing("with which method"))?,
            target: http.path,
            host: http.host,
            is_tls: http.scheme == "https",
            address: address.ok_or_else(|| missing("from which address it came"))?,
            headers,
        })
    }
}

/// Cookies stand beside each other, and of other fields there is one.
fn added(name: &HeaderName, value: &HeaderValue) -> HeaderOption {
    let option = overwrite(name, value);
    if *name != http::header::SET_COOKIE {
        return option;
    }
    HeaderOption { append: Some(Truth { value: true }), append_action: APPEND, ..option }
}

fn overwrite(name: &HeaderName, value: &HeaderValue) -> HeaderOption {
    let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
    let header = Header { key: name.as_str().to_owned(), value, raw_value: Bytes::new() };
    HeaderOption { header: Some(header), append: Some(Truth { value: false }), append_action: OVERWRITE }
}

impl CheckResponse {
    /// Goes on, with these changes; `answer` is added to the service's answer.
    pub(super) fn permitted(changes: &Changes, answer: &HeaderMap) -> Self {
        let set = changes.set.iter().map(|(name, value)| overwrite(name, value));
        Self {
            status: Some(Status { code: 0 }),
            denied: None,
            ok: Some(Permitted {
                headers: set.collect(),
                headers_to_remove: changes.remove.iter().map(|name| name.as_str().to_owned()).collect(),
                response_headers: answer.iter().map(|(name, value)| added(name, value)).collect(),
                query_parameters_to_remove: changes.remove_parameters.clone(),
            }),
        }
    }

    /// Ends here, with this answer.
    pub(super) fn answered(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Self {
        let headers = headers.iter().filter(|(name, _)| *name != http::header::CONTENT_LENGTH);
        Self {
            status: Some(Status { code: PERMISSION_DENIED }),
            denied: Some(Denied {
                status: Some(HttpStatus { code: i32::from(status.as_u16()) }),
                headers: headers.map(|(name, value)| added(name, value)).collect(),
                body: String::from_utf8_lossy(body).into_owned(),
            }),
            ok: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_stand_beside_each_other_and_of_other_fields_there_is_one() {
        let mut headers = HeaderMap::new();
        for (name, value) in [("set-cookie", "a=1"), ("set-cookie", "b=2"), ("location", "/x")] {
            headers.append(name, HeaderValue::from_static(value));
        }
        let actions =
            |options: Vec<HeaderOption>| -> Vec<i32> { options.iter().map(|option| option.append_action).collect() };
        let answered = CheckResponse::answered(StatusCode::FOUND, &headers, b"");
        assert_eq!(actions(answered.denied.unwrap().headers), [APPEND, APPEND, OVERWRITE]);
        let permitted = CheckResponse::permitted(&Changes::default(), &headers);
        assert_eq!(actions(permitted.ok.unwrap().response_headers), [APPEND, APPEND, OVERWRITE]);
    }
}
