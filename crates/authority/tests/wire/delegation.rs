//! On-Behalf-Of over the wire: X-01 to X-11, and what the issued tokens say.
use crate::world::browser::Browser;
use crate::world::estate::{CONTOSO, FABRIKAM, app, assignment, grant, policy, principal, upn, user};
use crate::world::{
    Answer, HOST, JWT_BEARER, NOON, World, but, claims, client_credentials, header, keys, obo_form, redeem_form, text,
};
use deputize_core::model::{Assignee, GrantControls};
use serde_json::{Value, json};
use store::{Key, Object};

const ORDERS: &str = "api://orders/access_as_user";
const READ: &str = "api://billing/Invoices.Read";
const ARCHIVE: &str = "api://archive/Archive.Read";

async fn exchange(world: &World, assertion: &str) -> Answer {
    world.obo("orders", assertion, READ).await
}

fn refused(answer: &Answer, error: &str, code: u64, check: &str) {
    assert_eq!(answer.refused(), (400, error.into(), code, check.into()), "{}", answer.text());
}

#[tokio::test]
async fn a_chain_over_three_apis_carries_the_user_and_every_actor() {
    let world = World::new().await;
    let first = world.orders_token().await;
    let second = world.obo("orders", &first, &format!("openid profile offline_access {READ}")).await.ok();
    let billing = claims(&text(&second, "access_token"));
    let id = |name: &str| json!(app(name).to_string());
    assert_eq!(
        (&billing["aud"], &billing["azp"], &billing["oid"]),
        (&id("billing"), &id("orders"), &json!(user("ada").to_string()))
    );
    assert_eq!(
        (&billing["scp"], &billing["roles"], &billing["azpacr"]),
        (&json!("Invoices.Read"), &json!(["Invoices.Reader"]), &json!("1"))
    );
    assert_eq!(billing["act"], json!({"sub": id("orders"), "act": {"sub": id("web")}}));
    assert_ne!(billing["sub"], claims(&first)["sub"], "pairwise for the audience");
    assert!(second["refresh_token"].is_string() && second["id_token"].is_string());
    assert_eq!(claims(&text(&second, "id_token"))["nonce"], Value::Null);
    let third = world.obo("billing", &text(&second, "access_token"), ARCHIVE).await.ok();
    let archive = text(&third, "access_token");
    assert_eq!(header(&archive)["x5t"], header(&archive)["kid"], "version 1");
    let archive = claims(&archive);
    assert_eq!(
        (&archive["aud"], &archive["appid"], &archive["ver"]),
        (&json!("api://archive"), &id("billing"), &json!("1.0"))
    );
    assert_eq!(archive["iss"], format!("{HOST}/{CONTOSO}/"));
    assert_eq!(archive["upn"], upn("ada"));
    assert_eq!(archive["act"]["act"]["act"]["sub"], id("web"));
    // What Orders got on Ada's behalf goes on by its refresh token, with the same chain.
    let renewed = world.refresh("orders", &text(&second, "refresh_token"), None).await.ok();
    assert_eq!(claims(&text(&renewed, "access_token"))["act"], billing["act"]);
    assert!(third["refresh_token"].is_null() && third["id_token"].is_null(), "only where it is asked for");
    let trail = world.store.audit(0, 1_000).unwrap();
    let record = trail.iter().find(|(_, record)| record.token.as_deref() == archive["uti"].as_str()).unwrap();
    assert_eq!(record.1.actors, ["billing", "orders", "web"].map(app), "the audit record has the whole chain");
    assert_eq!(record.1.from_token.as_deref(), billing["uti"].as_str());
}

#[tokio::test]
async fn x_02_an_assertion_for_another_audience_is_refused() {
    let world = World::new().await;
    let for_orders = world.orders_token().await;
    let for_billing = text(&exchange(&world, &for_orders).await.ok(), "access_token");
    refused(&exchange(&world, &for_billing).await, "invalid_grant", 500_131, "assertion.audience");
    for thief in ["billing", "web", "rival", "daemon", "archive"] {
        refused(&world.obo(thief, &for_orders, READ).await, "invalid_grant", 500_131, "assertion.audience");
    }
    let own = world.access_token("web", "ada", "openid profile").await;
    refused(&exchange(&world, &own).await, "invalid_grant", 500_131, "assertion.audience");
    let body = world.obo("billing", &for_orders, READ).await.json();
    let hint = &body["deputize_hint"];
    assert!(
        text(hint, "actual").contains(&app("orders").to_string()) && text(hint, "expected").contains("api://billing"),
        "{hint}"
    );
}

