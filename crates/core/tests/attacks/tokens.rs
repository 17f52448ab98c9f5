//! What stands in the tokens, and what does not.
use crate::world::estate::{CONTOSO, certificate};
use crate::world::{FakeCrypto, HOST, NOON, World, app, claims, form, principal, refused, request, user};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use decision::CheckId;
use oauth::{CLIENT_ASSERTION_JWT_BEARER, Secret};
use serde_json::{Map, Value, json};

fn header(token: &Secret) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.expose().split('.').next().unwrap()).unwrap()).unwrap()
}

fn names(claims: &Map<String, Value>) -> Vec<&str> {
    let mut names: Vec<&str> = claims.keys().map(String::as_str).collect();
    names.sort_unstable();
    names
}

#[test]
fn a_v2_token_holds_what_entra_documents() {
    let world = World::new();
    let answer = world.tokens("ada", "web", "api://billing/Invoices.Read openid profile email offline_access");
    assert_eq!(header(&answer.access_token), json!({"alg": "RS256", "typ": "JWT"}));
    let all = claims(&answer.access_token);
    assert_eq!(
        names(&all),
        [
            "aio",
            "aud",
            "azp",
            "azpacr",
            "exp",
            "iat",
            "idtyp",
            "iss",
            "jti",
            "name",
            "nbf",
            "oid",
            "preferred_username",
            "rh",
            "roles",
            "scp",
            "sub",
            "tid",
            "uti",
            "ver"
        ]
    );
    for (name, value) in [
        ("aud", json!(app("billing").to_string())),
        ("iss", json!(format!("{HOST}/{CONTOSO}/v2.0"))),
        ("azp", json!(app("web").to_string())),
        ("azpacr", json!("1")),
        ("idtyp", json!("user")),
        ("oid", json!(user("ada").to_string())),
        ("tid", json!(CONTOSO.to_string())),
        ("ver", json!("2.0")),
        ("scp", json!("Invoices.Read")),
        ("preferred_username", json!("ada@contoso.example")),
        ("iat", json!(NOON.0)),
        ("nbf", json!(NOON.0)),
    ] {
        assert_eq!(all[name], value, "{name}");
    }
    let life = all["exp"].as_i64().unwrap() - NOON.0;
    assert!((3_600..=5_400).contains(&life) && answer.expires_in == life, "{life}");
    assert_eq!(answer.scope.as_deref(), Some("api://billing/Invoices.Read email offline_access openid profile"));
    let info = URL_SAFE_NO_PAD.decode(&*answer.client_info.unwrap_or_default()).unwrap();
    assert!(info.is_empty(), "not asked for");
}

#[test]
fn a_v1_token_holds_what_entra_documents() {
    let world = World::new();
    let answer = world.tokens("ada", "web", "api://legacy/Legacy.Read");
    assert_eq!(header(&answer.access_token)["x5t"], "k");
    let all = claims(&answer.access_token);
    assert_eq!(
        names(&all),
        [
            "acr",
            "aio",
            "amr",
            "appid",
            "appidacr",
            "aud",
            "exp",
            "family_name",
            "given_name",
            "iat",
            "idtyp",
            "iss",
            "jti",
            "name",
            "nbf",
            "oid",
            "rh",
            "scp",
            "sub",
            "tid",
            "unique_name",
            "upn",
            "uti",
            "ver"
        ]
    );
    assert_eq!(
        (&all["aud"], &all["iss"], &all["ver"]),
        (&json!("api://legacy"), &json!(format!("{HOST}/{CONTOSO}/")), &json!("1.0"))
    );
    assert_eq!(
        (&all["appid"], &all["appidacr"], &all["amr"]),
        (&json!(app("web").to_string()), &json!("1"), &json!(["pwd"]))
    );
    assert_eq!(
        claims(&world.tokens("ada", "web", "api://legacy//Legacy.Read").access_token)["aud"],
        "api://legacy/",
        "as asked"
    );
}

