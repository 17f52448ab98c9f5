//! Conditional access: who, what, from where, how and how long ago; X-16 and the contexts that come and go with policies.
use crate::world::estate::{State, defining, on, policy};
use crate::world::{World, altered, app, claims, form, obo, parameter, refused, request, user};
use decision::{CheckId, Timestamp};
use deputize_core::authorize::{Answer, Browser};
use deputize_core::id::ObjectId;
use deputize_core::ledger::Write;
use deputize_core::model::{
    ClientAppType, Conditions, DirectoryRole, GrantControls, Locations, NamedLocation, Operator, Place, Policy,
    PolicyState, SessionControls, Users,
};
use oauth::{Form, Secret};
use serde_json::json;

const SCOPE: &str = "api://orders/access_as_user openid offline_access";
const DOWN: &str = "api://billing/Invoices.Read";

fn with(policies: Vec<Policy>) -> World {
    let world = World::new();
    world.estate.edit(|estate: &mut State| estate.objects.policies.extend(policies));
    world
}

fn claims_of(refusal: &deputize_core::token_endpoint::Refusal) -> String {
    refusal.body.claims.clone().unwrap()
}

fn session_controls(json: serde_json::Value) -> SessionControls {
    serde_json::from_value(json).unwrap()
}

fn sessions(json: serde_json::Value) -> Policy {
    Policy { session_controls: session_controls(json), ..policy(&[], GrantControls::default()) }
}

