//! `deputize sidecar`: tokens for the application beside it, from what the platform put into the environment.
mod apis;

use crate::authority::runtime;
use crate::beside::SERVES;
use crate::failure::Failure;
use crate::file::Text;
use crate::log;
use crate::output::say;
use crate::serve::Ending;
use crate::system::{self, SystemClock};
use apis::{Apis, Sockets};
use fetch::{Allow, Fetch, FetchBuilder};
use sidecar::{DRAIN, File, Listeners, Ports, Settings, SettingsError, Sidecar};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use telemetry::{Push, Pushing};
use tokio::signal::unix::{SignalKind, signal};

/// The largest answer of a provider that is read, in bytes.
const LONGEST_ANSWER: usize = 1 << 20;

/// Options of `deputize sidecar`. Without any, the environment that NAIS or Azure give a workload is enough.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// A file for what the environment has no word for: further providers, who may call, which targets. It is read again on
    /// SIGHUP; a broken one changes nothing
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Prints what was understood, without secrets, and ends
    #[arg(long)]
    print_config: bool,
}

/// `deputize sidecar`.
pub(crate) fn run(Options { config, print_config }: Options) -> Result<ExitCode, Failure> {
    let (settings, filter) = read(config.as_deref())?;
    if print_config {
        say(format_args!("{:#}", settings.shown()));
        return Ok(ExitCode::SUCCESS);
    }
    log::start_flat(filter.as_deref().unwrap_or("info"))?;
    runtime()?.block_on(serve(settings, config.as_deref()))
}

/// What the environment and the file say, and what is logged.
fn read(config: Option<&Path>) -> Result<(Settings, Option<String>), Failure> {
    let text = config.map(Text::read).transpose()?;
    let mut file: File = text.as_ref().map(Text::parse).transpose()?.unwrap_or_default();
    config.and_then(Path::parent).unwrap_or(Path::new("")).clone_into(&mut file.beside);
    file.variables = system::sectioned();
    let filter = file.log.take();
    let settings = Settings::read(&system::variable, Some(file)).map_err(|error| told(error, text.as_ref()))?;
    Ok((settings, filter))
}

/// The texts are those that platforms' documentation quotes, so nothing is taken out of them.
fn told(error: SettingsError, text: Option<&Text>) -> Failure {
    match (error, text) {
        (SettingsError::File { at, problem, hint }, Some(text)) => text.fault(&at, &problem, &hint),
        (error, _) => Failure::plain(error.to_string()),
    }
}

async fn serve(settings: Settings, config: Option<&Path>) -> Result<ExitCode, Failure> {
    let mut ending = Ending::heard()?;
    let mut asked_to_read = signal(SignalKind::hangup())
        .map_err(|error| Failure::plain(format!("signals cannot be heard: {}", error.kind())))?;
    let bound = Sockets::bind(&settings).await?;
    let random: Arc<dyn client::Random> = Arc::new(system::random);
    let (ports, network) = ports(&settings, &random)?;
    let sidecar = Sidecar::new(&settings, ports).map_err(|fault| Failure::plain(fault.to_string()))?;
    let place = bound.places.api.clone();
    let mut listeners = Listeners::new();
    let mut running = Running { apis: bound.serve(&mut listeners, &settings, &sidecar, &network)?, settings, sidecar };
    running.sidecar.warm(&random);
    running.sidecar.listen();
    let mut pushing = running.push()?;
    tracing::info!(listener.address = %place, "{SERVES}");
    loop {
        tokio::select! {
            () = ending.asked() => break,
            _ = asked_to_read.recv() => match running.read_again(config, &random) {
                Ok(()) => {
                    if let Some(before) = pushing.take() {
                        before.end().await;
                    }
                    pushing = running.push().unwrap_or_else(|failure| {
                        tracing::error!(reason = %failure, "nothing is pushed any more");
                        None
                    });
                    tracing::info!("the configuration was read again");
                }
                Err(failure) => {
                    tracing::error!(reason = %failure, "the configuration is of no use; the one before goes on");
                }
            },
        }
    }
    tracing::info!("the sidecar ends");
    listeners.end(DRAIN).await;
    if let Some(pushing) = pushing {
        pushing.end().await;
    }
    Ok(ExitCode::SUCCESS)
}

/// What serves now.
struct Running {
    settings: Settings,
    sidecar: Arc<Sidecar>,
    apis: Apis,
}

impl Running {
    /// Reads the configuration again. Requests that are under way end with what they began with.
    fn read_again(&mut self, config: Option<&Path>, random: &Arc<dyn client::Random>) -> Result<(), Failure> {
        let (settings, _) = read(config)?;
        if let Some(name) = fixed(&self.settings, &settings) {
            let error = format!("`{name}` is another, and listeners are where and what they were at the start");
            return Err(Failure::new(error, "restart the sidecar, or take that change back"));
        }
        let (ports, network) = ports(&settings, random)?;
        let renewed = self.sidecar.renewed(&settings, ports);
        let sidecar = renewed.map_err(|fault| Failure::plain(fault.to_string()))?;
        if let Some(push) = &settings.push {
            collector(&settings, push)?;
        }
        self.apis.replace(&settings, &sidecar, &network)?;
        sidecar.warm(random);
        sidecar.listen();
        (self.settings, self.sidecar) = (settings, sidecar);
        Ok(())
    }

    /// Begins to push, if somebody is to be told.
    fn push(&self) -> Result<Option<Pushing>, Failure> {
        let Some(push) = self.settings.push.clone() else { return Ok(None) };
        let network = collector(&self.settings, &push)?;
        Ok(Some(push.begin(Arc::clone(&self.sidecar), network)))
    }
}

/// What takes a restart, where it differs: listeners, and how they are spoken to.
fn fixed(before: &Settings, after: &Settings) -> Option<&'static str> {
    let (before, after) = (before.shown(), after.shown());
    let places =
        ["/bind", "/probe", "/metrics", "/admin", "/callers/tls", "/entra/bind", "/native/bind", "/identity/bind"];
    let other = places.into_iter().find(|place| before.pointer(place) != after.pointer(place));
    other.map(|place| place.trim_start_matches('/'))
}

/// What a sidecar needs from outside, and the way to the APIs that are called.
fn ports(settings: &Settings, random: &Arc<dyn client::Random>) -> Result<(Ports, Fetch), Failure> {
    let tokens = Allow { plain_loopback: true, ..Allow::INSIDE };
    let network = outbound(settings, tokens)?.build().map_err(Failure::told)?;
    let fetch = Arc::new(network.clone());
    let ports = Ports {
        metadata: fetch.clone(),
        tokens: fetch,
        host: Arc::new(host()?),
        streams: network.clone(),
        clock: Arc::new(SystemClock),
        random: Arc::clone(random),
    };
    Ok((ports, network))
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
