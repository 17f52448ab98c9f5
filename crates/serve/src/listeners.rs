//! Listeners, from their sockets to their end.
use crate::behind::{Behind, Service, without_body};
use crate::given::Given;
use crate::in_order::InOrder;
use crate::proxy::{Told, introduced};
use crate::share::{OverShare, Share, Shares};
use crate::silence::{Asked, Over, PATIENCE, Sent, Watched};
use crate::stream::Stream;
use crate::{Shown, Socket, Tls};
use bytes::Bytes;
use http::header::{CONNECTION, UPGRADE};
use http::{HeaderValue, Method, Request, Response, StatusCode, Version};
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use std::convert::Infallible;
use std::error::Error;
use std::future::Future;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// For requests that are under way when the end comes.
pub const DRAIN: Duration = Duration::from_secs(30);
/// The largest head of a request, in bytes.
const LONGEST_HEAD: usize = 64 << 10;
/// Connections at once, over all listeners.
const CONNECTIONS: usize = 4_096;
/// For what was cut off to be over.
const CUT: Duration = Duration::from_secs(1);

/// What stands behind a listener.
pub trait Serve: Send + Sync + 'static {
    /// The bodies of its answers.
    type Body: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send + Unpin + 'static;

    /// Whether an answer that waits for what is yet to come ends when the process does, as if it were whole: for streams of events,
    /// whose readers come back elsewhere. Otherwise it has the time that all requests have.
    const WAITING_ANSWERS_END: bool = true;

    /// Whether a request may have its connection become another protocol's: it then carries what is [`Kept`] of it.
    const UPGRADES: bool = false;

    /// Answers one request.
    fn answer(&self, request: Request<Incoming>, caller: Caller) -> impl Future<Output = Response<Self::Body>> + Send;
}

/// Who sent a request, as the connection tells it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    /// The user whose program it is, where it came over a Unix socket.
    pub uid: Option<u32>,
    /// The address that it came from, where it came over a network: the one that a proxy tells, where it is asked.
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

/// What is kept of a connection that becomes another protocol's: it counts as long as this is there.
#[derive(Clone)]
pub struct Kept {
    ended: watch::Receiver<bool>,
    _over: Arc<Over>,
}

/// What a connection counts as: one of all, and one of its address.
pub(crate) type Counts = (OwnedSemaphorePermit, Option<Share>);

impl Kept {
    /// Waits until the process ends.
    pub async fn ending(&mut self) {
        let _ = self.ended.wait_for(|ended| *ended).await;
    }
}

/// What decides about connections before anything of them is read. It is asked anew for each, so that it can change its mind.
pub trait Gate: Send + Sync + 'static {
    /// How a connection from this address is taken in, or that it is not: it is closed then, without a word.
    fn admit(&self, from: Option<IpAddr>) -> Option<Way>;
}

/// How a connection is taken in.
#[derive(Clone, Debug, Default)]
pub struct Way {
    /// How TLS is spoken, if it is.
    pub tls: Option<Tls>,
    /// Whether it comes from a proxy, which tells first whose connection it carries, with a header of the PROXY protocol. Without one,
    /// or with one that cannot be read, it is closed without a word. The connection counts as that of the address that is told, and
    /// is served as such.
    pub is_introduced: bool,
}

/// Everybody comes in the same way.
struct Open(Way);

impl Gate for Open {
    fn admit(&self, _: Option<IpAddr>) -> Option<Way> {
        Some(self.0.clone())
    }
}

/// The listeners of a process, until they are told to end.
pub struct Listeners {
    leaving: watch::Sender<bool>,
    ended: watch::Sender<bool>,
    doors: JoinSet<JoinSet<()>>,
    /// What doors that are closed have left open.
    open: Vec<JoinSet<()>>,
    most: usize,
    permits: Arc<Semaphore>,
    shares: Option<Shares>,
}

impl Default for Listeners {
    fn default() -> Self {
        Self::new()
    }
}

impl Listeners {
    /// None yet, and 4096 connections for all that come.
    pub fn new() -> Self {
        Self::at_most(CONNECTIONS)
    }

