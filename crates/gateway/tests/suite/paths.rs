//! G-07 and G-11: routes and the service see the same path and the same host.
use crate::support::{Answered, World};
use testkit::Random;

const ADMIN: &str = r#"
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
    [[api.operation]]
    name = "admin"
    method = "*"
    path = "/admin/*"
    [[api.operation.policies.check_header]]
    name = "x-never"
    failed_check_httpcode = 403
    failed_check_error_message = "administrators only"
    ignore_case = false
"#;

#[tokio::test]
async fn the_root_of_an_api_is_the_path_of_its_service_and_no_other() {
    for (base, api, asked, sent) in [
        ("/v1/orders", "/orders", "/orders", "/v1/orders"),
        ("/v1/orders", "/orders", "/orders/", "/v1/orders/"),
        ("/v1/orders", "/orders", "/orders?a=b", "/v1/orders?a=b"),
        ("/v1/orders", "/orders", "/orders/7", "/v1/orders/7"),
        ("/v1", "/", "/", "/v1/"),
        ("", "/orders", "/orders", "/"),
        ("", "/orders", "/orders?a=b", "/?a=b"),
    ] {
        let text = crate::support::PUBLIC.replace("{service}", &format!("{{service}}{base}"));
        let world = World::start(&text.replace("path = \"/\"", &format!("path = \"{api}\""))).await;
        assert_eq!(world.get(asked, &[]).await.status, 200);
        assert_eq!(world.service.only().target(), sent, "{asked} at {base}");
    }
}

/// Ways to write `/admin/x` that some server somewhere would read so.
const SPELLINGS: &[&str] = &[
    "/admin/x",
    "/admin",
    "/admin/",
    "//admin/x",
    "/./admin/x",
    "/a/../admin/x",
    "/../admin/x",
    "/a/..//admin/x",
    "/admin//x",
    "/admin/./x",
    "/%61dmin/x",
    "/%61%64%6d%69%6e/x",
    "/admin/%2e/x",
    "/%2e/admin/x",
    "/a/%2e%2e/admin/x",
    "/a/%2E%2E/admin/x",
    "/a/.%2e/admin/x",
    "/a/%2e./admin/x",
    "/a/..%2fadmin/x",
    "/a/..%2Fadmin/x",
    "/a%2f..%2fadmin/x",
    "/admin%2fx",
    "/admin%2Fx",
    "/a/..%5cadmin/x",
    "/a\\..\\admin/x",
    "/admin\\x",
    "/\\admin/x",
    "/%5cadmin/x",
    "/admin;a=b/x",
    "/admin;/x",
    "/;/admin/x",
    "/a/..;/admin/x",
    "/a/..;a=b/admin/x",
    "/admin%3bx/x",
    "/admin%00/x",
    "/admin%00",
    "/admin/x%00",
    "/%00/admin/x",
    "/admin%0a/x",
    "/admin%20/x",
    "/admin./x",
    "/admin%2e/x",
    "/a/%252e%252e/admin/x",
    "/a/..%252fadmin/x",
    "/%2561dmin/x",
    "/admin%252fx",
    "/a/%c0%ae%c0%ae/admin/x",
    "/admin%c0%afx",
    "/a/%ef%bc%8e%ef%bc%8e/admin/x",
    "/admin%ef%bc%8fx",
    "/admin%u002fx",
    "/%u0061dmin/x",
    "/admin%",
    "/admin%2",
    "/admin%zz",
    "/admin{/x",
    "/admin|/x",
    "/admin?/../x",
    "/admin/x?a=/../b",
    "/admin/x#/../b",
    "/a/b/../../admin/x",
    "/admin/../admin/x",
    "/a/.../admin/x",
    "http://api.example/admin/x",
    "http://api.example//admin/x",
    "http://api.example/a/../admin/x",
];

#[tokio::test]
async fn g_07_no_spelling_of_a_path_passes_its_policy() {
    let world = World::start(ADMIN).await;
    for target in SPELLINGS {
        world.service.forget();
        let answer = world.get(target, &[]).await;
        assert!(matches!(answer.status, 400 | 403), "{target}: {answer:?}");
        assert_eq!(world.service.seen(), Vec::<String>::new(), "{target}");
        if answer.status == 403 {
            assert_eq!(
                (answer.reason().1, answer.json()["message"].as_str()),
                ("HeaderNotFound".into(), Some("administrators only"))
            );
        }
    }
    // Case matters, and what is another path to the route is another one to the service.
    assert_eq!(world.get("/Admin/x", &[]).await.status, 200);
    assert_eq!(world.service.only().target(), "/Admin/x");
}

