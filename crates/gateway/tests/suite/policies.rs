//! Policies together: scopes, phases, what is said and in what order.
use crate::support::{ISS, NOON, ORDERS, World};
use serde_json::json;

#[tokio::test]
async fn what_a_narrower_scope_adds_applies_beside_what_a_wider_one_has() {
    let world = World::start(&format!(
        "{}{}",
        ORDERS.replace(
            "[[issuer]]",
            r#"
    [[policies.check_header]]
    name = "x-edge"
    failed_check_httpcode = 403
    failed_check_error_message = "not through the edge"
    ignore_case = false
    value = ["yes"]
    [[issuer]]"#
        ),
        r#"
    [[api.operation]]
    name = "open"
    method = "GET"
    path = "/open"
    [api.operation.policies]
    remove = ["check_header"]
    "#
    ))
    .await;
    let bearer = world.bearer(&json!({}));
    let token = ("authorization", bearer.as_str());
    assert_eq!(world.get("/", &[token]).await.reason(), (403, "HeaderNotFound".to_owned()));
    assert_eq!(world.get("/", &[token, ("x-edge", "no")]).await.reason(), (403, "HeaderValueNotAllowed".to_owned()));
    assert_eq!(world.get("/", &[("x-edge", "yes")]).await.status, 401, "the API's own check stays");
    assert_eq!(world.get("/", &[token, ("x-edge", "yes")]).await.status, 200);
    assert_eq!(world.get("/open", &[token]).await.status, 200, "it was removed by its name");
    assert_eq!(world.get("/open", &[]).await.status, 401, "and nothing else was");
    let effective = world.gateway.effective_for("x", &http::Method::GET, "/open").unwrap();
    let told: Vec<_> = effective.policies.iter().map(|told| (told.scope.as_str(), told.policy)).collect();
    assert_eq!(told, [("api orders", "validate_jwt")]);
    let effective = world.gateway.effective_for("x", &http::Method::GET, "/other").unwrap();
    let told: Vec<_> = effective.policies.iter().map(|told| (told.scope.as_str(), told.policy)).collect();
    assert_eq!(told, [("global", "check_header"), ("api orders", "validate_jwt")]);
}

#[tokio::test]
async fn a_token_policy_tells_refusals_as_it_is_configured() {
    let text = ORDERS.replace(
        "audiences = [\"api://orders\"]",
        r#"audiences = ["api://orders"]
    failed_validation_httpcode = 403
    failed_validation_error_message = "ask the orders team"
    client_application_ids = ["spa"]
    [[api.policies.validate_jwt.required_claims]]
    name = "groups"
    match = "any"
    value = ["buyers", "sellers"]"#,
    );
    let world = World::start(&text).await;
    let answer = world.get("/", &[]).await;
    assert_eq!(
        (answer.reason(), answer.json()["message"].as_str()),
        ((403, "TokenNotPresent".into()), Some("ask the orders team"))
    );
    for (claims, reason) in [
        (json!({}), "TokenClaimNotFound"),
        (json!({"groups": ["x"]}), "TokenClaimValueNotAllowed"),
        (json!({"groups": ["buyers"], "azp": "other"}), "TokenClaimValueNotAllowed"),
    ] {
        let answer = world.get("/", &[("authorization", &world.bearer(&claims))]).await;
        assert_eq!(answer.reason(), (403, reason.to_owned()), "{claims}");
    }
    let good = world.bearer(&json!({"groups": ["x", "sellers"]}));
    assert_eq!(world.get("/", &[("authorization", &good)]).await.status, 200);
}

