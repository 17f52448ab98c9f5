//! M-01: every address × every caller, generated from the table that the router reads. An address without a line below fails.
use super::{FEDERATED, world};
use crate::world::estate::{CONTOSO, FABRIKAM, app, principal, secret_id, user};
use crate::world::{NOON, World};
use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use deputize_core::directory_api::{Operation, ROUTES, Route};
use deputize_core::id::TenantId;
use deputize_core::ledger::Write;
use deputize_core::ports::Ledger as _;
use deputize_core::second_factor::SecondFactor;
use serde_json::{Value, json};
use uuid::Uuid;

/// Who may: `A`n administrator, an administrator who lent only `R`eading, an `O`wner, an application that may change all
/// (`W`) or read all (`L`), an application for `I`tself.
const WHO_MAY: &str = "
GET applications                                                          AR.WL.
GET applications/{id}                                                     AROWLI
PATCH applications/{id}                                                   A.OW.I
POST applications/{id}/addPassword                                        A.OW.I
POST applications/{id}/removePassword                                     A.OW.I
GET applications/{id}/owners                                              AROWLI
POST applications/{id}/owners/$ref                                        A.OW..
DELETE applications/{id}/owners/{user}/$ref                               A.OW..
GET applications/{id}/federatedIdentityCredentials                        AROWLI
POST applications/{id}/federatedIdentityCredentials                       A.OW..
GET applications/{id}/federatedIdentityCredentials/{credential}           AROWLI
PATCH applications/{id}/federatedIdentityCredentials/{credential}         A.OW..
DELETE applications/{id}/federatedIdentityCredentials/{credential}        A.OW..
GET me/ownedObjects                                                       ARO...
GET servicePrincipals                                                     AR.WL.
GET servicePrincipals/{id}                                                AR.WL.
PATCH servicePrincipals/{id}                                              A..W..
GET users                                                                 AR....
GET users/{id}                                                            AR....
PATCH users/{id}                                                          A.....
POST users/{id}/revokeSignInSessions                                      A.....
GET users/{id}/authentication/softwareOathMethods                         AR....
DELETE users/{id}/authentication/softwareOathMethods/{method}             A.....
GET oauth2PermissionGrants                                                A.....
DELETE oauth2PermissionGrants/{id}                                        A.....
";

fn line(route: &Route) -> &'static str {
    let address = format!("{} {}", route.verb, route.path);
    let line = WHO_MAY.lines().find_map(|line| line.rsplit_once(' ').filter(|(known, _)| known.trim() == address));
    line.unwrap_or_else(|| panic!("`{address}` has no line: say who may")).1
}

/// The address of an object of Contoso: of `name` where it is an application's.
fn path(route: &Route, name: &str) -> String {
    let id = match route.path.split('/').next().unwrap() {
        "applications" => app(name).to_string(),
        "servicePrincipals" => principal("archive").to_string(),
        "users" => user("ada").to_string(),
        _ => {
            let ids = [principal("strict").0, principal("vault").0].map(Uuid::into_bytes);
            URL_SAFE_NO_PAD.encode(ids.concat())
        }
    };
    let method = Uuid::new_v5(&user("ada").0, b"softwareOathMethod");
    let path = route.path.replace("{id}", &id).replace("{user}", &user("carol").to_string());
    path.replace("{credential}", &FEDERATED.to_string()).replace("{method}", &method.to_string())
}

