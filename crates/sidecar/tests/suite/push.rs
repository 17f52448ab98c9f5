//! Metrics and traces, pushed to a collector (2.12), which decodes what came.
use crate::support::{Encoding, Issuers, Variables, World, explicit};
use axum::Router;
use bytes::Bytes;
use fetch::{Allow, Fetch};
use http::{HeaderMap, Request, Response, StatusCode, Version};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use serde_json::json;
use sidecar::Settings;
use std::convert::Infallible;
use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;
use telemetry::{Protocol, Push, Pushing, Sampling};
use testkit::TlsServer;
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

struct Pushed {
    version: Version,
    path: String,
    kind: String,
    headers: HeaderMap,
    body: Bytes,
}

/// What a collector answers, and what it was sent.
#[derive(Clone)]
struct Collector {
    /// So many exports of traces are refused before one is taken.
    refusals: Arc<AtomicU16>,
    tell: UnboundedSender<Pushed>,
}

impl Collector {
    fn new() -> (Self, UnboundedReceiver<Pushed>) {
        let (tell, pushed) = unbounded_channel();
        (Self { refusals: Arc::default(), tell }, pushed)
    }

    async fn take<B: Body<Data = Bytes, Error: Debug>>(
        &self,
        request: Request<B>,
    ) -> Response<impl Body<Data = Bytes, Error = Infallible> + use<B>> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let kind = parts.headers["content-type"].to_str().unwrap().to_owned();
        let path = parts.uri.path().to_owned();
        let traces = path == "/v1/traces";
        let _ = self.tell.send(Pushed { version: parts.version, path, kind, headers: parts.headers, body });
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", "0".parse().unwrap());
        let mut answer = Response::new(Full::<Bytes>::default().with_trailers(async { Some(Ok(trailers)) }));
        let counted = |left: u16| left.checked_sub(1);
        if traces && self.refusals.fetch_update(Ordering::SeqCst, Ordering::SeqCst, counted).is_ok() {
            *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        }
        answer
    }

    /// Serves it without TLS.
    async fn plain(self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let collector = self.clone();
                let service = service_fn(move |request: Request<Incoming>| {
                    let collector = collector.clone();
                    async move { Ok::<_, Infallible>(collector.take(request).await) }
                });
                tokio::spawn(async move {
                    let _ = Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(socket), service).await;
                });
            }
        });
        url
    }

    async fn over_tls(self) -> TlsServer {
        let taking = move |request: Request<axum::body::Body>| {
            let collector = self.clone();
            async move { collector.take(request).await.map(axum::body::Body::new) }
        };
        TlsServer::start(Router::new().fallback(taking)).await.unwrap()
    }
}

async fn collector() -> (String, UnboundedReceiver<Pushed>) {
    let (collector, pushed) = Collector::new();
    (collector.plain().await, pushed)
}

async fn next(pushed: &mut UnboundedReceiver<Pushed>) -> Pushed {
    tokio::time::timeout(Duration::from_secs(30), pushed.recv()).await.unwrap().unwrap()
}

/// The next that was sent there.
async fn next_at(path: &str, pushed: &mut UnboundedReceiver<Pushed>) -> Bytes {
    loop {
        let pushed = next(pushed).await;
        if pushed.path == path {
            break pushed.body;
        }
    }
}

/// The way to a collector, as the sidecar has it.
fn network(protocol: Protocol, authority: Option<&str>) -> Fetch {
    let mut builder = Fetch::builder().allow(Allow { plain: true, ..Allow::INSIDE });
    if let Some(pem) = authority {
        builder = builder.ca_pem(pem.as_bytes()).unwrap();
    }
    if protocol == Protocol::Grpc { builder.http2() } else { builder }.build().unwrap()
}

fn pushing(world: &World) -> Pushing {
    let push = world.push.clone().unwrap();
    let network = network(push.protocol, None);
    push.begin(world.sidecar.clone(), network)
}

/// A push by these variables.
fn push(endpoint: &str, protocol: &str) -> Push {
    let variables = |asked: &str| match asked {
        "OTEL_EXPORTER_OTLP_ENDPOINT" => Some(endpoint.to_owned()),
        "OTEL_EXPORTER_OTLP_PROTOCOL" => Some(protocol.to_owned()),
        "OTEL_METRIC_EXPORT_INTERVAL" => Some("10".to_owned()),
        "OTEL_RESOURCE_ATTRIBUTES" => Some("service.name=orders,k8s.pod.name=orders-1".to_owned()),
        _ => None,
    };
    Settings::read(&variables, None).unwrap().push.unwrap()
}

