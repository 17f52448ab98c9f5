//! Decisions for Envoys that ask over HTTP.
use crate::authorizer::{is_told, terminating};
use crate::support::{Answered, NOON, ORDERS, PUBLIC, Service, World, answered};
use bytes::Bytes;
use gateway::EnvoyAuthorizer;
use http_body_util::Empty;
use hyper_util::rt::{TokioExecutor, TokioIo};
use jose::corpus::Bound;
use jose::{Algorithm, SigningKey};
use serde_json::json;
use serve::{Listeners, Socket};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

const TOLD: &str = "x-deputize-request";

type Fields<'a> = &'a [(&'a str, &'a str)];

/// An Envoy, as it was seen to ask.
struct Envoy {
    address: SocketAddr,
    _listeners: Listeners,
}

/// How many bytes the head has that Envoy holds.
fn bytes(method: &str, target: &str, fields: Fields<'_>) -> usize {
    let pseudo = [(":method", method), (":path", target), (":scheme", "https"), (":authority", "api.example")];
    pseudo.iter().chain(fields).map(|(name, value)| name.len() + value.len()).sum()
}

fn told(bytes: usize) -> String {
    format!("203.0.113.9 TLSv1.3 https    {bytes}")
}

impl Envoy {
    async fn before(world: &World) -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let mut listeners = Listeners::new();
        listeners.add(Socket::Tcp(socket), None, Arc::new(EnvoyAuthorizer::new(Arc::clone(&world.gateway))));
        Self { address, _listeners: listeners }
    }

    async fn asks(&self, method: &str, target: &str, fields: Fields<'_>) -> Answered {
        self.tells(method, target, fields, &told(bytes(method, target, fields))).await
    }

    async fn gets(&self, target: &str, fields: Fields<'_>) -> Answered {
        self.asks("GET", target, fields).await
    }

    async fn tells(&self, method: &str, target: &str, fields: Fields<'_>, told: &str) -> Answered {
        let own = [("content-length", "0"), (TOLD, told), ("x-envoy-internal", "true")];
        self.sends(method, target, &[fields, &own, &[("x-envoy-expected-rq-timeout-ms", "200")]].concat()).await
    }

    async fn sends(&self, method: &str, target: &str, fields: Fields<'_>) -> Answered {
        let mut text = format!("{method} {target} HTTP/1.1\r\nhost: api.example\r\n");
        for (name, value) in fields {
            text.extend([name, ": ", value, "\r\n"]);
        }
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all((text + "\r\n").as_bytes()).await.unwrap();
        let answer = answered(&mut stream).await;
        assert!(!(500..600).contains(&answer.status), "Envoy takes it for no answer: {answer:?}");
        answer
    }
}

/// The names of the fields that Envoy is told to take out.
fn taken_out(answer: &Answered) -> Vec<&str> {
    let mut names: Vec<&str> =
        answer.field("x-envoy-auth-headers-to-remove").iter().flat_map(|names| names.split(',')).collect();
    names.sort_unstable();
    names
}

fn message(answer: &Answered) -> String {
    answer.json()["message"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_permitted_request_is_answered_with_what_its_service_is_to_be_sent() {
    let world = World::start(&terminating()).await;
    let envoy = Envoy::before(&world).await;
    let bearer = world.bearer(&json!({}));
    let usual = [("authorization", bearer.as_str()), ("accept", "text/html"), ("x-forwarded-proto", "https")];
    let answer = envoy.gets("/orders/7?a=b", &usual).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, ""));
    assert_eq!(answer.field("authorization"), ["Basic Z2F0ZXdheTpvcGVuIHNlc2FtZQ=="]);
    assert_eq!((answer.field("x-caller"), answer.field("accept")), (vec!["o-ada"], vec![]));
    assert_eq!((taken_out(&answer), answer.field("x-forwarded-proto")), (vec![], vec![]));
    assert!(world.service.seen().is_empty(), "the proxy forwards, not the gateway");
    let lines = world.lines();
    assert_eq!(
        (&lines[0]["operation"], &lines[0]["peer"], &lines[0]["subject"], &lines[0]["status"]),
        (&json!("orders/all"), &json!("203.0.113.9"), &json!("o-ada"), &json!(200))
    );
    // Of a body there is no more than how long it is.
    let long = [&usual[..], &[("content-length", "12345")]].concat();
    let told = format!("203.0.113.9 TLSv1.3 https 12345   {}", bytes("POST", "/orders", &long));
    assert_eq!(envoy.tells("POST", "/orders", &usual, &told).await.status, 200);
}

