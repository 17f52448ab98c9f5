//! The decision's rules as tables: what is changed of a good token, and the check that fails.
use super::{Presented, decide_claims};
use crate::contract::{Claims, Contract};
use crate::{Check, CheckId, Collect, Silent, Timestamp};
use serde_json::{Value, json};

const NOW: i64 = 1_800_000_000;
const DAY: i64 = 86_400;

fn contract(profile: &str) -> Contract {
    let route = |path: &str, demands: Value| {
        let mut route = demands;
        (route["method"], route["path"]) = (json!("GET"), json!(path));
        route
    };
    serde_json::from_value(json!({
        "audiences": ["api://a"],
        "issuers": [
            {"issuer": "https://id.example/{tenantid}/v2.0", "metadata": "https://id.example/m", "tenants": "any", "profile": profile},
            {"issuer": "https://id.example", "profile": profile},
        ],
        "routes": [
            route("/any", json!({"authenticated_suffices": true, "subject": "either"})),
            route("/all", json!({"scopes": ["A"], "scopes_all": ["B", "C"]})),
            route("/only-all", json!({"scopes_all": ["B", "C"]})),
            route("/either", json!({"scopes": ["A"], "app_roles": ["R"], "acrs": ["c1", "c2"]})),
            route("/role", json!({"scopes": ["A"], "roles": ["R"]})),
            route("/app-scopes", json!({"scopes": ["A"], "subject": "app"})),
            route("/user", json!({"authenticated_suffices": true, "subject": "user"})),
            route("/app", json!({"authenticated_suffices": true, "subject": "app"})),
        ],
    }))
    .unwrap()
}

fn entra() -> Value {
    json!({"iss": "https://id.example/t/v2.0", "aud": "api://a", "iat": NOW, "nbf": NOW, "exp": NOW + 3_600, "tid": "t", "sub": "s",
        "oid": "o", "azp": "web", "scp": "A B C", "idtyp": "user", "ver": "2.0", "uti": "u"})
}

/// The least that RFC 9068 asks for.
fn native() -> Value {
    json!({"iss": "https://id.example", "aud": "api://a", "iat": NOW, "exp": NOW + 3_600, "sub": "s", "client_id": "web",
        "jti": "j", "scope": "A B C"})
}

/// `null` in a change removes the claim. Both observers must find the same.
fn decide(profile: &str, path: &str, changes: &Value) -> (Result<(), CheckId>, Vec<Check>) {
    let (contract, mut claims) = (contract(profile), if profile == "entra" { entra() } else { native() });
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        }
    }
    let claims: Claims = serde_json::from_value(claims).unwrap();
    let typ = Some(if profile == "entra" { "JWT" } else { "at+jwt" });
    let token = Presented { typ, issuer: contract.issuer_of(&claims), claims: &claims, certificate: None, key: None };
    let (route, now, mut all) = (contract.route("GET", path), Timestamp(NOW), Collect::default());
    let decided = decide_claims(&token, &contract, route, now, &mut all);
    assert_eq!(decide_claims(&token, &contract, route, now, &mut Silent), decided);
    assert_eq!(all.0.failed().map(|check| check.id), decided.err());
    (decided, all.0.checks)
}

fn judge(cases: &[(&str, &str, Value, Option<CheckId>)]) {
    for (profile, path, changes, failed) in cases {
        assert_eq!(decide(profile, path, changes).0.err(), *failed, "{profile} {path} {changes}");
    }
}

