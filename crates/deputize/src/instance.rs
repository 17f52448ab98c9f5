//! An authority over its data directory.
use crate::data::Data;
use crate::failure::Failure;
use crate::keys::MasterKey;
use crate::system::{self, StoreClock, SystemClock};
use ::authority::{Authority, Federation, Settings, authority};
use decision::Clock;
use deputize_core::limits::Limits;
use jose::SigningKey;
use std::sync::Arc;
use store::{OpenError, Store, StoreKeys};

/// Clocks of two machines may differ by so many seconds without a word.
const TOLERATED: i64 = 60;

/// An authority, and what it stands on.
pub(crate) struct Instance {
    pub(crate) store: Arc<Store>,
    pub(crate) authority: Authority,
    pub(crate) clock: Arc<dyn Clock>,
}

/// Opens the store of a data directory.
pub(crate) fn open_store(data: &Data, master: &MasterKey) -> Result<Arc<Store>, Failure> {
    let keys = StoreKeys::new(master.derive("audit"));
    let store = Store::open(&data.store(), keys, Arc::new(SystemClock));
    store.map(Arc::new).map_err(|error| match error {
        OpenError::File(sql::OpenError::Engine { path, problem }) => {
            let error = format!("the store `{}` cannot be opened ({problem})", path.display());
            Failure::new(error, "check the folder and its disk, or choose another folder")
        }
        OpenError::Audit => Failure::new(
            "the audit trail of this store does not verify with this audit key",
            "give the master key that the store was made with; if this is it, somebody changed the file: keep a copy for \
             inquiry, see what `deputize audit verify` finds, and restore a backup",
        ),
        error @ OpenError::File(_) => Failure::told(error),
    })
}

impl Instance {
    /// An authority over a store; its signing keys are made where there are none.
    pub(crate) async fn open(
        store: Arc<Store>,
        master: &MasterKey,
        host: &str,
        federation: Federation,
    ) -> Result<Self, Failure> {
        let now = StoreClock(Arc::clone(&store)).now();
        let behind = now.since(SystemClock.now());
        if behind > TOLERATED {
            let text =
                "the system's clock is behind what the store has seen: set it right; until then time stands still";
            tracing::warn!(clock.behind_seconds = behind, "{text}");
        }
        let keys = master.signing_keys(&store, now).await?;
        let instance = Self::with(store, keys, master, host, federation);
        tokio::spawn(instance.authority.watch());
        Ok(instance)
    }

    /// The same, where a client may make so many requests a second on average; 0 is as many as come.
    pub(crate) fn limited(self, requests_per_second: u32) -> Self {
        Self { authority: self.authority.limited(Limits::requests_per_second(requests_per_second)), ..self }
    }

    /// An authority that signs with these keys.
    pub(crate) fn with(
        store: Arc<Store>,
        signing_keys: Vec<SigningKey>,
        master: &MasterKey,
        host: &str,
        federation: Federation,
    ) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(StoreClock(Arc::clone(&store)));
        let settings = Settings {
            host: host.to_owned(),
            signing_keys,
            pepper: master.pepper(),
            seal_key: master.derive("seal"),
            random: Arc::new(system::random),
            federation,
        };
        let (directory, ledger) = (Arc::clone(&store), Arc::clone(&store));
        let authority = authority(settings, directory, ledger, Arc::clone(&clock));
        Self { store, authority, clock }
    }
}
