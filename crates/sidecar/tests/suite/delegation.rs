//! Overrides of Microsoft's sidecar that say whose token it is: work that outlives its request, tokens bound to a key, and users
//! that agents are (section 5).
use crate::facades::{Estate, Told};
use crate::support::claims;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use testkit::Next;

const OPEN: [(&str, &str); 2] = [
    ("Sidecar__AllowOverrides__GetAuthorizationHeaderUnauthenticated", "true"),
    ("Sidecar__AllowOverrides__CallDownstreamApiUnauthenticated", "true"),
];
const KEY: &str = "optionsOverride.AcquireTokenOptions.LongRunningWebApiSessionKey";
const POP: &str = "optionsOverride.AcquireTokenOptions.PopPublicKey";
const ID: &str = "0c1b6d0e-4a6d-4d0b-8a52-1f0c5a0f2f77";

/// The header's scheme, and the token's claims.
fn header(told: &Told) -> (String, Value) {
    assert_eq!(told.status(), 200, "{told:?}");
    let header = told.json()["authorizationHeader"].as_str().unwrap().to_owned();
    let (scheme, token) = header.split_once(' ').unwrap();
    (scheme.to_owned(), claims(token))
}

impl Estate {
    fn at(&self, route: &str, query: &str) -> String {
        format!("{}/{route}/Billing?{query}", self.entra)
    }

    /// A header for a user.
    async fn for_user(&self, user: &str, query: &str) -> Told {
        self.get(&self.at("AuthorizationHeader", query), user).await
    }

    /// A header for whoever asks.
    async fn for_nobody(&self, query: &str) -> Told {
        self.get(&self.at("AuthorizationHeaderUnauthenticated", query), "").await
    }

    fn fields(&self, names: [&str; 3]) -> Vec<[Option<String>; 3]> {
        let asked = self.world.issuer("entra_id").asked();
        asked.iter().map(|asked| names.map(|name| asked.field(name).map(str::to_owned))).collect()
    }
}

