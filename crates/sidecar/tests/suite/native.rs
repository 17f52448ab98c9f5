//! Our own API: calls that go through, the challenge ready-made, and explanations.
use crate::facades::{Estate, Told};
use crate::support::{NOON, claims};
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame};
use serde_json::{Value, json};
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use testkit::Next;

const CLAIMS: &str = r#"{"access_token":{"acrs":{"essential":true,"value":"c1"}}}"#;

fn wants_more() -> String {
    format!(r#"Bearer realm="", error="insufficient_claims", claims="{}""#, oauth::challenge::encode_claims(CLAIMS))
}

fn refusal() -> Next {
    let said = json!({
        "error": "interaction_required", "error_description": "AADSTS50076: more", "error_codes": [50076], "suberror": "basic_action",
        "claims": CLAIMS,
    });
    Next::answer(400, said.to_string())
}

async fn post(estate: &Estate, path: &str, body: Value) -> Told {
    estate.send("POST", &format!("{}{path}", estate.native), "", &[], &body.to_string()).await
}

#[tokio::test]
async fn a_call_goes_through_with_a_token_for_the_api_and_nothing_of_the_connection() {
    let estate = Estate::new().await;
    let user = estate.user(&json!({}));
    let headers = [
        ("x-one", "1"),
        ("connection", "x-hop"),
        ("x-hop", "1"),
        ("te", "trailers"),
        ("proxy-authorization", "Basic x"),
        ("content-type", "text/plain"),
        ("traceparent", "00-a-b-01"),
        ("x-caller-authorization", "Bearer c"),
    ];
    estate.api.next(418, &[("x-two", "2"), ("set-cookie", "a=b"), ("connection", "x-gone"), ("x-gone", "1")], "short");
    let told = estate
        .send("PATCH", &format!("{}/call/Billing/invoices/7?x=1&y=%20", estate.native), &user, &headers, "body")
        .await;
    assert_eq!((told.status(), told.text()), (418, "short".to_owned()));
    let header = |name: &str| told.0.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    assert_eq!((header("x-two"), header("set-cookie"), header("x-gone")), (Some("2".into()), Some("a=b".into()), None));
    let sent = estate.api.seen().remove(0);
    assert_eq!(
        (sent.method.as_str(), sent.target.as_str(), sent.body.as_str()),
        ("PATCH", "/invoices/7?x=1&y=%20", "body")
    );
    let token = claims(&sent.token());
    assert_eq!((&token["sub"], &token["aud"]), (&json!("ada"), &json!("api://billing/.default")));
    assert_ne!(sent.token(), user);
    for (name, there) in [
        ("x-one", true),
        ("content-type", true),
        ("traceparent", true),
        ("x-hop", false),
        ("connection", false),
        ("te", false),
        ("proxy-authorization", false),
        ("x-caller-authorization", false),
    ] {
        assert_eq!(sent.headers.contains_key(name), there, "{name}");
    }
    assert_eq!(sent.headers["host"], estate.api.url.strip_prefix("http://").unwrap());
    // The second call has its token from the cache.
    estate.get(&format!("{}/call/billing", estate.native), &user).await;
    assert_eq!((estate.api.seen()[1].target.as_str(), estate.world.issuer("entra_id").asked().len()), ("/", 1));
}

#[tokio::test]
async fn as_itself_the_application_needs_no_user_and_another_provider_gives_tokens_for_another_api() {
    let estate = Estate::new().await;
    let told = estate.get(&format!("{}/call/Reports/today", estate.native), "").await;
    assert_eq!(told.status(), 200, "{told:?}");
    let sent = estate.api.seen().remove(0);
    assert_eq!((sent.target.as_str(), &claims(&sent.token())["sub"]), ("/v1/reports/today", &json!("default")));
    let user = estate.user(&json!({}));
    assert_eq!(estate.get(&format!("{}/call/Far/x", estate.native), &user).await.status(), 200);
    assert_eq!(claims(&estate.api.seen()[1].token())["iss"], estate.world.issuer("tokenx").url());
    assert_eq!(estate.world.issuer("tokenx").asked()[0].field("audience"), Some("default"));
}

/// A body whose pieces come when they come.
struct Pieces(tokio::sync::mpsc::Receiver<Bytes>);

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }
}

