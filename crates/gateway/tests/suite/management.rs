//! The management API over real sockets: M-01, M-02, M-05, M-09, M-10, and what it does to requests.
use crate::support::{Answered, NOON, World, answered, variable};
use client::Random;
use decision::Clock;
use gateway::{Gateway, Management, Operator, Ports, Store};
use serde_json::{Value, json};
use serve::{Listeners, Socket};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use testkit::SetClock;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

pub(crate) const KEY: &str = "Ocp-Apim-Subscription-Key";

/// Two APIs behind keys, a product with a policy of its own, a subscription of the file; and who may manage.
const FILE: &str = r#"
    [management]
    listen = "localhost:0"
    database = "gateway.db"
    issuers = ["contoso"]
    audiences = ["api://gateway"]

    [[issuer]]
    name = "contoso"
    issuer = "{iss}"
    jwks_uri = "{jwks}"
    tenants = ["t1"]

    [[upstream]]
    name = "orders"
    url = "{service}"

    [policies.subscription_key]

    [[api]]
    name = "orders"
    path = "/orders"
    upstream = "orders"
    [[api.operation]]
    name = "all"
    method = "*"
    path = "/*"

    [[api]]
    name = "stock"
    path = "/stock"
    upstream = "orders"
    [[api.operation]]
    name = "all"
    method = "*"
    path = "/*"

    [[product]]
    name = "gold"
    apis = ["orders"]
    [[product.policies.set_header]]
    name = "X-Product"
    value = ["gold"]

    [[subscription]]
    name = "of-the-file"
    product = "gold"
    primary = { env = "KEY_ADATUM" }
"#;

/// Bytes that do not come again.
pub(crate) struct Counting(AtomicU64);

impl Random for Counting {
    fn fill(&self, bytes: &mut [u8]) {
        for (at, part) in bytes.chunks_mut(8).enumerate() {
            let next = self.0.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9e37_79b9_7f4a_7c15) + at as u64;
            part.copy_from_slice(&next.to_le_bytes()[..part.len()]);
        }
    }
}

pub(crate) fn store(ports: &Ports, folder: &Path) -> Arc<Store> {
    let key = folder.join("gateway.db.key");
    Arc::new(Store::open(&folder.join("gateway.db"), &key, Arc::clone(&ports.clock), &*ports.random).unwrap())
}

/// What administrators had done.
#[derive(Default)]
struct Done {
    calls: Mutex<Vec<&'static str>>,
    broken: Mutex<Option<String>>,
}

impl Operator for Done {
    fn reload(&self) -> Result<(), String> {
        self.calls.lock().unwrap().push("reload");
        self.broken.lock().unwrap().clone().map_or(Ok(()), Err)
    }

    fn drain(&self) {
        self.calls.lock().unwrap().push("drain");
    }
}

struct Managed {
    world: World,
    address: SocketAddr,
    store: Arc<Store>,
    done: Arc<Done>,
    _listeners: Listeners,
}

impl Managed {
    async fn start() -> Self {
        Self::by(FILE).await
    }

    async fn by(text: &str) -> Self {
        let mut opened = None;
        let world = World::within(text, SetClock::at(NOON), |ports, folder| {
            let ports = Ports { random: Arc::new(Counting(AtomicU64::new(1))), ..ports };
            let store = store(&ports, folder);
            opened = Some(Arc::clone(&store));
            Ports { store: Some(store), ..ports }
        })
        .await;
        let done = Arc::new(Done::default());
        let (address, listeners) = listen(&world.gateway, &done).await;
        Self { world, address, store: opened.unwrap(), done, _listeners: listeners }
    }

    async fn ask(&self, method: &str, path: &str, fields: &[(&str, &str)], body: &str) -> Answered {
        let mut text = format!("{method} /management/v1{path} HTTP/1.1\r\nhost: gateway.example\r\n");
        for (name, value) in fields {
            text.extend([name, ": ", value, "\r\n"]);
        }
        if !body.is_empty() {
            let length = body.len().to_string();
            text.extend(["content-type: application/json\r\ncontent-length: ", &length, "\r\n"]);
        }
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let _ = stream.write_all(format!("{text}\r\n{body}").as_bytes()).await;
        answered(&mut stream).await
    }

    fn manager(&self) -> String {
        self.bearer(&json!({ "scp": "Gateway.Manage", "roles": ["Gateway.Manage"] }))
    }

    fn bearer(&self, claims: &Value) -> String {
        let mut all = json!({ "aud": "api://gateway", "oid": "o-admin", "azp": "portal" });
        for (name, value) in claims.as_object().unwrap() {
            all[name] = value.clone();
        }
        self.world.bearer(&all)
    }

    /// As who may everything.
    async fn manage(&self, method: &str, path: &str, fields: &[(&str, &str)], body: &Value) -> Answered {
        let bearer = self.manager();
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.ask(method, path, &[&[("authorization", bearer.as_str())], fields].concat(), &body).await
    }

    async fn show(&self, path: &str) -> Answered {
        self.manage("GET", path, &[], &Value::Null).await
    }

    /// A new subscription, and its two keys.
    async fn subscribe(&self, name: &str, scope: &str) -> (String, String) {
        let made = self.manage("PUT", &format!("/subscriptions/{name}"), &[], &json!({ "scope": scope })).await;
        assert_eq!(made.status, 201, "{made:?}");
        let key = |name: &str| made.json()[name].as_str().unwrap().to_owned();
        (key("primaryKey"), key("secondaryKey"))
    }

