//! Refusals as answers, in the shape that API Management gives them.
use crate::Refusal;
use crate::body::{Body, Broken};
use crate::protected_resource::challenged;
use crate::sign_in::{Retry, refusal};
use bytes::Bytes;
use decision::CheckId;
use decision::contract::Claims;
use guard::Refused;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use oauth::challenge::Challenge;
use serde::Serialize;
use std::borrow::Cow;
use std::sync::Arc;

/// Why a request is not forwarded, and what its caller is told.
#[derive(Debug)]
pub(crate) struct Denial {
    pub(crate) check: CheckId,
    pub(crate) status: StatusCode,
    message: Cow<'static, str>,
    challenges: Vec<HeaderValue>,
    retry_after: Option<u64>,
    /// A field that belongs to the status.
    field: Option<(HeaderName, HeaderValue)>,
    /// Where a person is told, on a page, and can try again.
    page: Option<Retry>,
    /// What it says in place of the usual body, and what kind of text that is.
    body: Option<(HeaderValue, Bytes)>,
    /// Where a guard has given one, and logged it.
    pub(crate) decision_id: Option<String>,
    /// Whose token it was that is good and does not suffice: for the log.
    pub(crate) whose: Option<Box<Claims>>,
    /// Whether the connection cannot be trusted to be in step any more.
    closes: bool,
}

/// The default body, and our members after its two.
#[derive(Serialize)]
struct Told<'a> {
    #[serde(rename = "statusCode")]
    status: u16,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    check: &'static str,
    decision_id: &'a str,
}

impl Denial {
    /// With the status and the advice of the catalogue.
    pub(crate) fn of(check: CheckId) -> Self {
        let entry = check.entry();
        Self {
            check,
            status: StatusCode::from_u16(entry.status).unwrap_or(StatusCode::FORBIDDEN),
            message: Cow::Owned(format!(
                "not met: {}; {} can mend it: {}",
                entry.title,
                entry.fixer.words(),
                entry.fix
            )),
            challenges: Vec::new(),
            retry_after: None,
            field: None,
            body: None,
            page: None,
            decision_id: None,
            whose: None,
            closes: false,
        }
    }

    /// A secret or a certificate has not been fetched.
    pub(crate) fn not_at_hand() -> Self {
        Self::of(CheckId::SecretAvailable).retry_after(5)
    }

    /// The same, after which the connection is closed.
    pub(crate) fn closing(self) -> Self {
        Self { closes: true, ..self }
    }

    /// The caller's body did not come whole, or not in time.
    pub(crate) fn broken(broken: Broken) -> Self {
        let denial = Self { closes: true, ..Self::of(CheckId::GatewayBodyTimely) };
        if broken == Broken::SlowCaller {
            return denial.status(StatusCode::REQUEST_TIMEOUT);
        }
        let told = "the body broke off, or has no sound chunks: send all of it, framed as the request says";
        denial.status(StatusCode::BAD_REQUEST).message(told)
    }

    /// What a trusted proxy says in this field has no one reading.
    pub(crate) fn unreadable(field: &HeaderName) -> Self {
        Self::of(CheckId::GatewayRequest)
            .message(format!("what the proxy in front says in `{field}` cannot be read as one client certificate: have it set the field once, in its one form"))
    }

    pub(crate) fn status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    pub(crate) fn message(mut self, message: impl Into<Cow<'static, str>>) -> Self {
        self.message = message.into();
        self
    }

    pub(crate) fn challenge(mut self, challenge: &impl ToString) -> Self {
        self.challenges.extend(HeaderValue::try_from(challenge.to_string()));
        self
    }

    /// Its challenges say where the metadata of what was called is.
    pub(crate) fn with_metadata(mut self, address: &Arc<str>) -> Self {
        for challenge in &mut self.challenges {
            *challenge = challenged(challenge, address);
        }
        self
    }

    /// Its challenges are for tokens that are bound to a key (RFC 9449 section 7.1), where no others are taken.
    pub(crate) fn for_bound_tokens(mut self, algs: &str) -> Self {
        for value in &mut self.challenges {
            let read = value.to_str().ok().and_then(|text| Challenge::parse(text).ok()?.pop());
            let bound = read.filter(Challenge::is_bearer).map(|bearer| bearer.under("DPoP").with("algs", algs));
            if let Some(bound) = bound.and_then(|bound| HeaderValue::try_from(bound.to_string()).ok()) {
                *value = bound;
            }
        }
        self
    }

