//! Work orders on the wire (F4): the kill matrix as a worker meets it, and the page on which their user finds them. What
//! each change of state does to them within a second is a row of X-01 in `matrix`.
use crate::second_factor::{Device, at_second_factor};
use crate::world::browser::Browser;
use crate::world::estate::{CONTOSO, app, grant, password, policy, upn, user};
use crate::world::{ASSERTION_TYPE, Answer, HOST, Params, World, but, claims, credential, encode, keys, text};
use deputize_core::model::GrantControls;
use oauth::{TOKEN_TYPE_ACCESS_TOKEN, TOKEN_TYPE_WORK_ORDER};
use serde_json::{Value, json};
use store::Object;

pub(crate) const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const READ: &str = "api://billing/Invoices.Read";
const DIGEST: &str = "sha-256=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:";

fn changed<'a>(form: Params<'a>, changes: &[(&'a str, &str)]) -> Params<'a> {
    changes.iter().fold(form, |form, (name, value)| but(form, name, Some(value)))
}

/// A request of `name` for an order that the same application redeems, on the strength of a token.
pub(crate) fn order_form<'a>(name: &str, token: &str, changes: &[(&'a str, &str)]) -> Params<'a> {
    let mut form = credential(name);
    form.extend([
        ("grant_type", EXCHANGE.to_owned()),
        ("requested_token_type", TOKEN_TYPE_WORK_ORDER.to_owned()),
        ("subject_token", token.to_owned()),
        ("subject_token_type", TOKEN_TYPE_ACCESS_TOKEN.to_owned()),
        ("scope", READ.to_owned()),
        ("may_act", json!({"sub": app(name)}).to_string()),
        ("purpose", "Export the invoices of the day".to_owned()),
    ]);
    changed(form, changes)
}

pub(crate) fn redeem_form<'a>(name: &str, handle: &str, changes: &[(&'a str, &str)]) -> Params<'a> {
    changed([credential(name), redemption(handle)].concat(), changes)
}

fn redemption(handle: &str) -> Params<'static> {
    vec![
        ("grant_type", EXCHANGE.to_owned()),
        ("subject_token", handle.to_owned()),
        ("subject_token_type", TOKEN_TYPE_WORK_ORDER.to_owned()),
    ]
}

async fn order(world: &World, changes: &[(&str, &str)]) -> String {
    text(&world.token(order_form("orders", &world.orders_token().await, changes)).await.ok(), "access_token")
}

async fn redeem(world: &World, handle: &str) -> Answer {
    world.token(redeem_form("orders", handle, &[])).await
}

/// As a client that proves itself with its certificate.
async fn redeem_with(world: &World, name: &str, key: &keys::ClientKey, handle: &str) -> Answer {
    let (id, audience) = (app(name).to_string(), format!("{HOST}/{CONTOSO}/oauth2/v2.0/token"));
    let now = world.authority.ports.now();
    let assertion = jose::assertion::sign(&key.ps256, &key.certificate, &id, &audience, "1", now).unwrap();
    let own =
        vec![("client_id", id), ("client_assertion_type", ASSERTION_TYPE.to_owned()), ("client_assertion", assertion)];
    world.token([own, redemption(handle)].concat()).await
}

async fn revoke(world: &World, name: &str, token: &str) {
    let mut form = credential(name);
    form.push(("token", token.to_owned()));
    assert_eq!(world.post(&format!("/{CONTOSO}/oauth2/v2.0/revoke"), &[], encode(&form)).await.status, 200);
}

