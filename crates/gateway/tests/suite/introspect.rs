//! Tokens that only their issuer can read: what it says decides, for as long as it may.
use crate::cut_offs::{endless, opened};
use crate::support::{ISS, NOON, ORDERS, World, later, whole};
use oauth::Form;
use serde_json::{Value, json};
use std::sync::atomic::AtomicU16;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

type Rule = dyn Fn(&str) -> (u16, Value) + Send + Sync;

/// An introspection endpoint that answers by the token, not at all with the status 0, and keeps what it was asked.
struct Sayer {
    url: String,
    asked: Arc<Mutex<Vec<Form>>>,
}

impl Sayer {
    async fn start(rule: impl Fn(&str) -> (u16, Value) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/introspect", listener.local_addr().unwrap());
        let asked: Arc<Mutex<Vec<Form>>> = Arc::default();
        let (keeps, rule): (_, Arc<Rule>) = (Arc::clone(&asked), Arc::new(rule));
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (keeps, rule) = (Arc::clone(&keeps), Arc::clone(&rule));
                tokio::spawn(async move {
                    let mut bytes = Vec::new();
                    while whole(&bytes).is_none() {
                        let mut some = [0; 4_096];
                        match stream.read(&mut some).await {
                            Ok(length) if length > 0 => bytes.extend_from_slice(&some[..length]),
                            _ => return,
                        }
                    }
                    let text = String::from_utf8(bytes).unwrap();
                    let form = Form::decode(text.split_once("\r\n\r\n").unwrap().1.as_bytes()).unwrap();
                    let (status, body) = rule(form.value("token").unwrap());
                    keeps.lock().unwrap().push(form);
                    if status == 0 {
                        return std::future::pending().await;
                    }
                    let body = body.to_string();
                    let head =
                        format!("HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
                    let _ = stream.write_all((head + &body).as_bytes()).await;
                });
            }
        });
        Self { url, asked }
    }

    fn count(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

fn file(sayer: &Sayer, policy: &str, more: &str) -> String {
    let authority = format!(
        "[[authority]]\nname = \"opaque\"\ntoken_endpoint = \"http://127.0.0.1:9/token\"\nissuer = \"{ISS}\"\n\
         introspection_endpoint = \"{}\"\nclient_id = \"gateway\"\nsecret = {{ env = \"SECRET\" }}\n",
        sayer.url
    );
    let (before, after) = ORDERS.split_once("[api.policies.validate_jwt]").unwrap();
    let after = after.split_once("[[api.operation]]").unwrap().1;
    format!(
        "{authority}{before}[api.policies.introspect]\nauthority = \"opaque\"\n{policy}\n{more}\n[[api.operation]]{after}"
    )
}

fn ada(exp: i64) -> Value {
    json!({"active": true, "iss": ISS, "aud": "api://orders", "sub": "ada", "client_id": "spa", "scope": "Orders.Read",
        "exp": NOON.0 + exp, "iat": NOON.0 - 10})
}

fn with(name: &str, value: Value) -> Value {
    let mut claims = ada(600);
    claims[name] = value;
    claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    claims
}

async fn asked(world: &World, token: &str) -> (u16, String) {
    let answer = world.get("/a", &[("authorization", &format!("Bearer {token}"))]).await;
    if answer.status == 200 { (200, String::new()) } else { answer.reason() }
}

fn is(status: u16, reason: &str) -> (u16, String) {
    (status, reason.to_owned())
}

#[tokio::test]
async fn what_the_issuer_says_is_judged_as_a_tokens_claims_are() {
    let sayer = Sayer::start(|token| {
        let claims = match token {
            "good" => ada(600),
            "terse" => {
                json!({"active": true, "sub": "ada", "aud": ["x", "api://orders"], "scope": "Orders.Read", "exp": NOON.0 + 60})
            }
            "named" => json!({"active": true, "username": "ada", "client_id": "spa", "aud": "api://orders", "scope": "Orders.Read",
                "exp": NOON.0 + 60}),
            "nobodys" => json!({"active": true, "aud": "api://orders", "scope": "Orders.Read", "exp": NOON.0 + 60}),
            "app" => with("sub", json!("spa")),
            "revoked" => json!({"active": false}),
            "other-api" => with("aud", json!("api://other")),
            "no-api" => with("aud", Value::Null),
            "expired" => ada(-1),
            "endless" => with("exp", Value::Null),
            "long" => ada(86_400),
            "early" => with("nbf", json!(NOON.0 + 60)),
            "stranger" => with("iss", json!("https://evil.example")),
            "other-client" => with("client_id", json!("other")),
            "other-scope" => with("scope", json!("Orders.Write")),
            "bound" => with("cnf", json!({"jkt": "x"})),
            "refresh" => with("typ", json!("Refresh")),
            "offline" => with("typ", json!("Offline")),
            "id" => with("typ", json!("ID")),
            "used-to-refresh" => with("token_use", json!("refresh_token")),
            "code" => with("token_type", json!("authorization_code")),
            "bearer" => with("typ", json!("Bearer")),
            "access" => with("token_use", json!("access")),
            "odd" => json!({"active": "true"}),
            _ => return (401, json!({"error": "invalid_client"})),
        };
        (200, claims)
    })
    .await;
    let more = "[api.policies.require]\nscopes = [\"Orders.Read\"]\n";
    let policy = "audiences = [\"api://orders\"]\nclient_application_ids = [\"spa\", \"unknown\"]";
    let world = World::start(&file(&sayer, policy, more)).await;
    for (token, expected) in [
        ("good", is(200, "")),
        ("terse", is(200, "")),
        ("named", is(200, "")),
        ("nobodys", is(401, "TokenClaimNotFound")),
        ("app", is(403, "TokenClaimValueNotAllowed")),
        ("revoked", is(401, "JwtInvalid")),
        ("other-api", is(401, "TokenAudienceNotAllowed")),
        ("no-api", is(401, "TokenClaimNotFound")),
        ("expired", is(401, "TokenExpired")),
        ("endless", is(401, "TokenClaimNotFound")),
        ("long", is(401, "TokenLifetimeNotAllowed")),
        ("early", is(401, "TokenNotYetValid")),
        ("stranger", is(401, "JwtInvalid")),
        ("other-client", is(401, "TokenClaimValueNotAllowed")),
        ("other-scope", is(403, "TokenClaimValueNotAllowed")),
        ("refresh", is(401, "TokenTypeNotAllowed")),
        ("offline", is(401, "TokenTypeNotAllowed")),
        ("id", is(401, "TokenTypeNotAllowed")),
        ("used-to-refresh", is(401, "TokenTypeNotAllowed")),
        ("code", is(401, "TokenTypeNotAllowed")),
        ("bearer", is(200, "")),
        ("access", is(200, "")),
        ("bound", is(401, "TokenClaimValueNotAllowed")),
        ("odd", is(503, "IntrospectionUnavailable")),
        ("refused", is(503, "IntrospectionUnavailable")),
    ] {
        assert_eq!(asked(&world, token).await, expected, "{token}");
    }
    assert_eq!(world.service.seen().len(), 5, "a refused request got through");
    for seen in world.service.seen() {
        assert!(!seen.to_lowercase().contains("authorization"), "{seen}");
    }
    let form = sayer.asked.lock().unwrap()[0].clone();
    let sent = ["client_id", "client_secret", "token"].map(|name| form.value(name).unwrap().to_owned());
    assert_eq!(sent, ["gateway", "the gateway's secret", "good"]);
    let count = sayer.count();
    for (fields, expected) in [
        (vec![], is(401, "TokenNotPresent")),
        (vec![("authorization", "Basic Z29vZA==".to_owned())], is(401, "TokenNotPresent")),
        (vec![("authorization", format!("Bearer {}", "a".repeat(16_385)))], is(401, "JwtInvalid")),
    ] {
        let fields: Vec<(&str, &str)> = fields.iter().map(|(name, text)| (*name, text.as_str())).collect();
        assert_eq!(world.get("/a", &fields).await.reason(), expected);
    }
    assert_eq!(sayer.count(), count, "what cannot be a token is not asked about");
}

#[tokio::test]
async fn a_token_without_a_scope_is_good_where_none_is_demanded() {
    let sayer = Sayer::start(|token| {
        let claims = match token {
            "none" => with("scope", Value::Null),
            "empty" => with("scope", json!("")),
            "id" => json!({"active": true, "sub": "ada", "client_id": "api://orders", "aud": "api://orders", "exp": NOON.0 + 60}),
            "own" => json!({"active": true, "sub": "ada", "client_id": "api://orders", "aud": "api://orders", "exp": NOON.0 + 60,
                "token_type": "Bearer"}),
            _ => json!({"active": false}),
        };
        (200, claims)
    })
    .await;
    let audience = "audiences = [\"api://orders\"]";
    let world = World::start(&file(&sayer, audience, "")).await;
    for (token, status) in [("none", 200), ("empty", 200), ("own", 200), ("id", 401)] {
        assert_eq!(asked(&world, token).await.0, status, "{token}");
    }
    for (demand, reason) in [
        ("scopes = [\"Orders.Read\"]", is(403, "TokenClaimValueNotAllowed")),
        ("subject = \"app\"", is(403, "TokenClaimValueNotAllowed")),
    ] {
        world.reload(&file(&sayer, audience, &format!("[api.policies.require]\n{demand}\n"))).unwrap();
        for token in ["none", "empty", "own"] {
            assert_eq!(asked(&world, token).await, reason, "{token}, {demand}");
        }
    }
}

#[tokio::test]
async fn an_answer_is_good_for_its_seconds_and_never_beyond_the_tokens_end() {
    let active = Arc::new(Mutex::new(true));
    let says = Arc::clone(&active);
    let sayer = Sayer::start(move |token| {
        let exp = if token == "short" { 10 } else { 600 };
        (200, if *says.lock().unwrap() { ada(exp) } else { json!({"active": false}) })
    })
    .await;
    let world = World::start(&file(&sayer, "audiences = [\"api://orders\"]\ncache_seconds = 30", "")).await;
    for _ in 0..5 {
        assert_eq!(asked(&world, "a").await, is(200, ""));
    }
    assert_eq!(sayer.count(), 1);
    *active.lock().unwrap() = false;
    world.clock.advance(29);
    assert_eq!(asked(&world, "a").await, is(200, ""));
    world.clock.advance(1);
    for _ in 0..3 {
        assert_eq!(asked(&world, "a").await, is(401, "JwtInvalid"));
    }
    assert_eq!(sayer.count(), 2, "that it is worth nothing is remembered too");
    *active.lock().unwrap() = true;
    world.clock.advance(5);
    assert_eq!(asked(&world, "a").await, is(200, ""), "and not for long");
    let count = sayer.count();
    world.clock.advance(-35);
    assert_eq!(asked(&world, "short").await, is(200, ""));
    world.clock.advance(9);
    assert_eq!((asked(&world, "short").await, sayer.count()), (is(200, ""), count + 1));
    world.clock.advance(1);
    assert_eq!((asked(&world, "short").await, sayer.count()), (is(401, "TokenExpired"), count + 2));
}

#[tokio::test]
async fn g_18_what_one_policy_was_told_is_not_what_another_takes() {
    let sayer = Sayer::start(|_| (200, ada(600))).await;
    let other = "[[api.operation]]\nname = \"b\"\nmethod = \"GET\"\npath = \"/b\"\n[api.operation.policies]\n\
                 remove = [\"introspect\"]\n[api.operation.policies.introspect]\nauthority = \"opaque\"\n\
                 audiences = [\"api://billing\"]";
    let world = World::start(&file(&sayer, "audiences = [\"api://orders\"]", other)).await;
    assert_eq!(asked(&world, "a").await, is(200, ""));
    let refused = world.get("/b", &[("authorization", "Bearer a")]).await;
    assert_eq!(refused.reason(), is(401, "TokenAudienceNotAllowed"));
    assert_eq!(asked(&world, "a").await, is(200, ""));
}

#[tokio::test]
async fn r_8_a_hundred_calls_at_once_ask_once() {
    let sayer = Sayer::start(|_| (200, ada(600))).await;
    let world = Arc::new(World::start(&file(&sayer, "any_audience = true", "")).await);
    let calls: Vec<_> = (0..100)
        .map(|_| {
            let world = Arc::clone(&world);
            tokio::spawn(async move { asked(&world, "a").await })
        })
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap(), is(200, ""));
    }
    assert_eq!(sayer.count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn g_14_an_address_that_makes_tokens_up_keeps_nobody_from_a_slow_issuer() {
    let sayer = Sayer::start(|token| {
        if token.starts_with("made-up") {
            return (0, Value::Null);
        }
        (200, ada(600))
    })
    .await;
    let text = format!("trusted_proxies = [\"127.0.0.1\"]\n{}", file(&sayer, "any_audience = true", ""));
    let world = Arc::new(World::start(&text).await);
    let ask = |token: String, of: &'static str| {
        let world = Arc::clone(&world);
        let token = format!("Bearer {token}");
        async move { world.get("/a", &[("authorization", &token), ("x-forwarded-for", of)]).await.status }
    };
    let flood: Vec<_> = (0..100).map(|at| tokio::spawn(ask(format!("made-up-{at}"), "192.0.2.1"))).collect();
    timeout(Duration::from_secs(10), async {
        while sayer.count() < 32 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .unwrap();
    for at in 0..40 {
        assert_eq!(ask(format!("hers-{at}"), "192.0.2.2").await, 200, "{at}");
    }
    assert_eq!(sayer.count(), 32 + 40, "the flood has half of the questions, and no more");
    flood.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn g_14_tokens_that_an_issuer_stumbles_over_shut_nobody_else_out() {
    let sayer =
        Sayer::start(|token| if token.starts_with("made-up") { (500, Value::Null) } else { (200, ada(600)) }).await;
    let world = World::start(&file(&sayer, "any_audience = true", "")).await;
    for at in 0..6 {
        assert_eq!(asked(&world, &format!("made-up-{at}")).await, is(503, "IntrospectionUnavailable"));
    }
    assert_eq!(asked(&world, "hers").await, is(200, ""));
}

#[tokio::test]
async fn claims_that_the_issuer_tells_can_be_required_and_sent_on() {
    let sayer = Sayer::start(|token| (200, with("department", json!(token)))).await;
    let policy = "audiences = [\"api://orders\"]\nrequired_claims = [{ name = \"department\", value = [\"sales\"] }]\n\
                  failed_validation_httpcode = 403";
    let more = "[[api.policies.set_header]]\nname = \"X-Department\"\nclaim = \"department\"";
    let world = World::start(&file(&sayer, policy, more)).await;
    assert_eq!(asked(&world, "sales").await, is(200, ""));
    assert_eq!(world.service.only().field("x-department"), ["sales"]);
    assert_eq!(asked(&world, "legal").await, is(403, "TokenClaimValueNotAllowed"));
}

/// A stream under a token that is asked about, and what its issuer says from now on: 200 that it is active, 204 that it is not, and
/// anything else nothing.
async fn stream_asked_about() -> (World, TcpStream, Arc<AtomicU16>) {
    let says = Arc::new(AtomicU16::new(200));
    let said = Arc::clone(&says);
    let sayer = Sayer::start(move |_| match said.load(Relaxed) {
        200 => (200, ada(3_600)),
        204 => (200, json!({"active": false})),
        status => (status, json!({"error": "server_error"})),
    })
    .await;
    let policy = "audiences = [\"api://orders\"]\ncache_seconds = 5";
    let file = file(&sayer, policy, "") + "[api.operation.stream]\nidle_seconds = 7200\n";
    let world = World::start(&file.replacen("url = \"{service}\"", &endless().await, 1)).await;
    let caller = opened(&world, "Bearer a").await;
    (world, caller, says)
}

/// Lets time pass until the stream ends; after how many seconds it does.
async fn ends_after(world: &World, caller: &mut TcpStream, step: u64) -> u64 {
    let mut passed = 0;
    while passed < 600 {
        let mut rest = [0; 64];
        if let Ok(length) = timeout(Duration::from_millis(200), caller.read(&mut rest)).await {
            assert_eq!(&rest[..length.unwrap()], b"0\r\n\r\n");
            return passed;
        }
        later(world, step).await;
        passed += step;
    }
    panic!("it goes on");
}

#[tokio::test]
async fn g_12_a_stream_ends_when_its_issuer_says_that_the_token_is_active_no_more() {
    let (world, mut caller, says) = stream_asked_about().await;
    for _ in 0..5 {
        later(&world, 4).await;
        let mut rest = [0; 64];
        assert!(timeout(Duration::from_millis(100), caller.read(&mut rest)).await.is_err(), "it is active");
    }
    says.store(204, Relaxed);
    assert!(ends_after(&world, &mut caller, 2).await <= 20);
}

#[tokio::test]
async fn g_12_a_stream_outlives_its_issuers_silence_for_a_minute() {
    let (world, mut caller, says) = stream_asked_about().await;
    says.store(500, Relaxed);
    let ended = ends_after(&world, &mut caller, 10).await;
    assert!((60..600).contains(&ended), "{ended}");
}

#[tokio::test]
async fn what_would_be_no_check_is_not_read() {
    let sayer = Sayer::start(|_| (200, ada(600))).await;
    let world = World::start(&file(&sayer, "audiences = [\"api://orders\"]", "")).await;
    for (policy, problem) in [
        ("", "tokens for any API would pass"),
        ("audiences = [\"a\"]\nany_audience = true", "`audiences` do not count"),
        ("audiences = [\"a\"]\ncache_seconds = 3601", "remembered for too long"),
        ("audiences = [\"a\"]\ninactive_seconds = -1", "remembered for too long"),
        ("audiences = [\"a\"]\nheader_name = \"a\"\nquery_parameter_name = \"b\"", "in two places"),
        ("audiences = [\"a\"]\nmax_lifetime = 0", "`max_lifetime` is out of range"),
        ("audiences = [\"a\"]\nclient_application_ids = []", "`client_application_ids` is empty"),
    ] {
        let error = world.reload(&file(&sayer, policy, "")).unwrap_err();
        assert!(error.problem.contains(problem) && !error.at.is_empty(), "{policy}: {error}");
    }
    let nobodys = file(&sayer, "audiences = [\"a\"]", "").replace(&format!("issuer = \"{ISS}\""), "");
    let error = world.reload(&nobodys).unwrap_err();
    assert!(error.problem.contains("nothing says whose tokens `opaque` tells of"), "{error}");
}
