//! `deputize run`, as people run it: what is inside, that nothing of it is outside, and that endings are the command's.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test of processes, in real time")]
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::Duration;

const HOST: &str = "login.microsoftonline.com";
const INSIDE: &str = "127.64.0.1:443";
/// An estate that is quick to serve.
const ESTATE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/run.toml");

fn deputize(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_deputize"));
    command.args(arguments).env_remove("DEPUTIZE_LOG").env_remove("DEPUTIZE_MASTER_KEY").stdin(Stdio::null());
    command
}

/// Runs a shell's text inside.
fn shell(options: &[&str], text: &str) -> Output {
    let mut command = deputize(&["run", "--estate", ESTATE]);
    command.args(options).args(["--", "sh", "-c", text]).output().unwrap()
}

/// Whether this kernel allows what is tested here; loud where it does not.
fn allowed() -> bool {
    let tried = shell(&["-q"], "true");
    if tried.status.success() {
        return true;
    }
    let said = String::from_utf8_lossy(&tried.stderr).into_owned();
    assert!(said.contains("allows no namespace"), "{said}");
    let _ = writeln!(std::io::stderr(), "SKIPPED: this kernel allows no user namespaces, so nothing was shown\n{said}");
    false
}

/// A run that goes on until it is dropped. Its command first says a line.
struct Running {
    child: Child,
    said: BufReader<ChildStdout>,
}

