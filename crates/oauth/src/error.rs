//! Bodies of the token endpoint.
use crate::Secret;
use serde::{Deserialize, Serialize};

/// An error answer: RFC 6749 section 5.2, with Entra's members where the profile has them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// The code.
    pub error: String,
    /// For people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub error_description: String,
    /// The AADSTS numbers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub error_codes: Vec<u32>,
    /// When, as `2016-01-09 02:02:12Z`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<String>,
    /// The id of the decision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    /// The client's `client-request-id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// Where to read more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_uri: Option<String>,
    /// What kind of act the user must do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suberror: Option<String>,
    /// A claims challenge, as a JSON string.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claims: Option<String>,
    /// Which check failed, with what was expected and found, and who can mend it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deputize_hint: Option<serde_json::Value>,
}

/// A success answer: RFC 6749 section 5.1, with the members of OpenID Connect and Entra.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenResponse {
    /// `Bearer`.
    pub token_type: String,
    /// The granted scopes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// Life of the access token in seconds.
    pub expires_in: i64,
    /// Life in an outage, in seconds (Entra).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ext_expires_in: Option<i64>,
    /// When to refresh ahead, in seconds from now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_in: Option<i64>,
    /// The access token.
    pub access_token: Secret,
    /// The refresh token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_token: Option<Secret>,
    /// The ID token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id_token: Option<Secret>,
    /// base64url of `{"uid":…,"utid":…}` (Entra).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_info: Option<String>,
}
