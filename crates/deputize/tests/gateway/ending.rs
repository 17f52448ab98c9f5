//! How it ends: whoever does not read what it writes keeps neither callers nor the end waiting, and what is cut off is told.
use super::{Folder, Running, configuration, deputize, until};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

fn free() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

/// A connection that waits for nothing longer than a while.
fn connected(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    stream
}

fn asking(address: &str) -> TcpStream {
    let mut stream = connected(address);
    stream.write_all(b"GET /orders/7 HTTP/1.1\r\nhost: a\r\nx-edge: 1\r\nconnection: close\r\n\r\n").unwrap();
    stream
}

fn ended(running: &mut Running, within: Duration) -> ExitStatus {
    let began = Instant::now();
    loop {
        if let Some(status) = running.0.try_wait().unwrap() {
            return status;
        }
        assert!(began.elapsed() < within, "it does not end");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn r19_logs_that_nobody_reads_keep_neither_requests_nor_the_end_waiting() {
    let folder = Folder::new("unread");
    let address = free();
    // Nobody is there: each request is a line in both logs.
    let text = configuration(&address, &format!("http://{}", free()), 403);
    let text = text.replace("\n\n[[api]]", "\ncircuit = { failures = 0 }\n\n[[api]]");
    let file = folder.write("gateway.toml", &text);
    let mut running = Running(deputize(&[&file]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
    until(|| TcpStream::connect(&address).is_ok());
    // Some 200 bytes each, and a pipe holds 64 KiB.
    for at in 0..600 {
        let mut text = String::new();
        let read = asking(&address).read_to_string(&mut text);
        assert!(read.is_ok() && text.starts_with("HTTP/1.1 50"), "request {at}: {read:?} {text}");
    }
    running.signal("-TERM");
    assert_eq!(ended(&mut running, Duration::from_secs(8)).code(), Some(0));
    let mut lines = BufReader::new(running.0.stderr.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains("the gateway serves")), "what there was room for is there");
}

#[test]
fn r19_what_is_cut_off_by_a_second_signal_is_told_and_the_end_is_not_waited_for() {
    let folder = Folder::new("cut");
    let (address, slow) = (free(), TcpListener::bind("127.0.0.1:0").unwrap());
    let text = configuration(&address, &format!("http://{}", slow.local_addr().unwrap()), 403);
    let file = folder.write("gateway.toml", &text);
    let mut running = Running(deputize(&[&file]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
    until(|| TcpStream::connect(&address).is_ok());
    let _asking = asking(&address);
    let (_never_answers, _) = slow.accept().unwrap();
    running.signal("-TERM");
    until(|| TcpStream::connect(&address).is_err());
    running.signal("-TERM");
    assert_eq!(ended(&mut running, Duration::from_secs(5)).code(), Some(1));
    let read = |mut from: Box<dyn Read>| {
        let mut text = String::new();
        from.read_to_string(&mut text).unwrap();
        text
    };
    let told = read(Box::new(running.0.stdout.take().unwrap()));
    assert!(told.contains("\"path\":\"/orders/7\"") && told.contains("\"status\":499"), "{told}");
    let logged = read(Box::new(running.0.stderr.take().unwrap()));
    assert!(logged.contains("the gateway ends") && logged.contains("is cut off"), "{logged}");
}

#[test]
fn r19_a_stream_of_events_ends_in_order_and_keeps_no_restart_waiting() {
    let folder = Folder::new("events");
    let (address, service) = (free(), TcpListener::bind("127.0.0.1:0").unwrap());
    let text = configuration(&address, &format!("http://{}", service.local_addr().unwrap()), 403);
    let file = folder.write("gateway.toml", &(text + "[api.operation.stream]\n"));
    let mut running = Running(deputize(&[&file]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    until(|| TcpStream::connect(&address).is_ok());
    let mut reader = asking(&address);
    let (mut says, _) = service.accept().unwrap();
    assert!(says.read(&mut [0; 4_096]).unwrap() > 0);
    let event = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\ndata: 1\n\n";
    says.write_all(event.as_bytes()).unwrap();
    let mut read = Vec::new();
    while !read.ends_with(b"data: 1\n\n\r\n") {
        let mut some = [0; 4_096];
        let length = reader.read(&mut some).unwrap();
        assert!(length > 0, "{}", String::from_utf8_lossy(&read));
        read.extend_from_slice(&some[..length]);
    }
    running.signal("-TERM");
    let mut rest = String::new();
    reader.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "0\r\n\r\n");
    assert_eq!(ended(&mut running, Duration::from_secs(5)).code(), Some(0));
}