    async fn call(&self, path: &str, key: &str) -> u16 {
        self.world.get(path, &[(KEY, key)]).await.status
    }

    async fn changes(&self) -> Vec<Value> {
        self.show("/changes").await.json()["value"].as_array().unwrap().clone()
    }
}

async fn listen(gateway: &Arc<Gateway>, done: &Arc<Done>) -> (SocketAddr, Listeners) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let operator = Arc::clone(done) as Arc<dyn Operator>;
    let management = Arc::new(Management::new(Arc::clone(gateway), operator).unwrap());
    let mut listeners = Listeners::new();
    listeners.add(Socket::Tcp(listener), None, management);
    (address, listeners)
}

fn etag(answer: &Answered) -> String {
    answer.field("etag")[0].to_owned()
}

#[tokio::test]
async fn m_01_every_endpoint_refuses_every_caller_without_the_right_to_it() {
    let managed = Managed::start().await;
    managed.subscribe("a", "/apis").await;
    let before = managed.changes().await.len();
    let document = gateway::openapi();
    let mut asked = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        let path = path.strip_prefix("/management/v1").unwrap().replace("{name}", "a");
        for (method, operation) in methods.as_object().unwrap() {
            let (method, reads) = (method.to_uppercase(), operation["x-right"] == "read");
            let scoped = |scope: &str, roles: Value| managed.bearer(&json!({ "scp": scope, "roles": roles }));
            let app = |roles: Value| managed.bearer(&json!({ "idtyp": "app", "scp": null, "roles": roles }));
            let tampered = format!("{}x", managed.manager());
            let other = json!({ "aud": "api://orders", "scp": "Gateway.Manage", "roles": ["Gateway.Manage"] });
            let stranger = json!({ "tid": "t2", "scp": "Gateway.Manage", "roles": ["Gateway.Manage"] });
            let ended = json!({ "exp": 1, "scp": "Gateway.Manage", "roles": ["Gateway.Manage"] });
            for (who, bearer, expected) in [
                ("nobody", None, 401),
                ("a tampered token", Some(tampered), 401),
                ("a token for another API", Some(managed.bearer(&other)), 401),
                ("a token of another tenant", Some(managed.bearer(&stranger)), 401),
                ("a token that ended", Some(managed.bearer(&ended)), 401),
                ("a user with another scope", Some(scoped("Orders.Read", json!(["Gateway.Manage"]))), 403),
                ("a user without the role", Some(scoped("Gateway.Manage", json!([]))), 403),
                (
                    "a user whose role only reads",
                    Some(scoped("Gateway.Manage", json!(["Gateway.Read"]))),
                    if reads { 200 } else { 403 },
                ),
                (
                    "a reading user",
                    Some(scoped("Gateway.Read", json!(["Gateway.Read"]))),
                    if reads { 200 } else { 403 },
                ),
                ("an application without a role", Some(app(json!(["Orders.All"]))), 403),
                ("a reading application", Some(app(json!(["Gateway.Read"]))), if reads { 200 } else { 403 }),
            ] {
                let fields: Vec<(&str, &str)> =
                    bearer.as_deref().map(|bearer| ("authorization", bearer)).into_iter().collect();
                let answer = managed.ask(&method, &path, &fields, "").await;
                let expected = if expected == 200 && path.starts_with("/products/a") { 404 } else { expected };
                assert_eq!(answer.status, expected, "{who}: {method} {path}: {answer:?}");
                if expected == 401 {
                    assert!(!answer.field("www-authenticate").is_empty(), "{answer:?}");
                }
                asked += 1;
            }
        }
    }
    assert!(asked > 150, "{asked}");
    assert_eq!(managed.changes().await.len(), before, "nothing of it was done");
    assert!(managed.done.calls.lock().unwrap().is_empty());
    let application = managed.bearer(&json!({ "idtyp": "app", "scp": null, "roles": ["Gateway.Manage"] }));
    assert_eq!(managed.ask("POST", "/drain", &[("authorization", &application)], "").await.status, 202);
}

#[tokio::test]
async fn users_need_the_scope_alone_where_the_file_says_so_and_other_names_where_it_has_them() {
    let file = FILE.replacen("audiences = [", "any_user = true\n    manage = \"Edge.All\"\n    audiences = [", 1);
    let managed = Managed::by(&file).await;
    let status = async |scope: &str| {
        let bearer = managed.bearer(&json!({ "scp": scope }));
        managed.ask("POST", "/reload", &[("authorization", &bearer)], "").await.status
    };
    assert_eq!(
        (status("Edge.All").await, status("Gateway.Manage").await, status("Gateway.Read").await),
        (204, 403, 403)
    );
}

#[tokio::test]
async fn head_is_answered_as_get_without_the_body_and_who_lacks_a_role_is_told_of_the_lesser_one() {
    let managed = Managed::start().await;
    // No body follows the length that is told.
    let close = [("connection", "close")];
    let (get, head) = (managed.show("/status").await, managed.manage("HEAD", "/status", &close, &Value::Null).await);
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    assert_eq!(head.field("content-length"), [get.body.len().to_string()]);
    assert_eq!(head.field("content-type"), get.field("content-type"));
    assert_eq!(managed.ask("HEAD", "/status", &close, "").await.status, 401);
    assert_eq!(managed.manage("HEAD", "/reload", &close, &Value::Null).await.status, 405);
    let bearer = managed.bearer(&json!({ "scp": "Gateway.Read" }));
    let answer = managed.ask("GET", "/status", &[("authorization", &bearer)], "").await;
    assert!(answer.status == 403 && answer.body.contains("the app role `Gateway.Read`"), "{answer:?}");
    let answer = managed.ask("POST", "/reload", &[("authorization", &bearer)], "").await;
    assert!(answer.status == 403 && answer.body.contains("Gateway.Manage`"), "{answer:?}");
}

