//! Consent over the wire: admin consent in both forms, requests for it, taking it back; and the addresses that refusals show.
use crate::world::browser::{Browser, request};
use crate::world::estate::{CONTOSO, app, assignment, principal, redirect};
use crate::world::{Answer, HOST, World, claims, client_credentials, encode, refresh_form, text};
use axum::http::StatusCode;
use deputize_core::id::ObjectId;
use deputize_core::model::{AccessType, Assignee, RequiredResourceAccess, ResourceAccess};
use deputize_core::ports::Ledger as _;
use oauth::Form;
use store::{Key, Object};

const READ: &str = "api://billing/Invoices.Read";

/// Orders has nobody's consent at Billing, and the daemon no role there.
async fn bare() -> World {
    let world = World::new().await;
    let edge = |user| Key::Grant { tenant: CONTOSO, client: principal("orders"), resource: principal("billing"), user };
    world.delete(edge(None)).await;
    world
}

async fn signed_in_to(world: &World, browser: &mut Browser, path: &str, user: &str) -> Answer {
    let page = browser.get(world, path).await;
    if page.form().action.contains("/sign-in/") { browser.enter(world, page, user).await } else { page }
}

impl Browser {
    /// Signs in to a page of the authority's own.
    pub(super) async fn enter(&mut self, world: &World, page: Answer, user: &str) -> Answer {
        use crate::world::estate::{password, upn};
        self.submit(world, &page.form(), &[("username", &upn(user)), ("password", &password(user))]).await
    }
}

fn path(params: &[(&str, &str)], version: &str) -> String {
    let form = params.iter().fold(Form::default(), |form, (name, value)| form.with(name, value));
    format!("/{CONTOSO}/{version}adminconsent?{}", form.encode())
}

#[tokio::test]
async fn the_address_in_a_refusal_mends_it_for_an_administrator_and_for_the_user() {
    for (user, name) in [("carol", "adminConsentUrl"), ("ada", "consentUrl")] {
        let world = bare().await;
        // Orders has no page of its own; the client that it knows asks for both.
        world.edit_app("orders", |orders| orders.api.known_client_applications = vec![app("web")]).await;
        let token = world.access_token("web", "ada", "api://orders/access_as_user").await;
        let refused = world.obo("orders", &token, READ).await;
        assert_eq!(refused.refused(), (400, "invalid_grant".into(), 65001, "consent.granted".into()));
        let url = text(&refused.json()["deputize_hint"], name);
        let path = url.strip_prefix(HOST).unwrap();
        let mut browser = Browser::default();
        let mut page = browser.get(&world, path).await;
        page = browser.enter(&world, page, user).await;
        assert!(page.page() && page.text().contains("Invoices.Read"), "{}", page.text());
        let done = browser.submit(&world, &page.form(), &[("action", "accept")]).await;
        assert!(done.status == StatusCode::OK || done.redirected().1.mentions("code"), "{}", done.text());
        let token = world.obo("orders", &token, READ).await.ok();
        assert_eq!(claims(&text(&token, "access_token"))["scp"], "Invoices.Read");
    }
}

#[tokio::test]
async fn no_address_is_shown_that_would_mend_nothing() {
    let world = bare().await;
    let token = world.access_token("web", "ada", "api://orders/access_as_user").await;
    let hint = |answer: &Answer| answer.json()["deputize_hint"].clone();
    let refused = world.obo("orders", &token, READ).await;
    assert!(hint(&refused)["adminConsentUrl"].is_string() && hint(&refused)["consentUrl"].is_null(), "not known");
    world.edit_app("orders", |orders| orders.api.known_client_applications = vec![app("web")]).await;
    let refused = world.obo("orders", &token, "api://billing/Invoices.Void").await;
    assert!(hint(&refused)["consentUrl"].is_null(), "a user may not: {}", refused.text());
    world.edit_tenant(|tenant| tenant.settings.user_consent = false).await;
    let refused = world.obo("orders", &token, READ).await;
    assert!(hint(&refused)["consentUrl"].is_null() && hint(&refused)["adminConsentUrl"].is_string());
    let stranger = world.obo("orders", "no token", READ).await;
    assert!(hint(&stranger)["adminConsentUrl"].is_null());
}

