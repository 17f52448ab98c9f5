//! Cut-offs: what a guard takes from its authority's stream, whom it believes, and what it does without.
use crate::common::{ISS, NOON, TID, World, contract, contract_json, sign};
use decision::CheckId;
use decision::contract::Contract;
use deputize_guard::{Allow, Events, EventsStatus, Fetch, Guard, SetupError};
use jose::{Algorithm, Header, KeySet, SigningKey};
use oauth::Secret;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use testkit::SetClock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

const CAEP: &str = "https://schemas.openid.net/secevent/caep/event-type/session-revoked";

/// An authority that says what the test says: one answer for each connection, each then held open.
struct Authority {
    world: World,
    url: String,
    answers: Arc<Mutex<Vec<String>>>,
    heads: Arc<Mutex<Vec<String>>>,
    _tasks: JoinSet<()>,
}

impl Authority {
    async fn new(contract: Contract) -> Self {
        let key = SigningKey::generate(Algorithm::ES256).unwrap();
        let clock = SetClock::at(NOON);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/events", listener.local_addr().unwrap());
        let fetch = Fetch::builder().allow(Allow { plain_loopback: true, ..Allow::INSIDE }).build().unwrap();
        let tokens = || async { Ok(Secret::new("the.apis.token")) };
        let events = Events::new(ISS.trim_end_matches("/v2.0"), fetch, tokens).at(&url);
        let guard = Guard::builder(contract, Arc::new(clock.clone()))
            .keys(ISS, KeySet::from_keys(vec![key.verifying_key()]))
            .events(events)
            .build()
            .unwrap();
        let (answers, heads) = (Arc::<Mutex<Vec<String>>>::default(), Arc::<Mutex<Vec<String>>>::default());
        let mut tasks = JoinSet::new();
        tasks.spawn(guard.listen());
        let (saying, seen) = (Arc::clone(&answers), Arc::clone(&heads));
        tasks.spawn(async move {
            let mut held = Vec::new();
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut head = vec![0; 4_096];
                let length = stream.read(&mut head).await.unwrap();
                let head = String::from_utf8_lossy(&head[..length]).into_owned();
                let answer = saying.lock().unwrap().pop();
                seen.lock().unwrap().push(head);
                let answer = answer.unwrap_or_else(|| "HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n".into());
                let _ = stream.write_all(answer.as_bytes()).await;
                held.push(stream);
            }
        });
        Self { world: World { key, clock, guard }, url, answers, heads, _tasks: tasks }
    }

    /// What the next connection is told.
    fn say(&self, events: &str) {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
        self.answers.lock().unwrap().push(format!("{head}{events}"));
    }

    fn set(&self, changes: Value) -> String {
        let mut claims = json!({
            "iss": ISS, "aud": ["bbbbbbbb-0000-4000-8000-00000000000b"], "iat": NOON, "jti": "1",
            "sub_id": {"format": "complex", "tenant": {"format": "opaque", "id": TID}},
            "events": {CAEP: {"event_timestamp": NOON, "change": 7}},
        });
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        sign_as(&self.world.key, "secevent+jwt", &claims)
    }

    async fn until(&self, holds: impl Fn(&EventsStatus) -> bool) -> EventsStatus {
        timeout(Duration::from_secs(30), async {
            loop {
                let status = self.world.guard.events().remove(0);
                if holds(&status) {
                    return status;
                }
                sleep(Duration::from_millis(5)).await;
            }
        })
        .await
        .unwrap_or_else(|_| panic!("{:?}", self.world.guard.events()))
    }

    fn check(&self, changes: Value) -> Result<(), CheckId> {
        self.world.try_get("/invoices", changes).map(drop).map_err(|refused| refused.check())
    }
}

fn sign_as(key: &SigningKey, typ: &str, claims: &Value) -> String {
    key.sign(&Header::typ(typ), claims.to_string().as_bytes()).unwrap()
}

fn event(set: &str) -> String {
    format!("event: cut-off\nid: 7\ndata: {set}\n\nevent: current\nid: 8\ndata:\n\n")
}

fn user(sub: &str) -> Value {
    json!({"sub_id": {"format": "complex", "tenant": {"format": "opaque", "id": TID},
        "user": {"format": "iss_sub", "iss": ISS, "sub": sub}}})
}

