//! Out through a web proxy: CONNECT with credentials, past it where it says so, and nowhere else when it refuses.
#![expect(clippy::unwrap_used, reason = "a test may stop")]
use axum::Router;
use axum::routing::get;
use deputize_fetch as fetch;
use fetch::{Allow, Fetch, FetchError, Proxy};
use std::sync::{Arc, Mutex};
use testkit::TlsServer;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

/// Takes CONNECT requests with the right credentials, and keeps what it was sent.
async fn proxy(answer: &'static str) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let keep = Arc::clone(&seen);
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let keep = Arc::clone(&keep);
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(socket.read_u8().await.unwrap());
                }
                let head = String::from_utf8(head).unwrap();
                let target = head.split(' ').nth(1).unwrap().to_owned();
                keep.lock().unwrap().push(head);
                socket.write_all(answer.as_bytes()).await.unwrap();
                if answer.contains("200") {
                    // Proxies resolve names themselves.
                    let port = target.rsplit(':').next().unwrap().to_owned();
                    let mut upstream = TcpStream::connect(format!("127.0.0.1:{port}")).await.unwrap();
                    let _ = copy_bidirectional(&mut socket, &mut upstream).await;
                }
            });
        }
    });
    (address, seen)
}

async fn server() -> TlsServer {
    TlsServer::start(Router::new().route("/", get(async || "hello"))).await.unwrap()
}

fn fetching(server: &TlsServer, proxy: Proxy) -> Fetch {
    let builder = Fetch::builder().ca_pem(server.ca_pem().as_bytes()).unwrap();
    builder.allow(Allow { loopback: true, ..Allow::default() }).proxy(proxy).build().unwrap()
}

#[tokio::test]
async fn https_goes_through_the_proxy_with_its_credentials_and_is_verified_end_to_end() {
    let server = server().await;
    let (address, seen) = proxy("HTTP/1.1 200 Connection established\r\n\r\n").await;
    let through = fetching(&server, Proxy::new(&format!("http://ada:p%40ss@{address}")).unwrap());
    assert_eq!(through.get(&server.url()).await.unwrap().body, "hello");
    {
        let seen = seen.lock().unwrap();
        let authority = server.url().trim_start_matches("https://").to_owned();
        assert!(seen[0].starts_with(&format!("CONNECT {authority} HTTP/1.1\r\n")), "{}", seen[0]);
        assert!(seen[0].contains("Proxy-Authorization: Basic YWRhOnBAc3M=\r\n"), "{}", seen[0]);
    }
    // The proxy carries bytes; it cannot stand in for the host.
    let strict = Fetch::builder().allow(Allow { loopback: true, ..Allow::default() });
    let strict = strict.proxy(Proxy::new(&address).unwrap()).build().unwrap();
    assert!(matches!(strict.get(&server.url()).await, Err(FetchError::Unreachable { .. })));
    assert_eq!(seen.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn excepted_hosts_are_reached_directly() {
    let server = server().await;
    let (address, seen) = proxy("HTTP/1.1 200 OK\r\n\r\n").await;
    let past = fetching(&server, Proxy::new(&address).unwrap().except("example.test, localhost"));
    assert_eq!(past.get(&server.url()).await.unwrap().status, 200);
    assert_eq!(seen.lock().unwrap().len(), 0);
}

#[tokio::test]
async fn a_proxy_that_refuses_is_told_of_and_not_gone_around() {
    let server = server().await;
    for (answer, reason) in [
        ("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "proxy authorization required"),
        ("HTTP/1.1 403 Forbidden\r\n\r\n", "unsuccessful"),
        ("HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1/\r\n\r\n", "unsuccessful"),
        ("nonsense\r\n\r\n", "unsuccessful"),
    ] {
        let (address, _) = proxy(answer).await;
        let refused = fetching(&server, Proxy::new(&format!("u:canary@{address}")).unwrap());
        let error = refused.get(&server.url()).await.unwrap_err();
        assert!(matches!(&error, FetchError::Unreachable { reason: told, .. } if told.contains(reason)), "{error}");
        assert!(!format!("{error:?} {error}").contains("canary"));
    }
}

#[tokio::test]
async fn addresses_that_may_not_be_reached_stay_so_behind_a_proxy() {
    let server = server().await;
    let (address, seen) = proxy("HTTP/1.1 200 OK\r\n\r\n").await;
    let through = fetching(&server, Proxy::new(&address).unwrap());
    for blocked in ["https://169.254.169.254/", "https://10.0.0.1/", "https://[fe80::1]/"] {
        assert!(matches!(through.get(blocked).await, Err(FetchError::Blocked(_))), "{blocked}");
    }
    assert_eq!(seen.lock().unwrap().len(), 0);
}
