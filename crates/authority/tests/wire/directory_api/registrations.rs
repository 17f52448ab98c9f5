//! Registrations: credentials that change without downtime, and what binds once it is committed.
use super::{FEDERATED, application, world};
use crate::world::estate::{CONTOSO, app, secret, secret_id, user};
use crate::world::{HOST, NOON, World, but, client_credentials, text};
use deputize_core::ports::Directory as _;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;

async fn secret_works(world: &World, name: &str, secret: &str) -> bool {
    let form = but(client_credentials(name, "api://deputize/.default"), "client_secret", Some(secret));
    let answer = world.token(form).await;
    if !answer.status.is_success() {
        assert_eq!(answer.check(), "client.secret_correct");
    }
    answer.status.is_success()
}

async fn add(world: &World, name: &str, token: &str, body: Value) -> Value {
    world.directory("POST", &format!("{}/addPassword", application(name)), token, Some(&body)).await.ok()
}

/// Old and new work together, and the old one until it is taken away, at once and everywhere within a second.
#[tokio::test]
async fn m_10_secrets_change_without_a_moment_in_which_none_works() {
    let world = world().await;
    let there = world.beside();
    tokio::spawn(there.store.watch());
    let token = world.token_of("bob").await;
    let new = add(&world, "billing", &token, json!({"passwordCredential": {"displayName": "2027"}})).await;
    let fresh = text(&new, "secretText");
    for secret in [secret("billing"), fresh.clone()] {
        assert!(secret_works(&world, "billing", &secret).await);
    }
    sleep(Duration::from_secs(1)).await;
    assert!(secret_works(&there, "billing", &fresh).await && secret_works(&there, "billing", &secret("billing")).await);
    let remove = format!("{}/removePassword", application("billing"));
    let old = json!({"keyId": secret_id("billing")});
    let answer = world.directory("POST", &remove, &token, Some(&old)).await;
    assert_eq!((answer.status.as_u16(), answer.body.len()), (204, 0));
    assert!(!secret_works(&world, "billing", &secret("billing")).await);
    assert!(secret_works(&world, "billing", &fresh).await);
    sleep(Duration::from_secs(1)).await;
    assert!(!secret_works(&there, "billing", &secret("billing")).await, "the other process still takes it");
    assert!(secret_works(&there, "billing", &fresh).await);
    // What is not there cannot be removed again.
    let again = world.directory("POST", &remove, &token, Some(&old)).await;
    assert_eq!(again.denied(), (404, "Request_ResourceNotFound".into(), "directory.object".into()));
    // A secret works from its start to its end.
    let dates = json!({"passwordCredential": {
        "startDateTime": "2028-01-01T00:00:00.0000000Z", "endDateTime": "2028-02-01T00:00:00Z",
    }});
    let later = text(&add(&world, "billing", &token, dates).await, "secretText");
    assert!(!{
        let form = but(client_credentials("billing", "api://deputize/.default"), "client_secret", Some(later.as_str()));
        world.token(form).await.status.is_success()
    });
}

/// However long somebody asks for nothing, a secret ends after two years; and none is made that never works.
#[tokio::test]
async fn m_10_a_secret_has_an_end_and_a_time_in_which_it_works() {
    let world = world().await;
    let token = world.token_of("carol").await;
    let made = add(&world, "billing", &token, json!({})).await;
    assert_eq!(text(&made, "endDateTime"), NOON.plus(2 * 365 * 86_400).to_string());
    assert_eq!(text(&made, "secretText").len(), 43, "256 bits");
    let ago = |seconds: i64| NOON.plus(-seconds).to_string();
    for dates in [
        json!({"endDateTime": ago(0)}),
        json!({"startDateTime": ago(60), "endDateTime": ago(1)}),
        json!({"startDateTime": ago(-60), "endDateTime": ago(-60)}),
        json!({"startDateTime": "tomorrow"}),
    ] {
        let body = json!({"passwordCredential": dates});
        let path = format!("{}/addPassword", application("billing"));
        let answer = world.directory("POST", &path, &token, Some(&body)).await;
        assert_eq!(answer.denied(), (400, "Request_BadRequest".into(), "directory.sound".into()), "{dates}");
    }
}

