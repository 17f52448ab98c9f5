//! What becomes of what providers answer: the second table of 2.6, row by row.
use crate::support::{Answered, Encoding, World, claims};
use serde_json::{Value, json};
use testkit::Next;

/// One question, after the provider was told what to do next.
async fn asked(world: &World, next: &[Next]) -> Answered {
    for next in next {
        world.issuer("entra_id").next(next.clone());
    }
    world.token("entra_id", "default", Encoding::Json).await
}

fn calls(world: &World) -> usize {
    world.issuer("entra_id").asked().len()
}

fn twice(next: Next) -> [Next; 2] {
    [next.clone(), next]
}

#[tokio::test]
async fn a_json_error_is_passed_on_with_all_its_members_after_one_call() {
    let said = r#"{"error":"interaction_required","error_description":"AADSTS50076: more","error_codes":[50076],"timestamp":"t","trace_id":"a","correlation_id":"b","error_uri":"https://e","suberror":"basic_action","claims":"{\"access_token\":{\"polids\":{\"essential\":true,\"values\":[\"1\"]}}}","other":{"a":1}}"#;
    for status in [400, 401, 403] {
        let world = World::new().await;
        let answer = asked(&world, &[Next::answer(status, said)]).await;
        assert_eq!((answer.status, calls(&world)), (status, 1));
        let first = r#"{"error":"interaction_required","error_description":"AADSTS50076: more","#;
        assert!(answer.text.starts_with(first), "{answer:?}");
        assert_eq!(answer.json(), serde_json::from_str::<Value>(said).unwrap());
        assert!(answer.json()["claims"].is_string(), "a text, as it came");
    }
}