    /// None yet, and so many connections for all that come: those of other `Listeners` take nothing of them.
    pub fn at_most(most: usize) -> Self {
        Self {
            leaving: watch::Sender::new(false),
            ended: watch::Sender::new(false),
            doors: JoinSet::new(),
            open: Vec::new(),
            most,
            permits: Arc::new(Semaphore::new(most)),
            shares: None,
        }
    }

    /// From now on no address has more than so many connections at once, those of `exempt` excepted, which are proxies, say: what is
    /// beyond that is closed at once, so that one caller cannot have all that there are.
    pub fn share(&mut self, most: usize, exempt: impl Fn(IpAddr) -> bool + Send + Sync + 'static) {
        self.shares = Some(Shares::new(most, exempt));
    }

    /// Begins to serve.
    pub fn add(&mut self, socket: impl Into<Socket>, tls: Option<Tls>, service: impl Into<Service>) {
        self.add_behind(socket, Arc::new(Open(Way { tls, is_introduced: false })), service);
    }

    /// Begins to serve those whom a gate admits.
    pub fn add_behind(&mut self, socket: impl Into<Socket>, gate: Arc<dyn Gate>, service: impl Into<Service>) {
        let door = Door {
            gate,
            service: service.into().0,
            permits: Arc::clone(&self.permits),
            shares: self.shares.clone(),
            leaving: self.leaving.subscribe(),
            ended: self.ended.subscribe(),
        };
        self.doors.spawn(door.keep(socket.into()));
    }

    /// Leaves what is to come to another process that has the same sockets: no new connections here, and who has one is told with
    /// their next answer to open another. Nobody is cut off; this ends when all have gone, or after `linger`.
    pub async fn leave(&mut self, linger: Duration) {
        self.leaving.send_replace(true);
        self.close().await;
        let _ = timeout(linger, self.all_gone()).await;
    }

    /// Ends: no new connections, and time for the requests that are under way. What is not over then is [cut off](Self::cut).
    pub async fn end(mut self, drain: Duration) {
        self.drain(drain).await;
        self.cut().await;
    }

    /// The first half of an [end](Self::end): no new connections, and time for the requests that are under way.
    pub async fn drain(&mut self, drain: Duration) {
        self.ended.send_replace(true);
        self.leaving.send_replace(true);
        self.close().await;
        if timeout(drain, self.all_gone()).await.is_err() {
            let open = self.most.saturating_sub(self.permits.available_permits());
            tracing::warn!(connections.open = open, "ended with connections still open");
        }
    }

    /// The other half, which may come before the first is over: what is still open is dropped, and has been once this returns, so
    /// that all that is kept of requests is there to be written.
    pub async fn cut(mut self) {
        self.ended.send_replace(true);
        self.leaving.send_replace(true);
        self.close().await;
        for connections in &mut self.open {
            connections.shutdown().await;
        }
        // Requests over HTTP/2 end by themselves without their connection, and so does what became another protocol's.
        let _ = timeout(CUT, self.all_gone()).await;
    }

    /// Waits until no door lets anybody in, which they have been told.
    async fn close(&mut self) {
        while let Some(closed) = self.doors.join_next().await {
            self.open.extend(closed);
        }
    }

    async fn all_gone(&self) {
        let _ = self.permits.acquire_many(u32::try_from(self.most).unwrap_or(u32::MAX)).await;
    }
}

/// What stands behind one socket.
struct Door {
    gate: Arc<dyn Gate>,
    service: Arc<dyn Behind>,
    permits: Arc<Semaphore>,
    shares: Option<Shares>,
    leaving: watch::Receiver<bool>,
    ended: watch::Receiver<bool>,
}

