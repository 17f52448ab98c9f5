//! What may become of a registration, and by whose hand.
use super::{application, world};
use crate::world::estate::{CONTOSO, FABRIKAM, app, grant, permission_id, principal, user};
use crate::world::{World, text};
use axum::body::Body;
use axum::http::Request;
use deputize_core::id::AppId;
use deputize_core::model::{Application, SignInAudience};
use deputize_core::ports::Directory as _;
use serde_json::{Value, json};
use store::Object;
use uuid::Uuid;

async fn patched(world: &World, name: &str, token: &str, body: &Value) -> (u16, String) {
    let answer = world.directory("PATCH", &application(name), token, Some(body)).await;
    let status = answer.status.as_u16();
    (status, if status == 204 { String::new() } else { answer.denied().2 })
}

/// Owners change what is theirs, and nothing that gives their application more than it was given.
#[tokio::test]
async fn m_01_an_owner_changes_no_more_than_an_owners_part_of_their_own_registration() {
    let world = world().await;
    let (bob, carol) = (world.token_of("bob").await, world.token_of("carol").await);
    let preauthorized = json!({"api": {"preAuthorizedApplications": [
        {"appId": app("rival"), "delegatedPermissionIds": [permission_id("Invoices.Read")]}
    ]}});
    for (body, owner) in [
        (json!({"displayName": "Invoices"}), true),
        (json!({"requiredResourceAccess": []}), true),
        (json!({"isFallbackPublicClient": true}), true),
        (json!({"identifierUris": [format!("api://{}", app("billing"))]}), true),
        (json!({"identifierUris": ["api://invoices"]}), false),
        (json!({"signInAudience": "AzureADMyOrg"}), false),
        (json!({"deputize": {"clientProfile": "native"}}), false),
        (json!({"web": {"implicitGrantSettings": {"enableIdTokenIssuance": true}}}), false),
        (json!({"tokenLifetimePolicy": {"accessTokenLifetime": "08:00:00"}}), false),
        (preauthorized, false),
    ] {
        let expected = if owner { (204, String::new()) } else { (403, "directory.property".to_owned()) };
        assert_eq!(patched(&world, "billing", &bob, &body).await, expected, "{body}");
        assert_eq!(patched(&world, "billing", &carol, &body).await, (204, String::new()), "{body}");
    }
    for other in ["orders", "archive", "web", "daemon"] {
        let refused = patched(&world, other, &bob, &json!({"displayName": "mine"})).await;
        assert_eq!(refused, (403, "directory.standing".into()), "{other}");
    }
    // Neither consents nor app roles nor whether it is enabled are an owner's.
    let billing = format!("servicePrincipals/{}", principal("billing"));
    for (method, path, body) in [
        ("PATCH", billing.as_str(), Some(json!({"accountEnabled": true}))),
        ("GET", "oauth2PermissionGrants", None),
        ("GET", "users", None),
    ] {
        assert_eq!(world.directory(method, path, &bob, body.as_ref()).await.denied().2, "directory.standing", "{path}");
    }
}

/// A name as a resource is a word that clients and people trust: an owner gives their own, and those of the tenant's domains.
#[tokio::test]
async fn m_01_an_owner_names_their_api_by_its_id_or_in_a_domain_of_the_tenant() {
    let world = world().await;
    let (bob, carol) = (world.token_of("bob").await, world.token_of("carol").await);
    let own = app("billing");
    let names = async |token: &str, uri: String| {
        patched(&world, "billing", token, &json!({"identifierUris": ["api://billing", uri]})).await
    };
    for uri in [
        format!("api://{own}"),
        format!("API://{}/v2", own.to_string().to_uppercase()),
        format!("api://{CONTOSO}/invoices"),
        format!("api://invoices/{own}"),
        "https://contoso.example/invoices".to_owned(),
        "https://invoices.contoso.example".to_owned(),
        "api://Invoices.Contoso.example/v2".to_owned(),
    ] {
        assert_eq!(names(&bob, uri.clone()).await, (204, String::new()), "{uri}");
    }
    for uri in [
        "api://graph".to_owned(),
        "https://graph.microsoft.com".to_owned(),
        "https://fabrikam.example/invoices".to_owned(),
        "https://evilcontoso.example".to_owned(),
        "https://contoso.example.evil.example/".to_owned(),
        "https://contoso.example@evil.example/".to_owned(),
        "https://evil.example/contoso.example".to_owned(),
        format!("https://evil.example/{own}"),
        format!("api://{}", app("orders-of-nobody")),
        format!("api://{FABRIKAM}/invoices"),
        "urn:contoso.example:invoices".to_owned(),
        "http://contoso.example/invoices".to_owned(),
    ] {
        assert_eq!(names(&bob, uri.clone()).await, (403, "directory.property".into()), "{uri}");
        assert_eq!(names(&carol, uri.clone()).await, (204, String::new()), "an administrator: {uri}");
        // What an administrator gave stays, whatever else its owner changes.
        assert_eq!(
            patched(&world, "billing", &bob, &json!({"displayName": uri.replace(['/', ':'], "-")})).await.0,
            204
        );
    }
}