#[tokio::test]
async fn over_http_2_envoy_is_answered_alike() {
    let world = World::start(PUBLIC).await;
    let envoy = Envoy::before(&world).await;
    for (more, status) in [(0, 200), (1, 400)] {
        let stream = TokioIo::new(TcpStream::connect(envoy.address).await.unwrap());
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
        tokio::spawn(connection);
        let request = http::Request::get("http://api.example/a?b")
            .header(TOLD, told(bytes("GET", "/a?b", &[("x-a", "b")]) + more))
            .header("x-a", "b")
            .body(Empty::<Bytes>::new())
            .unwrap();
        assert_eq!(sender.send_request(request).await.unwrap().status(), status);
    }
}

#[tokio::test]
async fn a_refusal_is_the_gateways_own_answer() {
    let world = World::start(&terminating()).await;
    let envoy = Envoy::before(&world).await;
    let other = world.bearer(&json!({"aud": "api://billing"}));
    for (fields, check) in [(vec![], "token.present"), (vec![("authorization", other.as_str())], "token.audience")] {
        let (own, told) = (world.get("/", &fields).await, envoy.gets("/", &fields).await);
        assert_eq!((told.status, told.check()), (401, check.to_owned()));
        assert_eq!(
            (told.json()["message"].clone(), told.field("www-authenticate")),
            (own.json()["message"].clone(), own.field("www-authenticate"))
        );
    }
    let bearer = world.bearer(&json!({}));
    assert_eq!(envoy.asks("TRACE", "/", &[("authorization", &bearer)]).await.status, 405);
}

#[tokio::test]
async fn what_is_not_there_is_refused_so_that_envoy_knows_it_for_an_answer() {
    let decides = Service::start().await;
    let policy = format!("[api.policies.authorize_by]\nurl = \"{}\"\n[[api.operation]]", decides.url);
    let world = World::start(&ORDERS.replace("[[api.operation]]", &policy)).await;
    let envoy = Envoy::before(&world).await;
    let bearer = world.bearer(&json!({}));
    decides.answers("HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n");
    // `failure_mode_allow` of Envoy lets by what is answered with 503.
    let refused = envoy.gets("/", &[("authorization", &bearer)]).await;
    assert_eq!((refused.status, refused.check()), (403, "authorizer.available".to_owned()));
    assert_eq!(refused.field("retry-after").len(), 1);
}

#[tokio::test]
async fn g_05_what_says_who_somebody_is_is_taken_out_and_what_envoy_does_not_tell_is_refused() {
    let world = World::start(&terminating()).await;
    let envoy = Envoy::before(&world).await;
    let bearer = world.bearer(&json!({}));
    let token = ("authorization", bearer.as_str());
    for name in
        ["x-ms-client-principal", "x_ms_client_principal", "x-user", "x_caller", "x-forwarded-user", "forwarded"]
    {
        let answer = envoy.gets("/", &[token, (name, "grace")]).await;
        assert_eq!((answer.status, taken_out(&answer)), (200, vec![name]));
        assert_eq!(answer.field("x-caller"), ["o-ada"]);
        // Where `allowed_headers` has not all of them, it is not seen here, and would reach the service.
        let all = bytes("GET", "/", &[token, (name, "grace")]);
        let answer = envoy.tells("GET", "/", &[token], &told(all)).await;
        assert_eq!((answer.status, taken_out(&answer)), (400, vec![]), "{name}");
        assert!(message(&answer).contains("all fields"), "{answer:?}");
    }
    // Envoy overwrites it where it was told to, and who knows whether it was.
    let answer = envoy.gets("/", &[token, ("x-caller", "grace")]).await;
    assert_eq!(answer.status, 400);
    assert!(message(&answer).contains("leave out `x-caller`"), "{answer:?}");
    let usual = [token, ("x-real-ip", "203.0.113.9"), ("x-forwarded-port", "443"), ("x-request-id", "1")];
    assert_eq!(envoy.gets("/", &usual).await.status, 200, "proxies tell of themselves");
}