#[tokio::test]
async fn a_token_is_traded_for_a_handle_and_the_handle_for_a_token() {
    let world = World::new().await;
    let asked = world.token(order_form("orders", &world.orders_token().await, &[("redemptions", "2")])).await.ok();
    assert_eq!((&asked["token_type"], &asked["expires_in"]), (&json!("N_A"), &json!(86_400)));
    assert_eq!((&asked["issued_token_type"], &asked["scope"]), (&json!(TOKEN_TYPE_WORK_ORDER), &json!(READ)));
    let handle = text(&asked, "access_token");
    let answer = redeem(&world, &handle).await.ok();
    assert_eq!(
        (&answer["token_type"], &answer["issued_token_type"]),
        (&json!("Bearer"), &json!(TOKEN_TYPE_ACCESS_TOKEN))
    );
    let token = claims(&text(&answer, "access_token"));
    assert_eq!((&token["oid"], &token["scp"]), (&json!(user("ada")), &json!("Invoices.Read")));
    assert_eq!(token["act"], json!({"sub": app("orders"), "act": {"sub": app("web")}}));
    // The v1.0 endpoint answers the same: RFC 8693 knows no versions.
    let path = format!("/{CONTOSO}/oauth2/token");
    let v1 = world.post(&path, &[], encode(&redeem_form("orders", &handle, &[]))).await.ok();
    assert_eq!(v1["issued_token_type"], json!(TOKEN_TYPE_ACCESS_TOKEN));
    // At rest there is a digest.
    let kept = std::fs::read(world.folder.file()).unwrap();
    let secret = handle.trim_start_matches("wo1.").as_bytes();
    assert!(!kept.windows(secret.len()).any(|window| window == secret));
}

#[tokio::test]
async fn the_kill_matrix_on_the_wire_gives_no_token() {
    let world = World::new().await;
    for (client, resource) in [("rival", "billing"), ("orders", "vault")] {
        world.put(Object::Grant(grant(client, resource, "Invoices.Read Invoices.Approve Vault.Read"))).await;
    }
    let handle = order(&world, &[("redemptions", "2"), ("content_digest", DIGEST), ("requested_expiry", "600")]).await;
    let good = [("content_digest", DIGEST)];
    let with = |name: &'static str, value: &'static str| vec![("content_digest", DIGEST), (name, value)];
    let altered = [handle[1..].to_owned(), handle[..40].to_owned(), format!("{handle}x"), handle.replace("wo1.", "1.")];
    for text in &altered {
        let answer = world.token(redeem_form("orders", text, &good)).await;
        assert_eq!((answer.status.as_u16(), answer.check()), (400, "work_order.known".into()), "{text}");
    }
    for (what, form, status, error, check) in [
        ("another worker", redeem_form("rival", &handle, &good), 400, "invalid_grant", "work_order.client"),
        ("no worker", redeem_form("native", &handle, &good), 401, "invalid_client", "client.confidential"),
        (
            "a stranger",
            but(redeem_form("orders", &handle, &good), "client_secret", Some("x")),
            401,
            "invalid_client",
            "client.secret_correct",
        ),
        (
            "an altered message",
            redeem_form(
                "orders",
                &handle,
                &[("content_digest", "sha-256=:AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:")],
            ),
            400,
            "invalid_grant",
            "work_order.content",
        ),
        ("no message", redeem_form("orders", &handle, &[]), 400, "invalid_grant", "work_order.content"),
        (
            "another API",
            redeem_form("orders", &handle, &with("scope", "api://vault/Vault.Read")),
            400,
            "invalid_target",
            "work_order.audience",
        ),
        (
            "a wider scope",
            redeem_form("orders", &handle, &with("scope", "api://billing/Invoices.Approve")),
            400,
            "invalid_scope",
            "scope.within_grant",
        ),
    ] {
        let answer = world.token(form).await;
        let body = answer.json();
        assert_eq!(
            (answer.status.as_u16(), text(&body, "error").as_str(), answer.check().as_str()),
            (status, error, check),
            "{what}"
        );
        assert!(body["access_token"].is_null(), "{what}");
        let hint = &body["deputize_hint"];
        assert!(
            hint["fixer"].is_string() && !text(hint, "fix").is_empty() && !answer.text().contains(&handle),
            "{what}"
        );
    }
    // Sixty-four at once get no more than the order allows.
    let answers = world.at_once(redeem_form("orders", &handle, &good), 64).await;
    let granted = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(granted, 2);
    assert!(answers.iter().all(|answer| answer.status == 200 || answer.check() == "work_order.redemptions"));
    let ended = order(&world, &[("requested_expiry", "600")]).await;
    world.clock.advance(600);
    assert_eq!(redeem(&world, &ended).await.check(), "work_order.current");
}

