//! The accept loop: TLS 1.2 and 1.3, HTTP/1.1 and HTTP/2, with bounds on time and number, and an orderly end.
mod in_order;
mod under_way;

use self::in_order::InOrder;
use self::under_way::{Over, UnderWay};
use crate::failure::Failure;
use crate::listen::Bound;
use authority::ClientAddress;
use axum::Router;
use axum::body::Body;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::convert::Infallible;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

/// The address of instance metadata services.
pub(crate) const METADATA: IpAddr = IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254));
/// To shake hands, to send a request's head, and to send the first request at all.
const PATIENCE: Duration = Duration::from_secs(10);
/// For a whole request.
const REQUEST: Duration = Duration::from_secs(30);
/// For a connection on which nothing is asked.
const IDLE: Duration = Duration::from_mins(1);
/// For requests that are under way when the end comes.
const DRAIN: Duration = Duration::from_secs(30);
/// Connections at once, over all ports of the process.
const CONNECTIONS: usize = 4_096;

/// Everything that is served, until it is told to end.
pub(crate) struct Server {
    ended: watch::Sender<bool>,
    doors: JoinSet<()>,
    graceful: Arc<GracefulShutdown>,
    permits: Arc<Semaphore>,
}

impl Server {
    pub(crate) fn new() -> Self {
        Self {
            ended: watch::Sender::new(false),
            doors: JoinSet::new(),
            graceful: Arc::new(GracefulShutdown::new()),
            permits: Arc::new(Semaphore::new(CONNECTIONS)),
        }
    }

    /// Begins to serve a router on sockets; without TLS only loopback ones.
    pub(crate) fn add(
        &mut self,
        bound: Bound,
        tls: Option<&Arc<ServerConfig>>,
        router: &Router,
    ) -> Result<(), Failure> {
        for listener in bound.0 {
            let address = listener.local_addr().ok();
            // Where a machine's metadata service is, no machine of ours can be reached: only a namespace of its own has it.
            let own = |ip: std::net::IpAddr| ip.is_loopback() || ip == METADATA;
            if tls.is_none() && !address.is_some_and(|address| own(address.ip())) {
                return Err(Failure::new("HTTP without TLS is served on loopback only", "use TLS"));
            }
            let door = Door {
                acceptor: tls.map(|config| TlsAcceptor::from(Arc::clone(config))),
                router: router.clone(),
                graceful: Arc::clone(&self.graceful),
                permits: Arc::clone(&self.permits),
                ended: self.ended.subscribe(),
            };
            self.doors.spawn(door.keep(listener));
        }
        Ok(())
    }

    /// Ends: no new connections, and time for the requests that are under way.
    pub(crate) async fn end(self) {
        let Self { ended, doors, graceful, permits } = self;
        ended.send_replace(true);
        doors.join_all().await;
        // The doors held the others.
        let Some(graceful) = Arc::into_inner(graceful) else { return };
        if timeout(DRAIN, graceful.shutdown()).await.is_err() {
            let open = CONNECTIONS.saturating_sub(permits.available_permits());
            tracing::warn!(connections.open = open, "ended with connections still open");
        }
    }
}

/// Ctrl-C and SIGTERM, heard from the moment this is made: before anyone is told that there is something to end.
pub(crate) struct Ending {
    interrupt: Signal,
    terminate: Signal,
}

impl Ending {
    /// Begins to listen. From here on the process does not end by itself.
    pub(crate) fn heard() -> Result<Self, Failure> {
        let listen =
            |kind| signal(kind).map_err(|error| Failure::plain(format!("signals cannot be heard: {}", error.kind())));
        Ok(Self { interrupt: listen(SignalKind::interrupt())?, terminate: listen(SignalKind::terminate())? })
    }

