//! Applications: what they offer, what they need, where browsers come back to, how they prove who they are.
use super::Item;
use super::declared::{ApplicationDeclared, CertificateDeclared, SecretDeclared, WebDeclared};
use super::resolve::{NewSecret, Work, derive};
use super::rules::{self, Platform};
use crate::id::{AppId, ObjectId, TenantId};
use crate::model::{
    AccessType, Api, AppRole, Application, ImplicitGrantSettings, KeyCredential, PasswordCredential, PermissionScope,
    PreAuthorizedApplication, RedirectUris, RequiredResourceAccess, ResourceAccess, WebApplication,
};
use oauth::Secret;
use serde_spanned::Spanned;
use std::collections::HashSet;

/// The shortest client secret that is taken from elsewhere: ours have 43 characters.
const SHORTEST_SECRET: usize = 16;
pub(crate) const TWO_YEARS: i64 = 2 * 365 * 86_400;

impl Work<'_> {
    pub(super) fn application(&mut self, tenant: TenantId, spanned: &Spanned<ApplicationDeclared>) {
        let declared = spanned.get_ref();
        let name = declared.display_name.get_ref().clone();
        self.check("name", &declared.display_name, rules::shown);
        // By position among those of the tenant's name and id, for two of one name are told of when they are taken in.
        let app_id = match &declared.app_id {
            Some(id) => AppId(id.get_ref().parse::<AppId>().unwrap_or_default().0),
            None => AppId(derive(tenant.0, "application", &name)),
        };
        let Some(own) = self.apps.iter().position(|app| app.tenant == tenant && app.app_id == app_id) else { return };
        for uri in &declared.identifier_uris {
            self.check("application ID URI", uri, rules::identifier_uri);
        }
        let application = Application {
            app_id,
            home_tenant: tenant,
            identifier_uris: declared.identifier_uris.iter().map(|uri| uri.get_ref().clone()).collect(),
            api: self.api(tenant, own, declared),
            app_roles: self.app_roles(own, declared),
            optional_claims: self.optional_claims(&declared.optional_claims, declared.group_membership_claims),
            group_membership_claims: declared.group_membership_claims,
            token_lifetime_policy: declared.token_lifetime_policy.as_ref().and_then(|policy| self.lifetime(policy)),
            required_resource_access: self.required(tenant, declared),
            web: self.web(&declared.web),
            spa: RedirectUris { redirect_uris: self.redirects(&declared.spa.redirect_uris, Platform::Spa) },
            public_client: RedirectUris {
                redirect_uris: self.redirects(&declared.public_client.redirect_uris, Platform::PublicClient),
            },
            is_fallback_public_client: declared.is_fallback_public_client,
            password_credentials: self.secrets(app_id, &name, &declared.password_credentials),
            key_credentials: self.certificates(app_id, &declared.key_credentials),
            federated_identity_credentials: self.federated(app_id, &declared.federated_identity_credentials),
            trusted_certificate_subjects: self.trusted_subjects(&declared.trusted_certificate_subjects),
            managed_identity: None,
            deputize: self.extensions(tenant, declared),
            display_name: name,
            sign_in_audience: declared.sign_in_audience,
            // Users are declared after applications: taken in with them.
            owners: Vec::new(),
        };
        self.push(declared.display_name.span(), Item::Application(application));
    }

    fn api(&mut self, tenant: TenantId, own: usize, declared: &ApplicationDeclared) -> Api {
        let api = &declared.api;
        if let Some(version) = &api.requested_access_token_version
            && !(1..=2).contains(version.get_ref())
        {
            self.fault(version.span(), "`requestedAccessTokenVersion` is out of range", "write 1 or 2");
        }
        let mut values = HashSet::new();
        let ids: Vec<_> = self.apps.get(own).map(|app| app.scopes.clone()).unwrap_or_default();
        let mut scopes = Vec::new();
        for (scope, (id, value)) in api.oauth2_permission_scopes.iter().zip(ids) {
            self.check("word for a scope", &scope.value, rules::permission);
            if !values.insert(value.to_ascii_lowercase()) {
                self.fault(scope.value.span(), format!("the scope `{value}` is declared twice"), "keep one of them");
            }
            let or = |text: &String, other: &String| if text.is_empty() { other.clone() } else { text.clone() };
            // Who writes one text writes it for both.
            let (to_user, to_admin) = (&scope.user_consent_display_name, &scope.admin_consent_display_name);
            let (user_name, admin_name) = (or(&or(to_user, to_admin), &value), or(&or(to_admin, to_user), &value));
            let (to_user, to_admin) = (&scope.user_consent_description, &scope.admin_consent_description);
            scopes.push(PermissionScope {
                id,
                kind: scope.kind,
                user_consent_description: or(&or(to_user, to_admin), &user_name),
                user_consent_display_name: user_name,
                admin_consent_description: or(&or(to_admin, to_user), &admin_name),
                admin_consent_display_name: admin_name,
                is_enabled: scope.is_enabled,
                value,
            });
        }
        let mut known = Vec::new();
        for client in &api.known_client_applications {
            known.extend(self.app(tenant, client, false).and_then(|at| self.apps.get(at)).map(|app| app.app_id));
        }
        let mut pre_authorized = Vec::new();
        for client in &api.pre_authorized_applications {
            let app_id = self.app(tenant, &client.app_id, false).and_then(|at| self.apps.get(at)).map(|app| app.app_id);
            let mut ids = Vec::new();
            for scope in &client.delegated_permission_ids {
                ids.extend(self.scope(own, scope.get_ref(), scope.span()));
            }
            pre_authorized
                .extend(app_id.map(|app_id| PreAuthorizedApplication { app_id, delegated_permission_ids: ids }));
        }
        Api {
            requested_access_token_version: api
                .requested_access_token_version
                .as_ref()
                .map(|version| *version.get_ref()),
            oauth2_permission_scopes: scopes,
            known_client_applications: known,
            pre_authorized_applications: pre_authorized,
        }
    }

    fn app_roles(&mut self, own: usize, declared: &ApplicationDeclared) -> Vec<AppRole> {
        let mut values = HashSet::new();
        let ids: Vec<_> = self.apps.get(own).map(|app| app.roles.clone()).unwrap_or_default();
        let mut roles = Vec::new();
        for (role, (id, value, members)) in declared.app_roles.iter().zip(ids) {
            self.check("word for an app role", &role.value, rules::permission);
            if !values.insert(value.clone()) {
                self.fault(role.value.span(), format!("the app role `{value}` is declared twice"), "keep one of them");
            }
            if members.is_empty() {
                let hint = "write `allowedMemberTypes = [\"User\"]`, `[\"Application\"]` or both";
                self.fault(role.allowed_member_types.span(), format!("nobody may have the app role `{value}`"), hint);
            }
            roles.push(AppRole {
                id,
                display_name: if role.display_name.is_empty() { value.clone() } else { role.display_name.clone() },
                description: role.description.clone(),
                allowed_member_types: members,
                is_enabled: role.is_enabled,
                value,
            });
        }
        roles
    }

    fn required(&mut self, tenant: TenantId, declared: &ApplicationDeclared) -> Vec<RequiredResourceAccess> {
        let mut all = Vec::new();
        for required in &declared.required_resource_access {
            let Some(at) = self.app(tenant, &required.resource_app_id, true) else { continue };
            let mut access = Vec::new();
            for needed in &required.resource_access {
                let id = match needed.kind {
                    AccessType::Scope => self.scope(at, needed.id.get_ref(), needed.id.span()).map(|id| id.0),
                    AccessType::Role => self.role(at, &needed.id).map(|(id, _)| id.0),
                };
                access.extend(id.map(|id| ResourceAccess { id: ObjectId(id), kind: needed.kind }));
            }
            let app_id = self.apps.get(at).map(|app| app.app_id);
            all.extend(
                app_id.map(|resource_app_id| RequiredResourceAccess { resource_app_id, resource_access: access }),
            );
        }
        all
    }

    fn web(&mut self, declared: &WebDeclared) -> WebApplication {
        if let Some(url) = &declared.logout_url {
            self.check("address for signing out", url, |url| rules::redirect_uri(url, Platform::Web));
        }
        let implicit = &declared.implicit_grant_settings;
        if let Some(enabled) = implicit.enable_access_token_issuance.as_ref().filter(|enabled| *enabled.get_ref()) {
            let hint = "leave it out, and use the authorization code flow with PKCE";
            self.fault(enabled.span(), "access tokens are never handed out without a code", hint);
        }
        WebApplication {
            redirect_uris: self.redirects(&declared.redirect_uris, Platform::Web),
            logout_url: declared.logout_url.as_ref().map(|url| url.get_ref().clone()),
            implicit_grant_settings: ImplicitGrantSettings {
                enable_id_token_issuance: implicit.enable_id_token_issuance,
            },
        }
    }

    fn redirects(&mut self, declared: &[Spanned<String>], platform: Platform) -> Vec<String> {
        for uri in declared {
            self.check("redirect URI", uri, |uri| rules::redirect_uri(uri, platform));
        }
        declared.iter().map(|uri| uri.get_ref().clone()).collect()
    }

    fn held_application(&self, app_id: AppId) -> Option<&Application> {
        match self.held.get(&("application", vec![app_id.0])) {
            Some(Item::Application(application)) => Some(application),
            _ => None,
        }
    }

    pub(super) fn certificates(&mut self, app: AppId, declared: &[Spanned<CertificateDeclared>]) -> Vec<KeyCredential> {
        let mut credentials: Vec<KeyCredential> = Vec::new();
        for certificate in declared.iter().map(Spanned::get_ref) {
            let read =
                self.materials.text(certificate.key.get_ref()).and_then(|text| self.materials.certificate(&text));
            let read = match read {
                Ok(read) => read,
                Err(hint) => {
                    self.fault(certificate.key.span(), "the certificate cannot be used", hint);
                    continue;
                }
            };
            if read.not_after <= self.now {
                let hint = "make a new one, and give its file here";
                self.fault(certificate.key.span(), format!("the certificate ended at {}", read.not_after), hint);
            }
            let key_id = ObjectId(self.id(certificate.key_id.as_ref(), || derive(app.0, "key", &read.key)));
            if credentials.iter().any(|known| known.key_id == key_id) {
                self.fault(certificate.key.span(), "this certificate is declared twice", "keep one of them");
            }
            credentials.push(KeyCredential {
                key_id,
                display_name: certificate.display_name.clone(),
                key: read.key,
                start_date_time: certificate.start_date_time.map_or(read.not_before, |moment| moment.0),
                end_date_time: certificate.end_date_time.map_or(read.not_after, |moment| moment.0),
            });
        }
        credentials
    }

    fn secrets(&mut self, app: AppId, name: &str, declared: &[Spanned<SecretDeclared>]) -> Vec<PasswordCredential> {
        let mut credentials: Vec<PasswordCredential> = Vec::new();
        for secret in declared.iter().map(Spanned::get_ref) {
            let called = secret.display_name.get_ref();
            let key_id = ObjectId(self.id(secret.key_id.as_ref(), || derive(app.0, "secret", called)));
            if credentials.iter().any(|known| known.key_id == key_id) {
                let problem = format!("the secret `{called}` is declared twice");
                self.fault(secret.display_name.span(), problem, "give each secret a `displayName` of its own");
                continue;
            }
            let held = self.held_application(app).and_then(|application| {
                application.password_credentials.iter().find(|known| known.key_id == key_id).cloned()
            });
            let start = secret.start_date_time.map(|moment| moment.0);
            let start = start.or(held.as_ref().map(|held| held.start_date_time)).unwrap_or(self.now);
            let end = secret.end_date_time.map_or(start.plus(TWO_YEARS), |moment| moment.0);
            if end <= start {
                let hint = "let it end after it begins";
                self.fault(secret.display_name.span(), format!("the secret `{called}` never works"), hint);
            }
            let given = match secret.secret.as_ref().map(|source| self.given_secret(source)) {
                Some(None) => continue,
                Some(given) => given,
                None => None,
            };
            let (digest, hint) = match (given, &held) {
                (Some(text), _) => (self.materials.digest(&text), hint_of(&text)),
                (None, Some(held)) => (held.digest, held.hint.clone()),
                (None, None) => {
                    let text = self.materials.new_secret();
                    let shown = (self.materials.digest(&text), hint_of(&text));
                    let new = NewSecret { application: name.to_owned(), name: called.clone(), secret: text };
                    self.done.secrets.push(new);
                    shown
                }
            };
            credentials.push(PasswordCredential {
                key_id,
                display_name: called.clone(),
                digest,
                hint,
                start_date_time: start,
                end_date_time: end,
            });
        }
        credentials
    }

    fn given_secret(&mut self, source: &Spanned<super::Source>) -> Option<Secret> {
        if source.get_ref().value.is_some() {
            let hint = "name a `file` or an environment variable with `env`, or leave `secret` out to have one made";
            self.fault(source.span(), "a client secret does not belong into this file", hint);
            return None;
        }
        match self.materials.text(source.get_ref()) {
            Ok(text) if text.expose().len() < SHORTEST_SECRET => {
                let hint =
                    format!("it needs {SHORTEST_SECRET} characters or more; leave `secret` out to have one made");
                self.fault(source.span(), "the client secret is too short", hint);
                None
            }
            Ok(text) => Some(text),
            Err(hint) => {
                self.fault(source.span(), "the client secret cannot be read", hint);
                None
            }
        }
    }
}

/// Enough to tell secrets apart, and useless for guessing.
pub(crate) fn hint_of(secret: &Secret) -> String {
    secret.expose().chars().take(3).collect()
}
