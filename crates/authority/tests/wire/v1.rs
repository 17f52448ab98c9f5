//! The v1.0 endpoints: what old clients send and get, and what happens between the two versions.
use crate::world::browser::{Browser, request};
use crate::world::estate::{CONTOSO, app, grant, redirect, upn, user};
use crate::world::{
    Answer, HOST, NOON, Params, World, but, claims, credential, encode, header, obo_form, redeem_form, refresh_form,
    text,
};
use oauth::Form;
use serde_json::{Value, json};
use store::Object;

const ORDERS: &str = "api://orders";
const BILLING: &str = "api://billing";
const ARCHIVE: &str = "api://archive";

pub(crate) async fn token_v1(world: &World, params: Params<'_>) -> Answer {
    world.post(&format!("/{CONTOSO}/oauth2/token"), &[], encode(&params)).await
}

pub(crate) fn with<'a>(mut params: Params<'a>, more: &[(&'a str, &str)]) -> Params<'a> {
    params.extend(more.iter().map(|(name, value)| (*name, (*value).to_owned())));
    params
}

/// An authorization request of v1.0.
pub(crate) fn authorize(client: &str, more: &[(&'static str, &str)]) -> String {
    let params = with(but(request(client, "openid"), "scope", None), more);
    format!("/{CONTOSO}/oauth2/authorize?{}", encode(&params))
}

/// Goes through the pages of the v1.0 endpoint until the client has its answer.
async fn answered(world: &World, browser: &mut Browser, path: &str, person: &str) -> Form {
    let mut answer = browser.get(world, path).await;
    if answer.status == 200 && answer.form().action.ends_with("/sign-in") {
        answer = browser.sign_in(world, answer, person).await;
    }
    if answer.status == 200 && answer.form().action.ends_with("/consent") {
        answer = browser.submit(world, &answer.form(), &[("action", "accept")]).await;
    }
    answer.redirected().1
}

async fn code(world: &World, resource: &[(&'static str, &str)]) -> String {
    code_of(world, &mut Browser::default(), &authorize("web", resource), "ada").await
}

pub(crate) async fn code_of(world: &World, browser: &mut Browser, path: &str, person: &str) -> String {
    let answer = answered(world, browser, path, person).await;
    answer.value("code").unwrap_or_else(|| panic!("{:?}", answer.value("error_description"))).to_owned()
}

pub(crate) fn app_only<'a>(resources: &[&str]) -> Params<'a> {
    let named: Vec<_> = resources.iter().map(|resource| ("resource", *resource)).collect();
    with(credential("daemon"), &[&[("grant_type", "client_credentials")][..], &named].concat())
}

pub(crate) fn obo_v1(client: &str, assertion: &str, resource: &str) -> Params<'static> {
    let params = but(obo_form(client, assertion, "openid"), "resource", None);
    with(params, &[("resource", resource)])
}

fn id(name: &str) -> Value {
    json!(app(name).to_string())
}

pub(crate) fn members(answer: &Value) -> Vec<&str> {
    let mut names: Vec<&str> = answer.as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    names
}

#[tokio::test]
async fn client_credentials_by_resource_answer_in_texts() {
    let world = World::new().await;
    let answer = token_v1(&world, app_only(&[BILLING])).await.ok();
    let expected =
        ["access_token", "expires_in", "expires_on", "ext_expires_in", "not_before", "resource", "token_type"];
    assert_eq!(members(&answer), expected);
    let end = NOON.0 + 3_599;
    for (name, value) in [
        ("expires_in", "3599".to_owned()),
        ("ext_expires_in", "3599".to_owned()),
        ("expires_on", end.to_string()),
        ("not_before", NOON.0.to_string()),
        ("resource", BILLING.to_owned()),
        ("token_type", "Bearer".to_owned()),
    ] {
        assert_eq!(answer[name], value, "{name}");
    }
    let token = claims(&text(&answer, "access_token"));
    assert_eq!(
        (&token["aud"], &token["ver"], &token["roles"]),
        (&id("billing"), &json!("2.0"), &json!(["Invoices.Export"]))
    );
    assert_eq!((&token["exp"], &token["idtyp"]), (&json!(end), &json!("app")));
}

#[tokio::test]
async fn the_audience_of_a_v1_token_is_the_resource_as_requested() {
    let world = World::new().await;
    let guid = app("archive").to_string();
    for (asked, aud) in [
        (ARCHIVE, ARCHIVE),
        ("api://archive/", "api://archive/"),
        ("API://Archive", "API://Archive"),
        (&guid, guid.as_str()),
        (&guid.to_uppercase(), &guid),
    ] {
        let answer = token_v1(&world, app_only(&[asked])).await.ok();
        assert_eq!(answer["resource"], *aud);
        let token = text(&answer, "access_token");
        assert_eq!(header(&token)["x5t"], header(&token)["kid"]);
        let token = claims(&token);
        assert_eq!((&token["aud"], &token["ver"]), (&json!(aud), &json!("1.0")));
        assert_eq!((&token["appid"], &token["appidacr"]), (&id("daemon"), &json!("1")));
        assert_eq!(token["iss"], format!("{HOST}/{CONTOSO}/"));
    }
}

#[tokio::test]
async fn a_code_of_the_v1_endpoint_brings_an_id_token_of_version_one() {
    let world = World::new().await;
    let answer = answered(&world, &mut Browser::default(), &authorize("web", &[("resource", ORDERS)]), "ada").await;
    assert_eq!(answer.value("iss"), Some(format!("{HOST}/{CONTOSO}/").as_str()), "the issuer of the v1 metadata");
    let answer = token_v1(&world, redeem_form("web", answer.value("code").unwrap())).await.ok();
    assert_eq!((&answer["resource"], &answer["scope"]), (&json!(ORDERS), &json!("access_as_user")));
    assert!(answer["refresh_token"].is_string(), "unasked");
    let access = claims(&text(&answer, "access_token"));
    assert_eq!(
        (&access["aud"], &access["ver"], &access["scp"]),
        (&id("orders"), &json!("2.0"), &json!("access_as_user"))
    );
    let token = text(&answer, "id_token");
    assert_eq!(header(&token)["x5t"], header(&token)["kid"]);
    let token = claims(&token);
    for (name, value) in [
        ("aud", id("web")),
        ("iss", json!(format!("{HOST}/{CONTOSO}/"))),
        ("ver", json!("1.0")),
        ("unique_name", json!(upn("ada"))),
        ("upn", json!(upn("ada"))),
        ("amr", json!(["pwd"])),
        ("name", json!("ADA")),
        ("given_name", json!("ada")),
        ("family_name", json!("Example")),
        ("oid", json!(user("ada").to_string())),
        ("tid", json!(CONTOSO.to_string())),
        ("nonce", json!("the nonce")),
        ("preferred_username", Value::Null),
        ("appid", Value::Null),
        ("idtyp", Value::Null),
    ] {
        assert_eq!(token[name], value, "{name}");
    }
}

#[tokio::test]
async fn on_behalf_of_in_its_v1_form_gives_the_middle_tier_a_refresh_token() {
    let world = World::new().await;
    let first = world.orders_token().await;
    let answer = token_v1(&world, obo_v1("orders", &first, BILLING)).await.ok();
    assert_eq!((&answer["resource"], &answer["scope"]), (&json!(BILLING), &json!("Invoices.Read")));
    assert!(answer["id_token"].is_string() && answer["expires_on"].is_string());
    let token = claims(&text(&answer, "access_token"));
    assert_eq!((&token["azp"], &token["oid"]), (&id("orders"), &json!(user("ada").to_string())));
    assert_eq!((&token["roles"], &token["scp"]), (&json!(["Invoices.Reader"]), &json!("Invoices.Read")));
    // It goes on at either endpoint, for this resource and for others.
    let refresh = text(&answer, "refresh_token");
    let again = token_v1(&world, refresh_form("orders", &refresh, None)).await.ok();
    assert_eq!((&again["resource"], &again["scope"]), (&json!(BILLING), &json!("Invoices.Read")));
    let other =
        token_v1(&world, with(refresh_form("orders", &refresh, None), &[("resource", "api://vault")])).await.ok();
    assert_eq!(claims(&text(&other, "access_token"))["scp"], "Vault.Read");
    let v2 = world.refresh("orders", &refresh, None).await.ok();
    assert_eq!(
        (&v2["scope"], &v2["resource"]),
        (&json!("api://billing/Invoices.Read offline_access openid"), &Value::Null)
    );
    assert!(v2["expires_in"].is_number() && claims(&text(&v2, "id_token"))["ver"] == "2.0");
    // Without `scope=openid` there is no ID token, and without the assertion there is nothing.
    let bare = token_v1(&world, but(obo_v1("orders", &first, BILLING), "scope", None)).await.ok();
    assert!(bare["id_token"].is_null() && bare["refresh_token"].is_string());
    let none = token_v1(&world, but(obo_v1("orders", &first, BILLING), "assertion", None)).await;
    assert_eq!(none.refused().2, 900_144);
}

#[tokio::test]
async fn v1_refresh_tokens_reach_other_resources() {
    let world = World::new().await;
    let code = code(&world, &[("resource", ORDERS)]).await;
    let first = token_v1(&world, redeem_form("web", &code)).await.ok();
    let refresh = refresh_form("web", &text(&first, "refresh_token"), None);
    let billing = token_v1(&world, with(refresh.clone(), &[("resource", BILLING)])).await.ok();
    assert_eq!(claims(&text(&billing, "access_token"))["aud"], id("billing"));
    assert_eq!(claims(&text(&billing, "id_token"))["ver"], "1.0");
    let never = token_v1(&world, with(refresh, &[("resource", "api://vault")])).await;
    assert_eq!((never.status.as_u16(), never.check().as_str()), (400, "resource.declared"));
}

#[tokio::test]
async fn a_sign_in_without_resource_names_it_when_the_code_is_redeemed() {
    let world = World::new().await;
    let redeemed = redeem_form("web", &code(&world, &[]).await);
    let answer = token_v1(&world, with(redeemed, &[("resource", ORDERS)])).await.ok();
    assert_eq!(claims(&text(&answer, "access_token"))["aud"], id("orders"));
    let answer = token_v1(&world, redeem_form("web", &code(&world, &[]).await)).await.ok();
    let own = text(&answer, "access_token");
    assert_eq!((&claims(&own)["aud"], &answer["resource"]), (&json!(HOST), &json!(HOST)));
    let bearer = format!("Bearer {own}");
    let userinfo = world.post(&format!("/{CONTOSO}/openid/userinfo"), &[("authorization", &bearer)], "").await.ok();
    assert_eq!(userinfo["sub"], claims(&text(&answer, "id_token"))["sub"]);
}

#[tokio::test]
async fn consent_is_asked_for_all_that_is_registered_and_the_version_survives_the_pages() {
    let world = World::with(|plan| {
        plan.others.retain(
            |object| !matches!(object, Object::Grant(known) if *known == grant("web", "orders", "access_as_user")),
        );
    })
    .await;
    let mut browser = Browser::default();
    let answer = answered(&world, &mut browser, &authorize("web", &[("resource", ORDERS)]), "ada").await;
    assert_eq!(answer.value("iss"), Some(format!("{HOST}/{CONTOSO}/").as_str()));
    let answer = token_v1(&world, redeem_form("web", answer.value("code").unwrap())).await.ok();
    assert_eq!(answer["scope"], "Orders.Write access_as_user");
}

#[tokio::test]
async fn v1_requests_that_mean_two_things_are_refused() {
    let world = World::new().await;
    let refuse = async |params: Params<'_>| {
        let answer = token_v1(&world, params).await;
        let (_, error, code, check) = answer.refused();
        (error, code, check)
    };
    let expect = |error: &str, code: u64, check: &str| (error.to_owned(), code, check.to_owned());
    assert_eq!(refuse(app_only(&[])).await, expect("invalid_request", 900_144, "request.parameter_present"));
    assert_eq!(refuse(app_only(&[""])).await, expect("invalid_request", 900_144, "request.parameter_present"));
    for twice in [[BILLING, ORDERS], [BILLING, BILLING]] {
        assert_eq!(refuse(app_only(&twice)).await, expect("invalid_scope", 70_011, "scope.valid"));
    }
    for scope in ["api://billing/.default", "Invoices.Export", ".default", "openid api://orders/x"] {
        let both = with(app_only(&[BILLING]), &[("scope", scope)]);
        assert_eq!(refuse(both).await, expect("invalid_scope", 70_011, "scope.valid"), "{scope}");
        let alone = with(app_only(&[]), &[("scope", scope)]);
        assert_eq!(refuse(alone).await, expect("invalid_scope", 70_011, "scope.valid"), "{scope}");
    }
    for unknown in [
        "api://nobody",
        "api://billing ",
        "api://billing//",
        "00000000-0000-0000-0000-000000000000",
        "api://billing/x",
        "%00",
        "*",
    ] {
        assert_eq!(
            refuse(app_only(&[unknown])).await,
            expect("invalid_resource", 500_011, "resource.known"),
            "{unknown}"
        );
    }
    // As large as a form may be: an answer that shows a little of it.
    let huge = token_v1(&world, app_only(&[&"a".repeat(65_000)])).await;
    assert!(huge.refused().2 == 500_011 && huge.body.len() < 4_096);
    assert_eq!(token_v1(&world, app_only(&[&"a".repeat(65_536)])).await.status, 413);
    // v2.0's answer to what is v1.0's (AADSTS901002).
    let v2 = world.token(app_only(&[BILLING])).await;
    assert_eq!(v2.refused().2, 901_002);
    // A resource for itself by name.
    let own = with(credential("orders"), &[("grant_type", "client_credentials"), ("resource", ORDERS)]);
    assert_eq!(refuse(own).await, expect("invalid_request", 90_009, "resource.not_self"));
}

#[tokio::test]
async fn v1_authorization_requests_that_mean_two_things_go_back_refused() {
    let world = World::new().await;
    for (more, error, code) in [
        (vec![("resource", ORDERS), ("resource", BILLING)], "invalid_scope", 700_022),
        (vec![("resource", "api://orders api://billing")], "invalid_resource", 500_011),
        (vec![("resource", ORDERS), ("scope", "api://billing/Invoices.Read")], "invalid_scope", 70_011),
        (vec![("resource", "api://nobody")], "invalid_resource", 500_011),
    ] {
        let answer = answered(&world, &mut Browser::default(), &authorize("web", &more), "ada").await;
        assert_eq!(answer.value("error"), Some(error), "{more:?}");
        assert!(answer.value("error_description").unwrap().starts_with(&format!("AADSTS{code}:")), "{more:?}");
        assert_eq!(answer.value("iss"), Some(format!("{HOST}/{CONTOSO}/").as_str()));
    }
}

#[tokio::test]
async fn nobody_says_which_endpoint_took_a_request_but_the_endpoint() {
    let world = World::new().await;
    let mut browser = Browser::default();
    let params = with(request("web", "openid"), &[("endpoint_version", "1.0")]);
    let answer = browser.complete(&world, &params, "ada").await;
    assert_eq!(answer.value("iss"), Some(format!("{HOST}/{CONTOSO}/v2.0").as_str()));
    // A page of a v2.0 request cannot be posted for a v1.0 one.
    let page = Browser::default().authorize(&world, &request("web", "openid")).await.form();
    let forged = page.with("request", &format!("{}&endpoint_version=1.0", page.hidden("request")));
    let posted = browser.submit(&world, &forged, &[("username", &upn("ada")), ("password", "x")]).await;
    assert_eq!(posted.status, 403);
}

#[tokio::test]
async fn tokens_of_either_version_are_assertions_at_either_endpoint_for_their_audience_only() {
    let world = World::with(|plan| {
        plan.app("archive").required_resource_access.clear();
        plan.others.push(Object::Grant(grant("archive", "billing", "Invoices.Read")));
        plan.others.push(Object::Grant(grant("web", "archive", "Archive.Read")));
    })
    .await;
    // Version 1, by audience as a URI with and without slash, and as a GUID: all are tokens for Archive.
    for resource in [ARCHIVE, "api://archive/", &app("archive").to_string()] {
        let answer = token_v1(&world, redeem_form("web", &code(&world, &[("resource", resource)]).await)).await.ok();
        let assertion = text(&answer, "access_token");
        assert_eq!(claims(&assertion)["ver"], "1.0");
        token_v1(&world, obo_v1("archive", &assertion, BILLING)).await.ok();
        world.obo("archive", &assertion, "api://billing/Invoices.Read").await.ok();
        for thief in ["orders", "billing", "rival"] {
            assert_eq!(token_v1(&world, obo_v1(thief, &assertion, BILLING)).await.refused().2, 500_131, "{thief}");
        }
        // The ID token of version 1 stays an ID token.
        let identity = text(&answer, "id_token");
        assert_eq!(token_v1(&world, obo_v1("web", &identity, BILLING)).await.refused().2, 240_002);
        assert_eq!(world.obo("web", &identity, "api://billing/Invoices.Read").await.refused().2, 240_002);
        let bearer = format!("Bearer {assertion}");
        let userinfo = world.post(&format!("/{CONTOSO}/openid/userinfo"), &[("authorization", &bearer)], "").await;
        assert_eq!(userinfo.status, 401);
    }
    // Version 2 at the v1.0 endpoint.
    token_v1(&world, obo_v1("orders", &world.orders_token().await, BILLING)).await.ok();
}

#[tokio::test]
async fn a_15_v1_answers_are_no_way_round_the_rules_of_v2() {
    let world = World::new().await;
    // Grants that need consent, and clients that need their secret, are the same at both.
    let unconsented = token_v1(&world, obo_v1("orders", &world.orders_token().await, ARCHIVE)).await;
    assert_eq!(unconsented.check(), "resource.declared");
    let secretless = but(app_only(&[BILLING]), "client_secret", None);
    assert_eq!(token_v1(&world, secretless).await.refused().2, 7_000_218);
    // A code is good once, whichever endpoint is asked, and needs its verifier.
    let code_v2 = Browser::default().code(&world, "web", "ada", "openid api://orders/access_as_user").await;
    token_v1(&world, redeem_form("web", &code_v2)).await.ok();
    assert_eq!(world.redeem("web", &code_v2).await.refused().2, 54_005);
    let code_v1 = code(&world, &[("resource", ORDERS)]).await;
    let wrong = but(redeem_form("web", &code_v1), "code_verifier", Some(&"a".repeat(43)));
    assert_eq!(token_v1(&world, wrong).await.refused().2, 501_481);
    // In the native profile what the user authorized is the limit, by any name.
    let strict =
        answered(&world, &mut Browser::default(), &authorize("strict", &[("resource", "api://vault")]), "ada").await;
    let strict =
        token_v1(&world, with(redeem_form("strict", strict.value("code").unwrap()), &[("resource", ORDERS)])).await;
    assert_eq!(strict.check(), "scope.within_grant");
    // Public clients need PKCE here too.
    let path = format!(
        "/{CONTOSO}/oauth2/authorize?client_id={}&response_type=code&redirect_uri={}&resource={ORDERS}",
        app("native"),
        redirect("native")
    );
    let answer = Browser::default().get(&world, &path).await.redirected().1;
    assert_eq!(answer.value("error"), Some("invalid_request"));
    let implicit = format!("{path}&code_challenge={}&code_challenge_method=S256", "a".repeat(43))
        .replace("response_type=code", "response_type=token");
    let answer = Browser::default().get(&world, &implicit).await.redirected().1;
    assert_eq!(answer.value("error"), Some("unsupported_response_type"));
    let password = with(
        credential("web"),
        &[("grant_type", "password"), ("username", &upn("ada")), ("password", "x"), ("resource", ORDERS)],
    );
    assert_eq!(token_v1(&world, password).await.refused().2, 70_003);
    let saml = with(
        obo_v1("orders", &world.orders_token().await, BILLING),
        &[("requested_token_type", "urn:ietf:params:oauth:token-type:saml2")],
    );
    assert_eq!(token_v1(&world, saml).await.check(), "request.grant_supported");
    assert_eq!(world.get(&format!("/{CONTOSO}/oauth2/token")).await.status, 405);
}
