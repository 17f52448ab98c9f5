//! P11 and F4: what outstanding work orders cost. Two authorities, one with a thousand orders of a thousand users and one with
//! `DEPUTIZE_WORK_ORDERS` (a million in `cargo xtask prove --only work-orders`), a hundred of each user, are asked turn by turn
//! as the token endpoint is: the client's secret, what is decided, the commit with its record, the token's signature. The
//! second may take a kilobyte an order, and, which only the long form looks at, 1.2 times the processor time of the first, which
//! is P11's bound on an exchange: for orders that are redeemed again and again, for those that allow one redemption, and for
//! tokens whose signature costs next to nothing. Beside it stands, for those who read, the store's part of all of them.
use crate::guards::number;
use crate::work_orders::redeem_form;
use crate::world::estate::{CONTOSO, app, user};
use crate::world::{NOON, World, encode, send, token_path};
use axum::body::Body;
use axum::http::Request;
use deputize_core::audit::AuditRecord;
use deputize_core::id::{FamilyId, SessionId, UserId};
use deputize_core::ledger::{Proven, SessionRecord, Write};
use deputize_core::model::{Digest, User};
use deputize_core::ports::Ledger;
use deputize_core::work_order::{Allowance, MOST, WorkOrderRecord, Worker};
use sql::rusqlite::{Connection, params};
use std::sync::Arc;
use store::Object;
use tokio::task::JoinSet;
use tokio::time::Instant;
use uuid::Uuid;

const FEW: u64 = 1_000;
const MANY: u64 = 4_000;
const CONNECTIONS: usize = 64;
/// Redemptions at one authority before it is the other's turn, and how many turns: short and long.
const TURN: [u64; 2] = [320, 3_200];
const TURNS: [u64; 2] = [3, 16];
/// Orders of one user, of few orders and of more.
const OF_USER: [u64; 2] = [1, 100];

/// Random-looking, as ids are: neighbours in time are not neighbours in an index.
fn spread(n: u64, salt: u64) -> u64 {
    let mixed = (n ^ (salt << 60)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9)
}

fn id(n: u64, salt: u64) -> Uuid {
    Uuid::from_u64_pair(spread(n, salt), spread(n, salt + 1))
}

/// Ada is the first user, and others like her are the rest.
fn owner(user_number: u64) -> UserId {
    if user_number == 0 { user("ada") } else { UserId(id(user_number, 7)) }
}

fn session(user_number: u64) -> SessionId {
    SessionId(id(user_number, 9))
}

fn handle(n: u64) -> String {
    format!("wo1.{n:043}")
}

/// How often one may be redeemed: each tenth once.
fn redemptions(n: u64) -> u32 {
    if n.is_multiple_of(10) { 1 } else { 10_000 }
}

fn order(n: u64, user_number: u64) -> WorkOrderRecord {
    WorkOrderRecord {
        id: FamilyId(id(n, 5)),
        tenant: CONTOSO,
        issuer: app("orders"),
        user: owner(user_number),
        session: session(user_number),
        proven: Proven { amr: vec!["pwd".to_owned(), "mfa".to_owned()], mfa_time: Some(NOON) },
        actors: vec![app("web")],
        grants: vec![FamilyId(id(1, 11))],
        workers: vec![Worker { client: app("orders"), thumbprint: None }],
        allowed: [("billing", "Invoices.Read"), ("vault", "Vault.Read")]
            .map(|(name, scopes)| Allowance { resource: app(name), scopes: scopes.to_owned().into() })
            .into(),
        purpose: "Export the invoices of the day".to_owned(),
        content: None,
        redemptions: redemptions(n),
        issued: NOON,
        expires: NOON.plus(86_400),
        redeemed: 0,
        parked: None,
        revoked: false,
    }
}

/// An authority and what is asked of it, with its processor time so far.
struct Side {
    world: World,
    count: u64,
    of_user: u64,
    /// Of the file.
    size: u64,
    cost: [u64; 4],
}

/// What is measured.
#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    /// For a token that is signed with RSA.
    Again,
    /// The same, of an order's only redemption.
    Once,
    /// For one that is signed with an elliptic curve, in a tenth of the time: what the store takes is more of the whole.
    Elliptic,
    /// The store's part of it.
    Store,
}

const ALL: [(What, &str); 4] = [
    (What::Again, "P11 a redemption (RS256)"),
    (What::Once, "P11 the only redemption of its order (RS256)"),
    (What::Elliptic, "    a redemption (ES256)"),
    (What::Store, "    the store's part of a redemption"),
];

