//! Our own API: calls that go through, the challenge ready-made, and explanations.
use crate::facades::{Estate, Told};
use crate::support::{NOON, claims};
use serde_json::{Value, json};
use sidecar::{Bind, Bound, Listeners, Native, Ports, Sidecar};
use std::sync::Arc;
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
        ("cookie", "session=1"),
        ("x-ms-version", "2026-01-01"),
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
        ("cookie", false),
        ("x-ms-version", true),
    ] {
        assert_eq!(sent.headers.contains_key(name), there, "{name}");
    }
    assert_eq!(sent.headers["host"], estate.api.url.strip_prefix("http://").unwrap());
    // The second call has its token from the cache.
    estate.get(&format!("{}/call/billing", estate.native), &user).await;
    assert_eq!((estate.api.seen()[1].target.as_str(), estate.world.issuer("entra_id").asked().len()), ("/", 1));
}

#[tokio::test]
async fn g_05_who_somebody_is_no_caller_tells_the_api_by_a_header() {
    let estate = Estate::new().await;
    let user = estate.user(&json!({}));
    let url = format!("{}/call/Billing/x", estate.native);
    let names = [
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
        "x-forwarded-prefix",
        "x-forwarded-uri",
        "x-forwarded-user",
        "x-forwarded-email",
        "x-forwarded-groups",
        "x-forwarded-access-token",
        "x-forwarded-client-cert",
        "forwarded",
        "via",
        "x-real-ip",
        "x-original-url",
        "x-rewrite-url",
        "x-http-method-override",
        "x-ms-client-principal",
        "x-ms-client-principal-id",
        "x-ms-token-aad-access-token",
        "x-auth-request-user",
        "x-client-cert",
        "client-cert",
        "x-identity-header",
        "cookie",
        "x_forwarded_for",
        "x.forwarded.for",
        "x_ms_client_principal",
        "x-ms_client.principal-name",
        "content_length",
        "transfer_encoding",
        "x_caller_authorization",
    ];
    for name in names {
        for value in ["ada", ""] {
            assert_eq!(estate.send("GET", &url, &user, &[(name, value), (name, "again")], "").await.status(), 200);
            assert!(!estate.api.seen().pop().unwrap().headers.contains_key(name), "{name}");
        }
    }
}

#[tokio::test]
async fn g_02_connection_takes_nothing_away_that_is_not_its_own() {
    let estate = Estate::new().await;
    let (address, user) = (estate.native.strip_prefix("http://").unwrap(), estate.user(&json!({})));
    for (named, status) in [
        ("authorization", "400"),
        ("close, Authorization", "400"),
        ("host", "400"),
        ("content-length", "400"),
        ("cookie", "400"),
        ("x-forwarded-for", "400"),
        ("X_Forwarded_For", "400"),
        ("x-ms-client-principal", "400"),
        ("x-caller-authorization", "400"),
        ("keep-alive, te, x-mine", "200"),
    ] {
        let head = format!("GET /call/Billing/x HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {user}");
        let answer = raw(address, &format!("{head}\r\nconnection: {named}\r\nconnection: close\r\n\r\n")).await;
        assert_eq!(answer.get(9..12), Some(status), "{named}: {answer}");
    }
    assert_eq!(estate.api.seen().len(), 1);
}

