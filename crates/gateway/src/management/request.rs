//! What a request carries, read strictly: what the API does not have is refused by its name, and so is what stands there twice.
use super::endpoints::{Endpoint, Shape};
use super::wrong;
use crate::canonical::query;
use crate::denial::Denial;
use crate::store::Condition;
use bytes::Bytes;
use decision::{CheckId, Timestamp};
use http::request::Parts;
use http::{HeaderName, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::{Body as _, Incoming};
use serde::de::DeserializeOwned;
use std::collections::HashMap;
use std::time::Duration;

/// The longest body, in bytes, and how long it may take.
const LONGEST: usize = 64 << 10;
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest text in it, in characters.
const LONGEST_TEXT: usize = 200;
/// The longest name that is given here, in bytes.
const LONGEST_NAME: usize = 80;

/// A request, as far as it is the same for all endpoints.
pub(super) struct Asked {
    /// The name in its path.
    name: Option<String>,
    parameters: HashMap<&'static str, String>,
    body: Bytes,
    if_match: Option<Condition>,
    creates_only: bool,
}

impl Asked {
    pub(super) async fn read(
        endpoint: &'static Endpoint,
        name: Option<String>,
        parts: &Parts,
        body: Incoming,
    ) -> Result<Self, Box<Denial>> {
        let parameters = parameters(endpoint, parts.uri.query())?;
        let if_match = only(parts, header::IF_MATCH)?.map(condition).transpose()?;
        let if_none_match = only(parts, header::IF_NONE_MATCH)?;
        if if_none_match.is_some_and(|value| value != "*") || (if_none_match.is_some() && if_match.is_some()) {
            return Err(wrong("`If-None-Match` can be `*`, without `If-Match`, for what is not there yet"));
        }
        if endpoint.takes == Shape::Nothing {
            if !body.is_end_stream() {
                return Err(wrong("this request has no body"));
            }
        } else if !is_json(only(parts, header::CONTENT_TYPE)?) {
            let denial = Denial::of(CheckId::ManagementRequest).status(StatusCode::UNSUPPORTED_MEDIA_TYPE);
            return Err(Box::new(denial.message("send the body as `application/json`")));
        }
        let body = tokio::time::timeout(PATIENCE, Limited::new(body, LONGEST).collect()).await;
        let body = match body {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
                let denial = Denial::of(CheckId::ManagementRequest).status(StatusCode::PAYLOAD_TOO_LARGE);
                return Err(Box::new(denial.message(format!("the body is longer than {LONGEST} bytes"))));
            }
            Ok(Err(_)) => return Err(wrong("the body broke off")),
            Err(_) => {
                let denial = Denial::of(CheckId::ManagementRequest).status(StatusCode::REQUEST_TIMEOUT);
                return Err(Box::new(denial.message("the body came too slowly")));
            }
        };
        Ok(Self { name, parameters, body, if_match, creates_only: if_none_match.is_some() })
    }

    /// The name in its path.
    pub(super) fn name(&self) -> &str {
        self.name.as_deref().unwrap_or_default()
    }

    /// The name in its path, where something is to be called so from now on.
    pub(super) fn new_name(&self) -> Result<&str, Box<Denial>> {
        let name = self.name();
        let sound = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
        if !sound || name.len() > LONGEST_NAME || !name.starts_with(|c: char| c.is_ascii_alphanumeric()) {
            return Err(wrong(format!(
                "a name is up to {LONGEST_NAME} letters, digits, `-`, `_` and `.`, and begins with a letter or a digit"
            )));
        }
        Ok(name)
    }

    /// A parameter of the query.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.get(name).map(String::as_str)
    }

    /// A number in the query.
    pub(super) fn number<N>(&self, name: &str, usual: N, least: N, most: N) -> Result<N, Box<Denial>>
    where
        N: std::str::FromStr + PartialOrd + std::fmt::Display,
    {
        let Some(text) = self.parameter(name) else { return Ok(usual) };
        let number = text.parse().ok().filter(|number| (&least..=&most).contains(&number));
        number.ok_or_else(|| wrong(format!("`{name}` is a number from {least} to {most}")))
    }

    /// A moment in the query.
    pub(super) fn moment(&self, name: &str) -> Result<Option<Timestamp>, Box<Denial>> {
        self.parameter(name).map(|text| moment(name, text)).transpose()
    }

    /// The body.
    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, Box<Denial>> {
        // A list would be read by the order of the members.
        if !self.body.trim_ascii_start().starts_with(b"{") {
            return Err(wrong("the body is not what is taken here: it is no JSON object"));
        }
        serde_json::from_slice(&self.body)
            .map_err(|error| wrong(format!("the body is not what is taken here: {error}")))
    }

    /// Which version a change is of, where it has to say so.
    pub(super) fn version(&self) -> Result<Condition, Box<Denial>> {
        self.if_match.ok_or_else(|| {
            let denial = Denial::of(CheckId::ManagementCondition).status(StatusCode::PRECONDITION_REQUIRED);
            Box::new(denial.message("send the `ETag` of what you have seen in `If-Match`"))
        })
    }

    /// Which version a change is of; without one, something new is made.
    pub(super) fn version_or_new(&self) -> Condition {
        self.if_match.unwrap_or(Condition::Absent)
    }

    /// Whether nothing is to be replaced.
    pub(super) const fn creates_only(&self) -> bool {
        self.creates_only
    }
}

