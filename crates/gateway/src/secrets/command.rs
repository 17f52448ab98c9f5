//! Secrets that a command prints: run without a shell, for a limited time, and read up to a limit.
use super::{Document, Given, Held, Origin};
use client::Pending;
use decision::Timestamp;
use rustix::process::{Pid, Signal, kill_process_group};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::Duration;
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe::Receiver;
use tokio::time::{Instant, sleep, timeout_at};
use zeroize::{Zeroize as _, Zeroizing};

/// The longest output that is read, in bytes.
const MOST: u64 = 256 << 10;
/// Between two looks whether a command that has said everything is over.
const PAUSE: Duration = Duration::from_millis(5);

/// A program and its arguments.
pub(crate) struct Command {
    pub(crate) words: Vec<String>,
    /// Where it runs.
    pub(crate) beside: PathBuf,
    pub(crate) timeout: Duration,
    /// Whether its output is a JSON object with parts.
    pub(crate) has_fields: bool,
}

impl Origin for Command {
    fn fetch(&self, _: Timestamp) -> Pending<'_, Result<Given, String>> {
        Box::pin(async move {
            let output = self.run().await?;
            if self.has_fields { parts(&output) } else { Ok(whole(output)) }
        })
    }
}

impl Command {
    async fn run(&self) -> Result<Held, String> {
        let Some((program, arguments)) = self.words.split_first() else { return Err("no program is named".to_owned()) };
        // A name without `/` is searched for, a path begins beside the configuration, as all paths do.
        let program = if program.contains('/') { self.beside.join(program) } else { program.into() };
        let mut command = std::process::Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped());
        // What it complains about may have secrets in it.
        command.stderr(Stdio::null()).process_group(0);
        if !self.beside.as_os_str().is_empty() {
            command.current_dir(&self.beside);
        }
        let child = command.spawn().map_err(|error| format!("the command cannot be run: {}", error.kind()))?;
        let mut running = Running(child);
        let output = running.0.stdout.take().ok_or("the command has no output")?;
        let ends = Instant::now() + self.timeout;
        let late = || format!("the command takes longer than {} seconds", self.timeout.as_secs());
        let unreadable = |error: std::io::Error| format!("the output of the command cannot be read: {}", error.kind());
        let output = Receiver::from_owned_fd(OwnedFd::from(output)).map_err(unreadable)?;
        let mut held = Zeroizing::new(Vec::new());
        // Not on a thread: whoever left the group and keeps its output open would keep that too.
        let read = timeout_at(ends, output.take(MOST + 1).read_to_end(&mut held)).await;
        read.map_err(|_| late())?.map_err(unreadable)?;
        if held.len() as u64 > MOST {
            return Err(format!("the command prints more than {} KiB", MOST >> 10));
        }
        loop {
            match running.0.try_wait() {
                Ok(Some(status)) if status.success() => return Ok(held),
                Ok(Some(status)) => return Err(format!("the command failed: {status}; run it by hand to see why")),
                Ok(None) if Instant::now() < ends => sleep(PAUSE).await,
                Ok(None) => return Err(late()),
                Err(error) => return Err(format!("the command got lost: {}", error.kind())),
            }
        }
    }
}

/// A process that ends with whoever waits for it, and all that it began.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        if !matches!(self.0.try_wait(), Ok(Some(_))) {
            let group = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw);
            let _ = group.map(|group| kill_process_group(group, Signal::KILL));
            let _ = self.0.wait();
        }
    }
}

fn whole(mut output: Held) -> Given {
    while output.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
        output.pop();
    }
    Given { document: Document::from([(String::new(), output)]), ends: None }
}

/// An object, whose texts are the parts. `expires_on` says when they end, in seconds since 1970.
#[derive(Deserialize)]
struct Printed {
    expires_on: Option<i64>,
    #[serde(flatten)]
    parts: BTreeMap<String, Value>,
}

fn parts(output: &[u8]) -> Result<Given, String> {
    let printed: Printed =
        serde_json::from_slice(output).map_err(|_| "what the command prints is no JSON object with texts")?;
    Ok(Given { document: texts(printed.parts), ends: printed.expires_on.map(Timestamp) })
}

