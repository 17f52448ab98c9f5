//! What every engine promises of changes to single objects of the directory: they take what they were decided on.
use super::world::{ADA, CLIENT, NOON, RESOURCE, TENANT, World, audit, estate, grant, record, user, uuid};
use crate::{Change, Object};
use deputize_core::estate::Item;
use deputize_core::id::{AppId, UserId};
use deputize_core::ledger::{CommitError, GrantKey, Write};
use deputize_core::model::{Application, User};
use deputize_core::ports::{Directory, Ledger, Listed};

async fn applied(world: &World) {
    let changes = estate().into_iter().map(Change::from).collect();
    world.store.apply(changes, record("apply")).await.unwrap();
}

fn called(name: &str) -> User {
    User { display_name: name.to_owned(), ..user(ADA, "Ada@Contoso.example") }
}

fn change(before: User, after: Option<User>) -> Write {
    Write::Change(Box::new(Item::User(before)), after.map(|after| Box::new(Item::User(after))))
}

/// Two that decided on the same object: the second decides again. Its record is not written either.
pub(super) async fn an_object_changes_from_what_it_was_taken_for(world: World) {
    applied(&world).await;
    let store = &world.store;
    let name = async || {
        let ada = store.user(TENANT, deputize_core::directory::UserKey::Id(ADA)).await.unwrap();
        ada.map(|ada| ada.user.display_name.clone())
    };
    let before = user(ADA, "Ada@Contoso.example");
    store.commit(vec![change(before.clone(), Some(called("One"))), audit("one")]).await.unwrap();
    assert_eq!(name().await.as_deref(), Some("One"), "seen at once");
    let late = store.commit(vec![change(before.clone(), Some(called("Two"))), audit("two")]).await;
    assert_eq!((late, name().await.as_deref()), (Err(CommitError::Conflict), Some("One")));
    let nobody = User { id: UserId(uuid(404)), ..before };
    assert_eq!(store.commit(vec![change(nobody, Some(called("Three")))]).await, Err(CommitError::Conflict));
    store.commit(vec![change(called("One"), None)]).await.unwrap();
    assert_eq!(name().await, None);
    assert!(store.audit(0, 100).unwrap().iter().all(|(_, record)| record.decision != "two"));
}

/// Whoever loses to another process reads what won before they decide again.
pub(super) async fn who_loses_has_read_what_won(world: World) {
    applied(&world).await;
    let there = world.another();
    let app = || Application { app_id: AppId(uuid(30)), home_tenant: TENANT, ..Application::default() };
    let named = |name: &str| Application { display_name: name.to_owned(), ..app() };
    let put = |before: Application, after: Application| {
        vec![Write::Change(Box::new(Item::Application(before)), Some(Box::new(Item::Application(after))))]
    };
    let view = there.snapshot().sequence;
    world.store.commit(put(app(), named("won"))).await.unwrap();
    assert_eq!(there.snapshot().application(AppId(uuid(30))).unwrap().display_name, "");
    assert_eq!(there.commit(put(app(), named("lost"))).await, Err(CommitError::Conflict));
    assert_eq!(there.snapshot().application(AppId(uuid(30))).unwrap().display_name, "won");
    // A view of all registrations is as old as the oldest of them.
    assert_eq!(there.commit(vec![Write::RegistrationsAsOf(view)]).await, Err(CommitError::Conflict));
    there.commit(vec![Write::RegistrationsAsOf(there.snapshot().sequence)]).await.unwrap();
}

/// A user's consent that ended is remembered, so that no refresh token from before comes back with a new one.
pub(super) async fn a_consent_ends_once(world: World) {
    applied(&world).await;
    let store = &world.store;
    store.apply(vec![Object::Grant(grant(None, "Invoices.Read")).into()], record("apply")).await.unwrap();
    let key = |user| GrantKey { tenant: TENANT, client: CLIENT, resource: RESOURCE, user };
    for user in [None, Some(ADA)] {
        store.commit(vec![Write::EndGrant(key(user), NOON)]).await.unwrap();
        let again = store.commit(vec![Write::EndGrant(key(user), NOON)]).await;
        assert_eq!(again, Err(CommitError::Conflict), "{user:?}");
    }
    let ada = store.user(TENANT, deputize_core::directory::UserKey::Id(ADA)).await.unwrap().unwrap();
    assert_eq!((ada.withdrawn.get(&CLIENT), ada.grants[&(CLIENT, RESOURCE)].is_empty()), (Some(&NOON), true));
    let tenant = store.snapshot().tenant(TENANT).cloned().unwrap();
    assert_eq!(tenant.grant(CLIENT, RESOURCE), None);
}

pub(super) async fn lists_are_read_part_by_part(world: World) {
    applied(&world).await;
    let store = &world.store;
    let others = (100..110).map(|n| Object::User(user(UserId(uuid(n)), &format!("{n}@contoso.example"))).into());
    store.apply(others.collect(), record("apply")).await.unwrap();
    let (mut after, mut seen) = (Vec::new(), Vec::new());
    loop {
        let part = store.listed(TENANT, Listed::Users, after.clone(), 4).await.unwrap();
        let Some(last) = part.last() else { break };
        assert!(part.len() <= 4);
        after.clone_from(&last.place);
        seen.extend(part.into_iter().map(|placed| placed.item));
    }
    assert_eq!(seen.len(), 11);
    assert!(seen.iter().all(|item| matches!(item, Item::User(_))));
    let elsewhere = store.listed(deputize_core::id::TenantId(uuid(77)), Listed::Users, Vec::new(), 4).await.unwrap();
    assert_eq!(elsewhere, []);
    assert_eq!(store.listed(TENANT, Listed::Grants, Vec::new(), 4).await.unwrap().len(), 1);
}
