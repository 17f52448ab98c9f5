//! The gateway's own operation: how it fares, what applies, who changed what, reading its file again, its end.
use super::contracts::{DatabaseGiven, EffectivePolicy, IssuerGiven, OfProduct, PolicyGiven, StatusGiven};
use super::{Admitted, Answered, Operator, absent, conflict, empty, json, wrong};
use crate::Gateway;
use crate::body::Body;
use crate::gateway::Effective;
use crate::routes::Told;
use crate::store::{Change, Condition};
use http::{Response, StatusCode, Uri};
use std::sync::Arc;

pub(super) fn status(admitted: &Admitted<'_>, gateway: &Gateway) -> Response<Body> {
    let (state, held) = (&admitted.state, admitted.store.held());
    let issuers = gateway.issuers().into_iter();
    let given = StatusGiven {
        operations: state.routes.all().len(),
        products: state.products.len() + held.products().len(),
        subscriptions: state.subscriptions.all().len() + held.subscriptions().len(),
        issuers: issuers.map(|(issuer, keys)| IssuerGiven { issuer, ready: keys.is_some() }).collect(),
        database: DatabaseGiven {
            sequence: held.sequence,
            writable: admitted.store.writable(),
            usage_lost: admitted.store.usage().lost(),
        },
    };
    json(StatusCode::OK, &given, None)
}

pub(super) fn effective(admitted: &Admitted<'_>, gateway: &Gateway) -> Answered {
    let asked = &admitted.asked;
    let found = match (asked.parameter("method"), asked.parameter("url")) {
        (None, None) => gateway.effective(),
        (Some(method), Some(url)) => {
            let method = method.parse().map_err(|_| wrong("`method` is no method"))?;
            let uri: Uri = url.parse().map_err(|_| wrong("`url` is no address; write `/orders/7`, or all of it"))?;
            if let Some(refusal) = crate::refusal(&method, uri.path()) {
                return Err(wrong(format!("the gateway refuses this request before it asks any policy: {refusal}")));
            }
            let host = uri.host().unwrap_or_default().to_ascii_lowercase();
            let found = gateway.effective_for(&host, &method, uri.path());
            vec![found.ok_or_else(|| absent("operation for", uri.path()))?]
        }
        _ => return Err(wrong("`method` and `url` say together which request is meant")),
    };
    let value: Vec<EffectivePolicy> = found.into_iter().map(given).collect();
    Ok(json(StatusCode::OK, &serde_json::json!({ "value": value }), None))
}

fn given(Effective { operation, policies, by_product, onward, upstream }: Effective) -> EffectivePolicy {
    let told = |all: Vec<Told>| {
        all.into_iter().map(|Told { scope, policy, text }| PolicyGiven { scope, policy, text }).collect()
    };
    let products = by_product.into_iter().map(|(name, policies)| OfProduct { name, policies: told(policies) });
    EffectivePolicy { operation, policies: told(policies), products: products.collect(), onward, upstream }
}

pub(super) fn changes(admitted: &Admitted<'_>) -> Answered {
    let after = admitted.asked.number("after", 0, 0, i64::MAX)?;
    let top = admitted.asked.number("$top", 100, 1, 1_000)?;
    let value = admitted.store.changes(after, top)?;
    Ok(json(StatusCode::OK, &serde_json::json!({ "value": value }), None))
}

/// Written down first: what cannot be is not done. What came to nothing is written down as that.
pub(super) async fn reload(admitted: &Admitted<'_>, operator: &Arc<dyn Operator>) -> Answered {
    admitted.change(Change::Noted("reload"), Condition::Present, Vec::new()).await?;
    let operator = Arc::clone(operator);
    let problem = match tokio::task::spawn_blocking(move || operator.reload()).await {
        Ok(Ok(())) => return Ok(empty(StatusCode::NO_CONTENT)),
        Ok(Err(problem)) => format!("the configuration is broken; the one before goes on: {problem}"),
        Err(_) => "the configuration could not be read; the one before goes on".to_owned(),
    };
    if admitted.change(Change::Noted("reloadRefused"), Condition::Present, Vec::new()).await.is_err() {
        tracing::warn!("the record of changes cannot tell that the reload was refused");
    }
    Err(conflict(problem))
}

pub(super) async fn drain(admitted: &Admitted<'_>, operator: &Arc<dyn Operator>) -> Answered {
    admitted.change(Change::Noted("drain"), Condition::Present, Vec::new()).await?;
    operator.drain();
    Ok(empty(StatusCode::ACCEPTED))
}
