//! What becomes of shared limits where Valkey is slow, hangs, is killed, talks nonsense or lets nobody in: callers are answered, each
//! gateway counts alone, and limits are shared again by themselves.
use crate::limits::{A, keyed};
use crate::shared_limits::{at, by_tenant, quota_by_tenant};
use crate::support::{World, variable};
use crate::valkey::{Gateway, Valkey, until};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const TENANT: [(&str, &str); 1] = [("x-tenant", "a")];

/// A server that lets everybody in, and then answers to scripts what it is told to, if anything.
struct Fake {
    url: String,
    connections: Arc<AtomicUsize>,
    scripts: Arc<AtomicUsize>,
}

impl Fake {
    async fn answering(answer: impl Into<Vec<u8>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("redis://{}", listener.local_addr().unwrap());
        let (connections, scripts, answer) = (Arc::default(), Arc::default(), Arc::new(answer.into()));
        let fake = Self { url, connections, scripts };
        let (connections, scripts) = (Arc::clone(&fake.connections), Arc::clone(&fake.scripts));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(converse(stream, Arc::clone(&scripts), Arc::clone(&answer)));
            }
        });
        fake
    }
}

async fn converse(mut stream: TcpStream, scripts: Arc<AtomicUsize>, answer: Arc<Vec<u8>>) {
    let mut bytes = Vec::new();
    loop {
        while let Some((words, length)) = command(&bytes) {
            bytes.drain(..length);
            let said = match words[0].as_str() {
                "PING" => b"+PONG\r\n".to_vec(),
                "SCRIPT" => format!("$40\r\n{}\r\n", sha1_smol::Sha1::from(&words[2]).digest()).into_bytes(),
                _ => {
                    scripts.fetch_add(1, Ordering::Relaxed);
                    answer.to_vec()
                }
            };
            if stream.write_all(&said).await.is_err() {
                return;
            }
        }
        match stream.read_buf(&mut bytes).await {
            Ok(length) if length > 0 => {}
            _ => return,
        }
    }
}

/// The words of the first command, and its length, if all of it is there.
fn command(bytes: &[u8]) -> Option<(Vec<String>, usize)> {
    let line = |from: usize| {
        let end = bytes[from..].windows(2).position(|pair| pair == b"\r\n")? + from;
        Some((std::str::from_utf8(&bytes[from + 1..end]).unwrap().parse::<usize>().unwrap(), end + 2))
    };
    let (count, mut from) = line(0)?;
    let mut words = Vec::new();
    for _ in 0..count {
        let (length, start) = line(from)?;
        words.push(String::from_utf8_lossy(bytes.get(start..start + length)?).into_owned());
        from = start + length + 2;
    }
    (bytes.len() >= from).then_some((words, from))
}

/// The same, which waits no longer than this.
fn impatient(url: &str, text: &str) -> String {
    at(url, text).replace("timeout_milliseconds = 10000", "timeout_milliseconds = 50")
}

#[tokio::test]
async fn a_server_that_is_killed_under_load_and_comes_back_costs_no_request() {
    let mut valkey = Valkey::start().await;
    let text = at(&valkey.url(), &by_tenant(40, ""));
    let gateways = [Arc::new(Gateway::sharing(&text).await), Arc::new(Gateway::sharing(&text).await)];
    let (ends, mut callers) = (Arc::new(AtomicBool::new(false)), tokio::task::JoinSet::new());
    for gateway in &gateways {
        for _ in 0..4 {
            let (gateway, ends) = (Arc::clone(gateway), Arc::clone(&ends));
            callers.spawn(async move {
                let mut passed = 0;
                while !ends.load(Ordering::Relaxed) {
                    match gateway.status(&TENANT).await {
                        200 => passed += 1,
                        429 => {}
                        other => panic!("{other}"),
                    }
                    gateway.world.clock.advance(1);
                }
                passed
            });
        }
    }
    until("some pass", async || gateways[0].decisions("answered").await > 20).await;
    valkey.kill();
    for gateway in &gateways {
        gateway.until_alone().await;
        let skipped = gateway.decisions("skipped").await;
        until("it decides alone", async || gateway.decisions("skipped").await > skipped + 50).await;
    }
    valkey.again().await;
    for gateway in &gateways {
        gateway.until_shared().await;
        let answered = gateway.decisions("answered").await;
        until("it is asked again", async || gateway.decisions("answered").await > answered + 50).await;
    }
    ends.store(true, Ordering::Relaxed);
    let passed: usize = callers.join_all().await.iter().sum();
    // Each period that is counted anew lets by 40: before, alone at each gateway, and after.
    assert!((80..=40 * 4).contains(&passed), "{passed}");
}

