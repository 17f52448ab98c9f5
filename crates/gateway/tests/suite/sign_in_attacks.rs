//! What sign-in at the edge has to withstand: forged and stolen cookies, answers of other sign-ins, tokens of others, other
//! sites' pages, and ways out to other hosts.
use crate::browser::{Begun, Browser, FETCHES, NAVIGATES, SIGN_IN, ada, answers, id_token, principal};
use crate::support::{Answered, World};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use decision::Clock;
use oauth::Form;
use serde_json::{Value, json};
use testkit::Next;

const SESSION: &str = "AppServiceAuthSession";
const BESIDE: &str = "__Host-deputize-edge-session";

fn page(answer: &Answered, status: u16, check: &str) {
    assert_eq!(answer.status, status, "{answer:?}");
    assert!(answer.body.contains(check), "{answer:?}");
    assert!(answer.field("set-cookie").iter().all(|cookie| !cookie.starts_with(SESSION)), "{answer:?}");
}

#[tokio::test]
async fn a_cookie_that_was_altered_cut_or_put_together_is_nobodys() {
    let world = World::start(SIGN_IN).await;
    let browser = ada(&world).await;
    let good = browser.jar[SESSION].clone();
    let [id, count, sealed] = *good.split('.').collect::<Vec<_>>() else { panic!("{good}") };
    let mut altered: Vec<String> = Vec::new();
    for at in (0..sealed.len()).step_by(97) {
        let mut bytes = sealed.as_bytes().to_vec();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        altered.push(format!("{id}.{count}.{}", String::from_utf8(bytes).unwrap()));
        altered.push(format!("{id}.{count}.{}", &sealed[..at]));
    }
    altered.extend([
        sealed.to_owned(),
        String::new(),
        format!("{count}.{sealed}"),
        format!("{id}.{sealed}"),
        format!("{id}.2.{sealed}"),
        format!("{id}.0.{sealed}"),
        format!("{id}.1.{sealed}A"),
    ]);
    altered.push(format!("\"{good}\""));
    for value in altered {
        let mut forged = browser.clone();
        forged.jar.insert(SESSION.to_owned(), value.clone());
        assert_eq!(forged.get(&world, "/x", FETCHES).await.status, 401, "{value}");
    }
    assert_eq!(world.service.seen(), Vec::<String>::new());
    assert_eq!(browser.clone().get(&world, "/x", FETCHES).await.status, 200);
}

#[tokio::test]
async fn a_cookie_of_another_gateway_of_another_site_or_of_another_use_is_nobodys() {
    let world = World::start(SIGN_IN).await;
    let other = World::start(&SIGN_IN.replace("{ env = \"SIGN_IN_KEY\" }", "{ env = \"NEXT_SIGN_IN_KEY\" }")).await;
    assert_eq!(ada(&other).await.get(&world, "/x", FETCHES).await.status, 401, "another key");
    let mut browser = ada(&world).await;
    world.reload(&SIGN_IN.replace("https://api.example", "http://localhost")).unwrap();
    let cookies = format!("{SESSION}={}; deputize-edge-session={}", browser.jar[SESSION], browser.jar[BESIDE]);
    let asked = format!("GET /x HTTP/1.1\r\nhost: localhost\r\ncookie: {cookies}\r\n\r\n");
    assert_eq!(world.raw(asked).await.status, 401, "sealed for another site");
    world.reload(SIGN_IN).unwrap();
    // A sign-in that is under way is no session, and a session in a cookie is none in a field.
    let sealed = browser.jar[SESSION].rsplit_once('.').unwrap().1.to_owned();
    assert_eq!(world.get("/x", &[("x-zumo-auth", sealed.as_str())]).await.status, 401);
    browser.begin(&world, "/.auth/login/aad").await;
    let pending = browser.jar.iter().find(|(name, _)| name.contains("sign-in")).unwrap().1.clone();
    browser.jar.insert(SESSION.to_owned(), format!("{}.1.{pending}", browser.jar[BESIDE]));
    assert_eq!(browser.get(&world, "/x", FETCHES).await.status, 401);
}

