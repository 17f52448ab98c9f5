//! Client authentication: A-14, A-15, and who may be no client.
use crate::world::estate::{CONTOSO, certificate, secret};
use crate::world::{FakeCrypto, HOST, NOON, VERIFIER, World, altered, app, form, parameter, refused, request};
use decision::{CheckId, Timestamp};
use deputize_core::client_auth::Basic;
use deputize_core::model::Profile;
use deputize_core::token_endpoint::Refusal;
use oauth::{CLIENT_ASSERTION_JWT_BEARER, Secret, TokenResponse};
use serde_json::{Value, json};

const WANTED: [(&str, &str); 2] = [("grant_type", "client_credentials"), ("scope", "api://billing/.default")];

fn ask(world: &World, credential: &[(&str, &str)], basic: Option<(&str, &str)>) -> Result<TokenResponse, Refusal> {
    let basic = basic.map(|(id, secret)| Basic { client_id: id.to_owned(), secret: Secret::new(secret) });
    world.token_at("contoso.example", &form(&[&WANTED[..], credential].concat()), basic.as_ref())
}

fn assertion(changes: &Value) -> String {
    let id = app("daemon").to_string();
    let mut claims = json!({
        "iss": id, "sub": id, "aud": format!("{HOST}/{CONTOSO}/oauth2/v2.0/token"),
        "exp": NOON.0 + 600, "nbf": NOON.0, "jti": "j1",
    });
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
    }
    FakeCrypto::certify(&certificate("daemon"), &claims)
}

fn by_assertion(world: &World, text: &str) -> Result<TokenResponse, Refusal> {
    let id = app("daemon").to_string();
    let credential =
        [("client_id", &*id), ("client_assertion_type", CLIENT_ASSERTION_JWT_BEARER), ("client_assertion", text)];
    ask(world, &credential, None)
}

/// What is tried: the form's credential, the `Basic` header, and the check that refuses it.
type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], Option<(&'a str, &'a str)>, CheckId);

#[test]
fn a_14_exactly_one_mechanism_proves_one_client() {
    let world = World::new();
    let (daemon, phone, web) = (app("daemon").to_string(), app("phone").to_string(), app("web").to_string());
    let (right, wrong) = (secret("daemon"), secret("web"));
    let signed = assertion(&json!({}));
    let id = ("client_id", &*daemon);
    let jwt = ("client_assertion_type", CLIENT_ASSERTION_JWT_BEARER);
    let unsigned = "eyJhbGciOiJub25lIn0.e30.";
    let cases: &[Case<'_>] = &[
        (
            "Basic and a secret",
            &[id, ("client_secret", &right)],
            Some((&daemon, &right)),
            CheckId::ClientCredentialSingle,
        ),
        (
            "a secret and an assertion",
            &[id, ("client_secret", &right), jwt, ("client_assertion", &signed)],
            None,
            CheckId::ClientCredentialSingle,
        ),
        (
            "an unsigned assertion beside a secret",
            &[id, ("client_secret", &right), jwt, ("client_assertion", unsigned)],
            None,
            CheckId::ClientCredentialSingle,
        ),
        (
            "an empty assertion beside a secret",
            &[id, ("client_secret", &right), ("client_assertion", "")],
            None,
            CheckId::ClientCredentialSingle,
        ),
        ("Basic of another client", &[id], Some((&web, &wrong)), CheckId::ClientCredentialSingle),
        ("Basic in other letters", &[id], Some((&daemon.to_uppercase(), &right)), CheckId::ClientCredentialSingle),
        ("Basic with an empty secret", &[], Some((&daemon, "")), CheckId::ClientSecretCorrect),
        ("Basic with half a secret", &[], Some((&daemon, &right[..9])), CheckId::ClientSecretCorrect),
        ("a longer secret", &[id, ("client_secret", &format!("{right} "))], None, CheckId::ClientSecretCorrect),
        ("another client's secret", &[id, ("client_secret", &wrong)], None, CheckId::ClientSecretCorrect),
        ("an empty secret", &[id, ("client_secret", "")], None, CheckId::ClientCredentialPresent),
        ("no credential", &[id], None, CheckId::ClientCredentialPresent),
        (
            "a public client with a secret",
            &[("client_id", &phone), ("client_secret", "x")],
            None,
            CheckId::ClientConfidential,
        ),
        ("a public client with an empty Basic secret", &[], Some((&phone, "")), CheckId::ClientConfidential),
        ("a public client alone", &[("client_id", &phone)], None, CheckId::ClientCredentialPresent),
        ("an assertion without type", &[id, ("client_assertion", &signed)], None, CheckId::ClientAssertionTyped),
        (
            "an assertion of another type",
            &[id, ("client_assertion_type", "saml"), ("client_assertion", &signed)],
            None,
            CheckId::ClientAssertionTyped,
        ),
        (
            "an assertion of another client",
            &[("client_id", &web), jwt, ("client_assertion", &signed)],
            None,
            CheckId::FederatedIssuer,
        ),
        ("an unsigned assertion", &[id, jwt, ("client_assertion", unsigned)], None, CheckId::ClientAssertionSignature),
        ("no client id", &[("client_secret", &right)], None, CheckId::ParameterPresent),
        ("an unknown client", &[("client_id", "6f000000-0000-0000-0000-000000000000")], None, CheckId::ClientKnown),
        (
            "a client id with braces",
            &[("client_id", &format!("{{{daemon}}}")), ("client_secret", &right)],
            None,
            CheckId::ClientKnown,
        ),
        (
            "a client id that is a URI",
            &[("client_id", "api://orders"), ("client_secret", &secret("orders"))],
            None,
            CheckId::ClientKnown,
        ),
    ];
    for (what, credential, basic, check) in cases {
        let before = world.ledger.read(|ledger| ledger.audit.len());
        assert_eq!(refused(ask(&world, credential, *basic)), *check, "{what}");
        // Nothing is read or kept for strangers. (A public client has proved itself as far as it can.)
        if *what != "a public client alone" {
            assert_eq!(world.ledger.read(|ledger| ledger.audit.len()), before, "{what}");
        }
    }
    assert!(ask(&world, &[id, ("client_secret", &right)], None).is_ok());
    assert!(ask(&world, &[], Some((&daemon, &right))).is_ok());
    assert!(by_assertion(&world, &signed).is_ok());
}