/// The message in a push, by what surrounds it.
fn message(pushed: &Pushed, protocol: Protocol) -> Bytes {
    match protocol {
        Protocol::Grpc => {
            let path = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";
            let seen = (pushed.version, pushed.path.as_str(), pushed.kind.as_str());
            assert_eq!(seen, (Version::HTTP_2, path, "application/grpc"));
            let length = u32::from_be_bytes(pushed.body[1..5].try_into().unwrap());
            assert_eq!((pushed.body[0], usize::try_from(length).unwrap()), (0, pushed.body.len() - 5));
            pushed.body.slice(5..)
        }
        Protocol::Http => {
            assert_eq!((pushed.path.as_str(), pushed.kind.as_str()), ("/v1/metrics", "application/x-protobuf"));
            pushed.body.clone()
        }
    }
}

#[tokio::test]
async fn what_is_counted_is_pushed_by_grpc_and_by_http_with_tls_and_without() {
    for (protocol, name) in [(Protocol::Grpc, "grpc"), (Protocol::Http, "http/protobuf")] {
        let world = World::new().await;
        world.token("entra_id", "default", Encoding::Json).await.token();
        for secure in [false, true] {
            let (collector, mut pushed) = Collector::new();
            let (endpoint, server) = if secure {
                let server = collector.over_tls().await;
                (server.url(), Some(server))
            } else {
                (collector.plain().await, None)
            };
            let push = push(&endpoint, name);
            assert_eq!(push.protocol, protocol);
            let network = network(protocol, server.as_ref().map(TlsServer::ca_pem));
            let pushing = push.begin(world.sidecar.clone(), network);
            let message = message(&next(&mut pushed).await, protocol);
            pushing.end().await;
            let text = String::from_utf8_lossy(&message);
            for part in ["service.name", "orders-1", "texas_handler_requests", "entra_id", "http_response_secs"] {
                assert!(text.contains(part), "{part}");
            }
            assert!(!text.contains("eyJ"));
        }
    }
}

/// Whoever answers at the collector's address in its place is told nothing.
#[tokio::test]
async fn a_collector_whose_certificate_nobody_trusts_is_sent_nothing() {
    let world = World::new().await;
    let (collector, mut pushed) = Collector::new();
    let (server, other) = (collector.over_tls().await, TlsServer::start(Router::new()).await.unwrap());
    let network = network(Protocol::Http, Some(other.ca_pem()));
    push(&server.url(), "http/protobuf").begin(world.sidecar.clone(), network).end().await;
    assert!(pushed.try_recv().is_err());
}

#[tokio::test]
async fn what_is_left_when_the_sidecar_ends_is_pushed() {
    let (world, mut pushed) = traced("always_on").await;
    let hourly = Push { every: Duration::from_hours(1), ..world.push.clone().unwrap() };
    let pushing = hourly.begin(world.sidecar.clone(), network(Protocol::Http, None));
    world.token("entra_id", "default", Encoding::Json).await.token();
    pushing.end().await;
    let mut paths = [next(&mut pushed).await.path, next(&mut pushed).await.path];
    paths.sort();
    assert_eq!(paths, ["/v1/metrics", "/v1/traces"]);
    assert!(pushed.try_recv().is_err(), "and then nothing");
}

/// An outage of the collector costs no trace that there is space for, and none is taken twice.
#[tokio::test]
async fn traces_that_a_collector_did_not_take_are_pushed_again() {
    let (collector, mut pushed) = Collector::new();
    collector.refusals.store(2, Ordering::SeqCst);
    let endpoint = collector.plain().await;
    let world = World::with(&["entra_id"], |issuers| recorded(issuers, &endpoint, "always_on"), None).await;
    world.token("entra_id", "default", Encoding::Json).await.token();
    let pushing = pushing(&world);
    let lost = next_at("/v1/traces", &mut pushed).await;
    assert_eq!(spans(&lost).len(), 3);
    for _ in 0..2 {
        assert_eq!(next_at("/v1/traces", &mut pushed).await, lost, "as it was");
    }
    world.token("entra_id", "other", Encoding::Json).await.token();
    let other = spans(&next_at("/v1/traces", &mut pushed).await);
    assert_eq!(other.len(), 3);
    assert!(spans(&lost).iter().all(|span| other.iter().all(|other| other.id != span.id)));
    pushing.end().await;
}

