//! Workload identity federation: other issuers' tokens, and those of this authority's own tenants.
use crate::assertions;
use crate::clients::refused;
use crate::world::browser::Browser;
use crate::world::estate::{CONTOSO, FABRIKAM, app, principal, secret};
use crate::world::keys::{ORDERS, STRANGER, sign};
use crate::world::{
    ASSERTION_TYPE, Answer, HOST, NOON, Params, World, but, claims, client_credentials, obo_form, redeem_form,
    refresh_form, text,
};
use axum::Router;
use axum::routing::get;
use deputize_authority::{Federation, discovery};
use deputize_core::audit::Credential;
use deputize_core::id::ObjectId;
use deputize_core::workload::{FederatedIdentityCredential, ManagedIdentity, ManagedIdentityKind, TOKEN_EXCHANGE};
use fetch::{Allow, Fetch, IssuerKeys, KeySource, Lifetimes, Location};
use jose::{Algorithm, SigningKey};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, LazyLock, Mutex, OnceLock};
use testkit::TlsServer;

pub(super) const WORKER: &str = "system:serviceaccount:shop:orders";

/// Keys take long to make: one for every issuer, and one for after a rotation.
static KEY: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::generate(Algorithm::RS256).unwrap());
static NEXT: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::generate(Algorithm::RS256).unwrap());

/// An OpenID Connect issuer over real TLS.
struct Cluster {
    server: TlsServer,
    keys: Arc<Mutex<Option<Vec<Value>>>>,
    fetches: Arc<AtomicUsize>,
}

impl Cluster {
    async fn start() -> Self {
        let keys = Arc::new(Mutex::new(Some(vec![jwk(&KEY)])));
        let (fetches, url) = (Arc::new(AtomicUsize::new(0)), Arc::new(OnceLock::<String>::new()));
        let (shown, counted, own) = (Arc::clone(&keys), Arc::clone(&fetches), Arc::clone(&url));
        let metadata = move || async move {
            let url = own.get().cloned().unwrap_or_default();
            json!({"issuer": url, "jwks_uri": format!("{url}/keys")}).to_string()
        };
        let set = move || async move {
            counted.fetch_add(1, SeqCst);
            match &*shown.lock().unwrap() {
                Some(keys) => Ok(json!({"keys": keys}).to_string()),
                None => Err(axum::http::StatusCode::SERVICE_UNAVAILABLE),
            }
        };
        let router = Router::new().route("/.well-known/openid-configuration", get(metadata)).route("/keys", get(set));
        let server = TlsServer::start(router).await.unwrap();
        url.set(server.url()).unwrap();
        Self { server, keys, fetches }
    }

    fn issuer(&self) -> String {
        self.server.url()
    }

    /// How the operator lets the authority reach it.
    fn federation(&self) -> Federation {
        let fetch = Fetch::builder().ca_pem(self.server.ca_pem().as_bytes()).unwrap().allow(Allow::INSIDE).build();
        let source = KeySource {
            location: Location::Metadata(discovery(&self.issuer())),
            issuer: self.issuer(),
            default_algorithm: Some(Algorithm::RS256),
            foreign_keys_host: false,
        };
        let keys = IssuerKeys::fetched(source, Arc::new(fetch.unwrap()), Lifetimes::default());
        Federation::default().issuer(self.issuer(), keys)
    }

    /// A world whose daemon trusts this issuer's worker, and nothing else.
    async fn world(&self) -> World {
        let credential = federated(&self.issuer(), WORKER);
        World::federated(self.federation(), |plan| {
            let daemon = plan.app("daemon");
            daemon.password_credentials.clear();
            daemon.federated_identity_credentials.push(credential);
        })
        .await
    }

    fn fetched(&self) -> usize {
        self.fetches.load(SeqCst)
    }
}

fn jwk(key: &SigningKey) -> Value {
    serde_json::to_value(key.public_jwk()).unwrap()
}

