//! `authorize_by`: a service that decides on each request, such as a decision point or a web application firewall. Without its word
//! nothing is forwarded.
mod bodies;

use super::asking::{Asking, Unanswered, taken};
use super::{Decided, Part, Pending, Phase, Policy};
use crate::address::Address;
use crate::call::Call;
use crate::canonical::identity::is_alias;
use crate::denial::Denial;
use crate::settings::{SettingsError, Spanned, World, fault, field_name, is_here};
use bodies::Bodies;
use bytes::Bytes;
use decision::{CheckId, Timestamp};
use fetch::Response;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::ops::Range;
use std::sync::Arc;

/// The largest refusal that is passed on, in bytes.
const LONGEST: usize = 64 << 10;

/// Asks a service about each request, and lets by what it answers 200 to; its 401 and 403 refuse, and so does everything else that it
/// answers or does not answer.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "authorize_by")]
pub(crate) struct Table {
    /// Where it is asked, by `POST`: over `https`, or over `http` on this machine.
    url: Spanned<String>,
    /// The fields of the request that it is told; by default none.
    #[serde(default)]
    headers: Vec<Spanned<String>>,
    /// Whether it is told the claims of the verified token.
    #[serde(default)]
    claims: bool,
    /// The fields of its answer that the service behind is sent, which callers then may not send; by default none.
    #[serde(default)]
    response_headers: Vec<Spanned<String>>,
    /// Whether callers are told a refusal in its words; by default in the gateway's.
    #[serde(default)]
    pass_on: bool,
    /// How many bytes of the request's body it is told, in base64; requests with a longer one are refused with 413. By default, and with
    /// 0, it is told none. At most 16 777 216; the bodies of 67 108 864 bytes are held at once.
    #[serde(default = "none")]
    max_body_bytes: Spanned<usize>,
    /// Whether of a longer body it is told the beginning, and that it is that; by default such requests are refused.
    #[serde(default = "whole")]
    allow_partial: Spanned<bool>,
    /// Milliseconds that it may take, 1 to 30 000.
    #[serde(default = "super::asking::thousand")]
    timeout_milliseconds: Spanned<u64>,
    /// Requests that it is asked about at once; further ones are refused.
    #[serde(default = "super::asking::hundred")]
    max_requests: Spanned<usize>,
}

fn none() -> Spanned<usize> {
    Spanned::new(0..0, 0)
}

fn whole() -> Spanned<bool> {
    Spanned::new(0..0, false)
}

impl super::Table for Table {
    fn part(&self, _: &Range<usize>, world: &mut World<'_>) -> Result<Part, SettingsError> {
        let told = self.headers.iter().map(field_name).collect::<Result<_, _>>()?;
        let taken = self.response_headers.iter().map(|text| taken(text, world)).collect::<Result<_, _>>()?;
        Ok(Part::Rule(Arc::new(AuthorizeBy {
            url: address(&self.url)?,
            asking: Asking::new(world.fetch(), &self.timeout_milliseconds, &self.max_requests)?,
            told,
            claims: self.claims,
            taken,
            pass_on: self.pass_on,
            bodies: Bodies::read(&self.max_body_bytes, &self.allow_partial)?,
        })))
    }

    fn told(&self) -> String {
        let url = self.url.get_ref();
        let claims = if self.claims { ", with the token's claims" } else { "" };
        let body = match (*self.max_body_bytes.get_ref(), *self.allow_partial.get_ref()) {
            (0, _) => String::new(),
            (most, false) => format!(", with bodies of up to {most} bytes"),
            (most, true) => format!(", with the first {most} bytes of bodies"),
        };
        format!("what `{}` allows{claims}{body}", url.split(['?', '#']).next().unwrap_or_default())
    }
}

fn address(text: &Spanned<String>) -> Result<String, SettingsError> {
    let wrong = |problem: &str| fault(&text.span(), problem, "write `https://decisions.internal/check`");
    let uri: Uri = text.get_ref().parse().map_err(|_| wrong("this is no address"))?;
    let authority = uri.authority().ok_or_else(|| wrong("the address names no host"))?;
    let host = authority.host().trim_matches(['[', ']']);
    match uri.scheme_str() {
        _ if authority.as_str().contains('@') => Err(wrong("the address names a user")),
        Some("https") => Ok(text.get_ref().clone()),
        Some("http") if is_here(host) => Ok(text.get_ref().clone()),
        Some("http") => Err(wrong("what is asked and answered there could be read and changed on the way")),
        _ => Err(wrong("the address has another scheme than `https`")),
    }
}

