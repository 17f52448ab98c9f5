//! What the gateway tells of itself: metrics by API and decision, traces, and decisions as they are made.
use crate::support::{ORDERS, PUBLIC, World, get};
use gateway::{Control, Status, Telemetry};
use serde_json::{Value, json};
use serve::{Listeners, Socket};
use std::sync::Arc;
use telemetry::{Message, Moment, Sampling, Source as _};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

/// What stands beside a gateway, and the way there.
pub(crate) struct Beside {
    status: std::net::SocketAddr,
    control: std::path::PathBuf,
    _listeners: Listeners,
}

/// Whoever runs the tests may watch.
pub(crate) fn own() -> u32 {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").unwrap().uid()
}

impl Beside {
    pub(crate) async fn start(world: &World, uid: u32) -> Self {
        let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let status = socket.local_addr().unwrap();
        let control = std::env::temp_dir().join(format!("deputize-control-{}-{}", std::process::id(), status.port()));
        let mut listeners = Listeners::new();
        listeners.add(Socket::Tcp(socket), None, Arc::new(Status::new(Arc::clone(&world.gateway))));
        let socket = Socket::unix(&control).await.unwrap();
        listeners.add(socket, None, Arc::new(Control::new(Arc::clone(&world.gateway), uid)));
        Self { status, control, _listeners: listeners }
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.status).await.unwrap();
        let text = format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
    }

    async fn watch(&self) -> Watcher {
        let mut stream = UnixStream::connect(&self.control).await.unwrap();
        stream.write_all(b"GET /trace HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        let mut watcher = Watcher { stream, text: String::new() };
        watcher.until("\r\n\r\n").await;
        watcher
    }
}

struct Watcher {
    stream: UnixStream,
    text: String,
}

impl Watcher {
    /// What came, up to and with `end`.
    async fn until(&mut self, end: &str) -> String {
        loop {
            if let Some(at) = self.text.find(end) {
                let rest = self.text.split_off(at + end.len());
                return std::mem::replace(&mut self.text, rest);
            }
            let mut some = [0; 4_096];
            let read = self.stream.read(&mut some);
            let length = tokio::time::timeout(std::time::Duration::from_secs(20), read).await.unwrap().unwrap();
            assert!(length > 0, "it ended: {}", self.text);
            self.text.push_str(std::str::from_utf8(&some[..length]).unwrap());
        }
    }

    async fn next(&mut self) -> Value {
        let line = self.until("}\n\r\n").await;
        serde_json::from_str(&line[line.find('{').unwrap()..]).unwrap()
    }
}

const LIMITED: &str = r#"
    [[api.operation]]
    name = "limited"
    method = "GET"
    path = "/limited"
    [api.operation.policies.ip_filter]
    action = "forbid"
    address = ["127.0.0.1"]
"#;

#[tokio::test]
async fn requests_are_counted_by_operation_status_and_failed_check() {
    let world = World::start(ORDERS).await;
    let beside = Beside::start(&world, own()).await;
    assert_eq!(beside.get("/readyz").await, (503, "the keys of https://id.example/t1/v2.0 are not at hand".to_owned()));
    for _ in 0..3 {
        assert_eq!(world.get_with_token("/", &[]).await.status, 200);
    }
    assert_eq!(world.get("/", &[]).await.status, 401);
    let other = world.bearer(&json!({"aud": "api://billing"}));
    assert_eq!(world.get("/", &[("authorization", &other)]).await.status, 401);
    assert_eq!(world.get("/%2e", &[]).await.status, 400);
    let (status, scrape) = beside.get("/metrics").await;
    assert_eq!(status, 200);
    for line in [
        r#"deputize_gateway_requests_total{api="orders",operation="orders/all",status="200"} 3"#,
        r#"deputize_gateway_requests_total{api="orders",operation="orders/all",status="401"} 2"#,
        r#"deputize_gateway_requests_total{api="",operation="",status="400"} 1"#,
        r#"deputize_gateway_refused_total{api="orders",operation="orders/all",check="token.audience"} 1"#,
        r#"deputize_gateway_refused_total{api="orders",operation="orders/all",check="token.present"} 1"#,
        r#"deputize_gateway_refused_total{api="",operation="",check="gateway.request"} 1"#,
        r#"deputize_gateway_request_seconds_count{api="orders",operation="orders/all"} 5"#,
        r#"deputize_gateway_service_seconds_count{api="orders",operation="orders/all"} 3"#,
        r#"deputize_gateway_keys_ready{issuer="https://id.example/t1/v2.0"} 1"#,
        r#"deputize_gateway_keys_fetched_timestamp_seconds{issuer="https://id.example/t1/v2.0"} 1800000000"#,
        r#"deputize_gateway_keys_refreshes_total{issuer="https://id.example/t1/v2.0",reason="unknown_kid",outcome="success"} 1"#,
    ] {
        assert!(scrape.lines().any(|found| found == line), "{line} is not in\n{scrape}");
    }
    assert!(scrape.contains("deputize_gateway_response_bytes_total{api=\"orders\",operation=\"orders/all\"}"));
    assert_eq!(beside.get("/readyz").await, (200, "ready".to_owned()));
    assert_eq!(beside.get("/healthz").await, (200, "ok".to_owned()));
    assert_eq!(beside.get("/trace").await.0, 404, "decisions are told on the operator's socket only");
}

