//! P11 and F4: what outstanding work orders cost. Two stores, one with a thousand orders and one with `DEPUTIZE_WORK_ORDERS`
//! (a million in `cargo xtask prove --only work-orders`), are redeemed from turn by turn: read by the handle's digest, then
//! counted down with a record in the same commit, as at the token endpoint. The second may take a kilobyte an order, and, which
//! only the long form looks at, 1.2 times the processor time of the first.
#![expect(clippy::indexing_slicing, reason = "a test may stop")]
use decision::{Clock, Timestamp};
use deputize_core::audit::AuditRecord;
use deputize_core::id::{AppId, FamilyId, SessionId, TenantId, UserId};
use deputize_core::ledger::{Proven, Write};
use deputize_core::model::Digest;
use deputize_core::ports::Ledger;
use deputize_core::work_order::{Allowance, MOST, WorkOrderRecord, Worker};
use deputize_store::{Options, Store, StoreKeys};
use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use tokio::task::JoinSet;

type Failed = Box<dyn Error + Send + Sync>;

const FEW: u64 = 1_000;
const MANY: u64 = 4_000;
const CONNECTIONS: u64 = 64;
/// Redemptions of one store before it is the other's turn, and how many turns: short and long.
const TURN: [u64; 2] = [320, 3_200];
const TURNS: [u64; 2] = [3, 24];
/// Orders of one user.
const OF_USER: u64 = 100;
const NOON: Timestamp = Timestamp(1_800_000_000);

struct Noon;

impl Clock for Noon {
    fn now(&self) -> Timestamp {
        NOON
    }
}

/// Random-looking, as digests are: neighbours in time are not neighbours in the index.
fn spread(n: u64, salt: u64) -> u64 {
    let mixed = (n ^ (salt << 60)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9)
}

fn digest(n: u64) -> Digest {
    let mut bytes = [0; 32];
    for (chunk, salt) in bytes.chunks_exact_mut(8).zip(1_u64..) {
        chunk.copy_from_slice(&spread(n, salt).to_be_bytes());
    }
    Digest(bytes)
}

fn id(n: u64, salt: u64) -> uuid::Uuid {
    uuid::Uuid::from_u64_pair(spread(n, salt), spread(n, salt + 1))
}

fn order(n: u64) -> WorkOrderRecord {
    let issuer = AppId(id(1, 5));
    WorkOrderRecord {
        id: FamilyId(id(n, 5)),
        tenant: TenantId::default(),
        issuer,
        user: UserId(id(n / OF_USER, 7)),
        session: SessionId(id(n / OF_USER, 9)),
        proven: Proven { amr: vec!["pwd".to_owned(), "mfa".to_owned()], mfa_time: Some(NOON) },
        actors: vec![issuer, AppId(id(2, 5))],
        grants: vec![FamilyId(id(n / OF_USER, 11))],
        workers: vec![Worker { client: AppId(id(3, 5)), thumbprint: Some("x".repeat(43)) }],
        allowed: vec![Allowance { resource: AppId(id(4, 5)), scopes: "Invoices.Read".to_owned().into() }],
        purpose: "Export the invoices of the day".to_owned(),
        content: Some(digest(n)),
        redemptions: 10_000,
        issued: NOON,
        expires: NOON.plus(86_400 + i64::try_from(n % 80_000).unwrap_or_default()),
        redeemed: 0,
        parked: None,
        revoked: false,
    }
}

/// A store with so many outstanding orders, and its size in bytes.
async fn filled(path: &Path, count: u64) -> Result<(Arc<Store>, u64), Failed> {
    let open = || Store::open_with(path, StoreKeys::new([7; 32]), Arc::new(Noon), &Options::default());
    let store = open()?;
    let made: Vec<u64> = (0..count).collect();
    for some in made.chunks(2_000) {
        let inserted = some.iter().map(|n| Write::InsertWorkOrder(digest(*n), Box::new(order(*n)), MOST));
        store.commit(inserted.collect()).await?;
    }
    // Closed in order, the file is all there is.
    drop(store);
    let size = std::fs::metadata(path)?.len();
    Ok((Arc::new(open()?), size))
}