struct AuthorizeBy {
    url: String,
    asking: Asking,
    told: Vec<HeaderName>,
    claims: bool,
    taken: Vec<HeaderName>,
    pass_on: bool,
    bodies: Option<Bodies>,
}

impl AuthorizeBy {
    /// What it is told of a call. `None` for fields that JSON cannot tell as they are.
    fn question(&self, call: &Call) -> Option<Bytes> {
        let request = &call.request;
        let mut headers = Map::new();
        for name in &self.told {
            // In every spelling that a service could take for it.
            let lines = request.headers().iter().filter(|(other, _)| is_alias(other.as_str(), name.as_str()));
            let lines: Vec<Value> =
                lines.map(|(_, line)| line.to_str().ok().map(Value::from)).collect::<Option<_>>()?;
            if !lines.is_empty() {
                headers.insert(name.as_str().to_owned(), lines.into());
            }
        }
        let address = match call.caller {
            Address::Known(address) => Some(address.to_canonical().to_string()),
            Address::Unreadable => None,
        };
        let claims = call.principal.as_ref().filter(|_| self.claims).map(|(principal, _)| principal.all_claims());
        let question = json!({
            "method": request.method().as_str(),
            "host": request.host(),
            "path": request.path(),
            "query": request.query(),
            "headers": headers,
            "ip": address,
            "operation": &*call.operation.name,
            "subscription": call.admission.subscription.as_deref(),
            "product": call.product.as_deref(),
            "claims": claims,
        });
        let Value::Object(mut question) = question else { return None };
        if let Some(bodies) = &self.bodies {
            let (body, partial) = bodies.told(call);
            question.insert("body".to_owned(), body.into());
            question.insert("body_is_partial".to_owned(), partial.into());
        }
        serde_json::to_vec(&question).ok().map(Bytes::from)
    }

    async fn ask(&self, question: Bytes, now: Timestamp) -> Result<Response, Box<Denial>> {
        let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
        let asked = self.asking.ask((Method::POST, &self.url), headers, question, now, is_a_decision).await;
        asked.map_err(|Unanswered| Box::new(Denial::of(CheckId::AuthorizerAvailable).retry_after(1)))
    }

    fn refused(&self, answer: Response) -> Denial {
        let mut denial = Denial::of(CheckId::AuthorizerAllows).status(answer.status);
        for challenge in answer.headers.get_all(header::WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok())
        {
            denial = denial.challenge(&challenge);
        }
        if !self.pass_on || answer.body.len() > LONGEST {
            return denial;
        }
        let kind = answer.headers.get(header::CONTENT_TYPE).cloned();
        denial.body(kind.unwrap_or(HeaderValue::from_static("application/octet-stream")), answer.body)
    }
}

fn is_a_decision(status: StatusCode) -> bool {
    matches!(status, StatusCode::OK | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
}

impl Policy for AuthorizeBy {
    fn phase(&self) -> Phase {
        Phase::Authorize
    }

    fn decide(&self, _: &mut Call) -> Decided {
        Decided::Wait
    }

    fn looks_at_bodies(&self) -> bool {
        self.bodies.is_some()
    }

    fn settle<'a>(&'a self, call: &'a mut Call) -> Pending<'a, Result<(), Box<Denial>>> {
        Box::pin(async move {
            if let Some(bodies) = &self.bodies {
                bodies.hold(call).await?;
            }
            let question = self.question(call).ok_or_else(|| {
                Box::new(
                    Denial::of(CheckId::GatewayRequest)
                        .message("a field has characters beyond ASCII, and is not told on"),
                )
            })?;
            let answer = self.ask(question, call.now).await?;
            if answer.status != StatusCode::OK {
                return Err(Box::new(self.refused(answer)));
            }
            for name in &self.taken {
                let mut lines = answer.headers.get_all(name).iter();
                if let (Some(line), None) = (lines.next(), lines.next()) {
                    call.added.push((name.clone(), line.clone()));
                }
            }
            Ok(())
        })
    }
}