#[tokio::test]
async fn a_sibling_host_that_plants_a_session_signs_nobody_in() {
    let world = World::start(SIGN_IN).await;
    let (attacker, victim) = (ada(&world).await, ada(&world).await);
    // Without the cookie beside it, which only this host can set; and with that of another session.
    let mut planted = Browser::default();
    planted.jar.insert(SESSION.to_owned(), attacker.jar[SESSION].clone());
    assert_eq!(planted.get(&world, "/x", FETCHES).await.status, 401);
    planted.jar.insert(BESIDE.to_owned(), victim.jar[BESIDE].clone());
    assert_eq!(planted.get(&world, "/x", FETCHES).await.status, 401);
    let sealed = attacker.jar[SESSION].split_once('.').unwrap().1;
    planted.jar.insert(SESSION.to_owned(), format!("{}.{sealed}", victim.jar[BESIDE]));
    assert_eq!(planted.get(&world, "/x", FETCHES).await.status, 401, "somebody else's, under the id of the victim's");
    assert_eq!(world.service.seen(), Vec::<String>::new());
}

#[tokio::test]
async fn a_sibling_host_that_plants_a_session_signs_nobody_out() {
    let world = World::start(SIGN_IN).await;
    let attacker = ada(&world).await;
    let mut victim = Browser::default();
    let large: Vec<String> = (0..200).map(|n| format!("5b1d2a2e-3c0a-4d62-9d39-4f6b7b1f{n:04}")).collect();
    let claims = json!({"sub": "s-bob", "oid": "o-bob", "groups": large});
    assert_eq!(victim.signs_in(&world, &claims, &json!({})).await.status, 302);
    assert!(victim.jar.contains_key("AppServiceAuthSession.1"), "{:?}", victim.jar.keys());
    let own = victim.jar.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ");
    let session = &attacker.jar[SESSION];
    let planted = format!("{SESSION}={session}; {SESSION}.1=x; __HOST-deputize-edge-session=x");
    for cookies in [format!("{own}; {planted}"), format!("{planted}; {own}")] {
        world.service.forget();
        assert_eq!(world.get("/x", &[("cookie", cookies.as_str())]).await.status, 200, "{cookies}");
        assert_eq!(world.service.only().field("x-ms-client-principal-id"), ["o-bob"]);
    }
    // Two that only this host can set: nobody can tell which browser's this is.
    let twice = format!("{own}; {BESIDE}={}", attacker.jar[BESIDE]);
    assert_eq!(world.get("/x", &[("cookie", twice.as_str())]).await.status, 401);
}

#[tokio::test]
async fn each_sign_in_begins_a_session_of_its_own() {
    let world = World::start(SIGN_IN).await;
    let mut browser = ada(&world).await;
    let before = browser.jar.clone();
    browser.signs_in(&world, &json!({"sub": "s-bob", "oid": "o-bob"}), &json!({})).await;
    assert_ne!(before[SESSION], browser.jar[SESSION]);
    assert_ne!(before[BESIDE], browser.jar[BESIDE]);
    browser.get(&world, "/x", FETCHES).await;
    assert_eq!(world.service.only().field("x-ms-client-principal-id"), ["o-bob"]);
}

#[tokio::test]
async fn the_answer_of_another_browsers_sign_in_signs_nobody_in() {
    let world = World::start(SIGN_IN).await;
    let (mut attacker, mut victim) = (Browser::default(), Browser::default());
    let begun = attacker.begin(&world, "/.auth/login/aad").await;
    // The attacker's code and state, opened in the victim's browser: with no sign-in under way, and with one of its own.
    page(&victim.back(&world, &begun).await, 400, "sign_in.answer");
    let own = victim.begin(&world, "/.auth/login/aad").await;
    page(&victim.back(&world, &begun).await, 400, "sign_in.answer");
    // Under the name that the attacker's state asks for, the victim's own.
    let (name, value) = victim.jar.iter().find(|(name, _)| name.contains("sign-in")).unwrap();
    let theirs = attacker.jar.keys().next().unwrap().clone();
    let mut mixed = Browser::default();
    assert_ne!(*name, theirs);
    mixed.jar.insert(theirs, value.clone());
    page(&mixed.back(&world, &begun).await, 400, "sign_in.answer");
    assert!(world.issuer.asked().is_empty(), "no code was redeemed");
    // The attacker's code in the victim's own sign-in: the ID token is of another one.
    answers(&world, &begun, &json!({}), &json!({}));
    page(&victim.back(&world, &own).await, 401, "sign_in.identity");
    for query in ["", "?code=c", "?state=x&code=c", "?state=&code=c", "?code=c&code=d", "?state=x&state=y"] {
        let answer = victim.get(&world, &format!("/.auth/login/aad/callback{query}"), NAVIGATES).await;
        page(&answer, 400, "sign_in.answer");
    }
}

