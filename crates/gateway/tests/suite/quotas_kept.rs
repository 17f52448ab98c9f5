//! Quotas where there is a management database: they outlive a restart, and gateways with one database add up.
use crate::limits::{A, B, keyed, public};
use crate::managed::store;
use crate::support::{NOON, World};
use gateway::{Ports, Store};
use std::path::Path;
use std::sync::Arc;
use testkit::SetClock;

/// A gateway over the database of this folder, or of its own.
async fn over(text: &str, folder: Option<&Path>, ahead: i64) -> (World, Arc<Store>) {
    let clock = SetClock::at(NOON);
    clock.advance(ahead);
    let mut opened = None;
    let world = World::within(text, clock, |ports, own| {
        let store = store(&ports, folder.unwrap_or(own));
        opened = Some(Arc::clone(&store));
        Ports { store: Some(store), ..ports }
    })
    .await;
    (world, opened.unwrap())
}

fn by_tenant(rest: &str) -> String {
    public(&format!("[[api.policies.quota_by_key]]\n    counter_key = [{{ header = \"X-Tenant\" }}]\n    {rest}"))
}

async fn statuses(world: &World, fields: &[(&str, &str)], calls: usize) -> Vec<u16> {
    let mut all = Vec::new();
    for _ in 0..calls {
        all.push(world.get("/", fields).await.status);
    }
    all
}

#[tokio::test]
async fn what_was_used_of_a_quota_outlives_a_restart() {
    for (text, fields) in [
        (keyed("[product.policies.quota]\n    calls = 3\n    renewal_period = 3600"), A),
        (keyed("[product.policies.quota]\n    calls = 3\n    renewal_period = 0"), A),
        (by_tenant("calls = 3\n    renewal_period = 3600"), ("x-tenant", "a")),
    ] {
        let (first, kept) = over(&text, None, 0).await;
        assert_eq!(statuses(&first, &[fields], 2).await, [200, 200]);
        assert!(kept.flush().await);
        let (second, _) = over(&text, Some(&first.folder), 60).await;
        assert_eq!(statuses(&second, &[fields], 3).await, [200, 403, 403]);
        assert_eq!(statuses(&second, &[if fields == A { B } else { ("x-tenant", "b") }], 1).await, [200]);
        // What was not written is lost, and is the caller's gain.
        let (third, _) = over(&text, Some(&first.folder), 60).await;
        assert_eq!(statuses(&third, &[fields], 2).await, [200, 403]);
    }
}

#[tokio::test]
async fn kilobytes_outlive_a_restart_and_what_is_given_back_stays_given_back() {
    let text = by_tenant("calls = 1\n    bandwidth = 1\n    renewal_period = 3600\n    increment_statuses = [401]");
    let (first, kept) = over(&text, None, 0).await;
    let fields = [("x-tenant", "a")];
    assert_eq!(statuses(&first, &fields, 2).await, [200, 200]);
    assert!(kept.flush().await);
    let (second, kept) = over(&text, Some(&first.folder), 0).await;
    let long = "x".repeat(1_024);
    second.service.answers(&format!("HTTP/1.1 401 Unauthorized\r\nContent-Length: 1024\r\n\r\n{long}"));
    assert_eq!(statuses(&second, &fields, 1).await, [401]);
    while second.lines().is_empty() {
        tokio::task::yield_now().await;
    }
    assert!(kept.flush().await);
    // Without a limit of calls it is the bytes that are used up.
    let (third, _) = over(&text.replace("calls = 1\n", "calls = 9\n"), Some(&first.folder), 0).await;
    let refused = third.get("/", &fields).await;
    assert!(refused.json()["message"].as_str().unwrap().starts_with("Out of bandwidth quota."), "{refused:?}");
}

#[tokio::test]
async fn gateways_with_one_database_add_up_what_they_let_by() {
    let text = keyed("[product.policies.quota]\n    calls = 5\n    renewal_period = 3600");
    let (one, of_one) = over(&text, None, 0).await;
    let (other, of_other) = over(&text, Some(&one.folder), 0).await;
    assert_eq!((statuses(&one, &[A], 2).await, statuses(&other, &[A], 2).await), (vec![200; 2], vec![200; 2]));
    assert!(of_one.flush().await && of_other.flush().await);
    // The second one was told of four when it added its own; the first one is with its next call.
    assert_eq!(statuses(&other, &[A], 2).await, [200, 403]);
    assert!(of_other.flush().await);
    assert_eq!(statuses(&one, &[A], 1).await, [200]);
    assert!(of_one.flush().await);
    assert_eq!(statuses(&one, &[A], 1).await, [403]);
    // Nothing was written over: a gateway that begins now knows all six.
    let (third, _) = over(&text.replace("calls = 5", "calls = 7"), Some(&one.folder), 0).await;
    assert_eq!(statuses(&third, &[A], 2).await, [200, 403]);
}

#[tokio::test]
async fn a_window_that_is_over_is_over_after_a_restart_too() {
    let text = by_tenant("calls = 1\n    renewal_period = 3600");
    let (first, kept) = over(&text, None, 0).await;
    assert_eq!(statuses(&first, &[("x-tenant", "a")], 2).await, [200, 403]);
    assert!(kept.flush().await);
    let (second, kept) = over(&text, Some(&first.folder), 3_600).await;
    assert_eq!(statuses(&second, &[("x-tenant", "a")], 2).await, [200, 403]);
    assert!(kept.flush().await);
    let (third, _) = over(&text, Some(&first.folder), 3_700).await;
    assert_eq!(statuses(&third, &[("x-tenant", "a")], 1).await, [403], "the window that is now counts");
}

#[tokio::test]
async fn quotas_that_gateways_share_are_not_counted_in_the_database_too() {
    // Nobody listens there: the gateway counts alone, and owes it to Valkey.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let text = by_tenant("calls = 3\n    renewal_period = 3600\n    shared = true");
    let text = crate::shared_limits::at(&format!("redis://127.0.0.1:{port}"), &text);
    let (first, kept) = over(&text, None, 0).await;
    assert_eq!(statuses(&first, &[("x-tenant", "a")], 2).await, [200, 200]);
    assert!(kept.flush().await);
    let (second, _) = over(&text, Some(&first.folder), 0).await;
    assert_eq!(statuses(&second, &[("x-tenant", "a")], 4).await, [200, 200, 200, 403]);
}
