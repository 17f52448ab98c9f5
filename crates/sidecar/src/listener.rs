//! The accept loop: HTTP/1.1 and HTTP/2, over TCP or a Unix socket, with TLS on both sides where others than this machine's
//! programs call; with bounds on time and number, and an orderly end.
mod mutual;
mod silence;

pub use self::mutual::Mutual;

use self::silence::{Asked, PATIENCE, Sent, Watched};
use crate::settings::Bind;
use bytes::Bytes;
use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use std::convert::Infallible;
use std::error::Error;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// For requests that are under way when the end comes.
pub const DRAIN: Duration = Duration::from_secs(30);
/// Connections at once, over all listeners.
const CONNECTIONS: usize = 4_096;

/// What stands behind a listener: each API is one, and has a listener of its own.
pub trait Serve: Send + Sync + 'static {
    /// The bodies of its answers.
    type Body: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send + Unpin + 'static;

    /// Answers one request.
    fn answer(&self, request: Request<Incoming>, caller: Caller) -> impl Future<Output = Response<Self::Body>> + Send;
}

/// Who sent a request, as the connection tells it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    /// The user whose program it is, where it came over a Unix socket.
    pub uid: Option<u32>,
    /// The address that it came from, where it came over a network.
    pub address: Option<IpAddr>,
    /// The address that it came to, where it came over a network.
    pub reached: Option<IpAddr>,
}

impl Caller {
    /// Whether it is a program of this machine (or of this pod).
    pub fn is_local(self) -> bool {
        self.address.is_none_or(|address| address.to_canonical().is_loopback())
    }
}

/// The listeners of a process, until they are told to end.
pub struct Listeners {
    ended: watch::Sender<bool>,
    doors: JoinSet<()>,
    graceful: Arc<GracefulShutdown>,
    permits: Arc<Semaphore>,
}

/// A socket that is bound, and not served yet.
pub enum Bound {
    /// Of a network.
    Tcp(TcpListener),
    /// Of this machine, and its path, which goes when it ends.
    Unix(UnixListener, PathBuf),
}

impl Bound {
    /// Binds it. A socket that an earlier process left behind is replaced; one that somebody serves is not.
    ///
    /// # Errors
    /// If the address cannot be had.
    pub async fn bind(bind: &Bind) -> io::Result<Self> {
        match bind {
            Bind::Tcp(address) => TcpListener::bind(address).await.map(Self::Tcp),
            Bind::Unix(path) => {
                let left_behind = tokio::net::UnixStream::connect(path).await;
                if left_behind.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused) {
                    tokio::fs::remove_file(path).await?;
                }
                UnixListener::bind(path).map(|listener| Self::Unix(listener, path.clone()))
            }
        }
    }

    /// Where it is.
    pub fn address(&self) -> Option<Bind> {
        match self {
            Self::Tcp(listener) => listener.local_addr().ok().map(Bind::Tcp),
            Self::Unix(_, path) => Some(Bind::Unix(path.clone())),
        }
    }
}

impl Default for Listeners {
    fn default() -> Self {
        Self::new()
    }
}

impl Listeners {
    /// None yet.
    pub fn new() -> Self {
        Self {
            ended: watch::Sender::new(false),
            doors: JoinSet::new(),
            graceful: Arc::new(GracefulShutdown::new()),
            permits: Arc::new(Semaphore::new(CONNECTIONS)),
        }
    }

    /// Begins to serve: over TLS on both sides where it says with what.
    pub fn add<S: Serve>(&mut self, bound: Bound, mutual: Option<&Arc<Mutual>>, service: Arc<S>) {
        let door = Door {
            mutual: mutual.cloned(),
            service,
            graceful: Arc::clone(&self.graceful),
            permits: Arc::clone(&self.permits),
            ended: self.ended.subscribe(),
        };
        self.doors.spawn(door.keep(bound));
    }

