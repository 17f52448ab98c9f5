//! Tokens from the engine: who is asked and how, and what its outcome is called on the wire.
use crate::answer::{self, Answer};
use crate::decode::ProviderId;
use crate::provider::Provider;
use crate::settings::{AssertionAudience, Credential, ExchangeGrant, ProviderSettings, Settings, TokenGrant};
use crate::sidecar::Ports;
use crate::telemetry::{Began, Path, Telemetry};
use crate::{Sidecar, target};
use client::{Ask, Client, Endpoints, Error, GrantProfile, Sending, TokenCache, Transport, Upstream};
use http::{HeaderMap, StatusCode};
use std::borrow::Cow;
use std::sync::Arc;

/// A credential that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the credential for provider '{provider}' cannot be used: {problem}")]
pub struct CredentialFault {
    provider: String,
    problem: String,
}

/// What asks each provider for tokens; nothing for those that give none.
pub(crate) fn clients(
    settings: &Settings,
    ports: &Ports,
    cache: &Arc<TokenCache>,
    telemetry: &Arc<Telemetry>,
) -> Result<Vec<Option<Client>>, CredentialFault> {
    let upstream = Upstream {
        retries: settings.upstream.retries,
        connect: settings.upstream.connect,
        read: settings.upstream.read,
        total: settings.upstream.total,
        ..Upstream::default()
    };
    let client = |(place, provider): (usize, &ProviderSettings)| {
        let (Some(id), Some(credential), Some(profile)) =
            (&provider.client_id, &provider.credential, profile(provider))
        else {
            return Ok(None);
        };
        let endpoints = Endpoints {
            token: provider.token_endpoint.clone().unwrap_or_default(),
            issuer: provider.issuer.clone(),
            ..Endpoints::default()
        };
        let mut builder = Client::builder(endpoints, id).profile(profile).upstream(upstream).cache(Arc::clone(cache));
        if let Some(url) = &provider.discovery {
            builder = builder.discover(url);
        }
        let audience = match provider.assertion_audience {
            AssertionAudience::Issuer => client::AssertionAudience::Issuer,
            AssertionAudience::TokenEndpoint => client::AssertionAudience::TokenEndpoint,
        };
        let fault = |problem: String| CredentialFault { provider: provider.name.clone(), problem };
        let builder = match credential {
            Credential::Key(key) => builder.key(Arc::clone(key), audience),
            Credential::KeyFile(path) => builder.key_file(path, audience).map_err(|error| fault(error.to_string()))?,
            Credential::Secret(secret) => builder.secret(secret.clone()),
            Credential::SecretFile(path) => builder.secret_file(path).map_err(|error| fault(error.to_string()))?,
            Credential::Federated(path) => builder.assertion_file(path),
            Credential::Certificate { certificate, key } => {
                builder.certificate_files(key, certificate).map_err(|error| fault(error.to_string()))?
            }
        };
        let transport = Arc::new(Timed { network: Arc::clone(&ports.tokens), telemetry: Arc::clone(telemetry), place });
        Ok(Some(builder.build(transport, Arc::clone(&ports.clock), Arc::clone(&ports.random))))
    };
    settings.providers.iter().enumerate().map(client).collect()
}

/// How this provider wants to be asked; nothing for one that gives no tokens.
fn profile(provider: &ProviderSettings) -> Option<GrantProfile> {
    match (provider.grants.token, provider.grants.exchange) {
        _ if !provider.enabled => None,
        (None, None) => None,
        (_, Some(ExchangeGrant::OnBehalfOf)) => Some(GrantProfile::Entra),
        (_, Some(ExchangeGrant::TokenExchange)) => Some(GrantProfile::TokenExchange),
        (Some(TokenGrant::JwtBearer), None) => Some(GrantProfile::JwtBearer),
        (Some(TokenGrant::ClientCredentials), None) => Some(GrantProfile::ClientCredentials),
    }
}

/// The network, with how long it took.
struct Timed {
    network: Arc<dyn Transport>,
    telemetry: Arc<Telemetry>,
    place: usize,
}

impl Transport for Timed {
    fn send(&self, request: http::Request<Vec<u8>>) -> Sending<'_> {
        Box::pin(async move {
            let began = Began::now();
            let answer = self.network.send(request).await;
            self.telemetry.asked(self.place, began);
            answer
        })
    }
}

