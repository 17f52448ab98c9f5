//! Work orders (F4): the kill matrix, and what must work in spite of it.
use crate::world::estate::{State, certificate, grant, policy, secret};
use crate::world::{
    FakeCrypto, HOST, NOON, World, altered, app, claims, form, now_or_never, refused, thumbprint, user,
};
use decision::CheckId;
use deputize_core::endpoint::EndpointVersion;
use deputize_core::ledger::Write;
use deputize_core::model::{Digest, GrantControls, KeyCredential};
use deputize_core::ports::Crypto as _;
use deputize_core::token_endpoint::{Refusal, TokenRequest};
use deputize_core::work_order::{MOST, WorkOrderRecord};
use oauth::{CLIENT_ASSERTION_JWT_BEARER, Form, Secret, TOKEN_TYPE_ACCESS_TOKEN, TOKEN_TYPE_WORK_ORDER, TokenResponse};
use serde_json::json;
use std::sync::atomic::Ordering;

const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const READ: &str = "api://billing/Invoices.Read";
const DIGEST: &str = "sha-256=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:";
const OTHER_DIGEST: &str = "sha-256=:AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:";

/// Contoso, where the daemon may work at Billing for users, as Orders may.
pub(crate) fn contoso() -> World {
    let world = World::new();
    world.estate.edit(|estate| {
        estate.objects.grants.push(grant("daemon", "billing", "Invoices.Read Invoices.Approve"));
        estate.objects.grants.push(grant("daemon", "legacy", "Legacy.Read"));
        // Their registrations say what they need, so that a withdrawn consent is what is missing.
        estate.app("daemon").required_resource_access = estate.app("orders").required_resource_access.clone();
    });
    world
}

fn for_orders(world: &World) -> Secret {
    world.tokens("ada", "web", "api://orders/access_as_user").access_token
}

fn credential(name: &str) -> Form {
    let form = form(&[("client_id", &app(name).to_string())]);
    if matches!(name, "phone" | "gadget") { form } else { form.with("client_secret", &secret(name)) }
}

fn worker(name: &str) -> String {
    json!({"sub": app(name)}).to_string()
}

/// Orders' request for an order on the strength of a token, with changes.
fn ask_as(world: &World, name: &str, token: &Secret, changes: &[(&str, &str)]) -> Result<TokenResponse, Refusal> {
    let form = credential(name)
        .with("grant_type", EXCHANGE)
        .with("requested_token_type", TOKEN_TYPE_WORK_ORDER)
        .with("subject_token", token.expose())
        .with("subject_token_type", TOKEN_TYPE_ACCESS_TOKEN)
        .with("scope", READ)
        .with("may_act", &worker("daemon"))
        .with("purpose", "Export the invoices of the day");
    world.token_at("contoso.example", &altered(&form, changes), None)
}

fn ask(world: &World, token: &Secret, changes: &[(&str, &str)]) -> Result<TokenResponse, Refusal> {
    ask_as(world, "orders", token, changes)
}

/// An order of Ada's, made by Orders for the daemon.
pub(crate) fn order(world: &World, changes: &[(&str, &str)]) -> Secret {
    ask(world, &for_orders(world), changes).unwrap().access_token
}

fn redemption(handle: &str) -> Form {
    form(&[("grant_type", EXCHANGE), ("subject_token", handle), ("subject_token_type", TOKEN_TYPE_WORK_ORDER)])
}

fn redeem_as(world: &World, name: &str, handle: &str, changes: &[(&str, &str)]) -> Result<TokenResponse, Refusal> {
    let form = credential(name);
    let form = altered(&redemption(handle), changes).iter().fold(form, |form, (name, value)| form.with(name, value));
    world.token_at("contoso.example", &form, None)
}

pub(crate) fn redeem(world: &World, handle: &Secret) -> Result<TokenResponse, Refusal> {
    redeem_as(world, "daemon", handle.expose(), &[])
}