#[tokio::test]
async fn a_live_token_is_refused_once_it_is_cut_off_and_a_newer_one_is_not() {
    let authority = Authority::new(contract()).await;
    let old = || json!({"rh": "1.6.s.g"});
    assert_eq!(authority.check(old()), Ok(()));
    authority.say(&event(&authority.set(user("pairwise"))));
    let status = authority.until(|status| status.current_at.is_some()).await;
    assert_eq!((status.received, status.held, status.place, &status.fault), (1, 1, 8, &None));
    assert_eq!(authority.check(old()), Err(CheckId::TokenRevoked));
    assert_eq!(authority.check(json!({"rh": "1.7.s.g"})), Ok(()), "it was issued with the change in view");
    assert_eq!(authority.check(json!({"rh": "1.6.s.g", "sub": "another"})), Ok(()));
    assert_eq!(authority.until(|status| status.refused > 0).await.refused, 1);
    let head = authority.heads.lock().unwrap().first().unwrap().to_lowercase();
    assert!(head.starts_with("get /events ") && head.contains("authorization: bearer the.apis.token"), "{head}");
}

/// Whether the client can answer decides the form of the challenge, never whether it is refused.
#[tokio::test]
async fn who_can_meet_a_challenge_is_asked_for_a_token_from_after_the_change() {
    let authority = Authority::new(contract()).await;
    authority.say(&event(&authority.set(json!({}))));
    authority.until(|status| status.current_at.is_some()).await;
    let refused = |changes| authority.world.try_get("/invoices", changes).unwrap_err();
    let told = refused(json!({"xms_cc": ["CP1"]})).challenges();
    assert_eq!((told.len(), told[0].param("error")), (1, Some("insufficient_claims")));
    let claims = oauth::challenge::decode_claims(told[0].param("claims").unwrap()).unwrap();
    let claims: Value = serde_json::from_str(&claims).unwrap();
    assert_eq!(claims, json!({"access_token": {"nbf": {"essential": true, "value": NOON.0.to_string()}}}));
    for cannot in [json!({}), json!({"xms_cc": ["cp2"]}), json!({"xms_cc": "cp1"})] {
        let refused = refused(cannot);
        assert_eq!((refused.status().as_u16(), refused.check()), (401, CheckId::TokenRevoked));
        assert_eq!(refused.challenges()[0].param("error"), Some("invalid_token"));
        assert_eq!(refused.challenges()[0].param("claims"), None);
    }
}

