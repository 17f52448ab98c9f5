//! Tokens that were cut off before their end: what an authority tells binds requests, streams that are open, and what comes after a
//! reload.
use crate::support::{ISS, NOON, ORDERS, World, get};
use jose::Header;
use serde_json::json;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use testkit::SetClock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast;

const CAEP: &str = "https://schemas.openid.net/secevent/caep/event-type/session-revoked";
const CURRENT: &str = "event: current\nid: 8\ndata:\n\n";

/// An authority's stream of cut-offs, to which each connection is told everything.
struct Teller {
    url: String,
    told: Arc<Mutex<Vec<String>>>,
    says: broadcast::Sender<String>,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Teller {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/events", listener.local_addr().unwrap());
        let (says, _) = broadcast::channel(16);
        let teller = Self { url, told: Arc::default(), says, heads: Arc::default() };
        let (told, says, heads) = (Arc::clone(&teller.told), teller.says.clone(), Arc::clone(&teller.heads));
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut head = vec![0; 8_192];
                let length = stream.read(&mut head).await.unwrap();
                heads.lock().unwrap().push(String::from_utf8_lossy(&head[..length]).into_owned());
                let mut more = says.subscribe();
                let before = told.lock().unwrap().concat();
                tokio::spawn(async move {
                    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
                    let mut next = format!("{head}{before}{CURRENT}");
                    while stream.write_all(next.as_bytes()).await.is_ok() {
                        let Ok(text) = more.recv().await else { return };
                        next = text;
                    }
                });
            }
        });
        teller
    }

    fn connections(&self) -> usize {
        self.heads.lock().unwrap().len()
    }

    /// Tells that everything of a user that was issued up to noon is cut off.
    fn cuts_off(&self, world: &World, user: &str) {
        let set = json!({
            "iss": ISS, "aud": ["gateway"], "iat": NOON.0, "jti": "1",
            "sub_id": {"format": "complex", "tenant": {"format": "opaque", "id": "t1"},
                "user": {"format": "iss_sub", "iss": ISS, "sub": user}},
            "events": {CAEP: {"event_timestamp": NOON.0, "change": 7}},
        });
        let set = world.issuer.key().sign(&Header::typ("secevent+jwt"), set.to_string().as_bytes()).unwrap();
        self.tells(&format!("event: cut-off\nid: 7\ndata: {set}\n\n{CURRENT}"));
    }

    fn tells(&self, text: &str) {
        self.told.lock().unwrap().push(text.to_owned());
        let _ = self.says.send(text.to_owned());
    }
}

fn listening(teller: &Teller, require: &str) -> String {
    let authority = format!(
        "[[authority]]\nname = \"contoso\"\ntoken_endpoint = \"{{token}}\"\nevents_endpoint = \"{}\"\n\
         client_id = \"gateway\"\nsecret = {{ env = \"SECRET\" }}\n",
        teller.url
    );
    let api = ORDERS.replacen("audiences = [", "cut_offs = \"contoso\"\naudiences = [", 1);
    format!("{authority}{api}\n{require}")
}

