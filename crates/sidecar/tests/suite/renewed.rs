//! The configuration is read again (6.12): what is held, counted and known stays, as far as it means the same.
use crate::support::{Encoding, World, explicit};
use serde_json::json;
use sidecar::{File, Settings};
use std::sync::Arc;

fn read(world: &World, more: &[(&str, &str)], file: &str) -> Settings {
    let mut variables = explicit(&world.issuers);
    variables.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    Settings::read(&|name| variables.get(name).cloned(), Some(toml::from_str::<File>(file).unwrap())).unwrap()
}

#[tokio::test]
async fn tokens_counts_and_keys_stay_when_the_configuration_is_read_again() {
    let world = World::new().await;
    let token = world.token("entra_id", "default", Encoding::Json).await.token();
    assert!(world.is_active("entra_id", &token).await);
    let settings = read(&world, &[], "outbound = [{ target = \"default\" }]");
    let world = world.renewed(settings).await;
    assert_eq!(world.token("entra_id", "default", Encoding::Json).await.token(), token);
    assert_eq!(world.token("entra_id", "other", Encoding::Json).await.status, 403, "the new rule binds");
    assert!(world.is_active("entra_id", &token).await);
    let issuer = world.issuer("entra_id");
    assert_eq!((issuer.asked().len(), issuer.key_fetches()), (1, 1));
    let counted = world.get(&format!("{}/metrics", world.metrics)).await.text;
    let requests =
        r#"texas_handler_requests{path="/api/v1/token",identity_provider="entra_id",request_type="token"} 3"#;
    assert!(counted.contains(requests), "{counted}");
}

#[tokio::test]
async fn what_would_mean_another_thing_begins_anew() {
    let world = World::new().await;
    let token = world.token("entra_id", "default", Encoding::Json).await.token();
    // Another credential is another client: it is given nothing that was got with the one before.
    let settings = read(&world, &[("AZURE_APP_CLIENT_ID", "another")], "");
    let world = world.renewed(settings).await;
    assert_ne!(world.token("entra_id", "default", Encoding::Json).await.token(), token);
    // Keys of another place are fetched there.
    let elsewhere = world.issuer("tokenx").jwks_url();
    let settings = read(&world, &[("AZURE_OPENID_CONFIG_JWKS_URI", &elsewhere)], "");
    let world = world.renewed(settings).await;
    assert!(!world.is_active("entra_id", &token).await);
    // Who is told of cut-offs holds nothing that may have been cut off while nobody listened.
    let before = Arc::clone(world.sidecar.tokens());
    let settings = read(&world, &[], "");
    let world = world.renewed(settings).await;
    assert!(Arc::ptr_eq(&before, world.sidecar.tokens()));
    let settings = read(&world, &[("DEPUTIZE_EVENTS", "entra_id")], "");
    let world = world.renewed(settings).await;
    assert!(!Arc::ptr_eq(&before, world.sidecar.tokens()));
    let user = world.issuer("entra_id").token(&json!({}));
    world.exchange("entra_id", "default", &user, Encoding::Json).await.token();
}
