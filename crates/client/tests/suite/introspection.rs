//! Asking what a token is worth (RFC 7662): what is remembered, for how long, and that nobody asks twice at once.
use crate::support::{Authority, Hands, NOON, build};
use client::{Client, Endpoints, Error, Introspected, Introspections, Kept, Upstream};
use decision::Timestamp;
use oauth::{Form, Secret};
use serde_json::{Map, Value, json};
use std::net::IpAddr;
use std::sync::Arc;
use tokio::task::JoinHandle;

fn builder() -> client::ClientBuilder {
    let endpoints = Endpoints {
        introspection: Some("https://login.example/introspect".to_owned()),
        ..Endpoints::entra("https://login.example/contoso")
    };
    Client::builder(endpoints, "orders")
        .secret(Secret::new("s3cret"))
        .upstream(Upstream { retries: 0, ..Upstream::default() })
}

fn active(exp: i64) -> (u16, Value) {
    (200, json!({"active": true, "sub": "ada", "exp": exp}))
}

fn remembering(client: Client, bytes: u64, seconds: (i64, i64)) -> Arc<Introspections<String>> {
    Introspections::new(client, bytes, seconds, |_: &Secret, claims: Map<String, Value>| {
        let value = claims.get("sub")?.as_str()?.to_owned();
        Some(Kept { bytes: value.len() as u64, expires: Timestamp(claims.get("exp")?.as_i64()?), value })
    })
}

fn sub(said: &Introspected<String>) -> &str {
    match said {
        Introspected::Active(sub) => sub,
        Introspected::Inactive => "",
    }
}

#[tokio::test]
async fn the_client_proves_who_asks_and_hears_what_is_said() {
    let authority = Authority::new(|url, form: &Form| {
        assert_eq!(url, "https://login.example/introspect");
        let all = ["token", "client_id", "client_secret"].map(|name| form.value(name).unwrap_or_default());
        match all {
            ["good", "orders", "s3cret"] => active(NOON + 60),
            ["bad", ..] => (200, json!({"active": false})),
            ["odd", ..] => (200, json!({"active": "true"})),
            ["silent", ..] => (200, json!({})),
            _ => (401, json!({"error": "invalid_client"})),
        }
    });
    let client = build(builder(), &authority, &Hands::at(NOON));
    let asked = async |token: &str| client.introspect(&Secret::new(token)).await;
    assert_eq!(asked("good").await.unwrap().unwrap()["sub"], "ada");
    assert_eq!(asked("bad").await.unwrap(), None);
    assert!(matches!(asked("odd").await, Err(Error::Answer(_))));
    assert!(matches!(asked("silent").await, Err(Error::Answer(_))));
    assert!(matches!(asked("other").await, Err(Error::Refused { status: 401, .. })));
    let nowhere =
        build(Client::builder(Endpoints::entra("https://login.example/c"), "o"), &authority, &Hands::at(NOON));
    assert!(matches!(nowhere.introspect(&Secret::new("a")).await, Err(Error::Request(_))));
}

#[tokio::test]
async fn the_endpoint_is_learnt() {
    let authority = Authority::new(|url, _: &Form| match url {
        "https://login.example/metadata" => (
            200,
            json!({"issuer": "https://login.example", "token_endpoint": "https://login.example/token",
                "introspection_endpoint": "https://login.example/learnt"}),
        ),
        "https://login.example/learnt" => active(NOON + 60),
        _ => (404, json!({})),
    });
    let given = Endpoints { issuer: Some("https://login.example".into()), ..Endpoints::token_endpoint("https://x") };
    let client = Client::builder(given, "orders").discover("https://login.example/metadata");
    let client = build(client, &authority, &Hands::at(NOON));
    assert!(client.introspect(&Secret::new("a")).await.unwrap().is_some());
}

#[tokio::test]
async fn what_was_said_is_good_for_its_seconds_and_never_beyond_the_tokens_end() {
    let authority = Authority::new(|_, form: &Form| match form.value("token") {
        Some("long") => active(NOON + 1_000),
        Some("short") => active(NOON + 10),
        Some("nobodys") => (200, json!({"active": true, "exp": NOON + 1_000})),
        Some("failing") => (500, json!({})),
        _ => (200, json!({"active": false})),
    });
    let clock = Hands::at(NOON);
    let said = remembering(build(builder(), &authority, &clock), 1 << 20, (60, 5));
    let mut expected = 0;
    for (token, seconds, sub_of) in [("long", 60, "ada"), ("short", 10, "ada"), ("nobodys", 5, ""), ("bad", 5, "")] {
        let token = Secret::new(token);
        expected += 1;
        for forward in [0, seconds - 1] {
            clock.forward(forward);
            assert_eq!(sub(&said.ask(&token, None).await.unwrap()), sub_of);
            assert_eq!(sub(&said.known(token.expose()).unwrap()), sub_of);
            assert_eq!(authority.calls(), expected, "{token:?} was asked about again");
        }
        clock.forward(1);
        assert!(said.known(token.expose()).is_none());
        clock.forward(-seconds);
    }
    for _ in 0..2 {
        expected += 1;
        assert!(said.ask(&Secret::new("failing"), None).await.is_err());
        assert_eq!(authority.calls(), expected, "a failure is not remembered");
    }
    // A clock that is set back by much makes nothing last.
    said.ask(&Secret::new("late"), None).await.unwrap();
    clock.forward(-10_000);
    assert!(said.known("late").is_none());
}

