//! `dpop`: tokens that are bound to a key, with a proof of it for each request (RFC 9449).
use crate::support::{Answered, NOON, ORDERS, World};
use jose::corpus::{Bound, proofs};
use jose::{Algorithm, SigningKey};
use serde_json::{Value, json};
use testkit::Next;

/// The orders API with this policy.
fn with(policy: &str) -> String {
    ORDERS.replace("[[api.operation]]", &format!("[api.policies.dpop]\n{policy}\n[[api.operation]]"))
}

struct Caller {
    key: SigningKey,
    token: String,
}

impl Caller {
    fn of(world: &World) -> Self {
        Self::with(world, &json!({}))
    }

    fn with(world: &World, claims: &Value) -> Self {
        let key = SigningKey::generate(Algorithm::ES256).unwrap();
        let mut claims = claims.clone();
        claims["cnf"] = json!({"jkt": key.public_jwk().thumbprint()});
        let token = world.token(&claims);
        Self { key, token }
    }

    fn bound(&self) -> Bound<'_> {
        Bound { key: &self.key, method: "GET", uri: "http://api.example/a", token: &self.token, now: NOON, max_age: 60 }
    }

    async fn asks(&self, world: &World, proofs: &[String]) -> Answered {
        self.asks_for(world, "/a?page=2", proofs, &[]).await
    }

    async fn asks_for(&self, world: &World, target: &str, proofs: &[String], more: &[(&str, &str)]) -> Answered {
        let authorization = format!("DPoP {}", self.token);
        let mut fields = vec![("authorization", authorization.as_str())];
        fields.extend(proofs.iter().map(|proof| ("dpop", proof.as_str())));
        fields.extend(more);
        world.get(target, &fields).await
    }
}

fn is(answer: &Answered, status: u16, check: &str) {
    assert_eq!((answer.status, answer.check().as_str()), (status, check), "{answer:?}");
}

#[tokio::test]
async fn a_bound_token_with_its_proof_is_let_in_and_neither_goes_further() {
    let world = World::start(&with("")).await;
    let caller = Caller::of(&world);
    let proof = caller.bound().good("1");
    assert_eq!(caller.asks(&world, std::slice::from_ref(&proof)).await.status, 200);
    let seen = world.service.only();
    assert!(seen.field("dpop").is_empty() && seen.field("authorization").is_empty(), "{seen:?}");
    let lines = world.lines();
    assert!(!lines.iter().any(|line| line.to_string().contains(&proof)), "no proof in the log");
    assert_eq!(lines[0]["subject"], "o-ada");
    // The service that reads tokens itself reads proofs too: it is known by the gateway's address.
    let through = with("").replace("upstream = \"orders\"", "upstream = \"orders\"\n    onward = \"passthrough\"");
    world.reload(&through).unwrap();
    world.service.forget();
    let proof = caller.bound().good("2");
    assert_eq!(caller.asks(&world, std::slice::from_ref(&proof)).await.status, 200);
    let seen = world.service.only();
    assert_eq!(
        (seen.field("dpop"), seen.field("authorization")),
        (vec![proof.as_str()], vec![&*format!("DPoP {}", caller.token)])
    );
}

#[tokio::test]
async fn j_21_every_hostile_proof_is_refused_and_reaches_no_service() {
    let world = World::start(&with("")).await;
    let caller = Caller::of(&world);
    for (why, texts) in proofs(&caller.bound()).unwrap() {
        let answer = caller.asks(&world, &texts).await;
        // What is no proof of this key is one of another.
        let check = if why == "a proof of another key" { "token.binding" } else { "dpop.proof" };
        assert_eq!((answer.status, answer.check().as_str()), (401, check), "{why}: {answer:?}");
        let challenges = answer.field("www-authenticate");
        assert!(challenges.len() == 1 && challenges[0].starts_with("DPoP "), "{why}: {challenges:?}");
        assert!(challenges[0].contains("algs=\"RS256 "), "{why}: {challenges:?}");
    }
    assert!(world.service.seen().is_empty());
    assert_eq!(caller.asks(&world, &[caller.bound().good("hostile-good")]).await.status, 200);
}

