//! Disks that fill up: refused whole, no half records, and no restart needed.
use super::world::{ADA, TENANT, audit, code, digest, estate, record, sqlite, token};
use crate::{ApplyError, Change, Store};
use deputize_core::directory::UserKey;
use deputize_core::ledger::{CommitError, Write};
use deputize_core::ports::{Directory, Ledger};
use tokio::task::JoinSet;

async fn pragma(store: &Store, text: &'static str) {
    store.write(move |connection, _| Ok(connection.execute_batch(text)?)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_full_disk_refuses_requests_whole_and_recovers() {
    let world = sqlite();
    let store = &world.store;
    pragma(store, "PRAGMA max_page_count = 120").await;
    let mut tasks = JoinSet::new();
    for n in 0..600 {
        let store = store.clone();
        tasks.spawn(async move {
            let writes = vec![
                Write::InsertCode(digest(b'c', n), code(7)),
                Write::InsertRefresh(digest(b'r', n), token(7)),
                audit("x"),
            ];
            (n, store.commit(writes).await)
        });
    }
    let (mut done, mut refused) = (0_u64, 0);
    while let Some(result) = tasks.join_next().await {
        let (n, result) = result.unwrap();
        let present = (
            store.code(digest(b'c', n)).await.unwrap().is_some(),
            store.refresh(digest(b'r', n)).await.unwrap().is_some(),
        );
        assert_eq!(present, (result.is_ok(), result.is_ok()), "whole or not at all");
        match result {
            Ok(()) => done += 1,
            Err(error) => {
                assert_eq!(error, CommitError::Unavailable);
                refused += 1;
            }
        }
    }
    assert!(done > 0 && refused > 0, "{done} {refused}");
    let big = estate().into_iter().map(Change::from).chain((0..3_000).map(|n| {
        let id = deputize_core::id::UserId(super::world::uuid(1_000 + n));
        crate::Object::User(super::world::user(id, &format!("user{n}@contoso.example"))).into()
    }));
    assert_eq!(store.apply(big.collect(), record("apply")).await, Err(ApplyError::Unavailable));
    assert!(store.user(TENANT, UserKey::Id(ADA)).await.unwrap().is_none());
    assert!(store.snapshot().tenant(TENANT).is_none(), "memory does not run ahead of the disk");
    assert_eq!(store.audit_verify(None).unwrap().sequence, done, "a record for each success, none for a failure");

    pragma(store, "PRAGMA max_page_count = 1000000").await;
    store.commit(vec![audit("recovered")]).await.unwrap();
    store.apply(estate().into_iter().map(Change::from).collect(), record("apply")).await.unwrap();
    assert!(store.snapshot().tenant(TENANT).is_some());
    assert_eq!(store.audit_verify(None).unwrap().sequence, done + 2);
}
