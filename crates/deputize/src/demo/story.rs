//! The story: what happens, in a line or two each, with the claims that matter, from real answers only. Where an answer is
//! not what it should be, the demo fails.
use super::browser::{Answer, Browser};
use super::world::{CALLBACK, Person, Registered, World};
use crate::failure::Failure;
use crate::output::{Paint, printable, say};
use crate::system;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use client::{AuthorizationRequest, Client, Endpoints};
use decision::Clock;
use fetch::{Allow, Fetch, KeySets, KeySource, Location};
use http::{Method, StatusCode};
use oauth::{Form, Secret};
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;

/// How the story ended.
pub(super) enum Told {
    Whole,
    Interrupted,
}

/// Plays the client, and tells of it.
pub(super) async fn tell(world: &World, clock: &Arc<dyn Clock>) -> Result<Told, Failure> {
    let teller = Teller::new(world, clock)?;
    teller.opening();
    let token = teller.chain().await?;
    teller.refusals(&token).await?;
    say("");
    say(teller.paint.green("Everything went as it should."));
    Ok(Told::Whole)
}

/// Where everything is, and how to use it from elsewhere.
pub(super) fn how_to_join(world: &World, environment: Option<&Path>) {
    let paint = Paint::detect();
    say("");
    say(paint.bold("Serving until Ctrl-C. Join in:"));
    say(format_args!("  authority  {}", world.authority()));
    say(format_args!("  metadata   {}/v2.0/.well-known/openid-configuration", world.authority()));
    say(format_args!("  Orders     {}/orders     Billing {}/invoices", world.orders_url(), world.billing_url()));
    say(format_args!("  Ada        {}  password {}", world.ada.upn, world.ada.password.expose()));
    say(format_args!("  Web        client id {}  secret {}", world.web.app_id, world.web.secret.expose()));
    if let Some(file) = environment {
        say(format_args!("  all of it  {}", file.display()));
    }
    say(paint.bold("Point MSAL at it:"));
    say(format_args!("  export REQUESTS_CA_BUNDLE={0} NODE_EXTRA_CA_CERTS={0}", world.ca_file.display()));
    say(format_args!("  Python  msal.ConfidentialClientApplication(\"{}\",", world.web.app_id));
    say(format_args!("              authority=\"{}\",", world.authority()));
    say("              client_credential=\"the secret above\", instance_discovery=False)");
    say(format_args!(
        "  Node    authority: \"{}\", knownAuthorities: [\"{}\"]",
        world.authority(),
        world.host.trim_start_matches("https://")
    ));
}

pub(super) struct Teller<'a> {
    pub(super) world: &'a World,
    pub(super) paint: Paint,
    network: Network,
    pub(super) web: Client,
    pub(super) orders: Client,
    pub(super) daemon: Client,
}

/// What every client of the demo uses.
struct Network {
    fetch: Arc<Fetch>,
    clock: Arc<dyn Clock>,
}

/// A refusal as told by whoever refused. Empty is what was not told.
#[derive(Default)]
pub(super) struct Refusal {
    pub(super) check: String,
    expected: String,
    actual: String,
    fixer: String,
    fix: String,
}

impl Refusal {
    /// Of a check, as the catalogue has it.
    pub(super) fn of(check: decision::CheckId) -> Self {
        let entry = check.entry();
        Self {
            check: entry.id.to_owned(),
            fixer: entry.fixer.words().to_owned(),
            fix: entry.fix.to_owned(),
            ..Self::default()
        }
    }
}

impl<'a> Teller<'a> {
    pub(super) fn new(world: &'a World, clock: &Arc<dyn Clock>) -> Result<Self, Failure> {
        let failed = |error: fetch::FetchError| Failure::plain(error.to_string());
        let fetch = Fetch::builder().ca_pem(world.ca_pem.as_bytes()).map_err(failed)?;
        let fetch = Arc::new(fetch.allow(Allow::INSIDE).build().map_err(failed)?);
        let network = Network { fetch, clock: Arc::clone(clock) };
        let client = |app| network.client(app, &world.authority());
        let (web, orders, daemon) = (client(&world.web), client(&world.orders), client(&world.daemon));
        Ok(Self { world, paint: Paint::detect(), network, web, orders, daemon })
    }

    /// An application as a client of this authority.
    pub(super) fn client(&self, app: &Registered, authority: &str) -> Client {
        self.network.client(app, authority)
    }

