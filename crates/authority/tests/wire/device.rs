//! Device authorization (RFC 8628): A-20, single use, and which client may.
use super::accounts::listed;
use super::logout::only;
use crate::world::browser::{Browser, PageForm};
use crate::world::estate::{CONTOSO, FABRIKAM, app, upn, user};
use crate::world::{Answer, Params, World, claims, encode, text};
use axum::body::Body;
use axum::http::Request;
use deputize_authority::ClientAddress;
use serde_json::Value;

pub(crate) const URN: &str = "urn:ietf:params:oauth:grant-type:device_code";
const SCOPE: &str = "openid profile offline_access api://orders/access_as_user";

async fn world() -> World {
    World::with(|plan| {
        for name in ["native", "gadget"] {
            plan.app(name).is_fallback_public_client = true;
            plan.app(name).sign_in_audience = deputize_core::model::SignInAudience::AzureADMultipleOrgs;
        }
    })
    .await
}

fn asking(client: &str) -> Params<'static> {
    vec![("client_id", app(client).to_string()), ("scope", SCOPE.to_owned())]
}

async fn begin_at(world: &World, path: &str, params: Params<'_>) -> Answer {
    let request = Request::post(path)
        .header("content-type", "application/x-www-form-urlencoded")
        .extension(ClientAddress("203.0.113.7".parse().unwrap()));
    world.send(request.body(Body::from(encode(&params))).unwrap()).await
}

async fn begin(world: &World, client: &str) -> Value {
    begin_at(world, &format!("/{CONTOSO}/oauth2/v2.0/devicecode"), asking(client)).await.ok()
}

fn polling(client: &str, begun: &Value) -> Params<'static> {
    vec![
        ("client_id", app(client).to_string()),
        ("grant_type", URN.to_owned()),
        ("device_code", text(begun, "device_code")),
    ]
}

async fn poll(world: &World, client: &str, begun: &Value) -> Answer {
    world.token(polling(client, begun)).await
}

/// Types a code; answers what came of it.
pub(crate) async fn enter(browser: &mut Browser, world: &World, code: &str) -> Answer {
    let page = browser.get(world, "/device").await;
    assert!(page.page());
    browser.submit(world, &page.form(), &[("user_code", code)]).await
}

/// From the code to the page that asks for approval.
pub(crate) async fn asked(browser: &mut Browser, world: &World, begun: &Value, user: &str) -> Answer {
    let answer = enter(browser, world, &text(begun, "user_code")).await;
    let mut answer = follow(browser, world, answer).await;
    if answer.status == 200 && answer.text().contains("<form ") && answer.form().action.ends_with("/sign-in") {
        answer = browser.sign_in(world, answer, user).await;
        answer = follow(browser, world, answer).await;
    }
    answer
}

pub(crate) async fn follow(browser: &mut Browser, world: &World, mut answer: Answer) -> Answer {
    while answer.status == 303 {
        let location = answer.header("location").to_owned();
        let path = location.strip_prefix(crate::world::HOST).unwrap_or(&location).to_owned();
        assert!(path.starts_with('/'), "{path}");
        answer = browser.get(world, &path).await;
    }
    answer
}

fn approval(page: &Answer) -> PageForm {
    let form = page.form();
    assert_eq!(form.action, "/device/approve", "{}", page.text());
    form
}

pub(crate) const YES: [(&str, &str); 2] = [("own", "true"), ("action", "continue")];

async fn approved(world: &World, client: &str, user: &str) -> Value {
    let begun = begin(world, client).await;
    let mut browser = Browser::default();
    let page = asked(&mut browser, world, &begun, user).await;
    let done = browser.submit(world, &approval(&page), &YES).await;
    assert!(done.page() && done.text().contains("You are signed in"), "{}", done.text());
    begun
}

