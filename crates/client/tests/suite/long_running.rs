//! Work that outlives its request: sealed, bounded, one user's, and at an authority that replaces refresh tokens at each use.
use crate::support::{Authority, Hands, NOON, build, issued, jwt, orders};
use client::{Ask, Client, Error, FileSessions, MemorySessions, Scheme, SessionError, SessionStore, Sessions};
use oauth::Secret;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::sync::{Arc, Mutex};

const MASTER: [u8; 32] = [9; 32];
const TARGET: &str = "api://billing/Invoices.Read";

/// Refresh tokens are good once; one that comes twice ends the family, as RFC 9700 section 4.14.2 has it.
fn rotating() -> (Arc<Authority>, Arc<Mutex<Vec<String>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (keep, used) = (Arc::clone(&seen), Mutex::new(HashSet::new()));
    let authority = Authority::new(move |_, form| {
        let mut keep = keep.lock().unwrap();
        keep.push(form.value("scope").unwrap_or_default().to_owned());
        let n = keep.len();
        let answer = |name: &str| {
            json!({"token_type": "Bearer", "expires_in": 3600, "access_token": format!("{name}-{n}"),
                "refresh_token": format!("rt-{name}-{n}")})
        };
        match (form.value("assertion"), form.value("refresh_token")) {
            (Some(user), _) if form.value("scope").unwrap().contains("offline_access") => {
                let name = if *user == *jwt("bob", NOON + 900).expose() { "bob" } else { "ada" };
                (200, answer(name))
            }
            (Some(_), _) => issued("short", 3600),
            (_, Some(token)) if used.lock().unwrap().insert(token.to_owned()) => {
                (200, answer(token.split('-').nth(1).unwrap()))
            }
            _ => (400, json!({"error": "invalid_grant", "error_description": "used twice"})),
        }
    });
    (authority, seen)
}

fn keeping(store: &Arc<impl SessionStore + 'static>, authority: &Arc<Authority>, clock: &Arc<Hands>) -> Client {
    let sessions = Sessions::new(Arc::clone(store) as _, &MASTER, 10_000);
    build(orders().long_running(sessions), authority, clock)
}

async fn goes_on(client: &Client, key: &Secret) -> Result<String, Error> {
    let answered = client.continue_long_running(key, TARGET).await?;
    assert_eq!(answered.token.refresh_token, None, "what is lasting is not given out");
    Ok(answered.token.access_token.expose().to_owned())
}

/// Every name and every text below a directory.
fn texts(directory: &std::path::Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| format!("{} {}", path.display(), std::fs::read_to_string(&path).unwrap())).collect()
}

#[tokio::test]
async fn work_goes_on_without_the_user_across_restarts_and_ends() {
    let directory = std::env::temp_dir().join(format!("deputize-client-sessions-{}", std::process::id()));
    let store = FileSessions::new(&directory, 1 << 20);
    let (authority, seen) = rotating();
    let clock = Hands::at(NOON);
    let (key, user) = (Secret::new("canary-session-key"), jwt("ada", NOON + 900));
    let client = keeping(&store, &authority, &clock);
    let begun = client.begin_long_running(&key, &user, TARGET).await.unwrap();
    assert_eq!((&begun.token.refresh_token, begun.cached), (&None, false), "what is lasting is not given out");
    assert_eq!(client.cache().bytes(), 0, "nor held: it lies sealed, and nowhere else");
    assert_eq!(seen.lock().unwrap()[0], format!("{TARGET} offline_access"));
    for n in 2..5 {
        // The user's token has ended, and this is another process each time.
        clock.forward(2_000);
        let client = keeping(&store, &authority, &clock);
        assert_eq!(goes_on(&client, &key).await, Ok(format!("ada-{n}")));
        assert_eq!(goes_on(&client, &key).await, Ok(format!("ada-{n}")), "held");
    }
    let kept = texts(&directory);
    assert_eq!(kept.len(), 1);
    assert!(!kept[0].contains("canary") && !kept[0].contains("rt-") && !kept[0].contains("ada"), "sealed: {kept:?}");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let path = std::fs::read_dir(&directory).unwrap().next().unwrap().unwrap().path();
        assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let client = keeping(&store, &authority, &clock);
    goes_on(&client, &key).await.unwrap();
    client.end_long_running(&key).await.unwrap();
    assert_eq!(goes_on(&client, &key).await, Err(SessionError::Unknown.into()), "what was held is gone too");
    assert_eq!(texts(&directory).len(), 0);
    std::fs::remove_dir_all(&directory).unwrap();
}

