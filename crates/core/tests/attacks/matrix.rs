//! X-01, the generated matrix: every way to a token, and every change that must bind at once.
use crate::world::estate::{State, policy, role};
use crate::world::{World, app, claims, principal, refused, user};
use decision::CheckId;
use deputize_core::ledger::Write;
use deputize_core::model::{GrantControls, Locations, Place};
use serde_json::{Map, Value};

/// What became of a request.
#[derive(Clone, Debug, PartialEq)]
enum Cell {
    Refused(CheckId),
    /// A token with fewer scopes or roles than before.
    Reduced,
    /// The change does not concern this way to a token.
    Unaffected,
}
use Cell::{Reduced, Refused, Unaffected};

/// The rows: what was obtained before the change, and how it is used after it.
const GRANTS: [&str; 6] = ["code", "refresh", "OBO", "client credentials", "userinfo", "device"];

enum Change {
    Estate(fn(&mut State)),
    SessionEnded,
}

/// The columns, each with its outcome per row. A device that was approved is as a code that was issued.
fn changes() -> Vec<(&'static str, Change, [Cell; 5])> {
    use CheckId as C;
    let user_cells = |check: CheckId| [Refused(check), Refused(check), Refused(check), Unaffected, Refused(check)];
    let all = |check: CheckId| [(); 5].map(|()| Refused(check));
    let resource = |check: CheckId| [Refused(check), Refused(check), Refused(check), Refused(check), Unaffected];
    let delegated = |check: CheckId| [Refused(check), Refused(check), Refused(check), Unaffected, Unaffected];
    let estate = Change::Estate;
    vec![
        ("nothing", estate(|_| ()), [(); 5].map(|()| Unaffected)),
        ("user disabled", estate(|e| e.person("ada").account_enabled = false), user_cells(C::UserEnabled)),
        ("user deleted", estate(|e| e.users.retain(|known| known.id != user("ada"))), user_cells(C::UserKnown)),
        (
            "user sessions revoked, or password reset",
            estate(|e| e.person("ada").sign_in_sessions_valid_from = crate::world::NOON.plus(1)),
            user_cells(C::UserNotRevoked),
        ),
        ("session ended", Change::SessionEnded, user_cells(C::SessionAlive)),
        ("tenant disabled", estate(|e| e.tenant().enabled = false), all(C::TenantEnabled)),
        (
            "client disabled",
            estate(|e| {
                for name in ["web", "orders", "daemon"] {
                    e.principal(name).account_enabled = false;
                }
            }),
            all(C::ClientEnabled),
        ),
        (
            "client deleted",
            estate(|e| {
                e.objects.principals.retain(|known| !["web", "orders", "daemon"].map(app).contains(&known.app_id));
            }),
            all(C::ClientKnown),
        ),
        (
            // Whoever bears a userinfo token needs no client credential; those who use a certificate keep it.
            "client secret removed",
            estate(|e| {
                for name in ["web", "orders", "daemon"] {
                    e.app(name).password_credentials.clear();
                }
            }),
            [
                Refused(C::ClientSecretCorrect),
                Refused(C::ClientSecretCorrect),
                Refused(C::ClientSecretCorrect),
                Refused(C::ClientSecretCorrect),
                Unaffected,
            ],
        ),
        ("resource disabled", estate(|e| e.principal("billing").account_enabled = false), resource(C::ResourceEnabled)),
        (
            "resource deleted",
            estate(|e| e.objects.principals.retain(|known| known.id != principal("billing"))),
            resource(C::ResourceKnown),
        ),
        (
            // No delegated consent stands behind app roles, nor behind `openid`.
            "consent withdrawn",
            estate(|e| ["web", "orders"].iter().for_each(|name| e.withdraw(name, "billing"))),
            delegated(C::ConsentGranted),
        ),
        (
            // `.default` is reduced; a refresh without `scope` asks by name for what was granted before, so it is refused, and
            // the client asks again for what is left.
            "consent to one of two scopes withdrawn",
            estate(|e| {
                for grant in &mut e.objects.grants {
                    if grant.resource_id == principal("billing") {
                        grant.scope = ["Invoices.Read"].into_iter().collect();
                    }
                }
            }),
            [Reduced, Refused(C::ConsentGranted), Reduced, Unaffected, Unaffected],
        ),
        (
            "one scope removed from the app",
            estate(|e| e.app("billing").api.oauth2_permission_scopes.retain(|scope| scope.value != "Invoices.Approve")),
            [Reduced, Refused(C::ScopeValid), Reduced, Unaffected, Unaffected],
        ),
        (
            "all scopes removed from the app",
            estate(|e| e.app("billing").api.oauth2_permission_scopes.clear()),
            [Refused(C::ConsentGranted), Refused(C::ScopeValid), Refused(C::ConsentGranted), Unaffected, Unaffected],
        ),
        (
            "app role unassigned",
            estate(|e| e.objects.assignments.retain(|one| one.app_role_id == role("Invoices.Auditor"))),
            [Reduced, Reduced, Reduced, Reduced, Unaffected],
        ),
        (
            "member removed from the group that has the app role",
            estate(|e| e.groups.clear()),
            [Reduced, Reduced, Reduced, Unaffected, Unaffected],
        ),
        (
            "assignment required, and unassigned",
            estate(|e| {
                e.principal("billing").app_role_assignment_required = true;
                e.objects.assignments.clear();
            }),
            [
                Refused(C::UserAssigned),
                Refused(C::UserAssigned),
                Refused(C::UserAssigned),
                Refused(C::ClientAssigned),
                Unaffected,
            ],
        ),
        (
            "conditional access now needs MFA at this resource",
            estate(|e| {
                e.objects.policies.push(policy(&["billing"], GrantControls::mfa()));
            }),
            delegated(C::MfaEnrolled),
        ),
        (
            "conditional access now needs MFA everywhere",
            estate(|e| {
                e.second_factors.push(user("ada"));
                e.objects.policies.push(policy(&[], GrantControls::mfa()));
            }),
            user_cells(C::MfaSatisfied),
        ),
        (
            "conditional access now needs an authentication context",
            estate(|e| e.objects.policies.push(policy(&[], GrantControls::context("c1")))),
            user_cells(C::ContextSatisfied),
        ),
        (
            "conditional access now blocks other networks",
            estate(|e| {
                let mut policy = policy(&[], GrantControls::block());
                policy.conditions.locations =
                    Some(Locations { exclude_locations: vec![Place::AllTrusted], ..Locations::default() });
                e.objects.policies.push(policy);
            }),
            user_cells(C::AccessNotBlocked),
        ),
        (
            "conditional access now blocks",
            estate(|e| e.objects.policies.push(policy(&[], GrantControls::block()))),
            user_cells(C::AccessNotBlocked),
        ),
    ]
}

