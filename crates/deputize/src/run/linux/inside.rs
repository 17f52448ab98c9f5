//! The process inside: it makes the namespace or enters one, lets the authority answer there, and starts the command.
use super::NOT_STARTED;
use super::ending::{self, Signals};
use super::forward::{self, Lines};
use super::hosts;
use super::namespace::{self, Private, Refusal};
use super::plain;
use super::wire::{Hello, INSIDE, Line, OUTSIDE, Plan, Report, encode};
use crate::authority::runtime;
use crate::beside::{self, Beside};
use crate::data::Data;
use crate::failure::{Failure, why};
use crate::keys::VARIABLE as MASTER_KEY;
use crate::listen;
use crate::run::ca;
use crate::run::environment::{self, Environment};
use crate::run::outdoors;
use crate::run::served::Served;
use crate::serve::{self, Server};
use deputize_core::cloud;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, ExitStatus};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::BufReader;
use tokio::net::UnixListener;
use tokio::process::Command;

/// What is still under way when the command has ended has nobody left to answer.
const CLOSING: Duration = Duration::from_secs(2);

/// Options of the hidden command that is started in a new process.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The run's folder
    folder: PathBuf,
}

/// `deputize run-inside`.
pub(crate) fn run(options: Options) -> Result<ExitCode, Failure> {
    crate::log::start("error")?;
    let mut line = Line::open(&options.folder.join(OUTSIDE), &Hello::Control)?;
    let plan: Plan = line.hear()?;
    let status = match enter(&options.folder, &plan, &mut line) {
        Ok(status) => status,
        Err(Refusal::Kernel(step, errno)) => {
            outdoors::refused(&format!("{step} ({})", errno.desc()));
            return Ok(ExitCode::from(NOT_STARTED));
        }
        Err(Refusal::Other(failure)) => {
            failure.report();
            return Ok(ExitCode::from(NOT_STARTED));
        }
    };
    Ok(ending::like(status))
}

/// No thread is started before the namespace is there.
fn enter(folder: &Path, plan: &Plan, line: &mut Line) -> Result<ExitStatus, Refusal> {
    if let Some(door) = &plan.join {
        let environment = namespace::join(door)?;
        let runtime = runtime()?;
        let ended = runtime.block_on(async {
            let _forwards = publish(folder, plan)?;
            line.say(&Report::Ready(environment.clone()))?;
            command(plan, &environment).await
        });
        runtime.shutdown_timeout(CLOSING);
        return Ok(ended?);
    }
    let cloud =
        cloud::of(&format!("https://{}", plan.cloud)).ok_or_else(|| Failure::plain("there is no such cloud"))?;
    let names = hosts::sign_in(cloud);
    let ca = ca::make(&names)?;
    let private = namespace::make(folder, plan, &names, &ca, line)?;
    let runtime = runtime()?;
    let ended = runtime.block_on(authority(folder, plan, &private, &ca, line));
    runtime.shutdown_timeout(CLOSING);
    Ok(ended?)
}

async fn authority(
    folder: &Path,
    plan: &Plan,
    private: &Private,
    ca: &ca::RunCa,
    line: &mut Line,
) -> Result<ExitStatus, Failure> {
    // The certificate is of today: programs look at it with the system's clock.
    crate::system::live_ahead(i64::from(plan.ahead) * 60);
    let data = Data::open(&plan.data.clone().unwrap_or_else(|| private.path("data")))?;
    let host = format!("https://{}", plan.cloud);
    let served = Served::open(&data, plan.estate.as_deref(), &host).await?;
    let tls = serve::tls(&format!("{}{}", ca.chain_pem, ca.pem), &ca.key_pem, "the run's certificate")?;
    let mut server = Server::new();
    let door = listen::bind(&[(hosts::AUTHORITY, 443).into()], "start it outside of this namespace").await?;
    server.add(door, Some(&tls), &served.router())?;
    let machine = served.machine(&ca.pem).await?;
    let address = hosts::METADATA.to_string();
    let metadata = listen::bind(&[(hosts::METADATA, 80).into()], "start it outside of this namespace").await?;
    server.add(metadata, None, &machine.router(&[address.clone(), format!("{address}:80")]))?;
    for (place, allowed) in plan.allow.iter().enumerate() {
        let addresses: Vec<_> = allowed.addresses.iter().map(|address| (*address, allowed.port).into()).collect();
        let bound = listen::bind(&addresses, "allow each server once").await?;
        for listener in bound.0 {
            tokio::spawn(forward::carry(listener, folder.join(OUTSIDE), encode(&Hello::Allowed(place))));
        }
    }
    let _forwards = publish(folder, plan)?;
    let mut environment = environment::inside(&private.path("ca.pem"), &private.path("ca-bundle.pem"));
    environment.extend(served.variables(&data, &private.path("ca.pem"), &ca.pem)?);
    if plan.app_service {
        environment.extend(machine.app_service(&format!("http://{address}")));
    }
    if !plan.quiet {
        served.announce(&plan.cloud);
    }
    line.say(&Report::Ready(environment.clone()))?;
    let ended = command(plan, &environment).await;
    // Whatever the command left behind has no authority any more.
    let _ = tokio::time::timeout(CLOSING, server.end()).await;
    ended
}

/// Answers calls to published ports, until it is dropped.
fn publish(folder: &Path, plan: &Plan) -> Result<tokio::task::JoinSet<()>, Failure> {
    let mut doors = tokio::task::JoinSet::new();
    if plan.publish.is_empty() {
        return Ok(doors);
    }
    let listener = UnixListener::bind(folder.join(INSIDE))
        .map_err(|error| Failure::plain(format!("ports cannot be published: {}", why(&error))))?;
    let ports: Arc<[u16]> = plan.publish.clone().into();
    doors.spawn(async move {
        while let Ok((caller, _)) = listener.accept().await {
            let ports = Arc::clone(&ports);
            tokio::spawn(async move { serve_published(BufReader::new(caller), &ports).await });
        }
    });
    Ok(doors)
}

async fn serve_published(mut lines: Lines, ports: &[u16]) -> std::io::Result<()> {
    match forward::hear(&mut lines).await? {
        Hello::Published(port) if ports.contains(&port) => {
            forward::end(lines, &[("127.0.0.1".to_owned(), port), ("::1".to_owned(), port)]).await
        }
        _ => Ok(()),
    }
}

async fn command(plan: &Plan, environment: &Environment) -> Result<ExitStatus, Failure> {
    let mut signals = Signals::listen()?;
    let sidecar = if plan.sidecar {
        let mut sidecar = beside::command()?;
        equip(&mut sidecar, environment);
        Some(Beside::start(sidecar, plain::LEVEL).await?)
    } else {
        None
    };
    let mut command = beside::start(&plan.command)?;
    equip(&mut command, environment);
    command.envs(sidecar.iter().flat_map(Beside::variables));
    // Where App Service is stood in for, its identities are the machine's.
    command.envs(sidecar.iter().filter(|_| !plan.app_service).flat_map(Beside::identity));
    let failed = |error: std::io::Error| Failure::plain(format!("no process can be started: {}", why(&error)));
    let child = command.spawn().map_err(failed)?;
    ending::together(child, &mut signals, sidecar).await.map_err(failed)
}

/// What programs inside need to know, and nothing that leads outside.
fn equip(command: &mut Command, environment: &Environment) {
    for name in environment::PROXIES.into_iter().chain([MASTER_KEY]) {
        command.env_remove(name);
    }
    command.envs(environment);
}
