//! The file as it is written.
use super::Spanned;
use super::doors::ListenerTable;
use super::management::ManagementTable;
use super::outbound::OutboundTable;
use super::shared_limits::SharedLimitsTable;
use super::vaults::{FederatedIdentity, VaultTable};
use crate::store::State;
use crate::upstream::Http;
use crate::{onward, policy, sign_in, stream};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;

/// The configuration file.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Where to listen; by default `localhost:8443`, or where each `[[listener]]` says.
    pub listen: Option<Spanned<String>>,
    /// More listeners, each with rules of its own about who may connect. SIGHUP reads these again; another listener takes a restart.
    #[serde(default)]
    pub listener: Vec<Spanned<ListenerTable>>,
    /// Certificates of the listeners; the first is for clients that name no host, or another. Without any, only this machine is
    /// listened to.
    #[serde(default)]
    pub certificate: Vec<Spanned<CertificateTable>>,
    /// Whether callers are asked for certificates in the handshake, for `validate_client_certificate` and tokens that are bound to
    /// them; by default they are not.
    pub client_certificates: Option<ClientCertificates>,
    /// How many connections one address may have at once, `trusted_proxies` excepted; by default 512 of the 4096 that there are. Of
    /// IPv6, an address is a /64.
    pub connections_per_address: Option<Spanned<usize>>,
    /// What is logged; by default `info`.
    pub log: Option<String>,
    /// Whether each request is logged, on standard output; by default it is.
    pub access_log: Option<bool>,
    /// Where `/metrics`, `/healthz` and `/readyz` are answered, over plain HTTP, such as `localhost:9464`; by default nowhere.
    pub status: Option<Spanned<String>>,
    /// The path of a Unix socket over which a gateway that starts takes the sockets of the one that runs, which then leaves: a restart
    /// that no caller notices. By default none.
    pub handover: Option<Spanned<PathBuf>>,
    /// The path of a Unix socket for `deputize gateway trace`, which only the user who runs the gateway can use; by default none.
    pub control: Option<Spanned<PathBuf>>,
    /// Where proxies that forward by themselves ask for decisions, over plain HTTP on loopback, such as `localhost:9191`: Envoy by
    /// external authorization (gRPC), Traefik and Caddy at `/forward-auth`, nginx at `/auth-request`; by default nowhere.
    pub authorizer: Option<Spanned<String>>,
    /// Where Envoys ask whose external authorization is set to HTTP (`http_service`), as the guide has it, over plain HTTP on loopback,
    /// such as `localhost:9192`; by default nowhere.
    pub envoy_authorizer: Option<Spanned<String>>,
    /// Where products, subscriptions and keys are managed while the gateway runs; by default nowhere.
    pub management: Option<Spanned<ManagementTable>>,
    /// A file with certificate authorities that issuers, authorities and services are trusted by, beside those of the system.
    pub trusted_certificates: Option<Spanned<PathBuf>>,
    /// Proxies whose word about the caller's address counts; by default none.
    #[serde(default)]
    pub(crate) trusted_proxies: Vec<Spanned<String>>,
    /// Who issues the tokens that callers show.
    #[serde(default)]
    pub(crate) issuer: Vec<Spanned<IssuerTable>>,
    /// Where secrets and certificates are kept, for `vault` in their places.
    #[serde(default)]
    pub(crate) vault: Vec<Spanned<VaultTable>>,
    /// Who issues the tokens that services are sent.
    #[serde(default)]
    pub(crate) authority: Vec<Spanned<AuthorityTable>>,
    /// Sign-in for browsers; by default there is none.
    pub(crate) sign_in: Option<Spanned<sign_in::Table>>,
    /// Where gateways count together, for limits that say so; by default nowhere.
    pub(crate) shared_limits: Option<Spanned<SharedLimitsTable>>,
    /// Where the policy `send_request` may send requests; by default nowhere.
    pub(crate) send_request: Option<Spanned<OutboundTable>>,
    /// The services behind the gateway.
    #[serde(default)]
    pub(crate) upstream: Vec<Spanned<UpstreamTable>>,
    /// What applies to every API.
    #[serde(default)]
    pub(crate) policies: policy::Tables,
    /// The APIs.
    #[serde(default)]
    pub(crate) api: Vec<Spanned<ApiTable>>,
    /// APIs under one name, to subscribe to.
    #[serde(default)]
    pub(crate) product: Vec<Spanned<ProductTable>>,
    /// Subscriptions, and their keys.
    #[serde(default)]
    pub(crate) subscription: Vec<Spanned<SubscriptionTable>>,
}

