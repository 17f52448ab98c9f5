//! The table that is printed and kept.

use super::load::Figures;
use crate::steps::{command, printed};
use crate::{Outcome, root};
use std::fmt::Write as _;
use std::fs;

/// Lines of Markdown: what is printed is what is written.
pub(crate) struct Report {
    text: String,
}

/// A figure's worth: what it may be at most.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target {
    /// The signatures alone.
    pub(crate) floor: f64,
    pub(crate) most: f64,
}

impl Report {
    pub(crate) fn new() -> Outcome<Self> {
        let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model =
            cpus.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("").trim_matches(['\t', ' ', ':']);
        let cores = cpus.lines().filter(|line| line.starts_with("processor")).count();
        let date = printed(command("date", &["-u", "+%Y-%m-%d"]))?;
        let mut report = Self { text: String::new() };
        report.line("# What a request costs");
        report.line("");
        report.line(&format!(
            "Measured by `cargo xtask bench` on {}, {model}, {cores} cores. Only ratios count.",
            date.trim()
        ));
        Ok(report)
    }

    pub(crate) fn line(&mut self, line: &str) {
        println!("{line}");
        self.text.push_str(line);
        self.text.push('\n');
    }

    pub(crate) fn heading(&mut self, heading: &str) {
        self.line("");
        self.line(&format!("## {heading}"));
        self.line("");
    }

    pub(crate) fn begin_loads(&mut self) {
        self.line("| id | work | CPU µs/request | x floor | target µs | | req/s | p50 | p99 | RSS MiB |");
        self.line("|---|---|---|---|---|---|---|---|---|---|");
    }

    /// One row; where there is no target the row is there to compare with.
    pub(crate) fn load(&mut self, id: &str, work: &str, figures: &Figures, target: Option<Target>) {
        let Figures { cpu, per_second, p50, p99, resident } = figures;
        let mut judged = String::from(" | | ");
        if let Some(Target { floor, most }) = target {
            judged.clear();
            let verdict = if *cpu <= most { "met" } else { "missed" };
            // Writing to a String cannot fail.
            let _ = write!(judged, "{:.2} | {most:.0} | {verdict}", cpu / floor);
        }
        self.line(&format!(
            "| {id} | {work} | {cpu:.1} | {judged} | {per_second:.0} | {p50} | {p99} | {resident:.1} |"
        ));
    }

    pub(crate) fn write(&self) -> Outcome {
        let folder = root().join("benches/results");
        let file = folder.join("authority.md");
        fs::create_dir_all(&folder)
            .and_then(|()| fs::write(&file, &self.text))
            .map_err(|error| format!("cannot write {}: {error}", file.display()))?;
        println!("written to {}", file.display());
        Ok(())
    }
}