    /// Ends: no new connections, and time for the requests that are under way.
    pub async fn end(self, drain: Duration) {
        let Self { ended, doors, graceful, permits } = self;
        ended.send_replace(true);
        doors.join_all().await;
        // The doors held the others.
        let Some(graceful) = Arc::into_inner(graceful) else { return };
        if timeout(drain, graceful.shutdown()).await.is_err() {
            let open = CONNECTIONS.saturating_sub(permits.available_permits());
            tracing::warn!(connections.open = open, "ended with connections still open");
        }
    }
}

/// What stands behind one socket.
struct Door<S> {
    mutual: Option<Arc<Mutual>>,
    service: Arc<S>,
    graceful: Arc<GracefulShutdown>,
    permits: Arc<Semaphore>,
    ended: watch::Receiver<bool>,
}

impl<S: Serve> Door<S> {
    async fn keep(self, bound: Bound) {
        let mut ended = self.ended.clone();
        loop {
            let next = async {
                // The permit comes before the connection: who is over the cap waits in the system's queue.
                let permit = Arc::clone(&self.permits).acquire_owned().await;
                let accepted = match &bound {
                    Bound::Tcp(listener) => listener.accept().await.map(|(stream, from)| {
                        let _ = stream.set_nodelay(true);
                        let reached = stream.local_addr().ok().map(|address| address.ip());
                        Accepted::Tcp(stream, Caller { uid: None, address: Some(from.ip()), reached })
                    }),
                    Bound::Unix(listener, _) => listener.accept().await.map(|(stream, _)| {
                        let uid = stream.peer_cred().ok().map(|caller| caller.uid());
                        Accepted::Unix(stream, Caller { uid, address: None, reached: None })
                    }),
                };
                (accepted, permit)
            };
            let (accepted, permit) = tokio::select! {
                biased;
                _ = ended.wait_for(|ended| *ended) => break,
                next = next => next,
            };
            let Ok(permit) = permit else { break };
            match accepted {
                Ok(Accepted::Tcp(stream, caller)) => self.open(stream, caller, permit),
                Ok(Accepted::Unix(stream, caller)) => self.open(stream, caller, permit),
                // Out of descriptors, mostly: those in use must be closed first.
                Err(error) => {
                    tracing::warn!(reason = %error.kind(), "a connection could not be accepted");
                    sleep(Duration::from_millis(50)).await;
                }
            }
        }
        if let Bound::Unix(_, path) = bound {
            let _ = tokio::fs::remove_file(path).await;
        }
    }

    fn open(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        caller: Caller,
        permit: OwnedSemaphorePermit,
    ) {
        let (service, watcher, mutual) = (Arc::clone(&self.service), self.graceful.watcher(), self.mutual.clone());
        tokio::spawn(async move {
            let _permit = permit;
            let Some(mutual) = mutual else { return speak(stream, caller, service, watcher).await };
            // Who does not finish a handshake is nobody we know: not worth a line in the log.
            let Ok(Ok(stream)) = timeout(PATIENCE, mutual.accept(stream)).await else { return };
            speak(stream, caller, service, watcher).await;
        });
    }
}

enum Accepted {
    Tcp(tokio::net::TcpStream, Caller),
    Unix(tokio::net::UnixStream, Caller),
}

async fn speak<S: Serve>(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    caller: Caller,
    service: Arc<S>,
    watcher: Watcher,
) {
    let mut http = Builder::new(TokioExecutor::new());
    // Its own time for a head would run while a connection is kept, too.
    http.http1().header_read_timeout(None).max_buf_size(64 << 10);
    http.http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(PATIENCE)
        .max_concurrent_streams(128)
        .max_header_list_size(64 << 10);
    let asked = Arc::new(Asked::default());
    let stream = Watched::new(stream, Arc::clone(&asked));
    let service = service_fn(move |request: Request<Incoming>| {
        let (service, over) = (Arc::clone(&service), asked.begin(request.version()));
        async move { Ok::<_, Infallible>(service.answer(request, caller).await.map(|body| Sent::new(body, over))) }
    });
    // However a connection ends, there is nobody left to tell.
    let _ = watcher.watch(http.serve_connection(TokioIo::new(stream), service)).await;
}

