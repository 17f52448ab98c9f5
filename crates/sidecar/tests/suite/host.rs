//! The host's own managed identities: whose token an override may ask for, and what may prove the application (section 5).
use crate::facades::{Api, Estate};
use crate::support::claims;
use serde_json::json;
use sidecar::{File, Settings};
use std::collections::HashMap;

const IDENTITY: &str = "optionsOverride.AcquireTokenOptions.ManagedIdentity.UserAssignedClientId";

/// A machine's metadata service, which gives this token.
async fn machine(tokens: &[&str]) -> Api {
    let host = Api::start().await;
    for token in tokens {
        let answer = json!({ "access_token": token, "token_type": "Bearer", "expires_on": "1800003600" });
        host.next(200, &[("content-type", "application/json")], &answer.to_string());
    }
    host
}

#[tokio::test]
async fn a_user_assigned_identity_of_the_host_calls_in_the_applications_place() {
    let host = machine(&["of-the-host", "anew", "of-another"]).await;
    let estate = Estate::with("", &[("AZURE_POD_IDENTITY_AUTHORITY_HOST", &host.url)]).await;
    let user = estate.user(&json!({}));
    let ask = async |query: &str| {
        let url = format!("{}/AuthorizationHeader/Billing?{query}", estate.entra);
        estate.get(&url, &user).await
    };
    for (query, token, calls) in [
        (format!("{IDENTITY}=batch-1"), "of-the-host", 1),
        (format!("{IDENTITY}=batch-1&optionsOverride.RequestAppToken=true"), "of-the-host", 1),
        (format!("{IDENTITY}=batch-1&optionsOverride.AcquireTokenOptions.ForceRefresh=true"), "anew", 2),
        (format!("{IDENTITY}=batch-2"), "of-another", 3),
    ] {
        let told = ask(&query).await;
        assert_eq!(told.json()["authorizationHeader"], format!("Bearer {token}"), "{query}: {told:?}");
        assert_eq!(host.seen().len(), calls, "{query}");
    }
    let sent = host.seen().remove(0);
    let target =
        "/metadata/identity/oauth2/token?api-version=2018-02-01&resource=api%3A%2F%2Fbilling&client_id=batch-1";
    assert_eq!((sent.target.as_str(), sent.headers["metadata"].to_str().unwrap()), (target, "true"));
    assert!(estate.world.issuer("entra_id").asked().is_empty(), "the application's own credential is not used");

    // The host refuses in its own words.
    host.next(400, &[], r#"{"error":"invalid_request","error_description":"Identity not found"}"#);
    assert_eq!(ask(&format!("{IDENTITY}=nobody")).await.problem(), (401, "Identity not found".to_owned()));

    let calls = host.seen().len();
    for query in [
        format!("{IDENTITY}="),
        format!("{IDENTITY}=a%26resource%3Dapi://secret"),
        format!("{IDENTITY}=a&AgentIdentity=b"),
        format!("{IDENTITY}=a&optionsOverride.AcquireTokenOptions.FmiPath=b"),
        format!("{IDENTITY}=a&optionsOverride.AcquireTokenOptions.LongRunningWebApiSessionKey=AllocateForMe"),
        format!("{IDENTITY}=a&optionsOverride.AcquireTokenOptions.PopPublicKey=eyJraWQiOiJrIn0"),
        format!("{IDENTITY}=a&optionsOverride.AcquireTokenOptions.Claims=%7B%7D"),
        format!("{IDENTITY}=a&optionsOverride.Scopes=api://billing/Invoices.Read"),
        format!("{IDENTITY}=a&optionsOverride.Scopes=api://a/.default&optionsOverride.Scopes=api://b/.default"),
    ] {
        assert_eq!(ask(&query).await.problem().0, 400, "{query}");
    }
    let far = format!("{}/AuthorizationHeader/Far?{IDENTITY}=a", estate.entra);
    let (status, text) = estate.get(&far, &user).await.problem();
    assert!(status == 400 && text.contains("are Entra's"), "{text}");
    let nobody = format!("{}/AuthorizationHeaderUnauthenticated/Billing?{IDENTITY}=batch-1", estate.entra);
    assert_eq!(estate.get(&nobody, "").await.problem().0, 400, "where overrides are not allowed");
    let unsigned = format!("{}/AuthorizationHeader/Billing?{IDENTITY}=batch-1", estate.entra);
    assert_eq!(estate.get(&unsigned, "").await.problem().0, 400, "nor without the user's token");
    assert_eq!(host.seen().len(), calls);
}

#[tokio::test]
async fn the_outbound_policy_holds_for_the_hosts_identities_too() {
    let host = machine(&["of-the-host"]).await;
    let file = "outbound = [{ target = \"api://reports/.default\" }]";
    let estate = Estate::with(file, &[("AZURE_POD_IDENTITY_AUTHORITY_HOST", &host.url)]).await;
    let url = format!("{}/AuthorizationHeader/Billing?{IDENTITY}=batch-1", estate.entra);
    assert_eq!(estate.get(&url, &estate.user(&json!({}))).await.problem().0, 403);
    assert!(host.seen().is_empty());
}

#[tokio::test]
async fn where_the_host_has_none_it_says_so() {
    let estate = Estate::with("", &[("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://127.0.0.1:1")]).await;
    let url = format!("{}/AuthorizationHeader/Billing?{IDENTITY}=batch-1", estate.entra);
    let told = estate.get(&url, &estate.user(&json!({}))).await;
    let (status, text) = told.problem();
    assert!(status == 503 && text.contains("the host's managed identities cannot be reached"), "{text}");
    assert!(told.0.headers.contains_key("retry-after"));
}

#[tokio::test]
async fn the_host_may_prove_the_application_in_place_of_a_secret() {
    let host = machine(&["the-hosts-word", "the-hosts-word"]).await;
    let clock = testkit::SetClock::at(crate::support::NOON);
    let issuer = testkit::Issuer::start(clock.clone(), jose::Algorithm::ES256).await.unwrap();
    for (client_id, expected) in [(Some("batch-1"), Some("client_id=batch-1")), (None, None)] {
        let mut variables = HashMap::from([
            ("AzureAd__Instance".to_owned(), issuer.url()),
            ("AzureAd__TenantId".to_owned(), "t1".to_owned()),
            ("AzureAd__ClientId".to_owned(), "default".to_owned()),
            ("AzureAd__ClientCredentials__0__SourceType".to_owned(), "SignedAssertionFromManagedIdentity".to_owned()),
            ("AZURE_POD_IDENTITY_AUTHORITY_HOST".to_owned(), host.url.clone()),
        ]);
        if let Some(client_id) = client_id {
            let name = "AzureAd__ClientCredentials__0__ManagedIdentityClientId";
            variables.insert(name.to_owned(), client_id.to_owned());
        }
        let mut file = File::default();
        file.variables = variables.clone().into_iter().collect();
        let mut settings = Settings::read(&|name| variables.get(name).cloned(), Some(file)).unwrap();
        let entra = settings.providers.iter_mut().find(|provider| provider.name == "entra_id").unwrap();
        // The test's issuer has its endpoint elsewhere.
        (entra.token_endpoint, entra.issuer) = (Some(issuer.token_url()), Some(issuer.url()));
        let shown = settings.shown()["providers"]["entra_id"]["credential"]["managed_identity"].clone();
        assert_eq!(shown, client_id.unwrap_or("of the host"));
        let seen = host.seen().len();
        let world = crate::support::World::of(settings, clock.clone(), HashMap::new()).await;
        let token = world.token("entra_id", "api://billing/.default", crate::support::Encoding::Json).await.token();
        assert_eq!(claims(&token)["sub"], "default");
        let asked = issuer.asked().pop().unwrap();
        assert_eq!(asked.field("client_assertion"), Some("the-hosts-word"));
        let target = host.seen()[seen].target.clone();
        assert!(target.contains("resource=api%3A%2F%2FAzureADTokenExchange"), "{target}");
        assert_eq!(target.split('&').find(|part| part.starts_with("client_id")), expected);
    }
}
