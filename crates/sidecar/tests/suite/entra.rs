//! The API of Microsoft's auth sidecar (section 5), and what its changelog teaches.
use crate::facades::{Estate, settings};
use crate::support::{NOON, claims, fetch, own_address};
use serde_json::{Value, json};
use sidecar::{Bind, Bound, Entra, EntraRoute, File, Listeners, Settings, SettingsError};
use std::collections::HashMap;
use std::sync::Arc;
use testkit::{Issuer, Next, SetClock};

const CLAIMS: &str = r#"{"access_token":{"acrs":{"essential":true,"value":"c1"}}}"#;

fn onward(told: &crate::facades::Told) -> Value {
    assert_eq!(told.status(), 200, "{told:?}");
    assert_eq!(told.0.headers["cache-control"], "no-cache, no-store, must-revalidate");
    assert_eq!(
        (&told.0.headers["expires"], &told.0.headers["pragma"]),
        (&"0".parse().unwrap(), &"no-cache".parse().unwrap())
    );
    let header = told.json()["authorizationHeader"].as_str().unwrap().to_owned();
    claims(header.strip_prefix("Bearer ").unwrap())
}

#[tokio::test]
async fn validate_answers_with_the_token_and_its_claims_as_they_are() {
    let estate = Estate::new().await;
    let user = estate.user(&json!({ "custom": { "a": [1, 2] } }));
    let told = estate.get(&format!("{}/Validate", estate.entra), &user).await;
    assert_eq!(told.status(), 200, "{told:?}");
    assert_eq!(told.json(), json!({ "protocol": "Bearer", "token": user, "claims": claims(&user) }));
    assert_eq!(told.0.headers["cache-control"], "no-cache, no-store, must-revalidate");
}

#[tokio::test]
async fn a_token_that_does_not_hold_is_challenged_and_what_is_none_is_a_bad_request() {
    let estate = Estate::new().await;
    let url = format!("{}/Validate", estate.entra);
    let now = NOON.0;
    for (changes, status, code) in [
        (json!({ "aud": "api://another" }), 401, "token.audience"),
        (json!({ "exp": now - 61, "iat": now - 3_000, "nbf": now - 3_000 }), 401, "token.not_expired"),
        (json!({ "iss": "https://evil.example/t1/v2.0" }), 401, "token.issuer"),
        (json!({ "scp": null }), 401, "token.claims"),
        (json!({ "tid": "t2" }), 401, "token.tenant"),
        (json!({ "nonce": "n" }), 401, "token.type"),
    ] {
        let told = estate.get(&url, &estate.user(&changes)).await;
        assert_eq!((told.problem().0, &told.json()["code"]), (status, &json!(code)), "{changes}: {told:?}");
        assert!(told.challenges()[0].starts_with("Bearer "), "{told:?}");
    }
    let user = estate.user(&json!({}));
    let (signed, signature) = user.rsplit_once('.').unwrap();
    let forged = format!("{signed}.{}{}", if signature.starts_with('A') { 'B' } else { 'A' }, &signature[1..]);
    assert_eq!(estate.get(&url, &forged).await.problem().0, 401);
    for (token, headers, query) in [
        ("", vec![], ""),
        ("not-a-token", vec![], ""),
        (user.as_str(), vec![], "?access_token=x"),
        ("", vec![], "?access_token=x"),
        (user.as_str(), vec![("authorization", "Bearer other")], ""),
        ("", vec![("authorization", "Basic YTpi")], ""),
    ] {
        let told = estate.send("GET", &format!("{url}{query}"), token, &headers, "").await;
        assert_eq!(told.problem().0, 400, "{headers:?} {query}: {told:?}");
        assert!(told.challenges()[0].starts_with("Bearer"), "{told:?}");
    }
    assert!(estate.world.issuer("entra_id").asked().is_empty());
}

