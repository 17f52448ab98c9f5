//! The last step before the command: a process that ends with the authority, and becomes the command.
use super::NOT_STARTED;
use crate::failure::{Failure, why};
use std::ffi::OsString;
use std::io::ErrorKind;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

/// Found, but nothing that can be run; and not found: as env(1) says it.
const NOT_EXECUTABLE: u8 = 126;
const NOT_FOUND: u8 = 127;

/// Options of the hidden command that becomes another.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The command and its arguments
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

/// `deputize run-start`.
pub(crate) fn run(options: Options) -> ExitCode {
    let Some((program, arguments)) = options.command.split_first() else { return ExitCode::from(NOT_STARTED) };
    let _ = nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGTERM);
    let error = Command::new(program).args(arguments).exec();
    let shown = program.to_string_lossy();
    Failure::new(format!("`{shown}` cannot be started: {}", why(&error)), "check its name and its permissions")
        .report();
    ExitCode::from(if error.kind() == ErrorKind::NotFound { NOT_FOUND } else { NOT_EXECUTABLE })
}
