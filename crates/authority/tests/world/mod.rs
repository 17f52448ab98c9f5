//! Contoso and Fabrikam behind the real router, over a real store, with real keys and a clock that is set by hand.
pub(crate) mod browser;
pub(crate) mod estate;
pub(crate) mod keys;
pub(crate) mod stream;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use decision::Timestamp;
use deputize_authority::{Authority, Federation, Settings, authority};
use deputize_core::audit::AuditRecord;
use deputize_core::model;
use deputize_core::ports::Crypto;
use estate::{CONTOSO, Plan};
use http_body_util::BodyExt as _;
use oauth::Form;
use serde_json::{Map, Value};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use store::{Change, Key, Object, Options, Store, StoreKeys};
use testkit::SetClock;
use tower::ServiceExt as _;

pub(crate) const NOON: Timestamp = Timestamp(1_800_000_000);
pub(crate) const HOST: &str = "https://login.example:8443";
pub(crate) const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
pub(crate) const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
pub(crate) const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
pub(crate) const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Parameters of a request.
pub(crate) type Params<'a> = Vec<(&'a str, String)>;

/// An authority and all that stands behind it. Dropped in this order: the store closes before its folder goes.
pub(crate) struct World {
    pub(crate) authority: Authority,
    pub(crate) router: Router,
    pub(crate) store: Arc<Store>,
    pub(crate) clock: SetClock,
    pub(crate) folder: Folder,
}

pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("deputize-authority-{}-{}", std::process::id(), NEXT.fetch_add(1, SeqCst));
        Self(std::env::temp_dir().join(name))
    }
    pub(crate) fn file(&self) -> PathBuf {
        self.0.join("store.db")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What came back.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl World {
    /// Both tenants, as [`estate::plan`] has them.
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// The same, but for some objects.
    pub(crate) async fn with(edit: impl FnOnce(&mut Plan)) -> Self {
        Self::federated(Federation::default(), edit).await
    }

    /// The same, where other issuers are reached.
    pub(crate) async fn federated(federation: Federation, edit: impl FnOnce(&mut Plan)) -> Self {
        let (folder, clock) = (Folder::new(), SetClock::at(NOON));
        let store = opened(&folder, &clock);
        let world = Self::over(store, folder, clock, federation);
        let mut plan = estate::plan(world.crypto());
        edit(&mut plan);
        world.apply(plan.objects().into_iter().map(Change::from).collect()).await;
        world
    }

    /// The same after its process has ended and started again.
    pub(crate) fn restarted(self) -> Self {
        let Self { authority, router, store, clock, folder } = self;
        drop((authority, router, store));
        let store = opened(&folder, &clock);
        Self::over(store, folder, clock, Federation::default())
    }

    /// Another process over the same file.
    pub(crate) fn beside(&self) -> Self {
        // A folder of its own, that never comes to be: the file goes with the first.
        Self::over(opened(&self.folder, &self.clock), Folder::new(), self.clock.clone(), Federation::default())
    }

    fn over(store: Arc<Store>, folder: Folder, clock: SetClock, federation: Federation) -> Self {
        let random = Mutex::new(testkit::Random::seeded(0x5eed));
        let settings = Settings {
            host: HOST.to_owned(),
            signing_keys: keys::signing(),
            pepper: [3; 32],
            seal_key: [4; 32],
            random: Arc::new(move |buffer: &mut [u8]| {
                let mut random = random.lock().unwrap();
                for chunk in buffer.chunks_mut(8) {
                    chunk.copy_from_slice(&random.next().to_le_bytes()[..chunk.len()]);
                }
            }),
            federation,
        };
        let authority = authority(settings, store.clone(), store.clone(), Arc::new(clock.clone()));
        Self { router: authority.router(), authority, store, clock, folder }
    }

    pub(crate) fn crypto(&self) -> &dyn Crypto {
        &*self.authority.ports.crypto
    }

    /// Changes the directory, as an administrator does.
    /// The newest record of the audit trail.
    pub(crate) fn last_record(&self) -> AuditRecord {
        self.store.audit(0, 1_000).unwrap().pop().unwrap().1
    }

    pub(crate) async fn apply(&self, changes: Vec<Change>) {
        self.store.apply(changes, record()).await.unwrap();
    }

    pub(crate) async fn put(&self, object: Object) {
        self.apply(vec![object.into()]).await;
    }

    pub(crate) async fn delete(&self, key: Key) {
        self.apply(vec![Change::Delete(key)]).await;
    }

    /// Changes objects of the directory: all that `edit` says it changed.
    async fn edit(&self, edit: impl Fn(&mut Object) -> bool) {
        let changed = self.store.objects().unwrap().into_iter().filter_map(|mut o| edit(&mut o).then(|| o.into()));
        let changed: Vec<Change> = changed.collect();
        assert!(!changed.is_empty(), "nothing was changed");
        self.apply(changed).await;
    }

    pub(crate) async fn edit_user(&self, name: &str, edit: impl Fn(&mut model::User)) {
        let id = estate::user(name);
        self.edit(|object| match object {
            Object::User(user) if user.id == id => {
                edit(user);
                true
            }
            _ => false,
        })
        .await;
    }

    pub(crate) async fn edit_app(&self, name: &str, edit: impl Fn(&mut model::Application)) {
        let id = estate::app(name);
        self.edit(|object| match object {
            Object::Application(app) if app.app_id == id => {
                edit(app);
                true
            }
            _ => false,
        })
        .await;
    }

    pub(crate) async fn edit_principal(&self, name: &str, edit: impl Fn(&mut model::ServicePrincipal)) {
        let id = estate::principal(name);
        self.edit(|object| match object {
            Object::ServicePrincipal(it) if it.id == id => {
                edit(it);
                true
            }
            _ => false,
        })
        .await;
    }

    /// Changes Contoso.
    pub(crate) async fn edit_tenant(&self, edit: impl Fn(&mut model::Tenant)) {
        self.edit(|object| match object {
            Object::Tenant(it) if it.id == CONTOSO => {
                edit(it);
                true
            }
            _ => false,
        })
        .await;
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        send(self.router.clone(), request).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Request::builder().uri(path).body(Body::empty()).unwrap()).await
    }

    /// With a bearer token.
    pub(crate) async fn get_with(&self, path: &str, token: &str) -> Answer {
        let request = Request::builder().uri(path).header("authorization", format!("Bearer {token}"));
        self.send(request.body(Body::empty()).unwrap()).await
    }

    /// Another process's view of the same state.
    pub(crate) fn another_store(&self) -> Arc<Store> {
        let store = Store::open(&self.folder.file(), StoreKeys::new([7; 32]), Arc::new(self.clock.clone()));
        Arc::new(store.unwrap())
    }

    /// Sends a body as a form.
    pub(crate) async fn post(&self, path: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Answer {
        let mut request = Request::builder().method(Method::POST).uri(path);
        if !headers.iter().any(|(name, _)| *name == "content-type") {
            request = request.header("content-type", "application/x-www-form-urlencoded");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(body.into()).unwrap()).await
    }

    /// The token endpoint of Contoso.
    pub(crate) async fn token(&self, params: Params<'_>) -> Answer {
        self.token_at(&CONTOSO.to_string(), params).await
    }

    pub(crate) async fn token_at(&self, tenant: &str, params: Params<'_>) -> Answer {
        self.post(&token_path(tenant), &[], encode(&params)).await
    }

    /// Sends one form to the token endpoint, many times at once.
    pub(crate) async fn at_once(&self, params: Params<'_>, count: usize) -> Vec<Answer> {
        let body = encode(&params);
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..count {
            let request = Request::post(token_path(&CONTOSO.to_string()))
                .header("content-type", "application/x-www-form-urlencoded")
                .body(Body::from(body.clone()));
            tasks.spawn(send(self.router.clone(), request.unwrap()));
        }
        tasks.join_all().await
    }

    /// Trades `assertion` for a token of `scope`, as the confidential client `name`.
    pub(crate) async fn obo(&self, name: &str, assertion: &str, scope: &str) -> Answer {
        self.token(obo_form(name, assertion, scope)).await
    }

    /// Redeems a code as `name`, with the verifier.
    pub(crate) async fn redeem(&self, name: &str, code: &str) -> Answer {
        self.token(redeem_form(name, code)).await
    }

    pub(crate) async fn refresh(&self, name: &str, token: &str, scope: Option<&str>) -> Answer {
        self.token(refresh_form(name, token, scope)).await
    }

    /// Signs `user` in at `client` and redeems the code: the whole answer of the token endpoint.
    pub(crate) async fn signed_in(&self, client: &str, user: &str, scope: &str) -> Value {
        let mut browser = browser::Browser::default();
        let code = browser.code(self, client, user, scope).await;
        self.redeem(client, &code).await.ok()
    }

    /// An access token of `user` at `client` for `scope`.
    pub(crate) async fn access_token(&self, client: &str, user: &str, scope: &str) -> String {
        text(&self.signed_in(client, user, scope).await, "access_token")
    }

    /// An access token for Billing, as Orders gets it for Ada.
    pub(crate) async fn billing_token(&self) -> String {
        text(&self.obo("orders", &self.orders_token().await, "api://billing/.default").await.ok(), "access_token")
    }

    /// An access token for Orders, as Ada gets it through `web`.
    pub(crate) async fn orders_token(&self) -> String {
        self.access_token("web", "ada", "api://orders/access_as_user").await
    }
}

fn opened(folder: &Folder, clock: &SetClock) -> Arc<Store> {
    let options = Options { busy: Duration::from_millis(1), ..Options::default() };
    let store = Store::open_with(&folder.file(), StoreKeys::new([7; 32]), Arc::new(clock.clone()), &options);
    Arc::new(store.unwrap())
}

/// Sends a request, for tasks of their own too.
pub(crate) async fn send(router: Router, request: Request<Body>) -> Answer {
    let (parts, body) = router.oneshot(request).await.unwrap().into_parts();
    Answer { status: parts.status, headers: parts.headers, body: body.collect().await.unwrap().to_bytes().to_vec() }
}

pub(crate) fn token_path(tenant: &str) -> String {
    format!("/{tenant}/oauth2/v2.0/token")
}

/// The credential of a client: a secret, or nothing where it is public.
pub(crate) fn credential(name: &str) -> Params<'static> {
    let mut params = vec![("client_id", estate::app(name).to_string())];
    if !estate::PUBLIC.contains(&name) {
        params.push(("client_secret", estate::secret(name)));
    }
    params
}

