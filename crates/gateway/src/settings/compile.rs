//! From the file to what answers requests: scopes put together, narrower ones after wider ones.
use super::doors::{Doors, doors, network};
use super::file::{ApiTable, OperationTable, ProtectedResourceTable};
use super::management;
use super::openapi::{self, Described};
use super::subscriptions::subscriptions;
use super::upstreams::{Upstreams, showing, upstreams};
use super::world::{AllFetched, Variables, World, twice, unknown};
use super::{File, SettingsError, Spanned, fault, field_name};
use crate::cut_offs::AllHeard;
use crate::gateway::Ports;
use crate::limits::{Limits, Shared};
use crate::onward::{self, Onward};
use crate::policy::cors::Cors;
use crate::policy::{self, Bearer, Part, Phase, SignInCheck, SignedIn, SubscriptionKey, TokenCheck};
use crate::protected_resource::{Document, Documents, Metadata, WELL_KNOWN};
use crate::rotating::Rotates;
use crate::routes::{Asked, Operation, Pattern, Routes, Rules, Told, is_canonical};
use crate::sign_in::SignIn;
use crate::subscriptions::{ApiId, Product, ProductId, Subscriptions};
use crate::told_certificate::CertificateField;
use crate::upstream::Upstream;
use crate::{authorizer, canonical, policy::Tables, stream};
use decision::contract::Route;
use guard::{Dpop, Guard};
use http::HeaderName;
use ipnet::IpNet;
use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

/// What answers requests. Nothing in it changes; a new configuration is another one.
pub(crate) struct Compiled {
    pub(crate) routes: Routes,
    pub(crate) documents: Documents,
    pub(crate) subscriptions: Subscriptions,
    pub(crate) products: Vec<Arc<str>>,
    pub(crate) proxies: Vec<IpNet>,
    /// Fields that policies set, for callers to send nowhere.
    pub(crate) injected: Vec<HeaderName>,
    /// Where proxies tell of callers' certificates, at some listener.
    pub(crate) told_in: Vec<CertificateField>,
    /// Fields, in lower case, that carry credentials here.
    pub(crate) secrets: Vec<String>,
    pub(crate) guards: Vec<Guard>,
    pub(crate) lasting: Lasting,
    /// Who signs users in, where somebody does.
    pub(crate) sign_in: Option<Arc<SignIn>>,
    /// What judges who calls the management API.
    pub(crate) management: Option<Guard>,
    /// The names of the APIs, in their order.
    pub(crate) apis: Vec<Arc<str>>,
    /// What is kept up to date.
    pub(crate) rotating: Vec<Arc<dyn Rotates>>,
    /// What is sound, and yet laxer than usual.
    pub(crate) remarks: Vec<String>,
}

/// What a configuration that follows goes on with.
#[derive(Default)]
pub(crate) struct Lasting {
    pub(crate) upstreams: Upstreams,
    pub(crate) heard: AllHeard,
    /// What has to be fetched.
    pub(crate) fetched: AllFetched,
    /// What is listened to.
    pub(crate) doors: Doors,
    /// Where gateways count together.
    pub(crate) shared_limits: Option<Arc<Shared>>,
}

/// The policies of one scope, each read once.
struct Read<'a> {
    label: String,
    tables: &'a Tables,
    parts: Vec<Placed>,
}

#[derive(Clone)]
struct Placed {
    name: &'static str,
    at: Range<usize>,
    part: Part,
    identifies: bool,
    text: String,
}

/// What the scopes of one operation come to.
struct Applied {
    rules: Rules,
    subscription: Option<Arc<SubscriptionKey>>,
    tokens: Vec<Arc<TokenCheck>>,
    identifies: bool,
    /// The same for a call without a key.
    identifies_without_key: bool,
    cors: Option<Arc<Cors>>,
    dpop: Option<Arc<Dpop>>,
    /// Whether a session's token is among what the service would be sent with `passthrough`, and must not be.
    hides_tokens: bool,
}