#[test]
fn a_14_a_method_that_is_not_registered_is_refused() {
    let world = World::new();
    world.estate.edit(|estate| estate.app("daemon").password_credentials.clear());
    let id = app("daemon").to_string();
    assert_eq!(
        refused(ask(&world, &[("client_id", &id), ("client_secret", &secret("daemon"))], None)),
        CheckId::ClientSecretCorrect
    );
    world.estate.edit(|estate| estate.app("daemon").key_credentials.clear());
    assert_eq!(refused(by_assertion(&world, &assertion(&json!({})))), CheckId::ClientConfidential);
}

#[test]
fn the_secrets_id_is_no_secret_and_is_recognised() {
    let world = World::new();
    let mut key = String::new();
    world.estate.edit(|estate| key = estate.app("daemon").password_credentials[0].key_id.to_string());
    let id = app("daemon").to_string();
    let refusal = ask(&world, &[("client_id", &id), ("client_secret", &key)], None).unwrap_err();
    assert_eq!((refusal.status, refusal.check), (401, CheckId::ClientSecretCorrect));
    assert!(refusal.body.error_description.contains("secret's id"), "{}", refusal.body.error_description);
}

#[test]
fn secrets_and_certificates_work_from_their_start_to_their_end() {
    let world = World::new();
    let id = app("daemon").to_string();
    let (early, late) = (NOON.plus(-10), NOON.plus(10));
    let by_secret =
        || ask(&world, &[("client_id", &id), ("client_secret", &secret("daemon"))], None).map_err(|r| r.check);
    let by_certificate = || by_assertion(&world, &assertion(&json!({}))).map_err(|r| r.check);
    for (start, end, works) in
        [(early, late, true), (NOON, late, true), (early, NOON, false), (NOON.plus(1), late, false)]
    {
        world.estate.edit(|estate| {
            let daemon = estate.app("daemon");
            (daemon.password_credentials[0].start_date_time, daemon.password_credentials[0].end_date_time) =
                (start, end);
            (daemon.key_credentials[0].start_date_time, daemon.key_credentials[0].end_date_time) = (start, end);
        });
        assert_eq!(by_secret().err(), (!works).then_some(CheckId::ClientSecretCurrent), "{start} {end}");
        assert_eq!(by_certificate().err(), (!works).then_some(CheckId::ClientCertificateCurrent), "{start} {end}");
    }
}

