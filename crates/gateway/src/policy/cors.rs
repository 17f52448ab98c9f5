//! `cors`: which pages of other origins may call, and read the answers (the Fetch standard, section 3.2). Preflights are answered
//! here, before any other policy: browsers send no credential with them.
use super::Part;
use crate::settings::{SettingsError, Spanned, World, fault, field_name};
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, HeaderMap, HeaderName, HeaderValue, ORIGIN, VARY,
};
use http::{Method, Uri};
use schemars::JsonSchema;
use serde::Deserialize;
use std::ops::Range;
use std::sync::Arc;

/// Pages of these origins may call, and read the answers. Preflights are answered before any other policy.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "cors")]
pub(crate) struct Table {
    /// Whether pages may send cookies, and read the answers to requests with them.
    #[serde(default)]
    allow_credentials: bool,
    /// Whether a `GET` or `HEAD` of another origin is answered with an empty 200; by default it goes its way, and the page cannot
    /// read the answer.
    #[serde(default)]
    terminate_unmatched_request: bool,
    /// Origins such as `https://app.example`, or `*` for every one.
    allowed_origins: Vec<Spanned<String>>,
    /// Methods, or `*` for every one.
    #[serde(default = "get_and_post")]
    allowed_methods: Vec<Spanned<String>>,
    /// Fields of requests beside those that every page may send, or `*` for every one.
    #[serde(default)]
    allowed_headers: Vec<Spanned<String>>,
    /// Fields of answers that pages may read beside those that every page may, or `*` for every one.
    #[serde(default)]
    expose_headers: Vec<Spanned<String>>,
    /// For how many seconds browsers remember what a preflight was answered.
    #[serde(default)]
    preflight_result_max_age: u32,
}

fn get_and_post() -> Vec<Spanned<String>> {
    ["GET", "POST"].map(|method| Spanned::new(0..0, method.to_owned())).into()
}

impl super::Table for Table {
    fn part(&self, at: &Range<usize>, _: &mut World<'_>) -> Result<Part, SettingsError> {
        let mut origins = Vec::new();
        for text in self.allowed_origins.iter().filter(|text| text.get_ref() != "*") {
            origins.push(origin(text)?);
        }
        let any_origin = self.allowed_origins.iter().any(|text| text.get_ref() == "*");
        if self.allowed_origins.is_empty() || (any_origin && !origins.is_empty()) {
            let hint = "write `[\"https://app.example\"]`, or `[\"*\"]` alone";
            return Err(fault(at, "`allowed_origins` has nothing, or `*` beside others", hint));
        }
        let mut methods = Vec::new();
        for text in self.allowed_methods.iter().filter(|text| text.get_ref() != "*") {
            let method = text.get_ref().parse().ok().filter(|method: &Method| method.as_str() != "TRACE");
            let is_capital = !text.get_ref().bytes().any(|b| b.is_ascii_lowercase());
            let method = method.filter(|_| is_capital);
            methods.push(method.ok_or_else(|| fault(&text.span(), "this is no method", "write `PUT`, in capitals"))?);
        }
        let listed = |texts: &[Spanned<String>]| -> Result<Names, SettingsError> {
            if texts.iter().any(|text| text.get_ref() == "*") {
                return Ok(Names::Any);
            }
            texts.iter().map(field_name).collect::<Result<_, _>>().map(Names::Listed)
        };
        let exposed = listed(&self.expose_headers)?;
        if self.allow_credentials && (any_origin || matches!(exposed, Names::Any)) {
            let problem = "with `allow_credentials`, `*` would let every site act as the user who visits it";
            return Err(fault(at, problem, "name the origins and `expose_headers`, or remove `allow_credentials`"));
        }
        let text = |names: &[HeaderName]| HeaderValue::try_from(joined(names.iter().map(HeaderName::as_str))).ok();
        Ok(Part::Cors(Arc::new(Cors {
            origins: (!any_origin).then_some(origins),
            methods: (!self.allowed_methods.iter().any(|text| text.get_ref() == "*")).then_some(methods),
            headers: listed(&self.allowed_headers)?,
            exposed: match exposed {
                Names::Any => Some(HeaderValue::from_static("*")),
                Names::Listed(names) if names.is_empty() => None,
                Names::Listed(names) => text(&names),
            },
            credentials: self.allow_credentials,
            terminates: self.terminate_unmatched_request,
            max_age: HeaderValue::from(self.preflight_result_max_age),
        })))
    }

