//! Everything people run on this repository: `check`, `test`, `prove`, `bench`.
//!
//! ```text
//! cargo xtask check                 rules of the workspace: arrows, licences, banned crates, versions, words, written pages
//! cargo xtask generate              the pages that are written from the code, in docs/reference
//! cargo xtask test [--quick]        all of it, from formatting to real clients; --quick stops before the release build
//! cargo xtask test --only STEP      one step of it
//! cargo xtask prove [--only NAME]   the long forms of the proofs, in release builds
//! cargo xtask bench [--only PART]   what a request costs, beside the floor and a peer measured in the same run
//! ```
//!
//! `DEPUTIZE_BENCH_BEFORE=PATH` has `bench` measure an earlier release binary in turn with today's.
#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a development tool: it measures time, reads the environment and prints"
)]

mod bench;
mod check;
mod demo;
mod generate;
mod install;
mod offline;
mod prove;
mod steps;
mod test;

use mimalloc::MiMalloc;
use std::path::PathBuf;
use std::process::ExitCode;

/// The allocator of the product, so that the floor measured here is its floor.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// What went wrong, in words that say what to change.
pub(crate) type Outcome<T = ()> = Result<T, String>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["check"] => check::run(),
        ["generate"] => generate::run(),
        ["test", options @ ..] => test::run(options),
        ["prove", options @ ..] => prove::run(options),
        ["bench", options @ ..] => bench::run(options),
        ["bench-answer", port] => bench::answer(port),
        _ => Err("say one of: check, generate, test [--quick | --only STEP], prove [--only NAME], bench [--only PART]"
            .to_owned()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            println!("\nerror: {reason}");
            ExitCode::FAILURE
        }
    }
}

/// The folder that holds the workspace.
pub(crate) fn root() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.parent().map_or(here.clone(), PathBuf::from)
}

/// The name after `--only`, where there is one.
pub(crate) fn only<'a>(options: &[&'a str]) -> Outcome<Option<&'a str>> {
    match options {
        [] => Ok(None),
        ["--only", name] => Ok(Some(name)),
        _ => Err(format!("`{}` is not understood; say `--only NAME` or nothing", options.join(" "))),
    }
}