fn parameters(endpoint: &'static Endpoint, text: Option<&str>) -> Result<HashMap<&'static str, String>, Box<Denial>> {
    let mut all = HashMap::new();
    for pair in text.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (Some(name), Some(value)) = (query::decoded(name), query::decoded(value)) else {
            return Err(wrong("the query is no text"));
        };
        let known = endpoint.parameters.iter().find(|(known, _)| *known == name);
        let Some((known, _)) = known else {
            return Err(wrong(format!("there is no parameter `{}` here", shown(&name))));
        };
        if all.insert(*known, value).is_some() {
            return Err(wrong(format!("`{known}` stands there twice")));
        }
    }
    Ok(all)
}

/// The one value of a field.
fn only(parts: &Parts, name: HeaderName) -> Result<Option<&str>, Box<Denial>> {
    let mut lines = parts.headers.get_all(&name).iter();
    match (lines.next(), lines.next()) {
        (None, _) => Ok(None),
        (Some(line), None) => line.to_str().map(Some).map_err(|_| wrong(format!("`{name}` is no text"))),
        (Some(_), Some(_)) => Err(wrong(format!("`{name}` stands there twice"))),
    }
}

fn condition(text: &str) -> Result<Condition, Box<Denial>> {
    if text == "*" {
        return Ok(Condition::Present);
    }
    let number = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).and_then(|digits| digits.parse().ok());
    number.map(Condition::Version).ok_or_else(|| {
        // Something that never was a version of anything is not the newest one.
        Box::new(Denial::of(CheckId::ManagementCondition).message("`If-Match` is one `ETag` as it was given, or `*`"))
    })
}

fn is_json(kind: Option<&str>) -> bool {
    let kind = kind.and_then(|kind| kind.split(';').next()).unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("application/json") || kind.eq_ignore_ascii_case("application/merge-patch+json")
}

/// A moment in UTC.
pub(super) fn moment(name: &str, text: &str) -> Result<Timestamp, Box<Denial>> {
    let read = text.parse().ok().and_then(|moment| crate::settings::timestamp(&moment));
    read.ok_or_else(|| wrong(format!("`{name}` is no moment; write it in UTC, as `2027-01-31T00:00:00Z`")))
}

/// A text for people.
pub(super) fn text(name: &str, text: Option<String>) -> Result<Option<String>, Box<Denial>> {
    let Some(text) = text else { return Ok(None) };
    if text.is_empty() || text.chars().count() > LONGEST_TEXT || text.chars().any(char::is_control) {
        return Err(wrong(format!("`{name}` is 1 to {LONGEST_TEXT} characters, without those of control")));
    }
    Ok(Some(text))
}

/// Somebody's text, in a message.
fn shown(text: &str) -> String {
    text.chars().take(40).collect()
}
