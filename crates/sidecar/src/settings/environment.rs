//! The variables that platforms inject: five providers by the names that NAIS gives them, and Azure's own for Entra.
use super::{
    AssertionAudience, Bind, Callers, Credential, CutOffSettings, EventStream, ExchangeGrant, Grants, HostSettings,
    Inbound, ProviderSettings, SessionSettings, Settings, SettingsError, TokenGrant, Upstream, Variables, address,
};
use crate::apis::Apis;
use crate::outbound::{Here, Outbound};
use ::telemetry::Push;
use oauth::Secret;
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

const CACHE_BYTES: u64 = 16 << 20;

/// One of the providers that platforms know: what its variables are called.
struct Preset {
    name: &'static str,
    enabled: &'static str,
    client_id: &'static str,
    /// The private key; `None` for those that only introspect, whose `client_id` is the audience of tokens.
    jwk: Option<&'static str>,
    discovery: &'static str,
    issuer: &'static str,
    token_endpoint: Option<&'static str>,
    jwks_uri: &'static str,
    grants: Grants,
    /// Whether tokens are for this application, and not for an API that many have.
    audience: bool,
}

const PRESETS: [Preset; 5] = [
    Preset {
        name: "entra_id",
        enabled: "AZURE_ENABLED",
        client_id: "AZURE_APP_CLIENT_ID",
        jwk: Some("AZURE_APP_JWK"),
        discovery: "AZURE_APP_WELL_KNOWN_URL",
        issuer: "AZURE_OPENID_CONFIG_ISSUER",
        token_endpoint: Some("AZURE_OPENID_CONFIG_TOKEN_ENDPOINT"),
        jwks_uri: "AZURE_OPENID_CONFIG_JWKS_URI",
        grants: Grants { token: Some(TokenGrant::ClientCredentials), exchange: Some(ExchangeGrant::OnBehalfOf) },
        audience: true,
    },
    Preset {
        name: "tokenx",
        enabled: "TOKEN_X_ENABLED",
        client_id: "TOKEN_X_CLIENT_ID",
        jwk: Some("TOKEN_X_PRIVATE_JWK"),
        discovery: "TOKEN_X_WELL_KNOWN_URL",
        issuer: "TOKEN_X_ISSUER",
        token_endpoint: Some("TOKEN_X_TOKEN_ENDPOINT"),
        jwks_uri: "TOKEN_X_JWKS_URI",
        grants: Grants { token: None, exchange: Some(ExchangeGrant::TokenExchange) },
        audience: true,
    },
    Preset {
        name: "maskinporten",
        enabled: "MASKINPORTEN_ENABLED",
        client_id: "MASKINPORTEN_CLIENT_ID",
        jwk: Some("MASKINPORTEN_CLIENT_JWK"),
        discovery: "MASKINPORTEN_WELL_KNOWN_URL",
        issuer: "MASKINPORTEN_ISSUER",
        token_endpoint: Some("MASKINPORTEN_TOKEN_ENDPOINT"),
        jwks_uri: "MASKINPORTEN_JWKS_URI",
        grants: Grants { token: Some(TokenGrant::JwtBearer), exchange: None },
        audience: false,
    },
    Preset {
        name: "idporten",
        enabled: "IDPORTEN_ENABLED",
        client_id: "IDPORTEN_AUDIENCE",
        jwk: None,
        discovery: "IDPORTEN_WELL_KNOWN_URL",
        issuer: "IDPORTEN_ISSUER",
        token_endpoint: None,
        jwks_uri: "IDPORTEN_JWKS_URI",
        grants: Grants { token: None, exchange: None },
        audience: true,
    },
    Preset {
        name: "ansattporten",
        enabled: "ANSATTPORTEN_ENABLED",
        client_id: "ANSATTPORTEN_AUDIENCE",
        jwk: None,
        discovery: "ANSATTPORTEN_WELL_KNOWN_URL",
        issuer: "ANSATTPORTEN_ISSUER",
        token_endpoint: None,
        jwks_uri: "ANSATTPORTEN_JWKS_URI",
        grants: Grants { token: None, exchange: None },
        audience: true,
    },
];

