//! What is open when the time that it had is over.
use super::*;
use std::net::SocketAddr;
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// Never answers, and tells of each request when it begins (`true`), and when it is over (`false`).
struct Stuck(UnboundedSender<bool>);

struct Gone(UnboundedSender<bool>);

impl Drop for Gone {
    fn drop(&mut self) {
        let _ = self.0.send(false);
    }
}

impl Serve for Stuck {
    type Body = Words;

    async fn answer(&self, _: Request<Incoming>, _: Caller) -> Response<Words> {
        let _gone = Gone(self.0.clone());
        let _ = self.0.send(true);
        std::future::pending().await
    }
}

async fn stuck(mut listeners: Listeners) -> (Listeners, SocketAddr, UnboundedReceiver<bool>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (tells, told) = unbounded_channel();
    listeners.add(Socket::Tcp(listener), None, Arc::new(Stuck(tells)));
    (listeners, address, told)
}

async fn asking(address: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    stream
}

#[tokio::test]
async fn what_is_open_when_its_time_is_over_is_dropped_before_the_end() {
    let (listeners, address, mut told) = stuck(Listeners::new()).await;
    let frames = [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        frame(4, 0, 0, &[]),
        frame(1, 5, 1, &[0x82, 0x86, 0x84, 0x41, 1, b'a']),
        frame(1, 5, 3, &[0x82, 0x86, 0x84, 0x41, 1, b'a']),
    ];
    let _one = asking(address, b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let _two = asking(address, &frames.concat()).await;
    for _ in 0..3 {
        assert_eq!(told.recv().await, Some(true));
    }
    listeners.end(Duration::from_millis(10)).await;
    for _ in 0..3 {
        assert_eq!(told.try_recv(), Ok(false), "what is kept of a request is there");
    }
}

#[tokio::test]
async fn g_14_connections_of_some_listeners_take_nothing_of_what_others_have() {
    let (first, full, mut told) = stuck(Listeners::at_most(1)).await;
    let (second, free, mut told_too) = stuck(Listeners::at_most(1)).await;
    let request = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";
    let one = asking(full, request).await;
    assert_eq!(told.recv().await, Some(true));
    let _waits = asking(full, request).await;
    let _other = asking(free, request).await;
    assert_eq!(told_too.recv().await, Some(true));
    assert!(told.try_recv().is_err(), "there is one at once");
    drop(one);
    assert_eq!((told.recv().await, told.recv().await), (Some(false), Some(true)), "and then the next");
    drop((first, second));
}
