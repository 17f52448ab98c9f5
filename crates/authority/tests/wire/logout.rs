//! Signing out: where it leads, who may ask for it, and what ends with it.
use crate::world::browser::{Browser, request};
use crate::world::estate::{CONTOSO, app};
use crate::world::{Answer, World, encode, text};
use axum::http::StatusCode;

const OFFLINE: &str = "openid offline_access api://orders/access_as_user";
const BACK: &str = "https://app.example/signed-out";

fn logout(params: &[(&str, &str)]) -> String {
    let params = params.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    format!("/{CONTOSO}/oauth2/v2.0/logout?{}", encode(&params))
}

/// The one account that a sign-out page is about.
pub(super) fn only(page: &Answer) -> String {
    let html = page.text();
    let mut buttons = html.split("name=\"account\" value=\"").skip(1);
    let value = buttons.next().unwrap().split('"').next().unwrap().to_owned();
    assert!(buttons.next().is_none(), "one button: {html}");
    value
}

#[tokio::test]
async fn a_09_signing_out_leads_to_registered_addresses_only() {
    let world = World::new().await;
    let client = app("web").to_string();
    for uri in [
        "https://evil.test/",
        "//evil.test",
        "/\\evil.test",
        "/",
        "javascript:alert(1)",
        "https://app.example@evil.test/",
        "https://app.example/signed-out.evil.test",
        "https://app.example/signed-out?x",
        "https://app.example/signed-out#x",
        "https://app.example/Signed-Out",
        "https://rival.example/cb",
        "",
    ] {
        for with in [Some(client.as_str()), None] {
            let mut params = vec![("post_logout_redirect_uri", uri)];
            params.extend(with.map(|client| ("client_id", client)));
            let answer = Browser::default().get(&world, &logout(&params)).await;
            assert!(answer.page() && answer.status == 200, "{uri}");
            assert!(!answer.text().contains("evil.test") && answer.header("location").is_empty(), "{uri}");
        }
    }
    // Registered, but nobody says for whom.
    let nobody = world.get(&logout(&[("post_logout_redirect_uri", BACK)])).await;
    assert!(nobody.page() && nobody.header("location").is_empty());
    let state = "a b&c=d#e\u{e9}";
    let answer =
        world.get(&logout(&[("post_logout_redirect_uri", BACK), ("client_id", &client), ("state", state)])).await;
    let (uri, back) = answer.redirected();
    assert_eq!((uri.as_str(), back.value("state")), (BACK, Some(state)));
    let split =
        world.get(&logout(&[("post_logout_redirect_uri", BACK), ("client_id", &client), ("state", "a\r\nx: y")])).await;
    assert!(split.page() && split.status == 400);
}

#[tokio::test]
async fn signing_out_is_asked_for_unless_the_request_proves_whose_it_is() {
    let world = World::new().await;
    let (mut ada, mut bob) = (Browser::default(), Browser::default());
    let code = ada.code(&world, "web", "ada", OFFLINE).await;
    let tokens = world.redeem("web", &code).await.ok();
    let id_token = text(&tokens, "id_token");
    let code = bob.code(&world, "web", "bob", OFFLINE).await;
    let of_bob = text(&world.redeem("web", &code).await.ok(), "id_token");
    let alive = async |browser: &mut Browser| {
        browser.authorize(&world, &request("web", OFFLINE)).await.status == StatusCode::SEE_OTHER
    };
    // Another site leads the browser here: with nothing, with another's ID token, with any other token.
    let access = text(&tokens, "access_token");
    let unsigned = format!("{}.", id_token.rsplit_once('.').unwrap().0);
    for hint in ["", "x", &of_bob, &access, &unsigned] {
        let page = ada.get(&world, &logout(&[("id_token_hint", hint), ("post_logout_redirect_uri", BACK)])).await;
        assert!(page.page() && page.form().action.ends_with("/sign-out"), "{hint}");
        assert!(alive(&mut ada).await, "{hint}");
    }
    // The page's own form: of another browser, from elsewhere, and then right.
    let page = ada.get(&world, &logout(&[])).await;
    let (own, page) = (only(&page), page.form());
    let account = [("account", own.as_str())];
    let of_bob = bob.get(&world, &logout(&[])).await.form();
    assert_eq!(ada.submit(&world, &of_bob, &account).await.status, StatusCode::FORBIDDEN);
    assert_eq!(
        ada.submit(&world, &page.with("ticket", of_bob.hidden("ticket")), &account).await.status,
        StatusCode::FORBIDDEN
    );
    let forged = world.post(&page.action, &[("origin", "https://evil.test")], page.body(&account)).await;
    assert_eq!(forged.status, StatusCode::FORBIDDEN);
    assert!(alive(&mut ada).await);
    assert_eq!(ada.submit(&world, &page, &[]).await.status, StatusCode::FORBIDDEN, "it says of whom");
    assert!(alive(&mut ada).await);
    assert!(ada.submit(&world, &page, &account).await.page());
    assert!(!ada.cookies.contains_key("__Host-deputize-session") && !alive(&mut ada).await);
    // With a hint that proves it, nobody is asked.
    let code = ada.code(&world, "web", "ada", OFFLINE).await;
    let id_token = text(&world.redeem("web", &code).await.ok(), "id_token");
    let answer = ada.get(&world, &logout(&[("id_token_hint", &id_token), ("post_logout_redirect_uri", BACK)])).await;
    assert_eq!(answer.redirected().0, BACK);
    assert!(!alive(&mut ada).await && alive(&mut bob).await);
}

