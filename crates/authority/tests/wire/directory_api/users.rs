//! Users, their second factors, and consents: what administrators end, ends everywhere.
use super::world;
use crate::second_factor::{Device, SCOPE, at_second_factor, step_up, step_up_policies};
use crate::world::browser::{Browser, request};
use crate::world::estate::{principal, upn, user};
use crate::world::stream::reader;
use crate::world::{World, claims, obo_form, refresh_form, text};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::sleep;

fn path(name: &str) -> String {
    format!("users/{}", user(name))
}

async fn disabled(world: &World, token: &str, name: &str, enabled: bool) {
    let body = json!({"accountEnabled": enabled});
    assert_eq!(world.directory("PATCH", &path(name), token, Some(&body)).await.status.as_u16(), 204);
}

/// Disabling somebody here is what it is anywhere: it ends what was issued, for who reads the stream too, and at every
/// process within a second.
#[tokio::test]
async fn a_disabled_user_is_cut_off_everywhere_within_a_second() {
    let world = world().await;
    world.put(reader("orders")).await;
    let there = world.beside();
    tokio::spawn(there.store.watch());
    let mut stream = world.listen(&world.token_of_app("orders").await, None).await.ok().unwrap();
    stream.told().await;
    let answer = world.signed_in("web", "ada", "api://orders/access_as_user offline_access").await;
    let (token, refresh) = (text(&answer, "access_token"), text(&answer, "refresh_token"));
    disabled(&world, &world.token_of("carol").await, "ada", false).await;
    assert_eq!(world.obo("orders", &token, "api://billing/.default").await.check(), "user.enabled");
    assert_eq!(stream.cut_offs().await[0].claims()["sub_id"]["user"]["sub"], claims(&token)["sub"]);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(there.token(refresh_form("web", &refresh, None)).await.check(), "user.enabled");
    let (carol, named) = (world.token_of("carol").await, format!("users/{}", upn("ada").to_uppercase()));
    assert_eq!(world.directory("GET", &named, &carol, None).await.ok()["accountEnabled"], json!(false));
}

#[tokio::test]
async fn users_are_listed_in_parts_and_nothing_secret_with_them() {
    let world = world().await;
    let token = world.token_of("carol").await;
    let (mut path, mut seen) = ("users?$top=1".to_owned(), Vec::new());
    for _ in 0..10 {
        let answer = world.directory("GET", &path, &token, None).await.ok();
        assert_eq!(answer["value"].as_array().unwrap().len(), 1);
        seen.push(text(&answer["value"][0], "userPrincipalName"));
        assert!(!answer.to_string().contains("argon2"), "{answer}");
        let Some(next) = answer["@odata.nextLink"].as_str() else { break };
        path = next.split_once("/v1.0/").unwrap().1.to_owned();
    }
    seen.sort();
    assert_eq!(seen, [upn("ada"), upn("bob"), upn("carol")]);
    let body = json!({"givenName": null, "mail": "ada@new.example", "displayName": "Ada"});
    assert_eq!(world.directory("PATCH", &self::path("ada"), &token, Some(&body)).await.status.as_u16(), 204);
    let ada = world.directory("GET", &self::path("ada"), &token, None).await.ok();
    assert_eq!(
        (&ada["givenName"], &ada["mail"], &ada["surname"]),
        (&Value::Null, &json!("ada@new.example"), &json!("Example"))
    );
}

#[tokio::test]
async fn revoked_sessions_are_dead_and_people_sign_in_again() {
    let world = world().await;
    let token = world.token_of("carol").await;
    let answer = world.signed_in("web", "ada", "api://orders/access_as_user offline_access").await;
    let revoke = format!("{}/revokeSignInSessions", path("ada"));
    assert_eq!(world.directory("POST", &revoke, &token, None).await.ok(), json!({"value": true}));
    let refused = world.token(refresh_form("web", &text(&answer, "refresh_token"), None)).await;
    assert_eq!(refused.check(), "user.not_revoked");
    world.clock.advance(1);
    world.signed_in("web", "ada", "api://orders/access_as_user").await;
}

