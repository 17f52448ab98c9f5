//! Device authorization (RFC 8628 section 3.4): a device asks again and again, until a person has decided.
use super::{Gathered, Gathering, Grant, Proved};
use crate::admission::Proof;
use crate::client_auth::{AuthenticatedClient, Method};
use crate::denial::Denial;
use crate::directory::UserKey;
use crate::facts::{Facts, ProofFacts};
use crate::ledger::{DeviceRecord, DeviceStage, Unavailable, Write};
use crate::model::{Digest, Profile};
use crate::ports::Pending;
use crate::scope_request::Several;
use decision::{CheckId, Timestamp};
use oauth::{Form, Parameter, Scopes};

pub(crate) const GRANT: Grant = Grant {
    grant_type: oauth::GrantType::DeviceCode,
    recognises: |_| true,
    parameters: PARAMETERS,
    parse: |form| {
        super::required(form, if form.mentions("code") { "code" } else { "device_code" })?;
        code(form).map(drop).ok_or_else(|| {
            Denial::new(CheckId::RequestWellFormed, "`code` equal to `device_code`, or absent", "two different codes")
        })
    },
    gather,
};

/// What this grant reads. What was approved is what is got, whatever is asked for now.
pub const PARAMETERS: &[Parameter] = &[
    Parameter::depends("device_code", "The device code; it works once."),
    Parameter::depends("code", "The same under its older name; beside `device_code` it must be equal."),
];

/// The device code. MSAL sends it twice, as `device_code` and as `code`.
pub(crate) fn code(form: &Form) -> Option<&str> {
    match (form.value("device_code"), form.value("code")) {
        (Some(one), Some(other)) => (one == other).then_some(one),
        (one, other) => one.or(other),
    }
}

fn gather(from: Gathering<'_>) -> Pending<'_, Result<Gathered, Unavailable>> {
    Box::pin(async move {
        let digest = from.ports.crypto.keyed_digest(code(from.form).unwrap_or_default());
        let record = from.ports.ledger.device(digest).await?;
        let (mut user, mut session) = (None, None);
        if let Some(approval) = record.as_ref().and_then(DeviceRecord::approval) {
            let tenant = from.tenant.tenant.id;
            user = from.ports.directory.user(tenant, UserKey::Id(approval.user)).await?;
            session = super::session(
                from.ports,
                approval.session,
                Vec::new(),
                (None, vec![approval.family]),
                approval.proven.as_ref(),
            )
            .await?;
        }
        let waits = record.as_ref().is_some_and(|record| record.stage == DeviceStage::Pending);
        let impatient = waits && from.ports.limits.impatient(digest, from.ports.now());
        Ok(Gathered {
            // What was approved is what is got, whatever is asked for now.
            scope: Some(record.as_ref().map(|record| record.scope.clone()).unwrap_or_default()),
            several: Several::First,
            user,
            session,
            claims: record.as_ref().and_then(|record| record.claims.clone()),
            proof: ProofFacts::Device { digest, record: record.map(Box::new), impatient },
        })
    })
}

pub(super) fn prove(
    facts: &Facts,
    client: &AuthenticatedClient,
    digest: &Digest,
    record: Option<&DeviceRecord>,
    impatient: bool,
    now: Timestamp,
) -> Proved {
    let refuse = |denial| Proved::no(denial, Vec::new());
    let Some(record) = record else {
        let expected = "a device code that this authority issued";
        return refuse(Denial::new(CheckId::DeviceCodeKnown, expected, "another text"));
    };
    if record.client != client.app() {
        let expected = "the client that the device code was issued to";
        return refuse(Denial::new(CheckId::DeviceCodeKnown, expected, format!("`{}`", client.app())));
    }
    if client.method() == Method::None && !facts.client.as_ref().is_some_and(|client| client.fallback_public) {
        return refuse(crate::device::not_public(client.app()));
    }
    if facts.tenant.as_ref().is_none_or(|tenant| tenant.id != record.tenant) {
        let expected = format!("a device code used in its tenant, `{}`", record.tenant);
        return refuse(Denial::new(CheckId::DeviceCodeKnown, expected, "another tenant"));
    }
    if let Err(denial) = super::from_pages(facts, false) {
        return refuse(denial);
    }
    let approval = match &record.stage {
        // A replay: whoever was first may be the thief (A-02 for devices).
        DeviceStage::Redeemed(approval) => {
            let denial = Denial::new(CheckId::DeviceUnused, "a device code used once", "one that was redeemed");
            return Proved::no(denial, vec![Write::RevokeFamily(approval.family)]);
        }
        DeviceStage::Declined => {
            return refuse(Denial::new(CheckId::DeviceDeclined, "consent", "a refusal by the user"));
        }
        _ if record.expires <= now => {
            let found = format!("one that expired at {}", record.expires);
            return refuse(Denial::new(CheckId::DeviceCodeCurrent, "a current device code", found));
        }
        DeviceStage::Pending if impatient => {
            return refuse(Denial::new(CheckId::DevicePatient, "a pause as long as the interval", "a shorter one"));
        }
        DeviceStage::Pending => {
            return refuse(Denial::new(CheckId::DeviceApproved, "a decision by the person", "none yet"));
        }
        DeviceStage::Approved(approval) => approval,
    };
    let redeemed = DeviceRecord { stage: DeviceStage::Redeemed(approval.clone()), ..record.clone() };
    let ceiling = (client.profile() == Profile::Native).then(|| Scopes::from(record.scope.clone()));
    Proved::yes(Proof::User { actors: Vec::new(), ceiling }, vec![Write::AdvanceDevice(*digest, Box::new(redeemed))])
}
