//! R8, R9 and R10: providers that are down, floods of names that no key has, introspection in parallel, and more users than the
//! cache has space for. Short here; `cargo xtask prove` runs the long forms, which also look at times and memory.
use crate::support::{self, Encoding, NOON, World, explicit};
use client::Sending;
use http::{Request, Response};
use jose::Algorithm;
use serde_json::{Value, json};
use sidecar::{Bind, Bound, Listeners, Ports, Settings, Sidecar, Texas};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use testkit::{Issuer, SetClock};
use tokio::task::JoinSet;

const UNKNOWN: &str = "token can not be validated with this identity provider";

/// Who ask at once for users' tokens.
const CALLERS: usize = 16;
/// So many minutes are looked at, every second one in a flood.
const MINUTES: usize = 6;

/// How much is asked for: what `cargo xtask prove` says, or little; and whether it was said.
fn amount(name: &str, short: usize) -> (usize, bool) {
    #[expect(clippy::disallowed_methods, reason = "how long the proof runs, chosen by `cargo xtask prove`")]
    let wanted = std::env::var(name);
    wanted.map_or((short, false), |count| (count.parse().unwrap(), true))
}

fn moment() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "a proof measures real time")]
    Instant::now()
}

/// Of a name that no key has; its signature is never looked at.
fn unknown(n: usize) -> String {
    use base64::Engine;
    let header = json!({ "alg": "ES256", "kid": format!("unknown-{n}") }).to_string();
    format!("{}.e30.AAAA", base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(header))
}

/// A sidecar whose provider gives tokens that name what they were got for, in this process.
struct Running {
    clock: SetClock,
    issuer: Issuer,
    sidecar: Arc<Sidecar>,
    url: String,
    network: fetch::Fetch,
    upstream: Arc<Upstream>,
    _listeners: Listeners,
}

/// The provider's token endpoint, without a network.
#[derive(Default)]
struct Upstream {
    asked: AtomicUsize,
    down: AtomicBool,
}

impl client::Transport for Upstream {
    fn send(&self, request: Request<client::Body>) -> Sending<'_> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move {
            if self.down.load(Ordering::Relaxed) {
                return Err(client::Cause::Connect.into());
            }
            let form = oauth::Form::decode(request.body()).unwrap();
            let user = support::claims(form.value("assertion").unwrap())["sub"].as_str().unwrap().to_owned();
            // As long as tokens are.
            let token = format!("{user}|{}|{}", form.value("scope").unwrap(), "x".repeat(700));
            let body = json!({ "token_type": "Bearer", "expires_in": 3_600, "access_token": token });
            Ok(Response::new(body.to_string().into_bytes()))
        })
    }
}

impl Running {
    async fn new(cache_bytes: u64) -> Self {
        let clock = SetClock::at(NOON);
        let mut issuers = HashMap::from([("entra_id", Issuer::start(clock.clone(), Algorithm::ES256).await.unwrap())]);
        let variables = explicit(&issuers);
        let issuer = issuers.remove("entra_id").unwrap();
        let settings = Settings::read(&|name| variables.get(name).cloned(), None).unwrap();
        let settings = Settings { cache_bytes, ..settings };
        let (network, upstream) = (support::fetch(), Arc::new(Upstream::default()));
        let ports = Ports {
            metadata: Arc::new(network.clone()),
            tokens: Arc::clone(&upstream) as _,
            host: Arc::clone(&upstream) as _,
            streams: network.clone(),
            clock: Arc::new(clock.clone()),
            random: Arc::new(|bytes: &mut [u8]| bytes.fill(7)),
        };
        let sidecar = Sidecar::new(&settings, ports).unwrap();
        let bound = Bound::bind(&Bind::parse("127.0.0.1:0").unwrap()).await.unwrap();
        let place = bound.address().unwrap();
        let url = format!("http://{place}/api/v1");
        let mut listeners = Listeners::new();
        listeners.add(bound, None, Arc::new(Texas::new(Arc::clone(&sidecar), &settings.callers, &place)));
        Self { clock, issuer, sidecar, url, network, upstream, _listeners: listeners }
    }

    async fn post(&self, path: &str, form: &[(&str, &str)]) -> (u16, Value) {
        let form = form.iter().fold(oauth::Form::default(), |form, (name, value)| form.with(name, value));
        let url = format!("{}/{path}", self.url);
        let answer = self.network.post_form(&url, http::HeaderMap::new(), form.encode()).await.unwrap();
        (answer.status.as_u16(), serde_json::from_slice(&answer.body).unwrap())
    }

    async fn introspect(&self, token: &str) -> Value {
        self.post("introspect", &[("identity_provider", "entra_id"), ("token", token)]).await.1
    }

