//! `deputize demo`: an authority and two APIs on this machine, a user who goes through both, and five refusals.
mod browser;
mod consent;
mod credentials;
mod environment;
mod gateway;
mod identities;
mod legacy;
mod python;
mod step_up;
mod story;
mod work_orders;
mod world;

use crate::authority::runtime;
use crate::data::{self, Data, Temporary};
use crate::dev_ca::DevCa;
use crate::estate::plan;
use crate::failure::Failure;
use crate::file::Text;
use crate::instance::{Instance, open_store};
use crate::issuers::{self, Issuer};
use crate::keys::MasterKey;
use crate::listen::{self, Bound};
use crate::serve::{self, Server};
use crate::system;
use axum::Router;
use decision::Clock;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use world::World;

/// The estate that is applied.
const ESTATE: &str = include_str!("../../../examples/estate/contoso.toml");
/// The issuer that the estate names, until another is given.
const ISSUER: &str = "https://issuer.contoso.example";

/// Options of `deputize demo`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The authority's port; Orders and Billing take the next two, and a gateway the third
    #[arg(long, value_name = "PORT", default_value_t = 8443, value_parser = clap::value_parser!(u16).range(1..=65_532))]
    port: u16,
    /// Keeps everything in this folder, so that a later start has the same keys, ids and passwords; by default it is
    /// gone afterwards
    #[arg(long, value_name = "FOLDER")]
    data: Option<PathBuf>,
    /// Writes what another program needs to join in: addresses, ids and, in clear, passwords and secrets
    #[arg(long, value_name = "FILE")]
    env: Option<PathBuf>,
    /// Tells other stories: an API wants more of the user, and what comes of it; one dialog for three parties
    #[arg(long)]
    step_up: bool,
    /// Tells of work that goes on after the user has left: a worker exports Ada's invoices at night, until she is disabled
    #[arg(long, conflicts_with = "step_up")]
    work_orders: bool,
    /// Orders is a Python program without any SDK; `deputize sidecar` beside it gets and judges its tokens
    #[arg(long, conflicts_with = "work_orders")]
    sidecar: bool,
    /// Puts `deputize gateway` before the APIs, old ones too, and shows what each of them is sent
    #[arg(long, conflicts_with_all = ["step_up", "work_orders", "sidecar"])]
    gateway: bool,
    /// Ends after the story instead of serving on
    #[arg(long)]
    once: bool,
    /// Also serves the authority as HTTP without TLS on this loopback port: for benchmarks only
    #[arg(long, value_name = "PORT")]
    plain_port: Option<u16>,
    /// Also serves managed identities over HTTP on this loopback port, as App Service and as the instance metadata service do:
    /// whatever runs on this machine may then be them
    #[arg(long, value_name = "PORT")]
    identity_port: Option<u16>,
    /// Lets tokens of this OpenID Connect issuer on this machine, with the subject `workload`, prove the daemon
    #[arg(long, value_name = "URL")]
    issuer: Option<String>,
}

/// `deputize demo`.
pub(crate) fn run(options: Options) -> Result<ExitCode, Failure> {
    crate::log::start("error")?;
    runtime()?.block_on(demo(options))
}

