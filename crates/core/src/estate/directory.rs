//! Users and groups, and the edges between objects: consents and assignments.
use super::declared::{AssignmentDeclared, For, GrantDeclared, TenantDeclared, UserDeclared};
use super::resolve::{Work, derive};
use super::{Item, rules};
use crate::id::{GroupId, PrincipalId, RoleId, TenantId, UserId};
use crate::model::{Assignee, Group, MemberType, PermissionGrant, RoleAssignment, User};
use oauth::Scopes;
use serde_spanned::Spanned;

/// NIST SP 800-63B asks for 8; nothing here keeps a stranger from guessing offline once the store is lost, hence more.
const SHORTEST_PASSWORD: usize = 12;
const LONGEST_PASSWORD: usize = 256;

impl Work<'_> {
    pub(super) fn people(&mut self, tenant: TenantId, declared: &TenantDeclared) {
        let domains: Vec<String> = declared.domains.iter().map(|domain| domain.get_ref().clone()).collect();
        for user in declared.users.iter().map(Spanned::get_ref) {
            self.user(tenant, user, &domains);
        }
        for group in declared.groups.iter().map(Spanned::get_ref) {
            self.check("name", &group.display_name, rules::shown);
            let name = group.display_name.get_ref().clone();
            let id = GroupId(self.id(group.id.as_ref(), || derive(tenant.0, "group", &name)));
            let mut members: Vec<UserId> = Vec::new();
            for member in &group.members {
                if let Some(user) = self.user_named(tenant, member) {
                    members.push(user);
                }
            }
            members.sort_unstable();
            members.dedup();
            self.push(group.display_name.span(), Item::Group(Group { id, tenant, display_name: name, members }));
        }
    }

    pub(super) fn edges(&mut self, tenant: TenantId, declared: &TenantDeclared) {
        for grant in declared.oauth2_permission_grants.iter().map(Spanned::get_ref) {
            self.grant(tenant, grant);
        }
        for assignment in declared.app_role_assignments.iter().map(Spanned::get_ref) {
            self.assignment(tenant, assignment);
        }
        for policy in declared.conditional_access_policies.iter().map(Spanned::get_ref) {
            self.policy(tenant, policy);
        }
        if let Some(settings) = &declared.settings
            && let Some(resource) = &settings.get_ref().default_resource
        {
            self.app(tenant, &Spanned::new(settings.span(), resource.clone()), false);
        }
    }

    fn user(&mut self, tenant: TenantId, user: &UserDeclared, domains: &[String]) {
        let name = user.user_principal_name.get_ref().clone();
        self.check("userPrincipalName", &user.user_principal_name, |name| rules::principal_name(name, domains));
        self.check("name", &user.display_name, rules::shown);
        let id = UserId(self.id(user.id.as_ref(), || derive(tenant.0, "user", &name.to_lowercase())));
        let held = match self.held.get(&("user", vec![tenant.0, id.0])) {
            Some(Item::User(held)) => Some(held),
            _ => None,
        };
        let before = held.and_then(|held| held.password_hash.clone());
        let sign_in_sessions_valid_from = held.map(|held| held.sign_in_sessions_valid_from).unwrap_or_default();
        let password_hash = match &user.password {
            // A password that somebody chose since is theirs: leaving it out of the file keeps it.
            None => before,
            Some(source) => {
                let password = self.materials.text(source.get_ref()).and_then(|password| {
                    let length = password.expose().chars().count();
                    if !(SHORTEST_PASSWORD..=LONGEST_PASSWORD).contains(&length) {
                        return Err(format!("it has {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters"));
                    }
                    self.materials.password_hash(&password, before.as_deref())
                });
                password
                    .map_err(|hint| self.fault(source.span(), format!("the password of `{name}` cannot be used"), hint))
                    .ok()
            }
        };
        // Another password ends what was got with the old one.
        let reset = held.is_some_and(|held| held.password_hash.is_some() && held.password_hash != password_hash);
        let sign_in_sessions_valid_from = if reset { self.now } else { sign_in_sessions_valid_from };
        let item = Item::User(User {
            id,
            tenant,
            display_name: user.display_name.get_ref().clone(),
            given_name: user.given_name.clone(),
            surname: user.surname.clone(),
            mail: user.mail.clone(),
            account_enabled: user.account_enabled,
            password_hash,
            is_tenant_admin: user.is_tenant_admin,
            sign_in_sessions_valid_from,
            // Guests' homes are other tenants: taken in once all of their users are.
            home: None,
            user_principal_name: name,
        });
        self.push(user.user_principal_name.span(), item);
    }

    fn grant(&mut self, tenant: TenantId, grant: &GrantDeclared) {
        let client = self.app(tenant, &grant.client_id, false);
        let resource = self.app(tenant, &grant.resource_id, false);
        let user = grant.principal_id.as_ref().map(|user| self.user_named(tenant, user));
        match (grant.consent_type.as_ref().map(|kind| (*kind.get_ref(), kind.span())), &grant.principal_id) {
            (Some((For::Principal, at)), None) => {
                self.fault(at, "this consent names no user", "add `principalId = \"ada@contoso.example\"`");
            }
            (Some((For::AllPrincipals, at)), Some(_)) => {
                let hint = "drop `principalId`, or write `consentType = \"Principal\"`";
                self.fault(at, "this consent is for all users and names one", hint);
            }
            _ => {}
        }
        let Some(scope) = Scopes::parse(grant.scope.get_ref()).filter(|scope| !scope.is_empty()) else {
            let hint = "write values with spaces between, such as `Invoices.Read Invoices.Approve`";
            self.fault(grant.scope.span(), "this is no list of scopes", hint);
            return;
        };
        let (Some(client), Some(resource)) = (client, resource) else { return };
        for value in scope.iter() {
            self.scope(resource, value, grant.scope.span());
        }
        let (Some(client_id), Some(resource_id)) = (self.principal(tenant, client), self.principal(tenant, resource))
        else {
            return;
        };
        let principal_id = match user {
            None => None,
            Some(Some(user)) => Some(user),
            Some(None) => return,
        };
        let start_time = Some(self.now);
        let mut grant_item =
            PermissionGrant { tenant, client_id, principal_id, resource_id, scope, start_time, withdrawn: None };
        if let Some(Item::Grant(held)) = self.held.get(&Item::Grant(grant_item.clone()).key()) {
            (grant_item.start_time, grant_item.withdrawn) = (held.start_time, held.withdrawn);
            if principal_id.is_some() {
                // What the user consented to themselves stays.
                grant_item.scope = grant_item.scope.union(&held.scope);
            }
        }
        self.push(grant.client_id.span(), Item::Grant(grant_item));
    }

    fn assignment(&mut self, tenant: TenantId, assignment: &AssignmentDeclared) {
        let Some(resource) = self.app(tenant, &assignment.resource_id, false) else { return };
        let Some(assignee) = self.assignee(tenant, &assignment.principal_id) else { return };
        let app_role_id = match &assignment.app_role_id {
            None => RoleId::default(),
            Some(text) => {
                let Some((role, members)) = self.role(resource, text) else { return };
                let (member, word) = match assignee {
                    Assignee::ServicePrincipal(_) => (MemberType::Application, "Application"),
                    Assignee::User(_) | Assignee::Group(_) => (MemberType::User, "User"),
                };
                if !members.contains(&member) {
                    let problem = format!(
                        "`{}` cannot have the app role `{}`",
                        assignment.principal_id.get_ref(),
                        text.get_ref()
                    );
                    self.fault(text.span(), problem, format!("add `{word}` to the role's `allowedMemberTypes`"));
                }
                role
            }
        };
        let Some(resource_id) = self.principal(tenant, resource) else { return };
        let item = Item::Assignment(RoleAssignment { tenant, assignee, resource_id, app_role_id });
        self.push(assignment.principal_id.span(), item);
    }

    fn principal(&self, tenant: TenantId, app: usize) -> Option<PrincipalId> {
        let app = self.apps.get(app)?;
        self.principals.get(&(tenant, app.app_id)).copied()
    }

    pub(super) fn users(&self, tenant: TenantId) -> impl Iterator<Item = &User> {
        self.done.items.iter().filter_map(move |item| match item {
            Item::User(user) if user.tenant == tenant => Some(user),
            _ => None,
        })
    }

    pub(super) fn find_user(&self, tenant: TenantId, name: &str) -> Option<UserId> {
        let is = |user: &&User| user.user_principal_name.eq_ignore_ascii_case(name) || user.id.to_string() == name;
        self.users(tenant).find(is).map(|user| user.id)
    }

    pub(super) fn group_named(&self, tenant: TenantId, name: &str) -> Option<GroupId> {
        self.done.items.iter().find_map(|item| match item {
            Item::Group(group) if group.tenant == tenant => {
                (group.display_name == name || group.id.to_string() == name).then_some(group.id)
            }
            _ => None,
        })
    }

    /// A user, else a group, else an application of that name.
    fn assignee(&mut self, tenant: TenantId, text: &Spanned<String>) -> Option<Assignee> {
        let name = text.get_ref();
        if let Some(user) = self.find_user(tenant, name) {
            return Some(Assignee::User(user));
        }
        if let Some(group) = self.group_named(tenant, name) {
            return Some(Assignee::Group(group));
        }
        if name.contains('@') {
            self.user_named(tenant, text);
            return None;
        }
        let app = self.app(tenant, text, false)?;
        self.principal(tenant, app).map(Assignee::ServicePrincipal)
    }
}
