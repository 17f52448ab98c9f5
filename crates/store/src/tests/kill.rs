//! R2 and R3: a process that is killed at any instant loses nothing it acknowledged and makes nothing usable twice.
//!
//! The parent starts this very test binary as a child that redeems and rotates as fast as it can and prints each write that
//! was acknowledged. It is killed after some of them; then the parent opens the store and joins what it was told, over all
//! runs, with what is there. Each child also tries everything again that runs before it had redeemed.
use super::world::{Folder, KEY, NOON, SetClock, audit, code, digest, token};
use crate::{Store, StoreKeys};
use deputize_core::ledger::Write;
use deputize_core::model::Digest;
use deputize_core::ports::Ledger;
use std::collections::{HashMap, HashSet};
use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const CHILD: &str = "DEPUTIZE_KILLED_CHILD";

#[expect(clippy::disallowed_methods, reason = "how the parent tells its child where, and the prover how often")]
pub(super) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

pub(super) fn open(path: &Path) -> Store {
    Store::open(path, StoreKeys::new(KEY), SetClock::at(NOON)).unwrap()
}

/// One acknowledged write, on one line in one piece: a line that the kill cut off was not acknowledged to anybody.
pub(super) fn acknowledge(kind: char, n: u64, issued: u64) {
    std::io::stdout().write_all(format!("\nack {kind} {n} {issued} .\n").as_bytes()).unwrap();
}

pub(super) fn acknowledged(line: &str) -> Option<((char, u64), u64)> {
    let mut words = line.strip_prefix("ack ")?.strip_suffix(" .")?.split(' ');
    let mut next = || words.next();
    Some(((next()?.parse().ok()?, next()?.parse().ok()?), next()?.parse().ok()?))
}

fn decision(kind: char, n: u64) -> String {
    format!("{kind} {n}")
}

/// `i`: code and refresh token `n` exist. `c`: the code was redeemed. `r`: the token was rotated. Each issues a token that
/// no other attempt issues, so that nothing but the condition keeps two attempts apart.
pub(super) async fn attempt(store: &Store, run: u64, kind: char, n: u64) -> bool {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let issued = run << 40 | NEXT.fetch_add(1, Ordering::SeqCst);
    let mut writes = match kind {
        'i' => vec![Write::InsertCode(digest(b'c', n), code(7)), Write::InsertRefresh(digest(b'r', n), token(7))],
        'c' => vec![Write::ConsumeCode(digest(b'c', n))],
        _ => vec![Write::RotateRefresh(digest(b'r', n), NOON)],
    };
    writes.extend([Write::InsertRefresh(digest(b'n', issued), token(7)), audit(&decision(kind, n))]);
    let result = store.commit(writes).await;
    if result.is_ok() {
        acknowledge(kind, n, issued);
    }
    result.is_ok()
}

#[test]
#[ignore = "the child of the kill loop: it runs until it is killed"]
fn kill_child() {
    let run: u64 = variable(CHILD).and_then(|told| told.split_once(' ').map(|(run, _)| run.parse().unwrap())).unwrap();
    let path = variable(CHILD).unwrap().split_once(' ').unwrap().1.to_owned();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    runtime.block_on(async {
        let store = Arc::new(open(Path::new(&path)));
        let mut tasks = tokio::task::JoinSet::new();
        for worker in 0..16 {
            let store = store.clone();
            tasks.spawn(async move {
                for step in 0.. {
                    let n = (run * 16 + worker) * 1_000_000 + step;
                    assert!(attempt(&store, run, 'i', n).await);
                    // Two at a time for the same code, then for the same token; and an old one, of any run before.
                    let old = (step % (run + 1) * 16 + worker) * 1_000_000 + step / (run + 1);
                    for kind in ['c', 'r'] {
                        let (first, second, _) = tokio::join!(
                            attempt(&store, run, kind, n),
                            attempt(&store, run, kind, n),
                            attempt(&store, run, kind, old)
                        );
                        assert!(first != second || n == old, "exactly one of two");
                    }
                }
            });
        }
        while let Some(ended) = tasks.join_next().await {
            ended.unwrap();
        }
    });
}

#[test]
fn kill_9_at_any_instant_loses_no_acknowledged_write_and_redeems_nothing_twice() {
    let kills: u64 = variable("DEPUTIZE_KILLS").map_or(6, |count| count.parse().unwrap());
    let folder = Folder::new();
    let mut told: HashMap<(char, u64), Vec<u64>> = HashMap::new();
    for run in 0..kills {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "tests::kill::kill_child", "--ignored", "--nocapture"])
            .env(CHILD, format!("{run} {}", folder.file().display()))
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // Some runs die young: while they open the store, or in their first commits.
        let wait = [0, 700, 3, 150, 1, 400][usize::try_from(run % 6).unwrap()] + run % 7;
        let mut seen = Vec::new();
        while u64::try_from(seen.len()).unwrap() < wait {
            seen.extend(acknowledged(&lines.next().expect("the child ended by itself").unwrap()));
        }
        child.kill().unwrap();
        assert!(!child.wait().unwrap().success());
        // What it had said before it died counts.
        seen.extend(lines.map_while(Result::ok).filter_map(|line| acknowledged(&line)));
        for (write, issued) in seen {
            told.entry(write).or_default().push(issued);
        }
        check(&folder.file(), &told);
    }
    assert!(told.keys().filter(|(kind, _)| *kind == 'r').count() > 10, "{}", told.len());
}

pub(super) fn check(path: &Path, told: &HashMap<(char, u64), Vec<u64>>) {
    let store = open(path);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let records: Vec<String> =
        store.audit(0, u32::MAX).unwrap().into_iter().map(|(_, record)| record.decision).collect();
    let audited: HashSet<&str> = records.iter().map(String::as_str).collect();
    assert_eq!(store.audit_verify(None).unwrap().sequence, u64::try_from(records.len()).unwrap());
    assert_eq!(records.len(), audited.len(), "no write was committed twice, acknowledged or not");
    let token = |digest: Digest| runtime.block_on(store.refresh(digest)).unwrap();
    let code = |n| runtime.block_on(store.code(digest(b'c', n))).unwrap();
    for (&(kind, n), issued) in told {
        let [issued] = issued[..] else { panic!("{kind} {n} was acknowledged {} times", issued.len()) };
        assert!(audited.contains(decision(kind, n).as_str()), "{kind} {n} has no audit record");
        let held = match kind {
            'i' => code(n).is_some() && token(digest(b'r', n)).is_some(),
            'c' => code(n).is_some_and(|code| code.consumed),
            _ => token(digest(b'r', n)).is_some_and(|token| token.rotated.is_some()),
        };
        let issued = token(digest(b'n', issued)).is_some_and(|token| token.rotated.is_none());
        assert!(held && issued, "{kind} {n} was acknowledged and is not there");
    }
}
