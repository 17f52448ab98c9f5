//! Limits that gateways share: Valkey counts, in one round trip for each decision and by its own clock, and each gateway goes on alone
//! while it does not answer.
//!
//! What a gateway lets by it also notes in its own counters, with what Valkey told of all. Where Valkey is not there, is slow, or
//! answers what it should not, these decide: then each gateway lets by what the limit says at most, less what it knows of others.
mod link;
mod resp;

use super::quotas::signed;
use super::{Charged, Counted, Key, Keys, Limits, Quota, Rate, Spent, held};
use crate::secrets::Material;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use client::Random;
use decision::Timestamp;
use link::{Sent, State};
use oauth::Secret;
use resp::Reply;
use rustls::ClientConfig;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Commands that may wait to be sent.
const QUEUE: usize = 1_024;
/// The greatest number that scripts count with.
const MOST: u64 = 1 << 53;

/// A script, which does what it does at once.
struct Script {
    text: &'static str,
}

impl Script {
    /// What Valkey knows it by.
    fn digest(&self) -> String {
        sha1_smol::Sha1::from(self.text).digest().to_string()
    }
}

const RATE: Script = Script { text: include_str!("shared/rate.lua") };
const RATE_BACK: Script = Script { text: include_str!("shared/rate_back.lua") };
const QUOTA: Script = Script { text: include_str!("shared/quota.lua") };
const QUOTA_ADD: Script = Script { text: include_str!("shared/quota_add.lua") };
const SCRIPTS: [Script; 4] = [RATE, RATE_BACK, QUOTA, QUOTA_ADD];

/// Where Valkey is, and how it is asked.
#[derive(Clone)]
pub(crate) struct Endpoint {
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Where TLS is spoken, and the text of the authorities that it trusts beside the system's.
    pub(crate) tls: Option<Arc<ClientConfig>>,
    pub(crate) roots: Arc<str>,
    pub(crate) username: String,
    pub(crate) password: Option<Material>,
    /// What keys begin with.
    pub(crate) prefix: String,
    /// How long a decision waits.
    pub(crate) deadline: Duration,
}

impl Endpoint {
    /// Whether it is another's too. What TLS is made of is compared, not what was made of it.
    fn is(&self, other: &Self) -> bool {
        let said = |of: &Self| {
            let (host, roots, name) = (of.host.clone(), Arc::clone(&of.roots), of.username.clone());
            (host, of.port, of.tls.is_some(), roots, name, of.password.clone(), of.prefix.clone(), of.deadline)
        };
        said(self) == said(other)
    }

    async fn password(&self) -> Result<Option<Secret>, String> {
        let Some(material) = self.password.clone() else { return Ok(None) };
        let read = tokio::task::spawn_blocking(move || match material.held()? {
            Some(held) => Material::text(&held),
            None => Err(format!("{material} is not at hand")),
        });
        read.await.map_err(|_| "its password cannot be read".to_owned())?.map(Some)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        write!(f, "{}://{host}:{}", if self.tls.is_some() { "rediss" } else { "redis" }, self.port)
    }
}

/// How often Valkey was asked, and what came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) answered: u64,
    /// It did not answer in time.
    pub(crate) late: u64,
    /// The connection was lost, or it answered what it should not.
    pub(crate) failed: u64,
    /// It was not asked, since it was known not to answer.
    pub(crate) skipped: u64,
}

/// The limits that gateways share. They are kept as long as this is there.
pub(crate) struct Shared {
    endpoint: Arc<Endpoint>,
    asks: mpsc::Sender<Sent>,
    state: Arc<State>,
    /// Seconds from this clock to Valkey's.
    ahead: AtomicI64,
    digests: [String; 4],
    answered: AtomicU64,
    late: AtomicU64,
    failed: AtomicU64,
    skipped: AtomicU64,
    task: Option<JoinHandle<()>>,
}

/// A counter that a call is to count under.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    pub(crate) key: Key,
    pub(crate) keys: Keys,
    pub(crate) rate: Rate,
    pub(crate) count: u64,
}

/// A quota that a call is to count for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spending {
    pub(crate) key: Key,
    pub(crate) keys: Keys,
    pub(crate) quota: Quota,
    pub(crate) count: u64,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unanswered {
    /// Valkey was not told.
    Unsent,
    /// It may have been.
    Unsure,
}

