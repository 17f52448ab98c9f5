//! Figures that are taken inside a process, by the benches of the room they belong to.

use super::report::Report;
use crate::steps::{command, printed};
use crate::{Outcome, root};

/// Runs the benches of `deputize-ROOM` and keeps what they print.
pub(crate) fn measure(report: &mut Report, id: &str, room: &str) -> Outcome {
    report.heading(&format!("Inside {room} ({id})"));
    if !root().join("crates").join(room).join("benches").is_dir() {
        report.line(&format!("Not measured: crates/{room} has no benches."));
        return Ok(());
    }
    let said = printed(command("cargo", &["bench", "--quiet", "-p", &format!("deputize-{room}"), "--bench", "*"]))?;
    report.line("```text");
    said.lines().filter(|line| !line.trim().is_empty()).for_each(|line| report.line(line));
    report.line("```");
    Ok(())
}