#[tokio::test]
async fn a_version_1_audience_is_as_it_was_asked_for_and_still_its_own() {
    let world = World::new().await;
    world.put(Object::Grant(grant("web", "archive", "Archive.Read"))).await;
    let (lower, upper) = (app("archive").to_string(), app("archive").to_string().to_uppercase());
    for name in ["api://archive", "api://archive/", "API://Archive", &lower, &upper] {
        let token = world.access_token("web", "ada", &format!("{name}/Archive.Read")).await;
        assert_eq!(claims(&token)["aud"], name);
        world.obo("archive", &token, "api://vault/Vault.Read").await.ok();
    }
}

#[tokio::test]
async fn x_03_an_assertion_of_another_issuer_or_tenant_is_refused() {
    let world = World::new().await;
    let ada = world.orders_token().await;
    let elsewhere = world.token_at(&FABRIKAM.to_string(), obo_form("orders", &ada, READ)).await;
    assert_eq!((elsewhere.refused().1, elsewhere.check()), ("invalid_grant".into(), "assertion.issuer".into()));
    // A user of Fabrikam, at a client and an API that stand in both tenants.
    let mut params = crate::world::browser::request("web", ORDERS);
    params.push(("login_hint", upn("ivan")));
    let path = crate::world::browser::authorize_path(&params).replace(&CONTOSO.to_string(), &FABRIKAM.to_string());
    let mut browser = Browser::default();
    let page = browser.get(&world, &path).await;
    let code = browser.sign_in(&world, page, "ivan").await.redirected().1;
    let ivan = world.token_at(&FABRIKAM.to_string(), redeem_form("web", code.value("code").unwrap())).await.ok();
    let ivan = text(&ivan, "access_token");
    refused(&exchange(&world, &ivan).await, "invalid_grant", 50_013, "assertion.issuer");
    world.token_at("common", obo_form("orders", &ivan, READ)).await.ok();
    world.token_at("fabrikam.example", obo_form("orders", &ivan, READ)).await.ok();
    // The browser of one tenant's user is nobody in the other.
    let page = browser.authorize(&world, &crate::world::browser::request("web", ORDERS)).await;
    assert!(page.page() && page.form().action.ends_with("/sign-in"));
    let stranger = &keys::STRANGER.rs256;
    let foreign = keys::sign(stranger, header(&ada).to_string().as_bytes(), claims(&ada).to_string().as_bytes());
    refused(&exchange(&world, &foreign).await, "invalid_grant", 50_013, "assertion.signature");
}

#[tokio::test]
async fn x_04_an_app_only_token_is_no_assertion() {
    let world = World::new().await;
    for scope in [format!("{}/.default", app("orders")), "api://orders/.default".to_owned()] {
        let client = if scope.starts_with("api") { "daemon" } else { "orders" };
        let token = text(&world.token(client_credentials(client, &scope)).await.ok(), "access_token");
        assert_eq!(claims(&token)["idtyp"], "app");
        refused(&exchange(&world, &token).await, "unauthorized_client", 7_000_114, "assertion.user");
    }
}

#[tokio::test]
async fn x_05_other_kinds_of_token_are_no_assertion() {
    let world = World::new().await;
    let whole = world.signed_in("web", "ada", &format!("openid offline_access {ORDERS}")).await;
    let middle = world.obo("orders", &text(&whole, "access_token"), &format!("openid {READ}")).await.ok();
    refused(&exchange(&world, &text(&middle, "id_token")).await, "invalid_grant", 240_002, "assertion.access_token");
    refused(&exchange(&world, &text(&whole, "refresh_token")).await, "invalid_request", 50_027, "assertion.form");
    let (id, key) = (app("orders").to_string(), &keys::ORDERS);
    let audience = format!("{HOST}/{CONTOSO}/oauth2/v2.0/token");
    let assertion = jose::assertion::sign(&key.ps256, &key.certificate, &id, &audience, "1", NOON).unwrap();
    assert_eq!(exchange(&world, &assertion).await.refused().1, "invalid_grant");
    // Our own key under another `typ`.
    let signing = &keys::signing()[0];
    for typ in ["logout+jwt", "dpop+jwt", "secevent+jwt", "txntoken+jwt", "oauth-id-jag+jwt", "id+jwt"] {
        let head = json!({"alg": "RS256", "kid": signing.kid(), "typ": typ});
        let token = keys::sign(
            signing,
            head.to_string().as_bytes(),
            claims(&text(&whole, "access_token")).to_string().as_bytes(),
        );
        let answer = exchange(&world, &token).await;
        refused(&answer, "invalid_request", 50_027, "request.assertion_kind");
    }
}

