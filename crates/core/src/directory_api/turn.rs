//! One turn of a call: what it is about is read, the decision is asked, and what it changes and answers is made.
use super::application;
use super::body::{read, unsound};
use super::credential::{AddPassword, FederatedWritten, RemovePassword, missing};
use super::decide::{Facts, Object, Right, decide, may_be_called, may_change};
use super::page::Part;
use super::route::{BY_APP_ID, Operation};
use super::sound::sound;
use super::{Answer, Call, Subject, grant, principal, user};
use crate::built_in;
use crate::denial::Denial;
use crate::directory::{Registration, Snapshot, TenantDirectory, UserKey, UserRecord};
use crate::estate::Item;
use crate::id::{AppId, PrincipalId, UserId};
use crate::ledger::Write;
use crate::model::{Application, User};
use crate::ports::{Listed, Placed, Ports};
use crate::token_endpoint::unavailable;
use decision::CheckId;
use oauth::Form;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// What a call writes, and what it answers once that is written.
pub(super) struct Turn {
    pub(super) writes: Vec<Write>,
    /// Properties that change, for the record.
    pub(super) changed: Vec<String>,
    pub(super) answer: Answer,
}

impl Turn {
    fn shown(body: Value) -> Self {
        Self { writes: Vec::new(), changed: Vec::new(), answer: Answer::shown(body) }
    }
}

/// A reference to another object (Graph's `$ref`).
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Reference {
    #[serde(rename = "@odata.id")]
    id: String,
}

/// What nothing is sent for: an empty body, or an empty object.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Empty {}

/// What every turn begins with.
struct View<'a> {
    ports: &'a Ports,
    snapshot: Arc<Snapshot>,
    tenant: Arc<TenantDirectory>,
    query: &'a Form,
    body: &'a [u8],
}

impl Call {
    pub(super) async fn turn(&self, ports: &Ports, query: &Form, body: &[u8]) -> Result<Turn, Denial> {
        let snapshot = ports.directory.snapshot();
        let Some(tenant) = snapshot.tenant(self.caller.tenant).cloned() else {
            return Err(Denial::new(CheckId::TenantKnown, "a tenant", "one that ended"));
        };
        let view = View { ports, snapshot, tenant, query, body };
        match self.route.operation {
            Operation::ListApplications
            | Operation::ListOwned
            | Operation::ListPrincipals
            | Operation::ListUsers
            | Operation::ListGrants => self.list(&view).await,
            Operation::ReadApplication
            | Operation::UpdateApplication
            | Operation::AddPassword
            | Operation::RemovePassword
            | Operation::ListOwners
            | Operation::AddOwner
            | Operation::RemoveOwner
            | Operation::ListFederatedCredentials
            | Operation::CreateFederatedCredential
            | Operation::ReadFederatedCredential
            | Operation::UpdateFederatedCredential
            | Operation::DeleteFederatedCredential => self.application(&view).await,
            Operation::ReadPrincipal | Operation::UpdatePrincipal => self.principal(&view),
            Operation::ReadUser
            | Operation::UpdateUser
            | Operation::RevokeSessions
            | Operation::ListSecondFactors
            | Operation::DeleteSecondFactor => self.user(&view).await,
            Operation::DeleteGrant => self.grant(&view).await,
        }
    }

    fn place(&self, at: usize) -> &str {
        self.places.get(at).map_or("", String::as_str)
    }

    fn decide(&self, object: Object) -> Result<Right, Denial> {
        decide(&Facts { caller: self.caller.clone(), operation: self.route.operation, object })
    }