#[test]
fn a_15_a_client_assertion_is_for_this_endpoint_this_client_and_half_an_hour() {
    let world = World::new();
    let rival = app("rival").to_string();
    for (what, changes, check) in [
        ("another authority", json!({"aud": "https://other.example/token"}), CheckId::ClientAssertionClaims),
        (
            "another tenant",
            json!({"aud": format!("{HOST}/fabrikam.example/oauth2/v2.0/token")}),
            CheckId::ClientAssertionClaims,
        ),
        ("the issuer of v1", json!({"aud": format!("{HOST}/{CONTOSO}/")}), CheckId::ClientAssertionClaims),
        (
            "two audiences",
            json!({"aud": [format!("{HOST}/{CONTOSO}/oauth2/v2.0/token"), "https://other.example"]}),
            CheckId::ClientAssertionClaims,
        ),
        ("no audience", json!({"aud": []}), CheckId::ClientAssertionClaims),
        ("another issuer", json!({"iss": rival}), CheckId::FederatedIssuer),
        ("another subject", json!({"sub": rival}), CheckId::ClientAssertionClaims),
        ("no expiry", json!({"exp": null}), CheckId::ClientAssertionCurrent),
        ("more than half an hour", json!({"exp": NOON.0 + 1_861}), CheckId::ClientAssertionCurrent),
        ("past", json!({"exp": NOON.0 - 60}), CheckId::ClientAssertionCurrent),
        ("the end of time", json!({"exp": i64::MAX}), CheckId::ClientAssertionCurrent),
        ("before time", json!({"exp": i64::MIN}), CheckId::ClientAssertionCurrent),
        ("future", json!({"nbf": NOON.0 + 61}), CheckId::ClientAssertionCurrent),
        ("the far future", json!({"nbf": i64::MAX}), CheckId::ClientAssertionCurrent),
    ] {
        assert_eq!(refused(by_assertion(&world, &assertion(&changes))), check, "{what}");
    }
    for aud in [
        format!("{HOST}/contoso.example/oauth2/v2.0/token"),
        format!("{HOST}/{CONTOSO}/oauth2/token"),
        format!("{HOST}/{CONTOSO}/v2.0"),
    ] {
        assert!(by_assertion(&world, &assertion(&json!({"aud": aud}))).is_ok(), "{aud}");
    }
    let shouted = app("daemon").to_string().to_uppercase();
    for changes in [json!({"exp": NOON.0 + 1_800}), json!({"iss": shouted, "sub": shouted})] {
        assert!(by_assertion(&world, &assertion(&changes)).is_ok(), "as azure-identity writes it: {changes}");
    }
    world.estate.edit(|estate| estate.app("daemon").deputize.client_profile = Profile::Native);
    for changes in [json!({"exp": NOON.0 + 661, "jti": "j2"}), json!({"iss": shouted, "sub": shouted, "jti": "j3"})] {
        assert!(
            by_assertion(&world, &assertion(&changes)).is_err(),
            "to a native client the standards' words: {changes}"
        );
    }
    assert!(by_assertion(&world, &assertion(&json!({"jti": "j4"}))).is_ok());
}

#[test]
fn a_15_a_client_assertion_works_again_or_once_as_the_client_chose() {
    let world = World::new();
    let text = assertion(&json!({}));
    assert!(
        by_assertion(&world, &text).is_ok() && by_assertion(&world, &text).is_ok(),
        "MSAL sends one again and again"
    );
    world.estate.edit(|estate| estate.app("daemon").deputize.one_time_assertions = true);
    assert_eq!(refused(by_assertion(&world, &assertion(&json!({"jti": null})))), CheckId::ClientAssertionOnce);
    let won: usize = std::thread::scope(|scope| {
        let tries: Vec<_> = (0..64).map(|_| scope.spawn(|| usize::from(by_assertion(&world, &text).is_ok()))).collect();
        tries.into_iter().map(|one| one.join().unwrap()).sum()
    });
    assert_eq!(won, 1);
    assert_eq!(refused(by_assertion(&world, &text)), CheckId::ClientAssertionOnce);
}

#[test]
fn a_16_the_grant_is_one_that_exists() {
    let world = World::new();
    for grant in ["password", "implicit", "", "AUTHORIZATION_CODE", "urn:ietf:params:oauth:grant-type:saml2-bearer"] {
        let answer = world.token_as("daemon", &[("grant_type", grant)]);
        let check = if grant.is_empty() { CheckId::ParameterPresent } else { CheckId::GrantSupported };
        assert_eq!(refused(answer), check, "{grant}");
    }
}