#[tokio::test]
async fn what_came_otherwise_than_envoy_has_it_is_refused() {
    let world = World::start(PUBLIC).await;
    let envoy = Envoy::before(&world).await;
    let (target, fields) = ("/a?b=c", [("x-a", "1,2"), ("accept", "*/*")]);
    let all = bytes("GET", target, &fields);
    assert_eq!(envoy.tells("GET", target, &fields, &told(all)).await.status, 200);
    for wrong in [all - 1, all + 1, 0, all + "x-a".len() - 1] {
        assert_eq!(envoy.tells("GET", target, &fields, &told(wrong)).await.status, 400, "{wrong}");
    }
    // A path with a prefix is not the path that is forwarded.
    assert_eq!(envoy.tells("GET", "/public/a?b=c", &fields, &told(all)).await.status, 400);
    assert_eq!(envoy.tells("PUT", target, &fields, &told(all + 1)).await.status, 400);
    // What Envoy's own request has anew is counted as it was told, and not as it came.
    let internal = all + "x-envoy-internal".len() + "true".len();
    assert_eq!(envoy.tells("GET", target, &fields, &told(internal)).await.status, 400, "20 bytes that nobody has seen");
    for (wrong, right) in [("", "true"), ("true x", "true"), ("-", "true")] {
        let tells = |word: &str| format!("203.0.113.9  https  {word}  {internal}");
        assert_eq!(envoy.tells("GET", target, &fields, &tells(wrong)).await.status, 400, "{wrong}");
        assert_eq!(envoy.tells("GET", target, &fields, &tells(right)).await.status, 200);
    }
    // Words that are not as they should be.
    for nonsense in [
        String::new(),
        all.to_string(),
        format!("203.0.113.9 TLSv1.3 https   {all}"),
        format!("203.0.113.9 TLSv1.3 https     {all}"),
        format!("203.0.113.9,TLSv1.3 https    {all}"),
        format!("203.0.113.9:4711 TLSv1.3 https    {all}"),
        format!("unknown TLSv1.3 https    {all}"),
        format!("203.0.113.9 TLSv1.3 https    -{all}"),
        "203.0.113.9 TLSv1.3 https    99999999999999999999999".to_owned(),
    ] {
        assert_eq!(envoy.tells("GET", target, &fields, &nonsense).await.status, 400, "{nonsense:?}");
    }
    // Nobody who asks in another way is answered here, and a caller's own word is one too many.
    for others in [
        &[][..],
        &[(TOLD, &*told(all)), (TOLD, &*told(all))],
        &[("x-forwarded-method", "GET"), ("x-forwarded-uri", "/"), ("x-forwarded-for", "203.0.113.9")],
    ] {
        let answer = envoy.sends("GET", target, others).await;
        assert_eq!(answer.status, 400);
        assert!(message(&answer).contains("set `x-deputize-request`, once"), "{answer:?}");
    }
}

#[tokio::test]
async fn g_07_a_path_that_envoy_would_forward_in_another_spelling_is_refused() {
    let world = World::start(&terminating()).await;
    let envoy = Envoy::before(&world).await;
    let bearer = world.bearer(&json!({}));
    let fields = [("authorization", bearer.as_str())];
    for target in ["/a/../b", "//b", "/%41", "/a/%2e%2e/b", "/a;b=c", "/%2fa", "/./a"] {
        assert_eq!(envoy.gets(target, &fields).await.status, 400, "{target}");
    }
    assert_eq!(envoy.gets("/a%20b", &fields).await.status, 200);
}

#[tokio::test]
async fn g_06_credentials_that_envoy_joined_are_refused() {
    let world = World::start(&terminating()).await;
    let envoy = Envoy::before(&world).await;
    let bearer = world.bearer(&json!({}));
    let joined = format!("{bearer},Basic eA==");
    assert!([400, 401].contains(&envoy.gets("/", &[("authorization", &joined)]).await.status));
    let target = format!("/?access_token={}", &bearer[7..]);
    assert_eq!(envoy.gets(&target, &[("authorization", &bearer)]).await.status, 400);
    assert_eq!(envoy.gets("/", &[("authorization", &bearer), ("upgrade", "websocket")]).await.status, 400, "G-12");
}

#[tokio::test]
async fn keys_are_taken_out_of_fields_and_refused_in_the_query() {
    let keyed = PUBLIC.replace("    public = true\n", "    [api.policies.subscription_key]\n")
        + "    [[subscription]]\n    name = \"s\"\n    api = \"orders\"\n    primary = { env = \"KEY_SALES\" }\n";
    let world = World::start(&keyed).await;
    let envoy = Envoy::before(&world).await;
    let (field, key) = ("ocp-apim-subscription-key", "sales-0123456789");
    let answer = envoy.gets("/", &[(field, key), ("x-user", "grace")]).await;
    assert_eq!((answer.status, taken_out(&answer)), (200, vec![field, "x-user"]));
    let answer = envoy.gets(&format!("/?a=b&subscription-key={key}"), &[]).await;
    assert_eq!((answer.status, message(&answer).contains("cannot take them out")), (400, true), "{answer:?}");
    assert_eq!(envoy.gets("/", &[]).await.reason().1, "SubscriptionKeyNotFound");
}

