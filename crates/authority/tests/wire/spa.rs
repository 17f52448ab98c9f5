//! Single-page applications: what they get works in their pages alone, and for a day.
use crate::world::browser::{Browser, request};
use crate::world::estate::{CONTOSO, redirect};
use crate::world::{Answer, Params, World, but, encode, redeem_form, refresh_form, text, token_path};

const SCOPE: &str = "openid offline_access api://orders/access_as_user";
const ORIGIN: &str = "https://spa.example";

async fn from_page(world: &World, params: Params<'_>) -> Answer {
    world.post(&token_path(&CONTOSO.to_string()), &[("origin", ORIGIN)], encode(&params)).await
}

async fn code(world: &World) -> String {
    Browser::default().code(world, "spa", "ada", SCOPE).await
}

#[tokio::test]
async fn a_17_a_single_page_applications_code_and_tokens_work_in_its_pages_alone() {
    let world = World::new().await;
    let code = code(&world).await;
    let stolen = world.redeem("spa", &code).await;
    assert_eq!(stolen.refused(), (400, "invalid_request".into(), 9_002_327, "client.origin_present".into()));
    let late = from_page(&world, redeem_form("spa", &code)).await;
    assert_eq!(late.check(), "code.unused", "whoever presented it elsewhere may have stolen it");
    let code = self::code(&world).await;
    let answer = from_page(&world, redeem_form("spa", &code)).await;
    let token = text(&answer.ok(), "refresh_token");
    assert_eq!(answer.header("access-control-allow-origin"), ORIGIN);
    let stolen = world.refresh("spa", &token, None).await;
    assert_eq!(stolen.refused(), (400, "invalid_request".into(), 9_002_327, "client.origin_present".into()));
    from_page(&world, refresh_form("spa", &token, None)).await.ok();
}

#[tokio::test]
async fn a_17_what_went_to_another_platform_is_not_for_pages() {
    let world = World::new().await;
    // One registration with both: its native part must not be reachable from a page.
    world
        .edit_app("spa", |app| {
            app.public_client.redirect_uris = vec!["http://localhost/cb".to_owned()];
        })
        .await;
    let mut browser = Browser::default();
    let native = |name, uri: &str| but(request(name, SCOPE), "redirect_uri", Some(uri));
    let answer = browser.complete(&world, &native("spa", "http://localhost:9000/cb"), "ada").await;
    let form = but(redeem_form("spa", answer.value("code").unwrap()), "redirect_uri", Some("http://localhost:9000/cb"));
    let refusal = from_page(&world, form).await;
    assert_eq!(refusal.refused(), (400, "invalid_request".into(), 9_002_326, "client.origin".into()));
    let answer = browser.complete(&world, &native("spa", "http://localhost:9000/cb"), "ada").await;
    let form = but(redeem_form("spa", answer.value("code").unwrap()), "redirect_uri", Some("http://localhost:9000/cb"));
    let token = text(&world.token(form).await.ok(), "refresh_token");
    assert_eq!(from_page(&world, refresh_form("spa", &token, None)).await.check(), "client.origin");
    world.refresh("spa", &token, None).await.ok();
    assert_eq!(redirect("spa"), "https://spa.example/cb");
}

#[tokio::test]
async fn a_single_page_applications_refresh_tokens_end_a_day_after_the_sign_in_however_often_they_are_renewed() {
    let world = World::new().await;
    let code = code(&world).await;
    let first = text(&from_page(&world, redeem_form("spa", &code)).await.ok(), "refresh_token");
    let mut token = first;
    for _ in 0..3 {
        world.clock.advance(7 * 3_600);
        token = text(&from_page(&world, refresh_form("spa", &token, None)).await.ok(), "refresh_token");
    }
    world.clock.advance(3 * 3_600);
    let answer = from_page(&world, refresh_form("spa", &token, None)).await;
    assert_eq!(answer.refused(), (400, "invalid_grant".into(), 700_084, "refresh.spa_current".into()));
    assert_eq!(text(&answer.json(), "suberror"), "bad_token", "MSAL asks the user");
}
