//! G-02, G-05, G-09: fields that one hop may not say to the next.
use crate::support::{ORDERS, PUBLIC, World};

const IDENTITIES: &[&str] = &[
    "X-Forwarded-User",
    "X-Forwarded-Email",
    "X-Forwarded-Groups",
    "X-Forwarded-Access-Token",
    "X-Forwarded-Prefix",
    "X-Forwarded-Uri",
    "X-Forwarded-Method",
    "X-Forwarded-Port",
    "X-Forwarded-Client-Cert",
    "Forwarded",
    "X-Real-IP",
    "X-Original-URL",
    "X-Original-Host",
    "X-Forwarded-Scheme",
    "True-Client-IP",
    "CF-Connecting-IP",
    "Front-End-Https",
    "X-Rewrite-URL",
    "X-HTTP-Method-Override",
    "X-MS-CLIENT-PRINCIPAL",
    "X-MS-CLIENT-PRINCIPAL-ID",
    "X-MS-CLIENT-PRINCIPAL-NAME",
    "X-MS-TOKEN-AAD-ACCESS-TOKEN",
    "X-Auth-Request-User",
    "X-Client-Cert",
    "Client-Cert",
    "Ocp-Apim-Subscription-Key",
    "Ocp-Apim-Trace",
    "X-User",
    "X-User-Id",
    "Remote-User",
    "X-Consumer-Username",
];

#[tokio::test]
async fn g_05_what_a_caller_says_of_itself_reaches_no_service() {
    let world = World::start(PUBLIC).await;
    for name in IDENTITIES {
        for spelling in [
            (*name).to_owned(),
            name.replace('-', "_"),
            name.replace('-', "."),
            name.to_uppercase(),
            name.to_lowercase(),
        ] {
            world.service.forget();
            let answer = world
                .get("/", &[(&spelling, "mallory-the-spoofer"), (&spelling, "mallory-twice"), ("x-plain", "kept")])
                .await;
            assert_eq!(answer.status, 200, "{spelling}: {answer:?}");
            let seen = world.service.only();
            assert!(!seen.0.contains("mallory"), "{spelling}: {seen:?}");
            assert_eq!(seen.field("x-plain"), ["kept"]);
        }
    }
}

#[tokio::test]
async fn g_05_trailers_go_no_further() {
    let world = World::start(PUBLIC).await;
    let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X-Forwarded-User\r\n\r\n";
    let answer = world.raw(format!("{head}5\r\nhello\r\n0\r\nX-Forwarded-User: mallory\r\n\r\n")).await;
    assert_eq!(answer.status, 200);
    let seen = world.service.only();
    assert!(!seen.0.contains("mallory") && seen.field("trailer").is_empty(), "{seen:?}");
}

