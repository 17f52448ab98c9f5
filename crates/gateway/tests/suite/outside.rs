//! G-13: what a file, an issuer or an authority names leads to no address that nobody meant.
use crate::support::{ISS, ORDERS, PUBLIC, Service, World};
use serde_json::json;

/// What is nowhere to fetch from, and what the file is told where it says so itself.
const NOWHERE: &[(&str, &str)] = &[
    ("https://169.254.169.254/keys", "`169.254.169.254` is at an address that may not be reached"),
    ("https://[fe80::1]/keys", "`[fe80::1]` is at an address that may not be reached"),
    ("https://[::ffff:169.254.169.254]/keys", "`[::ffff:a9fe:a9fe]` is at an address that may not be reached"),
    ("https://2852039166/keys", "`169.254.169.254` is at an address that may not be reached"),
    ("https://0xa9fea9fe/keys", "`169.254.169.254` is at an address that may not be reached"),
    ("https://[fd00:ec2::254]/keys", "`[fd00:ec2::254]` is at an address that may not be reached"),
    ("https://user@a.example/keys", "`https://user@a.example/keys` cannot be fetched"),
    ("https://:password@a.example/keys", "`https://:password@a.example/keys` cannot be fetched"),
    ("http://a.example/keys", "`http://a.example/keys` cannot be fetched"),
    ("file:///etc/passwd", "`file:///etc/passwd` cannot be fetched"),
];

fn redirect(to: &str) -> String {
    format!("HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n")
}