    fn told(&self) -> String {
        let origins: Vec<&str> = self.allowed_origins.iter().map(|text| text.get_ref().as_str()).collect();
        let credentials = if self.allow_credentials { ", with cookies" } else { "" };
        format!("pages of {}{credentials}", origins.join(" or "))
    }
}

/// An origin as browsers write it (RFC 6454 section 6.2): in lower case, and without the port that its scheme has anyway.
pub(crate) fn origin(text: &Spanned<String>) -> Result<String, SettingsError> {
    let wrong =
        |problem: &str| fault(&text.span(), problem, "write `https://app.example` or `https://app.example:8443`");
    if text.get_ref() == "null" {
        return Err(wrong("`null` is the origin of every page in a sandbox, whoever wrote it"));
    }
    if text.get_ref().contains('*') {
        return Err(wrong("an origin is one scheme, host and port; `*` stands for nothing within it"));
    }
    let written = text.get_ref().strip_suffix('/').unwrap_or(text.get_ref());
    let (scheme, authority) = written.split_once("://").ok_or_else(|| wrong("this is no origin"))?;
    let uri: Uri = written.parse().map_err(|_| wrong("this is no origin"))?;
    let whole = uri.authority().is_some_and(|parsed| parsed.as_str() == authority);
    if !whole || authority.contains('@') || uri.host().is_none_or(str::is_empty) {
        return Err(wrong("an origin is a scheme, a host and perhaps a port, and no more"));
    }
    let scheme = scheme.to_ascii_lowercase();
    let usual = match scheme.as_str() {
        "http" => ":80",
        "https" => ":443",
        _ => return Err(wrong("origins of pages begin with `https://` or `http://`")),
    };
    let authority = authority.to_ascii_lowercase();
    let authority = authority.strip_suffix(usual).filter(|rest| !rest.ends_with(':')).unwrap_or(&authority);
    Ok(format!("{scheme}://{authority}"))
}

fn joined<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.collect::<Vec<_>>().join(", ")
}

enum Names {
    Any,
    Listed(Vec<HeaderName>),
}

/// The rule.
pub(crate) struct Cors {
    /// `None` for every one.
    origins: Option<Vec<String>>,
    /// `None` for every one.
    methods: Option<Vec<Method>>,
    headers: Names,
    exposed: Option<HeaderValue>,
    credentials: bool,
    terminates: bool,
    max_age: HeaderValue,
}

/// The method that a preflight asks about; nothing where the request is none.
pub(crate) fn preflight(method: &Method, headers: &HeaderMap) -> Option<Method> {
    if *method != Method::OPTIONS || !headers.contains_key(ORIGIN) {
        return None;
    }
    only(headers, &ACCESS_CONTROL_REQUEST_METHOD).and_then(|value| Method::from_bytes(value.as_bytes()).ok())
}

/// The one value of a field; nothing where it is absent, or there twice.
pub(crate) fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut lines = headers.get_all(name).iter();
    lines.next().filter(|_| lines.next().is_none())
}

/// Fields of answers that say what other origins may do.
const OURS: [HeaderName; 6] = [
    ACCESS_CONTROL_ALLOW_CREDENTIALS,
    ACCESS_CONTROL_ALLOW_HEADERS,
    ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS,
    ACCESS_CONTROL_MAX_AGE,
];

impl Cors {
    /// What an answer says to this origin: itself, or `*`.
    fn allowed(&self, origin: &HeaderValue) -> Option<HeaderValue> {
        match &self.origins {
            None => Some(HeaderValue::from_static("*")),
            // Byte by byte: browsers have one spelling, and so has the configuration.
            Some(origins) => origins.iter().any(|own| own.as_bytes() == origin.as_bytes()).then(|| origin.clone()),
        }
    }

    /// Whether pages of this origin may open WebSockets. Browsers send cookies with those whatever is said here, and `*` is no word
    /// for that.
    pub(crate) fn opens(&self, origin: &HeaderValue, has_cookies: bool) -> bool {
        match &self.origins {
            None => !has_cookies,
            Some(_) => self.allowed(origin).is_some(),
        }
    }