async fn demo(options: Options) -> Result<ExitCode, Failure> {
    if options.sidecar {
        python::check().await?;
    }
    let ports = Ports::bind(&options).await?;
    // Declared before whatever lives in it, so that it goes last.
    let temporary = if options.data.is_none() { Some(Temporary::create()?) } else { None };
    let folder =
        options.data.as_deref().or(temporary.as_ref().map(Temporary::path)).unwrap_or(std::path::Path::new("."));
    let data = Data::open(folder)?;
    let secrets = data.folder("demo")?;
    // Keys take the longest to make: all cores make them at once.
    let (made, ca) = tokio::join!(credentials::make(&secrets), async { DevCa::open(&data) });
    made?;
    let ca = ca?;
    let leaf = ca.leaf()?;
    let tls = serve::tls(&leaf.chain_pem, &leaf.key_pem, "the development certificate")?;
    let master = MasterKey::load(&data, None)?;
    let host = format!("https://localhost:{}", options.port);
    let store = open_store(&data, &master)?;
    tokio::spawn(store.watch());
    let instance = Instance::open(store, &master, &host, federation(options.issuer.as_deref(), &ca)?).await?;
    // What is measured here comes from one client.
    let instance = instance.limited(0);
    let items = apply(&instance, &secrets, &master, options.issuer.as_deref()).await?;
    let mut world = World::new(&host, Some(options.port), &items, &secrets, &ca.file, &ca.pem)?;

    let mut server = Server::new();
    let authority = instance.authority.router();
    server.add(ports.authority, Some(&tls), &authority)?;
    if let Some(plain) = ports.plain {
        server.add(plain, None, &authority)?;
    }
    let clock = &instance.clock;
    let mut ending = serve::Ending::heard()?;
    let processes = if options.sidecar {
        // The port is free: the program takes it over.
        drop(ports.orders);
        let processes = python::Processes::start(&world, &secrets, &leaf, options.port + 1).await?;
        world.sidecar = Some(processes.sidecar());
        Some(processes)
    } else {
        server.add(ports.orders, Some(&tls), &orders(&world, clock)?)?;
        None
    };
    server.add(ports.billing, Some(&tls), &billing(&world, clock)?)?;
    let edge = if options.gateway {
        Some(gateway::Edge::start(&world, &secrets, (&ca, &leaf), &mut server, options.port + 3).await?)
    } else {
        None
    };
    if let (Some(bound), Some(port)) = (ports.identities, options.identity_port) {
        server.add(bound, None, &identities::router(&world, clock, port)?)?;
    }
    if let Some(file) = &options.env {
        if options.issuer.is_some() {
            // For the issuer's side of TLS.
            data::replace(&secrets.path("localhost.pem"), leaf.chain_pem.as_bytes())?;
            data::replace(&secrets.path("localhost.key"), leaf.key_pem.as_bytes())?;
        }
        let sidecar = processes.as_ref().map(python::Processes::variables);
        let more = environment::More {
            identity_port: options.identity_port,
            issuer: options.issuer.as_deref(),
            sidecar,
            gateway: edge.as_ref().map(gateway::Edge::known),
        };
        data::replace(file, &environment::json(&world, &secrets, &more))?;
    }
    let told = tokio::select! {
        told = tell(&world, &instance, &secrets, &options, edge.as_ref()) => told,
        () = ending.asked() => Ok(story::Told::Interrupted),
    };
    if let (Ok(story::Told::Whole), false) = (&told, options.once) {
        story::how_to_join(&world, options.env.as_deref());
        if let Some(edge) = &edge {
            gateway::how_to_join(&world, edge);
        }
        ending.asked().await;
    }
    if let Some(processes) = processes {
        processes.end().await;
    }
    if let Some(edge) = edge {
        edge.end().await;
    }
    server.end().await;
    told?;
    drop(instance);
    drop(temporary);
    Ok(ExitCode::SUCCESS)
}

async fn tell(
    world: &World,
    instance: &Instance,
    folder: &Data,
    options: &Options,
    edge: Option<&gateway::Edge>,
) -> Result<story::Told, Failure> {
    let clock = &instance.clock;
    if let Some(edge) = edge {
        gateway::tell(world, clock, edge).await
    } else if options.step_up {
        step_up::tell(world, clock, folder).await
    } else if options.work_orders {
        work_orders::tell(world, instance).await
    } else {
        story::tell(world, clock).await
    }
}

struct Ports {
    authority: Bound,
    orders: Bound,
    billing: Bound,
    plain: Option<Bound>,
    identities: Option<Bound>,
}

