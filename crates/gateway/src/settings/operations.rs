//! The operations of an API: what applies to each, and what is told of it.
use super::file::{ApiTable, OperationTable};
use super::openapi::{self, Described};
use super::scopes::{Applied, Read, applied};
use super::upstreams::{Upstreams, showing};
use super::world::{Look, World, twice};
use super::{SettingsError, Spanned, fault, field_name};
use crate::canonical::identity::is_reserved;
use crate::onward::{self, Onward};
use crate::policy::Tables;
use crate::routes::{Operation, Pattern};
use crate::stream;
use crate::subscriptions::{ApiId, Product, ProductId};
use crate::upstream::Upstream;
use fetch::Allow;
use http::HeaderName;
use http::uri::Scheme;
use std::collections::HashMap;
use std::sync::Arc;

/// One API, while its operations are put together.
pub(super) struct Context<'a> {
    pub(super) api: ApiId,
    pub(super) table: &'a ApiTable,
    pub(super) prefix: &'a Arc<str>,
    pub(super) upstream: Arc<Upstream>,
    pub(super) upstreams: &'a Upstreams,
    /// Where its metadata is.
    pub(super) document: Option<Arc<str>>,
    pub(super) global: &'a Read<'a>,
    pub(super) products: Vec<(ProductId, &'a Product, &'a Read<'a>)>,
}

