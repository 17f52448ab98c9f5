//! Combined consent (`knownClientApplications`), service principals made on consent, and asking an administrator.
use crate::world::estate::{CONTOSO, FABRIKAM, grant, permission};
use crate::world::{HOST, World, altered, app, claims, form, now_or_never, obo, parameter, refused, request};
use decision::CheckId;
use deputize_core::authorize::{self, Answer, Asking, Browser, ConsentRequest};
use deputize_core::estate::provisioned;
use deputize_core::id::ObjectId;
use deputize_core::model::{AccessType, RequiredResourceAccess, ResourceAccess, SignInAudience};

const CHAIN: &str = "api://orders/.default";

/// Contoso's `web`, `orders` and `billing`, of many tenants; Orders knows the web client. Nothing of it is in Fabrikam.
fn world() -> World {
    let world = World::new();
    world.estate.edit(|estate| {
        for name in ["web", "orders", "billing"] {
            estate.app(name).sign_in_audience = SignInAudience::AzureADMultipleOrgs;
        }
        estate.app("orders").api.known_client_applications = vec![app("web")];
        estate.objects.principals.retain(|principal| principal.tenant == CONTOSO);
        estate.objects.grants.retain(|grant| grant.tenant == CONTOSO);
    });
    world
}

fn at(world: &World, request: &oauth::Form, browser: &Browser) -> Answer {
    world.authorize_at("fabrikam.example", request, browser)
}

fn page(answer: Answer) -> ConsentRequest {
    match answer {
        Answer::Consent(page) => *page,
        other => panic!("{other:?}"),
    }
}

fn asks(answer: Answer) -> ConsentRequest {
    match answer {
        Answer::AskAdmin(page) => *page,
        other => panic!("{other:?}"),
    }
}

fn agree(world: &World, request: &oauth::Form, browser: &Browser, ticket: &str) -> Answer {
    let decided = authorize::Decided { accepted: true, for_all: false, ticket };
    now_or_never(authorize::decided(&world.ports, "fabrikam.example", request, browser.clone(), decided))
}

fn denied(answer: &Answer) -> CheckId {
    match answer {
        Answer::Page(denial, _) => denial.id(),
        other => panic!("{other:?}"),
    }
}

fn principals(world: &World) -> usize {
    let mut count = 0;
    world.estate.edit(|estate| count = estate.objects.principals.len());
    count
}

fn edges(page: &ConsentRequest) -> Vec<(&str, &str, Vec<&str>)> {
    page.sections
        .iter()
        .map(|section| {
            let permissions = section.permissions.iter().map(|permission| permission.value.as_str()).collect();
            (section.client.as_str(), section.resource.as_str(), permissions)
        })
        .collect()
}

#[test]
fn one_dialog_consents_and_registers_client_and_both_apis() {
    let world = world();
    let ivan = world.sign_in("ivan");
    let asking = request("web", CHAIN);
    let before = principals(&world);
    let shown = page(at(&world, &asking, &ivan));
    assert_eq!(
        edges(&shown),
        [
            ("web", "orders", vec!["access_as_user"]),
            ("web", "billing", vec!["Invoices.Read", "Invoices.Approve"]),
            ("orders", "billing", vec!["Invoices.Read", "Invoices.Approve"]),
        ]
    );
    assert_eq!(shown.adds, ["web", "orders", "billing"]);
    assert!(shown.publisher.foreign && shown.publisher.domain == "contoso.example");
    assert_eq!(principals(&world), before, "a page adds nothing");
    let code = parameter(&agree(&world, &asking, &ivan, &shown.ticket), "code").unwrap();
    assert_eq!(principals(&world), before + 3);
    world.estate.edit(|estate| {
        for name in ["web", "orders", "billing"] {
            let id = provisioned(FABRIKAM, app(name));
            assert!(estate.objects.principals.iter().any(|p| p.id == id && p.tenant == FABRIKAM && p.account_enabled));
        }
    });
    // The chain works in Fabrikam without anyone asking again.
    let redeemed = at_token(
        &world,
        "web",
        &[
            ("grant_type", "authorization_code"),
            ("code", &code),
            ("redirect_uri", crate::world::WEB_REDIRECT),
            ("code_verifier", crate::world::VERIFIER),
        ],
    );
    let token = redeemed.unwrap().access_token;
    assert_eq!(claims(&token)["tid"], FABRIKAM.to_string());
    let downstream = at_token(&world, "orders", &obo(token.expose(), "api://billing/Invoices.Read")).unwrap();
    let downstream = claims(&downstream.access_token);
    assert_eq!(
        (downstream["tid"].as_str(), downstream["scp"].as_str()),
        (Some(&*FABRIKAM.to_string()), Some("Invoices.Read"))
    );
    assert_eq!(downstream["iss"], format!("{HOST}/{FABRIKAM}/v2.0"));
    // And nobody's but Ivan's.
    assert!(parameter(&at(&world, &asking, &world.sign_in("ivan")), "code").is_some());
}