fn rights(claims: &Map<String, Value>) -> (usize, usize) {
    let scopes = claims.get("scp").and_then(Value::as_str).map_or(0, |scp| scp.split(' ').count());
    (scopes, claims.get("roles").and_then(Value::as_array).map_or(0, Vec::len))
}

fn run(grant: &str, change: &Change) -> Cell {
    let world = World::new();
    world.estate.edit(|estate| {
        estate.objects.grants.push(crate::world::estate::grant("orders", "billing", "Invoices.Approve"));
    });
    let browser = world.sign_in("ada");
    let scope = "api://billing/.default openid offline_access";
    let code = world.code(&browser, "web", scope);
    let refresh = world.redeem("web", &world.code(&browser, "web", scope)).unwrap().refresh_token.unwrap();
    let to_orders =
        world.redeem("web", &world.code(&browser, "web", "api://orders/access_as_user")).unwrap().access_token;
    let device = world.approved_device(&browser, "web", scope);
    let for_userinfo = world.redeem("web", &world.code(&browser, "web", "openid profile")).unwrap().access_token;
    match change {
        Change::Estate(change) => world.estate.edit(change),
        Change::SessionEnded => {
            world.ledger.write(vec![Write::RevokeSession(world.session(&browser).id)]).unwrap();
        }
    }
    // Who binds at once, binds within the second.
    world.advance(1);
    let answer = match grant {
        "code" => world.redeem("web", &code),
        "refresh" => world.refresh("web", &refresh),
        "OBO" => world.obo("orders", &to_orders, "api://billing/.default"),
        "device" => {
            let grant = "urn:ietf:params:oauth:grant-type:device_code";
            world.token_as("web", &[("grant_type", grant), ("device_code", device.expose())])
        }
        "client credentials" => {
            world.token_as("daemon", &[("grant_type", "client_credentials"), ("scope", "api://billing/.default")])
        }
        _ => {
            return match world.userinfo(&for_userinfo) {
                Ok(_) => Unaffected,
                Err(denial) => Refused(denial.id()),
            };
        }
    };
    match answer {
        Err(refusal) => Refused(refused::<()>(Err(refusal))),
        Ok(answer) => {
            let whole = if grant == "client credentials" { (0, 1) } else { (2, 2) };
            if rights(&claims(&answer.access_token)) == whole { Unaffected } else { Reduced }
        }
    }
}

#[test]
fn x_01_every_change_binds_every_grant() {
    let mut wrong = Vec::new();
    for (what, change, expected) in changes() {
        let device = expected[0].clone();
        for (grant, expected) in GRANTS.iter().zip(expected.into_iter().chain([device])) {
            let found = run(grant, &change);
            if found != expected {
                wrong.push(format!("{what} × {grant}: {found:?}, not {expected:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A refusal consumes nothing: once the tenant mends what was wrong, the same code works.
#[test]
fn x_01_a_refused_code_works_once_the_cause_is_mended() {
    let world = World::new();
    let code = world.code(&world.sign_in("ada"), "web", "api://orders/access_as_user");
    world.estate.edit(|estate| estate.principal("orders").account_enabled = false);
    assert_eq!(refused(world.redeem("web", &code)), CheckId::ResourceEnabled);
    world.estate.edit(|estate| estate.principal("orders").account_enabled = true);
    assert!(world.redeem("web", &code).is_ok());
}
