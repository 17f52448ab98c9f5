//! A request on its way through the phases, and the proof that it went through them.
use crate::Canonical;
use crate::address::Address;
use crate::after::After;
use crate::body::Uploading;
use crate::policy::{Admission, Certificate};
use crate::routes::Operation;
use crate::sign_in::Signed;
use decision::Timestamp;
use guard::{Guard, Principal, Proof};
use http::{HeaderName, HeaderValue};
use std::net::IpAddr;
use std::sync::Arc;

/// A request whose operation is known.
pub(crate) struct Call {
    pub(crate) request: Canonical,
    pub(crate) operation: Arc<Operation>,
    pub(crate) caller: Address,
    pub(crate) peer: IpAddr,
    pub(crate) now: Timestamp,
    /// What the connection was opened with, where that was asked for.
    pub(crate) certificate: Option<Arc<Certificate>>,
    /// Whether its caller came over an encrypted connection, be it to a trusted proxy.
    pub(crate) is_tls: bool,
    /// The proof that its token came with, once it was used up.
    pub(crate) proof: Option<Arc<Proof>>,
    /// Who calls, once a token has been verified, and by which guard.
    pub(crate) principal: Option<(Principal, Guard)>,
    /// The person who signed in at the edge, where one did.
    pub(crate) signed: Option<Arc<Signed>>,
    /// The name of the product in whose context the call is made.
    pub(crate) product: Option<Arc<str>>,
    /// Fields that the service is sent, in place of any that the caller sent.
    pub(crate) added: Vec<(HeaderName, HeaderValue)>,
    /// In whose context the call is made.
    pub(crate) admission: Admission,
    /// What is to be done once the answer is known.
    pub(crate) after: After,
    /// What the caller sends beside the head, where a policy of the operation looks at it, and the gateway itself is sent it.
    pub(crate) body: Option<Box<Uploading>>,
}

/// A request that every policy of its operation lets by. Only [`crate::gateway`]'s authorisation makes one, and only one can be
/// forwarded.
pub(crate) struct Permitted(Box<Call>);

impl Permitted {
    /// For the function that asks every policy, and for no other.
    pub(crate) fn by_all_policies(call: Box<Call>) -> Self {
        Self(call)
    }

    pub(crate) fn call(&self) -> &Call {
        &self.0
    }

    /// The body, where a policy has looked at it.
    pub(crate) fn take_body(&mut self) -> Option<Box<Uploading>> {
        self.0.body.take()
    }

    pub(crate) fn into_call(self) -> Box<Call> {
        self.0
    }
}