/// A reset second factor proves nothing that it proved before, and is set up anew where it is demanded next.
#[tokio::test]
async fn a_reset_second_factor_ends_what_was_proved_with_it() {
    let world = world().await;
    step_up_policies(&world).await;
    let mut browser = Browser::default();
    let page = browser.authorize(&world, &step_up()).await;
    let page = browser.sign_in(&world, page, "ada").await;
    let lost = Device::scan(&page);
    let form = at_second_factor(&page, "enrol");
    let page = browser.submit(&world, &form, &[("code", &lost.code(&world))]).await;
    let form = at_second_factor(&page, "continue");
    let (_, answer) = browser.submit(&world, &form, &[]).await.redirected();
    let token = text(&world.redeem("web", answer.value("code").unwrap()).await.ok(), "access_token");
    assert_eq!(claims(&token)["acrs"], json!(["c1"]));

    world.clock.advance(30);
    let carol = world.token_of("carol").await;
    let all = format!("{}/authentication/softwareOathMethods", path("ada"));
    let listed = world.directory("GET", &all, &carol, None).await.ok();
    let one = format!("{all}/{}", text(&listed["value"][0], "id"));
    let another = format!("{all}/{}", user("ada"));
    assert_eq!(world.directory("DELETE", &another, &carol, None).await.denied().2, "directory.object");
    assert_eq!(world.directory("DELETE", &one, &carol, None).await.status.as_u16(), 204);
    assert_eq!(world.directory("GET", &all, &carol, None).await.ok(), json!({"value": []}));
    assert_eq!(world.directory("DELETE", &one, &carol, None).await.denied().2, "directory.object");

    // Neither the token nor the session is worth what it was.
    let down = world.token(obo_form("orders", &token, "api://billing/Invoices.Read")).await;
    assert_eq!(down.check(), "user.not_revoked");
    let page = browser.authorize(&world, &request("web", SCOPE)).await;
    assert!(page.form().action.ends_with("/sign-in"), "{}", page.text());
    world.clock.advance(30);
    let page = browser.authorize(&world, &step_up()).await;
    let page = browser.sign_in(&world, page, "ada").await;
    // The old device's codes set up nothing.
    let form = at_second_factor(&page, "enrol");
    let found = Device::scan(&page);
    let page = browser.submit(&world, &form, &[("code", &lost.code(&world))]).await;
    let form = at_second_factor(&page, "enrol");
    let page = browser.submit(&world, &form, &[("code", &found.code(&world))]).await;
    at_second_factor(&page, "continue");
}

#[tokio::test]
async fn consents_are_listed_and_ended() {
    let world = world().await;
    let token = world.token_of("carol").await;
    let mut own = crate::world::estate::grant("web", "orders", "Orders.Write");
    own.principal_id = Some(user("ada"));
    world.put(store::Object::Grant(own)).await;
    let before = world.signed_in("web", "ada", "api://orders/Orders.Write offline_access").await;
    let listed = async || {
        let answer = world.directory("GET", "oauth2PermissionGrants", &token, None).await.ok();
        let edge = |grant: &&Value| {
            grant["clientId"] == json!(principal("web")) && grant["resourceId"] == json!(principal("orders"))
        };
        answer["value"].as_array().unwrap().iter().filter(edge).cloned().collect::<Vec<_>>()
    };
    let grants = listed().await;
    let kinds: Vec<_> = grants.iter().map(|grant| (text(grant, "consentType"), text(grant, "scope"))).collect();
    assert_eq!(kinds, [("AllPrincipals".into(), "access_as_user".into()), ("Principal".into(), "Orders.Write".into())]);
    for grant in &grants {
        let one = format!("oauth2PermissionGrants/{}", text(grant, "id"));
        assert_eq!(world.directory("DELETE", &one, &token, None).await.status.as_u16(), 204);
        assert_eq!(world.directory("DELETE", &one, &token, None).await.denied().0, 404, "{grant}");
    }
    assert_eq!(listed().await, Vec::<Value>::new());
    let refused = world.token(refresh_form("web", &text(&before, "refresh_token"), None)).await;
    assert_eq!(refused.check(), "consent.granted");
    for nonsense in ["x", "AAAA", &"A".repeat(64), &"A".repeat(200)] {
        let answer = world.directory("DELETE", &format!("oauth2PermissionGrants/{nonsense}"), &token, None).await;
        assert_eq!(answer.denied().0, 404, "{nonsense}");
    }
}