#[tokio::test]
async fn m_01_two_credentials_or_one_in_the_query_are_none() {
    let managed = Managed::start().await;
    let bearer = managed.manager();
    let twice = [("authorization", bearer.as_str()), ("authorization", bearer.as_str())];
    assert!(matches!(managed.ask("GET", "/status", &twice, "").await.status, 400 | 401));
    let token = bearer.strip_prefix("Bearer ").unwrap();
    let answer = managed.ask("GET", &format!("/status?access_token={token}"), &[], "").await;
    assert!(matches!(answer.status, 400 | 401), "{answer:?}");
}

#[tokio::test]
async fn a_subscription_opens_what_it_is_to_from_its_answer_on_and_until_it_is_suspended_or_ends() {
    let managed = Managed::start().await;
    let (primary, secondary) = managed.subscribe("a", "/apis/orders").await;
    for key in [&primary, &secondary] {
        assert_eq!((managed.call("/orders", key).await, managed.call("/stock", key).await), (200, 401));
    }
    let state = async |state: &str| {
        let answer =
            managed.manage("PATCH", "/subscriptions/a", &[("if-match", "*")], &json!({ "state": state })).await;
        assert_eq!((answer.status, answer.json()["state"].as_str()), (200, Some(state)), "{answer:?}");
        managed.call("/orders", &primary).await
    };
    assert_eq!(state("suspended").await, 401);
    assert_eq!(state("active").await, 200);
    assert_eq!(state("cancelled").await, 401);
    assert_eq!(state("active").await, 200);
    let end = json!({ "expirationDate": "2027-01-15T08:10:00Z" });
    assert_eq!(managed.manage("PATCH", "/subscriptions/a", &[("if-match", "*")], &end).await.status, 200);
    managed.world.clock.advance(599);
    assert_eq!(managed.call("/orders", &primary).await, 200);
    managed.world.clock.advance(1);
    assert_eq!(managed.call("/orders", &primary).await, 401);
    let end = json!({ "expirationDate": null });
    assert_eq!(managed.manage("PATCH", "/subscriptions/a", &[("if-match", "*")], &end).await.status, 200);
    assert_eq!(managed.call("/orders", &primary).await, 200);
    assert_eq!(managed.manage("DELETE", "/subscriptions/a", &[("if-match", "*")], &Value::Null).await.status, 204);
    assert_eq!(managed.call("/orders", &primary).await, 401);
    assert_eq!(managed.show("/subscriptions/a").await.status, 404);
    let actions: Vec<Value> = managed.changes().await.iter().map(|change| change["action"].clone()).collect();
    assert_eq!(actions.len(), 8);
    assert_eq!((&actions[0], &actions[7]), (&json!("create"), &json!("delete")));
    let first = &managed.changes().await[0];
    assert_eq!(
        (&first["subject"], &first["client"], &first["tenant"]),
        (&json!("o-admin"), &json!("portal"), &json!("t1"))
    );
}

#[tokio::test]
async fn m_10_a_key_that_is_regenerated_stops_at_once_and_the_other_goes_on() {
    let managed = Managed::start().await;
    let (primary, secondary) = managed.subscribe("a", "/products/gold").await;
    assert_eq!(managed.call("/orders", &primary).await, 200);
    assert_eq!(managed.world.service.only().field("x-product"), ["gold"], "the product's policies apply");
    let answer = managed.manage("POST", "/subscriptions/a/regeneratePrimaryKey", &[], &Value::Null).await;
    let new = answer.json()["primaryKey"].as_str().unwrap().to_owned();
    assert!(answer.json().get("secondaryKey").is_none());
    for (key, status) in [(&primary, 401), (&new, 200), (&secondary, 200)] {
        assert_eq!(managed.call("/orders", key).await, status);
    }
    let answer = managed.manage("POST", "/subscriptions/a/regenerateSecondaryKey", &[], &Value::Null).await;
    let newer = answer.json()["secondaryKey"].as_str().unwrap().to_owned();
    for (key, status) in [(&secondary, 401), (&new, 200), (&newer, 200)] {
        assert_eq!(managed.call("/orders", key).await, status);
    }
    let absent = managed.manage("POST", "/subscriptions/b/regeneratePrimaryKey", &[], &Value::Null).await;
    assert_eq!((absent.status, absent.check().as_str()), (404, "management.found"));
}

#[tokio::test]
async fn m_10_another_gateway_with_the_same_database_judges_by_a_change_once_it_has_looked() {
    let managed = Managed::start().await;
    let other = World::within(FILE, SetClock::at(NOON), |ports, _| {
        let store = store(&ports, &managed.world.folder);
        Ports { store: Some(store), ..ports }
    })
    .await;
    let (primary, _) = managed.subscribe("a", "/apis").await;
    let there = other.gateway.store().unwrap();
    let status = async || other.get("/orders", &[(KEY, &primary)]).await.status;
    assert_eq!(status().await, 401);
    assert!(there.poll());
    assert_eq!(status().await, 200);
    managed.manage("PATCH", "/subscriptions/a", &[("if-match", "*")], &json!({ "state": "suspended" })).await;
    assert!(there.poll());
    assert_eq!(status().await, 401);
}

