//! Group commit, disks that fail, and files that are not ours.
#![cfg(test)]
use deputize_sql::rusqlite::{self, Connection};
use deputize_sql::{Abort, Batch, Database, Migration, OpenError, Options, WriteError};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Barrier};
use std::time::Duration;
use tokio::task::{JoinSet, yield_now};

const MIGRATIONS: &[Migration] =
    &[Migration { name: "rows", sql: "CREATE TABLE rows (id INTEGER PRIMARY KEY, filler BLOB)" }];

struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("deputize-sql-{}-{}", std::process::id(), NEXT.fetch_add(1, SeqCst));
        Self(std::env::temp_dir().join(name))
    }

    fn file(&self) -> PathBuf {
        self.0.join("inner").join("test.db")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Counts what the writer does; the sum is state that a failed job must not change.
#[derive(Clone, Default)]
struct Count {
    begun: Arc<AtomicUsize>,
    committed: Arc<AtomicUsize>,
    sum: i64,
    refuse: Arc<AtomicUsize>,
}

impl Batch for Count {
    fn begin(&mut self, _: &Connection) -> Result<(), Abort> {
        self.begun.fetch_add(1, SeqCst);
        Ok(())
    }
    fn settle(&mut self, _: &Connection) -> Result<(), Abort> {
        if self.refuse.swap(0, SeqCst) == 1 { Err(Abort::Broken("refused by the test")) } else { Ok(()) }
    }
    fn committed(&mut self) {
        self.committed.fetch_add(1, SeqCst);
    }
    fn close(&mut self, connection: &Connection) -> Result<(), Abort> {
        connection.execute("INSERT INTO rows (id) VALUES (-1)", [])?;
        Ok(())
    }
}

fn open(path: &Path, options: &Options) -> (Arc<Database<Count>>, Count) {
    let count = Count::default();
    let database = Database::open(path, options, MIGRATIONS, |_, _| Ok::<_, OpenError>(count.clone())).unwrap();
    (Arc::new(database), count)
}

async fn insert(database: Arc<Database<Count>>, id: i64) -> Result<(), WriteError> {
    let job = move |connection: &Connection, count: &mut Count| {
        count.sum += id;
        connection.execute("INSERT INTO rows (id) VALUES (?1)", [id])?;
        Ok(())
    };
    database.write(job).await
}

fn ids(database: &Database<Count>) -> Vec<i64> {
    database
        .read(|connection| {
            connection.prepare("SELECT id FROM rows ORDER BY id")?.query_map([], |row| row.get(0))?.collect()
        })
        .unwrap()
}

/// Occupies the writer until told: what is queued meanwhile is the next batch.
async fn occupied(database: &Arc<Database<Count>>, tasks: &mut JoinSet<Result<(), WriteError>>) -> Sender<()> {
    let (release, released) = channel();
    let (started, starts) = tokio::sync::oneshot::channel();
    let database = database.clone();
    tasks.spawn(async move {
        let job = move |_: &Connection, _: &mut Count| {
            started.send(()).unwrap();
            released.recv().unwrap();
            Ok(())
        };
        database.write(job).await
    });
    starts.await.unwrap();
    release
}

async fn pragma(database: &Database<Count>, text: &'static str) -> Result<(), WriteError> {
    database.write(move |connection, _| Ok(connection.execute_batch(text)?)).await
}

#[tokio::test]
async fn one_failed_job_undoes_no_neighbour_of_its_batch() {
    let folder = Folder::new();
    let (database, count) = open(&folder.file(), &Options::default());
    let mut tasks = JoinSet::new();
    let release = occupied(&database, &mut tasks).await;
    for id in 1..=9 {
        let database = database.clone();
        tasks.spawn(async move {
            match id {
                3 => {
                    let job = |connection: &Connection, count: &mut Count| {
                        count.sum += 1_000;
                        connection.execute("INSERT INTO rows (id) VALUES (3)", [])?;
                        Err::<(), _>(Abort::Conflict)
                    };
                    assert_eq!(database.write(job).await, Err(WriteError::Conflict));
                    Ok(())
                }
                5 => {
                    let job = |connection: &Connection, _: &mut Count| -> Result<(), Abort> {
                        connection.execute("INSERT INTO rows (id) VALUES (5)", [])?;
                        panic!("a defect in one job");
                    };
                    assert_eq!(database.write(job).await, Err(WriteError::Unavailable));
                    Ok(())
                }
                7 => {
                    // A constraint that fails is a condition that does not hold.
                    assert_eq!(insert(database, 6).await, Err(WriteError::Conflict));
                    Ok(())
                }
                _ => insert(database, id).await,
            }
        });
    }
    yield_now().await;
    release.send(()).unwrap();
    while let Some(result) = tasks.join_next().await {
        assert_eq!(result.unwrap(), Ok(()));
    }
    assert_eq!(ids(&database), [1, 2, 4, 6, 8, 9]);
    assert_eq!(count.begun.load(SeqCst), 2, "the nine were one batch");
    assert_eq!(database.write(|_, count| Ok(count.sum)).await, Ok(1 + 2 + 4 + 6 + 8 + 9));
}

#[tokio::test]
async fn a_batch_that_cannot_commit_acknowledges_nobody_and_leaves_nothing() {
    let folder = Folder::new();
    let (database, count) = open(&folder.file(), &Options::default());
    let mut tasks = JoinSet::new();
    let release = occupied(&database, &mut tasks).await;
    for id in 1..=5 {
        tasks.spawn(insert(database.clone(), id));
    }
    let last = database.clone();
    tasks.spawn(async move {
        let job = |_: &Connection, count: &mut Count| {
            count.refuse.store(1, SeqCst);
            Ok(())
        };
        last.write(job).await
    });
    yield_now().await;
    release.send(()).unwrap();
    assert_eq!(tasks.join_next().await.unwrap().unwrap(), Ok(()), "the batch before is through");
    while let Some(result) = tasks.join_next().await {
        assert_eq!(result.unwrap(), Err(WriteError::Unavailable));
    }
    assert_eq!(ids(&database), []);
    assert_eq!(count.committed.load(SeqCst), 1);
    assert_eq!(insert(database.clone(), 7).await, Ok(()));
    assert_eq!(database.write(|_, count| Ok(count.sum)).await, Ok(7), "the batch's state went back with it");
}

#[tokio::test]
async fn a_full_queue_is_unavailable_and_the_queued_are_served() {
    let folder = Folder::new();
    let (database, _) = open(&folder.file(), &Options { queue: 3, ..Options::default() });
    let mut tasks = JoinSet::new();
    let release = occupied(&database, &mut tasks).await;
    for id in 1..=3 {
        tasks.spawn(insert(database.clone(), id));
    }
    yield_now().await;
    assert_eq!(insert(database.clone(), 4).await, Err(WriteError::Unavailable));
    assert!(database.writable(), "many callers are no fault of the disk");
    release.send(()).unwrap();
    while let Some(result) = tasks.join_next().await {
        assert_eq!(result.unwrap(), Ok(()));
    }
    assert_eq!(ids(&database), [1, 2, 3]);
}

#[tokio::test]
async fn a_full_disk_refuses_writes_whole_and_recovers_without_a_restart() {
    let folder = Folder::new();
    let (database, _) = open(&folder.file(), &Options::default());
    pragma(&database, "PRAGMA max_page_count = 64").await.unwrap();
    let mut refused = 0;
    for id in 0..100_i64 {
        let job = move |connection: &Connection, _: &mut Count| {
            // Two rows each: half a job must never be seen.
            for half in [2 * id, 2 * id + 1] {
                connection.execute("INSERT INTO rows (id, filler) VALUES (?1, zeroblob(9000))", [half])?;
            }
            Ok(())
        };
        match database.write(job).await {
            Ok(()) => assert_eq!(refused, 0),
            Err(error) => {
                assert_eq!(error, WriteError::Unavailable);
                refused += 1;
            }
        }
        assert_eq!(database.writable(), refused == 0);
    }
    assert!((1..100).contains(&refused), "{refused}");
    let before = ids(&database);
    assert_eq!(i32::try_from(before.len()).unwrap(), 2 * (100 - refused), "reads go on, and see whole jobs only");
    pragma(&database, "PRAGMA max_page_count = 1000000").await.unwrap();
    assert_eq!(insert(database.clone(), 1_000).await, Ok(()));
    assert_eq!(insert(database.clone(), 1_000).await, Err(WriteError::Conflict));
    assert!(database.writable(), "a conflict is its own fault");
}

#[tokio::test]
async fn writes_that_find_the_disk_read_only_are_refused_and_go_on_when_it_is_not() {
    let folder = Folder::new();
    let (database, count) = open(&folder.file(), &Options::default());
    let mut tasks = JoinSet::new();
    // One batch, since a transaction cannot even begin under this pragma: 1 is written, 2 and 3 are refused, 4 is written.
    let release = occupied(&database, &mut tasks).await;
    tasks.spawn(insert(database.clone(), 1));
    let own = database.clone();
    tasks.spawn(async move { pragma(&own, "PRAGMA query_only = 1").await });
    let mut refused = JoinSet::new();
    refused.spawn(insert(database.clone(), 2));
    refused.spawn(insert(database.clone(), 3));
    yield_now().await;
    let own = database.clone();
    tasks.spawn(async move { pragma(&own, "PRAGMA query_only = 0").await });
    tasks.spawn(insert(database.clone(), 4));
    yield_now().await;
    release.send(()).unwrap();
    while let Some(result) = tasks.join_next().await {
        assert_eq!(result.unwrap(), Ok(()));
    }
    while let Some(result) = refused.join_next().await {
        assert_eq!(result.unwrap(), Err(WriteError::Unavailable));
    }
    assert_eq!((ids(&database), count.begun.load(SeqCst)), (vec![1, 4], 2));
}

#[tokio::test]
async fn another_process_that_holds_the_file_makes_it_unavailable_only_while_it_does() {
    let folder = Folder::new();
    let (database, _) = open(&folder.file(), &Options { busy: Duration::from_millis(1), ..Options::default() });
    let other = Connection::open(folder.file()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert!(database.writable());
    assert_eq!(insert(database.clone(), 1).await, Err(WriteError::Unavailable));
    other.execute_batch("ROLLBACK").unwrap();
    assert!(!database.writable(), "until a write shows that it is over");
    assert_eq!(insert(database.clone(), 1).await, Ok(()));
    assert!(database.writable());
}

#[tokio::test]
async fn closing_writes_what_is_queued_and_says_the_last_word() {
    let folder = Folder::new();
    let (database, count) = open(&folder.file(), &Options::default());
    assert_eq!(insert(database.clone(), 1).await, Ok(()));
    drop(database);
    assert_eq!(count.committed.load(SeqCst), 1);
    let rows: Vec<i64> = Connection::open(folder.file())
        .unwrap()
        .prepare("SELECT id FROM rows ORDER BY id")
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .collect::<rusqlite::Result<_>>()
        .unwrap();
    assert_eq!(rows, [-1, 1]);
}

#[test]
fn who_opens_a_new_file_at_once_waits_for_who_makes_it() {
    for _ in 0..60 {
        let folder = Folder::new();
        let together = Barrier::new(8);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    together.wait();
                    drop(open(&folder.file(), &Options::default()));
                });
            }
        });
    }
}