impl Door {
    /// Lets connections in until it is to leave them to another process; those that are open then.
    async fn keep(self, socket: Socket) -> JoinSet<()> {
        let mut leaving = self.leaving.clone();
        let mut connections = JoinSet::new();
        'open: loop {
            let next = async {
                // The permit comes before the connection: who is over the cap waits in the system's queue.
                let permit = Arc::clone(&self.permits).acquire_owned().await;
                let accepted = match &socket {
                    Socket::Tcp(listener) => listener.accept().await.map(|(stream, from)| {
                        let _ = stream.set_nodelay(true);
                        let reached = stream.local_addr().ok().map(|address| address.ip());
                        (Box::new(stream) as Stream, Caller { uid: None, address: Some(from.ip()), reached })
                    }),
                    Socket::Unix(listener, _) => listener.accept().await.map(|(stream, _)| {
                        let uid = stream.peer_cred().ok().map(|caller| caller.uid());
                        (Box::new(stream) as Stream, Caller { uid, address: None, reached: None })
                    }),
                };
                (accepted, permit)
            };
            let mut next = std::pin::pin!(next);
            let (accepted, permit) = loop {
                tokio::select! {
                    biased;
                    _ = leaving.wait_for(|leaving| *leaving) => break 'open,
                    // Nothing is kept of one that is over, however fast others come. The turn for the next one stays.
                    Some(_) = connections.join_next() => {}
                    next = next.as_mut() => break next,
                }
            };
            let Ok(permit) = permit else { break };
            match accepted {
                Ok((stream, caller)) => {
                    if let Some(connection) = self.open(stream, caller, permit) {
                        connections.spawn(connection);
                    }
                }
                // Out of descriptors, mostly: those in use must be closed first.
                Err(error) => {
                    tracing::warn!(reason = %error.kind(), "a connection could not be accepted");
                    sleep(Duration::from_millis(50)).await;
                }
            }
        }
        // Who leaves it to another process leaves the path, too.
        if let Socket::Unix(_, path) = socket
            && *self.ended.borrow()
        {
            let _ = tokio::fs::remove_file(path).await;
        }
        connections
    }

    /// A connection until it is over, if it is let in.
    fn open(
        &self,
        stream: Stream,
        caller: Caller,
        permit: OwnedSemaphorePermit,
    ) -> Option<impl Future<Output = ()> + Send + use<>> {
        let Way { tls, is_introduced } = self.gate.admit(caller.address)?;
        let shares = self.shares.clone();
        let mut share = None;
        if !is_introduced {
            // Not worth a line in the log for each: who does it would fill that instead.
            share = taken(shares.as_ref(), caller.address).ok()?;
        }
        let service = Arc::clone(&self.service);
        let (leaving, ended) = (self.leaving.clone(), self.ended.clone());
        Some(async move {
            let until = Instant::now() + PATIENCE;
            let (mut stream, mut caller, mut first) = (stream, caller, Vec::new());
            if is_introduced {
                let Ok(Some((told, follows))) = timeout_at(until, introduced(&mut stream)).await else { return };
                if let Told::From(from, to) = told {
                    (caller.address, caller.reached) = (Some(from), Some(to));
                }
                let Ok(theirs) = taken(shares.as_ref(), caller.address) else { return };
                (share, first) = (theirs, follows);
            }
            if !first.is_empty() {
                stream = Box::new(Given::new(first, stream));
            }
            let permit = Arc::new((permit, share));
            let mut connection = Connection { service, caller, shown: None, permit, leaving, ended };
            let Some(tls) = tls else { return connection.speak(stream, Spoken::Either).await };
            // Who does not finish a handshake is nobody we know: not worth a line in the log.
            let Ok(Ok(stream)) = timeout_at(until, tls.accept(stream)).await else { return };
            let told = stream.get_ref().1;
            connection.shown = told.peer_certificates().map(|chain| Shown::of(chain, told.server_name()));
            let two = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            connection.speak(Box::new(stream), if two { Spoken::Two } else { Spoken::One }).await;
        })
    }
}

/// What a connection from this address counts as, beside one of all.
fn taken(shares: Option<&Shares>, address: Option<IpAddr>) -> Result<Option<Share>, OverShare> {
    shares.zip(address).map_or(Ok(None), |(shares, address)| shares.take(address))
}

/// The version of HTTP that both sides have agreed on; without TLS, the first bytes tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spoken {
    Either,
    One,
    Two,
}

