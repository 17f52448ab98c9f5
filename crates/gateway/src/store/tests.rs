//! A process that is killed, or a disk that fails, at any instant loses nothing that was acknowledged and leaves nothing half.
//!
//! A child of this very test binary makes, changes and deletes subscriptions and prints each change that was acknowledged.
//! The parent kills it, or has its disk fail (the shim that the authority's store is tried with, preloaded); then it opens the
//! database and joins what it was told with what is there.
use super::{Actor, Change, Condition, Declined, State, Store, StoredSubscription, To};
use crate::limits::{Key, Keys, Quota};
use decision::{Clock, Timestamp};
use oauth::Secret;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

const CHILD: &str = "DEPUTIZE_GATEWAY_STORE_CHILD";
const NAMES: u64 = 8;

#[expect(clippy::disallowed_methods, reason = "how the parent tells its child where")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

struct Folder(PathBuf);

impl Folder {
    fn new(of: &str) -> Self {
        let path = std::env::temp_dir().join(format!("deputize-gateway-store-{of}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path.canonicalize().unwrap())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn open(folder: &Path) -> Result<Store, super::StoreError> {
    let clock = Arc::new(testkit::SetClock::at(Timestamp(1_800_000_000))) as Arc<dyn Clock>;
    Store::open(&folder.join("gateway.db"), &folder.join("key"), clock, &|bytes: &mut [u8]| bytes.fill(9))
}

fn actor() -> Actor {
    Actor { tenant: None, subject: "o".to_owned(), client: "c".to_owned(), decision_id: "d".to_owned() }
}

#[test]
fn that_the_folder_of_the_key_is_missing_is_said_in_words() {
    let folder = Folder::new("no-folder");
    let error = open(&folder.0.join("none")).err().unwrap().to_string();
    assert!(error.contains("it cannot be made (its folder is not there)"), "{error}");
}

/// A subscription of this name, with this much to tell it by.
fn subscription(name: &str, round: u64) -> StoredSubscription {
    let at = Timestamp(1_800_000_000);
    StoredSubscription {
        name: name.into(),
        to: To::AllApis,
        display_name: Some(round.to_string()),
        owner: None,
        state: State::Active,
        created: at,
        started: at,
        expires: None,
        version: 0,
    }
}

fn key(name: &str, round: u64, slot: u8) -> Secret {
    Secret::new(format!("{name}/{round}/{slot}"))
}

/// `c` makes it, `u` changes it, `k` gives it another first key, `d` deletes it; in that order, again and again.
async fn turn(store: &Store, name: &str, round: u64, kind: char) -> Result<i64, Declined> {
    let (change, condition, keys) = match kind {
        'c' => {
            let keys = vec![key(name, round, 0), key(name, round, 1)];
            (Change::Subscription(subscription(name, round), false), Condition::Absent, keys)
        }
        'u' => (Change::Subscription(subscription(name, round + 1), false), Condition::Present, Vec::new()),
        'k' => (Change::Key { subscription: name.into(), slot: 0 }, Condition::Present, vec![key(name, round + 1, 0)]),
        _ => (Change::DeleteSubscription(name.into()), Condition::Present, Vec::new()),
    };
    store.change(change, condition, keys, actor()).await
}

#[test]
#[ignore = "the child of the tests below: it runs until it is killed, or its disk fails"]
fn child() {
    let (folder, rounds) = variable(CHILD)
        .and_then(|told| {
            told.split_once(' ').map(|(rounds, folder)| (PathBuf::from(folder), rounds.parse::<u64>().unwrap()))
        })
        .unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let Ok(store) = open(&folder) else { return };
    let store = Arc::new(store);
    runtime.block_on(async {
        let mut tasks = tokio::task::JoinSet::new();
        for worker in 0..NAMES {
            let store = Arc::clone(&store);
            tasks.spawn(async move {
                let name = format!("s{worker}");
                // What another one left is gone first.
                let first = std::iter::once((0, 'd'));
                let turns = (0..rounds).flat_map(|round| ['c', 'u', 'k', 'd'].map(|kind| (round * 10, kind)));
                for (round, kind) in first.chain(turns) {
                    if let Ok(sequence) = turn(&store, &name, round, kind).await {
                        let line = format!("\nack {sequence} {name} {round} {kind} .\n");
                        std::io::stdout().write_all(line.as_bytes()).unwrap();
                    }
                }
            });
        }
        while let Some(ended) = tasks.join_next().await {
            ended.unwrap();
        }
    });
}

fn command(folder: &Path, rounds: u64) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "store::tests::child", "--ignored", "--nocapture"])
        .env(CHILD, format!("{rounds} {}", folder.display()));
    command
}

