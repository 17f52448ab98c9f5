//! G-06 and the table of bearer credentials: one token, verified, or none.
use crate::support::{ORDERS, World};
use serde_json::json;

#[tokio::test]
async fn a_good_token_calls_and_goes_no_further() {
    let world = World::start(ORDERS).await;
    let answer = world.get_with_token("/orders/7?x=1", &[]).await;
    assert_eq!((answer.status, answer.body.as_str(), answer.field("x-service")), (200, "good", vec!["yes"]));
    let seen = world.service.only();
    assert_eq!(seen.line(), "GET /orders/7?x=1 HTTP/1.1");
    assert_eq!(seen.field("authorization"), Vec::<&str>::new());
}

#[tokio::test]
async fn g_06_two_credentials_are_none() {
    let world = World::start(ORDERS).await;
    let good = world.bearer(&json!({}));
    let bad = "Bearer bad";
    for fields in [
        [("authorization", good.as_str()), ("authorization", bad)],
        [("authorization", bad), ("authorization", good.as_str())],
        [("authorization", good.as_str()), ("authorization", good.as_str())],
        [("authorization", good.as_str()), ("authorization", "Basic eDp5")],
    ] {
        let answer = world.get("/", &fields).await;
        assert_eq!((answer.status, answer.check()), (400, "gateway.credential_single".to_owned()));
        assert_eq!(answer.field("www-authenticate"), [r#"Bearer error="invalid_request""#]);
    }
    for target in ["/?access_token=bad", "/?a=b&access%5Ftoken=bad"] {
        assert_eq!(world.get(target, &[("authorization", &good)]).await.status, 400, "{target}");
    }
    assert_eq!(world.service.seen(), Vec::<String>::new());
}

#[tokio::test]
async fn a_bearer_credential_has_one_form() {
    let world = World::start(ORDERS).await;
    let token = world.token(&json!({}));
    for value in
        [format!("bearer {token}"), format!("BEARER {token}"), format!("Bearer  {token}"), format!("Bearer    {token}")]
    {
        assert_eq!(world.get("/", &[("authorization", &value)]).await.status, 200, "{value}");
    }
    world.service.forget();
    for value in [
        format!("Bearer\t{token}"),
        format!("Bearer {token}, x"),
        format!("Bearer {token} x"),
        format!("Bearer {token},{token}"),
        format!("Bearer-invalid {token}"),
        format!("x Bearer {token}"),
        format!("DPoP {token}"),
        format!("Basic {token}"),
        "Bearer".to_owned(),
        "Bearer ".to_owned(),
        token.clone(),
        format!("Bearer {}", "x".repeat(16_384)),
    ] {
        let answer = world.get("/", &[("authorization", &value)]).await;
        assert_eq!(answer.status, 401, "{value}: {answer:?}");
    }
    for (target, fields) in [
        (format!("/?access_token={token}"), vec![]),
        ("/".to_owned(), vec![("authorization_", format!("Bearer {token}"))]),
        ("/".to_owned(), vec![("cookie", format!("access_token={token}"))]),
    ] {
        let fields: Vec<(&str, &str)> = fields.iter().map(|(n, v)| (*n, v.as_str())).collect();
        assert_eq!(world.get(&target, &fields).await.reason(), (401, "TokenNotPresent".to_owned()), "{target}");
    }
    assert_eq!(world.service.seen(), Vec::<String>::new());
}

#[tokio::test]
async fn without_a_credential_the_challenge_has_no_error() {
    let world = World::start(ORDERS).await;
    let answer = world.get("/", &[]).await;
    assert_eq!(answer.reason(), (401, "TokenNotPresent".to_owned()));
    assert_eq!(answer.json()["message"], "JWT not present.");
    let challenges = answer.field("www-authenticate");
    assert!(
        challenges.len() == 1 && challenges.iter().all(|c| c.starts_with("Bearer") && !c.contains("error=")),
        "{answer:?}"
    );
    assert_eq!(answer.field("cache-control"), ["no-store"]);
}

#[tokio::test]
async fn every_fault_of_a_token_has_its_reason() {
    let world = World::start(ORDERS).await;
    let now = 1_800_000_000;
    for (claims, expected) in [
        (json!({"iss": "https://evil.example/t1/v2.0"}), "TokenIssuerNotAllowed"),
        (json!({"aud": "api://other"}), "TokenAudienceNotAllowed"),
        (json!({"exp": now - 3_600, "iat": now - 7_200, "nbf": now - 7_200}), "TokenExpired"),
        (json!({"nbf": now + 3_000}), "TokenNotYetValid"),
        (json!({"exp": null}), "TokenClaimNotFound"),
        (json!({"tid": "t2"}), "TokenClaimValueNotAllowed"),
        (json!({"nonce": "n"}), "TokenTypeNotAllowed"),
    ] {
        let answer = world.get("/", &[("authorization", &world.bearer(&claims))]).await;
        assert_eq!(answer.reason(), (401, expected.to_owned()), "{claims}");
        assert!(answer.field("www-authenticate").iter().all(|c| c.contains(r#"error="invalid_token""#)), "{answer:?}");
    }
    let good = world.token(&json!({}));
    let mut parts = good.split('.');
    let (head, payload, signature) = (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
    for (token, expected) in [
        (format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{payload}."), None),
        (format!("{head}.{payload}.{}", &signature[..signature.len() - 20]), None),
        (
            format!("{head}.{}.{signature}", world.token(&json!({"oid": "other"})).split('.').nth(1).unwrap()),
            Some("TokenSignatureInvalid"),
        ),
        ("a.b.c".to_owned(), None),
        ("x".to_owned(), None),
    ] {
        let answer = world.get("/", &[("authorization", &format!("Bearer {token}"))]).await;
        let (status, reason) = answer.reason();
        assert_eq!(status, 401, "{token}");
        assert!(expected.is_none_or(|expected| expected == reason), "{token}: {reason}");
    }
    assert_eq!(world.service.seen(), Vec::<String>::new());
}

#[tokio::test]
async fn keys_that_cannot_be_had_are_nobodys_fault_who_calls() {
    let text = ORDERS.replace("{jwks}", "http://127.0.0.1:1/keys");
    let world = World::start(&text).await;
    let answer = world.get_with_token("/", &[]).await;
    assert_eq!(answer.reason(), (503, "KeysUnavailable".to_owned()));
    assert!(!answer.field("retry-after").is_empty() && answer.field("www-authenticate").is_empty(), "{answer:?}");
}

#[tokio::test]
async fn ten_requests_at_once_fetch_the_keys_once() {
    let world = World::start(ORDERS).await;
    let bearer = world.bearer(&json!({}));
    let fields = [("authorization", bearer.as_str())];
    let all = (0..10).map(|_| world.get("/", &fields));
    let mut set = Vec::new();
    for asked in all {
        set.push(asked);
    }
    let answers = futures(set).await;
    assert!(answers.iter().all(|answer| answer.status == 200));
    assert_eq!(world.issuer.key_fetches(), 1);
}

/// All of them at once.
async fn futures<F: Future>(all: Vec<F>) -> Vec<F::Output> {
    let mut all: Vec<_> = all.into_iter().map(|future| (Box::pin(future), None)).collect();
    std::future::poll_fn(|context| {
        let mut pending = false;
        for (future, done) in &mut all {
            if done.is_none() {
                match future.as_mut().poll(context) {
                    std::task::Poll::Ready(output) => *done = Some(output),
                    std::task::Poll::Pending => pending = true,
                }
            }
        }
        if pending { std::task::Poll::Pending } else { std::task::Poll::Ready(()) }
    })
    .await;
    all.into_iter().map(|(_, done)| done.unwrap()).collect()
}

#[tokio::test]
async fn g_18_a_token_of_one_operation_is_judged_anew_at_another() {
    let world = World::start(&format!(
        "{ORDERS}{}",
        r#"
    [[api.operation]]
    name = "write"
    method = "GET"
    path = "/write"
    [api.operation.policies.require]
    scopes = ["Orders.Write"]
    "#
    ))
    .await;
    let bearer = world.bearer(&json!({}));
    for _ in 0..3 {
        assert_eq!(world.get("/read", &[("authorization", &bearer)]).await.status, 200);
        let refused = world.get("/write", &[("authorization", &bearer)]).await;
        assert_eq!(refused.reason(), (403, "TokenClaimValueNotAllowed".to_owned()));
        let told = refused.field("www-authenticate").concat();
        assert!(
            told.contains(r#"error="insufficient_scope""#) && told.contains(r#"scope="api://orders/Orders.Write""#),
            "{told}"
        );
    }
    let writer = world.bearer(&json!({"scp": "Orders.Read Orders.Write"}));
    assert_eq!(world.get("/write", &[("authorization", &writer)]).await.status, 200);
    // A token that was good ends, also where it is known.
    world.clock.advance(3_700);
    assert_eq!(world.get("/read", &[("authorization", &bearer)]).await.reason(), (401, "TokenExpired".to_owned()));
}
