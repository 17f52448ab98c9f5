//! Providers that are found by their metadata, and providers that no platform has variables for (2.11, 6.9).
use crate::support::{Encoding, Issuers, JWK, NOON, PROVIDERS, Variables, World, claims, names};
use serde_json::json;
use std::collections::HashMap;
use testkit::{Issuer, SetClock};

/// Metadata only.
fn discovered(issuers: &Issuers) -> Variables {
    let mut variables = HashMap::new();
    for (name, issuer) in issuers {
        let (enabled, id, key, prefix) = names(name);
        let prefix = if *name == "entra_id" { "AZURE_APP_" } else { prefix };
        variables.insert(enabled.to_owned(), "true".to_owned());
        variables.insert(id.to_owned(), "default".to_owned());
        variables.insert(format!("{prefix}WELL_KNOWN_URL"), issuer.metadata_url());
        if let Some(key) = key {
            variables.insert(key.to_owned(), JWK.to_owned());
        }
    }
    variables
}

#[tokio::test]
async fn providers_are_found_by_their_metadata_when_they_are_first_needed() {
    let world = World::with(&PROVIDERS, discovered, None).await;
    assert_eq!(world.issuer("entra_id").metadata_fetches(), 0, "nothing is fetched before");
    let token = world.token("entra_id", "default", Encoding::Json).await.token();
    assert!(world.is_active("entra_id", &token).await);
    let user = world.issuer("tokenx").token(&json!({}));
    world.exchange("tokenx", "default", &user, Encoding::Json).await.token();
    world.token("maskinporten", "scope", Encoding::Json).await.token();
    for provider in ["idporten", "ansattporten"] {
        assert!(world.is_active(provider, &world.issuer(provider).token(&json!({}))).await, "{provider}");
        let other = world.issuer(provider).token(&json!({ "iss": "snafu" }));
        assert_eq!(world.inactive(provider, &other).await, "invalid token: InvalidIssuer");
    }
    let assertion = world.issuer("entra_id").asked()[0].field("client_assertion").unwrap().to_owned();
    assert_eq!(claims(&assertion)["aud"], world.issuer("entra_id").url());
}

#[tokio::test]
async fn a_provider_is_ready_when_its_keys_and_its_token_endpoint_are_known() {
    let keys_stated = |issuers: &Issuers| {
        let mut variables = discovered(issuers);
        let issuer = &issuers["entra_id"];
        variables.insert("AZURE_OPENID_CONFIG_ISSUER".into(), issuer.url());
        variables.insert("AZURE_OPENID_CONFIG_JWKS_URI".into(), issuer.jwks_url());
        variables
    };
    let world = World::with(&["entra_id"], keys_stated, None).await;
    let ready = async || world.get(&format!("{}/readyz", world.probe)).await;
    let faults = ready().await.json();
    assert_eq!(faults, json!([{ "provider": "entra_id", "fault": "its keys are not fetched yet" }]));
    assert!(world.is_active("entra_id", &world.issuer("entra_id").token(&json!({}))).await);
    let faults = ready().await.json();
    assert_eq!(faults, json!([{ "provider": "entra_id", "fault": "its token endpoint is not learnt yet" }]));
    let random: std::sync::Arc<dyn client::Random> = std::sync::Arc::new(|octets: &mut [u8]| octets.fill(0));
    world.sidecar.warm(&random);
    while ready().await.status != 200 {
        tokio::task::yield_now().await;
    }
    assert_eq!(world.issuer("entra_id").metadata_fetches(), 1);
    assert!(world.issuer("entra_id").asked().is_empty(), "nobody asked for a token");
}

#[tokio::test]
async fn any_provider_serves_by_configuration() {
    let clock = SetClock::at(NOON);
    let issuer = Issuer::start(clock.clone(), jose::Algorithm::ES256).await.unwrap();
    let file = format!(
        r#"
        [[provider]]
        name = "keycloak"
        discovery = "{}"
        client_id = "default"
        secret = {{ env = "KEYCLOAK_SECRET" }}
        token = "client-credentials"
        exchange = "token-exchange"
        "#,
        issuer.metadata_url()
    );
    let variables = |name: &str| (name == "KEYCLOAK_SECRET").then(|| "s3cret".to_owned());
    let settings = sidecar::Settings::read(&variables, Some(toml::from_str(&file).unwrap())).unwrap();
    let world = World::of(settings, clock, HashMap::from([("keycloak", issuer)])).await;
    world.token("keycloak", "some-scope", Encoding::Json).await.token();
    let user = world.issuer("keycloak").token(&json!({}));
    let exchanged = world.exchange("keycloak", "default", &user, Encoding::Json).await.token();
    assert_eq!(world.introspect("keycloak", &exchanged, Encoding::Json).await["sub"], "ada");
    assert_eq!(world.issuer("keycloak").asked()[0].field("client_secret"), Some("s3cret"));
    let answer = world.token("unknown", "x", Encoding::Form).await;
    assert!(answer.error().2.ends_with("`idporten`, `keycloak`"), "{answer:?}");
}
