//! A store that cannot write, or not everything: 503, nothing half-written, and no restart needed.
use crate::world::browser::{Browser, request};
use crate::world::estate::{CONTOSO, principal, user};
use crate::world::{Answer, HOST, World, claims, client_credentials, text};
use deputize_core::directory::UserKey;
use deputize_core::ports::Directory;
use sql::rusqlite::Connection;

const OFFLINE: &str = "openid offline_access api://orders/access_as_user";

fn unavailable(answer: &Answer) {
    let (status, error, _, check) = answer.refused();
    assert_eq!((status, error.as_str(), check.as_str()), (503, "temporarily_unavailable", "store.available"));
    assert_eq!(answer.header("retry-after"), "5");
}

/// What needs no store answers as ever.
async fn stateless(world: &World) {
    for path in
        ["/health/live", "/common/discovery/v2.0/keys", "/contoso.example/v2.0/.well-known/openid-configuration"]
    {
        assert_eq!(world.get(path).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn while_nothing_can_be_written_nothing_is_issued() {
    let world = World::new().await;
    let mut browser = Browser::default();
    let tokens = world.signed_in("web", "ada", OFFLINE).await;
    let (access, refresh) = (text(&tokens, "access_token"), text(&tokens, "refresh_token"));
    let code = browser.code(&world, "web", "ada", OFFLINE).await;
    let fresh_page = Browser::default().authorize(&world, &request("web", OFFLINE)).await;
    let before = world.store.audit_verify(None).unwrap();
    let other = Connection::open(world.folder.file()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert_eq!(world.get("/health/ready").await.status, 200, "it does not know yet");
    unavailable(&world.redeem("web", &code).await);
    let ready = world.get("/health/ready").await;
    assert_eq!((ready.status.as_u16(), ready.header("retry-after")), (503, "5"), "{}", ready.text());
    unavailable(&world.refresh("web", &refresh, None).await);
    unavailable(&world.obo("orders", &access, "api://billing/Invoices.Read").await);
    unavailable(&world.token(client_credentials("daemon", "api://billing/.default")).await);
    // A refusal that cannot be recorded is no refusal yet.
    unavailable(&world.obo("orders", &access, "api://billing/Invoices.Approve").await);
    // Whoever is not let in causes no write, and is told why.
    assert_eq!(
        world.token(crate::world::but(client_credentials("daemon", "x"), "client_secret", Some("x"))).await.status,
        401
    );
    let (_, answer) = browser.authorize(&world, &request("web", OFFLINE)).await.redirected();
    assert_eq!((answer.value("error"), answer.value("code")), (Some("temporarily_unavailable"), None));
    assert_eq!(answer.value("iss"), Some(&*format!("{HOST}/{CONTOSO}/v2.0")));
    let mut stranger = Browser::default();
    let page = stranger.authorize(&world, &request("web", OFFLINE)).await;
    let page = stranger.sign_in(&world, page, "ada").await;
    assert!(page.page() && page.status == 503 && page.headers.get("set-cookie").is_none(), "{}", page.status);
    assert_eq!(page.header("retry-after"), "5");
    assert!(fresh_page.page());
    stateless(&world).await;
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(world.store.audit_verify(None), Ok(before), "nothing was written");
    world.redeem("web", &code).await.ok();
    assert_eq!(world.get("/health/ready").await.status, 200);
    world.refresh("web", &refresh, None).await.ok();
    world.obo("orders", &access, "api://billing/Invoices.Read").await.ok();
}

#[tokio::test]
async fn what_cannot_be_audited_is_not_done() {
    let world = World::new().await;
    let mut browser = Browser::default();
    let strict = text(&world.signed_in("strict", "ada", OFFLINE).await, "refresh_token");
    let code = browser.code(&world, "web", "ada", OFFLINE).await;
    let page = browser.authorize(&world, &request("web", "api://billing/Invoices.Approve")).await;
    let consent = page.form();
    let mut leaving = browser.clone();
    let sign_out = leaving.get(&world, &format!("/{CONTOSO}/oauth2/v2.0/logout")).await;
    let (account, sign_out) = (super::logout::only(&sign_out), sign_out.form());
    let once = world.store.audit_verify(None).unwrap();
    // The last write of each commit fails, after the others were made.
    let other = Connection::open(world.folder.file()).unwrap();
    other.execute_batch("ALTER TABLE audit RENAME TO gone").unwrap();
    for _ in 0..3 {
        unavailable(&world.redeem("web", &code).await);
        unavailable(&world.refresh("strict", &strict, None).await);
    }
    let (_, answer) = browser.submit(&world, &consent, &[("action", "accept")]).await.redirected();
    assert_eq!(answer.value("error"), Some("temporarily_unavailable"));
    let mut stranger = Browser::default();
    let page = stranger.authorize(&world, &request("web", OFFLINE)).await;
    let typed = page.form();
    let page = stranger.sign_in(&world, page, "bob").await;
    assert!(page.page() && page.status == 503 && !stranger.cookies.contains_key("__Host-deputize-session"));
    stateless(&world).await;
    other.execute_batch("ALTER TABLE gone RENAME TO audit").unwrap();
    assert_eq!(world.store.audit_verify(None), Ok(once), "nothing was written");
    let ada = world.store.user(CONTOSO, UserKey::Id(user("ada"))).await.unwrap().unwrap();
    assert!(!ada.grants.contains_key(&(principal("web"), principal("billing"))), "no consent");
    // The same code, token, pages work once more: they were not used up.
    world.redeem("web", &code).await.ok();
    let heir = text(&world.refresh("strict", &strict, None).await.ok(), "refresh_token");
    world.refresh("strict", &heir, None).await.ok();
    let agreed = browser.submit(&world, &consent, &[("action", "accept")]).await.redirected().1;
    assert!(agreed.value("code").is_some());
    let credentials =
        [("username", "bob@contoso.example".to_owned()), ("password", crate::world::estate::password("bob"))];
    let credentials: Vec<(&str, &str)> = credentials.iter().map(|(name, value)| (*name, value.as_str())).collect();
    stranger.submit(&world, &typed, &credentials).await.redirected();
    assert_eq!(leaving.submit(&world, &sign_out, &[("account", &account)]).await.status, 200);
}

#[tokio::test]
async fn while_nothing_can_be_read_nobody_is_let_in() {
    let world = World::new().await;
    let own = world.access_token("web", "ada", "openid").await;
    let mut browser = Browser::default();
    browser.code(&world, "web", "ada", OFFLINE).await;
    let refresh = text(&world.signed_in("web", "bob", OFFLINE).await, "refresh_token");
    let tables = ["sessions", "refresh_tokens", "codes", "objects"];
    let other = Connection::open(world.folder.file()).unwrap();
    for table in tables {
        other.execute_batch(&format!("ALTER TABLE {table} RENAME TO gone_{table}")).unwrap();
    }
    unavailable(&world.refresh("web", &refresh, None).await);
    unavailable(&world.redeem("web", "1.x").await);
    unavailable(&world.token_at("common", crate::world::redeem_form("web", "1.x")).await);
    for path in ["oauth2/v2.0/authorize", "oauth2/v2.0/logout"] {
        let answer = browser.get(&world, &format!("/{CONTOSO}/{path}")).await;
        assert!(
            answer.page() && answer.status == 503 && answer.header("retry-after") == "5",
            "{path}: {}",
            answer.status
        );
    }
    assert_eq!(world.get("/health/ready").await.status, 503);
    stateless(&world).await;
    for table in tables {
        other.execute_batch(&format!("ALTER TABLE gone_{table} RENAME TO {table}")).unwrap();
    }
    assert_eq!(world.get("/health/ready").await.status, 200);
    world.refresh("web", &refresh, None).await.ok();
    assert_eq!(claims(&own)["scp"], "openid");
}
