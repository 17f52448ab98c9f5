//! Protected-resource metadata (RFC 9728): where callers of an API get their tokens, and what for.
use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL,
    CONTENT_TYPE,
};
use http::{HeaderMap, HeaderValue, Method};
use serde::Serialize;
use std::sync::Arc;

/// RFC 9728 section 3.1.
pub(crate) const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

/// RFC 9728 section 2.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Metadata {
    pub(crate) resource: String,
    pub(crate) authorization_servers: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) scopes_supported: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) bearer_methods_supported: Vec<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) dpop_signing_alg_values_supported: Vec<&'static str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) dpop_bound_access_tokens_required: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) resource_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) resource_documentation: Option<String>,
}

/// One document, and where it stands.
pub(crate) struct Document {
    pub(crate) host: String,
    pub(crate) path: String,
    body: Bytes,
}

impl Document {
    pub(crate) fn new(host: String, path: String, metadata: &Metadata) -> Self {
        Self { host, path, body: serde_json::to_vec(metadata).unwrap_or_default().into() }
    }
}

/// The documents of all APIs.
#[derive(Default)]
pub(crate) struct Documents(pub(crate) Vec<Document>);

impl Documents {
    /// The one that is asked for, or that a page of a browser asks about (`preflight`): of several at one path, that of the host.
    pub(crate) fn find(&self, method: &Method, preflight: bool, host: &str, path: &str) -> Option<(HeaderMap, Bytes)> {
        let reads = preflight || method == Method::GET || method == Method::HEAD;
        if self.0.is_empty() || !reads || !path.starts_with(WELL_KNOWN) {
            return None;
        }
        let mut all = self.0.iter().filter(|document| document.path == path).peekable();
        let first = *all.peek()?;
        let found = match all.find(|document| document.host == host) {
            Some(found) => found,
            None if self.0.iter().filter(|document| document.path == path).count() == 1 => first,
            None => return None,
        };
        // Nothing in it is a secret, and programs in browsers read it too, with fields of their own such as `MCP-Protocol-Version`.
        let mut fields = vec![(ACCESS_CONTROL_ALLOW_ORIGIN, "*")];
        fields.extend(if preflight {
            [(ACCESS_CONTROL_ALLOW_METHODS, "GET, HEAD"), (ACCESS_CONTROL_ALLOW_HEADERS, "*")]
        } else {
            [(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "max-age=3600")]
        });
        let headers = fields.into_iter().map(|(name, value)| (name, HeaderValue::from_static(value))).collect();
        Some((headers, if preflight { Bytes::new() } else { found.body.clone() }))
    }
}

/// A challenge with the address of the document (RFC 9728 section 5.1); those of other schemes as they are.
pub(crate) fn challenged(challenge: &HeaderValue, address: &Arc<str>) -> HeaderValue {
    let with = |text: &str| match text.strip_prefix("Bearer").or_else(|| text.strip_prefix("DPoP")) {
        Some("") => Some(format!("{text} resource_metadata=\"{address}\"")),
        Some(rest) if rest.starts_with(' ') => Some(format!("{text}, resource_metadata=\"{address}\"")),
        _ => None,
    };
    let made = challenge.to_str().ok().and_then(with).and_then(|text| HeaderValue::try_from(text).ok());
    made.unwrap_or_else(|| challenge.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bearer_challenges_name_the_document_and_others_do_not() {
        let address: Arc<str> = "https://a/x".into();
        for (text, made) in [
            ("Bearer", "Bearer resource_metadata=\"https://a/x\""),
            ("Bearer realm=\"\"", "Bearer realm=\"\", resource_metadata=\"https://a/x\""),
            ("AzureApiManagementKey realm=\"a\"", "AzureApiManagementKey realm=\"a\""),
            ("DPoP algs=\"ES256\"", "DPoP algs=\"ES256\", resource_metadata=\"https://a/x\""),
            ("BearerToken", "BearerToken"),
        ] {
            assert_eq!(challenged(&HeaderValue::from_static(text), &address), made);
        }
    }
}
