//! Authorization codes.
use crate::world::estate::CONTOSO;
use crate::world::{
    FakeLedger, PHONE_REDIRECT, VERIFIER, WEB_REDIRECT, World, altered, app, challenge, form, parameter, refused,
    request,
};
use decision::CheckId;
use deputize_core::ledger::Write;
use std::sync::Barrier;

const SCOPE: &str = "api://orders/access_as_user offline_access openid";

#[test]
fn a_01_a_code_redeemed_by_another_client_is_refused_and_dead() {
    let world = World::new();
    let code = world.code(&world.sign_in("ada"), "web", SCOPE);
    assert_eq!(refused(world.redeem("rival", &code)), CheckId::CodeClient);
    assert_eq!(refused(world.redeem("web", &code)), CheckId::CodeUnused, "dead for its owner too");
}

#[test]
fn a_02_a_replayed_code_revokes_what_its_first_use_gave() {
    let world = World::new();
    let code = world.code(&world.sign_in("ada"), "web", SCOPE);
    let first = world.redeem("web", &code).unwrap().refresh_token.unwrap();
    let second = world.refresh("web", &first).unwrap().refresh_token.unwrap();
    assert_eq!(refused(world.redeem("web", &code)), CheckId::CodeUnused);
    for token in [first, second] {
        assert_eq!(refused(world.refresh("web", &token)), CheckId::UserNotRevoked);
    }
}

#[test]
fn a_02_a_code_whose_family_was_revoked_before_it_was_redeemed_gives_nothing() {
    let world = World::new();
    for scope in [SCOPE, "openid"] {
        let code = world.code(&world.sign_in("ada"), "web", scope);
        let family = world.ledger.read(|state| state.codes.values().find(|code| !code.consumed).unwrap().family);
        world.ledger.write(vec![Write::RevokeFamily(family)]).unwrap();
        let refusal = world.redeem("web", &code).unwrap_err();
        assert_eq!((refusal.status, refusal.check), (400, CheckId::UserNotRevoked), "{scope}");
        assert_eq!((refusal.body.error.as_str(), &*refusal.body.error_codes), ("invalid_grant", &[50_173][..]));
        assert_eq!(refusal.body.suberror.as_deref(), Some("bad_token"), "the user is to sign in again");
        assert!(world.ledger.read(|state| state.refresh.is_empty()), "{scope}");
    }
}

#[test]
fn a_03_of_64_parallel_redemptions_one_succeeds() {
    let world = World::new();
    let browser = world.sign_in("ada");
    for round in 0..20 {
        let code = world.code(&browser, "web", SCOPE);
        let start = Barrier::new(64);
        let won: usize = std::thread::scope(|scope| {
            let tries: Vec<_> = (0..64)
                .map(|_| {
                    scope.spawn(|| {
                        start.wait();
                        match world.redeem("web", &code) {
                            Ok(_) => 1,
                            Err(refusal) => {
                                assert_eq!(refusal.check, CheckId::CodeUnused);
                                0
                            }
                        }
                    })
                })
                .collect();
            tries.into_iter().map(|one| one.join().unwrap()).sum()
        });
        assert_eq!(won, 1, "round {round}");
    }
}

#[test]
fn a_04_a_code_with_another_redirect_uri_is_refused_and_dead() {
    for other in
        [None, Some("https://app.example.com/CB"), Some("https://app.example.com/cb/"), Some("https://evil.example/")]
    {
        let world = World::new();
        let code = world.code(&world.sign_in("ada"), "web", SCOPE);
        let mut pairs = vec![("grant_type", "authorization_code"), ("code", &code), ("code_verifier", VERIFIER)];
        pairs.extend(other.map(|uri| ("redirect_uri", uri)));
        assert_eq!(refused(world.token_as("web", &pairs)), CheckId::CodeRedirectUri, "{other:?}");
        assert_eq!(refused(world.redeem("web", &code)), CheckId::CodeUnused);
    }
}

