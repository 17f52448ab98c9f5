//! The other APIs: Entra's sidecar, our own, and managed identity. Each is off until it has an address.
use super::file::{FacadeTable, IdentityTable, contract, secret};
use super::sections::Sections;
use super::{
    AssertionAudience, Bind, Credential, ExchangeGrant, Grants, ProviderSettings, Settings, SettingsError, TokenGrant,
    Variables,
};
use crate::apis::{Api, Apis, Options, base_url, header_name, is_forwardable, method_named};
use decision::contract::Contract;
use http::HeaderValue;
use oauth::Secret;
use std::path::Path;
use toml::Spanned;

const ENTRA: &str = "entra_id";

/// The API of Microsoft's sidecar.
#[derive(Clone, Debug)]
pub struct EntraSettings {
    /// Where it listens (`ENTRA_BIND_ADDRESS`).
    pub bind: Bind,
    /// The routes on which callers may override how an API is called.
    pub overrides: Vec<EntraRoute>,
}

/// The routes that have overrides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntraRoute {
    /// `/AuthorizationHeader`.
    AuthorizationHeader,
    /// `/AuthorizationHeaderUnauthenticated`.
    AuthorizationHeaderUnauthenticated,
    /// `/DownstreamApi`.
    DownstreamApi,
    /// `/DownstreamApiUnauthenticated`.
    DownstreamApiUnauthenticated,
}

impl EntraRoute {
    /// The switch that lets callers override: its name, and what it is unless it is set.
    pub(crate) const ALL: [(Self, &'static str, bool); 4] = [
        (Self::AuthorizationHeader, "Sidecar:AllowOverrides:GetAuthorizationHeader", true),
        (
            Self::AuthorizationHeaderUnauthenticated,
            "Sidecar:AllowOverrides:GetAuthorizationHeaderUnauthenticated",
            false,
        ),
        (Self::DownstreamApi, "Sidecar:AllowOverrides:CallDownstreamApi", true),
        (Self::DownstreamApiUnauthenticated, "Sidecar:AllowOverrides:CallDownstreamApiUnauthenticated", false),
    ];

    pub(crate) fn switch(self) -> &'static str {
        Self::ALL.iter().find(|(route, ..)| *route == self).map_or("", |(_, name, _)| name)
    }
}

/// Our own API.
#[derive(Clone, Debug)]
pub struct NativeSettings {
    /// Where it listens (`NATIVE_BIND_ADDRESS`).
    pub bind: Bind,
}

/// Managed identity for the application.
#[derive(Clone, Debug)]
pub struct IdentitySettings {
    /// Where it listens (`IDENTITY_BIND_ADDRESS`).
    pub bind: Bind,
    /// What the application has in `IDENTITY_HEADER`.
    pub header: Secret,
    /// The provider whose application this is.
    pub provider: String,
    /// Whether it is served as on a virtual machine too, where no secret is asked for.
    pub metadata: bool,
}

/// What is asked of users' tokens that come in at the APIs.
#[derive(Clone, Debug)]
pub struct Inbound {
    /// The provider that issues them.
    pub provider: String,
    /// Values of `aud` beside the client id and `api://` before it.
    pub audiences: Vec<String>,
    /// Scopes of which a token has to have one (`AzureAd:Scopes`).
    pub scopes: Vec<String>,
    /// Whether tokens with neither scopes nor roles pass (`AzureAd:AllowWebApiToBeAuthorizedByACL`).
    pub by_list: bool,
    /// The application's own contract, in place of all that.
    pub contract: Option<Contract>,
}

impl Default for Inbound {
    fn default() -> Self {
        Self { provider: ENTRA.to_owned(), audiences: Vec::new(), scopes: Vec::new(), by_list: false, contract: None }
    }
}

/// What the file says of them.
pub(super) struct Tables {
    pub(super) entra: Option<FacadeTable>,
    pub(super) native: Option<FacadeTable>,
    pub(super) identity: Option<IdentityTable>,
    pub(super) sections: Sections,
}

