//! Applications of many tenants and guests: what is got in one tenant is worthless in another.
use crate::world::estate::{CONTOSO, FABRIKAM, grant, password, service_principal, upn};
use crate::world::{
    HOST, VERIFIER, WEB_REDIRECT, World, app, claims, form, now_or_never, obo, parameter, refused, request, user,
};
use base64::Engine as _;
use decision::CheckId;
use deputize_core::authorize::{self, Answer, Browser};
use deputize_core::model::{HomeAccount, User};
use deputize_core::sign_in::{self, Credentials};
use deputize_core::ticket::{Page, Ticket};
use oauth::{Form, TokenResponse};

const SCOPE: &str = "openid offline_access api://orders/access_as_user";

/// Ivan of Fabrikam is a guest of Contoso.
pub(super) fn world() -> World {
    let world = World::new();
    world.estate.edit(|estate| {
        let guest = User {
            id: user("guest"),
            tenant: CONTOSO,
            user_principal_name: "ivan_fabrikam.example#EXT#@contoso.example".into(),
            password_hash: None,
            home: Some(HomeAccount { tenant: FABRIKAM, user: user("ivan") }),
            ..estate.person("ivan").clone()
        };
        estate.users.push(guest);
    });
    world
}

fn code(answer: &Answer) -> String {
    parameter(answer, "code").unwrap_or_else(|| panic!("{answer:?}"))
}

fn tokens(world: &World, tenant: &str, code: &str) -> TokenResponse {
    world.token_at(tenant, &redeem(code), None).unwrap()
}

fn redeem(code: &str) -> Form {
    form(&[
        ("client_id", &app("web").to_string()),
        ("client_secret", &crate::world::estate::secret("web")),
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", WEB_REDIRECT),
        ("code_verifier", VERIFIER),
        ("client_info", "1"),
    ])
}