#[tokio::test]
async fn an_answer_ends_one_sign_in_once_and_not_too_late() {
    let world = World::start(SIGN_IN).await;
    let mut browser = Browser::default();
    let begun = browser.begin(&world, "/.auth/login/aad").await;
    let before = browser.clone();
    answers(&world, &begun, &json!({}), &json!({}));
    assert_eq!(browser.back(&world, &begun).await.status, 302);
    for _ in 0..2 {
        answers(&world, &begun, &json!({}), &json!({}));
        page(&before.clone().back(&world, &begun).await, 400, "sign_in.answer");
        world.reload(SIGN_IN).unwrap();
    }
    assert_eq!(world.issuer.asked().len(), 1);
    let world = World::start(SIGN_IN).await;
    let mut browser = Browser::default();
    let begun = browser.begin(&world, "/.auth/login/aad").await;
    world.clock.advance(3_600);
    answers(&world, &begun, &json!({}), &json!({}));
    page(&browser.back(&world, &begun).await, 400, "sign_in.answer");
}

#[tokio::test]
async fn the_answer_of_one_provider_ends_no_sign_in_at_another() {
    let two = SIGN_IN.replace(
        "    [[upstream]]",
        "    [[sign_in.provider]]\n    name = \"other\"\n    authority = \"contoso\"\n\n    [[upstream]]",
    );
    let world = World::start(&two).await;
    let mut browser = Browser::default();
    let begun = browser.begin(&world, "/.auth/login/other").await;
    assert_eq!(begun.value("redirect_uri"), "https://api.example/.auth/login/other/callback");
    page(&browser.back(&world, &begun).await, 400, "sign_in.answer");
    // And a session of one is none where the other's is wanted.
    answers(&world, &begun, &json!({}), &json!({}));
    let target = format!("/.auth/login/other/callback?code=c&state={}", begun.value("state"));
    assert_eq!(browser.get(&world, &target, NAVIGATES).await.status, 302);
    assert_eq!(browser.get(&world, "/.auth/me", FETCHES).await.json()[0]["provider_name"], "other");
    assert_eq!(browser.get(&world, "/x", FETCHES).await.status, 401);
    // RFC 9207: who answers is compared where that is said.
    let begun = browser.begin(&world, "/.auth/login/aad").await;
    let target = format!("/.auth/login/aad/callback?code=c&state={}&iss=https://evil.example", begun.value("state"));
    page(&browser.get(&world, &target, NAVIGATES).await, 400, "sign_in.answer");
}

/// An ID token with another head, and no signature that holds.
fn unsigned(world: &World, begun: &Begun, header: &Value) -> String {
    let token = id_token(world, begun, &json!({}));
    let parts: Vec<&str> = token.split('.').collect();
    let signature = if header["alg"] == "none" { "" } else { parts[2] };
    format!("{}.{}.{signature}", URL_SAFE_NO_PAD.encode(header.to_string()), parts[1])
}

#[tokio::test]
async fn an_id_token_that_is_not_the_providers_for_this_gateway_now_signs_nobody_in() {
    let world = World::start(SIGN_IN).await;
    let now = world.clock.now().0;
    for (claims, why) in [
        (json!({"nonce": "another"}), "another sign-in"),
        (json!({"nonce": null}), "no nonce"),
        (json!({"iss": "https://evil.example"}), "another issuer"),
        (json!({"iss": null}), "no issuer"),
        (json!({"aud": "another"}), "another client"),
        (json!({"aud": ["web", "another"]}), "several audiences"),
        (json!({"aud": null}), "no audience"),
        (json!({"exp": now - 61}), "expired"),
        (json!({"exp": null}), "no end"),
        (json!({"nbf": now + 61}), "not yet"),
        (json!({"scp": "x"}), "an access token"),
        (json!({"idtyp": "user"}), "an access token"),
    ] {
        let mut browser = Browser::default();
        page(&browser.signs_in(&world, &claims, &json!({})).await, 401, "sign_in.identity");
        assert_eq!(browser.get(&world, "/x", FETCHES).await.status, 401, "{why}");
    }
    let kid = json!(world.issuer.key().public_jwk())["kid"].clone();
    for header in [
        json!({"alg": "none"}),
        json!({"alg": "none", "kid": kid}),
        json!({"alg": "HS256", "kid": kid}),
        json!({"alg": "RS256", "kid": "another"}),
        json!({"alg": "RS256"}),
        json!({"alg": "RS512", "kid": kid}),
    ] {
        let mut browser = Browser::default();
        let begun = browser.begin(&world, "/.auth/login/aad").await;
        answers(&world, &begun, &json!({}), &json!({"id_token": unsigned(&world, &begun, &header)}));
        page(&browser.back(&world, &begun).await, 401, "sign_in.identity");
    }
    for token in [json!(null), json!(""), json!("a.b.c"), json!("x")] {
        let mut browser = Browser::default();
        page(&browser.signs_in(&world, &json!({}), &json!({"id_token": token})).await, 401, "sign_in.identity");
    }
    assert_eq!(world.service.seen(), Vec::<String>::new());
}

