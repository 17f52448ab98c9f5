//! What the sidecar counts: fixed sets of labels, one atomic addition for each thing counted on the way of a request.
pub(crate) mod family;
mod spans;
pub(crate) mod trace;

pub(crate) use ::telemetry::Began;

use ::telemetry::Histogram;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// The paths of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Path {
    Token,
    Exchange,
    Introspect,
    /// Of Entra's sidecar.
    Validate,
    AuthorizationHeader,
    DownstreamApi,
    /// Our own.
    Call,
    Challenge,
    Explain,
    End,
    /// The application's own tokens, as on Azure.
    ManagedIdentity,
    /// Everything else.
    Other,
}

impl Path {
    pub(crate) const ALL: [Self; 12] = [
        Self::Token,
        Self::Exchange,
        Self::Introspect,
        Self::Validate,
        Self::AuthorizationHeader,
        Self::DownstreamApi,
        Self::Call,
        Self::Challenge,
        Self::Explain,
        Self::End,
        Self::ManagedIdentity,
        Self::Other,
    ];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Token => "/api/v1/token",
            Self::Exchange => "/api/v1/token/exchange",
            Self::Introspect => "/api/v1/introspect",
            Self::Validate => "/Validate",
            Self::AuthorizationHeader => "/AuthorizationHeader",
            Self::DownstreamApi => "/DownstreamApi",
            Self::Call => "/call",
            Self::Challenge => "/challenge",
            Self::Explain => "/explain",
            Self::End => "/end",
            Self::ManagedIdentity => "/msi/token",
            Self::Other => "other",
        }
    }

    const fn request_type(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Exchange => "token_exchange",
            Self::Introspect => "token_introspection",
            Self::Validate => "validation",
            Self::AuthorizationHeader => "authorization_header",
            Self::DownstreamApi | Self::Call => "call",
            Self::Challenge => "challenge",
            Self::Explain => "explanation",
            Self::End => "end",
            Self::ManagedIdentity => "managed_identity",
            Self::Other => "other",
        }
    }
}

/// The statuses that are told apart; all others are counted as the last.
const STATUSES: [u16; 12] = [200, 400, 401, 403, 404, 405, 408, 429, 500, 502, 503, 0];

/// Everything counted. Names and labels are those of Texas where it has them, so that dashboards stay.
pub struct Telemetry {
    providers: Vec<String>,
    /// By path and provider.
    requests: Vec<AtomicU64>,
    hits: Vec<AtomicU64>,
    /// Refusals are the cold path: a lock for moments, never across an await.
    errors: Mutex<BTreeMap<(Path, usize, &'static str), u64>>,
    /// By path and status.
    responses: Vec<Histogram>,
    /// By provider.
    latency: Vec<Histogram>,
}

impl Telemetry {
    /// Of providers of these names.
    pub(crate) fn new(providers: impl Iterator<Item = String>) -> Self {
        let providers: Vec<String> = providers.collect();
        let places = Path::ALL.len() * (providers.len() + 1);
        let counters = |count| std::iter::repeat_with(AtomicU64::default).take(count).collect();
        let histograms = |count| std::iter::repeat_with(Histogram::default).take(count).collect();
        Self {
            requests: counters(places),
            hits: counters(places),
            errors: Mutex::default(),
            responses: histograms(Path::ALL.len() * STATUSES.len()),
            latency: histograms(providers.len()),
            providers,
        }
    }

    /// A request for this provider was read.
    pub(crate) fn request(&self, path: Path, provider: usize) {
        add(self.requests.get(self.place(path, provider)));
    }

    /// A token came from the cache.
    pub(crate) fn hit(&self, path: Path, provider: usize) {
        add(self.hits.get(self.place(path, provider)));
    }

    /// A request was refused; `provider` is past the end where it named none.
    pub(crate) fn error(&self, path: Path, provider: usize, kind: &'static str) {
        let mut errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        *errors.entry((path, provider.min(self.providers.len()), kind)).or_default() += 1;
    }

    /// A request was answered.
    pub(crate) fn answered(&self, path: Path, status: u16, began: Began) {
        let slot = STATUSES.iter().position(|known| *known == status).unwrap_or(STATUSES.len() - 1);
        if let Some(histogram) = self.responses.get(path as usize * STATUSES.len() + slot) {
            histogram.observe(began.elapsed());
        }
    }

    /// A provider was asked for a token.
    pub(crate) fn asked(&self, provider: usize, began: Began) {
        if let Some(histogram) = self.latency.get(provider) {
            histogram.observe(began.elapsed());
        }
    }

    fn place(&self, path: Path, provider: usize) -> usize {
        path as usize * (self.providers.len() + 1) + provider.min(self.providers.len())
    }

    fn provider(&self, place: usize) -> &str {
        self.providers.get(place).map_or("", String::as_str)
    }
}

fn add(counter: Option<&AtomicU64>) {
    if let Some(counter) = counter {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}
