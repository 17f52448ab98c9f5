//! Contoso and Fabrikam: `web`, `phone` and `daemon` call the APIs `orders` and `billing`, and `orders` calls `billing`.
use base64::Engine as _;
use decision::Timestamp;
use deputize_core::directory::{Objects, Snapshot, UserKey, UserRecord};
use deputize_core::id::{AppId, GroupId, ObjectId, PermissionId, PrincipalId, RoleId, TenantId, UserId};
use deputize_core::ledger::Unavailable;
use deputize_core::model::{
    AccessType, AppRole, Application, Applications, Assignee, Conditions, ConsentType, Extensions, GrantControls,
    Group, KeyCredential, MemberType, PasswordCredential, PermissionGrant, PermissionScope, Policy, PolicyState,
    Profile, RequiredResourceAccess, ResourceAccess, RoleAssignment, ServicePrincipal, SessionControls, SignInAudience,
    Tenant, TenantSettings, User,
};
use deputize_core::ports::{Crypto as _, Directory, Listed, Pending, Placed};
use oauth::Scopes;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use uuid::Uuid;

pub(crate) const CONTOSO: TenantId = TenantId(Uuid::from_u128(0xc0));
const MULTIPLE: SignInAudience = SignInAudience::AzureADMultipleOrgs;
pub(crate) const FABRIKAM: TenantId = TenantId(Uuid::from_u128(0xfa));

/// Ids are made of names.
fn id(kind: &str, name: &str) -> Uuid {
    let bytes = kind.bytes().chain([0]).chain(name.bytes());
    Uuid::from_u128(bytes.fold(0xcbf2_9ce4_8422_2325, |hash: u128, byte| {
        (hash ^ u128::from(byte)).wrapping_mul(0x0100_0000_01b3_0000_0000_01b3)
    }))
}

pub(crate) fn app(name: &str) -> AppId {
    AppId(id("app", name))
}

/// The service principal in Contoso; of `name@fabrikam` the one there.
pub(crate) fn principal(name: &str) -> PrincipalId {
    PrincipalId(id("principal", name))
}

pub(crate) fn user(name: &str) -> UserId {
    UserId(id("user", name))
}

pub(crate) fn role(value: &str) -> RoleId {
    RoleId(id("role", value))
}

pub(crate) fn permission(value: &str) -> PermissionId {
    PermissionId(id("permission", value))
}

pub(crate) fn upn(name: &str) -> String {
    format!("{name}@{}", if name == "ivan" { "fabrikam.example" } else { "contoso.example" })
}

pub(crate) fn password(name: &str) -> String {
    format!("canary-password-{name}")
}

pub(crate) fn secret(name: &str) -> String {
    format!("canary-secret-{name}")
}

pub(crate) fn certificate(name: &str) -> String {
    base64::engine::general_purpose::STANDARD.encode(format!("certificate of {name}"))
}

#[derive(Clone, Default)]
pub(crate) struct State {
    pub(crate) objects: Objects,
    pub(crate) users: Vec<User>,
    pub(crate) groups: Vec<Group>,
    pub(crate) second_factors: Vec<UserId>,
}

pub(crate) struct Estate(Mutex<State>);

fn tenant(id: TenantId, domain: &str) -> Tenant {
    Tenant {
        id,
        display_name: domain.to_owned(),
        domains: vec![domain.to_owned()],
        enabled: true,
        settings: TenantSettings::default(),
        named_locations: Vec::new(),
    }
}

fn application(name: &str) -> Application {
    Application {
        app_id: app(name),
        home_tenant: CONTOSO,
        sign_in_audience: if matches!(name, "web" | "orders") { MULTIPLE } else { SignInAudience::AzureADMyOrg },
        display_name: name.to_owned(),
        password_credentials: vec![PasswordCredential {
            key_id: ObjectId(id("key", name)),
            display_name: String::new(),
            digest: super::FakeCrypto::new().keyed_digest(&secret(name)),
            hint: String::new(),
            start_date_time: Timestamp(0),
            end_date_time: Timestamp(i64::MAX),
        }],
        key_credentials: vec![KeyCredential {
            key_id: ObjectId(id("certificate", name)),
            display_name: String::new(),
            key: certificate(name),
            start_date_time: Timestamp(0),
            end_date_time: Timestamp(i64::MAX),
        }],
        ..Application::default()
    }
}

