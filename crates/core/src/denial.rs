//! A refusal: the failed check, what was expected and found, and how it looks on the wire.
use crate::consent::ConsentUrls;
use crate::model::Profile;
use decision::{Check, CheckId, Timestamp};
use oauth::ErrorBody;
use serde::{Deserialize, Serialize};

/// Why a request is refused, and what to change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Denial {
    /// The failed check.
    pub check: Check,
    /// A claims challenge: what the user's next sign-in must satisfy, as JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claims: Option<String>,
    /// Permissions that were not consented to, in short words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing: Option<oauth::Scopes>,
    /// Where a missing consent is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub urls: Option<Box<ConsentUrls>>,
    /// Where the user gives their presence to work that waits for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub presence: Option<String>,
    /// How many seconds later it may be answered otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<i64>,
    /// What the person could do about it at once, at the authorization endpoint.
    #[serde(skip)]
    pub remedy: Option<Remedy>,
}

/// What a person can do about a refusal, at the authorization endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Sign in again.
    SignIn,
    /// Show a second factor, or set one up.
    SecondFactor,
}

impl Denial {
    /// A refusal with the catalogue's advice.
    pub fn new(id: CheckId, expected: impl Into<String>, actual: impl Into<String>) -> Self {
        Self {
            check: Check::fail(id, expected, actual),
            claims: None,
            missing: None,
            urls: None,
            presence: None,
            retry_after: None,
            remedy: None,
        }
    }

    /// With advice more exact than the catalogue's.
    #[must_use]
    pub fn fix(mut self, fix: impl Into<String>) -> Self {
        self.check.fix = fix.into().into();
        self
    }

    /// With a claims challenge.
    #[must_use]
    pub fn challenge(mut self, claims: String) -> Self {
        self.claims = Some(claims);
        self
    }

    /// With where the user gives their presence.
    #[must_use]
    pub fn presence(mut self, address: String) -> Self {
        self.presence = Some(address);
        self
    }

    /// With how long to wait.
    #[must_use]
    pub fn retry_after(mut self, seconds: i64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// With what the person could do about it.
    #[must_use]
    pub fn remedy(mut self, remedy: Remedy) -> Self {
        self.remedy = Some(remedy);
        self
    }

    /// Which check failed.
    pub fn id(&self) -> CheckId {
        self.check.id
    }

    /// The HTTP status.
    pub fn status(&self) -> u16 {
        self.check.id.entry().status
    }

    /// What went wrong, in a sentence.
    pub fn sentence(&self) -> String {
        let Check { expected, actual, .. } = &self.check;
        match (expected.is_empty(), actual.is_empty()) {
            (true, true) => format!("The request failed the check that {}.", self.check.id.entry().title),
            (true, false) => format!("The request failed the check that {}: {actual}.", self.check.id.entry().title),
            (false, true) => format!("Expected {expected}."),
            (false, false) => format!("Expected {expected}; found {actual}."),
        }
    }

    /// The OAuth error code in the dialect of the client. The native profile has only the RFCs' words.
    pub fn error(&self, profile: Profile) -> &'static str {
        match (profile, self.check.id.entry().error) {
            (Profile::Native, "invalid_resource") => "invalid_target",
            (Profile::Native, "authorization_declined") => "access_denied",
            (Profile::Native, "bad_verification_code") => "invalid_grant",
            (Profile::Native, _) if self.check.id == CheckId::AssertionUser => "invalid_grant",
            (_, error) => error,
        }
    }

    /// What went wrong and who can mend it, for people, in the dialect of the client.
    pub fn description(&self, profile: Profile) -> String {
        let entry = self.check.id.entry();
        let advice = format!("{} To mend it, {}: {}.", self.sentence(), self.check.fixer.words(), self.check.fix);
        match (profile, entry.aadsts) {
            (Profile::Entra, Some(code)) => format!("AADSTS{code}: {advice}"),
            // RFC 6749 section 5.2 allows these characters and no others.
            _ => format!("{}: {}", entry.id, advice.replace('→', "->"))
                .replace(|c: char| !matches!(c, ' '..='~') || c == '"' || c == '\\', "?"),
        }
    }

    /// The error body in the dialect of the client.
    pub fn body(&self, profile: Profile, context: &ErrorContext<'_>) -> ErrorBody {
        let entry = self.check.id.entry();
        let description = self.description(profile);
        let mut hint = serde_json::json!({
            "check": entry.id, "expected": self.check.expected, "actual": self.check.actual,
            "fixer": self.check.fixer, "fix": self.check.fix,
        });
        if let (Some(urls), Some(hint)) = (&self.urls, hint.as_object_mut()) {
            hint.insert("adminConsentUrl".into(), urls.admin_consent_url.clone().into());
            hint.extend(urls.consent_url.clone().map(|url| ("consentUrl".to_owned(), url.into())));
        }
        if let (Some(address), Some(hint)) = (&self.presence, hint.as_object_mut()) {
            hint.insert("state".into(), "parked".into());
            hint.insert("presenceUrl".into(), address.clone().into());
        }
        let body = ErrorBody {
            error: self.error(profile).to_owned(),
            claims: self.claims.clone(),
            deputize_hint: Some(hint),
            ..ErrorBody::default()
        };
        match (profile, entry.aadsts) {
            (Profile::Entra, Some(code)) => {
                let at = context.now.entra();
                ErrorBody {
                    error_description: format!(
                        "{description}\r\nTrace ID: {}\r\nCorrelation ID: {}\r\nTimestamp: {at}",
                        context.decision, context.correlation
                    ),
                    error_codes: vec![code],
                    timestamp: Some(at),
                    trace_id: Some(context.decision.to_owned()),
                    correlation_id: Some(context.correlation.to_owned()),
                    error_uri: Some(format!("{}/error?code={code}", context.host)),
                    suberror: entry.suberror.map(str::to_owned),
                    ..body
                }
            }
            _ => ErrorBody { error_description: description, trace_id: Some(context.decision.to_owned()), ..body },
        }
    }
}

/// What an error body tells of its request.
#[derive(Clone, Copy, Debug)]
pub struct ErrorContext<'a> {
    /// The authority's address.
    pub host: &'a str,
    /// The id of the decision.
    pub decision: &'a str,
    /// The client's `client-request-id`, or the decision's id.
    pub correlation: &'a str,
    /// When.
    pub now: Timestamp,
}