/// What else stands behind an order is a row of X-01.
#[tokio::test]
async fn an_order_ends_with_its_user_and_with_the_authorization_that_it_stems_from() {
    let world = World::new().await;
    let mut browser = Browser::default();
    let code = browser.code(&world, "web", "ada", "api://orders/access_as_user offline_access").await;
    let tokens = world.redeem("web", &code).await.ok();
    let handle = async |changes: &[(&str, &str)]| {
        let asked = world.token(order_form("orders", &text(&tokens, "access_token"), changes)).await.ok();
        text(&asked, "access_token")
    };
    let (one, another) = (handle(&[("redemptions", "3")]).await, handle(&[]).await);
    redeem(&world, &one).await.ok();
    world.edit_user("ada", |user| user.account_enabled = false).await;
    assert_eq!(redeem(&world, &one).await.check(), "user.enabled");
    world.edit_user("ada", |user| user.account_enabled = true).await;
    redeem(&world, &one).await.ok();
    revoke(&world, "web", &text(&tokens, "refresh_token")).await;
    for handle in [&one, &another] {
        let answer = redeem(&world, handle).await;
        assert_eq!((answer.status.as_u16(), answer.check()), (400, "user.not_revoked".into()));
        assert!(answer.json()["access_token"].is_null());
    }
}

#[tokio::test]
async fn an_order_bound_to_a_key_is_redeemed_with_that_certificate_alone() {
    let world = World::new().await;
    world.edit_app("rival", |rival| rival.required_resource_access.clear()).await;
    world.put(Object::Grant(grant("rival", "billing", "Invoices.Read"))).await;
    let bound = |thumbprint: &str| json!({"sub": app("rival"), "cnf": {"x5t#S256": thumbprint}}).to_string();
    let own = bound(keys::RIVAL.certificate.x5t_s256());
    let handle = order(&world, &[("may_act", &own), ("redemptions", "2")]).await;
    assert_eq!(world.token(redeem_form("rival", &handle, &[])).await.check(), "work_order.key", "its secret");
    assert_eq!(redeem_with(&world, "orders", &keys::ORDERS, &handle).await.check(), "work_order.client");
    redeem_with(&world, "rival", &keys::RIVAL, &handle).await.ok();
    let others = order(&world, &[("may_act", &bound(keys::ORDERS.certificate.x5t_s256()))]).await;
    assert_eq!(redeem_with(&world, "rival", &keys::RIVAL, &others).await.check(), "work_order.key");
}

#[tokio::test]
async fn a_revoked_order_is_dead_at_once_with_what_was_issued_on_it() {
    let world = World::new().await;
    let handle = order(&world, &[("redemptions", "3")]).await;
    let token = text(&redeem(&world, &handle).await.ok(), "access_token");
    let onward = async || world.obo("billing", &token, "api://archive/Archive.Read").await;
    for stranger in ["rival", "web", "billing"] {
        revoke(&world, stranger, &handle).await;
    }
    onward().await.ok();
    revoke(&world, "orders", &handle).await;
    assert_eq!(redeem(&world, &handle).await.check(), "work_order.not_revoked");
    assert_eq!(onward().await.check(), "user.not_revoked");
    let mut form = credential("billing");
    form.push(("token", token));
    let told = world.post(&format!("/{CONTOSO}/oauth2/v2.0/introspect"), &[], encode(&form)).await.json();
    assert_eq!(told, json!({"active": false}));
    let world = world.restarted();
    assert_eq!(redeem(&world, &handle).await.check(), "work_order.not_revoked", "after a restart too");
}

fn path() -> String {
    format!("/{CONTOSO}/work-orders")
}

/// Opens the page as a person who signs in where it is asked.
async fn opened(world: &World, browser: &mut Browser, name: &str) -> Answer {
    let page = browser.get(world, &path()).await;
    if page.text().contains("/sign-in/work-orders") {
        return browser.submit(world, &page.form(), &[("username", &upn(name)), ("password", &password(name))]).await;
    }
    page
}

