//! Cut-offs that authorities tell of: one subscription for each, which outlives configurations, so that a reload forgets none.
use client::{Ask, Client};
use decision::Clock;
use decision::contract::Profile;
use fetch::{Fetch, IssuerKeys};
use guard::{Events, EventsStatus, Subscription, TokenSource};
use oauth::Secret;
use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

/// What the stream's token is for: our authority, where it is an application like any other.
const TARGET: &str = "api://deputize/.default";
/// How long a token can live, in seconds, with what clocks may differ.
const LONGEST_LIFE: i64 = Profile::Entra.max_lifetime() + 60;

/// All that is listened to, by what the file says of it.
pub(crate) type AllHeard = HashMap<String, Arc<Heard>>;

/// A subscription that is listened to as long as this is there.
pub(crate) struct Heard {
    pub(crate) subscription: Arc<Subscription>,
    task: Option<JoinHandle<()>>,
}

/// Where an authority tells of cut-offs, and whose they are.
pub(crate) struct Source {
    /// `https://HOST/{tenant id}`.
    pub(crate) tenant: String,
    /// Where the stream is, if not below that.
    pub(crate) url: Option<String>,
    /// The application that its tokens are for.
    pub(crate) client: Client,
    pub(crate) keys: Arc<IssuerKeys>,
    pub(crate) fetch: Fetch,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Heard {
    /// Subscribes, and listens from now on where a runtime is there. Tokens that the client has got for users who are cut off are
    /// dropped too.
    pub(crate) fn begin(source: Source) -> Arc<Self> {
        let Source { tenant, url, client, keys, fetch, clock } = source;
        let audience = client.client_id().to_owned();
        let tokens = Tokens { client: client.clone(), renew: AtomicBool::new(false) };
        let mut events = Events::new(tenant, fetch, tokens);
        if let Some(url) = url {
            events = events.at(url);
        }
        let subscription = Subscription::new(events, keys, vec![audience], LONGEST_LIFE)
            .told(move |cut_offs| client.cut_off(cut_offs));
        let subscription = Arc::new(subscription);
        let task = Handle::try_current().ok().map(|runtime| {
            let subscription = Arc::clone(&subscription);
            runtime.spawn(async move { subscription.listen(&*clock).await })
        });
        Arc::new(Self { subscription, task })
    }

    pub(crate) fn status(&self) -> EventsStatus {
        self.subscription.status()
    }
}

impl Drop for Heard {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// The application's own token, from the client that gets all others.
struct Tokens {
    client: Client,
    /// The last one did not open the stream.
    renew: AtomicBool,
}

impl TokenSource for Tokens {
    fn token(&self) -> Pin<Box<dyn Future<Output = Result<Secret, String>> + Send + '_>> {
        Box::pin(async move {
            let ask = Ask::application(TARGET).fresh(self.renew.swap(false, Ordering::Relaxed));
            let answered = self.client.ask(&ask).await.map_err(|error| error.to_string())?;
            Ok(answered.token.access_token.clone())
        })
    }

    fn refused(&self) {
        self.renew.store(true, Ordering::Relaxed);
    }
}
