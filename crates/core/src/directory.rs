//! What grants read of the directory: tenants and applications from a snapshot, users one at a time.
use crate::id::{AppId, GroupId, PrincipalId, RoleId, TenantId, UserId};
use crate::model::{
    Api, AppRole, Application, Assignee, HomeAccount, MemberType, PermissionGrant, PermissionScope, Policy, Profile,
    RoleAssignment, ServicePrincipal, Tenant, User,
};
use crate::workload::{TOKEN_EXCHANGE, TOKEN_EXCHANGE_ID};
use decision::Timestamp;
use oauth::Scopes;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Everything but users, at one point of the change log.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// The last change this snapshot contains.
    pub sequence: u64,
    tenants: HashMap<TenantId, Arc<TenantDirectory>>,
    domains: HashMap<String, TenantId>,
    applications: HashMap<AppId, Arc<Application>>,
    spa_origins: HashSet<String>,
}

/// The origin of a URL: scheme, host and port, as they are written (RFC 6454 section 4).
pub(crate) fn origin(url: &str) -> Option<&str> {
    let host = url.find("://")?.checked_add(3)?;
    let end = url.get(host..)?.find(['/', '?', '#']).map_or(url.len(), |end| host + end);
    url.get(..end).filter(|_| end > host)
}

/// One tenant's part of a snapshot.
#[derive(Clone, Debug)]
pub struct TenantDirectory {
    /// The tenant.
    pub tenant: Tenant,
    /// Its conditional-access policies that are enabled, or report only.
    pub policies: Vec<Policy>,
    by_app: HashMap<AppId, Arc<Registration>>,
    by_principal: HashMap<PrincipalId, AppId>,
    by_uri: HashMap<String, AppId>,
    grants: HashMap<(PrincipalId, PrincipalId), Scopes>,
    assignments: HashMap<(PrincipalId, PrincipalId), Vec<RoleId>>,
}

/// An application as it stands in a tenant.
#[derive(Clone, Debug)]
pub struct Registration {
    /// The registration.
    pub application: Application,
    /// Its service principal here.
    pub principal: ServicePrincipal,
}

/// The objects that a snapshot is built from.
#[derive(Clone, Debug, Default)]
pub struct Objects {
    /// All tenants.
    pub tenants: Vec<Tenant>,
    /// All registrations.
    pub applications: Vec<Application>,
    /// All service principals.
    pub principals: Vec<ServicePrincipal>,
    /// Tenant-wide grants (those of single users are ignored here).
    pub grants: Vec<PermissionGrant>,
    /// Assignments of service principals (others are ignored here).
    pub assignments: Vec<RoleAssignment>,
    /// All policies.
    pub policies: Vec<Policy>,
}

impl Snapshot {
    /// Joins the objects. What points nowhere (a principal without its registration) is left out: it can do nothing. So is
    /// an application of one tenant alone that stands in another.
    pub fn build(sequence: u64, objects: Objects) -> Self {
        let applications: HashMap<AppId, Application> =
            objects.applications.into_iter().map(|a| (a.app_id, a)).collect();
        let mut tenants: HashMap<TenantId, TenantDirectory> = HashMap::new();
        let mut domains = HashMap::new();
        for tenant in objects.tenants {
            domains.extend(tenant.domains.iter().map(|domain| (domain.to_ascii_lowercase(), tenant.id)));
            tenants.insert(tenant.id, TenantDirectory::empty(tenant));
        }
        for principal in objects.principals {
            if let (Some(tenant), Some(application)) =
                (tenants.get_mut(&principal.tenant), applications.get(&principal.app_id))
                && application.may_stand_in(principal.tenant)
            {
                tenant.add(Registration { application: application.clone(), principal });
            }
        }
        for tenant in tenants.values_mut() {
            tenant.add_token_exchange();
            // After those that are declared: none of them can take its place.
            tenant.add(crate::built_in::registration(tenant.tenant.id));
        }
        for grant in objects.grants.into_iter().filter(|grant| grant.principal_id.is_none()) {
            if let Some(tenant) = tenants.get_mut(&grant.tenant) {
                let granted = tenant.grants.entry((grant.client_id, grant.resource_id)).or_default();
                *granted = granted.union(&grant.scope);
            }
        }
        for assignment in objects.assignments {
            if let (Some(tenant), Assignee::ServicePrincipal(principal)) =
                (tenants.get_mut(&assignment.tenant), assignment.assignee)
            {
                tenant.assignments.entry((principal, assignment.resource_id)).or_default().push(assignment.app_role_id);
            }
        }
        for policy in objects.policies.into_iter().filter(|p| p.state != crate::model::PolicyState::Disabled) {
            if let Some(tenant) = tenants.get_mut(&policy.tenant) {
                tenant.policies.push(policy);
            }
        }
        let uris = applications.values().flat_map(|application| &application.spa.redirect_uris);
        Self {
            sequence,
            spa_origins: uris.filter_map(|uri| origin(uri)).map(str::to_owned).collect(),
            tenants: tenants.into_iter().map(|(id, tenant)| (id, Arc::new(tenant))).collect(),
            domains,
            applications: applications.into_iter().map(|(id, application)| (id, Arc::new(application))).collect(),
        }
    }

