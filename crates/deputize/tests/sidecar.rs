//! The sidecar as a process: only with what a platform puts into its environment, as people and kubelets see it.
#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test of processes, in real time")]
use decision::Timestamp;
use jose::Algorithm;
use serde_json::{Value, json};
use std::net::TcpListener;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use testkit::{Issuer, SetClock};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

const JWK: &str = r#"{"kty":"EC","crv":"P-256","alg":"ES256","kid":"registered",
    "d":"870MB6gfuTJ4HtUnUvYMyJpr5eUZNP4Bk43bVdj3eAE","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
    "y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}"#;

fn sidecar(arguments: &[&str], variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_deputize"));
    command.arg("sidecar").args(arguments).env_clear().envs(variables.iter().copied());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// What it says and how it ends, where it ends by itself.
fn ended(arguments: &[&str], variables: &[(&str, &str)]) -> (Option<i32>, String, String) {
    told(sidecar(arguments, variables).output().unwrap())
}

fn told(output: Output) -> (Option<i32>, String, String) {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// One that runs; it ends with the test, whatever becomes of that.
struct Running(Option<Child>);

impl Running {
    fn start(variables: &[(&str, &str)]) -> Self {
        Self(Some(sidecar(&[], variables).spawn().unwrap()))
    }

    /// Asks it to end, as platforms do, and hears what it said.
    fn end(mut self) -> (Option<i32>, String, String) {
        let child = self.0.take().unwrap();
        let asked = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
        assert!(asked.success());
        told(child.wait_with_output().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

async fn ask(address: &str, head: &str, body: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    let length = body.len();
    let request =
        format!("{head} HTTP/1.1\r\nhost: {address}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
    let request = request.replacen("\r\n\r\n", "\r\ncontent-type: application/json\r\n\r\n", 1);
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    Some(answer)
}

async fn post(address: &str, path: &str, fields: Value) -> Value {
    let answer = ask(address, &format!("POST {path}"), &fields.to_string()).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
}

async fn healthy(address: &str) {
    let began = Instant::now();
    loop {
        if ask(address, "GET /healthz", "").await.is_some_and(|answer| answer.ends_with("\r\n\r\nok")) {
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(30), "it is not healthy");
        sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_platforms_variables_alone_it_serves_and_says_nothing_secret() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let clock = SetClock::at(Timestamp(i64::try_from(now).unwrap()));
    let entra = Issuer::start(clock.clone(), Algorithm::ES256).await.unwrap();
    let maskinporten = Issuer::start(clock, Algorithm::ES256).await.unwrap();
    let (api, probe, metrics) = (free_address(), free_address(), free_address());
    let (well_known, issuer) = (entra.metadata_url(), maskinporten.url());
    let (token, jwks) = (maskinporten.token_url(), maskinporten.jwks_url());
    let running = Running::start(&[
        ("BIND_ADDRESS", &api),
        ("PROBE_BIND_ADDRESS", &probe),
        ("METRICS_BIND_ADDRESS", &metrics),
        ("RUST_LOG", "trace"),
        ("AZURE_ENABLED", "true"),
        ("AZURE_APP_CLIENT_ID", "default"),
        ("AZURE_APP_JWK", JWK),
        ("AZURE_APP_WELL_KNOWN_URL", &well_known),
        ("MASKINPORTEN_ENABLED", "true"),
        ("MASKINPORTEN_CLIENT_ID", "default"),
        ("MASKINPORTEN_CLIENT_JWK", JWK),
        ("MASKINPORTEN_ISSUER", &issuer),
        ("MASKINPORTEN_TOKEN_ENDPOINT", &token),
        ("MASKINPORTEN_JWKS_URI", &jwks),
        ("TOKEN_X_ENABLED", "false"),
    ]);
    healthy(&probe).await;
    let machine = post(&api, "/api/v1/token", json!({ "identity_provider": "maskinporten", "target": "s" })).await;
    let user = entra.token(&json!({}));
    let fields = json!({ "identity_provider": "azuread", "target": "default", "user_token": user });
    let exchanged = post(&api, "/api/v1/token/exchange", fields).await;
    for (provider, token) in [("maskinporten", &machine), ("entra_id", &exchanged)] {
        let fields = json!({ "identity_provider": provider, "token": token["access_token"] });
        assert_eq!(post(&api, "/api/v1/introspect", fields).await["active"], true);
    }
    let wrong = json!({ "identity_provider": user, "target": user, "token": user });
    let refused = ask(&api, "POST /api/v1/token", &wrong.to_string()).await.unwrap();
    assert!(refused.starts_with("HTTP/1.1 400") && !refused.contains("eyJ"), "{refused}");
    let counted = ask(&metrics, "GET /metrics", "").await.unwrap();
    assert!(counted.contains("texas_handler_requests{") && !counted.contains("eyJ"), "{counted}");

    let (code, said, complained) = running.end();
    assert_eq!((code, complained.as_str()), (Some(0), ""));
    assert!(said.contains("the sidecar serves") && said.contains("the sidecar ends"), "{said}");
    for line in said.lines() {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"));
        assert!(line["message"].is_string() && line.get("fields").is_none(), "flat: {line}");
    }
    for secret in ["eyJ", "870MB6gf"] {
        assert!(!said.contains(secret), "{secret} is in the log");
    }
}

#[test]
fn what_keeps_it_from_starting_is_said_in_the_documented_words_with_code_1() {
    let (code, _, said) = ended(&[], &[("AZURE_ENABLED", "true")]);
    assert_eq!(
        (code, said.as_str()),
        (Some(1), "error: missing required environment variable 'AZURE_APP_CLIENT_ID'\n")
    );
    let (code, _, said) = ended(&[], &[("TOKEN_X_ENABLED", "yes")]);
    let told = "error: parse boolean option 'TOKEN_X_ENABLED': provided string was not `true` or `false`\n";
    assert_eq!((code, said.as_str()), (Some(1), told));
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (code, _, said) = ended(&[], &[("BIND_ADDRESS", &address)]);
    assert!(code == Some(1) && said.contains(&address) && said.contains("hint: "), "{said}");
}

#[test]
fn what_it_understood_is_shown_without_secrets() {
    let folder = std::env::temp_dir().join(format!("deputize-sidecar-file-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("sidecar.toml");
    std::fs::write(folder.join("secret"), "canary-secret\n").unwrap();
    let provider = "[[provider]]\nname = \"keycloak\"\ndiscovery = \"https://k.example/.well-known\"\nclient_id = \"me\"\n\
                    token = \"client-credentials\"\nsecret = { file = \"secret\" }\n";
    std::fs::write(&file, provider).unwrap();
    let path = file.to_str().unwrap();
    let variables = [
        ("MASKINPORTEN_ENABLED", "true"),
        ("MASKINPORTEN_CLIENT_ID", "m"),
        ("MASKINPORTEN_CLIENT_JWK", JWK),
        ("MASKINPORTEN_WELL_KNOWN_URL", "https://m.example/.well-known"),
        ("DEPUTIZE_CALLER_TOKEN", "canary-token"),
        ("HTTPS_PROXY", "http://user:canary-password@proxy.example:3128"),
    ];
    let (code, shown, said) = ended(&["--config", path, "--print-config"], &variables);
    assert_eq!((code, said.as_str()), (Some(0), ""));
    assert!(!shown.contains("canary") && !shown.contains("870MB6gf"), "{shown}");
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["providers"]["maskinporten"]["credential"]["key"]["kid"], "registered");
    assert!(shown["providers"]["keycloak"]["credential"]["secret_file"].as_str().unwrap().ends_with("secret"));
    assert_eq!(shown["for_the_application"]["NAIS_TOKEN_ENDPOINT"], "http://127.0.0.1:3000/api/v1/token");

    std::fs::write(&file, format!("{provider}audiance = \"x\"\n")).unwrap();
    let (code, _, said) = ended(&["--config", path, "--print-config"], &[]);
    assert!(code == Some(1) && said.contains("line 7") && said.contains("did you mean `audience`?"), "{said}");
    std::fs::write(&file, "bind = \"3000\"\n").unwrap();
    let (code, _, said) = ended(&["--config", path], &[]);
    assert!(code == Some(1) && said.contains("line 1: it is no address"), "{said}");
    std::fs::remove_dir_all(&folder).unwrap();
}

/// On SIGHUP the file is read again: rules bind from the next request on, what is held stays, and what is wrong changes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn its_configuration_is_read_again_while_it_serves() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let clock = SetClock::at(Timestamp(i64::try_from(now).unwrap()));
    let issuer = Issuer::start(clock, Algorithm::ES256).await.unwrap();
    let (api, metrics) = (free_address(), free_address());
    let file = std::env::temp_dir().join(format!("deputize-sidecar-again-{}.toml", std::process::id()));
    let provider = format!(
        "[[provider]]\nname = \"own\"\nissuer = \"{}\"\ntoken_endpoint = \"{}\"\njwks_uri = \"{}\"\nclient_id = \"me\"\n\
         secret = {{ env = \"SECRET\" }}\ntoken = \"client-credentials\"\n",
        issuer.url(),
        issuer.token_url(),
        issuer.jwks_url()
    );
    let write = |outbound: &str, more: &str| {
        std::fs::write(&file, format!("outbound = [{outbound}]\nbind = \"{api}\"\n{more}\n{provider}")).unwrap();
    };
    write(r#"{ target = "kept" }, { target = "before" }"#, "");
    let variables = [("SECRET", "s3cret"), ("METRICS_BIND_ADDRESS", metrics.as_str())];
    let mut child = sidecar(&["--config", file.to_str().unwrap()], &variables).spawn().unwrap();
    let said = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
    let running = Running(Some(child));
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    std::thread::spawn(move || said.map_while(Result::ok).try_for_each(|line| tell.send(line)));
    let mut hears = async |text: &str| loop {
        let line = tokio::time::timeout(Duration::from_secs(30), told.recv()).await.unwrap().unwrap();
        if line.contains(text) {
            return line;
        }
    };
    hears("the sidecar serves").await;
    let status = async |target: &str| {
        let body = json!({ "identity_provider": "own", "target": target }).to_string();
        let answer = ask(&api, "POST /api/v1/token", &body).await.unwrap();
        answer.get(9..12).unwrap().to_owned()
    };
    assert_eq!([status("kept").await, status("before").await, status("after").await], ["200", "200", "403"]);
    let pid = running.0.as_ref().unwrap().id().to_string();
    let hang_up = || assert!(Command::new("kill").args(["-HUP", &pid]).status().unwrap().success());

    write(r#"{ target = "kept" }, { target = "after" }"#, "[callers]\ntoken = { env = \"SECRET\" }");
    hang_up();
    hears("the configuration was read again").await;
    assert_eq!(status("kept").await, "401", "callers show a credential now");
    write(r#"{ target = "kept" }, { target = "after" }"#, "");
    hang_up();
    hears("the configuration was read again").await;
    assert_eq!([status("kept").await, status("before").await, status("after").await], ["200", "403", "200"]);
    assert_eq!(issuer.asked().len(), 3, "what is held stays");

    for (outbound, more, reason) in [
        ("{ target = ", "", "toml"),
        (r#"{ target = "before" }"#, "probe = \"nowhere\"", "no address"),
        (r#"{ target = "before" }"#, "[native]\nbind = \"127.0.0.1:0\"", "native/bind"),
    ] {
        write(outbound, more);
        hang_up();
        let line = hears("the one before goes on").await;
        assert!(line.contains(reason) || reason == "toml", "{line}");
        assert_eq!([status("before").await, status("after").await], ["403", "200"], "{reason}");
    }
    let counted = ask(&metrics, "GET /metrics", "").await.unwrap();
    let tokens = r#"texas_handler_requests{path="/api/v1/token",identity_provider="own",request_type="token"} "#;
    let count = counted.lines().find_map(|line| line.strip_prefix(tokens)).unwrap();
    assert_eq!(count, "12", "it goes on counting");
    assert_eq!(running.end().0, Some(0));
    std::fs::remove_file(&file).unwrap();
}
