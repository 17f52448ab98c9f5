//! What applications may have their tokens say: optional claims, groups, lifetimes; and what no option changes.
use crate::world::estate::{CONTOSO, FABRIKAM, State, principal, role, secret};
use crate::world::{HOST, NOON, World, app, claims, form, now_or_never, obo, refused, request, user};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use decision::CheckId;
use deputize_core::authorize::{Answer, Browser};
use deputize_core::denial::Denial;
use deputize_core::id::GroupId;
use deputize_core::member_objects::member_objects;
use deputize_core::model::{
    Assignee, ClaimName, Group, GroupMembershipClaims, OptionalClaim, RoleAssignment, TimeSpan, TokenLifetimePolicy,
};
use oauth::Secret;
use serde_json::json;
use uuid::Uuid;

const BILLING: &str = "api://billing/Invoices.Read openid";
const ORDERS: &str = "api://orders/access_as_user openid";
const EVERY: [ClaimName; 15] = [
    ClaimName::Acct,
    ClaimName::Acrs,
    ClaimName::Aud,
    ClaimName::AuthTime,
    ClaimName::Email,
    ClaimName::FamilyName,
    ClaimName::GivenName,
    ClaimName::Groups,
    ClaimName::Idtyp,
    ClaimName::Ipaddr,
    ClaimName::LoginHint,
    ClaimName::PreferredUsername,
    ClaimName::Sid,
    ClaimName::Upn,
    ClaimName::XmsCc,
];

fn wanted(names: &[ClaimName]) -> Vec<OptionalClaim> {
    let claim = |name: &ClaimName| OptionalClaim { name: *name, additional_properties: Vec::new(), essential: false };
    names.iter().map(claim).collect()
}

fn group(n: u128) -> GroupId {
    GroupId(Uuid::from_u128(0x9000 + n))
}

/// Ada in so many groups more.
fn groups(state: &mut State, count: u128) {
    let one = |n| Group {
        id: group(n),
        tenant: CONTOSO,
        display_name: format!("group {n}"),
        members: vec![user("ada"), user("bob")],
    };
    state.groups.extend((0..count).map(one));
}

fn assign(state: &mut State, n: u128, resource: &str, value: &str) {
    state.objects.assignments.push(RoleAssignment {
        tenant: CONTOSO,
        assignee: Assignee::Group(group(n)),
        resource_id: principal(resource),
        app_role_id: role(value),
    });
}

fn asked(world: &World, tenant: &str, of: &str, token: &Secret) -> Result<Vec<GroupId>, Denial> {
    now_or_never(member_objects(&world.ports, tenant, of, token.expose()))
}

#[test]
fn access_tokens_follow_their_resource_and_id_tokens_their_client() {
    let world = World::new();
    world.estate.edit(|state| {
        state.app("billing").optional_claims.access_token = wanted(&EVERY);
        state.app("web").optional_claims.id_token = wanted(&[ClaimName::Email, ClaimName::Acct, ClaimName::GivenName]);
    });
    let browser = world.sign_in("ada");
    let answer = world.redeem("web", &world.code(&browser, "web", BILLING)).unwrap();
    let access = claims(&answer.access_token);
    for (name, value) in [
        ("acct", json!(0)),
        ("auth_time", json!(NOON.0)),
        ("email", json!("ada@mail.example")),
        ("family_name", json!("Example")),
        ("given_name", json!("ada")),
        ("login_hint", json!("ada@contoso.example")),
        ("preferred_username", json!("ada@contoso.example")),
        ("sid", json!(world.session(&browser).id.to_string())),
        ("upn", json!("ada@contoso.example")),
        ("idtyp", json!("user")),
    ] {
        assert_eq!(access[name], value, "{name}");
    }
    for absent in ["groups", "xms_cc", "idp", "acrs", "ipaddr"] {
        assert!(!access.contains_key(absent), "{absent}: nothing is known of it");
    }
    let identity = claims(answer.id_token.as_ref().unwrap());
    assert_eq!((&identity["email"], &identity["acct"]), (&json!("ada@mail.example"), &json!(0)));
    assert_eq!(identity["given_name"], "ada");
    // Neither asks for the other.
    let orders = world.tokens("ada", "web", ORDERS);
    assert!(!claims(&orders.access_token).contains_key("email"));
    assert!(!identity.contains_key("upn") && !identity.contains_key("login_hint"));
}