#[tokio::test]
async fn an_unknown_code_is_passed_on_verbatim_and_a_missing_description_is_empty() {
    let world = World::new().await;
    let answer = asked(&world, &[Next::answer(400, r#"{"error":"so_odd"}"#)]).await;
    assert_eq!((answer.status, answer.text.as_str()), (400, r#"{"error":"so_odd","error_description":""}"#));
}

#[tokio::test]
async fn what_another_try_may_mend_is_tried_once_more_and_then_passed_on() {
    for status in [429, 500, 503] {
        let world = World::new().await;
        let next = Next::answer(status, r#"{"error":"temporarily_unavailable","error_description":"later"}"#);
        let answer = asked(&world, &twice(next.clone())).await;
        assert_eq!(answer.error(), (status, "temporarily_unavailable".into(), "later".into()));
        let asked_for = world.issuer("entra_id").asked();
        let jti = |n: usize| claims(asked_for[n].field("client_assertion").unwrap())["jti"].clone();
        assert_eq!(asked_for.len(), 2);
        assert_ne!(jti(0), jti(1), "every try has an assertion of its own");
        let mended = World::new().await;
        assert_eq!(asked(&mended, &[next]).await.status, 200, "{status}");
    }
}

#[tokio::test]
async fn retry_after_is_passed_on_and_not_waited_for_beyond_the_deadline() {
    let world = World::new().await;
    let body = r#"{"error":"slow_down","error_description":"later"}"#.to_owned();
    let next = Next::Answer { status: 429, headers: vec![("retry-after", "60".into())], body };
    let answer = asked(&world, &[next]).await;
    assert_eq!((answer.status, calls(&world)), (429, 1));
    assert_eq!(answer.headers["retry-after"], "60");
}

#[tokio::test]
async fn an_error_that_cannot_be_read_keeps_its_status() {
    let told = "identity provider returned an invalid error response";
    let html = |status| Next::answer(status, "<html>no</html>");
    let world = World::new().await;
    let answer = asked(&world, &[html(400)]).await;
    assert_eq!((answer.error(), calls(&world)), ((400, "server_error".into(), told.into()), 1));
    let world = World::new().await;
    let answer = asked(&world, &twice(html(502))).await;
    assert_eq!((answer.error(), calls(&world)), ((502, "server_error".into(), told.into()), 2));
}

#[tokio::test]
async fn no_redirect_is_followed() {
    let world = World::new().await;
    let elsewhere = vec![("location", world.issuer("tokenx").token_url())];
    let next = Next::Answer { status: 302, headers: elsewhere, body: String::new() };
    let answer = asked(&world, &twice(next)).await;
    assert_eq!((answer.status, answer.error().1.as_str()), (500, "server_error"));
    assert!(world.issuer("tokenx").asked().is_empty());
}

/// A success, with these members over the usual ones; `null` takes one away.
fn success(with: Value) -> Next {
    let mut body = json!({ "access_token": "opaque", "token_type": "Bearer", "expires_in": 3600 });
    for (name, value) in with.as_object().unwrap() {
        body[name] = value.clone();
    }
    body.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    Next::answer(200, body.to_string())
}

#[tokio::test]
async fn successes_are_read_with_tolerance() {
    for (next, left) in [
        (success(json!({ "expires_in": "3600" })), 3599),
        (success(json!({ "token_type": "bearer" })), 3599),
        (success(json!({ "expires_in": 0 })), 0),
        (success(json!({ "id_token": "x.y.z", "refresh_token": "r", "extra": [1] })), 3599),
    ] {
        let world = World::new().await;
        let answer = asked(&world, &[next]).await;
        let expected = format!(r#"{{"access_token":"opaque","token_type":"Bearer","expires_in":{left}}}"#);
        assert_eq!((answer.status, answer.text), (200, expected));
    }
    let world = World::new().await;
    asked(&world, &[success(json!({ "expires_in": 0 }))]).await.token();
    assert_ne!(world.token("entra_id", "default", Encoding::Json).await.token(), "opaque", "it was not kept");
}

#[tokio::test]
async fn a_success_without_lifetime_has_the_tokens_own_or_a_minute_and_is_then_not_kept() {
    let world = World::new().await;
    let jwt = world.issuer("entra_id").token(&json!({ "exp": world.now() + 1000 }));
    let answer = asked(&world, &[success(json!({ "expires_in": null, "access_token": jwt }))]).await;
    assert_eq!(answer.json()["expires_in"], 999);
    let world = World::new().await;
    let answer = asked(&world, &[success(json!({ "expires_in": null }))]).await;
    assert_eq!((answer.status, &answer.json()["expires_in"]), (200, &json!(59)));
    assert_ne!(world.token("entra_id", "default", Encoding::Json).await.token(), "opaque");
    // 2.10: an overflow is no lifetime.
    for overflow in [json!(5_000_000_000_i64), json!(i64::MAX), json!("99999999999999999999"), json!(1e300)] {
        let world = World::new().await;
        let answer = asked(&world, &[success(json!({ "expires_in": overflow }))]).await;
        assert_eq!((answer.status, &answer.json()["expires_in"]), (200, &json!(59)), "{overflow}");
        assert_ne!(world.token("entra_id", "default", Encoding::Json).await.token(), "opaque", "{overflow}");
    }
}

/// 2.5: never a refresh or ID token, nor any that a refusal contradicts itself with.
#[tokio::test]
async fn a_refusal_with_tokens_in_it_is_passed_on_without_them() {
    let said = json!({
        "error": "invalid_grant", "access_token": "canary", "refresh_token": "canary", "id_token": "canary", "other": 1,
    });
    let world = World::new().await;
    let answer = asked(&world, &[Next::answer(400, said.to_string())]).await;
    assert_eq!(answer.text, r#"{"error":"invalid_grant","error_description":"","other":1}"#);
}

#[tokio::test]
async fn a_success_that_is_none_fails_without_another_try() {
    for body in [
        "<html>",
        "",
        "{",
        "[]",
        r#"{"access_token":5}"#,
        r#"{"token_type":"Bearer"}"#,
        r#"{"access_token":"","token_type":"Bearer","expires_in":1}"#,
        r#"{"access_token":"a","token_type":"DPoP","expires_in":1}"#,
        // No header carries these, and the first would make one of its own.
        r#"{"access_token":"a\r\nX-One: 1","token_type":"Bearer","expires_in":1}"#,
        r#"{"access_token":"a b","token_type":"Bearer","expires_in":1}"#,
        r#"{"access_token":"a\u0000","token_type":"Bearer","expires_in":1}"#,
        r#"{"access_token":"t\u00f8ken","token_type":"Bearer","expires_in":1}"#,
    ] {
        let world = World::new().await;
        let answer = asked(&world, &[Next::answer(200, body)]).await;
        assert_eq!((answer.status, answer.error().1.as_str(), calls(&world)), (500, "server_error", 1), "{body}");
    }
}

#[tokio::test]
async fn a_closed_socket_is_tried_once_more_and_told_in_a_phrase() {
    let world = World::new().await;
    let answer = asked(&world, &twice(Next::Close)).await;
    let (status, error, text) = answer.error();
    assert_eq!((status, error.as_str(), calls(&world)), (500, "server_error", 2));
    assert!(text.starts_with("Identity provider request failed: "), "{text}");
    assert!(!text.contains("http") && text.len() < 80, "{text}");
    assert!(answer.headers.contains_key("retry-after"));
}

#[tokio::test]
async fn a_provider_that_hangs_is_given_up_within_the_deadline() {
    let quick = |issuers: &crate::support::Issuers| {
        let mut variables = crate::support::explicit(issuers);
        variables.insert("TEXAS_HTTP_READ_TIMEOUT_MILLIS".into(), "100".into());
        variables.insert("TEXAS_HTTP_OVERALL_TIMEOUT_MILLIS".into(), "400".into());
        variables
    };
    let world = World::with(&["entra_id"], quick, None).await;
    let answer = asked(&world, &twice(Next::Hang)).await;
    let told = "Identity provider request failed: no answer in time";
    assert_eq!(answer.error(), (500, "server_error".into(), told.into()));
    assert!(answer.headers.contains_key("retry-after"));
}

#[tokio::test]
async fn a_huge_answer_is_refused() {
    let world = World::new().await;
    let huge = format!(r#"{{"access_token":"{}","token_type":"Bearer","expires_in":1}}"#, "a".repeat(2 << 20));
    let answer = asked(&world, &twice(Next::answer(200, huge))).await;
    assert_eq!((answer.status, answer.error().1.as_str()), (500, "server_error"));
}

#[tokio::test]
async fn what_fails_for_one_target_fails_for_no_other() {
    let world = World::new().await;
    let refusal = r#"{"error":"invalid_scope","error_description":"no such scope"}"#;
    world.issuer("entra_id").next(Next::answer(400, refusal));
    assert_eq!(world.token("entra_id", "wrong", Encoding::Json).await.status, 400);
    assert_eq!(world.token("entra_id", "right", Encoding::Json).await.status, 200);
}