fn federated(issuer: &str, subject: &str) -> FederatedIdentityCredential {
    FederatedIdentityCredential {
        id: ObjectId::default(),
        name: "cluster".into(),
        issuer: issuer.to_owned(),
        subject: subject.to_owned(),
        description: String::new(),
        audiences: vec![TOKEN_EXCHANGE.to_owned()],
    }
}

fn head() -> Value {
    json!({"alg": "RS256", "kid": KEY.kid()})
}

fn body(issuer: &str) -> Value {
    json!({
        "iss": issuer, "sub": WORKER, "aud": [TOKEN_EXCHANGE], "exp": NOON.0 + 3_600, "nbf": NOON.0, "iat": NOON.0,
        "jti": "one", "kubernetes.io": {"namespace": "shop"},
    })
}

fn edited(mut of: Value, name: &str, value: Value) -> Value {
    if value.is_null() {
        of.as_object_mut().unwrap().remove(name);
    } else {
        of[name] = value;
    }
    of
}

fn signed(header: &Value, claims: &Value) -> String {
    sign(&KEY, header.to_string().as_bytes(), claims.to_string().as_bytes())
}

pub(super) fn with_assertion(name: &str, assertion: &str) -> Params<'static> {
    let form = but(client_credentials(name, "api://billing/.default"), "client_secret", None);
    let more = [("client_assertion_type", ASSERTION_TYPE.to_owned()), ("client_assertion", assertion.to_owned())];
    [form, more.to_vec()].concat()
}

async fn send(world: &World, assertion: &str) -> Answer {
    world.token(with_assertion("daemon", assertion)).await
}

#[tokio::test]
async fn another_issuers_token_proves_the_application_it_was_registered_for() {
    let cluster = Cluster::start().await;
    let world = cluster.world().await;
    let issuer = cluster.issuer();
    for (case, header, body) in [
        ("Kubernetes", head(), body(&issuer)),
        ("GitHub", edited(head(), "typ", json!("JWT")), edited(body(&issuer), "aud", json!(TOKEN_EXCHANGE))),
        ("an access token", edited(head(), "typ", json!("at+jwt")), edited(body(&issuer), "nbf", Value::Null)),
        ("SPIFFE", edited(head(), "typ", json!("JOSE")), edited(body(&issuer), "jti", Value::Null)),
        ("about to end", head(), edited(body(&issuer), "exp", json!(NOON.0 - 59))),
        ("a long life", head(), edited(body(&issuer), "exp", json!(NOON.0 + 90_000))),
    ] {
        let answer = send(&world, &signed(&header, &body)).await;
        assert_eq!(answer.status, 200, "{case}: {}", answer.text());
        let claims = claims(&text(&answer.json(), "access_token"));
        assert_eq!((&claims["azpacr"], &claims["idtyp"]), (&json!("2"), &json!("app")), "{case}");
        assert_eq!(claims["roles"], json!(["Invoices.Export"]), "{case}");
    }
    let used = world.store.audit(0, 1_000).unwrap().pop().unwrap().1.credential;
    let (name, subject) = ("cluster".to_owned(), WORKER.to_owned());
    assert_eq!(used, Some(Credential::Federated { name, issuer: issuer.clone(), subject }), "the audit trail names it");
    assert_eq!(cluster.fetched(), 1, "keys are asked for once");
}

