//! R11: callers, new keys, reloads and cut-offs, all at once and for long. No request fails, and the process stays as it is.
use super::{Folder, Running, deputize, until};
use jose::{Algorithm, Header, SigningKey};
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use testkit::{Issuer, SetClock};

const CALLERS: usize = 8;
/// Between two requests of a caller.
const PAUSE: Duration = Duration::from_millis(2);
/// A key set that has changed is asked for again five seconds later at the soonest.
const ROTATION: Duration = Duration::from_secs(6);
const RELOAD: Duration = Duration::from_secs(5);
const CUT_OFF: Duration = Duration::from_secs(2);
const CAEP: &str = "https://schemas.openid.net/secevent/caep/event-type/session-revoked";

fn now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap()
}

/// An issuer whose keys are replaced, and its stream of cut-offs.
struct Authority {
    provider: Issuer,
    issuer: String,
    keys: RwLock<Vec<SigningKey>>,
    told: Mutex<Vec<String>>,
    users: AtomicU64,
}

impl Authority {
    fn start(runtime: &tokio::runtime::Runtime) -> (Arc<Self>, String) {
        let clock = SetClock::at(decision::Timestamp(now()));
        let provider = runtime.block_on(Issuer::start(clock, Algorithm::ES256)).unwrap();
        let issuer = format!("{}/t1/v2.0", provider.url());
        let keys = RwLock::default();
        let authority = Arc::new(Self { provider, issuer, keys, told: Mutex::default(), users: AtomicU64::default() });
        authority.rotate();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/events", listener.local_addr().unwrap());
        let telling = Arc::clone(&authority);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let telling = Arc::clone(&telling);
                thread::spawn(move || telling.tell(stream));
            }
        });
        (authority, url)
    }

    /// Everything from the beginning, and a word every half a second.
    fn tell(&self, mut stream: TcpStream) {
        let mut told = 0;
        let mut text = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n".to_owned();
        loop {
            {
                let all = self.told.lock().unwrap();
                text.push_str(&all[told..].concat());
                told = all.len();
            }
            text.extend(["event: current\nid: ", &(told + 1).to_string(), "\ndata:\n\n"]);
            if stream.write_all(text.as_bytes()).is_err() {
                return;
            }
            text.clear();
            thread::sleep(Duration::from_millis(500));
        }
    }

    /// Signs with a new key; the one before is still published, and the one before that is not.
    fn rotate(&self) {
        let mut keys = self.keys.write().unwrap();
        keys.insert(0, SigningKey::generate(Algorithm::ES256).unwrap());
        keys.truncate(2);
        let set: Vec<Value> = keys.iter().map(|key| serde_json::to_value(key.public_jwk()).unwrap()).collect();
        self.provider.publish(json!({ "keys": set }).to_string());
    }

    fn sign(&self, typ: &str, claims: &Value) -> String {
        self.keys.read().unwrap()[0].sign(&Header::typ(typ), claims.to_string().as_bytes()).unwrap()
    }

    /// Another user, and their token.
    fn token(&self) -> (String, String) {
        let user = format!("user-{}", self.users.fetch_add(1, Ordering::Relaxed));
        let claims = json!({
            "iss": self.issuer, "aud": "api://orders", "sub": user, "oid": user, "tid": "t1", "azp": "spa",
            "scp": "Orders.Read", "idtyp": "user", "ver": "2.0", "uti": user, "iat": now(), "nbf": now(), "exp": now() + 600,
        });
        let token = self.sign("JWT", &claims);
        (user, token)
    }

    fn cuts_off(&self, user: &str) {
        let set = json!({
            "iss": self.issuer, "aud": ["gateway"], "iat": now(), "jti": user,
            "sub_id": {"format": "complex", "tenant": {"format": "opaque", "id": "t1"},
                "user": {"format": "iss_sub", "iss": self.issuer, "sub": user}},
            "events": {CAEP: {"event_timestamp": now(), "change": 1}},
        });
        let set = self.sign("secevent+jwt", &set);
        let mut told = self.told.lock().unwrap();
        let id = told.len() + 1;
        told.push(format!("event: cut-off\nid: {id}\ndata: {set}\n\n"));
    }
}

/// A service that says `good` to everybody.
fn service() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || {
                let mut caller = Caller(BufReader::new(stream));
                while caller.head().is_some_and(|lines| !lines.is_empty()) {
                    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ngood";
                    if caller.0.get_mut().write_all(answer).is_err() {
                        return;
                    }
                }
            });
        }
    });
    url
}

/// One end of a connection that is kept.
struct Caller(BufReader<TcpStream>);

impl Caller {
    fn open(address: &str) -> Option<Self> {
        Some(Self(BufReader::new(TcpStream::connect(address).ok()?)))
    }

    fn head(&mut self) -> Option<Vec<String>> {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line).ok()? == 0 {
                return Some(Vec::new());
            }
            match line.trim_end() {
                "" => return Some(lines),
                text => lines.push(text.to_ascii_lowercase()),
            }
        }
    }

    fn status(&mut self, token: &str) -> Option<u16> {
        let head = format!("GET /orders/7 HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {token}\r\n\r\n");
        self.0.get_mut().write_all(head.as_bytes()).ok()?;
        let head = self.head()?;
        let length = head.iter().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok())?;
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).ok()?;
        head.first()?.split(' ').nth(1)?.parse().ok()
    }
}