/// What a future comes to, or nothing if it panics: the hook has logged where, and only this request fails. It is dropped then,
/// so nothing sees what it left half done.
pub(crate) async fn caught<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
        Ok(Poll::Ready(value)) => Poll::Ready(Some(value)),
        Ok(Poll::Pending) => Poll::Pending,
        Err(_) => Poll::Ready(None),
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::Full;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::time::Instant;

    /// Answers with nothing, each request in its own time.
    struct Slow(Duration);

    impl Serve for Slow {
        type Body = Full<Bytes>;

        async fn answer(&self, _: Request<Incoming>, _: Caller) -> Response<Full<Bytes>> {
            sleep(self.0).await;
            Response::default()
        }
    }

    #[test]
    fn who_calls_from_this_machine_is_told_by_the_address() {
        let from = |address: &str| Caller { address: Some(address.parse().unwrap()), ..Caller::default() }.is_local();
        for own in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            assert!(from(own), "{own}");
        }
        for other in ["10.0.0.1", "::ffff:10.0.0.1", "0.0.0.0", "::", "fe80::1", "169.254.169.254"] {
            assert!(!from(other), "{other}");
        }
        assert!(Caller::default().is_local(), "a socket");
    }

    fn connected(takes: Duration) -> DuplexStream {
        let (ours, theirs) = duplex(64 << 10);
        tokio::spawn(async move {
            let serving = GracefulShutdown::new();
            speak(theirs, Caller::default(), Arc::new(Slow(takes)), serving.watcher()).await;
        });
        ours
    }

    /// Seconds until the connection is closed from the other side.
    async fn closed(mut stream: DuplexStream) -> u64 {
        let began = Instant::now();
        let mut rest = Vec::new();
        let _ = timeout(Duration::from_hours(1), stream.read_to_end(&mut rest)).await;
        began.elapsed().as_secs()
    }

    async fn asks(stream: &mut DuplexStream) {
        stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut answer = [0; 1024];
        let length = stream.read(&mut answer).await.unwrap();
        assert!(answer.get(..length).unwrap().starts_with(b"HTTP/1.1 200"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_is_kept_serves_the_next_request_a_minute_later() {
        let mut kept = connected(Duration::ZERO);
        for pause in [0, 11, 60, 119] {
            sleep(Duration::from_secs(pause)).await;
            asks(&mut kept).await;
        }
        assert!((120..=240).contains(&closed(kept).await), "and is not kept for ever");
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_comes_within_ten_seconds() {
        assert_eq!(closed(connected(Duration::ZERO)).await, 10, "nothing at all");
        for half in ["G", "PRI * HTTP", "GET / HTTP/1.1\r\nhost: x\r\n"] {
            let mut first = connected(Duration::ZERO);
            sleep(Duration::from_secs(4)).await;
            first.write_all(half.as_bytes()).await.unwrap();
            assert_eq!(closed(first).await, 6, "{half}");
            let mut later = connected(Duration::ZERO);
            asks(&mut later).await;
            sleep(Duration::from_mins(1)).await;
            later.write_all(half.as_bytes()).await.unwrap();
            assert_eq!(closed(later).await, 10, "{half}, on one that was kept");
        }
        let (mut dripping, began) = (connected(Duration::ZERO), Instant::now());
        asks(&mut dripping).await;
        while dripping.write_all(b"G").await.is_ok() {
            sleep(Duration::from_secs(1)).await;
        }
        assert!(began.elapsed() <= Duration::from_secs(11), "drop by drop: {:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_takes_long_is_not_silence() {
        let mut slow = connected(Duration::from_mins(10));
        asks(&mut slow).await;
        asks(&mut slow).await;
    }

    #[tokio::test]
    async fn a_panic_fails_its_own_request_alone() {
        assert_eq!(caught(async { 1 }).await, Some(1));
        let panicking = async {
            tokio::task::yield_now().await;
            assert!(std::hint::black_box(false), "a defect");
        };
        assert_eq!(caught(panicking).await, None);
    }
}
