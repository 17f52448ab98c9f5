//! of many concurrent redemptions of one code exactly one succeeds; so with rotations.
use super::world::{NOON, World, audit, code, digest, sqlite, token};
use deputize_core::ledger::{CommitError, Write};
use deputize_core::model::Digest;
use deputize_core::ports::Ledger;
use tokio::task::JoinSet;

const CONCURRENT: u64 = 64;

fn codes() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "how long the proof runs, chosen by `cargo xtask prove`")]
    let wanted = std::env::var("DEPUTIZE_CODES");
    wanted.ok().map_or(200, |count| count.parse().unwrap())
}

/// Each code or token, 64 tasks at once, in waves that share batches.
async fn race(world: &World, insert: fn(Digest) -> Write, consume: fn(Digest) -> Write) {
    let codes = codes();
    for n in 0..codes {
        world.store.commit(vec![insert(digest(b'c', n))]).await.unwrap();
    }
    let mut tasks = JoinSet::new();
    let mut won = vec![0; usize::try_from(codes).unwrap()];
    for n in 0..codes {
        for attempt in 0..CONCURRENT {
            let store = world.store.clone();
            tasks.spawn(async move {
                let successor = digest(b'r', n * CONCURRENT + attempt);
                // The record first: what was to be written before the condition failed is not written either.
                let writes =
                    vec![audit("redeemed"), consume(digest(b'c', n)), Write::InsertRefresh(successor, token(7))];
                (n, successor, store.commit(writes).await)
            });
        }
        while tasks.len() > 1_024 || (n + 1 == codes && !tasks.is_empty()) {
            let (n, successor, result) = tasks.join_next().await.unwrap().unwrap();
            let issued = world.store.refresh(successor).await.unwrap().is_some();
            match result {
                Ok(()) => won[usize::try_from(n).unwrap()] += 1,
                Err(error) => assert_eq!(error, CommitError::Conflict),
            }
            assert_eq!(issued, result.is_ok(), "a loser issues nothing");
        }
    }
    assert!(won.iter().all(|&times| times == 1), "{won:?}");
    let head = world.store.audit_verify(None).unwrap();
    assert_eq!(head.sequence, codes, "one record for each success, none for a failure");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_03_a_code_is_redeemed_once_by_64_concurrent_requests() {
    race(&sqlite(), |digest| Write::InsertCode(digest, code(7)), Write::ConsumeCode).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_03_a_refresh_token_is_rotated_once_by_64_concurrent_requests() {
    let rotate = |digest| Write::RotateRefresh(digest, NOON);
    race(&sqlite(), |digest| Write::InsertRefresh(digest, token(7)), rotate).await;
}
