//! Tokens that are none for the directory: each by the check that refuses it.
use super::world;
use crate::world::estate::{CONTOSO, FABRIKAM, grant, service_principal, user};
use crate::world::keys::{sign, signing};
use crate::world::{NOON, World, claims, header, text};
use deputize_core::built_in;
use deputize_core::id::TenantId;
use serde_json::{Value, json};
use store::Object;

/// The token with one claim changed, signed by the authority's own key.
fn with(token: &str, name: &str, value: Value) -> String {
    let (header, mut claims) = (header(token), claims(token));
    claims[name] = value;
    sign(&signing()[0], header.to_string().as_bytes(), claims.to_string().as_bytes())
}

/// Whoever acted between the person and the caller is one of those who act still.
#[tokio::test]
async fn x_01_a_token_that_came_through_an_application_ends_when_that_is_disabled_or_deleted() {
    for how in ["disabled", "deleted"] {
        let world = world().await;
        let mut grant = grant("orders", "", "Application.Read.All");
        grant.resource_id = built_in::PRINCIPAL;
        world.put(Object::Grant(grant)).await;
        let carols = world.access_token("web", "carol", "api://orders/access_as_user").await;
        let token = text(&world.obo("orders", &carols, "api://deputize/.default").await.ok(), "access_token");
        world.directory("GET", "applications", &token, None).await.ok();
        if how == "disabled" {
            world.edit_principal("web", |it| it.account_enabled = false).await;
        } else {
            world.delete(Object::ServicePrincipal(service_principal(CONTOSO, "web")).key()).await;
        }
        assert_eq!(at(&world, CONTOSO, &token).await, "user.not_revoked", "{how}");
    }
}

/// As with every assertion: a consent that is given again does not bring back what was issued before it was taken back.
#[tokio::test]
async fn m_01_a_token_from_before_a_consent_was_taken_back_and_given_again_is_refused() {
    for (client, refused) in [("orders", true), ("web", true), ("daemon", false)] {
        let world = world().await;
        let mut through = grant("orders", "", "Application.Read.All");
        through.resource_id = built_in::PRINCIPAL;
        world.put(Object::Grant(through)).await;
        let carols = world.access_token("web", "carol", "api://orders/access_as_user").await;
        let token = text(&world.obo("orders", &carols, "api://deputize/.default").await.ok(), "access_token");
        world.directory("GET", "applications", &token, None).await.ok();
        let mut again = grant(client, "billing", "Invoices.Read");
        (again.principal_id, again.withdrawn) = (Some(user("carol")), Some(NOON.plus(3_600)));
        world.put(Object::Grant(again)).await;
        let answer = world.directory_at(CONTOSO, "GET", "applications", Some(&token), None).await;
        if refused {
            assert_eq!(answer.denied().2, "consent.granted", "{client}");
        } else {
            answer.ok();
        }
    }
}

async fn at(world: &World, tenant: TenantId, token: &str) -> String {
    world.directory_at(tenant, "GET", "applications", Some(token), None).await.denied().2
}

#[tokio::test]
async fn m_01_a_token_counts_in_its_own_tenant_in_its_own_time_and_never_without_the_key_that_it_is_bound_to() {
    let world = world().await;
    let tokens = [world.token_of("carol").await, world.token_of_app("daemon").await];
    for token in &tokens {
        let same = with(token, "ver", json!("2.0"));
        world.directory("GET", "applications", &same, None).await.ok();
        assert_eq!(at(&world, FABRIKAM, token).await, "token.tenant");
        let issuer = claims(token)["iss"].as_str().unwrap().replace(&CONTOSO.to_string(), &FABRIKAM.to_string());
        for (name, value, check) in [
            ("iss", json!(issuer), "token.tenant"),
            ("tid", json!(FABRIKAM), "token.tenant"),
            ("aud", json!("00000003-0000-0000-c000-000000000000"), "token.audience"),
            ("cnf", json!({"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}), "token.binding"),
            ("nbf", json!(NOON.0 + 61), "token.not_before"),
        ] {
            assert_eq!(at(&world, CONTOSO, &with(token, name, value)).await, check, "{name}");
        }
    }
    world.clock.advance(86_400);
    for token in &tokens {
        assert_eq!(at(&world, CONTOSO, token).await, "token.not_expired");
    }
}
