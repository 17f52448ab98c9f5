//! The gateway as a process: what people who write its file are told, and how it runs and ends.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test of processes, in real time"
)]
mod ending;
mod floods;
mod listeners;
mod overload;
mod restart;
mod soak;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A folder of one test, gone with it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("deputize-gateway-test-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn deputize(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_deputize"));
    command.arg("gateway").args(arguments).env_remove("DEPUTIZE_LOG").stdin(Stdio::null());
    command
}

fn told(arguments: &[&str]) -> (i32, String, String) {
    let output = deputize(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
}

fn configuration(listen: &str, service: &str, status: u16) -> String {
    format!(
        r#"listen = "{listen}"

[[upstream]]
name = "orders"
url = "{service}"

[[api]]
name = "orders"
path = "/orders"
upstream = "orders"
public = true
[[api.operation]]
name = "read"
method = "GET"
path = "/{{id}}"
[[api.operation.policies.check_header]]
name = "x-edge"
failed_check_httpcode = {status}
failed_check_error_message = "not through the edge"
ignore_case = false
"#
    )
}

#[test]
fn check_says_what_is_wrong_with_file_and_line() {
    let folder = Folder::new("check");
    let sound = configuration("127.0.0.1:0", "http://127.0.0.1:9", 403);
    let file = folder.write("gateway.toml", &sound);
    assert_eq!(told(&["check", &file]), (0, format!("`{file}` is sound; operations: 1\n"), String::new()));
    let unshown = folder.write("unshown.toml", &format!("client_certificates = \"required\"\n{sound}"));
    let (code, _, error) = told(&["check", &unshown]);
    assert!(code != 0 && error.contains("over TLS only, and there is none"), "{error}");
    for (text, line, expected) in [
        (
            sound.replace("public = true\n", ""),
            12,
            "the operation `read` of the API `orders` has no policy that checks who calls\nhint: add `validate_jwt`",
        ),
        (
            sound.replace("upstream = \"orders\"", "upstream = \"order\""),
            10,
            "there is no upstream `order`\nhint: the file has orders",
        ),
        (
            sound.replace("ignore_case", "ignorecase"),
            20,
            "there is no property `ignorecase` here\nhint: did you mean `ignore_case`?",
        ),
        (
            sound.replace("failed_check_httpcode = 403", "failed_check_httpcode = 200"),
            18,
            "this status refuses nothing\nhint: write one from 400 to 499",
        ),
    ] {
        let file = folder.write("broken.toml", &text);
        let (code, out, error) = told(&["check", &file]);
        assert_eq!((code, out.as_str()), (1, ""));
        assert!(error.starts_with(&format!("error: `{file}` line {line}: {expected}")), "{error}");
    }
}

#[test]
fn effective_tells_what_applies_to_a_request() {
    let folder = Folder::new("effective");
    let file = folder.write("gateway.toml", &configuration("127.0.0.1:0", "http://127.0.0.1:9", 403));
    let shown = "orders/read\n  check_header (operation orders/read): `x-edge` is there\n  onward to orders: none\n";
    for arguments in [&["effective", &file][..], &["effective", &file, "GET", "https://api.example/x/../orders/7"]] {
        assert_eq!(told(arguments), (0, shown.to_owned(), String::new()));
    }
    let (code, _, error) = told(&["effective", &file, "POST", "/orders/7"]);
    assert!(code == 1 && error.contains("404 OperationNotFound"), "{error}");
    for (method, path, why) in [
        ("get", "/orders/7", "the method is not in capitals"),
        ("TRACE", "/orders/7", "the method is not forwarded here"),
        ("GET", "/orders/%2e%2e/7", "dot"),
    ] {
        let (code, _, error) = told(&["effective", &file, method, path]);
        assert!(code == 1 && error.contains("refuses this request") && error.contains(why), "{error}");
    }
}

#[test]
fn an_address_is_listened_at_once_and_a_level_of_the_log_is_one() {
    let folder = Folder::new("addresses");
    let sound = configuration("127.0.0.1:8999", "http://127.0.0.1:9", 403);
    for (text, problem) in [
        (
            format!("{sound}[[listener]]\nplain = true\naddress = \"localhost:8999\"\n"),
            "another listener has this address",
        ),
        (format!("status = \"127.0.0.1:8999\"\n{sound}"), "for something else"),
        (format!("log = \"warning\"\n{sound}"), "the setting `log` is no log filter"),
        (format!("log = [1]\n{sound}"), "hint: write a text in quotes"),
        (format!("connections_per_address = \"9\"\n{sound}"), "hint: write a whole number"),
        (format!("access_log = 1\n{sound}"), "hint: write `true` or `false`"),
        (sound.replace("[[api]]", "[api]"), "hint: write a list: `[…]`, or `[[…]]`"),
        (
            sound.replace("[[api.operation]]", "[[api.policies.cors]]\nallowed_origins = [\"*\"]\n[[api.operation]]"),
            "written as one of several\nhint: write `[api.policies.cors]`",
        ),
    ] {
        let (code, _, error) = told(&["check", &folder.write("gateway.toml", &text)]);
        assert!(code == 1 && error.contains(problem), "{problem}: {error}");
    }
    for level in ["info", "", "warn,deputize_guard=debug", "OFF", "deputize_guard"] {
        let (code, _, error) = told(&["check", &folder.write("gateway.toml", &format!("log = \"{level}\"\n{sound}"))]);
        assert_eq!((code, error.as_str()), (0, ""), "{level}");
    }
}

#[test]
fn without_a_certificate_only_this_machine_is_served() {
    let folder = Folder::new("plain");
    let file = folder.write("gateway.toml", &configuration("0.0.0.0:0", "http://127.0.0.1:9", 403));
    let (code, _, error) = told(&[&file]);
    assert_eq!(code, 1);
    assert!(error.contains("line 1: HTTP without TLS is served on loopback only"), "{error}");
}

/// One that runs; it ends with the test, whatever becomes of that.
struct Running(Child);

impl Running {
    fn signal(&self, name: &str) {
        let asked = Command::new("kill").args([name, &self.0.id().to_string()]).status().unwrap();
        assert!(asked.success());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A service that says `good` to everybody, one connection after the other.
fn service() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut some = [0; 4_096];
            let _ = stream.read(&mut some);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\nconnection: close\r\n\r\ngood");
        }
    });
    url
}