    /// Whether an origin is that of a single-page application's redirect URI: its pages may read the token endpoint.
    pub fn spa_origin(&self, origin: &str) -> bool {
        self.spa_origins.contains(origin)
    }
    /// A tenant by id.
    pub fn tenant(&self, id: TenantId) -> Option<&Arc<TenantDirectory>> {
        self.tenants.get(&id)
    }

    /// A tenant by one of its domains, in any case.
    pub fn by_domain(&self, domain: &str) -> Option<&Arc<TenantDirectory>> {
        self.tenants.get(self.domains.get(&domain.to_ascii_lowercase())?)
    }

    /// A registration, wherever it stands.
    pub fn application(&self, id: AppId) -> Option<&Arc<Application>> {
        self.applications.get(&id)
    }

    /// All registrations.
    pub fn applications(&self) -> impl Iterator<Item = &Arc<Application>> {
        self.applications.values()
    }

    /// The registrations that call themselves by this application ID URI, or client id, as a resource.
    pub fn applications_named(&self, name: &str) -> impl Iterator<Item = &Arc<Application>> {
        let bare = name.strip_suffix('/').unwrap_or(name).to_ascii_lowercase();
        self.applications.values().filter(move |application| {
            let uris = application.identifier_uris.iter();
            application.app_id.to_string() == bare
                || format!("api://{}", application.app_id) == bare
                || uris.map(|uri| uri.strip_suffix('/').unwrap_or(uri)).any(|uri| uri.eq_ignore_ascii_case(&bare))
        })
    }

    /// All tenants.
    pub fn tenants(&self) -> impl Iterator<Item = &Arc<TenantDirectory>> {
        self.tenants.values()
    }
}

impl TenantDirectory {
    fn empty(tenant: Tenant) -> Self {
        Self {
            tenant,
            policies: Vec::new(),
            by_app: HashMap::new(),
            by_principal: HashMap::new(),
            by_uri: HashMap::new(),
            grants: HashMap::new(),
            assignments: HashMap::new(),
        }
    }

    fn add(&mut self, registration: Registration) {
        let app = registration.application.app_id;
        self.by_principal.insert(registration.principal.id, app);
        for uri in &registration.application.identifier_uris {
            self.by_uri.insert(uri.to_ascii_lowercase(), app);
        }
        self.by_app.insert(app, Arc::new(registration));
    }

    /// The resource that tokens are for which serve as assertions elsewhere: every tenant has it, as at Microsoft Entra ID.
    fn add_token_exchange(&mut self) {
        let tenant = self.tenant.id;
        if self.resource(TOKEN_EXCHANGE).is_some() {
            return;
        }
        let app_id = AppId(TOKEN_EXCHANGE_ID.parse().unwrap_or_default());
        let application = Application {
            app_id,
            home_tenant: tenant,
            display_name: "Token exchange".to_owned(),
            identifier_uris: vec![TOKEN_EXCHANGE.to_owned()],
            api: Api { requested_access_token_version: Some(2), ..Api::default() },
            ..Application::default()
        };
        let principal = ServicePrincipal {
            id: PrincipalId(uuid::Uuid::new_v5(&tenant.0, TOKEN_EXCHANGE.as_bytes())),
            tenant,
            app_id,
            account_enabled: true,
            app_role_assignment_required: false,
        };
        self.add(Registration { application, principal });
    }

    /// A copy with further applications in it.
    #[must_use]
    pub fn with(&self, added: impl IntoIterator<Item = Registration>) -> Self {
        let mut tenant = self.clone();
        added.into_iter().for_each(|registration| tenant.add(registration));
        tenant
    }

    /// An application by its client id.
    pub fn app(&self, id: AppId) -> Option<&Arc<Registration>> {
        self.by_app.get(&id)
    }

    /// An application by its service principal.
    pub fn principal(&self, id: PrincipalId) -> Option<&Arc<Registration>> {
        self.app(*self.by_principal.get(&id)?)
    }

