//! Clients that ask for the same thing again and again (AADSTS50196), and those that only seem to.
use crate::world::browser::{Browser, request};
use crate::world::estate::{app, redirect};
use crate::world::{World, but, client_credentials, refresh_form, text};
use axum::http::StatusCode;

const OFFLINE: &str = "openid offline_access api://orders/access_as_user";
const MOST: usize = 100;

#[tokio::test]
async fn a_browser_that_goes_in_a_circle_with_a_client_is_stopped_on_a_page() {
    let world = World::new().await;
    let mut ada = Browser::default();
    ada.code(&world, "web", "ada", OFFLINE).await;
    let asking = request("web", OFFLINE);
    for turn in 1..=MOST {
        let answer = ada.authorize(&world, &asking).await;
        assert!(answer.redirected().1.value("code").is_some(), "{turn}");
    }
    let page = ada.authorize(&world, &asking).await;
    assert!(page.page() && page.status == StatusCode::BAD_REQUEST && page.text().contains("AADSTS50196"));
    assert!(page.text().contains(redirect("web")), "the way back is the person's to take");
    let (_, silent) = ada.authorize(&world, &but(asking.clone(), "prompt", Some("none"))).await.redirected();
    assert_eq!(silent.value("error"), Some("temporarily_unavailable"));
    assert!(silent.value("error_description").unwrap().starts_with("AADSTS50196"));
    // Something else, another client, somebody else: none of them went in a circle.
    assert!(ada.code(&world, "web", "ada", "openid").await.len() > 20);
    assert!(ada.code(&world, "rival", "ada", "openid api://orders/access_as_user").await.len() > 20);
    assert!(Browser::default().code(&world, "web", "bob", OFFLINE).await.len() > 20);
    // Nor does a person who types.
    let page = ada.authorize(&world, &but(asking.clone(), "prompt", Some("login"))).await;
    assert!(ada.sign_in(&world, page, "ada").await.redirected().1.value("code").is_some());
    world.clock.advance(60);
    let asking = but(asking, "login_hint", Some("ada@contoso.example"));
    assert!(ada.authorize(&world, &asking).await.redirected().1.value("code").is_some(), "a minute later");
}

/// Another client at the same address, and another person's session, ask for something else.
#[tokio::test]
async fn a_circle_of_one_client_and_one_session_stops_no_other() {
    let world = World::with(|plan| plan.app("rival").web.redirect_uris.push(redirect("web").to_owned())).await;
    let (mut ada, mut bob) = (Browser::default(), Browser::default());
    ada.code(&world, "web", "ada", OFFLINE).await;
    bob.code(&world, "web", "bob", OFFLINE).await;
    let asking = request("web", OFFLINE);
    for _ in 0..=MOST {
        ada.authorize(&world, &asking).await;
    }
    assert!(ada.authorize(&world, &asking).await.text().contains("AADSTS50196"));
    let of_rival = but(asking.clone(), "client_id", Some(&app("rival").to_string()));
    assert!(ada.authorize(&world, &of_rival).await.redirected().1.value("code").is_some());
    assert!(bob.authorize(&world, &asking).await.redirected().1.value("code").is_some());
}

#[tokio::test]
async fn a_client_that_renews_what_it_has_just_got_is_told_to_stop_without_being_sent_to_the_person() {
    let world = World::new().await;
    let tokens = world.signed_in("web", "ada", OFFLINE).await;
    let token = text(&tokens, "refresh_token");
    let other = text(&world.signed_in("web", "ada", OFFLINE).await, "refresh_token");
    for turn in 1..=MOST {
        assert_eq!(world.refresh("web", &token, None).await.status, StatusCode::OK, "{turn}");
    }
    let recorded = || {
        let records = world.store.audit(0, 1_000).unwrap().into_iter();
        records.filter(|(_, record)| record.refused.is_some_and(|check| check.to_string() == "client.loop")).count()
    };
    for _ in 0..3 {
        let refused = world.refresh("web", &token, None).await.refused();
        assert_eq!(refused, (400, "temporarily_unavailable".into(), 50_196, "client.loop".into()));
    }
    assert_eq!(recorded(), 1, "once a minute, however often it comes");
    // Another resource, claims that a challenge asked for, another authorization of the same user: something else each.
    world.refresh("web", &token, Some("api://billing/Invoices.Read")).await.ok();
    let challenged = [refresh_form("web", &token, None), vec![("claims", "{\"access_token\":{}}".to_owned())]].concat();
    world.token(challenged).await.ok();
    world.refresh("web", &other, None).await.ok();
    world.clock.advance(60);
    world.refresh("web", &token, None).await.ok();
}

#[tokio::test]
async fn exchanges_on_behalf_of_users_and_daemons_without_a_cache_are_no_loops() {
    let world = World::new().await;
    let token = world.orders_token().await;
    for _ in 0..MOST + 20 {
        world.obo("orders", &token, "api://billing/Invoices.Read").await.ok();
        world.token(client_credentials("daemon", "api://billing/.default")).await.ok();
    }
}
