//! What every engine must do, told as the ports' promises. A new engine adds one line at the end.
use super::objects::{
    a_consent_ends_once, an_object_changes_from_what_it_was_taken_for, lists_are_read_part_by_part,
    who_loses_has_read_what_won,
};
use super::work_orders::{
    a_revoked_work_order_is_dead_with_what_stems_from_it, a_work_order_is_counted_down_and_no_further,
    a_work_order_waits_and_stems_from_another_session_then, no_more_work_orders_are_outstanding_than_may_be,
};
use super::world::{
    ADA, CLIENT, NOON, READER, RESOURCE, STAFF, TENANT, World, assignment, audit, code, digest, estate, grant, group,
    record, session, token, user, uuid,
};
use crate::{ApplyError, Change, KeyState, Object, SigningKey, Store};
use decision::Timestamp;
use deputize_core::directory::{UserKey, UserRecord};
use deputize_core::endpoint::EndpointVersion;
use deputize_core::id::{AppId, FamilyId, RoleId, SessionId, TenantId, UserId};
use deputize_core::ledger::{Amendment, CommitError, OncePurpose, SignedInTo, Write};
use deputize_core::model::{Assignee, PermissionGrant};
use deputize_core::ports::{Directory, Ledger};
use deputize_core::second_factor::SecondFactor;
use std::sync::Arc;

async fn apply(store: &Store, objects: Vec<Object>) -> Result<usize, ApplyError> {
    store.apply(objects.into_iter().map(Change::from).collect(), record("apply")).await
}

async fn ada(store: &Store) -> Arc<UserRecord> {
    store.user(TENANT, UserKey::Id(ADA)).await.unwrap().unwrap()
}

/// A conditional write binds the whole request: nothing of it is written if its condition fails.
pub(super) async fn a_commit_is_whole_or_not_at_all(world: World) {
    let store = &world.store;
    store.commit(vec![Write::InsertCode(digest(b'c', 1), code(9))]).await.unwrap();
    let redeem =
        || vec![Write::ConsumeCode(digest(b'c', 1)), Write::InsertRefresh(digest(b'r', 1), token(9)), audit("one")];
    let conflicting = |mut writes: Vec<Write>| {
        writes.push(Write::RotateRefresh(digest(b'r', 404), NOON));
        writes
    };
    assert_eq!(store.commit(conflicting(redeem())).await, Err(CommitError::Conflict));
    assert!(!store.code(digest(b'c', 1)).await.unwrap().unwrap().consumed);
    assert_eq!(store.refresh(digest(b'r', 1)).await.unwrap(), None);
    assert_eq!(store.audit(0, 10).unwrap(), []);

    store.commit(redeem()).await.unwrap();
    assert!(store.code(digest(b'c', 1)).await.unwrap().unwrap().consumed);
    assert_eq!(store.refresh(digest(b'r', 1)).await.unwrap(), Some(token(9)));
    assert_eq!(store.audit(0, 10).unwrap(), [(1, record("one"))]);
    assert_eq!(store.commit(redeem()).await, Err(CommitError::Conflict));
}

pub(super) async fn a_code_works_once_and_a_killed_one_never(world: World) {
    let store = &world.store;
    let (first, second) = (digest(b'c', 1), digest(b'c', 2));
    store.commit(vec![Write::InsertCode(first, code(9)), Write::InsertCode(second, code(9))]).await.unwrap();
    assert_eq!(store.code(first).await.unwrap(), Some(code(9)));
    assert_eq!(store.commit(vec![Write::InsertCode(first, code(8))]).await, Err(CommitError::Conflict));
    assert_eq!(store.commit(vec![Write::ConsumeCode(digest(b'c', 3))]).await, Err(CommitError::Conflict));
    assert_eq!(store.commit(vec![Write::ConsumeCode(first)]).await, Ok(()));
    assert_eq!(store.commit(vec![Write::ConsumeCode(first)]).await, Err(CommitError::Conflict));
    assert_eq!(store.commit(vec![Write::KillCode(second)]).await, Ok(()));
    assert_eq!(store.commit(vec![Write::KillCode(second)]).await, Ok(()));
    assert_eq!(store.commit(vec![Write::ConsumeCode(second)]).await, Err(CommitError::Conflict));
}

