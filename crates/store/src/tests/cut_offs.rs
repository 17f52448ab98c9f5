//! Cut-offs: in the same commit as the change that implies them, in order, seen by other processes.
use super::world::{
    ADA, CLIENT, NOON, READER, RESOURCE, STAFF, TENANT, assignment, estate, grant, group, record, session, sqlite,
    user, uuid,
};
use crate::{Change, Key, KeyState, Object, SigningKey, Store};
use deputize_core::cut_off::{CutOff, Logged};
use deputize_core::id::{AppId, FamilyId, TenantId};
use deputize_core::ledger::Write;
use deputize_core::model::{Application, Assignee, ServicePrincipal, Tenant, TenantSettings};
use deputize_core::ports::Ledger;

async fn apply(store: &Store, changes: Vec<Change>) {
    store.apply(changes, record("apply")).await.unwrap();
}

async fn logged(store: &Store, after: u64) -> Logged {
    store.cut_offs(TENANT, after, 100).await.unwrap()
}

/// What a change of the directory ends, from the state of the estate.
async fn ended(change: Change) -> Vec<CutOff> {
    let world = sqlite();
    apply(&world.store, estate().into_iter().map(Change::from).collect()).await;
    let before = world.store.view();
    assert_eq!(logged(&world.store, 0).await.entries, [], "what is new ends nothing");
    apply(&world.store, vec![change]).await;
    let log = logged(&world.store, before).await;
    assert!(log.entries.iter().all(|entry| entry.at == NOON && entry.sequence > before));
    assert_eq!(log.newest, world.store.view());
    log.entries.into_iter().flat_map(|entry| entry.cut_offs).collect()
}

#[tokio::test]
async fn a_change_that_takes_away_ends_the_tokens_it_concerns_and_no_others() {
    let client = AppId(uuid(30));
    let ada = || user(ADA, "Ada@Contoso.example");
    let put = |object: Object| Change::from(object);
    let tenant = |enabled| Tenant {
        id: TENANT,
        display_name: "Contoso".to_owned(),
        domains: vec!["contoso.example".to_owned()],
        named_locations: Vec::new(),
        enabled,
        settings: TenantSettings { user_consent: false, ..TenantSettings::default() },
    };
    let principal = |account_enabled, app_role_assignment_required| ServicePrincipal {
        id: CLIENT,
        tenant: TENANT,
        app_id: client,
        account_enabled,
        app_role_assignment_required,
    };
    let application = Application { app_id: client, home_tenant: TENANT, ..Application::default() };
    let at = |client, user| vec![CutOff::At { resource: RESOURCE, client, user }];
    let cut_ada = vec![CutOff::User { user: ADA }];
    let both = vec![CutOff::Client { client }, CutOff::Resource { resource: client }];
    let cases = [
        (put(Object::Tenant(tenant(true))), vec![]),
        (put(Object::Tenant(tenant(false))), vec![CutOff::Tenant]),
        (Change::Delete(Key::Tenant(TENANT)), vec![CutOff::Tenant]),
        (put(Object::User(deputize_core::model::User { display_name: "A".into(), ..ada() })), vec![]),
        (put(Object::User(deputize_core::model::User { account_enabled: false, ..ada() })), cut_ada.clone()),
        (put(Object::User(deputize_core::model::User { password_hash: Some("x".into()), ..ada() })), cut_ada.clone()),
        (put(Object::User(deputize_core::model::User { sign_in_sessions_valid_from: NOON, ..ada() })), cut_ada.clone()),
        (Change::Delete(Key::User(TENANT, ADA)), cut_ada.clone()),
        (put(Object::Group(group(&[]))), cut_ada.clone()),
        (Change::Delete(Key::Group(TENANT, STAFF)), cut_ada),
        (put(Object::ServicePrincipal(principal(false, false))), both.clone()),
        (put(Object::ServicePrincipal(principal(true, true))), vec![CutOff::Resource { resource: client }]),
        (Change::Delete(Key::ServicePrincipal(TENANT, CLIENT)), both.clone()),
        (put(Object::Application(Application { display_name: "x".into(), ..application })), vec![]),
        (Change::Delete(Key::Application(client)), both),
        (put(Object::Grant(grant(Some(ADA), "Invoices.Read Invoices.Approve"))), vec![]),
        (put(Object::Grant(grant(Some(ADA), "Invoices.Approve"))), at(Some(CLIENT), Some(ADA))),
        (
            Change::Delete(Key::Grant { tenant: TENANT, client: CLIENT, resource: RESOURCE, user: Some(ADA) }),
            at(Some(CLIENT), Some(ADA)),
        ),
        (Change::Delete(Object::Assignment(assignment(Assignee::Group(STAFF), READER)).key()), at(None, None)),
    ];
    for (change, expected) in cases {
        assert_eq!(ended(change.clone()).await, expected, "{change:?}");
    }
}