    async fn exchange(&self, user: &str) -> (u16, Value) {
        self.post("token/exchange", &[("identity_provider", "entra_id"), ("target", "t"), ("user_token", user)]).await
    }

    /// A token of this user, good for a week.
    fn user(&self, n: usize) -> String {
        self.issuer.token(&json!({ "sub": format!("user-{n}"), "exp": NOON.0 + 700_000 }))
    }
}

/// Of many durations the one below which 99 of 100 are, in microseconds.
fn p99(mut took: Vec<Duration>) -> u128 {
    took.sort();
    took[took.len() * 99 / 100].as_micros()
}

/// Whatever the provider does for a day: what is known goes on, and what is not is refused as fast as ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r8_a_provider_that_is_down_for_a_day_fails_nothing_that_was_known() {
    let world = Arc::new(Running::new(16 << 20).await);
    let user = world.user(0);
    assert_eq!(world.introspect(&user).await["active"], true);
    assert_eq!(world.exchange(&user).await.0, 200);
    world.issuer.publish("down");
    world.upstream.down.store(true, Ordering::Relaxed);
    let fetched = world.issuer.key_fetches();
    // A new token of a key that is known, one that was seen, and one held: every five minutes of a day.
    for minutes in 0..288 {
        world.clock.advance(300);
        let new = world.user(minutes);
        for token in [&user, &new] {
            assert_eq!(world.introspect(token).await["active"], true, "after {} minutes", minutes * 5);
        }
        let (status, body) = world.exchange(&user).await;
        // 3 600 seconds less the leeway of 120.
        if minutes * 300 + 300 < 3_480 {
            assert_eq!(status, 200, "held, after {} minutes: {body}", minutes * 5);
        } else {
            assert_eq!((status, &body["error"]), (500, &json!("server_error")), "nothing is made up");
        }
    }
    assert!(world.issuer.key_fetches() - fetched <= 288, "one at most each time");
    world.clock.advance(1);
    for token in [&user, &world.user(1)] {
        assert_eq!(world.introspect(token).await["error"], UNKNOWN, "a day is the end of it");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r8_a_flood_of_unknown_keys_costs_two_fetches_a_minute_and_holds_up_nobody() {
    let (flood, long) = amount("DEPUTIZE_FLOOD", 3_000);
    let world = Arc::new(Running::new(16 << 20).await);
    let good = Arc::new((0..64).map(|n| world.user(n)).collect::<Vec<_>>());
    for token in good.iter() {
        assert_eq!(world.introspect(token).await["active"], true);
    }
    // In turn: minutes in which others ask for what is known, and minutes in which they ask for what no key has.
    let mut took = [Vec::new(), Vec::new()];
    for minute in 0..MINUTES {
        let (flooded, before) = (minute % 2 == 1, world.issuer.key_fetches());
        let each = flood * 2 / MINUTES / 4;
        let mut others = JoinSet::new();
        for caller in 0..4 {
            let (world, good) = (Arc::clone(&world), Arc::clone(&good));
            others.spawn(async move {
                for n in 0..each {
                    // A minute passes while they ask.
                    if caller == 0 && n % (each / 60).max(1) == 0 {
                        world.clock.advance(1);
                    }
                    if flooded {
                        let error = world.introspect(&unknown((minute * 4 + caller) * each + n)).await["error"].clone();
                        assert_eq!(error, UNKNOWN);
                    } else {
                        assert_eq!(world.introspect(&good[n % good.len()]).await["active"], true);
                    }
                    if long {
                        // As many a second as one core has time for beside the others.
                        tokio::time::sleep(Duration::from_micros(500)).await;
                    }
                }
            });
        }
        let mut each_took = Vec::new();
        while !others.is_empty() {
            let began = moment();
            assert_eq!(world.introspect(&good[each_took.len() % good.len()]).await["active"], true, "however many ask");
            each_took.push(began.elapsed());
            while let Some(ended) = others.try_join_next() {
                ended.unwrap();
            }
        }
        let fetches = world.issuer.key_fetches() - before;
        assert!(fetches <= 3, "{fetches} fetches in a minute");
        took[usize::from(flooded)].push(p99(each_took));
    }
    for times in &mut took {
        times.sort_unstable();
    }
    let [usual, flooded] = [took[0][MINUTES / 4], took[1][MINUTES / 4]];
    println!("R8 {flood} unknown keys: p99 of good tokens {usual} us, {flooded} us in the flood");
    // Of what a machine was slow at, a short test says nothing.
    assert!(!long || flooded * 10 <= usual * 12, "more than a fifth");
}

/// Texas took a write lock there: nobody was introspected while the keys of one token were fetched.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r9_introspection_waits_for_no_other_and_has_all_cores() {
    let (tokens, long) = amount("DEPUTIZE_INTROSPECTIONS", 600);
    let world = World::new().await;
    let issuer = world.issuer("entra_id");
    assert!(world.is_active("entra_id", &issuer.token(&json!({}))).await);

    // Somebody waits for keys that do not come.
    let hanging = Arc::new(tokio::sync::Notify::new());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let arrived = Arc::clone(&hanging);
    let silent = tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((socket, _)) = listener.accept().await {
            held.push(socket);
            arrived.notify_one();
        }
    });
    let slow = World::with(
        &["entra_id", "tokenx"],
        |issuers| {
            let mut variables = explicit(issuers);
            variables.insert("TOKEN_X_JWKS_URI".into(), format!("http://{address}/jwks"));
            variables
        },
        None,
    )
    .await;
    let slow = Arc::new(slow);
    let waiting = {
        let slow = Arc::clone(&slow);
        tokio::spawn(async move { slow.introspect("tokenx", &unknown(0), Encoding::Json).await })
    };
    hanging.notified().await;
    for n in 0..64 {
        let token = slow.issuer("entra_id").token(&json!({ "jti": n.to_string() }));
        assert!(slow.is_active("entra_id", &token).await, "nobody waits for another provider's keys");
    }
    silent.abort();
    waiting.abort();

    // Each token for the first time: 64 callers at once have more than one core's worth.
    let world = Arc::new(Running::new(16 << 20).await);
    assert_eq!(world.introspect(&world.user(0)).await["active"], true);
    let mut rates = Vec::new();
    for callers in [1, 64] {
        let made: Vec<String> =
            (0..tokens).map(|n| world.issuer.token(&json!({ "jti": format!("{callers}-{n}") }))).collect();
        let made = Arc::new(made);
        let began = moment();
        let mut all = JoinSet::new();
        for caller in 0..callers {
            let (world, made) = (Arc::clone(&world), Arc::clone(&made));
            all.spawn(async move {
                for token in made.iter().skip(caller).step_by(callers) {
                    assert_eq!(world.introspect(token).await["active"], true);
                }
            });
        }
        while let Some(ended) = all.join_next().await {
            ended.unwrap();
        }
        rates.push(f64::from(u32::try_from(tokens).unwrap()) / began.elapsed().as_secs_f64());
    }
    println!(
        "R9 introspections a second: {:.0} of one caller, {:.0} of 64, {:.2} times",
        rates[0],
        rates[1],
        rates[1] / rates[0]
    );
    assert!(!long || rates[1] >= 1.8 * rates[0], "less than 1.8 times");
}

