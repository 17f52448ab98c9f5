//! The stream of cut-offs on the wire.
use crate::world::estate::{CONTOSO, FABRIKAM, app, grant, principal, user};
use crate::world::stream::{Event, reader};
use crate::world::{HOST, NOON, World, claims, header, text};
use axum::http::StatusCode;
use deputize_core::built_in;
use deputize_core::id::SessionId;
use deputize_core::ledger::Write;
use deputize_core::ports::Ledger;
use serde_json::{Value, json};
use store::{Key, Object};

async fn world() -> World {
    World::with(|plan| plan.others.extend(["orders", "billing"].map(reader))).await
}

fn subjects(events: &[Event]) -> Vec<Value> {
    events
        .iter()
        .map(|event| {
            assert_eq!(event.kind, "cut-off");
            let mut subject = event.claims()["sub_id"].clone();
            let members = subject.as_object_mut().unwrap();
            assert_eq!(members.remove("format"), Some(json!("complex")));
            assert_eq!(members.remove("tenant"), Some(opaque(&CONTOSO.to_string())));
            subject
        })
        .collect()
}

fn opaque(id: &str) -> Value {
    json!({"format": "opaque", "id": id})
}

/// The names that a token has for its session and its authorization.
fn references(token: &str) -> (String, String) {
    let rh = text(&claims(token), "rh");
    let mut parts = rh.split('.').skip(2).map(str::to_owned);
    (parts.next().unwrap(), parts.next().unwrap())
}

#[tokio::test]
async fn a_cut_off_is_a_security_event_token_for_its_subscriber_in_the_names_of_its_own_tokens() {
    let world = world().await;
    let answer = world.signed_in("web", "ada", "api://orders/access_as_user offline_access").await;
    let token = text(&answer, "access_token");
    let mut orders = world.listen(&world.events_token("orders").await, None).await.ok().unwrap();
    let mut billing = world.listen(&world.events_token("billing").await, None).await.ok().unwrap();
    assert_eq!((orders.told().await.0, billing.told().await.0), (vec![], vec![]));

    world.edit_user("ada", |user| user.account_enabled = false).await;
    let (told, elsewhere) = (orders.cut_offs().await, billing.cut_offs().await);
    let set = told[0].claims();
    assert_eq!(header(&told[0].data)["typ"], "secevent+jwt");
    assert_eq!(set["iss"], format!("{HOST}/{CONTOSO}/v2.0"));
    assert_eq!(set["aud"], json!([app("orders"), "api://orders"]));
    assert_eq!((&set["iat"], &set["toe"]), (&json!(NOON), &json!(NOON)));
    let event = &set["events"]["https://schemas.openid.net/secevent/caep/event-type/session-revoked"];
    assert_eq!(event["change"].to_string(), told[0].id);
    let sub = &claims(&token)["sub"];
    assert_eq!(subjects(&told), [json!({"user": {"format": "iss_sub", "iss": set["iss"], "sub": sub}})]);
    // Billing has never seen Ada, and learns nothing of her from the same change.
    assert_ne!(subjects(&told), subjects(&elsewhere));
    assert!(!elsewhere[0].data.contains(&user("ada").to_string()));

    // One of another kind for everybody else: never a token.
    let as_token = world.get_with(&format!("/{CONTOSO}/openid/userinfo"), &told[0].data).await;
    assert_eq!(as_token.status, StatusCode::UNAUTHORIZED);
    let as_assertion = world.obo("orders", &told[0].data, "api://billing/.default").await;
    assert_eq!(as_assertion.check(), "request.assertion_kind");
}

#[tokio::test]
async fn each_kind_of_change_is_told_to_whom_it_concerns() {
    let world = world().await;
    let answer = world.signed_in("web", "ada", "api://orders/access_as_user offline_access").await;
    let (session, authorization) = references(&text(&answer, "access_token"));
    let id = text(&claims(&text(&world.signed_in("web", "ada", "openid").await, "id_token")), "sid");
    let mut orders = world.listen(&world.events_token("orders").await, None).await.ok().unwrap();
    assert_eq!(orders.told().await.0, []);

    // A consent at Billing is none of Orders' business; the one at Orders is.
    world.put(Object::Grant(grant("orders", "billing", "Invoices.Approve"))).await;
    world.delete(Object::Grant(grant("web", "orders", "")).key()).await;
    assert_eq!(subjects(&orders.cut_offs().await), [json!({"application": opaque(&app("web").to_string())})]);

    let refresh = text(&answer, "refresh_token");
    assert_eq!(world.revoke("web", &refresh).await.status, StatusCode::OK);
    assert_eq!(subjects(&orders.cut_offs().await), [json!({"grant": opaque(&authorization)})]);

    let other: SessionId = id.parse().unwrap();
    world.store.commit(vec![Write::RevokeSession(other)]).await.unwrap();
    let told = subjects(&orders.cut_offs().await);
    assert_ne!(told, [json!({"session": opaque(&session)})], "another sign-in");
    assert!(told[0]["session"].is_object());

    world.edit_principal("web", |principal| principal.account_enabled = false).await;
    assert_eq!(subjects(&orders.cut_offs().await), [json!({"application": opaque(&app("web").to_string())})]);
    world.edit_principal("billing", |principal| principal.account_enabled = false).await;
    assert_eq!(subjects(&orders.cut_offs().await), [json!({"application": opaque(&app("billing").to_string())})]);
    world.edit_app("orders", |app| app.api.oauth2_permission_scopes.clear()).await;
    assert_eq!(subjects(&orders.cut_offs().await), [json!({})], "all tokens for Orders");
}