/// Whoever owns an application that has power over the directory cannot take that power by a secret of its own.
#[tokio::test]
async fn m_01_the_credentials_of_a_powerful_application_are_not_its_owners() {
    let world = world().await;
    for name in ["daemon", "web"] {
        world.edit_app(name, |app| app.owners = vec![user("bob")]).await;
    }
    let (bob, carol) = (world.token_of("bob").await, world.token_of("carol").await);
    let (daemon, orders) = (world.token_of_app("daemon").await, world.token_of_app("orders").await);
    let add = |name| format!("{}/addPassword", application(name));
    for (name, who, token, allowed) in [
        ("daemon", "its owner", &bob, false),
        ("web", "the owner of what administrators use", &bob, false),
        ("orders", "an application that may change all others", &daemon, false),
        ("daemon", "itself", &daemon, true),
        ("orders", "itself", &orders, true),
        ("daemon", "an administrator", &carol, true),
    ] {
        let answer = world.directory("POST", &add(name), token, Some(&json!({}))).await;
        if allowed {
            assert_eq!(answer.status.as_u16(), 200, "{name}: {who}");
        } else {
            assert_eq!(answer.denied().2, "directory.privileged", "{name}: {who}");
        }
    }
    // Reading is no power.
    world.directory("GET", &application("daemon"), &bob, None).await.ok();
    // Of itself an application changes what it proves itself with, and nothing else.
    for body in [json!({"displayName": "x"}), json!({"web": {"redirectUris": ["https://x.example/"]}})] {
        assert_eq!(patched(&world, "orders", &orders, &body).await.1, "directory.property", "{body}");
        assert_eq!(patched(&world, "daemon", &daemon, &body).await.1, "directory.property", "{body}");
    }
}

/// An application stands in many tenants, and its credentials are the same in all of them.
#[tokio::test]
async fn m_01_power_over_another_tenants_directory_counts_too() {
    let world = world().await;
    let (bob, carol) = (world.token_of("bob").await, world.token_of("carol").await);
    let add = format!("{}/addPassword", application("billing"));
    assert_eq!(world.directory("POST", &add, &bob, Some(&json!({}))).await.status.as_u16(), 200);
    world
        .put(Object::Assignment(deputize_core::model::RoleAssignment {
            tenant: FABRIKAM,
            assignee: deputize_core::model::Assignee::ServicePrincipal(principal("billing@fabrikam")),
            resource_id: deputize_core::built_in::PRINCIPAL,
            app_role_id: deputize_core::built_in::role(deputize_core::built_in::APPLICATION_WRITE),
        }))
        .await;
    let owner = world.directory("POST", &add, &bob, Some(&json!({}))).await;
    assert_eq!(owner.denied().2, "directory.privileged");
    assert_eq!(world.directory("POST", &add, &carol, Some(&json!({}))).await.status.as_u16(), 200);
}

/// Fractions of a second are digits, and nothing else is read over.
#[tokio::test]
async fn m_09_a_moment_is_a_moment_whole() {
    let world = world().await;
    let bob = world.token_of("bob").await;
    let add = format!("{}/addPassword", application("billing"));
    for (end, status) in [
        ("2099-01-01T00:00:00Z", 200),
        ("2099-01-01T00:00:00.0000000Z", 200),
        ("2099-01-01T00:00:00.Z", 400),
        ("2099-01-01T00:00:00.5<b>Z", 400),
        ("2099-01-01T00:00:00.5.5Z", 400),
        ("2099-01-01T00:00:00.5", 400),
    ] {
        let body = json!({"passwordCredential": {"endDateTime": end}});
        assert_eq!(world.directory("POST", &add, &bob, Some(&body)).await.status.as_u16(), status, "{end}");
    }
}