/// An event that cannot be believed is neither obeyed nor passed over: the stream counts as lost.
#[tokio::test]
async fn events_of_anybody_else_are_not_believed_and_not_passed_over() {
    let authority = Authority::new(contract()).await;
    let key = &authority.world.key;
    let stranger = SigningKey::generate(Algorithm::ES256).unwrap();
    let good = authority.set(json!({}));
    let claims: Value = {
        use base64::Engine as _;
        let payload = good.split('.').nth(1).unwrap();
        serde_json::from_slice(&base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
    };
    let access_token = sign(key, &crate::common::claims());
    let bad = [
        (sign_as(&stranger, "secevent+jwt", &claims), "not the authority's"),
        (sign_as(key, "JWT", &claims), "no security event token"),
        (access_token, "no security event token"),
        (authority.set(json!({"aud": "api://another"})), "another audience"),
        (authority.set(json!({"iss": "https://login.example/another/v2.0"})), "another issuer"),
        (authority.set(json!({"events": {CAEP: {}}})), "does not say when"),
        (authority.set(json!({"events": null})), "claims"),
        (format!("{good}x"), ""),
        ("nonsense".to_owned(), ""),
    ];
    for (n, (set, reason)) in bad.iter().enumerate() {
        authority.say(&event(set));
        let status =
            authority.until(|status| status.connections > n as u64 && status.failures >= status.connections).await;
        let fault = status.fault.unwrap_or_default();
        assert_eq!((status.held, status.current_at), (0, None), "{reason}: {fault}");
    }
    // Another tenant's subject, or an event of another kind, asks nothing.
    let elsewhere = json!({"sub_id": {"format": "complex", "tenant": {"format": "opaque", "id": "another"}}});
    let other = json!({"events": {"https://schemas.openid.net/secevent/caep/event-type/credential-change": {}}});
    authority.say(&format!("{}{}", event(&authority.set(elsewhere)), event(&authority.set(other))));
    let status = authority.until(|status| status.current_at.is_some()).await;
    assert_eq!((status.held, status.fault), (0, None));
    assert_eq!(authority.check(json!({})), Ok(()));
}

/// A stream that ends after some octets of what it would have said.
fn cut_after(events: &str, length: usize) -> String {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close";
    format!("{head}\r\ncontent-length: {length}\r\n\r\n{}", &events[..length])
}

/// Told again from the same place, whole: what was half said is not half believed, and nothing is passed over.
#[tokio::test]
async fn a_stream_that_is_cut_anywhere_loses_nothing() {
    let authority = Authority::new(contract()).await;
    let (ada, bob) = (authority.set(user("ada")), authority.set(user("bob")));
    let text = format!("event: cut-off\nid: 7\ndata: {ada}\n\nevent: cut-off\nid: 9\ndata: {bob}\n\n");
    let (first, second) = (text.find("\n\n").unwrap() + 2, text.len());
    // Inside its kind, its token, before its last line end; between the two, and inside the second.
    let cuts = [3, 60, first - 1, first, first + 60, second - 1];
    for (n, length) in (1_u64..).zip(cuts) {
        authority.answers.lock().unwrap().push(cut_after(&text, length));
        let status = authority.until(|status| status.connections >= n && status.failures >= n).await;
        let told = if length >= first { (1, 7) } else { (0, 0) };
        assert_eq!((status.held, status.place, status.current_at), (told.0, told.1, None), "cut after {length}");
    }
    authority.say(&format!("event: cut-off\nid: 9\ndata: {bob}\n\nevent: current\nid: 9\ndata:\n\n"));
    let status = authority.until(|status| status.current_at.is_some()).await;
    assert_eq!((status.held, status.place), (2, 9));
    let heads = authority.heads.lock().unwrap().clone();
    let asked = |head: &String| head.to_lowercase().lines().any(|line| line == "last-event-id: 7");
    assert!(!asked(&heads[0]) && heads.last().is_some_and(asked), "{heads:?}");
}

/// Places are not signed. Whatever they say, what was told is held, and the later of two counts.
#[tokio::test]
async fn places_that_lie_and_events_in_another_order_take_nothing_back() {
    let authority = Authority::new(contract()).await;
    let at = |sub: &str, change: u64, at: i64| {
        let mut changes = user(sub);
        changes["events"] = json!({CAEP: {"event_timestamp": at, "change": change}});
        authority.set(changes)
    };
    let ada = "ada";
    assert_eq!(authority.check(json!({"sub": ada, "rh": "1.8.s"})), Ok(()));
    let (new, old) = (at(ada, 9, NOON.0), at(ada, 3, NOON.0 - 500));
    let told = [("9", &new), ("3", &old), ("9", &new), ("3", &old)]
        .map(|(place, set)| format!("event: cut-off\nid: {place}\ndata: {set}\n\n"));
    let no_places = ["", "-1", "1e3", "0x10", "18446744073709551616", "7\u{0}", "\u{661}", "7 8", &"9".repeat(5_000)]
        .map(|id| format!("id: {id}\ndata: x\n\nid: {id}\nevent: unknown\ndata: {new}\n\n"));
    authority.say(&format!("{}{}event: current\ndata:\n\n", told.concat(), no_places.concat()));
    let status = authority.until(|status| status.current_at.is_some()).await;
    assert_eq!((status.held, status.place, status.received), (1, 3, 4));
    assert_eq!(authority.check(json!({"sub": ada, "rh": "1.8.s"})), Err(CheckId::TokenRevoked));
    assert_eq!(authority.check(json!({"sub": ada, "rh": "1.9.s"})), Ok(()), "from after the change");
    assert_eq!(authority.check(json!({"sub": "bob", "rh": "1.8.s"})), Ok(()));
}

#[tokio::test]
async fn without_the_stream_marked_routes_are_closed_after_their_time_and_others_go_on_counted() {
    let mut all = contract_json();
    all["fail_static"] = json!(30);
    all["routes"][3]["live_cut_offs"] = json!(true);
    let contract: Contract = serde_json::from_value(all).unwrap();
    let authority = Authority::new(contract).await;
    let token = authority.world.token(json!({}));
    let get = |path| {
        let checked = authority.world.guard.try_check(Some(&format!("Bearer {token}")), "GET", path).unwrap();
        checked.map(drop).map_err(|refused| (refused.check(), refused.status().as_u16()))
    };
    let closed = Err((CheckId::CutOffsCurrent, 503));
    assert_eq!((get("/whoami"), get("/invoices")), (closed, Ok(())), "it has not begun");
    authority.say("event: current\nid: 3\ndata:\n\n");
    authority.until(|status| status.current_at.is_some()).await;
    assert_eq!((get("/whoami"), get("/invoices")), (Ok(()), Ok(())));
    authority.world.clock.advance(30);
    assert_eq!(get("/whoami"), Ok(()), "static for so long");
    authority.world.clock.advance(1);
    assert_eq!((get("/whoami"), get("/invoices")), (closed, Ok(())));
    let status = authority.world.guard.events().remove(0);
    assert_eq!((status.unavailable, status.let_in), (2, 2));
    // The next connection goes on where this one was.
    authority.say(&event(&authority.set(user("pairwise"))));
    authority.until(|status| status.held == 1).await;
    assert!(get("/whoami").is_err_and(|(check, _)| check == CheckId::TokenRevoked));
    assert!(authority.heads.lock().unwrap().iter().any(|head| head.to_lowercase().contains("last-event-id: 3")));
    assert!(authority.url.starts_with("http://127.0.0.1"));
}

/// A connection that is taken and never answered is no stream: it is given up like one that falls silent.
#[tokio::test]
async fn an_authority_that_takes_a_connection_and_says_nothing_is_asked_again() {
    let authority = Authority::new(contract()).await;
    authority.say("event: current\nid: 3\ndata:\n\n");
    authority.answers.lock().unwrap().push(String::new());
    authority.until(|status| status.fault.as_deref() == Some("it does not answer")).await;
    let status = authority.until(|status| status.current_at.is_some()).await;
    assert_eq!((status.connections, status.place), (1, 3));
}

/// A long life is given on the word that it can be cut short: where that is not so, on any route, the token is not taken.
#[tokio::test]
async fn a_long_lived_token_is_good_only_while_its_cut_offs_arrive() {
    let authority = Authority::new(contract()).await;
    let long = |more: Value| {
        let mut claims = json!({"exp": NOON.plus(5_401)});
        claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        authority.check(claims)
    };
    let closed = Err(CheckId::CutOffsCurrent);
    assert_eq!((long(json!({})), authority.check(json!({"exp": NOON.plus(5_400)}))), (closed, Ok(())), "not begun");
    authority.say("event: current\nid: 3\ndata:\n\n");
    authority.until(|status| status.current_at.is_some()).await;
    assert_eq!((long(json!({})), long(json!({"xms_cc": ["cp1"]}))), (Ok(()), Ok(())));
    authority.world.clock.advance(60);
    assert_eq!(long(json!({})), Ok(()), "static for so long");
    authority.world.clock.advance(1);
    assert_eq!((long(json!({})), authority.check(json!({}))), (closed, Ok(())));
    let status = authority.world.guard.events().remove(0);
    assert_eq!((status.unavailable, status.let_in), (2, 2), "and counted");
    // A guard that does not subscribe: whose client can be told of a cut-off was promised that somebody tells of it. Others'
    // tokens, such as those of Entra's managed identities, live as their issuer says.
    let world = World::new();
    let at = |claims| world.try_get("/invoices", claims).map(drop).map_err(|refused| refused.check());
    assert_eq!(at(json!({"exp": NOON.plus(86_400), "xms_cc": ["cp1"]})), closed);
    assert_eq!(at(json!({"exp": NOON.plus(5_400), "xms_cc": ["cp1"]})), Ok(()));
    assert_eq!(at(json!({"exp": NOON.plus(86_400)})), Ok(()));
    let refused = world.try_get("/invoices", json!({"exp": NOON.plus(86_400), "xms_cc": ["cp1"]})).unwrap_err();
    let failed = refused.verdict().failed().unwrap();
    assert!(failed.expected.contains("lives longer than 5400 s"), "{failed:?}");
    assert_eq!((refused.status().as_u16(), &*failed.actual), (503, "no subscription for this issuer"));
    // Unless its contract says how long tokens may live: issuers elsewhere have no such stream.
    let world = World::with(Contract { max_lifetime: Some(86_400), ..contract() });
    let at = |claims| world.try_get("/invoices", claims).map(drop).map_err(|refused| refused.check());
    assert_eq!(at(json!({"exp": NOON.plus(86_400), "xms_cc": ["cp1"]})), Ok(()));
}

#[test]
fn a_guard_that_could_never_serve_a_route_is_not_made() {
    let key = SigningKey::generate(Algorithm::ES256).unwrap();
    let keys = || KeySet::from_keys(vec![key.verifying_key()]);
    let clock = Arc::new(SetClock::at(NOON));
    let mut all = contract_json();
    all["routes"][0]["live_cut_offs"] = json!(true);
    let needs: Contract = serde_json::from_value(all).unwrap();
    let made = Guard::builder(needs, clock.clone()).keys(ISS, keys()).build();
    assert_eq!(made.unwrap_err(), SetupError::NoEvents("GET /invoices".into()));
    let elsewhere = "https://login.example/22222222-2222-4222-8222-222222222222";
    let tokens = || async { Err("none".to_owned()) };
    let events = Events::new(elsewhere, Fetch::builder().build().unwrap(), tokens);
    let made = Guard::builder(contract(), clock).keys(ISS, keys()).events(events).build();
    assert_eq!(made.unwrap_err(), SetupError::EventsIssuer(elsewhere.into()));
}