/// Whether callers show certificates. Which ones may call, policies say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum ClientCertificates {
    /// Who shows none is served where no policy demands one.
    Optional,
    /// Who shows none does not get as far as a request.
    Required,
}

/// A chain and its key.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "certificate")]
pub struct CertificateTable {
    /// The chain in PEM, the server's certificate first: a file, or where else it is.
    pub certificate: Pem,
    /// Its private key in PEM; by default it stands beside the chain.
    pub key: Option<Pem>,
}

/// Something in PEM.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(
    untagged,
    expecting = "a path, or `{ env = \"NAME\" }`, `{ command = [\"PROGRAM\"] }` or `{ vault = \"NAME\", secret = \"NAME\" }`"
)]
#[schemars(inline)]
pub enum Pem {
    /// In a file.
    Path(PathBuf),
    /// Elsewhere.
    Elsewhere(Source),
}

impl<P: Into<PathBuf>> From<P> for Pem {
    fn from(path: P) -> Self {
        Self::Path(path.into())
    }
}

/// Where it is, for people.
impl fmt::Display for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) | Self::Elsewhere(Source::File { file: path }) => write!(f, "`{}`", path.display()),
            Self::Elsewhere(Source::Env { env }) => write!(f, "the variable `{env}`"),
            Self::Elsewhere(Source::Command { command, .. }) => {
                write!(f, "the command `{}`", command.first().map_or("", String::as_str))
            }
            Self::Elsewhere(Source::Vault { vault, secret, .. }) => write!(f, "`{secret}` in the vault `{vault}`"),
        }
    }
}

/// Where a secret is.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(
    untagged,
    deny_unknown_fields,
    expecting = "`{ env = \"NAME\" }`, `{ file = \"PATH\" }`, `{ command = [\"PROGRAM\"] }` or `{ vault = \"NAME\", secret = \"NAME\" }`"
)]
#[schemars(inline)]
pub enum Source {
    /// In a variable.
    Env {
        /// Its name.
        env: String,
    },
    /// In a file, which is looked at every second.
    File {
        /// Its path.
        file: PathBuf,
    },
    /// In what a command prints.
    Command {
        /// The program and its arguments. No shell reads them.
        command: Vec<String>,
        /// Its name in the JSON object that the command prints; by default all that it prints is the secret. The object may say by
        /// `expires_on`, in seconds since 1970, when it ends.
        field: Option<String>,
        /// Seconds until it is run again; by default 300.
        every_seconds: Option<u64>,
        /// Seconds that it may take; by default 10.
        timeout_seconds: Option<u64>,
    },
    /// In a vault.
    Vault {
        /// The vault, by the name that the file gives it.
        vault: String,
        /// The name of the secret, or the path to it.
        secret: String,
        /// Its name among the secret's fields; by default `value`.
        field: Option<String>,
        /// The version; by default the newest there is.
        version: Option<String>,
    },
}

