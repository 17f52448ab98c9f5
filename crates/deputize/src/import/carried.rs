//! What is carried over, in the words of an estate file, and what is not, with the reason and what to do instead.
use super::manifest::{self, Manifest, OptionalClaim, Scope};
use crate::failure::Failure;
use crate::output::printable;
use deputize_core::estate::optional_claim;
use serde::Serialize;
use std::collections::HashSet;

/// All applications that were given, as an estate declares them.
#[derive(Default)]
pub(super) struct Carried<'a> {
    applications: Vec<Application<'a>>,
    /// A sentence for each thing that an estate cannot hold.
    pub(super) left_out: Vec<String>,
}

#[derive(Serialize)]
struct Estate<'a> {
    tenants: [Tenant<'a>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Tenant<'a> {
    display_name: &'a str,
    domains: [&'a str; 1],
    applications: &'a [Application<'a>],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Application<'a> {
    app_id: &'a str,
    display_name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    sign_in_audience: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    identifier_uris: &'a [String],
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    is_fallback_public_client: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    group_membership_claims: Option<&'a str>,
    #[serde(skip_serializing_if = "Redirects::is_empty")]
    web: Redirects<'a>,
    #[serde(skip_serializing_if = "Redirects::is_empty")]
    spa: Redirects<'a>,
    #[serde(skip_serializing_if = "Redirects::is_empty")]
    public_client: Redirects<'a>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    password_credentials: Vec<Password<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    key_credentials: Vec<Certificate<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    required_resource_access: Vec<Required<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    app_roles: Vec<Role<'a>>,
    #[serde(skip_serializing_if = "OptionalClaims::is_empty")]
    optional_claims: OptionalClaims<'a>,
    api: Api<'a>,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Redirects<'a> {
    redirect_uris: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    logout_url: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    implicit_grant_settings: Option<IdTokens>,
}

/// What may come straight from the authorization endpoint here.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct IdTokens {
    enable_id_token_issuance: bool,
}

impl Redirects<'_> {
    fn is_empty(&self) -> bool {
        self.redirect_uris.is_empty() && self.logout_url.is_none() && self.implicit_grant_settings.is_none()
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Password<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    key_id: Option<&'a str>,
    display_name: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Certificate<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    key_id: Option<&'a str>,
    display_name: &'a str,
    key: Value<'a>,
}

#[derive(Serialize)]
struct Value<'a> {
    value: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Required<'a> {
    resource_app_id: &'a str,
    resource_access: Vec<Access<'a>>,
}

#[derive(Serialize)]
struct Access<'a> {
    id: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Role<'a> {
    id: &'a str,
    value: &'a str,
    display_name: &'a str,
    description: &'a str,
    allowed_member_types: &'a [String],
    is_enabled: bool,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct OptionalClaims<'a> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    access_token: Vec<Claim<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    id_token: Vec<Claim<'a>>,
}

impl OptionalClaims<'_> {
    fn is_empty(&self) -> bool {
        self.access_token.is_empty() && self.id_token.is_empty()
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Claim<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    essential: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    additional_properties: Vec<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Api<'a> {
    requested_access_token_version: u8,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    known_client_applications: Vec<&'a str>,
    #[serde(rename = "oauth2PermissionScopes", skip_serializing_if = "Vec::is_empty")]
    permissions: Vec<Permission<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pre_authorized_applications: Vec<PreAuthorized<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Permission<'a> {
    id: &'a str,
    value: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    admin_consent_display_name: &'a str,
    admin_consent_description: &'a str,
    user_consent_display_name: &'a str,
    user_consent_description: &'a str,
    is_enabled: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PreAuthorized<'a> {
    app_id: &'a str,
    delegated_permission_ids: Vec<&'a str>,
}

impl<'a> Carried<'a> {
    /// What of these manifests an estate can hold.
    pub(super) fn of(manifests: &'a [Manifest]) -> Self {
        let mut carried = Self::default();
        for manifest in manifests {
            let application = Reading { all: manifests, manifest, left_out: &mut carried.left_out }.application();
            carried.applications.push(application);
        }
        carried
    }