async fn allocated(estate: &Estate, user: &str) -> String {
    let told = estate.for_user(user, &format!("{KEY}=AllocateForMe")).await;
    assert_eq!(header(&told).0, "Bearer");
    told.json()["longRunningWebApiSessionKey"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn work_goes_on_under_its_key_when_the_users_token_has_ended_and_ends_at_its_time() {
    let estate = Estate::with("", &OPEN).await;
    let user = estate.user(&json!({}));
    let key = allocated(&estate, &user).await;
    assert_eq!(key.len(), 43, "256 bits, unguessable");
    for _ in 0..2 {
        let (scheme, token) = header(&estate.for_nobody(&format!("{KEY}={key}")).await);
        assert_eq!((scheme.as_str(), &token["sub"]), ("Bearer", &json!("ada")));
    }
    let scope = "api://billing/.default";
    let lasting = format!("{scope} offline_access");
    let some = |text: &str| Some(text.to_owned());
    let expected = [
        [some("urn:ietf:params:oauth:grant-type:jwt-bearer"), some(&lasting), Some(user.clone())],
        [some("refresh_token"), some(scope), None],
    ];
    assert_eq!(estate.fields(["grant_type", "scope", "assertion"]), expected, "and then it is held");

    // The user's token has ended; the work calls an API.
    estate.world.clock.advance(8 * 3_600);
    assert_eq!(estate.for_user(&user, "").await.problem().0, 401);
    let url = estate.at("DownstreamApiUnauthenticated", &format!("{KEY}={key}"));
    let told = estate.send("POST", &url, "", &[], "").await;
    assert_eq!(told.json()["statusCode"], 200, "{told:?}");
    assert_eq!(claims(&estate.api.seen()[0].token())["sub"], "ada");
    assert_eq!(told.json()["longRunningWebApiSessionKey"], Value::Null, "told once, to the one who began");

    estate.world.clock.advance(16 * 3_600);
    let ended = estate.for_nobody(&format!("{KEY}={key}")).await;
    let text = "there is no work with this session key, or it has ended; begin it with the user's token";
    assert_eq!((ended.problem(), ended.challenges()), ((401, text.to_owned()), vec!["Bearer".to_owned()]));
}

#[tokio::test]
async fn a_key_of_ones_own_is_renewed_by_its_user_and_reaches_other_apis() {
    let estate = Estate::with("", &OPEN).await;
    let query = format!("{KEY}=d9b1c2f0-5a3e-4d4e-8a52-1f0c5a0f2f77");
    let begun = estate.for_user(&estate.user(&json!({})), &query).await;
    assert_eq!(header(&begun).1["sub"], "ada");
    assert_eq!(begun.json()["longRunningWebApiSessionKey"], Value::Null, "the caller has it");
    estate.world.clock.advance(3_000);
    header(&estate.for_user(&estate.user(&json!({ "uti": "signed in again", "exp": 1_800_007_200 })), &query).await);
    let other = format!("{query}&optionsOverride.Scopes=api://reports/.default");
    assert_eq!(header(&estate.for_nobody(&other).await).1["aud"], "api://reports/.default");
    // By the call of an API, too.
    let url = estate.at("DownstreamApi", &format!("{KEY}=AllocateForMe"));
    let told = estate.send("POST", &url, &estate.user(&json!({ "exp": 1_800_007_200 })), &[], "").await;
    let key = told.json()["longRunningWebApiSessionKey"].as_str().unwrap().to_owned();
    assert_eq!(header(&estate.for_nobody(&format!("{KEY}={key}")).await).1["sub"], "ada");
}

#[tokio::test]
async fn a_session_is_reached_by_nobody_who_does_not_have_its_key_and_by_no_other_user_or_agent() {
    let estate = Estate::with("", &OPEN).await;
    let (ada, bob) = (estate.user(&json!({})), estate.user(&json!({ "sub": "bob", "oid": "bob" })));
    let (key, other) = (allocated(&estate, &ada).await, allocated(&estate, &ada).await);
    assert_ne!(key, other);
    let asked = estate.world.issuer("entra_id").asked().len();

    let taken = estate.for_user(&bob, &format!("{KEY}={key}")).await;
    let text = "the session key belongs to another user's work; use another key";
    assert_eq!(taken.problem(), (403, text.to_owned()));
    let mut guess = key.clone().into_bytes();
    guess[0] = if guess[0] == b'A' { b'B' } else { b'A' };
    for wrong in [String::from_utf8(guess).unwrap(), key.to_ascii_uppercase(), format!("{key}A"), key[1..].to_owned()] {
        assert_eq!(estate.for_nobody(&format!("{KEY}={wrong}")).await.problem().0, 401, "{wrong}");
    }
    // An agent is another application.
    assert_eq!(estate.for_nobody(&format!("{KEY}={key}&AgentIdentity=agent-1")).await.problem().0, 401);
    for (query, hint) in [
        (format!("{KEY}=job-1"), "nobody may guess it"),
        (format!("{KEY}="), "nobody may guess it"),
        (format!("{KEY}={key}&optionsOverride.RequestAppToken=true"), "is that of the user who called"),
        (format!("{KEY}={key}&AgentIdentity=a&AgentUsername=a@b.example"), "is that of the user who called"),
        (format!("{KEY}={key}&optionsOverride.AcquireTokenOptions.FmiPath=p"), "`FmiPath` is for the application's"),
        (format!("{KEY}=AllocateForMe"), "begins with a user's token"),
    ] {
        let (status, text) = estate.for_nobody(&query).await.problem();
        assert!(status == 400 && text.contains(hint) && !text.contains(&key), "{query}: {text}");
    }
    let far = format!("{}/AuthorizationHeader/Far?{KEY}={key}", estate.entra);
    let (status, text) = estate.get(&far, &ada).await.problem();
    assert!(status == 400 && text.contains("are Entra's"), "another provider has none: {text}");
    let (signed, signature) = ada.rsplit_once('.').unwrap();
    let forged = format!("{signed}.{}{}", if signature.starts_with('A') { 'B' } else { 'A' }, &signature[1..]);
    for token in [forged.as_str(), &estate.user(&json!({ "aud": "api://another" }))] {
        assert_eq!(estate.for_user(token, &format!("{KEY}=AllocateForMe")).await.problem().0, 401);
    }
    assert_eq!(estate.world.issuer("entra_id").asked().len(), asked, "nobody was asked for any of it");
    // Untouched by all that.
    assert_eq!(header(&estate.for_nobody(&format!("{KEY}={key}")).await).1["sub"], "ada");

    // Where overrides are not allowed, a key opens nothing.
    let closed = Estate::new().await;
    let key = allocated(&closed, &closed.user(&json!({}))).await;
    let refused = closed.for_nobody(&format!("{KEY}={key}")).await.problem();
    assert!(refused.0 == 400 && refused.1.contains("GetAuthorizationHeaderUnauthenticated"), "{refused:?}");
}

#[tokio::test]
async fn an_agent_has_sessions_of_its_own() {
    let estate = Estate::with("", &OPEN).await;
    let user = estate.user(&json!({}));
    let told = estate.for_user(&user, &format!("{KEY}=AllocateForMe&AgentIdentity=agent-1")).await;
    let key = told.json()["longRunningWebApiSessionKey"].as_str().unwrap().to_owned();
    let asked = async |agent: &str| estate.for_nobody(&format!("{KEY}={key}{agent}")).await;
    assert_eq!(header(&asked("&AgentIdentity=agent-1").await).1["sub"], "ada");
    let last = estate.fields(["grant_type", "client_id", "client_secret"]).pop().unwrap();
    assert_eq!((last[0].as_deref(), last[1].as_deref()), (Some("refresh_token"), Some("agent-1")));
    for other in ["", "&AgentIdentity=agent-2"] {
        assert_eq!(asked(other).await.problem().0, 401, "{other}");
    }
}

#[tokio::test]
async fn the_authority_ends_work_and_asks_for_the_user_as_ever() {
    let estate = Estate::with("", &OPEN).await;
    let issuer = estate.world.issuer("entra_id");
    let key = allocated(&estate, &estate.user(&json!({}))).await;
    let claims = r#"{"access_token":{"acrs":{"essential":true,"value":"c1"}}}"#;
    for (said, challenge) in [
        (json!({ "error": "invalid_grant", "error_description": "AADSTS50173: revoked" }), r#"error="invalid_token""#),
        (json!({ "error": "interaction_required", "claims": claims }), r#"error="insufficient_claims""#),
    ] {
        issuer.next(Next::answer(400, said.to_string()));
        let told = estate.for_nobody(&format!("{KEY}={key}")).await;
        assert_eq!((told.problem().0, &told.json()["error"]), (401, &said["error"]));
        assert!(told.challenges().iter().any(|one| one.contains(challenge)), "{told:?}");
    }
    // What the user then did is asked for.
    let encoded: String = url::form_urlencoded::byte_serialize(claims.as_bytes()).collect();
    let query = format!("{KEY}={key}&optionsOverride.AcquireTokenOptions.Claims={encoded}");
    header(&estate.for_nobody(&query).await);
    assert_eq!(issuer.asked().last().unwrap().field("claims"), Some(claims));
    // An authority that gives nothing lasting keeps work from beginning.
    issuer.next(Next::answer(
        200,
        json!({ "access_token": "t", "token_type": "Bearer", "expires_in": 3600 }).to_string(),
    ));
    let told = estate.for_user(&estate.user(&json!({})), &format!("{KEY}=AllocateForMe")).await.problem();
    assert!(told.0 == 403 && told.1.contains("offline_access"), "{told:?}");
}

/// What an API demands of one user's token is asked for with that user's, and with nobody else's.
#[tokio::test]
async fn an_api_that_wants_a_stronger_token_gets_one_in_a_session_and_of_an_agents_user() {
    let estate = Estate::with("", &OPEN).await;
    let (user, issuer) = (estate.user(&json!({})), estate.world.issuer("entra_id"));
    let claims = r#"{"access_token":{"acrs":{"essential":true,"value":"c1"}}}"#;
    let encoded = base64::engine::general_purpose::STANDARD.encode(claims);
    let challenge = format!(r#"Bearer error="insufficient_claims", claims="{encoded}""#);
    let (one, other) = (allocated(&estate, &user).await, allocated(&estate, &user).await);
    let agents = |user: &str| format!("AgentIdentity=agent-1&{user}");
    for (first, second) in [
        (format!("{KEY}={one}"), format!("{KEY}={other}")),
        (agents("AgentUsername=a@b.example"), agents("AgentUsername=c@b.example")),
    ] {
        estate.api.next(401, &[("www-authenticate", &challenge)], "");
        let call = async |query: &str| {
            let told = estate.send("POST", &estate.at("DownstreamApiUnauthenticated", query), "", &[], "").await;
            assert_eq!(told.json()["statusCode"], 200, "{told:?}");
            issuer.asked().iter().filter(|asked| asked.field("claims") == Some(claims)).count()
        };
        let before = issuer.asked().iter().filter(|asked| asked.field("claims").is_some()).count();
        assert_eq!(call(&first).await, before + 1, "asked for once");
        let (seen, calls) = (estate.api.seen().len(), issuer.asked().len());
        assert_eq!(call(&first).await, before + 1);
        assert_eq!((estate.api.seen().len(), issuer.asked().len()), (seen + 1, calls), "the next begins with it");
        assert_eq!(call(&second).await, before + 1, "another's does not");
    }
}

#[tokio::test]
async fn sessions_keep_to_their_bytes_and_lie_sealed_where_the_file_says() {
    let estate = Estate::with("[long_running]\nbytes = 700\nlife_seconds = 600", &OPEN).await;
    let user = estate.user(&json!({}));
    let key = allocated(&estate, &user).await;
    let (status, text) = estate.for_user(&user, &format!("{KEY}=AllocateForMe")).await.problem();
    assert!(status == 503 && text.contains("no more sessions"), "{text}");
    header(&estate.for_nobody(&format!("{KEY}={key}")).await);
    estate.world.clock.advance(600);
    allocated(&estate, &user).await;

    let directory = std::env::temp_dir().join(format!("deputize-sidecar-sessions-{}", std::process::id()));
    let file = format!("[long_running]\ndirectory = {directory:?}\nkey = {{ env = \"SESSIONS\" }}");
    let secret = "canary of 32 characters and more";
    let estate = Estate::with(&file, &[OPEN[0], ("SESSIONS", secret)]).await;
    let key = allocated(&estate, &estate.user(&json!({}))).await;
    header(&estate.for_nobody(&format!("{KEY}={key}")).await);
    let files: Vec<_> = std::fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    let text = std::fs::read_to_string(&files[0]).unwrap() + files[0].to_str().unwrap();
    assert_eq!(files.len(), 1);
    for canary in ["ada", "kept back", "canary", key.as_str()] {
        assert!(!text.contains(canary), "{canary}: {text}");
    }
    std::fs::remove_dir_all(&directory).unwrap();
}

#[tokio::test]
async fn whoever_has_the_key_ends_the_work_and_nobody_elses() {
    let estate = Estate::with("", &OPEN).await;
    let user = estate.user(&json!({}));
    let (one, other) = (allocated(&estate, &user).await, allocated(&estate, &user).await);
    let told = estate.for_user(&user, &format!("{KEY}=AllocateForMe&AgentIdentity=agent-1")).await;
    let agents = told.json()["longRunningWebApiSessionKey"].as_str().unwrap().to_owned();
    for query in [format!("{KEY}={one}"), format!("{KEY}={other}"), format!("{KEY}={agents}&AgentIdentity=agent-1")] {
        header(&estate.for_nobody(&query).await);
    }
    let asked = estate.world.issuer("entra_id").asked().len();
    let end =
        async |body: Value| estate.send("POST", &format!("{}/end", estate.native), "", &[], &body.to_string()).await;
    for (body, status) in [
        (json!({ "api": "Billing", "session_key": "k".repeat(43) }), 204),
        (json!({ "api": "Billing", "session_key": agents }), 204),
        (json!({ "api": "Nobody", "session_key": one }), 404),
        (json!({ "api": "Far", "session_key": one }), 400),
        (json!({ "api": "Billing", "session_key": "short" }), 400),
        (json!({ "api": "Billing", "session_key": "AllocateForMe" }), 400),
        (json!({ "api": "Billing", "session_key": one, "agent": "../x" }), 400),
        (json!({ "api": "Billing" }), 400),
        (json!({ "session_key": one }), 400),
        (json!([]), 400),
    ] {
        let told = end(body.clone()).await;
        assert_eq!(told.status(), status, "{body}: {told:?}");
        assert!(!told.text().contains(&one), "{told:?}");
    }
    let foreign = [("origin", "https://evil.example")];
    let body = json!({ "api": "Billing", "session_key": one }).to_string();
    assert_eq!(estate.send("POST", &format!("{}/end", estate.native), "", &foreign, &body).await.problem().0, 403);
    assert_eq!(estate.get(&format!("{}/end", estate.native), "").await.status(), 405);
    // All of them go on.
    for query in [format!("{KEY}={one}"), format!("{KEY}={agents}&AgentIdentity=agent-1")] {
        header(&estate.for_nobody(&query).await);
    }
    let own = json!({ "api": "billing", "session_key": agents, "agent": "agent-1" });
    for body in [json!({ "api": "Billing", "session_key": one }), own] {
        assert_eq!(end(body).await.status(), 204);
    }
    for query in [format!("{KEY}={one}"), format!("{KEY}={agents}&AgentIdentity=agent-1")] {
        assert_eq!(estate.for_nobody(&query).await.problem().0, 401, "what was held is gone too");
    }
    header(&estate.for_nobody(&format!("{KEY}={other}")).await);
    // What was held under the agent's key was forgotten when somebody named the key without the agent; its work went on.
    assert_eq!(estate.world.issuer("entra_id").asked().len(), asked + 1);
}

fn confirmation(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(text)
}

#[tokio::test]
async fn a_token_is_bound_to_the_key_that_the_caller_names() {
    let estate = Estate::new().await;
    let user = estate.user(&json!({}));
    let [one, other] = [r#"{"kid":"one"}"#, r#"{"kid":"other"}"#].map(confirmation);
    let app = "optionsOverride.RequestAppToken=true";
    // As Microsoft's sidecar answers for the application; and for the user, too.
    for (query, subject) in [(format!("{POP}={one}&{app}"), "default"), (format!("{POP}={one}"), "ada")] {
        let (scheme, token) = header(&estate.for_user(&user, &query).await);
        assert_eq!((scheme.as_str(), &token["cnf"], &token["sub"]), ("pop", &json!(one), &json!(subject)));
    }
    let sent = estate.fields(["token_type", "req_cnf", "grant_type"]);
    let both = [Some("pop".to_owned()), Some(one.clone())];
    assert_eq!([&sent[0][..2], &sent[1][..2]], [&both, &both]);
    let (scheme, token) = header(&estate.for_user(&user, &format!("{POP}={other}&{app}")).await);
    assert_eq!((scheme.as_str(), &token["cnf"]), ("pop", &json!(other)), "another key's is another token");
    let (scheme, token) = header(&estate.for_user(&user, app).await);
    assert_eq!((scheme.as_str(), &token["cnf"]), ("Bearer", &Value::Null), "and so is none's");
    assert_eq!(estate.fields(["token_type", "req_cnf", "grant_type"]).len(), 4);
    // An API is sent it as it is: the proof is its holder's to make.
    let url = estate.at("DownstreamApi", &format!("{POP}={one}"));
    estate.send("POST", &url, &user, &[], "").await;
    let sent = estate.api.seen().remove(0).headers["authorization"].to_str().unwrap().to_owned();
    assert!(sent.starts_with("pop eyJ"), "{sent}");
}

#[tokio::test]
async fn a_token_that_is_not_bound_is_not_given_in_the_place_of_one_that_is() {
    let estate = Estate::new().await;
    let user = estate.user(&json!({}));
    let one = confirmation(r#"{"kid":"one"}"#);
    let bearer = json!({ "access_token": "for any thief", "token_type": "Bearer", "expires_in": 3600 }).to_string();
    estate.world.issuer("entra_id").next(Next::answer(200, bearer));
    let told = estate.for_user(&user, &format!("{POP}={one}")).await;
    assert_eq!(told.problem().0, 502);
    assert!(!told.text().contains("thief"), "{told:?}");
    let bound = json!({ "access_token": "t", "token_type": "pop", "expires_in": 3600 }).to_string();
    estate.world.issuer("entra_id").next(Next::answer(200, bound));
    assert_eq!(estate.for_user(&user, "").await.problem().0, 502, "nor the other way");
    let private = confirmation(r#"{"jwk":{"kty":"EC","crv":"P-256","d":"secret","x":"a","y":"b"}}"#);
    for (api, wrong) in [
        ("Billing", ""),
        ("Billing", "x"),
        ("Billing", r#"{"kid":"one"}"#),
        ("Billing", "e30"),
        ("Billing", &private),
        ("Far", &one),
    ] {
        let wrong: String = url::form_urlencoded::byte_serialize(wrong.as_bytes()).collect();
        let url = format!("{}/AuthorizationHeader/{api}?{POP}={wrong}", estate.entra);
        let (status, text) = estate.get(&url, &user).await.problem();
        assert_eq!((status, text.contains("are Entra's")), (400, api == "Far"), "{api} {wrong}: {text}");
    }
    assert_eq!(estate.world.issuer("entra_id").asked().len(), 2);
}

#[tokio::test]
async fn an_agents_own_user_is_asked_for_with_the_agents_word() {
    let estate = Estate::with("", &OPEN).await;
    let (user, issuer) = (estate.user(&json!({})), estate.world.issuer("entra_id"));
    let named = "AgentIdentity=agent-1&AgentUsername=helper@contoso.example";
    let (_, token) = header(&estate.for_user(&user, &format!("{named}&AgentUserId={ID}")).await);
    assert_eq!(token["sub"], "helper@contoso.example", "the name wins");
    let some = |text: &str| Some(text.to_owned());
    let exchange = some("api://AzureADTokenExchange/.default");
    let expected = [
        // The blueprint for the agent, the agent for itself, the agent for its user.
        [some("default"), exchange.clone(), some("agent-1")],
        [some("agent-1"), exchange, None],
        [some("agent-1"), some("api://billing/.default"), None],
    ];
    assert_eq!(estate.fields(["client_id", "scope", "fmi_path"]), expected);
    let asked = issuer.asked();
    assert_eq!((asked[2].field("grant_type"), asked[2].field("user_id")), (Some("user_fic"), None));
    assert_eq!(asked[2].field("client_assertion"), asked[1].field("client_assertion"));
    let own = claims(asked[2].field("user_federated_identity_credential").unwrap());
    assert_eq!(own["sub"], "agent-1");
    assert!(asked.iter().all(|asked| asked.field("assertion").is_none()), "the user who called is another");

    // Held, and nobody else's: not another user's by name or id, and not another agent's.
    for (query, subject, calls) in [
        (named.to_owned(), "helper@contoso.example", 3),
        (format!("AgentIdentity=agent-1&AgentUserId={ID}"), ID, 4),
        ("AgentIdentity=agent-1&AgentUsername=other@contoso.example".to_owned(), "other@contoso.example", 5),
        ("AgentIdentity=agent-2&AgentUsername=helper@contoso.example".to_owned(), "helper@contoso.example", 8),
        ("AgentIdentity=agent-1".to_owned(), "ada", 9),
    ] {
        assert_eq!(header(&estate.for_user(&user, &query).await).1["sub"], subject, "{query}");
        assert_eq!(issuer.asked().len(), calls, "{query}");
    }
    // Nobody has to sign in for it, where overrides are allowed there.
    assert_eq!(header(&estate.for_nobody(named).await).1["sub"], "helper@contoso.example");
    let url = estate.at("DownstreamApiUnauthenticated", named);
    assert_eq!(estate.send("POST", &url, "", &[], "").await.status(), 200);
    assert_eq!(claims(&estate.api.seen()[0].token())["sub"], "helper@contoso.example");
    assert_eq!(issuer.asked().len(), 9);

    for (api, query) in [
        ("Billing", "AgentUsername=helper@contoso.example".to_owned()),
        ("Billing", format!("AgentUserId={ID}")),
        ("Billing", format!("{named}&optionsOverride.RequestAppToken=true")),
        ("Billing", "AgentIdentity=agent-1&AgentUserId=not-an-id".to_owned()),
        ("Billing", "AgentIdentity=agent-1&AgentUsername=no-name".to_owned()),
        ("Far", named.to_owned()),
    ] {
        let url = format!("{}/AuthorizationHeader/{api}?{query}", estate.entra);
        assert_eq!(estate.get(&url, &user).await.problem().0, 400, "{api} {query}");
    }
    let closed = Estate::new().await;
    assert_eq!(closed.for_nobody(named).await.problem().0, 400);
    assert!(closed.world.issuer("entra_id").asked().is_empty());
}

#[tokio::test]
async fn an_agents_user_who_is_refused_is_told_of_at_each_step() {
    let said = json!({ "error": "invalid_grant", "error_description": "AADSTS82001: no", "error_codes": [82_001] });
    for step in 0..3 {
        let estate = Estate::new().await;
        let issuer = estate.world.issuer("entra_id");
        for _ in 0..step {
            let word = issuer.token(&json!({}));
            let given = json!({ "access_token": word, "token_type": "Bearer", "expires_in": 3600 });
            issuer.next(Next::answer(200, given.to_string()));
        }
        issuer.next(Next::answer(400, said.to_string()));
        let query = "AgentIdentity=agent-1&AgentUsername=helper@contoso.example";
        let told = estate.for_user(&estate.user(&json!({})), query).await;
        assert_eq!((told.problem(), &told.json()["error_codes"]), ((401, "AADSTS82001: no".into()), &json!([82_001])));
        assert_eq!(issuer.asked().len(), step + 1);
    }
}
