//! Decisions for proxies that forward by themselves: by Envoy's external authorization, and by the subrequest of others.
use crate::support::{Answered, ORDERS, PUBLIC, World, answered};
use crate::telling::{Beside, own};
use bytes::Bytes;
use gateway::Authorizer;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;
use serve::{Listeners, Socket};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

/// Users' tokens are kept here; the service gets a password, and the user's name.
const TERMINATING: &str = r#"
    [api.onward.basic]
    username = "gateway"
    password = { env = "PASSWORD" }
    [[api.policies.set_header]]
    name = "X-Caller"
    claim = "oid"
    [[api.operation]]
"#;

pub(crate) fn terminating() -> String {
    ORDERS.replacen("[[api.operation]]", TERMINATING, 1)
}

pub(crate) struct Proxy {
    address: SocketAddr,
    _listeners: Listeners,
}

impl Proxy {
    pub(crate) async fn before(world: &World) -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let mut listeners = Listeners::new();
        listeners.add(Socket::Tcp(socket), None, Arc::new(Authorizer::new(Arc::clone(&world.gateway))));
        Self { address, _listeners: listeners }
    }

    /// As Traefik asks of a `GET`.
    pub(crate) async fn asks(&self, target: &str, fields: &[(&str, &str)]) -> Answered {
        let usual = [
            ("x-forwarded-method", "GET"),
            ("x-forwarded-uri", target),
            ("x-forwarded-host", "api.example"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-for", "203.0.113.9"),
        ];
        let usual = usual.into_iter().filter(|(name, _)| fields.iter().all(|(given, _)| given != name));
        let all: Vec<(&str, &str)> =
            usual.chain(fields.iter().copied().filter(|(_, value)| !value.is_empty())).collect();
        self.sends(&all).await
    }

    async fn sends(&self, fields: &[(&str, &str)]) -> Answered {
        self.sends_to("/forward-auth", fields).await
    }

    async fn sends_to(&self, path: &str, fields: &[(&str, &str)]) -> Answered {
        let mut text = format!("GET {path} HTTP/1.1\r\nhost: auth\r\n");
        for (name, value) in fields {
            text.extend([name, ": ", value, "\r\n"]);
        }
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all((text + "\r\n").as_bytes()).await.unwrap();
        answered(&mut stream).await
    }

    /// As Envoy asks; the answer's status of gRPC, and the message.
    async fn calls(&self, message: &[u8]) -> (String, Vec<u8>) {
        let framed = [&[0][..], &u32::try_from(message.len()).unwrap().to_be_bytes(), message].concat();
        let stream = TokioIo::new(TcpStream::connect(self.address).await.unwrap());
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
        tokio::spawn(connection);
        let request = http::Request::post("http://auth/envoy.service.auth.v3.Authorization/Check")
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(Full::new(Bytes::from(framed)))
            .unwrap();
        let answer = sender.send_request(request).await.unwrap();
        assert_eq!(answer.headers()["content-type"], "application/grpc");
        let whole = answer.into_body().collect().await.unwrap();
        let status = whole.trailers().unwrap()["grpc-status"].to_str().unwrap().to_owned();
        let body = whole.to_bytes();
        (status, body.get(5..).unwrap_or_default().to_vec())
    }
}

/// A `CheckRequest`, by the numbers of its published definition.
fn check(method: &str, target: &str, fields: &[(&str, &str)]) -> Vec<u8> {
    let mut request = telemetry::Message::default();
    request.message(1, |attributes| {
        attributes
            .message(1, |peer| peer.message(1, |address| address.message(1, |socket| socket.text(2, "203.0.113.9"))));
        attributes.message(4, |request| {
            request.message(2, |http| {
                http.text(2, method);
                for (name, value) in [(":path", target), (":authority", "api.example")].iter().chain(fields) {
                    http.message(3, |pair| {
                        pair.text(1, name);
                        pair.text(2, value);
                    });
                }
                http.text(4, target);
                http.text(5, "api.example");
                http.text(6, "https");
            });
        });
    });
    request.octets_so_far().to_vec()
}

