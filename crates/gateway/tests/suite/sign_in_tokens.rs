//! The tokens of sessions: checked and exchanged as those that callers bring, renewed, sent on where that is said; and sessions
//! that applications get for tokens.
use crate::browser::{Browser, FETCHES, NAVIGATES, SIGN_IN, answers, id_token};
use crate::support::{Answered, Seen, World};
use oauth::Form;
use serde_json::{Value, json};
use testkit::Next;

const ISSUER: &str = r#"
    [[issuer]]
    name = "contoso"
    issuer = "{iss}"
    jwks_uri = "{jwks}"
    tenants = ["t1"]
"#;
const CHECKS: &str = r#"[api.policies.sign_in]
    [api.policies.validate_jwt]
    issuers = ["contoso"]
    audiences = ["api://orders"]
    [api.policies.require]
    scopes = ["Orders.Read"]"#;
const ON_BEHALF: &str = r#"
    [api.onward.on_behalf_of]
    authority = "contoso"
    target = "api://billing/.default""#;

/// The session's token is checked, and exchanged for one of the service.
fn terminating() -> String {
    format!("{ISSUER}{}", SIGN_IN.replace("[api.policies.sign_in]", &format!("{CHECKS}{ON_BEHALF}")))
}

/// Ada, with an access token that has these claims.
async fn ada(world: &World, claims: &Value, more: &Value) -> Browser {
    let mut all = json!({"access_token": world.token(claims)});
    for (name, value) in more.as_object().unwrap() {
        all[name] = value.clone();
    }
    let mut browser = Browser::default();
    let answer = browser.signs_in(world, &json!({}), &all).await;
    assert_eq!(answer.status, 302, "{answer:?}");
    browser
}

fn claims_of(token: &str) -> Value {
    json!(jose::Token::parse(token).unwrap().peek().unwrap())
}

#[tokio::test]
async fn a_sessions_token_is_checked_and_exchanged_and_the_service_sees_only_what_came_of_it() {
    let world = World::start(&terminating()).await;
    let token = world.token(&json!({}));
    let mut browser = ada(&world, &json!({}), &json!({"access_token": token})).await;
    for _ in 0..2 {
        assert_eq!(browser.get(&world, "/x", FETCHES).await.status, 200);
    }
    let asked = world.issuer.asked();
    assert_eq!(asked.len(), 2, "the code and the exchange, which is kept");
    assert_eq!(asked[1].field("assertion"), Some(token.as_str()));
    for seen in world.service.seen() {
        assert!(!seen.contains(&token), "{seen}");
        let seen = Seen(seen);
        assert_eq!(
            claims_of(seen.field("authorization")[0].strip_prefix("Bearer ").unwrap())["aud"],
            "api://billing/.default"
        );
        assert_eq!(seen.field("x-ms-client-principal-id"), ["o-ada"]);
    }
    // What the token has to allow, it has to allow.
    for (claims, status, check) in [
        (json!({"scp": "Orders.Write"}), 403, "scope.sufficient"),
        (json!({"aud": "api://other"}), 401, "token.audience"),
        (json!({"iss": "https://evil.example"}), 401, "token.issuer"),
    ] {
        let mut browser = ada(&world, &claims, &json!({})).await;
        let answer = browser.get(&world, "/x", FETCHES).await;
        assert_eq!((answer.status, answer.check().as_str()), (status, check), "{answer:?}");
    }
}

