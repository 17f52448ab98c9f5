//! The second factor: A-19 for its codes, A-10 for its pages.
use crate::world::estate::{State, policy, upn};
use crate::world::{World, altered, now_or_never, parameter, request, user};
use decision::CheckId;
use deputize_core::authorize::{Answer, Browser, CodeProblem, SecondFactorRequest, Step};
use deputize_core::model::GrantControls;
use deputize_core::ticket::{Page, Ticket};

const SCOPE: &str = "api://orders/access_as_user openid";

fn world() -> World {
    let world = World::new();
    world.estate.edit(|estate: &mut State| estate.objects.policies.push(policy(&["orders"], GrantControls::mfa())));
    world
}

fn page(answer: Answer) -> SecondFactorRequest {
    match answer {
        Answer::SecondFactor(page) => *page,
        other => panic!("{other:?}"),
    }
}

fn secret(page: &SecondFactorRequest) -> Vec<u8> {
    match &page.step {
        Step::Enrol(secret) => secret.clone(),
        other => panic!("{other:?}"),
    }
}

fn recovery(answer: Answer) -> Vec<String> {
    match page(answer).step {
        Step::RecoveryCodes(codes) => codes.iter().map(|code| code.expose().to_owned()).collect(),
        other => panic!("{other:?}"),
    }
}

/// A person with a device: their browser, what is in the device, and their recovery codes.
fn enrolled(world: &World, name: &str) -> (Browser, Vec<u8>, Vec<String>) {
    let (browser, asking) = (world.sign_in(name), request("web", SCOPE));
    let shown = page(world.authorize(&asking, &browser));
    let secret = secret(&shown);
    let (answer, browser) = world.show(&asking, &browser, &shown, &world.device(&secret, 0));
    (browser, secret, recovery(answer))
}

/// A new sign-in that is asked for a code.
fn asked(world: &World, name: &str) -> (Browser, SecondFactorRequest) {
    let browser = world.sign_in(name);
    let shown = page(world.authorize(&request("web", SCOPE), &browser));
    assert_eq!(shown.step, Step::Verify);
    (browser, shown)
}

fn try_code(world: &World, name: &str, code: &str) -> Result<Browser, CodeProblem> {
    let (browser, shown) = asked(world, name);
    let (answer, browser) = world.show(&request("web", SCOPE), &browser, &shown, code);
    match answer {
        Answer::SecondFactor(page) => Err(page.problem.unwrap()),
        answer => {
            assert!(parameter(&answer, "code").is_some(), "{answer:?}");
            Ok(browser)
        }
    }
}

fn forged(answer: &Answer) -> bool {
    matches!(answer, Answer::Page(denial, None) if denial.id() == CheckId::InteractionForged)
}

#[test]
fn a_second_factor_is_set_up_where_a_policy_demands_it_and_strengthens_the_session() {
    let world = world();
    let (browser, asking) = (world.sign_in("ada"), request("web", SCOPE));
    let before = world.session(&browser);
    let first = page(world.authorize(&asking, &browser));
    assert_eq!(first.upn, upn("ada"));
    let secret = secret(&first);
    assert_eq!(secret.len(), 20);
    let (answer, browser) = world.show(&asking, &browser, &first, "000000");
    let again = page(answer);
    assert_eq!((again.problem, self::secret(&again)), (Some(CodeProblem::Wrong), secret.clone()), "the same secret");
    assert_eq!(
        world.ledger.read(|state| state.factors.len()),
        0,
        "nothing is set up until the device has shown it works"
    );
    let (answer, browser) = world.show(&asking, &browser, &again, &world.device(&secret, 0));
    let codes = page(answer);
    let Step::RecoveryCodes(all) = &codes.step else { panic!("{codes:?}") };
    let mut distinct: Vec<&str> = all.iter().map(oauth::Secret::expose).collect();
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(distinct.len(), 10);
    let (answer, browser) = world.show(&asking, &browser, &codes, "");
    let code = parameter(&answer, "code").unwrap();
    let after = world.session(&browser);
    assert_eq!((after.id, after.auth_time), (before.id, before.auth_time), "the session stays");
    assert_eq!((after.amr.join(" "), after.mfa_time), ("pwd otp mfa".to_owned(), Some(world.now())));
    assert_ne!(after.cookie, before.cookie, "its cookie does not");
    let chain = world.chain(&world.redeem("web", &code).unwrap().access_token);
    assert_eq!(chain.amr, ["pwd", "mfa", "otp"]);
    let actions: Vec<_> = world.ledger.read(|state| state.audit.iter().map(|record| record.action.clone()).collect());
    assert!(actions.contains(&"second factor set up".to_owned()), "{actions:?}");
    // The next application of the same browser asks nothing.
    assert!(parameter(&world.authorize(&request("phone", SCOPE), &browser), "code").is_some());
}