/// Whether a message holds a pair of texts, as a field's name and value are written.
fn holds(message: &[u8], name: &str, value: &str) -> bool {
    let mut pair = telemetry::Message::default();
    pair.text(1, name);
    pair.text(2, value);
    message.windows(pair.octets_so_far().len()).any(|part| part == pair.octets_so_far())
}

fn removes(message: &[u8], name: &str) -> bool {
    let mut text = telemetry::Message::default();
    text.text(5, name);
    message.windows(text.octets_so_far().len()).any(|part| part == text.octets_so_far())
}

#[tokio::test]
async fn a_permitted_request_is_answered_with_what_its_service_is_to_be_sent() {
    let world = World::start(&terminating()).await;
    let proxy = Proxy::before(&world).await;
    let bearer = world.bearer(&json!({}));
    let answer = proxy.asks("/orders/7?a=b", &[("authorization", &bearer), ("accept", "text/html")]).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, ""));
    assert_eq!(answer.field("authorization"), ["Basic Z2F0ZXdheTpvcGVuIHNlc2FtZQ=="]);
    assert_eq!(
        (answer.field("x-caller"), answer.field("accept")),
        (vec!["o-ada"], vec![]),
        "what changes, and no more"
    );
    assert_eq!(answer.field("x-forwarded-for"), Vec::<&str>::new());
    assert!(world.service.seen().is_empty(), "the proxy forwards, not the gateway");
    let lines = world.lines();
    assert_eq!(
        (&lines[0]["operation"], &lines[0]["peer"], &lines[0]["status"]),
        (&json!("orders/all"), &json!("203.0.113.9"), &json!(200))
    );
    assert_eq!(lines[0]["subject"], "o-ada");
}

#[tokio::test]
async fn a_refusal_is_the_gateways_own_answer() {
    let world = World::start(&terminating()).await;
    let proxy = Proxy::before(&world).await;
    let other = world.bearer(&json!({"aud": "api://billing"}));
    for (fields, check) in [(vec![], "token.present"), (vec![("authorization", other.as_str())], "token.audience")] {
        let (own, told) = (world.get("/", &fields).await, proxy.asks("/", &fields).await);
        assert_eq!((told.status, told.check()), (401, check.to_owned()));
        assert_eq!(
            (told.json()["message"].clone(), told.field("www-authenticate")),
            (own.json()["message"].clone(), own.field("www-authenticate"))
        );
        let (status, message) = proxy.calls(&self::check("GET", "/", &fields)).await;
        assert_eq!(status, "0");
        assert!(holds(&message, "www-authenticate", own.field("www-authenticate")[0]), "{message:?}");
        // The status of HTTP stands in a message of its own, as a number.
        assert!(message.windows(5).any(|part| part == [0x0a, 0x03, 0x08, 0x91, 0x03]), "{message:?}");
    }
    assert_eq!(
        proxy.asks("/", &[("authorization", &world.bearer(&json!({}))), ("x-forwarded-method", "TRACE")]).await.status,
        405
    );
}

#[tokio::test]
async fn g_07_a_path_that_the_proxy_would_forward_in_another_spelling_is_refused() {
    let world = World::start(&terminating()).await;
    let proxy = Proxy::before(&world).await;
    let bearer = world.bearer(&json!({}));
    let fields = [("authorization", bearer.as_str())];
    for target in [
        "/a/../b",
        "//b",
        "/%41",
        "/a/%2e%2e/b",
        "/a;b=c",
        "/a\\b",
        "/%2fa",
        "*",
        "http://api.example/",
        "?a",
        "/a b",
        "/./a",
        "/a#b",
        "/a?role=user#&role=admin",
    ] {
        assert_eq!(proxy.asks(target, &fields).await.status, 400, "{target}");
        let (_, message) = proxy.calls(&check("GET", target, &fields)).await;
        assert!(message.windows(5).any(|part| part == [0x0a, 0x03, 0x08, 0x90, 0x03]), "{target}: {message:?}");
    }
    assert_eq!(proxy.asks("/a%20b", &fields).await.status, 200);
}

