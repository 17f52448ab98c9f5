//! The grants, each as the form it sends and what its tokens are cached under.
use crate::client::Inner;
use crate::key::digest;
use crate::{Client, Error, KeyFields, Token};
use decision::Timestamp;
use http::HeaderMap;
use http::header::{ACCEPT, CONTENT_TYPE};
use oauth::{ErrorBody, Form, GrantType, Scopes, Secret};
use std::sync::Arc;

impl Client {
    /// A token for the application itself (RFC 6749 section 4.4). Entra wants `{resource}/.default`.
    pub async fn client_credentials(&self, scope: &str) -> Result<Arc<Token>, Error> {
        self.acquire(GrantType::ClientCredentials, None, scopes(&[scope])?, None).await
    }

    /// A token for another API, on behalf of the user whose token this API was called with (Entra's On-Behalf-Of).
    /// `claims` is the JSON of a claims challenge, to answer it.
    ///
    /// # Errors
    /// [`Error::ClaimsChallenge`] belongs in a 401 to this API's own caller; [`Error::Consent`] names the missing grant.
    pub async fn on_behalf_of(
        &self,
        assertion: &Secret,
        scopes: &[&str],
        claims: Option<&str>,
    ) -> Result<Arc<Token>, Error> {
        self.acquire(GrantType::JwtBearer, Some(assertion), self::scopes(scopes)?, claims).await
    }

    /// A token for a refresh token (RFC 6749 section 6), perhaps for another resource. All who bring the same refresh
    /// token at once share one request: with rotation, a second one would look like a replay and end the session.
    pub async fn refresh(
        &self,
        refresh_token: &Secret,
        scopes: &[&str],
        claims: Option<&str>,
    ) -> Result<Arc<Token>, Error> {
        self.acquire(GrantType::RefreshToken, Some(refresh_token), self::scopes(scopes)?, claims).await
    }

    async fn acquire(
        &self,
        grant: GrantType,
        subject: Option<&Secret>,
        scopes: Scopes,
        claims: Option<&str>,
    ) -> Result<Arc<Token>, Error> {
        let inner = &self.inner;
        let now = inner.clock.now();
        let digest = subject.map(digest);
        let key = KeyFields {
            issuer: inner.endpoints.identity(),
            client: &inner.client_id,
            credential: &inner.credential_id,
            grant: grant.as_str(),
            subject: digest,
            scopes: Some(&scopes),
            claims,
            ..KeyFields::default()
        }
        .key();
        let request = Request {
            client: Arc::clone(inner),
            trace: self.trace.clone(),
            grant,
            subject: subject.cloned(),
            scopes,
            claims: claims.map(str::to_owned),
        };
        inner.cache.get_or_acquire(key, digest, now, request.send(now)).await
    }
}

struct Request {
    client: Arc<Inner>,
    trace: HeaderMap,
    grant: GrantType,
    subject: Option<Secret>,
    scopes: Scopes,
    claims: Option<String>,
}

impl Request {
    async fn send(self, now: Timestamp) -> Result<Token, Error> {
        let Self { client, trace, grant, subject, scopes, claims } = self;
        let mut form = Form::default().with("grant_type", grant.as_str());
        form = match (grant, &subject) {
            (GrantType::JwtBearer, Some(subject)) => {
                form.with("requested_token_use", "on_behalf_of").with("assertion", subject.expose())
            }
            (GrantType::RefreshToken, Some(subject)) => form.with("refresh_token", subject.expose()),
            _ => form,
        };
        if !scopes.is_empty() {
            form = form.with("scope", &scopes.to_string());
        }
        if let Some(claims) = &claims {
            form = form.with("claims", claims);
        }
        let token = client.request_token(form, trace, now).await?;
        Ok(match (grant, &subject) {
            // A refresh token is no JWT, or one whose end is not the user's: only assertions bound what comes of them.
            (GrantType::JwtBearer, Some(assertion)) => token.no_longer_than(assertion),
            _ => token,
        })
    }
}

impl Inner {
    /// Posts a form to the token endpoint, with this client's authentication and in this trace, and reads the answer.
    pub(crate) async fn request_token(&self, form: Form, trace: HeaderMap, now: Timestamp) -> Result<Token, Error> {
        let form = self.credential.authenticate(form.with("client_id", &self.client_id), self, now).await?;
        let mut request = http::Request::post(&self.endpoints.token)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(ACCEPT, "application/json")
            .body(form.encode().into_bytes())
            .map_err(|_| Error::Request("the token endpoint is not a URL; correct the client's endpoints"))?;
        request.headers_mut().extend(trace);
        let reply = self.transport.send(request).await?;
        let status = reply.status();
        if status == http::StatusCode::OK {
            return Token::read(reply.body(), now);
        }
        match serde_json::from_slice::<ErrorBody>(reply.body()) {
            Ok(body) if !body.error.is_empty() => Err(Error::refused(status.as_u16(), body)),
            _ if status.is_server_error() => {
                Err(crate::TransportError(format!("it answers with status {}", status.as_u16())).into())
            }
            _ => Err(Error::Answer(
                "it is not an error response (RFC 6749 section 5.2); check the token endpoint's address",
            )),
        }
    }
}

pub(crate) fn scopes(values: &[&str]) -> Result<Scopes, Error> {
    Scopes::parse(&values.join(" "))
        .ok_or(Error::Request("a scope holds a character that RFC 6749 section 3.3 forbids"))
}
