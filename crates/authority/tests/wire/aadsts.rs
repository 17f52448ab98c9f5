//! Every AADSTS code of `spec/entra.md` §4.2, §5.1, §6.3 and §10.3: the request that provokes it over the real router, with the
//! error, the HTTP status and the suberror that stand there; the test that provokes it elsewhere; or why nothing here can.
use crate::assertions::good;
use crate::clients::app_only;
use crate::second_factor::{Device, at_second_factor};
use crate::world::browser::{Browser, authorize_path, request};
use crate::world::estate::{CONTOSO, FABRIKAM, app, grant, key_credential, policy, principal, user};
use crate::world::keys::{EXPIRED, ORDERS, STRANGER};
use crate::world::{
    ASSERTION_TYPE, Answer, NOON, Params, World, but, client_credentials, encode, obo_form, redeem_form, refresh_form,
    text, token_path,
};
use decision::{CheckId, Timestamp};
use deputize_core::model::{GrantControls, PermissionGrant};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use store::Object;

const ID: &str = "7f2b1c9e-1111-4222-8333-444455556666";
const ORDERS_SCOPE: &str = "api://orders/access_as_user offline_access openid";
const BILLING: &str = "api://billing/Invoices.Read";

/// What each code is answered with, as the specification has it. `None` where it never reaches a program.
const SPECIFIED: &[(u32, &str, u16, Option<&str>)] = &[
    (90_002, "invalid_request", 400, None),
    (700_016, "unauthorized_client", 400, None),
    (7_000_112, "unauthorized_client", 400, None),
    (7_000_215, "invalid_client", 401, None),
    (7_000_222, "invalid_client", 401, None),
    (7_000_218, "invalid_client", 401, None),
    (700_025, "invalid_client", 401, None),
    (700_027, "invalid_client", 401, None),
    (7_000_274, "invalid_client", 401, None),
    (700_024, "invalid_client", 401, None),
    (1_000_502, "invalid_client", 401, None),
    (700_211, "invalid_client", 401, None),
    (5_002_727, "invalid_request", 400, None),
    (5_002_730, "invalid_request", 400, None),
    (50_027, "invalid_request", 400, None),
    (50_013, "invalid_grant", 400, None),
    (500_131, "invalid_grant", 400, None),
    (500_133, "invalid_grant", 400, None),
    (7_000_114, "unauthorized_client", 400, None),
    (240_002, "invalid_grant", 400, None),
    (500_011, "invalid_resource", 400, None),
    (50_001, "invalid_resource", 400, None),
    (70_011, "invalid_scope", 400, None),
    (28_003, "invalid_scope", 400, None),
    (700_022, "invalid_scope", 400, None),
    (28_000, "invalid_scope", 400, None),
    (901_002, "invalid_request", 400, None),
    (65_001, "invalid_grant", 400, Some("consent_required")),
    (90_094, "invalid_grant", 400, Some("consent_required")),
    (650_057, "invalid_resource", 400, None),
    (50_105, "invalid_grant", 400, None),
    (501_051, "invalid_grant", 400, None),
    (50_076, "interaction_required", 400, Some("basic_action")),
    (50_079, "interaction_required", 400, Some("basic_action")),
    (53_003, "interaction_required", 400, Some("message_only")),
    (50_173, "invalid_grant", 400, Some("bad_token")),
    (50_057, "invalid_grant", 400, None),
    (50_034, "invalid_grant", 400, None),
    (70_008, "invalid_grant", 400, None),
    (700_082, "invalid_grant", 400, Some("bad_token")),
    (54_005, "invalid_grant", 400, None),
    (501_481, "invalid_grant", 400, None),
    (50_011, "invalid_grant", 400, None),
    (700_005, "invalid_grant", 400, None),
    (90_124, "invalid_request", 400, None),
    (900_144, "invalid_request", 400, None),
    (90_023, "invalid_request", 400, None),
    (9_002_313, "invalid_grant", 400, None),
    (70_003, "unsupported_grant_type", 400, None),
    (90_009, "invalid_request", 400, None),
    (50_049, "invalid_instance", 400, None),
    (9_002_326, "invalid_request", 400, None),
];