impl Tables {
    pub(super) fn add_to(
        self,
        settings: &mut Settings,
        variable: Variables<'_>,
        beside: &Path,
    ) -> Result<(), SettingsError> {
        let Self { entra, native, identity, sections } = self;
        azure_ad(&sections, settings, beside)?;
        // Before the APIs: they are its unless they say another.
        if let Some(provider) = native.as_ref().and_then(|table| table.provider.as_ref()) {
            settings.inbound.provider = known(settings, provider)?;
        }
        settings.apis = apis(&sections, settings, beside)?;
        let overrides = overrides(&sections)?;
        sections.nothing_left()?;

        if let Some(path) = native.as_ref().and_then(|table| table.contract.as_ref()) {
            let wrong =
                |problem| SettingsError::File { at: path.span(), problem, hint: "name a contract in JSON".to_owned() };
            settings.inbound.contract = Some(contract(&beside.join(path.get_ref())).map_err(wrong)?);
        }
        let at = |table: Option<&FacadeTable>, name: &str| address(table.and_then(|t| t.bind.as_ref()), name, variable);
        settings.entra = at(entra.as_ref(), "ENTRA_BIND_ADDRESS")?.map(|bind| EntraSettings { bind, overrides });
        settings.native = at(native.as_ref(), "NATIVE_BIND_ADDRESS")?.map(|bind| NativeSettings { bind });
        if let Some(native) = &settings.native {
            settings.callers.hold(&native.bind)?;
        }
        let users = settings.providers.iter().find(|known| known.name == settings.inbound.provider && known.enabled);
        let entra = users.filter(|users| users.grants.exchange == Some(ExchangeGrant::OnBehalfOf));
        if (settings.entra.is_some() || settings.native.is_some())
            && settings.inbound.contract.is_none()
            && entra.is_some_and(|entra| entra.known_issuer().is_none())
        {
            return Err(SettingsError::Variable {
                name: "AZURE_OPENID_CONFIG_ISSUER".to_owned(),
                problem: "nothing says who issues users' tokens, as the metadata's address does not end in \
                          `/.well-known/openid-configuration`; state the issuer"
                    .to_owned(),
            });
        }
        let IdentityTable { bind, header, provider, metadata } = identity.unwrap_or_default();
        let Some(bind) = address(bind.as_ref(), "IDENTITY_BIND_ADDRESS", variable)? else { return Ok(()) };
        let wrong = |problem: &str| SettingsError::Variable {
            name: "IDENTITY_BIND_ADDRESS".to_owned(),
            problem: problem.to_owned(),
        };
        if !matches!(bind, Bind::Tcp(_)) || !bind.is_local() {
            return Err(wrong("managed identity is served to this machine's programs only; write `127.0.0.1:3004`"));
        }
        let header = match header {
            Some(source) => secret(&source, variable, beside)?,
            None => variable("IDENTITY_HEADER")
                .filter(|value| !value.is_empty())
                .map(Secret::new)
                .ok_or_else(|| SettingsError::Missing("IDENTITY_HEADER".to_owned()))?,
        };
        let provider = provider.map_or(Ok(ENTRA.to_owned()), |name| known(settings, &name))?;
        let gives = settings.providers.iter().find(|known| known.name == provider);
        if !gives.is_some_and(|known| known.enabled && known.grants.token.is_some()) {
            return Err(wrong(&format!(
                "the provider `{provider}` gives the application no token for itself; enable it, or name another in \
                 `identity.provider`"
            )));
        }
        settings.identity = Some(IdentitySettings { bind, header, provider, metadata });
        Ok(())
    }
}

fn address(text: Option<&Spanned<String>>, name: &str, variable: Variables<'_>) -> Result<Option<Bind>, SettingsError> {
    let hint = "write `127.0.0.1:3003`, or `unix:/run/deputize.sock`";
    if let Some(text) = variable(name).filter(|text| !text.is_empty()) {
        let problem = format!("it is no address; {hint}");
        return Bind::parse(&text).map(Some).ok_or_else(|| SettingsError::Variable { name: name.to_owned(), problem });
    }
    let Some(text) = text else { return Ok(None) };
    Bind::parse(text.get_ref()).map(Some).ok_or_else(|| SettingsError::File {
        at: text.span(),
        problem: "it is no address".to_owned(),
        hint: hint.to_owned(),
    })
}

