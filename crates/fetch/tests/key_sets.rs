//! Poisoned answers, redirects and drips, over real TLS (J-24, J-25): known keys stay.
#![expect(clippy::unwrap_used, reason = "a test may stop")]
use axum::Router;
use axum::body::{Body, Bytes};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use decision::Timestamp;
use deputize_fetch as fetch;
use fetch::{Allow, Fetch, FetchError, IssuerKeys, KeyFault, KeySource, Lifetimes, Location, Lookup};
use http::{StatusCode, header};
use jose::{Algorithm, SigningKey};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use testkit::TlsServer;

const NOON: Timestamp = Timestamp(1_800_000_000);

/// What the fake issuer answers next, for its key set and for its metadata.
#[derive(Clone, Default)]
struct Script {
    keys: Arc<Mutex<Option<Answer>>>,
    metadata: Arc<Mutex<Option<String>>>,
    hits: Arc<AtomicUsize>,
    canary: Arc<AtomicUsize>,
}

#[derive(Clone)]
enum Answer {
    Body(String),
    Redirect(String),
    Drip,
}

impl Script {
    fn say(&self, answer: Answer) {
        *self.keys.lock().unwrap() = Some(answer);
    }

    fn router(&self) -> Router {
        let (keys, metadata, canary) = (self.clone(), self.clone(), self.canary.clone());
        Router::new()
            .route("/keys", get(move || async move { keys.answer() }))
            .route(
                "/.well-known/openid-configuration",
                get(move || async move { metadata.metadata.lock().unwrap().clone().unwrap_or_default() }),
            )
            .route("/canary", get(move || async move { canary.fetch_add(1, Ordering::SeqCst).to_string() }))
    }

    fn answer(&self) -> Response {
        self.hits.fetch_add(1, Ordering::SeqCst);
        match self.keys.lock().unwrap().clone() {
            None => StatusCode::SERVICE_UNAVAILABLE.into_response(),
            Some(Answer::Body(body)) => body.into_response(),
            Some(Answer::Redirect(to)) => (StatusCode::FOUND, [(header::LOCATION, to)]).into_response(),
            Some(Answer::Drip) => Body::new(Never).into_response(),
        }
    }
}

/// A body that never ends and never says anything.
struct Never;

impl axum::body::HttpBody for Never {
    type Data = Bytes;
    type Error = std::io::Error;
    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<Bytes>, std::io::Error>>> {
        std::task::Poll::Pending
    }
}

struct World {
    server: TlsServer,
    script: Script,
    good: SigningKey,
}

