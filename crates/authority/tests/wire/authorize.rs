//! The authorization endpoint: who is answered, where, and across which origins.
use crate::world::browser::{Browser, authorize_path, request};
use crate::world::estate::{CONTOSO, FABRIKAM, app, redirect};
use crate::world::{HOST, Params, World, but, encode};
use axum::http::StatusCode;

const ORDERS: &str = "api://orders/access_as_user";

#[tokio::test]
async fn a_06_every_answer_of_the_authorization_endpoint_names_its_issuer() {
    let world = World::new().await;
    let issuer = format!("{HOST}/{CONTOSO}/v2.0");
    let mut browser = Browser::default();
    let mut requests: Vec<Params<'_>> = vec![request("web", ORDERS), request("strict", ORDERS), request("spa", ORDERS)];
    for (name, value) in [
        ("response_type", "token"),
        ("response_type", "code id_token"),
        ("response_type", ""),
        ("prompt", "none login"),
        ("prompt", "create"),
        ("max_age", "soon"),
        ("claims", "[]"),
        ("scope", "api://nowhere/x"),
        ("scope", "api://orders/Nothing"),
        ("scope", "api://orders/.default api://orders/access_as_user"),
        ("response_mode", "fragment"),
    ] {
        requests.push(but(request("web", ORDERS), name, Some(value)));
    }
    requests.push([request("web", ORDERS), vec![("request_uri", "http://127.0.0.1/".to_owned())]].concat());
    requests.push([request("web", ORDERS), vec![("request", "e30.e30.".to_owned())]].concat());
    browser.code(&world, "web", "ada", ORDERS).await;
    for params in &requests {
        let (_, answer) = browser.authorize(&world, params).await.redirected();
        assert_eq!(answer.value("iss"), Some(&*issuer), "{params:?}");
        assert_eq!(answer.value("state"), Some("the state"), "{params:?}");
        assert!(answer.value("code").is_some() != answer.value("error").is_some(), "{params:?}");
    }
    let (_, answer) =
        Browser::default().authorize(&world, &but(request("web", ORDERS), "prompt", Some("none"))).await.redirected();
    assert_eq!((answer.value("error"), answer.value("iss")), (Some("login_required"), Some(&*issuer)));
    let posted = but(request("web", ORDERS), "response_mode", Some("form_post"));
    let page = browser.authorize(&world, &posted).await;
    assert!(page.page());
    let form = page.form();
    assert_eq!((form.action.as_str(), form.hidden("iss")), (redirect("web"), &*issuer));
    assert!(!form.hidden("code").is_empty());
}

#[tokio::test]
async fn a_07_only_registered_redirect_uris_are_ever_redirected_to() {
    let world = World::new().await;
    let mut browser = Browser::default();
    browser.code(&world, "web", "ada", ORDERS).await;
    let hostile = [
        "https://app.example.evil.test/callback",
        "https://app.example@evil.test/callback",
        "https://app.example:443@evil.test/callback",
        "https://a@b@app.example/callback",
        "https://user:pass@app.example/callback",
        "https://app.example/callback/..;/x",
        "https://app.example/callback/../evil",
        "https://app.example/%2e%2e/callback",
        "https://app.example//callback",
        "https://app.example/callback//",
        "https://app.example\\callback",
        "https://app.example\\@evil.test/callback",
        "https:\\\\app.example\\callback",
        "https://app.example/callback#",
        "https://app.example/callback#code=x",
        "https://app.example/callback?x=1",
        "https://app.example/callback?",
        "https://app.example/callback/",
        "https://app.example/Callback",
        "https://APP.example/callback",
        "HTTPS://app.example/callback",
        "http://app.example/callback",
        "//app.example/callback",
        "/callback",
        "callback",
        "https://app.example:444/callback",
        "https://app.example:/callback",
        "https://app.example./callback",
        "https://appXexample/callback",
        "https://app-example/callback",
        "https://аpp.example/callback",
        "https://xn--pp-6kc.example/callback",
        "https://app.example/callback%00",
        "https://app.example/callback%0d%0aset-cookie:x",
        "https://app.example/callback ",
        " https://app.example/callback",
        "https://app.example/call\u{200b}back",
        "javascript:alert(1)",
        "jAvAsCrIpT:alert(1)",
        "data:text/html,x",
        "http://localhost:8400/callback",
        "http://127.0.0.1/callback",
        "http://[::1]/callback",
        "https://app.example/*",
        "*",
        "https://rival.example/cb",
    ];
    assert!(hostile.len() >= 40);
    for uri in hostile {
        for mode in ["query", "fragment", "form_post"] {
            let params = but(but(request("web", ORDERS), "redirect_uri", Some(uri)), "response_mode", Some(mode));
            let answer = browser.authorize(&world, &params).await;
            assert!(answer.page() && answer.status == 400, "{uri}: {}", answer.status);
            assert!(answer.header("location").is_empty() && !answer.text().contains("<form"), "{uri}");
            assert!(!answer.text().contains("alert(1)"), "{uri}");
        }
    }
    // Loopback: any port, nothing else.
    for (client, uri, fits) in [
        ("native", "http://localhost:1/cb", true),
        ("native", "http://localhost:65535/cb", true),
        ("native", "http://localhost/cb", true),
        ("native", "http://localhost:0/cb", false),
        ("native", "http://localhost:65536/cb", false),
        ("native", "http://localhost:+80/cb", false),
        ("native", "http://localhost:80/cb/", false),
        ("native", "http://localhost:80", false),
        ("native", "http://localhost:80@evil.test/cb", false),
        ("native", "http://localhost:80.evil.test/cb", false),
        ("native", "http://localhost.evil.test:80/cb", false),
        ("native", "https://localhost:80/cb", false),
        ("native", "http://127.0.0.1:80/cb", false),
        ("gadget", "http://127.0.0.1:80/cb", true),
        ("gadget", "http://localhost:80/cb", false),
        ("gadget", "http://127.0.0.1:80/cb?x", false),
        ("gadget", "http://127.0.0.2:80/cb", false),
        ("gadget", "http://127.1:80/cb", false),
    ] {
        let answer = browser.authorize(&world, &but(request(client, ORDERS), "redirect_uri", Some(uri))).await;
        assert_eq!(answer.status == StatusCode::SEE_OTHER, fits, "{client} {uri}");
        assert!(!fits || answer.redirected().0 == uri);
    }
}

