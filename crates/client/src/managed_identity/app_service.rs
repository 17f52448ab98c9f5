//! The contract of App Service, Functions and Container Apps (spec/entra.md section 5.2).
use super::request::{Unfit, direct, header, json, parameters};
use super::{SourceError, TokenSource};
use http::request::Parts;
use http::{Response, StatusCode};
use oauth::Secret;
use serde_json::json;
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// Answers `GET {IDENTITY_ENDPOINT}?api-version=2019-08-01&resource=…` to whoever knows the header's value.
pub struct AppService {
    source: Arc<dyn TokenSource>,
    /// Of the value that `IDENTITY_HEADER` has in the program's environment.
    secret: [u8; 32],
    hosts: Vec<String>,
}

impl AppService {
    /// Over a source. `secret` is for the program's `IDENTITY_HEADER`; `hosts` are the names (with ports) that it is served
    /// under.
    pub fn new<H: Into<String>>(
        source: Arc<dyn TokenSource>,
        secret: Secret,
        hosts: impl IntoIterator<Item = H>,
    ) -> Self {
        let hosts = hosts.into_iter().map(Into::into).collect();
        Self { source, secret: Sha256::digest(secret.expose()).into(), hosts }
    }

    /// Answers a request: its path does not matter, its method, headers and query do.
    pub async fn answer(&self, request: &Parts) -> Response<Vec<u8>> {
        let asked =
            self.known(request).and_then(|()| parameters(request, "2019-08-01", "`api-version` must be `2019-08-01`"));
        let asked = match asked {
            Ok(asked) => asked,
            Err((status, text)) => return refused(status, text),
        };
        match self.source.token(&asked.identity, &asked.resource).await {
            Ok(token) => json(
                StatusCode::OK,
                &json!({
                    "access_token": token.access_token.expose(), "client_id": token.client_id,
                    "expires_on": token.expires_at.0.to_string(), "resource": asked.resource, "token_type": "Bearer",
                }),
            ),
            Err(error) => {
                let status = match error {
                    SourceError::UnknownIdentity | SourceError::UnknownResource(_) | SourceError::Refused(_) => {
                        StatusCode::BAD_REQUEST
                    }
                    SourceError::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
                };
                refused(status, &error.to_string())
            }
        }
    }

    fn known(&self, request: &Parts) -> Result<(), Unfit> {
        direct(request, &self.hosts)?;
        let given: [u8; 32] = Sha256::digest(header(&request.headers, "x-identity-header").unwrap_or_default()).into();
        // Of digests, and without leaving early: the time taken says nothing of the value.
        let differs = given.iter().zip(self.secret).fold(0, |differs, (a, b)| differs | (a ^ b)) != 0;
        if differs {
            return Err((StatusCode::UNAUTHORIZED, "send the value of `IDENTITY_HEADER` in `X-IDENTITY-HEADER`"));
        }
        Ok(())
    }
}

fn refused(status: StatusCode, message: &str) -> Response<Vec<u8>> {
    json(status, &json!({"statusCode": status.as_u16(), "message": message}))
}

impl std::fmt::Debug for AppService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AppService").field("hosts", &self.hosts).finish_non_exhaustive()
    }
}
