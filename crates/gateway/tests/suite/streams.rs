//! Streams both ways over HTTP/2, of gRPC and others: their trailers, and the connections that they share.
use crate::support::{NOON, ORDERS, PUBLIC, World, later};
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, TE};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, Version};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming};
use hyper::client::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// A body of frames that are handed in as they are there.
struct Fed(mpsc::UnboundedReceiver<Frame<Bytes>>);

impl Body for Fed {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|frame| frame.map(Ok))
    }
}

type Feed = mpsc::UnboundedSender<Frame<Bytes>>;

fn fed() -> (Feed, Fed) {
    let (feed, frames) = mpsc::unbounded_channel();
    (feed, Fed(frames))
}

pub(crate) fn data(text: &str) -> Frame<Bytes> {
    Frame::data(Bytes::copy_from_slice(text.as_bytes()))
}

fn fields(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
    pairs.iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v))).collect()
}

/// The heads of requests, and their trailers.
type Heads = Arc<Mutex<Vec<(http::request::Parts, Option<HeaderMap>)>>>;

/// A service over HTTP/2 that says each message again, and then how it went.
pub(crate) struct Echo {
    at: SocketAddr,
    heads: Heads,
    connections: Arc<Mutex<usize>>,
}

impl Echo {
    pub(crate) async fn start() -> Self {
        Self::with_room_for(200, None).await
    }

    /// One that takes so many requests at once on each connection, over TLS if it has a configuration of it.
    async fn with_room_for(streams: u32, tls: Option<Arc<rustls::ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let echo = Self { at: listener.local_addr().unwrap(), heads: Arc::default(), connections: Arc::default() };
        let (heads, connections) = (Arc::clone(&echo.heads), Arc::clone(&echo.connections));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                *connections.lock().unwrap() += 1;
                let Some(tls) = &tls else {
                    serve_echo(TokioIo::new(stream), streams, Arc::clone(&heads));
                    continue;
                };
                let stream = tokio_rustls::TlsAcceptor::from(Arc::clone(tls)).accept(stream).await.unwrap();
                serve_echo(TokioIo::new(stream), streams, Arc::clone(&heads));
            }
        });
        echo
    }
}

fn serve_echo<S>(stream: S, streams: u32, heads: Heads)
where
    S: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let heads = Arc::clone(&heads);
        async move {
            let (parts, mut body) = request.into_parts();
            let (feed, frames) = fed();
            tokio::spawn(async move {
                let mut trailers = None;
                while let Some(Ok(frame)) = body.frame().await {
                    match frame.into_data() {
                        Ok(bytes) => drop(feed.send(Frame::data(bytes))),
                        Err(frame) => trailers = frame.into_trailers().ok(),
                    }
                }
                heads.lock().unwrap().push((parts, trailers));
                let _ = feed.send(Frame::trailers(fields(&[
                    ("grpc-status", "0"),
                    ("x-order", "7"),
                    ("x-ms-client-principal", "mallory"),
                    ("set-cookie", "a=b"),
                    ("content-length", "5"),
                ])));
            });
            let mut response = Response::new(frames);
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
            Ok::<_, Infallible>(response)
        }
    });
    let mut http = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    http.max_concurrent_streams(streams);
    tokio::spawn(http.serve_connection(stream, service));
}

/// Opens a stream through the gateway over HTTP/2, and returns what feeds it.
pub(crate) async fn open(world: &World, head: &[(&str, &str)]) -> (Feed, Response<Incoming>) {
    let stream = TokioIo::new(TcpStream::connect(world.address).await.unwrap());
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    tokio::spawn(connection);
    let (feed, frames) = fed();
    let mut request = Request::post("http://api.example/orders.Orders/Watch");
    for (name, value) in head {
        request = request.header(*name, *value);
    }
    let response = sender.send_request(request.body(frames).unwrap()).await.unwrap();
    (feed, response)
}

/// The next data of a body, or what it ends with.
pub(crate) async fn next(body: &mut Incoming) -> Result<String, Option<HeaderMap>> {
    loop {
        match body.frame().await {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) if data.is_empty() => {}
                Ok(data) => return Ok(String::from_utf8(data.to_vec()).unwrap()),
                Err(frame) => return Err(frame.into_trailers().ok()),
            },
            _ => return Err(None),
        }
    }
}

/// The operation of an API, as a stream.
pub(crate) fn streamed(api: &str, service: &str, stream: &str) -> String {
    let api = api.replacen("url = \"{service}\"", service, 1);
    format!("{api}\n[api.operation.stream]\n{stream}\n")
}

pub(crate) fn plain_h2(echo: &Echo) -> String {
    format!("url = \"http://{}\"\nhttp = \"2\"", echo.at)
}

