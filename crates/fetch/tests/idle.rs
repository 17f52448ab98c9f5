//! How many connections are kept.
use deputize_fetch::{Allow, Fetch};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

#[tokio::test]
async fn idle_connections_are_kept_up_to_a_number() {
    for (idle, connections) in [(None, 1), (Some(1), 1), (Some(0), 3)] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let accepted = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&accepted);
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(async move {
                    let mut head = [0; 4096];
                    while socket.read(&mut head).await.is_ok_and(|length| length > 0) {
                        socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
                    }
                });
            }
        });
        let mut builder = Fetch::builder().allow(Allow { plain_loopback: true, loopback: true, ..Allow::default() });
        if let Some(idle) = idle {
            builder = builder.idle(idle);
        }
        let fetch = builder.build().unwrap();
        for _ in 0..3 {
            fetch.get(&url).await.unwrap();
        }
        assert_eq!(accepted.load(Ordering::Relaxed), connections, "{idle:?}");
    }
}