#[tokio::test]
async fn a_15_no_other_token_of_any_issuer_proves_anything() {
    let cluster = Cluster::start().await;
    let world = cluster.world().await;
    let issuer = cluster.issuer();
    let claim = |name: &str, value: Value| signed(&head(), &edited(body(&issuer), name, value));
    let header = |name: &str, value: Value| signed(&edited(head(), name, value), &body(&issuer));
    let stranger =
        |header: Value| sign(&STRANGER.rs256, header.to_string().as_bytes(), body(&issuer).to_string().as_bytes());
    let cases = [
        ("another subject", claim("sub", json!("system:serviceaccount:shop:billing")), 700_213),
        ("other letters", claim("sub", json!(WORKER.to_uppercase())), 700_213),
        ("a longer subject", claim("sub", json!(format!("{WORKER}s"))), 700_213),
        ("no subject", claim("sub", Value::Null), 50_027),
        ("another audience", claim("aud", json!("https://kubernetes.default.svc")), 700_212),
        ("one audience more", claim("aud", json!([TOKEN_EXCHANGE, "https://elsewhere.example"])), 700_212),
        ("no audience", claim("aud", Value::Null), 50_027),
        ("an empty list", claim("aud", json!([])), 50_027),
        ("another issuer", claim("iss", json!("https://other.example")), 700_211),
        ("a slash more", claim("iss", json!(format!("{issuer}/"))), 700_211),
        ("another tenant's issuer", claim("iss", json!(format!("{HOST}/{FABRIKAM}/v2.0"))), 700_211),
        ("ended", claim("exp", json!(NOON.0 - 60)), 700_024),
        ("no end", claim("exp", Value::Null), 50_027),
        ("an endless life", claim("exp", json!("never")), 50_027),
        ("not yet", claim("nbf", json!(NOON.0 + 61)), 700_024),
        ("made in the future", claim("iat", json!(NOON.0 + 61)), 700_024),
        ("an ID token", claim("nonce", json!("n")), 50_027),
        ("a logout token", claim("events", json!({})), 50_027),
        ("another kind", header("typ", json!("logout+jwt")), 5_002_727),
        ("a proof", header("typ", json!("dpop+jwt")), 5_002_727),
        ("another algorithm", header("alg", json!("PS256")), 5_002_730),
        ("HMAC", header("alg", json!("HS256")), 5_002_730),
        ("none", header("alg", json!("none")), 5_002_730),
        ("no key named", header("kid", Value::Null), 7_000_274),
        ("an unknown key", header("kid", json!("another")), 7_000_274),
        ("a critical extension", header("crit", json!(["exp"])), 50_027),
        ("a stranger's key under our name", stranger(head()), 700_027),
        ("a stranger's key inside", stranger(edited(head(), "jwk", jwk(&STRANGER.rs256))), 700_027),
        ("a stranger's link", stranger(edited(head(), "jku", json!(format!("{issuer}/keys")))), 700_027),
        ("no token", "x.y.z".to_owned(), 0),
        ("no signature", signed(&head(), &body(&issuer)).rsplit_once('.').unwrap().0.to_owned() + ".", 50_027),
    ];
    assert_eq!(send(&world, &signed(&head(), &body(&issuer))).await.status, 200, "the table would prove nothing");
    for (case, assertion, code) in cases {
        let answer = send(&world, &assertion).await;
        let (status, error, found, _) = answer.refused();
        assert!(matches!(status, 400 | 401), "{case}: {}", answer.text());
        assert!(error == "invalid_client" || error == "invalid_request", "{case}: {error}");
        assert!(found == code || code == 0, "{case}: {}", answer.text());
        assert!(case == "a longer subject" || !answer.text().contains(WORKER), "{case}: tells what is registered");
    }
    // The credential is the daemon's and nobody else's.
    let token = signed(&head(), &body(&issuer));
    for name in ["orders", "rival", "web"] {
        refused(&world.token(with_assertion(name, &token)).await, 401, "invalid_client", name);
    }
    refused(&world.token(with_assertion("native", &token)).await, 401, "invalid_client", "a public client");
}

#[tokio::test]
async fn a_user_assigned_identity_may_be_proved_so_too() {
    let cluster = Cluster::start().await;
    let resource = "/subscriptions/1/providers/Microsoft.ManagedIdentity/userAssignedIdentities/worker";
    let world = cluster.world().await;
    let identity = ManagedIdentity { kind: ManagedIdentityKind::UserAssigned, resource_id: resource.to_owned() };
    world.edit_app("daemon", |app| app.managed_identity = Some(identity.clone())).await;
    let answer = send(&world, &signed(&head(), &body(&cluster.issuer()))).await.ok();
    assert_eq!(claims(&text(&answer, "access_token"))["xms_mirid"], resource);
    // And it may be trusted in its turn: for the exchange, as Azure's own identities are.
    let form = but(with_assertion("daemon", &signed(&head(), &body(&cluster.issuer()))), "scope", None);
    let form = [form, vec![("scope", format!("{TOKEN_EXCHANGE}/.default"))]].concat();
    let token = text(&world.token(form).await.ok(), "access_token");
    let trusted = federated(&format!("{HOST}/{CONTOSO}/v2.0"), &principal("daemon").to_string());
    world.edit_app("rival", |app| app.federated_identity_credentials.push(trusted.clone())).await;
    world.token(with_assertion("rival", &token)).await.ok();
}