    /// Whether pages of this origin may send cookies with whatever they ask.
    pub(crate) fn lets_send_cookies(&self, origin: &HeaderValue) -> bool {
        self.credentials && self.origins.is_some() && self.allowed(origin).is_some()
    }

    /// Whether a request of this origin ends here.
    pub(crate) fn ends(&self, method: &Method, headers: &HeaderMap) -> bool {
        let is_simple = matches!(*method, Method::GET | Method::HEAD);
        let is_cross = self.terminates && is_simple && headers.contains_key(ORIGIN);
        is_cross && only(headers, &ORIGIN).and_then(|origin| self.allowed(origin)).is_none()
    }

    /// The fields of the answer to a preflight; of one that is not allowed, none that allow anything.
    pub(crate) fn answer_preflight(&self, method: &Method, asked: &HeaderMap) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(
            VARY,
            HeaderValue::from_static("Origin, Access-Control-Request-Method, Access-Control-Request-Headers"),
        );
        let origin = only(asked, &ORIGIN).and_then(|origin| self.allowed(origin));
        let does_method = self.methods.as_ref().is_none_or(|methods| methods.contains(method));
        let (Some(origin), true, Some(names)) = (origin, does_method, self.asked_for(asked)) else { return headers };
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        if self.credentials {
            headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
        let methods = match &self.methods {
            Some(methods) => joined(methods.iter().map(Method::as_str)),
            None => method.as_str().to_owned(),
        };
        headers.extend(HeaderValue::try_from(methods).map(|value| (ACCESS_CONTROL_ALLOW_METHODS, value)));
        if !names.is_empty() {
            let names = HeaderValue::try_from(joined(names.iter().map(HeaderName::as_str)));
            headers.extend(names.map(|value| (ACCESS_CONTROL_ALLOW_HEADERS, value)));
        }
        headers.insert(ACCESS_CONTROL_MAX_AGE, self.max_age.clone());
        headers
    }

    /// The fields that a preflight asks for, if all of them are allowed.
    fn asked_for(&self, asked: &HeaderMap) -> Option<Vec<HeaderName>> {
        let mut names = Vec::new();
        for line in asked.get_all(ACCESS_CONTROL_REQUEST_HEADERS) {
            for text in line.to_str().ok()?.split(',').map(str::trim).filter(|text| !text.is_empty()) {
                let name: HeaderName = text.parse().ok()?;
                match &self.headers {
                    Names::Listed(listed) if !listed.contains(&name) => return None,
                    _ => names.push(name),
                }
            }
        }
        Some(names)
    }

    /// Says in an answer whether a page of this origin may read it. What the service says about that does not count.
    pub(crate) fn answer(&self, origin: Option<&HeaderValue>, headers: &mut HeaderMap) {
        for name in &OURS {
            headers.remove(name);
        }
        if self.origins.is_some() {
            headers.append(VARY, HeaderValue::from_static("Origin"));
        }
        let Some(allowed) = origin.and_then(|origin| self.allowed(origin)) else { return };
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        if self.credentials {
            headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
        if let Some(exposed) = &self.exposed {
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, exposed.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<String, String> {
        origin(&Spanned::new(0..0, text.to_owned())).map_err(|error| error.problem)
    }

    #[test]
    fn origins_are_written_as_browsers_do() {
        for (written, sent) in [
            ("https://app.example", "https://app.example"),
            ("HTTPS://App.Example/", "https://app.example"),
            ("https://app.example:443", "https://app.example"),
            ("http://app.example:80", "http://app.example"),
            ("https://app.example:80", "https://app.example:80"),
            ("http://localhost:3000", "http://localhost:3000"),
            ("https://[2001:DB8::1]:443", "https://[2001:db8::1]"),
            ("https://[2001:db8::443]", "https://[2001:db8::443]"),
        ] {
            assert_eq!(read(written).as_deref(), Ok(sent), "{written}");
        }
        for none in [
            "null",
            "app.example",
            "https://",
            "https://*.example",
            "https://app.example/path",
            "https://app.example?x",
            "https://app.example#x",
            "https://user@app.example",
            "https://user:443@app.example",
            "file://app.example",
            "https://app.example, https://other.example",
            "https:// app.example",
            "",
        ] {
            assert!(read(none).is_err(), "{none}");
        }
    }
}
