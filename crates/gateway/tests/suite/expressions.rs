//! `require.expression`: conditions in CEL over a call.
use crate::support::{ORDERS, PUBLIC, World};
use serde_json::json;

/// The orders API with this condition.
fn with(expression: &str) -> String {
    ORDERS.replace(
        "[[api.operation]]",
        &format!("[api.policies.require]\nexpression = \"\"\"{expression}\"\"\"\n[[api.operation]]"),
    )
}

#[tokio::test]
async fn claims_decide_and_a_refusal_says_which_condition() {
    let world = World::start(&with("claims.department == 'sales' && request.method in ['GET']")).await;
    let asks = async |claims: &serde_json::Value| {
        let bearer = world.bearer(claims);
        world.get("/a", &[("authorization", &bearer)]).await
    };
    assert_eq!(asks(&json!({"department": "sales"})).await.status, 200);
    for (claims, says) in [
        (json!({"department": "ops"}), "does not hold"),
        (json!({}), "cannot be decided for this request: No such key: department"),
        (json!({"department": ["sales"]}), "does not hold"),
    ] {
        let answer = asks(&claims).await;
        assert_eq!(answer.reason(), (403, "ConditionNotMet".to_owned()), "{claims}");
        assert_eq!(answer.check(), "condition.holds");
        let message = answer.json()["message"].as_str().unwrap().to_owned();
        assert!(message.contains("`claims.department == 'sales' && request.method in ['GET']`"), "{message}");
        assert!(message.contains(says), "{claims}: {message}");
    }
    let bearer = world.bearer(&json!({"department": "sales"}));
    let post = format!("POST /a HTTP/1.1\r\nhost: api.example\r\nauthorization: {bearer}\r\ncontent-length: 0\r\n\r\n");
    assert_eq!(world.raw(post).await.status, 403);
    assert_eq!(world.get("/a", &[]).await.check(), "token.present", "who shows no token is told so");
    let forged = format!("{}x", world.bearer(&json!({"department": "sales"})));
    assert_eq!(world.get("/a", &[("authorization", &forged)]).await.status, 401);
    assert_eq!(world.service.seen().len(), 1);
    let effective = world.gateway.effective_for("x", &http::Method::GET, "/a").unwrap();
    let told = effective.policies.iter().find(|told| told.policy == "require").unwrap();
    assert_eq!(told.text, "where `claims.department == 'sales' && request.method in ['GET']`");
}