#[tokio::test]
async fn a_14_an_assertion_of_another_issuer_is_one_mechanism_too() {
    let cluster = Cluster::start().await;
    let world = cluster.world().await;
    let token = signed(&head(), &body(&cluster.issuer()));
    let both = [with_assertion("daemon", &token), vec![("client_secret", secret("daemon"))]].concat();
    refused(&world.token(both).await, 400, "invalid_request", "a secret besides");
    let secret_alone = client_credentials("daemon", "api://billing/.default");
    refused(&world.token(secret_alone).await, 401, "invalid_client", "a secret that is not registered");
    refused(
        &world.token(but(with_assertion("daemon", ""), "client_assertion", None)).await,
        401,
        "invalid_client",
        "none",
    );
    assert_eq!(cluster.fetched(), 0, "nobody was asked for keys");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_flood_of_unknown_keys_reaches_the_issuer_once() {
    let cluster = Cluster::start().await;
    let world = cluster.world().await;
    let unknown = signed(&edited(head(), "kid", json!("unknown")), &body(&cluster.issuer()));
    for _ in 0..3 {
        let answers = world.at_once(with_assertion("daemon", &unknown), 64).await;
        assert!(answers.iter().all(|answer| answer.status == 401), "{}", answers[0].text());
    }
    assert!(cluster.fetched() <= 2, "{}", cluster.fetched());
    send(&world, &signed(&head(), &body(&cluster.issuer()))).await.ok();
}

#[tokio::test]
async fn an_issuers_new_key_is_found_and_its_outage_keeps_the_known_ones() {
    let cluster = Cluster::start().await;
    let world = cluster.world().await;
    let issuer = cluster.issuer();
    send(&world, &signed(&head(), &body(&issuer))).await.ok();
    *cluster.keys.lock().unwrap() = Some(vec![jwk(&NEXT)]);
    world.clock.advance(31);
    let header = edited(head(), "kid", json!(NEXT.kid()));
    let renewed = sign(&NEXT, header.to_string().as_bytes(), body(&issuer).to_string().as_bytes());
    send(&world, &renewed).await.ok();
    refused(&send(&world, &signed(&head(), &body(&issuer))).await, 401, "invalid_client", "the withdrawn key");
    *cluster.keys.lock().unwrap() = None;
    world.clock.advance(600);
    send(&world, &renewed).await.ok();
}

#[tokio::test]
async fn without_the_issuers_keys_nothing_is_proved_and_the_operator_is_told() {
    let cluster = Cluster::start().await;
    let world = cluster.world().await;
    *cluster.keys.lock().unwrap() = None;
    let token = signed(&head(), &body(&cluster.issuer()));
    let (status, error, _, check) = send(&world, &token).await.refused();
    assert_eq!((status, error.as_str(), check.as_str()), (503, "temporarily_unavailable", "client.federated_keys"));
    *cluster.keys.lock().unwrap() = Some(vec![jwk(&KEY)]);
    world.clock.advance(5);
    send(&world, &token).await.ok();
}

#[tokio::test]
async fn an_issuer_that_only_an_application_names_is_never_reached_inside() {
    let cluster = Cluster::start().await;
    let public = Fetch::builder().ca_pem(cluster.server.ca_pem().as_bytes()).unwrap().build().unwrap();
    let credential = federated(&cluster.issuer(), WORKER);
    let world = World::federated(Federation::over(Arc::new(public)), |plan| {
        plan.app("daemon").federated_identity_credentials.push(credential);
    })
    .await;
    let answer = send(&world, &signed(&head(), &body(&cluster.issuer()))).await;
    assert_eq!(answer.check(), "client.federated_keys");
    assert_eq!(cluster.fetched(), 0);
}

#[tokio::test]
async fn a_disabled_application_makes_nobody_fetch_keys() {
    let cluster = Cluster::start().await;
    let world = cluster.world().await;
    world.edit_principal("daemon", |principal| principal.account_enabled = false).await;
    assert_eq!(send(&world, &signed(&head(), &body(&cluster.issuer()))).await.check(), "client.enabled");
    assert_eq!(cluster.fetched(), 0);
}

#[tokio::test]
async fn a_credential_that_was_taken_away_proves_nothing_any_more() {
    let cluster = Cluster::start().await;
    let world = cluster.world().await;
    let token = signed(&head(), &body(&cluster.issuer()));
    send(&world, &token).await.ok();
    world.edit_app("daemon", |app| app.federated_identity_credentials[0].subject = "another".into()).await;
    assert_eq!(send(&world, &token).await.refused().2, 700_213);
    world.edit_app("daemon", |app| app.federated_identity_credentials.clear()).await;
    refused(&send(&world, &token).await, 401, "invalid_client", "none left");
}

#[tokio::test]
async fn a_15_where_assertions_work_once_so_do_those_of_other_issuers() {
    let cluster = Cluster::start().await;
    let world = cluster.world().await;
    world.edit_app("daemon", |app| app.deputize.one_time_assertions = true).await;
    let issuer = cluster.issuer();
    let answers = world.at_once(with_assertion("daemon", &signed(&head(), &body(&issuer))), 16).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1);
    assert!(
        answers.iter().filter(|answer| answer.status != 200).all(|answer| answer.check() == "client.assertion_once")
    );
    send(&world, &signed(&head(), &edited(body(&issuer), "jti", json!("two")))).await.ok();
    let nameless = signed(&head(), &edited(body(&issuer), "jti", Value::Null));
    assert_eq!(send(&world, &nameless).await.check(), "client.assertion_once");
}

