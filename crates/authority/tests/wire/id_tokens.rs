//! ID tokens without a code: for applications that are registered for it, in a posted form, and nothing else.
use crate::world::browser::{Browser, request};
use crate::world::estate::{CONTOSO, app, redirect, user};
use crate::world::{Answer, HOST, Params, World, but, claims, encode, header, text};
use deputize_core::model::WebApplication;

async fn world() -> World {
    World::with(|plan| {
        for name in ["web", "spa"] {
            let web: &mut WebApplication = &mut plan.app(name).web;
            web.implicit_grant_settings.enable_id_token_issuance = true;
        }
    })
    .await
}

fn asking(client: &str) -> Params<'static> {
    let params = but(request(client, "openid profile email"), "response_type", Some("id_token"));
    but(but(but(params, "response_mode", Some("form_post")), "code_challenge", None), "code_challenge_method", None)
}

fn refused(answer: &Answer) -> (String, String) {
    let (_, answer) = answer.redirected();
    assert!(answer.value("id_token").is_none() && answer.value("code").is_none() && answer.value("iss").is_some());
    let value = |name| answer.value(name).unwrap_or_default().to_owned();
    (value("error"), value("error_description").chars().take_while(|c| *c != ':').collect())
}

#[tokio::test]
async fn who_is_registered_for_it_gets_an_id_token_in_a_posted_form() {
    let world = world().await;
    let mut ada = Browser::default();
    let page = ada.authorize(&world, &asking("web")).await;
    let answer = ada.sign_in(&world, page, "ada").await;
    assert!(answer.page(), "{}", answer.text());
    let form = answer.form();
    assert_eq!(form.action, redirect("web"));
    let names: Vec<&str> = form.hidden.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["id_token", "session_state", "state", "iss"], "no code, and no access token");
    let token = form.hidden("id_token");
    let told = claims(token);
    assert_eq!(header(token)["typ"], "JWT");
    assert_eq!(told["aud"], app("web").to_string());
    assert_eq!(told["iss"], format!("{HOST}/{CONTOSO}/v2.0"));
    assert_eq!((told["nonce"].as_str(), form.hidden("state")), (Some("the nonce"), "the state"));
    assert_eq!(
        (told["oid"].as_str(), told["email"].as_str()),
        (Some(&*user("ada").to_string()), Some("ada@mail.example"))
    );
    assert!(told["idtyp"].is_null() && told["azp"].is_null() && told["scp"].is_null(), "no API takes it: {told}");
    assert_eq!(told["sid"], form.hidden("session_state"));
    // The same as a code's, and recorded like every token.
    let code = ada.code(&world, "web", "ada", "openid profile email").await;
    let of_code = claims(&text(&world.redeem("web", &code).await.ok(), "id_token"));
    let members = |claims: &serde_json::Value| claims.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!((members(&told), &told["sub"]), (members(&of_code), &of_code["sub"]));
    // As a hint it proves whose session it is, and it is no assertion.
    let obo = world.obo("web", token, "api://orders/access_as_user").await;
    assert_eq!(obo.refused().1, "invalid_grant");
    let path = format!("/{CONTOSO}/oauth2/v2.0/logout?{}", encode(&vec![("id_token_hint", token.to_owned())]));
    assert!(ada.get(&world, &path).await.text().contains("You are signed out"));
    // In the words of the v1.0 endpoint.
    let v1 = format!("/{CONTOSO}/oauth2/authorize?{}", encode(&but(asking("web"), "scope", None)));
    let page = ada.get(&world, &v1).await;
    let told = claims(ada.sign_in(&world, page, "ada").await.form().hidden("id_token"));
    assert_eq!((told["ver"].as_str(), told["upn"].as_str()), (Some("1.0"), Some("ada@contoso.example")));
}

#[tokio::test]
async fn whoever_got_an_id_token_at_once_is_told_when_the_session_ends() {
    let world = World::with(|plan| {
        let web: &mut WebApplication = &mut plan.app("web").web;
        web.implicit_grant_settings.enable_id_token_issuance = true;
        web.logout_url = Some("https://app.example/told".to_owned());
    })
    .await;
    let mut ada = Browser::default();
    let page = ada.authorize(&world, &asking("web")).await;
    let token = ada.sign_in(&world, page, "ada").await.form().hidden("id_token").to_owned();
    let path = format!("/{CONTOSO}/oauth2/v2.0/logout?{}", encode(&vec![("id_token_hint", token.clone())]));
    let told = ada.get(&world, &path).await.text();
    let sid = claims(&token)["sid"].as_str().unwrap().to_owned();
    assert!(told.contains("<iframe src=\"https://app.example/told?") && told.contains(&format!("sid={sid}")), "{told}");
}

#[tokio::test]
async fn a_21_nothing_else_comes_from_the_authorization_endpoint() {
    let world = world().await;
    let mut ada = Browser::default();
    ada.code(&world, "web", "ada", "api://orders/access_as_user").await;
    let answers = async |params: Params<'static>| {
        let answer = ada.clone().authorize(&world, &params).await;
        if answer.page() {
            let form = answer.form();
            assert!(!form.hidden.iter().any(|(name, _)| name == "access_token" || name == "id_token"));
            return (form.hidden("error").to_owned(), "posted".to_owned());
        }
        refused(&answer)
    };
    let unsupported = |code: &str| ("unsupported_response_type".to_owned(), code.to_owned());
    for kind in [
        "token",
        "code token",
        "id_token token",
        "code id_token",
        "code id_token token",
        "none",
        "ID_TOKEN",
        "id_token ",
    ] {
        for mode in ["query", "fragment", "form_post"] {
            let params = but(but(asking("web"), "response_type", Some(kind)), "response_mode", Some(mode));
            let expected = unsupported(if mode == "form_post" { "posted" } else { "AADSTS700054" });
            assert_eq!(answers(params).await, expected, "{kind} {mode}");
        }
    }
    // In the fragment it would stand in the browser's history; without a mode it would be there too.
    for mode in [Some("fragment"), Some("query"), None] {
        let answer = ada.clone().authorize(&world, &but(asking("web"), "response_mode", mode)).await;
        assert_eq!(refused(&answer), ("invalid_request".to_owned(), "AADSTS90023".to_owned()), "{mode:?}");
        assert_eq!(answer.header("location").contains('#'), mode != Some("query"), "where a client looks for it");
    }
    // Without a nonce a stolen token would fit every browser (OpenID Connect Core section 3.2.2.1).
    for nonce in [None, Some("")] {
        assert_eq!(answers(but(asking("web"), "nonce", nonce)).await.0, "invalid_request");
    }
    assert_eq!(answers(but(asking("web"), "scope", Some("api://orders/access_as_user"))).await.0, "invalid_scope");
    // Who is not registered for it, and pages of a single-page application though it is.
    for client in ["rival", "strict", "spa"] {
        assert_eq!(answers(asking(client)).await.0, "unsupported_response_type", "{client}");
    }
    // The same rules as for a code: consent, and silence.
    let stranger = Browser::default().authorize(&world, &but(asking("web"), "prompt", Some("none"))).await;
    assert_eq!(stranger.form().hidden("error"), "login_required");
    let unagreed =
        but(but(asking("web"), "scope", Some("openid api://billing/Invoices.Approve")), "prompt", Some("none"));
    assert_eq!(answers(unagreed).await.0, "consent_required");
}
