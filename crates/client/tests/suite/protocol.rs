//! What is sent, and how answers are read.
use crate::support::{Authority, Hands, NOON, build, issued, orders};
use client::{AgentUser, Ask, AuthorizationRequest, Error, GrantProfile, Scheme};
use http::Response;
use oauth::challenge::encode_claims;
use oauth::{Form, Secret};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};

type Seen = Arc<Mutex<Vec<(String, String)>>>;

fn recording(answer: (u16, Value)) -> (Arc<Authority>, Seen) {
    let seen = Seen::default();
    let keep = Arc::clone(&seen);
    let authority = Authority::new(move |url, form| {
        *keep.lock().unwrap() = form.iter().chain([("url", url)]).map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
        answer.clone()
    });
    (authority, seen)
}

fn sorted(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    let mut pairs: Vec<_> = pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    pairs.sort();
    pairs
}

#[tokio::test]
async fn on_behalf_of_is_sent_as_entra_documents_it() {
    let (authority, seen) = recording(issued("t", 3600));
    let client = build(orders(), &authority, &Hands::at(NOON));
    let scopes = ["openid", "api://billing/Invoices.Read"];
    client.on_behalf_of(&Secret::new("the-assertion"), &scopes, Some("{\"access_token\":{}}")).await.unwrap();
    let mut seen = seen.lock().unwrap().clone();
    seen.sort();
    let expected = [
        ("url", "https://login.example/contoso/oauth2/v2.0/token"),
        ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
        ("requested_token_use", "on_behalf_of"),
        ("assertion", "the-assertion"),
        ("scope", "api://billing/Invoices.Read openid"),
        ("claims", "{\"access_token\":{}}"),
        ("client_id", "orders"),
        ("client_secret", "s3cret"),
    ];
    assert_eq!(seen, sorted(&expected));
}

#[tokio::test]
async fn a_token_is_bound_to_a_key_as_entra_documents_it_or_is_none() {
    const CONFIRMATION: &str = "eyJraWQiOiJrZXkifQ";
    let (authority, seen) = recording((200, json!({"token_type": "PoP", "expires_in": 3600, "access_token": "t"})));
    let client = build(orders(), &authority, &Hands::at(NOON));
    let ask = Ask::application("api://billing/.default");
    let token = client.ask(&ask.bound_to(CONFIRMATION)).await.unwrap().token;
    assert_eq!((token.scheme, token.scheme.as_str()), (Scheme::Pop, "pop"));
    let seen =
        |name: &str| seen.lock().unwrap().iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
    assert_eq!((seen("token_type").as_deref(), seen("req_cnf").as_deref()), (Some("pop"), Some(CONFIRMATION)));
    // Nobody else gets it: not for another key, and not as a bearer token.
    for (ask, calls) in [(ask.bound_to(CONFIRMATION), 1), (ask.bound_to("eyJraWQiOiJvdGhlciJ9"), 2)] {
        client.ask(&ask).await.unwrap();
        assert_eq!(authority.calls(), calls);
    }
    assert_eq!(client.ask(&ask).await.map(|_| ()), Err(Error::Answer("the token is not a bearer token")));

    let (authority, _) = recording(issued("stolen as easily as used", 3600));
    let client = build(orders(), &authority, &Hands::at(NOON));
    let downgraded = client.ask(&ask.bound_to(CONFIRMATION)).await.map(|_| ());
    assert_eq!(downgraded, Err(Error::Answer("the token is not bound to the key")));
    for profile in [GrantProfile::TokenExchange, GrantProfile::ClientCredentials] {
        let other = build(orders().profile(profile), &authority, &Hands::at(NOON));
        let refused = other.ask(&ask.bound_to(CONFIRMATION)).await;
        assert!(matches!(refused, Err(Error::Request(_))), "{profile:?}");
    }
}

