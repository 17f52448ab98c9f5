//! Introspection (RFC 7662) and revocation (RFC 7009) on the wire.
use crate::world::estate::{CONTOSO, FABRIKAM, app, grant, secret};
use crate::world::{Answer, Params, World, but, claims, client_credentials, credential, encode, text};
use axum::http::StatusCode;
use serde_json::{Value, json};
use store::Object;

impl World {
    fn with_token(name: &str, token: &str) -> Params<'static> {
        let mut params = credential(name);
        params.push(("token", token.to_owned()));
        params
    }

    pub(crate) async fn introspect(&self, name: &str, token: &str) -> Value {
        let path = format!("/{CONTOSO}/oauth2/v2.0/introspect");
        self.post(&path, &[], encode(&Self::with_token(name, token))).await.ok()
    }

    pub(crate) async fn revoke(&self, name: &str, token: &str) -> Answer {
        self.post(&format!("/{CONTOSO}/oauth2/v2.0/revoke"), &[], encode(&Self::with_token(name, token))).await
    }
}

fn inactive() -> Value {
    json!({"active": false})
}

async fn signed_in(world: &World) -> (String, String) {
    let answer = world.signed_in("web", "ada", "api://orders/access_as_user offline_access").await;
    (text(&answer, "access_token"), text(&answer, "refresh_token"))
}

#[tokio::test]
async fn an_api_is_told_about_a_token_for_it() {
    let world = World::new().await;
    let (token, refresh) = signed_in(&world).await;
    let told = world.introspect("orders", &token).await;
    let own = claims(&token);
    for name in ["iss", "aud", "sub", "exp", "iat", "nbf", "tid", "oid", "idtyp"] {
        assert_eq!(told[name], own[name], "{name}");
    }
    assert_eq!(
        (&told["active"], &told["scope"], &told["token_type"]),
        (&json!(true), &json!("access_as_user"), &json!("Bearer"))
    );
    assert_eq!((&told["client_id"], &told["jti"]), (&json!(app("web")), &own["uti"]));

    let daemon = text(&world.token(client_credentials("daemon", "api://billing/.default")).await.ok(), "access_token");
    let told = world.introspect("billing", &daemon).await;
    assert_eq!(
        (&told["active"], &told["roles"], &told["idtyp"]),
        (&json!(true), &json!(["Invoices.Export"]), &json!("app"))
    );
    // A refresh token is no API's; who holds it may ask.
    let told = world.introspect("web", &refresh).await;
    assert_eq!((&told["active"], &told["client_id"]), (&json!(true), &json!(app("web"))));
    let v1 =
        text(&world.obo("billing", &world.billing_token().await, "api://archive/.default").await.ok(), "access_token");
    assert_eq!(world.introspect("archive", &v1).await["aud"], "api://archive");
}

/// Whoever is not the audience learns nothing, whatever form of answer is asked for.
#[tokio::test]
async fn a_24_others_than_the_audience_are_told_nothing() {
    let world = World::new().await;
    let (token, refresh) = signed_in(&world).await;
    for other in ["web", "billing", "rival", "daemon"] {
        assert_eq!(world.introspect(other, &token).await, inactive(), "{other}");
    }
    for other in ["orders", "rival"] {
        assert_eq!(world.introspect(other, &refresh).await, inactive(), "{other}");
    }
    let path = format!("/{CONTOSO}/oauth2/v2.0/introspect");
    let body = encode(&World::with_token("rival", &token));
    let jwt = world.post(&path, &[("accept", "application/token-introspection+jwt")], body).await;
    assert_eq!((jwt.ok(), jwt.header("content-type")), (inactive(), "application/json; charset=utf-8"));
    // An API whose scope has the same name, and which the same client may call.
    world
        .edit_app("billing", |app| {
            let mut same = app.api.oauth2_permission_scopes[0].clone();
            same.value = "access_as_user".to_owned();
            same.id = deputize_core::id::PermissionId(uuid::Uuid::from_u128(77));
            app.api.oauth2_permission_scopes.push(same);
        })
        .await;
    world.put(Object::Grant(grant("web", "billing", "Invoices.Read access_as_user"))).await;
    assert_eq!(world.introspect("billing", &token).await, inactive());
    assert_eq!(world.introspect("orders", &token).await["active"], true);
    // Another tenant's application of the same registration.
    let elsewhere = format!("/{FABRIKAM}/oauth2/v2.0/introspect");
    assert_eq!(world.post(&elsewhere, &[], encode(&World::with_token("orders", &token))).await.ok(), inactive());
    // Tokens of other kinds, though signed and for the caller.
    let id_token = text(&world.signed_in("web", "ada", "openid").await, "id_token");
    assert_eq!(world.introspect("web", &id_token).await, inactive());
    for nonsense in ["x", "a.b.c", &"9".repeat(10_000)] {
        assert_eq!(world.introspect("orders", nonsense).await, inactive());
    }
}

