//! M-06: what somebody who can write the file, but has not the key, can do to the audit trail.
use super::world::{KEY, NOON, SetClock, World, audit, digest, record, sqlite};
use crate::{AuditFault, AuditHead, CHECKPOINT_EVERY, OpenError, Store, StoreKeys, audit_verify};
use deputize_core::ledger::{CommitError, Write};
use deputize_core::ports::Ledger;
use sha2::{Digest as _, Sha256};
use sql::rusqlite::{Connection, params};

const RECORDS: u64 = 40;

async fn written(records: u64) -> World {
    let world = sqlite();
    for n in 1..=records {
        world.store.commit(vec![audit(&format!("decision {n}"))]).await.unwrap();
    }
    world
}

/// What the file says after somebody else ran this on it.
async fn after(sql: &str) -> Result<AuditHead, AuditFault> {
    let world = written(RECORDS).await;
    let head = world.store.audit_verify(None).unwrap();
    assert_eq!(head.sequence, RECORDS);
    Connection::open(world.folder.file()).unwrap().execute_batch(sql).unwrap();
    world.store.audit_verify(None)
}

/// The hash covers the text. Members were added since; a record that has none of them reads, and is written, as before.
#[test]
fn records_of_before_are_read_and_written_as_they_were() {
    let text = r#"{"at":1790000000,"decision":"d-1","action":"on_behalf_of","tenant":"00000000-0000-0000-0000-000000000001","client":"00000000-0000-0000-0000-000000000005","subject":"ada","resource":"00000000-0000-0000-0000-000000000006","scope":"Invoices.Read","token":"t-2","from_token":"t-1","actors":["00000000-0000-0000-0000-000000000005"],"refused":"chain.depth"}"#;
    let record: deputize_core::audit::AuditRecord = serde_json::from_str(text).unwrap();
    assert_eq!((record.credential.as_ref(), record.session, record.trace), (None, None, None));
    assert_eq!(serde_json::to_string(&record).unwrap(), text);
}

/// Records once lay in another table. Their hashes do not cover where they lie.
#[tokio::test]
async fn a_trail_of_an_earlier_release_goes_on() {
    let World { folder, store, .. } = written(RECORDS).await;
    drop(store);
    let earlier = "DELETE FROM migrations WHERE number = 9; ALTER TABLE audit RENAME TO taken; \
        CREATE TABLE audit (chain INTEGER NOT NULL, sequence INTEGER NOT NULL, hash BLOB NOT NULL, body TEXT NOT NULL, \
            PRIMARY KEY (chain, sequence)); \
        INSERT INTO audit SELECT 1, sequence, hash, body FROM taken; DROP TABLE taken";
    Connection::open(folder.file()).unwrap().execute_batch(earlier).unwrap();
    let (keys, clock) = (StoreKeys::new(KEY), SetClock::at(NOON));
    assert_eq!(audit_verify(&folder.file(), &keys, None).unwrap().unwrap().sequence, RECORDS, "before it is opened");
    let store = Store::open(&folder.file(), keys, clock).unwrap();
    assert_eq!(store.audit_verify(None).unwrap().sequence, RECORDS);
    store.commit(vec![audit("one more")]).await.unwrap();
    assert_eq!(store.audit_verify(None).unwrap().sequence, RECORDS + 1);
}

#[tokio::test]
async fn m_06_a_deleted_record_is_named() {
    assert_eq!(after("DELETE FROM audit WHERE sequence = 1").await, Err(AuditFault::Missing(1)));
    assert_eq!(after("DELETE FROM audit WHERE sequence = 17").await, Err(AuditFault::Missing(17)));
}

#[tokio::test]
async fn m_06_an_altered_record_is_named() {
    for change in [
        "UPDATE audit SET body = replace(body, 'decision 17', 'decision 18') WHERE sequence = 17",
        "UPDATE audit SET body = CAST(body AS BLOB) WHERE sequence = 17",
        "UPDATE audit SET hash = zeroblob(32) WHERE sequence = 17",
        "UPDATE audit SET hash = 'text' WHERE sequence = 17",
    ] {
        assert_eq!(after(change).await, Err(AuditFault::Altered(17)), "{change}");
    }
    assert_eq!(after("UPDATE audit SET sequence = 99 WHERE sequence = 17").await, Err(AuditFault::Missing(17)));
    assert_eq!(after("UPDATE audit SET sequence = 99 WHERE sequence = 40").await, Err(AuditFault::Missing(40)));
}

#[tokio::test]
async fn m_06_reordered_records_are_named() {
    let swap = "UPDATE audit SET sequence = -1 WHERE sequence = 5; UPDATE audit SET sequence = 5 WHERE sequence = 9; \
                UPDATE audit SET sequence = 9 WHERE sequence = -1";
    assert_eq!(after(swap).await, Err(AuditFault::Altered(5)));
    let bodies = "UPDATE audit SET body = (SELECT body FROM audit o WHERE o.sequence = 14 - audit.sequence) WHERE sequence IN (5, 9)";
    assert_eq!(after(bodies).await, Err(AuditFault::Altered(5)));
}

