//! What a request shows, for a guard that reads requests itself.
use crate::dpop::{Dpop, Proof, ProofFault};
use crate::judge::Asked;
use crate::{Guard, Refused, bearer};
use decision::contract::Route;
use decision::{Check, Verdict};
use http::HeaderMap;

/// A token, as far as there is one, and the proof that comes with it.
pub(crate) struct Shown<'a> {
    pub(crate) presented: Result<Option<&'a str>, &'static str>,
    pub(crate) proof: Option<Proof>,
}

impl Shown<'_> {
    /// What the contract has for the request.
    pub(crate) fn asked<'a>(&'a self, guard: &'a Guard, method: &str, path: &str) -> Asked<'a> {
        Asked { key: self.proof.as_ref().map(Proof::thumbprint), ..guard.asked(method, path) }
    }
}

impl Guard {
    /// Looks for a token and, where the guard takes them, for its proof.
    pub(crate) fn shown<'a>(
        &self,
        headers: &'a HeaderMap,
        query: Option<&str>,
        method: &str,
        path: &str,
    ) -> Result<Shown<'a>, Refused> {
        let presented = bearer::authorization(headers, query);
        let (Some(dpop), Ok(authorization)) = (&self.0.dpop, presented) else {
            return Ok(Shown { presented, proof: None });
        };
        let uri = format!("{}{path}", dpop.own_origin());
        let proof = dpop.verify(authorization, headers, method, &uri, self.0.clock.now());
        let proof = proof.map_err(|fault| self.refuse_proof(&fault, dpop, self.asked(method, path).route))?;
        Ok(Shown { presented, proof })
    }

    /// Uses the proof up.
    pub(crate) fn spend(&self, proof: Option<&Proof>) -> Result<(), Refused> {
        match (&self.0.dpop, proof) {
            (Some(dpop), Some(proof)) => {
                dpop.spend(proof, self.0.clock.now()).map_err(|fault| self.refuse_proof(&fault, dpop, None))
            }
            _ => Ok(()),
        }
    }

    /// A nonce for the answer, where it is time for another.
    pub(crate) fn next_nonce(&self, proof: &Proof) -> Option<String> {
        self.0.dpop.as_ref()?.next_nonce(proof, self.0.clock.now())
    }

    /// The answer to a request whose proof is not good.
    pub fn refuse_proof(&self, fault: &ProofFault, dpop: &Dpop, route: Option<&Route>) -> Refused {
        let check = Check::fail(fault.check, fault.check.entry().title, fault.found.clone());
        let refused = self.refuse_by(fault.check, Verdict { checks: vec![check] }, route);
        refused.with_dpop(dpop, true, self.0.clock.now())
    }
}