impl Context<'_> {
    pub(super) fn operations(&self, world: &mut World<'_>) -> Result<Vec<Arc<Operation>>, SettingsError> {
        let name = self.table.name.get_ref();
        let described = self.table.openapi.as_ref().map(|file| openapi::read(file, world)).transpose()?;
        let described = described.unwrap_or_default();
        if self.table.operation.is_empty() && described.is_empty() {
            let problem = format!("the API `{name}` has no operation, so nothing of it can be called");
            let hint = "add `[[api.operation]]` with `name`, `method` and `path`, where `*` and `/*` are everything, or `openapi`";
            return Err(fault(&self.table.name.span(), problem, hint));
        }
        let own = Read::scope(format!("api {name}"), &self.table.policies, world)?;
        let mut forwarded = Vec::new();
        for text in &self.table.forward_identity_headers {
            let name = field_name(text)?;
            if !world.may_forward(&name) {
                let problem = format!("services could take `{name}` for what a proxy tells of certificates");
                return Err(fault(
                    &text.span(),
                    problem,
                    "leave it out, or write it with `-` for what the proxy tells",
                ));
            }
            let is_told = world.told_in.iter().flat_map(|field| field.names()).any(|told| told == name);
            if is_reserved(&name) && !is_told {
                let problem = format!("services could take `{name}` for what the gateway says, so no caller sends it");
                let hint = "leave it out; what services need of it, a policy such as `set_header` can set";
                return Err(fault(&text.span(), problem, hint));
            }
            forwarded.push(name);
        }
        let mut operations: Vec<Arc<Operation>> = Vec::new();
        let written = |one: &Described| self.table.operation.iter().any(|t| *t.get_ref().name.get_ref() == one.name);
        let alone = described.iter().filter(|one| !written(one)).map(|one| {
            let at = self.table.openapi.as_ref().map_or(0..0, Spanned::span);
            Spanned::new(at.clone(), OperationTable::named(Spanned::new(at, one.name.clone())))
        });
        let alone: Vec<Spanned<OperationTable>> = alone.collect();
        for table in self.table.operation.iter().chain(&alone) {
            let OperationTable { name, path, .. } = table.get_ref();
            let described = described.iter().find(|one| one.name == *name.get_ref());
            let operation = self.operation(table, described, &own, &forwarded, world)?;
            if operations.iter().any(|other| other.name == operation.name) {
                return Err(twice("an operation", name));
            }
            if let Some(other) = operations.iter().find(|other| other.pattern.is_same(&operation.pattern)) {
                let problem = format!("another operation has this method and path: `{}`", other.name);
                let hint = "change the method or the path of one of them";
                return Err(fault(&path.as_ref().map_or_else(|| name.span(), Spanned::span), problem, hint));
            }
            operations.push(Arc::new(operation));
        }
        for remark in self.remarks(&operations, world) {
            world.remark(remark);
        }
        Ok(operations)
    }

    /// What never applies to calls of this API, or sends credentials in the clear.
    fn remarks(&self, operations: &[Arc<Operation>], world: &World<'_>) -> Vec<String> {
        let name = self.table.name.get_ref();
        let mut remarks = Vec::new();
        let mut keyless = operations.iter().filter(|operation| operation.subscription.is_none());
        for policy in ["rate_limit", "quota"] {
            let is_told = |operation: &&Arc<Operation>| operation.rules.told.iter().any(|told| told.policy == policy);
            if let Some(operation) = keyless.clone().find(is_told) {
                remarks.push(format!(
                    "`{policy}` counts calls with a subscription key, and `{}` asks for none: add `subscription_key`",
                    operation.name
                ));
            }
        }
        remarks.extend(blind(operations, world));
        if keyless.next().is_some() {
            for (_, product, _) in
                self.products.iter().filter(|(_, product, scope)| !product.open && !scope.parts.is_empty())
            {
                remarks.push(format!(
                    "the policies of the product `{}` apply to calls with a key of it; the API `{name}` has operations that look for \
                     none, so they never apply to these: add `subscription_key`",
                    product.name
                ));
            }
        }
        let is_sent = operations.iter().any(|operation| !matches!(operation.onward, Onward::None));
        let outside = self.upstream.targets.iter().find(|target| !is_inside(&target.host));
        if let Some(target) = outside.filter(|_| is_sent && self.upstream.scheme == Scheme::HTTP) {
            remarks.push(format!(
                "the API `{name}` sends credentials to `{}` over `http://`, where they can be read on the way: write `https://`",
                target.host
            ));
        }
        remarks
    }

    /// The pattern of an operation, which is written here or in a document.
    fn pattern(&self, table: &OperationTable, described: Option<&Described>) -> Result<Pattern, SettingsError> {
        let hint =
            "write the method in capitals or `*`, and `/exact`, `/with/{parameter}` or `/prefix/*` in its one spelling";
        match (&table.method, &table.path, described) {
            (Some(method), Some(path), None) => Pattern::read(method.get_ref(), path.get_ref())
                .ok_or_else(|| fault(&path.span(), "the method and the path are no pattern", hint)),
            (None, None, Some(Described { method, path, .. })) => Pattern::read(method, path).ok_or_else(|| {
                let problem = format!("`{method} {path}` of the OpenAPI document is no pattern");
                fault(
                    &table.name.span(),
                    problem,
                    "describe it with whole segments as parameters, or take it out of the document and write it out here",
                )
            }),
            (_, _, Some(_)) => {
                let hint = "leave out `method` and `path` here, or choose another name";
                Err(fault(&table.name.span(), "the OpenAPI document says where this operation is", hint))
            }
            (None, None, None) if self.table.openapi.is_some() => {
                let problem = format!("the OpenAPI document has no operation `{}`", table.name.get_ref());
                let hint = "name one by its `operationId`, or write `method` and `path` of another one here";
                Err(fault(&table.name.span(), problem, hint))
            }
            (_, _, None) => Err(fault(&table.name.span(), "the operation has no method or no path", hint)),
        }
    }

    fn operation(
        &self,
        table: &Spanned<OperationTable>,
        described: Option<&Described>,
        api: &Read<'_>,
        forwarded: &[HeaderName],
        world: &mut World<'_>,
    ) -> Result<Operation, SettingsError> {
        let read = table.get_ref();
        let name: Arc<str> = format!("{}/{}", self.table.name.get_ref(), read.name.get_ref()).into();
        let pattern = self.pattern(read, described)?;
        let nothing = Tables::default();
        let document = described.map_or(&nothing, |described| &described.demands);
        let document = Read::scope(format!("document of {}", self.table.name.get_ref()), document, world)?;
        let own = Read::scope(format!("operation {name}"), &read.policies, world)?;
        let onward = read.onward.as_ref().or(self.table.onward.as_ref());
        let mut usual = self.checked(applied(&[self.global, api, &document, &own])?, onward, table)?;
        let mut by_product = HashMap::new();
        for (id, product, scope) in &self.products {
            let mut of_product = applied(&[self.global, scope, api, &document, &own])?;
            usual.dpop = usual.dpop.or_else(|| of_product.dpop.clone());
            of_product.identifies &= !product.open || of_product.identifies_without_key;
            let of_product = self.checked(of_product, onward, table)?;
            usual.tokens.extend(of_product.tokens);
            by_product.insert(*id, of_product.rules);
        }
        let mut forwarded = forwarded.to_vec();
        forwarded.extend(usual.subscription.iter().filter_map(|key| key.forwarded()).cloned());
        let mut rules = std::iter::once(&usual.rules).chain(by_product.values());
        let looks_at_bodies = rules.any(|rules| rules.before.iter().any(|asked| asked.policy.looks_at_bodies()));
        if looks_at_bodies && read.stream.is_some() {
            let problem = format!("the operation `{name}` is a stream, and `max_body_bytes` would wait for its end");
            let hint =
                "take it away here, by `remove = [\"authorize_by\"]` and one that looks at no bodies; or drop `stream`";
            return Err(fault(&read.name.span(), problem, hint));
        }
        let counted = world.telemetry().operation(self.table.name.get_ref(), &name);
        Ok(Operation {
            api: self.api,
            api_name: self.table.name.get_ref().as_str().into(),
            name,
            pattern,
            subscription: usual.subscription,
            cors: usual.cors,
            rules: usual.rules,
            by_product,
            tokens: usual.tokens,
            dpop: usual.dpop,
            onward: onward.map_or(Ok(Onward::None), |table| table.get_ref().read(world))?,
            onward_told: onward.map_or_else(|| onward::Table::None.told(), |table| table.get_ref().told()),
            upstream: onward.and_then(|onward| self.showing(onward.get_ref())).unwrap_or(&self.upstream).clone(),
            counted,
            prefix: Arc::clone(self.prefix),
            forwarded,
            document: self.document.clone(),
            stream: read.stream.as_ref().map(stream::Table::read).transpose()?,
            looks_at_bodies,
        })
    }

    /// The service, over connections that are opened with the certificate of this credential.
    fn showing(&self, onward: &onward::Table) -> Option<&Arc<Upstream>> {
        let onward::Table::ClientCertificate { certificate, key } = onward else { return None };
        self.upstreams.get(&showing(self.table.upstream.get_ref(), certificate.get_ref(), key.as_ref()))
    }

    /// An operation that anybody may call says so, and a user's token is exchanged only once it is verified.
    fn checked(
        &self,
        applied: Applied,
        onward: Option<&Spanned<onward::Table>>,
        table: &Spanned<OperationTable>,
    ) -> Result<Applied, SettingsError> {
        let read = table.get_ref();
        if !applied.identifies && !self.table.public {
            let problem = format!(
                "the operation `{}` of the API `{}` has no policy that checks who calls",
                read.name.get_ref(),
                self.table.name.get_ref()
            );
            let hint = "add `validate_jwt`, `validate_azure_ad_token`, `introspect`, `sign_in`, `validate_client_certificate`, `subscription_key` \
                or an `ip_filter` that allows some addresses alone, or say `public = true` in the API if that is meant";
            return Err(fault(&read.name.span(), problem, hint));
        }
        if let Some(onward) = onward.filter(|onward| onward.get_ref().needs_token() && applied.tokens.is_empty()) {
            let problem = format!("`on_behalf_of` has no verified token in the operation `{}`", read.name.get_ref());
            return Err(fault(&onward.span(), problem, "add `validate_jwt` or `validate_azure_ad_token`"));
        }
        if let Some(onward) = onward.filter(|onward| applied.hides_tokens && onward.get_ref().is_callers()) {
            let problem = "`passthrough` would send the service the tokens of sessions";
            let hint = "add `forward_tokens = true` to `sign_in`, or choose another onward credential";
            return Err(fault(&onward.span(), problem, hint));
        }
        Ok(applied)
    }
}