/// Provoked by tests of their own: where, and the words there that do it.
const ELSEWHERE: &[(u32, &str, &str)] = &[
    (70_016, "authority/tests/wire/device.rs", "\"authorization_pending\".into(), 70_016"),
    (70_018, "authority/tests/wire/device.rs", "\"bad_verification_code\".into(), 70_018"),
    (70_019, "authority/tests/wire/device.rs", "\"expired_token\".into(), 70_019"),
    (65_004, "authority/tests/wire/consent.rs", "AADSTS65004"),
    (90_095, "authority/tests/wire/consent.rs", "AADSTS90095"),
    (650_056, "authority/tests/wire/consent.rs", "AADSTS650056"),
    (650_052, "core/tests/attacks/combined.rs", "AADSTS650052"),
    (65_005, "core/tests/attacks/combined.rs", "AADSTS65005\""),
    (70_043, "core/tests/attacks/conditional_access.rs", "Some(\"bad_token\"), &[70_043]"),
    (50_078, "core/tests/attacks/conditional_access.rs", "CheckId::MfaCurrent, &[50_078]"),
    (50_132, "authority/tests/wire/logout.rs", "50_132"),
    (700_084, "authority/tests/wire/spa.rs", "700_084"),
    (9_002_327, "authority/tests/wire/spa.rs", "9_002_327"),
    (700_213, "authority/tests/wire/workload.rs", "700_213"),
    (700_212, "authority/tests/wire/workload.rs", "700_212"),
    (700_229, "authority/tests/wire/workload.rs", "(401, \"invalid_client\".into(), 700_229"),
    (7_000_214, "authority/tests/wire/rotation.rs", "7_000_214"),
    (7_000_277, "authority/tests/wire/rotation.rs", "7_000_277"),
    (90_033, "authority/tests/wire/faults.rs", "temporarily_unavailable"),
    (16_000, "authority/tests/wire/accounts.rs", "\"AADSTS16000\""),
    (50_196, "authority/tests/wire/loops.rs", "\"temporarily_unavailable\".into(), 50_196"),
    (90_055, "authority/tests/wire/limits.rs", "\"temporarily_unavailable\".into(), 90_055"),
    // Pages say these in words, to the person whom they concern.
    (50_126, "authority/tests/wire/pages.rs", "a_18_the_sign_in_page_says_the_same"),
    (50_053, "authority/tests/wire/limits.rs", "answer.status == 429"),
];

/// Provoked at the authorization endpoint: they go back to the client by redirect, or are shown on a page.
const SHOWN: [u32; 10] = [50_058, 700_054, 50_147, 50_011, 50_194, 50_059, 90_002, 50_072, 50_074, 50_020];

/// Codes of the specification that nothing here can provoke, and why.
const NEVER: &[(u32, &str)] = &[
    (70_001, "the product says 7000112 for a disabled application"),
    (70_021, "the older code of 700211 and 700213"),
    (700_023, "a scope without a resource is 28003 or 70011 here: there is no default resource"),
    (28_002, "an empty scope counts as absent: 28003"),
    (650_054, "a resource that is not in the tenant is 500011 or 650052"),
    (53_000, "there are no device compliance policies"),
    (53_001, "devices join nothing"),
    (50_097, "devices do not authenticate"),
    (50_131, "the failing policy is named: 53003, 50076 or 50079"),
    (530_032, "there are no security defaults beside the policies"),
    (50_133, "a session that ended is 50132, one that was revoked 50173"),
    (900_971, "a missing redirect URI is 900144, as any other parameter"),
    (50_055, "passwords do not expire"),
    (9_001_023, "grants that need a tenant are 90124"),
    (90_130, "grants that need a tenant are 90124"),
    (90_014, "a missing parameter is 900144"),
    (90_100, "a malformed parameter is 90023"),
    (90_083, "older threads; app-only assertions are 7000114"),
];

struct Provoked<'a> {
    world: &'a World,
    seen: BTreeMap<u32, String>,
}