#[test]
fn a_new_file_is_for_its_owner_only() {
    let folder = Folder::new();
    let (database, _) = open(&folder.file(), &Options::default());
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(folder.file().parent().unwrap()), 0o700);
    let files: Vec<_> =
        std::fs::read_dir(folder.file().parent().unwrap()).unwrap().map(|it| it.unwrap().path()).collect();
    assert!(files.len() > 1, "the log is there too");
    for file in files {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
    drop(database);
}

fn refusal(path: &Path, migrations: &[Migration]) -> OpenError {
    let options = Options { busy: Duration::from_millis(1), ..Options::default() };
    match Database::open(path, &options, migrations, |_, _| Ok::<_, OpenError>(())) {
        Ok(_) => panic!("it opened"),
        Err(error) => error,
    }
}

#[test]
fn a_file_that_cannot_be_used_is_refused_in_words_that_say_what_to_change() {
    let folder = Folder::new();
    let path = folder.file();
    drop(open(&path, &Options::default()));

    let changed = [Migration { name: "rows", sql: "CREATE TABLE rows (id INTEGER)" }];
    assert!(refusal(&path, &changed).to_string().contains("`rows`"));
    assert!(matches!(refusal(&path, &[]), OpenError::Newer { found: 1, known: 0, .. }));

    let other = Connection::open(&path).unwrap();
    other.execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE").unwrap();
    assert!(matches!(refusal(&path, MIGRATIONS), OpenError::Locked(_)));
    drop(other);

    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o400)).unwrap();
    assert!(matches!(refusal(&path, MIGRATIONS), OpenError::ReadOnly(_)));

    let text = folder.0.join("notes.txt");
    std::fs::write(&text, "x".repeat(4_096)).unwrap();
    assert!(matches!(refusal(&text, MIGRATIONS), OpenError::NotADatabase(_)));
    assert_eq!(std::fs::read(&text).unwrap(), "x".repeat(4_096).as_bytes(), "and left as it was");

    let theirs = folder.0.join("theirs.db");
    Connection::open(&theirs).unwrap().execute_batch("CREATE TABLE theirs (id)").unwrap();
    assert!(matches!(refusal(&theirs, MIGRATIONS), OpenError::NotADatabase(_)));

    let below_a_file = text.join("test.db");
    assert!(matches!(refusal(&below_a_file, MIGRATIONS), OpenError::Engine { .. }));
}

#[test]
fn a_later_migration_is_applied_once_and_a_failing_one_leaves_nothing() {
    let folder = Folder::new();
    let path = folder.file();
    drop(open(&path, &Options::default()));
    let broken = [MIGRATIONS[0], Migration { name: "broken", sql: "CREATE TABLE half (id); CREATE TABLE rows (id)" }];
    assert!(matches!(refusal(&path, &broken), OpenError::Engine { .. }));
    let more = [MIGRATIONS[0], Migration { name: "more", sql: "CREATE TABLE half (id)" }];
    for _ in 0..2 {
        let start = |_: &Connection, new: bool| {
            assert!(!new);
            Ok::<_, OpenError>(())
        };
        Database::open(&path, &Options::default(), &more, start).unwrap();
    }
}