/// What Fabrikam's `web` gets for the token exchange, and a world in which Contoso's daemon trusts it.
async fn two_tenants() -> (World, String) {
    let credential = federated(&format!("{HOST}/{FABRIKAM}/v2.0"), &principal("web@fabrikam").to_string());
    let world = World::with(|plan| plan.app("daemon").federated_identity_credentials.push(credential)).await;
    let form = client_credentials("web", &format!("{TOKEN_EXCHANGE}/.default"));
    let token = text(&world.token_at(&FABRIKAM.to_string(), form).await.ok(), "access_token");
    (world, token)
}

#[tokio::test]
async fn an_application_of_another_tenant_of_this_authority_may_be_trusted() {
    let (world, token) = two_tenants().await;
    assert_eq!(claims(&token)["iss"], format!("{HOST}/{FABRIKAM}/v2.0"));
    let answer = send(&world, &token).await.ok();
    let issued = claims(&text(&answer, "access_token"));
    assert_eq!((&issued["tid"], &issued["azpacr"]), (&json!(CONTOSO.to_string()), &json!("2")));
    // The same application at home is another subject, of another issuer.
    let form = client_credentials("web", &format!("{TOKEN_EXCHANGE}/.default"));
    let home = text(&world.token(form).await.ok(), "access_token");
    assert_eq!(send(&world, &home).await.refused().2, 700_211);
    // For another API: whoever received it there must not become the daemon.
    let form = client_credentials("web", "api://billing/.default");
    let other = text(&world.token_at(&FABRIKAM.to_string(), form).await.ok(), "access_token");
    assert_eq!(send(&world, &other).await.refused().2, 700_212);
    world.clock.advance(3_599 + 60);
    assert_eq!(send(&world, &token).await.refused().2, 700_024);
}

