//! Consent: A-10, who may agree to what, and what agreeing gives.
use crate::world::estate::{grant, permission, policy};
use crate::world::{World, altered, app, claims, parameter, principal, refused, request, user};
use decision::CheckId;
use deputize_core::authorize::{Answer, Browser, ConsentRequest};
use deputize_core::ledger::Write;
use deputize_core::model::{GrantControls, PermissionGrant, PreAuthorizedApplication};

const WRITE: &str = "api://orders/Orders.Write";
const MANAGE: &str = "api://orders/Orders.Manage";

fn consent(answer: Answer) -> ConsentRequest {
    match answer {
        Answer::Consent(page) => *page,
        other => panic!("{other:?}"),
    }
}

fn shown(page: &ConsentRequest) -> Vec<&str> {
    page.sections.iter().flat_map(|section| &section.permissions).map(|permission| permission.value.as_str()).collect()
}

fn forged(answer: &Answer) -> bool {
    matches!(answer, Answer::Page(denial, None) if denial.id() == CheckId::InteractionForged && denial.status() == 403)
}

fn grants(world: &World) -> usize {
    let mut count = 0;
    world.estate.edit(|estate| count = estate.objects.grants.len());
    count
}

#[test]
fn a_user_agrees_for_themselves_to_what_is_shown() {
    let world = World::new();
    let (ada, asking) = (world.sign_in("ada"), request("web", WRITE));
    let page = consent(world.authorize(&asking, &ada));
    assert_eq!(
        (page.client_name.as_str(), page.upn.as_str(), page.may_grant_for_all),
        ("web", "ada@contoso.example", false)
    );
    assert_eq!(shown(&page), ["Orders.Write"]);
    let code = parameter(&world.decide(&asking, &ada, &page.ticket, (true, true)), "code").unwrap();
    assert_eq!(claims(&world.redeem("web", &code).unwrap().access_token)["scp"], "Orders.Write");
    world.estate.edit(|estate| {
        let added = estate.objects.grants.last().unwrap();
        assert_eq!((added.principal_id, added.client_id), (Some(user("ada")), principal("web")), "for nobody else");
    });
    let bob = world.sign_in("bob");
    consent(world.authorize(&asking, &bob));
}

#[test]
fn an_administrator_agrees_for_everyone_only_if_they_say_so() {
    for for_all in [true, false] {
        let world = World::new();
        let (carol, asking) = (world.sign_in("carol"), request("web", WRITE));
        let page = consent(world.authorize(&asking, &carol));
        assert!(page.may_grant_for_all);
        assert!(parameter(&world.decide(&asking, &carol, &page.ticket, (true, for_all)), "code").is_some());
        let bob = world.authorize(&asking, &world.sign_in("bob"));
        assert_eq!(parameter(&bob, "code").is_some(), for_all);
    }
}

