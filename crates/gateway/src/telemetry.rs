//! What the gateway tells of itself: what it counts, by API and decision; traces; and decisions as they are made.
mod counted;
mod families;
mod live;
mod spans;

pub(crate) use counted::{CALLER_GONE, Counted, Outcome};
pub(crate) use live::{Live, Step};
pub(crate) use spans::Traced;

pub(crate) use live::Watched;

use ::telemetry::{Constant, Sampling, Tracer};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The name of an API, and of its operation.
type Named = (Arc<str>, Arc<str>);

/// Everything that a gateway tells, but its access log. It outlives configurations: counters never go back.
pub struct Telemetry {
    operations: Mutex<BTreeMap<Named, Arc<Counted>>>,
    /// Requests that no operation is for.
    elsewhere: Counted,
    tracer: Tracer<Traced>,
    live: Live,
    labels: Constant,
}

impl Telemetry {
    /// That records these traces, under ids from an unpredictable `seed`, and labels everything with the attributes of
    /// `resource`.
    pub fn new(traces: Option<Sampling>, resource: &[(String, String)], seed: u64) -> Self {
        Self {
            operations: Mutex::default(),
            elsewhere: Counted::default(),
            tracer: Tracer::new(traces, seed),
            live: Live::default(),
            labels: families::constant(resource),
        }
    }

    /// The counters of an operation, from now on.
    pub(crate) fn operation(&self, api: &str, operation: &Arc<str>) -> Arc<Counted> {
        let mut operations = self.operations.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(operations.entry((api.into(), Arc::clone(operation))).or_default())
    }

    pub(crate) fn elsewhere(&self) -> &Counted {
        &self.elsewhere
    }

    pub(crate) fn tracer(&self) -> &Tracer<Traced> {
        &self.tracer
    }

    pub(crate) fn live(&self) -> &Live {
        &self.live
    }

    pub(crate) fn labels(&self) -> &Constant {
        &self.labels
    }

    /// Those of operations that the configuration still has.
    fn operations(&self) -> Vec<(Named, Arc<Counted>)> {
        let mut operations = self.operations.lock().unwrap_or_else(PoisonError::into_inner);
        operations.retain(|_, counted| Arc::strong_count(counted) > 1);
        operations.iter().map(|(named, counted)| (named.clone(), Arc::clone(counted))).collect()
    }
}
