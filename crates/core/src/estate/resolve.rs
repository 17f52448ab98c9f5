//! From what is declared to objects: ids, references, and everything that can be wrong.
use super::declared::{ApplicationDeclared, Declared, ManagedIdentityDeclared, TenantDeclared};
use super::names::nearest;
use super::{Item, ItemKey, Materials, rules};
use crate::built_in;
use crate::directory::Registration;
use crate::id::{AppId, PermissionId, PrincipalId, RoleId, TenantId};
use crate::model::{MemberType, ServicePrincipal, Tenant};
use decision::Timestamp;
use oauth::Secret;
use serde_spanned::Spanned;
use std::collections::{HashMap, HashSet};
use std::ops::Range;
use uuid::Uuid;

/// Something in the file that cannot stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where, as octets of the file.
    pub at: Range<usize>,
    /// What is wrong.
    pub problem: String,
    /// What is expected.
    pub hint: String,
}

/// A client secret that was made, to be shown once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewSecret {
    /// Whose.
    pub application: String,
    /// Its name.
    pub name: String,
    /// The secret.
    pub secret: Secret,
}

/// The objects of an estate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolved {
    /// By kind, in the order of the file.
    pub items: Vec<Item>,
    /// Secrets that did not exist before.
    pub secrets: Vec<NewSecret>,
}

/// Resolves what is declared. `held` is what the store has: credentials, password hashes and users' own consents are kept.
/// With `prune`, what is held and not declared is no obstacle, for it ends.
///
/// # Errors
/// Everything that is wrong, in the order of the file.
pub fn resolve(
    declared: &Declared,
    held: &[Item],
    materials: &dyn Materials,
    now: Timestamp,
    prune: bool,
) -> Result<Resolved, Vec<Fault>> {
    let held = held.iter().map(|item| (item.key(), item)).collect();
    let mut work = Work {
        held,
        materials,
        now,
        apps: Vec::new(),
        principals: HashMap::new(),
        seen: HashSet::new(),
        done: Resolved::default(),
        faults: Vec::new(),
    };
    let tenants: Vec<TenantId> = declared.tenants.iter().map(|tenant| work.tenant(tenant)).collect();
    let with_ids = || tenants.iter().copied().zip(declared.tenants.iter().map(Spanned::get_ref));
    for (id, tenant) in with_ids() {
        for application in &tenant.applications {
            work.register(id, application.get_ref());
        }
        for identity in &tenant.managed_identities {
            work.register_identity(id, identity.get_ref());
        }
        work.built_in(id);
    }
    for (id, tenant) in with_ids() {
        tenant.applications.iter().for_each(|application| work.application(id, application));
        tenant.managed_identities.iter().for_each(|identity| work.managed_identity(id, identity.get_ref()));
    }
    for (id, tenant) in with_ids() {
        work.service_principals(id, tenant);
    }
    for (id, tenant) in with_ids() {
        work.people(id, tenant);
    }
    work.guests(with_ids().collect());
    for (id, tenant) in with_ids() {
        work.owners(id, tenant);
        work.edges(id, tenant);
    }
    work.collisions(prune);
    if work.faults.is_empty() {
        return Ok(work.done);
    }
    work.faults.sort_by_key(|fault| fault.at.start);
    Err(work.faults)
}

/// What is known of a declared application while others refer to it.
pub(super) struct Registered {
    pub(super) tenant: TenantId,
    pub(super) app_id: AppId,
    pub(super) name: String,
    pub(super) uris: Vec<String>,
    pub(super) scopes: Vec<(PermissionId, String)>,
    pub(super) roles: Vec<(RoleId, String, Vec<MemberType>)>,
}

/// The id of an application's service principal in a tenant, where none is declared: whoever makes it first.
pub fn provisioned(tenant: TenantId, app: AppId) -> PrincipalId {
    PrincipalId(derive(tenant.0, "servicePrincipal", &app.to_string()))
}

pub(super) struct Work<'a> {
    pub(super) held: HashMap<ItemKey, &'a Item>,
    pub(super) materials: &'a dyn Materials,
    pub(super) now: Timestamp,
    pub(super) apps: Vec<Registered>,
    pub(super) principals: HashMap<(TenantId, AppId), PrincipalId>,
    seen: HashSet<ItemKey>,
    pub(super) done: Resolved,
    faults: Vec<Fault>,
}

/// The same name gives the same id, in every store.
pub(super) fn derive(namespace: Uuid, kind: &str, name: &str) -> Uuid {
    Uuid::new_v5(&namespace, format!("{kind}:{name}").as_bytes())
}