pub(super) async fn a_refresh_token_rotates_once(world: World) {
    let store = &world.store;
    let first = digest(b'r', 1);
    store.commit(vec![Write::InsertRefresh(first, token(9))]).await.unwrap();
    assert_eq!(store.commit(vec![Write::RotateRefresh(first, NOON.plus(5))]).await, Ok(()));
    assert_eq!(store.refresh(first).await.unwrap().unwrap().rotated, Some(NOON.plus(5)));
    assert_eq!(store.commit(vec![Write::RotateRefresh(first, NOON.plus(6))]).await, Err(CommitError::Conflict));
    assert_eq!(store.refresh(first).await.unwrap().unwrap().rotated, Some(NOON.plus(5)));
}

/// A replay revokes the family: tokens there are, and tokens yet to come (a redemption that was on its way).
pub(super) async fn a_revoked_family_has_no_tokens_now_or_later(world: World) {
    let store = &world.store;
    let (theirs, other) = (digest(b'r', 1), digest(b'r', 2));
    store.commit(vec![Write::InsertRefresh(theirs, token(9)), Write::InsertRefresh(other, token(8))]).await.unwrap();
    for family in [8, 9] {
        store.commit(vec![Write::InsertCode(digest(b'c', family), code(family.into()))]).await.unwrap();
    }
    store.commit(vec![Write::RevokeFamily(FamilyId(uuid(9)))]).await.unwrap();
    assert!(store.code(digest(b'c', 9)).await.unwrap().unwrap().revoked, "a code that is yet to be redeemed");
    assert!(!store.code(digest(b'c', 8)).await.unwrap().unwrap().revoked);
    store.commit(vec![Write::RevokeFamily(FamilyId(uuid(9)))]).await.unwrap();
    assert!(store.refresh(theirs).await.unwrap().unwrap().revoked);
    assert!(!store.refresh(other).await.unwrap().unwrap().revoked);
    assert_eq!(store.commit(vec![Write::RotateRefresh(theirs, NOON)]).await, Err(CommitError::Conflict));
    assert_eq!(store.commit(vec![Write::InsertRefresh(digest(b'r', 3), token(9))]).await, Err(CommitError::Conflict));
    assert_eq!(store.commit(vec![Write::RotateRefresh(other, NOON)]).await, Ok(()));
    // Long after, while one of its tokens could still be presented.
    for later in [80_000, 86_400 + 29 * 86_400] {
        store.purge(NOON.plus(later)).await.unwrap();
        assert_eq!(
            store.commit(vec![Write::InsertRefresh(digest(b'r', 3), token(9))]).await,
            Err(CommitError::Conflict)
        );
    }
    // A month after the last token it could have had expired, there is nothing left to revoke.
    assert_eq!(
        store.purge(NOON.plus(86_400 + 30 * 86_400 + 3_601)).await.unwrap(),
        1,
        "the family; the newest change stays"
    );
}

pub(super) async fn a_session_that_was_ended_is_never_read_or_made_live(world: World) {
    let store = &world.store;
    let id = SessionId(uuid(40));
    assert_eq!(store.session(id).await.unwrap(), None);
    store.commit(vec![Write::PutSession(session(40))]).await.unwrap();
    assert_eq!(*store.session(id).await.unwrap().unwrap(), session(40));
    let stepped_up = || {
        let mut session = session(40);
        session.amr.push("mfa".to_owned());
        session
    };
    store.commit(vec![Write::PutSession(stepped_up())]).await.unwrap();
    assert_eq!(*store.session(id).await.unwrap().unwrap(), stepped_up());
    assert_eq!(*store.session_by_cookie(session(40).cookie).await.unwrap().unwrap(), stepped_up());

    store.commit(vec![Write::RevokeSession(id)]).await.unwrap();
    assert!(store.session(id).await.unwrap().unwrap().revoked);
    assert!(store.session_by_cookie(session(40).cookie).await.unwrap().unwrap().revoked);
    // A request that read the session before it was ended must not bring it back.
    assert_eq!(store.commit(vec![Write::PutSession(stepped_up())]).await, Err(CommitError::Conflict));
    assert!(store.session(id).await.unwrap().unwrap().revoked);
    assert_eq!(store.commit(vec![Write::RevokeSession(id)]).await, Ok(()));
    // Nor may another session take over the cookie of one.
    let thief = deputize_core::ledger::SessionRecord { id: SessionId(uuid(41)), ..session(40) };
    assert_eq!(store.commit(vec![Write::PutSession(thief)]).await, Err(CommitError::Conflict));
}

