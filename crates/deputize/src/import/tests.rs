//! Manifests of both forms, and what an estate that was made from them declares.
use super::{Carried, read};
use crate::estate::plan::plan;
use crate::file::Text;
use crate::keys::MasterKey;
use crate::output::printable;
use decision::Timestamp;
use deputize_core::estate::Item;
use deputize_core::model::{AccessType, Application, ConsentType, GroupMembershipClaims, SignInAudience};
use std::path::Path;

const PORTAL: &str = include_str!("tests/portal.json");
const GRAPH: &str = include_str!("tests/graph.json");

fn text(content: &str) -> Text {
    Text { name: "manifest.json".into(), content: content.into() }
}

/// The estate's text, what was left out, and the applications that it declares.
fn imported(files: &[&str]) -> (Vec<String>, Vec<Application>) {
    let manifests: Vec<_> = files.iter().flat_map(|file| read(&text(file)).unwrap()).collect();
    let carried = Carried::of(&manifests);
    let estate = Text { name: "estate.toml".into(), content: carried.estate("shop.example").unwrap() };
    for sentence in &carried.left_out {
        assert!(estate.content.contains(&format!("#   {}\n", printable(sentence))), "{}", estate.content);
    }
    let plan = plan(&estate, Path::new("."), &[], &MasterKey::passing(), Timestamp(1_800_000_000), false);
    let plan = plan.unwrap_or_else(|failure| panic!("{failure}\n{}", estate.content));
    let application = |item| match item {
        Item::Application(application) => Some(application),
        _ => None,
    };
    let mut applications: Vec<_> = plan.items.into_iter().filter_map(application).collect();
    applications.sort_by_key(|application| application.app_id.to_string());
    (carried.left_out, applications)
}

#[test]
fn both_forms_of_manifest_become_one_estate_with_the_same_ids() {
    let (_, applications) = imported(&[PORTAL, GRAPH]);
    let [orders, billing, page] = applications.as_slice() else { panic!("{applications:?}") };

    assert_eq!(orders.app_id.to_string(), "2b7d1c0e-0f7a-4b6c-9d0a-51f4f5f6a001");
    assert_eq!(orders.identifier_uris, ["api://2b7d1c0e-0f7a-4b6c-9d0a-51f4f5f6a001", "api://shop-orders"]);
    assert_eq!(orders.api.requested_access_token_version, Some(2));
    assert_eq!(orders.group_membership_claims, GroupMembershipClaims::ApplicationGroup);
    let [read] = orders.api.oauth2_permission_scopes.as_slice() else { panic!() };
    assert_eq!((read.value.as_str(), read.kind), ("Orders.Read", ConsentType::User));
    assert_eq!(read.id.to_string(), "8c0b1a52-5a6e-4bb0-8f0e-1f9d7a1c0004");
    assert_eq!(
        read.user_consent_display_name, "See orders",
        "what the manifest leaves out is said in the admin's words"
    );
    assert_eq!(orders.app_roles.len(), 1);
    assert_eq!(orders.web.redirect_uris, ["https://shop.example/signin"]);
    assert_eq!(orders.web.logout_url.as_deref(), Some("https://shop.example/signed-out"));
    assert!(orders.web.implicit_grant_settings.enable_id_token_issuance);
    assert!(!billing.web.implicit_grant_settings.enable_id_token_issuance && billing.web.logout_url.is_none());
    assert_eq!(orders.public_client.redirect_uris, ["http://localhost"]);
    assert_eq!(orders.api.known_client_applications, [page.app_id]);
    let [first] = orders.api.pre_authorized_applications.as_slice() else { panic!() };
    assert_eq!((first.app_id, first.delegated_permission_ids.as_slice()), (page.app_id, [read.id].as_slice()));
    let [needs] = orders.required_resource_access.as_slice() else { panic!() };
    assert_eq!(needs.resource_app_id, billing.app_id);
    assert_eq!(needs.resource_access.iter().map(|access| access.kind).collect::<Vec<_>>(), [AccessType::Scope]);
    let [secret] = orders.password_credentials.as_slice() else { panic!() };
    assert_eq!(
        (secret.display_name.as_str(), secret.key_id.to_string().as_str()),
        ("production", "8c0b1a52-5a6e-4bb0-8f0e-1f9d7a1c0005")
    );
    assert_eq!(orders.optional_claims.access_token.len(), 2);

    assert_eq!(billing.api.requested_access_token_version, Some(1), "absent means version 1");
    assert_eq!(billing.api.oauth2_permission_scopes.first().map(|scope| scope.kind), Some(ConsentType::Admin));
    assert_eq!(page.sign_in_audience, SignInAudience::AzureADMultipleOrgs);
    assert!(page.is_fallback_public_client);
    assert_eq!(page.spa.redirect_uris, ["https://shop.example/", "http://localhost:3000/"]);
}