#[tokio::test]
async fn work_ends_at_its_time_whatever_the_tokens_say() {
    let (authority, _) = rotating();
    let (clock, key) = (Hands::at(NOON), Secret::new("k"));
    let client = keeping(&MemorySessions::new(1 << 20), &authority, &clock);
    client.begin_long_running(&key, &jwt("ada", NOON + 900), TARGET).await.unwrap();
    clock.forward(9_000);
    goes_on(&client, &key).await.unwrap();
    clock.forward(999);
    goes_on(&client, &key).await.unwrap();
    clock.forward(1);
    assert_eq!(goes_on(&client, &key).await, Err(SessionError::Unknown.into()));
}

#[tokio::test]
async fn a_session_key_belongs_to_one_user_and_to_one_client() {
    let (authority, _) = rotating();
    let clock = Hands::at(NOON);
    let store = MemorySessions::new(1 << 20);
    let client = keeping(&store, &authority, &clock);
    let (key, ada, bob) = (Secret::new("k"), jwt("ada", NOON + 900), jwt("bob", NOON + 900));
    let ada_claims = |exp: i64| {
        use base64::Engine;
        let part = |value: Value| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(value.to_string());
        Secret::new(format!("{}.{}.s", part(json!({})), part(json!({"tid": "t", "oid": "ada", "exp": exp}))))
    };
    client.begin_long_running(&key, &ada_claims(NOON + 900), TARGET).await.unwrap();
    for other in [&bob, &ada, &Secret::new("opaque")] {
        let refused = client.begin_long_running(&key, other, TARGET).await.map(|_| ());
        assert_eq!(refused, Err(SessionError::OfAnotherUser.into()), "the work would go on as somebody else");
    }
    // The same user, signed in again.
    client.begin_long_running(&key, &ada_claims(NOON + 950), TARGET).await.unwrap();
    assert!(goes_on(&client, &key).await.unwrap().starts_with("ada"));
    for unknown in ["", "K", "k ", "kk"] {
        assert_eq!(goes_on(&client, &Secret::new(unknown)).await, Err(SessionError::Unknown.into()));
    }
    let sessions = Sessions::new(Arc::clone(&store) as _, &MASTER, 10_000);
    let endpoints = client::Endpoints::entra("https://login.example/contoso");
    let other = build(Client::builder(endpoints, "other").long_running(sessions), &authority, &clock);
    assert_eq!(goes_on(&other, &key).await, Err(SessionError::Unknown.into()), "another client");
    let sessions = Sessions::new(Arc::clone(&store) as _, &[8; 32], 10_000);
    let other = build(orders().long_running(sessions), &authority, &clock);
    assert_eq!(goes_on(&other, &key).await, Err(SessionError::Unknown.into()), "another master key");
}

