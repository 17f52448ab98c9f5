//! A running sidecar: what all its APIs share.
use crate::acquire;
use crate::agents::{self, Agents};
use crate::cut_offs::CutOffs;
use crate::introspect::SeenTokens;
use crate::onward::Demands;
use crate::outbound::Outbound;
use crate::provider::Providers;
use crate::settings::{ProviderSettings, Settings};
use crate::telemetry::Telemetry;
use crate::telemetry::family;
use crate::telemetry::trace::Tracer;
use client::{Random, Sessions, TokenCache};
use decision::Clock;
use fetch::{Fetch, KeySets, Transport};
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use telemetry::Constant;
use tokio::task::JoinSet;

/// Introspected tokens take at most so many bytes.
const SEEN_BYTES: u64 = 8 << 20;
/// What APIs demanded of users' tokens takes at most so many.
const DEMAND_BYTES: u64 = 1 << 20;
/// Before a provider that could not be loaded is tried again; twice as long each time.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Between two looks at how old keys are.
const LOOK: Duration = Duration::from_secs(5);

/// What all APIs of a sidecar share, by reference: providers, caches, policy and what is counted. Each API is a
/// [`Serve`](crate::Serve) of its own, on a listener of its own.
pub struct Sidecar {
    providers: Providers,
    telemetry: Arc<Telemetry>,
    tracer: Tracer,
    labels: Constant,
    outbound: Outbound,
    tokens: Arc<TokenCache>,
    seen: SeenTokens,
    demands: Demands,
    agents: Agents,
    sessions: Sessions,
    /// What it was told, for the one that comes after it.
    settings: Settings,
    host: client::managed_identity::ManagedIdentity,
    random: Arc<dyn Random>,
    user_tokens_checked: bool,
    explanations: bool,
    clock: Arc<dyn Clock>,
    key_sets: Arc<KeySets>,
    streams: Fetch,
    /// What ends with it.
    tasks: Mutex<JoinSet<()>>,
}

/// What a sidecar needs from outside.
pub struct Ports {
    /// How key sets and metadata are fetched.
    pub metadata: Arc<dyn Transport>,
    /// How providers are asked for tokens.
    pub tokens: Arc<dyn client::Transport>,
    /// How the host is asked for its identities.
    pub host: Arc<dyn client::Transport>,
    /// How streams of cut-offs are listened to.
    pub streams: Fetch,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Unpredictable bytes.
    pub random: Arc<dyn Random>,
}

impl Sidecar {
    /// A sidecar over these ports. Nothing is fetched before it is needed, or [`warm`](Self::warm) is called.
    ///
    /// # Errors
    /// If a credential cannot be used, in words that say which.
    pub fn new(settings: &Settings, ports: Ports) -> Result<Arc<Self>, acquire::CredentialFault> {
        Self::made(settings, ports, None)
    }

