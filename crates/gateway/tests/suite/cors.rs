//! `cors`: what pages of other origins may do, by what browsers would conclude from the answers.
use crate::support::{Answered, ORDERS, PUBLIC, World};

const APP: &str = "https://app.example";

/// The API of [`PUBLIC`] with this rule.
fn with(rule: &str) -> String {
    PUBLIC.replacen("    [[api.operation]]", &format!("[api.policies.cors]\n{rule}\n    [[api.operation]]"), 1)
}

const ONE: &str = "allowed_origins = [\"https://app.example\", \"http://localhost:3000\"]
    allowed_methods = [\"GET\", \"PUT\"]
    allowed_headers = [\"Authorization\", \"X-Trace\"]
    expose_headers = [\"X-Service\"]
    allow_credentials = true
    preflight_result_max_age = 300";

async fn preflight(world: &World, fields: &[(&str, &str)]) -> Answered {
    let mut text = "OPTIONS /orders/7 HTTP/1.1\r\nhost: api.example\r\n".to_owned();
    for (name, value) in fields {
        text.extend([name, ": ", value, "\r\n"]);
    }
    world.raw(text + "\r\n").await
}

const METHOD: &str = "access-control-request-method";
const HEADERS: &str = "access-control-request-headers";
const ORIGIN: &str = "access-control-allow-origin";

#[tokio::test]
async fn a_preflight_is_answered_before_any_other_policy_and_reaches_no_service() {
    let policies = format!("[api.policies.cors]\n{ONE}\n    [api.policies.validate_jwt]");
    let world = World::start(&ORDERS.replacen("[api.policies.validate_jwt]", &policies, 1)).await;
    let answer = preflight(&world, &[("origin", APP), (METHOD, "PUT"), (HEADERS, "authorization,x-trace")]).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, ""));
    assert_eq!(answer.field(ORIGIN), [APP]);
    assert_eq!(answer.field("access-control-allow-credentials"), ["true"]);
    assert_eq!(answer.field("access-control-allow-methods"), ["GET, PUT"]);
    assert_eq!(answer.field("access-control-allow-headers"), ["authorization, x-trace"]);
    assert_eq!(answer.field("access-control-max-age"), ["300"]);
    assert_eq!(answer.field("vary"), ["Origin, Access-Control-Request-Method, Access-Control-Request-Headers"]);
    assert_eq!(world.service.seen(), Vec::<String>::new());
    let lines = world.lines();
    assert_eq!((&lines[0]["operation"], &lines[0]["status"]), (&"orders/all".into(), &200.into()));
    // The call itself needs its token, and the page may read why it was refused.
    let refused = world.get("/orders/7", &[("origin", APP)]).await;
    assert_eq!((refused.reason(), refused.field(ORIGIN)), ((401, "TokenNotPresent".to_owned()), vec![APP]));
    let good = world.get_with_token("/orders/7", &[("origin", APP)]).await;
    assert_eq!((good.status, good.field(ORIGIN)), (200, vec![APP]));
    assert_eq!(good.field("access-control-expose-headers"), ["x-service"]);
    assert_eq!((good.field("access-control-allow-credentials"), good.field("vary")), (vec!["true"], vec!["Origin"]));
}

#[tokio::test]
async fn a_preflight_that_is_not_allowed_is_an_empty_200_that_allows_nothing() {
    let world = World::start(&with(ONE)).await;
    for fields in [
        &[("origin", "https://evil.example"), (METHOD, "GET")][..],
        &[("origin", "https://app.example.evil.example"), (METHOD, "GET")],
        &[("origin", "https://evilapp.example"), (METHOD, "GET")],
        &[("origin", "https://app.example:8443"), (METHOD, "GET")],
        &[("origin", "https://app.example."), (METHOD, "GET")],
        &[("origin", "http://app.example"), (METHOD, "GET")],
        &[("origin", "https://APP.example"), (METHOD, "GET")],
        &[("origin", "https://app.example/"), (METHOD, "GET")],
        &[("origin", "https://app.example https://evil.example"), (METHOD, "GET")],
        &[("origin", "https://app.example, https://evil.example"), (METHOD, "GET")],
        &[("origin", APP), ("origin", "https://evil.example"), (METHOD, "GET")],
        &[("origin", "https://user@app.example"), (METHOD, "GET")],
        &[("origin", "null"), (METHOD, "GET")],
        &[("origin", ""), (METHOD, "GET")],
        &[("origin", "*"), (METHOD, "GET")],
        &[("origin", APP), (METHOD, "DELETE")],
        &[("origin", APP), (METHOD, "put")],
        &[("origin", APP), (METHOD, "GET"), (HEADERS, "x-other")],
        &[("origin", APP), (METHOD, "GET"), (HEADERS, "authorization, x-other")],
        &[("origin", APP), (METHOD, "GET"), (HEADERS, "authorization"), (HEADERS, "x-other")],
        &[("origin", APP), (METHOD, "GET"), (HEADERS, "*")],
        &[("origin", APP), (METHOD, "GET"), (HEADERS, "x trace")],
    ] {
        let answer = preflight(&world, fields).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, ""), "{fields:?}");
        assert!(!answer.head.to_lowercase().contains("\r\naccess-control-"), "{fields:?}: {answer:?}");
    }
    assert_eq!(world.service.seen(), Vec::<String>::new());
}