type Told = BTreeMap<i64, (String, u64, char)>;

fn acknowledged(line: &str) -> Option<(i64, (String, u64, char))> {
    let mut words = line.strip_prefix("ack ")?.strip_suffix(" .")?.split(' ');
    let sequence = words.next()?.parse().ok()?;
    Some((sequence, (words.next()?.to_owned(), words.next()?.parse().ok()?, words.next()?.parse().ok()?)))
}

/// What was acknowledged stands in the record under its number; and what is there is what the record says, all of it.
fn check(folder: &Path, told: &Told, case: &str) {
    let store = open(folder).unwrap_or_else(|error| panic!("{case}: {error}"));
    let mut changes = Vec::new();
    loop {
        let after = changes.last().map_or(0, |change: &super::changes::Logged| change.sequence);
        let page = store.changes(after, 1_000).unwrap();
        if page.is_empty() {
            break;
        }
        changes.extend(page);
    }
    let mut there: BTreeMap<String, (String, i64)> = BTreeMap::new();
    for (at, change) in (1..).zip(&changes) {
        assert_eq!(change.sequence, at, "{case}: none is missing");
        let text = change.object.as_ref().map(|object| object["display_name"].as_str().unwrap().to_owned());
        match (change.action.as_str(), text) {
            ("delete", _) => drop(there.remove(&change.name)),
            (_, Some(text)) => drop(there.insert(change.name.clone(), (text, at))),
            (_, None) => there.get_mut(&change.name).unwrap().1 = at,
        }
    }
    for (sequence, (name, _, kind)) in told {
        let change = changes.get(usize::try_from(*sequence - 1).unwrap());
        let change = change.unwrap_or_else(|| panic!("{case}: {sequence} was acknowledged and is not there"));
        let expected = match kind {
            'c' => "create",
            'u' => "update",
            'k' => "regeneratePrimaryKey",
            _ => "delete",
        };
        assert_eq!((change.name.as_str(), change.action.as_str()), (name.as_str(), expected), "{case}");
    }
    let held = store.held();
    let found: BTreeMap<String, (String, i64)> = held
        .subscriptions()
        .map(|one| (one.name.to_string(), (one.display_name.clone().unwrap(), one.version)))
        .collect();
    assert_eq!(found, there, "{case}: rows and records are one");
    // Two keys each, and none of what was deleted or replaced.
    for (name, (text, _)) in &there {
        let round: u64 = text.parse().unwrap();
        let created = round / 10 * 10;
        let opens = |round, slot| held.by_key(&store.key.digest(key(name, round, slot).expose().as_bytes())).is_some();
        let replaced = opens(created + 1, 0);
        assert_eq!((opens(created, 0), opens(created, 1)), (!replaced, true), "{case}: {name}");
    }
    let keys = store.read(|connection| {
        connection.query_row("SELECT COUNT(*) FROM subscription_keys", [], |row| row.get::<_, u32>(0))
    });
    assert_eq!(keys.unwrap() as usize, there.len() * 2, "{case}");
}

#[tokio::test]
async fn a_product_that_was_deleted_meanwhile_is_subscribed_to_by_nobody() {
    let folder = Folder::new("product");
    let store = open(&folder.0).unwrap();
    let to = StoredSubscription { to: To::Product("gold".into()), ..subscription("a", 0) };
    let keys = || vec![key("a", 0, 0), key("a", 0, 1)];
    let subscribe = async |stored| {
        let change = Change::Subscription(to.clone(), stored);
        store.change(change, Condition::Absent, keys(), actor()).await
    };
    assert_eq!(subscribe(true).await, Err(Declined::NoProduct));
    assert!(store.held().subscription("a").is_none() && store.changes(0, 10).unwrap().is_empty());
    assert_eq!(subscribe(false).await, Ok(1), "one of the file is the file's");
}