#[tokio::test]
async fn alone_a_gateway_lets_by_what_the_limit_says_less_what_it_knows_of_others() {
    let mut valkey = Valkey::start().await;
    let text = at(&valkey.url(), &by_tenant(10, ""));
    let (one, other) = (Gateway::sharing(&text).await, Gateway::sharing(&text).await);
    for _ in 0..6 {
        assert_eq!(one.status(&TENANT).await, 200);
    }
    assert_eq!(other.status(&TENANT).await, 200);
    valkey.kill();
    one.until_alone().await;
    other.until_alone().await;
    let mut passed = [0, 0];
    for _ in 0..12 {
        for (passed, gateway) in passed.iter_mut().zip([&one, &other]) {
            match gateway.status(&TENANT).await {
                200 => *passed += 1,
                status => assert_eq!(status, 429),
            }
        }
    }
    assert_eq!(passed, [4, 3], "the first was told of none, and the other of six");
    let (status, told) = one.ready().await;
    assert_eq!(status, 200, "it is ready all the same");
    assert!(
        told.starts_with("ready\nlimits are not shared, and each gateway counts alone: redis://127.0.0.1:"),
        "{told}"
    );
    assert_eq!(one.metric("deputize_gateway_shared_limits_up").await, "0");
    valkey.again().await;
    one.until_shared().await;
    assert_eq!(one.metric("deputize_gateway_shared_limits_up").await, "1");
}

#[tokio::test]
async fn what_is_let_by_alone_is_added_to_quotas_once_valkey_answers_again() {
    let valkey = Valkey::start().await;
    let text = keyed("[product.policies.quota]\n    calls = 100\n    renewal_period = 864000\n    shared = true");
    let gateway = Gateway::sharing(&impatient(&valkey.url(), &text)).await;
    assert_eq!(gateway.status(&[A]).await, 200);
    let key = valkey.key().await;
    valkey.signal("-STOP");
    gateway.until_alone().await;
    let unsure = gateway.decisions("late").await + gateway.decisions("failed").await;
    for _ in 0..20 {
        assert_eq!(gateway.status(&[A]).await, 200);
    }
    let unsure = gateway.decisions("late").await + gateway.decisions("failed").await - unsure;
    valkey.signal("-CONT");
    gateway.until_shared().await;
    assert_eq!(gateway.status(&[A]).await, 200);
    let calls: u64 = valkey.says(&["HGET", &key, "calls"]).await[0].parse().unwrap();
    assert!((22 - unsure..=22).contains(&calls), "{calls} of 22, {unsure} of which may not have been told");
    // All of it is known, so that no more than what is left is let by.
    let mut passed = 0;
    while gateway.status(&[A]).await == 200 {
        passed += 1;
    }
    assert!(passed <= 100 - calls, "{passed} after {calls}");
}