/// The text of a secret stands in one answer, and neither in the directory, nor in the store, nor in the audit trail.
#[tokio::test]
async fn m_05_a_secret_is_shown_once() {
    let world = world().await;
    let token = world.token_of("bob").await;
    let shown = add(&world, "billing", &token, json!({})).await;
    let text = text(&shown, "secretText");
    assert_eq!((shown["hint"].as_str(), text.len()), (text.get(..3), 43));
    let read = world.directory("GET", &application("billing"), &token, None).await.ok();
    let listed = &read["passwordCredentials"][1];
    assert_eq!((&listed["keyId"], &listed["secretText"]), (&shown["keyId"], &Value::Null));
    let registered = world.store.snapshot().application(app("billing")).unwrap().password_credentials.clone();
    for credential in registered {
        assert!(!read.to_string().contains(&String::from(credential.digest)), "a digest is shown");
    }
    let log = serde_json::to_string(&world.store.audit(0, 1_000).unwrap()).unwrap();
    assert!(log.contains("directory POST") && !log.contains(&text));
    let file = std::fs::read(world.folder.file()).unwrap();
    let wal = std::fs::read(world.folder.file().with_extension("db-wal")).unwrap_or_default();
    for bytes in [file, wal] {
        assert!(!bytes.windows(text.len()).any(|window| window == text.as_bytes()), "the secret is in the store");
    }
}

#[tokio::test]
async fn a_change_is_recorded_with_its_properties_and_so_is_its_refusal() {
    let world = world().await;
    let (bob, ada) = (world.token_of("bob").await, world.token_of("ada").await);
    let path = application("billing");
    let body = json!({"displayName": "Invoices", "web": {"redirectUris": ["https://billing.example/cb"]}});
    assert_eq!(world.directory("PATCH", &path, &bob, Some(&body)).await.status.as_u16(), 204);
    // Nothing differs: nothing is written.
    assert_eq!(world.directory("PATCH", &path, &bob, Some(&body)).await.status.as_u16(), 204);
    let refused = world.directory("PATCH", &path, &ada, Some(&body)).await;
    assert_eq!(refused.denied(), (403, "Authorization_RequestDenied".into(), "directory.standing".into()));
    let records: Vec<_> = world.store.audit(0, 1_000).unwrap().into_iter().map(|(_, record)| record).collect();
    let of = |name: &str| -> Vec<_> {
        let theirs = |r: &&deputize_core::audit::AuditRecord| {
            r.action == "directory PATCH" && r.subject == Some(user(name).to_string())
        };
        records.iter().filter(theirs).collect()
    };
    let [made] = of("bob")[..] else { panic!("{records:?}") };
    assert_eq!(
        (made.changed.as_slice(), made.refused),
        (["displayName", "web.redirectUris"].map(String::from).as_slice(), None)
    );
    assert_eq!(
        (made.object.as_deref(), made.tenant, made.client),
        (Some(path.as_str()), Some(CONTOSO), Some(app("web")))
    );
    let [denied] = of("ada")[..] else { panic!("{records:?}") };
    assert_eq!(denied.refused.map(|check| check.to_string()).as_deref(), Some("directory.standing"));
    assert_eq!(refused.header("request-id"), denied.decision);
}

#[tokio::test]
async fn what_is_read_can_be_written_back() {
    let world = world().await;
    world.edit_app("orders", |app| app.key_credentials[0].end_date_time = crate::world::NOON.plus(86_400)).await;
    let token = world.token_of("carol").await;
    for name in ["web", "orders", "billing", "vault", "spa", "native"] {
        let mut read = world.directory("GET", &format!("applications(appId='{}')", app(name)), &token, None).await.ok();
        let before = world.store.snapshot().application(app(name)).unwrap().clone();
        for own in ["id", "appId", "passwordCredentials"] {
            read.as_object_mut().unwrap().remove(own);
        }
        let written = world.directory("PATCH", &application(name), &token, Some(&read)).await;
        assert_eq!(written.status.as_u16(), 204, "{name}: {}", written.text());
        let mut after = (**world.store.snapshot().application(app(name)).unwrap()).clone();
        for scope in &mut after.api.oauth2_permission_scopes {
            // Names for people that the test's estate leaves out.
            scope.admin_consent_display_name.clear();
        }
        assert_eq!(after, *before, "{name}");
    }
}