fn ask(address: &str, edge: bool) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    let field = if edge { "x-edge: 1\r\n" } else { "" };
    write!(stream, "GET /orders/7?secret=1 HTTP/1.1\r\nhost: a\r\n{field}connection: close\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    text.split(' ').nth(1).map(str::to_owned)
}

fn until(what: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !what() {
        assert!(Instant::now() < end, "it did not come");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn r19_it_reads_its_file_again_and_ends_in_order() {
    let folder = Folder::new("process");
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let service = service();
    let file = folder.write("gateway.toml", &configuration(&address, &service, 403));
    let mut running = Running(deputize(&[&file]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap());
    let mut lines = BufReader::new(running.0.stdout.take().unwrap()).lines();
    until(|| ask(&address, true).as_deref() == Some("200"));
    assert_eq!(ask(&address, false).as_deref(), Some("403"));
    let first: serde_json::Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    assert_eq!(
        (&first["operation"], &first["status"], &first["path"]),
        (&"orders/read".into(), &200.into(), &"/orders/7".into())
    );
    folder.write("gateway.toml", &configuration(&address, &service, 418));
    running.signal("-HUP");
    until(|| ask(&address, false).as_deref() == Some("418"));
    folder.write("gateway.toml", "broken");
    running.signal("-HUP");
    for _ in 0..5 {
        assert_eq!(ask(&address, false).as_deref(), Some("418"), "a broken file changes nothing");
    }
    running.signal("-TERM");
    assert_eq!(running.0.wait().unwrap().code(), Some(0));
    let rest: Vec<String> = lines.map(Result::unwrap).collect();
    assert!(rest.iter().any(|line| line.contains("\"status\":418") && line.contains("header.present")), "{rest:?}");
    assert!(rest.iter().all(|line| !line.contains("secret")), "queries are not logged");
}

#[test]
fn r19_a_file_that_a_start_would_refuse_or_that_is_cut_off_changes_nothing() {
    let folder = Folder::new("again");
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let service = service();
    let good = configuration(&address, &service, 403);
    let file = folder.write("gateway.toml", &good);
    let mut running = Running(deputize(&[&file]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap());
    let mut lines = BufReader::new(running.0.stderr.take().unwrap()).lines();
    let mut logged = |what: &str| {
        let line =
            lines.find_map(|line| line.ok().filter(|line| line.contains("configuration") || line.contains("settings")));
        assert!(line.as_deref().is_some_and(|line| line.contains(what)), "`{what}` is not logged: {line:?}");
    };
    until(|| ask(&address, true).as_deref() == Some("200"));
    let changed = good.replace("= 403", "= 418");
    let cut = changed.split("[[api]]").next().unwrap();
    for (text, problem) in [
        (changed.replace(&address, "nowhere"), "this is no address to listen at"),
        (changed.replace(&address, "0.0.0.0:0"), "HTTP without TLS is served on loopback only"),
        (format!("status = \"{address}\"\n{changed}"), "for something else"),
        (format!("connections_per_address = 0\n{changed}"), "out of range"),
        (format!("log = \"warning\"\n{changed}"), "the setting `log` is no log filter"),
        (cut.to_owned(), "no operation any more"),
        (String::new(), "no operation any more"),
    ] {
        folder.write("gateway.toml", &text);
        running.signal("-HUP");
        logged(problem);
        assert_eq!(ask(&address, false).as_deref(), Some("403"), "{problem}");
    }
    // What is read at the start only is told, and the rest of the file counts.
    folder.write("gateway.toml", &format!("status = \"localhost:0\"\naccess_log = false\n{changed}"));
    running.signal("-HUP");
    logged("was read again");
    logged("access_log, status");
    assert_eq!(ask(&address, false).as_deref(), Some("418"));
}

#[test]
fn g_13_authorities_that_are_trusted_no_more_take_a_restart_and_are_never_half_taken() {
    let folder = Folder::new("trusted");
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let authority = || {
        let key = rcgen::KeyPair::generate().unwrap();
        rcgen::CertificateParams::new(vec!["ca".to_owned()]).unwrap().self_signed(&key).unwrap().pem()
    };
    folder.write("ca.pem", &authority());
    let text = format!("trusted_certificates = \"ca.pem\"\n{}", configuration(&address, &service(), 403));
    let file = folder.write("gateway.toml", &text);
    let mut running = Running(deputize(&[&file]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap());
    let mut lines = BufReader::new(running.0.stderr.take().unwrap()).lines();
    until(|| ask(&address, true).as_deref() == Some("200"));
    folder.write("ca.pem", &authority());
    folder.write("gateway.toml", &text.replace("= 403", "= 418"));
    running.signal("-HUP");
    assert!(lines.any(|line| line.unwrap().contains("are read at the start only")));
    assert_eq!(ask(&address, false).as_deref(), Some("403"));
}

#[test]
fn while_it_ends_nobody_new_is_kept_waiting() {
    let folder = Folder::new("ends");
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let slow = TcpListener::bind("127.0.0.1:0").unwrap();
    let text = configuration(&address, &format!("http://{}", slow.local_addr().unwrap()), 403);
    for (name, text) in [("plain.toml", text.clone()), ("handed.toml", format!("handover = \"sockets\"\n{text}"))] {
        let mut running = Running(
            deputize(&[&folder.write(name, &text)]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap(),
        );
        until(|| TcpStream::connect(&address).is_ok());
        let asking = std::thread::spawn({
            let address = address.clone();
            move || ask(&address, true)
        });
        let (mut stream, _) = slow.accept().unwrap();
        let mut some = [0; 4_096];
        assert!(stream.read(&mut some).unwrap() > 0);
        running.signal("-TERM");
        until(|| TcpStream::connect(&address).is_err());
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\nconnection: close\r\n\r\ngood").unwrap();
        assert_eq!(asking.join().unwrap().as_deref(), Some("200"), "{name}");
        assert_eq!(running.0.wait().unwrap().code(), Some(0));
    }
}

#[test]
fn r7_the_files_of_credentials_are_looked_at_while_it_runs() {
    let folder = Folder::new("files");
    let put = |name: &str| {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap().self_signed(&key).unwrap();
        folder.write("own.key", &key.serialize_pem());
        folder.write("own.pem", &certificate.pem());
    };
    put("first");
    let onward = "public = true\n[api.onward.client_certificate]\ncertificate = \"own.pem\"\nkey = \"own.key\"\n";
    let text = configuration("127.0.0.1:0", "https://127.0.0.1:9", 403).replace("public = true\n", onward);
    let file = folder.write("gateway.toml", &text);
    let mut running = Running(deputize(&[&file]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap());
    let mut lines = BufReader::new(running.0.stderr.take().unwrap()).lines();
    let mut logged = |what: &str| assert!(lines.any(|line| line.unwrap().contains(what)), "`{what}` is not logged");
    logged("the gateway serves");
    folder.write("own.key", "broken");
    logged("what was read before stays");
    put("second");
    logged("was replaced");
}

/// A token of this issuer for the management API.
fn manager(issuer: &testkit::Issuer) -> String {
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    issuer.token(&serde_json::json!({
        "iss": "https://id.example/t1/v2.0", "aud": "api://gateway", "sub": "s", "oid": "o-admin", "tid": "t1", "azp": "portal",
        "idtyp": "app", "roles": ["Gateway.Manage"], "ver": "2.0", "uti": "u", "iat": now - 10, "nbf": now - 10, "exp": now + 3_000,
    }))
}

/// The status and the body of an answer of the management API.
fn manage(address: &str, token: &str, method: &str, path: &str, body: &str) -> Option<(String, String)> {
    let mut stream = TcpStream::connect(address).ok()?;
    write!(
        stream,
        "{method} /management/v1{path} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.to_owned(), body.to_owned()))
}

#[test]
fn subscriptions_are_managed_while_it_runs_outlive_it_and_a_drain_ends_it_in_order() {
    let folder = Folder::new("management");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let issuer =
        runtime.block_on(testkit::Issuer::start(testkit::SetClock::default(), jose::Algorithm::RS256)).unwrap();
    let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let (address, managed, jwks) = (free(), free(), issuer.jwks_url());
    let text = configuration(&address, &service(), 403).replace("public = true\n", "[api.policies.subscription_key]\n");
    let management = format!(
        "\n[management]\nlisten = \"{managed}\"\ndatabase = \"gateway.db\"\nissuers = [\"id\"]\naudiences = [\"api://gateway\"]\n\
         \n[[issuer]]\nname = \"id\"\nissuer = \"https://id.example/t1/v2.0\"\njwks_uri = \"{jwks}\"\ntenants = [\"t1\"]\n"
    );
    let file = folder.write("gateway.toml", &(text.clone() + &management));
    let start = || Running(deputize(&[&file]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    let call = |key: &str| -> Option<String> {
        let mut stream = TcpStream::connect(&address).ok()?;
        write!(stream, "GET /orders/7 HTTP/1.1\r\nhost: a\r\nx-edge: 1\r\nOcp-Apim-Subscription-Key: {key}\r\nconnection: close\r\n\r\n")
            .ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        text.split(' ').nth(1).map(str::to_owned)
    };
    let token = manager(&issuer);
    let status =
        |method: &str, path: &str, body: &str| manage(&managed, &token, method, path, body).map(|(status, _)| status);
    let first = start();
    until(|| status("GET", "/status", "").as_deref() == Some("200"));
    assert_eq!(manage(&managed, "none", "GET", "/status", "").unwrap().0, "401");
    let (made, body) = manage(&managed, &token, "PUT", "/subscriptions/a", "{\"scope\":\"/apis/orders\"}").unwrap();
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    let key = body["primaryKey"].as_str().unwrap();
    assert_eq!((made.as_str(), call(key).as_deref()), ("201", Some("200")));
    folder.write("gateway.toml", "broken");
    let (refused, message) = manage(&managed, &token, "POST", "/reload", "").unwrap();
    assert!(refused == "409" && message.contains("gateway.toml` line 1"), "{message}");
    let open = management.replace(&managed, "0.0.0.0:0");
    folder.write("gateway.toml", &(text.clone() + &open));
    let (refused, message) = manage(&managed, &token, "POST", "/reload", "").unwrap();
    assert!(refused == "409" && message.contains("without TLS is served on loopback only"), "{message}");
    folder.write("gateway.toml", &(text.replace("[api.policies.subscription_key]\n", "public = true\n") + &management));
    assert_eq!(status("POST", "/reload", "").as_deref(), Some("204"));
    assert_eq!(call("none").as_deref(), Some("200"));
    let mut first = first;
    assert_eq!(status("POST", "/drain", "").as_deref(), Some("202"));
    assert_eq!(first.0.wait().unwrap().code(), Some(0));
    folder.write("gateway.toml", &(text.clone() + &management));
    let mut second = start();
    until(|| call(key).as_deref() == Some("200"));
    assert_eq!(call("none").as_deref(), Some("401"));
    second.signal("-KILL");
    second.0.wait().unwrap();
    fs::rename(folder.0.join("gateway.db.key"), folder.0.join("elsewhere")).unwrap();
    let line = text.lines().count() + 4;
    let (code, _, error) = told(&[&file]);
    assert!(code == 1 && error.contains(&format!("line {line}: the key file")), "{error}");
    assert!(error.contains("hint: restore it from a backup"), "{error}");
    let open = (text + &management).replace(&format!("listen = \"{managed}\""), "listen = \"0.0.0.0:0\"");
    let file = folder.write("open.toml", &open);
    fs::rename(folder.0.join("elsewhere"), folder.0.join("gateway.db.key")).unwrap();
    let (code, _, error) = told(&[&file]);
    assert!(code == 1 && error.contains("the management API without TLS is served on loopback only"), "{error}");
}