impl Running {
    fn start(options: &[&str], text: &str) -> Self {
        let mut command = deputize(&["run", "--quiet", "--estate", ESTATE]);
        command.args(options).args(["--", "sh", "-c", text]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let said = BufReader::new(child.stdout.take().unwrap());
        Self { child, said }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.said.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    fn ended(mut self) -> std::process::ExitStatus {
        drop(self.child.stdin.take());
        self.child.wait().unwrap()
    }
}

fn told(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// A port that is free now.
fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

/// What this machine says about names and trust.
fn outside() -> Vec<(String, Option<Vec<u8>>)> {
    let files =
        ["/etc/hosts", "/etc/nsswitch.conf", "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"];
    files.iter().map(|file| ((*file).to_owned(), fs::read(file).ok())).collect()
}

/// The private folders of runs, as they look from outside.
fn folders() -> Vec<PathBuf> {
    let entries = fs::read_dir(std::env::temp_dir()).unwrap().flatten();
    entries.map(|entry| entry.path().join("private")).filter(|folder| folder.is_dir()).collect()
}

#[test]
fn sign_in_hosts_lead_to_the_authority_inside_and_nothing_else_is_reached() {
    if !allowed() {
        return;
    }
    let text = "getent hosts login.microsoftonline.com sts.windows.net westeurope.login.microsoft.com; cat /proc/net/dev | wc -l; \
                env | grep -c private/ca-bundle.pem; grep -c BEGIN $SSL_CERT_FILE; id -u";
    let (code, said, announced) = told(&shell(&[], text));
    assert_eq!(code, Some(0), "{announced}");
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.iter().filter(|line| line.starts_with("127.64.0.1 ")).count(), 3, "{said}");
    let user = told(&Command::new("id").arg("-u").output().unwrap()).1;
    // Two lines of heading and the loopback device; six variables; the run's certificate alone; the user's own id.
    assert_eq!(lines.iter().skip(3).copied().collect::<Vec<_>>(), ["3", "6", "1", user.trim()], "{said}");
    assert!(announced.contains("it is not Microsoft's"), "{announced}");
    assert!(announced.contains("api://parts"), "the ids are told: {announced}");
}

#[test]
fn a_program_without_an_environment_trusts_the_authority_too() {
    if !allowed() {
        return;
    }
    let places = ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];
    let place = places.into_iter().find(|place| fs::exists(place).unwrap());
    let Some(place) = place else { return };
    let (_, said, error) =
        told(&shell(&["-q"], &format!("grep -c BEGIN {place}; cmp {place} $SSL_CERT_FILE && echo same")));
    assert_eq!(said, "1\nsame\n", "{error}");
    // Proxies are outside; whoever still asked them would get no answer.
    let mut command = deputize(&["run", "-q", "--estate", ESTATE, "--", "env"]);
    command.env("HTTPS_PROXY", "http://proxy.example:3128").env("DEPUTIZE_MASTER_KEY", "a5".repeat(32));
    let (_, said, error) = told(&command.output().unwrap());
    assert!(said.contains("REQUESTS_CA_BUNDLE="), "{error}");
    assert!(
        !said.contains("proxy.example") && !said.contains("a5a5"),
        "the master key is not the command's either: {said}"
    );
}

#[test]
fn nothing_of_it_is_seen_outside() {
    if !allowed() {
        return;
    }
    let before = outside();
    let resolve = || (HOST, 443).to_socket_addrs().map(Iterator::collect::<Vec<_>>).unwrap_or_default();
    let data = std::env::temp_dir().join(format!("deputize-test-run-{}", std::process::id()));
    let kept = data.to_str().unwrap().to_owned();
    let text = "echo $SSL_CERT_FILE; grep -rl 'PRIVATE KEY' $(dirname $SSL_CERT_FILE); echo; cat";
    let mut run = Running::start(&["--data", &kept], text);
    let bundle = PathBuf::from(run.line());
    assert!(bundle.is_absolute(), "{}", bundle.display());
    assert_eq!(run.line(), "", "no private key is in any file inside");
    assert_eq!(before, outside(), "files of the host while it goes on");
    let (private, inside): (IpAddr, SocketAddr) = ("127.64.0.1".parse().unwrap(), INSIDE.parse().unwrap());
    assert!(resolve().iter().all(|address| address.ip() != private), "the name means outside what it meant");
    assert!(TcpStream::connect_timeout(&inside, Duration::from_secs(2)).is_err(), "nobody answers outside");
    assert!(!bundle.exists(), "the run's files are not there for others");
    let folder = bundle.parent().unwrap();
    assert!(folders().iter().any(|seen| seen == folder), "its place is");
    assert_eq!(fs::read_dir(folder).unwrap().count(), 0, "and is empty");
    for entry in fs::read_dir(&data).unwrap().flatten().filter(|entry| entry.path().is_file()) {
        let bytes = fs::read(entry.path()).unwrap();
        assert!(!bytes.windows(11).any(|part| part == b"PRIVATE KEY"), "{}", entry.path().display());
    }
    assert!(run.ended().success());
    assert_eq!(before, outside(), "files of the host afterwards");
    assert!(!folder.parent().unwrap().exists(), "it cleans up");
    fs::remove_dir_all(data).unwrap();
}

#[test]
fn the_command_s_ending_and_signals_are_its_own() {
    if !allowed() {
        return;
    }
    assert_eq!(shell(&["-q"], "exit 7").status.code(), Some(7));
    let killed = shell(&["-q"], "kill -TERM $$").status;
    assert_eq!(killed.signal(), Some(15), "{killed:?}");
    let (code, _, error) =
        told(&deputize(&["run", "-q", "--estate", ESTATE, "--", "/nowhere/to-be-found"]).output().unwrap());
    assert_eq!(code, Some(127), "{error}");
    assert_eq!(
        deputize(&["run", "-q", "--estate", ESTATE, "--", "/etc/hosts"]).output().unwrap().status.code(),
        Some(126)
    );
    let (code, _, error) = told(&deputize(&["run", "--estate", "/nowhere.toml", "--", "true"]).output().unwrap());
    assert_eq!((code, error.contains("/nowhere.toml")), (Some(125), true), "{error}");

    let mut run =
        Running::start(&[], "trap 'echo heard; kill $!; exit 9' TERM; sleep 600 >/dev/null & echo ready; wait");
    assert_eq!(run.line(), "ready");
    let asked = Command::new("kill").args(["-TERM", &run.child.id().to_string()]).status().unwrap();
    assert!(asked.success());
    assert_eq!(run.line(), "heard");
    assert_eq!(run.ended().code(), Some(9));
}

#[test]
fn who_kills_the_outer_process_ends_the_command() {
    if !allowed() {
        return;
    }
    let mut run = Running::start(&[], "echo ready; exec cat");
    assert_eq!(run.line(), "ready");
    run.child.kill().unwrap();
    // Its output ends when nobody holds it any more, though its input is still open.
    let mut rest = String::new();
    run.said.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "");
    run.child.wait().unwrap();
}