    pub(crate) fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// Says this, of this kind, in place of the usual body.
    pub(crate) fn body(mut self, kind: HeaderValue, body: Bytes) -> Self {
        self.body = Some((kind, body));
        self
    }

    /// The token is good, and does not suffice.
    pub(crate) fn whose(mut self, claims: &Claims) -> Self {
        self.whose = Some(Box::new(claims.clone()));
        self
    }

    pub(crate) fn field(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.field = Some((name, value));
        self
    }

    /// It is told on a page.
    pub(crate) fn page(mut self, retry: Retry) -> Self {
        self.page = Some(retry);
        self
    }

    /// In its place the caller is sent there.
    pub(crate) fn redirect(mut self, to: &str) -> Self {
        if let Ok(to) = HeaderValue::try_from(to) {
            self.challenges.clear();
            self.field = Some((header::LOCATION, to));
            self.status = StatusCode::FOUND;
        }
        self
    }

    /// What the caller is challenged to get claims of.
    pub(crate) fn claims(&self) -> Option<String> {
        let parsed = self.challenges.iter().filter_map(|value| Challenge::parse(value.to_str().ok()?).ok());
        parsed.flatten().find_map(|challenge| challenge.claims())
    }

    /// The answer.
    pub(crate) fn response(self, decision_id: &str) -> Response<Body> {
        if let Some(retry) = &self.page {
            let mut response = refusal(self.status, self.check, decision_id, retry);
            response.headers_mut().extend(self.field);
            if let Some(seconds) = self.retry_after {
                response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
            }
            return response;
        }
        let told = Told {
            status: self.status.as_u16(),
            message: &self.message,
            reason: self.check.entry().reason,
            check: self.check.entry().id,
            decision_id,
        };
        let usual = || {
            let kind = HeaderValue::from_static("application/json");
            (kind, serde_json::to_vec(&told).unwrap_or_default().into())
        };
        let (kind, body) = self.body.unwrap_or_else(usual);
        let mut response = Response::new(Body::text(body));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, kind);
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        for challenge in self.challenges {
            headers.append(header::WWW_AUTHENTICATE, challenge);
        }
        headers.extend(self.field);
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.closes {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// What 405 names (RFC 9110 section 15.5.6), of all that are forwarded.
const FORWARDED_METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

impl From<Refusal> for Denial {
    fn from(refusal: Refusal) -> Self {
        let check = match refusal {
            Refusal::Method => CheckId::GatewayMethod,
            Refusal::Credentials => CheckId::GatewayCredentialSingle,
            Refusal::MethodCase
            | Refusal::Scheme
            | Refusal::Path(_)
            | Refusal::Query
            | Refusal::Host
            | Refusal::Framing(_)
            | Refusal::Value
            | Refusal::Connection
            | Refusal::ConnectionNames
            | Refusal::Fields => CheckId::GatewayRequest,
        };
        let denial = Self { closes: true, ..Self::of(check) }.message(refusal.to_string());
        match refusal {
            Refusal::Credentials => denial.challenge(&Challenge::bearer().with("error", "invalid_request")),
            Refusal::Fields => denial.status(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE),
            Refusal::Method => denial.field(header::ALLOW, HeaderValue::from_static(FORWARDED_METHODS)),
            _ => denial,
        }
    }
}

/// What a guard refuses, with its challenges.
impl From<Refused> for Denial {
    fn from(refused: Refused) -> Self {
        let absent = refused.check() == CheckId::TokenPresent;
        let problem = refused.problem();
        let detail = problem.get("detail").or_else(|| problem.get("title")).and_then(|text| text.as_str());
        let message =
            if absent { Cow::Borrowed("JWT not present.") } else { detail.unwrap_or_default().to_owned().into() };
        let mut denial = Self::of(refused.check()).status(refused.status()).message(message);
        for challenge in refused.challenges() {
            denial = denial.challenge(&challenge);
        }
        if matches!(denial.status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
            denial.retry_after = Some(5);
        }
        let nonce = refused.nonce().and_then(|nonce| HeaderValue::from_str(nonce).ok());
        denial.field = nonce.map(|nonce| (guard::DPOP_NONCE, nonce));
        denial.decision_id = refused.decision_id().map(str::to_owned);
        // A token that is good for nothing here does not say who brings it.
        let lacks_rights = refused.status() == StatusCode::FORBIDDEN || refused.check() == CheckId::ContextSufficient;
        match refused.token_claims().filter(|_| lacks_rights) {
            Some(claims) => denial.whose(claims),
            None => denial,
        }
    }
}