#[test]
fn what_an_estate_cannot_hold_is_named_with_what_to_do() {
    let (left_out, _) = imported(&[PORTAL, GRAPH]);
    for expected in [
        "Shop orders: access tokens from the authorization endpoint (implicit flow)",
        "Shop orders: the redirect URI `https://*.shop.example/signin`",
        "Shop orders: client secrets: a new one is made",
        "Shop orders: the certificate `CN=orders` (thumbprint 9E1C3B5D7F)",
        "Shop orders: the permission 8c0b1a52-5a6e-4bb0-8f0e-1f9d7a1c00ff, which Shop billing does not have",
        "Shop orders: permissions of 00000003-0000-0000-c000-000000000000 (Microsoft Graph)",
        "Shop orders: the app role `Nobody`",
        "Shop orders: `sam_account_name` of the optional claim `groups`",
        "Shop orders: the optional claim `vnet`",
        "Shop orders: knownClientApplications: 2b7d1c0e-0f7a-4b6c-9d0a-51f4f5f6a0ff",
        "Shop orders: publisherDomain",
    ] {
        assert!(left_out.iter().any(|sentence| sentence.starts_with(expected)), "{expected}\n{left_out:#?}");
    }
    assert_eq!(left_out.len(), 11, "{left_out:#?}");
}

#[test]
fn an_api_given_alone_keeps_what_does_not_lead_to_others() {
    let (left_out, applications) = imported(&[PORTAL]);
    assert!(applications.iter().all(|it| it.required_resource_access.is_empty()));
    let whose = "whose manifest was not given";
    assert_eq!(left_out.iter().filter(|sentence| sentence.ends_with(whose)).count(), 5, "{left_out:#?}");
}

#[test]
fn a_name_in_a_manifest_cannot_end_a_comment() {
    let hostile = PORTAL.replace("CN=orders", "x\\n[[tenants]]\\ndisplayName = 'Mallory'");
    let (_, applications) = imported(&[&hostile, GRAPH]);
    assert_eq!(applications.len(), 3);
}

#[test]
fn what_is_no_manifest_is_refused_with_its_place() {
    let told = |content: &str| match read(&text(content)) {
        Ok(manifests) => Carried::of(&manifests).estate("shop.example").unwrap_err().to_string(),
        Err(failure) => failure.to_string(),
    };
    for (content, expected) in [
        ("", "`manifest.json` line 1: EOF"),
        ("{\n\"appId\": 7}", "`manifest.json` line 2: invalid type: integer `7`"),
        ("{\n\"appId\": \"x\",\n\"appRoles\": [{}]}", "`manifest.json` line 3: missing field `id`"),
        ("{}", "a manifest has no `appId`"),
        ("{\"appId\": \"2b7d1c0e-0f7a-4b6c-9d0a-51f4f5f6a001\"}", "a manifest has no `displayName` or `name`"),
    ] {
        let told = told(content);
        assert!(told.contains(expected) && told.contains("hint: give an application's manifest"), "{told}");
    }
}
