//! R1 at the authority: the corpus of hostile tokens, minted with its own live keys, wherever it takes a token; and every
//! kind of token that we issue, wherever another kind is wanted.
use crate::world::estate::{CONTOSO, FABRIKAM, app};
use crate::world::{ASSERTION_TYPE, HOST, NOON, World, but, claims, client_credentials, keys, object, text};
use axum::http::{HeaderValue, Request};
use jose::corpus::{Expect, Hostile, Issuer, Neighbour, Profile, corpus};
use jose::{Algorithm, SigningKey};
use serde_json::{Map, Value};
use std::sync::OnceLock;

/// The claims of a real token, on which the corpus is built.
static REAL: OnceLock<Map<String, Value>> = OnceLock::new();
static REAL_V1: OnceLock<Map<String, Value>> = OnceLock::new();
static REAL_NATIVE: OnceLock<Map<String, Value>> = OnceLock::new();
static REAL_OWN: OnceLock<Map<String, Value>> = OnceLock::new();

fn issuer(aud: &str, profile: Profile) -> Issuer {
    Issuer {
        keys: keys::signing(),
        iss: format!("{HOST}/{CONTOSO}/v2.0"),
        aud: aud.to_owned(),
        tid: CONTOSO.to_string(),
        now: NOON,
        profile,
        neighbour: Neighbour {
            key: SigningKey::generate(Algorithm::RS256).unwrap(),
            iss: format!("{HOST}/{FABRIKAM}/v2.0"),
            tid: FABRIKAM.to_string(),
        },
    }
}

const fn profile(typ: &'static str, claims: fn(&Issuer) -> Map<String, Value>) -> Profile {
    let same_typ: &[&str] = &["jwt", "at+jwt", "application/at+jwt"];
    Profile { typ, same_typ, client: "azp", id: "uti", folds_audience: true, claims }
}

/// Good in the corpus, and refused here: this authority never issues them.
fn never_issued(hostile: &Hostile) -> bool {
    ["list", "fractional", "exponent", "no `nbf`", "made in the future"]
        .iter()
        .any(|word| hostile.reason.contains(word))
}

fn judge(hostile: &Hostile, accepted: bool, failures: &mut Vec<String>) {
    let expected = hostile.expect == Expect::Accept;
    if accepted != expected && !(expected && never_issued(hostile)) {
        failures.push(format!(
            "{}: {} was {}",
            hostile.id,
            hostile.reason,
            if accepted { "accepted" } else { "refused" }
        ));
    }
}