/// Who may not look is told the same of what stands and of what does not: nobody learns who exists by asking.
#[tokio::test]
async fn m_01_whoever_may_not_look_does_not_learn_what_there_is() {
    let world = world().await;
    let (bob, orders) = (world.token_of("bob").await, world.token_of_app("orders").await);
    let known = [format!("users/{}", user("ada")), format!("servicePrincipals/{}", principal("web"))];
    for path in known.iter().map(String::as_str).chain(["users/nobody@contoso.example", "servicePrincipals/x"]) {
        assert_eq!(world.directory("GET", path, &bob, None).await.denied().2, "directory.standing", "{path}");
    }
    for path in [known[0].as_str(), "users/nobody@contoso.example"] {
        assert_eq!(world.directory("GET", path, &orders, None).await.denied().2, "subject.user", "{path}");
    }
}

/// Managed identities and the authority's own applications are declared elsewhere, and changed by nobody here.
#[tokio::test]
async fn what_is_no_registration_of_the_tenant_is_not_changed_here() {
    use deputize_core::workload::{ManagedIdentity, ManagedIdentityKind};
    let world = world().await;
    world
        .edit_app("archive", |app| {
            let (kind, resource_id) = (ManagedIdentityKind::SystemAssigned, "/subscriptions/1/x".to_owned());
            app.managed_identity = Some(ManagedIdentity { kind, resource_id });
        })
        .await;
    let carol = world.token_of("carol").await;
    for (method, path) in [("GET", application("archive")), ("POST", format!("{}/addPassword", application("archive")))]
    {
        let body = (method == "POST").then(|| json!({}));
        assert_eq!(
            world.directory(method, &path, &carol, body.as_ref()).await.denied().2,
            "directory.object",
            "{path}"
        );
    }
    let listed = world.directory("GET", "applications", &carol, None).await.ok().to_string();
    assert!(!listed.contains("The archive"), "{listed}");
    let authority = format!("servicePrincipals/{}", deputize_core::built_in::PRINCIPAL);
    let off = world.directory("PATCH", &authority, &carol, Some(&json!({"accountEnabled": false}))).await;
    assert_eq!(off.denied(), (400, "Request_BadRequest".into(), "directory.sound".into()));
}

/// A disabled application cannot bring itself back: not with a token from before, and not by a new one.
#[tokio::test]
async fn m_02_a_disabled_application_does_not_revive_itself() {
    let world = world().await;
    let daemon = world.token_of_app("daemon").await;
    let carol = world.token_of("carol").await;
    let own = format!("servicePrincipals/{}", principal("daemon"));
    let off = world.directory("PATCH", &own, &carol, Some(&json!({"accountEnabled": false}))).await;
    assert_eq!(off.status.as_u16(), 204);
    let on = json!({"accountEnabled": true});
    let refused = world.directory("PATCH", &own, &daemon, Some(&on)).await;
    assert_eq!(refused.denied(), (401, "InvalidAuthenticationToken".into(), "client.enabled".into()));
    let renewed = world.token(crate::world::client_credentials("daemon", "api://deputize/.default")).await;
    assert_eq!(renewed.check(), "client.enabled");
    // Nor does another application bring back one with power over the directory.
    world
        .put(Object::Assignment(deputize_core::model::RoleAssignment {
            tenant: CONTOSO,
            assignee: deputize_core::model::Assignee::ServicePrincipal(principal("rival")),
            resource_id: deputize_core::built_in::PRINCIPAL,
            app_role_id: deputize_core::built_in::role(deputize_core::built_in::APPLICATION_WRITE),
        }))
        .await;
    let rival = world.token_of_app("rival").await;
    let refused = world.directory("PATCH", &own, &rival, Some(&on)).await;
    assert_eq!(refused.denied().2, "directory.privileged");
    // The client of a signed-in administrator, once disabled, does nothing in their name.
    let web = format!("servicePrincipals/{}", principal("web"));
    let off = world.directory("PATCH", &web, &carol, Some(&json!({"accountEnabled": false}))).await;
    assert_eq!(off.status.as_u16(), 204);
    assert_eq!(world.directory("PATCH", &web, &carol, Some(&on)).await.denied().2, "client.enabled");
}