#[tokio::test]
async fn bodies_stream_in_both_directions() {
    let estate = Estate::new().await;
    let (pieces, waiting) = tokio::sync::mpsc::channel::<Bytes>(1);
    let body = fetch::Passing::new(Pieces(waiting).map_err(|never| match never {}));
    let mut headers = http::HeaderMap::new();
    headers.insert("authorization", format!("Bearer {}", estate.user(&json!({}))).parse().unwrap());
    let url = format!("{}/call/Billing/echo", estate.native);
    pieces.send(Bytes::from("first")).await.unwrap();
    let network = crate::support::fetch();
    let answer = network.pass(http::Method::POST, &url, headers, body, Duration::from_secs(20)).await.unwrap();
    assert_eq!(answer.status(), 200);
    let mut answer = answer.into_body();
    let mut next = async || answer.frame().await.map(|frame| frame.unwrap().into_data().unwrap());
    // The answer's first piece is here before the request's second was sent.
    assert_eq!(next().await.unwrap(), "first");
    pieces.send(Bytes::from("second")).await.unwrap();
    assert_eq!(next().await.unwrap(), "second");
    drop(pieces);
    assert!(next().await.is_none());
}

#[tokio::test]
async fn a_token_that_does_not_hold_here_is_never_exchanged() {
    let estate = Estate::new().await;
    let url = format!("{}/call/Billing/x", estate.native);
    for (changes, code) in [
        (json!({ "aud": "api://another" }), "token.audience"),
        (json!({ "exp": NOON.0 - 61, "iat": NOON.0 - 3_000, "nbf": NOON.0 - 3_000 }), "token.not_expired"),
        (json!({ "iss": "https://evil.example/t1/v2.0" }), "token.issuer"),
    ] {
        let told = estate.get(&url, &estate.user(&changes)).await;
        assert_eq!((told.problem().0, &told.json()["code"]), (401, &json!(code)));
        assert!(told.challenges()[0].starts_with("Bearer "));
    }
    for (url, token) in [(url.clone(), String::new()), (format!("{url}?access_token=x"), estate.user(&json!({})))] {
        assert_eq!(estate.get(&url, &token).await.problem().0, 401, "{url}");
    }
    let long = "a".repeat(30_000);
    assert_eq!(estate.get(&url, &format!("{long}.{long}.x")).await.status(), 401);
    assert!(estate.world.issuer("entra_id").asked().is_empty() && estate.api.seen().is_empty());
}

#[tokio::test]
async fn the_caller_says_nothing_of_where_the_api_is() {
    let estate = Estate::new().await;
    let (address, user) = (estate.native.strip_prefix("http://").unwrap(), estate.user(&json!({})));
    for (path, status) in [
        ("/call/Billing//evil.example", "400"),
        ("/call/Billing/../admin", "400"),
        ("/call/Billing/%2e%2e/admin", "400"),
        ("/call/Billing/a%2fb", "400"),
        ("/call/Billing/\\evil.example", "400"),
        ("/call/Billing/https://evil.example/", "400"),
        ("/call/Billing/a%0d%0ab", "400"),
        ("/call/https://evil.example/x", "404"),
        ("/call/@evil.example/x", "404"),
        ("/call//x", "404"),
        ("/call/", "404"),
        ("/call", "404"),
        ("/", "404"),
        ("/healthz", "404"),
    ] {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {user}\r\nconnection: close\r\n\r\n"
        );
        tokio::io::AsyncWriteExt::write_all(&mut stream, request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        tokio::io::AsyncReadExt::read_to_string(&mut stream, &mut answer).await.unwrap();
        assert_eq!(answer.get(9..12), Some(status), "{path}: {answer}");
    }
    assert!(estate.api.seen().is_empty());
    estate.api.next(307, &[("location", "https://evil.example/")], "");
    let told = estate.get(&format!("{}/call/Billing/@evil.example", estate.native), &user).await;
    assert_eq!((told.status(), &told.0.headers["location"]), (307, &"https://evil.example/".parse().unwrap()));
    assert_eq!(estate.api.seen()[0].target, "/@evil.example");
    for header in [("origin", "https://evil.example"), ("sec-fetch-site", "same-site"), ("host", "evil.example")] {
        let told = estate.send("GET", &format!("{}/call/Billing/x", estate.native), &user, &[header], "").await;
        assert_eq!(told.problem().0, 403, "{header:?}");
    }
    assert_eq!(estate.api.seen().len(), 1);
}

