//! On-Behalf-Of: which assertions speak for a user, and for whom.
use crate::world::estate::{CONTOSO, FABRIKAM, State, grant, secret};
use crate::world::{FakeCrypto, HOST, NOON, World, app, claims, form, obo, principal, refused, user};
use decision::CheckId;
use deputize_core::ledger::Write;
use deputize_core::model::{PermissionGrant, Profile};
use oauth::Secret;
use serde_json::{Value, json};

pub(super) const SCOPE: &str = "api://orders/access_as_user openid offline_access";
pub(super) const DOWN: &str = "api://billing/Invoices.Read";

/// The claims of a good assertion for Orders, to be spoiled.
pub(super) fn good(world: &World) -> (Secret, Value) {
    let token = world.tokens("ada", "web", SCOPE).access_token;
    let all = Value::Object(claims(&token));
    (token, all)
}

pub(super) fn spoiled(claims: &Value, changes: Value) -> Secret {
    let mut claims = claims.clone();
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
    }
    FakeCrypto::forge("JWT", &claims)
}

#[test]
fn x_02_an_assertion_for_another_api_is_refused() {
    let world = World::new();
    let (token, _) = good(&world);
    assert_eq!(refused(world.obo("billing", &token, "api://orders/access_as_user")), CheckId::AssertionAudience);
    assert_eq!(
        refused(world.obo("web", &token, DOWN)),
        CheckId::AssertionAudience,
        "not even the client it was issued to"
    );
    let down = world.obo("orders", &token, DOWN).unwrap().access_token;
    assert_eq!(refused(world.obo("orders", &down, DOWN)), CheckId::AssertionAudience, "the downstream's own token");
}

#[test]
fn x_03_an_assertion_of_another_issuer_or_tenant_is_refused() {
    let world = World::new();
    let (token, all) = good(&world);
    for (what, changes) in [
        ("another host", json!({"iss": format!("https://evil.example/{CONTOSO}/v2.0")})),
        ("another tenant's issuer", json!({"iss": format!("{HOST}/{FABRIKAM}/v2.0")})),
        ("another tid", json!({"tid": FABRIKAM.to_string()})),
        ("both", json!({"iss": format!("{HOST}/{FABRIKAM}/v2.0"), "tid": FABRIKAM.to_string()})),
        ("a v1 issuer", json!({"iss": format!("{HOST}/{CONTOSO}/")})),
        ("a template", json!({"iss": format!("{HOST}/{{tenantid}}/v2.0")})),
        ("a trailing slash", json!({"iss": format!("{HOST}/{CONTOSO}/v2.0/")})),
        ("no version", json!({"ver": "", "iss": format!("{HOST}/{CONTOSO}/")})),
    ] {
        assert_eq!(refused(world.obo("orders", &spoiled(&all, changes), DOWN)), CheckId::AssertionIssuer, "{what}");
    }
    // `orders` stands in Fabrikam too, with the same secret.
    let (id, key) = (app("orders").to_string(), secret("orders"));
    let pairs = [&[("client_id", &*id), ("client_secret", &key)][..], &obo(token.expose(), DOWN)].concat();
    assert_eq!(refused(world.token_at("fabrikam.example", &form(&pairs), None)), CheckId::AssertionIssuer);
    assert!(world.token_at("organizations", &form(&pairs), None).is_ok(), "an alias means the assertion's tenant");
    // A tampered token names no tenant: under an alias it is refused for what it is.
    let tampered = format!("{}A", token.expose());
    let pairs = [&[("client_id", &*id), ("client_secret", &key)][..], &obo(&tampered, DOWN)].concat();
    assert_eq!(refused(world.token_at("organizations", &form(&pairs), None)), CheckId::AssertionSignature);
    assert_eq!(refused(world.token_at("contoso.example", &form(&pairs), None)), CheckId::AssertionSignature);
}

#[test]
fn x_04_an_app_only_token_acts_for_nobody() {
    let world = World::new();
    let token =
        world.token_as("daemon", &[("grant_type", "client_credentials"), ("scope", "api://orders/.default")]).unwrap();
    let refusal = world.obo("orders", &token.access_token, DOWN).unwrap_err();
    assert_eq!((refusal.check, refusal.body.error.as_str()), (CheckId::AssertionUser, "unauthorized_client"));
    assert_eq!(refusal.body.error_codes, [7_000_114]);
    world.estate.edit(|estate| estate.app("orders").deputize.client_profile = Profile::Native);
    assert_eq!(world.obo("orders", &token.access_token, DOWN).unwrap_err().body.error, "invalid_grant");
}

