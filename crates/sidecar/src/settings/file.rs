//! The configuration file: callers, the outbound policy, and providers that no platform has variables for.
use super::facades::Tables as Facades;
use super::sections::Sections;
use super::sessions::SessionTable;
use super::{
    AssertionAudience, Bind, Credential, EventStream, ExchangeGrant, Grants, ProviderSettings, Settings, SettingsError,
    TokenGrant, Variables, address, environment,
};
use crate::outbound::{Outbound, OutboundRule};
use decision::contract::Contract;
use oauth::Secret;
use serde::Deserialize;
use serve::{Mutual, Peer};
use std::ops::Range;
use std::path::{Path, PathBuf};
use toml::Spanned;

/// The configuration file. Everything in it is optional.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct File {
    /// Where the API listens; by default `127.0.0.1:3000`.
    bind: Option<Spanned<String>>,
    /// Where probes are answered; by default nowhere.
    probe: Option<Spanned<String>>,
    /// Where metrics are read; by default nowhere.
    metrics: Option<Spanned<String>>,
    /// Where an operator flushes the cache; by default nowhere.
    admin: Option<Spanned<String>>,
    /// Seconds after which a provider's keys are fetched anew; by default 50.
    key_set_seconds: Option<Spanned<i64>>,
    /// Whether users' tokens are judged here before they are sent to a provider; by default they are not.
    check_user_tokens: Option<bool>,
    /// Whether introspection tells which check failed; by default it does not.
    explanations: Option<bool>,
    /// How many bytes of tokens are kept; by default 16 MiB.
    cache_bytes: Option<u64>,
    /// Who may call.
    callers: CallerTable,
    /// What holds while no word of cut-offs arrives.
    cut_offs: CutOffTable,
    /// Users' work that outlives its request.
    long_running: SessionTable,
    /// For what tokens may be asked; by default for anything.
    outbound: Option<Vec<OutboundRule>>,
    /// Further providers.
    provider: Vec<Spanned<ProviderTable>>,
    /// The API of Microsoft's sidecar.
    entra: Option<FacadeTable>,
    /// Our own API.
    native: Option<FacadeTable>,
    /// Managed identity for the application.
    identity: Option<IdentityTable>,
    /// The application at Entra, by the names of Microsoft's sidecar.
    #[serde(rename = "AzureAd")]
    azure_ad: Option<Spanned<toml::Table>>,
    /// The APIs that are called for the application, by the same names.
    #[serde(rename = "DownstreamApis")]
    downstream_apis: Option<Spanned<toml::Table>>,
    /// What callers may override, by the same names.
    #[serde(rename = "Sidecar")]
    sidecar: Option<Spanned<toml::Table>>,
    /// What is logged, where `RUST_LOG` does not say it.
    pub log: Option<String>,
    /// The variables that have `__` in their names: each is a value of one of those tables.
    #[serde(skip)]
    pub variables: Vec<(String, String)>,
    /// The folder that relative paths begin in.
    #[serde(skip)]
    pub beside: PathBuf,
}

/// An API beside the first.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct FacadeTable {
    /// Where it listens; by default nowhere.
    pub(super) bind: Option<Spanned<String>>,
    /// The provider that issues users' tokens; by default `entra_id`.
    pub(super) provider: Option<Spanned<String>>,
    /// The application's own contract; by default any token for it.
    pub(super) contract: Option<Spanned<PathBuf>>,
}

/// Managed identity.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct IdentityTable {
    /// Where it listens; by default nowhere.
    pub(super) bind: Option<Spanned<String>>,
    /// What the application has in `IDENTITY_HEADER`; by default the variable of that name.
    pub(super) header: Option<Spanned<Source>>,
    /// The provider whose application this is; by default `entra_id`.
    pub(super) provider: Option<Spanned<String>>,
    /// Whether it is served as a virtual machine's metadata service serves it too, without a secret; by default not.
    pub(super) metadata: bool,
}

/// Who may call.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct CallerTable {
    /// What every call must carry in `Authorization: Bearer`.
    token: Option<Spanned<Source>>,
    /// The users whose programs may call over a Unix socket.
    uids: Vec<u32>,
    /// Names beside those of this machine by which the sidecar may be called.
    hosts: Vec<String>,
    /// TLS on both sides, at addresses that others than this machine's programs reach; by default none.
    tls: Option<Spanned<TlsTable>>,
}