impl Shared {
    /// Connects, and keeps connected, where a runtime is there.
    pub(crate) fn begin(endpoint: Endpoint, random: Arc<dyn Random>) -> Arc<Self> {
        let (asks, asked) = mpsc::channel(QUEUE);
        let (endpoint, state) = (Arc::new(endpoint), Arc::new(State::default()));
        let task = Handle::try_current().ok().map(|runtime| {
            let (endpoint, state, asks) = (Arc::clone(&endpoint), Arc::clone(&state), asks.clone());
            runtime.spawn(link::keep(endpoint, state, asks, asked, random))
        });
        let digests = SCRIPTS.map(|script| script.digest());
        let [answered, late, failed, skipped] = [const { AtomicU64::new(0) }; 4];
        Arc::new(Self {
            endpoint,
            asks,
            state,
            ahead: AtomicI64::new(0),
            digests,
            answered,
            late,
            failed,
            skipped,
            task,
        })
    }

    /// Whether it is what this says.
    pub(crate) fn is_by(&self, endpoint: &Endpoint) -> bool {
        self.endpoint.is(endpoint)
    }

    /// Where Valkey is, and why it does not answer, if it does not.
    pub(crate) fn fares(&self) -> (String, Option<String>) {
        (self.endpoint.to_string(), self.state.down())
    }

    pub(crate) fn asked(&self) -> Asked {
        let [answered, late, failed, skipped] =
            [&self.answered, &self.late, &self.failed, &self.skipped].map(|count| count.load(Ordering::Relaxed));
        Asked { answered, late, failed, skipped }
    }

    /// Counts a call under all of these counters, or under none: which one has no room, and the seconds until it has.
    pub(crate) async fn take(
        &self,
        limits: &Limits,
        wanted: &[Wanted],
        now: Timestamp,
    ) -> Result<Vec<Counted>, (usize, u64)> {
        let there = self.there(now);
        if let Some(refused) = limits.refused_just_now(wanted, there) {
            return Err(refused);
        }
        let words = wanted.iter().flat_map(|it| {
            let period = u64::try_from(it.rate.period).unwrap_or_default();
            [it.rate.calls.min(MOST), period, it.count.min(MOST)].map(|number| number.to_string())
        });
        let is_sound = |numbers: &[i64]| match numbers {
            [_, 0, sums @ ..] => sums.len() == wanted.len(),
            [_, at, wait] => {
                let it = usize::try_from(at - 1).ok().and_then(|at| wanted.get(at));
                it.is_some_and(|it| (1..=it.rate.period).contains(wait))
            }
            _ => false,
        };
        let answer = self.ask(0, b"rate:", wanted.iter().map(|it| it.key), words, is_sound).await;
        match answer.as_deref() {
            Ok([second, 0, sums @ ..]) => {
                self.learn(*second, now);
                let counted = wanted.iter().zip(sums);
                Ok(counted.map(|(it, sum)| limits.note(it, Timestamp(*second), number(*sum))).collect())
            }
            Ok([second, refused, wait]) => {
                self.learn(*second, now);
                let (at, wait) = (usize::try_from(*refused - 1).unwrap_or_default(), number(*wait));
                if let Some(it) = wanted.get(at) {
                    limits.note_refused(it, Timestamp(*second), wait);
                }
                Err((at, wait))
            }
            Ok(_) | Err(_) => limits.take_all(wanted, self.there(now)),
        }
    }

    /// As if a call had not been made.
    pub(crate) fn give_back(&self, limits: &Limits, counted: &Counted) {
        limits.give_back(counted);
        if counted.shared {
            let words = [counted.second.to_string(), counted.count.min(MOST).to_string()];
            // Where that is lost, it counts until its period is over.
            self.tell(1, b"rate:", counted.key, words);
        }
    }

