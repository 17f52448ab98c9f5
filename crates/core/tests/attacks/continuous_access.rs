//! Continuous access (spec/entra.md sections 9.3 and 12): what can be cut short may live for a day, and nothing else.
use super::delegation::{DOWN, SCOPE};
use crate::world::estate::{CONTOSO, State, on, policy};
use crate::world::{World, altered, app, claims, parameter, request};
use decision::CheckId;
use deputize_core::ledger::Write;
use deputize_core::model::{
    AuthenticationType, ClaimName, GrantControls, Locations, OptionalClaim, Place, Policy, Profile, SignInFrequency,
    TimeSpan, TokenLifetimePolicy,
};
use oauth::TokenResponse;
use serde_json::{Value, json};

const ABLE: &str = r#"{"access_token":{"xms_cc":{"values":["CP1"]}}}"#;
const BILLING: &str = "api://billing/Invoices.Read openid offline_access";
const ORDINARY: std::ops::RangeInclusive<i64> = 3_600..=5_400;
const LONG: std::ops::RangeInclusive<i64> = 72_000..=100_800;

/// Billing wants to know what clients can handle, and has just been told every cut-off.
fn world() -> World {
    let world = World::new();
    world.estate.edit(|state| wants(state, "billing"));
    hears(&world, "billing");
    world
}

fn wants(state: &mut State, name: &str) {
    let claim = OptionalClaim { name: ClaimName::XmsCc, additional_properties: Vec::new(), essential: false };
    state.app(name).optional_claims.access_token = vec![claim];
}

fn hears(world: &World, name: &str) {
    world.ledger.write(vec![Write::Heard(CONTOSO, app(name), world.now())]).unwrap();
}

/// A user's token for Billing, by a client that says what it can handle.
fn signed_in(world: &World, able: &str) -> TokenResponse {
    signed_in_as(world, "ada", able)
}

fn signed_in_as(world: &World, person: &str, able: &str) -> TokenResponse {
    let browser = world.sign_in(person);
    let answer = world.authorize(&altered(&request("web", BILLING), &[("claims", able)]), &browser);
    world.redeem("web", &parameter(&answer, "code").unwrap()).unwrap()
}

fn life(world: &World) -> i64 {
    signed_in(world, ABLE).expires_in
}

fn app_only(world: &World, able: &str) -> i64 {
    let grant = [("grant_type", "client_credentials"), ("scope", "api://billing/.default"), ("claims", able)];
    world.token_as("daemon", &grant).unwrap().expires_in
}

#[test]
fn what_can_be_cut_short_lives_for_a_day_and_is_renewed_half_way() {
    let world = world();
    let answer = signed_in(&world, ABLE);
    let token = claims(&answer.access_token);
    assert!(LONG.contains(&answer.expires_in), "{}", answer.expires_in);
    assert_eq!(token["exp"].as_i64().unwrap() - token["iat"].as_i64().unwrap(), answer.expires_in);
    assert_eq!((&token["xms_cc"], answer.refresh_in), (&json!(["cp1"]), Some(answer.expires_in / 2)));
    let lives: std::collections::HashSet<i64> = (0..20).map(|_| life(&world)).collect();
    assert!(lives.len() > 5 && lives.iter().all(|life| LONG.contains(life)), "drawn at random: {lives:?}");
    // An exchange too, where the middle tier can handle it.
    let to_orders = world.tokens("ada", "web", SCOPE).access_token;
    let mut pairs = crate::world::obo(to_orders.expose(), DOWN).to_vec();
    assert!(ORDINARY.contains(&world.token_as("orders", &pairs).unwrap().expires_in));
    pairs.push(("claims", ABLE));
    assert!(LONG.contains(&world.token_as("orders", &pairs).unwrap().expires_in));
}

