//! Two processes on one file: what one commits binds in the other.
use super::world::{ADA, CLIENT, RESOURCE, TENANT, audit, digest, estate, grant, record, session, sqlite};
use crate::Change;
use deputize_core::directory::UserKey;
use deputize_core::ledger::{CommitError, OncePurpose, Write};
use deputize_core::ports::{Directory, Ledger};
use sql::{Abort, rusqlite};
use std::sync::Arc;

#[tokio::test]
async fn what_another_process_applies_or_revokes_is_seen_at_the_next_poll() {
    let world = sqlite();
    let (here, there) = (&world.store, world.another());
    assert!(here.user(TENANT, UserKey::Id(ADA)).await.unwrap().is_none());
    here.commit(vec![Write::PutSession(session(40))]).await.unwrap();
    assert!(!here.session(session(40).id).await.unwrap().unwrap().revoked);

    there.apply(estate().into_iter().map(Change::from).collect(), record("apply")).await.unwrap();
    there.commit(vec![Write::RevokeSession(session(40).id)]).await.unwrap();
    here.poll().unwrap();
    assert!(here.snapshot().tenant(TENANT).is_some());
    assert!(here.user(TENANT, UserKey::Id(ADA)).await.unwrap().is_some());
    assert!(here.session(session(40).id).await.unwrap().unwrap().revoked);
}

#[tokio::test]
async fn a_commit_here_takes_in_what_another_process_changed_before() {
    let world = sqlite();
    let (here, there) = (&world.store, world.another());
    there.apply(estate().into_iter().map(Change::from).collect(), record("apply")).await.unwrap();
    here.commit(vec![Write::AddGrant(grant(None, "Invoices.Read"))]).await.unwrap();
    let snapshot = here.snapshot();
    assert!(snapshot.tenant(TENANT).unwrap().grant(CLIENT, RESOURCE).is_some());
    assert!(there.snapshot().tenant(TENANT).unwrap().grant(CLIENT, RESOURCE).is_none(), "not polled yet");
    there.poll().unwrap();
    assert!(there.snapshot().tenant(TENANT).unwrap().grant(CLIENT, RESOURCE).is_some());
}

#[tokio::test]
async fn two_processes_share_conditions_and_one_audit_chain() {
    let world = sqlite();
    let (here, there) = (&world.store, world.another());
    let once = |n| {
        let value = digest(b'j', n);
        vec![
            Write::ConsumeOnce { purpose: OncePurpose::Interaction, value, expires: super::world::NOON },
            audit("once"),
        ]
    };
    for n in 0..20 {
        let (first, second) = if n % 2 == 0 { (here, &there) } else { (&there, here) };
        assert_eq!(first.commit(once(n)).await, Ok(()));
        assert_eq!(second.commit(once(n)).await, Err(CommitError::Conflict));
    }
    assert_eq!(here.audit_verify(None).unwrap().sequence, 20);
}

#[tokio::test]
async fn a_process_that_was_away_longer_than_the_log_reads_everything_anew() {
    let world = sqlite();
    let (here, there) = (&world.store, world.another());
    assert!(here.user(TENANT, UserKey::Id(ADA)).await.unwrap().is_none());
    there.apply(estate().into_iter().map(Change::from).collect(), record("apply")).await.unwrap();
    there.purge(super::world::NOON.plus(30 * 86_400)).await.unwrap();
    here.poll().unwrap();
    assert!(here.snapshot().tenant(TENANT).is_some());
    assert!(here.user(TENANT, UserKey::Id(ADA)).await.unwrap().is_some());
}

#[tokio::test]
async fn the_watch_looks_five_times_a_second_and_ends_with_the_store() {
    let world = sqlite();
    let there = world.another();
    let watching = tokio::spawn(world.store.watch());
    there.apply(estate().into_iter().map(Change::from).collect(), record("apply")).await.unwrap();
    // Paused only now: while the writer's thread works, a paused clock would run ahead through hours of looks.
    tokio::time::pause();
    tokio::time::sleep(std::time::Duration::from_millis(401)).await;
    assert!(world.store.snapshot().tenant(TENANT).is_some());
    assert_eq!(Arc::strong_count(&world.store), 1, "the watch keeps no store open");
    drop(world);
    watching.await.unwrap();
}

#[tokio::test]
async fn the_watch_finds_out_by_itself_that_a_store_takes_writes_again() {
    let world = sqlite();
    let full = rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_FULL), None);
    let refused = world.store.write(|_, _| Err::<(), _>(Abort::Engine(full))).await;
    assert_eq!(refused, Err(CommitError::Unavailable));
    assert!(!world.store.writable(), "nobody has tried again");
    tokio::spawn(world.store.watch());
    tokio::time::pause();
    while !world.store.writable() {
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    }
}
