//! G-04: HTTP/2 frames by hand, since no library would send them.
use crate::resets::over_http_2;
use crate::support::{ORDERS, PUBLIC, World};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Fields as literals without an index and without Huffman's code (RFC 7541 section 6.2.2).
fn literals(fields: &[(&str, &str)]) -> Vec<u8> {
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    fields.iter().flat_map(|(name, value)| [vec![0], text(name), text(value)].concat()).collect()
}

/// What comes of a request with these fields: its status, or nothing where the stream or the connection was reset.
async fn asked(world: &World, fields: &[(&str, &str)], body: Option<&[u8]>) -> Option<u16> {
    let body = body.map(|body| frame(0, 1, 1, body));
    sent(world, fields, body.as_deref()).await
}

/// The same of a request that goes on with these frames.
async fn sent(world: &World, fields: &[(&str, &str)], frames: Option<&[u8]>) -> Option<u16> {
    let mut stream = TcpStream::connect(world.address).await.unwrap();
    let (headers, settings) = (1, 4);
    let end = if frames.is_some() { 4 } else { 5 };
    let mut sent = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    sent.extend(frame(settings, 0, 0, &[]));
    sent.extend(frame(headers, end, 1, &literals(fields)));
    stream.write_all(&sent).await.unwrap();
    if let Some(frames) = frames {
        // The service has begun to read by then.
        tokio::time::sleep(Duration::from_millis(20)).await;
        let _ = stream.write_all(frames).await;
    }
    let mut read = Vec::new();
    loop {
        while read.len() >= 9 {
            let length = usize::from(read[0]) << 16 | usize::from(read[1]) << 8 | usize::from(read[2]);
            if read.len() < 9 + length {
                break;
            }
            let payload: Vec<u8> = read[9..9 + length].to_vec();
            match read[3] {
                // `:status` of a first answer stands first: an indexed field, or a literal of three digits.
                1 => return Some(status(&payload)),
                // RST_STREAM, GOAWAY.
                3 | 7 => return None,
                _ => drop(read.drain(..9 + length)),
            }
        }
        let mut some = vec![0; 4_096];
        match stream.read(&mut some).await {
            Ok(length) if length > 0 => read.extend_from_slice(&some[..length]),
            _ => return None,
        }
    }
}

/// RFC 7541 appendix A: 8 to 14 are `:status`.
fn status(block: &[u8]) -> u16 {
    // An update of the table's size may come first.
    let block = if block[0] & 0xe0 == 0x20 { &block[1..] } else { block };
    match block[0] {
        index if index & 0x80 != 0 => [200, 204, 206, 304, 400, 404, 500][usize::from((index & 0x7f) - 8)],
        _ => {
            // A literal whose name is indexed; digits in Huffman's code are five or six bits long.
            let (huffman, length) = (block[1] & 0x80 != 0, usize::from(block[1] & 0x7f));
            let text = &block[2..2 + length];
            if huffman { digits(text) } else { std::str::from_utf8(text).unwrap().parse().unwrap() }
        }
    }
}

/// Three digits in Huffman's code (RFC 7541 appendix B): `0` to `2` have five bits, the others six.
fn digits(bytes: &[u8]) -> u16 {
    let bits: Vec<u8> = bytes.iter().flat_map(|byte| (0..8).rev().map(move |at| byte >> at & 1)).collect();
    let (mut at, mut number) = (0, 0);
    for _ in 0..3 {
        let five = bits[at..at + 5].iter().fold(0_u16, |n, bit| n << 1 | u16::from(*bit));
        if five <= 2 {
            number = number * 10 + five;
            at += 5;
        } else {
            let six = five << 1 | u16::from(bits[at + 5]);
            number = number * 10 + (six - 0x19 + 3);
            at += 6;
        }
    }
    number
}

const GET: [(&str, &str); 4] =
    [(":method", "GET"), (":scheme", "http"), (":path", "/x"), (":authority", "api.example")];

fn with<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    [&GET[..], more].concat()
}

fn replaced<'a>(name: &str, value: &'a str) -> Vec<(&'a str, &'a str)> {
    GET.iter().map(|(n, v)| (*n, if *n == name { value } else { *v })).collect()
}

