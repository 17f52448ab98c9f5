//! What a request for admin consent wants, once its tenant, client and redirect URI are proved.
use super::Version;
use crate::admission;
use crate::authorize::{Standing, combined, future, registered, with};
use crate::consent::{Need, Offer, Section, Shown, needs};
use crate::denial::Denial;
use crate::directory::{Registration, Snapshot, TenantDirectory};
use crate::facts::{Asked, Target};
use crate::id::AppId;
use crate::model::Application;
use crate::ports::Ports;
use crate::scope_request::{self, Parties, Several};
use crate::token_endpoint::{blank, find_tenant, is_alias};
use decision::CheckId;
use oauth::{Form, OIDC_SCOPES, Scopes};
use std::sync::Arc;

/// How many words of `scope` are looked at.
const WORDS: usize = 64;

pub(super) struct Wanted {
    pub(super) tenant: Arc<TenantDirectory>,
    pub(super) client: Arc<Registration>,
    pub(super) redirect_uri: Option<String>,
    pub(super) state: Option<String>,
    /// `scope`, in the form that has one.
    pub(super) scope: Option<String>,
}

/// Proves tenant, client and redirect URI: before that nothing leads anywhere.
pub(super) fn prove(ports: &Ports, segment: &str, version: Version, request: &Form) -> Result<Wanted, Box<Denial>> {
    if is_alias(segment) {
        let expected = "the tenant's id or a domain of it, since consent holds in one tenant";
        return Err(Box::new(Denial::new(CheckId::TenantNamed, expected, "an alias")));
    }
    let missing = |name: &str| {
        let denial = Denial::new(CheckId::ParameterPresent, format!("`{name}`"), "nothing");
        Box::new(denial.fix(format!("add `{name}` to the request")))
    };
    let snapshot = ports.directory.snapshot();
    let tenant = find_tenant(&snapshot, segment);
    let client_id = request.value("client_id").ok_or_else(|| missing("client_id"))?;
    let application = client_id.parse().ok().and_then(|app| snapshot.application(app));
    let client = tenant.zip(application).and_then(|(tenant, application)| {
        let id = tenant.tenant.id;
        let new = || application.may_stand_in(id).then(|| Arc::new(future(id, application)));
        tenant.app(application.app_id).cloned().or_else(new)
    });
    let facts = blank(ports, segment, tenant.map(AsRef::as_ref), client_id, client.as_deref());
    admission::tenant_and_client(&facts).map_err(Box::new)?;
    let (Some(tenant), Some(client)) = (tenant.cloned(), client) else {
        return Err(Box::new(Denial::new(CheckId::ClientKnown, "an application", "none")));
    };
    let redirect_uri = request.value("redirect_uri").map(str::to_owned);
    if redirect_uri.as_ref().is_some_and(|uri| registered(&client.application, uri).is_none()) {
        let expected = format!("a redirect URI that is registered for `{}`", client.application.app_id);
        return Err(Box::new(Denial::new(CheckId::RedirectUriRegistered, expected, "another one")));
    }
    let scope = match version {
        Version::V1 => None,
        Version::V2 => Some(request.value("scope").ok_or_else(|| missing("scope"))?.to_owned()),
    };
    Ok(Wanted { tenant, client, redirect_uri, state: request.value("state").map(str::to_owned), scope })
}

impl Wanted {
    /// All that the administrator is asked to agree to.
    pub(super) fn offer(&self, snapshot: &Snapshot) -> Result<(Vec<Section>, Offer, Vec<String>), Box<Denial>> {
        let words: Vec<&str> = self.scope.as_deref().unwrap_or_default().split(' ').take(WORDS).collect();
        let words = words.into_iter().filter(|word| !word.is_empty() && !OIDC_SCOPES.contains(word));
        let (whole, named): (Vec<&str>, Vec<&str>) = words.partition(|word| word.ends_with("/.default"));
        let everything = self.scope.is_none() || !whole.is_empty();
        if everything && !named.is_empty() {
            let denial = Denial::new(CheckId::ScopeValid, "`.default` alone, or named scopes", "both together");
            return Err(Box::new(denial));
        }
        let place = self.place(snapshot, everything);
        let client = place.tenant.app(self.client.application.app_id).unwrap_or(&self.client);
        let shown = if everything {
            everything_registered(snapshot, &place, client)?
        } else {
            named_scopes(&place.tenant, client, &named)?
        };
        let adds = place.added.iter().map(|application| application.app_id).collect();
        let names = place.added.iter().map(|application| application.display_name.clone()).collect();
        let shown = shown.into_iter().map(|shown| match snapshot.application(shown.edge.resource_app) {
            Some(resource) => shown.for_admins(resource),
            None => shown,
        });
        let (edges, sections): (Vec<_>, Vec<_>) = shown.map(|shown| (shown.edge, shown.section)).unzip();
        if edges.is_empty() && place.added.is_empty() {
            let expected = format!("permissions in `requiredResourceAccess` of `{}`", client.application.app_id);
            return Err(Box::new(Denial::new(CheckId::RequiredAccessPresent, expected, "none")));
        }
        Ok((sections, Offer { tenant: self.tenant.tenant.id, edges, adds }, names))
    }

