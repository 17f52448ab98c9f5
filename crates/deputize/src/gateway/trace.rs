//! `deputize gateway trace`: decisions as a running gateway makes them.
use super::Read;
use crate::explain;
use crate::failure::{Failure, why};
use crate::output::{Paint, printable, say};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use std::path::Path;
use std::process::ExitCode;
use tokio::net::UnixStream;

/// The longest line that is read, in bytes.
const LONGEST: usize = 4 << 20;

/// Which decisions are shown, and how.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// Only requests that were refused
    #[arg(long)]
    refused: bool,
    /// Only requests for this operation, such as `orders/read`, or for every operation of an API, such as `orders`
    #[arg(long, value_name = "NAME")]
    operation: Option<String>,
    /// Ends after so many
    #[arg(long, value_name = "COUNT")]
    count: Option<usize>,
    /// Shows the checks that passed, too
    #[arg(long)]
    checks: bool,
    /// Prints the lines as they come: one JSON object each
    #[arg(long)]
    json: bool,
}

/// One decision, as far as it is shown.
#[derive(Debug, Deserialize)]
struct Decision {
    at: i64,
    #[serde(rename = "decision_id")]
    id: String,
    method: String,
    host: String,
    path: String,
    peer: String,
    caller: Option<String>,
    operation: Option<String>,
    subject: Option<String>,
    client: Option<String>,
    subscription: Option<String>,
    status: u16,
    check: Option<String>,
    total_us: u64,
    #[serde(default)]
    steps: Vec<Step>,
}

#[derive(Debug, Deserialize)]
struct Step {
    policy: String,
    passed: bool,
    us: u64,
    #[serde(default)]
    checks: Vec<decision::Check>,
}

/// Prints what the gateway of this configuration decides, until it ends or nobody reads any more.
pub(super) async fn run(read: &Read, options: Options) -> Result<ExitCode, Failure> {
    let Some(control) = &read.file.control else {
        let hint = "add `control = \"gateway.sock\"` to the configuration, and start the gateway with it";
        return Err(Failure::new("the configuration names no `control` socket", hint));
    };
    let path = read.beside().join(control.get_ref());
    let mut lines = watch(&path).await?;
    let mut waiting = Vec::new();
    let mut left = options.count.unwrap_or(usize::MAX);
    let paint = Paint::detect();
    while left > 0 {
        let Some(frame) = lines.frame().await else { break };
        let broken = |_| Failure::plain("the gateway broke off");
        if let Ok(data) = frame.map_err(broken)?.into_data() {
            waiting.extend_from_slice(&data);
        }
        while left > 0
            && let Some(end) = waiting.iter().position(|byte| *byte == b'\n')
        {
            let line: Vec<u8> = waiting.drain(..=end).collect();
            let Ok(decision) = serde_json::from_slice::<Decision>(&line) else { continue };
            if !options.wants(&decision) {
                continue;
            }
            left -= 1;
            if options.json {
                say(String::from_utf8_lossy(&line).trim_end());
            } else {
                decision.show(paint, options.checks);
            }
        }
        if waiting.len() > LONGEST {
            return Err(Failure::plain("the gateway told a line that is too long"));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Begins to watch.
async fn watch(path: &Path) -> Result<hyper::body::Incoming, Failure> {
    let hint = "start the gateway with this configuration, as the same user";
    let stream = UnixStream::connect(path)
        .await
        .map_err(|error| Failure::new(format!("no gateway answers at `{}`: {}", path.display(), why(&error)), hint))?;
    let silent = || Failure::new(format!("what listens at `{}` is no gateway", path.display()), hint);
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|_| silent())?;
    tokio::spawn(connection);
    let request = http::Request::get("/trace").header("host", "gateway").body(Empty::<Bytes>::new());
    let answer = sender.send_request(request.map_err(|_| silent())?).await.map_err(|_| silent())?;
    if !answer.status().is_success() {
        let told = Limited::new(answer.into_body(), LONGEST).collect().await.map_err(|_| silent())?.to_bytes();
        return Err(Failure::plain(printable(&String::from_utf8_lossy(&told))));
    }
    Ok(answer.into_body())
}

impl Options {
    fn wants(&self, decision: &Decision) -> bool {
        let meant = self.operation.as_deref().is_none_or(|wanted| {
            decision.operation.as_deref().is_some_and(|name| {
                name == wanted || name.strip_prefix(wanted).is_some_and(|rest| rest.starts_with('/'))
            })
        });
        meant && (!self.refused || decision.check.is_some())
    }
}

impl Decision {
    fn show(&self, paint: Paint, all: bool) {
        let Self { method, host, path, status, .. } = self;
        let from = match &self.caller {
            Some(caller) => printable(&format!("{caller} by way of {}", self.peer)),
            None => printable(&self.peer),
        };
        let status = if *status < 400 { paint.green(status) } else { paint.red(status) };
        let whom = [&self.subject, &self.client, &self.subscription].into_iter().flatten().cloned().collect::<Vec<_>>();
        let whom = if whom.is_empty() { "nobody known".to_owned() } else { printable(&whom.join(", ")) };
        say(format_args!(
            "{} {} {}{} {status} {}",
            decision::Timestamp(self.at).entra(),
            paint.bold(printable(method)),
            printable(host),
            printable(path),
            paint.dim(format!("{} from {from}, {}", millis(self.total_us), self.id)),
        ));
        let operation = self.operation.as_deref().map_or("no operation".to_owned(), printable);
        say(format_args!("  {operation}, called by {whom}"));
        for Step { policy, passed, us, checks } in &self.steps {
            let said = if *passed { paint.green("passed") } else { paint.red("refused") };
            say(format_args!("  {policy} {said} {}", paint.dim(millis(*us))));
            let shown = checks.iter().filter(|check| all || check.outcome == decision::Outcome::Fail);
            let shown: Vec<_> = shown.collect();
            let width = shown.iter().map(|check| check.id.to_string().len()).max().unwrap_or_default();
            for check in shown {
                explain::line(paint, check, width);
            }
        }
        let told =
            self.steps.iter().flat_map(|step| &step.checks).any(|check| check.outcome == decision::Outcome::Fail);
        if let Some(check) = self.check.as_deref().and_then(decision::CheckId::named).filter(|_| !told) {
            let entry = check.entry();
            say(format_args!("  {} {check}: not met: {}", paint.red("FAIL"), entry.title));
            say(format_args!("       {} for {}: {}", paint.yellow("fix"), entry.fixer.words(), entry.fix));
        }
    }
}

fn millis(us: u64) -> String {
    format!("{}.{:03} ms", us / 1_000, us % 1_000)
}