/// What is judged is the registration as it would be, whatever the change leaves out.
#[tokio::test]
async fn m_02_rules_are_asked_of_the_registration_as_it_would_be() {
    let world = world().await;
    let carol = world.token_of("carol").await;
    // A permission that another list still names cannot go alone.
    let named = json!({"api": {"preAuthorizedApplications": [
        {"appId": app("rival"), "delegatedPermissionIds": [permission_id("Invoices.Read")]}
    ]}});
    assert_eq!(patched(&world, "billing", &carol, &named).await.0, 204);
    let less = json!({"api": {"oauth2PermissionScopes": []}});
    assert_eq!(patched(&world, "billing", &carol, &less).await, (400, "directory.sound".into()));
    // What is not sent stays: neither audience nor URIs nor credentials are reset by an object that leaves them out.
    let before = world.store.snapshot().application(app("billing")).unwrap().clone();
    for nothing in [json!({}), json!({"api": {}}), json!({"web": {}, "spa": {}, "publicClient": {}})] {
        assert_eq!(patched(&world, "billing", &carol, &nothing).await.0, 204);
    }
    assert_eq!(*world.store.snapshot().application(app("billing")).unwrap(), before);
    for (body, check) in [
        (json!({"displayName": ""}), "directory.sound"),
        (json!({"displayName": "x\u{0}"}), "directory.sound"),
        (json!({"web": {"redirectUris": ["http://evil.example/"]}}), "directory.sound"),
        (json!({"web": {"redirectUris": ["javascript:alert(1)"]}}), "directory.sound"),
        (json!({"spa": {"redirectUris": ["https://*.example/"]}}), "directory.sound"),
        (json!({"identifierUris": ["billing"]}), "directory.sound"),
        (json!({"identifierUris": ["api://x", "API://X/"]}), "directory.sound"),
        (json!({"identifierUris": ["api://orders"]}), "directory.unique"),
        (json!({"identifierUris": ["API://Orders/"]}), "directory.unique"),
        (json!({"identifierUris": ["api://deputize"]}), "directory.unique"),
        (json!({"identifierUris": ["api://AzureADTokenExchange"]}), "directory.unique"),
        (json!({"api": {"requestedAccessTokenVersion": 3}}), "directory.sound"),
        (
            json!({"appRoles": [{"id": app("x"), "value": "a b", "displayName": "x", "allowedMemberTypes": ["User"]}]}),
            "directory.sound",
        ),
        (json!({"appRoles": [{"value": "a", "displayName": "x", "allowedMemberTypes": ["User"]}]}), "directory.sound"),
        (
            json!({"requiredResourceAccess": [{"resourceAppId": app("nobody"), "resourceAccess": []}]}),
            "directory.sound",
        ),
        (json!({"optionalClaims": {"idToken": [{"name": "idtyp"}]}}), "directory.sound"),
        (json!({"deputize": {"signingAlgorithm": "none"}}), "directory.sound"),
        (
            json!({"deputize": {"ownIdentity": [{"resourceAppId": app("orders"), "reason": "it runs at night"}]}}),
            "directory.sound",
        ),
        (json!({"tokenLifetimePolicy": {"accessTokenLifetime": "00:00:01"}}), "directory.sound"),
        (json!({"web": {"logoutUrl": "javascript:alert(1)"}}), "directory.sound"),
        (json!({"web": {"logoutUrl": "http://evil.example/"}}), "directory.sound"),
        (permissions(&[(1, "Read", "a\u{7}b"), (2, "Write", "")]), "directory.sound"),
        (permissions(&[(1, "Read", &"x".repeat(1_001))]), "directory.sound"),
        (permissions(&[(1, "Read", ""), (1, "Write", "")]), "directory.sound"),
        (permissions(&[(1, "Read", ""), (2, "READ", "")]), "directory.sound"),
        (permissions(&[(0, "Read", "")]), "directory.sound"),
        (permissions(&[(1, "a b", "")]), "directory.sound"),
        (permissions(&[(1, "openid", "")]), "directory.sound"),
        (roles(&[(1, "Reader", &["User"]), (1, "Writer", &["User"])]), "directory.sound"),
        (roles(&[(1, "Reader", &["User"]), (2, "Reader", &["User"])]), "directory.sound"),
        (roles(&[(1, "Reader", &[])]), "directory.sound"),
        (json!({"api": {"knownClientApplications": [app("nobody")]}}), "directory.sound"),
        (
            json!({"api": {"preAuthorizedApplications": [{"appId": app("nobody"), "delegatedPermissionIds": []}]}}),
            "directory.sound",
        ),
        (
            json!({"api": {"preAuthorizedApplications": [
                {"appId": app("rival"), "delegatedPermissionIds": [permission_id("Invoices.Read")]}
            ]}}),
            "directory.sound",
        ),
        (certificate("2030-01-01T00:00:00Z", "2029-01-01T00:00:00Z"), "directory.sound"),
        (certificate("2029-01-01T00:00:00Z", "2029-01-01T00:00:00Z"), "directory.sound"),
    ] {
        let (status, found) = patched(&world, "archive", &carol, &body).await;
        assert_eq!((status, found.as_str()), (if check == "directory.unique" { 409 } else { 400 }, check), "{body}");
    }
    let uris: Vec<String> = (0..300).map(|n| format!("https://x.example/{n}")).collect();
    assert_eq!(patched(&world, "archive", &carol, &json!({"web": {"redirectUris": uris}})).await.1, "directory.sound");
}