    /// The tenant with the client, and with those of its APIs that its own organization offers to every tenant.
    fn place(&self, snapshot: &Snapshot, everything: bool) -> Standing {
        let client = &self.client.application;
        let mut wanted: Vec<AppId> = vec![client.app_id];
        if everything {
            for needed in &client.required_resource_access {
                wanted.push(needed.resource_app_id);
                let middle = snapshot.application(needed.resource_app_id).filter(|middle| combined(client, middle));
                let behind = middle.into_iter().flat_map(|middle| &middle.required_resource_access);
                wanted.extend(behind.map(|needed| needed.resource_app_id));
            }
        }
        let mut added: Vec<Arc<Application>> = Vec::new();
        for app in wanted.into_iter().filter(|app| self.tenant.app(*app).is_none()) {
            let found = snapshot.application(app).filter(|found| {
                found.home_tenant == client.home_tenant
                    && found.may_stand_in(self.tenant.tenant.id)
                    && added.iter().all(|known| known.app_id != app)
            });
            added.extend(found.cloned());
        }
        with(&self.tenant, added)
    }
}

/// Everything that is registered, and what the APIs that know the client need in their turn.
fn everything_registered(
    snapshot: &Snapshot,
    place: &Standing,
    client: &Registration,
) -> Result<Vec<Shown>, Box<Denial>> {
    let mut shown = Vec::new();
    let mut take = |of: &Registration, need: &Need| {
        let edge = need.shown(of, &need.declared).with_roles(&need.resource, &need.roles);
        let permissions = !edge.edge.scope.is_empty() || !edge.edge.roles.is_empty();
        let something = permissions || edge.section.own_identity.is_some();
        shown.extend(something.then_some(edge));
    };
    for need in needs(snapshot, &place.tenant, client, None) {
        let need = need.map_err(Box::new)?;
        take(client, &need);
        if combined(&client.application, &need.resource.application) {
            for behind in needs(snapshot, &place.tenant, &need.resource, None) {
                take(&need.resource, &behind.map_err(Box::new)?);
            }
        }
    }
    Ok(shown)
}

/// Permissions that the request names one by one.
fn named_scopes(tenant: &TenantDirectory, client: &Registration, named: &[&str]) -> Result<Vec<Shown>, Box<Denial>> {
    let mut all: Vec<(AppId, Scopes)> = Vec::new();
    let parties = Parties { tenant, client, user: None };
    let refuse = |check, expected: &str, actual: String| Err(Box::new(Denial::new(check, expected, actual)));
    for word in named {
        let word = *word;
        match scope_request::resolve(Some(word), &[], parties, Several::Refuse).1 {
            Target::Resource(resource) => {
                let Asked::Named(values) = &resource.asked else { continue };
                let Some(value) = values.first().and_then(|(_, value)| value.clone()) else {
                    let actual = format!("`{}`", admission::short(word));
                    return refuse(CheckId::ScopeValid, "a permission that the API publishes", actual);
                };
                match all.iter_mut().find(|(app, _)| *app == resource.app_id) {
                    Some((_, scopes)) => scopes.insert(&value),
                    None => all.push((resource.app_id, std::iter::once(value.as_str()).collect())),
                }
            }
            Target::Unknown { name } => {
                return refuse(CheckId::ResourceKnown, "an API with a service principal in this tenant", name);
            }
            _ => {
                let actual = format!("`{}`", admission::short(word));
                return refuse(CheckId::ScopeValid, "`{application ID URI}/{scope}`", actual);
            }
        }
    }
    let shown = all.into_iter().filter_map(|(app, scopes)| {
        let resource = tenant.app(app)?;
        let facts = scope_request::standing(resource, "", Asked::Default, parties);
        Some(Shown::of(client, resource, &facts.published, &scopes))
    });
    Ok(shown.collect())
}