#[tokio::test]
async fn no_sign_in_and_no_sign_out_leads_to_another_host() {
    let world = World::start(SIGN_IN).await;
    let bad = [
        "//evil.example",
        "/\\evil.example",
        "https:evil.example",
        "https://evil.example/",
        "https://api.example@evil.example/",
        "https://api.example.evil.example/",
        "/\t/evil.example",
        "/\r\nSet-Cookie: a=b",
        "%2f%2fevil.example",
        "/%5cevil.example",
        "/%2f/evil.example",
        "javascript:alert(1)",
        "https://shop.example/other",
        "https://shop.example/welcome/../x",
        "/.auth/logout",
    ];
    for (path, parameter) in
        [("/.auth/login/aad", "post_login_redirect_uri"), ("/.auth/logout", "post_logout_redirect_uri")]
    {
        for landing in bad {
            let query = Form::default().with(parameter, landing).encode();
            let mut browser = ada(&world).await;
            let answer = browser.get(&world, &format!("{path}?{query}"), NAVIGATES).await;
            assert_eq!(answer.status, 400, "{path} {landing:?}: {answer:?}");
            assert!(answer.field("location").is_empty() && answer.field("set-cookie").is_empty(), "{answer:?}");
        }
        // Twice, so that one reader takes the first and another the last.
        let twice = format!("{path}?{parameter}=/a&{parameter}=//evil.example");
        assert_eq!(Browser::default().get(&world, &twice, NAVIGATES).await.status, 400);
        for good in ["/a?b=c", "https://api.example/a", "https://shop.example/welcome?a"] {
            let query = Form::default().with(parameter, good).encode();
            assert_eq!(
                Browser::default().get(&world, &format!("{path}?{query}"), NAVIGATES).await.status,
                302,
                "{good}"
            );
        }
    }
    // A path with two slashes is one of this site, and stays one.
    let answer = Browser::default().get(&world, "//evil.example/x", NAVIGATES).await;
    assert_eq!(answer.field("location"), ["/.auth/login/aad?post_login_redirect_uri=%2Fevil.example%2Fx"]);
}

#[tokio::test]
async fn m_03_pages_of_other_sites_change_nothing_with_somebodys_session() {
    let world = World::start(SIGN_IN).await;
    let mut browser = ada(&world).await;
    for (fields, status) in [
        (&[("origin", "https://evil.example"), ("sec-fetch-site", "cross-site")][..], 403),
        (&[("origin", "https://evil.example")], 403),
        (&[("origin", "null")], 403),
        (&[("origin", "https://evil.api.example"), ("sec-fetch-site", "same-site")], 403),
        (&[("origin", "http://api.example")], 403),
        (&[("origin", "https://api.example:8443")], 403),
        (&[("sec-fetch-site", "cross-site")], 403),
        (&[("sec-fetch-site", "same-site")], 403),
        (&[("origin", "https://api.example"), ("sec-fetch-site", "cross-site")], 403),
        (&[("origin", "https://api.example"), ("origin", "https://evil.example")], 403),
        (&[], 403),
        (&[("origin", "https://api.example")], 200),
        (&[("origin", "https://api.example"), ("sec-fetch-site", "same-origin")], 200),
        (&[("sec-fetch-site", "same-origin")], 200),
    ] {
        for method in ["POST", "PUT", "DELETE", "PATCH", "X-CUSTOM"] {
            world.service.forget();
            let answer = browser.ask(&world, method, "/x", fields, "").await;
            assert_eq!(answer.status, status, "{method} {fields:?}: {answer:?}");
            assert_eq!(world.service.seen().len(), usize::from(status == 200));
            assert!(status == 200 || answer.check() == "sign_in.same_site");
        }
    }
    assert_eq!(browser.get(&world, "/x", &[("sec-fetch-site", "cross-site")]).await.status, 200, "a link is followed");
    // Another site's page does not read who signed in, whatever cookies come along.
    for path in ["/.auth/me", "/.auth/refresh"] {
        for site in ["cross-site", "same-site", ""] {
            let answer = browser.get(&world, path, &[("sec-fetch-site", site)]).await;
            assert_eq!((answer.status, answer.check().as_str()), (403, "sign_in.same_site"), "{path} {site}");
        }
    }
    // Pages that `cors` lets send cookies are meant to.
    let cors = "[api.policies.cors]\n    allowed_origins = [\"https://shop.api.example\"]\n    allow_credentials = true\n    [api.policies.sign_in]";
    world.reload(&SIGN_IN.replace("[api.policies.sign_in]", cors)).unwrap();
    let of = |origin: &'static str| [("origin", origin), ("sec-fetch-site", "same-site")];
    assert_eq!(browser.ask(&world, "POST", "/x", &of("https://shop.api.example"), "").await.status, 200);
    assert_eq!(browser.ask(&world, "POST", "/x", &of("https://other.api.example"), "").await.status, 403);
    world.reload(&SIGN_IN.replace("[api.policies.sign_in]", &cors.replace("allow_credentials = true", ""))).unwrap();
    assert_eq!(browser.ask(&world, "POST", "/x", &of("https://shop.api.example"), "").await.status, 403);
}

