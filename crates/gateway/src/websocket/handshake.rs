//! The handshake, of both sides.
use crate::Canonical;
use crate::denial::Denial;
use crate::policy::cors::Cors;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use decision::CheckId;
use http::header::{
    CONNECTION, COOKIE, HeaderMap, HeaderName, HeaderValue, ORIGIN, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS,
    SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::request::Parts;
use http::{Method, StatusCode, Version};
use hyper::body::{Body as _, Incoming};
use hyper::upgrade::OnUpgrade;
use serve::Kept;

/// What a key is joined with before it is hashed (RFC 6455 section 1.3).
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// A request that asks for its connection to become another protocol's.
pub(crate) struct Asked {
    version: Version,
    /// The fields that its canonical form no longer has.
    upgrade: Vec<HeaderValue>,
    connection: Vec<HeaderValue>,
    origin: Option<HeaderValue>,
    has_body: bool,
    on_upgrade: Option<OnUpgrade>,
    kept: Option<Kept>,
}

/// A handshake that is sound, before the service has seen it.
pub(crate) struct Opening {
    pub(super) on_upgrade: OnUpgrade,
    pub(super) kept: Option<Kept>,
    accept: String,
    protocols: Vec<String>,
    extends: bool,
}

impl Asked {
    /// What a request asks for; most ask for nothing of the kind.
    pub(crate) fn of(parts: &mut Parts, body: &Incoming) -> Option<Box<Self>> {
        if !parts.headers.contains_key(UPGRADE) {
            return None;
        }
        let all = |name: &HeaderName| parts.headers.get_all(name).iter().cloned().collect();
        Some(Box::new(Self {
            version: parts.version,
            upgrade: all(&UPGRADE),
            connection: all(&CONNECTION),
            origin: parts.headers.get(ORIGIN).cloned(),
            has_body: !body.is_end_stream(),
            on_upgrade: parts.extensions.remove(),
            kept: parts.extensions.remove(),
        }))
    }

    /// Whether it is a WebSocket that it asks for.
    pub(crate) fn is_for_websocket(&self) -> bool {
        has_token(&self.upgrade, "websocket")
    }

    /// The handshake (RFC 6455 section 4.2.1), if all of it is there, and the page that asks may.
    pub(crate) fn opening(
        self,
        request: &Canonical,
        is_tls: bool,
        cors: Option<&Cors>,
    ) -> Result<Box<Opening>, Box<Denial>> {
        let wrong = |problem: &'static str| Box::new(Denial::of(CheckId::GatewayWebSocket).message(problem));
        let headers = request.headers();
        if request.method() != Method::GET || self.version != Version::HTTP_11 || self.has_body {
            return Err(wrong("a WebSocket is opened by a `GET` over HTTP/1.1 without a body"));
        }
        if !has_token(&self.connection, "upgrade") {
            return Err(wrong("`Connection` does not name `Upgrade`"));
        }
        if one(headers, &SEC_WEBSOCKET_VERSION) != Some("13") {
            let denial = Denial::of(CheckId::GatewayWebSocket).status(StatusCode::UPGRADE_REQUIRED);
            let denial = denial.message("`Sec-WebSocket-Version` is not 13");
            return Err(Box::new(denial.field(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"))));
        }
        let key = one(headers, &SEC_WEBSOCKET_KEY).filter(|key| STANDARD.decode(key).is_ok_and(|key| key.len() == 16));
        let key = key.ok_or_else(|| wrong("`Sec-WebSocket-Key` is not 16 bytes in Base64, once"))?;
        // Browsers send what they hold to any site, and let any page open a WebSocket there: this is all that stops it.
        if headers.get_all(ORIGIN).iter().count() > 1
            || self.origin.as_ref().is_some_and(|origin| !is_allowed(origin, request, is_tls, cors))
        {
            return Err(Box::new(Denial::of(CheckId::GatewayOrigin)));
        }
        let offered = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
        Ok(Box::new(Opening {
            accept: accept(key),
            protocols: offered.flat_map(|value| value.split(',')).map(|one| one.trim().to_owned()).collect(),
            extends: headers.contains_key(SEC_WEBSOCKET_EXTENSIONS),
            on_upgrade: self.on_upgrade.ok_or_else(|| wrong("this connection cannot become a WebSocket"))?,
            kept: self.kept,
        }))
    }
}

impl Opening {
    /// Asks the service for it, with the caller's key.
    pub(crate) fn ask(headers: &mut HeaderMap) {
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    }

    /// Whether the service's answer agrees to what was asked, and to nothing else (RFC 6455 section 4.1).
    pub(crate) fn is_agreed(&self, headers: &HeaderMap) -> bool {
        let values = |name: &HeaderName| headers.get_all(name).iter().cloned().collect::<Vec<_>>();
        let protocol = match headers.get(SEC_WEBSOCKET_PROTOCOL) {
            None => true,
            Some(_) => one(headers, &SEC_WEBSOCKET_PROTOCOL).is_some_and(|one| self.protocols.iter().any(|p| p == one)),
        };
        has_token(&values(&UPGRADE), "websocket")
            && has_token(&values(&CONNECTION), "upgrade")
            && one(headers, &SEC_WEBSOCKET_ACCEPT) == Some(self.accept.as_str())
            && protocol
            && (self.extends || !headers.contains_key(SEC_WEBSOCKET_EXTENSIONS))
    }
}

/// RFC 6455 section 4.2.2.
fn accept(key: &str) -> String {
    STANDARD.encode(sha1_smol::Sha1::from(format!("{key}{GUID}")).digest().bytes())
}

/// Whether a page of this origin may open one: those that `cors` lists, and those of the host that is asked.
fn is_allowed(origin: &HeaderValue, request: &Canonical, is_tls: bool, cors: Option<&Cors>) -> bool {
    if cors.is_some_and(|cors| cors.opens(origin, request.headers().contains_key(COOKIE))) {
        return true;
    }
    let Some((scheme, host)) = origin.to_str().ok().and_then(|text| text.split_once("://")) else { return false };
    let usual = match scheme {
        "https" => 443,
        // Anybody on the way can be a page that came without TLS.
        "http" if !is_tls => 80,
        _ => return false,
    };
    let port = |stated: Option<u16>| stated.unwrap_or(usual);
    crate::canonical::host(host)
        .is_some_and(|host| host.name == request.host() && port(host.port) == port(request.port()))
}

fn one<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut all = headers.get_all(name).iter();
    all.next().filter(|_| all.next().is_none()).and_then(|value| value.to_str().ok())
}

fn has_token(values: &[HeaderValue], token: &str) -> bool {
    let texts = values.iter().filter_map(|value| value.to_str().ok());
    texts.flat_map(|text| text.split(',')).any(|one| one.trim().eq_ignore_ascii_case(token))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_answered_as_in_rfc_6455_section_1_3() {
        assert_eq!(accept("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }
}