#[test]
fn j_26_each_profile_wants_its_own_claims_and_no_others() {
    let claims = Some(CheckId::TokenClaims);
    let mut cases = vec![
        ("entra", "/any", json!({}), None),
        ("entra", "/any", json!({"uti": null, "jti": "j"}), None),
        ("entra", "/any", json!({"uti": null}), claims),
        ("entra", "/any", json!({"ver": "1.0", "azp": null, "appid": "web"}), None),
        ("entra", "/any", json!({"ver": "1.0"}), claims),
        ("entra", "/any", json!({"ver": "3.0"}), claims),
        ("entra", "/any", json!({"appid": "other"}), claims),
        ("entra", "/any", json!({"scp": null, "roles": ["R"]}), claims),
        ("entra", "/any", json!({"idtyp": "app"}), claims),
        ("entra", "/any", json!({"idtyp": "app", "scp": null}), claims),
        ("entra", "/any", json!({"idtyp": "app", "scp": null, "roles": ["R"]}), None),
        ("entra", "/any", json!({"idtyp": null}), None),
        ("entra", "/any", json!({"idtyp": null, "scp": null}), claims),
        ("native", "/any", json!({}), None),
        ("native", "/any", json!({"ver": "1.0"}), None),
        ("native", "/any", json!({"ver": "3"}), None),
        ("native", "/any", json!({"scope": null, "roles": ["R"]}), None),
        ("native", "/any", json!({"scope": null}), claims),
        // An application's own, which other issuers give scopes.
        ("native", "/any", json!({"sub": "web"}), None),
        ("native", "/any", json!({"idtyp": "app"}), claims),
    ];
    for name in ["iss", "sub", "aud", "exp", "iat", "tid", "oid", "ver", "azp"] {
        let issuer = matches!(name, "iss" | "tid").then_some(CheckId::TokenIssuer);
        cases.push(("entra", "/any", json!({ name: null }), issuer.or(claims)));
    }
    for name in ["sub", "aud", "exp", "iat", "client_id", "jti"] {
        cases.push(("native", "/any", json!({ name: null }), claims));
    }
    for name in ["nbf", "scp", "scope", "roles", "acrs", "idtyp", "act", "azp"] {
        cases.push(("native", "/any", json!({ name: 1.5e300 }), claims));
    }
    judge(&cases);
}

#[test]
fn one_role_may_stand_alone_with_other_providers_and_what_is_no_role_says_nothing() {
    let role = |profile: &str, roles: Value| decide(profile, "/role", &json!({"roles": roles, "iat": NOW})).0;
    for profile in ["entra", "native"] {
        assert_eq!(role(profile, json!("R")), Err(CheckId::TokenClaims), "{profile}");
    }
    assert_eq!(role("jwt", json!("R")), Ok(()));
    assert_eq!(role("jwt", json!(["R"])), Ok(()));
    for roles in [json!("Q"), json!(""), json!(7), json!({"R": true}), json!([7])] {
        assert_eq!(role("jwt", roles.clone()), Err(CheckId::RoleSufficient), "{roles}");
    }
}

/// Tokens as other providers issue them: the header's `typ`, and the claims beside `iss`, `aud` and `exp`.
fn of_others() -> [(&'static str, Option<&'static str>, Value); 7] {
    [
        ("auth0", Some("JWT"), json!({"sub": "auth0|1", "iat": NOW, "azp": "web", "scope": "openid A B C"})),
        (
            "okta",
            None,
            json!({"sub": "a@b", "iat": NOW, "cid": "web", "uid": "1", "ver": 1, "jti": "AT.1", "scp": ["A", "B", "C"]}),
        ),
        (
            "keycloak",
            Some("JWT"),
            json!({"sub": "1", "iat": NOW, "typ": "Bearer", "azp": "web", "jti": "j", "acr": "1",
            "realm_access": {"roles": ["R"]}, "scope": "A B C"}),
        ),
        (
            "b2c",
            Some("JWT"),
            json!({"sub": "1", "iat": NOW, "nbf": NOW, "ver": "1.0", "tfp": "B2C_1_in", "azp": "web", "scp": "A B C"}),
        ),
        (
            "identityserver",
            Some("at+jwt"),
            json!({"sub": "1", "iat": NOW, "nbf": NOW, "client_id": "web", "scope": ["A", "B", "C"]}),
        ),
        (
            "adfs",
            Some("JWT"),
            json!({"sub": "1", "iat": NOW, "ver": "1.0", "appid": "web", "apptype": "Public", "scp": "A B C"}),
        ),
        ("the least", None, json!({"sub": "1"})),
    ]
}

