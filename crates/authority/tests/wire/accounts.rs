//! Several accounts in one browser: which one a request is about, and that nothing of one passes to another.
use crate::world::browser::{Browser, authorize_path, request};
use crate::world::estate::{CONTOSO, FABRIKAM, password, principal, upn, user};
use crate::world::{Answer, World, but, claims, encode, text};
use axum::http::StatusCode;
use deputize_core::directory::UserKey;
use deputize_core::id::UserId;
use deputize_core::model::{HomeAccount, SignInAudience, User};
use deputize_core::ports::Directory;

const ORDERS: &str = "api://orders/access_as_user";
/// Users may consent to it themselves, and nobody has.
const APPROVE: &str = "api://billing/Invoices.Approve";
const SESSION: &str = "__Host-deputize-session";

impl Browser {
    /// Signs one more account in.
    pub(super) async fn add(&mut self, world: &World, name: &str) {
        let hinted = but(request("web", ORDERS), "login_hint", Some(&upn(name)));
        let page = self.authorize(world, &hinted).await;
        let answer = self.sign_in(world, page, name).await;
        assert!(answer.redirected().1.value("code").is_some(), "{}", answer.text());
    }

    /// Picks on a page of accounts.
    async fn pick(&mut self, world: &World, page: &Answer, name: &str) -> Answer {
        self.submit(world, &page.form(), &[("account", &listed(page, name))]).await
    }

    fn secrets(&self) -> Vec<String> {
        self.cookies.get(SESSION).map(|all| all.split('~').map(str::to_owned).collect()).unwrap_or_default()
    }
}

/// The value of the account's button.
pub(super) fn listed(page: &Answer, name: &str) -> String {
    let html = page.text();
    let button = html.split("<button").find(|button| button.contains(&upn(name)));
    let value = button.unwrap_or_else(|| panic!("{name} is not listed: {html}")).split("value=\"").nth(1).unwrap();
    value.split('"').next().unwrap().to_owned()
}

fn names(page: &Answer) -> Vec<&'static str> {
    assert!(page.page() && page.form().action.ends_with("/accounts"), "{} {}", page.status, page.text());
    let html = page.text();
    let all = ["ada", "bob", "carol", "ivan"].into_iter();
    all.filter(|name| html.contains(&format!("Sign out {}", upn(name)))).collect()
}

/// Whose access token a code is worth.
async fn whose(world: &World, answer: &Answer) -> String {
    let (_, answer) = answer.redirected();
    let code = answer.value("code").unwrap_or_else(|| panic!("{:?}", answer.value("error_description")));
    text(&claims(&text(&world.redeem("web", code).await.ok(), "access_token")), "oid")
}

fn refused(answer: &Answer) -> (String, String) {
    let (_, answer) = answer.redirected();
    let value = |name| answer.value(name).unwrap_or_default().to_owned();
    (value("error"), value("error_description").chars().take(11).collect())
}

fn said(error: &str, code: &str) -> (String, String) {
    (error.to_owned(), code.to_owned())
}

async fn ada_and_bob(world: &World) -> Browser {
    let mut browser = Browser::default();
    browser.add(world, "ada").await;
    browser.add(world, "bob").await;
    browser
}