impl Work<'_> {
    pub(super) fn fault(&mut self, at: Range<usize>, problem: impl Into<String>, hint: impl Into<String>) {
        self.faults.push(Fault { at, problem: problem.into(), hint: hint.into() });
    }

    /// Applies a rule to a text.
    pub(super) fn check(&mut self, what: &str, text: &Spanned<String>, rule: impl FnOnce(&str) -> Result<(), String>) {
        if let Err(hint) = rule(text.get_ref()) {
            self.fault(text.span(), format!("`{}` is no {what}", text.get_ref()), hint);
        }
    }

    /// An id that is declared, or derived.
    pub(super) fn id(&mut self, given: Option<&Spanned<String>>, derived: impl FnOnce() -> Uuid) -> Uuid {
        let Some(text) = given else { return derived() };
        match text.get_ref().parse::<AppId>() {
            Ok(AppId(id)) if !id.is_nil() => id,
            _ => {
                let hint = "an id looks like `8f6dc1d3-0c4d-4f2a-9c0e-0d6f4d4d2a11`; without one it is derived";
                self.fault(text.span(), format!("`{}` is no id", text.get_ref()), hint);
                Uuid::nil()
            }
        }
    }

    /// Takes an object in, once.
    pub(super) fn push(&mut self, at: Range<usize>, item: Item) {
        if self.seen.insert(item.key()) {
            self.done.items.push(item);
        } else {
            let hint = "keep one of them, or give one another name or id";
            self.fault(at, format!("this {} is declared twice", item.kind()), hint);
        }
    }

    fn tenant(&mut self, spanned: &Spanned<TenantDeclared>) -> TenantId {
        let tenant = spanned.get_ref();
        self.check("name", &tenant.display_name, rules::shown);
        for domain in &tenant.domains {
            self.check("domain", domain, rules::domain);
        }
        if tenant.domains.is_empty() {
            self.fault(
                tenant.display_name.span(),
                "the tenant has no domain",
                "name one: `domains = [\"contoso.example\"]`",
            );
        }
        let domain = tenant.domains.first().map_or("", |domain| domain.get_ref().as_str());
        let id = TenantId(self.id(tenant.id.as_ref(), || Uuid::new_v5(&Uuid::NAMESPACE_DNS, domain.as_bytes())));
        let settings = tenant.settings.as_ref().map(|settings| settings.get_ref().clone()).unwrap_or_default();
        if let Some(spanned) = &tenant.settings {
            let seconds = [settings.app_token_seconds, settings.access_token_seconds];
            let tokens = seconds.into_iter().flatten().all(|seconds| (60..=86_400).contains(&seconds));
            let long = [settings.refresh_token_seconds, settings.session_seconds];
            if !tokens || !long.iter().all(|seconds| (60..=366 * 86_400).contains(seconds)) {
                let hint = "tokens live 60 to 86400 seconds, sessions and refresh tokens up to a year";
                self.fault(spanned.span(), "a lifetime in `settings` is out of range", hint);
            }
            if !(1..=7).contains(&settings.max_chain_depth) {
                self.fault(
                    spanned.span(),
                    "`maxChainDepth` is out of range",
                    "chains have 1 to 7 hops: eight actors, the first client among them",
                );
            }
        }
        let domains = tenant.domains.iter().map(|domain| domain.get_ref().clone()).collect();
        let display_name = tenant.display_name.get_ref().clone();
        let named_locations = self.named_locations(id, &tenant.named_locations);
        self.push(
            tenant.display_name.span(),
            Item::Tenant(Tenant { id, display_name, domains, enabled: tenant.enabled, settings, named_locations }),
        );
        id
    }

    /// First pass over an application: its ids, so that others can refer to it.
    fn register(&mut self, tenant: TenantId, application: &ApplicationDeclared) {
        let name = application.display_name.get_ref();
        let app_id = AppId(self.id(application.app_id.as_ref(), || derive(tenant.0, "application", name)));
        let mut scopes = Vec::new();
        for scope in &application.api.oauth2_permission_scopes {
            let value = scope.value.get_ref().clone();
            let id = self.id(scope.id.as_ref(), || derive(app_id.0, "scope", &value));
            scopes.push((PermissionId(id), value));
        }
        let mut roles = Vec::new();
        for role in &application.app_roles {
            let value = role.value.get_ref().clone();
            let id = self.id(role.id.as_ref(), || derive(app_id.0, "role", &value));
            roles.push((RoleId(id), value, role.allowed_member_types.get_ref().clone()));
        }
        let uris = application.identifier_uris.iter().map(|uri| uri.get_ref().clone()).collect();
        self.apps.push(Registered { tenant, app_id, name: name.clone(), uris, scopes, roles });
    }

    fn register_identity(&mut self, tenant: TenantId, identity: &ManagedIdentityDeclared) {
        // Told of here if it is no id.
        self.id(identity.app_id.as_ref(), Uuid::nil);
        let app_id = super::workload::id_of(tenant, identity);
        let name = identity.display_name.get_ref().clone();
        self.apps.push(Registered { tenant, app_id, name, uris: Vec::new(), scopes: Vec::new(), roles: Vec::new() });
    }

    /// The authority itself, whose permissions are granted like any API's. It stands in every tenant without being declared.
    fn built_in(&mut self, tenant: TenantId) {
        let Registration { application, principal } = built_in::registration(tenant);
        let scopes = application.api.oauth2_permission_scopes.into_iter().map(|scope| (scope.id, scope.value));
        let roles = application.app_roles.into_iter().map(|role| (role.id, role.value, role.allowed_member_types));
        self.principals.insert((tenant, application.app_id), principal.id);
        self.apps.push(Registered {
            tenant,
            app_id: application.app_id,
            name: application.display_name,
            uris: application.identifier_uris,
            scopes: scopes.collect(),
            roles: roles.collect(),
        });
    }

    fn service_principals(&mut self, tenant: TenantId, declared: &TenantDeclared) {
        let mut special = HashMap::new();
        for spanned in &declared.service_principals {
            let principal = spanned.get_ref();
            let Some(at) = self.app(tenant, &principal.app_id, true) else { continue };
            let Some(app_id) = self.apps.get(at).map(|app| app.app_id) else { continue };
            if app_id == built_in::APP {
                let hint = "drop it: the authority stands in every tenant, enabled";
                self.fault(principal.app_id.span(), "this service principal is the authority's own", hint);
                continue;
            }
            if special.insert(app_id, principal).is_some() {
                let hint = "keep one of them";
                self.fault(principal.app_id.span(), "this service principal is declared twice", hint);
            }
        }
        let declared = |app: &&Registered| app.tenant == tenant && app.app_id != built_in::APP;
        let mut own: Vec<AppId> = self.apps.iter().filter(declared).map(|app| app.app_id).collect();
        let foreign: Vec<AppId> = special.keys().copied().filter(|id| !own.contains(id)).collect();
        own.extend(foreign);
        for app_id in own {
            let special = special.get(&app_id);
            let given = special.and_then(|it| it.id.as_ref());
            self.reach(tenant, app_id, special.map(|it| it.app_id.span()));
            let id = PrincipalId(self.id(given, || provisioned(tenant, app_id).0));
            self.principals.insert((tenant, app_id), id);
            let item = Item::ServicePrincipal(ServicePrincipal {
                id,
                tenant,
                app_id,
                account_enabled: special.is_none_or(|it| it.account_enabled),
                app_role_assignment_required: special.is_some_and(|it| it.app_role_assignment_required),
            });
            let at = special.map_or(0..0, |it| it.app_id.span());
            // Two applications of one id were told of already.
            if !self.seen.contains(&item.key()) {
                self.push(at, item);
            }
        }
    }

    /// The application that a reference means: by client id, application ID URI or display name.
    pub(super) fn app(&mut self, tenant: TenantId, text: &Spanned<String>, foreign: bool) -> Option<usize> {
        let word = text.get_ref().as_str();
        match self.called(tenant, word, foreign).as_slice() {
            [one] => Some(*one),
            [] => {
                let own = self.apps.iter().filter(|app| app.tenant == tenant);
                let known: Vec<&str> =
                    own.flat_map(|app| std::iter::once(&app.name).chain(&app.uris)).map(String::as_str).collect();
                let hint = suggestion(word, &known, "the applications of this tenant are");
                self.fault(text.span(), format!("there is no application `{word}` in this tenant"), hint);
                None
            }
            _ => {
                let hint = "write the appId of the one that is meant";
                self.fault(text.span(), format!("several applications are called `{word}`"), hint);
                None
            }
        }
    }

    /// All applications that a reference may mean.
    pub(super) fn called(&self, tenant: TenantId, word: &str, foreign: bool) -> Vec<usize> {
        let by_id = |app: &Registered| {
            app.app_id.to_string().eq_ignore_ascii_case(word)
                || app.uris.iter().any(|uri| uri.eq_ignore_ascii_case(word))
        };
        let here = |app: &Registered| app.tenant == tenant && (by_id(app) || app.name == word);
        let there = |app: &Registered| {
            app.tenant != tenant && by_id(app) && (foreign || self.principals.contains_key(&(tenant, app.app_id)))
        };
        let positions = |wanted: &dyn Fn(&Registered) -> bool| -> Vec<usize> {
            self.apps.iter().enumerate().filter(|(_, app)| wanted(app)).map(|(at, _)| at).collect()
        };
        let found = positions(&here);
        if found.is_empty() { positions(&there) } else { found }
    }

    /// A scope of an application, by value or id.
    pub(super) fn scope(&mut self, app: usize, text: &str, at: Range<usize>) -> Option<PermissionId> {
        let app = self.apps.get(app)?;
        let known = |(id, value): &&(PermissionId, String)| value == text || id.to_string() == text;
        if let Some((id, _)) = app.scopes.iter().find(known) {
            return Some(*id);
        }
        let values: Vec<&str> = app.scopes.iter().map(|(_, value)| value.as_str()).collect();
        let hint = suggestion(text, &values, "its scopes are");
        let problem = format!("`{}` publishes no scope `{text}`", app.name);
        self.fault(at, problem, hint);
        None
    }

    /// An app role of an application, by value or id, with who may have it.
    pub(super) fn role(&mut self, app: usize, text: &Spanned<String>) -> Option<(RoleId, Vec<MemberType>)> {
        let app = self.apps.get(app)?;
        let word = text.get_ref();
        if let Some((id, _, members)) = app.roles.iter().find(|(id, value, _)| value == word || id.to_string() == *word)
        {
            return Some((*id, members.clone()));
        }
        let values: Vec<&str> = app.roles.iter().map(|(_, value, _)| value.as_str()).collect();
        let hint = suggestion(word, &values, "its app roles are");
        let problem = format!("`{}` has no app role `{word}`", app.name);
        self.fault(text.span(), problem, hint);
        None
    }

    /// What is declared may not take what others in the store already have.
    fn collisions(&mut self, prune: bool) {
        let tenants: HashSet<TenantId> = self.done.items.iter().map(Item::tenant).collect();
        let ends = |item: &Item| self.seen.contains(&item.key()) || (prune && tenants.contains(&item.tenant()));
        let mut domains = HashMap::new();
        let mut uris = HashMap::new();
        let mut names = HashMap::new();
        for item in self.held.values().filter(|item| !ends(item)) {
            match item {
                Item::Tenant(it) => {
                    domains.extend(it.domains.iter().map(|domain| (domain.to_ascii_lowercase(), it.id.0)));
                }
                Item::Application(it) => {
                    let folded = it.identifier_uris.iter().map(|uri| (it.home_tenant, folded_uri(uri)));
                    uris.extend(folded.map(|key| (key, it.app_id.0)));
                }
                Item::User(it) => {
                    names.insert((it.tenant, it.user_principal_name.to_lowercase()), it.id.0);
                }
                _ => {}
            }
        }
        let mut found = Vec::new();
        let mut claim = |taken: Option<Uuid>, own: Uuid, what: String| {
            if let Some(other) = taken.filter(|other| *other != own) {
                found.push(format!("{what} already belongs to `{other}`"));
            }
        };
        for item in &self.done.items {
            match item {
                Item::Tenant(it) => {
                    for domain in &it.domains {
                        claim(domains.insert(domain.clone(), it.id.0), it.id.0, format!("the domain `{domain}`"));
                    }
                }
                Item::Application(it) => {
                    for uri in &it.identifier_uris {
                        let key = (it.home_tenant, folded_uri(uri));
                        let what = format!("the identifier URI `{uri}` of `{}`", it.display_name);
                        claim(uris.insert(key, it.app_id.0), it.app_id.0, what);
                    }
                    if let Some(Item::Application(old)) = self.held.get(&item.key())
                        && old.home_tenant != it.home_tenant
                    {
                        let what = format!("the appId `{}` of `{}`", it.app_id, it.display_name);
                        claim(Some(old.home_tenant.0), it.home_tenant.0, what);
                    }
                }
                Item::User(it) => {
                    let name = &it.user_principal_name;
                    let taken = names.insert((it.tenant, name.to_lowercase()), it.id.0);
                    claim(taken, it.id.0, format!("the userPrincipalName `{name}`"));
                }
                _ => {}
            }
        }
        for problem in found {
            self.fault(0..0, problem, "choose another, or declare the one that exists with its `id`");
        }
    }
}

/// An application ID URI as it is compared.
fn folded_uri(uri: &str) -> String {
    uri.trim_end_matches('/').to_ascii_lowercase()
}

/// What was probably meant, or what there is.
pub(super) fn suggestion(written: &str, known: &[&str], there_are: &str) -> String {
    match nearest(written, known.iter().copied()) {
        Some(word) if word != written => format!("did you mean `{word}`?"),
        _ if known.is_empty() => "there are none; declare it first".into(),
        _ => format!("{there_are}: {}", known.join(", ")),
    }
}