#[tokio::test]
async fn a_device_gets_its_tokens_once_the_person_has_approved_it() {
    let world = world().await;
    let begun = begin(&world, "native").await;
    let code = text(&begun, "user_code");
    assert_eq!((code.len(), code.as_bytes()[4]), (9, b'-'));
    assert_eq!((begun["expires_in"].as_i64(), begun["interval"].as_i64()), (Some(900), Some(5)));
    assert!(begun["verification_uri_complete"].is_null(), "A-20: no link with the code filled in");
    assert!(text(&begun, "message").contains(&code) && text(&begun, "message").contains("/device"));
    let pending = poll(&world, "native", &begun).await;
    assert_eq!(pending.refused(), (400, "authorization_pending".into(), 70_016, "device.approved".into()));
    let mut browser = Browser::default();
    let page = asked(&mut browser, &world, &begun, "ada").await;
    assert!(page.page());
    for shown in ["The native", "contoso.example", "203.0.113.7", "ada@contoso.example"] {
        assert!(page.text().contains(shown), "the page names {shown}");
    }
    world.clock.advance(5);
    assert_eq!(poll(&world, "native", &begun).await.check(), "device.approved", "signing in alone approves nothing");
    browser.submit(&world, &approval(&page), &YES).await;
    let mut form = polling("native", &begun);
    // As MSAL for Python sends it: the code twice.
    form.extend([("code", text(&begun, "device_code")), ("client_info", "1".to_owned())]);
    let tokens = world.token(form).await.ok();
    let access = claims(&text(&tokens, "access_token"));
    assert_eq!((&*text(&access, "scp"), &*text(&access, "azpacr")), ("access_as_user", "0"));
    assert!(tokens["refresh_token"].is_string() && tokens["id_token"].is_string() && tokens["client_info"].is_string());
    world.refresh("native", &text(&tokens, "refresh_token"), None).await.ok();
    assert!(world.store.audit_verify(None).is_ok());
}

#[tokio::test]
async fn the_grant_has_two_names_and_the_endpoint_two_paths_and_every_alias() {
    let world = world().await;
    for (path, market, word) in [
        (format!("/{CONTOSO}/oauth2/devicecode?mkt=de-DE"), "", "Öffnen"),
        ("/contoso.example/oauth2/v2.0/devicecode".to_owned(), "fr-FR", "connecter"),
        ("/common/oauth2/v2.0/devicecode".to_owned(), "xx", "To sign in"),
        ("/organizations/oauth2/v2.0/devicecode".to_owned(), "", "To sign in"),
    ] {
        let mut params = asking("native");
        if !market.is_empty() {
            params.push(("mkt", market.to_owned()));
        }
        let begun = begin_at(&world, &path, params).await.ok();
        assert!(text(&begun, "message").contains(word), "{begun}");
        let mut browser = Browser::default();
        let page = asked(&mut browser, &world, &begun, "ada").await;
        browser.submit(&world, &approval(&page), &YES).await;
        let segment = path.split('/').nth(1).unwrap();
        let mut form = polling("native", &begun);
        form[1].1 = "device_code".to_owned();
        world.token_at(segment, form).await.ok();
    }
}

#[tokio::test]
async fn the_v1_endpoint_takes_a_resource() {
    let world = world().await;
    let params = vec![("client_id", app("native").to_string()), ("resource", "api://orders".to_owned())];
    let begun = begin_at(&world, "/contoso.example/oauth2/devicecode", params).await.ok();
    let page = asked(&mut Browser::default(), &world, &begun, "ada").await;
    assert!(page.page());
    let mut browser = Browser::default();
    let page = asked(&mut browser, &world, &begun, "ada").await;
    browser.submit(&world, &approval(&page), &YES).await;
    let mut form = polling("native", &begun);
    form.extend([("code", text(&begun, "device_code")), ("resource", "api://orders".to_owned())]);
    let tokens = world.post("/contoso.example/oauth2/token", &[], encode(&form)).await.ok();
    assert_eq!(claims(&text(&tokens, "access_token"))["scp"], "access_as_user");
    assert!(tokens["refresh_token"].is_string());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_20_a_device_code_works_once_and_a_replay_revokes_what_it_gave() {
    let world = world().await;
    let begun = approved(&world, "native", "ada").await;
    let answers = world.at_once(polling("native", &begun), 64).await;
    let (good, bad): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status == 200);
    assert_eq!(good.len(), 1);
    for answer in bad {
        // Who read the device before the first redemption, and its authorization after the first replay, sees it revoked.
        let (status, _, _, check) = answer.refused();
        assert!(status == 400 && ["device.unused", "user.not_revoked"].contains(&&*check), "{check}");
    }
    let replay = world.token(polling("native", &begun)).await;
    assert_eq!(replay.refused(), (400, "bad_verification_code".into(), 70_018, "device.unused".into()));
    let token = text(&good[0].json(), "refresh_token");
    assert_eq!(world.refresh("native", &token, None).await.check(), "user.not_revoked");
}