#[test]
fn a_19_a_code_works_once_and_only_in_its_window() {
    let world = world();
    let (_, secret, _) = enrolled(&world, "ada");
    assert_eq!(try_code(&world, "ada", &world.device(&secret, 0)).err(), Some(CodeProblem::Wrong), "used to set it up");
    world.advance(90);
    for (later, good) in
        [(-2, false), (2, false), (-1, true), (-1, false), (0, true), (0, false), (1, true), (0, false)]
    {
        let found = try_code(&world, "ada", &world.device(&secret, later));
        assert_eq!(found.is_ok(), good, "{later}");
        if good {
            // Guesses count one after another; a right code clears them.
            assert_eq!(world.ledger.read(|state| state.factors[&user("ada")].failures), 0);
        }
    }
    for odd in ["", "12345", "1234567", "١٢٣٤٥٦", "000000\0", &"9".repeat(60_000), "-", "+12345", "0x1234"] {
        world.advance(4_000);
        assert_eq!(try_code(&world, "ada", odd).err(), Some(CodeProblem::Wrong), "{odd}");
    }
    world.advance(4_000);
    let spaced = world.device(&secret, 0);
    assert!(try_code(&world, "ada", &format!(" {} {} ", &spaced[..3], &spaced[3..])).is_ok(), "as people type it");
}

#[test]
fn a_19_wrong_codes_slow_the_next_ones_down_and_lock_nobody_out() {
    let world = world();
    let (_, secret, recovery) = enrolled(&world, "ada");
    enrolled(&world, "bob");
    world.advance(90);
    // Shown before the delay began: it is checked where the code is redeemed (CVE-2026-16103).
    let (early, shown) = asked(&world, "ada");
    for _ in 0..5 {
        assert_eq!(try_code(&world, "ada", "000000").err(), Some(CodeProblem::Wrong));
    }
    let late = page(world.show(&request("web", SCOPE), &early, &shown, &world.device(&secret, 0)).0);
    assert_eq!(late.problem, Some(CodeProblem::TooSoon(30)));
    for code in [world.device(&secret, 0), recovery[0].clone(), "000000".to_owned()] {
        assert_eq!(try_code(&world, "ada", &code).err(), Some(CodeProblem::TooSoon(30)), "not even looked at");
    }
    assert_eq!(try_code(&world, "bob", "000000").err(), Some(CodeProblem::Wrong), "others are not slowed down");
    let mut delays = Vec::new();
    for _ in 0..12 {
        let Some(CodeProblem::TooSoon(wait)) = try_code(&world, "ada", "000000").err() else { panic!("no delay") };
        delays.push(wait);
        world.advance(wait - 1);
        assert_eq!(try_code(&world, "ada", "000000").err(), Some(CodeProblem::TooSoon(1)));
        world.advance(1);
        assert_eq!(try_code(&world, "ada", "000000").err(), Some(CodeProblem::Wrong));
    }
    assert_eq!(delays, [30, 60, 120, 240, 480, 960, 1_920, 3_600, 3_600, 3_600, 3_600, 3_600]);
    world.advance(3_600);
    assert!(try_code(&world, "ada", &world.device(&secret, 0)).is_ok(), "the victim gets in");
    world.advance(30);
    assert_eq!(try_code(&world, "ada", "000000").err(), Some(CodeProblem::Wrong), "and begins anew");
    assert!(try_code(&world, "ada", &world.device(&secret, 0)).is_ok());
}

