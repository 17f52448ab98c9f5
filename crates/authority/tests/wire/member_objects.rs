//! Groups in tokens, and where to ask for them: over the wire and a real store.
use crate::world::estate::{CONTOSO, assignment, user};
use crate::world::{Answer, HOST, World, claims, text};
use axum::body::Body;
use axum::http::Request;
use deputize_core::id::GroupId;
use deputize_core::model::{Assignee, Group, GroupMembershipClaims};
use serde_json::{Value, json};
use store::Object;
use uuid::Uuid;

fn group(n: u128) -> GroupId {
    GroupId(Uuid::from_u128(0x9000 + n))
}

async fn world() -> World {
    World::with(|plan| {
        plan.app("orders").group_membership_claims = GroupMembershipClaims::ApplicationGroup;
        plan.app("billing").group_membership_claims = GroupMembershipClaims::SecurityGroup;
        for n in 0..201 {
            let members = vec![user("ada")];
            let group = Group { id: group(n), tenant: CONTOSO, display_name: format!("group {n}"), members };
            plan.others.push(Object::Group(group));
        }
        plan.others.push(Object::Assignment(assignment(Assignee::Group(group(7)), "orders", "Orders.Clerk")));
        plan.others.push(Object::Assignment(assignment(Assignee::Group(group(8)), "billing", "Invoices.Reader")));
    })
    .await
}

async fn ask(world: &World, method: &str, path: &str, bearer: Option<&str>) -> Answer {
    let mut request = Request::builder().method(method).uri(path);
    if let Some(token) = bearer {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let body = Body::from(r#"{"securityEnabledOnly": true}"#);
    world.send(request.header("content-type", "application/json").body(body).unwrap()).await
}

#[tokio::test]
async fn overage_leads_to_an_endpoint_that_answers_the_api_for_its_user() {
    let world = world().await;
    let first = world.orders_token().await;
    assert_eq!(claims(&first)["groups"], json!([group(7)]), "those assigned to Orders");
    assert_eq!(claims(&first)["roles"], json!(["Orders.Clerk"]), "through the group");
    let billing = text(&world.obo("orders", &first, "api://billing/Invoices.Read").await.ok(), "access_token");
    assert!(claims(&billing)["groups"].is_null());
    let endpoint = claims(&billing)["_claim_sources"]["src1"]["endpoint"].as_str().unwrap().to_owned();
    let path = endpoint.strip_prefix(HOST).unwrap();
    let own = text(&world.obo("billing", &billing, "openid").await.ok(), "access_token");
    for method in ["POST", "GET"] {
        let answer = ask(&world, method, path, Some(&own)).await;
        assert!(answer.header("cache-control").contains("no-store"));
        assert_eq!(answer.ok()["value"].as_array().unwrap().len(), 201);
    }
    // The same question with Orders' token is answered with what Orders is told of.
    let orders = text(&world.obo("orders", &first, "openid").await.ok(), "access_token");
    assert_eq!(ask(&world, "GET", path, Some(&orders)).await.ok(), json!({"value": [group(7)]}));
}

#[tokio::test]
async fn x_02_groups_are_told_to_nobody_else() {
    let world = world().await;
    let first = world.orders_token().await;
    let own = text(&world.obo("orders", &first, "openid").await.ok(), "access_token");
    let path = format!("/{CONTOSO}/users/{}/getMemberObjects", user("ada"));
    let bob = format!("/{CONTOSO}/users/{}/getMemberObjects", user("bob"));
    let web = world.access_token("web", "ada", "openid").await;
    for (name, path, token, status, check) in [
        ("nothing", &path, None, 401, "token.present"),
        ("garbage", &path, Some("x"), 401, "token.signature"),
        ("the token that the API received", &path, Some(first.as_str()), 401, "token.audience"),
        ("another user", &bob, Some(own.as_str()), 403, "groups.own_user"),
        (
            "another tenant",
            &path.replace(&CONTOSO.to_string(), "fabrikam.example"),
            Some(own.as_str()),
            403,
            "groups.own_user",
        ),
        ("a client that is told of none", &path, Some(web.as_str()), 403, "groups.declared"),
    ] {
        let answer = ask(&world, "POST", path, token).await;
        assert_eq!((answer.status.as_u16(), &answer.json()["check"]), (status, &json!(check)), "{name}");
        assert!(answer.header("www-authenticate").starts_with("Bearer"), "{name}");
        assert_eq!(answer.json()["value"], Value::Null, "{name}");
    }
    assert_eq!(ask(&world, "DELETE", &path, Some(&own)).await.status, 405);
    // What ends the session ends this within the same moment (X-01).
    world.edit_user("ada", |ada| ada.account_enabled = false).await;
    assert_eq!(ask(&world, "GET", &path, Some(&own)).await.status, 401);
}
