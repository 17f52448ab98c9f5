//! `deputize demo --work-orders`: work that goes on after the user has left, and stops with them. From real answers only, as
//! in [`super::story`].
use super::browser::Browser;
use super::story::{Teller, Told, expect, payload};
use super::world::World;
use crate::failure::Failure;
use crate::instance::Instance;
use crate::output::{printable, say};
use client::{Client, WorkOrder};
use deputize_core::audit::AuditRecord;
use http::{Method, StatusCode};
use oauth::Secret;
use serde_json::Value;
use store::Object;

const READ: &str = "api://billing/Invoices.Read";
/// What Orders writes into its queue beside the handle.
const MESSAGE: &[u8] = b"export the invoices of the day";
const NIGHTS: u32 = 3;

/// A line of the queue.
struct Queued {
    handle: Secret,
    message: &'static [u8],
}

/// Plays Orders and its worker, and tells of it.
pub(super) async fn tell(world: &World, instance: &Instance) -> Result<Told, Failure> {
    let teller = Teller::new(world, &instance.clock)?;
    let (paint, unexpected) = (&teller.paint, |error: client::Error| Failure::plain(error.to_string()));
    say(paint.bold("deputize demo --work-orders: the nightly worker acts as Ada, and stops when she is disabled"));
    say("");
    say("  Ada ──▶ Web ──▶ Orders ── a work order ──▶ queue ──▶ worker ── redeems it, each night ──▶ Authority");
    say("                                                         ╰── a token of Ada's ──▶ Billing");
    say("");
    let (inbound, pages) = teller.sign_in(&world.ada).await?;
    teller.step(1, format_args!("Ada signs in to Web ({pages}), and asks Orders to export her invoices at night"));
    let (worker, thumbprint) = teller.certified(&world.orders)?;
    let wanted = WorkOrder::new(READ, "Export your invoices, three nights in a row")
        .worker_with(&world.orders.app_id, &thumbprint)
        .message(MESSAGE)
        .redemptions(NIGHTS)
        .seconds(NIGHTS * 86_400);
    let order = teller.orders.work_order(&inbound, &wanted).await.map_err(unexpected)?;
    teller.step(2, "Orders trades her token for a work order, and puts that one line into its queue");
    let shown: String = order.handle.expose().chars().take(10).collect();
    say(format_args!("      {}…  until {}", paint.bold(printable(&shown)), order.expires_at));
    teller.note("bound to Ada, to the worker's certificate, to Invoices.Read, to this message, to three redemptions");
    let queued = Queued { handle: order.handle, message: MESSAGE };
    teller.step(3, "At night, Ada long gone, the worker takes it out and redeems it with its own key");
    teller.note("the authority decides as if Ada had asked now: user, consents, assignment, policies");
    let invoices = export(&teller, &worker, &queued).await?;
    teller.step(4, format_args!("Billing answers the worker with Ada's own invoices: {}", printable(&invoices)));

    say("");
    say(paint.bold("What the line in the queue is not worth"));
    let stolen = teller.daemon.redeem(&queued.handle, None, Some(MESSAGE)).await;
    teller.denied(
        1,
        "somebody else reads the queue: the daemon, with its own credential",
        stolen,
        "work_order.client",
    )?;
    let keyless = teller.orders.redeem(&queued.handle, None, Some(MESSAGE)).await;
    teller.denied(2, "Orders' own secret leaked too, but not the worker's key", keyless, "work_order.key")?;
    let altered = worker.redeem(&queued.handle, None, Some(b"export everybody's invoices")).await;
    teller.denied(3, "the message beside it was altered", altered, "work_order.content")?;
    let wider = worker.redeem(&queued.handle, Some("api://billing/Invoices.Approve"), Some(MESSAGE)).await;
    teller.denied(4, "the worker wants more than the order allows", wider, "scope.within_grant")?;

    say("");
    say(paint.bold("The end of it"));
    enable(instance, &world.ada.oid, false).await?;
    let after = worker.redeem(&queued.handle, None, Some(queued.message)).await;
    // Whatever came of it: with `--data`, the next story needs her.
    enable(instance, &world.ada.oid, true).await?;
    teller.denied(
        1,
        "an administrator disables Ada; nobody tells the worker, and the next night",
        after,
        "user.enabled",
    )?;
    say(format_args!("  People see and stop such work at {}/work-orders", world.authority()));
    say("");
    say(paint.green("Everything went as it should."));
    Ok(Told::Whole)
}

/// The worker's night: a token for the line in the queue, and Billing with it.
async fn export(teller: &Teller<'_>, worker: &Client, queued: &Queued) -> Result<String, Failure> {
    let world = teller.world;
    let redeemed = worker.redeem(&queued.handle, None, Some(queued.message)).await;
    let token = redeemed.map_err(|error| Failure::plain(error.to_string()))?;
    let claims = payload(&token.access_token)?;
    teller.claims("what it gets is a token of Ada's, for Billing alone", &claims, &["oid", "aud", "scp", "azp"]);
    if claims.get("oid").and_then(Value::as_str) != Some(&world.ada.oid) {
        return Err(Failure::plain("the worker got somebody else's token"));
    }
    let url = format!("{}/invoices", world.billing_url());
    let answer = Browser::new(&world.ca_pem)?.call(Method::GET, &url, token.access_token.expose()).await?;
    let body = expect(&answer, StatusCode::OK, "Billing, called by the worker,")?;
    let invoices = body.get("invoices").and_then(Value::as_array).cloned().unwrap_or_default();
    let ids: Vec<&str> = invoices.iter().filter_map(|invoice| invoice.get("id")?.as_str()).collect();
    if ids.is_empty() {
        return Err(Failure::plain("Billing answered the worker without invoices"));
    }
    Ok(ids.join(", "))
}

/// What an administrator does.
async fn enable(instance: &Instance, oid: &str, enabled: bool) -> Result<(), Failure> {
    let failed = || Failure::plain("the demo's directory could not be changed");
    let objects = instance.store.objects().map_err(|_| failed())?;
    let user = objects.into_iter().find_map(|object| match object {
        Object::User(mut user) if user.id.to_string() == oid => {
            user.account_enabled = enabled;
            Some(Object::User(user))
        }
        _ => None,
    });
    let action = if enabled { "demo: enable user" } else { "demo: disable user" };
    let record = AuditRecord::new(instance.clock.now(), action.to_owned(), "apply");
    instance.store.apply(vec![user.ok_or_else(failed)?.into()], record).await.map(drop).map_err(|_| failed())
}