#[tokio::test]
async fn where_the_api_wants_a_stronger_token_one_is_asked_for_once() {
    let estate = Estate::new().await;
    let user = estate.user(&json!({}));
    estate.api.next(401, &[("www-authenticate", &wants_more())], "");
    let told = estate.send("POST", &format!("{}/call/Billing/x", estate.native), &user, &[], "body").await;
    assert_eq!((told.status(), told.json()), (200, json!({ "served": true })));
    let (asked, sent) = (estate.world.issuer("entra_id").asked(), estate.api.seen());
    assert_eq!((asked.len(), asked[0].field("claims"), asked[1].field("claims")), (2, None, Some(CLAIMS)));
    assert_eq!((sent.len(), sent[1].body.as_str()), (2, "body"));
    assert_ne!(sent[0].token(), sent[1].token());

    // One that is not content with that either: the user must act.
    estate.api.next(401, &[("www-authenticate", &wants_more())], "");
    estate.api.next(401, &[("www-authenticate", &wants_more())], "");
    let told = estate.get(&format!("{}/call/Billing/x", estate.native), &user).await;
    assert_eq!(told.problem().0, 401);
    assert_eq!(told.challenges().len(), 2, "{told:?}");
    assert_eq!(estate.api.seen().len(), 4);

    // A 401 without a challenge, and one to the application itself, are the API's answers like others.
    estate.api.next(401, &[("www-authenticate", "Bearer")], "no");
    assert_eq!(estate.get(&format!("{}/call/Billing/x", estate.native), &user).await.text(), "no");
    estate.api.next(401, &[("www-authenticate", &wants_more())], "own");
    assert_eq!(estate.get(&format!("{}/call/Reports/x", estate.native), "").await.text(), "own");
}