#[test]
fn application_tokens_are_for_one_resource_and_all_of_its_roles() {
    let world = World::new();
    let ask = |scope: &str| world.token_as("daemon", &[("grant_type", "client_credentials"), ("scope", scope)]);
    for (scope, check) in [
        ("api://billing/Invoices.Export", CheckId::ScopeValid),
        ("api://billing/.default api://orders/.default", CheckId::ScopeValid),
        ("api://billing/.default api://billing/Invoices.Read", CheckId::ScopeValid),
        ("openid", CheckId::ScopeValid),
        (" ", CheckId::ScopePresent),
        ("", CheckId::ScopePresent),
        ("api://nowhere/.default", CheckId::ResourceKnown),
        (".default", CheckId::ScopeValid),
        ("api://billing/\"", CheckId::ScopeValid),
    ] {
        assert_eq!(refused(ask(scope)), check, "{scope:?}");
    }
    let answer = ask("api://billing/.default offline_access openid").unwrap();
    assert!(answer.refresh_token.is_none() && answer.id_token.is_none() && answer.scope.is_none());
    assert_eq!(answer.expires_in, 3599);
    let roles = |answer: &TokenResponse| crate::world::claims(&answer.access_token).get("roles").cloned();
    assert_eq!(roles(&answer), Some(json!(["Invoices.Export"])));
    assert_eq!(roles(&ask("api://orders/.default").unwrap()), None, "no role, but a token all the same");
    world.estate.edit(|estate| estate.principal("orders").app_role_assignment_required = true);
    assert_eq!(refused(ask("api://orders/.default")), CheckId::ClientAssigned);
}

#[test]
fn an_essential_claim_is_never_skipped_for_an_application_either() {
    let world = World::new();
    let ask = |claims: &str| {
        world.token_as(
            "daemon",
            &[("grant_type", "client_credentials"), ("scope", "api://billing/.default"), ("claims", claims)],
        )
    };
    assert!(ask(r#"{"access_token":{"xms_cc":{"values":["cp1"]}}}"#).is_ok());
    assert!(
        ask(&format!(r#"{{"access_token":{{"nbf":{{"essential":true,"value":"{}"}}}}}}"#, NOON.0)).is_ok(),
        "a new token is new enough"
    );
    assert_eq!(refused(ask(r#"{"access_token":{"acrs":{"essential":true,"value":"c1"}}}"#)), CheckId::ContextSatisfied);
    let future = Timestamp(NOON.0 + 1);
    assert_eq!(
        refused(ask(&format!(r#"{{"access_token":{{"nbf":{{"essential":true,"value":"{}"}}}}}}"#, future.0))),
        CheckId::EssentialClaim
    );
    for broken in ["{", "[]", "null", "not json"] {
        assert_eq!(refused(ask(broken)), CheckId::RequestWellFormed, "{broken}");
    }
}

#[test]
fn a_17_a_page_asks_without_credential_and_from_a_registered_origin_only() {
    let world = World::new();
    world.estate.edit(|estate| estate.app("phone").spa.redirect_uris.push("https://spa.example.com/cb".into()));
    let (phone, web, key) = (app("phone").to_string(), app("web").to_string(), secret("web"));
    let asked = request("phone", "api://orders/access_as_user offline_access");
    let asked = altered(&asked, &[("redirect_uri", "https://spa.example.com/cb")]);
    let code = parameter(&world.authorize(&asked, &world.sign_in("ada")), "code").unwrap();
    let redeem = [
        ("client_id", &*phone),
        ("grant_type", "authorization_code"),
        ("code", &code),
        ("redirect_uri", "https://spa.example.com/cb"),
        ("code_verifier", VERIFIER),
    ];
    let token = world.token_from("https://spa.example.com", &redeem).unwrap().refresh_token.unwrap();
    let refresh = [("client_id", &*phone), ("grant_type", "refresh_token"), ("refresh_token", token.expose())];
    for origin in [
        "null",
        "",
        "*",
        "https://evil.test",
        "https://spa.example.com.evil.test",
        "https://spa.example.com:8443",
        "http://spa.example.com",
        "https://spa.example.co",
        "https://SPA.example.com",
        "https://",
        "https://spa.example.com/c",
    ] {
        assert_eq!(refused(world.token_from(origin, &refresh)), CheckId::ClientOrigin, "{origin}");
    }
    assert!(world.token_from("https://spa.example.com", &refresh).is_ok());
    let credential = [
        ("client_id", &*web),
        ("client_secret", &key),
        ("grant_type", "client_credentials"),
        ("scope", "api://billing/.default"),
    ];
    world.estate.edit(|estate| estate.app("web").spa.redirect_uris.push("https://spa.example.com/cb".into()));
    assert_eq!(refused(world.token_from("https://spa.example.com", &credential)), CheckId::ClientOrigin);
}
