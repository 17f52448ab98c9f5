//! A sidecar in a process of its own, beside a program that is told where it is.
use crate::failure::{Failure, why};
use crate::system;
use data_encoding::HEXLOWER;
use serde_json::Value;
use sidecar::ManagedIdentity;
use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

/// Ends with this value.
pub(crate) struct Beside {
    child: Child,
    /// `127.0.0.1:PORT`.
    address: String,
    /// Where programs get their identity as on Azure, and the secret that they show there; where it has one for them.
    identity: Option<(String, String)>,
    /// Of its own API, where that is served.
    native: Option<String>,
}

/// What `deputize sidecar` logs when it serves.
pub(crate) const SERVES: &str = "the sidecar serves";
/// What it logs before, of each further listener.
pub(crate) const SERVES_TOO: &str = "the sidecar serves there too";
/// The setting of the listener for managed identity.
pub(crate) const IDENTITY_BIND: &str = "IDENTITY_BIND_ADDRESS";
/// The setting of the listener for its own API.
pub(crate) const NATIVE_BIND: &str = "NATIVE_BIND_ADDRESS";

impl Beside {
    /// Starts this program as a sidecar, on a free port, and waits until it serves. What the command's environment says is what
    /// the sidecar is told; what it logs from `level` on goes to standard error.
    pub(crate) async fn start(mut command: Command, level: &str) -> Result<Self, Failure> {
        let failed = |error: std::io::Error| Failure::plain(format!("the sidecar cannot be started: {}", why(&error)));
        // And in any case that it serves.
        command.env("RUST_LOG", format!("{level},deputize::sidecar=info")).env("BIND_ADDRESS", "127.0.0.1:0");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        // What is typed at the terminal is for the program beside it, which may still need tokens to end in order.
        command.process_group(0);
        let secret = HEXLOWER.encode(&system::unpredictable::<32>());
        if is_of_entra(&command) {
            command.env(IDENTITY_BIND, "127.0.0.1:0").env("IDENTITY_HEADER", &secret);
        }
        let mut child = command.spawn().map_err(failed)?;
        let mut lines = BufReader::new(child.stdout.take().ok_or_else(ended)?).lines();
        let (mut identity, mut native) = (None, None);
        let address = loop {
            let line = lines.next_line().await.map_err(failed)?.ok_or_else(ended)?;
            match serving(&line) {
                Some(Serving::Texas(address)) => break address,
                Some(Serving::Identity(address)) => identity = Some(address),
                Some(Serving::Native(address)) => native = Some(address),
                Some(Serving::Another) => {}
                None => repeat(&line),
            }
        };
        tokio::spawn(told(lines));
        Ok(Self { child, address, identity: identity.map(|address| (address, secret)), native })
    }

    /// Where programs find it, as NAIS tells them.
    pub(crate) fn variables(&self) -> [(&'static str, String); 3] {
        variables(&self.address)
    }

    /// Where programs get their identity, as Azure's App Service tells them.
    pub(crate) fn identity(&self) -> Vec<(&'static str, String)> {
        let Some((address, secret)) = &self.identity else { return Vec::new() };
        let endpoint = format!("http://{address}{}", ManagedIdentity::PATH);
        vec![("IDENTITY_ENDPOINT", endpoint), ("IDENTITY_HEADER", secret.clone())]
    }

    /// Where it is.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Where its own API is, if it was told to serve that.
    pub(crate) fn native(&self) -> Option<&str> {
        self.native.as_deref()
    }

    /// Waits until it has ended by itself, which it should not.
    pub(crate) async fn gone(&mut self) {
        let _ = self.child.wait().await;
    }

    /// Ends it: nobody is left who would ask.
    pub(crate) async fn end(mut self) {
        let _ = self.child.kill().await;
    }
}

/// What NAIS tells an application whose sidecar is at this address.
pub(crate) fn variables(address: &str) -> [(&'static str, String); 3] {
    let at = |path: &str| format!("http://{address}{path}");
    [
        ("NAIS_TOKEN_ENDPOINT", at("/api/v1/token")),
        ("NAIS_TOKEN_EXCHANGE_ENDPOINT", at("/api/v1/token/exchange")),
        ("NAIS_TOKEN_INTROSPECTION_ENDPOINT", at("/api/v1/introspect")),
    ]
}

/// This program, as a sidecar that ends when this process does.
pub(crate) fn command() -> Result<Command, Failure> {
    let mut command = itself()?;
    command.arg("sidecar");
    Ok(command)
}

/// This program, for another of its commands, which ends when this process does.
pub(crate) fn itself() -> Result<Command, Failure> {
    dying(&this()?)
}

/// A program that ends when the thread that starts it does, where the system has a way to say so.
pub(crate) fn dying(program: &Path) -> Result<Command, Failure> {
    if cfg!(target_os = "linux") { start(&[program.as_os_str().to_owned()]) } else { Ok(Command::new(program)) }
}

/// A program with its arguments, which ends when the thread that starts it does, and says why where it cannot be started.
pub(crate) fn start(program: &[OsString]) -> Result<Command, Failure> {
    let mut command = Command::new(this()?);
    command.args(["run-start", "--"]).args(program);
    Ok(command)
}

fn this() -> Result<PathBuf, Failure> {
    // The file of this very program, even if another has taken its place meanwhile.
    let linked = Path::new("/proc/self/exe");
    if cfg!(target_os = "linux") && linked.exists() {
        return Ok(linked.to_owned());
    }
    std::env::current_exe().map_err(|error| Failure::plain(format!("this program is not found: {}", why(&error))))
}

/// Whether the sidecar is told of an application at Entra: then it can be that application's identity.
fn is_of_entra(sidecar: &Command) -> bool {
    const ENABLED: &str = "AZURE_ENABLED";
    let told = sidecar.as_std().get_envs().find(|(name, _)| *name == ENABLED);
    if let Some((_, value)) = told {
        return value.is_some_and(|value| value == "true");
    }
    let named = |(name, _): &(String, String)| name.eq_ignore_ascii_case("AzureAd__ClientId");
    system::variable(ENABLED).as_deref() == Some("true") || system::sectioned().iter().any(named)
}

/// What a line of its log says of where it serves.
enum Serving {
    Texas(String),
    Identity(String),
    Native(String),
    Another,
}

fn serving(line: &str) -> Option<Serving> {
    let line: Value = serde_json::from_str(line).ok()?;
    let text = |name: &str| line.get(name).and_then(Value::as_str);
    let address = text("listener.address")?.to_owned();
    match text("message")? {
        SERVES => Some(Serving::Texas(address)),
        SERVES_TOO => Some(match text("listener.setting") {
            Some(IDENTITY_BIND) => Serving::Identity(address),
            Some(NATIVE_BIND) => Serving::Native(address),
            _ => Serving::Another,
        }),
        _ => None,
    }
}

async fn told(mut lines: Lines<BufReader<ChildStdout>>) {
    while let Ok(Some(line)) = lines.next_line().await {
        if !line.contains("\"INFO\"") {
            repeat(&line);
        }
    }
}

fn repeat(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// It has said why, on standard error.
fn ended() -> Failure {
    Failure::new("the sidecar ended before it served", "mend what it says above")
}
