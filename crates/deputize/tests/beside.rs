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
        let mut command = Command::new(env!("CARGO_BIN_EXE_deputize"));
        command.args(["run", "--sidecar", "--", "sh", "-c", text]).env_remove("RUST_LOG").env("BIND_ADDRESS", "kept");
        for name in ["AZURE_ENABLED", "TOKEN_X_ENABLED", "MASKINPORTEN_ENABLED", "PROBE_BIND_ADDRESS"] {
            command.env_remove(name);
        }
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