#[tokio::test]
async fn there_are_not_more_than_memory_is_meant_for() {
    let folder = Folder::new("full");
    let store = open(&folder.0).unwrap();
    assert_eq!(turn(&store, "last", 0, 'c').await, Ok(1));
    let fill = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 49999) \
                INSERT INTO subscriptions SELECT 'x' || i, '/apis', body, 1 FROM n, subscriptions WHERE name = 'last'";
    store.database.write(|connection, _| Ok(connection.execute(fill, [])?)).await.unwrap();
    assert_eq!(turn(&store, "one more", 0, 'c').await, Err(Declined::Full));
    assert_eq!(turn(&store, "last", 0, 'u').await, Ok(2), "what is there can be changed");
    assert_eq!(turn(&store, "last", 0, 'd').await, Ok(3));
    assert_eq!(turn(&store, "one more", 0, 'c').await, Ok(4));
}

#[tokio::test]
async fn usage_waits_for_the_database_and_takes_bounded_memory_meanwhile() {
    let folder = Folder::new("usage");
    let store = open(&folder.0).unwrap();
    let once = super::Amount { calls: 1, refused: 0, bytes: 10 };
    let whose = |at: u32| super::Counting { subscription: format!("s{at}").into(), product: None };
    let now = Timestamp(1_800_000_000);
    store.usage().add(whose(0), once, now);
    store
        .database
        .write(|connection, _| Ok(connection.execute_batch("ALTER TABLE \"usage\" RENAME TO gone")?))
        .await
        .unwrap();
    assert!(!store.flush().await);
    for at in 1..100_100 {
        store.usage().add(whose(at), once, now);
    }
    store.usage().add(whose(0), once, now);
    assert_eq!(store.usage().lost(), 100);
    store
        .database
        .write(|connection, _| Ok(connection.execute_batch("ALTER TABLE gone RENAME TO \"usage\"")?))
        .await
        .unwrap();
    assert!(store.flush().await);
    let used =
        |name| store.used(super::UsedOf::Subscription(name), super::Width::Day, Timestamp(0), now.plus(1)).unwrap();
    assert_eq!(used("s0").first().map(|window| (window.amount.calls, window.amount.bytes)), Some((2, 20)));
    assert!(used("s100099").is_empty());
}

#[test]
fn m_10_kill_9_at_any_instant_loses_no_acknowledged_change_and_leaves_none_half() {
    let folder = Folder::new("kill");
    let mut told = Told::new();
    for (run, wait) in [0_usize, 300, 3, 90, 1, 200].into_iter().enumerate() {
        let mut child = command(&folder.0, u64::MAX / 10).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut seen = Told::new();
        while seen.len() < wait + run {
            seen.extend(acknowledged(&lines.next().expect("the child ended by itself").unwrap()));
        }
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(9));
        // What it had said before it died counts.
        seen.extend(lines.map_while(Result::ok).filter_map(|line| acknowledged(&line)));
        told.extend(seen);
        check(&folder.0, &told, &format!("run {run}"));
    }
    assert!(told.len() > 500, "{}", told.len());
}

#[test]
fn r3_a_disk_that_is_full_or_fails_anywhere_loses_no_acknowledged_change_and_leaves_none_half() {
    let shim = Folder::new("shim");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/../store/src/tests/disk.c");
    let options = ["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"];
    let status = Command::new("cc").args(options).arg(shim.0.join("disk.so")).arg(source).status();
    assert!(status.expect("install a C compiler: `cc` builds the failing disk").success());
    for (fault, lasting) in [("enospc", true), ("enospc", false), ("eio", true), ("short", false), ("kill", false)] {
        for n in (1_u64..).step_by(17) {
            let folder = Folder::new("disk");
            let mut child = command(&folder.0, 3);
            child
                .env("LD_PRELOAD", shim.0.join("disk.so"))
                .env("DISK_FOLDER", &folder.0)
                .env("DISK_FAULT", fault)
                .env("DISK_AT", n.to_string());
            if lasting {
                child.env("DISK_LASTING", "1");
            }
            let output = child.output().unwrap();
            let reached = folder.0.join("fired").exists();
            let case = format!("{fault} at {n}, lasting: {lasting}");
            let told: Told = String::from_utf8_lossy(&output.stdout).lines().filter_map(acknowledged).collect();
            if folder.0.join("key").metadata().is_ok_and(|key| key.len() == 32) && folder.0.join("gateway.db").exists()
            {
                check(&folder.0, &told, &case);
            } else {
                assert!(told.is_empty(), "{case}: nothing is acknowledged without a key");
            }
            if !reached {
                assert_eq!(told.len(), usize::try_from(NAMES).unwrap() * 12, "{case}");
                assert!(n > 100, "{case}: nothing was counted");
                break;
            }
        }
    }
}

