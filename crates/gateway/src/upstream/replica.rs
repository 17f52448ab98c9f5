//! One address of a service: its connections, and how many requests it has under way.
use super::connect::{Connector, Opened, Shared, Target, Unconnected};
use super::health::Health;
use crate::body::Uploading;
use h2::Reason;
use http::header::{CONTENT_LENGTH, HOST, TE, TRANSFER_ENCODING};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Request, Response, Uri};
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1;
use std::error::Error;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout};

/// How long a connection is kept for its next request.
const IDLE: Duration = Duration::from_secs(30);
/// How many connections that have room for one request are kept.
const MOST_KEPT: usize = 256;
/// How many connections over HTTP/2 are opened; beyond what they have room for, requests wait.
const MOST_SHARED: usize = 32;
/// How many of the kept connections are looked at for one that is ready.
const LOOKED_AT: usize = 8;

/// One address.
pub(crate) struct Replica {
    pub(crate) target: Target,
    pub(super) health: Health,
    under_way: AtomicUsize,
    kept: Mutex<Kept>,
    /// Who opens a connection that others will use too.
    opening: Semaphore,
    /// How often connections were given up all together.
    epoch: AtomicUsize,
    /// Whether the last connection had room for one request only.
    alone: AtomicBool,
}

#[derive(Default)]
struct Kept {
    one: Vec<(http1::SendRequest<Uploading>, Instant)>,
    two: Vec<(Arc<Shared>, Instant)>,
    /// Whether somebody closes those that nothing is sent on any more.
    watched: bool,
}

/// A connection for one request, until its answer is over.
pub(crate) struct Lease {
    /// There until it is dropped.
    sender: Option<Sender>,
    replica: Arc<Replica>,
    /// Of which epoch it is at most.
    epoch: usize,
    /// Whether earlier requests went over it: then the service may be about to close it.
    pub(super) reused: bool,
    /// Whether other requests may go over it later.
    returns: bool,
}

enum Sender {
    One(http1::SendRequest<Uploading>),
    Two(Arc<Shared>),
}

/// A request that was not answered.
pub(super) struct Unanswered {
    pub(super) error: Option<hyper::Error>,
    /// The request itself, where nothing of it was sent.
    pub(super) unsent: Option<Request<Uploading>>,
}

impl Unanswered {
    /// Whether the service closed the connection in place of an answer. What cannot be read is an answer too, and so is a stream that
    /// the service reset: it may have done what it was asked.
    pub(super) fn is_cut_off(&self) -> bool {
        self.error.as_ref().is_some_and(|error| {
            let is_io = || error.source().is_some_and(<dyn Error>::is::<io::Error>);
            error.is_incomplete_message() || error.is_closed() || error.is_canceled() || is_io()
        })
    }

    /// Whether the service says that it did nothing of it (RFC 9113 section 8.7), and its connection serves others.
    pub(super) fn is_refused(&self) -> bool {
        self.told().is_some_and(|told| told.is_reset() && told.reason() == Some(Reason::REFUSED_STREAM))
    }

    /// The same, and its connection serves no others: `GOAWAY` ends only those streams at once that are beyond the last one that was
    /// looked at. Others that are lost with the connection end with an error of its own.
    pub(super) fn is_sent_away(&self) -> bool {
        self.told().is_some_and(h2::Error::is_go_away)
    }

    /// What the service says in HTTP/2.
    fn told(&self) -> Option<&h2::Error> {
        let cause = self.error.as_ref()?.source()?;
        cause.downcast_ref::<h2::Error>().filter(|error| error.is_remote())
    }
}