#[tokio::test]
async fn g_11_no_spelling_of_a_host_passes_its_api() {
    let text = format!(
        "{ADMIN}\n{}",
        r#"
    [[api]]
    name = "closed"
    host = "closed.example"
    path = "/"
    upstream = "orders"
    public = true
    [[api.operation]]
    name = "nothing"
    method = "GET"
    path = "/nothing"
    "#
    );
    let world = World::start(&text).await;
    let asked = async |target: &str, host: &str| -> Answered {
        world.raw(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n")).await
    };
    for host in ["closed.example", "CLOSED.example", "Closed.Example.", "closed.example:443", "closed.example.:80"] {
        assert_eq!(asked("/x", host).await.reason(), (404, "OperationNotFound".to_owned()), "{host}");
    }
    for host in [
        "user@closed.example",
        "closed.example@x",
        "closed.example..",
        "closed.example:x",
        "closed.example/",
        "a,b",
        "",
    ] {
        assert_eq!(asked("/x", host).await.status, 400, "{host}");
    }
    assert_eq!(asked("http://closed.example/x", "open.example").await.status, 400);
    assert_eq!(world.service.seen(), Vec::<String>::new());
    assert_eq!(asked("/x", "open.example").await.status, 200);
}

#[tokio::test]
async fn g_08_methods_cannot_be_disguised() {
    let world = World::start(ADMIN).await;
    for (line, status) in [("TRACE / HTTP/1.1", 405), ("get / HTTP/1.1", 400), ("Post / HTTP/1.1", 400)] {
        assert_eq!(world.raw(format!("{line}\r\nHost: a\r\n\r\n")).await.status, status, "{line}");
    }
    let connect = world.raw("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n").await;
    assert_eq!(connect.status, 405);
    assert_eq!(connect.field("allow"), ["GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"]);
    assert_eq!(world.service.seen(), Vec::<String>::new());
    world
        .get(
            "/x",
            &[("x-http-method-override", "DELETE"), ("x_http_method", "DELETE"), ("x-method-override", "DELETE")],
        )
        .await;
    let seen = world.service.only();
    assert!(seen.line().starts_with("GET ") && !seen.0.contains("DELETE"), "{seen:?}");
}

/// G-07: the operation that a request was judged by is the one of the path that the service got.
#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "how long the proof is, is said by whoever runs it")]
async fn gateway_paths_are_routed_as_the_service_sees_them() {
    let world = World::start(ADMIN).await;
    let paths: u32 = std::env::var("DEPUTIZE_PATHS").ok().and_then(|n| n.parse().ok()).unwrap_or(300);
    let pieces = [
        "/", "admin", "a", "..", ".", "%2e", "%2f", "%61", "%25", "%5c", ";", "\\", "//", "%C3%A9", "%41", "x", "%20",
        "b.c",
    ];
    let mut random = Random::seeded(7);
    let mut forwarded = 0;
    let host = "api.example";
    let mut connection = crate::support::Connection::open(world.address).await;
    for _ in 0..paths {
        let target: String = (0..=random.below(7)).map(|_| *random.pick(&pieces).unwrap()).collect();
        let target = format!("/{target}");
        let answer = connection.get(&target).await;
        let judged = world.gateway.effective_for(host, &http::Method::GET, &target).map(|found| found.operation);
        match answer.status {
            200 => {
                let seen = world.service.only();
                let again =
                    world.gateway.effective_for(host, &http::Method::GET, seen.target()).map(|found| found.operation);
                assert_eq!(again.as_deref(), Some("orders/all"), "{target} came as {}", seen.target());
                assert_eq!(judged, again, "{target} came as {}", seen.target());
                assert!(!seen.target().trim_start_matches('/').starts_with("admin/"), "{target}");
                forwarded += 1;
            }
            403 => assert_eq!(judged.as_deref(), Some("orders/admin"), "{target}"),
            400 => assert_eq!(judged, None, "{target}"),
            _ => panic!("{target}: {answer:?}"),
        }
        world.service.forget();
    }
    assert!(forwarded > paths / 10, "{forwarded} of {paths} were forwarded");
}
