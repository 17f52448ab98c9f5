//! The sidecar hears of cut-offs (issue "dropped on revocation events"): over real listeners, by another process, with the
//! stream cut and half open.
use crate::guards::{Way, number, percentile, revoke, tokens, until};
use crate::world::estate::{CONTOSO, app, secret};
use crate::world::stream::reader;
use crate::world::{HOST, World, text};
use deputize_core::chain::Chain;
use deputize_core::id::SessionId;
use deputize_core::ledger::Write;
use deputize_core::ports::Ledger;
use guard::{Allow, Fetch};
use http::{HeaderMap, Method};
use serde_json::{Value, json};
use sidecar::{Bind, Bound, Entra, File, Listeners, Metrics, Ports, Settings, Sidecar, Texas};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Orders' sidecar, with what it is asked by.
struct Beside {
    sidecar: Arc<Sidecar>,
    url: String,
    metrics: String,
    /// Microsoft's API, which judges by a contract.
    entra: String,
    fetch: Fetch,
    _listeners: Listeners,
}

impl Beside {
    async fn new(world: &World, way: &Way, cut_offs: &str) -> Self {
        let beside = Self::deaf(world, way, cut_offs).await;
        beside.sidecar.listen();
        beside
    }

    /// One that does not listen yet.
    async fn deaf(world: &World, way: &Way, cut_offs: &str) -> Self {
        let authority = format!("http://{}/{CONTOSO}", way.address);
        let file = format!(
            r#"
            [entra]
            bind = "127.0.0.1:0"
            [native]
            provider = "contoso"
            [cut_offs]
            {cut_offs}
            [DownstreamApis.Billing]
            Scopes = "api://billing/.default"
            [Sidecar.AllowOverrides]
            GetAuthorizationHeaderUnauthenticated = true
            [[provider]]
            name = "contoso"
            issuer = "{HOST}/{CONTOSO}/v2.0"
            token_endpoint = "{authority}/oauth2/v2.0/token"
            jwks_uri = "{authority}/discovery/v2.0/keys"
            client_id = "{}"
            secret = {{ env = "SECRET" }}
            token = "client-credentials"
            exchange = "on-behalf-of"
            events = "{}"
            "#,
            app("orders"),
            way.url
        );
        let variable = |name: &str| (name == "SECRET").then(|| secret("orders"));
        let settings = Settings::read(&variable, Some(toml::from_str::<File>(&file).unwrap())).unwrap();
        let allow = Allow { plain_loopback: true, ..Allow::INSIDE };
        let fetch = Fetch::builder().allow(allow).build().unwrap();
        let numbers = Mutex::new(testkit::Random::seeded(7));
        let random = move |bytes: &mut [u8]| {
            let mut numbers = numbers.lock().unwrap();
            bytes.fill_with(|| u8::try_from(numbers.below(256)).unwrap());
        };
        let network = Arc::new(fetch.clone());
        let ports = Ports {
            metadata: network.clone(),
            tokens: network.clone(),
            host: network,
            streams: fetch.clone(),
            clock: Arc::new(world.clock.clone()),
            random: Arc::new(random),
        };
        let sidecar = Sidecar::new(&settings, ports).unwrap();
        let bind = Bind::parse("127.0.0.1:0").unwrap();
        let bound = async || Bound::bind(&bind).await.unwrap();
        let (api, metrics, entra) = (bound().await, bound().await, bound().await);
        let [url, counted, validating] =
            [&api, &metrics, &entra].map(|bound| format!("http://{}", bound.address().unwrap()));
        let mut listeners = Listeners::new();
        listeners.add(api, None, Arc::new(Texas::new(Arc::clone(&sidecar), &settings.callers, &bind)));
        listeners.add(metrics, None, Arc::new(Metrics::new(Arc::clone(&sidecar))));
        let (told, place) = (settings.entra.as_ref().unwrap(), entra.address().unwrap());
        listeners.add(entra, None, Arc::new(Entra::new(&sidecar, &settings, told, &place, fetch.clone()).unwrap()));
        let metrics = format!("{counted}/metrics");
        Self { sidecar, url, metrics, entra: validating, fetch, _listeners: listeners }
    }

    async fn post(&self, path: &str, fields: Value) -> (u16, Value) {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", "application/json".parse().unwrap());
        let url = format!("{}/api/v1/{path}", self.url);
        let answer = self.fetch.send(Method::POST, &url, headers, fields.to_string().into()).await.unwrap();
        (answer.status.as_u16(), serde_json::from_slice(&answer.body).unwrap())
    }