/// A request that counts as under way.
struct UnderWay<'a>(Option<&'a Replica>);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        if let Some(replica) = self.0 {
            replica.under_way.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Replica {
    pub(super) fn new(target: Target) -> Arc<Self> {
        Arc::new(Self {
            target,
            health: Health::new(),
            under_way: AtomicUsize::new(0),
            kept: Mutex::default(),
            opening: Semaphore::new(1),
            epoch: AtomicUsize::new(0),
            alone: AtomicBool::new(false),
        })
    }

    pub(super) fn under_way(&self) -> usize {
        self.under_way.load(Ordering::Relaxed)
    }

    /// A connection for a request; one that is open already, unless it has to be a fresh one.
    pub(super) async fn lease(self: &Arc<Self>, connector: &Connector, fresh: bool) -> Result<Lease, Unconnected> {
        self.under_way.fetch_add(1, Ordering::Relaxed);
        let mut counted = UnderWay(Some(self));
        let epoch = self.epoch.load(Ordering::Acquire);
        let kept = if fresh { None } else { self.idle() };
        let (sender, reused) = match kept {
            Some(sender) => (sender, true),
            // Rare, and large: not a part of every request.
            None => Box::pin(self.open(connector, fresh)).await?,
        };
        // From here on the lease counts it.
        counted.0 = None;
        Ok(Lease { sender: Some(sender), replica: Arc::clone(self), epoch, reused, returns: true })
    }

    /// A connection that may become another protocol's, and never serves another request.
    pub(super) async fn lease_to_upgrade(self: &Arc<Self>, connector: &Connector) -> Result<Lease, Unconnected> {
        self.under_way.fetch_add(1, Ordering::Relaxed);
        let mut counted = UnderWay(Some(self));
        let sender = Box::pin(connector.open_to_upgrade(&self.target)).await?;
        counted.0 = None;
        let sender = Some(Sender::One(sender));
        Ok(Lease { sender, replica: Arc::clone(self), epoch: 0, reused: false, returns: false })
    }

    /// Gives up every connection: what is under way on one ends on it, and nothing else is sent there.
    pub(super) fn retire(&self) {
        self.epoch.fetch_add(1, Ordering::AcqRel);
        let mut kept = self.kept();
        kept.one.clear();
        kept.two.clear();
    }

    async fn open(self: &Arc<Self>, connector: &Connector, fresh: bool) -> Result<(Sender, bool), Unconnected> {
        let turn = self.opening.acquire();
        let _turn = if connector.may_share() && !self.alone.load(Ordering::Relaxed) {
            let turn = timeout(connector.patience(), turn).await.map_err(|_| Unconnected::Slow)?;
            // Who had the turn before may have opened one with room for this request.
            if !fresh && let Some(sender) = self.idle() {
                return Ok((sender, true));
            }
            Some(turn)
        } else {
            None
        };
        let epoch = self.epoch.load(Ordering::Acquire);
        match connector.open(&self.target).await? {
            Opened::One(sender) => {
                self.alone.store(true, Ordering::Relaxed);
                Ok((Sender::One(sender), false))
            }
            Opened::Two(shared) => {
                self.alone.store(false, Ordering::Relaxed);
                let shared = Arc::new(shared);
                shared.streams.fetch_add(1, Ordering::Relaxed);
                let mut kept = self.kept();
                // One that was opened with what has been given up meanwhile serves this request and no other, and so does one too many.
                if epoch == self.epoch.load(Ordering::Acquire) && kept.two.len() < MOST_SHARED {
                    kept.two.push((Arc::clone(&shared), Instant::now()));
                    self.watch(&mut kept);
                }
                drop(kept);
                Ok((Sender::Two(shared), false))
            }
        }
    }

    /// An open connection with room.
    fn idle(&self) -> Option<Sender> {
        let mut kept = self.kept();
        if !kept.two.is_empty() {
            kept.two.retain(|(shared, _)| !shared.sender.is_closed());
            let load = |shared: &Shared| shared.streams.load(Ordering::Relaxed);
            let crowded = kept.two.len() >= MOST_SHARED;
            let least = kept.two.iter_mut().min_by_key(|(shared, _)| load(shared));
            if let Some((shared, used)) = least
                && (crowded || load(shared) < (shared.room)())
            {
                shared.streams.fetch_add(1, Ordering::Relaxed);
                *used = Instant::now();
                return Some(Sender::Two(Arc::clone(shared)));
            }
        }
        // The one that was used last is the one that the service has waited for least. One whose answer has just been read may
        // not be ready yet.
        let mut at = kept.one.len();
        for _ in 0..LOOKED_AT.min(at) {
            at -= 1;
            let Some((sender, _)) = kept.one.get(at) else { break };
            if sender.is_closed() {
                kept.one.remove(at);
            } else if sender.is_ready() {
                return Some(Sender::One(kept.one.remove(at).0));
            }
        }
        None
    }

    fn keep(self: &Arc<Self>, sender: http1::SendRequest<Uploading>, epoch: usize) {
        let mut kept = self.kept();
        if epoch != self.epoch.load(Ordering::Acquire) {
            return;
        }
        if kept.one.len() >= MOST_KEPT {
            kept.one.remove(0);
        }
        kept.one.push((sender, Instant::now()));
        self.watch(&mut kept);
    }

    /// Sees to it that connections are closed that nothing is sent on any more.
    fn watch(self: &Arc<Self>, kept: &mut Kept) {
        if kept.watched {
            return;
        }
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            kept.watched = true;
            runtime.spawn(close_unused(Arc::downgrade(self)));
        }
    }

