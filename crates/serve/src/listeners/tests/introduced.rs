//! Connections that a proxy tells whose they are.
use super::*;

/// Answers with the addresses that a request came from and to.
struct Whose;

impl Serve for Whose {
    type Body = Words;

    async fn answer(&self, _: Request<Incoming>, caller: Caller) -> Response<Words> {
        let mut response = Response::new(Words(0, None));
        let addresses = format!("{:?} {:?}", caller.address, caller.reached);
        response.headers_mut().insert("x-whose", addresses.parse().unwrap());
        response
    }
}

/// Proxies of `10.0.0.0/8` tell whose connections they carry, and nobody else comes in.
struct Proxies;

impl Gate for Proxies {
    fn admit(&self, from: Option<IpAddr>) -> Option<Way> {
        let is_proxy = matches!(from, Some(IpAddr::V4(address)) if address.octets()[0] == 10);
        is_proxy.then_some(Way { tls: None, is_introduced: true })
    }
}

const PROXY: &str = "10.0.0.1";
const TOLD: &str = "PROXY TCP4 203.0.113.9 198.51.100.1 4711 443\r\n";
const ASKED: &str = "GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";

fn door(most: usize) -> (Door, Listeners) {
    let listeners = Listeners::new();
    let door = Door {
        gate: Arc::new(Proxies),
        service: Arc::new(Whose),
        permits: Arc::new(Semaphore::new(8)),
        shares: Some(Shares::new(most, |address| address.to_string() == PROXY)),
        leaving: listeners.leaving.subscribe(),
        ended: listeners.ended.subscribe(),
    };
    (door, listeners)
}

fn opened(door: &Door, from: &str) -> DuplexStream {
    let (ours, theirs) = duplex(4 << 10);
    let permit = Arc::clone(&door.permits).try_acquire_owned().unwrap();
    let caller = Caller { address: Some(from.parse().unwrap()), ..Caller::default() };
    if let Some(connection) = door.open(Box::new(theirs), caller, permit) {
        tokio::spawn(connection);
    }
    ours
}

/// All that is said until the connection is closed.
async fn said(stream: &mut DuplexStream) -> String {
    let mut text = Vec::new();
    let _ = timeout(Duration::from_mins(1), stream.read_to_end(&mut text)).await.unwrap();
    String::from_utf8(text).unwrap()
}

async fn told(door: &Door, from: &str, bytes: impl AsRef<[u8]>) -> String {
    let mut stream = opened(door, from);
    let _ = stream.write_all(bytes.as_ref()).await;
    said(&mut stream).await
}

#[tokio::test(start_paused = true)]
async fn g_10_a_connection_is_that_of_the_address_that_a_proxy_tells() {
    let (door, _listeners) = door(8);
    let said = told(&door, PROXY, format!("{TOLD}{ASKED}")).await;
    assert!(said.contains("x-whose: Some(203.0.113.9) Some(198.51.100.1)\r\n"), "{said}");
    let itself = told(&door, PROXY, format!("PROXY UNKNOWN\r\n{ASKED}")).await;
    assert!(itself.contains("x-whose: Some(10.0.0.1) None\r\n"), "{itself}");
}

#[tokio::test(start_paused = true)]
async fn g_10_who_is_no_proxy_or_tells_nothing_that_can_be_read_is_closed_without_a_word() {
    let (door, _listeners) = door(8);
    assert_eq!(told(&door, "192.0.2.1", format!("{TOLD}{ASKED}")).await, "", "a stranger tells who they are");
    for (what, bytes) in [
        ("a request", ASKED.to_owned()),
        ("half a header", TOLD.replace("4711 443\r\n", "")),
        ("a header in two", TOLD.replace("4711", "\r\n4711") + ASKED),
        ("a header of another family", TOLD.replace("TCP4", "UDP4") + ASKED),
        ("no address", TOLD.replace("203.0.113.9", "203.0.113.999") + ASKED),
        ("a header without end", format!("PROXY UNKNOWN {}", "f".repeat(4_000))),
        ("two headers", format!("{TOLD}{TOLD}{ASKED}")),
        ("another second one", format!("{TOLD}PROXY UNKNOWN\r\n{ASKED}")),
        ("a second one in octets", format!("{TOLD}\r\n\r\n\0\r\nQUIT\n \0\0\0{ASKED}")),
    ] {
        assert_eq!(told(&door, PROXY, bytes).await, "", "{what}");
        assert_eq!(door.permits.available_permits(), 8, "{what} keeps nothing");
    }
}

#[tokio::test(start_paused = true)]
async fn g_14_a_header_has_the_time_of_a_handshake_however_it_trickles() {
    let (door, _listeners) = door(8);
    for first in ["", "P", TOLD] {
        let began = Instant::now();
        let mut stream = opened(&door, PROXY);
        stream.write_all(first.as_bytes()).await.unwrap();
        assert_eq!(said(&mut stream).await, "");
        assert_eq!(began.elapsed().as_secs(), PATIENCE.as_secs(), "{first}");
    }
    let mut stream = opened(&door, PROXY);
    let began = Instant::now();
    for octet in TOLD.bytes() {
        let _ = stream.write_all(&[octet]).await;
        sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(said(&mut stream).await, "");
    assert!(began.elapsed() > PATIENCE && door.permits.available_permits() == 8);
}

#[tokio::test(start_paused = true)]
async fn g_14_a_connection_counts_as_that_of_the_told_address_and_not_of_the_proxy() {
    let (door, _listeners) = door(1);
    let asked = ASKED.replace("connection: close\r\n", "");
    let mut one = opened(&door, PROXY);
    one.write_all(format!("{TOLD}{asked}").as_bytes()).await.unwrap();
    let mut answer = [0; 256];
    assert!(one.read(&mut answer).await.unwrap() > 0);
    assert_eq!(told(&door, PROXY, format!("{TOLD}{ASKED}")).await, "", "it has its share");
    let other = told(&door, PROXY, TOLD.replace("203.0.113.9", "203.0.113.10") + ASKED).await;
    assert!(other.starts_with("HTTP/1.1 200"), "{other}");
    drop(one);
    tokio::task::yield_now().await;
    assert!(told(&door, PROXY, format!("{TOLD}{ASKED}")).await.starts_with("HTTP/1.1 200"));
}
