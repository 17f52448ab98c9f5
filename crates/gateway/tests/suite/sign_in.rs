//! Sign-in at the edge: what people, pages and services see of it. What attackers see is in [`crate::sign_in_attacks`].
use crate::browser::{Browser, FETCHES, NAVIGATES, SIGN_IN, ada, answers, challenge_of, principal, values};
use crate::support::{PUBLIC, World};
use serde_json::json;
use testkit::Next;

#[tokio::test]
async fn a_person_is_sent_to_sign_in_and_back_and_the_service_is_told_who_it_is() {
    let world = World::start(SIGN_IN).await;
    let mut browser = Browser::default();
    browser.jar.insert("theme".to_owned(), "dark".to_owned());
    let answer = browser.get(&world, "/orders/7?lines=all&x=%20", NAVIGATES).await;
    assert_eq!((answer.status, answer.field("cache-control").concat().as_str()), (302, "no-store"), "{answer:?}");
    let to = answer.field("location").concat();
    assert_eq!(to, "/.auth/login/aad?post_login_redirect_uri=%2Forders%2F7%3Flines%3Dall%26x%3D%2520");
    let begun = browser.begin(&world, &to).await;
    assert_eq!(begun.to, format!("{}/authorize", world.issuer.url()));
    for (name, value) in [
        ("client_id", "web"),
        ("response_type", "code"),
        ("redirect_uri", "https://api.example/.auth/login/aad/callback"),
        ("scope", "offline_access openid profile"),
        ("code_challenge_method", "S256"),
    ] {
        let mut said: Vec<&str> = begun.value(name).split(' ').collect();
        said.sort_unstable();
        assert_eq!(said.join(" "), value);
    }
    answers(&world, &begun, &json!({}), &json!({}));
    let answer = browser.back(&world, &begun).await;
    assert_eq!((answer.status, answer.field("location").concat().as_str()), (302, "/orders/7?lines=all&x=%20"));
    let redeemed = world.issuer.asked().pop().unwrap();
    assert_eq!(challenge_of(redeemed.field("code_verifier").unwrap()), begun.value("code_challenge"));
    assert_eq!(
        (redeemed.field("code"), redeemed.field("client_secret")),
        (Some("the-code"), Some("the gateway's secret"))
    );
    assert_eq!(redeemed.field("redirect_uri"), Some("https://api.example/.auth/login/aad/callback"));
    assert!(!browser.jar.keys().any(|name| name.contains("sign-in")), "the sign-in is over: {:?}", browser.jar.keys());

    assert_eq!(browser.get(&world, "/orders/7", NAVIGATES).await.status, 200);
    let seen = world.service.only();
    assert_eq!(seen.field("cookie"), ["theme=dark"], "no service sees a session");
    assert_eq!(seen.field("x-ms-client-principal-id"), ["o-ada"]);
    assert_eq!(seen.field("x-ms-client-principal-name"), ["ada@contoso.example"]);
    assert_eq!(seen.field("x-ms-client-principal-idp"), ["aad"]);
    let told = principal(&seen);
    assert_eq!((&told["auth_typ"], &told["name_typ"]), (&json!("aad"), &json!("preferred_username")));
    let role = "http://schemas.microsoft.com/ws/2008/06/identity/claims/role";
    assert_eq!((&told["role_typ"], values(&told, role)), (&json!(role), vec!["Reader", "Writer"]));
    assert_eq!(values(&told, "preferred_username"), ["ada@contoso.example"]);
    assert_eq!(values(&told, "http://schemas.microsoft.com/identity/claims/objectidentifier"), ["o-ada"]);
    assert!(!seen.0.to_ascii_lowercase().contains("x-ms-token"), "tokens are sent where that is said: {seen:?}");
    assert!(seen.field("authorization").is_empty());
    // Who it was is in the log.
    let line = world.lines().into_iter().rfind(|line| line["path"] == "/orders/7" && line["status"] == 200).unwrap();
    assert_eq!((&line["subject"], &line["tenant"]), (&json!("o-ada"), &json!("t1")));
}