pub(crate) fn obo_form(name: &str, assertion: &str, scope: &str) -> Params<'static> {
    let mut params = credential(name);
    params.extend([
        ("grant_type", JWT_BEARER.to_owned()),
        ("requested_token_use", "on_behalf_of".to_owned()),
        ("assertion", assertion.to_owned()),
        ("scope", scope.to_owned()),
    ]);
    params
}

pub(crate) fn redeem_form(name: &str, code: &str) -> Params<'static> {
    let mut params = credential(name);
    params.extend([
        ("grant_type", "authorization_code".to_owned()),
        ("code", code.to_owned()),
        ("redirect_uri", estate::redirect(name).to_owned()),
        ("code_verifier", VERIFIER.to_owned()),
    ]);
    params
}

pub(crate) fn refresh_form(name: &str, token: &str, scope: Option<&str>) -> Params<'static> {
    let mut params = credential(name);
    params.extend([("grant_type", "refresh_token".to_owned()), ("refresh_token", token.to_owned())]);
    params.extend(scope.map(|scope| ("scope", scope.to_owned())));
    params
}

pub(crate) fn client_credentials(name: &str, scope: &str) -> Params<'static> {
    let mut params = credential(name);
    params.extend([("grant_type", "client_credentials".to_owned()), ("scope", scope.to_owned())]);
    params
}