/// What a call that is allowed sends.
fn body(operation: Operation, name: &str) -> Option<Value> {
    Some(match operation {
        Operation::UpdateApplication => json!({"keyCredentials": []}),
        Operation::AddPassword => json!({"passwordCredential": {"displayName": "new"}}),
        Operation::RemovePassword => json!({"keyId": secret_id(name)}),
        Operation::AddOwner => json!({"@odata.id": format!("https://graph.microsoft.com/v1.0/users/{}", user("ada"))}),
        Operation::CreateFederatedCredential => {
            json!({"name": "another", "issuer": "https://another.example", "subject": "it"})
        }
        Operation::UpdateFederatedCredential => json!({"subject": "another"}),
        Operation::UpdatePrincipal => json!({"appRoleAssignmentRequired": true}),
        Operation::UpdateUser => json!({"displayName": "Ada L."}),
        Operation::RevokeSessions => json!({}),
        Operation::DeleteFederatedCredential
        | Operation::DeleteGrant
        | Operation::DeleteSecondFactor
        | Operation::ListApplications
        | Operation::ListFederatedCredentials
        | Operation::ListGrants
        | Operation::ListOwned
        | Operation::ListOwners
        | Operation::ListPrincipals
        | Operation::ListSecondFactors
        | Operation::ListUsers
        | Operation::ReadApplication
        | Operation::ReadFederatedCredential
        | Operation::ReadPrincipal
        | Operation::ReadUser
        | Operation::RemoveOwner => return None,
    })
}

pub(super) async fn with_second_factor(world: &World) {
    let factor = SecondFactor {
        tenant: CONTOSO,
        user: user("ada"),
        version: 1,
        secret: String::new(),
        last_step: 0,
        recovery: Vec::new(),
        failures: 0,
        last_failure: NOON,
    };
    world.store.commit(vec![Write::PutSecondFactor(factor)]).await.unwrap();
}

async fn call(world: &World, tenant: TenantId, route: &Route, name: &str, token: Option<&str>) -> (u16, String) {
    let body = body(route.operation, name);
    let answer = world.directory_at(tenant, &route.verb.to_string(), &path(route, name), token, body.as_ref()).await;
    assert!(!answer.status.is_server_error(), "{} {}: {}", route.verb, route.path, answer.text());
    let check = if answer.status.is_success() { String::new() } else { answer.denied().2 };
    (answer.status.as_u16(), check)
}

#[tokio::test]
async fn m_01_every_address_says_who_may_call_it() {
    let lines = WHO_MAY.lines().filter(|line| !line.is_empty()).count();
    assert_eq!(lines, ROUTES.len(), "a line for each address, and no other");
    for (letter, name, object) in [
        ('A', "carol", "billing"),
        ('R', "carol", "billing"),
        ('O', "bob", "billing"),
        ('W', "daemon", "billing"),
        ('L', "rival", "billing"),
        ('I', "orders", "orders"),
    ] {
        let world = world().await;
        with_second_factor(&world).await;
        let reading =
            ["Application", "User", "UserAuthenticationMethod"].map(|of| format!("api://deputize/{of}.Read.All"));
        let token = match letter {
            'R' => world.access_token("web", name, &reading.join(" ")).await,
            'A' | 'O' => world.token_of(name).await,
            _ => world.token_of_app(name).await,
        };
        for route in ROUTES {
            let (status, check) = call(&world, CONTOSO, route, object, Some(&token)).await;
            let may = line(route).contains(letter);
            let found = format!("{letter} {} {}: {status} {check}", route.verb, route.path);
            assert_eq!(matches!(status, 200 | 201 | 204), may, "{found}");
            assert!(may || status == 403, "{found}");
        }
    }
}