async fn daemon_needs_export(world: &World) {
    let role = ResourceAccess { id: ObjectId(crate::world::estate::role("Invoices.Export").0), kind: AccessType::Role };
    world
        .edit_app("daemon", |daemon| {
            daemon.web.redirect_uris = vec![redirect("web").to_owned()];
            daemon.required_resource_access =
                vec![RequiredResourceAccess { resource_app_id: app("billing"), resource_access: vec![role] }];
        })
        .await;
    let assigned = assignment(Assignee::ServicePrincipal(principal("daemon")), "billing", "Invoices.Export");
    world.delete(Object::Assignment(assigned).key()).await;
}

#[tokio::test]
async fn an_administrator_consents_to_application_permissions_in_the_first_form() {
    let world = World::new().await;
    daemon_needs_export(&world).await;
    let roles = async |world: &World| {
        let token = world.token(client_credentials("daemon", "api://billing/.default")).await.ok();
        claims(&text(&token, "access_token"))["roles"].clone()
    };
    assert!(roles(&world).await.is_null());
    let id = app("daemon").to_string();
    let asked = path(&[("client_id", &id), ("redirect_uri", redirect("web")), ("state", "a state")], "");
    // A user is told that an administrator must do it.
    let mut ada = Browser::default();
    let page = signed_in_to(&world, &mut ada, &asked, "ada").await;
    assert!(page.page() && page.text().contains("AADSTS90094"), "{}", page.text());
    let mut carol = Browser::default();
    let page = signed_in_to(&world, &mut carol, &asked, "carol").await;
    assert!(page.page() && page.text().contains("Invoices.Export") && page.text().contains("without a user"));
    // Another browser's page, another request's, and none at all.
    let forged = ada.submit(&world, &page.form(), &[("action", "accept")]).await;
    assert_eq!(forged.status, StatusCode::FORBIDDEN);
    let other = page.form().with("request", &Form::default().with("client_id", &app("web").to_string()).encode());
    assert_eq!(carol.submit(&world, &other, &[("action", "accept")]).await.status, StatusCode::FORBIDDEN);
    let elsewhere = world.post(&page.form().action, &[], page.form().body(&[("action", "accept")])).await;
    assert_eq!(elsewhere.status, StatusCode::FORBIDDEN, "not from our page");
    assert!(roles(&world).await.is_null());
    let (to, answer) = carol.submit(&world, &page.form(), &[("action", "accept")]).await.redirected();
    assert_eq!(to, redirect("web"));
    let value = |name| answer.value(name).unwrap_or_default().to_owned();
    assert_eq!(
        (value("admin_consent"), value("tenant"), value("state")),
        ("True".into(), CONTOSO.to_string(), "a state".into())
    );
    assert!(!answer.mentions("scope") && !answer.mentions("error"));
    assert_eq!(roles(&world).await[0], "Invoices.Export");
    assert_eq!(carol.submit(&world, &page.form(), &[("action", "accept")]).await.status, StatusCode::FORBIDDEN, "once");
}

