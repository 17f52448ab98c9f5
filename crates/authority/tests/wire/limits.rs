//! Guessing: a delay that grows, for the guesser; never a lock-out, and never for anybody else.
use crate::world::browser::{Browser, request};
use crate::world::estate::{CONTOSO, FABRIKAM, app, password, upn};
use crate::world::{Answer, World, but, client_credentials, credential, encode, obo_form};
use deputize_core::limits::{Caller, Limits};

async fn wrong(browser: &mut Browser, world: &World, name: &str) -> Answer {
    let page = browser.authorize(world, &request("web", "openid")).await;
    browser.submit(world, &page.form(), &[("username", &upn(name)), ("password", "guess")]).await
}

async fn right(browser: &mut Browser, world: &World) -> Answer {
    let again = but(request("web", "openid"), "prompt", Some("login"));
    let page = browser.authorize(world, &again).await;
    browser.sign_in(world, page, "ada").await
}

#[tokio::test]
async fn a_19_a_guesser_waits_and_the_person_in_their_own_browser_does_not() {
    let world = World::new().await;
    let mut own = Browser::default();
    assert_eq!(right(&mut own, &world).await.status, 303);
    let mut guesser = Browser::default();
    for _ in 0..20 {
        assert_eq!(wrong(&mut guesser, &world, "ada").await.status, 200);
    }
    for mut other in [guesser.clone(), Browser::default()] {
        let answer = right(&mut other, &world).await;
        assert!(answer.page() && answer.status == 429, "even the right password, and from any browser");
        assert!(answer.text().contains("1 second") && answer.header("retry-after") == "1", "{}", answer.text());
    }
    assert_eq!(right(&mut own, &world).await.status, 303, "no denial of service on the victim");
    let mut bob = Browser::default();
    assert_eq!(wrong(&mut bob, &world, "bob").await.status, 200, "nobody else waits");
    world.clock.advance(1);
    assert_eq!(right(&mut Browser::default(), &world).await.status, 303, "soft: a delay, no lock-out");
    let mut nobody = Browser::default();
    for _ in 0..20 {
        assert_eq!(wrong(&mut nobody, &world, "nobody").await.status, 200);
    }
    assert_eq!(wrong(&mut nobody, &world, "nobody").await.status, 429, "A-18: as for somebody");
}

/// A browser that nobody has signed in with, at an address.
fn at(n: u32) -> Browser {
    Browser { address: Some(std::net::Ipv4Addr::from(0xc633_6400 + n).into()), ..Browser::default() }
}

#[tokio::test]
async fn a_19_a_stranger_who_never_stops_guessing_keeps_nobody_from_signing_in_at_a_new_browser() {
    let world = World::new().await;
    let mut guesser = at(1);
    for _ in 0..20 {
        assert_eq!(wrong(&mut guesser, &world, "ada").await.status, 200);
    }
    // From here on every attempt is taken that is to be had.
    for round in 0..8 {
        let told = wrong(&mut guesser, &world, "ada").await;
        assert_eq!(told.status, 429);
        assert_eq!(right(&mut at(100 + round), &world).await.status, 303, "from anywhere else, at any moment");
        world.clock.advance(told.header("retry-after").parse().unwrap());
        assert_eq!(wrong(&mut guesser, &world, "ada").await.status, 200);
    }
}

#[tokio::test]
async fn a_19_guesses_from_everywhere_have_one_pace_and_the_person_is_let_in_where_they_were_before() {
    let world = World::new().await;
    let mut own = at(7);
    assert_eq!(right(&mut own, &world).await.status, 303);
    for n in 0..100 {
        assert_eq!(wrong(&mut at(1_000 + n), &world, "ada").await.status, 200);
    }
    let answer = right(&mut at(2_000), &world).await;
    assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (429, "2"), "a thousand would be too many");
    assert_eq!(right(&mut at(7), &world).await.status, 303, "another browser at the same address");
    let moved = Browser { address: at(3_000).address, ..own };
    assert_eq!(right(&mut { moved }, &world).await.status, 303, "the same browser at another address");
    assert_eq!(wrong(&mut at(2_001), &world, "bob").await.status, 200, "nobody else waits");
    world.clock.advance(2);
    assert_eq!(right(&mut at(2_000), &world).await.status, 303, "soft, even where nobody is known");
}

#[tokio::test]
async fn a_19_every_page_that_takes_a_password_counts_for_the_same_person() {
    let world = World::new().await;
    let mut guesser = Browser::default();
    let mine = format!("/{CONTOSO}/consents");
    let requests = format!("/{CONTOSO}/consent-requests");
    let elsewhere = format!("/{FABRIKAM}/consents");
    let mut sign_in = async |path: &str, password: &str| {
        let page = guesser.get(&world, path).await;
        guesser.submit(&world, &page.form(), &[("username", &upn("ada")), ("password", password)]).await
    };
    for path in [&mine, &requests, &elsewhere, &mine] {
        for _ in 0..5 {
            assert_eq!(sign_in(path, "guess").await.status, 200, "{path}");
        }
    }
    for path in [&mine, &requests, &elsewhere] {
        let answer = sign_in(path, &password("ada")).await;
        assert!(answer.page() && answer.status == 429, "{path}: even the right password");
    }
    assert_eq!(wrong(&mut Browser::default(), &world, "ada").await.status, 429, "nor at the authorization endpoint");
    world.clock.advance(1);
    let answer = sign_in(&mine, &password("ada")).await;
    assert!(answer.page() && !answer.text().contains("Sign in"), "soft: a delay, no lock-out");
}

