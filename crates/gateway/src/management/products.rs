//! Products: those of the file, which only the file changes, and those of the database.
use super::contracts::{ProductBody, ProductGiven, Source};
use super::{Admitted, Answered, absent, conflict, empty, json, page, request, wrong};
use crate::settings::Compiled;
use crate::store::{Change, StoredProduct};
use crate::subscriptions::Product;
use http::StatusCode;
use std::sync::Arc;

/// APIs of one product.
const MOST_APIS: usize = 200;

fn of_file(state: &Compiled, product: &Product) -> ProductGiven {
    let apis = product.apis.iter().filter_map(|id| state.apis.get(id.0)).map(ToString::to_string);
    ProductGiven {
        name: product.name.to_string(),
        display_name: None,
        apis: apis.collect(),
        subscription_required: !product.open,
        source: Source::File,
        created_date: None,
        etag: None,
    }
}

pub(super) fn list(admitted: &Admitted<'_>) -> Answered {
    let state = &admitted.state;
    let mut all: Vec<ProductGiven> =
        state.subscriptions.products().iter().map(|product| of_file(state, product)).collect();
    all.extend(admitted.store.held().products().map(|product| ProductGiven::from(&**product)));
    all.sort_by(|a, b| a.name.cmp(&b.name));
    page(&admitted.asked, all, "/products")
}

pub(super) fn show(admitted: &Admitted<'_>) -> Answered {
    let name = admitted.asked.name();
    let state = &admitted.state;
    if let Some(product) = state.subscriptions.products().iter().find(|product| &*product.name == name) {
        return Ok(json(StatusCode::OK, &of_file(state, product), None));
    }
    let held = admitted.store.held();
    let product = held.product(name).ok_or_else(|| absent("product", name))?;
    Ok(json(StatusCode::OK, &ProductGiven::from(&**product), Some(product.version)))
}

pub(super) async fn put(admitted: &Admitted<'_>) -> Answered {
    let asked = &admitted.asked;
    let name = asked.new_name()?;
    of_database(&admitted.state, name)?;
    let ProductBody { display_name, apis, subscription_required } = asked.json()?;
    if !subscription_required {
        let text = "`subscriptionRequired` is `true` here: a product that opens APIs to calls without a key stands in the file";
        return Err(wrong(text));
    }
    let display_name = request::text("displayName", display_name)?;
    if apis.is_empty() || apis.len() > MOST_APIS {
        return Err(wrong(format!("`apis` has 1 to {MOST_APIS} names of APIs")));
    }
    let mut known: Vec<Arc<str>> = Vec::new();
    for api in &apis {
        let found = admitted.state.apis.iter().find(|known| ***known == **api);
        let found = found.ok_or_else(|| wrong("`apis` names an API that the file does not have"))?;
        if known.contains(found) {
            return Err(wrong("`apis` names an API twice"));
        }
        known.push(Arc::clone(found));
    }
    let condition = asked.version_or_new();
    let held = admitted.store.held().product(name).cloned();
    let created = held.as_ref().map_or_else(|| admitted.store.now(), |product| product.created);
    let mut product = StoredProduct { name: name.into(), display_name, apis: known, created, version: 0 };
    product.version = admitted.change(Change::Product(product.clone()), condition, Vec::new()).await?;
    let status = if held.is_some() { StatusCode::OK } else { StatusCode::CREATED };
    Ok(json(status, &ProductGiven::from(&product), Some(product.version)))
}

pub(super) async fn delete(admitted: &Admitted<'_>) -> Answered {
    let name = admitted.asked.name();
    of_database(&admitted.state, name)?;
    admitted.change(Change::DeleteProduct(name.into()), admitted.asked.version()?, Vec::new()).await?;
    Ok(empty(StatusCode::NO_CONTENT))
}

/// What stands in the file is changed there.
fn of_database(state: &Compiled, name: &str) -> Result<(), Box<crate::denial::Denial>> {
    match state.subscriptions.product(name) {
        Some(_) => Err(conflict("the file has a product of this name; change it there, or choose another name")),
        None => Ok(()),
    }
}
