//! Revocation that arrives (Shows 5): guards on loopback, cut-offs by an administrator's process, and the stream cut in between.
use crate::world::browser::{Browser, request};
use crate::world::estate::{CONTOSO, app};
use crate::world::stream::reader;
use crate::world::{HOST, World, text};
use deputize_core::chain::Chain;
use deputize_core::ledger::Write;
use deputize_core::ports::Ledger;
use guard::{Allow, CheckId, Contract, Events, Fetch, Guard};
use jose::{KeySet, SigningKey};
use oauth::Secret;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use store::{Change, Key, Store};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

const GUARDS: usize = 20;
/// What is promised where the stream reaches.
const BOUND: Duration = Duration::from_secs(5);

pub(crate) fn number(name: &str) -> Option<usize> {
    #[expect(clippy::disallowed_methods, reason = "how long the proof runs is the caller's choice")]
    let wanted = std::env::var(name);
    wanted.ok().map(|count| count.parse().unwrap())
}

/// The authority's own port, and the way to it that can be cut.
pub(crate) struct Way {
    pub(crate) url: String,
    pub(crate) address: std::net::SocketAddr,
    passing: JoinSet<()>,
    stalled: watch::Sender<()>,
}

impl Way {
    pub(crate) async fn new(world: &World, serving: &mut JoinSet<()>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = world.router.clone();
        serving.spawn(async move { axum::serve(listener, router).await.unwrap() });
        let front = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/{CONTOSO}/events", front.local_addr().unwrap());
        let mut way = Self { url, address, passing: JoinSet::new(), stalled: watch::Sender::new(()) };
        way.open(front);
        way
    }

    fn open(&mut self, front: TcpListener) {
        let (address, stalled) = (self.address, self.stalled.clone());
        self.passing.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (mut near, _) = front.accept().await.unwrap();
                let mut stalled = stalled.subscribe();
                connections.spawn(async move {
                    let Ok(mut far) = TcpStream::connect(address).await else { return };
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                        _ = stalled.changed() => std::future::pending().await,
                    }
                });
            }
        });
    }

    /// Nothing passes any more.
    pub(crate) async fn cut(&mut self) {
        self.passing.shutdown().await;
    }

    /// Nothing passes on the connections there are, and nobody is told: they are half open. New ones are as before.
    pub(crate) fn stall(&self) {
        self.stalled.send_replace(());
    }

    pub(crate) async fn mend(&mut self) {
        let port = self.url.split(['/', ':']).nth(4).unwrap().to_owned();
        let front = TcpListener::bind(format!("127.0.0.1:{port}")).await.unwrap();
        self.open(front);
    }
}

fn contract() -> Contract {
    serde_json::from_value(json!({
        "audiences": [app("orders"), "api://orders"],
        "issuers": [{"issuer": format!("{HOST}/{CONTOSO}/v2.0")}],
        "routes": [
            {"method": "GET", "path": "/orders", "scopes": ["access_as_user"]},
            {"method": "POST", "path": "/orders", "scopes": ["access_as_user"], "live_cut_offs": true}
        ],
        "fail_static": 30
    }))
    .unwrap()
}

fn guards(world: &World, way: &Way, token: &str, tasks: &mut JoinSet<()>) -> Vec<Guard> {
    let keys = || KeySet::from_keys(crate::world::keys::signing().iter().map(SigningKey::verifying_key).collect());
    let allow = Allow { plain_loopback: true, ..Allow::INSIDE };
    let made = (0..GUARDS).map(|_| {
        let token = Secret::new(token);
        let tokens = move || {
            let token = token.clone();
            async move { Ok(token) }
        };
        let fetch = Fetch::builder().allow(allow).build().unwrap();
        let events = Events::new(format!("{HOST}/{CONTOSO}"), fetch, tokens).at(&way.url);
        Guard::builder(contract(), Arc::new(world.clock.clone()))
            .keys(format!("{HOST}/{CONTOSO}/v2.0"), keys())
            .events(events)
            .build()
            .unwrap()
    });
    let made: Vec<Guard> = made.collect();
    for guard in &made {
        tasks.spawn(guard.listen());
    }
    made
}