#[test]
fn optional_claims_never_take_the_place_of_the_protocols() {
    for (resource, scope) in [("billing", BILLING), ("legacy", "api://legacy/Legacy.Read openid")] {
        let plain = World::new();
        let world = World::new();
        world.estate.edit(|state| {
            for name in [resource, "web"] {
                state.app(name).optional_claims.access_token = wanted(&EVERY);
                state.app(name).optional_claims.id_token = wanted(&EVERY);
                state.app(name).group_membership_claims = GroupMembershipClaims::All;
            }
        });
        let (plain, full) = (plain.tokens("ada", "web", scope), world.tokens("ada", "web", scope));
        let pairs = [(plain.access_token, full.access_token), (plain.id_token.unwrap(), full.id_token.unwrap())];
        for (plain, full) in pairs {
            let (plain, text) = (claims(&plain), full.expose().split('.').nth(1).unwrap());
            let text = String::from_utf8(URL_SAFE_NO_PAD.decode(text).unwrap()).unwrap();
            let full = claims(&full);
            for (name, value) in &plain {
                let differs = matches!(name.as_str(), "uti" | "jti" | "aio" | "sid" | "exp");
                if name == "aud" && full["ver"] == "1.0" && full.contains_key("appid") {
                    assert_eq!(full[name], app(resource).to_string(), "`use_guid` is what it asks for");
                } else {
                    assert!(differs || full[name] == *value, "{name}: {} instead of {value}", full[name]);
                }
            }
            for name in full.keys() {
                assert_eq!(text.matches(&format!("\"{name}\":")).count(), 1, "{name} once");
            }
            assert!(full.contains_key("idtyp") == plain.contains_key("idtyp"), "the kinds stay apart");
        }
    }
}

#[test]
fn the_address_in_a_token_is_that_of_the_users_browser_wherever_it_is_asked_for_from() {
    let world = World::new();
    let seen = |token: &Secret| claims(token).get("ipaddr").cloned();
    let from = |address: &str| Browser { address: Some(address.parse().unwrap()), ..world.sign_in("ada") };
    let server = |pairs: &[(&str, &str)]| {
        let (id, secret) = (app("orders").to_string(), secret("orders"));
        let own = [("client_id", id.as_str()), ("client_secret", &secret)];
        world.token_seen_at("203.0.113.9", &form(&[&own[..], pairs].concat())).unwrap()
    };
    let home = from("::ffff:198.51.100.7");
    // Version 1 says it; version 2 where the resource asks.
    let legacy = world.redeem("web", &world.code(&home, "web", "api://legacy/Legacy.Read openid")).unwrap();
    assert_eq!(seen(&legacy.access_token), Some(json!("198.51.100.7")), "as it is written");
    let orders = world.redeem("web", &world.code(&home, "web", ORDERS)).unwrap();
    assert_eq!((seen(&orders.access_token), seen(orders.id_token.as_ref().unwrap())), (None, None));
    world.estate.edit(|state| {
        state.app("billing").optional_claims.access_token = wanted(&[ClaimName::Ipaddr]);
        state.app("web").optional_claims.id_token = wanted(&[ClaimName::Ipaddr]);
    });
    let orders = world.redeem("web", &world.code(&home, "web", ORDERS)).unwrap();
    assert_eq!(seen(orders.id_token.as_ref().unwrap()), Some(json!("198.51.100.7")));
    // Orders asks from its own address, and its token says the user's; so does what it renews.
    let exchange = obo(orders.access_token.expose(), "api://billing/Invoices.Read offline_access");
    let billing = server(&exchange);
    assert_eq!(seen(&billing.access_token), Some(json!("198.51.100.7")));
    let renewal =
        [("grant_type", "refresh_token"), ("refresh_token", billing.refresh_token.as_ref().unwrap().expose())];
    assert_eq!(seen(&server(&renewal).access_token), Some(json!("198.51.100.7")));
    // It follows the browser, within one session.
    let moved = Browser { address: Some("2001:db8::7".parse().unwrap()), ..home };
    assert!(matches!(world.authorize(&request("web", ORDERS), &moved), Answer::Redirect(_)));
    assert_eq!(seen(&server(&exchange).access_token), Some(json!("2001:db8::7")));
}

#[test]
fn an_app_only_token_says_nothing_of_people() {
    let world = World::new();
    world.estate.edit(|state| {
        state.app("billing").optional_claims.access_token = wanted(&EVERY);
        state.app("billing").group_membership_claims = GroupMembershipClaims::All;
    });
    let params = [("grant_type", "client_credentials"), ("scope", "api://billing/.default")];
    let token = claims(&world.token_as("daemon", &params).unwrap().access_token);
    for name in [
        "acct",
        "email",
        "groups",
        "sid",
        "upn",
        "login_hint",
        "preferred_username",
        "given_name",
        "auth_time",
        "ipaddr",
    ] {
        assert!(!token.contains_key(name), "{name}");
    }
    assert_eq!(token["idtyp"], "app");
}

