//! The guard's surface: headers in, challenges and problems out.
use crate::common::{World, claims_with, contract, contract_with, sign};
use axum::Router;
use axum::body::Body;
use axum::response::IntoResponse;
use axum::routing::get;
use deputize_guard::{Principal, Refused};
use http::{HeaderMap, Request, header};
use http_body_util::BodyExt;
use jose::{Algorithm, SigningKey};
use oauth::challenge::Challenge;
use serde_json::{Value, json};
use tower::ServiceExt;

async fn whoami(caller: Principal) -> String {
    caller.oid().unwrap_or_default().to_owned()
}

fn api(world: &World) -> Router {
    Router::new().route("/invoices", get(whoami)).route("/hidden", get(whoami)).layer(world.guard.layer())
}

async fn send(world: &World, request: Request<Body>) -> (u16, HeaderMap, String) {
    let (parts, body) = api(world).oneshot(request).await.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (parts.status.as_u16(), parts.headers, String::from_utf8(body.to_vec()).unwrap())
}

async fn get_with(world: &World, path: &str, authorization: &[&str]) -> (u16, HeaderMap, String) {
    let request = authorization.iter().fold(Request::get(path), |r, value| r.header(header::AUTHORIZATION, *value));
    send(world, request.body(Body::empty()).unwrap()).await
}

fn challenges(headers: &HeaderMap) -> Vec<Challenge> {
    let values = headers.get_all(header::WWW_AUTHENTICATE).iter();
    values.flat_map(|value| Challenge::parse(value.to_str().unwrap()).unwrap()).collect()
}

#[tokio::test]
async fn a_good_token_reaches_the_handler_and_others_do_not() {
    let world = World::new();
    let token = world.token(json!({}));
    let (status, _, body) = get_with(&world, "/invoices", &[&format!("Bearer {token}")]).await;
    assert_eq!((status, body.as_str()), (200, "aaaaaaaa-0000-4000-8000-00000000000a"));
    assert_eq!(get_with(&world, "/invoices", &[&format!("bEARER {token}")]).await.0, 200);
    assert_eq!(
        get_with(&world, "/hidden", &[&format!("Bearer {token}")]).await.0,
        403,
        "a route that the contract does not have"
    );
    let (status, headers, _) = get_with(&world, "/invoices", &[]).await;
    assert_eq!(status, 401);
    assert_eq!(challenges(&headers)[0].param("error"), None, "RFC 6750 section 3.1: no credential, no error");
}

#[tokio::test]
async fn g_06_a_token_stands_in_one_header_and_in_one_form() {
    let world = World::new();
    let token = world.token(json!({}));
    let good = format!("Bearer {token}");
    assert_eq!(get_with(&world, "/invoices", &[&good, &good]).await.0, 401);
    assert_eq!(get_with(&world, "/invoices", &[&good, "Basic YTpi"]).await.0, 401);
    let odd = [
        format!("Bearer  {token}"),
        format!("Bearer\t{token}"),
        format!("Bearer {token} "),
        format!(" Bearer {token}"),
        format!("Bearer {token},"),
        format!("Bearer {token}, Bearer {token}"),
        format!("Bearer{token}"),
        format!("Bearer \"{token}\""),
        format!("DPoP {token}"),
        token.clone(),
        "Bearer".into(),
        "Bearer ".into(),
        String::new(),
        format!("Bearer {token}é"),
    ];
    for authorization in odd {
        assert_eq!(get_with(&world, "/invoices", &[&authorization]).await.0, 401, "{authorization}");
    }
    for query in [format!("/invoices?access_token={token}"), "/invoices?a=1&access_token".into()] {
        assert_eq!(get_with(&world, &query, &[&good]).await.0, 401);
    }
    assert_eq!(get_with(&world, "/invoices?a=1", &[&good]).await.0, 200);
    for path in [
        "/./invoices",
        "//invoices",
        "/x/../invoices",
        "/x/%2e%2e/invoices",
        "/invoices/",
        "/invoices;a",
        "/%69nvoices",
        "/INVOICES",
    ] {
        assert_ne!(get_with(&world, path, &[&good]).await.0, 200, "{path}");
    }
}

#[test]
fn a_refusal_tells_whose_token_it_is_where_its_issuer_vouches_for_it() {
    let world = World::new();
    let bearer = format!("Bearer {}", world.token(json!({"scp": "openid"})));
    let refused = |bearer: &str| world.guard.try_check(Some(bearer), "GET", "/invoices").unwrap().unwrap_err();
    let oid = "aaaaaaaa-0000-4000-8000-00000000000a";
    assert_eq!(refused(&bearer).token_claims().unwrap().object_id(), Some(oid));
    assert!(refused(&format!("{bearer}x")).token_claims().is_none());
}