#[tokio::test]
async fn g_05_what_says_who_somebody_is_reaches_no_service_through_a_proxy() {
    let world = World::start(&terminating()).await;
    let proxy = Proxy::before(&world).await;
    let bearer = world.bearer(&json!({}));
    for name in [
        "x-ms-client-principal",
        "x_ms_client_principal",
        "x-user",
        "x_caller",
        "x-forwarded-user",
        "x-http-method-override",
        "x-original-url",
        "proxy",
        "transfer_encoding",
        "content_length",
        "forwarded",
    ] {
        let fields = [("authorization", bearer.as_str()), (name, "grace")];
        let answer = proxy.asks("/", &fields).await;
        assert_eq!(answer.status, 400, "{name}");
        assert!(answer.json()["message"].as_str().unwrap().contains(name), "{answer:?}");
        // Envoy can take it out.
        let (_, message) = proxy.calls(&check("GET", "/", &fields)).await;
        assert!(removes(&message, name) && holds(&message, "x-caller", "o-ada"), "{name}: {message:?}");
    }
    // Nor one that would be overwritten, were the proxy told to: nobody here knows whether it is.
    let fields = [("authorization", bearer.as_str()), ("x-caller", "grace")];
    let answer = proxy.asks("/", &fields).await;
    assert_eq!(answer.status, 400);
    assert!(answer.json()["message"].as_str().unwrap().contains("x-caller"), "{answer:?}");
    let (_, message) = proxy.calls(&check("GET", "/", &fields)).await;
    assert!(holds(&message, "x-caller", "o-ada"), "Envoy overwrites it: {message:?}");
    let usual = [
        ("authorization", bearer.as_str()),
        ("x-real-ip", "203.0.113.9"),
        ("x-forwarded-port", "443"),
        ("x-forwarded-server", "edge"),
        ("x-forwarded-prefix", "/orders"),
        ("x-original-host", "shop.example"),
        ("x-azure-clientip", "203.0.113.9"),
        ("fastly-client-ip", "203.0.113.9"),
        ("x-envoy-external-address", "203.0.113.9"),
        ("x_ordinary", "1"),
    ];
    assert_eq!(proxy.asks("/", &usual).await.status, 200, "proxies tell of themselves");
    // A token that nobody has looked at, where services take its field for the one that has been.
    let elsewhere = terminating().replacen(
        "[api.policies.validate_jwt]",
        "[api.policies.validate_jwt]\n    header_name = \"X-Token\"",
        1,
    );
    let world = World::start(&elsewhere).await;
    let proxy = Proxy::before(&world).await;
    let token = &world.token(&json!({}));
    assert_eq!(proxy.asks("/", &[("x-token", token)]).await.status, 200);
    let answer = proxy.asks("/", &[("x-token", token), ("x_token", "forged")]).await;
    assert_eq!(answer.status, 400);
    assert!(answer.json()["message"].as_str().unwrap().contains("x_token"), "{answer:?}");
    // It may be spelt so itself.
    let world = World::start(&elsewhere.replace("X-Token", "X_Token")).await;
    let proxy = Proxy::before(&world).await;
    let token = &world.token(&json!({}));
    assert_eq!(proxy.asks("/", &[("x_token", token)]).await.status, 200);
    assert_eq!(proxy.asks("/", &[("x_token", token), ("x-token", "forged")]).await.status, 400);
}

/// Whether an answer, which refuses, is what the only line of the log tells, by its id.
pub(crate) fn is_told(world: &World, answer: &Answered) -> serde_json::Value {
    let mut lines = world.lines();
    assert_eq!(lines.len(), 1, "{answer:?}: {lines:?}");
    let line = lines.remove(0);
    let told = answer.json();
    assert!(!told["decision_id"].as_str().unwrap().is_empty(), "{answer:?}");
    assert_eq!(
        (&line["decision_id"], &line["check"], &line["status"]),
        (&told["decision_id"], &told["check"], &told["statusCode"]),
        "{answer:?}"
    );
    line
}