fn document(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

#[tokio::test]
async fn g_13_keys_of_issuers_are_not_got_at_link_local_addresses_or_by_redirects() {
    let (named, elsewhere) = (Service::start().await, Service::start().await);
    let world = World::start(ORDERS).await;
    for (uri, problem) in NOWHERE {
        let error = world.reload(&ORDERS.replace("{jwks}", uri)).unwrap_err();
        assert!(error.problem == *problem && !error.at.is_empty(), "{uri}: {error}");
    }
    named.answers(&redirect(&format!("{}/keys", elsewhere.url)));
    world.reload(&ORDERS.replace("{jwks}", &format!("{}/keys", named.url))).unwrap();
    let refused = world.get_with_token("/", &[]).await;
    assert_eq!((refused.status, refused.check().as_str()), (503, "keys.available"));
    assert_eq!((named.seen().len(), elsewhere.seen().len(), world.service.seen().len()), (1, 0, 0));
}

#[tokio::test]
async fn g_13_the_metadata_of_an_issuer_leads_to_no_other_place() {
    let (issuer, elsewhere) = (Service::start().await, Service::start().await);
    let by_metadata = ORDERS.replace("jwks_uri = \"{jwks}\"", "metadata = \"METADATA\"");
    let world = World::start(ORDERS).await;
    // Each document at a place of its own: what failed is not asked again at once.
    let mut at = 0;
    let mut refused = async |answer: &str| {
        at += 1;
        issuer.forget();
        issuer.answers(answer);
        world.reload(&by_metadata.replace("METADATA", &format!("{}/{at}", issuer.url))).unwrap();
        let refused = world.get_with_token("/", &[]).await;
        assert_eq!((refused.status, refused.check().as_str()), (503, "keys.available"), "{answer}");
        assert_eq!(issuer.seen().len(), 1, "{answer}: and the keys were not asked for");
    };
    for (uri, _) in NOWHERE.iter().copied().chain([(elsewhere.url.as_str(), ""), ("", ""), ("/keys", "")]) {
        refused(&document(&json!({"issuer": ISS, "jwks_uri": uri}).to_string())).await;
    }
    let own = format!("{}/keys", issuer.url);
    refused(&document(&json!({"issuer": "https://evil.example", "jwks_uri": own}).to_string())).await;
    refused(&redirect(&format!("{}/metadata", elsewhere.url))).await;
    assert_eq!((elsewhere.seen().len(), world.service.seen().len()), (0, 0));
    // The document itself is as far away.
    for (uri, problem) in NOWHERE {
        let error = world.reload(&by_metadata.replace("METADATA", uri)).unwrap_err();
        assert_eq!(error.problem, *problem, "{uri}");
    }
    assert!(world.service.seen().is_empty());
}

#[tokio::test]
async fn g_13_the_metadata_of_an_authority_has_no_token_sent_to_addresses_of_machines() {
    let (authority, elsewhere) = (Service::start().await, Service::start().await);
    let exchanging = ORDERS.replace(
        "[[upstream]]",
        "[[authority]]\n    name = \"contoso\"\n    metadata = \"METADATA\"\n    client_id = \"gateway\"\n    secret = { env = \"SECRET\" }\n\n    [[upstream]]",
    );
    let exchanging = exchanging.replace(
        "[[api.operation]]",
        "[api.onward.on_behalf_of]\n    authority = \"contoso\"\n    target = \"api://billing/.default\"\n    [[api.operation]]",
    );
    let world = World::start(ORDERS).await;
    let mut at = 0;
    let mut refused = async |answer: &str| {
        at += 1;
        authority.forget();
        authority.answers(answer);
        world.reload(&exchanging.replace("METADATA", &format!("{}/{at}", authority.url))).unwrap();
        let refused = world.get_with_token("/", &[]).await;
        assert_eq!(authority.seen().len(), 1, "{answer}");
        (refused.status, refused.check())
    };
    for (uri, problem) in NOWHERE {
        let told = refused(&document(&json!({"issuer": authority.url, "token_endpoint": uri}).to_string())).await;
        let check = if uri.starts_with("file:") { (502, "onward.accepted") } else { (503, "onward.available") };
        assert_eq!((told.0, told.1.as_str()), check, "{uri}");
        for place in ["METADATA", "{token}"] {
            let text = exchanging
                .replace("metadata = \"METADATA\"", "metadata = \"METADATA\"\n    token_endpoint = \"{token}\"");
            let text = text.replace(place, uri).replace("METADATA", &format!("{}/m", authority.url));
            assert_eq!(world.reload(&text).unwrap_err().problem, *problem, "{place}");
        }
    }
    let told = refused(&redirect(&format!("{}/metadata", elsewhere.url))).await;
    assert_eq!((told.0, told.1.as_str()), (503, "onward.available"));
    assert_eq!((elsewhere.seen().len(), world.service.seen().len()), (0, 0));
}

#[tokio::test]
async fn g_13_no_service_is_at_a_link_local_address_whoever_names_it() {
    let world = World::start(PUBLIC).await;
    for host in [
        "169.254.169.254",
        "[fe80::1]",
        "[::ffff:169.254.169.254]",
        "[::ffff:a9fe:a9fe]",
        "[64:ff9b::a9fe:a9fe]",
        "[fd00:ec2::254]",
    ] {
        for url in [format!("http://{host}/latest"), format!("https://{host}")] {
            let error = world.reload(&PUBLIC.replace("{service}", &url)).unwrap_err();
            assert_eq!(error.problem, "this address is never connected to", "{url}");
        }
        let addresses = format!("{{service}}\"\n    addresses = [\"127.0.0.1:1\", \"{host}:80\"]");
        let addresses = PUBLIC.replace("{service}\"", &addresses);
        assert_eq!(world.reload(&addresses).unwrap_err().problem, "this address is never connected to", "{host}");
    }
    // A number that some read as such an address is one by then.
    for host in ["2852039166", "0xa9fea9fe", "169.254.43518"] {
        if world.reload(&PUBLIC.replace("{service}", &format!("http://{host}"))).is_ok() {
            assert_eq!(world.get("/", &[]).await.check(), "upstream.reachable", "{host}");
        }
    }
    // Nothing that a caller says moves a service.
    world.reload(PUBLIC).unwrap();
    for (target, host) in [
        ("http://169.254.169.254/latest", "169.254.169.254"),
        ("/", "169.254.169.254"),
        ("/http://169.254.169.254/latest", "api.example"),
        ("/@169.254.169.254/", "api.example"),
        ("/?url=http://169.254.169.254/", "api.example"),
    ] {
        world.service.forget();
        let answer = world.raw(format!("GET {target} HTTP/1.1\r\nhost: {host}\r\n\r\n")).await;
        assert!(matches!(answer.status, 200 | 400 | 404), "{target}: {answer:?}");
        if answer.status == 200 {
            let host = world.service.url.trim_start_matches("http://").to_owned();
            assert_eq!(world.service.only().field("host"), [host], "{target}");
        }
    }
}
