//! `validate_azure_ad_token`: tokens of one tenant, of both versions, and of nobody else.
use crate::support::{ISS, ORDERS, PUBLIC, Seen, World, answered};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

const V1: &str = "https://sts.example/t1/";

/// The API of [`PUBLIC`] for tokens of the tenant `t1`, with more of the policy.
fn tenant(more: &str) -> String {
    let policy = format!(
        r#"
    [api.policies.validate_azure_ad_token]
    authority = "https://id.example/"
    tenant_id = "t1"
    issuer_v1 = "{V1}"
    audiences = ["api://orders"]
    {more}
    [[api.operation]]"#
    );
    let issuer = |name: &str, iss: &str| {
        format!("[[issuer]]\n    name = \"{name}\"\n    issuer = \"{iss}\"\n    jwks_uri = \"{{jwks}}\"\n")
    };
    PUBLIC.replacen("    public = true\n", "", 1).replacen("    [[api.operation]]", &policy, 1)
        + &issuer("v2", ISS)
        + &issuer("v1", V1)
}

/// What replaces the claims of a v2.0 token by those of one of v1.0.
fn v1(more: &Value) -> Value {
    let mut claims = json!({"iss": V1, "ver": "1.0", "azp": null, "appid": "spa", "appidacr": "0"});
    for (name, value) in more.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims
}

async fn asked(world: &World, claims: &Value) -> (u16, String) {
    let answer = world.get("/", &[("authorization", &world.bearer(claims))]).await;
    if answer.status == 200 { (200, String::new()) } else { answer.reason() }
}

fn refused(reason: &str) -> (u16, String) {
    (401, reason.to_owned())
}

#[tokio::test]
async fn tokens_of_both_versions_of_the_tenant_and_of_nobody_else() {
    let world = World::start(&tenant("client_application_ids = [\"spa\"]")).await;
    for (claims, expected) in [
        (json!({}), (200, String::new())),
        (v1(&json!({})), (200, String::new())),
        (json!({"azp": "other"}), refused("TokenClaimValueNotAllowed")),
        (v1(&json!({"appid": "other"})), refused("TokenClaimValueNotAllowed")),
        (json!({"tid": "t2"}), refused("TokenClaimValueNotAllowed")),
        (v1(&json!({"tid": "t2"})), refused("TokenClaimValueNotAllowed")),
        (json!({"iss": "https://id.example/t2/v2.0", "tid": "t2"}), refused("TokenIssuerNotAllowed")),
        (json!({"iss": "https://id.example/t1/"}), refused("TokenIssuerNotAllowed")),
        (json!({"iss": "https://id.example/t1/v2.0/"}), refused("TokenIssuerNotAllowed")),
        (json!({"iss": "https://sts.example/t1"}), refused("TokenIssuerNotAllowed")),
        (json!({"aud": "api://other"}), refused("TokenAudienceNotAllowed")),
        (json!({"iat": 1_799_996_000, "nbf": 1_799_996_000, "exp": 1_799_999_000}), refused("TokenExpired")),
    ] {
        assert_eq!(asked(&world, &claims).await, expected, "{claims}");
    }
    let none = world.get("/", &[]).await;
    assert_eq!((none.reason(), &none.json()["message"]), (refused("TokenNotPresent"), &json!("JWT not present.")));
    assert!(none.field("www-authenticate")[0].starts_with("Bearer"), "{none:?}");
}

#[tokio::test]
async fn the_apis_own_registrations_are_audiences_and_without_a_list_any_application_may_call() {
    let world = World::start(&tenant("backend_application_ids = [\"0c6bd5c1\"]")).await;
    assert_eq!(asked(&world, &json!({"aud": "0c6bd5c1", "azp": "whoever"})).await.0, 200);
    assert_eq!(asked(&world, &json!({"aud": "api://orders"})).await.0, 200);
    assert_eq!(asked(&world, &json!({"aud": "0c6bd5c2"})).await, refused("TokenAudienceNotAllowed"));
    let told = &world.gateway.effective()[0].policies[0];
    assert_eq!(
        told.text,
        "a token of the tenant t1 for api://orders or 0c6bd5c1, of any application, give or take 60 s"
    );
}

#[tokio::test]
async fn ids_in_capitals_are_those_of_tokens_and_that_any_application_may_call_is_remarked_on() {
    const ID: &str = "5b1d2a2e-3c0a-4d62-9d39-4f6b7b1f2c11";
    let text = |more: &str| tenant(more).replace("/t1/", &format!("/{ID}/"));
    let capitals = |more: &str| {
        let (lower, upper) = (format!("issuer_v1 = \"https://sts.example/{ID}/\""), ID.to_uppercase());
        let v1 = format!("issuer_v1 = \"https://sts.example/{upper}/\"");
        text(more).replace("\"t1\"", &format!("\"{upper}\"")).replace(&lower, &v1)
    };
    let world = World::start(&capitals(&format!("client_application_ids = [\"{}\"]", ID.to_uppercase()))).await;
    let of = |client: &str| json!({"iss": format!("https://id.example/{ID}/v2.0"), "tid": ID, "azp": client});
    assert_eq!(asked(&world, &of(ID)).await.0, 200);
    assert_eq!(asked(&world, &of("whoever")).await.0, 401, "and no other application");
    let first = json!({"iss": format!("https://sts.example/{ID}/"), "tid": ID, "appid": ID});
    assert_eq!(asked(&world, &v1(&first)).await.0, 200);
    assert!(world.gateway.remarks().is_empty(), "{:?}", world.gateway.remarks());
    world.reload(&capitals("")).unwrap();
    let [remark] = world.gateway.remarks().try_into().unwrap();
    assert!(remark.contains("of api orders takes tokens of any application"), "{remark}");
    for (claim, remarks) in [
        ("name = \"azp\", value = [\"spa\"]", 0),
        ("name = \"appid\", value = [\"spa\"]", 0),
        ("name = \"azp\"", 1),
        ("name = \"roles\", value = [\"Reader\"]", 1),
    ] {
        world.reload(&capitals(&format!("required_claims = [{{ {claim} }}]"))).unwrap();
        assert_eq!(world.gateway.remarks().len(), remarks, "{claim}");
    }
}