pub(super) async fn a_value_is_consumed_once_for_each_purpose(world: World) {
    let once = |purpose| vec![Write::ConsumeOnce { purpose, value: digest(b'j', 1), expires: NOON.plus(300) }];
    let store = &world.store;
    assert_eq!(store.commit(once(OncePurpose::ClientAssertion)).await, Ok(()));
    assert_eq!(store.commit(once(OncePurpose::ClientAssertion)).await, Err(CommitError::Conflict));
    assert_eq!(store.commit(once(OncePurpose::Interaction)).await, Ok(()));
}

/// Expired rows go, in turns; what was consumed and could still be presented stays.
pub(super) async fn a_user_in_a_trace_is_known_to_every_process_for_a_while(world: World) {
    use deputize_core::id::AppId;
    use deputize_core::trace::{Carried, TraceId, UserInTrace};
    let (orders, billing) = (AppId(uuid(5)), AppId(uuid(6)));
    let user = |how, seconds| {
        let expires = NOON.plus(seconds);
        Write::CarryUser(UserInTrace { tenant: TENANT, client: orders, trace: TraceId(u128::MAX), how, expires })
    };
    let exchanged = Carried::Exchanged(billing);
    // In the commit of what proved it, or not at all.
    let failing = vec![user(exchanged, 300), Write::RotateRefresh(digest(b'r', 404), NOON)];
    assert_eq!(world.store.commit(failing).await, Err(CommitError::Conflict));
    let known = async |store: &Store, client, trace, now| {
        let mut known = store.carried(TENANT, client, TraceId(trace), now).await.unwrap();
        known.sort_unstable();
        known
    };
    assert_eq!(known(&world.store, orders, u128::MAX, NOON).await, []);
    let all = vec![user(exchanged, 300), user(Carried::Introspected, 200), user(Carried::Addressed, 100)];
    world.store.commit(all).await.unwrap();
    world.store.commit(vec![user(exchanged, 10)]).await.unwrap();
    let other = world.another();
    assert_eq!(
        known(&other, orders, u128::MAX, NOON).await,
        [exchanged, Carried::Introspected, Carried::Addressed],
        "another process knows it"
    );
    assert_eq!(known(&other, orders, u128::MAX, NOON.plus(200)).await, [exchanged], "the longest of what was said");
    assert_eq!(known(&other, billing, u128::MAX, NOON).await, [], "another client");
    assert_eq!(known(&other, orders, 1, NOON).await, [], "another trace");
    let elsewhere = TenantId(uuid(77));
    assert_eq!(other.carried(elsewhere, orders, TraceId(u128::MAX), NOON).await.unwrap(), [], "another tenant");
    assert_eq!(world.store.purge(NOON.plus(201)).await.unwrap(), 2);
    assert_eq!(known(&world.store, orders, u128::MAX, NOON).await, [exchanged]);
}

