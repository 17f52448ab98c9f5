//! Managed identity, used: the host is asked for a token of what runs on it.
use super::{Identity, ManagedToken, SourceError, TokenSource};
use crate::cache::Sought;
use crate::{Body, Cause, Error, KeyFields, Pending, Scheme, Token, TokenCache, Transport};
use decision::{Clock, Timestamp};
use http::header::{ACCEPT, RETRY_AFTER};
use oauth::{ErrorBody, Form, Secret};
use serde::Deserialize;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

const CACHE_BYTES: u64 = 1024 * 1024;
/// A further try comes after so long, and each one after that after twice as long.
const PAUSE: Duration = Duration::from_millis(800);
/// So long a host is asked again that has no token yet: four times.
const PATIENCE: Duration = Duration::from_secs(12);
/// So long one that is being upgraded is away, by its contract.
const UPGRADE: Duration = Duration::from_secs(70);
/// Where every Azure machine has its metadata service.
const METADATA: &str = "http://169.254.169.254";

/// Where the host is asked.
#[derive(Clone, Debug)]
enum Host {
    Site { endpoint: String, header: Secret },
    Machine { base: String },
}

/// The identity of what runs here. Cheap to clone; clones share their tokens.
///
/// ```
/// # use client::managed_identity::*;
/// # struct Network;
/// # impl client::Transport for Network {
/// #     fn send(&self, request: http::Request<client::Body>) -> client::Sending<'_> {
/// #         assert_eq!(request.headers()["x-identity-header"], "known here only");
/// #         let body = br#"{"token_type":"Bearer","expires_on":"1700003600","access_token":"for-billing"}"#.to_vec();
/// #         Box::pin(async { http::Response::builder().body(body).map_err(|_| client::Cause::Broken.into()) })
/// #     }
/// # }
/// # struct Noon;
/// # impl decision::Clock for Noon { fn now(&self) -> decision::Timestamp { decision::Timestamp(1_700_000_000) } }
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// # let (transport, clock) = (std::sync::Arc::new(Network), std::sync::Arc::new(Noon));
/// let variable = |name: &str| match name {
///     "IDENTITY_ENDPOINT" => Some("http://127.0.0.1:4000/msi/token".to_owned()),
///     "IDENTITY_HEADER" => Some("known here only".to_owned()),
///     _ => None,
/// };
/// let me = ManagedIdentity::of_this_host(variable, transport, clock);
/// let token = me.acquire(&Identity::Default, "api://billing").await?;
/// assert_eq!(token.access_token.expose(), "for-billing");
/// # Ok::<(), client::Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone)]
pub struct ManagedIdentity {
    host: Host,
    cache: Arc<TokenCache>,
    transport: Arc<dyn Transport>,
    clock: Arc<dyn Clock>,
}

impl ManagedIdentity {
    /// As the environment says: a site where `IDENTITY_ENDPOINT` and `IDENTITY_HEADER` are set; else a machine, at
    /// `AZURE_POD_IDENTITY_AUTHORITY_HOST` or at Azure's own address.
    pub fn of_this_host(
        variable: impl Fn(&str) -> Option<String>,
        transport: Arc<dyn Transport>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        if let (Some(endpoint), Some(header)) = (variable("IDENTITY_ENDPOINT"), variable("IDENTITY_HEADER")) {
            return Self::site(endpoint, Secret::new(header), transport, clock);
        }
        let base = variable("AZURE_POD_IDENTITY_AUTHORITY_HOST").unwrap_or_else(|| METADATA.to_owned());
        Self::machine(base, transport, clock)
    }

    /// Asks as App Service's contract says.
    pub fn site(
        endpoint: impl Into<String>,
        header: Secret,
        transport: Arc<dyn Transport>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self::at(Host::Site { endpoint: endpoint.into(), header }, transport, clock)
    }

    /// Asks the instance metadata service below this address.
    pub fn machine(base: impl Into<String>, transport: Arc<dyn Transport>, clock: Arc<dyn Clock>) -> Self {
        Self::at(Host::Machine { base: base.into() }, transport, clock)
    }

    fn at(host: Host, transport: Arc<dyn Transport>, clock: Arc<dyn Clock>) -> Self {
        Self { host, cache: TokenCache::new(CACHE_BYTES), transport, clock }
    }

    /// A token of this identity for this resource: an application ID URI, without `/.default`.
    ///
    /// A host that just started has no identity for a moment, and one that is upgraded none for a minute: it is asked again, by
    /// the rules of its contract, for up to 12 seconds, or for 70 while it answers 410. A machine where nobody listens at all is
    /// no Azure machine, and is not asked again.
    pub async fn acquire(&self, identity: &Identity, resource: &str) -> Result<Arc<Token>, Error> {
        self.answered(identity, resource, false).await
    }

    /// The same, but one that is held is discarded, and the host is asked.
    pub async fn acquire_anew(&self, identity: &Identity, resource: &str) -> Result<Arc<Token>, Error> {
        self.answered(identity, resource, true).await
    }

