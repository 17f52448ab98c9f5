//! How many requests a service is trusted with at once. Once half of that is taken, no caller gets more than a quarter: who leaves
//! answers unread keeps nobody else out.
use serve::{Share, Shares};
use std::net::IpAddr;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The room that a service has.
pub(crate) struct Slots {
    all: Arc<Semaphore>,
    most: usize,
    shares: Shares,
}

/// One request's, as long as this is there.
pub(crate) struct Slot {
    _permit: OwnedSemaphorePermit,
    _share: Option<Share>,
}

/// Why there is none.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NoSlot {
    /// The service has as many requests as it is trusted with.
    Taken,
    /// The caller has its share of them.
    OverShare,
}

impl Slots {
    pub(crate) fn new(most: usize) -> Arc<Self> {
        let shares = Shares::new((most / 4).max(1), |_| false);
        Arc::new(Self { all: Arc::new(Semaphore::new(most)), most, shares })
    }

    /// One for this caller.
    pub(crate) fn take(&self, caller: Option<IpAddr>) -> Result<Slot, NoSlot> {
        let permit = Arc::clone(&self.all).try_acquire_owned().map_err(|_| NoSlot::Taken)?;
        let crowded = self.all.available_permits() < self.most / 2;
        let share = caller.filter(|_| crowded).map(|caller| self.shares.take(caller));
        let share = share.transpose().map_err(|_| NoSlot::OverShare)?.flatten();
        Ok(Slot { _permit: permit, _share: share })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn g_14_a_caller_has_its_share_of_a_crowded_service_and_others_have_room() {
        let (mallory, ada) = ("192.0.2.1".parse().ok(), "192.0.2.2".parse().ok());
        let slots = Slots::new(100);
        let mut held: Vec<Slot> = (0..75).map(|_| slots.take(mallory).unwrap()).collect();
        assert_eq!(slots.take(mallory).err(), Some(NoSlot::OverShare));
        held.extend((0..25).map(|_| slots.take(ada).unwrap()));
        assert_eq!(slots.take(ada).err(), Some(NoSlot::Taken));
        held.clear();
        assert!(
            (0..50).map(|_| slots.take(mallory)).all(|slot| slot.is_ok()),
            "while there is room, nobody is counted"
        );
    }
}
