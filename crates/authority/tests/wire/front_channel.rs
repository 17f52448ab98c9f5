//! Signing out of one account or all, and the applications that are told (OpenID Connect Front-Channel Logout 1.0).
use super::accounts::listed;
use crate::world::browser::{Browser, request};
use crate::world::estate::{CONTOSO, upn};
use crate::world::{Answer, HOST, World, but, claims, encode, text};
use axum::http::StatusCode;

const ORDERS: &str = "api://orders/access_as_user";
const BACK: &str = "https://app.example/signed-out";
const SESSION: &str = "__Host-deputize-session";

fn logout(params: &[(&'static str, &str)]) -> String {
    let params = params.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    format!("/{CONTOSO}/oauth2/v2.0/logout?{}", encode(&params))
}

/// The addresses in the page's frames.
fn told(answer: &Answer) -> Vec<String> {
    assert!(answer.page() && answer.status == StatusCode::OK, "{}", answer.status);
    let html = answer.text();
    let frames = html.split("<iframe src=\"").skip(1).map(|rest| rest.split('"').next().unwrap());
    frames.map(|address| address.replace("&#38;", "&")).collect()
}

/// Two applications that want to be told, and one that does not.
async fn world() -> World {
    World::with(|plan| {
        plan.app("web").web.logout_url = Some("https://app.example/told?a=b".into());
        plan.app("rival").web.logout_url = Some("http://localhost:3000/told".into());
    })
    .await
}

async fn id_token(world: &World, browser: &mut Browser, client: &str, user: &str) -> String {
    let hinted = but(request(client, &format!("openid {ORDERS}")), "login_hint", Some(&upn(user)));
    let answer = browser.complete(world, &hinted, user).await;
    text(&world.redeem(client, answer.value("code").unwrap()).await.ok(), "id_token")
}

#[tokio::test]
async fn applications_that_the_session_signed_in_to_are_told_in_frames_of_exactly_their_origins() {
    let world = world().await;
    let mut ada = Browser::default();
    let of_web = id_token(&world, &mut ada, "web", "ada").await;
    id_token(&world, &mut ada, "rival", "ada").await;
    id_token(&world, &mut ada, "strict", "ada").await;
    id_token(&world, &mut ada, "web", "ada").await;
    let sid = text(&claims(&of_web), "sid");
    let answer = ada.get(&world, &logout(&[("id_token_hint", &of_web), ("post_logout_redirect_uri", BACK)])).await;
    let told_with = format!(
        "iss={}&sid={sid}",
        "https%3A%2F%2Flogin.example%3A8443%2F".to_owned() + &CONTOSO.to_string() + "%2Fv2.0"
    );
    assert_eq!(
        told(&answer),
        [format!("https://app.example/told?a=b&{told_with}"), format!("http://localhost:3000/told?{told_with}")]
    );
    assert_eq!(text(&claims(&of_web), "iss"), format!("{HOST}/{CONTOSO}/v2.0"), "as the ID token says");
    let policy = answer.header("content-security-policy");
    assert!(policy.contains("; frame-src http://localhost:3000 https://app.example; "), "{policy}");
    let html = answer.text();
    assert_eq!(html.matches("sandbox=\"allow-same-origin allow-scripts\"").count(), 2);
    // Then it goes on to where the application wanted, without a script.
    assert_eq!(answer.header("refresh"), format!("3; url={BACK}"));
    assert!(html.contains(&format!("href=\"{BACK}\"")) && !html.contains("<script"));
    assert!(!ada.cookies.contains_key(SESSION));
    let again = ada.get(&world, &logout(&[("post_logout_redirect_uri", BACK), ("id_token_hint", &of_web)])).await;
    assert_eq!(again.redirected().0, BACK, "nobody is signed in, so nobody is told");
}

#[tokio::test]
async fn who_signed_in_again_is_signed_out_of_what_came_before_too() {
    let world = world().await;
    let mut ada = Browser::default();
    let scope = format!("openid offline_access {ORDERS}");
    let code = ada.code(&world, "web", "ada", &scope).await;
    let before = world.redeem("web", &code).await.ok();
    let login = but(request("rival", "openid"), "prompt", Some("login"));
    let page = ada.authorize(&world, &login).await;
    let (_, answer) = ada.sign_in(&world, page, "ada").await.redirected();
    let after = text(&world.redeem("rival", answer.value("code").unwrap()).await.ok(), "id_token");
    let (old, new) = (text(&claims(&text(&before, "id_token")), "sid"), text(&claims(&after), "sid"));
    assert_ne!(old, new);
    world.refresh("web", &text(&before, "refresh_token"), None).await.ok();
    // The first application's own hint still proves whose browser it is.
    let page = ada.get(&world, &logout(&[("id_token_hint", &text(&before, "id_token"))])).await;
    let addresses = told(&page);
    assert!(addresses[0].starts_with("https://app.example/told") && addresses[0].ends_with(&old), "{addresses:?}");
    assert!(addresses[1].starts_with("http://localhost:3000/told") && addresses[1].ends_with(&new), "{addresses:?}");
    let refused = world.refresh("web", &text(&before, "refresh_token"), None).await.refused();
    assert_eq!((refused.1.as_str(), refused.3.as_str()), ("invalid_grant", "session.alive"));
}

#[tokio::test]
async fn with_several_accounts_the_person_says_which_one_leaves() {
    let world = world().await;
    let mut browser = Browser::default();
    let of_ada = id_token(&world, &mut browser, "web", "ada").await;
    browser.add(&world, "bob").await;
    browser.add(&world, "carol").await;
    let page = browser.get(&world, &logout(&[])).await;
    for name in ["ada", "bob", "carol"] {
        assert!(page.text().contains(&upn(name)));
    }
    // A hint names one, and is still asked about: it proves nothing.
    let hinted = browser.get(&world, &logout(&[("logout_hint", "BOB@contoso.example")])).await;
    assert!(hinted.text().contains(&upn("bob")) && !hinted.text().contains(&upn("ada")));
    let html = hinted.text();
    let bobs = html.split("name=\"account\" value=\"").nth(1).unwrap().split('"').next().unwrap();
    assert!(told(&browser.submit(&world, &hinted.form(), &[("account", bobs)]).await).len() == 1);
    // No longer Bob; nobody without a name; and the form of one page works once.
    for wrong in [bobs, "", "x", "ALL"] {
        let refused = browser.submit(&world, &page.form(), &[("account", wrong)]).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN, "{wrong}");
    }
    // An ID token proves whose it is, and that one alone leaves.
    browser.get(&world, &logout(&[("id_token_hint", &of_ada)])).await;
    let only_carol = browser.authorize(&world, &request("web", ORDERS)).await;
    assert!(only_carol.redirected().1.value("code").is_some());
    browser.add(&world, "bob").await;
    let page = browser.get(&world, &logout(&[])).await;
    assert_ne!(listed(&page, "bob"), listed(&page, "carol"));
    let left = browser.submit(&world, &page.form(), &[("account", "all")]).await;
    assert_eq!(told(&left).len(), 2, "each with a session of its own");
    assert!(!browser.cookies.contains_key(SESSION));
    assert_eq!(browser.submit(&world, &page.form(), &[("account", "all")]).await.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn an_address_for_signing_out_that_is_none_is_shown_in_no_frame() {
    let world = World::with(|plan| plan.app("web").web.logout_url = Some("javascript:alert(1)".into())).await;
    let mut ada = Browser::default();
    let hint = id_token(&world, &mut ada, "web", "ada").await;
    let page = ada.get(&world, &logout(&[("id_token_hint", &hint)])).await;
    assert!(told(&page).is_empty() && !page.header("content-security-policy").contains("frame-src"));
    assert!(!page.text().contains("javascript:"));
}
