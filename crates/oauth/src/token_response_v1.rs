//! The success answer of Entra's v1.0 token endpoint: numbers are texts, and three members more.
use crate::{Secret, TokenResponse};
use serde::Serialize;

/// What a v1.0 answer says beyond [`TokenResponse`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct V1Members {
    /// The resource, as it was asked for.
    pub resource: String,
    /// When the access token begins, in seconds since 1970.
    pub not_before: i64,
    /// When it ends.
    pub expires_on: i64,
}

/// A v1.0 answer (Azure AD developer guide, v1.0 On-Behalf-Of flow: success response example).
///
/// ```
/// # use deputize_oauth as oauth;
/// let answer: oauth::TokenResponse =
///     serde_json::from_str(r#"{"token_type":"Bearer","expires_in":3600,"access_token":"x"}"#).unwrap();
/// let v1 = oauth::V1Members { resource: "api://orders".into(), not_before: 10, expires_on: 3610 };
/// let body = serde_json::to_value(oauth::TokenResponseV1::new(&answer, &v1)).unwrap();
/// assert_eq!((&body["expires_in"], &body["expires_on"]), (&"3600".into(), &"3610".into()));
/// ```
#[derive(Debug, Serialize)]
pub struct TokenResponseV1<'a> {
    token_type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<&'a str>,
    expires_in: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    ext_expires_in: Option<String>,
    expires_on: String,
    not_before: String,
    resource: &'a str,
    access_token: &'a Secret,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<&'a Secret>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id_token: Option<&'a Secret>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_info: Option<&'a str>,
}

impl<'a> TokenResponseV1<'a> {
    /// The same answer in v1.0's form.
    pub fn new(answer: &'a TokenResponse, v1: &'a V1Members) -> Self {
        Self {
            token_type: &answer.token_type,
            scope: answer.scope.as_deref(),
            expires_in: answer.expires_in.to_string(),
            ext_expires_in: answer.ext_expires_in.map(|seconds| seconds.to_string()),
            expires_on: v1.expires_on.to_string(),
            not_before: v1.not_before.to_string(),
            resource: &v1.resource,
            access_token: &answer.access_token,
            refresh_token: answer.refresh_token.as_ref(),
            id_token: answer.id_token.as_ref(),
            client_info: answer.client_info.as_deref(),
        }
    }
}