#[tokio::test]
async fn x_06_only_a_client_that_proves_itself_may_act_for_someone() {
    let world = World::new().await;
    let token = world.access_token("native", "ada", ORDERS).await;
    for name in ["native", "spa", "gadget"] {
        let answer = world.obo(name, &token, READ).await;
        let (status, error, _, check) = answer.refused();
        assert_eq!((status, error.as_str(), check.as_str()), (401, "invalid_client", "client.confidential"), "{name}");
    }
    let bare = but(obo_form("orders", &token, READ), "client_secret", None);
    assert_eq!(world.token(bare).await.refused().1, "invalid_client");
    exchange(&world, &token).await.ok();
}

#[tokio::test]
async fn x_07_a_missing_assertion_never_becomes_the_clients_own_rights() {
    let world = World::new().await;
    let token = world.orders_token().await;
    // Orders has an application permission at Billing: it must not get that here.
    let form = |scope: &str| obo_form("orders", &token, scope);
    for scope in [READ, "api://billing/.default"] {
        for missing in [None, Some("")] {
            refused(
                &world.token(but(form(scope), "assertion", missing)).await,
                "invalid_request",
                900_144,
                "request.parameter_present",
            );
        }
        let answer = world.token([form(scope), vec![("assertion", token.clone())]].concat()).await;
        refused(&answer, "invalid_request", 90_023, "request.well_formed");
        for other in [None, Some(""), Some("On_Behalf_Of"), Some("on_behalf_of "), Some("x")] {
            let answer = world.token(but(form(scope), "requested_token_use", other)).await;
            assert_eq!(answer.refused().1, "unsupported_grant_type", "{other:?}");
        }
        let renamed =
            form(scope).into_iter().map(|(n, v)| (if n == "assertion" { "subject_token" } else { n }, v)).collect();
        refused(&world.token(renamed).await, "invalid_request", 900_144, "request.parameter_present");
    }
    for grant_type in
        ["urn:ietf:params:oauth:grant-type:token-exchange", "password", "implicit", &JWT_BEARER.to_uppercase()]
    {
        let answer = world.token(but(form(READ), "grant_type", Some(grant_type))).await;
        assert_eq!(answer.refused().1, "unsupported_grant_type", "A-21: {grant_type}");
    }
    let saml =
        [form(READ), vec![("requested_token_type", "urn:ietf:params:oauth:token-type:saml2".to_owned())]].concat();
    assert_eq!(world.token(saml).await.status, 400);
}

#[tokio::test]
async fn x_08_scopes_never_exceed_consent() {
    let world = World::new().await;
    let token = world.orders_token().await;
    let ask = async |scope: &str| world.obo("orders", &token, scope).await;
    let all = claims(&text(&ask("api://billing/.default").await.ok(), "access_token"));
    assert_eq!(all["scp"], "Invoices.Read", "`.default` is what is granted");
    assert_eq!(all["roles"], json!(["Invoices.Reader"]), "the user's roles, not the application's");
    let consent = ask("api://billing/Invoices.Approve").await;
    refused(&consent, "invalid_grant", 65_001, "consent.granted");
    let body = consent.json();
    assert_eq!(text(&body, "suberror"), "consent_required");
    assert!(text(&body["deputize_hint"], "fix").contains("api://billing/Invoices.Approve"), "{body}");
    let cases = [
        ("api://billing/Invoices.Read api://billing/Invoices.Approve", "consent.granted"),
        ("api://billing/Invoices.Void", "consent.granted"),
        ("api://billing/Invoices.Export", "scope.valid"),
        ("api://billing/Invoices.Reader", "scope.valid"),
        ("api://billing/Nothing", "scope.valid"),
        ("api://billing/.default api://billing/Invoices.Read", "scope.valid"),
        ("api://billing/", "scope.valid"),
        ("api://billing", "scope.valid"),
        ("Invoices.Read", "scope.valid"),
        (".default", "scope.valid"),
        ("/.default", "scope.valid"),
        ("api://billing/Invoices.Read\u{e9}", "scope.valid"),
        ("api://billing/Invoices.Read api://archive/Archive.Read", "resource.single"),
        ("api://nowhere/x", "resource.known"),
        ("api://archive/Archive.Read", "resource.declared"),
        ("api://archive/.default", "resource.declared"),
        ("api://orders/.default", "resource.not_self"),
        ("", "scope.present"),
    ];
    for (scope, check) in cases {
        assert_eq!(ask(scope).await.check(), check, "{scope}");
    }
    // Bob has no role at Billing; nothing of Orders' own is mixed in.
    let bob = world.access_token("web", "bob", ORDERS).await;
    let bob = claims(&text(&exchange(&world, &bob).await.ok(), "access_token"));
    assert!(bob["roles"].is_null(), "{bob}");
    // A user's own consent to an administrators' permission is none.
    let mut own = grant("orders", "billing", "Invoices.Void");
    own.principal_id = Some(user("ada"));
    world.put(Object::Grant(own)).await;
    assert_eq!(ask("api://billing/Invoices.Void").await.check(), "consent.admin");
    assert_eq!(claims(&text(&ask("api://billing/.default").await.ok(), "access_token"))["scp"], "Invoices.Read");
}