#[tokio::test]
async fn an_administrator_consents_to_named_scopes_in_the_second_form_or_declines() {
    let world = World::new().await;
    let id = app("web").to_string();
    let scope = "api://orders/Orders.Manage api://billing/Invoices.Void openid";
    let all = [("client_id", id.as_str()), ("scope", scope), ("redirect_uri", redirect("web")), ("state", "s")];
    let mut carol = Browser::default();
    let page = signed_in_to(&world, &mut carol, &path(&all, "v2.0/"), "carol").await;
    let (_, declined) = carol.submit(&world, &page.form(), &[("action", "cancel")]).await.redirected();
    assert_eq!((declined.value("error"), declined.value("state")), (Some("consent_required"), Some("s")));
    assert!(declined.value("error_description").unwrap().starts_with("AADSTS65004"));
    let page = carol.get(&world, &path(&all, "v2.0/")).await;
    let (_, answer) = carol.submit(&world, &page.form(), &[("action", "accept")]).await.redirected();
    assert_eq!(answer.value("scope"), Some(scope));
    let token = world.access_token("web", "bob", "api://orders/Orders.Manage").await;
    assert_eq!(claims(&token)["scp"], "Orders.Manage");
}

#[tokio::test]
async fn admin_consent_refuses_what_it_cannot_be_asked_for() {
    let world = World::new().await;
    let (web, rival) = (app("web").to_string(), app("archive").to_string());
    let mut carol = Browser::default();
    signed_in_to(&world, &mut carol, &path(&[("client_id", &web)], ""), "carol").await;
    let default = "api://orders/.default";
    let cases: &[(&str, String, &str)] = &[
        ("no client", path(&[("scope", default)], "v2.0/"), "AADSTS900144"),
        ("no scope", path(&[("client_id", &web)], "v2.0/"), "AADSTS900144"),
        ("no such client", path(&[("client_id", "x")], ""), "AADSTS700016"),
        ("elsewhere", path(&[("client_id", &web), ("redirect_uri", "https://evil.test/")], ""), "AADSTS50011"),
        ("unknown API", path(&[("client_id", &web), ("scope", "api://no/x")], "v2.0/"), "AADSTS500011"),
        ("unknown scope", path(&[("client_id", &web), ("scope", "api://orders/no")], "v2.0/"), "AADSTS70011"),
        ("mixed", path(&[("client_id", &web), ("scope", &format!("{default} {READ}"))], "v2.0/"), "AADSTS70011"),
        ("nothing registered", path(&[("client_id", &rival)], ""), "AADSTS650056"),
    ];
    for (what, path, code) in cases {
        let answer = carol.get(&world, path).await;
        assert!(answer.page() && answer.status == StatusCode::BAD_REQUEST, "{what}: {}", answer.text());
        assert!(answer.text().contains(code), "{what}: {}", answer.text());
        assert!(!answer.text().contains("evil.test\""), "{what}");
    }
    for (alias, code) in [("common", "AADSTS50059"), ("organizations", "AADSTS50059"), ("nowhere", "AADSTS90002")] {
        for form in ["adminconsent", "v2.0/adminconsent", "consents", "consent-requests"] {
            let query = encode(&vec![("client_id", web.clone()), ("scope", default.to_owned())]);
            let answer = carol.get(&world, &format!("/{alias}/{form}?{query}")).await;
            assert!(answer.page() && answer.text().contains(code), "{alias} {form}: {}", answer.text());
        }
    }
}

