//! The end of a gateway: what is under way has its time, and what is kept of it is written.
use super::doors::Listening;
use crate::serve::Ending;
use gateway::{AccessLog, Store};
use serve::DRAIN;
use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use telemetry::Pushing;
use tokio::time::timeout;

/// For what is written last, where somebody is slow to take it.
pub(super) const LAST: Duration = Duration::from_secs(1);

/// What a gateway that ends has left to do.
pub(super) struct Left {
    pub(super) listening: Listening,
    pub(super) access_log: Arc<AccessLog>,
    pub(super) store: Option<Arc<Store>>,
    pub(super) pushing: Option<Pushing>,
}

impl Left {
    /// Ends in order, or at once where that is asked for again.
    pub(super) async fn end(self, ending: &mut Ending) -> ExitCode {
        let Self { mut listening, access_log, store, pushing } = self;
        let is_in_order = tokio::select! {
            () = listening.drain(DRAIN) => true,
            () = ending.asked() => false,
        };
        if !is_in_order {
            tracing::warn!("asked to end once more; what is under way is cut off");
        }
        listening.cut().await;
        let told = async {
            let lines = access_log.take();
            let _ = timeout(LAST, tokio::task::spawn_blocking(move || write(&lines))).await;
            if let Some(store) = store {
                store.flush().await;
            }
            if let Some(pushing) = pushing {
                pushing.end().await;
            }
        };
        let is_told = tokio::select! {
            () = told => true,
            () = ending.asked() => false,
        };
        if is_in_order && is_told { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

/// Writes lines of the access log.
pub(super) fn write(lines: &[u8]) {
    let mut out = std::io::stdout().lock();
    // Nobody reads them: requests go on.
    let _ = out.write_all(lines).and_then(|()| out.flush());
}
