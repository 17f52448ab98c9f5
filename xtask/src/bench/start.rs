//! From nothing to the first answer: a machine, a person.

use super::form;
use super::report::Report;
use crate::Outcome;
use crate::demo::{Demo, binary};
use crate::steps::{call, command, printed};
use std::fs;
use std::time::Instant;

/// Start to first token on an empty store, and the binary's size.
pub(crate) fn measure(report: &mut Report) -> Outcome {
    report.heading("Start and size");
    for _ in 0..3 {
        let began = Instant::now();
        let demo = Demo::start_for_load("start", &binary())?;
        let body = form::encode(&[
            ("grant_type", "client_credentials"),
            ("client_id", demo.text("/clients/daemon/app_id")?),
            ("client_secret", demo.text("/clients/daemon/client_secret")?),
            ("scope", &format!("{}/.default", demo.text("/apis/billing/identifier_uri")?)),
        ]);
        let path = format!("/{}/oauth2/v2.0/token", demo.text("/tenant/id")?);
        form::token(form::post(demo.plain_port, &path, &body)?)?;
        let took = began.elapsed().as_secs_f64() * 1e3;
        report.line(&format!("- start of the demo on an empty store to the first token: {took:.0} ms"));
    }
    let size = fs::metadata(binary()).map_err(|error| format!("no release binary: {error}"))?.len();
    report.line(&format!(
        "- release binary: {:.1} MiB",
        f64::from(u32::try_from(size / 1024).unwrap_or(u32::MAX)) / 1024.0
    ));
    Ok(())
}

/// P14: what somebody waits who has just cloned this.
pub(crate) fn people(report: &mut Report) -> Outcome {
    report.heading("People (P14)");
    let folder = crate::root().join("target/bench/fresh");
    if folder.exists() {
        fs::remove_dir_all(&folder).map_err(|error| format!("cannot empty {}: {error}", folder.display()))?;
    }
    let began = Instant::now();
    let mut build = command("cargo", &["build", "--quiet", "--release", "-p", "deputize", "--target-dir"]);
    build.arg(&folder);
    call(build)?;
    report.line(&format!(
        "- build of the release binary from nothing: {:.0} s (target: 360 s on 2 cores)",
        began.elapsed().as_secs_f64()
    ));
    let began = Instant::now();
    let told = printed(command(folder.join("release/deputize"), &["demo", "--once"]))?;
    let took = began.elapsed().as_secs_f64();
    report.line(&format!("- `demo --once`, {} lines: {took:.1} s (target: 5 s)", told.lines().count()));
    fs::remove_dir_all(&folder).map_err(|error| format!("cannot remove {}: {error}", folder.display()))
}