    /// The estate's text.
    pub(super) fn estate(&self, domain: &str) -> Result<String, Failure> {
        if let Some(nameless) =
            self.applications.iter().find(|app| app.app_id.is_empty() || app.display_name.is_empty())
        {
            let named = if nameless.app_id.is_empty() { "`appId`" } else { "`displayName` or `name`" };
            let hint = "give an application's manifest, as the portal downloads it or `az ad app show` prints it";
            return Err(Failure::new(format!("a manifest has no {named}"), hint));
        }
        let tenant = Tenant { display_name: domain, domains: [domain], applications: &self.applications };
        let body = toml::to_string(&Estate { tenants: [tenant] })
            .map_err(|error| Failure::plain(format!("the estate cannot be written: {error}")))?;
        let mut text = String::from("# Made from application manifests of Microsoft Entra ID.\n");
        text.push_str("# Consents, assignments, users and policies are no part of a manifest: declare them below.\n");
        if !self.left_out.is_empty() {
            text.push_str("#\n# Not carried over:\n");
        }
        for sentence in &self.left_out {
            text.push_str("#   ");
            text.push_str(&printable(sentence));
            text.push('\n');
        }
        Ok(format!("{text}\n{body}"))
    }
}

/// One manifest beside the others.
struct Reading<'a, 'l> {
    all: &'a [Manifest],
    manifest: &'a Manifest,
    left_out: &'l mut Vec<String>,
}