/// An issuer of the tokens that callers show.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "issuer")]
pub(crate) struct IssuerTable {
    /// Its name in this file.
    pub(crate) name: Spanned<String>,
    /// `iss`, byte by byte; `{tenantid}` stands for the token's `tid`.
    pub(crate) issuer: String,
    /// Its metadata document; by default below `issuer`.
    pub(crate) metadata: Option<String>,
    /// Its key set, where there is no metadata document.
    pub(crate) jwks_uri: Option<String>,
    /// A file with its key set: then nothing is ever fetched.
    pub(crate) jwks: Option<Spanned<PathBuf>>,
    /// Whether its metadata may name a key set on another host.
    #[serde(default)]
    pub(crate) foreign_keys_host: bool,
    /// The accepted values of `tid`, or `"any"`.
    #[schemars(with = "Option<super::schema::Tenants>")]
    pub(crate) tenants: Option<decision::contract::Tenants>,
    /// The shape of its tokens: Entra ID's, RFC 9068's (`native`), or that of other providers (`jwt`: `iss`, `sub`, `aud` and `exp`, and
    /// whatever else). Nothing in the last says that they are access tokens: name no audience that is the id of an application.
    #[serde(default)]
    #[schemars(with = "super::schema::Profile")]
    pub(crate) profile: decision::contract::Profile,
    /// The algorithm of keys that state none.
    pub(crate) algorithm: Option<String>,
}

/// Who issues tokens to the gateway.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "authority")]
pub(crate) struct AuthorityTable {
    /// Its name in this file.
    pub(crate) name: Spanned<String>,
    /// Its metadata document.
    pub(crate) metadata: Option<String>,
    /// Its token endpoint; what the metadata says if it is not stated.
    pub(crate) token_endpoint: Option<String>,
    /// Its introspection endpoint, for `introspect`; what the metadata says if it is not stated.
    pub(crate) introspection_endpoint: Option<String>,
    /// Where it tells of cut-offs, for `cut_offs`; by default `/events` below the tenant's address.
    pub(crate) events_endpoint: Option<String>,
    /// Its issuer, which assertions of the gateway are for; what the metadata says if it is not stated.
    pub(crate) issuer: Option<String>,
    /// The gateway there.
    pub(crate) client_id: String,
    /// A secret.
    pub(crate) secret: Option<Spanned<Source>>,
    /// A certificate and its private key.
    pub(crate) certificate: Option<CertificateTable>,
    /// A private JWK: a file, or where else it is.
    pub(crate) key: Option<Pem>,
    /// A file that the platform keeps a token in.
    pub(crate) federated_token_file: Option<PathBuf>,
    /// The host's managed identity, which the application trusts (workload identity federation).
    pub(crate) managed_identity: Option<FederatedIdentity>,
    /// How it exchanges a user's token for another.
    #[serde(default)]
    pub(crate) exchange: Exchange,
    /// What a `token-exchange` says that a user's token is (RFC 8693 section 3); by default `jwt`. A token that is no JWT is an
    /// `access_token` in any case. Keycloak takes nothing else.
    pub(crate) subject_token_type: Option<Spanned<SubjectTokenType>>,
}

/// How a user's token is exchanged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub(crate) enum Exchange {
    /// Entra's On-Behalf-Of.
    #[default]
    OnBehalfOf,
    /// RFC 8693.
    TokenExchange,
}

/// What a user's token is said to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub(crate) enum SubjectTokenType {
    /// `urn:ietf:params:oauth:token-type:jwt`.
    Jwt,
    /// `urn:ietf:params:oauth:token-type:access_token`.
    AccessToken,
}