#[tokio::test]
async fn a_browser_of_several_accounts_is_asked_which_one_and_hints_answer_for_it() {
    let world = World::new().await;
    let mut browser = ada_and_bob(&world).await;
    let asking = request("web", ORDERS);
    let page = browser.authorize(&world, &asking).await;
    assert_eq!(names(&page), ["ada", "bob"]);
    for name in ["ada", "bob"] {
        let page = browser.authorize(&world, &asking).await;
        let answer = browser.pick(&world, &page, name).await;
        assert_eq!(whose(&world, &answer).await, user(name).to_string());
        for hint in [upn(name), upn(name).to_uppercase()] {
            let hinted = but(asking.clone(), "login_hint", Some(&hint));
            assert_eq!(whose(&world, &browser.authorize(&world, &hinted).await).await, user(name).to_string());
            let silent = but(hinted, "prompt", Some("none"));
            assert_eq!(whose(&world, &browser.authorize(&world, &silent).await).await, user(name).to_string());
        }
        // By the session, as single-page applications know it.
        let sid = listed(&page, name);
        let silent = but(but(asking.clone(), "sid", Some(&sid)), "prompt", Some("none"));
        assert_eq!(whose(&world, &browser.authorize(&world, &silent).await).await, user(name).to_string());
    }
    // Somebody who is not signed in here signs in; silently nobody does, least of all another.
    let stranger = but(asking.clone(), "login_hint", Some("carol@contoso.example"));
    let sign_in = browser.authorize(&world, &stranger).await;
    assert!(sign_in.form().action.ends_with("/sign-in") && sign_in.text().contains("value=\"carol@contoso.example\""));
    let answer = browser.authorize(&world, &but(stranger, "prompt", Some("none"))).await;
    assert_eq!(refused(&answer), said("login_required", "AADSTS50058"));
    // "Use another account" asks for a name, and keeps those that are there.
    let sign_in = browser.submit(&world, &page.form(), &[("account", "other")]).await;
    assert!(!sign_in.text().contains("@contoso.example"), "no name is filled in");
    browser.sign_in(&world, sign_in, "carol").await.redirected();
    assert_eq!(names(&browser.authorize(&world, &asking).await), ["ada", "bob", "carol"]);
}

#[tokio::test]
async fn a_23_prompt_none_among_several_accounts_says_that_a_person_has_to_pick() {
    let world = World::new().await;
    let mut browser = ada_and_bob(&world).await;
    let silent = |client: &str| but(request(client, ORDERS), "prompt", Some("none"));
    let answer = browser.authorize(&world, &silent("web")).await;
    assert_eq!(refused(&answer), said("interaction_required", "AADSTS16000"));
    let native = browser.authorize(&world, &silent("strict")).await;
    assert_eq!(refused(&native).0, "account_selection_required");
    let mut alone =
        Browser { cookies: [(SESSION.to_owned(), browser.secrets()[0].clone())].into(), ..Browser::default() };
    assert_eq!(whose(&world, &alone.authorize(&world, &silent("web")).await).await, user("bob").to_string());
}

#[tokio::test]
async fn select_account_shows_the_page_even_for_one_account_and_login_asks_for_the_same_password_again() {
    let world = World::new().await;
    let mut browser = Browser::default();
    let prefilled = |page: &Answer, name: &str| {
        page.form().action.ends_with("/sign-in") && page.text().contains(&format!("value=\"{}\"", upn(name)))
    };
    let select = but(request("web", ORDERS), "prompt", Some("select_account"));
    let first = browser.authorize(&world, &select).await;
    assert!(first.form().action.ends_with("/sign-in"), "nobody could be picked");
    browser.sign_in(&world, first, "ada").await.redirected();
    let page = browser.authorize(&world, &select).await;
    assert_eq!(names(&page), ["ada"]);
    let answer = browser.pick(&world, &page, "ada").await;
    assert_eq!(whose(&world, &answer).await, user("ada").to_string());
    let login = but(request("web", ORDERS), "prompt", Some("login"));
    assert!(prefilled(&browser.authorize(&world, &login).await, "ada"));
    browser.add(&world, "bob").await;
    let page = browser.authorize(&world, &login).await;
    assert_eq!(names(&page), ["ada", "bob"], "first who, then their password");
    let again = browser.pick(&world, &page, "bob").await;
    assert!(prefilled(&again, "bob"));
    let before = browser.secrets().len();
    let answer = browser.sign_in(&world, again, "bob").await;
    assert_eq!(whose(&world, &answer).await, user("bob").to_string());
    assert_eq!(browser.secrets().len(), before, "signing in again takes no second place");
    // What is too old asks for its own password.
    world.clock.advance(3_000);
    let aged = but(request("web", ORDERS), "max_age", Some("1000"));
    let page = browser.authorize(&world, &aged).await;
    assert!(prefilled(&browser.pick(&world, &page, "ada").await, "ada"));
}