#[tokio::test]
async fn j_21_g_06_the_scheme_and_the_token_agree() {
    let world = World::start(&with("required = false")).await;
    let caller = Caller::of(&world);
    let bearer = format!("Bearer {}", caller.token);
    let proof = caller.bound().good("1");
    is(&world.get("/a", &[("authorization", &bearer), ("dpop", &proof)]).await, 401, "token.binding");
    let plain = Caller { key: SigningKey::generate(Algorithm::ES256).unwrap(), token: world.token(&json!({})) };
    is(&plain.asks(&world, &[plain.bound().good("2")]).await, 401, "token.binding");
    let bearer = format!("Bearer {}", plain.token);
    assert_eq!(world.get("/a", &[("authorization", &bearer)]).await.status, 200, "both kinds are good here");
    let dpop = format!("DPoP {}", caller.token);
    let two = world.get("/a", &[("authorization", &dpop), ("authorization", &bearer), ("dpop", &proof)]).await;
    is(&two, 400, "gateway.credential_single");
    let query =
        world.get(&format!("/a?access_token={}", plain.token), &[("authorization", &dpop), ("dpop", &proof)]).await;
    is(&query, 400, "gateway.credential_single");
    let named = world.get("/a", &[("authorization", &dpop), ("dpop", &proof), ("connection", "DPoP")]).await;
    is(&named, 400, "gateway.request");
    let anonymous = world.get("/a", &[]).await;
    let schemes: Vec<&str> = anonymous.field("www-authenticate").iter().map(|c| c.split(' ').next().unwrap()).collect();
    assert_eq!(schemes, ["Bearer", "DPoP"]);
    world.reload(&with("")).unwrap();
    is(&world.get("/a", &[("authorization", &bearer)]).await, 401, "token.binding");
    let anonymous = world.get("/a", &[]).await;
    assert!(anonymous.field("www-authenticate").iter().all(|c| c.starts_with("DPoP ") && !c.contains("error=")));
    // Where proofs are not taken, a bound token is good for nothing.
    world.reload(ORDERS).unwrap();
    assert_eq!(caller.asks(&world, &[caller.bound().good("3")]).await.status, 401);
    let bearer = format!("Bearer {}", caller.token);
    is(&world.get("/a", &[("authorization", &bearer)]).await, 401, "token.binding");
}

#[tokio::test]
async fn x_13_a_proof_is_good_once_whatever_is_reloaded_meanwhile() {
    let world = World::start(&with("")).await;
    let caller = Caller::of(&world);
    let proof = [caller.bound().good("1")];
    assert_eq!(caller.asks(&world, &proof).await.status, 200);
    is(&caller.asks(&world, &proof).await, 401, "dpop.once");
    world.reload(&with("required = false")).unwrap();
    is(&caller.asks(&world, &proof).await, 401, "dpop.once");
    world.clock.advance(60);
    is(&caller.asks(&world, &proof).await, 401, "dpop.once");
    world.clock.advance(1);
    is(&caller.asks(&world, &proof).await, 401, "dpop.proof");
    // Twenty at once: one of them is first.
    let caller = Caller::of(&world);
    let fresh = [caller.bound().edited("2", |_, claims| claims["iat"] = json!(NOON.0 + 61))];
    let mut let_in = 0;
    let all: Vec<_> = (0..20).map(|_| caller.asks(&world, &fresh)).collect();
    for answer in futures_of(all).await {
        let_in += usize::from(answer.status == 200);
    }
    assert_eq!(let_in, 1);
}

