//! Headers as load balancers write them, and as nobody may.
use super::*;
use proptest::prelude::*;

fn from(from: &str, to: &str) -> Header {
    Header::Whole(Told::From(from.parse().unwrap(), to.parse().unwrap()))
}

const ITSELF: Option<Header> = Some(Header::Whole(Told::Itself));

/// A header in octets.
fn written(command: u8, family: u8, variable: &[u8]) -> Vec<u8> {
    let length = u16::try_from(variable.len()).unwrap().to_be_bytes();
    [OCTETS, &[command, family], &length, variable].concat()
}

/// Two addresses and two ports of IPv4, and what is added to them.
fn four(added: &[u8]) -> Vec<u8> {
    written(0x21, 0x11, &[&[203, 0, 113, 9, 10, 0, 0, 1, 0x1f, 0x90, 1, 0xbb], added].concat())
}

fn six() -> Vec<u8> {
    let address = |text: &str| text.parse::<Ipv6Addr>().unwrap().octets();
    let (a, b) = (address("2001:db8::9"), address("2001:db8::1"));
    written(0x21, 0x21, &[&a[..], &b[..], &[0; 4]].concat())
}

/// Headers that are none too short and none too long.
fn sound() -> Vec<Vec<u8>> {
    let longest = format!("PROXY UNKNOWN {}\r\n", "f".repeat(LONGEST_TEXT - 16));
    assert_eq!(longest.len(), LONGEST_TEXT);
    let text = ["PROXY UNKNOWN\r\n", "PROXY TCP4 203.0.113.9 10.0.0.1 4711 443\r\n", longest.as_str()];
    let text = text.map(|text| text.as_bytes().to_vec());
    let octets = [written(0x20, 0, &[]), four(&[]), six(), four(&[4; LONGEST_VARIABLE - 12])];
    text.into_iter().chain(octets).collect()
}

#[test]
fn text_tells_two_addresses_or_that_nothing_is_known() {
    assert_eq!(header(b"PROXY TCP4 203.0.113.9 10.0.0.1 4711 443\r\n"), Some(from("203.0.113.9", "10.0.0.1")));
    assert_eq!(header(b"PROXY TCP6 2001:db8::9 ::1 0 65535\r\n"), Some(from("2001:db8::9", "::1")));
    for unknown in ["PROXY UNKNOWN\r\n", "PROXY UNKNOWN ffff:: ffff:: 65535 65535\r\n", "PROXY UNKNOWN x\r\n"] {
        assert_eq!(header(unknown.as_bytes()), ITSELF, "{unknown}");
    }
}

#[test]
fn octets_tell_two_addresses_or_that_the_load_balancer_looks_itself() {
    assert_eq!(header(&four(&[])), Some(from("203.0.113.9", "10.0.0.1")));
    assert_eq!(header(&four(&[4, 0, 1, 0])), Some(from("203.0.113.9", "10.0.0.1")), "what is added is skipped");
    assert_eq!(header(&six()), Some(from("2001:db8::9", "2001:db8::1")));
    for itself in [written(0x20, 0, &[]), written(0x20, 0x11, &[1; 12]), written(0x21, 0, &[]), written(0x21, 0, &[7])]
    {
        assert_eq!(header(&itself), ITSELF, "{itself:?}");
    }
}

