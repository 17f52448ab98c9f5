//! The process that stays outside: it starts the one inside, gives it its ids, and carries what was asked to be carried.
use super::ending::{self, Signals};
use super::forward::{self, Lines};
use super::name::Name;
use super::namespace;
use super::wire::{Allowed, Answer, Hello, INSIDE, Invitation, OUTSIDE, PRIVATE, Plan, Report, encode};
use crate::data::{Data, Temporary};
use crate::failure::{Failure, why};
use crate::listen;
use crate::run::environment::Environment;
use std::io;
use std::process::ExitStatus;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, BufReader};
use tokio::net::UnixListener;
use tokio::process::Command;
use tokio::sync::watch;

/// Starts the plan inside and waits until it has ended.
pub(super) async fn run(plan: Plan, name: Option<&str>) -> Result<ExitStatus, Failure> {
    let signals = Signals::listen();
    let mut published = Vec::new();
    for port in &plan.publish {
        let bound =
            listen::bind(&listen::localhost(*port), "publish another port, and let the server use that").await?;
        published.extend(bound.0.into_iter().map(|listener| (*port, listener)));
    }
    // Declared before whatever lives in it, so that it goes last.
    let folder = Temporary::create()?;
    Data::open(&folder.path().join(PRIVATE))?;
    let door = folder.path().join(OUTSIDE);
    let listener = UnixListener::bind(&door).map_err(|error| unusable(&error))?;
    let _name = name.map(|name| Name::take(name, &door)).transpose()?;
    for (port, listener) in published {
        tokio::spawn(forward::carry(listener, folder.path().join(INSIDE), encode(&Hello::Published(port))));
    }
    // The file of this very program, even if another has taken its place meanwhile.
    let mut inside = Command::new("/proc/self/exe");
    inside.arg("run-inside").arg(folder.path());
    let mut inside = inside.spawn().map_err(|error| unusable(&error))?;
    let place = Arc::new(Place {
        pid: inside.id().unwrap_or_default(),
        allow: plan.allow.clone(),
        plan: encode(&plan),
        environment: watch::Sender::new(None),
    });
    let doorman = tokio::spawn(async move {
        loop {
            match listener.accept().await {
                Ok((caller, _)) => {
                    let place = Arc::clone(&place);
                    // Who breaks the rules of a line sees it closed.
                    tokio::spawn(async move { place.serve(BufReader::new(caller)).await });
                }
                Err(_) => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
            }
        }
    });
    let ended = ending::wait(&mut inside, &mut signals?).await.map_err(|error| unusable(&error));
    doorman.abort();
    ended
}

/// What callers are told.
struct Place {
    pid: u32,
    allow: Vec<Allowed>,
    plan: Vec<u8>,
    environment: watch::Sender<Option<Environment>>,
}

impl Place {
    async fn serve(&self, mut lines: Lines) -> io::Result<()> {
        match forward::hear(&mut lines).await? {
            Hello::Control => self.control(lines).await,
            Hello::Allowed(place) => match self.allow.get(place) {
                Some(Allowed { host, port, .. }) => forward::end(lines, &[(host.clone(), *port)]).await,
                None => Ok(()),
            },
            Hello::Join => self.invite(lines).await,
            Hello::Published(_) => Ok(()),
        }
    }

    async fn control(&self, mut lines: Lines) -> io::Result<()> {
        tokio::io::AsyncWriteExt::write_all(lines.get_mut(), &self.plan).await?;
        loop {
            match forward::hear(&mut lines).await? {
                Report::Unshared => {
                    let mapped: Answer = namespace::map_ids(self.pid).map_err(|error| error.to_string());
                    forward::say(&mut lines, &mapped).await?;
                }
                Report::Ready(environment) => drop(self.environment.send_replace(Some(environment))),
            }
        }
    }

    /// The process inside is a child that has not been waited for as long as this one answers: its number is its own.
    async fn invite(&self, mut lines: Lines) -> io::Result<()> {
        let mut environments = self.environment.subscribe();
        let ready = environments.wait_for(Option::is_some).await.map_err(io::Error::other)?.clone();
        let invitation = Invitation { pid: self.pid, environment: ready.unwrap_or_default() };
        forward::say(&mut lines, &invitation).await?;
        let opened: bool = forward::hear(&mut lines).await?;
        forward::say(&mut lines, &opened).await?;
        // Kept until the other run ends.
        lines.read_u8().await.map(drop)
    }
}

fn unusable(error: &io::Error) -> Failure {
    Failure::new(format!("the command's namespace cannot be prepared: {}", why(error)), "try again")
}
