//! Tokens that are looked for elsewhere than in `Authorization`: what is said of them names the place.
use crate::support::{ORDERS, World};
use serde_json::json;

fn with(place: &str) -> String {
    ORDERS.replace("audiences =", &format!("{place}\n    audiences ="))
}

#[tokio::test]
async fn a_refusal_names_the_place_where_the_token_is_looked_for() {
    let world = World::start(&with("header_name = \"X-Token\"")).await;
    let token = world.token(&json!({}));
    let bearer = format!("Bearer {token}");
    assert_eq!(world.get("/x", &[("x-token", &token)]).await.status, 200);
    for (fields, has_error) in
        [(vec![], false), (vec![("authorization", bearer.as_str())], false), (vec![("x-token", bearer.as_str())], true)]
    {
        let answer = world.get("/x", &fields).await;
        assert_eq!(answer.reason(), (401, "TokenNotPresent".to_owned()), "{answer:?}");
        let message = answer.json()["message"].as_str().unwrap().to_owned();
        assert!(message.starts_with("JWT not present.") && message.contains("the field `x-token`"), "{message}");
        let challenge = answer.field("www-authenticate").concat();
        assert_eq!(challenge.contains("error="), has_error, "{challenge}");
        assert!(!challenge.contains("`Authorization"), "{challenge}");
    }
    let twice = world.get("/x", &[("x-token", &token), ("x-token", &token)]).await;
    assert_eq!((twice.status, twice.check().as_str()), (400, "gateway.credential_single"));
    assert!(twice.json()["message"].as_str().unwrap().contains("the field `x-token`"), "{twice:?}");

    world.reload(&with("query_parameter_name = \"token\"")).unwrap();
    assert_eq!(world.get(&format!("/x?token={token}"), &[]).await.status, 200);
    let answer = world.get("/x?token=", &[]).await;
    assert!(answer.json()["message"].as_str().unwrap().contains("the parameter `token`"), "{answer:?}");
}