#[tokio::test]
async fn the_page_shows_a_persons_own_orders_and_stops_one() {
    let world = World::new().await;
    let handle = order(&world, &[("purpose", "Export <b>\u{202e}for the accountant"), ("redemptions", "2")]).await;
    let mut ada = Browser::default();
    let page = opened(&world, &mut ada, "ada").await;
    assert!(page.page());
    let html = page.text();
    for told in ["Work that is done for you", "Invoices.Read", "billing", "Runs so far: 0 of at most 2", "Stop it"] {
        assert!(html.contains(told), "{told}: {html}");
    }
    assert!(!html.contains("<b>") && !html.contains('\u{202e}') && !html.contains("Let it go on"), "{html}");
    let mut bob = Browser::default();
    let others = opened(&world, &mut bob, "bob").await;
    assert!(others.text().contains("There is none: no application works for you"));
    // Bob's browser posts Ada's form.
    assert_eq!(bob.submit(&world, &page.form(), &[("action", "revoke")]).await.status, 403);
    for hostile in ["", "delete", "accept"] {
        assert_eq!(ada.submit(&world, &page.form(), &[("action", hostile)]).await.status, 403, "{hostile}");
    }
    redeem(&world, &handle).await.ok();
    let after = ada.submit(&world, &page.form(), &[("action", "revoke")]).await;
    assert!(after.page() && after.text().contains("There is none: no application works for you"), "{}", after.text());
    assert_eq!(redeem(&world, &handle).await.check(), "work_order.not_revoked");
    assert_eq!(world.last_record().refused.map(|check| check.entry().id), Some("work_order.not_revoked"));
}

async fn followed(world: &World, browser: &mut Browser, answer: &Answer) -> Answer {
    assert_eq!(answer.status, 303, "{}", answer.text());
    browser.get(world, &answer.header("location").replace(HOST, "")).await
}

/// The order waits for a second factor, says where, and goes on once its user has shown it there.
#[tokio::test]
async fn an_order_waits_until_its_user_was_there() {
    let world = World::new().await;
    let handle = order(&world, &[("redemptions", "2")]).await;
    world.put(Object::Policy(policy(&["billing"], GrantControls::mfa()))).await;
    let refused = redeem(&world, &handle).await;
    let body: Value = refused.json();
    assert_eq!(
        (text(&body, "error").as_str(), refused.check().as_str()),
        ("interaction_required", "access.mfa_enrolled")
    );
    let hint = &body["deputize_hint"];
    assert_eq!((text(hint, "state").as_str(), text(hint, "presenceUrl")), ("parked", format!("{HOST}{}", path())));

    let mut ada = Browser::default();
    let page = opened(&world, &mut ada, "ada").await;
    assert!(page.text().contains("wants to be more certain that it is you"), "{}", page.text());
    let going = ada.submit(&world, &page.form(), &[("action", "approve")]).await;
    // The authorization endpoint asks whatever the policies ask.
    let page = followed(&world, &mut ada, &going).await;
    let form = at_second_factor(&page, "enrol");
    let code = Device::scan(&page).code(&world);
    let page = ada.submit(&world, &form, &[("code", &code)]).await;
    let back = ada.submit(&world, &at_second_factor(&page, "continue"), &[]).await;
    assert!(
        back.header("location").starts_with(&format!("{HOST}/work-orders/present?")),
        "{}",
        back.header("location")
    );
    let shown = followed(&world, &mut ada, &back).await;
    assert_eq!(shown.header("location"), path());
    let answer = followed(&world, &mut ada, &shown).await;
    assert!(answer.text().contains("Work that is done for you"), "{}", answer.text());
    assert!(!answer.text().contains("It waits for you"), "{}", answer.text());
    redeem(&world, &handle).await.ok();
    let records = world.store.audit(0, 1_000).unwrap();
    assert!(records.iter().any(|(_, record)| record.action == "approve work order"));
}
