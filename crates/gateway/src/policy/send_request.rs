//! `send_request`: a request to another service for each that is let by, and what is made of its answer.
mod values;

use super::asking::{Asking, Unanswered, taken};
use super::{Decided, Part, Pending, Phase, Policy};
use crate::call::Call;
use crate::canonical::is_about_the_message;
use crate::denial::Denial;
use crate::expression::Expression;
use crate::settings::{Origin, SettingsError, Source, Spanned, World, fault, field_name};
use bytes::Bytes;
use decision::CheckId;
use fetch::Response;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value as Json};
use std::ops::Range;
use std::sync::Arc;
use values::{Body, Piece, Told, Unclear};

/// Sends a request of its own to another service, whose answer has to be as expected and can give fields to the service behind. In the
/// path, the query, fields, JSON and forms, `{claim:NAME}`, `{header:NAME}` and `{path}` stand for values of the request.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "send_request")]
pub(crate) struct Table {
    /// Where it is sent: a host of `allowed_hosts` of `[send_request]`, and a path and a query with values.
    url: Spanned<String>,
    /// The method.
    #[serde(default = "get")]
    method: Spanned<String>,
    /// Its fields.
    #[serde(default)]
    headers: Vec<Spanned<FieldTable>>,
    /// Its body, a fixed text.
    body: Option<Spanned<String>>,
    /// Its body in JSON, whose texts can have values.
    json: Option<Spanned<Map<String, Json>>>,
    /// Its body as a form (`application/x-www-form-urlencoded`), whose texts can have values.
    form: Option<Spanned<Map<String, Json>>>,
    /// Whether its answer is waited for; otherwise requests go on at once, whatever comes of it.
    #[serde(default = "yes")]
    wait: bool,
    /// Milliseconds that it may take, 1 to 30 000.
    #[serde(default = "super::asking::thousand")]
    timeout_milliseconds: Spanned<u64>,
    /// Of these at once; further requests are as ones without an answer.
    #[serde(default = "super::asking::hundred")]
    max_requests: Spanned<usize>,
    /// Whether requests are let by without an answer; by default they are refused with 503.
    #[serde(default)]
    ignore_error: bool,
    /// The statuses of an answer that lets by.
    #[serde(default = "ok")]
    expect_status: Vec<Spanned<u16>>,
    /// The status of the refusal where the answer is another; by default 502.
    failed_httpcode: Option<Spanned<u16>>,
    /// A condition in CEL over `response.status` and `response.json`.
    expression: Option<Spanned<String>>,
    /// Fields for the service behind, which callers then may not send.
    #[serde(default)]
    set_headers: Vec<Spanned<TakenTable>>,
}

/// A field of the request.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "field_of_send_request")]
struct FieldTable {
    /// Its name.
    name: Spanned<String>,
    /// Its value, with values of the request.
    value: Option<Spanned<String>>,
    /// Its value, a secret.
    secret: Option<Spanned<Source>>,
}

/// A field of a value of the answer.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "field_of_answer")]
struct TakenTable {
    /// Its name.
    name: Spanned<String>,
    /// Where in the answer's JSON its value is (RFC 6901): a text, a number or a truth value. Where there is none, there is no field.
    json_pointer: Spanned<String>,
}

const fn yes() -> bool {
    true
}

fn get() -> Spanned<String> {
    Spanned::new(0..0, "GET".to_owned())
}

fn ok() -> Vec<Spanned<u16>> {
    vec![Spanned::new(0..0, 200)]
}