fn decide_other(typ: Option<&str>, claims: &Value, path: &str) -> Result<(), CheckId> {
    decide_by(&contract("jwt"), typ, claims, path)
}

fn decide_by(contract: &Contract, typ: Option<&str>, claims: &Value, path: &str) -> Result<(), CheckId> {
    let mut whole = json!({"iss": "https://id.example", "aud": "api://a", "exp": NOW + 3_600});
    whole.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
    let claims: Claims = serde_json::from_value(whole).unwrap();
    let token = Presented { typ, issuer: contract.issuer_of(&claims), claims: &claims, certificate: None, key: None };
    let (route, mut all) = (contract.route("GET", path), Collect::default());
    let decided = decide_claims(&token, contract, route, Timestamp(NOW), &mut all);
    assert_eq!(decide_claims(&token, contract, route, Timestamp(NOW), &mut Silent), decided);
    decided
}

#[test]
fn a_context_stands_in_acr_too_where_it_is_not_entras() {
    let strong = |profile: &str, claims: Value| decide(profile, "/either", &claims).0;
    for (acr, expected) in [(json!(null), Err(CheckId::ContextSufficient)), (json!("c2"), Ok(()))] {
        assert_eq!(strong("native", json!({"acrs": ["c3"], "acr": acr})), expected, "{acr}");
    }
    assert_eq!(strong("entra", json!({"acrs": ["c3"], "acr": "c2"})), Err(CheckId::ContextSufficient));
    assert_eq!(strong("entra", json!({"acrs": ["c3", "c2"], "acr": "1"})), Ok(()));
}

#[test]
fn j_26_only_other_providers_leave_out_what_a_token_is() {
    for (profile, claims, expected) in [
        ("entra", entra(), Err(CheckId::TokenType)),
        ("native", native(), Err(CheckId::TokenType)),
        ("jwt", native(), Ok(())),
    ] {
        assert_eq!(decide_by(&contract(profile), None, &claims, "/any"), expected, "{profile}");
    }
}

#[test]
fn j_26_where_applications_are_listed_a_token_that_names_none_is_none_of_theirs() {
    let listed = Contract { clients: Some(vec!["web".into()]), ..contract("jwt") };
    for (client, expected) in
        [(json!("web"), Ok(())), (json!("other"), Err(CheckId::TokenClient)), (Value::Null, Err(CheckId::TokenClient))]
    {
        let mut claims = json!({"sub": "1", "scope": "A"});
        if !client.is_null() {
            claims["azp"] = client.clone();
        }
        assert_eq!(decide_by(&listed, None, &claims, "/any"), expected, "{client}");
    }
}