#[tokio::test]
async fn an_agents_user_is_sent_as_entra_documents_it_and_is_nobody_else() {
    let (authority, seen) = recording(issued("t", 3600));
    let client = build(orders(), &authority, &Hands::at(NOON));
    let (credential, scope) = (Secret::new("the agent's own"), "https://graph.microsoft.com/.default");
    let name = AgentUser::Name("agent@contoso.example");
    client.ask(&Ask::agent_user(name, &credential, scope)).await.unwrap();
    let mut sent = seen.lock().unwrap().clone();
    sent.sort();
    let expected = [
        ("url", "https://login.example/contoso/oauth2/v2.0/token"),
        ("grant_type", "user_fic"),
        ("user_federated_identity_credential", "the agent's own"),
        ("username", "agent@contoso.example"),
        ("scope", scope),
        ("client_id", "orders"),
        ("client_secret", "s3cret"),
    ];
    assert_eq!(sent, sorted(&expected));
    for (user, calls) in [
        (name, 1),
        (AgentUser::Name("other@contoso.example"), 2),
        // The same text, but it names another.
        (AgentUser::Id("agent@contoso.example"), 3),
        (AgentUser::Id("agent@contoso.example"), 3),
    ] {
        client.ask(&Ask::agent_user(user, &credential, scope)).await.unwrap();
        assert_eq!(authority.calls(), calls, "{user:?}");
    }
    assert_eq!(seen.lock().unwrap().iter().find(|(name, _)| name == "user_id").unwrap().1, "agent@contoso.example");
    let other = build(orders().profile(GrantProfile::TokenExchange), &authority, &Hands::at(NOON));
    assert!(matches!(other.ask(&Ask::agent_user(name, &credential, scope)).await, Err(Error::Request(_))));
}

/// Answers every token request, and keeps the trace context that came with it.
#[derive(Default)]
struct Traced(Mutex<Vec<Vec<(String, String)>>>);

impl client::Transport for Traced {
    fn send(&self, request: http::Request<client::Body>) -> client::Sending<'_> {
        let traces = request.headers().iter().filter(|(name, _)| name.as_str().starts_with("trace"));
        let traces = traces.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect();
        let mut seen = self.0.lock().unwrap();
        seen.push(traces);
        let (status, body) = issued(&format!("t{}", seen.len()), 3600);
        let answer = Response::builder().status(status).body(body.to_string().into_bytes());
        Box::pin(async { Ok(answer.unwrap()) })
    }
}

#[tokio::test]
async fn the_trace_of_the_request_that_is_answered_goes_along_and_changes_no_cache() {
    let authority = Arc::new(Traced::default());
    let client =
        orders().build(Arc::clone(&authority) as _, Hands::at(NOON), Arc::new(|bytes: &mut [u8]| bytes.fill(7)));
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let inbound =
        http::Request::get("/").header("traceparent", parent).header("tracestate", "a=1").header("x-other", "1");
    let inside = client.in_trace(inbound.body(()).unwrap().headers());
    let user = Secret::new("the-assertion");
    let first = inside.on_behalf_of(&user, &["api://billing/Invoices.Read"], None).await.unwrap();
    inside.client_credentials("api://billing/.default").await.unwrap();
    let again = client.on_behalf_of(&user, &["api://billing/Invoices.Read"], None).await.unwrap();
    assert_eq!(first.access_token, again.access_token, "from the cache, whatever the trace");
    client.client_credentials("api://other/.default").await.unwrap();
    let context = vec![("traceparent".to_owned(), parent.to_owned()), ("tracestate".to_owned(), "a=1".to_owned())];
    assert_eq!(*authority.0.lock().unwrap(), [context.clone(), context, Vec::new()]);
}

/// Instrumented applications pass on what strangers send them: no authority is to refuse a request for it.
#[tokio::test]
async fn what_is_no_trace_context_or_longer_than_one_goes_no_further() {
    let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let later = format!("01{}-{}", &good[2..], "x".repeat(200));
    let [longest, longer] = [507, 508].map(|length| format!("one={}", "x".repeat(length + 1)));
    let two = [format!("one={}", "x".repeat(300)), format!("two={}", "x".repeat(300))];
    let parent = |text: &str| vec![("traceparent".to_owned(), text.to_owned())];
    let state = |text: &str| vec![("tracestate".to_owned(), text.to_owned())];
    for (parents, states, expected) in [
        (vec![good], vec![longest.as_str()], [parent(good), state(&longest)].concat()),
        (vec![good], vec![longer.as_str()], parent(good)),
        (vec![good], vec![two[0].as_str(), &two[1]], parent(good)),
        (vec![good], vec!["a=1", "b=2"], [parent(good), state("a=1"), state("b=2")].concat()),
        (vec![later.as_str()], vec![], parent(&later)),
        (vec![&"01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-".repeat(9)], vec!["a=1"], vec![]),
        (vec![good, good], vec!["a=1"], vec![]),
        (vec![], vec!["a=1"], vec![]),
        (vec![""], vec!["a=1"], vec![]),
        (vec![&good[..54]], vec![], vec![]),
        (vec![&good[3..]], vec![], vec![]),
        (vec!["00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01"], vec![], vec![]),
        (vec!["00-00000000000000000000000000000000-00f067aa0ba902b7-01"], vec![], vec![]),
        (vec!["00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01"], vec![], vec![]),
        (vec!["ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"], vec![], vec![]),
        (vec!["00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more"], vec![], vec![]),
        (vec!["00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-+1"], vec![], vec![]),
        (vec![&"x".repeat(100_000)], vec![&"x".repeat(100_000)], vec![]),
    ] {
        let authority = Arc::new(Traced::default());
        let random = Arc::new(|bytes: &mut [u8]| bytes.fill(7));
        let client = orders().build(Arc::clone(&authority) as _, Hands::at(NOON), random);
        let mut inbound = http::HeaderMap::new();
        for (name, values) in [("traceparent", &parents), ("tracestate", &states)] {
            for value in values {
                inbound.append(name, value.parse().unwrap());
            }
        }
        inbound.insert("baggage", "x=1".parse().unwrap());
        client.in_trace(&inbound).client_credentials("api://billing/.default").await.unwrap();
        assert_eq!(*authority.0.lock().unwrap(), [expected], "{parents:?} {states:?}");
    }
}