#[tokio::test]
async fn where_the_authority_wants_the_user_the_answer_is_the_challenge_for_the_caller() {
    let estate = Estate::new().await;
    let user = estate.user(&json!({}));
    estate.api.next(401, &[("www-authenticate", &wants_more())], "");
    estate.world.issuer("entra_id").next(Next::answer(
        200,
        json!({ "access_token": "first", "token_type": "Bearer", "expires_in": 3_600 }).to_string(),
    ));
    estate.world.issuer("entra_id").next(refusal());
    let told = estate.get(&format!("{}/call/Billing/x", estate.native), &user).await;
    assert_eq!(told.problem(), (401, "AADSTS50076: more".to_owned()));
    assert_eq!((&told.json()["claims"], &told.json()["suberror"]), (&json!(CLAIMS), &json!("basic_action")));
    let challenges = told.challenges();
    assert!(
        challenges[0].contains(r#"error="insufficient_claims""#) && challenges[1].contains(r#"acr_values="c1""#),
        "{challenges:?}"
    );

    // What cannot be sent twice is not: the caller is asked at once.
    let estate = Estate::new().await;
    let user = estate.user(&json!({}));
    estate.api.next(401, &[("www-authenticate", &wants_more())], "");
    let large = "a".repeat(70_000);
    let told = estate.send("POST", &format!("{}/call/Billing/x", estate.native), &user, &[], &large).await;
    assert_eq!((told.problem().0, told.challenges().len(), estate.api.seen().len()), (401, 2, 1));
}

#[tokio::test]
async fn what_fails_is_told_as_a_problem() {
    let estate = Estate::new().await;
    let user = estate.user(&json!({}));
    let call = async |name: &str| estate.get(&format!("{}/call/{name}/x", estate.native), &user).await;
    for (name, status) in [("Unknown", 404), ("Bare", 400), ("Nowhere", 400), ("Gone", 502)] {
        assert_eq!(call(name).await.problem().0, status, "{name}");
    }
    for (error, code, status) in [
        ("invalid_grant", 50013, 401),
        ("invalid_grant", 65001, 403),
        ("invalid_client", 7_000_215, 403),
        ("temporarily_unavailable", 90033, 503),
    ] {
        let estate = Estate::new().await;
        let said = json!({ "error": error, "error_description": "no", "error_codes": [code] });
        let answered = if status == 503 { 503 } else { 400 };
        for _ in 0..2 {
            estate.world.issuer("entra_id").next(Next::answer(answered, said.to_string()));
        }
        let told = estate.get(&format!("{}/call/Billing/x", estate.native), &estate.user(&json!({}))).await;
        assert_eq!(told.problem(), (status, "no".to_owned()), "{code}");
        assert_eq!(told.json()["error_codes"], json!([code]));
        assert_eq!(told.0.headers.contains_key("retry-after"), status == 503);
    }
    let estate = Estate::new().await;
    for _ in 0..2 {
        estate.world.issuer("entra_id").next(Next::Close);
    }
    let told = estate.get(&format!("{}/call/Billing/x", estate.native), &estate.user(&json!({}))).await;
    assert_eq!((told.problem().0, told.0.headers.contains_key("retry-after")), (503, true));
}

#[tokio::test]
async fn the_outbound_policy_binds_here_too() {
    let estate = Estate::with("outbound = [{ target = \"api://reports/.default\" }]", &[]).await;
    let user = estate.user(&json!({}));
    let told = estate.get(&format!("{}/call/Billing/x", estate.native), &user).await;
    assert_eq!(told.problem().0, 403);
    assert!(told.json()["detail"].as_str().unwrap().contains("no rule of `outbound` allows"), "{told:?}");
    assert_eq!(estate.get(&format!("{}/AuthorizationHeader/Billing", estate.entra), &user).await.problem().0, 403);
    assert_eq!(estate.get(&format!("{}/call/Reports/x", estate.native), "").await.status(), 200);
    assert_eq!(estate.world.issuer("entra_id").asked().len(), 1);
}

#[tokio::test]
async fn the_challenge_is_ready_to_be_sent() {
    let estate = Estate::new().await;
    let told = post(
        &estate,
        "/challenge",
        json!({ "error": "interaction_required", "error_description": "more", "claims": CLAIMS }),
    )
    .await;
    assert_eq!(told.status(), 200, "{told:?}");
    let ready = told.json();
    assert_eq!(
        (&ready["status"], &ready["body"]["claims"], &ready["body"]["detail"]),
        (&json!(401), &json!(CLAIMS), &json!("more"))
    );
    let challenges = ready["headers"]["www-authenticate"].as_array().unwrap();
    assert!(challenges[0].as_str().unwrap().contains("/t1/oauth2/v2.0/authorize"), "{ready}");
    assert_eq!(challenges.len(), 2);
    for body in ["{}", "", "x", "[]", r#"{"claims":1}"#] {
        let told = estate.send("POST", &format!("{}/challenge", estate.native), "", &[], body).await;
        assert_eq!(told.problem().0, 400, "{body}");
    }
    assert_eq!(estate.get(&format!("{}/challenge", estate.native), "").await.status(), 405);
}

#[tokio::test]
async fn a_refusal_is_explained_by_the_contract_of_the_api_or_by_what_the_authority_said() {
    let folder = std::env::temp_dir().join(format!("deputize-contract-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("billing.json");
    let issuer = "https://id.example/t1/v2.0";
    let contract = json!({
        "audiences": ["api://billing"], "issuers": [{ "issuer": issuer, "jwks_uri": "http://127.0.0.1:1/keys" }],
        "routes": [{ "method": "GET", "path": "/invoices", "scopes": ["Invoices.Read"] }],
    });
    std::fs::write(&path, contract.to_string()).unwrap();
    let estate = Estate::with("", &[("DownstreamApis__Billing__Contract", path.to_str().unwrap())]).await;

    let user = estate.user(&json!({ "aud": "api://another" }));
    let own = post(&estate, "/explain", json!({ "token": user })).await.json();
    assert_eq!(own["allowed"], false);
    let failed = |told: &Value| {
        told["checks"].as_array().unwrap().iter().find(|check| check["outcome"] == "fail").unwrap().clone()
    };
    assert_eq!((&failed(&own)["id"], &failed(&own)["fixer"]), (&json!("token.audience"), &json!("caller")));
    assert!(own["explanation"].as_str().unwrap().contains("can mend it"), "{own}");
    let good = post(&estate, "/explain", json!({ "token": estate.user(&json!({})) })).await.json();
    assert_eq!((&good["allowed"], &good["explanation"]), (&json!(true), &json!("every check passes")));

    let told =
        post(&estate, "/explain", json!({ "token": user, "api": "billing", "method": "GET", "path": "/invoices" }))
            .await
            .json();
    assert_eq!(failed(&told)["id"], "token.issuer");
    let nobody = post(&estate, "/explain", json!({ "token": user, "api": "Reports" })).await;
    assert_eq!(nobody.problem().0, 404);

    let said = json!({ "error": "invalid_grant", "error_codes": [65001], "deputize_hint": { "check": "consent.granted", "fixer": "tenant-admin", "fix": "consent" } });
    let told = post(&estate, "/explain", said).await.json();
    assert_eq!((&failed(&told)["id"], &failed(&told)["fix"]), (&json!("consent.granted"), &json!("consent")));
    for body in [json!({}), json!([]), json!({ "token": 1 }), json!({ "token": "x", "method": 1 })] {
        assert_eq!(post(&estate, "/explain", body.clone()).await.problem().0, 400, "{body}");
    }
    std::fs::remove_dir_all(&folder).unwrap();
}