/// TLS on both sides.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TlsTable {
    /// The sidecar's certificate with its chain, in PEM.
    certificate: PathBuf,
    /// Its private key.
    key: PathBuf,
    /// The authorities whose certificates callers show.
    client_authorities: PathBuf,
    /// The callers that are taken of those; by default all.
    clients: Option<Spanned<Vec<Spanned<String>>>>,
}

/// What holds while no word of cut-offs arrives, of providers that tell of them.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct CutOffTable {
    /// Held tokens count for so many seconds after the last word; by default for 60.
    fail_static: Option<Spanned<i64>>,
    /// Whether introspection then says that no token is active; by default it does not.
    closed: bool,
}

/// Where a provider tells of cut-offs.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "`true`, or an address")]
enum EventsAt {
    /// At its issuer, or not at all.
    Switch(bool),
    /// Elsewhere.
    Url(String),
}

/// Where a secret is.
#[derive(Debug, Deserialize)]
#[serde(untagged, deny_unknown_fields, expecting = "`{ env = \"NAME\" }` or `{ file = \"PATH\" }`")]
pub(super) enum Source {
    /// In a variable.
    Env {
        /// Its name.
        env: String,
    },
    /// In a file.
    File {
        /// Its path.
        file: PathBuf,
    },
}

/// A provider.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ProviderTable {
    /// Its name in requests.
    name: Spanned<String>,
    /// Its metadata document.
    discovery: Option<Spanned<String>>,
    /// Its issuer; what the metadata says if it is not stated.
    issuer: Option<String>,
    /// Its token endpoint; what the metadata says if it is not stated.
    token_endpoint: Option<String>,
    /// Its key set; what the metadata says if it is not stated.
    jwks_uri: Option<String>,
    /// The tenants whose tokens count, for an issuer with `{tenantid}` in it.
    #[serde(default)]
    tenants: Vec<String>,
    /// How the application gets tokens for itself; by default it does not.
    token: Option<TokenGrant>,
    /// How the application gets tokens on behalf of users; by default it does not.
    exchange: Option<ExchangeGrant>,
    /// This application there.
    client_id: Option<String>,
    /// A private JWK with `alg` and `kid`.
    key: Option<Spanned<Source>>,
    /// A secret.
    secret: Option<Spanned<Source>>,
    /// A file that the platform keeps a token in.
    federated_token_file: Option<PathBuf>,
    /// A certificate and its private key.
    certificate: Option<CertificateTable>,
    /// What `aud` of the application's own assertions is; by default the issuer.
    #[serde(default)]
    assertion_audience: AssertionAudience,
    /// Whom introspected tokens are for; by default the client. `""` where that is not asked.
    audience: Option<String>,
    /// Whether it tells of cut-offs at its issuer, or the address at which it does; by default it does not.
    events: Option<EventsAt>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CertificateTable {
    certificate: PathBuf,
    key: PathBuf,
}

