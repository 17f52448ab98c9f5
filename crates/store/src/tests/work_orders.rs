//! Work orders: what every engine must do with them, and what a million of them cost.
use super::world::{ADA, NOON, TENANT, World, audit, digest, uuid, work_order};
use crate::{Store, work_orders};
use decision::{CheckId, Timestamp};
use deputize_core::id::{FamilyId, SessionId, TenantId, UserId};
use deputize_core::ledger::{CommitError, Write};
use deputize_core::model::Digest;
use deputize_core::ports::Ledger;
use deputize_core::work_order::{MOST, Outstanding, Parked, WorkOrderRecord};
use sql::rusqlite::{Connection, params};
use std::sync::Arc;

fn insert(n: u64, record: WorkOrderRecord) -> Write {
    Write::InsertWorkOrder(digest(b'w', n), Box::new(record), MOST)
}

async fn read(store: &Store, n: u64) -> Option<WorkOrderRecord> {
    store.work_order(digest(b'w', n)).await.unwrap()
}

async fn listed(store: &Store, now: Timestamp) -> Vec<u128> {
    let orders = store.work_orders(TENANT, ADA, now).await.unwrap();
    orders.into_iter().map(|(_, order)| order.id.0.as_u128()).collect()
}

pub(super) async fn a_work_order_is_counted_down_and_no_further(world: World) {
    let store = &world.store;
    assert_eq!(read(store, 1).await, None);
    store.commit(vec![insert(1, work_order(71))]).await.unwrap();
    assert_eq!(read(store, 1).await, Some(work_order(71)));
    assert_eq!(store.commit(vec![insert(1, work_order(72))]).await, Err(CommitError::Conflict), "one record a handle");
    assert_eq!(store.commit(vec![insert(2, work_order(71))]).await, Err(CommitError::Conflict), "and one handle an id");
    let redeem = |n| vec![Write::RedeemWorkOrder(digest(b'w', n)), audit("redeem")];
    assert_eq!(store.commit(redeem(1)).await, Ok(()));
    assert_eq!((read(store, 1).await.unwrap().redeemed, listed(store, NOON).await), (1, vec![71]));
    assert_eq!(store.commit(redeem(1)).await, Ok(()));
    for _ in 0..2 {
        assert_eq!(store.commit(redeem(1)).await, Err(CommitError::Conflict));
    }
    assert_eq!(store.commit(redeem(404)).await, Err(CommitError::Conflict));
    assert_eq!(store.audit(0, 10).unwrap().len(), 2, "a refused redemption records nothing as done");
    let used = read(store, 1).await.unwrap();
    assert_eq!((used.redeemed, used.expires, listed(store, NOON).await), (2, NOON.plus(86_400), vec![]));
    // For an hour it is still told from nonsense.
    store.purge(NOON.plus(3_600)).await.unwrap();
    assert!(read(store, 1).await.is_some());
    store.purge(NOON.plus(3_601)).await.unwrap();
    assert!(read(store, 1).await.is_none());
    assert_eq!(store.work_orders_outstanding(TENANT, ADA, NOON).await.unwrap(), Outstanding::default());
}

pub(super) async fn a_revoked_work_order_is_dead_with_what_stems_from_it(world: World) {
    let store = &world.store;
    store.commit(vec![insert(1, work_order(71)), insert(2, work_order(72))]).await.unwrap();
    let other = world.another();
    store.commit(vec![Write::RevokeWorkOrder(FamilyId(uuid(71)))]).await.unwrap();
    store.commit(vec![Write::RevokeWorkOrder(FamilyId(uuid(71)))]).await.unwrap();
    assert!(read(store, 1).await.unwrap().revoked && !read(store, 2).await.unwrap().revoked);
    assert!(store.family_revoked(FamilyId(uuid(71))).await.unwrap());
    assert!(read(&other, 1).await.unwrap().revoked, "every process reads it at once");
    assert_eq!(listed(store, NOON).await, [72]);
    let dead = digest(b'w', 1);
    assert_eq!(store.commit(vec![Write::RedeemWorkOrder(dead)]).await, Err(CommitError::Conflict));
    let root = Write::RootWorkOrder(dead, SessionId(uuid(40)), Box::new(work_order(71)));
    assert_eq!(store.commit(vec![root]).await, Err(CommitError::Conflict));
    // What an order rests on may be revoked while it is made.
    store.commit(vec![Write::RevokeFamily(FamilyId(uuid(9)))]).await.unwrap();
    assert_eq!(store.commit(vec![insert(3, work_order(73))]).await, Err(CommitError::Conflict));
}

