//! On-Behalf-Of: X-02 to X-11, X-15.
use crate::world::estate::{CONTOSO, FABRIKAM, grant, secret};
use crate::world::{FakeCrypto, HOST, NOON, World, app, claims, form, obo, principal, refused, request, user};
use decision::CheckId;
use deputize_core::model::{PermissionGrant, Profile};
use oauth::{Scopes, Secret};
use proptest::prelude::*;
use serde_json::{Value, json};

const SCOPE: &str = "api://orders/access_as_user openid offline_access";
const DOWN: &str = "api://billing/Invoices.Read";

/// The claims of a good assertion for Orders, to be spoiled.
fn good(world: &World) -> (Secret, Value) {
    let token = world.tokens("ada", "web", SCOPE).access_token;
    let all = Value::Object(claims(&token));
    (token, all)
}

fn spoiled(claims: &Value, changes: Value) -> Secret {
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
            let shown: Scopes = page.permissions.iter().flat_map(|(_, all)| all).map(|p| p.value.as_str()).collect();
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

#[test]
fn x_09_an_assertion_is_refused_after_its_expiry_and_the_skew() {
    let world = World::new();
    let (token, all) = good(&world);
    let expires = all["exp"].as_i64().unwrap();
    world.advance(expires + 59 - NOON.0);
    assert!(world.obo("orders", &token, DOWN).is_ok());
    world.advance(1);
    assert_eq!(refused(world.obo("orders", &token, DOWN)), CheckId::AssertionCurrent);
    for exp in [i64::MIN, -1, 0] {
        assert_eq!(
            refused(world.obo("orders", &spoiled(&all, json!({"exp": exp})), DOWN)),
            CheckId::AssertionCurrent,
            "{exp}"
        );
    }
    let fresh = World::new();
    let (_, all) = good(&fresh);
    assert!(fresh.obo("orders", &spoiled(&all, json!({"nbf": NOON.0 + 60})), DOWN).is_ok());
    for nbf in [NOON.0 + 61, i64::MAX] {
        assert_eq!(
            refused(fresh.obo("orders", &spoiled(&all, json!({"nbf": nbf})), DOWN)),
            CheckId::AssertionNotBefore,
            "{nbf}"
        );
    }
    let start = std::sync::Barrier::new(64);
    let served: usize = std::thread::scope(|scope| {
        let (fresh, start, all) = (&fresh, &start, &all);
        let tries: Vec<_> = (0..64)
            .map(|_| {
                scope.spawn(move || {
                    let token = spoiled(all, json!({"exp": NOON.0 + 1}));
                    start.wait();
                    usize::from(fresh.obo("orders", &token, DOWN).is_ok())
                })
            })
            .collect();
        tries.into_iter().map(|one| one.join().unwrap()).sum()
    });
    assert_eq!(served, 64, "decided at one moment each");
}

#[test]
fn x_10_what_is_got_on_behalf_of_a_user_ends_with_the_root_session() {
    let world = World::new();
    world.estate.edit(|estate| estate.tenant().settings.session_seconds = 1_000);
    let root = world.tokens("ada", "web", SCOPE);
    let ends = NOON.plus(1_000).0;
    assert_eq!(claims(&root.access_token)["exp"], ends);
    assert_eq!(claims(root.id_token.as_ref().unwrap())["exp"], ends);
    world.advance(400);
    let down = world.obo("orders", &root.access_token, "api://billing/Invoices.Read offline_access openid").unwrap();
    assert_eq!(claims(&down.access_token)["exp"], ends);
    assert_eq!((down.expires_in, down.ext_expires_in), (600, Some(600)));
    world.advance(600);
    // The assertion itself is within its skew still; its session is not.
    assert_eq!(refused(world.obo("orders", &root.access_token, DOWN)), CheckId::SessionAlive);
    assert_eq!(refused(world.refresh("orders", &down.refresh_token.unwrap())), CheckId::RefreshCurrent);
}

#[test]
fn x_10_in_the_native_profile_a_token_never_outlives_its_assertion() {
    let world = World::new();
    let (token, all) = good(&world);
    let expires = all["exp"].as_i64().unwrap();
    world.advance(expires - 10 - NOON.0);
    let vault = "api://vault/Vault.Read";
    let down = world.obo("orders", &token, vault).unwrap();
    assert_eq!((&claims(&down.access_token)["exp"], down.expires_in), (&json!(expires), 10));
    world.advance(10);
    assert_eq!(
        refused(world.obo("orders", &token, vault)),
        CheckId::AssertionCurrent,
        "no token that is dead when it is born"
    );
    let entra = world.obo("orders", &token, DOWN).unwrap();
    assert!(entra.expires_in >= 3_600, "the entra profile follows policy and session");
}

#[test]
fn x_11_a_chain_does_not_return_to_where_it_came_through() {
    let world = World::new();
    let (token, _) = good(&world);
    let down = world.obo("orders", &token, DOWN).unwrap().access_token;
    let back = |world: &World| world.obo("billing", &down, "api://orders/access_as_user");
    assert_eq!(refused(back(&world)), CheckId::ChainLoop);
    world.estate.edit(|estate| estate.tenant().settings.allow_chain_loops = true);
    assert!(back(&world).is_ok(), "unless the tenant says so");
}

#[test]
fn x_11_a_chain_has_an_end() {
    for (setting, longest) in [(5, 5), (2, 2), (0, 0), (100, 7), (255, 7)] {
        let world = World::new();
        world.estate.edit(|estate| {
            estate.tenant().settings.allow_chain_loops = true;
            estate.tenant().settings.max_chain_depth = setting;
        });
        let (mut token, _) = good(&world);
        let mut hops = 0;
        let check = loop {
            let (from, to) = if hops % 2 == 0 { ("orders", DOWN) } else { ("billing", "api://orders/access_as_user") };
            match world.obo(from, &token, to) {
                Ok(answer) => token = answer.access_token,
                Err(refusal) => break refusal.check,
            }
            hops += 1;
        };
        assert_eq!((check, hops), (CheckId::ChainDepth, longest), "max_chain_depth = {setting}");
    }
}

#[test]
fn x_11_a_chain_of_a_hundred_is_refused_however_it_was_made() {
    use deputize_core::ports::Crypto as _;
    let world = World::new();
    let (token, all) = good(&world);
    let mut chain = world.chain(&token);
    chain.actors = (0..100).map(|n| app(&n.to_string())).collect();
    let sealed = world.crypto.seal(&chain.encode());
    assert_eq!(refused(world.obo("orders", &spoiled(&all, json!({"aio": sealed})), DOWN)), CheckId::ChainDepth);
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
fn x_16_what_conditional_access_wants_comes_as_claims_that_mend_it() {
    use crate::world::estate::policy;
    use deputize_core::ledger::Write;
    use deputize_core::model::GrantControls;
    let world = World::new();
    let browser = world.sign_in("ada");
    let token = world.redeem("web", &world.code(&browser, "web", SCOPE)).unwrap().access_token;
    let context = GrantControls { authentication_context: Some("c1".into()), ..GrantControls::default() };
    world.estate.edit(|estate| estate.objects.policies.push(policy(&["billing"], context)));
    let refusal = world.obo("orders", &token, DOWN).unwrap_err();
    assert_eq!((refusal.body.error.as_str(), refusal.check), ("interaction_required", CheckId::ContextSatisfied));
    assert_eq!(refusal.body.claims.as_deref(), Some(r#"{"access_token":{"acrs":{"essential":true,"value":"c1"}}}"#));
    // At the client the same claims ask for the same strength, and the stronger session mends it.
    let asking = crate::world::altered(&request("web", SCOPE), &[("claims", refusal.body.claims.as_deref().unwrap())]);
    assert_eq!(
        crate::world::parameter(&world.authorize(&asking, &browser), "error").as_deref(),
        Some("interaction_required")
    );
    let mut session = world.session(&browser);
    session.acrs.push("c1".into());
    world.ledger.write(vec![Write::PutSession(session.clone())]).unwrap();
    let stronger = deputize_core::authorize::Browser { session: Some(session.into()), ..browser };
    let code = crate::world::parameter(&world.authorize(&asking, &stronger), "code").unwrap();
    let token = world.redeem("web", &code).unwrap().access_token;
    let down = claims(&world.obo("orders", &token, DOWN).unwrap().access_token);
    assert_eq!(down["acrs"], json!(["c1"]));
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