#[tokio::test]
async fn a_stream_resumes_where_it_was_and_begins_anew_where_that_is_not_known() {
    let world = world().await;
    let token = world.events_token("orders").await;
    let mut first = world.listen(&token, None).await.ok().unwrap();
    let (_, place) = first.told().await;
    // One after the other: changes that are close together may be told together.
    world.edit_user("ada", |user| user.account_enabled = false).await;
    let ada = first.cut_offs().await;
    world.edit_user("bob", |user| user.account_enabled = false).await;
    let bob = first.cut_offs().await;
    drop(first);
    let resumed = async |after| world.listen(&token, Some(after)).await.ok().unwrap().told().await.0;
    let both: Vec<Event> = ada.iter().chain(&bob).cloned().collect();
    assert_eq!(resumed(place).await, both);
    assert_eq!(resumed(ada[0].id.parse().unwrap()).await, bob);
    assert_eq!(resumed(bob[0].id.parse().unwrap()).await, []);
    // A place that the log never had: of another store, or from before a backup was restored.
    assert_eq!(resumed(9_999).await, both);
    // After the longest life of a token nothing is left to be cut off.
    world.clock.advance(28 * 3_600 + 1);
    let token = world.events_token("orders").await;
    assert_eq!(world.listen(&token, None).await.ok().unwrap().told().await.0, []);
}

#[tokio::test]
async fn only_applications_with_the_role_listen_and_only_as_long_as_they_have_it() {
    let world = world().await;
    let check = async |token: &str| world.listen(token, None).await.err().unwrap();
    assert_eq!(check("nonsense").await, (StatusCode::UNAUTHORIZED, "token.signature".into()));
    assert_eq!(check(&world.orders_token().await).await, (StatusCode::UNAUTHORIZED, "token.audience".into()));
    let own = text(
        &world.token(crate::world::client_credentials("daemon", "api://billing/.default")).await.ok(),
        "access_token",
    );
    assert_eq!(check(&own).await, (StatusCode::UNAUTHORIZED, "token.audience".into()));
    // A token without the role opens nothing.
    assert_eq!(check(&world.events_token("daemon").await).await, (StatusCode::FORBIDDEN, "role.sufficient".into()));
    let token = world.events_token("orders").await;
    let elsewhere = world.get_with(&format!("/{FABRIKAM}/events"), &token).await;
    assert_eq!((elsewhere.status, text(&elsewhere.json(), "check")), (StatusCode::UNAUTHORIZED, "token.tenant".into()));

    let mut stream = world.listen(&token, None).await.ok().unwrap();
    stream.told().await;
    world.delete(reader("orders").key()).await;
    while stream.next().await.is_some() {}
    assert_eq!(check(&token).await, (StatusCode::FORBIDDEN, "role.sufficient".into()));
    world.put(reader("orders")).await;
    let mut stream = world.listen(&token, None).await.ok().unwrap();
    stream.told().await;
    world.delete(Key::ServicePrincipal(CONTOSO, principal("orders"))).await;
    while stream.next().await.is_some() {}
    assert_eq!(check(&token).await.1, "client.known");
}

#[tokio::test]
async fn a_stream_ends_with_its_token() {
    let world = world().await;
    let token = world.events_token("orders").await;
    let mut stream = world.listen(&token, None).await.ok().unwrap();
    stream.told().await;
    world.clock.advance(3_599 + 61);
    while stream.next().await.is_some() {}
    assert_eq!(world.listen(&token, None).await.err().unwrap().1, "token.not_expired");
}

/// Many instances of one API listen, and not as many as it likes; another API has its own.
#[tokio::test]
async fn an_application_has_a_bounded_number_of_streams() {
    let world = world().await;
    let (orders, billing) = (world.events_token("orders").await, world.events_token("billing").await);
    let mut open = Vec::new();
    for _ in 0..256 {
        open.push(world.listen(&orders, None).await.ok().unwrap());
    }
    let request =
        axum::http::Request::get(format!("/{CONTOSO}/events")).header("authorization", format!("Bearer {orders}"));
    let refused = world.send(request.body(axum::body::Body::empty()).unwrap()).await;
    assert_eq!((refused.status, refused.header("retry-after")), (StatusCode::SERVICE_UNAVAILABLE, "5"));
    assert_eq!(refused.json()["error"], "temporarily_unavailable");
    assert!(world.listen(&billing, None).await.is_ok());
    // Who goes makes room, once their stream finds out.
    open.pop();
    let room = async {
        while world.listen(&orders, None).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), room).await.unwrap();
}