#[tokio::test]
async fn who_brings_a_token_is_who_that_says_and_a_session_mends_none() {
    let world = World::start(&terminating()).await;
    let bob = world.bearer(&json!({"oid": "o-bob", "sub": "s-bob"}));
    assert_eq!(world.get("/x", &[("authorization", bob.as_str())]).await.status, 200);
    assert!(!world.service.only().0.contains("x-ms-client"), "no session, and no word of one");
    let mut browser = ada(&world, &json!({}), &json!({})).await;
    world.service.forget();
    let with = |bearer: &str, fields: &[(&str, &str)]| {
        let mut all: Vec<(String, String)> = fields.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        all.push(("authorization".to_owned(), bearer.to_owned()));
        all
    };
    for (bearer, status) in [
        (bob.as_str(), 200),
        ("Bearer x.y.z", 401),
        ("Basic YTpi", 401),
        (world.bearer(&json!({"aud": "api://other"})).as_str(), 401),
    ] {
        let fields = with(bearer, FETCHES);
        let fields: Vec<(&str, &str)> = fields.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        assert_eq!(browser.get(&world, "/x", &fields).await.status, status, "{bearer}");
    }
    assert_eq!(
        claims_of(world.service.only().field("authorization")[0].strip_prefix("Bearer ").unwrap())["sub"],
        "s-bob"
    );
    // Where no policy looks at it, a token in `Authorization` is nobody's word.
    let world = World::start(SIGN_IN).await;
    assert_eq!(world.get("/x", &[("authorization", bob.as_str())]).await.status, 401);
}

#[tokio::test]
async fn a_token_is_renewed_before_its_end_for_all_requests_at_once() {
    let world = World::start(&terminating()).await;
    let mut browser = ada(&world, &json!({}), &json!({})).await;
    world.clock.advance(3_400);
    assert!(browser.get(&world, "/x", FETCHES).await.field("set-cookie").is_empty(), "not yet");
    world.clock.advance(100);
    let newer = world.token(&json!({}));
    let body = json!({"token_type": "Bearer", "expires_in": 3_600, "access_token": newer, "refresh_token": "the-next"});
    world.issuer.next(Next::answer(200, body.to_string()));
    let mut tab = browser.clone();
    let asked = world.issuer.asked().len();
    world.service.answers(
        "HTTP/1.1 200 OK\r\ncontent-length: 0\r\ncache-control: public, max-age=600\r\nconnection: close\r\n\r\n",
    );
    let answer = browser.get(&world, "/x", FETCHES).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.field("set-cookie")[0].starts_with("AppServiceAuthSession="), "{answer:?}");
    assert_eq!(answer.field("cache-control"), ["no-store"], "nobody keeps a session for others");
    let more = world.issuer.asked().split_off(asked);
    let grants: Vec<_> = more.iter().map(|asked| asked.field("grant_type").unwrap()).collect();
    assert_eq!(grants, ["refresh_token", "urn:ietf:params:oauth:grant-type:jwt-bearer"]);
    assert_eq!(
        (more[0].field("refresh_token"), more[1].field("assertion")),
        (Some("a-refresh-token"), Some(newer.as_str()))
    );
    // Another tab with the session of before gets the same, and so does the next request of this one.
    assert_eq!(tab.get(&world, "/x", FETCHES).await.status, 200);
    assert_eq!(browser.get(&world, "/x", FETCHES).await.status, 200);
    assert_eq!(world.issuer.asked().len(), asked + 2);
    assert_eq!(browser.get(&world, "/.auth/me", FETCHES).await.json()[0]["refresh_token"], "the-next");
    // The session itself is no longer for it.
    world.clock.advance(8 * 3_600 - 3_500);
    assert_eq!(browser.get(&world, "/x", FETCHES).await.status, 401);
}

