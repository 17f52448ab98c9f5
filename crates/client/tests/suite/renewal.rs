//! What happens to a token that is held: renewed ahead, discarded, cut off, refused; and what is counted.
use crate::support::{Authority, Hands, NOON, build, issued, jwt, orders};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use client::{Ask, Client, CutOff, Endpoints, Error, TokenCache};
use decision::{Clock, Timestamp};
use oauth::Secret;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

/// Issues a new token each time, of this life.
fn numbered(life: i64) -> Arc<Authority> {
    let n = AtomicUsize::new(0);
    Authority::new(move |_, _| issued(&format!("t{}", n.fetch_add(1, SeqCst)), life))
}

async fn app(client: &Client) -> String {
    let answered = client.ask(&Ask::application("a")).await.unwrap();
    answered.token.access_token.expose().to_owned()
}

/// Until what is under way has landed.
async fn settled() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_token_in_use_is_renewed_ahead_and_nobody_waits() {
    let (authority, clock) = (numbered(3600), Hands::at(NOON));
    let client = build(orders(), &authority, &clock);
    assert_eq!(app(&client).await, "t0");
    clock.forward(2_783);
    assert_eq!(app(&client).await, "t0");
    settled().await;
    assert_eq!(authority.calls(), 1, "more than 20 % of what is kept is left");
    clock.forward(3_132 - 2_783);
    for _ in 0..5 {
        assert_eq!(app(&client).await, "t0", "given out while it is renewed");
    }
    settled().await;
    assert_eq!(authority.calls(), 2, "once");
    assert_eq!(app(&client).await, "t1");
    assert_eq!(client.cache().counters().renewals, 1);
    // Unused, it is not renewed, and ends.
    clock.forward(3_480);
    settled().await;
    assert_eq!(authority.calls(), 2);
    assert_eq!(app(&client).await, "t2");
}

#[tokio::test]
async fn an_outage_shorter_than_the_window_is_not_seen() {
    let down = Arc::new(AtomicI64::new(0));
    let (state, n) = (Arc::clone(&down), AtomicUsize::new(0));
    let authority = Authority::new(move |_, _| match state.load(SeqCst) {
        0 => issued(&format!("t{}", n.fetch_add(1, SeqCst)), 3600),
        1 => (0, Value::Null),
        status => (u16::try_from(status).unwrap(), json!("<html>")),
    });
    let clock = Hands::at(NOON);
    let client = build(orders(), &authority, &clock);
    app(&client).await;
    clock.forward(3_135);
    for fault in [1, 503, 1, 500] {
        down.store(fault, SeqCst);
        let before = authority.calls();
        for _ in 0..3 {
            assert_eq!(app(&client).await, "t0");
            settled().await;
        }
        assert_eq!(authority.calls(), before + 1, "tried, and not at every request");
        clock.forward(10);
    }
    down.store(0, SeqCst);
    assert_eq!(app(&client).await, "t0");
    settled().await;
    assert_eq!(app(&client).await, "t1");
    // And one that lasts is seen when the token has ended, not before.
    down.store(1, SeqCst);
    clock.forward(3_479);
    assert_eq!(app(&client).await, "t1");
    settled().await;
    clock.forward(1);
    assert!(matches!(client.ask(&Ask::application("a")).await, Err(Error::Unreachable(_))));
}

#[tokio::test]
async fn what_ends_with_its_subject_token_is_not_renewed() {
    let (authority, clock) = (numbered(3600), Hands::at(NOON));
    let client = build(orders(), &authority, &clock);
    let user = jwt("ada", NOON + 1_000);
    for _ in 0..10 {
        client.ask(&Ask::on_behalf_of(&user, "a")).await.unwrap();
        settled().await;
        clock.forward(99);
    }
    assert_eq!(authority.calls(), 1, "a new one would end at the same moment");
    clock.forward(10);
    client.ask(&Ask::on_behalf_of(&user, "a")).await.unwrap();
    assert_eq!(authority.calls(), 2, "not given out after it");
}