/// What an API lets clients ask for.
fn permissions(all: &[(u128, &str, &str)]) -> Value {
    let one = |(id, value, description): &(u128, &str, &str)| json!({"id": Uuid::from_u128(*id), "value": value, "userConsentDescription": description, "isEnabled": true});
    json!({"api": {"oauth2PermissionScopes": all.iter().map(one).collect::<Vec<_>>()}})
}

fn roles(all: &[(u128, &str, &[&str])]) -> Value {
    let one = |(id, value, members): &(u128, &str, &[&str])| json!({"id": Uuid::from_u128(*id), "value": value, "displayName": value, "allowedMemberTypes": members});
    json!({"appRoles": all.iter().map(one).collect::<Vec<_>>()})
}

fn certificate(start: &str, end: &str) -> Value {
    use base64::Engine as _;
    let key = base64::engine::general_purpose::STANDARD.encode(&crate::world::keys::RIVAL.der);
    json!({"keyCredentials": [{"key": key, "startDateTime": start, "endDateTime": end}]})
}

/// What is refused above is refused for the one thing that is wrong with it.
#[tokio::test]
async fn what_keeps_the_rules_is_taken() {
    let world = world().await;
    let carol = world.token_of("carol").await;
    for body in [
        json!({"web": {"logoutUrl": "https://archive.example/told"}}),
        json!({"web": {"logoutUrl": null}}),
        permissions(&[(1, "Read", &"x".repeat(1_000)), (2, "Write", "")]),
        roles(&[(1, "Reader", &["User"]), (2, "READER", &["User", "Application"])]),
        json!({"api": {"knownClientApplications": [app("web")]}}),
        json!({"api": {"preAuthorizedApplications": [{"appId": app("web"), "delegatedPermissionIds": [Uuid::from_u128(1)]}]}}),
        certificate("2027-01-01T00:00:00Z", "2029-01-01T00:00:00Z"),
    ] {
        assert_eq!(patched(&world, "archive", &carol, &body).await, (204, String::new()), "{body}");
    }
}

/// Two federated credentials of one name, or for one workload, could not be told apart.
#[tokio::test]
async fn federated_credentials_differ_in_name_and_in_whom_they_are_for() {
    let world = world().await;
    let carol = world.token_of("carol").await;
    let path = format!("{}/federatedIdentityCredentials", application("billing"));
    let audience = json!(["api://AzureADTokenExchange"]);
    for (name, subject, audiences, taken) in [
        ("pipeline", "another", &audience, false),
        ("release", "billing", &audience, false),
        ("release", "another", &json!([]), false),
        ("release", "another", &json!(["a", "b"]), false),
        ("release", "another", &audience, true),
    ] {
        let body = json!({
            "name": name, "issuer": "https://issuer.example", "subject": subject, "audiences": audiences,
        });
        let answer = world.directory("POST", &path, &carol, Some(&body)).await;
        if taken {
            assert_eq!(answer.status.as_u16(), 201, "{body}");
        } else {
            assert_eq!(answer.denied().2, "directory.sound", "{body}");
        }
    }
}

