//! G-14 and G-15: callers that take what they can. Their connection is closed or has to wait, the process stays as small as it was,
//! and everybody else is served.
use super::{Folder, Running, deputize, until};
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Stdio;
use std::time::Duration;
use tokio::net::TcpSocket;

/// By how much a flood may make the process grow.
const GROWTH_KIB: u64 = 20 << 10;
/// For a write that finds no room, before the flood counts as held back.
const HELD_BACK: Duration = Duration::from_secs(1);

/// A gateway that anybody may call, before a service with long answers.
struct Flooded {
    running: Running,
    address: SocketAddr,
    _folder: Folder,
}

impl Flooded {
    fn start(name: &str, more: &str) -> Self {
        let folder = Folder::new(name);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let service = format!("http://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                std::thread::spawn(move || {
                    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: 65536\r\n\r\n{}", "x".repeat(65_536));
                    let mut some = [0; 16 << 10];
                    while stream.read(&mut some).is_ok_and(|length| length > 0) {
                        if stream.write_all(answer.as_bytes()).is_err() {
                            return;
                        }
                    }
                });
            }
        });
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let text = format!(
            "listen = \"{address}\"\naccess_log = false\n{more}\n[[upstream]]\nname = \"s\"\nurl = \"{service}\"\n\
             [[api]]\nname = \"a\"\npath = \"/\"\nupstream = \"s\"\npublic = true\n\
             [[api.operation]]\nname = \"all\"\nmethod = \"*\"\npath = \"/*\"\n"
        );
        let file = folder.write("gateway.toml", &text);
        let command = deputize(&[&file]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let flooded = Self { running: Running(command), address, _folder: folder };
        until(|| flooded.serves());
        flooded
    }

    /// Whether somebody else is served: from another address of this machine.
    fn serves(&self) -> bool {
        let Some(mut stream) = self.from(Ipv4Addr::new(127, 0, 0, 2)) else { return false };
        let mut text = Vec::new();
        stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").is_ok()
            && stream.read_to_end(&mut text).is_ok()
            && text.starts_with(b"HTTP/1.1 200")
            && text.len() > 65_536
    }

    /// A connection from this address.
    fn from(&self, address: Ipv4Addr) -> Option<TcpStream> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let stream = runtime.block_on(async {
            let socket = TcpSocket::new_v4().unwrap();
            socket.bind((address, 0).into()).unwrap();
            socket.connect(self.address).await.ok()?.into_std().ok()
        })?;
        stream.set_nonblocking(false).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Some(stream)
    }

    fn resident_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.running.0.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }

    /// Speaks HTTP/2, as far as the settings.
    fn two(&self) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_write_timeout(Some(HELD_BACK)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
        stream.write_all(&frame(SETTINGS, 0, 0, &[])).unwrap();
        stream
    }
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// `GET /` or `POST /` of the host `a`, in HPACK.
fn head(method: u8) -> Vec<u8> {
    vec![method, 0x86, 0x84, 0x41, 1, b'a']
}

const GET: u8 = 0x82;
const POST: u8 = 0x83;

/// The `n`th stream of a caller.
fn stream(n: u32) -> u32 {
    2 * n + 1
}

fn get(n: u32) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, stream(n), &head(GET))
}

/// What became of a connection that is flooded.
#[derive(Debug, PartialEq, Eq)]
enum Became {
    /// It was closed, with the code of its GOAWAY where there was one.
    Closed(Option<u32>),
    /// It goes on, or takes no more: the caller waits for itself.
    Open,
}

/// ENHANCE_YOUR_CALM.
const CALM: Option<u32> = Some(11);

/// Sends so many of these, as long as they are taken, and looks then what became of the connection.
fn flood(connection: &mut TcpStream, count: u32, frames: impl Fn(u32) -> Vec<u8>) -> Became {
    flood_for(connection, count, frames, Duration::from_secs(20))
}