#[tokio::test]
async fn r_8_a_hundred_who_ask_at_once_ask_once_and_one_who_leaves_takes_nothing_from_the_others() {
    let authority = Authority::closed(|_, _: &Form| active(NOON + 60));
    let said = remembering(build(builder(), &authority, &Hands::at(NOON)), 1 << 20, (60, 5));
    let asking = |_| {
        let said = Arc::clone(&said);
        tokio::spawn(async move { sub(&said.ask(&Secret::new("a"), None).await.unwrap()).to_owned() })
    };
    let first = asking(0);
    authority.called(1).await;
    let others: Vec<_> = (0..100).map(asking).collect();
    tokio::task::yield_now().await;
    first.abort();
    authority.open();
    for other in others {
        assert_eq!(other.await.unwrap(), "ada");
    }
    assert_eq!(authority.calls(), 1);
}

/// Asks about so many tokens that nobody else asks about.
fn flood(said: &Arc<Introspections<String>>, of: &str, many: usize) -> Vec<JoinHandle<Result<(), Error>>> {
    let asker = of.parse::<IpAddr>().ok();
    let ask = |at| {
        let (said, token) = (Arc::clone(said), Secret::new(format!("{of}-{at}")));
        tokio::spawn(async move { said.ask(&token, asker).await.map(drop) })
    };
    (0..many).map(ask).collect()
}

/// Until nothing goes on any more, for time stands still while something can.
async fn settled() {
    for _ in 0..10_000 {
        tokio::task::yield_now().await;
    }
}

fn over(all: &[JoinHandle<Result<(), Error>>]) -> usize {
    all.iter().filter(|one| one.is_finished()).count()
}

#[tokio::test(start_paused = true)]
async fn r_8_a_flood_of_made_up_tokens_asks_about_few_at_once_and_the_rest_is_told_to_wait() {
    let authority = Authority::closed(|_, _: &Form| (200, json!({"active": false})));
    let clock = Hands::at(NOON);
    let said = remembering(build(builder(), &authority, &clock), 1 << 20, (60, 5));
    let mut all = flood(&said, "192.0.2.1", 700);
    settled().await;
    assert_eq!((over(&all), authority.calls()), (700 - 512, 32), "one takes half and no more");
    for at in 2..10 {
        all.extend(flood(&said, &format!("192.0.2.{at}"), 100));
    }
    settled().await;
    assert_eq!((over(&all), authority.calls()), (1_500 - 1_024, 64), "more wait than may");
    for one in all {
        assert!(one.await.unwrap().is_err(), "nobody answered");
    }
    assert!(authority.calls() <= 128, "{} at once", authority.calls());
    authority.open();
    clock.forward(3);
    assert!(said.ask(&Secret::new("later"), None).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn g_14_who_makes_tokens_up_keeps_nobody_else_from_an_answer() {
    let authority = Authority::closed(|_, _: &Form| active(NOON + 60));
    let said = remembering(build(builder(), &authority, &Hands::at(NOON)), 1 << 20, (60, 5));
    let made_up = flood(&said, "192.0.2.1", 2_000);
    settled().await;
    let others: Vec<_> = (2..6).flat_map(|at| flood(&said, &format!("192.0.2.{at}"), 8)).collect();
    settled().await;
    assert_eq!(authority.calls(), 32 + 32, "all of theirs are asked at once");
    authority.open();
    for other in others {
        other.await.unwrap().unwrap();
    }
    drop(made_up);
}

#[tokio::test]
async fn what_is_remembered_is_bounded_in_bytes() {
    let authority = Authority::new(|_, _: &Form| active(NOON + 60));
    let said = remembering(build(builder(), &authority, &Hands::at(NOON)), 64 << 10, (60, 5));
    for at in 0..2_000 {
        said.ask(&Secret::new(format!("{at}")), None).await.unwrap();
    }
    assert!(said.bytes() <= 64 << 10, "{}", said.bytes());
    assert!(said.bytes() > 32 << 10);
}
