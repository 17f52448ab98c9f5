//! APIs that received a user's token and ask as themselves, over the wire; and what the audit trail says of credentials.
use super::assertions::good;
use super::workload::with_assertion;
use crate::world::browser::Browser;
use crate::world::estate::{CONTOSO, app, redirect, secret_id};
use crate::world::keys::ORDERS;
use crate::world::{Answer, Params, World, client_credentials, encode, obo_form, token_path};
use deputize_core::audit::Credential;
use deputize_core::model::{DroppedUserContext, OwnIdentity, RequiredResourceAccess};
use deputize_core::trace::Carried;
use oauth::Form;

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
/// The same trace, another span.
const CHILD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-b7ad6b7169203331-00";
const READ: &str = "api://billing/Invoices.Read";

async fn traced(world: &World, params: Params<'_>, headers: &[(&str, &str)]) -> Answer {
    let form = [("content-type", "application/x-www-form-urlencoded")];
    world.post(&token_path(&CONTOSO.to_string()), &[&form[..], headers].concat(), encode(&params)).await
}

fn as_itself() -> Params<'static> {
    client_credentials("orders", "api://billing/.default")
}

async fn refusing() -> World {
    let world = World::new().await;
    world.edit_tenant(|tenant| tenant.settings.dropped_user_context = DroppedUserContext::Refuse).await;
    world
}

#[tokio::test]
async fn a_user_dropped_within_a_trace_is_recorded_and_by_policy_refused_unless_the_edge_is_declared() {
    let world = World::new().await;
    let user = world.orders_token().await;
    traced(&world, obo_form("orders", &user, READ), &[("traceparent", PARENT)]).await.ok();
    traced(&world, as_itself(), &[("traceparent", CHILD)]).await.ok();
    let record = world.last_record();
    assert_eq!(record.dropped_user, Some(Carried::Exchanged(app("billing"))));
    assert_eq!(record.trace.map(|trace| trace.to_string()).as_deref(), Some("4bf92f3577b34da6a3ce929d0e0e4736"));

    world.edit_tenant(|tenant| tenant.settings.dropped_user_context = DroppedUserContext::Refuse).await;
    let refused = traced(&world, as_itself(), &[("traceparent", CHILD)]).await;
    assert_eq!(refused.refused(), (400, "unauthorized_client".into(), 7_000_114, "user.passed_on".into()));
    assert!(refused.header("retry-after").is_empty(), "spec/entra.md section 8.3");
    // A restart forgets nothing, and another process of the store knows it too.
    assert_eq!(traced(&world.beside(), as_itself(), &[("traceparent", PARENT)]).await.check(), "user.passed_on");

    let reason = "Billing takes its exports as files, and files carry no user";
    let own = OwnIdentity { resource_app_id: app("billing"), reason: reason.to_owned() };
    world.edit_app("orders", |orders| orders.deputize.own_identity = vec![own.clone()]).await;
    traced(&world, as_itself(), &[("traceparent", CHILD)]).await.ok();
    assert_eq!(world.last_record().own_identity.as_deref(), Some(reason));
}

#[tokio::test]
async fn spoiled_and_missing_traces_only_ever_make_it_less_strict() {
    let world = refusing().await;
    let user = world.orders_token().await;
    traced(&world, obo_form("orders", &user, READ), &[("traceparent", PARENT)]).await.ok();
    let upper = PARENT.to_uppercase();
    let other = PARENT.replace("4bf9", "4bf8");
    let id = "4bf92f35-77b3-4da6-a3ce-929d0e0e4736";
    for headers in [
        &[][..],
        &[("traceparent", other.as_str())],
        &[("traceparent", upper.as_str())],
        &[("traceparent", "")],
        &[("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736")],
        &[("traceparent", PARENT), ("traceparent", PARENT)],
        &[("tracestate", PARENT)],
        // Clients make a new one for each request: it ties nothing together.
        &[("client-request-id", id)],
    ] {
        traced(&world, as_itself(), headers).await.ok();
        assert_eq!(world.last_record().dropped_user, None, "{headers:?}");
    }
    assert_eq!(traced(&world, as_itself(), &[("traceparent", CHILD)]).await.check(), "user.passed_on");
}

