//! The command with a sidecar beside it, and nothing else: no namespace, no authority. The sidecar is told what the environment
//! says, and asks the providers that it names.
use super::ending::{self, Signals};
use crate::beside::{self, Beside};
use crate::failure::{Failure, why};
use std::ffi::OsString;
use std::process::ExitCode;

/// Starts both, and ends as the command ends.
pub(in crate::run) fn run(program: &[OsString]) -> Result<ExitCode, Failure> {
    crate::log::start("error")?;
    // One thread: a child dies with the thread that started it.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::plain(format!("no runtime: {}", error.kind())))?;
    let ended = runtime.block_on(async {
        let mut signals = Signals::listen()?;
        let sidecar = Beside::start(beside::command()?, LEVEL).await?;
        let mut command = beside::start(program)?;
        command.envs(sidecar.variables()).envs(sidecar.identity());
        let failed = |error: std::io::Error| Failure::plain(format!("no process can be started: {}", why(&error)));
        let child = command.spawn().map_err(failed)?;
        ending::together(child, &mut signals, Some(sidecar)).await.map_err(failed)
    });
    runtime.shutdown_background();
    Ok(ending::like(ended?))
}

/// What sidecars log of a run: what goes wrong.
pub(super) const LEVEL: &str = "warn";