/// Reads everything that has a variable.
pub(super) fn read(variable: Variables<'_>) -> Result<Settings, SettingsError> {
    let providers = PRESETS.iter().map(|preset| preset.read(variable)).collect::<Result<_, _>>()?;
    Ok(Settings {
        bind: bind(variable)?,
        probe: socket(variable, "PROBE_BIND_ADDRESS")?,
        metrics: socket(variable, "METRICS_BIND_ADDRESS")?,
        admin: admin(variable)?,
        resource: ::telemetry::resource(variable),
        push: Push::read(variable, "deputize-sidecar")?,
        callers: Callers {
            bearer: variable("DEPUTIZE_CALLER_TOKEN").filter(|token| !token.is_empty()).map(Secret::new),
            uids: Vec::new(),
            hosts: Vec::new(),
            tls: None,
        },
        outbound: Outbound::default(),
        proxy: proxy(variable)?,
        authorities: stated(variable, "SSL_CERT_FILE").map(Into::into),
        upstream: upstream(variable)?,
        key_seconds: key_seconds(variable)?,
        user_tokens_checked: switch(variable, "DEPUTIZE_CHECK_USER_TOKENS")?,
        explanations: switch(variable, "DEPUTIZE_EXPLANATIONS")?,
        cache_bytes: CACHE_BYTES,
        cut_offs: CutOffSettings::default(),
        sessions: SessionSettings::default(),
        host: HostSettings::read(variable),
        providers,
        entra: None,
        native: None,
        identity: None,
        inbound: Inbound::default(),
        apis: Apis::default(),
    })
}

/// Where this workload is, where the platform says it.
pub(super) fn here(variable: Variables<'_>) -> Here {
    Here { cluster: variable("NAIS_CLUSTER_NAME"), namespace: variable("NAIS_NAMESPACE") }
}

impl Preset {
    fn read(&self, variable: Variables<'_>) -> Result<ProviderSettings, SettingsError> {
        let enabled = switch(variable, self.enabled)?;
        let mut provider = ProviderSettings {
            name: self.name.to_owned(),
            enabled,
            grants: self.grants,
            issuer: None,
            tenants: Vec::new(),
            discovery: None,
            token_endpoint: None,
            jwks_uri: None,
            client_id: None,
            credential: None,
            assertion_audience: AssertionAudience::Issuer,
            audience: None,
            events: None,
        };
        if !enabled {
            return Ok(provider);
        }
        let azure = self.azure(variable);
        let id = stated(variable, self.client_id).or_else(|| azure.as_ref().map(|azure| azure.client_id.clone()));
        let id = id.ok_or_else(|| SettingsError::Missing(self.client_id.to_owned()))?;
        provider.audience = self.audience.then(|| id.clone());
        if let Some(jwk) = self.jwk {
            provider.credential = Some(self.credential(variable, jwk, azure.as_ref())?);
            provider.client_id = Some(id);
        }
        provider.discovery = stated(variable, self.discovery);
        provider.issuer = stated(variable, self.issuer);
        provider.token_endpoint = self.token_endpoint.and_then(|name| stated(variable, name));
        provider.jwks_uri = stated(variable, self.jwks_uri);
        let explicit = provider.issuer.is_some()
            && provider.jwks_uri.is_some()
            && (self.token_endpoint.is_none() || provider.token_endpoint.is_some());
        if explicit {
            // Everything is stated: nothing has to be fetched.
            provider.discovery = None;
        } else if provider.discovery.is_none() {
            provider.discovery = azure.map(|azure| azure.discovery);
        }
        if !explicit && provider.discovery.is_none() {
            let names: Vec<&str> =
                [Some(self.issuer), self.token_endpoint, Some(self.jwks_uri)].into_iter().flatten().collect();
            return Err(SettingsError::Provider {
                provider: self.name.to_owned(),
                one: self.discovery.to_owned(),
                other: names.join(", "),
            });
        }
        Ok(provider)
    }