#[test]
fn j_26_tokens_of_other_providers_pass_by_their_own_profile_and_by_no_other() {
    for (whose, typ, claims) in of_others() {
        assert_eq!(decide_other(typ, &claims, "/any"), Ok(()), "{whose}");
        let has_scopes = claims.get("scp").or(claims.get("scope")).is_some();
        let expected = if has_scopes { Ok(()) } else { Err(CheckId::ScopeSufficient) };
        assert_eq!(decide_other(typ, &claims, "/all"), expected, "{whose}");
        let expected = if has_scopes { Ok(()) } else { Err(CheckId::UserRequired) };
        assert_eq!(decide_other(typ, &claims, "/user"), expected, "{whose}");
        assert_eq!(decide_other(typ, &claims, "/app"), Err(CheckId::AppOnlyRequired), "{whose}");
        for (name, value, failed) in [
            ("typ", json!("logout+jwt"), CheckId::TokenType),
            ("at_hash", json!("h"), CheckId::TokenType),
            ("events", json!({}), CheckId::TokenType),
            ("sub", json!(null), CheckId::TokenClaims),
            ("sub", json!(7), CheckId::TokenClaims),
            ("iat", json!("now"), CheckId::TokenClaims),
            ("iat", json!(NOW + 61), CheckId::TokenLifetime),
            ("exp", json!(NOW + DAY + 1), CheckId::TokenLifetime),
            ("exp", json!(NOW - 60), CheckId::TokenExpired),
            ("scope", json!(7), CheckId::TokenClaims),
            ("scp", json!(["A", 7]), CheckId::TokenClaims),
            ("scp", json!(["A B"]), CheckId::TokenClaims),
            ("aud", json!("api://b"), CheckId::TokenAudience),
            ("azp", json!(["web"]), CheckId::TokenClaims),
            ("cid", json!(["web"]), CheckId::TokenClaims),
        ] {
            let mut changed = claims.clone();
            let mut typ = typ;
            if name == "typ" {
                typ = Some("logout+jwt");
            } else {
                changed[name] = value.clone();
                // Without its beginning, a token is as young as it can be.
                if name == "exp" {
                    changed.as_object_mut().unwrap().remove("nbf");
                    changed["iat"] = json!(if failed == CheckId::TokenExpired { NOW - 600 } else { NOW });
                }
            }
            assert_eq!(decide_other(typ, &changed, "/any"), Err(failed), "{whose}: {name} {value}");
        }
    }
    let least = json!({"sub": "1", "exp": NOW - 59});
    assert_eq!(decide_other(None, &least, "/any"), Ok(()), "within the skew");
    assert_eq!(decide_other(None, &json!({"sub": "1", "exp": NOW - 60}), "/any"), Err(CheckId::TokenExpired));
    assert_eq!(decide_other(None, &json!({"sub": "1", "scope": ""}), "/any"), Ok(()));
    // Whose they are, where it shows.
    for sub in ["web", "web@clients"] {
        let own = json!({"sub": sub, "azp": "web", "scope": "A B C"});
        assert_eq!(decide_other(None, &own, "/app"), Ok(()), "{sub}");
        assert_eq!(decide_other(None, &own, "/user"), Err(CheckId::UserRequired), "{sub}");
    }
    for (claims, passes) in [
        (json!({"sub": "1", "nonce": "n", "scope": "A"}), true),
        (json!({"sub": "1", "nonce": "n", "scope": ""}), false),
        (json!({"sub": "1", "nonce": "n", "roles": ["A"]}), false),
    ] {
        let expected = if passes { Ok(()) } else { Err(CheckId::TokenType) };
        assert_eq!(decide_other(Some("JWT"), &claims, "/any"), expected, "{claims}");
    }
    let okta = json!({"sub": "web", "cid": "web", "ver": 1, "scp": ["A", "B", "C"]});
    assert_eq!(decide_other(None, &okta, "/app"), Ok(()));
    assert_eq!(decide_other(None, &okta, "/user"), Err(CheckId::UserRequired));
    // An ID token without a nonce, where the application's id is an audience, has no rights.
    let id = json!({"sub": "1", "iat": NOW, "azp": "api://a", "email": "a@b"});
    assert_eq!(decide_other(Some("JWT"), &id, "/any"), Err(CheckId::TokenType));
    let access = json!({"sub": "1", "iat": NOW, "azp": "api://a", "scp": "A"});
    assert_eq!(decide_other(Some("JWT"), &access, "/any"), Ok(()));
    // What the other profiles refuse they still do.
    judge(&[
        ("entra", "/any", json!({"scp": ["A"]}), Some(CheckId::TokenClaims)),
        ("native", "/any", json!({"scope": ["A"]}), Some(CheckId::TokenClaims)),
        ("native", "/any", json!({"scope": ""}), Some(CheckId::TokenClaims)),
    ]);
}

