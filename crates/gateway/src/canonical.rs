//! The one form of a request that routes, policies and services all see. What has more than one reading is refused.
//!
//! ```
//! use gateway::{Canonical, Refusal};
//! let ask = |target: &str| {
//!     let request = http::Request::get(target).header("host", "API.example").body(()).unwrap();
//!     Canonical::of(request.into_parts().0, &[])
//! };
//! let request = ask("/orders/../invoices?year=2026").unwrap();
//! assert_eq!((request.host(), request.path(), request.query()), ("api.example", "/invoices", Some("year=2026")));
//! assert!(matches!(ask("/orders/%2e%2e/invoices"), Err(Refusal::Path(_))));
//! ```
mod fields;
mod host;
pub(crate) mod identity;
mod path;
pub(crate) mod query;

pub(crate) use fields::{framing, is_about_the_message, take_hop_by_hop_of_answer};
pub use host::{Host, host};
pub use path::{Ambiguity, LONGEST as LONGEST_PATH, canonical as canonical_path};

use http::header::{AUTHORIZATION, COOKIE, HOST};
use http::request::Parts;
use http::uri::Scheme;
use http::{HeaderMap, HeaderValue, Method, Uri, Version};

/// Why a request has no canonical form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A method that no service behind a gateway is asked with.
    #[error("the method is not forwarded here")]
    Method,
    /// A method that is not in capitals, which some take for the one that is.
    #[error("the method is not in capitals")]
    MethodCase,
    /// The target is of another scheme (RFC 9110 section 4.2).
    #[error("the target is neither of `http` nor of `https`")]
    Scheme,
    /// The path.
    #[error("{0}")]
    Path(Ambiguity),
    /// The query.
    #[error("the query has a character that has to be percent-encoded")]
    Query,
    /// No host, two of them, or none that can be read.
    #[error("the request does not name one host")]
    Host,
    /// How long the body is.
    #[error("{0}")]
    Framing(&'static str),
    /// A value that HTTP/1.1 would take for another one (RFC 9113 section 8.2.1).
    #[error("the value of a field begins or ends with white space")]
    Value,
    /// `Connection` names what is not about the connection.
    #[error("`Connection` names a field that decides about the request")]
    Connection,
    /// `Connection` has what is no field's name.
    #[error("`Connection` has something that is no name of a field")]
    ConnectionNames,
    /// More fields than over HTTP/1.1.
    #[error("the request has more than 100 fields")]
    Fields,
    /// More than one credential (RFC 6750 section 2).
    #[error("the request carries more than one credential")]
    Credentials,
}

/// How many fields a request may have, as over HTTP/1.1.
const MOST_FIELDS: usize = 100;

/// A request in its one form. What concerns the caller's connection is gone from its fields.
#[derive(Clone, Debug)]
pub struct Canonical {
    method: Method,
    version: Version,
    uri: Uri,
    /// Where it is another than that of `uri`.
    path: Option<String>,
    /// Counts in place of that of `uri` once something was taken out of it.
    query: Option<String>,
    query_changed: bool,
    host: String,
    port: Option<u16>,
    headers: HeaderMap,
}

impl Canonical {
    /// The canonical form of a request. `secrets` are the names, in lower case, of fields that carry credentials here, beside
    /// those that do everywhere.
    ///
    /// # Errors
    /// If the request could be read in two ways.
    pub fn of(parts: Parts, secrets: &[String]) -> Result<Self, Refusal> {
        let Parts { method, uri, version, mut headers, .. } = parts;
        one_method(&method)?;
        if uri.scheme().is_some_and(|scheme| *scheme != Scheme::HTTP && *scheme != Scheme::HTTPS) {
            return Err(Refusal::Scheme);
        }
        let (host, port) = one_host(&uri, version, &headers)?;
        let path = match path::canonical(uri.path()).map_err(Refusal::Path)? {
            std::borrow::Cow::Borrowed(_) => None,
            std::borrow::Cow::Owned(path) => Some(path),
        };
        if !uri.query().is_none_or(query::is_sound) {
            return Err(Refusal::Query);
        }
        fields::framing(&headers)?;
        fields::one_length(&mut headers);
        fields::take_hop_by_hop(&mut headers, secrets)?;
        fields::take_other_secrets(&mut headers, secrets);
        one_credential(&mut headers, uri.query())?;
        if version == Version::HTTP_2 {
            fields::values(&headers)?;
            one_cookie_field(&mut headers);
        }
        if headers.len() > MOST_FIELDS {
            return Err(Refusal::Fields);
        }
        Ok(Self { method, version, uri, path, query: None, query_changed: false, host, port, headers })
    }

