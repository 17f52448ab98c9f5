//! The listeners themselves: what is where, and what is refused before anything is asked (2.1, 2.2).
use crate::support::{ENCODINGS, Encoding, PROVIDERS, World, invalid_request};
use http::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const PATHS: [&str; 3] = ["/api/v1/token", "/api/v1/token/exchange", "/api/v1/introspect"];
const JSON: (&str, &str) = ("content-type", "application/json");
const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

#[tokio::test]
async fn p1_the_probe_says_ok() {
    let world = World::bare().await;
    for path in ["/", "/healthz"] {
        let answer = world.get(&format!("{}{path}", world.probe)).await;
        assert_eq!((answer.status, answer.text.as_str()), (200, "ok"));
        assert_eq!(answer.headers["content-type"], "text/plain; charset=utf-8");
    }
    for path in ["/metrics", "/ping", "/api/v1/token"] {
        assert_eq!(world.get(&format!("{}{path}", world.probe)).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn the_api_has_three_posts_and_nothing_else() {
    let world = World::bare().await;
    for path in PATHS {
        for method in [Method::GET, Method::PUT, Method::OPTIONS, Method::DELETE] {
            let answer = world.send(method.clone(), path, &[], "").await;
            assert_eq!((answer.status, answer.text.as_str()), (405, ""), "{method} {path}");
            assert_eq!(answer.headers["cache-control"], "no-store", "caches keep a 405, too");
        }
    }
    for path in ["/", "/api/v1/token/", "/api/v1/introspect/", "/metrics", "/healthz", "/API/v1/token", "/ping"] {
        for method in [Method::GET, Method::POST] {
            let answer = world.send(method, path, &[JSON], "{}").await;
            assert_eq!((answer.status, answer.text.as_str()), (404, ""), "{path}");
        }
    }
}

#[tokio::test]
async fn n1_without_any_provider_tokens_are_refused() {
    let world = World::bare().await;
    for provider in PROVIDERS {
        let expected = invalid_request(format!("identity provider '{provider}' is not enabled"));
        for encoding in ENCODINGS {
            assert_eq!(world.token(provider, "target", encoding).await.error(), expected);
            assert_eq!(world.exchange(provider, "target", "a.b.c", encoding).await.error(), expected);
        }
    }
}

#[tokio::test]
async fn n2_without_any_provider_no_token_is_active() {
    let world = World::bare().await;
    for provider in PROVIDERS {
        let told = world.inactive(provider, "a.b.c").await;
        assert_eq!(told, format!("identity provider '{provider}' is not enabled"));
    }
    let told = world.inactive("azuread", "a.b.c").await;
    assert_eq!(told, "identity provider 'entra_id' is not enabled", "its own name");
}

#[tokio::test]
async fn t7_a_provider_that_nobody_knows_is_told_with_those_that_are_known() {
    let variant = "identity_provider: unknown variant `invalid`, expected one of `azuread`, `entra_id`, `tokenx`, \
                   `maskinporten`, `idporten`";
    let bare = World::bare().await;
    let json = r#"{"identity_provider":"invalid","target":"a","token":"t","user_token":"u"}"#;
    let form = "identity_provider=invalid&target=a&token=t&user_token=u";
    for path in PATHS {
        let told = format!("Failed to deserialize the JSON body into the target type: {variant} at line 1 column 30");
        assert_eq!(bare.send(Method::POST, path, &[JSON], json).await.error(), invalid_request(told));
        let told = format!("Failed to deserialize form body: {variant}");
        assert_eq!(bare.send(Method::POST, path, &[FORM], form).await.error(), invalid_request(told));
    }
    let with_sixth = World::new().await;
    let answer = with_sixth.send(Method::POST, PATHS[0], &[JSON], json).await;
    assert!(answer.error().2.contains("`idporten`, `ansattporten` at line"), "listed where it is enabled: {answer:?}");
}

#[tokio::test]
async fn t8_other_content_types_are_refused_with_the_exact_text() {
    let world = World::bare().await;
    let refused = async |kind: Option<&str>| {
        let headers: Vec<(&'static str, &str)> = kind.into_iter().map(|kind| ("content-type", kind)).collect();
        world.send(Method::POST, PATHS[0], &headers, "{}").await.error()
    };
    for value in ["text/plain", "Application/JSON", ""] {
        let told = format!(
            "unsupported media type: {value}: expected one of `application/json`, `application/x-www-form-urlencoded`"
        );
        assert_eq!(refused(Some(value).filter(|value| !value.is_empty())).await, invalid_request(told));
    }
    let told = "Expected request with `Content-Type: application/json`";
    assert_eq!(refused(Some("application/jsonp")).await, invalid_request(told));
}

#[tokio::test]
async fn bodies_that_end_early_are_told_where() {
    let world = World::bare().await;
    let told = async |headers, body: &'static str| world.send(Method::POST, PATHS[0], &[headers], body).await.error();
    let prefix = "Failed to parse the request body as JSON: ";
    let expected = invalid_request(format!("{prefix}EOF while parsing a value at line 1 column 0"));
    assert_eq!(told(JSON, "").await, expected);
    let expected = invalid_request(format!("{prefix}target: EOF while parsing a value at line 1 column 10"));
    assert_eq!(told(JSON, r#"{"target":"#).await, expected);
    let expected = invalid_request("Failed to deserialize form body: missing field `target`");
    assert_eq!(told(FORM, "identity_provider=entra_id").await, expected);
}

#[tokio::test]
async fn bodies_of_more_than_two_mebibytes_are_refused_and_smaller_ones_read() {
    let world = World::bare().await;
    for encoding in ENCODINGS {
        let of = async |length: usize| world.token("entra_id", &"a".repeat(length), encoding).await.error();
        assert_eq!(of(1_900_000).await, invalid_request("identity provider 'entra_id' is not enabled"));
        let told = "Failed to buffer the request body: length limit exceeded";
        assert_eq!(of(3_000_000).await, invalid_request(told), "{encoding:?}");
    }
}

#[tokio::test]
async fn a_body_that_does_not_end_is_not_waited_for() {
    let world = World::bare().await;
    let mut endless = tokio::net::TcpStream::connect(world.url.trim_start_matches("http://")).await.unwrap();
    let head = "POST /api/v1/token HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n";
    endless.write_all(format!("{head}content-length: 1000000000\r\n\r\n").as_bytes()).await.unwrap();
    let piece = vec![b'a'; 1 << 20];
    for _ in 0..20 {
        if endless.write_all(&piece).await.is_err() {
            break;
        }
    }
    let mut answer = [0; 4096];
    let length = endless.read(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer[..length]);
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    assert!(answer.contains("length limit exceeded"), "{answer}");
}

#[tokio::test]
async fn what_is_counted_is_read_on_a_listener_of_its_own_and_names_no_token() {
    let world = World::new().await;
    let token = world.token("entra_id", "default", Encoding::Json).await.token();
    world.token("entra_id", "default", Encoding::Json).await.token();
    world.introspect("entra_id", &token, Encoding::Json).await;
    world.token("idporten", "x", Encoding::Json).await;
    let user = world.issuer("entra_id").token(&json!({}));
    world.exchange("entra_id", "default", &user, Encoding::Form).await.token();
    let answer = world.get(&format!("{}/metrics", world.metrics)).await;
    for line in [
        r#"texas_handler_requests{path="/api/v1/token",identity_provider="entra_id",request_type="token"} 2"#,
        r#"request_type="token_exchange"} 1"#,
        r#"request_type="token_introspection"} 1"#,
        r#"texas_token_cache_hits{path="/api/v1/token",identity_provider="entra_id"} 1"#,
        r#"texas_handler_errors{path="/api/v1/token",identity_provider="idporten",error_kind="UnsupportedGrant"} 1"#,
        r#"http_response_secs_count{status_code="200",path="/api/v1/token"} 2"#,
        r#"http_response_secs_count{status_code="400",path="/api/v1/token"} 1"#,
        r#"texas_identity_provider_latency_secs_count{identity_provider="entra_id"} 2"#,
        "deputize_token_cache_entries 2",
        "deputize_token_cache_bytes ",
    ] {
        assert!(answer.text.contains(line), "{line} in\n{}", answer.text);
    }
    let issuer = world.issuer("entra_id").url();
    let fetched = format!(r#"texas_jwks_refreshes{{issuer="{issuer}",reason="unknown_kid",outcome="success"}} 1"#);
    assert!(answer.text.contains(&fetched), "{fetched} in\n{}", answer.text);
    assert!(!answer.text.contains("eyJ"));
    assert_eq!(world.get(&format!("{}/", world.metrics)).await.status, 404);
}