#[tokio::test]
async fn a_configured_scope_is_enforced_and_tokens_without_any_pass_only_by_a_visible_setting() {
    let both = Estate::with("[AzureAd]\nScopes = [\"access_as_user\", \"other\"]", &[]).await;
    let url = format!("{}/Validate", both.entra);
    assert_eq!(both.get(&url, &both.user(&json!({}))).await.status(), 200);
    assert_eq!(both.get(&url, &both.user(&json!({ "scp": "x other" }))).await.status(), 200);
    let told = both.get(&url, &both.user(&json!({ "scp": "nothing.of.that" }))).await;
    assert_eq!((told.problem().0, &told.json()["code"]), (403, &json!("scope.sufficient")));

    let bare = json!({ "scp": null, "idtyp": "app" });
    // As Entra issues it to an application that was given nothing, also where scopes are asked for.
    let nothing =
        json!({ "scp": null, "idtyp": "app", "azpacr": "1", "aud": "default", "oid": "daemon", "sub": "daemon" });
    for path in ["Validate", "AuthorizationHeader/Billing"] {
        let told = both.get(&format!("{}/{path}", both.entra), &both.user(&nothing)).await;
        assert_eq!((told.problem().0, &told.json()["code"]), (401, &json!("token.claims")), "{path}");
    }

    let strict = Estate::new().await;
    let told = strict.get(&format!("{}/Validate", strict.entra), &strict.user(&bare)).await;
    assert_eq!((told.problem().0, &told.json()["code"]), (401, &json!("token.claims")));
    let lax = Estate::with("", &[("AzureAd__AllowWebApiToBeAuthorizedByACL", "true")]).await;
    assert_eq!(lax.get(&format!("{}/Validate", lax.entra), &lax.user(&bare)).await.status(), 200);
    let told = lax.get(&format!("{}/Validate", lax.entra), &lax.user(&json!({ "scp": null }))).await;
    assert_eq!(told.problem().0, 401, "a user's token has scopes");
}

#[tokio::test]
async fn the_users_token_becomes_one_for_the_api() {
    let estate = Estate::new().await;
    let url = |name: &str| format!("{}/AuthorizationHeader/{name}", estate.entra);
    let user = estate.user(&json!({}));
    let first = onward(&estate.get(&url("Billing"), &user).await);
    assert_eq!((&first["aud"], &first["sub"]), (&json!("api://billing/.default"), &json!("ada")));
    assert_eq!(onward(&estate.get(&url("bILLING"), &user).await)["jti"], first["jti"], "kept, and of any case");
    let asked = estate.world.issuer("entra_id").asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].field("assertion"), Some(user.as_str()));
    assert_eq!(asked[0].field("requested_token_use"), Some("on_behalf_of"));
    let bob = onward(&estate.get(&url("Billing"), &estate.user(&json!({ "sub": "bob" }))).await);
    assert_eq!(bob["sub"], "bob");
}

#[tokio::test]
async fn without_a_user_it_is_the_applications_own_and_nobody_has_to_sign_in() {
    let estate = Estate::new().await;
    let own = onward(&estate.get(&format!("{}/AuthorizationHeaderUnauthenticated/Billing", estate.entra), "").await);
    assert_eq!((&own["sub"], &own["aud"]), (&json!("default"), &json!("api://billing/.default")));
    // Configured, or asked for by the caller: the same token.
    let user = estate.user(&json!({}));
    let configured = onward(&estate.get(&format!("{}/AuthorizationHeader/Reports", estate.entra), &user).await);
    assert_eq!(configured["sub"], "default");
    let query = "?optionsOverride.RequestAppToken=true";
    let asked = onward(&estate.get(&format!("{}/AuthorizationHeader/Billing{query}", estate.entra), &user).await);
    assert_eq!(asked["jti"], own["jti"]);
    // A user's token on a route for nobody changes nothing.
    let with = estate.get(&format!("{}/AuthorizationHeaderUnauthenticated/Billing", estate.entra), &user).await;
    assert_eq!(onward(&with)["sub"], "default");
}

#[tokio::test]
async fn overrides_are_for_one_request_and_merge_alike_for_users_and_applications() {
    let estate = Estate::new().await;
    let user = estate.user(&json!({}));
    let scopes = "optionsOverride.Scopes=api://billing/A&optionsOverride.Scopes=api://billing/B";
    for (own, subject) in [("false", "ada"), ("true", "default")] {
        let url =
            format!("{}/AuthorizationHeader/Billing?{scopes}&optionsOverride.RequestAppToken={own}", estate.entra);
        let token = onward(&estate.get(&url, &user).await);
        assert_eq!((&token["aud"], &token["sub"]), (&json!("api://billing/A api://billing/B"), &json!(subject)));
        let after = onward(&estate.get(&format!("{}/AuthorizationHeader/Billing", estate.entra), &user).await);
        assert_eq!(
            (&after["aud"], &after["sub"]),
            (&json!("api://billing/.default"), &json!("ada")),
            "nothing is left of it"
        );
    }
    let fresh =
        format!("{}/AuthorizationHeader/Billing?optionsOverride.AcquireTokenOptions.ForceRefresh=true", estate.entra);
    let first = onward(&estate.get(&fresh, &user).await);
    assert_ne!(onward(&estate.get(&fresh, &user).await)["jti"], first["jti"]);
    let claims: String = url::form_urlencoded::byte_serialize(CLAIMS.as_bytes()).collect();
    let url =
        format!("{}/AuthorizationHeader/Billing?optionsOverride.AcquireTokenOptions.Claims={claims}", estate.entra);
    onward(&estate.get(&url, &user).await);
    assert_eq!(estate.world.issuer("entra_id").asked().last().unwrap().field("claims"), Some(CLAIMS));
}