/// Waits until this holds, which it does soon.
async fn soon(mut holds: impl AsyncFnMut() -> bool) {
    let waited = tokio::time::timeout(Duration::from_secs(20), async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    waited.await.unwrap();
}

async fn status(world: &World, user: &str) -> u16 {
    let bearer = world.bearer(&json!({"sub": user}));
    world.get("/", &[("authorization", &bearer)]).await.status
}

#[tokio::test]
async fn a_token_that_was_cut_off_is_refused_by_its_reason_and_its_users_next_one_is_not() {
    let teller = Teller::start().await;
    let world = World::start(&listening(&teller, "")).await;
    assert_eq!((status(&world, "ada").await, status(&world, "bob").await), (200, 200));
    teller.cuts_off(&world, "ada");
    soon(async || status(&world, "ada").await == 401).await;
    let bearer = world.bearer(&json!({"sub": "ada"}));
    let refused = world.get("/", &[("authorization", &bearer)]).await;
    assert_eq!((refused.status, refused.check().as_str()), (401, "token.not_revoked"));
    assert!(refused.field("www-authenticate")[0].starts_with("Bearer"), "{refused:?}");
    assert_eq!(status(&world, "bob").await, 200);
    world.clock.advance(30);
    let renewed = world.bearer(&json!({"sub": "ada", "iat": NOON.0 + 30, "nbf": NOON.0 + 30}));
    assert_eq!(world.get("/", &[("authorization", &renewed)]).await.status, 200);
    // The stream was opened with a token of the application's own.
    let head = teller.heads.lock().unwrap()[0].to_lowercase();
    assert!(head.starts_with("get /events ") && head.contains("authorization: bearer ey"), "{head}");
    assert_eq!(world.issuer.asked()[0].field("scope"), Some("api://deputize/.default"));
}

#[tokio::test]
async fn a_reload_forgets_no_cut_off_and_opens_no_other_stream() {
    let teller = Teller::start().await;
    let file = listening(&teller, "");
    let world = World::start(&file).await;
    teller.cuts_off(&world, "ada");
    soon(async || status(&world, "ada").await == 401).await;
    for _ in 0..5 {
        world.reload(&file).unwrap();
        assert_eq!((status(&world, "ada").await, status(&world, "bob").await), (401, 200));
    }
    assert_eq!(teller.connections(), 1);
    // A configuration without it does not hear of it, and closes it.
    world.reload(ORDERS).unwrap();
    assert_eq!(status(&world, "ada").await, 200);
}

#[tokio::test]
async fn an_operation_that_needs_live_cut_offs_is_closed_while_none_are_told() {
    let teller = Teller::start().await;
    let require = "[api.operation.policies.require]\nlive_cut_offs = true\n";
    let world = World::start(&listening(&teller, require)).await;
    soon(async || status(&world, "ada").await == 200).await;
    world.clock.advance(61);
    let late = json!({"iat": NOON.0 + 60, "nbf": NOON.0 + 60});
    let refused = world.get("/", &[("authorization", &world.bearer(&late))]).await;
    assert_eq!((refused.status, refused.check().as_str()), (503, "cut_offs.current"));
    teller.tells(CURRENT);
    soon(async || world.get("/", &[("authorization", &world.bearer(&late))]).await.status == 200).await;
}

#[test]
fn who_needs_cut_offs_says_who_tells_of_them() {
    let clock = SetClock::at(NOON);
    let ports = || crate::support::ports(&clock, &Arc::new(gateway::AccessLog::off()));
    let wrong = |text: &str| {
        let file = crate::support::read(
            &text.replace("{iss}", ISS).replace("{service}", "http://a").replace("{token}", "http://127.0.0.1:1/"),
        );
        let beside = std::path::Path::new("");
        gateway::Gateway::new(&file, &crate::support::variable, beside, ports()).err().unwrap().problem
    };
    let require = "[api.operation.policies.require]\nlive_cut_offs = true\n";
    let api = ORDERS.replace("{jwks}", "https://id.example/keys");
    assert_eq!(wrong(&format!("{api}{require}")), "nobody tells what was cut off, so nobody would be let in");
    let named = api.replacen("audiences = [", "cut_offs = \"contoso\"\naudiences = [", 1);
    assert_eq!(wrong(&named), "there is no authority `contoso`");
    let authority = "[[authority]]\nname = \"contoso\"\ntoken_endpoint = \"{token}\"\nclient_id = \"gateway\"\nsecret = { env = \"SECRET\" }\n";
    let anywhere = named.replace("{iss}", "https://id.example/{tenantid}/v2.0").replace("[\"t1\"]", "[\"t1\", \"t2\"]");
    assert_eq!(wrong(&format!("{authority}{anywhere}")), "no issuer of this check tells of cut-offs of one tenant");
}

/// A service whose events go on until the gateway ends them.
pub(crate) async fn endless() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("url = \"http://{}\"", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut some = vec![0; 8_192];
            assert!(stream.read(&mut some).await.unwrap() > 0);
            let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
            stream.write_all(format!("{head}9\r\ndata: 1\n\n\r\n").as_bytes()).await.unwrap();
            held.push(stream);
        }
    });
    url
}

/// A stream of events, as far as its first.
pub(crate) async fn opened(world: &World, bearer: &str) -> TcpStream {
    let mut caller = TcpStream::connect(world.address).await.unwrap();
    caller.write_all(get("/", &[("authorization", bearer)]).as_bytes()).await.unwrap();
    let mut read = String::new();
    while !read.ends_with("data: 1\n\n\r\n") {
        let mut some = [0; 4_096];
        let length = caller.read(&mut some).await.unwrap();
        assert!(length > 0, "{read}");
        read.push_str(std::str::from_utf8(&some[..length]).unwrap());
    }
    caller
}

#[tokio::test]
async fn g_12_a_stream_that_outlives_its_token_ends_with_a_cut_off_all_the_same() {
    let teller = Teller::start().await;
    let file = listening(&teller, "[api.operation.stream]\nidle_seconds = 7200\ngrace_seconds = 3600\n");
    let world = World::start(&file.replacen("url = \"{service}\"", &endless().await, 1)).await;
    let bearer = |user: &str| world.bearer(&json!({"sub": user, "exp": NOON.0 + 100}));
    let (mut ada, bob) = (opened(&world, &bearer("ada")).await, opened(&world, &bearer("bob")).await);
    crate::support::later(&world, 200).await;
    let mut rest = [0; 64];
    assert!(ada.try_read(&mut rest).is_err(), "its token has ended, and it goes on");
    teller.cuts_off(&world, "ada");
    let ended = tokio::time::timeout(Duration::from_secs(20), ada.read(&mut rest)).await.unwrap().unwrap();
    assert_eq!(&rest[..ended], b"0\r\n\r\n");
    crate::support::later(&world, 4).await;
    assert!(bob.try_read(&mut rest).is_err(), "who is not cut off goes on");
}

#[tokio::test]
async fn g_12_a_stream_whose_user_is_cut_off_ends_within_seconds_and_no_other() {
    let teller = Teller::start().await;
    let file = listening(&teller, "[api.operation.stream]\nidle_seconds = 3600\n");
    let world = World::start(&file.replacen("url = \"{service}\"", &endless().await, 1)).await;
    let bearer = |user: &str| world.bearer(&json!({"sub": user}));
    let (mut ada, bob) = (opened(&world, &bearer("ada")).await, opened(&world, &bearer("bob")).await);
    teller.cuts_off(&world, "ada");
    let mut rest = [0; 64];
    let ended = tokio::time::timeout(Duration::from_secs(20), ada.read(&mut rest)).await.unwrap().unwrap();
    assert_eq!(&rest[..ended], b"0\r\n\r\n", "as if it were whole: the reader asks again, and is refused");
    assert!(bob.try_read(&mut rest).is_err(), "nothing more, and no end");
    assert_eq!(status(&world, "ada").await, 401);
}
