//! A Valkey server, or Redis where the system has no Valkey: the real one, on loopback.
use crate::support::World;
use crate::telling::{Beside, own};
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long anything may take that is waited for.
pub(crate) const LONGEST: Duration = Duration::from_secs(30);

/// A server that ends with this.
pub(crate) struct Valkey {
    pub(crate) port: u16,
    arguments: Vec<String>,
    running: Option<(Child, BufReader<ChildStdout>)>,
}

fn program() -> PathBuf {
    let folders: Vec<PathBuf> = std::env::split_paths(&std::env::var_os("PATH").unwrap()).collect();
    let all =
        ["valkey-server", "redis-server"].into_iter().flat_map(|name| folders.iter().map(move |it| it.join(name)));
    let found = all.into_iter().find(|path| path.is_file());
    found.unwrap_or_else(|| {
        panic!("neither valkey-server nor redis-server is on the path; `cargo xtask test` installs one")
    })
}

impl Valkey {
    pub(crate) async fn start() -> Self {
        Self::with(&[]).await
    }

    /// With more arguments; `{port}` stands for its port.
    pub(crate) async fn with(arguments: &[&str]) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let usual = "--bind 127.0.0.1 --save '' --appendonly no --loglevel notice --logfile ''";
        let mut all: Vec<String> = usual.split(' ').map(|word| word.replace('\'', "")).collect();
        if !arguments.contains(&"--port") {
            all.extend(["--port".to_owned(), "{port}".to_owned()]);
        }
        all.extend(arguments.iter().map(|word| (*word).to_owned()));
        let arguments = all.iter().map(|word| word.replace("{port}", &port.to_string())).collect();
        let mut server = Self { port, arguments, running: None };
        server.again().await;
        server
    }

    /// Starts it, on the port that it had before.
    pub(crate) async fn again(&mut self) {
        let mut command = Command::new(program());
        let mut child = command.args(&self.arguments).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let ready = tokio::task::spawn_blocking(move || {
            let mut line = String::new();
            while !line.contains("Ready to accept connections") {
                line.clear();
                assert!(lines.read_line(&mut line).unwrap() > 0, "the server ended");
            }
            lines
        });
        self.running = Some((child, ready.await.unwrap()));
    }

    /// Kills it, as `kill -9` does.
    pub(crate) fn kill(&mut self) {
        if let Some((mut child, _)) = self.running.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Stops it, so that it hangs, or has it go on.
    pub(crate) fn signal(&self, signal: &str) {
        let id = self.running.as_ref().unwrap().0.id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// What it says to a command, in lines.
    pub(crate) async fn says(&self, words: &[&str]) -> Vec<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        let mut command = format!("*{}\r\n", words.len());
        for word in words {
            command.extend([&format!("${}\r\n", word.len()), *word, "\r\n"]);
        }
        // Its last word is known.
        let quit = "*2\r\n$4\r\nECHO\r\n$7\r\nthe end\r\n";
        stream.write_all(format!("{command}{quit}").as_bytes()).await.unwrap();
        let mut text = String::new();
        while !text.ends_with("$7\r\nthe end\r\n") {
            let mut some = vec![0; 64 << 10];
            let length = stream.read(&mut some).await.unwrap();
            assert!(length > 0, "it ended after {text:?}");
            text.push_str(std::str::from_utf8(&some[..length]).unwrap());
        }
        let text = text.strip_suffix("$7\r\nthe end\r\n").unwrap();
        text.lines()
            .filter(|line| !line.starts_with(['*', '$']))
            .map(|line| line.trim_start_matches(['+', ':']).to_owned())
            .collect()
    }

    /// The names of the counters.
    pub(crate) async fn keys(&self) -> Vec<String> {
        self.says(&["KEYS", "*"]).await
    }

    /// The only counter there is.
    pub(crate) async fn key(&self) -> String {
        let keys = self.keys().await;
        assert_eq!(keys.len(), 1, "{keys:?}");
        keys.into_iter().next().unwrap()
    }

    /// How often scripts were run.
    pub(crate) async fn runs(&self) -> u64 {
        let told = self.says(&["INFO", "commandstats"]).await;
        let of = told.iter().find_map(|line| line.strip_prefix("cmdstat_evalsha:calls="));
        of.map_or(0, |of| of.split(',').next().unwrap().parse().unwrap())
    }
}

impl Drop for Valkey {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Waits until this is so.
pub(crate) async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let waited = async {
        while !is_so().await {
            tokio::task::yield_now().await;
        }
    };
    assert!(tokio::time::timeout(LONGEST, waited).await.is_ok(), "it never comes to pass that {what}");
}

/// A gateway, and what it tells of itself.
pub(crate) struct Gateway {
    pub(crate) world: World,
    beside: Beside,
}

impl Gateway {
    pub(crate) async fn of(world: World) -> Self {
        let beside = Beside::start(&world, own()).await;
        Self { world, beside }
    }

    /// One that shares its limits.
    pub(crate) async fn sharing(text: &str) -> Self {
        let gateway = Self::of(World::start(text).await).await;
        gateway.until_shared().await;
        gateway
    }

    pub(crate) async fn ready(&self) -> (u16, String) {
        self.beside.get("/readyz").await
    }

    pub(crate) async fn until_shared(&self) {
        until("limits are shared", async || self.ready().await.1 == "ready").await;
    }

    pub(crate) async fn until_alone(&self) {
        until("it counts alone", async || self.ready().await.1.contains("counts alone")).await;
    }

    /// The decisions of this outcome, by the metric.
    pub(crate) async fn decisions(&self, outcome: &str) -> u64 {
        let (_, text) = self.beside.get("/metrics").await;
        let name = format!("deputize_gateway_shared_limits_decisions_total{{outcome=\"{outcome}\"}} ");
        text.lines().find_map(|line| line.strip_prefix(&name)).unwrap_or_else(|| panic!("{text}")).parse().unwrap()
    }

    pub(crate) async fn metric(&self, name: &str) -> String {
        let (_, text) = self.beside.get("/metrics").await;
        text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim().to_owned()
    }

    pub(crate) async fn status(&self, fields: &[(&str, &str)]) -> u16 {
        self.world.get("/", fields).await.status
    }
}