/// Each of these alone, and the token lives as long as one that nothing can cut short.
#[test]
fn nothing_lives_for_a_day_that_cannot_be_cut_short_or_whose_client_cannot_be_told() {
    type Change = fn(&World);
    let changes: [(&str, &str, Change); 8] = [
        ("the client says nothing", "{}", |_| ()),
        ("the client can do something else", r#"{"access_token":{"xms_cc":{"values":["cp2","protapp"]}}}"#, |_| ()),
        ("the client says it of another token", r#"{"id_token":{"xms_cc":{"values":["cp1"]}}}"#, |_| ()),
        ("the resource does not ask", ABLE, |world| {
            world.estate.edit(|state| state.app("billing").optional_claims.access_token.clear());
        }),
        ("nobody listens for a minute", ABLE, |world| world.advance(61)),
        ("the resource is of the native profile", ABLE, |world| {
            world.estate.edit(|state| state.app("billing").deputize.resource_profile = Profile::Native);
        }),
        ("a policy asks where the user is", ABLE, |world| {
            let anywhere = Locations { exclude_locations: vec![Place::AllTrusted], ..Locations::default() };
            let mut asking = policy(&["billing"], GrantControls::default());
            asking.conditions.locations = Some(anywhere);
            world.estate.edit(|state| state.objects.policies.push(asking));
        }),
        ("a policy asks it where it does not apply now", ABLE, |world| {
            let elsewhere = Locations { exclude_locations: vec![Place::All], ..Locations::default() };
            let mut asking = policy(&["billing"], GrantControls::block());
            asking.conditions.locations = Some(elsewhere);
            world.estate.edit(|state| state.objects.policies.push(asking));
        }),
    ];
    for (what, able, change) in changes {
        let world = world();
        assert!(LONG.contains(&life(&world)));
        change(&world);
        assert!(ORDINARY.contains(&signed_in(&world, able).expires_in), "{what}");
    }
    // Another resource's subscriber is nobody's here.
    let world = World::new();
    world.estate.edit(|state| wants(state, "billing"));
    hears(&world, "orders");
    assert!(ORDINARY.contains(&life(&world)));
}

/// Who is disabled at home is cut off there, where this tenant's resources hear nothing.
#[test]
fn a_guests_token_lives_for_a_day_nowhere() {
    let world = super::tenants::world();
    for name in ["billing", "orders"] {
        world.estate.edit(|state| wants(state, name));
        hears(&world, name);
    }
    let (member, guest) = (signed_in_as(&world, "ada", ABLE), signed_in_as(&world, "ivan", ABLE));
    assert!(LONG.contains(&member.expires_in), "or this would prove nothing");
    assert!(ORDINARY.contains(&guest.expires_in), "{}", guest.expires_in);
    // Nor through a middle tier.
    for (person, life) in [("ada", LONG), ("ivan", ORDINARY)] {
        let to_orders = world.tokens(person, "web", SCOPE).access_token;
        let mut pairs = crate::world::obo(to_orders.expose(), DOWN).to_vec();
        pairs.push(("claims", ABLE));
        assert!(life.contains(&world.token_as("orders", &pairs).unwrap().expires_in), "{person}");
    }
}

#[test]
fn a_subscriber_counts_for_a_minute_after_it_was_told_everything() {
    let world = world();
    world.advance(60);
    assert!(LONG.contains(&life(&world)));
    world.advance(1);
    assert!(ORDINARY.contains(&life(&world)));
    hears(&world, "billing");
    assert!(LONG.contains(&life(&world)));
}

#[test]
fn x_10_a_long_life_ends_with_the_session_and_where_a_policy_would_ask_anew() {
    let world = world();
    world.estate.edit(|state| state.tenant().settings.session_seconds = 10_000);
    assert_eq!(life(&world), 10_000, "the session's own life");
    world.estate.edit(|state| state.tenant().settings.session_seconds = 90 * 86_400);
    let every = |hours: u32, of: AuthenticationType| -> Policy {
        let mut asking = policy(&["billing"], GrantControls::default());
        let frequency = json!({"value": hours, "type": "hours", "authenticationType": of});
        asking.session_controls.sign_in_frequency = Some(serde_json::from_value::<SignInFrequency>(frequency).unwrap());
        asking
    };
    let with = |asking: Policy| world.estate.edit(|state| state.objects.policies = vec![asking]);
    with(every(3, AuthenticationType::PrimaryAndSecondaryAuthentication));
    assert_eq!(life(&world), 3 * 3_600, "the moment at which the sign-in is too old");
    with(every(1, AuthenticationType::PrimaryAndSecondaryAuthentication));
    assert!(ORDINARY.contains(&life(&world)), "no longer than without a subscriber, and no shorter");
    let mut switched_off = every(3, AuthenticationType::PrimaryAndSecondaryAuthentication);
    switched_off.session_controls.sign_in_frequency.as_mut().unwrap().is_enabled = false;
    with(switched_off);
    assert!(LONG.contains(&life(&world)));
    // Somebody else's policy, and one that asks nothing anew.
    let mut of_others = every(3, AuthenticationType::PrimaryAndSecondaryAuthentication);
    of_others.conditions.users.include_users = vec![crate::world::user("bob")];
    with(of_others);
    assert!(LONG.contains(&life(&world)));
    with(Policy { conditions: on(&["orders"]), ..every(3, AuthenticationType::PrimaryAndSecondaryAuthentication) });
    assert!(LONG.contains(&life(&world)));
}

#[test]
fn lifetimes_by_policy_go_before_what_is_usual_in_either_direction() {
    let world = world();
    assert_eq!(app_only(&world, ABLE), 3_599, "an application's own token is usually short");
    let policy = |seconds| {
        world.estate.edit(|state| {
            let access_token_lifetime = TimeSpan { seconds };
            state.app("billing").token_lifetime_policy = Some(TokenLifetimePolicy { access_token_lifetime });
        });
    };
    policy(86_400);
    assert_eq!((life(&world), app_only(&world, ABLE)), (86_400, 86_400));
    assert_eq!((signed_in(&world, "{}").expires_in, app_only(&world, "{}")), (5_400, 5_400), "who cannot be told");
    policy(600);
    assert_eq!((life(&world), app_only(&world, ABLE)), (600, 600), "what an administrator wrote is never lengthened");
    world.estate.edit(|state| {
        state.tenant().settings.access_token_seconds = Some(43_200);
        state.tenant().settings.app_token_seconds = Some(50_000);
    });
    assert_eq!((life(&world), app_only(&world, ABLE)), (43_200, 50_000), "the organization's goes first");
    // A program moves between networks too.
    let mut asking = crate::world::estate::policy(&["billing"], GrantControls::block());
    asking.conditions.client_app_types = vec![deputize_core::model::ClientAppType::Other];
    asking.conditions.locations = Some(Locations { exclude_locations: vec![Place::All], ..Locations::default() });
    world.estate.edit(|state| state.objects.policies.push(asking));
    assert_eq!(app_only(&world, ABLE), 5_400);
}

/// A challenge of continuous access: a token from this moment on, or interaction.
#[test]
fn an_essential_nbf_is_met_by_a_new_token_or_by_interaction() {
    let world = world();
    let essential =
        |at: i64| json!({"access_token": {"nbf": {"essential": true, "value": at.to_string()}}}).to_string();
    let tokens = signed_in(&world, ABLE);
    let refresh = tokens.refresh_token.unwrap();
    let with = |claims: &str| {
        let grant = [("grant_type", "refresh_token"), ("refresh_token", refresh.expose()), ("claims", claims)];
        world.token_as("web", &grant)
    };
    world.advance(100);
    let told = essential(world.now().0);
    let renewed = claims(&with(&told).unwrap().access_token);
    assert!(renewed["nbf"].as_i64().unwrap() >= world.now().0, "the sign-in stands, and the token is new");
    let denial = with(&essential(world.now().0 + 1)).unwrap_err();
    assert_eq!((denial.check, denial.body.error.as_str()), (CheckId::EssentialClaim, "interaction_required"));
    let claims: Value = serde_json::from_str(denial.body.claims.as_deref().unwrap()).unwrap();
    assert_eq!(claims.to_string(), essential(world.now().0 + 1));
    // What ended the sign-in asks for another one, by whichever name.
    world.estate.edit(|state| state.person("ada").sign_in_sessions_valid_from = world.now());
    assert_eq!(with(&told).unwrap_err().check, CheckId::UserNotRevoked);
}