pub(super) async fn purging_forgets_the_expired_and_nothing_else(world: World) {
    let store = &world.store;
    let once = |n, seconds| Write::ConsumeOnce {
        purpose: OncePurpose::ClientAssertion,
        value: digest(b'j', n),
        expires: NOON.plus(seconds),
    };
    let mut writes: Vec<_> = (0..1_200).map(|n| once(n, 60)).collect();
    writes.extend([
        once(5_000, 90_000),
        Write::InsertCode(digest(b'c', 1), code(9)),
        Write::ConsumeCode(digest(b'c', 1)),
    ]);
    writes.extend([Write::InsertRefresh(digest(b'r', 1), token(9)), Write::PutSession(session(40))]);
    store.commit(writes).await.unwrap();
    assert_eq!(store.purge(NOON.plus(61)).await, Ok(0), "clocks differ: not at once");
    assert_eq!(store.commit(vec![once(7, 60)]).await, Err(CommitError::Conflict));
    assert_eq!(store.purge(NOON.plus(10_000)).await, Ok(1_201), "the values and the code");
    assert_eq!(store.code(digest(b'c', 1)).await.unwrap(), None);
    assert_eq!(store.commit(vec![Write::ConsumeCode(digest(b'c', 1))]).await, Err(CommitError::Conflict));
    assert_eq!(store.commit(vec![once(5_000, 90_000)]).await, Err(CommitError::Conflict));
    assert!(store.refresh(digest(b'r', 1)).await.unwrap().is_some());
    assert!(store.session(session(40).id).await.unwrap().is_some());
    assert_eq!(store.purge(NOON.plus(200_000)).await, Ok(3), "all that is left expired too");
}

pub(super) async fn the_directory_is_read_as_it_was_applied(world: World) {
    let store = &world.store;
    assert_eq!(store.user(TENANT, UserKey::Id(ADA)).await.unwrap().map(|_| ()), None);
    assert_eq!(apply(store, estate()).await, Ok(7));
    // The absence that was held is gone with the change, and the snapshot is new when `apply` returns.
    let snapshot = store.snapshot();
    let tenant = snapshot.by_domain("CONTOSO.example").unwrap();
    assert_eq!(tenant.principal(CLIENT).unwrap().principal.id, CLIENT);
    let record = ada(store).await;
    assert_eq!(record.groups, [STAFF]);
    assert_eq!(record.roles[&RESOURCE], [READER]);
    assert!(record.grants[&(CLIENT, RESOURCE)].contains("Invoices.Read"));
    for name in ["ada@contoso.example", "ADA@CONTOSO.EXAMPLE"] {
        let found = store.user(TENANT, UserKey::PrincipalName(name.to_owned())).await.unwrap().unwrap();
        assert_eq!(found.user.id, ADA);
    }
    assert!(store.user(TenantId(uuid(99)), UserKey::Id(ADA)).await.unwrap().is_none(), "another tenant's user");
    // On either side of a name that there is, and where there is none at all.
    for nobody in ["", "ada", "ada@contoso.example ", "aaa@contoso.example", "nobody@contoso.example"] {
        let nobody = UserKey::PrincipalName(nobody.to_owned());
        assert!(store.user(TENANT, nobody).await.unwrap().is_none());
    }
    let elsewhere = UserKey::PrincipalName("ada@contoso.example".to_owned());
    assert!(store.user(TenantId(uuid(99)), elsewhere).await.unwrap().is_none());

    let mut found = store.objects().unwrap();
    assert_eq!(found.len(), 7);
    found.retain(|object| !estate().contains(object));
    assert_eq!(found, []);
    assert_eq!(apply(store, estate()).await, Ok(0), "applied again it changes nothing");
}

pub(super) async fn every_change_of_a_user_binds_when_it_is_acknowledged(world: World) {
    let store = &world.store;
    apply(store, estate()).await.unwrap();
    assert_eq!(ada(store).await.groups, [STAFF]);

    apply(store, vec![Object::Group(group(&[]))]).await.unwrap();
    assert_eq!((ada(store).await.groups.len(), ada(store).await.roles.len()), (0, 0));
    apply(store, vec![Object::Group(group(&[ADA, ADA]))]).await.unwrap();
    assert_eq!(ada(store).await.groups, [STAFF]);

    let through_group = Object::Assignment(assignment(Assignee::Group(STAFF), READER));
    store.apply(vec![Change::Delete(through_group.key())], record("apply")).await.unwrap();
    assert!(!ada(store).await.roles.contains_key(&RESOURCE));
    apply(store, vec![Object::Assignment(assignment(Assignee::User(ADA), RoleId::default()))]).await.unwrap();
    assert_eq!(ada(store).await.roles[&RESOURCE], [], "assigned, without a role");

    store.commit(vec![Write::AddGrant(grant(Some(ADA), "Invoices.Approve"))]).await.unwrap();
    assert_eq!(ada(store).await.grants[&(CLIENT, RESOURCE)].to_string(), "Invoices.Approve Invoices.Read");

    apply(
        store,
        vec![Object::User(deputize_core::model::User { account_enabled: false, ..user(ADA, "ada@contoso.example") })],
    )
    .await
    .unwrap();
    assert!(!ada(store).await.user.account_enabled);
    let gone = estate().iter().map(|object| Change::Delete(object.key())).collect();
    store.apply(gone, record("apply")).await.unwrap();
    assert!(store.user(TENANT, UserKey::Id(ADA)).await.unwrap().is_none());
    assert!(store.snapshot().tenant(TENANT).is_none());
}