fn at_token(
    world: &World,
    name: &str,
    pairs: &[(&str, &str)],
) -> Result<oauth::TokenResponse, deputize_core::token_endpoint::Refusal> {
    let (id, secret) = (app(name).to_string(), crate::world::estate::secret(name));
    let all = [&[("client_id", id.as_str()), ("client_secret", &secret)][..], pairs].concat();
    world.token_at("fabrikam.example", &form(&all), None)
}

#[test]
fn a_gap_behind_the_api_is_asked_for_before_it_is_met() {
    let world = world();
    world.estate.edit(|estate| estate.withdraw("orders", "billing"));
    let ada = world.sign_in("ada");
    let shown = page(world.authorize(&request("web", CHAIN), &ada));
    assert_eq!(edges(&shown), [("orders", "billing", vec!["Invoices.Read", "Invoices.Approve"])]);
    let silent = altered(&request("web", CHAIN), &[("prompt", "none")]);
    assert!(parameter(&world.authorize(&silent, &ada), "code").is_some(), "the client itself lacks nothing");
    let named = request("web", "api://orders/access_as_user");
    assert!(parameter(&world.authorize(&named, &ada), "code").is_some(), "only `.default` asks for all");
    world.estate.edit(|estate| estate.objects.grants.push(grant("orders", "billing", "Invoices.Read")));
    assert!(parameter(&world.authorize(&request("web", CHAIN), &ada), "code").is_some(), "any grant will do");
}

#[test]
fn nobody_puts_anothers_api_into_their_dialog() {
    // Not known, or of another organization: the API is not offered, and what it needs is nobody's business.
    let changes: [fn(&World); 3] = [
        |world| world.estate.edit(|estate| estate.app("orders").api.known_client_applications = vec![app("rival")]),
        |world| world.estate.edit(|estate| estate.app("orders").home_tenant = FABRIKAM),
        |world| world.estate.edit(|estate| estate.app("web").home_tenant = FABRIKAM),
    ];
    for (n, change) in changes.into_iter().enumerate() {
        let world = world();
        world.estate.edit(|estate| {
            estate.withdraw("orders", "billing");
            estate.withdraw("web", "orders");
        });
        change(&world);
        match world.authorize(&request("web", CHAIN), &world.sign_in("ada")) {
            Answer::Consent(page) => assert!(edges(&page).iter().all(|(client, ..)| *client == "web"), "{n}: {page:?}"),
            other => panic!("{n}: {other:?}"),
        }
        let answer = at(&world, &request("web", CHAIN), &world.sign_in("ivan"));
        assert!(!matches!(answer, Answer::Consent(_)) || n > 0, "{n}: {answer:?}");
    }
}

#[test]
fn a_client_whose_apis_are_not_here_says_so() {
    let world = world();
    world.estate.edit(|estate| estate.app("orders").api.known_client_applications.clear());
    let ivan = world.sign_in("ivan");
    let answer = at(&world, &request("web", CHAIN), &ivan);
    assert!(parameter(&answer, "error_description").unwrap().starts_with("AADSTS500011"), "{answer:?}");
    world.estate.edit(|estate| {
        let orders = crate::world::estate::service_principal(FABRIKAM, "orders");
        estate.objects.principals.push(orders);
    });
    let answer = at(&world, &request("web", CHAIN), &ivan);
    assert!(parameter(&answer, "error_description").unwrap().starts_with("AADSTS650052"), "{answer:?}");
    assert_eq!(parameter(&answer, "error").as_deref(), Some("invalid_client"));
    world.estate.edit(|estate| {
        estate.app("web").required_resource_access.push(RequiredResourceAccess {
            resource_app_id: app("nothing"),
            resource_access: vec![ResourceAccess { id: ObjectId(permission("x").0), kind: AccessType::Scope }],
        });
        estate.app("web").required_resource_access.retain(|required| required.resource_app_id != app("billing"));
    });
    let answer = at(&world, &request("web", CHAIN), &ivan);
    assert!(parameter(&answer, "error_description").unwrap().starts_with("AADSTS65005"), "{answer:?}");
}