#[tokio::test]
async fn m_06_a_cut_tail_is_found() {
    assert_eq!(after("DELETE FROM audit WHERE sequence > 30").await, Err(AuditFault::Missing(31)));
    assert_eq!(after("DELETE FROM audit").await, Err(AuditFault::Missing(1)));
    assert_eq!(after("DELETE FROM audit; DELETE FROM audit_heads").await, Err(AuditFault::Head));
    // With the head made to fit, as far as that goes without the key.
    let fitted = "DELETE FROM audit WHERE sequence > 30; UPDATE audit_heads SET sequence = 30, hash = (SELECT hash FROM audit WHERE sequence = 30)";
    assert_eq!(after(fitted).await, Err(AuditFault::Head));
}

#[tokio::test]
async fn m_06_a_cut_tail_is_found_by_its_checkpoint_even_with_an_old_head_put_back() {
    let world = written(CHECKPOINT_EVERY - 5).await;
    let file = Connection::open(world.folder.file()).unwrap();
    file.execute_batch("CREATE TEMP TABLE kept AS SELECT * FROM audit_heads").unwrap();
    for _ in 0..10 {
        world.store.commit(vec![audit("later")]).await.unwrap();
    }
    let cut = "DELETE FROM audit WHERE sequence > (SELECT sequence FROM kept); DELETE FROM audit_heads; \
               INSERT INTO audit_heads SELECT * FROM kept";
    file.execute_batch(cut).unwrap();
    assert_eq!(world.store.audit_verify(None), Err(AuditFault::Missing(CHECKPOINT_EVERY - 4)));
}

/// The hashes have no key: somebody can make the whole chain anew, but not its signed heads.
#[tokio::test]
async fn m_06_a_chain_made_anew_without_the_key_is_found() {
    let world = written(CHECKPOINT_EVERY + 5).await;
    let file = Connection::open(world.folder.file()).unwrap();
    let mut hash = [0; 32];
    for n in 1..=CHECKPOINT_EVERY + 5 {
        let body = serde_json::to_string(&record(&format!("lie {n}"))).unwrap();
        hash = Sha256::new().chain_update(hash).chain_update(n.to_be_bytes()).chain_update(&body).finalize().into();
        let row = params![body, hash, i64::try_from(n).unwrap()];
        file.execute("UPDATE audit SET body = ?1, hash = ?2 WHERE sequence = ?3", row).unwrap();
    }
    assert_eq!(world.store.audit_verify(None), Err(AuditFault::Replaced(CHECKPOINT_EVERY)));
    file.execute_batch("DELETE FROM audit_checkpoints").unwrap();
    assert_eq!(world.store.audit_verify(None), Err(AuditFault::Head));
    file.execute("UPDATE audit_heads SET hash = ?1", [hash]).unwrap();
    assert_eq!(world.store.audit_verify(None), Err(AuditFault::Head));
}

/// The file alone cannot show that all of it is old; a head kept outside does.
#[tokio::test]
async fn m_06_a_file_rolled_back_is_found_with_a_witness() {
    let world = written(10).await;
    let copy = world.folder.file().with_extension("copy");
    let source = Connection::open(world.folder.file()).unwrap();
    source.execute("VACUUM INTO ?1", [copy.to_str().unwrap()]).unwrap();
    world.store.commit(vec![audit("what somebody wants undone")]).await.unwrap();
    let witness = world.store.audit_verify(None).unwrap();
    assert_eq!(world.store.audit_verify(Some(witness)), Ok(witness));

    let old = Store::open(&copy, StoreKeys::new(KEY), SetClock::at(NOON)).unwrap();
    assert_eq!(old.audit_verify(None).unwrap().sequence, 10);
    assert_eq!(old.audit_verify(Some(witness)), Err(AuditFault::RolledBack(11)));
    // Nor is it hidden by going on from there.
    old.commit(vec![audit("another"), audit("and another")]).await.unwrap();
    assert_eq!(old.audit_verify(None).unwrap().sequence, 12);
    assert_eq!(old.audit_verify(Some(witness)), Err(AuditFault::RolledBack(11)));
}

