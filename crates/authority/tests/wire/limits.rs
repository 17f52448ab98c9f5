//! Guessing: a delay that grows, for the guesser; never a lock-out, and never for anybody else.
use crate::world::browser::{Browser, request};
use crate::world::estate::{CONTOSO, FABRIKAM, app, password, upn};
use crate::world::{Answer, World, but, client_credentials};
use deputize_core::limits::Caller;

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
        assert!(answer.text().contains("1 second") && !answer.header("retry-after").is_empty(), "{}", answer.text());
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