#[test]
fn j_16_times_are_judged_at_their_edges() {
    let (lifetime, early, late) = (CheckId::TokenLifetime, CheckId::TokenNotBefore, CheckId::TokenExpired);
    let at = |iat: i64, exp: i64| json!({"iat": NOW + iat, "nbf": null, "exp": NOW + exp});
    judge(&[
        ("entra", "/any", at(30, 30), Some(lifetime)),
        ("entra", "/any", at(30, 31), None),
        ("entra", "/any", at(60, 3_600), None),
        ("entra", "/any", at(61, 3_600), Some(lifetime)),
        ("native", "/any", at(0, DAY), None),
        ("native", "/any", at(0, DAY + 1), Some(lifetime)),
        ("entra", "/any", at(0, DAY + 1), None),
        ("entra", "/any", at(0, 28 * 3_600), None),
        ("entra", "/any", at(0, 28 * 3_600 + 1), Some(lifetime)),
        ("entra", "/any", at(-600, -59), None),
        ("entra", "/any", at(-600, -60), Some(late)),
        ("entra", "/any", json!({"nbf": NOW + 60}), None),
        ("entra", "/any", json!({"nbf": NOW + 61}), Some(early)),
        ("entra", "/any", json!({"nbf": NOW + 30, "exp": NOW + 30}), Some(lifetime)),
        ("entra", "/any", json!({"nbf": NOW + 30, "exp": NOW + 31}), None),
    ]);
}

#[test]
fn rights_are_those_that_the_route_names() {
    let (scope, role, context) = (CheckId::ScopeSufficient, CheckId::RoleSufficient, CheckId::ContextSufficient);
    let app = |roles: &[&str]| json!({"idtyp": "app", "scp": null, "roles": roles});
    judge(&[
        ("entra", "/all", json!({}), None),
        ("entra", "/all", json!({"scp": "B C"}), Some(scope)),
        ("entra", "/all", json!({"scp": "A B"}), Some(scope)),
        ("entra", "/all", json!({"scp": "A"}), Some(scope)),
        ("entra", "/only-all", json!({"scp": "B C"}), None),
        ("entra", "/only-all", json!({"scp": "C"}), Some(scope)),
        ("entra", "/either", json!({"acrs": ["c2", "c1"]}), None),
        ("entra", "/either", json!({"acrs": ["c1"]}), None),
        ("entra", "/either", json!({"acrs": ["c3", "c"]}), Some(context)),
        ("entra", "/either", json!({}), Some(context)),
        ("entra", "/either", json!({"scp": "B", "acrs": ["c1", "c2"]}), Some(scope)),
        // Roles of applications are no user's, contexts of users no application's.
        ("entra", "/either", json!({"scp": "B", "roles": ["R"], "acrs": ["c1", "c2"]}), Some(scope)),
        ("entra", "/either", app(&["R"]), None),
        ("entra", "/either", app(&["Q"]), Some(role)),
        ("native", "/app-scopes", json!({"sub": "web"}), None),
        ("native", "/app-scopes", json!({"sub": "web", "scope": "B"}), Some(scope)),
        ("native", "/app-scopes", json!({}), Some(CheckId::AppOnlyRequired)),
    ]);
}

#[test]
fn what_is_wrong_is_told_in_words() {
    let told = |path: &str, changes: Value, id: CheckId| {
        let (_, checks) = decide("entra", path, &changes);
        let check = checks.into_iter().find(|check| check.id == id).unwrap();
        (check.actual, check.fix.into_owned())
    };
    let (found, fix) = told("/all", json!({"scp": "C"}), CheckId::ScopeSufficient);
    assert!(found == "C" && fix.contains("scope `api://a/A` and `api://a/B`;"), "{found}: {fix}");
    let (found, fix) = told("/all", json!({"scp": "A C"}), CheckId::ScopeSufficient);
    assert!(found == "A C" && fix.contains("scope `api://a/B`;"), "{found}: {fix}");
    let (found, fix) = told("/any", json!({"oid": null, "sub": 1}), CheckId::TokenClaims);
    assert!(found == "`sub` is malformed, `oid` is missing" && fix.ends_with(&found), "{found}: {fix}");
    assert_eq!(told("/any", json!({}), CheckId::TokenClaims).0, "all sound");
    let (found, fix) = told("/any", json!({"aud": []}), CheckId::TokenAudience);
    assert!(found == "nothing" && fix == "ask for a token for `api://a`", "{found}: {fix}");
    let (found, fix) = told("/any", json!({"aud": ["api://b", "c"]}), CheckId::TokenAudience);
    assert!(found == "api://b c" && fix.contains("issued to application `web` for `api://b c`"), "{found}: {fix}");
    assert_eq!(told("/any", json!({"cnf": {}}), CheckId::TokenBinding).0, "present");
    assert_eq!(told("/any", json!({}), CheckId::TokenBinding).0, "absent");
    assert_eq!(told("/any", json!({}), CheckId::RoleSufficient).0, "none");
}

