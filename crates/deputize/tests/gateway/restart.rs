//! R19: a gateway is reloaded and replaced under load, and no request fails.
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How many callers ask, one request after the other.
const CALLERS: usize = 8;
/// How many requests are made for each time that the gateway is replaced.
const REQUESTS: usize = 2_000;

struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// One that runs; it ends with the test, whatever becomes of that.
struct Running(Child);

impl Running {
    fn start(file: &str) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_deputize"));
        command.args(["gateway", file]).env_remove("DEPUTIZE_LOG").stdin(Stdio::null()).stdout(Stdio::null());
        Self(command.stderr(Stdio::null()).spawn().unwrap())
    }

    fn signal(&self, name: &str) {
        assert!(Command::new("kill").args([name, &self.0.id().to_string()]).status().unwrap().success());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn configuration(port: u16, status: u16, service: &str, limit: u16) -> String {
    format!(
        r#"listen = "127.0.0.1:{port}"
status = "127.0.0.1:{status}"
control = "control.sock"
handover = "handover.sock"

[[upstream]]
name = "orders"
url = "{service}"

[[api]]
name = "orders"
path = "/"
upstream = "orders"
public = true
[[api.operation]]
name = "all"
method = "*"
path = "/*"
[[api.operation.policies.check_header]]
name = "x-edge"
failed_check_httpcode = {limit}
failed_check_error_message = "not through the edge"
ignore_case = false
"#
    )
}

/// A service that says `good` to everybody, on connections that it keeps.
fn service() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || {
                let mut reader = BufReader::new(stream);
                while head(&mut reader).is_ok_and(|head| !head.is_empty()) {
                    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ngood";
                    if reader.get_mut().write_all(answer).is_err() {
                        return;
                    }
                }
            });
        }
    });
    url
}

/// The lines of a head, without the empty one; none where nothing came.
fn head(reader: &mut impl BufRead) -> io::Result<Vec<String>> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return if lines.is_empty() { Ok(lines) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
        }
        match line.trim_end() {
            "" => return Ok(lines),
            text => lines.push(text.to_ascii_lowercase()),
        }
    }
}

/// A free port.
fn port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Asks once, on the connection if there is one; the connection, if it is kept.
fn ask(port: u16, kept: Option<BufReader<TcpStream>>) -> io::Result<Option<BufReader<TcpStream>>> {
    let mut reader = match kept {
        Some(reader) => reader,
        None => BufReader::new(TcpStream::connect(("127.0.0.1", port))?),
    };
    reader.get_mut().write_all(b"GET / HTTP/1.1\r\nhost: a\r\nx-edge: 1\r\n\r\n")?;
    let head = head(&mut reader)?;
    if head.first().is_none_or(|line| !line.starts_with("http/1.1 200")) {
        return Err(io::Error::other(format!("{head:?}")));
    }
    let mut body = [0; 4];
    io::Read::read_exact(&mut reader, &mut body)?;
    Ok((!head.iter().any(|line| line == "connection: close")).then_some(reader))
}

/// What callers see.
#[derive(Default)]
struct Seen {
    over: AtomicBool,
    answered: AtomicUsize,
    failed: AtomicUsize,
    closed: AtomicUsize,
}

fn call(port: u16, seen: &Seen) {
    let mut kept = None;
    while !seen.over.load(Ordering::Relaxed) {
        match ask(port, kept.take()) {
            Ok(connection) => {
                seen.answered.fetch_add(1, Ordering::Relaxed);
                seen.closed.fetch_add(usize::from(connection.is_none()), Ordering::Relaxed);
                kept = connection;
            }
            Err(error) => {
                eprintln!("a request failed: {error}");
                seen.failed.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

fn until(what: &str, mut is: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_mins(1);
    while !is() {
        assert!(Instant::now() < end, "it did not come: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn r19_reloads_and_restarts_under_load_fail_no_request() {
    let restarts: usize = std::env::var("DEPUTIZE_RESTARTS").map_or(4, |text| text.parse().unwrap());
    let folder = Folder(std::env::temp_dir().join(format!("deputize-restart-{}", std::process::id())));
    fs::create_dir_all(&folder.0).unwrap();
    let (port, status, service) = (port(), port(), service());
    let path = folder.0.join("gateway.toml");
    let write = |limit| fs::write(&path, configuration(port, status, &service, limit)).unwrap();
    let offers = || UnixStream::connect(folder.0.join("handover.sock")).is_ok();
    write(403);
    let mut running = Running::start(path.to_str().unwrap());
    until("the first one serves", || ask(port, None).is_ok() && offers());
    let seen = Arc::new(Seen::default());
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let seen = Arc::clone(&seen);
            thread::spawn(move || call(port, &seen))
        })
        .collect();
    for turn in 0..restarts {
        let before = seen.answered.load(Ordering::Relaxed);
        write(if turn % 2 == 0 { 418 } else { 403 });
        running.signal("-HUP");
        let mut next = Running::start(path.to_str().unwrap());
        until("the one before leaves", || running.0.try_wait().unwrap().is_some());
        assert_eq!(running.0.wait().unwrap().code(), Some(0));
        assert!(next.0.try_wait().unwrap().is_none(), "the new one serves");
        until("the new one can be replaced", offers);
        until("enough was asked", || seen.answered.load(Ordering::Relaxed) >= before + REQUESTS);
        // Whoever watches over it finds it where it was.
        assert!(UnixStream::connect(folder.0.join("control.sock")).is_ok());
        assert!(TcpStream::connect(("127.0.0.1", status)).is_ok());
        running = next;
    }
    seen.over.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.join().unwrap();
    }
    let (answered, failed) = (seen.answered.load(Ordering::Relaxed), seen.failed.load(Ordering::Relaxed));
    println!("{answered} requests over {restarts} restarts, {failed} failed");
    assert_eq!(failed, 0, "of {answered}");
    assert!(seen.closed.load(Ordering::Relaxed) >= restarts, "connections were left to the new ones");
    running.signal("-TERM");
    assert_eq!(running.0.wait().unwrap().code(), Some(0));
}

#[test]
fn r19_one_that_cannot_start_replaces_nothing() {
    let folder = Folder(std::env::temp_dir().join(format!("deputize-restart-broken-{}", std::process::id())));
    fs::create_dir_all(&folder.0).unwrap();
    let (port, status, service) = (port(), port(), service());
    let path = folder.0.join("gateway.toml");
    fs::write(&path, configuration(port, status, &service, 403)).unwrap();
    let mut running = Running::start(path.to_str().unwrap());
    until("it serves", || ask(port, None).is_ok() && UnixStream::connect(folder.0.join("handover.sock")).is_ok());
    for broken in ["broken".to_owned(), configuration(port, status, &service, 200)] {
        fs::write(&path, broken).unwrap();
        assert_eq!(Running::start(path.to_str().unwrap()).0.wait().unwrap().code(), Some(1));
        assert!(ask(port, None).is_ok() && running.0.try_wait().unwrap().is_none());
    }
    fs::write(&path, configuration(port, status, &service, 403)).unwrap();
    // Nor one that could not be replaced in its turn.
    let beside = folder.0.join("handover.sock.new");
    fs::write(&beside, "kept").unwrap();
    assert_eq!(Running::start(path.to_str().unwrap()).0.wait().unwrap().code(), Some(1));
    assert!(ask(port, None).is_ok() && running.0.try_wait().unwrap().is_none());
    fs::remove_file(&beside).unwrap();
    let _next = Running::start(path.to_str().unwrap());
    until("it leaves", || running.0.try_wait().unwrap().is_some());
    assert!(ask(port, None).is_ok());
}
