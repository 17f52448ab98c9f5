//! The accept loop: HTTP/1.1 and HTTP/2 without TLS, over TCP or a Unix socket, with bounds on time and number, and an
//! orderly end.
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

/// To send a request's head.
const PATIENCE: Duration = Duration::from_secs(10);
/// For requests that are under way when the end comes.
pub const DRAIN: Duration = Duration::from_secs(30);
/// Connections at once, over all listeners.
const CONNECTIONS: usize = 4_096;

/// What stands behind a listener: each API is one, and has a listener of its own.
pub trait Serve: Send + Sync + 'static {
    /// The bodies of its answers.
    type Body: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static;

    /// Answers one request; `uid` is the caller's user, where it came over a Unix socket.
    fn answer(&self, request: Request<Incoming>, uid: Option<u32>)
    -> impl Future<Output = Response<Self::Body>> + Send;
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

    /// Begins to serve.
    pub fn add<S: Serve>(&mut self, bound: Bound, service: Arc<S>) {
        let door = Door {
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
                    Bound::Tcp(listener) => listener.accept().await.map(|(stream, _)| {
                        let _ = stream.set_nodelay(true);
                        Accepted::Tcp(stream)
                    }),
                    Bound::Unix(listener, _) => listener.accept().await.map(|(stream, _)| {
                        let uid = stream.peer_cred().ok().map(|caller| caller.uid());
                        Accepted::Unix(stream, uid)
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
                Ok(Accepted::Tcp(stream)) => self.open(stream, None, permit),
                Ok(Accepted::Unix(stream, uid)) => self.open(stream, uid, permit),
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
        uid: Option<u32>,
        permit: OwnedSemaphorePermit,
    ) {
        let (service, watcher) = (Arc::clone(&self.service), self.graceful.watcher());
        tokio::spawn(async move {
            let _permit = permit;
            speak(stream, uid, service, watcher).await;
        });
    }
}

enum Accepted {
    Tcp(tokio::net::TcpStream),
    Unix(tokio::net::UnixStream, Option<u32>),
}

async fn speak<S: Serve>(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    uid: Option<u32>,
    service: Arc<S>,
    watcher: Watcher,
) {
    let mut http = Builder::new(TokioExecutor::new());
    http.http1().timer(TokioTimer::new()).header_read_timeout(PATIENCE).max_buf_size(64 << 10);
    http.http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(PATIENCE)
        .max_concurrent_streams(128)
        .max_header_list_size(64 << 10);
    let service = service_fn(move |request| {
        let service = Arc::clone(&service);
        async move { Ok::<_, Infallible>(service.answer(request, uid).await) }
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
    use super::caught;

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