#[test]
fn x_05_a_token_of_another_kind_is_no_assertion() {
    let world = World::new();
    let answer = world.tokens("ada", "web", SCOPE);
    let id_token = answer.id_token.unwrap();
    // The strongest ID token: one whose audience is the middle tier itself.
    let mut all = Value::Object(claims(&id_token));
    all["aud"] = json!(app("orders").to_string());
    assert_eq!(refused(world.obo("orders", &FakeCrypto::forge("JWT", &all), DOWN)), CheckId::AssertionAccessToken);
    all["scp"] = json!("access_as_user");
    assert_eq!(refused(world.obo("orders", &FakeCrypto::forge("JWT", &all), DOWN)), CheckId::AssertionAccessToken);
    assert_eq!(refused(world.obo("orders", &answer.refresh_token.unwrap(), DOWN)), CheckId::AssertionForm);
    let (_, good) = good(&world);
    for typ in deputize_core::token_endpoint::FOREIGN_KINDS {
        assert_eq!(
            refused(world.obo("orders", &FakeCrypto::forge(typ, &good), DOWN)),
            CheckId::AssertionKindAccepted,
            "{typ}"
        );
    }
    let client_assertion = FakeCrypto::certify(&crate::world::estate::certificate("orders"), &good);
    assert_eq!(refused(world.obo("orders", &Secret::new(client_assertion), DOWN)), CheckId::AssertionSignature);
    for (what, changes, check) in [
        ("bound to a key", json!({"cnf": {"jkt": "x"}}), CheckId::AssertionBinding),
        ("bound to nothing", json!({"cnf": null}), CheckId::AssertionBinding),
        ("bound to an empty object", json!({"cnf": {}}), CheckId::AssertionBinding),
        ("no client", json!({"azp": ""}), CheckId::AssertionAccessToken),
        ("no kind", json!({"idtyp": ""}), CheckId::AssertionAccessToken),
        ("an unknown kind", json!({"idtyp": "device"}), CheckId::AssertionUser),
        ("no scope", json!({"scp": ""}), CheckId::AssertionUser),
        ("a list of audiences", json!({"aud": [app("orders").to_string()]}), CheckId::AssertionForm),
        ("an expiry in words", json!({"exp": "tomorrow"}), CheckId::AssertionForm),
        ("no chain", json!({"aio": ""}), CheckId::SessionAlive),
        ("another chain", json!({"aio": "AAAA.BBBB"}), CheckId::SessionAlive),
        ("another user", json!({"oid": user("nobody").to_string()}), CheckId::UserKnown),
        ("a user of another tenant", json!({"oid": user("ivan").to_string()}), CheckId::UserKnown),
        ("an application as user", json!({"oid": principal("daemon").to_string()}), CheckId::UserKnown),
    ] {
        assert_eq!(refused(world.obo("orders", &spoiled(&good, changes), DOWN)), check, "{what}");
    }
}

#[test]
fn x_06_a_client_that_proves_nothing_acts_for_nobody() {
    let world = World::new();
    let (token, _) = good(&world);
    assert_eq!(refused(world.obo("phone", &token, DOWN)), CheckId::ClientConfidential);
    let id = app("orders").to_string();
    let bare = [&[("client_id", &*id)][..], &obo(token.expose(), DOWN)].concat();
    assert_eq!(refused(world.token(&bare)), CheckId::ClientCredentialPresent);
    world.estate.edit(|estate| estate.app("orders").is_fallback_public_client = true);
    let refusal = world.token(&bare).unwrap_err();
    assert_eq!((refusal.check, refusal.status), (CheckId::ClientConfidential, 401));
}

#[test]
fn x_07_without_an_assertion_nobody_is_acted_for() {
    let world = World::new();
    let (token, _) = good(&world);
    for pairs in [&obo("", DOWN)[..], &obo("", DOWN)[..2]] {
        assert_eq!(refused(world.token_as("orders", pairs)), CheckId::ParameterPresent);
    }
    for (name, value) in [("requested_token_use", ""), ("requested_token_use", "ON_BEHALF_OF"), ("subject_token", "x")]
    {
        let mut pairs = obo(token.expose(), DOWN).to_vec();
        pairs.retain(|(known, _)| *known != "requested_token_use");
        pairs.push((name, value));
        assert_eq!(refused(world.token_as("orders", &pairs)), CheckId::GrantSupported, "{name}={value}");
    }
    let saml = [&obo(token.expose(), DOWN)[..], &[("requested_token_type", "urn:ietf:params:oauth:token-type:saml2")]]
        .concat();
    assert_eq!(refused(world.token_as("orders", &saml)), CheckId::GrantSupported);
    let duplicate = b"assertion=a&assertion=b";
    assert!(oauth::Form::decode(duplicate).is_err());
}

