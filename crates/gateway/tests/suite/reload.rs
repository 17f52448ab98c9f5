//! A configuration is replaced as a whole, or not at all.
use crate::support::{ORDERS, PUBLIC, World};
use serde_json::json;

#[tokio::test]
async fn g_19_a_new_configuration_counts_from_the_next_request_and_a_bad_one_changes_nothing() {
    let world = World::start(ORDERS).await;
    let bearer = world.bearer(&json!({}));
    let fields = [("authorization", bearer.as_str())];
    assert_eq!(world.get("/", &fields).await.status, 200);
    assert_eq!(world.issuer.key_fetches(), 1);
    world.reload(PUBLIC).unwrap();
    assert_eq!(world.get("/", &[]).await.status, 200);
    world.reload(ORDERS).unwrap();
    assert_eq!(world.get("/", &[]).await.status, 401);
    assert_eq!(world.get("/", &fields).await.status, 200);
    assert_eq!(world.issuer.key_fetches(), 1, "keys stay");
    let bad = PUBLIC.replace("public = true", "");
    assert!(world.reload(&bad).unwrap_err().problem.contains("no policy that checks who calls"));
    assert_eq!(world.get("/", &[]).await.status, 401);
    assert_eq!(world.get("/", &fields).await.status, 200);
}