#[tokio::test]
async fn a_20_polling_too_fast_is_told_to_slow_down() {
    let world = world().await;
    for (client, slow) in [("native", "slow_down"), ("gadget", "slow_down")] {
        let begun = begin(&world, client).await;
        assert_eq!(poll(&world, client, &begun).await.check(), "device.approved");
        let answer = poll(&world, client, &begun).await;
        assert_eq!((text(&answer.json(), "error").as_str(), answer.status.as_u16()), (slow, 400));
        assert!(!answer.headers.contains_key("retry-after"), "MSAL would replay it to others");
        world.clock.advance(5);
        assert_eq!(text(&poll(&world, client, &begun).await.json(), "error"), slow, "ten seconds now");
        world.clock.advance(15);
        assert_eq!(poll(&world, client, &begun).await.check(), "device.approved");
    }
}

#[tokio::test]
async fn a_20_after_fifteen_minutes_there_is_nothing_to_approve_and_nothing_to_get() {
    let world = world().await;
    let (begun, late) = (begin(&world, "native").await, approved(&world, "native", "ada").await);
    let mut browser = Browser::default();
    let page = asked(&mut browser, &world, &begun, "ada").await;
    world.clock.advance(900);
    for begun in [&begun, &late] {
        let answer = poll(&world, "native", begun).await;
        assert_eq!(answer.refused(), (400, "expired_token".into(), 70_019, "device.current".into()));
    }
    let answer = browser.submit(&world, &approval(&page), &YES).await;
    assert!(answer.page() && !answer.text().contains("You are signed in"));
    let answer = enter(&mut browser, &world, &text(&begun, "user_code")).await;
    assert!(answer.text().contains("No device shows this code"), "{}", answer.text());
}

#[tokio::test]
async fn a_20_five_wrong_codes_are_all_that_a_browser_has() {
    let world = world().await;
    let begun = begin(&world, "native").await;
    let mut browser = Browser::default();
    for code in ["BBBB-BBBB", "", "hello", "CCCC-CCCC", "<script>alert(1)</script>"] {
        let answer = enter(&mut browser, &world, code).await;
        assert!(answer.page() && answer.status == 200 && !answer.text().contains("<script>alert"), "{code}");
    }
    let answer = enter(&mut browser, &world, &text(&begun, "user_code")).await;
    assert!(answer.page() && answer.text().contains("15 minutes"), "{}", answer.text());
    assert_eq!(answer.status, 429, "even the right one");
    let answer = enter(&mut Browser::default(), &world, &text(&begun, "user_code")).await;
    assert_eq!(answer.status, 303, "nobody else is kept waiting");
    world.clock.advance(899);
    let fresh = begin(&world, "native").await;
    assert_eq!(enter(&mut browser, &world, &text(&fresh, "user_code")).await.status, 429);
    world.clock.advance(1);
    assert_eq!(enter(&mut browser, &world, &text(&fresh, "user_code")).await.status, 303);
}