    async fn list(&self, view: &View<'_>) -> Result<Turn, Denial> {
        self.decide(Object::Collection)?;
        let part = Part::read(view.query)?;
        let own = self.caller.tenant;
        let registrations = || view.snapshot.applications().filter(|app| stands_as_registration(app, view));
        let place = |id: uuid::Uuid| id.into_bytes().to_vec();
        let objects = match self.route.operation {
            Operation::ListApplications => {
                part.of(registrations().map(|app| (place(app.app_id.0), Some(application::shown(app)))).collect())
            }
            Operation::ListOwned => {
                let Subject::User { id, .. } = self.caller.subject else {
                    return Ok(Turn::shown(json!({"value": []})));
                };
                let owned = registrations().filter(|app| app.owners.contains(&id));
                let shown = |app: &Arc<Application>| {
                    let mut shown = application::shown(app);
                    if let Some(members) = shown.as_object_mut() {
                        members.insert("@odata.type".to_owned(), "#microsoft.graph.application".into());
                    }
                    (place(app.app_id.0), Some(shown))
                };
                part.of(owned.map(shown).collect())
            }
            Operation::ListPrincipals => {
                let all = view.tenant.apps().map(|one| (place(one.principal.id.0), Some(principal::shown(one))));
                part.of(all.collect())
            }
            operation => {
                let kind = if operation == Operation::ListUsers { Listed::Users } else { Listed::Grants };
                let listed = view.ports.directory.listed(own, kind, part.after.clone(), part.limit());
                let shown = |item: Item| match item {
                    Item::User(it) => Some(user::shown(&it)),
                    // One without permissions remembers that it was taken back, and is none.
                    Item::Grant(it) if !it.scope.is_empty() => Some(grant::shown(&it)),
                    _ => None,
                };
                let listed = listed.await.map_err(unavailable)?.into_iter();
                listed.map(|Placed { place, item }| (place, shown(item))).collect()
            }
        };
        Ok(Turn::shown(part.answer(&format!("{}{}", view.ports.host, self.path), objects)))
    }

    async fn application(&self, view: &View<'_>) -> Result<Turn, Denial> {
        let id = self.place(0);
        let id = id.strip_prefix(BY_APP_ID).unwrap_or(id).parse::<AppId>();
        let found = id.ok().and_then(|id| view.snapshot.application(id));
        let found = found.filter(|app| stands_as_registration(app, view)).cloned();
        let Some(before) = found else {
            self.decide(Object::Missing)?;
            return Err(missing("none of this name"));
        };
        // In any tenant: who holds its credentials is it everywhere.
        let powerful = |tenant: &TenantDirectory| tenant.app(before.app_id).is_some_and(|app| privileged(tenant, app));
        let privileged = view.snapshot.tenants().any(|tenant| powerful(tenant));
        let (app_id, owners) = (before.app_id, before.owners.clone());
        let right = self.decide(Object::Application { app_id, owners, privileged })?;
        let mut after = (*before).clone();
        let mut answer = Answer::done();
        let federated = |app: &Application| {
            let id = self.place(1);
            let known = |one: &crate::workload::FederatedIdentityCredential| one.id.to_string() == id || one.name == id;
            app.federated_identity_credentials
                .iter()
                .position(known)
                .ok_or_else(|| missing("no such federated credential"))
        };
        match self.route.operation {
            Operation::UpdateApplication => {
                after = read::<application::Patch>(view.body)?.apply(&before, view.ports, self.now)?;
            }
            Operation::AddPassword => {
                let (with, shown) = read::<AddPassword>(or_empty(view.body))?.apply(&before, view.ports, self.now)?;
                (after, answer) = (with, Answer::shown(shown));
            }
            Operation::RemovePassword => after = read::<RemovePassword>(view.body)?.apply(&before)?,
            Operation::ListOwners => return owners_of(&before, view).await,
            Operation::AddOwner => {
                let reference = read::<Reference>(view.body)?;
                let id = reference.id.rsplit('/').next().and_then(|id| id.parse::<UserId>().ok());
                let known = match id {
                    Some(id) => {
                        view.ports.directory.user(self.caller.tenant, UserKey::Id(id)).await.map_err(unavailable)?
                    }
                    None => None,
                };
                let Some(known) = known else { return Err(unsound("@odata.id", "name a user of this tenant")) };
                if !after.owners.contains(&known.user.id) {
                    after.owners.push(known.user.id);
                    after.owners.sort_unstable();
                }
            }
            Operation::RemoveOwner => {
                let owner = self.place(1).parse::<UserId>().ok().filter(|id| after.owners.contains(id));
                let Some(owner) = owner else { return Err(missing("no such owner")) };
                after.owners.retain(|known| *known != owner);
                if after.owners.is_empty() && right == Right::Owner {
                    return Err(unsound("owners", "the last owner is for an administrator to take away"));
                }
            }
            Operation::ListFederatedCredentials => {
                return Ok(Turn::shown(json!({"value": before.federated_identity_credentials})));
            }
            Operation::CreateFederatedCredential => {
                let new = read::<FederatedWritten>(view.body)?.create(view.ports)?;
                answer = Answer { status: 201, body: Some(json!(new)) };
                after.federated_identity_credentials.push(new);
            }
            Operation::ReadFederatedCredential => {
                let known = federated(&before)?;
                return Ok(Turn::shown(json!(before.federated_identity_credentials.get(known))));
            }
            Operation::UpdateFederatedCredential => {
                let known = federated(&before)?;
                if let Some(known) = after.federated_identity_credentials.get_mut(known) {
                    read::<FederatedWritten>(view.body)?.apply(known)?;
                }
            }
            Operation::DeleteFederatedCredential => {
                let known = federated(&before)?;
                after.federated_identity_credentials.remove(known);
            }
            _ => return Ok(Turn::shown(application::shown(&before))),
        }
        // Judged as it would be, whatever was sent.
        let changed = may_change(right, &before, &after)?;
        may_be_called(right, &before, &after, &view.tenant.tenant.domains)?;
        sound(&before, &after, &view.snapshot)?;
        let mut writes = Vec::new();
        if before.identifier_uris != after.identifier_uris || before.sign_in_audience != after.sign_in_audience {
            writes.push(Write::RegistrationsAsOf(view.snapshot.sequence));
        }
        if !changed.is_empty() {
            let before = Box::new(Item::Application((*before).clone()));
            writes.push(Write::Change(before, Some(Box::new(Item::Application(after)))));
        }
        Ok(Turn { writes, changed, answer })
    }

