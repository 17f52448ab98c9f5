//! P3, P4, P9 and P10: the sidecar under load, as it is shipped, beside a bare answer measured in the same run.

use super::authority::bare;
use super::crypto;
use super::form;
use super::load::{self, Figures};
use super::provider::Provider;
use super::report::{Report, Target};
use crate::demo::{binary, free_ports};
use crate::steps::command;
use crate::{Outcome, root};
use serde_json::Value;
use std::fs::File;
use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

const ROUNDS: usize = 2;
/// Users whose exchanges are asked for in turn.
const USERS: usize = 1_000;
/// Tokens that are seen once each: more than one core can introspect while they are sent.
const STRANGERS: usize = 180_000;
/// A private key of no use to anybody: it was made for this.
const JWK: &str = r#"{"kty":"EC","crv":"P-256","alg":"ES256","kid":"bench","use":"sig","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM","d":"870MB6gfuTJ4HtUnUvYMyJpr5eUZNP4Bk43bVdj3eAE"}"#;
/// What Texas was measured at, on a like machine (`design/performance.md`): it is in no registry that this can install from.
const TEXAS: &str = "Texas b7b2193 is not measured here, being in no package registry. On a like machine, telemetry on: cached \
                     exchange 49-57 µs, machine token 51 µs (22 with all telemetry off), introspection 334 µs, 13-21 MiB, \
                     start 71-99 ms.";

/// A running sidecar.
struct Sidecar {
    child: Child,
    port: u16,
}

impl Sidecar {
    /// Starts it with the variables that a platform injects, on these cores; waits for its first answer.
    fn start(provider: &Provider, cores: &str) -> Outcome<(Self, Duration)> {
        Self::start_with(provider, cores, &[])
    }

    /// The same, with further variables.
    fn start_with(provider: &Provider, cores: &str, more: &[(&str, &str)]) -> Outcome<(Self, Duration)> {
        let port = free_ports()?;
        let mut sidecar = command("taskset", &["-c", cores]);
        sidecar.arg(binary()).arg("sidecar").env("BIND_ADDRESS", format!("127.0.0.1:{port}"));
        sidecar.env("METRICS_BIND_ADDRESS", format!("127.0.0.1:{}", port + 1));
        sidecar.env("PROBE_BIND_ADDRESS", format!("127.0.0.1:{}", port + 2));
        for (switch, id, key, prefix) in [
            ("AZURE_ENABLED", "AZURE_APP_CLIENT_ID", "AZURE_APP_JWK", "AZURE_OPENID_CONFIG_"),
            ("TOKEN_X_ENABLED", "TOKEN_X_CLIENT_ID", "TOKEN_X_PRIVATE_JWK", "TOKEN_X_"),
            ("MASKINPORTEN_ENABLED", "MASKINPORTEN_CLIENT_ID", "MASKINPORTEN_CLIENT_JWK", "MASKINPORTEN_"),
        ] {
            sidecar.env(switch, "true").env(id, "default").env(key, JWK);
            sidecar.env(format!("{prefix}ISSUER"), provider.issuer());
            sidecar.env(format!("{prefix}JWKS_URI"), format!("{}/jwks", provider.issuer()));
            sidecar.env(format!("{prefix}TOKEN_ENDPOINT"), format!("{}/token", provider.issuer()));
        }
        sidecar.envs(more.iter().copied());
        let log = root().join("target/bench/sidecar.log");
        let log = std::fs::create_dir_all(root().join("target/bench")).and_then(|()| File::create(log));
        let log = log.map_err(|error| format!("cannot write below target/bench: {error}"))?;
        sidecar.stdin(Stdio::null()).stdout(log).stderr(Stdio::inherit());
        let began = Instant::now();
        let child = sidecar.spawn().map_err(|error| format!("the sidecar could not be started: {error}"))?;
        let mut sidecar = Self { child, port };
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if !matches!(sidecar.child.try_wait(), Ok(None)) || began.elapsed() > Duration::from_secs(20) {
                return Err("the sidecar does not listen; see target/bench/sidecar.log".to_owned());
            }
            sleep(Duration::from_micros(500));
        }
        let answer = form::post(port, "/api/v1/introspect", "identity_provider=entra_id&token=x")?;
        if answer.1.get("active") != Some(&Value::Bool(false)) {
            return Err(format!("the first answer is another than was due: {answer:?}"));
        }
        Ok((sidecar, began.elapsed()))
    }

    fn pid(&self) -> u32 {
        self.child.id()
    }

    fn drive(&self, path: &str, bodies: &[String]) -> Outcome<Figures> {
        load::drive(self.pid(), &format!("http://127.0.0.1:{}{path}", self.port), bodies)
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        if self.child.kill().and_then(|()| self.child.wait()).is_err() {
            println!("the sidecar (process {}) could not be ended", self.child.id());
        }
    }
}

