//! Signing in and agreeing: pages are bound to browser, session, tenant and request, and work once.
use crate::world::browser::{Browser, PageForm, request};
use crate::world::estate::{CONTOSO, FABRIKAM, password, principal, upn, user};
use crate::world::{Answer, HOST, World, but, claims, encode, text};
use axum::http::StatusCode;
use deputize_core::directory::UserKey;
use deputize_core::ports::Directory;

const ORDERS: &str = "api://orders/access_as_user";
/// Users may consent to it themselves, and nobody has.
const APPROVE: &str = "api://billing/Invoices.Approve";

pub(super) async fn sign_in_page(world: &World, browser: &mut Browser, client: &str) -> PageForm {
    browser.authorize(world, &request(client, ORDERS)).await.form()
}

fn typed(name: &str) -> [(&'static str, String); 2] {
    [("username", upn(name)), ("password", password(name))]
}

/// A page that says no: nothing is redirected and nothing signed in.
fn forged(answer: &Answer) {
    assert!(answer.page());
    assert_eq!(answer.status, StatusCode::FORBIDDEN, "{}", answer.text());
    assert!(answer.header("location").is_empty() && answer.header("set-cookie").is_empty());
}

#[tokio::test]
async fn a_10_a_sign_in_page_works_for_the_browser_it_was_shown_to_once() {
    let world = World::new().await;
    let [username, secret] = typed("ada");
    let typed: Vec<(&str, &str)> = vec![(username.0, &username.1), (secret.0, &secret.1)];
    let mut victim = Browser::default();
    let mut attacker = Browser::default();
    let theirs = sign_in_page(&world, &mut attacker, "web").await;
    // Login CSRF: the attacker's page in the victim's browser, with and without cookies of their own.
    forged(&victim.submit(&world, &theirs, &typed).await);
    let own = sign_in_page(&world, &mut victim, "web").await;
    forged(&victim.submit(&world, &theirs, &typed).await);
    forged(&victim.submit(&world, &own.with("ticket", theirs.hidden("ticket")), &typed).await);
    // Another request under the same ticket; a ticket cut, altered, empty.
    let elsewhere = own.hidden("request").replace("state", "stats");
    let ticket = own.hidden("ticket").to_owned();
    let mut altered = ticket.clone();
    let last = altered.pop();
    altered.push(if last == Some('A') { 'B' } else { 'A' });
    forged(&victim.submit(&world, &own.with("request", &elsewhere), &typed).await);
    forged(&victim.submit(&world, &own.with("request", ""), &typed).await);
    for wrong in ["", "x", &ticket[1..], &ticket[..ticket.len() - 1], &format!("{ticket}="), &altered] {
        forged(&victim.submit(&world, &own.with("ticket", wrong), &typed).await);
    }
    // From elsewhere, as browsers tell it.
    for headers in [
        vec![("origin", "https://evil.test")],
        vec![("origin", "null")],
        vec![("sec-fetch-site", "cross-site")],
        vec![("sec-fetch-site", "same-site"), ("origin", HOST)],
        vec![("sec-fetch-site", "same-origin"), ("origin", "https://evil.test")],
    ] {
        forged(&world.post(&own.action, &headers, own.body(&typed)).await);
    }
    let wrong = [("username", "ada@contoso.example"), ("password", "guess")];
    let again = victim.submit(&world, &own, &wrong).await;
    assert!(again.page() && again.text().contains("wrong") && !again.headers.contains_key("set-cookie"));
    let answer = victim.submit(&world, &own, &typed).await;
    assert!(answer.redirected().1.value("code").is_some());
    forged(&victim.submit(&world, &own, &typed).await);
    world.clock.advance(3_601);
    let stale = sign_in_page(&world, &mut attacker, "web").await;
    world.clock.advance(3_601);
    forged(&attacker.submit(&world, &stale, &typed).await);
}

/// Browsers send no cookie along with what another site posts (`SameSite=Lax`), but keep what the answer sets.
#[tokio::test]
async fn m_03_a_request_that_another_site_posts_costs_a_browser_none_of_its_open_pages() {
    let world = World::new().await;
    let foreign = [("origin", "https://evil.test"), ("sec-fetch-site", "cross-site")];
    let mut browser = Browser::default();
    let open = sign_in_page(&world, &mut browser, "web").await;
    let asking = request("web", "openid");
    let v1 = but(but(asking.clone(), "scope", None), "resource", Some("api://orders"));
    for (path, params) in [
        (format!("/{CONTOSO}/oauth2/v2.0/authorize"), &asking),
        (format!("/{CONTOSO}/oauth2/authorize"), &v1),
        ("/organizations/oauth2/v2.0/authorize".to_owned(), &asking),
    ] {
        let answer = world.post(&path, &foreign, encode(params)).await;
        assert!(!answer.headers.contains_key("set-cookie"), "{path}");
        // Clients may post their requests: the same is asked for again, and cookies come along.
        let (again, form) = answer.redirected();
        assert_eq!(again, path);
        assert_eq!((form.value("client_id"), form.value("state")), (Some(&*params[0].1), Some("the state")), "{path}");
        let page = browser.get(&world, answer.header("location")).await;
        assert!(page.page() && page.form().action.contains("/sign-in"), "{path}: {}", page.text());
        assert!(page.header("set-cookie").is_empty(), "{path}");
    }
    // Our own pages read the query alone, and set no cookie for a form, either.
    for path in ["adminconsent", "v2.0/adminconsent"].map(|path| format!("/{CONTOSO}/{path}")) {
        let answer = world.post(&path, &foreign, encode(&asking)).await;
        assert!(!answer.headers.contains_key("set-cookie"), "{path}");
        assert_eq!(answer.redirected().0.trim_end_matches('?'), path);
    }
    let [name, secret] = typed("ada");
    let answer = browser.submit(&world, &open, &[(name.0, &name.1), (secret.0, &secret.1)]).await;
    assert!(answer.redirected().1.value("code").is_some(), "the page that was open works");
    // The path that was called says nothing of where to go on.
    let answer = world.post("/%2Fevil.test/oauth2/v2.0/authorize", &foreign, encode(&asking)).await;
    assert!(answer.page() && answer.header("location").is_empty());
    // With its cookie, a posted request is answered at once.
    let cookie = format!("__Host-deputize-browser={}", browser.cookies["__Host-deputize-browser"]);
    let headers = [("cookie", cookie.as_str())];
    let answer = world.post(&format!("/{CONTOSO}/oauth2/v2.0/authorize"), &headers, encode(&asking)).await;
    assert!(answer.page() && answer.status == StatusCode::OK);
}

#[tokio::test]
async fn a_10_signing_in_never_takes_over_a_session_that_was_there() {
    let world = World::new().await;
    let mut attacker = Browser::default();
    attacker.code(&world, "web", "bob", ORDERS).await;
    // The attacker's cookies, planted in the victim's browser.
    let mut victim = attacker.clone();
    let before = victim.cookies.clone();
    let login = but(request("web", ORDERS), "prompt", Some("login"));
    let page = victim.authorize(&world, &login).await;
    let answer = victim.sign_in(&world, page, "ada").await;
    let (_, answer) = answer.redirected();
    assert_ne!(victim.cookies["__Host-deputize-session"], before["__Host-deputize-session"], "a new session");
    let token = text(&world.redeem("web", answer.value("code").unwrap()).await.ok(), "access_token");
    assert_eq!(claims(&token)["oid"], user("ada").to_string());
    let code = attacker.code(&world, "web", "nobody", ORDERS).await;
    let token = text(&world.redeem("web", &code).await.ok(), "access_token");
    assert_eq!(claims(&token)["oid"], user("bob").to_string(), "the attacker is who they were");
}

#[tokio::test]
async fn a_10_who_signs_in_again_leaves_no_cookie_of_before_behind() {
    let world = World::new().await;
    let mut ada = Browser::default();
    let scope = format!("openid offline_access {ORDERS}");
    let code = ada.code(&world, "web", "ada", &scope).await;
    let before = text(&world.redeem("web", &code).await.ok(), "refresh_token");
    let mut copied = ada.clone();
    let page = ada.authorize(&world, &but(request("web", ORDERS), "prompt", Some("login"))).await;
    ada.sign_in(&world, page, "ada").await.redirected();
    let page = copied.authorize(&world, &request("web", ORDERS)).await;
    assert!(page.page() && page.form().action.ends_with("/sign-in"), "a copy of the old cookie signs nobody in");
    ada.authorize(&world, &request("web", ORDERS)).await.redirected();
    world.refresh("web", &before, None).await.ok();
}

#[tokio::test]
async fn a_10_consent_is_bound_to_session_request_and_page() {
    let world = World::new().await;
    let accept = [("action", "accept")];
    let granted = async |name: &str| {
        let record = world.store.user(CONTOSO, UserKey::Id(user(name))).await.unwrap().unwrap();
        record.grants.get(&(principal("web"), principal("billing"))).map(ToString::to_string)
    };
    let consent_page = async |browser: &mut Browser, name: &str| {
        let page = browser.authorize(&world, &request("web", APPROVE)).await;
        let page =
            if page.form().action.ends_with("sign-in") { browser.sign_in(&world, page, name).await } else { page };
        assert!(page.page() && page.text().contains("Invoices.Approve"), "{}", page.text());
        page.form()
    };
    let (mut ada, mut bob) = (Browser::default(), Browser::default());
    let of_ada = consent_page(&mut ada, "ada").await;
    let of_bob = consent_page(&mut bob, "bob").await;
    // Hydra PR 770: the attacker's consent page, agreed to by the victim, and the other way round.
    forged(&ada.submit(&world, &of_bob, &accept).await);
    forged(&bob.submit(&world, &of_ada, &accept).await);
    forged(&ada.submit(&world, &of_ada.with("ticket", of_bob.hidden("ticket")), &accept).await);
    forged(&Browser::default().submit(&world, &of_ada, &accept).await);
    // What is granted is what was shown, whatever the posted request says.
    let wider = of_ada.hidden("request").replace("Invoices.Approve", "Invoices.Void");
    forged(&ada.submit(&world, &of_ada.with("request", &wider), &accept).await);
    // A sign-in page's ticket is none for consent.
    let login = ada.authorize(&world, &but(request("web", APPROVE), "prompt", Some("login"))).await.form();
    forged(&ada.submit(&world, &of_ada.with("ticket", login.hidden("ticket")), &accept).await);
    for site in ["cross-site", "same-site", "none"] {
        let cookies = ada.cookies.iter().map(|(n, v)| format!("{n}={v}")).collect::<Vec<_>>().join("; ");
        let headers = [("cookie", cookies.as_str()), ("sec-fetch-site", site)];
        forged(&world.post(&of_ada.action, &headers, of_ada.body(&accept)).await);
    }
    assert_eq!((granted("ada").await, granted("bob").await), (None, None), "nobody has agreed to anything");
    // No, in every spelling, is no.
    for no in ["cancel", "", "Accept", "accept "] {
        let fresh = consent_page(&mut ada, "ada").await;
        let (_, answer) = ada.submit(&world, &fresh, &[("action", no)]).await.redirected();
        assert_eq!((answer.value("error"), answer.value("code")), (Some("access_denied"), None), "{no:?}");
    }
    assert_eq!(granted("ada").await, None);
    // `for_all` counts for administrators only, whoever sends it.
    let fresh = consent_page(&mut ada, "ada").await;
    let (_, answer) = ada.submit(&world, &fresh, &[("action", "accept"), ("for_all", "true")]).await.redirected();
    assert!(answer.value("code").is_some());
    assert_eq!(granted("ada").await.as_deref(), Some("Invoices.Approve"));
    forged(&ada.submit(&world, &fresh, &accept).await);
    let again = consent_page(&mut bob, "bob").await;
    assert_eq!(granted("bob").await, None, "Bob is still asked");
    bob.submit(&world, &again, &accept).await.redirected();
    assert_eq!(granted("bob").await.as_deref(), Some("Invoices.Approve"));
}

#[tokio::test]
async fn a_10_a_page_of_one_tenant_is_none_of_another() {
    let world = World::new().await;
    let mut ada = Browser::default();
    let page = ada.authorize(&world, &request("web", APPROVE)).await;
    let mut consent = ada.sign_in(&world, page, "ada").await.form();
    let before = world.store.objects().unwrap().len();
    consent.action = format!("/{FABRIKAM}/consent");
    let answer = ada.submit(&world, &consent, &[("action", "accept")]).await;
    forged(&answer);
    assert_eq!(world.store.objects().unwrap().len(), before, "no consent was recorded");
    consent.action = format!("/{CONTOSO}/consent");
    assert!(ada.submit(&world, &consent, &[("action", "accept")]).await.redirected().1.value("code").is_some());
}

#[tokio::test]
async fn a_10_posting_a_page_twice_at_once_signs_in_and_agrees_once() {
    let world = World::new().await;
    let mut ada = Browser::default();
    let [name, secret] = typed("ada");
    let sign_in = ada.authorize(&world, &request("web", APPROVE)).await.form();
    let twice = async |form: &PageForm, ada: &Browser, typed: &[(&str, &str)]| {
        let (mut one, mut two) = (ada.clone(), ada.clone());
        let (first, second) = tokio::join!(one.submit(&world, form, typed), two.submit(&world, form, typed));
        let statuses = [first.status.as_u16(), second.status.as_u16()];
        assert_eq!(statuses.iter().filter(|status| **status == 403).count(), 1, "{statuses:?}");
        if first.status == 403 { (two, second) } else { (one, first) }
    };
    let (ada, page) = twice(&sign_in, &ada, &[(name.0, &name.1), (secret.0, &secret.1)]).await;
    let (_, answer) = twice(&page.form(), &ada, &[("action", "accept")]).await;
    assert!(answer.redirected().1.value("code").is_some());
}

#[tokio::test]
async fn an_administrator_may_agree_for_everyone_and_users_cannot_agree_to_what_is_theirs() {
    let world = World::new().await;
    let void = request("web", "api://billing/Invoices.Void");
    let mut bob = Browser::default();
    let page = bob.authorize(&world, &void).await;
    let refused = bob.sign_in(&world, page, "bob").await;
    assert!(refused.page() && refused.text().contains("consent.admin"), "{}", refused.text());
    let mut carol = Browser::default();
    let page = carol.authorize(&world, &void).await;
    let page = carol.sign_in(&world, page, "carol").await;
    let agreed = carol.submit(&world, &page.form(), &[("action", "accept"), ("for_all", "true")]).await;
    assert!(agreed.redirected().1.value("code").is_some());
    let (_, answer) = bob.authorize(&world, &void).await.redirected();
    assert!(answer.value("code").is_some(), "{answer:?}");
}