#[tokio::test]
async fn a_definite_no_at_a_renewal_ends_what_is_held_and_a_wrong_credential_does_not() {
    for (refusal, ends) in [
        (json!({"error": "invalid_grant"}), true),
        (json!({"error": "interaction_required", "claims": "{\"access_token\":{}}"}), true),
        (json!({"error": "invalid_grant", "suberror": "consent_required"}), true),
        (json!({"error": "invalid_client"}), false),
        (json!({"error": "temporarily_unavailable"}), false),
    ] {
        let n = AtomicUsize::new(0);
        let row = refusal.to_string();
        let authority =
            Authority::new(
                move |_, _| {
                    if n.fetch_add(1, SeqCst) == 0 { issued("t0", 3600) } else { (400, refusal.clone()) }
                },
            );
        let clock = Hands::at(NOON);
        let client = build(orders(), &authority, &clock);
        app(&client).await;
        clock.forward(3_135);
        assert_eq!(app(&client).await, "t0", "{row}");
        settled().await;
        assert_eq!(client.ask(&Ask::application("a")).await.is_err(), ends, "{row}");
    }
}

#[tokio::test]
async fn t4_a_fresh_question_discards_what_is_held_and_callers_at_once_still_share() {
    let (authority, clock) = (numbered(3600), Hands::at(NOON));
    let client = build(orders(), &authority, &clock);
    app(&client).await;
    let crowd: Vec<_> = (0..10)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.ask(&Ask::application("a").fresh(true)).await.unwrap() })
        })
        .collect();
    for one in crowd {
        let answered = one.await.unwrap();
        assert_eq!((answered.token.access_token.expose(), answered.cached), ("t1", false));
    }
    assert_eq!(app(&client).await, "t1");
    assert_eq!(authority.calls(), 2);
}

#[tokio::test]
async fn refusals_that_stay_are_remembered_for_moments_and_a_fresh_question_asks_all_the_same() {
    for (body, remembered) in [
        (json!({"error": "invalid_grant", "error_codes": [50105]}), true),
        (json!({"error": "invalid_grant", "error_codes": [501_051]}), true),
        (json!({"error": "invalid_target"}), true),
        (json!({"error": "invalid_scope"}), true),
        (json!({"error": "invalid_grant"}), false),
        (json!({"error": "invalid_client"}), false),
        (json!({"error": "interaction_required", "claims": "{}"}), false),
    ] {
        let row = body.to_string();
        let authority = Authority::new(move |_, _| (400, body.clone()));
        let clock = Hands::at(NOON);
        let client = build(orders(), &authority, &clock);
        for _ in 0..3 {
            client.ask(&Ask::application("a")).await.unwrap_err();
        }
        assert_eq!(authority.calls(), if remembered { 1 } else { 3 }, "{row}");
        assert_eq!(client.cache().counters().negative_hits, if remembered { 2 } else { 0 });
        if remembered {
            client.ask(&Ask::application("a").fresh(true)).await.unwrap_err();
            assert_eq!(authority.calls(), 2, "{row}");
            clock.forward(15);
            client.ask(&Ask::application("a")).await.unwrap_err();
            assert_eq!(authority.calls(), 3, "{row}");
        }
    }
    // At status 500 the same words are a failure, and not remembered.
    let authority = Authority::new(|_, _| (500, json!({"error": "invalid_scope"})));
    let client = build(orders(), &authority, &Hands::at(NOON));
    for calls in 1..4 {
        client.ask(&Ask::application("a")).await.unwrap_err();
        assert_eq!(authority.calls(), calls);
    }
}

fn token(claims: Value) -> String {
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.sig", part(json!({"alg": "ES256", "kid": "key-1"})), part(claims))
}