impl Sidecar {
    /// Whom to ask for a token, and for what; or why nobody is asked. Every API asks through this.
    pub(crate) fn ask_for<'a>(
        &self,
        path: Path,
        id: ProviderId,
        target: &'a str,
    ) -> Result<(&Client, Cow<'a, str>), Answer> {
        self.telemetry().request(path, id.0);
        let refused = |kind: &'static str, text: String| {
            self.telemetry().error(path, id.0, kind);
            Err(answer::error(StatusCode::BAD_REQUEST, "invalid_request", &text))
        };
        let provider = self.providers().at(id);
        let name = provider.map_or("", Provider::name);
        let Some(provider) = provider.filter(|provider| provider.is_enabled()) else {
            return refused("UnsupportedIdentityProvider", format!("identity provider '{name}' is not enabled"));
        };
        let (does, what) = match path {
            Path::Exchange => (provider.grants().exchange.is_some(), "token exchange"),
            Path::Token | Path::Introspect | Path::Other => (provider.grants().token.is_some(), "token requests"),
        };
        let (Some(client), true) = (provider.client(), does) else {
            return refused("UnsupportedGrant", format!("identity provider '{name}' does not support {what}"));
        };
        let target = if provider.is_entra() { target::normalised(target) } else { Cow::Borrowed(target) };
        if let Err(rule) = self.outbound().admit(&target) {
            self.telemetry().error(path, id.0, "OutboundPolicy");
            tracing::warn!(target.name = %target, provider.name = name, "the outbound policy does not allow a target");
            return Err(answer::error(StatusCode::FORBIDDEN, "access_denied", &rule));
        }
        Ok((client, target))
    }

    /// Asks, and answers as Texas does.
    pub(crate) async fn acquired(
        &self,
        path: Path,
        id: ProviderId,
        client: &Client,
        ask: &Ask<'_>,
        headers: &HeaderMap,
    ) -> Answer {
        match client.ask(&ask.in_trace(headers)).await {
            Ok(answered) => {
                if answered.cached {
                    self.telemetry().hit(path, id.0);
                }
                let left = answered.token.seconds_left(self.clock().now());
                answer::token(answered.token.access_token.expose(), left)
            }
            Err(error) => {
                let (kind, answer) = told(&error);
                self.telemetry().error(path, id.0, kind);
                let provider = self.providers().at(id).map_or("", Provider::name);
                tracing::warn!(
                    provider.name = provider,
                    error.kind = kind,
                    error.status = error.status(),
                    "no token was got"
                );
                answer
            }
        }
    }
}

/// What an error of the engine is called, and its answer.
fn told(error: &Error) -> (&'static str, Answer) {
    let failed = |status: StatusCode, text: &str| answer::error(status, "server_error", text);
    let (kind, answer) = match error {
        Error::ClaimsChallenge { status, body, .. }
        | Error::Consent { status, body, .. }
        | Error::Refused { status, body, .. } => ("UpstreamError", answer::passed_on(*status, body)),
        Error::Unreadable { status, .. } => {
            let status = StatusCode::from_u16(*status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            ("UpstreamInvalidError", failed(status, "identity provider returned an invalid error response"))
        }
        Error::Unreachable(error) => {
            let text = format!("Identity provider request failed: {}", error.cause);
            let answer = failed(StatusCode::INTERNAL_SERVER_ERROR, &text);
            ("UpstreamUnreachable", answer::retry_after(answer, 1))
        }
        Error::Answer(what) => {
            let text = format!("identity provider returned an invalid response: {what}");
            ("UpstreamInvalidResponse", failed(StatusCode::INTERNAL_SERVER_ERROR, &text))
        }
        Error::Request(text) => ("Request", failed(StatusCode::INTERNAL_SERVER_ERROR, text)),
        Error::Challenged { .. } | Error::NotOurs(_) | Error::Identity(_) | Error::Session(_) => {
            ("Request", failed(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()))
        }
    };
    match error.retry_after() {
        Some(seconds) => (kind, answer::retry_after(answer, seconds)),
        None => (kind, answer),
    }
}