#[tokio::test]
async fn a_19_one_password_for_many_users_is_slowed_down_by_address() {
    let world = World::new().await;
    for _ in 0..100 {
        drop(world.authority.ports.limits.attempt(&[Caller::SignInFrom(None.into())], crate::world::NOON));
    }
    let answer = wrong(&mut Browser::default(), &world, "bob").await;
    assert!(answer.page() && answer.status == 429);
    world.clock.advance(2);
    assert_eq!(wrong(&mut Browser::default(), &world, "bob").await.status, 200);
}

#[tokio::test]
async fn a_19_client_secrets_are_guessed_thirty_at_a_time_and_no_other_client_waits() {
    let world = World::new().await;
    let guess = || but(client_credentials("daemon", "api://billing/.default"), "client_secret", Some("canary-guess"));
    for _ in 0..30 {
        assert_eq!(world.token(guess()).await.check(), "client.secret_correct");
    }
    let answer = world.token(client_credentials("daemon", "api://billing/.default")).await;
    assert_eq!(answer.refused(), (429, "temporarily_unavailable".into(), 50_053, "limits.attempts".into()));
    world.token(client_credentials("orders", "api://billing/.default")).await.ok();
    let elsewhere = Caller::Client(app("daemon"), Some("198.51.100.9".parse().unwrap()).into());
    assert!(world.authority.ports.limits.attempt(&[elsewhere], crate::world::NOON).is_ok(), "from elsewhere it may");
    world.clock.advance(1);
    world.token_at(&CONTOSO.to_string(), client_credentials("daemon", "api://billing/.default")).await.ok();
}

#[tokio::test]
async fn a_19_who_is_right_is_never_counted() {
    let world = World::new().await;
    for _ in 0..60 {
        world.token(client_credentials("daemon", "api://billing/.default")).await.ok();
    }
}

#[tokio::test]
async fn a_19_the_wait_that_is_told_is_the_wait_that_is_kept() {
    let world = World::new().await;
    let guess = || but(client_credentials("daemon", "api://billing/.default"), "client_secret", Some("canary-guess"));
    for _ in 0..30 {
        assert_eq!(world.token(guess()).await.status, 401);
    }
    for told in [1, 2, 4, 8, 16, 32, 60, 60] {
        let answer = world.token(guess()).await;
        assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (429, told.to_string().as_str()));
        world.clock.advance(told - 1);
        let still = world.token(guess()).await;
        assert_eq!((still.status.as_u16(), still.header("retry-after")), (429, "1"), "after {told} seconds but one");
        world.clock.advance(1);
        assert_eq!(world.token(guess()).await.status, 401, "soft: after {told} seconds one is let in");
    }
}

#[tokio::test]
async fn a_19_a_secret_is_guessed_at_every_endpoint_and_counted_at_each() {
    let world = World::new().await;
    let guess = || but(credential("orders"), "client_secret", Some("canary-guess"));
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let ask = async |endpoint: &str, params: crate::world::Params<'_>| {
        let params = [params, vec![("token", "x".to_owned()), ("scope", "openid".to_owned())]].concat();
        world.post(&format!("/{CONTOSO}/oauth2/v2.0/{endpoint}"), &form, encode(&params)).await
    };
    for endpoint in ["introspect", "revoke", "devicecode"] {
        for _ in 0..10 {
            assert_eq!(ask(endpoint, guess()).await.check(), "client.secret_correct", "{endpoint}");
        }
    }
    for endpoint in ["introspect", "revoke", "devicecode"] {
        let answer = ask(endpoint, credential("orders")).await;
        assert_eq!((answer.check().as_str(), answer.header("retry-after")), ("limits.attempts", "1"), "{endpoint}");
    }
    assert_eq!(world.token(client_credentials("orders", "api://billing/.default")).await.check(), "limits.attempts");
}

#[tokio::test]
async fn a_19_a_client_that_asks_too_often_waits_and_nobody_else_does() {
    let mut world = World::new().await;
    world.authority = world.authority.limited(Limits::requests_per_second(2));
    world.router = world.authority.router();
    let asked = || client_credentials("daemon", "api://billing/.default");
    // Who only uses its name takes none of what it may ask.
    for _ in 0..25 {
        assert_eq!(world.token(but(asked(), "client_secret", Some("canary-guess"))).await.status, 401);
    }
    for _ in 0..20 {
        world.token(asked()).await.ok();
    }
    let answer = world.token(asked()).await;
    assert_eq!(answer.refused(), (429, "temporarily_unavailable".into(), 90_055, "limits.requests".into()));
    assert_eq!(answer.header("retry-after"), "1");
    world.token(client_credentials("orders", "api://billing/.default")).await.ok();
    world.clock.advance(1);
    world.token(asked()).await.ok();
}

#[tokio::test]
async fn a_19_no_persons_refusal_says_when_to_come_again() {
    // Client libraries would replay it to everybody else behind the same client (spec/entra.md section 8.3).
    let world = World::new().await;
    let user = world.orders_token().await;
    for (form, check) in [
        (obo_form("orders", "no token", "api://billing/Invoices.Read"), "assertion.form"),
        (obo_form("billing", &user, "api://archive/Archive.Read"), "assertion.audience"),
        (obo_form("orders", &user, "api://billing/Invoices.Void"), "consent.granted"),
        (obo_form("orders", &user, "api://nowhere/x"), "resource.known"),
    ] {
        let answer = world.token(form).await;
        assert_eq!((answer.status.as_u16(), answer.check().as_str()), (400, check));
        assert!(answer.header("retry-after").is_empty(), "{check}");
    }
}
