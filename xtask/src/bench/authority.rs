//! P1a, P1b and P2: the token endpoint under load, ours and the peer's in turn, over plain HTTP on loopback.

use super::crypto::{self, Floor};
use super::form;
use super::load::{self, Figures};
use super::peer::Peer;
use super::report::{Report, Target};
use crate::demo::{self, Demo};
use crate::steps::{command, printed};
use crate::{Outcome, root};
use serde_json::Value;
use std::env::current_exe;
use std::path::Path;
use std::process::{Child, Stdio};

/// Distinct assertions sent in turn, so that no answer is one kept from the request before.
const ASSERTIONS: usize = 64;
const ROUNDS: usize = 2;
/// Names an earlier release binary, to be measured in turn with today's.
const BEFORE: &str = "DEPUTIZE_BENCH_BEFORE";
const BARE_PORT: u16 = 9302;

/// One kind of request, to us and to the peer.
struct Work {
    id: &'static str,
    name: String,
    ours: Vec<String>,
    theirs: Vec<String>,
    target: Target,
}

pub(crate) fn measure(report: &mut Report) -> Outcome {
    let floor = crypto::measure()?;
    let bare = bare()?;
    report.heading("The floor, µs");
    for (name, cost) in [("RS256", floor.rs256), ("ES256", floor.es256)] {
        report.line(&format!("- {name}: sign {:.1}, verify {:.1}", cost.sign, cost.verify));
    }
    report.line(&format!("- H, a bare hyper answer: {:.1}", bare.cpu));
    report.heading("The token endpoint, plain HTTP/1.1 on loopback, one core, 16 connections");

    let peer = Peer::start()?;
    let demo = Demo::start_for_load("bench", &demo::binary())?;
    load::settle(demo.pid())?;
    let idle = load::resident_mib(demo.pid())?;
    let path = format!("/{}/oauth2/v2.0/token", demo.text("/tenant/id")?);
    let url = format!("http://127.0.0.1:{}{path}", demo.plain_port);
    let works = works(&demo, &path, &floor, bare.cpu)?;
    let before = before(&floor, bare.cpu)?;
    report.begin_loads();
    let mut most = idle;
    for work in &works {
        let (mut ours, mut earlier, mut theirs) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            ours.push(load::drive(demo.pid(), &url, &work.ours)?);
            if let Some(before) = &before {
                earlier.push(before.drive(work)?);
            }
            if !work.theirs.is_empty() {
                theirs.push(load::drive(peer.pid(), &Peer::url(), &work.theirs)?);
            }
        }
        for figures in &ours {
            most = most.max(figures.resident);
            report.load(work.id, &work.name, figures, Some(work.target));
        }
        for figures in &earlier {
            report.load("", &format!("the earlier binary, {}", work.name), figures, None);
        }
        for figures in &theirs {
            report.load("", &format!("node-oidc-provider, {}", work.name), figures, None);
        }
    }
    if let Some(work) = works.first() {
        let secure = format!("{}{path}", demo.text("/authority_host")?);
        report.load(work.id, &format!("{}, over TLS", work.name), &load::drive(demo.pid(), &secure, &work.ours)?, None);
    }
    report.line("");
    report.line(&format!(
        "Resident memory of the demo (authority, Orders and Billing): {idle:.1} MiB idle, {most:.1} MiB under load."
    ));
    Ok(())
}

/// A release binary of an earlier commit, doing the same.
struct Before {
    demo: Demo,
    url: String,
    works: Vec<Work>,
}

/// The binary that the variable names, if it is set.
fn before(floor: &Floor, bare: f64) -> Outcome<Option<Before>> {
    let Some(program) = std::env::var_os(BEFORE) else { return Ok(None) };
    let demo = Demo::start_for_load("bench-before", Path::new(&program))?;
    load::settle(demo.pid())?;
    let path = format!("/{}/oauth2/v2.0/token", demo.text("/tenant/id")?);
    let works = works(&demo, &path, floor, bare)?;
    let url = format!("http://127.0.0.1:{}{path}", demo.plain_port);
    Ok(Some(Before { demo, url, works }))
}

impl Before {
    fn drive(&self, work: &Work) -> Outcome<Figures> {
        let same = self.works.iter().find(|earlier| earlier.name == work.name);
        let same = same.ok_or_else(|| format!("the earlier binary cannot be asked for {}", work.name))?;
        load::drive(self.demo.pid(), &self.url, &same.ours)
    }
}

/// What a bare answer to a body as long as an exchange's costs.
pub(super) fn bare() -> Outcome<Figures> {
    let program = current_exe().map_err(|error| error.to_string())?;
    let mut server = command("taskset", &["-c", "0"]);
    server.arg(program).args(["bench-answer", &BARE_PORT.to_string()]).stdin(Stdio::null());
    let mut server = server.spawn().map_err(|error| format!("the bare server could not be started: {error}"))?;
    let bodies: Vec<String> = (0..ASSERTIONS).map(|turn| format!("assertion={turn:0>790}")).collect();
    let figures = wait_for(BARE_PORT, &mut server)
        .and_then(|()| load::drive(server.id(), &format!("http://127.0.0.1:{BARE_PORT}/"), &bodies));
    server
        .kill()
        .and_then(|()| server.wait())
        .map_err(|error| format!("the bare server could not be ended: {error}"))?;
    figures
}