#[test]
fn t_03_a_bound_token_comes_with_the_certificate_that_it_is_bound_to() {
    let contract = contract("entra");
    let bound = json!({"x5t#S256": "AAA"});
    let both = json!({"x5t#S256": "AAA", "jkt": "AAA"});
    for (cnf, certificate, anywhere, where_demanded) in [
        (None, None, true, false),
        (None, Some("AAA"), true, false),
        (Some(bound.clone()), Some("AAA"), true, true),
        (Some(bound.clone()), Some("BBB"), false, false),
        (Some(bound), None, false, false),
        (Some(both), Some("AAA"), false, false),
        (Some(json!({"x5t#S256": ["AAA"]})), Some("AAA"), false, false),
        (Some(json!({"x5t#S256": ""})), Some(""), false, false),
        (Some(json!({"jkt": "AAA"})), Some("AAA"), false, false),
        (Some(json!({})), Some("AAA"), false, false),
        (Some(json!(null)), Some("AAA"), false, false),
        (Some(json!("AAA")), Some("AAA"), false, false),
        (Some(json!(["AAA"])), Some("AAA"), false, false),
        (Some(json!(1.5)), Some("AAA"), false, false),
    ] {
        let mut all = entra();
        if let Some(cnf) = &cnf {
            all["cnf"] = cnf.clone();
        }
        let claims: Claims = serde_json::from_value(all).unwrap();
        let token = Presented {
            typ: Some("JWT"),
            issuer: contract.issuer_of(&claims),
            claims: &claims,
            certificate,
            key: None,
        };
        for (demanded, passes) in [(false, anywhere), (true, where_demanded)] {
            let route = super::Route { certificate_bound: demanded, ..contract.route("GET", "/any").unwrap().clone() };
            let decided = decide_claims(&token, &contract, Some(&route), Timestamp(NOW), &mut Silent);
            let expected = if passes { Ok(()) } else { Err(CheckId::TokenBinding) };
            assert_eq!(decided, expected, "{cnf:?} {certificate:?} {demanded}");
            let watched = decide_claims(&token, &contract, Some(&route), Timestamp(NOW), &mut Collect::default());
            assert_eq!(watched, decided, "{cnf:?} {certificate:?} {demanded}");
        }
    }
}

