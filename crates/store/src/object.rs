//! Objects of the directory as rows: which columns find them, and the rest as JSON.
use deputize_core::estate::Item;
use deputize_core::id::{AppId, GroupId, ObjectId, PrincipalId, RoleId, TenantId, UserId};
use deputize_core::model::{
    Application, Assignee, Group, PermissionGrant, Policy, RoleAssignment, ServicePrincipal, Tenant, User,
};
use serde_json::Error;
use uuid::Uuid;

/// Any object of the directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Object {
    /// A tenant.
    Tenant(Tenant),
    /// A registration.
    Application(Application),
    /// An application in a tenant.
    ServicePrincipal(ServicePrincipal),
    /// A user.
    User(User),
    /// A group with its members.
    Group(Group),
    /// A consent.
    Grant(PermissionGrant),
    /// An app role given to someone.
    Assignment(RoleAssignment),
    /// A conditional-access policy.
    Policy(Policy),
}

/// What tells an object from all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    /// A tenant.
    Tenant(TenantId),
    /// A registration.
    Application(AppId),
    /// An application in a tenant.
    ServicePrincipal(TenantId, PrincipalId),
    /// A user.
    User(TenantId, UserId),
    /// A group.
    Group(TenantId, GroupId),
    /// A consent: of one user, or of nobody for all.
    Grant {
        /// The tenant.
        tenant: TenantId,
        /// Who may act.
        client: PrincipalId,
        /// Where.
        resource: PrincipalId,
        /// For whom.
        user: Option<UserId>,
    },
    /// An app role given to someone.
    Assignment {
        /// The tenant.
        tenant: TenantId,
        /// Who has it.
        assignee: Assignee,
        /// Where.
        resource: PrincipalId,
        /// The role.
        role: RoleId,
    },
    /// A conditional-access policy.
    Policy(TenantId, ObjectId),
}

/// One change of the directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A new object, or another state of one.
    Put(Box<Object>),
    /// Its end. Deleting what is not there changes nothing.
    Delete(Key),
}

/// The directory's objects under core's name for them, and back.
macro_rules! same_names {
    ($($name:ident),*) => {
        impl From<Item> for Object {
            fn from(item: Item) -> Self {
                match item { $(Item::$name(it) => Self::$name(it)),* }
            }
        }

        impl From<Object> for Item {
            fn from(object: Object) -> Self {
                match object { $(Object::$name(it) => Self::$name(it)),* }
            }
        }
    };
}
same_names!(Tenant, Application, ServicePrincipal, User, Group, Grant, Assignment, Policy);

impl From<Object> for Change {
    fn from(object: Object) -> Self {
        Self::Put(Box::new(object))
    }
}

impl Object {
    /// What tells it from all others.
    pub fn key(&self) -> Key {
        match self {
            Self::Tenant(it) => Key::Tenant(it.id),
            Self::Application(it) => Key::Application(it.app_id),
            Self::ServicePrincipal(it) => Key::ServicePrincipal(it.tenant, it.id),
            Self::User(it) => Key::User(it.tenant, it.id),
            Self::Group(it) => Key::Group(it.tenant, it.id),
            Self::Grant(it) => {
                Key::Grant { tenant: it.tenant, client: it.client_id, resource: it.resource_id, user: it.principal_id }
            }
            Self::Assignment(it) => Key::Assignment {
                tenant: it.tenant,
                assignee: it.assignee,
                resource: it.resource_id,
                role: it.app_role_id,
            },
            Self::Policy(it) => Key::Policy(it.tenant, it.id),
        }
    }

    pub(crate) fn body(&self) -> Result<String, Error> {
        match self {
            Self::Tenant(it) => serde_json::to_string(it),
            Self::Application(it) => serde_json::to_string(it),
            Self::ServicePrincipal(it) => serde_json::to_string(it),
            Self::User(it) => serde_json::to_string(it),
            Self::Group(it) => serde_json::to_string(it),
            Self::Grant(it) => serde_json::to_string(it),
            Self::Assignment(it) => serde_json::to_string(it),
            Self::Policy(it) => serde_json::to_string(it),
        }
    }

    pub(crate) fn parse(kind: &str, body: &str) -> Result<Self, Error> {
        Ok(match kind {
            "tenant" => Self::Tenant(serde_json::from_str(body)?),
            "application" => Self::Application(serde_json::from_str(body)?),
            "principal" => Self::ServicePrincipal(serde_json::from_str(body)?),
            "user" => Self::User(serde_json::from_str(body)?),
            "group" => Self::Group(serde_json::from_str(body)?),
            "grant" => Self::Grant(serde_json::from_str(body)?),
            "assignment" => Self::Assignment(serde_json::from_str(body)?),
            "policy" => Self::Policy(serde_json::from_str(body)?),
            _ => return Err(serde::de::Error::custom("an object of unknown kind")),
        })
    }

    /// Who a guest is at home: found by it too.
    pub(crate) fn home(&self) -> Option<Uuid> {
        match self {
            Self::User(user) => user.home.map(|home| home.user.0),
            _ => None,
        }
    }

    /// The name it is found by, unique in its tenant.
    pub(crate) fn name(&self) -> Option<String> {
        match self {
            Self::User(user) => Some(folded(&user.user_principal_name)),
            _ => None,
        }
    }
}

/// A user principal name as compared: in any case.
pub(crate) fn folded(name: &str) -> String {
    name.to_lowercase()
}

/// The columns that find an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Columns {
    pub(crate) kind: &'static str,
    /// All zero for registrations: they stand above tenants.
    pub(crate) tenant: Uuid,
    pub(crate) id: Vec<u8>,
    /// Whose record it is part of; nobody's objects are in the snapshot (users and groups apart).
    pub(crate) owner: Option<Uuid>,
}

impl Key {
    pub(crate) fn columns(&self) -> Columns {
        let row =
            |kind, tenant: TenantId, id: &[&[u8]], owner| Columns { kind, tenant: tenant.0, id: id.concat(), owner };
        match self {
            Self::Tenant(id) => row("tenant", *id, &[id.0.as_bytes()], None),
            Self::Application(id) => row("application", TenantId::default(), &[id.0.as_bytes()], None),
            Self::ServicePrincipal(tenant, id) => row("principal", *tenant, &[id.0.as_bytes()], None),
            Self::User(tenant, id) => row("user", *tenant, &[id.0.as_bytes()], None),
            Self::Group(tenant, id) => row("group", *tenant, &[id.0.as_bytes()], None),
            Self::Policy(tenant, id) => row("policy", *tenant, &[id.0.as_bytes()], None),
            Self::Grant { tenant, client, resource, user } => {
                let owner = user.map(|user| user.0);
                let user = user.map(|user| user.0.into_bytes());
                let user = user.as_ref().map_or(&[][..], |bytes| bytes);
                row("grant", *tenant, &[client.0.as_bytes(), resource.0.as_bytes(), user], owner)
            }
            Self::Assignment { tenant, assignee, resource, role } => {
                // The first byte keeps a user and a group of the same id apart.
                let (tag, who, owner) = match assignee {
                    Assignee::User(user) => (b"u", user.0, Some(user.0)),
                    Assignee::Group(group) => (b"g", group.0, Some(group.0)),
                    Assignee::ServicePrincipal(principal) => (b"p", principal.0, None),
                };
                row("assignment", *tenant, &[tag, who.as_bytes(), resource.0.as_bytes(), role.0.as_bytes()], owner)
            }
        }
    }
}