#[tokio::test]
async fn grpc_streams_both_ways_with_its_trailers_over_one_connection() {
    let echo = Echo::start().await;
    let world = World::start(&streamed(PUBLIC, &plain_h2(&echo), "trailers = true")).await;
    for _ in 0..3 {
        let head = [("content-type", "application/grpc"), ("te", "trailers"), ("x-user", "mallory")];
        let (feed, response) = open(&world, &head).await;
        assert_eq!((response.status().as_u16(), response.version()), (200, Version::HTTP_2));
        let mut body = response.into_body();
        // Each message comes back before the next one is sent: nothing is held back.
        for message in ["one", "two", "three"] {
            feed.send(data(message)).unwrap();
            assert_eq!(next(&mut body).await.unwrap(), message);
        }
        let sent = fields(&[("x-sum", "3"), ("x-ms-client-principal", "mallory"), ("authorization", "Bearer x")]);
        feed.send(Frame::trailers(sent)).unwrap();
        let trailers = next(&mut body).await.unwrap_err().unwrap();
        assert_eq!(trailers, fields(&[("grpc-status", "0"), ("x-order", "7")]));
    }
    assert_eq!(*echo.connections.lock().unwrap(), 1);
    let heads = echo.heads.lock().unwrap();
    for (parts, trailers) in heads.iter() {
        assert_eq!((parts.version, parts.uri.path()), (Version::HTTP_2, "/orders.Orders/Watch"));
        assert_eq!(parts.uri.authority().unwrap().as_str(), echo.at.to_string());
        assert!(!parts.headers.contains_key("host") && !parts.headers.contains_key("x-user"));
        assert_eq!(parts.headers[TE], "trailers");
        assert_eq!(parts.headers["x-forwarded-host"], "api.example");
        assert_eq!(
            trailers.as_ref().unwrap(),
            &fields(&[("x-sum", "3")]),
            "g_05: nobody says who they are in a trailer"
        );
    }
}

#[tokio::test]
async fn t_04_no_trailer_tells_a_certificate_though_what_a_proxy_tells_goes_on() {
    let echo = Echo::start().await;
    let file = format!(
        "trusted_proxies = [\"10.0.0.0/8\"]\n[[listener]]\naddress = \"localhost:8080\"\nplain = true\n\
         client_certificate_header = \"ssl-client-cert\"\n{}",
        streamed(PUBLIC, &plain_h2(&echo), "trailers = true")
    );
    let names = "public = true\nforward_identity_headers = [\"ssl-client-cert\", \"x-user\"]";
    let world = World::start(&file.replacen("public = true", names, 1)).await;
    let (feed, response) = open(&world, &[("te", "trailers")]).await;
    feed.send(data("one")).unwrap();
    let mut body = response.into_body();
    assert_eq!(next(&mut body).await.unwrap(), "one");
    feed.send(Frame::trailers(fields(&[("ssl-client-cert", "mallory"), ("x-user", "ada")]))).unwrap();
    assert!(next(&mut body).await.unwrap_err().is_some());
    let (_, trailers) = echo.heads.lock().unwrap().pop().unwrap();
    assert_eq!(trailers.unwrap(), fields(&[("x-user", "ada")]));
}

#[tokio::test]
async fn g_05_no_trailer_is_taken_for_the_field_of_a_credential() {
    let echo = Echo::start().await;
    let keyed = PUBLIC.replacen("public = true", "[api.policies.subscription_key]\nheader = \"X-Key\"", 1);
    let sales = "[[subscription]]\nname = \"s\"\napi = \"orders\"\nprimary = { env = \"KEY_SALES\" }\n";
    let world = World::start(&(streamed(&keyed, &plain_h2(&echo), "trailers = true") + sales)).await;
    let (feed, response) = open(&world, &[("te", "trailers"), ("x-key", "sales-0123456789")]).await;
    assert_eq!(response.status(), 200);
    feed.send(data("one")).unwrap();
    let mut body = response.into_body();
    assert_eq!(next(&mut body).await.unwrap(), "one");
    let told = fields(&[("x-key", "a"), ("x_key", "b"), ("x.key", "c"), ("x-keys", "3")]);
    feed.send(Frame::trailers(told)).unwrap();
    assert!(next(&mut body).await.unwrap_err().is_some());
    let (_, trailers) = echo.heads.lock().unwrap().pop().unwrap();
    assert_eq!(trailers.unwrap(), fields(&[("x-keys", "3")]));
}

