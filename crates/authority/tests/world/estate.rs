//! Two tenants: `web`, `native`, `spa`, `daemon`, `rival` call `orders`, which calls `billing`, which calls `archive`; `strict`,
//! `gadget` and `vault` speak the native profile. Ada has a role at Billing, Bob has none, Carol is an administrator.
use decision::Timestamp;
use deputize_authority::password_hash;
use deputize_core::id::{AppId, ObjectId, PermissionId, PrincipalId, RoleId, TenantId, UserId};
use deputize_core::model::{
    AccessType, AppRole, Application, Applications, Assignee, Conditions, ConsentType, GrantControls, KeyCredential,
    MemberType, PasswordCredential, PermissionGrant, PermissionScope, Policy, PolicyState, Profile,
    RequiredResourceAccess, ResourceAccess, RoleAssignment, ServicePrincipal, SessionControls, SignInAudience, Tenant,
    TenantSettings, User,
};
use deputize_core::ports::Crypto;
use oauth::Scopes;
use std::sync::LazyLock;
use store::Object;
use uuid::Uuid;

pub(crate) const CONTOSO: TenantId = TenantId(Uuid::from_u128(0xc0c0_0000_0000_4000_8000_0000_0000_0001));
pub(crate) const FABRIKAM: TenantId = TenantId(Uuid::from_u128(0xfafa_0000_0000_4000_8000_0000_0000_0001));
/// Applications of many tenants.
const MULTIPLE: [&str; 3] = ["web", "orders", "billing"];
/// Clients without a credential.
pub(crate) const PUBLIC: [&str; 3] = ["native", "spa", "gadget"];

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

/// The service principal in Contoso; that of `name@fabrikam` stands there.
pub(crate) fn principal(name: &str) -> PrincipalId {
    PrincipalId(id("principal", name))
}

pub(crate) fn user(name: &str) -> UserId {
    UserId(id("user", name))
}

pub(crate) fn role(value: &str) -> RoleId {
    RoleId(id("role", value))
}

pub(crate) fn permission_id(value: &str) -> PermissionId {
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

pub(crate) fn redirect(name: &str) -> &'static str {
    match name {
        "native" => "http://localhost:8400/cb",
        "gadget" => "http://127.0.0.1:5000/cb",
        "spa" => "https://spa.example/cb",
        "rival" => "https://rival.example/cb",
        "strict" => "https://strict.example/cb",
        _ => "https://app.example/callback",
    }
}

/// Everything, before it is stored.
pub(crate) struct Plan {
    pub(crate) tenants: Vec<Tenant>,
    pub(crate) applications: Vec<Application>,
    pub(crate) principals: Vec<ServicePrincipal>,
    pub(crate) users: Vec<User>,
    pub(crate) others: Vec<Object>,
}

impl Plan {
    pub(crate) fn app(&mut self, name: &str) -> &mut Application {
        self.applications.iter_mut().find(|known| known.app_id == app(name)).unwrap()
    }

    pub(crate) fn objects(self) -> Vec<Object> {
        let mut objects: Vec<Object> = self.tenants.into_iter().map(Object::Tenant).collect();
        objects.extend(self.applications.into_iter().map(Object::Application));
        objects.extend(self.principals.into_iter().map(Object::ServicePrincipal));
        objects.extend(self.users.into_iter().map(Object::User));
        objects.extend(self.others);
        objects
    }
}

pub(crate) fn key_credential(name: &str, der: &[u8]) -> KeyCredential {
    use base64::Engine as _;
    KeyCredential {
        key_id: ObjectId(id("certificate", name)),
        display_name: String::new(),
        key: base64::engine::general_purpose::STANDARD.encode(der),
        start_date_time: Timestamp(0),
        end_date_time: Timestamp(i64::MAX),
    }
}

/// `key_id` of the secret of `name`.
pub(crate) fn secret_id(name: &str) -> ObjectId {
    ObjectId(id("key", name))
}

