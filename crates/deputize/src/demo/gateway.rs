//! `deputize demo --gateway`: APIs behind one door. `deputize gateway` is a process of its own, by a file that anybody can read;
//! what it sends onward is shown by the services behind it. From real answers only, as in [`super::story`].
use super::browser::{Answer, Browser};
use super::legacy::{Archive, ledger, thumbprint};
use super::story::{Refusal, Teller, Told, expect, of_guard};
use super::world::World;
use crate::beside;
use crate::data::{self, Data};
use crate::dev_ca::{DevCa, Leaf};
use crate::failure::{Failure, why};
use crate::listen;
use crate::output::{printable, say};
use crate::serve::Server;
use bytes::Bytes;
use decision::{CheckId, Clock};
use http::{Method, Request, StatusCode};
use http_body_util::Full;
use oauth::Secret;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Child;

/// Its configuration, with `$names` in place of addresses and ids.
const CONFIGURATION: &str = include_str!("../../../../examples/gateway/contoso.toml");
const KEY: &str = "Ocp-Apim-Subscription-Key";
/// What a caller makes up to be somebody else.
const FORGED: (&str, &str) = ("X-MS-CLIENT-PRINCIPAL-NAME", "grace@contoso.example");

/// The gateway's process.
pub(super) struct Edge {
    child: Child,
    configuration: PathBuf,
    subscription: Secret,
    /// The thumbprint of what it shows services.
    certificate: String,
}

impl Edge {
    /// Starts two services from before tokens, and the gateway before them and the demo's APIs.
    pub(super) async fn start(
        world: &World,
        secrets: &Data,
        (ca, leaf): (&DevCa, &Leaf),
        server: &mut Server,
        port: u16,
    ) -> Result<Self, Failure> {
        let secret = |name: &str| Ok::<_, Failure>(Secret::new(secrets.read(name)?.unwrap_or_default()));
        let port_of = |bound: &listen::Bound| {
            bound.0.first().and_then(|socket| socket.local_addr().ok()).map_or(0, |at| at.port())
        };
        let client = ca.client("gateway")?;
        for (name, text) in [
            ("localhost.pem", &leaf.chain_pem),
            ("localhost.key", &leaf.key_pem),
            ("client.pem", &client.chain_pem),
            ("client.key", &client.key_pem),
        ] {
            data::replace(&secrets.path(name), text.as_bytes())?;
        }
        let bound = listen::plain(0).await?;
        let ledger_port = port_of(&bound);
        server.add(bound, None, &ledger(&secret("ledger.secret")?))?;
        let bound = listen::plain(0).await?;
        let archive_port = port_of(&bound);
        let tls = Archive::tls(&secrets.path("localhost.pem"), &secrets.path("localhost.key"), &world.ca_file)?;
        server.add_mutual(bound, &tls, &Arc::new(Archive));
        let text = [
            ("$port", port.to_string()),
            ("$ca_file", world.ca_file.display().to_string()),
            ("$authority", world.authority()),
            ("$tenant_id", world.tenant_id.clone()),
            ("$gateway_id", world.gateway.app_id.clone()),
            ("$orders_id", world.orders.app_id.clone()),
            ("$orders_url", world.orders_url()),
            ("$billing_url", world.billing_url()),
            ("$ledger_url", format!("http://127.0.0.1:{ledger_port}")),
            ("$archive_url", format!("https://127.0.0.1:{archive_port}")),
        ]
        .into_iter()
        .fold(CONFIGURATION.to_owned(), |text, (name, value)| text.replace(name, &value));
        let configuration = secrets.path("gateway.toml");
        data::replace(&configuration, text.as_bytes())?;
        let mut command = beside::itself()?;
        command.arg("gateway").arg(&configuration).env("RUST_LOG", "warn,deputize::gateway=info");
        let log = std::fs::File::create(secrets.path("gateway.log")).map_err(|error| {
            Failure::plain(format!("`{}` cannot be written: {}", secrets.path("gateway.log").display(), why(&error)))
        })?;
        command.stdin(Stdio::null()).stdout(log).stderr(Stdio::piped()).kill_on_drop(true).process_group(0);
        let failed = |error: std::io::Error| Failure::plain(format!("the gateway cannot be started: {}", why(&error)));
        let mut child = command.spawn().map_err(failed)?;
        let mut said = BufReader::new(child.stderr.take().ok_or_else(ended)?).lines();
        loop {
            let line = said.next_line().await.map_err(failed)?.ok_or_else(ended)?;
            if line.contains(crate::gateway::SERVES) {
                break;
            }
            eprintln!("{line}");
        }
        tokio::spawn(async move { while let Ok(Some(_)) = said.next_line().await {} });
        let shown = CertificateDer::from_pem_slice(client.chain_pem.as_bytes());
        let certificate = thumbprint(&shown.map_err(|_| Failure::plain("no certificate could be made"))?);
        Ok(Self { child, configuration, subscription: secret("subscription.secret")?, certificate })
    }