#[test]
fn x_15_the_downstream_sees_the_users_rights_only() {
    let world = World::new();
    let (token, _) = good(&world);
    let seen = claims(&world.obo("orders", &token, DOWN).unwrap().access_token);
    let mut roles: Vec<_> = seen["roles"].as_array().unwrap().iter().map(|role| role.as_str().unwrap()).collect();
    roles.sort_unstable();
    assert_eq!(roles, ["Invoices.Auditor", "Invoices.Reader"], "her own and her group's, not Orders' Invoices.Export");
    let bob = world.tokens("bob", "web", SCOPE).access_token;
    assert_eq!(claims(&world.obo("orders", &bob, DOWN).unwrap().access_token).get("roles"), None);
    world.estate.edit(|estate| estate.principal("billing").app_role_assignment_required = true);
    assert!(world.obo("orders", &token, DOWN).is_ok());
    assert_eq!(refused(world.obo("orders", &bob, DOWN)), CheckId::UserAssigned);
}

#[test]
fn x_19_a_token_from_before_sessions_were_revoked_is_refused() {
    let world = World::new();
    let (token, _) = good(&world);
    world.advance(5);
    world.estate.edit(|estate| estate.person("ada").sign_in_sessions_valid_from = NOON.plus(5));
    assert_eq!(refused(world.obo("orders", &token, DOWN)), CheckId::UserNotRevoked);
    world.advance(1);
    let (token, _) = good(&world);
    assert!(world.obo("orders", &token, DOWN).is_ok(), "a new sign-in is good");
    world.estate.edit(|estate| estate.person("ada").sign_in_sessions_valid_from = NOON.plus(6));
    let denial = refused(world.obo("orders", &token, DOWN));
    assert_eq!(denial, CheckId::UserNotRevoked, "nobody knows which came first in that second");
}

/// What is exchanged rests on the call that it came with: once that call would not be allowed any more, nothing comes of it,
/// though the middle tier's own consent stands.
#[test]
fn x_01_an_assertion_is_worth_what_stands_behind_it_now() {
    type Change = fn(&mut State);
    let changes: [(&str, Change, CheckId); 6] = [
        ("consent withdrawn", |e| e.withdraw("web", "orders"), CheckId::ConsentGranted),
        (
            "scope removed",
            |e| e.app("orders").api.oauth2_permission_scopes.retain(|scope| scope.value != "access_as_user"),
            CheckId::ConsentGranted,
        ),
        ("client disabled", |e| e.principal("web").account_enabled = false, CheckId::UserNotRevoked),
        (
            "client deleted",
            |e| e.objects.principals.retain(|known| known.app_id != app("web")),
            CheckId::UserNotRevoked,
        ),
        (
            "assignment required at the middle tier",
            |e| e.principal("orders").app_role_assignment_required = true,
            CheckId::UserAssigned,
        ),
        (
            "fewer scopes than were asked for",
            |e| {
                for grant in &mut e.objects.grants {
                    if (grant.client_id, grant.resource_id) == (principal("web"), principal("orders")) {
                        grant.scope = ["Orders.Write"].into_iter().collect();
                    }
                }
            },
            CheckId::ConsentGranted,
        ),
    ];
    for (what, change, check) in changes {
        let world = World::new();
        let (token, _) = good(&world);
        assert!(world.obo("orders", &token, DOWN).is_ok());
        world.estate.edit(change);
        assert_eq!(refused(world.obo("orders", &token, DOWN)), check, "{what}");
    }
}

/// A user who takes back a consent ends what came through that client, also where an administrator's consent still stands,
/// and also one hop on. A new sign-in begins anew.
#[test]
fn x_01_what_came_through_a_client_ends_when_the_user_takes_their_consent_to_it_back() {
    let world = World::new();
    let (token, _) = good(&world);
    let renewable = format!("{DOWN} offline_access");
    let refresh = world.obo("orders", &token, &renewable).unwrap().refresh_token.unwrap();
    world.estate.edit(|e| {
        let of_hers = PermissionGrant { principal_id: Some(user("ada")), ..grant("web", "orders", "access_as_user") };
        e.objects.grants.push(of_hers);
    });
    world.advance(5);
    let (tenant, client, user, at) = (CONTOSO, principal("web"), user("ada"), world.now());
    world.ledger.write(vec![Write::Withdraw { tenant, client, user, at }]).unwrap();
    assert_eq!(refused(world.obo("orders", &token, DOWN)), CheckId::ConsentGranted);
    assert_eq!(refused(world.refresh("orders", &refresh)), CheckId::ConsentGranted);
    world.advance(1);
    let (token, _) = good(&world);
    assert!(world.obo("orders", &token, DOWN).is_ok());
}