#[tokio::test]
async fn a_20_approval_stays_in_the_browser_and_session_that_typed_the_code() {
    let world = world().await;
    let begun = begin(&world, "native").await;
    let (mut attacker, mut victim) = (Browser::default(), Browser::default());
    victim.code(&world, "web", "ada", "openid").await;
    let entered = enter(&mut attacker, &world, &text(&begun, "user_code")).await;
    let link = entered.header("location").to_owned();
    // A link to the attacker's own authorization request, with the code filled in, opened by somebody else.
    let answer = victim.get(&world, &link).await;
    let answer = follow(&mut victim, &world, answer).await;
    assert_eq!(answer.status, 403, "{}", answer.text());
    let page = asked(&mut attacker, &world, &begun, "bob").await;
    let form = approval(&page);
    assert_eq!(victim.submit(&world, &form, &YES).await.status, 403, "another browser");
    let (kept, other) = (attacker.clone(), Browser::default());
    attacker.cookies.retain(|name, _| !name.contains("session"));
    assert_eq!(attacker.submit(&world, &form, &YES).await.status, 403, "no session");
    drop((kept, other));
    assert_eq!(poll(&world, "native", &begun).await.check(), "device.approved");
}

/// In a browser of several people it is the one who was picked who approves, and nobody once they have left.
#[tokio::test]
async fn a_20_among_several_accounts_a_device_gets_the_one_that_was_picked() {
    let world = world().await;
    let mut browser = Browser::default();
    browser.add(&world, "ada").await;
    browser.add(&world, "bob").await;
    let picked = async |browser: &mut Browser, begun: &Value, name: &str| {
        let page = enter(browser, &world, &text(begun, "user_code")).await;
        let page = follow(browser, &world, page).await;
        assert!(page.form().action.ends_with("/accounts"), "{}", page.text());
        let answer = browser.submit(&world, &page.form(), &[("account", &listed(&page, name))]).await;
        follow(browser, &world, answer).await
    };
    let (first, second, third) =
        (begin(&world, "native").await, begin(&world, "native").await, begin(&world, "native").await);
    let of_ada = picked(&mut browser, &first, "ada").await;
    let of_bob = picked(&mut browser, &second, "bob").await;
    assert!(of_ada.text().contains(&upn("ada")) && !of_ada.text().contains(&upn("bob")));
    assert!(of_bob.text().contains(&upn("bob")) && !of_bob.text().contains(&upn("ada")));
    // The page of one device approves no other, whoever is signed in.
    let mixed = approval(&of_ada).with("ticket", approval(&of_bob).hidden("ticket"));
    assert_eq!(browser.submit(&world, &mixed, &YES).await.status, 403);
    for page in [&of_ada, &of_bob] {
        assert!(browser.submit(&world, &approval(page), &YES).await.text().contains("You are signed in"));
    }
    for (begun, name) in [(&first, "ada"), (&second, "bob")] {
        let tokens = poll(&world, "native", begun).await.ok();
        assert_eq!(text(&claims(&text(&tokens, "access_token")), "oid"), user(name).to_string());
    }
    // Whoever has left meanwhile approves nothing, and nobody who stayed does it for them.
    let left = picked(&mut browser, &third, "bob").await;
    let page = browser.get(&world, &format!("/{CONTOSO}/oauth2/v2.0/logout?logout_hint={}", upn("bob"))).await;
    browser.submit(&world, &page.form(), &[("account", &only(&page))]).await;
    assert_eq!(browser.submit(&world, &approval(&left), &YES).await.status, 403);
    world.clock.advance(5);
    assert_eq!(poll(&world, "native", &third).await.check(), "device.approved");
}

#[tokio::test]
async fn a_20_one_click_approves_nothing_and_a_code_in_the_address_is_ignored() {
    let world = world().await;
    let begun = begin(&world, "native").await;
    let code = text(&begun, "user_code");
    let mut browser = Browser::default();
    for path in [format!("/device?user_code={code}"), format!("/device?otc={code}")] {
        let page = browser.get(&world, &path).await;
        assert!(page.page() && !page.text().contains(&code), "{path}");
    }
    let page = asked(&mut browser, &world, &begun, "ada").await;
    let form = approval(&page);
    let answer = browser.submit(&world, &form, &[("action", "continue")]).await;
    assert!(answer.status == 400 && answer.page(), "the box was not ticked");
    assert_eq!(poll(&world, "native", &begun).await.check(), "device.approved");
    let answer = browser.post(&world, "/device/approve", form.with("ticket", "").body(&YES)).await;
    assert_eq!(answer.status, 403);
    let answer = browser.submit(&world, &form, &YES).await;
    assert!(answer.text().contains("You are signed in"));
    let again = browser.submit(&world, &form, &YES).await;
    assert!(again.page() && again.status != 200, "once");
}