#[tokio::test]
async fn what_was_let_by_alone_in_another_window_is_not_added_to_this_one() {
    let valkey = Valkey::start().await;
    let text = keyed("[product.policies.quota]\n    calls = 100\n    renewal_period = 864000\n    shared = true");
    let gateway = Gateway::sharing(&at(&valkey.url(), &text)).await;
    assert_eq!(gateway.status(&[A]).await, 200);
    let key = valkey.key().await;
    valkey.signal("-STOP");
    gateway.until_alone().await;
    // The gateway's clock is ten days ahead while it counts alone.
    gateway.world.clock.advance(864_000);
    for _ in 0..5 {
        assert_eq!(gateway.status(&[A]).await, 200);
    }
    valkey.signal("-CONT");
    gateway.until_shared().await;
    assert_eq!(gateway.status(&[A]).await, 200);
    assert_eq!(valkey.says(&["HGET", &key, "calls"]).await, ["2"]);
}

#[tokio::test]
async fn nobody_waits_for_a_server_that_hangs() {
    let fake = Fake::answering("").await;
    let gateway = Gateway::sharing(&impatient(&fake.url, &by_tenant(5, ""))).await;
    let mut statuses = Vec::new();
    for _ in 0..200 {
        statuses.push(gateway.status(&TENANT).await);
    }
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 5, "{statuses:?}");
    // Three for each connection: then it is known.
    let (connections, scripts) = (fake.connections.load(Ordering::Relaxed), fake.scripts.load(Ordering::Relaxed));
    assert!((1..=3 * connections).contains(&scripts), "{scripts} over {connections}");
    assert_eq!(gateway.decisions("late").await + gateway.decisions("skipped").await, 200);
    gateway.until_alone().await;
    assert!(gateway.ready().await.1.ends_with(": it answers too late"));
}

#[tokio::test]
async fn a_server_that_hangs_is_known_to_before_anybody_asks() {
    let valkey = Valkey::start().await;
    let gateway = Gateway::sharing(&at(&valkey.url(), &by_tenant(5, ""))).await;
    valkey.signal("-STOP");
    gateway.until_alone().await;
    assert!(gateway.ready().await.1.contains(": it has fallen silent"));
    assert_eq!((gateway.status(&TENANT).await, gateway.decisions("skipped").await), (200, 1));
    valkey.signal("-CONT");
    gateway.until_shared().await;
}

#[tokio::test]
async fn a_server_that_talks_nonsense_about_a_quota_decides_nothing() {
    for nonsense in [
        "*3\r\n:1800000000\r\n:0\r\n:0\r\n",
        "*4\r\n:1800000000\r\n:0\r\n:0\r\n:1\r\n",
        "*6\r\n:1800000000\r\n:0\r\n:0\r\n:1\r\n:1\r\n:1\r\n",
        "*5\r\n:1800000000\r\n:2\r\n:1\r\n:9\r\n:9\r\n",
        "*5\r\n:1800000000\r\n:1\r\n:0\r\n:9\r\n:9\r\n",
        "*5\r\n:1800000000\r\n:1\r\n:3\r\n:9\r\n:9\r\n",
        "*5\r\n:1800000000\r\n:0\r\n:1\r\n:9\r\n:9\r\n",
        "*5\r\n:1800000000\r\n:0\r\n:0\r\n:-1\r\n:9\r\n",
        ":1\r\n",
    ] {
        let fake = Fake::answering(nonsense).await;
        let gateway = Gateway::sharing(&at(&fake.url, &quota_by_tenant("calls = 5"))).await;
        let mut passed = 0;
        for _ in 0..12 {
            match gateway.status(&TENANT).await {
                200 => passed += 1,
                status => assert_eq!(status, 403, "{nonsense:?}"),
            }
        }
        assert_eq!(passed, 5, "{nonsense:?}");
        gateway.until_alone().await;
        assert_eq!(gateway.decisions("answered").await, 0, "{nonsense:?}");
    }
}