/// As a client that proves itself with this certificate.
fn redeem_with(world: &World, name: &str, by: &str, handle: &Secret) -> Result<TokenResponse, Refusal> {
    let id = app(name).to_string();
    let audience = format!("{HOST}/contoso.example/oauth2/v2.0/token");
    let assertion = json!({"iss": id, "sub": id, "aud": audience, "exp": world.now().0 + 300});
    let form = redemption(handle.expose())
        .with("client_id", &id)
        .with("client_assertion_type", CLIENT_ASSERTION_JWT_BEARER)
        .with("client_assertion", &FakeCrypto::certify(by, &assertion));
    world.token_at("contoso.example", &form, None)
}

pub(crate) fn record(world: &World, handle: &Secret) -> WorkOrderRecord {
    let digest: Digest = world.crypto.keyed_digest(handle.expose());
    world.ledger.read(|state| state.work_orders[&digest].clone())
}

/// Gives a token back (RFC 7009), as this client.
pub(crate) fn revoke_as(world: &World, name: &str, token: &Secret) {
    revoke_at(world, "contoso.example", &credential(name), token);
}

fn revoke_at(world: &World, tenant: &str, credential: &Form, token: &Secret) {
    let form = credential.clone().with("token", token.expose());
    let request = TokenRequest {
        version: EndpointVersion::V2,
        tenant,
        form: &form,
        basic: None,
        origin: None,
        correlation: None,
        address: None,
        trace: None,
    };
    now_or_never(deputize_core::revocation::answer(&world.ports, request)).unwrap();
}

#[test]
fn a_worker_gets_the_users_token_with_the_whole_chain_and_all_of_it_is_recorded() {
    let world = contoso();
    let asked = ask(&world, &for_orders(&world), &[("redemptions", "2"), ("requested_expiry", "7200")]).unwrap();
    assert_eq!((asked.token_type.as_str(), asked.expires_in), ("N_A", 7_200));
    assert_eq!((asked.issued_token_type.as_deref(), asked.scope.as_deref()), (Some(TOKEN_TYPE_WORK_ORDER), Some(READ)));
    assert!(asked.refresh_token.is_none() && asked.id_token.is_none());
    let handle = asked.access_token;
    assert!(handle.expose().len() < 64 && handle.expose().bytes().all(|b| b.is_ascii_graphic()), "one short line");
    assert!(!format!("{:?}", world.ledger.read(|state| state.work_orders.clone())).contains(handle.expose()));

    let answer = redeem(&world, &handle).unwrap();
    assert_eq!(
        (answer.token_type.as_str(), answer.issued_token_type.as_deref()),
        ("Bearer", Some(TOKEN_TYPE_ACCESS_TOKEN))
    );
    assert!(answer.refresh_token.is_none() && answer.id_token.is_none());
    let token = claims(&answer.access_token);
    assert_eq!((&token["oid"], &token["azp"]), (&json!(user("ada")), &json!(app("daemon"))));
    assert_eq!(
        (&token["aud"], &token["scp"], &token["idtyp"]),
        (&json!(app("billing")), &json!("Invoices.Read"), &json!("user"))
    );
    assert!(token["exp"].as_i64().unwrap() <= NOON.0 + 7_200, "no token outlives its order");
    let chain = world.chain(&answer.access_token);
    assert_eq!(chain.actors, ["daemon", "orders", "web"].map(app));
    assert_eq!(chain.grants[0], record(&world, &handle).id, "revoking the order ends what was issued on it");
    redeem(&world, &handle).unwrap();
    assert_eq!(refused(redeem(&world, &handle)), CheckId::WorkOrderUnused);
    let trail = world.ledger.read(|state| state.audit.clone());
    let of = |action: &str| trail.iter().filter(|record| record.action == action).collect::<Vec<_>>();
    let (made, used) = (of("work_order"), of("work_order_redemption"));
    assert_eq!((made.len(), used.len()), (1, 3));
    assert!(made[0].from_token.is_some() && made[0].token.is_none());
    let path = made[0].object.clone();
    for record in made.iter().chain(&used) {
        assert_eq!(record.purpose.as_deref(), Some("Export the invoices of the day"));
        assert_eq!((record.subject.clone(), record.object.clone()), (Some(user("ada").to_string()), path.clone()));
    }
    assert_eq!((used[0].actors.len(), used[0].refused, used[2].refused), (3, None, Some(CheckId::WorkOrderUnused)));
}