#[tokio::test]
async fn only_authenticated_apis_ask() {
    let world = World::new().await;
    let (token, _) = signed_in(&world).await;
    let path = format!("/{CONTOSO}/oauth2/v2.0/introspect");
    let good = World::with_token("orders", &token);
    for (change, value, check) in [
        ("client_secret", None, "client.credential_present"),
        ("client_secret", Some("wrong"), "client.secret_correct"),
        ("client_id", Some("00000000-0000-4000-8000-000000000009"), "client.known"),
        ("token", None, "request.parameter_present"),
    ] {
        let answer = world.post(&path, &[], encode(&but(good.clone(), change, value))).await;
        assert_eq!(answer.check(), check, "{change}");
    }
    assert_eq!(
        world.post(&path, &[], encode(&World::with_token("native", &token))).await.check(),
        "client.credential_present"
    );
    assert_eq!(world.post(&path, &[], format!("token={token}&token={token}")).await.check(), "request.well_formed");
    let alias = "/common/oauth2/v2.0/introspect";
    assert_eq!(world.post(alias, &[], encode(&good)).await.check(), "tenant.known");
    assert_eq!(world.get(&path).await.status, StatusCode::METHOD_NOT_ALLOWED);
    let in_url = format!("{path}?token={token}");
    assert_eq!(world.post(&in_url, &[], encode(&good)).await.check(), "request.well_formed");
    let basic = {
        use base64::Engine as _;
        let text = format!("{}:{}", app("orders"), secret("orders"));
        format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(text))
    };
    let answer = world.post(&path, &[("authorization", &basic)], format!("token={token}")).await;
    assert_eq!(answer.ok()["active"], true);
}

#[tokio::test]
async fn a_02_a_replayed_code_ends_the_access_token_that_it_gave() {
    let world = World::new().await;
    let mut browser = crate::world::browser::Browser::default();
    let code = browser.code(&world, "web", "ada", "api://orders/access_as_user offline_access").await;
    let answer = world.redeem("web", &code).await.ok();
    let token = text(&answer, "access_token");
    let downstream =
        text(&world.obo("orders", &token, "api://billing/.default offline_access").await.ok(), "access_token");
    assert_eq!(world.introspect("orders", &token).await["active"], true);
    assert_eq!(world.introspect("billing", &downstream).await["active"], true);
    assert_eq!(world.redeem("web", &code).await.check(), "code.unused");
    assert_eq!(world.introspect("orders", &token).await, inactive());
    assert_eq!(world.introspect("billing", &downstream).await, inactive(), "what stems from it ends too");
    assert_eq!(world.obo("orders", &token, "api://billing/.default").await.check(), "user.not_revoked");
    assert_eq!(world.refresh("web", &text(&answer, "refresh_token"), None).await.check(), "user.not_revoked");
}

/// A-12 after a restart (CVE-2026-9802): what was rotated is in the store, and no start makes an old token new.
#[tokio::test]
async fn a_12_a_rotated_refresh_token_stays_rotated_across_a_restart() {
    // The native profile at once; a public client of the other one after its ten seconds.
    for (client, later) in [("strict", 0), ("gadget", 0), ("native", 11)] {
        let world = World::new().await;
        let answer = world.signed_in(client, "ada", "api://orders/access_as_user offline_access").await;
        let (token, first) = (text(&answer, "access_token"), text(&answer, "refresh_token"));
        let second = text(&world.refresh(client, &first, None).await.ok(), "refresh_token");
        world.clock.advance(later);
        let world = world.restarted();
        assert_eq!(world.introspect("orders", &token).await["active"], true, "{client}");
        let replayed = world.refresh(client, &first, None).await;
        let (status, error, _, check) = replayed.refused();
        assert_eq!((status, &*error, &*check), (400, "invalid_grant", "refresh.unused"), "{client}");
        // Nor does another one forget that the family was revoked for it.
        let world = world.restarted();
        for token in [&first, &second] {
            assert_eq!(world.refresh(client, token, None).await.check(), "user.not_revoked", "{client}");
        }
        assert_eq!(world.introspect("orders", &token).await, inactive(), "{client}");
    }
}