    async fn exchange(&self, user: &str) -> (u16, Value) {
        let target = "api://billing/.default";
        self.post("token/exchange", json!({"identity_provider": "contoso", "target": target, "user_token": user})).await
    }

    /// Exchanges, and says whether the token was held.
    async fn is_held(&self, user: &str) -> bool {
        let before = self.sidecar.tokens().counters().hits;
        assert_eq!(self.exchange(user).await.0, 200);
        self.sidecar.tokens().counters().hits > before
    }

    /// Nothing if it is active, and else why not.
    async fn inactive(&self, token: &str) -> String {
        let answer = self.post("introspect", json!({"identity_provider": "contoso", "token": token})).await.1;
        assert_eq!(answer["active"].as_bool(), Some(answer["error"].is_null()), "{answer}");
        answer["error"].as_str().unwrap_or_default().to_owned()
    }

    /// The status of a token at the API that judges by a contract.
    async fn validated(&self, token: &str) -> u16 {
        self.at_entra("Validate", Some(token)).await.0
    }

    /// What Microsoft's API answers.
    async fn at_entra(&self, path: &str, token: Option<&str>) -> (u16, Value) {
        let mut headers = HeaderMap::new();
        if let Some(token) = token {
            headers.insert("authorization", format!("Bearer {token}").parse().unwrap());
        }
        let url = format!("{}/{path}", self.entra);
        let answer = self.fetch.send(Method::GET, &url, headers, String::new().into()).await.unwrap();
        (answer.status.as_u16(), serde_json::from_slice(&answer.body).unwrap())
    }

    async fn metric(&self, name: &str) -> u64 {
        let answer = self.fetch.get(&self.metrics).await.unwrap();
        let text = String::from_utf8(answer.body.to_vec()).unwrap();
        let line = text.lines().find(|line| line.starts_with(name) && line.contains("contoso"));
        line.unwrap_or_else(|| panic!("{name}: {text}")).rsplit(' ').next().unwrap().parse().unwrap()
    }