/// Everybody else: nobody, people without any standing, applications without a role or for others, tokens for others.
#[tokio::test]
async fn m_01_nobody_else_may_call_any_address() {
    let world = world().await;
    with_second_factor(&world).await;
    let ada = world.token_of("ada").await;
    let none = world.token_of_app("billing").await;
    let own = world.token_of_app("orders").await;
    let elsewhere = world.access_token("web", "carol", "api://orders/access_as_user").await;
    let openid = world.access_token("web", "carol", "openid").await;
    let id_token = text_of(&world, "id_token").await;
    let ivan = world.token_of_ivan().await;
    for route in ROUTES {
        for (who, token, object, status) in [
            ("nobody", None, "billing", 401),
            ("nonsense", Some("nonsense"), "billing", 401),
            ("a token for another API", Some(elsewhere.as_str()), "billing", 401),
            ("a token for userinfo", Some(openid.as_str()), "billing", 401),
            ("an ID token", Some(id_token.as_str()), "billing", 401),
            ("an administrator of another tenant", Some(ivan.as_str()), "billing", 401),
            ("a member", Some(ada.as_str()), "billing", 403),
            ("an application without a role", Some(none.as_str()), "orders", 403),
            ("an application with a role for itself alone", Some(own.as_str()), "billing", 403),
        ] {
            if who == "a member" && route.operation == Operation::ListOwned {
                // Of what they own: nothing.
                let answer = world.directory("GET", route.path, &ada, None).await;
                assert_eq!(answer.ok()["value"], json!([]));
                continue;
            }
            let (found, check) = call(&world, CONTOSO, route, object, token).await;
            assert_eq!(found, status, "{who}: {} {}: {check}", route.verb, route.path);
        }
        // The same objects, asked for under a tenant where the caller is an administrator.
        if route.path.contains('{') {
            let (status, check) = call(&world, FABRIKAM, route, "billing", Some(&ivan)).await;
            assert_eq!((status, check.as_str()), (404, "directory.object"), "{} {}", route.verb, route.path);
        }
    }
    // Lists of one tenant hold nothing of another's.
    for list in ["applications", "users", "oauth2PermissionGrants"] {
        let answer = world.directory_at(FABRIKAM, "GET", list, Some(&ivan), None).await.ok().to_string();
        for foreign in [app("billing").to_string(), user("ada").to_string(), principal("web").to_string()] {
            assert!(!answer.contains(&foreign), "{list}: {answer}");
        }
    }
}

async fn text_of(world: &World, name: &str) -> String {
    crate::world::text(&world.signed_in("web", "carol", "openid").await, name)
}

/// Cookies count for nothing, and no page of another origin is let in (M-03).
#[tokio::test]
async fn m_03_a_browser_cannot_be_made_to_call() {
    use axum::body::Body;
    use axum::http::Request;
    let world = world().await;
    let mut browser = crate::world::browser::Browser::default();
    browser.code(&world, "web", "carol", "openid").await;
    let cookies: Vec<String> = browser.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let path = format!("/{CONTOSO}/v1.0/users/{}", user("ada"));
    for (method, kind) in [("PATCH", "application/json"), ("POST", "text/plain"), ("GET", "text/plain")] {
        let request = Request::builder().method(method).uri(&path).header("cookie", cookies.join("; "));
        let request = request.header("content-type", kind).header("origin", "https://evil.example");
        let answer = world.send(request.body(Body::from(r#"{"accountEnabled":false}"#)).unwrap()).await;
        assert_eq!(answer.denied().0, 401, "{method}");
        assert!(!answer.headers.contains_key("access-control-allow-origin"));
    }
    let preflight = Request::builder().method("OPTIONS").uri(&path).header("origin", "https://evil.example");
    let preflight = preflight.header("access-control-request-headers", "authorization").body(Body::empty()).unwrap();
    let answer = world.send(preflight).await;
    assert!(!answer.status.is_success() && !answer.headers.contains_key("access-control-allow-origin"));
    // JSON that calls itself text is none, whoever sends it.
    let token = world.token_of("carol").await;
    let request = Request::patch(&path).header("content-type", "text/plain");
    let request = request.header("authorization", format!("Bearer {token}"));
    let answer = world.send(request.body(Body::from(r#"{"accountEnabled":false}"#)).unwrap()).await;
    assert_eq!(answer.denied(), (415, "Request_UnsupportedMediaType".into(), "directory.media_type".into()));
    let ada = world.directory("GET", &format!("users/{}", user("ada")), &token, None).await.ok();
    assert_eq!((answer.status, &ada["accountEnabled"]), (StatusCode::UNSUPPORTED_MEDIA_TYPE, &json!(true)));
}
