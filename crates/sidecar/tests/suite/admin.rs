//! What an operator does (6.12).
use crate::support::{Encoding, World, fetch};
use bytes::Bytes;
use http::{HeaderMap, Method};
use serde_json::json;
use sidecar::{Admin, Bind, Bound, Callers, Listeners};
use std::sync::Arc;

#[tokio::test]
async fn after_a_flush_every_token_is_got_anew() {
    let world = World::new().await;
    let mut listeners = Listeners::new();
    let bound = Bound::bind(&Bind::parse("127.0.0.1:0").unwrap()).await.unwrap();
    let place = bound.address().unwrap();
    listeners.add(bound, None, Arc::new(Admin::new(Arc::clone(&world.sidecar), &Callers::default(), &place)));
    let (url, fetch) = (format!("http://{place}/flush"), fetch());
    let post = async |headers: HeaderMap| fetch.send(Method::POST, &url, headers, Bytes::new()).await.unwrap().status;

    let held = world.token("entra_id", "default", Encoding::Json).await.token();
    let user = world.issuer("entra_id").token(&json!({}));
    let exchanged = world.exchange("entra_id", "default", &user, Encoding::Json).await.token();
    let page = HeaderMap::from_iter([(http::header::ORIGIN, "https://evil.example".parse().unwrap())]);
    assert_eq!(post(page).await, 403, "no web page flushes");
    assert_eq!(fetch.get(&url).await.unwrap().status, 405);
    assert_eq!(fetch.get(&format!("http://{place}/")).await.unwrap().status, 404);
    assert_eq!(world.token("entra_id", "default", Encoding::Json).await.token(), held);

    assert_eq!(post(HeaderMap::new()).await, 204);
    assert_ne!(world.token("entra_id", "default", Encoding::Json).await.token(), held);
    assert_ne!(world.exchange("entra_id", "default", &user, Encoding::Json).await.token(), exchanged);
}
