//! What is left of secrets in the memory of the process, as a dump of it would show: nothing, once nobody holds them. In a process
//! of its own, and searched without the secrets being written down anywhere.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may stop")]
use client::{Ask, Client, Endpoints, Sending, Transport};
use decision::{Clock, Timestamp};
use http::{Request, Response};
use oauth::Secret;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use zeroize::Zeroize;

const LENGTH: usize = 64;
/// What is looked for begins here: an allocator writes over the beginning of what is freed.
const FROM: usize = 24;
const CHUNK: usize = 1 << 20;
/// Which secret is which.
const OF_CLIENT: usize = 0;
const OF_USER: usize = 1;
const ACCESS: usize = 2;
const REFRESH: usize = 3;

/// The octet of a secret at a place.
fn octet(secret: usize, place: usize) -> u8 {
    let number = (secret + 3) * 7_919 + (place + 1) * (place + 5) * 104_729 + place * secret * 31;
    b'a' + u8::try_from((number >> 3) % 26).unwrap()
}

fn octets(secret: usize) -> impl Iterator<Item = u8> {
    (0..LENGTH).map(move |place| octet(secret, place))
}

fn secret(number: usize) -> Secret {
    let mut text = String::with_capacity(LENGTH);
    text.extend(octets(number).map(char::from));
    Secret::new(text)
}

/// How often a secret stands in what this process may write to.
fn found(secret: usize) -> usize {
    let memory = File::open("/proc/self/mem").unwrap();
    let mut chunk = vec![0; CHUNK + LENGTH];
    // What is read here is in the buffer too, and does not count.
    let own = chunk.as_ptr() as usize..chunk.as_ptr() as usize + chunk.len();
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let mut count = 0;
    for line in maps.lines().filter(|line| line.split(' ').nth(1).is_some_and(|rights| rights.starts_with("rw"))) {
        let (from, to) = line.split(' ').next().unwrap().split_once('-').unwrap();
        let [from, to] = [from, to].map(|address| usize::from_str_radix(address, 16).unwrap());
        let mut at = from;
        while at < to {
            let wanted = (to - at).min(CHUNK + LENGTH - FROM - 1);
            let Ok(length) = memory.read_at(&mut chunk[..wanted], at as u64) else { break };
            let first = octet(secret, FROM);
            for place in 0..length.saturating_sub(LENGTH - FROM - 1) {
                let is_here =
                    chunk[place] == first && (FROM..LENGTH).all(|n| chunk[place + n - FROM] == octet(secret, n));
                count += usize::from(is_here && !own.contains(&(at + place)));
            }
            at += CHUNK;
        }
    }
    chunk.zeroize();
    count
}

struct Network;

impl Transport for Network {
    fn send(&self, request: Request<client::Body>) -> Sending<'_> {
        Box::pin(async move {
            let sent = request.into_body();
            // They were there to be sent.
            let is_sent = |secret| sent.windows(LENGTH).any(|part| part.iter().copied().eq(octets(secret)));
            assert!(is_sent(OF_CLIENT) && is_sent(OF_USER));
            let mut body = Vec::with_capacity(512);
            body.extend(br#"{"token_type":"Bearer","expires_in":3600,"access_token":""#);
            body.extend(octets(ACCESS));
            body.extend(br#"","refresh_token":""#);
            body.extend(octets(REFRESH));
            body.extend(br#""}"#);
            Ok(Response::new(body))
        })
    }
}

struct Noon;

impl Clock for Noon {
    fn now(&self) -> Timestamp {
        Timestamp(1_700_000_000)
    }
}

#[tokio::test]
async fn secrets_leave_nothing_in_memory_once_nobody_holds_them() {
    let client = Client::builder(Endpoints::entra("https://login.example/contoso"), "orders")
        .secret(secret(OF_CLIENT))
        .build(Arc::new(Network), Arc::new(Noon), Arc::new(|bytes: &mut [u8]| bytes.fill(7)));
    let user = secret(OF_USER);
    let held = client.ask(&Ask::on_behalf_of(&user, "api://billing/.default")).await.unwrap();
    assert!(client.ask(&Ask::on_behalf_of(&user, "api://billing/.default")).await.unwrap().cached);
    // The search finds what is there, and each thing once: there are no copies.
    assert_eq!([OF_CLIENT, OF_USER, ACCESS, REFRESH].map(found), [1, 1, 1, 1]);
    assert_eq!(found(9), 0, "and nothing that is not");
    drop((user, held));
    assert_eq!([OF_CLIENT, OF_USER, ACCESS, REFRESH].map(found), [1, 0, 1, 1], "the cache holds no user's token");
    client.cache().flush();
    assert_eq!([OF_CLIENT, OF_USER, ACCESS, REFRESH].map(found), [1, 0, 0, 0], "flushed is gone");
    let user = secret(OF_USER);
    client.ask(&Ask::on_behalf_of(&user, "api://billing/.default")).await.unwrap();
    client.cache().forget_subject(&user);
    drop(user);
    assert_eq!([OF_CLIENT, OF_USER, ACCESS, REFRESH].map(found), [1, 0, 0, 0], "so is what was revoked");
    drop(client);
    assert_eq!(found(OF_CLIENT), 0);
}
