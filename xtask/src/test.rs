//! `cargo xtask test`: from formatting to unmodified clients against the release binary.

use crate::demo::{Demo, binary, path};
use crate::steps::{self, Step, call, command, is_installed};
use crate::{Outcome, check, install, offline, only, root};
use std::process::Command;

/// Runs every step, the quick ones, or one.
pub(crate) fn run(options: &[&str]) -> Outcome {
    let mut steps = vec![
        Step::new("crates", install::crates),
        Step::new("fmt", || call(command("cargo", &["fmt", "--all", "--check"]))),
        Step::new("clippy", || {
            call(command("cargo", &["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"]))
        }),
        Step::new("check", check::run),
        Step::new("rust-tests", rust_tests),
        Step::new("doc-tests", || call(command("cargo", &["test", "--quiet", "--doc", "--workspace"]))),
    ];
    if options == ["--quick"] {
        return steps::run("test", &steps, None);
    }
    steps.push(Step::new("install", install::suites));
    steps.push(Step::new("release", release));
    steps.push(Step::new("e2e-python", || {
        let mut suite = command(root().join(".venv/bin/python"), &["e2e/python/suite.py"]);
        suite.env("PYTHONDONTWRITEBYTECODE", "1");
        against(&Demo::start("python")?, suite, "REQUESTS_CA_BUNDLE")
    }));
    steps.push(Step::new("e2e-sidecar", || {
        let mut suite = command(root().join(".venv/bin/python"), &["e2e/python/sidecar.py"]);
        suite.env("PYTHONDONTWRITEBYTECODE", "1").env("PATH", path()?);
        against(&Demo::start_with_sidecar("sidecar")?, suite, "REQUESTS_CA_BUNDLE")
    }));
    steps.push(Step::new("e2e-gateway", || {
        let mut suite = command(root().join(".venv/bin/python"), &["e2e/python/gateway.py"]);
        suite.env("PYTHONDONTWRITEBYTECODE", "1");
        against(&Demo::start_with_gateway("gateway")?, suite, "REQUESTS_CA_BUNDLE")
    }));
    steps.push(Step::new("e2e-node", || {
        against(&Demo::start("node")?, command("node", &["e2e/node/suite.mjs"]), "NODE_EXTRA_CA_CERTS")
    }));
    steps.push(Step::new("e2e-offline", offline::suite));
    steps::run("test", &steps, only(options)?)
}

/// The binary that people run, as the suites and the benchmark want it.
pub(crate) fn release() -> Outcome {
    call(command("cargo", &["build", "--release", "-p", "deputize"]))
}

fn rust_tests() -> Outcome {
    install::valkey()?;
    if is_installed("cargo-nextest") {
        return call(command("cargo", &["nextest", "run", "--workspace", "--status-level", "fail"]));
    }
    call(command("cargo", &["test", "--quiet", "--workspace", "--lib", "--bins", "--tests"]))
}

/// Tells a suite where its demo is. The demo's authority is trusted by naming its CA file in the variable that the suite's
/// libraries read: no certificate check is turned off.
fn against(demo: &Demo, mut suite: Command, trust_variable: &str) -> Outcome {
    suite.env(trust_variable, demo.text("/ca_file")?).env("DEPUTIZE_DEMO_ENV", &demo.env_file);
    suite.env("DEPUTIZE", binary()).env("DEPUTIZE_DATA", demo.data());
    suite.env("NO_PROXY", "localhost,127.0.0.1").env("DEPUTIZE_SCREENSHOTS", root().join("target/screenshots"));
    call(suite).map_err(|reason| format!("{reason}\nthe demo's own output: {}", demo.log_file.display()))
}