/// An application of one tenant may have a name that another tenant's has, until one of them stands everywhere.
#[tokio::test]
async fn names_are_unique_wherever_both_could_stand() {
    let world = world().await;
    let carol = world.token_of("carol").await;
    let shared = json!({"identifierUris": ["api://shared"]});
    // What another tenant's application is called there is none of this one's business, while neither stands in both.
    let of_fabrikam = |sign_in_audience| {
        Object::Application(Application {
            app_id: AppId(Uuid::from_u128(0xf0f0)),
            home_tenant: FABRIKAM,
            display_name: "Theirs".to_owned(),
            sign_in_audience,
            identifier_uris: vec!["api://theirs".to_owned()],
            ..Application::default()
        })
    };
    let (theirs, everywhere) =
        (json!({"identifierUris": ["api://theirs"]}), json!({"signInAudience": "AzureADMultipleOrgs"}));
    world.put(of_fabrikam(SignInAudience::AzureADMyOrg)).await;
    assert_eq!(patched(&world, "vault", &carol, &theirs).await.0, 204);
    assert_eq!(patched(&world, "vault", &carol, &everywhere).await.1, "directory.unique");
    assert_eq!(patched(&world, "vault", &carol, &json!({"identifierUris": []})).await.0, 204);
    world.put(of_fabrikam(SignInAudience::AzureADMultipleOrgs)).await;
    assert_eq!(patched(&world, "vault", &carol, &theirs).await.1, "directory.unique", "it may come to stand here");
    assert_eq!(patched(&world, "archive", &carol, &shared).await.0, 204);
    assert_eq!(patched(&world, "vault", &carol, &shared).await.1, "directory.unique");
    assert_eq!(patched(&world, "archive", &carol, &json!({"signInAudience": "AzureADMultipleOrgs"})).await.0, 204);
    world.store.poll().unwrap();
    assert_eq!(patched(&world, "vault", &carol, &shared).await.1, "directory.unique");
}