#[tokio::test]
async fn a_10_a_page_that_was_shown_to_one_account_never_acts_for_another() {
    let world = World::new().await;
    let granted = async |name: &str| {
        let record = world.store.user(CONTOSO, UserKey::Id(user(name))).await.unwrap().unwrap();
        record.grants.contains_key(&(principal("web"), principal("billing")))
    };
    let mut browser = ada_and_bob(&world).await;
    let asking = request("web", APPROVE);
    let page = browser.authorize(&world, &asking).await;
    let of_ada = browser.pick(&world, &page, "ada").await;
    assert!(of_ada.form().action.ends_with("/consent") && of_ada.text().contains(&upn("ada")));
    let again = browser.pick(&world, &page, "bob").await;
    assert_eq!(again.status, StatusCode::FORBIDDEN, "a page of accounts works once");
    // Meanwhile the person picks another account in another tab.
    let page = browser.authorize(&world, &asking).await;
    let of_bob = browser.pick(&world, &page, "bob").await;
    // The account switched between page and post: whoever has come in Ada's place agrees to nothing.
    let [bob, _] = &browser.secrets()[..] else { panic!("two accounts") };
    let mut switched = browser.clone();
    switched.cookies.insert(SESSION.to_owned(), bob.clone());
    let refused = switched.submit(&world, &of_ada.form(), &[("action", "accept")]).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    // Naming the other account beside it switches nothing.
    let bobs = listed(&page, "bob");
    let answer = browser.submit(&world, &of_ada.form(), &[("action", "accept"), ("account", &bobs)]).await;
    let (_, answer) = answer.redirected();
    assert_eq!(answer.value("session_state"), Some(&*listed(&page, "ada")), "it is Ada who comes back");
    assert_eq!((granted("ada").await, granted("bob").await), (true, false));
    // Signed out in another tab, an account's page is worth nothing.
    let page = browser.authorize(&world, &asking).await.form();
    browser.submit(&world, &page, &[("sign_out", &bobs)]).await;
    let refused = browser.submit(&world, &of_bob.form(), &[("action", "accept")]).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert!(!granted("bob").await);
}

#[tokio::test]
async fn a_10_only_the_page_of_this_browser_picks_and_only_among_its_own_accounts() {
    let world = World::new().await;
    let mut browser = ada_and_bob(&world).await;
    let mut attacker = Browser::default();
    attacker.add(&world, "bob").await;
    attacker.add(&world, "carol").await;
    let mine = browser.authorize(&world, &request("web", ORDERS)).await;
    let theirs = attacker.authorize(&world, &request("web", ORDERS)).await;
    let (carols, adas) = (listed(&theirs, "carol"), listed(&mine, "ada"));
    for (form, account) in [
        (mine.form(), carols.as_str()),
        (theirs.form(), carols.as_str()),
        (theirs.form(), adas.as_str()),
        (mine.form().with("ticket", theirs.form().hidden("ticket")), adas.as_str()),
        (mine.form().with("request", ""), adas.as_str()),
        (mine.form(), ""),
        (mine.form(), "x"),
    ] {
        for field in ["account", "sign_out"] {
            let answer = browser.submit(&world, &form, &[(field, account)]).await;
            assert!(answer.page() && answer.status != StatusCode::OK, "{field} {account}: {}", answer.text());
            assert!(answer.header("location").is_empty() && answer.header("set-cookie").is_empty());
        }
    }
    let cookies: Vec<String> = browser.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let headers = [("cookie", &*cookies.join("; ")), ("sec-fetch-site", "cross-site")];
    let form = mine.form();
    let answer = world.post(&form.action, &headers, form.body(&[("sign_out", &adas)])).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert_eq!(names(&browser.authorize(&world, &request("web", ORDERS)).await), ["ada", "bob"], "nobody left");
}

