//! Joins what was told over all runs with what the authority says and what its audit trail holds.
use super::traffic::{Token, Told};
use super::wire::{Credential, Kind, STRICT, WEB, Wire};
use deputize_core::audit::AuditRecord;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::task::JoinSet;

/// Of what earlier runs told, so much is looked at again after each restart; at the end, all of it.
const SAMPLE: usize = 50;
const AT_ONCE: usize = 16;

/// All runs so far.
#[derive(Default)]
pub(crate) struct Proof {
    told: Told,
    received: HashSet<String>,
    audited: HashSet<String>,
    redeemed_in_audit: usize,
    rotated_in_audit: usize,
    unanswered: u64,
}

/// What a run gave, in numbers.
pub(crate) struct Figures {
    pub(crate) redemptions: usize,
    pub(crate) rotations: usize,
    /// Committed, but the kill came before the answer.
    pub(crate) untold: usize,
    pub(crate) tokens: usize,
    pub(crate) unanswered: u64,
}

impl Proof {
    /// Takes in what was received over connections that are no more, and what the audit trail has had since.
    pub(crate) fn join(&mut self, wire: &Wire, records: Vec<AuditRecord>) {
        for uti in wire.received.lock().unwrap().drain(..) {
            assert!(self.received.insert(uti), "one token was received twice");
        }
        self.unanswered += wire.unanswered.load(Ordering::SeqCst);
        for record in records {
            let Some(uti) = record.token else { continue };
            assert!(self.audited.insert(uti), "one token was audited twice");
            let is_strict = record.client.is_some_and(|client| client.to_string() == STRICT.id);
            self.redeemed_in_audit += usize::from(record.action == "authorization_code");
            self.rotated_in_audit += usize::from(record.action == "refresh_token" && is_strict);
        }
        // R16, and R3: whoever holds a token is in the trail, however the authority died.
        assert!(self.received.is_subset(&self.audited), "a token was received that has no audit record");
        let untold = u64::try_from(self.audited.len() - self.received.len()).unwrap();
        assert!(untold <= self.unanswered, "{untold} tokens nobody got, {} answers missing", self.unanswered);
    }

    /// After a restart: what was told before it holds. `told` is the last run's.
    pub(crate) async fn check(&mut self, wire: &Arc<Wire>, told: Told) {
        let mut now = told;
        let old = &mut self.told;
        now.living.extend(sample(&mut old.living));
        now.revoked.extend(sample(&mut old.revoked));
        now.reusable.extend(sample(&mut old.reusable));
        let mut again = old.credentials.extract_if(.., |credential| !credential.is_of_living_family).collect();
        now.credentials.extend(sample(&mut again));
        old.credentials.append(&mut again);
        self.told.join(holds(wire, now).await);
    }

    /// At the end: everything, and then every replay that was put off because it revokes what has to live until here.
    pub(crate) async fn check_all(&mut self, wire: &Arc<Wire>) {
        let mut told = holds(wire, std::mem::take(&mut self.told)).await;
        for credential in &mut told.credentials {
            credential.is_of_living_family = false;
        }
        told.revoked.append(&mut told.living);
        self.told = holds(wire, told).await;
    }

    /// What was presented was committed once each, whether the answer came or not; nothing else was.
    pub(crate) fn figures(&self) -> Figures {
        let count = |kind| self.told.credentials.iter().filter(|credential| credential.kind == kind).count();
        let (redemptions, rotations) = (count(Kind::Code), count(Kind::Refresh));
        assert_eq!(self.redeemed_in_audit, redemptions, "codes redeemed, and codes there were");
        assert_eq!(self.rotated_in_audit, rotations, "tokens rotated, and tokens there were");
        let untold = self.told.credentials.iter().filter(|credential| credential.successes == 0).count();
        Figures { redemptions, rotations, untold, tokens: self.received.len(), unanswered: self.unanswered }
    }
}

/// The last of a list, and some from all over it.
fn sample<T>(from: &mut Vec<T>) -> Vec<T> {
    let step = (from.len() / SAMPLE).max(1);
    let mut at = 0;
    from.extract_if(.., |_| {
        at += 1;
        at % step == 0
    })
    .collect()
}

/// Asks about each thing that was told. Tokens go before codes, since a code that is presented again revokes what stems
/// from it.
async fn holds(wire: &Arc<Wire>, told: Told) -> Told {
    let (kept, spent): (Vec<_>, Vec<_>) = told.credentials.into_iter().partition(|one| one.is_of_living_family);
    // The oldest stay first: of a family that is replayed at the end, those rotated before a kill are tried while it lives.
    let mut now = Told { credentials: kept, ..Told::default() };
    let living = each(told.living, |token: Token| {
        let wire = Arc::clone(wire);
        async move {
            let mut told = Told::default();
            let heir = told.rotated(token, &wire).await;
            told.living.push(heir.expect("the authority lives"));
            told
        }
    });
    living.await.into_iter().for_each(|told| now.join(told));
    now.reusable = each(told.reusable, |token: String| {
        let wire = Arc::clone(wire);
        async move {
            let again = wire.redeem(&WEB, Kind::Refresh, &token).await;
            assert!(matches!(again, Some(Ok(_))), "a reusable token was lost");
            token
        }
    })
    .await;
    let fresh = each(told.fresh, |(client, code)| {
        let wire = Arc::clone(wire);
        async move {
            let mut code = Credential::new(client, Kind::Code, code);
            assert!(code.present(&wire, 1).await.is_some(), "a code that was issued was lost");
            code
        }
    });
    now.credentials.extend(fresh.await);
    let (tokens, codes): (Vec<_>, Vec<_>) = spent.into_iter().partition(|one| one.kind == Kind::Refresh);
    for some in [tokens, codes] {
        // Twice at once: what died without an answer works once more or not at all, and what worked does not.
        now.credentials.extend(
            each(some, |mut one: Credential| {
                let wire = Arc::clone(wire);
                async move {
                    one.present(&wire, 2).await;
                    one
                }
            })
            .await,
        );
    }
    now.revoked = each(told.revoked, |(client, token): Token| {
        let wire = Arc::clone(wire);
        async move {
            let again = wire.redeem(client, Kind::Refresh, &token).await;
            assert!(matches!(again, Some(Err(()))), "a token of a revoked family works");
            (client, token)
        }
    })
    .await;
    now
}

async fn each<T, R, F>(items: Vec<T>, ask: impl Fn(T) -> F) -> Vec<R>
where
    R: Send + 'static,
    F: Future<Output = R> + Send + 'static,
{
    let mut items = items.into_iter();
    let (mut tasks, mut done) = (JoinSet::new(), Vec::new());
    loop {
        while tasks.len() < AT_ONCE
            && let Some(item) = items.next()
        {
            tasks.spawn(ask(item));
        }
        match tasks.join_next().await {
            Some(ended) => done.push(ended.unwrap()),
            None => return done,
        }
    }
}