#[test]
fn the_apis_own_worker_stands_in_the_chain_once() {
    let world = contoso();
    let handle = order(&world, &[("may_act", &worker("orders"))]);
    let answer = redeem_as(&world, "orders", handle.expose(), &[]).unwrap();
    assert_eq!(world.chain(&answer.access_token).actors, ["orders", "web"].map(app));
}

#[test]
fn an_order_for_several_apis_gives_a_token_for_one_at_a_time() {
    let world = contoso();
    let scope = "api://billing/.default api://legacy/Legacy.Read";
    let asked = ask(&world, &for_orders(&world), &[("scope", scope), ("redemptions", "3")]).unwrap();
    assert_eq!(asked.scope.as_deref(), Some("api://billing/Invoices.Read api://legacy/Legacy.Read"));
    let handle = asked.access_token;
    let at = |scope: &str| redeem_as(&world, "daemon", handle.expose(), &[("scope", scope)]);
    assert_eq!(claims(&at("api://billing/.default").unwrap().access_token)["scp"], "Invoices.Read");
    assert_eq!(claims(&at("api://legacy/Legacy.Read").unwrap().access_token)["scp"], "Legacy.Read");
    assert_eq!(refused(redeem(&world, &handle)), CheckId::ScopePresent, "it must say which");
    assert_eq!(refused(at(scope)), CheckId::ResourceSingle);
    // By whatever name of the API.
    let by_id = format!("{0}/.default", app("billing"));
    assert_eq!(claims(&at(&by_id).unwrap().access_token)["scp"], "Invoices.Read");
}

/// What is done to the world after the order was made.
type Act = fn(&World, &Secret);

fn edit(world: &World, edit: impl FnOnce(&mut State)) {
    world.estate.edit(edit);
}

