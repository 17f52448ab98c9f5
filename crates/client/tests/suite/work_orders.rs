//! Work orders: what is sent, and that nothing is answered from a cache.
use crate::support::{Authority, Hands, NOON, build, issued, orders};
use client::{Error, WorkOrder, presence_needed};
use decision::Timestamp;
use oauth::{Form, Secret};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};

const EMPTY: &str = "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:";

fn made(handle: &str) -> (u16, Value) {
    let kind = "urn:deputize:params:oauth:token-type:work-order";
    (200, json!({"token_type": "N_A", "issued_token_type": kind, "expires_in": 600, "access_token": handle}))
}

#[tokio::test]
async fn an_order_is_asked_for_as_the_reference_says() {
    let seen: Arc<Mutex<Form>> = Arc::default();
    let keep = Arc::clone(&seen);
    let authority = Authority::new(move |_, form| {
        *keep.lock().unwrap() = form.clone();
        made("wo1.x")
    });
    let client = build(orders(), &authority, &Hands::at(NOON));
    let wanted =
        WorkOrder::new("api://billing/Invoices.Read", "Export").worker("w1").worker_with("w2", "tp").message(b"");
    let order = client.work_order(&Secret::new("inbound"), &wanted.redemptions(3).seconds(600)).await.unwrap();
    assert_eq!((order.handle.expose(), order.expires_at), ("wo1.x", Timestamp(NOON + 600)));
    let seen = seen.lock().unwrap().clone();
    for (name, value) in [
        ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
        ("requested_token_type", "urn:deputize:params:oauth:token-type:work-order"),
        ("subject_token_type", "urn:ietf:params:oauth:token-type:access_token"),
        ("subject_token", "inbound"),
        ("scope", "api://billing/Invoices.Read"),
        ("may_act", r#"[{"sub":"w1"},{"cnf":{"x5t#S256":"tp"},"sub":"w2"}]"#),
        ("purpose", "Export"),
        ("content_digest", EMPTY),
        ("redemptions", "3"),
        ("requested_expiry", "600"),
        ("client_secret", "s3cret"),
    ] {
        assert_eq!(seen.value(name), Some(value), "{name}");
    }
}

/// Neither a bearer token nor anything else is taken for a handle.
#[tokio::test]
async fn what_is_no_work_order_is_none() {
    let wanted = WorkOrder::new("s", "Export").worker("w");
    for answer in [issued("a-token", 600), (200, json!({})), (200, json!([])), made("")] {
        let client = build(orders(), &Authority::new(move |_, _| answer.clone()), &Hands::at(NOON));
        assert!(matches!(client.work_order(&Secret::new("t"), &wanted).await, Err(Error::Answer(_))));
    }
    // Nor is a handle taken for a token.
    let client = build(orders(), &Authority::new(|_, _| made("wo1.x")), &Hands::at(NOON));
    assert!(matches!(client.redeem(&Secret::new("wo1.y"), None, None).await, Err(Error::Answer(_))));
}

#[tokio::test]
async fn every_redemption_is_asked_for_and_answered_for_its_own_handle() {
    let authority = Authority::new(|_, form| {
        assert_eq!(form.value("subject_token_type"), Some("urn:deputize:params:oauth:token-type:work-order"));
        assert_eq!(form.value("content_digest"), Some(EMPTY));
        issued(&format!("for-{}", form.value("subject_token").unwrap()), 3_600)
    });
    let client = build(orders(), &authority, &Hands::at(NOON));
    for (times, handle) in ["ada", "bob", "ada"].into_iter().enumerate() {
        let token = client.redeem(&Secret::new(handle), None, Some(b"")).await.unwrap();
        assert_eq!((token.access_token.expose(), authority.calls()), (format!("for-{handle}").as_str(), times + 1));
    }
}

#[tokio::test]
async fn who_must_wait_for_the_user_is_told_where() {
    let hint = json!({"state": "parked", "presenceUrl": "https://login.example/t/work-orders"});
    for (hint, address) in
        [(hint, Some("https://login.example/t/work-orders")), (json!({"check": "user.enabled"}), None)]
    {
        let body = json!({"error": "interaction_required", "deputize_hint": hint});
        let client = build(orders(), &Authority::new(move |_, _| (400, body.clone())), &Hands::at(NOON));
        let error = client.redeem(&Secret::new("wo1.x"), Some("s"), None).await.unwrap_err();
        assert_eq!(presence_needed(&error), address);
    }
}