#[tokio::test]
async fn what_a_wider_scope_demands_is_demanded_of_its_own_token_and_of_no_other() {
    let second = "audiences = [\"api://second\"]\n    header_name = \"X-Second\"\n    [api.policies.require]\n    scopes = [\"Second\"]";
    let text = format!(
        r#"
    [policies]
    mandatory = ["validate_jwt", "require"]
    [policies.validate_jwt]
    issuers = ["contoso"]
    audiences = ["api://orders"]
    [policies.require]
    scopes = ["Admin"]
    {}"#,
        ORDERS.replace("audiences = [\"api://orders\"]", second)
    );
    let world = World::start(&text).await;
    for (first, second, status) in [
        ("Admin", "Second", 200),
        ("Orders.Read", "Second", 403),
        ("Orders.Read", "Admin Second", 403),
        ("Admin Second", "Admin", 403),
    ] {
        let token = world.token(&json!({"aud": "api://second", "scp": second}));
        let bearer = world.bearer(&json!({"scp": first}));
        let answer = world.get("/", &[("authorization", &bearer), ("x-second", &token)]).await;
        assert_eq!(answer.status, status, "{first} and {second}");
    }
    // Where only narrower scopes check a token, theirs is the one.
    let alone = format!("\n    [policies.require]\n    scopes = [\"Admin\"]\n{ORDERS}");
    world.reload(&alone).unwrap();
    for (scopes, status) in [("Admin", 200), ("Orders.Read", 403)] {
        let bearer = world.bearer(&json!({"scp": scopes}));
        assert_eq!(world.get("/", &[("authorization", &bearer)]).await.status, status, "{scopes}");
    }
    // Where two do, that of the wider one.
    let both = "\n    [api.operation.policies.validate_jwt]\n    issuers = [\"contoso\"]\n    audiences = [\"api://second\"]\n\
                \n    header_name = \"X-Second\"\n";
    world.reload(&(alone + both)).unwrap();
    for (first, second, status) in [("Admin", "Orders.Read", 200), ("Orders.Read", "Admin", 403)] {
        let token = world.token(&json!({"aud": "api://second", "scp": second}));
        let bearer = world.bearer(&json!({"scp": first}));
        let answer = world.get("/", &[("authorization", &bearer), ("x-second", &token)]).await;
        assert_eq!(answer.status, status, "{first} and {second}");
    }
}

#[tokio::test]
async fn whose_tokens_they_are_is_a_demand_of_its_own() {
    let require = |of: &str| format!("{ORDERS}\n    [api.operation.policies.require]\n    subject = \"{of}\"");
    let world = World::start(&require("app")).await;
    let user = world.bearer(&json!({}));
    let application = world.bearer(&json!({"idtyp": "app", "scp": null, "roles": ["Any"]}));
    let asked = async |token: &str| world.get("/", &[("authorization", token)]).await.status;
    assert_eq!((asked(&user).await, asked(&application).await), (403, 200));
    assert_eq!(world.gateway.effective()[0].policies[1].text, "applications alone");
    world.reload(&require("user")).unwrap();
    assert_eq!((asked(&user).await, asked(&application).await), (200, 403));
    let error = world.reload(&require("either")).unwrap_err();
    assert!(error.problem.contains("`require` demands nothing"), "{error}");
    assert!(error.hint.contains("`acrs`") && !error.hint.contains("authenticated_suffices"), "{error}");
}

#[tokio::test]
async fn keys_in_a_file_that_state_no_algorithm_have_the_one_of_their_issuer() {
    let world = World::start(ORDERS).await;
    let mut key = serde_json::to_value(world.issuer.key().public_jwk()).unwrap();
    key.as_object_mut().unwrap().remove("alg");
    std::fs::write(world.folder().join("keys.json"), json!({"keys": [key]}).to_string()).unwrap();
    let of = |more: &str| ORDERS.replace("jwks_uri = \"{jwks}\"", &format!("jwks = \"keys.json\"\n    {more}"));
    for (more, status) in [("", 200), ("algorithm = \"RS256\"", 200), ("algorithm = \"PS256\"", 401)] {
        world.reload(&of(more)).unwrap();
        assert_eq!(world.get_with_token("/", &[]).await.status, status, "{more}");
    }
    for name in ["none", "HS256", "RS257", "rs256"] {
        let error = world.reload(&of(&format!("algorithm = \"{name}\""))).unwrap_err();
        assert_eq!(error.problem, format!("`{name}` is no algorithm of public keys"));
    }
}

#[tokio::test]
async fn a_token_of_another_provider_says_no_more_than_it_has_to() {
    let other = ORDERS.replace("tenants = [\"t1\"]", "profile = \"jwt\"");
    let world = World::start(&other).await;
    let exp = NOON.0 + 600;
    let token = world.issuer.token(&json!({"iss": ISS, "aud": "api://orders", "sub": "ada", "exp": exp, "iat": null,
        "nbf": null, "jti": null}));
    let bearer = format!("Bearer {token}");
    assert_eq!(world.get("/", &[("authorization", &bearer)]).await.status, 200);
}

#[tokio::test]
async fn a_client_that_may_not_call_is_told_401_by_default() {
    let text = ORDERS.replace(
        "audiences = [\"api://orders\"]",
        "audiences = [\"api://orders\"]\n    client_application_ids = [\"other\"]",
    );
    let world = World::start(&text).await;
    assert_eq!(world.get_with_token("/", &[]).await.reason(), (401, "TokenClaimValueNotAllowed".to_owned()));
}