#[tokio::test]
async fn cookies_are_for_this_host_over_tls_and_for_no_script() {
    let world = World::start(SIGN_IN).await;
    let mut browser = Browser::default();
    let begun = browser.get(&world, "/.auth/login/aad", NAVIGATES).await;
    let pending = browser.clone();
    let back = browser.signs_in(&world, &json!({}), &json!({})).await;
    let names = |answer: &crate::support::Answered| {
        let set = answer.field("set-cookie");
        for cookie in &set {
            assert!(cookie.ends_with("; Secure; HttpOnly; SameSite=Lax") && cookie.contains("; Path=/"), "{cookie}");
            assert!(!cookie.contains("Domain"), "{cookie}");
        }
        set.iter().map(|cookie| cookie.split_once('=').unwrap().0.to_owned()).collect::<Vec<_>>()
    };
    assert!(names(&begun)[0].starts_with("__Host-deputize-edge-sign-in-"), "{begun:?}");
    assert_eq!(names(&back)[..2], ["AppServiceAuthSession", "__Host-deputize-edge-session"]);
    for held in [pending.jar, browser.jar].iter().flat_map(|jar| jar.values()) {
        // Three letters come about by chance in what is sealed; these do not.
        let is_told = held.contains("ada@") || held.contains("eyJhbGciOi");
        let begins_as_json = held.split('.').any(|part| part.starts_with("eyJ"));
        assert!(!is_told && !begins_as_json, "nobody can read it: {held}");
    }
}

