//! Tickets of posted pages: each thing that one is bound to, alone.
use crate::world::{World, form};
use deputize_core::id::SessionId;
use deputize_core::ticket::{Page, Ticket};
use uuid::Uuid;

#[test]
fn a_10_a_ticket_fits_one_page_browser_session_and_request_and_for_an_hour() {
    let world = World::new();
    let (mine, other) = (SessionId(Uuid::from_u128(1)), SessionId(Uuid::from_u128(2)));
    let (request, another) = (form(&[("state", "a")]), form(&[("state", "b")]));
    let sealed =
        Ticket::new(&world.ports, Page::Consent, "cookie", Some(mine), &request, world.now()).seal(&world.ports);
    let fits = |page, cookie, session, request: &oauth::Form, later: i64| {
        Ticket::open(&world.ports, &sealed, page, cookie, session, request, world.now().plus(later)).is_some()
    };
    assert!(fits(Page::Consent, "cookie", Some(mine), &request, 0));
    assert!(fits(Page::Consent, "cookie", Some(mine), &request, 3_599));
    assert!(!fits(Page::AskAdmin, "cookie", Some(mine), &request, 0), "another page");
    assert!(!fits(Page::Consent, "cookies", Some(mine), &request, 0), "another browser");
    assert!(!fits(Page::Consent, "cookie", Some(other), &request, 0), "another account");
    assert!(!fits(Page::Consent, "cookie", None, &request, 0), "nobody");
    assert!(!fits(Page::Consent, "cookie", Some(mine), &another, 0), "another request");
    assert!(!fits(Page::Consent, "cookie", Some(mine), &request, 3_600), "too late");
    let unsealed = Ticket::open(&world.ports, "", Page::Consent, "cookie", Some(mine), &request, world.now());
    assert!(unsealed.is_none());
}
