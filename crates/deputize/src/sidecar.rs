//! `deputize sidecar`: tokens for the application beside it, from what the platform put into the environment.
use crate::authority::runtime;
use crate::beside::{IDENTITY_BIND, NATIVE_BIND, SERVES, SERVES_TOO};
use crate::failure::{Failure, why};
use crate::file::Text;
use crate::log;
use crate::output::say;
use crate::serve::Ending;
use crate::system::{self, SystemClock};
use fetch::{Allow, Fetch, FetchBuilder};
use sidecar::{
    Admin, Bind, Bound, DRAIN, Entra, File, Listeners, ManagedIdentity, Metrics, Native, Ports, Probe, Settings,
    SettingsError, SetupError, Sidecar, Texas,
};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use telemetry::Push;

/// The largest answer of a provider that is read, in bytes.
const LONGEST_ANSWER: usize = 1 << 20;

/// Options of `deputize sidecar`. Without any, the environment that NAIS or Azure give a workload is enough.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// A file for what the environment has no word for: further providers, who may call, which targets
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Prints what was understood, without secrets, and ends
    #[arg(long)]
    print_config: bool,
}

/// `deputize sidecar`.
pub(crate) fn run(Options { config, print_config }: Options) -> Result<ExitCode, Failure> {
    let text = config.as_deref().map(Text::read).transpose()?;
    let mut file: File = text.as_ref().map(Text::parse).transpose()?.unwrap_or_default();
    config.as_deref().and_then(Path::parent).unwrap_or(Path::new("")).clone_into(&mut file.beside);
    file.variables = system::sectioned();
    let filter = file.log.take();
    let settings = Settings::read(&system::variable, Some(file)).map_err(|error| told(error, text.as_ref()))?;
    if print_config {
        say(format_args!("{:#}", settings.shown()));
        return Ok(ExitCode::SUCCESS);
    }
    log::start_flat(filter.as_deref().unwrap_or("info"))?;
    runtime()?.block_on(serve(settings))
}

/// The texts are those that platforms' documentation quotes, so nothing is taken out of them.
fn told(error: SettingsError, text: Option<&Text>) -> Failure {
    match (error, text) {
        (SettingsError::File { at, problem, hint }, Some(text)) => text.fault(&at, &problem, &hint),
        (error, _) => Failure::plain(error.to_string()),
    }
}

async fn serve(settings: Settings) -> Result<ExitCode, Failure> {
    let mut ending = Ending::heard()?;
    let bound = listening(&settings.bind, "BIND_ADDRESS").await?;
    let place = bound.address().unwrap_or_else(|| settings.bind.clone());
    let probe = optional(settings.probe, "PROBE_BIND_ADDRESS").await?;
    let metrics = optional(settings.metrics, "METRICS_BIND_ADDRESS").await?;

    let admin = match &settings.admin {
        Some(bind) => Some((listening(bind, "ADMIN_BIND_ADDRESS").await?, bind)),
        None => None,
    };

    let random: Arc<dyn client::Random> = Arc::new(system::random);
    let tokens = Allow { plain_loopback: true, ..Allow::INSIDE };
    let network = outbound(&settings, tokens)?.build().map_err(Failure::told)?;
    let fetch = Arc::new(network.clone());
    let ports = Ports {
        metadata: fetch.clone(),
        tokens: fetch,
        host: Arc::new(host()?),
        streams: network.clone(),
        clock: Arc::new(SystemClock),
        random: Arc::clone(&random),
    };
    let sidecar = Sidecar::new(&settings, ports).map_err(|fault| Failure::plain(fault.to_string()))?;
    let mut listeners = Listeners::new();
    let texas = Texas::new(Arc::clone(&sidecar), &settings.callers, &place);
    listeners.add(bound, settings.callers.mutual(&place), Arc::new(texas));
    if let Some(bound) = probe {
        listeners.add(bound, None, Arc::new(Probe::new(Arc::clone(&sidecar))));
    }
    if let Some(bound) = metrics {
        listeners.add(bound, None, Arc::new(Metrics::new(Arc::clone(&sidecar))));
    }
    if let Some((bound, bind)) = admin {
        listeners.add(bound, None, Arc::new(Admin::new(Arc::clone(&sidecar), &settings.callers, bind)));
    }
    others(&mut listeners, &settings, &sidecar, &network).await?;
    sidecar.warm(&random);
    sidecar.listen();
    let pushing = match settings.push.clone() {
        Some(push) => {
            let network = collector(&settings, &push)?;
            Some(push.begin(Arc::clone(&sidecar), network))
        }
        None => None,
    };
    tracing::info!(listener.address = %place, "{SERVES}");
    ending.asked().await;
    tracing::info!("the sidecar ends");
    listeners.end(DRAIN).await;
    if let Some(pushing) = pushing {
        pushing.end().await;
    }
    Ok(ExitCode::SUCCESS)
}