/// The kill matrix: an order that worked a moment ago, one change, and the check that refuses it from then on.
const KILLS: &[(&str, Act, CheckId)] = &[
    ("user disabled", |w, _| edit(w, |e| e.person("ada").account_enabled = false), CheckId::UserEnabled),
    ("user deleted", |w, _| edit(w, |e| e.users.retain(|known| known.id != user("ada"))), CheckId::UserKnown),
    (
        "sessions of the user revoked",
        |w, _| edit(w, |e| e.person("ada").sign_in_sessions_valid_from = NOON.plus(1)),
        CheckId::UserNotRevoked,
    ),
    ("tenant disabled", |w, _| edit(w, |e| e.tenant().enabled = false), CheckId::TenantEnabled),
    ("worker disabled", |w, _| edit(w, |e| e.principal("daemon").account_enabled = false), CheckId::ClientEnabled),
    (
        "worker's secret removed",
        |w, _| edit(w, |e| e.app("daemon").password_credentials.clear()),
        CheckId::ClientSecretCorrect,
    ),
    ("issuer disabled", |w, _| edit(w, |e| e.principal("orders").account_enabled = false), CheckId::UserNotRevoked),
    ("first client disabled", |w, _| edit(w, |e| e.principal("web").account_enabled = false), CheckId::UserNotRevoked),
    ("API disabled", |w, _| edit(w, |e| e.principal("billing").account_enabled = false), CheckId::ResourceEnabled),
    ("worker's consent withdrawn", |w, _| edit(w, |e| e.withdraw("daemon", "billing")), CheckId::ConsentGranted),
    ("issuer's consent withdrawn", |w, _| edit(w, |e| e.withdraw("orders", "billing")), CheckId::ConsentGranted),
    (
        "the user took back what they had allowed the issuer",
        |w, _| {
            let mut own = grant("orders", "billing", "Invoices.Read");
            (own.principal_id, own.withdrawn) = (Some(user("ada")), Some(w.now()));
            own.scope = oauth::Scopes::default();
            edit(w, |e| e.objects.grants.push(own));
        },
        CheckId::ConsentGranted,
    ),
    (
        "scope removed from the API",
        |w, _| edit(w, |e| e.app("billing").api.oauth2_permission_scopes.clear()),
        CheckId::ScopeValid,
    ),
    (
        "assignment required, and unassigned",
        |w, _| {
            edit(w, |e| {
                e.principal("billing").app_role_assignment_required = true;
                e.objects.assignments.clear();
            });
        },
        CheckId::UserAssigned,
    ),
    (
        "access blocked",
        |w, _| edit(w, |e| e.objects.policies.push(policy(&["billing"], GrantControls::block()))),
        CheckId::AccessNotBlocked,
    ),
    (
        "second factor demanded",
        |w, _| edit(w, |e| e.objects.policies.push(policy(&["billing"], GrantControls::mfa()))),
        CheckId::MfaEnrolled,
    ),
    (
        "session ended",
        |w, handle| w.ledger.write(vec![Write::RevokeSession(record(w, handle).session)]).unwrap(),
        CheckId::SessionAlive,
    ),
    (
        "the user's authorization of the first client revoked",
        |w, handle| w.ledger.write(vec![Write::RevokeFamily(record(w, handle).grants[0])]).unwrap(),
        CheckId::UserNotRevoked,
    ),
    ("order revoked by the API", |w, handle| revoke_as(w, "orders", handle), CheckId::WorkOrderRevoked),
    ("order given back by the worker", |w, handle| revoke_as(w, "daemon", handle), CheckId::WorkOrderRevoked),
    ("after its end", |w, _| w.advance(86_400), CheckId::WorkOrderCurrent),
];

#[test]
fn the_kill_matrix_gives_no_token() {
    for (what, act, check) in KILLS {
        let world = contoso();
        let handle = order(&world, &[("redemptions", "3")]);
        assert!(redeem(&world, &handle).is_ok(), "{what}");
        act(&world, &handle);
        world.advance(1);
        let answer = redeem(&world, &handle);
        assert_eq!(answer.as_ref().map_err(|refusal| refusal.check).err(), Some(*check), "{what}");
        assert_eq!(refused(answer), *check, "{what}");
        assert_eq!(record(&world, &handle).redeemed, 1, "{what}: a refusal counts as nothing");
        if !matches!(check, CheckId::TenantEnabled | CheckId::ClientEnabled | CheckId::ClientSecretCorrect) {
            let last = world.ledger.read(|state| state.audit.last().cloned()).unwrap();
            assert_eq!((last.action.as_str(), last.refused), ("work_order_redemption", Some(*check)), "{what}");
        }
    }
}

