//! Whom the sidecar believes about cut-offs, and how it asks for them: against a stream that says what the test says.
use crate::support::{Encoding, Issuers, NOON, World};
use jose::{Algorithm, Header, SigningKey};
use serde_json::{Value, json};
use sidecar::{File, Settings};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use testkit::{Issuer, SetClock};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

const CAEP: &str = "https://schemas.openid.net/secevent/caep/event-type/session-revoked";

/// One answer for each connection, each then held open.
struct Stream {
    url: String,
    answers: Arc<Mutex<Vec<String>>>,
    heads: Arc<Mutex<Vec<String>>>,
    _tasks: JoinSet<()>,
}

impl Stream {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/events", listener.local_addr().unwrap());
        let (answers, heads) = (Arc::<Mutex<Vec<String>>>::default(), Arc::<Mutex<Vec<String>>>::default());
        let (saying, seen) = (Arc::clone(&answers), Arc::clone(&heads));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut held = Vec::new();
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut head = vec![0; 8_192];
                let length = stream.read(&mut head).await.unwrap();
                seen.lock().unwrap().push(String::from_utf8_lossy(&head[..length]).into_owned());
                let answer = saying.lock().unwrap().pop();
                let answer = answer.unwrap_or_else(|| "HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n".into());
                let _ = stream.write_all(answer.as_bytes()).await;
                held.push(stream);
            }
        });
        Self { url, answers, heads, _tasks: tasks }
    }

    /// What the next connection is told.
    fn say(&self, events: &str) {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
        self.answers.lock().unwrap().push(format!("{head}{events}"));
    }
}

/// A provider that tells of cut-offs, and one that does not.
async fn world(stream: &Stream) -> World {
    let clock = SetClock::at(NOON);
    let mut issuers: Issuers = HashMap::new();
    for name in ["told", "other"] {
        issuers.insert(name, Issuer::start(clock.clone(), Algorithm::ES256).await.unwrap());
    }
    let provider = |name: &str| {
        let issuer = &issuers[name];
        format!(
            "[[provider]]\nname = \"{name}\"\nissuer = \"{}/v2.0\"\njwks_uri = \"{}\"\ntoken_endpoint = \"{}\"\nclient_id = \"me\"\n\
             secret = {{ env = \"S\" }}\ntoken = \"client-credentials\"\nexchange = \"on-behalf-of\"\n",
            issuer.url(),
            issuer.jwks_url(),
            issuer.token_url()
        )
    };
    let file = format!("{}events = \"{}\"\n{}", provider("told"), stream.url, provider("other"));
    let file: File = toml::from_str(&file).unwrap();
    let settings = Settings::read(&|name| (name == "S").then(|| "secret".to_owned()), Some(file)).unwrap();
    World::of(settings, clock, issuers).await
}

async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let wait = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), wait).await.unwrap_or_else(|_| panic!("{what}"));
}

async fn metric(world: &World, name: &str) -> f64 {
    let text = world.get(&format!("{}/metrics", world.metrics)).await.text;
    let line = text.lines().find(|line| line.starts_with(name) && line.contains("told"));
    line.unwrap_or_else(|| panic!("{name}: {text}")).rsplit(' ').next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn x_14_only_the_provider_itself_cuts_off_and_only_what_is_its_own() {
    let stream = Stream::new().await;
    let world = world(&stream).await;
    let (told, other) = (world.issuer("told"), world.issuer("other"));
    let everything = |key: &SigningKey, typ: &str, iss: &str, aud: &str| {
        let claims =
            json!({"iss": format!("{iss}/v2.0"), "aud": aud, "events": {CAEP: {"event_timestamp": NOON, "change": 7}}});
        let set = key.sign(&Header::typ(typ), claims.to_string().as_bytes()).unwrap();
        format!("event: cut-off\nid: 7\ndata: {set}\n\nevent: current\nid: 7\ndata:\n\n")
    };
    let users = HashMap::from([("told", user(told)), ("other", user(other))]);
    let is_held = async |name: &str| {
        let before = world.sidecar.tokens().counters().hits;
        world.exchange(name, "api://billing/.default", &users[name], Encoding::Json).await.token();
        world.sidecar.tokens().counters().hits > before
    };
    assert!(!is_held("told").await && !is_held("other").await);
    let seen = told.token(&json!({"aud": "me", "iss": format!("{}/v2.0", told.url())}));
    assert!(world.is_active("told", &seen).await);
    let typ = "secevent+jwt";
    for wrong in [
        everything(other.key(), typ, &told.url(), "me"),
        everything(told.key(), typ, &other.url(), "me"),
        everything(told.key(), typ, &told.url(), "somebody else"),
        everything(told.key(), "JWT", &told.url(), "me"),
    ] {
        stream.say(&wrong);
    }
    world.sidecar.listen();
    // Each is told in its turn, and none is believed; nor is the stream that carries it.
    until("all were told", async || metric(&world, "deputize_events_failures").await >= 5.0).await;
    assert_eq!(
        (metric(&world, "deputize_events_held").await, metric(&world, "deputize_events_current").await),
        (0.0, 0.0)
    );
    assert!(is_held("told").await && is_held("other").await && world.is_active("told", &seen).await);
    stream.say(&everything(told.key(), typ, &told.url(), "me"));
    until("it is current", async || metric(&world, "deputize_events_held").await >= 1.0).await;
    assert!(!is_held("told").await);
    assert!(is_held("other").await, "another provider's");
    assert_eq!(world.inactive("told", &seen).await, "invalid token: RevokedToken");
}

fn user(issuer: &Issuer) -> String {
    let claims: Value = json!({"aud": "me", "jti": "one", "iat": NOON, "exp": NOON.0 + 3_000, "sub": "ada"});
    issuer.token(&claims)
}

/// A token that was good once may be good no more: keys of the authority changed, or it was restored.
#[tokio::test]
async fn a_token_that_does_not_open_the_stream_is_not_shown_again() {
    let stream = Stream::new().await;
    let world = world(&stream).await;
    stream.say("event: current\nid: 7\ndata:\n\n");
    stream.answers.lock().unwrap().push("HTTP/1.1 401 No\r\ncontent-length: 0\r\n\r\n".into());
    world.sidecar.listen();
    until("it is opened", async || metric(&world, "deputize_events_current").await >= 1.0).await;
    assert!(world.issuer("told").asked().len() >= 2, "a new one for the second try");
    let bearer = |head: &String| {
        let head = head.to_lowercase();
        head.lines().find_map(|line| line.strip_prefix("authorization: bearer ").map(str::to_owned)).unwrap()
    };
    let shown: Vec<String> = stream.heads.lock().unwrap().iter().map(bearer).collect();
    assert_ne!(shown[0], shown[1]);
    let asked = &world.issuer("told").asked()[0];
    assert_eq!(asked.field("scope"), Some("api://deputize/.default"));
}