#[tokio::test]
async fn a_token_elsewhere_is_found_there_and_nowhere_else_and_goes_no_further() {
    for (place, field, target) in
        [("header_name = \"X-Token\"", Some("x-token"), "/a?b=1"), ("query_parameter_name = \"token\"", None, "/a?b=1")]
    {
        let text =
            ORDERS.replace("audiences = [\"api://orders\"]", &format!("audiences = [\"api://orders\"]\n    {place}"));
        let world = World::start(&text).await;
        let token = world.token(&json!({}));
        let asked = async |token: &str| match field {
            Some(field) => world.get(target, &[(field, token)]).await,
            None => world.get(&format!("{target}&token={token}"), &[]).await,
        };
        assert_eq!(asked(&token).await.status, 200, "{place}");
        let seen = world.service.only();
        assert!(!seen.0.contains(&token) && seen.target() == "/a?b=1", "{seen:?}");
        assert_eq!(asked("x").await.status, 401);
        assert_eq!(world.get_with_token(target, &[]).await.reason(), (401, "TokenNotPresent".to_owned()), "{place}");
        let twice = match field {
            Some(field) => world.get(target, &[(field, &token), (field, &token)]).await,
            None => world.get(&format!("/a?token={token}&token={token}"), &[]).await,
        };
        assert_eq!(twice.check(), "gateway.credential_single", "{place}");
        assert!(!world.lines().iter().any(|line| line.to_string().contains(&token)), "no token in the log");
    }
}

#[tokio::test]
async fn claims_become_fields_that_no_caller_can_send() {
    let text = ORDERS.replace(
        "[[api.operation]]",
        r#"
    [[api.policies.set_header]]
    name = "X-Person"
    claim = "oid"
    [[api.policies.set_header]]
    name = "X-Department"
    claim = "department"
    [[api.policies.set_header]]
    name = "X-Edge"
    value = ["gateway"]
    [[api.operation]]"#,
    );
    let world = World::start(&text).await;
    let spoofed = [
        ("x-person", "mallory"),
        ("x_person", "mallory"),
        ("x-department", "mallory"),
        ("x.department", "mallory"),
        ("x-edge", "mallory"),
    ];
    assert_eq!(world.get_with_token("/", &spoofed).await.status, 200);
    let seen = world.service.only();
    assert!(!seen.0.contains("mallory"), "{seen:?}");
    assert_eq!(seen.field("x-person"), ["o-ada"]);
    assert_eq!(seen.field("x-department"), Vec::<&str>::new(), "an absent claim is no field");
    assert_eq!(seen.field("x-edge"), ["gateway"]);
}

#[tokio::test]
async fn an_operation_that_is_not_there_is_not_found() {
    let world = World::start(
        &ORDERS.replace("method = \"*\"", "method = \"GET\"").replace("path = \"/*\"", "path = \"/orders\""),
    )
    .await;
    for target in ["/", "/orders/7", "/Orders"] {
        assert_eq!(world.get_with_token(target, &[]).await.reason(), (404, "OperationNotFound".to_owned()), "{target}");
    }
    assert_eq!(world.get_with_token("/orders", &[]).await.status, 200);
    assert_eq!(world.get_with_token("/orders/", &[]).await.status, 200, "a slash makes no difference");
}

#[tokio::test]
async fn apis_are_found_by_host_and_by_the_longest_path() {
    let api = |name: &str, host: &str, path: &str| {
        format!(
            "
    [[api]]
    name = \"{name}\"
    {host}
    path = \"{path}\"
    upstream = \"orders\"
    public = true
    [[api.operation]]
    name = \"all\"
    method = \"*\"
    path = \"/*\"
    "
        )
    };
    let text = [
        "[[upstream]]\nname = \"orders\"\nurl = \"{service}/inner\"\n".to_owned(),
        api("root", "", "/"),
        api("v1", "", "/orders/v1"),
        api("orders", "", "/orders"),
        api("hosted", "host = \"Special.Example\"", "/orders"),
    ]
    .concat();
    let world = World::start(&text).await;
    for (host, target, operation, sent) in [
        ("a.example", "/orders/v1/x?y", "v1/all", "/inner/x?y"),
        ("a.example", "/orders/v1", "v1/all", "/inner"),
        ("a.example", "/orders/v2/x", "orders/all", "/inner/v2/x"),
        ("a.example", "/ordersx", "root/all", "/inner/ordersx"),
        ("special.example", "/orders/v1/x", "hosted/all", "/inner/v1/x"),
        ("special.example", "/other", "root/all", "/inner/other"),
    ] {
        world.service.forget();
        let answer = world.raw(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
        assert_eq!(answer.status, 200, "{target}");
        assert_eq!(world.service.only().target(), sent, "{host} {target}");
        let line = world.lines().pop().unwrap();
        assert_eq!(line["operation"], operation, "{host} {target}");
    }
}
