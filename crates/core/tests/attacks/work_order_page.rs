//! The page of work orders (F4): what waits for the user is approved with their presence, and by nobody else.
use crate::work_orders::{contoso, order, record, redeem, revoke_as};
use crate::world::{WEB_REDIRECT, World, altered, app, challenge, now_or_never, refused};
use decision::CheckId;
use deputize_core::authorize::{Answer, Browser};
use deputize_core::ledger::Write;
use deputize_core::ports::Crypto as _;
use deputize_core::work_order::page::{Decision, OrdersAnswer, Shown, decided, orders};
use deputize_core::work_order::presence::returned;
use oauth::{Form, Secret};

/// The only order that this browser's person has.
fn shown(world: &World, browser: &Browser) -> Shown {
    match now_or_never(orders(&world.ports, "contoso.example", browser)) {
        OrdersAnswer::Show(page) => page.orders[0].clone(),
        other => panic!("{other:?}"),
    }
}

fn decide(world: &World, browser: &Browser, shown: &Shown, decision: Decision) -> OrdersAnswer {
    let request = Form::decode(shown.hidden.0.as_bytes()).unwrap();
    now_or_never(decided(&world.ports, "contoso.example", &request, browser, (decision, &shown.hidden.1)))
}

fn forged(answer: &OrdersAnswer) -> bool {
    matches!(answer, OrdersAnswer::Page(denial) if denial.id() == CheckId::InteractionForged)
}

/// An order that waits, since its session has ended.
fn waiting(changes: &[(&str, &str)]) -> (World, Secret) {
    let world = contoso();
    let handle = order(&world, &[&[("redemptions", "3")][..], changes].concat());
    world.ledger.write(vec![Write::RevokeSession(record(&world, &handle).session)]).unwrap();
    assert_eq!(refused(redeem(&world, &handle)), CheckId::SessionAlive);
    world.advance(60);
    (world, handle)
}

/// The authorization request with which a browser leaves the page.
fn leaving(world: &World, browser: &Browser) -> Form {
    let shown = shown(world, browser);
    assert!(shown.parked.is_some());
    let OrdersAnswer::Go(path) = decide(world, browser, &shown, Decision::Approve) else { panic!() };
    Form::decode(path.split_once('?').unwrap().1.as_bytes()).unwrap()
}

/// What it comes back with.
fn back(world: &World, asking: &Form, browser: &Browser) -> Form {
    match world.authorize(asking, browser) {
        Answer::Redirect(redirect) => redirect.parameters,
        other => panic!("{asking:?}: {other:?}"),
    }
}

fn come(world: &World, browser: &Browser, answer: &Form) -> Result<(), CheckId> {
    now_or_never(returned(&world.ports, browser, answer)).map(drop).map_err(|denial| denial.id())
}

#[test]
fn a_user_sees_their_orders_and_stops_one() {
    let world = contoso();
    let handle = order(&world, &[("redemptions", "3"), ("purpose", "Export for the accountant")]);
    let show = |name: &str| {
        let browser = world.sign_in(name);
        match now_or_never(orders(&world.ports, "contoso.example", &browser)) {
            OrdersAnswer::Show(page) => (browser, page),
            other => panic!("{other:?}"),
        }
    };
    let (_, of_bob) = show("bob");
    assert!(of_bob.orders.is_empty(), "nobody else's");
    let (browser, page) = show("ada");
    assert_eq!(page.orders.len(), 1);
    let shown = &page.orders[0];
    assert_eq!(
        (shown.purpose.as_str(), shown.issuer.as_str(), shown.workers.as_slice()),
        ("Export for the accountant", "orders", &["daemon".to_owned()][..])
    );
    assert_eq!(shown.allowed, [("billing".to_owned(), vec!["Invoices.Read".to_owned()])]);
    let post = |browser: &Browser, ticket: &str| {
        let shown = Shown { hidden: (shown.hidden.0.clone(), ticket.to_owned()), ..shown.clone() };
        decide(&world, browser, &shown, Decision::Revoke)
    };
    assert!(forged(&post(&browser, "x")) && forged(&post(&world.sign_in("bob"), &shown.hidden.1)));
    assert!(redeem(&world, &handle).is_ok());
    assert!(matches!(post(&browser, &shown.hidden.1), OrdersAnswer::Show(page) if page.orders.is_empty()));
    assert_eq!(refused(redeem(&world, &handle)), CheckId::WorkOrderRevoked);
}

/// One form, one decision: whoever has seen a posted form does nothing with it.
#[test]
fn a_form_of_the_page_is_good_for_one_decision() {
    let (world, handle) = waiting(&[]);
    let browser = world.sign_in("ada");
    let shown = shown(&world, &browser);
    assert!(matches!(decide(&world, &browser, &shown, Decision::Approve), OrdersAnswer::Go(_)));
    for again in [Decision::Approve, Decision::Revoke] {
        assert!(forged(&decide(&world, &browser, &shown, again)), "{again:?}");
    }
    assert_eq!(refused(redeem(&world, &handle)), CheckId::SessionAlive, "it waits, and is not revoked");
}