#[tokio::test]
async fn a_user_asks_and_an_administrator_approves_once() {
    let world = World::new().await;
    world.edit_tenant(|tenant| tenant.settings.admin_consent_requests = true).await;
    let asked = request("web", "api://orders/Orders.Manage");
    let ask = async |world: &World, browser: &mut Browser| {
        let page = browser.authorize(world, &asked).await;
        let page =
            if page.form().action.ends_with("/sign-in") { browser.sign_in(world, page, "ada").await } else { page };
        assert!(page.form().action.ends_with("/ask-admin") && page.page(), "{}", page.text());
        browser.submit(world, &page.form(), &[("reason", "for <b>audits</b>"), ("action", "ask")]).await
    };
    let mut ada = Browser::default();
    let sent = ask(&world, &mut ada).await;
    assert!(sent.page() && sent.text().contains("AADSTS90095"), "{}", sent.text());
    ask(&world, &mut ada).await;
    assert_eq!(world.store.approval_requests(CONTOSO).await.unwrap().len(), 1, "asked twice is one request");
    let list = format!("/{CONTOSO}/consent-requests");
    let refused = ada.get(&world, &list).await;
    assert!(refused.text().contains("AADSTS90094"), "{}", refused.text());
    let mut carol = Browser::default();
    let page = signed_in_to(&world, &mut carol, &list, "carol").await;
    assert!(page.page() && page.text().contains("Orders.Manage") && page.text().contains("ADA"), "{}", page.text());
    assert!(!page.text().contains("<b>audits"), "{}", page.text());
    assert_eq!(ada.submit(&world, &page.form(), &[("action", "approve")]).await.status, StatusCode::FORBIDDEN);
    let another = carol.get(&world, &list).await.form();
    let done = carol.submit(&world, &page.form(), &[("action", "approve")]).await;
    assert!(done.page() && done.text().contains("Nothing waits"), "{}", done.text());
    // The same page again, and another one for the request that is closed.
    for form in [page.form(), another] {
        assert_eq!(carol.submit(&world, &form, &[("action", "approve")]).await.status, StatusCode::FORBIDDEN);
    }
    assert!(ada.authorize(&world, &asked).await.redirected().1.mentions("code"));
    // Denied, it is gone and grants nothing.
    let asked = request("web", "api://billing/Invoices.Void");
    let page = ada.authorize(&world, &asked).await;
    ada.submit(&world, &page.form(), &[("reason", "x"), ("action", "ask")]).await;
    let page = carol.get(&world, &list).await;
    let done = carol.submit(&world, &page.form(), &[("action", "deny")]).await;
    assert!(done.text().contains("Nothing waits"));
    assert!(ada.authorize(&world, &asked).await.form().action.ends_with("/ask-admin"));
}

/// Gives the permissions of an API words.
async fn word(world: &World, api: &str, words: impl Fn(&str) -> (String, String)) {
    world
        .edit_app(api, |api| {
            for scope in &mut api.api.oauth2_permission_scopes {
                (scope.user_consent_display_name, scope.admin_consent_display_name) = words(&scope.value);
            }
        })
        .await;
}

#[tokio::test]
async fn a_dialog_lists_only_what_is_not_allowed_yet() {
    let world = World::new().await;
    word(&world, "billing", |value| (format!("To {}", value.replace('.', " ")), String::new())).await;
    let mut ada = Browser::default();
    let both = request("web", &format!("{READ} api://billing/Invoices.Approve"));
    let page = ada.authorize(&world, &both).await;
    let page = ada.sign_in(&world, page, "ada").await;
    assert!(
        page.text().contains("To Invoices Approve") && !page.text().contains("To Invoices Read"),
        "{}",
        page.text()
    );
    let (_, answer) = ada.submit(&world, &page.form(), &[("action", "accept")]).await.redirected();
    let token = world.redeem("web", answer.value("code").unwrap()).await.ok();
    let scp = text(&claims(&text(&token, "access_token")), "scp");
    assert!(scp.contains("Invoices.Read") && scp.contains("Invoices.Approve"), "{scp}");
}

#[tokio::test]
async fn administrators_read_what_is_written_for_them_and_users_what_is_written_for_users() {
    let world = World::new().await;
    world.edit_tenant(|tenant| tenant.settings.admin_consent_requests = true).await;
    word(&world, "orders", |_| ("Manage your orders".to_owned(), "Manage anyone's orders".to_owned())).await;
    let for_users = |page: &Answer| {
        (page.text().contains("Manage your orders"), page.text().contains("Manage anyone&#39;s orders"))
    };
    let scope = "api://orders/Orders.Manage";
    let mut ada = Browser::default();
    let page = ada.authorize(&world, &request("web", scope)).await;
    let page = ada.sign_in(&world, page, "ada").await;
    assert_eq!(for_users(&page), (true, false), "{}", page.text());
    assert!(page.text().contains("Only an administrator may allow this") && !page.text().contains("Accepting"));
    ada.submit(&world, &page.form(), &[("reason", "x"), ("action", "ask")]).await;
    let id = app("web").to_string();
    let asked = path(&[("client_id", &id), ("scope", scope), ("redirect_uri", redirect("web"))], "v2.0/");
    let mut carol = Browser::default();
    let page = signed_in_to(&world, &mut carol, &asked, "carol").await;
    assert_eq!(for_users(&page), (false, true), "{}", page.text());
    let page = carol.get(&world, &format!("/{CONTOSO}/consent-requests")).await;
    assert_eq!(for_users(&page), (false, true), "{}", page.text());
}