#[test]
fn an_application_comes_into_a_tenant_by_a_member_who_may_consent_and_stays_disabled_if_it_was() {
    let world = world();
    let ivan = world.sign_in("ivan");
    let asking = request("web", "openid profile");
    // Nobody consents to signing in, but the application is new.
    let shown = page(at(&world, &asking, &ivan));
    assert!(shown.sections.is_empty() && shown.adds == ["web"]);
    let silent = at(&world, &altered(&asking, &[("prompt", "none")]), &ivan);
    assert_eq!(parameter(&silent, "error").as_deref(), Some("consent_required"));
    // Between page and answer an administrator disabled it.
    world.estate.edit(|estate| {
        let mut web = crate::world::estate::service_principal(FABRIKAM, "web");
        web.id = provisioned(FABRIKAM, app("web"));
        web.account_enabled = false;
        estate.objects.principals.push(web);
    });
    assert_eq!(denied(&agree(&world, &asking, &ivan, &shown.ticket)), CheckId::ClientEnabled);
    // Where users may not consent, only an administrator adds it.
    let world = self::world();
    let ivan = world.sign_in("ivan");
    world.estate.edit(|estate| estate.objects.tenants[1].settings.user_consent = false);
    assert_eq!(denied(&at(&world, &asking, &ivan)), CheckId::ConsentAdmin);
    let before = principals(&world);
    // Even a page that was shown while they might does not.
    assert_eq!(denied(&agree(&world, &asking, &ivan, &shown.ticket)), CheckId::ConsentAdmin);
    assert_eq!(principals(&world), before);
    // A single-tenant application never comes.
    let answer = at(&world, &request("rival", "openid"), &ivan);
    assert_eq!(denied(&answer), CheckId::ClientKnown);
}

#[test]
fn a_user_who_is_not_allowed_asks_an_administrator_with_a_reason() {
    let world = world();
    let (ada, asking) = (world.sign_in("ada"), request("web", "api://orders/Orders.Manage"));
    assert_eq!(denied(&world.authorize(&asking, &ada)), CheckId::ConsentAdmin, "the tenant takes no requests");
    world.estate.edit(|estate| estate.tenant().settings.admin_consent_requests = true);
    let shown = asks(world.authorize(&asking, &ada));
    assert_eq!(edges(&shown), [("web", "orders", vec!["Orders.Manage"])]);
    let send = |browser: &Browser, request: &oauth::Form, asks: bool, reason: &str| {
        let asking = Asking { asks, reason, ticket: &shown.ticket };
        now_or_never(authorize::asked(&world.ports, "contoso.example", request, browser, asking))
    };
    let requests = || world.ledger.read(|state| state.requests.len());
    // Another's page, another request, and a ticket of the wrong page.
    assert_eq!(denied(&send(&world.sign_in("bob"), &asking, true, "x")), CheckId::InteractionForged);
    assert_eq!(denied(&send(&ada, &request("web", "openid"), true, "x")), CheckId::InteractionForged);
    assert_eq!(denied(&world.decide(&asking, &ada, &shown.ticket, (true, true))), CheckId::InteractionForged);
    assert!(matches!(send(&ada, &asking, true, " \u{7} "), Answer::AskAdmin(_)), "without a reason it asks again");
    assert_eq!(requests(), 0);
    let back = match send(&ada, &asking, true, "month end\r\nis near") {
        Answer::Asked(back) => back,
        other => panic!("{other:?}"),
    };
    assert!(back.parameters.value("error_description").unwrap().starts_with("AADSTS90095"));
    assert_eq!(back.parameters.value("error"), Some("access_denied"));
    world.ledger.read(|state| {
        let [request] = &state.requests[..] else { panic!("{:?}", state.requests) };
        assert_eq!((request.reason.as_str(), request.client), ("month end  is near", app("web")));
    });
    assert_eq!(denied(&send(&ada, &asking, true, "again")), CheckId::InteractionForged, "once");
    let refusal = world.token_as("web", &[("grant_type", "client_credentials"), ("scope", "x")]);
    assert_eq!(refused(refusal), CheckId::ScopeValid, "nothing was granted by asking");
    // Who cancels goes home.
    let shown = asks(world.authorize(&asking, &ada));
    let asking_again = Asking { asks: false, reason: "", ticket: &shown.ticket };
    let answer = now_or_never(authorize::asked(&world.ports, "contoso.example", &asking, &ada, asking_again));
    assert!(parameter(&answer, "error_description").unwrap().starts_with("AADSTS65004"));
}