    /// The same, which proves itself with its certificate; and that one's thumbprint.
    pub(super) fn certified(&self, app: &Registered) -> Result<(Client, String), Failure> {
        let failed = |error: &dyn std::fmt::Display| Failure::plain(format!("the worker cannot start: {error}"));
        let pem = std::fs::read_to_string(&app.certificate_file).map_err(|error| failed(&error))?;
        let key = jose::SigningKey::from_pem(jose::Algorithm::PS256, &pem).map_err(|error| failed(&error))?;
        let certificate = jose::assertion::Certificate::from_pem(&pem).map_err(|error| failed(&error))?;
        let client = Client::builder(Endpoints::entra(&self.world.authority()), &app.app_id);
        let client = client.certificate(key, &pem).map_err(|error| failed(&error))?.build(
            self.network.fetch.clone(),
            Arc::clone(&self.network.clock),
            Arc::new(system::random),
        );
        Ok((client, certificate.x5t_s256().to_owned()))
    }

    fn opening(&self) {
        let Self { world, paint, .. } = self;
        say(paint.bold("deputize demo: a user's identity crosses two APIs"));
        say("");
        say("  Ada ──▶ Web ── her token for Orders ──▶ Orders ── a token for Billing, still hers ──▶ Billing");
        say("           ╰── signs her in ──▶ Authority ◀── exchanges it ──╯");
        say("");
        say(format_args!("  authority  {}   tenant contoso.example", world.authority()));
        say(format_args!("  Orders     {}   api://orders    client id {}", world.orders_url(), world.orders.app_id));
        say(format_args!("  Billing    {}   api://billing   client id {}", world.billing_url(), world.billing.app_id));
        if let Some(sidecar) = &world.sidecar {
            say(format_args!("  sidecar    {sidecar}   beside Orders, a Python program without any SDK (`orders.py`)"));
        }
        say("");
    }

    /// The way through. Answers Ada's token for Orders.
    async fn chain(&self) -> Result<Secret, Failure> {
        let Self { world, paint, .. } = self;
        say(paint.bold("The chain"));
        let (token, pages) = self.sign_in(&world.ada).await?;
        self.step(1, format_args!("Ada signs in to Web: authorization code with PKCE, through the pages ({pages})"));
        let claims = payload(&token)?;
        self.claims("her token for Orders", &claims, &["aud", "oid", "azp", "scp"]);
        let url = format!("{}/orders", world.orders_url());
        self.step(2, format_args!("Web calls Orders with it: GET {url}"));
        let browser = Browser::new(&world.ca_pem)?;
        let answer = browser.call(Method::GET, &url, token.expose()).await?;
        let body = expect(&answer, StatusCode::OK, "Orders")?;
        self.note(match &world.sidecar {
            None => "Orders checks issuer, key, signature, times, audience and scope by itself",
            Some(_) => "Orders hands the call for Billing to its sidecar, which checks issuer, key, signature, times, audience and scope",
        });
        self.step(
            3,
            match &world.sidecar {
                None => "Orders exchanges it for a token for Billing, on behalf of Ada (On-Behalf-Of)",
                Some(_) => "The sidecar exchanges it for a token for Billing, on behalf of Ada (On-Behalf-Of)",
            },
        );
        self.note("its own token is never passed on; the authority checks consent, assignment, policies, chain limits");
        self.step(4, "Billing checks that token by itself, and sees");
        let seen = body.pointer("/invoices/claims").cloned().unwrap_or_default();
        self.claims("Ada, through Orders", &seen, &["oid", "scp", "azp", "aud", "roles"]);
        let is = |member: &str, wanted: &str| seen.get(member).and_then(Value::as_str) == Some(wanted);
        if !(is("oid", &world.ada.oid) && is("azp", &world.orders.app_id) && is("aud", &world.billing.app_id)) {
            return Err(Failure::plain("Billing saw other claims than it should"));
        }
        let invoices = body.pointer("/invoices/invoices").and_then(Value::as_array).cloned().unwrap_or_default();
        let ids: Vec<&str> = invoices.iter().filter_map(|invoice| invoice.get("id")?.as_str()).collect();
        self.step(5, format_args!("and answers with Ada's own invoices: {}", printable(&ids.join(", "))));
        if ids.is_empty() {
            return Err(Failure::plain("Billing answered without invoices"));
        }
        Ok(token)
    }