#[tokio::test]
async fn x_09_an_assertion_ends_when_it_says() {
    let world = World::new().await;
    let token = world.orders_token().await;
    let life = claims(&token)["exp"].as_i64().unwrap() - NOON.0;
    world.clock.advance(life - 1);
    let answers = world.at_once(obo_form("orders", &token, READ), 64).await;
    assert!(answers.iter().all(|answer| answer.status == 200), "one second before its end, 64 times at once");
    world.clock.advance(60);
    exchange(&world, &token).await.ok();
    world.clock.advance(1);
    refused(&exchange(&world, &token).await, "invalid_grant", 500_133, "assertion.current");
    world.clock.advance(-life - 60 - 60);
    exchange(&world, &token).await.ok();
    world.clock.advance(-1);
    refused(&exchange(&world, &token).await, "invalid_grant", 50_013, "assertion.not_before");
}

#[tokio::test]
async fn x_10_nothing_outlives_the_session_it_stems_from() {
    let world = World::with(|plan| {
        for tenant in &mut plan.tenants {
            tenant.settings.session_seconds = 5_000;
        }
    })
    .await;
    let mut browser = Browser::default();
    let code = browser.code(&world, "web", "ada", &format!("openid offline_access {ORDERS}")).await;
    world.clock.advance(500);
    let tokens = world.redeem("web", &code).await.ok();
    let end = NOON.0 + 5_000;
    world.clock.advance(3_000);
    let answer =
        world.obo("orders", &text(&tokens, "access_token"), &format!("openid offline_access {READ}")).await.ok();
    for name in ["access_token", "id_token"] {
        assert_eq!(claims(&text(&answer, name))["exp"], end, "{name}");
    }
    assert_eq!(answer["expires_in"], 1_500);
    // In the native profile not even the assertion.
    let vault = world.obo("orders", &text(&tokens, "access_token"), "api://vault/Vault.Read").await.ok();
    assert_eq!(claims(&text(&vault, "access_token"))["exp"], claims(&text(&tokens, "access_token"))["exp"]);
    let renewed = world.refresh("web", &text(&tokens, "refresh_token"), None).await.ok();
    assert_eq!(claims(&text(&renewed, "access_token"))["exp"], end);
    world.clock.advance(1_500);
    for answer in [
        world.refresh("orders", &text(&answer, "refresh_token"), None).await,
        world.refresh("web", &text(&renewed, "refresh_token"), None).await,
        world.obo("orders", &text(&renewed, "access_token"), READ).await,
    ] {
        assert_eq!(answer.refused().1, "invalid_grant");
    }
}

#[tokio::test]
async fn x_10_the_depth_of_a_chain_is_bounded() {
    let world = World::with(|plan| {
        plan.tenants.iter_mut().for_each(|tenant| tenant.settings.max_chain_depth = 1);
    })
    .await;
    let second = text(&exchange(&world, &world.orders_token().await).await.ok(), "access_token");
    refused(&world.obo("billing", &second, ARCHIVE).await, "invalid_request", 90_023, "chain.depth");
    world.edit_tenant(|tenant| tenant.settings.max_chain_depth = 200).await;
    world.edit_tenant(|tenant| tenant.settings.allow_chain_loops = true).await;
    // Orders and Billing pass it back and forth; no setting goes beyond eight actors, which is what verifiers accept.
    let mut token = second;
    for hop in 1..=7 {
        let (client, scope) = if hop % 2 == 1 { ("billing", ORDERS) } else { ("orders", READ) };
        let answer = world.obo(client, &token, scope).await;
        if hop == 7 {
            refused(&answer, "invalid_request", 90_023, "chain.depth");
        } else {
            token = text(&answer.ok(), "access_token");
        }
    }
    assert!(token.len() < 3_000, "{}", token.len());
}