#[tokio::test]
async fn a_09_whose_address_it_is_is_said_by_the_hint_before_anything_else() {
    let world = World::new().await;
    let mut ada = Browser::default();
    let code = ada.code(&world, "web", "ada", OFFLINE).await;
    let id_token = text(&world.redeem("web", &code).await.ok(), "id_token");
    let rival = app("rival").to_string();
    for (uri, goes) in [("https://rival.example/cb", false), (BACK, true)] {
        let params = [("id_token_hint", id_token.as_str()), ("client_id", &rival), ("post_logout_redirect_uri", uri)];
        let answer = ada.clone().get(&world, &logout(&params)).await;
        assert_eq!(answer.header("location"), if goes { uri } else { "" }, "{}", answer.text());
    }
}

#[tokio::test]
async fn m_03_a_form_that_another_site_posts_signs_nobody_out() {
    let world = World::new().await;
    let mut ada = Browser::default();
    let code = ada.code(&world, "web", "ada", OFFLINE).await;
    let id_token = text(&world.redeem("web", &code).await.ok(), "id_token");
    // Browsers send no cookie along (`SameSite=Lax`), but keep what the answer sets.
    let foreign = [("origin", "https://evil.test"), ("sec-fetch-site", "cross-site")];
    for path in [format!("/{CONTOSO}/oauth2/v2.0/logout"), "/%2Fevil.test/oauth2/logout".to_owned()] {
        let answer = world.post(&path, &foreign, encode(&vec![("state", "s".to_owned())])).await;
        assert!(!answer.headers.contains_key("set-cookie"), "{path}");
        let (again, form) = answer.redirected();
        assert_eq!((again.as_str(), form.value("state")), ("/common/oauth2/v2.0/logout", Some("s")), "{path}");
        let page = ada.get(&world, answer.header("location")).await;
        assert!(page.page() && page.form().action.ends_with("/sign-out"), "asked as by a link");
    }
    // A client that posts its request is served the same.
    let hint = encode(&vec![("id_token_hint", id_token), ("post_logout_redirect_uri", BACK.to_owned())]);
    let answer =
        world.post(&format!("/{CONTOSO}/oauth2/v2.0/logout"), &[("origin", "https://app.example")], hint).await;
    assert_eq!(ada.get(&world, answer.header("location")).await.redirected().0, BACK);
    assert!(!ada.cookies.contains_key("__Host-deputize-session"));
    // A cookie of sessions that are over is taken away, where it is brought; where none is, none is touched.
    let mut late = ada.clone();
    late.cookies.insert("__Host-deputize-session".to_owned(), "over".to_owned());
    assert!(late.get(&world, &logout(&[])).await.page() && !late.cookies.contains_key("__Host-deputize-session"));
    assert!(!world.get(&logout(&[])).await.headers.contains_key("set-cookie"));
}

#[tokio::test]
async fn what_stems_from_a_session_ends_with_it() {
    let world = World::new().await;
    let mut ada = Browser::default();
    let code = ada.code(&world, "web", "ada", OFFLINE).await;
    let tokens = world.redeem("web", &code).await.ok();
    let (access, refresh) = (text(&tokens, "access_token"), text(&tokens, "refresh_token"));
    let downstream = world.obo("orders", &access, "openid offline_access api://billing/Invoices.Read").await.ok();
    let of_orders = text(&downstream, "refresh_token");
    let own = world.signed_in("web", "ada", "openid profile").await;
    let unredeemed = ada.code(&world, "web", "ada", OFFLINE).await;
    let stolen = ada.clone();
    ada.get(&world, &logout(&[("id_token_hint", &text(&tokens, "id_token"))])).await;
    let refused = [
        world.refresh("web", &refresh, None).await,
        world.refresh("orders", &of_orders, None).await,
        world.obo("orders", &access, "api://billing/Invoices.Read").await,
        world.obo("billing", &text(&downstream, "access_token"), "api://archive/Archive.Read").await,
        world.redeem("web", &unredeemed).await,
    ];
    for answer in refused {
        assert_eq!(answer.refused(), (400, "invalid_grant".into(), 50_132, "session.alive".into()));
    }
    let page = stolen.clone().authorize(&world, &request("web", OFFLINE)).await;
    assert!(page.page() && page.form().action.ends_with("/sign-in"), "a kept cookie signs nobody in");
    let bearer = format!("Bearer {}", text(&own, "access_token"));
    let path = format!("/{CONTOSO}/openid/userinfo");
    assert_eq!(world.post(&path, &[("authorization", &bearer)], "").await.status, 200, "another session lives on");
}

#[tokio::test]
async fn a_09_the_sign_out_page_posts_to_this_host_whatever_the_path_says() {
    let world = World::new().await;
    let mut ada = Browser::default();
    ada.code(&world, "web", "ada", OFFLINE).await;
    for segment in [
        "%2Fevil.test",
        "%5Cevil.test",
        "%2F%2Fevil.test",
        "https:%2F%2Fevil.test",
        "..%2F..",
        "%22%3E%3Cscript%3E",
        "nowhere",
        "common",
    ] {
        let path = format!("/{segment}/oauth2/v2.0/logout?post_logout_redirect_uri=https%3A%2F%2Fevil.test%2F");
        let page = ada.get(&world, &path).await;
        assert!(page.page() && !page.text().contains("<script>"), "{segment}");
        assert_eq!(page.form().action, format!("/{CONTOSO}/sign-out"), "{segment}");
        assert!(!page.header("content-security-policy").contains("evil.test"), "nor may its form lead there");
    }
}
