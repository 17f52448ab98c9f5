//! Load from the second core against a server on the first, and what the server's process spent on it.

use crate::steps::{command, printed};
use crate::{Outcome, root};
use std::fs;
use std::thread::sleep;
use std::time::Duration;

const WARM: &str = "-d2s";
const MEASURED: &str = "-d5s";
const BRIEF: &str = "-d3s";

/// What is sent in turn.
pub(crate) enum Sent<'a> {
    /// Forms, each posted.
    Bodies(&'a [String]),
    /// Bearer tokens, each with a `GET`.
    Tokens(&'a [String]),
}

impl Sent<'_> {
    fn lines(&self) -> &[String] {
        let (Self::Bodies(lines) | Self::Tokens(lines)) = self;
        lines
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Bodies(_) => "bodies",
            Self::Tokens(_) => "tokens",
        }
    }

    /// Requests that are under way at once.
    fn connections(&self) -> &'static str {
        match self {
            Self::Bodies(_) => "-c16",
            Self::Tokens(_) => "-c64",
        }
    }
}

/// Sends the lines of a file in turn. wrk calls `init` once and `request` for each request.
const SCRIPT: &str = r#"
local requests, turn = {}, 0
function init()
  for line in io.lines(os.getenv("DEPUTIZE_LINES")) do
    if os.getenv("DEPUTIZE_SENT") == "tokens" then
      requests[#requests + 1] = wrk.format("GET", nil, { ["Authorization"] = "Bearer " .. line })
    else
      local headers = { ["Content-Type"] = "application/x-www-form-urlencoded" }
      requests[#requests + 1] = wrk.format("POST", nil, headers, line)
    end
  end
end
function request()
  turn = turn % #requests + 1
  return requests[turn]
end
"#;

/// What one run of load showed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Figures {
    /// User and system time of the process, in microseconds a request.
    pub(crate) cpu: f64,
    pub(crate) per_second: f64,
    pub(crate) p50: String,
    pub(crate) p99: String,
    pub(crate) resident: f64,
}

/// Warms the server with these forms and measures it; any answer but 2xx is an error.
pub(crate) fn drive(pid: u32, url: &str, bodies: &[String]) -> Outcome<Figures> {
    send(pid, url, &Sent::Bodies(bodies))
}

/// Measures a server that has seen none of these forms, and sees none twice.
pub(crate) fn drive_once(pid: u32, url: &str, bodies: &[String]) -> Outcome<Figures> {
    send_once(pid, url, &Sent::Bodies(bodies))
}

/// Warms the server and measures it; any answer but 2xx is an error.
pub(crate) fn send(pid: u32, url: &str, sent: &Sent<'_>) -> Outcome<Figures> {
    load(pid, url, sent, Some(WARM), MEASURED)
}

/// Measures a server that has seen nothing of this, and sees nothing twice.
pub(crate) fn send_once(pid: u32, url: &str, sent: &Sent<'_>) -> Outcome<Figures> {
    let figures = load(pid, url, sent, None, BRIEF)?;
    let took = figures.per_second * 3.5;
    let count = sent.lines().len();
    // A few more may be under way than are answered.
    if took < u32::try_from(count).map_or(f64::MAX, f64::from) {
        return Ok(figures);
    }
    Err(format!("{count} lines are not enough for a server that answers {:.0} a second", figures.per_second))
}

/// Warms a server and measures it over HTTP/2, with one token and as many requests under way: any answer but 2xx is an error.
pub(crate) fn multiplexed(pid: u32, url: &str, token: &str) -> Outcome<Figures> {
    let h2load = |seconds: &str| {
        let mut h2load = command("taskset", &["-c", "1", "h2load", "-t1", "-c4", "-m16", "-D", seconds]);
        h2load.arg("-H").arg(format!("authorization: Bearer {token}")).arg(url);
        printed(h2load)
    };
    h2load("2")?;
    let before = cpu_micros(pid)?;
    let said = h2load("5")?;
    let spent = cpu_micros(pid)? - before;
    let figures = read_multiplexed(&said, spent).ok_or_else(|| format!("h2load said what cannot be read:\n{said}"))?;
    if !said.contains("Application protocol: h2")
        || !said.contains(" 0 failed, 0 errored")
        || !said.contains(" 0 4xx, 0 5xx")
    {
        return Err(format!("not every request to {url} was answered well:\n{said}"));
    }
    Ok(Figures { resident: resident_mib(pid)?, ..figures })
}

/// It tells no percentiles, so the mean and the longest stand for them.
fn read_multiplexed(said: &str, spent: f64) -> Option<Figures> {
    let word = |wanted: &str, at: usize| {
        said.lines().find(|line| line.starts_with(wanted)).and_then(|line| line.split_whitespace().nth(at))
    };
    let succeeded: f64 = word("requests:", 7)?.parse().ok()?;
    Some(Figures {
        cpu: spent / succeeded,
        per_second: word("finished in", 3)?.parse().ok()?,
        p50: format!("{} (mean)", word("time for request:", 5)?),
        p99: format!("{} (most)", word("time for request:", 4)?),
        resident: 0.0,
    })
}

fn load(pid: u32, url: &str, sent: &Sent<'_>, warm: Option<&str>, measured: &str) -> Outcome<Figures> {
    let folder = root().join("target/bench");
    let (script, lines) = (folder.join("send.lua"), folder.join("lines.txt"));
    let written = fs::create_dir_all(&folder)
        .and_then(|()| fs::write(&script, SCRIPT))
        .and_then(|()| fs::write(&lines, sent.lines().join("\n")));
    written.map_err(|error| format!("cannot write below {}: {error}", folder.display()))?;
    let wrk = |duration: &str| {
        let mut wrk = command("taskset", &["-c", "1", "wrk", "-t1", sent.connections(), duration, "--latency", "-s"]);
        wrk.arg(&script).arg(url).env("DEPUTIZE_LINES", &lines).env("DEPUTIZE_SENT", sent.kind());
        printed(wrk)
    };
    warm.map(wrk).transpose()?;
    let before = cpu_micros(pid)?;
    let said = wrk(measured)?;
    let spent = cpu_micros(pid)? - before;
    let figures = read(&said, spent).ok_or_else(|| format!("wrk said what cannot be read:\n{said}"))?;
    if said.contains("Non-2xx") || said.contains("Socket errors") {
        return Err(format!("not every request to {url} was answered well:\n{said}"));
    }
    Ok(Figures { resident: resident_mib(pid)?, ..figures })
}

fn read(said: &str, spent: f64) -> Option<Figures> {
    let line = |wanted: &str| said.lines().map(str::trim).find(|line| line.contains(wanted));
    // By its beginning: `71.50%` stands among the statistics of threads.
    let last =
        |wanted: &str| said.lines().map(str::trim).find(|line| line.starts_with(wanted))?.split_whitespace().last();
    let requests: f64 = line("requests in")?.split_whitespace().next()?.parse().ok()?;
    Some(Figures {
        cpu: spent / requests,
        per_second: last("Requests/sec:")?.parse().ok()?,
        p50: last("50%")?.to_owned(),
        p99: last("99%")?.to_owned(),
        resident: 0.0,
    })
}

/// User and system time of a process since it began.
fn cpu_micros(pid: u32) -> Outcome<f64> {
    let per_second: f64 = printed(command("getconf", &["CLK_TCK"]))?.trim().parse().map_err(|_| "getconf failed")?;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).map_err(|_| format!("process {pid} is gone"))?;
    // The name in brackets may hold spaces, so the fields are counted from its end: utime and stime are the 12th and 13th.
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks = fields.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<f64>().ok());
    Ok(ticks.sum::<f64>() / per_second * 1e6)
}

