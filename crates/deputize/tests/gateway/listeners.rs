//! Listeners beside one another: what is said of wrong ones, and how they change hands.
use super::{Folder, Running, configuration, deputize, service, told, until};
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;
use std::time::Duration;

/// The status of an answer to somebody who says this first; empty where the connection is closed without one.
fn asked(address: &str, first: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    // Who is let in by nobody may be gone already.
    let _ = write!(stream, "{first}GET /orders/7 HTTP/1.1\r\nhost: a\r\nx-edge: 1\r\nconnection: close\r\n\r\n");
    let mut said = Vec::new();
    let _ = stream.read_to_end(&mut said);
    Some(String::from_utf8(said).unwrap().split(' ').nth(1).unwrap_or_default().to_owned())
}

#[test]
fn each_listener_has_its_own_rules_and_all_are_handed_over() {
    let folder = Folder::new("listeners");
    let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let (simple, told, firewall) = (free(), free(), free());
    let text = |from: &str| {
        format!(
            "handover = \"handover.sock\"\ntrusted_proxies = [\"127.0.0.1\"]\n{}\n\
             [[listener]]\naddress = \"{told}\"\nplain = true\nproxy_protocol = true\n\n\
             [[listener]]\naddress = \"{firewall}\"\nplain = true\ningress_from = [\"{from}\"]\n",
            configuration(&simple, &service(), 403)
        )
    };
    let file = folder.write("gateway.toml", &text("10.0.0.0/8"));
    let start = || Running(deputize(&[&file]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    let header = "PROXY TCP4 203.0.113.9 10.0.0.1 4711 443\r\n";
    let is = |address: &str, first: &str, status: &str| asked(address, first).as_deref() == Some(status);
    let mut first = start();
    until(|| is(&simple, "", "200") && is(&told, header, "200"));
    assert!(is(&told, "", "") && is(&simple, header, "400"));
    assert!(is(&firewall, "", "") && is(&firewall, header, ""));
    folder.write("gateway.toml", &text("127.0.0.1"));
    first.signal("-HUP");
    until(|| is(&firewall, "", "200"));
    folder.write("gateway.toml", &text("10.0.0.0/8"));
    let _second = start();
    assert_eq!(first.0.wait().unwrap().code(), Some(0), "it leaves once the other one serves");
    assert!(is(&simple, "", "200") && is(&told, header, "200") && is(&told, "", "") && is(&firewall, "", ""));
}

#[test]
fn a_listener_in_the_clear_is_for_this_machine_and_check_says_so_with_its_line() {
    let folder = Folder::new("misplaced");
    let sound = configuration("127.0.0.1:0", "http://127.0.0.1:9", 403);
    let line = sound.lines().count() + 2;
    for (address, problem) in [
        ("0.0.0.0:8443", "HTTP without TLS is served on loopback only"),
        ("nowhere", "this is no address to listen at"),
    ] {
        let text = format!("{sound}[[listener]]\naddress = \"{address}\"\nplain = true\n");
        let file = folder.write("gateway.toml", &text);
        for arguments in [&["check", &file][..], &[&file]] {
            let (code, _, error) = told(arguments);
            assert!(code == 1 && error.contains(&format!("line {line}: {problem}\nhint: ")), "{error}");
        }
    }
}

#[test]
fn where_is_listened_beside_the_apis_is_checked_as_it_is_when_it_starts() {
    let folder = Folder::new("beside");
    let sound = configuration("127.0.0.1:7801", "http://127.0.0.1:9", 403);
    let given_tokens = "whoever asks here is given tokens, so it is served on loopback only";
    let elsewhere = "the gateway listens at the address of `envoy_authorizer` for something else";
    for (settings, line, problem) in [
        ("status = \"nowhere\"", 1, "`status` is no address"),
        ("authorizer = \"nowhere\"", 1, "`authorizer` is no address"),
        ("authorizer = \"0.0.0.0:9191\"", 1, given_tokens),
        ("envoy_authorizer = \"0.0.0.0:9191\"", 1, given_tokens),
        ("authorizer = \"localhost:9191\"\nenvoy_authorizer = \"localhost:9191\"", 2, elsewhere),
        ("envoy_authorizer = \"127.0.0.1:7801\"", 1, elsewhere),
    ] {
        let file = folder.write("gateway.toml", &format!("{settings}\n{sound}"));
        for arguments in [&["check", &file][..], &[&file]] {
            let (code, _, error) = told(arguments);
            assert!(code == 1 && error.contains(&format!("line {line}: {problem}\nhint: ")), "{error}");
        }
    }
    let management = "[[issuer]]\nname = \"ours\"\nissuer = \"https://id.example\"\n\
                      [management]\nlisten = \"0.0.0.0:8444\"\ndatabase = \"m.sqlite\"\n\
                      issuers = [\"ours\"]\naudiences = [\"api://gateway\"]\n";
    let file = folder.write("gateway.toml", &format!("{sound}{management}"));
    let (code, _, error) = told(&["check", &file]);
    assert!(code == 1 && error.contains("the management API without TLS is served on loopback only"), "{error}");
}

#[test]
fn g_14_one_address_has_its_share_of_connections_beside_the_apis() {
    let folder = Folder::new("share-beside");
    let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let (address, status) = (free(), free());
    let text = format!("status = \"{status}\"\n{}", configuration(&address, &service(), 403));
    let file = folder.write("gateway.toml", &text);
    let running = Running(deputize(&[&file]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    until(|| TcpStream::connect(&status).is_ok());
    let mut held: Vec<TcpStream> = (0..80).map(|_| TcpStream::connect(&status).unwrap()).collect();
    let closed = held.pop().map(|mut last| {
        last.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        last.read(&mut [0; 16])
    });
    let is_closed = match &closed {
        Some(Ok(length)) => *length == 0,
        Some(Err(error)) => error.kind() == ErrorKind::ConnectionReset,
        None => false,
    };
    assert!(is_closed, "{closed:?}");
    assert_eq!(asked(&address, "").as_deref(), Some("200"), "they are not the callers'");
    drop((held, running));
}