#[tokio::test]
async fn x_11_a_chain_does_not_return_to_an_api_it_came_through() {
    let world = World::new().await;
    let second = text(&exchange(&world, &world.orders_token().await).await.ok(), "access_token");
    refused(&world.obo("billing", &second, ORDERS).await, "invalid_request", 90_023, "chain.loop");
    world.edit_tenant(|tenant| tenant.settings.allow_chain_loops = true).await;
    world.obo("billing", &second, ORDERS).await.ok();
    // The loop is seen through a refresh token of the middle, too.
    world.edit_tenant(|tenant| tenant.settings.allow_chain_loops = false).await;
    let kept = world.obo("orders", &world.orders_token().await, &format!("offline_access {READ}")).await.ok();
    let later = world.refresh("orders", &text(&kept, "refresh_token"), None).await.ok();
    refused(
        &world.obo("billing", &text(&later, "access_token"), ORDERS).await,
        "invalid_request",
        90_023,
        "chain.loop",
    );
}

/// What each state change does to each grant, at once: `X-01` on the wire.
#[tokio::test]
async fn x_01_a_change_binds_every_grant_at_once() {
    const CHANGES: [(&str, [&str; 4]); 14] = [
        // change, and what becomes of: code, refresh, on-behalf-of, userinfo
        ("nothing", ["", "", "", ""]),
        ("user disabled", ["user.enabled", "user.enabled", "user.enabled", "user.enabled"]),
        ("user deleted", ["user.known", "user.known", "user.known", "user.known"]),
        ("sessions revoked", ["user.not_revoked", "user.not_revoked", "user.not_revoked", "user.not_revoked"]),
        ("tenant disabled", ["tenant.enabled", "tenant.enabled", "tenant.enabled", "tenant.enabled"]),
        // An assertion is worth what stands behind it: the call that it came with.
        ("client disabled", ["client.enabled", "client.enabled", "user.not_revoked", "client.enabled"]),
        ("client's consent withdrawn", ["consent.granted", "consent.granted", "consent.granted", ""]),
        ("client secret removed", ["client.confidential", "client.confidential", "", ""]),
        ("middle tier disabled", ["resource.enabled", "resource.enabled", "client.enabled", ""]),
        ("downstream disabled", ["", "", "resource.enabled", ""]),
        ("downstream deleted", ["", "", "resource.known", ""]),
        ("consent withdrawn", ["", "", "consent.granted", ""]),
        ("scope removed", ["", "", "scope.valid", ""]),
        ("mfa demanded downstream", ["", "", "access.mfa_enrolled", ""]),
    ];
    for (change, expected) in CHANGES {
        let world = World::new().await;
        let mut browser = Browser::default();
        let scope = format!("openid offline_access {ORDERS}");
        let code = browser.code(&world, "web", "ada", &scope).await;
        let tokens = world.redeem("web", &browser.code(&world, "web", "ada", &scope).await).await.ok();
        let own_code = browser.code(&world, "web", "ada", "openid").await;
        let own = text(&world.redeem("web", &own_code).await.ok(), "access_token");
        match change {
            "user disabled" => world.edit_user("ada", |user| user.account_enabled = false).await,
            "user deleted" => world.delete(Key::User(CONTOSO, user("ada"))).await,
            "sessions revoked" => world.edit_user("ada", |user| user.sign_in_sessions_valid_from = NOON.plus(1)).await,
            "tenant disabled" => world.edit_tenant(|tenant| tenant.enabled = false).await,
            "client disabled" => world.edit_principal("web", |it| it.account_enabled = false).await,
            "client secret removed" => world.edit_app("web", |app| app.password_credentials.clear()).await,
            "middle tier disabled" => world.edit_principal("orders", |it| it.account_enabled = false).await,
            "downstream disabled" => world.edit_principal("billing", |it| it.account_enabled = false).await,
            "downstream deleted" => world.delete(Key::ServicePrincipal(CONTOSO, principal("billing"))).await,
            "client's consent withdrawn" => world.delete(Object::Grant(grant("web", "orders", "")).key()).await,
            "consent withdrawn" => world.delete(Object::Grant(grant("orders", "billing", "")).key()).await,
            "scope removed" => world.edit_app("billing", |app| app.api.oauth2_permission_scopes.clear()).await,
            "mfa demanded downstream" => {
                let mfa = GrantControls::mfa();
                world.put(Object::Policy(policy(&["billing"], mfa))).await;
            }
            _ => {}
        }
        let bearer = format!("Bearer {own}");
        let userinfo = world.post(&format!("/{CONTOSO}/openid/userinfo"), &[("authorization", &bearer)], "").await;
        let answers = [
            world.redeem("web", &code).await,
            world.refresh("web", &text(&tokens, "refresh_token"), None).await,
            exchange(&world, &text(&tokens, "access_token")).await,
            userinfo,
        ];
        for (answer, (grant, check)) in
            answers.iter().zip(["code", "refresh", "obo", "userinfo"].into_iter().zip(expected))
        {
            let found = if answer.status == 200 {
                String::new()
            } else if grant == "userinfo" {
                text(&answer.json(), "check")
            } else {
                answer.check()
            };
            assert_eq!(found, check, "{change}: {grant}: {}", answer.text());
        }
        if change == "mfa demanded downstream" {
            let body = answers[2].json();
            assert_eq!(
                (text(&body, "error"), text(&body, "suberror")),
                ("interaction_required".into(), "basic_action".into())
            );
            let challenge: Value = serde_json::from_str(&text(&body, "claims")).unwrap();
            assert!(challenge["access_token"]["polids"]["essential"] == json!(true), "{challenge}");
        }
    }
}