const LIFE: Quota = Quota { calls: None, bytes: Some(u64::MAX), period: 0, started: Timestamp(0) };

/// Counts a call of one of four callers, with ten bytes.
fn spend(store: &Store, at: u64) {
    let key = Key::of([b"caller".as_slice(), &(at % 4).to_be_bytes()]);
    let charged = store.quotas().spend(key, Keys::OfCallers, &LIFE, 1, store.now()).unwrap();
    store.quotas().spend_bytes(&charged, 10);
}

/// Calls and bytes of all callers, as the database has them.
fn spent(store: &Store) -> (u64, u64) {
    let sum = |row: &sql::rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
    let sql = "SELECT COALESCE(SUM(calls), 0), COALESCE(SUM(bytes), 0) FROM quotas";
    let (calls, bytes): (i64, i64) = store.read(|connection| connection.query_row(sql, [], sum)).unwrap();
    (u64::try_from(calls).unwrap(), u64::try_from(bytes).unwrap())
}

#[test]
#[ignore = "the child of the test below: it spends until it is killed"]
fn spends() {
    let folder = PathBuf::from(variable(CHILD).unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = open(&folder).unwrap();
        for at in 1_u64.. {
            spend(&store, at);
            let mut line = format!("\nspent {at} .\n");
            if at.is_multiple_of(7) && store.flush().await {
                line.extend(["\nkept ", &at.to_string(), " .\n"]);
            }
            std::io::stdout().write_all(line.as_bytes()).unwrap();
        }
    });
}

#[test]
fn kill_9_loses_no_more_of_a_quota_than_was_not_written_yet_and_counts_nothing_twice() {
    let folder = Folder::new("spent");
    let (mut least, mut most) = (0, 0);
    for wait in [1_usize, 50, 7, 300, 2, 120] {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "store::tests::spends", "--ignored", "--nocapture"])
            .env(CHILD, &folder.0)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let number = |line: &str, word: &str| line.strip_prefix(word)?.strip_suffix(" .")?.parse::<u64>().ok();
        let (mut kept, mut spent_by_it, mut seen) = (0, 0, 0);
        while seen < wait {
            let line = lines.next().expect("the child ended by itself").unwrap();
            seen += usize::from(number(&line, "kept ").is_some());
            kept = number(&line, "kept ").unwrap_or(kept);
            spent_by_it = number(&line, "spent ").unwrap_or(spent_by_it);
        }
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(9));
        for line in lines.map_while(Result::ok) {
            kept = number(&line, "kept ").unwrap_or(kept);
            spent_by_it = number(&line, "spent ").unwrap_or(spent_by_it);
        }
        // What a write took that was not told of yet, and one call that was not.
        (least, most) = (least + kept, most + spent_by_it + 1);
        let store = open(&folder.0).unwrap();
        let (calls, bytes) = spent(&store);
        assert!((least..=most).contains(&calls), "{calls} of {least} to {most}");
        assert_eq!(bytes, calls * 10);
        // A gateway that starts knows all that is there.
        let four = Quota { calls: Some(calls.div_ceil(4)), bytes: None, ..LIFE };
        let spends = |at: u64| {
            let key = Key::of([b"caller".as_slice(), &at.to_be_bytes()]);
            store.quotas().spend(key, Keys::OfCallers, &four, calls.div_ceil(4), store.now()).is_ok()
        };
        assert!((0..4).all(|at| !spends(at)), "nobody begins anew");
        (least, most) = (calls, calls);
    }
    assert!(least > 1_000, "{least}");
}