#[test]
fn a_05_an_authorization_request_must_not_weaken_pkce() {
    let world = World::new();
    let browser = world.sign_in("ada");
    let good = challenge(VERIFIER);
    let (short, long, odd) = (&good[1..], format!("{good}A"), format!("{}!", &good[1..]));
    let padded = format!("{}=", &good[1..]);
    let weak: &[&[(&str, &str)]] = &[
        &[("code_challenge_method", "plain")],
        &[("code_challenge_method", "s256")],
        &[("code_challenge_method", "S512")],
        &[("code_challenge_method", "")],
        &[("code_challenge", "")],
        &[("code_challenge", short)],
        &[("code_challenge", &long)],
        &[("code_challenge", &odd)],
        &[("code_challenge", &padded)],
        &[("code_challenge", VERIFIER), ("code_challenge_method", "plain")],
    ];
    for changes in weak {
        for name in ["web", "phone"] {
            let answer = world.authorize(&altered(&request(name, SCOPE), changes), &browser);
            assert_eq!(parameter(&answer, "error").as_deref(), Some("invalid_request"), "{name} {changes:?}");
            assert_eq!(parameter(&answer, "code"), None);
        }
    }
    let without = [("code_challenge", ""), ("code_challenge_method", "")];
    let answer = world.authorize(&altered(&request("phone", SCOPE), &without), &browser);
    assert_eq!(parameter(&answer, "error").as_deref(), Some("invalid_request"), "a public client without PKCE");
    let answer = world.authorize(&altered(&request("web", SCOPE), &without), &browser);
    assert!(parameter(&answer, "code").is_some(), "a confidential client may do without");
}

#[test]
fn a_05_a_code_is_redeemed_with_the_verifier_of_its_challenge_only() {
    let (short, long) = (&VERIFIER[1..], "a".repeat(129));
    let charset = format!("{}+", &VERIFIER[1..]);
    let other = format!("{}A", &VERIFIER[1..]);
    let hash = challenge(VERIFIER);
    for sent in
        [None, Some(short), Some(&long), Some(&charset), Some(&other), Some(&hash), Some(&VERIFIER.to_uppercase())]
    {
        for name in ["web", "phone"] {
            let world = World::new();
            let code = world.code(&world.sign_in("ada"), name, SCOPE);
            let redirect = if name == "web" { WEB_REDIRECT } else { PHONE_REDIRECT };
            let mut pairs = vec![("grant_type", "authorization_code"), ("code", &code), ("redirect_uri", redirect)];
            pairs.extend(sent.map(|verifier| ("code_verifier", verifier)));
            assert_eq!(refused(world.token_as(name, &pairs)), CheckId::PkceMatches, "{name} {sent:?}");
            assert_eq!(refused(world.redeem(name, &code)), CheckId::CodeUnused, "one guess per code");
        }
    }
    // A verifier where no challenge was sent (RFC 9700 section 4.8.2).
    let world = World::new();
    let without = altered(&request("web", SCOPE), &[("code_challenge", ""), ("code_challenge_method", "")]);
    let code = parameter(&world.authorize(&without, &world.sign_in("ada")), "code").unwrap();
    assert_eq!(refused(world.redeem("web", &code)), CheckId::PkceMatches);
}

#[test]
fn a_05_a_code_without_challenge_needs_the_clients_credential_whatever_became_of_its_redirect_uri() {
    let world = World::new();
    world.estate.edit(|estate| estate.app("web").is_fallback_public_client = true);
    let without = altered(&request("web", SCOPE), &[("code_challenge", ""), ("code_challenge_method", "")]);
    let code = parameter(&world.authorize(&without, &world.sign_in("ada")), "code").unwrap();
    // The redirect URI leaves the web platform before the code is redeemed.
    world.estate.edit(|estate| {
        let uris = std::mem::take(&mut estate.app("web").web.redirect_uris);
        estate.app("web").spa.redirect_uris = uris;
    });
    let pairs = [
        ("client_id", &*app("web").to_string()),
        ("grant_type", "authorization_code"),
        ("code", &code),
        ("redirect_uri", WEB_REDIRECT),
    ];
    assert_eq!(refused(world.token(&pairs)), CheckId::ClientCredentialPresent);
}