    // For a few instructions, never across an await.
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn close_unused(replica: Weak<Replica>) {
    loop {
        sleep(IDLE / 2).await;
        let Some(replica) = replica.upgrade() else { return };
        let mut kept = replica.kept();
        kept.one.retain(|(sender, used)| !sender.is_closed() && used.elapsed() < IDLE);
        kept.two.retain(|(shared, used)| {
            let unused = shared.streams.load(Ordering::Relaxed) == 0 && used.elapsed() >= IDLE;
            !shared.sender.is_closed() && !unused
        });
        if kept.one.is_empty() && kept.two.is_empty() {
            kept.watched = false;
            return;
        }
    }
}

impl Lease {
    /// Whether other requests go over it at the same time.
    pub(super) fn is_shared(&self) -> bool {
        matches!(self.sender, Some(Sender::Two(_)))
    }

    /// No other request goes over it.
    pub(crate) fn spend(&mut self) {
        self.returns = false;
    }

    /// Sends a request, whose `Host` says what is asked, and waits for the head of the answer.
    pub(super) async fn send(
        &mut self,
        mut request: Request<Uploading>,
        scheme: &Scheme,
    ) -> Result<Response<Incoming>, Unanswered> {
        let sent = match &mut self.sender {
            Some(Sender::One(sender)) => {
                origin_form(&mut request);
                framed(&mut request);
                sender.try_send_request(request).await
            }
            Some(Sender::Two(shared)) => {
                absolute_form(&mut request, scheme);
                request.headers_mut().remove(TRANSFER_ENCODING);
                let mut sender = shared.sender.clone();
                sender.try_send_request(request).await
            }
            None => return Err(Unanswered { error: None, unsent: Some(request) }),
        };
        sent.map_err(|mut error| {
            let unsent = error.take_message();
            Unanswered { error: Some(error.into_error()), unsent }
        })
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.replica.under_way.fetch_sub(1, Ordering::Relaxed);
        match self.sender.take() {
            // One whose answer was not read to its end closes itself.
            Some(Sender::One(sender)) if self.returns && !sender.is_closed() => self.replica.keep(sender, self.epoch),
            Some(Sender::Two(shared)) => drop(shared.streams.fetch_sub(1, Ordering::Relaxed)),
            _ => {}
        }
    }
}

/// Says that there is a body, where its length does not: for some methods the library would send none.
fn framed(request: &mut Request<Uploading>) {
    if request.body().size_hint().exact().is_none() && !request.headers().contains_key(CONTENT_LENGTH) {
        request.headers_mut().insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
}

/// RFC 9112 section 3.2.1.
fn origin_form(request: &mut Request<Uploading>) {
    let Some(authority) = request.uri().authority() else { return };
    if let Ok(host) = HeaderValue::from_str(authority.as_str()) {
        request.headers_mut().insert(HOST, host);
    }
    request.headers_mut().remove(TE);
    let mut parts = http::uri::Parts::default();
    parts.path_and_query = request.uri().path_and_query().cloned();
    if let Ok(uri) = Uri::from_parts(parts) {
        *request.uri_mut() = uri;
    }
}

/// RFC 9113 section 8.3.1: `:authority` in place of `Host`. Who asks for trailers says so, as gRPC has it.
fn absolute_form(request: &mut Request<Uploading>, scheme: &Scheme) {
    if request.body().wants_trailers() {
        request.headers_mut().insert(TE, HeaderValue::from_static("trailers"));
    }
    let Some(host) = request.headers_mut().remove(HOST) else { return };
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(scheme.clone());
    parts.authority = Authority::try_from(host.as_bytes()).ok();
    parts.path_and_query = request.uri().path_and_query().cloned().or(Some(PathAndQuery::from_static("/")));
    if let Ok(uri) = Uri::from_parts(parts) {
        *request.uri_mut() = uri;
    }
}
