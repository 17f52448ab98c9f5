//! What the process outside the namespace and those inside say to each other, over a Unix socket in a folder that only their
//! user may enter. One JSON value a line; after a connection is agreed on, its bytes belong to whom it was opened for.
use crate::failure::Failure;
use crate::run::environment::Environment;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

/// Where the process outside listens, in the run's folder.
pub(super) const OUTSIDE: &str = "outside.sock";
/// Where the process inside listens.
pub(super) const INSIDE: &str = "inside.sock";
/// Where the namespace's own file system is mounted; outside it is an empty folder.
pub(super) const PRIVATE: &str = "private";
/// No line is longer.
pub(super) const LONGEST: u64 = 1 << 20;

/// What a connection is for: its first line.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Hello {
    /// The process inside begins.
    Control,
    /// A program inside calls the server outside that has this place in the plan.
    Allowed(usize),
    /// A program outside calls this port inside.
    Published(u16),
    /// Another run wants to join.
    Join,
}

/// What to do inside.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Plan {
    pub(super) command: Vec<OsString>,
    /// The door of the run to join; none to make a namespace.
    pub(super) join: Option<PathBuf>,
    /// The host of the cloud that is stood in for, without a scheme.
    pub(super) cloud: String,
    pub(super) estate: Option<PathBuf>,
    pub(super) data: Option<PathBuf>,
    pub(super) publish: Vec<u16>,
    pub(super) allow: Vec<Allowed>,
    /// The authority's clock, in minutes ahead.
    pub(super) ahead: u32,
    pub(super) app_service: bool,
    /// Whether a sidecar is started beside the command.
    pub(super) sidecar: bool,
    pub(super) quiet: bool,
}

/// A server outside that programs inside may reach.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Allowed {
    pub(super) host: String,
    pub(super) port: u16,
    /// Where it is found inside.
    pub(super) addresses: Vec<IpAddr>,
}

/// What the process inside reports.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Report {
    /// It is in a user namespace that has no ids yet.
    Unshared,
    /// The authority answers.
    Ready(Environment),
}

/// What is told to whom wants to join.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Invitation {
    /// The process inside.
    pub(super) pid: u32,
    pub(super) environment: Environment,
}

/// Whether something worked.
pub(super) type Answer = Result<(), String>;

/// The side that was started by the other, before it has a runtime: threads would keep it from changing namespaces.
pub(super) struct Line {
    reader: BufReader<UnixStream>,
}

impl Line {
    /// Connects and says what for.
    pub(super) fn open(socket: &Path, hello: &Hello) -> Result<Self, Failure> {
        let stream = UnixStream::connect(socket).map_err(|_| gone())?;
        let mut line = Self { reader: BufReader::new(stream) };
        line.say(hello)?;
        Ok(line)
    }

    pub(super) fn say(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        self.reader.get_mut().write_all(&encode(value)).map_err(|_| gone())
    }

    pub(super) fn hear<T: DeserializeOwned>(&mut self) -> Result<T, Failure> {
        let mut text = String::new();
        let mut bounded = std::io::Read::take(&mut self.reader, LONGEST);
        bounded.read_line(&mut text).map_err(|_| gone())?;
        serde_json::from_str(&text).map_err(|_| gone())
    }
}

/// A value as a line.
pub(super) fn encode(value: &impl Serialize) -> Vec<u8> {
    let mut line = serde_json::to_vec(value).unwrap_or_default();
    line.push(b'\n');
    line
}

fn gone() -> Failure {
    Failure::new("the process outside the namespace is gone", "start again")
}