/// Building upon a trail that somebody changed would sign what they did.
#[tokio::test]
async fn m_06_nothing_is_issued_upon_a_head_that_does_not_verify() {
    let world = written(3).await;
    let file = Connection::open(world.folder.file()).unwrap();
    file.execute_batch("UPDATE audit_heads SET sequence = 2").unwrap();
    let once = vec![audit("next"), Write::KillCode(digest(b'c', 1))];
    assert_eq!(world.store.commit(once.clone()).await, Err(CommitError::Unavailable));
    let reopened = Store::open(&world.folder.file(), StoreKeys::new(KEY), SetClock::at(NOON));
    assert!(matches!(reopened, Err(OpenError::Audit)));
    // What is wrong is found without opening it, and the first bad record is named.
    let verified = || audit_verify(&world.folder.file(), &StoreKeys::new(KEY), None).unwrap();
    assert_eq!(verified(), Err(AuditFault::Head));
    file.execute_batch("UPDATE audit SET body = replace(body, 'decision 2', 'decision 9') WHERE sequence = 2").unwrap();
    assert_eq!(verified(), Err(AuditFault::Altered(2)));
    file.execute_batch("UPDATE audit SET body = replace(body, 'decision 9', 'decision 2') WHERE sequence = 2").unwrap();
    file.execute_batch("UPDATE audit_heads SET sequence = 3").unwrap();
    assert_eq!(world.store.commit(once).await, Ok(()));
    assert_eq!(world.store.audit_verify(None).unwrap().sequence, 4);
}

#[tokio::test]
async fn m_06_every_changed_byte_is_detected() {
    let world = written(20).await;
    let file = Connection::open(world.folder.file()).unwrap();
    let mut statement = file.prepare("SELECT sequence, CAST(body AS BLOB), hash FROM audit").unwrap();
    let rows: Vec<(i64, Vec<u8>, Vec<u8>)> = statement
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let set = |sequence: i64, body: &[u8], hash: &[u8]| {
        let sql = "UPDATE audit SET body = CAST(?2 AS TEXT), hash = ?3 WHERE sequence = ?1";
        file.execute(sql, params![sequence, body, hash]).unwrap();
    };
    let mut tried = 0;
    for (sequence, body, hash) in &rows {
        let altered = Err(AuditFault::Altered(u64::try_from(*sequence).unwrap()));
        for at in (0..body.len()).step_by(7) {
            let mut changed = body.clone();
            changed[at] ^= 1;
            set(*sequence, &changed, hash);
            assert_eq!(world.store.audit_verify(None), altered);
            tried += 1;
        }
        for at in 0..hash.len() {
            let mut changed = hash.clone();
            changed[at] ^= 0x80;
            set(*sequence, body, &changed);
            assert_eq!(world.store.audit_verify(None), altered);
            tried += 1;
        }
        set(*sequence, body, hash);
    }
    assert!(tried > 800, "{tried}");
    assert_eq!(world.store.audit_verify(None).unwrap().sequence, 20);
}

#[tokio::test]
async fn a_store_does_not_open_with_another_audit_key_and_opens_again_with_its_own() {
    let World { store, clock, folder } = written(3).await;
    drop(store);
    let checkpoints: i64 = Connection::open(folder.file())
        .unwrap()
        .query_row("SELECT COUNT(*) FROM audit_checkpoints WHERE sequence = 3", [], |row| row.get(0))
        .unwrap();
    assert_eq!(checkpoints, 1, "a clean end leaves a checkpoint");
    assert!(matches!(Store::open(&folder.file(), StoreKeys::new([8; 32]), clock.clone()), Err(OpenError::Audit)));
    let other = audit_verify(&folder.file(), &StoreKeys::new([8; 32]), None).unwrap();
    assert_eq!(other, Err(AuditFault::Head), "the key is another one; no record is to blame");
    let store = Store::open(&folder.file(), StoreKeys::new(KEY), clock).unwrap();
    assert_eq!(store.audit_verify(None).unwrap().sequence, 3);
}

#[tokio::test]
async fn verifying_a_closed_store_changes_no_byte_of_it() {
    let World { store, folder, .. } = written(RECORDS).await;
    drop(store);
    let before = std::fs::read(folder.file()).unwrap();
    let head = audit_verify(&folder.file(), &StoreKeys::new(KEY), None).unwrap().unwrap();
    assert_eq!((head.sequence, std::fs::read(folder.file()).unwrap()), (RECORDS, before));
}

/// Damage where no audit record is: only a check of the whole file finds it.
#[tokio::test]
async fn a_damaged_page_is_found_by_verifying() {
    let World { store, folder, .. } = written(RECORDS).await;
    drop(store);
    let file = Connection::open(folder.file()).unwrap();
    let number = |sql| usize::try_from(file.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap()).unwrap();
    let page = number("SELECT rootpage FROM sqlite_master WHERE name = 'codes_by_expiry'");
    let size = number("PRAGMA page_size");
    drop(file);
    let mut bytes = std::fs::read(folder.file()).unwrap();
    bytes[(page - 1) * size..page * size].fill(0x5a);
    std::fs::write(folder.file(), bytes).unwrap();
    let found = audit_verify(&folder.file(), &StoreKeys::new(KEY), None);
    let sound = found.as_ref().map(|_| ()).map_err(ToString::to_string);
    assert!(sound.is_err_and(|error| error.contains("is damaged") || error.contains("backup")), "{found:?}");
}