/// What policies look at in calls that never have it: then a field is never set, and one counter is that of all callers.
fn blind(operations: &[Arc<Operation>], world: &World<'_>) -> Vec<String> {
    let mut remarks = Vec::new();
    for policy in ["set_header", "rate_limit_by_key", "quota_by_key"] {
        let looking = |look: Look| {
            operations.iter().find(|operation| {
                let is_found = match look {
                    Look::Claim => !operation.tokens.is_empty(),
                    Look::Subscription => operation.subscription.is_some(),
                };
                let mut told = operation.rules.told.iter().filter(|told| told.policy == policy);
                !is_found && told.any(|told| world.does_look(&told.scope, policy, look))
            })
        };
        let so =
            if policy == "set_header" { "it sets nothing" } else { "this part of its key is the same for all callers" };
        remarks.extend(looking(Look::Claim).map(|operation| {
            format!(
                "`{policy}` looks at a claim, and `{}` checks no token, so that {so}: add `validate_jwt`",
                operation.name
            )
        }));
        remarks.extend(looking(Look::Subscription).map(|operation| {
            let name = &operation.name;
            format!("`{policy}` looks at the subscription, and `{name}` asks for no key, so that {so}: add `subscription_key`")
        }));
    }
    remarks
}

/// Whether a host, without brackets, is this machine or in a private network. Of a name only the network's own resolver knows: one of a
/// single label, or below `internal` or `local`, is for within.
fn is_inside(host: &str) -> bool {
    match host.parse() {
        Ok(address) => !Allow::default().admits(address),
        Err(_) => host
            .rsplit_once('.')
            .is_none_or(|(_, last)| matches!(last, "internal" | "local" | "localhost" | "svc" | "arpa")),
    }
}