#[test]
fn a_published_port_is_reached_from_outside_and_another_is_not() {
    if !allowed() {
        return;
    }
    let (port, other) = (free_port(), free_port());
    // A server of the command: this very test program, started inside.
    let own = std::env::current_exe().unwrap();
    let serve = format!("PORTS={port},{other} exec '{}' --exact serves_inside --ignored --nocapture", own.display());
    let mut run = Running::start(&["--publish", &port.to_string()], &serve);
    while run.line() != "serving" {}
    let mut answer = String::new();
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap().read_to_string(&mut answer).unwrap();
    assert_eq!(answer, format!("hello from {port}"));
    assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, other)).is_err(), "a port that is not published");
    assert!(run.ended().success());
    assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err(), "it ends with the command");
}

/// Not a test: what the command of the one above does. It answers on each port until its input ends.
#[test]
#[ignore = "a program for another test"]
fn serves_inside() {
    for port in std::env::var("PORTS").unwrap().split(',') {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port.parse().unwrap())).unwrap();
        let hello = format!("hello from {port}");
        std::thread::spawn(move || {
            for caller in listener.incoming() {
                caller.unwrap().write_all(hello.as_bytes()).unwrap();
            }
        });
    }
    writeln!(std::io::stdout(), "\nserving").unwrap();
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).unwrap();
}

/// Not a test: says what it hears from a server, or that there is none.
#[test]
#[ignore = "a program for another test"]
fn calls_from_inside() {
    for server in std::env::var("SERVERS").unwrap().split(',') {
        let mut heard = String::new();
        let called = TcpStream::connect(server).and_then(|mut stream| stream.read_to_string(&mut heard));
        writeln!(std::io::stdout(), "\n{server} {}", if called.is_ok() { heard.as_str() } else { "cannot be reached" })
            .unwrap();
    }
}

#[test]
fn an_allowed_server_is_reached_from_inside_and_another_is_not() {
    if !allowed() {
        return;
    }
    let servers: Vec<TcpListener> = (0..2).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()).collect();
    let ports: Vec<u16> = servers.iter().map(|server| server.local_addr().unwrap().port()).collect();
    for server in servers {
        std::thread::spawn(move || {
            for caller in server.incoming() {
                caller.unwrap().write_all(b"hello from outside").unwrap();
            }
        });
    }
    let [allowed, other] = ports.as_slice() else { panic!("{ports:?}") };
    let own = std::env::current_exe().unwrap();
    let call = format!(
        "SERVERS=localhost:{allowed},localhost:{other} exec '{}' --exact calls_from_inside --ignored --nocapture",
        own.display()
    );
    let (code, said, error) = told(&shell(&["-q", "--allow", &format!("localhost:{allowed}")], &call));
    assert_eq!(code, Some(0), "{said}{error}");
    assert!(said.contains(&format!("localhost:{allowed} hello from outside")), "{said}");
    assert!(said.contains(&format!("localhost:{other} cannot be reached")), "{said}");
    // With a way outside, the system's own authorities are trusted beside the run's.
    let (_, count, _) =
        told(&shell(&["-q", "--allow", &format!("localhost:{allowed}")], "grep -c BEGIN $SSL_CERT_FILE"));
    let before = outside().into_iter().filter_map(|(name, bytes)| bytes.filter(|_| name.contains("/ca-")));
    let most = before.map(|bytes| String::from_utf8_lossy(&bytes).matches("BEGIN").count()).max().unwrap_or_default();
    assert_eq!(count.trim(), (most + 1).to_string());

    for refused in ["login.microsoftonline.com:443", "169.254.169.254:80"] {
        let (code, said, error) = told(&shell(&["--allow", refused], "echo started"));
        assert_eq!((code, said.as_str()), (Some(125), ""), "{refused}: {error}");
    }
}