#[tokio::test]
async fn where_a_token_cannot_be_renewed_a_good_one_goes_on_and_no_other_does() {
    let world = World::start(&terminating()).await;
    let mut browser = ada(&world, &json!({}), &json!({})).await;
    world.clock.advance(3_500);
    world.issuer.next(Next::answer(503, ""));
    assert_eq!(browser.get(&world, "/x", FETCHES).await.status, 200, "it is good for a while");
    world.clock.advance(1_000);
    world.service.forget();
    // The provider rests after failures: until it is asked again, nothing is forwarded.
    for _ in 0..3 {
        world.issuer.next(Next::answer(503, ""));
    }
    let answer = browser.get(&world, "/x", FETCHES).await;
    assert_eq!((answer.status, answer.check().as_str()), (503, "sign_in.available"), "{answer:?}");
    assert_eq!(world.service.seen(), Vec::<String>::new());

    let world = World::start(&terminating()).await;
    let mut browser = ada(&world, &json!({}), &json!({})).await;
    world.clock.advance(3_500);
    for (fields, status) in [(FETCHES, 401), (NAVIGATES, 302)] {
        world.issuer.next(Next::answer(400, r#"{"error":"invalid_grant"}"#));
        let answer = browser.get(&world, "/x", fields).await;
        assert_eq!((answer.status, answer.check().as_str()), (status, "sign_in.session"), "{answer:?}");
    }
    assert_eq!(world.service.seen(), Vec::<String>::new());
}

#[tokio::test]
async fn a_person_whose_token_has_ended_signs_in_again_and_goes_round_in_no_circle() {
    let world = World::start(&terminating()).await;
    let mut browser = ada(&world, &json!({}), &json!({"refresh_token": null})).await;
    world.clock.advance(4_000);
    assert_eq!(browser.get(&world, "/x", FETCHES).await.check(), "token.not_expired");
    let answer = browser.get(&world, "/x?a=b", NAVIGATES).await;
    assert_eq!((answer.status, answer.field("www-authenticate").len()), (302, 0), "{answer:?}");
    assert_eq!(answer.field("location"), ["/.auth/login/aad?post_login_redirect_uri=%2Fx%3Fa%3Db"]);
    assert_eq!(browser.ask(&world, "POST", "/x", NAVIGATES, "").await.status, 401, "what was posted would be lost");
    // Who just signed in, and has a token that is no good, is told.
    let mut browser = ada(&world, &json!({"aud": "api://other"}), &json!({})).await;
    let answer = browser.get(&world, "/x", NAVIGATES).await;
    assert_eq!((answer.status, answer.check().as_str()), (401, "token.audience"));
}

/// What the authority demands, as an exchange is refused with it.
fn demanding(claims: &str) -> Next {
    let body = json!({"error": "interaction_required", "error_description": "AADSTS50076", "claims": claims, "suberror": "basic_action"});
    Next::answer(400, body.to_string())
}

#[tokio::test]
async fn a_claims_challenge_sends_a_person_to_sign_in_with_it_and_tells_programs() {
    let world = World::start(&terminating()).await;
    let claims = r#"{"access_token":{"acrs":{"essential":true,"value":"c1"}}}"#;
    let mut browser = ada(&world, &json!({}), &json!({})).await;
    world.issuer.next(demanding(claims));
    let answer = browser.get(&world, "/pay", FETCHES).await;
    assert_eq!(answer.status, 401);
    assert!(answer.field("www-authenticate").concat().contains("insufficient_claims"), "{answer:?}");
    world.issuer.next(demanding(claims));
    let answer = browser.get(&world, "/pay", NAVIGATES).await;
    assert_eq!((answer.status, answer.field("www-authenticate").len()), (302, 0), "{answer:?}");
    let begun = browser.begin(&world, &answer.field("location").concat()).await;
    assert_eq!(begun.value("claims"), claims);
    answers(&world, &begun, &json!({}), &json!({"access_token": world.token(&json!({"acrs": ["c1"]}))}));
    assert_eq!(browser.back(&world, &begun).await.field("location"), ["/pay"]);
    // The authority wants the same once more: another sign-in would not help.
    world.issuer.next(demanding(claims));
    assert_eq!(browser.get(&world, "/pay", NAVIGATES).await.status, 401);
    // It wants something else: that may.
    world.issuer.next(demanding(&claims.replace("c1", "c2")));
    assert_eq!(browser.get(&world, "/pay", NAVIGATES).await.status, 302);
    // It wants more than a sign-in is begun with: that would lead to a refusal of its own.
    world.issuer.next(demanding(&claims.replace("c1", &"x".repeat(2_048))));
    let answer = browser.get(&world, "/pay", NAVIGATES).await;
    assert_eq!((answer.status, answer.field("location").len()), (401, 0), "{answer:?}");
    assert_eq!(browser.get(&world, "/pay", NAVIGATES).await.status, 200);
    assert_eq!(world.service.seen().len(), 1);
    // The same for what the gateway itself demands.
    world
        .reload(&terminating().replace("scopes = [\"Orders.Read\"]", "scopes = [\"Orders.Read\"]\n    acrs = [\"c3\"]"))
        .unwrap();
    let answer = browser.get(&world, "/pay", NAVIGATES).await;
    let to = answer.field("location").concat();
    let wants = Form::decode(to.split_once('?').unwrap().1.as_bytes()).unwrap();
    assert!(wants.value("claims").unwrap().contains("c3"), "{to}");
}

#[tokio::test]
async fn the_service_is_sent_tokens_where_that_is_said() {
    let forwards = SIGN_IN.replace("[api.policies.sign_in]", "[api.policies.sign_in]\n    forward_tokens = true");
    let world = World::start(&forwards).await;
    let mut browser = ada(&world, &json!({}), &json!({})).await;
    assert_eq!(browser.get(&world, "/x", FETCHES).await.status, 200);
    let seen = world.service.only();
    let of = |name: &str| seen.field(&format!("x-ms-token-aad-{name}")).concat();
    assert_eq!(
        (claims_of(&of("id-token"))["oid"].clone(), claims_of(&of("access-token"))["oid"].clone()),
        (json!("o-ada"), json!("o-ada"))
    );
    assert_eq!((of("refresh-token").as_str(), of("expires-on").as_str()), ("a-refresh-token", "2027-01-15T08:59:50Z"));
    assert!(seen.field("authorization").is_empty());
    // A service that checks the session's token itself is sent it, if that is said.
    let passes = terminating().replace(ON_BEHALF, "").replace(
        "upstream = \"orders\"\n    [api.policies.sign_in]",
        "upstream = \"orders\"\n    onward = \"passthrough\"\n    [api.policies.sign_in]",
    );
    let error = world.reload(&passes).unwrap_err();
    assert!(error.problem.contains("`passthrough` would send the service the tokens of sessions"), "{error}");
    world
        .reload(&passes.replace("[api.policies.sign_in]", "[api.policies.sign_in]\n    forward_tokens = true"))
        .unwrap();
    world.service.forget();
    assert_eq!(browser.get(&world, "/x", FETCHES).await.status, 200);
    let seen = world.service.only();
    assert_eq!(claims_of(seen.field("authorization")[0].strip_prefix("Bearer ").unwrap())["aud"], "api://orders");
}

fn directed() -> String {
    let more = "scopes = [\"offline_access\"]\n    client_directed = true\n    access_tokens = { issuers = [\"contoso\"], audiences = [\"api://orders\"] }";
    format!("{ISSUER}{}", SIGN_IN.replace("scopes = [\"offline_access\"]", more))
}

async fn posts(world: &World, kind: &str, body: &str) -> Answered {
    Browser::default().ask(world, "POST", "/.auth/login/aad", &[("content-type", kind)], body).await
}

/// An ID token that an application got by itself.
async fn own_id_token(world: &World, claims: &Value) -> String {
    let begun = Browser::default().begin(world, "/.auth/login/aad").await;
    id_token(world, &begun, claims)
}

#[tokio::test]
async fn an_application_gets_a_session_for_its_tokens_and_shows_it_in_a_field() {
    let world = World::start(&directed()).await;
    let (id, access) = (own_id_token(&world, &json!({})).await, world.token(&json!({})));
    for body in [
        json!({"id_token": id}),
        json!({"access_token": access}),
        json!({"id_token": id, "access_token": access, "refresh_token": "r", "expires_in": 5}),
    ] {
        world.service.forget();
        let answer = posts(&world, "application/json; charset=utf-8", &body.to_string()).await;
        assert_eq!((answer.status, answer.field("set-cookie").len()), (200, 0), "{answer:?}");
        let told = answer.json();
        assert!(told["user"]["userId"].as_str().unwrap().starts_with("sid:"), "{told}");
        let token = told["authenticationToken"].as_str().unwrap();
        // No browser sends such a field for another site, so it may come with any method and from anywhere.
        let fields = [("x-zumo-auth", token), ("sec-fetch-site", "cross-site"), ("origin", "https://evil.example")];
        assert_eq!(Browser::default().ask(&world, "POST", "/x", &fields, "").await.status, 200);
        let seen = world.service.only();
        assert_eq!((seen.field("x-ms-client-principal-id"), seen.field("x-zumo-auth")), (vec!["o-ada"], vec![]));
        let me = Browser::default().get(&world, "/.auth/me", &[("x-zumo-auth", token)]).await.json();
        assert_eq!(me[0]["refresh_token"], Value::Null, "a refresh token is not taken from applications");
        // Twice, altered, and in a cookie it is none.
        let twice = [("x-zumo-auth", token), ("x-zumo-auth", token)];
        assert_eq!(world.get("/x", &twice).await.status, 401);
        assert_eq!(world.get("/x", &[("x-zumo-auth", &token[1..])]).await.status, 401);
        let cookie = format!("AppServiceAuthSession=1.{token}; __Host-deputize-edge-session=x");
        assert_eq!(world.get("/x", &[("cookie", cookie.as_str())]).await.status, 401);
        // Signed out, it is over.
        assert_eq!(world.get("/.auth/logout", &[("x-zumo-auth", token)]).await.status, 302);
        assert_eq!(world.get("/x", &[("x-zumo-auth", token)]).await.status, 401);
    }
}

#[tokio::test]
async fn an_application_gets_no_session_for_tokens_that_are_not_this_gateways_or_not_one_users() {
    let world = World::start(&directed()).await;
    let id = own_id_token(&world, &json!({})).await;
    let access = |claims: Value| world.token(&claims);
    let app = json!({"idtyp": "app", "scp": null, "roles": ["x"]});
    let of_an_app = json!({"azp": "portal", "azpacr": "1", "oid": "o-portal", "sub": "o-portal", "uti": "u"});
    for (body, status) in [
        (json!({"id_token": own_id_token(&world, &json!({"aud": "another"})).await}), 401),
        (json!({"id_token": own_id_token(&world, &json!({"iss": "https://evil.example"})).await}), 401),
        (json!({"id_token": own_id_token(&world, &json!({"exp": 1})).await}), 401),
        (json!({"id_token": own_id_token(&world, &of_an_app).await}), 401),
        (json!({"id_token": own_id_token(&world, &json!({"scope": "openid"})).await}), 401),
        (json!({"id_token": access(json!({"aud": "web"}))}), 401),
        (json!({"id_token": "x"}), 401),
        (json!({"access_token": access(json!({"aud": "https://graph.microsoft.com"}))}), 401),
        (json!({"access_token": access(json!({"tid": "t2"}))}), 401),
        (json!({"access_token": access(json!({"exp": 1}))}), 401),
        (json!({"access_token": id}), 401),
        (json!({"access_token": access(app)}), 403),
        (json!({"id_token": id, "access_token": access(json!({"oid": "o-bob"}))}), 401),
        (json!({"id_token": id, "access_token": "x"}), 401),
        (json!({}), 400),
        (json!([]), 400),
        (json!([id, null]), 400),
        (json!({"id_token": 5}), 400),
        (json!({"id_token": id, "pad": "x".repeat(70_000)}), 400),
    ] {
        let answer = posts(&world, "application/json", &body.to_string()).await;
        assert_eq!(answer.status, status, "{body}: {answer:?}");
        assert!(answer.json().get("authenticationToken").is_none());
    }
    let good = json!({"id_token": id}).to_string();
    for kind in ["text/plain", "application/x-www-form-urlencoded", "application/json-seq", ""] {
        assert_eq!(posts(&world, kind, &good).await.status, 400, "{kind}: a form of another site could have it");
    }
    assert_eq!(posts(&world, "application/json", &good).await.status, 200);
    // Where nobody says that applications may, they may not; and access tokens where somebody says how they are verified.
    world.reload(SIGN_IN).unwrap();
    let answer = posts(&world, "application/json", &good).await;
    assert_eq!((answer.status, answer.check().as_str()), (403, "sign_in.accepted"));
    world.reload(&SIGN_IN.replace("scopes = [\"offline_access\"]", "client_directed = true")).unwrap();
    let answer = posts(&world, "application/json", &json!({"access_token": access(json!({}))}).to_string()).await;
    assert_eq!((answer.status, answer.check().as_str()), (401, "sign_in.identity"));
    assert_eq!(posts(&world, "application/json", &good).await.status, 200);
}