    /// What must not get through.
    async fn refusals(&self, token: &Secret) -> Result<(), Failure> {
        let Self { world, paint, .. } = self;
        let browser = Browser::new(&world.ca_pem)?;
        let (orders, billing) = (world.orders_url(), world.billing_url());
        say("");
        say(paint.bold("What is refused, and why"));

        let answer = browser.call(Method::GET, &format!("{billing}/invoices"), token.expose()).await?;
        let body = expect(&answer, StatusCode::UNAUTHORIZED, "Billing, given the Orders token,")?;
        self.refused(1, "the Orders token, forwarded straight to Billing", &answer, &of_guard(&body)?);

        let (bobs, _) = self.sign_in(&world.bob).await?;
        let answer = browser.call(Method::GET, &format!("{orders}/orders"), bobs.expose()).await?;
        let body = expect(&answer, StatusCode::FORBIDDEN, "Orders, for Bob,")?;
        // The sidecar's callers pass on what Billing said, as it is.
        let inner = body.get("billing").unwrap_or(&body);
        self.refused(
            2,
            "Bob, who lacks the app role that Billing demands (told by Billing, through Orders)",
            &answer,
            &of_guard(inner)?,
        );

        let answer = browser.call(Method::POST, &format!("{orders}/orders/INV-1/approve"), token.expose()).await?;
        let body = expect(&answer, StatusCode::FORBIDDEN, "Orders, asked to approve,")?;
        let said = body.pointer("/error_codes/0").map(|code| format!("AADSTS{code}"));
        let code = body.get("code").and_then(Value::as_str).map(str::to_owned).or(said).unwrap_or_default();
        if code != "AADSTS65001" {
            return Err(Failure::plain(format!("consent is missing, yet the code is `{}`", printable(&code))));
        }
        let hint = body.get("hint").or(body.get("deputize_hint")).cloned().unwrap_or_default();
        self.refused(
            3,
            "Invoices.Approve, which Orders declares and nobody has consented to (AADSTS65001)",
            &answer,
            &of_authority(&hint)?,
        );

        let unexpected = |error: client::Error| Failure::plain(error.to_string());
        let app_only = self.daemon.client_credentials("api://orders/.default").await.map_err(unexpected)?;
        let wanted = ["api://billing/Invoices.Read"];
        let hint = match self.orders.on_behalf_of(&app_only.access_token, &wanted, None).await {
            Ok(_) => return Err(Failure::plain("an app-only token was taken for a user's")),
            Err(error) => error.body().and_then(|body| body.deputize_hint.clone()).unwrap_or_default(),
        };
        self.refusal(
            4,
            "an app-only token as assertion: no user stands behind it",
            "400 from the authority",
            &of_authority(&hint)?,
        );

        let answer = browser.call(Method::GET, &format!("{orders}/orders"), &tampered(token)?).await?;
        let body = expect(&answer, StatusCode::UNAUTHORIZED, "Orders, given a tampered token,")?;
        self.refused(5, "a tampered token: one claim changed, the signature kept", &answer, &of_guard(&body)?);
        Ok(())
    }

    /// The authorization code flow, as Web and a person's browser do it.
    pub(super) async fn sign_in(&self, person: &Person) -> Result<(Secret, String), Failure> {
        self.sign_in_for(person, "api://orders/access_as_user").await
    }

    /// The same, for a token with this permission.
    pub(super) async fn sign_in_for(&self, person: &Person, scope: &str) -> Result<(Secret, String), Failure> {
        let unexpected = |error: client::Error| Failure::plain(error.to_string());
        let scopes = ["openid", "profile", scope];
        let request =
            AuthorizationRequest { redirect_uri: CALLBACK, scopes: &scopes, ..AuthorizationRequest::default() };
        let (url, pending) = self.web.authorization_code_url(request).map_err(unexpected)?;
        let arrived = Browser::new(&self.world.ca_pem)?.sign_in(&url, CALLBACK, person).await?;
        let answer = Form::decode(arrived.query.as_bytes())
            .map_err(|_| Failure::plain("the authority's answer to the browser is unreadable"))?;
        let sign_in = self.web.redeem_code(pending, &answer).await.map_err(unexpected)?;
        Ok((sign_in.token.access_token, arrived.pages.join(", ")))
    }

    pub(super) fn step(&self, number: usize, text: impl std::fmt::Display) {
        say(format_args!("  {} {text}", self.paint.cyan(number)));
    }

    pub(super) fn note(&self, text: &str) {
        say(self.paint.dim(format_args!("      {text}")));
    }