/// What is answered to these bytes.
async fn raw(address: &str, request: &str) -> String {
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut stream, request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    tokio::io::AsyncReadExt::read_to_string(&mut stream, &mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn as_itself_the_application_needs_no_user_and_another_provider_gives_tokens_for_another_api() {
    let estate = Estate::new().await;
    for (path, target) in
        [("/today", "/v1/reports/today"), ("", "/v1/reports"), ("/", "/v1/reports/"), ("?x=1", "/v1/reports?x=1")]
    {
        let told = estate.get(&format!("{}/call/Reports{path}", estate.native), "").await;
        assert_eq!(told.status(), 200, "{told:?}");
        let sent = estate.api.seen().pop().unwrap();
        assert_eq!((sent.target.as_str(), &claims(&sent.token())["sub"]), (target, &json!("default")));
    }
    let user = estate.user(&json!({}));
    assert_eq!(estate.get(&format!("{}/call/Far/x", estate.native), &user).await.status(), 200);
    assert_eq!(claims(&estate.api.seen().pop().unwrap().token())["iss"], estate.world.issuer("tokenx").url());
    assert_eq!(estate.world.issuer("tokenx").asked()[0].field("audience"), Some("default"));
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
async fn a_provider_that_is_not_like_entra_is_held_to_the_configured_scopes_too() {
    let estate = Estate::with("[AzureAd]\nScopes = \"orders\"\n[native]\nprovider = \"tokenx\"", &[]).await;
    let url = format!("{}/call/Far/x", estate.native);
    for (claims, status) in [
        (json!({}), 403),
        (json!({ "scope": "other orderss" }), 403),
        (json!({ "scope": "other orders" }), 200),
        (json!({ "scp": ["orders"] }), 200),
        (json!({ "scope": "orders", "aud": "another" }), 401),
    ] {
        let told = estate.get(&url, &estate.world.issuer("tokenx").token(&claims)).await;
        assert_eq!(told.status(), status, "{claims}: {told:?}");
        assert_eq!(told.challenges().iter().any(|one| one.contains("insufficient_scope")), status == 403);
    }
    assert_eq!(estate.api.seen().len(), 2);
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
        ("/call/Billing/%2e%2e%2fadmin", "400"),
        ("/call/Billing/.%2e/admin", "400"),
        ("/call/Billing/..;/admin", "400"),
        ("/call/Billing/%252e%252e/admin", "400"),
        ("/call/Billing/./x", "400"),
        ("/call/Bill%69ng/x", "404"),
        ("/CALL/Billing/x", "404"),
        ("//call/Billing/x", "404"),
        ("/./call/Billing/x", "404"),
        ("/x/../call/Billing/x", "404"),
        ("http://evil.example/call/Billing/x", "403"),
        ("http://localhost@evil.example/call/Billing/x", "403"),
        ("*", "404"),
        ("/call/https://evil.example/x", "404"),
        ("/call/@evil.example/x", "404"),
        ("/call//x", "404"),
        ("/call/", "404"),
        ("/call", "404"),
        ("/", "404"),
        ("/healthz", "404"),
    ] {
        let method = if path == "*" { "OPTIONS" } else { "GET" };
        let head = format!("{method} {path} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {user}");
        let answer = raw(address, &format!("{head}\r\nconnection: close\r\n\r\n")).await;
        assert_eq!(answer.get(9..12), Some(status), "{path}: {answer}");
    }
    assert!(estate.api.seen().is_empty());
    // The absolute form of our own address is the same request.
    let head = format!("GET http://{address}/call/Billing/y?z=../.. HTTP/1.1\r\nhost: {address}");
    let request = format!("{head}\r\nauthorization: Bearer {user}\r\nconnection: close\r\n\r\n");
    assert_eq!(raw(address, &request).await.get(9..12), Some("200"));
    assert_eq!(estate.api.seen()[0].target, "/y?z=../..");
    for method in ["CONNECT", "TRACE"] {
        let target = if method == "CONNECT" { "evil.example:443" } else { "/call/Billing/x" };
        let head = format!("{method} {target} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {user}");
        let answer = raw(address, &format!("{head}\r\nconnection: close\r\n\r\n")).await;
        assert!(matches!(answer.get(9..12), Some("403" | "404" | "405")), "{method}: {answer}");
    }
    assert_eq!(estate.api.seen().len(), 1);
    estate.api.next(307, &[("location", "https://evil.example/")], "");
    let told = estate.get(&format!("{}/call/Billing/@evil.example", estate.native), &user).await;
    assert_eq!((told.status(), &told.0.headers["location"]), (307, &"https://evil.example/".parse().unwrap()));
    assert_eq!(estate.api.seen()[1].target, "/@evil.example");
    for header in [("origin", "https://evil.example"), ("sec-fetch-site", "same-site"), ("host", "evil.example")] {
        let told = estate.send("GET", &format!("{}/call/Billing/x", estate.native), &user, &[header], "").await;
        assert_eq!(told.problem().0, 403, "{header:?}");
    }
    assert_eq!(estate.api.seen().len(), 2);
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
    assert_eq!(estate.api.seen().len(), 3, "the same is not sent twice");
    estate.api.next(401, &[("www-authenticate", &wants_more())], "");
    estate.api.next(401, &[("www-authenticate", &wants_more())], "");
    assert_eq!(estate.get(&format!("{}/call/Billing/x", estate.native), &user).await.problem().0, 401);
    assert_eq!(estate.api.seen().len(), 5);

    // A 401 without a challenge, and one to the application itself, are the API's answers like others.
    estate.api.next(401, &[("www-authenticate", "Bearer")], "no");
    assert_eq!(estate.get(&format!("{}/call/Billing/x", estate.native), &user).await.text(), "no");
    estate.api.next(401, &[("www-authenticate", &wants_more())], "own");
    assert_eq!(estate.get(&format!("{}/call/Reports/x", estate.native), "").await.text(), "own");
}

#[tokio::test]
async fn the_next_call_of_the_same_user_begins_with_what_the_api_demanded() {
    let estate = Estate::new().await;
    let (ada, bob) = (estate.user(&json!({})), estate.user(&json!({ "sub": "bob", "oid": "bob" })));
    let url = format!("{}/call/Billing/x", estate.native);
    estate.api.next(401, &[("www-authenticate", &wants_more())], "");
    for _ in 0..3 {
        assert_eq!(estate.get(&url, &ada).await.status(), 200);
    }
    let entra = format!("{}/DownstreamApi/bILLING", estate.entra);
    assert_eq!(estate.send("POST", &entra, &ada, &[], "").await.json()["statusCode"], 200);
    let sent = estate.api.seen();
    assert_eq!((sent.len(), estate.world.issuer("entra_id").asked().len()), (5, 2));
    assert_ne!(sent[0].token(), sent[1].token());
    assert!(sent[1..].iter().all(|later| later.token() == sent[1].token()));
    // What a caller asks for itself is what is asked for.
    let other = r#"{"access_token":{"acrs":{"essential":true,"value":"c2"}}}"#;
    let encoded: String = url::form_urlencoded::byte_serialize(other.as_bytes()).collect();
    let asking = format!("{entra}?optionsOverride.AcquireTokenOptions.Claims={encoded}");
    assert_eq!(estate.send("POST", &asking, &ada, &[], "").await.json()["statusCode"], 200);
    assert_eq!(estate.world.issuer("entra_id").asked()[2].field("claims"), Some(other));
    // What was demanded of one is nobody else's.
    assert_eq!(estate.get(&url, &bob).await.status(), 200);
    assert_eq!(estate.world.issuer("entra_id").asked()[3].field("claims"), None);
    // Nor of one scope another's.
    let narrower = format!("{entra}?optionsOverride.Scopes=api://billing/A");
    assert_eq!(estate.send("POST", &narrower, &ada, &[], "").await.json()["statusCode"], 200);
    assert_eq!(estate.world.issuer("entra_id").asked()[4].field("claims"), None);
}

#[tokio::test]
async fn what_the_authority_gives_no_more_is_left_to_the_api() {
    let estate = Estate::new().await;
    let user = estate.user(&json!({}));
    let (issuer, url) = (estate.world.issuer("entra_id"), format!("{}/call/Billing/x", estate.native));
    let gives = |token: &str, seconds: i64| {
        let body = json!({ "access_token": token, "token_type": "Bearer", "expires_in": seconds });
        issuer.next(Next::answer(200, body.to_string()));
    };
    gives("first", 3_600);
    gives("second", 60);
    issuer.next(refusal());
    estate.api.next(401, &[("www-authenticate", &wants_more())], "");
    assert_eq!(estate.get(&url, &user).await.status(), 200);
    estate.world.clock.advance(61);
    for _ in 0..2 {
        assert_eq!(estate.get(&url, &user).await.status(), 200);
    }
    let tokens: Vec<String> = estate.api.seen().iter().map(crate::facades::Sent::token).collect();
    assert_eq!(tokens, ["first", "second", "first", "first"]);
    assert_eq!(issuer.asked().len(), 3, "asked for once more, and then not");
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

/// Nothing is fetched, however long one waits.
struct Silent;

impl fetch::Transport for Silent {
    fn get<'a>(
        &'a self,
        _: &'a str,
    ) -> std::pin::Pin<Box<dyn Future<Output = Result<fetch::Response, fetch::FetchError>> + Send + 'a>> {
        Box::pin(std::future::pending())
    }
}

/// A listener whose keys do not come, and a token that is explained with them.
async fn without_keys() -> (Listeners, String, String) {
    let clock = testkit::SetClock::at(NOON);
    let mut issuers = std::collections::HashMap::new();
    issuers.insert("entra_id", testkit::Issuer::start(clock.clone(), jose::Algorithm::ES256).await.unwrap());
    let settings = crate::facades::settings(&issuers, "", &[]);
    let network = crate::support::fetch();
    let ports = Ports {
        metadata: Arc::new(Silent),
        tokens: Arc::new(network.clone()),
        host: Arc::new(network.clone()),
        streams: network.clone(),
        clock: Arc::new(clock),
        random: Arc::new(|bytes: &mut [u8]| bytes.fill(7)),
    };
    let sidecar = Sidecar::new(&settings, ports).unwrap();
    let bound = Bound::bind(&Bind::parse("127.0.0.1:0").unwrap()).await.unwrap();
    let at = bound.address().unwrap();
    let mut listeners = Listeners::new();
    listeners.add(bound, None, Arc::new(Native::new(&sidecar, &settings, &at, network).unwrap()));
    let token = issuers["entra_id"].token(&json!({ "iss": format!("{}/t1/v2.0", issuers["entra_id"].url()) }));
    (listeners, at.to_string(), token)
}

/// A POST that says how long its body is, and sends this much of it.
async fn sent(address: &str, path: &str, length: usize, body: &str) -> (String, Duration) {
    let head = format!("POST {path} HTTP/1.1\r\nhost: {address}\r\ncontent-length: {length}\r\nconnection: close");
    let began = tokio::time::Instant::now();
    let request = format!("{head}\r\n\r\n{body}");
    // An hour passes in no time.
    let waiting = tokio::time::timeout(Duration::from_hours(1), raw(address, &request));
    let answer = waiting.await.unwrap();
    (answer, began.elapsed())
}

#[tokio::test(start_paused = true)]
async fn an_explanation_that_waits_for_keys_ends_after_a_minute() {
    let (_listeners, address, token) = without_keys().await;
    let asked = json!({ "token": token }).to_string();
    let (answer, took) = sent(&address, "/explain", asked.len(), &asked).await;
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("the request took too long"), "{answer}");
    assert!((59..=62).contains(&took.as_secs()), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let (_listeners, address, _) = without_keys().await;
    for path in ["/challenge", "/explain"] {
        let (answer, took) = sent(&address, path, 100, "{").await;
        assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("did not arrive in time"), "{path}: {answer}");
        assert!((9..=12).contains(&took.as_secs()), "{path}: {took:?}");
    }
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