    /// An application by a name of its as a resource: the client id, `api://{client id}` or an application ID URI, with or
    /// without one trailing slash. The entra profile compares URIs without regard to case, the native profile exactly.
    pub fn resource(&self, name: &str) -> Option<&Arc<Registration>> {
        if let Some(app) = name.parse().ok().and_then(|id| self.app(id)) {
            return Some(app);
        }
        let bare = name.strip_suffix('/').unwrap_or(name);
        let found = [name, bare].into_iter().find_map(|uri| self.by_uri.get(&uri.to_ascii_lowercase()));
        let registration = self.app(*found?)?;
        let application = &registration.application;
        let exact = application.identifier_uris.iter().any(|uri| uri == name || uri == bare);
        (exact || application.deputize.resource_profile == Profile::Entra).then_some(registration)
    }

    /// What was consented to for all users.
    pub fn grant(&self, client: PrincipalId, resource: PrincipalId) -> Option<&Scopes> {
        self.grants.get(&(client, resource))
    }

    /// Everything that was consented to for all users, by (client, resource).
    pub fn grants(&self) -> impl Iterator<Item = (&(PrincipalId, PrincipalId), &Scopes)> {
        self.grants.iter()
    }

    /// The app roles that a service principal has at a resource; an empty slice means assigned without a role.
    pub fn assignment(&self, principal: PrincipalId, resource: PrincipalId) -> Option<&[RoleId]> {
        self.assignments.get(&(principal, resource)).map(Vec::as_slice)
    }

    /// All applications of the tenant.
    pub fn apps(&self) -> impl Iterator<Item = &Arc<Registration>> {
        self.by_app.values()
    }
}

impl Application {
    /// A published, enabled delegated permission, by its word. Entra compares without regard to case.
    pub fn permission(&self, value: &str) -> Option<&PermissionScope> {
        let entra = self.deputize.resource_profile == Profile::Entra;
        let mut enabled = self.api.oauth2_permission_scopes.iter().filter(|scope| scope.is_enabled);
        enabled.find(|scope| scope.value == value || (entra && scope.value.eq_ignore_ascii_case(value)))
    }
}

impl Registration {
    /// A published, enabled delegated permission, by its word.
    pub fn permission(&self, value: &str) -> Option<&PermissionScope> {
        self.application.permission(value)
    }

    /// The words of those of these roles that are enabled and meant for such members.
    pub fn role_values(&self, roles: &[RoleId], member: MemberType) -> Vec<String> {
        let issued = |role: &&AppRole| {
            role.is_enabled && role.allowed_member_types.contains(&member) && roles.contains(&role.id)
        };
        self.application.app_roles.iter().filter(issued).map(|role| role.value.clone()).collect()
    }

    /// The name of the resource in scopes: its first application ID URI, or its client id.
    pub fn resource_name(&self) -> String {
        self.application.identifier_uris.first().cloned().unwrap_or_else(|| self.application.app_id.to_string())
    }
}

/// A user with all that grants ask about them, read in one piece.
#[derive(Clone, Debug)]
pub struct UserRecord {
    /// The user.
    pub user: User,
    /// Groups they are direct members of.
    pub groups: Vec<GroupId>,
    /// The groups among them that are assigned to an application, with its service principal.
    pub assigned_groups: Vec<(PrincipalId, GroupId)>,
    /// What they consented to themselves, by (client, resource).
    pub grants: HashMap<(PrincipalId, PrincipalId), Scopes>,
    /// Since when they have, by (client, resource), where it is known.
    pub consented: HashMap<(PrincipalId, PrincipalId), Timestamp>,
    /// When they last took back their consent to a client.
    pub withdrawn: HashMap<PrincipalId, Timestamp>,
    /// App roles they have, themselves or through a group, by resource. An entry without roles means assigned.
    pub roles: HashMap<PrincipalId, Vec<RoleId>>,
    /// Whether they have set up a second factor.
    pub second_factor: bool,
}

/// How a user is looked up.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum UserKey {
    /// By object id.
    Id(UserId),
    /// By user principal name, in any case.
    PrincipalName(String),
    /// A guest, by who they are at home.
    Home(HomeAccount),
}

impl UserRecord {
    /// A user with nothing.
    pub fn of(user: User) -> Self {
        Self {
            user,
            groups: Vec::new(),
            assigned_groups: Vec::new(),
            grants: HashMap::new(),
            consented: HashMap::new(),
            withdrawn: HashMap::new(),
            roles: HashMap::new(),
            second_factor: false,
        }
    }

    /// Takes in a consent of this user.
    pub fn add_grant(&mut self, grant: PermissionGrant) {
        let edge = (grant.client_id, grant.resource_id);
        if let Some(at) = grant.withdrawn {
            let latest = self.withdrawn.entry(grant.client_id).or_insert(at);
            *latest = at.max(*latest);
        }
        self.consented.extend(grant.start_time.map(|at| (edge, at)));
        let granted = self.grants.entry(edge).or_default();
        *granted = granted.union(&grant.scope);
    }
}