/// Waits until a process that has just begun works no more, so that its own beginning is not measured.
pub(crate) fn settle(pid: u32) -> Outcome {
    for _ in 0..60 {
        let before = cpu_micros(pid)?;
        sleep(Duration::from_millis(500));
        if cpu_micros(pid)? - before < 20_000.0 {
            return Ok(());
        }
    }
    Err(format!("process {pid} has not come to rest within 30 s"))
}

/// Resident memory of a process, in MiB.
pub(crate) fn resident_mib(pid: u32) -> Outcome<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).map_err(|_| format!("process {pid} is gone"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next()).and_then(|number| number.parse::<f64>().ok());
    kib.map(|kib| kib / 1024.0).ok_or_else(|| format!("/proc/{pid}/status has no VmRSS"))
}

#[cfg(test)]
mod tests {
    use super::{read, read_multiplexed};

    #[test]
    fn what_wrk_says_is_read() {
        let said = "    Req/Sec     1.04k   338.07     1.61k    71.50%\n  Latency Distribution\n     50%  610.00us\n     75%    1.1ms\n     90%    2ms\n     99%    3.02ms\n  \
                    10000 requests in 5.00s, 4MB read\nRequests/sec:   2000.00\nTransfer/sec:  0.8MB\n";
        let figures = read(said, 5e6).unwrap();
        assert!((figures.cpu - 500.0).abs() < 1e-9 && (figures.per_second - 2000.0).abs() < 1e-9, "{figures:?}");
        assert_eq!((figures.p50.as_str(), figures.p99.as_str()), ("610.00us", "3.02ms"));
        assert!(read("unable to connect", 1.0).is_none());
    }

    #[test]
    fn what_h2load_says_is_read() {
        let said = "finished in 2.01s, 19205.50 req/s, 19.27MB/s\n\
                    requests: 38411 total, 38475 started, 38411 done, 38400 succeeded, 0 failed, 0 errored, 0 timeout\n\
                    time for request:       41us     12.97ms      3.20ms      1.09ms    75.75%\n";
        let figures = read_multiplexed(said, 384e4).unwrap();
        assert!((figures.cpu - 100.0).abs() < 1e-9 && (figures.per_second - 19_205.5).abs() < 1e-9, "{figures:?}");
        assert_eq!((figures.p50.as_str(), figures.p99.as_str()), ("3.20ms (mean)", "12.97ms (most)"));
        assert!(read_multiplexed("unable to connect", 1.0).is_none());
    }
}