#[tokio::test]
async fn refusals_are_sorted_by_who_can_act() {
    let challenge = r#"{"access_token":{"acrs":{"essential":true,"value":"c1"}}}"#;
    let ask = |status: u16, body: Value| async move {
        let (authority, _) = recording((status, body));
        build(orders(), &authority, &Hands::at(NOON)).client_credentials("api://billing/.default").await.unwrap_err()
    };
    let Error::ClaimsChallenge { claims, body, .. } =
        ask(400, json!({"error": "interaction_required", "claims": challenge, "error_codes": [50076]})).await
    else {
        panic!("a claims challenge");
    };
    assert_eq!((claims.as_str(), body.error_codes.as_slice()), (challenge, &[50076][..]));
    for body in [
        json!({"error": "invalid_grant", "suberror": "consent_required"}),
        json!({"error": "invalid_grant", "error_codes": [65001]}),
        json!({"error": "consent_required"}),
    ] {
        assert!(matches!(ask(400, body).await, Error::Consent { .. }));
    }
    // `claims` that are no JSON object cannot be passed on in a header.
    assert!(matches!(ask(400, json!({"error": "x", "claims": "\r\nSet-Cookie: a"})).await, Error::Refused { .. }));
    assert!(matches!(ask(401, json!({"error": "invalid_client"})).await, Error::Refused { status: 401, .. }));
    for status in [503, 404] {
        assert_eq!(ask(status, json!("<html>")).await, Error::Unreadable { status, retry_after: None });
    }
    assert_eq!(ask(302, json!(null)).await, Error::Unreachable(client::Cause::Redirect.into()));
    for nonsense in [
        json!({}),
        json!({"token_type": "DPoP", "access_token": "t", "expires_in": 1}),
        json!({"token_type": "Bearer", "access_token": "", "expires_in": 1}),
        json!({"token_type": "Bearer", "access_token": "t", "expires_in": "soon"}),
        json!([1]),
    ] {
        assert!(matches!(ask(200, nonsense).await, Error::Answer(_)));
    }
}

#[tokio::test]
async fn lifetimes_written_as_text_are_read_and_missing_ones_are_never_kept() {
    let (authority, _) = recording((200, json!({"token_type": "bearer", "access_token": "t", "expires_in": "3599"})));
    let client = build(orders(), &authority, &Hands::at(NOON));
    assert_eq!(client.client_credentials("a/.default").await.unwrap().expires_at.0, NOON + 3599);
    let (authority, _) = recording((200, json!({"token_type": "Bearer", "access_token": "t"})));
    let client = build(orders(), &authority, &Hands::at(NOON));
    for calls in 1..3 {
        client.client_credentials("a/.default").await.unwrap();
        assert_eq!(authority.calls(), calls);
    }
}

#[tokio::test]
async fn a_scope_that_would_break_the_parameter_is_refused_here() {
    let (authority, _) = recording(issued("t", 1));
    let client = build(orders(), &authority, &Hands::at(NOON));
    assert!(matches!(client.client_credentials("a\"b").await, Err(Error::Request(_))));
    assert_eq!(authority.calls(), 0);
}

fn asked(url: &str) -> Form {
    Form::decode(url.split_once('?').unwrap().1.as_bytes()).unwrap()
}

const BACK: AuthorizationRequest<'_> = AuthorizationRequest {
    redirect_uri: "http://localhost:8400/callback",
    scopes: &["api://orders/access_as_user"],
    prompt: None,
    login_hint: None,
    claims: None,
};

