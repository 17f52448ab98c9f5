//! One decision, two observers; and what a refusal says.

use crate::common::{NOON, World, contract_with};
use decision::contract::{Claims, Presented, decide_claims};
use decision::{Collect, Outcome, Silent};
use deputize_guard::{CheckId, Held};
use serde_json::{Map, Value, json};
use testkit::Random;

/// Values that a claim may have, good and bad.
fn random_claims(random: &mut Random) -> Map<String, Value> {
    let now = NOON.0;
    let pool = [
        json!("user"),
        json!("app"),
        json!(""),
        json!(null),
        json!(7),
        json!(now),
        json!(now + 30),
        json!(now - 9_999),
        json!(now + 3_600),
        json!(1.5e9),
        json!([]),
        json!(["c1"]),
        json!(["Invoices.Reader", "Invoices.Export"]),
        json!([7]),
        json!("Invoices.Read"),
        json!("Invoices.Approve x"),
        json!({"sub": "a"}),
        json!({"sub": "a", "act": {"sub": "b"}}),
        json!({"act": {}}),
        json!(true),
        json!("1.0"),
        json!("api://orders"),
        json!(["api://billing", "x"]),
        json!(crate::common::TID),
        json!("2.0"),
    ];
    let names = [
        "iss",
        "sub",
        "aud",
        "exp",
        "iat",
        "nbf",
        "tid",
        "oid",
        "azp",
        "appid",
        "client_id",
        "scp",
        "scope",
        "roles",
        "acrs",
        "idtyp",
        "ver",
        "jti",
        "uti",
        "act",
        "cnf",
        "nonce",
    ];
    let mut claims = crate::common::claims();
    for _ in 0..random.below(5) {
        let name = random.pick(&names).unwrap();
        match random.below(4) {
            0 => claims.remove(*name),
            _ => claims.insert((*name).into(), random.pick(&pool).unwrap().clone()),
        };
    }
    claims
}

#[test]
fn the_silent_verdict_is_the_first_failure_that_the_collected_one_shows() {
    let contract = crate::common::contract();
    let native =
        contract_with("issuers", json!([{"issuer": crate::common::ISS, "tenants": "any", "profile": "native"}]));
    let routes = [
        ("GET", "/invoices"),
        ("POST", "/invoices/7/approve"),
        ("GET", "/export"),
        ("GET", "/whoami"),
        ("GET", "/unknown"),
    ];
    let (mut passed, mut failed) = (0, std::collections::BTreeSet::new());
    let mut random = Random::seeded(7);
    for round in 0..200_000 {
        let claims: Claims = serde_json::from_value(Value::Object(random_claims(&mut random))).unwrap();
        let (method, path) = random.pick(&routes).unwrap();
        let (contract, typ) = if round % 5 == 0 { (&native, "at+jwt") } else { (&contract, "JWT") };
        let token = Presented {
            typ: Some(typ),
            issuer: contract.issuers.first(),
            claims: &claims,
            certificate: None,
            key: None,
        };
        let route = contract.route(method, path);
        let mut all = Collect::default();
        let watched = decide_claims(&token, contract, route, NOON, &mut all);
        let silent = decide_claims(&token, contract, route, NOON, &mut Silent);
        assert_eq!(silent, watched, "round {round}: {claims:?}");
        assert_eq!(silent.err(), all.0.failed().map(|check| check.id), "round {round}: {claims:?}");
        match silent {
            Ok(()) => passed += 1,
            Err(check) => drop(failed.insert(check)),
        }
    }
    assert!(passed > 1_000, "{passed} passed");
    assert!(failed.len() >= 12, "{failed:?}");
}

fn refusal(world: &World, path: &str, changes: Value) -> (CheckId, String) {
    let refused = world.try_get(path, changes).unwrap_err();
    (refused.check(), refused.verdict().failed().unwrap().fix.to_string())
}