impl<'a> Reading<'a, '_> {
    fn leave(&mut self, what: &str) {
        self.left_out.push(format!("{}: {what}", self.manifest.display_name));
    }

    fn other(&self, app_id: &str) -> Option<&'a Manifest> {
        self.all.iter().find(|other| other.app_id.eq_ignore_ascii_case(app_id))
    }

    fn application(mut self) -> Application<'a> {
        let manifest = self.manifest;
        self.behaviour();
        let (web, spa, public_client) = self.redirects();
        Application {
            app_id: &manifest.app_id,
            display_name: &manifest.display_name,
            sign_in_audience: self.audience(),
            identifier_uris: &manifest.identifier_uris,
            is_fallback_public_client: manifest.is_fallback_public_client.unwrap_or_default(),
            group_membership_claims: self.groups(),
            web,
            spa,
            public_client,
            password_credentials: self.passwords(),
            key_credentials: self.certificates(),
            required_resource_access: self.required(),
            app_roles: self.roles(),
            optional_claims: self.optional_claims(),
            api: self.api(),
        }
    }

    /// What an application can ask for in Entra and cannot here.
    fn behaviour(&mut self) {
        let manifest = self.manifest;
        let implicit = &manifest.web.implicit_grant_settings;
        if manifest.implicit_access_tokens || implicit.enable_access_token_issuance {
            self.leave(
                "access tokens from the authorization endpoint (implicit flow): use the authorization code with PKCE",
            );
        }
        if manifest.api.accept_mapped_claims || manifest.others.get("acceptMappedClaims").is_some_and(|v| *v == true) {
            self.leave("acceptMappedClaims: there is no claims mapping");
        }
        for (name, why) in [
            ("samlMetadataUrl", "there is no SAML"),
            ("tokenEncryptionKeyId", "tokens are not encrypted"),
            ("publisherDomain", "publishers are not verified"),
        ] {
            if self.manifest.others.get(name).is_some_and(|value| !value.is_null()) {
                self.leave(&format!("{name}: {why}"));
            }
        }
        let blocked = |settings: &serde_json::Value| {
            settings.get("countriesBlockedForMinors").and_then(|list| list.as_array()).is_some_and(|l| !l.is_empty())
        };
        if manifest.others.get("parentalControlSettings").is_some_and(blocked) {
            self.leave("parentalControlSettings: the directory knows no ages");
        }
    }

    fn audience(&mut self) -> Option<&'a str> {
        match self.manifest.sign_in_audience.as_str() {
            "" | "AzureADMyOrg" => None,
            known @ ("AzureADMultipleOrgs" | "AzureADandPersonalMicrosoftAccount") => Some(known),
            other => {
                self.leave(&format!(
                    "signInAudience `{other}`: there are no personal accounts, so it is of this tenant alone"
                ));
                None
            }
        }
    }

    fn groups(&mut self) -> Option<&'a str> {
        match self.manifest.group_membership_claims.as_deref() {
            None | Some("" | "None") => None,
            Some(known @ ("SecurityGroup" | "ApplicationGroup" | "All")) => Some(known),
            Some(other) => {
                self.leave(&format!(
                    "groupMembershipClaims `{other}`: write `SecurityGroup`, `ApplicationGroup` or `All`"
                ));
                None
            }
        }
    }

    fn redirects(&mut self) -> (Redirects<'a>, Redirects<'a>, Redirects<'a>) {
        let manifest = self.manifest;
        let mut all: [Redirects<'a>; 3] = Default::default();
        let [web, spa, public] = &mut all;
        for (platform, of) in
            [(&mut *web, &manifest.web), (&mut *spa, &manifest.spa), (&mut *public, &manifest.public_client)]
        {
            platform.redirect_uris.extend(of.redirect_uris.iter().map(String::as_str));
        }
        for reply in &manifest.reply_urls_with_type {
            let platform = match reply.kind.as_str() {
                "Spa" => &mut *spa,
                "InstalledClient" => &mut *public,
                _ => &mut *web,
            };
            platform.redirect_uris.push(&reply.url);
        }
        if manifest.reply_urls_with_type.is_empty() {
            web.redirect_uris.extend(manifest.reply_urls.iter().map(String::as_str));
        }
        let told = manifest.web.logout_url.as_deref().or(manifest.logout_url.as_deref());
        web.logout_url = told.filter(|url| !url.is_empty());
        let id_tokens = manifest.implicit_id_tokens || manifest.web.implicit_grant_settings.enable_id_token_issuance;
        web.implicit_grant_settings = id_tokens.then_some(IdTokens { enable_id_token_issuance: true });
        for platform in &mut all {
            let mut seen = HashSet::new();
            platform.redirect_uris.retain(|uri| seen.insert(*uri));
            for uri in platform.redirect_uris.extract_if(.., |uri| uri.contains('*')).collect::<Vec<_>>() {
                self.leave(&format!("the redirect URI `{uri}`: there are no wildcards, list each one"));
            }
        }
        let [web, spa, public] = all;
        (web, spa, public)
    }

    /// Secrets are in no manifest: new ones are made when the estate is applied, and shown then.
    fn passwords(&mut self) -> Vec<Password<'a>> {
        let passwords = &self.manifest.password_credentials;
        if !passwords.is_empty() {
            self.leave("client secrets: a new one is made for each, and shown by `deputize apply`");
        }
        let mut names = HashSet::new();
        let password = |(at, password): (usize, &'a manifest::Password)| {
            let name = if password.display_name.is_empty() { "secret" } else { &password.display_name };
            let display_name = if names.insert(name) { name.to_owned() } else { format!("{name} {}", at + 1) };
            Password { key_id: password.key_id.as_deref(), display_name }
        };
        passwords.iter().enumerate().map(password).collect()
    }

    fn certificates(&mut self) -> Vec<Certificate<'a>> {
        let mut certificates: Vec<Certificate<'a>> = Vec::new();
        for key in &self.manifest.key_credentials {
            let manifest::Certificate { key_id, display_name, custom_key_identifier, key } = key;
            match key {
                // Each may stand there twice: for verifying and for signing.
                Some(key) if certificates.iter().any(|known| known.key.value == key) => {}
                Some(key) => {
                    let value = Value { value: key };
                    certificates.push(Certificate { key_id: key_id.as_deref(), display_name, key: value });
                }
                None => {
                    let thumbprint = custom_key_identifier.as_deref().unwrap_or("unknown");
                    self.leave(&format!(
                        "the certificate `{display_name}` (thumbprint {thumbprint}), which the manifest only names: add \
                         `keyCredentials = [{{ displayName = \"{display_name}\", key = {{ file = \"….pem\" }} }}]`"
                    ));
                }
            }
        }
        certificates
    }

    fn required(&mut self) -> Vec<Required<'a>> {
        let mut all = Vec::new();
        for required in &self.manifest.required_resource_access {
            let id = required.resource_app_id.as_str();
            let Some(resource) = self.other(id) else {
                let name = well_known(id).map(|name| format!(" ({name})")).unwrap_or_default();
                self.leave(&format!("permissions of {id}{name}, whose manifest was not given"));
                continue;
            };
            let mut access = Vec::new();
            for asked in &required.resource_access {
                let scope = resource.scopes().any(|scope| scope.id.eq_ignore_ascii_case(&asked.id));
                let role = resource.app_roles.iter().any(|role| role.id.eq_ignore_ascii_case(&asked.id));
                if (asked.kind == "Scope" && scope) || (asked.kind == "Role" && role) {
                    access.push(Access { id: &asked.id, kind: &asked.kind });
                } else {
                    self.leave(&format!("the permission {}, which {} does not have", asked.id, resource.display_name));
                }
            }
            if !access.is_empty() {
                all.push(Required { resource_app_id: id, resource_access: access });
            }
        }
        all
    }

    fn roles(&mut self) -> Vec<Role<'a>> {
        let mut roles = Vec::new();
        for role in &self.manifest.app_roles {
            if role.value.is_empty() {
                self.leave(&format!("the app role `{}`, which has no `value`", role.display_name));
                continue;
            }
            roles.push(Role {
                id: &role.id,
                value: &role.value,
                display_name: &role.display_name,
                description: &role.description,
                allowed_member_types: &role.allowed_member_types,
                is_enabled: role.is_enabled,
            });
        }
        roles
    }

    fn optional_claims(&mut self) -> OptionalClaims<'a> {
        let claims = &self.manifest.optional_claims;
        if !claims.saml.is_empty() {
            self.leave("optional claims of SAML tokens: there is no SAML");
        }
        OptionalClaims { access_token: self.claims(&claims.access, false), id_token: self.claims(&claims.id, true) }
    }

    fn claims(&mut self, claims: &'a [OptionalClaim], in_id_token: bool) -> Vec<Claim<'a>> {
        let mut all = Vec::new();
        for OptionalClaim { name, source, essential, additional_properties } in claims {
            let groups = self.manifest.group_membership_claims.as_deref().unwrap_or("None");
            let problem = match source {
                Some(source) => Err(format!("it cannot come from `{source}`")),
                None if name == "groups" && groups == "None" => {
                    Err("no groups are named: see groupMembershipClaims".to_owned())
                }
                None => optional_claim(name, in_id_token),
            };
            if let Err(problem) = problem {
                self.leave(&format!("the optional claim `{name}`: {problem}"));
                continue;
            }
            let (known, other): (Vec<_>, Vec<_>) = additional_properties
                .iter()
                .map(String::as_str)
                .partition(|property| matches!(*property, "use_guid" | "include_user_token"));
            for property in other {
                self.leave(&format!("`{property}` of the optional claim `{name}`"));
            }
            all.push(Claim { name, essential: *essential, additional_properties: known });
        }
        all
    }

    fn api(&mut self) -> Api<'a> {
        let manifest = self.manifest;
        let mut known_client_applications = Vec::new();
        for client in manifest.known_client_applications.iter().chain(&manifest.api.known_client_applications) {
            if self.other(client).is_some() {
                known_client_applications.push(client.as_str());
            } else {
                self.leave(&format!("knownClientApplications: {client}, whose manifest was not given"));
            }
        }
        let mut pre_authorized_applications = Vec::new();
        for client in manifest.pre_authorized_applications.iter().chain(&manifest.api.pre_authorized_applications) {
            if self.other(&client.app_id).is_some() {
                let ids = client.delegated_permission_ids.iter().map(String::as_str).collect();
                let app_id = &client.app_id;
                pre_authorized_applications.push(PreAuthorized { app_id, delegated_permission_ids: ids });
            } else {
                self.leave(&format!("preAuthorizedApplications: {}, whose manifest was not given", client.app_id));
            }
        }
        let version = manifest.api.requested_access_token_version.or(manifest.requested_access_token_version);
        Api {
            requested_access_token_version: version.unwrap_or(1),
            known_client_applications,
            permissions: manifest.scopes().map(permission).collect(),
            pre_authorized_applications,
        }
    }
}

