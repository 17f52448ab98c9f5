//! The suite of programs that know no authority but Microsoft's: started by `deputize run`, on a machine without it.

use crate::demo::binary;
use crate::steps::{call, command};
use crate::{Outcome, root};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

const ESTATE: &str = "e2e/python/offline.toml";

/// What succeeds and what is refused, now, and two hours later, when what was issued has expired.
pub(crate) fn suite() -> Outcome {
    let data = root().join("target/demo/offline");
    if data.exists() {
        fs::remove_dir_all(&data).map_err(|error| format!("cannot empty {}: {error}", data.display()))?;
    }
    fs::create_dir_all(&data).map_err(|error| format!("cannot make {}: {error}", data.display()))?;
    let mut tried = prepared(command(binary(), &["run", "--quiet", "--estate", ESTATE, "--", "true"]), &data);
    let tried = tried.output().map_err(|error| format!("`deputize run` cannot be started: {error}"))?;
    let said = String::from_utf8_lossy(&tried.stderr);
    if said.contains("allows no namespace") {
        println!("SKIPPED: this kernel allows no user namespaces, so `deputize run` was not shown:\n{said}");
        println!("SKIPPED: the environment variables that it prints instead are shown");
        return told(&data);
    }
    let python = root().join(".venv/bin/python");
    let python = python.to_str().ok_or("the root of the workspace is no text")?;
    call(inside(&data, &[], &[python, "e2e/python/offline.py"]))?;
    call(inside(&data, &[], &["node", "e2e/node/offline.mjs"]))?;
    call(inside(&data, &["--ahead", "120", "--app-service"], &[python, "e2e/python/offline.py", "--later"]))?;
    call(prepared(command(binary(), &["run", "--quiet", "--", python, "e2e/python/offline_guide.py"]), &data))?;
    let sidecar = ["run", "--quiet", "--sidecar", "--estate", ESTATE, "--", python, "e2e/python/offline_sidecar.py"];
    let mut sidecar = prepared(command(binary(), &sidecar), &data);
    // What Azure tells the daemon of the estate.
    sidecar.env("AZURE_ENABLED", "true").env("AZURE_CLIENT_SECRET", secret("DAEMON"));
    sidecar.env("AZURE_TENANT_ID", "0ff11e00-0000-4000-8000-000000000001");
    sidecar.env("AZURE_CLIENT_ID", "0ff11e00-0000-4000-8000-0000000000c3");
    call(sidecar)?;
    told(&data)
}

fn inside(data: &Path, options: &[&str], program: &[&str]) -> Command {
    let mut run = command(binary(), &["run", "--quiet", "--estate", ESTATE, "--data"]);
    run.arg(data).args(options).arg("--").args(program);
    prepared(run, data)
}

/// The same program without a namespace, with the variables that are printed for it.
fn told(data: &Path) -> Outcome {
    let mut serving = prepared(command(binary(), &["run", "--outside", "18439", "--quiet", "--estate", ESTATE]), data);
    serving.arg("--data").arg(data.join("outside")).stdout(Stdio::piped());
    let mut serving =
        serving.spawn().map_err(|error| format!("`deputize run --outside` cannot be started: {error}"))?;
    let mut suite = prepared(command(root().join(".venv/bin/python"), &["e2e/python/offline.py", "--outside"]), data);
    suite.env("NO_PROXY", "localhost,127.0.0.1");
    let said = BufReader::new(serving.stdout.take().ok_or("its output is lost")?).lines();
    for line in said.map_while(Result::ok).take_while(|line| line != "# served until Ctrl-C") {
        if let Some((name, value)) = line.strip_prefix("export ").and_then(|line| line.split_once("='")) {
            suite.env(name, value.split('\'').next().unwrap_or_default());
        }
    }
    let outcome = call(suite);
    let ended = serving.kill().and_then(|()| serving.wait()).map_err(|error| format!("it could not be ended: {error}"));
    outcome.and(ended.map(drop))
}

/// The secrets that the estate reads from the environment.
fn prepared(mut command: Command, data: &Path) -> Command {
    for name in ["ORDERS", "WEB", "DAEMON", "OLD_DAEMON", "RETIRED"] {
        command.env(format!("OFFLINE_{name}"), secret(name));
    }
    command.env("DEPUTIZE", binary()).env("DEPUTIZE_DATA", data).env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

fn secret(name: &str) -> String {
    format!("a secret of {name}, for a test")
}