    fn credential(
        &self,
        variable: Variables<'_>,
        jwk: &str,
        azure: Option<&Azure>,
    ) -> Result<Credential, SettingsError> {
        if let Some(text) = stated(variable, jwk) {
            return key(&text).map_err(|problem| SettingsError::Variable { name: jwk.to_owned(), problem });
        }
        if self.name == "entra_id"
            && let Some(secret) = stated(variable, "AZURE_APP_CLIENT_SECRET")
        {
            return Ok(Credential::Secret(Secret::new(secret)));
        }
        azure.and_then(|azure| azure.credential.clone()).ok_or_else(|| SettingsError::Missing(jwk.to_owned()))
    }

    /// What Azure's own libraries read, for Entra.
    fn azure(&self, variable: Variables<'_>) -> Option<Azure> {
        if self.name != "entra_id" {
            return None;
        }
        let host =
            stated(variable, "AZURE_AUTHORITY_HOST").unwrap_or_else(|| "https://login.microsoftonline.com".to_owned());
        let (host, tenant) = (host.trim_end_matches('/').to_owned(), stated(variable, "AZURE_TENANT_ID")?);
        let secret = stated(variable, "AZURE_CLIENT_SECRET").map(|secret| Credential::Secret(Secret::new(secret)));
        let certificate = stated(variable, "AZURE_CLIENT_CERTIFICATE_PATH")
            .map(|path| Credential::Certificate { certificate: path.clone().into(), key: path.into() });
        let federated = stated(variable, "AZURE_FEDERATED_TOKEN_FILE").map(|path| Credential::Federated(path.into()));
        Some(Azure {
            client_id: stated(variable, "AZURE_CLIENT_ID")?,
            discovery: format!("{host}/{tenant}/v2.0/.well-known/openid-configuration"),
            credential: federated.or(certificate).or(secret),
        })
    }
}

struct Azure {
    client_id: String,
    discovery: String,
    credential: Option<Credential>,
}

/// The way out of a company's network, by the names that all programs share.
fn proxy(variable: Variables<'_>) -> Result<Option<fetch::Proxy>, SettingsError> {
    let first = |names: [&'static str; 2]| names.into_iter().find_map(|name| Some((name, stated(variable, name)?)));
    let Some((name, address)) = first(["HTTPS_PROXY", "https_proxy"]) else { return Ok(None) };
    let proxy = fetch::Proxy::new(&address)
        .map_err(|error| SettingsError::Variable { name: name.to_owned(), problem: error.to_string() })?;
    Ok(Some(match first(["NO_PROXY", "no_proxy"]) {
        Some((_, hosts)) => proxy.except(&hosts),
        None => proxy,
    }))
}

/// A private key as the platform hands it over. It names its algorithm and itself: by them the provider knows its public half.
pub(super) fn key(text: &str) -> Result<Credential, String> {
    let wrong = |why: &dyn std::fmt::Display| {
        format!("it is not a private JSON Web Key with `alg` and `kid` that can be used: {why}")
    };
    let members: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(text).map_err(|_| wrong(&"it is no JSON object"))?;
    for name in ["alg", "kid"] {
        if !members.get(name).is_some_and(serde_json::Value::is_string) {
            return Err(wrong(&format!("it has no `{name}`")));
        }
    }
    let key = jose::SigningKey::from_jwk(text).map_err(|error| wrong(&error))?;
    Ok(Credential::Key(Arc::new(key)))
}

fn stated(variable: Variables<'_>, name: &str) -> Option<String> {
    variable(name).filter(|value| !value.is_empty())
}

/// The providers that tell of cut-offs, by their names; those of the file among them.
pub(super) fn events(variable: Variables<'_>, providers: &mut [ProviderSettings]) -> Result<(), SettingsError> {
    const NAME: &str = "DEPUTIZE_EVENTS";
    let listed = stated(variable, NAME).unwrap_or_default();
    for name in listed.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        let wrong = |problem: String| SettingsError::Variable { name: NAME.to_owned(), problem };
        let known = providers.iter_mut().find(|provider| provider.enabled && provider.name == name);
        let provider =
            known.ok_or_else(|| wrong(format!("'{name}' is no provider that is enabled; list such ones")))?;
        if provider.credential.is_none() {
            return Err(wrong(format!(
                "provider '{name}' has no credential, and only an application that has one is told"
            )));
        }
        provider.events = Some(EventStream::Issuer);
    }
    Ok(())
}

