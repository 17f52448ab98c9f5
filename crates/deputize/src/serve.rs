//! Routers on listeners: the authority, the APIs of the demo, and the services of a machine.
use crate::failure::Failure;
use crate::listen::Bound;
use authority::ClientAddress;
use axum::Router;
use axum::body::Body;
use axum::response::Response;
use http::StatusCode;
use hyper::body::Incoming;
use rustls::ServerConfig;
use serve::{Caller, DRAIN, Listeners, Mutual, Serve, Socket, Tls, caught};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::timeout;
use tower::ServiceExt;

/// The address of instance metadata services.
pub(crate) const METADATA: IpAddr = IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254));
/// For a whole request.
const REQUEST: Duration = Duration::from_secs(30);

/// Everything that is served, until it is told to end.
pub(crate) struct Server(Listeners);

impl Server {
    pub(crate) fn new() -> Self {
        Self(Listeners::new())
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
            let own = |ip: IpAddr| ip.is_loopback() || ip == METADATA;
            if tls.is_none() && !address.is_some_and(|address| own(address.ip())) {
                return Err(Failure::new("HTTP without TLS is served on loopback only", "use TLS"));
            }
            let tls = tls.map(|config| Tls::Server(Arc::clone(config)));
            self.0.add(Socket::Tcp(listener), tls, Arc::new(Site(router.clone())));
        }
        Ok(())
    }

    /// Begins to serve those who show a certificate.
    pub(crate) fn add_mutual<S: Serve>(&mut self, bound: Bound, tls: &Arc<Mutual>, service: &Arc<S>) {
        for listener in bound.0 {
            self.0.add(Socket::Tcp(listener), Some(Tls::Mutual(Arc::clone(tls))), Arc::clone(service));
        }
    }

    /// Ends: no new connections, and time for the requests that are under way.
    pub(crate) async fn end(self) {
        self.0.end(DRAIN).await;
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
    serve::server_config(chain_pem, key_pem, None).map_err(|what| {
        let hint =
            "give a PEM chain that begins with the server's certificate, and the private key of that certificate";
        Failure::new(format!("{place}: {what}"), hint)
    })
}

/// A router that is served.
struct Site(Router);

impl Serve for Site {
    type Body = Body;

    /// A handler that panics, or takes too long, fails that request and no other; handlers write through the store, whose commits
    /// are whole or nothing.
    async fn answer(&self, request: hyper::Request<Incoming>, caller: Caller) -> Response {
        let mut request = request.map(Body::new);
        if let Some(address) = caller.address {
            request.extensions_mut().insert(ClientAddress(address));
        }
        answer(&self.0, request).await
    }
}

async fn answer(router: &Router, request: hyper::Request<Body>) -> Response {
    let failed = |status: StatusCode, text: &'static str| {
        let mut response = Response::new(Body::from(text));
        *response.status_mut() = status;
        response
    };
    if !one_host(&request) {
        return failed(StatusCode::BAD_REQUEST, "say which host is asked, once\n");
    }
    match timeout(REQUEST, caught(router.clone().oneshot(request))).await {
        Ok(Some(Ok(answer))) => answer,
        Ok(Some(Err(never))) => match never {},
        Ok(None) => failed(StatusCode::INTERNAL_SERVER_ERROR, "an internal error; it was logged\n"),
        Err(_) => failed(StatusCode::SERVICE_UNAVAILABLE, "the request took too long; try again\n"),
    }
}

/// RFC 9112 section 3.2: in HTTP/1.1 exactly one `Host`. Of two, a proxy and we could believe different ones.
fn one_host(request: &hyper::Request<Body>) -> bool {
    let hosts = request.headers().get_all(http::header::HOST).iter().count();
    hosts == 1 || (hosts == 0 && request.version() != http::Version::HTTP_11)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    async fn panics(text: String) -> String {
        text.parse::<u8>().unwrap().to_string()
    }

    #[tokio::test]
    async fn a_panic_fails_its_own_request_only() {
        let router = Router::new().route("/bad", get(panics)).route("/good", get(|| async { "good" }));
        let ask = async |path: &str| {
            let request = hyper::Request::get(path).header("host", "localhost").body(Body::empty()).unwrap();
            answer(&router, request).await.status()
        };
        assert_eq!(ask("/bad").await, 500);
        assert_eq!(ask("/good").await, 200);
    }

    #[tokio::test]
    async fn a_request_names_one_host_and_its_sender_is_known() {
        let seen = |request: axum::extract::Request| async move {
            request.extensions().get::<ClientAddress>().map_or_else(String::new, |address| address.0.to_string())
        };
        let mut server = Server::new();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        server.add(Bound(vec![listener]), None, &Router::new().route("/", get(seen))).unwrap();
        for (head, status) in [
            ("GET / HTTP/1.1\r\nHost: a.example\r\n", "200"),
            ("GET / HTTP/1.1\r\nHost: a.example\r\nHost: b.example\r\n", "400"),
            ("GET / HTTP/1.1\r\nhost: a.example\r\nHOST: a.example\r\n", "400"),
            ("GET https://a.example/ HTTP/1.1\r\nHost: a.example\r\nHost: b.example\r\n", "400"),
            ("GET / HTTP/1.1\r\n", "400"),
            ("GET / HTTP/1.0\r\n", "200"),
            ("GET / HTTP/1.0\r\nHost: a.example\r\nHost: b.example\r\n", "400"),
        ] {
            let mut client = TcpStream::connect(address).await.unwrap();
            client.write_all(format!("{head}Connection: close\r\n\r\n").as_bytes()).await.unwrap();
            let mut answered = String::new();
            client.read_to_string(&mut answered).await.unwrap();
            assert_eq!(answered.split(' ').nth(1), Some(status), "{head}");
            assert_eq!(answered.ends_with("127.0.0.1"), status == "200", "{answered}");
        }
    }

    #[tokio::test]
    async fn without_tls_nobody_else_is_served() {
        let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
        assert!(Server::new().add(Bound(vec![listener]), None, &Router::new()).is_err());
    }
}