/// A provider that there is.
fn known(settings: &Settings, name: &Spanned<String>) -> Result<String, SettingsError> {
    let found = settings.providers.iter().find(|provider| provider.name == *name.get_ref());
    found.map(|provider| provider.name.clone()).ok_or_else(|| SettingsError::File {
        at: name.span(),
        problem: format!("there is no provider `{}`", name.get_ref()),
        hint: "name one that there is".to_owned(),
    })
}

/// `AzureAd`: the application at Entra, which is the provider `entra_id`, and what its own API asks of tokens.
fn azure_ad(sections: &Sections, settings: &mut Settings, beside: &Path) -> Result<(), SettingsError> {
    settings.inbound.scopes = sections.list("AzureAd:Scopes");
    settings.inbound.audiences = sections.list("AzureAd:Audiences");
    settings.inbound.audiences.extend(sections.list("AzureAd:Audience"));
    settings.inbound.by_list = sections.switch("AzureAd:AllowWebApiToBeAuthorizedByACL", false)?;
    let instance = sections.text("AzureAd:Instance").unwrap_or("https://login.microsoftonline.com/");
    let (tenant, client_id) = (sections.text("AzureAd:TenantId"), sections.text("AzureAd:ClientId"));
    let Some(client_id) = client_id else {
        return match tenant {
            Some(_) => Err(sections.wrong("AzureAd:TenantId", "`AzureAd:ClientId` is missing", "set it beside")),
            None => Ok(()),
        };
    };
    let Some(tenant) = tenant else {
        return Err(sections.wrong("AzureAd:ClientId", "`AzureAd:TenantId` is missing", "set it beside"));
    };
    if ["common", "organizations", "consumers"].contains(&tenant) {
        let hint = "name the one tenant whose application this is";
        return Err(sections.wrong("AzureAd:TenantId", "it names no tenant", hint));
    }
    let Some(entra) = settings.providers.iter_mut().find(|provider| provider.name == ENTRA) else { return Ok(()) };
    if entra.enabled {
        let problem = "the variable AZURE_ENABLED configures the same provider";
        return Err(sections.wrong("AzureAd:ClientId", problem, "keep one of them"));
    }
    let authority = format!("{}/{tenant}/v2.0", instance.trim_end_matches('/'));
    *entra = ProviderSettings {
        name: ENTRA.to_owned(),
        enabled: true,
        grants: Grants { token: Some(TokenGrant::ClientCredentials), exchange: Some(ExchangeGrant::OnBehalfOf) },
        issuer: None,
        tenants: Vec::new(),
        discovery: Some(format!("{authority}/.well-known/openid-configuration")),
        token_endpoint: None,
        jwks_uri: None,
        client_id: Some(client_id.to_owned()),
        credential: credential(sections, beside)?,
        assertion_audience: AssertionAudience::Issuer,
        audience: Some(client_id.to_owned()),
        events: None,
    };
    Ok(())
}

/// `AzureAd:ClientCredentials`: the first of them, as the sidecar has one.
fn credential(sections: &Sections, beside: &Path) -> Result<Option<Credential>, SettingsError> {
    const FIRST: &str = "AzureAd:ClientCredentials:0";
    if sections.has("AzureAd:ClientCredentials:1") {
        let hint = "keep the one that is in use";
        return Err(sections.wrong(&format!("{FIRST}:SourceType"), "there is more than one credential", hint));
    }
    let member = |name: &str| sections.text(&format!("{FIRST}:{name}"));
    let Some(source) = member("SourceType") else {
        return Ok(sections.text("AzureAd:ClientSecret").map(|secret| Credential::Secret(Secret::new(secret))));
    };
    let needed = |name: &str| {
        let missing =
            || sections.wrong(&format!("{FIRST}:SourceType"), &format!("`{name}` is missing"), "set it beside");
        member(name).ok_or_else(missing)
    };
    let credential = match source.to_ascii_lowercase().as_str() {
        "clientsecret" => Credential::Secret(Secret::new(needed("ClientSecret")?)),
        "signedassertionfilepath" => {
            // What the platform of workload identity sets.
            Credential::Federated(beside.join(needed("SignedAssertionFilePath")?))
        }
        "path" => {
            let certificate = beside.join(needed("CertificateDiskPath")?);
            Credential::Certificate { certificate: certificate.clone(), key: certificate }
        }
        "signedassertionfrommanagedidentity" => {
            Credential::Identity(member("ManagedIdentityClientId").map(str::to_owned))
        }
        _ => {
            let hint = "use `ClientSecret`, `SignedAssertionFilePath`, `SignedAssertionFromManagedIdentity`, or `Path` with a \
                        certificate and its key in PEM";
            return Err(sections.wrong(&format!("{FIRST}:SourceType"), "this source is not served", hint));
        }
    };
    Ok(Some(credential))
}

