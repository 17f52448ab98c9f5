//! `deputize explain`: every check that an API's guard makes of a token, passed and failed, and what to change.
use crate::authority::runtime;
use crate::failure::Failure;
use crate::file::Text;
use crate::output::{Paint, printable, say};
use crate::system::SystemClock;
use decision::{Check, CheckId, Outcome, Verdict};
use fetch::{Allow, Fetch};
use guard::{Contract, Guard};
use jose::KeySet;
use oauth::Secret;
use std::io::Read;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

/// No token is longer; more of standard input is not read.
const LONGEST_INPUT: u64 = 1 << 20;

/// Options of `deputize explain`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The token, or `-` to read it from standard input, which keeps it out of process lists and histories
    #[arg(value_name = "TOKEN|-")]
    token: String,
    /// What the API demands: its contract
    #[arg(long, value_name = "FILE")]
    contract: PathBuf,
    /// The request it would be sent with, such as "GET /invoices"; by default every route of the contract
    #[arg(long, value_name = "\"METHOD /PATH\"")]
    route: Option<String>,
    /// The issuer's key set (JSON), instead of fetching it
    #[arg(long, value_name = "FILE")]
    jwks: Option<PathBuf>,
    /// A certificate authority to trust when fetching keys (PEM)
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
}

/// `deputize explain`: succeeds if the token is allowed on the route, or without one on at least one route.
pub(crate) fn run(options: Options) -> Result<ExitCode, Failure> {
    crate::log::start("error")?;
    let token = Secret::new(read_token(options.token)?);
    let text = Text::read(&options.contract)?;
    let contract: Contract = text.parse()?;
    let requests = requests(&contract, options.route.as_deref())?;
    let guard = guard(contract, options.jwks, options.ca)?;
    let verdicts = runtime()?.block_on(async {
        let mut verdicts = Vec::new();
        for (method, path, shown) in requests {
            let verdict = guard.explain(token.expose(), &method, &path).await;
            verdicts.push((shown, verdict));
        }
        verdicts
    });
    tell(&verdicts);
    let keyless = |check: &Check| check.id == CheckId::KeysAvailable && check.outcome == Outcome::Fail;
    if verdicts.iter().any(|(_, verdict)| verdict.checks.iter().any(keyless)) {
        say(
            "hint: give the authority that signs for the issuer's host with `--ca FILE`, or its keys with `--jwks FILE`",
        );
    }
    let allowed = verdicts.iter().any(|(_, verdict)| verdict.allowed());
    Ok(if allowed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn read_token(given: String) -> Result<String, Failure> {
    let mut text = given;
    if text == "-" {
        text.clear();
        let read = std::io::stdin().take(LONGEST_INPUT).read_to_string(&mut text);
        read.map_err(|_| Failure::new("standard input holds no text", "pipe the token in"))?;
    }
    let text = text.trim();
    let token = text.strip_prefix("Bearer ").unwrap_or(text);
    if token.is_empty() {
        return Err(Failure::new("there is no token", "give it as an argument, or `-` and pipe it in"));
    }
    Ok(token.to_owned())
}

/// The requests to look at: method, path, and what to call it.
fn requests(contract: &Contract, route: Option<&str>) -> Result<Vec<(String, String, String)>, Failure> {
    if let Some(route) = route {
        let request = route.trim().split_once(' ').map(|(method, path)| (method.trim(), path.trim()));
        let Some((method, path)) = request.filter(|(_, path)| path.starts_with('/')) else {
            return Err(Failure::new(format!("`{route}` is no route"), "write `--route \"GET /invoices\"`"));
        };
        let method = method.to_ascii_uppercase();
        return Ok(vec![(method.clone(), path.to_owned(), format!("{method} {path}"))]);
    }
    if contract.routes.is_empty() {
        return Err(Failure::new("the contract has no routes", "add `[[routes]]` with `method`, `path` and `scopes`"));
    }
    Ok(contract
        .routes
        .iter()
        .map(|route| {
            let method = if route.method == "*" { "GET" } else { &route.method };
            // Any request that the pattern matches will do.
            let segment =
                |part: &str| if part.starts_with('{') || part == "*" { "x".to_owned() } else { part.to_owned() };
            let path: Vec<String> = route.path.split('/').map(segment).collect();
            (method.to_owned(), path.join("/"), format!("{} {}", route.method, route.path))
        })
        .collect())
}

fn guard(contract: Contract, jwks: Option<PathBuf>, ca: Option<PathBuf>) -> Result<Guard, Failure> {
    let issuers: Vec<String> = contract.issuers.iter().map(|issuer| issuer.issuer.clone()).collect();
    let mut builder = Guard::builder(contract, Arc::new(SystemClock));
    if let Some(path) = jwks {
        let text = Text::read(&path)?;
        for issuer in issuers {
            let (keys, _) = KeySet::parse(text.content.as_bytes(), Some(jose::Algorithm::RS256)).map_err(|error| {
                let error = format!("`{}` is no key set ({error})", path.display());
                Failure::new(error, "give the JSON that the issuer's `jwks_uri` answers with")
            })?;
            builder = builder.keys(issuer, keys);
        }
    } else {
        // The issuers are those that the person at this keyboard wrote down, on this machine perhaps.
        let mut fetch = Fetch::builder().allow(Allow::INSIDE);
        if let Some(path) = ca {
            let pem = Text::read(&path)?.content;
            fetch = fetch.ca_pem(pem.as_bytes()).map_err(|error| Failure::new(error.to_string(), "give a PEM file"))?;
        }
        builder = builder.fetch(fetch.build().map_err(Failure::told)?);
    }
    builder.build().map_err(Failure::told)
}

fn tell(verdicts: &[(String, Verdict)]) {
    let paint = Paint::detect();
    // What every route asks alike is said once.
    let everywhere = |check: &Check| verdicts.iter().all(|(_, verdict)| verdict.checks.contains(check));
    let common: Vec<&Check> = match verdicts {
        [(_, first), _, ..] => first.checks.iter().filter(|check| everywhere(check)).collect(),
        _ => Vec::new(),
    };
    let widest = verdicts.iter().flat_map(|(_, verdict)| &verdict.checks).map(|check| check.id.to_string().len()).max();
    let width = widest.unwrap_or_default();
    if !common.is_empty() {
        say(paint.bold("on every route"));
        for check in &common {
            line(paint, check, width);
        }
    }
    for (route, verdict) in verdicts {
        let answer = if verdict.allowed() { paint.green("allowed") } else { paint.red("refused") };
        say(format_args!("{}: {answer}", paint.bold(route)));
        for check in verdict.checks.iter().filter(|check| !common.contains(check)) {
            line(paint, check, width);
        }
    }
}

/// A check, its id filled up to a width.
pub(crate) fn line(paint: Paint, check: &Check, width: usize) {
    let Check { id, outcome, expected, actual, fixer, fix } = check;
    let id = format!("{:width$}", id.to_string());
    match outcome {
        Outcome::Pass => say(format_args!("  {} {id}  {}", paint.green("pass"), printable(actual))),
        Outcome::Skipped => say(paint.dim(format_args!("  skip {id}  {}", printable(actual)))),
        Outcome::Fail => {
            let pad = " ".repeat(width + 9);
            say(format_args!("  {} {id}  found {}", paint.red("FAIL"), printable(actual)));
            say(format_args!("{pad}expected {}", printable(expected)));
            say(format_args!("{pad}{} for {}: {}", paint.yellow("fix"), fixer.words(), printable(fix)));
        }
    }
}
