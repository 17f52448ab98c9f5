//! What stands beside a gateway: a listener for platforms, a socket for its operator, and the way to a collector.
use super::Read;
use super::again::Started;
use super::doors::Listening;
use crate::failure::{Failure, why};
use crate::listen::{self, Sockets};
use crate::system;
use fetch::{Allow, Fetch};
use gateway::{Authorizer, Control, EnvoyAuthorizer, Gateway, Management, Operator, Spanned, Status};
use serve::Socket;
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::{Arc, Weak};
use telemetry::{Push, Pushing};
use tokio::sync::Notify;

/// Where is listened to beside the APIs; nowhere, where the file names no address.
#[derive(Default)]
pub(super) struct Wanted {
    status: Vec<SocketAddr>,
    authorizer: Vec<SocketAddr>,
    envoy_authorizer: Vec<SocketAddr>,
    management: Vec<SocketAddr>,
}

/// The addresses of the file, each of them once, and those of callers too. `is_management_encrypted` is of the management API, where
/// there is one.
pub(super) fn wanted(
    read: &Read,
    is_management_encrypted: Option<bool>,
    callers: &[Vec<SocketAddr>],
) -> Result<Wanted, Failure> {
    let only_here = "whoever asks here is given tokens, so it is served on loopback only";
    let file = &read.file;
    let mut taken: Vec<SocketAddr> = callers.iter().flatten().copied().collect();
    let mut at = |setting: Option<&Spanned<String>>, name: &str, such_as: &str, only_here: Option<(&str, &str)>| {
        let Some(setting) = setting else { return Ok(Vec::new()) };
        let fault = |problem: &str, hint: &str| Err(read.text.fault(&setting.span(), problem, hint));
        let Some(addresses) = listen::parse(setting.get_ref()) else {
            return fault(&format!("`{name}` is no address"), &format!("write `{such_as}`"));
        };
        if let Some((problem, hint)) = only_here.filter(|_| !addresses.iter().all(|address| address.ip().is_loopback()))
        {
            return fault(problem, &format!("{hint}, and write `{such_as}`"));
        }
        if addresses.iter().any(|address| address.port() != 0 && taken.contains(address)) {
            return fault(
                &format!("the gateway listens at the address of `{name}` for something else"),
                "choose another",
            );
        }
        taken.extend(&addresses);
        Ok(addresses)
    };
    let beside_the_proxy = Some((only_here, "run it beside the proxy"));
    let in_the_clear = (is_management_encrypted == Some(false)).then(|| {
        let problem = "the management API without TLS is served on loopback only";
        (problem, "add `[[certificate]]` with `certificate` and `key`, or stay on this machine")
    });
    let management = file.management.as_ref().map(|table| &table.get_ref().listen);
    Ok(Wanted {
        status: at(file.status.as_ref(), "status", "localhost:9464", None)?,
        authorizer: at(file.authorizer.as_ref(), "authorizer", "localhost:9191", beside_the_proxy)?,
        envoy_authorizer: at(file.envoy_authorizer.as_ref(), "envoy_authorizer", "localhost:9192", beside_the_proxy)?,
        management: at(management, "listen", "localhost:8444", in_the_clear)?,
    })
}

/// What is listened to beside the APIs.
pub(super) async fn listen(
    read: &Read,
    wanted: &Wanted,
    gateway: &Arc<Gateway>,
    sockets: &mut Sockets,
    listening: &mut Listening,
) -> Result<(), Failure> {
    for socket in sockets.tcp(&wanted.status, "choose another with `status`").await? {
        listening.beside.add(socket, None, Arc::new(Status::new(Arc::clone(gateway))));
    }
    let asked = Arc::new(Authorizer::new(Arc::clone(gateway)));
    for socket in sockets.tcp(&wanted.authorizer, "choose another with `authorizer`").await? {
        listening.proxies.add(socket, None, Arc::clone(&asked));
    }
    let asked = Arc::new(EnvoyAuthorizer::new(Arc::clone(gateway)));
    for socket in sockets.tcp(&wanted.envoy_authorizer, "choose another with `envoy_authorizer`").await? {
        listening.proxies.add(socket, None, Arc::clone(&asked));
    }
    if let Some(control) = &read.file.control {
        let path = read.beside().join(control.get_ref());
        let (socket, uid) = private(&path, sockets).await.map_err(|error| {
            let problem = format!("cannot listen at `{}`: {}", path.display(), why(&error));
            read.text.fault(&control.span(), &problem, "name a path in a folder that the gateway may write to")
        })?;
        listening.beside.add(socket, None, Arc::new(Control::new(Arc::clone(gateway), uid)));
    }
    Ok(())
}

/// The management API, where the file has one.
pub(super) async fn manage(
    wanted: &Wanted,
    gateway: &Arc<Gateway>,
    started: &Arc<Started>,
    drained: &Arc<Notify>,
    sockets: &mut Sockets,
    listening: &mut Listening,
) -> Result<(), Failure> {
    let Some(entrance) = gateway.management_entrance().map(Arc::new) else { return Ok(()) };
    let (started, drained) = (Arc::clone(started), Arc::clone(drained));
    let process = Process { gateway: Arc::downgrade(gateway), started, drained };
    let Some(management) = Management::new(Arc::clone(gateway), Arc::new(process)) else { return Ok(()) };
    let management = Arc::new(management);
    for socket in sockets.tcp(&wanted.management, "choose another with `listen` of `[management]`").await? {
        listening.beside.add_behind(socket, Arc::clone(&entrance) as _, Arc::clone(&management));
    }
    Ok(())
}

/// What this process does for its administrators.
struct Process {
    gateway: Weak<Gateway>,
    started: Arc<Started>,
    drained: Arc<Notify>,
}

impl Operator for Process {
    fn reload(&self) -> Result<(), String> {
        let gateway = self.gateway.upgrade().ok_or("the gateway ends")?;
        self.started.read_again(&gateway).map_err(|failure| failure.to_string())
    }

    fn drain(&self) {
        self.drained.notify_one();
    }
}

/// A socket that only this user can open, and who that is.
async fn private(path: &Path, sockets: &mut Sockets) -> std::io::Result<(Socket, u32)> {
    let socket = sockets.unix(path).await?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok((socket, std::fs::metadata(path)?.uid()))
}

/// Where metrics and traces are pushed, in the words of OpenTelemetry.
pub(super) fn collector() -> Result<Option<Push>, Failure> {
    Push::read(&system::variable, "deputize-gateway").map_err(|error| Failure::plain(error.to_string()))
}

/// Begins to push. Counts and traces are no secrets: collectors inside mostly have no TLS.
pub(super) fn push(push: Push, gateway: &Arc<Gateway>) -> Result<Pushing, Failure> {
    let builder = Fetch::builder().allow(Allow { plain: true, ..Allow::INSIDE });
    let network = push.network(builder).map_err(Failure::plain)?;
    Ok(push.begin(Arc::clone(gateway), network))
}