pub(super) async fn a_work_order_waits_and_stems_from_another_session_then(world: World) {
    let store = &world.store;
    let later = WorkOrderRecord { expires: NOON.plus(90_000), ..work_order(72) };
    store.commit(vec![insert(1, work_order(71)), insert(2, later.clone())]).await.unwrap();
    let waits = Parked { check: CheckId::MfaSatisfied, since: NOON.plus(5) };
    assert_eq!(listed(store, NOON).await, [71, 72], "what ends first");
    store.commit(vec![Write::ParkWorkOrder(digest(b'w', 2), waits)]).await.unwrap();
    assert_eq!(read(store, 2).await.unwrap().parked, Some(waits));
    assert_eq!(listed(store, NOON).await, [72, 71], "what waits, before");
    let rooted = WorkOrderRecord { session: SessionId(uuid(41)), ..later };
    let root = |before| vec![Write::RootWorkOrder(digest(b'w', 2), SessionId(uuid(before)), Box::new(rooted.clone()))];
    assert_eq!(store.commit(root(44)).await, Err(CommitError::Conflict), "from what it was taken for");
    assert_eq!(store.commit(root(40)).await, Ok(()));
    assert_eq!(store.commit(root(40)).await, Err(CommitError::Conflict));
    assert_eq!(read(store, 2).await, Some(rooted));
    store.commit(vec![Write::ParkWorkOrder(digest(b'w', 2), waits)]).await.unwrap();
    store.commit(vec![Write::RedeemWorkOrder(digest(b'w', 2))]).await.unwrap();
    assert_eq!(read(store, 2).await.unwrap().parked, None, "it goes on");
}

pub(super) async fn no_more_work_orders_are_outstanding_than_may_be(world: World) {
    let store = &world.store;
    let most = Outstanding { of_user: 2, of_tenant: 3 };
    let bob = UserId(uuid(22));
    let insert = |n: u64, user, tenant| {
        let record = WorkOrderRecord { user, tenant, ..work_order(70 + u128::from(n)) };
        vec![Write::InsertWorkOrder(digest(b'w', n), Box::new(record), most)]
    };
    store.commit([insert(1, ADA, TENANT), insert(2, ADA, TENANT)].concat()).await.unwrap();
    assert_eq!(store.commit(insert(3, ADA, TENANT)).await, Err(CommitError::Conflict), "of one user");
    store.commit(insert(3, bob, TENANT)).await.unwrap();
    assert_eq!(store.commit(insert(4, bob, TENANT)).await, Err(CommitError::Conflict), "of all of them");
    store.commit(insert(4, bob, TenantId(uuid(99)))).await.unwrap();
    let found = store.work_orders_outstanding(TENANT, ADA, NOON).await.unwrap();
    assert_eq!(found, most);
    assert_eq!(store.work_orders_outstanding(TENANT, ADA, NOON.plus(86_400)).await.unwrap().of_user, 0);
    store.purge(NOON.plus(86_400 + 3_601)).await.unwrap();
    assert_eq!(store.work_orders_outstanding(TENANT, ADA, NOON).await.unwrap(), Outstanding::default());
    assert_eq!(store.work_orders_outstanding(TenantId(uuid(99)), bob, NOON).await.unwrap().of_tenant, 0);
}

