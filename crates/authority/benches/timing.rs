//! R18: does time tell what is right? Two classes of input, interleaved at random, compared by Welch's t (as dudect does).
//!
//! `DEPUTIZE_TIMING_SECRETS` and `DEPUTIZE_TIMING_PASSWORDS` say how many samples; each line is `R18 <case> t=<value> n=<n>`,
//! and |t| of 4.5 or more is a failure.
use decision::Timestamp;
use deputize_authority::{Authority, Settings, authority, password_hash};
use deputize_core::audit::AuditRecord;
use deputize_core::client_auth::{Presented, gather};
use deputize_core::directory::Registration;
use deputize_core::id::{AppId, ObjectId, PrincipalId, TenantId, UserId};
use deputize_core::model::{Application, PasswordCredential, ServicePrincipal, Tenant, TenantSettings, User};
use deputize_core::sign_in::{Credentials, sign_in};
use deputize_core::ticket::{Page, Ticket};
use oauth::Form;
use std::error::Error;
use std::hint::black_box;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use store::{Change, Object, Store, StoreKeys};
use testkit::{Random, SetClock};
use uuid::Uuid;

const NOW: Timestamp = Timestamp(1_800_000_000);
const TENANT: TenantId = TenantId(Uuid::from_u128(1));
const APP: AppId = AppId(Uuid::from_u128(2));
const SECRET: &str = "9JxF~Q7dKp3mWz5tRb8vYc2nHs6gLq4aEu0oTi1r";
const LEAK: f64 = 4.5;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let folder = std::env::temp_dir().join(format!("deputize-timing-{}", std::process::id()));
    let result = run(&folder);
    let _ = std::fs::remove_dir_all(&folder);
    result
}