#[tokio::test]
async fn one_of_them_signs_out_and_the_others_stay() {
    let world = World::new().await;
    let mut browser = ada_and_bob(&world).await;
    for (endpoint, more) in [("oauth2/v2.0/authorize", ""), ("oauth2/authorize", "&resource=api%3A%2F%2Forders")] {
        let asking = but(request("web", "openid"), "state", Some("kept"));
        let page = browser.get(&world, &format!("/{CONTOSO}/{endpoint}?{}{more}", encode(&asking))).await;
        assert_eq!(names(&page), ["ada", "bob"]);
        let again = browser.submit(&world, &page.form(), &[("sign_out", &listed(&page, "bob"))]).await;
        assert_eq!(again.redirected().0, format!("/{CONTOSO}/{endpoint}"));
        let answer = browser.get(&world, again.header("location")).await;
        let (_, answer) = answer.redirected();
        assert!(answer.value("code").is_some(), "only one is left, so nobody is asked: {answer:?}");
        assert_eq!(answer.value("state"), Some("kept"));
        let replay = browser.submit(&world, &page.form(), &[("sign_out", &listed(&page, "ada"))]).await;
        assert_eq!(replay.status, StatusCode::FORBIDDEN, "a page signs out once");
        browser.add(&world, "bob").await;
    }
}

#[tokio::test]
async fn a_browser_holds_eight_accounts_and_reads_no_more() {
    let world = World::with(|plan| {
        let model = plan.users.iter().find(|known| known.id == user("ada")).unwrap().clone();
        plan.users.extend((0..10_u128).map(|n| User {
            id: UserId(uuid::Uuid::from_u128(0xabc0 + n)),
            user_principal_name: format!("user{n}@contoso.example"),
            ..model.clone()
        }));
    })
    .await;
    let (mut browser, secret) = (Browser::default(), password("ada"));
    for n in 0..10 {
        let name = format!("user{n}@contoso.example");
        let asking = but(request("web", ORDERS), "login_hint", Some(&name));
        let page = browser.authorize(&world, &asking).await;
        browser.submit(&world, &page.form(), &[("username", &name), ("password", &secret)]).await.redirected();
    }
    let held = browser.secrets();
    assert_eq!(held.len(), 8);
    let page = browser.authorize(&world, &request("web", ORDERS)).await.text();
    assert!(page.contains("user9@") && page.contains("user2@") && !page.contains("user1@"), "the first made room");
    // A cookie of many texts costs as many reads as one of eight.
    browser.cookies.insert(SESSION.to_owned(), format!("{}~{}", ["x"; 8].join("~"), held[0]));
    assert!(browser.authorize(&world, &request("web", ORDERS)).await.form().action.ends_with("/sign-in"));
    browser.cookies.insert(SESSION.to_owned(), format!("{}~{}", ["x"; 7].join("~"), held[0]));
    assert!(browser.authorize(&world, &request("web", ORDERS)).await.redirected().1.value("code").is_some());
}