#[tokio::test]
async fn an_agent_asks_for_itself_with_its_blueprints_word() {
    let estate = Estate::new().await;
    let (user, issuer) = (estate.user(&json!({})), estate.world.issuer("entra_id"));
    let url = format!("{}/AuthorizationHeader/Billing?AgentIdentity=agent-1", estate.entra);
    let token = onward(&estate.get(&url, &user).await);
    assert_eq!(token["sub"], "ada");
    let asked = issuer.asked();
    assert_eq!(asked.len(), 2);
    let vouched = |name: &str| asked[0].field(name);
    assert_eq!(
        (vouched("grant_type"), vouched("scope"), vouched("fmi_path"), vouched("client_id")),
        (Some("client_credentials"), Some("api://AzureADTokenExchange/.default"), Some("agent-1"), Some("default"))
    );
    let agents = |name: &str| asked[1].field(name);
    assert_eq!(
        (agents("client_id"), agents("assertion"), agents("requested_token_use"), agents("fmi_path")),
        (Some("agent-1"), Some(user.as_str()), Some("on_behalf_of"), None)
    );
    assert_eq!(claims(agents("client_assertion").unwrap())["aud"], "api://AzureADTokenExchange/.default");

    // Each is asked for once, and is nobody else's.
    assert_eq!(onward(&estate.get(&url, &user).await)["jti"], token["jti"]);
    let plain = onward(&estate.get(&format!("{}/AuthorizationHeader/Billing", estate.entra), &user).await);
    assert_ne!(plain["jti"], token["jti"]);
    let other = onward(&estate.get(&url.replace("agent-1", "agent-2"), &user).await);
    assert_ne!(other["jti"], token["jti"]);
    assert_eq!(issuer.asked()[3].field("fmi_path"), Some("agent-2"));
    // Without a user, the agent's own.
    let own = onward(&estate.get(&format!("{url}&optionsOverride.RequestAppToken=true"), &user).await);
    assert_eq!(
        (&own["sub"], issuer.asked().last().unwrap().field("grant_type")),
        (&json!("agent-1"), Some("client_credentials"))
    );
    assert_eq!(issuer.asked().len(), 6, "the blueprint's word is kept");

    let query = "optionsOverride.RequestAppToken=true&optionsOverride.AcquireTokenOptions.FmiPath=p";
    onward(&estate.get(&format!("{}/AuthorizationHeader/Billing?{query}", estate.entra), &user).await);
    assert_eq!(issuer.asked()[6].field("fmi_path"), Some("p"));
    for (api, query) in [
        ("Far", "AgentIdentity=agent-1"),
        ("Billing", "optionsOverride.AcquireTokenOptions.FmiPath=p"),
        (
            "Billing",
            "AgentIdentity=agent-1&optionsOverride.RequestAppToken=true&optionsOverride.AcquireTokenOptions.FmiPath=p",
        ),
    ] {
        let told = estate.get(&format!("{}/AuthorizationHeader/{api}?{query}", estate.entra), &user).await;
        assert_eq!(told.problem().0, 400, "{api} {query}");
    }
    assert_eq!(issuer.asked().len(), 7);
}

#[tokio::test]
async fn what_an_agent_or_its_blueprint_is_refused_is_told_like_any_refusal() {
    let estate = Estate::new().await;
    let (user, issuer) = (estate.user(&json!({})), estate.world.issuer("entra_id"));
    let url = format!("{}/AuthorizationHeader/Billing?AgentIdentity=agent-1", estate.entra);
    let said = json!({ "error": "invalid_client", "error_description": "AADSTS700211: no", "error_codes": [700_211] });
    issuer.next(Next::answer(401, said.to_string()));
    let told = estate.get(&url, &user).await;
    assert_eq!(
        (told.problem(), &told.json()["error_codes"]),
        ((401, "AADSTS700211: no".to_owned()), &json!([700_211]))
    );
}

