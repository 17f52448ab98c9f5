//! `deputize gateway`: stands before APIs, by a configuration file.
mod again;
mod beside;
mod doors;
mod ending;
mod trace;

use crate::authority::runtime;
use crate::failure::{Failure, why};
use crate::file::Text;
use crate::listen::{self, Sockets};
use crate::log;
use crate::output::{printable, say, say_aside};
use crate::serve::Ending;
use crate::system::{self, SystemClock};
use again::Started;
use client::TokenCache;
use client::managed_identity::ManagedIdentity;
use doors::Listening;
use ending::{LAST, Left};
use fetch::{Allow, Fetch, KeySets, Lifetimes};
use gateway::{
    AccessLog, Effective, Entrance, File, Gateway, Ids, Ports, Scope, SettingsError, Store, Telemetry, Told,
    import_apim,
};
use serve::Service;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use telemetry::Push;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;

/// What is logged when it serves.
pub(crate) const SERVES: &str = "the gateway serves";
/// How many bytes of onward tokens are kept.
const TOKEN_BYTES: u64 = 8 << 20;
/// The largest answer of an issuer or an authority that is read, in bytes.
const LONGEST_ANSWER: usize = 1 << 20;
/// For issuers' keys, before a gateway is replaced.
const READY: Duration = Duration::from_secs(5);
/// How long connections that are open go on at a gateway that was replaced. None is kept for longer without a request.
const LINGER: Duration = Duration::from_mins(2);
/// How many connections one address may have, if the file does not say.
const SHARE: usize = 512;
/// How often files are looked at, and it is looked what is due to be fetched.
const LOOK: Duration = Duration::from_secs(1);