pub(super) async fn a_consent_for_all_is_in_the_snapshot_when_it_is_acknowledged(world: World) {
    let store = &world.store;
    apply(store, estate()).await.unwrap();
    store.commit(vec![Write::AddGrant(grant(None, "Invoices.Read"))]).await.unwrap();
    store.commit(vec![Write::AddGrant(grant(None, "Invoices.Approve"))]).await.unwrap();
    let snapshot = store.snapshot();
    let consented = snapshot.tenant(TENANT).unwrap().grant(CLIENT, RESOURCE).unwrap();
    assert_eq!(consented.to_string(), "Invoices.Approve Invoices.Read");
    assert_eq!(ada(store).await.grants[&(CLIENT, RESOURCE)].to_string(), "Invoices.Read", "hers are apart");
    let elsewhere = PermissionGrant { tenant: TenantId(uuid(99)), ..grant(Some(ADA), "Invoices.Approve") };
    store.commit(vec![Write::AddGrant(elsewhere)]).await.unwrap();
    assert_eq!(ada(store).await.grants[&(CLIENT, RESOURCE)].to_string(), "Invoices.Read", "another tenant's");
}

/// Confusion of kinds: a service principal or a group that has a user's id gives the user nothing.
pub(super) async fn an_id_of_another_kind_gives_a_user_no_role(world: World) {
    let store = &world.store;
    apply(store, vec![Object::User(user(ADA, "ada@contoso.example"))]).await.unwrap();
    let same = ADA.0;
    apply(
        store,
        vec![
            Object::Assignment(assignment(Assignee::ServicePrincipal(deputize_core::id::PrincipalId(same)), READER)),
            Object::Assignment(assignment(Assignee::Group(deputize_core::id::GroupId(same)), READER)),
        ],
    )
    .await
    .unwrap();
    assert!(ada(store).await.roles.is_empty());
}

pub(super) async fn a_name_belongs_to_one_user_and_a_refused_change_leaves_nothing(world: World) {
    let store = &world.store;
    apply(store, estate()).await.unwrap();
    let before = (store.objects().unwrap(), store.audit(0, 100).unwrap());
    let bob = UserId(uuid(20));
    let twice = vec![Object::Group(group(&[])), Object::User(user(bob, "ADA@contoso.EXAMPLE"))];
    assert_eq!(apply(store, twice).await, Err(ApplyError::NameTaken));
    assert_eq!((store.objects().unwrap(), store.audit(0, 100).unwrap()), before);
    assert_eq!(ada(store).await.groups, [STAFF]);
}

pub(super) async fn keys_and_settings_are_kept_as_given(world: World) {
    let store = &world.store;
    let key = |state| SigningKey {
        kid: "k1".to_owned(),
        algorithm: "RS256".to_owned(),
        sealed: oauth::Secret::new("sealed"),
        certificate: vec![1, 2, 3],
        created: NOON,
        not_after: NOON.plus(1),
        state,
    };
    for state in [KeyState::Next, KeyState::Active, KeyState::Retired, KeyState::Revoked] {
        store.put_signing_key(key(state)).await.unwrap();
        assert_eq!(store.signing_keys().unwrap(), [key(state)]);
    }
    assert_eq!(store.meta("salt").unwrap(), None);
    for value in [vec![1], vec![2; 1_000]] {
        store.put_meta("salt", value.clone()).await.unwrap();
        assert_eq!(store.meta("salt").unwrap(), Some(value));
    }
}