#[test]
fn presence_at_the_page_makes_the_order_stem_from_that_sign_in() {
    let (world, handle) = waiting(&[]);
    let browser = world.sign_in("ada");
    let answer = back(&world, &leaving(&world, &browser), &browser);
    // Whoever else brings it gives nothing: another browser, another person, or both.
    let bob = world.sign_in("bob");
    let her_cookie = Browser { cookie: browser.cookie.clone(), ..bob.clone() };
    let her_accounts = Browser { cookie: bob.cookie.clone(), ..browser.clone() };
    for stranger in [&bob, &her_cookie, &her_accounts] {
        assert_eq!(come(&world, stranger, &answer), Err(CheckId::InteractionForged));
    }
    assert_eq!(refused(redeem(&world, &handle)), CheckId::SessionAlive);
    assert_eq!(come(&world, &browser, &answer), Ok(()));
    assert!(come(&world, &browser, &answer).is_err(), "once");
    assert_eq!(Some(record(&world, &handle).session), browser.session.as_ref().map(|session| session.id));
    assert!(redeem(&world, &handle).is_ok());
}

/// A code that was made for something else is no presence, whoever brings it.
#[test]
fn no_other_code_gives_presence() {
    let (web, other_challenge) =
        (app("web").to_string(), challenge("another verifier, of another request, of somebody"));
    for (what, changes) in [
        ("of another client", [("client_id", web.as_str())]),
        ("of another request", [("code_challenge", other_challenge.as_str())]),
        ("for another page", [("redirect_uri", WEB_REDIRECT)]),
    ] {
        let (world, handle) = waiting(&[]);
        world.estate.edit(|e| e.app("orders").web.redirect_uris.push(WEB_REDIRECT.into()));
        let browser = world.sign_in("ada");
        let asking = leaving(&world, &browser);
        let answer = back(&world, &altered(&asking, &changes), &browser);
        assert!(answer.value("code").is_some(), "{what}: {answer:?}");
        assert_eq!(come(&world, &browser, &answer), Err(CheckId::InteractionForged), "{what}");
        assert_eq!(come(&world, &browser, &back(&world, &asking, &browser)), Ok(()), "{what}: its own does");
        assert!(redeem(&world, &handle).is_ok(), "{what}");
    }
}

#[test]
fn somebody_else_at_the_same_browser_gives_no_presence() {
    let (world, handle) = waiting(&[]);
    let browser = world.sign_in("ada");
    let asking = leaving(&world, &browser);
    let bob = Browser { cookie: browser.cookie.clone(), ..world.sign_in("bob") };
    let answer = back(&world, &asking, &bob);
    assert!(answer.value("code").is_some(), "{answer:?}");
    assert_eq!(come(&world, &bob, &answer), Err(CheckId::InteractionForged));
    assert_eq!(refused(redeem(&world, &handle)), CheckId::SessionAlive);
}

#[test]
fn presence_comes_too_late_for_what_has_ended_meanwhile() {
    type Act = fn(&World, &Secret, &Form);
    let acts: [(&str, Act, CheckId); 5] = [
        ("the order was revoked", |w, handle, _| revoke_as(w, "orders", handle), CheckId::WorkOrderCurrent),
        ("the order has ended", |w, _, _| w.advance(300), CheckId::WorkOrderCurrent),
        ("the code has ended", |w, _, _| w.advance(600), CheckId::InteractionForged),
        (
            "the code was redeemed",
            |w, _, answer| {
                let code = w.crypto.keyed_digest(answer.value("code").unwrap());
                w.ledger.write(vec![Write::ConsumeCode(code)]).unwrap();
            },
            CheckId::InteractionForged,
        ),
        (
            "its authorization was revoked",
            |w, _, answer| {
                let code = w.crypto.keyed_digest(answer.value("code").unwrap());
                let family = w.ledger.read(|state| state.codes[&code].family);
                w.ledger.write(vec![Write::RevokeFamily(family)]).unwrap();
            },
            CheckId::InteractionForged,
        ),
    ];
    for (what, act, check) in acts {
        let life = if what == "the order has ended" { "300" } else { "7200" };
        let (world, handle) = waiting(&[("requested_expiry", life)]);
        let browser = world.sign_in("ada");
        let answer = back(&world, &leaving(&world, &browser), &browser);
        let before = record(&world, &handle).session;
        act(&world, &handle, &answer);
        assert_eq!(come(&world, &browser, &answer), Err(check), "{what}");
        assert_eq!(record(&world, &handle).session, before, "{what}");
    }
}
