//! What applies to operations, as the gateway itself finds it.
use super::Gateway;
use crate::routes::{Operation, Told};
use crate::settings::Compiled;
use http::Method;

/// What applies to one operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effective {
    /// `orders/read`.
    pub operation: String,
    /// What applies, and from where: first the widest scope.
    pub policies: Vec<Told>,
    /// The same for calls in the context of products, by their names.
    pub by_product: Vec<(String, Vec<Told>)>,
    /// The onward credential.
    pub onward: String,
    /// The service.
    pub upstream: String,
}

impl Gateway {
    /// What applies to every operation.
    pub fn effective(&self) -> Vec<Effective> {
        let state = self.state.load();
        state.routes.all().iter().map(|operation| effective(operation, &state)).collect()
    }

    /// What applies to a request, as the gateway itself would find it.
    pub fn effective_for(&self, host: &str, method: &Method, path: &str) -> Option<Effective> {
        let state = self.state.load();
        let path = crate::canonical_path(path).ok()?;
        state.routes.find(host, method, &path).map(|operation| effective(operation, &state))
    }
}

fn effective(operation: &Operation, state: &Compiled) -> Effective {
    let mut by_product: Vec<_> = operation
        .by_product
        .iter()
        .map(|(id, rules)| (state.products.get(id.0).map_or_else(String::new, ToString::to_string), rules.told.clone()))
        .collect();
    by_product.sort_by(|a, b| a.0.cmp(&b.0));
    Effective {
        operation: operation.name.to_string(),
        policies: operation.rules.told.clone(),
        by_product,
        onward: operation.onward_told.clone(),
        upstream: operation.upstream.name.to_string(),
    }
}
