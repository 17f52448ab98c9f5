//! Scopes: none is got that was not asked for, published and consented to.
use super::delegation::{DOWN, good};
use crate::world::estate::grant;
use crate::world::{World, app, claims, obo, refused, request, user};
use decision::CheckId;
use deputize_core::model::PermissionGrant;
use oauth::Scopes;
use proptest::prelude::*;

#[test]
fn x_08_no_scope_is_got_that_was_not_consented_published_and_asked_for() {
    let world = World::new();
    let (token, _) = good(&world);
    for (scope, check) in [
        ("api://billing/Invoices.Approve", CheckId::ConsentGranted),
        ("api://billing/Invoices.Void", CheckId::ConsentGranted),
        ("api://billing/Invoices.Export", CheckId::ScopeValid),
        ("api://billing/Invoices.Reader", CheckId::ScopeValid),
        ("api://billing/*", CheckId::ScopeValid),
        ("api://billing/.default api://billing/Invoices.Read", CheckId::ScopeValid),
        ("api://billing/Invoices.Read api://legacy/Legacy.Read", CheckId::ResourceSingle),
        ("api://billing/.default api://legacy/.default", CheckId::ResourceSingle),
        ("api://orders/access_as_user", CheckId::SelfToken),
        ("api://web/x", CheckId::ResourceKnown),
        ("api://billing/", CheckId::ScopeValid),
        ("api://billing", CheckId::ScopeValid),
        ("Invoices.Read", CheckId::ScopeValid),
        ("/Invoices.Read", CheckId::ScopeValid),
        ("", CheckId::ScopePresent),
        ("   ", CheckId::ScopePresent),
    ] {
        assert_eq!(refused(world.obo("orders", &token, scope)), check, "{scope:?}");
    }
    let all = world.obo("orders", &token, "api://billing/.default").unwrap();
    assert_eq!(claims(&all.access_token)["scp"], "Invoices.Read", "`.default` is what was consented to");
    let both = [&obo(token.expose(), DOWN)[..], &[("resource", "api://legacy")]].concat();
    assert_eq!(refused(world.token_as("orders", &both)), CheckId::ResourceSingle);
    let alone = [&obo(token.expose(), "openid")[..], &[("resource", "api://billing")]].concat();
    assert_eq!(refused(world.token_as("orders", &alone)), CheckId::ResourceParameterAllowed);
}

/// One random resource: which of six permissions are published, for administrators, and consented to by whom.
#[derive(Clone, Debug)]
struct Graph {
    published: u8,
    enabled: u8,
    admin_only: u8,
    by_tenant: u8,
    by_user: u8,
    by_others: u8,
    pre_authorized: u8,
    declared: Option<u8>,
    /// `None` is `.default`.
    asked: Option<u8>,
}

fn graph() -> impl Strategy<Value = Graph> {
    let bits = || 0_u8..64;
    (
        (bits(), bits(), bits(), bits()),
        (bits(), bits(), bits()),
        proptest::option::of(bits()),
        proptest::option::of(1_u8..64),
    )
        .prop_map(
            |((published, enabled, admin_only, by_tenant), (by_user, by_others, pre_authorized), declared, asked)| {
                Graph { published, enabled, admin_only, by_tenant, by_user, by_others, pre_authorized, declared, asked }
            },
        )
}

fn words(bits: u8) -> Vec<String> {
    (0..6).filter(|n| bits >> n & 1 == 1).map(|n| format!("P{n}")).collect()
}

impl Graph {
    fn apply(&self, world: &World, client: &str) {
        use crate::world::estate::permission;
        use deputize_core::id::ObjectId;
        use deputize_core::model::{
            AccessType, ConsentType, PermissionScope, PreAuthorizedApplication, RequiredResourceAccess, ResourceAccess,
        };
        world.estate.edit(|estate| {
            estate.withdraw(client, "billing");
            estate.app("billing").api.oauth2_permission_scopes = words(self.published)
                .into_iter()
                .map(|value| PermissionScope {
                    id: permission(&value),
                    kind: if words(self.admin_only).contains(&value) { ConsentType::Admin } else { ConsentType::User },
                    is_enabled: words(self.enabled).contains(&value),
                    value,
                    ..PermissionScope::default()
                })
                .collect();
            estate.app("billing").api.pre_authorized_applications = vec![PreAuthorizedApplication {
                app_id: app(client),
                delegated_permission_ids: words(self.pre_authorized).iter().map(|value| permission(value)).collect(),
            }];
            let declared = &mut estate.app(client).required_resource_access;
            declared.retain(|access| access.resource_app_id != app("billing"));
            declared.extend(self.declared.map(|bits| {
                RequiredResourceAccess {
                    resource_app_id: app("billing"),
                    resource_access: words(bits)
                        .iter()
                        .map(|value| ResourceAccess { id: ObjectId(permission(value).0), kind: AccessType::Scope })
                        .collect(),
                }
            }));
            let of = |bits, principal_id| PermissionGrant {
                principal_id,
                scope: words(bits).into_iter().collect(),
                ..grant(client, "billing", "")
            };
            estate.objects.grants.extend([
                of(self.by_tenant, None),
                of(self.by_user, Some(user("ada"))),
                of(self.by_others, Some(user("bob"))),
            ]);
        });
    }

