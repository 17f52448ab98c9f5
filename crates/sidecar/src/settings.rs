//! What a sidecar is told: by the environment that a platform gives it, and by a file for what the environment has no word for.
mod environment;
mod facades;
mod file;
mod host;
mod sections;
mod sessions;
mod shown;

pub use facades::{EntraRoute, EntraSettings, IdentitySettings, Inbound, NativeSettings};
pub use file::File;
pub use host::HostSettings;
pub use sessions::SessionSettings;

/// How a variable is looked up.
type Variables<'a> = &'a dyn Fn(&str) -> Option<String>;

use crate::apis::Apis;
use crate::outbound::Outbound;
use ::telemetry::Push;
use oauth::Secret;
use serve::{Mutual, Tls};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Everything that a sidecar is told.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the API listens (`BIND_ADDRESS`).
    pub bind: Bind,
    /// Where probes are answered (`PROBE_BIND_ADDRESS`); unset, nowhere.
    pub probe: Option<SocketAddr>,
    /// Where metrics are read (`METRICS_BIND_ADDRESS`); unset, nowhere.
    pub metrics: Option<SocketAddr>,
    /// Where an operator flushes the cache (`ADMIN_BIND_ADDRESS`); unset, nowhere.
    pub admin: Option<Bind>,
    /// What all of it is: labels of metrics (`OTEL_RESOURCE_ATTRIBUTES`).
    pub resource: Vec<(String, String)>,
    /// Where metrics and traces are pushed to; unset, nowhere.
    pub push: Option<Push>,
    /// Who may call.
    pub callers: Callers,
    /// For what tokens may be asked.
    pub outbound: Outbound,
    /// The web proxy to providers (`HTTPS_PROXY`, `NO_PROXY`).
    pub proxy: Option<fetch::Proxy>,
    /// Certificate authorities beside the platform's, in PEM (`SSL_CERT_FILE`).
    pub authorities: Option<PathBuf>,
    /// How providers are talked to.
    pub upstream: Upstream,
    /// Seconds after which a provider's keys are fetched anew (`DEPUTIZE_KEY_SET_SECONDS`); by default 50, so that a withdrawn
    /// key is refused within a minute.
    pub key_seconds: Option<i64>,
    /// Whether users' tokens are judged here before they are sent to a provider (`DEPUTIZE_CHECK_USER_TOKENS`).
    pub user_tokens_checked: bool,
    /// Whether introspection tells, beside its texts, which check failed and under which id the log has it
    /// (`DEPUTIZE_EXPLANATIONS`).
    pub explanations: bool,
    /// How many bytes of tokens are kept.
    pub cache_bytes: u64,
    /// What holds while no word of cut-offs arrives, of providers that tell of them.
    pub cut_offs: CutOffSettings,
    /// Users' work that outlives its request.
    pub sessions: SessionSettings,
    /// The host that this runs on.
    pub host: HostSettings,
    /// The providers, those of platforms first.
    pub providers: Vec<ProviderSettings>,
    /// The API of Microsoft's sidecar, if it is served.
    pub entra: Option<EntraSettings>,
    /// Our own API, if it is served.
    pub native: Option<NativeSettings>,
    /// Managed identity, if it is served.
    pub identity: Option<IdentitySettings>,
    /// What is asked of users' tokens that come in.
    pub inbound: Inbound,
    /// The APIs that are called for the application.
    pub apis: Apis,
}

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bind {
    /// An address and a port.
    Tcp(SocketAddr),
    /// A Unix socket; written `unix:/run/deputize.sock`.
    Unix(PathBuf),
}

impl Bind {
    /// Where Texas listens, if nothing else is said.
    pub const DEFAULT: Self = Self::Tcp(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 3000));

    /// From `127.0.0.1:3000`, `localhost:3000` or `unix:/path`.
    pub fn parse(text: &str) -> Option<Self> {
        match text.strip_prefix("unix:") {
            Some(path) => (path.starts_with('/')).then(|| Self::Unix(path.into())),
            None => address(text).map(Self::Tcp),
        }
    }

    /// Whether only programs on this machine (or in this pod) reach it.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().to_canonical().is_loopback(),
            Self::Unix(_) => true,
        }
    }
}

impl fmt::Display for Bind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