#[tokio::test]
async fn g_05_nobody_says_for_themselves_who_they_are_and_no_service_sees_a_session() {
    let world = World::start(SIGN_IN).await;
    let mut browser = ada(&world).await;
    let forged = [
        ("x-ms-client-principal", "eyJ9"),
        ("x-ms-client-principal-id", "o-grace"),
        ("x_ms_client_principal_name", "grace"),
        ("x-ms-client-principal-extra", "grace"),
        ("x-ms-token-aad-access-token", "forged"),
        ("x.ms.token.aad.id.token", "forged"),
    ];
    // A session that is shown in a field is what counts, and this is none.
    let zumo = [("x-zumo-auth", "forged"), ("x_zumo_auth", "forged")];
    assert_eq!(browser.get(&world, "/x", &zumo[..1]).await.status, 401);
    for (path, fields) in [("/x", forged.to_vec()), ("/open/x", [&forged[..], &zumo].concat())] {
        world.service.forget();
        assert_eq!(browser.get(&world, path, &fields).await.status, 200);
        let seen = world.service.only();
        let text = seen.0.to_ascii_lowercase();
        assert!(!text.contains("forged") && !text.contains("grace"), "{text}");
        assert!(!text.contains("appserviceauthsession") && !text.contains("deputize-edge-session"), "{text}");
        if path == "/x" {
            assert_eq!(principal(&seen)["auth_typ"], "aad");
        } else {
            assert!(!text.contains("x-ms-client"), "who is not asked for is not told: {text}");
        }
    }
}

#[tokio::test]
async fn a_session_that_no_browser_would_keep_is_not_begun() {
    let world = World::start(SIGN_IN).await;
    let mut browser = Browser::default();
    // Large, and in several cookies.
    let groups: Vec<String> = (0..200).map(|n| format!("5b1d2a2e-3c0a-4d62-9d39-4f6b7b1f{n:04}")).collect();
    assert_eq!(browser.signs_in(&world, &json!({"groups": groups}), &json!({})).await.status, 302);
    assert!(browser.jar.contains_key("AppServiceAuthSession.1"), "{:?}", browser.jar.keys());
    assert_eq!(browser.get(&world, "/x", FETCHES).await.status, 200);
    let seen = world.service.only();
    assert_eq!((seen.field("cookie").len(), seen.field("x-ms-client-principal").len()), (0, 1));
    // Pieces of two sessions are none.
    let mut mixed = ada(&world).await;
    mixed.jar.insert(SESSION.to_owned(), browser.jar[SESSION].clone());
    mixed.jar.insert("AppServiceAuthSession.1".to_owned(), browser.jar["AppServiceAuthSession.1"].clone());
    assert_eq!(mixed.get(&world, "/x", FETCHES).await.status, 401);
    // A smaller one leaves nothing of it behind.
    browser.signs_in(&world, &json!({}), &json!({})).await;
    assert!(!browser.jar.keys().any(|name| name.starts_with("AppServiceAuthSession.")), "{:?}", browser.jar.keys());
    assert_eq!(browser.get(&world, "/x", FETCHES).await.status, 200);
    let mut browser = Browser::default();
    let answer = browser.signs_in(&world, &json!({}), &json!({"access_token": "x".repeat(40_000)})).await;
    page(&answer, 502, "sign_in.size");
    assert_eq!(browser.get(&world, "/x", FETCHES).await.status, 401);
}