/// Ada's, Bob's and one that says nothing: as they come in at Orders, in the names that Orders knows.
fn subjects() -> [String; 3] {
    let of = |user: &str| {
        let rh = format!("1.6.session-of-{user}.grant-1.grant-of-{user}");
        token(json!({"tid": "contoso", "sub": user, "azp": "web", "rh": rh}))
    };
    [of("ada"), of("bob"), "opaque".to_owned()]
}

#[tokio::test]
async fn x_14_a_cut_off_ends_the_tokens_that_it_is_about_and_no_others() {
    let authority = Authority::new(|_, form| match form.value("assertion") {
        None => issued(&token(json!({"tid": "contoso", "azp": "orders", "sub": "orders-sp"})), 3600),
        // For another API, in its names.
        Some(_) => issued(&token(json!({"tid": "contoso", "sub": "pairwise", "azp": "orders", "rh": "1.7.s.g"})), 3600),
    });
    let cut = |set: fn(&mut CutOff, Option<String>), name: &str| {
        let mut cut_off = CutOff::default();
        set(&mut cut_off, Some(name.to_owned()));
        cut_off
    };
    let both = CutOff { user: Some("ada".into()), application: Some("orders".into()), ..CutOff::default() };
    let neither = CutOff { user: Some("ada".into()), application: Some("others".into()), ..CutOff::default() };
    // What is still held afterwards: Ada's, Bob's, the one that says nothing and so may be anybody's, the application's.
    for (cut_off, held) in [
        (cut(|c, n| c.user = n, "ada"), [false, true, false, true]),
        (cut(|c, n| c.user = n, "nobody"), [true, true, false, true]),
        (cut(|c, n| c.session = n, "session-of-bob"), [true, false, false, true]),
        (cut(|c, n| c.grant = n, "grant-of-ada"), [false, true, false, true]),
        (cut(|c, n| c.grant = n, "grant-1"), [false, false, false, true]),
        (cut(|c, n| c.application = n, "orders"), [false; 4]),
        (cut(|c, n| c.application = n, "web"), [false, false, false, true]),
        (cut(|c, n| c.tenant = n, "contoso"), [false; 4]),
        (cut(|c, n| c.tenant = n, "fabrikam"), [true, true, false, true]),
        (cut(|c, n| c.key = n, "key-1"), [false; 4]),
        (cut(|c, n| c.key = n, "key-2"), [true, true, false, true]),
        (both, [false, true, false, true]),
        (neither, [true, true, false, true]),
        (CutOff::default(), [false; 4]),
    ] {
        let client = build(orders(), &authority, &Hands::at(NOON));
        let users = subjects().map(Secret::new);
        let ask = async |n: usize| {
            let ask = users.get(n).map_or(Ask::application("a"), |user| Ask::on_behalf_of(user, "a"));
            client.ask(&ask).await.unwrap().cached
        };
        for n in 0..4 {
            assert!(!ask(n).await);
        }
        client.cut_off(std::slice::from_ref(&cut_off));
        let after = [ask(0).await, ask(1).await, ask(2).await, ask(3).await];
        assert_eq!(after, held, "{cut_off:?}");
        let gone = u64::try_from(held.iter().filter(|held| !**held).count()).unwrap();
        assert_eq!(client.cache().counters().cut_off, gone);
    }
}

fn ada() -> CutOff {
    CutOff { user: Some("ada".into()), ..CutOff::default() }
}

#[tokio::test]
async fn x_14_a_token_on_its_way_when_its_user_is_cut_off_is_not_kept() {
    // However many others are cut off with her.
    for strangers in [0, 10_000] {
        let authority = Authority::closed(|_, _| issued("t", 3600));
        let client = build(orders(), &authority, &Hands::at(NOON));
        let ask = |user: usize| {
            let client = client.clone();
            async move { client.ask(&Ask::on_behalf_of(&Secret::new(&*subjects()[user]), "a")).await.unwrap().cached }
        };
        let early = [tokio::spawn(ask(0)), tokio::spawn(ask(1))];
        authority.called(2).await;
        client.cut_off(&[ada()]);
        for n in 0..strangers {
            client.cut_off(&[CutOff { user: Some(format!("stranger {n}")), ..CutOff::default() }]);
        }
        authority.open();
        for one in early {
            assert!(!one.await.unwrap());
        }
        assert!(!ask(0).await, "asked for before the cut-off");
        // Beyond what is remembered one by one, nothing that was on its way is kept.
        assert_eq!(ask(1).await, strangers == 0);
    }
}