impl Provoked<'_> {
    /// Sends a form to the token endpoint; it must be answered with this code, as the specification has it.
    async fn token(&mut self, code: u32, tenant: &str, form: Params<'_>) {
        self.with(code, tenant, &[], encode(&form)).await;
    }

    async fn here(&mut self, code: u32, form: Params<'_>) {
        self.token(code, &CONTOSO.to_string(), form).await;
    }

    async fn with(&mut self, code: u32, tenant: &str, headers: &[(&str, &str)], body: String) {
        let headers = [headers, &[("client-request-id", ID)]].concat();
        let answer = self.world.post(&token_path(tenant), &headers, body).await;
        let (status, error, found, check) = answer.refused();
        let body = answer.json();
        let suberror = body["suberror"].as_str();
        let specified = SPECIFIED.iter().find(|row| row.0 == code).unwrap();
        assert_eq!(
            (u64::from(code), specified.1, specified.2, specified.3),
            (found, &*error, status, suberror),
            "{body}"
        );
        assert_eq!(body["error_codes"], json!([code]));
        assert_eq!((text(&body, "correlation_id").as_str(), answer.header("client-request-id")), (ID, ID));
        assert_eq!(body["claims"].is_string(), error == "interaction_required" && code != 53_003, "{body}");
        self.seen.insert(code, check);
    }

    /// A client assertion of Orders.
    async fn assertion(&mut self, code: u32, assertion: &str) {
        let form = but(app_only(), "client_secret", None);
        let more = [("client_assertion_type", ASSERTION_TYPE.to_owned()), ("client_assertion", assertion.to_owned())];
        self.here(code, [form, more.to_vec()].concat()).await;
    }
}