pub(crate) fn compile(
    file: &File,
    variable: Variables<'_>,
    beside: &Path,
    ports: &Ports,
    limits: &Arc<Limits>,
    before: &Lasting,
) -> Result<Compiled, SettingsError> {
    let mut world = World::read(file, variable, beside, ports, limits, before)?;
    let proxies: Vec<IpNet> = file.trusted_proxies.iter().map(network).collect::<Result<_, _>>()?;
    let upstreams = upstreams(file, &mut world, &before.upstreams)?;
    let global = Read::scope("global".to_owned(), &file.policies, &mut world)?;
    let products = products(file, &mut world)?;
    let mut routes = Routes::default();
    let mut documents = Documents::default();
    let mut places: Vec<(Option<String>, Arc<str>)> = Vec::new();
    for (at, api) in file.api.iter().enumerate() {
        let table = api.get_ref();
        if file.api.iter().take(at).any(|other| other.get_ref().name.get_ref() == table.name.get_ref()) {
            return Err(twice("an API", &table.name));
        }
        let (host, prefix) = place(table)?;
        if places.contains(&(host.clone(), Arc::clone(&prefix))) {
            let hint = "give one of them another path or host";
            return Err(fault(&table.path.span(), "another API has this host and path", hint));
        }
        let of_api = products.iter().filter(|(product, _)| product.apis.contains(&ApiId(at)));
        let described = table.protected_resource.as_ref().map(resource).transpose()?;
        let context = Context {
            document: described.as_ref().map(|(_, path, origin)| format!("{origin}{path}").into()),
            api: ApiId(at),
            table,
            prefix: &prefix,
            upstream: upstreams
                .get(table.upstream.get_ref())
                .cloned()
                .ok_or_else(|| unknown("upstream", &table.upstream, upstreams.keys()))?,
            upstreams: &upstreams,
            global: &global,
            products: of_api.map(|(product, scope)| (product_id(&products, product), product, scope)).collect(),
        };
        let operations = context.operations(&mut world)?;
        if let (Some((host, path, _)), Some(described)) = (described, &table.protected_resource) {
            documents.0.push(document(host, path, described, &operations)?);
        }
        places.push((host.clone(), Arc::clone(&prefix)));
        routes.add(host, &prefix, operations);
    }
    world.is_there(&routes)?;
    for (table, (product, _)) in file.product.iter().zip(&products) {
        if ports.store.as_ref().is_some_and(|store| store.held().product(&product.name).is_some()) {
            return Err(twice("a product of the database", &table.get_ref().name));
        }
    }
    let names = products.iter().map(|(product, _)| Arc::clone(&product.name)).collect();
    let products = products.into_iter().map(|(product, _)| product).collect();
    let subscriptions = subscriptions(file, products, &mut world, ports)?;
    let doors = doors(file, &mut world, &proxies, &before.doors)?;
    let management = management::guard(file, &mut world)?;
    if file.authorizer.is_some() {
        let remark = authorizer::remark(&world.secrets, &world.injected, world.sign_in.is_some());
        world.remark(remark);
    }
    if file.envoy_authorizer.is_some() {
        world.remark(authorizer::remark_for_envoy(&world.injected, world.sign_in.is_some()));
    }
    Ok(Compiled {
        management,
        apis: file.api.iter().map(|api| api.get_ref().name.get_ref().as_str().into()).collect(),
        routes,
        documents,
        subscriptions,
        products: names,
        proxies,
        guards: world.guards(),
        lasting: Lasting {
            upstreams,
            heard: world.heard,
            fetched: world.fetched.into_inner(),
            doors,
            shared_limits: world.shared_limits,
        },
        sign_in: world.sign_in,
        injected: world.injected,
        told_in: world.told_in,
        rotating: world.rotating,
        remarks: world.remarks,
        secrets: world.secrets,
    })
}