#[tokio::test]
async fn counters_outlive_configurations_and_go_with_their_operations() {
    let world = World::start(PUBLIC).await;
    let beside = Beside::start(&world, own()).await;
    let count = r#"deputize_gateway_requests_total{api="orders",operation="orders/all",status="200"}"#;
    assert_eq!(world.get("/", &[]).await.status, 200);
    world.reload(&format!("{PUBLIC}{LIMITED}")).unwrap();
    assert_eq!(world.get("/", &[]).await.status, 200);
    assert!(beside.get("/metrics").await.1.contains(&format!("{count} 2\n")));
    world.reload(&PUBLIC.replace("\"all\"", "\"every\"")).unwrap();
    assert_eq!(world.get("/", &[]).await.status, 200);
    let scrape = beside.get("/metrics").await.1;
    assert!(!scrape.contains("orders/all") && scrape.contains("orders/every"), "{scrape}");
}

#[tokio::test]
async fn who_watches_sees_every_policy_what_it_said_and_every_check_of_the_token() {
    let world = World::start(&format!("{ORDERS}{LIMITED}")).await;
    let beside = Beside::start(&world, own()).await;
    assert_eq!(world.get_with_token("/", &[]).await.status, 200);
    let mut watcher = beside.watch().await;
    let answer = world.get("/", &[("authorization", &world.bearer(&json!({"aud": "api://billing"})))]).await;
    let told = watcher.next().await;
    assert_eq!(
        (&told["status"], &told["check"], &told["operation"]),
        (&json!(401), &json!("token.audience"), &json!("orders/all"))
    );
    assert_eq!(told["decision_id"], answer.json()["decision_id"]);
    let steps = told["steps"].as_array().unwrap();
    assert_eq!((steps.len(), &steps[0]["policy"], &steps[0]["passed"]), (1, &json!("validate_jwt"), &json!(false)));
    let checks = steps[0]["checks"].as_array().unwrap();
    let outcome = |id: &str| checks.iter().find(|check| check["id"] == id).map(|check| check["outcome"].clone());
    assert_eq!((outcome("token.audience"), outcome("token.signature")), (Some(json!("fail")), Some(json!("pass"))));
    let audience = checks.iter().find(|check| check["id"] == "token.audience").unwrap();
    assert!(audience["expected"].as_str().unwrap().contains("api://orders"), "{audience}");
    assert!(audience["actual"].as_str().unwrap().contains("api://billing"), "{audience}");

    assert_eq!(world.get_with_token("/limited", &[]).await.status, 403);
    let told = watcher.next().await;
    assert_eq!((&told["steps"][0]["policy"], &told["steps"].as_array().unwrap().len()), (&json!("ip_filter"), &1));

    assert_eq!(world.get_with_token("/", &[]).await.status, 200);
    let told = watcher.next().await;
    let names: Vec<&Value> = told["steps"].as_array().unwrap().iter().map(|step| &step["policy"]).collect();
    assert_eq!((names, &told["subject"]), (vec![&json!("validate_jwt"), &json!("onward")], &json!("o-ada")));
    let lines = world.lines();
    assert!(lines.iter().all(|line| line.get("steps").is_none()), "steps are for who watches, not for the log");
}