/// A clock that is set back must not make what expired valid again.
pub(super) async fn time_never_goes_back(world: World) {
    world.clock.set(NOON.plus(3_600));
    world.store.put_meta("any", Vec::new()).await.unwrap();
    assert_eq!(world.store.time_floor(), NOON.plus(3_600));
    world.clock.set(NOON);
    world.store.put_meta("any", Vec::new()).await.unwrap();
    assert_eq!(world.store.time_floor(), NOON.plus(3_600));
    assert_eq!(world.another().time_floor(), NOON.plus(3_600), "after a restart too");
}

/// of guesses that come at once, one counts; and a second factor is set up once.
pub(super) async fn a_second_factor_changes_from_its_newest_version_only(world: World) {
    let store = &world.store;
    apply(store, estate()).await.unwrap();
    let factor = |version| SecondFactor {
        tenant: TENANT,
        user: ADA,
        version,
        secret: "sealed".to_owned(),
        last_step: version,
        recovery: vec![digest(b'r', version)],
        failures: 0,
        last_failure: NOON,
    };
    let put = async |version| store.commit(vec![Write::PutSecondFactor(factor(version)), audit("one")]).await;
    assert!(!ada(store).await.second_factor);
    assert_eq!(put(2).await, Err(CommitError::Conflict), "none to change");
    assert_eq!(put(1).await, Ok(()));
    assert!(ada(store).await.second_factor, "seen at once");
    assert_eq!(put(1).await, Err(CommitError::Conflict), "set up once");
    let at_once = (0..16).map(|_| put(2)).collect::<Vec<_>>();
    let mut won = 0;
    for result in at_once {
        won += usize::from(result.await.is_ok());
    }
    assert_eq!(won, 1);
    assert_eq!(put(4).await, Err(CommitError::Conflict));
    assert_eq!(store.second_factor(TENANT, ADA).await.unwrap(), Some(factor(2)));
    assert_eq!(store.second_factor(TenantId(uuid(77)), ADA).await.unwrap(), None);
    let remove = async || store.commit(vec![Write::RemoveSecondFactor(TENANT, ADA)]).await;
    assert_eq!((remove().await, ada(store).await.second_factor), (Ok(()), false), "seen at once");
    assert_eq!(remove().await, Err(CommitError::Conflict));
    assert_eq!(put(3).await, Err(CommitError::Conflict), "a code of before brings it back to nobody");
    assert_eq!(put(1).await, Ok(()));
    store.commit(vec![Write::RemoveSecondFactor(TENANT, ADA)]).await.unwrap();
    put(1).await.unwrap();
    put(2).await.unwrap();
    assert_eq!(store.audit(0, 100).unwrap().iter().filter(|(_, record)| record.decision == "one").count(), 5);
}

/// A session that is strengthened keeps its id and loses its cookie; one that has ended is not changed any more.
pub(super) async fn a_session_is_amended_while_it_lives(world: World) {
    let store = &world.store;
    let id = SessionId(uuid(40));
    let amendment = || Amendment {
        cookie: Some(digest(b's', 99)),
        second_factor: Some((NOON.plus(9), vec!["pwd".to_owned(), "mfa".to_owned()])),
        address: Some([198, 51, 100, 7].into()),
        client: None,
    };
    let amend = async |amendment| store.commit(vec![Write::AmendSession(id, amendment)]).await;
    assert_eq!(amend(amendment()).await, Err(CommitError::Conflict), "there is none");
    store.commit(vec![Write::PutSession(session(40))]).await.unwrap();
    assert_eq!(*store.session(id).await.unwrap().unwrap(), session(40));
    amend(amendment()).await.unwrap();
    let stronger = session(40).amended(amendment());
    assert_eq!((stronger.mfa_time, stronger.amr.len()), (Some(NOON.plus(9)), 2));
    assert_eq!(*store.session(id).await.unwrap().unwrap(), stronger);
    assert_eq!(store.session_by_cookie(session(40).cookie).await.unwrap(), None);
    assert_eq!(*store.session_by_cookie(digest(b's', 99)).await.unwrap().unwrap(), stronger);
    // Seeing it elsewhere weakens nothing.
    let elsewhere = Amendment { address: Some([203, 0, 113, 9].into()), ..Amendment::default() };
    amend(elsewhere.clone()).await.unwrap();
    assert_eq!(*store.session(id).await.unwrap().unwrap(), stronger.clone().amended(elsewhere));
    // Where it signed in is added, each client once; and there are never more than 64.
    let signed_in_to = |n: u128| Amendment {
        client: Some(SignedInTo { tenant: TENANT, client: AppId(uuid(n)), session: id, version: EndpointVersion::V2 }),
        ..Amendment::default()
    };
    let (one, other) = tokio::join!(amend(signed_in_to(100)), amend(signed_in_to(101)));
    assert_eq!((one, other), (Ok(()), Ok(())));
    amend(signed_in_to(100)).await.unwrap();
    assert_eq!(store.session(id).await.unwrap().unwrap().clients.len(), 2);
    for n in 102..180 {
        amend(signed_in_to(n)).await.unwrap();
    }
    let clients = store.session(id).await.unwrap().unwrap().clients.clone();
    assert_eq!((clients.len(), clients.last().map(|last| last.client)), (64, Some(AppId(uuid(179)))));
    store.commit(vec![Write::RevokeSession(id)]).await.unwrap();
    assert_eq!(amend(amendment()).await, Err(CommitError::Conflict));
    assert!(store.session(id).await.unwrap().unwrap().revoked);
}

