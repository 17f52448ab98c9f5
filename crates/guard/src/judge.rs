//! The decision: what cryptography established, then the contract. One function, whoever watches.
use crate::evidence::{Evidence, Fault};
use decision::contract::{Contract, Presented, Route, Steps, decide_claims, shown};
use decision::{CheckId, Observe, Timestamp};
use jose::Token;

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

/// Judges one request. The first failed check, if one failed.
pub(crate) fn judge<O: Observe>(
    evidence: &Evidence,
    contract: &Contract,
    route: Option<&Route>,
    now: Timestamp,
    observer: &mut O,
) -> Result<(), CheckId> {
    let (claims, typ, issuer) = match evidence {
        Evidence::Proven(proven) => {
            established(None, &|id| confirmed(id, proven.token.expose()), observer)?;
            (&proven.claims, &proven.typ, Some(proven.issuer))
        }
        Evidence::Unreadable(fault) => return established(Some(fault), &|_| String::new(), observer),
        Evidence::Unproven { claims, typ, issuer, fault } => {
            established(Some(fault), &|_| String::new(), observer)?;
            // The observer wants all: what else is wrong with a token that nobody vouches for. Of a stranger's issuer, which
            // has been told of, there are no rules to judge it by.
            let issuer = issuer.and_then(|at| contract.issuers.get(at));
            if issuer.is_some() && fault.check != CheckId::TokenClaims {
                let token = Presented { typ: typ.as_deref(), issuer, claims };
                let _ = decide_claims(&token, contract, route, now, observer);
            }
            return Err(fault.check);
        }
    };
    let token = Presented { typ: typ.as_deref(), issuer: issuer.and_then(|at| contract.issuers.get(at)), claims };
    decide_claims(&token, contract, route, now, observer)
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
