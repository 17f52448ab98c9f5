//! How long a connection may be silent: long where an application keeps it for its next request, briefly where it owes a head.
use crate::listeners::Counts;
use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;
use tokio::time::{Instant, Sleep, sleep};

/// To send a request's head, the first one counted from the beginning of the connection.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// For a connection on which nothing is asked; longer than the pools of applications keep theirs, mostly.
pub(crate) const IDLE: Duration = Duration::from_mins(2);

/// For a caller that reads nothing of its answer.
const UNREAD: Duration = Duration::from_secs(30);

/// What is asked on one connection.
pub(crate) struct Asked {
    begun: AtomicUsize,
    over: AtomicUsize,
    /// Whether its frames say nothing of heads (HTTP/2).
    framed: AtomicBool,
    /// Answers in frames, of which the caller can leave each unread by itself. Held for moments only.
    answers: Mutex<Vec<Weak<Taken>>>,
    since: Instant,
    /// Whether the next answer is the last one on it.
    leaving: AtomicBool,
    /// Whether the process ends.
    ended: watch::Receiver<bool>,
    /// What the connection counts as, for as long as anything of it is there.
    _counts: Arc<Counts>,
}

impl Asked {
    pub(crate) fn new(ended: watch::Receiver<bool>, counts: Arc<Counts>) -> Self {
        Self {
            begun: AtomicUsize::new(0),
            over: AtomicUsize::new(0),
            framed: AtomicBool::new(false),
            answers: Mutex::default(),
            since: Instant::now(),
            leaving: AtomicBool::new(false),
            ended,
            _counts: counts,
        }
    }

    /// From now on each answer is the last one.
    pub(crate) fn leave(&self) {
        self.leaving.store(true, Ordering::Relaxed);
    }

    /// Whether HTTP/2 is spoken, as far as a request has shown it.
    pub(crate) fn is_framed(&self) -> bool {
        self.framed.load(Ordering::Relaxed)
    }

    /// An answer in frames begins; the others are bounded by what is written.
    fn watched(&self) -> Option<Arc<Taken>> {
        let framed = self.is_framed();
        framed.then(|| {
            let taken = Arc::new(Taken(AtomicU64::new(self.now())));
            let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
            answers.retain(|answer| answer.strong_count() > 0);
            answers.push(Arc::downgrade(&taken));
            taken
        })
    }

    /// Whether the caller takes nothing of an answer that is there for it, for too long.
    fn is_left_unread(&self) -> bool {
        let longest = u64::try_from(UNREAD.as_millis()).unwrap_or(u64::MAX);
        let now = self.now();
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let last = |answer: &Weak<Taken>| Some(answer.upgrade()?.0.load(Ordering::Relaxed));
        answers.iter().filter_map(last).any(|last| last != Taken::WAITS && now.saturating_sub(last) >= longest)
    }

    /// Milliseconds since the connection began.
    fn now(&self) -> u64 {
        u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX - 1)
    }

    /// A request has begun; it is over when what this returns is dropped.
    pub(crate) fn begin(self: &Arc<Self>, version: http::Version) -> Over {
        self.framed.store(version == http::Version::HTTP_2, Ordering::Relaxed);
        self.begun.fetch_add(1, Ordering::Relaxed);
        Over(Arc::clone(self))
    }
}

/// When something of an answer was taken last, in milliseconds since its connection began.
struct Taken(AtomicU64);

impl Taken {
    /// There is nothing to take: the answer itself waits.
    const WAITS: u64 = u64::MAX;
}

/// A request that is under way.
pub(crate) struct Over(Arc<Asked>);

impl Over {
    /// Whether its answer is the last one on its connection.
    pub(crate) fn is_last(&self) -> bool {
        self.0.leaving.load(Ordering::Relaxed)
    }
}

impl Drop for Over {
    fn drop(&mut self) {
        self.0.over.fetch_add(1, Ordering::Relaxed);
    }
}

