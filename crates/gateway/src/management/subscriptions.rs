//! Subscriptions and their keys. A key is made here, and shown once: what is kept is its digest.
use super::contracts::{Key, Source, SubscriptionBody, SubscriptionChange, SubscriptionGiven, SubscriptionKeys};
use super::{Admitted, Answered, absent, conflict, empty, json, page, request, wrong};
use crate::denial::Denial;
use crate::gateway::Ports;
use crate::settings::Compiled;
use crate::store::{Change, Condition, StoredSubscription, To};
use crate::subscriptions::{Scope, Subscription};
use data_encoding::HEXLOWER;
use http::StatusCode;
use oauth::Secret;
use std::sync::Arc;

fn of_file(state: &Compiled, subscription: &Subscription) -> SubscriptionGiven {
    let name = |found: Option<&Arc<str>>| found.map(Arc::clone).unwrap_or_default();
    let to = match subscription.scope {
        Scope::Product(id) => To::Product(name(state.products.get(id.0))),
        Scope::Api(id) => To::Api(name(state.apis.get(id.0))),
        Scope::AllApis => To::AllApis,
    };
    SubscriptionGiven {
        name: subscription.name.to_string(),
        scope: to.text(),
        display_name: None,
        owner_id: None,
        state: subscription.state,
        source: Source::File,
        created_date: None,
        start_date: subscription.started.map(|start| start.to_string()),
        expiration_date: subscription.expires.map(|end| end.to_string()),
        etag: None,
    }
}

pub(super) fn list(admitted: &Admitted<'_>) -> Answered {
    let state = &admitted.state;
    let mut all: Vec<SubscriptionGiven> =
        state.subscriptions.all().iter().map(|subscription| of_file(state, subscription)).collect();
    all.extend(admitted.store.held().subscriptions().map(|subscription| SubscriptionGiven::from(&**subscription)));
    all.sort_by(|a, b| a.name.cmp(&b.name));
    page(&admitted.asked, all, "/subscriptions")
}

pub(super) fn show(admitted: &Admitted<'_>) -> Answered {
    let name = admitted.asked.name();
    let state = &admitted.state;
    if let Some(subscription) = state.subscriptions.all().iter().find(|subscription| &*subscription.name == name) {
        return Ok(json(StatusCode::OK, &of_file(state, subscription), None));
    }
    let held = stored(admitted)?;
    Ok(json(StatusCode::OK, &SubscriptionGiven::from(&*held), Some(held.version)))
}

pub(super) async fn put(admitted: &Admitted<'_>, ports: &Ports) -> Answered {
    let name = admitted.asked.new_name()?;
    of_database(&admitted.state, name)?;
    let condition = admitted.asked.version_or_new();
    if condition != Condition::Absent {
        let held = stored(admitted)?;
        let (wanted, of_stored_product) = wanted(admitted, name, Some(&held))?;
        return replace(admitted, wanted, of_stored_product, condition).await;
    }
    let (wanted, of_stored_product) = wanted(admitted, name, None)?;
    let keys = [key(ports), key(ports)];
    let kept = keys.iter().map(|key| Secret::new(key.clone())).collect();
    let change = Change::Subscription(wanted.clone(), of_stored_product);
    let version = admitted.change(change, condition, kept).await?;
    let [primary_key, secondary_key] = keys;
    let subscription = SubscriptionGiven::from(&StoredSubscription { version, ..wanted });
    let keys = SubscriptionKeys { subscription, primary_key, secondary_key };
    Ok(json(StatusCode::CREATED, &keys, Some(version)))
}

pub(super) async fn patch(admitted: &Admitted<'_>) -> Answered {
    let asked = &admitted.asked;
    of_database(&admitted.state, asked.name())?;
    let condition = asked.version()?;
    let held = stored(admitted)?;
    let SubscriptionChange { scope, display_name, owner_id, state, start_date, expiration_date } = asked.json()?;
    let moment = |name: &str, text: Option<String>| text.map(|text| request::moment(name, &text)).transpose();
    let mut wanted = StoredSubscription::clone(&held);
    if let Some(scope) = scope {
        wanted.to = to(&scope)?;
    }
    if let Some(text) = display_name {
        wanted.display_name = request::text("displayName", text)?;
    }
    if let Some(text) = owner_id {
        wanted.owner = request::text("ownerId", text)?;
    }
    wanted.state = state.unwrap_or(wanted.state);
    wanted.started = moment("startDate", start_date)?.unwrap_or(wanted.started);
    if let Some(text) = expiration_date {
        wanted.expires = moment("expirationDate", text)?;
    }
    let of_stored_product = is_of_stored_product(admitted, &wanted.to)?;
    // With `*`, what was read is what is changed: something else may have been changed of it meanwhile.
    let condition = if condition == Condition::Present { Condition::Version(held.version) } else { condition };
    replace(admitted, wanted, of_stored_product, condition).await
}