#[test]
fn a_recovery_code_works_once_for_its_owner() {
    let world = world();
    let (_, _, codes) = enrolled(&world, "ada");
    let (_, _, bobs) = enrolled(&world, "bob");
    assert_eq!(try_code(&world, "ada", &bobs[0]).err(), Some(CodeProblem::Wrong));
    let typed = codes[3].to_lowercase().replace('-', " ");
    let browser = try_code(&world, "ada", &typed).unwrap();
    assert!(world.session(&browser).amr.contains(&"mfa".to_owned()));
    assert_eq!(try_code(&world, "ada", &codes[3]).err(), Some(CodeProblem::Wrong));
    for code in codes.iter().enumerate().filter(|(n, _)| *n != 3).map(|(_, code)| code) {
        assert!(try_code(&world, "ada", code).is_ok());
    }
    assert_eq!(world.ledger.read(|state| state.factors[&user("ada")].recovery.len()), 0);
}

#[test]
fn a_second_factor_is_set_up_once_and_by_who_has_just_signed_in() {
    let world = world();
    let asking = request("web", SCOPE);
    let (thief, owner) = (world.sign_in("ada"), world.sign_in("ada"));
    let (stolen, own) = (page(world.authorize(&asking, &thief)), page(world.authorize(&asking, &owner)));
    let secret = secret(&own);
    let (answer, _) = world.show(&asking, &owner, &own, &world.device(&secret, 0));
    recovery(answer);
    // Who was shown the page before cannot replace it, nor post the same page again.
    let (answer, thief) = world.show(&asking, &thief, &stolen, &world.device(&self::secret(&stolen), 0));
    assert_eq!(page(answer).step, Step::Verify);
    let (answer, _) = world.show(&asking, &owner, &own, &world.device(&secret, 0));
    assert!(forged(&answer) || page(answer).step == Step::Verify);
    assert!(!world.session(&thief).amr.contains(&"mfa".to_owned()));
    // A stolen cookie of this morning sets nothing up.
    let bob = world.sign_in("bob");
    world.advance(901);
    assert!(matches!(world.authorize(&asking, &bob), Answer::SignIn(_)));
    // To show a code, it is enough that the session lives.
    let (browser, _) = asked(&world, "ada");
    world.advance(3_600);
    assert_eq!(page(world.authorize(&asking, &browser)).step, Step::Verify);
}

#[test]
fn a_10_a_second_factor_page_is_posted_by_whom_it_was_shown_to_for_what_it_was_shown_for_once() {
    let world = world();
    let (_, secret, _) = enrolled(&world, "ada");
    enrolled(&world, "bob");
    world.advance(90);
    let asking = request("web", SCOPE);
    let (ada, shown) = asked(&world, "ada");
    let (bob, bobs) = asked(&world, "bob");
    let code = world.device(&secret, 0);
    let sealed = |page| {
        let session = ada.session.as_ref().map(|session| session.id);
        Ticket::new(&world.ports, page, &ada.cookie, session, &asking, world.now()).seal(&world.ports)
    };
    let with = |ticket: String| SecondFactorRequest { ticket, ..shown.clone() };
    let other = altered(&asking, &[("state", "s2")]);
    for (what, request, browser, page) in [
        ("another person's ticket", &asking, ada.clone(), bobs),
        ("another person", &asking, bob, shown.clone()),
        ("another browser", &asking, Browser { cookie: "other".into(), ..ada.clone() }, shown.clone()),
        ("another session", &asking, Browser { session: world.sign_in("ada").session, ..ada.clone() }, shown.clone()),
        ("another request", &other, ada.clone(), shown.clone()),
        ("no ticket", &asking, ada.clone(), with(String::new())),
        ("a consent's ticket", &asking, ada.clone(), with(sealed(Page::Consent))),
        ("a recovery page's ticket", &asking, ada.clone(), with(sealed(Page::RecoveryCodes))),
        ("a page that sets up", &asking, ada.clone(), with(sealed(Page::Enrolment))),
    ] {
        let (answer, _) = world.show(request, &browser, &page, &code);
        assert!(forged(&answer), "{what}: {answer:?}");
    }
    let nobody = now_or_never(deputize_core::authorize::second_factor(
        &world.ports,
        "contoso.example",
        &asking,
        Browser { session: None, ..ada.clone() },
        deputize_core::authorize::SecondFactorShown { page: Page::SecondFactor, code: &code, ticket: &shown.ticket },
    ));
    assert!(forged(&nobody.answer) && nobody.cookie.is_none());
    let (answer, _) = world.show(&asking, &ada, &shown, &code);
    assert!(parameter(&answer, "code").is_some());
    world.advance(30);
    let (answer, _) = world.show(&asking, &ada, &shown, &world.device(&secret, 0));
    assert!(forged(&answer), "once, whatever the code");
}

