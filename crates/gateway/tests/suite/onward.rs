//! What the service is sent in place of the caller's credential, and what becomes of an authority's refusals.
use crate::support::{ORDERS, World};
use serde_json::{Value, json};
use testkit::Next;

fn with_onward(onward: &str) -> String {
    let authority = r#"
    [[authority]]
    name = "contoso"
    token_endpoint = "{token}"
    client_id = "gateway"
    secret = { env = "SECRET" }
    "#;
    let api = ORDERS.replace("[[api.operation]]", &format!("{onward}\n    [[api.operation]]"));
    format!("{authority}{api}")
}

const OBO: &str = "[api.onward.on_behalf_of]\n    authority = \"contoso\"\n    target = \"api://billing/.default\"";

#[tokio::test]
async fn the_users_token_is_exchanged_once_and_the_service_sees_only_the_new_one() {
    let world = World::start(&with_onward(OBO)).await;
    let token = world.token(&json!({}));
    let fields = [("authorization", format!("Bearer {token}"))];
    let fields: Vec<(&str, &str)> = fields.iter().map(|(n, v)| (*n, v.as_str())).collect();
    for _ in 0..3 {
        assert_eq!(world.get("/x", &fields).await.status, 200);
    }
    let asked = world.issuer.asked();
    assert_eq!(asked.len(), 1, "it is kept");
    assert_eq!(asked[0].field("assertion"), Some(token.as_str()));
    assert_eq!(asked[0].field("requested_token_use"), Some("on_behalf_of"));
    assert_eq!(
        (asked[0].field("scope"), asked[0].field("client_id")),
        (Some("api://billing/.default"), Some("gateway"))
    );
    for seen in world.service.seen() {
        assert!(!seen.contains(&token), "{seen}");
        let onward = crate::support::Seen(seen).field("authorization").first().map(|v| (*v).to_owned()).unwrap();
        let payload: Value = claims(&onward);
        assert_eq!((&payload["aud"], &payload["sub"]), (&json!("api://billing/.default"), &json!("s-ada")));
    }
    // Another user's token is another exchange.
    let other = world.bearer(&json!({"oid": "o-bob", "sub": "s-bob"}));
    assert_eq!(world.get("/x", &[("authorization", &other)]).await.status, 200);
    assert_eq!(world.issuer.asked().len(), 2);
}

fn claims(authorization: &str) -> Value {
    let token = authorization.strip_prefix("Bearer ").unwrap();
    serde_json::to_value(jose::Token::parse(token).and_then(|token| token.peek()).unwrap()).unwrap()
}

