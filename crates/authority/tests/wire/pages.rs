//! What pages say and show, to whom and under which cookies.
use super::interaction::sign_in_page;
use crate::world::browser::{Browser, authorize_path, request};
use crate::world::estate::{CONTOSO, password, user};
use crate::world::{Answer, World, but};
use axum::http::StatusCode;

const ORDERS: &str = "api://orders/access_as_user";
/// Users may consent to it themselves, and nobody has.
const APPROVE: &str = "api://billing/Invoices.Approve";

#[tokio::test]
async fn a_11_no_page_of_any_route_can_be_framed() {
    let world = World::new().await;
    let mut browser = Browser::default();
    let mut pages = 0;
    // The route table itself: a new route without these headers fails here.
    let routes: Vec<&str> = deputize_authority::endpoints().flat_map(|it| it.routes).map(|route| route.path).collect();
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
        ("ivan@fabrikam.example", "wrong"),
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
