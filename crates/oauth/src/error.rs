//! Bodies of the token endpoint.
use crate::Secret;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

/// An error answer: RFC 6749 section 5.2, with Entra's members where the profile has them.
///
/// Reading is lenient where authorities differ: all but the code may be missing, and what is unknown or of another type is
/// kept as it is in [`ErrorBody::more`], so that the answer can be passed on whole.
///
/// ```
/// use deputize_oauth::ErrorBody;
/// let body: ErrorBody = serde_json::from_str(r#"{"error":"slow_down","error_codes":"7","interval":5}"#).unwrap();
/// assert_eq!((body.error.as_str(), body.error_description.as_str()), ("slow_down", ""));
/// assert_eq!(serde_json::to_string(&body).unwrap(), r#"{"error":"slow_down","error_codes":"7","interval":5}"#);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ErrorBody {
    /// The code.
    pub error: String,
    /// For people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub error_description: String,
    /// The AADSTS numbers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub error_codes: Vec<u32>,
    /// When, as `2016-01-09 02:02:12Z`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<String>,
    /// The id of the decision.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    /// The client's `client-request-id`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// Where to read more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_uri: Option<String>,
    /// What kind of act the user must do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suberror: Option<String>,
    /// A claims challenge, as a JSON string.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub claims: Option<String>,
    /// Which check failed, with what was expected and found, and who can mend it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deputize_hint: Option<Value>,
    /// Whatever else stands there.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

impl<'de> Deserialize<'de> for ErrorBody {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let mut more = Map::deserialize(from)?;
        let Some(Value::String(error)) = more.remove("error") else {
            return Err(serde::de::Error::custom("there is no text `error`"));
        };
        let codes = |value: &Value| -> Option<Vec<u32>> {
            value.as_array()?.iter().map(|code| u32::try_from(code.as_u64()?).ok()).collect()
        };
        let error_codes = more.get("error_codes").and_then(codes);
        if error_codes.is_some() {
            more.remove("error_codes");
        }
        let mut text = |name: &str| match more.remove(name) {
            Some(Value::String(text)) => Some(text),
            // Of another type: not understood, and kept.
            Some(other) if !other.is_null() => {
                more.insert(name.to_owned(), other);
                None
            }
            _ => None,
        };
        Ok(Self {
            error,
            error_description: text("error_description").unwrap_or_default(),
            error_codes: error_codes.unwrap_or_default(),
            timestamp: text("timestamp"),
            trace_id: text("trace_id"),
            correlation_id: text("correlation_id"),
            error_uri: text("error_uri"),
            suberror: text("suberror"),
            claims: text("claims"),
            deputize_hint: more.remove("deputize_hint"),
            more,
        })
    }
}

/// A success answer: RFC 6749 section 5.1, with the members of OpenID Connect and Entra.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenResponse {
    /// `Bearer`; `N_A` for what is no access token (RFC 8693 section 2.2.1).
    pub token_type: String,
    /// What was issued, where token exchange was asked (RFC 8693 section 2.2.1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issued_token_type: Option<String>,
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