impl super::Table for Table {
    fn part(&self, at: &Range<usize>, world: &mut World<'_>) -> Result<Part, SettingsError> {
        let wrong = |(problem, hint): (&'static str, &'static str)| fault(&self.url.span(), problem, hint);
        let (origin, behind) = Origin::of(self.url.get_ref()).map_err(wrong)?;
        let fetch = world.outbound(&origin, &self.url.span())?;
        let target = values::target(behind).map_err(wrong)?;
        let method = match self.method.get_ref().as_str() {
            "GET" => Method::GET,
            "POST" => Method::POST,
            "PUT" => Method::PUT,
            "PATCH" => Method::PATCH,
            "DELETE" => Method::DELETE,
            _ => {
                let hint = "write GET, POST, PUT, PATCH or DELETE";
                return Err(fault(&self.method.span(), "this is no method to ask with", hint));
            }
        };
        let body = match (&self.body, &self.json, &self.form) {
            (Some(text), None, None) => Content::Fixed(text.get_ref().clone().into()),
            (None, Some(json), None) => {
                let body = Body::read(&Json::Object(json.get_ref().clone()));
                Content::Json(body.map_err(|(problem, hint)| fault(&json.span(), problem, hint))?)
            }
            (None, None, Some(form)) => {
                let fields = values::form(form.get_ref());
                Content::Form(fields.map_err(|(problem, hint)| fault(&form.span(), problem, hint))?)
            }
            (None, None, None) => Content::Fixed(Bytes::new()),
            _ => return Err(fault(at, "the request has two bodies", "keep one of `body`, `json` and `form`")),
        };
        let of_body = self.body.as_ref().map(Spanned::span).or_else(|| self.json.as_ref().map(Spanned::span));
        let of_body = of_body.or_else(|| self.form.as_ref().map(Spanned::span));
        if let Some(body) = of_body.filter(|_| method == Method::GET) {
            return Err(fault(&body, "a request with `GET` has no body", "write `method = \"POST\"`, or drop it"));
        }
        let headers = self.headers.iter().map(|table| table.get_ref().read(world)).collect::<Result<Vec<_>, _>>()?;
        let expected = self.expect_status.iter().map(expected).collect::<Result<Vec<_>, _>>()?;
        if expected.is_empty() {
            return Err(fault(at, "no answer would be as expected", "write `expect_status = [200]`"));
        }
        let mut fields = Vec::with_capacity(self.set_headers.len());
        for table in &self.set_headers {
            let pointer = &table.get_ref().json_pointer;
            if !(pointer.get_ref().is_empty() || pointer.get_ref().starts_with('/')) {
                return Err(fault(&pointer.span(), "this is no JSON pointer", "write `/score` or `/customer/tier`"));
            }
            fields.push((taken(&table.get_ref().name, world)?, pointer.get_ref().clone()));
        }
        if !self.wait {
            self.unheard(at)?;
        } else if self.ignore_error {
            let place = world.place().to_owned();
            world.remark(format!("`send_request` of {place} lets requests by without an answer of {origin}"));
        }
        Ok(Part::Rule(Arc::new(SendRequest {
            asking: Arc::new(Asking::new(fetch, &self.timeout_milliseconds, &self.max_requests)?),
            waits: self.wait,
            origin: origin.to_string(),
            target,
            method,
            headers,
            body,
            expected,
            failed: self.failed_httpcode.as_ref().map(failed).transpose()?.unwrap_or(StatusCode::BAD_GATEWAY),
            expression: self.expression.as_ref().map(|text| Expression::read(text, &["response"])).transpose()?,
            fields,
            ignores: self.ignore_error,
        })))
    }

    fn told(&self) -> String {
        let url = self.url.get_ref();
        let without = if self.ignore_error { ", or without an answer" } else { "" };
        let (after, without) = if self.wait { ("after", without) } else { ("with", ", whatever it answers") };
        format!("{after} a request to `{}`{without}", url.split(['?', '#']).next().unwrap_or_default())
    }
}

impl Table {
    /// What would be said of an answer that nobody hears.
    fn unheard(&self, at: &Range<usize>) -> Result<(), SettingsError> {
        let says = self.ignore_error
            || self.failed_httpcode.is_some()
            || self.expression.is_some()
            || !self.set_headers.is_empty()
            || !matches!(self.expect_status.as_slice(), [status] if status.span().is_empty());
        if says {
            let hint = "drop `wait = false`, or what is said of the answer";
            return Err(fault(at, "the answer is not waited for, so nothing can come of it", hint));
        }
        Ok(())
    }
}

fn expected(code: &Spanned<u16>) -> Result<StatusCode, SettingsError> {
    let status = StatusCode::from_u16(*code.get_ref()).ok();
    let status = status.filter(|status| !status.is_informational() && !status.is_redirection());
    status.ok_or_else(|| {
        fault(&code.span(), "this is no status of an answer", "write one such as 200; redirects are not followed")
    })
}

fn failed(code: &Spanned<u16>) -> Result<StatusCode, SettingsError> {
    let status = StatusCode::from_u16(*code.get_ref()).ok();
    let status = status.filter(|status| status.is_client_error() || status.is_server_error());
    status.ok_or_else(|| fault(&code.span(), "this status refuses nothing", "write one from 400 to 599"))
}

impl FieldTable {
    fn read(&self, world: &World<'_>) -> Result<(HeaderName, Field), SettingsError> {
        let name = field_name(&self.name)?;
        let may_be = [header::AUTHORIZATION, header::CONTENT_TYPE, header::COOKIE];
        if is_about_the_message(&name) && !may_be.contains(&name) {
            return Err(fault(&self.name.span(), "this field belongs to the connection", "leave it to the gateway"));
        }
        let no_value =
            || fault(&self.name.span(), "this is no value of a field", "use visible ASCII characters and spaces");
        let field = match (&self.value, &self.secret) {
            (Some(text), None) => {
                let pieces = values::text(text)?;
                if pieces.iter().any(|piece| matches!(piece, Piece::Fixed(text) if !is_plain(text))) {
                    return Err(no_value());
                }
                Field::Text(pieces)
            }
            (None, Some(source)) => {
                let secret = world.read_secret(source)?;
                let mut value = HeaderValue::try_from(secret.expose()).map_err(|_| no_value())?;
                value.set_sensitive(true);
                Field::Secret(value)
            }
            _ => {
                return Err(fault(
                    &self.name.span(),
                    "the field has no value, or two",
                    "add `value` or `secret`, one of them",
                ));
            }
        };
        Ok((name, field))
    }
}

enum Field {
    Text(Vec<Piece>),
    Secret(HeaderValue),
}