    fn scope(&self) -> String {
        match self.asked {
            None => "api://billing/.default".to_owned(),
            Some(bits) => words(bits).iter().map(|word| format!("api://billing/{word}")).collect::<Vec<_>>().join(" "),
        }
    }

    /// The rule, said over bits: asked and published and enabled, and consented to by someone who may.
    fn allowed(&self) -> u8 {
        let by_admin = self.by_tenant | self.pre_authorized;
        let consented = by_admin | (self.by_user & !self.admin_only);
        self.asked.unwrap_or(63) & self.published & self.enabled & consented
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn x_08_issued_scopes_are_what_is_asked_published_and_consented_to(graph in graph()) {
        let world = World::new();
        let (token, _) = good(&world);
        graph.apply(&world, "orders");
        let allowed: Scopes = words(graph.allowed()).into_iter().collect();
        let whole = graph.asked.is_none_or(|asked| asked == graph.allowed());
        let answer = world.obo("orders", &token, &graph.scope());
        if whole && !allowed.is_empty() {
            let answer = answer.map_err(|refusal| TestCaseError::fail(refusal.check.to_string()))?;
            let issued = claims(&answer.access_token)["scp"].as_str().unwrap().to_owned();
            prop_assert_eq!(Scopes::from(issued), allowed);
        } else {
            let check = refused(answer);
            prop_assert!(
                matches!(check, CheckId::ScopeValid | CheckId::ResourceDeclared | CheckId::ConsentGranted | CheckId::ConsentAdmin),
                "{}", check
            );
        }
    }

    /// The same graphs at sign-in: whoever sees a consent page sees no more than is published and asked for, and what comes
    /// of agreeing is never more than what may be had.
    #[test]
    fn x_08_what_a_user_agrees_to_is_what_was_shown_and_never_an_administrators_permission(graph in graph()) {
        use deputize_core::authorize::Answer;
        let world = World::new();
        graph.apply(&world, "web");
        let browser = world.sign_in("ada");
        let asking = request("web", &graph.scope());
        let before = world.ledger.read(|ledger| ledger.audit.len());
        let answer = world.authorize(&asking, &browser);
        if let Answer::Consent(page) = &answer {
            let shown: Scopes = page.sections.iter().flat_map(|section| &section.permissions).map(|p| p.value.as_str()).collect();
            prop_assert!(!page.may_grant_for_all && !shown.is_empty());
            let reachable: Scopes = words(graph.published & graph.enabled).into_iter().collect();
            prop_assert!(reachable.covers(&shown));
            let answer = world.decide(&asking, &browser, &page.ticket, (true, true));
            let mut granted = Scopes::default();
            world.estate.edit(|estate| granted = estate.objects.grants.last().unwrap().scope.clone());
            // What an administrator has allowed already is shown too, and is nothing for a user to give.
            let of_administrators: Scopes = words(graph.admin_only).into_iter().collect();
            prop_assert_eq!(&granted, &shown.difference(&of_administrators));
            world.estate.edit(|estate| assert_eq!(estate.objects.grants.last().unwrap().principal_id, Some(user("ada"))));
            let admin_only: Scopes = words(graph.admin_only & !graph.by_tenant & !graph.pre_authorized).into_iter().collect();
            let code = crate::world::parameter(&answer, "code");
            if let Some(code) = code {
                let scp = claims(&world.redeem("web", &code).unwrap().access_token)["scp"].as_str().unwrap().to_owned();
                prop_assert!(Scopes::from(scp).intersection(&admin_only).is_empty());
            }
        } else {
            prop_assert!(world.ledger.read(|ledger| ledger.audit.len()) <= before + 1);
        }
    }
}