#[test]
fn a_native_token_is_of_rfc_9068() {
    let world = World::new();
    let answer = world.tokens("ada", "strict", "api://vault/Vault.Read");
    assert_eq!(header(&answer.access_token), json!({"alg": "ES256", "typ": "at+jwt"}));
    let all = claims(&answer.access_token);
    for required in ["iss", "exp", "aud", "sub", "client_id", "iat", "jti"] {
        assert!(all.contains_key(required), "{required}");
    }
    assert_eq!((&all["scope"], &all["scp"]), (&json!("Vault.Read"), &json!("Vault.Read")));
    assert_eq!((&all["auth_time"], &all["amr"]), (&json!(NOON.0), &json!(["pwd"])));
    assert_eq!(all["act"], json!({"sub": app("strict").to_string()}));
    assert!(answer.ext_expires_in.is_none());
}

#[test]
fn an_id_token_is_the_clients_and_cannot_pass_for_an_access_token() {
    let world = World::new();
    let answer = world.tokens("ada", "web", "api://orders/access_as_user openid profile email");
    let all = claims(answer.id_token.as_ref().unwrap());
    assert_eq!(
        names(&all),
        [
            "aud",
            "auth_time",
            "email",
            "exp",
            "iat",
            "iss",
            "name",
            "nbf",
            "nonce",
            "oid",
            "preferred_username",
            "sid",
            "sub",
            "tid",
            "uti",
            "ver"
        ]
    );
    assert_eq!((&all["aud"], &all["nonce"]), (&json!(app("web").to_string()), &json!("n1")));
    assert_eq!(all["exp"], NOON.0 + 3_600);
    let bare = claims(world.tokens("ada", "web", "openid").id_token.as_ref().unwrap());
    assert!(["name", "email", "preferred_username"].iter().all(|name| !bare.contains_key(*name)));
    assert!(world.tokens("ada", "web", "api://orders/access_as_user").id_token.is_none());
    let without =
        crate::world::altered(&request("web", "openid offline_access"), &[("nonce", ""), ("client_info", "1")]);
    let answer = world.authorize(&without, &world.sign_in("ada"));
    let code = crate::world::parameter(&answer, "code").unwrap();
    let info = crate::world::parameter(&answer, "client_info").unwrap();
    let info: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(info).unwrap()).unwrap();
    assert_eq!(info, json!({"uid": user("ada").to_string(), "utid": CONTOSO.to_string()}));
    let tokens = world.redeem("web", &code).unwrap();
    assert!(!claims(tokens.id_token.as_ref().unwrap()).contains_key("nonce"), "absent when none was sent");
    let refreshed = [
        ("grant_type", "refresh_token"),
        ("refresh_token", tokens.refresh_token.as_ref().unwrap().expose()),
        ("client_info", "1"),
    ];
    let refreshed = world.token_as("web", &refreshed).unwrap();
    assert!(!claims(refreshed.id_token.as_ref().unwrap()).contains_key("nonce") && refreshed.client_info.is_some());
}

#[test]
fn sub_differs_by_audience_and_is_the_same_for_one() {
    let world = World::new();
    let sub = |token: &Secret| claims(token)["sub"].as_str().unwrap().to_owned();
    let one = world.tokens("ada", "web", "api://orders/access_as_user openid");
    let subs = [
        sub(&one.access_token),
        sub(one.id_token.as_ref().unwrap()),
        sub(&world.obo("orders", &one.access_token, "api://billing/Invoices.Read").unwrap().access_token),
        sub(&world.tokens("bob", "web", "api://orders/access_as_user").access_token),
        user("ada").to_string(),
    ];
    for (n, sub) in subs.iter().enumerate() {
        assert!(!subs[n + 1..].contains(sub), "{n}");
    }
    let again = world.tokens("ada", "phone", "api://orders/access_as_user");
    assert_eq!(sub(&again.access_token), subs[0], "by audience, not by client");
    let info = world.userinfo(&world.tokens("ada", "web", "openid profile email").access_token).unwrap();
    assert_eq!(info["sub"], subs[1], "userinfo's is the ID token's (OpenID Connect Core section 5.3.2)");
    assert_eq!((&info["email"], &info["name"]), (&json!("ada@mail.example"), &json!("ADA")));
}