pub(crate) fn measure(report: &mut Report) -> Outcome {
    let (floor, bare) = (crypto::measure()?, bare()?);
    let port = free_ports()? + 5;
    let provider = Arc::new(Provider::new(port)?);
    provider.serve(port)?;
    report.heading("The sidecar, plain HTTP/1.1 on loopback, one core, 16 connections, metrics and logs on");
    report.line(TEXAS);
    report.line("");
    report.line(&format!("H, a bare hyper answer: {:.1} µs. RS256: verify {:.1} µs.", bare.cpu, floor.rs256.verify));

    let (sidecar, _) = Sidecar::start(&provider, "0")?;
    load::settle(sidecar.pid())?;
    let idle = load::resident_mib(sidecar.pid())?;
    let hit = Target { floor: bare.cpu, most: 2.0 * bare.cpu };
    let first = Target { floor: floor.rs256.verify, most: 17.0 + 2.5 * bare.cpu };
    let user = |id| provider.token(id);
    let exchange = |token: &str| format!("identity_provider=entra_id&target=default&user_token={token}");
    let introspect = |token: &str| format!("identity_provider=entra_id&token={token}");
    let one = user(0)?;
    let many: Vec<String> = (0..USERS).map(|id| Ok(exchange(&user(id)?))).collect::<Outcome<_>>()?;

    report.begin_loads();
    let machine = vec!["identity_provider=entra_id&target=default".to_owned()];
    for (id, name, path, bodies) in [
        ("P3", "cached exchange, one user", "/api/v1/token/exchange", vec![exchange(&one)]),
        ("P3", "cached exchange, 1 000 users in turn", "/api/v1/token/exchange", many),
        ("P3", "cached machine token", "/api/v1/token", machine),
        ("P4", "introspect RS256, a token seen before", "/api/v1/introspect", vec![introspect(&one)]),
    ] {
        looked_at(&sidecar, path, bodies.first().map(String::as_str).unwrap_or_default())?;
        for _ in 0..ROUNDS {
            report.load(id, name, &sidecar.drive(path, &bodies)?, Some(hit));
        }
    }
    let strangers: Vec<String> =
        (USERS..USERS + STRANGERS).map(|id| Ok(introspect(&user(id)?))).collect::<Outcome<_>>()?;
    let url = format!("http://127.0.0.1:{}/api/v1/introspect", sidecar.port);
    let alone = load::drive_once(sidecar.pid(), &url, &strangers)?;
    report.load("P4", "introspect RS256, each token for the first time", &alone, Some(first));
    let loaded = load::resident_mib(sidecar.pid())?;
    drop(sidecar);

    // Metrics and traces are pushed to a collector that is not there, as Texas was measured.
    let collector = format!("http://127.0.0.1:{}", free_ports()? + 9);
    let (traced, _) = Sidecar::start_with(&provider, "0", &[("OTEL_EXPORTER_OTLP_ENDPOINT", &collector)])?;
    let (path, body) = ("/api/v1/token/exchange", exchange(&one));
    looked_at(&traced, path, &body)?;
    for _ in 0..ROUNDS {
        report.load(
            "P3",
            "cached exchange, one user, traced",
            &traced.drive(path, std::slice::from_ref(&body))?,
            Some(hit),
        );
    }
    drop(traced);

    let (sidecar, _) = Sidecar::start(&provider, "0,1")?;
    let url = format!("http://127.0.0.1:{}/api/v1/introspect", sidecar.port);
    let two = load::drive_once(sidecar.pid(), &url, &strangers)?;
    report.load("P4", "the same with two workers", &two, Some(Target { most: 1.1 * alone.cpu, ..first }));
    drop(sidecar);

    report.line("");
    report.line(&format!(
        "- P9, resident memory of the sidecar: {idle:.1} MiB idle (target: 12), {loaded:.1} MiB under load."
    ));
    for _ in 0..3 {
        let (_, took) = Sidecar::start(&provider, "0")?;
        let took = took.as_secs_f64() * 1e3;
        report.line(&format!("- P10, start to first answer: {took:.0} ms (target: 50 ms)"));
    }
    Ok(())
}

/// A token, or a token that is good: looked at before it is measured.
fn looked_at(sidecar: &Sidecar, path: &str, body: &str) -> Outcome {
    let answer = form::post(sidecar.port, path, body)?;
    let good = answer.0 == 200
        && (answer.1.get("active") == Some(&Value::Bool(true)) || answer.1.get("access_token").is_some());
    if good { Ok(()) } else { Err(format!("{path} answers {answer:?}")) }
}
