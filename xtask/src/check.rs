//! The rules of the workspace that the compiler does not know: who may depend on whom, what may come in from outside,
//! and words that must not be left behind.

mod built;
mod licence;
mod rooms;
mod supply;
mod words;

use crate::{Outcome, generate, root};
use cargo_metadata::{Metadata, MetadataCommand};

/// One thing that is wrong, where, and what to change.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) place: String,
    pub(crate) problem: String,
    pub(crate) fix: String,
}

/// Applies every rule and prints all findings, not only the first.
pub(crate) fn run() -> Outcome {
    let metadata = metadata()?;
    let built = built::packages(&metadata);
    let rules: [(&str, Vec<Finding>); 5] = [
        ("arrows between rooms", rooms::findings(&rooms::arrows(&metadata))),
        ("licences", supply::licences(&built)),
        ("banned crates and least versions", supply::bans_and_floors(&built)),
        ("words and lock files", words::findings(&root())?),
        ("pages written from the code", generate::findings()?),
    ];
    let mut wrong = 0;
    for (rule, findings) in &rules {
        println!("{:<34} {}", rule, if findings.is_empty() { "ok" } else { "wrong" });
        for Finding { place, problem, fix } in findings {
            println!("  {place}: {problem}\n    fix: {fix}");
        }
        wrong += findings.len();
    }
    if wrong == 0 { Ok(()) } else { Err(format!("xtask check found {wrong} thing(s) to change")) }
}

fn metadata() -> Outcome<Metadata> {
    MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .other_options(vec!["--offline".to_owned()])
        .exec()
        .map_err(|error| format!("cargo metadata failed: {error}\nhint: run `cargo fetch` once, then again"))
}