impl Side {
    /// With so many outstanding orders.
    async fn new(count: u64, of_user: u64) -> Self {
        let world = World::new().await;
        let users = count / of_user;
        let ada = world.store.objects().unwrap().into_iter().find_map(|object| match object {
            Object::User(it) if it.id == user("ada") => Some(it),
            _ => None,
        });
        let ada = ada.unwrap();
        let like_her = |n: u64| User {
            id: owner(n),
            user_principal_name: format!("user-{n}@contoso.example"),
            mail: None,
            ..ada.clone()
        };
        world.apply((1..users).map(|n| Object::User(like_her(n)).into()).collect()).await;
        let signed_in = |n: u64| {
            let record = SessionRecord {
                id: session(n),
                cookie: world.crypto().keyed_digest(&n.to_string()),
                tenant: CONTOSO,
                user: owner(n),
                auth_time: NOON,
                amr: vec!["pwd".to_owned(), "mfa".to_owned()],
                mfa_time: Some(NOON),
                address: None,
                expires: NOON.plus(30 * 86_400),
                revoked: false,
                clients: Vec::new(),
            };
            Write::PutSession(record)
        };
        for some in (0..users).collect::<Vec<_>>().chunks(1_000) {
            world.store.commit(some.iter().map(|n| signed_in(*n)).collect()).await.unwrap();
        }
        fill(&world, count, of_user).await;
        let world = world.restarted();
        let size = std::fs::metadata(world.folder.file()).unwrap().len();
        Self { world, count, of_user, size, cost: [0; 4] }
    }

    /// Orders of one redemption, `redemptions` of them each turn: those that wait anywhere among the many, or else new ones.
    async fn once(&self, turn: u64, redemptions: u64) -> Vec<u64> {
        let (from, waiting) = (turn * redemptions, self.count / 10);
        if waiting >= from + redemptions {
            // 7 919 has no divisor in common with them: each comes once.
            return (from..from + redemptions).map(|n| n * 7_919 % waiting * 10).collect();
        }
        let new: Vec<u64> = (from..from + redemptions).map(|n| (self.count + n) * 10).collect();
        let write = |n: &u64| {
            let record = order(*n, n / 10 % (self.count / self.of_user));
            Write::InsertWorkOrder(self.world.crypto().keyed_digest(&handle(*n)), Box::new(record), MOST)
        };
        self.world.store.commit(new.iter().map(write).collect()).await.unwrap();
        new
    }

    /// A turn's redemptions.
    async fn turn(&self, what: What, turn: u64, redemptions: u64) -> u64 {
        let chosen = match what {
            What::Once => self.once(turn, redemptions).await,
            _ => (turn * redemptions..(turn + 1) * redemptions).map(|n| again(spread(n, 13) % self.count)).collect(),
        };
        self.redeem(what, &chosen).await
    }

    /// Redeems these, by 64 workers at once: the processor time of it.
    async fn redeem(&self, what: What, chosen: &[u64]) -> u64 {
        let scope = if what == What::Elliptic { "api://vault/.default" } else { "api://billing/.default" };
        let mut tasks = JoinSet::new();
        let mut work: Vec<std::pin::Pin<Box<dyn Future<Output = ()> + Send>>> = Vec::new();
        for orders in chosen.chunks(chosen.len().div_ceil(CONNECTIONS)) {
            let handles: Vec<String> = orders.iter().map(|n| handle(*n)).collect();
            if what == What::Store {
                let digests = handles.iter().map(|handle| self.world.crypto().keyed_digest(handle)).collect();
                work.push(Box::pin(counted_down(Arc::clone(&self.world.store), digests)));
            } else {
                let asked = |handle: &String| {
                    Request::post(token_path(&CONTOSO.to_string()))
                        .header("content-type", "application/x-www-form-urlencoded")
                        .body(Body::from(encode(&redeem_form("orders", handle, &[("scope", scope)]))))
                        .unwrap()
                };
                let (router, requests) = (self.world.router.clone(), handles.iter().map(asked).collect::<Vec<_>>());
                let clock = self.world.clock.clone();
                work.push(Box::pin(async move {
                    for (n, request) in requests.into_iter().enumerate() {
                        // A client may ask so often a second.
                        if n % 10 == 0 {
                            clock.advance(1);
                        }
                        let answer = send(router.clone(), request).await;
                        assert_eq!(answer.status, 200, "{}", answer.text());
                    }
                }));
            }
        }
        let before = used();
        for one in work {
            tasks.spawn(one);
        }
        while let Some(ended) = tasks.join_next().await {
            ended.unwrap();
        }
        used() - before
    }
}

/// The next order that may be redeemed again and again.
fn again(n: u64) -> u64 {
    if redemptions(n) == 1 { n + 1 } else { n }
}