#[tokio::test]
async fn x_01_assignments_and_policies_bind_at_once() {
    let world = World::new().await;
    let token = world.orders_token().await;
    let roles =
        async |world: &World| claims(&text(&exchange(world, &token).await.ok(), "access_token"))["roles"].clone();
    assert_eq!(roles(&world).await, json!(["Invoices.Reader"]));
    world.delete(Object::Assignment(assignment(Assignee::User(user("ada")), "billing", "Invoices.Reader")).key()).await;
    assert_eq!(roles(&world).await, Value::Null, "reduced");
    world.edit_principal("billing", |it| it.app_role_assignment_required = true).await;
    refused(&exchange(&world, &token).await, "invalid_grant", 50_105, "user.assigned");
    world.put(Object::Assignment(assignment(Assignee::User(user("ada")), "billing", "Invoices.Reader"))).await;
    assert_eq!(roles(&world).await, json!(["Invoices.Reader"]));
    let block = policy(&["billing"], GrantControls::block());
    world.put(Object::Policy(block.clone())).await;
    refused(&exchange(&world, &token).await, "interaction_required", 53_003, "access.not_blocked");
    world.delete(Object::Policy(block).key()).await;
    let context = GrantControls::context("c1");
    world.put(Object::Policy(policy(&["billing"], context))).await;
    let answer = exchange(&world, &token).await;
    refused(&answer, "interaction_required", 50_076, "access.context");
    assert!(text(&answer.json(), "claims").contains("\"c1\""));
}

#[tokio::test]
async fn essential_claims_are_met_or_refused() {
    let world = World::new().await;
    let token = world.orders_token().await;
    let with = async |claims: &str| {
        world.token([obo_form("orders", &token, READ), vec![("claims", claims.to_owned())]].concat()).await
    };
    for harmless in ["{}", r#"{"access_token":{"xms_cc":{"values":["CP1"]}}}"#, r#"{"id_token":{"x":null}}"#] {
        with(harmless).await.ok();
    }
    for broken in ["[]", "{", "x", "null"] {
        assert_eq!(with(broken).await.refused().1, "invalid_request", "{broken}");
    }
    let acrs = with(r#"{"access_token":{"acrs":{"essential":true,"value":"c9"}}}"#).await;
    assert_eq!(acrs.check(), "access.context");
    let fresh = with(&format!(r#"{{"access_token":{{"nbf":{{"essential":true,"value":"{}"}}}}}}"#, NOON.0 + 1)).await;
    assert_eq!(fresh.check(), "access.essential_claim");
}