async fn futures_of<F: Future<Output = Answered>>(all: Vec<F>) -> Vec<Answered> {
    let mut all: Vec<_> = all.into_iter().map(Box::pin).collect();
    let mut answers = Vec::new();
    std::future::poll_fn(|context| {
        all.retain_mut(|asks| match asks.as_mut().poll(context) {
            std::task::Poll::Ready(answer) => {
                answers.push(answer);
                false
            }
            std::task::Poll::Pending => true,
        });
        if all.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    answers
}

#[tokio::test]
async fn the_address_is_the_one_that_the_caller_used() {
    let world = World::start(&with("")).await;
    let caller = Caller::of(&world);
    let for_address = |jti: &str, uri: &str| [caller.bound().edited(jti, |_, claims| claims["htu"] = json!(uri))];
    for (at, target, uri, status) in [
        (1, "/a/../b", "http://api.example/b", 200),
        (2, "/b", "http://API.example:80/b", 200),
        (3, "/%61", "http://api.example/a", 200),
        (4, "/a", "http://api.example/%61", 200),
        (5, "/a", "http://api.example/a#x", 200),
        (6, "/", "http://api.example", 200),
        (7, "/a", "https://api.example/a", 401),
        (8, "/a", "http://orders.internal/a", 401),
    ] {
        let answer = caller.asks_for(&world, target, &for_address(&at.to_string(), uri), &[]).await;
        assert_eq!(answer.status, status, "{target} as {uri}");
    }
    let forwarded = [("x-forwarded-proto", "https"), ("x-forwarded-host", "evil.example")];
    let stranger = caller.asks_for(&world, "/a", &for_address("9", "https://api.example/a"), &forwarded).await;
    is(&stranger, 401, "dpop.proof");
    world.reload(&format!("trusted_proxies = [\"127.0.0.1\"]\n{}", with(""))).unwrap();
    let proxied = caller.asks_for(&world, "/a", &for_address("10", "https://api.example/a"), &forwarded[..1]).await;
    assert_eq!(proxied.status, 200, "{proxied:?}");
    let plain = caller.asks_for(&world, "/a", &for_address("11", "http://api.example/a"), &forwarded[..1]).await;
    is(&plain, 401, "dpop.proof");
    let twice = [("x-forwarded-proto", "https"), ("x-forwarded-proto", "http")];
    is(&caller.asks_for(&world, "/a", &for_address("12", "https://api.example/a"), &twice).await, 401, "dpop.proof");
}

#[tokio::test]
async fn j_21_a_used_proof_stays_used_whatever_is_said_later_of_how_old_proofs_may_be() {
    let world = World::start(&with("max_age_seconds = 60")).await;
    let caller = Caller::of(&world);
    let (used, never) = ([caller.bound().good("1")], [caller.bound().good("2")]);
    assert_eq!(caller.asks(&world, &used).await.status, 200);
    world.reload(&with("max_age_seconds = 300")).unwrap();
    is(&caller.asks(&world, &used).await, 401, "dpop.once");
    assert_eq!(caller.asks(&world, &never).await.status, 200, "others are good");
    // Without proofs in between, and with other ages, it is all the same.
    world.reload(ORDERS).unwrap();
    world.reload(&with("max_age_seconds = 299")).unwrap();
    world.clock.advance(299);
    is(&caller.asks(&world, &used).await, 401, "dpop.once");
    // What is forgotten does not become good again where proofs may suddenly be older.
    let world = World::start(&with("max_age_seconds = 10")).await;
    let caller = Caller::of(&world);
    let used = [caller.bound().good("1")];
    assert_eq!(caller.asks(&world, &used).await.status, 200);
    world.clock.advance(200);
    let others = [caller.bound().edited("2", |_, claims| claims["iat"] = json!(NOON.0 + 200))];
    assert_eq!(caller.asks(&world, &others).await.status, 200);
    world.reload(&with("max_age_seconds = 300")).unwrap();
    is(&caller.asks(&world, &used).await, 401, "dpop.proof");
    is(&caller.asks(&world, &others).await, 401, "dpop.once");
}

#[tokio::test]
async fn nonces_are_given_out_wanted_and_told_whatever_refusals_say() {
    let configured = ORDERS.replace(
        "audiences = [\"api://orders\"]",
        "audiences = [\"api://orders\"]\n    failed_validation_httpcode = 403\n    failed_validation_error_message = \"no\"",
    );
    let configured = configured.replace("[[api.operation]]", "[api.policies.dpop]\nnonce = true\n[[api.operation]]");
    let world = World::start(&configured).await;
    let caller = Caller::of(&world);
    let answer = caller.asks(&world, &[caller.bound().good("1")]).await;
    is(&answer, 401, "dpop.nonce");
    assert!(answer.field("www-authenticate")[0].contains("error=\"use_dpop_nonce\""), "{answer:?}");
    let nonce = answer.field("dpop-nonce")[0].to_owned();
    let with_nonce = |jti: &str, nonce: &str, now: i64| {
        [caller.bound().edited(jti, |_, claims| {
            claims["nonce"] = json!(nonce);
            claims["iat"] = json!(now);
        })]
    };
    let answer = caller.asks(&world, &with_nonce("2", &nonce, NOON.0)).await;
    assert_eq!((answer.status, answer.field("dpop-nonce").len()), (200, 0));
    world.reload(&configured).unwrap();
    world.clock.advance(200);
    let answer = caller.asks(&world, &with_nonce("3", &nonce, NOON.0 + 200)).await;
    assert_eq!((answer.status, answer.field("dpop-nonce").len()), (200, 1), "a reload changes nothing about nonces");
    assert_eq!(world.get("/a", &[]).await.status, 403, "other refusals are told as configured");
    let shared =
        configured.replace("nonce = true", "nonce = true\nnonce_secret = { env = \"KEY_0123456789012345678901\" }");
    world.reload(&shared).unwrap();
    is(&caller.asks(&world, &with_nonce("4", &nonce, NOON.0 + 200)).await, 401, "dpop.nonce");
}

#[tokio::test]
async fn demands_of_the_operation_hold_for_bound_tokens_too() {
    let text =
        with("").replace("[[api.operation]]", "[api.policies.require]\nscopes = [\"Orders.Write\"]\n[[api.operation]]");
    let world = World::start(&text).await;
    let caller = Caller::of(&world);
    let answer = caller.asks(&world, &[caller.bound().good("1")]).await;
    is(&answer, 403, "scope.sufficient");
    assert!(answer.field("www-authenticate")[0].starts_with("DPoP "), "{answer:?}");
    let writer = Caller::with(&world, &json!({"scp": "Orders.Write"}));
    assert_eq!(writer.asks(&world, &[writer.bound().good("2")]).await.status, 200);
    let unbound = world.bearer(&json!({"scp": "Orders.Write"}));
    is(&world.get("/a", &[("authorization", &unbound)]).await, 401, "token.binding");
}

#[tokio::test]
async fn where_tokens_have_to_be_bound_every_refusal_challenges_for_such_ones() {
    const OBO: &str = "[[authority]]\nname = \"contoso\"\ntoken_endpoint = \"{token}\"\nclient_id = \"gateway\"\nsecret = { env = \"SECRET\" }\n";
    let audiences = "audiences = [\"api://orders\"]";
    let claims = format!("{audiences}\n    required_claims = [{{ name = \"department\", value = [\"sales\"] }}]");
    let claims = |policy: &str| with(policy).replace(audiences, &claims);
    let exchange = "[api.onward.on_behalf_of]\nauthority = \"contoso\"\ntarget = \"api://billing\"\n[[api.operation]]";
    let exchange = format!("{OBO}{}", with("").replace("[[api.operation]]", exchange));
    let stronger = r#"{"error":"interaction_required","claims":"{\"access_token\":{\"acrs\":{\"value\":\"c1\"}}}"}"#;
    let world = World::start(&claims("")).await;
    for (at, (file, said, count)) in [
        (claims(""), None, 1),
        (exchange.clone(), Some(r#"{"error":"invalid_grant"}"#), 1),
        (exchange.clone(), Some(r#"{"error":"invalid_grant","suberror":"consent_required"}"#), 1),
        (exchange, Some(stronger), 2),
    ]
    .into_iter()
    .enumerate()
    {
        world.reload(&file).unwrap();
        if let Some(body) = said {
            world.issuer.next(Next::answer(400, body));
        }
        let caller = Caller::with(&world, &json!({"oid": format!("o-{at}")}));
        let answer = caller.asks(&world, &[caller.bound().good(&at.to_string())]).await;
        let challenges = answer.field("www-authenticate");
        assert_eq!(challenges.len(), count, "{said:?}: {answer:?}");
        for challenge in challenges {
            assert!(challenge.starts_with("DPoP ") && challenge.contains("algs=\"RS256 "), "{said:?}: {challenge}");
        }
    }
    // Where others are good too, the challenge is that of the token that came.
    world.reload(&claims("required = false")).unwrap();
    let answer = world.get_with_token("/a", &[]).await;
    assert!(answer.field("www-authenticate")[0].starts_with("Bearer "), "{answer:?}");
}

#[tokio::test]
async fn callers_can_find_out_that_tokens_are_bound() {
    let described = with("algorithms = [\"ES256\", \"EdDSA\"]").replace(
        "[api.policies.validate_jwt]",
        "protected_resource = { resource = \"https://api.example\" }\n    [api.policies.validate_jwt]",
    );
    let world = World::start(&described).await;
    let metadata = world.get("/.well-known/oauth-protected-resource", &[]).await.json();
    assert_eq!(metadata["dpop_bound_access_tokens_required"], true);
    assert_eq!(metadata["dpop_signing_alg_values_supported"], json!(["ES256", "EdDSA"]));
    let answer = world.get("/a", &[]).await;
    assert!(answer.field("www-authenticate")[0].contains("resource_metadata="), "{answer:?}");
    world.reload(&described.replace("[api.policies.dpop]\n", "[api.policies.dpop]\nrequired = false\n")).unwrap();
    let metadata = world.get("/.well-known/oauth-protected-resource", &[]).await.json();
    assert_eq!(metadata.get("dpop_bound_access_tokens_required"), None);
    assert!(metadata["dpop_signing_alg_values_supported"].is_array());
    let caller = Caller::of(&world);
    let rsa = Caller { key: SigningKey::generate(Algorithm::RS256).unwrap(), token: caller.token.clone() };
    is(&rsa.asks(&world, &[rsa.bound().good("1")]).await, 401, "dpop.proof");
}

#[tokio::test]
async fn what_would_take_no_proof_is_not_read() {
    let world = World::start(&with("")).await;
    for (policy, problem) in [
        ("algorithms = [\"HS256\"]", "no algorithm of proofs"),
        ("algorithms = [\"none\"]", "no algorithm of proofs"),
        ("algorithms = []", "no algorithm is taken"),
        ("max_age_seconds = 0", "no age of a proof"),
        ("max_age_seconds = 301", "no age of a proof"),
        ("nonce_secret = { env = \"SECRET\" }", "no nonces are wanted"),
        ("nonce = true\nnonce_secret = { env = \"PASSWORD\" }", "short enough to guess"),
        ("[api.policies.require]\ncertificate_bound = true", "to a key and to a certificate"),
    ] {
        let text = format!("client_certificates = \"optional\"\n{}", with(policy));
        let error = world.reload(&text).unwrap_err();
        assert!(error.problem.contains(problem) && !error.hint.is_empty() && !error.at.is_empty(), "{policy}: {error}");
    }
    let elsewhere = with("").replace("audiences =", "header_name = \"X-Token\"\n    audiences =");
    assert!(world.reload(&elsewhere).unwrap_err().problem.contains("in `Authorization` alone"));
    let twice = format!("[policies.dpop]\n{}", with(""));
    assert!(world.reload(&twice).unwrap_err().hint.contains("remove = [\"dpop\"]"));
    let public = crate::support::PUBLIC.replace("[[api.operation]]", "[api.policies.dpop]\n[[api.operation]]");
    assert!(world.reload(&public).unwrap_err().problem.contains("no token to look at"));
    let told = world.gateway.effective_for("x", &http::Method::GET, "/a").unwrap();
    let told = told.policies.iter().find(|told| told.policy == "dpop").unwrap();
    assert_eq!(told.text, "every token with a proof of the key that is at most 60 s old");
}