/// Another replica may not know of a change yet, and issues what was just forgotten.
#[tokio::test]
async fn x_14_what_is_asked_for_right_after_a_cut_off_is_not_kept_until_every_replica_knows() {
    let authority = Authority::new(|_, _| issued("t", 3600));
    let hands = Hands::at(NOON);
    let client = build(orders(), &authority, &hands);
    let [of_ada, of_bob, _] = subjects().map(Secret::new);
    let ask = async |user: &Secret| client.ask(&Ask::on_behalf_of(user, "a")).await.unwrap().cached;
    client.cut_off(&[ada()]);
    assert!(!ask(&of_bob).await && ask(&of_bob).await, "others' are");
    for _ in 0..3 {
        assert!(!ask(&of_ada).await);
        hands.forward(1);
    }
    assert!(!ask(&of_ada).await && ask(&of_ada).await, "it has settled");
}

/// An authority has no say about the tokens of another.
#[tokio::test]
async fn x_14_clients_that_share_a_cache_lose_what_is_theirs() {
    let authority = Authority::new(|_, _| issued("t", 3600));
    let (hands, cache) = (Hands::at(NOON), TokenCache::new(1 << 20));
    let [orders, others] = ["https://login.example/contoso", "https://login.example/elsewhere"].map(|place| {
        let builder = Client::builder(Endpoints::entra(place), "orders").secret(Secret::new("s"));
        build(builder.cache(Arc::clone(&cache)), &authority, &hands)
    });
    let ask = async |client: &Client| client.ask(&Ask::application("a")).await.unwrap().cached;
    assert!(!ask(&orders).await && !ask(&others).await);
    others.cut_off(&[CutOff::default()]);
    assert!(ask(&orders).await && !ask(&others).await);
    others.cut_off(&vec![CutOff::default(); 5_000]);
    hands.forward(1);
    orders.cache().flush();
    assert!(!ask(&orders).await && ask(&orders).await, "nor about what is on its way");
    cache.cut_off(&[CutOff::default()], hands.now());
    assert!(!ask(&orders).await, "whoever speaks for all does");
}

/// Identities below an application hear of nothing themselves.
#[tokio::test]
async fn x_14_a_client_that_is_cut_off_with_another_loses_what_is_its_own_too() {
    let authority = Authority::new(|_, _| issued("t", 3600));
    let (hands, cache) = (Hands::at(NOON), TokenCache::new(1 << 20));
    let own = || Client::builder(Endpoints::entra("https://login.example/contoso"), "agent").cache(Arc::clone(&cache));
    let since = Arc::new(std::sync::Mutex::new(None));
    let said = Arc::clone(&since);
    let blueprint = orders().cache(Arc::clone(&cache)).held_since(move |_| *said.lock().unwrap());
    let blueprint = build(blueprint, &authority, &hands);
    let agent = build(own().secret(Secret::new("s")).cut_off_with(&blueprint), &authority, &hands);
    let alone = build(own().secret(Secret::new("other")), &authority, &hands);
    let ask = async |client: &Client| client.ask(&Ask::application("a")).await.unwrap().cached;
    assert!(!ask(&agent).await && ask(&agent).await && !ask(&alone).await);
    blueprint.cut_off(&[CutOff::default()]);
    hands.forward(3);
    assert!(!ask(&agent).await && ask(&agent).await && ask(&alone).await);
    *since.lock().unwrap() = Some(hands.now().plus(1));
    assert!(!ask(&agent).await && ask(&alone).await, "nor is it given out when word is missing");
}

