//! One journey for all who wait: whoever comes while it is under way waits for its end.
use std::future::Future;
use tokio::sync::watch;

/// What the end of a flight will be told by.
pub(crate) struct Landed<T>(watch::Receiver<Option<T>>);

impl<T> Clone for Landed<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// Departs in a task of its own: who stops waiting takes nothing from the others.
pub(crate) fn depart<T: Clone + Send + Sync + 'static>(journey: impl Future<Output = T> + Send + 'static) -> Landed<T> {
    let (tell, landed) = watch::channel(None);
    tokio::spawn(async move {
        let outcome = journey.await;
        tell.send_replace(Some(outcome));
    });
    Landed(landed)
}

impl<T: Clone> Landed<T> {
    /// The outcome; `None` if the task panicked or its runtime ended. The next caller starts afresh.
    pub(crate) async fn wait(mut self) -> Option<T> {
        self.0.wait_for(Option::is_some).await.ok()?.clone()
    }

    /// Whether it is still under way.
    pub(crate) fn is_under_way(&self) -> bool {
        self.0.borrow().is_none() && self.0.has_changed().is_ok()
    }
}