/// An API: permissions that end in `!` are for administrators.
fn api(name: &str, version: u8, permissions: &[&str], roles: &[(&str, MemberType)]) -> Application {
    let mut api = application(name);
    api.identifier_uris = vec![format!("api://{name}")];
    api.api.requested_access_token_version = Some(version);
    api.api.oauth2_permission_scopes = permissions
        .iter()
        .map(|text| PermissionScope {
            id: permission(text.trim_end_matches('!')),
            value: text.trim_end_matches('!').to_owned(),
            kind: if text.ends_with('!') { ConsentType::Admin } else { ConsentType::User },
            is_enabled: true,
            ..PermissionScope::default()
        })
        .collect();
    api.app_roles = roles
        .iter()
        .map(|(value, member)| AppRole {
            id: role(value),
            value: (*value).to_owned(),
            allowed_member_types: vec![*member],
            is_enabled: true,
            ..AppRole::default()
        })
        .collect();
    api
}

fn needs(mut application: Application, resource: &str, permissions: &[&str]) -> Application {
    application.required_resource_access.push(RequiredResourceAccess {
        resource_app_id: app(resource),
        resource_access: permissions
            .iter()
            .map(|value| ResourceAccess { id: ObjectId(permission(value).0), kind: AccessType::Scope })
            .collect(),
    });
    application
}

fn native(mut application: Application) -> Application {
    application.deputize =
        Extensions { client_profile: Profile::Native, resource_profile: Profile::Native, ..Extensions::default() };
    application
}

fn public(mut application: Application, redirect: &str) -> Application {
    application.password_credentials.clear();
    application.key_credentials.clear();
    application.public_client.redirect_uris.push(redirect.to_owned());
    application
}

pub(crate) fn service_principal(tenant: TenantId, name: &str) -> ServicePrincipal {
    let own = if tenant == FABRIKAM { format!("{name}@fabrikam") } else { name.to_owned() };
    ServicePrincipal {
        id: principal(&own),
        tenant,
        app_id: app(name),
        account_enabled: true,
        app_role_assignment_required: false,
    }
}

pub(crate) fn grant(client: &str, resource: &str, scope: &str) -> PermissionGrant {
    PermissionGrant {
        tenant: CONTOSO,
        client_id: principal(client),
        principal_id: None,
        resource_id: principal(resource),
        scope: Scopes::from(scope.to_owned()),
        start_time: None,
        withdrawn: None,
    }
}

/// Of these resources; of none means of all.
pub(crate) fn on(resources: &[&str]) -> Conditions {
    let include_applications = resources.iter().map(|name| app(name)).collect();
    Conditions {
        applications: Applications { include_applications, ..Applications::default() },
        ..Conditions::default()
    }
}

/// A policy that says what an authentication context takes.
pub(crate) fn defining(context: &str, controls: GrantControls) -> Policy {
    let mut policy = policy(&[], controls);
    policy.id = ObjectId(Uuid::from_u128(0xacc));
    policy.conditions.applications.include_authentication_context_class_references.push(context.to_owned());
    policy
}

pub(crate) fn policy(resources: &[&str], controls: GrantControls) -> Policy {
    Policy {
        id: ObjectId(Uuid::from_u128(0x9)),
        tenant: CONTOSO,
        display_name: "a policy".into(),
        state: PolicyState::Enabled,
        conditions: on(resources),
        grant_controls: controls,
        session_controls: SessionControls::default(),
    }
}