#[test]
fn j_21_a_token_that_is_bound_to_a_key_comes_with_that_key_and_no_other_token_does() {
    let contract = contract("entra");
    let (of_key, of_certificate) = (json!({"jkt": "AAA"}), json!({"x5t#S256": "AAA"}));
    for (cnf, key, certificate, anywhere, where_demanded) in [
        (None, None, None, true, false),
        (None, Some("AAA"), None, false, false),
        (Some(of_key.clone()), Some("AAA"), None, true, true),
        (Some(of_key.clone()), Some("AAA"), Some("BBB"), true, true),
        (Some(of_key.clone()), Some("BBB"), None, false, false),
        (Some(of_key.clone()), None, Some("AAA"), false, false),
        (Some(of_key), None, None, false, false),
        (Some(of_certificate.clone()), None, Some("AAA"), true, false),
        (Some(of_certificate.clone()), Some("AAA"), Some("AAA"), false, false),
        (Some(of_certificate), Some("AAA"), None, false, false),
        (Some(json!({"jkt": "AAA", "x5t#S256": "AAA"})), Some("AAA"), Some("AAA"), false, false),
        (Some(json!({"jkt": ["AAA"]})), Some("AAA"), None, false, false),
        (Some(json!({"jkt": "AAA", "kid": "AAA"})), Some("AAA"), None, false, false),
        (Some(json!({"jwk": {}})), Some("AAA"), None, false, false),
        (Some(json!({})), Some("AAA"), None, false, false),
    ] {
        let mut all = entra();
        if let Some(cnf) = &cnf {
            all["cnf"] = cnf.clone();
        }
        let claims: Claims = serde_json::from_value(all).unwrap();
        let issuer = contract.issuer_of(&claims);
        let token = Presented { typ: Some("JWT"), issuer, claims: &claims, certificate, key };
        for (demanded, passes) in [(false, anywhere), (true, where_demanded)] {
            let route = super::Route { key_bound: demanded, ..contract.route("GET", "/any").unwrap().clone() };
            let decided = decide_claims(&token, &contract, Some(&route), Timestamp(NOW), &mut Silent);
            let expected = if passes { Ok(()) } else { Err(CheckId::TokenBinding) };
            assert_eq!(decided, expected, "{cnf:?} {key:?} {certificate:?} {demanded}");
            let watched = decide_claims(&token, &contract, Some(&route), Timestamp(NOW), &mut Collect::default());
            assert_eq!(watched, decided, "{cnf:?} {key:?} {certificate:?} {demanded}");
        }
        let both =
            super::Route { key_bound: true, certificate_bound: true, ..contract.route("GET", "/any").unwrap().clone() };
        let decided = decide_claims(&token, &contract, Some(&both), Timestamp(NOW), &mut Silent);
        assert_eq!(decided, Err(CheckId::TokenBinding), "{cnf:?}: no token is bound to both");
    }
}

/// J-19: also a caller who pairs a token with the wrong entry of the contract gets nothing by it.
#[test]
fn j_19_a_token_is_judged_by_its_own_issuers_entry() {
    let contract = contract("entra");
    let mut claims = entra();
    claims["iss"] = json!("https://evil.example/t/v2.0");
    let claims: Claims = serde_json::from_value(claims).unwrap();
    let token =
        Presented { typ: Some("JWT"), issuer: contract.issuers.first(), claims: &claims, certificate: None, key: None };
    let decided = decide_claims(&token, &contract, contract.route("GET", "/any"), Timestamp(NOW), &mut Silent);
    assert_eq!(decided, Err(CheckId::TokenTenant));
}

#[test]
fn a_token_without_scopes_and_roles_passes_only_where_the_api_has_a_list_and_the_route_asks_for_nothing() {
    let bare = |idtyp: Value| {
        let mut claims = entra();
        (claims["scp"], claims["idtyp"]) = (Value::Null, idtyp);
        claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        serde_json::from_value::<Claims>(claims).unwrap()
    };
    for (idtyp, passes) in [(Value::Null, true), (json!("app"), true), (json!("user"), false), (json!("other"), false)]
    {
        for by_list in [false, true] {
            let contract = Contract { authorized_by_list: by_list, ..contract("entra") };
            let claims = bare(idtyp.clone());
            let token = Presented {
                typ: Some("JWT"),
                issuer: contract.issuer_of(&claims),
                claims: &claims,
                certificate: None,
                key: None,
            };
            for path in ["/any", "/all", "/either"] {
                let route = contract.route("GET", path);
                let decided = decide_claims(&token, &contract, route, Timestamp(NOW), &mut Silent);
                assert_eq!(
                    decided.is_ok(),
                    by_list && passes && path == "/any",
                    "{idtyp} {by_list} {path}: {decided:?}"
                );
                let watched = decide_claims(&token, &contract, route, Timestamp(NOW), &mut Collect::default());
                assert_eq!(watched, decided, "{idtyp} {by_list} {path}");
            }
        }
    }
}