#[tokio::test]
async fn a_refusal_is_a_problem_with_its_mend() {
    let world = World::new();
    let (status, headers, body) =
        get_with(&world, "/invoices", &[&format!("Bearer {}", world.token(json!({"scp": "openid"})))]).await;
    assert_eq!(status, 403);
    assert_eq!(
        (headers[header::CONTENT_TYPE].to_str().unwrap(), headers[header::CACHE_CONTROL].to_str().unwrap()),
        ("application/problem+json", "no-store")
    );
    let problem: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(
        (&problem["code"], &problem["status"], &problem["decision_id"]),
        (&json!("scope.sufficient"), &json!(403), &json!("d-1"))
    );
    assert_eq!(
        problem["checks"],
        json!([{
            "id": "scope.sufficient", "outcome": "fail", "expected": "one of Invoices.Read Invoices.ReadWrite", "actual": "openid", "fixer": "caller",
            "fix": "ask for a token with scope `api://billing/Invoices.Read`; from another API exchange it on behalf of the user"
        }])
    );
    let challenge = &challenges(&headers)[0];
    assert_eq!(challenge.param("error"), Some("insufficient_scope"));
    assert_eq!(challenge.param("scope"), Some("api://billing/Invoices.Read api://billing/Invoices.ReadWrite"));
    assert_eq!(
        challenge.param("authorization_uri"),
        Some("https://login.example/11111111-1111-4111-8111-111111111111/oauth2/v2.0/authorize")
    );
}

#[tokio::test]
async fn what_was_expected_is_told_to_those_only_whose_token_is_genuine() {
    let world = World::new();
    let forged = sign(
        &SigningKey::generate(Algorithm::ES256).unwrap().named(world.key.kid()),
        &claims_with(json!({"aud": "x"})),
    );
    let (status, _, body) = get_with(&world, "/invoices", &[&format!("Bearer {forged}")]).await;
    assert_eq!(status, 401);
    assert!(
        body.contains("token.signature")
            && !body.contains("expected")
            && !body.contains("api://billing")
            && !body.contains("token.audience"),
        "{body}"
    );

    let genuine = world.token(json!({"aud": "x"}));
    let (_, _, body) = get_with(&world, "/invoices", &[&format!("Bearer {genuine}")]).await;
    assert!(body.contains("token.audience") && body.contains("api://billing"), "{body}");

    let dev = World::with(contract_with("disclosure", json!("dev")));
    let (_, _, body) = get_with(&dev, "/invoices", &[&format!("Bearer {forged}")]).await;
    assert!(body.contains("token.audience") && body.contains("api://billing"), "{body}");

    let public = World::with(contract_with("disclosure", json!("public")));
    let (status, headers, body) =
        get_with(&public, "/invoices", &[&format!("Bearer {}", public.token(json!({"aud": "x"})))]).await;
    let problem: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(
        problem,
        json!({"type": "about:blank", "title": "the request was refused", "status": 401, "code": "invalid_token", "decision_id": "d-1"})
    );
    assert_eq!((status, challenges(&headers)[0].param("error_description")), (401, None));
}

