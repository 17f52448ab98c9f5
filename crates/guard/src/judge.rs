//! The decision: what cryptography established, then the contract. One function, whoever watches.
use crate::dpop::Proof;
use crate::events::{Subscription, UNHEARD};
use crate::evidence::{Evidence, Fault, Proven};
use crate::principal::Held;
use decision::contract::{Claims, Contract, Presented, Route, Steps, decide_claims, shown};
use decision::{CheckId, Observe, Timestamp};
use jose::Token;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// What cryptography and the key sets decide, in the order in which it is decided.
const ESTABLISHED: [CheckId; 8] = [
    CheckId::TokenPresent,
    CheckId::TokenSize,
    CheckId::TokenForm,
    CheckId::TokenIssuer,
    CheckId::KeysAvailable,
    CheckId::TokenKey,
    CheckId::TokenAlgorithm,
    CheckId::TokenSignature,
];

/// What is asked, and how, beside the token.
#[derive(Clone, Copy, Default)]
pub(crate) struct Asked<'a> {
    /// The route, if there is one.
    pub(crate) route: Option<&'a Route>,
    /// The thumbprint of the certificate that the connection was opened with.
    pub(crate) certificate: Option<&'a str>,
    /// The thumbprint of the key that the token is presented as bound to, which was proved.
    pub(crate) key: Option<&'a str>,
    /// How many seconds ago the token may have ended: for what began before, and outlives it.
    pub(crate) grace: i64,
}

impl<'a> Asked<'a> {
    /// The time by which claims are judged: as long as the token may have ended, its last second.
    pub(crate) fn at(&self, claims: &Claims, now: Timestamp) -> Timestamp {
        match claims.expires() {
            Some(end) if self.grace > 0 && now >= end => end.plus(-1).max(now.plus(-self.grace)),
            _ => now,
        }
    }

    /// Of whom it is known what they hold.
    pub(crate) fn by(route: Option<&'a Route>, held: Held<'a>) -> Self {
        Self { route, certificate: held.certificate, key: held.proof.map(Proof::thumbprint), grace: 0 }
    }
}

/// Judges one request. The first failed check, if one failed.
pub(crate) fn judge<O: Observe>(
    evidence: &Evidence,
    contract: &Contract,
    request: Asked<'_>,
    now: Timestamp,
    streams: &[Arc<Subscription>],
    observer: &mut O,
) -> Result<(), CheckId> {
    let Asked { route, certificate, key, .. } = request;
    match evidence {
        Evidence::Proven(proven) => {
            established(None, &|id| confirmed(id, proven.token.expose()), observer)?;
            let token = Presented {
                typ: proven.typ.as_deref(),
                issuer: contract.issuers.get(proven.issuer),
                claims: &proven.claims,
                certificate,
                key,
            };
            let decided = decide_claims(&token, contract, route, request.at(token.claims, now), observer);
            if !O::EXHAUSTIVE {
                decided?;
            }
            decided.and(cut_off(proven, contract, route, now, streams, observer))
        }
        Evidence::Unreadable(fault) => established(Some(fault), &|_| String::new(), observer),
        Evidence::Hopeless { claims, typ, issuer } => {
            let mut steps = Steps::new(observer);
            for id in ESTABLISHED {
                match id {
                    CheckId::TokenPresent | CheckId::TokenSize | CheckId::TokenForm | CheckId::TokenIssuer => {
                        steps.check(id, true, || (id.entry().title.into(), "yes".into(), None))?;
                    }
                    _ => steps.skip(id, "no keys were fetched: it is refused whoever signed it"),
                }
            }
            let token =
                Presented { typ: typ.as_deref(), issuer: contract.issuers.get(*issuer), claims, certificate, key };
            // It would not be hopeless if this let it by: and a defect denies.
            decide_claims(&token, contract, route, request.at(token.claims, now), observer)
                .and(Err(CheckId::TokenSignature))
        }
        Evidence::Unproven { claims, typ, issuer, fault } => {
            established(Some(fault), &|_| String::new(), observer)?;
            // The observer wants all: what else is wrong with a token that nobody vouches for. Of a stranger's issuer, which
            // has been told of, there are no rules to judge it by.
            let issuer = issuer.and_then(|at| contract.issuers.get(at));
            if issuer.is_some() && fault.check != CheckId::TokenClaims {
                let token = Presented { typ: typ.as_deref(), issuer, claims, certificate, key };
                let _ = decide_claims(&token, contract, route, request.at(token.claims, now), observer);
            }
            Err(fault.check)
        }
    }
}