#[test]
fn what_a_client_can_handle_is_said_where_client_and_resource_both_say_so() {
    let able = r#"{"access_token":{"xms_cc":{"values":["CP1"]}}}"#;
    let params = [("grant_type", "client_credentials"), ("scope", "api://billing/.default")];
    let with = [params[0], params[1], ("claims", able)];
    let world = World::new();
    assert!(!claims(&world.token_as("daemon", &with).unwrap().access_token).contains_key("xms_cc"));
    world.estate.edit(|state| state.app("billing").optional_claims.access_token = wanted(&[ClaimName::XmsCc]));
    assert!(!claims(&world.token_as("daemon", &params).unwrap().access_token).contains_key("xms_cc"));
    assert_eq!(claims(&world.token_as("daemon", &with).unwrap().access_token)["xms_cc"], json!(["cp1"]));
}

#[test]
fn groups_stand_in_the_token_up_to_two_hundred_and_elsewhere_above() {
    let world = World::new();
    let token = || claims(&world.tokens("ada", "web", BILLING).access_token);
    assert!(!token().contains_key("groups"), "nobody asked");
    world.estate.edit(|state| {
        groups(state, 199);
        state.app("billing").group_membership_claims = GroupMembershipClaims::SecurityGroup;
    });
    assert_eq!(token()["groups"].as_array().unwrap().len(), 200, "and the auditors");
    assert!(!token().contains_key("_claim_names"));
    world.estate.edit(|state| groups(state, 200));
    world.estate.edit(|state| state.groups.truncate(201));
    let token = token();
    assert!(!token.contains_key("groups") && !token.contains_key("hasgroups"));
    assert_eq!(token["_claim_names"], json!({"groups": "src1"}));
    let endpoint = format!("{HOST}/{CONTOSO}/users/{}/getMemberObjects", user("ada"));
    assert_eq!(token["_claim_sources"], json!({"src1": {"endpoint": endpoint}}));
}

#[test]
fn groups_of_the_application_are_those_assigned_to_it() {
    let world = World::new();
    world.estate.edit(|state| {
        groups(state, 300);
        assign(state, 7, "billing", "Invoices.Reader");
        assign(state, 7, "billing", "Invoices.Auditor");
        assign(state, 8, "orders", "Orders.Clerk");
        state.app("billing").group_membership_claims = GroupMembershipClaims::ApplicationGroup;
    });
    let token = claims(&world.tokens("bob", "web", BILLING).access_token);
    assert_eq!(token["groups"], json!([group(7)]));
    assert_eq!(token["roles"], json!(["Invoices.Reader", "Invoices.Auditor"]), "through the group");
    world.estate.edit(|state| state.groups.iter_mut().for_each(|group| group.members.retain(|it| *it != user("bob"))));
    let token = claims(&world.tokens("bob", "web", BILLING).access_token);
    assert!(!token.contains_key("groups") && !token.contains_key("roles"), "who left has neither");
}

