//! The APIs of a sidecar, each on its listener, and replaced there when the configuration was read again.
use crate::beside::{IDENTITY_BIND, NATIVE_BIND, SERVES_TOO};
use crate::failure::{Failure, why};
use fetch::Fetch;
use sidecar::{
    Admin, Bind, Bound, Current, Entra, Listeners, ManagedIdentity, Metrics, Native, Probe, Serve, Settings,
    SetupError, Sidecar, Texas,
};
use std::net::SocketAddr;
use std::sync::Arc;

/// Where each is. Those without an address are served nowhere.
pub(super) struct Places {
    pub(super) api: Bind,
    admin: Option<Bind>,
    entra: Option<Bind>,
    native: Option<Bind>,
    identity: Option<Bind>,
}

/// What is bound, and not served yet.
pub(super) struct Sockets {
    pub(super) places: Places,
    api: Bound,
    probe: Option<Bound>,
    metrics: Option<Bound>,
    admin: Option<Bound>,
    entra: Option<Bound>,
    native: Option<Bound>,
    identity: Option<Bound>,
}

impl Sockets {
    pub(super) async fn bind(settings: &Settings) -> Result<Self, Failure> {
        let api = listening(&settings.bind, "BIND_ADDRESS").await?;
        let probe = optional(settings.probe, "PROBE_BIND_ADDRESS").await?;
        let metrics = optional(settings.metrics, "METRICS_BIND_ADDRESS").await?;
        let admin = match &settings.admin {
            Some(bind) => Some(listening(bind, "ADMIN_BIND_ADDRESS").await?),
            None => None,
        };
        let entra = placed(settings.entra.as_ref().map(|entra| &entra.bind), "ENTRA_BIND_ADDRESS").await?;
        let native = placed(settings.native.as_ref().map(|native| &native.bind), NATIVE_BIND).await?;
        let identity = placed(settings.identity.as_ref().map(|identity| &identity.bind), IDENTITY_BIND).await?;
        let place = |bound: &Option<Bound>| bound.as_ref().and_then(Bound::address);
        let places = Places {
            api: api.address().unwrap_or_else(|| settings.bind.clone()),
            admin: place(&admin),
            entra: place(&entra),
            native: place(&native),
            identity: place(&identity),
        };
        Ok(Self { places, api, probe, metrics, admin, entra, native, identity })
    }

    /// Serves on them.
    pub(super) fn serve(
        self,
        listeners: &mut Listeners,
        settings: &Settings,
        sidecar: &Arc<Sidecar>,
        network: &Fetch,
    ) -> Result<Apis, Failure> {
        let made = Made::of(&self.places, settings, sidecar, network)?;
        let mutual = |place: Option<&Bind>| place.and_then(|place| settings.callers.mutual(place));
        let texas = Current::new(made.texas);
        listeners.add(self.api, mutual(Some(&self.places.api)), Arc::clone(&texas));
        let native = mutual(self.places.native.as_ref());
        Ok(Apis {
            texas,
            probe: on(listeners, self.probe, None, Some(made.probe)),
            metrics: on(listeners, self.metrics, None, Some(made.metrics)),
            admin: on(listeners, self.admin, None, made.admin),
            // Without TLS everywhere: whoever is not on this machine gets nothing but its health.
            entra: on(listeners, self.entra, None, made.entra),
            native: on(listeners, self.native, native, made.native),
            identity: on(listeners, self.identity, None, made.identity),
            places: self.places,
        })
    }
}

fn on<S: Serve>(
    listeners: &mut Listeners,
    bound: Option<Bound>,
    tls: Option<sidecar::Tls>,
    service: Option<S>,
) -> Option<Arc<Current<S>>> {
    let (bound, service) = (bound?, Current::new(service?));
    listeners.add(bound, tls, Arc::clone(&service));
    Some(service)
}

/// Each API, as these settings have it.
struct Made {
    texas: Texas,
    probe: Probe,
    metrics: Metrics,
    admin: Option<Admin>,
    entra: Option<Entra>,
    native: Option<Native>,
    identity: Option<ManagedIdentity>,
}

impl Made {
    fn of(places: &Places, settings: &Settings, sidecar: &Arc<Sidecar>, network: &Fetch) -> Result<Self, Failure> {
        let unusable = |error: SetupError| Failure::plain(error.to_string());
        let entra = settings.entra.as_ref().zip(places.entra.as_ref());
        let entra = entra.map(|(own, place)| Entra::new(sidecar, settings, own, place, network.clone()));
        let native = places.native.as_ref().map(|place| Native::new(sidecar, settings, place, network.clone()));
        let identity = settings.identity.as_ref().zip(places.identity.as_ref());
        Ok(Self {
            texas: Texas::new(Arc::clone(sidecar), &settings.callers, &places.api),
            probe: Probe::new(Arc::clone(sidecar)),
            metrics: Metrics::new(Arc::clone(sidecar)),
            admin: places.admin.as_ref().map(|place| Admin::new(Arc::clone(sidecar), &settings.callers, place)),
            entra: entra.transpose().map_err(unusable)?,
            native: native.transpose().map_err(unusable)?,
            identity: identity.and_then(|(own, place)| ManagedIdentity::new(sidecar, own, place)),
        })
    }
}

/// The APIs that are served.
pub(super) struct Apis {
    places: Places,
    texas: Arc<Current<Texas>>,
    probe: Option<Arc<Current<Probe>>>,
    metrics: Option<Arc<Current<Metrics>>>,
    admin: Option<Arc<Current<Admin>>>,
    entra: Option<Arc<Current<Entra>>>,
    native: Option<Arc<Current<Native>>>,
    identity: Option<Arc<Current<ManagedIdentity>>>,
}

impl Apis {
    /// From the next request on, those of this sidecar: all of them, or none.
    pub(super) fn replace(&self, settings: &Settings, sidecar: &Arc<Sidecar>, network: &Fetch) -> Result<(), Failure> {
        let made = Made::of(&self.places, settings, sidecar, network)?;
        self.texas.replace(made.texas);
        put(self.probe.as_ref(), Some(made.probe));
        put(self.metrics.as_ref(), Some(made.metrics));
        put(self.admin.as_ref(), made.admin);
        put(self.entra.as_ref(), made.entra);
        put(self.native.as_ref(), made.native);
        put(self.identity.as_ref(), made.identity);
        Ok(())
    }
}

fn put<S>(served: Option<&Arc<Current<S>>>, service: Option<S>) {
    if let Some((served, service)) = served.zip(service) {
        served.replace(service);
    }
}

/// A listener that somebody gave an address.
async fn placed(bind: Option<&Bind>, name: &str) -> Result<Option<Bound>, Failure> {
    let Some(bind) = bind else { return Ok(None) };
    let bound = listening(bind, name).await?;
    let place = bound.address().unwrap_or_else(|| bind.clone());
    tracing::info!(listener.address = %place, listener.setting = name, "{SERVES_TOO}");
    Ok(Some(bound))
}

async fn optional(address: Option<SocketAddr>, name: &str) -> Result<Option<Bound>, Failure> {
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