    /// The method.
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// The protocol that the caller speaks.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The path.
    pub fn path(&self) -> &str {
        self.path.as_deref().unwrap_or_else(|| self.uri.path())
    }

    /// The query, less what was taken out of it.
    pub fn query(&self) -> Option<&str> {
        if self.query_changed { self.query.as_deref() } else { self.uri.query() }
    }

    /// The host that is asked, in lower case and without its port.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port that is asked, where it is stated.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// Its fields.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// Its fields, to change them.
    pub(crate) fn headers_mut(&mut self) -> &mut HeaderMap {
        &mut self.headers
    }

    /// Takes a parameter out of the query, however it is spelt.
    pub(crate) fn take_parameter(&mut self, name: &str) {
        if let Some(left) = self.query().map(|query| query::without(query, name)) {
            (self.query, self.query_changed) = (left, true);
        }
    }
}

fn one_method(method: &Method) -> Result<(), Refusal> {
    if matches!(*method, Method::TRACE | Method::CONNECT) {
        return Err(Refusal::Method);
    }
    if method.as_str().bytes().any(|b| b.is_ascii_lowercase()) {
        return Err(Refusal::MethodCase);
    }
    Ok(())
}

/// Why a request is refused before any policy is asked, as far as its method and its path tell.
pub fn refusal(method: &Method, path: &str) -> Option<Refusal> {
    let path = || path::canonical(path).map(drop).map_err(Refusal::Path);
    one_method(method).and_then(|()| path()).err()
}

/// RFC 9112 section 3.2 and RFC 9113 section 8.3.1: of two hosts, routes and services could believe different ones. Over HTTP/1.1
/// every request has the field.
fn one_host(uri: &Uri, version: Version, headers: &HeaderMap) -> Result<(String, Option<u16>), Refusal> {
    let mut stated = headers.get_all(HOST).iter();
    let field = stated.next().map(|value| value.to_str().map_err(|_| Refusal::Host)).transpose()?;
    if stated.next().is_some() {
        return Err(Refusal::Host);
    }
    let read = |text| host(text).ok_or(Refusal::Host);
    let host = match (uri.authority(), field) {
        (Some(authority), Some(field)) => {
            let target = read(authority.as_str())?;
            if read(field)? != target {
                return Err(Refusal::Host);
            }
            target
        }
        (Some(authority), None) if version != Version::HTTP_11 => read(authority.as_str())?,
        (None, Some(field)) => read(field)?,
        (_, None) => return Err(Refusal::Host),
    };
    Ok((host.name.into_owned(), host.port))
}

/// One `Authorization`, with one space in it (RFC 6750 section 2.1 lets callers send more), and no second token beside it.
fn one_credential(headers: &mut HeaderMap, query: Option<&str>) -> Result<(), Refusal> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(()) };
    if values.next().is_some() || !matches!(query::value(query, "access_token"), Ok(None)) {
        return Err(Refusal::Credentials);
    }
    if let Some(mut value) = one_space(value) {
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    Ok(())
}

/// A credential whose scheme more than one space follows, with one.
fn one_space(credential: &HeaderValue) -> Option<HeaderValue> {
    let end = credential.as_bytes().iter().position(|b| !b.is_ascii_alphanumeric())?;
    if end == 0 || !credential.as_bytes().get(end..)?.starts_with(b"  ") {
        return None;
    }
    let (scheme, rest) = credential.to_str().ok()?.split_at_checked(end)?;
    HeaderValue::try_from(format!("{scheme} {}", rest.trim_start_matches(' '))).ok()
}

/// RFC 9113 section 8.2.3: HTTP/2 may split the field; elsewhere it is one.
fn one_cookie_field(headers: &mut HeaderMap) {
    let crumbs: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if crumbs.len() > 1
        && let Ok(whole) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..]))
    {
        headers.insert(COOKIE, whole);
    }
}

#[cfg(test)]
mod tests;
