//! A running `deputize demo`, on ports of its own, ended when dropped.

use crate::steps::{call, command};
use crate::{Outcome, root};
use serde_json::Value;
use std::fs::{self, File};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

const LONGEST_START: Duration = Duration::from_mins(1);
const LONGEST_STOP: Duration = Duration::from_secs(5);

/// A demo with its own data folder below `target/demo/NAME`.
pub(crate) struct Demo {
    child: Child,
    pub(crate) env: Value,
    /// Where a demo for load listens without TLS.
    pub(crate) plain_port: u16,
    pub(crate) env_file: PathBuf,
    pub(crate) log_file: PathBuf,
}

impl Demo {
    /// Starts the release binary on an empty store and waits until its three servers accept connections.
    pub(crate) fn start(name: &str) -> Outcome<Self> {
        let first = free_ports()?;
        let (identities, issuer) = ((first + 4).to_string(), format!("https://localhost:{}", first + 5));
        let demo = ["demo", "--port", &first.to_string(), "--identity-port", &identities, "--issuer", &issuer];
        Self::spawn(name, command(binary(), &demo), first)
    }

    /// The same with Orders as a Python program and a sidecar beside it. The program finds its libraries in `.venv`.
    pub(crate) fn start_with_sidecar(name: &str) -> Outcome<Self> {
        let first = free_ports()?;
        let mut demo = command(binary(), &["demo", "--sidecar", "--port", &first.to_string()]);
        demo.env("PATH", path()?);
        Self::spawn(name, demo, first)
    }

    /// The same with a gateway before the APIs.
    pub(crate) fn start_with_gateway(name: &str) -> Outcome<Self> {
        let first = free_ports()?;
        Self::spawn(name, command(binary(), &["demo", "--gateway", "--port", &first.to_string()]), first)
    }

    /// The same for the benchmark: a program on the first core alone, with a plaintext loopback listener beside the others.
    pub(crate) fn start_for_load(name: &str, program: &Path) -> Outcome<Self> {
        let first = free_ports()?;
        let mut demo = command("taskset", &["-c", "0"]);
        demo.arg(program).args(["demo", "--port", &first.to_string(), "--plain-port", &(first + 3).to_string()]);
        Self::spawn(name, demo, first)
    }

    fn spawn(name: &str, mut demo: Command, first_port: u16) -> Outcome<Self> {
        let folder = root().join("target/demo").join(name);
        if folder.exists() {
            fs::remove_dir_all(&folder).map_err(|error| format!("cannot empty {}: {error}", folder.display()))?;
        }
        fs::create_dir_all(&folder).map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
        let (env_file, log_file) = (folder.join("env.json"), folder.join("demo.log"));
        let log = File::create(&log_file).map_err(|error| format!("cannot write {}: {error}", log_file.display()))?;
        let errors = log.try_clone().map_err(|error| error.to_string())?;
        demo.arg("--env").arg(&env_file).arg("--data").arg(folder.join("data"));
        demo.stdin(Stdio::null()).stdout(log).stderr(errors);
        let child = demo.spawn().map_err(|error| {
            format!("the demo could not be started: {error}\nhint: cargo build --release -p deputize")
        })?;
        let mut demo = Self { child, env: Value::Null, plain_port: first_port + 3, env_file, log_file };
        demo.wait_until_up()?;
        Ok(demo)
    }

    /// Its data folder.
    pub(crate) fn data(&self) -> PathBuf {
        self.env_file.with_file_name("data")
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A member of the file that the demo wrote, by JSON pointer.
    pub(crate) fn text(&self, pointer: &str) -> Outcome<&str> {
        let member = self.env.pointer(pointer).and_then(Value::as_str);
        member.ok_or_else(|| format!("{} has no text at `{pointer}`", self.env_file.display()))
    }

    fn wait_until_up(&mut self) -> Outcome {
        let began = Instant::now();
        while !self.is_up() {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(format!("the demo ended with {status} before it was up:\n{}", self.last_words()));
            }
            if began.elapsed() > LONGEST_START {
                return Err(format!("the demo was not up after {LONGEST_START:?}:\n{}", self.last_words()));
            }
            sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    fn is_up(&mut self) -> bool {
        let read = fs::read(&self.env_file).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let Some(env) = read else { return false };
        self.env = env;
        ["/authority_host", "/apis/orders/url", "/apis/billing/url"].iter().all(|pointer| {
            let address = self.text(pointer).ok().and_then(|url| url.split('/').nth(2));
            address.is_some_and(|address| TcpStream::connect(address).is_ok())
        })
    }

    fn last_words(&self) -> String {
        let log = fs::read_to_string(&self.log_file).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines.get(lines.len().saturating_sub(30)..).unwrap_or_default().join("\n")
    }
}

impl Drop for Demo {
    /// Asks first, so that the store is closed in order, and kills what does not listen.
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(None)) {
            return;
        }
        let asked = call(command("kill", &["-TERM", &self.child.id().to_string()]));
        let began = Instant::now();
        while asked.is_ok() && began.elapsed() < LONGEST_STOP {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            sleep(Duration::from_millis(20));
        }
        if self.child.kill().and_then(|()| self.child.wait()).is_err() {
            println!("the demo (process {}) could not be ended", self.child.id());
        }
    }
}

/// Where programs are found, those of `.venv` first.
pub(crate) fn path() -> Outcome<String> {
    let before = std::env::var("PATH").map_err(|error| format!("PATH cannot be read: {error}"))?;
    Ok(format!("{}:{before}", root().join(".venv/bin").display()))
}

/// The program that people run.
pub(crate) fn binary() -> PathBuf {
    root().join("target/release/deputize")
}

/// The first of six free ports in a row: the demo takes them for the authority, Orders and Billing; the benchmark adds one; one
/// is for managed identities, and one for an issuer that a suite runs.
pub(crate) fn free_ports() -> Outcome<u16> {
    (18_440..28_000)
        .step_by(10)
        .find(|first| (*first..first + 6).all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok()))
        .ok_or_else(|| "no six free ports in a row between 18440 and 28000".to_owned())
}