/// A service behind the gateway.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "upstream")]
pub(crate) struct UpstreamTable {
    /// Its name in this file.
    pub(crate) name: Spanned<String>,
    /// Its address, with the path that all of its paths begin with.
    pub(crate) url: Spanned<String>,
    /// Where it is reached, such as `10.0.0.7:8443`, by default where `url` says. Of several, the one with the fewest requests under
    /// way is asked; all of them show a certificate for the host of `url`.
    #[serde(default)]
    pub(crate) addresses: Vec<Spanned<String>>,
    /// The version of HTTP that it is asked in.
    #[serde(default)]
    pub(crate) http: Http,
    /// Whether it is asked by the name that the caller used.
    #[serde(default)]
    pub(crate) preserve_host: bool,
    /// Seconds to connect.
    #[serde(default = "two")]
    pub(crate) connect_seconds: u64,
    /// Seconds until its answer begins.
    #[serde(default = "thirty")]
    pub(crate) answer_seconds: u64,
    /// Seconds that it may be silent in an answer.
    #[serde(default = "sixty")]
    pub(crate) silence_seconds: u64,
    /// Requests at once.
    #[serde(default = "thousand")]
    pub(crate) max_requests: usize,
    /// When an address that fails is not asked for a while.
    #[serde(default)]
    pub(crate) circuit: CircuitTable,
    /// How its addresses are probed; by default they are not.
    pub(crate) probe: Option<ProbeTable>,
}

/// When an address that fails is not asked for a while. A failure is a connection that cannot be made, one that breaks off, or an
/// answer that takes too long; for the latter two an address is asked all the same where there is no other, since one caller's requests
/// could bring them about.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "circuit")]
pub(crate) struct CircuitTable {
    /// So many failures in a row open it; 0 is never.
    pub(crate) failures: u32,
    /// Seconds that it stays open, before one request tries the address.
    pub(crate) trip_seconds: u64,
    /// Statuses of answers that count as failures too, such as 503.
    pub(crate) statuses: Vec<Spanned<u16>>,
}

impl Default for CircuitTable {
    fn default() -> Self {
        Self { failures: 5, trip_seconds: 5, statuses: Vec::new() }
    }
}

/// How the addresses of a service are probed, with or without requests. One that is down is not asked.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "probe")]
pub(crate) struct ProbeTable {
    /// What is asked, such as `/health`.
    pub(crate) path: Spanned<String>,
    /// Seconds between two probes.
    #[serde(default = "ten")]
    pub(crate) interval_seconds: u64,
    /// Seconds that an answer may take.
    #[serde(default = "two")]
    pub(crate) timeout_seconds: u64,
    /// The status of a good answer; by default any from 200 to 299.
    pub(crate) status: Option<Spanned<u16>>,
    /// So many good answers in a row, and an address that was down is up.
    #[serde(default = "two_answers")]
    pub(crate) healthy: u32,
    /// So many bad ones in a row, and one that was up is down.
    #[serde(default = "three_answers")]
    pub(crate) unhealthy: u32,
}

const fn ten() -> u64 {
    10
}

const fn two_answers() -> u32 {
    2
}

const fn three_answers() -> u32 {
    3
}

const fn two() -> u64 {
    2
}

const fn thirty() -> u64 {
    30
}

const fn sixty() -> u64 {
    60
}

const fn thousand() -> usize {
    1_000
}

/// An API.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "api")]
pub(crate) struct ApiTable {
    /// Its name in this file.
    pub(crate) name: Spanned<String>,
    /// The host that it is for; by default any.
    pub(crate) host: Option<Spanned<String>>,
    /// The path that all of its paths begin with. The service is sent what follows it.
    pub(crate) path: Spanned<String>,
    /// The service behind it, by its name.
    pub(crate) upstream: Spanned<String>,
    /// Says that anybody may call it.
    #[serde(default)]
    pub(crate) public: bool,
    /// Fields such as `X-User` that callers may send, though they look like an identity. Of a listener's `client_certificate_header`,
    /// what a trusted proxy told there goes on, and nothing else.
    #[serde(default)]
    pub(crate) forward_identity_headers: Vec<Spanned<String>>,
    /// What callers can find out about it (RFC 9728); by default nothing.
    pub(crate) protected_resource: Option<Spanned<ProtectedResourceTable>>,
    /// What applies to it.
    #[serde(default)]
    pub(crate) policies: policy::Tables,
    /// The credential that the service is sent; by default none.
    pub(crate) onward: Option<Spanned<onward::Table>>,
    /// An OpenAPI document (version 3, YAML or JSON) with operations and the scopes that they need.
    pub(crate) openapi: Option<Spanned<PathBuf>>,
    /// What can be called, beside what the document describes. Nothing else can.
    #[serde(default)]
    pub(crate) operation: Vec<Spanned<OperationTable>>,
}