#[test]
fn refusals_name_the_check_and_the_mend() {
    let world = World::new();
    let cases = [
        (
            "/invoices",
            json!({"scp": "openid"}),
            CheckId::ScopeSufficient,
            "ask for a token with scope `api://billing/Invoices.Read`; from another API exchange it on behalf of the user",
        ),
        (
            "/invoices",
            json!({"roles": null}),
            CheckId::RoleSufficient,
            "assign user `aaaaaaaa-0000-4000-8000-00000000000a` the app role `Invoices.Reader` at `api://billing`, then get a new token",
        ),
        (
            "/export",
            json!({"idtyp": "app", "scp": null, "roles": ["Other"]}),
            CheckId::RoleSufficient,
            "assign application `orders` the app role `Invoices.Export` at `api://billing`, then get a new token",
        ),
        (
            "/invoices",
            json!({"aud": "orders-app-id", "azp": "web"}),
            CheckId::TokenAudience,
            "this token was issued to application `web` for `orders-app-id` and forwarded here; as `orders-app-id`, exchange it on \
             behalf of the user for one for `api://billing`; as a client, ask for a token for `api://billing`",
        ),
        (
            "/invoices",
            json!({"exp": NOON.plus(-61), "iat": NOON.plus(-3_600), "nbf": null}),
            CheckId::TokenExpired,
            "renew the token; it ended 61 s ago",
        ),
        ("/export", json!({}), CheckId::AppOnlyRequired, "call with client credentials"),
        (
            "/invoices",
            json!({"idtyp": "app", "scp": null, "roles": ["Invoices.Reader"]}),
            CheckId::UserRequired,
            "call on behalf of a user, not app-only",
        ),
        ("/nowhere", json!({}), CheckId::RouteKnown, "add the route to the contract"),
    ];
    for (path, changes, check, fix) in cases {
        assert_eq!(refusal(&world, path, changes.clone()), (check, fix.to_owned()), "{path} {changes}");
    }
}

#[test]
fn the_skew_is_exact_and_times_are_judged_on_every_hit() {
    let world = World::new();
    let changes = json!({"exp": NOON.plus(100), "nbf": NOON.plus(60)});
    assert!(world.try_get("/invoices", changes.clone()).is_ok());
    let token = world.token(changes);
    let call = || {
        world
            .guard
            .try_check(Some(&format!("Bearer {token}")), "GET", "/invoices")
            .unwrap()
            .map(drop)
            .map_err(|r| r.check())
    };
    assert_eq!(call(), Ok(()));
    world.clock.advance(159);
    assert_eq!(call(), Ok(()));
    world.clock.advance(1);
    assert_eq!(call(), Err(CheckId::TokenExpired));
    world.clock.advance(-161);
    assert_eq!(call(), Err(CheckId::TokenNotBefore));
    assert_eq!(
        world.guard.try_check(Some(&format!("Bearer {token}")), "GET", "/export").unwrap().unwrap_err().check(),
        CheckId::TokenNotBefore
    );
}

#[test]
fn a_client_that_is_not_listed_is_refused() {
    let world = World::with(contract_with("clients", json!(["web"])));
    assert_eq!(world.try_get("/invoices", json!({})).unwrap_err().check(), CheckId::TokenClient);
    assert!(world.try_get("/invoices", json!({"azp": "web"})).is_ok());
}

#[test]
fn a_principal_tells_who_calls_and_never_its_token() {
    let act = json!({"sub": "orders", "act": {"sub": "web"}});
    let caller = World::new().try_get("/invoices", json!({"act": act, "name": "Ada", "groups": ["g"]})).unwrap();
    assert_eq!(
        (caller.tid(), caller.app(), caller.sub(), caller.idtyp()),
        (Some(crate::common::TID), "orders", "pairwise", "user")
    );
    assert!(caller.has_scope("Invoices.Read") && caller.has_role("Invoices.Reader") && !caller.has_scope("Invoices"));
    assert_eq!(caller.actors().collect::<Vec<_>>(), ["orders", "web"]);
    assert_eq!((caller.expires(), caller.token_id(), caller.name()), (NOON.plus(3_600), Some("jti-1"), Some("Ada")));
    assert_eq!(caller.all_claims()["groups"], json!(["g"]));
    assert!(!format!("{caller:?}").contains(caller.token().expose()));
}