#[tokio::test]
async fn what_only_resembles_a_preflight_goes_its_way() {
    let world = World::start(&with(ONE)).await;
    for fields in [
        &[("origin", APP)][..],
        &[(METHOD, "GET")],
        &[],
        &[("origin", APP), (METHOD, "GET"), (METHOD, "PUT")],
        &[("origin", APP), (METHOD, "G T")],
    ] {
        world.service.forget();
        assert_eq!(preflight(&world, fields).await.field("x-service"), ["yes"], "{fields:?}");
        assert_eq!(world.service.seen().len(), 1);
    }
}

#[tokio::test]
async fn a_call_of_another_origin_goes_through_and_cannot_be_read() {
    let world = World::start(&with(ONE)).await;
    for origin in ["https://evil.example", "null", "https://app.example.evil.example", "https://xapp.example"] {
        let answer = world.get("/", &[("origin", origin)]).await;
        assert_eq!((answer.status, answer.field(ORIGIN).len(), answer.field("vary")), (200, 0, vec!["Origin"]));
    }
    let twice = world.get("/", &[("origin", APP), ("origin", APP)]).await;
    assert_eq!(twice.field(ORIGIN).len(), 0);
    let none = world.get("/", &[]).await;
    assert_eq!((none.field(ORIGIN).len(), none.field("vary")), (0, vec!["Origin"]), "caches keep them apart");
}

#[tokio::test]
async fn what_the_service_says_of_origins_does_not_count() {
    let world = World::start(&with(ONE)).await;
    let lax = "HTTP/1.1 200 OK\r\nAccess-Control-Allow-Origin: *\r\nAccess-Control-Allow-Credentials: true\r\n\
        Access-Control-Expose-Headers: *\r\nContent-Length: 2\r\n\r\nok";
    world.service.answers(lax);
    let evil = world.get("/", &[("origin", "https://evil.example")]).await;
    assert!(!evil.head.to_lowercase().contains("access-control-"), "{evil:?}");
    world.service.answers(lax);
    assert_eq!(world.get("/", &[("origin", APP)]).await.field(ORIGIN), [APP]);
    // Without a rule here it is the service's own affair.
    let world = World::start(PUBLIC).await;
    world.service.answers(lax);
    assert_eq!(world.get("/", &[("origin", APP)]).await.field(ORIGIN), ["*"]);
    assert_eq!(preflight(&world, &[("origin", APP), (METHOD, "PUT")]).await.field("x-service"), ["yes"]);
}

#[tokio::test]
async fn a_call_that_is_not_allowed_can_end_at_the_gateway() {
    let world = World::start(&with(&format!("{ONE}\n    terminate_unmatched_request = true"))).await;
    for origin in ["https://evil.example", "null"] {
        let answer = world.get("/", &[("origin", origin)]).await;
        assert_eq!((answer.status, answer.body.as_str(), answer.field(ORIGIN).len()), (200, "", 0));
    }
    assert_eq!(world.get("/", &[("origin", APP), ("origin", APP)]).await.body, "");
    assert_eq!(world.service.seen(), Vec::<String>::new());
    assert_eq!(world.get("/", &[("origin", APP)]).await.body, "good");
    assert_eq!(world.get("/", &[]).await.body, "good", "who names no origin is no page of another one");
}

#[tokio::test]
async fn every_origin_may_be_allowed_without_credentials() {
    let rule = "allowed_origins = [\"*\"]\n    allowed_methods = [\"*\"]\n    allowed_headers = [\"*\"]\n    expose_headers = [\"*\"]";
    let world = World::start(&with(rule)).await;
    let answer = preflight(&world, &[("origin", "null"), (METHOD, "PATCH"), (HEADERS, "x-a,authorization")]).await;
    assert_eq!((answer.field(ORIGIN), answer.field("access-control-allow-methods")), (vec!["*"], vec!["PATCH"]));
    assert_eq!(answer.field("access-control-allow-headers"), ["x-a, authorization"]);
    assert_eq!(answer.field("access-control-allow-credentials").len(), 0);
    assert_eq!(answer.field("access-control-max-age"), ["0"], "by default nothing is remembered");
    let call = world.get("/", &[("origin", "https://evil.example")]).await;
    assert_eq!((call.field(ORIGIN), call.field("access-control-expose-headers")), (vec!["*"], vec!["*"]));
    let methods = World::start(&with("allowed_origins = [\"https://app.example\"]")).await;
    for (method, allowed) in [("GET", 1), ("POST", 1), ("PUT", 0)] {
        let answer = preflight(&methods, &[("origin", APP), (METHOD, method)]).await;
        assert_eq!(answer.field(ORIGIN).len(), allowed, "{method}: by default GET and POST");
    }
}

#[tokio::test]
async fn a_preflight_is_about_the_operation_that_would_be_called() {
    let text = PUBLIC.to_owned()
        + r#"
    [[api.operation]]
    name = "write"
    method = "PUT"
    path = "/*"
    [api.operation.policies.cors]
    allowed_origins = ["https://app.example"]
    allowed_methods = ["PUT", "DELETE"]
    "#;
    let world = World::start(&text).await;
    assert_eq!(preflight(&world, &[("origin", APP), (METHOD, "PUT")]).await.field(ORIGIN), [APP]);
    let other = preflight(&world, &[("origin", APP), (METHOD, "DELETE")]).await;
    assert_eq!((other.field(ORIGIN).len(), other.field("x-service")), (0, vec!["yes"]), "that is another operation");
}
