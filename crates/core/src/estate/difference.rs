//! What a declared estate would change.
use super::{Item, ItemKey};
use crate::built_in;
use crate::id::{PrincipalId, RoleId, TenantId};
use crate::model::Assignee;
use std::collections::{HashMap, HashSet};
use std::fmt;

/// What happens to an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// It is new.
    Added,
    /// It differs.
    Changed,
    /// It ends.
    Removed,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What happens.
    pub sign: Sign,
    /// To what, in words.
    pub name: String,
    /// The properties that change, by Graph's names.
    pub properties: Vec<String>,
    /// The item: as it will be, or as it was.
    pub item: Item,
}

/// All that would change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// In an order for people: by kind, as declared.
    pub steps: Vec<Step>,
    /// How many items of the declared tenants are not declared, and stay.
    pub undeclared: usize,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match self.sign {
            Sign::Added => '+',
            Sign::Changed => '~',
            Sign::Removed => '-',
        };
        write!(f, "{sign} {} {}", self.item.kind(), self.name)?;
        if self.properties.is_empty() { Ok(()) } else { write!(f, ": {}", self.properties.join(", ")) }
    }
}

/// Compares what is declared with what is. With `prune`, what the declared tenants hold beyond that is removed; tenants
/// that are not declared are left alone, and so is what users consented to themselves at applications that stay.
pub fn difference(before: &[Item], after: &[Item], prune: bool) -> Difference {
    let held: HashMap<ItemKey, &Item> = before.iter().map(|item| (item.key(), item)).collect();
    let declared: HashSet<ItemKey> = after.iter().map(Item::key).collect();
    let tenants: HashSet<TenantId> = after.iter().map(Item::tenant).collect();
    let names = Names::of(before, after);
    let mut steps: Vec<Step> = after
        .iter()
        .filter_map(|item| {
            let (sign, properties) = match held.get(&item.key()) {
                None => (Sign::Added, Vec::new()),
                Some(old) => (Sign::Changed, old.differing(item)),
            };
            let changes = sign == Sign::Added || !properties.is_empty();
            changes.then(|| Step { sign, name: names.name(item), properties, item: item.clone() })
        })
        .collect();
    let lives = |key: ItemKey| declared.contains(&key);
    let stays = |item: &Item| match item {
        Item::Grant(grant) => grant.principal_id.is_some_and(|user| {
            let principal = |id: PrincipalId| ("service principal", vec![grant.tenant.0, id.0]);
            lives(("user", vec![grant.tenant.0, user.0]))
                && lives(principal(grant.client_id))
                && lives(principal(grant.resource_id))
        }),
        _ => false,
    };
    let extra = before.iter().filter(|item| tenants.contains(&item.tenant()) && !lives(item.key()) && !stays(item));
    let removed: Vec<Step> = extra
        .map(|item| Step { sign: Sign::Removed, name: names.name(item), properties: Vec::new(), item: item.clone() })
        .collect();
    let undeclared = if prune { 0 } else { removed.len() };
    if prune {
        steps.extend(removed);
    }
    Difference { steps, undeclared }
}

/// What ids are called.
struct Names(HashMap<uuid::Uuid, String>);

impl Names {
    fn of(before: &[Item], after: &[Item]) -> Self {
        let own = built_in::registration(TenantId::default());
        let mut names = HashMap::from([(own.principal.id.0, own.application.display_name)]);
        names.extend(own.application.app_roles.into_iter().map(|role| (role.id.0, role.value)));
        for item in before.iter().chain(after) {
            match item {
                Item::Tenant(it) => {
                    names.insert(it.id.0, it.domains.first().unwrap_or(&it.display_name).clone());
                }
                Item::Application(it) => {
                    names.insert(it.app_id.0, it.display_name.clone());
                    let roles = it.app_roles.iter().map(|role| (role.id.0, role.value.clone()));
                    names.extend(roles);
                }
                Item::User(it) => {
                    names.insert(it.id.0, it.user_principal_name.clone());
                }
                Item::Group(it) => {
                    names.insert(it.id.0, it.display_name.clone());
                }
                _ => {}
            }
        }
        for item in before.iter().chain(after) {
            if let Item::ServicePrincipal(it) = item {
                let name = names.get(&it.app_id.0).cloned().unwrap_or_else(|| it.app_id.to_string());
                names.insert(it.id.0, name);
            }
        }
        Self(names)
    }

    fn of_id(&self, id: uuid::Uuid) -> String {
        self.0.get(&id).cloned().unwrap_or_else(|| id.to_string())
    }

    fn name(&self, item: &Item) -> String {
        match item {
            Item::Tenant(it) => self.of_id(it.id.0),
            Item::Application(it) => format!("{} ({})", it.display_name, it.app_id),
            Item::ServicePrincipal(it) => self.of_id(it.id.0),
            Item::User(it) => it.user_principal_name.clone(),
            Item::Group(it) => it.display_name.clone(),
            Item::Policy(it) => it.display_name.clone(),
            Item::Grant(it) => {
                let whom = it.principal_id.map_or_else(|| "all users".to_owned(), |user| self.of_id(user.0));
                let (client, resource) = (self.of_id(it.client_id.0), self.of_id(it.resource_id.0));
                format!("{client} → {resource} for {whom} ({})", it.scope)
            }
            Item::Assignment(it) => {
                let who = match it.assignee {
                    Assignee::User(id) => id.0,
                    Assignee::Group(id) => id.0,
                    Assignee::ServicePrincipal(id) => id.0,
                };
                let role = if it.app_role_id == RoleId::default() {
                    "access without a role".to_owned()
                } else {
                    self.of_id(it.app_role_id.0)
                };
                format!("{} → {} ({role})", self.of_id(who), self.of_id(it.resource_id.0))
            }
        }
    }
}
