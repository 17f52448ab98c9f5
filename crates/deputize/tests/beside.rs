//! `deputize run --sidecar`, as people run it: a command with a sidecar beside it, and nothing of a namespace.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test of processes, in real time")]
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Command, Stdio};

/// Says where its sidecar is, waits, and tells of a SIGTERM before it ends with 9.
const WAITING: &str =
    "trap 'echo heard; kill $!; exit 9' TERM; sleep 600 >/dev/null & echo \"$NAIS_TOKEN_ENDPOINT\"; wait";

/// A run with a sidecar over no provider at all.
struct Running {
    child: Child,
    said: BufReader<ChildStdout>,
}

impl Running {
    fn start(text: &str) -> Self {
        Self::told(text, &[])
    }

    fn told(text: &str, variables: &[(&str, &str)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_deputize"));
        command.args(["run", "--sidecar", "--", "sh", "-c", text]).env_remove("RUST_LOG").env("BIND_ADDRESS", "kept");
        for name in ["AZURE_ENABLED", "TOKEN_X_ENABLED", "MASKINPORTEN_ENABLED", "PROBE_BIND_ADDRESS"] {
            command.env_remove(name);
        }
        command.env_remove("IDENTITY_ENDPOINT").env_remove("IDENTITY_HEADER").envs(variables.iter().copied());
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let said = BufReader::new(child.stdout.take().unwrap());
        Self { child, said }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.said.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// Where the command finds the sidecar.
    fn sidecar(&mut self) -> String {
        let endpoint = self.line();
        endpoint.strip_prefix("http://").and_then(|rest| rest.strip_suffix("/api/v1/token")).unwrap().to_owned()
    }

    /// The child of the run that is the sidecar.
    fn sidecar_pid(&self) -> String {
        let own = format!(" {} ", self.child.id());
        let processes = fs::read_dir("/proc").unwrap().flatten();
        let found = processes.filter_map(|process| {
            let stat = fs::read_to_string(process.path().join("stat")).ok()?;
            let words = fs::read_to_string(process.path().join("cmdline")).ok()?;
            let parent = stat.rsplit_once(')')?.1.get(2..)?.to_owned();
            (parent.starts_with(&own) && words.contains("sidecar\0") && !words.contains("run\0"))
                .then(|| process.file_name().to_string_lossy().into_owned())
        });
        let all: Vec<String> = found.collect();
        assert_eq!(all.len(), 1, "one sidecar: {all:?}");
        all.into_iter().next().unwrap()
    }
}

fn kill(signal: &str, pid: &str) {
    assert!(Command::new("kill").args([signal, pid]).status().unwrap().success());
}

/// What the sidecar answers, if it is there.
fn asked(address: &str) -> Option<String> {
    let mut socket = TcpStream::connect(address).ok()?;
    let body = r#"{"identity_provider":"entra_id","target":"t"}"#;
    let head = format!("POST /api/v1/token HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n");
    write!(socket, "{head}Content-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len()).ok()?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer).ok()?;
    Some(answer)
}

#[test]
fn signals_and_endings_are_the_commands_and_the_sidecar_ends_with_it() {
    let mut run = Running::start(WAITING);
    let address = run.sidecar();
    let answer = asked(&address).unwrap();
    assert!(answer.contains("identity provider 'entra_id' is not enabled"), "{answer}");
    kill("-TERM", &run.child.id().to_string());
    assert_eq!(run.line(), "heard");
    assert_eq!(run.child.wait().unwrap().code(), Some(9));
    assert_eq!(asked(&address), None, "nobody is there any more");
}

#[test]
fn a_command_whose_sidecar_ends_is_asked_to_end() {
    let mut run = Running::start(WAITING);
    let address = run.sidecar();
    kill("-KILL", &run.sidecar_pid());
    assert_eq!(run.line(), "heard");
    assert_eq!(run.child.wait().unwrap().code(), Some(9));
    assert_eq!(asked(&address), None);
}

#[test]
fn who_kills_the_run_ends_both() {
    let mut run = Running::start(WAITING);
    let address = run.sidecar();
    run.child.kill().unwrap();
    assert_eq!(run.line(), "heard", "the command ends with who started it");
    // Its output ends when nobody holds it any more.
    let mut rest = String::new();
    run.said.read_to_string(&mut rest).unwrap();
    run.child.wait().unwrap();
    while asked(&address).is_some() {}
}

#[test]
fn the_commands_own_environment_is_left_alone() {
    let mut run = Running::start("echo \"$BIND_ADDRESS\"; exec /nowhere/to-be-found");
    assert_eq!(run.line(), "kept");
    assert_eq!(run.child.wait().unwrap().code(), Some(127));
}

/// What the sidecar's managed identity answers to a program that shows this.
fn identity(endpoint: &str, header: &str) -> String {
    let (address, path) = endpoint.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut socket = TcpStream::connect(address).unwrap();
    let head = format!("GET /{path}?api-version=2019-08-01&resource=api://a HTTP/1.1\r\nHost: {address}\r\n");
    write!(socket, "{head}X-IDENTITY-HEADER: {header}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    answer.get(9..12).unwrap().to_owned()
}

#[test]
fn where_entra_is_a_provider_the_command_has_an_identity_as_on_azure() {
    const SAYS: &str = "echo \"$IDENTITY_ENDPOINT\"; echo \"$IDENTITY_HEADER\"; exec sleep 600";
    let told = [
        ("AZURE_ENABLED", "true"),
        ("AZURE_CLIENT_ID", "me"),
        ("AZURE_TENANT_ID", "t"),
        ("AZURE_CLIENT_SECRET", "secret"),
        ("AZURE_AUTHORITY_HOST", "http://127.0.0.1:1"),
        ("IDENTITY_ENDPOINT", "http://127.0.0.1:1/of-the-platform"),
        ("IDENTITY_HEADER", "of the platform"),
    ];
    let mut run = Running::told(SAYS, &told);
    let (endpoint, header) = (run.line(), run.line());
    assert!(endpoint.ends_with("/msi/token") && header.len() == 64, "{endpoint}");
    assert_eq!(
        (identity(&endpoint, &header).as_str(), identity(&endpoint, "of the platform").as_str()),
        ("503", "401")
    );
    kill("-TERM", &run.child.id().to_string());
    run.child.wait().unwrap();

    let mut run = Running::told(SAYS, &told[5..]);
    assert_eq!([run.line(), run.line()], ["http://127.0.0.1:1/of-the-platform", "of the platform"], "left alone");
    kill("-TERM", &run.child.id().to_string());
    run.child.wait().unwrap();
}