#[test]
fn a_10_a_consent_page_is_posted_by_whom_it_was_shown_to_for_what_it_was_shown_for_once() {
    let world = World::new();
    let (ada, asking) = (world.sign_in("ada"), request("web", WRITE));
    let ticket = consent(world.authorize(&asking, &ada)).ticket;
    let before = grants(&world);
    let bob = world.sign_in("bob");
    let other_cookie = Browser { cookie: "another".into(), ..ada.clone() };
    let other_session = Browser { session: world.sign_in("ada").session, ..ada.clone() };
    let sign_in = deputize_core::ticket::Ticket::new(
        &world.ports,
        deputize_core::ticket::Page::SignIn,
        &ada.cookie,
        ada.session.as_ref().map(|s| s.id),
        &asking,
        world.now(),
    );
    let tries = [
        ("another person", world.decide(&asking, &bob, &ticket, (true, false))),
        ("another cookie", world.decide(&asking, &other_cookie, &ticket, (true, false))),
        ("another session", world.decide(&asking, &other_session, &ticket, (true, false))),
        ("nobody", world.decide(&asking, &Browser { session: None, ..ada.clone() }, &ticket, (true, false))),
        ("another scope", world.decide(&request("web", MANAGE), &ada, &ticket, (true, false))),
        ("another client", world.decide(&request("rival", WRITE), &ada, &ticket, (true, false))),
        ("another state", world.decide(&altered(&asking, &[("state", "s2")]), &ada, &ticket, (true, false))),
        ("no ticket", world.decide(&asking, &ada, "", (true, false))),
        ("a tampered ticket", world.decide(&asking, &ada, &format!("A{ticket}"), (true, false))),
        ("another page's ticket", world.decide(&asking, &ada, &sign_in.seal(&world.ports), (true, false))),
        ("a refusal with another's ticket", world.decide(&asking, &bob, &ticket, (false, false))),
    ];
    for (what, answer) in &tries {
        assert!(forged(answer), "{what}: {answer:?}");
    }
    assert_eq!(grants(&world), before);
    let cancelled = world.decide(&asking, &ada, &ticket, (false, true));
    assert_eq!(parameter(&cancelled, "error").as_deref(), Some("access_denied"));
    assert!(parameter(&cancelled, "iss").is_some());
    assert_eq!(grants(&world), before, "a refusal grants nothing");
    assert!(forged(&world.decide(&asking, &ada, &ticket, (true, false))), "refused is refused");
    let ticket = consent(world.authorize(&asking, &ada)).ticket;
    assert!(parameter(&world.decide(&asking, &ada, &ticket, (true, false)), "code").is_some());
    assert!(forged(&world.decide(&asking, &ada, &ticket, (true, false))), "once");
    assert_eq!(grants(&world), before + 1);
    let late =
        consent(world.authorize(&request("web", "api://billing/Invoices.Read api://orders/Orders.Write"), &bob)).ticket;
    world.advance(3_600);
    assert!(forged(&world.decide(
        &request("web", "api://billing/Invoices.Read api://orders/Orders.Write"),
        &bob,
        &late,
        (true, false)
    )));
}

#[test]
fn a_10_a_session_that_ended_agrees_to_nothing_any_more() {
    type Change = fn(&World, &Browser) -> Browser;
    let asking = request("web", WRITE);
    let changes: [(&str, Change); 5] = [
        ("a policy demands more (X-16)", |world, browser| {
            world.estate.edit(|estate| estate.objects.policies.push(policy(&["orders"], GrantControls::mfa())));
            browser.clone()
        }),
        ("ended", |world, browser| {
            world.ledger.write(vec![Write::RevokeSession(world.session(browser).id)]).unwrap();
            Browser { session: Some(world.session(browser).into()), ..browser.clone() }
        }),
        ("user disabled", |world, browser| {
            world.estate.edit(|estate| estate.person("carol").account_enabled = false);
            browser.clone()
        }),
        ("sessions revoked", |world, browser| {
            world.estate.edit(|estate| estate.person("carol").sign_in_sessions_valid_from = crate::world::NOON.plus(1));
            browser.clone()
        }),
        ("user deleted", |world, browser| {
            world.estate.edit(|estate| estate.users.retain(|known| known.id != user("carol")));
            browser.clone()
        }),
    ];
    for (what, change) in changes {
        let world = World::new();
        let carol = world.sign_in("carol");
        let ticket = consent(world.authorize(&asking, &carol)).ticket;
        let before = grants(&world);
        let browser = change(&world, &carol);
        let answer = world.decide(&asking, &browser, &ticket, (true, true));
        assert_eq!(grants(&world), before, "{what}: {answer:?}");
        assert_eq!(parameter(&answer, "code"), None, "{what}");
    }
}

#[test]
fn only_an_administrator_agrees_to_an_administrators_permission() {
    let world = World::new();
    let asking = request("web", MANAGE);
    let Answer::Page(denial, Some(back)) = world.authorize(&asking, &world.sign_in("ada")) else { panic!("a page") };
    assert_eq!(denial.id(), CheckId::ConsentAdmin);
    assert_eq!(back.parameters.value("error"), Some("access_denied"));
    let carol = world.sign_in("carol");
    let page = consent(world.authorize(&asking, &carol));
    let answer = world.decide(&asking, &carol, &page.ticket, (true, true));
    assert!(parameter(&answer, "code").is_some());
    assert!(parameter(&world.authorize(&asking, &world.sign_in("ada")), "code").is_some());
}

#[test]
fn what_only_an_administrator_may_allow_holds_for_everyone_and_the_rest_for_themselves() {
    let world = World::new();
    let (carol, asking) = (world.sign_in("carol"), request("web", &format!("{MANAGE} {WRITE}")));
    let page = consent(world.authorize(&asking, &carol));
    let answer = world.decide(&asking, &carol, &page.ticket, (true, false));
    assert!(parameter(&answer, "code").is_some(), "not the same page for ever: {answer:?}");
    let ada = world.sign_in("ada");
    assert!(parameter(&world.authorize(&request("web", MANAGE), &ada), "code").is_some());
    consent(world.authorize(&request("web", WRITE), &ada));
}