enum Content {
    Fixed(Bytes),
    Json(Body),
    Form(Vec<(String, Vec<Piece>)>),
}

struct SendRequest {
    asking: Arc<Asking>,
    waits: bool,
    origin: String,
    target: Vec<Piece>,
    method: Method,
    headers: Vec<(HeaderName, Field)>,
    body: Content,
    expected: Vec<StatusCode>,
    failed: StatusCode,
    expression: Option<Expression>,
    /// Names, and where their values are.
    fields: Vec<(HeaderName, String)>,
    ignores: bool,
}

/// A request that is ready to be sent.
struct Ready {
    url: String,
    headers: HeaderMap,
    body: Bytes,
}

impl SendRequest {
    fn ready(&self, call: &Call) -> Result<Ready, Unclear> {
        let told = Told::of(call);
        let mut headers = HeaderMap::new();
        let body = match &self.body {
            Content::Fixed(text) => text.clone(),
            Content::Json(json) => {
                headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
                told.filled(json)?.to_string().into()
            }
            Content::Form(fields) => {
                let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
                headers.insert(header::CONTENT_TYPE, kind);
                told.form(fields)?.into()
            }
        };
        for (name, field) in &self.headers {
            let value = match field {
                Field::Secret(value) => value.clone(),
                Field::Text(pieces) => {
                    let text = told.written(pieces)?;
                    let value = HeaderValue::try_from(&text).ok().filter(|_| is_plain(&text));
                    value.ok_or_else(|| {
                        Unclear(format!("a value for the field `{name}` of another service is no visible ASCII text"))
                    })?
                }
            };
            headers.insert(name.clone(), value);
        }
        Ok(Ready { url: format!("{}{}", self.origin, told.written(&self.target)?), headers, body })
    }

    /// What an answer comes to: fields for the service, or why it is not as expected.
    fn judged(&self, answer: &Response) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
        if !self.expected.contains(&answer.status) {
            return Err(format!("the status {}", answer.status.as_u16()));
        }
        if self.fields.is_empty() && self.expression.is_none() {
            return Ok(Vec::new());
        }
        let json: Json = match serde_json::from_slice(&answer.body) {
            Ok(json) => json,
            Err(_) if answer.body.is_empty() => Json::Null,
            Err(_) => return Err("a body that is no JSON".to_owned()),
        };
        if let Some(expression) = &self.expression {
            expression
                .of_answer(answer.status.as_u16(), &json)
                .map_err(|why| format!("that the condition refuses: {why}"))?;
        }
        let mut fields = Vec::new();
        for (name, pointer) in &self.fields {
            let text = match json.pointer(pointer) {
                None | Some(Json::Null) => continue,
                Some(Json::String(text)) => text.clone(),
                Some(scalar @ (Json::Number(_) | Json::Bool(_))) => scalar.to_string(),
                Some(Json::Array(_) | Json::Object(_)) => return Err(format!("a value for `{name}` that is no text")),
            };
            let value = HeaderValue::try_from(&text).ok().filter(|_| is_plain(&text));
            let value = value.ok_or_else(|| format!("a value for `{name}` that is no visible ASCII text"))?;
            fields.push((name.clone(), value));
        }
        Ok(fields)
    }
}

fn is_plain(text: &str) -> bool {
    text.chars().all(|c| c == ' ' || c.is_ascii_graphic())
}

impl Policy for SendRequest {
    fn phase(&self) -> Phase {
        Phase::Authorize
    }

    fn decide(&self, _: &mut Call) -> Decided {
        Decided::Wait
    }

    fn settle<'a>(&'a self, call: &'a mut Call) -> Pending<'a, Result<(), Box<Denial>>> {
        Box::pin(async move {
            let ready = self.ready(call);
            let Ready { url, headers, body } =
                ready.map_err(|Unclear(why)| Box::new(Denial::of(CheckId::SendRequestValues).message(why)))?;
            if !self.waits {
                let (asking, method, now) = (Arc::clone(&self.asking), self.method.clone(), call.now);
                // Failures are told in the log; that it was left alone, or had enough to do, is told nowhere.
                let is_answer = |status: StatusCode| !status.is_server_error();
                tokio::spawn(async move { drop(asking.ask((method, &url), headers, body, now, is_answer).await) });
                return Ok(());
            }
            // What fails at the other end is no answer; what it refuses is one.
            let fails = |status: StatusCode| status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
            let is_answer = |status: StatusCode| self.expected.contains(&status) || !fails(status);
            let asked = self.asking.ask((self.method.clone(), &url), headers, body, call.now, is_answer).await;
            let answer = match asked {
                Ok(answer) => answer,
                Err(Unanswered) if self.ignores => return Ok(()),
                Err(Unanswered) => {
                    return Err(Box::new(Denial::of(CheckId::SendRequestAnswered).retry_after(1)));
                }
            };
            let fields = self.judged(&answer).map_err(|found| {
                tracing::info!(gateway.operation = &*call.operation.name, reason = %found, "an answer is not as expected");
                Box::new(Denial::of(CheckId::SendRequestExpected).status(self.failed))
            })?;
            call.added.extend(fields);
            Ok(())
        })
    }
}