fn run(folder: &std::path::Path) -> Result<ExitCode, Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let clock = SetClock::at(NOW);
    let store = Arc::new(Store::open(&folder.join("store.db"), StoreKeys::new([7; 32]), Arc::new(clock.clone()))?);
    let authority = new_authority(&store, clock);
    runtime.block_on(store.apply(estate(&authority), record()?))?;
    let snapshot = authority.ports.directory.snapshot();
    let tenant = snapshot.tenant(TENANT).ok_or("no tenant")?.clone();
    let client = tenant.app(APP).ok_or("no client")?.clone();

    let (secrets, passwords) = (count("DEPUTIZE_TIMING_SECRETS", 100_000), count("DEPUTIZE_TIMING_PASSWORDS", 1_000));
    let near = format!("{}s", SECRET.get(..SECRET.len() - 1).unwrap_or_default());
    let far = "z".repeat(SECRET.len());
    let mut worst: f64 = 0.0;
    let mut report = |case: &str, t: f64, n: usize| {
        worst = worst.max(t.abs());
        #[expect(clippy::print_stdout, reason = "this is what the harness is for")]
        {
            println!("R18 {case} t={t:.2} n={n}");
        }
    };
    let secret = &mut |text: &str| secret_is_right(&authority, &client, text);
    let t = compare(secrets, 16, &mut |prefix, input| input.push_str(if prefix { &near } else { &far }), secret);
    report("client-secret:wrong/right-prefix", t, secrets);

    // What the harness would miss proves nothing: a comparison that leaves early must be seen.
    let early = &mut |text: &str| text.bytes().zip(SECRET.bytes()).all(|(a, b)| black_box(a) == b);
    let seen = compare(secrets, 16, &mut |prefix, input| input.push_str(if prefix { &near } else { &far }), early);
    if seen.abs() < LEAK {
        return Err(format!("this machine is too noisy: an early exit has t={seen:.2}").into());
    }

    let crypto = &authority.ports.crypto;
    let hash = password_hash("right", [5; 16]);
    let matches = &mut |who: &str| {
        runtime.block_on(crypto.password_matches("wrong", who.starts_with("ada").then_some(&*hash))) == Some(true)
    };
    let t = compare(passwords, 1, &mut |known, input| input.push_str(if known { "ada" } else { "eve" }), matches);
    report("password:no-user/wrong-password", t, passwords);

    let request = Form::default();
    let ticket = Ticket::new(&authority.ports, Page::SignIn, "cookie", None, &request, NOW);
    let mut guesses = 0_u32;
    let named = &mut |known: bool, input: &mut String| {
        guesses += 1;
        // A name is guessed once: what is not known of it is not remembered.
        let name = if known { "ada00000".to_owned() } else { format!("eve{guesses:05}") };
        input.push_str(&name);
        input.push_str("@contoso.example");
    };
    let tried = &mut |username: &str| {
        let typed = Credentials { username, password: "wrong" };
        runtime.block_on(sign_in(&authority.ports, Some(&tenant), APP, typed, &ticket, NOW)).is_ok()
    };
    report("sign-in:unknown-user/wrong-password", compare(passwords, 1, named, tried), passwords);
    Ok(if worst < LEAK { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn secret_is_right(authority: &Authority, client: &Registration, text: &str) -> bool {
    let facts = gather(Presented::Secret(text), Some(client), &*authority.ports.crypto);
    matches!(facts, deputize_core::facts::AuthenticationFacts::Secret { matched: Some(_), .. })
}

/// Times both classes, in random order. Inputs are written to one place, whose address tells nothing. `batch` calls make one
/// sample, where one alone is shorter than the clock's grain.
fn compare(
    samples: usize,
    batch: usize,
    input: &mut dyn FnMut(bool, &mut String),
    call: &mut dyn FnMut(&str) -> bool,
) -> f64 {
    let mut random = Random::seeded(0x18);
    let mut times: [Vec<f64>; 2] = [Vec::with_capacity(samples), Vec::with_capacity(samples)];
    let mut buffer = String::with_capacity(64);
    for sample in 0..samples + samples / 10 {
        let class = random.below(2) == 1;
        buffer.clear();
        input(class, &mut buffer);
        #[expect(clippy::disallowed_methods, reason = "a stopwatch")]
        let start = Instant::now();
        for _ in 0..batch {
            black_box(call(black_box(&buffer)));
        }
        let taken = start.elapsed().as_secs_f64();
        // The first tenth warms up.
        if sample >= samples / 10 {
            let [no, yes] = &mut times;
            if class { yes.push(taken) } else { no.push(taken) }
        }
    }
    // The slowest tenth is the machine's doing: interrupts and other processes.
    let mut all: Vec<f64> = times.iter().flatten().copied().collect();
    all.sort_by(f64::total_cmp);
    let limit = all.get(all.len() * 9 / 10).copied().unwrap_or(f64::MAX);
    let [no, yes] = times.map(|class| moments(class.into_iter().filter(|time| *time <= limit)));
    (yes.mean - no.mean) / (yes.variance / yes.count + no.variance / no.count).sqrt()
}

struct Moments {
    count: f64,
    mean: f64,
    variance: f64,
}

/// Welford's method.
fn moments(values: impl Iterator<Item = f64>) -> Moments {
    let (mut count, mut mean, mut squares) = (0.0, 0.0, 0.0);
    for value in values {
        count += 1.0;
        let delta = value - mean;
        mean += delta / count;
        squares += delta * (value - mean);
    }
    Moments { count, mean, variance: squares / (count - 1.0) }
}

fn count(name: &str, default: usize) -> usize {
    #[expect(clippy::disallowed_methods, reason = "how long the proof runs is the caller's choice")]
    let wanted = std::env::var(name);
    wanted.ok().and_then(|count| count.parse().ok()).unwrap_or(default)
}

fn new_authority(store: &Arc<Store>, clock: SetClock) -> Authority {
    let random = Mutex::new(Random::seeded(1));
    let settings = Settings {
        host: "https://login.example".to_owned(),
        signing_keys: Vec::new(),
        pepper: [3; 32],
        seal_key: [4; 32],
        random: Arc::new(move |buffer: &mut [u8]| {
            let mut random = random.lock().unwrap_or_else(PoisonError::into_inner);
            for (byte, chosen) in
                buffer.iter_mut().zip(std::iter::repeat_with(|| random.next().to_le_bytes()).flatten())
            {
                *byte = chosen;
            }
        }),
    };
    authority(settings, store.clone(), store.clone(), Arc::new(clock))
}

fn estate(authority: &Authority) -> Vec<Change> {
    let credential = PasswordCredential {
        key_id: ObjectId(Uuid::from_u128(3)),
        display_name: String::new(),
        digest: authority.ports.crypto.keyed_digest(SECRET),
        hint: String::new(),
        start_date_time: Timestamp(0),
        end_date_time: Timestamp(i64::MAX),
    };
    let application = Application {
        app_id: APP,
        home_tenant: TENANT,
        password_credentials: vec![credential],
        ..Application::default()
    };
    let domains = vec!["contoso.example".to_owned()];
    let settings = TenantSettings::default();
    let tenant = Tenant { id: TENANT, display_name: "Contoso".to_owned(), domains, enabled: true, settings };
    let principal = PrincipalId(Uuid::from_u128(4));
    let principal = ServicePrincipal {
        id: principal,
        tenant: TENANT,
        app_id: APP,
        account_enabled: true,
        app_role_assignment_required: false,
    };
    let ada = User {
        id: UserId(Uuid::from_u128(5)),
        tenant: TENANT,
        user_principal_name: "ada00000@contoso.example".to_owned(),
        display_name: "Ada".to_owned(),
        given_name: None,
        surname: None,
        mail: None,
        account_enabled: true,
        password_hash: Some(password_hash("right", [6; 16])),
        is_tenant_admin: false,
        sign_in_sessions_valid_from: Timestamp(0),
    };
    let objects = [
        Object::Tenant(tenant),
        Object::Application(application),
        Object::ServicePrincipal(principal),
        Object::User(ada),
    ];
    objects.into_iter().map(Change::from).collect()
}

fn record() -> Result<AuditRecord, serde_json::Error> {
    serde_json::from_value(serde_json::json!({"at": NOW, "decision": "timing", "action": "apply"}))
}