impl File {
    pub(super) fn add_to(mut self, settings: &mut Settings, variable: Variables<'_>) -> Result<(), SettingsError> {
        let names = [
            ("AzureAd", self.azure_ad.take()),
            ("DownstreamApis", self.downstream_apis.take()),
            ("Sidecar", self.sidecar.take()),
        ];
        let facades = Facades {
            entra: self.entra.take(),
            native: self.native.take(),
            identity: self.identity.take(),
            sections: Sections::read(names.into(), &self.variables)?,
        };
        settings.sessions = std::mem::take(&mut self.long_running).read(variable, &self.beside)?;
        let Self { bind, probe, metrics, admin, cache_bytes, callers, cut_offs, outbound, provider, beside, .. } = self;
        if let (Some(text), None) = (admin, variable("ADMIN_BIND_ADDRESS")) {
            let bind = Bind::parse(text.get_ref()).filter(Bind::is_local);
            let wrong =
                || fault(&text, "it is no address of this machine alone", "write `unix:/run/deputize-admin.sock`");
            settings.admin = Some(bind.ok_or_else(wrong)?);
        }
        if let (Some(seconds), None) = (self.key_set_seconds, variable("DEPUTIZE_KEY_SET_SECONDS")) {
            if !environment::KEY_SECONDS.contains(seconds.get_ref()) {
                return Err(fault(&seconds, "keys are kept for 30 to 43200 seconds", "write a number between them"));
            }
            settings.key_seconds = Some(seconds.into_inner());
        }
        if let (Some(checked), None) = (self.check_user_tokens, variable("DEPUTIZE_CHECK_USER_TOKENS")) {
            settings.user_tokens_checked = checked;
        }
        if let (Some(told), None) = (self.explanations, variable("DEPUTIZE_EXPLANATIONS")) {
            settings.explanations = told;
        }
        if let (Some(text), None) = (bind, variable("BIND_ADDRESS")) {
            settings.bind = Bind::parse(text.get_ref()).ok_or_else(|| {
                fault(&text, "it is no address", "write `127.0.0.1:3000`, or `unix:/run/deputize.sock`")
            })?;
        }
        for (text, name, place) in [
            (probe, "PROBE_BIND_ADDRESS", &mut settings.probe),
            (metrics, "METRICS_BIND_ADDRESS", &mut settings.metrics),
        ] {
            if let (Some(text), None) = (text, variable(name)) {
                let wrong = || fault(&text, "it is no address with a port", "write `127.0.0.1:3001`");
                *place = Some(address(text.get_ref()).ok_or_else(wrong)?);
            }
        }
        settings.cache_bytes = cache_bytes.unwrap_or(settings.cache_bytes);
        if let Some(seconds) = cut_offs.fail_static {
            if !(5..=86_400).contains(seconds.get_ref()) {
                return Err(fault(&seconds, "`fail_static` is out of range", "give seconds from 5 to 86400"));
            }
            settings.cut_offs.fail_static = seconds.into_inner();
        }
        settings.cut_offs.closed = cut_offs.closed;
        if let Some(token) = callers.token {
            settings.callers.bearer = Some(secret(&token, variable, &beside)?);
        }
        if let Some(table) = callers.tls {
            let at = table.span();
            let TlsTable { certificate, key, client_authorities, clients } = table.into_inner();
            let peers = clients.as_ref().map(peers).transpose()?;
            let [certificate, key, authorities] = [certificate, key, client_authorities].map(|file| beside.join(file));
            let opened = Mutual::open(certificate, key, authorities, peers);
            settings.callers.tls =
                Some(opened.map_err(|problem| {
                    SettingsError::File {
                        at,
                        problem: format!("`callers.tls`: {problem}"),
                        hint: "name files in PEM: a certificate, its key, and the authorities of callers' certificates"
                            .to_owned(),
                    }
                })?);
        }
        settings.callers.uids = callers.uids;
        settings.callers.hosts = callers.hosts;
        if let Some(rules) = outbound {
            settings.outbound = Outbound::only(rules, environment::here(variable));
        }
        for table in provider {
            let at = table.span();
            let provider = table.into_inner();
            let name = provider.name.get_ref();
            if name == "azuread" || settings.providers.iter().any(|known| known.name == *name) {
                let problem = format!("there is a provider `{name}` already");
                return Err(fault(&provider.name, problem, "choose another name"));
            }
            settings.providers.push(provider.read(at, variable, &beside)?);
        }
        facades.add_to(settings, variable, &beside)
    }
}

/// The callers that a certificate may be of.
fn peers(named: &Spanned<Vec<Spanned<String>>>) -> Result<Vec<Peer>, SettingsError> {
    if named.get_ref().is_empty() {
        return Err(fault(named, "`clients` names nobody", "name somebody, or take it out"));
    }
    let peer =
        |text: &Spanned<String>| Peer::parse(text.get_ref()).map_err(|hint| fault(text, "this names no caller", hint));
    named.get_ref().iter().map(peer).collect()
}

