//! A gateway with a management API, over real sockets.
use crate::support::{Answered, NOON, World, answered};
use client::Random;
use gateway::{Gateway, Management, Operator, Ports, Store};
use serde_json::{Value, json};
use serve::{Listeners, Socket};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use testkit::SetClock;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

pub(crate) const KEY: &str = "Ocp-Apim-Subscription-Key";

/// Two APIs behind keys, a product with a policy of its own, a subscription of the file; and who may manage.
pub(crate) const FILE: &str = r#"
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

impl Counting {
    pub(crate) fn from(first: u64) -> Self {
        Self(AtomicU64::new(first))
    }
}

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
pub(crate) struct Done {
    pub(crate) calls: Mutex<Vec<&'static str>>,
    pub(crate) broken: Mutex<Option<String>>,
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

pub(crate) struct Managed {
    pub(crate) world: World,
    pub(crate) address: SocketAddr,
    pub(crate) store: Arc<Store>,
    pub(crate) done: Arc<Done>,
    _listeners: Listeners,
}

impl Managed {
    pub(crate) async fn start() -> Self {
        Self::by(FILE).await
    }

    pub(crate) async fn by(text: &str) -> Self {
        let mut opened = None;
        let world = World::within(text, SetClock::at(NOON), |ports, folder| {
            let ports = Ports { random: Arc::new(Counting::from(1)), ..ports };
            let store = store(&ports, folder);
            opened = Some(Arc::clone(&store));
            Ports { store: Some(store), ..ports }
        })
        .await;
        let done = Arc::new(Done::default());
        let (address, listeners) = listen(&world.gateway, &done).await;
        Self { world, address, store: opened.unwrap(), done, _listeners: listeners }
    }

    pub(crate) async fn ask(&self, method: &str, path: &str, fields: &[(&str, &str)], body: &str) -> Answered {
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

    pub(crate) fn manager(&self) -> String {
        self.bearer(&json!({ "scp": "Gateway.Manage", "roles": ["Gateway.Manage"] }))
    }

    pub(crate) fn bearer(&self, claims: &Value) -> String {
        let mut all = json!({ "aud": "api://gateway", "oid": "o-admin", "azp": "portal" });
        for (name, value) in claims.as_object().unwrap() {
            all[name] = value.clone();
        }
        self.world.bearer(&all)
    }

    /// As who may everything.
    pub(crate) async fn manage(&self, method: &str, path: &str, fields: &[(&str, &str)], body: &Value) -> Answered {
        let bearer = self.manager();
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.ask(method, path, &[&[("authorization", bearer.as_str())], fields].concat(), &body).await
    }

    pub(crate) async fn show(&self, path: &str) -> Answered {
        self.manage("GET", path, &[], &Value::Null).await
    }

    /// A new subscription, and its two keys.
    pub(crate) async fn subscribe(&self, name: &str, scope: &str) -> (String, String) {
        let made = self.manage("PUT", &format!("/subscriptions/{name}"), &[], &json!({ "scope": scope })).await;
        assert_eq!(made.status, 201, "{made:?}");
        let key = |name: &str| made.json()[name].as_str().unwrap().to_owned();
        (key("primaryKey"), key("secondaryKey"))
    }

    pub(crate) async fn call(&self, path: &str, key: &str) -> u16 {
        self.world.get(path, &[(KEY, key)]).await.status
    }

    pub(crate) async fn changes(&self) -> Vec<Value> {
        self.show("/changes").await.json()["value"].as_array().unwrap().clone()
    }
}

pub(crate) async fn listen(gateway: &Arc<Gateway>, done: &Arc<Done>) -> (SocketAddr, Listeners) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let operator = Arc::clone(done) as Arc<dyn Operator>;
    let management = Arc::new(Management::new(Arc::clone(gateway), operator).unwrap());
    let mut listeners = Listeners::new();
    listeners.add(Socket::Tcp(listener), None, management);
    (address, listeners)
}

pub(crate) fn etag(answer: &Answered) -> String {
    answer.field("etag")[0].to_owned()
}
