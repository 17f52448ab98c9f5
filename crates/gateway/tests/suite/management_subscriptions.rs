//! Subscriptions and products of the management API: what they open, their keys (M-05, M-10) and their usage.
use crate::managed::{FILE, KEY, Managed, etag, store};
use crate::support::{NOON, World, variable};
use gateway::Ports;
use serde_json::{Value, json};
use testkit::SetClock;

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