fn switch(variable: Variables<'_>, name: &str) -> Result<bool, SettingsError> {
    match variable(name).as_deref() {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(SettingsError::Boolean(name.to_owned())),
    }
}

fn bind(variable: Variables<'_>) -> Result<Bind, SettingsError> {
    let Some(text) = stated(variable, "BIND_ADDRESS") else { return Ok(Bind::DEFAULT) };
    Bind::parse(&text).ok_or_else(|| SettingsError::Variable {
        name: "BIND_ADDRESS".to_owned(),
        problem: "it is no address; write `127.0.0.1:3000`, or `unix:/run/deputize.sock`".to_owned(),
    })
}

/// On this machine alone: who reaches it makes every token be got anew.
fn admin(variable: Variables<'_>) -> Result<Option<Bind>, SettingsError> {
    let Some(text) = stated(variable, "ADMIN_BIND_ADDRESS") else { return Ok(None) };
    let problem = || SettingsError::Variable {
        name: "ADMIN_BIND_ADDRESS".to_owned(),
        problem: "it is no address of this machine alone; write `unix:/run/deputize-admin.sock`".to_owned(),
    };
    Bind::parse(&text).filter(Bind::is_local).map(Some).ok_or_else(problem)
}

fn socket(variable: Variables<'_>, name: &str) -> Result<Option<SocketAddr>, SettingsError> {
    let Some(text) = stated(variable, name) else { return Ok(None) };
    let problem = || SettingsError::Variable {
        name: name.to_owned(),
        problem: "it is no address with a port; write `127.0.0.1:3001`".to_owned(),
    };
    address(&text).map(Some).ok_or_else(problem)
}

fn upstream(variable: Variables<'_>) -> Result<Upstream, SettingsError> {
    let usual = Upstream::default();
    let millis = |name: &str, usual: Duration| {
        number::<u64>(variable, name).map(|millis| millis.map_or(usual, Duration::from_millis))
    };
    Ok(Upstream {
        retries: number(variable, "TEXAS_HTTP_MAX_RETRIES")?.unwrap_or(usual.retries),
        connect: millis("TEXAS_HTTP_CONNECT_TIMEOUT_MILLIS", usual.connect)?,
        read: millis("TEXAS_HTTP_READ_TIMEOUT_MILLIS", usual.read)?,
        total: millis("TEXAS_HTTP_OVERALL_TIMEOUT_MILLIS", usual.total)?,
        idle: number(variable, "TEXAS_HTTP_POOL_MAX_IDLE")?.unwrap_or(usual.idle),
    })
}

/// From how often issuers are asked at most, to half of the day for which keys serve at most.
pub(super) const KEY_SECONDS: std::ops::RangeInclusive<i64> = 30..=43_200;

fn key_seconds(variable: Variables<'_>) -> Result<Option<i64>, SettingsError> {
    const NAME: &str = "DEPUTIZE_KEY_SET_SECONDS";
    match number(variable, NAME)? {
        Some(seconds) if !KEY_SECONDS.contains(&seconds) => Err(SettingsError::Variable {
            name: NAME.to_owned(),
            problem: "keys are kept for 30 to 43200 seconds; write a number between them".to_owned(),
        }),
        seconds => Ok(seconds),
    }
}

fn number<N: FromStr>(variable: Variables<'_>, name: &str) -> Result<Option<N>, SettingsError> {
    let Some(text) = stated(variable, name) else { return Ok(None) };
    let problem = || SettingsError::Variable {
        name: name.to_owned(),
        problem: "it is no whole number; write one, such as `1`".to_owned(),
    };
    text.parse().map(Some).map_err(|_| problem())
}