    /// Counts a call for all of these quotas, or for none: what is used up.
    pub(crate) async fn spend(
        &self,
        limits: &Limits,
        wanted: &[Spending],
        now: Timestamp,
    ) -> Result<Vec<Charged>, Spent> {
        let there = self.there(now);
        if let Some(spent) = limits.shared_quotas.refused_just_now(wanted, there) {
            return Err(spent);
        }
        let owed: Vec<(i64, i64, i64)> = wanted.iter().map(|it| limits.shared_quotas.owed_of(it.key)).collect();
        let words = wanted.iter().zip(&owed).flat_map(|(it, (window, calls, bytes))| {
            let most = |most: Option<u64>| most.map_or(-1, |most| signed(most.min(MOST)));
            let of = [most(it.quota.calls), most(it.quota.bytes), it.quota.period, it.quota.started.0];
            of.into_iter().chain([signed(it.count.min(MOST)), *window, *calls, *bytes]).map(|number| number.to_string())
        });
        let is_sound = |numbers: &[i64]| match numbers {
            [_, at, what, sums @ ..] => {
                let fits = sums.len() == wanted.len() * 2 && usize::try_from(*at).is_ok_and(|at| at <= wanted.len());
                fits && if *at == 0 { *what == 0 } else { matches!(what, 1 | 2) }
            }
            _ => false,
        };
        let answer = self.ask(2, b"quota:", wanted.iter().map(|it| it.key), words, is_sound).await;
        match answer.as_deref() {
            Ok([second, refused, what, sums @ ..]) => {
                self.learn(*second, now);
                let second = Timestamp(*second);
                let sums = sums.chunks_exact(2).map(|pair| match pair {
                    [calls, bytes] => (number(*calls), number(*bytes)),
                    _ => (0, 0),
                });
                let charged: Vec<_> = wanted
                    .iter()
                    .zip(sums)
                    .map(|(it, sums)| limits.shared_quotas.note(it, second, sums, *refused != 0))
                    .collect();
                let Some(it) = usize::try_from(*refused - 1).ok().and_then(|at| wanted.get(at)) else {
                    return Ok(charged);
                };
                let until = it.quota.until(second);
                Err(if *what == 2 { Spent::Bytes(until) } else { Spent::Calls(until) })
            }
            unanswered => {
                // What Valkey may have been told is not told again: then it is the caller's gain.
                if unanswered == Err(&Unanswered::Unsent) {
                    for (it, (window, calls, bytes)) in wanted.iter().zip(owed) {
                        limits.shared_quotas.owe(it.key, window, calls, bytes);
                    }
                }
                let spent = limits.shared_quotas.spend_all(wanted, self.there(now));
                // What it may have been told counts there already.
                if unanswered == Err(&Unanswered::Unsure) {
                    for charged in spent.iter().flatten() {
                        limits.shared_quotas.owe(charged.key, charged.window, -signed(charged.count.min(MOST)), 0);
                    }
                }
                spent
            }
        }
    }

    /// Adds the bytes of a call that was counted.
    pub(crate) fn spend_bytes(&self, limits: &Limits, charged: &Charged, bytes: u64) {
        limits.shared_quotas.spend_bytes(charged, bytes);
        self.change(limits, charged, 0, signed(bytes.min(MOST)));
    }

    /// As if a call had not been made.
    pub(crate) fn give_back_quota(&self, limits: &Limits, charged: &Charged) {
        limits.shared_quotas.give_back(charged);
        self.change(limits, charged, -signed(charged.count.min(MOST)), 0);
    }

    /// Tells of a change that was noted here. Where it cannot be told it is owed.
    fn change(&self, limits: &Limits, charged: &Charged, calls: i64, bytes: i64) {
        let words = [charged.window, calls, bytes].map(|number| number.to_string());
        if charged.shared && self.tell(3, b"quota:", charged.key, words) {
            limits.shared_quotas.owe(charged.key, charged.window, -calls, -bytes);
        }
    }

    /// The present moment by Valkey's clock, as far as it is known.
    fn there(&self, now: Timestamp) -> Timestamp {
        Timestamp(now.0.saturating_add(self.ahead.load(Ordering::Relaxed)))
    }

    fn learn(&self, second: i64, now: Timestamp) {
        self.ahead.store(second.saturating_sub(now.0), Ordering::Relaxed);
    }

