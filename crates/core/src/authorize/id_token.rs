//! ID tokens at once, without a code: for web applications that only want to know who somebody is.
use super::{Answer, Browser, Present, Proved, answer, visited};
use crate::admission::{self, Proof};
use crate::audit::AuditRecord;
use crate::denial::Denial;
use crate::facts::Facts;
use crate::issuance;
use crate::ledger::{Unavailable, Write};
use crate::ports::Ports;
use crate::token_endpoint::unavailable;
use decision::Timestamp;
use oauth::Form;

/// Issues one, on the same admission as every other token.
pub(super) async fn issue(
    ports: &Ports,
    request: &Form,
    browser: &Browser,
    (proved, signed_in): (&Proved, &Present),
    facts: &Facts,
    nonce: &str,
    now: Timestamp,
) -> Result<Answer, Box<Denial>> {
    let facts = Facts { version: proved.version, ..facts.clone() };
    let admitted = admission::admit(&facts, Ok(Proof::User { actors: Vec::new(), ceiling: None }), now)?;
    let (token, uti) =
        issuance::at_once(&facts, &admitted, nonce, ports, now).map_err(|error| Box::new(unavailable(error)))?;
    let audit = AuditRecord {
        tenant: Some(signed_in.tenant.tenant.id),
        client: Some(proved.client.application.app_id),
        subject: Some(signed_in.person.id.to_string()),
        scope: facts.oidc.to_string(),
        token: Some(uti),
        ..AuditRecord::new(now, issuance::random_uuid(ports).to_string(), "authorize id_token")
    };
    let mut writes = vec![Write::Audit(Box::new(audit))];
    writes.extend(visited(proved, signed_in, browser));
    ports.ledger.commit(writes).await.map_err(|_| Box::new(unavailable(Unavailable)))?;
    Ok(answer(ports, request, proved, signed_in, Form::default().with("id_token", token.expose())))
}
