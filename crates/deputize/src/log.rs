//! Logs: JSON lines on standard error. Tokens and secrets have no way into them: their types cannot be shown.
mod waiting;

use crate::failure::Failure;
use crate::system;
use tracing_subscriber::EnvFilter;
use waiting::To;

/// The variable that says what is logged, such as `info` or `warn,deputize_guard=debug`.
const VARIABLE: &str = "DEPUTIZE_LOG";

/// Starts logging.
pub(crate) fn start(default: &str) -> Result<(), Failure> {
    let (wanted, from) = match system::variable(VARIABLE) {
        Some(wanted) => (wanted, format!("the variable {VARIABLE}")),
        None => (default.to_owned(), "the setting `log`".to_owned()),
    };
    let filter = filter(&wanted, &from)?;
    let logs = tracing_subscriber::fmt().json().with_env_filter(filter).with_writer(|| To::Error);
    // Only the first of a process counts.
    let _ = logs.try_init();
    Ok(())
}

/// What lets by what is wanted. A word that is no level would be taken for the only part of the program that is heard.
pub(crate) fn filter(wanted: &str, from: &str) -> Result<EnvFilter, Failure> {
    let levels = ["trace", "debug", "info", "warn", "error", "off"];
    let mut words = wanted.split(',').map(str::trim).filter(|word| !word.contains('='));
    let is_level = |word: &str| {
        word.is_empty() || word.contains('_') || levels.iter().any(|level| level.eq_ignore_ascii_case(word))
    };
    let read = if words.all(is_level) { EnvFilter::try_new(wanted).ok() } else { None };
    read.ok_or_else(|| Failure::new(format!("{from} is no log filter"), "use `info`, or `warn,deputize_guard=debug`"))
}

/// Starts logging as sidecars do: flat JSON lines on standard output, and `RUST_LOG` says what.
pub(crate) fn start_flat(default: &str) -> Result<(), Failure> {
    let wanted = system::variable("RUST_LOG").filter(|wanted| !wanted.is_empty());
    let filter = EnvFilter::try_new(wanted.as_deref().unwrap_or(default)).map_err(|_| {
        Failure::new("the variable RUST_LOG is no log filter", "use `info`, or `warn,deputize_fetch=debug`")
    })?;
    let logs = tracing_subscriber::fmt().json().flatten_event(true).with_env_filter(filter).with_writer(|| To::Output);
    // Only the first of a process counts.
    let _ = logs.try_init();
    Ok(())
}

/// Writes what was logged, before the process ends or says something else. A reader that takes nothing is not waited for.
pub(crate) fn flush() {
    waiting::flush();
}

/// As long as this is there, something may be logged; it is written when this goes, however it does.
pub(crate) struct Told;

impl Drop for Told {
    fn drop(&mut self) {
        flush();
    }
}

/// A panic is a defect. Its text may quote what a request held, so only its place is told.
pub(crate) fn hook_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        if tracing::enabled!(tracing::Level::ERROR) {
            tracing::error!(panic.place = %place, "a defect: please report it");
        } else {
            use std::io::Write as _;
            let _ = writeln!(std::io::stderr(), "error: a defect at {place}\nhint: please report it");
        }
    }));
}