    fn command(
        &self,
        script: usize,
        kind: &[u8],
        keys: impl ExactSizeIterator<Item = Key>,
        words: impl Iterator<Item = String>,
    ) -> Vec<u8> {
        let digest = self.digests.get(script).map_or("", String::as_str);
        let mut all: Vec<Vec<u8>> = vec![b"EVALSHA".to_vec(), digest.into(), keys.len().to_string().into_bytes()];
        all.extend(keys.map(|Key(key)| {
            let name = URL_SAFE_NO_PAD.encode(key);
            [self.endpoint.prefix.as_bytes(), b":", kind, name.as_bytes()].concat()
        }));
        all.extend(words.map(String::into_bytes));
        let words: Vec<&[u8]> = all.iter().map(Vec::as_slice).collect();
        let mut bytes = Vec::with_capacity(256);
        resp::command(&words, &mut bytes);
        bytes
    }

    /// The numbers that a script answers with, none of them negative.
    async fn ask(
        &self,
        script: usize,
        kind: &[u8],
        keys: impl ExactSizeIterator<Item = Key>,
        words: impl Iterator<Item = String>,
        is_sound: impl Fn(&[i64]) -> bool,
    ) -> Result<Vec<i64>, Unanswered> {
        if !self.state.is_up() {
            self.skipped.fetch_add(1, Ordering::Relaxed);
            return Err(Unanswered::Unsent);
        }
        let (answer, answered) = oneshot::channel();
        let sent = Sent { bytes: self.command(script, kind, keys, words), answer: Some(answer) };
        if self.asks.try_send(sent).is_err() {
            self.skipped.fetch_add(1, Ordering::Relaxed);
            return Err(Unanswered::Unsent);
        }
        let reply = timeout(self.endpoint.deadline, answered).await;
        match reply {
            Ok(Ok(Reply::Numbers(numbers))) if is_answer(&numbers) && is_sound(&numbers) => {
                self.state.good();
                self.answered.fetch_add(1, Ordering::Relaxed);
                return Ok(numbers);
            }
            Ok(Ok(Reply::Refused(why))) => {
                self.failed.fetch_add(1, Ordering::Relaxed);
                self.state.bad(&self.endpoint, &format!("it refuses: {why:?}"));
            }
            Ok(Ok(Reply::Numbers(_) | Reply::Text(_))) => {
                self.failed.fetch_add(1, Ordering::Relaxed);
                self.state.bad(&self.endpoint, &resp::Nonsense.to_string());
            }
            Ok(Err(_)) => {
                self.failed.fetch_add(1, Ordering::Relaxed);
            }
            Err(_) => {
                self.late.fetch_add(1, Ordering::Relaxed);
                self.state.bad(&self.endpoint, "it answers too late");
            }
        }
        Err(Unanswered::Unsure)
    }

    /// Tells something that no answer is waited for; whether it is on its way.
    fn tell<const N: usize>(&self, script: usize, kind: &[u8], key: Key, words: [String; N]) -> bool {
        if !self.state.is_up() {
            return false;
        }
        let bytes = self.command(script, kind, [key].into_iter(), words.into_iter());
        self.asks.try_send(Sent { bytes, answer: None }).is_ok()
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// Whether these numbers can be an answer: first the time, none of them negative.
fn is_answer(numbers: &[i64]) -> bool {
    numbers.first().is_some_and(|second| (1..1 << 40).contains(second)) && numbers.iter().all(|number| *number >= 0)
}

fn number(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_place_another_name_and_another_authority_are_another_server() {
        let secret = |name: &str| Material::files([name.into()]);
        let one = Endpoint {
            host: "limits.internal".to_owned(),
            port: 6_379,
            tls: None,
            roots: "one".into(),
            username: "default".to_owned(),
            password: Some(secret("one")),
            prefix: "deputize".to_owned(),
            deadline: Duration::from_millis(50),
        };
        assert!(one.is(&one.clone()));
        let of = || one.clone();
        for (what, other) in [
            ("host", Endpoint { host: "other.internal".to_owned(), ..of() }),
            ("port", Endpoint { port: 6_380, ..of() }),
            ("authority", Endpoint { roots: "other".into(), ..of() }),
            ("name", Endpoint { username: "gateway".to_owned(), ..of() }),
            ("password", Endpoint { password: Some(secret("other")), ..of() }),
            ("none", Endpoint { password: None, ..of() }),
            ("prefix", Endpoint { prefix: "blue".to_owned(), ..of() }),
            ("patience", Endpoint { deadline: Duration::from_millis(51), ..of() }),
        ] {
            assert!(!one.is(&other), "{what}");
        }
    }
}