#[tokio::test]
async fn quotas_wait_for_the_database_and_nothing_of_them_is_lost_meanwhile() {
    let folder = Folder::new("waits");
    let store = open(&folder.0).unwrap();
    let sql = async |sql: &'static str| {
        store.database.write(move |connection, _| Ok(connection.execute_batch(sql)?)).await.unwrap();
    };
    sql("ALTER TABLE quotas RENAME TO gone").await;
    for at in 0..100 {
        spend(&store, at);
        assert!(at % 20 != 0 || !store.flush().await);
    }
    sql("ALTER TABLE gone RENAME TO quotas").await;
    assert!(store.flush().await);
    assert_eq!(spent(&store), (100, 1_000));
    // Sums end where numbers do.
    let key = Key::of([b"caller".as_slice(), &0_u64.to_be_bytes()]);
    for _ in 0..3 {
        let charged = store.quotas().spend(key, Keys::OfCallers, &LIFE, 1, store.now()).unwrap();
        store.quotas().spend_bytes(&charged, u64::MAX);
        assert!(store.flush().await);
    }
    assert!(spent(&store).1 > 1 << 53 && spent(&store).1 < 1 << 54, "{:?}", spent(&store));
    store.quotas().give_back(&store.quotas().spend(key, Keys::OfCallers, &LIFE, 1, store.now()).unwrap());
    assert!(store.flush().await && open(&folder.0).is_ok());
}

#[tokio::test]
async fn sums_of_windows_that_are_over_are_dropped_an_hour_later_and_many_are_written_in_batches() {
    let folder = Folder::new("over");
    let store = open(&folder.0).unwrap();
    let hour = Quota { calls: Some(5), bytes: None, period: 3_600, started: Timestamp(0) };
    let now = store.now();
    let begun = |seconds: i64| Timestamp(now.0.div_euclid(3_600) * 3_600 + seconds);
    let spend = |at: u32, now| {
        store.quotas().spend(Key::of([at.to_be_bytes().as_slice()]), Keys::OfCallers, &hour, 1, now).unwrap();
    };
    for at in 0..2_500 {
        spend(at, begun(0));
    }
    let rows = || {
        let count = |connection: &sql::rusqlite::Connection| {
            connection.query_row("SELECT COUNT(*) FROM quotas", [], |row| row.get::<_, u32>(0))
        };
        store.read(count).unwrap()
    };
    let flush = async |now| super::quotas::flush(&store.quotas(), &store.database, now).await;
    assert_eq!((flush(begun(0)).await, rows()), (Ok(()), 2_500));
    for (seconds, left) in [(3_600, 2_501), (7_199, 2_501), (7_200, 2)] {
        spend(0, begun(seconds));
        assert_eq!((flush(begun(seconds)).await, rows()), (Ok(()), left), "{seconds}");
    }
}

#[tokio::test]
async fn what_is_given_back_makes_no_sum_less_than_nothing_and_no_sum_is_too_large_to_add_to() {
    let folder = Folder::new("bounds");
    let store = open(&folder.0).unwrap();
    let (quotas, now) = (store.quotas(), store.now());
    let take = |of: &str| quotas.spend(Key::of([of.as_bytes()]), Keys::OfCallers, &LIFE, 1, now).unwrap();
    // Given back more often than it was taken: once the sum is there, and before.
    let late = take("late");
    assert!(store.flush().await);
    for _ in 0..3 {
        quotas.give_back(&late);
    }
    let early = take("early");
    for _ in 0..3 {
        quotas.give_back(&early);
    }
    assert!(store.flush().await);
    assert_eq!(spent(&store), (0, 0));
    take("late");
    take("early");
    assert!(store.flush().await);
    assert_eq!(spent(&store), (2, 0), "what was given back too often is nobody's gain");
    quotas.spend_bytes(&take("large"), u64::MAX);
    assert!(store.flush().await);
    assert_eq!(spent(&store), (3, 1 << 53));
}
