//! What `spec/entra.md` lists of v1.0 beside v2.0, member for member: claims (§9.1), answers (§6.2) and metadata (§2.2).
use crate::v1::{app_only, authorize, code_of, members, obo_v1, token_v1, with};
use crate::world::browser::Browser;
use crate::world::estate::{CONTOSO, app, upn, user};
use crate::world::{HOST, NOON, World, but, claims, header, obo_form, redeem_form, text};
use serde_json::{Value, json};

const BILLING: &str = "api://billing";

/// Claims of access tokens: in whose they stand, of a user's and an application's in version 1, and in version 2.
const CLAIMS: &[(&str, [bool; 4])] = &[
    ("acr", [true, false, false, false]),
    // The chain, sealed: opaque, as Entra's is.
    ("aio", [true, false, true, false]),
    ("amr", [true, false, false, false]),
    ("appid", [true, true, false, false]),
    ("appidacr", [true, true, false, false]),
    ("aud", [true, true, true, true]),
    ("azp", [false, false, true, true]),
    ("azpacr", [false, false, true, true]),
    ("exp", [true, true, true, true]),
    ("family_name", [true, false, false, false]),
    ("given_name", [true, false, false, false]),
    ("iat", [true, true, true, true]),
    // Optional in Entra; here it always tells who is meant.
    ("idtyp", [true, true, true, true]),
    ("ipaddr", [true, false, false, false]),
    ("iss", [true, true, true, true]),
    ("jti", [true, true, true, true]),
    ("name", [true, false, true, false]),
    ("nbf", [true, true, true, true]),
    ("oid", [true, true, true, true]),
    ("preferred_username", [false, false, true, false]),
    ("rh", [true, true, true, true]),
    ("roles", [true, true, true, true]),
    ("scp", [true, false, true, false]),
    ("sub", [true, true, true, true]),
    ("tid", [true, true, true, true]),
    ("unique_name", [true, false, false, false]),
    ("upn", [true, false, false, false]),
    ("uti", [true, true, true, true]),
    ("ver", [true, true, true, true]),
];

/// Claims of the specification that nothing here has anything to say of.
const NOTHING_TO_SAY: &[(&str, &str)] = &[
    ("onprem_sid", "users are synchronised from nowhere"),
    ("pwd_exp", "passwords do not expire"),
    ("pwd_url", "passwords do not expire"),
    ("in_corp", "networks are named locations, and policies read them"),
    ("wids", "there are no directory roles beside the administrators of a tenant"),
    ("hasgroups", "nothing is answered from the authorization endpoint that has groups"),
];

fn listed(column: usize) -> Vec<&'static str> {
    CLAIMS.iter().filter(|(_, stands)| stands[column]).map(|(name, _)| *name).collect()
}

