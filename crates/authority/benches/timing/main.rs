//! R18 and A-18: does time tell what is right? In process, no sockets: differences besides the network's are all there is.
//!
//! Passwords are measured twice. At next to no cost per hash a sample takes microseconds, so that 100 000 are quick and
//! whatever else differs (lookups, pages, JSON) stands out; then as people are served, at the full cost.
//! `DEPUTIZE_TIMING_SAMPLES` and `DEPUTIZE_TIMING_PASSWORDS` (full cost) say how many samples both classes have together.
//! Each line is `R18 <case> t=<worst t> n=<samples>`, then t for each part of the times that is kept; |t| of 4.5 or more
//! fails.
mod page;
mod welch;
mod world;

use decision::Timestamp;
use deputize_authority::{Authority, PasswordCost};
use deputize_core::client_auth::{Presented, gather};
use deputize_core::directory::Registration;
use deputize_core::facts::AuthenticationFacts;
use deputize_core::id::{AppId, TenantId};
use deputize_core::sign_in::{Credentials, sign_in};
use deputize_core::ticket::{Page, Ticket};
use oauth::Form;
use page::SignInPage;
use std::error::Error;
use std::hint::black_box;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use testkit::Random;
use tokio::runtime::Runtime;
use uuid::Uuid;
use welch::{LEAK, Times};
use world::{USERS, World};

const NOW: Timestamp = Timestamp(1_800_000_000);
const TENANT: TenantId = TenantId(Uuid::from_u128(1));
const CLIENT: AppId = AppId(Uuid::from_u128(2));
const SECRET: &str = "9JxF~Q7dKp3mWz5tRb8vYc2nHs6gLq4aEu0oTi1r";

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let folder = std::env::temp_dir().join(format!("deputize-timing-{}", std::process::id()));
    let result = run(&folder);
    let _ = std::fs::remove_dir_all(&folder);
    result
}

