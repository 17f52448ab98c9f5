//! The authority as a process: its folder, its starts and its ends, and its audit trail as a kill leaves it.
use super::wire::Wire;
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use decision::Timestamp;
use deputize_core::audit::AuditRecord;
use deputize_core::model::Digest;
use std::fs;
use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use store::{Store, StoreKeys};
use testkit::SetClock;
use tokio::time::{Instant, sleep};

pub(crate) const PASSWORD: &str = "an ordinary long password";
pub(crate) const SECRET: &str = "a client secret of forty characters long";
const ESTATE: &str = include_str!("estate.toml");
/// The proofs ask faster than any client may by default: here it is the store that is asked, not the limit.
const CONFIGURATION: &str = "[limits]\nclient_requests_per_second = 0\n";
const READY: Duration = Duration::from_secs(30);

/// A data folder and a port, gone with the test.
pub(crate) struct Place {
    folder: PathBuf,
    pub(crate) host: String,
    ca_pem: String,
    /// The head that the last verification printed.
    witness: Option<String>,
}

/// A running `deputize authority`. It ends with its value.
pub(crate) struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Place {
    /// A new folder with the estate applied. Ports come from `part` of a range below the one that clients' ports are of,
    /// so that nobody takes it between two starts.
    pub(crate) fn new(part: u16) -> Self {
        let folder = std::env::temp_dir().join(format!("deputize-kill-{}-{part}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        let files =
            [("estate.toml", ESTATE), ("password", PASSWORD), ("secret", SECRET), ("deputize.toml", CONFIGURATION)];
        for (name, text) in files {
            fs::write(folder.join(name), text).unwrap();
        }
        let data = folder.join("data");
        run(&["apply", text(&folder.join("estate.toml")), "--data", text(&data)]);
        run(&["dev-ca", "--dir", text(&data)]);
        let begin = 20_000 + part * 1_000;
        let free = |port: &u16| ["127.0.0.1", "::1"].iter().all(|ip| TcpListener::bind((*ip, *port)).is_ok());
        let begin_at = std::process::id() as usize % 1_000;
        let port = (begin..begin + 1_000).cycle().skip(begin_at).take(1_000).find(free).unwrap();
        let ca_pem = fs::read_to_string(data.join("ca.pem")).unwrap();
        Self { folder, host: format!("https://localhost:{port}"), ca_pem, witness: None }
    }

    pub(crate) fn start(&self) -> Running {
        let data = self.folder.join("data");
        let configuration = self.folder.join("deputize.toml");
        let mut command = deputize(&["authority", "--config", text(&configuration), "--data", text(&data)]);
        command.args(["--listen", &self.host[8..]]);
        Running(command.env("DEPUTIZE_LOG", "warn").stdout(Stdio::null()).spawn().unwrap())
    }

    /// Starts it. Answers new connections to it, and how long it took until one was answered.
    pub(crate) async fn start_ready(&self) -> (Running, Arc<Wire>, Duration) {
        let from = Instant::now();
        let mut running = self.start();
        let wire = Wire::new(&self.ca_pem, &self.host);
        while !wire.is_ready().await {
            assert!(running.0.try_wait().unwrap().is_none(), "the authority ended by itself");
            assert!(from.elapsed() < READY, "the authority is not ready after {READY:?}");
            sleep(Duration::from_millis(2)).await;
        }
        (running, Arc::new(wire), from.elapsed())
    }

    /// Verifies the audit trail of a copy of the folder, just as the kill left it, against the head seen before: so all
    /// records read earlier are still there. Answers the records since.
    ///
    /// A copy, because opening the store and closing it in order would spare the authority its own recovery.
    pub(crate) fn audit(&mut self) -> Vec<AuditRecord> {
        let copy = self.folder.join("copy");
        fs::create_dir(&copy).unwrap();
        for file in fs::read_dir(self.folder.join("data")).unwrap().map(Result::unwrap) {
            fs::copy(file.path(), copy.join(file.file_name())).unwrap();
        }
        let mut arguments = vec!["audit", "verify", "--data", text(&copy)];
        arguments.extend(self.witness.iter().flat_map(|witness| ["--witness", witness.as_str()]));
        let said = run(&arguments);
        let head = said.lines().nth(1).and_then(|line| line.split_whitespace().nth(1)).unwrap().to_owned();
        let after = self.witness.as_deref().map_or(0, sequence);
        let keys = StoreKeys::new(audit_key(&fs::read_to_string(copy.join("master.key")).unwrap()));
        let store = Store::open(&copy.join("store.db"), keys, Arc::new(SetClock::at(Timestamp(0)))).unwrap();
        let records = store.audit(after, u32::MAX).unwrap();
        assert_eq!(records.last().map_or(after, |(number, _)| *number), sequence(&head));
        drop(store);
        fs::remove_dir_all(copy).unwrap();
        self.witness = Some(head);
        records.into_iter().map(|(_, record)| record).collect()
    }
}

impl Running {
    /// SIGKILL, to this process and no other.
    pub(crate) fn kill(mut self) {
        assert!(self.0.try_wait().unwrap().is_none(), "the authority ended by itself");
        self.0.kill().unwrap();
        assert_eq!(self.0.wait().unwrap().signal(), Some(9));
    }
}

fn sequence(head: &str) -> u64 {
    head.split(':').next().unwrap().parse().unwrap()
}

/// As the binary derives it from the master key.
fn audit_key(master: &str) -> [u8; 32] {
    let Digest(master) = serde_json::from_value(master.trim().into()).unwrap();
    let mut key = [0; 32];
    let extracted = Salt::new(HKDF_SHA256, b"deputize master 1").extract(&master);
    extracted.expand(&[b"audit"], HKDF_SHA256).unwrap().fill(&mut key).unwrap();
    key
}

fn deputize(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_deputize"));
    command.args(arguments).env_remove("DEPUTIZE_LOG").env_remove("DEPUTIZE_MASTER_KEY").stdin(Stdio::null());
    command
}

/// Runs a command that succeeds.
fn run(arguments: &[&str]) -> String {
    let output = deputize(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