#[tokio::test]
async fn what_a_proxy_cannot_do_is_logged_and_counted_as_the_refusal_that_it_is() {
    let keyed = PUBLIC.replace("    public = true\n", "    [api.policies.subscription_key]\n")
        + "    [[subscription]]\n    name = \"s\"\n    api = \"orders\"\n    primary = { env = \"KEY_SALES\" }\n";
    let world = World::start(&keyed).await;
    let beside = Beside::start(&world, own()).await;
    let proxy = Proxy::before(&world).await;
    let answer = proxy.asks("/a?subscription-key=sales-0123456789", &[]).await;
    assert_eq!(answer.status, 400);
    let line = is_told(&world, &answer);
    assert_eq!((&line["path"], &line["subscription"]), (&json!("/a"), &json!("s")));
    let scrape = beside.get("/metrics").await.1;
    let refused = r#"deputize_gateway_refused_total{api="orders",operation="orders/all",check="gateway.request"} 1"#;
    assert!(scrape.contains(refused) && !scrape.contains(r#"status="200""#), "{scrape}");
    let world = World::start(&terminating()).await;
    let proxy = Proxy::before(&world).await;
    let answer = proxy.asks("/", &[("authorization", &world.bearer(&json!({}))), ("x-user", "grace")]).await;
    assert_eq!(answer.status, 400);
    assert_eq!(is_told(&world, &answer)["subject"], "o-ada");
}

#[tokio::test]
async fn what_cannot_be_judged_is_told_of_like_any_other_refusal() {
    let world = World::start(PUBLIC).await;
    let beside = Beside::start(&world, own()).await;
    let proxy = Proxy::before(&world).await;
    let line = is_told(&world, &proxy.asks("//7?subscription-key=sales", &[]).await);
    assert_eq!((&line["path"], &line["peer"]), (&json!("//7"), &json!("203.0.113.9")), "and no query");
    assert_eq!(is_told(&world, &proxy.asks("/a#b", &[]).await)["path"], "/a");
    // Of what does not say what it is about there is the question itself.
    let line = is_told(&world, &proxy.asks("/", &[("x-forwarded-method", "")]).await);
    assert_eq!((&line["path"], &line["peer"]), (&json!("/forward-auth"), &json!("127.0.0.1")));
    for message in [check("GET", "//7", &[]), Vec::new()] {
        let (_, told) = proxy.calls(&message).await;
        let lines = world.lines();
        let id = lines[0]["decision_id"].as_str().unwrap();
        assert_eq!((lines.len(), &lines[0]["status"]), (1, &json!(400)));
        assert!(!id.is_empty() && String::from_utf8_lossy(&told).contains(id), "{told:?}");
    }
    let scrape = beside.get("/metrics").await.1;
    let refused = r#"deputize_gateway_refused_total{api="",operation="",check="gateway.request"} 5"#;
    assert!(scrape.contains(refused), "{scrape}");
}

#[tokio::test]
async fn an_operator_is_told_which_fields_proxies_have_to_take_from_the_answer() {
    let told =
        async |text: &str| World::start(&format!("authorizer = \"localhost:9191\"\n{text}")).await.gateway.remarks();
    let begins = "`authorizer`: proxies that ask at `/forward-auth` or `/auth-request` have to replace these by what the answer has, or take them out: ";
    // What callers can send beside what proxies say in the same fields, they have to take out in any case.
    let always = [
        "cf-connecting-ip",
        "cf-connecting-ipv6",
        "fastly-client-ip",
        "front-end-https",
        "true-client-ip",
        "x-azure-clientip",
        "x-azure-socketip",
        "x-client-ip",
        "x-cluster-client-ip",
        "x-envoy-external-address",
        "x-forwarded-method",
        "x-forwarded-port",
        "x-forwarded-prefix",
        "x-forwarded-scheme",
        "x-forwarded-server",
        "x-forwarded-ssl",
        "x-forwarded-uri",
        "x-original-forwarded-for",
        "x-original-host",
        "x-real-ip",
    ];
    let names = |told: &[String]| -> Vec<String> {
        let [told] = told else { panic!("{told:?}") };
        told.strip_prefix(begins).unwrap().split(", ").map(str::to_owned).collect()
    };
    let wanted = |own: &[&str]| -> Vec<String> {
        let mut all: Vec<String> = own.iter().chain(&always).map(|name| (*name).to_owned()).collect();
        all.sort_unstable();
        all
    };
    let bound =
        terminating().replacen("[[api.policies.set_header]]", "[api.policies.dpop]\n[[api.policies.set_header]]", 1);
    assert_eq!(names(&told(&bound).await), wanted(&["authorization", "dpop", "x-caller"]));
    let keyed = PUBLIC.replace("    public = true\n", "    [api.policies.subscription_key]\n    header = \"X-Key\"\n");
    assert_eq!(names(&told(&keyed).await), wanted(&["authorization", "x-key"]));
    assert_eq!(names(&told(crate::browser::SIGN_IN).await), wanted(&["authorization", "cookie", "x-zumo-auth"]));
    assert!(World::start(PUBLIC).await.gateway.remarks().is_empty(), "where none asks, nothing");
}

#[tokio::test]
async fn g_06_two_credentials_are_refused_whichever_way_a_proxy_tells_of_them() {
    let world = World::start(&terminating()).await;
    let proxy = Proxy::before(&world).await;
    let bearer = world.bearer(&json!({}));
    let twice = [("authorization", bearer.as_str()), ("authorization", "Basic eA==")];
    assert_eq!(proxy.asks("/", &twice).await.check(), "gateway.credential_single");
    let (_, message) = proxy.calls(&check("GET", "/", &[("authorization", &format!("{bearer},Basic eA=="))])).await;
    assert!(!holds(&message, "x-caller", "o-ada"), "joined by Envoy: {message:?}");
    assert_eq!(
        proxy.asks(&format!("/?access_token={}", &bearer[7..]), &[("authorization", &bearer)]).await.status,
        400
    );
}

#[tokio::test]
async fn keys_are_taken_out_where_the_proxy_can_and_refused_in_the_query_where_it_cannot() {
    let keyed = PUBLIC.replace("    public = true\n", "    [api.policies.subscription_key]\n")
        + "    [[subscription]]\n    name = \"s\"\n    api = \"orders\"\n    primary = { env = \"KEY_SALES\" }\n";
    let world = World::start(&keyed).await;
    let proxy = Proxy::before(&world).await;
    let (field, key) = ("ocp-apim-subscription-key", "sales-0123456789");
    let answer = proxy.asks("/", &[(field, key)]).await;
    assert_eq!((answer.status, answer.field(field).len()), (200, 0), "{answer:?}");
    let (_, message) = proxy.calls(&check("GET", "/", &[(field, key)])).await;
    assert!(removes(&message, field), "{message:?}");
    let target = format!("/?a=b&subscription-key={key}");
    assert_eq!(proxy.asks(&target, &[]).await.status, 400);
    let (_, message) = proxy.calls(&check("GET", &target, &[])).await;
    let text = String::from_utf8_lossy(&message);
    assert!(text.contains("subscription-key") && !text.contains(key), "{text}");
    assert_eq!(proxy.asks("/", &[]).await.reason().1, "SubscriptionKeyNotFound");
}

#[tokio::test]
async fn a_proxy_that_does_not_tell_everything_is_told_what_is_missing() {
    let world = World::start(PUBLIC).await;
    let proxy = Proxy::before(&world).await;
    assert_eq!(proxy.asks("/", &[]).await.status, 200);
    for name in ["x-forwarded-method", "x-forwarded-uri", "x-forwarded-host", "x-forwarded-proto", "x-forwarded-for"] {
        let answer = proxy.asks("/", &[(name, "")]).await;
        assert_eq!(answer.status, 400, "{name}");
        assert!(answer.json()["message"].as_str().unwrap().contains(&format!("set `{name}`")), "{answer:?}");
        let twice = proxy.asks("/", &[(name, "/"), (name, "/")]).await;
        assert_eq!(twice.status, 400, "{name} twice");
    }
    assert_eq!(proxy.asks("/", &[("x-forwarded-for", "unknown")]).await.status, 400);
    // Who stands before the proxy is a matter of trust, as everywhere.
    let forbidden = format!(
        "{PUBLIC}    [api.operation.policies.ip_filter]\n    action = \"forbid\"\n    address = [\"203.0.113.9\"]\n"
    );
    world.reload(&forbidden).unwrap();
    assert_eq!(proxy.asks("/", &[]).await.status, 403);
    assert_eq!(proxy.asks("/", &[("x-forwarded-for", "192.0.2.1, 203.0.113.9, 198.51.100.1")]).await.status, 200);
    world.reload(&format!("trusted_proxies = [\"198.51.100.1\"]\n{forbidden}")).unwrap();
    assert_eq!(proxy.asks("/", &[("x-forwarded-for", "192.0.2.1, 203.0.113.9, 198.51.100.1")]).await.status, 403);
}

#[tokio::test]
async fn g_12_a_proxy_is_given_no_permission_to_open_a_websocket() {
    let world = World::start(&terminating()).await;
    let proxy = Proxy::before(&world).await;
    let bearer = world.bearer(&json!({}));
    let fields = [("authorization", bearer.as_str()), ("connection", "upgrade"), ("upgrade", "websocket")];
    let (_, message) = proxy.calls(&check("GET", "/", &fields)).await;
    assert!(message.windows(5).any(|part| part == [0x0a, 0x03, 0x08, 0x90, 0x03]), "{message:?}");
    assert_eq!(proxy.asks("/", &[fields[0], fields[2]]).await.status, 400);
}

#[tokio::test]
async fn nginx_is_given_the_answers_that_it_knows() {
    let world = World::start(&terminating()).await;
    let proxy = Proxy::before(&world).await;
    let bearer = world.bearer(&json!({}));
    let ask = async |target: &str, bearer: Option<&str>| {
        let mut fields = vec![
            ("x-forwarded-method", "GET"),
            ("x-forwarded-uri", target),
            ("x-forwarded-host", "api.example"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-for", "203.0.113.9"),
        ];
        fields.extend(bearer.map(|bearer| ("authorization", bearer)));
        proxy.sends_to("/auth-request", &fields).await
    };
    assert_eq!(ask("/", Some(&bearer)).await.field("x-caller"), ["o-ada"]);
    assert_eq!((ask("/", None).await.status, ask("//", Some(&bearer)).await.status), (401, 403));
    assert_eq!(proxy.sends_to("/elsewhere", &[]).await.status, 404);
}

#[tokio::test]
async fn a_preflight_is_no_permission() {
    let cors = "    [api.policies.cors]\n    allowed_origins = [\"https://shop.example\"]\n    [[api.operation]]";
    let world = World::start(&ORDERS.replacen("    [[api.operation]]", cors, 1)).await;
    let proxy = Proxy::before(&world).await;
    let preflight = [
        ("x-forwarded-method", "OPTIONS"),
        ("origin", "https://shop.example"),
        ("access-control-request-method", "GET"),
    ];
    let answer = proxy.asks("/", &preflight).await;
    assert_eq!(answer.status, 403, "a 2xx would let it through to the service");
    is_told(&world, &answer);
    let (_, message) = proxy.calls(&check("OPTIONS", "/", &preflight[1..])).await;
    assert!(holds(&message, "access-control-allow-origin", "https://shop.example"), "{message:?}");
    assert_eq!(message.get(..4), Some(&[0x0a, 0x02, 0x08, 0x07][..]), "Envoy answers it, and does not forward it");
    // An answer that pages of the origin may read.
    let bearer = world.bearer(&json!({}));
    let (_, message) =
        proxy.calls(&check("GET", "/", &[("origin", "https://shop.example"), ("authorization", &bearer)])).await;
    assert!(holds(&message, "access-control-allow-origin", "https://shop.example"), "{message:?}");
}

#[tokio::test]
async fn what_is_no_message_is_refused_in_words_of_grpc() {
    let world = World::start(PUBLIC).await;
    let proxy = Proxy::before(&world).await;
    for nonsense in [&b"\xff\xff\xff\xff"[..], &[0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f]] {
        assert_eq!(proxy.calls(nonsense).await, ("3".to_owned(), Vec::new()));
    }
    // Nothing at all is asked about: that is no permission.
    let (status, message) = proxy.calls(b"").await;
    assert_eq!((status.as_str(), message.get(..4)), ("0", Some(&[0x0a, 0x02, 0x08, 0x07][..])));
    let long = check("GET", "/", &[("x-long", &"x".repeat(300_000))]);
    assert_eq!(proxy.calls(&long).await.0, "3");
    let answer = proxy.sends(&[]).await;
    assert_eq!(answer.status, 400);
}