#[tokio::test]
async fn overrides_are_refused_where_their_route_has_none_and_the_base_url_is_nobodys() {
    let estate = Estate::new().await;
    let user = estate.user(&json!({}));
    for (method, route, token, switch) in [
        ("GET", "AuthorizationHeaderUnauthenticated", "", "GetAuthorizationHeaderUnauthenticated"),
        ("POST", "DownstreamApiUnauthenticated", "", "CallDownstreamApiUnauthenticated"),
    ] {
        for query in
            ["optionsOverride.Scopes=api://secret/.default", "OPTIONSOVERRIDE.relativepath=admin", "AgentIdentity=a"]
        {
            let told = estate.send(method, &format!("{}/{route}/Billing?{query}", estate.entra), token, &[], "").await;
            let expected =
                format!("overrides are not allowed on this route; set `Sidecar:AllowOverrides:{switch}` to allow them");
            assert_eq!(told.problem(), (400, expected));
        }
    }
    assert!(estate.world.issuer("entra_id").asked().is_empty() && estate.api.seen().is_empty());

    let evil = "optionsOverride.BaseUrl=http://127.0.0.1:9&optionsoverride.baseurl=https://evil.example";
    for route in ["DownstreamApi", "DownstreamApiUnauthenticated"] {
        let told = estate.send("POST", &format!("{}/{route}/Billing?{evil}", estate.entra), &user, &[], "").await;
        assert_eq!(told.json()["statusCode"], 200, "{told:?}");
    }
    assert_eq!(estate.api.seen().len(), 2);

    let opened = [
        ("Sidecar__AllowOverrides__CallDownstreamApiUnauthenticated", "true"),
        ("Sidecar__AllowOverrides__CallDownstreamApi", "false"),
    ];
    let estate = Estate::with("", &opened).await;
    let user = estate.user(&json!({}));
    let query = "optionsOverride.RelativePath=x";
    let open = estate
        .send("POST", &format!("{}/DownstreamApiUnauthenticated/Billing?{query}", estate.entra), "", &[], "")
        .await;
    assert_eq!((open.json()["statusCode"].clone(), estate.api.seen()[0].target.clone()), (json!(200), "/x".to_owned()));
    let closed = estate.send("POST", &format!("{}/DownstreamApi/Billing?{query}", estate.entra), &user, &[], "").await;
    assert_eq!(closed.problem().0, 400);
}

#[tokio::test]
async fn an_api_is_called_for_the_user_and_its_answer_comes_back_as_one_object() {
    let estate = Estate::new().await;
    let user = estate.user(&json!({}));
    let query = "optionsOverride.HttpMethod=PUT&optionsOverride.RelativePath=/invoices/7%3Fx=1&optionsOverride.AcceptHeader=a/b\
                 &optionsOverride.ExtraHeaderParameters.X-One=1&optionsOverride.ExtraQueryParameters.y=a%26b";
    let headers = [
        ("content-type", "text/special"),
        ("x-private", "stays here"),
        ("cookie", "a=b"),
        ("traceparent", "00-a-b-01"),
    ];
    estate.api.next(201, &[("content-type", "text/plain"), ("x-two", "2"), ("set-cookie", "s=1")], "made");
    let told =
        estate.send("POST", &format!("{}/DownstreamApi/Billing?{query}", estate.entra), &user, &headers, "body").await;
    let json = told.json();
    assert_eq!((&json["statusCode"], &json["content"]), (&json!(201), &json!("made")), "{told:?}");
    assert_eq!((&json["headers"]["content-type"], &json["headers"]["x-two"]), (&json!(["text/plain"]), &json!(["2"])));
    assert_eq!(json["headers"]["set-cookie"], Value::Null);
    let sent = estate.api.seen().remove(0);
    assert_eq!(
        (sent.method.as_str(), sent.target.as_str(), sent.body.as_str()),
        ("PUT", "/invoices/7?x=1&y=a%26b", "body")
    );
    let header = |name: &str| sent.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    assert_eq!(
        (header("content-type"), header("accept"), header("x-one")),
        (Some("text/special".into()), Some("a/b".into()), Some("1".into()))
    );
    assert_eq!((header("x-private"), header("cookie"), header("traceparent")), (None, None, Some("00-a-b-01".into())));
    assert_eq!(claims(&sent.token())["sub"], "ada");
    assert_ne!(sent.token(), user, "the user's own token goes nowhere");

    estate.api.next(204, &[], "");
    let empty =
        estate.send("POST", &format!("{}/DownstreamApiUnauthenticated/Reports", estate.entra), "", &[], "").await;
    assert_eq!((&empty.json()["statusCode"], &empty.json()["content"]), (&json!(204), &Value::Null));
    let sent = estate.api.seen().remove(1);
    assert_eq!((sent.method.as_str(), sent.target.as_str()), ("GET", "/v1/reports"));
}

#[tokio::test]
async fn a_redirect_goes_back_as_it_is_and_the_token_goes_nowhere_else() {
    let estate = Estate::new().await;
    estate.api.next(302, &[("location", &format!("{}/elsewhere", estate.api.url))], "");
    let told =
        estate.send("POST", &format!("{}/DownstreamApiUnauthenticated/Billing", estate.entra), "", &[], "").await;
    assert_eq!(
        (&told.json()["statusCode"], &told.json()["headers"]["location"]),
        (&json!(302), &json!([format!("{}/elsewhere", estate.api.url)]))
    );
    assert_eq!(estate.api.seen().len(), 1);
}