#[test]
fn who_is_no_administrator_any_more_allows_nothing_for_everyone() {
    let world = World::new();
    let (carol, asking) = (world.sign_in("carol"), request("web", &format!("{MANAGE} {WRITE}")));
    let page = consent(world.authorize(&asking, &carol));
    world.estate.edit(|estate| estate.person("carol").is_tenant_admin = false);
    let answer = world.decide(&asking, &carol, &page.ticket, (true, true));
    assert!(matches!(answer, Answer::Page(..)), "{answer:?}");
    assert!(matches!(world.authorize(&request("web", MANAGE), &world.sign_in("ada")), Answer::Page(..)));
}

#[test]
fn where_users_may_not_agree_an_administrator_must() {
    let world = World::new();
    let (ada, asking) = (world.sign_in("ada"), request("web", WRITE));
    let page = consent(world.authorize(&asking, &ada));
    world.estate.edit(|estate| estate.tenant().settings.user_consent = false);
    assert!(matches!(world.authorize(&asking, &ada), Answer::Page(..)));
    let before = grants(&world);
    let answer = world.decide(&asking, &ada, &page.ticket, (true, false));
    assert_eq!((parameter(&answer, "code"), grants(&world)), (None, before), "a page from before the change too");
    consent(world.authorize(&asking, &world.sign_in("carol")));
}

#[test]
fn pre_authorized_clients_need_no_consent_for_what_is_named() {
    let world = World::new();
    world.estate.edit(|estate| {
        estate.app("orders").api.pre_authorized_applications.push(PreAuthorizedApplication {
            app_id: app("rival"),
            delegated_permission_ids: vec![permission("Orders.Manage")],
        });
    });
    let ada = world.sign_in("ada");
    assert!(parameter(&world.authorize(&request("rival", MANAGE), &ada), "code").is_some());
    assert_eq!(shown(&consent(world.authorize(&request("rival", WRITE), &ada))), ["Orders.Write"]);
}

#[test]
fn default_asks_for_what_is_registered_once_and_then_means_what_is_granted() {
    let world = World::new();
    world.estate.edit(|estate| estate.withdraw("web", "billing"));
    let (ada, asking) = (world.sign_in("ada"), request("web", "api://billing/.default"));
    let page = consent(world.authorize(&asking, &ada));
    assert_eq!(shown(&page), ["Invoices.Read", "Invoices.Approve"]);
    let code = parameter(&world.decide(&asking, &ada, &page.ticket, (true, false)), "code").unwrap();
    let answer = world.redeem("web", &code).unwrap();
    assert_eq!(claims(&answer.access_token)["scp"], "Invoices.Approve Invoices.Read");
    assert_eq!(
        answer.scope.as_deref(),
        Some("api://billing/Invoices.Approve api://billing/Invoices.Read api://billing/.default")
    );
    // Any grant is enough, and then it means that grant.
    world.estate.edit(|estate| {
        estate.withdraw("web", "billing");
        estate.objects.grants.push(grant("web", "billing", "Invoices.Read"));
    });
    let code = parameter(&world.authorize(&asking, &ada), "code").unwrap();
    assert_eq!(claims(&world.redeem("web", &code).unwrap().access_token)["scp"], "Invoices.Read");
    let mixed = world.authorize(&request("web", "api://billing/.default api://billing/Invoices.Read"), &ada);
    assert_eq!(parameter(&mixed, "error").as_deref(), Some("invalid_scope"));
    let undeclared = world.authorize(&request("rival", "api://billing/.default"), &ada);
    assert_eq!(parameter(&undeclared, "error").as_deref(), Some("invalid_client"));
}

