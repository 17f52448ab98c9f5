//! An open WebSocket: both directions, until one side closes, or it is over.
use super::Opening;
use super::frames::{Frames, close};
use crate::body::Progress;
use crate::stream::{Over, Watch};
use crate::upstream::{Lease, Slot};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use std::future::poll_fn;
use std::io;
use std::ops::Range;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, sleep_until, timeout};

/// How much is held of each direction.
const HELD: usize = 16 << 10;
/// How long the other side has to end once one has, and to take a Close.
const PARTING: Duration = Duration::from_secs(5);
/// The token is good no more (an application's code, by the status that it would be).
const UNAUTHORIZED: u16 = 4401;
/// RFC 6455 section 7.4.1.
const GOING_AWAY: u16 = 1001;

/// What an open WebSocket is made of.
pub(crate) struct Tunnel {
    pub(crate) opening: Box<Opening>,
    pub(crate) service: OnUpgrade,
    pub(crate) watch: Watch,
    pub(crate) idle: Duration,
    pub(crate) progress: Progress,
    pub(crate) _slot: Slot,
    pub(crate) _lease: Lease,
}

/// One direction.
struct Direction {
    frames: Frames,
    bytes: u64,
    held: Vec<u8>,
    /// What of it came, and has not been passed on.
    due: Range<usize>,
}

impl Direction {
    fn new() -> Self {
        Self { frames: Frames::default(), bytes: 0, held: vec![0; HELD], due: 0..0 }
    }

    /// Carries bytes until one side ends. Who is stopped anywhere goes on there: nothing is lost or sent twice.
    async fn carry(
        &mut self,
        mut from: impl AsyncRead + Unpin,
        mut to: impl AsyncWrite + Unpin,
        progress: &Progress,
    ) -> io::Result<()> {
        loop {
            while let Some(some) = self.held.get(self.due.clone()).filter(|some| !some.is_empty()) {
                let length = to.write(some).await?;
                let Some(passed) = some.get(..length).filter(|passed| !passed.is_empty()) else {
                    return Err(io::ErrorKind::WriteZero.into());
                };
                self.frames.pass(passed);
                self.due.start += length;
                self.bytes += length as u64;
            }
            to.flush().await?;
            let length = from.read(&mut self.held).await?;
            if length == 0 {
                return Ok(());
            }
            progress.stir();
            self.due = 0..length;
        }
    }

    fn may_close(&self) -> bool {
        self.due.is_empty() && self.frames.may_close()
    }
}

/// How it ended.
enum Ended {
    /// The service's side, or the caller's.
    Service,
    Caller,
    With(u16, String),
}

impl Tunnel {
    /// Carries until it is over; how many bytes went by, whether a side ended it, and what makes the process wait for it.
    pub(crate) async fn run(self) -> (u64, bool, Option<serve::Kept>) {
        let Self { opening, service, mut watch, idle, progress, _slot, _lease } = self;
        let Opening { on_upgrade, mut kept, .. } = *opening;
        let Ok(Ok((caller, service))) =
            timeout(PARTING, async { Ok::<_, hyper::Error>((on_upgrade.await?, service.await?)) }).await
        else {
            return (0, false, kept);
        };
        let (mut from_caller, mut to_caller) = tokio::io::split(TokioIo::new(caller));
        let (mut from_service, mut to_service) = tokio::io::split(TokioIo::new(service));
        let (mut up, mut down) = (Direction::new(), Direction::new());
        progress.stir();
        let ended = tokio::select! {
            biased;
            over = poll_fn(|context| watch.poll_over(context)) => {
                Ended::With(if over == Over::Lasted { GOING_AWAY } else { UNAUTHORIZED }, over.to_string())
            }
            () = silence(&progress, idle) => Ended::With(GOING_AWAY, "both sides were silent for too long".to_owned()),
            () = ending(kept.as_mut()) => Ended::With(GOING_AWAY, "the gateway ends".to_owned()),
            _ = down.carry(&mut from_service, &mut to_caller, &progress) => Ended::Service,
            _ = up.carry(&mut from_caller, &mut to_service, &progress) => Ended::Caller,
        };
        let parting = async {
            match &ended {
                // The other side may have a last word, such as its own Close.
                Ended::Service => {
                    let _ = to_caller.shutdown().await;
                    let _ = up.carry(&mut from_caller, &mut to_service, &progress).await;
                }
                Ended::Caller => {
                    let _ = to_service.shutdown().await;
                    let _ = down.carry(&mut from_service, &mut to_caller, &progress).await;
                }
                Ended::With(code, reason) => {
                    if down.may_close() {
                        let _ = to_caller.write_all(&close(*code, reason, false)).await;
                    }
                    if up.may_close() {
                        let _ = to_service.write_all(&close(GOING_AWAY, "", true)).await;
                    }
                    let _ = tokio::join!(to_caller.shutdown(), to_service.shutdown());
                }
            }
        };
        let _ = timeout(PARTING, parting).await;
        (up.bytes.saturating_add(down.bytes), !matches!(ended, Ended::With(..)), kept)
    }
}

/// Ends once both sides have been silent for so long.
async fn silence(progress: &Progress, idle: Duration) {
    loop {
        let until = progress.patience(idle);
        if until <= Instant::now() {
            return;
        }
        sleep_until(until).await;
    }
}

/// Ends when the process does.
async fn ending(kept: Option<&mut serve::Kept>) {
    match kept {
        Some(kept) => kept.ending().await,
        None => std::future::pending().await,
    }
}
