//! Refusals as problems (RFC 9457, which is RFC 7807 anew), with all that an authority said as further members.
use crate::acquire::NotAsked;
use crate::answer::{Answer, json};
use client::{Error, SessionError, TransportError};
use fetch::FetchError;
use guard::{Guard, Refused};
use http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, StatusCode};
use oauth::ErrorBody;
use oauth::challenge::Challenge;
use serde_json::{Map, Value};

/// Seconds to wait before another try, where nobody says how long.
const AGAIN: u64 = 1;

/// Why a request is not served.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    body: Map<String, Value>,
    headers: Vec<(HeaderName, HeaderValue)>,
    /// Whether it was the authority that refused.
    said: bool,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        let title = status.canonical_reason().unwrap_or("Error");
        Self::of(status, [("type", "about:blank".into()), ("title", title.into())], detail)
    }

    fn of<'a>(
        status: StatusCode,
        members: impl IntoIterator<Item = (&'a str, Value)>,
        detail: impl Into<String>,
    ) -> Self {
        let mut body: Map<String, Value> = members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        body.insert("status".to_owned(), status.as_u16().into());
        body.insert("detail".to_owned(), detail.into().into());
        Self { status, body, headers: Vec::new(), said: false }
    }

    pub(crate) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// What failed is ours, and nothing that the caller can change.
    pub(crate) fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "An unexpected error occurred.")
    }

    /// Something that is needed cannot be reached.
    pub(crate) fn unavailable(detail: impl Into<String>, seconds: Option<u64>) -> Self {
        let problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, detail);
        problem.header(RETRY_AFTER, &seconds.unwrap_or(AGAIN).max(1).to_string())
    }

    fn header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.push((name, value));
        }
        self
    }

    pub(crate) fn challenges(self, challenges: &[Challenge]) -> Self {
        challenges.iter().fold(self, |problem, challenge| problem.header(WWW_AUTHENTICATE, &challenge.to_string()))
    }

    /// All that the authority said; the members of a problem stay what they are.
    fn saying(mut self, said: &ErrorBody) -> Self {
        self.said = true;
        if let Ok(Value::Object(said)) = serde_json::to_value(said) {
            for (name, value) in said {
                self.body.entry(name).or_insert(value);
            }
        }
        self
    }

    pub(crate) const fn status(&self) -> StatusCode {
        self.status
    }

    /// Whether an authority refused, and did not fail.
    pub(crate) fn is_authoritys(&self) -> bool {
        self.said && self.status.is_client_error()
    }

    /// With another status: `401` for all refusals of an authority, as Microsoft's sidecar has it.
    pub(crate) fn with_status(mut self, status: StatusCode) -> Self {
        // The title of a problem that has no type of its own is the status's (RFC 9457 section 4.2.1).
        if self.body.get("type").is_none_or(|kind| kind == "about:blank") {
            self.body.insert("title".to_owned(), status.canonical_reason().unwrap_or("Error").into());
        }
        self.status = status;
        self.body.insert("status".to_owned(), status.as_u16().into());
        // RFC 9110 section 15.5.2: a 401 says how.
        let challenged = self.headers.iter().any(|(name, _)| *name == WWW_AUTHENTICATE);
        if status == StatusCode::UNAUTHORIZED && !challenged { self.challenges(&[Challenge::bearer()]) } else { self }
    }

    pub(crate) fn body(&self) -> &Map<String, Value> {
        &self.body
    }

    pub(crate) fn headers(&self) -> &[(HeaderName, HeaderValue)] {
        &self.headers
    }

    pub(crate) fn answer(self) -> Answer {
        let mut answer = json(self.status, Value::Object(self.body).to_string());
        let headers = answer.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        for (name, value) in self.headers {
            headers.append(name, value);
        }
        answer
    }

    /// A token that came in does not hold.
    pub(crate) fn refused(refused: &Refused) -> Self {
        let mut problem = Self { status: refused.status(), body: Map::new(), headers: Vec::new(), said: false };
        if let Value::Object(body) = refused.problem() {
            problem.body = body;
        }
        if problem.status == StatusCode::SERVICE_UNAVAILABLE {
            problem = problem.header(RETRY_AFTER, "5");
        }
        problem.challenges(&refused.challenges())
    }

    /// The user has to do more: what to send to one's own caller, so that its client asks the user.
    pub(crate) fn challenge(refused: &Refused, said: Option<&ErrorBody>) -> Self {
        let problem = Self::refused(refused);
        match said {
            Some(said) => Self { body: detailed(problem.body, said), ..problem }.saying(said),
            None => problem,
        }
    }

    /// No token was got.
    pub(crate) fn no_token(error: &Error, guard: Option<&Guard>) -> Self {
        let seconds = error.retry_after();
        match error {
            Error::ClaimsChallenge { claims, body, .. } => {
                Self::challenge(&challenge(guard, claims, Some(body)), Some(body))
            }
            Error::Consent { status, body, .. } | Error::Refused { status, body, .. } => {
                let told = if body.error_description.is_empty() { &body.error } else { &body.error_description };
                if *status == 429 || *status >= 500 {
                    return Self::unavailable(told, seconds).saying(body);
                }
                // A new token of the user would help; for all else nobody who is before a screen can do anything.
                if body.error == "invalid_grant" && !matches!(error, Error::Consent { .. }) {
                    let challenge = Challenge::bearer().with("error", "invalid_token");
                    return Self::new(StatusCode::UNAUTHORIZED, told).saying(body).challenges(&[challenge]);
                }
                Self::new(StatusCode::FORBIDDEN, told).saying(body)
            }
            Error::Unreachable(error) => {
                let detail = format!("the identity provider cannot be reached: {}", error.cause);
                Self::unavailable(detail, seconds)
            }
            Error::Unreadable { .. } => {
                Self::unavailable("the identity provider answered with an error that cannot be read", seconds)
            }
            Error::Answer(what) => {
                let detail = format!("the identity provider's answer is of no use: {what}");
                Self::new(StatusCode::BAD_GATEWAY, detail)
            }
            Error::Request(text) => Self::bad_request(*text),
            Error::NoCredential => Self::unavailable("the credential of the application is not at hand yet", seconds),
            Error::Session(error) => Self::no_session(error),
            Error::Challenged { .. } | Error::NotOurs(_) | Error::Identity(_) => Self::internal(),
        }
    }

    /// The host has no managed identities, or not now.
    pub(crate) fn no_host(error: &TransportError) -> Self {
        let detail = format!("the host's managed identities cannot be reached: {}; they are Azure's", error.cause);
        Self::unavailable(detail, None)
    }

    /// A session does not begin or go on.
    fn no_session(error: &SessionError) -> Self {
        let detail = error.to_string();
        match error {
            SessionError::Unknown => Self::new(StatusCode::UNAUTHORIZED, detail).challenges(&[Challenge::bearer()]),
            SessionError::OfAnotherUser | SessionError::NotLasting => Self::new(StatusCode::FORBIDDEN, detail),
            SessionError::NotKept => Self::bad_request(detail),
            SessionError::Full => Self::unavailable(detail, Some(60)),
            SessionError::Store(_) => Self::internal(),
        }
    }

    /// The API that is called gives no answer.
    pub(crate) fn not_called(error: &FetchError) -> Self {
        let status = match error {
            FetchError::Timeout(_) => StatusCode::GATEWAY_TIMEOUT,
            _ => StatusCode::BAD_GATEWAY,
        };
        Self::new(status, error.to_string())
    }
}

impl From<NotAsked> for Problem {
    fn from(NotAsked { status, code, text }: NotAsked) -> Self {
        let mut problem = Self::new(status, text);
        problem.body.insert("error".to_owned(), code.into());
        problem
    }
}

/// The challenge for one's own caller, with the sign-in address of the provider and the authority's id of the decision.
pub(crate) fn challenge(guard: Option<&Guard>, claims: &str, said: Option<&ErrorBody>) -> Refused {
    let refused = guard.map_or_else(|| Refused::from_claims_challenge(claims), |guard| guard.challenge(claims));
    match said.and_then(|said| said.trace_id.as_deref()) {
        Some(id) => refused.with_decision_id(id),
        None => refused,
    }
}

/// With the authority's own words where it has some.
fn detailed(mut body: Map<String, Value>, said: &ErrorBody) -> Map<String, Value> {
    if !said.error_description.is_empty() {
        body.insert("detail".to_owned(), said.error_description.clone().into());
    }
    body
}