#[tokio::test]
async fn a_request_over_http_2_is_one_over_http_1_to_the_service() {
    let world = World::start(PUBLIC).await;
    assert_eq!(
        asked(
            &world,
            &with(&[("cookie", "a=1"), ("cookie", "b=2"), ("te", "trailers"), ("host", "api.example")]),
            None
        )
        .await,
        Some(200)
    );
    let seen = world.service.only();
    assert_eq!(seen.line(), "GET /x HTTP/1.1");
    assert_eq!(seen.field("cookie"), ["a=1; b=2"]);
    assert!(seen.field("te").is_empty());
    world.service.forget();
    assert_eq!(
        asked(
            &world,
            &[("content-length", "5")].iter().copied().fold(replaced(":method", "POST"), |mut all, f| {
                all.push(f);
                all
            }),
            Some(b"hello")
        )
        .await,
        Some(200)
    );
    assert!(world.service.only().0.ends_with("\r\n\r\nhello"));
}

#[tokio::test]
async fn a_request_over_http_2_has_no_more_fields_than_one_over_http_1() {
    let world = World::start(PUBLIC).await;
    for (count, status) in [(100, 200), (101, 431)] {
        assert_eq!(asked(&world, &with(&vec![("x-a", "1"); count]), None).await, Some(status), "{count}");
    }
    assert_eq!(asked(&world, &with(&[("cookie", "a=1"); 200]), None).await, Some(200), "crumbs are one field");
}

#[tokio::test]
async fn who_would_wait_to_be_told_to_go_on_over_http_2_sends_its_body_all_the_same() {
    let world = World::start(PUBLIC).await;
    let mut fields = replaced(":method", "POST");
    fields.extend([("expect", "100-continue"), ("content-length", "5")]);
    assert_eq!(asked(&world, &fields, Some(b"hello")).await, Some(200));
    assert_eq!(world.service.only().field("expect"), Vec::<&str>::new());
}

#[tokio::test]
async fn g_01_a_length_over_http_2_goes_on_in_its_one_form() {
    let world = World::start(PUBLIC).await;
    let mut fields = replaced(":method", "POST");
    fields.push(("content-length", "05"));
    assert_eq!(asked(&world, &fields, Some(b"hello")).await, Some(200));
    assert_eq!(world.service.only().field("content-length"), ["5"]);
}

#[tokio::test]
async fn g_04_what_would_be_two_requests_over_http_1_is_none() {
    let world = World::start(PUBLIC).await;
    let smuggled = "x\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n";
    for fields in [
        with(&[("x-a", smuggled)]),
        with(&[("x-a", "a\nb")]),
        with(&[("x-a", "a\0b")]),
        with(&[("x\r\ny", "1")]),
        with(&[("x:y", "1")]),
        with(&[("x y", "1")]),
        with(&[("X-Upper", "1")]),
        with(&[("", "1")]),
        with(&[("transfer-encoding", "chunked")]),
        with(&[("connection", "close")]),
        with(&[("connection", "x-a"), ("x-a", "1")]),
        with(&[("keep-alive", "1")]),
        with(&[("upgrade", "h2c")]),
        with(&[("te", "chunked")]),
        with(&[(":path", "/y")]),
        with(&[(":method", "POST")]),
        with(&[("x-a", "1"), (":late", "1")]),
        with(&[("host", "evil.example")]),
        with(&[("host", "api.example"), ("host", "api.example")]),
        with(&[("content-length", "5")]),
        with(&[("content-length", "5"), ("content-length", "6")]),
        replaced(":path", "/x HTTP/1.1\r\nhost: a\r\n\r\nGET /smuggled"),
        replaced(":path", "x"),
        replaced(":path", ""),
        replaced(":path", "/a b"),
        replaced(":method", "GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\nGET"),
        replaced(":method", ""),
        replaced(":method", "CONNECT"),
        replaced(":method", "TRACE"),
        replaced(":authority", "api.example\r\nx: y"),
        replaced(":authority", "user@api.example"),
        replaced(":authority", ""),
        GET[1..].to_vec(),
        GET[..3].to_vec(),
    ] {
        let status = asked(&world, &fields, None).await;
        assert!(status.is_none_or(|status| (400..500).contains(&status)), "{fields:?}: {status:?}");
        assert_eq!(world.service.seen(), Vec::<String>::new(), "{fields:?}");
    }
    // A body that is not as long as it was said to be.
    let mut fields = replaced(":method", "POST");
    fields.push(("content-length", "3"));
    let status = asked(&world, &fields, Some(b"hello")).await;
    assert!(status.is_none_or(|status| status == 400), "{status:?}");
    assert!(world.service.seen().iter().all(|seen| seen.starts_with("BROKEN OFF")), "{:?}", world.service.seen());
}

