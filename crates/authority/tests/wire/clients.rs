//! Client authentication by secret: one mechanism, in the body or in Basic, within its dates.
use super::assertions::good;
use crate::world::estate::{CONTOSO, FABRIKAM, app, secret, secret_id};
use crate::world::keys::ORDERS;
use crate::world::{
    ASSERTION_TYPE, Answer, NOON, Params, World, but, claims, client_credentials, credential, encode, text, token_path,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

pub(super) fn app_only() -> Params<'static> {
    client_credentials("orders", "api://billing/.default")
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

pub(super) fn refused(answer: &Answer, status: u16, error: &str, case: &str) {
    let (found, named, ..) = answer.refused();
    assert_eq!((found, named.as_str()), (status, error), "{case}: {}", answer.text());
    assert!(answer.json()["access_token"].is_null());
}

#[tokio::test]
async fn secrets_work_in_the_body_and_in_basic() {
    let world = World::new().await;
    let path = token_path(&CONTOSO.to_string());
    world.token(app_only()).await.ok();
    let bare = but(but(app_only(), "client_secret", None), "client_id", None);
    let id = app("orders").to_string();
    for header in
        [basic(&id, &secret("orders")), basic(&id, &secret("orders").replace('-', "%2D")).replace("Basic", "bAsIc")]
    {
        let token = world.post(&path, &[("authorization", &header)], encode(&bare)).await.ok();
        let claims = claims(&text(&token, "access_token"));
        assert_eq!(
            (&claims["idtyp"], &claims["azpacr"], &claims["roles"]),
            (&json!("app"), &json!("1"), &json!(["Invoices.Export"]))
        );
        assert!(claims["scp"].is_null());
    }
}

#[tokio::test]
async fn a_14_one_mechanism_of_the_client_itself_and_no_other() {
    let world = World::new().await;
    let path = token_path(&CONTOSO.to_string());
    let (id, right) = (app("orders").to_string(), secret("orders"));
    let assertion =
        || [("client_assertion_type", ASSERTION_TYPE.to_owned()), ("client_assertion", good().sign(&ORDERS))];
    let with = |more: &[(&'static str, String)]| [app_only(), more.to_vec()].concat();
    refused(&world.token(with(&assertion())).await, 400, "invalid_request", "secret and assertion");
    let empty = [("client_assertion", String::new())];
    refused(&world.token(with(&empty)).await, 400, "invalid_request", "secret and an empty assertion");
    let header = basic(&id, &right);
    let twice = world.post(&path, &[("authorization", &header)], encode(&app_only())).await;
    refused(&twice, 400, "invalid_request", "Basic and body");
    let bare = but(but(app_only(), "client_secret", None), "client_id", None);
    for name in ["client_secret", "client_assertion"] {
        let both = encode(&[bare.clone(), vec![(name, "x".to_owned())]].concat());
        refused(&world.post(&path, &[("authorization", &header)], both).await, 400, "invalid_request", name);
    }
    let other = encode(&but(bare.clone(), "client_id", Some(&app("web").to_string())));
    refused(
        &world.post(&path, &[("authorization", &header)], other).await,
        400,
        "invalid_request",
        "another client_id",
    );
    for (user, password) in [
        (id.as_str(), ""),
        (&id, "wrong"),
        (&id, &right[..right.len() - 1]),
        (&id, &format!("{right}x")),
        (&id, &format!(" {right}")),
        (&id, &secret("web")),
        (&id, &secret_id("orders").to_string()),
    ] {
        let answer = world.post(&path, &[("authorization", &basic(user, password))], encode(&bare)).await;
        refused(&answer, 401, "invalid_client", password);
        assert_eq!(answer.header("www-authenticate"), "Basic realm=\"token\"");
        assert!(answer.check() == "client.secret_correct" || password.is_empty());
    }
    let key_id = world.token(but(app_only(), "client_secret", Some(&secret_id("orders").to_string()))).await;
    assert!(key_id.text().contains("secret's id"), "{}", key_id.text());
    for header in [
        "Basic",
        "Basic ",
        "Basic !!!",
        "Basic Og==",
        "Basic eA==",
        "Bearer x",
        "Negotiate x",
        "basic\u{a0}x",
        "Basic /w==",
    ] {
        let answer = world.post(&path, &[("authorization", header)], encode(&bare)).await;
        assert!(matches!(answer.status.as_u16(), 400 | 401), "{header}: {}", answer.text());
        assert!(answer.refused().1 != "temporarily_unavailable");
    }
    refused(&world.token(but(app_only(), "client_secret", None)).await, 401, "invalid_client", "nothing");
    refused(&world.token(but(app_only(), "client_secret", Some(""))).await, 401, "invalid_client", "an empty secret");
    for name in ["native", "spa", "gadget"] {
        let mut form = client_credentials(name, "api://billing/.default");
        refused(&world.token(form.clone()).await, 401, "invalid_client", "a public client");
        form.push(("client_secret", "x".to_owned()));
        refused(&world.token(form).await, 401, "invalid_client", "a public client with a secret");
    }
    let of_web = [credential("web"), assertion().to_vec()].concat();
    let of_web = but(but(of_web, "client_secret", None), "grant_type", Some("client_credentials"));
    refused(
        &world.token(but(of_web, "scope", Some("api://billing/.default"))).await,
        401,
        "invalid_client",
        "no certificate",
    );
    let elsewhere = world.token_at(&FABRIKAM.to_string(), client_credentials("daemon", "api://billing/.default")).await;
    refused(&elsewhere, 400, "unauthorized_client", "another tenant");
    for alias in ["common", "organizations", "consumers", "nowhere"] {
        refused(&world.token_at(alias, app_only()).await, 400, "invalid_request", alias);
    }
}

#[tokio::test]
async fn a_14_secrets_in_the_url_are_refused_whatever_the_body_says() {
    let world = World::new().await;
    let path = token_path(&CONTOSO.to_string());
    for name in [
        "client_secret",
        "client_assertion",
        "assertion",
        "code",
        "code_verifier",
        "refresh_token",
        "password",
        "grant_type",
    ] {
        for query in [format!("{name}=x"), format!("a=1&{name}=&b=2"), name.replace('s', "%73") + "=canary-x"] {
            let answer = world.post(&format!("{path}?{query}"), &[], encode(&app_only())).await;
            refused(&answer, 400, "invalid_request", &query);
        }
    }
    let moved = world.post(&format!("{path}?{}", encode(&app_only())), &[], "").await;
    refused(&moved, 400, "invalid_request", "everything in the URL");
    world.post(&format!("{path}?client-request-id=abc&x-client-sku=msal.js.node"), &[], encode(&app_only())).await.ok();
}

#[tokio::test]
async fn secrets_have_their_dates() {
    let world = World::with(|plan| {
        let credentials = &mut plan.app("orders").password_credentials;
        credentials[0].start_date_time = NOON;
        credentials[0].end_date_time = NOON.plus(100);
    })
    .await;
    world.token(app_only()).await.ok();
    world.clock.advance(-1);
    assert_eq!(world.token(app_only()).await.check(), "client.secret_current");
    world.clock.advance(101);
    assert_eq!(
        world.token(app_only()).await.refused(),
        (401, "invalid_client".into(), 7_000_222, "client.secret_current".into())
    );
    world.edit_app("orders", |app| app.password_credentials.clear()).await;
    refused(&world.token(app_only()).await, 401, "invalid_client", "a secret that was removed");
}