fn wait_for(port: u16, server: &mut Child) -> Outcome {
    for _ in 0..500 {
        if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return Ok(());
        }
        if !matches!(server.try_wait(), Ok(None)) {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    Err(format!("nothing listens on port {port}"))
}

fn works(demo: &Demo, path: &str, floor: &Floor, bare: f64) -> Outcome<Vec<Work>> {
    let mut works = Vec::new();
    for pair in pairs(demo) {
        let (from, to) = (pair.from, pair.to);
        let theirs = Peer::exchanges(from, to, ASSERTIONS)?;
        let least = floor.of(from).verify + floor.of(to).sign;
        let target = Target { floor: least, most: 1.15 * least + 4.0 * bare };
        let ours = pair.bodies(demo, path, "")?;
        works.push(Work { id: "P1a", name: format!("OBO {from} to {to}"), ours, theirs, target });
        if (from, to) == ("RS256", "RS256") {
            // As MSAL asks: an ID token is signed and a refresh token written too.
            let least = least + floor.rs256.sign;
            works.push(Work {
                id: "P1b",
                name: "OBO RS256 to RS256 with openid profile offline_access".to_owned(),
                ours: pair.bodies(demo, path, " openid profile offline_access")?,
                theirs: Vec::new(),
                target: Target { floor: least, most: 1.15 * least + 5.0 * bare },
            });
        }
    }
    let daemon = [
        ("grant_type", "client_credentials"),
        ("client_id", demo.text("/clients/daemon/app_id")?),
        ("client_secret", demo.text("/clients/daemon/client_secret")?),
        ("scope", &format!("{}/.default", demo.text("/apis/billing/identifier_uri")?)),
    ];
    let ours = form::encode(&daemon);
    let claims = form::part(&form::token(form::post(demo.plain_port, path, &ours)?)?, 1)?;
    if claims.get("idtyp").is_none_or(|kind| kind != "app") {
        return Err(format!("client credentials gave a token that is not an application's: {claims}"));
    }
    let least = floor.rs256.sign;
    works.push(Work {
        id: "P2",
        name: "client credentials RS256".to_owned(),
        ours: vec![ours],
        theirs: Peer::client_credentials("RS256"),
        target: Target { floor: least, most: 1.15 * least + 4.0 * bare },
    });
    Ok(works)
}

/// A middle tier and a downstream that the demo declares, and the algorithms that sign their tokens.
struct Pair<'d> {
    from: &'static str,
    to: &'static str,
    middle: &'d Value,
    middle_scope: String,
    scope: String,
}

/// Orders and Billing, and what the member `bench` of the environment file adds: `{"RS256-ES256": {"middle": {"app_id",
/// "client_secret"}, "middle_scope": "…", "scope": "…"}, "ES256-ES256": {…}}`.
fn pairs(demo: &Demo) -> Vec<Pair<'_>> {
    let text = |pointer: &str| demo.env.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let (orders, billing) = (text("/apis/orders/identifier_uri"), text("/apis/billing/identifier_uri"));
    let mut pairs = vec![Pair {
        from: "RS256",
        to: "RS256",
        middle: demo.env.pointer("/apis/orders").unwrap_or(&Value::Null),
        middle_scope: format!("{orders}/access_as_user"),
        scope: format!("{billing}/Invoices.Read"),
    }];
    for (from, to) in [("ES256", "ES256"), ("RS256", "ES256")] {
        let at = format!("/bench/{from}-{to}");
        let Some(middle) = demo.env.pointer(&format!("{at}/middle")) else {
            println!("OBO {from} to {to} is not measured: the demo's environment file has no `{at}`");
            continue;
        };
        let middle_scope = text(&format!("{at}/middle_scope")).to_owned();
        pairs.push(Pair { from, to, middle, middle_scope, scope: text(&format!("{at}/scope")).to_owned() });
    }
    pairs
}

impl Pair<'_> {
    /// One exchange for each assertion; the first is looked at, and one with a broken signature must be refused.
    fn bodies(&self, demo: &Demo, path: &str, more_scopes: &str) -> Outcome<Vec<String>> {
        let text = |member: &str| self.middle.get(member).and_then(Value::as_str).unwrap_or_default();
        let scope = format!("{}{more_scopes}", self.scope);
        let body = |assertion: &str| {
            form::encode(&[
                ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
                ("requested_token_use", "on_behalf_of"),
                ("client_id", text("app_id")),
                ("client_secret", text("client_secret")),
                ("scope", &scope),
                ("assertion", assertion),
            ])
        };
        let assertions = assertions(demo, &self.middle_scope)?;
        let first = assertions.first().ok_or("no assertion was obtained")?;
        let token = form::token(form::post(demo.plain_port, path, &body(first))?)?;
        let (head, claims) = (form::part(&token, 0)?, form::part(&token, 1)?);
        let is = |value: &Value, name: &str, wanted: &str| value.get(name).is_some_and(|it| it == wanted);
        if !(is(&head, "alg", self.to)
            && is(&claims, "azp", text("app_id"))
            && is(&claims, "oid", demo.text("/users/ada/oid")?))
        {
            return Err(format!("the exchange gave another token than asked for: {head} {claims}"));
        }
        let broken: String = first.chars().rev().collect();
        if form::post(demo.plain_port, path, &body(&broken))?.0 == 200 {
            return Err("an assertion that is no token was exchanged".to_owned());
        }
        Ok(assertions.iter().map(|assertion| body(assertion)).collect())
    }
}

/// Ada's tokens for a middle tier: one sign-in through the pages, then refreshes.
fn assertions(demo: &Demo, scope: &str) -> Outcome<Vec<String>> {
    let mut python =
        command(root().join(".venv/bin/python"), &["e2e/python/tokens.py", scope, &ASSERTIONS.to_string()]);
    python.env("DEPUTIZE_DEMO_ENV", &demo.env_file).env("REQUESTS_CA_BUNDLE", demo.text("/ca_file")?);
    let tokens: Vec<String> = printed(python)?.lines().map(str::to_owned).collect();
    if tokens.len() == ASSERTIONS { Ok(tokens) } else { Err(format!("{} tokens came", tokens.len())) }
}