#[tokio::test]
async fn a_person_who_declines_ends_the_wait() {
    let world = world().await;
    for (client, error) in [("native", "authorization_declined"), ("gadget", "access_denied")] {
        let begun = begin(&world, client).await;
        let mut browser = Browser::default();
        let page = asked(&mut browser, &world, &begun, "ada").await;
        let answer = browser.submit(&world, &approval(&page), &[("action", "cancel")]).await;
        assert!(answer.page() && answer.text().contains("Nothing was allowed"));
        assert_eq!(text(&poll(&world, client, &begun).await.json(), "error"), error);
    }
}

#[tokio::test]
async fn only_public_clients_and_only_their_own_devices() {
    let world = world().await;
    let at = format!("/{CONTOSO}/oauth2/v2.0/devicecode");
    for (client, check) in [("web", "client.credential_present"), ("spa", "client.public_allowed")] {
        let answer = begin_at(&world, &at, asking(client)).await;
        assert_eq!(answer.refused(), (401, "invalid_client".into(), 7_000_218, check.into()), "{client}");
    }
    let answer = begin_at(&world, &at, vec![("client_id", app("native").to_string())]).await;
    assert_eq!(answer.check(), "scope.present");
    let answer = begin_at(&world, &at, vec![("client_id", "nobody".to_owned()), ("scope", SCOPE.to_owned())]).await;
    assert_eq!(answer.check(), "client.known");
    let begun = approved(&world, "native", "ada").await;
    assert_eq!(poll(&world, "gadget", &begun).await.check(), "device.known");
    assert_eq!(poll(&world, "spa", &begun).await.check(), "device.known");
    let foreign = world.token_at(&FABRIKAM.to_string(), polling("native", &begun)).await;
    assert_eq!(foreign.status, 400, "{}", foreign.text());
    let mut two = polling("native", &begun);
    two.push(("code", "another".to_owned()));
    assert_eq!(world.token(two).await.check(), "request.well_formed");
    let unknown = serde_json::json!({"device_code": "1.unknown"});
    let answer = poll(&world, "native", &unknown).await;
    assert_eq!(answer.refused(), (400, "bad_verification_code".into(), 70_018, "device.known".into()));
    let mut more = polling("native", &begun);
    more.push(("scope", "api://billing/Invoices.Approve".to_owned()));
    let tokens = world.token(more).await.ok();
    assert_eq!(claims(&text(&tokens, "access_token"))["scp"], "access_as_user", "what was approved, not what is asked");
}

#[tokio::test]
async fn a_19_what_was_disabled_since_binds_at_redemption() {
    for check in ["user.enabled", "user.not_revoked", "client.enabled", "client.public_allowed"] {
        let world = world().await;
        let begun = approved(&world, "native", "ada").await;
        match check {
            "user.enabled" => world.edit_user("ada", |user| user.account_enabled = false).await,
            "user.not_revoked" => {
                world.edit_user("ada", |user| user.sign_in_sessions_valid_from = crate::world::NOON.plus(1)).await;
            }
            "client.enabled" => world.edit_principal("native", |it| it.account_enabled = false).await,
            _ => world.edit_app("native", |it| it.is_fallback_public_client = false).await,
        }
        assert_eq!(poll(&world, "native", &begun).await.check(), check);
    }
}

#[tokio::test]
async fn a_19_strangers_begin_a_bounded_number_of_devices() {
    let world = world().await;
    let mut answers = Vec::new();
    for _ in 0..320 {
        answers.push(begin_at(&world, &format!("/{CONTOSO}/oauth2/v2.0/devicecode"), asking("native")).await);
    }
    assert!(answers[..300].iter().all(|answer| answer.status == 200));
    assert!(answers[300..].iter().all(|answer| answer.status == 429));
    world.clock.advance(60);
    begin(&world, "native").await;
}
