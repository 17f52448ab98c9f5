//! The authorization code flow with PKCE (RFC 6749 section 4.1, RFC 7636, RFC 9207, OpenID Connect Core section 3.1).
use crate::credential::unguessable;
use crate::grant::scopes;
use crate::upstream::{FormMaker, Repeat};
use crate::{Client, Error, Token};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use oauth::{ErrorBody, Form, GrantType, Secret};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use tokio::time::Instant;

/// What to ask at the authorization endpoint.
#[derive(Clone, Copy, Debug, Default)]
pub struct AuthorizationRequest<'a> {
    /// Where the browser comes back to: one of the client's registered URIs.
    pub redirect_uri: &'a str,
    /// The scopes; with `openid`, an ID token is asked for and verified.
    pub scopes: &'a [&'a str],
    /// `login`, `none`, `consent` or `select_account`.
    pub prompt: Option<&'a str>,
    /// Who is expected to sign in.
    pub login_hint: Option<&'a str>,
    /// The JSON of a claims challenge, to answer it.
    pub claims: Option<&'a str>,
}

/// What the sign-in's answer must fit. Keep it with the browser's session, and nowhere else; it is used once.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PendingAuthorization {
    state: Secret,
    nonce: Option<Secret>,
    verifier: Secret,
    redirect_uri: String,
    scope: String,
}

impl PendingAuthorization {
    /// The `state` that comes back with the answer: by it a browser's sign-ins are told apart.
    pub fn state(&self) -> &Secret {
        &self.state
    }
}

/// A finished sign-in.
#[derive(Clone, Debug)]
pub struct SignIn {
    /// The tokens.
    pub token: Token,
    /// The claims of the verified ID token, if `openid` was asked for.
    pub identity: Option<Map<String, Value>>,
}

impl Client {
    /// The URL to send the browser to, and what to keep until it comes back.
    pub fn authorization_code_url(
        &self,
        request: AuthorizationRequest<'_>,
    ) -> Result<(String, PendingAuthorization), Error> {
        let inner = &*self.inner;
        let endpoint = (self.endpoints().authorization)
            .ok_or(Error::Request("the client knows no authorization endpoint; add one to its endpoints"))?;
        let scopes = scopes(request.scopes)?;
        let pending = PendingAuthorization {
            state: Secret::new(unguessable::<32>(inner)),
            nonce: scopes.contains("openid").then(|| Secret::new(unguessable::<32>(inner))),
            verifier: Secret::new(unguessable::<32>(inner)),
            redirect_uri: request.redirect_uri.to_owned(),
            scope: scopes.to_string(),
        };
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(pending.verifier.expose()));
        let mut form = Form::default()
            .with("client_id", &inner.client_id)
            .with("response_type", "code")
            .with("redirect_uri", &pending.redirect_uri)
            .with("scope", &pending.scope)
            .with("state", pending.state.expose())
            .with("code_challenge", &challenge)
            .with("code_challenge_method", "S256");
        let nonce = pending.nonce.as_ref().map(Secret::expose);
        let optional = [
            ("nonce", nonce),
            ("prompt", request.prompt),
            ("login_hint", request.login_hint),
            ("claims", request.claims),
        ];
        for (name, value) in optional {
            form = value.into_iter().fold(form, |form, value| form.with(name, value));
        }
        let joint = if endpoint.contains('?') { '&' } else { '?' };
        Ok((format!("{endpoint}{joint}{}", form.encode()), pending))
    }

    /// Redeems the code that the browser brought back. `answer` is the query (or posted form) of the redirect URI.
    pub async fn redeem_code(&self, pending: PendingAuthorization, answer: &Form) -> Result<SignIn, Error> {
        let inner = &*self.inner;
        // Before anything else is believed, errors included: an answer that we did not ask for is an attack (login
        // CSRF), and so is one of another authority (mix-up, RFC 9207 section 2.4).
        if answer.value("state").is_none_or(|state| !same(state, pending.state.expose())) {
            return Err(Error::NotOurs("`state` is not the one that was sent"));
        }
        let endpoints = inner.endpoints(Instant::now() + inner.upstream.total).await?;
        match (answer.value("iss"), endpoints.issuer.as_deref()) {
            (Some(iss), issuer) if issuer != Some(iss) => return Err(Error::NotOurs("`iss` is another authority")),
            (None, _) if endpoints.promises_iss => return Err(Error::NotOurs("`iss` is missing")),
            _ => {}
        }
        if let Some(error) = answer.value("error") {
            let text = |name| answer.value(name).map(str::to_owned);
            let body = ErrorBody {
                error: error.to_owned(),
                error_description: text("error_description").unwrap_or_default(),
                suberror: text("suberror"),
                claims: text("claims"),
                ..ErrorBody::default()
            };
            return Err(Error::refused(http::StatusCode::BAD_REQUEST.as_u16(), None, body));
        }
        let code = answer.value("code").ok_or(Error::NotOurs("it holds neither `code` nor `error`"))?;
        let redeeming = &pending;
        let form: &FormMaker<'_> = &move |client, endpoints, now| {
            Box::pin(async move {
                let form = Form::default().with("grant_type", GrantType::AuthorizationCode.as_str());
                let form = client.authenticated(form, endpoints, now).await?;
                let form = form
                    .with("code", code)
                    .with("redirect_uri", &redeeming.redirect_uri)
                    .with("code_verifier", redeeming.verifier.expose());
                Ok(if redeeming.scope.is_empty() { form } else { form.with("scope", &redeeming.scope) })
            })
        };
        let (now, deadline) = (inner.clock.now(), Instant::now() + inner.upstream.total);
        let token = inner.request_token(form, &self.trace, Repeat::Once, &endpoints, deadline).await?;
        let identity = match (&token.id_token, &pending.nonce) {
            (Some(id_token), Some(nonce)) => Some(inner.verify_identity(&endpoints, id_token, Some(nonce), now).await?),
            (None, Some(_)) => return Err(Error::Answer("`openid` was asked for, but there is no ID token")),
            // Not asked for, so not relied on.
            (_, None) => None,
        };
        Ok(SignIn { token, identity })
    }
}

/// Compares digests, so that the time taken says nothing of the secret.
pub(crate) fn same(one: &str, other: &str) -> bool {
    Sha256::digest(one) == Sha256::digest(other)
}
