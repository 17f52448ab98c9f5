//! From the file to what answers requests.
use super::doors::{Doors, doors, is_everybody, network};
use super::file::ApiTable;
use super::management;
use super::operations::Context;
use super::resource::{document, resource};
use super::scopes::Read;
use super::subscriptions::subscriptions;
use super::upstreams::{Upstreams, upstreams};
use super::world::{AllFetched, Variables, World, twice, unknown};
use super::{File, SettingsError, Spanned, fault};
use crate::cut_offs::AllHeard;
use crate::gateway::Ports;
use crate::limits::{Limits, Shared};
use crate::policy::Part;
use crate::protected_resource::Documents;
use crate::rotating::Rotates;
use crate::routes::{Routes, is_canonical};
use crate::sign_in::SignIn;
use crate::subscriptions::{ApiId, Product, ProductId, Subscriptions};
use crate::told_certificate::CertificateField;
use crate::{authorizer, canonical};
use guard::Guard;
use http::HeaderName;
use ipnet::IpNet;
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
    if let Some(all) = proxies.iter().find(|network| is_everybody(network)) {
        world.remark(format!("`{all}` in `trusted_proxies` lets anybody say where a call comes from"));
    }
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
    if routes.all().is_empty() {
        world.remark("the file has no operation, so nothing can be called".to_owned());
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
    let is_asked = file.authorizer.is_some() || file.envoy_authorizer.is_some();
    if let Some(remark) = authorizer::remark_on_certificates(routes.all()).filter(|_| is_asked) {
        world.remark(remark);
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
