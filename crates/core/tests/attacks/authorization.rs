//! The authorization endpoint, and signing in.
use crate::world::estate::{CONTOSO, FABRIKAM, password, policy, upn};
use crate::world::{HOST, NOON, WEB_REDIRECT, World, altered, app, claims, parameter, request};
use decision::CheckId;
use deputize_core::authorize::{Answer, Browser, ResponseMode};
use deputize_core::model::{GrantControls, Profile};
use std::sync::atomic::Ordering;

const SCOPE: &str = "api://orders/access_as_user openid";

fn page(answer: &Answer) -> CheckId {
    match answer {
        Answer::Page(denial, None) => denial.id(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_06_every_answer_to_the_client_has_iss_and_state() {
    let world = World::new();
    let (ada, nobody) = (world.sign_in("ada"), Browser::default());
    let blocked = GrantControls::block();
    world.estate.edit(|estate| estate.objects.policies.push(policy(&["legacy"], blocked)));
    let asking = request("web", SCOPE);
    let answers = [
        ("success", world.authorize(&asking, &ada), None),
        ("no session", world.authorize(&altered(&asking, &[("prompt", "none")]), &nobody), Some("login_required")),
        (
            "consent",
            world.authorize(&altered(&asking, &[("prompt", "none"), ("scope", "api://orders/Orders.Write")]), &ada),
            Some("consent_required"),
        ),
        (
            "admin consent",
            world.authorize(&altered(&asking, &[("prompt", "none"), ("scope", "api://orders/Orders.Manage")]), &ada),
            Some("consent_required"),
        ),
        (
            "response type",
            world.authorize(&altered(&asking, &[("response_type", "token")]), &ada),
            Some("unsupported_response_type"),
        ),
        (
            "hybrid",
            world.authorize(&altered(&asking, &[("response_type", "code id_token")]), &ada),
            Some("unsupported_response_type"),
        ),
        (
            "no response type",
            world.authorize(&altered(&asking, &[("response_type", "")]), &ada),
            Some("invalid_request"),
        ),
        (
            "response mode",
            world.authorize(&altered(&asking, &[("response_mode", "web_message")]), &ada),
            Some("invalid_request"),
        ),
        ("prompt", world.authorize(&altered(&asking, &[("prompt", "none login")]), &ada), Some("invalid_request")),
        ("max_age", world.authorize(&altered(&asking, &[("max_age", "-1")]), &ada), Some("invalid_request")),
        ("claims", world.authorize(&altered(&asking, &[("claims", "[")]), &ada), Some("invalid_request")),
        ("request object", world.authorize(&altered(&asking, &[("request", "x")]), &ada), Some("invalid_request")),
        (
            "request uri",
            world.authorize(&altered(&asking, &[("request_uri", "http://127.0.0.1/")]), &ada),
            Some("invalid_request"),
        ),
        ("scope", world.authorize(&altered(&asking, &[("scope", "")]), &ada), Some("invalid_scope")),
        ("blank scope", world.authorize(&altered(&asking, &[("scope", "  ")]), &ada), Some("invalid_scope")),
        (
            "unknown resource",
            world.authorize(&altered(&asking, &[("scope", "api://x/y")]), &ada),
            Some("invalid_resource"),
        ),
        (
            "blocked",
            world.authorize(&altered(&asking, &[("scope", "api://legacy/Legacy.Read")]), &ada),
            Some("interaction_required"),
        ),
        (
            "resource alone",
            world.authorize(&altered(&asking, &[("scope", "openid"), ("resource", "api://orders")]), &ada),
            Some("invalid_request"),
        ),
    ];
    for (what, answer, error) in answers {
        assert_eq!(parameter(&answer, "error").as_deref(), error, "{what}");
        assert_eq!(parameter(&answer, "iss"), Some(format!("{HOST}/{CONTOSO}/v2.0")), "{what}");
        assert_eq!(parameter(&answer, "state").as_deref(), Some("s1"), "{what}");
        assert_eq!(parameter(&answer, "code").is_some(), error.is_none(), "{what}");
        let Answer::Redirect(redirect) = answer else { panic!("{what}") };
        assert_eq!(redirect.uri, WEB_REDIRECT);
    }
}

#[test]
fn a_07_nothing_is_redirected_to_an_address_that_is_not_registered_to_the_letter() {
    let world = World::new();
    let ada = world.sign_in("ada");
    let tricks = [
        "https://app.example.com.evil.test/cb",
        "https://app.example.com@evil.test/cb",
        "https://app.example.com:443@evil.test/cb",
        "https://a@b@app.example.com/cb",
        "https://user:pass@app.example.com/cb",
        "https://app.example.com/cb/..;/evil",
        "https://app.example.com/cb/../evil",
        "https://app.example.com/cb/%2e%2e/evil",
        "https://app.example.com/%63b",
        "https://app.example.com//cb",
        "https://app.example.com/cb/",
        "https://app.example.com/cb//",
        "https://app.example.com\\cb",
        "https://app.example.com\\@evil.test/cb",
        "https:\\\\app.example.com/cb",
        "https://app.example.com/cb#",
        "https://app.example.com/cb#evil",
        "https://app.example.com/cb?",
        "https://app.example.com/cb?x=1",
        "https://app.example.com/cb;x",
        "https://app.example.com/cb ",
        " https://app.example.com/cb",
        "https://app.example.com/c",
        "https://app.example.com/cbx",
        "https://app.example.com/CB",
        "https://APP.example.com/cb",
        "HTTPS://app.example.com/cb",
        "http://app.example.com/cb",
        "https://app.example.com:443/cb",
        "https://app.example.com:8443/cb",
        "https://app.example.com./cb",
        "https://appxexample.com/cb",
        "https://app-example.com/cb",
        "https://xn--pp-cka.example.com/cb",
        "https://\u{0430}pp.example.com/cb",
        "https://app\u{3002}example.com/cb",
        "https://evil.app.example.com/cb",
        "https://evil.test/https://app.example.com/cb",
        "//app.example.com/cb",
        "/cb",
        "javascript:alert(1)",
        "JaVaScRiPt://app.example.com/%0aalert(1)",
        "data:text/html,x",
        "https://app.example.com/cb\u{0}",
        "https://app.example.com/cb,https://evil.test/",
        "https://app.example.com/cb https://evil.test/",
        "*",
        "https://*.example.com/cb",
        "https://localhost/cb",
        "http://localhost",
        "http://localhost:1",
        "http://127.0.0.1/cb",
        "http://[::1]/cb",
    ];
    assert!(tricks.len() >= 40);
    for uri in tricks {
        for response_type in ["code", "token", "nonsense"] {
            let asking = altered(&request("web", SCOPE), &[("redirect_uri", uri), ("response_type", response_type)]);
            assert_eq!(page(&world.authorize(&asking, &ada)), CheckId::RedirectUriRegistered, "{uri}");
        }
    }
    assert_eq!(
        page(&world.authorize(&altered(&request("web", SCOPE), &[("redirect_uri", "")]), &ada)),
        CheckId::ParameterPresent
    );
}

#[test]
fn a_07_only_the_port_of_a_loopback_address_is_free() {
    let world = World::new();
    let ada = world.sign_in("ada");
    let goes = |name: &str, uri: &str| matches!(world.authorize(&altered(&request(name, SCOPE), &[("redirect_uri", uri)]), &ada), Answer::Redirect(to) if to.uri == uri);
    for uri in ["http://localhost", "http://localhost:1", "http://localhost:65535"] {
        assert!(goes("phone", uri), "{uri}");
    }
    for uri in [
        "http://localhost:0",
        "http://localhost:65536",
        "http://localhost:",
        "http://localhost:+80",
        "http://localhost:8 0",
        "http://localhost:80@evil.test",
        "http://localhost:80.evil.test",
        "http://localhost:80/",
        "http://localhost:80/cb",
        "http://localhost:80?x",
        "http://localhost:80#x",
        "http://localhost:80\\@evil.test",
        "http://localhost:\u{0664}",
        "http://localhost.evil.test",
        "http://localhost.evil.test:80",
        "http://localhost@evil.test:80",
        "https://localhost:80",
        "http://LOCALHOST:80",
        "http://127.0.0.1:80",
        "http://[::1]:80",
        "http://0.0.0.0:80",
        "http://127.1:80",
    ] {
        assert!(!goes("phone", uri), "{uri}");
    }
    assert!(goes("gadget", "http://127.0.0.1:7000/cb"));
    for uri in [
        "http://127.0.0.1:7000",
        "http://127.0.0.1:7000/cb/",
        "http://127.0.0.1:7000/cbx",
        "http://localhost:7000/cb",
        "http://127.0.0.1:7000//cb",
    ] {
        assert!(!goes("gadget", uri), "{uri}");
    }
    // A registered port is that port.
    world.estate.edit(|estate| estate.app("phone").public_client.redirect_uris = vec!["http://localhost:8400".into()]);
    assert!(goes("phone", "http://localhost:8400") && !goes("phone", "http://localhost:8401"));
    // On the other platforms nothing is free.
    world.estate.edit(|estate| {
        estate.app("phone").public_client.redirect_uris.clear();
        estate.app("phone").web.redirect_uris = vec!["http://localhost".into()];
        estate.app("phone").spa.redirect_uris = vec!["http://localhost/spa".into()];
    });
    assert!(!goes("phone", "http://localhost:1") && !goes("phone", "http://localhost:1/spa"));
}

#[test]
fn a_08_no_error_is_redirected_before_client_and_address_are_proved() {
    let world = World::new();
    let ada = world.sign_in("ada");
    let asking = request("web", SCOPE);
    for (what, changes, check) in [
        ("no client", [("client_id", ""), ("response_type", "bad")], CheckId::ParameterPresent),
        ("an unknown client", [("client_id", "x"), ("response_type", "bad")], CheckId::ClientKnown),
        ("a client of another name", [("client_id", "api://orders"), ("prompt", "none")], CheckId::ClientKnown),
        (
            "an address of nobody",
            [("redirect_uri", "https://evil.test/"), ("prompt", "none")],
            CheckId::RedirectUriRegistered,
        ),
    ] {
        assert_eq!(page(&world.authorize(&altered(&asking, &changes), &ada)), check, "{what}");
    }
    assert_eq!(page(&world.authorize_at("nowhere.example", &asking, &ada)), CheckId::TenantKnown);
    world.estate.edit(|estate| estate.principal("web").account_enabled = false);
    assert_eq!(page(&world.authorize(&asking, &ada)), CheckId::ClientEnabled);
    world.estate.edit(|estate| estate.tenant().enabled = false);
    assert_eq!(page(&world.authorize(&asking, &ada)), CheckId::TenantEnabled);
}

#[test]
fn the_answer_comes_as_the_client_asked() {
    let world = World::new();
    let ada = world.sign_in("ada");
    for (mode, expected) in [
        ("query", ResponseMode::Query),
        ("fragment", ResponseMode::Fragment),
        ("form_post", ResponseMode::FormPost),
        ("", ResponseMode::Query),
    ] {
        for response_type in ["code", "token"] {
            let asking = altered(&request("web", SCOPE), &[("response_mode", mode), ("response_type", response_type)]);
            let Answer::Redirect(redirect) = world.authorize(&asking, &ada) else { panic!("{mode}") };
            // Whoever asks for a token without a mode looks for the error in the fragment.
            let fragment = mode.is_empty() && response_type == "token";
            assert_eq!(redirect.mode, if fragment { ResponseMode::Fragment } else { expected });
        }
    }
}

#[test]
fn a_23_prompt_and_max_age_ask_the_person_again() {
    let world = World::new();
    let ada = world.sign_in("ada");
    let asking = request("web", SCOPE);
    let shows_sign_in = |changes: &[(&str, &str)], browser: &Browser| {
        matches!(world.authorize(&altered(&asking, changes), browser), Answer::SignIn(_))
    };
    let fresh = Browser { fresh: true, ..ada.clone() };
    assert!(shows_sign_in(&[], &Browser::default()) && !shows_sign_in(&[], &ada));
    for prompt in ["login", "login select_account", "login consent"] {
        assert!(
            shows_sign_in(&[("prompt", prompt)], &ada) && !shows_sign_in(&[("prompt", prompt)], &fresh),
            "{prompt}"
        );
    }
    world.advance(100);
    assert!(!shows_sign_in(&[("max_age", "100")], &ada) && shows_sign_in(&[("max_age", "99")], &ada));
    assert!(shows_sign_in(&[("max_age", "0")], &ada) && !shows_sign_in(&[("max_age", "0")], &fresh));
    let silent = world.authorize(&altered(&asking, &[("max_age", "99"), ("prompt", "none")]), &ada);
    assert_eq!(parameter(&silent, "error").as_deref(), Some("login_required"));
    for bad in ["abc", "-5", "1e3", "99999999999999999999", "1.5"] {
        assert_eq!(
            parameter(&world.authorize(&altered(&asking, &[("max_age", bad)]), &ada), "error").as_deref(),
            Some("invalid_request"),
            "{bad}"
        );
    }
    world.advance(86_301);
    assert!(shows_sign_in(&[], &ada), "a day is enough for single sign-on");
    let Answer::SignIn(shown) = world.authorize(&altered(&asking, &[("login_hint", "<script>")]), &Browser::default())
    else {
        panic!("the sign-in page");
    };
    assert_eq!(shown.hint.as_deref(), Some("<script>"), "as text: the page escapes it");
}

#[test]
fn a_session_that_ended_or_belongs_elsewhere_signs_in_to_nothing() {
    let world = World::new();
    let shown = |world: &World, browser: &Browser| {
        matches!(world.authorize(&request("web", SCOPE), browser), Answer::SignIn(_))
    };
    assert!(shown(&world, &world.sign_in("ivan")), "a session of Fabrikam says nothing in Contoso");
    let ada = world.sign_in("ada");
    let with = |change: fn(&mut deputize_core::ledger::SessionRecord)| {
        let mut session = world.session(&ada);
        change(&mut session);
        Browser { session: Some(session.into()), ..ada.clone() }
    };
    assert!(shown(&world, &with(|session| session.revoked = true)));
    assert!(shown(&world, &with(|session| session.expires = NOON)));
    for revoked in [NOON, NOON.plus(1)] {
        world.estate.edit(|estate| estate.person("ada").sign_in_sessions_valid_from = revoked);
        assert!(shown(&world, &ada), "{revoked}: in the same second, too");
    }
    world.estate.edit(|estate| {
        estate.person("ada").sign_in_sessions_valid_from = NOON.plus(-1);
        assert!(estate.person("ada").account_enabled);
    });
    assert!(!shown(&world, &ada));
    world.estate.edit(|estate| {
        estate.person("ada").account_enabled = false;
    });
    assert!(shown(&world, &ada));
}

#[test]
fn under_an_alias_the_session_decides_on_the_tenant() {
    let world = World::new();
    let code = |name: &str, person: &str| {
        parameter(&world.authorize_at("organizations", &request(name, "openid"), &world.sign_in(person)), "iss")
            .unwrap()
    };
    assert_eq!(code("web", "ada"), format!("{HOST}/{CONTOSO}/v2.0"));
    assert_eq!(code("web", "ivan"), format!("{HOST}/{FABRIKAM}/v2.0"));
    // Disabled in one of its tenants, a client may still be used from the others, whichever comes first.
    for disabled in ["web", "web@fabrikam"] {
        let world = World::new();
        world.estate.edit(|estate| estate.principal(disabled).account_enabled = false);
        for _ in 0..20 {
            let answer = world.authorize_at("common", &request("web", SCOPE), &Browser::default());
            assert!(matches!(answer, Answer::SignIn(_)), "{disabled}: {answer:?}");
        }
    }
}

#[test]
fn a_18_a_wrong_name_and_a_wrong_password_look_the_same() {
    let world = World::new();
    let good = password("ada");
    let right = upn("ada");
    world.estate.edit(|estate| estate.person("bob").password_hash = None);
    let tries: &[(&str, &str)] = &[
        (&right, "wrong"),
        (&right, ""),
        (&right, &good.to_uppercase()),
        ("nobody@contoso.example", &good),
        ("nobody@nowhere.example", &good),
        ("nobody", &good),
        ("", &good),
        ("@", &good),
        ("@contoso.example", &good),
        ("ada@contoso.example ", &good),
        ("ada@fabrikam.example", &good),
        ("bob@contoso.example", ""),
        ("bob@contoso.example", &password("bob")),
        ("ada@contoso.example@contoso.example", &good),
    ];
    let mut told = Vec::new();
    for (n, (name, typed)) in tries.iter().enumerate() {
        told.push(world.try_sign_in(name, typed).err().unwrap());
        assert_eq!(world.crypto.compared.load(Ordering::SeqCst), n + 1, "{name}: one comparison, always");
    }
    assert!(told.iter().all(|denial| *denial == told[0]), "{told:?}");
    assert_eq!(world.ledger.read(|ledger| ledger.audit.len()), 0, "strangers fill no disk");
    assert!(world.try_sign_in("ADA@CONTOSO.example", &good).is_ok(), "names are compared without case");
    world.estate.edit(|estate| estate.person("ada").account_enabled = false);
    assert_eq!(
        world.try_sign_in(&right, &good).err().unwrap().id(),
        CheckId::UserEnabled,
        "told to one who knows the password"
    );
    assert_eq!(world.try_sign_in(&right, "wrong").err().unwrap(), told[0], "and to nobody else");
    world.estate.edit(|estate| {
        estate.person("ada").account_enabled = true;
        estate.tenant().enabled = false;
    });
    assert_eq!(world.try_sign_in(&right, &good).err().unwrap(), told[0]);
}

#[test]
fn several_resources_may_be_asked_at_once_and_the_token_is_for_the_first() {
    let world = World::new();
    let code =
        world.code(&world.sign_in("ada"), "web", "api://billing/Invoices.Read openid api://orders/access_as_user");
    let token = world.redeem("web", &code).unwrap().access_token;
    assert_eq!(claims(&token)["aud"], app("billing").to_string());
    let code = world.code(&world.sign_in("ada"), "web", "api://billing/Invoices.Read api://orders/access_as_user");
    let pairs = [
        ("grant_type", "authorization_code"),
        ("code", &code),
        ("redirect_uri", WEB_REDIRECT),
        ("code_verifier", crate::world::VERIFIER),
        ("scope", "api://billing/Invoices.Read api://orders/access_as_user"),
    ];
    let refusal = world.token_as("web", &pairs).unwrap_err();
    assert_eq!((refusal.check, refusal.body.error_codes.as_slice()), (CheckId::ResourceSingleInCode, &[28_000][..]));
    // What is wrong with the second is wrong with the whole request.
    let answer =
        world.authorize(&request("web", "api://billing/Invoices.Read api://orders/nonsense"), &world.sign_in("ada"));
    assert_eq!(parameter(&answer, "error").as_deref(), Some("invalid_scope"));
}

#[test]
fn a_16_a_scope_of_many_words_costs_no_more_than_its_own_size() {
    let world = World::new();
    // As one list of OpenID Connect scopes for each unknown word, this would be half a gigabyte.
    let scope = format!("{}{}", "openid ".repeat(4_600), "x ".repeat(16_000));
    let ada = world.sign_in("ada");
    let (told, hears) = std::sync::mpsc::channel();
    std::thread::scope(|threads| {
        threads.spawn(|| told.send(world.authorize(&request("web", &scope), &ada)));
        let answer = hears.recv_timeout(std::time::Duration::from_secs(5)).unwrap();
        assert_eq!(parameter(&answer, "error").as_deref(), Some("invalid_scope"));
    });
}

#[test]
fn an_entra_resource_is_found_in_any_letters_and_a_native_one_to_the_letter() {
    let world = World::new();
    let ada = world.sign_in("ada");
    let has_code = |scope: &str| parameter(&world.authorize(&request("strict", scope), &ada), "code").is_some();
    assert!(has_code("API://Orders/ACCESS_AS_USER") && has_code("api://orders//access_as_user"));
    assert!(has_code(&format!("{}/access_as_user", app("orders"))));
    assert!(
        has_code("api://vault/Vault.Read")
            && !has_code("api://Vault/Vault.Read")
            && !has_code("api://vault/vault.read")
    );
    assert_eq!(Profile::default(), Profile::Entra);
}

#[test]
fn a_09_signing_out_leads_to_registered_addresses_only_and_needs_a_genuine_request() {
    use deputize_core::sign_out::{end, read};
    let world = World::new();
    let browser = world.sign_in("ada");
    let id_token = world.redeem("web", &world.code(&browser, "web", SCOPE)).unwrap().id_token.unwrap();
    let browser = Browser { accounts: vec![std::sync::Arc::new(world.session(&browser))], ..browser };
    let with = |pairs: &[(&str, &str)]| read(&world.ports, &crate::world::form(pairs), &browser);
    let web = app("web").to_string();
    for (uri, known) in [
        (WEB_REDIRECT, true),
        ("https://evil.test/", false),
        ("//evil.test", false),
        ("/\\evil.test", false),
        ("https://app.example.com/cb/../x", false),
        ("javascript:alert(1)", false),
    ] {
        let expected = known.then(|| uri.to_owned());
        assert_eq!(with(&[("client_id", &web), ("post_logout_redirect_uri", uri)]).back, expected, "{uri}");
        assert_eq!(
            with(&[("id_token_hint", id_token.expose()), ("post_logout_redirect_uri", uri)]).back,
            expected,
            "{uri}"
        );
        assert_eq!(with(&[("post_logout_redirect_uri", uri)]).back, None, "of no client");
    }
    let back = with(&[("client_id", &web), ("post_logout_redirect_uri", WEB_REDIRECT), ("state", "a&b")]).back;
    assert_eq!(back.as_deref(), Some("https://app.example.com/cb?state=a%26b"));
    let own = Some(browser.accounts[0].id);
    assert_eq!(with(&[("id_token_hint", id_token.expose())]).genuine, own);
    assert!(with(&[]).genuine.is_none() && with(&[("id_token_hint", "x.y.z")]).genuine.is_none());
    let others = world.tokens("bob", "web", SCOPE).id_token.unwrap();
    assert_eq!(with(&[("id_token_hint", others.expose())]).genuine, None, "another person's");
    let token =
        world.redeem("web", &world.code(&browser, "web", "api://orders/access_as_user offline_access")).unwrap();
    crate::world::now_or_never(end(&world.ports, &browser.accounts, None)).unwrap();
    assert_eq!(crate::world::refused(world.refresh("web", &token.refresh_token.unwrap())), CheckId::SessionAlive);
}