#[tokio::test]
async fn a_server_that_talks_nonsense_decides_nothing() {
    let long = "+".to_owned() + &"a".repeat(100_000);
    for nonsense in [
        "HTTP/1.1 400 Bad Request\r\n\r\n",
        "+OK\r\n",
        ":1\r\n",
        "*0\r\n",
        "*1000000000\r\n",
        "$99999999999\r\n",
        "*1\r\n*1\r\n*1\r\n",
        "*3\r\n:1800000000\r\n:0\r\n:-1\r\n",
        "*3\r\n:-1800000000\r\n:0\r\n:1\r\n",
        "*3\r\n:9223372036854775807\r\n:0\r\n:1\r\n",
        "*4\r\n:1800000000\r\n:0\r\n:1\r\n:1\r\n",
        "*3\r\n:1800000000\r\n:2\r\n:9\r\n",
        "*3\r\n:1800000000\r\n:1\r\n:0\r\n",
        "*3\r\n:1800000000\r\n:1\r\n:301\r\n",
        "-ERR unknown command\r\n",
        "-NOSCRIPT No matching script\r\n",
        "-OOM command not allowed when used memory > 'maxmemory'\r\n",
        "-READONLY You can't write against a read only replica\r\n",
        "*3\r\n:1800000000\r\n:0\r\n:1\r\n+more than was asked for\r\n",
        "\r\n",
        &long,
    ] {
        let fake = Fake::answering(nonsense).await;
        let gateway = Gateway::sharing(&at(&fake.url, &by_tenant(5, ""))).await;
        let told = &nonsense[..nonsense.len().min(60)];
        let mut passed = 0;
        for _ in 0..12 {
            match gateway.status(&TENANT).await {
                200 => passed += 1,
                status => assert_eq!(status, 429, "{told:?}"),
            }
        }
        // Whatever the first answer before nonsense lets by was asked for.
        assert!((5..=6).contains(&passed), "{told:?}: {passed}");
        if !nonsense.contains("more than") {
            gateway.until_alone().await;
            assert_eq!(gateway.decisions("answered").await, 0, "{told:?}");
        }
    }
}

#[tokio::test]
async fn a_counter_that_was_tampered_with_harms_no_other() {
    let valkey = Valkey::start().await;
    let gateway = Gateway::sharing(&at(&valkey.url(), &by_tenant(2, ""))).await;
    assert_eq!(gateway.status(&TENANT).await, 200);
    let key = valkey.key().await;
    valkey.says(&["DEL", &key]).await;
    valkey.says(&["SET", &key, "nonsense"]).await;
    for (status, other) in [(200, 200), (429, 200), (429, 429), (429, 429)] {
        assert_eq!(gateway.status(&TENANT).await, status, "alone");
        assert_eq!(gateway.status(&[("x-tenant", "b")]).await, other);
    }
    assert_eq!(gateway.ready().await.1, "ready");
}

#[tokio::test]
async fn scripts_that_were_forgotten_are_told_again() {
    let valkey = Valkey::start().await;
    let gateway = Gateway::sharing(&at(&valkey.url(), &by_tenant(1_000, ""))).await;
    assert_eq!(gateway.status(&TENANT).await, 200);
    valkey.says(&["SCRIPT", "FLUSH"]).await;
    let answered = gateway.decisions("answered").await;
    until("it is asked again", async || {
        assert_eq!(gateway.status(&TENANT).await, 200);
        gateway.decisions("answered").await > answered
    })
    .await;
}

/// A table that logs in.
fn logging_in(url: &str, username: &str, variable: &str) -> String {
    let login = format!("username = \"{username}\"\n    password = {{ env = \"{variable}\" }}\n    timeout");
    at(url, &by_tenant(1, "")).replacen("timeout", &login, 1)
}