/// The fields of a message: its numbers, and its texts and messages.
fn fields(mut octets: &[u8]) -> Vec<(u64, u64, &[u8])> {
    fn varint(octets: &mut &[u8]) -> u64 {
        let (mut number, mut shift) = (0, 0);
        loop {
            let octet = octets[0];
            *octets = &octets[1..];
            number |= u64::from(octet & 0x7f) << shift;
            shift += 7;
            if octet < 0x80 {
                return number;
            }
        }
    }
    let mut fields = Vec::new();
    while !octets.is_empty() {
        let key = varint(&mut octets);
        let (number, length) = match key & 7 {
            0 => (varint(&mut octets), 0),
            1 => (u64::from_le_bytes(octets[..8].try_into().unwrap()), 8),
            _ => (0, usize::try_from(varint(&mut octets)).unwrap()),
        };
        let (text, rest) = octets.split_at(length);
        fields.push((key >> 3, number, text));
        octets = rest;
    }
    fields
}

fn within(octets: &[u8], field: u64) -> Vec<&[u8]> {
    fields(octets).into_iter().filter(|(known, ..)| *known == field).map(|(.., text)| text).collect()
}

#[derive(Debug, PartialEq, Eq)]
struct Span {
    name: String,
    trace: Vec<u8>,
    id: Vec<u8>,
    parent: Vec<u8>,
    attributes: Vec<(String, String)>,
    times: (u64, u64),
}

/// Every span of an export, and what its attributes say.
fn spans(message: &[u8]) -> Vec<Span> {
    let text = |octets: &[u8]| String::from_utf8(octets.to_vec()).unwrap();
    let value = |octets: &[u8]| match fields(octets)[0] {
        (1, _, octets) => text(octets),
        (2, truth, _) => (truth == 1).to_string(),
        (_, number, _) => number.to_string(),
    };
    let all = within(message, 1).into_iter().flat_map(|resource| within(resource, 2));
    let all = all.flat_map(|scope| within(scope, 2)).map(|span| {
        let one = |field| within(span, field).first().map(|octets| octets.to_vec()).unwrap_or_default();
        let number = |field| fields(span).into_iter().find(|(known, ..)| *known == field).unwrap().1;
        let attributes = within(span, 9).into_iter();
        let attributes = attributes.map(|pair| (text(within(pair, 1)[0]), value(within(pair, 2)[0])));
        Span {
            name: text(&one(5)),
            trace: one(1),
            id: one(2),
            parent: one(4),
            attributes: attributes.collect(),
            times: (number(7), number(8)),
        }
    });
    all.collect()
}

/// The variables of a sidecar that records what `sampler` says for a collector.
fn recorded(issuers: &Issuers, endpoint: &str, sampler: &str) -> Variables {
    let mut variables = explicit(issuers);
    for (name, value) in [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "10"),
        ("OTEL_TRACES_SAMPLER", sampler),
        ("OTEL_RESOURCE_ATTRIBUTES", "k8s.pod.name=orders-1,path=x,le=1,9a=b,k8s_pod_name=two,a=\"\\"),
    ] {
        variables.insert(name.to_owned(), value.to_owned());
    }
    variables
}

/// A world that records what `sampler` says, and the collector.
async fn traced(sampler: &str) -> (World, UnboundedReceiver<Pushed>) {
    let (endpoint, pushed) = collector().await;
    let world = World::with(&["entra_id"], |issuers| recorded(issuers, &endpoint, sampler), None).await;
    (world, pushed)
}

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const UNSAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";

async fn ask(world: &World, parent: &str, body: &serde_json::Value) {
    let headers = [("content-type", "application/json"), ("traceparent", parent)];
    world.send(http::Method::POST, "/api/v1/token", &headers, body.to_string()).await;
}

