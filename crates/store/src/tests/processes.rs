//! Two processes on one file: what one commits binds in the other.
use super::world::{
    ADA, CLIENT, Folder, KEY, NOON, RESOURCE, SetClock, TENANT, audit, digest, estate, grant, record, session, sqlite,
};
use crate::{Change, KeyState, SigningKey, Store, StoreKeys};
use deputize_core::directory::UserKey;
use deputize_core::ledger::{CommitError, OncePurpose, Write};
use deputize_core::ports::{Directory, Ledger};
use sql::{Abort, rusqlite};
use std::sync::{Arc, Barrier};
use std::thread;

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

#[test]
fn of_many_first_signing_keys_of_an_algorithm_one_is_stored() {
    const STARTED: usize = 8;
    let folder = Folder::new();
    let barrier = Barrier::new(STARTED);
    let start = |n: usize| {
        barrier.wait();
        // Making the store is a race too.
        let store = Store::open(&folder.file(), StoreKeys::new(KEY), SetClock::at(NOON)).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let key = |algorithm: &str, state| SigningKey {
            kid: format!("{algorithm} {n}"),
            algorithm: algorithm.to_owned(),
            sealed: oauth::Secret::new("sealed"),
            certificate: Vec::new(),
            created: NOON,
            not_after: NOON.plus(1),
            state,
        };
        // A key that signs nothing yet stands in nobody's way.
        runtime.block_on(store.put_signing_key(key("ES256", KeyState::Next))).unwrap();
        runtime.block_on(store.put_first_signing_key(key("RS256", KeyState::Active)))
    };
    let results: Vec<_> = thread::scope(|scope| {
        let started: Vec<_> = (0..STARTED)
            .map(|n| {
                scope.spawn({
                    let start = &start;
                    move || start(n)
                })
            })
            .collect();
        started.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1, "{results:?}");
    assert!(results.iter().all(|result| matches!(result, Ok(()) | Err(CommitError::Conflict))), "{results:?}");
    let store = Store::open(&folder.file(), StoreKeys::new(KEY), SetClock::at(NOON)).unwrap();
    let held = store.signing_keys().unwrap();
    assert_eq!(held.iter().filter(|key| key.state == KeyState::Active).count(), 1);
    assert_eq!(held.len(), STARTED + 1);
}