#[test]
fn an_app_only_token_has_roles_and_no_user() {
    let world = World::new();
    let id = app("daemon").to_string();
    let assertion = json!({"iss": id, "sub": id, "aud": format!("{HOST}/{CONTOSO}/v2.0"), "exp": NOON.0 + 300});
    let assertion = FakeCrypto::certify(&certificate("daemon"), &assertion);
    let pairs = [
        ("client_id", &*id),
        ("client_assertion_type", CLIENT_ASSERTION_JWT_BEARER),
        ("client_assertion", &assertion),
        ("grant_type", "client_credentials"),
        ("scope", "api://billing/.default"),
        ("client_info", "1"),
    ];
    let answer = world.token(&pairs).unwrap();
    let all = claims(&answer.access_token);
    assert_eq!(
        names(&all),
        [
            "aud", "azp", "azpacr", "exp", "iat", "idtyp", "iss", "jti", "nbf", "oid", "rh", "roles", "sub", "tid",
            "uti", "ver"
        ]
    );
    assert_eq!((&all["idtyp"], &all["azpacr"]), (&json!("app"), &json!("2")));
    assert_eq!(
        (&all["sub"], &all["oid"]),
        (&json!(principal("daemon").to_string()), &json!(principal("daemon").to_string()))
    );
    assert!(answer.client_info.is_none());
}

#[test]
fn azpacr_tells_how_the_client_proved_itself() {
    let world = World::new();
    let by =
        |name: &str| claims(&world.tokens("ada", name, "api://orders/access_as_user").access_token)["azpacr"].clone();
    assert_eq!((by("phone"), by("web")), (json!("0"), json!("1")));
}

#[test]
fn the_chain_travels_sealed_and_is_shown_where_the_resource_asks() {
    let world = World::new();
    let root = world.tokens("ada", "web", "api://orders/access_as_user").access_token;
    assert_eq!(world.chain(&root).actors, [app("web")]);
    let down = world.obo("orders", &root, "api://billing/Invoices.Read").unwrap().access_token;
    assert_eq!(world.chain(&down).actors, [app("orders"), app("web")]);
    assert!(!claims(&down).contains_key("act"));
    assert_eq!(claims(&down)["azp"], app("orders").to_string());
    world.estate.edit(|estate| estate.app("billing").deputize.act_claim = true);
    let down = world.obo("orders", &root, "api://billing/Invoices.Read").unwrap().access_token;
    assert_eq!(claims(&down)["act"], json!({"sub": app("orders").to_string(), "act": {"sub": app("web").to_string()}}));
    let record = world.ledger.read(|ledger| ledger.audit.last().cloned().unwrap());
    assert_eq!((record.action.as_str(), record.actors.as_slice()), ("on_behalf_of", &[app("orders"), app("web")][..]));
    assert_eq!(record.from_token.as_deref(), claims(&root)["uti"].as_str());
    assert_eq!(record.token.as_deref(), claims(&down)["uti"].as_str());
}

#[test]
fn r_16_every_token_and_every_refusal_of_a_known_client_has_its_record() {
    let world = World::new();
    let token = world.tokens("ada", "web", "api://orders/access_as_user").access_token;
    world.obo("orders", &token, "api://billing/Invoices.Approve").unwrap_err();
    let (tokens, refused) = world.ledger.read(|ledger| {
        let tokens: Vec<_> = ledger.audit.iter().filter_map(|record| record.token.clone()).collect();
        (tokens, ledger.audit.last().cloned().unwrap())
    });
    assert_eq!(tokens, [claims(&token)["uti"].as_str().unwrap()]);
    assert_eq!((refused.refused, refused.client), (Some(CheckId::ConsentGranted), Some(app("orders"))));
}