fn product_id(products: &[(Product, Read<'_>)], product: &Product) -> ProductId {
    ProductId(products.iter().position(|(other, _)| other.name == product.name).unwrap_or_default())
}

impl<'a> Read<'a> {
    fn scope(label: String, tables: &'a Tables, world: &mut World<'_>) -> Result<Self, SettingsError> {
        world.place.clone_from(&label);
        let mut parts = Vec::new();
        for entry in tables.entries() {
            parts.push(Placed {
                name: entry.name,
                part: entry.table.part(&entry.at, world)?,
                identifies: entry.table.identifies(),
                text: entry.table.told(),
                at: entry.at,
            });
        }
        for name in &tables.mandatory {
            if !parts.iter().any(|placed| placed.name == name.get_ref()) {
                let problem = format!("`{}` is mandatory, and is not among the policies here", name.get_ref());
                return Err(fault(&name.span(), problem, "add it, or take it out of `mandatory`"));
            }
        }
        Ok(Self { label, tables, parts })
    }
}

/// Puts scopes together, the widest first.
fn applied(scopes: &[&Read<'_>]) -> Result<Applied, SettingsError> {
    let mut kept: Vec<(&Read<'_>, &Placed)> = Vec::new();
    for scope in scopes {
        for name in &scope.tables.remove {
            let is = |placed: &Placed| placed.name == name.get_ref();
            if !policy::NAMES.contains(&name.get_ref().as_str()) {
                let problem = format!("`{}` is no policy", name.get_ref());
                return Err(fault(&name.span(), problem, format!("expected one of: {}", policy::NAMES.join(", "))));
            }
            let wider = kept.iter().find(|(_, placed)| is(placed)).map(|(scope, _)| *scope);
            let Some(wider) = wider else {
                let problem = format!("no wider scope has `{}`", name.get_ref());
                return Err(fault(&name.span(), problem, "take it out of `remove`"));
            };
            let demands = |scope: &&Read<'_>| scope.tables.mandatory.iter().any(|m| m.get_ref() == name.get_ref());
            if kept.iter().any(|(scope, placed)| is(placed) && demands(scope)) {
                let problem = format!("`{}` of {} is mandatory", name.get_ref(), wider.label);
                return Err(fault(&name.span(), problem, "keep it, or take it out of `mandatory` there"));
            }
            kept.retain(|(_, placed)| !is(placed));
        }
        kept.extend(scope.parts.iter().map(|placed| (*scope, placed)));
    }
    let mut all: Vec<Asked> = Vec::new();
    let mut tokens: Vec<(&'static str, Arc<TokenCheck>)> = Vec::new();
    let mut demands: Vec<(Arc<Route>, Range<usize>)> = Vec::new();
    let (mut subscription, mut cors, mut dpop) = (None, None, None);
    let mut sign_in: Option<Arc<SignInCheck>> = None;
    for (_, placed) in &kept {
        match &placed.part {
            Part::Rule(rule) => all.push(Asked { name: placed.name, policy: Arc::clone(rule) }),
            Part::Token(check) => tokens.push((placed.name, Arc::clone(check))),
            Part::Demand(route, condition) => {
                demands.push((Arc::clone(route), placed.at.clone()));
                all.extend(condition.iter().map(|rule| Asked { name: placed.name, policy: Arc::clone(rule) }));
            }
            Part::Subscription(key) if subscription.is_none() => subscription = Some(Arc::clone(key)),
            Part::Subscription(_) => {
                let hint = "add `remove = [\"subscription_key\"]` beside this one, or drop it";
                return Err(fault(&placed.at, "a wider scope says already where the key is", hint));
            }
            Part::SignIn(check) if sign_in.is_none() => sign_in = Some(Arc::clone(check)),
            Part::SignIn(_) => {
                let hint = "add `remove = [\"sign_in\"]` beside this one, or drop it";
                return Err(fault(&placed.at, "a wider scope says already that people sign in", hint));
            }
            Part::Cors(rule) if cors.is_none() => cors = Some(Arc::clone(rule)),
            Part::Cors(_) => {
                let hint = "add `remove = [\"cors\"]` beside this one, or drop it";
                return Err(fault(&placed.at, "a wider scope says already which origins may call", hint));
            }
            Part::Dpop(proofs) if dpop.is_none() => dpop = Some((Arc::clone(proofs), placed.at.clone())),
            Part::Dpop(_) => {
                let hint = "add `remove = [\"dpop\"]` beside this one, or drop it";
                return Err(fault(&placed.at, "a wider scope says already which proofs are taken", hint));
            }
        }
    }
    let dpop = dpop.map(|(dpop, at)| proofs(dpop, &at, &tokens, &demands)).transpose()?;
    if let Some((_, at)) = demands.first().filter(|_| tokens.is_empty()) {
        return Err(fault(at, "`require` has no token to look at", "add `validate_jwt` or `validate_azure_ad_token`"));
    }
    let deaf = tokens.last().is_some_and(|(_, check)| !check.hears_of_cut_offs());
    if let Some((_, at)) = demands.iter().find(|(route, _)| deaf && route.live_cut_offs) {
        let hint = "add `cut_offs` to the check of the token, or drop `live_cut_offs`";
        return Err(fault(at, "nobody tells what was cut off, so nobody would be let in", hint));
    }
    let looked_at = tokens.iter().any(|(_, check)| check.is_in_authorization());
    let hides_tokens = looked_at && sign_in.as_ref().is_some_and(|check| !check.forwards_tokens);
    // Before the token checks: these look at the session's token.
    all.extend(sign_in.map(|check| Asked { name: "sign_in", policy: Arc::new(SignedIn::new(check, looked_at)) }));
    // The narrowest check is the one that the operation's own demands are about.
    let mut demanded: Vec<Arc<Route>> = demands.into_iter().map(|(route, _)| route).collect();
    for (at, (name, check)) in tokens.iter().enumerate() {
        let of_this = if at + 1 == tokens.len() { std::mem::take(&mut demanded) } else { Vec::new() };
        all.push(Asked { name, policy: Arc::new(Bearer::new(Arc::clone(check), of_this, dpop.clone())) });
    }
    all.sort_by_key(|asked| asked.policy.phase());
    let (before, rewrites): (Vec<_>, Vec<_>) = all.into_iter().partition(|asked| asked.policy.phase() < Phase::Rewrite);
    let told = |(scope, placed): &(&Read<'_>, &Placed)| Told {
        scope: scope.label.clone(),
        policy: placed.name,
        text: placed.text.clone(),
    };
    Ok(Applied {
        rules: Rules {
            before,
            rewrites: rewrites.into_iter().map(|asked| asked.policy).collect(),
            told: kept.iter().map(told).collect(),
        },
        subscription,
        cors,
        dpop,
        hides_tokens,
        tokens: tokens.into_iter().map(|(_, check)| check).collect(),
        identifies: kept.iter().any(|(_, placed)| placed.identifies),
        identifies_without_key: kept.iter().any(|(_, p)| p.identifies && !matches!(p.part, Part::Subscription(_))),
    })
}

/// Proofs of possession, where the tokens of an operation can come with some.
fn proofs(
    dpop: Arc<Dpop>,
    at: &Range<usize>,
    tokens: &[(&'static str, Arc<TokenCheck>)],
    demands: &[(Arc<Route>, Range<usize>)],
) -> Result<Arc<Dpop>, SettingsError> {
    if tokens.is_empty() {
        let hint = "add `validate_jwt`, `validate_azure_ad_token` or `introspect`";
        return Err(fault(at, "`dpop` has no token to look at", hint));
    }
    if tokens.iter().any(|(_, check)| !check.is_in_authorization()) {
        let hint = "take the token from `Authorization`, or drop `dpop`";
        return Err(fault(at, "proofs come with tokens in `Authorization` alone", hint));
    }
    if dpop.is_required() && demands.iter().any(|(route, _)| route.certificate_bound) {
        let hint = "drop `certificate_bound` of `require`, or say `required = false` here";
        return Err(fault(at, "no token is bound to a key and to a certificate", hint));
    }
    Ok(dpop)
}

/// One API, while its operations are put together.
struct Context<'a> {
    api: ApiId,
    table: &'a ApiTable,
    prefix: &'a Arc<str>,
    upstream: Arc<Upstream>,
    upstreams: &'a Upstreams,
    /// Where its metadata is.
    document: Option<Arc<str>>,
    global: &'a Read<'a>,
    products: Vec<(ProductId, &'a Product, &'a Read<'a>)>,
}

impl Context<'_> {
    fn operations(&self, world: &mut World<'_>) -> Result<Vec<Arc<Operation>>, SettingsError> {
        let name = self.table.name.get_ref();
        let described = self.table.openapi.as_ref().map(|file| openapi::read(file, world.beside())).transpose()?;
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
        Ok(operations)
    }

    /// The pattern of an operation, which is written here or in a document.
    fn pattern(table: &OperationTable, described: Option<&Described>) -> Result<Pattern, SettingsError> {
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
                    "describe it with whole segments as parameters, or write it out here",
                )
            }),
            (_, _, Some(_)) => {
                let hint = "leave out `method` and `path` here, or choose another name";
                Err(fault(&table.name.span(), "the OpenAPI document says where this operation is", hint))
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
        let pattern = Self::pattern(read, described)?;
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
            let hint = "add `validate_jwt`, `validate_azure_ad_token`, `sign_in`, `subscription_key` or `ip_filter`, or say `public = true` in the API if that is meant";
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

/// The host of an API's address, the path of its metadata, and the address up to that path (RFC 9728 section 3.1).
fn resource(table: &Spanned<ProtectedResourceTable>) -> Result<(String, String, String), SettingsError> {
    let text = &table.get_ref().resource;
    let wrong =
        |problem: &str| fault(&text.span(), problem, "write `https://api.example/orders`, as callers know the API");
    let uri: http::Uri = text.get_ref().parse().map_err(|_| wrong("this is no address"))?;
    let (scheme, authority) = (uri.scheme_str().unwrap_or_default(), uri.authority());
    let authority = authority.filter(|authority| !authority.as_str().contains('@'));
    let authority = authority.ok_or_else(|| wrong("the address names no host, or a user"))?;
    if !matches!(scheme, "https" | "http") || uri.query().is_some() || text.get_ref().contains(['#', '"', '\\']) {
        return Err(wrong("the address has another scheme than `https`, or a query, or a fragment"));
    }
    let path = uri.path().strip_suffix('/').unwrap_or(uri.path());
    if !(path.is_empty() || path.strip_prefix('/').is_some_and(|rest| rest.split('/').all(is_segment))) {
        return Err(wrong("the path of the address is not in its one spelling"));
    }
    let host = authority.host().to_ascii_lowercase();
    Ok((host, format!("{WELL_KNOWN}{path}"), format!("{scheme}://{authority}")))
}

/// An API's metadata: issuers that are not stated are those of its token checks.
fn document(
    host: String,
    path: String,
    table: &Spanned<ProtectedResourceTable>,
    operations: &[Arc<Operation>],
) -> Result<Document, SettingsError> {
    let read = table.get_ref();
    let mut servers = read.authorization_servers.clone();
    if servers.is_empty() {
        let checks = operations.iter().flat_map(|operation| &operation.tokens);
        for issuer in checks.flat_map(|check| check.issuers()).filter(|issuer| !issuer.contains('{')) {
            if !servers.iter().any(|known| known == issuer) {
                servers.push(issuer.to_owned());
            }
        }
    }
    if servers.is_empty() {
        let hint = "add `authorization_servers`, or `validate_jwt` with an issuer of one tenant";
        return Err(fault(&table.span(), "nothing says where callers get tokens", hint));
    }
    let proofs: Vec<&Arc<Dpop>> = operations.iter().filter_map(|operation| operation.dpop.as_ref()).collect();
    let mut algorithms: Vec<&'static str> = Vec::new();
    for algorithm in proofs.iter().flat_map(|dpop| dpop.taken()) {
        if !algorithms.contains(&algorithm.as_str()) {
            algorithms.push(algorithm.as_str());
        }
    }
    let metadata = Metadata {
        dpop_signing_alg_values_supported: algorithms,
        dpop_bound_access_tokens_required: proofs.len() == operations.len() && proofs.iter().all(|d| d.is_required()),
        resource: read.resource.get_ref().clone(),
        authorization_servers: servers,
        scopes_supported: read.scopes_supported.clone(),
        bearer_methods_supported: ["header"],
        resource_name: read.resource_name.clone(),
        resource_documentation: read.resource_documentation.clone(),
    };
    Ok(Document::new(host, path, &metadata))
}

/// Where an API is: its host, and its path without a slash at the end.
fn place(table: &ApiTable) -> Result<(Option<String>, Arc<str>), SettingsError> {
    let host = match &table.host {
        None => None,
        Some(text) => {
            let host = canonical::host(text.get_ref()).filter(|host| host.port.is_none());
            let name =
                host.ok_or_else(|| fault(&text.span(), "this is no host", "write `api.example`, without a port"))?;
            Some(name.name.into_owned())
        }
    };
    let path = table.path.get_ref();
    let prefix = path.strip_suffix('/').unwrap_or(path);
    let sound = prefix.is_empty() || prefix.strip_prefix('/').is_some_and(|rest| rest.split('/').all(is_segment));
    if !sound || path.is_empty() {
        let hint = "write `/` or `/orders`, in the one spelling that paths have here";
        return Err(fault(&table.path.span(), "this is no path of an API", hint));
    }
    Ok((host, prefix.into()))
}

pub(super) fn is_segment(text: &str) -> bool {
    !text.is_empty() && !text.contains(['*', '{']) && is_canonical(text)
}

fn products<'a>(file: &'a File, world: &mut World<'_>) -> Result<Vec<(Product, Read<'a>)>, SettingsError> {
    let mut products: Vec<(Product, Read<'a>)> = Vec::new();
    for table in &file.product {
        let read = table.get_ref();
        let name = read.name.get_ref();
        if products.iter().any(|(other, _)| &*other.name == name.as_str()) {
            return Err(twice("a product", &read.name));
        }
        let mut apis = Vec::new();
        for api in &read.apis {
            apis.push(api_id(file, api)?);
        }
        let open = !read.subscription_required;
        if let Some((other, _)) =
            products.iter().find(|(other, _)| open && other.open && other.apis.iter().any(|api| apis.contains(api)))
        {
            let problem =
                format!("the products `{}` and `{name}` both open the same API to calls without a key", other.name);
            return Err(fault(&read.name.span(), problem, "an API is in at most one product without subscription"));
        }
        let scope = Read::scope(format!("product {name}"), &read.policies, world)?;
        if let Some(placed) = scope.parts.iter().find(|placed| matches!(placed.part, Part::Subscription(_))) {
            let hint = "write it in the API, or beside all of them";
            return Err(fault(&placed.at, "a product cannot say where the key is: the key says which product", hint));
        }
        if let Some(placed) = scope.parts.iter().find(|placed| matches!(placed.part, Part::Cors(_))) {
            let hint = "write it in the API, or beside all of them";
            return Err(fault(&placed.at, "a preflight has no key, so it is never in the context of a product", hint));
        }
        products.push((Product { name: name.as_str().into(), apis, open }, scope));
    }
    Ok(products)
}

pub(super) fn api_id(file: &File, name: &Spanned<String>) -> Result<ApiId, SettingsError> {
    let found = file.api.iter().position(|api| api.get_ref().name.get_ref() == name.get_ref());
    found.map(ApiId).ok_or_else(|| unknown("api", name, file.api.iter().map(|api| api.get_ref().name.get_ref())))
}