#[tokio::test]
async fn every_code_of_the_token_endpoint_is_provoked_as_the_specification_has_it() {
    let world = World::with(|plan| {
        plan.app("orders").key_credentials.push(key_credential("expired", &EXPIRED.der));
        for credential in &mut plan.app("rival").password_credentials {
            credential.end_date_time = Timestamp(1);
        }
        let archive = principal("archive");
        for principal in plan.principals.iter_mut().filter(|it| it.id == archive) {
            principal.account_enabled = false;
        }
    })
    .await;
    let ada = world.signed_in("web", "ada", ORDERS_SCOPE).await;
    let bob = world.access_token("web", "bob", "api://orders/access_as_user").await;
    let (orders, refresh) = (text(&ada, "access_token"), text(&ada, "refresh_token"));
    let id_token = text(&ada, "id_token");
    let app_token =
        text(&world.token(client_credentials("daemon", "api://orders/.default")).await.ok(), "access_token");
    let mut it = Provoked { world: &world, seen: BTreeMap::new() };
    let cc = || client_credentials("daemon", "api://billing/.default");

    it.token(90_002, "nowhere.example", cc()).await;
    it.token(90_124, "common", cc()).await;
    it.here(700_016, but(cc(), "client_id", Some("00000000-0000-0000-0000-00000000000f"))).await;
    it.here(7_000_112, client_credentials("archive", "api://billing/.default")).await;
    it.here(7_000_215, but(cc(), "client_secret", Some("wrong"))).await;
    it.here(7_000_222, client_credentials("rival", "api://billing/.default")).await;
    it.here(7_000_218, but(cc(), "client_secret", None)).await;
    let credential = [refresh_form("native", &refresh, None), vec![("client_secret", "x".to_owned())]].concat();
    it.here(700_025, credential).await;
    it.here(900_144, but(cc(), "grant_type", None)).await;
    it.here(90_023, [cc(), vec![("claims", "{".to_owned())]].concat()).await;
    it.here(70_003, but(cc(), "grant_type", Some("password"))).await;
    it.here(70_011, but(cc(), "scope", Some("api://billing/Nope"))).await;
    it.here(28_003, but(cc(), "scope", None)).await;
    it.here(901_002, but([cc(), vec![("resource", "api://billing".to_owned())]].concat(), "scope", None)).await;
    it.here(500_011, but(cc(), "scope", Some("api://nowhere/.default"))).await;
    it.here(50_001, but(cc(), "scope", Some("api://archive/.default"))).await;
    let origin = [("origin", "https://evil.example")];
    it.with(9_002_326, &CONTOSO.to_string(), &origin, encode(&refresh_form("web", &refresh, None))).await;

    let known = || good().header("x5t#S256", json!(ORDERS.certificate.x5t_s256()));
    it.assertion(700_027, &known().sign(&STRANGER)).await;
    it.assertion(7_000_274, &good().header("x5t#S256", json!(STRANGER.certificate.x5t_s256())).sign(&STRANGER)).await;
    it.assertion(700_024, &good().claim("exp", json!(NOON.0 - 600)).sign(&ORDERS)).await;
    it.assertion(1_000_502, &good().header("x5t#S256", json!(EXPIRED.certificate.x5t_s256())).sign(&EXPIRED)).await;
    it.assertion(5_002_727, &good().header("typ", json!("JWS")).sign(&ORDERS)).await;
    it.assertion(5_002_730, &good().header("alg", json!("ES256")).sign_with(&ORDERS.ps256)).await;
    it.assertion(700_211, &good().claim("iss", json!("https://stranger.example")).sign(&ORDERS)).await;
    it.assertion(50_027, &good().claim("aud", json!("https://elsewhere.example")).sign(&ORDERS)).await;

    let obo = |assertion: &str, scope: &str| obo_form("orders", assertion, scope);
    it.here(50_027, obo("garbage", BILLING)).await;
    let [head, payload, signature] = {
        let mut parts = orders.split('.').map(str::to_owned);
        std::array::from_fn(|_| parts.next().unwrap())
    };
    let turned: String = signature.chars().rev().collect();
    it.here(50_013, obo(&format!("{head}.{payload}.{turned}"), BILLING)).await;
    it.here(500_131, obo_form("billing", &orders, "api://vault/.default")).await;
    it.here(240_002, obo_form("web", &id_token, "api://orders/.default")).await;
    it.here(7_000_114, obo(&app_token, BILLING)).await;
    it.here(700_022, obo(&orders, "api://billing/Invoices.Read api://vault/Vault.Read")).await;
    it.here(65_001, obo(&orders, "api://billing/Invoices.Approve")).await;
    // Her own consent to an administrators' permission counts for nothing.
    let own = PermissionGrant { principal_id: Some(user("ada")), ..grant("orders", "billing", "Invoices.Void") };
    world.put(Object::Grant(own)).await;
    it.here(90_094, obo(&orders, "api://billing/Invoices.Void")).await;
    it.here(90_009, obo(&orders, "api://orders/.default")).await;
    let c9 = r#"{"access_token":{"acrs":{"essential":true,"value":"c9"}}}"#.to_owned();
    it.here(50_076, [obo(&orders, BILLING), vec![("claims", c9)]].concat()).await;
    world.edit_principal("archive", |principal| principal.account_enabled = true).await;
    it.here(650_057, obo(&orders, "api://archive/Archive.Read")).await;
    world.edit_principal("billing", |principal| principal.app_role_assignment_required = true).await;
    it.here(50_105, obo(&bob, BILLING)).await;
    it.here(501_051, client_credentials("web", "api://billing/.default")).await;
    world.put(Object::Policy(policy(&["billing"], GrantControls::mfa()))).await;
    it.here(50_079, obo(&orders, BILLING)).await;
    world.put(Object::Policy(policy(&["billing"], GrantControls::block()))).await;
    it.here(53_003, obo(&orders, BILLING)).await;

    let code = |world| async move { Browser::default().code(world, "web", "ada", ORDERS_SCOPE).await };
    it.here(70_008, redeem_form("web", "garbage")).await;
    it.here(501_481, but(redeem_form("web", &code(&world).await), "code_verifier", Some(&"x".repeat(43)))).await;
    it.here(50_011, but(redeem_form("web", &code(&world).await), "redirect_uri", Some("https://app.example/other")))
        .await;
    it.token(700_005, &FABRIKAM.to_string(), redeem_form("web", &code(&world).await)).await;
    let several = "api://orders/access_as_user api://billing/Invoices.Read";
    it.here(28_000, [redeem_form("web", &code(&world).await), vec![("scope", several.to_owned())]].concat()).await;
    let twice = code(&world).await;
    world.redeem("web", &twice).await.ok();
    it.here(54_005, redeem_form("web", &twice)).await;

    it.here(9_002_313, refresh_form("web", "garbage", None)).await;
    world.clock.advance(3_700);
    it.here(500_133, obo(&orders, BILLING)).await;
    world.clock.advance(91 * 86_400);
    it.here(700_082, refresh_form("web", &refresh, None)).await;
    world.clock.advance(-91 * 86_400 - 3_700);
    world.edit_user("ada", |user| user.account_enabled = false).await;
    it.here(50_057, refresh_form("web", &refresh, None)).await;
    world
        .edit_user("ada", |user| {
            user.account_enabled = true;
            user.sign_in_sessions_valid_from = Timestamp(NOON.0 + 1);
        })
        .await;
    it.here(50_173, refresh_form("web", &refresh, None)).await;
    world.delete(store::Key::User(CONTOSO, user("ada"))).await;
    it.here(50_034, refresh_form("web", &refresh, None)).await;

    let seen: BTreeSet<u32> = it.seen.keys().copied().collect();
    let specified: BTreeSet<u32> = SPECIFIED.iter().map(|row| row.0).filter(|code| *code != 50_049).collect();
    assert_eq!(seen, specified, "what is specified is provoked, and the reverse");
}