fn address(text: &str) -> Option<SocketAddr> {
    match text.strip_prefix("localhost:") {
        Some(port) => port.parse().ok().map(|port| (Ipv4Addr::LOCALHOST, port).into()),
        None => text.parse().ok(),
    }
}

/// Who may call: programs that reach the listener, with what is demanded beside.
#[derive(Clone, Debug, Default)]
pub struct Callers {
    /// What every call must carry in `Authorization: Bearer`.
    pub bearer: Option<Secret>,
    /// The users whose programs may call over a Unix socket; empty for all that can open it.
    pub uids: Vec<u32>,
    /// Names beside those of this machine by which the sidecar may be called (in `Host`).
    pub hosts: Vec<String>,
    /// What listeners that others reach show, and whose certificates they demand.
    pub tls: Option<Arc<Mutual>>,
}

impl Callers {
    /// How a listener at this address is spoken to: on this machine always without TLS.
    pub fn mutual(&self, bind: &Bind) -> Option<Tls> {
        self.tls.as_ref().filter(|_| !bind.is_local()).map(|mutual| Tls::Mutual(Arc::clone(mutual)))
    }

    /// Whether something keeps strangers out at this address.
    pub(crate) fn hold(&self, bind: &Bind) -> Result<(), SettingsError> {
        if bind.is_local() || self.bearer.is_some() || self.tls.is_some() {
            return Ok(());
        }
        Err(SettingsError::Exposed(bind.to_string()))
    }
}

/// How providers are talked to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// Further tries (`TEXAS_HTTP_MAX_RETRIES`).
    pub retries: u32,
    /// To connect (`TEXAS_HTTP_CONNECT_TIMEOUT_MILLIS`).
    pub connect: Duration,
    /// Between two pieces of an answer (`TEXAS_HTTP_READ_TIMEOUT_MILLIS`).
    pub read: Duration,
    /// For a request, with all its tries (`TEXAS_HTTP_OVERALL_TIMEOUT_MILLIS`).
    pub total: Duration,
    /// Idle connections that are kept for each provider (`TEXAS_HTTP_POOL_MAX_IDLE`).
    pub idle: usize,
}

impl Default for Upstream {
    fn default() -> Self {
        Self {
            retries: 1,
            connect: Duration::from_secs(2),
            read: Duration::from_secs(3),
            total: Duration::from_secs(5),
            idle: 100,
        }
    }
}

/// A provider, as data.
#[derive(Clone, Debug)]
pub struct ProviderSettings {
    /// Its name in requests.
    pub name: String,
    /// Whether it serves; those of platforms have their names also where they do not.
    pub enabled: bool,
    /// What tokens it gives.
    pub grants: Grants,
    /// Its issuer, where it is stated. It wins over what the metadata says.
    pub issuer: Option<String>,
    /// The tenants whose tokens count, where the issuer has `{tenantid}` in it.
    pub tenants: Vec<String>,
    /// Its metadata document.
    pub discovery: Option<String>,
    /// Its token endpoint, where it is stated.
    pub token_endpoint: Option<String>,
    /// Its key set, where it is stated.
    pub jwks_uri: Option<String>,
    /// This application there.
    pub client_id: Option<String>,
    /// How this application proves who it is.
    pub credential: Option<Credential>,
    /// What `aud` of the application's own assertions is.
    pub assertion_audience: AssertionAudience,
    /// What `aud` of introspected tokens must have; `None` where that is not asked.
    pub audience: Option<String>,
    /// Where it tells of cut-offs, if it does.
    pub events: Option<EventStream>,
}

/// Where a provider tells of cut-offs, as our authority does (`GET /{tenant}/events`). The application has its app role
/// `Events.Read` there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventStream {
    /// At its issuer.
    Issuer,
    /// Elsewhere.
    Url(String),
}

/// What holds while no word of cut-offs arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CutOffSettings {
    /// Held tokens count for so many seconds after the last word; then only those that are no older than that.
    pub fail_static: i64,
    /// Whether introspection then says that no token is active. Of tokens that live longer than 90 minutes it does anyway.
    pub closed: bool,
}

impl Default for CutOffSettings {
    fn default() -> Self {
        Self { fail_static: 60, closed: false }
    }
}

impl ProviderSettings {
    /// Its issuer: what is stated, or what its metadata's address says it must be (OpenID Connect Discovery section 4.3).
    pub(crate) fn known_issuer(&self) -> Option<String> {
        let announced = || self.discovery.as_deref()?.strip_suffix("/.well-known/openid-configuration");
        self.issuer.as_deref().or_else(announced).map(str::to_owned)
    }
}

