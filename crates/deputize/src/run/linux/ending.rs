//! Signals and endings are the command's: what this process is told it passes on, and it ends as the command ended.
use super::NOT_STARTED;
use crate::beside::Beside;
use crate::failure::Failure;
use std::io::IsTerminal;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitCode, ExitStatus};
use std::task::Poll;
use tokio::process::Child;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Signals that are passed on.
pub(super) struct Signals(Vec<Signal>);

const INTERRUPT: i32 = 2;
const QUIT: i32 = 3;
const KINDS: [fn() -> SignalKind; 6] = [
    SignalKind::interrupt,
    SignalKind::quit,
    SignalKind::terminate,
    SignalKind::hangup,
    SignalKind::user_defined1,
    SignalKind::user_defined2,
];

impl Signals {
    /// From now on these signals do not end this process. Programs that it starts have them as ever.
    pub(super) fn listen() -> Result<Self, Failure> {
        let unheard = |error: std::io::Error| Failure::plain(format!("signals cannot be heard: {}", error.kind()));
        let heard: Result<Vec<Signal>, Failure> = KINDS.iter().map(|kind| signal(kind()).map_err(unheard)).collect();
        Ok(Self(heard?))
    }

    /// The next one. Of several at once, the first of the list.
    async fn next(&mut self) -> i32 {
        std::future::poll_fn(|context| {
            let heard = self.0.iter_mut().position(|signal| signal.poll_recv(context).is_ready());
            heard.and_then(|place| KINDS.get(place)).map_or(Poll::Pending, |kind| Poll::Ready(kind().as_raw_value()))
        })
        .await
    }
}

/// Waits for a child, passing signals on to it.
pub(super) async fn wait(child: &mut Child, signals: &mut Signals) -> std::io::Result<ExitStatus> {
    loop {
        tokio::select! {
            status = child.wait() => return status,
            signal = signals.next() => pass_on(child, signal),
        }
    }
}

/// Waits for a child that has a sidecar beside it, if it has: neither goes on without the other.
pub(super) async fn together(
    mut child: Child,
    signals: &mut Signals,
    sidecar: Option<Beside>,
) -> std::io::Result<ExitStatus> {
    let Some(mut sidecar) = sidecar else { return wait(&mut child, signals).await };
    let status = tokio::select! {
        status = wait(&mut child, signals) => status,
        () = sidecar.gone() => {
            Failure::plain("the sidecar ended, and so does the command").report();
            pass_on(&child, SignalKind::terminate().as_raw_value());
            wait(&mut child, signals).await
        }
    };
    sidecar.end().await;
    status
}

fn pass_on(child: &Child, signal: i32) {
    // What is typed at a terminal reaches every process in front of it, the command among them.
    let typed = matches!(signal, INTERRUPT | QUIT) && in_front();
    let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()).filter(|_| !typed) else { return };
    if let Ok(signal) = nix::sys::signal::Signal::try_from(signal) {
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal);
    }
}

fn in_front() -> bool {
    let front = |terminal: &dyn std::os::fd::AsFd| nix::unistd::tcgetpgrp(terminal.as_fd()).ok();
    let (input, error) = (std::io::stdin(), std::io::stderr());
    let front = if input.is_terminal() { front(&input) } else { front(&error) };
    front == Some(nix::unistd::getpgrp())
}

/// Ends as another process did. Nothing is dropped any more if that was by a signal.
pub(super) fn like(status: ExitStatus) -> ExitCode {
    if let Some(signal) = status.signal() {
        crate::log::flush();
        let _ = signal_hook::low_level::emulate_default_handler(signal);
        return ExitCode::from(u8::try_from(128 + signal).unwrap_or(NOT_STARTED));
    }
    ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(NOT_STARTED))
}