#[tokio::test]
async fn g_09_the_service_is_told_the_peer_and_the_host_that_was_asked() {
    let world = World::start(PUBLIC).await;
    let spoofed =
        [("x-forwarded-for", "1.1.1.1"), ("x-forwarded-host", "evil.example"), ("x-forwarded-proto", "https")];
    world.get("/", &spoofed).await;
    let seen = world.service.only();
    assert_eq!(seen.field("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(seen.field("x-forwarded-host"), ["api.example"]);
    assert_eq!(seen.field("x-forwarded-proto"), ["http"]);
    assert_eq!(seen.field("host"), [world.service.url.trim_start_matches("http://")]);
}

#[tokio::test]
async fn g_09_what_a_trusted_proxy_says_is_extended() {
    let world = World::start(&format!("trusted_proxies = [\"127.0.0.0/8\"]\n{PUBLIC}")).await;
    let said =
        [("x-forwarded-for", "203.0.113.9"), ("x-forwarded-proto", "https"), ("x-forwarded-host", "evil.example")];
    world.get("/", &said).await;
    let seen = world.service.only();
    assert_eq!(seen.field("x-forwarded-for"), ["203.0.113.9, 127.0.0.1"]);
    assert_eq!(seen.field("x-forwarded-proto"), ["https"]);
    assert_eq!(seen.field("x-forwarded-host"), ["api.example"]);
    world.service.forget();
    world.get("/", &[("x-forwarded-proto", "https"), ("x-forwarded-proto", "http")]).await;
    assert_eq!(world.service.only().field("x-forwarded-proto"), ["http"], "of two neither counts");
}

#[tokio::test]
async fn g_02_connection_names_nothing_that_decides() {
    let world = World::start(ORDERS).await;
    for named in [
        "Authorization",
        "close, authorization",
        "Content-Length",
        "X-Forwarded-For",
        "X_MS_CLIENT_PRINCIPAL",
        "Host",
        "Cookie",
    ] {
        let answer = world.get_with_token("/", &[("connection", named)]).await;
        assert_eq!((answer.status, answer.check()), (400, "gateway.request".to_owned()), "{named}");
    }
    assert_eq!(world.service.seen(), Vec::<String>::new());
    let sent = [
        ("connection", "keep-alive, X-A"),
        ("x-a", "1"),
        ("keep-alive", "300"),
        ("te", "trailers"),
        ("proxy-connection", "keep-alive"),
        ("proxy-authorization", "Basic eDp5"),
        ("upgrade", "h2c"),
        ("http2-settings", "AAMAAABkAAQAAP__"),
        ("x-b", "kept"),
    ];
    assert_eq!(world.get_with_token("/", &sent).await.status, 200);
    let seen = world.service.only();
    for (name, _) in sent.iter().filter(|(name, _)| *name != "x-b") {
        assert!(seen.field(name).is_empty(), "{name}: {seen:?}");
    }
    assert_eq!(seen.field("x-b"), ["kept"]);
}

#[tokio::test]
async fn an_answers_hop_by_hop_fields_end_here() {
    let world = World::start(PUBLIC).await;
    world.service.answers(
        "HTTP/1.1 200 OK\r\nConnection: X-Inner, keep-alive\r\nX-Inner: 1\r\nKeep-Alive: timeout=5\r\nProxy-Authenticate: Basic\r\n\
         X-Outer: 1\r\nContent-Length: 2\r\n\r\nok",
    );
    let answer = world.get("/", &[]).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "ok"));
    for name in ["x-inner", "keep-alive", "proxy-authenticate"] {
        assert!(answer.field(name).is_empty(), "{name}: {answer:?}");
    }
    assert_eq!(answer.field("x-outer"), ["1"]);
}

#[tokio::test]
async fn identity_fields_are_forwarded_where_a_route_says_so_and_never_the_reserved_ones() {
    let text = PUBLIC.replace("public = true", "public = true\nforward_identity_headers = [\"X-User\"]");
    let world = World::start(&text).await;
    world.get("/", &[("x-user", "ada"), ("x_user", "mallory"), ("x-user-id", "mallory")]).await;
    let seen = world.service.only();
    assert_eq!(seen.field("x-user"), ["ada"]);
    assert!(!seen.0.contains("mallory"), "{seen:?}");
    for name in [
        "X-MS-CLIENT-PRINCIPAL",
        "x_ms_client_principal",
        "X-MS-TOKEN-AAD-ID-TOKEN",
        "X-Forwarded-User",
        "Forwarded",
        "X-Original-URL",
        "X-HTTP-Method-Override",
        "X-Real-IP",
        "Client-Cert",
        "Ocp-Apim-Subscription-Key",
    ] {
        let error = world.reload(&text.replace("X-User", name)).unwrap_err();
        assert!(error.problem.contains("so no caller sends it"), "{name}: {error}");
    }
}

#[tokio::test]
async fn t_04_a_certificate_in_a_field_reaches_no_service_whoever_sends_it() {
    let world = World::start(PUBLIC).await;
    let names =
        ["x-forwarded-client-cert", "X_Forwarded_Client_Cert", "x-client-cert", "Client-Cert", "client-cert-chain"];
    for (at, trusted) in ["", "trusted_proxies = [\"127.0.0.1\"]\n"].iter().enumerate() {
        world.reload(&format!("{trusted}{PUBLIC}")).unwrap();
        for name in names {
            assert_eq!(world.get("/", &[(name, "Subject=\"CN=grace\""), (name, "again")]).await.status, 200);
            let seen = world.service.only();
            assert!(!seen.0.contains("grace") && !seen.0.contains("again"), "{at} {name}: {seen:?}");
            world.service.forget();
        }
    }
}
