//! Why no token came, sorted by who can do something about it.
use crate::{Cause, IdentityError, SessionError, TransportError};
use oauth::ErrorBody;

/// Why no token came. Cloneable, because everyone who waited for the same request is told the same.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Error {
    /// The authority wants more from the user (RFC 9470 in spirit; Entra's `interaction_required` with `claims`). A middle tier
    /// hands `claims` to its own caller, in a 401: `guard::Refused::from_claims_challenge`.
    #[error("the authority wants more from the user: {}", .body.error_description)]
    ClaimsChallenge {
        /// What to ask for, as JSON: the `claims` parameter of the user's next sign-in.
        claims: String,
        /// The HTTP status.
        status: u16,
        /// Seconds to wait, where the authority says so.
        retry_after: Option<u64>,
        /// All that the authority said.
        body: Box<ErrorBody>,
    },
    /// Somebody has to consent first: the user, or an administrator.
    #[error("consent is missing: {}", .body.error_description)]
    Consent {
        /// The HTTP status.
        status: u16,
        /// Seconds to wait, where the authority says so.
        retry_after: Option<u64>,
        /// All that the authority said; `deputize_hint` names the missing grant.
        body: Box<ErrorBody>,
    },
    /// The authority refuses, for another reason (RFC 6749 section 5.2).
    #[error("the authority refuses with `{}`: {}", .body.error, .body.error_description)]
    Refused {
        /// The HTTP status.
        status: u16,
        /// Seconds to wait, where the authority says so.
        retry_after: Option<u64>,
        /// All that the authority said.
        body: Box<ErrorBody>,
    },
    /// An API that was called with a token wants a stronger one (401 with `insufficient_claims`). Ask again with these
    /// `claims`; if that gives [`Error::ClaimsChallenge`], the user must act.
    #[error("the API that was called wants a stronger token; ask for one with the `claims` of its challenge")]
    Challenged {
        /// What to ask for, as JSON.
        claims: String,
    },
    /// No answer from the authority.
    #[error("the authority cannot be reached: {0}; check its address, its certificate and the network")]
    Unreachable(#[from] TransportError),
    /// The authority fails, and says nothing that could be read.
    #[error(
        "the authority answers with status {status} and no error response (RFC 6749 section 5.2); check the token endpoint's address, and the proxy before it"
    )]
    Unreadable {
        /// The HTTP status.
        status: u16,
        /// Seconds to wait, where the authority says so.
        retry_after: Option<u64>,
    },
    /// The authority answered with success, but not as a token endpoint does.
    #[error("the authority's answer is of no use: {0}")]
    Answer(&'static str),
    /// The request cannot be sent as asked.
    #[error("{0}")]
    Request(&'static str),
    /// What the client proves itself with is not at hand yet.
    #[error("the client's credential is not at hand yet; try again, and look at where it comes from")]
    NoCredential,
    /// The browser came back with something that is not the answer to our question (RFC 6749 section 10.12, RFC 9207).
    #[error("this is not the answer to the sign-in that was begun here: {0}; begin again")]
    NotOurs(&'static str),
    /// Long-running work does not begin or go on.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The ID token does not hold.
    #[error("the ID token is refused: {0}")]
    Identity(#[from] IdentityError),
}

impl Error {
    /// Sorts a refusal. `claims` wins over consent: without them the user could not act at all.
    pub(crate) fn refused(status: u16, retry_after: Option<u64>, body: ErrorBody) -> Self {
        let body = Box::new(body);
        let consent = body.suberror.as_deref() == Some("consent_required")
            || body.error == "consent_required"
            || body.error_codes.iter().any(|code| matches!(code, 65001 | 90094));
        match &body.claims {
            Some(claims) if oauth::ClaimsRequest::parse(claims).is_some() => {
                Self::ClaimsChallenge { claims: claims.clone(), status, retry_after, body }
            }
            _ if consent => Self::Consent { status, retry_after, body },
            _ => Self::Refused { status, retry_after, body },
        }
    }

    /// What the authority said, where it said something.
    pub fn body(&self) -> Option<&ErrorBody> {
        match self {
            Self::ClaimsChallenge { body, .. } | Self::Consent { body, .. } | Self::Refused { body, .. } => Some(body),
            Self::Challenged { .. }
            | Self::Unreachable(_)
            | Self::Unreadable { .. }
            | Self::Answer(_)
            | Self::Request(_)
            | Self::NoCredential
            | Self::NotOurs(_)
            | Self::Session(_)
            | Self::Identity(_) => None,
        }
    }

    /// The HTTP status of the authority's refusal.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::ClaimsChallenge { status, .. }
            | Self::Consent { status, .. }
            | Self::Refused { status, .. }
            | Self::Unreadable { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// Seconds after which to ask again, where that is known.
    pub fn retry_after(&self) -> Option<u64> {
        match self {
            Self::ClaimsChallenge { retry_after, .. }
            | Self::Consent { retry_after, .. }
            | Self::Refused { retry_after, .. }
            | Self::Unreadable { retry_after, .. } => *retry_after,
            Self::Unreachable(TransportError { cause: Cause::Resting(seconds), .. }) => Some(u64::from(*seconds)),
            _ => None,
        }
    }

    /// Whether the user is denied the token, and another token of theirs would change nothing: somebody has to give them the right.
    pub fn denies_user(&self) -> bool {
        match self {
            // AADSTS50105 and 501051: nobody assigned.
            Self::Refused { status, body, .. } => {
                *status < 500
                    && (body.error == "access_denied"
                        || body.error_codes.iter().any(|code| matches!(code, 50_105 | 501_051)))
            }
            _ => false,
        }
    }

    /// Whether the same question will get the same refusal for some seconds: consent, assignment or the target is missing.
    pub(crate) fn stays(&self) -> bool {
        match self {
            Self::Consent { status, .. } => *status < 500,
            // AADSTS50105 and 501051: nobody assigned. 500011, 70011 and 650053: no such resource or scope.
            Self::Refused { status, body, .. } => {
                *status < 500
                    && (matches!(body.error.as_str(), "invalid_target" | "invalid_resource" | "invalid_scope")
                        || body
                            .error_codes
                            .iter()
                            .any(|code| matches!(code, 50_105 | 501_051 | 500_011 | 70_011 | 650_053)))
            }
            _ => false,
        }
    }

    /// Whether the authority says that a token like the one that is held would not be issued any more. A credential that
    /// is refused says nothing of the token, and neither does a failure.
    pub(crate) fn ends_what_is_held(&self) -> bool {
        match self {
            Self::ClaimsChallenge { status, .. } | Self::Consent { status, .. } => *status < 500,
            Self::Refused { body, .. } => {
                self.stays()
                    || matches!(
                        body.error.as_str(),
                        "invalid_grant"
                            | "access_denied"
                            | "interaction_required"
                            | "login_required"
                            | "unauthorized_client"
                    )
            }
            _ => false,
        }
    }
}