/// One connection.
struct Connection {
    service: Arc<dyn Behind>,
    caller: Caller,
    shown: Option<Arc<Shown>>,
    permit: Arc<Counts>,
    leaving: watch::Receiver<bool>,
    ended: watch::Receiver<bool>,
}

impl Connection {
    async fn speak(self, stream: Stream, spoken: Spoken) {
        let Self { service, caller, shown, permit, mut leaving, mut ended } = self;
        let two = spoken == Spoken::Two;
        let mut http = Builder::new(TokioExecutor::new());
        // Its own time for a head would run while a connection is kept, too.
        http.http1().header_read_timeout(None).max_buf_size(LONGEST_HEAD);
        http.http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(Duration::from_secs(20))
            .keep_alive_timeout(PATIENCE)
            .max_concurrent_streams(128)
            .max_header_list_size(64 << 10);
        // The connection counts until it and all that was asked on it is over, and one that becomes another protocol's beyond that.
        let asked = Arc::new(Asked::new(ended.clone(), permit));
        let stream = InOrder::new(Watched::new(stream, Arc::clone(&asked)), ended.clone(), two);
        let (watched, begun) = (ended.clone(), Arc::clone(&asked));
        let service = service_fn(move |mut request: Request<Incoming>| {
            if let Some(shown) = &shown {
                request.extensions_mut().insert(Arc::clone(shown));
            }
            let (service, over) = (Arc::clone(&service), begun.begin(request.version()));
            if service.upgrades() && request.headers().contains_key(UPGRADE) {
                let also = Arc::new(begun.begin(request.version()));
                let kept = Kept { ended: watched.clone(), _over: also };
                request.extensions_mut().insert(kept);
            }
            let one = request.version() < Version::HTTP_2;
            // The library sends the bodies of such answers over HTTP/2, and their readers end the stream, or the connection.
            let reads_head = !one && request.method() == Method::HEAD;
            let ends = service.do_waiting_answers_end();
            let answering = service.answer(request, caller);
            async move {
                let mut response = answering.await;
                if reads_head {
                    response = without_body(response);
                }
                // Who has the connection hears of it in time, and is not cut off in the middle of the next request.
                if one && over.is_last() && response.status() != StatusCode::SWITCHING_PROTOCOLS {
                    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                }
                Ok::<_, Infallible>(response.map(|body| Sent::new(body, over, ends)))
            }
        });
        let stream = TokioIo::new(stream);
        // However a connection ends, there is nobody left to tell.
        macro_rules! until_over {
            ($connection:expr) => {{
                let mut connection = std::pin::pin!($connection);
                tokio::select! {
                    biased;
                    _ = connection.as_mut() => return,
                    _ = leaving.wait_for(|leaving| *leaving) => asked.leave(),
                }
                if two || asked.is_framed() {
                    connection.as_mut().graceful_shutdown();
                }
                tokio::select! {
                    biased;
                    _ = connection.as_mut() => return,
                    _ = ended.wait_for(|ended| *ended) => connection.as_mut().graceful_shutdown(),
                }
                let _ = connection.await;
            }};
        }
        match spoken {
            // With upgrades, the library would listen for either version whatever was agreed on.
            Spoken::Either => until_over!(http.serve_connection_with_upgrades(stream, service)),
            Spoken::One => {
                let mut http = http1::Builder::new();
                http.header_read_timeout(None).max_buf_size(LONGEST_HEAD);
                until_over!(http.serve_connection(stream, service).with_upgrades());
            }
            Spoken::Two => {
                let http = http.http2_only();
                until_over!(http.serve_connection(stream, service));
            }
        }
    }
}

/// What a future comes to, or nothing if it panics: the hook has logged where, and only this request fails. It is dropped then,
/// so nothing sees what it left half done. It has a place of its own, as large as it is: what is returned is moved for little.
pub fn caught<F: Future>(future: F) -> impl Future<Output = Option<F::Output>> {
    let mut future = Box::pin(future);
    std::future::poll_fn(move |context| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
        Ok(Poll::Ready(value)) => Poll::Ready(Some(value)),
        Ok(Poll::Pending) => Poll::Pending,
        Err(_) => Poll::Ready(None),
    })
}

#[cfg(test)]
mod tests;