/// Replaces a parameter, or takes it away.
pub(crate) fn but<'a>(mut params: Params<'a>, name: &'a str, value: Option<&str>) -> Params<'a> {
    params.retain(|(known, _)| *known != name);
    params.extend(value.map(|value| (name, value.to_owned())));
    params
}

pub(crate) fn encode(params: &Params<'_>) -> String {
    params.iter().fold(Form::default(), |form, (name, value)| form.with(name, value)).encode()
}

pub(crate) fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_else(|| panic!("`{name}` in {value}")).to_owned()
}

/// The claims of a token, unverified.
pub(crate) fn claims(token: &str) -> Value {
    part(token, 1)
}

/// The header of a token.
pub(crate) fn header(token: &str) -> Value {
    part(token, 0)
}

fn part(token: &str, n: usize) -> Value {
    let part = token.split('.').nth(n).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

pub(crate) fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        other => panic!("not an object: {other}"),
    }
}

/// An audit record of an administrator's change.
pub(crate) fn record() -> AuditRecord {
    serde_json::from_value(serde_json::json!({"at": NOON, "decision": "test", "action": "apply"})).unwrap()
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{} {}", self.status, self.text()))
    }

    /// The body of a success.
    pub(crate) fn ok(&self) -> Value {
        assert_eq!(self.status, StatusCode::OK, "{}", self.text());
        self.json()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    /// `error`, AADSTS code and check of a refusal, which must have the whole shape of spec/entra.md section 10.1.
    pub(crate) fn refused(&self) -> (u16, String, u64, String) {
        let body = self.json();
        assert!(self.status.is_client_error() || self.status == StatusCode::SERVICE_UNAVAILABLE, "{body}");
        self.shape(&body);
        let code = body["error_codes"][0].as_u64().unwrap_or_default();
        (self.status.as_u16(), text(&body, "error"), code, text(&body["deputize_hint"], "check"))
    }

    /// The check that failed.
    pub(crate) fn check(&self) -> String {
        self.refused().3
    }

    fn shape(&self, body: &Value) {
        assert_eq!(self.header("content-type"), "application/json; charset=utf-8");
        assert!(self.header("cache-control").contains("no-store"), "{body}");
        assert_eq!(self.header("pragma"), "no-cache");
        let wait = matches!(self.status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(self.headers.contains_key("retry-after"), wait, "{body}");
        let trace = text(body, "trace_id");
        assert_eq!(self.header("x-ms-request-id"), trace);
        for name in ["check", "fixer", "fix"] {
            assert!(!text(&body["deputize_hint"], name).is_empty(), "{name}: {body}");
        }
        assert!(!body.to_string().contains("canary-"), "a secret in {body}");
        let Some(code) = body["error_codes"][0].as_u64() else { return };
        let (correlation, timestamp) = (text(body, "correlation_id"), text(body, "timestamp"));
        assert_eq!(timestamp.len(), 20, "{timestamp}");
        assert_eq!(text(body, "error_uri"), format!("{HOST}/error?code={code}"));
        let description = text(body, "error_description");
        let tail = format!("\r\nTrace ID: {trace}\r\nCorrelation ID: {correlation}\r\nTimestamp: {timestamp}");
        assert!(description.starts_with(&format!("AADSTS{code}: ")) && description.ends_with(&tail), "{description}");
        if !body["claims"].is_null() {
            let challenge: Value = serde_json::from_str(&text(body, "claims")).unwrap();
            assert!(challenge["access_token"].is_object(), "{challenge}");
        }
    }
}
