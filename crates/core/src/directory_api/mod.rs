//! The directory API: registrations, service principals, users and consents of one tenant, with Microsoft Graph's shapes and
//! names, below `/{tenant}/v1.0/`. It takes tokens for [`crate::built_in::URI`].
//!
//! A call goes one way: its address is found in the one table ([`route`]), its token is read and admitted as it stands now
//! ([`caller`]), what it is about is read, [`decide`](decide()) says by what right it is allowed, the object as it would be
//! is made and judged, and it is committed under the condition that it is still the object that was read, with its record
//! in the same commit. Whoever loses to another change begins anew.
mod application;
mod body;
mod caller;
mod credential;
mod decide;
mod grant;
mod page;
mod principal;
mod route;
mod sound;
mod turn;
mod user;

pub(crate) use caller::own_token;
pub use caller::{Caller, Subject};
pub use decide::{Facts, Object, Right, decide, may_be_called, may_change};
pub use route::{Found, Operation, ROUTES, Route, Rule, Standing, Verb, find};

use crate::audit::AuditRecord;
use crate::denial::Denial;
use crate::ledger::{CommitError, Unavailable, Write};
use crate::ports::Ports;
use crate::token_endpoint::unavailable;
use decision::{CheckId, Timestamp};
use oauth::Form;
use serde_json::Value;

/// Turns before a conflict is told. Each of them is another caller's success: so many may change one object at the same moment,
/// and all of them succeed, one after another.
const TURNS: usize = 64;

/// A call whose caller is known, and has a permission for its address: only [`begin`] makes one.
pub struct Call {
    caller: Caller,
    route: &'static Route,
    places: Vec<String>,
    /// Below the host.
    path: String,
    decision: String,
    now: Timestamp,
}

/// What is answered.
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body. That of `addPassword` holds the one text of a secret: it is shown, and kept nowhere.
    pub body: Option<Value>,
}

impl Answer {
    fn shown(body: Value) -> Self {
        Self { status: 200, body: Some(body) }
    }
    fn done() -> Self {
        Self { status: 204, body: None }
    }
}

/// A call as it comes in.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// The tenant segment of the URL.
    pub tenant: &'a str,
    /// The HTTP method.
    pub method: &'a str,
    /// The path below `/{tenant}/v1.0/`.
    pub path: &'a str,
    /// The bearer token.
    pub token: &'a str,
    /// The id of what is decided here.
    pub decision: &'a str,
}

/// Finds the address and reads who calls. Nothing that is sent is looked at before.
///
/// # Errors
/// If there is no such address, or the token is not one that it takes.
pub async fn begin(ports: &Ports, request: Request<'_>) -> Result<Call, Denial> {
    let now = ports.now();
    let Request { tenant, method, path, token, decision } = request;
    let (route, places) = match find(method, path) {
        Found::Route(route, places) => (route, places),
        Found::Methods(verbs) => {
            let verbs = verbs.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            return Err(Denial::new(CheckId::DirectoryMethod, verbs, "another method"));
        }
        Found::Nothing => {
            return Err(Denial::new(CheckId::DirectoryRoute, "an address of the directory API", "another"));
        }
    };
    let caller = caller::caller(ports, tenant, token, now).await?;
    let (path, decision) = (format!("/{tenant}/v1.0/{path}"), decision.to_owned());
    let call = Call { caller, route, places, path, decision, now };
    match decide::permitted(&call.caller, route.operation) {
        Ok(()) => Ok(call),
        Err(denial) => Err(call.refused(ports, denial).await),
    }
}

impl Call {
    /// Decides, changes and answers.
    ///
    /// # Errors
    /// The first check that fails; nothing was changed then.
    pub async fn answer(self, ports: &Ports, query: &Form, body: &[u8]) -> Result<Answer, Denial> {
        for _ in 0..TURNS {
            let turn = match self.turn(ports, query, body).await {
                Ok(turn) => turn,
                Err(denial) => return Err(self.refused(ports, denial).await),
            };
            if turn.writes.is_empty() {
                return Ok(turn.answer);
            }
            let mut writes = turn.writes;
            writes.push(self.record(turn.changed, None));
            match ports.ledger.commit(writes).await {
                Ok(()) => return Ok(turn.answer),
                Err(CommitError::Unavailable) => return Err(unavailable(Unavailable)),
                Err(CommitError::Conflict) => {}
            }
        }
        let denial =
            Denial::new(CheckId::DirectoryContended, "an object that holds still", "one that others keep changing");
        Err(self.refused(ports, denial).await)
    }

    /// A refused change is recorded; a refused look is not, for it would have been none either.
    async fn refused(&self, ports: &Ports, denial: Denial) -> Denial {
        if self.route.verb == Verb::Get || denial.id() == CheckId::StoreAvailable {
            return denial;
        }
        match ports.ledger.commit(vec![self.record(Vec::new(), Some(denial.id()))]).await {
            Ok(()) => denial,
            Err(_) => unavailable(Unavailable),
        }
    }

    fn record(&self, changed: Vec<String>, refused: Option<CheckId>) -> Write {
        let subject = match self.caller.subject {
            Subject::User { id, .. } => id.to_string(),
            Subject::Application(id) => id.to_string(),
        };
        let object = self.path.splitn(4, '/').nth(3).unwrap_or_default();
        Write::Audit(Box::new(AuditRecord {
            tenant: Some(self.caller.tenant),
            client: Some(self.caller.client),
            subject: Some(subject),
            object: Some(object.chars().filter(|c| !c.is_control()).take(200).collect()),
            changed,
            refused,
            ..AuditRecord::new(self.now, self.decision.clone(), &format!("directory {}", self.route.verb))
        }))
    }
}