    /// Waits until one of them came.
    pub(crate) async fn asked(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// A server's side of TLS: a chain and its key, in PEM.
pub(crate) fn tls(chain_pem: &str, key_pem: &str, place: &str) -> Result<Arc<ServerConfig>, Failure> {
    let unusable = |what: &str| {
        let hint =
            "give a PEM chain that begins with the server's certificate, and the private key of that certificate";
        Failure::new(format!("{place}: {what}"), hint)
    };
    let chain = CertificateDer::pem_slice_iter(chain_pem.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| unusable("the certificate file is no PEM"))?;
    let key =
        PrivateKeyDer::from_pem_slice(key_pem.as_bytes()).map_err(|_| unusable("the key file holds no private key"))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(&error.to_string()))?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| unusable(&error.to_string()))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// What stands behind one socket.
struct Door {
    acceptor: Option<TlsAcceptor>,
    router: Router,
    graceful: Arc<GracefulShutdown>,
    permits: Arc<Semaphore>,
    ended: watch::Receiver<bool>,
}

impl Door {
    async fn keep(self, listener: TcpListener) {
        let mut ended = self.ended.clone();
        loop {
            let next = async {
                // The permit comes before the connection: who is over the cap waits in the system's queue.
                let permit = Arc::clone(&self.permits).acquire_owned().await;
                (listener.accept().await, permit)
            };
            let (accepted, permit) = tokio::select! {
                biased;
                _ = ended.wait_for(|ended| *ended) => return,
                next = next => next,
            };
            let Ok(permit) = permit else { return };
            match accepted {
                Ok((stream, peer)) => self.open(stream, ClientAddress(peer.ip()), permit),
                // Out of descriptors, mostly: those in use must be closed first.
                Err(error) => {
                    tracing::warn!(reason = %error.kind(), "a connection could not be accepted");
                    sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }

    fn open(&self, stream: TcpStream, peer: ClientAddress, permit: OwnedSemaphorePermit) {
        let _ = stream.set_nodelay(true);
        let (acceptor, router, watcher) = (self.acceptor.clone(), self.router.clone(), self.graceful.watcher());
        let ended = self.ended.clone();
        tokio::spawn(async move {
            let _permit = permit;
            let Some(acceptor) = acceptor else {
                return speak(stream, peer, router, Builder::new(TokioExecutor::new()).http1_only(), watcher, ended)
                    .await;
            };
            // Who does not finish a handshake is nobody we know: not worth a line in the log.
            let Ok(Ok(stream)) = timeout(PATIENCE, acceptor.accept(stream)).await else { return };
            // Chosen by what was agreed on, so that nobody can hold a connection by sending half a preface.
            let http = Builder::new(TokioExecutor::new());
            let http =
                if stream.get_ref().1.alpn_protocol() == Some(b"h2") { http.http2_only() } else { http.http1_only() };
            speak(stream, peer, router, http, watcher, ended).await;
        });
    }
}

async fn speak<S>(
    stream: S,
    peer: ClientAddress,
    router: Router,
    mut http: Builder<TokioExecutor>,
    watcher: hyper_util::server::graceful::Watcher,
    ended: watch::Receiver<bool>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    http.http1().timer(TokioTimer::new()).header_read_timeout(PATIENCE).max_buf_size(64 << 10);
    http.http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(PATIENCE)
        .max_concurrent_streams(128)
        .max_header_list_size(64 << 10);
    let (begun, over) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (beginning, ending) = (Arc::clone(&begun), Arc::clone(&over));
    let told = ended.clone();
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(peer);
        beginning.fetch_add(1, Ordering::Relaxed);
        let (router, over, ended) = (router.clone(), Over(Arc::clone(&ending)), told.clone());
        async move {
            let answered = answer(router, request.map(Body::new)).await;
            answered.map(|response| response.map(|body| UnderWay::new(body, ended, over)))
        }
    });
    let stream = TokioIo::new(InOrder::new(stream, ended));
    let connection = watcher.watch(http.serve_connection(stream, service).into_owned());
    let silence = async {
        let mut seen = 0;
        let mut wait = PATIENCE;
        loop {
            sleep(wait).await;
            let now = begun.load(Ordering::Relaxed);
            if now == seen && over.load(Ordering::Relaxed) == now {
                return;
            }
            (seen, wait) = (now, IDLE);
        }
    };
    // However a connection ends, there is nobody left to tell.
    tokio::select! {
        _ = connection => {}
        () = silence => {}
    }
}

/// Answers one request. A handler that panics, or takes too long, fails that request and no other.
async fn answer(router: Router, request: hyper::Request<Body>) -> Result<Response, Infallible> {
    let failed = |status: http::StatusCode, text: &'static str| {
        let mut response = Response::new(Body::from(text));
        *response.status_mut() = status;
        response
    };
    if !one_host(&request) {
        return Ok(failed(http::StatusCode::BAD_REQUEST, "say which host is asked, once\n"));
    }
    let handled = Caught(Box::pin(router.oneshot(request)));
    Ok(match timeout(REQUEST, handled).await {
        Ok(Ok(Ok(response))) => response,
        Ok(Ok(Err(never))) => match never {},
        Ok(Err(Panicked)) => failed(http::StatusCode::INTERNAL_SERVER_ERROR, "an internal error; it was logged\n"),
        Err(_) => failed(http::StatusCode::SERVICE_UNAVAILABLE, "the request took too long; try again\n"),
    })
}

/// RFC 9112 section 3.2: in HTTP/1.1 exactly one `Host`. Of two, a proxy and we could believe different ones.
fn one_host(request: &hyper::Request<Body>) -> bool {
    let hosts = request.headers().get_all(http::header::HOST).iter().count();
    hosts == 1 || (hosts == 0 && request.version() != http::Version::HTTP_11)
}

/// A handler panicked; the hook has logged where.
struct Panicked;

/// A future whose panics are an outcome. It is dropped after one, so nothing sees what it left half done; handlers write
/// through the store, whose commits are whole or nothing.
struct Caught<F>(Pin<Box<F>>);

impl<F: Future> Future for Caught<F> {
    type Output = Result<F::Output, Panicked>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match catch_unwind(AssertUnwindSafe(|| self.0.as_mut().poll(context))) {
            Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
            Ok(Poll::Pending) => Poll::Pending,
            Err(_) => Poll::Ready(Err(Panicked)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::get;

    async fn panics(text: String) -> String {
        text.parse::<u8>().unwrap().to_string()
    }

    #[tokio::test]
    async fn a_panic_fails_its_own_request_only() {
        let router = Router::new().route("/bad", get(panics)).route("/good", get(|| async { "good" }));
        let ask = async |path: &str| {
            let request = hyper::Request::get(path).header("host", "localhost").body(Body::empty()).unwrap();
            answer(router.clone(), request).await.unwrap().status()
        };
        assert_eq!(ask("/bad").await, 500);
        assert_eq!(ask("/good").await, 200);
    }

    #[tokio::test]
    async fn a_request_names_one_host() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let router = Router::new().route("/", get(|| async { "good" }));
        for (head, status) in [
            ("GET / HTTP/1.1\r\nHost: a.example\r\n", "200"),
            ("GET / HTTP/1.1\r\nHost: a.example\r\nHost: b.example\r\n", "400"),
            ("GET / HTTP/1.1\r\nhost: a.example\r\nHOST: a.example\r\n", "400"),
            ("GET https://a.example/ HTTP/1.1\r\nHost: a.example\r\nHost: b.example\r\n", "400"),
            ("GET / HTTP/1.1\r\n", "400"),
            ("GET / HTTP/1.0\r\n", "200"),
            ("GET / HTTP/1.0\r\nHost: a.example\r\nHost: b.example\r\n", "400"),
        ] {
            let (mut client, server) = tokio::io::duplex(4_096);
            let http = Builder::new(TokioExecutor::new()).http1_only();
            let graceful = GracefulShutdown::new();
            let peer = ClientAddress(std::net::IpAddr::from([127, 0, 0, 1]));
            let ended = watch::Sender::new(false);
            tokio::spawn(speak(server, peer, router.clone(), http, graceful.watcher(), ended.subscribe()));
            client.write_all(format!("{head}Connection: close\r\n\r\n").as_bytes()).await.unwrap();
            let mut answered = String::new();
            client.read_to_string(&mut answered).await.unwrap();
            assert_eq!(answered.split(' ').nth(1), Some(status), "{head}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_is_refused_unread_does_not_cost_the_client_its_answer() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let router = Router::new().route("/", get(|| async { "good" }));
        let graceful = GracefulShutdown::new();
        let open = || {
            let (client, server) = tokio::io::duplex(4_096);
            let http = Builder::new(TokioExecutor::new()).http1_only();
            let ended = watch::Sender::new(false);
            let peer = ClientAddress(std::net::IpAddr::from([127, 0, 0, 1]));
            let told = ended.subscribe();
            let serving = speak(server, peer, router.clone(), http, graceful.watcher(), told);
            (client, ended, tokio::spawn(serving))
        };
        let head = format!("POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: {}\r\n\r\n", 1 << 20);
        // All of it is sent before anything is read, as many clients do.
        let (mut client, _ended, _) = open();
        client.write_all(head.as_bytes()).await.unwrap();
        client.write_all(&vec![b'x'; 1 << 20]).await.unwrap();
        let mut answered = String::new();
        client.read_to_string(&mut answered).await.unwrap();
        assert!(answered.starts_with("HTTP/1.1 405"), "{answered}");
        // Whoever goes on, or says nothing, is not waited for long; and not at all once the server ends.
        for (end, longest) in [(false, in_order::PATIENCE), (true, Duration::ZERO)] {
            let (mut client, ended, serving) = open();
            client.write_all(head.as_bytes()).await.unwrap();
            ended.send_replace(end);
            let from = tokio::time::Instant::now();
            serving.await.unwrap();
            assert_eq!(from.elapsed(), longest);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_on_which_nothing_is_asked_is_not_held() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let router = Router::new().route("/", get(|| async { "good" }));
        let graceful = GracefulShutdown::new();
        // The last is a whole beginning of HTTP/2, with no request after it.
        let begins = ["", "G", "GET / HTTP/1.1\r\nHost: a", "PRI * HTTP", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"];
        for (begin, two) in begins.iter().flat_map(|begin| [(*begin, false), (*begin, true)]) {
            let (mut client, server) = tokio::io::duplex(4_096);
            let http = Builder::new(TokioExecutor::new());
            let http = if two { http.http2_only() } else { http.http1_only() };
            let peer = ClientAddress(std::net::IpAddr::from([127, 0, 0, 1]));
            let ended = watch::Sender::new(false);
            tokio::spawn(speak(server, peer, router.clone(), http, graceful.watcher(), ended.subscribe()));
            let from = tokio::time::Instant::now();
            client.write_all(begin.as_bytes()).await.unwrap();
            let mut rest = Vec::new();
            let _ = timeout(Duration::from_hours(1), client.read_to_end(&mut rest)).await;
            assert!(from.elapsed() <= PATIENCE + in_order::PATIENCE, "{begin:?}, {two}: {:?}", from.elapsed());
        }
    }

    /// A stream that says something every second, for as long as it is listened to.
    async fn stream() -> Response {
        let (mut to, body) = http_body_util::channel::Channel::<axum::body::Bytes, Infallible>::new(1);
        tokio::spawn(async move {
            while to.send_data("word\n".into()).await.is_ok() {
                sleep(Duration::from_secs(1)).await;
            }
        });
        Response::new(Body::new(body))
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_stays_open_while_it_goes_on_and_ends_with_the_server() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let router = Router::new().route("/stream", get(stream)).route("/", get(|| async { "good" }));
        let (ended, graceful) = (watch::Sender::new(false), GracefulShutdown::new());
        let open = |path: &str| {
            let (mut client, server) = tokio::io::duplex(4_096);
            let http = Builder::new(TokioExecutor::new()).http1_only();
            let peer = ClientAddress(std::net::IpAddr::from([127, 0, 0, 1]));
            tokio::spawn(speak(server, peer, router.clone(), http, graceful.watcher(), ended.subscribe()));
            let head = format!("GET {path} HTTP/1.1\r\nHost: a.example\r\n\r\n");
            async move {
                client.write_all(head.as_bytes()).await.unwrap();
                client
            }
        };
        let read = async |client: &mut tokio::io::DuplexStream| {
            let mut some = [0; 1_024];
            client.read(&mut some).await.unwrap()
        };
        let (mut streaming, mut idle) = (open("/stream").await, open("/").await);
        let from = tokio::time::Instant::now();
        while from.elapsed() < Duration::from_mins(30) {
            assert_ne!(read(&mut streaming).await, 0, "cut after {:?}", from.elapsed());
        }
        let mut whole = String::new();
        idle.read_to_string(&mut whole).await.unwrap();
        assert!(whole.contains("content-length: 4"), "what is over is known to be: {whole}");
        ended.send_replace(true);
        let mut rest = Vec::new();
        let ending = streaming.read_to_end(&mut rest);
        let until = tokio::time::Instant::now();
        timeout(PATIENCE + IDLE, ending).await.unwrap().unwrap();
        assert!(rest.ends_with(b"0\r\n\r\n"), "in order: {:?}", String::from_utf8_lossy(&rest));
        assert!(until.elapsed() <= IDLE, "{:?}", until.elapsed());
    }
}