/// Where callers of an API get their tokens, and what for (RFC 9728).
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "protected_resource")]
pub(crate) struct ProtectedResourceTable {
    /// The API's address, as its callers know it: `https://api.example/orders`. The document stands at
    /// `https://api.example/.well-known/oauth-protected-resource/orders`, and refusals name it.
    pub(crate) resource: Spanned<String>,
    /// The issuers of its tokens; by default those of its token checks.
    #[serde(default)]
    pub(crate) authorization_servers: Vec<String>,
    /// Scopes that callers ask for.
    #[serde(default)]
    pub(crate) scopes_supported: Vec<String>,
    /// Its name, for people.
    pub(crate) resource_name: Option<String>,
    /// The address of its documentation.
    pub(crate) resource_documentation: Option<String>,
}

/// What can be called.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "operation")]
pub(crate) struct OperationTable {
    /// Its name in this API.
    pub(crate) name: Spanned<String>,
    /// The method in capitals, or `*`. Left out with `path` where the API's OpenAPI document has an operation of this name.
    pub(crate) method: Option<Spanned<String>>,
    /// `/exact`, `/with/{parameter}` or `/prefix/*`, below the API's path.
    pub(crate) path: Option<Spanned<String>>,
    /// What applies to it.
    #[serde(default)]
    pub(crate) policies: policy::Tables,
    /// The credential that the service is sent; by default the API's.
    pub(crate) onward: Option<Spanned<onward::Table>>,
    /// Where its requests and answers are streams.
    pub(crate) stream: Option<Spanned<stream::Table>>,
}

impl OperationTable {
    /// One that a document describes, and of which nothing more is written.
    pub(crate) fn named(name: Spanned<String>) -> Self {
        Self { name, method: None, path: None, policies: policy::Tables::default(), onward: None, stream: None }
    }
}

/// APIs under one name.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "product")]
pub(crate) struct ProductTable {
    /// Its name.
    pub(crate) name: Spanned<String>,
    /// The APIs, by their names.
    pub(crate) apis: Vec<Spanned<String>>,
    /// Whether its APIs are called with a key.
    #[serde(default = "yes")]
    pub(crate) subscription_required: bool,
    /// What applies to calls in its context.
    #[serde(default)]
    pub(crate) policies: policy::Tables,
}

const fn yes() -> bool {
    true
}

/// A named pair of keys. It is to a product, an API, or all of them.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "subscription")]
pub(crate) struct SubscriptionTable {
    /// Its name.
    pub(crate) name: Spanned<String>,
    /// The product that it is to.
    pub(crate) product: Option<Spanned<String>>,
    /// The API that it is to.
    pub(crate) api: Option<Spanned<String>>,
    /// Whether it is to all APIs.
    #[serde(default)]
    pub(crate) all_apis: bool,
    /// Its first key.
    pub(crate) primary: Spanned<Source>,
    /// Its second key: clients move to one while the other is replaced.
    pub(crate) secondary: Option<Spanned<Source>>,
    /// Whether its keys open anything.
    #[serde(default)]
    pub(crate) state: State,
    /// The moment from which on they do not.
    #[schemars(with = "Option<super::schema::Moment>")]
    pub(crate) expires: Option<Spanned<toml::value::Datetime>>,
    /// The moment that the windows of its quotas are counted from; by default 1970-01-01T00:00:00Z.
    #[schemars(with = "Option<super::schema::Moment>")]
    pub(crate) started: Option<Spanned<toml::value::Datetime>>,
}