#[tokio::test]
async fn a_08_errors_go_nowhere_before_client_and_redirect_uri_are_proved() {
    let world = World::new().await;
    world.edit_principal("rival", |it| it.account_enabled = false).await;
    let good = || request("web", ORDERS);
    let stranger = app("nobody").to_string();
    let requests = [
        but(good(), "client_id", None),
        but(good(), "client_id", Some("")),
        but(good(), "client_id", Some(&stranger)),
        but(good(), "client_id", Some("web")),
        but(good(), "redirect_uri", None),
        but(but(good(), "redirect_uri", Some("https://evil.test/")), "response_type", Some("token")),
        but(but(good(), "redirect_uri", Some("https://evil.test/")), "scope", None),
        but(but(good(), "redirect_uri", Some("https://evil.test/")), "prompt", Some("none")),
        request("rival", ORDERS),
        [good(), vec![("scope", "openid".to_owned())]].concat(),
        [good(), vec![("redirect_uri", "https://evil.test/".to_owned())]].concat(),
        [good(), vec![("state", "a\r\nLocation: https://evil.test".to_owned())]].concat(),
    ];
    for params in &requests {
        for path in [authorize_path(params), authorize_path(params).replace(&CONTOSO.to_string(), "common")] {
            let answer = world.get(&path).await;
            assert!(answer.page() && answer.status == 400, "{params:?}: {} {}", answer.status, answer.text());
            assert!(answer.header("location").is_empty());
        }
        let bound = [("cookie", "__Host-deputize-browser=x")];
        let posted = world.post(&format!("/{CONTOSO}/oauth2/v2.0/authorize"), &bound, encode(params)).await;
        assert!(posted.page() && posted.status == 400);
    }
    for tenant in
        ["consumers", "nowhere", "00000000-0000-0000-0000-000000000000", "..", "%2e%2e", "contoso.example.evil"]
    {
        let answer = world.get(&authorize_path(&good()).replace(&CONTOSO.to_string(), tenant)).await;
        assert!(answer.status == 400 || answer.status == 404, "{tenant}: {}", answer.status);
        assert!(answer.header("location").is_empty(), "{tenant}");
    }
    let other = world
        .get(&authorize_path(&request("daemon", ORDERS)).replace(&CONTOSO.to_string(), &FABRIKAM.to_string()))
        .await;
    assert!(other.page() && other.status == 400, "a client of another tenant");
}

#[tokio::test]
async fn a_17_only_single_page_applications_are_answered_across_origins() {
    let world = World::new().await;
    let mut browser = Browser::default();
    let path = format!("/{CONTOSO}/oauth2/v2.0/token");
    let redeem = async |browser: &mut Browser, client: &str, origin: &str| {
        let code = browser.code(&world, client, "ada", ORDERS).await;
        world.post(&path, &[("origin", origin)], encode(&crate::world::redeem_form(client, &code))).await
    };
    let answer = redeem(&mut browser, "spa", "https://spa.example").await;
    answer.ok();
    assert_eq!(answer.header("access-control-allow-origin"), "https://spa.example");
    assert!(answer.header("access-control-allow-credentials").is_empty() && answer.header("vary").contains("origin"));
    for (client, origin) in [
        ("spa", "https://evil.test"),
        ("spa", "https://spa.example.evil.test"),
        ("spa", "https://spa.exampl"),
        ("spa", "https://spa.example/"),
        ("spa", "http://spa.example"),
        ("spa", "null"),
        ("spa", "*"),
        ("spa", ""),
        ("web", "https://spa.example"),
        ("web", "https://app.example"),
        ("native", "https://spa.example"),
    ] {
        let answer = redeem(&mut browser, client, origin).await;
        assert_eq!(answer.check(), "client.origin", "{client} {origin}");
        let allowed = answer.header("access-control-allow-origin");
        assert!(allowed.is_empty() || allowed == "https://spa.example", "{origin}: {allowed}");
    }
    let bytes = axum::http::Request::post(&path)
        .header("origin", axum::http::HeaderValue::from_bytes(b"https://\xff").unwrap())
        .header("content-type", "application/x-www-form-urlencoded");
    let code = browser.code(&world, "web", "ada", ORDERS).await;
    let body = encode(&crate::world::redeem_form("web", &code));
    let answer = world.send(bytes.body(body.into()).unwrap()).await;
    assert_eq!(answer.check(), "client.origin", "an origin that is no text is an origin");
    let preflight = async |path: &str, origin: &str| {
        let request = axum::http::Request::builder().method("OPTIONS").uri(path).header("origin", origin);
        world
            .send(request.header("access-control-request-method", "POST").body(axum::body::Body::empty()).unwrap())
            .await
    };
    let answer = preflight(&path, "https://spa.example").await;
    assert_eq!(answer.header("access-control-allow-origin"), "https://spa.example");
    assert!(preflight(&path, "https://evil.test").await.header("access-control-allow-origin").is_empty());
    let authorize = format!("/{CONTOSO}/oauth2/v2.0/authorize");
    assert!(preflight(&authorize, "https://spa.example").await.header("access-control-allow-origin").is_empty());
}
