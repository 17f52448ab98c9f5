//! Metadata, keys, instance discovery and health, as clients find them.
use crate::world::estate::{CONTOSO, FABRIKAM};
use crate::world::{Answer, HOST, World, header, text};
use serde_json::{Value, json};

fn places(tenant: &str) -> [String; 3] {
    [
        format!("/{tenant}/v2.0/.well-known/openid-configuration"),
        format!("/.well-known/openid-configuration/{tenant}/v2.0"),
        format!("/.well-known/oauth-authorization-server/{tenant}/v2.0"),
    ]
}

fn public(answer: &Answer) {
    assert_eq!(answer.header("access-control-allow-origin"), "*");
    assert_eq!(answer.header("cache-control"), "max-age=86400, private");
    assert_eq!(answer.header("content-type"), "application/json; charset=utf-8");
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    assert!(answer.header("set-cookie").is_empty());
}

#[tokio::test]
async fn metadata_stands_in_three_places_under_every_name() {
    let world = World::new().await;
    let (contoso, fabrikam) = (CONTOSO.to_string(), FABRIKAM.to_string());
    for (name, segment, issuer) in [
        (contoso.as_str(), contoso.as_str(), contoso.as_str()),
        (&contoso.to_uppercase(), &contoso, &contoso),
        ("contoso.example", &contoso, &contoso),
        ("CONTOSO.example", &contoso, &contoso),
        ("fabrikam.example", &fabrikam, &fabrikam),
        ("common", "common", "{tenantid}"),
        ("organizations", "organizations", "{tenantid}"),
    ] {
        let mut documents = Vec::new();
        for place in places(name) {
            let answer = world.get(&place).await;
            let document = answer.ok();
            public(&answer);
            assert_eq!(document["issuer"], format!("{HOST}/{issuer}/v2.0"), "{place}");
            for endpoint in
                ["authorization_endpoint", "token_endpoint", "end_session_endpoint", "userinfo_endpoint", "jwks_uri"]
            {
                let url = text(&document, endpoint);
                let path = url.strip_prefix(HOST).unwrap();
                assert!(path.starts_with(&format!("/{segment}/")), "{url}");
                assert_ne!(world.get(path).await.status, 404, "{endpoint} is advertised and served");
            }
            documents.push(document);
        }
        documents.dedup();
        assert_eq!(documents.len(), 1, "{name}");
    }
}

#[tokio::test]
async fn metadata_of_the_v1_endpoints_differs_where_they_do() {
    let world = World::new().await;
    let contoso = CONTOSO.to_string();
    for (name, segment, issuer) in [
        ("contoso.example", contoso.as_str(), contoso.as_str()),
        ("common", "common", "{tenantid}"),
        ("organizations", "organizations", "{tenantid}"),
    ] {
        let places = [
            format!("/{name}/.well-known/openid-configuration"),
            format!("/.well-known/openid-configuration/{name}"),
            format!("/.well-known/oauth-authorization-server/{name}"),
        ];
        for place in places {
            let answer = world.get(&place).await;
            public(&answer);
            let document = answer.ok();
            assert_eq!(document["issuer"], format!("{HOST}/{issuer}/"), "with its slash");
            for (endpoint, path) in [
                ("authorization_endpoint", "oauth2/authorize"),
                ("token_endpoint", "oauth2/token"),
                ("end_session_endpoint", "oauth2/logout"),
                ("userinfo_endpoint", "openid/userinfo"),
                ("jwks_uri", "discovery/keys"),
                ("device_authorization_endpoint", "oauth2/devicecode"),
            ] {
                assert_eq!(document[endpoint], format!("{HOST}/{segment}/{path}"));
                assert_ne!(world.get(&format!("/{segment}/{path}")).await.status, 404, "{endpoint}");
            }
            assert_eq!(document["scopes_supported"], json!(["openid"]));
            assert_eq!(document["response_types_supported"], json!(["code", "id_token"]), "what exists");
            assert_eq!(document["microsoft_multi_refresh_token"], true);
            assert!(document["check_session_iframe"].is_null());
            let claims = document["claims_supported"].as_array().unwrap();
            assert!(claims.contains(&json!("unique_name")) && !claims.contains(&json!("preferred_username")));
        }
    }
    assert_eq!(world.get("/nowhere/.well-known/openid-configuration").await.refused().2, 90_002);
}