/// What the store has of a redemption.
async fn counted_down(store: Arc<store::Store>, digests: Vec<Digest>) {
    for digest in digests {
        let order = store.work_order(digest).await.unwrap().unwrap();
        let record = AuditRecord {
            tenant: Some(order.tenant),
            client: order.workers.first().map(|worker| worker.client),
            subject: Some(order.user.to_string()),
            actors: order.actors,
            purpose: Some(order.purpose),
            ..AuditRecord::new(NOON, "a".repeat(36), "work_order_redemption")
        };
        store.commit(vec![Write::RedeemWorkOrder(digest), Write::Audit(Box::new(record))]).await.unwrap();
    }
}

/// Orders as the store keeps them, each a copy of one that it was given: a million commits would write forty gigabytes.
async fn fill(world: &World, count: u64, of_user: u64) {
    let digest = |n: u64| world.crypto().keyed_digest(&handle(n));
    world.store.commit(vec![Write::InsertWorkOrder(digest(0), Box::new(order(0, 0)), MOST)]).await.unwrap();
    let connection = Connection::open(world.folder.file()).unwrap();
    let setup = "PRAGMA synchronous = OFF; PRAGMA cache_size = -2000000; PRAGMA wal_autocheckpoint = 0; BEGIN";
    connection.execute_batch(setup).unwrap();
    let copy = "INSERT INTO work_orders (digest, id, tenant, user_id, session, expires, redemptions, redeemed, body) \
                SELECT ?1, ?2, tenant, ?3, ?4, expires + ?5, ?6, redeemed, body FROM work_orders WHERE digest = ?7";
    let mut copy = connection.prepare(copy).unwrap();
    for n in 1..count {
        let (later, of) = (i64::try_from(n % 80_000).unwrap(), n / of_user);
        let row = params![digest(n).0, id(n, 5), owner(of).0, session(of).0, later, redemptions(n), digest(0).0];
        assert_eq!(copy.execute(row).unwrap(), 1);
    }
    drop(copy);
    let outstanding = i64::try_from(count).unwrap();
    connection.execute("UPDATE work_order_counts SET outstanding = ?1", [outstanding]).unwrap();
    connection.execute_batch("COMMIT; PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
}

/// Processor time of this process so far, in hundredths of a second (proc(5)): what others do on this machine is not in it.
fn used() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let after_name = stat.rsplit_once(')').unwrap().1;
    // utime and stime are the 14th and 15th field; the name is the second.
    after_name.split_whitespace().skip(11).take(2).map(|field| field.parse::<u64>().unwrap()).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f4_outstanding_orders_cost_a_kilobyte_each_and_redeeming_one_no_more_for_their_number() {
    let wanted = number("DEPUTIZE_WORK_ORDERS");
    let (many, long) = (wanted.map_or(MANY, |count| u64::try_from(count).unwrap()), usize::from(wanted.is_some()));
    let (each_turn, turns) = (TURN[long], TURNS[long]);
    let start = Instant::now();
    let mut sides = [Side::new(FEW, OF_USER[0]).await, Side::new(many, OF_USER[1]).await];
    let size = sides[1].size;
    println!("F4 {many} outstanding orders: {size} bytes, made in {:.0} s", start.elapsed().as_secs_f64());
    // What the authority keeps of users, their sessions and grants is there.
    for side in &sides {
        let of_each_user: Vec<u64> = (0..side.count / side.of_user).map(|n| again(n * side.of_user)).collect();
        side.redeem(What::Again, &of_each_user).await;
    }
    for n in 0..turns {
        for (what, _) in ALL {
            for side in &mut sides {
                let cost = side.turn(what, n, each_turn).await;
                // The first turn warms up.
                if n > 0 {
                    side.cost[what as usize] += cost;
                }
            }
        }
    }
    let redemptions = f64::from(u32::try_from((turns - 1) * each_turn).unwrap());
    let mut ratios = Vec::new();
    for (what, name) in ALL {
        let [few, large] = [0, 1].map(|side: usize| {
            f64::from(u32::try_from(sides[side].cost[what as usize]).unwrap()) * 10_000.0 / redemptions
        });
        println!("{name}: {few:.1} us of processor time among {FEW}, {large:.1} us among {many}: {:.2}", large / few);
        ratios.push(large / few);
    }
    // What any store takes is not theirs.
    let each = size.saturating_sub(sides[0].size) / (many - FEW);
    assert!(each <= 1_000, "{size} bytes for {many} orders, {each} each: at most a kilobyte");
    // Of what a machine was slow at, a short test says nothing.
    assert!(long == 0 || ratios[..3].iter().all(|ratio| *ratio <= 1.2), "at most 1.2 times");
}