#[tokio::test]
async fn x_14_what_is_held_is_given_out_only_if_it_was_asked_for_since_a_moment_that_is_said() {
    let authority = Authority::new(|_, _| issued("t", 3600));
    let (hands, since) = (Hands::at(NOON), Arc::new(std::sync::Mutex::new(None)));
    let said = Arc::clone(&since);
    let client = build(orders().held_since(move |_| *said.lock().unwrap()), &authority, &hands);
    let ask = async || client.ask(&Ask::application("a")).await.unwrap().cached;
    assert!(!ask().await && ask().await);
    hands.forward(10);
    *since.lock().unwrap() = Some(Timestamp(NOON));
    assert!(ask().await);
    *since.lock().unwrap() = Some(Timestamp(NOON + 1));
    assert!(!ask().await && ask().await, "the new one is young enough");
    assert!(client.cache().counters().outdated > 0);
}

#[tokio::test]
async fn a_flush_forgets_everything_and_what_is_on_its_way_is_not_kept() {
    let authority = Authority::closed(|_, _| issued("t", 3600));
    let client = build(orders(), &authority, &Hands::at(NOON));
    let early = tokio::spawn({
        let client = client.clone();
        async move { app(&client).await }
    });
    authority.called(1).await;
    client.cache().flush();
    authority.open();
    early.await.unwrap();
    assert_eq!(client.cache().counters().entries, 0);
    app(&client).await;
    assert_eq!((client.cache().counters().entries, authority.calls()), (1, 2));
    client.cache().flush();
    assert_eq!((client.cache().counters().entries, client.cache().counters().bytes), (0, 0));
}

#[tokio::test]
async fn what_happens_is_counted() {
    let authority = Authority::closed(|_, _| issued(&"x".repeat(1000), 3600));
    let client = build(orders(), &authority, &Hands::at(NOON));
    let crowd: Vec<_> = (0..10)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { app(&client).await })
        })
        .collect();
    authority.called(1).await;
    settled().await;
    authority.open();
    for one in crowd {
        one.await.unwrap();
    }
    app(&client).await;
    let counters = client.cache().counters();
    assert_eq!((counters.misses, counters.joined, counters.hits), (1, 9, 1));
    assert_eq!((counters.entries, counters.evictions), (1, 0));
    assert!((1_200..1_900).contains(&counters.bytes), "key, token and bookkeeping: {}", counters.bytes);
}

#[tokio::test]
async fn the_seconds_that_are_left_are_rounded_down_and_never_negative() {
    let (authority, clock) = (numbered(3600), Hands::at(NOON));
    let client = build(orders(), &authority, &clock);
    let token = client.ask(&Ask::application("a")).await.unwrap().token;
    let left = |at: i64| token.seconds_left(decision::Timestamp(NOON + at));
    assert_eq!([0, 1, 3_598, 3_599, 3_600, 9_999].map(left), [3_599, 3_598, 1, 0, 0, 0]);
}

#[tokio::test]
async fn a_clock_that_was_set_back_keeps_nothing_alive() {
    let (authority, clock) = (numbered(3600), Hands::at(NOON));
    let client = build(orders(), &authority, &clock);
    app(&client).await;
    clock.forward(-30);
    assert_eq!(app(&client).await, "t0", "clocks are corrected by moments");
    clock.forward(-3_600);
    assert_eq!(app(&client).await, "t1", "its age is no longer known");
}

#[tokio::test]
async fn x2_a_fresh_user_token_is_always_a_miss() {
    let seen = Arc::new(Mutex::new(0));
    let count = Arc::clone(&seen);
    let authority = Authority::new(move |_, _| {
        *count.lock().unwrap() += 1;
        issued("t", 3600)
    });
    let client = build(orders(), &authority, &Hands::at(NOON));
    for n in 0..5 {
        // The same user, signed in again.
        client.ask(&Ask::on_behalf_of(&jwt("ada", NOON + 1_000 + n), "a")).await.unwrap();
    }
    assert_eq!(*seen.lock().unwrap(), 5);
}