    fn principal(&self, view: &View<'_>) -> Result<Turn, Denial> {
        let id = self.place(0);
        let found = match id.strip_prefix(BY_APP_ID) {
            Some(app) => app.parse::<AppId>().ok().and_then(|app| view.tenant.app(app)),
            None => id.parse::<PrincipalId>().ok().and_then(|id| view.tenant.principal(id)),
        };
        let Some(found) = found else {
            self.decide(Object::Missing)?;
            return Err(missing("none of this name"));
        };
        self.decide(Object::Unowned { privileged: privileged(&view.tenant, found) })?;
        if self.route.operation == Operation::ReadPrincipal {
            return Ok(Turn::shown(principal::shown(found)));
        }
        let before = &found.principal;
        let after = read::<principal::Patch>(view.body)?.apply(before);
        if view.snapshot.application(found.application.app_id).is_none() {
            return Err(unsound(
                "servicePrincipal",
                "the authority's own applications stand in every tenant, as they are",
            ));
        }
        Ok(change(Item::ServicePrincipal(before.clone()), Item::ServicePrincipal(after)))
    }

    async fn user(&self, view: &View<'_>) -> Result<Turn, Denial> {
        let id = self.place(0);
        let key = match id.parse::<UserId>() {
            Ok(id) => UserKey::Id(id),
            Err(_) => UserKey::PrincipalName(id.to_lowercase()),
        };
        let directory = &view.ports.directory;
        let found: Option<Arc<UserRecord>> = directory.user(self.caller.tenant, key).await.map_err(unavailable)?;
        let Some(found) = found else {
            self.decide(Object::Missing)?;
            return Err(missing("none of this name"));
        };
        self.decide(Object::Unowned { privileged: false })?;
        let before = &found.user;
        let of_user = |after: User| change(Item::User(before.clone()), Item::User(after));
        let signed_out = || User { sign_in_sessions_valid_from: self.now, ..before.clone() };
        match self.route.operation {
            Operation::UpdateUser => Ok(of_user(read::<user::Patch>(view.body)?.apply(before)?)),
            Operation::RevokeSessions => {
                read::<Empty>(or_empty(view.body))?;
                let answer = Answer::shown(json!({"value": true}));
                Ok(Turn { answer, ..of_user(signed_out()) })
            }
            Operation::ListSecondFactors | Operation::DeleteSecondFactor => {
                let held = view.ports.ledger.second_factor(self.caller.tenant, before.id).await.map_err(unavailable)?;
                let name = user::second_factor(before.id);
                if self.route.operation == Operation::ListSecondFactors {
                    let kind = "#microsoft.graph.softwareOathAuthenticationMethod";
                    let shown = held.iter().map(|_| json!({"@odata.type": kind, "id": name})).collect::<Vec<_>>();
                    return Ok(Turn::shown(json!({"value": shown})));
                }
                if held.is_none() || self.place(1) != name.to_string() {
                    return Err(missing("no such second factor"));
                }
                // What was proved with it proves nothing any more: the person signs in again, and sets up another one
                // where it is demanded next.
                let mut turn = of_user(signed_out());
                turn.writes.push(Write::RemoveSecondFactor(self.caller.tenant, before.id));
                turn.changed.push("softwareOathMethods".to_owned());
                Ok(turn)
            }
            _ => Ok(Turn::shown(user::shown(before))),
        }
    }

