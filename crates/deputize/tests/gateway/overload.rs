//! R6: more requests than can be answered. Those that are let in are answered as fast as ever, nobody is let in who should not be, and
//! the process does not grow. Requests come when they come, whether or not those before are answered; who finds no connection within
//! 50 ms has gone elsewhere.
use super::{Folder, Running, deputize, until};
use jose::{Algorithm, Header, SigningKey};
use serde_json::json;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fs;
use std::net::TcpListener as Std;
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::LocalSet;
use tokio::time::{sleep, timeout};

const CONNECTIONS: usize = 64;
const PATIENCE: Duration = Duration::from_millis(50);
/// One request in so many has a token that must not pass.
const BAD: usize = 10;

/// What became of requests.
#[derive(Default)]
struct Outcome {
    admitted: Vec<Duration>,
    refused: usize,
    /// Bad tokens that were refused as such.
    denied: usize,
    elsewhere: usize,
    wrong: Vec<String>,
}

impl Outcome {
    /// Of those that were admitted, from when they came.
    fn p99(&mut self) -> Duration {
        self.admitted.sort_unstable();
        let at = self.admitted.len() * 99 / 100;
        self.admitted.get(at).copied().unwrap_or_default()
    }
}

struct Load {
    address: String,
    good: String,
    bad: String,
    outcome: RefCell<Outcome>,
    waiting: RefCell<VecDeque<Instant>>,
    came: Notify,
    /// How many were sent, on all connections.
    sent: Cell<usize>,
    denied: Cell<usize>,
}

impl Load {
    fn request(token: &str) -> String {
        format!("GET /orders/7 HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {token}\r\n\r\n")
    }

    /// One connection, on which requests are sent one after the other.
    async fn connection(self: Rc<Self>) {
        let mut stream = TcpStream::connect(&self.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut answer = Vec::with_capacity(4_096);
        loop {
            let came = loop {
                let next = self.waiting.borrow_mut().pop_front();
                match next {
                    Some(came) if came.elapsed() > PATIENCE => self.outcome.borrow_mut().elsewhere += 1,
                    Some(came) => break came,
                    None => self.came.notified().await,
                }
            };
            self.sent.set(self.sent.get() + 1);
            let is_bad = self.sent.get().is_multiple_of(BAD);
            let asked = if is_bad { &self.bad } else { &self.good };
            stream.write_all(asked.as_bytes()).await.unwrap();
            answer.clear();
            let head = loop {
                assert!(stream.read_buf(&mut answer).await.unwrap() > 0, "{}", String::from_utf8_lossy(&answer));
                if let Some(end) = whole(&answer) {
                    break end;
                }
            };
            let text = String::from_utf8_lossy(&answer[..head]).to_ascii_lowercase();
            let mut outcome = self.outcome.borrow_mut();
            match (text.get(9..12), is_bad) {
                (Some("200"), false) => outcome.admitted.push(came.elapsed()),
                (Some("401"), true) => outcome.denied += 1,
                (Some("429" | "503"), _) if text.contains("\r\nretry-after: ") => outcome.refused += 1,
                _ => outcome.wrong.push(text),
            }
        }
    }

    /// So many requests a second, for so long.
    async fn offer(&self, per_second: u32, lasting: Duration) -> Outcome {
        let (began, mut offered) = (Instant::now(), 0);
        while began.elapsed() < lasting {
            let due = usize::try_from(began.elapsed().as_micros() * u128::from(per_second) / 1_000_000).unwrap();
            {
                let mut waiting = self.waiting.borrow_mut();
                for _ in offered..due {
                    // What nobody could wait for is not kept.
                    if waiting.len() > 1_000_000 {
                        self.outcome.borrow_mut().elsewhere += 1;
                    } else {
                        waiting.push_back(Instant::now());
                    }
                }
            }
            for _ in 0..(due - offered).min(CONNECTIONS) {
                self.came.notify_one();
            }
            offered = due;
            sleep(Duration::from_millis(1)).await;
        }
        let mut waiting = self.waiting.borrow_mut();
        let mut outcome = self.outcome.take();
        outcome.elsewhere += waiting.len();
        waiting.clear();
        outcome
    }
}

/// Where the head ends, once all of the answer is there.
fn whole(answer: &[u8]) -> Option<usize> {
    let head = answer.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&answer[..head]).ok()?.to_ascii_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok())?;
    (answer.len() >= head + length).then_some(head)
}

async fn serve(listener: TcpListener) {
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        tokio::task::spawn_local(async move {
            let mut some = vec![0; 16 << 10];
            while stream.read(&mut some).await.is_ok_and(|length| length > 0) {
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ngood";
                if stream.write_all(answer).await.is_err() {
                    return;
                }
            }
        });
    }
}

fn resident_kib(process: u32) -> u32 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

/// Has a process work on one core alone, where there is a program for it.
fn pin(core: &str, process: u32) {
    let pinned = Command::new("taskset").args(["-acp", core, &process.to_string()]).stdout(Stdio::null()).status();
    assert!(pinned.is_ok_and(|status| status.success()), "`taskset` does not pin a process");
}