fn person(name: &str) -> User {
    User {
        id: user(name),
        tenant: if name == "ivan" { FABRIKAM } else { CONTOSO },
        user_principal_name: upn(name),
        display_name: name.to_uppercase(),
        given_name: Some(name.to_owned()),
        surname: Some("Example".to_owned()),
        mail: Some(format!("{name}@mail.example")),
        account_enabled: true,
        password_hash: Some(format!("hash of {}", password(name))),
        is_tenant_admin: name == "carol",
        sign_in_sessions_valid_from: Timestamp(0),
        home: None,
    }
}

impl Estate {
    pub(crate) fn contoso() -> Self {
        let mut web = needs(application("web"), "orders", &["access_as_user"]);
        web = needs(web, "billing", &["Invoices.Read", "Invoices.Approve"]);
        web.web.redirect_uris.push(super::WEB_REDIRECT.into());
        let mut rival = application("rival");
        rival.web.redirect_uris.push(super::WEB_REDIRECT.into());
        let mut strict = native(needs(application("strict"), "orders", &["access_as_user"]));
        strict.web.redirect_uris.push(super::WEB_REDIRECT.into());
        let applications = vec![
            web,
            rival,
            strict,
            public(needs(application("phone"), "orders", &["access_as_user"]), "http://localhost"),
            native(public(needs(application("gadget"), "orders", &["access_as_user"]), "http://127.0.0.1/cb")),
            application("daemon"),
            needs(
                api(
                    "orders",
                    2,
                    &["access_as_user", "Orders.Write", "Orders.Manage!"],
                    &[("Orders.Clerk", MemberType::User)],
                ),
                "billing",
                &["Invoices.Read", "Invoices.Approve"],
            ),
            api(
                "billing",
                2,
                &["Invoices.Read", "Invoices.Approve", "Invoices.Void!"],
                &[
                    ("Invoices.Reader", MemberType::User),
                    ("Invoices.Auditor", MemberType::User),
                    ("Invoices.Export", MemberType::Application),
                ],
            ),
            api("legacy", 1, &["Legacy.Read"], &[]),
            native(api("vault", 2, &["Vault.Read"], &[])),
        ];
        let names = ["web", "rival", "strict", "phone", "gadget", "daemon", "orders", "billing", "legacy", "vault"];
        let mut principals: Vec<_> = names.iter().map(|name| service_principal(CONTOSO, name)).collect();
        principals.extend(["web", "orders"].map(|name| service_principal(FABRIKAM, name)));
        let mut grants = vec![
            grant("web", "orders", "access_as_user"),
            grant("web", "billing", "Invoices.Read Invoices.Approve"),
            grant("web", "legacy", "Legacy.Read"),
            grant("phone", "orders", "access_as_user"),
            grant("gadget", "orders", "access_as_user"),
            grant("strict", "orders", "access_as_user"),
            grant("strict", "vault", "Vault.Read"),
            grant("orders", "billing", "Invoices.Read"),
            grant("orders", "legacy", "Legacy.Read"),
            grant("orders", "vault", "Vault.Read"),
            grant("billing", "orders", "access_as_user"),
        ];
        grants.push(PermissionGrant {
            tenant: FABRIKAM,
            client_id: principal("web@fabrikam"),
            principal_id: None,
            resource_id: principal("orders@fabrikam"),
            scope: Scopes::from("access_as_user".to_owned()),
            start_time: None,
            withdrawn: None,
        });
        let auditors = GroupId(id("group", "auditors"));
        let assign = |assignee, value| RoleAssignment {
            tenant: CONTOSO,
            assignee,
            resource_id: principal("billing"),
            app_role_id: role(value),
        };
        Self(Mutex::new(State {
            second_factors: Vec::new(),
            objects: Objects {
                tenants: vec![tenant(CONTOSO, "contoso.example"), tenant(FABRIKAM, "fabrikam.example")],
                applications,
                principals,
                grants,
                assignments: vec![
                    assign(Assignee::User(user("ada")), "Invoices.Reader"),
                    assign(Assignee::Group(auditors), "Invoices.Auditor"),
                    assign(Assignee::ServicePrincipal(principal("daemon")), "Invoices.Export"),
                    // The application's permission must never appear in a user's token.
                    assign(Assignee::ServicePrincipal(principal("orders")), "Invoices.Export"),
                ],
                policies: Vec::new(),
            },
            users: ["ada", "bob", "carol", "ivan"].map(person).into(),
            groups: vec![Group {
                id: auditors,
                tenant: CONTOSO,
                display_name: "auditors".into(),
                members: vec![user("ada")],
            }],
        }))
    }