#[tokio::test]
async fn a_condition_that_would_be_about_the_token_of_a_narrower_scope_is_refused() {
    let wider = "
    [policies.validate_jwt]
    issuers = [\"contoso\"]
    audiences = [\"api://orders\"]
    [policies.require]
    expression = \"claims.oid == 'o-ada'\"
";
    let second = "audiences = [\"api://second\"]\n    header_name = \"X-Second\"";
    let text = format!("{wider}{}", ORDERS.replace("audiences = [\"api://orders\"]", second));
    let world = World::start(ORDERS).await;
    let error = world.reload(&text).unwrap_err();
    assert!(error.problem.contains("a narrower scope checks another token"), "{error}");
    let policies = "[api.policies]\n    remove = [\"validate_jwt\"]\n    [api.policies.validate_jwt]";
    world.reload(&text.replace("[api.policies.validate_jwt]", policies)).unwrap();
}

#[tokio::test]
async fn every_part_of_a_request_can_be_looked_at() {
    let world = World::start(&with("claims.oid == 'o-ada'")).await;
    let bearer = world.bearer(&json!({}));
    for (condition, target, more, status) in [
        ("request.method == 'GET' && request.path == '/a/b'", "/a/x/../b", &[][..], 200),
        ("request.path == '/a'", "/A", &[], 403),
        ("request.host == 'api.example'", "/", &[], 200),
        ("request.ip == '127.0.0.1'", "/", &[], 200),
        ("request.ip.startsWith('10.')", "/", &[("x-forwarded-for", "10.0.0.1")], 403),
        ("request.query.page == '2'", "/?page=2&size=5", &[], 200),
        ("request.query.name == 'a b'", "/?name=a%20b", &[], 200),
        ("request.query.page == '2'", "/?page=3", &[], 403),
        ("request.query.page == '2'", "/", &[], 403),
        ("request.headers['x-region'] == 'eu'", "/", &[("X-Region", "eu")], 200),
        ("request.headers['X-Region'] == 'eu'", "/", &[("X-Region", "eu")], 403),
        ("operation == 'orders/all'", "/", &[], 200),
        ("subscription == null && product == null && certificate == null", "/", &[], 200),
        ("subscription == 'adatum'", "/", &[], 403),
        ("certificate.thumbprint == 'x'", "/", &[], 403),
        // What has two readings is not there.
        ("request.query.page == '2'", "/?page=2&page=3", &[], 403),
        ("request.query.page == '2'", "/?page=2&Page=3", &[], 403),
        ("request.query.page == '2'", "/?page=2&%70age=3", &[], 403),
        ("request.query.page == '2'", "/?page=3&page=2", &[], 403),
        ("request.headers['x-region'] == 'eu'", "/", &[("x-region", "eu"), ("x-region", "us")], 403),
        ("request.headers['x-region'] != 'us'", "/", &[("x-region", "eu"), ("x-region", "us")], 403),
        // Nor is anything decided of it: that it is not there can be what lets a request by.
        ("!has(request.query.admin)", "/?size=5&tag=a&tag=b", &[], 200),
        ("!has(request.query.admin)", "/?admin=1&admin=1", &[], 403),
        ("!has(request.query.admin)", "/?Admin=1", &[], 403),
        ("!has(request.query.admin)", "/?admin=%ff", &[], 403),
        ("!has(request.query.admin)", "/?%ffadmin", &[], 403),
        ("!('admin' in request.query)", "/?admin=1&admin=1", &[], 403),
        ("!('admin' in request['query'])", "/?admin=1&admin=1", &[], 403),
        ("request.query == {}", "/", &[], 200),
        ("request.query == {}", "/?a=1&a=1", &[], 403),
        ("size(request.query) == 0", "/?a=1&a=1", &[], 403),
        ("!request.query.exists(name, name.startsWith('adm'))", "/?admin=1&admin=1", &[], 403),
        ("!has(request.query.admin) && claims.oid == 'o-ada'", "/?admin=1&admin=1", &[], 403),
        ("!('x-debug' in request.headers)", "/", &[("x-region", "eu"), ("x-region", "us")], 200),
        ("!('x-debug' in request.headers)", "/", &[("x-debug", "1"), ("x-debug", "1")], 403),
        ("!('x-debug' in request.headers)", "/", &[("x_debug", "1")], 403),
        ("!('x-debug' in request.headers)", "/", &[("x-debug", "\u{e9}")], 403),
        // Credentials are not there, nor what callers could make up of who they are.
        ("has(request.headers.authorization)", "/", &[], 403),
        ("has(request.headers.cookie)", "/", &[("cookie", "a=b")], 403),
        ("request.headers['x-user'] == 'root'", "/", &[("x-user", "root")], 403),
        ("request.headers['x-ms-client-principal-id'] == 'a'", "/", &[("x-ms-client-principal-id", "a")], 403),
        ("'ocp-apim-subscription-key' in request.headers", "/", &[("ocp-apim-subscription-key", "k")], 403),
    ] {
        world.reload(&with(condition)).unwrap_or_else(|error| panic!("{condition}: {error}"));
        let fields = [&[("authorization", bearer.as_str())], more].concat();
        let answer = world.get(target, &fields).await;
        assert_eq!(answer.status, status, "{condition} of {target} {more:?}: {answer:?}");
    }
}

#[tokio::test]
async fn a_condition_stands_beside_scopes_and_alone_without_a_token() {
    let both = ORDERS.replace(
        "[[api.operation]]",
        "[api.policies.require]\nscopes = [\"Orders.Write\"]\nexpression = \"claims.tid == 't1'\"\n[[api.operation]]",
    );
    let world = World::start(&both).await;
    assert_eq!(world.get_with_token("/", &[]).await.check(), "scope.sufficient");
    let writer = world.bearer(&json!({"scp": "Orders.Write"}));
    assert_eq!(world.get("/", &[("authorization", &writer)]).await.status, 200);
    let application = world.bearer(&json!({"scp": null, "idtyp": "app", "roles": ["R"]}));
    world.reload(&with("claims.idtyp == 'app'")).unwrap();
    assert_eq!(world.get("/", &[("authorization", &application)]).await.status, 200, "either kind of caller");
    assert_eq!(world.get_with_token("/", &[]).await.check(), "condition.holds");

    let without = |expression: &str| {
        PUBLIC.replace(
            "[[api.operation]]",
            &format!("[api.policies.require]\nexpression = \"{expression}\"\n[[api.operation]]"),
        )
    };
    world.reload(&without("request.headers['x-edge'] == 'yes'")).unwrap();
    assert_eq!(world.get("/", &[("x-edge", "yes")]).await.status, 200);
    assert_eq!(world.get("/", &[("x-edge", "no")]).await.check(), "condition.holds");
    assert_eq!(world.get("/", &[]).await.check(), "condition.holds");
    let error = world.reload(&without("claims.oid == 'x'")).unwrap_err();
    assert!(error.problem.contains("no token to look at"), "{error}");
    // It keeps nobody out who cannot be told from others.
    let error = world.reload(&without("request.ip == '127.0.0.1'").replace("public = true", "")).unwrap_err();
    assert!(error.problem.contains("no policy that"), "{error}");
}

#[tokio::test]
async fn what_is_no_condition_is_not_read_and_the_place_is_told() {
    let world = World::start(ORDERS).await;
    for (expression, problem) in [
        ("claims.a ==", "cannot be read at character"),
        ("claims.level + 1", "something else than yes or no"),
        ("user.name == 'a'", "no variable `user`"),
        ("claims.a.matches('x')", "no function `matches`"),
    ] {
        let text = with(expression);
        let error = world.reload(&text).unwrap_err();
        assert!(error.problem.contains(problem) && !error.hint.is_empty(), "{expression}: {error}");
        assert!(!error.at.is_empty(), "{expression}");
    }
}

#[tokio::test]
async fn a_subscription_and_its_product_can_be_looked_at() {
    let text = format!(
        "{}{}",
        ORDERS.replace(
            "[[api.operation]]",
            "[api.policies.subscription_key]\nrequired = false\n[api.policies.require]\nexpression = \"product == 'gold' && subscription == 'adatum'\"\n[[api.operation]]"
        ),
        "
        [[product]]
        name = \"gold\"
        apis = [\"orders\"]
        [[product]]
        name = \"tin\"
        apis = [\"orders\"]
        [[subscription]]
        name = \"adatum\"
        product = \"gold\"
        primary = { env = \"KEY_ADATUM\" }
        [[subscription]]
        name = \"fabrikam\"
        product = \"tin\"
        primary = { env = \"KEY_FABRIKAM\" }
        "
    );
    let world = World::start(&text).await;
    let key = |name: &str| crate::support::variable(&format!("KEY_{name}")).unwrap();
    let (adatum, fabrikam) = (key("ADATUM"), key("FABRIKAM"));
    assert_eq!(world.get_with_token("/", &[("ocp-apim-subscription-key", &adatum)]).await.status, 200);
    assert_eq!(world.get_with_token("/", &[("ocp-apim-subscription-key", &fabrikam)]).await.check(), "condition.holds");
    assert_eq!(world.get_with_token("/", &[]).await.check(), "condition.holds");
}