#[test]
fn r6_what_is_too_much_is_refused_and_the_rest_is_answered() {
    // In the tests there is no time to measure anything: what may never happen, may not happen here.
    let seconds: Option<u64> = std::env::var("DEPUTIZE_OVERLOAD_SECONDS").ok().map(|text| text.parse().unwrap());
    let lasting = seconds.map_or(Duration::from_millis(300), Duration::from_secs);
    let folder = Folder::new("overload");
    let (key, stranger) =
        (SigningKey::generate(Algorithm::ES256).unwrap(), SigningKey::generate(Algorithm::ES256).unwrap());
    folder.write("keys.json", &json!({ "keys": [key.public_jwk()] }).to_string());
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap();
    let claims = json!({
        "iss": "https://id.example/t1/v2.0", "aud": "api://orders", "sub": "ada", "oid": "ada", "tid": "t1", "azp": "spa",
        "scp": "Orders.Read", "idtyp": "user", "ver": "2.0", "uti": "u", "iat": now, "nbf": now, "exp": now + 3_600,
    });
    let token = |key: &SigningKey| key.sign(&Header::typ("JWT"), claims.to_string().as_bytes()).unwrap();
    // The name of the key that is known, and the signature of one that is not.
    let (good, other) = (token(&key), token(&stranger));
    let signed = good.rsplit_once('.').unwrap().0;
    let bad = format!("{signed}.{}", other.rsplit_once('.').unwrap().1);
    let service = Std::bind("127.0.0.1:0").unwrap();
    service.set_nonblocking(true).unwrap();
    let address = Std::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let text = format!(
        "listen = \"{address}\"\n[[issuer]]\nname = \"contoso\"\nissuer = \"https://id.example/t1/v2.0\"\njwks = \"keys.json\"\n\
         tenants = [\"t1\"]\n[[upstream]]\nname = \"orders\"\nurl = \"http://{}\"\n[[api]]\nname = \"orders\"\npath = \"/orders\"\n\
         upstream = \"orders\"\n[api.policies.validate_jwt]\nissuers = [\"contoso\"]\naudiences = [\"api://orders\"]\n\
         [[api.operation]]\nname = \"read\"\nmethod = \"GET\"\npath = \"/{{id}}\"\n",
        service.local_addr().unwrap()
    );
    let file = folder.write("gateway.toml", &text);
    let running = Running(deputize(&[&file]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    until(|| std::net::TcpStream::connect(&address).is_ok());
    if seconds.is_some() {
        pin("0", running.0.id());
        pin("1", std::process::id());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let local = LocalSet::new();
    let (good, bad) = (Load::request(&good), Load::request(&bad));
    let (outcome, waiting, came) = (RefCell::default(), RefCell::default(), Notify::new());
    let (sent, denied) = (Cell::new(0), Cell::new(0));
    let load = Rc::new(Load { address, good, bad, outcome, waiting, came, sent, denied });
    local.block_on(&runtime, async {
        tokio::task::spawn_local(serve(TcpListener::from_std(service).unwrap()));
        for _ in 0..CONNECTIONS {
            tokio::task::spawn_local(Rc::clone(&load).connection());
        }
        let check = |what: &str, offered: u32, mut outcome: Outcome| {
            let resident = resident_kib(running.0.id());
            let admitted = u32::try_from(outcome.admitted.len()).unwrap();
            let goodput = u32::try_from(u128::from(admitted) * 1_000_000 / lasting.as_micros()).unwrap();
            let p99 = outcome.p99();
            println!(
                "{what}: {offered} a second come, {goodput} are answered, p99 {p99:?}; {} are refused, {} find no connection, \
                 {} bad tokens are denied; {resident} KiB",
                outcome.refused, outcome.elsewhere, outcome.denied
            );
            assert!(outcome.wrong.is_empty(), "{what}: {:?}", outcome.wrong);
            load.denied.set(load.denied.get() + outcome.denied);
            (goodput, p99, resident)
        };
        let begin = load.offer(1_000, Duration::from_millis(500)).await;
        check("at the beginning", 1_000, begin);
        // More than there is: as many as can be.
        let most = if seconds.is_some() { 200_000 } else { 20_000 };
        let (peak, ..) = check("as many as can be", most, load.offer(most, lasting).await);
        let (_, calm, before) = check("a tenth of that", peak / 10, load.offer(peak / 10, lasting).await);
        for times in [2, 10] {
            let offered = peak * times;
            let (goodput, p99, resident) = check(&format!("{times} times that"), offered, load.offer(offered, lasting).await);
            println!(
                "  goodput {:.2} of the peak, p99 {:.1} times the calm one, memory {:.2} times",
                f64::from(goodput) / f64::from(peak),
                p99.as_secs_f64() / calm.as_secs_f64(),
                f64::from(resident) / f64::from(before)
            );
        }
        let calm = timeout(Duration::from_mins(1), load.offer(peak / 10, lasting)).await.unwrap();
        check("afterwards", peak / 10, calm);
        assert!(load.denied.get() > 0);
    });
}