#[tokio::test]
async fn what_envoy_cannot_do_and_what_cannot_be_judged_is_logged_as_the_refusal_that_it_is() {
    let world = World::start(&terminating()).await;
    let envoy = Envoy::before(&world).await;
    let bearer = world.bearer(&json!({}));
    let fields = [("authorization", bearer.as_str()), ("x-caller", "grace")];
    let line = is_told(&world, &envoy.gets("/", &fields).await);
    assert_eq!((&line["status"], &line["subject"]), (&json!(400), &json!("o-ada")));
    let line = is_told(&world, &envoy.gets("//7?a", &[]).await);
    assert_eq!((&line["path"], &line["peer"]), (&json!("//7"), &json!("203.0.113.9")));
    let line = is_told(&world, &envoy.tells("GET", "/a?b", &[], &told(0)).await);
    assert_eq!((&line["path"], &line["peer"]), (&json!("/a"), &json!("127.0.0.1")));
}

#[tokio::test]
async fn a_preflight_is_answered_and_no_answer_of_the_gateways_own_is_a_permission() {
    let more = "    [api.protected_resource]\n    resource = \"https://api.example/\"\n    [api.policies.cors]\n    allowed_origins = [\"https://shop.example\"]\n    [[api.operation]]";
    let world = World::start(&ORDERS.replacen("    [[api.operation]]", more, 1)).await;
    let envoy = Envoy::before(&world).await;
    let origin = ("origin", "https://shop.example");
    let preflight = envoy.asks("OPTIONS", "/", &[origin, ("access-control-request-method", "GET")]).await;
    assert_eq!(preflight.status, 204, "200 would let it through to the service");
    assert_eq!(preflight.field("access-control-allow-origin"), ["https://shop.example"]);
    // An answer that pages of the origin may read.
    let bearer = world.bearer(&json!({}));
    let answer = envoy.gets("/", &[origin, ("authorization", &bearer)]).await;
    assert_eq!((answer.status, answer.field("access-control-allow-origin")), (200, vec!["https://shop.example"]));
    let document = "/.well-known/oauth-protected-resource";
    assert_eq!(world.get(document, &[]).await.status, 200);
    world.lines();
    let answer = envoy.gets(document, &[]).await;
    assert_eq!(answer.status, 403);
    is_told(&world, &answer);
    assert!(message(&answer).contains("gRPC"), "{answer:?}");
}

#[tokio::test]
async fn proofs_are_for_the_address_by_which_callers_know_envoy() {
    let bound = ORDERS.replace("[[api.operation]]", "[api.policies.dpop]\n[[api.operation]]");
    let world = World::start(&bound).await;
    let envoy = Envoy::before(&world).await;
    let key = SigningKey::generate(Algorithm::ES256).unwrap();
    let token = world.token(&json!({"cnf": {"jkt": key.public_jwk().thumbprint()}}));
    let authorization = format!("DPoP {token}");
    for (jti, uri, tls, status) in [
        ("1", "https://api.example/a", "TLSv1.3", 200),
        ("2", "http://api.example/a", "TLSv1.3", 401),
        ("3", "http://api.example/a", "", 200),
        ("4", "https://api.example/a", "", 401),
    ] {
        let proof = Bound { key: &key, method: "GET", uri, token: &token, now: NOON, max_age: 60 }.good(jti);
        let fields = [("authorization", authorization.as_str()), ("dpop", &proof)];
        let told = format!("203.0.113.9 {tls} https    {}", bytes("GET", "/a", &fields));
        let answer = envoy.tells("GET", "/a", &fields, &told).await;
        assert_eq!(answer.status, status, "{jti}: {answer:?}");
    }
}

#[tokio::test]
async fn who_stands_before_envoy_is_a_matter_of_trust() {
    let forbidden = format!(
        "{PUBLIC}    [api.operation.policies.ip_filter]\n    action = \"forbid\"\n    address = [\"198.51.100.1\"]\n"
    );
    let world = World::start(&forbidden).await;
    let envoy = Envoy::before(&world).await;
    let fields = [("x-forwarded-for", "192.0.2.1, 198.51.100.1, 203.0.113.9")];
    assert_eq!(envoy.gets("/", &fields).await.status, 200);
    world.reload(&format!("trusted_proxies = [\"203.0.113.9\"]\n{forbidden}")).unwrap();
    assert_eq!(envoy.gets("/", &fields).await.status, 403);
}

#[tokio::test]
async fn an_operator_is_told_which_fields_envoy_has_to_take_from_the_answer() {
    let told = async |text: &str| {
        World::start(&format!("envoy_authorizer = \"localhost:9192\"\n{text}")).await.gateway.remarks()
    };
    let all = "`envoy_authorizer`: Envoy's `allowed_upstream_headers` has to name these, and no others:";
    assert_eq!(told(&terminating()).await, [format!("{all} authorization, x-caller")]);
    assert_eq!(told(crate::browser::SIGN_IN).await, [format!("{all} authorization, cookie, x-zumo-auth")]);
}
