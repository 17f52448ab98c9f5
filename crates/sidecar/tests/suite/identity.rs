//! Managed identity for the application: the contract of App Service (spec: Entra 5.2), from the sidecar's own credential.
use crate::facades::{Estate, HEADER, Told};
use crate::support::{NOON, claims};
use serde_json::json;
use testkit::Next;

const QUERY: &str = "api-version=2019-08-01&resource=api://billing";

async fn ask(estate: &Estate, query: &str, headers: &[(&'static str, &str)]) -> Told {
    estate.send("GET", &format!("{}/msi/token?{query}", estate.identity), "", headers, "").await
}

#[tokio::test]
async fn a_program_that_knows_only_the_endpoint_and_its_header_gets_a_token() {
    let estate = Estate::new().await;
    let told = ask(&estate, QUERY, &[("x-identity-header", HEADER)]).await;
    assert_eq!(told.status(), 200, "{told:?}");
    let json = told.json();
    let token = json["access_token"].as_str().unwrap();
    assert_eq!((&claims(token)["aud"], &claims(token)["sub"]), (&json!("api://billing/.default"), &json!("default")));
    assert_eq!(json["expires_on"], (NOON.0 + 3_600).to_string());
    assert_eq!(
        (&json["resource"], &json["token_type"], &json["client_id"]),
        (&json!("api://billing"), &json!("Bearer"), &json!("default"))
    );
    assert_eq!(told.0.headers["cache-control"], "no-store");
    let again = ask(&estate, &format!("{QUERY}&client_id=DEFAULT"), &[("x-identity-header", HEADER)]).await;
    assert_eq!(
        (again.json()["access_token"].as_str(), estate.world.issuer("entra_id").asked().len()),
        (Some(token), 1)
    );
}

#[tokio::test]
async fn whoever_does_not_know_the_header_gets_nothing() {
    let estate = Estate::new().await;
    let right = ("x-identity-header", HEADER);
    for (query, headers, status) in [
        (QUERY, vec![], 401),
        (QUERY, vec![("x-identity-header", "wrong")], 401),
        (QUERY, vec![right, right], 401),
        (QUERY, vec![right, ("x-forwarded-for", "10.0.0.1")], 400),
        (QUERY, vec![right, ("origin", "https://evil.example")], 400),
        (QUERY, vec![right, ("sec-fetch-site", "cross-site")], 400),
        (QUERY, vec![right, ("host", "evil.example")], 400),
        ("api-version=2019-08-01", vec![right], 400),
        ("api-version=2017-09-01&resource=a", vec![right], 400),
        ("api-version=2019-08-01&resource=api://billing&client_id=another", vec![right], 400),
        ("api-version=2019-08-01&resource=api://billing&object_id=o", vec![right], 400),
        ("api-version=2019-08-01&resource=api://billing&mi_res_id=/r", vec![right], 400),
    ] {
        let told = ask(&estate, query, &headers).await;
        assert_eq!(told.status(), status, "{query} {headers:?}: {told:?}");
    }
    assert!(estate.world.issuer("entra_id").asked().is_empty());
    let elsewhere = estate.send("GET", &format!("{}/other?{QUERY}", estate.identity), "", &[right], "").await;
    assert_eq!(elsewhere.status(), 404);
}

#[tokio::test]
async fn as_on_a_virtual_machine_it_is_served_by_choice_alone() {
    const METADATA: &str = "metadata/identity/oauth2/token?api-version=2018-02-01&resource=api://billing";
    let right = [("metadata", "true")];
    let estate = Estate::new().await;
    let told = estate.send("GET", &format!("{}/{METADATA}", estate.identity), "", &right, "").await;
    assert_eq!(told.status(), 404, "off until it is asked for");

    let estate = Estate::with("[identity]\nmetadata = true", &[]).await;
    let ask = async |query: &str, headers: &[(&'static str, &str)]| {
        estate.send("GET", &format!("{}/{query}", estate.identity), "", headers, "").await
    };
    let told = ask(METADATA, &right).await;
    assert_eq!(told.status(), 200, "{told:?}");
    let json = told.json();
    assert_eq!(claims(json["access_token"].as_str().unwrap())["sub"], "default");
    assert_eq!((&json["expires_in"], &json["refresh_token"]), (&json!("3600"), &json!("")));
    for (query, headers, status) in [
        (METADATA, vec![], 400),
        (METADATA, vec![("metadata", "false")], 400),
        (METADATA, vec![right[0], ("x-forwarded-for", "10.0.0.1")], 400),
        (METADATA, vec![right[0], ("origin", "https://evil.example")], 400),
        (METADATA, vec![right[0], ("host", "evil.example")], 400),
        ("metadata/instance?api-version=2021-02-01", vec![right[0]], 404),
        (&format!("msi/token?{QUERY}"), vec![right[0]], 401),
    ] {
        assert_eq!(ask(query, &headers).await.status(), status, "{query} {headers:?}");
    }
    assert_eq!(estate.world.issuer("entra_id").asked().len(), 1);
}

#[tokio::test]
async fn the_outbound_policy_and_the_authoritys_refusals_are_told() {
    let estate = Estate::with("outbound = [{ target = \"api://reports/.default\" }]", &[]).await;
    let told = ask(&estate, QUERY, &[("x-identity-header", HEADER)]).await;
    assert_eq!(told.status(), 400);
    assert!(told.json()["message"].as_str().unwrap().contains("no rule of `outbound` allows"), "{told:?}");
    let query = "api-version=2019-08-01&resource=api://reports";
    let said = json!({ "error": "invalid_client", "error_description": "no", "error_codes": [7_000_215] });
    estate.world.issuer("entra_id").next(Next::answer(401, said.to_string()));
    let told = ask(&estate, query, &[("x-identity-header", HEADER)]).await;
    assert_eq!((told.status(), told.json()["message"].clone()), (400, json!("no")));
    for _ in 0..2 {
        estate.world.issuer("entra_id").next(Next::Close);
    }
    assert_eq!(ask(&estate, query, &[("x-identity-header", HEADER)]).await.status(), 503);
}