/// As a question among others, work has all that questions have.
#[tokio::test]
async fn work_asks_for_claims_and_for_bound_tokens_as_any_question_does() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let keep = Arc::clone(&seen);
    let authority = Authority::new(move |_, form| {
        let value = |name: &str| form.value(name).unwrap_or_default().to_owned();
        keep.lock().unwrap().push(["grant_type", "claims", "req_cnf", "scope"].map(value));
        let kind = if form.mentions("req_cnf") { "pop" } else { "Bearer" };
        (200, json!({"token_type": kind, "expires_in": 3600, "access_token": "t", "refresh_token": "rt"}))
    });
    let client = keeping(&MemorySessions::new(1 << 20), &authority, &Hands::at(NOON));
    let (key, user) = (Secret::new("k"), jwt("ada", NOON + 900));
    client.ask(&Ask::on_behalf_of(&user, "a").begins(&key).claims("{}")).await.unwrap();
    let bound = client.ask(&Ask::in_session(&key, "a").bound_to("eyJraWQiOiJrIn0")).await.unwrap();
    assert_eq!(bound.token.scheme, Scheme::Pop);
    for cached in [false, true] {
        let plain = client.ask(&Ask::in_session(&key, "a")).await.unwrap();
        assert_eq!((plain.token.scheme, plain.cached), (Scheme::Bearer, cached), "the bound one is another");
    }
    client.ask(&Ask::in_session(&key, "a").claims("{}").fresh(true)).await.unwrap();
    let obo = "urn:ietf:params:oauth:grant-type:jwt-bearer";
    let expected = [
        [obo, "{}", "", "a offline_access"],
        ["refresh_token", "", "eyJraWQiOiJrIn0", "a"],
        ["refresh_token", "", "", "a"],
        ["refresh_token", "{}", "", "a"],
    ];
    assert_eq!(*seen.lock().unwrap(), expected.map(|one| one.map(str::to_owned)));
    let begun = client.ask(&Ask::application("a").begins(&key)).await;
    assert!(matches!(begun, Err(Error::Request(_))), "an application's work is nobody's delegation");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_at_one_session_uses_no_refresh_token_twice() {
    let (authority, _) = rotating();
    let client = keeping(&MemorySessions::new(1 << 20), &authority, &Hands::at(NOON));
    let key = Secret::new("k");
    client.begin_long_running(&key, &jwt("ada", NOON + 900), TARGET).await.unwrap();
    let crowd: Vec<_> = (0..60)
        .map(|n| {
            let (client, key) = (client.clone(), key.clone());
            tokio::spawn(
                async move { client.continue_long_running(&key, &format!("api://{}/x", n % 6)).await.map(|_| ()) },
            )
        })
        .collect();
    for one in crowd {
        assert_eq!(one.await.unwrap(), Ok(()));
    }
    assert_eq!(authority.calls(), 1 + 6, "one for each target");
}

#[tokio::test]
async fn what_cannot_last_is_not_begun() {
    let authority = Authority::new(|_, _| issued("t", 3600));
    let client = keeping(&MemorySessions::new(1 << 20), &authority, &Hands::at(NOON));
    let (key, user) = (Secret::new("k"), jwt("ada", NOON + 900));
    assert_eq!(client.begin_long_running(&key, &user, TARGET).await.map(|_| ()), Err(SessionError::NotLasting.into()));
    let plain = build(orders(), &authority, &Hands::at(NOON));
    assert_eq!(plain.begin_long_running(&key, &user, TARGET).await.map(|_| ()), Err(SessionError::NotKept.into()));
    assert!(plain.ask(&Ask::on_behalf_of(&user, TARGET)).await.is_ok());
}

#[tokio::test]
async fn both_stores_keep_to_their_bytes_and_to_time() {
    let directory = std::env::temp_dir().join(format!("deputize-client-bounds-{}", std::process::id()));
    let (memory, files) = (MemorySessions::new(3_000), FileSessions::new(&directory, 3_000));
    let at = |second: i64| decision::Timestamp(NOON + second);
    let stores: [Arc<dyn SessionStore>; 2] = [memory, files];
    for store in stores {
        let text = "x".repeat(1_000);
        assert_eq!(store.load("a").await, Ok(None));
        store.save("a", &text, at(10), at(0)).await.unwrap();
        store.save("b", &text, at(20), at(0)).await.unwrap();
        assert_eq!(store.save("c", &text, at(30), at(0)).await, Err(SessionError::Full));
        store.save("b", &text[..900], at(20), at(0)).await.unwrap();
        assert_eq!(store.load("b").await.unwrap().as_deref(), Some(&text[..900]), "replaced");
        store.save("c", &text, at(30), at(10)).await.unwrap();
        assert_eq!(store.load("a").await, Ok(None), "what had ended made room");
        store.remove("c").await.unwrap();
        store.remove("c").await.unwrap();
        assert_eq!(store.load("c").await, Ok(None));
    }
    let files = FileSessions::new(&directory, 3_000);
    for path in ["", "../a", "a/b", ".a"] {
        assert!(matches!(files.save(path, "x", at(9), at(0)).await, Err(SessionError::Store(_))), "{path}");
    }
    std::fs::remove_dir_all(&directory).unwrap();
}