    pub(crate) fn edit(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.0.lock().unwrap());
    }
}

impl State {
    pub(crate) fn app(&mut self, name: &str) -> &mut Application {
        self.objects.applications.iter_mut().find(|application| application.app_id == app(name)).unwrap()
    }
    pub(crate) fn principal(&mut self, name: &str) -> &mut ServicePrincipal {
        self.objects.principals.iter_mut().find(|known| known.id == principal(name)).unwrap()
    }
    pub(crate) fn person(&mut self, name: &str) -> &mut User {
        self.users.iter_mut().find(|known| known.id == user(name)).unwrap()
    }
    pub(crate) fn tenant(&mut self) -> &mut Tenant {
        &mut self.objects.tenants[0]
    }
    pub(crate) fn withdraw(&mut self, client: &str, resource: &str) {
        let withdrawn = (principal(client), principal(resource));
        self.objects.grants.retain(|grant| (grant.client_id, grant.resource_id) != withdrawn);
    }

    fn record(&self, user: &User) -> UserRecord {
        let groups: Vec<_> =
            self.groups.iter().filter(|group| group.members.contains(&user.id)).map(|g| g.id).collect();
        let mut record = UserRecord { groups: groups.clone(), ..UserRecord::of(user.clone()) };
        for grant in self.objects.grants.iter().filter(|grant| grant.principal_id == Some(user.id)) {
            record.add_grant(grant.clone());
        }
        let mut roles: HashMap<_, Vec<RoleId>> = HashMap::new();
        let mut assigned_groups = Vec::new();
        for assignment in &self.objects.assignments {
            let theirs = match assignment.assignee {
                Assignee::User(id) => id == user.id,
                Assignee::Group(id) => {
                    assigned_groups.extend(groups.contains(&id).then_some((assignment.resource_id, id)));
                    groups.contains(&id)
                }
                Assignee::ServicePrincipal(_) => false,
            };
            if theirs {
                roles.entry(assignment.resource_id).or_default().push(assignment.app_role_id);
            }
        }
        UserRecord { assigned_groups, roles, second_factor: self.second_factors.contains(&user.id), ..record }
    }
}

impl Directory for Estate {
    fn snapshot(&self) -> Arc<Snapshot> {
        Arc::new(Snapshot::build(1, self.0.lock().unwrap().objects.clone()))
    }

    fn user(&self, tenant: TenantId, key: UserKey) -> Pending<'_, Result<Option<Arc<UserRecord>>, Unavailable>> {
        let state = self.0.lock().unwrap();
        let found = state.users.iter().find(|user| {
            user.tenant == tenant
                && match &key {
                    UserKey::Id(id) => user.id == *id,
                    UserKey::Home(home) => user.home == Some(*home),
                    UserKey::PrincipalName(name) => user.user_principal_name.eq_ignore_ascii_case(name),
                }
        });
        Box::pin(std::future::ready(Ok(found.map(|user| Arc::new(state.record(user))))))
    }

    /// Only the store lists: see its conformance suite.
    fn listed(&self, _: TenantId, _: Listed, _: Vec<u8>, _: u32) -> Pending<'_, Result<Vec<Placed>, Unavailable>> {
        Box::pin(std::future::ready(Err(Unavailable)))
    }
}