fn overrides(sections: &Sections) -> Result<Vec<EntraRoute>, SettingsError> {
    const REDIRECTS: &str = "Sidecar:AllowOutboundRedirects";
    if sections.switch(REDIRECTS, false)? {
        let hint = "take it out: a redirect would take the token where nobody configured; it is handed to the caller";
        return Err(sections.wrong(REDIRECTS, "redirects are never followed", hint));
    }
    let mut allowed = Vec::new();
    for (route, name, usual) in EntraRoute::ALL {
        if sections.switch(name, usual)? {
            allowed.push(route);
        }
    }
    Ok(allowed)
}

/// `DownstreamApis`: the APIs that are called for the application.
fn apis(sections: &Sections, settings: &Settings, beside: &Path) -> Result<Apis, SettingsError> {
    let mut apis = Vec::new();
    for name in sections.members("DownstreamApis") {
        let whole = |member: &str| format!("DownstreamApis:{name}:{member}");
        let text = |member: &str| sections.text(&whole(member)).map(str::to_owned);
        let wrong = |member: &str, problem: &str, hint: &str| sections.wrong(&whole(member), problem, hint);
        let url = text("BaseUrl").map(|url| base_url(&url)).transpose();
        let url = url.map_err(|problem| wrong("BaseUrl", problem, "write `https://HOST` with a path at most"))?;
        let provider = text("Provider").unwrap_or_else(|| settings.inbound.provider.clone());
        if !settings.providers.iter().any(|known| known.name == provider) {
            return Err(wrong("Provider", "there is no such provider", "name one that there is"));
        }
        let mut options = Options {
            scopes: sections.list(&whole("Scopes")),
            relative_path: text("RelativePath").unwrap_or_default(),
            as_application: sections.switch(&whole("RequestAppToken"), false)?,
            ..Options::default()
        };
        if let Some(method) = text("HttpMethod") {
            let named = method_named(&method);
            options.method = Some(named.ok_or_else(|| wrong("HttpMethod", "this method is not sent", "use `GET`"))?);
        }
        let value = |member: &str| {
            let header = text(member).map(|value| HeaderValue::from_str(&value));
            header.transpose().map_err(|_| wrong(member, "this is no value of a header", "write it in ASCII"))
        };
        (options.content_type, options.accept) = (value("ContentType")?, value("AcceptHeader")?);
        for header in sections.members(&whole("ExtraHeaderParameters")) {
            let member = format!("ExtraHeaderParameters:{header}");
            let known = header_name(&header).filter(is_forwardable);
            let known = known.ok_or_else(|| wrong(&member, "this header is not the API's", "take it out"))?;
            if let Some(value) = value(&member)? {
                options.headers.insert(known, value);
            }
        }
        for parameter in sections.members(&whole("ExtraQueryParameters")) {
            let value = text(&format!("ExtraQueryParameters:{parameter}")).unwrap_or_default();
            options.query.push((parameter, value));
        }
        let contract = text("Contract").map(|path| {
            let read = contract(&beside.join(path));
            read.map_err(|problem| wrong("Contract", &problem, "name a contract in JSON"))
        });
        apis.push(Api { provider, url, contract: contract.transpose()?, name, options });
    }
    Ok(Apis::new(apis))
}