/// The same, by what whoever holds a handle may try.
#[test]
fn a_handle_is_worth_nothing_to_others_elsewhere_or_for_more() {
    let world = contoso();
    edit(&world, |e| e.objects.grants.push(grant("rival", "billing", "Invoices.Read")));
    let handle = order(&world, &[("redemptions", "9"), ("content_digest", DIGEST)]);
    let good = [("content_digest", DIGEST)];
    let text = handle.expose();
    let as_daemon = |changes: &[(&str, &str)]| redeem_as(&world, "daemon", text, changes);
    let with = |name: &'static str, value: &'static str| as_daemon(&[("content_digest", DIGEST), (name, value)]);
    let flipped = format!("{}{}", &text[..text.len() - 2], if text.ends_with("AA") { "BB" } else { "AA" });
    let tampered = [
        text[..text.len() - 1].to_owned(),
        format!("{text}A"),
        format!("{text}="),
        flipped,
        text.to_uppercase(),
        text.replace("wo1.", ""),
    ];
    for handle in &tampered {
        assert_eq!(refused(redeem_as(&world, "daemon", handle, &good)), CheckId::WorkOrderKnown, "{handle}");
    }
    for (what, answer, check) in [
        ("another worker", redeem_as(&world, "rival", text, &good), CheckId::WorkOrderClient),
        ("the API itself", redeem_as(&world, "orders", text, &good), CheckId::WorkOrderClient),
        ("a public client", redeem_as(&world, "phone", text, &good), CheckId::ClientConfidential),
        ("no payload", as_daemon(&[]), CheckId::WorkOrderContent),
        ("another payload", as_daemon(&[("content_digest", OTHER_DIGEST)]), CheckId::WorkOrderContent),
        (
            "a payload's digest that is none",
            as_daemon(&[("content_digest", "sha-256=:AA:")]),
            CheckId::WorkOrderContent,
        ),
        ("another API", with("scope", "api://legacy/Legacy.Read"), CheckId::WorkOrderAudience),
        ("another API, all of it", with("scope", "api://legacy/.default"), CheckId::WorkOrderAudience),
        (
            "a wider scope, which the worker may have elsewhere",
            with("scope", "api://billing/Invoices.Approve"),
            CheckId::ScopeWithinGrant,
        ),
        (
            "a wider scope beside",
            with("scope", "api://billing/Invoices.Read api://billing/Invoices.Approve"),
            CheckId::ScopeWithinGrant,
        ),
        ("userinfo", with("scope", "openid"), CheckId::WorkOrderAudience),
        ("an ID token beside", with("scope", "openid api://billing/Invoices.Read"), CheckId::ScopeWithinGrant),
        (
            "a refresh token beside",
            with("scope", "offline_access api://billing/Invoices.Read"),
            CheckId::ScopeWithinGrant,
        ),
        ("two APIs", with("scope", "api://billing/Invoices.Read api://legacy/Legacy.Read"), CheckId::ResourceSingle),
        (
            "a scope of one API, a `resource` of another",
            as_daemon(&[("content_digest", DIGEST), ("scope", READ), ("resource", "api://legacy")]),
            CheckId::ResourceSingle,
        ),
        (
            "the same by `audience`",
            as_daemon(&[("content_digest", DIGEST), ("scope", READ), ("audience", "api://legacy")]),
            CheckId::ResourceSingle,
        ),
        ("an order for an order", with("requested_token_type", TOKEN_TYPE_WORK_ORDER), CheckId::RequestWellFormed),
        (
            "a refresh token",
            with("requested_token_type", "urn:ietf:params:oauth:token-type:refresh_token"),
            CheckId::RequestWellFormed,
        ),
        ("somebody else as the actor", with("actor_token", "x"), CheckId::RequestWellFormed),
        ("nothing", with("subject_token", ""), CheckId::ParameterPresent),
    ] {
        assert_eq!(answer.as_ref().map_err(|refusal| refusal.check).err(), Some(check), "{what}");
    }
    assert_eq!(record(&world, &handle).redeemed, 0);
    assert!(as_daemon(&good).is_ok(), "and after all that it works");
}

#[test]
fn an_order_that_is_bound_to_a_key_is_redeemed_with_that_key_alone() {
    let world = contoso();
    edit(&world, |e| {
        let second = KeyCredential { key: certificate("second"), ..e.app("daemon").key_credentials[0].clone() };
        e.app("daemon").key_credentials.push(second);
    });
    let bound = json!({"sub": app("daemon"), "cnf": {"x5t#S256": thumbprint(&certificate("daemon"))}}).to_string();
    let handle = order(&world, &[("may_act", &bound), ("redemptions", "2")]);
    assert_eq!(refused(redeem(&world, &handle)), CheckId::WorkOrderKey, "its secret");
    assert_eq!(refused(redeem_with(&world, "daemon", &certificate("second"), &handle)), CheckId::WorkOrderKey);
    assert_eq!(refused(redeem_with(&world, "orders", &certificate("orders"), &handle)), CheckId::WorkOrderClient);
    let unknown = redeem_with(&world, "daemon", &certificate("nobody"), &handle);
    assert_eq!(refused(unknown), CheckId::ClientAssertionSignature);
    assert!(redeem_with(&world, "daemon", &certificate("daemon"), &handle).is_ok());
    assert_eq!(record(&world, &handle).redeemed, 1);
}