/// Options of `deputize gateway`.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct Options {
    #[command(subcommand)]
    command: Option<Command>,
    /// The configuration. It is read again on SIGHUP; a broken one changes nothing
    #[arg(value_name = "FILE", required = true)]
    file: Option<PathBuf>,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Says what is wrong with a configuration, or that nothing is
    Check {
        /// The configuration
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Prints which policies apply to a request, and where they are written
    Effective {
        /// The configuration
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// A request such as `GET https://api.example/orders/7`, or `GET /orders/7`; by default every operation
        #[arg(value_name = "METHOD URL", num_args = 0..=2)]
        request: Vec<String>,
    },
    /// Prints what a running gateway decides, request by request: every policy that was asked, what it said, and who can mend it
    Trace {
        /// The configuration that it runs with, which names its `control` socket
        #[arg(value_name = "FILE")]
        file: PathBuf,
        #[command(flatten)]
        options: trace::Options,
    },
    /// Turns a policy document of Azure API Management into configuration, and says what it could not carry over
    ImportApim {
        /// The document
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Where it stands in API Management; of an API a whole configuration comes, of the others what to add to one
        #[arg(long, value_enum, default_value_t = ImportScope::Api)]
        scope: ImportScope,
        /// The value of a `{{name}}` in it; once for each
        #[arg(long, value_name = "NAME=VALUE", value_parser = named_value)]
        named_value: Vec<(String, String)>,
    },
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum ImportScope {
    Global,
    Product,
    Api,
    Operation,
}

fn named_value(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write the name, `=` and the value")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// `deputize gateway`.
pub(crate) fn run(Options { command, file }: Options) -> Result<ExitCode, Failure> {
    match command {
        Some(Command::Check { file }) => {
            let read = Read::file(&file)?;
            let gateway = Arc::new(read.gateway(AccessLog::off(), None, None)?);
            share(&read)?;
            log::filter(read.file.log.as_deref().unwrap_or("info"), "the setting `log`")?;
            read.wanted(&gateway)?;
            let operations = gateway.effective().len();
            say(format_args!("`{}` is sound; operations: {operations}", file.display()));
            for what in gateway.remarks() {
                say(format_args!("mind: {}", printable(&what)));
            }
            for what in gateway.missing() {
                say(format_args!("not looked up: {}", printable(&what)));
            }
            Ok(ExitCode::SUCCESS)
        }
        Some(Command::ImportApim { file, scope, named_value }) => {
            let scope = match scope {
                ImportScope::Global => Scope::Global,
                ImportScope::Product => Scope::Product,
                ImportScope::Api => Scope::Api,
                ImportScope::Operation => Scope::Operation,
            };
            let text = Text::read(&file)?;
            let imported = import_apim(&text.content, scope, &named_value.into_iter().collect());
            let imported = imported.map_err(|error| {
                let hint = "give a policy document as API Management exports it";
                Failure::new(format!("{}:{}: {}", file.display(), error.line, error.problem), hint)
            })?;
            say(imported.toml.trim_end());
            if !imported.left.is_empty() {
                let (all, checks) = (imported.left.len(), imported.left.iter().filter(|left| left.is_check).count());
                let laxer = if checks > 0 {
                    format!(", checks of callers among it ({checks}), without which the API is laxer")
                } else {
                    String::new()
                };
                say_aside(format_args!("mind: {all} of the document is not carried over{laxer}: see the beginning"));
            }
            Ok(ExitCode::SUCCESS)
        }
        Some(Command::Trace { file, options }) => runtime()?.block_on(trace::run(&Read::file(&file)?, options)),
        Some(Command::Effective { file, request }) => effective(&Read::file(&file)?, &request),
        None => {
            let read = Read::file(&file.unwrap_or_default())?;
            log::start(read.file.log.as_deref().unwrap_or("info"))?;
            let threads = runtime()?;
            let ended = threads.block_on(serve(read));
            // One that waits for a reader of its output would keep the process for ever.
            threads.shutdown_timeout(LAST);
            ended
        }
    }
}

/// A configuration, and the text that its mistakes stand in.
struct Read {
    text: Text,
    file: File,
    path: PathBuf,
}

impl Read {
    fn file(path: &Path) -> Result<Self, Failure> {
        let text = Text::read(path)?;
        let file = text.parse()?;
        Ok(Self { text, file, path: path.to_owned() })
    }

    /// Where relative paths begin.
    fn beside(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new(""))
    }

    fn gateway(
        &self,
        access_log: AccessLog,
        push: Option<&Push>,
        store: Option<Arc<Store>>,
    ) -> Result<Gateway, Failure> {
        let ports = Ports { store, ..self.ports(access_log, push)? };
        Gateway::new(&self.file, &system::variable, self.beside(), ports).map_err(|error| self.told(&error))
    }

    /// The database of the management API, where there is one.
    fn store(&self) -> Result<Option<Arc<Store>>, Failure> {
        let Some(management) = &self.file.management else { return Ok(None) };
        let (database, key) = management.get_ref().files(self.beside());
        Store::open(&database, &key, Arc::new(SystemClock), &system::random).map(|store| Some(Arc::new(store))).map_err(
            |error| {
                let text = error.to_string();
                let (problem, hint) = text.rsplit_once(": ").unwrap_or((&text, "check its disk and its permissions"));
                self.text.fault(&management.get_ref().database.span(), problem, hint)
            },
        )
    }

    /// Where is listened to.
    fn wanted(&self, gateway: &Arc<Gateway>) -> Result<(Vec<Vec<SocketAddr>>, beside::Wanted), Failure> {
        let are_encrypted: Vec<bool> = gateway.entrances().iter().map(Entrance::is_tls).collect();
        let callers = doors::addresses(self, &are_encrypted)?;
        let management = gateway.management_entrance().map(|entrance| entrance.is_tls());
        let beside = beside::wanted(self, management, &callers)?;
        Ok((callers, beside))
    }

    /// The authorities that are trusted beside those of the system.
    fn trusted(&self) -> Result<Option<String>, Failure> {
        let path = self.file.trusted_certificates.as_ref();
        path.map(|path| Text::read(&self.beside().join(path.get_ref())).map(|text| text.content)).transpose()
    }

    fn told(&self, error: &SettingsError) -> Failure {
        self.text.fault(&error.at, &error.problem, &error.hint)
    }

    /// Issuers and authorities may be inside: in a cluster, on a company's network, on this machine for development.
    fn ports(&self, access_log: AccessLog, push: Option<&Push>) -> Result<Ports, Failure> {
        let allow = Allow { plain_loopback: true, ..Allow::INSIDE };
        let mut builder = Fetch::builder().allow(allow).max_bytes(LONGEST_ANSWER);
        if let Some(text) = self.trusted()? {
            builder = builder.ca_pem(text.as_bytes()).map_err(Failure::told)?;
        }
        let fetch = Arc::new(builder.build().map_err(Failure::told)?);
        let random: Arc<dyn client::Random> = Arc::new(system::random);
        let mut seed = [0; 8];
        random.fill(&mut seed);
        let resource = telemetry::resource(&system::variable);
        let traces = push.and_then(|push| push.traces);
        let lifetimes = Lifetimes { after_change: 5, ..Lifetimes::default() };
        Ok(Ports {
            key_sets: Arc::new(KeySets::with_lifetimes(Arc::clone(&fetch) as Arc<dyn fetch::Transport>, lifetimes)),
            streams: Fetch::clone(&fetch),
            tokens: fetch,
            token_cache: TokenCache::new(TOKEN_BYTES),
            host: ManagedIdentity::of_this_host(system::variable, host()?, Arc::new(SystemClock)),
            clock: Arc::new(SystemClock),
            ids: Arc::new(Ids::new(random.as_ref())),
            random,
            access_log: Arc::new(access_log),
            telemetry: Arc::new(Telemetry::new(traces, &resource, u64::from_le_bytes(seed))),
            store: None,
        })
    }
}

/// The network on which the host's managed identities are: this machine, and Azure's own address.
fn host() -> Result<Arc<Fetch>, Failure> {
    let allow = Allow { loopback: true, plain_loopback: true, ..Allow::INSTANCE_METADATA };
    Fetch::builder().allow(allow).build().map(Arc::new).map_err(Failure::told)
}

fn effective(read: &Read, request: &[String]) -> Result<ExitCode, Failure> {
    let gateway = read.gateway(AccessLog::off(), None, None)?;
    let found = match request {
        [] => gateway.effective(),
        [method, url] => {
            let wrong =
                || Failure::new("this is no request", "write `GET /orders/7` or `GET https://api.example/orders/7`");
            let method = method.parse().map_err(|_| wrong())?;
            let uri: http::Uri = url.parse().map_err(|_| wrong())?;
            if let Some(refusal) = gateway::refusal(&method, uri.path()) {
                let error = format!("the gateway refuses this request before it asks any policy: {refusal}");
                return Err(Failure::new(error, "write the method in capitals, and the path in its one spelling"));
            }
            let host = uri.host().unwrap_or_default().to_ascii_lowercase();
            gateway.effective_for(&host, &method, uri.path()).into_iter().collect()
        }
        _ => return Err(Failure::new("the request has no path", "write `GET /orders/7`")),
    };
    if found.is_empty() {
        let error = "no operation is meant by this request; it is answered with 404 OperationNotFound";
        return Err(Failure::new(error, "check the host, the path and the method, or add the operation"));
    }
    for operation in found {
        show(&operation);
    }
    Ok(ExitCode::SUCCESS)
}

fn show(Effective { operation, policies, by_product, onward, upstream }: &Effective) {
    say(printable(operation));
    say_policies("", policies);
    for (product, policies) in by_product {
        say(format_args!("  in the product {}", printable(product)));
        say_policies("  ", policies);
    }
    say(format_args!("  onward to {}: {}", printable(upstream), printable(onward)));
}

fn say_policies(indent: &str, policies: &[Told]) {
    if policies.is_empty() {
        say(format_args!("{indent}  no policy: anybody may call"));
    }
    for Told { scope, policy, text } in policies {
        say(format_args!("{indent}  {policy} ({}): {}", printable(scope), printable(text)));
    }
}

async fn serve(read: Read) -> Result<ExitCode, Failure> {
    let mut ending = Ending::heard()?;
    let mut asked_to_read = signal(SignalKind::hangup())
        .map_err(|error| Failure::plain(format!("signals cannot be heard: {}", error.kind())))?;
    let logs = read.file.access_log.unwrap_or(true);
    let push = beside::collector()?;
    let access_log = if logs { AccessLog::kept() } else { AccessLog::off() };
    let store = read.store()?;
    let gateway = Arc::new(read.gateway(access_log, push.as_ref(), store.clone())?);
    let started = Arc::new(Started::by(&read)?);
    let (wanted, wanted_beside) = read.wanted(&gateway)?;
    let shown: Vec<_> = wanted.iter().filter_map(|all| all.first().map(ToString::to_string)).collect();
    let handover = read.file.handover.as_ref().map(|path| read.beside().join(path.get_ref()));
    let unable = |path: &Path, error: &std::io::Error| {
        let problem = format!("sockets cannot be handed over at `{}`: {}", path.display(), why(error));
        let at = read.file.handover.as_ref().map(gateway::Spanned::span).unwrap_or_default();
        read.text.fault(&at, &problem, listen::way_out(error))
    };
    let mut sockets = match &handover {
        Some(path) => Sockets::after(path).await.map_err(|error| unable(path, &error))?,
        None => Sockets::default(),
    };
    let bound = doors::bind(&gateway, &wanted, &mut sockets).await?;
    let mut listening = Listening::new(share(&read)?, &gateway);
    let drained = Arc::new(Notify::new());
    beside::listen(&read, &wanted_beside, &gateway, &mut sockets, &mut listening).await?;
    beside::manage(&wanted_beside, &gateway, &started, &drained, &mut sockets, &mut listening).await?;
    for doors::Bound { entrance, sockets } in bound {
        let front = Service::from(entrance.front());
        for socket in sockets {
            listening.callers.add_behind(socket, Arc::clone(&entrance) as _, front.clone());
        }
    }
    let pushing = push.map(|push| beside::push(push, &gateway)).transpose()?;
    let access_log = Arc::clone(gateway.access_log());
    let writing = Arc::clone(&access_log);
    tokio::spawn(async move { writing.run(ending::write).await });
    tokio::spawn(warm(Arc::clone(&gateway)));
    tokio::spawn(look(Arc::clone(&gateway)));
    tokio::spawn(fetch(Arc::clone(&gateway)));
    if let Some(store) = &store {
        tokio::spawn(store.watch());
    }
    tracing::info!(listener.address = shown.join(", "), operations = gateway.effective().len(), "{SERVES}");
    let offer = if let Some(path) = &handover {
        // Requests that come here first need not wait for keys, if these can be had.
        let _ = tokio::time::timeout(READY, gateway.warm()).await;
        let (offer, replaced) = sockets.served(path).await.map_err(|error| unable(path, &error))?;
        if replaced {
            tracing::info!("the gateway before has been replaced");
        }
        Some(offer)
    } else {
        // Whoever connects once the listeners have ended is to be refused, and not kept waiting.
        drop(sockets);
        None
    };
    let taken = async {
        match offer {
            Some(offer) => offer.taken().await,
            None => std::future::pending().await,
        }
    };
    let mut taken = Box::pin(taken);
    loop {
        tokio::select! {
            () = ending.asked() => break,
            () = drained.notified() => break,
            () = taken.as_mut() => {
                tracing::info!("another process serves; connections that are open have time to go there");
                gateway.leave();
                tokio::select! {
                    () = listening.leave(LINGER) => {}
                    () = ending.asked() => {}
                }
                break;
            }
            _ = asked_to_read.recv() => drop(started.read_again(&gateway)),
        }
    }
    tracing::info!("the gateway ends");
    gateway.leave();
    // The same of what was offered to another process.
    drop(taken);
    let left = Left { listening, access_log, store, pushing };
    Ok(Box::pin(left.end(&mut ending)).await)
}

/// How many connections one address may have.
fn share(read: &Read) -> Result<usize, Failure> {
    let Some(share) = &read.file.connections_per_address else { return Ok(SHARE) };
    if (1..=4_096).contains(share.get_ref()) {
        return Ok(*share.get_ref());
    }
    Err(read.text.fault(&share.span(), "`connections_per_address` is out of range", "write 1 to 4096"))
}

/// Fetches issuers' keys before they are needed. One that is down keeps nobody waiting, and is asked again.
async fn warm(gateway: Arc<Gateway>) {
    let mut pause = Duration::from_secs(1);
    while !gateway.warm().await {
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_mins(1));
    }
}

/// Has files looked at, in a thread that may wait for the disk.
async fn look(gateway: Arc<Gateway>) {
    loop {
        tokio::time::sleep(LOOK).await;
        let gateway = Arc::clone(&gateway);
        // A defect in one round ends that round.
        let _ = tokio::task::spawn_blocking(move || gateway.look()).await;
    }
}

/// Has vaults and commands asked for what is due. One that is slow keeps nobody else's waiting.
async fn fetch(gateway: Arc<Gateway>) {
    loop {
        let asking = Arc::clone(&gateway);
        tokio::spawn(async move { asking.fetch().await });
        tokio::time::sleep(LOOK).await;
    }
}