#[test]
fn a_code_lives_ten_minutes() {
    let world = World::new();
    let browser = world.sign_in("ada");
    let code = world.code(&browser, "web", SCOPE);
    world.advance(599);
    assert!(world.redeem("web", &code).is_ok());
    let code = world.code(&browser, "web", SCOPE);
    world.advance(600);
    assert_eq!(refused(world.redeem("web", &code)), CheckId::CodeValid);
}

#[test]
fn a_code_or_refresh_token_of_one_tenant_is_worth_nothing_in_another() {
    // `web` stands in both tenants.
    let world = World::new();
    let code = world.code(&world.sign_in("ada"), "web", SCOPE);
    let secret = crate::world::estate::secret("web");
    let id = app("web").to_string();
    let client = [("client_id", &*id), ("client_secret", &secret)];
    let redeem = [
        ("grant_type", "authorization_code"),
        ("code", &code),
        ("redirect_uri", WEB_REDIRECT),
        ("code_verifier", VERIFIER),
    ];
    let at_fabrikam = form(&[&client[..], &redeem].concat());
    assert_eq!(refused(world.token_at("fabrikam.example", &at_fabrikam, None)), CheckId::CodeTenant);

    let token = world.tokens("ada", "web", SCOPE).refresh_token.unwrap();
    let refresh = [("grant_type", "refresh_token"), ("refresh_token", token.expose())];
    let refresh = form(&[&client[..], &refresh].concat());
    assert_eq!(refused(world.token_at("fabrikam.example", &refresh, None)), CheckId::RefreshValid);
    for alias in ["common", "organizations", "contoso.example", &CONTOSO.to_string()] {
        assert!(world.token_at(alias, &refresh, None).is_ok(), "{alias}");
    }
}

#[test]
fn a_native_client_gets_no_more_for_its_code_than_was_authorized() {
    let world = World::new();
    let browser = world.sign_in("ada");
    for (scope, granted) in [
        (None, true),
        (Some("api://orders/access_as_user"), true),
        (Some("openid"), true),
        (Some("openid email"), false),
        (Some("api://vault/Vault.Read"), false),
    ] {
        let code = world.code(&browser, "strict", "api://orders/access_as_user openid offline_access");
        let mut pairs = vec![
            ("grant_type", "authorization_code"),
            ("code", &code),
            ("redirect_uri", WEB_REDIRECT),
            ("code_verifier", VERIFIER),
        ];
        pairs.extend(scope.map(|scope| ("scope", scope)));
        let answer = world.token_as("strict", &pairs);
        if granted {
            assert!(answer.is_ok(), "{scope:?}: {answer:?}");
        } else {
            assert_eq!(refused(answer), CheckId::ScopeWithinGrant, "{scope:?}");
        }
    }
}

#[test]
fn nothing_is_issued_that_the_store_did_not_keep() {
    let world = World::new();
    let code = world.code(&world.sign_in("ada"), "web", SCOPE);
    let full = |ledger: &FakeLedger, full| ledger.full.store(full, std::sync::atomic::Ordering::SeqCst);
    full(&world.ledger, true);
    let refusal = world.redeem("web", &code).unwrap_err();
    assert_eq!((refusal.status, refusal.check), (503, CheckId::StoreAvailable));
    let sign_in = world.try_sign_in("ada@contoso.example", &crate::world::estate::password("ada"));
    assert_eq!(sign_in.err().unwrap().id(), CheckId::StoreAvailable);
    full(&world.ledger, false);
    assert!(world.redeem("web", &code).is_ok(), "nothing was consumed half-way");
    let ada = world.sign_in("ada");
    full(&world.ledger, true);
    let answer = world.authorize(&request("web", SCOPE), &ada);
    assert_eq!(parameter(&answer, "error").as_deref(), Some("temporarily_unavailable"));
}
