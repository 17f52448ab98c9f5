//! The contract of the instance metadata service (spec/entra.md section 5.2). It has no secret: whoever reaches it is taken for
//! the machine, which is why it belongs into a namespace of its own.
use super::request::{direct, header, json, parameters};
use super::{SourceError, TokenSource};
use http::request::Parts;
use http::{Response, StatusCode};
use serde_json::json;
use std::sync::Arc;

/// Where it is asked.
const PATH: &str = "/metadata/identity/oauth2/token";

/// Answers `GET /metadata/identity/oauth2/token?api-version=2018-02-01&resource=…` with `Metadata: true`.
pub struct Imds {
    source: Arc<dyn TokenSource>,
    hosts: Vec<String>,
}

impl Imds {
    /// Over a source; `hosts` are the names (with ports) that it is served under: `169.254.169.254`, mostly.
    pub fn new<H: Into<String>>(source: Arc<dyn TokenSource>, hosts: impl IntoIterator<Item = H>) -> Self {
        Self { source, hosts: hosts.into_iter().map(Into::into).collect() }
    }

    /// Answers a request.
    pub async fn answer(&self, request: &Parts) -> Response<Vec<u8>> {
        if let Err((status, text)) = direct(request, &self.hosts) {
            return refused(status, "invalid_request", text);
        }
        if request.uri.path() != PATH {
            return refused(StatusCode::NOT_FOUND, "not_found", "only tokens are served here");
        }
        // What a request that was smuggled through some other program cannot add.
        if !header(&request.headers, "metadata").is_some_and(|value| value.eq_ignore_ascii_case(b"true")) {
            let text = "Required metadata header not specified: send `Metadata: true`";
            return refused(StatusCode::BAD_REQUEST, "bad_request_102", text);
        }
        let asked = match parameters(request, "2018-02-01", "`api-version` must be `2018-02-01`") {
            Ok(asked) => asked,
            Err((status, text)) => return refused(status, "invalid_request", text),
        };
        match self.source.token(&asked.identity, &asked.resource).await {
            Ok(token) => {
                // From when it was made: clients want a remainder, and renew well before it has run out.
                let left = token.expires_at.0.saturating_sub(token.not_before.0).to_string();
                json(
                    StatusCode::OK,
                    &json!({
                        "access_token": token.access_token.expose(), "client_id": token.client_id,
                        "expires_in": left, "expires_on": token.expires_at.0.to_string(), "ext_expires_in": left,
                        "not_before": token.not_before.0.to_string(), "refresh_token": "",
                        "resource": asked.resource, "token_type": "Bearer",
                    }),
                )
            }
            Err(error) => {
                let text = error.to_string();
                match error {
                    SourceError::UnknownIdentity => refused(StatusCode::BAD_REQUEST, "invalid_request", &text),
                    SourceError::UnknownResource(_) => refused(StatusCode::BAD_REQUEST, "invalid_resource", &text),
                    SourceError::Refused(_) => refused(StatusCode::BAD_REQUEST, "unauthorized_client", &text),
                    // Clients try again.
                    SourceError::Unavailable(_) => refused(StatusCode::SERVICE_UNAVAILABLE, "unknown", &text),
                }
            }
        }
    }
}

fn refused(status: StatusCode, error: &str, description: &str) -> Response<Vec<u8>> {
    json(status, &json!({"error": error, "error_description": description}))
}

impl std::fmt::Debug for Imds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Imds").field("hosts", &self.hosts).finish_non_exhaustive()
    }
}
