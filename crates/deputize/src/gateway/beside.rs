//! What stands beside a gateway: a listener for platforms, a socket for its operator, and the way to a collector.
use super::Read;
use crate::failure::{Failure, why};
use crate::listen::{self, Sockets};
use crate::system;
use fetch::{Allow, Fetch};
use gateway::{Authorizer, Control, EnvoyAuthorizer, Gateway, Management, Operator, Spanned, Status};
use serve::{Listeners, Socket};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use telemetry::{Push, Pushing};
use tokio::sync::Notify;

/// What is listened to beside the APIs.
pub(super) async fn listen(
    read: &Read,
    gateway: &Arc<Gateway>,
    sockets: &mut Sockets,
    listeners: &mut Listeners,
) -> Result<(), Failure> {
    if let Some(status) = &read.file.status {
        let addresses = listen::parse(status.get_ref()).ok_or_else(|| {
            let hint = "write `localhost:9464` or `0.0.0.0:9464`";
            read.text.fault(&status.span(), "`status` is no address", hint)
        })?;
        for socket in sockets.tcp(&addresses, "choose another with `status`").await? {
            listeners.add(socket, None, Arc::new(Status::new(Arc::clone(gateway))));
        }
    }
    if let Some(authorizer) = &read.file.authorizer {
        let asked = Arc::new(Authorizer::new(Arc::clone(gateway)));
        for socket in for_proxies(read, authorizer, ("authorizer", "localhost:9191"), sockets).await? {
            listeners.add(socket, None, Arc::clone(&asked));
        }
    }
    if let Some(authorizer) = &read.file.envoy_authorizer {
        let asked = Arc::new(EnvoyAuthorizer::new(Arc::clone(gateway)));
        for socket in for_proxies(read, authorizer, ("envoy_authorizer", "localhost:9192"), sockets).await? {
            listeners.add(socket, None, Arc::clone(&asked));
        }
    }
    if let Some(control) = &read.file.control {
        let path = read.beside().join(control.get_ref());
        let (socket, uid) = private(&path, sockets).await.map_err(|error| {
            let problem = format!("cannot listen at `{}`: {}", path.display(), why(&error));
            read.text.fault(&control.span(), &problem, "name a path in a folder that the gateway may write to")
        })?;
        listeners.add(socket, None, Arc::new(Control::new(Arc::clone(gateway), uid)));
    }
    Ok(())
}

/// Where proxies ask, by a setting of this name, of which this is an example.
async fn for_proxies(
    read: &Read,
    address: &Spanned<String>,
    (setting, such_as): (&str, &str),
    sockets: &mut Sockets,
) -> Result<Vec<Socket>, Failure> {
    let fault = |problem: &str, hint: &str| read.text.fault(&address.span(), problem, hint);
    let addresses = listen::parse(address.get_ref())
        .ok_or_else(|| fault(&format!("`{setting}` is no address"), &format!("write `{such_as}`")))?;
    if !addresses.iter().all(|address| address.ip().is_loopback()) {
        let hint = format!("run it beside the proxy, and write `{such_as}`");
        return Err(fault("whoever asks here is given tokens, so it is served on loopback only", &hint));
    }
    sockets.tcp(&addresses, &format!("choose another with `{setting}`")).await
}

/// The management API, where the file has one.
pub(super) async fn manage(
    read: &Read,
    gateway: &Arc<Gateway>,
    drained: &Arc<Notify>,
    sockets: &mut Sockets,
    listeners: &mut Listeners,
) -> Result<(), Failure> {
    let Some((table, entrance)) = read.file.management.as_ref().zip(gateway.management_entrance()) else {
        return Ok(());
    };
    let entrance = Arc::new(entrance);
    let wanted = &table.get_ref().listen;
    let fault = |problem: &str, hint: &str| read.text.fault(&wanted.span(), problem, hint);
    let addresses = listen::parse(wanted.get_ref())
        .ok_or_else(|| fault("`listen` is no address", "write `localhost:8444` or `0.0.0.0:8444`"))?;
    if !entrance.is_tls() && !addresses.iter().all(|address| address.ip().is_loopback()) {
        let hint = "add `[[certificate]]` with `certificate` and `key`, or write `localhost:8444`";
        return Err(fault("the management API without TLS is served on loopback only", hint));
    }
    let process = Process { gateway: Arc::downgrade(gateway), path: read.path.clone(), drained: Arc::clone(drained) };
    let Some(management) = Management::new(Arc::clone(gateway), Arc::new(process)) else { return Ok(()) };
    let management = Arc::new(management);
    for socket in sockets.tcp(&addresses, "choose another with `listen` of `[management]`").await? {
        listeners.add_behind(socket, Arc::clone(&entrance) as _, Arc::clone(&management));
    }
    Ok(())
}

/// What this process does for its administrators.
struct Process {
    gateway: Weak<Gateway>,
    path: PathBuf,
    drained: Arc<Notify>,
}

impl Operator for Process {
    fn reload(&self) -> Result<(), String> {
        let gateway = self.gateway.upgrade().ok_or("the gateway ends")?;
        super::read_again(&gateway, &self.path).map_err(|failure| failure.to_string())
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