#[tokio::test]
async fn a_claims_challenge_of_the_authority_is_the_callers() {
    let world = World::start(&with_onward(OBO)).await;
    let claims = r#"{"access_token":{"acrs":{"essential":true,"value":"c1"}}}"#;
    let body = json!({"error": "interaction_required", "error_description": "AADSTS50076", "claims": claims, "suberror": "basic_action"});
    world.issuer.next(Next::answer(400, body.to_string()));
    let answer = world.get_with_token("/x", &[]).await;
    assert_eq!(answer.status, 401, "{answer:?}");
    let challenge = answer.field("www-authenticate").concat();
    assert!(challenge.contains(r#"error="insufficient_claims""#), "{challenge}");
    assert!(challenge.contains("authorization_uri=\"https://id.example/t1/oauth2/v2.0/authorize\""), "{challenge}");
    let encoded = oauth::challenge::encode_claims(claims);
    assert!(challenge.contains(&format!(r#"claims="{encoded}""#)), "{challenge}");
    assert_eq!(world.service.seen(), Vec::<String>::new());
}

#[tokio::test]
async fn each_refusal_of_the_authority_has_its_answer_and_nothing_is_forwarded() {
    let world = World::start(&with_onward(OBO)).await;
    let error = |error: &str, more: &Value| {
        let mut body = json!({"error": error, "error_description": "canary-of-the-authority"});
        for (name, value) in more.as_object().unwrap() {
            body[name] = value.clone();
        }
        body.to_string()
    };
    for (at, (next, status, check, challenge)) in [
        (
            Next::answer(400, error("invalid_grant", &json!({"suberror": "consent_required"}))),
            403,
            "onward.consent",
            Some("interaction_required"),
        ),
        (Next::answer(400, error("invalid_grant", &json!({}))), 401, "onward.subject", Some("invalid_token")),
        (Next::answer(401, error("invalid_client", &json!({}))), 502, "onward.accepted", None),
        (Next::answer(400, error("invalid_scope", &json!({}))), 502, "onward.accepted", None),
        (Next::answer(503, error("temporarily_unavailable", &json!({}))), 503, "onward.available", None),
        (Next::answer(500, "no json".to_owned()), 503, "onward.available", None),
        (Next::answer(200, "no json".to_owned()), 502, "onward.accepted", None),
    ]
    .into_iter()
    .enumerate()
    {
        // What may be tried again is answered so each time.
        for _ in 0..2 {
            world.issuer.next(next.clone());
        }
        let bearer = world.bearer(&json!({"oid": format!("o-{at}")}));
        let answer = world.get("/x", &[("authorization", &bearer)]).await;
        assert_eq!((answer.status, answer.check()), (status, check.to_owned()), "{next:?}");
        let shown = answer.field("www-authenticate").concat();
        assert_eq!(shown.is_empty(), challenge.is_none(), "{answer:?}");
        assert!(challenge.is_none_or(|error| shown.contains(&format!(r#"error="{error}""#))), "{answer:?}");
        assert!(!answer.body.contains("canary") && !shown.contains("canary"), "{answer:?}");
        assert_eq!(answer.field("retry-after").is_empty(), status != 503, "{answer:?}");
        while !drained(&world).await {}
    }
    assert_eq!(world.service.seen(), Vec::<String>::new());
}

/// The same at an authority that exchanges tokens by RFC 8693.
fn exchanging(more: &str) -> String {
    let id = "client_id = \"gateway\"";
    with_onward(OBO).replace(id, &format!("{id}\n    exchange = \"token-exchange\"\n    {more}"))
}

#[tokio::test]
async fn an_exchange_says_of_the_users_token_what_the_authority_wants_to_hear() {
    for (more, kind) in [
        ("", "jwt"),
        ("subject_token_type = \"jwt\"", "jwt"),
        ("subject_token_type = \"access_token\"", "access_token"),
    ] {
        let world = World::start(&exchanging(more)).await;
        assert_eq!(world.get_with_token("/x", &[]).await.status, 200);
        let asked = world.issuer.asked();
        let said = format!("urn:ietf:params:oauth:token-type:{kind}");
        assert_eq!((asked.len(), asked[0].field("subject_token_type")), (1, Some(said.as_str())), "{more}");
    }
    let world = World::start(&exchanging("")).await;
    let idle = exchanging("subject_token_type = \"jwt\"").replace("exchange = \"token-exchange\"", "");
    let error = world.reload(&idle).unwrap_err();
    assert!(error.problem.contains("On-Behalf-Of") && !error.hint.is_empty() && !error.at.is_empty(), "{error}");
}

#[tokio::test]
async fn a_users_token_that_an_exchange_finds_invalid_is_the_callers_to_mend() {
    for (file, status, check) in [(exchanging(""), 401, "onward.subject"), (with_onward(OBO), 502, "onward.accepted")] {
        for error in ["invalid_request", "invalid_token"] {
            let world = World::start(&file).await;
            world.issuer.next(Next::answer(400, json!({"error": error}).to_string()));
            let answer = world.get_with_token("/x", &[]).await;
            assert_eq!((answer.status, answer.check().as_str()), (status, check), "{error}: {answer:?}");
            let shown = answer.field("www-authenticate").concat();
            assert_eq!(shown.contains("error=\"invalid_token\""), status == 401, "{shown}");
        }
    }
}

#[tokio::test]
async fn a_user_whom_the_authority_denies_the_service_is_not_told_to_sign_in_again() {
    let world = World::start(&with_onward(OBO)).await;
    let unassigned = json!({"error": "invalid_grant", "error_description": "AADSTS50105", "error_codes": [50_105]});
    let unassigned_app =
        json!({"error": "invalid_grant", "error_description": "AADSTS501051", "error_codes": [501_051]});
    for (oid, body) in [("o-ada", unassigned), ("o-eve", unassigned_app), ("o-bob", json!({"error": "access_denied"}))]
    {
        world.issuer.next(Next::answer(400, body.to_string()));
        let bearer = world.bearer(&json!({"oid": oid}));
        let answer = world.get("/x", &[("authorization", &bearer)]).await;
        assert_eq!((answer.status, answer.check().as_str()), (403, "onward.subject"), "{answer:?}");
        assert!(answer.field("www-authenticate").is_empty(), "{answer:?}");
        assert!(answer.json()["message"].as_str().unwrap().contains("an administrator"), "{answer:?}");
    }
    assert_eq!(world.service.seen(), Vec::<String>::new());
    // What the gateway itself is denied is nothing that the caller lacks.
    let own = "[api.onward.client_credentials]\n    authority = \"contoso\"\n    target = \"api://billing/.default\"";
    let world = World::start(&with_onward(own)).await;
    world.issuer.next(Next::answer(400, json!({"error": "access_denied"}).to_string()));
    let answer = world.get("/x", &[("authorization", &world.bearer(&json!({})))]).await;
    assert_eq!((answer.status, answer.check().as_str()), (502, "onward.accepted"), "{answer:?}");
}

/// Asks the authority itself until it gives a token again: what a test said, and nobody asked for, is gone then.
async fn drained(world: &World) -> bool {
    let fetch =
        fetch::Fetch::builder().allow(fetch::Allow { plain_loopback: true, ..fetch::Allow::INSIDE }).build().unwrap();
    let answer = fetch.post_form(&world.issuer.token_url(), http::HeaderMap::new(), "client_id=test").await.unwrap();
    answer.status == 200 && answer.body.starts_with(b"{")
}

#[tokio::test]
async fn a_token_that_is_not_good_is_never_presented_to_the_authority() {
    let world = World::start(&with_onward(OBO)).await;
    for claims in
        [json!({"aud": "api://other"}), json!({"exp": 1_799_990_000, "iat": 1_799_980_000, "nbf": 1_799_980_000})]
    {
        assert_eq!(world.get("/x", &[("authorization", &world.bearer(&claims))]).await.status, 401);
    }
    assert_eq!(world.get("/x", &[]).await.status, 401);
    let app = world.bearer(&json!({"idtyp": "app", "scp": null, "roles": ["Orders.Read.All"]}));
    assert_eq!(world.get("/x", &[("authorization", &app)]).await.check(), "subject.user");
    assert_eq!(world.issuer.asked().len(), 0);
    assert_eq!(world.service.seen(), Vec::<String>::new());
}

#[tokio::test]
async fn the_gateways_own_token_serves_every_caller() {
    let onward =
        "[api.onward.client_credentials]\n    authority = \"contoso\"\n    target = \"api://billing/.default\"";
    let world = World::start(&with_onward(onward)).await;
    for oid in ["o-ada", "o-bob"] {
        let bearer = world.bearer(&json!({"oid": oid}));
        assert_eq!(world.get("/x", &[("authorization", &bearer)]).await.status, 200);
    }
    let asked = world.issuer.asked();
    assert_eq!((asked.len(), asked[0].field("grant_type")), (1, Some("client_credentials")));
    for seen in world.service.seen() {
        let onward = crate::support::Seen(seen).field("authorization").first().map(|v| (*v).to_owned()).unwrap();
        assert_eq!(claims(&onward)["sub"], "gateway");
    }
}

#[tokio::test]
async fn a_legacy_service_is_sent_its_password() {
    let onward = "[api.onward.basic]\n    username = \"Aladdin\"\n    password = { env = \"PASSWORD\" }";
    let world = World::start(&with_onward(onward)).await;
    assert_eq!(world.get_with_token("/x", &[]).await.status, 200);
    assert_eq!(world.service.only().field("authorization"), ["Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="]);
}

#[tokio::test]
async fn a_transparent_gateway_checks_and_changes_nothing() {
    let world =
        World::start(&ORDERS.replace("upstream = \"orders\"", "upstream = \"orders\"\n    onward = \"passthrough\""))
            .await;
    let bearer = world.bearer(&json!({}));
    assert_eq!(world.get("/x", &[("authorization", &bearer)]).await.status, 200);
    assert_eq!(world.service.only().field("authorization"), [bearer.as_str()]);
    assert_eq!(world.get("/x", &[("authorization", "Bearer x")]).await.status, 401);
}
