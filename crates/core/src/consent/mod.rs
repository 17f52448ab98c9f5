//! Consent: which application may act at which API, for whom (spec/entra.md sections 7 and 11).
//!
//! Whatever a person agrees to is an [`Edge`]. The page that shows edges seals them into its ticket, so that what was
//! shown is what is granted, and nothing else.
pub mod admin;
pub mod approvals;
pub mod given;
mod grant;
mod link;
mod needs;
mod request;

pub(crate) use grant::{By, may_add, writes};
pub use link::ConsentUrls;
pub(crate) use link::{attach, consent_address};
pub(crate) use needs::{Need, needs};
pub(crate) use request::reason;
pub use request::{ApprovalRequest, WAITS};

use crate::directory::{Registration, TenantDirectory};
use crate::facts::Published;
use crate::id::{AppId, PrincipalId, RoleId, TenantId};
use crate::model::Application;
use oauth::Scopes;
use serde::{Deserialize, Serialize};

/// What one application may do at one API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edge {
    /// The service principal that will act.
    pub client: PrincipalId,
    /// The API's service principal.
    pub resource: PrincipalId,
    /// The API's registration.
    pub resource_app: AppId,
    /// Delegated permissions.
    pub scope: Scopes,
    /// Application permissions: only an administrator gives them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<RoleId>,
}

/// All that a page asks to agree to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// Where it will hold.
    pub tenant: TenantId,
    /// What.
    pub edges: Vec<Edge>,
    /// Applications that get a service principal in the tenant.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub adds: Vec<AppId>,
}

/// One edge in words: a section of a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// Who will act.
    pub client: String,
    /// Where.
    pub resource: String,
    /// On the user's behalf.
    pub permissions: Vec<Published>,
    /// As itself, without a user.
    pub roles: Vec<Published>,
    /// Why it calls the API as itself also where a user stands behind the call.
    pub own_identity: Option<String>,
}

/// Whose application it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publisher {
    /// The organization that registered it.
    pub name: String,
    /// Its first domain.
    pub domain: String,
    /// Whether it is another organization than the one that is asked. Nobody verifies publishers here.
    pub foreign: bool,
}

/// An edge, and how it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) edge: Edge,
    pub(crate) section: Section,
}

impl Shown {
    /// What is not published any more is neither shown nor granted.
    pub(crate) fn of(client: &Registration, resource: &Registration, published: &[Published], scopes: &Scopes) -> Self {
        let permissions: Vec<Published> = published.iter().filter(|p| scopes.contains(&p.value)).cloned().collect();
        Self {
            edge: Edge {
                client: client.principal.id,
                resource: resource.principal.id,
                resource_app: resource.application.app_id,
                scope: permissions.iter().map(|published| published.value.as_str()).collect(),
                roles: Vec::new(),
            },
            section: Section {
                client: client.application.display_name.clone(),
                resource: resource.application.display_name.clone(),
                permissions,
                roles: Vec::new(),
                own_identity: client.application.own_identity(resource.application.app_id).map(str::to_owned),
            },
        }
    }

    /// In the words that are meant for administrators.
    pub(crate) fn for_admins(mut self, resource: &Application) -> Self {
        for shown in &mut self.section.permissions {
            let permission = resource.permission(&shown.value);
            *shown = permission.map_or_else(|| shown.clone(), crate::scope_request::published_to_admins);
        }
        self
    }

    /// With application permissions.
    pub(crate) fn with_roles(mut self, resource: &Registration, roles: &[RoleId]) -> Self {
        for role in resource.application.app_roles.iter().filter(|role| roles.contains(&role.id)) {
            self.edge.roles.push(role.id);
            self.section.roles.push(Published {
                value: role.value.clone(),
                admin_only: true,
                display_name: if role.display_name.is_empty() { role.value.clone() } else { role.display_name.clone() },
                description: role.description.clone(),
            });
        }
        self
    }
}

/// An edge.
pub(crate) fn edge(client: &Registration, resource: &Registration, scopes: &Scopes) -> Shown {
    let published = resource.application.api.oauth2_permission_scopes.iter().filter(|scope| scope.is_enabled);
    let published: Vec<Published> = published.map(crate::scope_request::published).collect();
    Shown::of(client, resource, &published, scopes)
}

/// Who published an application, as the tenant's people are told.
pub(crate) fn publisher(
    snapshot: &crate::directory::Snapshot,
    application: &Application,
    tenant: &TenantDirectory,
) -> Publisher {
    let home = snapshot.tenant(application.home_tenant);
    Publisher {
        name: home.map(|home| home.tenant.display_name.clone()).unwrap_or_default(),
        domain: home.and_then(|home| home.tenant.domains.first().cloned()).unwrap_or_default(),
        foreign: application.home_tenant != tenant.tenant.id,
    }
}