/// What tokens a provider gives, and by which grant (`None`: not that kind).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Grants {
    /// For the application itself.
    pub token: Option<TokenGrant>,
    /// For the application on behalf of a user.
    pub exchange: Option<ExchangeGrant>,
}

/// How an application gets a token for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TokenGrant {
    /// RFC 6749 section 4.4.
    ClientCredentials,
    /// RFC 7523 section 2.1, as Maskinporten has it: what is asked for stands in the assertion.
    JwtBearer,
}

/// How an application gets a token on behalf of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExchangeGrant {
    /// Entra's On-Behalf-Of.
    OnBehalfOf,
    /// RFC 8693.
    TokenExchange,
}

/// What `aud` of an application's assertions is (RFC 7523 section 3, item 3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AssertionAudience {
    /// The issuer.
    #[default]
    Issuer,
    /// The token endpoint.
    TokenEndpoint,
}

/// How an application proves who it is.
#[derive(Clone)]
pub enum Credential {
    /// A private key that signs assertions (RFC 7523).
    Key(Arc<jose::SigningKey>),
    /// The same as a JWK in a file, which is read again when it changes.
    KeyFile(PathBuf),
    /// A secret.
    Secret(Secret),
    /// The same in a file, which is read again when it changes.
    SecretFile(PathBuf),
    /// A certificate with its private key, each a file in PEM, or both one; read again when they change.
    Certificate {
        /// The certificate.
        certificate: PathBuf,
        /// Its private key.
        key: PathBuf,
    },
    /// A token that the platform keeps current in a file (workload identity federation).
    Federated(PathBuf),
    /// A managed identity of the host, by its client id, or the one that the host has unasked.
    Identity(Option<String>),
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(key) => key.fmt(f),
            Self::KeyFile(path) => write!(f, "KeyFile({})", path.display()),
            Self::Secret(_) => f.write_str("Secret(…)"),
            Self::SecretFile(path) => write!(f, "SecretFile({})", path.display()),
            Self::Certificate { certificate, .. } => write!(f, "Certificate({})", certificate.display()),
            Self::Federated(path) => write!(f, "Federated({})", path.display()),
            Self::Identity(client_id) => f.debug_tuple("Identity").field(client_id).finish(),
        }
    }
}

/// Why a sidecar does not start. Texts are those that platforms' documentation quotes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// A variable that has to be there.
    #[error("missing required environment variable '{0}'")]
    Missing(String),
    /// A switch that is neither on nor off.
    #[error("parse boolean option '{0}': provided string was not `true` or `false`")]
    Boolean(String),
    /// A provider without addresses.
    #[error("missing configuration for provider '{provider}': set {one} or {other}")]
    Provider {
        /// Its name.
        provider: String,
        /// What to set.
        one: String,
        /// Or what.
        other: String,
    },
    /// A variable that cannot be what it is.
    #[error("environment variable '{name}': {problem}")]
    Variable {
        /// Which.
        name: String,
        /// What is wrong, and what to change.
        problem: String,
    },
    /// One of OpenTelemetry's.
    #[error(transparent)]
    Telemetry(#[from] ::telemetry::VariableError),
    /// A place of the configuration file.
    #[error("{problem}; {hint}")]
    File {
        /// Where, in octets.
        at: Range<usize>,
        /// What is wrong.
        problem: String,
        /// What to change.
        hint: String,
    },
    /// An address that others reach, and nothing that keeps them out.
    #[error(
        "`{0}` is reached by others than this machine's programs, and anybody could get tokens there; listen on loopback \
         or a Unix socket, or set what callers must show: DEPUTIZE_CALLER_TOKEN, or `callers.token` or `callers.tls` in the configuration file"
    )]
    Exposed(String),
}

impl Settings {
    /// Reads the environment, by its names, and the file, if there is one; the environment wins where both say something.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn read(variable: &dyn Fn(&str) -> Option<String>, file: Option<File>) -> Result<Self, SettingsError> {
        let mut settings = environment::read(variable)?;
        file.unwrap_or_default().add_to(&mut settings, variable)?;
        environment::events(variable, &mut settings.providers)?;
        settings.callers.hold(&settings.bind)?;
        Ok(settings)
    }
}