fn run(folder: &Path) -> Result<ExitCode, Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let cheap = World::open(&runtime, &folder.join("cheap.db"), PasswordCost::FOR_STOPWATCHES_ONLY)?;
    let dear = World::open(&runtime, &folder.join("dear.db"), PasswordCost::default())?;
    let (samples, passwords) = (count("DEPUTIZE_TIMING_SAMPLES", 100_000), count("DEPUTIZE_TIMING_PASSWORDS", 1_000));
    let results = [
        secrets(&cheap.authority, samples)?,
        clients(&cheap.authority, samples / 10)?,
        hashes(&runtime, &cheap, samples),
        names(&runtime, &cheap, samples, "cheap")?,
        pages(&runtime, &cheap, samples, "cheap")?,
        names(&runtime, &dear, passwords, "full-cost")?,
        pages(&runtime, &dear, passwords, "full-cost")?,
    ];
    Ok(if results.into_iter().all(|silent| silent) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A wrong secret, and one that is right but for its last character.
fn secrets(authority: &Authority, samples: usize) -> Result<bool, Box<dyn Error>> {
    let client = client(authority)?;
    let near = format!("{}s", SECRET.get(..SECRET.len() - 1).unwrap_or_default());
    let far = "z".repeat(SECRET.len());
    let mut input = |prefix: bool, input: &mut String| input.push_str(if prefix { &near } else { &far });
    // What the harness would miss proves nothing: a comparison that leaves early must be seen.
    let early = &mut |text: &str| text.bytes().zip(SECRET.bytes()).all(|(a, b)| black_box(a) == b);
    if !leaks(&Times::take(samples, 16, &mut input, early)) {
        return Err("this machine is too noisy: a comparison that leaves early is not seen".into());
    }
    let call = &mut |text: &str| proves(authority, Some(&client), text);
    Ok(silent("client-secret:wrong/right-prefix", &Times::take(samples, 16, &mut input, call)))
}

/// A wrong secret of a client that there is, and of one that there is not. (The codes that follow
/// differ by contract.)
fn clients(authority: &Authority, samples: usize) -> Result<bool, Box<dyn Error>> {
    let client = client(authority)?;
    let clients = [None, Some(&*client)];
    let input = &mut |known: bool, input: &mut String| {
        input.push(char::from(u8::from(known)));
        input.push_str(SECRET);
    };
    // Chosen without a branch, which would be ours and not theirs.
    let chosen = |text: &str| text.bytes().next().and_then(|n| clients.get(usize::from(n))).copied().flatten();
    let call = &mut |text: &str| proves(authority, chosen(text), text);
    // One call, as one request makes: through sixteen the depth of two pointers shows, a nanosecond.
    Ok(silent("client:unknown/wrong-secret", &Times::take(samples, 1, input, call)))
}

/// The wrong password of a user, and of nobody.
fn hashes(runtime: &Runtime, world: &World, samples: usize) -> bool {
    let crypto = &world.authority.ports.crypto;
    let input = &mut |known: bool, input: &mut String| input.push(if known { 'k' } else { 'u' });
    let call = &mut |who: &str| {
        let hash = who.starts_with('k').then_some(&*world.hash);
        runtime.block_on(crypto.password_matches("wrong", hash)) == Some(true)
    };
    silent("password:no-user/wrong-password(cheap)", &Times::take(samples, 1, input, call))
}

/// The whole rule: lookup, comparison, answer.
fn names(runtime: &Runtime, world: &World, samples: usize, cost: &str) -> Result<bool, Box<dyn Error>> {
    let ports = &world.authority.ports;
    let snapshot = ports.directory.snapshot();
    let tenant = snapshot.tenant(TENANT).ok_or("no tenant")?;
    let ticket = Ticket::new(ports, Page::SignIn, "cookie", None, &Form::default(), NOW);
    let mut guesses = Guesses(Random::seeded(0x18));
    let input = &mut |known: bool, input: &mut String| input.push_str(&guesses.name(known));
    let call = &mut |username: &str| {
        let typed = Credentials { username, password: "wrong", address: None, browser: "cookie", accounts: &[] };
        runtime.block_on(sign_in(ports, Some(tenant), CLIENT, typed, &ticket, NOW)).is_ok()
    };
    Ok(silent(&format!("sign-in:unknown-user/wrong-password({cost})"), &Times::take(samples, 1, input, call)))
}

/// All of it: the form that a browser posts, to the last byte of the page that it is answered with.
fn pages(runtime: &Runtime, world: &World, samples: usize, cost: &str) -> Result<bool, Box<dyn Error>> {
    let page = SignInPage::open(runtime, &world.authority)?;
    let mut guesses = Guesses(Random::seeded(0x18));
    let input = &mut |known: bool, input: &mut String| input.push_str(&page.filled(&guesses.name(known)));
    let call = &mut |form: &str| page.is_refused(runtime, form);
    if !call(&page.filled(&world::name(0, true))) {
        return Err("the sign-in page does not answer as expected".into());
    }
    Ok(silent(&format!("sign-in-page:unknown-user/wrong-password({cost})"), &Times::take(samples, 1, input, call)))
}

/// Names that are tried: as many that there are as that there are not, side by side in the index.
struct Guesses(Random);

impl Guesses {
    fn name(&mut self, known: bool) -> String {
        world::name(self.0.below(USERS), known)
    }
}

fn client(authority: &Authority) -> Result<Arc<Registration>, &'static str> {
    let snapshot = authority.ports.directory.snapshot();
    snapshot.tenant(TENANT).and_then(|tenant| tenant.app(CLIENT)).cloned().ok_or("no client")
}

fn proves(authority: &Authority, client: Option<&Registration>, text: &str) -> bool {
    let facts = gather(Presented::Secret(text), client, &*authority.ports.crypto, Timestamp(0));
    matches!(facts, AuthenticationFacts::Secret { matched: Some(_), .. })
}

fn leaks(times: &Times) -> bool {
    times.compared().iter().any(|(_, t)| t.abs() >= LEAK || t.is_nan())
}

/// Prints one case, and whether it tells nothing.
fn silent(case: &str, times: &Times) -> bool {
    let compared = times.compared();
    let worst = compared.iter().map(|(_, t)| *t).max_by(|a, b| a.abs().total_cmp(&b.abs())).unwrap_or(f64::NAN);
    let parts: Vec<String> = compared.iter().map(|(part, t)| format!("{:.1}%:{t:.2}", part * 100.0)).collect();
    let ([no, yes], [few, many]) = (times.medians(), times.counts());
    #[expect(clippy::print_stdout, reason = "this is what the harness is for")]
    {
        println!("R18 {case} t={worst:.2} n={few}+{many} [{}] medians {no:.2}/{yes:.2} us", parts.join(" "));
    }
    !leaks(times)
}

fn count(name: &str, default: usize) -> usize {
    #[expect(clippy::disallowed_methods, reason = "how long the proof runs is the caller's choice")]
    let wanted = std::env::var(name);
    wanted.ok().and_then(|count| count.parse().ok()).unwrap_or(default)
}