#[tokio::test]
async fn a_refresh_that_brings_somebody_else_brings_nothing() {
    let world = World::start(SIGN_IN).await;
    for claims in [json!({"sub": "s-bob"}), json!({"aud": "another"}), json!({"iss": "https://evil.example"})] {
        let mut browser = ada(&world).await;
        let begun = browser.clone().begin(&world, "/.auth/login/aad").await;
        let body = json!({
            "token_type": "Bearer", "expires_in": 3_600, "access_token": "newer", "id_token": id_token(&world, &begun, &claims),
        });
        world.issuer.next(Next::answer(200, body.to_string()));
        let answer = browser.get(&world, "/.auth/refresh", FETCHES).await;
        assert_eq!((answer.status, answer.check().as_str()), (403, "sign_in.refresh"), "{claims}");
        assert!(answer.field("set-cookie").is_empty());
    }
}

#[tokio::test]
async fn a_claims_request_that_is_none_is_not_handed_on() {
    let world = World::start(SIGN_IN).await;
    let wants = |claims: &str| format!("/.auth/login/aad?{}", Form::default().with("claims", claims).encode());
    for claims in ["x", "[]", r#"{"access_token":{"acrs":5}}"#, &format!("{{\"a\":\"{}\"}}", "x".repeat(2_048))] {
        assert_eq!(Browser::default().get(&world, &wants(claims), NAVIGATES).await.status, 400, "{claims}");
    }
    let claims = r#"{"access_token":{"acrs":{"essential":true,"value":"c1"}}}"#;
    assert_eq!(Browser::default().begin(&world, &wants(claims)).await.value("claims"), claims);
}

#[tokio::test]
async fn one_address_signs_in_no_more_often_than_that_is_said_and_others_are_served() {
    let few = SIGN_IN.replace("redirect_uris", "requests_per_minute = 4\n    redirect_uris");
    let world = World::start(&format!("trusted_proxies = [\"127.0.0.1\"]\n{few}")).await;
    let mut browser = Browser::default();
    for target in ["/.auth/login/aad", "/.auth/login/aad/callback?state=x", "/.auth/refresh", "/.auth/logout"] {
        assert_ne!(browser.get(&world, target, NAVIGATES).await.status, 429, "{target}");
    }
    for target in ["/.auth/login/aad", "/.auth/login/aad/callback?state=x", "/.auth/refresh", "/.auth/logout"] {
        let answer = browser.get(&world, target, FETCHES).await;
        assert_eq!((answer.status, answer.check().as_str()), (429, "limit.rate"), "{target}");
        assert_eq!(answer.field("retry-after"), ["60"]);
    }
    assert_eq!(browser.get(&world, "/.auth/me", FETCHES).await.status, 401, "pages may ask who signed in");
    assert_eq!(browser.get(&world, "/open/x", &[]).await.status, 200);
    world.clock.advance(60);
    assert_eq!(browser.get(&world, "/.auth/login/aad", NAVIGATES).await.status, 302);
    // Whoever has a network of IPv6 has no more addresses for it.
    for (at, status) in ["0:0:0:1", "0:0:0:2", "1:0:0:1", "ffff:0:0:0", "2:0:0:3"].iter().zip([302, 302, 302, 302, 429])
    {
        let address = format!("2001:db8:0:7:{at}");
        let fields = [NAVIGATES, &[("x-forwarded-for", address.as_str())]].concat();
        assert_eq!(Browser::default().get(&world, "/.auth/login/aad", &fields).await.status, status, "{address}");
    }
    let other = [NAVIGATES, &[("x-forwarded-for", "2001:db8:0:8::1")]].concat();
    assert_eq!(Browser::default().get(&world, "/.auth/login/aad", &other).await.status, 302);
    let none = SIGN_IN.replace("redirect_uris", "requests_per_minute = 0\n    redirect_uris");
    assert!(world.reload(&none).unwrap_err().problem.contains("nobody could sign in"));
}