#[test]
fn default_leaves_out_what_only_an_administrator_could_have_agreed_to() {
    // Ada agreed to Orders.Write and Orders.Manage while both were of type `User`.
    let world = World::new();
    world.estate.edit(|estate| {
        estate.withdraw("web", "orders");
        estate.objects.grants.push(PermissionGrant {
            principal_id: Some(user("ada")),
            ..grant("web", "orders", "Orders.Write Orders.Manage")
        });
    });
    let token = world.tokens("ada", "web", "api://orders/.default").access_token;
    assert_eq!(claims(&token)["scp"], "Orders.Write");
    world.estate.edit(|estate| {
        estate.withdraw("web", "orders");
        estate
            .objects
            .grants
            .push(PermissionGrant { principal_id: Some(user("ada")), ..grant("web", "orders", "Orders.Manage") });
    });
    assert!(matches!(
        world.authorize(&request("web", "api://orders/.default"), &world.sign_in("ada")),
        Answer::Page(..)
    ));
}

#[test]
fn nobody_agrees_to_a_permission_that_is_not_shown() {
    let world = World::new();
    world.estate.edit(|estate| {
        estate.withdraw("web", "billing");
        let published = &mut estate.app("billing").api.oauth2_permission_scopes;
        published.iter_mut().find(|scope| scope.value == "Invoices.Approve").unwrap().is_enabled = false;
    });
    let (ada, asking) = (world.sign_in("ada"), request("web", "api://billing/.default"));
    let page = consent(world.authorize(&asking, &ada));
    assert_eq!(shown(&page), ["Invoices.Read"]);
    assert!(parameter(&world.decide(&asking, &ada, &page.ticket, (true, false)), "code").is_some());
    world.estate.edit(|estate| assert_eq!(estate.objects.grants.last().unwrap().scope.to_string(), "Invoices.Read"));
    let carol = world.sign_in("carol");
    let page = consent(world.authorize(&asking, &carol));
    assert!(parameter(&world.decide(&asking, &carol, &page.ticket, (true, true)), "code").is_some());
    world.estate.edit(|estate| {
        let unseen = |grant: &PermissionGrant| {
            grant.resource_id == principal("billing")
                && grant.client_id == principal("web")
                && grant.scope.contains("Invoices.Approve")
        };
        assert!(!estate.objects.grants.iter().any(unseen), "an administrator neither");
    });
}

#[test]
fn prompt_consent_shows_the_page_again_and_ends() {
    let world = World::new();
    let ada = world.sign_in("ada");
    for prompt in ["consent", "login consent"] {
        let asking = altered(&request("web", "api://billing/Invoices.Read"), &[("prompt", prompt)]);
        // With `login` the person has just signed in.
        let browser = Browser { fresh: prompt.contains("login"), ..ada.clone() };
        let page = consent(world.authorize(&asking, &browser));
        // The page is posted by another request, which signs nobody in.
        let answer = world.decide(&asking, &ada, &page.ticket, (true, false));
        assert!(parameter(&answer, "code").is_some(), "{prompt}: {answer:?}");
    }
}

#[test]
fn one_page_asks_for_several_resources() {
    let world = World::new();
    let (ada, asking) =
        (world.sign_in("ada"), request("rival", "api://orders/Orders.Write api://legacy/Legacy.Read openid"));
    let page = consent(world.authorize(&asking, &ada));
    assert_eq!(page.sections.len(), 2);
    assert!(parameter(&world.decide(&asking, &ada, &page.ticket, (true, false)), "code").is_some());
}

#[test]
fn a_missing_consent_in_the_chain_names_the_edge() {
    let world = World::new();
    let token = world.tokens("ada", "web", "api://orders/access_as_user").access_token;
    let refusal = world.obo("orders", &token, "api://billing/Invoices.Approve").unwrap_err();
    assert_eq!(
        (refusal.body.error.as_str(), refusal.body.suberror.as_deref()),
        ("invalid_grant", Some("consent_required"))
    );
    assert_eq!(refusal.body.error_codes, [65_001]);
    assert_eq!(refused(world.obo("orders", &token, "api://billing/Invoices.Void")), CheckId::ConsentGranted);
    world.estate.edit(|estate| {
        estate.objects.grants.push(PermissionGrant {
            principal_id: Some(user("ada")),
            ..grant("orders", "billing", "Invoices.Approve")
        });
    });
    assert!(world.obo("orders", &token, "api://billing/Invoices.Approve").is_ok(), "her own consent is enough");
    let bob = world.tokens("bob", "web", "api://orders/access_as_user").access_token;
    assert_eq!(
        refused(world.obo("orders", &bob, "api://billing/Invoices.Approve")),
        CheckId::ConsentGranted,
        "and only hers"
    );
}