fn application(crypto: &dyn Crypto, name: &str) -> Application {
    let mut application = Application {
        app_id: app(name),
        home_tenant: CONTOSO,
        sign_in_audience: if MULTIPLE.contains(&name) {
            SignInAudience::AzureADMultipleOrgs
        } else {
            SignInAudience::AzureADMyOrg
        },
        display_name: format!("The {name}"),
        ..Application::default()
    };
    if !PUBLIC.contains(&name) {
        application.password_credentials.push(PasswordCredential {
            key_id: secret_id(name),
            display_name: String::new(),
            digest: crypto.keyed_digest(&secret(name)),
            hint: "can".to_owned(),
            start_date_time: Timestamp(0),
            end_date_time: Timestamp(i64::MAX),
        });
    }
    application
}

/// Makes it an API: permissions that end in `!` are for administrators.
fn api(
    mut api: Application,
    name: &str,
    version: u8,
    permissions: &[&str],
    roles: &[(&str, MemberType)],
) -> Application {
    api.identifier_uris = vec![format!("api://{name}")];
    api.api.requested_access_token_version = Some(version);
    api.deputize.act_claim = true;
    api.api.oauth2_permission_scopes = permissions
        .iter()
        .map(|text| PermissionScope {
            id: permission_id(text.trim_end_matches('!')),
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
            display_name: (*value).to_owned(),
            allowed_member_types: vec![*member],
            is_enabled: true,
            ..AppRole::default()
        })
        .collect();
    api
}

fn needs(mut application: Application, resource: &str, permissions: &[&str]) -> Application {
    let access = |value: &&str| ResourceAccess { id: ObjectId(id("permission", value)), kind: AccessType::Scope };
    application.required_resource_access.push(RequiredResourceAccess {
        resource_app_id: app(resource),
        resource_access: permissions.iter().map(access).collect(),
    });
    application
}

fn native(mut application: Application) -> Application {
    application.deputize.client_profile = Profile::Native;
    application.deputize.resource_profile = Profile::Native;
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
        tenant: if client.ends_with("@fabrikam") { FABRIKAM } else { CONTOSO },
        client_id: principal(client),
        principal_id: None,
        resource_id: principal(resource),
        scope: Scopes::from(scope.to_owned()),
        start_time: None,
        withdrawn: None,
    }
}

