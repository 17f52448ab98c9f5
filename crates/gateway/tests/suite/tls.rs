//! The listener's TLS: certificates by name, HTTP/2 where both want it, and new ones without a restart.
use crate::support::{NOON, PUBLIC, Service, ports, read, variable};
use gateway::{AccessLog, Gateway};
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serve::{Gate as _, Listeners, Socket, Tls};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use testkit::SetClock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;

/// A certificate, and the table that names its files.
fn certificate(folder: &Path, name: &str) -> (String, CertificateDer<'static>) {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec![name.to_owned()]).unwrap().self_signed(&key).unwrap();
    let table = format!("[[certificate]]\ncertificate = \"{name}.pem\"\nkey = \"{name}.key\"\n");
    std::fs::write(folder.join(format!("{name}.pem")), certificate.pem()).unwrap();
    std::fs::write(folder.join(format!("{name}.key")), key.serialize_pem()).unwrap();
    (table, certificate.der().clone())
}

/// The certificate that is shown, the protocol that is agreed on, and the answer over it.
async fn asked(
    address: SocketAddr,
    name: &str,
    trusted: &CertificateDer<'static>,
    alpn: &[&str],
) -> Option<(Option<Vec<u8>>, String)> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.ok()?;
    let agreed = stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
    if agreed.as_deref() == Some(b"h2") {
        // RFC 9113 section 3.4: what is no preface ends the connection; and that is said, so that it cannot be anybody's doing.
        stream.write_all(b"INVALID CONNECTION PREFACE\r\n\r\n").await.unwrap();
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.unwrap();
        assert!(
            !String::from_utf8_lossy(&rest).contains("HTTP/1.1"),
            "nor is another version spoken than was agreed on"
        );
        return Some((agreed, String::new()));
    }
    stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut text = String::new();
    let _ = stream.read_to_string(&mut text).await;
    Some((agreed, text))
}

#[tokio::test]
async fn t_07_each_name_is_shown_its_certificate_and_a_new_one_once_it_is_there() {
    let folder = std::env::temp_dir().join(format!("deputize-gateway-tls-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (a, a_der) = certificate(&folder, "a.example");
    let (b, b_der) = certificate(&folder, "b.example");
    let service = Service::start().await;
    let (clock, log) = (SetClock::at(NOON), Arc::new(AccessLog::kept()));
    let file = read(&format!("{a}{b}{}", PUBLIC.replace("{service}", &service.url)));
    let gateway = Arc::new(Gateway::new(&file, &variable, &folder, ports(&clock, &log)).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut listeners = Listeners::new();
    let entrance = gateway.entrances().remove(0);
    let front = Arc::new(entrance.front());
    listeners.add_behind(Socket::Tcp(listener), Arc::new(entrance), front);

    let (agreed, text) = asked(address, "a.example", &a_der, &[]).await.unwrap();
    assert!(agreed.is_none() && text.starts_with("HTTP/1.1 200"), "{text}");
    assert!(text.ends_with("good"));
    assert_eq!(service.only().field("x-forwarded-proto"), ["https"]);
    assert!(asked(address, "b.example", &b_der, &[]).await.is_some());
    assert!(asked(address, "b.example", &a_der, &[]).await.is_none(), "another certificate is shown there");
    let (agreed, _) = asked(address, "a.example", &a_der, &["http/1.1", "h2"]).await.unwrap();
    assert_eq!(agreed.as_deref(), Some(&b"h2"[..]));

    let (_, newer) = certificate(&folder, "a.example");
    assert!(asked(address, "a.example", &newer, &[]).await.is_none());
    gateway.look();
    assert!(asked(address, "a.example", &newer, &[]).await.is_some());
    assert!(asked(address, "a.example", &a_der, &[]).await.is_none());
    std::fs::remove_dir_all(&folder).unwrap();
}

/// A greeting of an older version, byte by byte: this machine's libraries speak none.
fn greeting(version: u8) -> Vec<u8> {
    let mut hello = vec![3, version];
    hello.extend([7; 32]);
    // No session, two suites of that age, one method of compression: deflate, and none.
    hello.extend([0, 0, 4, 0x00, 0x2f, 0xc0, 0x13, 2, 1, 0]);
    let length = u8::try_from(hello.len()).unwrap();
    let mut record = vec![22, 3, 1, 0, length + 4, 1, 0, 0, length];
    record.extend(hello);
    record
}

#[tokio::test]
async fn t_05_older_versions_are_refused_and_nothing_is_taken_before_the_handshake() {
    let folder = std::env::temp_dir().join(format!("deputize-gateway-old-tls-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (a, _) = certificate(&folder, "a.example");
    let service = Service::start().await;
    let (clock, log) = (SetClock::at(NOON), Arc::new(AccessLog::kept()));
    let file = read(&format!("{a}{}", PUBLIC.replace("{service}", &service.url)));
    let gateway = Arc::new(Gateway::new(&file, &variable, &folder, ports(&clock, &log)).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut listeners = Listeners::new();
    let entrance = gateway.entrances().remove(0);
    let Some(Tls::Server(config)) = entrance.admit(None).unwrap().tls else { panic!("no TLS") };
    assert_eq!(config.max_early_data_size, 0, "data before the handshake could be replayed");
    let front = Arc::new(entrance.front());
    listeners.add_behind(Socket::Tcp(listener), Arc::new(entrance), front);
    // SSL 3.0, TLS 1.0 and 1.1, and plain HTTP.
    for version in [0, 1, 2] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(&greeting(version)).await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        // A fatal alert: protocol_version, or that what was offered is of no use.
        assert_eq!((answer.first(), answer.get(5)), (Some(&21), Some(&2)), "3.{version}: {answer:?}");
        assert!(matches!(answer.get(6), Some(70 | 40 | 47)), "3.{version}: {answer:?}");
    }
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    assert!(service.seen().is_empty());
    std::fs::remove_dir_all(&folder).unwrap();
}

#[tokio::test]
async fn a_file_that_is_read_again_says_whether_callers_are_asked_for_certificates_but_not_whether_tls_is_spoken() {
    let folder = std::env::temp_dir().join(format!("deputize-gateway-tls-again-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (a, a_der) = certificate(&folder, "a.example");
    let service = Service::start().await;
    let (clock, log) = (SetClock::at(NOON), Arc::new(AccessLog::kept()));
    let written = |before: &str| read(&format!("{before}{}", PUBLIC.replace("{service}", &service.url)));
    let gateway = Arc::new(Gateway::new(&written(&a), &variable, &folder, ports(&clock, &log)).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut listeners = Listeners::new();
    let entrance = gateway.entrances().remove(0);
    let front = Arc::new(entrance.front());
    listeners.add_behind(Socket::Tcp(listener), Arc::new(entrance), front);
    let answered =
        async || asked(address, "a.example", &a_der, &[]).await.is_some_and(|(_, text)| text.contains(" 200 "));
    assert!(answered().await);
    for (before, goes_on) in [("client_certificates = \"required\"\n", false), ("", true)] {
        gateway.reload(&written(&format!("{before}{a}")), &variable, &folder).unwrap();
        assert_eq!(answered().await, goes_on, "{before}");
    }
    let error = gateway.reload(&written(""), &variable, &folder).unwrap_err();
    assert!(error.problem.contains("whether TLS is spoken"), "{error}");
    assert!(answered().await, "and nothing is spoken in the clear");
    std::fs::remove_dir_all(&folder).unwrap();
}