#[test]
fn only_a_token_of_the_authoritys_own_opens_userinfo() {
    let world = World::new();
    let own = world.tokens("ada", "web", "openid").access_token;
    let all = Value::Object(claims(&own));
    assert_eq!(names(&world.userinfo(&own).unwrap()), ["sub"]);
    let fail = |token: &Secret| world.userinfo(token).unwrap_err().id();
    assert_eq!(
        fail(&world.tokens("ada", "web", "api://orders/access_as_user openid").access_token),
        CheckId::TokenAudience
    );
    assert_eq!(fail(world.tokens("ada", "web", "openid").id_token.as_ref().unwrap()), CheckId::TokenType);
    assert_eq!(fail(&Secret::new("x")), CheckId::TokenSignature);
    let spoil = |changes: Value| {
        let mut all = all.clone();
        for (name, value) in changes.as_object().unwrap() {
            all[name] = value.clone();
        }
        FakeCrypto::forge("JWT", &all)
    };
    for (what, changes, check) in [
        ("bound", json!({"cnf": {"jkt": "x"}}), CheckId::TokenBinding),
        ("bound to nothing", json!({"cnf": null}), CheckId::TokenBinding),
        ("not yet", json!({"nbf": NOON.0 + 61}), CheckId::TokenNotBefore),
        ("expired", json!({"exp": NOON.0 - 60}), CheckId::TokenExpired),
        ("an application's", json!({"idtyp": "app"}), CheckId::TokenAudience),
        ("without openid", json!({"scp": "profile"}), CheckId::ScopeSufficient),
        ("of another issuer", json!({"iss": "https://evil.example"}), CheckId::TokenAudience),
        ("of no tenant", json!({"tid": "x"}), CheckId::TokenType),
        ("of another user", json!({"oid": user("ivan").to_string()}), CheckId::UserKnown),
    ] {
        assert_eq!(fail(&spoil(changes)), check, "{what}");
    }
}

#[test]
fn a_tenant_is_known_by_id_and_domain_and_nothing_else() {
    let world = World::new();
    let id = app("daemon").to_string();
    let secret = crate::world::estate::secret("daemon");
    let wanted = form(&[
        ("client_id", &id),
        ("client_secret", &secret),
        ("grant_type", "client_credentials"),
        ("scope", "api://billing/.default"),
    ]);
    for name in [CONTOSO.to_string(), "contoso.example".into(), "CONTOSO.example".into()] {
        assert!(world.token_at(&name, &wanted, None).is_ok(), "{name}");
    }
    for name in [
        "",
        "consumers",
        "contoso",
        "contoso.example.",
        "{tenantid}",
        "../fabrikam.example",
        "00000000000000000000000000000000",
    ] {
        assert_eq!(refused(world.token_at(name, &wanted, None)), CheckId::TenantKnown, "{name}");
    }
    assert_eq!(refused(world.token_at("common", &wanted, None)), CheckId::GrantOnTenant, "an application has no alias");
    assert_eq!(refused(world.token_at("fabrikam.example", &wanted, None)), CheckId::ClientKnown);
}