#[tokio::test]
async fn a_route_that_its_caller_found_is_demanded_beside_all_of_the_contract() {
    let world = World::new();
    let bearer = |changes: Value| format!("Bearer {}", world.token(changes));
    let route = |scope: &str| -> deputize_guard::Route {
        serde_json::from_value(json!({"method": "*", "path": "/*", "scopes": [scope]})).unwrap()
    };
    for (scope, changes, refused) in [
        ("Invoices.Read", json!({}), None),
        ("Invoices.Write", json!({}), Some(CheckId::ScopeSufficient)),
        ("Invoices.Read", json!({"aud": "api://other"}), Some(CheckId::TokenAudience)),
        (
            "Invoices.Read",
            json!({"exp": NOON.0 - 61, "iat": NOON.0 - 99, "nbf": NOON.0 - 99}),
            Some(CheckId::TokenExpired),
        ),
    ] {
        let (value, route) = (bearer(changes), route(scope));
        let at_once =
            world.guard.try_check_for(Some(&value), &route, Held::default()).unwrap().map(drop).map_err(|r| r.check());
        assert_eq!(at_once.err(), refused, "{scope}");
        let awaited =
            world.guard.check_for(Some(&value), &route, Held::default()).await.map(drop).map_err(|r| r.check());
        assert_eq!(awaited.err(), refused, "{scope}");
    }
    let nobody = world.guard.try_check_for(None, &route("Invoices.Read"), Held::default()).unwrap();
    assert_eq!(nobody.unwrap_err().check(), CheckId::TokenPresent);
}

#[tokio::test]
async fn t_03_a_token_that_was_seen_is_still_good_with_its_certificate_alone() {
    let world = World::new();
    let route: deputize_guard::Route =
        serde_json::from_value(json!({"method": "*", "path": "/*", "scopes": ["Invoices.Read"]})).unwrap();
    let value = format!("Bearer {}", world.token(json!({"cnf": {"x5t#S256": "AAA"}})));
    for (certificate, refused) in [
        (None, Some(CheckId::TokenBinding)),
        (Some("AAA"), None),
        (Some("BBB"), Some(CheckId::TokenBinding)),
        (None, Some(CheckId::TokenBinding)),
        (Some("AAA"), None),
    ] {
        let decided = world.guard.try_check_for(Some(&value), &route, Held { certificate, ..Held::default() }).unwrap();
        assert_eq!(decided.err().map(|refused| refused.check()), refused, "{certificate:?}");
    }
}

#[tokio::test]
async fn an_explanation_shows_every_check() {
    let world = World::new();
    let token = world
        .token(json!({"aud": "api://orders", "exp": NOON.plus(-100), "iat": NOON.plus(-200), "nbf": null, "scp": "x"}));
    let verdict = world.guard.explain(&token, "GET", "/invoices").await;
    let failed: Vec<_> = verdict.checks.iter().filter(|c| c.outcome == Outcome::Fail).map(|c| c.id).collect();
    assert_eq!(failed, [CheckId::TokenExpired, CheckId::TokenAudience, CheckId::ScopeSufficient]);
    assert!(verdict.checks.iter().any(|c| c.id == CheckId::TokenSignature && c.outcome == Outcome::Pass));

    // Advice on this token stands beside failures only.
    assert!(verdict.checks.iter().filter(|c| c.outcome == Outcome::Pass).all(|c| c.fix == c.id.entry().fix));

    let forged = World::new().token(json!({"scp": "x"}));
    let verdict = world.guard.explain(&forged, "GET", "/invoices").await;
    assert_eq!(verdict.failed().map(|c| c.id), Some(CheckId::TokenKey));
    assert!(verdict.checks.iter().any(|c| c.id == CheckId::ScopeSufficient && c.outcome == Outcome::Fail));
    let told_of = |id| verdict.checks.iter().filter(|c| c.id == id).map(|c| c.outcome).collect::<Vec<_>>();
    assert_eq!(told_of(CheckId::TokenIssuer), [Outcome::Pass]);
    assert_eq!(told_of(CheckId::TokenSignature), [Outcome::Skipped]);

    let stranger = world.token(json!({"iss": "https://login.example/stranger/v2.0"}));
    let verdict = world.guard.explain(&stranger, "GET", "/invoices").await;
    let failed: Vec<_> = verdict.checks.iter().filter(|c| c.outcome == Outcome::Fail).map(|c| c.id).collect();
    assert_eq!(failed, [CheckId::TokenIssuer]);
    assert_eq!(world.guard.explain("nonsense", "GET", "/").await.failed().map(|c| c.id), Some(CheckId::TokenForm));
}