#[tokio::test]
async fn programs_and_pages_that_ask_for_data_are_refused_and_not_sent_anywhere() {
    let world = World::start(SIGN_IN).await;
    let mut browser = Browser::default();
    for fields in [
        &[][..],
        FETCHES,
        &[("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "iframe")],
        &[("accept", "application/json")],
        &[("accept", "text/html"), ("x-requested-with", "XMLHttpRequest")],
        &[("accept", "text/html"), ("origin", "https://api.example")],
    ] {
        let answer = browser.get(&world, "/x", fields).await;
        assert_eq!((answer.status, answer.check().as_str()), (401, "sign_in.session"), "{fields:?}");
        assert_eq!(answer.field("www-authenticate"), ["Bearer"]);
    }
    let answer = browser.ask(&world, "POST", "/x", NAVIGATES, "").await;
    assert_eq!(answer.status, 401, "what was posted would be lost");
    assert_eq!(browser.get(&world, "/x", &[("accept", "text/html,*/*")]).await.status, 302, "older browsers");
    // At an address that nobody said is one of the gateway's nobody can sign in.
    let elsewhere = world.raw("GET /x HTTP/1.1\r\nhost: 10.0.0.1\r\naccept: text/html\r\n\r\n").await;
    assert_eq!(elsewhere.status, 401);
    for path in ["/.auth/login/aad", "/.auth/me"] {
        let text = format!("GET {path} HTTP/1.1\r\nhost: api.example:8443\r\naccept: application/json\r\n\r\n");
        let answer = world.raw(text).await;
        assert_eq!((answer.status, answer.check().as_str()), (401, "sign_in.session"), "an operation like any other");
    }
    assert_eq!(world.service.seen(), Vec::<String>::new());
}

#[tokio::test]
async fn a_policy_can_refuse_everybody_with_401_or_let_them_go_on_as_nobody() {
    let refuses = SIGN_IN.replace("[api.policies.sign_in]", "[api.policies.sign_in]\n    unauthenticated = \"401\"");
    let world = World::start(&refuses).await;
    let mut browser = Browser::default();
    assert_eq!(browser.get(&world, "/x", NAVIGATES).await.status, 401);
    assert_eq!(ada(&world).await.get(&world, "/x", NAVIGATES).await.status, 200);
    let allows = refuses.replace("\"401\"", "\"allow\"");
    let error = world.reload(&allows).unwrap_err();
    assert!(error.problem.contains("no policy that checks who calls"), "{error}");
    world.reload(&allows.replace("path = \"/\"\n", "path = \"/\"\n    public = true\n")).unwrap();
    world.service.forget();
    let forged = [("x-ms-client-principal-name", "grace@contoso.example")];
    assert_eq!(browser.get(&world, "/x", &forged).await.status, 200);
    assert!(!world.service.only().0.contains("x-ms-client"), "nobody is nobody");
    world.service.forget();
    assert_eq!(ada(&world).await.get(&world, "/x", NAVIGATES).await.status, 200);
    assert_eq!(world.service.only().field("x-ms-client-principal-id"), ["o-ada"]);
}

#[tokio::test]
async fn pages_find_out_who_signed_in() {
    let world = World::start(SIGN_IN).await;
    let answer = Browser::default().get(&world, "/.auth/me", FETCHES).await;
    assert_eq!((answer.status, answer.check().as_str()), (401, "sign_in.session"));
    let mut browser = ada(&world).await;
    let answer = browser.get(&world, "/.auth/me", FETCHES).await;
    assert_eq!((answer.status, answer.field("cache-control").concat().as_str()), (200, "no-store"), "{answer:?}");
    assert_eq!(answer.field("x-content-type-options"), ["nosniff"]);
    let told = answer.json();
    assert_eq!(told.as_array().unwrap().len(), 1);
    assert_eq!((&told[0]["provider_name"], &told[0]["user_id"]), (&json!("aad"), &json!("ada@contoso.example")));
    assert_eq!(
        (&told[0]["access_token"], &told[0]["refresh_token"]),
        (&json!("an-access-token"), &json!("a-refresh-token"))
    );
    assert_eq!(told[0]["expires_on"], "2027-01-15T09:00:00Z");
    let claims = told[0]["user_claims"].as_array().unwrap();
    let oid = json!({"typ": "http://schemas.microsoft.com/identity/claims/objectidentifier", "val": "o-ada"});
    assert!(claims.contains(&oid), "{claims:?}");
    for (method, path, allowed) in [
        ("POST", "/.auth/me", "GET, HEAD"),
        ("POST", "/.auth/logout", "GET, HEAD"),
        ("POST", "/.auth/refresh", "GET, HEAD"),
        ("POST", "/.auth/login/aad/callback", "GET, HEAD"),
        ("PUT", "/.auth/login/aad", "GET, HEAD, POST"),
    ] {
        let answer = browser.ask(&world, method, path, FETCHES, "").await;
        assert_eq!((answer.status, answer.field("allow")), (405, vec![allowed]), "{method} {path}");
        let told = answer.json()["message"].as_str().unwrap().to_owned();
        assert!(told.contains(&format!("to {allowed} and no other")), "{told}");
    }
    assert_eq!(browser.get(&world, "/.auth/nothing", FETCHES).await.status, 404);
    assert_eq!(browser.get(&world, "/.auth/login/google", NAVIGATES).await.status, 404);
}

#[tokio::test]
async fn a_sign_out_ends_the_session_here_and_at_the_provider() {
    let world = World::start(SIGN_IN).await;
    let mut browser = ada(&world).await;
    let stolen = browser.clone();
    let to = "/.auth/logout?post_logout_redirect_uri=https://shop.example/welcome";
    let begun = browser.begin(&world, to).await;
    assert_eq!(begun.to, format!("{}/logout", world.issuer.url()));
    assert_eq!(begun.value("post_logout_redirect_uri"), "https://api.example/.auth/logout/done");
    assert_eq!(begun.value("client_id"), "web");
    let hint = jose::Token::parse(begun.value("id_token_hint")).unwrap().peek().unwrap();
    assert_eq!(hint["oid"], "o-ada");
    assert!(browser.jar.is_empty(), "{:?}", browser.jar.keys());
    let back = format!("/.auth/logout/done?state={}", begun.value("state"));
    let answer = browser.get(&world, &back, NAVIGATES).await;
    assert_eq!((answer.status, answer.field("location").concat().as_str()), (302, "https://shop.example/welcome"));
    // Where nothing more is said, and where somebody makes the way on up, a page says that it is over.
    for back in ["/.auth/logout/done", "/.auth/logout/done?state=https://evil.example/", &format!("{back}x")] {
        let answer = browser.get(&world, back, NAVIGATES).await;
        assert_eq!((answer.status, answer.field("location").len()), (200, 0));
        assert!(answer.body.contains("You are signed out"), "{answer:?}");
        assert!(answer.field("content-security-policy").concat().starts_with("default-src 'none'; style-src 'sha256-"));
    }
    // A copy of the cookies is nobody's any more, in another configuration of this process too.
    for _ in 0..2 {
        assert_eq!(stolen.clone().get(&world, "/x", FETCHES).await.status, 401);
        assert_eq!(stolen.clone().get(&world, "/.auth/me", FETCHES).await.status, 401);
        assert_eq!(stolen.clone().get(&world, "/.auth/refresh", FETCHES).await.status, 401);
        // Where nobody signs in for a while, too.
        world.reload(PUBLIC).unwrap();
        world.reload(SIGN_IN).unwrap();
    }
    assert_eq!(world.service.seen(), Vec::<String>::new());
    // Who is not signed in goes straight on.
    let answer = Browser::default().get(&world, "/.auth/logout?post_logout_redirect_uri=/bye", NAVIGATES).await;
    assert_eq!((answer.status, answer.field("location").concat().as_str()), (302, "/bye"));
    assert_eq!(
        Browser::default().get(&world, "/.auth/logout", NAVIGATES).await.field("location"),
        ["/.auth/logout/done"]
    );
}

#[tokio::test]
async fn a_session_lasts_eight_hours_and_can_be_refreshed_for_three_days_more() {
    let world = World::start(SIGN_IN).await;
    let mut browser = ada(&world).await;
    world.clock.advance(8 * 3_600 - 1);
    assert_eq!(browser.get(&world, "/x", FETCHES).await.status, 200);
    world.clock.advance(1);
    assert_eq!(browser.get(&world, "/x", FETCHES).await.status, 401);
    assert_eq!(browser.get(&world, "/x", NAVIGATES).await.status, 302);
    assert_eq!(browser.get(&world, "/.auth/me", FETCHES).await.status, 401);
    world.clock.advance(72 * 3_600 - 1);
    let before = browser.clone();
    let answer = browser.get(&world, "/.auth/refresh", FETCHES).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(world.issuer.asked().pop().unwrap().field("refresh_token"), Some("a-refresh-token"));
    assert_eq!(browser.get(&world, "/x", FETCHES).await.status, 200);
    assert_ne!(
        before.jar["__Host-deputize-edge-session"], browser.jar["__Host-deputize-edge-session"],
        "another session"
    );
    assert_eq!(before.clone().get(&world, "/.auth/refresh", FETCHES).await.status, 401, "the one before is over");
    world.clock.advance((8 + 72) * 3_600);
    assert_eq!(browser.get(&world, "/.auth/refresh", FETCHES).await.status, 401, "too late");
}

#[tokio::test]
async fn what_the_provider_does_not_refresh_is_not_refreshed() {
    let world = World::start(SIGN_IN).await;
    for (next, status, check) in [
        (Next::answer(400, r#"{"error":"invalid_grant"}"#), 403, "sign_in.refresh"),
        (Next::answer(503, ""), 503, "sign_in.available"),
    ] {
        let mut browser = ada(&world).await;
        world.issuer.next(next);
        let answer = browser.get(&world, "/.auth/refresh", FETCHES).await;
        assert_eq!((answer.status, answer.check().as_str()), (status, check), "{answer:?}");
        assert_eq!(browser.get(&world, "/x", FETCHES).await.status, 200, "the session is as good as before");
    }
    let mut browser = Browser::default();
    browser.signs_in(&world, &json!({}), &json!({"refresh_token": null})).await;
    let answer = browser.get(&world, "/.auth/refresh", FETCHES).await;
    assert_eq!((answer.status, answer.check().as_str()), (403, "sign_in.refresh"));
}

#[tokio::test]
async fn restarts_replicas_and_new_keys_keep_sessions() {
    let world = World::start(SIGN_IN).await;
    let mut browser = ada(&world).await;
    let both = "keys = [{ env = \"NEXT_SIGN_IN_KEY\" }, { env = \"SIGN_IN_KEY\" }]";
    let before = "keys = [{ env = \"SIGN_IN_KEY\" }]";
    assert!(SIGN_IN.contains(before));
    world.reload(&SIGN_IN.replace(before, both)).unwrap();
    assert_eq!(browser.get(&world, "/x", FETCHES).await.status, 200);
    let mut newer = ada(&world).await;
    world.reload(&SIGN_IN.replace(before, "keys = [{ env = \"NEXT_SIGN_IN_KEY\" }]")).unwrap();
    assert_eq!(browser.get(&world, "/x", FETCHES).await.status, 401, "its key is gone");
    assert_eq!(newer.get(&world, "/x", FETCHES).await.status, 200, "sealed with the new one");
    // Another process with the same keys.
    let other = World::start(SIGN_IN).await;
    assert_eq!(browser.get(&other, "/x", FETCHES).await.status, 200);
}

#[tokio::test]
async fn several_tabs_sign_in_each_by_itself() {
    let world = World::start(SIGN_IN).await;
    let mut browser = Browser::default();
    let first = browser.begin(&world, "/.auth/login/aad?post_login_redirect_uri=/a").await;
    let second = browser.begin(&world, "/.auth/login/aad?post_login_redirect_uri=/b").await;
    for (begun, landing) in [(&second, "/b"), (&first, "/a")] {
        answers(&world, begun, &json!({}), &json!({}));
        assert_eq!(browser.back(&world, begun).await.field("location"), [landing]);
    }
    // However many are begun, a browser keeps five.
    for _ in 0..9 {
        browser.begin(&world, "/.auth/login/aad").await;
    }
    assert_eq!(browser.jar.keys().filter(|name| name.contains("sign-in")).count(), 5);
}

#[tokio::test]
async fn a_provider_that_is_away_or_refuses_is_told_on_a_page() {
    let world = World::start(SIGN_IN).await;
    for (query, next, status, check) in [
        ("error=access_denied&error_description=%3Cscript%3E", None, 403, "sign_in.accepted"),
        ("error=temporarily_unavailable", None, 503, "sign_in.available"),
        ("code=c", Some(Next::answer(503, "")), 503, "sign_in.available"),
        (
            "code=c",
            Some(Next::answer(400, r#"{"error":"invalid_grant","error_description":"<script>"}"#)),
            403,
            "sign_in.accepted",
        ),
        ("code=c", Some(Next::answer(200, "no JSON")), 401, "sign_in.identity"),
    ] {
        let mut browser = Browser::default();
        let begun = browser.begin(&world, "/.auth/login/aad?post_login_redirect_uri=/x?a=%2522%3E").await;
        if let Some(next) = next {
            world.issuer.next(next);
        }
        let target = format!("/.auth/login/aad/callback?state={}&{query}", begun.value("state"));
        let answer = browser.get(&world, &target, NAVIGATES).await;
        assert_eq!(answer.status, status, "{answer:?}");
        assert!(answer.body.contains(check) && answer.body.contains("You could not be signed in"), "{answer:?}");
        assert!(!answer.body.contains("<script"), "{answer:?}");
        let retry = r#"href="/.auth/login/aad?post_login_redirect_uri=%2Fx%3Fa%3D%2522%3E""#;
        assert!(answer.body.contains(retry), "{answer:?}");
        assert_eq!(answer.field("content-type"), ["text/html; charset=utf-8"]);
        assert!(browser.jar.is_empty(), "the sign-in is over: {:?}", browser.jar.keys());
        assert_eq!(browser.get(&world, "/x", FETCHES).await.status, 401, "nobody is signed in");
    }
}