#[test]
fn an_order_is_made_from_nothing_but_the_token_that_the_api_received() {
    let world = contoso();
    let whole = world.tokens("ada", "web", "api://orders/access_as_user openid offline_access");
    let app_only = world
        .token_as("daemon", &[("grant_type", "client_credentials"), ("scope", "api://billing/.default")])
        .unwrap()
        .access_token;
    let obo = world.obo("orders", &whole.access_token, READ).unwrap().access_token;
    let first = order(&world, &[]);
    for (what, name, token, changes, check) in [
        ("another audience", "orders", &obo, &[][..], CheckId::AssertionAudience),
        ("another API's call", "rival", &whole.access_token, &[], CheckId::AssertionAudience),
        ("a public client", "phone", &whole.access_token, &[], CheckId::ClientConfidential),
        ("an app-only token", "billing", &app_only, &[], CheckId::AssertionUser),
        ("an ID token", "web", whole.id_token.as_ref().unwrap(), &[], CheckId::AssertionAccessToken),
        ("a refresh token", "orders", whole.refresh_token.as_ref().unwrap(), &[], CheckId::AssertionForm),
        ("an order", "orders", &first, &[], CheckId::AssertionForm),
        (
            "a wrong type",
            "orders",
            &whole.access_token,
            &[("subject_token_type", "urn:ietf:params:oauth:token-type:id_token")],
            CheckId::RequestWellFormed,
        ),
        ("no token (X-07)", "orders", &whole.access_token, &[("subject_token", "")], CheckId::ParameterPresent),
        (
            "an actor of one's own (X-12)",
            "orders",
            &whole.access_token,
            &[("actor_token", "x")],
            CheckId::RequestWellFormed,
        ),
        ("no workers", "orders", &whole.access_token, &[("may_act", "")], CheckId::ParameterPresent),
        ("no purpose", "orders", &whole.access_token, &[("purpose", "")], CheckId::ParameterPresent),
        ("no scope", "orders", &whole.access_token, &[("scope", "")], CheckId::ParameterPresent),
        (
            "more than Orders has (X-08)",
            "orders",
            &whole.access_token,
            &[("scope", "api://billing/Invoices.Approve")],
            CheckId::ConsentGranted,
        ),
        (
            "more than Orders has, at the second API",
            "orders",
            &whole.access_token,
            &[("scope", "api://legacy/Legacy.Read api://billing/Invoices.Approve")],
            CheckId::ConsentGranted,
        ),
        (
            "what nobody publishes",
            "orders",
            &whole.access_token,
            &[("scope", "api://billing/Nothing")],
            CheckId::ScopeValid,
        ),
        ("an unknown API", "orders", &whole.access_token, &[("scope", "api://nowhere/x")], CheckId::ResourceKnown),
        (
            "an `audience` that `scope` does not name",
            "orders",
            &whole.access_token,
            &[("audience", "api://legacy")],
            CheckId::ResourceKnown,
        ),
        ("userinfo", "orders", &whole.access_token, &[("scope", "openid")], CheckId::ScopeValid),
        (
            "userinfo beside",
            "orders",
            &whole.access_token,
            &[("scope", "api://billing/Invoices.Read openid")],
            CheckId::ScopeValid,
        ),
    ] {
        let answer = ask_as(&world, name, token, changes);
        assert_eq!(answer.as_ref().map_err(|refusal| refusal.check).err(), Some(check), "{what}");
    }
    let nobody = json!({"sub": user("ada")}).to_string();
    for may_act in [worker("phone"), nobody] {
        let answer = ask(&world, &whole.access_token, &[("may_act", &may_act)]);
        assert_eq!(refused(answer), CheckId::WorkOrderWorker, "{may_act}");
    }
    let nine: Vec<String> = (1..=9).map(|n| format!("api://api-{n}/Read")).collect();
    let answer = ask(&world, &whole.access_token, &[("scope", &nine.join(" "))]);
    assert_eq!(refused(answer), CheckId::WorkOrderTerms, "nine APIs");
    edit(&world, |e| e.principal("daemon").account_enabled = false);
    assert_eq!(refused(ask(&world, &whole.access_token, &[])), CheckId::WorkOrderWorker, "a disabled worker");
    edit(&world, |e| e.principal("daemon").account_enabled = true);
    world.advance(86_400);
    assert_eq!(refused(ask(&world, &whole.access_token, &[])), CheckId::AssertionCurrent);
    assert_eq!(world.ledger.read(|state| state.work_orders.len()), 1, "the first, and no other");
}