#[test]
fn what_is_malformed_or_over_long_is_no_header() {
    for text in [
        "GET / HTTP/1.1\r\n",
        "proxy TCP4 203.0.113.9 10.0.0.1 4711 443\r\n",
        "PROXY  TCP4 203.0.113.9 10.0.0.1 4711 443\r\n",
        "PROXY TCP4 203.0.113.9 10.0.0.1 4711 443\n",
        "PROXY TCP4 203.0.113.9 10.0.0.1 4711 443\r\nG",
        "PROXY TCP4 203.0.113.9 10.0.0.1 4711 443 \r\n",
        "PROXY TCP4 203.0.113.9 10.0.0.1 4711\r\n",
        "PROXY TCP4 203.0.113.9  10.0.0.1 4711 443\r\n",
        "PROXY TCP4 203.0.113.9 10.0.0.1 04711 443\r\n",
        "PROXY TCP4 203.0.113.9 10.0.0.1 +4711 443\r\n",
        "PROXY TCP4 203.0.113.9 10.0.0.1 4711 65536\r\n",
        "PROXY TCP4 0203.0.113.9 10.0.0.1 4711 443\r\n",
        "PROXY TCP4 203.0.113 10.0.0.1 4711 443\r\n",
        "PROXY TCP4 ::1 ::1 4711 443\r\n",
        "PROXY TCP6 203.0.113.9 10.0.0.1 4711 443\r\n",
        "PROXY TCP6 fe80::1%eth0 ::1 4711 443\r\n",
        "PROXY UDP4 203.0.113.9 10.0.0.1 4711 443\r\n",
        "PROXY UNKNOWNS\r\n",
        "PROXY UNKNOWN\r\r\n",
        "PROXY \r\n",
    ] {
        assert_eq!(header(text.as_bytes()), None, "{text:?}");
    }
    for read in [
        written(0x11, 0x11, &[1; 12]),
        written(0x22, 0x11, &[1; 12]),
        written(0x21, 0x11, &[1; 11]),
        written(0x21, 0x12, &[1; 12]),
        written(0x21, 0x21, &[1; 35]),
        written(0x21, 0x31, &[1; 216]),
        written(0x20, 0x00, &[1; LONGEST_VARIABLE + 1]),
        four(&[0; LONGEST_VARIABLE - 11]),
        [four(&[]), vec![0]].concat(),
    ] {
        assert_eq!(header(&read), None, "{read:?}");
    }
    assert_eq!(header(format!("PROXY UNKNOWN {}", "f".repeat(LONGEST_TEXT - 14)).as_bytes()), None);
    assert_eq!(header(format!("PROXY UNKNOWN {}\r\n", "f".repeat(LONGEST_TEXT - 15)).as_bytes()), None);
}

#[test]
fn no_octet_is_asked_for_that_stands_behind_the_header() {
    for whole in sound() {
        for length in 0..whole.len() {
            let Some(Header::Missing(missing)) = header(&whole[..length]) else { panic!("{length} of {whole:?}") };
            assert!((1..=whole.len() - length).contains(&missing), "{missing} after {length} of {whole:?}");
        }
        assert!(matches!(header(&whole), Some(Header::Whole(_))), "{whole:?}");
    }
}

#[tokio::test]
async fn what_follows_is_given_on_and_a_second_header_is_refused() {
    for whole in sound() {
        for follows in
            ["GET / HTTP/1.1\r\n", "POST / HTTP/1.1\r\n", "PRI * HTTP/2.0\r\n\r\n", "\r\nGET /", "\u{16}\u{3}"]
        {
            let all = [&whole, follows.as_bytes()].concat();
            let mut stream = all.as_slice();
            let (_, first) = introduced(&mut stream).await.unwrap();
            assert_eq!([&first, stream].concat(), follows.as_bytes());
        }
        for second in sound() {
            assert!(introduced(&mut [whole.clone(), second].concat().as_slice()).await.is_none());
        }
        for length in 0..=whole.len() {
            assert!(introduced(&mut &whole[..length]).await.is_none(), "the connection ends");
        }
    }
}

proptest! {
    #[test]
    fn nothing_that_is_read_brings_the_reader_down_or_has_it_read_without_end(
        at in 0..7_usize,
        changes in proptest::collection::vec((0..560_usize, any::<u8>()), 0..6),
        length in 0..560_usize,
        noise in proptest::collection::vec(any::<u8>(), 0..64),
    ) {
        let mut read = sound().swap_remove(at);
        for (place, octet) in changes {
            if let Some(place) = read.get_mut(place) {
                *place = octet;
            }
        }
        read.truncate(length);
        for read in [&read, &noise, &[&read[..], &noise].concat()] {
            if let Some(Header::Missing(missing)) = header(read) {
                prop_assert!(missing > 0 && read.len() + missing <= FIXED + LONGEST_VARIABLE);
            }
        }
    }
}