#[test]
fn a_step_up_is_asked_for_in_both_dialects() {
    let world = World::new();
    let token = world.token(json!({"scp": "Invoices.Approve"}));
    let refused =
        world.guard.try_check(Some(&format!("Bearer {token}")), "POST", "/invoices/7/approve").unwrap().unwrap_err();
    let response = refused.into_response();
    assert_eq!(response.status(), 401);
    let [microsoft, rfc] = challenges(response.headers()).try_into().unwrap();
    assert_eq!(microsoft.param("error"), Some("insufficient_claims"));
    assert_eq!(microsoft.claims().as_deref(), Some(r#"{"access_token":{"acrs":{"essential":true,"value":"c1"}}}"#));
    assert!(microsoft.param("authorization_uri").is_some() && microsoft.param("realm") == Some(""));
    assert_eq!((rfc.param("error"), rfc.param("acr_values")), (Some("insufficient_user_authentication"), Some("c1")));
    let strong = world.token(json!({"scp": "Invoices.Approve", "acrs": ["c1"]}));
    assert!(world.guard.try_check(Some(&format!("Bearer {strong}")), "POST", "/invoices/7/approve").unwrap().is_ok());
}

#[test]
fn a_claims_challenge_from_downstream_is_passed_on() {
    let world = World::new();
    let policy = r#"{"access_token":{"polids":{"essential":true,"values":["p"]}}}"#;
    let response = world.guard.challenge(policy).with_decision_id("trace").into_response();
    assert_eq!(response.status(), 401);
    let [microsoft, rfc] = challenges(response.headers()).try_into().unwrap();
    assert_eq!((microsoft.claims().as_deref(), microsoft.param("error")), (Some(policy), Some("insufficient_claims")));
    assert_eq!(rfc.param("error"), Some("insufficient_user_authentication"));
    let garbage = Refused::from_claims_challenge("\"\r\nSet-Cookie: a=b").into_response();
    assert_eq!((garbage.status().as_u16(), challenges(garbage.headers())[0].param("claims")), (401, None));
}

#[tokio::test]
async fn a_handler_without_a_guard_before_it_refuses() {
    let open = Router::<()>::new().route("/invoices", get(whoami));
    let answer = open.oneshot(Request::get("/invoices").body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(answer.status(), 403);
}

#[test]
fn the_cache_of_verified_tokens_keeps_its_bytes() {
    let world = World::new();
    let key = SigningKey::generate(Algorithm::EdDSA).unwrap();
    let keys = jose::KeySet::from_keys(vec![key.verifying_key()]);
    let guard = deputize_guard::Guard::builder(contract(), std::sync::Arc::new(world.clock.clone()));
    let guard = guard.keys(crate::common::ISS, keys).cache_bytes(200_000).build().unwrap();
    for n in 0..2_000 {
        let token = sign(&key, &claims_with(json!({"jti": format!("jti-{n}"), "oid": format!("user-{n}")})));
        for _ in 0..2 {
            let caller = guard.try_check(Some(&format!("Bearer {token}")), "GET", "/invoices").unwrap().unwrap();
            assert_eq!(caller.oid(), Some(format!("user-{n}").as_str()), "no answer crosses");
        }
    }
    assert!((50_000..=200_000).contains(&guard.cached_bytes()), "{}", guard.cached_bytes());
}

/// A guard with room for so much, and tokens of one length.
fn remembering(bytes: u64) -> (deputize_guard::Guard, impl Fn(usize) -> String) {
    let world = World::new();
    let key = SigningKey::generate(Algorithm::EdDSA).unwrap();
    let keys = jose::KeySet::from_keys(vec![key.verifying_key()]);
    let guard = deputize_guard::Guard::builder(contract(), std::sync::Arc::new(world.clock.clone()));
    let guard = guard.keys(crate::common::ISS, keys).cache_bytes(bytes).build().unwrap();
    (guard, move |n| format!("Bearer {}", sign(&key, &claims_with(json!({"jti": format!("jti-{n:05}")})))))
}

#[test]
fn a_token_is_kept_when_it_comes_for_the_second_time_so_that_those_that_come_once_push_out_none() {
    let (guard, token) = remembering(200_000);
    let kept_after = |token: &str| {
        assert!(guard.try_check(Some(token), "GET", "/invoices").unwrap().is_ok());
        guard.cached_bytes()
    };
    let regular = token(0);
    let kept = [(); 3].map(|()| kept_after(&regular));
    assert!(kept[0] == 0 && kept[1] > 0 && kept[2] == kept[1], "{kept:?}");
    for n in 1..2_000 {
        assert_eq!(kept_after(&token(n)), kept[1], "those that come once");
    }
}

#[test]
fn no_token_that_comes_again_is_forgotten_over_another() {
    let (guard, token) = remembering(16 << 20);
    let check = |token: &String| assert!(guard.try_check(Some(token), "GET", "/invoices").unwrap().is_ok());
    let tokens: Vec<String> = (0..400).map(token).collect();
    tokens.iter().for_each(check);
    assert_eq!(guard.cached_bytes(), 0);
    check(&tokens[0]);
    let of_one = guard.cached_bytes();
    tokens[1..].iter().for_each(check);
    assert_eq!(guard.cached_bytes(), 400 * of_one);
}

#[test]
fn where_to_sign_in_is_as_the_contract_says() {
    let world = World::with(contract_with("authorization_uri", json!("https://login.example/here")));
    let refused = world.try_get("/invoices", json!({"scp": "openid"})).unwrap_err();
    assert_eq!(refused.challenges()[0].param("authorization_uri"), Some("https://login.example/here"));
}
