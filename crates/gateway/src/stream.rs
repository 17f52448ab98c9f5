//! Operations whose requests and answers are streams: gRPC, Server-Sent Events, WebSockets. They may take long, but not for ever, and
//! end when the token does that they were opened with.
use crate::call::Call;
use crate::canonical::identity::{self, is_alias};
use crate::canonical::is_about_the_message;
use crate::policy::any_valid_token;
use crate::routes::Operation;
use crate::settings::{Compiled, SettingsError, Spanned, fault};
use crate::sign_in::Signed;
use client::{Introspected, Introspections};
use decision::{CheckId, Clock, Timestamp};
use guard::{Guard, Principal, Told};
use http::HeaderMap;
use schemars::JsonSchema;
use serde::Deserialize;
use serve::subscriber;
use std::fmt;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep_until};

/// How often it is asked whether a token is good yet.
const LOOK: Duration = Duration::from_secs(2);
/// How many seconds a stream goes on while its issuer does not answer.
const UNANSWERED: i64 = 60;
/// How many seconds a stream can outlive its token, or its session.
pub(crate) const LONGEST_GRACE: i64 = 3_600;

/// An operation whose requests and answers are streams, which take as long as they take: gRPC, Server-Sent Events,
/// WebSockets.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "stream")]
pub(crate) struct Table {
    /// Whether trailers are forwarded both ways, as gRPC needs it; none of those that say who somebody is are.
    #[serde(default)]
    trailers: bool,
    /// Whether it may become a WebSocket: for pages of the host that is asked, those that `cors` lists, and callers that are no pages.
    #[serde(default)]
    websocket: bool,
    /// Seconds that both sides together may be silent.
    #[serde(default = "five_minutes")]
    idle_seconds: u64,
    /// Seconds that a stream may last.
    #[serde(default = "a_day")]
    longest_seconds: u64,
    /// Whether it ends when the caller's token has expired, was cut off (`cut_offs`), is no longer active (`introspect`), or its
    /// issuer takes back the key that signed it; and when the session (`sign_in`) that it was opened with is over.
    #[serde(default = "yes")]
    ends_with_token: bool,
    /// Seconds that it may go on after the token has expired, or after the end of the session; cut-offs and sign-outs end it in that
    /// time too. Beside `introspect` it is of no use: an issuer says of what has expired that it is not active.
    #[serde(default)]
    grace_seconds: u64,
}

const fn five_minutes() -> u64 {
    300
}

const fn a_day() -> u64 {
    86_400
}

const fn yes() -> bool {
    true
}

/// The same, as it is asked for each request.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) trailers: bool,
    pub(crate) websocket: bool,
    pub(crate) idle: Duration,
    longest: Duration,
    /// How long it outlives its token; for ever if nothing is said.
    grace: Option<i64>,
}

impl Table {
    pub(crate) fn read(table: &Spanned<Self>) -> Result<Arc<Stream>, SettingsError> {
        let read = table.get_ref();
        let wrong = |name: &str, most: u64| {
            let problem = format!("`{name}` is out of range");
            fault(&table.span(), problem, format!("write 1 to {most}"))
        };
        let seconds = |name: &str, seconds: u64| {
            (1..=604_800).contains(&seconds).then(|| Duration::from_secs(seconds)).ok_or_else(|| wrong(name, 604_800))
        };
        let grace = i64::try_from(read.grace_seconds).ok().filter(|seconds| *seconds <= LONGEST_GRACE);
        let grace = grace.ok_or_else(|| wrong("grace_seconds", 3_600))?;
        Ok(Arc::new(Stream {
            trailers: read.trailers,
            websocket: read.websocket,
            idle: seconds("idle_seconds", read.idle_seconds)?,
            longest: seconds("longest_seconds", read.longest_seconds)?,
            grace: read.ends_with_token.then_some(grace),
        }))
    }
}

impl Stream {
    /// What watches over a stream that begins now.
    pub(crate) fn watch(&self, call: &Call, clock: &Arc<dyn Clock>) -> Watch {
        let until = Instant::now() + self.longest;
        let token = self.grace.zip(call.principal.clone()).map(|(grace, (principal, guard))| {
            // Who is known by what an issuer said is asked about again.
            let asks = call.operation.tokens.iter().rev().find_map(|check| check.asks());
            let asks = asks.filter(|_| principal.is_told()).map(|asks| Asks {
                who: Arc::clone(asks),
                asker: call.caller.known().map(subscriber),
                asking: None,
                unanswered: None,
            });
            Token { principal, guard, grace, asks }
        });
        let session = call.signed.clone().zip(self.grace);
        let mut watch = Watch { token, session, clock: Arc::clone(clock), until, wait: Box::pin(sleep_until(until)) };
        watch.set();
        watch
    }
}

/// Why a stream ends before both sides are through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Over {
    /// It lasted as long as it may.
    Lasted,
    /// Its token has expired.
    Expired,
    /// The token is taken no more: it was cut off, or its issuer has taken back the key, say.
    Refused,
    /// Its session is over: it lasted as long as it may, or the person signed out.
    SignedOut,
}

impl fmt::Display for Over {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lasted => "the stream has lasted as long as it may",
            Self::Expired => "the token has expired",
            Self::Refused => "the token is good no more",
            Self::SignedOut => "the session is over",
        })
    }
}