#[tokio::test]
async fn a_relative_path_leads_nowhere_else() {
    let estate = Estate::new().await;
    let user = estate.user(&json!({}));
    for path in [
        "//evil.example/x",
        "https://evil.example/x",
        "../admin",
        "a/../../admin",
        "%2e%2e/admin",
        "a%2f..%2fadmin",
        "\\\\evil.example",
        "/\\evil.example",
        "a\r\nHost: evil.example",
        "x#y",
        "..;/admin",
        "a b",
    ] {
        let path: String = url::form_urlencoded::byte_serialize(path.as_bytes()).collect();
        let url = format!("{}/DownstreamApi/Reports?optionsOverride.RelativePath={path}", estate.entra);
        let told = estate.send("POST", &url, &user, &[], "").await;
        assert_eq!(told.problem().0, 400, "{path}: {told:?}");
    }
    assert!(estate.api.seen().is_empty());
    for (path, target) in
        [("@evil.example/x", "/v1/@evil.example/x"), (".evil.example", "/v1/.evil.example"), (":99", "/v1/:99")]
    {
        let url = format!("{}/DownstreamApi/Reports?optionsOverride.RelativePath={path}", estate.entra);
        assert_eq!(estate.send("POST", &url, &user, &[], "").await.status(), 200);
        assert_eq!(estate.api.seen().last().unwrap().target, target);
    }
}

#[tokio::test]
async fn headers_that_are_not_the_callers_cannot_be_added() {
    let estate = Estate::new().await;
    let user = estate.user(&json!({}));
    for (header, value) in [
        ("Host", "evil.example"),
        ("Authorization", "Bearer mine"),
        ("Connection", "close"),
        ("Transfer-Encoding", "chunked"),
        ("Content-Length", "0"),
        ("X-Forwarded-For", "10.0.0.1"),
        ("X-One", "a%0d%0aHost:%20evil.example"),
        ("X%0d%0aHost", "evil"),
    ] {
        let url =
            format!("{}/DownstreamApi/Billing?optionsOverride.ExtraHeaderParameters.{header}={value}", estate.entra);
        assert_eq!(estate.send("POST", &url, &user, &[], "").await.problem().0, 400, "{header}");
    }
    assert!(estate.api.seen().is_empty());
}

#[tokio::test]
async fn what_is_missing_is_named_in_the_words_of_microsofts_sidecar() {
    let estate = Estate::new().await;
    let user = estate.user(&json!({}));
    let told = estate.get(&format!("{}/AuthorizationHeader/Unknown", estate.entra), &user).await;
    assert_eq!(told.problem(), (400, "Not able to resolve 'Unknown'.".to_owned()));
    let told = estate.get(&format!("{}/AuthorizationHeader/Bare", estate.entra), &user).await;
    let text = "No scopes found for the API 'Bare' or in optionsOverride. 'scopes' needs to be either a single value or a list of values.";
    assert_eq!(told.problem(), (400, text.to_owned()));
    let told = estate.send("POST", &format!("{}/DownstreamApi/Nowhere", estate.entra), &user, &[], "").await;
    assert_eq!(told.problem(), (400, "the API 'Nowhere' has no `BaseUrl`; configure it".to_owned()));
    let told = estate.send("POST", &format!("{}/DownstreamApi/Gone", estate.entra), &user, &[], "").await;
    assert_eq!(told.problem().0, 502);
    for (method, path, status) in [
        ("POST", "/Validate", 405),
        ("GET", "/DownstreamApi/Billing", 405),
        ("GET", "/", 404),
        ("GET", "/validate", 404),
        ("GET", "/AuthorizationHeader/", 404),
        ("GET", "/AuthorizationHeader/a/b", 404),
        ("GET", "/openapi/v1.json", 404),
        ("POST", "/api/v1/token", 404),
    ] {
        assert_eq!(
            estate.send(method, &format!("{}{path}", estate.entra), &user, &[], "").await.status(),
            status,
            "{method} {path}"
        );
    }
}

