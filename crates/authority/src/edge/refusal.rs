//! Refusals to programs: the error body, and the ids by which a request is found again.
use super::json;
use crate::Authority;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::http::header::{HeaderMap, HeaderValue};
use axum::response::Response;
use deputize_core::denial::{Denial, ErrorContext};
use deputize_core::issuance;
use deputize_core::model::Profile;
use oauth::Form;

/// What the client calls its request: in its headers, or in the first form that says it.
#[derive(Default)]
pub(super) struct Correlation(Option<String>);

impl Correlation {
    const NAME: &str = "client-request-id";

    pub(super) fn of(headers: &HeaderMap) -> Self {
        Self(headers.get(Self::NAME).and_then(|id| id.to_str().ok()).map(str::to_owned))
    }

    /// Of a request whose parameters stand in its query.
    pub(super) fn of_query(request: &Request) -> Self {
        Self::of(request.headers()).or(&super::form::query(request).unwrap_or_default())
    }

    #[must_use]
    pub(super) fn or(self, form: &Form) -> Self {
        Self(self.0.or_else(|| form.value(Self::NAME).map(str::to_owned)))
    }

    /// As it may be echoed: short and printable.
    pub(super) fn plain(&self) -> Option<&str> {
        let printable = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'{' | b'}');
        self.0.as_deref().filter(|id| (1..=64).contains(&id.len()) && id.bytes().all(printable))
    }

    pub(super) fn echo(&self, response: &mut Response) {
        if let Some(id) = self.plain().and_then(|id| HeaderValue::from_str(id).ok()) {
            response.headers_mut().insert(Self::NAME, id);
        }
    }
}

/// A refusal in Entra's form, before any client is known whose dialect it could be in.
pub(super) fn refusal(
    authority: &Authority,
    status: StatusCode,
    denial: &Denial,
    correlation: &Correlation,
) -> Response {
    let ports = &authority.ports;
    let decision = issuance::random_uuid(ports).to_string();
    let context = ErrorContext {
        host: &ports.host,
        decision: &decision,
        correlation: correlation.plain().unwrap_or(&decision),
        now: ports.now(),
    };
    let mut response = json(status, &denial.body(Profile::Entra, &context));
    with_id(&mut response, &decision);
    correlation.echo(&mut response);
    response
}

/// The id of the decision, as the body and the audit trail have it.
pub(super) fn with_id(response: &mut Response, decision: &str) {
    if let Ok(id) = HeaderValue::from_str(decision) {
        response.headers_mut().insert("x-ms-request-id", id);
    }
}
