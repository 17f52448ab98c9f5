//! `cargo xtask bench`: what a request costs, beside the floor (signatures alone), a bare HTTP server and a peer, all
//! measured in the same run. Only ratios within one run count; no figure fails a build, a wrong answer does.

mod answer;
mod authority;
mod crypto;
mod form;
mod gateway;
mod inside;
mod load;
mod peer;
mod provider;
mod report;
mod sidecar;
mod start;

use crate::steps::{self, Step, command};
use crate::{Outcome, install, only, test};
use report::Report;
use std::cell::RefCell;
use std::os::unix::process::CommandExt;
use std::rc::Rc;

/// A bare server for comparison; `bench` starts this program again to run it.
pub(crate) use answer::serve as answer;

/// Measures every part, or one, prints it, and writes it to `benches/results/`.
pub(crate) fn run(options: &[&str]) -> Outcome {
    if cfg!(debug_assertions) {
        // The floor and the bare server are part of this program: they must be optimised like what stands beside them.
        let again = [&["run", "--quiet", "--release", "-p", "xtask", "--", "bench"], options].concat();
        return Err(format!("cargo could not be started: {}", command("cargo", &again).exec()));
    }
    let report = Rc::new(RefCell::new(Report::new()?));
    let part = |name, measure: fn(&mut Report) -> Outcome| {
        let report = Rc::clone(&report);
        Step::new(name, move || measure(&mut report.borrow_mut()))
    };
    let parts = [
        Step::new("release", test::release),
        Step::new("install", || {
            install::debian(&[("wrk", "wrk")])?;
            install::suites()?;
            install::node("e2e/peer")
        }),
        part("authority", authority::measure),
        part("sidecar", sidecar::measure),
        part("gateway", gateway::measure),
        part("start", start::measure),
        part("guard", |report| inside::measure(report, "P8", "guard")),
        part("store", |report| inside::measure(report, "P13", "store")),
        part("people", start::people),
    ];
    let only = only(options)?;
    steps::run("bench", &parts, only)?;
    // One part alone is printed and does not replace the whole table.
    if only.is_none() { report.borrow().write() } else { Ok(()) }
}