#[tokio::test]
async fn trailers_go_nowhere_where_the_operation_does_not_ask_for_them() {
    let echo = Echo::start().await;
    for stream in ["", "trailers = false"] {
        let world = World::start(&streamed(PUBLIC, &plain_h2(&echo), stream)).await;
        let (feed, response) = open(&world, &[("te", "trailers")]).await;
        feed.send(data("one")).unwrap();
        feed.send(Frame::trailers(fields(&[("x-sum", "3")]))).unwrap();
        let mut body = response.into_body();
        assert_eq!(next(&mut body).await.unwrap(), "one");
        assert_eq!(next(&mut body).await, Err(None));
        let (parts, trailers) = echo.heads.lock().unwrap().pop().unwrap();
        assert!(trailers.is_none() && !parts.headers.contains_key(TE));
    }
}

#[tokio::test]
async fn where_a_connection_has_no_room_another_one_is_opened() {
    let echo = Echo::with_room_for(1, None).await;
    let world = World::start(&streamed(PUBLIC, &plain_h2(&echo), "trailers = true")).await;
    let mut open_ones = Vec::new();
    for n in 1..=3 {
        let (feed, response) = open(&world, &[]).await;
        let mut body = response.into_body();
        feed.send(data("one")).unwrap();
        assert_eq!(next(&mut body).await.unwrap(), "one");
        open_ones.push((feed, body));
        assert_eq!(*echo.connections.lock().unwrap(), n);
    }
    let (feed, mut body) = open_ones.pop().unwrap();
    drop(feed);
    assert!(next(&mut body).await.unwrap_err().is_some());
    drop(body);
    let (_feed, response) = open(&world, &[]).await;
    assert_eq!((response.status().as_u16(), *echo.connections.lock().unwrap()), (200, 3), "room is used again");
}

#[tokio::test]
async fn a_service_over_tls_is_asked_in_the_version_it_agrees_on_and_one_that_hangs_in_the_handshake_is_passed_over() {
    let key = rcgen::KeyPair::generate().unwrap();
    let names = vec!["orders.internal".to_owned()];
    let certificate = rcgen::CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
    let tls = serve::server_config(&certificate.pem(), &key.serialize_pem(), None).unwrap();
    let echo = Echo::with_room_for(200, Some(tls)).await;
    let hangs = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let trusted =
        std::env::temp_dir().join(format!("deputize-gateway-trusted-{}-{}", std::process::id(), echo.at.port()));
    std::fs::write(&trusted, certificate.pem()).unwrap();
    let addresses = format!("addresses = [\"{}\", \"{}\"]", hangs.local_addr().unwrap(), echo.at);
    for (version, status) in [("auto", 200), ("2", 200), ("1.1", 502)] {
        let service =
            format!("url = \"https://orders.internal\"\nhttp = \"{version}\"\nconnect_seconds = 1\n{addresses}");
        let file =
            format!("trusted_certificates = {trusted:?}\n{}", PUBLIC.replacen("url = \"{service}\"", &service, 1));
        let world = World::start(&file).await;
        let asked = tokio::spawn(async move { world.get("/", &[]).await });
        // It accepts, and says nothing.
        let (_silent, _) = hangs.accept().await.unwrap();
        assert_eq!(asked.await.unwrap().status, status, "{version}: this service speaks HTTP/2 only");
    }
    let heads = echo.heads.lock().unwrap();
    assert_eq!(heads.len(), 2);
    for (parts, _) in heads.iter() {
        assert_eq!(parts.version, Version::HTTP_2);
        assert_eq!(parts.uri.to_string(), "https://orders.internal/");
    }
    std::fs::remove_file(&trusted).unwrap();
}

#[tokio::test]
async fn g_12_a_grpc_stream_is_told_that_its_token_has_expired() {
    let echo = Echo::start().await;
    let world = World::start(&streamed(ORDERS, &plain_h2(&echo), "trailers = true")).await;
    let bearer = world.bearer(&json!({"exp": NOON.0 + 100}));
    let (feed, response) = open(&world, &[(AUTHORIZATION.as_str(), &bearer)]).await;
    assert_eq!(response.status(), 200);
    let mut body = response.into_body();
    feed.send(data("one")).unwrap();
    assert_eq!(next(&mut body).await.unwrap(), "one");
    later(&world, 100).await;
    let trailers = next(&mut body).await.unwrap_err().unwrap();
    assert_eq!(trailers["grpc-status"], "16");
    assert_eq!(trailers["grpc-message"], "the token has expired");
    // Without one, there is no stream.
    let (_feed, response) = open(&world, &[]).await;
    assert_eq!(response.status(), 401);
    let lines = world.lines();
    assert!(lines.iter().any(|line| line["status"] == 200 && line["whole"] == false), "{lines:?}");
}