#[tokio::test]
async fn owners_are_added_and_taken_away() {
    let world = world().await;
    let bob = world.token_of("bob").await;
    let owners = format!("{}/owners", application("billing"));
    let ada = json!({"@odata.id": format!("{HOST}/{CONTOSO}/v1.0/users/{}", user("ada"))});
    assert_eq!(world.directory("POST", &format!("{owners}/$ref"), &bob, Some(&ada)).await.status.as_u16(), 204);
    let listed = world.directory("GET", &owners, &bob, None).await.ok();
    assert_eq!(listed["value"].as_array().unwrap().len(), 3);
    let token = world.token_of("ada").await;
    let owned = world.directory("GET", "me/ownedObjects", &token, None).await.ok();
    assert_eq!(owned["value"][0]["appId"], json!(app("billing")));
    for name in ["bob", "carol"] {
        let path = format!("{owners}/{}/$ref", user(name));
        assert_eq!(world.directory("DELETE", &path, &token, None).await.status.as_u16(), 204, "{name}");
    }
    // Bob is none any more, with the token that he had.
    assert_eq!(world.directory("GET", &owners, &bob, None).await.denied().2, "directory.standing");
    let last = format!("{owners}/{}/$ref", user("ada"));
    assert_eq!(world.directory("DELETE", &last, &token, None).await.denied().2, "directory.sound");
    assert_eq!(world.directory("DELETE", &last, &world.token_of("carol").await, None).await.status.as_u16(), 204);
    // People of another tenant, and nobody, own nothing.
    let carol = world.token_of("carol").await;
    for nobody in [format!("x/users/{}", user("ivan")), "x/users/x".to_owned(), String::new()] {
        let body = json!({"@odata.id": nobody});
        let answer = world.directory("POST", &format!("{owners}/$ref"), &carol, Some(&body)).await;
        assert_eq!(answer.denied().2, "directory.sound", "{nobody}");
    }
}

#[tokio::test]
async fn federated_credentials_are_added_changed_and_taken_away() {
    let world = world().await;
    let token = world.token_of("bob").await;
    let all = format!("{}/federatedIdentityCredentials", application("billing"));
    let new = json!({"name": "deploy", "issuer": "https://ci.example", "subject": "repo:x"});
    let made = world.directory("POST", &all, &token, Some(&new)).await;
    assert_eq!(made.status.as_u16(), 201);
    let id = text(&made.json(), "id");
    let one = format!("{all}/{id}");
    assert_eq!(world.directory("PATCH", &one, &token, Some(&json!({"subject": "repo:y"}))).await.status.as_u16(), 204);
    let read = world.directory("GET", &format!("{all}/deploy"), &token, None).await.ok();
    assert_eq!(
        (&read["id"], &read["subject"], &read["audiences"]),
        (&json!(id), &json!("repo:y"), &json!(["api://AzureADTokenExchange"]))
    );
    for (body, status) in [
        (json!({"name": "other"}), 400),
        (json!({"issuer": "http://ci.example"}), 400),
        (json!({"subject": ""}), 400),
        (json!({"audiences": []}), 400),
        (json!({"id": FEDERATED}), 400),
    ] {
        assert_eq!(world.directory("PATCH", &one, &token, Some(&body)).await.denied().0, status, "{body}");
    }
    let twice = json!({"name": "again", "issuer": "https://ci.example", "subject": "repo:y"});
    assert_eq!(world.directory("POST", &all, &token, Some(&twice)).await.denied().2, "directory.sound");
    assert_eq!(world.directory("DELETE", &one, &token, None).await.status.as_u16(), 204);
    assert_eq!(world.directory("DELETE", &one, &token, None).await.denied().0, 404);
}

