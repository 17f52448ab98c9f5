//! Tokens from the engine: who is asked and how, and what its outcome is called on the wire.
use crate::answer::{self, Answer};
use crate::cut_offs::CutOffs;
use crate::decode::ProviderId;
use crate::provider::Provider;
use crate::settings::{AssertionAudience, Credential, ExchangeGrant, ProviderSettings, Settings, TokenGrant};
use crate::sidecar::Ports;
use crate::telemetry::trace::{Got, Trace};
use crate::telemetry::{Began, Path, Telemetry};
use crate::{Sidecar, target};
use client::managed_identity::{Identity, ManagedIdentity};
use client::{
    Answered, Ask, AssertionOfIdentity, Body, Client, Endpoints, Error, GrantProfile, Sending, Sessions, Token,
    TokenCache, Transport, Upstream,
};
use http::{HeaderMap, StatusCode};
use std::borrow::Cow;
use std::sync::Arc;

/// Whom a managed identity's word is for, in place of a secret.
const FEDERATED: &str = "api://AzureADTokenExchange";

/// A credential that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the credential for provider '{provider}' cannot be used: {problem}")]
pub struct CredentialFault {
    provider: String,
    problem: String,
}

/// What they share.
pub(crate) struct Shared<'a> {
    pub(crate) tokens: &'a Arc<TokenCache>,
    pub(crate) telemetry: &'a Arc<Telemetry>,
    pub(crate) cut_offs: &'a [Option<Arc<CutOffs>>],
    pub(crate) host: &'a ManagedIdentity,
    pub(crate) sessions: &'a Sessions,
}

/// What asks each provider for tokens; nothing for those that give none.
pub(crate) fn clients(
    settings: &Settings,
    ports: &Ports,
    Shared { tokens, telemetry, cut_offs, host, sessions }: Shared<'_>,
) -> Result<Vec<Option<Client>>, CredentialFault> {
    let upstream = upstream(settings);
    let client = |(place, provider): (usize, &ProviderSettings)| {
        let (Some(id), Some(credential), Some(profile)) =
            (&provider.client_id, &provider.credential, profile(provider))
        else {
            return Ok(None);
        };
        let mut builder = Client::builder(provider.endpoints(), id)
            .profile(profile)
            .upstream(upstream)
            .cache(Arc::clone(tokens))
            .long_running(sessions.clone());
        if let Some(url) = &provider.discovery {
            builder = builder.discover(url);
        }
        if let Some(cut_offs) = cut_offs.get(place).and_then(Clone::clone) {
            builder = builder.held_since(move |now| cut_offs.held_since(now));
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
            Credential::Identity(client_id) => builder.assertion(Arc::new(AssertionOfIdentity {
                host: host.clone(),
                identity: client_id.clone().map_or(Identity::Default, Identity::ClientId),
                audience: FEDERATED.to_owned(),
            })),
            Credential::Certificate { certificate, key } => {
                builder.certificate_files(key, certificate).map_err(|error| fault(error.to_string()))?
            }
        };
        let transport = Arc::new(Timed { network: Arc::clone(&ports.tokens), telemetry: Arc::clone(telemetry), place });
        Ok(Some(builder.build(transport, Arc::clone(&ports.clock), Arc::clone(&ports.random))))
    };
    settings.providers.iter().enumerate().map(client).collect()
}

/// How providers are talked to.
pub(crate) fn upstream(settings: &Settings) -> Upstream {
    Upstream {
        retries: settings.upstream.retries,
        connect: settings.upstream.connect,
        read: settings.upstream.read,
        total: settings.upstream.total,
        ..Upstream::default()
    }
}

impl ProviderSettings {
    /// What is stated of where it is.
    pub(crate) fn endpoints(&self) -> Endpoints {
        Endpoints {
            token: self.token_endpoint.clone().unwrap_or_default(),
            issuer: self.issuer.clone(),
            ..Endpoints::default()
        }
    }
}

/// How this provider wants to be asked; nothing for one that gives no tokens.
fn profile(provider: &ProviderSettings) -> Option<GrantProfile> {
    match (provider.grants.token, provider.grants.exchange) {
        _ if !provider.enabled => None,
        // Asked for the stream's token alone.
        (None, None) => provider.events.as_ref().map(|_| GrantProfile::ClientCredentials),
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
    fn send(&self, request: http::Request<Body>) -> Sending<'_> {
        Box::pin(async move {
            let began = Began::now();
            let answer = self.network.send(request).await;
            self.telemetry.asked(self.place, began);
            answer
        })
    }
}

/// Whose token is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    /// The application's own.
    Application,
    /// A user's, through the application.
    User,
}

/// Why nobody is asked for a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NotAsked {
    pub(crate) status: StatusCode,
    pub(crate) code: &'static str,
    pub(crate) text: String,
}