#[tokio::test]
async fn access_tokens_of_either_version_have_the_claims_that_are_listed_and_no_others() {
    for (version, columns) in [(1, [0, 1]), (2, [2, 3])] {
        let world = World::with(|plan| {
            plan.app("billing").api.requested_access_token_version = Some(version);
            // RFC 8693's chain of actors is no claim of Entra's: resources ask for it.
            plan.app("billing").deputize.act_claim = false;
        })
        .await;
        let mut browser = Browser { address: Some("203.0.113.7".parse().unwrap()), ..Browser::default() };
        let code = code_of(&world, &mut browser, &authorize("web", &[("resource", BILLING)]), "ada").await;
        let code_form = with(redeem_form("web", &code), &[("scope", "openid profile")]);
        let user_token = text(&token_v1(&world, code_form).await.ok(), "access_token");
        let app_token = text(&token_v1(&world, app_only(&[BILLING])).await.ok(), "access_token");
        for (token, column) in [(&user_token, columns[0]), (&app_token, columns[1])] {
            let head = header(token);
            let expected: &[&str] = if version == 1 { &["alg", "kid", "typ", "x5t"] } else { &["alg", "kid", "typ"] };
            assert_eq!(
                (members(&head), &head["typ"], &head["alg"]),
                (expected.to_vec(), &json!("JWT"), &json!("RS256"))
            );
            let token = claims(token);
            assert_eq!(members(&token), listed(column), "version {version}, column {column}");
            for (name, why) in NOTHING_TO_SAY {
                assert!(token[name].is_null(), "{name}: {why}");
            }
            assert!(token["exp"].is_i64() && token["roles"].is_array());
            assert_eq!((&token["iat"], &token["nbf"]), (&json!(NOON.0), &json!(NOON.0)));
        }
        let (user_token, app_token) = (claims(&user_token), claims(&app_token));
        assert_eq!(app_token["sub"], app_token["oid"], "an application is its own subject");
        assert_eq!((&user_token["scp"], &user_token["roles"]), (&json!("Invoices.Read"), &json!(["Invoices.Reader"])));
        assert_eq!(user_token["oid"], user("ada").to_string());
        if version == 1 {
            for (name, value) in [
                ("acr", json!("1")),
                ("amr", json!(["pwd"])),
                ("appid", json!(app("web").to_string())),
                ("appidacr", json!("1")),
                ("aud", json!(BILLING)),
                ("family_name", json!("Example")),
                ("given_name", json!("ada")),
                ("ipaddr", json!("203.0.113.7")),
                ("iss", json!(format!("{HOST}/{CONTOSO}/"))),
                ("name", json!("ADA")),
                ("unique_name", json!(upn("ada"))),
                ("upn", json!(upn("ada"))),
                ("ver", json!("1.0")),
            ] {
                assert_eq!(user_token[name], value, "{name}");
            }
        }
    }
}

#[tokio::test]
async fn answers_of_either_endpoint_have_the_members_that_are_listed_and_no_others() {
    let world = World::new().await;
    let assertion = world.orders_token().await;
    let v1 = ["access_token", "expires_in", "expires_on", "ext_expires_in", "not_before"];
    let v1 = [&v1[..], &["refresh_token", "resource", "scope", "token_type"]].concat();
    let v2 = vec!["access_token", "expires_in", "ext_expires_in", "scope", "token_type"];
    let sorted = |all: &[&'static str], more: &[&'static str]| {
        let mut all = [all, more].concat();
        all.sort_unstable();
        all
    };
    let invoices = "api://billing/Invoices.Read";
    // v1.0: an ID token if `openid` was asked for, and the refresh token in any case.
    for (scope, more) in [("openid", vec!["id_token"]), ("", vec![])] {
        let form = obo_v1("orders", &assertion, BILLING);
        let form = if scope.is_empty() { but(form, "scope", None) } else { form };
        let answer = token_v1(&world, form.clone()).await.ok();
        assert_eq!(members(&answer), sorted(&v1, &more));
        for name in ["expires_in", "expires_on", "ext_expires_in", "not_before"] {
            assert!(answer[name].as_str().unwrap().parse::<i64>().is_ok(), "{name} is a number in a text");
        }
        let token = claims(&text(&answer, "access_token"));
        let number = |name: &str| json!(text(&answer, name).parse::<i64>().unwrap());
        assert_eq!((number("expires_on"), number("not_before")), (token["exp"].clone(), token["nbf"].clone()));
        let told = token_v1(&world, with(form, &[("client_info", "1")])).await.ok();
        assert_eq!(members(&told), sorted(&v1, &[&more[..], &["client_info"]].concat()));
    }
    // v2.0: each if and only if it was asked for.
    for (extra, more) in [
        ("", vec![]),
        (" openid", vec!["id_token"]),
        (" offline_access", vec!["refresh_token"]),
        (" openid offline_access", vec!["id_token", "refresh_token"]),
    ] {
        let form = obo_form("orders", &assertion, &format!("{invoices}{extra}"));
        let answer = world.token(form.clone()).await.ok();
        assert_eq!(members(&answer), sorted(&v2, &more), "{extra}");
        assert!(answer["expires_in"].is_i64() && answer["ext_expires_in"].is_i64());
        assert!(text(&answer, "scope").split(' ').any(|scope| scope == invoices), "qualified with its resource");
        let told = world.token(with(form, &[("client_info", "1")])).await.ok();
        assert_eq!(members(&told), sorted(&v2, &[&more[..], &["client_info"]].concat()), "{extra}");
    }
}

