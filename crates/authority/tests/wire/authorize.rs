//! The authorization endpoint and its pages.
use crate::world::browser::{Browser, PageForm, authorize_path, request};
use crate::world::estate::{CONTOSO, FABRIKAM, app, password, principal, redirect, upn, user};
use crate::world::{Answer, HOST, Params, World, but, claims, encode, text};
use axum::http::StatusCode;
use deputize_core::directory::UserKey;
use deputize_core::ports::Directory;
use oauth::Form;

const ORDERS: &str = "api://orders/access_as_user";
/// Users may consent to it themselves, and nobody has.
const APPROVE: &str = "api://billing/Invoices.Approve";

async fn sign_in_page(world: &World, browser: &mut Browser, client: &str) -> PageForm {
    browser.authorize(world, &request(client, ORDERS)).await.form()
}

fn typed(name: &str) -> [(&'static str, String); 2] {
    [("username", upn(name)), ("password", password(name))]
}

/// A page that says no: nothing is redirected and nothing signed in.
fn forged(answer: &Answer) {
    assert!(answer.page());
    assert_eq!(answer.status, StatusCode::FORBIDDEN, "{}", answer.text());
    assert!(answer.header("location").is_empty() && answer.header("set-cookie").is_empty());
}

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
        let posted = world.post(&format!("/{CONTOSO}/oauth2/v2.0/authorize"), &[], encode(params)).await;
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
async fn a_10_a_sign_in_page_works_for_the_browser_it_was_shown_to_once() {
    let world = World::new().await;
    let [username, secret] = typed("ada");
    let typed: Vec<(&str, &str)> = vec![(username.0, &username.1), (secret.0, &secret.1)];
    let mut victim = Browser::default();
    let mut attacker = Browser::default();
    let theirs = sign_in_page(&world, &mut attacker, "web").await;
    // Login CSRF: the attacker's page in the victim's browser, with and without cookies of their own.
    forged(&victim.submit(&world, &theirs, &typed).await);
    let own = sign_in_page(&world, &mut victim, "web").await;
    forged(&victim.submit(&world, &theirs, &typed).await);
    forged(&victim.submit(&world, &own.with("ticket", theirs.hidden("ticket")), &typed).await);
    // Another request under the same ticket; a ticket cut, altered, empty.
    let elsewhere = own.hidden("request").replace("state", "stats");
    let ticket = own.hidden("ticket").to_owned();
    let mut altered = ticket.clone();
    let last = altered.pop();
    altered.push(if last == Some('A') { 'B' } else { 'A' });
    forged(&victim.submit(&world, &own.with("request", &elsewhere), &typed).await);
    forged(&victim.submit(&world, &own.with("request", ""), &typed).await);
    for wrong in ["", "x", &ticket[1..], &ticket[..ticket.len() - 1], &format!("{ticket}="), &altered] {
        forged(&victim.submit(&world, &own.with("ticket", wrong), &typed).await);
    }
    // From elsewhere, as browsers tell it.
    for headers in [
        vec![("origin", "https://evil.test")],
        vec![("origin", "null")],
        vec![("sec-fetch-site", "cross-site")],
        vec![("sec-fetch-site", "same-site"), ("origin", HOST)],
        vec![("sec-fetch-site", "same-origin"), ("origin", "https://evil.test")],
    ] {
        forged(&world.post(&own.action, &headers, own.body(&typed)).await);
    }
    let wrong = [("username", "ada@contoso.example"), ("password", "guess")];
    let again = victim.submit(&world, &own, &wrong).await;
    assert!(again.page() && again.text().contains("wrong") && !again.headers.contains_key("set-cookie"));
    let answer = victim.submit(&world, &own, &typed).await;
    assert!(answer.redirected().1.value("code").is_some());
    forged(&victim.submit(&world, &own, &typed).await);
    world.clock.advance(3_601);
    let stale = sign_in_page(&world, &mut attacker, "web").await;
    world.clock.advance(3_601);
    forged(&attacker.submit(&world, &stale, &typed).await);
}

#[tokio::test]
async fn a_10_signing_in_never_takes_over_a_session_that_was_there() {
    let world = World::new().await;
    let mut attacker = Browser::default();
    attacker.code(&world, "web", "bob", ORDERS).await;
    // The attacker's cookies, planted in the victim's browser.
    let mut victim = attacker.clone();
    let before = victim.cookies.clone();
    let login = but(request("web", ORDERS), "prompt", Some("login"));
    let page = victim.authorize(&world, &login).await;
    let answer = victim.sign_in(&world, page, "ada").await;
    let (_, answer) = answer.redirected();
    assert_ne!(victim.cookies["__Host-deputize-session"], before["__Host-deputize-session"], "a new session");
    let token = text(&world.redeem("web", answer.value("code").unwrap()).await.ok(), "access_token");
    assert_eq!(claims(&token)["oid"], user("ada").to_string());
    let code = attacker.code(&world, "web", "nobody", ORDERS).await;
    let token = text(&world.redeem("web", &code).await.ok(), "access_token");
    assert_eq!(claims(&token)["oid"], user("bob").to_string(), "the attacker is who they were");
}

#[tokio::test]
async fn a_10_consent_is_bound_to_session_request_and_page() {
    let world = World::new().await;
    let accept = [("action", "accept")];
    let granted = async |name: &str| {
        let record = world.store.user(CONTOSO, UserKey::Id(user(name))).await.unwrap().unwrap();
        record.grants.get(&(principal("web"), principal("billing"))).map(ToString::to_string)
    };
    let consent_page = async |browser: &mut Browser, name: &str| {
        let page = browser.authorize(&world, &request("web", APPROVE)).await;
        let page =
            if page.form().action.ends_with("sign-in") { browser.sign_in(&world, page, name).await } else { page };
        assert!(page.page() && page.text().contains("Invoices.Approve"), "{}", page.text());
        page.form()
    };
    let (mut ada, mut bob) = (Browser::default(), Browser::default());
    let of_ada = consent_page(&mut ada, "ada").await;
    let of_bob = consent_page(&mut bob, "bob").await;
    // Hydra PR 770: the attacker's consent page, agreed to by the victim, and the other way round.
    forged(&ada.submit(&world, &of_bob, &accept).await);
    forged(&bob.submit(&world, &of_ada, &accept).await);
    forged(&ada.submit(&world, &of_ada.with("ticket", of_bob.hidden("ticket")), &accept).await);
    forged(&Browser::default().submit(&world, &of_ada, &accept).await);
    // What is granted is what was shown, whatever the posted request says.
    let wider = of_ada.hidden("request").replace("Invoices.Approve", "Invoices.Void");
    forged(&ada.submit(&world, &of_ada.with("request", &wider), &accept).await);
    // A sign-in page's ticket is none for consent.
    let login = ada.authorize(&world, &but(request("web", APPROVE), "prompt", Some("login"))).await.form();
    forged(&ada.submit(&world, &of_ada.with("ticket", login.hidden("ticket")), &accept).await);
    for site in ["cross-site", "same-site", "none"] {
        let cookies = ada.cookies.iter().map(|(n, v)| format!("{n}={v}")).collect::<Vec<_>>().join("; ");
        let headers = [("cookie", cookies.as_str()), ("sec-fetch-site", site)];
        forged(&world.post(&of_ada.action, &headers, of_ada.body(&accept)).await);
    }
    assert_eq!((granted("ada").await, granted("bob").await), (None, None), "nobody has agreed to anything");
    // No, in every spelling, is no.
    for no in ["cancel", "", "Accept", "accept "] {
        let fresh = consent_page(&mut ada, "ada").await;
        let (_, answer) = ada.submit(&world, &fresh, &[("action", no)]).await.redirected();
        assert_eq!((answer.value("error"), answer.value("code")), (Some("access_denied"), None), "{no:?}");
    }
    assert_eq!(granted("ada").await, None);
    // `for_all` counts for administrators only, whoever sends it.
    let fresh = consent_page(&mut ada, "ada").await;
    let (_, answer) = ada.submit(&world, &fresh, &[("action", "accept"), ("for_all", "true")]).await.redirected();
    assert!(answer.value("code").is_some());
    assert_eq!(granted("ada").await.as_deref(), Some("Invoices.Approve"));
    forged(&ada.submit(&world, &fresh, &accept).await);
    let again = consent_page(&mut bob, "bob").await;
    assert_eq!(granted("bob").await, None, "Bob is still asked");
    bob.submit(&world, &again, &accept).await.redirected();
    assert_eq!(granted("bob").await.as_deref(), Some("Invoices.Approve"));
}

#[tokio::test]
async fn an_administrator_may_agree_for_everyone_and_users_cannot_agree_to_what_is_theirs() {
    let world = World::new().await;
    let void = request("web", "api://billing/Invoices.Void");
    let mut bob = Browser::default();
    let page = bob.authorize(&world, &void).await;
    let refused = bob.sign_in(&world, page, "bob").await;
    assert!(refused.page() && refused.text().contains("consent.admin"), "{}", refused.text());
    let mut carol = Browser::default();
    let page = carol.authorize(&world, &void).await;
    let page = carol.sign_in(&world, page, "carol").await;
    let agreed = carol.submit(&world, &page.form(), &[("action", "accept"), ("for_all", "true")]).await;
    assert!(agreed.redirected().1.value("code").is_some());
    let (_, answer) = bob.authorize(&world, &void).await.redirected();
    assert!(answer.value("code").is_some(), "{answer:?}");
}

#[tokio::test]
async fn a_11_no_page_of_any_route_can_be_framed() {
    let world = World::new().await;
    let mut browser = Browser::default();
    let mut pages = 0;
    // The route table itself: a new route without these headers fails here.
    let source = include_str!("../../src/edge/mod.rs");
    let routes: Vec<&str> = source.split(".route(\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    assert!(routes.len() >= 15, "{routes:?}");
    for route in routes.iter().copied().chain(["/", "/nowhere", "/../etc", "/%2e%2e/x"]) {
        for tenant in [CONTOSO.to_string(), "common".to_owned(), "nowhere".to_owned(), "%FF".to_owned()] {
            let path = route.replace("{tenant}", &tenant).replace("{name}", "nothing.css");
            for query in ["", "?code=90002", "?post_logout_redirect_uri=x", "?a=%ZZ"] {
                for method in ["GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS"] {
                    let request = axum::http::Request::builder().method(method).uri(format!("{path}{query}"));
                    let request = request.header("accept", "text/html").body(axum::body::Body::empty()).unwrap();
                    let answer = world.send(request).await;
                    assert!(!answer.status.is_server_error(), "{method} {path}{query}: {}", answer.status);
                    assert_eq!(answer.header("x-content-type-options"), "nosniff", "{method} {path}");
                    assert!(!answer.header("strict-transport-security").is_empty());
                    assert!(answer.status != 405 || !answer.header("allow").is_empty(), "{method} {path}");
                    pages += usize::from(answer.page());
                }
            }
        }
    }
    assert!(pages > 100, "{pages}");
    let sign_in = browser.authorize(&world, &request("web", APPROVE)).await;
    assert!(sign_in.page());
    assert!(browser.sign_in(&world, sign_in, "ada").await.page(), "the consent page");
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

#[tokio::test]
async fn a_18_the_sign_in_page_says_the_same_of_every_wrong_name_and_password() {
    let world = World::with(|plan| {
        let disabled = plan.users.iter_mut().find(|known| known.id == user("bob")).unwrap();
        disabled.account_enabled = false;
    })
    .await;
    let mut browser = Browser::default();
    let mut seen = Vec::new();
    for (name, word) in [
        ("ada@contoso.example", "wrong"),
        ("nobody@contoso.example", "wrong"),
        ("nobody@nowhere.example", "wrong"),
        ("ivan@fabrikam.example", &*password("ivan")),
        ("bob@contoso.example", "wrong"),
        ("", ""),
        ("ada@contoso.example", ""),
    ] {
        let form = sign_in_page(&world, &mut browser, "web").await;
        let page = browser.submit(&world, &form, &[("username", name), ("password", word)]).await;
        assert!(page.page() && page.status == 200);
        assert!(!page.text().contains("canary-"), "the page repeats the password");
        let html = page.text();
        let at = html.find("role=\"alert\"").unwrap();
        seen.push(html[at..at + 90].to_owned());
    }
    seen.dedup();
    assert_eq!(seen.len(), 1, "{seen:?}");
    let form = sign_in_page(&world, &mut browser, "web").await;
    let hostile = "\"><script>alert(1)</script>\u{202e}@contoso.example";
    let page = browser.submit(&world, &form, &[("username", hostile), ("password", "x")]).await;
    assert!(page.page() && !page.text().contains("<script>alert"));
    let known = [("username", "BOB@Contoso.Example"), ("password", &*password("bob"))];
    let page = browser.submit(&world, &form, &known).await;
    assert!(page.page() && page.text().contains("disabled"), "only who knows the password is told: {}", page.text());
    assert_eq!(Form::default().encode(), "");
}

#[tokio::test]
async fn a_10_a_page_of_one_tenant_is_none_of_another() {
    let world = World::new().await;
    let mut ada = Browser::default();
    let page = ada.authorize(&world, &request("web", APPROVE)).await;
    let mut consent = ada.sign_in(&world, page, "ada").await.form();
    let before = world.store.objects().unwrap().len();
    consent.action = format!("/{FABRIKAM}/consent");
    let answer = ada.submit(&world, &consent, &[("action", "accept")]).await;
    forged(&answer);
    assert_eq!(world.store.objects().unwrap().len(), before, "no consent was recorded");
    consent.action = format!("/{CONTOSO}/consent");
    assert!(ada.submit(&world, &consent, &[("action", "accept")]).await.redirected().1.value("code").is_some());
}

#[tokio::test]
async fn a_10_posting_a_page_twice_at_once_signs_in_and_agrees_once() {
    let world = World::new().await;
    let mut ada = Browser::default();
    let [name, secret] = typed("ada");
    let sign_in = ada.authorize(&world, &request("web", APPROVE)).await.form();
    let twice = async |form: &PageForm, ada: &Browser, typed: &[(&str, &str)]| {
        let (mut one, mut two) = (ada.clone(), ada.clone());
        let (first, second) = tokio::join!(one.submit(&world, form, typed), two.submit(&world, form, typed));
        let statuses = [first.status.as_u16(), second.status.as_u16()];
        assert_eq!(statuses.iter().filter(|status| **status == 403).count(), 1, "{statuses:?}");
        if first.status == 403 { (two, second) } else { (one, first) }
    };
    let (ada, page) = twice(&sign_in, &ada, &[(name.0, &name.1), (secret.0, &secret.1)]).await;
    let (_, answer) = twice(&page.form(), &ada, &[("action", "accept")]).await;
    assert!(answer.redirected().1.value("code").is_some());
}

#[tokio::test]
async fn tossed_cookies_are_refused_and_never_chosen_among() {
    let world = World::new().await;
    let (mut ada, mut bob) = (Browser::default(), Browser::default());
    ada.code(&world, "web", "ada", ORDERS).await;
    bob.code(&world, "web", "bob", ORDERS).await;
    let name = "__Host-deputize-session";
    let [ours, theirs] = [&ada.cookies[name], &bob.cookies[name]];
    for cookies in [
        format!("{name}={ours}; {name}={theirs}"),
        format!("{name}={ours}; {name}={ours}"),
        format!("{}={theirs}", name.to_lowercase()),
        format!("{name} ={theirs}"),
        format!("{name}=\"{theirs}\""),
    ] {
        for path in [authorize_path(&request("web", ORDERS)), format!("/{CONTOSO}/oauth2/v2.0/logout")] {
            let get = axum::http::Request::get(path).header("cookie", &cookies).body(axum::body::Body::empty());
            let answer = world.send(get.unwrap()).await;
            assert!(answer.page() && answer.status == 400, "{cookies}: {}", answer.status);
            assert!(answer.header("location").is_empty());
        }
    }
    for stranger in ["", "x", &ours[1..], &format!("{ours}x"), &"a".repeat(5_000)] {
        let get = axum::http::Request::get(authorize_path(&request("web", ORDERS)));
        let get = get.header("cookie", format!("{name}={stranger}")).body(axum::body::Body::empty());
        let answer = world.send(get.unwrap()).await;
        assert!(answer.page() && answer.form().action.ends_with("/sign-in"), "{stranger}");
    }
}

#[tokio::test]
async fn a_23_what_a_request_says_is_shown_as_text() {
    let world = World::new().await;
    let hostile = "\"><script>alert(1)</script><img src=x onerror=alert(2)>'`\u{202e}";
    let mut browser = Browser::default();
    let hinted = but(request("web", ORDERS), "login_hint", Some(hostile));
    let plain = |answer: &Answer| {
        let html = answer.text();
        assert!(
            answer.page()
                && !html.contains("<script>")
                && !html.contains("<img")
                && !html.contains("onerror=alert(2)>")
        );
    };
    plain(&browser.authorize(&world, &hinted).await);
    browser.code(&world, "web", "ada", ORDERS).await;
    let state = but(but(request("web", ORDERS), "state", Some(hostile)), "response_mode", Some("form_post"));
    let posted = browser.authorize(&world, &state).await;
    plain(&posted);
    assert_eq!(posted.form().hidden("state"), hostile, "and comes back as it was");
    for name in ["client_id", "redirect_uri", "scope", "prompt", "claims", "response_type", "response_mode"] {
        let answer = browser.authorize(&world, &but(request("web", ORDERS), name, Some(hostile))).await;
        if answer.status == StatusCode::SEE_OTHER {
            let location = answer.header("location");
            assert!(
                location.bytes().all(|b| b.is_ascii_graphic()) && !location.contains(['<', '"', '\'']),
                "{location}"
            );
        } else {
            plain(&answer);
        }
    }
    let long = "s".repeat(40_000);
    let (_, answer) = browser.authorize(&world, &but(request("web", ORDERS), "state", Some(&long))).await.redirected();
    assert_eq!(answer.value("state"), Some(&*long));
    let deep = format!("{{\"access_token\":{}1{}}}", "{\"a\":".repeat(2_000), "}".repeat(2_000));
    let (_, answer) = browser.authorize(&world, &but(request("web", ORDERS), "claims", Some(&deep))).await.redirected();
    assert_eq!(answer.value("error"), Some("invalid_request"));
}