/// The same; a connection of which nothing is heard for so long counts as open.
fn flood_for(connection: &mut TcpStream, count: u32, frames: impl Fn(u32) -> Vec<u8>, patience: Duration) -> Became {
    let mut all = Vec::new();
    for n in 0..count {
        all.extend(frames(n));
        if (all.len() < 64 << 10 && n + 1 < count) || connection.write_all(&std::mem::take(&mut all)).is_ok() {
            continue;
        }
        break;
    }
    connection.set_read_timeout(Some(patience)).unwrap();
    let mut said = Vec::new();
    match connection.read_to_end(&mut said) {
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Became::Open,
        // Who was closed while frames were under way may see a reset.
        _ => Became::Closed(goodbye(&said)),
    }
}

/// The code of a GOAWAY.
fn goodbye(mut frames: &[u8]) -> Option<u32> {
    let mut code = None;
    while let Some((head, after)) = frames.split_at_checked(9) {
        let length = usize::try_from(u32::from_be_bytes([0, head[0], head[1], head[2]])).unwrap();
        let (payload, next) = after.split_at_checked(length)?;
        if head[3] == GOAWAY {
            code = Some(u32::from_be_bytes(payload[4..8].try_into().unwrap()));
        }
        frames = next;
    }
    code
}

/// Each flood against a process of its own: it is told what the flood did, and the process is looked at then.
fn flooded(name: &str, flood: impl FnOnce(&Flooded)) {
    let flooded = Flooded::start(name, "");
    // What any connection of this kind takes is there already.
    let mut first = flooded.two();
    first.write_all(&get(0)).unwrap();
    let mut some = [0; 4_096];
    assert!(first.read(&mut some).unwrap() > 0);
    drop(first);
    assert!(flooded.serves());
    let before = flooded.resident_kib();
    flood(&flooded);
    assert!(flooded.serves(), "everybody else is served");
    let after = flooded.resident_kib();
    assert!(after < before + GROWTH_KIB, "{before} KiB before, {after} KiB after");
}

#[test]
fn g_15_rapid_resets_end_the_connection() {
    flooded("rapid-reset", |gateway| {
        let mut connection = gateway.two();
        let one = |n| [get(n), frame(RST_STREAM, 0, stream(n), &8_u32.to_be_bytes())].concat();
        assert_eq!(flood(&mut connection, 10_000, one), Became::Closed(CALM));
    });
}

#[test]
fn g_15_streams_that_the_gateway_is_made_to_reset_end_the_connection() {
    // A window that grows by nothing, and one that grows beyond what there is.
    for (increment, code) in [(0_u32, Some(1)), (0x7fff_ffff, CALM)] {
        flooded("made-you-reset", |gateway| {
            let mut connection = gateway.two();
            let one = |n| [get(n), frame(WINDOW_UPDATE, 0, stream(n), &increment.to_be_bytes())].concat();
            assert_eq!(flood(&mut connection, 10_000, one), Became::Closed(code));
        });
    }
}

#[test]
fn g_15_a_head_that_never_ends_ends_the_connection() {
    flooded("continuation", |gateway| {
        let mut connection = gateway.two();
        connection.write_all(&frame(HEADERS, END_STREAM, 1, &head(GET))).unwrap();
        // Fields that are not indexed: `x`, and 4000 bytes of it.
        let mut field = vec![0, 1, b'x', 0x7f, 0xa1, 0x1e];
        field.extend([b'y'; 4_000]);
        let became = flood(&mut connection, 10_000, |_| frame(CONTINUATION, 0, 1, &field));
        assert_eq!(became, Became::Closed(CALM));
    });
}

#[test]
fn g_15_fields_that_unpack_to_much_are_no_request() {
    flooded("hpack-bomb", |gateway| {
        let mut connection = gateway.two();
        // 3500 bytes go into the table once, and into the request 10000 times.
        let mut block = head(GET);
        block.extend([0x40, 1, b'x', 0x7f, 0xad, 0x1a]);
        block.extend([b'y'; 3_500]);
        block.extend([0xbe; 10_000]);
        let became = flood(&mut connection, 64, |n| frame(HEADERS, END_HEADERS | END_STREAM, stream(n), &block));
        assert_eq!(became, Became::Closed(CALM));
    });
}