#[test]
fn another_program_joins_by_name() {
    if !allowed() {
        return;
    }
    let name = format!("test-{}", std::process::id());
    let absent = deputize(&["run", "--join", &name, "--", "true"]).output().unwrap();
    assert_eq!(absent.status.code(), Some(125));
    let port = free_port();
    let own = std::env::current_exe().unwrap();
    let serve = format!("PORTS={port} exec '{}' --exact serves_inside --ignored --nocapture", own.display());
    let mut first = Running::start(&["--name", &name], &serve);
    while first.line() != "serving" {}
    let call = format!(
        "echo $SSL_CERT_FILE; pwd; getent hosts {HOST}; SERVERS=localhost:{port} exec '{}' --exact calls_from_inside --ignored --nocapture",
        own.display()
    );
    let joined = deputize(&["run", "--join", &name, "--", "sh", "-c", &call]).output().unwrap();
    let (code, said, error) = told(&joined);
    assert_eq!(code, Some(0), "{said}{error}");
    assert!(said.contains("/private/ca-bundle.pem\n"), "{said}");
    assert!(said.contains(&format!("{}\n", std::env::current_dir().unwrap().display())), "the folder is kept: {said}");
    assert!(said.contains("127.64.0.1"), "{said}");
    assert!(said.contains(&format!("hello from {port}")), "{said}");
    // What joins may publish its own servers, and has its own signals.
    let (published, name_of) = (free_port(), ["--join", &name, "--publish"]);
    let serve = format!("PORTS={published} exec '{}' --exact serves_inside --ignored --nocapture", own.display());
    let mut command = deputize(&["run", "-q"]);
    command.args(name_of).arg(published.to_string()).args(["--", "sh", "-c", &serve]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let said = BufReader::new(child.stdout.take().unwrap());
    let mut beside = Running { child, said };
    while beside.line() != "serving" {}
    let mut answer = String::new();
    TcpStream::connect((Ipv4Addr::LOCALHOST, published)).unwrap().read_to_string(&mut answer).unwrap();
    assert_eq!(answer, format!("hello from {published}"));
    assert!(beside.ended().success());
    let second = deputize(&["run", "-q", "--estate", ESTATE, "--name", &name, "--", "true"]).output().unwrap();
    assert_eq!(second.status.code(), Some(125), "a name is one run's");
    assert!(first.ended().success());
    let (code, ..) = told(&deputize(&["run", "--join", &name, "--", "true"]).output().unwrap());
    assert_eq!(code, Some(125), "gone with the run");
}

#[test]
fn where_the_kernel_refuses_the_command_is_not_started_and_variables_are_printed() {
    if !allowed() {
        return;
    }
    // In a user namespace that may have no others, as on systems that forbid them.
    let text = format!(
        "echo 0 > /proc/sys/user/max_user_namespaces || exit 77; '{}' run --estate '{ESTATE}' -- echo started",
        env!("CARGO_BIN_EXE_deputize")
    );
    let output = Command::new("unshare").args(["--user", "--map-root-user", "sh", "-c", &text]).output().unwrap();
    let (code, said, error) = told(&output);
    assert_eq!((code, said.as_str()), (Some(125), ""), "{error}");
    assert!(error.contains("allows no namespace") && error.contains("the command was not started"), "{error}");
    for variable in ["AZURE_AUTHORITY_HOST='https://localhost:8443'", "REQUESTS_CA_BUNDLE=", "NODE_EXTRA_CA_CERTS="] {
        assert!(error.contains(&format!("\nexport {variable}")), "{variable}: {error}");
    }
    assert!(error.contains("instance_discovery=False") && error.contains("not Microsoft's"), "{error}");
}

#[test]
fn outside_of_namespaces_only_localhost_is_served_and_told_of() {
    let port = (0..100).map(|_| free_port()).find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port + 1)).is_ok());
    let port = port.unwrap();
    let mut command = deputize(&["run", "--outside", &port.to_string(), "--quiet", "--estate", ESTATE]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let lines: Vec<String> = lines.take_while(|line| line != "# served until Ctrl-C").collect();
    let value = |name: &str| {
        let line = lines.iter().find_map(|line| line.strip_prefix(&format!("export {name}='"))).unwrap();
        line.split('\'').next().unwrap().to_owned()
    };
    assert_eq!(value("AZURE_AUTHORITY_HOST"), format!("https://localhost:{port}"));
    assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok());
    let ca = PathBuf::from(value("NODE_EXTRA_CA_CERTS"));
    let own = fs::read_to_string(&ca).unwrap();
    assert!(fs::read_to_string(value("REQUESTS_CA_BUNDLE")).unwrap().contains(own.trim()), "the bundle has it");
    for entry in fs::read_dir(ca.parent().unwrap()).unwrap().flatten().filter(|entry| entry.path().is_file()) {
        assert!(!fs::read_to_string(entry.path()).unwrap().contains("PRIVATE KEY"), "{}", entry.path().display());
    }
    assert!(lines.iter().all(|line| line.starts_with("export ") || line.starts_with('#')), "{lines:?}");
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    assert!(child.wait().unwrap().success());
    assert!(!ca.exists(), "it cleans up");
}