#[tokio::test]
async fn behind_a_trusted_proxy_the_address_that_was_judged_is_told_beside_the_proxys() {
    let filtered = LIMITED.replace("\"127.0.0.1\"", "\"203.0.113.9\"");
    let world = World::start(&format!("trusted_proxies = [\"127.0.0.1\"]\n{PUBLIC}{filtered}")).await;
    let beside = Beside::start(&world, own()).await;
    let mut watcher = beside.watch().await;
    let mut told = async |hops: &[(&str, &str)], status: u16| {
        assert_eq!(world.get("/limited", hops).await.status, status);
        let (told, line) = (watcher.next().await, world.lines().remove(0));
        assert_eq!((&told["caller"], &line["peer"]), (&line["caller"], &json!("127.0.0.1")));
        told
    };
    let refused = told(&[("x-forwarded-for", "198.51.100.7, 203.0.113.9")], 403).await;
    assert_eq!(refused["caller"], "203.0.113.9");
    let check = &refused["steps"][0]["checks"][0];
    assert_eq!((&check["id"], &check["actual"]), (&json!("caller.address_not_blocked"), &json!("203.0.113.9")));
    assert!(check["expected"].as_str().unwrap().contains("not from 203.0.113.9"), "{check}");
    assert_eq!(told(&[("x-forwarded-for", "198.51.100.7")], 200).await["caller"], "198.51.100.7");
    assert!(told(&[], 200).await.get("caller").is_none(), "nobody stands behind the peer");
    let unread = told(&[("x-forwarded-for", "unknown")], 403).await;
    assert!(unread.get("caller").is_none());
    assert_eq!(unread["steps"][0]["checks"][0]["actual"], "none that can be read");
}

const DEMANDING: &str = r#"
    [[api.operation]]
    name = "write"
    method = "GET"
    path = "/write"
    [api.operation.policies.require]
    scopes = ["Orders.Write"]
    [[api.operation]]
    name = "strong"
    method = "GET"
    path = "/strong"
    [api.operation.policies.require]
    acrs = ["c1"]
    [[api.operation]]
    name = "seldom"
    method = "GET"
    path = "/seldom"
    [[api.operation.policies.rate_limit_by_key]]
    calls = 1
    renewal_period = 60
    counter_key = ["address"]
"#;

#[tokio::test]
async fn who_is_refused_for_want_of_rights_or_by_a_later_policy_is_named_and_who_brings_no_good_token_is_not() {
    let claimed = "[[api.policies.validate_jwt.required_claims]]\n    name = \"groups\"\n    value = [\"buyers\"]\n    [[api.operation]]";
    let world = World::start(&format!("{ORDERS}{DEMANDING}")).await;
    assert_eq!(world.get_with_token("/seldom", &[]).await.status, 200);
    world.lines();
    for (path, status) in [("/write", 403), ("/strong", 401), ("/seldom", 429), ("/", 401)] {
        if path == "/" {
            world.reload(&ORDERS.replacen("[[api.operation]]", claimed, 1)).unwrap();
        }
        assert_eq!(world.get_with_token(path, &[]).await.status, status, "{path}");
        let line = world.lines().remove(0);
        assert_eq!(
            (&line["tenant"], &line["subject"], &line["client"], &line["token"]),
            (&json!("t1"), &json!("o-ada"), &json!("spa"), &json!("u1")),
            "{line}"
        );
    }
    world.reload(ORDERS).unwrap();
    let good = world.bearer(&json!({}));
    for bearer in [format!("{good}x"), world.bearer(&json!({"aud": "api://billing"}))] {
        assert_eq!(world.get("/", &[("authorization", &bearer)]).await.status, 401);
        assert!(world.lines()[0].get("subject").is_none(), "a token that is good for nothing here names nobody");
    }
}