pub(crate) fn assignment(assignee: Assignee, resource: &str, value: &str) -> RoleAssignment {
    RoleAssignment { tenant: CONTOSO, assignee, resource_id: principal(resource), app_role_id: role(value) }
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

pub(crate) fn policy(resources: &[&str], grant_controls: GrantControls) -> Policy {
    Policy {
        id: ObjectId(Uuid::from_u128(0x9)),
        tenant: CONTOSO,
        display_name: "a policy".into(),
        state: PolicyState::Enabled,
        conditions: on(resources),
        grant_controls,
        session_controls: SessionControls::default(),
    }
}

/// One salt and one hash for each name: argon2 takes its time.
static HASHES: LazyLock<Vec<(&str, String)>> = LazyLock::new(|| {
    ["ada", "bob", "carol", "ivan"].into_iter().map(|name| (name, password_hash(&password(name), [9; 16]))).collect()
});

fn person(name: &str, hash: &str) -> User {
    User {
        id: user(name),
        tenant: if name == "ivan" { FABRIKAM } else { CONTOSO },
        user_principal_name: upn(name),
        display_name: name.to_uppercase(),
        given_name: Some(name.to_owned()),
        surname: Some("Example".to_owned()),
        mail: Some(format!("{name}@mail.example")),
        account_enabled: true,
        password_hash: Some(hash.to_owned()),
        is_tenant_admin: name == "carol",
        sign_in_sessions_valid_from: Timestamp(0),
        home: None,
    }
}

pub(crate) fn plan(crypto: &dyn Crypto) -> Plan {
    let new = |name: &str| application(crypto, name);
    let mut web = needs(new("web"), "orders", &["access_as_user", "Orders.Write"]);
    web = needs(web, "billing", &["Invoices.Read", "Invoices.Approve"]);
    web.web.redirect_uris = vec![redirect("web").to_owned(), "https://app.example/signed-out".to_owned()];
    let mut rival = needs(new("rival"), "orders", &["access_as_user"]);
    rival.web.redirect_uris.push(redirect("rival").to_owned());
    let mut strict = native(needs(new("strict"), "orders", &["access_as_user"]));
    strict.web.redirect_uris.push(redirect("strict").to_owned());
    let mut phone = needs(new("native"), "orders", &["access_as_user"]);
    phone.public_client.redirect_uris.push("http://localhost/cb".to_owned());
    let mut spa = needs(new("spa"), "orders", &["access_as_user"]);
    spa.spa.redirect_uris.push(redirect("spa").to_owned());
    let mut gadget = native(needs(new("gadget"), "orders", &["access_as_user"]));
    gadget.public_client.redirect_uris.push("http://127.0.0.1/cb".to_owned());
    let clerk = [("Orders.Clerk", MemberType::User)];
    let mut orders = api(new("orders"), "orders", 2, &["access_as_user", "Orders.Write", "Orders.Manage!"], &clerk);
    orders = needs(orders, "billing", &["Invoices.Read", "Invoices.Approve"]);
    let roles = [("Invoices.Reader", MemberType::User), ("Invoices.Export", MemberType::Application)];
    let permissions = ["Invoices.Read", "Invoices.Approve", "Invoices.Void!"];
    let billing = needs(api(new("billing"), "billing", 2, &permissions, &roles), "archive", &["Archive.Read"]);
    let archive = api(new("archive"), "archive", 1, &["Archive.Read"], &[]);
    let vault = native(api(new("vault"), "vault", 2, &["Vault.Read"], &[]));
    let mut applications = vec![web, rival, strict, phone, spa, gadget, new("daemon"), orders, billing, archive, vault];
    for (name, key) in [("orders", &super::keys::ORDERS), ("rival", &super::keys::RIVAL)] {
        let of = applications.iter_mut().find(|known| known.app_id == app(name));
        of.unwrap().key_credentials.push(key_credential(name, &key.der));
    }
    let names: Vec<&str> =
        vec!["web", "rival", "strict", "native", "spa", "gadget", "daemon", "orders", "billing", "archive", "vault"];
    let mut principals: Vec<_> = names.iter().map(|name| service_principal(CONTOSO, name)).collect();
    principals.extend(["web", "orders", "billing"].map(|name| service_principal(FABRIKAM, name)));
    let grants = [
        ("web", "orders", "access_as_user"),
        ("web", "billing", "Invoices.Read"),
        ("rival", "orders", "access_as_user"),
        ("native", "orders", "access_as_user"),
        ("spa", "orders", "access_as_user"),
        ("gadget", "orders", "access_as_user"),
        ("strict", "orders", "access_as_user Orders.Write"),
        ("strict", "vault", "Vault.Read"),
        ("orders", "billing", "Invoices.Read"),
        ("orders", "vault", "Vault.Read"),
        ("billing", "archive", "Archive.Read"),
        ("billing", "orders", "access_as_user"),
        ("archive", "vault", "Vault.Read"),
        ("web@fabrikam", "orders@fabrikam", "access_as_user"),
        ("orders@fabrikam", "billing@fabrikam", "Invoices.Read"),
    ];
    let mut others: Vec<Object> = grants.iter().map(|(c, r, scope)| Object::Grant(grant(c, r, scope))).collect();
    others.push(Object::Assignment(assignment(Assignee::User(user("ada")), "billing", "Invoices.Reader")));
    for name in ["daemon", "orders"] {
        let assignee = Assignee::ServicePrincipal(principal(name));
        others.push(Object::Assignment(assignment(assignee, "billing", "Invoices.Export")));
    }
    let tenant = |id, domain: &str| Tenant {
        id,
        display_name: domain.to_owned(),
        domains: vec![domain.to_owned()],
        enabled: true,
        settings: TenantSettings { access_token_seconds: Some(3_600), ..TenantSettings::default() },
        named_locations: Vec::new(),
    };
    Plan {
        tenants: vec![tenant(CONTOSO, "contoso.example"), tenant(FABRIKAM, "fabrikam.example")],
        applications,
        principals,
        users: HASHES.iter().map(|(name, hash)| person(name, hash)).collect(),
        others,
    }
}