#[tokio::test]
async fn a_revoked_refresh_token_takes_its_family_and_what_stems_from_it() {
    let world = World::new().await;
    let (token, refresh) = signed_in(&world).await;
    let (other, _) = signed_in(&world).await;
    let chain = world.obo("orders", &token, "api://billing/.default offline_access").await.ok();
    let mine = text(&chain, "refresh_token");
    let userinfo = text(&world.refresh("web", &refresh, Some("openid profile")).await.ok(), "access_token");
    assert_eq!(world.get_with(&format!("/{CONTOSO}/openid/userinfo"), &userinfo).await.status, StatusCode::OK);

    let answer = world.revoke("web", &refresh).await;
    assert_eq!((answer.status, answer.json()), (StatusCode::OK, json!({})));
    assert_eq!(world.refresh("web", &refresh, None).await.check(), "user.not_revoked");
    assert_eq!(world.introspect("web", &refresh).await, inactive());
    assert_eq!(world.introspect("orders", &token).await, inactive());
    assert_eq!(
        world.refresh("orders", &mine, None).await.check(),
        "user.not_revoked",
        "the middle tier's ends with it"
    );
    assert_eq!(
        world.get_with(&format!("/{CONTOSO}/openid/userinfo"), &userinfo).await.status,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(world.introspect("orders", &other).await["active"], true, "another sign-in's goes on");
    let records = world.store.audit(0, 1_000).unwrap();
    assert!(records.iter().any(|(_, record)| record.action == "revoke" && record.client == Some(app("web"))));
    assert_eq!(world.revoke("web", &refresh).await.status, StatusCode::OK, "again");
}

/// A middle tier gives back what it got, and not what the user gave to the application before it.
#[tokio::test]
async fn a_middle_tier_revokes_its_own_and_not_the_root() {
    let world = World::new().await;
    let (token, refresh) = signed_in(&world).await;
    let chain = world.obo("orders", &token, "api://billing/.default offline_access").await.ok();
    let downstream = text(&chain, "access_token");
    assert_eq!(world.revoke("orders", &text(&chain, "refresh_token")).await.status, StatusCode::OK);
    assert_eq!(world.introspect("billing", &downstream).await, inactive());
    assert_eq!(world.introspect("orders", &token).await["active"], true);
    assert!(world.refresh("web", &refresh, None).await.ok().is_object());
    let again = text(&world.obo("orders", &token, "api://billing/.default").await.ok(), "access_token");
    let answer = world.revoke("orders", &again).await;
    assert_eq!((answer.refused().1.as_str(), answer.check().as_str()), ("unsupported_token_type", "revocation.kind"));
    // With the user's own sign-in the access token stands for it.
    assert_eq!(world.revoke("web", &token).await.status, StatusCode::OK);
    assert_eq!(world.introspect("billing", &again).await, inactive());
}

#[tokio::test]
async fn a_25_nobody_revokes_what_another_client_holds() {
    let world = World::new().await;
    let (token, refresh) = signed_in(&world).await;
    for other in ["rival", "orders", "native"] {
        for theirs in [&token, &refresh] {
            let answer = world.revoke(other, theirs).await;
            assert_eq!((answer.status, answer.json()), (StatusCode::OK, json!({})), "{other}");
        }
    }
    // The same registration in another tenant.
    let elsewhere = format!("/{FABRIKAM}/oauth2/v2.0/revoke");
    for theirs in [&token, &refresh] {
        assert_eq!(world.post(&elsewhere, &[], encode(&World::with_token("web", theirs))).await.status, StatusCode::OK);
    }
    // Its owner without the credential.
    let bare = but(World::with_token("web", &refresh), "client_secret", None);
    let answer = world.post(&format!("/{CONTOSO}/oauth2/v2.0/revoke"), &[], encode(&bare)).await;
    assert_eq!(answer.check(), "client.credential_present");
    assert_eq!(world.introspect("orders", &token).await["active"], true);
    assert!(world.refresh("web", &refresh, None).await.ok().is_object());
}

#[tokio::test]
async fn a_26_a_part_of_a_token_is_another_text() {
    let world = World::new().await;
    let (token, refresh) = signed_in(&world).await;
    let mut texts: Vec<String> = (1..refresh.len()).map(|end| refresh[..end].to_owned()).collect();
    texts.extend([format!("{refresh}A"), format!("{refresh} "), format!(" {refresh}"), refresh.to_uppercase()]);
    for text in &texts {
        assert_eq!(world.introspect("web", text).await, inactive(), "{text}");
        assert_eq!(world.revoke("web", text).await.status, StatusCode::OK);
    }
    for text in [&token[..token.len() - 1], &format!("{token}A"), &token[1..]] {
        assert_eq!(world.introspect("orders", text).await, inactive());
    }
    assert!(world.refresh("web", &refresh, None).await.ok().is_object(), "none of them revoked it");
}

#[tokio::test]
async fn what_would_be_issued_with_less_is_told_with_less() {
    let world = World::new().await;
    world.put(Object::Grant(grant("web", "orders", "access_as_user Orders.Write"))).await;
    let token = world.access_token("web", "ada", "api://orders/access_as_user api://orders/Orders.Write").await;
    assert_eq!(world.introspect("orders", &token).await["scope"], "Orders.Write access_as_user");
    world.put(Object::Grant(grant("web", "orders", "access_as_user"))).await;
    assert_eq!(world.introspect("orders", &token).await["scope"], "access_as_user");
    world.delete(Object::Grant(grant("web", "orders", "")).key()).await;
    assert_eq!(world.introspect("orders", &token).await, inactive());
}

#[tokio::test]
async fn metadata_tells_of_both_where_they_are() {
    let world = World::new().await;
    let of = async |segment: &str| world.get(&format!("/{segment}/v2.0/.well-known/openid-configuration")).await.ok();
    let own = of(&CONTOSO.to_string()).await;
    for name in ["introspection_endpoint", "revocation_endpoint"] {
        let path = text(&own, name).replace(crate::world::HOST, "");
        assert_eq!(world.post(&path, &[], "").await.check(), "request.parameter_present", "{name}");
        assert!(own[format!("{name}_auth_methods_supported")].as_array().unwrap().len() >= 3);
        assert!(of("common").await[name].is_null(), "under an alias there is no tenant to ask");
    }
}