#[tokio::test]
async fn where_nobody_can_be_asked_the_page_says_where_an_administrator_allows_it() {
    let world = World::new().await;
    let asked = request("web", "openid api://orders/Orders.Manage");
    let mut ada = Browser::default();
    let page = ada.authorize(&world, &asked).await;
    let page = ada.sign_in(&world, page, "ada").await;
    assert!(page.page() && page.text().contains("AADSTS90094"), "{}", page.text());
    let shown = page.text();
    assert!(!shown.contains(&crate::world::estate::user("ada").to_string()), "in words: {shown}");
    let address = shown.split(&format!("<code>{HOST}")).nth(1).and_then(|rest| rest.split("</code>").next()).unwrap();
    let address = address.replace("&amp;", "&").replace("&#38;", "&");
    let mut carol = Browser::default();
    let page = signed_in_to(&world, &mut carol, &address, "carol").await;
    let done = carol.submit(&world, &page.form(), &[("action", "accept")]).await;
    assert!(done.page() && done.status == StatusCode::OK, "{}", done.text());
    assert!(ada.authorize(&world, &asked).await.redirected().1.mentions("code"));
}

#[tokio::test]
async fn a_user_sees_who_acts_for_them_and_takes_it_back_at_once() {
    let world = World::new().await;
    let scope = "openid offline_access api://orders/Orders.Write";
    let tokens = world.signed_in("web", "ada", scope).await;
    let token = text(&tokens, "refresh_token");
    world.refresh("web", &token, None).await.ok();
    let mut ada = Browser::default();
    let list = format!("/{CONTOSO}/consents");
    let page = signed_in_to(&world, &mut ada, &list, "ada").await;
    assert!(page.page() && page.text().contains("Orders.Write") && page.text().contains("The web"), "{}", page.text());
    // What administrators allowed is shown, and is not hers to take back.
    assert_eq!(page.text().matches("<form ").count(), 1, "{}", page.text());
    assert!(page.text().contains("for everyone"));
    let mut bob = Browser::default();
    signed_in_to(&world, &mut bob, &list, "bob").await;
    assert_eq!(bob.submit(&world, &page.form(), &[]).await.status, StatusCode::FORBIDDEN, "another's page");
    let other = page.form().with("request", &Form::default().with("client", &principal("rival").to_string()).encode());
    assert_eq!(ada.submit(&world, &other, &[]).await.status, StatusCode::FORBIDDEN, "another application");
    world.refresh("web", &token, None).await.ok();
    let after = ada.submit(&world, &page.form(), &[]).await;
    assert!(after.page() && !after.text().contains("<form "), "{}", after.text());
    for scope in [None, Some("api://orders/access_as_user"), Some("openid")] {
        let answer = world.token(refresh_form("web", &token, scope)).await;
        assert_eq!(answer.refused().2, 65001, "{scope:?}");
        assert_eq!(text(&answer.json(), "suberror"), "consent_required");
    }
    assert_eq!(ada.submit(&world, &page.form(), &[]).await.status, StatusCode::FORBIDDEN, "once");
    // What an administrator allowed for all works on, with a new sign-in.
    world.clock.advance(1);
    world.access_token("web", "ada", "api://orders/access_as_user").await;
}