/// Who does not read what they are told costs a few parts and ten seconds, and resumes where they were.
#[tokio::test]
async fn a_subscriber_that_does_not_read_is_cut_off() {
    let world = world().await;
    let mut stream = world.listen(&world.events_token("orders").await, None).await.ok().unwrap();
    stream.told().await;
    tokio::time::pause();
    tokio::time::sleep(std::time::Duration::from_mins(1)).await;
    let mut left = 0;
    while stream.next().await.is_some() {
        left += 1;
    }
    assert!((1..=8).contains(&left), "{left} parts were kept for it");
}

fn lives(token: &str) -> i64 {
    let claims = claims(token);
    claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap()
}

/// Long-lived tokens are issued, by every process, while one of them tells the API of cut-offs; and not a minute later.
#[tokio::test]
async fn tokens_live_for_a_day_while_their_api_listens_wherever_it_does() {
    let world = World::with(|plan| {
        plan.others.push(reader("orders"));
        let wanted = serde_json::from_value(json!({"accessToken": [{"name": "xms_cc"}]})).unwrap();
        plan.app("orders").optional_claims = wanted;
    })
    .await;
    world.edit_tenant(|tenant| tenant.settings.access_token_seconds = None).await;
    let refresh =
        text(&world.signed_in("web", "ada", "api://orders/access_as_user offline_access").await, "refresh_token");
    let beside = world.beside();
    let renewed = async |at: &World, able: bool| {
        let mut form = crate::world::refresh_form("web", &refresh, None);
        if able {
            form.push(("claims", r#"{"access_token":{"xms_cc":{"values":["cp1"]}}}"#.to_owned()));
        }
        at.token(form).await.ok()
    };
    let life = async |at: &World, able| lives(&text(&renewed(at, able).await, "access_token"));
    assert!(life(&world, true).await <= 5_400, "nobody listens");
    let mut stream = world.listen(&world.events_token("orders").await, None).await.ok().unwrap();
    stream.told().await;
    while world.store.heard(CONTOSO, app("orders")).await.unwrap().is_none() {
        stream.told().await;
    }
    for at in [&world, &beside] {
        let answer = renewed(at, true).await;
        assert!((72_000..=100_800).contains(&lives(&text(&answer, "access_token"))));
        assert_eq!(answer["refresh_in"].as_i64(), answer["expires_in"].as_i64().map(|life| life / 2));
        assert!(life(at, false).await <= 5_400, "who cannot be told");
    }
    // While it goes on it is noted again, and not with every heartbeat.
    world.clock.advance(19);
    stream.told().await;
    assert_eq!(world.store.heard(CONTOSO, app("orders")).await.unwrap(), Some(NOON));
    world.clock.advance(1);
    while world.store.heard(CONTOSO, app("orders")).await.unwrap() == Some(NOON) {
        stream.told().await;
    }
    assert_eq!(world.store.heard(CONTOSO, app("orders")).await.unwrap(), Some(NOON.plus(20)));
    drop(stream);
    world.clock.advance(61);
    for at in [&world, &beside] {
        assert!(life(at, true).await <= 5_400);
    }
}

/// What one process commits, those that read at another are told.
#[tokio::test]
async fn a_change_by_another_process_is_told() {
    let world = world().await;
    tokio::spawn(world.store.watch());
    let mut stream = world.listen(&world.events_token("orders").await, None).await.ok().unwrap();
    stream.told().await;
    let there = world.another_store();
    there.commit(vec![Write::RevokeFamily(deputize_core::id::FamilyId(uuid::Uuid::from_u128(7)))]).await.unwrap();
    let told = subjects(&stream.cut_offs().await);
    assert!(told[0]["grant"]["id"].as_str().is_some_and(|id| id.len() == 22), "{told:?}");
}

/// The authority's own application is a resource and nothing else.
#[tokio::test]
async fn nobody_is_the_authority() {
    let world = world().await;
    let form = vec![
        ("client_id", built_in::APP.to_string()),
        ("client_secret", "a guess".to_owned()),
        ("grant_type", "client_credentials".to_owned()),
        ("scope", "api://orders/.default".to_owned()),
    ];
    assert_eq!(world.token(form.clone()).await.check(), "client.confidential");
    let form = crate::world::but(form, "client_secret", None);
    assert_eq!(world.token(form).await.check(), "client.credential_present");
}