#[test]
fn g_15_empty_frames_settings_and_pings_take_nothing() {
    for (name, one, became) in [
        ("empty-data", frame(DATA, 0, 1, &[]), Became::Closed(CALM)),
        ("empty-continuation", frame(CONTINUATION, 0, 1, &[]), Became::Closed(CALM)),
        // What is to be answered is read only as fast as its answers are.
        ("settings", frame(SETTINGS, 0, 0, &[]), Became::Open),
        ("ping", frame(PING, 0, 0, b"flooding"), Became::Open),
        ("window", frame(WINDOW_UPDATE, 0, 0, &1_u32.to_be_bytes()), Became::Open),
    ] {
        flooded(name, |gateway| {
            let mut connection = gateway.two();
            if name == "empty-data" {
                connection.write_all(&frame(HEADERS, END_HEADERS, 1, &head(POST))).unwrap();
            }
            if name == "empty-continuation" {
                connection.write_all(&frame(HEADERS, END_STREAM, 1, &head(GET))).unwrap();
            }
            let patience = if became == Became::Open { HELD_BACK } else { Duration::from_secs(20) };
            assert_eq!(flood_for(&mut connection, 1_000_000, |_| one.clone(), patience), became, "{name}");
        });
    }
}

/// Asks for 128 answers, and takes nothing of them.
fn stalled(gateway: &Flooded) -> TcpStream {
    let mut connection = gateway.two();
    connection.write_all(&frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0])).unwrap();
    assert_eq!(flood_for(&mut connection, 128, get, HELD_BACK), Became::Open);
    connection
}

#[test]
fn g_15_who_opens_no_window_makes_nothing_grow_and_keeps_nobody_else_out() {
    let mut held = None;
    flooded("zero-window", |gateway| held = Some(stalled(gateway)));
    drop(held);
    let gateway = Flooded::start("zero-windows", "");
    let held: Vec<TcpStream> = (0..16).map(|_| stalled(&gateway)).collect();
    assert!(gateway.serves(), "the service has room for another caller");
    drop(held);
}

#[test]
fn g_15_a_stream_that_is_over_is_not_opened_again() {
    flooded("reused", |gateway| {
        let mut connection = gateway.two();
        let became = flood(&mut connection, 1, |_| [get(5), get(5), get(1)].concat());
        assert!(matches!(became, Became::Closed(Some(1 | 5))), "PROTOCOL_ERROR or STREAM_CLOSED: {became:?}");
    });
}

#[test]
fn g_14_one_address_takes_its_share_of_connections_and_no_other_waits_for_one() {
    let gateway = Flooded::start("many-connections", "connections_per_address = 64");
    let mut held: Vec<TcpStream> = (0..64).map(|_| TcpStream::connect(gateway.address).unwrap()).collect();
    // Those that are one too many are closed without a word.
    for _ in 0..200 {
        let mut extra = TcpStream::connect(gateway.address).unwrap();
        extra.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut text = Vec::new();
        let _ = extra.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
        let _ = extra.read_to_end(&mut text);
        assert!(text.is_empty(), "{}", String::from_utf8_lossy(&text));
    }
    assert!(gateway.serves(), "another address is served");
    // Each of the 64 is.
    for stream in &mut held {
        stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").unwrap();
        let mut text = Vec::new();
        stream.read_to_end(&mut text).unwrap();
        assert!(text.starts_with(b"HTTP/1.1 200"));
    }
    drop(held);
    until(|| {
        let mut stream = TcpStream::connect(gateway.address).unwrap();
        let mut text = Vec::new();
        let _ = stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
        stream.read_to_end(&mut text).is_ok() && text.starts_with(b"HTTP/1.1 200")
    });
}