/// What is told of one check.
async fn told(world: &World, changes: Value, path: &str, id: CheckId) -> (Outcome, String) {
    let verdict = world.guard.explain(&world.token(changes), "GET", path).await;
    let check = verdict.checks.into_iter().find(|check| check.id == id).expect("the check is told of");
    (check.outcome, check.actual)
}

#[tokio::test]
async fn a_tokens_end_is_told_as_it_lies() {
    let world = World::new();
    for (end, outcome, told_as) in [
        (3_600, Outcome::Pass, "ends 2027-01-15T09:00:00Z"),
        (0, Outcome::Pass, "ended 2027-01-15T08:00:00Z"),
        (-60, Outcome::Fail, "ended 2027-01-15T07:59:00Z"),
    ] {
        let changes = json!({"iat": NOON.plus(-600), "nbf": null, "exp": NOON.plus(end)});
        let found = told(&world, changes, "/invoices", CheckId::TokenExpired).await;
        assert_eq!(found, (outcome, told_as.to_owned()), "{end}");
    }
}

/// Rights are compared only where the token is of the kind that the route takes: `pass` beside a refusal would mislead.
#[tokio::test]
async fn rights_are_not_judged_of_the_wrong_kind_of_token() {
    let world = World::new();
    let app = json!({"idtyp": "app", "scp": null, "roles": ["Invoices.Reader"]});
    for (path, changes, kind, why) in [
        ("/invoices", app, CheckId::UserRequired, "this route is for a user's token, and this is an app-only token"),
        (
            "/export",
            json!({"roles": ["Invoices.Export"]}),
            CheckId::AppOnlyRequired,
            "this route is for an app-only token, and this is a user's token",
        ),
    ] {
        assert_eq!(told(&world, changes.clone(), path, kind).await.0, Outcome::Fail);
        for id in [CheckId::ScopeSufficient, CheckId::RoleSufficient, CheckId::ContextSufficient] {
            let found = told(&world, changes.clone(), path, id).await;
            assert_eq!(found, (Outcome::Skipped, why.to_owned()), "{path} {id}");
        }
    }
    let (outcome, found) = told(&world, json!({}), "/invoices", CheckId::RoleSufficient).await;
    assert_eq!((outcome, found.as_str()), (Outcome::Pass, "Invoices.Reader"));
}

#[test]
fn j_23_the_contracts_own_cap_on_size_holds() {
    let length = World::new().token(json!({})).len();
    let at = |cap: usize| World::with(contract_with("max_token_bytes", json!(cap))).try_get("/invoices", json!({}));
    assert!(at(length).is_ok());
    assert_eq!(at(length - 1).unwrap_err().check(), CheckId::TokenSize);
}

/// J-15: signed, and yet not what every reader reads alike.
#[tokio::test]
async fn j_15_claims_that_are_not_strict_are_told_of_and_not_judged() {
    let duplicates = |issuer: &jose::corpus::Issuer| jose::corpus::row(issuer, "J-15");
    let entry = crate::corpus::entry("entra", jose::corpus::Profile::ENTRA, duplicates);
    let mut seen = 0;
    for hostile in entry.tokens.iter().filter(|hostile| hostile.layer == jose::corpus::Layer::Jose) {
        let verdict = entry.guard.explain(&hostile.token, "GET", "/orders").await;
        if verdict.failed().expect("it is refused").id == CheckId::TokenClaims {
            let last = verdict.checks.last().map(|check| (check.id, check.outcome));
            assert_eq!(last, Some((CheckId::TokenClaims, Outcome::Fail)), "{}: {}", hostile.id, hostile.reason);
            seen += 1;
        }
    }
    assert!(seen >= 3, "{seen}");
}

#[test]
fn nothing_after_bearer_is_no_token() {
    let world = World::new();
    for authorization in [None, Some(""), Some("Bearer"), Some("Bearer "), Some("Basic YTpi")] {
        let refused = world.guard.try_check(authorization, "GET", "/invoices").unwrap().unwrap_err();
        assert_eq!(refused.check(), CheckId::TokenPresent, "{authorization:?}");
    }
}