#[tokio::test]
async fn accounts_of_several_tenants_are_offered_where_they_may_be_used() {
    let world = World::with(|plan| {
        plan.app("web").sign_in_audience = SignInAudience::AzureADMultipleOrgs;
        let model = plan.users.iter().find(|known| known.id == user("ada")).unwrap().clone();
        plan.users.push(User {
            id: UserId(uuid::Uuid::from_u128(0xfeed)),
            user_principal_name: "ivan_fabrikam.example#EXT#@contoso.example".into(),
            display_name: "Ivan, a guest".into(),
            password_hash: None,
            home: Some(HomeAccount { tenant: FABRIKAM, user: user("ivan") }),
            ..model
        });
    })
    .await;
    let mut browser = ada_and_bob(&world).await;
    let common = |more: &[(&'static str, &str)]| {
        let params = more.iter().fold(request("web", "openid"), |all, (name, value)| but(all, name, Some(value)));
        format!("/common/oauth2/v2.0/authorize?{}", encode(&params))
    };
    let hinted = browser.get(&world, &common(&[("login_hint", "ivan@fabrikam.example")])).await;
    browser.sign_in(&world, hinted, "ivan").await.redirected();
    // Under an alias everyone; in a tenant its own people and guests, by the name that they sign in with.
    assert_eq!(names(&browser.get(&world, &common(&[])).await), ["ada", "bob", "ivan"]);
    assert_eq!(names(&browser.authorize(&world, &request("web", ORDERS)).await), ["ada", "bob", "ivan"]);
    let at_fabrikam = authorize_path(&request("web", "openid")).replace(&CONTOSO.to_string(), &FABRIKAM.to_string());
    let (_, answer) = browser.get(&world, &at_fabrikam).await.redirected();
    assert!(answer.value("code").is_some(), "only Ivan may be there, so nobody is asked: {answer:?}");
    // A domain narrows; one that nobody has, and Entra's words for kinds of accounts, say nothing.
    let narrowed = common(&[("domain_hint", "fabrikam.example"), ("prompt", "none")]);
    let (_, answer) = browser.get(&world, &narrowed).await.redirected();
    assert!(answer.value("iss").unwrap().contains(&FABRIKAM.to_string()), "{answer:?}");
    assert_eq!(names(&browser.get(&world, &common(&[("domain_hint", "contoso.example")])).await), ["ada", "bob"]);
    for harmless in ["nowhere.example", "organizations", "consumers", "\"><script>"] {
        assert_eq!(names(&browser.get(&world, &common(&[("domain_hint", harmless)])).await), ["ada", "bob", "ivan"]);
    }
    for hint in ["ivan@fabrikam.example", "ivan_fabrikam.example#EXT#@contoso.example"] {
        let silent = but(but(request("web", ORDERS), "login_hint", Some(hint)), "prompt", Some("none"));
        assert!(browser.authorize(&world, &silent).await.redirected().1.value("code").is_some(), "{hint}");
    }
}

#[tokio::test]
async fn an_id_token_hint_is_about_its_user_or_about_nobody() {
    let world = World::new().await;
    let mut browser = ada_and_bob(&world).await;
    let hinted = but(request("web", "openid"), "login_hint", Some(&upn("ada")));
    let (_, answer) = browser.authorize(&world, &hinted).await.redirected();
    let tokens = world.redeem("web", answer.value("code").unwrap()).await.ok();
    let (id_token, access) = (text(&tokens, "id_token"), text(&tokens, "access_token"));
    let silent = |hint: &str| but(but(request("web", ORDERS), "prompt", Some("none")), "id_token_hint", Some(hint));
    let answer = browser.authorize(&world, &silent(&id_token)).await;
    assert_eq!(whose(&world, &answer).await, user("ada").to_string());
    for wrong in ["x", access.as_str()] {
        let answer = browser.authorize(&world, &silent(wrong)).await;
        assert_eq!(refused(&answer), said("login_required", "AADSTS50058"), "{wrong}");
    }
    let mut stranger = Browser::default();
    stranger.add(&world, "bob").await;
    let answer = stranger.authorize(&world, &silent(&id_token)).await;
    assert_eq!(refused(&answer), said("login_required", "AADSTS50058"), "never the wrong person");
}

/// Whoever serves an API holds access tokens of people, and some of them name the session (optional claim `sid`).
#[tokio::test]
async fn a_10_an_access_token_is_no_hint_even_if_it_names_the_session() {
    let world = World::with(|plan| {
        let sid = serde_json::from_value(serde_json::json!({"name": "sid"})).unwrap();
        plan.app("orders").optional_claims.access_token.push(sid);
    })
    .await;
    let mut browser = Browser::default();
    let tokens = {
        let code = browser.code(&world, "web", "ada", &format!("openid {ORDERS}")).await;
        world.redeem("web", &code).await.ok()
    };
    let (id_token, access) = (text(&tokens, "id_token"), text(&tokens, "access_token"));
    assert_eq!(claims(&access)["sid"], claims(&id_token)["sid"], "it does");
    let silent = |hint: &str| but(but(request("web", ORDERS), "prompt", Some("none")), "id_token_hint", Some(hint));
    let answer = browser.authorize(&world, &silent(&access)).await;
    assert_eq!(refused(&answer), said("login_required", "AADSTS50058"));
    let sign_out =
        |hint: &str| format!("/{CONTOSO}/oauth2/v2.0/logout?{}", encode(&vec![("id_token_hint", hint.to_owned())]));
    let asked = browser.get(&world, &sign_out(&access)).await;
    assert!(asked.form().action.ends_with("/sign-out"), "the person is asked");
    let answer = browser.authorize(&world, &silent(&id_token)).await;
    assert_eq!(whose(&world, &answer).await, user("ada").to_string());
    assert!(browser.get(&world, &sign_out(&id_token)).await.text().contains("You are signed out"));
}

/// A session that ended in another way is none of the browser's any more: it is neither listed, nor kept.
#[tokio::test]
async fn a_session_that_is_over_is_left_out_of_the_cookie_and_of_every_page() {
    let world = World::new().await;
    let mut browser = ada_and_bob(&world).await;
    let mut copy = browser.clone();
    let page = copy.authorize(&world, &request("web", ORDERS)).await;
    copy.submit(&world, &page.form(), &[("sign_out", &listed(&page, "ada"))]).await;
    assert_eq!(browser.secrets().len(), 2);
    let asked = browser.get(&world, &format!("/{CONTOSO}/oauth2/v2.0/logout")).await;
    assert!(asked.text().contains(&upn("bob")) && !asked.text().contains(&upn("ada")), "{}", asked.text());
    browser.add(&world, "carol").await;
    assert_eq!(browser.secrets().len(), 2);
}

#[tokio::test]
async fn our_own_pages_ask_which_account_too() {
    let world = World::new().await;
    let mut browser = ada_and_bob(&world).await;
    let path = format!("/{CONTOSO}/consents");
    let page = browser.get(&world, &path).await;
    assert_eq!(page.form().action, format!("/{CONTOSO}/accounts/consents"));
    let of_ada = browser.pick(&world, &page, "ada").await;
    assert!(of_ada.page() && of_ada.text().contains(&upn("ada")) && !of_ada.text().contains(&upn("bob")));
    for wrong in ["00000000-0000-0000-0000-000000000000", "", "OTHER"] {
        let forged = browser.submit(&world, &page.form(), &[("account", wrong)]).await;
        assert_eq!(forged.status, StatusCode::FORBIDDEN, "{wrong}");
    }
    for name in ["ada", "bob"] {
        let again = browser.submit(&world, &page.form(), &[("account", &listed(&page, name))]).await;
        assert_eq!(again.status, StatusCode::FORBIDDEN, "a page of accounts works once");
    }
    let page = browser.get(&world, &path).await;
    let sign_in = browser.submit(&world, &page.form(), &[("account", "other")]).await;
    assert_eq!(sign_in.form().action, format!("/{CONTOSO}/sign-in/consents"));
    let page = browser.get(&world, &path).await;
    let left = browser.submit(&world, &page.form(), &[("sign_out", &listed(&page, "ada"))]).await;
    assert_eq!(left.redirected().0, path);
    let of_bob = browser.get(&world, &path).await;
    assert!(of_bob.text().contains(&upn("bob")) && !of_bob.text().contains("Pick an account"));
}