    async fn answered(&self, identity: &Identity, resource: &str, fresh: bool) -> Result<Arc<Token>, Error> {
        let now = self.clock.now();
        let (how, whose) = match identity {
            Identity::Default => (None, ""),
            Identity::ClientId(id) => (Some("client_id"), id.as_str()),
            Identity::ObjectId(id) => (Some("object_id"), id.as_str()),
            Identity::ResourceId(id) => (Some(self.host.resource_id()), id.as_str()),
        };
        let issuer = match &self.host {
            Host::Site { endpoint, .. } => endpoint,
            Host::Machine { base } => base,
        };
        let key = KeyFields {
            issuer,
            client: whose,
            credential: how.unwrap_or_default(),
            grant: "managed_identity",
            target: Some(resource),
            ..KeyFields::default()
        };
        let form = Form::default().with("api-version", self.host.version()).with("resource", resource);
        let form = how.map_or_else(|| form.clone(), |how| form.clone().with(how, whose));
        let sought = Sought { key: key.key(), owner: 0, subject: None, fresh, since: None, now };
        let acquire = || {
            let (host, transport, clock) = (self.host.clone(), Arc::clone(&self.transport), Arc::clone(&self.clock));
            async move { asked(&host, &*transport, &form, &*clock).await }
        };
        Ok(self.cache.get_or_acquire(sought, acquire).await?.token)
    }
}

impl Host {
    const fn version(&self) -> &'static str {
        match self {
            Self::Site { .. } => "2019-08-01",
            Self::Machine { .. } => "2018-02-01",
        }
    }

    /// Whether asking again may help.
    fn may_have_one_soon(&self, error: &Error) -> bool {
        match error {
            Error::Unreadable { .. } => true,
            Error::Unreachable(error) => match error.cause {
                Cause::Timeout | Cause::Broken => true,
                // A site's environment says that there is one.
                Cause::Connect => matches!(self, Self::Site { .. }),
                _ => false,
            },
            _ => false,
        }
    }

    const fn resource_id(&self) -> &'static str {
        match self {
            Self::Site { .. } => "mi_res_id",
            Self::Machine { .. } => "msi_res_id",
        }
    }
}

/// Asks until there is a token, or no hope of one.
async fn asked(host: &Host, transport: &dyn Transport, form: &Form, clock: &dyn Clock) -> Result<Token, Error> {
    let (began, mut pause) = (Instant::now(), PAUSE);
    loop {
        let error = match ask(host, transport, form, clock.now()).await {
            Err(error) if host.may_have_one_soon(&error) => error,
            answer => return answer,
        };
        let patience = if error.status() == Some(410) { UPGRADE } else { PATIENCE };
        let left = patience.saturating_sub(began.elapsed());
        let wished = error.retry_after().map(Duration::from_secs);
        if left.is_zero() || wished.is_some_and(|wished| wished > left) {
            return Err(error);
        }
        sleep(pause.max(wished.unwrap_or_default()).min(left)).await;
        pause *= 2;
    }
}

async fn ask(host: &Host, transport: &dyn Transport, form: &Form, now: Timestamp) -> Result<Token, Error> {
    let request = match host {
        Host::Site { endpoint, header } => {
            http::Request::get(format!("{endpoint}?{}", form.encode())).header("x-identity-header", header.expose())
        }
        Host::Machine { base } => {
            let base = base.trim_end_matches('/');
            http::Request::get(format!("{base}/metadata/identity/oauth2/token?{}", form.encode()))
                .header("metadata", "true")
        }
    };
    let unusable = |_| Error::Request("the host's address for identities is not a URL; correct the environment");
    let reply =
        transport.send(request.header(ACCEPT, "application/json").body(Body::default()).map_err(unusable)?).await?;
    let status = reply.status();
    if status == http::StatusCode::OK {
        return Token::read(reply.body(), now, Scheme::Bearer);
    }
    if status.is_server_error() || matches!(status.as_u16(), 404 | 410 | 429) {
        // The contract's words for "not yet": a machine that just started has no identity for a while.
        let wished = reply.headers().get(RETRY_AFTER).and_then(|wished| wished.to_str().ok()?.trim().parse().ok());
        return Err(Error::Unreadable { status: status.as_u16(), retry_after: wished });
    }
    let refusal: Refusal = serde_json::from_slice(reply.body())
        .map_err(|_| Error::Answer("the host's refusal is in no form that its contract knows"))?;
    let body = ErrorBody {
        error: refusal.error.unwrap_or_else(|| "invalid_request".to_owned()),
        error_description: refusal.error_description.or(refusal.message).unwrap_or_default(),
        ..ErrorBody::default()
    };
    Err(Error::Refused { status: status.as_u16(), retry_after: None, body: Box::new(body) })
}

/// A machine says why in OAuth's words, a site in its own.
#[derive(Deserialize)]
struct Refusal {
    error: Option<String>,
    error_description: Option<String>,
    message: Option<String>,
}

/// A host's identity can be passed on: to a container that must not reach the host itself.
impl TokenSource for ManagedIdentity {
    fn token<'a>(
        &'a self,
        identity: &'a Identity,
        resource: &'a str,
    ) -> Pending<'a, Result<ManagedToken, SourceError>> {
        Box::pin(async move {
            let not_before = self.clock.now();
            let token = self.acquire(identity, resource).await?;
            let client_id = match identity {
                Identity::ClientId(id) => id.clone(),
                _ => String::new(),
            };
            let (access_token, expires_at) = (token.access_token.clone(), token.expires_at);
            Ok(ManagedToken { access_token, not_before, expires_at, client_id })
        })
    }
}

impl std::fmt::Debug for ManagedIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ManagedIdentity").field("host", &self.host).finish_non_exhaustive()
    }
}