/// The members that are texts.
pub(super) fn texts(members: BTreeMap<String, Value>) -> Document {
    let mut document = Document::new();
    for (name, value) in members {
        if let Value::String(mut text) = value {
            document.insert(name, Zeroizing::new(text.as_bytes().to_vec()));
            text.zeroize();
        }
    }
    document
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(words: &[&str], has_fields: bool) -> Command {
        let words = words.iter().map(|word| (*word).to_owned()).collect();
        Command { words, beside: PathBuf::new(), timeout: Duration::from_secs(20), has_fields }
    }

    async fn printed(command: &Command, part: &str) -> Result<String, String> {
        let mut given = command.fetch(Timestamp(0)).await?;
        let part = given.document.remove(part).ok_or("no such part")?;
        Ok(String::from_utf8(part.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn what_it_prints_is_the_secret_and_no_shell_reads_its_words() {
        assert_eq!(printed(&command(&["echo", "a $(id) b"], false), "").await.unwrap(), "a $(id) b");
        let object = r#"{"user": "u", "password": "p", "expires_on": 7, "n": 1}"#;
        let json = command(&["echo", object], true);
        assert_eq!(printed(&json, "password").await.unwrap(), "p");
        assert_eq!(json.fetch(Timestamp(0)).await.ok().and_then(|given| given.ends), Some(Timestamp(7)));
        assert!(printed(&json, "n").await.is_err());
    }

    #[tokio::test]
    async fn what_fails_or_says_too_much_is_no_secret() {
        for (words, said) in [
            (&["false"][..], "failed: exit status: 1"),
            (&["/nowhere/at/all"], "cannot be run"),
            (&["head", "-c", "300000", "/dev/zero"], "more than 256 KiB"),
            (&[], "no program"),
        ] {
            let error = printed(&command(words, false), "").await.unwrap_err();
            assert!(error.contains(said), "{error}");
        }
        assert!(printed(&command(&["echo", "secret"], true), "").await.unwrap_err().contains("no JSON object"));
    }

    #[test]
    fn who_leaves_and_keeps_its_output_open_is_in_no_others_way() {
        let file = std::env::temp_dir().join(format!("deputize-gateway-left-{}", std::process::id()));
        let script = format!("setsid sh -c 'echo $$ > {}; exec sleep 600' & wait", file.display());
        let leaves = Command { timeout: Duration::from_millis(300), ..command(&["sh", "-c", &script], false) };
        // What took a thread for as long as the output is open would have the next one wait for it.
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(1).build().unwrap();
        let mut left = Vec::new();
        let found = runtime.block_on(async {
            for _ in 0..3 {
                assert!(printed(&leaves, "").await.unwrap_err().contains("takes longer"));
                left.push(std::fs::read_to_string(&file).unwrap().trim().parse().unwrap());
            }
            let next = Command { timeout: Duration::from_secs(2), ..command(&["echo", "next"], false) };
            printed(&next, "").await
        });
        for process in left {
            rustix::process::kill_process(Pid::from_raw(process).unwrap(), Signal::KILL).unwrap();
        }
        std::fs::remove_file(file).unwrap();
        assert_eq!(found.as_deref(), Ok("next"));
    }

    #[tokio::test]
    async fn what_takes_too_long_is_ended_with_all_that_it_began() {
        let said_all = Command {
            timeout: Duration::from_millis(300),
            ..command(&["sh", "-c", "exec >&-; exec sleep 600"], false)
        };
        assert!(printed(&said_all, "").await.unwrap_err().contains("takes longer"), "it said all, and is not over");
        let file = std::env::temp_dir().join(format!("deputize-gateway-command-{}", std::process::id()));
        let script = format!("sleep 600 & echo $! > {}; wait", file.display());
        let slow = Command { timeout: Duration::from_millis(300), ..command(&["sh", "-c", &script], false) };
        assert!(printed(&slow, "").await.unwrap_err().contains("takes longer"));
        let child = std::fs::read_to_string(&file).unwrap();
        let stat = format!("/proc/{}/stat", child.trim());
        // Gone, or not yet fetched by whoever adopted it; the system takes a moment to end it.
        let is_over = || std::fs::read_to_string(&stat).map_or(true, |stat| stat.contains(") Z "));
        while !is_over() {
            tokio::task::yield_now().await;
        }
        std::fs::remove_file(file).unwrap();
    }
}