#[tokio::test]
async fn a_trace_is_continued_recorded_and_names_no_token() {
    let (world, mut pushed) = traced("parentbased_always_off").await;
    let body = json!({ "identity_provider": "entra_id", "target": "dev-gcp:team:app", "resource": "r" });
    for _ in 0..2 {
        ask(&world, PARENT, &body).await;
    }
    let stray = world.issuer("entra_id").token(&json!({}));
    ask(&world, PARENT, &json!({ "identity_provider": "entra_id", "target": stray, "skip_cache": true })).await;
    ask(&world, UNSAMPLED, &json!({ "identity_provider": "entra_id", "target": "unsampled" })).await;
    ask(&world, "", &json!({ "identity_provider": "entra_id", "target": "unasked" })).await;
    let pushing = pushing(&world);
    let export = next_at("/v1/traces", &mut pushed).await;
    pushing.end().await;
    let spans = spans(&export);
    assert_eq!(spans.len(), 9, "{spans:?}");
    let [root, read, handled] = [&spans[0], &spans[1], &spans[2]];
    assert_eq!(
        [root, read, handled].map(|span| span.name.as_str()),
        ["Handle incoming request", "Deserialize request", "Handle /api/v1/token"]
    );
    assert_eq!(root.parent, b"\xb7\xadkqi 31");
    assert!([read, handled].iter().all(|span| span.parent == root.id && span.trace == root.trace));
    assert_eq!(root.trace, 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c_u128.to_be_bytes());
    assert!(root.times.0 <= read.times.0 && read.times.1 <= handled.times.0 && handled.times.1 <= root.times.1);
    let has = |span: &Span, name: &str, value: &str| {
        let pair = (name.to_owned(), value.to_owned());
        assert!(span.attributes.contains(&pair), "{name}={value} in {span:?}");
    };
    has(root, "http.request.method", "POST");
    has(root, "http.route", "/api/v1/token");
    has(root, "http.response.status_code", "200");
    has(handled, "texas.identity_provider", "entra_id");
    has(handled, "texas.target", "api://dev-gcp.team.app/.default");
    has(handled, "texas.target_normalized", "true");
    has(handled, "texas.resource", "r");
    has(handled, "texas.cache_hit", "false");
    // 3 600 seconds less the leeway of 120.
    has(handled, "texas.cache_ttl_seconds", "3480");
    has(&spans[5], "texas.cache_hit", "true");
    has(handled, "texas.token_expires_in_seconds", "3599");
    has(&spans[8], "texas.cache_force_skipped", "true");
    has(&spans[8], "texas.target", "(withheld)");
    assert!(!String::from_utf8_lossy(&export).contains("eyJ"));

    let asked = &world.issuer("entra_id").asked()[0];
    let sent = asked.headers["traceparent"].to_str().unwrap();
    let id = u64::from_be_bytes(handled.id.as_slice().try_into().unwrap());
    assert_eq!(sent, format!("00-0af7651916cd43dd8448eb211c80319c-{id:016x}-01"), "upstream is part of it");
    let unsampled = &world.issuer("entra_id").asked()[2];
    assert_eq!(unsampled.headers["traceparent"], UNSAMPLED, "passed on as it came");
}

