//! Codes and refresh tokens: whose they are, and how often they work.
use crate::world::browser::{Browser, request};
use crate::world::estate::{CONTOSO, FABRIKAM, app, grant, redirect, user};
use crate::world::{NOON, Params, VERIFIER, World, but, claims, header, redeem_form, refresh_form, text};
use deputize_core::ledger::Write;
use deputize_core::ports::Ledger as _;
use serde_json::json;
use store::{Key, Object};

const ORDERS: &str = "api://orders/access_as_user";
const OFFLINE: &str = "openid offline_access api://orders/access_as_user";

fn denied(error: &str, code: u64, check: &str) -> (u16, String, u64, String) {
    (400, error.to_owned(), code, check.to_owned())
}

#[tokio::test]
async fn a_code_becomes_the_tokens_that_the_specification_draws() {
    let world = World::new().await;
    let code =
        Browser::default().code(&world, "web", "ada", &format!("openid profile email offline_access {ORDERS}")).await;
    let mut form = redeem_form("web", &code);
    form.push(("client_info", "1".to_owned()));
    let answer = world.token(form).await;
    let body = answer.ok();
    for (name, value) in [("cache-control", "no-store, no-cache"), ("pragma", "no-cache"), ("expires", "-1")] {
        assert_eq!(answer.header(name), value);
    }
    assert_eq!((text(&body, "token_type"), body["expires_in"].as_i64()), ("Bearer".into(), Some(3_600)));
    let access = text(&body, "access_token");
    let claims = claims(&access);
    assert_eq!((&header(&access)["alg"], &header(&access)["typ"]), (&json!("RS256"), &json!("JWT")));
    assert_eq!(
        (claims["aud"].as_str(), claims["azp"].as_str()),
        (Some(&*app("orders").to_string()), Some(&*app("web").to_string()))
    );
    assert_eq!(claims["oid"], user("ada").to_string());
    assert_eq!(
        (&claims["scp"], &claims["azpacr"], &claims["idtyp"]),
        (&json!("access_as_user"), &json!("1"), &json!("user"))
    );
    let id = crate::world::claims(&text(&body, "id_token"));
    assert_eq!(
        (&id["nonce"], &id["email"], &id["ver"]),
        (&json!("the nonce"), &json!("ada@mail.example"), &json!("2.0"))
    );
    assert_ne!(id["sub"], claims["sub"], "pairwise");
    assert!(body["client_info"].is_string() && body["refresh_token"].is_string());
    assert!(world.store.audit_verify(None).is_ok());
}

#[tokio::test]
async fn a_01_a_code_redeemed_by_another_client_is_dead_for_both() {
    let world = World::new().await;
    let mut browser = Browser::default();
    for thief in ["rival", "native", "strict"] {
        let code = browser.code(&world, "web", "ada", ORDERS).await;
        let stolen = but(redeem_form(thief, &code), "redirect_uri", Some(redirect("web")));
        let answer = world.token(stolen).await;
        assert_eq!((answer.status.as_u16(), text(&answer.json(), "error")), (400, "invalid_grant".into()), "{thief}");
        assert_eq!(answer.check(), "code.client", "{thief}");
        assert_eq!(
            world.redeem("web", &code).await.refused(),
            denied("invalid_grant", 54005, "code.unused"),
            "{thief}"
        );
    }
}

/// How many codes or tokens are tried; `DEPUTIZE_CODES` says otherwise.
fn rounds() -> usize {
    #[expect(clippy::disallowed_methods, reason = "how long the proof runs is the caller's choice")]
    let wanted = std::env::var("DEPUTIZE_CODES");
    wanted.map_or(30, |count| count.parse().unwrap())
}