#[test]
fn an_api_asks_for_more_groups_than_fit_with_a_token_of_its_own_for_the_user() {
    let world = World::new();
    world.estate.edit(|state| {
        groups(state, 250);
        assign(state, 7, "orders", "Orders.Clerk");
        state.app("orders").group_membership_claims = GroupMembershipClaims::All;
    });
    let (contoso, ada) = (CONTOSO.to_string(), user("ada").to_string());
    let for_orders = world.tokens("ada", "web", ORDERS).access_token;
    let own = world.obo("orders", &for_orders, "openid").unwrap().access_token;
    assert_eq!(asked(&world, &contoso, &ada, &own).unwrap().len(), 251);
    assert_eq!(asked(&world, "contoso.example", &ada, &own).unwrap().len(), 251);
    world.estate.edit(|state| state.app("orders").group_membership_claims = GroupMembershipClaims::ApplicationGroup);
    assert_eq!(asked(&world, &contoso, &ada, &own), Ok(vec![group(7)]), "what its tokens would say, and no more");
    // Nobody else's groups, nobody else's token, and nobody who is told of none.
    let check = |tenant: &str, of: &str, token: &Secret| asked(&world, tenant, of, token).unwrap_err().id();
    let bob = user("bob").to_string();
    for (tenant, of) in [
        (&*contoso, &*bob),
        (&FABRIKAM.to_string(), &ada),
        ("nowhere", &ada),
        ("common", &ada),
        (&contoso, "me"),
        (&contoso, ""),
    ] {
        assert_eq!(check(tenant, of, &own), CheckId::GroupsOwn, "{tenant} {of}");
    }
    assert_eq!(check(&contoso, &ada, &for_orders), CheckId::TokenAudience, "the token that it received (X-02)");
    let of_web = world.tokens("ada", "web", "openid").access_token;
    assert_eq!(check(&contoso, &ada, &of_web), CheckId::GroupsDeclared);
    let identity = world.tokens("ada", "web", ORDERS).id_token.unwrap();
    assert_eq!(check(&contoso, &ada, &identity), CheckId::TokenType);
    let params = [("grant_type", "client_credentials"), ("scope", "api://billing/.default")];
    let app_only = world.token_as("daemon", &params).unwrap().access_token;
    assert_eq!(check(&contoso, &principal("daemon").to_string(), &app_only), CheckId::TokenAudience);
    assert_eq!(check(&contoso, &ada, &Secret::new("x")), CheckId::TokenSignature);
    // What ends a token ends this too.
    world.estate.edit(|state| state.person("ada").account_enabled = false);
    assert_eq!(check(&contoso, &ada, &own), CheckId::UserEnabled);
}

#[test]
fn an_access_token_that_names_the_session_signs_nobody_out() {
    let world = World::new();
    world.estate.edit(|state| state.app("orders").optional_claims.access_token = wanted(&[ClaimName::Sid]));
    let browser = world.sign_in("ada");
    let answer = world.redeem("web", &world.code(&browser, "web", ORDERS)).unwrap();
    let session = world.session(&browser);
    assert_eq!(claims(&answer.access_token)["sid"], session.id.to_string());
    let hinted = |token: &Secret| {
        let request = form(&[("id_token_hint", token.expose())]);
        deputize_core::sign_out::read(&world.ports, &request, &browser).genuine.is_some()
    };
    assert!(hinted(answer.id_token.as_ref().unwrap()));
    assert!(!hinted(&answer.access_token), "every API that is called holds one");
}

#[test]
fn lifetimes_follow_the_tenant_then_the_resource_and_never_ninety_minutes() {
    let world = World::new();
    let params = [("grant_type", "client_credentials"), ("scope", "api://billing/.default")];
    let lives = || {
        let user = world.tokens("ada", "web", BILLING).expires_in;
        (user, world.token_as("daemon", &params).unwrap().expires_in)
    };
    let (user, app_only) = lives();
    assert!((3_600..=5_400).contains(&user) && app_only == 3_599);
    let policy = |text: &str| {
        let span = TimeSpan::try_from(text.to_owned()).unwrap();
        world.estate.edit(|state| {
            state.app("billing").token_lifetime_policy = Some(TokenLifetimePolicy { access_token_lifetime: span });
        });
    };
    policy("00:10:00");
    assert_eq!(lives(), (600, 600));
    assert_ne!(world.tokens("ada", "web", ORDERS).expires_in, 600, "of this resource alone");
    policy("1.00:00:00");
    assert_eq!(lives(), (5_400, 5_400), "nothing could cut it short");
    world.estate.edit(|state| state.tenant().settings.access_token_seconds = Some(700));
    assert_eq!(lives(), (700, 5_400), "the organization's goes before the application's");
    world.estate.edit(|state| state.tenant().settings.app_token_seconds = Some(900));
    assert_eq!(lives(), (700, 900));
}

#[test]
fn x_10_no_policy_lets_a_token_outlive_its_session() {
    let world = World::new();
    world.estate.edit(|state| {
        let span = TimeSpan { seconds: 5_000 };
        state.app("billing").token_lifetime_policy = Some(TokenLifetimePolicy { access_token_lifetime: span });
        state.tenant().settings.session_seconds = 1_000;
    });
    let first = world.tokens("ada", "web", ORDERS);
    assert_eq!(first.expires_in, 1_000);
    world.advance(900);
    assert_eq!(world.obo("orders", &first.access_token, "api://billing/Invoices.Read").unwrap().expires_in, 100);
    world.advance(100);
    let late = refused(world.obo("orders", &first.access_token, "api://billing/Invoices.Read"));
    assert_eq!(late, CheckId::SessionAlive);
}