/// What watches over one stream.
pub(crate) struct Watch {
    token: Option<Token>,
    /// Who signed in, and how many seconds it outlives the session.
    session: Option<(Arc<Signed>, i64)>,
    clock: Arc<dyn Clock>,
    until: Instant,
    wait: Pin<Box<Sleep>>,
}

struct Token {
    principal: Principal,
    guard: Guard,
    grace: i64,
    asks: Option<Asks>,
}

/// Who is asked whether a token is active yet.
struct Asks {
    who: Arc<Introspections<Told>>,
    /// For whom.
    asker: Option<IpAddr>,
    asking: Option<Asking>,
    /// Since when there is no answer.
    unanswered: Option<Timestamp>,
}

type Asking = Pin<Box<dyn Future<Output = Result<Introspected<Told>, client::Error>> + Send>>;

impl Watch {
    /// Whether it is over.
    pub(crate) fn poll_over(&mut self, context: &mut Context<'_>) -> Poll<Over> {
        loop {
            let now = self.clock.now();
            if let Some(Poll::Ready(Some(over))) = self.token.as_mut().map(|token| token.poll_asked(now, context)) {
                tracing::info!(reason = %over, "a stream ends");
                return Poll::Ready(over);
            }
            ready!(self.wait.as_mut().poll(context));
            let session = self.session.as_ref().filter(|(signed, grace)| signed.is_over(now, *grace));
            let over = session.map(|_| Over::SignedOut);
            if let Some(over) = over.or_else(|| self.token.as_ref().and_then(|token| token.over(&*self.clock))) {
                tracing::info!(reason = %over, "a stream ends");
                return Poll::Ready(over);
            }
            if Instant::now() >= self.until {
                return Poll::Ready(Over::Lasted);
            }
            if let Some(token) = &mut self.token {
                token.ask();
            }
            self.set();
        }
    }

    /// Sets the alarm for when it may be over.
    fn set(&mut self) {
        let token = self.token.as_ref().map(|token| token.principal.expires().0.saturating_add(token.grace));
        let session = self.session.as_ref().map(|(signed, grace)| signed.session.ends.0.saturating_add(*grace));
        let look = token.into_iter().chain(session).min().map(|ends| {
            let left = Duration::from_secs(u64::try_from(ends.saturating_sub(self.clock.now().0)).unwrap_or_default());
            Instant::now() + left.min(LOOK)
        });
        self.wait.as_mut().reset(look.unwrap_or(self.until).min(self.until));
    }
}

impl Token {
    fn over(&self, clock: &dyn Clock) -> Option<Over> {
        if clock.now().0 >= self.principal.expires().0.saturating_add(self.grace) {
            return Some(Over::Expired);
        }
        match self.guard.try_check_again(&self.principal, &any_valid_token(), self.grace)? {
            // That keys are not at hand says nothing about the token.
            Err(refused) if refused.check() != CheckId::KeysAvailable => Some(Over::Refused),
            _ => None,
        }
    }
}

impl Token {
    /// Asks whether it is active, where somebody says that.
    fn ask(&mut self) {
        let Some(asks) = self.asks.as_mut().filter(|asks| asks.asking.is_none()) else { return };
        let (who, token, asker) = (Arc::clone(&asks.who), self.principal.token().clone(), asks.asker);
        asks.asking = Some(Box::pin(async move { who.ask(&token, asker).await }));
    }

    /// Why it is over, once that was answered.
    fn poll_asked(&mut self, now: Timestamp, context: &mut Context<'_>) -> Poll<Option<Over>> {
        let Some(asks) = &mut self.asks else { return Poll::Pending };
        let Some(asking) = &mut asks.asking else { return Poll::Pending };
        let said = ready!(asking.as_mut().poll(context));
        asks.asking = None;
        let good = match said {
            Ok(Introspected::Active(told)) => {
                asks.unanswered = None;
                self.guard.check_told_again(&self.principal, &told, &any_valid_token()).is_ok()
            }
            Ok(Introspected::Inactive) => false,
            // No answer says nothing about the token, for a while.
            Err(_) => now.since(*asks.unanswered.get_or_insert(now)) < UNANSWERED,
        };
        Poll::Ready((!good).then_some(Over::Refused))
    }
}

/// Which trailers go on.
#[derive(Clone)]
pub(crate) struct Trailers {
    state: Arc<Compiled>,
    operation: Arc<Operation>,
}

impl Trailers {
    pub(crate) fn new(state: &Arc<Compiled>, operation: &Arc<Operation>) -> Self {
        Self { state: Arc::clone(state), operation: Arc::clone(operation) }
    }

    /// Takes out those that decide about a message, and those that say who somebody is.
    pub(crate) fn filter(&self, trailers: &mut HeaderMap) {
        let goes = |name: &http::HeaderName| {
            is_about_the_message(name)
                || (!self.operation.forwarded.contains(name) && identity::removes(name, &self.state.injected))
                || self.state.secrets.iter().any(|secret| is_alias(name.as_str(), secret))
        };
        let names: Vec<_> = trailers.keys().filter(|name| goes(name)).cloned().collect();
        for name in names {
            trailers.remove(name);
        }
    }
}