#[tokio::test]
async fn sessions_authorizations_and_keys_end_what_stems_from_them() {
    let world = sqlite();
    let store = &world.store;
    store.commit(vec![Write::PutSession(session(40))]).await.unwrap();
    store.commit(vec![Write::PutSession(session(40))]).await.unwrap();
    assert_eq!(logged(store, 0).await.entries, [], "a session that goes on ends nothing");
    let family = FamilyId(uuid(9));
    assert!(!store.family_revoked(family).await.unwrap());
    store.commit(vec![Write::RevokeSession(session(40).id), Write::RevokeFamily(family)]).await.unwrap();
    assert!(store.family_revoked(family).await.unwrap());
    let key = |state| SigningKey {
        kid: "k1".into(),
        algorithm: "ES256".into(),
        sealed: oauth::Secret::new("sealed"),
        certificate: Vec::new(),
        created: NOON,
        not_after: NOON.plus(1),
        state,
    };
    store.put_signing_key(key(KeyState::Active)).await.unwrap();
    store.put_signing_key(key(KeyState::Revoked)).await.unwrap();
    let all: Vec<CutOff> = logged(store, 0).await.entries.into_iter().flat_map(|entry| entry.cut_offs).collect();
    let expected =
        [CutOff::Session { session: session(40).id }, CutOff::Grant { family }, CutOff::Key { kid: "k1".into() }];
    assert_eq!(all, expected);
    // A session is its tenant's; an authorization's name alone says nothing of a tenant.
    let elsewhere = store.cut_offs(TenantId(uuid(77)), 0, 100).await.unwrap();
    assert_eq!(elsewhere.entries.into_iter().flat_map(|entry| entry.cut_offs).collect::<Vec<_>>(), expected[1..]);
}

#[tokio::test]
async fn the_log_is_read_in_parts_and_waited_for_across_processes() {
    let world = sqlite();
    let (here, there) = (&world.store, world.another());
    for n in 1..=5 {
        here.commit(vec![Write::RevokeFamily(FamilyId(uuid(n)))]).await.unwrap();
    }
    let first = here.cut_offs(TENANT, 0, 2).await.unwrap();
    assert_eq!((first.entries.len(), first.more, first.oldest, first.newest), (2, true, 1, 5));
    let rest = here.cut_offs(TENANT, first.entries[1].sequence, 3).await.unwrap();
    assert_eq!((rest.entries.len(), rest.more), (3, false));
    here.changed(4).await;
    let family = FamilyId(uuid(1));
    there.poll().unwrap();
    assert!(there.family_revoked(family).await.unwrap());
    assert!(!there.family_revoked(FamilyId(uuid(6))).await.unwrap());
    here.commit(vec![Write::RevokeFamily(FamilyId(uuid(6)))]).await.unwrap();
    let waiting = there.changed(5);
    assert_eq!(there.view(), 5);
    there.poll().unwrap();
    waiting.await;
    assert!(there.family_revoked(FamilyId(uuid(6))).await.unwrap(), "what was cached before is forgotten");
}