#[tokio::test]
async fn what_applies_is_told_with_all_that_makes_it_strict() {
    let claims =
        "required_claims = [{ name = \"roles\", match = \"any\", value = [\"A\", \"B\"] }, { name = \"groups\" }]";
    let more = format!("failed_validation_httpcode = 403\n    header_name = \"X-Token\"\n    {claims}");
    let strict = ", where `roles` has A or B, where `groups` is there, in the field `X-Token`; others get 403";
    let jwt = ORDERS.replace("audiences = [", &format!("{more}\n    audiences = ["));
    for text in [tenant(&more), jwt.replace("onward = \"passthrough\"", "")] {
        let world = World::start(&text).await;
        let told = world.gateway.effective_for("x", &http::Method::GET, "/").unwrap();
        assert!(told.policies[0].text.ends_with(strict), "{}", told.policies[0].text);
    }
}

#[tokio::test]
async fn refusals_are_as_configured_and_claims_are_required() {
    let world = World::start(&tenant(
        "failed_validation_httpcode = 403\n    failed_validation_error_message = \"no\"\n    header_name = \"X-Token\"
    clock_skew = 0\n    required_claims = [{ name = \"roles\", match = \"any\", value = [\"Reader\"] }]",
    ))
    .await;
    let ask = async |claims: Value| {
        let answer = world.get("/", &[("x-token", &world.token(&claims))]).await;
        if answer.status == 200 { (200, String::new()) } else { answer.reason() }
    };
    assert_eq!(ask(json!({"roles": ["Reader"]})).await.0, 200);
    assert_eq!(ask(json!({"roles": ["Writer"]})).await, (403, "TokenClaimValueNotAllowed".to_owned()));
    assert_eq!(ask(json!({})).await, (403, "TokenClaimNotFound".to_owned()));
    assert_eq!(ask(json!({"roles": ["Reader"], "exp": 1_800_000_000})).await, (403, "TokenExpired".to_owned()));
    let none = world.get("/", &[]).await;
    assert_eq!((none.reason(), &none.json()["message"]), ((403, "TokenNotPresent".to_owned()), &json!("no")));
    assert_eq!(world.service.only().field("x-token"), Vec::<&str>::new());
}

#[tokio::test]
async fn keys_are_found_by_the_metadata_of_each_version_below_the_authority() {
    let text = tenant("").replace("https://id.example/", "{service}").replace(&format!("issuer_v1 = \"{V1}\""), "");
    let world = World::start(text.split("[[issuer]]").next().unwrap()).await;
    let authority = world.service.url.clone();
    let mut stream = TcpStream::connect(world.issuer.jwks_url().split('/').nth(2).unwrap()).await.unwrap();
    stream.write_all(b"GET /jwks HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let keys = answered(&mut stream).await.body;
    let document = |body: &str| {
        format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    };
    for (version, iss, claims) in
        [("/v2.0", format!("{authority}/t1/v2.0"), json!({})), ("", format!("{authority}/t1/"), v1(&json!({})))]
    {
        world.service.forget();
        let metadata = json!({"issuer": iss, "jwks_uri": format!("{authority}/t1/keys{version}")});
        world.service.answers(&document(&metadata.to_string()));
        world.service.answers(&document(&keys));
        let mut claims = claims;
        claims["iss"] = json!(iss);
        assert_eq!(asked(&world, &claims).await, (200, String::new()));
        let seen: Vec<String> = world.service.seen().into_iter().map(|seen| Seen(seen).target().to_owned()).collect();
        assert_eq!(
            seen,
            [format!("/t1{version}/.well-known/openid-configuration"), format!("/t1/keys{version}"), "/".to_owned()]
        );
    }
}

#[tokio::test]
async fn an_issuer_whose_path_names_two_tenants_speaks_for_the_configured_one() {
    let world = World::start(&tenant("").replace(V1, "https://sts.example/t2/t1/")).await;
    let of = |tid: &str| v1(&json!({"iss": "https://sts.example/t2/t1/", "tid": tid}));
    assert_eq!(asked(&world, &of("t1")).await, (200, String::new()));
    assert_eq!(asked(&world, &of("t2")).await, refused("TokenClaimValueNotAllowed"));
}
