//! Operations that want a stronger sign-in than the rest of their API: what a caller is told that has none.
use crate::support::{Answered, ORDERS, World};
use oauth::challenge::{Challenge, decode_claims};
use serde_json::{Value, json};

const REFUNDS: &str = r#"
    [[api.operation]]
    name = "refund"
    method = "POST"
    path = "/refunds"
    [api.operation.policies.require]
    acrs = ["c1"]
"#;

fn api() -> String {
    let scoped = "[api.policies.require]\n    scopes = [\"Orders.Read\"]\n    [[api.operation]]";
    ORDERS.replace("[[api.operation]]", scoped) + REFUNDS
}

async fn refund(world: &World, claims: &Value) -> Answered {
    let bearer = world.bearer(claims);
    let text =
        format!("POST /refunds HTTP/1.1\r\nhost: api.example\r\nauthorization: {bearer}\r\ncontent-length: 0\r\n\r\n");
    world.raw(text).await
}

/// What it asks for in Entra's words, and in those of RFC 9470.
fn challenged(answer: &Answered) -> (Value, String) {
    let challenges: Vec<Challenge> =
        answer.field("www-authenticate").iter().flat_map(|one| Challenge::parse(one).unwrap()).collect();
    let with = |error: &str| challenges.iter().find(|one| one.param("error") == Some(error)).unwrap();
    let claims = decode_claims(with("insufficient_claims").param("claims").unwrap()).unwrap();
    let values = with("insufficient_user_authentication").param("acr_values").unwrap();
    (serde_json::from_str(&claims).unwrap(), values.to_owned())
}

#[tokio::test]
async fn a_user_without_the_context_is_challenged_in_both_dialects_and_let_in_with_it() {
    let world = World::start(&api()).await;
    assert_eq!(world.get_with_token("/orders", &[]).await.status, 200, "elsewhere it is not asked for");
    for claims in [json!({}), json!({"acrs": ["c2"]}), json!({"acrs": []})] {
        let answer = refund(&world, &claims).await;
        assert_eq!((answer.status, answer.check()), (401, "context.sufficient".to_owned()), "{claims}");
        let (asked, values) = challenged(&answer);
        assert_eq!(asked, json!({"access_token": {"acrs": {"essential": true, "value": "c1"}}}));
        assert_eq!(values, "c1");
    }
    assert_eq!(refund(&world, &json!({"acrs": ["c2", "c1"]})).await.status, 200);
    assert_eq!(world.service.seen().len(), 2, "a refused request got through");
}

#[tokio::test]
async fn any_one_of_a_list_is_enough_and_each_list_demands_its_own() {
    let wider = api().replace("scopes = [\"Orders.Read\"]", "scopes = [\"Orders.Read\"]\n    acrs = [\"c8\", \"c9\"]");
    let world = World::start(&wider.replace(REFUNDS, &REFUNDS.replace("\"c1\"", "\"c1\", \"c2\""))).await;
    for (acrs, wanted) in [
        (json!([]), Some(["c8", "c9"])),
        (json!(["c1", "c2"]), Some(["c8", "c9"])),
        (json!(["c9"]), Some(["c1", "c2"])),
        (json!(["c9", "c1"]), None),
        (json!(["c2", "c8"]), None),
    ] {
        let answer = refund(&world, &json!({ "acrs": acrs })).await;
        let Some(wanted) = wanted else {
            assert_eq!(answer.status, 200, "{acrs}");
            continue;
        };
        assert_eq!((answer.status, answer.check()), (401, "context.sufficient".to_owned()), "{acrs}");
        let (asked, values) = challenged(&answer);
        assert_eq!(asked, json!({"access_token": {"acrs": {"essential": true, "values": wanted}}}), "{acrs}");
        assert_eq!(values, wanted.join(" "), "{acrs}");
    }
    assert_eq!(world.service.seen().len(), 2, "a refused request got through");
}

#[tokio::test]
async fn the_context_stands_beside_what_wider_scopes_demand_and_is_one_of_users() {
    let world = World::start(&api()).await;
    let other = refund(&world, &json!({"acrs": ["c1"], "scp": "Orders.Write"})).await;
    assert_eq!((other.status, other.check()), (403, "scope.sufficient".to_owned()));
    let app =
        json!({"acrs": ["c1"], "scp": null, "roles": ["Orders.All"], "idtyp": "app", "sub": "o-app", "oid": "o-app"});
    let alone = ORDERS.to_owned() + REFUNDS;
    world.reload(&alone).unwrap();
    let refused = refund(&world, &app).await;
    assert_eq!((refused.status, refused.check()), (403, "subject.user".to_owned()));
    assert_eq!(refund(&world, &json!({"acrs": ["c1"]})).await.status, 200);
}
