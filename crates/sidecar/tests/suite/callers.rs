//! Who may call, and for what (6.8).
use crate::support::{Encoding, Issuers, World, explicit, fetch, own_address};
use http::Method;
use oauth::Secret;
use serde_json::json;
use sidecar::{Bind, Bound, Callers, Listeners, Probe, Texas};
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const BODY: &str = r#"{"identity_provider":"entra_id","target":"t"}"#;

#[tokio::test]
async fn no_web_page_drives_the_sidecar_and_no_name_is_rebound_to_it() {
    let world = World::new().await;
    for (header, value) in [
        ("origin", "https://evil.example"),
        ("origin", "null"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
        ("host", "evil.example"),
        ("host", "evil.example:3000"),
    ] {
        let headers = [("content-type", "application/json"), (header, value)];
        let answer = world.send(Method::POST, "/api/v1/token", &headers, BODY).await;
        assert_eq!((answer.error().0, answer.error().1.as_str()), (403, "access_denied"), "{header}: {value}");
        let preflight = world.send(Method::OPTIONS, "/api/v1/token", &[(header, value)], "").await;
        assert_eq!(preflight.status, 403, "no preflight is answered");
        assert!(preflight.headers.keys().all(|name| !name.as_str().starts_with("access-control")));
    }
    assert!(world.issuer("entra_id").asked().is_empty());
}

/// Platforms probe a pod by its address, at a listener that is bound to all of them (2.11: `PROBE_BIND_ADDRESS`, `0.0.0.0`).
#[tokio::test]
async fn a_probe_at_every_address_answers_whoever_asks_by_whatever_name_and_tells_no_more() {
    let world = World::new().await;
    let mut listeners = Listeners::new();
    let bound = Bound::bind(&Bind::parse("0.0.0.0:0").unwrap()).await.unwrap();
    let Some(Bind::Tcp(at)) = bound.address() else { panic!() };
    listeners.add(bound, None, Arc::new(Probe::new(world.sidecar.clone())));
    let own = own_address().await;
    for reached in [Some([127, 0, 0, 1].into()), own].into_iter().flatten() {
        for (path, host, status) in [
            ("/healthz", reached.to_string(), "200"),
            ("/healthz", "0.0.0.0".to_owned(), "200"),
            ("/", "orders.team.svc".to_owned(), "200"),
            ("/metrics", reached.to_string(), "404"),
            ("/api/v1/token", reached.to_string(), "404"),
        ] {
            let mut stream = tokio::net::TcpStream::connect((reached, at.port())).await.unwrap();
            let request = format!("GET {path} HTTP/1.1\r\nhost: {host}:{}\r\nconnection: close\r\n\r\n", at.port());
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{reached} {path} {host}: {answer}");
            assert_eq!(answer.ends_with("\r\n\r\nok"), status == "200", "{answer}");
        }
    }
}

#[tokio::test]
async fn a_caller_shows_the_configured_credential() {
    let world = World::new().await;
    let mut listeners = Listeners::new();
    let bound = Bound::bind(&Bind::parse("127.0.0.1:0").unwrap()).await.unwrap();
    let place = bound.address().unwrap();
    let callers = Callers { bearer: Some(Secret::new("s3cret")), ..Callers::default() };
    listeners.add(bound, None, Arc::new(Texas::new(world.sidecar.clone(), &callers, &place)));
    let (url, fetch) = (format!("http://{place}/api/v1/token"), fetch());
    let ask = async |credential: Option<&str>| {
        let mut headers = http::HeaderMap::new();
        headers.insert("content-type", "application/json".parse().unwrap());
        if let Some(credential) = credential {
            headers.insert("authorization", credential.parse().unwrap());
        }
        fetch.send(Method::POST, &url, headers, BODY.into()).await.unwrap()
    };
    for wrong in [None, Some("Bearer wrong"), Some("Basic s3cret")] {
        let refused = ask(wrong).await;
        assert_eq!(refused.status, 401);
        assert_eq!(refused.headers["www-authenticate"], "Bearer");
    }
    assert!(world.issuer("entra_id").asked().is_empty());
    assert_eq!(ask(Some("Bearer s3cret")).await.status, 200);
}

#[tokio::test]
async fn over_a_unix_socket_users_that_are_listed_may_call() {
    let world = World::new().await;
    let folder = std::env::temp_dir().join(format!("deputize-sidecar-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let own = std::fs::metadata(&folder).unwrap().uid();
    let socket = folder.join("api.sock");
    for (uids, status) in [(vec![], "200"), (vec![own], "200"), (vec![own + 1], "403")] {
        let bind = Bind::Unix(socket.clone());
        let callers = Callers { uids, ..Callers::default() };
        let mut listeners = Listeners::new();
        let bound = Bound::bind(&bind).await.unwrap();
        listeners.add(bound, None, Arc::new(Texas::new(world.sidecar.clone(), &callers, &bind)));
        let mut stream = tokio::net::UnixStream::connect(&socket).await.unwrap();
        let head =
            "POST /api/v1/token HTTP/1.1\r\nhost: sidecar\r\ncontent-type: application/json\r\nconnection: close";
        let request = format!("{head}\r\ncontent-length: {}\r\n\r\n{BODY}", BODY.len());
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
        listeners.end(Duration::from_secs(5)).await;
        assert!(!socket.exists(), "it goes when the listener ends");
    }
    // What a killed process leaves behind is replaced; what somebody serves is not.
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    let first = Bound::bind(&Bind::Unix(socket.clone())).await.unwrap();
    assert!(Bound::bind(&Bind::Unix(socket.clone())).await.is_err());
    drop(first);
    std::fs::remove_dir_all(&folder).unwrap();
}

#[tokio::test]
async fn a_target_outside_of_the_policy_is_refused_with_the_rule_that_is_missing() {
    let variables = |issuers: &Issuers| {
        let mut variables = explicit(issuers);
        variables.insert("NAIS_CLUSTER_NAME".into(), "dev-gcp".into());
        variables.insert("NAIS_NAMESPACE".into(), "team".into());
        variables
    };
    let file = r#"outbound = [{ application = "billing" }]"#;
    let world = World::with(&["entra_id"], variables, Some(file)).await;
    world.token("entra_id", "dev-gcp:team:billing", Encoding::Json).await.token();
    world.token("entra_id", "api://dev-gcp.team.billing/.default", Encoding::Form).await.token();
    let (status, error, text) = world.token("entra_id", "dev-gcp:other:billing", Encoding::Json).await.error();
    assert_eq!((status, error.as_str()), (403, "access_denied"));
    let rule = r#"{ application = "billing", namespace = "other", cluster = "dev-gcp" }"#;
    assert!(text.contains("`outbound`") && text.contains(rule), "{text}");
    let user = world.issuer("entra_id").token(&json!({}));
    let graph = world.exchange("entra_id", "https://graph.microsoft.com/.default", &user, Encoding::Json).await;
    assert_eq!(graph.status, 403);
    assert_eq!(world.issuer("entra_id").asked().len(), 1, "nobody was asked for what is refused");
}

#[tokio::test]
async fn plain_http_2_is_spoken_too() {
    let world = World::new().await;
    let client = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new())
        .http2_only(true)
        .build_http::<http_body_util::Full<bytes::Bytes>>();
    let request = http::Request::post(format!("{}/api/v1/token", world.url));
    let request = request.header("content-type", "application/json").body(BODY.into()).unwrap();
    let answer = client.request(request).await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.version()), (200, http::Version::HTTP_2));
}