#[tokio::test]
async fn the_gateway_logs_in_and_needs_no_more_than_its_counters() {
    let password = variable("PASSWORD").unwrap();
    let commands = "+ping +script|load +evalsha +time +hgetall +hget +hmget +hset +hdel +hincrby +expire +expireat";
    let rules = format!("user gateway on >{} ~deputize:* {commands}", password.replace(' ', "_"));
    let folder = std::env::temp_dir().join(format!("deputize-gateway-valkey-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let acl = folder.join("users.acl");
    std::fs::write(&acl, format!("user default on nopass ~* &* +@all\n{rules}\n")).unwrap();
    std::fs::write(folder.join("password"), format!("{}\n", password.replace(' ', "_"))).unwrap();
    let valkey = Valkey::with(&["--aclfile", acl.to_str().unwrap()]).await;
    let of_file = format!("{{ file = \"{}\" }}", folder.join("password").display());
    let text = logging_in(&valkey.url(), "gateway", "PASSWORD").replacen("{ env = \"PASSWORD\" }", &of_file, 1);
    let gateway = Gateway::sharing(&text).await;
    assert_eq!((gateway.status(&TENANT).await, gateway.status(&TENANT).await), (200, 429));
    assert_eq!(gateway.decisions("answered").await, 2);
    // Who may not ask whether it is there is told so before anybody waits for it.
    valkey.says(&["ACL", "SETUSER", "gateway", "-ping"]).await;
    let mute = Gateway::of(World::start(&text).await).await;
    until("it is not used", async || mute.ready().await.1.contains("it refuses PING")).await;
    assert_eq!((mute.status(&TENANT).await, mute.decisions("skipped").await), (200, 1));
    valkey.says(&["ACL", "SETUSER", "gateway", "+ping"]).await;
    mute.until_shared().await;
    for (username, variable) in [("gateway", "SECRET"), ("nobody", "PASSWORD")] {
        let gateway = Gateway::of(World::start(&logging_in(&valkey.url(), username, variable)).await).await;
        until("it is not let in", async || gateway.ready().await.1.contains("it refuses the login")).await;
        let (_, told) = gateway.ready().await;
        assert!(!told.contains(&crate::support::variable(variable).unwrap()), "{told}");
        assert_eq!((gateway.status(&TENANT).await, gateway.status(&TENANT).await), (200, 429), "it counts alone");
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

#[tokio::test]
async fn over_tls_the_server_has_to_show_a_certificate_that_is_trusted() {
    let folder = std::env::temp_dir().join(format!("deputize-gateway-valkeys-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let made = |name: &str| {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap().self_signed(&key).unwrap();
        std::fs::write(folder.join(format!("{name}.pem")), certificate.pem()).unwrap();
        std::fs::write(folder.join(format!("{name}.key")), key.serialize_pem()).unwrap();
    };
    made("localhost");
    made("elsewhere");
    let path = |name: &str| folder.join(name).display().to_string();
    let [certificate, key] = ["localhost.pem", "localhost.key"].map(path);
    let tls = ["--tls-cert-file", &certificate, "--tls-key-file", &key, "--tls-auth-clients", "no"];
    let valkey = Valkey::with(&[&["--port", "0", "--tls-port", "{port}"][..], &tls].concat()).await;
    let text = |host: &str, trusted: &str| {
        let url = format!("rediss://{host}:{}", valkey.port);
        format!("trusted_certificates = \"{}\"\n{}", path(trusted), at(&url, &by_tenant(1, "")))
    };
    let gateway = Gateway::sharing(&text("localhost", "localhost.pem")).await;
    assert_eq!((gateway.status(&TENANT).await, gateway.status(&TENANT).await), (200, 429));
    assert_eq!(gateway.decisions("answered").await, 2);
    for (host, trusted) in [("localhost", "elsewhere.pem"), ("127.0.0.1", "localhost.pem")] {
        let gateway = Gateway::of(World::start(&text(host, trusted)).await).await;
        until("TLS fails", async || gateway.ready().await.1.contains("TLS fails")).await;
        assert_eq!(gateway.status(&TENANT).await, 200);
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

#[tokio::test]
async fn a_server_that_is_not_there_keeps_no_gateway_from_starting() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let gateway = Gateway::of(World::start(&at(&format!("redis://127.0.0.1:{port}"), &by_tenant(1, ""))).await).await;
    assert_eq!((gateway.status(&TENANT).await, gateway.status(&TENANT).await), (200, 429));
    until("it is told why", async || gateway.ready().await.1.contains("it cannot be reached")).await;
}