fn check(guard: &Guard, token: &str, method: &str) -> Result<(), CheckId> {
    let checked = guard.try_check(Some(&format!("Bearer {token}")), method, "/orders").unwrap();
    checked.map(drop).map_err(|refused| refused.check())
}

pub(crate) async fn until(what: &str, holds: impl Fn() -> bool) {
    let wait = async {
        while !holds() {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(Duration::from_mins(1), wait).await.unwrap_or_else(|_| panic!("{what}"));
}

fn current(guards: &[Guard]) -> bool {
    guards.iter().all(|guard| guard.events().iter().all(|stream| stream.current_at.is_some() && stream.fault.is_none()))
}

/// Access tokens of so many authorizations of one sign-in.
pub(crate) async fn tokens(world: &World, count: usize) -> Vec<String> {
    let mut browser = Browser::default();
    let mut tokens = Vec::with_capacity(count);
    for turn in 0..count {
        // Who asks for the same again and again in one session is told that it loops.
        if turn % 50 == 0 {
            browser = Browser::default();
        }
        let scope = "api://orders/access_as_user";
        let answer = browser.complete(world, &request("web", scope), "ada").await;
        let answer = world.redeem("web", answer.value("code").unwrap()).await.ok();
        tokens.push(text(&answer, "access_token"));
    }
    tokens
}

/// Ends the authorization of a token, as another process does.
pub(crate) async fn revoke(world: &World, there: &Store, token: &str) {
    let aio = text(&crate::world::claims(token), "aio");
    let chain = world.crypto().open(&aio).and_then(|bytes| Chain::decode(&bytes)).unwrap();
    there.commit(vec![Write::RevokeFamily(chain.grants[0])]).await.unwrap();
}

/// How long after a commit each guard refuses a token; none may accept it after the bound.
async fn refusals(guards: &[Guard], token: &str, from: Instant) -> Vec<Duration> {
    let mut took = Vec::with_capacity(guards.len());
    let mut waiting: Vec<&Guard> = guards.iter().collect();
    while !waiting.is_empty() {
        assert!(from.elapsed() < BOUND, "{} guards accept it after {BOUND:?}", waiting.len());
        let refused = waiting.extract_if(.., |guard| check(guard, token, "GET") == Err(CheckId::TokenRevoked));
        took.extend(refused.map(|_| from.elapsed()));
        sleep(Duration::from_millis(1)).await;
    }
    took
}

pub(crate) fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    sorted[(sorted.len() * percent / 100).min(sorted.len() - 1)]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cut_offs_reach_every_guard_and_none_is_accepted_after_the_bound() {
    let wanted = number("DEPUTIZE_CUT_OFFS");
    let count = wanted.unwrap_or(10);
    let world = World::with(|plan| plan.others.push(reader("orders"))).await;
    let mut tasks = JoinSet::new();
    tasks.spawn(world.store.watch());
    let there = world.another_store();
    let mut way = Way::new(&world, &mut tasks).await;
    let live = tokens(&world, count * 3 + 2).await;
    let (spared, live) = live.split_first().unwrap();
    let (stalling, live) = live.split_first().unwrap();
    let (near, others) = live.split_at(count);
    let (severed, far) = others.split_at(count);
    let guards = guards(&world, &way, &world.events_token("orders").await, &mut tasks);
    until("the guards listen", || current(&guards)).await;
    for guard in &guards {
        assert!(live.iter().chain([spared]).all(|token| check(guard, token, "GET") == Ok(())), "all are good");
    }

    let mut took = Vec::with_capacity(count * GUARDS);
    for token in near {
        revoke(&world, &there, token).await;
        took.extend(refusals(&guards, token, Instant::now()).await);
    }
    took.sort_unstable();
    let (p50, p99) = (percentile(&took, 50), percentile(&took, 99));
    let accepted = guards.iter().flat_map(|guard| near.iter().map(move |token| check(guard, token, "GET")));
    assert_eq!(accepted.flatten().count(), 0, "accepted after they were refused");
    println!(
        "{GUARDS} guards, {count} cut-offs by another process: p50 {p50:?}, p99 {p99:?}, longest {:?} from commit to refusal; 0 \
         accepted after the bound",
        took.last().unwrap()
    );
    if wanted.is_some() {
        assert!(p99 < Duration::from_secs(1), "p99 is {p99:?}");
    }

    // Severed at each commit, and back at once: told on the next connection, from where the last one was.
    let mut took = Vec::with_capacity(count * GUARDS);
    for token in severed {
        way.cut().await;
        revoke(&world, &there, token).await;
        let from = Instant::now();
        way.mend().await;
        took.extend(refusals(&guards, token, from).await);
    }
    took.sort_unstable();
    println!(
        "the stream severed at each of {count} commits: p50 {:?}, p99 {:?}, longest {:?}; 0 accepted after the bound",
        percentile(&took, 50),
        percentile(&took, 99),
        took.last().unwrap()
    );
    // Half open: nobody says that nothing passes any more.
    until("the stream is back", || current(&guards)).await;
    way.stall();
    revoke(&world, &there, stalling).await;
    let took = refusals(&guards, stalling, Instant::now()).await;
    println!("half-open connections: longest {:?} from commit to refusal", took.iter().max().unwrap());
    until("the stream is back", || current(&guards)).await;

    // Cut: what is revoked meanwhile is not known to them, and marked routes close after their time.
    way.cut().await;
    until("the stream is lost", || guards.iter().all(|guard| guard.events()[0].fault.is_some())).await;
    for token in far {
        revoke(&world, &there, token).await;
    }
    for guard in &guards {
        assert_eq!(check(guard, &far[0], "POST"), Ok(()), "static, as the contract says");
    }
    world.clock.advance(31);
    let mut let_in = 0;
    for guard in &guards {
        for token in far.iter().chain([spared]) {
            assert_eq!(check(guard, token, "POST"), Err(CheckId::CutOffsCurrent));
            let_in += usize::from(check(guard, token, "GET").is_ok());
        }
        assert!(near.iter().all(|token| check(guard, token, "GET") == Err(CheckId::TokenRevoked)), "known before");
    }
    assert_eq!(let_in, GUARDS * (count + 1), "routes that are not marked go on, counted");
    let told = u64::try_from(count).unwrap();
    let counted = |status: &guard::EventsStatus| status.unavailable > told && status.let_in > told;
    assert!(guards.iter().all(|guard| counted(&guard.events()[0])));
    way.mend().await;
    let from = Instant::now();
    until("the stream is back", || current(&guards)).await;
    for guard in &guards {
        assert!(far.iter().all(|token| check(guard, token, "GET") == Err(CheckId::TokenRevoked)), "all at once");
        assert_eq!(check(guard, spared, "POST"), Ok(()));
    }
    println!(
        "the stream cut: marked routes closed at once after `fail_static`, back {:?} after it was mended",
        from.elapsed()
    );
}

/// keys are of their issuer. The same `kid` under another tenant's issuer opens nothing, at guards as at the authority.
#[tokio::test]
async fn x_20_a_token_of_one_tenant_is_nobodys_in_another() {
    let world = World::new().await;
    let token = world.orders_token().await;
    let elsewhere = crate::world::estate::FABRIKAM;
    let other: Contract = serde_json::from_value(json!({
        "audiences": [app("orders")],
        "issuers": [{"issuer": format!("{HOST}/{elsewhere}/v2.0")}],
        "routes": [{"method": "GET", "path": "/orders", "scopes": ["access_as_user"]}]
    }))
    .unwrap();
    let keys = KeySet::from_keys(crate::world::keys::signing().iter().map(SigningKey::verifying_key).collect());
    let clock = Arc::new(world.clock.clone());
    let guard = Guard::builder(other, clock).keys(format!("{HOST}/{elsewhere}/v2.0"), keys).build().unwrap();
    assert_eq!(check(&guard, &token, "GET"), Err(CheckId::TokenIssuer));
    // The authority: at the other tenant's endpoints.
    let form = crate::world::obo_form("orders", &token, "api://billing/.default");
    assert_eq!(world.token_at(&elsewhere.to_string(), form).await.check(), "assertion.issuer");
    world.apply(vec![Change::Delete(Key::Tenant(elsewhere))]).await;
    assert_eq!(world.obo("orders", &token, "api://billing/.default").await.status.as_u16(), 200);
}