async fn assertions(world: &World, tokens: &[Hostile], client: &str) -> usize {
    let (mut failures, mut good) = (Vec::new(), 0);
    for hostile in tokens {
        let answer = world.obo(client, &hostile.token, "api://billing/Invoices.Read").await;
        let accepted = answer.status == 200;
        good += usize::from(accepted);
        judge(hostile, accepted, &mut failures);
        if !accepted {
            assert!(matches!(answer.status.as_u16(), 400 | 413), "{}: {} {}", hostile.id, answer.status, answer.text());
            answer.refused();
            assert!(hostile.token.len() < 40 || !answer.text().contains(&hostile.token), "{}", hostile.id);
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
    good
}

#[tokio::test]
async fn r_1_no_hostile_token_is_accepted_as_assertion() {
    let world = World::new().await;
    REAL.set(object(claims(&world.orders_token().await))).unwrap();
    let tokens = corpus(&issuer(&app("orders").to_string(), profile("JWT", |_| REAL.get().cloned().unwrap())));
    assert!(tokens.len() >= 500, "{}", tokens.len());
    let good = assertions(&world, &tokens, "orders").await;
    assert!(good >= 10, "the corpus would prove nothing: {good}");
}

#[tokio::test]
async fn r_1_no_hostile_v1_token_is_accepted_as_assertion() {
    let world = World::with(|plan| plan.app("orders").api.requested_access_token_version = Some(1)).await;
    let token = world.orders_token().await;
    let real = object(claims(&token));
    assert_eq!((&real["ver"], &real["appid"]), (&"1.0".into(), &app("web").to_string().into()));
    assert_eq!(crate::world::header(&token)["x5t"], crate::world::header(&token)["kid"]);
    REAL_V1.set(real).unwrap();
    let shape = Profile { client: "appid", ..profile("JWT", |_| REAL_V1.get().cloned().unwrap()) };
    let v2 = issuer("api://orders", shape);
    let of = |iss: &str| iss.trim_end_matches("v2.0").to_owned();
    let neighbour = Neighbour { iss: of(&v2.neighbour.iss), ..v2.neighbour };
    let mut tokens = corpus(&Issuer { iss: of(&v2.iss), neighbour, ..v2 });
    // v1.0 repeats an application ID URI as it was asked for, with or without a slash at its end (spec/entra.md section 9.1).
    tokens.retain(|hostile| hostile.reason != "aud is \"api://orders/\"");
    assert!(tokens.len() >= 500, "{}", tokens.len());
    let good = assertions(&world, &tokens, "orders").await;
    assert!(good >= 10, "the corpus would prove nothing: {good}");
}

#[tokio::test]
async fn r_1_no_hostile_native_token_is_accepted_as_assertion() {
    let world = World::with(|plan| {
        plan.app("orders").deputize.client_profile = deputize_core::model::Profile::Native;
        plan.app("orders").deputize.resource_profile = deputize_core::model::Profile::Native;
    })
    .await;
    let token = world.access_token("web", "ada", "api://orders/access_as_user").await;
    assert_eq!(crate::world::header(&token)["typ"], "at+jwt");
    REAL_NATIVE.set(object(claims(&token))).unwrap();
    let native = Profile { folds_audience: false, ..profile("JWT", |_| REAL_NATIVE.get().cloned().unwrap()) };
    let mut tokens = corpus(&issuer(&app("orders").to_string(), native));
    // Nothing outlives its assertion in the native profile, so there is no skew at its end.
    tokens.retain(|hostile| !hostile.reason.contains("just expired"));
    let good = assertions(&world, &tokens, "orders").await;
    assert!(good >= 10, "{good}");
}

#[tokio::test]
async fn r_1_no_hostile_token_is_accepted_at_userinfo() {
    let world = World::new().await;
    let token = world.access_token("web", "ada", "openid profile").await;
    REAL_OWN.set(object(claims(&token))).unwrap();
    let tokens = corpus(&issuer(
        HOST,
        Profile { folds_audience: false, ..profile("JWT", |_| REAL_OWN.get().cloned().unwrap()) },
    ));
    let (mut failures, mut good) = (Vec::new(), 0);
    for hostile in &tokens {
        let Ok(value) = HeaderValue::from_bytes(format!("Bearer {}", hostile.token).as_bytes()) else { continue };
        let request = Request::get(format!("/{CONTOSO}/openid/userinfo")).header("authorization", value);
        let answer = world.send(request.body(axum::body::Body::empty()).unwrap()).await;
        good += usize::from(answer.status == 200);
        judge(hostile, answer.status == 200, &mut failures);
        if answer.status != 200 {
            assert!(matches!(answer.status.as_u16(), 401 | 403), "{}: {}", hostile.id, answer.status);
            assert!(answer.header("www-authenticate").starts_with("Bearer"), "{}", hostile.id);
            assert!(answer.header("cache-control").contains("no-store"));
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
    assert!(good >= 10, "{good}");
}

#[tokio::test]
async fn kinds_of_token_are_never_confused() {
    let world = World::new().await;
    let whole = world.signed_in("web", "ada", "openid profile offline_access api://orders/access_as_user").await;
    let middle = world
        .obo("orders", &text(&whole, "access_token"), "openid offline_access api://billing/Invoices.Read")
        .await
        .ok();
    let third = world.obo("billing", &text(&middle, "access_token"), "api://archive/Archive.Read").await.ok();
    let own = world.signed_in("web", "ada", "openid profile").await;
    let native = world.obo("orders", &text(&whole, "access_token"), "api://vault/Vault.Read").await.ok();
    let app_only = world.token(client_credentials("daemon", "api://billing/.default")).await.ok();
    let self_token = client_credentials("orders", &format!("{}/.default", app("orders")));
    let self_token = world.token(self_token).await.ok();
    let mut browser = crate::world::browser::Browser::default();
    let code = browser.code(&world, "web", "ada", "openid").await;
    let orders = &keys::ORDERS;
    let audience = format!("{HOST}/{CONTOSO}/oauth2/v2.0/token");
    let client = app("orders").to_string();
    let assertion = jose::assertion::sign(&orders.ps256, &orders.certificate, &client, &audience, "1", NOON).unwrap();
    // Each kind, and the one place where it is good.
    let kinds = [
        ("access token for Orders", text(&whole, "access_token"), "assertion"),
        ("ID token", text(&whole, "id_token"), ""),
        ("ID token of Orders", text(&middle, "id_token"), ""),
        ("refresh token", text(&whole, "refresh_token"), "refresh"),
        ("refresh token of Orders", text(&middle, "refresh_token"), ""),
        ("access token for Billing", text(&middle, "access_token"), ""),
        ("v1 access token for Archive", text(&third, "access_token"), ""),
        ("native access token for Vault", text(&native, "access_token"), ""),
        ("access token for the authority", text(&own, "access_token"), "userinfo"),
        ("app-only token", text(&app_only, "access_token"), ""),
        ("app-only token for Orders itself", text(&self_token, "access_token"), ""),
        ("code", code, "code"),
        ("client assertion", assertion, "client"),
        ("session cookie", browser.cookies["__Host-deputize-session"].clone(), ""),
        ("sealed chain", text(&claims(&text(&whole, "access_token")), "aio"), ""),
    ];
    let grant = but(client_credentials("orders", "api://billing/.default"), "client_secret", None);
    let kind = ("client_assertion_type", ASSERTION_TYPE.to_owned());
    for (name, token, home) in &kinds {
        let bearer = HeaderValue::from_str(&format!("Bearer {token}")).unwrap();
        let userinfo = Request::get(format!("/{CONTOSO}/openid/userinfo")).header("authorization", bearer);
        let as_client = [grant.clone(), vec![kind.clone(), ("client_assertion", token.clone())]].concat();
        let places = [
            ("assertion", world.obo("orders", token, "api://billing/Invoices.Read").await),
            ("client", world.token(as_client).await),
            ("userinfo", world.send(userinfo.body(axum::body::Body::empty()).unwrap()).await),
            ("refresh", world.refresh("web", token, None).await),
            ("code", world.redeem("web", token).await),
        ];
        for (place, answer) in places {
            assert_eq!(answer.status == 200, place == *home, "{name} as {place}: {} {}", answer.status, answer.text());
        }
    }
}

/// One change of a token that is not itself again.
fn mutate(token: &str, other: &str, random: &mut testkit::Random) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=";
    loop {
        let mut bytes = token.as_bytes().to_vec();
        let at = random.below(bytes.len());
        match random.below(6) {
            0 => bytes[at] = *random.pick(LETTERS).unwrap(),
            1 => bytes.insert(at, *random.pick(LETTERS).unwrap()),
            2 => drop(bytes.remove(at)),
            3 => bytes.truncate(at),
            4 => {
                let (part, cut) =
                    (random.below(3), |text: &str| text.split('.').map(str::to_owned).collect::<Vec<_>>());
                let (mut ours, theirs) = (cut(token), cut(other));
                ours[part].clone_from(&theirs[part]);
                bytes = ours.join(".").into_bytes();
            }
            _ => bytes.rotate_left(at),
        }
        let mutated = String::from_utf8(bytes).unwrap();
        if mutated != token && mutated != other {
            return mutated;
        }
    }
}

#[tokio::test]
async fn r_1_no_mutated_token_is_accepted_anywhere() {
    let world = World::new().await;
    let (ada, bob) =
        (world.orders_token().await, world.access_token("web", "bob", "api://orders/access_as_user").await);
    let own = [
        world.access_token("web", "ada", "openid profile").await,
        world.access_token("web", "bob", "openid profile").await,
    ];
    let (orders, client) = (&keys::ORDERS, app("orders").to_string());
    let audience = format!("{HOST}/{CONTOSO}/oauth2/v2.0/token");
    let sign =
        |id: &str| jose::assertion::sign(&orders.ps256, &orders.certificate, &client, &audience, id, NOON).unwrap();
    let signed = [sign("1"), sign("2")];
    let form = but(client_credentials("orders", "api://billing/.default"), "client_secret", None);
    let random = &mut testkit::Random::seeded(0xa1);
    for round in 0..1_500 {
        let token = mutate(&ada, &bob, random);
        assert_eq!(world.obo("orders", &token, "api://billing/Invoices.Read").await.status, 400, "{round}: {token}");
        let more = [
            ("client_assertion_type", ASSERTION_TYPE.to_owned()),
            ("client_assertion", mutate(&signed[0], &signed[1], random)),
        ];
        let answer = world.token([form.clone(), more.to_vec()].concat()).await;
        assert!(matches!(answer.status.as_u16(), 400 | 401), "{round}");
        let bearer = format!("Bearer {}", mutate(&own[0], &own[1], random));
        let answer = world.post(&format!("/{CONTOSO}/openid/userinfo"), &[("authorization", &bearer)], "").await;
        assert_eq!(answer.status, 401, "{round}: {bearer}");
    }
}
