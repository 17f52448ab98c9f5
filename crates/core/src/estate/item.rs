//! Any object of the directory, and what people call it.
use crate::id::TenantId;
use crate::model::{
    Application, Assignee, Group, PermissionGrant, Policy, RoleAssignment, ServicePrincipal, Tenant, User,
};
use serde_json::Value;
use uuid::Uuid;

/// Any object of the directory.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names of the model")]
pub enum Item {
    Tenant(Tenant),
    Application(Application),
    ServicePrincipal(ServicePrincipal),
    User(User),
    Group(Group),
    Grant(PermissionGrant),
    Assignment(RoleAssignment),
    Policy(Policy),
}

/// What tells an item from all others: its kind and ids.
pub type ItemKey = (&'static str, Vec<Uuid>);

impl Item {
    /// The kind, in a word.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Tenant(_) => "tenant",
            Self::Application(it) if it.managed_identity.is_some() => "managed identity",
            Self::Application(_) => "application",
            Self::ServicePrincipal(_) => "service principal",
            Self::User(_) => "user",
            Self::Group(_) => "group",
            Self::Grant(_) => "consent",
            Self::Assignment(_) => "assignment",
            Self::Policy(_) => "policy",
        }
    }

    /// What tells it from all others.
    pub fn key(&self) -> ItemKey {
        let ids = match self {
            Self::Tenant(it) => vec![it.id.0],
            Self::Application(it) => vec![it.app_id.0],
            Self::ServicePrincipal(it) => vec![it.tenant.0, it.id.0],
            Self::User(it) => vec![it.tenant.0, it.id.0],
            Self::Group(it) => vec![it.tenant.0, it.id.0],
            Self::Grant(it) => {
                let user = it.principal_id.map_or(Uuid::nil(), |user| user.0);
                vec![it.tenant.0, it.client_id.0, it.resource_id.0, user]
            }
            Self::Assignment(it) => {
                // The number keeps a user and a group of the same id apart.
                let (kind, who) = match it.assignee {
                    Assignee::User(id) => (1, id.0),
                    Assignee::Group(id) => (2, id.0),
                    Assignee::ServicePrincipal(id) => (3, id.0),
                };
                vec![it.tenant.0, Uuid::from_u128(kind), who, it.resource_id.0, it.app_role_id.0]
            }
            Self::Policy(it) => vec![it.tenant.0, it.id.0],
        };
        let kind = if matches!(self, Self::Application(_)) { "application" } else { self.kind() };
        (kind, ids)
    }

    /// The tenant it stands in.
    pub const fn tenant(&self) -> TenantId {
        match self {
            Self::Tenant(it) => it.id,
            Self::Application(it) => it.home_tenant,
            Self::ServicePrincipal(it) => it.tenant,
            Self::User(it) => it.tenant,
            Self::Group(it) => it.tenant,
            Self::Grant(it) => it.tenant,
            Self::Assignment(it) => it.tenant,
            Self::Policy(it) => it.tenant,
        }
    }

    /// The properties in which two items differ, by Graph's names; those of a nested object with a dot.
    pub(crate) fn differing(&self, other: &Self) -> Vec<String> {
        let mut names = Vec::new();
        compare("", &self.json(), &other.json(), &mut names);
        names
    }

    fn json(&self) -> Value {
        let value = match self {
            Self::Tenant(it) => serde_json::to_value(it),
            Self::Application(it) => serde_json::to_value(it),
            Self::ServicePrincipal(it) => serde_json::to_value(it),
            Self::User(it) => serde_json::to_value(it),
            Self::Group(it) => serde_json::to_value(it),
            Self::Grant(it) => serde_json::to_value(it),
            Self::Assignment(it) => serde_json::to_value(it),
            Self::Policy(it) => serde_json::to_value(it),
        };
        // Plain structs with text keys always become JSON.
        value.unwrap_or_default()
    }
}

fn compare(prefix: &str, one: &Value, other: &Value, names: &mut Vec<String>) {
    match (one, other) {
        _ if one == other => {}
        (Value::Object(one), Value::Object(other)) => {
            let keys: std::collections::BTreeSet<&String> = one.keys().chain(other.keys()).collect();
            for key in keys {
                let name = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
                compare(&name, one.get(key).unwrap_or(&Value::Null), other.get(key).unwrap_or(&Value::Null), names);
            }
        }
        _ => names.push(prefix.to_owned()),
    }
}