#[tokio::test]
async fn an_authoritys_refusal_is_a_401_with_all_that_it_said_and_the_challenge_for_the_caller() {
    let estate = Estate::new().await;
    let user = estate.user(&json!({}));
    let url = format!("{}/AuthorizationHeader/Billing", estate.entra);
    let said = json!({
        "error": "interaction_required", "error_description": "AADSTS50076: more", "error_codes": [50076], "suberror": "basic_action",
        "timestamp": "t", "trace_id": "d-1", "correlation_id": "c-1", "error_uri": "https://e", "claims": CLAIMS, "status": 1, "other": [1],
    });
    estate.world.issuer("entra_id").next(Next::answer(400, said.to_string()));
    let told = estate.get(&url, &user).await;
    assert_eq!(told.problem(), (401, "AADSTS50076: more".to_owned()));
    for (name, value) in said.as_object().unwrap().iter().filter(|(name, _)| *name != "status") {
        assert_eq!(&told.json()[name], value, "{name}");
    }
    assert!(told.challenges().iter().any(|one| one.contains(r#"error="insufficient_claims", claims=""#)), "{told:?}");
    assert!(told.challenges().iter().any(|one| one.contains(r#"acr_values="c1""#)), "{told:?}");
    assert!(told.challenges()[0].contains("/t1/oauth2/v2.0/authorize"), "where the user signs in: {told:?}");

    for (code, error) in [(65001, "invalid_grant"), (50105, "invalid_grant"), (7_000_215, "invalid_client")] {
        let estate = Estate::new().await;
        let said = json!({ "error": error, "error_description": "no", "error_codes": [code], "suberror": "s" });
        estate.world.issuer("entra_id").next(Next::answer(400, said.to_string()));
        let told = estate.get(&format!("{}/AuthorizationHeader/Billing", estate.entra), &estate.user(&json!({}))).await;
        assert_eq!(told.problem(), (401, "no".to_owned()), "{code}");
        assert_eq!((&told.json()["error"], &told.json()["error_codes"]), (&json!(error), &json!([code])));
    }
}

#[tokio::test]
async fn a_token_that_no_header_carries_is_the_providers_fault_and_goes_nowhere() {
    let estate = Estate::new().await;
    for token in ["a\r\nX-One: 1", "t\u{f8}ken", "a b", "\0"] {
        for (method, route) in [("GET", "AuthorizationHeader"), ("POST", "DownstreamApi")] {
            let given = json!({ "access_token": token, "token_type": "Bearer", "expires_in": 3600 });
            estate.world.issuer("entra_id").next(Next::answer(200, given.to_string()));
            let url = format!("{}/{route}/Billing", estate.entra);
            let told = estate.send(method, &url, &estate.user(&json!({})), &[], "").await;
            assert_eq!(told.problem().0, 502, "{token:?}: {told:?}");
        }
    }
    assert!(estate.api.seen().is_empty());
}

#[tokio::test]
async fn an_authority_that_cannot_be_reached_is_a_503_that_says_when_to_come_back() {
    for next in [Next::Close, Next::answer(503, r#"{"error":"temporarily_unavailable"}"#), Next::answer(502, "<html>")]
    {
        let estate = Estate::new().await;
        estate.world.issuer("entra_id").next(next.clone());
        estate.world.issuer("entra_id").next(next.clone());
        let told = estate.get(&format!("{}/AuthorizationHeaderUnauthenticated/Billing", estate.entra), "").await;
        assert_eq!(told.problem().0, 503, "{next:?}: {told:?}");
        assert!(told.0.headers["retry-after"].to_str().unwrap().parse::<u64>().unwrap() > 0);
    }
}

#[tokio::test]
async fn a_web_page_and_a_foreign_name_reach_nothing_and_the_probe_needs_neither() {
    let estate = Estate::new().await;
    let url = format!("{}/AuthorizationHeaderUnauthenticated/Billing", estate.entra);
    for header in [
        ("origin", "https://evil.example"),
        ("origin", "null"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-origin"),
        ("host", "evil.example"),
    ] {
        assert_eq!(estate.send("GET", &url, "", &[header], "").await.problem().0, 403, "{header:?}");
        let healthy = estate.send("GET", &format!("{}/healthz", estate.entra), "", &[header], "").await;
        assert_eq!((healthy.status(), healthy.text()), (200, "Healthy".to_owned()));
    }
    assert!(estate.world.issuer("entra_id").asked().is_empty());
}

#[tokio::test]
async fn a_configured_caller_token_is_shown_beside_the_users() {
    let estate = Estate::with("", &[("DEPUTIZE_CALLER_TOKEN", "s3cret")]).await;
    let url = format!("{}/AuthorizationHeader/Billing", estate.entra);
    let user = estate.user(&json!({}));
    for headers in
        [vec![], vec![("x-caller-authorization", "Bearer wrong")], vec![("x-caller-authorization", "s3cret")]]
    {
        assert_eq!(estate.send("GET", &url, &user, &headers, "").await.problem().0, 401, "{headers:?}");
    }
    assert_eq!(estate.send("GET", &url, &user, &[("x-caller-authorization", "Bearer s3cret")], "").await.status(), 200);
}

#[tokio::test]
async fn programs_of_other_machines_reach_the_probe_only() {
    let estate = Estate::new().await;
    let Some(own) = own_address().await else { return };
    let mut issuers = HashMap::new();
    for name in ["entra_id", "tokenx"] {
        issuers.insert(name, Issuer::start(SetClock::at(NOON), jose::Algorithm::ES256).await.unwrap());
    }
    let settings = settings(&issuers, "", &[("ENTRA_BIND_ADDRESS", "0.0.0.0:0")]);
    let bound = Bound::bind(&Bind::parse("0.0.0.0:0").unwrap()).await.unwrap();
    let Some(Bind::Tcp(at)) = bound.address() else { panic!() };
    let mut listeners = Listeners::new();
    let (told, place) = (settings.entra.clone().unwrap(), Bind::Tcp(at));
    listeners.add(bound, None, Arc::new(Entra::new(&estate.world.sidecar, &settings, &told, &place, fetch()).unwrap()));
    let ask = async |host: std::net::IpAddr, path: &str| {
        let mut stream = tokio::net::TcpStream::connect((host, at.port())).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        tokio::io::AsyncWriteExt::write_all(&mut stream, request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        tokio::io::AsyncReadExt::read_to_string(&mut stream, &mut answer).await.unwrap();
        answer.get(9..12).unwrap().to_owned()
    };
    assert_eq!(ask(own, "/AuthorizationHeaderUnauthenticated/Billing").await, "403");
    assert_eq!(ask(own, "/healthz").await, "200");
    assert_eq!(ask([127, 0, 0, 1].into(), "/AuthorizationHeaderUnauthenticated/Unknown").await, "400");
}

#[tokio::test]
async fn a_unix_socket_is_local_and_its_users_are_those_that_are_listed() {
    let estate = Estate::new().await;
    let folder = std::env::temp_dir().join(format!("deputize-entra-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let own = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(&folder).unwrap());
    let bind = Bind::Unix(folder.join("entra.sock"));
    let issuers = &estate.world.issuers;
    for (uids, status) in [(vec![], "200"), (vec![own], "200"), (vec![own + 1], "403")] {
        let file = format!(
            "[callers]\nuids = {uids:?}\n[DownstreamApis.Billing]\nBaseUrl = \"https://b.example\"\nScopes = \"s\""
        );
        let settings = settings(issuers, &file, &[]);
        let mut listeners = Listeners::new();
        let entra = settings.entra.clone().unwrap();
        let api = Entra::new(&estate.world.sidecar, &settings, &entra, &bind, fetch()).unwrap();
        listeners.add(Bound::bind(&bind).await.unwrap(), None, Arc::new(api));
        let mut stream = tokio::net::UnixStream::connect(folder.join("entra.sock")).await.unwrap();
        let request =
            "GET /AuthorizationHeaderUnauthenticated/Billing HTTP/1.1\r\nhost: any\r\nconnection: close\r\n\r\n";
        tokio::io::AsyncWriteExt::write_all(&mut stream, request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        tokio::io::AsyncReadExt::read_to_string(&mut stream, &mut answer).await.unwrap();
        assert_eq!(answer.get(9..12), Some(status), "{uids:?}: {answer}");
        listeners.end(std::time::Duration::from_secs(5)).await;
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

fn read(file: &str, variables: &[(&str, &str)]) -> Result<Settings, SettingsError> {
    let mut file: File = toml::from_str(file).unwrap();
    file.variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let all: HashMap<&str, &str> = variables.iter().copied().collect();
    Settings::read(&|name| all.get(name).map(|value| (*value).to_owned()), Some(file))
}

#[test]
fn it_is_off_until_it_has_an_address_and_its_names_work_in_the_file_and_in_the_environment() {
    let off = read("", &[]).unwrap();
    assert!(off.entra.is_none() && off.native.is_none() && off.identity.is_none());
    let file = r#"
        [entra]
        bind = "127.0.0.1:5000"
        [AzureAd]
        Instance = "https://login.example/"
        TenantId = "t1"
        ClientId = "orders"
        Scopes = "a b"
        ClientCredentials = [{ SourceType = "SignedAssertionFilePath", SignedAssertionFilePath = "/var/run/token" }]
        [DownstreamApis.Billing]
        BaseUrl = "https://billing.example/"
        Scopes = ["api://billing/.default"]
        [Sidecar.AllowOverrides]
        GetAuthorizationHeader = false
    "#;
    let variables = [
        ("ENTRA_BIND_ADDRESS", "127.0.0.1:5000"),
        ("AzureAd__Instance", "https://login.example/"),
        ("azuread__tenantid", "t1"),
        ("AZUREAD__CLIENTID", "orders"),
        ("AzureAd__Scopes", "a b"),
        ("AzureAd__ClientCredentials__0__SourceType", "SignedAssertionFilePath"),
        ("AzureAd__ClientCredentials__0__SignedAssertionFilePath", "/var/run/token"),
        ("DownstreamApis__Billing__BaseUrl", "https://billing.example/"),
        ("DownstreamApis__Billing__Scopes__0", "api://billing/.default"),
        ("Sidecar__AllowOverrides__GetAuthorizationHeader", "False"),
        ("OTHER__THING", "x"),
    ];
    let (by_file, by_variables) = (read(file, &[]).unwrap(), read("", &variables).unwrap());
    assert_eq!(by_file.shown(), by_variables.shown());
    let shown = by_file.shown();
    assert_eq!(
        shown["providers"]["entra_id"]["discovery"],
        "https://login.example/t1/v2.0/.well-known/openid-configuration"
    );
    assert_eq!(shown["providers"]["entra_id"]["credential"]["federated_token_file"], "/var/run/token");
    assert_eq!(shown["inbound"]["scopes"], json!(["a", "b"]));
    assert_eq!(shown["apis"]["Billing"]["scopes"], json!(["api://billing/.default"]));
    assert_eq!(by_file.entra.unwrap().overrides, [EntraRoute::DownstreamApi]);
    // The environment wins.
    let both = read(file, &[("DownstreamApis__billing__BaseUrl", "https://other.example")]).unwrap();
    assert_eq!(both.shown()["apis"]["Billing"]["base_url"], "https://other.example/");
}

#[test]
fn what_cannot_be_meant_is_refused_at_the_start() {
    for (file, variables, told) in [
        ("[Sidecar]\nAllowOutboundRedirects = true", vec![], "redirects are never followed"),
        ("[DownstreamApis.A]\nBaseUrl = \"http://a.example\"", vec![], "tokens are sent over https only"),
        ("[DownstreamApis.A]\nBaseUrl = \"https://a.example?x\"", vec![], "more than a host and a path"),
        ("[DownstreamApis.A]\nBasUrl = \"https://a.example\"", vec![], "nothing has this name here"),
        ("[DownstreamApis.A]\nHttpMethod = \"CONNECT\"", vec![], "this method is not sent"),
        ("[DownstreamApis.A]\nProvider = \"nobody\"", vec![], "there is no such provider"),
        ("[DownstreamApis.A.ExtraHeaderParameters]\nHost = \"evil\"", vec![], "this header is not the API's"),
        ("[AzureAd]\nTenantId = \"t1\"", vec![], "`AzureAd:ClientId` is missing"),
        ("[AzureAd]\nClientId = \"a\"", vec![], "`AzureAd:TenantId` is missing"),
        ("[AzureAd]\nClientId = \"a\"\nTenantId = \"common\"", vec![], "it names no tenant"),
        ("[AzureAd]\nScopes = 1.5", vec![], "is no text"),
        ("[Sidecar.AllowOverrides]\nCallDownstreamApi = \"yes\"", vec![], "neither `true` nor `false`"),
        ("", vec![("NATIVE_BIND_ADDRESS", "0.0.0.0:3003")], "is reached by others"),
        ("", vec![("IDENTITY_BIND_ADDRESS", "127.0.0.1:3004")], "IDENTITY_HEADER"),
        ("", vec![("IDENTITY_BIND_ADDRESS", "0.0.0.0:3004"), ("IDENTITY_HEADER", "x")], "this machine's programs only"),
        ("", vec![("IDENTITY_BIND_ADDRESS", "unix:/run/a"), ("IDENTITY_HEADER", "x")], "this machine's programs only"),
        (
            "",
            vec![("IDENTITY_BIND_ADDRESS", "127.0.0.1:3004"), ("IDENTITY_HEADER", "x")],
            "gives the application no token",
        ),
        ("", vec![("ENTRA_BIND_ADDRESS", "nowhere")], "it is no address"),
        ("[long_running]\nlife_seconds = 59", vec![], "`life_seconds` is out of range"),
        ("[long_running]\nlife_seconds = 7776001", vec![], "`life_seconds` is out of range"),
        ("[long_running]\ndirectory = \"a\"", vec![], "`key` is missing"),
        ("[long_running]\nkey = { env = \"K\" }", vec![("K", "x")], "`directory` is missing"),
        (
            "[long_running]\ndirectory = \"a\"\nkey = { env = \"K\" }",
            vec![("K", "thirty-one characters are short")],
            "could be guessed",
        ),
        (
            "[[provider]]\nname = \"other\"\ndiscovery = \"https://id.example/metadata\"\nclient_id = \"me\"\n\
             secret = { env = \"S\" }\nexchange = \"on-behalf-of\"\n[native]\nprovider = \"other\"",
            vec![("NATIVE_BIND_ADDRESS", "127.0.0.1:0"), ("S", "x")],
            "nothing says who issues users' tokens",
        ),
        (
            "",
            vec![
                ("AzureAd__ClientId", "a"),
                ("AzureAd__TenantId", "t"),
                ("AzureAd__ClientCredentials__0__SourceType", "KeyVault"),
            ],
            "this source is not served",
        ),
    ] {
        let error = read(file, &variables).unwrap_err().to_string();
        assert!(error.contains(told), "{file} {variables:?}: {error}");
    }
}