impl World {
    async fn new() -> Self {
        let script = Script::default();
        let server = TlsServer::start(script.router()).await.unwrap();
        let good = SigningKey::generate(Algorithm::ES256).unwrap().named("good");
        script.say(Answer::Body(set(&[jwk(&good)])));
        *script.metadata.lock().unwrap() = Some(format!(r#"{{"issuer":"{0}","jwks_uri":"{0}/keys"}}"#, server.url()));
        Self { server, script, good }
    }

    fn fetch(&self) -> Fetch {
        let builder = Fetch::builder().ca_pem(self.server.ca_pem().as_bytes()).unwrap();
        let timeouts = (Duration::from_millis(500), Duration::from_millis(500));
        builder.allow(Allow { loopback: true, ..Allow::default() }).timeouts(timeouts.0, timeouts.1).build().unwrap()
    }

    fn keys(&self) -> Arc<IssuerKeys> {
        let location = Location::Metadata(format!("{}/.well-known/openid-configuration", self.server.url()));
        let source =
            KeySource { issuer: self.server.url(), location, default_algorithm: None, foreign_keys_host: false };
        IssuerKeys::fetched(source, Arc::new(self.fetch()), Lifetimes::default())
    }
}

fn jwk(key: &SigningKey) -> String {
    serde_json::to_string(&key.public_jwk()).unwrap()
}

fn set(keys: &[String]) -> String {
    format!(r#"{{"keys":[{}]}}"#, keys.join(","))
}

fn has(keys: &Arc<IssuerKeys>, kid: &str, now: Timestamp) -> bool {
    matches!(keys.find(kid, now), Lookup::Found(..))
}

#[tokio::test(flavor = "multi_thread")]
async fn j_24_key_set_poisoning() {
    let world = World::new().await;
    let keys = world.keys();
    keys.refresh(NOON).await;
    assert!(has(&keys, "good", NOON), "{:?}", keys.status());

    let canary = format!("{}/canary", world.server.url());
    let poisons = [
        Answer::Body("x".repeat(10 << 20)),
        Answer::Body(set(&vec![r#"{"kty":"EC"}"#.to_owned(); 10_000])),
        Answer::Redirect("http://169.254.169.254/latest/meta-data/".into()),
        Answer::Redirect("file:///etc/passwd".into()),
        Answer::Redirect(canary),
        Answer::Body("<html>captive portal</html>".into()),
        Answer::Body(set(&[])),
        Answer::Body("{}".into()),
        Answer::Body(String::new()),
        Answer::Body(set(&[r#"{"kty":"oct","kid":"good","k":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}"#.into()])),
        Answer::Drip,
    ];
    let mut now = NOON;
    for (n, poison) in poisons.into_iter().enumerate() {
        now = now.plus(31);
        world.script.say(poison);
        keys.refresh(now).await;
        let status = keys.status();
        assert!(has(&keys, "good", now) && status.fault.is_some(), "poison {n}: {:?}", status.fault);
        assert_eq!(status.fetched, Some(NOON), "poison {n}");
    }
    assert_eq!(world.script.canary.load(Ordering::SeqCst), 0, "no redirect is followed");

    // A bad single key is skipped, the rest is used; of two keys with one name neither is.
    let twin = SigningKey::generate(Algorithm::ES256).unwrap().named("twin");
    let fresh = SigningKey::generate(Algorithm::ES256).unwrap().named("fresh");
    let private = jwk(&SigningKey::generate(Algorithm::ES256).unwrap().named("private"))
        .replace("\"kty\"", "\"d\":\"AA\",\"kty\"");
    let encryption = jwk(&SigningKey::generate(Algorithm::ES256).unwrap().named("enc")).replace("\"sig\"", "\"enc\"");
    let off_curve = r#"{"kty":"EC","crv":"P-256","kid":"off","x":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE","y":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE"}"#;
    let small = r#"{"kty":"RSA","alg":"RS256","kid":"small","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86z","e":"AQAB"}"#;
    now = now.plus(31);
    let mixed = [jwk(&fresh), jwk(&twin), jwk(&twin), private, encryption, off_curve.into(), small.into()];
    world.script.say(Answer::Body(set(&mixed)));
    keys.refresh(now).await;
    assert!(has(&keys, "fresh", now), "{:?}", keys.status());
    for refused in ["twin", "private", "enc", "off", "small", "good"] {
        assert!(!has(&keys, refused, now), "{refused}");
    }
    assert_eq!(world.good.kid(), "good");
}

#[tokio::test(flavor = "multi_thread")]
async fn j_25_discovery_poisoning() {
    let world = World::new().await;
    let url = world.server.url();
    let lies = [
        (format!(r#"{{"issuer":"{url}/","jwks_uri":"{url}/keys"}}"#), "issuer"),
        (format!(r#"{{"issuer":"https://evil.example","jwks_uri":"{url}/keys"}}"#), "issuer"),
        (format!(r#"{{"issuer":"{}","jwks_uri":"{url}/keys"}}"#, url.replace("localhost", "LOCALHOST")), "issuer"),
        (format!(r#"{{"issuer":"{url}","jwks_uri":"https://evil.example/keys"}}"#), "host"),
        (format!(r#"{{"issuer":"{url}","jwks_uri":"{}/keys"}}"#, url.replace("https", "http")), "host"),
        (format!(r#"{{"issuer":"{url}","jwks_uri":"https://localhost:1/keys"}}"#), "host"),
        (format!(r#"{{"issuer":"{url}","jwks_uri":"file:///etc/passwd"}}"#), "host"),
        (format!(r#"{{"issuer":"{url}"}}"#), "metadata"),
        ("<html>".to_owned(), "metadata"),
    ];
    for (lie, kind) in lies {
        *world.script.metadata.lock().unwrap() = Some(lie.clone());
        let keys = world.keys();
        keys.refresh(NOON).await;
        let fault = keys.status().fault;
        let told = match &fault {
            Some(KeyFault::Issuer { .. }) => "issuer",
            Some(KeyFault::KeysHost(_)) => "host",
            Some(KeyFault::Metadata(_)) => "metadata",
            _ => "",
        };
        assert_eq!(told, kind, "{lie}: {fault:?}");
        assert!(matches!(keys.find("good", NOON), Lookup::NoKeys));
    }
    assert_eq!(world.script.hits.load(Ordering::SeqCst), 0, "no key set is fetched for a lie");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_configured_is_reached() {
    let world = World::new().await;
    let url = format!("{}/canary", world.server.url());
    let by_ip = url.replace("localhost", "127.0.0.1");
    let strict = Fetch::builder().ca_pem(world.server.ca_pem().as_bytes()).unwrap().build().unwrap();
    assert!(matches!(strict.get(&url).await, Err(FetchError::Blocked(_))), "a name that resolves to loopback");
    for blocked in [
        by_ip.as_str(),
        "https://[::1]/",
        "https://169.254.169.254/",
        "https://0x7f.1/",
        "https://10.0.0.1/",
        "https://[::ffff:10.0.0.1]/",
    ] {
        assert!(matches!(strict.get(blocked).await, Err(FetchError::Blocked(_))), "{blocked}");
    }
    for odd in [
        "http://example.com/",
        "http://127.0.0.1/",
        "ftp://example.com/",
        "file:///etc/passwd",
        "https://user@example.com/",
        "keys",
        "",
    ] {
        assert!(matches!(world.fetch().get(odd).await, Err(FetchError::Url(_))), "{odd}");
    }
    assert!(
        matches!(
            Fetch::builder().allow(Allow::INSIDE).build().unwrap().get(&url).await,
            Err(FetchError::Unreachable { .. })
        ),
        "an unknown authority"
    );
    assert_eq!(world.script.canary.load(Ordering::SeqCst), 0);
    assert_eq!(world.fetch().get(&by_ip).await.unwrap().status, 200);
    assert!(
        matches!(world.fetch().get(&format!("{}/keys", world.server.url())).await, Ok(answer) if answer.status == 200)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_survives_the_request_that_began_it() {
    let world = World::new().await;
    let keys = world.keys();
    // The first caller goes away at once; the fetch it began lands all the same, for those who wait beside it.
    let first = {
        let keys = keys.clone();
        tokio::spawn(async move { keys.refresh(NOON).await })
    };
    tokio::task::yield_now().await;
    first.abort();
    let waiting = (0..64).map(|_| {
        let keys = keys.clone();
        tokio::spawn(async move { keys.refresh(NOON).await })
    });
    for waiter in waiting.collect::<Vec<_>>() {
        waiter.await.unwrap();
    }
    assert!(has(&keys, "good", NOON));
    assert_eq!((world.script.hits.load(Ordering::SeqCst), keys.status().fetches), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_key_is_asked_about_sooner_after_a_change_than_after_a_fetch_that_changed_nothing() {
    let world = World::new().await;
    let location = Location::Jwks(format!("{}/keys", world.server.url()));
    let source = KeySource { issuer: world.server.url(), location, default_algorithm: None, foreign_keys_host: false };
    let lifetimes = Lifetimes { after_change: 5, ..Lifetimes::default() };
    let keys = IssuerKeys::fetched(source, Arc::new(world.fetch()), lifetimes);
    let fetches_by = async |seconds: i64| {
        keys.refresh(NOON.plus(seconds)).await;
        world.script.hits.load(Ordering::SeqCst)
    };
    assert_eq!(fetches_by(0).await, 1, "the first brings keys");
    assert_eq!(fetches_by(4).await, 1);
    assert_eq!(fetches_by(5).await, 2, "five seconds after a change");
    assert_eq!(fetches_by(34).await, 2, "that one changed nothing");
    assert_eq!(fetches_by(35).await, 3, "thirty seconds after");
    let told = keys.status().unknown_key;
    assert_eq!(told, fetch::Refreshes { success: 3, failure: 0, suppressed: 2 });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_whose_address_alone_is_configured_says_which_issuer_it_is_of() {
    let world = World::new().await;
    let url = format!("{}/.well-known/openid-configuration", world.server.url());
    *world.script.metadata.lock().unwrap() =
        Some(format!(r#"{{"issuer":"https://id.example/{{tenantid}}","jwks_uri":"{}/keys"}}"#, world.server.url()));
    let announced =
        |location| KeySource { issuer: "entra_id".into(), location, default_algorithm: None, foreign_keys_host: false };
    let trusting =
        IssuerKeys::fetched(announced(Location::Announced(url.clone())), Arc::new(world.fetch()), Lifetimes::default());
    trusting.refresh(NOON).await;
    let current = trusting.current(NOON).unwrap();
    let metadata = current.as_ref().unwrap().metadata.as_ref().unwrap();
    assert_eq!(metadata.issuer, "https://id.example/{tenantid}");
    let comparing =
        IssuerKeys::fetched(announced(Location::Metadata(url)), Arc::new(world.fetch()), Lifetimes::default());
    comparing.refresh(NOON).await;
    assert!(
        matches!(comparing.status().fault, Some(KeyFault::Issuer { .. })),
        "where an issuer is configured it counts"
    );
}