    /// The one that comes after this, when the configuration was read again: what is held, counted and known stays, as far as
    /// it means the same there. Tokens do not stay where a provider tells of cut-offs: what it tells meanwhile, nobody hears.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn renewed(&self, settings: &Settings, ports: Ports) -> Result<Arc<Self>, acquire::CredentialFault> {
        Self::made(settings, ports, Some(self))
    }

    fn made(settings: &Settings, ports: Ports, before: Option<&Self>) -> Result<Arc<Self>, acquire::CredentialFault> {
        let names = || settings.providers.iter().map(|provider| provider.name.clone());
        let counts = before.filter(|before| before.providers.iter().map(|known| known.name().to_owned()).eq(names()));
        let telemetry =
            counts.map_or_else(|| Arc::new(Telemetry::new(names())), |before| Arc::clone(&before.telemetry));
        let tells = |providers: &[ProviderSettings]| providers.iter().any(|one| one.enabled && one.events.is_some());
        let holds = before.filter(|before| {
            let told = &before.settings;
            told.cache_bytes == settings.cache_bytes && !tells(&told.providers) && !tells(&settings.providers)
        });
        let tokens = holds.map_or_else(|| TokenCache::new(settings.cache_bytes), |before| Arc::clone(&before.tokens));
        let cut_offs = settings.providers.iter().map(|provider| {
            let at = provider.events.clone().filter(|_| provider.enabled)?;
            Some(CutOffs::new(at, settings.cut_offs))
        });
        let cut_offs: Vec<_> = cut_offs.collect();
        let host = settings.host.identity(&ports);
        let keeps = before.filter(|before| before.settings.sessions == settings.sessions);
        let open = || settings.sessions.opened(ports.random.as_ref());
        let sessions = keeps.map_or_else(open, |before| before.sessions.clone());
        let clients = acquire::clients(
            settings,
            &ports,
            acquire::Shared {
                tokens: &tokens,
                telemetry: &telemetry,
                cut_offs: &cut_offs,
                host: &host,
                sessions: &sessions,
            },
        )?;
        let providers =
            Providers::new(settings.providers.clone(), clients, cut_offs, &ports.metadata, settings.key_seconds);
        // Keys are fetched over another network where that was changed.
        let way = |told: &Settings| (told.upstream, told.key_seconds, told.proxy.is_some(), told.authorities.clone());
        let providers = match before.filter(|before| way(&before.settings) == way(settings)) {
            Some(before) => providers.with_keys_of(&before.providers),
            None => providers,
        };
        let mut seed = [0; 8];
        ports.random.fill(&mut seed);
        let agents = Agents::new(
            &settings.providers,
            agents::Ports {
                upstream: acquire::upstream(settings),
                network: ports.tokens,
                cache: Arc::clone(&tokens),
                clock: Arc::clone(&ports.clock),
                random: Arc::clone(&ports.random),
                sessions: sessions.clone(),
            },
        );
        let key_sets = Arc::new(KeySets::new(ports.metadata));
        Ok(Arc::new(Self {
            providers,
            telemetry,
            tracer: Tracer::new(settings.push.as_ref().and_then(|push| push.traces), u64::from_le_bytes(seed)),
            labels: family::constant(&settings.resource),
            outbound: settings.outbound.clone(),
            tokens,
            seen: SeenTokens::new(SEEN_BYTES),
            demands: Demands::new(DEMAND_BYTES),
            agents,
            sessions,
            settings: settings.clone(),
            host,
            random: ports.random,
            user_tokens_checked: settings.user_tokens_checked,
            explanations: settings.explanations,
            clock: ports.clock,
            key_sets,
            streams: ports.streams,
            tasks: Mutex::default(),
        }))
    }

    /// Loads every provider that is enabled, each on its own: one that is down holds up no other. From then on their keys are
    /// kept fresh, whether anybody asks or not: after a silence, too, a key that was withdrawn is not used once more.
    pub fn warm(self: &Arc<Self>, random: &Arc<dyn Random>) {
        for place in 0..self.providers.iter().count() {
            let (sidecar, random) = (Arc::downgrade(self), Arc::clone(random));
            tokio::spawn(async move {
                let mut pause = FIRST_PAUSE;
                loop {
                    let Some(sidecar) = sidecar.upgrade() else { return };
                    let provider = sidecar.providers.iter().nth(place).filter(|provider| provider.is_enabled());
                    let Some(provider) = provider else { return };
                    provider.load(sidecar.clock.now()).await;
                    let faulty = provider.fault(sidecar.clock.now()).is_some();
                    drop(sidecar);
                    if faulty {
                        tokio::time::sleep(jittered(pause, random.as_ref())).await;
                        pause = (pause * 2).min(Duration::from_mins(1));
                    } else {
                        tokio::time::sleep(LOOK).await;
                        pause = FIRST_PAUSE;
                    }
                }
            });
        }
    }

    /// Its providers.
    pub fn providers(&self) -> &Providers {
        &self.providers
    }

    /// What it counts.
    pub fn telemetry(&self) -> &Telemetry {
        &self.telemetry
    }

    /// For what tokens may be asked.
    pub fn outbound(&self) -> &Outbound {
        &self.outbound
    }

    /// The tokens that it holds, of all providers.
    pub fn tokens(&self) -> &Arc<TokenCache> {
        &self.tokens
    }

    /// Its clock.
    pub fn clock(&self) -> &dyn Clock {
        self.clock.as_ref()
    }

    /// Forgets every token that it holds or has introspected, and what APIs demanded of them.
    pub fn flush(&self) {
        self.tokens.flush();
        self.seen.flush();
        self.demands.flush();
    }

    pub(crate) fn tracer(&self) -> &Tracer {
        &self.tracer
    }

    /// What every metric is labelled with.
    pub(crate) fn constant(&self) -> &Constant {
        &self.labels
    }

    pub(crate) fn user_tokens_checked(&self) -> bool {
        self.user_tokens_checked
    }

    pub(crate) fn shared_clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.clock)
    }

    /// The keys of issuers that are no providers.
    pub(crate) fn key_sets(&self) -> Arc<KeySets> {
        Arc::clone(&self.key_sets)
    }

    pub(crate) fn streams(&self) -> &Fetch {
        &self.streams
    }

    /// Runs a task that ends with the sidecar.
    pub(crate) fn keep(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).spawn(task);
    }

    pub(crate) fn seen(&self) -> &SeenTokens {
        &self.seen
    }

    pub(crate) fn agents(&self) -> &Agents {
        &self.agents
    }

    /// The host that this runs on, if it is asked for its identities.
    pub(crate) fn host(&self) -> &client::managed_identity::ManagedIdentity {
        &self.host
    }

    /// What ids of decisions are made of, where they are told.
    pub(crate) fn explaining(&self) -> Option<&dyn Random> {
        self.explanations.then_some(self.random.as_ref())
    }

    pub(crate) fn random(&self) -> &dyn Random {
        self.random.as_ref()
    }

    pub(crate) fn demands(&self) -> &Demands {
        &self.demands
    }
}

/// Between a half and the whole: many that failed together do not come back together.
fn jittered(pause: Duration, random: &dyn Random) -> Duration {
    let mut octet = [0];
    random.fill(&mut octet);
    pause / 2 + (pause / 2) * u32::from(octet[0]) / 255
}