    async fn hears(&self) {
        while self.metric("deputize_events_current").await < 1 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn hears_nothing(&self, failures: u64) {
        while self.metric("deputize_events_failures").await <= failures {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn dropped(&self) -> u64 {
        self.sidecar.tokens().counters().cut_off
    }
}

fn session(world: &World, token: &str) -> SessionId {
    let aio = text(&crate::world::claims(token), "aio");
    world.crypto().open(&aio).and_then(|bytes| Chain::decode(&bytes)).unwrap().session
}

async fn world() -> World {
    World::with(|plan| plan.others.push(reader("orders"))).await
}

const TOLD: &str = "invalid token: RevokedToken";
const UNHEARD: &str = "invalid token: CutOffsUnavailable";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn x_14_a_sidecar_forgets_what_was_cut_off_and_nothing_else() {
    let world = world().await;
    let mut tasks = JoinSet::new();
    tasks.spawn(world.store.watch());
    let there = world.another_store();
    let way = Way::new(&world, &mut tasks).await;
    let beside = Beside::new(&world, &way, "").await;
    beside.hears().await;
    let ada = world.orders_token().await;
    let again = world.orders_token().await;
    let bob = world.access_token("web", "bob", "api://orders/access_as_user").await;
    let users = [&ada, &again, &bob];
    let held = async || {
        let mut held = Vec::new();
        for user in users {
            held.push(beside.is_held(user).await);
        }
        held
    };
    assert_eq!((held().await, held().await), (vec![false; 3], vec![true; 3]));
    for user in users {
        assert_eq!((beside.inactive(user).await, beside.validated(user).await), (String::new(), 200));
    }

    // Her session ends, at another process: the next exchange is the authority's to refuse.
    there.commit(vec![Write::RevokeSession(session(&world, &ada))]).await.unwrap();
    until("it forgets", || beside.dropped() == 1).await;
    let (status, refused) = beside.exchange(&ada).await;
    assert_eq!((status, &refused["error"]), (400, &json!("invalid_grant")), "{refused}");
    assert_eq!((beside.inactive(&ada).await.as_str(), beside.validated(&ada).await), (TOLD, 401), "seen before");
    for user in &users[1..] {
        assert!(beside.is_held(user).await, "another sign-in, another user");
        assert_eq!((beside.inactive(user).await, beside.validated(user).await), (String::new(), 200));
    }
    assert!(beside.metric("deputize_events_refused").await > 0);

    // The stream is half open: nobody says that nothing passes any more.
    way.stall();
    world.edit_user("ada", |user| user.account_enabled = false).await;
    until("it forgets", || beside.dropped() == 2).await;
    assert_eq!(beside.exchange(&again).await.0, 400);
    assert_eq!(beside.inactive(&again).await, TOLD);
    assert!(beside.is_held(&bob).await);

    // Whoever got the user's token is no client any more: nothing of it is left.
    world.edit_principal("web", |principal| principal.account_enabled = false).await;
    until("it forgets", || beside.dropped() == 3).await;
    assert_eq!(beside.inactive(&bob).await, TOLD);
    // A token that is introspected for the first time is judged by what was told before.
    world.edit_principal("web", |principal| principal.account_enabled = true).await;
    world.clock.advance(1);
    let new = world.access_token("web", "bob", "api://orders/access_as_user").await;
    assert_eq!((beside.inactive(&new).await, beside.is_held(&new).await), (String::new(), false));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn x_14_without_word_what_is_held_counts_for_a_while_and_introspection_says_as_before_unless_it_is_closed() {
    let world = world().await;
    let mut tasks = JoinSet::new();
    let mut way = Way::new(&world, &mut tasks).await;
    let open = Beside::new(&world, &way, "fail_static = 60").await;
    let closed = Beside::new(&world, &way, "closed = true").await;
    let ada = world.orders_token().await;
    // A long life is given on the word that it can be cut short.
    let long = {
        let mut claims = crate::world::claims(&ada);
        claims["exp"] = json!(claims["iat"].as_i64().unwrap() + 5_401);
        let key = &crate::world::keys::signing()[0];
        let header = crate::world::header(&ada);
        key.sign(&jose::Header::typ(header["typ"].as_str().unwrap()), claims.to_string().as_bytes()).unwrap()
    };
    for beside in [&open, &closed] {
        beside.hears().await;
        assert!(!beside.is_held(&ada).await);
        assert_eq!((beside.inactive(&ada).await, beside.inactive(&long).await), (String::new(), String::new()));
    }
    assert_eq!(open.metric("deputize_events_without_word").await, 0);

    let failures = [open.metric("deputize_events_failures").await, closed.metric("deputize_events_failures").await];
    way.cut().await;
    open.hears_nothing(failures[0]).await;
    closed.hears_nothing(failures[1]).await;
    world.clock.advance(60);
    assert!(open.is_held(&ada).await, "static for so long");
    assert_eq!(
        (open.metric("deputize_events_without_word").await, open.metric("deputize_events_current").await),
        (1, 0)
    );
    assert_eq!((closed.inactive(&ada).await, open.inactive(&long).await), (String::new(), String::new()));
    world.clock.advance(1);
    assert_eq!((open.inactive(&ada).await, open.inactive(&long).await.as_str()), (String::new(), UNHEARD));
    assert_eq!((closed.inactive(&ada).await.as_str(), closed.validated(&ada).await), (UNHEARD, 503));
    assert_eq!(open.validated(&ada).await, 200);
    // What the authority refuses meanwhile is not given out from what is held; what it gives is held as long.
    assert!(!open.is_held(&ada).await && open.is_held(&ada).await);
    world.clock.advance(61);
    world.edit_user("ada", |user| user.account_enabled = false).await;
    assert_eq!(open.exchange(&ada).await.0, 400);
    assert_eq!(open.inactive(&ada).await, "", "not told yet");

    way.mend().await;
    open.hears().await;
    closed.hears().await;
    assert_eq!((open.inactive(&ada).await, closed.inactive(&ada).await), (TOLD.to_owned(), TOLD.to_owned()));
}

/// What is held is gone, and what was introspected is refused, a moment after another process committed it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cut_offs_reach_the_sidecar_and_nothing_is_given_out_after_them() {
    let wanted = number("DEPUTIZE_CUT_OFFS");
    let world = world().await;
    let mut tasks = JoinSet::new();
    tasks.spawn(world.store.watch());
    let there = world.another_store();
    let way = Way::new(&world, &mut tasks).await;
    let beside = Beside::new(&world, &way, "").await;
    beside.hears().await;
    let live = tokens(&world, wanted.unwrap_or(5)).await;
    for token in &live {
        assert!(!beside.is_held(token).await && beside.inactive(token).await.is_empty());
    }
    let mut took = Vec::new();
    for (token, dropped) in live.iter().zip(1..) {
        assert!(beside.is_held(token).await, "until then it is");
        revoke(&world, &there, token).await;
        let from = Instant::now();
        until("it forgets", || beside.dropped() == dropped).await;
        took.push(from.elapsed());
        assert_eq!(beside.inactive(token).await, TOLD);
        assert_eq!(beside.exchange(token).await.0, 400);
    }
    took.sort_unstable();
    let (p50, p99) = (percentile(&took, 50), percentile(&took, 99));
    println!(
        "{} cut-offs by another process: p50 {p50:?}, p99 {p99:?} from commit to what is held being gone",
        took.len()
    );
    if wanted.is_some() {
        assert!(p99 < Duration::from_millis(300), "p99 is {p99:?}");
    }
}

/// The stream needs a role; without it, and after it was taken away, word is missing, and everything else goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_application_that_may_not_listen_is_served_without_word_until_it_may() {
    let world = World::new().await;
    let mut tasks = JoinSet::new();
    let way = Way::new(&world, &mut tasks).await;
    let beside = Beside::deaf(&world, &way, "").await;
    let ada = world.orders_token().await;
    assert_eq!(beside.inactive(&ada).await, "");
    beside.sidecar.listen();
    beside.hears_nothing(0).await;
    assert!(!beside.is_held(&ada).await && beside.is_held(&ada).await);
    let bob = world.access_token("web", "bob", "api://orders/access_as_user").await;
    assert_eq!(beside.inactive(&bob).await, "");
    world.put(reader("orders")).await;
    beside.hears().await;
    world.edit_user("ada", |user| user.account_enabled = false).await;
    until("it forgets", || beside.dropped() == 1).await;
    assert_eq!(beside.inactive(&ada).await, TOLD, "seen before it listened");
    assert_eq!(beside.inactive(&bob).await, "");
}

/// Work under a session key, at an authority that decides afresh each time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_that_outlives_its_request_goes_on_until_its_user_is_disabled() {
    const KEY: &str = "optionsOverride.AcquireTokenOptions.LongRunningWebApiSessionKey";
    let world = world().await;
    let mut tasks = JoinSet::new();
    tasks.spawn(world.store.watch());
    let way = Way::new(&world, &mut tasks).await;
    let beside = Beside::new(&world, &way, "").await;
    beside.hears().await;
    let ada = world.orders_token().await;
    let begun = beside.at_entra(&format!("AuthorizationHeader/Billing?{KEY}=AllocateForMe"), Some(&ada)).await;
    assert_eq!(begun.0, 200, "{begun:?}");
    let key = begun.1["longRunningWebApiSessionKey"].as_str().unwrap();
    let goes_on =
        async || beside.at_entra(&format!("AuthorizationHeaderUnauthenticated/Billing?{KEY}={key}"), None).await;
    let subject = |told: &(u16, Value)| {
        let header = told.1["authorizationHeader"].as_str().unwrap_or_else(|| panic!("{told:?}"));
        text(&crate::world::claims(header.strip_prefix("Bearer ").unwrap()), "oid")
    };
    let user = text(&crate::world::claims(&ada), "oid");
    assert_eq!(subject(&goes_on().await), user);
    // Her token has ended, and so have those that are held.
    world.clock.advance(7_200);
    assert_eq!(beside.at_entra("AuthorizationHeader/Billing", Some(&ada)).await.0, 401);
    assert_eq!(subject(&goes_on().await), user);
    // What is held under the key is cut off like everything else of hers.
    world.edit_user("ada", |user| user.account_enabled = false).await;
    until("it forgets", || beside.dropped() >= 1).await;
    let (status, refused) = goes_on().await;
    assert_eq!((status, &refused["error"]), (401, &json!("invalid_grant")), "{refused}");
    // An authority that knows no bound tokens gives none, and a bearer token is not passed off as one.
    let bob = world.access_token("web", "bob", "api://orders/access_as_user").await;
    let pop = "optionsOverride.AcquireTokenOptions.PopPublicKey=eyJraWQiOiJrZXkifQ";
    assert_eq!(beside.at_entra(&format!("AuthorizationHeader/Billing?{pop}"), Some(&bob)).await.0, 502);
}
