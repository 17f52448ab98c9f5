//! The cache's promises: one flight, no poison, the earliest lifetime, bounded bytes.
use crate::support::{Authority, Hands, NOON, build, issued, jwt, orders};
use client::{Client, Error, TokenCache};
use oauth::Secret;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

const SCOPE: [&str; 1] = ["api://billing/Invoices.Read"];

async fn exchange(client: Client, user: &'static str) -> Result<String, Error> {
    let token = client.on_behalf_of(&Secret::new(user), &SCOPE, None).await?;
    Ok(token.access_token.expose().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stampede_of_a_thousand_makes_one_request() {
    let authority = Authority::closed(|_, _| issued("for-ada", 3600));
    let client = build(orders(), &authority, &Hands::at(NOON));
    let crowd: Vec<_> = (0..1_000).map(|_| tokio::spawn(exchange(client.clone(), "ada"))).collect();
    authority.called(1).await;
    authority.open();
    for one in crowd {
        assert_eq!(one.await.unwrap(), Ok("for-ada".into()));
    }
    assert_eq!(authority.calls(), 1);
}

#[tokio::test]
async fn a_stampede_of_refreshes_uses_the_refresh_token_once() {
    let authority = Authority::closed(|_, form| {
        let answer = json!({"token_type": "Bearer", "expires_in": 3600, "access_token": "t", "refresh_token": "next"});
        if form.value("refresh_token") == Some("first") {
            (200, answer)
        } else {
            (400, json!({"error": "invalid_grant"}))
        }
    });
    let client = build(orders(), &authority, &Hands::at(NOON));
    let refresh = || {
        let client = client.clone();
        tokio::spawn(async move { client.refresh(&Secret::new("first"), &SCOPE, None).await })
    };
    let crowd: Vec<_> = (0..50).map(|_| refresh()).collect();
    authority.called(1).await;
    authority.open();
    for one in crowd {
        assert_eq!(one.await.unwrap().unwrap().refresh_token, Some(Secret::new("next")));
    }
    assert_eq!(authority.calls(), 1);
}

#[tokio::test]
async fn whoever_asked_first_may_leave_without_harm_to_the_others() {
    let authority = Authority::closed(|_, _| issued("for-ada", 3600));
    let client = build(orders(), &authority, &Hands::at(NOON));
    let first = tokio::spawn(exchange(client.clone(), "ada"));
    authority.called(1).await;
    let second = tokio::spawn(exchange(client.clone(), "ada"));
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    authority.open();
    assert_eq!(second.await.unwrap(), Ok("for-ada".into()));
    assert_eq!(exchange(client, "ada").await, Ok("for-ada".into()));
    assert_eq!(authority.calls(), 1);
}

#[tokio::test]
async fn a_failure_is_told_to_those_who_waited_and_to_nobody_else() {
    let down = Arc::new(AtomicBool::new(true));
    let state = Arc::clone(&down);
    let authority =
        Authority::closed(move |_, _| if state.load(SeqCst) { (0, json!(null)) } else { issued("t", 3600) });
    let client = build(orders(), &authority, &Hands::at(NOON));
    let crowd: Vec<_> = (0..20).map(|_| tokio::spawn(exchange(client.clone(), "ada"))).collect();
    authority.called(1).await;
    authority.open();
    for one in crowd {
        assert!(matches!(one.await.unwrap(), Err(Error::Unreachable(_))));
    }
    assert_eq!(authority.calls(), 1, "a dead authority is not stormed");
    down.store(false, SeqCst);
    assert_eq!(exchange(client, "ada").await, Ok("t".into()));
}

#[tokio::test]
async fn a_panic_in_the_transport_poisons_nothing() {
    let panics = Arc::new(AtomicBool::new(true));
    let state = Arc::clone(&panics);
    let authority = Authority::new(move |_, _| {
        assert!(!state.load(SeqCst), "a panic on purpose");
        issued("t", 3600)
    });
    let client = build(orders(), &authority, &Hands::at(NOON));
    assert!(matches!(exchange(client.clone(), "ada").await, Err(Error::Unreachable(_))));
    panics.store(false, SeqCst);
    assert_eq!(exchange(client, "ada").await, Ok("t".into()));
}

#[tokio::test]
async fn a_token_is_given_out_until_the_earliest_end_involved() {
    let never = NOON + 100_000;
    // (expires_in, end of the assertion, end inside the token, seconds it must be given out)
    let rows = [
        (3600, never, None, 3480),
        (3600, NOON + 600, None, 600),
        (3600, never, Some(NOON + 300), 180),
        (300, NOON + 100, Some(NOON + 5000), 100),
        (121, never, None, 1),
        (120, never, None, 60),
        (30, never, None, 15),
        (0, never, None, 0),
        (-5, never, None, 0),
        (i64::MAX, never, None, 0),
        (3600, NOON - 1, None, 0),
    ];
    for (expires_in, assertion_ends, token_ends, seconds) in rows {
        let row = format!("{expires_in} {assertion_ends} {token_ends:?}");
        let text = token_ends.map_or("opaque".to_owned(), |end| jwt("t", end).expose().to_owned());
        let authority = Authority::new(move |_, _| issued(&text, expires_in));
        let clock = Hands::at(NOON);
        let client = build(orders(), &authority, &clock);
        let assertion = jwt("ada", assertion_ends);
        client.on_behalf_of(&assertion, &SCOPE, None).await.unwrap();
        if seconds > 0 {
            clock.forward(seconds - 1);
            client.on_behalf_of(&assertion, &SCOPE, None).await.unwrap();
            assert_eq!(authority.calls(), 1, "{row}: still good one second before");
            clock.forward(1);
        }
        client.on_behalf_of(&assertion, &SCOPE, None).await.unwrap();
        assert_eq!(authority.calls(), 2, "{row}: not given out at the end");
    }
}

#[tokio::test]
async fn a_missing_consent_is_remembered_for_moments_and_for_its_user_only() {
    let consented = Arc::new(AtomicBool::new(false));
    let state = Arc::clone(&consented);
    let authority = Authority::new(move |_, form| {
        if form.value("assertion") == Some("bob") || state.load(SeqCst) {
            return issued("t", 3600);
        }
        (400, json!({"error": "invalid_grant", "suberror": "consent_required", "error_codes": [65001]}))
    });
    let clock = Hands::at(NOON);
    let client = build(orders(), &authority, &clock);
    for _ in 0..5 {
        assert!(matches!(exchange(client.clone(), "ada").await, Err(Error::Consent { .. })));
    }
    assert_eq!(authority.calls(), 1);
    assert_eq!(exchange(client.clone(), "bob").await, Ok("t".into()));
    consented.store(true, SeqCst);
    clock.forward(15);
    assert_eq!(exchange(client, "ada").await, Ok("t".into()));
}

#[tokio::test]
async fn other_refusals_are_not_remembered() {
    let authority = Authority::new(|_, _| (400, json!({"error": "interaction_required", "claims": "{}"})));
    let client = build(orders(), &authority, &Hands::at(NOON));
    for calls in 1..4 {
        assert!(matches!(exchange(client.clone(), "ada").await, Err(Error::ClaimsChallenge { .. })));
        assert_eq!(authority.calls(), calls);
    }
}

#[tokio::test]
async fn x_14_a_revoked_subject_is_forgotten_even_while_a_request_is_under_way() {
    let authority = Authority::closed(|_, _| issued("t", 3600));
    let client = build(orders(), &authority, &Hands::at(NOON));
    let early = tokio::spawn(exchange(client.clone(), "ada"));
    authority.called(1).await;
    client.cache().forget_subject(&Secret::new("ada"));
    authority.open();
    early.await.unwrap().unwrap();
    exchange(client.clone(), "ada").await.unwrap();
    assert_eq!(authority.calls(), 2, "the early answer was not kept");
    client.cache().forget_subject(&Secret::new("someone else"));
    exchange(client.clone(), "ada").await.unwrap();
    assert_eq!(authority.calls(), 2);
    client.cache().forget_subject(&Secret::new("ada"));
    exchange(client, "ada").await.unwrap();
    assert_eq!(authority.calls(), 3);
}

#[tokio::test]
async fn the_cache_never_outgrows_its_bytes() {
    let large = "x".repeat(4_000);
    let authority = Authority::new(move |_, _| issued(&large, 3600));
    let cache = TokenCache::new(256 * 1024);
    let client = build(orders().cache(Arc::clone(&cache)), &authority, &Hands::at(NOON));
    for n in 0..2_000 {
        client.on_behalf_of(&Secret::new(format!("user-{n}")), &SCOPE, None).await.unwrap();
        assert!(cache.bytes() <= 256 * 1024);
    }
    assert!(cache.bytes() > 64 * 1024, "and it is used");
}

#[tokio::test]
async fn nothing_secret_shows_in_debug_output() {
    let authority = Authority::new(|_, _| issued("canary-token", 3600));
    let client = build(orders().secret(Secret::new("canary-secret")), &authority, &Hands::at(NOON));
    let token = client.on_behalf_of(&Secret::new("canary-assertion"), &SCOPE, None).await.unwrap();
    let shown = format!("{client:?} {token:?} {:?}", client.cache());
    assert!(!shown.contains("canary"), "{shown}");
}
