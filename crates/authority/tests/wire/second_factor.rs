//! The pages about the second factor on the wire, with the codes that a real authenticator app would show.
use super::world::browser::{Browser, PageForm, request};
use super::world::estate::{CONTOSO, defining, on, policy};
use super::world::{Answer, World, claims, obo_form, text};
use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use decision::Clock as _;
use deputize_authority::ClientAddress;
use deputize_core::model::{GrantControls, Locations, Place, Policy};
use serde_json::json;
use store::Object;

pub(crate) const SCOPE: &str = "api://orders/access_as_user openid";
const SESSION: &str = "__Host-deputize-session";

pub(crate) async fn step_up_policies(world: &World) {
    world.put(Object::Policy(policy(&["billing"], GrantControls::context("c1")))).await;
    world.put(Object::Policy(defining("c1", GrantControls::mfa()))).await;
}

async fn world() -> World {
    let world = World::new().await;
    step_up_policies(&world).await;
    world
}

pub(crate) fn step_up() -> super::world::Params<'static> {
    let mut asking = request("web", SCOPE);
    asking.push(("claims", r#"{"access_token":{"acrs":{"essential":true,"value":"c1"}}}"#.to_owned()));
    asking
}

/// What the app makes of the secret on the page.
pub(crate) struct Device(Vec<u8>);

impl Device {
    pub(crate) fn scan(page: &Answer) -> Self {
        let html = page.text();
        let secret = html.split("?secret=").nth(1).and_then(|rest| rest.split('&').next()).unwrap();
        assert!(html.contains("<svg class=\"picture\""), "{html}");
        Self(data_encoding::BASE32_NOPAD.decode(secret.as_bytes()).unwrap())
    }

    pub(crate) fn code(&self, world: &World) -> String {
        let step = u64::try_from(world.clock.now().0 / 30).unwrap();
        format!("{:06}", jose::one_time_code(&self.0, step))
    }
}

pub(crate) fn at_second_factor(page: &Answer, step: &str) -> PageForm {
    assert!(page.page(), "{}", page.text());
    let form = page.form();
    assert!(form.action.ends_with("/second-factor"), "{}", page.text());
    assert_eq!(form.hidden("step"), step);
    form
}

#[tokio::test]
async fn x_16_a_second_factor_is_set_up_in_the_browser_and_mends_the_chain() {
    let world = world().await;
    let weak = world.orders_token().await;
    let refusal = world.token(obo_form("orders", &weak, "api://billing/Invoices.Read")).await;
    assert_eq!(refusal.check(), "access.context");
    let metadata = world.get(&format!("/{CONTOSO}/v2.0/.well-known/openid-configuration")).await.json();
    assert_eq!(metadata["acr_values_supported"], json!(["c1"]));
    let mut browser = Browser::default();
    let page = browser.authorize(&world, &step_up()).await;
    let page = browser.sign_in(&world, page, "ada").await;
    let before = browser.cookies[SESSION].clone();
    let device = Device::scan(&page);
    let form = at_second_factor(&page, "enrol");
    let again = browser.submit(&world, &form, &[("code", "123 456")]).await;
    assert!(again.text().contains("role=\"alert\""), "{}", again.text());
    let form = at_second_factor(&again, "enrol");
    let page = browser.submit(&world, &form, &[("code", &device.code(&world))]).await;
    let form = at_second_factor(&page, "continue");
    assert_eq!(page.text().matches("<li><code>").count(), 10);
    let (_, answer) = browser.submit(&world, &form, &[]).await.redirected();
    let token = text(&world.redeem("web", answer.value("code").unwrap()).await.ok(), "access_token");
    assert_eq!(claims(&token)["acrs"], json!(["c1"]));
    let down = world.token(obo_form("orders", &token, "api://billing/Invoices.Read")).await.ok();
    assert_eq!(claims(&text(&down, "access_token"))["acrs"], json!(["c1"]));
    // Who knew the cookie before the person proved more has nothing.
    assert_ne!(browser.cookies[SESSION], before);
    let mut thief = Browser { cookies: browser.cookies.clone(), ..Browser::default() };
    thief.cookies.insert(SESSION.to_owned(), before);
    assert!(thief.authorize(&world, &request("web", SCOPE)).await.form().action.ends_with("/sign-in"));
    // The same browser goes on without being asked.
    assert!(browser.authorize(&world, &step_up()).await.redirected().1.mentions("code"));
    // Another one is asked for a code; the one that was used to set up works no more.
    let mut other = Browser::default();
    let page = other.authorize(&world, &step_up()).await;
    let page = other.sign_in(&world, page, "ada").await;
    let form = at_second_factor(&page, "verify");
    let page = other.submit(&world, &form, &[("code", &device.code(&world))]).await;
    let form = at_second_factor(&page, "verify");
    world.clock.advance(30);
    assert!(other.submit(&world, &form, &[("code", &device.code(&world))]).await.redirected().1.mentions("code"));
}

#[tokio::test]
async fn a_19_too_many_wrong_codes_are_answered_with_429_and_when_to_come_again() {
    let world = world().await;
    let mut browser = Browser::default();
    let page = browser.authorize(&world, &step_up()).await;
    let page = browser.sign_in(&world, page, "ada").await;
    let device = Device::scan(&page);
    let form = at_second_factor(&page, "enrol");
    browser.submit(&world, &form, &[("code", &device.code(&world))]).await;
    let mut thief = Browser::default();
    let page = thief.authorize(&world, &step_up()).await;
    let page = thief.sign_in(&world, page, "ada").await;
    let form = at_second_factor(&page, "verify");
    for _ in 0..5 {
        assert_eq!(thief.submit(&world, &form, &[("code", "000000")]).await.status, StatusCode::OK);
    }
    world.clock.advance(1);
    let page = thief.submit(&world, &form, &[("code", &device.code(&world))]).await;
    assert_eq!((page.status, page.header("retry-after")), (StatusCode::TOO_MANY_REQUESTS, "29"));
    assert!(page.text().contains("Wait 29 seconds"), "{}", page.text());
    at_second_factor(&page, "verify");
}

#[tokio::test]
async fn a_12_the_page_takes_posts_of_its_own_only_and_nothing_breaks_it() {
    let world = world().await;
    let path = format!("/{CONTOSO}/second-factor");
    assert_eq!(world.get(&path).await.status, StatusCode::METHOD_NOT_ALLOWED);
    let mut browser = Browser::default();
    let page = browser.authorize(&world, &step_up()).await;
    let page = browser.sign_in(&world, page, "ada").await;
    let form = at_second_factor(&page, "enrol");
    let cookies: Vec<String> = browser.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let foreign = [("cookie", cookies.join("; ")), ("origin", "https://evil.example".to_owned())];
    let headers: Vec<(&str, &str)> = foreign.iter().map(|(name, value)| (*name, value.as_str())).collect();
    assert_eq!(world.post(&path, &headers, form.body(&[("code", "000000")])).await.status, StatusCode::FORBIDDEN);
    let long = "7".repeat(50_000);
    for (name, value) in [
        ("step", "verify"),
        ("step", "continue"),
        ("step", "\u{1}"),
        ("ticket", ""),
        ("ticket", "AAAA"),
        ("ticket", long.as_str()),
        ("request", ""),
        ("request", "%"),
        ("request", "client_id=%00"),
    ] {
        let answer = browser.submit(&world, &form.with(name, value), &[("code", "000000")]).await;
        assert!(answer.status.is_client_error(), "{name}={value:.20}: {}", answer.status);
    }
    for code in ["", "💥💥💥💥💥💥", long.as_str(), "٣٣٣٣٣٣", "-00001", "1e5"] {
        let answer = browser.submit(&world, &form, &[("code", code)]).await;
        at_second_factor(&answer, "enrol");
    }
    let control = browser.submit(&world, &form, &[("code", "\u{0}")]).await;
    assert_eq!(control.status, StatusCode::BAD_REQUEST);
    let twice = form.body(&[("code", "000000"), ("code", "000001")]);
    assert_eq!(browser.post(&world, &form.action, twice).await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn the_address_that_the_server_tells_is_what_policies_see() {
    let world = World::new().await;
    world
        .edit_tenant(|tenant| {
            let office = json!([{"id": CONTOSO, "displayName": "Office", "isTrusted": true,
                                 "ipRanges": [{"cidrAddress": "198.51.100.0/24"}]}]);
            tenant.named_locations = serde_json::from_value(office).unwrap();
        })
        .await;
    let mut conditions = on(&["orders"]);
    conditions.locations = Some(Locations { exclude_locations: vec![Place::AllTrusted], ..Locations::default() });
    world.put(Object::Policy(Policy { conditions, ..policy(&[], GrantControls::block()) })).await;
    let mut browser = Browser::default();
    // Billing has no such policy: this signs Ada in.
    let billing = request("web", "api://billing/Invoices.Read");
    let page = browser.authorize(&world, &billing).await;
    browser.sign_in(&world, page, "ada").await;
    let cookies: Vec<String> = browser.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let path = super::world::browser::authorize_path(&request("web", SCOPE));
    for (address, forwarded, passes) in [
        (Some([198, 51, 100, 7]), None, true),
        (Some([203, 0, 113, 9]), None, false),
        (Some([203, 0, 113, 9]), Some("198.51.100.7"), false),
        (None, None, false),
        (None, Some("198.51.100.7"), false),
    ] {
        let mut request = Request::builder().method(Method::GET).uri(&path).header("cookie", cookies.join("; "));
        if let Some(header) = forwarded {
            request = request.header("x-forwarded-for", header).header("forwarded", format!("for={header}"));
        }
        let mut request = request.body(Body::empty()).unwrap();
        if let Some(address) = address {
            request.extensions_mut().insert(ClientAddress(address.into()));
        }
        let answer = world.send(request).await.redirected().1;
        assert_eq!(
            answer.mentions("code"),
            passes,
            "{address:?} {forwarded:?}: {:?}",
            answer.value("error_description")
        );
    }
}