pub(super) async fn delete(admitted: &Admitted<'_>) -> Answered {
    let name = admitted.asked.name();
    of_database(&admitted.state, name)?;
    admitted.change(Change::DeleteSubscription(name.into()), admitted.asked.version()?, Vec::new()).await?;
    Ok(empty(StatusCode::NO_CONTENT))
}

/// A new key in the place of one of the two. Whoever has seen the old one has no say in it: no version is named.
pub(super) async fn regenerate(admitted: &Admitted<'_>, ports: &Ports, slot: u8) -> Answered {
    let name = admitted.asked.name();
    of_database(&admitted.state, name)?;
    let key = key(ports);
    let change = Change::Key { subscription: name.into(), slot };
    let version = admitted.change(change, Condition::Present, vec![Secret::new(key.clone())]).await?;
    let given = match slot {
        0 => Key { primary_key: Some(key), secondary_key: None },
        _ => Key { primary_key: None, secondary_key: Some(key) },
    };
    Ok(json(StatusCode::OK, &given, Some(version)))
}

async fn replace(
    admitted: &Admitted<'_>,
    mut wanted: StoredSubscription,
    of_stored_product: bool,
    condition: Condition,
) -> Answered {
    let change = Change::Subscription(wanted.clone(), of_stored_product);
    wanted.version = admitted.change(change, condition, Vec::new()).await?;
    Ok(json(StatusCode::OK, &SubscriptionGiven::from(&wanted), Some(wanted.version)))
}

/// What the body says, and whether it is to a product of the database.
fn wanted(
    admitted: &Admitted<'_>,
    name: &str,
    held: Option<&StoredSubscription>,
) -> Result<(StoredSubscription, bool), Box<Denial>> {
    let SubscriptionBody { scope, display_name, owner_id, state, start_date, expiration_date } =
        admitted.asked.json()?;
    let moment = |name: &str, text: Option<String>| text.map(|text| request::moment(name, &text)).transpose();
    let to = to(&scope)?;
    let of_stored_product = is_of_stored_product(admitted, &to)?;
    let created = held.map_or_else(|| admitted.store.now(), |held| held.created);
    let wanted = StoredSubscription {
        name: name.into(),
        to,
        display_name: request::text("displayName", display_name)?,
        owner: request::text("ownerId", owner_id)?,
        state,
        created,
        started: moment("startDate", start_date)?.unwrap_or_else(|| held.map_or(created, |held| held.started)),
        expires: moment("expirationDate", expiration_date)?,
        version: 0,
    };
    Ok((wanted, of_stored_product))
}

fn to(scope: &str) -> Result<To, Box<Denial>> {
    To::read(scope).ok_or_else(|| wrong("`scope` is `/products/{name}`, `/apis/{name}`, or `/apis` for all of them"))
}

/// Whether it is to a product of the database; an error if it is to nothing.
fn is_of_stored_product(admitted: &Admitted<'_>, to: &To) -> Result<bool, Box<Denial>> {
    match to {
        To::AllApis => Ok(false),
        To::Api(name) if admitted.state.apis.contains(name) => Ok(false),
        To::Api(_) => Err(wrong("`scope` names an API that the file does not have")),
        To::Product(name) if admitted.state.subscriptions.product(name).is_some() => Ok(false),
        To::Product(name) if admitted.store.held().product(name).is_some() => Ok(true),
        To::Product(_) => Err(wrong("`scope` names a product that is not there")),
    }
}

fn stored(admitted: &Admitted<'_>) -> Result<Arc<StoredSubscription>, Box<Denial>> {
    let name = admitted.asked.name();
    admitted.store.held().subscription(name).cloned().ok_or_else(|| absent("subscription", name))
}

/// What stands in the file is changed there.
fn of_database(state: &Compiled, name: &str) -> Result<(), Box<Denial>> {
    if state.subscriptions.has(name) {
        return Err(conflict("the file has a subscription of this name; change it there, or choose another name"));
    }
    Ok(())
}

/// 128 bits, in the form that API Management gives them.
fn key(ports: &Ports) -> String {
    let mut bytes = [0_u8; 16];
    ports.random.fill(&mut bytes);
    HEXLOWER.encode(&bytes)
}