#[tokio::test]
async fn of_two_administrators_at_once_one_changes_and_the_other_hears_of_it() {
    let managed = Managed::start().await;
    managed.subscribe("a", "/apis").await;
    let seen = etag(&managed.show("/subscriptions/a").await);
    let change = async |fields: &[(&str, &str)], text: &str| {
        managed.manage("PATCH", "/subscriptions/a", fields, &json!({ "displayName": text })).await
    };
    let first = change(&[("if-match", &seen)], "first").await;
    assert_eq!(first.status, 200);
    assert_ne!(etag(&first), seen);
    let second = change(&[("if-match", &seen)], "second").await;
    assert_eq!((second.status, second.check().as_str()), (412, "management.condition"));
    assert_eq!(change(&[], "third").await.status, 428, "nobody changes what they have not seen");
    for odd in ["17", "\"x\"", "W/\"1\"", "\"1\", \"2\""] {
        assert_eq!(change(&[("if-match", odd)], "odd").await.status, 412, "{odd}");
    }
    assert_eq!(change(&[("if-match", &etag(&first)), ("if-match", "*")], "two").await.status, 400);
    assert_eq!(managed.show("/subscriptions/a").await.json()["displayName"], "first");
    // What is there is not made once more, and what is not there is not replaced.
    let body = json!({ "scope": "/apis" });
    assert_eq!(managed.manage("PUT", "/subscriptions/a", &[], &body).await.status, 428);
    assert_eq!(managed.manage("PUT", "/subscriptions/a", &[("if-none-match", "*")], &body).await.status, 412);
    assert_eq!(managed.manage("PUT", "/subscriptions/b", &[("if-match", "*")], &body).await.status, 404);
    assert_eq!(managed.manage("DELETE", "/subscriptions/a", &[("if-match", &seen)], &Value::Null).await.status, 412);
    assert_eq!(managed.manage("DELETE", "/subscriptions/a", &[], &Value::Null).await.status, 428);
    // A version of what was deleted is no version of what comes after it.
    let newest = etag(&first);
    assert_eq!(managed.manage("DELETE", "/subscriptions/a", &[("if-match", &newest)], &Value::Null).await.status, 204);
    managed.subscribe("a", "/apis").await;
    assert_eq!(change(&[("if-match", &newest)], "late").await.status, 412);
}

#[tokio::test]
async fn m_02_what_is_replaced_keeps_its_keys_and_is_judged_as_a_whole() {
    let managed = Managed::start().await;
    let (primary, _) = managed.subscribe("a", "/apis").await;
    let whole = json!({ "scope": "/apis/stock", "ownerId": "ada", "state": "suspended" });
    let put = managed.manage("PUT", "/subscriptions/a", &[("if-match", "*")], &whole).await;
    assert_eq!(put.status, 200);
    assert!(put.json().get("primaryKey").is_none());
    assert_eq!(managed.call("/stock", &primary).await, 401);
    // Left out is as by default: nothing is kept from before but the keys, and when it was made.
    let put = managed.manage("PUT", "/subscriptions/a", &[("if-match", "*")], &json!({ "scope": "/apis/stock" })).await;
    assert_eq!((put.json()["state"].as_str(), put.json().get("ownerId")), (Some("active"), None));
    assert_eq!((managed.call("/stock", &primary).await, managed.call("/orders", &primary).await), (200, 401));
    for scope in ["/products/none", "/apis/none", "/apis/", "", "orders", "/products/gold/x"] {
        let answer =
            managed.manage("PATCH", "/subscriptions/a", &[("if-match", "*")], &json!({ "scope": scope })).await;
        assert_eq!(answer.status, 400, "{scope}");
    }
    // What it cannot be without is not taken away.
    let version = etag(&managed.show("/subscriptions/a").await);
    for name in ["scope", "state", "startDate"] {
        let answer = managed.manage("PATCH", "/subscriptions/a", &[("if-match", "*")], &json!({ name: null })).await;
        assert_eq!(answer.status, 400, "{name}: {answer:?}");
    }
    let shown = managed.show("/subscriptions/a").await;
    assert_eq!((etag(&shown), &shown.json()["scope"]), (version, &json!("/apis/stock")));
}