impl Manifest {
    fn scopes(&self) -> impl Iterator<Item = &Scope> {
        self.api.oauth2_permission_scopes.iter().chain(&self.oauth2_permissions)
    }
}

fn permission(scope: &Scope) -> Permission<'_> {
    Permission {
        id: &scope.id,
        value: &scope.value,
        kind: if scope.kind == "User" { "User" } else { "Admin" },
        admin_consent_display_name: &scope.admin_consent_display_name,
        admin_consent_description: &scope.admin_consent_description,
        user_consent_display_name: &scope.user_consent_display_name,
        user_consent_description: &scope.user_consent_description,
        is_enabled: scope.is_enabled,
    }
}

/// APIs of Microsoft's that many applications ask for, and that do not exist here.
fn well_known(app_id: &str) -> Option<&'static str> {
    match app_id {
        "00000003-0000-0000-c000-000000000000" => Some("Microsoft Graph"),
        "00000002-0000-0000-c000-000000000000" => Some("Azure AD Graph"),
        "797f4846-ba00-4fd7-ba43-dac1f8f63013" => Some("Azure Service Management"),
        "e406a681-f3d4-42a8-90b6-c2b029497af1" => Some("Azure Storage"),
        "cfa8b339-82a2-471a-a3c9-0fc0be7a4093" => Some("Azure Key Vault"),
        _ => None,
    }
}