impl Sidecar {
    /// Whom to ask for a token, and for what; or why nobody is asked. Every API asks through this.
    pub(crate) fn ask_for<'a>(
        &self,
        path: Path,
        id: ProviderId,
        subject: Subject,
        target: &'a str,
    ) -> Result<(&Client, Cow<'a, str>), NotAsked> {
        self.telemetry().request(path, id.0);
        let refused = |kind: &'static str, text: String| {
            self.telemetry().error(path, id.0, kind);
            Err(NotAsked { status: StatusCode::BAD_REQUEST, code: "invalid_request", text })
        };
        let provider = self.providers().at(id);
        let name = provider.map_or("", Provider::name);
        let Some(provider) = provider.filter(|provider| provider.is_enabled()) else {
            return refused("UnsupportedIdentityProvider", format!("identity provider '{name}' is not enabled"));
        };
        let (does, what) = match subject {
            Subject::User => (provider.grants().exchange.is_some(), "token exchange"),
            Subject::Application => (provider.grants().token.is_some(), "token requests"),
        };
        let (Some(client), true) = (provider.client(), does) else {
            return refused("UnsupportedGrant", format!("identity provider '{name}' does not support {what}"));
        };
        let target = if provider.is_entra() { target::normalised(target) } else { Cow::Borrowed(target) };
        if let Err(text) = self.outbound().admit(&target) {
            self.telemetry().error(path, id.0, "OutboundPolicy");
            tracing::warn!(target.name = %target, provider.name = name, "the outbound policy does not allow a target");
            return Err(NotAsked { status: StatusCode::FORBIDDEN, code: "access_denied", text });
        }
        Ok((client, target))
    }

    /// Asks, and counts how it ended.
    pub(crate) async fn asked(
        &self,
        path: Path,
        id: ProviderId,
        client: &Client,
        ask: &Ask<'_>,
        headers: &HeaderMap,
    ) -> Result<Arc<Token>, Error> {
        self.answered(path, id, client, ask, headers).await.map(|answered| answered.token)
    }

    /// Every API asks through this.
    async fn answered(
        &self,
        path: Path,
        id: ProviderId,
        client: &Client,
        ask: &Ask<'_>,
        headers: &HeaderMap,
    ) -> Result<Answered, Error> {
        let asked = client.ask(&ask.in_trace(headers)).await;
        match &asked {
            Ok(answered) if answered.cached => {
                self.telemetry().hit(path, id.0);
                if let Some(provider) = self.providers().at(id) {
                    provider.gave(self.clock().now());
                }
            }
            Ok(_) => {}
            Err(error) => self.failed(path, id, error),
        }
        asked
    }

    /// A token of an identity that the host has.
    pub(crate) async fn of_the_host(
        &self,
        path: Path,
        id: ProviderId,
        client_id: &str,
        target: &str,
        fresh: bool,
    ) -> Result<Arc<Token>, Error> {
        // Hosts are asked for resources.
        let resource = target.strip_suffix("/.default").filter(|resource| !resource.contains(' '));
        let asked = async {
            let unfit =
                Error::Request("a managed identity is asked for one `{resource}/.default`; configure that scope");
            let (identity, resource) = (Identity::ClientId(client_id.to_owned()), resource.ok_or(unfit)?);
            let host = self.host();
            if fresh { host.acquire_anew(&identity, resource).await } else { host.acquire(&identity, resource).await }
        };
        let asked = asked.await;
        if let Err(error) = &asked {
            self.failed(path, id, error);
        }
        asked
    }

    /// Counts that no token was got.
    fn failed(&self, path: Path, id: ProviderId, error: &Error) {
        let kind = kind(error);
        self.telemetry().error(path, id.0, kind);
        let provider = self.providers().at(id).map_or("", Provider::name);
        tracing::warn!(provider.name = provider, error.kind = kind, error.status = error.status(), "no token was got");
    }

    /// Asks, and answers as Texas does.
    pub(crate) async fn acquired(
        &self,
        path: Path,
        id: ProviderId,
        client: &Client,
        ask: &Ask<'_>,
        headers: &HeaderMap,
        trace: Option<&mut Trace>,
    ) -> Answer {
        match self.answered(path, id, client, ask, headers).await {
            Ok(answered) => {
                let now = self.clock().now();
                let left = answered.token.seconds_left(now);
                if let Some(trace) = trace {
                    trace.got(Got {
                        cached: answered.cached,
                        left,
                        kept: self.tokens().seconds_kept(&answered.token, now),
                    });
                }
                answer::token(answered.token.access_token.expose(), left)
            }
            Err(error) => told(&error),
        }
    }
}

/// What an error of the engine is counted as.
const fn kind(error: &Error) -> &'static str {
    match error {
        Error::ClaimsChallenge { .. } | Error::Consent { .. } | Error::Refused { .. } => "UpstreamError",
        Error::Unreadable { .. } => "UpstreamInvalidError",
        Error::Unreachable(_) => "UpstreamUnreachable",
        Error::Answer(_) => "UpstreamInvalidResponse",
        Error::Request(_)
        | Error::NoCredential
        | Error::Challenged { .. }
        | Error::NotOurs(_)
        | Error::Identity(_)
        | Error::Session(_) => "Request",
    }
}

/// An error of the engine as Texas answers it.
fn told(error: &Error) -> Answer {
    let failed = |status: StatusCode, text: &str| answer::error(status, "server_error", text);
    let answer = match error {
        Error::ClaimsChallenge { status, body, .. }
        | Error::Consent { status, body, .. }
        | Error::Refused { status, body, .. } => answer::passed_on(*status, body),
        Error::Unreadable { status, .. } => {
            let status = StatusCode::from_u16(*status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            failed(status, "identity provider returned an invalid error response")
        }
        Error::Unreachable(error) => {
            let text = format!("Identity provider request failed: {}", error.cause);
            answer::retry_after(failed(StatusCode::INTERNAL_SERVER_ERROR, &text), 1)
        }
        Error::Answer(what) => {
            let text = format!("identity provider returned an invalid response: {what}");
            failed(StatusCode::INTERNAL_SERVER_ERROR, &text)
        }
        Error::Request(text) => failed(StatusCode::INTERNAL_SERVER_ERROR, text),
        Error::NoCredential | Error::Challenged { .. } | Error::NotOurs(_) | Error::Identity(_) | Error::Session(_) => {
            failed(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string())
        }
    };
    match error.retry_after() {
        Some(seconds) => answer::retry_after(answer, seconds),
        None => answer,
    }
}