/// What the process takes: resident KiB, and descriptors.
fn taken(process: u32) -> (u32, usize) {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let resident = line.split_whitespace().next().unwrap().parse().unwrap();
    (resident, fs::read_dir(format!("/proc/{process}/fd")).unwrap().count())
}

/// The slope of a line through these, in KiB an hour.
fn slope(samples: &[(f64, f64)]) -> f64 {
    let count = f64::from(u32::try_from(samples.len()).unwrap());
    let mean = |of: fn(&(f64, f64)) -> f64| samples.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|sample| sample.0), mean(|sample| sample.1));
    let over = samples.iter().map(|sample| (sample.0 - x) * (sample.1 - y)).sum::<f64>();
    over / samples.iter().map(|sample| (sample.0 - x).powi(2)).sum::<f64>() * 3_600.0
}

#[test]
fn r11_callers_rotations_reloads_and_cut_offs_leave_the_process_as_it_is() {
    let seconds: u64 = std::env::var("DEPUTIZE_SOAK_SECONDS").map_or(8, |text| text.parse().unwrap());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (authority, events) = Authority::start(&runtime);
    let folder = Folder::new("soak");
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let text = format!(
        r#"listen = "{address}"
[[issuer]]
name = "contoso"
issuer = "{}"
jwks_uri = "{}"
tenants = ["t1"]
[[authority]]
name = "contoso"
token_endpoint = "{}"
events_endpoint = "{events}"
client_id = "gateway"
secret = {{ file = "secret.txt" }}
[[upstream]]
name = "orders"
url = "{}"
[[api]]
name = "orders"
path = "/orders"
upstream = "orders"
[api.policies.validate_jwt]
issuers = ["contoso"]
audiences = ["api://orders"]
cut_offs = "contoso"
[[api.operation]]
name = "read"
method = "GET"
path = "/{{id}}"
"#,
        authority.issuer,
        authority.provider.jwks_url(),
        authority.provider.token_url(),
        service()
    );
    folder.write("secret.txt", "a secret of sixteen");
    let file = folder.write("gateway.toml", &text);
    let running = Running(deputize(&[&file]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    let good = || Caller::open(&address)?.status(&authority.token().1);
    until(|| good() == Some(200));

    let (over, answered, failed) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let (mut rotations, mut reloads, mut cut_offs, mut samples) = (0, 0, 0, Vec::new());
    thread::scope(|scope| {
        for _ in 0..CALLERS {
            scope.spawn(|| {
                let mut caller = Caller::open(&address).unwrap();
                let mut token = authority.token().1;
                let mut count: u64 = 0;
                while !over.load(Ordering::Relaxed) {
                    // Another user now and then; and nobody keeps a token for longer than its key is published.
                    count += 1;
                    if count.is_multiple_of(8) {
                        token = authority.token().1;
                    }
                    let status = caller.status(&token);
                    if status == Some(200) {
                        answered.fetch_add(1, Ordering::Relaxed);
                    } else {
                        eprintln!("a request failed: {status:?}");
                        failed.fetch_add(1, Ordering::Relaxed);
                        caller = Caller::open(&address).unwrap();
                    }
                    thread::sleep(PAUSE);
                }
            });
        }
        let began = Instant::now();
        let mut since = [began; 4];
        let mut due = |at: usize, every: Duration| {
            let due = since[at].elapsed() >= every;
            if due {
                since[at] = Instant::now();
            }
            due
        };
        while began.elapsed() < Duration::from_secs(seconds) {
            thread::sleep(Duration::from_millis(50));
            if due(0, ROTATION) {
                authority.rotate();
                rotations += 1;
            }
            if due(1, RELOAD) {
                running.signal("-HUP");
                reloads += 1;
            }
            if due(2, CUT_OFF) {
                let (user, token) = authority.token();
                let status = || Caller::open(&address)?.status(&token);
                assert_eq!(status(), Some(200));
                authority.cuts_off(&user);
                until(|| status() == Some(401));
                cut_offs += 1;
            }
            if due(3, Duration::from_secs(1)) {
                let (resident, descriptors) = taken(running.0.id());
                samples.push((began.elapsed().as_secs_f64(), f64::from(resident), descriptors));
            }
        }
        over.store(true, Ordering::Relaxed);
    });
    let (answered, failed) = (answered.into_inner(), failed.into_inner());
    // The first third is for caches to fill.
    let steady = &samples[samples.len() / 3..];
    let resident: Vec<(f64, f64)> = steady.iter().map(|sample| (sample.0, sample.1)).collect();
    let descriptors = steady.iter().map(|sample| sample.2);
    let (least, most) = (descriptors.clone().min().unwrap(), descriptors.max().unwrap());
    let slope = slope(&resident);
    println!(
        "{seconds} s: {answered} requests, {failed} failed; {rotations} rotations, {reloads} reloads, {cut_offs} cut-offs; \
         {:.0} to {:.0} KiB resident, {slope:.0} KiB an hour; {least} to {most} descriptors",
        resident.first().unwrap().1,
        resident.last().unwrap().1,
    );
    assert!(answered > 0 && cut_offs > 0);
    assert_eq!(failed, 0);
    assert!(most - least <= 16, "{least} to {most} descriptors");
    // In less time a line through so few points says nothing.
    assert!(seconds < 600 || slope < 1_024.0, "{slope:.0} KiB an hour");
}