#[tokio::test]
async fn a_token_of_a_user_proves_no_application() {
    let world = World::new().await;
    let signed_in = world.signed_in("web", "ada", "openid api://orders/access_as_user").await;
    for name in ["access_token", "id_token"] {
        let token = text(&signed_in, name);
        let subject = text(&claims(&token), "sub");
        let credential = FederatedIdentityCredential {
            audiences: vec![text(&claims(&token), "aud")],
            ..federated(&format!("{HOST}/{CONTOSO}/v2.0"), &subject)
        };
        world.edit_app("daemon", |app| app.federated_identity_credentials = vec![credential.clone()]).await;
        assert_eq!(
            send(&world, &token).await.refused(),
            (401, "invalid_client".into(), 700_229, "client.federated_app_only".into())
        );
    }
}

#[tokio::test]
async fn x_01_a_trusted_application_that_is_disabled_at_home_proves_nothing_here() {
    let (world, token) = two_tenants().await;
    send(&world, &token).await.ok();
    world.edit_principal("web@fabrikam", |principal| principal.account_enabled = false).await;
    assert_eq!(send(&world, &token).await.check(), "client.enabled");
}

/// X-01, for clients that another issuer vouches for: once it is trusted no more, none of their ways to a token is left.
#[tokio::test]
async fn x_01_an_issuer_that_another_process_removed_proves_nothing_in_any_grant() {
    let cluster = Cluster::start().await;
    let issuer = cluster.issuer();
    let clients = ["web", "orders", "daemon"];
    let world = World::federated(cluster.federation(), |plan| {
        for name in clients {
            let app = plan.app(name);
            app.key_credentials.clear();
            app.federated_identity_credentials.push(federated(&issuer, WORKER));
        }
    })
    .await;
    let proof = signed(&head(), &body(&issuer));
    let ask = async |form: Params<'static>| {
        let proven = [("client_assertion_type", ASSERTION_TYPE.to_owned()), ("client_assertion", proof.clone())];
        world.token([but(form, "client_secret", None), proven.to_vec()].concat()).await
    };
    let mut browser = Browser::default();
    let scope = "api://orders/access_as_user offline_access";
    let first = browser.code(&world, "web", "ada", scope).await;
    let code = browser.code(&world, "web", "ada", scope).await;
    let whole = ask(redeem_form("web", &first)).await.ok();
    let forms = [
        refresh_form("web", &text(&whole, "refresh_token"), None),
        obo_form("orders", &text(&whole, "access_token"), "api://billing/.default"),
        client_credentials("daemon", "api://billing/.default"),
    ];
    for form in forms.clone() {
        ask(form).await.ok();
    }
    let elsewhere = world.beside();
    for name in clients {
        elsewhere.edit_app(name, |app| app.federated_identity_credentials.clear()).await;
    }
    world.store.poll().unwrap();
    for form in forms.into_iter().chain([redeem_form("web", &code)]) {
        assert_eq!(ask(form).await.check(), "client.federated_issuer");
    }
    // Who has a secret besides goes on with that, what was issued before included.
    world.refresh("web", &text(&whole, "refresh_token"), None).await.ok();
}

#[tokio::test]
async fn an_application_with_a_certificate_too_is_told_which_of_the_two_failed() {
    let cluster = Cluster::start().await;
    let credential = federated(&cluster.issuer(), WORKER);
    let world = World::federated(cluster.federation(), |plan| {
        plan.app("orders").federated_identity_credentials.push(credential);
    })
    .await;
    assertions::send(&world, &assertions::good().sign(&ORDERS)).await.ok();
    world.token(with_assertion("orders", &signed(&head(), &body(&cluster.issuer())))).await.ok();
    // Signed with its certificate, in another's name: the certificate speaks for this application alone.
    let posing = assertions::good().claim("iss", json!(cluster.issuer())).claim("sub", json!(WORKER)).sign(&ORDERS);
    refused(&assertions::send(&world, &posing).await, 401, "invalid_client", "its own key for the issuer's token");
    let posing = edited(edited(body(&cluster.issuer()), "iss", json!(app("orders"))), "sub", json!(app("orders")));
    refused(
        &assertions::send(&world, &signed(&head(), &posing)).await,
        401,
        "invalid_client",
        "the issuer's key for its own",
    );
}