#[tokio::test]
async fn a_code_is_redeemed_with_the_verifier_of_its_challenge() {
    use base64::Engine;
    use sha2::Digest;
    let (authority, seen) = recording(issued("t", 3600));
    let client = build(orders(), &authority, &Hands::at(NOON));
    let (url, pending) = client.authorization_code_url(BACK).unwrap();
    let question = asked(&url);
    assert!(url.starts_with("https://login.example/contoso/oauth2/v2.0/authorize?"));
    assert_eq!(question.value("code_challenge_method"), Some("S256"));
    assert_eq!(question.value("nonce"), None, "no ID token was asked for");
    let answer = Form::default().with("code", "the-code").with("state", question.value("state").unwrap());
    let signed_in = client.redeem_code(pending, &answer).await.unwrap();
    assert_eq!((signed_in.token.access_token.expose(), signed_in.identity), ("t", None));
    let seen = seen.lock().unwrap();
    let sent = |name: &str| seen.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str()).unwrap();
    let challenge =
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(sha2::Sha256::digest(sent("code_verifier")));
    assert_eq!(question.value("code_challenge"), Some(challenge.as_str()));
    assert_eq!(sent("redirect_uri"), BACK.redirect_uri);
    let (again, _) = client.authorization_code_url(BACK).unwrap();
    assert_ne!(asked(&again).value("state"), question.value("state"));
}

#[tokio::test]
async fn answers_that_are_not_to_our_question_are_refused_before_anything_is_sent() {
    let (authority, _) = recording(issued("t", 3600));
    let client = build(orders(), &authority, &Hands::at(NOON));
    let (url, pending) = client.authorization_code_url(BACK).unwrap();
    let state = asked(&url).value("state").unwrap().to_owned();
    let base = || Form::default().with("code", "c");
    let hostile = [
        base(),
        base().with("state", ""),
        base().with("state", "guess"),
        base().with("state", &state).with("iss", "https://login.example/other/v2.0"),
        Form::default().with("state", &state),
        // An error injected by somebody else must not be shown as the authority's.
        Form::default().with("error", "access_denied").with("state", "guess"),
    ];
    for answer in hostile {
        assert!(matches!(client.redeem_code(pending.clone(), &answer).await, Err(Error::NotOurs(_))));
    }
    let refused = Form::default().with("error", "access_denied").with("state", &state);
    assert!(matches!(client.redeem_code(pending.clone(), &refused).await, Err(Error::Refused { .. })));
    assert_eq!(authority.calls(), 0);
    let good = base().with("state", &state).with("iss", "https://login.example/contoso/v2.0");
    assert!(client.redeem_code(pending, &good).await.is_ok());
}

#[test]
fn challenges_of_other_apis_are_read_in_all_their_forms() {
    let challenge = |status: u16, headers: &[&str]| {
        let answer = headers.iter().fold(Response::builder().status(status), |a, h| a.header("www-authenticate", *h));
        client::challenge_in(&answer.body(()).unwrap())
    };
    let json = r#"{"access_token":{"acrs":{"essential":true,"value":"c1"}}}"#;
    let entra = format!(r#"Bearer realm="", error="insufficient_claims", claims="{}""#, encode_claims(json));
    let rfc9470 = r#"Bearer error="insufficient_user_authentication", acr_values="c2 c3""#;
    let wanted = Some(Error::Challenged { claims: json.to_owned() });
    assert_eq!(challenge(401, &[&entra]), wanted);
    assert_eq!(challenge(401, &[rfc9470, &entra]), wanted, "the claims say more");
    assert_eq!(challenge(401, &["Negotiate, \"broken", &entra]), wanted);
    let several = r#"{"access_token":{"acrs":{"essential":true,"values":["c2","c3"]}}}"#;
    assert_eq!(challenge(401, &[rfc9470]), Some(Error::Challenged { claims: several.to_owned() }));
    let web =
        r#"Bearer consentUri="https://login.example/consent", claims="", scopes="api://x/y", proposedAction="consent""#;
    let Some(Error::Consent { body, .. }) = challenge(403, &[web]) else { panic!("consent is missing") };
    assert_eq!(body.error_uri.as_deref(), Some("https://login.example/consent"));
    for (status, header) in [
        (200, entra.as_str()),
        (500, entra.as_str()),
        (401, "Bearer"),
        (401, r#"Bearer error="invalid_token""#),
        (401, r#"Bearer error="insufficient_claims", claims="e30"#),
        (401, r#"Bearer error="insufficient_claims", claims="W10=""#),
        (401, r#"DPoP error="insufficient_claims", claims="e30=""#),
        (401, r#"Bearer error="insufficient_user_authentication", acr_values=" ""#),
        (403, r#"Bearer error="insufficient_scope", scope="a""#),
    ] {
        assert_eq!(challenge(status, &[header]), None, "{status} {header}");
    }
}