/// Sends one form 64 times at once. Answers the one success.
async fn once(world: &World, form: Params<'_>) -> serde_json::Value {
    let (good, bad): (Vec<_>, Vec<_>) = world.at_once(form, 64).await.into_iter().partition(|a| a.status == 200);
    assert_eq!((good.len(), bad.len()), (1, 63));
    for answer in bad {
        assert_eq!((answer.status.as_u16(), text(&answer.json(), "error")), (400, "invalid_grant".into()));
    }
    good[0].json()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_03_each_code_works_once_however_many_redeem_it_at_once() {
    let world = World::new().await;
    let mut browser = Browser::default();
    for _ in 0..rounds() {
        // Who signs in a hundred times in one minute goes in a circle.
        world.clock.advance(1);
        let code = browser.code(&world, "web", "ada", OFFLINE).await;
        let heir = text(&once(&world, redeem_form("web", &code)).await, "refresh_token");
        assert_eq!(
            world.refresh("web", &heir, None).await.check(),
            "user.not_revoked",
            "replays revoke what stems from it"
        );
    }
    assert!(world.store.audit_verify(None).is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_03_each_native_refresh_token_rotates_once_however_many_use_it_at_once() {
    let world = World::new().await;
    let mut browser = Browser::default();
    for round in 0..rounds() {
        let client = ["strict", "gadget"][round % 2];
        world.clock.advance(1);
        let code = browser.code(&world, client, "ada", OFFLINE).await;
        let token = text(&world.redeem(client, &code).await.ok(), "refresh_token");
        let heir = text(&once(&world, refresh_form(client, &token, None)).await, "refresh_token");
        assert_ne!(world.refresh(client, &heir, None).await.status, 200, "a replay revokes the family");
    }
    assert!(world.store.audit_verify(None).is_ok());
}

#[tokio::test]
async fn a_04_a_code_with_another_redirect_uri_is_refused_and_dead() {
    let world = World::new().await;
    let mut browser = Browser::default();
    let others = [
        None,
        Some("https://app.example/signed-out"),
        Some("https://app.example/Callback"),
        Some("HTTPS://app.example/callback"),
        Some("https://app.example/callback/"),
        Some("https://app.example/callback?"),
        Some("https://app.example/callback#"),
        Some("https://app.example:443/callback"),
        Some("https://evil.example/callback"),
    ];
    for other in others {
        let code = browser.code(&world, "web", "ada", ORDERS).await;
        let answer = world.token(but(redeem_form("web", &code), "redirect_uri", other)).await;
        assert_eq!(answer.refused(), denied("invalid_grant", 50011, "code.redirect_uri"), "{other:?}");
        assert_eq!(world.redeem("web", &code).await.check(), "code.unused", "{other:?}");
    }
}

#[tokio::test]
async fn a_05_pkce_cannot_be_downgraded_at_the_token_endpoint() {
    let world = World::new().await;
    let mut browser = Browser::default();
    let (short, long) = ("v".repeat(42), "v".repeat(129));
    let odd = format!("{}!", "v".repeat(50));
    let other = "w".repeat(43);
    for verifier in
        [None, Some(""), Some(&*short), Some(&*long), Some(&*odd), Some(&*other), Some(crate::world::CHALLENGE)]
    {
        let code = browser.code(&world, "web", "ada", ORDERS).await;
        let answer = world.token(but(redeem_form("web", &code), "code_verifier", verifier)).await;
        assert_eq!(answer.refused(), denied("invalid_grant", 501_481, "code.pkce"), "{verifier:?}");
        assert_eq!(world.redeem("web", &code).await.check(), "code.unused", "guessing is over: {verifier:?}");
    }
    let plain = but(but(request("web", ORDERS), "code_challenge", None), "code_challenge_method", None);
    let code = browser.complete(&world, &plain, "ada").await.value("code").unwrap().to_owned();
    let answer = world.redeem("web", &code).await;
    assert_eq!(answer.check(), "code.pkce", "a verifier without a challenge is a sign of a downgrade");
    let code = browser.complete(&world, &plain, "ada").await.value("code").unwrap().to_owned();
    world.token(but(redeem_form("web", &code), "code_verifier", None)).await.ok();
}

#[tokio::test]
async fn a_05_pkce_cannot_be_downgraded_at_the_authorization_endpoint() {
    let world = World::new().await;
    let mut browser = Browser::default();
    let challenge = |value: Option<&str>, method: Option<&str>| {
        but(but(request("web", ORDERS), "code_challenge", value), "code_challenge_method", method)
    };
    let (short, long) = ("c".repeat(42), "c".repeat(44));
    let odd = format!("{}=", "c".repeat(42));
    let requests = [
        challenge(Some(VERIFIER), Some("plain")),
        challenge(Some(VERIFIER), None),
        challenge(None, Some("S256")),
        challenge(Some(VERIFIER), Some("s256")),
        challenge(Some(VERIFIER), Some("none")),
        challenge(Some(&short), Some("S256")),
        challenge(Some(&long), Some("S256")),
        challenge(Some(&odd), Some("S256")),
    ];
    for params in &requests {
        let (uri, answer) = browser.authorize(&world, params).await.redirected();
        assert_eq!((uri.as_str(), answer.value("error")), (redirect("web"), Some("invalid_request")), "{params:?}");
        assert!(answer.value("code").is_none() && answer.value("iss").is_some());
    }
    for client in ["native", "spa", "gadget"] {
        let none = but(but(request(client, ORDERS), "code_challenge", None), "code_challenge_method", None);
        let (_, answer) = browser.authorize(&world, &none).await.redirected();
        assert_eq!(answer.value("error"), Some("invalid_request"), "{client} (CVE-2023-48228)");
    }
    let mut twice = request("web", ORDERS);
    twice.push(("code_challenge", "x".repeat(43)));
    let answer = browser.authorize(&world, &twice).await;
    assert!(answer.page() && answer.status == 400 && answer.header("location").is_empty());
}

#[tokio::test]
async fn a_code_ends_after_ten_minutes_and_belongs_to_its_tenant() {
    let world = World::new().await;
    let mut browser = Browser::default();
    let code = browser.code(&world, "web", "ada", ORDERS).await;
    let answer = world.token_at(&FABRIKAM.to_string(), redeem_form("web", &code)).await;
    assert_eq!(answer.check(), "code.tenant");
    for (alias, name) in [("common", "by alias"), ("contoso.example", "by domain")] {
        let code = browser.code(&world, "web", "ada", ORDERS).await;
        assert_eq!(world.token_at(alias, redeem_form("web", &code)).await.status, 200, "{name}");
    }
    let code = browser.code(&world, "web", "ada", ORDERS).await;
    world.clock.advance(600);
    assert_eq!(world.redeem("web", &code).await.check(), "code.valid");
}

#[tokio::test]
async fn a_13_a_refresh_token_is_its_clients_and_its_tenants() {
    let world = World::new().await;
    for client in ["web", "native", "strict", "gadget"] {
        let answer = world.signed_in(client, "ada", OFFLINE).await;
        let token = text(&answer, "refresh_token");
        for thief in ["rival", "daemon", "spa", "orders"] {
            let answer = world.refresh(thief, &token, None).await;
            assert_eq!(answer.refused(), denied("invalid_grant", 9_002_313, "refresh.client"), "{client} by {thief}");
        }
        world.refresh(client, &token, None).await.ok();
    }
    let token = text(&world.signed_in("web", "ada", OFFLINE).await, "refresh_token");
    let answer = world.token_at(&FABRIKAM.to_string(), refresh_form("web", &token, None)).await;
    assert_eq!(
        (answer.status.as_u16(), text(&answer.json(), "error")),
        (400, "invalid_grant".into()),
        "{}",
        answer.text()
    );
    for cut in 0..token.len() {
        assert_eq!(world.refresh("web", &token[..cut], None).await.status, 400, "A-26: cut at {cut}");
    }
    world.token_at("organizations", refresh_form("web", &token, None)).await.ok();
    // A confidential client's token does not work without its credential.
    let bare = but(refresh_form("web", &token, None), "client_secret", None);
    assert_eq!(world.token(bare).await.status, 401);
}

#[tokio::test]
async fn a_code_whose_family_was_revoked_says_so_instead_of_try_again() {
    let world = World::new().await;
    for scope in [OFFLINE, ORDERS] {
        let code = Browser::default().code(&world, "web", "ada", scope).await;
        let record = world.store.code(world.crypto().keyed_digest(&code)).await.unwrap().unwrap();
        world.store.commit(vec![Write::RevokeFamily(record.family)]).await.unwrap();
        let answer = world.redeem("web", &code).await;
        assert_eq!(answer.refused(), denied("invalid_grant", 50_173, "user.not_revoked"), "{scope}");
        assert_eq!(text(&answer.json(), "suberror"), "bad_token", "the user is to sign in again");
    }
}

#[tokio::test]
async fn a_13_scopes_do_not_grow_by_refreshing() {
    let world = World::new().await;
    let token = text(&world.signed_in("web", "ada", OFFLINE).await, "refresh_token");
    let wider = world.refresh("web", &token, Some("api://orders/Orders.Write")).await;
    assert_eq!(wider.refused(), denied("invalid_grant", 65_001, "consent.granted"), "entra: consent limits");
    assert_eq!(text(&wider.json(), "suberror"), "consent_required");
    let other = world.refresh("web", &token, Some("api://billing/Invoices.Read")).await.ok();
    assert_eq!(
        claims(&text(&other, "access_token"))["aud"],
        app("billing").to_string(),
        "another resource, consented to"
    );
    let strict = text(&world.signed_in("strict", "ada", OFFLINE).await, "refresh_token");
    let wider = world.refresh("strict", &strict, Some("api://orders/Orders.Write")).await;
    assert_eq!(
        (wider.status.as_u16(), text(&wider.json(), "error")),
        (400, "invalid_scope".into()),
        "native: the grant limits"
    );
    world.refresh("strict", &strict, Some(ORDERS)).await.ok();
}

#[tokio::test]
async fn a_13_and_x_01_what_is_disabled_binds_at_once_for_refresh() {
    for check in ["user.enabled", "client.enabled", "resource.enabled", "tenant.enabled", "user.not_revoked"] {
        let world = World::new().await;
        let token = text(&world.signed_in("web", "ada", OFFLINE).await, "refresh_token");
        match check {
            "user.enabled" => world.edit_user("ada", |user| user.account_enabled = false).await,
            "client.enabled" => world.edit_principal("web", |it| it.account_enabled = false).await,
            "resource.enabled" => world.edit_principal("orders", |it| it.account_enabled = false).await,
            "tenant.enabled" => world.edit_tenant(|it| it.enabled = false).await,
            _ => world.edit_user("ada", |user| user.sign_in_sessions_valid_from = NOON.plus(1)).await,
        }
        assert_eq!(world.refresh("web", &token, None).await.check(), check);
    }
    let world = World::new().await;
    let token = text(&world.signed_in("web", "ada", OFFLINE).await, "refresh_token");
    world.delete(Object::Grant(grant("web", "orders", "")).key()).await;
    assert_eq!(world.refresh("web", &token, None).await.check(), "consent.granted");
    world.delete(Key::User(CONTOSO, user("ada"))).await;
    assert_eq!(world.refresh("web", &token, None).await.refused().1, "invalid_grant");
}

#[tokio::test]
async fn a_13_refresh_tokens_end_with_their_sessions_whichever_slides_on() {
    let world = World::new().await;
    let mut token = text(&world.signed_in("web", "ada", OFFLINE).await, "refresh_token");
    for _ in 0..8 {
        world.clock.advance(10 * 86_400);
        token = text(&world.refresh("web", &token, None).await.ok(), "refresh_token");
    }
    world.clock.advance(10 * 86_400);
    let answer = world.refresh("web", &token, None).await;
    assert_eq!(answer.refused().1, "invalid_grant", "90 days after the sign-in");
}