    /// Its configuration, and the key of a subscription.
    pub(super) fn known(&self) -> (&Path, &Secret) {
        (&self.configuration, &self.subscription)
    }

    /// Ends it.
    pub(super) async fn end(mut self) {
        let _ = self.child.kill().await;
    }
}

/// It has said why, on standard error.
fn ended() -> Failure {
    Failure::new("the gateway ended before it served", "mend what it says above")
}

/// Plays callers, and tells of it.
pub(super) async fn tell(world: &World, clock: &Arc<dyn Clock>, edge: &Edge) -> Result<Told, Failure> {
    let teller = Teller::new(world, clock)?;
    let (paint, url) = (&teller.paint, world.gateway_url());
    say(paint.bold("deputize demo --gateway: one door before APIs old and new"));
    say("");
    say("  Ada ──▶ Web ──▶ Gateway ── her own token ─────────────────────▶ Orders   (checks it again)");
    say("                     ├────── a token for Billing, still hers ───▶ Billing  (checks it: On-Behalf-Of)");
    say("                     ├────── a certificate ─────────────────────▶ Archive  (knows no tokens: mTLS)");
    say("  Accounting ──▶ key ┴────── a password ────────────────────────▶ Ledger   (knows no tokens: Basic)");
    say("");
    say(format_args!("  gateway        {url}   client id {}", world.gateway.app_id));
    say(format_args!("  configuration  {}", edge.configuration.display()));
    say("");
    let browser = Browser::new(&world.ca_pem)?;
    let (for_orders, for_gateway) = ways(&teller, &browser, edge).await?;
    refusals(&teller, &browser, edge, (&for_orders, &for_gateway)).await?;
    say("");
    say(paint.green("Everything went as it should."));
    Ok(Told::Whole)
}

/// What goes through. Answers Ada's tokens for Orders and for the gateway.
async fn ways(teller: &Teller<'_>, browser: &Browser, edge: &Edge) -> Result<(Secret, Secret), Failure> {
    let (world, paint, url) = (teller.world, &teller.paint, teller.world.gateway_url());
    say(paint.bold("The ways through"));
    let (for_orders, pages) = teller.sign_in(&world.ada).await?;
    teller.step(1, format_args!("Ada signs in to Web ({pages}); with her token for Orders it calls GET {url}/orders"));
    let answer = browser.call(Method::GET, &format!("{url}/orders"), for_orders.expose()).await?;
    let body = expect(&answer, StatusCode::OK, "Orders, through the gateway,")?;
    if body.pointer("/invoices/claims/oid").and_then(Value::as_str) != Some(&world.ada.oid) {
        return Err(Failure::plain("Orders saw somebody else"));
    }
    teller
        .note("transparent: the gateway checks issuer, key, signature, times, audience and scope, and so does Orders");

    let (for_gateway, pages) = teller.sign_in_for(&world.ada, "api://gateway/access_as_user").await?;
    teller.step(2, format_args!("With her token for the gateway ({pages}) it calls GET {url}/invoices; Billing sees"));
    let answer = browser.call(Method::GET, &format!("{url}/invoices"), for_gateway.expose()).await?;
    let body = expect(&answer, StatusCode::OK, "Billing, through the gateway,")?;
    let seen = body.get("claims").cloned().unwrap_or_default();
    teller.claims("Ada, through the gateway", &seen, &["oid", "scp", "azp", "aud"]);
    let is = |member: &str, wanted: &str| seen.get(member).and_then(Value::as_str) == Some(wanted);
    if !(is("oid", &world.ada.oid) && is("azp", &world.gateway.app_id) && is("aud", &world.billing.app_id)) {
        return Err(Failure::plain("Billing saw other claims than it should"));
    }
    teller.note(
        "terminating: the gateway keeps her token, and exchanges it for one that Billing can check (On-Behalf-Of)",
    );

    let bearer = format!("Bearer {}", for_gateway.expose());
    let fields = [("Authorization", bearer.as_str()), ("X-User", "grace"), FORGED];
    let answer = browser.send(request(&format!("{url}/archive/records"), &fields)?).await?;
    let body = expect(&answer, StatusCode::OK, "Archive, through the gateway,")?;
    let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default();
    let names = fields_of(&body);
    let leaked = ["authorization", FORGED.0].iter().any(|secret| names.iter().any(|n| n.eq_ignore_ascii_case(secret)));
    if leaked || text("certificate") != edge.certificate || text("user") != world.ada.oid {
        return Err(Failure::plain(format!("Archive saw what it should not: {}", printable(&body.to_string()))));
    }
    teller.step(3, format_args!("With the same token it calls GET {url}/archive/records; Archive sees"));
    say(format_args!(
        "        certificate  {}  {}",
        paint.bold(text("certificate")),
        paint.dim("(Gateway's, in the handshake)")
    ));
    say(format_args!("        x-user       {}  {}", paint.bold(text("user")), paint.dim("(Ada)")));
    teller.note("terminating, to a service that knows certificates only (mTLS): no token, and not the `X-User: grace` that was sent");

    let fields = [(KEY, edge.subscription.expose()), FORGED];
    let answer = browser.send(request(&format!("{url}/ledger/entries"), &fields)?).await?;
    let body = expect(&answer, StatusCode::OK, "Ledger, through the gateway,")?;
    let names = fields_of(&body);
    let leaked = [KEY, FORGED.0].iter().any(|secret| names.iter().any(|name| name.eq_ignore_ascii_case(secret)));
    if leaked || body.get("user").and_then(Value::as_str) != Some("gateway") {
        return Err(Failure::plain(format!("Ledger saw what it should not: {}", printable(&names.join(", ")))));
    }
    teller.step(4, format_args!("Accounting calls GET {url}/ledger/entries with its subscription's key; Ledger sees"));
    say(format_args!("        {}", paint.bold(names.join(", "))));
    teller.note("a name and a password in `authorization`: no key, and nothing of the `X-MS-CLIENT-PRINCIPAL-NAME` that was sent too");
    Ok((for_orders, for_gateway))
}