#[tokio::test]
async fn m_09_what_the_api_does_not_have_is_refused_by_its_name() {
    let managed = Managed::start().await;
    let bearer = managed.manager();
    let put = async |body: &str| {
        let answer = managed.ask("PUT", "/subscriptions/a", &[("authorization", &bearer)], body).await;
        (answer.status, answer.json()["message"].as_str().unwrap_or_default().to_owned())
    };
    for (body, named) in [
        (r#"{"scope":"/apis","primaryKey":"0123456789abcdef0123456789abcdef"}"#, "primaryKey"),
        (r#"{"scope":"/apis","is_admin":true}"#, "is_admin"),
        (r#"{"scope":"/apis","scope":"/apis/orders"}"#, "duplicate field `scope`"),
        (r#"{"scope":"/apis","state":"superb"}"#, "superb"),
        (r#"{"scope":["/apis"]}"#, "sequence"),
        (r#"{"scope":"/apis","startDate":"tomorrow"}"#, "startDate"),
        (r#"{"scope":"/apis","displayName":""}"#, "displayName"),
        (r#"{"scope":"/apis","ownerId":"a\u0000b"}"#, "ownerId"),
        (r#"{"scope":"/apis"} {}"#, "trailing"),
        ("[]", "object"),
        (r#"["/apis","d",null,"active",null,null]"#, "object"),
        ("{", "EOF"),
    ] {
        let (status, message) = put(body).await;
        assert_eq!(status, 400, "{body}: {message}");
        assert!(message.contains(named), "{body}: {message}");
    }
    let deep = format!("{{\"scope\":{}1{}}}", "[".repeat(30_000), "]".repeat(30_000));
    assert_eq!(put(&deep).await.0, 400);
    assert_eq!(put(&format!("{{\"scope\":\"/apis/{}\"}}", "x".repeat(70_000))).await.0, 413);
    let form = [("authorization", bearer.as_str()), ("content-type", "text/plain"), ("content-length", "17")];
    let mut text = String::from("PUT /management/v1/subscriptions/a HTTP/1.1\r\nhost: x\r\n");
    for (name, value) in form {
        text.extend([name, ": ", value, "\r\n"]);
    }
    let mut stream = TcpStream::connect(managed.address).await.unwrap();
    stream.write_all((text + "\r\n{\"scope\":\"/apis\"}").as_bytes()).await.unwrap();
    assert_eq!(answered(&mut stream).await.status, 415);
    for (path, status) in [
        ("/subscriptions?$filter=x", 400),
        ("/subscriptions?$top=0", 400),
        ("/subscriptions?$top=1&$top=1", 400),
        ("/subscriptions?$top=1001", 400),
        ("/subscriptions/a/listSecrets", 404),
        ("/users", 404),
        ("/subscriptions/a/usage?interval=year", 404),
    ] {
        let answer = managed.show(path).await;
        let status = if path.contains("interval") { 400 } else { status };
        assert_eq!(answer.status, status, "{path}");
        assert!(answer.json()["decision_id"].is_string());
    }
    assert_eq!(managed.manage("POST", "/status", &[], &Value::Null).await.field("allow"), ["GET, HEAD"]);
    assert!(managed.changes().await.is_empty());
}

#[tokio::test]
async fn names_and_texts_are_data_whatever_they_look_like() {
    let managed = Managed::start().await;
    for name in [
        "a'%3B%20DROP%20TABLE%20subscriptions%3B--",
        "%27%20OR%201=1",
        "..",
        ".hidden",
        "-",
        "a%2Fb",
        "a%00b",
        "%F0%9F%98%80",
        &"n".repeat(81),
        &"n".repeat(8_000),
    ] {
        let answer = managed.manage("PUT", &format!("/subscriptions/{name}"), &[], &json!({ "scope": "/apis" })).await;
        assert_eq!(answer.status, 400, "{name}");
        assert_eq!(managed.show(&format!("/subscriptions/{name}")).await.status, 404, "{name}");
        let gone =
            managed.manage("DELETE", &format!("/subscriptions/{name}"), &[("if-match", "*")], &Value::Null).await;
        assert_eq!(gone.status, 404, "{name}");
    }
    let text = "'); DROP TABLE subscriptions; -- <script>alert(1)</script> \u{202e}";
    let body = json!({ "scope": "/apis", "displayName": text, "ownerId": text });
    assert_eq!(managed.manage("PUT", "/subscriptions/a", &[], &body).await.status, 201);
    assert_eq!(managed.show("/subscriptions/a").await.json()["displayName"], text);
    managed.subscribe(&"n".repeat(80), "/apis").await;
    assert_eq!(managed.show("/subscriptions").await.json()["count"], 3);
}

#[tokio::test]
async fn m_05_keys_are_shown_once_and_stand_nowhere() {
    let managed = Managed::start().await;
    let (primary, secondary) = managed.subscribe("a", "/apis").await;
    let answer = managed.manage("POST", "/subscriptions/a/regeneratePrimaryKey", &[], &Value::Null).await;
    assert_eq!(answer.field("cache-control"), ["no-store"]);
    let newest = answer.json()["primaryKey"].as_str().unwrap().to_owned();
    for key in [&primary, &secondary, &newest] {
        assert_eq!(key.len(), 32);
        managed.call("/orders", key).await;
    }
    assert!(managed.store.flush().await);
    let mut told = String::from_utf8(managed.world.log.take()).unwrap();
    for path in ["/subscriptions/a", "/subscriptions", "/changes", "/status", "/subscriptions/a/usage"] {
        told += &managed.show(path).await.body;
    }
    let mut kept = told.into_bytes();
    for entry in std::fs::read_dir(&managed.world.folder).unwrap() {
        kept.extend(std::fs::read(entry.unwrap().path()).unwrap());
    }
    let text = String::from_utf8_lossy(&kept);
    assert!(text.contains("o-admin"), "the search finds what is there");
    for key in [primary, secondary, newest] {
        assert!(!text.contains(&key) && !text.contains(&key.to_uppercase()));
        let bytes: Vec<u8> = (0..16).map(|at| u8::from_str_radix(&key[at * 2..at * 2 + 2], 16).unwrap()).collect();
        assert!(!kept.windows(16).any(|window| window == bytes));
    }
}

#[tokio::test]
async fn a_name_is_the_files_or_the_databases() {
    let managed = Managed::start().await;
    for (method, path) in [("PUT", "/subscriptions/of-the-file"), ("PUT", "/products/gold")] {
        let body = if path.contains("gold") { json!({ "apis": ["stock"] }) } else { json!({ "scope": "/apis" }) };
        let answer = managed.manage(method, path, &[], &body).await;
        assert_eq!((answer.status, answer.check().as_str()), (409, "management.conflict"), "{path}");
    }
    for (method, path) in [
        ("DELETE", "/subscriptions/of-the-file"),
        ("DELETE", "/products/gold"),
        ("POST", "/subscriptions/of-the-file/regeneratePrimaryKey"),
    ] {
        assert_eq!(managed.manage(method, path, &[("if-match", "*")], &Value::Null).await.status, 409, "{path}");
    }
    let shown = managed.show("/subscriptions/of-the-file").await.json();
    assert_eq!((&shown["source"], &shown["scope"]), (&json!("file"), &json!("/products/gold")));
    managed.subscribe("a", "/apis").await;
    assert_eq!(managed.manage("PUT", "/products/silver", &[], &json!({ "apis": ["stock"] })).await.status, 201);
    for (old, new) in [("name = \"of-the-file\"", "name = \"a\""), ("name = \"gold\"", "name = \"silver\"")] {
        let text = FILE.replacen(old, new, 1);
        let text =
            if new.contains("silver") { text.replace("product = \"gold\"", "product = \"silver\"") } else { text };
        let error = managed.world.reload(&text).unwrap_err();
        assert!(error.problem.contains("of the database"), "{error}");
        assert!(!error.at.is_empty(), "the line is known");
    }
    let all = managed.show("/subscriptions").await.json();
    let names: Vec<&str> = all["value"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["a", "of-the-file"]);
    assert_eq!(managed.call("/orders", &variable("KEY_ADATUM").unwrap()).await, 200);
}

#[tokio::test]
async fn a_name_that_became_the_files_and_the_databases_in_two_processes_opens_nothing_of_the_databases() {
    let managed = Managed::start().await;
    let taken = FILE.replacen("name = \"of-the-file\"", "name = \"a\"", 1);
    let taken = taken.replace("\"gold\"", "\"silver\"");
    let other = World::within(&taken, SetClock::at(NOON), |ports, _| {
        let store = store(&ports, &managed.world.folder);
        Ports { store: Some(store), ..ports }
    })
    .await;
    let (of_name, _) = managed.subscribe("a", "/apis/orders").await;
    assert_eq!(managed.manage("PUT", "/products/silver", &[], &json!({ "apis": ["orders"] })).await.status, 201);
    let (of_product, _) = managed.subscribe("b", "/products/silver").await;
    let (sound, _) = managed.subscribe("c", "/apis/orders").await;
    assert!(other.gateway.store().unwrap().poll());
    let of_file = variable("KEY_ADATUM").unwrap();
    for (key, status) in [(&of_name, 401), (&of_product, 401), (&sound, 200), (&of_file, 200)] {
        assert_eq!(other.get("/orders", &[(KEY, key)]).await.status, status);
    }
}

#[tokio::test]
async fn a_product_of_the_database_opens_its_apis_and_has_no_policies() {
    let managed = Managed::start().await;
    let silver = json!({ "apis": ["stock"], "displayName": "Silver" });
    assert_eq!(managed.manage("PUT", "/products/silver", &[], &silver).await.status, 201);
    let (primary, _) = managed.subscribe("a", "/products/silver").await;
    assert_eq!((managed.call("/stock", &primary).await, managed.call("/orders", &primary).await), (200, 401));
    let product = managed.show("/products/silver").await;
    let both = json!({ "apis": ["stock", "orders"] });
    let put = managed.manage("PUT", "/products/silver", &[("if-match", &etag(&product))], &both).await;
    assert_eq!((put.status, &put.json()["createdDate"]), (200, &product.json()["createdDate"]));
    managed.world.service.forget();
    assert_eq!(managed.call("/orders", &primary).await, 200);
    assert!(managed.world.service.only().field("x-product").is_empty());
    let used = managed.manage("DELETE", "/products/silver", &[("if-match", "*")], &Value::Null).await;
    assert_eq!((used.status, used.check().as_str()), (409, "management.conflict"));
    for body in [
        json!({ "apis": ["stock"], "subscriptionRequired": false }),
        json!({ "apis": [] }),
        json!({ "apis": ["none"] }),
        json!({ "apis": ["stock", "stock"] }),
        json!({ "apis": "stock" }),
        json!({}),
    ] {
        assert_eq!(managed.manage("PUT", "/products/bronze", &[], &body).await.status, 400, "{body}");
    }
    assert_eq!(managed.call("/stock", "").await, 401, "and opens nothing without a key");
    managed.manage("DELETE", "/subscriptions/a", &[("if-match", "*")], &Value::Null).await;
    assert_eq!(managed.manage("DELETE", "/products/silver", &[("if-match", "*")], &Value::Null).await.status, 204);
    assert_eq!(managed.show("/products").await.json()["count"], 1);
}

#[tokio::test]
async fn g_20_keys_that_are_nearly_right_open_nothing_and_reach_no_service() {
    let managed = Managed::start().await;
    let (primary, _) = managed.subscribe("a", "/apis").await;
    let upper = primary.to_uppercase();
    for key in [&primary[1..], &primary[..31], &format!("{primary}0"), upper.as_str(), "", "'", "\" OR 1=1"] {
        let expected = if *key == primary { 200 } else { 401 };
        assert_eq!(managed.call("/orders", key).await, expected, "{key}");
    }
    assert_eq!(managed.world.get(&format!("/orders?subscription-key={primary}&a=b"), &[]).await.status, 200);
    let seen = managed.world.service.only();
    assert_eq!(seen.target(), "/?a=b", "the key is taken out");
    let two = [(KEY, primary.as_str()), (KEY, primary.as_str())];
    assert_eq!(managed.world.get("/orders", &two).await.status, 401);
}

#[tokio::test]
async fn usage_is_known_by_subscription_and_product_hour_and_day_and_outlives_the_process() {
    let managed = Managed::start().await;
    let (primary, _) = managed.subscribe("a", "/products/gold").await;
    for _ in 0..3 {
        assert_eq!(managed.call("/orders", &primary).await, 200);
    }
    assert_eq!(managed.call("/stock", &primary).await, 401, "a key that does not open this is nobody's");
    let body = format!("POST /orders HTTP/1.1\r\nhost: x\r\n{KEY}: {primary}\r\ncontent-length: 6\r\n\r\n123456");
    assert_eq!(managed.world.raw(body).await.status, 200);
    managed.world.clock.advance(3_600);
    assert_eq!(managed.call("/orders", &primary).await, 200);
    assert_eq!(managed.call("/orders", &variable("KEY_ADATUM").unwrap()).await, 200);
    let used = async |managed: &Managed, path: &str| -> Vec<(String, u64, u64, u64)> {
        let answer = managed.show(path).await;
        let value = answer.json()["value"].as_array().unwrap_or_else(|| panic!("{answer:?}")).clone();
        let number = |one: &Value, name: &str| one[name].as_u64().unwrap();
        let row = |one: &Value| {
            (
                one["from"].as_str().unwrap().to_owned(),
                number(one, "calls"),
                number(one, "refused"),
                number(one, "bytes"),
            )
        };
        value.iter().map(row).collect()
    };
    // The counts of a call are added once its answer is over.
    assert!(managed.store.flush().await);
    let (eight, nine, day) = ("2027-01-15T08:00:00Z", "2027-01-15T09:00:00Z", "2027-01-15T00:00:00Z");
    let of_a = used(&managed, "/subscriptions/a/usage").await;
    assert_eq!(of_a, [(eight.to_owned(), 4, 0, 22), (nine.to_owned(), 1, 0, 4)]);
    let of_gold = used(&managed, "/products/gold/usage").await;
    assert_eq!(of_gold, [(eight.to_owned(), 4, 0, 22), (nine.to_owned(), 2, 0, 8)]);
    assert_eq!(used(&managed, "/subscriptions/a/usage?interval=day").await, [(day.to_owned(), 5, 0, 26)]);
    let narrow = format!("/subscriptions/a/usage?from={nine}&to=2027-01-15T10:00:00Z");
    assert_eq!(used(&managed, &narrow).await.len(), 1);
    assert_eq!(managed.show("/subscriptions/nobody/usage").await.status, 404);
    let other = World::within(FILE, SetClock::at(NOON), |ports, _| {
        let store = store(&ports, &managed.world.folder);
        Ports { store: Some(store), ..ports }
    })
    .await;
    assert_eq!(other.get("/orders", &[(KEY, &primary)]).await.status, 200);
    assert!(other.gateway.store().unwrap().flush().await);
    assert_eq!(used(&managed, "/subscriptions/a/usage").await[0].1, 5, "sums of several gateways are one");
    // After a month there are days, and after a year nothing.
    managed.world.clock.advance(32 * 86_400);
    managed.store.flush().await;
    let all = "from=2020-01-01T00:00:00Z";
    assert!(used(&managed, &format!("/subscriptions/a/usage?{all}")).await.is_empty());
    assert_eq!(used(&managed, &format!("/subscriptions/a/usage?interval=day&{all}")).await.len(), 1);
    managed.world.clock.advance(400 * 86_400);
    managed.store.flush().await;
    assert!(used(&managed, &format!("/subscriptions/a/usage?interval=day&{all}")).await.is_empty());
}

#[tokio::test]
async fn calls_that_are_refused_with_a_good_key_are_counted_apart() {
    let text = FILE.replacen(
        "    [[product.policies.set_header]]",
        "    [product.policies.rate_limit]\n    calls = 1\n    renewal_period = 60\n    [[product.policies.set_header]]",
        1,
    );
    let managed = Managed::by(&text).await;
    let (primary, _) = managed.subscribe("a", "/products/gold").await;
    assert_eq!((managed.call("/orders", &primary).await, managed.call("/orders", &primary).await), (200, 429));
    assert!(managed.store.flush().await);
    let used = managed.show("/subscriptions/a/usage").await.json();
    assert_eq!((&used["value"][0]["calls"], &used["value"][0]["refused"]), (&json!(1), &json!(1)));
}

#[tokio::test]
async fn administrators_see_what_applies_and_have_the_file_read_again() {
    let managed = Managed::start().await;
    let answer = managed.show("/effectivePolicy?method=GET&url=https://api.example/orders/7").await;
    let found = &answer.json()["value"][0];
    assert_eq!((&found["operation"], &found["upstream"]), (&json!("orders/all"), &json!("orders")));
    assert_eq!(found["policies"][0]["policy"], "subscription_key");
    assert_eq!(found["products"][0]["policies"][1]["scope"], "product gold");
    assert_eq!(managed.show("/effectivePolicy").await.json()["value"].as_array().unwrap().len(), 2);
    assert_eq!(managed.show("/effectivePolicy?method=GET&url=/nowhere").await.status, 404);
    assert_eq!(managed.show("/effectivePolicy?method=GET").await.status, 400);
    let status = managed.show("/status").await.json();
    assert_eq!((&status["operations"], &status["database"]["writable"]), (&json!(2), &json!(true)));
    assert_eq!(managed.manage("POST", "/reload", &[], &Value::Null).await.status, 204);
    *managed.done.broken.lock().unwrap() = Some("line 3: no".to_owned());
    let broken = managed.manage("POST", "/reload", &[], &Value::Null).await;
    assert_eq!(broken.status, 409);
    assert!(broken.json()["message"].as_str().unwrap().contains("line 3: no"));
    assert_eq!(managed.manage("POST", "/drain", &[], &Value::Null).await.status, 202);
    assert_eq!(*managed.done.calls.lock().unwrap(), ["reload", "reload", "drain"]);
    let actions: Vec<Value> = managed.changes().await.iter().map(|change| change["action"].clone()).collect();
    assert_eq!(actions, [json!("reload"), json!("reload"), json!("drain")]);
}

#[tokio::test]
async fn a_write_that_fails_half_way_is_answered_with_503_and_leaves_nothing() {
    let managed = Managed::start().await;
    let (primary, _) = managed.subscribe("a", "/apis").await;
    let other = sql::rusqlite::Connection::open(managed.world.folder.join("gateway.db")).unwrap();
    // The record is the last thing that is written of a change.
    other.execute_batch("ALTER TABLE changes RENAME COLUMN decision_id TO gone").unwrap();
    let refused = managed.manage("PUT", "/subscriptions/b", &[], &json!({ "scope": "/apis" })).await;
    assert_eq!((refused.status, refused.check().as_str()), (503, "management.store"));
    let state = json!({ "state": "suspended" });
    assert_eq!(managed.manage("PATCH", "/subscriptions/a", &[("if-match", "*")], &state).await.status, 503);
    let key = managed.manage("POST", "/subscriptions/a/regeneratePrimaryKey", &[], &Value::Null).await;
    assert_eq!(key.status, 503);
    assert!(!key.body.contains("primaryKey"));
    assert_eq!(managed.manage("POST", "/drain", &[], &Value::Null).await.status, 503);
    assert!(managed.done.calls.lock().unwrap().is_empty());
    assert_eq!(managed.call("/orders", &primary).await, 200, "what was acknowledged goes on");
    let rows = |table: &str| -> i64 {
        other.query_row(&format!("SELECT COUNT(*) FROM {table}"), [], |row| row.get(0)).unwrap()
    };
    assert_eq!((rows("subscriptions"), rows("subscription_keys"), rows("changes")), (1, 2, 1));
    other.execute_batch("ALTER TABLE changes RENAME COLUMN gone TO decision_id").unwrap();
    managed.subscribe("b", "/apis").await;
}

#[tokio::test]
async fn a_database_and_its_key_belong_together() {
    let managed = Managed::start().await;
    let folder = managed.world.folder.clone();
    let open = |database: &str, key: &str| {
        let clock = Arc::new(managed.world.clock.clone()) as Arc<dyn Clock>;
        Store::open(&folder.join(database), &folder.join(key), clock, &Counting(AtomicU64::new(900)))
    };
    let mode = |file: &str| std::fs::metadata(folder.join(file)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("gateway.db"), mode("gateway.db.key")), (0o600, 0o600));
    let error = |opened: Result<Store, gateway::StoreError>| opened.err().unwrap().to_string();
    assert!(error(open("gateway.db", "another.key")).contains("restore it from a backup"));
    assert!(!folder.join("another.key").exists());
    drop(open("new.db", "another.key").unwrap());
    assert!(error(open("gateway.db", "another.key")).contains("made with another one"));
    std::fs::set_permissions(folder.join("another.key"), std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(error(open("new.db", "another.key")).contains("chmod 600"));
    drop(open("gateway.db", "gateway.db.key").unwrap());
}

#[tokio::test]
async fn without_management_in_the_file_nothing_is_managed() {
    let managed = Managed::start().await;
    let start = FILE.find("    [[issuer]]").unwrap();
    managed.world.reload(&FILE[start..]).unwrap();
    assert_eq!(managed.show("/status").await.status, 404);
    for (old, new) in [
        ("issuers = [\"contoso\"]\n    audiences", "issuers = []\n    audiences"),
        ("audiences = [\"api://gateway\"]", "audiences = []"),
        ("issuers = [\"contoso\"]\n    audiences", "issuers = [\"fabrikam\"]\n    audiences"),
        ("audiences = [", "manage = \"Gateway.Read\"\n    audiences = ["),
        ("audiences = [", "manage = \"\"\n    audiences = ["),
    ] {
        assert!(FILE.contains(old));
        let error = managed.world.reload(&FILE.replacen(old, new, 1)).unwrap_err();
        assert!(!error.hint.is_empty(), "{error}");
    }
}