#[tokio::test]
async fn certificates_are_replaced_whole_and_kept_by_their_ids() {
    use base64::Engine as _;
    let world = world().await;
    let token = world.token_of("carol").await;
    let der = &crate::world::keys::RIVAL.der;
    let key = base64::engine::general_purpose::STANDARD.encode(der);
    let held = world.store.snapshot().application(app("orders")).unwrap().key_credentials[0].key_id;
    let path = application("orders");
    let both = json!({"keyCredentials": [{"keyId": held}, {"key": key, "displayName": "next", "usage": "Verify"}]});
    let answer = world.directory("PATCH", &path, &token, Some(&both)).await;
    assert_eq!(answer.status.as_u16(), 204, "{}", answer.text());
    let keys = world.store.snapshot().application(app("orders")).unwrap().key_credentials.clone();
    assert_eq!((keys[0].key_id, keys.len(), &keys[1].key), (held, 2, &key));
    let read = world.directory("GET", &path, &token, None).await.ok();
    assert_eq!(read["keyCredentials"][1]["key"], Value::Null);
    for bad in [
        json!([{"key": "AAAA"}]),
        json!([{"key": "not base64!"}]),
        json!([{}]),
        json!([{"keyId": held, "key": key}]),
        json!([{"key": key, "type": "Symmetric"}]),
        json!([{"key": key, "endDateTime": "tomorrow"}]),
        json!([{"keyId": [held]}]),
    ] {
        let answer = world.directory("PATCH", &path, &token, Some(&json!({"keyCredentials": bad}))).await;
        assert_eq!(answer.denied().0, 400, "{bad}");
    }
}

/// Many changes of one registration at the same moment: all are made, and none is lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_changes_one_registration_and_everybody_succeeds() {
    let world = Arc::new(world().await);
    let token = world.token_of("bob").await;
    let mut crowd = tokio::task::JoinSet::new();
    for n in 0..31 {
        let (world, token) = (Arc::clone(&world), token.clone());
        crowd.spawn(async move {
            let body = json!({"passwordCredential": {"displayName": format!("of {n}")}});
            let path = format!("{}/addPassword", application("billing"));
            world.directory("POST", &path, &token, Some(&body)).await.ok()
        });
    }
    let mut shown: Vec<String> = crowd.join_all().await.iter().map(|added| text(added, "keyId")).collect();
    let held = world.store.snapshot().application(app("billing")).unwrap().password_credentials.clone();
    let mut held: Vec<String> = held.iter().map(|secret| secret.key_id.to_string()).collect();
    held.retain(|id| *id != secret_id("billing").to_string());
    shown.sort_unstable();
    held.sort_unstable();
    assert_eq!(held, shown);
}

/// Two changes of one registration at once: none undoes the other, and both are there.
#[tokio::test]
async fn changes_at_once_do_not_undo_one_another() {
    let world = world().await;
    let there = world.beside();
    let token = world.token_of("bob").await;
    // The other process has not read what this one commits now.
    let first = add(&world, "billing", &token, json!({})).await;
    let second = add(&there, "billing", &token, json!({})).await;
    assert!(secret_works(&there, "billing", &text(&first, "secretText")).await);
    world.store.poll().unwrap();
    for new in [first, second] {
        assert!(secret_works(&world, "billing", &text(&new, "secretText")).await);
    }
    // A name that must be unique is taken by one of two that see it free.
    let named = json!({"identifierUris": ["api://shared"]});
    let carol = world.token_of("carol").await;
    there.store.poll().unwrap();
    assert_eq!(world.directory("PATCH", &application("archive"), &carol, Some(&named)).await.status.as_u16(), 204);
    let loser = there.directory("PATCH", &application("vault"), &carol, Some(&named)).await;
    assert_eq!(loser.denied(), (409, "Request_MultipleObjectsWithSameKeyValue".into(), "directory.unique".into()));
}