    /// Claims on one line or two, ids with what they are called.
    pub(super) fn claims(&self, what: &str, claims: &Value, names: &[&str]) {
        say(self.paint.dim(format_args!("      {what}:")));
        for name in names {
            let value = match claims.get(name) {
                Some(Value::String(text)) => text.clone(),
                Some(Value::Array(all)) => all.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" "),
                _ => continue,
            };
            let called = self.world.called(&value).map(|name| format!("  ({name})")).unwrap_or_default();
            say(format_args!("        {:<6}{}{}", name, self.paint.bold(printable(&value)), self.paint.dim(called)));
        }
    }

    /// A refusal by the authority, as a client hears it.
    pub(super) fn denied<T>(
        &self,
        number: usize,
        what: &str,
        answer: Result<T, client::Error>,
        check: &str,
    ) -> Result<(), Failure> {
        let Err(error) = answer else {
            return Err(Failure::plain(format!("{what}: and the authority gave a token")));
        };
        let refusal = of_authority(&error.body().and_then(|body| body.deputize_hint.clone()).unwrap_or_default())?;
        if refusal.check != check {
            return Err(Failure::plain(format!("{what}: refused for `{}`", printable(&refusal.check))));
        }
        self.refusal(number, what, "400 from the authority", &refusal);
        Ok(())
    }

    pub(super) fn refused(&self, number: usize, what: &str, answer: &Answer, refusal: &Refusal) {
        self.refusal(number, what, answer.status.as_str(), refusal);
    }

    pub(super) fn refusal(&self, number: usize, what: &str, status: &str, refusal: &Refusal) {
        let Refusal { check, expected, actual, fixer, fix } = refusal;
        self.step(number, format_args!("{what}"));
        say(format_args!("      {} {}", self.paint.red(status), self.paint.bold(printable(check))));
        let words = |text: &str| self.world.in_words(&printable(text));
        if !expected.is_empty() {
            say(format_args!("      expected {}; found {}", words(expected), words(actual)));
        }
        if !fix.is_empty() {
            say(format_args!("      {} ({fixer}): {}", self.paint.yellow("fix"), words(fix)));
        }
    }
}

impl Network {
    fn client(&self, app: &Registered, authority: &str) -> Client {
        let issuer = format!("{authority}/v2.0");
        let keys = KeySets::new(self.fetch.clone()).issuer(KeySource {
            location: Location::Metadata(format!("{issuer}/.well-known/openid-configuration")),
            issuer,
            default_algorithm: Some(jose::Algorithm::RS256),
            foreign_keys_host: false,
        });
        Client::builder(Endpoints::entra(authority), &app.app_id).secret(app.secret.clone()).identity_keys(keys).build(
            self.fetch.clone(),
            Arc::clone(&self.clock),
            Arc::new(system::random),
        )
    }
}

pub(super) fn payload(token: &Secret) -> Result<Value, Failure> {
    let part = token.expose().split('.').nth(1).unwrap_or_default();
    let bytes = URL_SAFE_NO_PAD.decode(part).unwrap_or_default();
    serde_json::from_slice(&bytes).map_err(|_| Failure::plain("the access token is not a JWT"))
}

/// The same token, for somebody else.
fn tampered(token: &Secret) -> Result<String, Failure> {
    let mut claims = payload(token)?;
    if let Some(claims) = claims.as_object_mut() {
        claims.insert("oid".to_owned(), Value::String("00000000-0000-4000-8000-000000000000".to_owned()));
    }
    let mut parts: Vec<String> = token.expose().split('.').map(str::to_owned).collect();
    if let Some(middle) = parts.get_mut(1) {
        *middle = URL_SAFE_NO_PAD.encode(claims.to_string());
    }
    Ok(parts.join("."))
}

pub(super) fn expect(answer: &Answer, status: StatusCode, who: &str) -> Result<Value, Failure> {
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    if answer.status == status {
        return Ok(body);
    }
    let text = printable(&String::from_utf8_lossy(&answer.body).chars().take(600).collect::<String>());
    Err(Failure::plain(format!("{who} answered {} instead of {status} ({text})", answer.status)))
}

/// From a problem document of guard.
pub(super) fn of_guard(problem: &Value) -> Result<Refusal, Failure> {
    let check = problem.pointer("/checks/0").cloned().unwrap_or_default();
    refusal(&check, "id")
}

/// From the hint of the authority's error.
fn of_authority(hint: &Value) -> Result<Refusal, Failure> {
    refusal(hint, "check")
}

fn refusal(from: &Value, id: &str) -> Result<Refusal, Failure> {
    let text = |name: &str| from.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let refusal = Refusal {
        check: text(id),
        expected: text("expected"),
        actual: text("actual"),
        fixer: printable(&text("fixer")).replace('-', " "),
        fix: text("fix"),
    };
    if refusal.check.is_empty() || refusal.fix.is_empty() {
        return Err(Failure::plain("a refusal did not say which check failed and what to change"));
    }
    Ok(refusal)
}