/// The names of the fields that a service was sent.
fn fields_of(body: &Value) -> Vec<&str> {
    body.get("fields").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect()
}

/// What must not get through.
async fn refusals(
    teller: &Teller<'_>,
    browser: &Browser,
    edge: &Edge,
    (for_orders, for_gateway): (&Secret, &Secret),
) -> Result<(), Failure> {
    let (world, url) = (teller.world, teller.world.gateway_url());
    say("");
    say(teller.paint.bold("What is refused, and why"));
    let answer = browser.send(request(&format!("{url}/orders"), &[])?).await?;
    told(teller, 1, "no token at all", &answer, CheckId::TokenPresent)?;
    let answer = browser.call(Method::GET, &format!("{url}/invoices"), for_orders.expose()).await?;
    told(teller, 2, "her token for Orders, where one for the gateway is due", &answer, CheckId::TokenAudience)?;
    let bearer = format!("Bearer {}", for_gateway.expose());
    let twice = [("Authorization", bearer.as_str()), ("Authorization", "Basic Z3JhY2U6")];
    let answer = browser.send(request(&format!("{url}/invoices"), &twice)?).await?;
    told(teller, 3, "a good token, and a second credential behind it", &answer, CheckId::GatewayCredentialSingle)?;
    let answer = browser.send(request(&format!("{url}/ledger/entries"), &[])?).await?;
    told(teller, 4, "Ledger without a subscription's key", &answer, CheckId::SubscriptionKeyPresent)?;
    let answer =
        browser.send(request(&format!("{url}/ledger/%2e%2e/invoices"), &[(KEY, edge.subscription.expose())])?).await?;
    told(teller, 5, "a path that means one thing here and another there", &answer, CheckId::GatewayRequest)?;

    let (bobs, _) = teller.sign_in_for(&world.bob, "api://gateway/access_as_user").await?;
    let answer = browser.call(Method::GET, &format!("{url}/invoices"), bobs.expose()).await?;
    let body = expect(&answer, StatusCode::FORBIDDEN, "Billing, for Bob,")?;
    let what = "Bob, who lacks the app role that Billing demands (told by Billing, through the gateway)";
    teller.refused(6, what, &answer, &of_guard(&body)?);
    Ok(())
}

/// A refusal of the gateway's own.
fn told(teller: &Teller<'_>, number: usize, what: &str, answer: &Answer, check: CheckId) -> Result<(), Failure> {
    let body = expect(answer, StatusCode::from_u16(check.entry().status).unwrap_or_default(), what)?;
    let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default();
    if text("check") != check.entry().id {
        return Err(Failure::plain(format!("{what}: refused for `{}`", printable(text("check")))));
    }
    teller.refused(number, what, answer, &Refusal::of(check));
    Ok(())
}

fn request(url: &str, fields: &[(&str, &str)]) -> Result<Request<Full<Bytes>>, Failure> {
    let request = fields.iter().fold(Request::get(url), |request, (name, value)| request.header(*name, *value));
    request.body(Full::default()).map_err(|error| Failure::plain(error.to_string()))
}

/// How to go on from elsewhere.
pub(super) fn how_to_join(world: &World, edge: &Edge) {
    let url = world.gateway_url();
    say(format_args!(
        "  gateway    curl --cacert {} -H '{KEY}: {}' {url}/ledger/entries",
        world.ca_file.display(),
        edge.subscription.expose()
    ));
    say(format_args!("             deputize gateway trace {}", edge.configuration.display()));
    say(format_args!("             deputize gateway effective {} GET {url}/invoices", edge.configuration.display()));
}