#[test]
fn a_23_without_interaction_a_second_factor_is_an_error_that_says_which() {
    let world = world();
    let asking = altered(&request("web", SCOPE), &[("prompt", "none")]);
    let silent = |browser: &Browser| {
        let answer = world.authorize(&asking, browser);
        assert_eq!(parameter(&answer, "error").as_deref(), Some("interaction_required"));
        assert!(parameter(&answer, "claims").unwrap().contains("polids"));
        parameter(&answer, "error_description").unwrap()
    };
    assert!(silent(&world.sign_in("ada")).starts_with("AADSTS50072: "));
    let (strong, ..) = enrolled(&world, "ada");
    assert!(silent(&world.sign_in("ada")).starts_with("AADSTS50074: "));
    assert!(parameter(&world.authorize(&asking, &strong), "code").is_some());
}

#[test]
fn what_is_stored_of_a_second_factor_is_of_no_use_to_who_reads_it() {
    let world = world();
    let (_, secret, codes) = enrolled(&world, "ada");
    let stored = world.ledger.read(|state| serde_json::to_string(&state.factors[&user("ada")]).unwrap());
    for code in &codes {
        assert!(!stored.contains(code) && !stored.contains(&code.replace('-', "")));
    }
    // Another user's row is of no use either: what is sealed names its owner.
    enrolled(&world, "bob");
    world.advance(90);
    let mut swapped = world.ledger.read(|state| state.factors[&user("bob")].clone());
    swapped.secret = world.ledger.read(|state| state.factors[&user("ada")].secret.clone());
    swapped.version += 1;
    world.ledger.write(vec![deputize_core::ledger::Write::PutSecondFactor(swapped)]).unwrap();
    assert_eq!(try_code(&world, "bob", &world.device(&secret, 0)).err(), Some(CodeProblem::Wrong));
    assert!(try_code(&world, "ada", &world.device(&secret, 0)).is_ok());
}

#[test]
fn x_01_who_is_disabled_or_signed_out_shows_no_second_factor() {
    for change in ["disabled", "signed out", "deleted"] {
        let world = world();
        let (_, secret, _) = enrolled(&world, "ada");
        world.advance(90);
        let (browser, shown) = asked(&world, "ada");
        match change {
            "disabled" => world.estate.edit(|estate| estate.person("ada").account_enabled = false),
            "deleted" => world.estate.edit(|estate| estate.users.retain(|known| known.id != user("ada"))),
            _ => {
                let id = world.session(&browser).id;
                world.ledger.write(vec![deputize_core::ledger::Write::RevokeSession(id)]).unwrap();
            }
        }
        let (answer, browser) = world.show(&request("web", SCOPE), &browser, &shown, &world.device(&secret, 0));
        assert!(!matches!(answer, Answer::Redirect(_)), "{change}: {answer:?}");
        assert!(!world.session(&browser).amr.contains(&"mfa".to_owned()), "{change}");
    }
}