#[test]
fn x_16_a_context_demanded_in_the_middle_of_the_chain_comes_back_as_claims_that_a_client_repairs() {
    let world = with(vec![policy(&["billing"], GrantControls::context("c1")), defining("c1", GrantControls::mfa())]);
    let browser = world.sign_in("ada");
    let asking = request("web", SCOPE);
    let weak = world.redeem("web", &world.code(&browser, "web", SCOPE)).unwrap();
    let refusal = world.obo("orders", &weak.access_token, DOWN).unwrap_err();
    assert_eq!((refusal.body.error.as_str(), refusal.check), ("interaction_required", CheckId::ContextSatisfied));
    assert_eq!(
        (refusal.body.suberror.as_deref(), &refusal.body.error_codes[..]),
        (Some("basic_action"), &[50_076][..])
    );
    let challenge = claims_of(&refusal);
    assert_eq!(challenge, r#"{"access_token":{"acrs":{"essential":true,"value":"c1"}}}"#);
    // The client asks with the same claims: the person shows a second factor, in the session they have.
    let asking = altered(&asking, &[("claims", &challenge)]);
    let (answer, stronger) = world.step_up(&asking, &browser, &mut None);
    assert_eq!(world.session(&stronger).id, world.session(&browser).id);
    let strong = world.redeem("web", &parameter(&answer, "code").unwrap()).unwrap();
    assert_eq!(claims(&strong.access_token)["acrs"], json!(["c1"]));
    let down = world.obo("orders", &strong.access_token, DOWN).unwrap();
    assert_eq!(claims(&down.access_token)["acrs"], json!(["c1"]));
    // Resources of the native profile read RFC 9470's claims.
    world.estate.edit(|estate| estate.app("orders").deputize.resource_profile = deputize_core::model::Profile::Native);
    let native = world.redeem("web", &world.code(&stronger, "web", SCOPE)).unwrap().access_token;
    assert_eq!((&claims(&native)["acr"], claims(&native)["auth_time"].is_i64()), (&json!("c1"), true));
    world.estate.edit(|estate| estate.app("orders").deputize.resource_profile = deputize_core::model::Profile::Entra);
    // What was got before proves what it did before, also for who stole it.
    assert_eq!(refused(world.obo("orders", &weak.access_token, DOWN)), CheckId::ContextSatisfied);
    let refreshed = world.refresh("web", &weak.refresh_token.unwrap()).unwrap();
    assert_eq!(claims(&refreshed.access_token).get("acrs"), None);
    assert_eq!(refused(world.obo("orders", &refreshed.access_token, DOWN)), CheckId::ContextSatisfied);
    let refreshed = world.refresh("web", &strong.refresh_token.unwrap()).unwrap();
    assert!(world.obo("orders", &refreshed.access_token, DOWN).is_ok());
}

#[test]
fn x_16_a_policy_of_the_downstream_api_is_named_and_met_at_the_client() {
    let world = with(vec![policy(&["billing"], GrantControls::mfa())]);
    let browser = world.sign_in("ada");
    let weak = world.redeem("web", &world.code(&browser, "web", SCOPE)).unwrap().access_token;
    let refusal = world.obo("orders", &weak, DOWN).unwrap_err();
    assert_eq!((refusal.check, &refusal.body.error_codes[..]), (CheckId::MfaEnrolled, &[50_079][..]));
    let challenge = claims_of(&refusal);
    assert!(challenge.contains("polids"), "{challenge}");
    assert!(
        parameter(&world.authorize(&request("web", SCOPE), &browser), "code").is_some(),
        "Orders itself asks nothing"
    );
    let asking = altered(&request("web", SCOPE), &[("claims", &challenge)]);
    let mut device = None;
    let (answer, _) = world.step_up(&asking, &browser, &mut device);
    let strong = world.redeem("web", &parameter(&answer, "code").unwrap()).unwrap().access_token;
    assert!(world.obo("orders", &strong, DOWN).is_ok());
    // Who has a second factor and did not show it is told so.
    let weak = world.tokens("ada", "web", SCOPE).access_token;
    let refusal = world.obo("orders", &weak, DOWN).unwrap_err();
    assert_eq!((refusal.check, &refusal.body.error_codes[..]), (CheckId::MfaSatisfied, &[50_076][..]));
    // A challenge of a policy that is gone asks nothing, and refuses nobody.
    world.estate.edit(|estate| estate.objects.policies.clear());
    assert!(parameter(&world.authorize(&asking, &world.sign_in("bob")), "code").is_some());
}

#[test]
fn x_16_nobody_agrees_to_anything_before_they_have_shown_what_policies_demand() {
    let world = with(vec![policy(&["orders"], GrantControls::mfa())]);
    let asking = request("web", "api://orders/Orders.Write");
    let browser = world.sign_in("ada");
    assert!(matches!(world.authorize(&asking, &browser), Answer::SecondFactor(_)));
    let (answer, _) = world.step_up(&asking, &browser, &mut None);
    assert!(matches!(answer, Answer::Consent(_)), "{answer:?}");
    let world = with(vec![policy(&["orders"], GrantControls::block())]);
    let answer = world.authorize(&asking, &world.sign_in("ada"));
    assert_eq!(parameter(&answer, "error").as_deref(), Some("interaction_required"), "{answer:?}");
    assert!(parameter(&answer, "error_description").unwrap().starts_with("AADSTS53003: "));
}

#[test]
fn a_context_means_what_its_policies_say_and_nothing_where_none_does() {
    let essential = r#"{"access_token":{"acrs":{"essential":true,"value":"c1"}}}"#;
    let asking = altered(&request("web", SCOPE), &[("claims", essential)]);
    let error = |world: &World, asking: &Form| {
        let answer = world.authorize(asking, &world.sign_in("ada"));
        parameter(&answer, "error").unwrap_or_else(|| format!("{answer:?}"))
    };
    let nobody_says = World::new();
    assert_eq!(error(&nobody_says, &asking), "interaction_required");
    let acr_values = altered(&request("web", SCOPE), &[("acr_values", "c1 urn:other")]);
    assert_eq!(error(&nobody_says, &acr_values), "unmet_authentication_requirements");
    let unknown = altered(&request("web", SCOPE), &[("acr_values", "urn:mace:incommon:iap:silver")]);
    assert!(parameter(&nobody_says.authorize(&unknown, &nobody_says.sign_in("ada")), "code").is_some(), "voluntary");
    for state in [PolicyState::Disabled, PolicyState::EnabledForReportingButNotEnforced] {
        let off = with(vec![Policy { state, ..defining("c1", GrantControls::default()) }]);
        assert_eq!(error(&off, &asking), "interaction_required", "{state:?}");
    }
    let blocked = with(vec![defining("c1", GrantControls::block())]);
    assert_eq!(error(&blocked, &asking), "interaction_required");
    // Defined, but sparing Ada: she has it without showing anything. Another policy of the same context still binds.
    let mut sparing = defining("c1", GrantControls::mfa());
    sparing.conditions.users.exclude_users.push(user("ada"));
    let world = with(vec![sparing.clone()]);
    let token = world.redeem("web", &parameter(&world.authorize(&asking, &world.sign_in("ada")), "code").unwrap());
    assert_eq!(claims(&token.unwrap().access_token)["acrs"], json!(["c1"]));
    assert!(matches!(world.authorize(&asking, &world.sign_in("bob")), Answer::SecondFactor(_)));
    let world = with(vec![sparing, defining("c1", GrantControls::mfa())]);
    assert!(matches!(world.authorize(&asking, &world.sign_in("ada")), Answer::SecondFactor(_)));
    // A policy about contexts is about no resource.
    assert!(parameter(&world.authorize(&request("web", SCOPE), &world.sign_in("ada")), "code").is_some());
    // RFC 9470: one of several is enough, and the code carries the demand to where it is redeemed.
    let world = with(vec![defining("c2", GrantControls::mfa())]);
    let several = altered(&request("web", SCOPE), &[("acr_values", "c7 c2")]);
    let (answer, _) = world.step_up(&several, &world.sign_in("ada"), &mut None);
    let code = parameter(&answer, "code").unwrap();
    world.estate.edit(|estate| estate.objects.policies.clear());
    assert_eq!(refused(world.redeem("web", &code)), CheckId::ContextSatisfied, "never skipped");
}

#[test]
fn one_demand_or_all() {
    let both = GrantControls { authentication_context: Some("c1".into()), ..GrantControls::mfa() };
    let mut easy = defining("c1", GrantControls::mfa());
    easy.conditions.users.exclude_users.push(user("ada"));
    for (operator, passes) in [(Operator::Or, true), (Operator::And, false)] {
        let world = with(vec![policy(&["orders"], GrantControls { operator, ..both.clone() }), easy.clone()]);
        let answer = world.authorize(&request("web", SCOPE), &world.sign_in("ada"));
        assert_eq!(parameter(&answer, "code").is_some(), passes, "{operator:?}: {answer:?}");
    }
}

fn office() -> NamedLocation {
    serde_json::from_value(json!({
        "id": uuid::Uuid::from_u128(0x0f_f1ce), "displayName": "Office", "isTrusted": true,
        "ipRanges": [{"cidrAddress": "198.51.100.0/24"}, {"cidrAddress": "2001:db8::/32"}],
    }))
    .unwrap()
}

fn outside(include: Vec<Place>, exclude: Vec<Place>, controls: GrantControls) -> World {
    let conditions = Conditions {
        locations: Some(Locations { include_locations: include, exclude_locations: exclude }),
        ..on(&["orders"])
    };
    let world = with(vec![Policy { conditions, ..policy(&[], controls) }]);
    world.estate.edit(|estate| estate.tenant().named_locations.push(office()));
    world
}

fn at(world: &World, name: &str, address: Option<&str>) -> Browser {
    Browser { address: address.map(|text| text.parse().unwrap()), ..world.sign_in(name) }
}

#[test]
fn a_network_is_where_the_users_browser_is_and_an_unknown_one_is_none_that_is_trusted() {
    let named = Place::Named(office().id);
    let (near, six, mapped) = (Some("198.51.100.7"), Some("2001:db8::7"), Some("::ffff:198.51.100.7"));
    let far = Some("203.0.113.9");
    for (what, include, exclude, blocked, free) in [
        ("all", vec![Place::All], vec![], vec![near, six, mapped, far, None], vec![]),
        ("all but trusted", vec![Place::All], vec![Place::AllTrusted], vec![far, None], vec![near, six, mapped]),
        ("all but one", vec![], vec![named], vec![far, None], vec![near, six, mapped]),
        ("one", vec![named], vec![], vec![near, six, mapped, None], vec![far]),
        ("another", vec![Place::Named(ObjectId::default())], vec![], vec![None], vec![near, far]),
    ] {
        let world = outside(include, exclude, GrantControls::block());
        for (addresses, free) in [(blocked, false), (free, true)] {
            for address in addresses {
                let answer = world.authorize(&request("web", SCOPE), &at(&world, "ada", address));
                assert_eq!(parameter(&answer, "code").is_some(), free, "{what}: {address:?}: {answer:?}");
            }
        }
    }
}

#[test]
fn servers_act_from_where_the_users_browser_was_last_seen_and_devices_from_where_they_are() {
    let world = outside(vec![Place::All], vec![Place::AllTrusted], GrantControls::block());
    let office = at(&world, "ada", Some("198.51.100.7"));
    let to_redeem = |code: &str, name: &str, redirect: &str| {
        let base = [("grant_type", "authorization_code"), ("code", code), ("redirect_uri", redirect)];
        let app_id = app(name).to_string();
        let secret = crate::world::estate::secret(name);
        let mut all: Vec<(&str, &str)> = base.to_vec();
        all.extend([("code_verifier", crate::world::VERIFIER), ("client_id", &app_id)]);
        if name == "web" {
            all.push(("client_secret", &secret));
        }
        form(&all)
    };
    // A server may be anywhere.
    let code = world.code(&office, "web", SCOPE);
    let tokens = world.token_seen_at("203.0.113.9", &to_redeem(&code, "web", crate::world::WEB_REDIRECT)).unwrap();
    // A device that took the code elsewhere is elsewhere.
    let code = world.code(&office, "phone", SCOPE);
    let form = to_redeem(&code, "phone", crate::world::PHONE_REDIRECT);
    assert_eq!(refused(world.token_seen_at("203.0.113.9", &form)), CheckId::AccessNotBlocked);
    assert!(world.token_seen_at("198.51.100.8", &form).is_ok());
    // The same browser, at home: it gets nothing there, and until it is seen elsewhere its server goes on.
    let home = Browser { address: Some("203.0.113.9".parse().unwrap()), ..office.clone() };
    assert_eq!(
        parameter(&world.authorize(&request("web", SCOPE), &home), "error").as_deref(),
        Some("interaction_required")
    );
    let refresh = tokens.refresh_token.unwrap();
    assert!(world.refresh("web", &refresh).is_ok());
    assert!(parameter(&world.authorize(&request("web", DOWN), &home), "code").is_some(), "Billing has no such policy");
    assert_eq!(world.session(&home).address, home.address);
    assert_eq!(refused(world.refresh("web", &refresh)), CheckId::AccessNotBlocked, "it was seen there");
}

#[test]
fn a_policy_binds_the_kinds_of_client_that_it_names() {
    use ClientAppType::{Browser, MobileAppsAndDesktopClients as Native, Other};
    let of = |kinds: &[ClientAppType]| {
        let conditions = Conditions { client_app_types: kinds.to_vec(), ..on(&["orders"]) };
        with(vec![Policy { conditions, ..policy(&[], GrantControls::block()) }])
    };
    for (kinds, web, phone) in
        [(vec![], true, true), (vec![Browser], true, false), (vec![Native], false, true), (vec![Other], false, false)]
    {
        let world = of(&kinds);
        for (name, blocked) in [("web", web), ("phone", phone)] {
            let answer = world.authorize(&request(name, SCOPE), &world.sign_in("ada"));
            assert_eq!(parameter(&answer, "code").is_none(), blocked, "{kinds:?}: {name}: {answer:?}");
        }
    }
    // In a chain, the client that it began with counts, not the API in the middle.
    let world = World::new();
    let token = |name| world.tokens("ada", name, SCOPE).access_token;
    let (web, phone) = (token("web"), token("phone"));
    let conditions = Conditions { client_app_types: vec![Browser], ..on(&["billing"]) };
    world.estate.edit(|e| e.objects.policies.push(Policy { conditions, ..policy(&[], GrantControls::block()) }));
    assert_eq!(refused(world.obo("orders", &web, DOWN)), CheckId::AccessNotBlocked);
    assert!(world.obo("orders", &phone, DOWN).is_ok());
    // An application of both kinds is of both, and through one that is gone nothing comes.
    world.estate.edit(|e| e.app("phone").web.redirect_uris.push("https://phone.example".into()));
    assert_eq!(refused(world.obo("orders", &phone, DOWN)), CheckId::AccessNotBlocked);
    world.estate.edit(|e| e.objects.principals.retain(|known| known.app_id != app("phone")));
    assert_eq!(refused(world.obo("orders", &phone, DOWN)), CheckId::UserNotRevoked);
}

#[test]
fn programs_that_act_as_themselves_are_bound_where_a_policy_says_so() {
    let ask = [("grant_type", "client_credentials"), ("scope", "api://billing/.default")];
    let (id, secret) = (app("daemon").to_string(), crate::world::estate::secret("daemon"));
    let form = form(&[ask.as_slice(), &[("client_id", &id), ("client_secret", &secret)]].concat());
    let people = with(vec![policy(&[], GrantControls::block()), policy(&["billing"], GrantControls::mfa())]);
    assert!(people.token_as("daemon", &ask).is_ok(), "policies about people are about people");
    let mut conditions = Conditions { client_app_types: vec![ClientAppType::Other], ..on(&["billing"]) };
    let world = with(vec![Policy { conditions: conditions.clone(), ..policy(&[], GrantControls::mfa()) }]);
    assert_eq!(refused(world.token_as("daemon", &ask)), CheckId::AccessNotBlocked, "a program has no second factor");
    conditions.locations =
        Some(Locations { include_locations: vec![Place::All], exclude_locations: vec![Place::AllTrusted] });
    let world = with(vec![Policy { conditions: conditions.clone(), ..policy(&[], GrantControls::block()) }]);
    world.estate.edit(|estate| estate.tenant().named_locations.push(office()));
    assert_eq!(refused(world.token_seen_at("203.0.113.9", &form)), CheckId::AccessNotBlocked);
    assert!(world.token_seen_at("198.51.100.9", &form).is_ok());
    assert_eq!(refused(world.token_as("daemon", &ask)), CheckId::AccessNotBlocked, "from nowhere");
    conditions.users.include_users.push(user("ada"));
    let world = with(vec![Policy { conditions, ..policy(&[], GrantControls::block()) }]);
    assert!(world.token_as("daemon", &ask).is_ok(), "Ada is no program");
}

#[test]
fn a_policy_binds_the_directory_roles_that_it_names() {
    let role = vec![DirectoryRole::GlobalAdministrator];
    for (users, admin, other) in [
        (Users { include_roles: role.clone(), ..Users::default() }, true, false),
        (Users { exclude_roles: role, ..Users::default() }, false, true),
    ] {
        let world = with(vec![Policy {
            conditions: Conditions { users, ..on(&["orders"]) },
            ..policy(&[], GrantControls::block())
        }]);
        for (name, blocked) in [("carol", admin), ("ada", other)] {
            let answer = world.authorize(&request("web", SCOPE), &world.sign_in(name));
            assert_eq!(parameter(&answer, "code").is_none(), blocked, "{name}");
        }
    }
}

#[test]
fn sign_in_frequency_binds_refresh_and_on_behalf_of_and_a_new_sign_in_mends_it() {
    let world = with(vec![sessions(json!({"signInFrequency": {"value": 1, "type": "hours"}}))]);
    let browser = world.sign_in("ada");
    let tokens = world.redeem("web", &world.code(&browser, "web", SCOPE)).unwrap();
    world.advance(3_600);
    assert!(world.refresh("web", tokens.refresh_token.as_ref().unwrap()).is_ok());
    world.advance(1);
    let refusal = world.refresh("web", tokens.refresh_token.as_ref().unwrap()).unwrap_err();
    assert_eq!(refusal.check, CheckId::SignInRecent);
    assert_eq!(
        (refusal.body.error.as_str(), refusal.body.suberror.as_deref(), &refusal.body.error_codes[..]),
        ("invalid_grant", Some("bad_token"), &[70_043][..])
    );
    let refusal = world.obo("orders", &tokens.access_token, DOWN).unwrap_err();
    assert_eq!(refusal.check, CheckId::SignInRecent);
    // The middle tier passes the claims back; the client's next request asks for the password again.
    let asking = altered(&request("web", SCOPE), &[("claims", &claims_of(&refusal))]);
    assert!(matches!(world.authorize(&asking, &browser), Answer::SignIn(_)));
    let quiet = altered(&asking, &[("prompt", "none")]);
    assert_eq!(parameter(&world.authorize(&quiet, &browser), "error").as_deref(), Some("interaction_required"));
    let again = Browser { fresh: true, ..world.sign_in("ada") };
    let code = parameter(&world.authorize(&asking, &again), "code").unwrap();
    let token = world.redeem("web", &code).unwrap().access_token;
    assert!(world.obo("orders", &token, DOWN).is_ok());
    // Who has just signed in and is still refused is not sent round in a circle.
    let future = format!(r#"{{"access_token":{{"nbf":{{"essential":true,"value":"{}"}}}}}}"#, world.now().0 + 60);
    let never = altered(&asking, &[("claims", &future)]);
    assert_eq!(parameter(&world.authorize(&never, &again), "error").as_deref(), Some("interaction_required"));
}

#[test]
fn every_time_is_each_time_and_a_switched_off_frequency_is_none() {
    let every = json!({"signInFrequency": {"frequencyInterval": "everyTime"}});
    let off = json!({"signInFrequency": {"isEnabled": false, "value": 1, "type": "hours"}});
    for (controls, seconds, good) in [(every.clone(), 300, true), (every, 301, false), (off, 80_000, true)] {
        let world = with(vec![sessions(controls)]);
        let browser = world.sign_in("ada");
        world.advance(seconds);
        assert_eq!(parameter(&world.authorize(&request("web", SCOPE), &browser), "code").is_some(), good, "{seconds}");
    }
}

#[test]
fn a_second_factor_gets_old_where_a_policy_says_so() {
    let controls =
        json!({"signInFrequency": {"value": 1, "type": "hours", "authenticationType": "secondaryAuthentication"}});
    let world = with(vec![Policy {
        session_controls: session_controls(controls),
        ..policy(&["billing"], GrantControls::mfa())
    }]);
    let (browser, mut device) = (world.sign_in("ada"), None);
    let asking = request("web", "api://billing/Invoices.Read");
    let (answer, browser) = world.step_up(&asking, &browser, &mut device);
    assert!(parameter(&answer, "code").is_some());
    let token = world.redeem("web", &world.code(&browser, "web", SCOPE)).unwrap().access_token;
    assert!(world.obo("orders", &token, DOWN).is_ok());
    world.advance(3_601);
    let refusal = world.obo("orders", &token, DOWN).unwrap_err();
    assert_eq!((refusal.check, &refusal.body.error_codes[..]), (CheckId::MfaCurrent, &[50_078][..]));
    let asking = altered(&request("web", SCOPE), &[("claims", &claims_of(&refusal))]);
    let (answer, _) = world.step_up(&asking, &browser, &mut device);
    let token = world.redeem("web", &parameter(&answer, "code").unwrap()).unwrap().access_token;
    assert!(world.obo("orders", &token, DOWN).is_ok());
}

#[test]
fn a_new_sign_in_is_asked_for_before_a_second_factor_that_it_would_undo() {
    let world = with(vec![
        policy(&["orders"], GrantControls::mfa()),
        sessions(json!({"signInFrequency": {"value": 1, "type": "hours"}})),
    ]);
    let (browser, mut device) = (world.sign_in("ada"), None);
    let (_, browser) = world.step_up(&request("web", SCOPE), &browser, &mut device);
    world.advance(3_601);
    assert!(matches!(world.authorize(&request("web", SCOPE), &browser), Answer::SignIn(_)));
    let again = Browser { fresh: true, ..world.sign_in("ada") };
    let (answer, _) = world.step_up(&request("web", SCOPE), &again, &mut device);
    assert!(parameter(&answer, "code").is_some(), "{answer:?}");
}

#[test]
fn nothing_outlives_the_lifetime_that_a_policy_gives_a_session() {
    let world = with(vec![sessions(json!({"sessionLifetime": {"value": 1, "type": "hours"}}))]);
    let browser = world.sign_in("ada");
    world.advance(1_800);
    let tokens = world.redeem("web", &world.code(&browser, "web", SCOPE)).unwrap();
    assert_eq!(tokens.expires_in, 1_800);
    let down = world.obo("orders", &tokens.access_token, DOWN).unwrap();
    assert_eq!(down.expires_in, 1_800);
    world.advance(1_800);
    assert_eq!(refused(world.refresh("web", tokens.refresh_token.as_ref().unwrap())), CheckId::RefreshCurrent);
    assert!(matches!(world.authorize(&request("web", SCOPE), &browser), Answer::SignIn(_)));
    let again = Browser { fresh: true, ..world.sign_in("ada") };
    assert!(parameter(&world.authorize(&request("web", SCOPE), &again), "code").is_some());
}

#[test]
fn a_policy_that_only_reports_refuses_nobody_and_is_remembered() {
    let state = PolicyState::EnabledForReportingButNotEnforced;
    let world = with(vec![
        Policy { state, ..policy(&["billing"], GrantControls::mfa()) },
        Policy { state, id: ObjectId(uuid::Uuid::from_u128(0xb10c)), ..policy(&["orders"], GrantControls::block()) },
    ]);
    let token = world.tokens("ada", "web", SCOPE).access_token;
    assert!(world.obo("orders", &token, DOWN).is_ok());
    let reported: Vec<_> = world.ledger.read(|state| {
        let records = state.audit.iter().filter(|record| record.action.starts_with("report only: policy "));
        records.map(|record| (record.resource, record.refused)).collect()
    });
    assert_eq!(
        reported,
        [(Some(app("orders")), Some(CheckId::AccessNotBlocked)), (Some(app("billing")), Some(CheckId::MfaEnrolled))]
    );
}

#[test]
fn x_01_a_session_that_ended_while_it_was_strengthened_stays_ended() {
    let world = with(vec![policy(&["orders"], GrantControls::mfa())]);
    let browser = world.sign_in("ada");
    let id = world.session(&browser).id;
    world.ledger.write(vec![Write::RevokeSession(id)]).unwrap();
    let amendment = deputize_core::ledger::Amendment {
        second_factor: Some((Timestamp(0), vec!["mfa".into()])),
        ..Default::default()
    };
    assert!(world.ledger.write(vec![Write::AmendSession(id, amendment)]).is_err());
}

#[test]
fn what_the_middle_tier_says_of_the_user_changes_nothing() {
    // Essential claims are demands, never evidence; and a client's own `acr_values` at the token endpoint are nothing.
    let world = with(vec![policy(&["billing"], GrantControls::mfa()), defining("c1", GrantControls::mfa())]);
    let token: Secret = world.tokens("ada", "web", SCOPE).access_token;
    for (name, value) in [
        ("claims", r#"{"access_token":{"amr":{"values":["mfa"]},"acrs":{"values":["c1"]}}}"#),
        ("acr_values", "c1"),
        ("amr", "mfa"),
    ] {
        let asked = [obo(token.expose(), DOWN).as_slice(), &[(name, value)]].concat();
        assert_eq!(refused(world.token_as("orders", &asked)), CheckId::MfaEnrolled, "{name}");
    }
}