impl ProviderTable {
    fn read(self, at: Range<usize>, variable: Variables<'_>, beside: &Path) -> Result<ProviderSettings, SettingsError> {
        let name = self.name.get_ref().clone();
        let named = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
        if !named {
            return Err(fault(&self.name, "this is no name for a provider", "use letters, digits, `_` and `-`"));
        }
        let wrong = |problem: &str, hint: &str| SettingsError::File {
            at: at.clone(),
            problem: format!("provider `{name}`: {problem}"),
            hint: hint.to_owned(),
        };
        let grants = Grants { token: self.token, exchange: self.exchange };
        let events = self.events.and_then(|events| match events {
            EventsAt::Switch(on) => on.then_some(EventStream::Issuer),
            EventsAt::Url(url) => Some(EventStream::Url(url)),
        });
        let asks = grants != Grants::default() || events.is_some();
        let explicit = self.issuer.is_some() && self.jwks_uri.is_some() && (!asks || self.token_endpoint.is_some());
        if self.discovery.is_none() && !explicit {
            let hint = "set `discovery`, or `issuer`, `jwks_uri` and, where it gives tokens, `token_endpoint`";
            return Err(wrong("nothing says where it is", hint));
        }
        let credentials = [
            self.key.is_some(),
            self.secret.is_some(),
            self.federated_token_file.is_some(),
            self.certificate.is_some(),
        ];
        let given = credentials.iter().filter(|given| **given).count();
        let choices = "set one of `key`, `secret`, `certificate` and `federated_token_file`";
        if given > 1 {
            return Err(wrong("it has more than one credential", choices));
        }
        if asks && given == 0 {
            let problem = "it gives tokens or tells of cut-offs, and nothing proves who asks";
            return Err(wrong(problem, choices));
        }
        if asks && self.client_id.is_none() {
            let problem = "it gives tokens or tells of cut-offs, and `client_id` is missing";
            return Err(wrong(problem, "set `client_id`"));
        }
        let credential = if let Some(source) = &self.key {
            Some(match source.get_ref() {
                Source::File { file } => Credential::KeyFile(beside.join(file)),
                Source::Env { .. } => environment::key(secret(source, variable, beside)?.expose())
                    .map_err(|problem| fault(source, problem, "give another key"))?,
            })
        } else if let Some(source) = &self.secret {
            Some(match source.get_ref() {
                Source::File { file } => Credential::SecretFile(beside.join(file)),
                Source::Env { .. } => Credential::Secret(secret(source, variable, beside)?),
            })
        } else if let Some(path) = self.federated_token_file {
            Some(Credential::Federated(beside.join(path)))
        } else {
            self.certificate.map(|CertificateTable { certificate, key }| Credential::Certificate {
                certificate: beside.join(certificate),
                key: beside.join(key),
            })
        };
        let audience = self.audience.or_else(|| self.client_id.clone());
        if audience.is_none() {
            let hint = "set `audience`, or `audience = \"\"` where tokens are for many APIs";
            return Err(wrong("nothing says whom its tokens are for", hint));
        }
        Ok(ProviderSettings {
            name,
            enabled: true,
            grants,
            issuer: self.issuer,
            tenants: self.tenants,
            discovery: self.discovery.filter(|_| !explicit).map(Spanned::into_inner),
            token_endpoint: self.token_endpoint,
            jwks_uri: self.jwks_uri,
            client_id: self.client_id,
            credential,
            assertion_audience: self.assertion_audience,
            audience: audience.filter(|audience| !audience.is_empty()),
            events,
        })
    }
}

pub(super) fn secret(
    source: &Spanned<Source>,
    variable: Variables<'_>,
    beside: &Path,
) -> Result<Secret, SettingsError> {
    let text = match source.get_ref() {
        Source::Env { env } => {
            variable(env).ok_or_else(|| fault(source, format!("the variable {env} is not set"), "set it"))?
        }
        Source::File { file } => std::fs::read_to_string(beside.join(file)).map_err(|error| {
            let problem = format!("`{}` cannot be read: {}", file.display(), error.kind());
            fault(source, problem, "check the path and its permissions")
        })?,
    };
    let text = text.trim();
    if text.is_empty() { Err(fault(source, "the secret is empty", "put it there")) } else { Ok(Secret::new(text)) }
}

/// An API's contract, from a file.
pub(super) fn contract(path: &Path) -> Result<Contract, String> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("`{}` cannot be read: {}", path.display(), error.kind()))?;
    serde_json::from_str(&text).map_err(|error| format!("`{}` is no contract: {error}", path.display()))
}

pub(super) fn fault<T>(at: &Spanned<T>, problem: impl Into<String>, hint: impl Into<String>) -> SettingsError {
    SettingsError::File { at: at.span(), problem: problem.into(), hint: hint.into() }
}