/// Redeems from a store, by 64 workers at once.
async fn turn(store: &Arc<Store>, count: u64, turn: u64, redemptions: u64) -> Result<(), Failed> {
    let mut tasks = JoinSet::new();
    for connection in 0..CONNECTIONS {
        let store = Arc::clone(store);
        tasks.spawn(async move {
            let each = redemptions / CONNECTIONS;
            for n in 0..each {
                let n = (turn * CONNECTIONS + connection) * each + n;
                let handle = digest(spread(n, 13) % count);
                let order = store.work_order(handle).await?.ok_or("an order is gone")?;
                let record = AuditRecord {
                    tenant: Some(order.tenant),
                    client: order.workers.first().map(|worker| worker.client),
                    subject: Some(order.user.to_string()),
                    actors: order.actors,
                    purpose: Some(order.purpose),
                    ..AuditRecord::new(NOON, n.to_string(), "work_order_redemption")
                };
                store.commit(vec![Write::RedeemWorkOrder(handle), Write::Audit(Box::new(record))]).await?;
            }
            Ok::<_, Failed>(())
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(())
}

/// Processor time of this process so far, in hundredths of a second (proc(5)): what others do on this machine is not in it.
fn used() -> Result<u64, Failed> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let after_name = stat.rsplit_once(')').ok_or("no processor time in /proc/self/stat")?.1;
    // utime and stime are the 14th and 15th field; the name is the second.
    let times: Vec<u64> = after_name.split_whitespace().skip(11).take(2).map(str::parse).collect::<Result<_, _>>()?;
    Ok(times.iter().sum())
}

#[expect(clippy::print_stdout, reason = "the figures are the program's product")]
async fn measure(folder: &Path, many: u64) -> Result<(), Failed> {
    let long = many > MANY;
    let (each_turn, turns) = (TURN[usize::from(long)], TURNS[usize::from(long)]);
    let (few, empty) = filled(&folder.join("few.db"), FEW).await?;
    #[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
    let start = Instant::now();
    let (large, size) = filled(&folder.join("many.db"), many).await?;
    println!("F4 {many} outstanding orders: {size} bytes, made in {:.0} s", start.elapsed().as_secs_f64());
    let (mut cost, mut seconds) = ([0_u64; 2], [0_f64; 2]);
    for n in 0..turns {
        for ((store, count), (cost, seconds)) in
            [(&few, FEW), (&large, many)].into_iter().zip(cost.iter_mut().zip(&mut seconds))
        {
            let before = used()?;
            #[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
            let start = Instant::now();
            turn(store, count, n, each_turn).await?;
            // The first turn warms up.
            if n > 0 {
                *cost += used()? - before;
                *seconds += start.elapsed().as_secs_f64();
            }
        }
    }
    let redemptions = f64::from(u32::try_from((turns - 1) * each_turn)?);
    let each =
        |hundredths: u64| -> Result<f64, Failed> { Ok(f64::from(u32::try_from(hundredths)?) * 10_000.0 / redemptions) };
    let [small, large] = [each(cost[0])?, each(cost[1])?];
    let ratio = large / small;
    println!(
        "P11 a redemption among {FEW}: {small:.1} us of processor time; among {many}: {large:.1} us; ratio {ratio:.2}"
    );
    println!("    by the clock: {:.0}/s and {:.0}/s", redemptions / seconds[0], redemptions / seconds[1]);
    // Of what a machine was slow at, a short test says nothing.
    if long && ratio > 1.2 {
        return Err(format!("a redemption among {many} costs {ratio:.2} times that among {FEW}: at most 1.2").into());
    }
    // What any store takes is not theirs.
    let each = size.saturating_sub(empty) / (many - FEW);
    if each > 1_000 {
        return Err(format!("{size} bytes for {many} orders, {each} each: at most a kilobyte").into());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f4_outstanding_orders_cost_a_kilobyte_each_and_redeeming_one_no_more_for_their_number() {
    #[expect(clippy::disallowed_methods, reason = "how long the proof runs, chosen by `cargo xtask prove`")]
    let wanted = std::env::var("DEPUTIZE_WORK_ORDERS");
    let many = wanted.map_or(MANY, |count| count.parse().unwrap());
    let folder = std::env::temp_dir().join(format!("deputize-work-orders-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let measured = measure(&folder, many).await;
    std::fs::remove_dir_all(folder).unwrap();
    measured.unwrap();
}