/// Whether a token is good only while its cut-offs arrive: it lives long, and its issuer tells of cut-offs here, or its client
/// said that it can be told of one, which is what issuers give long lives for. An API that hears of none, and says in its
/// contract how long tokens may live, has decided that itself.
fn needs_cut_offs(claims: &Claims, contract: &Contract, subscribed: bool) -> bool {
    // Of one that does not say when it was issued nobody knows how long it lives.
    let lives_long = claims.expires().zip(claims.issued_at()).is_none_or(|(exp, iat)| exp.since(iat) > UNHEARD);
    lives_long && (subscribed || (claims.handles_challenges() && contract.max_lifetime.is_none()))
}

/// Whether the token was cut off after it was issued, and whether that could be known.
fn cut_off<O: Observe>(
    proven: &Proven,
    contract: &Contract,
    route: Option<&Route>,
    now: Timestamp,
    streams: &[Arc<Subscription>],
    observer: &mut O,
) -> Result<(), CheckId> {
    let stream = proven.claims.issuer().and_then(|issuer| streams.iter().find(|stream| stream.is_about(issuer)));
    let marked = route.is_some_and(|route| route.live_cut_offs);
    let needed = marked || needs_cut_offs(&proven.claims, contract, stream.is_some());
    if streams.is_empty() && !needed {
        return Ok(());
    }
    let mut steps = Steps::new(observer);
    let void = stream.and_then(|stream| stream.void(proven));
    steps.check(CheckId::TokenRevoked, void.is_none(), || {
        let found = void.map_or("none was told".into(), |void| format!("one at {}", void.at));
        ("no cut-off after the token was issued".into(), found, None)
    })?;
    let current = stream.is_some_and(|stream| stream.is_current(now, contract.fail_static));
    if !needed {
        if !O::EXHAUSTIVE
            && !current
            && let Some(stream) = stream
        {
            stream.counts.let_in.fetch_add(1, Ordering::Relaxed);
        }
        return steps.end();
    }
    steps.check(CheckId::CutOffsCurrent, current, || {
        let expected = format!("word from the issuer's stream in the last {} seconds", contract.fail_static);
        let expected =
            if marked { expected } else { format!("{expected}, since the token lives longer than {UNHEARD} s") };
        let found = match stream.map(|stream| stream.status().current_at) {
            None => "no subscription for this issuer".into(),
            Some(None) => "none yet".into(),
            Some(Some(at)) => format!("the last at {at}"),
        };
        (expected, found, None)
    })?;
    steps.end()
}

/// Tells what was established up to the fault. Fails at the fault if the observer wants no more.
fn established<O: Observe>(
    fault: Option<&Fault>,
    found: &dyn Fn(CheckId) -> String,
    observer: &mut O,
) -> Result<(), CheckId> {
    let mut steps = Steps::new(observer);
    let mut failed = false;
    for id in ESTABLISHED {
        match fault {
            Some(fault) if fault.check == id => {
                failed = true;
                steps.check(id, false, || (id.entry().title.into(), fault.found.clone(), None))?;
            }
            _ if failed => steps.skip(id, "an earlier check failed"),
            _ => steps.check(id, true, || (id.entry().title.into(), found(id), None))?,
        }
    }
    match fault {
        // Signed, and yet not strict JSON.
        Some(fault) if !failed => {
            steps.check(fault.check, false, || (fault.check.entry().title.into(), fault.found.clone(), None))
        }
        _ => Ok(()),
    }
}

/// What was found where a check on a proven token passed.
fn confirmed(id: CheckId, text: &str) -> String {
    let Ok(token) = Token::parse(text) else { return String::new() };
    match id {
        CheckId::TokenSize => format!("{} bytes", text.len()),
        CheckId::TokenKey => token.header().kid.as_deref().map_or(String::new(), shown),
        CheckId::TokenAlgorithm => shown(&token.header().alg),
        CheckId::TokenIssuer => {
            token.peek().ok().and_then(|claims| claims.get("iss")?.as_str().map(shown)).unwrap_or_default()
        }
        _ => "yes".into(),
    }
}
