//! The management API over real sockets: M-01, M-02, M-05, M-09.
use crate::managed::{Counting, FILE, Managed, etag};
use crate::support::answered;
use decision::Clock;
use gateway::Store;
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

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
    assert_eq!(actions, ["reload", "reload", "reloadRefused", "drain"]);
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
        Store::open(&folder.join(database), &folder.join(key), clock, &Counting::from(900))
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