/// A stream that ends when it is silent for too long.
pub(crate) struct Watched<S> {
    stream: S,
    asked: Arc<Asked>,
    /// How many requests had begun when the wait was set.
    seen: usize,
    /// Whether a head is owed, some of it being there.
    owed: bool,
    wait: Pin<Box<Sleep>>,
    /// Set while the other side takes nothing of what is written.
    unread: Option<Pin<Box<Sleep>>>,
}

impl<S> Watched<S> {
    pub(crate) fn new(stream: S, asked: Arc<Asked>) -> Self {
        // Who connects, asks.
        Self { stream, asked, seen: 0, owed: true, wait: Box::pin(sleep(PATIENCE)), unread: None }
    }

    /// Whether it was silent for too long. Leaves the alarm set, also while a request is under way: nobody reads when that ends.
    fn is_over(&mut self, context: &mut Context<'_>) -> bool {
        let begun = self.asked.begun.load(Ordering::Relaxed);
        let under_way = self.asked.over.load(Ordering::Relaxed) != begun;
        if !under_way && self.seen != begun {
            (self.seen, self.owed) = (begun, false);
            self.wait.as_mut().reset(Instant::now() + IDLE);
        }
        let looks = if under_way && self.asked.is_framed() { UNREAD / 3 } else { IDLE };
        // Only where answers are in frames is there more to look for than silence.
        if looks < IDLE && self.wait.deadline() > Instant::now() + looks {
            self.wait.as_mut().reset(Instant::now() + looks);
        }
        while self.wait.as_mut().poll(context).is_ready() {
            if !under_way || self.asked.is_left_unread() {
                return true;
            }
            // The request has a time of its own.
            self.wait.as_mut().reset(Instant::now() + looks);
        }
        false
    }

    /// A write that nobody takes for too long ends as a broken one.
    fn taken(&mut self, context: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            self.unread = None;
            return written;
        }
        let unread = self.unread.get_or_insert_with(|| Box::pin(sleep(UNREAD)));
        unread.as_mut().poll(context).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }

    /// Something came.
    fn heard(&mut self) {
        let begun = self.asked.begun.load(Ordering::Relaxed);
        let under_way = self.asked.over.load(Ordering::Relaxed) != begun;
        let kept = self.seen != begun || !self.owed;
        if kept && !under_way && !self.asked.framed.load(Ordering::Relaxed) {
            (self.seen, self.owed) = (begun, true);
            self.wait.as_mut().reset(Instant::now() + PATIENCE);
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = to.filled().len();
        match Pin::new(&mut self.stream).poll_read(context, to) {
            // As if the other side had ended.
            Poll::Pending if self.is_over(context) => Poll::Ready(Ok(())),
            Poll::Ready(Ok(())) if to.filled().len() > before => {
                self.heard();
                Poll::Ready(Ok(()))
            }
            other => other,
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.taken(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, bytes);
        self.taken(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// The body of an answer. Its request is over when all of it has been sent. One that waits for what is yet to come ends with the
/// process: its reader comes back elsewhere.
pub(crate) struct Sent<B> {
    body: B,
    over: Over,
    /// Whether it ends with the process when it waits.
    ends: bool,
    /// Made when it waits for the first time, which most never do.
    ending: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    taken: Option<Arc<Taken>>,
}

impl<B> Sent<B> {
    pub(crate) fn new(body: B, over: Over, ends: bool) -> Self {
        let taken = over.0.watched();
        Self { body, over, ends, ending: None, taken }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Sent<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let Self { body, over, ends, ending, taken } = &mut *self;
        let polled = Pin::new(body).poll_frame(context);
        if let Some(taken) = taken {
            taken.0.store(if polled.is_pending() { Taken::WAITS } else { over.0.now() }, Ordering::Relaxed);
        }
        match polled {
            Poll::Pending if *ends => {
                let ending = ending.get_or_insert_with(|| {
                    let mut ended = over.0.ended.clone();
                    Box::pin(async move { drop(ended.wait_for(|ended| *ended).await) })
                });
                ending.as_mut().poll(context).map(|()| None)
            }
            other => other,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