/// Sixty-four workers at once, for an order that allows ten: ten tokens, through the store's own condition.
#[tokio::test(flavor = "multi_thread")]
async fn however_many_redeem_at_once_no_more_succeed_than_the_order_allows() {
    let world = super::world::sqlite();
    let order = WorkOrderRecord { redemptions: 10, ..work_order(71) };
    world.store.commit(vec![insert(1, order)]).await.unwrap();
    let stores = [world.store.clone(), world.another()];
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..64 {
        let store: Arc<Store> = stores[n % 2].clone();
        tasks.spawn(async move { store.commit(vec![Write::RedeemWorkOrder(digest(b'w', 1))]).await });
    }
    let done = tasks.join_all().await;
    assert_eq!(done.iter().filter(|result| result.is_ok()).count(), 10);
    assert_eq!(read(&world.store, 1).await.unwrap().redeemed, 10);
}

fn handle(n: u64) -> Digest {
    // Spread as digests are.
    let mut bytes = [0; 32];
    for (at, chunk) in bytes.chunks_mut(8).enumerate() {
        let mixed = (n.wrapping_add(at as u64 + 1)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        chunk.copy_from_slice(&(mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9).to_be_bytes());
    }
    bytes[..8].rotate_left(3);
    Digest(bytes)
}

fn fill(connection: &Connection, count: u64) {
    connection.execute_batch("BEGIN").unwrap();
    let sql = "INSERT INTO work_orders (digest, id, tenant, user_id, session, expires, redemptions, redeemed, body) \
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 0, ?8)";
    let mut statement = connection.prepare(sql).unwrap();
    for n in 0..count {
        // Every user has a hundred.
        let user = UserId(uuid(u128::from(n / 100) + 1_000));
        let id = FamilyId(uuid((u128::from(n) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)));
        let order = WorkOrderRecord { id, user, redemptions: 10_000, ..work_order(1) };
        let body = work_orders::body(&order).unwrap();
        let row = params![
            handle(n).0,
            id.0,
            TENANT.0,
            user.0,
            order.session.0,
            order.expires.0 + n.cast_signed() % 80_000,
            10_000,
            body
        ];
        statement.execute(row).unwrap();
    }
    drop(statement);
    connection
        .execute("INSERT INTO work_order_counts VALUES (?1, ?2)", params![TENANT.0, count.cast_signed()])
        .unwrap();
    connection.execute_batch("COMMIT; ANALYZE").unwrap();
}

/// F4: a million outstanding orders take less than a gigabyte. `cargo xtask prove --only work-orders` takes the million.
#[test]
fn an_order_takes_less_than_a_kilobyte() {
    const COUNT: u64 = 5_000;
    let world = super::world::sqlite();
    let connection = Connection::open(world.folder.file()).unwrap();
    let size = || {
        connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
        std::fs::metadata(world.folder.file()).unwrap().len()
    };
    let empty = size();
    fill(&connection, COUNT);
    let each = (size() - empty) / COUNT;
    assert!(each <= 1_000, "{each} bytes an order");
}

/// No statement over work orders reads more of the table than it needs.
#[test]
fn every_statement_over_work_orders_goes_through_an_index() {
    let world = super::world::sqlite();
    let connection = Connection::open(world.folder.file()).unwrap();
    fill(&connection, 2_000);
    for sql in work_orders::STATEMENTS {
        let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let mut rows = statement.raw_query();
        let mut plan: Vec<String> = Vec::new();
        while let Some(row) = rows.next().unwrap() {
            plan.push(row.get(3).unwrap());
        }
        assert!(
            plan.iter().all(|step| !step.starts_with("SCAN work_orders") && !step.starts_with("SCAN w")),
            "{sql}: {plan:?}"
        );
    }
}

/// What it does not change it does not write: with a million orders every index is a page of its own, in the log and in the
/// file, for each redemption.
#[test]
fn a_redemption_that_is_not_the_last_writes_no_index() {
    let world = super::world::sqlite();
    let connection = Connection::open(world.folder.file()).unwrap();
    let mut program = connection.prepare(&format!("EXPLAIN {}", work_orders::REDEEM)).unwrap();
    let mut steps = program.raw_query();
    let (mut rows, mut indexes) = (0, 0);
    while let Some(step) = steps.next().unwrap() {
        match step.get::<_, String>(1).unwrap().as_str() {
            "Insert" => rows += 1,
            "IdxInsert" | "IdxDelete" => indexes += 1,
            _ => {}
        }
    }
    assert_eq!((rows, indexes), (1, 0));
}