#[tokio::test]
async fn what_all_metrics_are_of_labels_them_once() {
    let (world, mut pushed) = traced("always_off").await;
    world.token("entra_id", "default", Encoding::Json).await.token();
    let user = world.issuer("entra_id").token(&json!({}));
    for target in ["one", "two"] {
        world.exchange("entra_id", target, &user, Encoding::Json).await.token();
    }
    let scraped = world.get(&format!("{}/metrics", world.metrics)).await.text;
    for line in [
        r#"texas_token_cache_size{cache_type="token",k8s_pod_name="orders-1",_9a="b",a="\"\\"} 1"#,
        r#"texas_token_cache_size{cache_type="token/exchange",k8s_pod_name="orders-1",_9a="b",a="\"\\"} 2"#,
        r#"http_response_secs_count{status_code="200",path="/api/v1/token",k8s_pod_name="orders-1",_9a="b",a="\"\\"} 1"#,
    ] {
        assert!(scraped.contains(line), "{line} in\n{scraped}");
    }
    assert!(!scraped.contains(r#"path="x""#), "a name that is taken");
    let pushing = pushing(&world);
    let pushed = next(&mut pushed).await;
    pushing.end().await;
    assert_eq!(pushed.path, "/v1/metrics", "nothing was recorded");
    assert!(String::from_utf8_lossy(&pushed.body).contains("k8s_pod_name"));
}

#[test]
fn collectors_are_configured_in_the_words_of_opentelemetry() {
    let read = |pairs: &[(&str, &str)]| {
        let find = |name: &str| pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        Settings::read(&find, None).map(|settings| settings.push).map_err(|error| error.to_string())
    };
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4317");
    assert_eq!(read(&[]).unwrap(), None);
    assert_eq!(read(&[endpoint, ("OTEL_SDK_DISABLED", "true")]).unwrap(), None);
    let usual = read(&[endpoint]).unwrap().unwrap();
    assert_eq!((usual.protocol, usual.every), (Protocol::Grpc, Duration::from_mins(1)));
    assert_eq!(usual.resource, [("service.name".to_owned(), "deputize-sidecar".to_owned())]);
    assert!(read(&[endpoint, ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")]).is_err());
    let at = |endpoint: &'static str| read(&[("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)]);
    let grpc = "https://collector/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";
    assert_eq!(at("https://collector").unwrap().unwrap().metrics.unwrap().url, grpc);
    for secret in ["https://user:canary@collector", "https://canary@collector"] {
        let told = at(secret).unwrap_err();
        assert!(told.contains("OTEL_EXPORTER_OTLP_HEADERS") && !told.contains("canary"), "{told}");
    }
    for wrong in ["collector:4317", "ftp://collector", "https://", "unix:/run/otel.sock"] {
        assert!(at(wrong).unwrap_err().contains("http://localhost:4317"), "{wrong}");
    }
    let traces = |pairs: &[(&str, &str)]| read(&[&[endpoint], pairs].concat()).map(|push| push.unwrap().traces);
    assert_eq!(traces(&[]), Ok(Some(Sampling { parent_based: true, ratio: 1.0 })));
    assert_eq!(traces(&[("OTEL_TRACES_EXPORTER", "none")]), Ok(None));
    let ratio = ("OTEL_TRACES_SAMPLER", "traceidratio");
    let share = |share| traces(&[ratio, ("OTEL_TRACES_SAMPLER_ARG", share)]);
    assert_eq!(share("0.1"), Ok(Some(Sampling { parent_based: false, ratio: 0.1 })));
    for wrong in ["2", "-1", "NaN", "some"] {
        assert!(share(wrong).is_err(), "{wrong}");
    }
    assert!(traces(&[("OTEL_TRACES_SAMPLER", "sometimes")]).is_err());
}

const KEYED: [(&str, &str); 2] = [
    ("OTEL_EXPORTER_OTLP_HEADERS", " api-key = canary%20one%3D , X-Scope-OrgID=7"),
    ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "authorization=Basic%20Y2FuYXJ5"),
];

#[tokio::test]
async fn what_a_collector_knows_its_senders_by_goes_along_with_every_push() {
    for protocol in ["grpc", "http/protobuf"] {
        let (endpoint, mut pushed) = collector().await;
        let variables = |issuers: &Issuers| {
            let mut variables = recorded(issuers, &endpoint, "always_on");
            let more = KEYED.into_iter().chain([("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)]);
            variables.extend(more.map(|(name, value)| (name.to_owned(), value.to_owned())));
            variables
        };
        let world = World::with(&["entra_id"], variables, None).await;
        world.token("entra_id", "default", Encoding::Json).await.token();
        let push = world.push.clone().unwrap();
        let shown = format!("{push:?}");
        assert!(!shown.contains("canary") && !shown.contains("Y2FuYXJ5"), "{shown}");
        let pushing = push.clone().begin(world.sidecar.clone(), network(push.protocol, None));
        let mut seen = [false, false];
        while seen != [true, true] {
            let pushed = next(&mut pushed).await;
            let header = |name: &str| pushed.headers.get(name).map(|value| value.to_str().unwrap());
            let all = [header("api-key"), header("x-scope-orgid"), header("authorization")];
            let traces = pushed.path.contains("traces") || pushed.path.contains("TraceService");
            // What one kind says of its own is said in the place of what all say.
            let expected =
                if traces { [None, None, Some("Basic Y2FuYXJ5")] } else { [Some("canary one="), Some("7"), None] };
            assert_eq!(all, expected, "{protocol} {}", pushed.path);
            seen[usize::from(traces)] = true;
        }
        pushing.end().await;
    }
}

#[test]
fn each_kind_has_its_own_collector_where_it_says_so_and_no_secret_is_shown() {
    let read = |pairs: &[(&str, &str)]| {
        let find = |name: &str| pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        Settings::read(&find, None).map_err(|error| error.to_string())
    };
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector/in/");
    let http = ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf");
    let settings = read(&[&[endpoint, http, ("OTEL_EXPORTER_OTLP_TIMEOUT", "2500")], &KEYED[..]].concat()).unwrap();
    let shown = &settings.shown()["push"];
    let told =
        |url: &str, headers: serde_json::Value| json!({ "url": url, "headers": headers, "timeout_millis": 2_500 });
    let names = json!({ "api-key": "(set)", "x-scope-orgid": "(set)" });
    assert_eq!(shown["metrics"], told("https://collector/in/v1/metrics", names));
    assert_eq!(shown["traces"], told("https://collector/in/v1/traces", json!({ "authorization": "(set)" })));
    assert!(!settings.shown().to_string().contains("canary"));

    let push = |pairs: &[(&str, &str)]| read(pairs).unwrap().push;
    let urls = |pairs: &[(&str, &str)]| {
        let push = push(pairs).unwrap();
        [push.metrics, push.spans].map(|one| one.map(|one| one.url))
    };
    let some = |url: &str| Some(url.to_owned());
    let traces = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://traces/as/it/is");
    let of_all = some("https://collector/in/v1/metrics");
    assert_eq!(urls(&[endpoint, traces, http]), [of_all.clone(), some("https://traces/as/it/is")]);
    assert_eq!(urls(&[traces, http]), [None, some("https://traces/as/it/is")]);
    for none in ["none", "console", "prometheus,console"] {
        assert_eq!(urls(&[endpoint, http, ("OTEL_TRACES_EXPORTER", none)]), [of_all.clone(), None], "{none}");
    }
    assert!(urls(&[endpoint, http, ("OTEL_METRICS_EXPORTER", "none")])[0].is_none());
    assert!(urls(&[endpoint, http, ("OTEL_METRICS_EXPORTER", "prometheus, otlp")])[0].is_some());
    assert_eq!(push(&[endpoint, ("OTEL_METRICS_EXPORTER", "none"), ("OTEL_TRACES_EXPORTER", "none")]), None);
    let resource = push(&[endpoint, ("OTEL_RESOURCE_ATTRIBUTES", "team=a%2Cb%20c,odd=100%,bad=%0a")]).unwrap().resource;
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(resource[..3], [pair("team", "a,b c"), pair("odd", "100%"), pair("bad", "%0a")]);

    for (name, value, hint) in [
        ("OTEL_EXPORTER_OTLP_HEADERS", "canary", "it is no list"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a b=canary", "it is no list"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "=canary", "it is no list"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a=canary%", "it is no list"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a=canary%0d%0ahost:x", "it is no list"),
        ("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "canary", "it is no list"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a=canary,Content-Type=canary", "pushes have of their own"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "host=canary", "pushes have of their own"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s", "milliseconds"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "0", "milliseconds"),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf", "in one way"),
        ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "http/json", "neither `grpc` nor `http/protobuf`"),
        ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "collector", "http://localhost:4317"),
        ("OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY", "/a", "shown no certificate"),
        ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "/a", "shown no certificate"),
    ] {
        let told = read(&[endpoint, (name, value)]).unwrap_err();
        assert!(told.contains(name) && told.contains(hint) && !told.contains("canary"), "{name}={value}: {told}");
    }
}

/// By `OTEL_EXPORTER_OTLP_CERTIFICATE` a collector is trusted that the platform does not know.
#[tokio::test]
async fn a_collector_may_have_an_authority_of_its_own() {
    let world = World::new().await;
    let (collector, mut pushed) = Collector::new();
    let server = collector.over_tls().await;
    let file = std::env::temp_dir().join(format!("deputize-collector-{}.pem", std::process::id()));
    let usual = push(&server.url(), "http/protobuf");
    let builder = || Fetch::builder().allow(Allow { plain: true, ..Allow::INSIDE });
    let told = Push { authorities: Some(file.clone()), ..usual.clone() };
    assert!(told.network(builder()).unwrap_err().contains("OTEL_EXPORTER_OTLP_CERTIFICATE"), "it is not there");
    std::fs::write(&file, server.ca_pem()).unwrap();
    usual.clone().begin(world.sidecar.clone(), usual.network(builder()).unwrap()).end().await;
    assert!(pushed.try_recv().is_err(), "without it nothing is told");
    let network = told.network(builder()).unwrap();
    told.begin(world.sidecar.clone(), network).end().await;
    assert_eq!(next(&mut pushed).await.path, "/v1/metrics");
    std::fs::remove_file(&file).unwrap();
}