#[tokio::test]
async fn an_api_that_introspects_a_users_token_carries_the_user() {
    let world = refusing().await;
    let user = world.orders_token().await;
    let introspect = format!("/{CONTOSO}/oauth2/v2.0/introspect");
    let form = [crate::world::credential("orders"), vec![("token", user)]].concat();
    let headers = [("content-type", "application/x-www-form-urlencoded"), ("traceparent", PARENT)];
    let told = world.post(&introspect, &headers, encode(&form)).await.ok();
    assert_eq!(told["active"], true);
    assert_eq!(traced(&world, as_itself(), &[("traceparent", CHILD)]).await.check(), "user.passed_on");
    traced(&world, as_itself(), &[]).await.ok();
}

#[tokio::test]
async fn the_administrator_reads_which_api_is_called_as_itself_and_why() {
    let world = World::new().await;
    let reason = "the <nightly> run has no user to pass on";
    world
        .edit_app("daemon", |daemon| {
            daemon.web.redirect_uris = vec![redirect("web").to_owned()];
            let needed = RequiredResourceAccess { resource_app_id: app("billing"), resource_access: Vec::new() };
            daemon.required_resource_access = vec![needed];
            let own = OwnIdentity { resource_app_id: app("billing"), reason: reason.to_owned() };
            daemon.deputize.own_identity = vec![own];
        })
        .await;
    let query =
        Form::default().with("client_id", &app("daemon").to_string()).with("redirect_uri", redirect("web")).encode();
    let mut carol = Browser::default();
    let page = carol.get(&world, &format!("/{CONTOSO}/adminconsent?{query}")).await;
    let page = carol.enter(&world, page, "carol").await;
    let text = page.text();
    assert!(page.page() && text.contains("as itself, not for the user"), "{text}");
    assert!(text.contains("the &#60;nightly&#62; run has no user to pass on"), "{text}");
    assert_eq!(carol.submit(&world, &page.form(), &[("action", "accept")]).await.redirected().0, redirect("web"));
}

#[tokio::test]
async fn the_audit_trail_names_the_credential_and_the_chain_and_never_what_it_holds() {
    let world = World::new().await;
    let user = world.orders_token().await;
    let code = world.last_record();
    let secret = |name| Some(Credential::Secret { key_id: secret_id(name) });
    assert_eq!((&code.credential, code.grants.len(), code.session.is_some()), (&secret("web"), 1, true));
    world.obo("orders", &user, &format!("offline_access {READ}")).await.ok();
    let exchanged = world.last_record();
    assert_eq!((&exchanged.credential, exchanged.session), (&secret("orders"), code.session));
    assert_eq!(exchanged.grants[1..], code.grants, "it rests on the user's own, and has one that Orders may revoke");

    let asserted = good().sign(&ORDERS);
    world.token(with_assertion("orders", &asserted)).await.ok();
    let thumbprint = ORDERS.certificate.x5t_s256().to_owned();
    let Some(Credential::Certificate { thumbprint: named, key_id: Some(_) }) = world.last_record().credential else {
        panic!("{:?}", world.last_record());
    };
    assert_eq!(named, thumbprint);

    // A refusal names it too; and one of a client that proved nothing is no record at all.
    assert_eq!(world.obo("orders", &user, "api://billing/Invoices.Void").await.status, 400);
    assert_eq!((world.last_record().credential, world.last_record().session), (secret("orders"), code.session));
    let trail = format!("{:?}", world.store.audit(0, 1_000).unwrap());
    assert!(!trail.contains("canary") && !trail.contains("eyJ"), "{trail}");
}