/// Fields that nobody knows, ids as lists, depth, size, and what is no JSON: told, and nothing is changed.
#[tokio::test]
async fn m_09_what_is_not_documented_is_refused() {
    let world = world().await;
    let carol = world.token_of("carol").await;
    let send = async |method: &str, path: &str, body: String| {
        let request = Request::builder().method(method).uri(format!("/{CONTOSO}/v1.0/{path}"));
        let request = request.header("authorization", format!("Bearer {carol}"));
        let request = request.header("content-type", "application/json").body(Body::from(body)).unwrap();
        world.send(request).await
    };
    let user = format!("users/{}", user("ada"));
    let (billing, principal) = (application("billing"), format!("servicePrincipals/{}", principal("billing")));
    let before = world.store.objects().unwrap();
    let deep = |n: usize| format!("{{\"displayName\":{}{}}}", "[".repeat(n), "]".repeat(n));
    for (path, body) in [
        (&user, r#"{"isTenantAdmin":true}"#.to_owned()),
        (&user, r#"{"is_admin":true}"#.to_owned()),
        (&user, r#"{"tenant_id":"x"}"#.to_owned()),
        (&user, r#"{"tenant":"fafa0000-0000-4000-8000-000000000001"}"#.to_owned()),
        (&user, r#"{"passwordHash":"x"}"#.to_owned()),
        (&user, r#"{"id":["x"]}"#.to_owned()),
        (&user, r#"{"accountEnabled":null}"#.to_owned()),
        (&user, r#"{"accountEnabled":"false"}"#.to_owned()),
        (&user, r#"{"displayName":"a","displayName":"b"}"#.to_owned()),
        (&user, "[]".to_owned()),
        (&user, String::new()),
        (&user, "{".to_owned()),
        (&user, "{} {}".to_owned()),
        (&billing, r#"{"appId":"x"}"#.to_owned()),
        (&billing, r#"{"homeTenant":"x"}"#.to_owned()),
        (&billing, r#"{"owners":[]}"#.to_owned()),
        (&billing, r#"{"managedIdentity":{}}"#.to_owned()),
        (&billing, r#"{"passwordCredentials":[]}"#.to_owned()),
        (&billing, r#"{"trustedCertificateSubjects":[]}"#.to_owned()),
        (&billing, r#"{"signInAudience":null}"#.to_owned()),
        (&billing, r#"{"signInAudience":["AzureADMyOrg"]}"#.to_owned()),
        (&billing, r#"{"api":[]}"#.to_owned()),
        (&billing, r#"{"web":[["https://x.example/"]]}"#.to_owned()),
        (&billing, r#"{"keyCredentials":[[]]}"#.to_owned()),
        (&billing, r#"{"api":{"unknown":1}}"#.to_owned()),
        (&billing, r#"{"api":{"knownClientApplications":[["x"]]}}"#.to_owned()),
        (&billing, r#"{"appRoles":[{"isAdmin":true}]}"#.to_owned()),
        (&billing, deep(100)),
        (&billing, deep(30_000)),
        (&principal, r#"{"appId":"x"}"#.to_owned()),
        (&principal, r#"{"accountEnabled":[true]}"#.to_owned()),
    ] {
        let answer = send("PATCH", path, body.clone()).await;
        let short: String = body.chars().take(80).collect();
        assert_eq!(answer.denied(), (400, "Request_BadRequest".into(), "directory.body".into()), "{path} {short}");
    }
    let large = format!("{{\"displayName\":\"{}\"}}", "x".repeat(70_000));
    assert_eq!(
        send("PATCH", &billing, large).await.denied(),
        (413, "Request_EntityTooLarge".into(), "directory.size".into())
    );
    for (method, path, status) in [
        ("GET", "users/x", 404),
        ("GET", "applications/x", 404),
        ("GET", "nothing", 404),
        ("POST", "users", 405),
        ("DELETE", "applications", 405),
    ] {
        assert_eq!(send(method, path, String::new()).await.denied().0, status, "{method} {path}");
    }
    assert_eq!(send("DELETE", &user, String::new()).await.header("allow"), "GET, PATCH");
    assert_eq!(send("GET", "users?$filter=x", String::new()).await.denied().2, "directory.query");
    assert_eq!(world.store.objects().unwrap(), before);
}

/// Permissions count as they stand now: what was granted when the token was issued is not enough.
#[tokio::test]
async fn a_token_is_worth_what_stands_behind_it_now() {
    let world = world().await;
    let (carol, daemon) = (world.token_of("carol").await, world.token_of_app("daemon").await);
    world.directory("GET", "users", &carol, None).await.ok();
    let mut less = grant("web", "", "Application.Read.All");
    less.resource_id = deputize_core::built_in::PRINCIPAL;
    world.put(Object::Grant(less)).await;
    assert_eq!(world.directory("GET", "users", &carol, None).await.denied().2, "scope.sufficient");
    world.directory("GET", "applications", &carol, None).await.ok();
    world.edit_user("carol", |user| user.is_tenant_admin = false).await;
    assert_eq!(world.directory("GET", "applications", &carol, None).await.denied().2, "directory.standing");
    world.edit_user("carol", |user| user.account_enabled = false).await;
    assert_eq!(world.directory("GET", "applications", &carol, None).await.denied().2, "user.enabled");
    let of = Object::Assignment(deputize_core::model::RoleAssignment {
        tenant: CONTOSO,
        assignee: deputize_core::model::Assignee::ServicePrincipal(principal("daemon")),
        resource_id: deputize_core::built_in::PRINCIPAL,
        app_role_id: deputize_core::built_in::role(deputize_core::built_in::APPLICATION_WRITE),
    });
    world.delete(of.key()).await;
    assert_eq!(world.directory("GET", "applications", &daemon, None).await.denied().2, "role.sufficient");
}

/// A policy over `api://deputize` binds administrators at each call, with a challenge that a sign-in can meet.
#[tokio::test]
async fn conditional_access_guards_the_directory() {
    use crate::world::estate::policy;
    use deputize_core::model::GrantControls;
    let world = world().await;
    let carol = world.token_of("carol").await;
    let mut mfa = policy(&[], GrantControls::mfa());
    mfa.conditions.applications.include_applications = vec![deputize_core::built_in::APP];
    world.put(Object::Policy(mfa)).await;
    let answer = world.directory("GET", "users", &carol, None).await;
    assert_eq!(answer.denied(), (401, "InvalidAuthenticationToken".into(), "access.mfa_enrolled".into()));
    let challenge = oauth::challenge::Challenge::parse(answer.header("www-authenticate")).unwrap();
    assert_eq!(challenge[0].param("error"), Some("insufficient_claims"));
    let claims: Value = serde_json::from_str(&challenge[0].claims().unwrap()).unwrap();
    assert!(claims["access_token"]["polids"].is_object(), "{claims}");
    assert!(!text(&answer.json()["error"], "message").is_empty());
}