#[tokio::test]
async fn g_04_half_a_body_is_no_request_for_what_reason_ever_its_stream_was_reset() {
    let world = World::start(PUBLIC).await;
    for reason in [0, 2, 8] {
        for _ in 0..10 {
            let reset = [frame(0, 0, 1, b"{\"amount\":1"), frame(3, 0, 1, &[0, 0, 0, reason])].concat();
            // The connection stays open, and something is answered on it.
            let _ = timeout(Duration::from_millis(100), sent(&world, &replaced(":method", "POST"), Some(&reset))).await;
        }
        let seen = world.service.seen();
        assert!(seen.iter().all(|seen| seen.starts_with("BROKEN OFF")), "{reason}: {seen:?}");
    }
}

#[tokio::test]
async fn a_body_without_a_length_over_http_2_goes_on_whatever_the_method_is() {
    let world = World::start(PUBLIC).await;
    for method in ["GET", "HEAD", "POST"] {
        world.service.forget();
        assert_eq!(asked(&world, &replaced(":method", method), Some(b"hello")).await, Some(200), "{method}");
        assert!(world.service.only().0.contains("hello"), "{method}");
    }
}

#[tokio::test]
async fn answers_to_head_over_http_2_are_heads_alone_whoever_gives_them() {
    let world = World::start(ORDERS).await;
    let (status, length, body) = over_http_2(&world, "HEAD").await;
    let answer = world.get("/", &[]).await;
    assert_eq!((status, body.len()), (401, 0));
    assert_eq!(length, Some(answer.body.len().to_string()), "that of the body that GET has");
}

#[tokio::test]
async fn g_07_paths_over_http_2_have_the_same_one_form() {
    let world = World::start(PUBLIC).await;
    assert_eq!(asked(&world, &replaced(":path", "/a/../b//c"), None).await, Some(200));
    assert_eq!(world.service.only().target(), "/b/c");
    for path in ["/a/%2e%2e/b", "/a%2fb", "/a;b", "/a\\b", "*"] {
        assert_eq!(asked(&world, &replaced(":path", path), None).await.unwrap_or(400), 400, "{path}");
    }
}

#[tokio::test]
async fn g_04_white_space_around_a_value_makes_it_no_other_for_policies_than_for_the_service() {
    let world = World::start(PUBLIC).await;
    for value in [" admin", "admin ", "\tadmin", "admin\t", " ", "\t"] {
        assert_eq!(asked(&world, &with(&[("x-kind", value)]), None).await, Some(400), "{value:?}");
    }
    assert!(world.service.seen().is_empty());
    assert_eq!(asked(&world, &with(&[("x-kind", "an admin"), ("x-none", "")]), None).await, Some(200));
    assert_eq!(world.service.only().field("x-kind"), ["an admin"]);
}

#[tokio::test]
async fn g_08_connect_opens_no_way_over_http_2() {
    let world = World::start(PUBLIC).await;
    let at = world.service.url.trim_start_matches("http://").to_owned();
    let plain = [(":method", "CONNECT"), (":authority", at.as_str())];
    assert_eq!(asked(&world, &plain, Some(b"GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n")).await, Some(405));
    // RFC 8441, which is not offered: neither by its own method nor by another one.
    for method in ["CONNECT", "GET"] {
        let mut fields = replaced(":method", method);
        fields.insert(1, (":protocol", "websocket"));
        assert_eq!(asked(&world, &fields, None).await, None, "{method}");
    }
    assert!(world.service.seen().is_empty());
}