pub(super) async fn what_a_subscriber_heard_is_kept_for_its_application_and_never_goes_back(world: World) {
    let store = &world.store;
    let (tenant, app) = (TENANT, AppId(uuid(0x51)));
    let (elsewhere, other) = (TenantId(uuid(0x52)), AppId(uuid(0x53)));
    let heard = async |at: i64| store.commit(vec![Write::Heard(tenant, app, Timestamp(at))]).await.unwrap();
    assert_eq!(store.heard(tenant, app).await.unwrap(), None);
    for (at, newest) in [(100, 100), (130, 130), (90, 130)] {
        heard(at).await;
        assert_eq!(store.heard(tenant, app).await.unwrap(), Some(Timestamp(newest)));
    }
    assert_eq!((store.heard(tenant, other).await.unwrap(), store.heard(elsewhere, app).await.unwrap()), (None, None));
    store.purge(Timestamp(130 + 3_600)).await.unwrap();
    assert!(store.heard(tenant, app).await.unwrap().is_some());
    store.purge(Timestamp(131 + 3_600)).await.unwrap();
    assert_eq!(store.heard(tenant, app).await.unwrap(), None);
}

macro_rules! conformance {
    ($engine:ident: $($promise:ident)*) => {
        mod $engine {
            $(#[tokio::test]
            async fn $promise() {
                super::$promise(crate::tests::world::$engine()).await;
            })*
        }
    };
    ($engine:ident) => {
        conformance!($engine:
            a_commit_is_whole_or_not_at_all
            a_code_works_once_and_a_killed_one_never
            a_refresh_token_rotates_once
            a_revoked_family_has_no_tokens_now_or_later
            a_session_that_was_ended_is_never_read_or_made_live
            a_session_is_amended_while_it_lives
            a_second_factor_changes_from_its_newest_version_only
            a_value_is_consumed_once_for_each_purpose
            a_user_in_a_trace_is_known_to_every_process_for_a_while
            purging_forgets_the_expired_and_nothing_else
            the_directory_is_read_as_it_was_applied
            every_change_of_a_user_binds_when_it_is_acknowledged
            a_consent_for_all_is_in_the_snapshot_when_it_is_acknowledged
            an_id_of_another_kind_gives_a_user_no_role
            a_name_belongs_to_one_user_and_a_refused_change_leaves_nothing
            keys_and_settings_are_kept_as_given
            time_never_goes_back
            what_a_subscriber_heard_is_kept_for_its_application_and_never_goes_back
            an_object_changes_from_what_it_was_taken_for
            who_loses_has_read_what_won
            a_consent_ends_once
            lists_are_read_part_by_part
            a_work_order_is_counted_down_and_no_further
            a_revoked_work_order_is_dead_with_what_stems_from_it
            a_work_order_waits_and_stems_from_another_session_then
            no_more_work_orders_are_outstanding_than_may_be
        );
    };
}

conformance!(sqlite);