/// The APIs that have an address only where somebody gave them one.
async fn others(
    listeners: &mut Listeners,
    settings: &Settings,
    sidecar: &Arc<Sidecar>,
    network: &Fetch,
) -> Result<(), Failure> {
    let unusable = |error: SetupError| Failure::plain(error.to_string());
    if let Some(entra) = &settings.entra {
        let (bound, place) = placed(&entra.bind, "ENTRA_BIND_ADDRESS").await?;
        let api = Entra::new(sidecar, settings, entra, &place, network.clone()).map_err(unusable)?;
        // Without TLS everywhere: whoever is not on this machine gets nothing but its health.
        listeners.add(bound, None, Arc::new(api));
    }
    if let Some(native) = &settings.native {
        let (bound, place) = placed(&native.bind, NATIVE_BIND).await?;
        let api = Native::new(sidecar, settings, &place, network.clone()).map_err(unusable)?;
        listeners.add(bound, settings.callers.mutual(&place), Arc::new(api));
    }
    if let Some(identity) = &settings.identity {
        let (bound, place) = placed(&identity.bind, IDENTITY_BIND).await?;
        if let Some(api) = ManagedIdentity::new(sidecar, identity, &place) {
            listeners.add(bound, None, Arc::new(api));
        }
    }
    Ok(())
}

/// A listener, and where it is.
async fn placed(bind: &Bind, name: &str) -> Result<(Bound, Bind), Failure> {
    let bound = listening(bind, name).await?;
    let place = bound.address().unwrap_or_else(|| bind.clone());
    tracing::info!(listener.address = %place, listener.setting = name, "{SERVES_TOO}");
    Ok((bound, place))
}

async fn optional(address: Option<std::net::SocketAddr>, name: &str) -> Result<Option<Bound>, Failure> {
    match address {
        Some(address) => listening(&Bind::Tcp(address), name).await.map(Some),
        None => Ok(None),
    }
}

async fn listening(bind: &Bind, name: &str) -> Result<Bound, Failure> {
    Bound::bind(bind).await.map_err(|error| {
        let error = format!("cannot listen on {bind}: {}", why(&error));
        Failure::new(error, format!("choose another address in {name}"))
    })
}

/// The way to the host's managed identities: never through a proxy, and nowhere else.
fn host() -> Result<Fetch, Failure> {
    let allow = Allow { loopback: true, plain_loopback: true, ..Allow::INSTANCE_METADATA };
    let patience = Duration::from_secs(3);
    Fetch::builder().allow(allow).timeouts(patience, patience).max_bytes(LONGEST_ANSWER).build().map_err(Failure::told)
}

/// The way to a collector, by the same authorities and proxy. Counts and traces are no secrets: collectors inside mostly have no
/// TLS.
fn collector(settings: &Settings, push: &Push) -> Result<Fetch, Failure> {
    push.network(outbound(settings, Allow { plain: true, ..Allow::INSIDE })?).map_err(Failure::plain)
}

/// Providers may be inside: in a cluster, on a company's network, on this machine for development.
fn outbound(settings: &Settings, allow: Allow) -> Result<FetchBuilder, Failure> {
    let (connect, total) = (settings.upstream.connect, settings.upstream.total.max(Duration::from_secs(10)));
    let mut builder =
        Fetch::builder().allow(allow).timeouts(connect, total).max_bytes(LONGEST_ANSWER).idle(settings.upstream.idle);
    if let Some(proxy) = &settings.proxy {
        builder = builder.proxy(proxy.clone());
    }
    if let Some(path) = &settings.authorities {
        builder = builder.ca_pem(Text::read(path)?.content.as_bytes()).map_err(Failure::told)?;
    }
    Ok(builder)
}