    async fn grant(&self, view: &View<'_>) -> Result<Turn, Denial> {
        let key = grant::named(self.caller.tenant, self.place(0));
        let scope = match key.map(|key| (key, key.user)) {
            Some((key, None)) => view.tenant.grant(key.client, key.resource).cloned(),
            Some((key, Some(user))) => {
                let user = view.ports.directory.user(key.tenant, UserKey::Id(user)).await.map_err(unavailable)?;
                user.and_then(|user| user.grants.get(&(key.client, key.resource)).cloned())
            }
            None => None,
        };
        let Some(key) = key.filter(|_| scope.is_some_and(|scope| !scope.is_empty())) else {
            self.decide(Object::Missing)?;
            return Err(missing("none of this name"));
        };
        self.decide(Object::Unowned { privileged: false })?;
        let writes = vec![Write::EndGrant(key, self.now)];
        Ok(Turn { writes, changed: vec!["scope".to_owned()], answer: Answer::done() })
    }
}

/// A body that may be left out.
fn or_empty(body: &[u8]) -> &[u8] {
    if body.is_empty() { b"{}" } else { body }
}

/// Whether it is a registration of this tenant. Managed identities have none: they are declared with what they belong to.
fn stands_as_registration(app: &Application, view: &View<'_>) -> bool {
    app.home_tenant == view.tenant.tenant.id && app.managed_identity.is_none()
}

/// Whether an application may change the directory, by itself or for administrators who use it: whoever can become it can
/// do so too.
fn privileged(tenant: &TenantDirectory, app: &Registration) -> bool {
    let (client, authority) = (app.principal.id, built_in::PRINCIPAL);
    let roles = tenant.assignment(client, authority).unwrap_or_default();
    roles.iter().any(|role| *role != built_in::EVENTS_READ_ID)
        || tenant.grant(client, authority).is_some_and(|scopes| !scopes.is_empty())
}

async fn owners_of(app: &Application, view: &View<'_>) -> Result<Turn, Denial> {
    let mut shown = Vec::new();
    for owner in &app.owners {
        let known = view.ports.directory.user(app.home_tenant, UserKey::Id(*owner)).await.map_err(unavailable)?;
        shown.extend(known.map(|known| {
            let user = &known.user;
            let (name, upn) = (&user.display_name, &user.user_principal_name);
            json!({"@odata.type": "#microsoft.graph.user", "id": owner, "displayName": name, "userPrincipalName": upn})
        }));
    }
    Ok(Turn::shown(json!({"value": shown})))
}

/// One object becomes another.
fn change(before: Item, after: Item) -> Turn {
    let changed = before.differing(&after);
    let write = Write::Change(Box::new(before), Some(Box::new(after)));
    let writes = if changed.is_empty() { Vec::new() } else { vec![write] };
    Turn { writes, changed, answer: Answer::done() }
}