impl Ports {
    async fn bind(options: &Options) -> Result<Self, Failure> {
        let first = options.port;
        let other = if first < 60_000 { first + 1_000 } else { 8_443 };
        let hint = format!("the demo needs three ports in a row; choose others: `deputize demo --port {other}`");
        let bind = async |offset| listen::bind(&listen::localhost(first + offset), &hint).await;
        Ok(Self {
            authority: bind(0).await?,
            orders: bind(1).await?,
            billing: bind(2).await?,
            plain: match options.plain_port {
                Some(port) => Some(listen::plain(port).await?),
                None => None,
            },
            identities: match options.identity_port {
                Some(port) => Some(listen::plain(port).await?),
                None => None,
            },
        })
    }
}

/// The demo's estate, with what it names made in this folder.
pub(crate) async fn estate(secrets: &Data) -> Result<Text, Failure> {
    credentials::make(secrets).await?;
    Ok(Text { name: "contoso.toml".to_owned(), content: ESTATE.to_owned() })
}

/// A key and its self-signed certificate, in PEM, as client libraries take them.
pub(crate) fn certificate(name: &str) -> Result<String, Failure> {
    credentials::certificate(name)
}

/// What programs need to use the demo's estate at an authority without the demo's APIs, as `--env` writes it.
pub(crate) fn environment(
    host: &str,
    items: &[deputize_core::estate::Item],
    secrets: &Data,
    ca_file: &std::path::Path,
    ca_pem: &str,
) -> Result<Vec<u8>, Failure> {
    let world = World::new(host, None, items, secrets, ca_file, ca_pem)?;
    Ok(environment::json(&world, secrets, &environment::More::default()))
}

/// The issuer is on this machine, behind a certificate of the demo's own authority.
fn federation(issuer: Option<&str>, ca: &DevCa) -> Result<::authority::Federation, Failure> {
    let local = issuer.map(|issuer| Issuer {
        name: issuer.to_owned(),
        jwks: None,
        jwks_uri: None,
        metadata: None,
        ca: Some(ca.file.clone()),
        private: true,
    });
    issuers::federation(local.as_slice(), std::path::Path::new(""))
}

/// Applies the demo's estate, as `deputize apply` would.
async fn apply(
    instance: &Instance,
    secrets: &Data,
    master: &MasterKey,
    issuer: Option<&str>,
) -> Result<Vec<deputize_core::estate::Item>, Failure> {
    let Text { name, content } = estate(secrets).await?;
    let text = Text { name, content: issuer.map_or_else(|| content.clone(), |issuer| content.replace(ISSUER, issuer)) };
    let held = plan::held(&instance.store)?;
    let now = instance.clock.now();
    let plan = plan::plan(&text, &secrets.path(""), &held, master, now, false)?;
    if !plan.difference.steps.is_empty() {
        plan.apply(&instance.store, now).await?;
    }
    Ok(plan.items)
}

fn orders(world: &World, clock: &Arc<dyn Clock>) -> Result<Router, Failure> {
    let config = ::orders::Config {
        authority: world.authority(),
        tenant_id: world.tenant_id.clone(),
        app_id: world.orders.app_id.clone(),
        identifier_uri: "api://orders".to_owned(),
        client_secret: world.orders.secret.clone(),
        billing_url: world.billing_url(),
        billing_uri: "api://billing".to_owned(),
        spa_origins: vec![world::SPA.to_owned()],
        ca_pem: Some(world.ca_pem.clone()),
        local: true,
    };
    ::orders::router(&config, Arc::clone(clock), Arc::new(system::random))
        .map_err(|error| Failure::plain(format!("Orders cannot start: {error}")))
}

fn billing(world: &World, clock: &Arc<dyn Clock>) -> Result<Router, Failure> {
    let config = ::billing::Config {
        authority: world.authority(),
        tenant_id: world.tenant_id.clone(),
        app_id: world.billing.app_id.clone(),
        identifier_uri: "api://billing".to_owned(),
        ca_pem: Some(world.ca_pem.clone()),
        local: true,
    };
    ::billing::router(&config, Arc::clone(clock))
        .map_err(|error| Failure::plain(format!("Billing cannot start: {error}")))
}