/// Memory of this process that is resident, in MiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() / 1_024
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r10_more_users_than_there_is_space_for_stay_within_the_budget_and_never_meet() {
    let (users, long) = amount("DEPUTIZE_USER_TOKENS", 6_000);
    let budget: u64 = if long { 64 << 20 } else { 1 << 20 };
    let world = Arc::new(Running::new(budget).await);
    let mut seen = Vec::new();
    for tenth in 0..10 {
        let mut all = JoinSet::new();
        for caller in 0..CALLERS {
            let world = Arc::clone(&world);
            all.spawn(async move {
                for n in (tenth * users / 10 + caller..(tenth + 1) * users / 10).step_by(CALLERS) {
                    let (user, name) = (world.user(n), format!("user-{n}"));
                    assert_eq!(world.introspect(&user).await["sub"], name.as_str());
                    // Twice: as it is got, and as it is held.
                    for _ in 0..2 {
                        let (status, body) = world.exchange(&user).await;
                        let whose = body["access_token"].as_str().unwrap_or_default().split('|').next();
                        assert_eq!((status, whose), (200, Some(name.as_str())));
                    }
                }
            });
        }
        while let Some(ended) = all.join_next().await {
            ended.unwrap();
        }
        let held = world.sidecar.tokens().counters();
        assert!(held.bytes <= budget && held.entries > 100, "{held:?}");
        seen.push(resident());
    }
    let held = world.sidecar.tokens().counters();
    assert!(held.evictions > 0, "there was no space for all: {held:?}");
    assert!(world.upstream.asked.load(Ordering::Relaxed) >= users);
    println!("R10 {users} users' tokens: {} MiB of them held, resident MiB by tenths {seen:?}", held.bytes >> 20);
    // The provider, the callers and the test are in this process too.
    let (third, last) = (seen[3], seen[9]);
    assert!(!long || (last <= 256 && last * 100 <= third * 105), "within 256 MiB, and flat: {seen:?}");
}