#[tokio::test]
async fn metadata_of_either_version_has_the_members_that_are_listed() {
    let world = World::new().await;
    let v2 = world.get(&format!("/{CONTOSO}/v2.0/.well-known/openid-configuration")).await.ok();
    let v1 = world.get(&format!("/{CONTOSO}/.well-known/openid-configuration")).await.ok();
    let at = |path: &str| json!(format!("{HOST}/{CONTOSO}{path}"));
    for (name, of_v2, of_v1) in [
        ("issuer", at("/v2.0"), at("/")),
        ("authorization_endpoint", at("/oauth2/v2.0/authorize"), at("/oauth2/authorize")),
        ("token_endpoint", at("/oauth2/v2.0/token"), at("/oauth2/token")),
        ("device_authorization_endpoint", at("/oauth2/v2.0/devicecode"), at("/oauth2/devicecode")),
        ("end_session_endpoint", at("/oauth2/v2.0/logout"), at("/oauth2/logout")),
        ("userinfo_endpoint", at("/openid/userinfo"), at("/openid/userinfo")),
        ("jwks_uri", at("/discovery/v2.0/keys"), at("/discovery/keys")),
        ("scopes_supported", json!(["openid", "profile", "email", "offline_access"]), json!(["openid"])),
        ("microsoft_multi_refresh_token", Value::Null, json!(true)),
    ] {
        assert_eq!((&v2[name], &v1[name]), (&of_v2, &of_v1), "{name}");
    }
    for (name, value) in [
        ("response_modes_supported", json!(["query", "fragment", "form_post"])),
        // Never `token`: implicit answers leak.
        ("response_types_supported", json!(["code", "id_token"])),
        ("subject_types_supported", json!(["pairwise"])),
        ("id_token_signing_alg_values_supported", json!(["RS256"])),
        ("request_uri_parameter_supported", json!(false)),
        ("http_logout_supported", json!(true)),
        ("frontchannel_logout_supported", json!(true)),
        // What does not exist here is not advertised.
        ("kerberos_endpoint", Value::Null),
        ("check_session_iframe", Value::Null),
        ("cloud_instance_name", Value::Null),
        ("cloud_graph_host_name", Value::Null),
        ("msgraph_host", Value::Null),
        ("rbac_url", Value::Null),
    ] {
        assert_eq!((&v2[name], &v1[name]), (&value, &value), "{name}");
    }
    for document in [&v1, &v2] {
        let methods = document["token_endpoint_auth_methods_supported"].as_array().unwrap();
        for method in ["client_secret_post", "private_key_jwt", "client_secret_basic"] {
            assert!(methods.contains(&json!(method)), "{method}");
        }
    }
    // The claims that ID tokens of the version carry are those that it says.
    let claims_of = |document: &Value| document["claims_supported"].as_array().unwrap().clone();
    for added in ["amr", "given_name", "family_name", "unique_name", "upn"] {
        assert!(claims_of(&v1).contains(&json!(added)) && !claims_of(&v2).contains(&json!(added)), "{added}");
    }
    let code = code_of(&world, &mut Browser::default(), &authorize("web", &[("resource", BILLING)]), "ada").await;
    let identity = claims(&text(&token_v1(&world, redeem_form("web", &code)).await.ok(), "id_token"));
    for name in members(&identity) {
        assert!(claims_of(&v1).contains(&json!(name)) || name == "uti", "{name} is not said");
    }
    // The device endpoint that is advertised speaks v1.0's words.
    let form = format!("client_id={}&resource=api://orders", app("native"));
    world.edit_app("native", |it| it.is_fallback_public_client = true).await;
    let path = text(&v1, "device_authorization_endpoint").replace(HOST, "");
    let begun = world.post(&path, &[], form).await.ok();
    let expected = ["device_code", "expires_in", "interval", "message", "user_code", "verification_url"];
    assert_eq!(members(&begun), expected);
    assert_eq!((&begun["expires_in"], &begun["interval"]), (&json!("900"), &json!("5")));
}