#[test]
fn every_api_of_an_order_is_asked_for_its_own_policies() {
    let world = contoso();
    let token = for_orders(&world);
    edit(&world, |e| e.objects.policies.push(policy(&["legacy"], GrantControls::block())));
    let both = [("scope", "api://billing/Invoices.Read api://legacy/Legacy.Read")];
    assert_eq!(refused(ask(&world, &token, &both)), CheckId::AccessNotBlocked);
    assert!(ask(&world, &token, &[]).is_ok());
}

#[test]
fn a_wish_that_is_no_work_order_is_an_unsupported_grant_as_at_entra() {
    let world = contoso();
    let token = for_orders(&world);
    for changes in [
        &[("requested_token_type", "")][..],
        &[("requested_token_type", TOKEN_TYPE_ACCESS_TOKEN)],
        &[("requested_token_type", "urn:ietf:params:oauth:token-type:refresh_token")],
    ] {
        let refusal = ask(&world, &token, changes).unwrap_err();
        assert_eq!(
            (refusal.check, refusal.body.error_codes.clone()),
            (CheckId::GrantSupported, vec![70_003]),
            "{changes:?}"
        );
    }
}

/// A user who must be there: the order waits, says where, and goes on once they were.
#[test]
fn an_order_that_needs_its_user_waits_and_says_where() {
    let world = contoso();
    let handle = order(&world, &[("redemptions", "2")]);
    edit(&world, |e| e.objects.policies.push(policy(&["billing"], GrantControls::mfa())));
    let refusal = redeem(&world, &handle).unwrap_err();
    assert_eq!(refusal.body.error, "interaction_required");
    let hint = refusal.body.deputize_hint.clone().unwrap();
    assert_eq!((hint["state"].as_str(), hint["check"].as_str()), (Some("parked"), Some("access.mfa_enrolled")));
    let address = hint["presenceUrl"].as_str().unwrap();
    assert!(address.starts_with(HOST) && address.ends_with("/work-orders"), "{address}");
    assert!(refusal.body.error_description.contains(address));
    assert_eq!(record(&world, &handle).parked.map(|parked| parked.check), Some(CheckId::MfaEnrolled));
    // Nothing is remembered as refused either: the next redemption is decided afresh.
    edit(&world, |e| e.objects.policies.clear());
    assert!(redeem(&world, &handle).is_ok());
    assert_eq!(record(&world, &handle).parked, None);
}

#[test]
fn what_the_user_cannot_mend_does_not_wait() {
    for (what, act, check) in KILLS {
        let world = contoso();
        let handle = order(&world, &[("redemptions", "3")]);
        act(&world, &handle);
        world.advance(1);
        let hint = redeem(&world, &handle).unwrap_err().body.deputize_hint.unwrap();
        let waits = matches!(check, CheckId::SessionAlive | CheckId::MfaEnrolled);
        assert_eq!(hint.get("presenceUrl").is_some(), waits, "{what}");
        assert_eq!(record(&world, &handle).parked.is_some(), waits, "{what}");
    }
}