#[tokio::test]
async fn metadata_advertises_only_what_exists() {
    let world = World::new().await;
    let document = world.get(&places("contoso.example")[0]).await.ok();
    let lists = [
        ("response_types_supported", json!(["code", "id_token"])),
        ("http_logout_supported", json!(true)),
        ("frontchannel_logout_supported", json!(true)),
        ("frontchannel_logout_session_supported", json!(true)),
        ("code_challenge_methods_supported", json!(["S256"])),
        ("subject_types_supported", json!(["pairwise"])),
        ("response_modes_supported", json!(["query", "fragment", "form_post"])),
        ("id_token_signing_alg_values_supported", json!(["RS256"])),
        (
            "token_endpoint_auth_methods_supported",
            json!(["client_secret_post", "private_key_jwt", "client_secret_basic", "none"]),
        ),
        ("authorization_response_iss_parameter_supported", json!(true)),
        ("request_uri_parameter_supported", json!(false)),
        ("request_parameter_supported", json!(false)),
    ];
    for (name, value) in lists {
        assert_eq!(document[name], value, "{name}");
    }
    let mut grants: Vec<&str> =
        document["grant_types_supported"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    grants.sort_unstable();
    let known = [
        "authorization_code",
        "client_credentials",
        "refresh_token",
        "urn:ietf:params:oauth:grant-type:device_code",
        "urn:ietf:params:oauth:grant-type:jwt-bearer",
        "urn:ietf:params:oauth:grant-type:token-exchange",
    ];
    assert_eq!(grants, known);
    assert!(document["registration_endpoint"].is_null());
}

#[tokio::test]
async fn metadata_of_nobody_says_so() {
    let world = World::new().await;
    for name in [
        "nowhere",
        "consumers",
        "contoso.example.evil",
        "00000000-0000-0000-0000-000000000000",
        "%7Btenantid%7D",
        "x%0d%0ay",
        "%22%3E%3Cscript%3E",
        "COMMON",
    ] {
        for place in places(name) {
            let answer = world.get(&place).await;
            let body = answer.json();
            assert_eq!(
                (answer.status.as_u16(), &body["error"], &body["error_codes"]),
                (400, &json!("invalid_request"), &json!([90_002])),
                "{name}"
            );
            assert_eq!(answer.header("content-type"), "application/json; charset=utf-8");
        }
    }
    let braces = CONTOSO.to_string().replace('-', "");
    assert_eq!(world.get(&places(&braces)[0]).await.status, 400, "one spelling of an id");
}

#[tokio::test]
async fn keys_verify_what_was_signed_and_name_their_issuer() {
    let world = World::new().await;
    for name in ["contoso.example", "common", &CONTOSO.to_string()] {
        let answer = world.get(&format!("/{name}/discovery/v2.0/keys")).await;
        public(&answer);
        let keys = answer.ok()["keys"].as_array().unwrap().clone();
        assert_eq!(keys.len(), 3);
        for key in &keys {
            assert_eq!(key["issuer"], format!("{HOST}/{{tenantid}}/v2.0"));
            assert_eq!(key["use"], "sig");
            for private in ["d", "p", "q", "dp", "dq", "qi", "k"] {
                assert!(key[private].is_null(), "{private}");
            }
            if key["kty"] == "RSA" {
                assert!(key["kid"] == key["x5t"] && key["x5c"][0].is_string() && key["e"] == "AQAB", "{key}");
            }
        }
        let v1 = world.get(&format!("/{name}/discovery/keys")).await.ok();
        assert!(v1["keys"].as_array().unwrap().iter().all(|key| key["issuer"].is_null()));
    }
    let (set, skipped) = jose::KeySet::parse(&world.get("/common/discovery/v2.0/keys").await.body, None).unwrap();
    assert!(skipped.is_empty());
    for scope in ["api://orders/access_as_user", "openid"] {
        let token = world.access_token("web", "ada", scope).await;
        let parsed = jose::Token::parse(&token).unwrap();
        let key = set.key_for(&parsed).unwrap();
        assert!(parsed.verify(key).is_ok(), "{}", header(&token));
    }
    let vault = world.access_token("strict", "ada", "api://vault/Vault.Read").await;
    let parsed = jose::Token::parse(&vault).unwrap();
    assert_eq!((header(&vault)["alg"].as_str(), header(&vault)["typ"].as_str()), (Some("ES256"), Some("at+jwt")));
    assert!(parsed.verify(set.key_for(&parsed).unwrap()).is_ok());
}

#[tokio::test]
async fn instance_discovery_knows_this_host_only() {
    let world = World::new().await;
    let ask = async |endpoint: &str| {
        let query = oauth::Form::default().with("api-version", "1.1").with("authorization_endpoint", endpoint).encode();
        world.get(&format!("/common/discovery/instance?{query}")).await
    };
    for tenant in [&*CONTOSO.to_string(), "contoso.example", "common", "organizations"] {
        let versions = [("oauth2/v2.0", "v2.0/.well-known"), ("oauth2", ".well-known")];
        for (host, (asked, found)) in [HOST, "https://login.example"].into_iter().zip(versions) {
            let answer = ask(&format!("{host}/{tenant}/{asked}/authorize")).await.ok();
            let document = text(&answer, "tenant_discovery_endpoint");
            let named = if tenant.contains('.') { &*CONTOSO.to_string() } else { tenant };
            assert_eq!(document, format!("{HOST}/{named}/{found}/openid-configuration"));
            world.get(document.strip_prefix(HOST).unwrap()).await.ok();
            assert_eq!(answer["metadata"][0]["aliases"], json!(["login.example:8443"]));
        }
    }
    for other in [
        "https://evil.test/common/oauth2/v2.0/authorize",
        "https://login.example.evil.test/common/oauth2/v2.0/authorize",
        "https://login.example:8443.evil.test/common/x",
        "https://login.example:8443@evil.test/common/x",
        "https://login.example:9/common/x",
        "http://login.example:8443/common/x",
        "//login.example:8443/common/x",
        "https://login.example:8443",
        "x",
    ] {
        let body = ask(other).await.json();
        assert_eq!((&body["error"], &body["error_codes"]), (&json!("invalid_instance"), &json!([50_049])), "{other}");
    }
    assert_eq!(ask(&format!("{HOST}/nowhere/oauth2/v2.0/authorize")).await.json()["error_codes"], json!([90_002]));
    for query in ["", "?authorization_endpoint=", "?authorization_endpoint=a&authorization_endpoint=b", "?x=%zz"] {
        let answer = world.get(&format!("/common/discovery/instance{query}")).await;
        assert_eq!((answer.status.as_u16(), &answer.json()["error"]), (400, &json!("invalid_request")), "{query}");
    }
}

/// Where public documents stand, and where their refusals do.
fn documents() -> Vec<String> {
    let known = ["contoso.example", "nowhere"];
    let of_tenant = |tenant: &&str| {
        let keys = [format!("/{tenant}/discovery/v2.0/keys"), format!("/{tenant}/discovery/keys")];
        let asked = oauth::Form::default().with("authorization_endpoint", &format!("{HOST}/{tenant}/x")).encode();
        places(tenant)
            .into_iter()
            .chain(keys)
            .chain([format!("/common/discovery/instance?{asked}")])
            .collect::<Vec<_>>()
    };
    known.iter().flat_map(of_tenant).chain(["/common/discovery/instance?x=%zz".to_owned()]).collect()
}

#[tokio::test]
async fn refusals_of_documents_tell_the_client_its_own_request_id() {
    let world = World::new().await;
    let mut refused = 0;
    for path in documents() {
        for (header, query) in
            [(Some("the-id"), None), (None, Some("the-id")), (Some("the-id"), Some("other")), (None, None)]
        {
            let separator = if path.contains('?') { '&' } else { '?' };
            let uri = match query {
                Some(id) if !path.contains("%zz") => format!("{path}{separator}client-request-id={id}"),
                Some(_) => continue,
                None => path.clone(),
            };
            let request = axum::http::Request::get(&uri);
            let request = header.into_iter().fold(request, |request, id| request.header("client-request-id", id));
            let answer = world.send(request.body(axum::body::Body::empty()).unwrap()).await;
            if answer.status == 200 {
                continue;
            }
            refused += 1;
            let body = answer.json();
            assert_eq!(answer.header("x-ms-request-id"), text(&body, "trace_id"), "{uri}");
            if header.or(query).is_some() {
                assert_eq!(
                    (answer.header("client-request-id"), text(&body, "correlation_id")),
                    ("the-id", "the-id".into())
                );
            } else {
                assert!(answer.header("client-request-id").is_empty() && body["correlation_id"] == body["trace_id"]);
            }
        }
    }
    assert_eq!(refused, 4 * 6 + 2);
}

#[tokio::test]
async fn any_page_may_read_public_documents_and_nothing_else() {
    let world = World::new().await;
    let ask = async |method: &str, path: &str| {
        let request = axum::http::Request::builder().method(method).uri(path).header("origin", "https://any.test");
        let request = request.header("access-control-request-method", "GET");
        world
            .send(request.header("access-control-request-headers", "x-any").body(axum::body::Body::empty()).unwrap())
            .await
    };
    for path in documents() {
        assert_eq!(ask("GET", &path).await.header("access-control-allow-origin"), "*", "{path}: errors, too");
        let answer = ask("OPTIONS", &path).await;
        assert_eq!((answer.status.as_u16(), answer.text().as_str()), (204, ""), "{path}");
        for (name, value) in [("origin", "*"), ("methods", "GET"), ("headers", "*"), ("credentials", "")] {
            assert_eq!(answer.header(&format!("access-control-allow-{name}")), value, "{path}");
        }
        assert_eq!(ask("POST", &path).await.status, 405, "{path}");
    }
    let others = ["oauth2/v2.0/authorize", "oauth2/v2.0/token", "oauth2/v2.0/logout", "sign-in", "openid/userinfo"];
    for path in others.map(|path| format!("/{CONTOSO}/{path}")).into_iter().chain(["/health/ready".into(), "/x".into()])
    {
        for method in ["GET", "POST", "OPTIONS"] {
            let answer = ask(method, &path).await;
            assert!(answer.header("access-control-allow-origin").is_empty(), "{method} {path}");
        }
    }
}

#[tokio::test]
async fn what_is_not_served_is_not_found_in_the_form_that_is_asked_for() {
    let world = World::new().await;
    for path in [
        "/",
        "/x",
        "/contoso.example/oauth2/v2.0/devicecodes",
        "/contoso.example/oauth2/v2.0/token/",
        "/.well-known/openid-configuration",
    ] {
        let answer = world.get(path).await;
        assert_eq!((answer.status.as_u16(), &answer.json()["error"]), (404, &json!("invalid_request")), "{path}");
    }
    assert_eq!(world.get("/health/live").await.text(), "live\n");
    assert_eq!(world.get("/health/ready").await.text(), "ready\n");
}