fn denied(answer: &Answer) -> CheckId {
    match answer {
        Answer::Page(denial, _) => denial.id(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_guest_signs_in_at_home_and_is_somebody_else_here() {
    let world = world();
    let ivan = world.sign_in("ivan");
    let answer = tokens(&world, "contoso.example", &code(&world.authorize(&request("web", SCOPE), &ivan)));
    let access = claims(&answer.access_token);
    assert_eq!(access["tid"], CONTOSO.to_string());
    assert_eq!(access["oid"], user("guest").to_string());
    assert_eq!(access["iss"], format!("{HOST}/{CONTOSO}/v2.0"));
    assert_eq!(access["idp"], format!("{HOST}/{FABRIKAM}/v2.0"));
    assert_eq!(access["acct"], 1);
    let id = claims(answer.id_token.as_ref().unwrap());
    assert_eq!((id["oid"].as_str(), id["acct"].as_u64()), (Some(&*user("guest").to_string()), Some(1)));
    assert_eq!(id["idp"], access["idp"]);
    let info = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(answer.client_info.unwrap()).unwrap();
    let info: serde_json::Value = serde_json::from_slice(&info).unwrap();
    assert_eq!(info, serde_json::json!({"uid": user("ivan"), "utid": FABRIKAM}));
    // Others act for the guest, not for the account at home.
    let downstream = world.obo("orders", &answer.access_token, "api://billing/Invoices.Read").unwrap();
    let downstream = claims(&downstream.access_token);
    assert_eq!(
        (&downstream["oid"], &downstream["idp"], &downstream["acct"]),
        (&access["oid"], &access["idp"], &access["acct"])
    );
    // Members have neither claim.
    let ada = claims(&world.tokens("ada", "web", "api://orders/access_as_user").access_token);
    assert!(!ada.contains_key("acct") && !ada.contains_key("idp"));
    // At home, and under an alias, the same browser is Ivan himself.
    for tenant in ["fabrikam.example", "organizations"] {
        let at_home = world.authorize_at(tenant, &request("web", SCOPE), &ivan);
        let token = claims(&tokens(&world, tenant, &code(&at_home)).access_token);
        assert_eq!(
            (token["tid"].as_str(), token["oid"].as_str()),
            (Some(&*FABRIKAM.to_string()), Some(&*user("ivan").to_string()))
        );
    }
}

#[test]
fn who_is_no_guest_is_told_so_once_they_signed_in() {
    let world = World::new();
    let ivan = world.sign_in("ivan");
    assert!(matches!(world.authorize(&request("web", SCOPE), &ivan), Answer::SignIn(_)), "another account may do");
    let fresh = Browser { fresh: true, ..ivan };
    let answer = world.authorize(&request("web", SCOPE), &fresh);
    assert_eq!(denied(&answer), CheckId::UserGuest);
    // In another tenant's page the name says where to sign in; a guest's own name here has no password.
    let world = self::world();
    world.estate.edit(|estate| {
        estate.users.iter_mut().find(|known| known.id == user("guest")).unwrap().password_hash =
            Some(format!("hash of {}", password("ivan")));
    });
    let contoso = world.ports.directory.snapshot();
    let contoso = contoso.tenant(CONTOSO).unwrap();
    let try_as = |name: &str| {
        let ticket = Ticket::new(&world.ports, Page::SignIn, "cookie", None, &Form::default(), world.now());
        let typed = Credentials {
            username: name,
            password: &password("ivan"),
            address: None,
            browser: "cookie",
            accounts: &[],
        };
        now_or_never(sign_in::sign_in(&world.ports, Some(contoso), app("web"), typed, &ticket, world.now()))
            .map(|signed_in| (signed_in.session.tenant, signed_in.session.user))
    };
    assert_eq!(try_as(&upn("ivan")).unwrap(), (FABRIKAM, user("ivan")));
    assert_eq!(try_as("ivan_fabrikam.example#EXT#@contoso.example").unwrap_err().id(), CheckId::UserPassword);
}

#[test]
fn a_guest_ends_with_the_account_at_home_and_with_the_one_here() {
    type Change = fn(&World);
    let changes: [(Change, CheckId); 8] = [
        (|world| world.estate.edit(|estate| estate.person("ivan").account_enabled = false), CheckId::UserEnabled),
        (|world| world.estate.edit(|estate| estate.person("guest").account_enabled = false), CheckId::UserEnabled),
        (
            |world| world.estate.edit(|estate| estate.users.retain(|known| known.id != user("ivan"))),
            CheckId::UserEnabled,
        ),
        (
            |world| world.estate.edit(|estate| estate.users.retain(|known| known.id != user("guest"))),
            CheckId::UserKnown,
        ),
        (|world| world.estate.edit(|estate| estate.objects.tenants[1].enabled = false), CheckId::UserEnabled),
        (
            |world| {
                let now = world.now();
                world.estate.edit(|estate| estate.person("ivan").sign_in_sessions_valid_from = now);
            },
            CheckId::UserNotRevoked,
        ),
        (
            |world| {
                let now = world.now();
                world.estate.edit(|estate| estate.person("guest").sign_in_sessions_valid_from = now);
            },
            CheckId::UserNotRevoked,
        ),
        (
            |world| {
                world.estate.edit(|estate| {
                    estate.person("ivan").home = Some(HomeAccount { tenant: CONTOSO, user: user("ada") });
                });
            },
            CheckId::UserEnabled,
        ),
    ];
    for (n, (change, check)) in changes.into_iter().enumerate() {
        let world = world();
        let ivan = world.sign_in("ivan");
        let answer = tokens(&world, "contoso.example", &code(&world.authorize(&request("web", SCOPE), &ivan)));
        let next = code(&world.authorize(&request("web", SCOPE), &ivan));
        change(&world);
        assert_eq!(refused(world.token_at("contoso.example", &redeem(&next), None)), check, "{n}: code");
        assert_eq!(refused(world.refresh("web", answer.refresh_token.as_ref().unwrap())), check, "{n}: refresh");
        let downstream = world.obo("orders", &answer.access_token, "api://billing/Invoices.Read");
        assert_eq!(refused(downstream), check, "{n}: on behalf of");
        let silent = crate::world::altered(&request("web", SCOPE), &[("prompt", "none")]);
        assert!(parameter(&world.authorize(&silent, &ivan), "code").is_none(), "{n}: authorize");
    }
}

#[test]
fn x_03_x_20_what_is_got_in_one_tenant_is_worthless_in_the_other() {
    let world = world();
    world.estate.edit(|estate| {
        estate.app("billing").sign_in_audience = deputize_core::model::SignInAudience::AzureADMultipleOrgs;
        estate.objects.principals.push(service_principal(FABRIKAM, "billing"));
        let mut chain = grant("orders@fabrikam", "billing@fabrikam", "Invoices.Read");
        chain.tenant = FABRIKAM;
        estate.objects.grants.push(chain);
    });
    let ivan = world.sign_in("ivan");
    let here = |tenant: &str| code(&world.authorize_at(tenant, &request("web", SCOPE), &ivan));
    for (own, other) in [("contoso.example", "fabrikam.example"), ("fabrikam.example", "contoso.example")] {
        assert_eq!(refused(world.token_at(other, &redeem(&here(own)), None)), CheckId::CodeTenant, "{own}: code");
        let answer = tokens(&world, own, &here(own));
        let of = |name: &str, pairs: &[(&str, &str)]| {
            let (id, secret) = (app(name).to_string(), crate::world::estate::secret(name));
            let all = [&[("client_id", id.as_str()), ("client_secret", secret.as_str())][..], pairs].concat();
            world.token_at(other, &form(&all), None)
        };
        let refresh = answer.refresh_token.as_ref().unwrap().expose();
        let refreshed = of("web", &[("grant_type", "refresh_token"), ("refresh_token", refresh)]);
        assert_eq!(refused(refreshed), CheckId::RefreshValid, "{own}: refresh");
        let pairs = obo(answer.access_token.expose(), "api://billing/Invoices.Read");
        assert_eq!(refused(of("orders", &pairs)), CheckId::AssertionIssuer, "{own}: assertion");
    }
    assert_eq!(CheckId::CodeTenant.entry().aadsts, Some(700_005));
}

#[test]
fn an_application_of_many_tenants_acts_as_itself_where_it_stands_with_the_roles_it_has_there() {
    let world = World::new();
    world.estate.edit(|estate| {
        estate.app("billing").sign_in_audience = deputize_core::model::SignInAudience::AzureADMultipleOrgs;
        estate.objects.principals.push(service_principal(FABRIKAM, "billing"));
    });
    let ask = |tenant: &str, scope: &str| {
        let pairs = [
            ("client_id", &*app("orders").to_string()),
            ("client_secret", &crate::world::estate::secret("orders")),
            ("grant_type", "client_credentials"),
            ("scope", scope),
        ];
        world.token_at(tenant, &form(&pairs), None).map(|answer| claims(&answer.access_token))
    };
    for (tenant, id, roles) in [
        ("contoso.example", CONTOSO, Some(serde_json::json!(["Invoices.Export"]))),
        ("fabrikam.example", FABRIKAM, None),
    ] {
        let token = ask(tenant, "api://billing/.default").unwrap();
        assert_eq!((&token["tid"], token.get("roles")), (&serde_json::json!(id.to_string()), roles.as_ref()));
        assert_eq!(token["iss"], format!("{HOST}/{id}/v2.0"));
    }
    assert_eq!(refused(ask("fabrikam.example", "api://vault/.default")), CheckId::ResourceKnown, "it is not there");
}

#[test]
fn an_application_of_one_tenant_does_nothing_in_another_and_nothing_under_an_alias() {
    let world = World::new();
    let ivan = world.sign_in("ivan");
    let answer = tokens(
        &world,
        "fabrikam.example",
        &code(&world.authorize_at("fabrikam.example", &request("web", SCOPE), &ivan)),
    );
    // Its owners take it back: whatever service principals and consents there are elsewhere.
    world.estate.edit(|estate| estate.app("web").sign_in_audience = deputize_core::model::SignInAudience::AzureADMyOrg);
    let refresh = form(&[
        ("client_id", &app("web").to_string()),
        ("client_secret", &crate::world::estate::secret("web")),
        ("grant_type", "refresh_token"),
        ("refresh_token", answer.refresh_token.as_ref().unwrap().expose()),
    ]);
    for tenant in ["fabrikam.example", "common"] {
        assert_eq!(refused(world.token_at(tenant, &refresh, None)), CheckId::ClientKnown, "{tenant}");
    }
    assert_eq!(denied(&world.authorize_at("fabrikam.example", &request("web", SCOPE), &ivan)), CheckId::ClientKnown);
    for alias in ["common", "organizations"] {
        for browser in [&ivan, &world.sign_in("ada"), &Browser::default()] {
            assert_eq!(denied(&world.authorize_at(alias, &request("web", SCOPE), browser)), CheckId::ClientAudience);
        }
    }
    assert_eq!(CheckId::ClientAudience.entry().aadsts, Some(50_194));
    let answer = world.authorize(&request("web", SCOPE), &world.sign_in("ada"));
    assert!(parameter(&answer, "code").is_some(), "at home it works");
    // As a resource, too: nothing is issued for it in another tenant.
    let world = World::new();
    world
        .estate
        .edit(|estate| estate.app("orders").sign_in_audience = deputize_core::model::SignInAudience::AzureADMyOrg);
    let answer = world.authorize_at("fabrikam.example", &request("web", SCOPE), &world.sign_in("ivan"));
    assert!(parameter(&answer, "error_description").unwrap().starts_with("AADSTS500011"), "{answer:?}");
}

#[test]
fn a_ticket_of_one_tenant_is_worthless_in_another() {
    let world = world();
    let ivan = world.sign_in("ivan");
    let asking = request("web", "api://orders/Orders.Write");
    let page = match world.authorize(&asking, &ivan) {
        Answer::Consent(page) => page,
        other => panic!("{other:?}"),
    };
    let before = {
        let mut n = 0;
        world.estate.edit(|estate| n = estate.objects.grants.len());
        n
    };
    let decided = || authorize::Decided { accepted: true, for_all: false, ticket: &page.ticket };
    for elsewhere in ["fabrikam.example", "common"] {
        let answer = now_or_never(authorize::decided(&world.ports, elsewhere, &asking, ivan.clone(), decided()));
        assert_eq!(denied(&answer), CheckId::InteractionForged, "{elsewhere}");
    }
    let after = {
        let mut n = 0;
        world.estate.edit(|estate| n = estate.objects.grants.len());
        n
    };
    assert_eq!(before, after);
    let answer = now_or_never(authorize::decided(&world.ports, "contoso.example", &asking, ivan.clone(), decided()));
    assert!(parameter(&answer, "code").is_some());
}

#[test]
fn a_consent_that_is_taken_back_ends_refresh_tokens_for_good() {
    let world = World::new();
    let (ada, asking) = (world.sign_in("ada"), request("web", "offline_access api://orders/Orders.Write"));
    let page = match world.authorize(&asking, &ada) {
        Answer::Consent(page) => page,
        other => panic!("{other:?}"),
    };
    let first = code(&world.decide(&asking, &ada, &page.ticket, (true, false)));
    let old = world.redeem("web", &first).unwrap().refresh_token.unwrap();
    let another = world.tokens("ada", "web", "offline_access api://billing/Invoices.Read").refresh_token.unwrap();
    assert!(world.refresh("web", &old).is_ok());
    world.advance(1);
    let withdraw = deputize_core::ledger::Write::Withdraw {
        tenant: CONTOSO,
        client: crate::world::principal("web"),
        user: user("ada"),
        at: world.now(),
    };
    world.ledger.write(vec![withdraw]).unwrap();
    for token in [&old, &another] {
        assert_eq!(refused(world.refresh("web", token)), CheckId::ConsentGranted);
    }
    // A new consent brings nothing old to life.
    world.advance(1);
    let page = match world.authorize(&asking, &ada) {
        Answer::Consent(page) => page,
        other => panic!("{other:?}"),
    };
    let new = code(&world.decide(&asking, &ada, &page.ticket, (true, false)));
    let new = world.redeem("web", &new).unwrap().refresh_token.unwrap();
    assert_eq!(refused(world.refresh("web", &old)), CheckId::ConsentGranted);
    assert!(world.refresh("web", &new).is_ok());
    // Bob took nothing back.
    let bob = world.tokens("bob", "web", "offline_access api://orders/access_as_user").refresh_token.unwrap();
    assert!(world.refresh("web", &bob).is_ok());
}