#[test]
fn a_role_is_issued_while_it_is_enabled_and_to_the_kind_of_member_it_is_for() {
    use crate::world::estate::role;
    use deputize_core::id::RoleId;
    use deputize_core::model::{Assignee, MemberType, RoleAssignment};
    let world = World::new();
    let roles = |person: &str| {
        let token = world.tokens(person, "web", "api://billing/Invoices.Read").access_token;
        claims(&token).get("roles").cloned().unwrap_or_default()
    };
    let assign = |assignee, app_role_id| {
        let assignment = RoleAssignment { tenant: CONTOSO, assignee, resource_id: principal("billing"), app_role_id };
        world.estate.edit(|estate| estate.objects.assignments.push(assignment));
    };
    assign(Assignee::User(user("bob")), role("Invoices.Export"));
    assert_eq!(roles("bob"), Value::Null, "an application permission is no role for users");
    assign(Assignee::ServicePrincipal(principal("daemon")), role("Invoices.Reader"));
    let pairs = [("grant_type", "client_credentials"), ("scope", "api://billing/.default")];
    let token = world.token_as("daemon", &pairs).unwrap().access_token;
    assert_eq!(claims(&token)["roles"], json!(["Invoices.Export"]), "a users' role is no application permission");
    world.estate.edit(|estate| {
        estate.app("billing").app_roles[0].is_enabled = false;
        estate.app("billing").app_roles[1].allowed_member_types.push(MemberType::Application);
    });
    assert_eq!(roles("ada"), json!(["Invoices.Auditor"]), "Invoices.Reader is disabled");
    // The default access has no role, and lets its holder in.
    world.estate.edit(|estate| estate.principal("billing").app_role_assignment_required = true);
    assign(Assignee::User(user("carol")), RoleId::default());
    assert_eq!(roles("carol"), Value::Null);
}

#[test]
fn a_policy_binds_whom_and_what_it_names_and_spares_whom_and_what_it_excludes() {
    use crate::world::estate::policy;
    use deputize_core::model::{Applications, Conditions, GrantControls, PolicyState, Users};
    let block = GrantControls::block();
    let auditors = |world: &World| {
        let mut group = None;
        world.estate.edit(|estate| group = Some(estate.groups[0].id));
        group.into_iter().collect::<Vec<_>>()
    };
    let all = Conditions::default;
    let who = |users: Users| Conditions { users, ..all() };
    let what = |applications: Applications| Conditions { applications, ..all() };
    let group = auditors(&World::new());
    let (ada, billing) = (vec![user("ada")], vec![app("billing")]);
    for (name, conditions, for_ada, for_bob) in [
        ("everyone", all(), true, true),
        ("this user", who(Users { include_users: ada.clone(), ..Users::default() }), true, false),
        ("this group", who(Users { include_groups: group.clone(), ..Users::default() }), true, false),
        ("all but this user", who(Users { exclude_users: ada.clone(), ..Users::default() }), false, true),
        ("all but this group", who(Users { exclude_groups: group.clone(), ..Users::default() }), false, true),
        (
            "this user, but not of this group",
            who(Users { include_users: ada, exclude_groups: group, ..Users::default() }),
            false,
            false,
        ),
        (
            "this resource",
            what(Applications { include_applications: billing.clone(), ..Applications::default() }),
            true,
            true,
        ),
        (
            "another resource",
            what(Applications { include_applications: vec![app("orders")], ..Applications::default() }),
            false,
            false,
        ),
        (
            "all but this resource",
            what(Applications { exclude_applications: billing.clone(), ..Applications::default() }),
            false,
            false,
        ),
        (
            "this resource and not",
            what(Applications {
                include_applications: billing.clone(),
                exclude_applications: billing,
                ..Applications::default()
            }),
            false,
            false,
        ),
    ] {
        for (person, bound) in [("ada", for_ada), ("bob", for_bob)] {
            let world = World::new();
            world.estate.edit(|estate| {
                estate.objects.policies.push(deputize_core::model::Policy {
                    conditions: conditions.clone(),
                    ..policy(&[], block.clone())
                });
            });
            let answer = world.authorize(&request("web", "api://billing/Invoices.Read"), &world.sign_in(person));
            let refused = crate::world::parameter(&answer, "error").as_deref() == Some("interaction_required");
            assert_eq!(refused, bound, "{name}: {person}");
        }
    }
    let world = World::new();
    world.estate.edit(|estate| {
        let disabled = deputize_core::model::Policy { state: PolicyState::Disabled, ..policy(&[], block) };
        estate.objects.policies.push(disabled);
    });
    world.tokens("ada", "web", "api://billing/Invoices.Read");
}