#[test]
fn revocation_is_for_the_api_and_its_workers_and_ends_what_was_issued() {
    let world = contoso();
    let handle = order(&world, &[("redemptions", "3")]);
    let token = redeem(&world, &handle).unwrap().access_token;
    for stranger in ["rival", "billing", "web"] {
        revoke_as(&world, stranger, &handle);
    }
    // Elsewhere, the same application is another party; and without its credential it may be anybody.
    revoke_at(&world, "fabrikam.example", &credential("orders"), &handle);
    edit(&world, |e| e.app("orders").is_fallback_public_client = true);
    revoke_at(&world, "contoso.example", &form(&[("client_id", &app("orders").to_string())]), &handle);
    let onward = |world: &World| world.obo("billing", &token, "api://legacy/Legacy.Read");
    edit(&world, |e| e.objects.grants.push(grant("billing", "legacy", "Legacy.Read")));
    assert!(redeem(&world, &handle).is_ok() && onward(&world).is_ok());
    revoke_as(&world, "orders", &handle);
    assert_eq!(refused(redeem(&world, &handle)), CheckId::WorkOrderRevoked);
    assert_eq!(refused(onward(&world)), CheckId::UserNotRevoked, "a token of it is no assertion any more");
}

#[test]
fn no_more_orders_are_outstanding_than_a_user_may_have() {
    let world = contoso();
    let token = for_orders(&world);
    let one = order(&world, &[]);
    let record = record(&world, &one);
    let fill = |n: u64| {
        let id = deputize_core::id::FamilyId(uuid::Uuid::from_u128(u128::from(n) + 1));
        let mut digest = [0; 32];
        digest[..8].copy_from_slice(&n.to_be_bytes());
        Write::InsertWorkOrder(Digest(digest), Box::new(WorkOrderRecord { id, ..record.clone() }), MOST)
    };
    world.ledger.write((1..MOST.of_user).map(fill).collect()).unwrap();
    let refusal = ask(&world, &token, &[]).unwrap_err();
    assert_eq!((refusal.check, refusal.status), (CheckId::WorkOrderCapacity, 429));
    assert!(refusal.retry_after.is_some());
    world.ledger.outstanding_elsewhere.store(MOST.of_tenant, Ordering::SeqCst);
    let of_bob = world.tokens("bob", "web", "api://orders/access_as_user").access_token;
    assert_eq!(refused(ask(&world, &of_bob, &[])), CheckId::WorkOrderCapacity, "of all users");
    world.ledger.outstanding_elsewhere.store(0, Ordering::SeqCst);
    world.advance(86_400);
    // The session lives on; those orders have ended.
    assert!(ask(&world, &for_orders(&world), &[]).is_ok());
}

#[test]
fn the_last_redemption_is_one_however_many_ask() {
    let world = contoso();
    let handle = order(&world, &[]);
    let digest = world.crypto.keyed_digest(handle.expose());
    // Another process was faster, after this one had read.
    world.ledger.write(vec![Write::RedeemWorkOrder(digest)]).unwrap();
    assert!(world.ledger.write(vec![Write::RedeemWorkOrder(digest)]).is_err());
    assert_eq!(refused(redeem(&world, &handle)), CheckId::WorkOrderUnused);
}

#[test]
fn a_redemption_is_decided_in_its_own_tenant_under_any_alias() {
    let world = contoso();
    let handle = order(&world, &[("redemptions", "2")]);
    let form = redemption(handle.expose()).iter().fold(credential("daemon"), |form, (n, v)| form.with(n, v));
    assert!(world.token_at("organizations", &form, None).is_ok());
    let elsewhere = redemption(handle.expose()).iter().fold(credential("orders"), |form, (n, v)| form.with(n, v));
    assert_eq!(refused(world.token_at("fabrikam.example", &elsewhere, None)), CheckId::WorkOrderKnown);
}