#[tokio::test]
async fn who_watches_sees_a_good_token_pass_and_what_is_demanded_of_it_refuse() {
    let world = World::start(&format!("{ORDERS}{DEMANDING}")).await;
    let beside = Beside::start(&world, own()).await;
    let mut watcher = beside.watch().await;
    for (path, check) in [("/write", "scope.sufficient"), ("/strong", "context.sufficient")] {
        world.get_with_token(path, &[]).await;
        let told = watcher.next().await;
        let steps = told["steps"].as_array().unwrap();
        let said: Vec<_> = steps.iter().map(|step| (&step["policy"], &step["passed"])).collect();
        assert_eq!(said, [(&json!("validate_jwt"), &json!(true)), (&json!("require"), &json!(false))], "{path}");
        let failed = |step: &Value| {
            let all = step["checks"].as_array().unwrap().iter();
            all.filter(|check| check["outcome"] == "fail").map(|check| check["id"].clone()).collect::<Vec<_>>()
        };
        assert_eq!((failed(&steps[0]), failed(&steps[1])), (vec![], vec![json!(check)]), "{path}");
    }
    // A token that is no good is that first.
    let other = world.bearer(&json!({"aud": "api://billing"}));
    world.get("/write", &[("authorization", &other)]).await;
    let steps = watcher.next().await["steps"].clone();
    assert_eq!(
        (&steps[0]["policy"], &steps[0]["passed"], &steps[1]),
        (&json!("validate_jwt"), &json!(false), &json!(null))
    );
}

#[tokio::test]
async fn a_recorded_request_is_two_spans_and_the_service_is_below_the_second() {
    const SAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    const NOT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
    let telemetry = Telemetry::new(Some(Sampling { parent_based: true, ratio: 0.0 }), &[], 9);
    let world = World::telling(ORDERS, telemetry).await;
    let spans = || {
        let mut scope = Message::default();
        let any = world.gateway.write_spans(&mut scope, Moment::now());
        let text = String::from_utf8_lossy(scope.octets_so_far()).into_owned();
        any.then_some(text)
    };
    for parent in [None, Some(NOT)] {
        let fields: Vec<_> = parent.into_iter().map(|parent| ("traceparent", parent)).collect();
        assert_eq!(world.get_with_token("/", &fields).await.status, 200);
        assert_eq!(world.service.only().field("traceparent"), parent.into_iter().collect::<Vec<_>>(), "as it came");
        world.service.forget();
        assert_eq!(spans(), None);
    }
    assert_eq!(world.get_with_token("/", &[("traceparent", SAMPLED), ("tracestate", "a=1")]).await.status, 200);
    let sent = world.service.only();
    let parent = sent.field("traceparent")[0].to_owned();
    assert!(parent.starts_with("00-0af7651916cd43dd8448eb211c80319c-") && parent.ends_with("-01"), "{parent}");
    assert_ne!(parent, SAMPLED, "the service's part is below the gateway's");
    assert_eq!(sent.field("tracestate"), ["a=1"]);
    let told = spans().unwrap();
    assert_eq!(told.matches("deputize.operation").count(), 1, "{told}");
    assert_eq!(told.matches("http.request.method").count(), 2, "{told}");
    assert!(told.contains("GET orders/all") && !told.contains("deputize.check"));

    let refused = world.get("/", &[("traceparent", SAMPLED)]).await;
    let told = spans().unwrap();
    assert!(told.contains("token.present") && told.contains(refused.json()["decision_id"].as_str().unwrap()), "{told}");
    assert_eq!(told.matches("http.request.method").count(), 1, "nothing was forwarded");
}

#[tokio::test]
async fn t_07_no_token_is_told_to_who_watches_and_nothing_to_another_user() {
    let world = World::start(ORDERS).await;
    let beside = Beside::start(&world, own()).await;
    let mut watcher = beside.watch().await;
    let good = world.token(&json!({}));
    for value in [format!("Bearer {good}"), format!("Bearer {good}x"), format!("Bearer {}", &good[..200]), good.clone()]
    {
        world.get(&format!("/?access_token={good}"), &[("x-token", &value)]).await;
        world.get("/", &[("authorization", &value)]).await;
        for _ in 0..2 {
            let told = watcher.next().await.to_string();
            assert!(!told.contains(&good[..30]) && !told.contains(&good[good.len() - 30..]), "{told}");
        }
    }
    if own() == 0 {
        // Root is everybody's operator, so the refusal shows at the listener that knows no user at all.
        return;
    }
    let others = Beside::start(&world, own() + 1).await;
    let mut stream = UnixStream::connect(&others.control).await.unwrap();
    stream.write_all(b"GET /trace HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
}

#[tokio::test]
async fn control_answers_nobody_over_a_network() {
    let world = World::start(PUBLIC).await;
    let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let mut listeners = Listeners::new();
    listeners.add(Socket::Tcp(socket), None, Arc::new(Control::new(Arc::clone(&world.gateway), own())));
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(get("/trace", &[("connection", "close")]).as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
}