#[tokio::test]
async fn every_code_of_the_authorization_endpoint_comes_back_to_the_client_or_is_shown() {
    let world = World::with(|plan| {
        plan.others.push(Object::Policy(policy(&["billing"], GrantControls::mfa())));
    })
    .await;
    let mut browser = Browser::default();
    let params = |edits: &[(&'static str, Option<&str>)]| {
        edits.iter().fold(request("web", ORDERS_SCOPE), |params, (name, value)| but(params, name, *value))
    };
    let mut seen = BTreeSet::new();
    for (code, error, edits) in [
        (50_058, "login_required", vec![("prompt", Some("none"))]),
        (700_054, "unsupported_response_type", vec![("response_type", Some("token"))]),
        (50_147, "invalid_request", vec![("code_challenge", Some("short"))]),
    ] {
        let (_, back) = browser.authorize(&world, &params(&edits)).await.redirected();
        let description = back.value("error_description").unwrap_or_default();
        assert_eq!(back.value("error"), Some(error), "{description}");
        assert!(description.starts_with(&format!("AADSTS{code}: ")), "{description}");
        seen.insert(code);
    }
    for (code, path) in [
        (50_011, authorize_path(&params(&[("redirect_uri", Some("https://evil.example/cb"))]))),
        (50_194, authorize_path(&request("rival", ORDERS_SCOPE)).replace(&CONTOSO.to_string(), "common")),
        (50_059, format!("/common/adminconsent?client_id={}", app("web"))),
        (90_002, authorize_path(&params(&[])).replace(&CONTOSO.to_string(), "nowhere.example")),
    ] {
        let shown = browser.get(&world, &path).await;
        assert!(shown.page() && shown.text().contains(&format!("AADSTS{code}")), "{code}: {}", shown.text());
        seen.insert(code);
    }
    // Silently, the second factor that a policy demands can neither be set up nor, by who has one, be shown.
    let silent = params(&[("prompt", Some("none")), ("scope", Some(BILLING))]);
    let asking = params(&[("scope", Some(BILLING))]);
    browser.complete(&world, &params(&[]), "ada").await;
    seen.insert(interaction_required(&browser.authorize(&world, &silent).await));
    let page = browser.authorize(&world, &asking).await;
    let device = Device::scan(&page);
    let form = at_second_factor(&page, "enrol");
    let page = browser.submit(&world, &form, &[("code", &device.code(&world))]).await;
    assert!(browser.submit(&world, &at_second_factor(&page, "continue"), &[]).await.redirected().1.mentions("code"));
    let mut elsewhere = Browser::default();
    elsewhere.complete(&world, &params(&[]), "ada").await;
    seen.insert(interaction_required(&elsewhere.authorize(&world, &silent).await));
    // Somebody of another tenant is nobody here, and is told so on the page.
    let mut stranger = Browser::default();
    let page = stranger.authorize(&world, &params(&[])).await;
    let told = stranger.sign_in(&world, page, "ivan").await;
    assert!(told.page() && told.text().contains("AADSTS50020"), "{}", told.text());
    seen.insert(50_020);
    assert_eq!(seen, BTreeSet::from(SHOWN), "each of them, and no other");
}

/// The code of a silent request that only the person could help.
fn interaction_required(answer: &Answer) -> u32 {
    let (_, back) = answer.redirected();
    let description = back.value("error_description").unwrap_or_default();
    assert_eq!(back.value("error"), Some("interaction_required"), "{description}");
    description.strip_prefix("AADSTS").and_then(|rest| rest.split(':').next()).unwrap().parse().unwrap()
}

#[test]
fn every_code_has_its_place() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    for (code, file, words) in ELSEWHERE {
        let text = std::fs::read_to_string(here.join(file)).unwrap();
        assert!(text.contains(words), "{code} is not provoked by {file} any more");
    }
    let placed: BTreeSet<u32> =
        SPECIFIED.iter().map(|row| row.0).chain(ELSEWHERE.iter().map(|row| row.0)).chain(SHOWN).collect();
    for check in CheckId::ALL {
        let Some(code) = check.entry().aadsts else { continue };
        assert!(placed.contains(&code), "{check} answers with AADSTS{code}, which has no row here");
    }
    let answered: BTreeSet<u32> = CheckId::ALL.iter().filter_map(|check| check.entry().aadsts).collect();
    assert_eq!(placed, answered, "rows without a check");
    for (code, why) in NEVER {
        assert!(!answered.contains(code), "AADSTS{code} is answered: {why}");
    }
}
